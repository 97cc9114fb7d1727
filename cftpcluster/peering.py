"""This node among the others: its cluster port, its links, and which part it has in replication.

Puts the pieces of :mod:`cftpcluster.cluster` together; appends nothing and makes nothing live itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random, SystemRandom
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.plugin import IPlugin
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from .cluster.admission import JoinServer
from .cluster.announcer import Announcer
from .cluster.authority import renew, signingRequest
from .cluster.dial import Address, connectLink
from .cluster.follower import Follower
from .cluster.gate import Gate, LiveLinks
from .cluster.join import Joined, join
from .cluster.link import Link, Method
from .cluster.links import Links
from .cluster.membership import NodeIdentity, needsRenewal
from .cluster.mesh import Mesh
from .cluster.messages import Hello, SnapshotOffer
from .cluster.publisher import Publisher
from .cluster.rows import RowsKeeper
from .cluster.sealing import Sealer
from .cluster.shared import SharedRows
from .cluster.tokens import JoinTokenText
from .cluster.uplink import Peer, Uplink, peersOf
from .config.changes import Change
from .config.codec import canonical
from .config.document import Document, Node
from .config.plan import overridden
from .errors import ClusterError, NotPrimary
from .events import Notify
from .founding import Membership, store
from .interfaces import IJournal, IPublisher, IServer, IServerFactory
from .journal.entry import Head, Proposal
from .networks import Networks
from .state import StateDirectory
from .tables import NODES, TABLES
from .vocabulary import Author

log = Logger()

RENEWAL_SECONDS = 3600.0
TELL_LEAST_SECONDS = 1.0
TELL_MOST_SECONDS = 5.0
TOLD_SECONDS = 20.0
"""How long the others believe what a node said of itself."""

SAID: Mapping[str, type] = {
    "state": str,
    "revision": int,
    "chainHash": str,
    "live": int,
    "lagSeconds": float,
    "version": str,
    "problems": list,
}
"""What a node says of itself in its row, as in its status."""

MOST_PROBLEMS_BYTES = 3000
MOST_REDIRECTIONS = 3


async def joinCluster(
    reactor: Any, token: str, *, name: str, privateKeyPem: bytes, advertise: str, bind: str
) -> tuple[Joined, int]:
    """Join with a token's text, following whoever says that another node is primary; answers with the port as well."""
    text = JoinTokenText.parse(token)
    for _ in range(MOST_REDIRECTIONS):
        try:
            joined = await join(
                reactor,
                text,
                name=name,
                privateKeyPem=privateKeyPem,
                advertiseAddress=advertise,
                bindAddress=bind,
                wallClock=time.time,
            )
            return joined, text.port
        except NotPrimary as error:
            if not error.address:
                raise
            text = evolve(text, host=error.address)
    raise ClusterError("the nodes do not agree who is primary; try again later")


@implementer(IPlugin, IServerFactory)
@define(eq=False)
class ClusterServerFactory:
    """The cluster port; its kind has no options."""

    _gate: Callable[[], Gate]
    kind: str = field(default="cluster", init=False)
    summary: str = field(default="links between the nodes", init=False)
    needsTLS: bool = field(default=False, init=False)

    @frozen
    class Options:
        """A listener of kind ``cluster`` has no options of its own."""

    configClass: type = field(default=Options, init=False)

    def build(self, config: Any, **parts: Any) -> IServer:
        return self._gate()


