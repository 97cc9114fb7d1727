"""What SCP's client uploads (``scp -t``): files and folders, one after the other.

A file takes its place when all its bytes have come and its sender has said that they are right, or ends the stream in
order after them, as libssh2 does. Knows no options.
"""

from __future__ import annotations

from contextlib import suppress

from attrs import define, field

from ...errors import AlreadyExists, FileSystemError, InvalidName, IsAFolder, NotAFolder, NotFound, OutOfSpace
from ...errors import PermissionDenied as Denied
from ...files.paths import encode, parse
from ...files.streams import CHUNK_BYTES
from ...files.wrappers import ability
from ...interfaces import IFile, IFileSystem, IPaced, ISizedUpload
from ...vocabulary import Attributes, Kind, OpenMode
from . import records
from .sayings import failed, shown
from .standard import EndOfInput, Gone, LineTooLong, Streams
from .wire import Buffer

LARGEST_PIECE_BYTES = 1024 * 1024
"""What came while something was written is written in one go, up to this."""


def _pieceBytes(paced: IPaced | None, left: int) -> tuple[int, int]:
    """How much to write at once, at least and at most."""
    piece = CHUNK_BYTES if paced is None else paced.pieceBytes(False)
    if piece < CHUNK_BYTES:
        return min(piece, left), min(piece, left)
    return min(CHUNK_BYTES, left), min(LARGEST_PIECE_BYTES, left)


class _Stopped(Exception):
    """There is nothing more to be said to this client."""


@define(eq=False)
class _Level:
    """Where files go.

    :ivar text: as the client named it.
    :ivar isFolder: whether they go into it, or take its place; ``None`` where that is not known.
    :ivar attributes: what it gets when everything is in it.
    """

    text: bytes
    isFolder: bool | None = True
    attributes: Attributes | None = None

    def inner(self, name: str) -> bytes:
        """How something in it is named."""
        return self.text + (b"" if self.text.endswith(b"/") else b"/") + encode(name)

    def place(self, name: str) -> bytes:
        """How something that the client calls so is named here, as far as is known."""
        return self.inner(name) if self.isFolder else self.text


