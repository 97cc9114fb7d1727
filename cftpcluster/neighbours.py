"""Whom this node knows of the others, and how it reaches them: by the document, and before there is one, by its join.

What is said over the links is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocol

from .cluster.dial import Address
from .cluster.gate import LiveLinks
from .cluster.links import Links
from .cluster.lookout import ANSWER_SECONDS, OpenHistory, openHistory, survey
from .cluster.membership import NodeIdentity
from .cluster.messages import Hello
from .cluster.publisher import Publisher
from .cluster.uplink import Peer, peersOf
from .config.document import Document, Node
from .config.plan import overridden
from .errors import ClusterError
from .founding import Membership


@define(eq=False, kw_only=True)
class Neighbours:
    """
    :ivar _bind: the address that is dialled from; "" for any.
    :ivar _membership: what the node was a member with when it started.
    :ivar _identity: the one that it has now.
    :ivar _connect: as :func:`.cluster.dial.connectLink`.
    :ivar _live: the links that there are.
    :ivar _wallTime: seconds since the epoch.
    """

    _name: str
    _bind: str
    _reactor: Any
    _membership: Membership
    _identity: Callable[[], NodeIdentity]
    _document: Callable[[], Document]
    _publisher: Publisher
    _links: Links
    _live: LiveLinks
    _connect: Callable[..., Deferred[IProtocol]]
    _wallTime: Callable[[], float]

    def nodes(self) -> Mapping[str, Node]:
        """The members; before there is a document, those that the join named."""
        return self._document().nodes or self._membership.peerNodes

    def peers(self) -> Sequence[Peer]:
        """The others, the primary first."""
        document = self._document()
        if document.nodes:
            return peersOf(document, self._name, self._publisher.primary)
        return [Peer(node.name, node.address) for node in self._membership.peers]

    def unlinked(self) -> Sequence[Peer]:
        """Those who do not follow this primary: what else they do is not known here."""
        away = {row["name"] for row in self._publisher.rows() if row["state"] == "disconnected"}
        return [peer for peer in self.peers() if peer.name in away]

    def portOf(self, node: str) -> int:
        """The cluster port of a node."""
        document = self._document()
        member = document.nodes.get(node)
        for listener in document.listeners.values():
            if listener.kind == "cluster":
                overrides = member.listeners.get(listener.name, {}) if member else {}
                return overridden(listener, overrides).port
        return self._membership.clusterPort

    def dial(self, peer: Peer, build: Callable[[str], IProtocol]) -> Deferred[IProtocol]:
        """A new link to that node."""
        return self._connect(
            self._reactor,
            Address(peer.address, self.portOf(peer.name), self._bind),
            identity=self._identity(),
            nodes=self.nodes,
            expectedName=peer.name,
            buildLink=build,
            links=self._live,
            wallClock=self._wallTime,
        )

    def survey(self, names: Sequence[str], seconds: float) -> Deferred[Mapping[str, Hello]]:
        """What those of these nodes say of themselves who answer in that time."""
        peers = [peer for peer in self.peers() if peer.name in names]
        return Deferred.fromCoroutine(survey(self.dial, self._links, peers, seconds, self._reactor))

    def read(self, node: str) -> Deferred[OpenHistory]:
        """The history of that node, over a link of its own."""
        for peer in self.peers():
            if peer.name == node:
                return Deferred.fromCoroutine(openHistory(self.dial, self._links, peer, ANSWER_SECONDS, self._reactor))
        return fail(ClusterError(f"nobody knows where {node} is"))
