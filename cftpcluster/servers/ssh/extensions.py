"""OpenSSH's extensions of SFTP (OpenSSH's PROTOCOL, section 4). What a file system cannot do is not offered."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, field

from ...errors import NotFound, Unsupported
from ...files.paths import parse
from ...interfaces import IFileSystem, ILinks, ISpaceReport
from ...vocabulary import VirtualPath
from . import packets
from .handles import HANDLE_LIMIT, Handles
from .operation import Answer, Operation, change, later, ok, tell, tellPath
from .wire import Reader


@define(eq=False)
class Extensions:
    """The extended requests of one session."""

    _files: IFileSystem
    _handles: Handles
    _links: ILinks | None = field(init=False)
    _space: ISpaceReport | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._links = ILinks(self._files, None)
        self._space = ISpaceReport(self._files, None)

    @property
    def offered(self) -> list[tuple[bytes, bytes]]:
        """Names and versions, to be advertised."""
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

    def read(self, requestId: int, request: Reader) -> Operation:
        """The operation that a request asks for. Fails with a ``FileSystemError``, or ``Truncated``."""
        reader = _EXTENSIONS.get(request.string())
        if reader is None:
            raise Unsupported
        return reader(self, requestId, request)

    def _posixRename(self, requestId: int, request: Reader) -> Operation:
        old, new = parse(request.string()), parse(request.string())
        return change(requestId, lambda old, new: self._files.rename(old, new, True), old, new)

    def _fsync(self, requestId: int, request: Reader) -> Operation:
        opened = self._handles.file(request.string())

        async def sync() -> Answer:
            await opened.file.sync()
            return ok(requestId)

        return Operation(later(sync), handle=opened)

    def _limits(self, requestId: int, request: Reader) -> Operation:
        return tell(packets.extendedReply(requestId, packets.encodeLimits(HANDLE_LIMIT)))

    def _expandPath(self, requestId: int, request: Reader) -> Operation:
        text = request.string()
        # Everybody's home is the root; the home of somebody else is nobody's business.
        if text == b"~" or text.startswith(b"~/"):
            text = text[1:]
        elif text.startswith(b"~"):
            raise NotFound
        return tellPath(requestId, parse(text))

    def _statvfs(self, requestId: int, request: Reader) -> Operation:
        return self._tellSpace(requestId, parse(request.string()))

    def _fstatvfs(self, requestId: int, request: Reader) -> Operation:
        return self._tellSpace(requestId, self._handles.any(request.string()).path)

    def _tellSpace(self, requestId: int, path: VirtualPath) -> Operation:
        space = self._space
        if space is None:
            raise Unsupported

        async def ask() -> Answer:
            return (packets.extendedReply(requestId, packets.encodeSpace(await space.space(path))),)

        return Operation(later(ask), looks=True, paths=(path,))

    def _hardlink(self, requestId: int, request: Reader) -> Operation:
        if self._links is None:
            raise Unsupported
        existing, path = parse(request.string()), parse(request.string())
        return change(requestId, self._links.makeHardLink, path, existing)


_EXTENSIONS: Mapping[bytes, Callable[[Extensions, int, Reader], Operation]] = {
    b"posix-rename@openssh.com": Extensions._posixRename,
    b"fsync@openssh.com": Extensions._fsync,
    b"limits@openssh.com": Extensions._limits,
    b"expand-path@openssh.com": Extensions._expandPath,
    b"statvfs@openssh.com": Extensions._statvfs,
    b"fstatvfs@openssh.com": Extensions._fstatvfs,
    b"hardlink@openssh.com": Extensions._hardlink,
}
