"""Routes of what happened in the cluster: pages, an export, and a stream of what happens (server-sent events).

Server-sent events are those of the HTML standard, section 9.2: ``id`` is where a reader goes on with
``Last-Event-ID``, ``event: happened`` carries one record, ``event: nodes`` says which node does not answer, or does
again. A comment is sent now and then, so that whoever stands between does not take the connection for dead.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, DeferredList, DeferredLock, FirstError
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from .. import events
from ..config.document import Role
from ..journal.auditfile import Question
from ..servers.http import HTTPProblem, jsonAnswer
from ..vocabulary import Author
from ._bodies import queryNumber, queryText
from ._routes import STREAM, Body, Parameter, Route, Routes, after, limit
from .happened import MOST_LIMIT, Happened, Place, parsePlaces

DEFAULT_LIMIT = 100
MOST_STREAMS = 10
MOST_EXPORTED = 1_000_000
COLUMNS = ("time", "node", "kind", "user", "address", "protocol", "session", "path", "details")

_NUMBER = re.compile(r"[0-9]{1,11}(\.[0-9]{1,6})?")

KINDS = sorted(
    one.__name__
    for one in vars(events).values()
    if isinstance(one, type) and issubclass(one, events.Event) and not one.__subclasses__()
)

QUESTION = (
    Parameter("since", "From this time on: seconds since the epoch, or ISO 8601."),
    Parameter("until", "Before this time, likewise."),
    Parameter("kind", "Only of these kinds, by commas: " + ", ".join(KINDS) + "."),
    Parameter("user", "Only of this user or administrator, as the client gave the name."),
    Parameter("address", "Only from this address."),
    Parameter("protocol", "Only over this protocol."),
    Parameter("session", "Only of this session."),
    Parameter("path", "Only about this file or folder, and what is beneath it."),
    Parameter("node", "Only what happened on this node."),
    Parameter("text", "Only with this text in any of its values."),
)
EVENTS = Route(
    method="GET",
    path="/events",
    text="What happened in the cluster, the newest first. With `Accept: text/event-stream`, what happens from now on,"
    " or after `Last-Event-ID`.",
    role=Role.auditor,
    tag="events",
    query=(*QUESTION, limit(DEFAULT_LIMIT, MOST_LIMIT), after()),
    answer=Body("Events"),
    otherwise=(Body({"type": "string"}, contentType=STREAM),),
)
EXPORT = Route(
    method="GET",
    path="/events/export",
    text=f"All that fits, the newest first, at most {MOST_EXPORTED:,}: a JSON object in each line, or CSV.",
    role=Role.auditor,
    tag="events",
    query=(*QUESTION, Parameter("format", "`jsonl` or `csv`.", {"type": "string", "enum": ["jsonl", "csv"]})),
    answer=Body({"type": "string"}, contentType="application/jsonl"),
    otherwise=(Body({"type": "string"}, contentType="text/csv"),),
)


@define(eq=False)
class EventRoutes:
    _happened: Happened

    def add(self, routes: Routes) -> None:
        routes.add(EVENTS, self._events)
        routes.add(EXPORT, self._export)

    async def _events(self, request: Any, author: Author) -> bytes | None:
        question, nodes = self._question(request)
        if STREAM in (request.getHeader("Accept") or ""):
            await self._stream(request, question, nodes)
            return None
        text = queryText(request, "after")
        place = Place.parse(text) if text else None
        if text and place is None:
            raise HTTPProblem(400, "after: expected the next of the page before")
        return jsonAnswer(request, await self._happened.page(question, nodes, place))

    def _question(self, request: Any) -> tuple[Question, Sequence[str]]:
        kinds = tuple(filter(None, (queryText(request, "kind") or "").split(",")))
        for kind in kinds:
            if kind not in KINDS:
                raise HTTPProblem(400, f"kind: there is no {kind!r}")
        node, known = queryText(request, "node"), self._happened.nodes
        if node and node not in known:
            raise HTTPProblem(404, f"there is no node {node!r}")
        texts: dict[str, Any] = {name: queryText(request, name) or "" for name in TEXTS}
        question = Question(
            kinds=kinds,
            since=_time(request, "since"),
            until=_time(request, "until"),
            limit=max(1, int(queryNumber(request, "limit", DEFAULT_LIMIT, MOST_LIMIT))),
            **texts,
        )
        return question, [node] if node else known

    # --- all of it

    async def _export(self, request: Any, author: Author) -> None:
        question, nodes = self._question(request)
        form = queryText(request, "format") or "jsonl"
        if form not in ("jsonl", "csv"):
            raise HTTPProblem(400, "format: expected jsonl or csv")
        question = evolve(question, limit=MOST_LIMIT)
        page = await self._happened.page(question, nodes, None)
        contentType = b"application/jsonl" if form == "jsonl" else b"text/csv; charset=utf-8; header=present"
        request.setHeader(b"Content-Type", contentType)
        request.setHeader(b"Content-Disposition", b'attachment; filename="events.%s"' % form.encode("ascii"))
        writer = PacedWriter(request)
        writer.start()
        try:
            await writer.write(b",".join(c.encode() for c in COLUMNS) + b"\r\n" if form == "csv" else b"")
            count = 0
            while not writer.isOver:
                await writer.write(b"".join(map(LINES[form], page["items"])))
                count += len(page["items"])
                for one in page["unanswered"]:
                    await writer.write(LINES[form]({"kind": "NotAnswered", "node": one["node"], "why": one["why"]}))
                    nodes = [node for node in nodes if node != one["node"]]
                if page["next"] is None or count >= MOST_EXPORTED:
                    break
                page = await self._happened.page(question, nodes, Place.parse(page["next"]))
        finally:
            writer.stop()

    # --- what happens

    async def _stream(self, request: Any, question: Question, nodes: Sequence[str]) -> None:
        if self._happened.streams >= MOST_STREAMS:
            raise HTTPProblem(503, f"{MOST_STREAMS} streams of events are open already", headers={"Retry-After": "10"})
        given = request.getHeader("Last-Event-ID")
        places: dict[str, int] = {}
        if given:
            resumed = parsePlaces(given)
            if resumed is None:
                raise HTTPProblem(400, "Last-Event-ID: expected an id of this stream")
            places = {node: number for node, number in resumed.items() if node in nodes}
        elif question.since is not None:
            places = {node: max(0, question.since - 1) for node in nodes}
        request.setHeader(b"Content-Type", b"text/event-stream; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"X-Accel-Buffering", b"no")
        writer = PacedWriter(request)
        writer.start()
        self._happened.streams += 1
        readers: list[Deferred[None]] = []
        try:
            await writer.write(b"retry: 3000\n\n")
            readers = [Deferred.fromCoroutine(self._copy(name, question, places, writer)) for name in nodes]
            await DeferredList(readers, fireOnOneErrback=True, consumeErrors=True)
        except FirstError as error:
            # A client that leaves cancels all of it.
            if not request.disconnected:
                error.subFailure.raiseException()
        finally:
            self._happened.streams -= 1
            for each in readers:
                each.cancel()
            writer.stop()

    async def _copy(self, name: str, question: Question, places: dict[str, int], writer: PacedWriter) -> None:
        async for batch in self._happened.follow(name, question, places, lambda: writer.isOver):
            pieces = [b"event: happened\ndata: " + _json(one) + b"\n\n" for one in batch.records]
            if batch.unanswered is not None:
                said = {"node": name, "answers": not batch.unanswered, "why": batch.unanswered}
                pieces.append(b"event: nodes\ndata: " + _json(said) + b"\n\n")
            if batch.records:
                told = ",".join(f"{node}={number}" for node, number in sorted(places.items()))
                last = pieces.pop() if batch.unanswered is None else b"event: place\ndata: {}\n\n"
                pieces.append(b"id: " + told.encode("ascii") + b"\n" + last)
            await writer.write(b"".join(pieces) or b": \n\n")


TEXTS = ("user", "address", "protocol", "session", "path", "text")


def _time(request: Any, name: str) -> int | None:
    """A time of the query as the ids of records count it."""
    text = queryText(request, name)
    if not text:
        return None
    if _NUMBER.fullmatch(text):
        return int(float(text) * 1_000_000)
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        return max(0, int(moment.astimezone().timestamp() * 1_000_000))
    except (ValueError, OverflowError):
        raise HTTPProblem(400, f"{name}: expected seconds since the epoch, or a time as 2027-01-31T12:00:00Z") from None


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _jsonLine(record: Mapping[str, Any]) -> bytes:
    return _json(record) + b"\n"


def _csvLine(record: Mapping[str, Any]) -> bytes:
    details = {key: value for key, value in record.items() if key not in COLUMNS and key != "id"}
    cells = [record.get(key, "") for key in COLUMNS[:-1]] + [json.dumps(details)]
    line = io.StringIO()
    csv.writer(line).writerow([_inert(each) for each in cells])
    return line.getvalue().encode("utf-8", "backslashreplace")


def _inert(cell: Any) -> Any:
    """A name of a file is no formula, whatever a spreadsheet thinks."""
    return "'" + cell if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


LINES = {"jsonl": _jsonLine, "csv": _csvLine}


@implementer(IPushProducer)
@define(eq=False)
class PacedWriter:
    """Writes pieces of an answer as fast as the client reads them."""

    _request: Any
    isOver: bool = field(default=False, init=False)
    _paused: Deferred[None] | None = field(default=None, init=False)
    _turn: DeferredLock = field(factory=DeferredLock, init=False)

    def start(self) -> None:
        self._request.registerProducer(self, True)

    def stop(self) -> None:
        if not self.isOver:
            self.isOver = True
            self._request.unregisterProducer()
        self._wake()

    async def write(self, data: bytes) -> None:
        """Return when there is room for more."""
        await self._turn.acquire()
        try:
            if self._paused is not None:
                await self._paused
            if not self.isOver and data:
                self._request.write(data)
        finally:
            self._turn.release()

    def pauseProducing(self) -> None:
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        self._wake()

    def stopProducing(self) -> None:
        self.isOver = True
        self._wake()

    def _wake(self) -> None:
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.callback(None)
