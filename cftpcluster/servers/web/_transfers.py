"""Files out and in: answers that are files, and bodies that become files.

RFC 9110 sections 9.3.1 (GET), 9.3.4 (PUT), 14.4 (Content-Range); RFC 6266 and RFC 8187 (Content-Disposition). Who asks,
and whether they may, is not known here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias
from urllib.parse import quote

from twisted.internet.defer import Deferred

from ...errors import AlreadyExists, FileSystemError, NotFound, PermissionDenied
from ...files.streams import FileReceiver, FileSender, Stopped
from ...files.wrappers import ability
from ...interfaces import IFile, IFileSystem, IHasDescriptor, ISizedUpload
from ...vocabulary import OpenMode, Stat, VirtualPath
from ..bulktls import BulkTLS
from ..http import BodyCutShort, HTTPProblem, queryFlag
from ._archives import Archive, BrokenOff, Outlet
from ._conditions import etagOf, isConditional, isNotModified, lastModified, mustBeNew, rangesOf
from ._digests import setDigest, wantedDigest
from ._names import shown
from ._previews import SANDBOX, policyOf, typeOf
from ._sending import CAN_SEND, CachedSender

Look: TypeAlias = Callable[[], Awaitable[Stat | None]]

_OF_FILES: tuple[tuple[bytes, bytes], ...] = (
    # Whatever a user's file is, it never runs as a part of this site.
    (b"Content-Type", b"application/octet-stream"),
    (b"Content-Security-Policy", SANDBOX),
    (b"Accept-Ranges", b"bytes"),
)
_ABOUT_THE_FILE = (
    b"Accept-Ranges",
    b"Content-Disposition",
    b"Content-Range",
    b"ETag",
    b"Last-Modified",
    b"Repr-Digest",
)


def _setValidators(request: Any, stat: Stat) -> None:
    request.setHeader(b"ETag", etagOf(stat))
    modified = lastModified(stat)
    if modified is not None:
        request.setHeader(b"Last-Modified", modified)


def setHeadersOfFile(request: Any, path: VirtualPath, stat: Stat, length: int) -> None:
    """Describe a file, of which ``length`` bytes follow."""
    for name, value in _OF_FILES:
        request.setHeader(name, value)
    shownAs = typeOf(path[-1]) if queryFlag(request, "inline") else None
    if shownAs is not None:
        request.setHeader(b"Content-Type", shownAs)
        request.setHeader(b"Content-Security-Policy", policyOf(shownAs))
        request.setHeader(b"X-Frame-Options", b"SAMEORIGIN")
    _setValidators(request, stat)
    request.setHeader(b"Content-Disposition", disposition(path[-1], b"attachment" if shownAs is None else b"inline"))
    request.setHeader(b"Content-Length", b"%d" % length)


def disposition(name: str, kind: bytes = b"attachment") -> bytes:
    """To be saved under this name, unless ``kind`` says otherwise."""
    text = shown(name)
    plain = "".join(each if " " <= each <= "~" and each not in '"\\%' else "_" for each in text)
    return kind + f"; filename=\"{plain}\"; filename*=UTF-8''{quote(text, safe='')}".encode("ascii")


def notModified(request: Any, stat: Stat) -> None:
    """Answer that the client has it already."""
    _setValidators(request, stat)
    request.setResponseCode(304)


async def download(
    request: Any, files: IFileSystem, path: VirtualPath, now: float, randomBytes: Callable[[int], bytes]
) -> None:
    """Answer with a file, or the ranges of it that were asked for."""
    opened = await files.open(path, OpenMode.read)
    try:
        stat = await opened.stat()
        if isNotModified(request, stat):
            notModified(request, stat)
            return
        ranges = rangesOf(request, stat, now)
        await setDigest(request, opened)
        offset, length = ranges[0] if len(ranges) == 1 else (0, stat.size)
        setHeadersOfFile(request, path, stat, length)
        if ranges:
            request.setResponseCode(206)
        if len(ranges) > 1:
            await _sendParts(request, opened, ranges, stat.size, randomBytes(16).hex().encode("ascii"))
            return
        if ranges:
            request.setHeader(b"Content-Range", _contentRange(offset, length, stat.size))
        await _send(request, opened, offset, length)
    finally:
        await opened.abort(keep=False)


async def describe(request: Any, files: IFileSystem, path: VirtualPath, stat: Stat) -> None:
    """Answer ``HEAD`` of a file."""
    if wantedDigest(request) is not None:
        opened = await files.open(path, OpenMode.read)
        try:
            await setDigest(request, opened)
        finally:
            await opened.abort(keep=False)
    setHeadersOfFile(request, path, stat, stat.size)


def _contentRange(offset: int, length: int, size: int) -> bytes:
    return b"bytes %d-%d/%d" % (offset, offset + length - 1, size)


async def _sendParts(
    request: Any, opened: IFile, ranges: Sequence[tuple[int, int]], size: int, boundary: bytes
) -> None:
    """Several ranges, as ``multipart/byteranges`` (section 14.6)."""
    contentType = request.responseHeaders.getRawHeaders(b"Content-Type")[0]
    head = b"\r\n--%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n"
    heads = [head % (boundary, contentType, _contentRange(offset, length, size)) for offset, length in ranges]
    end = b"\r\n--%s--\r\n" % boundary
    total = sum(map(len, heads)) + sum(length for _, length in ranges) + len(end)
    request.setHeader(b"Content-Type", b"multipart/byteranges; boundary=" + boundary)
    request.setHeader(b"Content-Length", b"%d" % total)
    for each, (offset, length) in zip(heads, ranges, strict=True):
        request.write(each)
        if not await _send(request, opened, offset, length):
            return
    request.write(end)


def _senderOf(request: Any, opened: IFile) -> FileSender | CachedSender:
    tls, lender = request.channel.transport if request.channel is not None else None, ability(IHasDescriptor, opened)
    if not CAN_SEND or lender is None or not isinstance(tls, BulkTLS):
        return FileSender(opened, request)
    # the answer's head goes before
    request.write(b"")
    return CachedSender(opened, lender, tls, request, request.site.reactor, tls.factory.outgoing)


async def _send(request: Any, opened: IFile, offset: int, length: int) -> bool:
    """Send a piece of a file; tells whether all of it was sent."""
    try:
        sent = await _senderOf(request, opened).send(offset, length)
    except Stopped:
        request.breakOff()
        return False
    except FileSystemError:
        if request.startedWriting:
            request.breakOff()
            return False
        for name in _ABOUT_THE_FILE:
            request.responseHeaders.removeHeader(name)
        raise
    if sent < length:
        # The file became shorter: the client must not take what it has for all of it.
        request.breakOff()
    return sent == length


async def downloadArchive(
    request: Any,
    files: IFileSystem,
    folder: VirtualPath,
    names: Sequence[str] | None,
    run: Callable[..., Deferred[Any]],
) -> None:
    """Answer with a folder as a ZIP archive, or with just these of its entries."""
    await _checkNamed(files, folder, names)
    request.setHeader(b"Content-Type", b"application/zip")
    request.setHeader(b"Content-Security-Policy", SANDBOX)
    request.setHeader(b"Content-Disposition", disposition(f"{folder[-1] if folder else 'files'}.zip"))
    if request.method == b"HEAD":
        return
    outlet = Outlet(request)
    request.registerProducer(outlet, True)
    try:
        await Archive(files, outlet, run).send(folder, names)
    except (Stopped, BrokenOff):
        request.breakOff()
    finally:
        request.unregisterProducer()


async def _checkNamed(files: IFileSystem, folder: VirtualPath, names: Sequence[str] | None) -> None:
    """Refuse at once what cannot be sent at all."""
    if names is None:
        (await files.list(folder)).close()
    for name in names or ():
        await files.stat((*folder, name))


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
        await request.receive(receiver.dataReceived, mostBytes, receiver)
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
