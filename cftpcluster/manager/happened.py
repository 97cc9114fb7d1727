"""What happened in the cluster: each node keeps its own, and whichever is asked asks all of them.

A page merges what the nodes found, the newest first; its place is an id and a node, since ids are times. A stream has a
place for each node, and goes on after it: what a reader is too slow for waits on the nodes' disks, not in memory. Who
did not answer is said.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from attrs import asdict, define, evolve, frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from ..config.codec import structure
from ..errors import ClusterError, Invalid
from ..interfaces import IAdministration
from ..journal.audit import AuditLog
from ..journal.auditfile import NEWEST, Found, Question
from ..vocabulary import Author

ACTION = "events"

ANSWER_SECONDS = 6.0
"""How long a node may take."""

HOLD_SECONDS = 5.0
"""How long a node holds a question back that nothing is the answer of yet."""

RETRY_SECONDS = 3.0
MOST_LIMIT = 1000
SYSTEM = Author("system", "full", "local")

_PLACE = re.compile(r"([0-9]{1,16})-([A-Za-z0-9][A-Za-z0-9._@-]{0,63})")
_PLACES = re.compile(r"(?:[^=,]+=[0-9]{1,16})(?:,[^=,]+=[0-9]{1,16}){0,99}")


@frozen
class Place:
    """Between two records of the cluster."""

    id: int
    node: str

    def __str__(self) -> str:
        return f"{self.id}-{self.node}"

    @classmethod
    def parse(cls, text: str) -> Place | None:
        match = _PLACE.fullmatch(text)
        return cls(int(match[1]), match[2]) if match else None

    def before(self, node: str) -> int:
        """What ids of a node come after this place, the newest being first: all that are smaller."""
        return self.id + 1 if node < self.node else self.id


def parsePlaces(text: str) -> dict[str, int] | None:
    """The places of a stream, as it told them; ``None`` where these are none."""
    if not _PLACES.fullmatch(text):
        return None
    pairs = (one.rpartition("=") for one in text.split(","))
    return {node: int(number) for node, _, number in pairs}


@frozen
class Batch:
    """Some of a stream: what happened on one node, the oldest first.

    :ivar hasGap: whether some of what happened before these is not kept any more.
    :ivar unanswered: why the node does not answer, "" where it does again; ``None`` where nothing changed about that.
    """

    node: str
    records: Sequence[Mapping[str, Any]] = ()
    unanswered: str | None = None
    hasGap: bool = False


@define(eq=False, kw_only=True)
class Happened:
    """
    :ivar audit: this node's own.
    """

    node: IAdministration
    audit: AuditLog
    clock: IReactorTime

    # --- for other nodes

    def action(self, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        """What another node asks of this one."""
        return Deferred.fromCoroutine(self._answer(arguments.get("question"), arguments.get("hold")))

    async def _answer(self, plain: Any, hold: Any) -> Mapping[str, Any]:
        try:
            question = structure(Question, plain)
        except Invalid:
            raise ClusterError("a question about events that this version does not know") from None
        if not 1 <= question.limit <= MOST_LIMIT:
            raise ClusterError("a question about too many events at once")
        return await self._here(question, hold is True)

    async def _here(self, question: Question, hold: bool) -> Mapping[str, Any]:
        if not hold:
            return _plain(await self.audit.ask(question))
        # Asked for before it is looked: what is written meanwhile is not missed.
        written = self.audit.committed(HOLD_SECONDS)
        try:
            found = await self.audit.ask(question)
            if not found.records:
                await written
                found = await self.audit.ask(evolve(question, beyond=found.upTo))
        finally:
            _ = written.addErrback(lambda failure: failure.trap(CancelledError))
            written.cancel()
        return _plain(found)

    # --- for administrators

    @property
    def nodes(self) -> list[str]:
        """Every node."""
        here = str(self.node.status()["node"])
        return sorted({here, *self.node.document().nodes})

    async def page(self, question: Question, nodes: Sequence[str], after: Place | None) -> dict[str, Any]:
        """What fits a question on these nodes, the newest first."""

        def ofNode(name: str) -> Question:
            if after is None:
                return question
            until = after.before(name)
            return evolve(question, until=until if question.until is None else min(until, question.until))

        answers = await DeferredList([self._askNode(name, ofNode(name), False) for name in nodes], consumeErrors=True)
        unanswered, lists, open_ = [], [], False
        floor = Place(0, "")
        for name, (isFine, answer) in zip(nodes, answers, strict=True):
            if not isFine:
                unanswered.append({"node": name, "why": whyNot(answer)})
                continue
            items = answer["items"]
            lists.append(items)
            if not answer["isWhole"]:
                open_ = True
                if items:
                    # Of this node nothing is known beyond here; older records of others would come out of their order.
                    floor = max(floor, Place(items[-1]["id"], name), key=lambda one: (one.id, one.node))
        merged = heapq.merge(*lists, key=lambda one: (one["id"], one["node"]), reverse=True)
        known = [one for one in merged if (one["id"], one["node"]) >= (floor.id, floor.node)]
        items = known[: question.limit]
        more = open_ or len(known) > len(items) or sum(map(len, lists)) > len(items)
        following = str(Place(items[-1]["id"], items[-1]["node"])) if more and items else None
        return {"items": items, "next": following, "unanswered": unanswered}

    def _askNode(self, name: str, question: Question, hold: bool) -> Deferred[Mapping[str, Any]]:
        seconds = ANSWER_SECONDS + (HOLD_SECONDS if hold else 0)
        return Deferred.fromCoroutine(self._asked(name, question, hold)).addTimeout(seconds, self.clock)

    async def _asked(self, name: str, question: Question, hold: bool) -> Mapping[str, Any]:
        if name == self.audit.node:
            return await self._here(question, hold)
        answer = await self.node.perform(name, ACTION, {"question": asdict(question), "hold": hold}, SYSTEM)
        items, upTo = answer.get("items"), answer.get("upTo")
        if not isinstance(items, list) or type(upTo) is not int or not all(_isRecord(one, name) for one in items):
            raise ClusterError(f"{name} answered with something that is no list of events")
        oldest = answer.get("oldest", 0)
        if type(oldest) is not int:
            raise ClusterError(f"{name} answered with something that is no time of an event")
        return {"items": items, "isWhole": answer.get("isWhole") is True, "upTo": upTo, "oldest": oldest}

    async def follow(
        self, name: str, question: Question, places: dict[str, int], told: int, isOver: Callable[[], bool]
    ) -> AsyncIterator[Batch]:
        """What happens on a node after its place, which is moved on; and nothing, once in a while.

        :param told: the last id that the reader was told of; 0 where there is none.
        """
        answered = True
        while not isOver():
            asked = evolve(question, beyond=places.get(name, NEWEST), limit=min(question.limit, 200))
            try:
                # Where to begin is told at once, so that a reader who breaks off soon knows where to go on.
                answer = await self._askNode(name, asked, name in places)
            except (ClusterError, DeferredTimeout) as error:
                yield Batch(name, (), whyNot(error) if answered else None)
                answered = False
                await _later(self.clock, RETRY_SECONDS)
                continue
            back, answered = not answered, True
            # Who stands at a record that is not there any more may have missed some of those that came after it.
            hasGap = 0 < told < answer["oldest"]
            places[name] = told = answer["upTo"]
            yield Batch(name, answer["items"], "" if back else None, hasGap)


def _plain(found: Found) -> Mapping[str, Any]:
    return {"items": list(found.records), "isWhole": found.isWhole, "upTo": found.upTo, "oldest": found.oldest}


def _later(clock: IReactorTime, seconds: float) -> Deferred[None]:
    waited: Deferred[None] = Deferred(lambda _: call.cancel())
    call = clock.callLater(seconds, waited.callback, None)
    return waited


def whyNot(error: Any) -> str:
    value = getattr(error, "value", error)
    return str(value) if isinstance(value, ClusterError) else "it did not answer in time"


def _isRecord(one: Any, node: str) -> bool:
    return isinstance(one, dict) and type(one.get("id")) is int and one.get("node") == node and "kind" in one
