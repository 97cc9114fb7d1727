"""A simulated network: ordered connections whose packets take their time, are held back by partitions, or are lost.

As TCP does: what is written arrives in its order or not at all; where a path is blocked it waits, and comes late when
the path is open again; a connection that one end has given up answers the other with a reset.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from cftpcluster.cluster.dial import NodeUnreachable
from cftpcluster.cluster.link import Link
from cftpcluster.errors import Refused

from .clock import Timeline

if TYPE_CHECKING:
    from .machines import Machine, Process

DATA, FIN, RESET, WELCOME = "data", "fin", "reset", "welcome"


@frozen(eq=False)
class Plain:
    """Plain values, as they are when they have been written and read again."""

    value: Any


class PacketLink(Link):
    """A link that hands whole messages to the transport, which costs a tenth of their bytes."""

    def serialize(self, object: Any, *_: Any, **__: Any) -> Plain:
        return Plain(_copied(object))

    def unserialize(self, sexp: Plain, *_: Any) -> Any:
        return sexp.value

    def sendEncoded(self, obj: Any) -> None:
        self.transport.write(_asReceived(obj))

    def dataReceived(self, chunk: Any) -> None:
        if self._aborted:
            return
        self._heard = True
        try:
            self.callExpressionReceived(chunk)
        except Exception as error:  # noqa: BLE001 - as the link itself
            self._cut(f"{type(error).__name__}: {error}"[:200])


def _asReceived(value: Any) -> Any:
    """What a message is when it has been read again."""
    return [_asReceived(one) for one in value] if type(value) in (list, tuple) else value


def _copied(value: Any) -> Any:
    kind = type(value)
    if kind is list:
        return [_copied(one) for one in value]
    if kind is tuple:
        return tuple(_copied(one) for one in value)
    if kind is dict:
        return {key: _copied(one) for key, one in value.items()}
    return value


@implementer(ITCPTransport)
@define(eq=False, repr=False)
class End:
    """One end of a connection.

    :ivar waiting: what was written here and has not arrived.
    :ivar most: how much waited at most, in packets.
    """

    network: Network
    process: Process
    protocol: Any = None
    other: End = field(init=False)
    gone: bool = False
    waiting: deque[tuple[float, str, Any]] = field(factory=deque)
    most: int = 0
    _closing: bool = False
    _last: float = 0.0
    onGone: Callable[[], None] = field(default=lambda: None)

    # --- what the protocol asks for

    def write(self, data: Any) -> None:
        if not self._closing and not self.gone:
            self.network.send(self, DATA, data)

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        if not self._closing and not self.gone:
            self._closing = True
            self.network.send(self, FIN, None)

    def abortConnection(self) -> None:
        if not self.gone:
            self._closing = True
            self.process.reactor.callLater(0, self.end, ConnectionAborted())
            self.network.reset(self)

    def loseWriteConnection(self) -> None:
        self.loseConnection()

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass

    def getTcpKeepAlive(self) -> bool:
        return True

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", self.process.machine.address, 8789)

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", self.other.process.machine.address, 8789)

    # --- what happens to it

    def arrived(self, kind: str, data: Any) -> None:
        """A packet is here, in the process that has this end."""
        if self.gone:
            if kind != RESET:
                self.network.reset(self)
        elif kind == DATA:
            if self.protocol is not None and not self._closing:
                self.protocol.dataReceived(data)
        elif kind == WELCOME:
            data()
        elif kind == FIN:
            if not self._closing:
                self._closing = True
                self.network.send(self, FIN, None)
            self.end(ConnectionDone())
        else:
            self.end(ConnectionLost())

    def end(self, reason: Exception) -> None:
        """The connection is over at this end."""
        if not self.gone:
            self.gone = self._closing = True
            if self.protocol is not None:
                self.protocol.connectionLost(Failure(reason))
            self.onGone()


@define(eq=False, repr=False)
class Network:
    """All connections, and which paths are open.

    :ivar bytes: whether links write bytes, which are cut anywhere, rather than whole messages.
    :ivar blocked: pairs of names between which nothing arrives, in that direction.
    :ivar latency: the mean time that a packet takes, in seconds; by the direction's names where they are slow.
    """

    timeline: Timeline
    random: Random
    bytes: bool
    latency: float
    machines: dict[str, Machine] = field(factory=dict)
    blocked: dict[tuple[str, str], int] = field(factory=dict)
    slow: dict[tuple[str, str], float] = field(factory=dict)
    ends: list[End] = field(factory=list)

    # --- faults

    def block(self, paths: list[tuple[str, str]]) -> None:
        for path in paths:
            self.blocked[path] = self.blocked.get(path, 0) + 1

    def unblock(self, paths: list[tuple[str, str]]) -> None:
        """Open paths again; what waits comes when its sender tries anew."""
        for path in paths:
            self.blocked[path] -= 1
            if not self.blocked[path]:
                del self.blocked[path]
        for end in self._standing():
            if end.waiting and self._path(end) in paths:
                self.timeline.callLater(self.random.random() * 1.5, self._deliver, end)

    def cut(self) -> tuple[str, str] | None:
        """Something between two nodes resets their connection; what is under way is lost."""
        standing = [end for end in self._standing() if not end.gone and not end.other.gone]
        if not standing:
            return None
        end = self.random.choice(standing)
        for one in (end, end.other):
            self.reset(one, always=True)
        return self._path(end)

    def killed(self, process: Process, quietly: bool) -> None:
        """A process is gone; its system closes its connections, unless it is gone as well."""
        for end in self._standing():
            if end.process is process:
                end.gone = end._closing = True
                if quietly:
                    end.waiting.clear()
                else:
                    self.send(end, RESET, None)

    def _standing(self) -> list[End]:
        self.ends = [end for end in self.ends if not (end.gone and end.other.gone and not end.waiting)]
        return self.ends

    # --- packets

    def _path(self, end: End) -> tuple[str, str]:
        return end.process.machine.name, end.other.process.machine.name

    def _seconds(self, path: tuple[str, str]) -> float:
        mean = self.slow.get(path, self.latency)
        return mean * (0.5 + self.random.expovariate(2.0))

    def send(self, end: End, kind: str, data: Any) -> None:
        """Send in order, after whatever was sent before."""
        if kind == DATA and self.bytes and len(data) > 1 and self.random.random() < 0.1:
            middle = self.random.randrange(1, len(data))
            self._queue(end, kind, data[:middle])
            data = data[middle:]
        self._queue(end, kind, data)

    def _queue(self, end: End, kind: str, data: Any) -> None:
        end._last = max(end._last, self.timeline.now + self._seconds(self._path(end)))
        end.waiting.append((end._last, kind, data))
        end.most = max(end.most, len(end.waiting))
        self.timeline.callLater(end._last - self.timeline.now, self._deliver, end)

    def reset(self, end: End, always: bool = False) -> None:
        """Tell the other end that this one is gone, at once and unreliably; what was under way is lost."""
        end.waiting.clear()
        path = self._path(end)
        if always or path not in self.blocked:
            self.timeline.callLater(self._seconds(path), self._arrive, end.other, RESET, None)

    def _deliver(self, end: End) -> None:
        """Whatever of an end's packets is due arrives, if it can."""
        if self._path(end) in self.blocked:
            return
        now = self.timeline.now + 1e-9
        while end.waiting and end.waiting[0][0] <= now:
            _, kind, data = end.waiting.popleft()
            self._arrive(end.other, kind, data)

    def _arrive(self, end: End, kind: str, data: Any) -> None:
        reactor = end.process.reactor
        if reactor.paused:
            reactor.callLater(0, end.arrived, kind, data)
        elif reactor.alive:
            end.arrived(kind, data)
        elif kind != RESET and end.process.machine.powered:
            self.reset(end)

    # --- connecting

    def connect(
        self, caller: Process, host: str, expectedName: str, buildLink: Callable[[str], Any], links: Any
    ) -> Deferred[Any]:
        """As :func:`cftpcluster.cluster.dial.connectLink`: a handshake, both ends looking whether the other is a
        member, and the link."""
        dialled = Dialled(self, caller, expectedName, buildLink, links)
        target = next((one for one in self.machines.values() if one.address == host), None)
        if target is not None:
            self.timeline.callLater(3 * self._seconds((caller.machine.name, target.name)), dialled.reach, target)
        return dialled.done


