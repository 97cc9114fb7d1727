"""Keeps a link between each pair of nodes, whoever is primary and whether there is one: for rows and for actions.

Of a pair, the node with the smaller name dials; the other one dials too when there has been no link for a while, so
that a pair is linked if either can reach the other. Where both did, the link that the smaller one dialled stays. Of two
that the same node dialled, the newer one stays: whoever dials had no link. What rows and actions are is not known here.

Over a link either end may call ``rows(message)``, answered with nothing (see :mod:`.exchange`), and
``perform(request)``, answered with the outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, cast

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredList, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import ClusterError, Refused
from ..vocabulary import Author
from .exchange import Exchange
from .faults import LinkLost
from .link import Link, Method
from .links import Links
from .messages import authorFromPlain, expect, optionsFromPlain, plainFromAuthor, plainFromOptions, shortText
from .peers import PERFORM_SECONDS
from .shared import SharedRows
from .uplink import Dial, Peer

log = Logger()

FIRST_DELAY_SECONDS = 0.2
MOST_DELAY_SECONDS = 10.0
REFUSED_DELAY_SECONDS = 30.0
DIAL_SECONDS = 4.0

OTHER_WAY_SECONDS = 4.0
"""The longest that the node with the larger name waits for the other one to dial, and to dial again."""

LAST_WORDS_SECONDS = 1.0
"""How long a node that ends waits until the others know what it wrote last."""

_MOST_NAME = 64

Perform = Callable[[str, Mapping[str, Any], Author], Deferred[Mapping[str, Any]]]
"""Does something on this node, for an author whose rights are checked by this node's own document."""


@define(eq=False, kw_only=True)
class Mesh:
    """
    :ivar node: this node.
    :ivar _peers: the other nodes, asked whenever they may have changed.
    :ivar _changed: told when a link comes or goes.
    """

    node: str
    _clock: IReactorTime
    _random: Random
    _dial: Dial
    _peers: Callable[[], Sequence[Peer]]
    _links: Links
    _rows: SharedRows
    _perform: Perform
    _changed: Callable[[], None]
    _pairs: dict[str, _Pair] = field(factory=dict, init=False)
    _running: bool = field(default=False, init=False)
    _stopped: bool = field(default=False, init=False)

    def start(self) -> None:
        """Begin to dial."""
        self._running = True
        self.nodesChanged()

    def stop(self) -> Deferred[None]:
        """Dial no more, and end every link when the rows of this node are told; fires when they are gone."""
        self._running, self._stopped = False, True
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        pairs = list(self._pairs.values())
        exchanges = [pair.exchange for pair in pairs if pair.exchange is not None]
        untold = DeferredList([exchange.whenTold() for exchange in exchanges], consumeErrors=True)
        _ = await untold.addTimeout(LAST_WORDS_SECONDS, self._clock, lambda *_: [])
        await DeferredList([pair.stop() for pair in pairs], consumeErrors=True)
        self._pairs.clear()

    def nodesChanged(self) -> None:
        """There may be other nodes now, or at other addresses."""
        peers = {peer.name: peer for peer in self._peers()}
        for name in [name for name in self._pairs if name not in peers]:
            _ = self._pairs.pop(name).stop()
        for name, peer in peers.items():
            pair = self._pairs.get(name)
            if pair is None:
                self._pairs[name] = pair = _Pair(self, peer)
            elif pair.peer.address != peer.address:
                pair.moved(peer)
            if self._running:
                pair.wake()

    def linked(self) -> list[str]:
        """The names of the nodes that there are links to now."""
        return sorted(name for name, pair in self._pairs.items() if pair.link is not None)

    def accepted(self, node: str, link: Link) -> Mapping[str, Method]:
        """A node dialled; answers with what it may call."""
        if node not in self._pairs:
            self.nodesChanged()
        pair = self._pairs.get(node)
        if pair is None or self._stopped:
            raise Refused(f"{self.node} has no use for rows of {node} now")
        return pair.isUp(link, node)

    def perform(
        self, node: str, action: str, arguments: Mapping[str, Any], author: Author
    ) -> Deferred[Mapping[str, Any]]:
        """Have a node do something; it checks the author's rights itself. Fails with :class:`LinkLost`, not ``sent``,
        where there is no link."""
        pair = self._pairs.get(node)
        if pair is None or pair.link is None:
            return fail(LinkLost(f"there is no link to {node}", sent=False))
        request = {"action": action, "arguments": arguments, "author": plainFromAuthor(author)}
        answer = pair.link.call("perform", plainFromOptions(request), seconds=PERFORM_SECONDS)
        return answer.addCallback(optionsFromPlain, "outcome")

    # --- for its pairs

    @property
    def isRunning(self) -> bool:
        return self._running

    def dial(self, peer: Peer, build: Callable[[str], Link]) -> Deferred[Any]:
        def tooLate(_: object, seconds: float) -> Any:
            raise LinkLost(f"{peer.name} at {peer.address} did not answer in {seconds:g} s", sent=False)

        return self._dial(peer, build).addTimeout(DIAL_SECONDS, self._clock, tooLate)

    def forRows(self, node: str, isUp: Callable[[Link], Mapping[str, Method]]) -> Link:
        return self._links.forRows(node, isUp)

    def callLater(self, seconds: float, call: Callable[[], None]) -> IDelayedCall:
        # Nodes that lost each other at the same moment do not come back at the same moment.
        return self._clock.callLater(seconds * (0.5 + self._random.random() / 2), call)

    def exchange(self, peer: str, link: Link) -> Exchange:
        return Exchange(peer=peer, rows=self._rows, link=link, clock=self._clock, linked=self.linked)

    def methods(self, exchange: Exchange) -> Mapping[str, Method]:
        # A newer version may add arguments.
        return {
            "rows": lambda plain=None, *_: exchange.heard(plain),
            "perform": lambda plain=None, *_: self._performHere(plain),
        }

    def _performHere(self, plain: Any) -> Deferred[bytes]:
        request = optionsFromPlain(plain, "request")
        outcome = self._perform(
            shortText(request.get("action"), _MOST_NAME),
            expect(request.get("arguments"), dict, "request"),
            authorFromPlain(request.get("author")),
        )
        return outcome.addCallback(plainFromOptions)

    def linksChanged(self, unlinked: str = "") -> None:
        if unlinked:
            self._rows.unlinked(unlinked)
        for pair in self._pairs.values():
            if pair.exchange is not None:
                pair.exchange.linksChanged()
        self._changed()


