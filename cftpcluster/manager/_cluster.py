"""Routes of the cluster as a whole: status, waiting, whole documents, join tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from klein import Klein
from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThreadPool
from twisted.web.iweb import IRequest

from ..config.changes import Put
from ..config.document import NAME_PATTERN, Secret
from ..config.written import export
from ..interfaces import IAdministration
from ..servers.http import HTTPProblem, encodeJSON, jsonAnswer, jsonBody
from ._bodies import queryFlag, queryNumber, queryText, refuseOthers, requestId
from ._objects import MOST_WAIT_SECONDS
from ._pieces import BodySender
from ._writes import Writes
from .access import IsAccess, requireFull
from .writing import Hashes, Preparation, Prepared

DOCUMENT_BYTES = 64 * 1024 * 1024
"""How long a document to apply may be."""

TOKEN_SECONDS = 24 * 3600
_MOST_TOKEN_SECONDS = 30 * 24 * 3600


@define(eq=False)
class ClusterRoutes:
    """
    :ivar makeToken: from a node's name and seconds, a join token's text and the change that makes it known.
    :ivar haproxy: as :class:`~.api.Administration` has it.
    """

    _administration: IAdministration
    _access: IsAccess
    _preparation: Preparation
    _writes: Writes
    _makeToken: Callable[[str, float], tuple[str, Put]]
    _openSecret: Callable[[Secret], bytes]
    _haproxy: Callable[..., Any]
    _reactor: Any
    _pool: Any
    _oneDocument: DeferredLock = field(factory=DeferredLock, init=False)

    def add(self, app: Klein) -> None:
        @app.route("/api/v1/status", methods=["GET"])
        async def status(request: IRequest) -> bytes:
            await self._access.author(request)
            refuseOthers(request)
            return jsonAnswer(request, self._administration.status())

        @app.route("/api/v1/wait", methods=["GET"])
        async def wait(request: IRequest) -> bytes:
            return await self._wait(request)

        @app.route("/api/v1/apply", methods=["POST"])
        async def apply(request: IRequest) -> bytes:
            return await self._apply(request)

        @app.route("/api/v1/export", methods=["GET"])
        async def exported(request: IRequest) -> None:
            await self._export(request)

        @app.route("/api/v1/haproxy", methods=["GET"])
        async def haproxy(request: IRequest) -> bytes:
            return await self._balancer(request)

        @app.route("/api/v1/tokens/join", methods=["POST"])
        async def token(request: IRequest) -> bytes:
            return await self._token(request)

    async def _wait(self, request: Any) -> bytes:
        await self._access.author(request)
        refuseOthers(request, "revision", "all", "seconds")
        revision = int(queryNumber(request, "revision", self._administration.document().revision, 10**15))
        seconds = queryNumber(request, "seconds", 0, MOST_WAIT_SECONDS)
        nodes = await self._administration.wait(revision, queryFlag(request, "all"), seconds)
        problems = {node["name"]: list(node["problems"]) for node in self._nodes() if node.get("problems")}
        answer = {"revision": revision, "live": list(nodes["live"]), "pending": list(nodes["pending"])}
        return jsonAnswer(request, {**answer, "problems": problems})

    def _nodes(self) -> list[Mapping[str, Any]]:
        return list(self._administration.status().get("nodes", []))

    async def _balancer(self, request: Any) -> bytes:
        await self._access.author(request)
        refuseOthers(request, "address", "source", "relievePrimary", "manager")
        said = {
            "addresses": tuple(filter(None, (queryText(request, "address") or "").split(","))),
            "source": queryText(request, "source") or "",
            "relievePrimary": queryFlag(request, "relievePrimary"),
            "manager": queryFlag(request, "manager"),
        }
        document = self._administration.document()
        written = await deferToThreadPool(self._reactor, self._pool, self._haproxy, document, **said)
        return jsonAnswer(request, {"configuration": written.text, "warnings": list(written.warnings)})

    async def _apply(self, request: Any) -> bytes:
        author = await self._access.author(request)
        if author.role == "auditor":
            requireFull(author)
        refuseOthers(request, "dryRun", "prune", "wait")
        dryRun, prune = queryFlag(request, "dryRun"), queryFlag(request, "prune")
        seconds = queryNumber(request, "wait", 0, MOST_WAIT_SECONDS)
        # One at a time: the bodies of those that wait are not read before.
        await self._oneDocument.acquire()
        try:
            text = await request.body(DOCUMENT_BYTES)
            repeat = requestId(request, author, text)
            hashes: Hashes = {}

            async def prepare() -> Prepared:
                return await self._preparation.document(text, prune, self._administration.document, hashes)

            if dryRun:
                prepared = await prepare()
                revision = self._administration.document().revision
            else:
                revision, prepared = await self._writes.propose(prepare, author, repeat)
        finally:
            self._oneDocument.release()
        answer = {"revision": revision} if dryRun else await self._writes.live(revision, seconds)
        return jsonAnswer(request, {**answer, "changed": list(prepared.changed)})

    async def _export(self, request: Any) -> None:
        author = await self._access.author(request)
        refuseOthers(request, "secrets")
        secrets = queryFlag(request, "secrets")
        if secrets:
            requireFull(author)
        document = self._administration.document()

        def made() -> bytes:
            return encodeJSON(export(document, self._openSecret if secrets else None))

        body: bytes = await deferToThreadPool(self._reactor, self._pool, made)
        request.setHeader(b"Content-Type", b"application/json")
        request.setHeader(b"ETag", b'"%d"' % document.revision)
        request.setHeader(b"Content-Length", b"%d" % len(body))
        await BodySender(request, body).send()

    async def _token(self, request: Any) -> bytes:
        author = await self._access.author(request)
        requireFull(author)
        refuseOthers(request)
        body = await jsonBody(request, 4096)
        name, seconds = body.get("name"), body.get("expiresSeconds", TOKEN_SECONDS)
        if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
            raise HTTPProblem(422, "name: expected a node's name")
        if type(seconds) not in {int, float} or not 0 < seconds <= _MOST_TOKEN_SECONDS:
            raise HTTPProblem(422, f"expiresSeconds: expected 1 to {_MOST_TOKEN_SECONDS}")
        if body.keys() - {"name", "expiresSeconds"}:
            raise HTTPProblem(422, "expected name and expiresSeconds")
        text, change = self._makeToken(name, float(seconds))

        async def prepare() -> Prepared:
            return Prepared(change)

        revision, _ = await self._writes.propose(prepare, author)
        return jsonAnswer(request, {"token": text, "name": name, "expiresSeconds": seconds, "revision": revision}, 201)
