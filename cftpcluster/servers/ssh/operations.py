"""What SFTP's requests do to a file system (draft-ietf-secsh-filexfer-02, section 6).

A request is first read whole, which can fail without anything having happened, and becomes an operation; when that is
run, and after which others, is not decided here. Knows no channel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

from attrs import define, field
from twisted.internet.defer import Deferred, succeed

from ...errors import AlreadyExists, FileSystemError, IsAFolder, NotFound, PermissionDenied, Unsupported
from ...files.paths import parse
from ...interfaces import IFile, IFileSystem, ILinks
from ...vocabulary import Attributes, Entry, Kind, OpenMode, VirtualPath
from . import packets
from .extensions import Extensions
from .gathering import Gathering
from .handles import Handles, OpenFile, OpenFolder
from .operation import Answer, Operation, change, later, move, ok, tellPath
from .wire import Reader

_DRAFT_CLIENTS = (b"AsyncSSH", b"WinSCP", b"libssh_", b"libssh-")


def namesLinksFirst(version: bytes) -> bool:
    """Whether a client of this version string names a symbolic link before its target, as the draft does.

    OpenSSH has it the other way round, and most clients follow it whatever the server; these do so only where the
    server says that it is OpenSSH.
    """
    return any(name in version for name in _DRAFT_CLIENTS)


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
    _gathering: Gathering
    _extensions: Extensions = field(init=False)
    _links: ILinks | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._extensions = Extensions(self._files, self._handles)
        self._links = ILinks(self._files, None)

    @property
    def extensions(self) -> list[tuple[bytes, bytes]]:
        """What to advertise."""
        return self._extensions.offered

    def read(self, type: int, requestId: int, request: Reader) -> Operation:
        """The operation that a request asks for. Fails with a ``FileSystemError``, or ``Truncated``."""
        reader = _REQUESTS.get(type)
        if reader is None:
            raise Unsupported
        return reader(self, requestId, request)

    # --- files

    def _open(self, requestId: int, request: Reader) -> Operation:
        path, flags = parse(request.string()), request.uint32()
        # What new files get is the administrator's choice; but a program stays one.
        runnable = (packets.readAttributes(request).attributes.mode or 0) & 0o111
        looks = not flags & (packets.FLAG_WRITE | packets.FLAG_CREATE)
        return Operation(later(self._doOpen, requestId, path, flags, runnable), looks=looks, paths=(path,))

    async def _doOpen(self, requestId: int, path: VirtualPath, flags: int, runnable: int) -> Answer:
        opening = partial(self._openedFile, path, flags, runnable)
        return (packets.handleReply(requestId, await self._handles.open(opening)),)

    async def _openedFile(self, path: VirtualPath, flags: int, runnable: int) -> OpenFile:
        isNew = bool(runnable and flags & packets.FLAG_CREATE) and not await self._isThere(path)
        file, mode = await self._openFor(path, flags)
        if isNew and mode in {OpenMode.create, OpenMode.replace}:
            await _makeRunnable(file, runnable)
        writes = bool(flags & packets.FLAG_WRITE)
        reads = bool(flags & packets.FLAG_READ) or not writes
        appends = writes and bool(flags & packets.FLAG_APPEND)
        return await OpenFile.opened(file, path, mode, reads, writes, appends)

    async def _isThere(self, path: VirtualPath) -> bool:
        try:
            await self._files.stat(path)
        except FileSystemError:
            return False
        return True

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
        """What is there, if anything: the file itself, else what the client left of an upload, else a new file.

        Only the first needs more than the right to upload: who is refused it may still get one of the others.
        """
        try:
            return await self._files.open(path, OpenMode.inPlace), OpenMode.inPlace
        except (NotFound, PermissionDenied) as error:
            refusal = error
        try:
            return await self._files.open(path, OpenMode.resume), OpenMode.resume
        except NotFound:
            pass
        if not creates:
            raise refusal
        try:
            return await self._files.open(path, OpenMode.create), OpenMode.create
        except AlreadyExists:
            if isinstance(refusal, PermissionDenied):
                raise refusal from None
            # made by somebody else meanwhile
            return await self._files.open(path, OpenMode.inPlace), OpenMode.inPlace

    def _close(self, requestId: int, request: Reader) -> Operation:
        opened = self._handles.retire(request.string())
        looks = isinstance(opened, OpenFolder) or not opened.writable
        return Operation(later(self._doClose, requestId, opened), paths=() if looks else opened.names, handle=opened)

    async def _doClose(self, requestId: int, opened: OpenFile | OpenFolder) -> Answer:
        await self._handles.close(opened)
        return ok(requestId)

    def _read(self, requestId: int, request: Reader) -> Operation:
        opened = self._handles.file(request.string())
        offset, length = request.uint64(), min(request.uint32(), packets.LONGEST_DATA)
        opened.mayRead()

        def answer(data: bytes) -> Answer:
            if not data:
                return (packets.status(requestId, packets.EOF),)
            return packets.dataHead(requestId, len(data)), data

        def run() -> Deferred[Answer]:
            if offset > packets.LARGEST_OFFSET - length:
                return succeed(answer(b""))
            return opened.file.read(offset, length).addCallback(answer)

        span = (offset, offset + length)
        return Operation(run, looks=True, paths=opened.names, handle=opened, span=span, answerBytes=length)

    def _write(self, requestId: int, request: Reader) -> Operation:
        opened = self._handles.file(request.string())
        offset, data = request.uint64(), request.view()
        opened.mayWrite()
        packets.checkRange(offset, len(data))

        def run() -> Deferred[Answer]:
            gathering = self._gathering
            written = opened.append(data) if opened.appends else gathering.write(opened, offset, data)
            return written.addCallback(lambda _: ok(requestId))

        span = None if opened.appends else (offset, offset + len(data))
        return Operation(run, paths=opened.names, handle=opened, span=span)

    # --- attributes

    def _lstat(self, requestId: int, request: Reader) -> Operation:
        path = parse(request.string())
        return Operation(later(self._doStat, requestId, path, False), looks=True, paths=(path,))

    def _stat(self, requestId: int, request: Reader) -> Operation:
        path = parse(request.string())
        return Operation(later(self._doStat, requestId, path, True), looks=True, paths=(path,))

    async def _doStat(self, requestId: int, path: VirtualPath, follow: bool) -> Answer:
        return (packets.attributesReply(requestId, await self._files.stat(path, follow)),)

    def _fstat(self, requestId: int, request: Reader) -> Operation:
        opened = self._handles.any(request.string())

        async def stat() -> Answer:
            if isinstance(opened, OpenFolder):
                return await self._doStat(requestId, opened.path, True)
            return (packets.attributesReply(requestId, await opened.file.stat()),)

        return Operation(later(stat), looks=True, paths=opened.names, handle=opened)

    def _setstat(self, requestId: int, request: Reader) -> Operation:
        path, changes = parse(request.string()), packets.readChanges(request)

        async def apply() -> Answer:
            if changes == Attributes():
                # nothing, or the owner that it has
                await self._files.stat(path)
            else:
                await self._files.setAttributes(path, changes)
            return ok(requestId)

        return Operation(later(apply), paths=(path,))

    def _fsetstat(self, requestId: int, request: Reader) -> Operation:
        opened, changes = self._handles.any(request.string()), packets.readChanges(request)

        async def apply() -> Answer:
            if changes == Attributes():
                pass
            elif isinstance(opened, OpenFolder):
                await self._files.setAttributes(opened.path, changes)
            else:
                await opened.setAttributes(changes)
            return ok(requestId)

        return Operation(later(apply), paths=opened.names, handle=opened)

    # --- folders

    def _opendir(self, requestId: int, request: Reader) -> Operation:
        path = parse(request.string())
        return Operation(later(self._doOpendir, requestId, path), looks=True, lists=True, paths=(path,))

    async def _doOpendir(self, requestId: int, path: VirtualPath) -> Answer:
        async def opened() -> OpenFolder:
            listing = await self._files.list(path)
            return OpenFolder(listing, path, waiting=await self._ofItself(path))

        return (packets.handleReply(requestId, await self._handles.open(opened)),)

    async def _ofItself(self, path: VirtualPath) -> list[Entry]:
        """``.`` and ``..``, as folders have them; what is above the root is the root."""
        entries: list[Entry] = []
        for name, folder in ((".", path), ("..", path[:-1])):
            try:
                isKnown = bool(entries) and folder == path
                entries.append(Entry(name, entries[0].stat if isKnown else await self._files.stat(folder)))
            except FileSystemError:
                # Who may list a folder need not know what is above it.
                continue
        return entries

    def _readdir(self, requestId: int, request: Reader) -> Operation:
        opened = self._handles.folder(request.string())
        return Operation(later(self._doReaddir, requestId, opened), handle=opened, answerBytes=packets.LONGEST_NAMES)

    async def _doReaddir(self, requestId: int, opened: OpenFolder) -> Answer:
        entries = await opened.entries()
        names = _encodeSome(entries, self._now())
        del entries[: len(names)]
        if not names:
            return (packets.status(requestId, packets.EOF),)
        return (packets.nameReply(requestId, names),)

    def _mkdir(self, requestId: int, request: Reader) -> Operation:
        return change(requestId, self._files.makeDirectory, parse(request.string()))

    def _rmdir(self, requestId: int, request: Reader) -> Operation:
        return change(requestId, self._files.removeDirectory, parse(request.string()))

    # --- names

    def _remove(self, requestId: int, request: Reader) -> Operation:
        return change(requestId, self._files.remove, parse(request.string()))

    def _rename(self, requestId: int, request: Reader) -> Operation:
        old, new = parse(request.string()), parse(request.string())
        return move(requestId, self._files, self._handles, old, new, overwrite=False)

    def _realpath(self, requestId: int, request: Reader) -> Operation:
        return tellPath(requestId, parse(request.string()))

    def _readlink(self, requestId: int, request: Reader) -> Operation:
        path, links = parse(request.string()), self._needLinks()

        async def read() -> Answer:
            try:
                text = await links.readLink(path)
            except Unsupported as error:
                # this one is no link: others may be
                raise FileSystemError(str(error)) from None
            return (packets.nameReply(requestId, [packets.encodeName(text)]),)

        return Operation(later(read), looks=True, paths=(path,))

    def _symlink(self, requestId: int, request: Reader) -> Operation:
        first, second, links = request.string(), request.string(), self._needLinks()
        link, target = (first, second) if self._draftLinks else (second, first)
        text = target.decode("utf-8", "surrogateescape")
        return change(requestId, lambda path: links.makeSymbolicLink(path, text), parse(link))

    def _needLinks(self) -> ILinks:
        if self._links is None:
            raise Unsupported
        return self._links

    def _extended(self, requestId: int, request: Reader) -> Operation:
        return self._extensions.read(requestId, request)


async def _makeRunnable(file: IFile, runnable: int) -> None:
    """Let those run a new file who may read it, as far as its creator wants them to."""
    with suppress(FileSystemError):
        mode = (await file.stat()).mode
        await file.setAttributes(Attributes(mode=mode | runnable & mode >> 2))


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


_REQUESTS: Mapping[int, Callable[[Operations, int, Reader], Operation]] = {
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
