"""Routes of the cluster as a whole: waiting, whole documents, join tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThreadPool

from ..config.changes import Put
from ..config.document import NAME_PATTERN, Role, Secret
from ..config.written import export
from ..interfaces import IAdministration
from ..servers.http import encodeJSON, jsonAnswer
from ..vocabulary import Author
from ._bodies import queryFlag, queryNumber, queryText, requestId
from ._formed import formedBody
from ._objects import MOST_WAIT_SECONDS
from ._pieces import BodySender
from ._routes import DRY_RUN, WAIT, Body, Parameter, Route, Routes
from ._writes import Writes
from .rights import requireRole
from .writing import Hashes, Preparation, Prepared

DOCUMENT_BYTES = 64 * 1024 * 1024
"""How long a document to apply may be."""

TOKEN_SECONDS = 24 * 3600
_MOST_TOKEN_SECONDS = 30 * 24 * 3600

WAITING = Route(
    method="GET",
    path="/wait",
    text="Wait until nodes are live with a revision, and name those with problems.",
    role=Role.auditor,
    tag="cluster",
    query=(
        Parameter("revision", "The revision; the present one unless said.", {"type": "integer", "minimum": 0}),
        Parameter("all", "Every node, also those that are not connected.", {"type": "boolean"}),
        Parameter("seconds", "For so long at most.", {"type": "number", "minimum": 0, "maximum": MOST_WAIT_SECONDS}),
    ),
    answer=Body("Waited"),
)
APPLY = Route(
    method="POST",
    path="/apply",
    text="Make the configuration agree with a document, in YAML or JSON, as one revision, all or nothing. Needs role "
    "`full` where more than users and groups changes.",
    role=Role.users,
    tag="configuration",
    query=(
        DRY_RUN,
        Parameter("prune", "Remove what is absent from the sections that are there.", {"type": "boolean"}),
        WAIT,
    ),
    body=Body("Document", {"groups": [{"name": "partners"}]}),
    answer=Body("Applied"),
    repeatable=True,
)
EXPORT = Route(
    method="GET",
    path="/export",
    text="The whole configuration, in the form that `apply` takes.",
    role=Role.auditor,
    tag="configuration",
    query=(
        Parameter("secrets", "Also private keys and the hashes of passwords; needs role `full`.", {"type": "boolean"}),
    ),
    answer=Body("Document"),
)
HAPROXY = Route(
    method="GET",
    path="/haproxy",
    text="A complete HAProxy configuration for the cluster as it is.",
    role=Role.auditor,
    tag="cluster",
    query=(
        Parameter("address", "Where clients reach the balancer; several by commas."),
        Parameter("source", "The address that the balancer connects to nodes from."),
        Parameter("relievePrimary", "The primary gets clients only while no other node is ready.", {"type": "boolean"}),
        Parameter("manager", "Administrators reach the Manager through it, too.", {"type": "boolean"}),
    ),
    answer=Body("Balancer"),
)
JOIN_TOKEN = Route(
    method="POST",
    path="/tokens/join",
    text="Make a token that lets one new node join.",
    role=Role.full,
    tag="nodes",
    body=Body(
        {
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": {
                "name": {"type": "string", "pattern": f"^{NAME_PATTERN.pattern}$", "description": "The node's name."},
                "expiresSeconds": {"type": "number", "exclusiveMinimum": 0, "maximum": _MOST_TOKEN_SECONDS},
            },
        },
        {"name": "node-b", "expiresSeconds": 3600},
    ),
    answer=Body("JoinToken"),
    status=201,
)


@define(eq=False)
class ClusterRoutes:
    """
    :ivar makeToken: from a node's name and seconds, a join token's text and the change that makes it known.
    :ivar haproxy: as :class:`~.api.Administration` has it.
    """

    _administration: IAdministration
    _preparation: Preparation
    _writes: Writes
    _makeToken: Callable[[str, float], tuple[str, Put]]
    _openSecret: Callable[[Secret], bytes]
    _haproxy: Callable[..., Any]
    _reactor: Any
    _pool: Any
    _oneDocument: DeferredLock = field(factory=DeferredLock, init=False)

    def add(self, routes: Routes) -> None:
        routes.add(WAITING, self._wait)
        routes.add(APPLY, self._apply)
        routes.add(EXPORT, self._export)
        routes.add(HAPROXY, self._balancer)
        routes.add(JOIN_TOKEN, self._token)

    async def _wait(self, request: Any, author: Author) -> bytes:
        revision = int(queryNumber(request, "revision", self._administration.document().revision, 10**15))
        seconds = queryNumber(request, "seconds", 0, MOST_WAIT_SECONDS)
        nodes = await self._administration.wait(revision, queryFlag(request, "all"), seconds)
        problems = {node["name"]: list(node["problems"]) for node in self._nodes() if node.get("problems")}
        answer = {"revision": revision, "live": list(nodes["live"]), "pending": list(nodes["pending"])}
        return jsonAnswer(request, {**answer, "problems": problems})

    def _nodes(self) -> list[Mapping[str, Any]]:
        return list(self._administration.status().get("nodes", []))

    async def _balancer(self, request: Any, author: Author) -> bytes:
        said = {
            "addresses": tuple(filter(None, (queryText(request, "address") or "").split(","))),
            "source": queryText(request, "source") or "",
            "relievePrimary": queryFlag(request, "relievePrimary"),
            "manager": queryFlag(request, "manager"),
        }
        document = self._administration.document()
        written = await deferToThreadPool(self._reactor, self._pool, self._haproxy, document, **said)
        return jsonAnswer(request, {"configuration": written.text, "warnings": list(written.warnings)})

    async def _apply(self, request: Any, author: Author) -> bytes:
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

    async def _export(self, request: Any, author: Author) -> None:
        secrets = queryFlag(request, "secrets")
        if secrets:
            requireRole(author, Role.full)
        document = self._administration.document()

        def made() -> bytes:
            return encodeJSON(export(document, self._openSecret if secrets else None))

        body: bytes = await deferToThreadPool(self._reactor, self._pool, made)
        request.setHeader(b"Content-Type", b"application/json")
        request.setHeader(b"ETag", b'"%d"' % document.revision)
        request.setHeader(b"Content-Length", b"%d" % len(body))
        await BodySender(request, body).send()

    async def _token(self, request: Any, author: Author) -> bytes:
        body = await formedBody(request, JOIN_TOKEN, 4096)
        name, seconds = body["name"], body.get("expiresSeconds", TOKEN_SECONDS)
        text, change = self._makeToken(name, float(seconds))

        async def prepare() -> Prepared:
            return Prepared(change)

        revision, _ = await self._writes.propose(prepare, author)
        return jsonAnswer(request, {"token": text, "name": name, "expiresSeconds": seconds, "revision": revision}, 201)
