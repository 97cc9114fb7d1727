"""The contract of file systems: folders, names, files that are committed, links and copies."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from ..errors import (
    AlreadyExists,
    Closed,
    FolderNotEmpty,
    InvalidName,
    IsAFolder,
    NotAFolder,
    NotFound,
    PathEscapes,
    PermissionDenied,
    Unsupported,
)
from ..files.paths import parse
from ..interfaces import IFile, IFileSystem, ILinks, IListing, IServerSideCopy, ISessionFiles, ISpaceReport
from ..vocabulary import Attributes, Kind, OpenMode
from ._contract import Contract, entries, read, stats, write


class TreeContract(Contract):
    """Folders, names, attributes and errors."""

    async def test_rootIsAnEmptyFolderAtFirst(self) -> None:
        files = self.makeSession()
        self.assertIs((await files.stat(())).kind, Kind.folder)
        self.assertEqual(await stats(files), {})

    async def test_committedFileIsSeenByAll(self) -> None:
        await write(self.makeSession(), "/a", b"hello")
        other = self.makeSession("bob")
        self.assertEqual(await read(other, "/a"), b"hello")
        stat = (await stats(other))["a"]
        self.assertEqual((stat.kind, stat.size), (Kind.file, 5))
        self.assertEqual(await other.stat(("a",)), stat)

    async def test_missingNamesAreNotFound(self) -> None:
        files = self.makeSession()
        path = ("none",)
        for result in (
            files.stat(path),
            files.stat(path, False),
            files.list(path),
            files.open(path, OpenMode.read),
            files.open(path, OpenMode.inPlace),
            files.open(path, OpenMode.resume),
            files.open(("none", "a"), OpenMode.create),
            files.makeDirectory(("none", "a")),
            files.remove(path),
            files.removeDirectory(path),
            files.rename(path, ("b",), False),
            files.setAttributes(path, Attributes(mode=0o600)),
        ):
            await self.refused(NotFound, result)

    async def test_fileIsNotAFolder(self) -> None:
        files = self.makeSession()
        await write(files, "/a", b"")
        for result in (
            files.list(("a",)),
            files.stat(("a", "b")),
            files.open(("a", "b"), OpenMode.create),
            files.makeDirectory(("a", "b")),
            files.removeDirectory(("a",)),
        ):
            await self.refused(NotAFolder, result)

    async def test_folderIsNotAFile(self) -> None:
        files = self.makeSession()
        await files.makeDirectory(("d",))
        for mode in (OpenMode.read, OpenMode.inPlace, OpenMode.replace):
            await self.refused(IsAFolder, files.open(("d",), mode))
        await self.refused(AlreadyExists, files.open(("d",), OpenMode.create))
        await self.refused(IsAFolder, files.remove(("d",)))
        await self.refused(IsAFolder, files.setAttributes(("d",), Attributes(size=0)))

    async def test_foldersNest(self) -> None:
        files = self.makeSession()
        await files.makeDirectory(("d",))
        await files.makeDirectory(("d", "e"))
        await write(files, "/d/e/f", b"deep")
        self.assertEqual(list(await stats(files, "/d")), ["e"])
        self.assertIs((await stats(files))["d"].kind, Kind.folder)
        self.assertEqual(await read(files, "/d/e/f"), b"deep")

    async def test_folderIsMadeOnce(self) -> None:
        files = self.makeSession()
        await files.makeDirectory(("d",))
        await self.refused(AlreadyExists, files.makeDirectory(("d",)))
        await write(files, "/f", b"")
        await self.refused(AlreadyExists, files.makeDirectory(("f",)))

    async def test_onlyEmptyFoldersAreRemoved(self) -> None:
        files = self.makeSession()
        await files.makeDirectory(("d",))
        await write(files, "/d/f", b"")
        await self.refused(FolderNotEmpty, files.removeDirectory(("d",)))
        await files.remove(("d", "f"))
        await files.removeDirectory(("d",))
        await self.refused(NotFound, files.stat(("d",)))

    async def test_rootStays(self) -> None:
        files = self.makeSession()
        await files.makeDirectory(("d",))
        await self.refused(PermissionDenied, files.removeDirectory(()))
        await self.refused(PermissionDenied, files.rename((), ("d", "x"), False))
        self.assertIs((await files.stat(("d",))).kind, Kind.folder)

    async def test_namesAreAnyBytes(self) -> None:
        files = self.makeSession()
        for name in ("é", "\udcff\udcfe", "a\nb", "*?[", "x" * 255, "é" * 127, " ", "\\"):
            await write(files, "/" + name, name.encode("utf-8", "surrogateescape"))
        for name in await stats(files):
            self.assertEqual(await read(files, "/" + name), name.encode("utf-8", "surrogateescape"))
        self.assertEqual(len(await stats(files)), 8)

    async def test_listingsComeInBatches(self) -> None:
        files = self.makeSession()
        names = {f"n{number}" for number in range(700)}
        for name in names:
            await files.makeDirectory((name,))
        self.assertEqual(set(await stats(files)), names)
        listing = await files.list(())
        verifyObject(IListing, listing)
        self.assertLess(len(await listing.next()), 700)
        listing.close()
        listing.close()

    async def test_fileIsRenamed(self) -> None:
        files = self.makeSession()
        await files.makeDirectory(("d",))
        await write(files, "/a", b"1")
        await files.rename(("a",), ("d", "b"), False)
        self.assertEqual(await read(files, "/d/b"), b"1")
        await self.refused(NotFound, files.stat(("a",)))

    async def test_renameReplacesOnlyWhenAsked(self) -> None:
        files = self.makeSession()
        await write(files, "/a", b"1")
        await write(files, "/b", b"2")
        await self.refused(AlreadyExists, files.rename(("a",), ("b",), False))
        self.assertEqual(await read(files, "/b"), b"2")
        await files.rename(("a",), ("b",), True)
        self.assertEqual(await read(files, "/b"), b"1")
        self.assertEqual(list(await stats(files)), ["b"])

    async def test_folderIsRenamedWithItsContents(self) -> None:
        files = self.makeSession()
        await files.makeDirectory(("d",))
        await write(files, "/d/f", b"1")
        await files.rename(("d",), ("e",), False)
        self.assertEqual(await read(files, "/e/f"), b"1")

    async def test_renameKeepsFoldersAndFilesApart(self) -> None:
        files = self.makeSession()
        await files.makeDirectory(("d",))
        await files.makeDirectory(("full",))
        await write(files, "/full/f", b"")
        await write(files, "/a", b"")
        await self.refused(IsAFolder, files.rename(("a",), ("d",), True))
        await self.refused(NotAFolder, files.rename(("d",), ("a",), True))
        await self.refused(FolderNotEmpty, files.rename(("d",), ("full",), True))
        await self.refused(AlreadyExists, files.rename(("d",), ("full",), False))
        self.assertEqual(set(await stats(files)), {"d", "full", "a"})

    async def test_folderCannotEnterItself(self) -> None:
        files = self.makeSession()
        await files.makeDirectory(("d",))
        await self.refused(InvalidName, files.rename(("d",), ("d", "e"), False))
        await files.rename(("d",), ("d",), False)
        self.assertEqual(list(await stats(files)), ["d"])

    async def test_attributesAreSet(self) -> None:
        files = self.makeSession()
        await write(files, "/a", b"12345")
        await files.setAttributes(("a",), Attributes(modified=1_000_000.5, mode=0o600))
        await files.setAttributes(("a",), Attributes(accessed=2_000_000.25))
        stat = await files.stat(("a",))
        self.assertEqual((stat.modified, stat.accessed, stat.mode), (1_000_000.5, 2_000_000.25, 0o600))
        await files.setAttributes(("a",), Attributes(size=2))
        self.assertEqual(await read(files, "/a"), b"12")
        await files.setAttributes(("a",), Attributes(size=4))
        self.assertEqual(await read(files, "/a"), b"12\0\0")

    async def test_modeHoldsPermissionBitsOnly(self) -> None:
        files = self.makeSession()
        await write(files, "/a", b"")
        await files.setAttributes(("a",), Attributes(mode=0o106751))
        self.assertEqual((await files.stat(("a",))).mode, 0o751)

    async def test_folderTakesTimes(self) -> None:
        files = self.makeSession()
        await files.makeDirectory(("d",))
        await files.setAttributes(("d",), Attributes(modified=1_000_000.0))
        self.assertEqual((await files.stat(("d",))).modified, 1_000_000.0)

    async def test_identityChangesWithContents(self) -> None:
        files = self.makeSession()
        await write(files, "/a", b"1")
        first = (await files.stat(("a",))).identity
        self.assertEqual((await files.stat(("a",))).identity, first)
        await write(files, "/a", b"2")
        self.assertNotEqual((await files.stat(("a",))).identity, first)

    async def test_closedSessionAnswersNothing(self) -> None:
        files = self.makeSession()
        opened = await self.open(files, "/a", data=b"part")
        await ISessionFiles(files).close()
        await ISessionFiles(files).close()
        await self.refused(Closed, files.stat(()))
        await self.refused(Closed, files.open(("a",), OpenMode.resume))
        await self.refused(Closed, opened.write(4, b"x"))
        self.assertEqual((await self.makeSession().stat(("a",))).size, 4)

    async def test_providesWhatItSays(self) -> None:
        files = self.makeSession()
        verifyObject(IFileSystem, files)
        verifyObject(ISessionFiles, files)
        verifyObject(ILinks, ILinks(files))
        verifyObject(ISpaceReport, ISpaceReport(files))
        verifyObject(IServerSideCopy, IServerSideCopy(files))
        verifyObject(IFile, await files.open(("a",), OpenMode.create))


class FileContract(Contract):
    """Opened files that are committed, and writing in place."""

    async def test_readsPieces(self) -> None:
        files = self.makeSession()
        await write(files, "/a", bytes(range(100)))
        opened = await self.open(files, "/a", OpenMode.read)
        self.assertEqual(await opened.read(10, 5), bytes(range(10, 15)))
        self.assertEqual(await opened.read(95, 50), bytes(range(95, 100)))
        self.assertEqual(await opened.read(100, 50), b"")
        self.assertEqual(await opened.read(2**40, 1), b"")
        self.assertEqual((await opened.stat()).size, 100)

    async def test_readingDoesNotWrite(self) -> None:
        files = self.makeSession()
        await write(files, "/a", b"1")
        opened = await self.open(files, "/a", OpenMode.read)
        await self.refused(PermissionDenied, opened.write(0, b"2"))
        await self.refused(PermissionDenied, opened.truncate(0))
        await opened.commit()
        self.assertEqual(await read(files, "/a"), b"1")

    async def test_writesLandWhereTheyBelong(self) -> None:
        files = self.makeSession()
        opened = await self.open(files, "/a", OpenMode.create)
        await opened.write(6, memoryview(b"world"))
        await opened.write(0, b"hello ")
        self.assertEqual(await opened.read(0, 100), b"hello world")
        self.assertEqual((await opened.stat()).size, 11)
        await opened.truncate(5)
        await opened.sync()
        await opened.commit()
        self.assertEqual(await read(files, "/a"), b"hello")

    async def test_gapsAreZeros(self) -> None:
        files = self.makeSession()
        opened = await self.open(files, "/a", OpenMode.create)
        await opened.write(3, b"x")
        await opened.commit()
        self.assertEqual(await read(files, "/a"), b"\0\0\0x")

    async def test_closedFileAnswersNothing(self) -> None:
        files = self.makeSession()
        for end in ("commit", "abort"):
            opened = await self.open(files, "/a", OpenMode.replace)
            await (opened.commit() if end == "commit" else opened.abort(keep=False))
            for result in (
                opened.stat(),
                opened.read(0, 1),
                opened.write(0, b""),
                opened.truncate(0),
                opened.setAttributes(Attributes(mode=0o600)),
                opened.sync(),
                opened.commit(),
                opened.abort(keep=False),
            ):
                await self.refused(Closed, result)

    async def test_inPlaceIsSeenAtOnce(self) -> None:
        files = self.makeSession()
        await write(files, "/a", b"12345")
        opened = await self.open(files, "/a", OpenMode.inPlace)
        await opened.write(2, b"x")
        self.assertEqual(await read(self.makeSession("bob"), "/a"), b"12x45")
        self.assertEqual(await opened.read(0, 9), b"12x45")
        self.assertFalse(await opened.abort(keep=False))
        self.assertEqual(await read(files, "/a"), b"12x45")

    async def test_attributesSurviveTheCommit(self) -> None:
        files = self.makeSession()
        opened = await self.open(files, "/a", data=b"1")
        await opened.setAttributes(Attributes(modified=1_000_000.0, mode=0o600))
        await opened.commit()
        stat = await files.stat(("a",))
        self.assertEqual((stat.modified, stat.mode), (1_000_000.0, 0o600))

    async def test_directWritesAreSeenAtOnce(self) -> None:
        files, other = self.makeSession(atomicUploads=False), self.makeSession("bob")
        opened = await self.open(files, "/a", OpenMode.create, b"1")
        self.assertEqual(await read(other, "/a"), b"1")
        await self.refused(AlreadyExists, files.open(("a",), OpenMode.create))
        self.assertFalse(await opened.abort(keep=True))
        await self.refused(NotFound, files.open(("a",), OpenMode.resume))
        opened = await self.open(files, "/a", OpenMode.replace)
        self.assertEqual(await read(other, "/a"), b"")
        await opened.write(0, b"23")
        await opened.commit()
        self.assertEqual(await read(other, "/a"), b"23")


class AbilitiesContract(Contract):
    """Links, room and copies."""

    async def test_linksAreFollowed(self) -> None:
        files = self.makeSession()
        links = ILinks(files)
        await files.makeDirectory(("d",))
        await write(files, "/d/f", b"1")
        await links.makeSymbolicLink(("toFile",), "d/f")
        await links.makeSymbolicLink(("d", "up"), "..")
        await links.makeSymbolicLink(("toFolder",), "/d")
        listed = await entries(files)
        self.assertEqual({name for name, entry in listed.items() if entry.link}, {"toFile", "toFolder"})
        self.assertEqual(await read(files, "/toFile"), b"1")
        self.assertEqual(await read(files, "/toFolder/up/toFolder/f"), b"1")
        found = await stats(files)
        self.assertEqual({name: stat.kind for name, stat in found.items()}["toFolder"], Kind.folder)
        self.assertEqual(found["toFile"].size, 1)
        self.assertIs((await files.stat(("toFile",), follow=False)).kind, Kind.link)

    async def test_linksAreReadAsPathsOfTheTree(self) -> None:
        files = self.makeSession()
        links = ILinks(files)
        await files.makeDirectory(("d",))
        await links.makeSymbolicLink(("d", "a"), "/x/y")
        await links.makeSymbolicLink(("d", "b"), "../x")
        self.assertEqual(parse(await links.readLink(("d", "a")), ("d",)), ("x", "y"))
        self.assertEqual(parse(await links.readLink(("d", "b")), ("d",)), ("x",))
        await self.refused(Unsupported, links.readLink(("d",)))
        await self.refused(NotFound, links.readLink(("none",)))

    async def test_linksDoNotLeadOut(self) -> None:
        files = self.makeSession()
        links = ILinks(files)
        await files.makeDirectory(("d",))
        for target in ("../x", "d/../../x", "../../d"):
            await self.refused(PathEscapes, links.makeSymbolicLink(("a",), target))
        for target in ("d/.cftpcluster-part-x", ""):
            await self.refused(InvalidName, links.makeSymbolicLink(("a",), target))
        await links.makeSymbolicLink(("d", "a"), "/../../x")
        self.assertEqual(parse(await links.readLink(("d", "a")), ("d",)), ("x",))

    async def test_linksHaveTimesOfTheirOwn(self) -> None:
        files = self.makeSession()
        await write(files, "/f", b"data")
        links = ILinks(files)
        await links.makeSymbolicLink(("link",), "f")
        await links.setLinkAttributes(("link",), Attributes(modified=22.0))
        self.assertEqual((await files.stat(("link",), False)).modified, 22.0)
        self.assertNotEqual((await files.stat(("link",))).modified, 22.0)
        await self.refused(Unsupported, links.setLinkAttributes(("link",), Attributes(mode=0o600)))
        await self.refused(Unsupported, links.setLinkAttributes(("f",), Attributes(modified=22.0)))
        await self.refused(NotFound, links.setLinkAttributes(("none",), Attributes(modified=22.0)))

    async def test_linkThatLeadsNowhere(self) -> None:
        files = self.makeSession()
        await ILinks(files).makeSymbolicLink(("a",), "none")
        await self.refused(NotFound, files.stat(("a",)))
        await self.refused(NotFound, files.open(("a",), OpenMode.read))
        await self.refused(AlreadyExists, files.open(("a",), OpenMode.create))
        self.assertIs((await stats(files))["a"].kind, Kind.link)
        await write(files, "/a", b"1")
        self.assertEqual(await read(files, "/none"), b"1")
        self.assertEqual(await read(files, "/a"), b"1")

    async def test_linksThatTurnInCirclesEnd(self) -> None:
        files = self.makeSession()
        await ILinks(files).makeSymbolicLink(("a",), "b")
        await ILinks(files).makeSymbolicLink(("b",), "a")
        await self.refused(NotFound, files.stat(("a",)))
        self.assertIs((await stats(files))["a"].kind, Kind.link)

    async def test_removingALinkLeavesItsTarget(self) -> None:
        files = self.makeSession()
        await files.makeDirectory(("d",))
        await ILinks(files).makeSymbolicLink(("a",), "d")
        await self.refused(NotAFolder, files.removeDirectory(("a",)))
        await files.rename(("a",), ("b",), False)
        await files.remove(("b",))
        self.assertEqual(list(await stats(files)), ["d"])

    async def test_replacingALinkToAFileWritesTheFile(self) -> None:
        files = self.makeSession()
        await write(files, "/f", b"old")
        await ILinks(files).makeSymbolicLink(("a",), "f")
        await write(files, "/a", b"new")
        self.assertEqual(await read(files, "/f"), b"new")
        self.assertIs((await files.stat(("a",), follow=False)).kind, Kind.link)

    async def test_hardLinksShareAFile(self) -> None:
        files = self.makeSession()
        await files.makeDirectory(("d",))
        await write(files, "/f", b"1")
        await ILinks(files).makeHardLink(("d", "a"), ("f",))
        self.assertEqual((await files.stat(("f",))).links, 2)
        await (await self.open(files, "/f", OpenMode.inPlace, b"2")).commit()
        self.assertEqual(await read(files, "/d/a"), b"2")
        await self.refused(AlreadyExists, ILinks(files).makeHardLink(("d", "a"), ("f",)))
        await self.refused(IsAFolder, ILinks(files).makeHardLink(("b",), ("d",)))
        await files.remove(("f",))
        self.assertEqual((await files.stat(("d", "a"))).links, 1)

    async def test_spaceIsReported(self) -> None:
        space = await ISpaceReport(self.makeSession()).space(())
        self.assertGreater(space.totalBytes or 0, 0)
        self.assertGreaterEqual(space.totalBytes or 0, space.freeBytes or 0)

    async def test_copies(self) -> None:
        files = self.makeSession()
        copying = IServerSideCopy(files)
        data = bytes(range(256)) * 2000
        await write(files, "/a", data)
        await copying.copy(("a",), ("b",), False)
        self.assertEqual(await read(files, "/b"), data)
        await write(files, "/a", b"2")
        await self.refused(AlreadyExists, copying.copy(("a",), ("b",), False))
        await copying.copy(("a",), ("b",), True)
        await copying.copy(("b",), ("b",), True)
        self.assertEqual(await read(files, "/b"), b"2")
        await self.refused(NotFound, copying.copy(("none",), ("c",), False))
        await files.makeDirectory(("d",))
        await self.refused(IsAFolder, copying.copy(("d",), ("c",), False))
        await self.refused(IsAFolder, copying.copy(("a",), ("d",), True))
        self.assertEqual(set(await stats(files)), {"a", "b", "d"})
