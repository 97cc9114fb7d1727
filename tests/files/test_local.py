"""Tests of :mod:`cftpcluster.files.local`: the contract, and whether the storage is there."""

from __future__ import annotations

import os

from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from cftpcluster.errors import (
    ClusterError,
    StorageMissing,
)
from cftpcluster.files._beneath import KernelOpener, WalkingOpener
from cftpcluster.files.local import LocalBackend, LocalConfig, localBackendFactory, makeMarker
from cftpcluster.interfaces import IBackend, IBackendFactory, IFileSystem, ILinks
from cftpcluster.testing.files import FileSystemContract, write
from cftpcluster.vocabulary import OpenMode

from .localbackends import LocalMixin, newToken


class KernelContractTests(LocalMixin, FileSystemContract, TestCase):
    chooseOpener = KernelOpener

    def setUp(self) -> None:
        self.backend = self.makeBackend()

    def makeSession(self, owner: str = "alice", atomicUploads: bool = True) -> IFileSystem:
        return self.backend.fileSystem("users/shared", owner, atomicUploads)


class WalkingContractTests(KernelContractTests):
    chooseOpener = WalkingOpener


class ThreadedContractTests(KernelContractTests):
    """With real threads, without waiting for the disk."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        pool = ThreadPool(2, 4)
        pool.start()
        self.addCleanup(pool.stop)
        self.backend = self.makeBackend(pool, reactor, fsync=False)


class StorageTests(LocalMixin, SynchronousTestCase):
    """Whether the storage is there."""

    def problems(self, backend: LocalBackend) -> list[str]:
        return list(self.result(backend.problems()))

    def test_factoryIsWhole(self):
        verifyObject(IBackendFactory, localBackendFactory)
        backend = self.makeBackend()
        verifyObject(IBackend, backend)
        self.assertEqual(self.problems(backend), [])
        self.assertEqual(localBackendFactory.kind, "local")

    def test_relativeRootIsMade(self):
        self.result(self.makeBackend().fileSystem("a/b", "alice", True).stat(()))
        self.assertTrue(os.path.isdir(self.disk("a", "b")))

    def test_absoluteRootMustExist(self):
        missing = os.path.abspath(self.mktemp())
        backend = self.makeBackend(root=missing)
        files = backend.fileSystem("a", "alice", True)
        failure = self.failureResultOf(files.stat(()), StorageMissing)
        self.assertNotIn(missing, str(failure.value))
        self.assertEqual(self.problems(backend), [f"there is no folder {missing}"])
        os.mkdir(missing)
        self.assertEqual(self.problems(backend), [])
        self.result(files.stat(()))
        self.assertEqual(os.listdir(missing), ["a"])

    def test_rootNeverHoldsTheState(self):
        backend = self.makeBackend()
        for root in (os.path.abspath(self.state), os.path.dirname(os.path.abspath(self.state)), "/"):
            backend = self.build(root=root)
            self.failureResultOf(backend.fileSystem("", "alice", True).stat(()), StorageMissing)
            self.assertIn("holds the state folder", self.problems(backend)[0])

    def test_nothingHappensWithoutTheMarker(self):
        backend = self.makeBackend(requireMarker=True)
        root = self.disk()
        files = backend.fileSystem("alice", "alice", True)
        self.failureResultOf(files.stat(()), StorageMissing)
        self.assertFalse(os.path.exists(root))
        os.mkdir(root)
        for result in (
            files.stat(()),
            files.list(()),
            files.open(("a",), OpenMode.create),
            files.makeDirectory(("d",)),
            files.remove(("a",)),
            files.rename(("a",), ("b",), True),
            ILinks(files).makeSymbolicLink(("a",), "b"),
        ):
            self.failureResultOf(result, StorageMissing)
        self.assertEqual(os.listdir(root), [])
        self.assertEqual(self.problems(backend), [f"the marker .cftpcluster-storage is missing in {root}"])

    def test_markerLetsItGoOn(self):
        backend = self.makeBackend(requireMarker=True)
        os.mkdir(self.disk())
        files = backend.fileSystem("alice", "alice", True)
        first = self.result(backend.mark())
        self.assertEqual(makeMarker(self.disk(), newToken), first)
        with open(self.disk(".cftpcluster-storage")) as file:
            self.assertEqual(file.read(), first + "\n")
        self.assertEqual(self.problems(backend), [])
        self.result(write(files, "/a", b"1"))
        self.assertEqual(sorted(os.listdir(self.disk())), [".cftpcluster-storage", "alice"])

    def test_markerThatGoesEndsUploads(self):
        backend = self.makeBackend(requireMarker=True)
        os.mkdir(self.disk())
        self.result(backend.mark())
        for atomic in (True, False):
            files = backend.fileSystem("alice", "alice", atomic)
            self.result(write(files, "/a", b"1"))
            os.rename(self.disk(".cftpcluster-storage"), self.disk("moved"))
            self.failureResultOf(files.open(("b",), OpenMode.create), StorageMissing)
            self.failureResultOf(files.makeDirectory(("d",)), StorageMissing)
            os.rename(self.disk("moved"), self.disk(".cftpcluster-storage"))
            self.result(files.makeDirectory((f"d{atomic}",)))

    def test_emptyMarkerIsNone(self):
        backend = self.makeBackend(requireMarker=True)
        os.mkdir(self.disk())
        with open(self.disk(".cftpcluster-storage"), "w"):
            pass
        self.assertEqual(len(self.problems(backend)), 1)
        self.assertNotEqual(self.result(backend.mark()), "")
        self.assertEqual(self.problems(backend), [])

    def test_missingRootCannotBeMarked(self):
        backend = self.makeBackend(root=os.path.abspath(self.mktemp()))
        self.failureResultOf(backend.mark(), ClusterError)

    def test_closedBackendIsMissing(self):
        backend = self.makeBackend()
        files = backend.fileSystem("alice", "alice", True)
        self.result(files.stat(()))
        self.result(backend.close())
        self.failureResultOf(files.stat(()), StorageMissing)

    def test_wrongOptionsAreProblems(self):
        for options, path in (
            ({"root": ""}, "root"),
            ({"root": "."}, "root"),
            ({"root": "x/.."}, "root"),
            ({"root": "../x"}, "root"),
            ({"root": "x\0"}, "root"),
            ({"root": "x", "fileMode": "640x"}, "fileMode"),
            ({"root": "x", "fileMode": "0440"}, "fileMode"),
            ({"root": "x", "fileMode": "4644"}, "fileMode"),
            ({"root": "x", "fileMode": "٦٤٤"}, "fileMode"),
            ({"root": "x", "directoryMode": "0600"}, "directoryMode"),
        ):
            self.assertEqual([problem.path for problem in LocalConfig(**options).problems()], [path], options)
        for options in ({"root": "files"}, {"root": "/mnt/share", "fileMode": "640", "directoryMode": "0777"}):
            self.assertEqual(LocalConfig(**options).problems(), [])
