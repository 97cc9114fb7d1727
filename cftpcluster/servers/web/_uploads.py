"""Uploads that can be resumed, on any node: ``/api/v1/uploads``.

tus 1.0.0: core protocol, and the extensions creation, creation-with-upload, checksum, expiration and termination.

    POST /api/v1/uploads          201, Location: /api/v1/uploads/TOKEN
    PATCH /api/v1/uploads/TOKEN   204, Upload-Offset
    HEAD /api/v1/uploads/TOKEN    200, Upload-Offset

What came so far is a partial of the user's (:mod:`._uploadtokens`); it becomes the file, at once, when its last byte is
there. Who asks is found out elsewhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, field
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.http import datetimeToString
from twisted.web.iweb import IRequest

from ...config.document import Settings
from ...errors import AlreadyExists, FileSystemError, IsAFolder, NotFound, PermissionDenied
from ...files.wrappers import ability
from ...interfaces import IFile, IFileSystem, ISizedUpload
from ...vocabulary import Kind, OpenMode
from ..http import HTTPProblem, refuseOthers, toTheEnd
from ._access import Visit
from ._checksums import ALGORITHMS, Checked, checksumOf
from ._names import UPLOADS
from ._transfers import receive
from ._uploadtokens import ResumableUpload, UploadTokens, metadataOf, pathIn
from ._writers import Turn, Writers

VERSION = b"1.0.0"
EXTENSIONS = b"creation,creation-with-upload,checksum,expiration,termination"
CONTENT_TYPE = b"application/offset+octet-stream"
METHODS = ("POST", "PATCH", "HEAD", "DELETE", "OPTIONS")

Serve = Callable[[Any, Visit], Awaitable[None]]
Serving = Callable[[Any, Serve], Awaitable[None]]


@define(eq=False)
class UploadRoutes:
    """:ivar served: has a request served for the user whose it is.
    :ivar mostBytes: how long an upload may be now; ``None`` for as long as you like.
    :ivar now: seconds since the epoch, as files have it.
    """

    _served: Serving
    _tokens: UploadTokens
    _writers: Writers
    _checked: Callable[[IFile, str], Checked]
    _mostBytes: Callable[[], int | None]
    _settings: Callable[[], Settings]
    _now: Callable[[], float]
    _methods: dict[bytes, Serve] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._methods = {
            b"POST": self._create,
            b"PATCH": self._patch,
            b"HEAD": self._head,
            b"DELETE": self._delete,
        }

    def add(self, app: Klein) -> None:
        def uploads(request: IRequest) -> Deferred[None]:
            return toTheEnd(self._answer(request))

        for method in METHODS:
            app.route(UPLOADS, methods=[method], endpoint=f"uploads {method}")(uploads)

    async def _answer(self, request: Any) -> None:
        request.setHeader(b"Tus-Resumable", VERSION)
        method = _methodOf(request)
        if method == b"OPTIONS":
            self._describe(request)
            return
        if request.requestHeaders.getRawHeaders(b"Tus-Resumable") != [VERSION]:
            raise HTTPProblem(412, "this speaks tus 1.0.0", headers={"Tus-Version": VERSION.decode()})
        if (method == b"POST") != (request.rest in ((), [], [b""])):
            raise HTTPProblem(
                405, headers={"Allow": "PATCH, HEAD, DELETE, OPTIONS" if request.rest else "POST, OPTIONS"}
            )
        await self._served(request, self._methods[method])

    def _describe(self, request: Any) -> None:
        request.setResponseCode(204)
        request.setHeader(b"Tus-Version", VERSION)
        request.setHeader(b"Tus-Extension", EXTENSIONS)
        request.setHeader(b"Tus-Checksum-Algorithm", ",".join(ALGORITHMS).encode("ascii"))
        most = self._mostBytes()
        if most is not None:
            request.setHeader(b"Tus-Max-Size", b"%d" % most)

    # --- beginning

    async def _create(self, request: Any, visit: Visit) -> None:
        refuseOthers(request)
        for unsupported in ("Upload-Defer-Length", "Upload-Concat"):
            if request.requestHeaders.hasHeader(unsupported):
                raise HTTPProblem(400, f"{unsupported} is not supported")
        length, most = _number(request, b"Upload-Length"), self._mostBytes()
        if most is not None and length > most:
            raise HTTPProblem(413, f"files may have at most {most} bytes")
        hasBody = request.length != 0
        if hasBody:
            _checkType(request)
        metadata = (_header(request, b"Upload-Metadata") or b"").decode("latin-1")
        pathIn(metadataOf(metadata))
        upload = self._tokens.new(visit.account.name, length, self._now(), metadata)
        checksum = checksumOf(request)
        files = visit.account.files
        await _checkTarget(files, upload)
        turn = await self._writers.turn(request, files, upload)
        try:
            opened = await self._begin(files, upload)
            request.setHeader(b"Location", f"{UPLOADS}/{self._tokens.render(upload)}".encode("ascii"))
            if hasBody or not length:
                await self._receive(request, turn, upload, opened, 0, checksum)
            elif not await opened.abort(keep=True):
                await _forget(files, upload)
                raise HTTPProblem(501, "no upload can be resumed here, since all is seen at once: use PUT")
        finally:
            turn.end()
        request.setHeader(b"Upload-Expires", self._expiry(self._now()))
        request.setHeader(b"Content-Length", b"0")
        request.setResponseCode(201)

    async def _begin(self, files: IFileSystem, upload: ResumableUpload) -> IFile:
        try:
            opened = await files.open(upload.partial, OpenMode.create)
        except NotFound:
            raise HTTPProblem(409, "there is no folder to put this in") from None
        sized = ability(ISizedUpload, opened)
        try:
            if sized is not None:
                sized.expect(upload.length)
        except FileSystemError:
            await opened.abort(keep=False)
            raise
        return opened

    # --- going on

    async def _patch(self, request: Any, visit: Visit) -> None:
        upload = self._uploadOf(request, visit)
        _checkType(request)
        offset, checksum = _number(request, b"Upload-Offset"), checksumOf(request)
        if request.length is not None and offset + request.length > upload.length:
            raise HTTPProblem(413, "this is more than the upload's length")
        turn = await self._writers.turn(request, visit.account.files, upload)
        try:
            opened = await self._opened(turn, visit.account.files, upload)
            have = upload.length if opened is None else (await opened.stat()).size
            if have != offset:
                if opened is not None:
                    await opened.abort(keep=True)
                raise HTTPProblem(409, f"the upload is at {have}, not at {offset}")
            if opened is not None:
                await self._receive(request, turn, upload, opened, offset, checksum)
        finally:
            turn.end()
        if opened is None:
            request.setHeader(b"Upload-Offset", b"%d" % have)
        request.setHeader(b"Upload-Expires", self._expiry(self._now()))
        request.setResponseCode(204)

    async def _opened(self, turn: Turn, files: IFileSystem, upload: ResumableUpload) -> IFile | None:
        """The partial; ``None`` where the upload is complete. Fails with 410 where it is gone."""
        try:
            opened = await turn.open()
        except NotFound:
            if await _isComplete(files, upload):
                return None
            raise HTTPProblem(410, "this upload is gone") from None
        if (await opened.stat()).modified + self._settings().partialSeconds > self._now():
            return opened
        await opened.abort(keep=False)
        raise HTTPProblem(410, "this upload has expired")

    async def _receive(
        self,
        request: Any,
        turn: Turn,
        upload: ResumableUpload,
        opened: IFile,
        offset: int,
        checksum: tuple[str, bytes] | None,
    ) -> None:
        """Take the body, and complete the upload where that was the rest of it. Ends ``opened``."""
        checked = None if checksum is None else self._checked(opened, checksum[0])
        stop = turn.watch()
        try:
            turn.check()
            sized = ability(ISizedUpload, opened)
            if sized is not None:
                sized.expect(upload.length)
            received = await receive(request, checked or opened, upload.length - offset, offset)
            if checked is not None and checksum is not None and checked.digest() != checksum[1]:
                raise HTTPProblem(460, "the checksum is that of other bytes")
        except BaseException:
            with suppress(FileSystemError):
                if checksum is not None:
                    # what was not verified must not stay
                    await opened.truncate(offset)
                await opened.abort(keep=True)
            raise
        finally:
            stop()
        if offset + received == upload.length:
            await _complete(turn.files, upload, opened)
        else:
            await opened.abort(keep=True)
        request.setHeader(b"Upload-Offset", b"%d" % (offset + received))

    async def _head(self, request: Any, visit: Visit) -> None:
        upload, files = self._uploadOf(request, visit), visit.account.files
        turn = await self._writers.turn(request, files, upload)
        try:
            opened = await self._opened(turn, files, upload)
            stat = None if opened is None else await opened.stat()
            if opened is not None and stat is not None:
                if stat.size == upload.length:
                    # a node died before it could do so
                    await _complete(files, upload, opened)
                else:
                    await opened.abort(keep=True)
        finally:
            turn.end()
        request.setHeader(b"Upload-Offset", b"%d" % (upload.length if stat is None else stat.size))
        request.setHeader(b"Upload-Length", b"%d" % upload.length)
        request.setHeader(b"Upload-Expires", self._expiry(self._now() if stat is None else stat.modified))
        if upload.metadata:
            request.setHeader(b"Upload-Metadata", upload.metadata.encode("latin-1"))
        request.setHeader(b"Content-Length", b"0")

    async def _delete(self, request: Any, visit: Visit) -> None:
        upload, files = self._uploadOf(request, visit), visit.account.files
        turn = await self._writers.turn(request, files, upload)
        try:
            opened = await turn.open()
            await opened.abort(keep=False)
        except NotFound:
            raise HTTPProblem(410, "this upload is gone") from None
        finally:
            turn.end()
        request.setResponseCode(204)

    def _uploadOf(self, request: Any, visit: Visit) -> ResumableUpload:
        refuseOthers(request)
        upload = self._tokens.parse(request.rest[0]) if len(request.rest) == 1 else None
        if upload is None or upload.user != visit.account.name:
            raise HTTPProblem(404, "there is no such upload")
        return upload

    def _expiry(self, touched: float) -> bytes:
        expiry: bytes = datetimeToString(int(touched + self._settings().partialSeconds))
        return expiry


# --- the file that an upload becomes


async def _checkTarget(files: IFileSystem, upload: ResumableUpload) -> None:
    """Refuse at once what could not be completed."""
    try:
        found = await files.stat(upload.path)
    except (NotFound, PermissionDenied):
        # who may not look finds out at the end
        return
    if found.kind is not Kind.file:
        raise IsAFolder if found.kind is Kind.folder else PermissionDenied
    try:
        opened = await files.open(upload.path, OpenMode.replace if upload.overwrite else OpenMode.create)
    except AlreadyExists:
        raise (PermissionDenied() if upload.overwrite else AlreadyExists()) from None
    await opened.abort(keep=False)


async def _complete(files: IFileSystem, upload: ResumableUpload, opened: IFile) -> None:
    """Make the file of a partial that is whole, or discard what can never become one."""
    try:
        await files.rename(upload.partial, upload.path, upload.overwrite)
    except (AlreadyExists, IsAFolder, PermissionDenied):
        await opened.abort(keep=False)
        raise
    except FileSystemError:
        await opened.abort(keep=True)
        raise
    await opened.commit()


async def _isComplete(files: IFileSystem, upload: ResumableUpload) -> bool:
    """Whether an upload without a partial has become its file, as far as can be told: the answer that said so may have
    been lost with the node that gave it."""
    with suppress(FileSystemError):
        opened = await files.open(upload.path, OpenMode.resume)
        # not even that one is committed
        await opened.abort(keep=True)
        return False
    with suppress(FileSystemError):
        stat = await files.stat(upload.path)
        return stat.kind is Kind.file and stat.size == upload.length and stat.modified >= upload.created
    return False


async def _forget(files: IFileSystem, upload: ResumableUpload) -> None:
    with suppress(FileSystemError):
        await files.remove(upload.partial)


# --- headers


def _methodOf(request: Any) -> bytes:
    method: bytes = request.method
    told = _header(request, b"X-HTTP-Method-Override")
    if told is None or told == method:
        return method
    if method != b"POST" or told not in {b"PATCH", b"DELETE"}:
        # anything else would be a way around what protects unsafe requests
        raise HTTPProblem(400, "X-HTTP-Method-Override: a POST may be meant as PATCH or DELETE, nothing else")
    return b"PATCH" if told == b"PATCH" else b"DELETE"


def _header(request: Any, name: bytes) -> bytes | None:
    values: Sequence[bytes] = request.requestHeaders.getRawHeaders(name, [])
    if len(values) > 1:
        raise HTTPProblem(400, f"{name.decode()} is given twice")
    return values[0] if values else None


def _number(request: Any, name: bytes) -> int:
    text = _header(request, name)
    if text is None or not text.isdigit() or len(text) > 18:
        raise HTTPProblem(400, f"{name.decode()}: expected a number of bytes")
    return int(text)


def _checkType(request: Any) -> None:
    if _header(request, b"Content-Type") != CONTENT_TYPE:
        raise HTTPProblem(415, f"expected {CONTENT_TYPE.decode()}")
