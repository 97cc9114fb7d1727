"""Nodes without ports, threads or disks: journal, peering and administration put together as a node does, and linked by
cables. Time is a clock, but for certificates, which are looked at by the real one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IProtocol
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.actions import Actions
from cftpcluster.administration import Administration
from cftpcluster.appending import Appending
from cftpcluster.cluster.authority import makeServiceCertificate
from cftpcluster.cluster.dial import Address, NodeUnreachable
from cftpcluster.cluster.gate import LiveLinks
from cftpcluster.cluster.members import Waiters
from cftpcluster.cluster.membership import NodeIdentity
from cftpcluster.config.changes import Batch, Change, Promote, Put
from cftpcluster.config.document import Certificate, Document, Listener, Node
from cftpcluster.errors import Refused
from cftpcluster.events import Event
from cftpcluster.founding import Membership
from cftpcluster.journal.entry import Head, Proposal
from cftpcluster.journal.memory import MemoryJournal
from cftpcluster.peering import Peering
from cftpcluster.state import StateDirectory
from cftpcluster.status import OwnStatus, clusterStatus
from cftpcluster.testing.cables import Cable
from cftpcluster.testing.cluster import AUTHOR, soon
from cftpcluster.testing.membership import SmallCluster
from cftpcluster.testing.threads import InlinePool, InlineReactor
from cftpcluster.vocabulary import Author

CLUSTER_PORT = 8789


@define(eq=False, kw_only=True)
class MemoryNode:
    """One node.

    :ivar live: the revision that it has converged on; follows its head unless ``held``.
    :ivar refusal: what the next appends fail with.
    :ivar performed: what it was asked to do.
    """

    cluster: MemoryCluster
    membership: Membership
    state: StateDirectory
    address: str
    journal: MemoryJournal = field(factory=lambda: MemoryJournal({}))
    head: Head = field(init=False)
    peering: Peering = field(init=False)
    administration: Administration = field(init=False)
    events: list[Event] = field(factory=list)
    live: int = 0
    held: bool = False
    draining: bool = False
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    refusal: Exception | None = None
    performed: list[Mapping[str, Any]] = field(factory=list)
    appended: list[Proposal] = field(factory=list)
    _appending: Appending = field(init=False)
    _waiters: Waiters = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._waiters = Waiters(self.cluster.reactor)
        self.head = soon(self.journal.head())
        pool: Any = InlinePool()
        self._appending = Appending(
            journal=self.journal,
            publisher=lambda: self.peering.publisher,
            head=lambda: self.head,
            committed=self.committed,
            notify=lambda event: None,
        )
        self.peering = Peering(
            name=self.name,
            bind=self.address,
            state=self.state,
            reactor=self.cluster.reactor,
            pool=pool,
            journal=self.journal,
            membership=self.membership,
            head=self.head,
            document=self.document,
            notify=self.events.append,
            append=self.append,
            applied=self.committed,
            perform=self.performHere,
            relay=self.relayed,
            report=lambda: self.ownStatus().report(),
            status=self.status,
            changed=self.changed,
            proposeOwn=lambda change, expected: self.administration.propose(change, expected, AUTHOR),
            connect=self.cluster.connect,
        )
        self.administration = Administration(
            name=self.name,
            peering=self.peering,
            document=self.document,
            journalHead=lambda: self.head,
            append=self.append,
            liveHere=lambda revision, seconds: self._waiters.wait(lambda: self.live >= revision, seconds),
            status=self.status,
            actions={**self._actions().table(), "wait": self.waitedFor, "note": self.note},
        )

    def proposed(self, change: Change, expected: Mapping[Any, int], author: Author) -> Deferred[int]:
        return self.administration.propose(change, expected, author)

    def _actions(self) -> Actions:
        return Actions(
            peering=self.peering,
            document=self.document,
            openSecret=self.peering.sealer.open,
            propose=self.proposed,
            inThread=maybeDeferred,
        )

    @property
    def name(self) -> str:
        return self.membership.identity.name

    def document(self) -> Document:
        return self.head.document

    def append(self, proposal: Proposal) -> Deferred[int]:
        if self.refusal is not None:
            return fail(self.refusal)

        def appended(revision: int) -> int:
            self.appended.append(proposal)
            return revision

        return self._appending.append(proposal).addCallback(appended)

    def committed(self, head: Head) -> None:
        self.head = head
        self.peering.committed(head)
        if not self.held:
            self.converged()

    def converged(self) -> None:
        """It is live on its head."""
        self.live = self.head.revision
        self.changed()

    def changed(self) -> None:
        self._waiters.look()
        if hasattr(self, "peering"):
            self.peering.statusChanged()

    def performHere(self, action: str, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        return self.administration.performHere(action, arguments)

    def relayed(self, *asked: Any) -> Deferred[Mapping[str, Any]]:
        return self.administration.perform(*asked)

    def waitedFor(self, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        return self.administration.waitAction(arguments)

    def note(self, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        self.performed.append(arguments)
        return succeed({"noted": self.name})

    def ownStatus(self) -> OwnStatus:
        return OwnStatus(
            name=self.name,
            address=self.address,
            head=self.head,
            live=self.live,
            draining=self.draining,
            problems=self.problems,
            remarks=self.remarks,
        )

    def status(self) -> dict[str, Any]:
        return clusterStatus(self.ownStatus(), self.peering)

    def row(self, name: str) -> dict[str, Any]:
        """What it says of a node."""
        (row,) = [row for row in self.status()["nodes"] if row["name"] == name]
        return dict(row)

    def change(self, *changes: Change, author: Author = AUTHOR) -> int:
        """Append changes here, as one revision."""
        number = len(self.cluster.requests)
        self.cluster.requests.append(f"request {number}")
        revision: int = soon(
            self.append(Proposal(Batch(changes), {}, author, self.name, self.cluster.requests[-1], 0.0))
        )
        return revision


@define(eq=False)
class MemoryCluster:
    """:ivar unreachable: names of nodes that nobody reaches.
    :ivar dialled: where nodes dialled to, in order.
    :ivar parts: who reaches whom: those of one part; everybody, where there is none.
    """

    folder: Path
    authority: SmallCluster = field(factory=lambda: SmallCluster(time.time()))
    reactor: InlineReactor = field(factory=InlineReactor)
    nodes: dict[str, MemoryNode] = field(factory=dict)
    cables: list[Cable] = field(factory=list)
    unreachable: set[str] = field(factory=set)
    parts: list[set[str]] = field(factory=list)
    dialled: list[Address] = field(factory=list)
    requests: list[str] = field(factory=list)

    def found(self, name: str = "a", address: str = "127.0.0.1") -> MemoryNode:
        """The primary."""
        node = self._make(name, address, self.authority.found(name, address))
        chain, key = makeServiceCertificate([address], time.time())
        certificate = Certificate(name="default", chain=chain.decode(), key=self.authority.sealer.seal(key))
        listener = Listener(name="cluster", kind="cluster", port=CLUSTER_PORT)
        keys = [Put("keys", key) for key in self.authority.document.keys.values()]
        parts = (Put("certificates", certificate), Put("listeners", listener))
        founding = Batch((Promote(1, name, "test"), self._entry(name), *keys, *parts))
        node.committed(soon(node.journal.append(Proposal(founding, {}, AUTHOR, name, "founding", 0.0))))
        node.peering.start()
        return node

    def join(self, name: str, address: str, primary: MemoryNode) -> MemoryNode:
        """A further node that has joined and follows."""
        identity = self.authority.add(name, address)
        primary.change(self._entry(name))
        known = primary.document().nodes[primary.name]
        peer = Node(name=known.name, address=known.address, fingerprint=known.fingerprint)
        node = self._make(name, address, identity, peers=(peer,))
        node.peering.start()
        self.advance(1)
        return node

    def _entry(self, name: str) -> Put:
        return Put("nodes", evolve(self.authority.document.nodes[name], revision=0, number=0))

    def _make(self, name: str, address: str, identity: NodeIdentity, peers: Sequence[Node] = ()) -> MemoryNode:
        state = StateDirectory(self.folder / name)
        state.prepare()
        port = CLUSTER_PORT if peers else 0
        membership = Membership(identity, self.authority.sealer.keys, tuple(peers), port)
        self.nodes[name] = MemoryNode(cluster=self, membership=membership, state=state, address=address)
        return self.nodes[name]

    def connect(
        self,
        reactor: Any,
        address: Address,
        *,
        identity: NodeIdentity,
        nodes: Callable[[], Mapping[str, Node]],
        expectedName: str,
        buildLink: Callable[[str], IProtocol],
        links: LiveLinks,
        wallClock: Callable[[], float],
    ) -> Deferred[IProtocol]:
        """As :func:`cftpcluster.cluster.dial.connectLink`, over a cable."""
        self.dialled.append(address)
        other = self.nodes.get(expectedName)
        if other is None or {expectedName, identity.name} & self.unreachable or address.host != other.address:
            return fail(NodeUnreachable(f"{address}: connection refused"))
        if self.parts and not any({expectedName, identity.name} <= part for part in self.parts):
            return fail(NodeUnreachable(f"{address}: no route"))
        if identity.name not in other.peering.neighbours.nodes():
            return fail(Refused(f"{address}: not a member"))
        near: Any = buildLink(expectedName)
        far: Any = other.peering.gate._buildLink(identity.name)
        self.cables.append(cable := Cable(near, far))
        for live, link, end, name, known in (
            (links, near, cable.near, expectedName, nodes()),
            (other.peering._live, far, cable.far, identity.name, other.peering.neighbours.nodes()),
        ):
            live.add(end, name, known[name].fingerprint)
            link.whenLost().addCallback(lambda _, live=live, end=end: live.discard(end))
        return succeed(near)

    def advance(self, seconds: float) -> None:
        """Let time pass, and bytes with it."""
        for _ in range(max(1, round(seconds / 0.1))):
            self.flush()
            self.reactor.advance(0.1)
        self.flush()

    def flush(self) -> None:
        """Carry everything that is under way."""
        moved = [True]
        while any(moved):
            self.reactor.advance(0)
            moved = [cable.move() for cable in self.cables]
        self.cables = [cable for cable in self.cables if not cable.gone]

    def cut(self, *names: str) -> None:
        """These nodes are not reached any more, and their links are gone."""
        self.unreachable.update(names)
        for cable in self.cables:
            cable.cut()
        self.advance(0.2)

    def part(self, *parts: str) -> None:
        """Part the network: the names of one part are letters of one word. Without any it is whole again."""
        self.parts = [set(part) for part in parts]
        for cable in self.cables:
            cable.cut()
        self.advance(0.2)

    def kill(self, node: MemoryNode) -> None:
        """End a node at once; what is in its journal stays."""
        self.unreachable.add(node.name)
        stopping = Deferred.fromCoroutine(node.peering.stop())
        for cable in self.cables:
            cable.cut()
        self.advance(3)
        soon(stopping)

    def restart(self, node: MemoryNode, journal: MemoryJournal | None = None) -> MemoryNode:
        """Start a node again that was killed, with what is in its journal, or with another one."""
        self.unreachable.discard(node.name)
        started = MemoryNode(
            cluster=self,
            membership=node.membership,
            state=node.state,
            address=node.address,
            journal=journal or node.journal,
        )
        started.converged()
        self.nodes[node.name] = started
        started.peering.start()
        return started

    def stop(self) -> None:
        """End every node, and look that nothing is left."""
        for node in self.nodes.values():
            stopping = Deferred.fromCoroutine(node.peering.stop())
            self.advance(3)
            soon(stopping)
        left = self.reactor.getDelayedCalls()
        assert not left, left


class ClusterCase(SynchronousTestCase):
    """A primary ``a``, and ``b`` and ``c``, which follow it."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        self.cluster = MemoryCluster(folder)
        self.a = self.cluster.found("a", "127.0.0.1")
        self.b = self.cluster.join("b", "127.0.0.2", self.a)
        self.c = self.cluster.join("c", "127.0.0.3", self.a)
        self.cluster.advance(2)

    def tearDown(self) -> None:
        self.cluster.stop()

    def now(self, deferred: Deferred[Any]) -> Any:
        """What comes of it when all that is under way has arrived."""
        outcome: list[Any] = []
        failures: list[Any] = []
        _ = deferred.addCallbacks(outcome.append, failures.append)
        self.cluster.advance(0.5)
        if failures:
            failures[0].raiseException()
        self.assertEqual(len(outcome), 1, "nothing came yet")
        return outcome[0]

    def refused(self, deferred: Deferred[Any], error: type[Exception]) -> Any:
        """The error that comes of it."""
        return self.assertRaises(error, self.now, deferred)
