"""Routes of how the cluster is: its status, once or as a stream of what becomes of it (see :mod:`._streams`), and what
nodes did of late.

Of the stream's events each ``event: status`` carries all of the status. What it is made of is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ..config.document import Role
from ..errors import ClusterError
from ..interfaces import IAdministration
from ..servers.http import HTTPProblem, jsonAnswer
from ..vocabulary import Author
from ._bodies import queryWhole
from ._routes import STREAM, Body, Parameter, Route, Routes
from ._streams import ALIVE, PacedWriter, Streams, told, wantsStream
from .happened import ANSWER_SECONDS, SYSTEM

log = Logger()

MOST_STREAMS = 50
TICK_SECONDS = 0.5
ALIVE_SECONDS = 15.0

STATUS = Route(
    method="GET",
    path="/status",
    text="Tell how the cluster is, as the node that is asked sees it. With `Accept: text/event-stream`, now and after "
    "each change, at most twice a second: events `status`, each with all of it.",
    role=Role.auditor,
    tag="cluster",
    answer=Body("Status"),
    otherwise=(Body({"type": "string"}, contentType=STREAM),),
)

SERIES = "series"
"""What a node is asked by."""

HOURS = (1, 24)
HOURS_FORM = {"type": "integer", "enum": list(HOURS)}

NODE_SERIES = Route(
    method="GET",
    path="/nodes/<name>/series",
    text="Tell what a node did in its last hour, by 10 seconds, or its last day, by 2 minutes: numbers as lists, "
    "beside the list of their times. 503 says that the node does not answer.",
    role=Role.auditor,
    tag="nodes",
    query=(Parameter("hours", "The last hour or the last day; the hour unless said.", HOURS_FORM),),
    answer=Body("Series"),
)


@define(eq=False)
class StatusRoutes:
    """:ivar _streams: of the status."""

    _administration: IAdministration
    _streams: Streams
    _clock: IReactorTime
    _watch: StatusWatch = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._watch = StatusWatch(self._administration, self._clock)

    def add(self, routes: Routes) -> None:
        routes.add(STATUS, self._status)
        routes.add(NODE_SERIES, self._series)

    async def _status(self, request: Any, author: Author) -> bytes | None:
        if wantsStream(request):
            await self._streams.send(request, author, self._watch.copy)
            return None
        return jsonAnswer(request, self._administration.status())

    async def _series(self, request: Any, author: Author, name: str) -> bytes:
        hours = queryWhole(request, "hours") or HOURS[0]
        if hours not in HOURS:
            raise HTTPProblem(400, f"hours: expected {HOURS[0]} or {HOURS[1]}")
        if name not in self._administration.document().nodes:
            raise HTTPProblem(404, f"there is no {name!r} among the nodes")
        asked = self._administration.perform(name, SERIES, {"hours": hours}, SYSTEM)
        try:
            series = await asked.addTimeout(ANSWER_SECONDS, self._clock)
        except (ClusterError, DeferredTimeout) as error:
            why = str(error) if isinstance(error, ClusterError) else "nothing came in time"
            raise HTTPProblem(503, f"{name} does not answer: {why}", headers={"Retry-After": "10"}) from None
        if not _isSeries(series):
            raise HTTPProblem(503, f"{name} answered with something that is no series")
        return jsonAnswer(request, {"node": name, "hours": hours, **{key: series[key] for key in (*SAID, *NUMBERS)}})


SAID = ("stepSeconds", "times", "sessions")
NUMBERS = ("lagSeconds", "bytesInPerSecond", "bytesOutPerSecond", "loginsAccepted", "loginsFailed")


def _isSeries(answer: Mapping[str, Any]) -> bool:
    """Whether another node's answer is what it should be."""
    times, sessions = answer.get("times"), answer.get("sessions")
    if not isinstance(times, list) or not isinstance(sessions, dict) or not _isNumber(answer.get("stepSeconds")):
        return False
    lists = [times, *sessions.values(), *(answer.get(name) for name in NUMBERS)]
    return all(isinstance(one, list) and len(one) == len(times) and all(map(_isNumber, one)) for one in lists)


def _isNumber(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@define(eq=False)
class StatusWatch:
    """Looks at the status, once for all who read, as long as there are any.

    Part of it changes by itself, such as how long a node has lagged; so it is looked at, and nobody has to tell.

    :ivar _newest: the status as it was last.
    """

    _administration: IAdministration
    _clock: IReactorTime
    _newest: Mapping[str, Any] = field(factory=dict, init=False)
    _readers: int = field(default=0, init=False)
    _waiting: list[Deferred[None]] = field(factory=list, init=False)
    _looking: LoopingCall = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._looking = LoopingCall(self._look)
        self._looking.clock = self._clock

    async def copy(self, writer: PacedWriter) -> None:
        """Tell a reader the status now, and after each change. Who reads slowly gets the newest, not all of them."""
        self._begin()
        last: Mapping[str, Any] | None = None

        def newest() -> bytes:
            nonlocal last
            last = self._newest
            return told(b"status", last)

        try:
            while not writer.isStopped:
                if last is not self._newest:
                    await writer.write(newest)
                else:
                    try:
                        await self._changed().addTimeout(ALIVE_SECONDS, self._clock)
                    except DeferredTimeout:
                        await writer.write(ALIVE)
        finally:
            self._readers -= 1
            if not self._readers and self._looking.running:
                self._looking.stop()

    def _begin(self) -> None:
        self._readers += 1
        if self._readers == 1:
            looked = self._looking.start(TICK_SECONDS)
            _ = looked.addErrback(lambda failure: log.failure("the status is not looked at any more", failure))

    def _look(self) -> None:
        status = self._administration.status()
        if status != self._newest:
            self._newest = status
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

    def _changed(self) -> Deferred[None]:
        changed: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(changed)
        return changed
