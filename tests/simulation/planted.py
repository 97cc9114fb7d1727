"""Bugs to look for: each is one that a careless change would make, planted by a subclass, and has to be noticed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import define, evolve, frozen
from twisted.internet.defer import Deferred, succeed

from cftpcluster.cluster.follower import Follower
from cftpcluster.cluster.publisher import Publisher
from cftpcluster.cluster.turns import Turns
from cftpcluster.journal._fold import folded
from cftpcluster.journal._threaded import ThreadedJournal
from cftpcluster.journal.entry import Entry, Head
from cftpcluster.primacy import Primacy

from .disk import Image, ModelStore
from .machines import Process
from .world import World


class HastyStore(ModelStore):
    """Answers before it has synced: what was written last is lost with the process."""

    __slots__ = ("_late",)

    def _settle(self, image: Image) -> None:
        late = getattr(self, "_late", None)
        self._late = image
        if late is not None:
            super()._settle(late)


class ForgetfulStore(ModelStore):
    """Does not remember who asked for what."""

    __slots__ = ()

    def commit(self, entries: Sequence[Entry], head: Head) -> None:
        super().commit(entries, head)
        self.requests.clear()


class BoastfulFollower(Follower):
    """Acknowledges what its journal does not have yet."""

    __slots__ = ()

    async def _accept(self, session: Any, entries: Sequence[Entry]) -> tuple[int, bytes]:
        if session.proven and not session.held and entries[0].revision == self.head.revision + 1:
            _ = Deferred.fromCoroutine(super()._accept(session, entries)).addErrback(lambda _: None)
            return entries[-1].revision, entries[-1].chainHash
        return await super()._accept(session, entries)


class BlindJournal(ThreadedJournal):
    """Does not look whether an object has changed since it was read."""

    __slots__ = ()

    def append(self, proposal: Any) -> Deferred[Head]:
        return super().append(evolve(proposal, expected={}))


class ImpatientPublisher(Publisher):
    """Waits for no follower."""

    __slots__ = ()

    def durable(self, revision: int, followers: int, seconds: float) -> Deferred[Sequence[str]]:
        return succeed([self.node])


class BoldPublisher(Publisher):
    """Does not mind that another node was promoted."""

    __slots__ = ()

    @property
    def isFenced(self) -> bool:
        return False


class DeafPrimacy(Primacy):
    """Does not hear where other nodes are."""

    __slots__ = ()

    def heard(self, hello: Any) -> None:
        if self.standing == "checking":
            super().heard(hello)

    def beyond(self, node: str, epoch: int, revision: int) -> None:
        pass


class HurriedTurns(Turns):
    """Holds nothing up."""

    __slots__ = ()

    def hold(self, why: str) -> None:
        pass

    def quiet(self, seconds: float) -> Deferred[bool]:
        return succeed(True)


@define(eq=False)
class RepeatingJournal:
    """A journal as publishers read it, where what was told before is told again, as if it had been sent twice."""

    _journal: ThreadedJournal

    def since(self, revision: int, limit: int) -> Deferred[Sequence[Entry]]:
        known = self._journal._store._base.revision  # type: ignore[attr-defined]
        return self._journal.since(max(revision - 2, min(revision, known)), limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


class UncheckedJournal(ThreadedJournal):
    """Leaves an entry out now and then, and takes entries that do not follow on what it has."""

    __slots__ = ()

    def since(self, revision: int, limit: int) -> Deferred[Sequence[Entry]]:
        found = super().since(revision, limit)
        return found.addCallback(lambda entries: entries[1:] if revision % 7 == 3 and len(entries) > 1 else entries)

    def _extend(self, entries: Sequence[Entry]) -> Head:
        head = folded(self._store.head, entries)
        self._store.commit(entries, head)
        return head


class UncheckedFollower(Follower):
    """Does not look whether something is missing."""

    __slots__ = ()

    def _fresh(self, session: Any, entries: Sequence[Entry]) -> list[Entry]:
        return list(entries)


def _follower(kind: type[Follower], process: Process) -> None:
    process.peering.follower.__class__ = kind


def _publisher(kind: type[Publisher], process: Process) -> None:
    process.peering.publisher.__class__ = kind


def _journal(kind: type[ThreadedJournal], process: Process) -> None:
    process.journal.__class__ = kind


def _deaf(process: Process) -> None:
    process.peering.primacy.__class__ = DeafPrimacy


def _hurried(process: Process) -> None:
    process.peering.publisher.turns.__class__ = HurriedTurns


def _keepingNothing(process: Process) -> None:
    process.peering.follower._diverging = lambda head, offer, publisher: succeed(None)


def _repeating(process: Process) -> None:
    journal: Any = RepeatingJournal(process.journal)
    process.peering.publisher._journal = journal


def _unchecked(process: Process) -> None:
    _journal(UncheckedJournal, process)
    _follower(UncheckedFollower, process)


HARMLESS = partial(World, prepare=_repeating)
"""Entries that come twice: the nodes have to notice that they have them."""


@frozen
class Planted:
    """A bug: what it is noticed for, how it is planted, and in which faults and how many schedules.

    :ivar why: "" where that is more than one thing.
    :ivar faults: kinds of them, as in :data:`~.plan.FAULTS`; without any, whatever the seeds lead to.
    """

    why: str
    build: Callable[..., World]
    faults: tuple[str, ...] = ()
    schedules: int = 30


PLANTED: Mapping[str, Planted] = {
    "acknowledgesBeforeTheSync": Planted("not durable", partial(World, storeClass=HastyStore)),
    "forgetsRequests": Planted("appended twice", partial(World, storeClass=ForgetfulStore)),
    "followerAcknowledgesTooEarly": Planted(
        "followers wanted", partial(World, prepare=partial(_follower, BoastfulFollower))
    ),
    "ignoresWhatWasExpected": Planted("which was", partial(World, prepare=partial(_journal, BlindJournal))),
    "waitsForNoFollower": Planted("followers wanted", partial(World, prepare=partial(_publisher, ImpatientPublisher))),
    "keepsNoBranch": Planted("did not keep it", partial(World, prepare=_keepingNothing), ("force", "partition")),
    "doesNotMindALaterEpoch": Planted(
        "", partial(World, prepare=partial(_publisher, BoldPublisher)), ("force", "partition")
    ),
    "hearsOfNoLaterEpoch": Planted("", partial(World, prepare=_deaf), ("force", "partition")),
    "appendsWhileItHandsOver": Planted("was primary there", partial(World, prepare=_hurried), ("promote", "slowDisk")),
    "takesWhateverComes": Planted("", partial(World, prepare=_unchecked)),
}
