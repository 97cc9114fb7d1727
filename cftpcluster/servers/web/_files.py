"""The file API, as scripts and the page use it: ``/api/v1/files/PATH``.

RFC 9110 section 9 (methods). One request is one session of the file system: nothing of it is open when the answer is
complete. Who asks is found out by ``_access``; bytes are moved by ``_transfers``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from attrs import define, field
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest

from ...errors import (
    AlreadyExists,
    Busy,
    Closed,
    CrossesMounts,
    FileSystemError,
    FolderNotEmpty,
    InvalidName,
    IsAFolder,
    NotAFolder,
    NotFound,
    OutOfSpace,
    PermissionDenied,
    StorageMissing,
    Unsupported,
)
from ...files import paths
from ...files.copying import copyRange
from ...files.paths import checkName
from ...interfaces import IFileSystem, IServerSideCopy
from ...vocabulary import Kind, OpenMode, Problem, Stat, VirtualPath
from ..http import HTTPProblem, jsonAnswer, jsonBody, queryBytes, queryFlag, queryNumber, refuseOthers, toTheEnd
from ._access import UserAccess, Visit
from ._conditions import isConditional, isNotModified
from ._digests import answerChecksum
from ._folders import DEFAULT_LIMIT, MOST_LIMIT, Order, pageOf
from ._names import FILES, filePathOf, pathOf, shown, targetOf, urlOf
from ._removals import Removal
from ._transfers import (
    committed,
    describe,
    download,
    downloadArchive,
    notModified,
    setValidatorsOfUpload,
    upload,
)

R = TypeVar("R")

_MOVE_BYTES = 16 * 1024

MOST_ARCHIVES = 4
"""How many archives one user may be sent at once."""

_STATUS: tuple[tuple[type[FileSystemError], int], ...] = (
    (NotFound, 404),
    (PermissionDenied, 403),
    (InvalidName, 400),
    (AlreadyExists, 409),
    (NotAFolder, 409),
    (IsAFolder, 409),
    (FolderNotEmpty, 409),
    (CrossesMounts, 409),
    (Busy, 409),
    (OutOfSpace, 507),
    (Unsupported, 501),
    (StorageMissing, 503),
    (Closed, 503),
)


def problemFor(error: FileSystemError) -> HTTPProblem:
    """What an error of a file system is over HTTP."""
    return HTTPProblem(next((status for kind, status in _STATUS if isinstance(error, kind)), 500), str(error))


@define(eq=False)
class FileRoutes:
    """:ivar mostBytes: how long an upload may be now.
    :ivar now: seconds since the epoch.
    :ivar run: calls something in a thread.
    """

    _access: UserAccess
    _mostBytes: Callable[[], int]
    _now: Callable[[], float]
    _randomBytes: Callable[[int], bytes]
    _run: Callable[..., Deferred[Any]]
    _archives: Counter[str] = field(factory=Counter, init=False)

    def add(self, app: Klein) -> None:
        def route(method: str, serve: Callable[[Any, Visit], Awaitable[bytes | None]]) -> None:
            def served(request: IRequest) -> Deferred[bytes | None]:
                return toTheEnd(self.served(request, serve))

            app.route(FILES, methods=[method], endpoint=f"files {method}")(served)

        route("GET", self._get)
        route("PUT", self._put)
        route("DELETE", self._delete)
        route("POST", self._post)

    async def served(self, request: Any, serve: Callable[[Any, Visit], Awaitable[R]]) -> R:
        """What ``serve`` answers to the user whose request it is."""
        visit = await self._access.visit(request)
        try:
            return await serve(request, visit)
        except FileSystemError as error:
            raise problemFor(error) from None
        finally:
            await visit.end()

    # --- looking

    async def _get(self, request: Any, visit: Visit) -> bytes | None:
        path, files = pathOf(request), visit.account.files
        try:
            stat: Stat | None = await files.stat(path)
        except PermissionDenied:
            stat = None
        except NotAFolder:
            raise NotFound from None
        if stat is not None and stat.kind is Kind.folder:
            return await self._getFolder(request, visit, path)
        if queryBytes(request, "op") == b"checksum":
            refuseOthers(request, "op", "algorithm")
            return await answerChecksum(request, files, path)
        refuseOthers(request, "inline")
        if stat is None:
            await self._fetchUnseen(request, files, path)
        elif isNotModified(request, stat):
            notModified(request, stat)
        elif request.method == b"HEAD":
            await describe(request, files, path, stat)
        else:
            await download(request, files, path, self._now(), self._randomBytes)
        return None

    async def _fetchUnseen(self, request: Any, files: IFileSystem, path: VirtualPath) -> None:
        """Who may not look may still fetch what they know to be there."""
        if request.method == b"HEAD":
            raise PermissionDenied
        try:
            await download(request, files, path, self._now(), self._randomBytes)
        except IsAFolder:
            raise PermissionDenied from None

    async def _getFolder(self, request: Any, visit: Visit, path: VirtualPath) -> bytes | None:
        op = queryBytes(request, "op")
        if op == b"zip":
            await self._archive(request, visit, path)
            return None
        if op is not None:
            raise HTTPProblem(400, "op: expected zip, for a folder")
        refuseOthers(request, "limit", "after", "sort", "foldersFirst", "search")
        limit = queryNumber(request, "limit", DEFAULT_LIMIT, MOST_LIMIT)
        search = (queryBytes(request, "search") or b"").decode("utf-8", "surrogateescape")
        sort = (queryBytes(request, "sort") or b"name").decode("utf-8", "replace")
        try:
            order = Order.parse(sort, queryFlag(request, "foldersFirst"), shown(search))
            page = await pageOf(visit.account.files, path, limit, queryBytes(request, "after") or b"", order)
        except ValueError as error:
            raise HTTPProblem(
                400, f"sort: {error}" if str(error).startswith("expected") else "after: not from here"
            ) from None
        return jsonAnswer(request, page.plain())

    async def _archive(self, request: Any, visit: Visit, path: VirtualPath) -> None:
        refuseOthers(request, "op", "name")
        names = [checkName(paths.decode(name)) for name in request.args.get(b"name", [])]
        user = visit.account.name
        if self._archives[user] >= MOST_ARCHIVES:
            raise HTTPProblem(429, "too many archives of this user are under way", headers={"Retry-After": "10"})
        self._archives[user] += 1
        try:
            await downloadArchive(request, visit.account.files, path, list(dict.fromkeys(names)) or None, self._run)
        finally:
            self._archives[user] -= 1
            if not self._archives[user]:
                del self._archives[user]

    # --- changing

    async def _put(self, request: Any, visit: Visit) -> None:
        refuseOthers(request)
        path, files = filePathOf(request), visit.account.files

        async def lookAnew() -> Stat | None:
            other = await self._access.visit(request)
            try:
                return await committed(other.account.files, path)
            finally:
                await other.end()

        isNew = await upload(request, files, path, self._mostBytes(), lookAnew)
        await setValidatorsOfUpload(request, files, path)
        request.setResponseCode(201 if isNew else 204)
        if isNew:
            request.setHeader(b"Location", urlOf(path).encode("ascii"))
            request.setHeader(b"Content-Length", b"0")

    async def _delete(self, request: Any, visit: Visit) -> None:
        refuseOthers(request, "recursive")
        path, files = pathOf(request), visit.account.files
        if isConditional(request):
            isNotModified(request, await committed(files, path))
        try:
            await files.remove(path)
        except IsAFolder:
            await (_removeAll(files, path) if queryFlag(request, "recursive") else files.removeDirectory(path))
        request.setResponseCode(204)

    async def _post(self, request: Any, visit: Visit) -> None:
        refuseOthers(request, "op")
        verbs = {b"mkdir": self._makeFolder, b"move": self._move, b"copy": self._copy}
        verb = verbs.get(queryBytes(request, "op") or b"")
        if verb is None:
            raise HTTPProblem(400, "op: expected mkdir, move or copy")
        await verb(request, visit)

    async def _makeFolder(self, request: Any, visit: Visit) -> None:
        path = pathOf(request)
        if await jsonBody(request, _MOVE_BYTES):
            raise HTTPProblem(422, "mkdir takes no body")
        try:
            await visit.account.files.makeDirectory(path)
        except NotFound:
            raise HTTPProblem(409, "there is no folder to make this in") from None
        request.setResponseCode(201)
        request.setHeader(b"Location", urlOf(path, isFolder=True).encode("ascii"))
        request.setHeader(b"Content-Length", b"0")

    async def _move(self, request: Any, visit: Visit) -> None:
        old = pathOf(request)
        new, overwrite = await _target(request)
        await visit.account.files.rename(old, new, overwrite)
        request.setResponseCode(204)

    async def _copy(self, request: Any, visit: Visit) -> None:
        old, files = pathOf(request), visit.account.files
        new, overwrite = await _target(request)
        try:
            await IServerSideCopy(files).copy(old, new, overwrite)
        except (TypeError, Unsupported, CrossesMounts):
            await _copyBytes(files, old, new, overwrite, lambda: not request.disconnected)
        request.setResponseCode(204)


async def _target(request: Any) -> tuple[VirtualPath, bool]:
    body = await jsonBody(request, _MOVE_BYTES)
    overwrite = body.get("overwrite", False)
    unknown = body.keys() - {"to", "toBytes", "overwrite"}
    if unknown or not isinstance(overwrite, bool):
        raise HTTPProblem(422, "expected to, and overwrite: true or false")
    return targetOf(body), overwrite


async def _copyBytes(
    files: Any, old: VirtualPath, new: VirtualPath, overwrite: bool, isAwaited: Callable[[], bool]
) -> None:
    """Between storages, where none can copy by itself."""
    source = await files.open(old, OpenMode.read)
    try:
        target = await files.open(new, OpenMode.replace if overwrite else OpenMode.create)
        try:
            await copyRange(source, 0, target, 0, None, isAwaited)
        except BaseException:
            await target.abort(keep=False)
            raise
        await target.commit()
    finally:
        await source.abort(keep=False)


async def _removeAll(files: IFileSystem, path: VirtualPath) -> None:
    removal = Removal(files)
    await removal.remove(path)
    if removal.failed:
        first = removal.errors[0][1]
        detail = f"{removal.removed} entries were removed, {removal.failed} could not be"
        problems = [Problem(name, why) for name, why in removal.told()]
        raise HTTPProblem(problemFor(first).status, detail, problems)
