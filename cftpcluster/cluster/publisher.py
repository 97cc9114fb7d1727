"""Who follows, what they have, and what to send next: the primary's side of replication.

A follower's cursor is registered as soon as it asks to follow, and everything it is sent is read from the journal after
that cursor, so that no change falls between a pull and the subscription. Nothing is queued in memory: one batch is in
flight for each follower, the rest is read later. How nodes are linked, and how changes are made live, is not known
here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..errors import ClusterError, NotAppending, NotDurableEnough, NotPrimary, Refused
from ..interfaces import IFollower, IJournal
from ..journal.entry import Head, Proposal
from ..vocabulary import Author
from .announcer import Announcer
from .avatar import PublisherAvatar
from .cursor import Cursor
from .history import OwnHistory
from .members import Commits, Member, Waiters
from .messages import FollowAnswer, Hello, tidyReport, tooOld
from .offers import SnapshotOffers
from .turns import Turns

log = Logger()

NOWHERE = b"\xff" * 32
"""A chain hash that no node has: not even one without any entry is there."""

TELL_LEAST_SECONDS = 1.0
TELL_MOST_SECONDS = 5.0


@define(eq=False, kw_only=True)
class Publisher:
    """Publishes the journal of this node to the others while this node is primary; else it says who is.

    :ivar node: this node's name.
    :ivar head: the newest committed head; told by :meth:`published`.
    :ivar isChecking: whether this node is finding out whether it is still primary: nobody follows it before.
    :ivar refusal: why nothing is appended although this node is primary; "" where it is.
    :ivar turns: what everyone goes through who appends.
    :ivar history: this node's journal, for others to read.
    :ivar _propose: appends a proposal that came in on another node, its author's role checked again; fires with its
        revision.
    :ivar _relay: performs an action on a node, for an author whose role is checked again.
    :ivar _renewCertificate: makes a certificate for a node (name, certificate signing request).
    :ivar _status: the cluster as ``cftpctl status`` shows it, for the followers.
    :ivar _beyond: told when a node asked to follow that has more than this one: its name, epoch and revision; see
        :meth:`fence`.
    :ivar _changed: told when something of the nodes' status changed.
    """

    node: str
    head: Head
    _journal: IJournal
    _clock: IReactorTime
    _newId: Callable[[], str]
    _propose: Callable[[Proposal], Deferred[int]]
    _relay: Callable[[str, str, Mapping[str, Any], Author], Deferred[Mapping[str, Any]]]
    _renewCertificate: Callable[[str, bytes], Deferred[bytes]]
    _status: Callable[[], Mapping[str, Any]]
    _beyond: Callable[[str, int, int], None]
    _changed: Callable[[], None]
    isChecking: bool = field(default=False, init=False)
    refusal: str = field(default="", init=False)
    turns: Turns = field(init=False)
    history: OwnHistory = field(init=False)
    _offers: SnapshotOffers = field(init=False)
    _members: dict[str, Member] = field(factory=dict, init=False)
    _commits: Commits = field(init=False)
    _waiters: Waiters = field(init=False)
    _announcer: Announcer = field(init=False)
    _began: float = field(init=False)
    _fencedUntil: int = field(default=0, init=False)
    _fencedFor: str = field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self._offers = SnapshotOffers(self._journal, self._clock, self._newId)
        self.history = OwnHistory(self._journal, self._offers)
        self.turns = Turns(self._clock)
        self._commits = Commits(self._clock)
        self._commits.committed(self.head.revision)
        self._began = self._clock.seconds()
        self._waiters = Waiters(self._clock)
        self._announcer = Announcer(self._clock, self._tell, TELL_LEAST_SECONDS, TELL_MOST_SECONDS)

    # --- from the node

    @property
    def isPrimary(self) -> bool:
        """Whether the journal names this node, and nothing is known that speaks against it."""
        return self.head.document.promoted.name == self.node and not self.isFenced

    @property
    def isFenced(self) -> bool:
        """Whether it is known that another node was promoted, or may have been."""
        return self.head.epoch < self._fencedUntil

    def fence(self, epoch: int, primary: str) -> None:
        """Another node was promoted: this one is not primary before its journal is in ``epoch``. Those who followed it
        find that out by asking again.

        :param primary: its name, "" while it is unknown.
        """
        if epoch < self._fencedUntil or (epoch == self._fencedUntil and not primary):
            return
        self._fencedUntil, self._fencedFor = epoch, primary
        for member in self._members.values():
            self._release(member, epoch, 0, NOWHERE)
        self._statusChanged()

    @property
    def primary(self) -> str:
        """The primary, as far as this node knows; "" where it only knows that it is another than the journal says."""
        return self._fencedFor if self.isFenced else self.head.document.promoted.name

    @property
    def epoch(self) -> int:
        """The highest epoch that this node knows of."""
        return max(self.head.epoch, self._fencedUntil)

    def published(self, head: Head) -> None:
        """A head is committed; called after every commit in their order, also of what came from another primary."""
        for member in self._members.values():
            self._look(member)
        self.head = head
        self._commits.committed(head.revision)
        for member in list(self._members.values()):
            if member.name not in head.document.nodes:
                member.leave()
                del self._members[member.name]
            elif member.cursor is not None:
                # Also after a promotion: its record, and all before it, has to reach those who follow.
                member.cursor.wake()
                if not self.isPrimary and member.cursor.sent >= head.revision:
                    self._release(member, head.epoch, head.revision, head.chainHash)
        self.changed()

    def changed(self) -> None:
        """The cluster's status changed: the followers are told before long."""
        self._announcer.changed()
        self._waiters.look()

    def stop(self) -> None:
        """Let go of everything."""
        self._announcer.stop()
        for member in self._members.values():
            member.leave()
        self._offers.clear()

    def perform(self, node: str, action: str, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        """Do something on another node, which must be linked."""
        member = self._members.get(node)
        if member is None or member.follower is None:
            return fail(ClusterError(f"there is no link to {node}"))
        return member.follower.perform(action, arguments)

    def durable(self, revision: int, followers: int, seconds: float) -> Deferred[Sequence[str]]:
        """Fires with the names of the nodes that have ``revision`` durably, this one first, once ``followers`` others
        do; ``NotDurableEnough`` when the time is up."""

        def having() -> list[str]:
            return [one.name for one in self._members.values() if one.durable >= revision]

        def outcome(enough: bool) -> Sequence[str]:
            durableOn = [self.node, *sorted(having())]
            if not enough:
                raise NotDurableEnough(revision, durableOn)
            return durableOn

        return self._waiters.wait(lambda: len(having()) >= followers, seconds).addCallback(outcome)

    def reached(self, node: str, revision: int, seconds: float) -> Deferred[bool]:
        """Fires with whether that node acknowledged ``revision`` in time."""

        def there() -> bool:
            member = self._members.get(node)
            return member is not None and member.durable >= revision

        return self._waiters.wait(there, seconds)

    def live(self, revision: int, allNodes: bool, seconds: float) -> Deferred[Mapping[str, Sequence[str]]]:
        """Fires when every connected other node (``allNodes``: every other node) has converged on ``revision``, or the
        time is up, with ``{"live": [names], "pending": [names]}``; this node is not among them."""

        def parted() -> dict[str, list[str]]:
            names: dict[str, list[str]] = {"live": [], "pending": []}
            for name in sorted(set(self.head.document.nodes) - {self.node}):
                member = self._members.get(name)
                if (member is not None and member.connected) or allNodes:
                    isLive = member is not None and member.connected and member.live >= revision
                    names["live" if isLive else "pending"].append(name)
            return names

        return self._waiters.wait(lambda: not parted()["pending"], seconds).addCallback(lambda _: parted())

    def rows(self) -> list[dict[str, Any]]:
        """Every other node of the document, as ``cftpctl status`` shows it."""
        return [
            self._row(self._members.get(name) or Member(name), node.address)
            for name, node in sorted(self.head.document.nodes.items())
            if name != self.node
        ]

    def _row(self, member: Member, address: str) -> dict[str, Any]:
        revision, chainHash = member.acknowledged
        return {
            "name": member.name,
            "role": "secondary",
            "state": member.state,
            "revision": revision,
            "chainHash": chainHash.hex(),
            "live": member.live,
            "lagSeconds": round(self._lagSeconds(member), 3),
            "version": str(member.report.get("version", "")),
            "address": address,
            "problems": member.problems,
        }

    def _lagSeconds(self, member: Member) -> float:
        """For how long a node may have missed something: one that follows, since the oldest entry that it lacks."""
        if self._isFollowing(member):
            return self._commits.lagSeconds(member.acknowledged[0], self.head.revision)
        return self._clock.seconds() - (self._began if member.current is None else member.current)

    # --- links

    def attach(self, node: str, follower: IFollower, hello: Hello | None = None) -> PublisherAvatar:
        """A node's link is up: what its certificate gets. An older link of the same node is forgotten.

        :param hello: what it said of itself.
        """
        member = self._members.setdefault(node, Member(node))
        member.unfit = tooOld(hello) if hello is not None else ""
        self._look(member)
        member.leave()
        member.follower, member.refusal, member.report = follower, "", {}
        self._announcer.start()
        self._statusChanged()
        return PublisherAvatar(self, member, follower)

    def _look(self, member: Member) -> None:
        """Note that a node has everything now, if it has."""
        if self._isFollowing(member) and member.acknowledged[0] >= self.head.revision:
            member.current = self._clock.seconds()

    @staticmethod
    def _isFollowing(member: Member) -> bool:
        return member.cursor is not None and member.cursor.following and member.state != "paused"

    def detach(self, member: Member, follower: IFollower) -> None:
        """The link is gone."""
        if member.follower is follower:
            self._look(member)
            member.leave()
            self._statusChanged()
            if not any(other.connected for other in self._members.values()):
                self._announcer.stop()

    async def _tell(self) -> None:
        """Tell every follower; one that has not answered the last time is left out, and holds up nobody."""
        status = self._status() if self.isPrimary else None
        for member in list(self._members.values()):
            if member.follower is not None and not member.telling:
                telling = Deferred.fromCoroutine(self._tellOne(member, member.follower, status))
                _ = telling.addErrback(lambda failure: log.failure("not told", failure))

    async def _tellOne(self, member: Member, follower: IFollower, status: Mapping[str, Any] | None) -> None:
        member.telling = True
        try:
            if member.cursor is not None and member.cursor.idle:
                await follower.position(self.head.epoch, self.head.revision, self.head.chainHash)
            if status is not None:
                await follower.clusterStatus(status)
        except ClusterError as error:
            # The next one tells it all the same.
            log.debug("{node} was not told: {reason!r}", node=member.name, reason=str(error))
        finally:
            if member.follower is follower:
                member.telling = False

    def _release(self, member: Member, epoch: int, revision: int, chainHash: bytes) -> None:
        """This node is not primary any more: who followed it finds that out by asking again, since it is told of a
        place where it is not."""
        if member.cursor is not None:
            member.cursor.close()
            member.cursor = None
            if member.follower is not None:
                telling = member.follower.position(epoch, revision, chainHash)
                _ = telling.addErrback(
                    lambda failure: log.debug("{node} was not told", node=member.name, failure=failure)
                )

    def _statusChanged(self) -> None:
        self.changed()
        self._changed()

    # --- what followers ask

    def requirePrimary(self) -> None:
        """:raises NotPrimary: where this node is not primary."""
        if not self.isPrimary:
            name = self.primary
            primary = self.head.document.nodes.get(name)
            raise NotPrimary(self.epoch, name, primary.address if primary is not None else "")

    def requireAppending(self) -> None:
        """:raises NotPrimary: where this node is not primary.
        :raises NotAppending: where it may not append all the same.
        """
        self.requirePrimary()
        if self.refusal:
            raise NotAppending(f"{self.refusal}; nothing was changed")

    async def follow(
        self, member: Member, follower: IFollower, epoch: int, revision: int, chainHash: bytes
    ) -> FollowAnswer:
        self.requirePrimary()
        if member.name not in self.head.document.nodes:
            raise Refused(f"{member.name} is not a member of this cluster")
        if member.unfit:
            log.warn("{why}", why=member.unfit)
            member.refusal = member.unfit
            self._statusChanged()
            raise Refused(member.unfit)
        if self.isChecking:
            raise ClusterError(f"{self.node} is finding out whether it is still primary")
        if epoch > self.head.epoch:
            member.refusal = f"is in epoch {epoch}, beyond this node's {self.head.epoch}"
            self.fence(epoch, "")
            self._beyond(member.name, epoch, revision)
            raise NotPrimary(self.head.epoch, "", "")
        if epoch == self.head.epoch and revision > self.head.revision and chainHash:
            # Nothing that it would be offered is better than what it has.
            if self.refusal:
                raise Refused(self.refusal)
            self._beyond(member.name, epoch, revision)
            raise ClusterError(f"{self.node} is at revision {self.head.revision}, and asks {member.name} for the rest")
        if member.cursor is not None:
            member.cursor.close()

        def acknowledged(revision: int, chainHash: bytes) -> None:
            member.acknowledged = revision, chainHash
            self._look(member)
            self._statusChanged()

        cursor = Cursor(self._journal, self._clock, follower, lambda: self.head, acknowledged, revision)
        member.cursor, member.refusal = cursor, ""
        standing = await self.history.standing(revision, chainHash)
        head = await self._journal.head()
        self.requirePrimary()
        if member.cursor is not cursor or member.follower is None:
            raise Refused("asked again in the meantime")
        if standing != "":
            log.warn(
                "{node} is {standing} at revision {revision}", node=member.name, standing=standing, revision=revision
            )
            answer = await self.history.offer(head, revision, standing)
            self.requirePrimary()
            return answer
        acknowledged(revision, chainHash)
        # The answer goes out first.
        self._clock.callLater(0, cursor.open, revision, chainHash)
        return FollowAnswer(head.epoch, head.revision, head.chainHash)

    def propose(self, proposal: Proposal) -> Deferred[int]:
        self.requirePrimary()
        return self._propose(proposal)

    def relay(
        self, node: str, action: str, arguments: Mapping[str, Any], author: Author
    ) -> Deferred[Mapping[str, Any]]:
        self.requirePrimary()
        return self._relay(node, action, arguments, author)

    def renewCertificate(self, node: str, request: bytes) -> Deferred[bytes]:
        self.requirePrimary()
        return self._renewCertificate(node, request)

    def reported(self, member: Member, status: Mapping[str, Any]) -> None:
        self._look(member)
        before, member.report = member.report, tidyReport(status)
        if member.report != before:
            self._statusChanged()
