"""Tests of :mod:`cftpcluster.files.memory`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from cftpcluster.config.document import Backend, Settings
from cftpcluster.errors import OutOfSpace, StorageMissing
from cftpcluster.files.memory import MemoryBackend, MemoryConfig, memoryBackendFactory
from cftpcluster.interfaces import IBackend, IBackendFactory, IFileSystem
from cftpcluster.testing.files import FileSystemContract, memoryFiles
from cftpcluster.testing.threads import InlinePool
from cftpcluster.vocabulary import OpenMode


class MemoryContractTests(FileSystemContract, TestCase):
    def setUp(self) -> None:
        self.backend = MemoryBackend(Clock(), 2**24)

    def makeSession(self, owner: str = "alice", atomicUploads: bool = True) -> IFileSystem:
        return self.backend.fileSystem("shared", owner, atomicUploads)


class MemoryBackendTests(SynchronousTestCase):
    def test_foldersAreApart(self):
        backend = MemoryBackend(Clock(), 2**20)
        alice = backend.fileSystem("alice", "alice", True)
        self.successResultOf(alice.makeDirectory(("d",)))
        bob = backend.fileSystem("bob", "bob", True)
        self.assertEqual(self.successResultOf(self.successResultOf(bob.list(())).next()), [])
        both = backend.fileSystem("", "admin", True)
        names = {entry.name for entry in self.successResultOf(self.successResultOf(both.list(())).next())}
        self.assertEqual(names, {"alice", "bob"})

    def test_fullStorageRefusesWrites(self):
        backend = MemoryBackend(Clock(), 10)
        files = backend.fileSystem("", "alice", True)
        opened = self.successResultOf(files.open(("a",), OpenMode.create))
        self.successResultOf(opened.write(0, b"1234567890"))
        self.failureResultOf(opened.write(10, b"1"), OutOfSpace)
        self.failureResultOf(opened.write(2**50, b"1"), OutOfSpace)
        self.successResultOf(opened.write(0, b"abcdefghij"))
        self.assertEqual(self.successResultOf(files.space(())).freeBytes, 0)
        self.successResultOf(opened.commit())
        self.successResultOf(files.remove(("a",)))
        self.assertEqual(self.successResultOf(files.space(())).freeBytes, 10)

    def test_closedBackendIsMissing(self):
        backend = MemoryBackend(Clock(), 10)
        files = backend.fileSystem("", "alice", True)
        self.successResultOf(backend.close())
        self.failureResultOf(files.stat(()), StorageMissing)
        self.assertEqual(self.successResultOf(backend.problems()), ("closed",))

    def test_factoryBuildsABackend(self):
        verifyObject(IBackendFactory, memoryBackendFactory)
        config = memoryBackendFactory.configClass(capacityBytes=5)
        backend = memoryBackendFactory.build(
            config,
            backend=Backend(name="scratch", kind="memory"),
            node="a",
            stateDirectory="/none",
            reactor=Clock(),
            pool=InlinePool(),
            settings=Settings,
        )
        verifyObject(IBackend, backend)
        self.assertEqual(self.successResultOf(backend.fileSystem("", "a", True).space(())).totalBytes, 5)

    def test_negativeCapacityIsAProblem(self):
        self.assertEqual([problem.path for problem in MemoryConfig(capacityBytes=-1).problems()], ["capacityBytes"])
        self.assertEqual(MemoryConfig().problems(), [])

    def test_preparedFilesAreThere(self):
        files = memoryFiles({"/d": None, "/d/a": b"123"}, Clock())
        self.assertEqual(self.successResultOf(files.stat(("d", "a"))).size, 3)
