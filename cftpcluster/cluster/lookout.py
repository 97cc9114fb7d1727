"""Asks other nodes where their journals are, before a primary appends and while nodes do not follow it; and reads them.

A primary that was superseded while nobody could reach it hears of that from here. What it then does is decided
elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from .faults import LinkLost
from .link import Link
from .links import Links
from .messages import Hello
from .peers import RemoteHistory
from .uplink import Dial, Peer

log = Logger()

LOOK_SECONDS = 5.0
ANSWER_SECONDS = 4.0


async def survey(
    dial: Dial, links: Links, peers: Sequence[Peer], seconds: float, clock: IReactorTime
) -> dict[str, Hello]:
    """Ask all of ``peers`` at once where their journals are; those that answer in time, by name."""
    answers: dict[str, Hello] = {}

    async def ask(peer: Peer) -> None:
        link = cast(Link, await dial(peer, links.asking))
        try:
            await link.whenReady()
            answers[peer.name] = link.peer
        finally:
            link.close()

    async def asked(peer: Peer) -> None:
        try:
            await Deferred.fromCoroutine(ask(peer)).addTimeout(seconds, clock)
        except Exception as error:  # noqa: BLE001 - whatever keeps a node from answering
            log.debug("{node} did not answer: {reason!r}", node=peer.name, reason=str(error))

    asking = [Deferred.fromCoroutine(asked(peer)) for peer in peers]
    for one in asking:
        await one
    return answers


@define(eq=False)
class OpenHistory:
    """Another node's journal, until it is closed."""

    history: RemoteHistory
    _link: Link

    def standStill(self, epoch: int) -> Deferred[Hello]:
        return self.history.standStill(epoch)

    def close(self) -> None:
        self._link.close()


async def openHistory(dial: Dial, links: Links, peer: Peer, seconds: float, clock: IReactorTime) -> OpenHistory:
    """Reach for another node's journal, primary or not. ``ClusterError`` where that cannot be had in time."""

    def tooLate(_: object, seconds: float) -> Any:
        raise LinkLost(f"{peer.name} at {peer.address} did not answer in {seconds:g} s", sent=False)

    link = cast(Link, await dial(peer, links.reading).addTimeout(seconds, clock, tooLate))
    try:
        await link.whenReady()
    except BaseException:
        link.close()
        raise
    return OpenHistory(RemoteHistory(link), link)


@define(eq=False, kw_only=True)
class Lookout:
    """Surveys, again and again, those nodes that are not linked to this one.

    :ivar _peers: those nodes, asked each time.
    :ivar _heard: told what each says that answers.
    """

    _clock: IReactorTime
    _dial: Dial
    _links: Links
    _peers: Callable[[], Sequence[Peer]]
    _heard: Callable[[Hello], None]
    _call: LoopingCall = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._call = LoopingCall(lambda: Deferred.fromCoroutine(self._look()))
        self._call.clock = self._clock

    def start(self) -> None:
        """Begin to look; idempotent."""
        if not self._call.running:
            _ = self._call.start(LOOK_SECONDS, now=False).addErrback(
                lambda failure: log.failure("nobody looks out any more", failure=failure)
            )

    def stop(self) -> None:
        """Look no more; idempotent."""
        if self._call.running:
            self._call.stop()

    async def _look(self) -> None:
        answers = await survey(self._dial, self._links, self._peers(), ANSWER_SECONDS, self._clock)
        for _, hello in sorted(answers.items()):
            if self._call.running:
                self._heard(hello)
