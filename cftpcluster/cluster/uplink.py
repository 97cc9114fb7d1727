"""Keeps a secondary linked to its primary: whom to dial, in which order, and when to try again.

The primary that the journal names is tried first, then every other node in turn; a node that is not primary says who
is. What is said over a link is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, cast

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..config.document import Document
from ..errors import ClusterError, NotAppending, NotPrimary, OutcomeUnknown, PrimaryUnreachable, Refused
from ..events import NodeRefused, Notify
from ..interfaces import IPublisher
from ..journal.entry import Proposal
from .faults import LinkLost
from .follower import Follower
from .link import Link
from .links import Links
from .peers import InThread, RemotePublisher

log = Logger()

FIRST_DELAY_SECONDS = 0.2
MOST_DELAY_SECONDS = 4.0
"""With the time that a dead line takes to be noticed, nodes are equal again within 5 s after a partition has ended."""

DIAL_SECONDS = 4.0
REFUSED_DELAY_SECONDS = 30.0
LOOK_SECONDS = 0.05
"""Between looks for the next primary, while a change waits for it."""

ASK_AGAIN_SECONDS = 10.0
"""How long a proposal whose outcome is unknown waits for a link to ask again."""


@frozen
class Peer:
    """A node, and where it is reached."""

    name: str
    address: str


Dial = Callable[[Peer, Callable[[str], IProtocol]], Deferred[IProtocol]]
"""Dials a node; when its certificate was verified, builds the protocol with its name, and fires with it."""


def peersOf(document: Document, node: str, primary: str = "") -> list[Peer]:
    """The other nodes, the primary first: the one that is named, or else the document's."""
    primary = primary or document.promoted.name
    others = [Peer(name, other.address) for name, other in sorted(document.nodes.items()) if name != node]
    return sorted(others, key=lambda peer: peer.name != primary)


