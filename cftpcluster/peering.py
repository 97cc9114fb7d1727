"""This node among the others: its cluster port, its links, and which part it has in replication.

Puts the pieces of :mod:`cftpcluster.cluster` together; appends nothing and makes nothing live itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random, SystemRandom
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.plugin import IPlugin
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from .branches import Branches
from .changeover import ChangeOver
from .cluster.admission import JoinServer
from .cluster.dial import connectLink
from .cluster.follower import Follower
from .cluster.gate import Gate, LiveLinks
from .cluster.link import Link, Method
from .cluster.links import Links
from .cluster.lookout import Lookout
from .cluster.membership import NodeIdentity
from .cluster.mesh import Mesh
from .cluster.messages import Hello, SnapshotOffer
from .cluster.publisher import Publisher
from .cluster.rows import RowsKeeper
from .cluster.sealing import Sealer
from .cluster.shared import SharedRows
from .cluster.uplink import Uplink
from .config.changes import Change
from .config.document import Document
from .events import Notify
from .following import Following
from .founding import Membership
from .interfaces import IJournal, IPublisher, IServer, IServerFactory
from .journal.entry import Head, Proposal
from .neighbours import Neighbours
from .networks import Networks
from .primacy import Primacy
from .promotion import Promotion
from .renewal import Renewal
from .state import StateDirectory
from .tables import TABLES
from .telling import Telling
from .vocabulary import Author

log = Logger()


STILL_SECONDS = 10.0
"""How long a node takes nothing from its primary for the sake of one that is being promoted."""


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

    :ivar name: this node's.
    :ivar _append: appends a proposal on this node, its author's rights checked; fires with its revision.
    :ivar _applied: told of heads that are durable here and did not come by ``_append``.
    :ivar _perform: does something on this node.
    :ivar _report: what this node says of itself.
    :ivar _status: the cluster's status, for followers.
    :ivar _changed: told when a node's status changed.
    :ivar _wallTime: seconds since the epoch.
    :ivar _keeper: keeps durable rows on disk; ``None``: in memory alone.
    :ivar rows: what all nodes know, whoever is primary.
    """

    name: str
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
    _toldAt: float = field(default=0.0, init=False)
    publisher: Publisher = field(init=False)
    follower: Follower = field(init=False)
    gate: Gate = field(init=False)
    uplink: Uplink = field(init=False)
    rows: SharedRows = field(init=False)
    mesh: Mesh = field(init=False)
    _telling: Telling = field(init=False)
    _live: LiveLinks = field(factory=LiveLinks, init=False)
    _links: Links = field(init=False)
    neighbours: Neighbours = field(init=False)
    primacy: Primacy = field(init=False)
    promotion: Promotion = field(init=False)
    following: Following = field(init=False)
    branches: Branches = field(init=False)
    _renewal: Renewal = field(init=False)
    changeOver: ChangeOver = field(init=False)
    _stopped: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        inThread = partial(deferToThreadPool, self._reactor, self._pool)
        self._renewal = Renewal(
            membership=self._membership,
            publisher=lambda: self.publisher,
            follower=lambda: self.follower,
            document=self._document,
            state=self._state,
            clock=self._reactor,
            inThread=inThread,
            wallTime=self._wallTime,
        )
        self.changeOver = ChangeOver(
            renewal=self._renewal,
            document=self._document,
            isPrimary=lambda: self.publisher.isPrimary,
            certificates=self._live.certificates,
            proposeOwn=self._proposeOwn,
            clock=self._reactor,
            changed=self._changed,
        )
        # The services that are about to start need the keys that the document is sealed with.
        self.changeOver.take(self._head.document)
        self.publisher = Publisher(
            node=self.name,
            head=self._head,
            journal=self._journal,
            clock=self._reactor,
            newId=self._newId,
            propose=self._append,
            relay=self._relay,
            renewCertificate=self._renewal.certificateFor,
            status=self._status,
            beyond=self._beyond,
            changed=self._changed,
        )
        self.following = Following(
            follower=lambda: self.follower,
            publisher=self.publisher,
            state=self._state,
            clock=self._reactor,
            inThread=inThread,
            hurry=self._hurry,
            changed=self._changed,
        )
        self.branches = Branches(
            state=self._state,
            journal=self._journal,
            inThread=inThread,
            wallTime=self._wallTime,
            changed=self._changed,
        )
        self.follower = Follower(
            node=self.name,
            head=self._head,
            journal=self._journal,
            clock=self._reactor,
            applied=self._applied,
            diverging=self._diverging,
            perform=self._perform,
            report=self._report,
            clusterStatus=self._clusterStatusCame,
            changed=self.following.changed,
            inThread=inThread,
            leastEpoch=self._membership.epoch,
        )
        self._links = Links(
            clock=self._reactor,
            wallTime=self._wallTime,
            hello=lambda: Hello.fromHead(self.name, self.publisher.head),
            publisher=self.publisher,
            inThread=inThread,
            rowsAccepted=self._rowsAccepted,
            heard=self._heard,
            standStill=self._standStill,
        )
        self.neighbours = Neighbours(
            name=self.name,
            bind=self._bind,
            reactor=self._reactor,
            membership=self._membership,
            identity=self.identity,
            document=self._document,
            publisher=self.publisher,
            links=self._links,
            live=self._live,
            connect=self._connect,
            wallTime=self._wallTime,
        )
        self._makeMesh()
        admission = JoinServer(
            self._reactor,
            self.name,
            self._document,
            self._proposeOwn,
            lambda: self.sealer,
            self._notify,
            self._wallTime,
        )
        self.gate = Gate(
            self._reactor,
            self.identity,
            self.neighbours.nodes,
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
            dial=self.neighbours.dial,
            peers=self.neighbours.peers,
            links=self._links,
            follower=self.follower,
            inThread=inThread,
            notify=self._notify,
        )
        self._makePrimacy(inThread)

    def _newId(self) -> str:
        return self._random.randbytes(16).hex()

    def _makePrimacy(self, inThread: Callable[..., Deferred[Any]]) -> None:
        lookout = Lookout(
            clock=self._reactor,
            dial=self.neighbours.dial,
            links=self._links,
            peers=self.neighbours.unlinked,
            heard=self._heard,
        )
        self.primacy = Primacy(
            node=self.name,
            clock=self._reactor,
            journal=self._journal,
            publisher=self.publisher,
            follower=self.follower,
            uplink=self.uplink,
            lookout=lookout,
            inThread=inThread,
            survey=self.neighbours.survey,
            read=self.neighbours.read,
            committed=self._applied,
            notify=self._notify,
            changed=self._changed,
        )
        self.promotion = Promotion(
            primacy=self.primacy,
            journal=self._journal,
            publisher=self.publisher,
            follower=self.follower,
            clock=self._reactor,
            committed=self._applied,
            contactSeconds=self.following.contactSeconds,
            stopFollowing=self._stopFollowing,
            newId=self._newId,
            wallTime=self._wallTime,
        )

    def _makeMesh(self) -> None:
        self.rows = SharedRows(
            node=self.name,
            incarnation=self._keeper.incarnation if self._keeper is not None else int(self._wallTime()),
            clock=self._reactor,
            tables=TABLES,
            members=self.neighbours.nodes,
        )
        if self._keeper is not None:
            self._keeper.keep(self.rows)
        self.mesh = Mesh(
            node=self.name,
            clock=self._reactor,
            random=self._random,
            dial=self.neighbours.dial,
            peers=self.neighbours.peers,
            links=self._links,
            rows=self.rows,
            # This node checks the author's rights by its own document.
            perform=lambda action, arguments, author: self._relay(self.name, action, arguments, author),
            changed=self._changed,
        )
        self._telling = Telling(self.name, self.rows, self._status, self._reactor)

    # --- who we are

    def identity(self) -> NodeIdentity:
        return self._renewal.membership.identity

    @property
    def membership(self) -> Membership:
        """What this node is a member with now."""
        return self._renewal.membership

    @property
    def sealer(self) -> Sealer:
        """Seals and opens with the cluster keys that this node has now."""
        return self._renewal.membership.sealer

    # --- the node's life

    def start(self) -> None:
        """Take part: follow, or find out whether this node is still primary."""
        if self.publisher.isPrimary:
            # Nothing is to be appended from now on, before that is known.
            self.primacy.start()
        _ = Deferred.fromCoroutine(self._load()).addErrback(lambda failure: log.failure("not read", failure))
        self.mesh.start()
        self._telling.start()
        self._renewal.start()
        self.changeOver.start()

    async def _load(self) -> None:
        try:
            await self.branches.load()
            await self.following.load()
        finally:
            if not self._stopped:
                self.primacy.start()

    def committed(self, head: Head) -> None:
        """A head is committed on this node, wherever it came from."""
        self.changeOver.take(head.document)
        self.publisher.published(head)
        self.follower.head = head
        self.primacy.committed(head)
        self._live.dropRemoved(head.document.nodes)
        self.mesh.nodesChanged()
        self.rows.membersChanged()

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with this node's place among the others."""
        kept = [self._keeper.problem] if self._keeper is not None and self._keeper.problem else []
        own = [self.changeOver.problem] if self.changeOver.problem else []
        return [*kept, *own, *self.branches.problems]

    @property
    def warnings(self) -> Sequence[str]:
        """What an administrator should know of it, although the node serves."""
        return [*self.primacy.warnings, *self.changeOver.warnings]

    def statusChanged(self) -> None:
        """This node's status changed: the others are told before long."""
        self.follower.changed()
        self.publisher.changed()
        self._telling.changed()

    async def stop(self) -> None:
        """End every link."""
        self._stopped = True
        self.primacy.stop()
        self._renewal.stop()
        self.changeOver.stop()
        self._telling.stop()
        await self.mesh.stop()
        self.rows.stop()
        await self.uplink.stop()
        self.publisher.stop()
        self._live.abort()

    # --- what the pieces tell

    def _clusterStatusCame(self, status: Mapping[str, Any]) -> None:
        self.clusterStatus, self._toldAt = status, self._reactor.seconds()

    def toldSeconds(self) -> float:
        """How old ``clusterStatus`` is."""
        seconds: float = self._reactor.seconds() - self._toldAt
        return seconds

    def _hurry(self) -> None:
        self.uplink.hurry()

    def _standStill(self, epoch: int) -> Deferred[Hello]:
        quiet = self.follower.standStill(epoch, STILL_SECONDS)
        return quiet.addCallback(lambda _: Hello.fromHead(self.name, self.publisher.head))

    def _heard(self, hello: Hello) -> None:
        self.primacy.heard(hello)

    def _beyond(self, node: str, epoch: int, revision: int) -> None:
        self.primacy.beyond(node, epoch, revision)

    def _diverging(self, head: Head, offer: SnapshotOffer, publisher: IPublisher) -> Deferred[None]:
        return Deferred.fromCoroutine(self.branches.keep(publisher, self.follower.publisherName))

    def _rowsAccepted(self, node: str, link: Link) -> Mapping[str, Method]:
        return self.mesh.accepted(node, link)

    async def _stopFollowing(self) -> None:
        _ = self.uplink.stop()
        await self.following.forget()
