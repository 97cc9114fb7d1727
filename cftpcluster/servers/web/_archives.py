"""Folders as ZIP archives, made while they are sent: ``GET /api/v1/files/FOLDER?op=zip``.

APPNOTE.TXT of the ZIP format; Python's own :mod:`zipfile` writes it to what cannot be sought. An archive holds one
piece of one file at a time, and a few hundred bytes for each entry until its directory is sent at the end. Members are
not compressed, but said to be (as blocks that are stored): readers that do not wait for the directory know no other way
to find the end of a member of unknown length.

What may not be read, and links to folders, are left out; a text at the end of the archive says so.
"""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from attrs import Factory, define, field
from twisted.internet.defer import Deferred

from ...errors import FileSystemError
from ...files.streams import CHUNK_BYTES, Patient, Stopped
from ...files.wrappers import ability
from ...interfaces import IFile, IFileSystem, IPaced
from ...vocabulary import Entry, Kind, OpenMode, Stat, VirtualPath

MOST_ENTRIES = 200_000
"""An archive with more leaves the rest out, and says so."""

MOST_NOTES = 1000
SMALL_BYTES = 32 * 1024
"""So much is packed without a thread: less than handing it to one costs."""

NOTES = "_left_out.txt"


class BrokenOff(Exception):
    """A file could not be read to its end: neither can the archive be made to its end."""


_EPOCH = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o100644 << 16


class Sink(list[bytes]):
    """What a :class:`zipfile.ZipFile` writes to: a list of pieces, which cannot be sought."""

    def write(self, data: bytes) -> int:
        self.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def taken(self) -> bytes:
        """What was written since it was taken last."""
        data = b"".join(self)
        self.clear()
        return data


@define(eq=False)
class Outlet(Patient):
    """Pieces to one consumer, as fast as it takes them."""

    _consumer: Any
    sent: int = 0

    async def write(self, data: bytes) -> None:
        """Fires when more may be made. Fails with ``Stopped`` when nobody takes any."""
        if self.isStopped:
            raise Stopped(self.sent)
        if data:
            self.sent += len(data)
            self._consumer.write(data)
        if not await self.isTaken():
            raise Stopped(self.sent)