@define(eq=False, kw_only=True)
class Uplink:
    """Dials until a primary accepts this node's follower, again whenever the link is lost.

    :ivar _peers: the other nodes, the most likely primary first; asked for each round.
    :ivar _notify: told of nodes whose claim was refused.
    """

    _clock: IReactorTime
    _random: Random
    _dial: Dial
    _peers: Callable[[], Sequence[Peer]]
    _links: Links
    _follower: Follower
    _inThread: InThread
    _notify: Notify
    _running: Deferred[None] | None = field(default=None, init=False)
    _delay: Deferred[None] | None = field(default=None, init=False)
    _dialling: Deferred[IProtocol] | None = field(default=None, init=False)
    _hurried: bool = field(default=False, init=False)
    _stopped: bool = field(default=False, init=False)
    _movingUntil: float = field(default=float("-inf"), init=False)
    _link: Link | None = field(default=None, init=False)
    _shown: dict[str, str] = field(factory=dict, init=False)

    def start(self) -> None:
        """Begin to dial."""
        self._stopped = False
        if self._running is None:
            self._running = Deferred.fromCoroutine(self._run())
            _ = self._running.addErrback(_ended)

    def stop(self) -> Deferred[None]:
        """Dial no more, and end the link."""
        self._stopped = True
        running, self._running, link = self._running, None, self._link
        if running is not None:
            running.cancel()
        self._follower.disconnected()
        return link.whenLost() if link is not None else succeed(None)

    def propose(self, proposal: Proposal) -> Deferred[int]:
        """Have the primary append a proposal; asks again by its request id where the link dies meanwhile. Fires with
        its revision. ``PrimaryUnreachable``, ``OutcomeUnknown``, and whatever the primary says."""
        return Deferred.fromCoroutine(self._propose(proposal))

    async def _propose(self, proposal: Proposal) -> int:
        until = self._clock.seconds() + ASK_AGAIN_SECONDS
        primary = self._follower.head.document.promoted.name or "(unknown)"
        error: ClusterError = PrimaryUnreachable(f"the primary {primary} cannot be reached; nothing was changed")
        publisher = self._follower.publisher
        if publisher is None and self.isMoving:
            publisher = await self._nextPublisher(until)
        while publisher is not None:
            try:
                return await publisher.propose(proposal)
            except OutcomeUnknown as unknown:
                error = unknown
            except NotPrimary as moved:
                # It hands over, or has just done so: the next one is asked, under the same request id.
                self.moved()
                if not isinstance(error, OutcomeUnknown):
                    error = PrimaryUnreachable(f"{moved}; nothing was changed")
            except PrimaryUnreachable as unreachable:
                if not isinstance(error, OutcomeUnknown):
                    error = unreachable
                    if not self.isMoving:
                        break
            except (NotAppending, Refused):
                # Whoever says so knows nothing of what became of it elsewhere.
                if not isinstance(error, OutcomeUnknown):
                    raise
            publisher = await self._nextPublisher(until)
        raise error

    async def _nextPublisher(self, until: float) -> IPublisher | None:
        """The primary, as soon as there is one; ``None`` when there is none in time, or nobody is dialled any more."""
        while self._clock.seconds() < until and not self._stopped:
            await deferLater(self._clock, LOOK_SECONDS)
            if self._follower.publisher is not None:
                return self._follower.publisher
        return None

    @property
    def isMoving(self) -> bool:
        """Whether another node has just become primary, so that there will soon be a link to it."""
        return self._clock.seconds() < self._movingUntil

    def moved(self) -> None:
        """Another node has become primary: it will be dialled."""
        self._stopped = False
        self._movingUntil = self._clock.seconds() + ASK_AGAIN_SECONDS

    def hurry(self) -> None:
        """Another node is likely to be primary now: dial it, without waiting for whoever does not answer."""
        self._hurried = True
        waiting = self._delay or self._dialling
        if waiting is not None:
            waiting.cancel()

    # --- dialling

    async def _run(self) -> None:
        fruitless = 0
        while True:
            tried, self._hurried = _Round(), False
            await self._round(tried)
            fruitless = 1 if tried.accepted else fruitless + 1
            seconds = min(MOST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(fruitless, 10))
            if tried.refusals:
                self._follower.refused("; ".join(tried.refusals))
                if not tried.unreachable:
                    seconds = REFUSED_DELAY_SECONDS
            elif tried.unreachable:
                self._follower.showProblem("; ".join(tried.unreachable))
            if self._hurried:
                # Whoever was tried before may have been tried too early.
                seconds = FIRST_DELAY_SECONDS
            # Nodes that lost the same primary at the same moment do not come back at the same moment.
            await self._pause(seconds * (0.5 + self._random.random() / 2))

    async def _pause(self, seconds: float) -> None:
        self._hurried, self._delay = False, deferLater(self._clock, seconds)
        try:
            await self._delay
        except CancelledError:
            if not self._hurried:
                raise
        finally:
            self._delay = None

    async def _round(self, tried: _Round) -> None:
        """Dial one node after the other, until one has accepted this node and is lost again."""
        waiting = list(self._peers())
        while waiting:
            peer = waiting.pop(0)
            if peer.name in tried.names:
                continue
            tried.names.add(peer.name)
            sentTo = await self._try(peer, tried)
            if tried.followed:
                return
            if sentTo is not None and (tried.accepted or sentTo.name not in tried.sentTo):
                # Whoever could not be reached before, or was not primary then, may be it by now; but only once.
                tried.names.discard(sentTo.name)
                tried.sentTo.add(sentTo.name)
                waiting.insert(0, sentTo)

    async def _try(self, peer: Peer, tried: _Round) -> Peer | None:
        """Follow ``peer`` for as long as it can be done; answers with whom it sent us to."""
        tried.accepted = False
        try:
            await self._followThrough(peer, tried)
            tried.followed = True
        except CancelledError:
            if self._running is None:
                raise
            tried.unreachable.append(f"dialling {peer.name} was broken off")
        except NotPrimary as error:
            self._show(peer, str(error))
            return self._primaryOf(error)
        except Refused as error:
            self._show(peer, str(error))
            tried.refusals.append(str(error))
            self._notify(NodeRefused(address=peer.address, reason=str(error)))
        except ClusterError as error:
            self._show(peer, str(error))
            tried.unreachable.append(str(error))
        except Exception:  # noqa: BLE001 - whatever it is, the others are still to be tried
            log.failure("dialling {node} failed", node=peer.name)
            tried.unreachable.append(f"dialling {peer.name} failed; the log has the details")
        return None

    def _primaryOf(self, error: NotPrimary) -> Peer | None:
        if error.address and error.name and error.name != self._follower.node:
            return Peer(error.name, error.address)
        return next((peer for peer in self._peers() if peer.name == error.name), None)

    async def _followThrough(self, peer: Peer, tried: _Round) -> None:
        """Link to ``peer`` and follow it; done when an accepted link is lost."""

        def tooLate(_: object, seconds: float) -> Any:
            raise LinkLost(f"{peer.name} at {peer.address} did not answer in {seconds:g} s", sent=False)

        dialling = self._dial(peer, lambda name: self._links.dialled(name, self._follower))
        self._dialling = dialling.addTimeout(DIAL_SECONDS, self._clock, tooLate)
        try:
            self._link = link = cast(Link, await self._dialling)
        finally:
            self._dialling = None
        try:
            await link.whenReady()
            session = self._follower.session(RemotePublisher(link, self._inThread), peer.name)
            _ = link.whenLost().addCallback(lambda _: self._lost(link))
            self._shown.pop(peer.name, None)
            try:
                await session
            finally:
                tried.accepted = self._follower.wasAccepted
        finally:
            self._link = None
            link.close()

    def _lost(self, link: Link) -> None:
        if self._link is link:
            self._follower.disconnected()

    def _show(self, peer: Peer, reason: str) -> None:
        """Say why a node was no use; the same reason once."""
        if self._shown.get(peer.name) != reason:
            self._shown[peer.name] = reason
            log.info("no link to {node} at {address}: {reason!r}", node=peer.name, address=peer.address, reason=reason)


def _ended(failure: Failure) -> None:
    if failure.check(CancelledError) is None:
        log.failure("dialling ended", failure=failure)


@define(eq=False)
class _Round:
    """What came of dialling everybody once."""

    names: set[str] = field(factory=set)
    sentTo: set[str] = field(factory=set)
    refusals: list[str] = field(factory=list)
    unreachable: list[str] = field(factory=list)
    followed: bool = False
    accepted: bool = False
