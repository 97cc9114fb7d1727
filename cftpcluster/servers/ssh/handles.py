"""What a client has opened: files and folders, by handles that nobody can guess. Knows no packet."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ...errors import FileSystemError, OutOfSpace, PermissionDenied
from ...files.paths import isWithin, moved
from ...interfaces import IFile, IListing, IPaced
from ...vocabulary import Attributes, Entry, OpenMode, VirtualPath

HANDLE_LIMIT = 256
SCATTER_LIMIT = 256
LARGEST_PIECE_BYTES = 1024 * 1024

_UPLOADS = frozenset({OpenMode.create, OpenMode.replace, OpenMode.resume})


class NoSuchHandle(FileSystemError):
    message = "no such handle"


class TooManyHandles(FileSystemError):
    message = "too many open handles"


class BrokenUpload(FileSystemError):
    message = "a write had failed, so the file was not stored"


@define(eq=False)
class Extent:
    """How far a file was written without a gap from its beginning.

    A client may write in any order, and reserve room before it writes; a partial that is to be continued at its length
    must have no holes. Ranges that come early wait, a bounded number of them.

    :ivar end: up to here nothing is missing.
    :ivar reach: the file's length.
    """

    end: int
    reach: int = field(init=False)
    _waiting: list[tuple[int, int]] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.reach = self.end

    @property
    def hasGaps(self) -> bool:
        return self.reach > self.end

    def add(self, start: int, stop: int) -> None:
        self.reach = max(self.reach, stop)
        if start > self.end:
            if len(self._waiting) < SCATTER_LIMIT:
                self._waiting.insert(bisect_left(self._waiting, (start, stop)), (start, stop))
            return
        self.end = max(self.end, stop)
        while self._waiting and self._waiting[0][0] <= self.end:
            self.end = max(self.end, self._waiting.pop(0)[1])

    def truncate(self, size: int) -> None:
        self.reach = size
        self.end = min(self.end, size)
        self._waiting = [(start, min(stop, size)) for start, stop in self._waiting if start < size]


@define(eq=False)
class OpenFile:
    """
    :ivar path: where it is; the session may rename it.
    :ivar names: where it is, and where it will be when what was asked for is done.
    :ivar extent: of an upload, what was written; ``None`` for other files.
    :ivar appends: whether everything is written at the end, wherever that is by then: other handles may write too.
    :ivar failure: the first write that failed.
    """

    file: IFile
    path: VirtualPath
    readable: bool
    writable: bool
    extent: Extent | None = None
    appends: bool = False
    failure: BaseException | None = None
    names: tuple[VirtualPath, ...] = field(init=False)
    _paced: IPaced | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.names = (self.path,)
        self._paced = IPaced(self.file, None)

    @classmethod
    async def opened(
        cls, file: IFile, path: VirtualPath, mode: OpenMode, readable: bool, writable: bool, appends: bool
    ) -> OpenFile:
        """A file that was just opened with ``mode``."""
        size = 0
        if mode is OpenMode.resume:
            try:
                size = (await file.stat()).size
            except BaseException:
                await file.abort(True)
                raise
        extent = Extent(size) if mode in _UPLOADS else None
        return cls(file, path, readable, writable, extent, appends)

    @property
    def pieceBytes(self) -> int:
        """How much to write at once at most."""
        return LARGEST_PIECE_BYTES if self._paced is None else min(LARGEST_PIECE_BYTES, self._paced.pieceBytes(False))

    def hurry(self) -> None:
        """Nobody waits any more."""
        if self._paced is not None:
            self._paced.hurry()

    def mayRead(self) -> None:
        if not self.readable:
            raise PermissionDenied("the file was not opened for reading")

    def mayWrite(self) -> None:
        if not self.writable:
            raise PermissionDenied("the file was not opened for writing")

    def write(self, offset: int, data: memoryview) -> Deferred[None]:
        # No coroutine: this is where an upload's time goes.
        written = self.file.write(offset, data)
        return written.addCallbacks(self._written, self._notWritten, callbackArgs=(offset, offset + len(data)))

    def append(self, data: memoryview) -> Deferred[None]:
        """One after the other; the client's offset means nothing."""
        return self.file.stat().addCallback(lambda stat: self.write(stat.size, data))

    async def fill(self, offset: int, copy: Callable[[int], Awaitable[int]]) -> int:
        """Write something that ``copy`` copies to the offset that it is given; tells how much that was."""
        at = (await self.file.stat()).size if self.appends else offset
        try:
            copied = await copy(at)
        except BaseException as error:
            self.failure = self.failure or error
            raise
        self._written(None, at, at + copied)
        return copied

    def _written(self, result: None, start: int, stop: int) -> None:
        if self.extent is not None:
            self.extent.add(start, stop)

    def _notWritten(self, failure: Failure) -> Failure:
        self.failure = self.failure or failure.value
        return failure

    async def setAttributes(self, attributes: Attributes) -> None:
        if attributes.size is not None:
            self.mayWrite()
        await self.file.setAttributes(attributes)
        if attributes.size is not None and self.extent is not None:
            self.extent.truncate(attributes.size)

    async def close(self) -> None:
        """Commit, unless a write failed: a file that lacks something must not take its place."""
        if self.failure is None:
            await self.file.commit()
        else:
            await self.abort()
            raise BrokenUpload(f"{BrokenUpload.message}: {self.failure}")

    async def abort(self) -> None:
        """The session ended. What can be continued at its length stays."""
        keep = not isinstance(self.failure, OutOfSpace)
        if keep and self.extent is not None and self.extent.hasGaps:
            await self.file.truncate(self.extent.end)
        await self.file.abort(keep)


