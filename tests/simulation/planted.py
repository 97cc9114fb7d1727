"""Bugs to look for: each is one that a careless change would make, planted by a subclass, and has to be noticed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, succeed

from cftpcluster.cluster.follower import Follower
from cftpcluster.cluster.publisher import Publisher
from cftpcluster.journal._threaded import ThreadedJournal
from cftpcluster.journal.entry import Entry, Head

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


class TrustingFollower(Follower):
    """Keeps nothing of what it gives up."""

    __slots__ = ()

    async def _restore(self, session: Any, offer: Any) -> None:
        await super()._restore(session, evolve(offer, diverged=False))


def _follower(kind: type[Follower], process: Process) -> None:
    process.peering.follower.__class__ = kind


def _publisher(kind: type[Publisher], process: Process) -> None:
    process.peering.publisher.__class__ = kind


def _journal(kind: type[ThreadedJournal], process: Process) -> None:
    process.journal.__class__ = kind


@frozen
class Planted:
    """A bug: how it is planted, and by how many schedules it has to be noticed."""

    why: str
    build: Callable[..., World]
    schedules: int = 40


PLANTED: Mapping[str, Planted] = {
    "acknowledgesBeforeTheSync": Planted("not durable", partial(World, storeClass=HastyStore)),
    "forgetsRequests": Planted("appended twice", partial(World, storeClass=ForgetfulStore)),
    "followerAcknowledgesTooEarly": Planted("durable", partial(World, prepare=partial(_follower, BoastfulFollower))),
    "ignoresWhatWasExpected": Planted("which was", partial(World, prepare=partial(_journal, BlindJournal))),
    "waitsForNoFollower": Planted("followers wanted", partial(World, prepare=partial(_publisher, ImpatientPublisher))),
}