@define(eq=False)
class Sink:
    """
    :ivar recursive: whether folders are taken.
    :ivar preserve: whether the modes that the client sends are set.
    """

    _files: IFileSystem
    _streams: Streams
    _recursive: bool
    _preserve: bool
    _errors: int = field(default=0, init=False)
    _times: records.Times | None = field(default=None, init=False)

    async def receive(self, target: bytes, mustBeFolder: bool) -> int:
        """Take what the client sends; gives the exit status."""
        try:
            level = _Level(target, await self._isFolder(target, mustBeFolder))
        except FileSystemError as error:
            self._complain(failed(target, error))
            return 1
        self._streams.write(records.OK)
        try:
            await self._work([level])
        except _Stopped:
            pass
        return 1 if self._errors else 0

    async def _isFolder(self, target: bytes, mustBeFolder: bool) -> bool | None:
        try:
            isFolder = (await self._files.stat(parse(target))).kind is Kind.folder
        except NotFound:
            if mustBeFolder:
                raise
            return False
        except Denied:
            # Who may not look may still be allowed to put something there.
            return mustBeFolder or None
        if mustBeFolder and not isFolder:
            raise NotAFolder
        return isFolder

    # --- records

    async def _work(self, levels: list[_Level]) -> None:
        while levels:
            record = await self._next()
            if record is None:
                return
            if isinstance(record, records.Complaint):
                self._errors += 1
                if record.isFatal:
                    return
            elif isinstance(record, records.Times):
                self._times = record
                self._streams.write(records.OK)
            elif isinstance(record, records.End):
                await self._leave(levels.pop())
            elif record.isFolder:
                await self._enter(levels, record)
            else:
                await self._file(levels[-1], record)

    async def _next(self) -> records.Record | None:
        """What comes next that can be followed; ``None`` at the end."""
        while True:
            await self._streams.room()
            try:
                return records.parse(await self._streams.line(records.LONGEST_LINE))
            except EndOfInput:
                return None
            except InvalidName as error:
                self._complain(str(error).encode())
                self._times = None
            except records.UnexpectedName:
                self._complain(b"error: unexpected filename")
                raise _Stopped from None
            except records.Malformed as error:
                self._complain(b"protocol error: " + str(error).encode())
                raise _Stopped from None
            except LineTooLong:
                self._complain(b"protocol error: line too long")
                raise _Stopped from None

    def _complain(self, text: bytes) -> None:
        self._errors += 1
        self._streams.write(records.complaint(text))

    def _takeTimes(self) -> records.Times | None:
        times, self._times = self._times, None
        return times

    def _attributes(self, record: records.Begin) -> Attributes:
        """What the client wants to be set."""
        times = self._takeTimes()
        return Attributes(
            mode=record.mode & 0o777 if self._preserve else None,
            accessed=None if times is None else times.accessed,
            modified=None if times is None else times.modified,
        )

    # --- folders

    async def _enter(self, levels: list[_Level], record: records.Begin) -> None:
        attributes = self._attributes(record)
        if not self._recursive:
            self._complain(b"protocol error: received directory without -r")
            raise _Stopped
        try:
            text = await self._folder(levels[-1], record.name)
        except FileSystemError as error:
            self._complain(failed(levels[-1].place(record.name), error))
            return
        levels.append(_Level(text, True, attributes))
        self._streams.write(records.OK)

    async def _folder(self, level: _Level, name: str) -> bytes:
        """Make a folder, or find it; how it is named."""
        if level.isFolder is None:
            try:
                await self._files.makeDirectory(parse(level.text))
            except AlreadyExists:
                level.isFolder = True
            else:
                return level.text
        text = level.place(name)
        path = parse(text)
        try:
            if (await self._files.stat(path)).kind is not Kind.folder:
                raise NotAFolder
        except NotFound:
            await self._files.makeDirectory(path)
        except Denied:
            with suppress(AlreadyExists):
                await self._files.makeDirectory(path)
        return text

    async def _leave(self, level: _Level) -> None:
        if level.attributes is not None and level.attributes != Attributes():
            # As with OpenSSH, a failure stays unsaid: many who may upload may not change folders.
            with suppress(FileSystemError):
                await self._files.setAttributes(parse(level.text), level.attributes)
        self._streams.write(records.OK)

    # --- files

    async def _file(self, level: _Level, record: records.Begin) -> None:
        attributes = self._attributes(record)
        text = level.place(record.name)
        try:
            if level.isFolder is False and text.endswith(b"/"):
                raise NotAFolder
            text, file = await self._opened(level, text, record.name)
        except FileSystemError as error:
            self._complain(failed(text, error))
            return
        try:
            self._expect(file, record.size)
        except FileSystemError as error:
            await file.abort(False)
            self._complain(failed(text, error))
            return
        self._streams.write(records.OK)
        failure = await self._fill(file, record.size)
        await self._finish(text, file, failure, attributes)

    async def _opened(self, level: _Level, text: bytes, name: str) -> tuple[bytes, IFile]:
        try:
            return text, await self._files.open(parse(text), OpenMode.replace)
        except (IsAFolder, Denied) as error:
            if level.isFolder is not None:
                raise
            refusal = error
        inner = level.inner(name)
        try:
            file = await self._files.open(parse(inner), OpenMode.replace)
        except (NotFound, NotAFolder):
            raise refusal from None
        level.isFolder = True
        return inner, file

    def _expect(self, file: IFile, size: int) -> None:
        sized = ability(ISizedUpload, file)
        if sized is not None:
            sized.expect(size)

    async def _fill(self, file: IFile, size: int) -> FileSystemError | None:
        """Write what comes; why that failed. What nobody can store is heard out."""
        streams, paced = self._streams, ability(IPaced, file)
        failure: FileSystemError | None = None
        position = 0
        streams.hurry = None if paced is None else paced.hurry
        try:
            while position < size:
                data = await streams.take(*_pieceBytes(paced, size - position))
                if failure is None:
                    failure = await self._write(file, position, data)
                streams.done(len(data))
                position += len(data)
        except (Gone, EndOfInput):
            rest = streams.rest(size - position)
            if failure is None and rest:
                failure = await self._write(file, position, rest)
            await self._abandon(file, failure)
            raise
        finally:
            streams.hurry = None
        return failure

    async def _write(self, file: IFile, position: int, data: Buffer) -> FileSystemError | None:
        try:
            await file.write(position, data)
        except FileSystemError as error:
            return error
        return None

    async def _abandon(self, file: IFile, failure: FileSystemError | None) -> None:
        """The upload is broken: what was written can be continued, unless there was no room for it."""
        await file.abort(not isinstance(failure, OutOfSpace))

    async def _finish(self, text: bytes, file: IFile, failure: FileSystemError | None, attributes: Attributes) -> None:
        try:
            isRight = await self._isRight()
        except BaseException:
            await self._abandon(file, failure)
            raise
        if failure is not None or not isRight:
            await file.abort(False)
            why = failed(text, failure) if failure is not None else shown(text) + b": not stored, its sender failed"
            self._complain(why)
            return
        try:
            problem = await self._set(text, file, attributes)
            await file.commit()
        except FileSystemError as error:
            self._complain(failed(text, error))
            return
        if problem is None:
            self._streams.write(records.OK)
        else:
            self._complain(problem)

    async def _isRight(self) -> bool:
        """Whether the sender stands by what it sent."""
        try:
            verdict = await self._streams.byte()
        except EndOfInput:
            return True
        if verdict == records.OK[0]:
            return True
        if verdict not in {records.FAILED, records.FATAL}:
            self._complain(b"protocol error: more data than announced")
            raise _Stopped
        await self._streams.line(records.LONGEST_LINE)
        return False

    async def _set(self, text: bytes, file: IFile, attributes: Attributes) -> bytes | None:
        """Set what the client wants to be set; what it should be told of that."""
        if attributes == Attributes():
            return None
        try:
            await file.setAttributes(attributes)
        except FileSystemError as error:
            return shown(text) + b": set times: " + failed(b"", error)[2:]
        return None
