"""What SCP's client downloads (``scp -f``): files and folders, one after the other. Knows no options."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from ...errors import FileSystemError, IsAFolder
from ...files.paths import encode, parse
from ...files.streams import CHUNK_BYTES, FileSender, Stopped
from ...interfaces import IFile, IFileSystem, IListing
from ...vocabulary import Entry, Kind, OpenMode, Stat
from . import records
from .sayings import failed, shown
from .standard import Gone, LineTooLong, Streams

DEPTH_LIMIT = 100
"""A folder is held open at every depth."""


class NestedTooDeep(FileSystemError):
    message = f"more than {DEPTH_LIMIT} folders deep"


class LeadsInCircles(FileSystemError):
    message = "a link within a link, not followed"


class NotRegular(FileSystemError):
    message = "not a regular file"


class _Stopped(Exception):
    """The client wants nothing more."""


@define(eq=False)
class _Folder:
    """A folder that is being sent.

    :ivar text: as the client named it.
    :ivar isLinked: whether a link led here.
    """

    text: bytes
    isLinked: bool
    _listing: IListing
    _entries: list[Entry] = field(factory=list, init=False)

    async def next(self) -> Entry | None:
        if not self._entries:
            self._entries = list(await self._listing.next())
        return self._entries.pop() if self._entries else None

    def inner(self, name: str) -> bytes:
        return self.text + (b"" if self.text.endswith(b"/") else b"/") + encode(name)

    def close(self) -> None:
        self._listing.close()


@define(eq=False)
class Source:
    """
    :ivar recursive: whether folders are sent.
    :ivar preserve: whether times are sent along.
    """

    _files: IFileSystem
    _streams: Streams
    _recursive: bool
    _preserve: bool
    _errors: int = field(default=0, init=False)
    _folders: list[_Folder] = field(factory=list, init=False)

    async def send(self, names: Iterable[bytes]) -> int:
        """Send what is named; gives the exit status."""
        try:
            await self._isAccepted()
            for name in names:
                await self._tree(name)
        except _Stopped:
            pass
        finally:
            for folder in self._folders:
                folder.close()
        return 1 if self._errors else 0

    async def _isAccepted(self) -> bool:
        """Whether the client has no objection to what it was sent."""
        verdict = await self._streams.byte()
        if verdict == records.OK[0]:
            return True
        self._errors += 1
        try:
            await self._streams.line(records.LONGEST_LINE)
        except LineTooLong:
            verdict = records.FATAL
        if verdict == records.FATAL:
            raise _Stopped
        return False

    def _complain(self, text: bytes) -> None:
        self._errors += 1
        self._streams.write(records.complaint(text))

    async def _tree(self, text: bytes) -> None:
        text = text.rstrip(b"/") or text[:1]
        await self._one(text, None)
        while self._folders:
            folder = self._folders[-1]
            try:
                entry = await folder.next()
            except FileSystemError as error:
                self._complain(failed(folder.text, error))
                entry = None
            if entry is not None:
                await self._one(folder.inner(entry.name), entry)
                continue
            self._folders.pop().close()
            self._streams.write(records.END)
            await self._isAccepted()

    async def _one(self, text: bytes, entry: Entry | None) -> None:
        """Send a file, or begin a folder."""
        await self._streams.room()
        try:
            if entry is not None and entry.stat.kind is Kind.folder:
                await self._folder(text, entry.stat, entry.link)
                return
            if entry is not None and entry.stat.kind is not Kind.file:
                raise NotRegular
            file = await self._files.open(parse(text), OpenMode.read)
        except IsAFolder:
            await self._named(text)
        except FileSystemError as error:
            self._complain(failed(text, error))
        else:
            await self._file(text, file)

    async def _named(self, text: bytes) -> None:
        """Begin a folder that was asked for by name."""
        try:
            await self._folder(text, await self._files.stat(parse(text)), False)
        except FileSystemError as error:
            self._complain(failed(text, error))

    # --- folders

    async def _folder(self, text: bytes, stat: Stat, isLink: bool) -> None:
        if not self._recursive:
            raise NotRegular
        if len(self._folders) >= DEPTH_LIMIT:
            raise NestedTooDeep
        isLinked = bool(self._folders) and self._folders[-1].isLinked
        if isLink and isLinked:
            raise LeadsInCircles
        listing = await self._files.list(parse(text))
        try:
            isWanted = await self._begin(True, stat, text)
        except BaseException:
            listing.close()
            raise
        if isWanted:
            self._folders.append(_Folder(text, isLink or isLinked, listing))
        else:
            listing.close()

    async def _begin(self, isFolder: bool, stat: Stat, text: bytes) -> bool:
        """Announce a file or folder; whether the client takes it."""
        if self._preserve:
            self._streams.write(records.times(stat))
            if not await self._isAccepted():
                return False
        name = text.rpartition(b"/")[2] or b"."
        self._streams.write(records.begin(isFolder, stat, name))
        return await self._isAccepted()

    # --- files

    async def _file(self, text: bytes, file: IFile) -> None:
        try:
            await self._contents(text, file)
        finally:
            await file.abort(keep=False)

    async def _contents(self, text: bytes, file: IFile) -> None:
        try:
            stat = await file.stat()
        except FileSystemError as error:
            self._complain(failed(text, error))
            return
        if not await self._begin(False, stat, text):
            return
        sender = FileSender(file, self._streams)
        why = b"the file became shorter"
        try:
            await sender.send(0, stat.size)
        except Stopped:
            raise Gone from None
        except FileSystemError as error:
            why = failed(b"", error)[2:]
        if sender.sent == stat.size:
            self._streams.write(records.OK)
        else:
            await self._pad(stat.size - sender.sent)
            self._complain(shown(text) + b": " + why)
        await self._isAccepted()

    async def _pad(self, size: int) -> None:
        """Send as much as was announced: the client takes whatever comes for the file."""
        nothing = memoryview(bytes(CHUNK_BYTES))
        while size:
            await self._streams.room()
            piece = nothing[:size]
            self._streams.write(piece)
            size -= len(piece)
