"""The transfers under way in the cluster: each node knows its own, and whichever is asked asks all of them.

Who did not answer is said. What a transfer is, is not known here.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from attrs import define
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime

from ..config.codec import structure
from ..errors import ClusterError, Invalid
from ..files.transfers import Found, Transfer, Wanted
from ..interfaces import IAdministration
from .happened import ANSWER_SECONDS, MOST_LIMIT, SYSTEM, whyNot

ACTION = "transfers"
"""What a node is asked by."""


@define(eq=False, kw_only=True)
class UnderWay:
    """
    :ivar find: this node's own.
    """

    node: IAdministration
    find: Callable[[Wanted], Deferred[Found]]
    clock: IReactorTime

    def action(self, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        """What another node asks of this one."""
        return Deferred.fromCoroutine(self._answer(arguments.get("wanted")))

    async def _answer(self, plain: Any) -> Mapping[str, Any]:
        try:
            wanted = structure(Wanted, plain)
        except Invalid:
            raise ClusterError("a question about transfers that this version does not know") from None
        if not 1 <= wanted.limit <= MOST_LIMIT:
            raise ClusterError("a question about too many transfers at once")
        found = await self.find(wanted)
        return {"items": [attrs.asdict(one) for one in found.items], "total": found.total}

    @property
    def nodes(self) -> list[str]:
        """Every node."""
        return sorted({self._here, *self.node.document().nodes})

    @property
    def _here(self) -> str:
        return str(self.node.status()["node"])

    async def page(self, wanted: Wanted, nodes: Sequence[str]) -> dict[str, Any]:
        """The transfers on these nodes, the oldest first."""
        asked = [
            Deferred.fromCoroutine(self._ask(name, wanted)).addTimeout(ANSWER_SECONDS, self.clock) for name in nodes
        ]
        answers = list(zip(nodes, await DeferredList(asked, consumeErrors=True), strict=True))
        found: list[Found] = [answer for _, (isFine, answer) in answers if isFine]
        merged = list(heapq.merge(*(one.items for one in found), key=lambda one: one.place))
        items = merged[: wanted.limit]
        # A node that has more than it told has them after all that it told.
        more = len(merged) > len(items) or any(len(one.items) == wanted.limit < one.total for one in found)
        return {
            "items": [attrs.asdict(one) for one in items],
            "next": items[-1].place if more and items else None,
            "total": sum(one.total for one in found),
            "unanswered": [{"node": name, "why": whyNot(why)} for name, (isFine, why) in answers if not isFine],
        }

    async def _ask(self, name: str, wanted: Wanted) -> Found:
        if name == self._here:
            return await self.find(wanted)
        answer = await self.node.perform(name, ACTION, {"wanted": attrs.asdict(wanted)}, SYSTEM)
        known = attrs.fields_dict(Transfer)
        try:
            # What a later version tells beside it is not for this one.
            plain = [{key: one[key] for key in known if key in one} for one in answer["items"]]
            found = structure(Found, {"items": plain, "total": answer["total"]})
        except (Invalid, KeyError, TypeError):
            raise ClusterError(f"{name} answered with something that is no list of transfers") from None
        if any(one.node != name for one in found.items):
            raise ClusterError(f"{name} answered for other nodes")
        return found
