"""Tests of :mod:`cftpcluster.files.policy`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from cftpcluster import events
from cftpcluster.errors import AlreadyExists, Closed, FileSystemError, OutOfSpace, PermissionDenied
from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.mounts import Mounts
from cftpcluster.files.policy import Observed, Permitted
from cftpcluster.files.wrappers import FileSystemWrapper, FileWrapper
from cftpcluster.interfaces import (
    IFile,
    IFileSystem,
    IHasDescriptor,
    ILinks,
    IServerSideCopy,
    ISessionFiles,
    ISpaceReport,
)
from cftpcluster.testing.files import FileSystemContract, read, write
from cftpcluster.vocabulary import Attributes, OpenMode, Origin, Permission

ORIGIN = Origin("sftp", "192.0.2.7", "sftp", "session-1")


class WrappedContractTests(FileSystemContract, TestCase):
    """The whole stack, with every permission, is a file system like any other."""

    def setUp(self) -> None:
        self.backend = MemoryBackend(Clock(), 2**24)

    def makeSession(self, owner: str = "alice", atomicUploads: bool = True) -> IFileSystem:
        inner = self.backend.fileSystem("shared", owner, atomicUploads)
        told: list[events.Event] = []
        return Observed(Mounts({(): Permitted(inner, set(Permission))}), owner, ORIGIN, told.append, Clock())


@implementer(IHasDescriptor)
class DescribedFile(FileWrapper):
    """A file that pretends to have a descriptor."""

    def descriptor(self) -> int:
        return 7

    def sent(self, byteCount: int) -> None:
        self.counted = byteCount


class DescribedFiles(FileSystemWrapper):
    def open(self, path, mode):
        return self.inner.open(path, mode).addCallback(DescribedFile)


async def opened(files: IFileSystem, name: str, mode: OpenMode) -> IFile:
    return await files.open((name,), mode)


async def uploading(files: IFileSystem, mode: OpenMode, name: str) -> None:
    file = await files.open((name,), mode)
    await file.write(0, b"1")
    await file.commit()


async def writing(files: IFileSystem) -> None:
    file = await files.open(("old",), OpenMode.inPlace)
    await file.write(0, b"1")
    await file.commit()


async def reading(files: IFileSystem, mode: OpenMode) -> None:
    file = await files.open(("old",), mode)
    await file.read(0, 1)


async def settingOpened(files: IFileSystem, attributes: Attributes) -> None:
    file = await files.open(("old",), OpenMode.inPlace)
    await file.setAttributes(attributes)


async def settingUploaded(files: IFileSystem, attributes: Attributes) -> None:
    await uploading(files, OpenMode.create, "new")
    await files.setAttributes(("new",), attributes)


async def continuing(files: IFileSystem) -> None:
    file = await files.open(("partial",), OpenMode.resume)
    await file.commit()


P = Permission
#: an operation, and the smallest sets of permissions with which it succeeds
TABLE: list[tuple[str, Callable[[Any], Awaitable[Any]], list[set[Permission]]]] = [
    ("stat", lambda files: files.stat(("old",)), [{P.list}]),
    ("stat of the root", lambda files: files.stat(()), [set()]),
    ("stat of the own partial", lambda files: files.stat(("partial",)), [{P.list}, {P.upload}]),
    ("list", lambda files: files.list(()), [{P.list}]),
    ("read", lambda files: reading(files, OpenMode.read), [{P.download}]),
    ("create", lambda files: uploading(files, OpenMode.create, "new"), [{P.upload}]),
    ("replace what is not there", lambda files: uploading(files, OpenMode.replace, "new"), [{P.upload}]),
    ("replace", lambda files: uploading(files, OpenMode.replace, "old"), [{P.upload, P.overwrite}]),
    ("resume", continuing, [{P.upload}]),
    ("write in place", writing, [{P.upload, P.overwrite}]),
    ("read in place", lambda files: reading(files, OpenMode.inPlace), [{P.upload, P.overwrite, P.download}]),
    ("make a folder", lambda files: files.makeDirectory(("new",)), [{P.mkdir}]),
    ("remove", lambda files: files.remove(("old",)), [{P.delete}]),
    ("remove a folder", lambda files: files.removeDirectory(("folder",)), [{P.delete}]),
    ("rename", lambda files: files.rename(("old",), ("new",), True), [{P.rename}]),
    ("move onto", lambda files: files.rename(("old",), ("other",), True), [{P.rename, P.overwrite}]),
    ("set times", lambda files: files.setAttributes(("old",), Attributes(modified=1.0)), [{P.attributes}]),
    ("set a mode", lambda files: files.setAttributes(("old",), Attributes(mode=0o600)), [{P.attributes}]),
    ("set a length", lambda files: files.setAttributes(("old",), Attributes(size=0)), [{P.upload, P.overwrite}]),
    (
        "set a length and a mode",
        lambda files: files.setAttributes(("old",), Attributes(size=0, mode=0o600)),
        [{P.upload, P.overwrite, P.attributes}],
    ),
    ("set times of an own file", lambda files: settingUploaded(files, Attributes(modified=1.0)), [{P.upload}]),
    (
        "set an own file's length",
        lambda files: settingUploaded(files, Attributes(size=0)),
        [{P.upload, P.overwrite}],
    ),
    (
        "set times of an opened file",
        lambda files: settingOpened(files, Attributes(modified=1.0)),
        [{P.upload, P.overwrite, P.attributes}],
    ),
    (
        "set a length of an opened file",
        lambda files: settingOpened(files, Attributes(size=1)),
        [{P.upload, P.overwrite}],
    ),
    ("read a link", lambda files: ILinks(files).readLink(("link",)), [{P.list}]),
    ("make a link", lambda files: ILinks(files).makeSymbolicLink(("new",), "old"), [{P.links}]),
    (
        "set a link's times",
        lambda files: ILinks(files).setLinkAttributes(("link",), Attributes(modified=1.0)),
        [{P.attributes}],
    ),
    ("make a hard link", lambda files: ILinks(files).makeHardLink(("new",), ("old",)), [{P.links}]),
    ("copy", lambda files: IServerSideCopy(files).copy(("old",), ("new",), True), [{P.download, P.upload}]),
    (
        "copy onto",
        lambda files: IServerSideCopy(files).copy(("old",), ("other",), True),
        [{P.download, P.upload, P.overwrite}],
    ),
    ("see the space", lambda files: ISpaceReport(files).space(()), [set()]),
]


class PermittedTests(SynchronousTestCase):
    def make(self, permissions: set[Permission]) -> Permitted:
        """A mount with ``old``, ``other``, ``link``, an empty ``folder`` and a kept ``partial``."""
        self.backend = MemoryBackend(Clock(), 2**20)
        inner = self.backend.fileSystem("", "alice", True)
        Deferred.fromCoroutine(self.prepare(inner))
        return Permitted(self.backend.fileSystem("", "alice", True), permissions)

    async def prepare(self, files: Any) -> None:
        await write(files, "/old", b"old")
        await write(files, "/other", b"other")
        await files.makeDirectory(("folder",))
        await files.makeSymbolicLink(("link",), "old")
        partial = await files.open(("partial",), OpenMode.create)
        await partial.write(0, b"half")
        await partial.abort(keep=True)

    def succeeds(self, operation: Callable[[Any], Awaitable[Any]], permissions: set[Permission]) -> bool:
        files = self.make(permissions)

        async def perform() -> bool:
            try:
                await operation(files)
            except PermissionDenied:
                return False
            except AlreadyExists:
                # "replace" without "overwrite" is "create"
                self.assertNotIn(P.overwrite, permissions)
                return False
            return True

        return self.successResultOf(Deferred.fromCoroutine(perform()))

    def test_everyOperationNeedsJustItsPermissions(self):
        for name, operation, needed in TABLE:
            for permissions in needed:
                self.assertTrue(self.succeeds(operation, permissions), f"{name} with {permissions}")
                for missing in permissions:
                    others = set(P) - {missing}
                    enough = any(other <= others for other in needed)
                    self.assertIs(self.succeeds(operation, others), enough, f"{name} without {missing}")
            if set() not in needed:
                self.assertFalse(self.succeeds(operation, set()), f"{name} with nothing")

    def test_refusedOperationsChangeNothing(self):
        for name, operation, needed in TABLE:
            if set() in needed:
                continue
            self.succeeds(operation, set())
            files = self.backend.fileSystem("", "bob", True)

            async def check(files=files, name=name):
                self.assertEqual((await read(files, "/old"), await read(files, "/other")), (b"old", b"other"))
                listing = await files.list(())
                names = {entry.name for entry in await listing.next()}
                self.assertEqual(names, {"old", "other", "folder", "link"}, name)

            self.successResultOf(Deferred.fromCoroutine(check()))

    def test_ownUploadsAreSeenWithoutList(self):
        files = self.make({P.upload})
        file = self.successResultOf(files.open(("new",), OpenMode.create))
        self.assertEqual(self.successResultOf(files.stat(("new",))).size, 0)
        self.successResultOf(file.commit())
        self.assertEqual(self.successResultOf(files.stat(("new",))).size, 0)
        self.failureResultOf(files.stat(("none",)), PermissionDenied)

    def test_ownPartialDoesNotShowTheFileThatCameAfterIt(self):
        files = self.make({P.upload})
        self.assertEqual(self.successResultOf(files.stat(("partial",))).size, 4)
        Deferred.fromCoroutine(write(self.backend.fileSystem("", "bob", True), "/partial", b"theirs"))
        self.failureResultOf(files.stat(("partial",)), PermissionDenied)

    def test_uploadUnderWayMayBeReadAndWrittenByItsSession(self):
        files = self.make({P.upload})
        file = self.successResultOf(files.open(("new",), OpenMode.create))
        self.successResultOf(file.write(0, b"123"))
        self.assertEqual(self.successResultOf(file.read(0, 9)), b"123")
        again = self.successResultOf(files.open(("new",), OpenMode.inPlace))
        self.successResultOf(again.write(0, b"x"))
        self.assertEqual(self.successResultOf(again.read(0, 9)), b"x23")
        self.successResultOf(files.setAttributes(("new",), Attributes(size=1)))
        self.successResultOf(file.commit())
        self.failureResultOf(files.open(("new",), OpenMode.inPlace), PermissionDenied)
        self.failureResultOf(files.open(("new",), OpenMode.read), PermissionDenied)

    def test_ownFilesKeepTheirRightsWhenRenamed(self):
        files = self.make({P.upload, P.rename})
        file = self.successResultOf(files.open(("new",), OpenMode.create))
        self.successResultOf(files.rename(("new",), ("newer",), False))
        self.successResultOf(files.setAttributes(("newer",), Attributes(modified=5.0)))
        self.assertEqual(self.successResultOf(files.stat(("newer",))).modified, 5.0)
        self.failureResultOf(files.stat(("new",)), PermissionDenied)
        self.successResultOf(file.commit())
        self.assertEqual(self.successResultOf(files.stat(("newer",))).modified, 5.0)

    def test_uploadUnderWayIsRenamedByWhoMayUpload(self):
        files = self.make({P.upload})
        file = self.successResultOf(files.open(("new",), OpenMode.create))
        self.failureResultOf(files.rename(("new",), ("other",), True), PermissionDenied)
        self.successResultOf(files.rename(("new",), ("newer",), False))
        self.successResultOf(file.commit())
        self.failureResultOf(files.rename(("newer",), ("newest",), False), PermissionDenied)

    def test_whatOthersCommittedMeanwhileIsNotRenamedWithAnUpload(self):
        files = self.make({P.upload})
        self.successResultOf(files.open(("new",), OpenMode.create))
        Deferred.fromCoroutine(write(self.backend.fileSystem("", "bob", True), "/new", b"theirs"))
        self.failureResultOf(files.rename(("new",), ("newer",), False), PermissionDenied)

    def test_madeFoldersAreSeenWithoutList(self):
        files = self.make({P.mkdir, P.delete})
        self.successResultOf(files.makeDirectory(("new",)))
        self.successResultOf(files.stat(("new",)))
        self.successResultOf(files.removeDirectory(("new",)))
        self.failureResultOf(files.stat(("new",)), PermissionDenied)

    def test_descriptorsAreOnlyForReaders(self):
        inner = self.make(set()).inner
        for permissions, isReader in (({P.upload, P.overwrite}, False), (set(P), True)):
            files = Permitted(DescribedFiles(inner), permissions)
            file = self.successResultOf(files.open(("old",), OpenMode.inPlace))
            self.assertIs(IHasDescriptor(file, None) is not None, isReader)

    def test_whatTheStorageCannotDoIsNotOffered(self):
        files = Permitted(FileSystemWrapper(self.make(set()).inner), set(P))
        for ability in (ILinks, IServerSideCopy, ISpaceReport):
            self.assertIs(ability(files, None), None)


class ObservedTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.backend = MemoryBackend(self.clock, 1000)
        self.told = []
        self.files = self.observed(self.backend.fileSystem("", "alice", True))

    def observed(self, inner):
        return Observed(inner, "alice", ORIGIN, self.told.append, self.clock)

    def tell(self):
        """What was told since, without what is the same in all."""
        told, self.told[:] = list(self.told), []
        for event in told:
            self.assertEqual((event.user, event.origin), ("alice", ORIGIN))
        return told

    def expect(self, kind, path, **more):
        self.assertEqual(self.tell(), [kind(user="alice", origin=ORIGIN, path=path, **more)])

    def open(self, name, mode=OpenMode.replace, data=b""):
        file = self.successResultOf(self.files.open((name,), mode))
        if data:
            self.successResultOf(file.write(0, data))
        return file

    def test_uploadIsToldAfterItsCommit(self):
        file = self.open("a", data=b"12345")
        self.clock.advance(2)
        self.assertEqual(self.tell(), [])
        self.successResultOf(file.commit())
        self.expect(events.Uploaded, "/a", size=5, seconds=2.0)

    def test_truncatedUploadIsToldAsItIs(self):
        file = self.open("a", data=b"12345")
        self.successResultOf(file.truncate(2))
        self.successResultOf(file.commit())
        self.expect(events.Uploaded, "/a", size=2, seconds=0.0)

    def test_brokenUploadsAreTold(self):
        self.successResultOf(self.open("a", data=b"123").abort(keep=True))
        self.expect(events.UploadBroken, "/a", size=3, kept=True)
        file = self.open("a", OpenMode.resume)
        self.successResultOf(file.write(3, b"4"))
        self.successResultOf(file.abort(keep=False))
        self.expect(events.UploadBroken, "/a", size=4, kept=False)

    def test_lookingAtABrokenUploadIsNotTold(self):
        self.successResultOf(self.open("a", data=b"123").abort(keep=True))
        self.tell()
        file = self.open("a", OpenMode.resume)
        self.successResultOf(file.abort(keep=True))
        self.assertEqual(self.tell(), [])

    def test_failedCommitIsABrokenUpload(self):
        file = self.open("a", OpenMode.create, b"1")
        Deferred.fromCoroutine(write(self.backend.fileSystem("", "bob", True), "/a", b"theirs"))
        self.failureResultOf(file.commit(), AlreadyExists)
        self.expect(events.UploadBroken, "/a", size=1, kept=False)
        self.failureResultOf(file.commit(), Closed)
        self.failureResultOf(file.abort(keep=True), Closed)
        self.assertEqual(self.tell(), [])

    def test_downloadsAreTold(self):
        self.successResultOf(self.open("a", data=b"12345").commit())
        self.tell()
        file = self.open("a", OpenMode.read)
        self.successResultOf(file.read(0, 2))
        self.successResultOf(file.read(2, 9))
        self.successResultOf(file.abort(keep=False))
        self.expect(events.Downloaded, "/a", size=5, seconds=0.0)

    def test_whatTheKernelSendsIsCounted(self):
        self.successResultOf(self.open("a", data=b"12345").commit())
        self.tell()
        file = self.successResultOf(self.observed(DescribedFiles(self.files.inner)).open(("a",), OpenMode.read))
        described = IHasDescriptor(file)
        self.assertEqual(described.descriptor(), 7)
        described.sent(4)
        self.assertEqual(file.inner.counted, 4)
        self.successResultOf(file.commit())
        self.expect(events.Downloaded, "/a", size=4, seconds=0.0)
        self.assertIs(IHasDescriptor(self.open("a", OpenMode.read), None), None)

    def test_writingInPlaceIsAnUpload(self):
        self.successResultOf(self.open("a", data=b"12345").commit())
        self.tell()
        self.successResultOf(self.open("a", OpenMode.inPlace, b"x").commit())
        self.expect(events.Uploaded, "/a", size=5, seconds=0.0)
        self.successResultOf(self.open("a", OpenMode.inPlace, b"x").abort(keep=False))
        self.expect(events.UploadBroken, "/a", size=5, kept=True)
        self.successResultOf(self.open("a", OpenMode.inPlace).commit())
        self.expect(events.Downloaded, "/a", size=0, seconds=0.0)

    def test_renamedUploadIsToldUnderItsNewName(self):
        self.successResultOf(self.files.makeDirectory(("d",)))
        self.expect(events.FolderMade, "/d")
        file = self.successResultOf(self.files.open(("d", "a"), OpenMode.create))
        self.successResultOf(self.files.rename(("d",), ("e",), False))
        self.expect(events.Renamed, "/d", target="/e")
        self.successResultOf(file.commit())
        self.expect(events.Uploaded, "/e/a", size=0, seconds=0.0)

    def test_removedUploadIsNotToldAsUploaded(self):
        file = self.open("a", data=b"1")
        self.successResultOf(self.files.remove(("a",)))
        self.expect(events.Removed, "/a")
        self.successResultOf(file.commit())
        self.expect(events.UploadBroken, "/a", size=1, kept=False)

    def test_linksAndAttributesAreTold(self):
        self.successResultOf(self.open("a", data=b"1").commit())
        links = ILinks(self.files)
        self.successResultOf(links.makeSymbolicLink(("s",), "a"))
        self.tell()
        self.successResultOf(links.makeSymbolicLink(("t",), "/a"))
        self.expect(events.LinkMade, "/t", target="/a", symbolic=True)
        self.assertEqual(self.successResultOf(links.readLink(("s",))), "a")
        self.successResultOf(links.makeHardLink(("h",), ("a",)))
        self.expect(events.LinkMade, "/h", target="/a", symbolic=False)
        self.successResultOf(self.files.setAttributes(("a",), Attributes(mode=0o100640, modified=7.0)))
        self.expect(events.AttributesSet, "/a", mode="640", modified=7.0)
        self.successResultOf(self.files.setAttributes(("a",), Attributes()))
        self.failureResultOf(links.makeHardLink(("h",), ("missing",)))
        self.assertEqual(self.tell(), [])

    def test_removedFolderIsTold(self):
        self.successResultOf(self.files.makeDirectory(("d",)))
        self.tell()
        self.successResultOf(self.files.removeDirectory(("d",)))
        self.expect(events.FolderRemoved, "/d")

    def test_copyIsTold(self):
        self.successResultOf(self.open("a", data=b"12345").commit())
        self.tell()
        self.successResultOf(IServerSideCopy(self.files).copy(("a",), ("b",), False))
        self.expect(events.Uploaded, "/b", size=5, seconds=0.0)

    def test_failuresAreNotTold(self):
        for result in (
            self.files.open(("none",), OpenMode.read),
            self.files.remove(("none",)),
            self.files.removeDirectory(("none",)),
            self.files.makeDirectory(("none", "d")),
            self.files.rename(("none",), ("b",), False),
            IServerSideCopy(self.files).copy(("none",), ("b",), False),
        ):
            self.failureResultOf(result, FileSystemError)
        self.assertEqual(self.tell(), [])
        self.failureResultOf(self.open("a").write(2000, b"1"), OutOfSpace)

    def test_endOfTheSessionBreaksUploads(self):
        self.open("a", data=b"1")
        self.successResultOf(ISessionFiles(self.files).close())
        self.expect(events.UploadBroken, "/a", size=1, kept=True)
        self.failureResultOf(self.files.stat(()), Closed)
        self.successResultOf(ISessionFiles(self.files).close())
