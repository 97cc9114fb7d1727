"""What SFTP's requests do to a file system (draft-ietf-secsh-filexfer-02, section 6; OpenSSH's PROTOCOL, section 4).

A request is first read whole, which can fail without anything having happened, and becomes an :class:`Operation`; when
it is run, and after which others, is not decided here. Knows no channel.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeAlias

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed

from ...errors import AlreadyExists, FileSystemError, IsAFolder, NotFound, PermissionDenied, Unsupported
from ...files.paths import parse, render
from ...interfaces import IFile, IFileSystem, ILinks, ISpaceReport
from ...vocabulary import Entry, Kind, OpenMode, VirtualPath
from . import packets
from .handles import HANDLE_LIMIT, Handles, OpenFile, OpenFolder
from .wire import Buffer, Reader

Answer: TypeAlias = tuple[Buffer, ...]
"""A packet for the client, in parts."""

LARGEST_OFFSET = (1 << 63) - 1


@frozen
class Operation:
    """A request that was understood.

    :ivar run: do it; fires with the answer, or fails with a ``FileSystemError``.
    :ivar looks: whether it changes nothing.
    :ivar paths: what it concerns.
    :ivar handle: the open file or folder that it concerns.
    :ivar span: the part of the open file that it reads or writes.
    :ivar answerBytes: how large its answer may become, where that is much.
    """

    run: Callable[[], Deferred[Answer]]
    looks: bool = False
    paths: tuple[VirtualPath, ...] = ()
    handle: object | None = None
    span: tuple[int, int] | None = None
    answerBytes: int = 0


class TooLarge(FileSystemError):
    message = "offset or size is too large"


def _later(verb: Callable[..., Coroutine[Any, Any, Answer]], *arguments: Any) -> Callable[[], Deferred[Answer]]:
    return lambda: Deferred.fromCoroutine(verb(*arguments))


@define(eq=False)
class Operations:
    """The requests of one session.

    :ivar now: seconds since the epoch.
    :ivar draftLinks: whether the client names a symbolic link before its target, as the draft does; OpenSSH does not.
    """

    _files: IFileSystem
    _handles: Handles
    _now: Callable[[], float]
    _draftLinks: bool
    _links: ILinks | None = field(init=False)
    _space: ISpaceReport | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._links = ILinks(self._files, None)
        self._space = ISpaceReport(self._files, None)

    @property
    def extensions(self) -> list[tuple[bytes, bytes]]:
        """What to advertise."""
        offered = [
            (b"posix-rename@openssh.com", b"1"),
            (b"fsync@openssh.com", b"1"),
            (b"limits@openssh.com", b"1"),
            (b"expand-path@openssh.com", b"1"),
        ]
        if self._space is not None:
            offered += [(b"statvfs@openssh.com", b"2"), (b"fstatvfs@openssh.com", b"2")]
        if self._links is not None:
            offered.append((b"hardlink@openssh.com", b"1"))
        return offered

    def read(self, type: int, requestId: int, request: Reader) -> Operation:
        """The operation that a request asks for. Fails with a ``FileSystemError``, or ``Truncated``."""
        reader = _REQUESTS.get(type)
        if reader is None:
            raise Unsupported
        return reader(self, requestId, request)

    # --- files

    def _open(self, requestId: int, request: Reader) -> Operation:
        path, flags = parse(request.string()), request.uint32()
        # The mode that a client sends along is not used: what new files get is the administrator's choice.
        packets.readAttributes(request)
        writes = bool(flags & packets.FLAG_WRITE)
        return Operation(_later(self._doOpen, requestId, path, flags), looks=not writes, paths=(path,))

    async def _doOpen(self, requestId: int, path: VirtualPath, flags: int) -> Answer:
        return (packets.handleReply(requestId, await self._handles.open(lambda: self._openedFile(path, flags))),)

    async def _openedFile(self, path: VirtualPath, flags: int) -> OpenFile:
        file, mode = await self._openFor(path, flags)
        writes = bool(flags & packets.FLAG_WRITE)
        reads = bool(flags & packets.FLAG_READ) or not writes
        appends = writes and bool(flags & packets.FLAG_APPEND)
        return await OpenFile.opened(file, path, mode, reads, writes, appends)

    async def _openFor(self, path: VirtualPath, flags: int) -> tuple[IFile, OpenMode]:
        creates, exclusive = bool(flags & packets.FLAG_CREATE), bool(flags & packets.FLAG_EXCLUSIVE)
        if not flags & packets.FLAG_WRITE:
            return await self._openToRead(path, creates)
        if creates and exclusive:
            return await self._files.open(path, OpenMode.create), OpenMode.create
        if flags & packets.FLAG_TRUNCATE:
            if not creates and (await self._files.stat(path)).kind is Kind.folder:
                raise IsAFolder
            return await self._files.open(path, OpenMode.replace), OpenMode.replace
        return await self._openToChange(path, creates)

    async def _openToRead(self, path: VirtualPath, creates: bool) -> tuple[IFile, OpenMode]:
        try:
            return await self._files.open(path, OpenMode.read), OpenMode.read
        except NotFound:
            if not creates:
                raise
        empty = await self._files.open(path, OpenMode.create)
        await empty.commit()
        return await self._files.open(path, OpenMode.read), OpenMode.read

    async def _openToChange(self, path: VirtualPath, creates: bool) -> tuple[IFile, OpenMode]:
        """What is there, if anything: the file itself, else what the client left of an upload, else a new file."""
        for mode in (OpenMode.inPlace, OpenMode.resume):
            try:
                return await self._files.open(path, mode), mode
            except NotFound:
                pass
        if not creates:
            raise NotFound
        try:
            return await self._files.open(path, OpenMode.create), OpenMode.create
        except AlreadyExists:  # made by somebody else meanwhile
            return await self._files.open(path, OpenMode.inPlace), OpenMode.inPlace

    def _close(self, requestId: int, request: Reader) -> Operation:
        opened = self._handles.retire(request.string())
        looks = isinstance(opened, OpenFolder) or not opened.writable
        return Operation(_later(self._doClose, requestId, opened), paths=() if looks else (opened.path,), handle=opened)

    async def _doClose(self, requestId: int, opened: OpenFile | OpenFolder) -> Answer:
        await self._handles.close(opened)
        return _ok(requestId)

    def _read(self, requestId: int, request: Reader) -> Operation:
        opened = self._handles.file(request.string())
        offset, length = request.uint64(), min(request.uint32(), packets.LONGEST_DATA)
        opened.mayRead()

        def answer(data: bytes) -> Answer:
            if not data:
                return (packets.status(requestId, packets.EOF),)
            return packets.dataHead(requestId, len(data)), data

        def run() -> Deferred[Answer]:
            if offset > LARGEST_OFFSET - length:
                return succeed(answer(b""))
            return opened.file.read(offset, length).addCallback(answer)

        span = (offset, offset + length)
        return Operation(run, looks=True, paths=(opened.path,), handle=opened, span=span, answerBytes=length)

    def _write(self, requestId: int, request: Reader) -> Operation:
        opened = self._handles.file(request.string())
        offset, data = request.uint64(), request.view()
        opened.mayWrite()
        if offset > LARGEST_OFFSET - len(data):
            raise TooLarge

        def run() -> Deferred[Answer]:
            written = opened.append(data) if opened.end is not None else opened.write(offset, data)
            return written.addCallback(lambda _: _ok(requestId))

        span = None if opened.end is not None else (offset, offset + len(data))
        return Operation(run, paths=(opened.path,), handle=opened, span=span)

    def _fsync(self, requestId: int, request: Reader) -> Operation:
        opened = self._handles.file(request.string())

        async def sync() -> Answer:
            await opened.file.sync()
            return _ok(requestId)

        return Operation(_later(sync), handle=opened)

    # --- attributes

    def _lstat(self, requestId: int, request: Reader) -> Operation:
        path = parse(request.string())
        return Operation(_later(self._doStat, requestId, path, False), looks=True, paths=(path,))

    def _stat(self, requestId: int, request: Reader) -> Operation:
        path = parse(request.string())
        return Operation(_later(self._doStat, requestId, path, True), looks=True, paths=(path,))

    async def _doStat(self, requestId: int, path: VirtualPath, follow: bool) -> Answer:
        return (packets.attributesReply(requestId, await self._files.stat(path, follow)),)

    def _fstat(self, requestId: int, request: Reader) -> Operation:
        opened = self._handles.any(request.string())

        async def stat() -> Answer:
            if isinstance(opened, OpenFolder):
                return await self._doStat(requestId, opened.path, True)
            return (packets.attributesReply(requestId, await opened.file.stat()),)

        return Operation(_later(stat), looks=True, paths=(opened.path,), handle=opened)

    def _setstat(self, requestId: int, request: Reader) -> Operation:
        path, changes = parse(request.string()), _readChanges(request)

        async def change() -> Answer:
            await self._files.setAttributes(path, changes)
            return _ok(requestId)

        return Operation(_later(change), paths=(path,))

    def _fsetstat(self, requestId: int, request: Reader) -> Operation:
        opened, changes = self._handles.any(request.string()), _readChanges(request)

        async def change() -> Answer:
            if isinstance(opened, OpenFolder):
                await self._files.setAttributes(opened.path, changes)
            else:
                await opened.setAttributes(changes)
            return _ok(requestId)

        return Operation(_later(change), paths=(opened.path,), handle=opened)

    # --- folders

    def _opendir(self, requestId: int, request: Reader) -> Operation:
        path = parse(request.string())
        return Operation(_later(self._doOpendir, requestId, path), looks=True, paths=(path,))

    async def _doOpendir(self, requestId: int, path: VirtualPath) -> Answer:
        async def opened() -> OpenFolder:
            return OpenFolder(await self._files.list(path), path)

        return (packets.handleReply(requestId, await self._handles.open(opened)),)

    def _readdir(self, requestId: int, request: Reader) -> Operation:
        opened = self._handles.folder(request.string())
        return Operation(_later(self._doReaddir, requestId, opened), handle=opened, answerBytes=packets.LONGEST_NAMES)

    async def _doReaddir(self, requestId: int, opened: OpenFolder) -> Answer:
        entries = await opened.entries()
        names = _encodeSome(entries, self._now())
        del entries[: len(names)]
        if not names:
            return (packets.status(requestId, packets.EOF),)
        return (packets.nameReply(requestId, names),)

    def _mkdir(self, requestId: int, request: Reader) -> Operation:
        return self._change(requestId, self._files.makeDirectory, parse(request.string()))

    def _rmdir(self, requestId: int, request: Reader) -> Operation:
        return self._change(requestId, self._files.removeDirectory, parse(request.string()))

    # --- names

    def _remove(self, requestId: int, request: Reader) -> Operation:
        return self._change(requestId, self._files.remove, parse(request.string()))

    def _rename(self, requestId: int, request: Reader) -> Operation:
        return self._doRename(requestId, request, False)

    def _posixRename(self, requestId: int, request: Reader) -> Operation:
        return self._doRename(requestId, request, True)

    def _doRename(self, requestId: int, request: Reader, overwrite: bool) -> Operation:
        old, new = parse(request.string()), parse(request.string())
        return self._change(requestId, lambda old, new: self._files.rename(old, new, overwrite), old, new)

    def _change(self, requestId: int, verb: Callable[..., Deferred[None]], *paths: VirtualPath) -> Operation:
        async def change() -> Answer:
            await verb(*paths)
            return _ok(requestId)

        return Operation(_later(change), paths=paths)

    def _realpath(self, requestId: int, request: Reader) -> Operation:
        return _told(requestId, parse(request.string()))

    def _expandPath(self, requestId: int, request: Reader) -> Operation:
        text = request.string()
        # Everybody's home is the root; the home of somebody else is nobody's business.
        if text == b"~" or text.startswith(b"~/"):
            text = text[1:]
        elif text.startswith(b"~"):
            raise NotFound
        return _told(requestId, parse(text))

    def _readlink(self, requestId: int, request: Reader) -> Operation:
        path, links = parse(request.string()), self._needLinks()

        async def read() -> Answer:
            return (packets.nameReply(requestId, [packets.encodeName(await links.readLink(path))]),)

        return Operation(_later(read), looks=True, paths=(path,))

    def _symlink(self, requestId: int, request: Reader) -> Operation:
        first, second, links = request.string(), request.string(), self._needLinks()
        link, target = (first, second) if self._draftLinks else (second, first)
        text = target.decode("utf-8", "surrogateescape")
        return self._change(requestId, lambda path: links.makeSymbolicLink(path, text), parse(link))

    def _hardlink(self, requestId: int, request: Reader) -> Operation:
        links = self._needLinks()
        existing, path = parse(request.string()), parse(request.string())
        return self._change(requestId, links.makeHardLink, path, existing)

    def _needLinks(self) -> ILinks:
        if self._links is None:
            raise Unsupported
        return self._links

    # --- the storage

    def _statvfs(self, requestId: int, request: Reader) -> Operation:
        path = parse(request.string())
        return Operation(_later(self._doStatvfs, requestId, path), looks=True, paths=(path,))

    def _fstatvfs(self, requestId: int, request: Reader) -> Operation:
        path = self._handles.any(request.string()).path
        return Operation(_later(self._doStatvfs, requestId, path), looks=True, paths=(path,))

    async def _doStatvfs(self, requestId: int, path: VirtualPath) -> Answer:
        if self._space is None:
            raise Unsupported
        return (packets.extendedReply(requestId, packets.encodeSpace(await self._space.space(path))),)

    def _limits(self, requestId: int, request: Reader) -> Operation:
        answer = (packets.extendedReply(requestId, packets.encodeLimits(HANDLE_LIMIT)),)
        return Operation(lambda: succeed(answer), looks=True)

    def _extended(self, requestId: int, request: Reader) -> Operation:
        reader = _EXTENSIONS.get(request.string())
        if reader is None:
            raise Unsupported
        return reader(self, requestId, request)


def _ok(requestId: int) -> Answer:
    return (packets.status(requestId, packets.OK),)


def _told(requestId: int, path: VirtualPath) -> Operation:
    answer = (packets.nameReply(requestId, [packets.encodeName(render(path))]),)
    return Operation(lambda: succeed(answer), looks=True)


def _readChanges(request: Reader) -> Any:
    changes = packets.readAttributes(request)
    attributes = changes.attributes
    if attributes.size is not None and attributes.size > LARGEST_OFFSET:
        raise TooLarge
    if changes.owner and attributes == type(attributes)():
        raise PermissionDenied("owners cannot be changed")
    return attributes


def _encodeSome(entries: list[Entry], now: float) -> list[bytes]:
    """As many of the first entries as fit into one answer; at least one, if there is one."""
    names: list[bytes] = []
    size = 0
    for entry in entries[: packets.NAMES_LIMIT]:
        name = packets.encodeEntry(entry, now)
        size += len(name)
        if names and size > packets.LONGEST_NAMES:
            break
        names.append(name)
    return names


_Reading: TypeAlias = Callable[[Operations, int, Reader], Operation]

_REQUESTS: Mapping[int, _Reading] = {
    packets.OPEN: Operations._open,
    packets.CLOSE: Operations._close,
    packets.READ: Operations._read,
    packets.WRITE: Operations._write,
    packets.LSTAT: Operations._lstat,
    packets.FSTAT: Operations._fstat,
    packets.SETSTAT: Operations._setstat,
    packets.FSETSTAT: Operations._fsetstat,
    packets.OPENDIR: Operations._opendir,
    packets.READDIR: Operations._readdir,
    packets.REMOVE: Operations._remove,
    packets.MKDIR: Operations._mkdir,
    packets.RMDIR: Operations._rmdir,
    packets.REALPATH: Operations._realpath,
    packets.STAT: Operations._stat,
    packets.RENAME: Operations._rename,
    packets.READLINK: Operations._readlink,
    packets.SYMLINK: Operations._symlink,
    packets.EXTENDED: Operations._extended,
}

_EXTENSIONS: Mapping[bytes, _Reading] = {
    b"posix-rename@openssh.com": Operations._posixRename,
    b"fsync@openssh.com": Operations._fsync,
    b"limits@openssh.com": Operations._limits,
    b"expand-path@openssh.com": Operations._expandPath,
    b"statvfs@openssh.com": Operations._statvfs,
    b"fstatvfs@openssh.com": Operations._fstatvfs,
    b"hardlink@openssh.com": Operations._hardlink,
}