@define(eq=False)
class Archive:
    """One archive being sent.

    :ivar run: calls something in a thread.
    """

    _files: IFileSystem
    _outlet: Outlet
    _run: Callable[..., Deferred[Any]]
    _sink: Sink = Factory(Sink)
    _zip: zipfile.ZipFile = field(init=False)
    _entries: int = field(default=0, init=False)
    _leftOut: list[str] = field(factory=list, init=False)
    _leftOutCount: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        sink: Any = self._sink
        self._zip = zipfile.ZipFile(sink, "w", allowZip64=True)

    async def send(self, folder: VirtualPath, names: Sequence[str] | None) -> None:
        """Everything in ``folder``, within a folder of its name; or just these of its entries."""
        if names is None:
            await self._addTree(folder, folder[-1:], (await self._files.stat(folder)).modified)
        else:
            for name in names:
                await self._addNamed((*folder, name), (name,))
        if self._leftOutCount:
            await self._addNotes()
        # thousands of entries take a while
        await self._run(self._zip.close)
        await self._outlet.write(self._sink.taken())

    async def _addNamed(self, path: VirtualPath, member: tuple[str, ...]) -> None:
        try:
            stat = await self._files.stat(path)
        except FileSystemError as error:
            self._leaveOut(member, str(error))
            return
        if stat.kind is Kind.folder:
            await self._addTree(path, member, stat.modified)
        else:
            await self._addEntry(path, member, stat)

    async def _addTree(self, top: VirtualPath, member: tuple[str, ...], modified: float) -> None:
        # one folder is open at a time, however deep they lie
        pending: list[tuple[tuple[str, ...], float]] = [((), modified)]
        while pending:
            inside, modified = pending.pop()
            place = (*member, *inside)
            if place:
                await self._addFolder(place, modified)
            try:
                listing = await self._files.list((*top, *inside))
            except FileSystemError as error:
                self._leaveOut(place, str(error))
                continue
            try:
                while batch := await listing.next():
                    folders = await self._addBatch((*top, *inside), place, batch)
                    pending += [((*inside, folder.name), folder.stat.modified) for folder in folders]
            except FileSystemError as error:
                self._leaveOut(place, str(error))
            finally:
                listing.close()

    async def _addBatch(self, folder: VirtualPath, place: tuple[str, ...], batch: Sequence[Entry]) -> list[Entry]:
        """Add the files; answers with the folders."""
        folders = []
        for entry in batch:
            if self._entries >= MOST_ENTRIES:
                self._leaveOut((*place, entry.name), f"an archive has at most {MOST_ENTRIES} entries")
            elif entry.stat.kind is Kind.folder:
                if entry.link:
                    # going on there could lead back to where it came from
                    self._leaveOut((*place, entry.name), "it is a link to a folder")
                else:
                    self._entries += 1
                    folders.append(entry)
            else:
                self._entries += 1
                await self._addEntry((*folder, entry.name), (*place, entry.name), entry.stat)
        return folders

    async def _addEntry(self, path: VirtualPath, member: tuple[str, ...], stat: Stat) -> None:
        if stat.kind is not Kind.file:
            self._leaveOut(member, "it is no file, or a link that leads nowhere")
            return
        try:
            opened = await self._files.open(path, OpenMode.read)
        except FileSystemError as error:
            self._leaveOut(member, str(error))
            return
        try:
            await self._addFile(member, opened)
        finally:
            with suppress(FileSystemError):
                await opened.abort(keep=False)

    async def _addFile(self, member: tuple[str, ...], opened: IFile) -> None:
        stat = await opened.stat()
        info = _infoOf(joined(member), dosTime(stat.modified))
        info.file_size = stat.size
        paced = ability(IPaced, opened)

        def read(offset: int) -> Deferred[bytes]:
            most = CHUNK_BYTES if paced is None else min(CHUNK_BYTES, paced.pieceBytes(True))
            return opened.read(offset, max(0, min(most, stat.size - offset)))

        offset = 0
        with self._zip.open(info, "w") as packed:
            ahead = read(0)
            while data := await _orBrokenOff(ahead):
                offset += len(data)
                ahead = read(offset)
                try:
                    await self._pack(packed, data)
                except BaseException:
                    if paced is not None:
                        paced.hurry()
                    with suppress(FileSystemError):
                        await ahead
                    raise
        if offset < stat.size:
            self._leaveOut(member, f"it became shorter meanwhile; its first {offset} bytes are here")
        await self._outlet.write(self._sink.taken())

    async def _pack(self, packed: Any, data: bytes) -> None:
        if len(data) <= SMALL_BYTES:
            packed.write(data)
        else:
            await self._run(packed.write, data)
        await self._outlet.write(self._sink.taken())

    async def _addFolder(self, place: tuple[str, ...], modified: float) -> None:
        info = zipfile.ZipInfo(joined(place) + "/", dosTime(modified))
        # a folder for Unix, and for DOS
        info.external_attr = 0o40755 << 16 | 0x10
        info.CRC = 0
        self._zip.mkdir(info)
        await self._outlet.write(self._sink.taken())

    def _leaveOut(self, member: tuple[str, ...], why: str) -> None:
        self._leftOutCount += 1
        if self._leftOutCount <= MOST_NOTES:
            self._leftOut.append(f"{joined(member)}: {why}")

    async def _addNotes(self) -> None:
        more = self._leftOutCount - len(self._leftOut)
        lines = [*self._leftOut, *([f"and {more} more"] if more else [])]
        self._zip.writestr(
            _infoOf(NOTES, _EPOCH), "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
        )
        await self._outlet.write(self._sink.taken())


async def _orBrokenOff(reading: Deferred[bytes]) -> bytes:
    try:
        return await reading
    except FileSystemError as error:
        raise BrokenOff from error


def _infoOf(name: str, moment: tuple[int, int, int, int, int, int]) -> zipfile.ZipInfo:
    info: Any = zipfile.ZipInfo(name, moment)
    info.external_attr = 0o100644 << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    # has a public name from Python 3.13 on only
    info._compresslevel = 0
    return info  # type: ignore[no-any-return]


def joined(member: Sequence[str]) -> str:
    """The path of a member."""
    return "/".join(memberName(name) for name in member)


def memberName(name: str) -> str:
    """A name that no reader takes for more than a name, some of which know other separators, and drives."""
    text = "".join("_" if each == "\\" or each < " " or each == "\x7f" else each for each in name)
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return f"{text[0]}_{text[2:]}" if text[1:2] == ":" else text


def dosTime(seconds: float) -> tuple[int, int, int, int, int, int]:
    """What ZIP can say of a time, in UTC."""
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return _EPOCH
    year = moment.year
    if not 1980 <= year <= 2107:
        return _EPOCH
    return year, moment.month, moment.day, moment.hour, moment.minute, moment.second
