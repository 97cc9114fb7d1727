"""A cluster in one process, for tests of replication: nodes without ports, and lines that a test can cut.

Nothing here opens a socket, starts a thread or waits: time is a :class:`~twisted.internet.task.Clock`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from ..cluster.faults import LinkLost
from ..cluster.follower import Follower
from ..cluster.messages import FollowAnswer, SnapshotOffer
from ..cluster.publisher import Publisher
from ..config.changes import Batch, Change, Promote, Put
from ..config.codec import encodeDocument
from ..config.document import Document, Group, Node
from ..errors import ClusterError, Refused
from ..interfaces import IFollower, IJournal, IPublisher
from ..journal.entry import Entry, Head, Proposal
from ..journal.memory import MemoryJournal
from ..vocabulary import Author

AUTHOR = Author("test", "full", "local")


def soon(deferred: Deferred[Any]) -> Any:
    """What a Deferred has fired with; fails where it has not, or with its error."""
    outcome: list[Any] = []
    failures: list[Any] = []
    _ = deferred.addCallbacks(outcome.append, failures.append)
    if failures:
        failures[0].raiseException()
    if not outcome:
        raise AssertionError("not fired")
    return outcome[0]


def founding(names: Sequence[str], primary: str) -> Change:
    """The first change of a cluster with these nodes."""
    nodes = [Put("nodes", Node(name=name, address=f"{name}.test")) for name in names]
    return Batch((Promote(1, primary, "test"), *nodes))


def numbered(number: int, size: int = 0) -> Change:
    """A change that tells which one it is, of about ``size`` bytes."""
    return Put("groups", Group(name=f"group-{number}", extra={"text": "x" * size} if size else {}))


def proposal(
    change: Change, requestId: str = "", node: str = "a", expected: Mapping[Any, int] | None = None
) -> Proposal:
    return Proposal(change, expected or {}, AUTHOR, node, requestId or f"request-{next(_REQUESTS)}", 1000.0)


_REQUESTS = itertools.count()


def documentBytes(journal: MemoryJournal) -> bytes:
    """The document that a journal folds to, encoded."""
    return encodeDocument(soon(journal.head()).document)


@implementer(IJournal)
@define(eq=False)
class LateJournal:
    """A journal whose answers come later, in their order, as those of a journal with a thread do.

    :ivar delay: seconds that each answer takes, asked each time.
    :ivar broken: an error that writes fail with, while there is one.
    """

    journal: IJournal
    _clock: Clock
    delay: Callable[[], float]
    broken: ClusterError | None = None
    _last: float = field(default=0.0, init=False)

    def append(self, proposal: Proposal) -> Deferred[Head]:
        return self._later(self.journal.append, proposal, writes=True)

    def extend(self, entries: Sequence[Entry]) -> Deferred[Head]:
        return self._later(self.journal.extend, entries, writes=True)

    def since(self, revision: int, limit: int) -> Deferred[Sequence[Entry]]:
        return self._later(self.journal.since, revision, limit)

    def find(self, requestId: str) -> Deferred[Entry | None]:
        return self._later(self.journal.find, requestId)

    def head(self) -> Deferred[Head]:
        return self._later(self.journal.head)

    def snapshot(self) -> Deferred[Any]:
        return self._later(self.journal.snapshot)

    def at(self, revision: int) -> Deferred[Head]:
        return self._later(self.journal.at, revision)

    def parts(self, revision: int) -> Deferred[tuple[Any, Sequence[Any]]]:
        return self._later(self.journal.parts, revision)

    def restore(self, snapshot: Any) -> Deferred[Head]:
        return self._later(self.journal.restore, snapshot, writes=True)

    def compact(self, keep: int) -> Deferred[None]:
        return self._later(self.journal.compact, keep)

    def close(self) -> Deferred[None]:
        return self._later(self.journal.close)

    def _later(self, work: Callable[..., Deferred[Any]], *arguments: Any, writes: bool = False) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self._last = max(self._last, self._clock.seconds() + self.delay())

        def run() -> None:
            result: Deferred[Any] = fail(self.broken) if writes and self.broken is not None else work(*arguments)
            _ = result.addCallbacks(done.callback, done.errback)

        self._clock.callLater(self._last - self._clock.seconds(), run)
        return done


@define(eq=False)
class ClusterNode:
    """A node without ports: its journal, its publisher and its follower, put together as a node does.

    :ivar applied: the revisions that were made live, in their order.
    :ivar diverged: what was told to be lost to a snapshot.
    :ivar actions: what it was asked to perform.
    :ivar shown: what the primary last said of the cluster.
    :ivar beyond: who asked to follow and had more: name, epoch and revision.
    """

    name: str
    journal: IJournal
    clock: Clock
    inThread: Callable[..., Deferred[Any]] = maybeDeferred
    applied: list[int] = field(factory=list, init=False)
    diverged: list[tuple[Head, SnapshotOffer]] = field(factory=list, init=False)
    actions: list[tuple[str, Mapping[str, Any]]] = field(factory=list, init=False)
    shown: Mapping[str, Any] = field(factory=dict, init=False)
    beyond: list[tuple[str, int, int]] = field(factory=list, init=False)
    publisher: Publisher = field(init=False)
    follower: Follower = field(init=False)

    def start(self, head: Head) -> None:
        """Put everything together around what the journal holds."""
        self.publisher = Publisher(
            node=self.name,
            head=head,
            journal=self.journal,
            clock=self.clock,
            newId=partial(next, map(str, itertools.count())),
            propose=self.propose,
            relay=lambda node, action, arguments, author: self.publisher.perform(node, action, arguments),
            renewCertificate=lambda node, request: succeed(b"certificate of " + node.encode()),
            status=lambda: {"primary": self.name, "nodes": self.publisher.rows()},
            beyond=lambda name, epoch, revision: self.beyond.append((name, epoch, revision)),
            changed=lambda: None,
        )
        self.follower = Follower(
            node=self.name,
            head=head,
            journal=self.journal,
            clock=self.clock,
            applied=self._applied,
            diverging=self._diverging,
            perform=self._perform,
            report=lambda: {"live": self.applied[-1] if self.applied else 0, "problems": [], "version": "0"},
            clusterStatus=self._clusterStatus,
            changed=lambda: None,
            inThread=self.inThread,
        )

    def propose(self, proposal: Proposal) -> Deferred[int]:
        """Append here, and publish."""

        def appended(head: Head) -> int:
            self.publisher.published(head)
            return head.revision

        return self.journal.append(proposal).addCallback(appended)

    def change(self, change: Change) -> int:
        """Append a change at once; its revision."""
        revision: int = soon(self.propose(proposal(change, node=self.name)))
        return revision

    @property
    def document(self) -> Document:
        return self.publisher.head.document

    def _applied(self, head: Head) -> None:
        self.applied.append(head.revision)
        self.publisher.published(head)
        self.follower.changed()

    def _diverging(self, head: Head, offer: SnapshotOffer, publisher: IPublisher) -> Deferred[None]:
        self.diverged.append((head, offer))
        return succeed(None)

    def _perform(self, action: str, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        self.actions.append((action, arguments))
        return succeed({"done": action})

    def _clusterStatus(self, status: Mapping[str, Any]) -> None:
        self.shown = status


def makeNode(name: str, clock: Clock, journal: MemoryJournal | None = None) -> ClusterNode:
    """A node with a journal in memory."""
    journal = journal or MemoryJournal({})
    node = ClusterNode(name, journal, clock)
    node.start(soon(journal.head()))
    return node


@define(eq=False)
class Line:
    """Joins a follower to a publisher as a link does, without one; every message takes ``delay()`` seconds, and those
    of one direction arrive in their order.

    :ivar session: fires when the follower's time with the publisher is over.
    :ivar delivered: the revisions of every batch that arrived, for tests to look at.
    :ivar tamper: changes what is delivered, as a hostile or broken publisher would.
    """

    follower: ClusterNode
    publisher: ClusterNode
    clock: Clock
    delay: Callable[[], float] | None = None
    tamper: Callable[[Sequence[Entry]], Sequence[Entry]] = field(default=lambda entries: entries)
    session: Deferred[None] = field(init=False)
    delivered: list[list[int]] = field(factory=list, init=False)
    outcome: list[Any] = field(factory=list, init=False)
    _cut: bool = field(default=False, init=False)
    _pending: set[Deferred[Any]] = field(factory=set, init=False)
    _arrival: dict[str, float] = field(factory=dict, init=False)

    def join(self) -> Line:
        self._avatar = self.publisher.publisher.attach(self.follower.name, _FarFollower(self))
        self.session = self.follower.follower.session(_FarPublisher(self), self.publisher.name)
        _ = self.session.addBoth(self.outcome.append)
        return self

    def cut(self) -> None:
        """The line is gone; whatever was under way is lost, on both ends."""
        if not self._cut:
            self._cut = True
            self._avatar.detached()
            if not self.outcome:
                self.follower.follower.disconnected()
            for one in list(self._pending):
                one.errback(LinkLost("cut", sent=True))

    _avatar: Any = field(default=None, init=False)

    def carry(self, way: str, work: Callable[..., Deferred[Any]], *arguments: Any) -> Deferred[Any]:
        """Ask over the line: ``way`` is ``up`` to the publisher or ``down`` to the follower."""
        if self._cut:
            return fail(LinkLost("cut", sent=False))
        answer: Deferred[Any] = Deferred()
        self._pending.add(answer)
        _ = answer.addBoth(self._settled, answer)

        def arrive() -> None:
            if not self._cut:
                _ = maybeDeferred(work, *arguments).addBoth(reply)

        def reply(result: Any) -> None:
            if not self._cut:
                self._after("down" if way == "up" else "up", lambda: settle(result))

        def settle(result: Any) -> None:
            if not answer.called:
                answer.callback(result)

        self._after(way, arrive)
        return answer

    def _settled(self, result: Any, answer: Deferred[Any]) -> Any:
        self._pending.discard(answer)
        return result

    def _after(self, way: str, call: Callable[[], object]) -> None:
        if self.delay is None:
            call()
            return
        at = self._arrival[way] = max(self._arrival.get(way, 0.0), self.clock.seconds() + self.delay())
        self.clock.callLater(at - self.clock.seconds(), lambda: self._cut or call())


@implementer(IPublisher)
@define(eq=False)
class _FarPublisher:
    """The publisher, as the follower has it at its end of a line."""

    _line: Line

    def follow(self, follower: IFollower, epoch: int, revision: int, chainHash: bytes) -> Deferred[FollowAnswer]:
        far = _FarFollower(self._line)
        return self._up("follow", far, epoch, revision, chainHash)

    def snapshotChunk(self, snapshotId: str, offset: int) -> Deferred[bytes]:
        return self._up("snapshotChunk", snapshotId, offset)

    def where(self, revision: int, chainHash: bytes) -> Deferred[FollowAnswer]:
        return self._up("where", revision, chainHash)

    def entries(self, revision: int, limit: int) -> Deferred[Sequence[Entry]]:
        return self._up("entries", revision, limit)

    def propose(self, proposal: Proposal) -> Deferred[int]:
        return self._up("propose", proposal)

    def report(self, status: Mapping[str, Any]) -> Deferred[None]:
        return self._up("report", status)

    def relay(
        self, node: str, action: str, arguments: Mapping[str, Any], author: Author
    ) -> Deferred[Mapping[str, Any]]:
        return self._up("relay", node, action, arguments, author)

    def renewCertificate(self, request: bytes) -> Deferred[bytes]:
        return self._up("renewCertificate", request)

    def _up(self, method: str, *arguments: Any) -> Deferred[Any]:
        return self._line.carry("up", getattr(self._line._avatar, method), *arguments)


@implementer(IFollower)
@define(eq=False)
class _FarFollower:
    """The follower, as the publisher has it at its end of a line."""

    _line: Line

    def deliver(self, entries: Sequence[Entry]) -> Deferred[tuple[int, bytes]]:
        tampered = self._line.tamper(entries)
        self._line.delivered.append([entry.revision for entry in tampered])
        return self._down("deliver", tampered)

    def position(self, epoch: int, revision: int, chainHash: bytes) -> Deferred[None]:
        return self._down("position", epoch, revision, chainHash)

    def perform(self, action: str, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        return self._down("perform", action, arguments)

    def clusterStatus(self, status: Mapping[str, Any]) -> Deferred[None]:
        return self._down("clusterStatus", status)

    def _down(self, method: str, *arguments: Any) -> Deferred[Any]:
        return self._line.carry("down", getattr(self._line.follower.follower, method), *arguments)


@implementer(IFollower)
@define(eq=False)
class FakeFollower:
    """A follower that notes what it is told, and answers as the test wants.

    :ivar taken: the entries that were delivered.
    :ivar answers: what the next deliveries are answered with, oldest first: a value, an error, or a Deferred; without
        any, with the last entry's place.
    """

    taken: list[Entry] = field(factory=list, init=False)
    answers: list[Any] = field(factory=list, init=False)
    positions: list[tuple[int, int, bytes]] = field(factory=list, init=False)
    performed: list[tuple[str, Mapping[str, Any]]] = field(factory=list, init=False)
    statuses: list[Mapping[str, Any]] = field(factory=list, init=False)

    def deliver(self, entries: Sequence[Entry]) -> Deferred[tuple[int, bytes]]:
        answer = self.answers.pop(0) if self.answers else (entries[-1].revision, entries[-1].chainHash)
        if isinstance(answer, Exception):
            return fail(answer)
        self.taken.extend(entries)
        return answer if isinstance(answer, Deferred) else succeed(answer)

    def position(self, epoch: int, revision: int, chainHash: bytes) -> Deferred[None]:
        self.positions.append((epoch, revision, chainHash))
        return succeed(None)

    def perform(self, action: str, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        self.performed.append((action, arguments))
        return succeed({"done": action})

    def clusterStatus(self, status: Mapping[str, Any]) -> Deferred[None]:
        self.statuses.append(status)
        return succeed(None)


@implementer(IPublisher)
@define(eq=False)
class FakePublisher:
    """A publisher that notes what it is asked, and answers as the test wants.

    :ivar follows: the places it was asked to let follow from.
    :ivar answers: what asking to follow is answered with, oldest first: a ``FollowAnswer``, an error, or a Deferred;
        the last one is given again and again.
    :ivar chunks: the offered snapshots by id.
    :ivar proposals: what was proposed; ``outcomes`` holds what it is answered with, else the number of proposals.
    """

    answers: list[Any] = field(factory=list)
    follows: list[tuple[int, int, bytes]] = field(factory=list, init=False)
    chunks: dict[str, bytes] = field(factory=dict, init=False)
    proposals: list[Proposal] = field(factory=list, init=False)
    outcomes: list[Any] = field(factory=list, init=False)
    reports: list[Mapping[str, Any]] = field(factory=list, init=False)
    relayed: list[tuple[str, str, Mapping[str, Any], Author]] = field(factory=list, init=False)
    requests: list[bytes] = field(factory=list, init=False)

    def follow(self, follower: IFollower, epoch: int, revision: int, chainHash: bytes) -> Deferred[FollowAnswer]:
        self.follows.append((epoch, revision, chainHash))
        if not self.answers:
            return fail(Refused("no answer was prepared"))
        return self._answered(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])

    def snapshotChunk(self, snapshotId: str, offset: int) -> Deferred[bytes]:
        return succeed(self.chunks[snapshotId][offset : offset + 256 * 1024])

    def where(self, revision: int, chainHash: bytes) -> Deferred[FollowAnswer]:
        return self.follow(FakeFollower(), 0, revision, chainHash)

    def entries(self, revision: int, limit: int) -> Deferred[Sequence[Entry]]:
        return fail(Refused("it has no entries"))

    def propose(self, proposal: Proposal) -> Deferred[int]:
        self.proposals.append(proposal)
        return self._answered(self.outcomes.pop(0) if self.outcomes else len(self.proposals))

    def report(self, status: Mapping[str, Any]) -> Deferred[None]:
        self.reports.append(status)
        return succeed(None)

    def relay(
        self, node: str, action: str, arguments: Mapping[str, Any], author: Author
    ) -> Deferred[Mapping[str, Any]]:
        self.relayed.append((node, action, arguments, author))
        return succeed({"done": action})

    def renewCertificate(self, request: bytes) -> Deferred[bytes]:
        self.requests.append(request)
        return succeed(b"certificate")

    def _answered(self, answer: Any) -> Deferred[Any]:
        if isinstance(answer, Exception):
            return fail(answer)
        return answer if isinstance(answer, Deferred) else succeed(answer)
