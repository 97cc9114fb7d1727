"""Snapshots that followers pull, chunk by chunk: one in memory for all who need it, for as long as somebody does.

Who may have one, and how chunks travel, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..errors import SnapshotNeeded
from ..interfaces import IJournal
from ..journal.entry import Snapshot
from .messages import CHUNK_BYTES, SnapshotOffer

KEPT_SECONDS = 120.0
"""How long after its last chunk a snapshot is kept."""

SHARED_SECONDS = 30.0
"""How old a snapshot may be that is offered to one more follower; what it lacks comes as entries."""

MOST_KEPT = 3
"""How many are kept, so that followers that begin again and again do not fill the memory."""


@define(eq=False)
class _Kept:
    id: str
    snapshot: Snapshot
    made: float
    expiry: IDelayedCall


@define(eq=False)
class SnapshotOffers:
    """:ivar newId: makes an unguessable id."""

    _journal: IJournal
    _clock: IReactorTime
    _newId: Callable[[], str]
    _kept: dict[str, _Kept] = field(factory=dict, init=False)
    _making: list[Deferred[_Kept]] | None = field(default=None, init=False)

    async def offer(self, epoch: int, atLeast: int, diverged: bool) -> SnapshotOffer:
        """Offer a snapshot of ``epoch`` and at least that revision where there is one, else one of the head."""
        now = self._clock.seconds()
        for one in self._kept.values():
            snapshot = one.snapshot
            if now - one.made < SHARED_SECONDS and snapshot.epoch == epoch and snapshot.revision >= atLeast:
                return _offered(one, diverged)
        return _offered(await self._make(), diverged)

    def chunk(self, id: str, offset: int) -> bytes:
        """:raises SnapshotNeeded: where the snapshot is not there any more."""
        one = self._kept.get(id)
        if one is None or offset >= len(one.snapshot.data):
            raise SnapshotNeeded("the snapshot is not offered any more")
        one.expiry.reset(KEPT_SECONDS)
        return one.snapshot.data[offset : offset + CHUNK_BYTES]

    def clear(self) -> None:
        """Let go of everything."""
        for one in self._kept.values():
            one.expiry.cancel()
        self._kept.clear()

    async def _make(self) -> _Kept:
        if self._making is not None:
            # Several followers ask while one snapshot is being made: it serves them all.
            waiting: Deferred[_Kept] = Deferred()
            self._making.append(waiting)
            return await waiting
        self._making = []
        try:
            snapshot = await self._journal.snapshot()
        except BaseException as error:
            others, self._making = self._making, None
            for other in others:
                other.errback(error)
            raise
        others, self._making = self._making, None
        made = self._keep(snapshot)
        for other in others:
            other.callback(made)
        return made

    def _keep(self, snapshot: Snapshot) -> _Kept:
        while len(self._kept) >= MOST_KEPT:
            self._kept.pop(next(iter(self._kept))).expiry.cancel()
        newId = self._newId()
        expiry = self._clock.callLater(KEPT_SECONDS, self._kept.pop, newId, None)
        self._kept[newId] = made = _Kept(newId, snapshot, self._clock.seconds(), expiry)
        return made


def _offered(one: _Kept, diverged: bool) -> SnapshotOffer:
    snapshot = one.snapshot
    return SnapshotOffer(
        one.id,
        len(snapshot.data),
        snapshot.sha256,
        snapshot.epoch,
        snapshot.revision,
        snapshot.chainHash,
        diverged,
    )
