"""Routes of what happened in the cluster: pages, an export, and a stream of what happens (see :mod:`._streams`).

Of the stream's events ``id`` is where a reader goes on with ``Last-Event-ID``, ``event: happened`` carries one record,
``event: nodes`` says which node does not answer, or does again, ``event: lost`` that some of what happened on a node
cannot be told any more, and how much of it where that is known.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import define, evolve
from twisted.internet.defer import Deferred, DeferredList, FirstError

from .. import events
from ..config.document import Role
from ..journal.auditfile import LOST, Question
from ..servers.http import HTTPProblem, jsonAnswer
from ..vocabulary import Author
from ._bodies import queryNumber, queryText
from ._routes import STREAM, Body, Parameter, Route, Routes, after, limit
from ._streams import ALIVE, PacedWriter, Streams, compact, told, wantsStream
from .happened import MOST_LIMIT, Batch, Happened, Place, parsePlaces

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
    """:ivar _streams: of what happens."""

    _happened: Happened
    _streams: Streams

    def add(self, routes: Routes) -> None:
        routes.add(EVENTS, self._events)
        routes.add(EXPORT, self._export)

    async def _events(self, request: Any, author: Author) -> bytes | None:
        question, nodes = self._question(request)
        if wantsStream(request):
            await self._stream(request, author, question, nodes)
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
            while not writer.isStopped:
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

    async def _stream(self, request: Any, author: Author, question: Question, nodes: Sequence[str]) -> None:
        given = request.getHeader("Last-Event-ID")
        places: dict[str, int] = {}
        if given:
            resumed = parsePlaces(given)
            if resumed is None:
                raise HTTPProblem(400, "Last-Event-ID: expected an id of this stream")
            places = {node: number for node, number in resumed.items() if node in nodes}
        known = dict(places)
        if not given and question.since is not None:
            places = {node: max(0, question.since - 1) for node in nodes}

        async def tell(writer: PacedWriter) -> None:
            readers = [
                Deferred.fromCoroutine(self._copy(name, question, places, known.get(name, 0), writer)) for name in nodes
            ]
            try:
                await DeferredList(readers, fireOnOneErrback=True, consumeErrors=True)
            except FirstError as error:
                error.subFailure.raiseException()
            finally:
                for each in readers:
                    each.cancel()

        await self._streams.send(request, author, tell)

    async def _copy(
        self, name: str, question: Question, places: dict[str, int], last: int, writer: PacedWriter
    ) -> None:
        hasPlace = False
        async for batch in self._happened.follow(name, question, places, last, lambda: writer.isStopped):
            pieces = [told(b"lost", {"node": name, "count": None, "before": _firstTime(batch)})] if batch.hasGap else []
            for one in batch.records:
                if one["kind"] == LOST:
                    lost = {"node": name, "count": one.get("count"), "before": one.get("time")}
                    pieces.append(told(b"lost", lost))
                else:
                    pieces.append(told(b"happened", one))
            if batch.unanswered is not None:
                pieces.append(told(b"nodes", {"node": name, "answers": not batch.unanswered, "why": batch.unanswered}))
            # With the first answer of each node, too: what happens while the reader is away is then asked for.
            if batch.records or (name in places and not hasPlace):
                hasPlace = True
                place = ",".join(f"{node}={number}" for node, number in sorted(places.items()))
                pieces.append(b"id: " + place.encode("ascii") + b"\n" + told(b"place", {}))
            await writer.write(b"".join(pieces) or ALIVE)


def _firstTime(batch: Batch) -> float | None:
    return batch.records[0].get("time") if batch.records else None


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


def _jsonLine(record: Mapping[str, Any]) -> bytes:
    return compact(record) + b"\n"


def _csvLine(record: Mapping[str, Any]) -> bytes:
    details = {key: value for key, value in record.items() if key not in COLUMNS and key != "id"}
    cells = [record.get(key, "") for key in COLUMNS[:-1]] + [json.dumps(details)]
    line = io.StringIO()
    csv.writer(line).writerow([_inert(each) for each in cells])
    return line.getvalue().encode("utf-8", "backslashreplace")


def _inert(cell: Any) -> Any:
    """A name of a file is no formula, whatever a spreadsheet thinks."""
    return "'" + cell if isinstance(cell, str) and cell.startswith(_FORMULAS) else cell


# Wide forms of these are formulas to some.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
LINES = {"jsonl": _jsonLine, "csv": _csvLine}
