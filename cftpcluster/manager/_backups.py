"""Routes that make a backup, and bring one back. Passphrases stand in bodies alone, which nobody logs.

``POST /backup`` ``{"passphrase"}`` answers with the file. ``POST /restore`` takes one line of JSON, ``{"passphrase"}``,
and the file after it; with ``?dryRun`` it only says what would change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThreadPool

from ..config.changes import Change
from ..config.codec import parse
from ..config.document import Role
from ..errors import Invalid
from ..interfaces import IAdministration
from ..servers.http import HTTPProblem, jsonAnswer, jsonBody
from ..vocabulary import Author
from ._bodies import queryFlag, queryNumber
from ._objects import MOST_WAIT_SECONDS
from ._pieces import BodySender
from ._routes import ANYTHING, DRY_RUN, WAIT, Body, Route, Routes
from ._writes import Writes
from .writing import Preparation, Prepared

BACKUP_BYTES = 512 * 1024 * 1024
"""How long a backup may be that is brought back."""

_LONGEST_LINE = 8192

BACKUP = Route(
    method="POST",
    path="/backup",
    text="Make a backup: the configuration and its keys as an encrypted file.",
    role=Role.full,
    tag="backups",
    body=Body(
        {
            "type": "object",
            "required": ["passphrase"],
            "additionalProperties": False,
            "properties": {"passphrase": {"type": "string", "minLength": 1}},
        },
        {"passphrase": "correct horse battery staple"},
    ),
    answer=Body({"type": "string", "format": "binary"}, contentType=ANYTHING),
)
RESTORE = Route(
    method="POST",
    path="/restore",
    text="Bring a backup back, as one new revision.",
    role=Role.full,
    tag="backups",
    query=(DRY_RUN, WAIT),
    body=Body(
        {"type": "string", "format": "binary"},
        contentType=ANYTHING,
        text='A line of JSON, `{"passphrase": "..."}`, and the file after it.',
    ),
    answer=Body("Applied"),
)


class IsBackingUp(Protocol):
    """Makes backups of the node it runs on, and reads them there."""

    def make(self, passphrase: bytes) -> Deferred[bytes]:
        """A backup's file."""

    def restoring(self, data: bytes, passphrase: bytes) -> Deferred[Change | None]:
        """The change that brings a backup's file back; ``None`` where all is so already."""


@define(eq=False)
class BackupRoutes:
    _administration: IAdministration
    _preparation: Preparation
    _writes: Writes
    _backups: IsBackingUp
    _reactor: Any
    _pool: Any
    _one: DeferredLock = field(factory=DeferredLock, init=False)

    def add(self, routes: Routes) -> None:
        routes.add(BACKUP, self._backup)
        routes.add(RESTORE, self._restore)

    async def _backup(self, request: Any, author: Author) -> None:
        passphrase = _passphrase(await jsonBody(request, _LONGEST_LINE))
        data = await self._alone(lambda: self._backups.make(passphrase))
        request.setHeader(b"Content-Type", b"application/octet-stream")
        request.setHeader(b"Content-Length", b"%d" % len(data))
        await BodySender(request, data).send()

    async def _restore(self, request: Any, author: Author) -> bytes:
        seconds = queryNumber(request, "wait", 0, MOST_WAIT_SECONDS)
        # One at a time: the bodies of those that wait are not read before.
        await self._one.acquire()
        try:
            line, _, data = (await request.body(BACKUP_BYTES)).partition(b"\n")
            passphrase = _passphrase(_read(line))

            async def prepare() -> Prepared:
                change = await self._backups.restoring(data, passphrase)
                if change is None:
                    return Prepared(None)
                document = self._administration.document()
                prepared: Prepared = await deferToThreadPool(
                    self._reactor, self._pool, self._preparation.change, change, document
                )
                return prepared

            if queryFlag(request, "dryRun"):
                prepared, revision = await prepare(), self._administration.document().revision
                return jsonAnswer(request, {"revision": revision, "changed": list(prepared.changed)})
            revision, prepared = await self._writes.propose(prepare, author)
        finally:
            self._one.release()
        answer = await self._writes.live(revision, seconds)
        return jsonAnswer(request, {**answer, "changed": list(prepared.changed)})

    async def _alone(self, work: Callable[[], Deferred[bytes]]) -> bytes:
        await self._one.acquire()
        try:
            return await work()
        finally:
            self._one.release()


def _read(line: bytes) -> Any:
    try:
        return parse(line) if len(line) <= _LONGEST_LINE else None
    except Invalid:
        return None


def _passphrase(body: Any) -> bytes:
    text = body.get("passphrase") if isinstance(body, dict) else None
    if not isinstance(text, str) or not text or body.keys() != {"passphrase"}:
        raise HTTPProblem(422, "expected a passphrase")
    return text.encode("utf-8", "surrogatepass")
