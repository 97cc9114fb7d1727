"""Links without sockets: cables whose bytes a test moves, holds back, loses or counts.

Nothing here opens a socket, starts a thread or waits: time is a :class:`~twisted.internet.task.Clock`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IProtocol, ITCPTransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from ..cluster.link import Link, Method
from ..cluster.links import Links
from ..cluster.mesh import Mesh
from ..cluster.messages import Hello
from ..cluster.records import Table
from ..cluster.shared import SharedRows
from ..cluster.uplink import Peer, Uplink, peersOf
from ..errors import ClusterError, Refused
from ..events import Event
from .cluster import ClusterNode

RECEIVE_BYTES = 64 * 1024


@implementer(ITCPTransport)
@define(eq=False)
class CableEnd:
    """One end of a cable, as its protocol has it.

    :ivar protocol: what is plugged in here.
    :ivar held: whether what is written here stays here; a line that is dead without anybody being told.
    :ivar written: how many bytes were written.
    :ivar noDelay: whether small writes go out at once.
    """

    protocol: IProtocol
    other: CableEnd = field(init=False)
    held: bool = False
    written: int = 0
    noDelay: bool = False
    gone: bool = False
    closing: bool = False
    out: bytearray = field(factory=bytearray)

    def write(self, data: bytes) -> None:
        if not self.closing and not self.gone:
            self.written += len(data)
            self.out += data

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        self.closing = True

    def abortConnection(self) -> None:
        self.out.clear()
        self.end(ConnectionAborted())
        if not self.held:
            self.other.end(ConnectionAborted())

    def end(self, reason: Exception) -> None:
        """The connection is over at this end."""
        if not self.gone:
            self.gone = True
            self.protocol.connectionLost(Failure(reason))

    def move(self) -> bool:
        """Carry some of what was written to the other end; whether anything happened."""
        if self.held or self.gone:
            return False
        if self.out:
            data = bytes(self.out[:RECEIVE_BYTES])
            del self.out[:RECEIVE_BYTES]
            if not self.other.gone:
                self.other.protocol.dataReceived(data)
            return True
        if self.closing:
            self.end(ConnectionDone())
            self.other.end(ConnectionDone())
            return True
        return False

    def loseWriteConnection(self) -> None:
        self.loseConnection()

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.noDelay = bool(enabled)

    def getTcpNoDelay(self) -> bool:
        return self.noDelay

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass

    def getTcpKeepAlive(self) -> bool:
        return True

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 8789)

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.2", 50000)


@define(eq=False, init=False)
class Cable:
    """Two protocols, plugged together; the first one dialled."""

    near: CableEnd
    far: CableEnd

    def __init__(self, near: IProtocol, far: IProtocol) -> None:
        self.near, self.far = CableEnd(near), CableEnd(far)
        self.near.other, self.far.other = self.far, self.near
        far.makeConnection(self.far)
        near.makeConnection(self.near)

    @property
    def gone(self) -> bool:
        return self.near.gone and self.far.gone

    def move(self) -> bool:
        """Carry some bytes each way; whether there were any."""
        near, far = self.near.move(), self.far.move()
        return near or far

    def flush(self) -> None:
        """Carry bytes until there are none."""
        while self.move():
            pass

    def hold(self, held: bool = True) -> None:
        """Lose touch both ways, without anybody being told; or find it again."""
        self.near.held = self.far.held = held

    def cut(self) -> None:
        """End the connection; both ends are told."""
        for end in (self.near, self.far):
            end.held = False
            end.end(ConnectionAborted())


@define(eq=False)
class Linked:
    """A node of a :class:`Network`.

    :ivar events: what was notified.
    """

    node: ClusterNode
    links: Links
    uplink: Uplink
    rows: SharedRows
    mesh: Mesh
    events: list[Event]


@define(eq=False)
class Network:
    """Nodes whose links are cables.

    :ivar cables: those that were ever plugged, oldest first.
    :ivar dialled: who dialled whom, in order.
    :ivar unreachable: names of nodes that nobody reaches.
    :ivar oneWay: pairs of names of which the first cannot reach the second.
    :ivar liars: names of nodes that fail to prove their names.
    :ivar tables: the tables of the nodes' rows.
    """

    clock: Clock
    members: dict[str, Linked] = field(factory=dict)
    cables: list[Cable] = field(factory=list)
    dialled: list[tuple[str, str]] = field(factory=list)
    unreachable: set[str] = field(factory=set)
    oneWay: set[tuple[str, str]] = field(factory=set)
    liars: set[str] = field(factory=set)
    tables: dict[str, Table] = field(
        factory=lambda: {
            "durable": Table(name="durable", durable=True, most=20_000),
            "passing": Table(name="passing", durable=False, most=20_000),
        }
    )

    def add(self, node: ClusterNode, seeds: tuple[Peer, ...] = (), seed: int = 1) -> Linked:
        """Give a node its links. ``seeds`` are where other nodes are while it has no document."""
        events: list[Event] = []

        def rowsAccepted(caller: str, link: Link) -> Mapping[str, Method]:
            return mesh.accepted(caller, link)

        links = Links(
            clock=self.clock,
            wallTime=self.clock.seconds,
            hello=lambda: Hello.fromHead(node.name, node.publisher.head),
            publisher=node.publisher,
            inThread=maybeDeferred,
            rowsAccepted=rowsAccepted,
            heard=lambda hello: None,
            standStill=lambda epoch: succeed(Hello.fromHead(node.name, node.publisher.head)),
        )
        rows = SharedRows(
            node=node.name,
            # Started later, it is further on.
            incarnation=1 + round(self.clock.seconds() * 1000),
            clock=self.clock,
            tables=self.tables,
            members=lambda: node.document.nodes or {peer.name for peer in seeds},
        )
        mesh = Mesh(
            node=node.name,
            clock=self.clock,
            random=Random(seed),
            dial=lambda peer, build: self.dial(node.name, peer, build),
            peers=lambda: peersOf(node.document, node.name) or seeds,
            links=links,
            rows=rows,
            perform=lambda action, arguments, author: node._perform(action, arguments),
            changed=lambda: None,
        )
        uplink = Uplink(
            clock=self.clock,
            random=Random(seed),
            dial=lambda peer, build: self.dial(node.name, peer, build),
            peers=lambda: peersOf(node.document, node.name) or seeds,
            links=links,
            follower=node.follower,
            inThread=maybeDeferred,
            notify=events.append,
        )
        self.members[node.name] = linked = Linked(node, links, uplink, rows, mesh, events)
        return linked

    def dial(self, caller: str, peer: Peer, build: Callable[[str], IProtocol]) -> Deferred[IProtocol]:
        self.dialled.append((caller, peer.name))
        if peer.name in self.liars:
            return fail(Refused(f"{peer.address}: the certificate is not of this cluster"))
        reached = not {peer.name, caller} & self.unreachable and (caller, peer.name) not in self.oneWay
        if peer.name not in self.members or not reached:
            return fail(ClusterError(f"{peer.address}: connection refused"))
        near = build(peer.name)
        self.cables.append(Cable(near, self.members[peer.name].links.buildLink(caller)))
        return succeed(near)

    def flush(self) -> None:
        """Carry everything that is under way, and let what is due happen."""
        while True:
            self.clock.advance(0)
            moved = [cable.move() for cable in self.cables]
            if not any(moved):
                break
        self.cables = [cable for cable in self.cables if not cable.gone]

    def advance(self, seconds: float, step: float = 0.1) -> None:
        """Let time pass, and bytes with it."""
        self.flush()
        for _ in range(max(1, round(seconds / step))):
            self.clock.advance(step)
            self.flush()