@define(eq=False, repr=False)
class Dialled:
    """A connection that is being made."""

    network: Network
    caller: Process
    expectedName: str
    buildLink: Callable[[str], Any]
    links: Any
    done: Deferred[Any] = field(init=False)
    _end: End | None = None
    _cancelled: bool = False

    def __attrs_post_init__(self) -> None:
        self.done = Deferred(self._cancel)

    def _cancel(self, _: Any) -> None:
        self._cancelled = True
        if self._end is not None:
            self._end.abortConnection()

    def reach(self, target: Machine) -> None:
        """The other machine was reached, if it can be; without an answer the caller gives up some time."""
        there, back = (self.caller.machine.name, target.name), (target.name, self.caller.machine.name)
        if self._cancelled or {there, back} & set(self.network.blocked) or not target.powered:
            return
        process = target.process
        if process is None:
            self._later(back, NodeUnreachable(f"{target.address}: connection refused"))
        else:
            # A process that is paused answers when it goes on.
            process.reactor.callLater(0, self._accept, process, back)

    def _later(self, path: tuple[str, str], error: Exception) -> None:
        def fail() -> None:
            if not self._cancelled and path not in self.network.blocked:
                self.caller.reactor.callLater(0, self._failed, error)

        self.network.timeline.callLater(self.network._seconds(path), fail)

    def _failed(self, error: Exception) -> None:
        if not self._cancelled and not self.done.called:
            self.done.errback(error)

    def _accept(self, process: Process, back: tuple[str, str]) -> None:
        name = self.caller.machine.name
        node = process.peering.neighbours.nodes().get(name)
        if node is None or node.fingerprint != self.caller.fingerprint:
            self._later(back, Refused(f'{process.machine.address}: node "{name}" is not a member of this cluster'))
            return
        network = self.network
        near, far = End(network, self.caller), End(network, process)
        near.other, far.other, self._end = far, near, near
        near.onGone = lambda: self._failed(NodeUnreachable(f"{process.machine.address}: the connection was lost"))
        network.ends += [near, far]
        far.protocol = self._tuned(process.buildLink(name))
        self._register(process.links, far, name, node.fingerprint)
        network.send(far, WELCOME, lambda: self._welcome(near, process.machine.name))
        far.protocol.makeConnection(far)

    def _welcome(self, near: End, name: str) -> None:
        if self._cancelled:
            near.abortConnection()
            return
        node = self.caller.peering.neighbours.nodes().get(name)
        if name != self.expectedName or node is None or node.fingerprint != near.other.process.fingerprint:
            near.abortConnection()
            self._failed(Refused(f'{near.other.process.machine.address}: "{name}" is not a member'))
            return
        near.protocol = self._tuned(self.buildLink(name))
        self._register(self.links, near, name, node.fingerprint)
        near.protocol.makeConnection(near)
        self.done.callback(near.protocol)

    def _register(self, links: Any, end: End, name: str, fingerprint: str) -> None:
        links.add(end, name, fingerprint)
        end.onGone = lambda: links.discard(end)

    def _tuned(self, link: Any) -> Any:
        if not self.network.bytes:
            link.__class__ = PacketLink
        return link
