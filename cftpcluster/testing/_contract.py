"""What the contract tests of file systems share. It knows no implementation."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from ..errors import FileSystemError
from ..files.paths import parse
from ..interfaces import IFile, IFileSystem
from ..vocabulary import Entry, OpenMode, Stat

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _Base
else:
    _Base = object


async def write(files: IFileSystem, path: str, data: bytes, mode: OpenMode = OpenMode.replace) -> None:
    """Upload a file."""
    opened = await files.open(parse(path), mode)
    await opened.write(0, data)
    await opened.commit()


async def read(files: IFileSystem, path: str) -> bytes:
    """Download a file."""
    opened = await files.open(parse(path), OpenMode.read)
    data = await opened.read(0, 2**24)
    await opened.commit()
    return data


async def entries(files: IFileSystem, path: str = "/") -> dict[str, Entry]:
    """List a folder; a name that comes twice is an error."""
    listing = await files.list(parse(path))
    found: dict[str, Entry] = {}
    while batch := await listing.next():
        for entry in batch:
            assert entry.name not in found, entry.name
            found[entry.name] = entry
    listing.close()
    return found


async def stats(files: IFileSystem, path: str = "/") -> dict[str, Stat]:
    """What a listing says of each name."""
    return {name: entry.stat for name, entry in (await entries(files, path)).items()}


class Contract(_Base):
    """What the parts of the contract share."""

    def makeSession(self, owner: str = "alice", atomicUploads: bool = True) -> IFileSystem:
        """A new session of ``owner``; all sessions of one test see the same, at first empty, folder."""
        raise NotImplementedError

    async def refused(self, error: type[FileSystemError], result: Awaitable[Any]) -> None:
        """``result`` fails with just this error."""
        try:
            value = await result
        except FileSystemError as failure:
            self.assertIs(type(failure), error)
            self.assertNotIn("/", str(failure))
        else:
            self.fail(f"{error.__name__} was expected, not {value!r}")

    async def open(self, files: IFileSystem, path: str, mode: OpenMode = OpenMode.replace, data: bytes = b"") -> IFile:
        """Open a file and leave it open."""
        opened = await files.open(parse(path), mode)
        if data:
            await opened.write(0, data)
        return opened

    async def broken(self, files: IFileSystem, path: str, data: bytes, mode: OpenMode = OpenMode.replace) -> bool:
        """An upload that breaks off; tells whether its partial is kept."""
        return await (await self.open(files, path, mode, data)).abort(keep=True)