@define(eq=False)
class OpenFolder:
    """
    :ivar path: as for files.
    :ivar names: as for files.
    :ivar waiting: entries for the next answers.
    """

    listing: IListing
    path: VirtualPath
    names: tuple[VirtualPath, ...] = field(init=False)
    waiting: list[Entry] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.names = (self.path,)

    async def entries(self) -> list[Entry]:
        """Some entries, which the caller takes from the list; none at the end."""
        if not self.waiting:
            self.waiting = list(await self.listing.next())
        return self.waiting

    async def close(self) -> None:
        self.listing.close()

    abort = close


@define(eq=False)
class Handles:
    """The open files and folders of one session.

    :ivar randomBytes: makes so many unguessable bytes.
    :ivar isAwaited: whether the client is still there.
    """

    _randomBytes: Callable[[int], bytes]
    _opened: dict[bytes, OpenFile | OpenFolder] = field(factory=dict, init=False)
    _closing: set[OpenFile | OpenFolder] = field(factory=set, init=False)
    _promised: int = field(default=0, init=False)
    isAwaited: bool = field(default=True, init=False)
    _moves: int = field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._opened) + len(self._closing) + self._promised

    async def open(self, opening: Callable[[], Awaitable[OpenFile | OpenFolder]]) -> bytes:
        """The handle of what ``opening`` opens; ``TooManyHandles``."""
        if len(self) >= HANDLE_LIMIT:
            raise TooManyHandles
        self._promised += 1
        try:
            opened = await opening()
        finally:
            self._promised -= 1
        handle = self._randomBytes(16)
        self._opened[handle] = opened
        return handle

    def any(self, handle: bytes) -> OpenFile | OpenFolder:
        opened = self._opened.get(handle)
        if opened is None:
            raise NoSuchHandle
        return opened

    def file(self, handle: bytes) -> OpenFile:
        opened = self.any(handle)
        if not isinstance(opened, OpenFile):
            raise NoSuchHandle
        return opened

    def folder(self, handle: bytes) -> OpenFolder:
        opened = self.any(handle)
        if not isinstance(opened, OpenFolder):
            raise NoSuchHandle
        return opened

    def retire(self, handle: bytes) -> OpenFile | OpenFolder:
        """What ``handle`` stands for; to the client it stands for nothing from now on."""
        opened = self.any(handle)
        del self._opened[handle]
        self._closing.add(opened)
        return opened

    async def close(self, opened: OpenFile | OpenFolder) -> None:
        """Close what was retired."""
        try:
            await opened.close()
        finally:
            self._closing.discard(opened)

    def startMove(self, old: VirtualPath, new: VirtualPath) -> None:
        """A rename was asked for: what comes after it means by ``new`` what is open in ``old``."""
        self._moves += 1
        for opened in self._all():
            within = next((name for name in opened.names if isWithin(name, old)), None)
            if within is not None:
                opened.names += (moved(within, old, new),)

    def endMove(self, old: VirtualPath, new: VirtualPath, isDone: bool) -> None:
        """It was done, or was refused."""
        self._moves -= 1
        for opened in self._all():
            if isDone and isWithin(opened.path, old):
                opened.path = moved(opened.path, old, new)
            if not self._moves:
                opened.names = (opened.path,)
            elif opened.path not in opened.names:
                opened.names += (opened.path,)

    def _all(self) -> list[OpenFile | OpenFolder]:
        return [*self._opened.values(), *self._closing]

    def hurry(self) -> None:
        """The client is gone: what keeps to a speed keeps nobody waiting."""
        self.isAwaited = False
        for opened in self._all():
            if isinstance(opened, OpenFile):
                opened.hurry()

    def takeAll(self) -> list[OpenFile | OpenFolder]:
        """Everything that is not closed, to be aborted."""
        opened = self._all()
        self._opened.clear()
        self._closing.clear()
        return opened
