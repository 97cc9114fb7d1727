"""What an operator wants of a node that follows: that it pauses, goes on, takes everything anew; and how far it lags.

A pause outlives the process: a node that was paused starts so. How entries come is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .cluster.follower import Follower
from .cluster.members import Waiters
from .cluster.publisher import Publisher
from .cluster.pull import pull
from .config.codec import decodeDocument
from .config.difference import difference
from .config.document import Document
from .errors import ClusterError, PrimaryUnreachable
from .state import StateDirectory

log = Logger()

PAUSED = "paused"
"""The file that tells that the node is paused."""

RESYNC_SECONDS = 100.0
"""How long the answer waits for a resync; a link takes one that is not much later."""


@define(eq=False, kw_only=True)
class Following:
    """
    :ivar _hurry: has the uplink dial at once.
    :ivar _changed: told when the follower's state or problem changed.
    """

    _follower: Callable[[], Follower]
    _publisher: Publisher
    _state: StateDirectory
    _clock: IReactorTime
    _inThread: Callable[..., Deferred[Any]]
    _hurry: Callable[[], None]
    _changed: Callable[[], None]
    _began: float = field(init=False)
    _until: float | None = field(default=None, init=False)
    _wasFollowing: bool = field(default=False, init=False)
    _waiters: Waiters = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._began = self._clock.seconds()
        self._waiters = Waiters(self._clock)

    async def load(self) -> None:
        """Pause where the node was paused when it ended."""
        if await self._inThread(self._state.read, PAUSED) is not None and not self._publisher.isPrimary:
            log.warn("following is paused, as it was before; cftpctl node resume lets it go on")
            self._follower().pause()

    # --- how it is

    def changed(self) -> None:
        """The follower's state or problem is another one."""
        isFollowing = self._follower().state == "following"
        if isFollowing or self._wasFollowing:
            self._until = self._clock.seconds()
        self._wasFollowing = isFollowing
        self._waiters.look()
        self._changed()

    def lagSeconds(self) -> float:
        """How long this node may have missed something."""
        if self._follower().state == "following":
            return 0.0
        since = self._began if self._until is None else self._until
        return round(self._clock.seconds() - since, 3)

    def contactSeconds(self) -> float | None:
        """How long ago it was last following; ``None`` where it never was since it started."""
        if self._follower().state == "following":
            return 0.0
        return None if self._until is None else round(self._clock.seconds() - self._until, 3)

    # --- what is wanted

    async def pause(self) -> Mapping[str, Any]:
        """Follow no more, but serve what there is, until :meth:`resume`, also after a restart."""
        self._requireSecondary("paused")
        await self._inThread(self._state.write, PAUSED, b"")
        self._follower().pause()
        log.info("following is paused")
        return self._answer()

    async def resume(self) -> Mapping[str, Any]:
        """Follow again; nothing happens where it was not paused."""
        await self.forget()
        if not self._publisher.isPrimary:
            self._hurry()
        return self._answer()

    async def forget(self) -> None:
        """Be paused no more."""
        if self._follower().state == "paused":
            self._follower().resume()
            log.info("following goes on")
        await self._inThread(self._state.remove, PAUSED)

    async def resync(self) -> Mapping[str, Any]:
        """Take everything anew from the primary, whatever is here; fires when that is done."""
        follower = self._follower()
        self._requireSecondary("synchronised anew")
        if follower.state == "paused":
            raise ClusterError(f"{follower.node} is paused; resume it first")
        follower.resync()
        self._hurry()
        if not await self._waiters.wait(lambda: not follower.isResyncing, RESYNC_SECONDS):
            why = follower.problem or follower.state
            raise ClusterError(f"{follower.node} has not taken everything anew yet: {why}")
        return {**self._answer(), "revision": follower.head.revision}

    async def compare(self) -> Mapping[str, Any]:
        """What a resync would change in the document that this node has."""
        follower = self._follower()
        self._requireSecondary("compared with the primary")
        publisher = follower.publisher
        if publisher is None:
            raise PrimaryUnreachable(f"the primary {self._publisher.primary or '(unknown)'} cannot be reached")
        own = self._publisher.head
        answer = await publisher.where(own.revision, b"")
        if answer.snapshot is None:
            raise ClusterError("the primary offered no snapshot")
        snapshot = await pull(publisher, answer.snapshot, self._inThread, None)
        lines = await self._inThread(_differences, own.document, snapshot.data)
        isSame = (own.revision, own.chainHash) == (snapshot.revision, snapshot.chainHash)
        place = {"revision": own.revision, "primaryRevision": snapshot.revision, "sameHistory": isSame}
        return {**self._answer(), **place, "differences": lines}

    def _requireSecondary(self, what: str) -> None:
        if self._publisher.isPrimary:
            raise ClusterError(f"{self._publisher.node} is the primary and cannot be {what}")

    def _answer(self) -> Mapping[str, Any]:
        return {"state": self._follower().state}


def _differences(own: Document, data: bytes) -> list[str]:
    return [str(one) for one in difference(own, decodeDocument(data))]
