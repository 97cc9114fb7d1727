"""The contract of file systems that can be read and not changed, and what such a one holds in its tests.

A test case inherits :class:`ReadOnlyContract` before :class:`twisted.trial.unittest.TestCase` and says how a session is
made on storage that holds :data:`CONTENTS`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

from zope.interface.verify import verifyObject

from ..errors import Closed, IsAFolder, NotAFolder, NotFound, PermissionDenied
from ..files.paths import parse
from ..interfaces import IFile, IFileSystem, IListing, ISessionFiles
from ..vocabulary import Attributes, Kind, OpenMode
from ._contract import Contract, read, stats

CONTENTS: Mapping[str, bytes | None] = {
    "/hello.txt": b"hello",
    "/empty": b"",
    "/folder": None,
    "/folder/inner": None,
    "/folder/inner/bytes": bytes(range(256)) * 1024,
    "/folder/é ü": b"accents",
    "/many": None,
    **{f"/many/n{number}": b"" for number in range(600)},
}
"""Path to a file's bytes, or to ``None`` for a folder; parents come first."""


class ReadOnlyContract(Contract):
    """What can be read is read as from any file system; whatever would change something is refused."""

    async def test_listsFolders(self) -> None:
        files = self.makeSession()
        found = await stats(files)
        self.assertEqual(set(found), {"hello.txt", "empty", "folder", "many"})
        self.assertEqual((found["hello.txt"].kind, found["hello.txt"].size), (Kind.file, 5))
        self.assertIs(found["folder"].kind, Kind.folder)
        self.assertEqual(set(await stats(files, "/folder")), {"inner", "é ü"})

    async def test_listingsComeInBatches(self) -> None:
        files = self.makeSession()
        self.assertEqual(set(await stats(files, "/many")), {f"n{number}" for number in range(600)})
        listing = await files.list(("many",))
        verifyObject(IListing, listing)
        self.assertLess(len(await listing.next()), 600)
        listing.close()
        listing.close()

    async def test_readsFiles(self) -> None:
        files = self.makeSession()
        for path, data in CONTENTS.items():
            if data is not None and not path.startswith("/many"):
                self.assertEqual(await read(files, path), data)

    async def test_readsPiecesInAnyOrder(self) -> None:
        data = CONTENTS["/folder/inner/bytes"]
        assert data is not None
        opened = await self.makeSession().open(("folder", "inner", "bytes"), OpenMode.read)
        verifyObject(IFile, opened)
        for offset, length in ((200_000, 1000), (0, 10), (100, 65536), (len(data) - 5, 50), (len(data), 1), (2**40, 1)):
            self.assertEqual(await opened.read(offset, length), data[offset : offset + length])
        self.assertEqual((await opened.stat()).size, len(data))
        await opened.commit()

    async def test_readsOverlap(self) -> None:
        data = CONTENTS["/folder/inner/bytes"]
        assert data is not None
        opened = await self.makeSession().open(("folder", "inner", "bytes"), OpenMode.read)
        reads = [opened.read(offset, 1000) for offset in (50_000, 0, 100_000)]
        self.assertEqual([await each for each in reads], [data[at : at + 1000] for at in (50_000, 0, 100_000)])
        await opened.commit()

    async def test_whatIsNotThereIsNotFound(self) -> None:
        files = self.makeSession()
        await self.refused(NotFound, files.stat(("none",)))
        await self.refused(NotFound, files.stat(("none", "deeper")))
        await self.refused(NotFound, files.list(("none",)))
        await self.refused(NotFound, files.open(("none",), OpenMode.read))
        await self.refused(NotAFolder, files.stat(("hello.txt", "deeper")))
        await self.refused(NotAFolder, files.list(("hello.txt",)))
        await self.refused(IsAFolder, files.open(("folder",), OpenMode.read))

    async def test_nothingCanBeChanged(self) -> None:
        files = self.makeSession()
        changes: list[Awaitable[Any]] = [
            files.makeDirectory(("new",)),
            files.remove(("hello.txt",)),
            files.removeDirectory(("folder",)),
            files.rename(("hello.txt",), ("other",), False),
            files.rename(("hello.txt",), ("empty",), True),
            files.setAttributes(("hello.txt",), Attributes(modified=1.0)),
            files.setAttributes(("hello.txt",), Attributes(size=0)),
        ]
        for mode in set(OpenMode) - {OpenMode.read}:
            changes += [files.open(("hello.txt",), mode), files.open(("new",), mode)]
        for change in changes:
            await self.refused(PermissionDenied, change)
        self.assertEqual(await read(files, "/hello.txt"), b"hello")
        self.assertEqual(set(await stats(files)), {"hello.txt", "empty", "folder", "many"})

    async def test_openedFilesCannotBeChanged(self) -> None:
        opened = await self.makeSession().open(parse("/hello.txt"), OpenMode.read)
        await self.refused(PermissionDenied, opened.write(0, b"x"))
        await self.refused(PermissionDenied, opened.truncate(0))
        await self.refused(PermissionDenied, opened.setAttributes(Attributes(mode=0o600)))
        self.assertEqual(await opened.read(0, 10), b"hello")
        self.assertFalse(await opened.abort(keep=True))

    async def test_closedFileAnswersNothing(self) -> None:
        for end in ("commit", "abort"):
            opened = await self.makeSession().open(("hello.txt",), OpenMode.read)
            await (opened.commit() if end == "commit" else opened.abort(keep=True))
            for result in (opened.stat(), opened.read(0, 1), opened.commit(), opened.abort(keep=False)):
                await self.refused(Closed, result)

    async def test_identityStays(self) -> None:
        first, second = [(await self.makeSession().stat(("hello.txt",))).identity for _ in range(2)]
        self.assertEqual(first, second)

    async def test_closedSessionAnswersNothing(self) -> None:
        files = self.makeSession()
        opened = await files.open(("hello.txt",), OpenMode.read)
        await ISessionFiles(files).close()
        await ISessionFiles(files).close()
        await self.refused(Closed, files.stat(()))
        await self.refused(Closed, files.open(("hello.txt",), OpenMode.read))
        await self.refused(Closed, opened.read(0, 1))

    async def test_providesWhatItSays(self) -> None:
        files = self.makeSession()
        verifyObject(IFileSystem, files)
        verifyObject(ISessionFiles, files)
