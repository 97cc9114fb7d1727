"""Makes a node primary because an operator wants it: by agreement with the old primary, or by force without it.

By agreement nothing is lost and nobody notices: the old primary holds changes up, waits until the next one has
everything, and hands over by appending the record itself. By force a node takes what the others have that it can
reach, begins a new epoch, and says what may be missing. What follows from a new epoch is the matter of
:mod:`.primacy`; how operators ask is not known here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeAlias

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from .cluster.claims import Standing, standingOf
from .cluster.faults import LinkLost
from .cluster.follower import Follower
from .cluster.messages import Hello
from .cluster.publisher import Publisher
from .config.changes import Promote
from .errors import ClusterError, PrimaryUnreachable
from .interfaces import IJournal
from .journal.entry import Head, Proposal
from .primacy import CHECK_SECONDS, REACH_SECONDS, Primacy, foremost
from .vocabulary import Author

log = Logger()

STILL_SECONDS = 2.0
"""How long a node that answered may take to stop taking changes from the old primary."""

NAMED_SECONDS = 10.0
"""How long a node that had another one promoted waits to know of it itself."""

Perform: TypeAlias = Callable[[str, str, Mapping[str, Any], Author], Awaitable[Mapping[str, Any]]]
"""Has a node do something: its name, the action, arguments, and who asks."""

UNFIT = frozenset({"disconnected", "paused", "refused", "draining"})
"""States of a node that cannot become primary by agreement."""


@define(eq=False, kw_only=True)
class Promotion:
    """
    :ivar _committed: told of a head that is durable here.
    :ivar _contactSeconds: how long ago this node was last following; ``None`` where it never was.
    :ivar _stopFollowing: ends the link to the primary.
    :ivar _wallTime: seconds since the epoch.
    """

    _primacy: Primacy
    _journal: IJournal
    _publisher: Publisher
    _follower: Follower
    _clock: IReactorTime
    _committed: Callable[[Head], None]
    _contactSeconds: Callable[[], float | None]
    _stopFollowing: Callable[[], Awaitable[None]]
    _newId: Callable[[], str]
    _wallTime: Callable[[], float]

    @property
    def _node(self) -> str:
        return self._primacy.node

    async def promote(self, to: str, force: Any, author: Author, perform: Perform) -> Mapping[str, Any]:
        """Make a node primary, whichever node this is: by agreement, or by force this very node.

        :param perform: has another node do something.
        """
        publisher = self._publisher
        if not isinstance(force, bool):
            raise ClusterError("force: expected true or false")
        if force and to != self._node:
            raise ClusterError(f"by force a node is promoted on itself: ask {to}; nothing was changed")
        if force:
            return await self.force(author)
        if publisher.isPrimary:
            return await self.handOver(to, author)
        if publisher.primary == to:
            return self.already()
        try:
            outcome = await perform(publisher.primary, "handOver", {"to": to}, author)
        except PrimaryUnreachable as error:
            raise PrimaryUnreachable(
                f"{error}; without the primary {to} is promoted on itself: cftpctl node promote {to} --force"
            ) from None
        except LinkLost:
            return await self._named(to)
        await self._named(to)
        return outcome

    async def _named(self, name: str) -> Mapping[str, Any]:
        """Wait until this node knows of the promotion, so that it knows whom to ask next."""
        until = self._clock.seconds() + NAMED_SECONDS
        while self._publisher.head.document.promoted.name != name:
            if self._clock.seconds() > until:
                raise ClusterError(f"it is not known yet whether {name} has become primary; see cftpctl status")
            await deferLater(self._clock, 0.05)
        return _outcome(self._publisher.head)

    # --- promoting by agreement

    async def handOver(self, to: str, author: Author) -> Mapping[str, Any]:
        """Make another node primary, which first has everything that was acknowledged here; or change nothing and fail
        with the reason."""
        publisher = self._publisher
        publisher.requireAppending()
        if to == self._node:
            return self.already()
        self._requireCandidate(to)
        if publisher.turns.isHeld:
            raise ClusterError("a promotion is under way already; nothing was changed")
        began = self._clock.seconds()
        publisher.turns.hold(f"{self._node} is handing over to {to}")
        try:
            await self._requireEquality(to)
            head = await self._append(publisher.epoch + 1, to, author)
        finally:
            publisher.turns.release()
        acknowledged = await publisher.reached(to, head.revision, REACH_SECONDS)
        return {
            **_outcome(head),
            "previous": self._node,
            "acknowledged": acknowledged,
            "seconds": round(self._clock.seconds() - began, 3),
        }

    def _requireCandidate(self, to: str) -> None:
        publisher = self._publisher
        if to not in publisher.head.document.nodes:
            raise ClusterError(f"there is no node named {to!r}")
        state = next(row["state"] for row in publisher.rows() if row["name"] == to)
        if state in UNFIT:
            raise ClusterError(f"{to} is {state} and cannot become primary; nothing was changed")

    async def _requireEquality(self, to: str) -> None:
        publisher = self._publisher
        if not await publisher.turns.quiet(REACH_SECONDS):
            raise ClusterError("changes are still waiting for their followers; nothing was changed")
        revision = publisher.head.revision
        if not await publisher.reached(to, revision, REACH_SECONDS):
            has = next((row["revision"] for row in publisher.rows() if row["name"] == to), 0)
            raise ClusterError(
                f"{to} has not caught up in {REACH_SECONDS:g} s: it has revision {has} of {revision}; nothing "
                "was changed"
            )
        publisher.requireAppending()

    async def _append(self, epoch: int, name: str, author: Author) -> Head:
        change = Promote(epoch, name, str(author))
        head: Head = await self._journal.append(
            Proposal(change, {}, author, self._node, self._newId(), self._wallTime())
        )
        self._committed(head)
        return head

    def already(self) -> Mapping[str, Any]:
        """What is said where this node is primary anyway."""
        return {**_outcome(self._publisher.head), "already": True}

    # --- promoting by force

    async def force(self, author: Author) -> Mapping[str, Any]:
        """Make this node primary without the old one; or change nothing and fail with the reason. Says what may be
        missing."""
        publisher, primacy = self._publisher, self._primacy
        if self._node not in publisher.head.document.nodes:
            raise ClusterError(f"{self._node} is no member of the cluster that it knows; nothing was changed")
        if publisher.isPrimary and primacy.standing == "confirmed":
            return self.already()
        if primacy.oneByOne.locked:
            raise ClusterError("something is under way with other nodes; try again in a moment; nothing was changed")
        return await primacy.oneByOne.run(lambda: Deferred.fromCoroutine(self._force(author)))

    async def _force(self, author: Author) -> Mapping[str, Any]:
        publisher, primacy = self._publisher, self._primacy
        began, before, isDone = self._clock.seconds(), publisher.head, False
        last = _Last(before.document.promoted.name, self._contactSeconds(), max(self._follower.told, before.revision))
        primacy.suspend()
        try:
            answers = await primacy.survey(primacy.others(), CHECK_SECONDS)
            self._requireNoPrimary(answers)
            await self._stopFollowing()
            epoch = 1 + max([publisher.epoch, *(hello.epoch for hello in answers.values())])
            answers = await self._stilled(answers, epoch)
            self._requireNoPrimary(answers)
            sources = await self._gather(answers)
            head = await self._append(epoch, self._node, author)
            isDone = True
        finally:
            primacy.settle(isDone)
        return {
            **_outcome(head),
            "seconds": round(self._clock.seconds() - began, 3),
            "caughtUpFrom": sources,
            "notReached": sorted(set(primacy.others()) - set(answers)),
            "previous": {
                "name": last.name,
                "lastContactSeconds": last.contactSeconds if last.name != self._node else None,
                "revision": last.revision,
            },
            "mayBeMissing": list(self._missing(answers, before, last)),
        }

    async def _stilled(self, answers: Mapping[str, Hello], epoch: int) -> Mapping[str, Hello]:
        """Those who answered, and take nothing any more from the old primary, which may still reach them; what they
        have by now."""
        stilled: dict[str, Hello] = {}

        async def still(name: str) -> None:
            asking = Deferred.fromCoroutine(self._primacy.standStill(name, epoch))
            try:
                stilled[name] = await asking.addTimeout(STILL_SECONDS, self._clock)
            except (ClusterError, DeferredTimeout) as error:
                log.warn("{node} does not answer any more: {why!r}", node=name, why=str(error))

        for asked in [Deferred.fromCoroutine(still(name)) for name in sorted(answers)]:
            await asked
        return stilled

    def _requireNoPrimary(self, answers: Mapping[str, Hello]) -> None:
        """:raises ClusterError: where there is a primary, which can hand over."""
        head = self._publisher.head
        for hello in foremost(answers.values()):
            isPrimary = hello.primary == hello.node and hello.epoch >= head.epoch
            if isPrimary and standingOf(hello, head, self._node) is not Standing.rival:
                raise ClusterError(
                    f"{hello.node} is primary of epoch {hello.epoch} and answers, with revision {hello.revision} (this "
                    f"node has {head.revision}): leave out --force, or stop that node first; nothing was changed"
                )

    async def _gather(self, answers: Mapping[str, Hello]) -> list[Mapping[str, Any]]:
        """Take what other nodes have and this one lacks, the most advanced first."""
        sources: list[Mapping[str, Any]] = []
        for hello in foremost(answers.values()):
            before = self._publisher.head.revision
            standing = standingOf(hello, self._publisher.head, self._node)
            if standing in {Standing.ahead, Standing.naming, Standing.superseding}:
                await self._gatherFrom(hello, standing)
            after = self._publisher.head.revision
            if after > before:
                sources.append({"name": hello.node, "from": before + 1, "to": after})
        return sources

    async def _gatherFrom(self, hello: Hello, standing: Standing) -> None:
        try:
            isDone, why = await self._primacy.fetchFrom(hello.node), "its history is another one"
        except ClusterError as error:
            isDone, why = False, str(error)
        if not isDone and not (standing is Standing.ahead and self._primacy.standing == "disputed"):
            head = self._publisher.head
            raise ClusterError(
                f"{hello.node} has revision {hello.revision} of epoch {hello.epoch}, this node revision "
                f"{head.revision} of epoch {head.epoch}, and what is missing could not be taken from it ({why}): "
                f"promote {hello.node}, on itself; nothing was changed"
            )

    def _missing(self, answers: Mapping[str, Hello], before: Head, last: _Last) -> Iterator[str]:
        """What may be lost, or is kept elsewhere, in sentences."""
        revision = self._publisher.head.revision - 1
        if last.name not in {"", self._node, *answers}:
            heard = "not heard of since this node started"
            if last.contactSeconds is not None:
                heard = f"last heard of {last.contactSeconds:.0f} s ago, then at revision {last.revision}"
            yield (
                f"{last.name}, the primary until now, does not answer ({heard}): what it has after revision {revision} "
                "is not in effect; it keeps that as a branch when it comes back"
            )
        for name in sorted(set(self._primacy.others()) - set(answers) - {last.name}):
            yield f"{name} does not answer: it may have more than revision {revision} of the old epoch"
        for hello in foremost(answers.values()):
            if standingOf(hello, before, self._node) is Standing.rival:
                yield (
                    f"{hello.node} is at revision {hello.revision} of another history of epoch {hello.epoch}: what "
                    "only that one has is kept there as a branch"
                )


@frozen
class _Last:
    """What was known of the primary until now."""

    name: str
    contactSeconds: float | None
    revision: int


def _outcome(head: Head) -> dict[str, Any]:
    promoted = head.document.promoted
    return {"promoted": promoted.name, "epoch": promoted.epoch, "revision": head.revision}
