"""Extensions of SFTP, with their versions: OpenSSH's (OpenSSH's PROTOCOL, section 4), and of
draft-ietf-secsh-filexfer-extensions-00 those that clients use.

What a file system cannot do is not offered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, field

from ...errors import FileSystemError, NotFound, Unsupported
from ...files.copying import copyRange
from ...files.paths import parse
from ...interfaces import IFileSystem, ILinks, IServerSideCopy, ISpaceReport
from ...vocabulary import Attributes, Kind, Space, VirtualPath
from . import packets
from .handles import HANDLE_LIMIT, Handles, OpenFile
from .hashing import Hashing
from .operation import Answer, Operation, change, later, move, ok, tell, tellPath
from .wire import Reader


class Overlaps(FileSystemError):
    message = "the file would be copied onto itself"


@define(eq=False)
class Extensions:
    """The extended requests of one session."""

    _files: IFileSystem
    _handles: Handles
    _hashing: Hashing = field(init=False)
    _links: ILinks | None = field(init=False)
    _space: ISpaceReport | None = field(init=False)
    _copies: IServerSideCopy | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._hashing = Hashing(self._files, self._handles)
        self._links = ILinks(self._files, None)
        self._space = ISpaceReport(self._files, None)
        self._copies = IServerSideCopy(self._files, None)

    @property
    def offered(self) -> list[tuple[bytes, bytes]]:
        """Names and versions, to be advertised."""
        offered = [
            (b"posix-rename@openssh.com", b"1"),
            (b"fsync@openssh.com", b"1"),
            (b"lsetstat@openssh.com", b"1"),
            (b"limits@openssh.com", b"1"),
            (b"expand-path@openssh.com", b"1"),
            (b"copy-data", b"1"),
            (b"home-directory", b"1"),
            # clients look for this one name, whichever of its requests they make
            (b"check-file", b"1"),
            (b"check-file-name", b"1"),
            (b"check-file-handle", b"1"),
            (b"md5-hash", b"1"),
            (b"md5-hash-handle", b"1"),
        ]
        if self._space is not None:
            offered += [(b"statvfs@openssh.com", b"2"), (b"fstatvfs@openssh.com", b"2"), (b"space-available", b"1")]
        if self._links is not None:
            offered.append((b"hardlink@openssh.com", b"1"))
        if self._copies is not None:
            offered.append((b"copy-file", b"1"))
        return offered

    def read(self, requestId: int, request: Reader) -> Operation:
        """The operation that a request asks for. Fails with a ``FileSystemError``, or ``Truncated``."""
        reader = _EXTENSIONS.get(request.string())
        if reader is None:
            raise Unsupported
        return reader(self, requestId, request)

    # --- names and attributes

    def _posixRename(self, requestId: int, request: Reader) -> Operation:
        old, new = parse(request.string()), parse(request.string())
        return move(requestId, self._files, self._handles, old, new, overwrite=True)

    def _hardlink(self, requestId: int, request: Reader) -> Operation:
        if self._links is None:
            raise Unsupported
        existing, path = parse(request.string()), parse(request.string())
        return change(requestId, self._links.makeHardLink, path, existing)

    def _lsetstat(self, requestId: int, request: Reader) -> Operation:
        path, changes = parse(request.string()), packets.readChanges(request)
        if changes.size is not None:
            raise FileSystemError("a link has no length to set")

        async def apply() -> Answer:
            links = self._links
            if links is not None and (await self._files.stat(path, False)).kind is Kind.link:
                await links.setLinkAttributes(path, changes)
            elif changes != Attributes():
                await self._files.setAttributes(path, changes)
            return ok(requestId)

        return Operation(later(apply), paths=(path,))

    def _expandPath(self, requestId: int, request: Reader) -> Operation:
        text = request.string()
        # Everybody's home is the root; the home of somebody else is nobody's business.
        if text == b"~" or text.startswith(b"~/"):
            text = text[1:]
        elif text.startswith(b"~"):
            raise NotFound
        return tellPath(requestId, parse(text))

    def _homeDirectory(self, requestId: int, request: Reader) -> Operation:
        # Whoever is named, nobody can tell from the answer whether there is such a user.
        request.string()
        return tellPath(requestId, ())

    # --- open files

    def _fsync(self, requestId: int, request: Reader) -> Operation:
        opened = self._handles.file(request.string())

        async def sync() -> Answer:
            await opened.file.sync()
            return ok(requestId)

        return Operation(later(sync), handle=opened)

    def _copyData(self, requestId: int, request: Reader) -> Operation:
        source, sourceOffset, length = self._handles.file(request.string()), request.uint64(), request.uint64()
        target, offset = self._handles.file(request.string()), request.uint64()
        source.mayRead()
        target.mayWrite()
        packets.checkRange(sourceOffset, length)
        packets.checkRange(offset, length)

        async def copy() -> Answer:
            await _checkApart(source, sourceOffset, target, offset, length)
            copied = await target.fill(
                offset,
                lambda at: copyRange(
                    source.file, sourceOffset, target.file, at, length or None, lambda: self._handles.isAwaited
                ),
            )
            if length and copied < length:
                return (packets.status(requestId, packets.EOF),)
            return ok(requestId)

        return Operation(later(copy), paths=source.names + target.names, handle=target, other=source)

    def _copyFile(self, requestId: int, request: Reader) -> Operation:
        copies = self._copies
        if copies is None:
            raise Unsupported
        old, new, overwrite = parse(request.string()), parse(request.string()), request.boolean()
        return change(requestId, lambda old, new: copies.copy(old, new, overwrite), old, new)

    # --- what there is

    def _limits(self, requestId: int, request: Reader) -> Operation:
        return tell(packets.extendedReply(requestId, packets.encodeLimits(HANDLE_LIMIT)))

    def _statvfs(self, requestId: int, request: Reader) -> Operation:
        return self._tellSpace(requestId, parse(request.string()), packets.encodeSpace)

    def _fstatvfs(self, requestId: int, request: Reader) -> Operation:
        return self._tellSpace(requestId, self._handles.any(request.string()).path, packets.encodeSpace)

    def _spaceAvailable(self, requestId: int, request: Reader) -> Operation:
        return self._tellSpace(requestId, parse(request.string()), packets.encodeRoom)

    def _tellSpace(self, requestId: int, path: VirtualPath, encode: Callable[[Space], bytes]) -> Operation:
        space = self._space
        if space is None:
            raise Unsupported

        async def ask() -> Answer:
            return (packets.extendedReply(requestId, encode(await space.space(path))),)

        return Operation(later(ask), looks=True, paths=(path,))


async def _checkApart(source: OpenFile, sourceOffset: int, target: OpenFile, offset: int, length: int) -> None:
    """Refuse to copy bytes of a file onto themselves."""
    from_, to = await source.file.stat(), await target.file.stat()
    if source is target or source.path == target.path or (from_.identity and from_.identity == to.identity):
        size = max(0, from_.size - sourceOffset)
        size = min(size, length) if length else size
        at = to.size if target.appends else offset
        if size and at < sourceOffset + size and sourceOffset < at + size:
            raise Overlaps


_EXTENSIONS: Mapping[bytes, Callable[[Extensions, int, Reader], Operation]] = {
    b"posix-rename@openssh.com": Extensions._posixRename,
    b"hardlink@openssh.com": Extensions._hardlink,
    b"lsetstat@openssh.com": Extensions._lsetstat,
    b"expand-path@openssh.com": Extensions._expandPath,
    b"home-directory": Extensions._homeDirectory,
    b"fsync@openssh.com": Extensions._fsync,
    b"copy-data": Extensions._copyData,
    b"copy-file": Extensions._copyFile,
    b"limits@openssh.com": Extensions._limits,
    b"statvfs@openssh.com": Extensions._statvfs,
    b"fstatvfs@openssh.com": Extensions._fstatvfs,
    b"space-available": Extensions._spaceAvailable,
    b"check-file-name": lambda self, *request: self._hashing.checkName(*request),
    b"check-file-handle": lambda self, *request: self._hashing.checkHandle(*request),
    b"check-file": lambda self, *request: self._hashing.checkAsParamiko(*request),
    b"md5-hash": lambda self, *request: self._hashing.md5Name(*request),
    b"md5-hash-handle": lambda self, *request: self._hashing.md5Handle(*request),
}
