"""Tests of :mod:`cftpcluster.files.mounts`."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cftpcluster.errors import (
    AlreadyExists,
    CrossesMounts,
    IsAFolder,
    NotFound,
    PathEscapes,
    PermissionDenied,
    StorageMissing,
    Unsupported,
)
from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.mounts import Mounts
from cftpcluster.interfaces import IFileSystem
from cftpcluster.testing.files import FileSystemContract, memoryFiles, stats
from cftpcluster.vocabulary import Attributes, Kind, OpenMode


class MountsContractTests(FileSystemContract, TestCase):
    def setUp(self) -> None:
        self.backend = MemoryBackend(Clock(), 2**24)

    def makeSession(self, owner: str = "alice", atomicUploads: bool = True) -> IFileSystem:
        return Mounts({(): self.backend.fileSystem("shared", owner, atomicUploads)})


class MountsTests(SynchronousTestCase):
    def setUp(self) -> None:
        clock = Clock()
        self.home = memoryFiles({"/h": b"home", "/in": None, "/in/hidden": b"", "/in/deep": None}, clock)
        self.deep = memoryFiles({"/f": b"deep"}, clock)
        self.far = memoryFiles({"/g": b"far", "/d": None}, clock)
        self.tree = Mounts({(): self.home, ("in", "deep"): self.deep, ("in", "x", "far"): self.far})
        self.bare = Mounts({("a", "b"): self.far})

    def names(self, tree: Mounts, path: str) -> list[str]:
        found = self.successResultOf(Deferred.fromCoroutine(stats(tree, path)))
        return sorted(found)

    def test_deepestMountServes(self):
        self.assertEqual(self.names(self.tree, "/in/deep"), ["f"])
        self.assertEqual(self.successResultOf(self.tree.stat(("in", "deep", "f"))).size, 4)
        self.assertEqual(self.successResultOf(self.tree.stat(("h",))).size, 4)

    def test_listingsMergeMountPoints(self):
        self.assertEqual(self.names(self.tree, "/in"), ["deep", "hidden", "x"])
        self.assertEqual(self.names(self.tree, "/"), ["h", "in"])

    def test_foldersAboveMountsAreMadeUp(self):
        self.assertEqual(self.names(self.bare, "/"), ["a"])
        self.assertEqual(self.names(self.bare, "/a"), ["b"])
        self.assertEqual(self.names(self.tree, "/in/x"), ["far"])
        for tree, path in ((self.bare, ()), (self.bare, ("a",)), (self.tree, ("in", "x"))):
            stat = self.successResultOf(tree.stat(path))
            self.assertEqual((stat.kind, stat.mode), (Kind.folder, 0o555))
        self.failureResultOf(self.bare.stat(("c",)), NotFound)
        self.failureResultOf(self.bare.list(("c",)), NotFound)

    def test_madeUpFoldersTakeNothing(self):
        for path in (("c",), ("a", "c")):
            self.failureResultOf(self.bare.open(path, OpenMode.replace), PermissionDenied)
            self.failureResultOf(self.bare.open(path, OpenMode.read), NotFound)
            self.failureResultOf(self.bare.makeDirectory(path), PermissionDenied)
            self.failureResultOf(self.bare.rename(("a", "b", "g"), path, False), PermissionDenied)
        self.failureResultOf(self.bare.open(("none", "c"), OpenMode.replace), NotFound)
        self.failureResultOf(self.bare.setAttributes(("a",), Attributes(mode=0o700)), PermissionDenied)
        self.failureResultOf(self.bare.space(()), Unsupported)

    def test_mountPointsStay(self):
        for tree, path in ((self.tree, ("in", "deep")), (self.tree, ("in",)), (self.bare, ("a",)), (self.bare, ())):
            self.failureResultOf(tree.remove(path), IsAFolder)
            self.failureResultOf(tree.removeDirectory(path), PermissionDenied)
            self.failureResultOf(tree.rename(path, ("y",), True), PermissionDenied)
            self.failureResultOf(tree.makeDirectory(path), AlreadyExists)
            self.failureResultOf(tree.open(path, OpenMode.replace), IsAFolder)
            self.failureResultOf(tree.open(path, OpenMode.create), AlreadyExists)
        self.failureResultOf(self.tree.rename(("h",), ("in", "deep"), True), PermissionDenied)
        self.failureResultOf(self.tree.rename(("h",), ("in", "deep"), False), AlreadyExists)
        self.failureResultOf(self.tree.copy(("h",), ("in", "deep"), True), IsAFolder)

    def test_mountsAreNotCrossed(self):
        here, there = ("h",), ("in", "deep", "h")
        self.failureResultOf(self.tree.rename(here, there, True), CrossesMounts)
        self.failureResultOf(self.tree.copy(here, there, True), CrossesMounts)
        self.failureResultOf(self.tree.makeHardLink(there, here), CrossesMounts)
        self.assertEqual(self.successResultOf(self.tree.stat(here)).size, 4)

    def test_renamesWithinAMount(self):
        self.successResultOf(self.tree.rename(("in", "deep", "f"), ("in", "deep", "e"), False))
        self.assertEqual(self.names(self.tree, "/in/deep"), ["e"])
        self.assertEqual(self.successResultOf(self.deep.stat(("e",))).size, 4)

    def test_absoluteLinksAreThoseOfTheTree(self):
        path = ("a", "b", "d", "l")
        self.successResultOf(self.bare.makeSymbolicLink(path, "/a/b/g"))
        self.assertEqual(self.successResultOf(self.bare.readLink(path)), "../g")
        self.assertEqual(self.successResultOf(self.bare.stat(path)).size, 3)
        for target in ("/g", "/a/c", "../../../g"):
            self.failureResultOf(self.bare.makeSymbolicLink(("a", "b", "d", "m"), target), PathEscapes)
        self.failureResultOf(self.bare.readLink(("a", "b")), Unsupported)

    def test_missingStorageIsNotAnEmptyFolder(self):
        backend = MemoryBackend(Clock(), 10)
        tree = Mounts({(): backend.fileSystem("", "alice", True), ("m",): self.far})
        self.successResultOf(backend.close())
        self.failureResultOf(tree.list(()), StorageMissing)
        self.assertEqual(self.names(tree, "/m"), ["d", "g"])

    def test_missingMountIsStillListed(self):
        backend = MemoryBackend(Clock(), 10)
        tree = Mounts({("m",): backend.fileSystem("", "alice", True)})
        self.successResultOf(backend.close())
        self.assertEqual(self.names(tree, "/"), ["m"])
        self.failureResultOf(tree.list(("m",)), StorageMissing)

    def test_siblingOfAMountIsNotInIt(self):
        self.failureResultOf(self.bare.stat(("a", "b-evil", "g")), NotFound)
