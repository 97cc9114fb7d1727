"""The contract of file systems: uploads, before their commit and after they broke."""

from __future__ import annotations

from ..errors import (
    AlreadyExists,
    Busy,
    Closed,
    FolderNotEmpty,
    IsAFolder,
    NotFound,
)
from ..files.paths import parse
from ..interfaces import ISessionFiles
from ..vocabulary import Attributes, Kind, OpenMode
from ._contract import Contract, read, stats, write


class UploadContract(Contract):
    """Uploads: nothing is seen before the commit, and what breaks can be continued."""

    async def test_uploadIsUnseenBeforeItsCommit(self) -> None:
        files, other = self.makeSession(), self.makeSession("bob")
        for mode in (OpenMode.create, OpenMode.replace):
            opened = await self.open(files, "/a", mode, b"half")
            await self.refused(NotFound, other.stat(("a",)))
            await self.refused(NotFound, other.open(("a",), OpenMode.read))
            self.assertEqual(await stats(other), {})
            await opened.commit()
            self.assertEqual(await read(other, "/a"), b"half")
            await files.remove(("a",))

    async def test_replacementIsWholeAndAtOnce(self) -> None:
        files, other = self.makeSession(), self.makeSession("bob")
        await write(files, "/a", b"old")
        reading = await self.open(other, "/a", OpenMode.read)
        opened = await self.open(files, "/a", OpenMode.replace, b"newer")
        self.assertEqual(await read(other, "/a"), b"old")
        self.assertEqual((await stats(other))["a"].size, 3)
        await opened.commit()
        self.assertEqual(await read(other, "/a"), b"newer")
        self.assertEqual(await reading.read(0, 9), b"old")

    async def test_ownUploadIsSeenUnderItsName(self) -> None:
        files = self.makeSession()
        await write(files, "/a", b"old")
        await self.open(files, "/a", OpenMode.replace, b"newer")
        await self.open(files, "/b", OpenMode.create, b"1")
        found = await stats(files)
        self.assertEqual({name: stat.size for name, stat in found.items()}, {"a": 5, "b": 1})
        self.assertEqual((await files.stat(("a",))).size, 5)
        self.assertEqual((await files.stat(("b",), False)).size, 1)
        self.assertEqual(await read(files, "/a"), b"newer")

    async def test_createRefusesWhatExists(self) -> None:
        files = self.makeSession()
        await write(files, "/a", b"old")
        await self.refused(AlreadyExists, files.open(("a",), OpenMode.create))
        await self.open(files, "/b", OpenMode.create)
        await self.refused(AlreadyExists, files.open(("b",), OpenMode.create))
        await self.refused(AlreadyExists, files.makeDirectory(("b",)))

    async def test_createRefusesWhatCameMeanwhile(self) -> None:
        files, other = self.makeSession(), self.makeSession("bob")
        opened = await self.open(files, "/a", OpenMode.create, b"mine")
        await write(other, "/a", b"theirs")
        await self.refused(AlreadyExists, opened.commit())
        self.assertEqual(await read(files, "/a"), b"theirs")
        await self.refused(Closed, opened.commit())

    async def test_folderThatCameMeanwhileStays(self) -> None:
        files, other = self.makeSession(), self.makeSession("bob")
        opened = await self.open(files, "/a", OpenMode.replace, b"mine")
        await other.makeDirectory(("a",))
        await self.refused(IsAFolder, opened.commit())
        self.assertIs((await files.stat(("a",))).kind, Kind.folder)

    async def test_lastCommitWins(self) -> None:
        files, other = self.makeSession(), self.makeSession()
        first = await self.open(files, "/a", data=b"first")
        second = await self.open(other, "/a", data=b"second")
        third = await self.open(files, "/a", data=b"third")
        await third.commit()
        await first.commit()
        await second.commit()
        self.assertEqual(await read(files, "/a"), b"second")
        self.assertEqual(list(await stats(files)), ["a"])

    async def test_abortLeavesNothing(self) -> None:
        files = self.makeSession()
        opened = await self.open(files, "/a", data=b"half")
        self.assertFalse(await opened.abort(keep=False))
        await self.refused(NotFound, files.stat(("a",)))
        await self.refused(NotFound, files.open(("a",), OpenMode.resume))
        self.assertEqual(await stats(files), {})

    async def test_brokenReplacementLeavesTheOldFile(self) -> None:
        files = self.makeSession()
        await write(files, "/a", b"old")
        self.assertFalse(await self.broken(files, "/a", b"new"))
        self.assertEqual(await read(files, "/a"), b"old")
        await files.remove(("a",))
        await self.refused(NotFound, files.stat(("a",)))

    async def test_keptPartialIsKnownToItsOwnerOnly(self) -> None:
        files = self.makeSession()
        self.assertTrue(await self.broken(files, "/a", b"half"))
        again = self.makeSession()
        self.assertEqual((await again.stat(("a",))).size, 4)
        self.assertEqual(await stats(again), {})
        await self.refused(NotFound, again.open(("a",), OpenMode.read))
        await self.refused(NotFound, again.open(("a",), OpenMode.inPlace))
        other = self.makeSession("bob")
        await self.refused(NotFound, other.stat(("a",)))
        await self.refused(NotFound, other.open(("a",), OpenMode.resume))

    async def test_keptPartialIsContinued(self) -> None:
        await self.broken(self.makeSession(), "/a", b"hello")
        files = self.makeSession()
        opened = await files.open(("a",), OpenMode.resume)
        self.assertEqual((await opened.stat()).size, 5)
        await opened.write(5, b" world")
        self.assertTrue(await opened.abort(keep=True))
        opened = await files.open(("a",), OpenMode.resume)
        await opened.write(11, b"!")
        await opened.commit()
        self.assertEqual(await read(self.makeSession("bob"), "/a"), b"hello world!")
        await self.refused(NotFound, files.open(("a",), OpenMode.resume))

    async def test_continuedUploadReplacesNothing(self) -> None:
        files, other = self.makeSession(), self.makeSession("bob")
        await self.broken(files, "/a", b"half")
        opened = await files.open(("a",), OpenMode.resume)
        await write(other, "/a", b"theirs")
        await self.refused(AlreadyExists, opened.commit())
        await self.refused(NotFound, files.open(("a",), OpenMode.resume))
        self.assertEqual(await read(files, "/a"), b"theirs")

    async def test_truncatingOpenDiscardsTheKeptPartial(self) -> None:
        files = self.makeSession()
        await self.broken(files, "/a", b"a long half")
        await write(files, "/a", b"new", OpenMode.create)
        self.assertEqual(await read(files, "/a"), b"new")
        await files.remove(("a",))
        await self.refused(NotFound, files.open(("a",), OpenMode.resume))

    async def test_onePartialHasOneWriter(self) -> None:
        files = self.makeSession()
        opened = await self.open(files, "/a", data=b"half")
        self.assertEqual((await self.makeSession().stat(("a",))).size, 4)
        await self.refused(Busy, self.makeSession().open(("a",), OpenMode.resume))
        await self.refused(Busy, files.open(("a",), OpenMode.resume))
        await self.refused(Busy, self.makeSession().remove(("a",)))
        await opened.abort(keep=True)
        await (await self.makeSession().open(("a",), OpenMode.resume)).commit()
        self.assertEqual(await read(files, "/a"), b"half")

    async def test_secondWriterHasNoPartial(self) -> None:
        files, other = self.makeSession(), self.makeSession()
        first = await self.open(files, "/a", data=b"first half")
        self.assertFalse(await self.broken(other, "/a", b"second"))
        self.assertTrue(await first.abort(keep=True))
        self.assertEqual((await other.stat(("a",))).size, 10)

    async def test_keptPartialHoldsItsFolderWhenAnotherIsToReplaceIt(self) -> None:
        files = self.makeSession()
        for name in ("d", "e"):
            await files.makeDirectory((name,))
        await self.broken(files, "/d/a", b"half")
        await self.refused(FolderNotEmpty, files.rename(("e",), ("d",), True))
        self.assertEqual((await files.stat(("d", "a"))).size, 4)

    async def test_keptPartialIsDiscarded(self) -> None:
        files = self.makeSession()
        await self.broken(files, "/a", b"half")
        await files.remove(("a",))
        await self.refused(NotFound, files.stat(("a",)))
        await self.refused(NotFound, files.remove(("a",)))

    async def test_keptPartialDoesNotHoldAFolder(self) -> None:
        files = self.makeSession()
        await files.makeDirectory(("d",))
        await self.broken(files, "/d/a", b"half")
        await files.removeDirectory(("d",))
        await self.refused(NotFound, files.stat(("d",)))

    async def test_uploadUnderWayHoldsItsFolder(self) -> None:
        files = self.makeSession()
        await files.makeDirectory(("d",))
        opened = await self.open(files, "/d/a", data=b"1")
        await self.refused(FolderNotEmpty, files.removeDirectory(("d",)))
        await self.refused(FolderNotEmpty, self.makeSession("bob").removeDirectory(("d",)))
        await opened.commit()
        self.assertEqual(await read(files, "/d/a"), b"1")

    async def test_uploadUnderWayIsOpenedAgain(self) -> None:
        files = self.makeSession()
        opened = await self.open(files, "/a", data=b"12345")
        again = await self.open(files, "/a", OpenMode.inPlace)
        await again.write(0, b"x")
        self.assertEqual(await opened.read(0, 9), b"x2345")
        await opened.commit()
        await again.write(1, b"y")
        await again.commit()
        self.assertEqual(await read(self.makeSession("bob"), "/a"), b"xy345")

    async def test_uploadUnderWayTakesAttributes(self) -> None:
        files = self.makeSession()
        opened = await self.open(files, "/a", data=b"12345")
        await files.setAttributes(("a",), Attributes(modified=1_000_000.0, size=3))
        await opened.commit()
        stat = await files.stat(("a",))
        self.assertEqual((stat.modified, stat.size), (1_000_000.0, 3))

    async def test_uploadUnderWayIsRenamed(self) -> None:
        files = self.makeSession()
        await files.makeDirectory(("d",))
        opened = await self.open(files, "/a", data=b"1")
        await files.rename(("a",), ("d", "b"), False)
        self.assertEqual(set(await stats(files)), {"d"})
        self.assertEqual(set(await stats(files, "/d")), {"b"})
        await opened.write(1, b"2")
        await opened.commit()
        self.assertEqual(await read(self.makeSession("bob"), "/d/b"), b"12")
        await self.refused(NotFound, files.stat(("a",)))

    async def test_renamedUploadIsKeptUnderItsNewName(self) -> None:
        files = self.makeSession()
        opened = await self.open(files, "/a", data=b"half")
        await files.rename(("a",), ("b",), False)
        self.assertTrue(await opened.abort(keep=True))
        await self.refused(NotFound, files.stat(("a",)))
        self.assertEqual((await files.stat(("b",))).size, 4)
        await (await files.open(("b",), OpenMode.resume)).commit()
        self.assertEqual(await read(files, "/b"), b"half")

    async def test_renamedUploadLeavesThePartialThatIsKeptThere(self) -> None:
        files = self.makeSession()
        await self.broken(files, "/b", b"half")
        opened = await self.open(files, "/a", data=b"whole file")
        await files.rename(("a",), ("b",), False)
        self.assertEqual((await files.stat(("b",))).size, 10)
        self.assertFalse(await opened.abort(keep=True))
        self.assertEqual((await files.stat(("b",))).size, 4)

    async def test_renamedUploadReplacesOnlyWhenAsked(self) -> None:
        files = self.makeSession()
        await write(files, "/b", b"old")
        opened = await self.open(files, "/a", data=b"1")
        await self.refused(AlreadyExists, files.rename(("a",), ("b",), False))
        await files.rename(("a",), ("b",), True)
        self.assertEqual(await read(self.makeSession("bob"), "/b"), b"old")
        await opened.commit()
        self.assertEqual(await read(files, "/b"), b"1")
        self.assertEqual(list(await stats(files)), ["b"])

    async def test_uploadUnderWayIsATargetOfARename(self) -> None:
        files = self.makeSession()
        await write(files, "/a", b"1")
        opened = await self.open(files, "/b", data=b"2")
        await self.refused(AlreadyExists, files.rename(("a",), ("b",), False))
        await files.rename(("a",), ("b",), True)
        await opened.commit()
        self.assertEqual(await read(files, "/b"), b"1")

    async def test_renamedReplacementTakesItsFileAlong(self) -> None:
        files = self.makeSession()
        await write(files, "/a", b"old")
        opened = await self.open(files, "/a", data=b"new")
        await files.rename(("a",), ("b",), False)
        self.assertEqual(set(await stats(files)), {"b"})
        self.assertEqual(await read(self.makeSession("bob"), "/b"), b"old")
        await opened.commit()
        self.assertEqual(await read(self.makeSession("bob"), "/b"), b"new")

    async def test_uploadFollowsItsFolder(self) -> None:
        files = self.makeSession()
        await files.makeDirectory(("d",))
        opened = await self.open(files, "/d/a", data=b"1")
        await files.rename(("d",), ("e",), False)
        self.assertEqual((await files.stat(("e", "a"))).size, 1)
        await opened.commit()
        self.assertEqual(await read(files, "/e/a"), b"1")

    async def test_removedUploadCommitsNothing(self) -> None:
        files = self.makeSession()
        await write(files, "/a", b"old")
        for path in ("/a", "/b"):
            opened = await self.open(files, path, data=b"new")
            await files.remove(parse(path))
            await self.refused(NotFound, files.stat(parse(path)))
            await opened.write(0, b"x")
            await opened.commit()
            await self.refused(NotFound, files.stat(parse(path)))
        self.assertEqual(await stats(files), {})

    async def test_removedUploadIsNotKept(self) -> None:
        files = self.makeSession()
        opened = await self.open(files, "/a", data=b"new")
        await files.remove(("a",))
        self.assertFalse(await opened.abort(keep=True))
        await self.refused(NotFound, files.stat(("a",)))

    async def test_endOfTheSessionKeepsPartials(self) -> None:
        files = self.makeSession()
        await write(files, "/old", b"old")
        await self.open(files, "/a", data=b"half")
        await self.open(files, "/old", data=b"half")
        await ISessionFiles(files).close()
        again = self.makeSession()
        self.assertEqual((await again.stat(("a",))).size, 4)
        self.assertEqual(await read(again, "/old"), b"old")
        self.assertEqual(list(await stats(again)), ["old"])