@define(eq=False, kw_only=True)
class Peering:
    """Replication and membership of one node.

    :ivar _append: appends a proposal on this node, its author's rights checked; fires with its revision.
    :ivar _applied: told of heads that came from the primary.
    :ivar _perform: does something on this node.
    :ivar _report: what this node says of itself.
    :ivar _status: the cluster's status, for followers.
    :ivar _changed: told when a node's status changed.
    :ivar _wallTime: seconds since the epoch.
    :ivar _keeper: keeps durable rows on disk; ``None``: in memory alone.
    :ivar rows: what all nodes know, whoever is primary.
    """

    _name: str
    _bind: str
    _state: StateDirectory
    _reactor: Any
    _pool: ThreadPool
    _journal: IJournal
    _membership: Membership
    _document: Callable[[], Document]
    _notify: Notify
    _append: Callable[[Proposal], Deferred[int]]
    _applied: Callable[[Head], None]
    _perform: Callable[[str, Mapping[str, Any]], Deferred[Mapping[str, Any]]]
    _relay: Callable[[str, str, Mapping[str, Any], Author], Deferred[Mapping[str, Any]]]
    _report: Callable[[], Mapping[str, Any]]
    _status: Callable[[], Mapping[str, Any]]
    _changed: Callable[[], None]
    _proposeOwn: Callable[[Change, Mapping[tuple[str, str], int]], Deferred[int]]
    _head: Head
    _connect: Callable[..., Deferred[IProtocol]] = connectLink
    _random: Random = field(factory=SystemRandom)
    _wallTime: Callable[[], float] = time.time
    _keeper: RowsKeeper | None = None
    clusterStatus: Mapping[str, Any] = field(factory=dict, init=False)
    publisher: Publisher = field(init=False)
    follower: Follower = field(init=False)
    gate: Gate = field(init=False)
    uplink: Uplink = field(init=False)
    rows: SharedRows = field(init=False)
    mesh: Mesh = field(init=False)
    _telling: Announcer = field(init=False)
    _live: LiveLinks = field(factory=LiveLinks, init=False)
    _links: Links = field(init=False)
    _renewing: LoopingCall = field(init=False)
    _followedUntil: float = field(init=False)
    _wasFollowing: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._followedUntil = self._reactor.seconds()
        inThread = partial(deferToThreadPool, self._reactor, self._pool)
        self.publisher = Publisher(
            node=self._name,
            head=self._head,
            journal=self._journal,
            clock=self._reactor,
            newId=lambda: self._random.randbytes(16).hex(),
            propose=self._append,
            relay=self._relay,
            renewCertificate=self._renew,
            status=self._status,
            beyond=lambda name, epoch, revision: self._superseded(epoch, name),
            changed=self._changed,
        )
        self.follower = Follower(
            node=self._name,
            head=self._head,
            journal=self._journal,
            clock=self._reactor,
            applied=self._applied,
            diverging=self._diverging,
            perform=self._perform,
            report=self._report,
            clusterStatus=self._clusterStatusCame,
            changed=self._followerChanged,
            inThread=inThread,
        )
        self._links = Links(
            clock=self._reactor,
            wallTime=self._wallTime,
            hello=lambda: Hello.fromHead(self._name, self.publisher.head),
            publisher=self.publisher,
            inThread=inThread,
            rowsAccepted=self._rowsAccepted,
        )
        self._makeMesh()
        admission = JoinServer(
            self._reactor,
            self._name,
            self._document,
            self._proposeOwn,
            lambda: self.sealer,
            self._notify,
            self._wallTime,
        )
        self.gate = Gate(
            self._reactor,
            self.identity,
            self.nodes,
            self._links.buildLink,
            admission.buildJoin,
            self._live,
            self._notify,
            self._wallTime,
            lambda address: address in Networks.parse(self._document().settings.probeNetworks),
        )
        self.uplink = Uplink(
            clock=self._reactor,
            random=self._random,
            dial=self._dial,
            peers=self._peers,
            links=self._links,
            follower=self.follower,
            inThread=inThread,
            notify=self._notify,
        )
        self._renewing = LoopingCall(self._renewOwn)
        self._renewing.clock = self._reactor

    def _makeMesh(self) -> None:
        self.rows = SharedRows(
            node=self._name,
            incarnation=self._keeper.incarnation if self._keeper is not None else int(self._wallTime()),
            clock=self._reactor,
            tables=TABLES,
            members=self.nodes,
        )
        if self._keeper is not None:
            self._keeper.keep(self.rows)
        self.mesh = Mesh(
            node=self._name,
            clock=self._reactor,
            random=self._random,
            dial=self._dial,
            peers=self._peers,
            links=self._links,
            rows=self.rows,
            # This node checks the author's rights by its own document.
            perform=lambda action, arguments, author: self._relay(self._name, action, arguments, author),
            changed=self._changed,
        )
        self._telling = Announcer(self._reactor, self._tellOfItself, TELL_LEAST_SECONDS, TELL_MOST_SECONDS)

    async def _tellOfItself(self) -> None:
        """Write this node's row, so that all know how it is without a primary."""
        row = next(row for row in self._status()["nodes"] if row["name"] == self._name)
        said = {key: row[key] for key in SAID if key in row}
        while len(canonical(said["problems"])) > MOST_PROBLEMS_BYTES:
            said["problems"] = said["problems"][:-1]
        self.rows.put(NODES, self._name, said, TOLD_SECONDS)

    def _rowsAccepted(self, node: str, link: Link) -> Mapping[str, Method]:
        return self.mesh.accepted(node, link)

    # --- who we are, and whom we know

    def identity(self) -> NodeIdentity:
        return self._membership.identity

    @property
    def membership(self) -> Membership:
        """What this node is a member with now."""
        return self._membership

    @property
    def sealer(self) -> Sealer:
        """Seals and opens with the cluster keys that this node has now."""
        return self._membership.sealer

    def nodes(self) -> Mapping[str, Node]:
        """The members; before there is a document, those that the join named."""
        return self._document().nodes or self._membership.peerNodes

    def _peers(self) -> Sequence[Peer]:
        document = self._document()
        if document.nodes:
            return peersOf(document, self._name)
        return [Peer(node.name, node.address) for node in self._membership.peers]

    def portOf(self, node: str) -> int:
        """The cluster port of a node."""
        document = self._document()
        member = document.nodes.get(node)
        for listener in document.listeners.values():
            if listener.kind == "cluster":
                overrides = member.listeners.get(listener.name, {}) if member else {}
                return overridden(listener, overrides).port
        return self._membership.clusterPort

    def _dial(self, peer: Peer, build: Callable[[str], IProtocol]) -> Deferred[IProtocol]:
        return self._connect(
            self._reactor,
            Address(peer.address, self.portOf(peer.name), self._bind),
            identity=self.identity(),
            nodes=self.nodes,
            expectedName=peer.name,
            buildLink=build,
            links=self._live,
            wallClock=self._wallTime,
        )

    # --- the node's life

    def start(self) -> None:
        """Begin to follow, unless this node is primary."""
        if not self.publisher.isPrimary:
            self.uplink.start()
        self.mesh.start()
        self._telling.start()
        renewing = self._renewing.start(RENEWAL_SECONDS)
        _ = renewing.addErrback(lambda failure: log.failure("no more renewals", failure))

    def committed(self, head: Head) -> None:
        """A head is committed on this node, wherever it came from."""
        self.publisher.published(head)
        self._live.dropRemoved(head.document.nodes)
        self.mesh.nodesChanged()
        self.rows.membersChanged()

    async def stop(self) -> None:
        """End every link."""
        if self._renewing.running:
            self._renewing.stop()
        self._telling.stop()
        await self.mesh.stop()
        self.rows.stop()
        await self.uplink.stop()
        self.publisher.stop()
        self._live.abort()

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with this node's place among the others."""
        return [self._keeper.problem] if self._keeper is not None and self._keeper.problem else []

    def statusChanged(self) -> None:
        """This node's status changed: the others are told before long."""
        self.follower.changed()
        self.publisher.changed()
        self._telling.changed()

    def lagSeconds(self) -> float:
        """How long this node may have missed something, as a follower."""
        if self.follower.state == "following":
            return 0.0
        now: float = self._reactor.seconds()
        return round(now - self._followedUntil, 3)

    # --- what the pieces tell

    def _followerChanged(self) -> None:
        if self.follower.state == "following" or self._wasFollowing:
            self._followedUntil = self._reactor.seconds()
        self._wasFollowing = self.follower.state == "following"
        self._changed()

    def _clusterStatusCame(self, status: Mapping[str, Any]) -> None:
        self.clusterStatus = status

    def _superseded(self, epoch: int, name: str) -> None:
        log.critical("{name} is in epoch {epoch}, beyond this one's: another was promoted", name=name, epoch=epoch)

    async def _keepDiverged(self, head: Head) -> None:
        snapshot = await self._journal.snapshot()
        name = f"diverged-{snapshot.epoch}-{snapshot.revision}-{snapshot.chainHash.hex()[:12]}.json"
        await deferToThreadPool(self._reactor, self._pool, self._state.write, name, snapshot.data)
        log.warn("what only this node had is kept in {name}", name=name)

    def _diverging(self, head: Head, offer: SnapshotOffer, publisher: IPublisher) -> Deferred[None]:
        return Deferred.fromCoroutine(self._keepDiverged(head))

    # --- certificates

    def _renew(self, name: str, request: bytes) -> Deferred[bytes]:
        return deferToThreadPool(
            self._reactor, self._pool, renew, self._document(), self.sealer, name, request, self._wallTime()
        )

    def _renewOwn(self) -> Deferred[None]:
        if not needsRenewal(self.identity().certificatePem, self._wallTime()):
            return succeed(None)
        return Deferred.fromCoroutine(self._askForCertificate()).addErrback(
            lambda failure: log.warn("the node's certificate was not renewed: {why}", why=failure.getErrorMessage())
        )

    async def _askForCertificate(self) -> None:
        identity = self.identity()
        request = signingRequest(identity.privateKeyPem)
        if self.publisher.isPrimary:
            certificate = await self._renew(self._name, request)
        elif self.follower.publisher is not None:
            certificate = await self.follower.publisher.renewCertificate(request)
        else:
            raise ClusterError("the primary cannot be reached")
        renewed = NodeIdentity.fromPem(evolve(identity, certificatePem=certificate).toPem())
        membership = evolve(self._membership, identity=renewed)
        await deferToThreadPool(self._reactor, self._pool, store, self._state, membership)
        self._membership = membership
        log.info("the node's certificate was renewed")