@define(eq=False)
class _Pair:
    """This node and another one.

    :ivar link: the one that is used; ``None`` while there is none.
    :ivar _dialledBy: who dialled it.
    """

    _mesh: Mesh
    peer: Peer
    link: Link | None = field(default=None, init=False)
    exchange: Exchange | None = field(default=None, init=False)
    _dialledBy: str = field(default="", init=False)
    _next: IDelayedCall | None = field(default=None, init=False)
    _dialling: Deferred[None] | None = field(default=None, init=False)
    _fruitless: int = field(default=0, init=False)
    _refused: bool = field(default=False, init=False)
    _shown: str = field(default="", init=False)
    _over: bool = field(default=False, init=False)

    @property
    def _smaller(self) -> str:
        return min(self._mesh.node, self.peer.name)

    def wake(self, seconds: float = 0.0) -> None:
        """See that there is a link before long."""
        if self._over or not self._mesh.isRunning or self.link is not None:
            return
        if self._next is not None or self._dialling is not None:
            return
        if not self._fruitless and self._smaller == self.peer.name:
            seconds = max(seconds, OTHER_WAY_SECONDS)
        self._next = self._mesh.callLater(seconds, self._begin)

    def moved(self, peer: Peer) -> None:
        """The other node has another address."""
        self.peer, self._fruitless = peer, 0
        self._cancel()
        self.wake()

    def stop(self) -> Deferred[None]:
        """Dial no more; fires when the link is gone."""
        self._over = True
        self._cancel()
        if self._dialling is not None:
            self._dialling.cancel()
        link = self.link
        if link is None:
            return succeed(None)
        self._lost(link)
        link.close()
        return link.whenLost()

    def isUp(self, link: Link, dialledBy: str) -> Mapping[str, Method]:
        """Both ends of a link have said hello; answers with what the other one may call."""
        older = self.link
        if older is not None and self._dialledBy == self._smaller != dialledBy:
            # The other end has both too, before long, and comes to the same end.
            link.close()
            return {}
        if older is not None:
            self._lost(older, replaced=True)
            older.close()
        self._cancel()
        self.link, self._dialledBy = link, dialledBy
        self._fruitless, self._refused, self._shown = 0, False, ""
        self.exchange = exchange = self._mesh.exchange(self.peer.name, link)
        exchange.start()
        _ = link.whenLost().addCallback(lambda _: self._lost(link))
        if older is None:
            log.info("linked with {node}", node=self.peer.name)
        self._mesh.linksChanged()
        return self._mesh.methods(exchange)

    def _lost(self, link: Link, replaced: bool = False) -> None:
        if self.link is not link:
            return
        self.link = None
        if self.exchange is not None:
            self.exchange.stop()
            self.exchange = None
        if not replaced:
            log.info("not linked with {node} any more", node=self.peer.name)
            self._mesh.linksChanged(self.peer.name)
            self.wake(FIRST_DELAY_SECONDS)

    def _cancel(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    # --- dialling

    def _begin(self) -> None:
        self._next = None
        self._dialling = Deferred.fromCoroutine(self._dial())
        _ = self._dialling.addCallbacks(self._dialled, self._broken)

    def _dialled(self, _: object) -> None:
        self._dialling = None
        # Whoever refuses may just not have heard of this node yet; or never want to hear of it again.
        most = REFUSED_DELAY_SECONDS if self._refused else MOST_DELAY_SECONDS
        self.wake(min(most, FIRST_DELAY_SECONDS * 2 ** min(self._fruitless, 10)))

    def _broken(self, failure: Failure) -> None:
        if not self._over:
            self._fruitless += 1
            if failure.check(CancelledError) is None:
                log.failure("dialling {node} failed", failure=failure, node=self.peer.name)
        self._dialled(None)

    async def _dial(self) -> None:
        peer, mesh = self.peer, self._mesh
        try:
            dialled = mesh.dial(peer, lambda name: mesh.forRows(name, lambda up: self.isUp(up, mesh.node)))
            link = cast(Link, await dialled)
            try:
                await link.whenReady()
            except BaseException:
                link.abort()
                raise
        except ClusterError as error:
            self._fruitless += 1
            self._refused = isinstance(error, Refused)
            self._show(str(error))

    def _show(self, why: str) -> None:
        """Say why there is no link; the same reason once."""
        if self.link is None and why != self._shown:
            self._shown = why
            log.info("no link to {node} at {address}: {why!r}", node=self.peer.name, address=self.peer.address, why=why)
