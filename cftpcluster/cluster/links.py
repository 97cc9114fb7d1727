"""The links of a node that other nodes dialled, and how either end of a link is put together.

Who may have a link is decided by the cluster port's gate; what is said over it, by publishers and followers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..interfaces import IFollower
from .link import Link, Method
from .messages import Hello
from .peers import InThread, RemoteFollower, followerMethods, publisherMethods
from .publisher import Publisher

log = Logger()

_ONLY_HELLO = "onlyHello"


@define(eq=False, kw_only=True)
class Links:
    """Builds links: :meth:`buildLink` for those that other nodes dial, :meth:`dialled` and :meth:`asking` for our own.

    :ivar hello: what this node says of itself, asked for each link.
    :ivar wallTime: seconds since the epoch.
    :ivar inThread: calls a function elsewhere than in the reactor's thread.
    """

    _clock: IReactorTime
    _wallTime: Callable[[], float]
    _hello: Callable[[], Hello]
    _publisher: Publisher
    _inThread: InThread
    _byNode: dict[str, Link] = field(factory=dict, init=False)

    def buildLink(self, node: str) -> Link:
        """The end of a link that was dialled by ``node``, whose certificate was verified."""
        return Link(self._clock, self._wallTime, False, node, self._hello, partial(self._accept, node))

    def dialled(self, node: str, follower: IFollower) -> Link:
        """Our end of a link that we dialled, to ``node``; it may call ``follower``."""
        methods = followerMethods(follower)
        return Link(self._clock, self._wallTime, True, node, self._hello, lambda _: methods)

    def asking(self, node: str) -> Link:
        """Our end of a link to ``node`` over which nothing is said but hello."""
        return Link(
            self._clock,
            self._wallTime,
            True,
            node,
            lambda: evolve(self._hello(), extra={_ONLY_HELLO: True}),
            lambda _: {},
        )

    def _accept(self, node: str, link: Link) -> Mapping[str, Method]:
        if link.peer.extra.get(_ONLY_HELLO) is True:
            return {}
        older = self._byNode.get(node)
        self._byNode[node] = link
        if older is not None:
            # It came back before this end had noticed that it was gone.
            older.abort()
        log.info("{node} is linked; it runs {software!r}", node=node, software=link.peer.software)
        follower = RemoteFollower(link)
        avatar = self._publisher.attach(node, follower)

        def lost(_: None) -> None:
            if self._byNode.get(node) is link:
                del self._byNode[node]
                log.info("{node} is not linked any more", node=node)
            avatar.detached()

        _ = link.whenLost().addCallback(lost)
        return publisherMethods(avatar, follower, node, self._inThread)
