"""Files out and in: answers that are files, and bodies that become files.

RFC 9110 sections 9.3.1 (GET), 9.3.4 (PUT), 14.4 (Content-Range); RFC 6266 and RFC 8187 (Content-Disposition). Who asks,
and whether they may, is not known here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias
from urllib.parse import quote

from ...errors import AlreadyExists, FileSystemError, NotFound, PermissionDenied
from ...files.streams import FileReceiver, FileSender, Stopped
from ...files.wrappers import ability
from ...interfaces import IFile, IFileSystem, ISizedUpload
from ...vocabulary import OpenMode, Stat, VirtualPath
from ..http import BodyCutShort, HTTPProblem
from ._conditions import etagOf, isConditional, isNotModified, lastModified, mustBeNew, rangeOf
from ._names import shown

Look: TypeAlias = Callable[[], Awaitable[Stat | None]]

_OF_FILES: tuple[tuple[bytes, bytes], ...] = (
    # Whatever a user's file is, it never runs as a part of this site.
    (b"Content-Type", b"application/octet-stream"),
    (b"Content-Security-Policy", b"sandbox; default-src 'none'; frame-ancestors 'none'"),
    (b"Accept-Ranges", b"bytes"),
)
_ABOUT_THE_FILE = (b"Content-Disposition", b"Content-Range", b"ETag", b"Last-Modified", b"Accept-Ranges")


def _setValidators(request: Any, stat: Stat) -> None:
    request.setHeader(b"ETag", etagOf(stat))
    modified = lastModified(stat)
    if modified is not None:
        request.setHeader(b"Last-Modified", modified)


def setHeadersOfFile(request: Any, path: VirtualPath, stat: Stat, length: int) -> None:
    """Describe a file, of which ``length`` bytes follow."""
    for name, value in _OF_FILES:
        request.setHeader(name, value)
    _setValidators(request, stat)
    request.setHeader(b"Content-Disposition", disposition(path[-1]))
    request.setHeader(b"Content-Length", b"%d" % length)


def disposition(name: str) -> bytes:
    """To be saved under this name, never opened."""
    text = shown(name)
    plain = "".join(each if " " <= each <= "~" and each not in '"\\%' else "_" for each in text)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(text, safe='')}".encode("ascii")


def notModified(request: Any, stat: Stat) -> None:
    """Answer that the client has it already."""
    _setValidators(request, stat)
    request.setResponseCode(304)


async def download(request: Any, files: IFileSystem, path: VirtualPath, now: float) -> None:
    """Answer with a file, or the range of it that was asked for."""
    opened = await files.open(path, OpenMode.read)
    try:
        stat = await opened.stat()
        if isNotModified(request, stat):
            notModified(request, stat)
            return
        part = rangeOf(request, stat, now)
        offset, length = part or (0, stat.size)
        setHeadersOfFile(request, path, stat, length)
        if part is not None:
            request.setResponseCode(206)
            request.setHeader(b"Content-Range", b"bytes %d-%d/%d" % (offset, offset + length - 1, stat.size))
        await _send(request, opened, offset, length)
    finally:
        await opened.abort(keep=False)


async def _send(request: Any, opened: IFile, offset: int, length: int) -> None:
    try:
        sent = await FileSender(opened, request).send(offset, length)
    except Stopped:
        request.breakOff()
    except FileSystemError:
        if request.startedWriting:
            request.breakOff()
            return
        for name in _ABOUT_THE_FILE:
            request.responseHeaders.removeHeader(name)
        raise
    else:
        if sent < length:
            # The file became shorter: the client must not take what it has for all of it.
            request.breakOff()


async def upload(request: Any, files: IFileSystem, path: VirtualPath, mostBytes: int, lookAnew: Look) -> bool:
    """Make a file of the body; whether it is a new one. What is refused is refused before the body is read.

    :param lookAnew: what is at ``path`` for others: ``files`` itself sees the upload there.
    """
    if request.requestHeaders.hasHeader(b"Content-Range"):
        raise HTTPProblem(400, "parts of files cannot be put")
    if request.length is not None and request.length > mostBytes:
        raise HTTPProblem(413, f"files may have at most {mostBytes} bytes")
    if isConditional(request):
        isNotModified(request, await committed(files, path))
    opened, isNew = await _openForUpload(request, files, path)
    try:
        if isNew and isConditional(request):
            # What was seen there was a partial of this user's.
            isNotModified(request, None)
        sized = ability(ISizedUpload, opened)
        if sized is not None and request.length is not None:
            sized.expect(request.length)
        await receive(request, opened, mostBytes)
        if isConditional(request):
            isNotModified(request, await lookAnew())
    except BaseException as error:
        await opened.abort(keep=isinstance(error, BodyCutShort))
        raise
    try:
        await opened.commit()
    except AlreadyExists:
        raise HTTPProblem(412 if mustBeNew(request) else 409, "it was made by somebody else meanwhile") from None
    return isNew


async def _openForUpload(request: Any, files: IFileSystem, path: VirtualPath) -> tuple[IFile, bool]:
    try:
        return await files.open(path, OpenMode.create), True
    except AlreadyExists:
        if mustBeNew(request):
            raise HTTPProblem(412, "it is there already") from None
    except NotFound:
        raise HTTPProblem(409, "there is no folder to put this in") from None
    try:
        return await files.open(path, OpenMode.replace), False
    except AlreadyExists:
        # That is how a file system says that its user may not replace files.
        raise PermissionDenied from None


async def receive(request: Any, opened: IFile, mostBytes: int, offset: int = 0) -> int:
    """Write the body to a file, from ``offset`` on; tells how long it was. Nothing is being written when it ends."""
    receiver = FileReceiver(opened, offset, request, request.refuseBody)
    try:
        await request.receive(receiver.dataReceived, mostBytes)
    except BaseException:
        with suppress(FileSystemError):
            await receiver.finish(isBroken=True)
        raise
    return await receiver.finish()


async def committed(files: IFileSystem, path: VirtualPath) -> Stat | None:
    """What is at ``path``; ``None`` where nothing is."""
    try:
        return await files.stat(path)
    except NotFound:
        return None


async def setValidatorsOfUpload(request: Any, files: IFileSystem, path: VirtualPath) -> None:
    """Tell what the file that was just put is known by, where that can be known."""
    try:
        _setValidators(request, await files.stat(path))
    except FileSystemError:
        pass
