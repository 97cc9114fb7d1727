"""The links of a node that other nodes dialled, and how either end of a link is put together.

Whoever dials says in its hello what for:

``follow``
    To follow the other node's journal, if that is primary.
``rows``
    For the rows that all nodes share, and for actions; see :mod:`.mesh`.
``read``
    To read the other node's journal, whoever is primary.
``ask``
    To hear its hello, and nothing else.

Who may have a link is decided by the cluster port's gate; what is said over it, by publishers and followers, and by the
mesh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..errors import Refused
from ..interfaces import IFollower
from .link import Link, Method
from .messages import Hello
from .peers import InThread, RemoteFollower, followerMethods, publisherMethods, readingMethods
from .publisher import Publisher

log = Logger()

_PURPOSE = "purpose"
_FOLLOW, _ROWS, _READ, _ASK = "follow", "rows", "read", "ask"


@define(eq=False, kw_only=True)
class Links:
    """Builds links: :meth:`buildLink` for those that other nodes dial, the other methods for our own.

    :ivar hello: what this node says of itself, asked for each link.
    :ivar wallTime: seconds since the epoch.
    :ivar inThread: calls a function elsewhere than in the reactor's thread.
    :ivar rowsAccepted: what a node may call that dialled for rows, and is ready.
    :ivar heard: told what the other end of a link says of itself, but for those dialled with :meth:`asking` and
        :meth:`reading`, which are dialled for that.
    :ivar standStill: has this node take nothing of earlier epochs than that for a while; fires with where it is then.
    """

    _clock: IReactorTime
    _wallTime: Callable[[], float]
    _hello: Callable[[], Hello]
    _publisher: Publisher
    _inThread: InThread
    _rowsAccepted: Callable[[str, Link], Mapping[str, Method]]
    _heard: Callable[[Hello], None]
    _standStill: Callable[[int], Deferred[Hello]]
    _byNode: dict[str, Link] = field(factory=dict, init=False)

    def buildLink(self, node: str) -> Link:
        """The end of a link that was dialled by ``node``, whose certificate was verified."""
        return Link(self._clock, self._wallTime, False, node, self._hello, partial(self._accept, node))

    def dialled(self, node: str, follower: IFollower) -> Link:
        """Our end of a link that we dialled, to ``node``; it may call ``follower``."""
        methods = followerMethods(follower)
        return self._dialling(node, _FOLLOW, lambda _: methods)

    def forRows(self, node: str, isUp: Callable[[Link], Mapping[str, Method]]) -> Link:
        """Our end of a link for rows to ``node``; ``isUp`` is called when it is ready, and answers with what the other
        end may call."""
        return self._dialling(node, _ROWS, isUp)

    def reading(self, node: str) -> Link:
        """Our end of a link to ``node`` whose journal is to be read."""
        return self._dialling(node, _READ, lambda _: {})

    def asking(self, node: str) -> Link:
        """Our end of a link to ``node`` over which nothing is said but hello."""
        return self._dialling(node, _ASK, lambda _: {})

    def _dialling(self, node: str, purpose: str, expose: Callable[[Link], Mapping[str, Method]]) -> Link:
        def hello() -> Hello:
            return evolve(self._hello(), extra={_PURPOSE: purpose})

        def exposed(link: Link) -> Mapping[str, Method]:
            if purpose in {_FOLLOW, _ROWS}:
                self._clock.callLater(0, self._heard, link.peer)
            return expose(link)

        return Link(self._clock, self._wallTime, True, node, hello, exposed)

    def _accept(self, node: str, link: Link) -> Mapping[str, Method]:
        self._clock.callLater(0, self._heard, link.peer)
        purpose = link.peer.extra.get(_PURPOSE)
        try:
            if purpose == _FOLLOW:
                return self._followerAccepted(node, link)
            if purpose == _ROWS:
                return self._rowsAccepted(node, link)
            if purpose == _READ:
                return readingMethods(self._publisher.history, self._standStill)
            if purpose != _ASK:
                raise Refused(f"this node has no links for {purpose!r:.64}")
        except Refused:
            link.close()
            raise
        return {}

    def _followerAccepted(self, node: str, link: Link) -> Mapping[str, Method]:
        older = self._byNode.get(node)
        self._byNode[node] = link
        if older is not None:
            # It came back before this end had noticed that it was gone.
            older.abort()
        log.info("{node} is linked; it runs {software!r}", node=node, software=link.peer.software)
        follower = RemoteFollower(link)
        avatar = self._publisher.attach(node, follower, link.peer)

        def lost(_: None) -> None:
            if self._byNode.get(node) is link:
                del self._byNode[node]
                log.info("{node} is not linked any more", node=node)
            avatar.detached()

        _ = link.whenLost().addCallback(lost)
        return publisherMethods(avatar, follower, node, self._inThread)
