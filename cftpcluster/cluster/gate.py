"""The cluster port's server end: lets members through to the link, joining nodes to the join protocol, nobody else.

The conversation: TLS 1.3 with ALPN (RFC 8446, RFC 7301). For a *link* the peer shows a node certificate, which OpenSSL
verifies within the handshake; then its name and key are looked up among the document's nodes; then this end sends one
frame, ``{"welcome": true}`` or ``{"refused": "why"}``, since a TLS 1.3 client is done before the server has seen its
certificate. Only then is the link's protocol built and given bytes. For a *join* the join protocol takes over after the
handshake.

An arrival is *half open* until it is a link, and until it is over when it is a join. What a link or a join says is not
known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from attrs import define, field, frozen
from cryptography import x509
from OpenSSL import SSL
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IProtocol,
    IReactorTime,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import Refused
from ..events import NodeRefused, Notify
from ..interfaces import IServer
from ._contexts import JOIN, LINK, ServerTLS, TLSPeer, describeError, peerCertificate, tuneSocket
from ._frames import encodeFrame
from .membership import NodeIdentity, Nodes, Usage, checkedMember, verifiedName

HANDSHAKE_SECONDS = 10
"""How long an arrival may take to prove who it is."""

MOST_HALF_OPEN = 256
MOST_HALF_OPEN_BY_ADDRESS = 16

_LINGER_SECONDS = 0.5


@frozen
class _Member:
    name: str
    fingerprint: str


@define(eq=False)
class LiveLinks:
    """The links that this node has, of both directions: so that a node that is put out is gone at once."""

    _log = Logger()
    _members: dict[Any, _Member] = field(factory=dict, init=False)

    def add(self, transport: Any, name: str, fingerprint: str) -> None:
        """A link with a member is up; ``transport`` can be aborted."""
        self._members[transport] = _Member(name, fingerprint)

    def discard(self, transport: Any) -> None:
        """A link is gone; idempotent."""
        self._members.pop(transport, None)

    def names(self) -> list[str]:
        """The nodes at the other ends; a name for each link."""
        return sorted(member.name for member in self._members.values())

    def certificates(self) -> dict[str, x509.Certificate]:
        """What the nodes at the other ends showed when they were let in, by name."""
        found = {}
        for transport, member in list(self._members.items()):
            try:
                found[member.name] = peerCertificate(transport)
            except Refused:
                # It is about to be gone.
                continue
        return found

    def dropRemoved(self, nodes: Nodes) -> None:
        """Abort the links of nodes that are no longer in the document, or have another key there."""
        for transport, member in list(self._members.items()):
            node = nodes.get(member.name)
            if node is None or node.fingerprint != member.fingerprint:
                self._log.info("ended the link with node {name!r}: it is not a member any more", name=member.name)
                self.discard(transport)
                transport.abortConnection()

    def abort(self) -> None:
        """Abort every link."""
        for transport in list(self._members):
            self.discard(transport)
            transport.abortConnection()


@implementer(IServer)
@define(eq=False)
class Gate:
    """Serves the cluster port. The methods after :meth:`disconnect` are for its own arrivals.

    :ivar identity: what this node proves who it is with, asked for each connection.
    :ivar nodes: the document's nodes, asked for each connection.
    :ivar buildLink: makes the server's end of a link with the member of that name, which is connected at once; or
        raises :class:`~cftpcluster.errors.Refused`, and the member is told why.
    :ivar buildJoin: makes the server's end of a join, from the client's IP address; see :mod:`.admission`.
    :ivar wallClock: seconds since the epoch.
    :ivar isProbe: whether an address is of somebody who only looks whether ports answer, and is not to be told of.
    """

    _reactor: IReactorTime
    _identity: Callable[[], NodeIdentity]
    _nodes: Callable[[], Nodes]
    _buildLink: Callable[[str], IProtocol]
    _buildJoin: Callable[[str], IProtocol]
    _links: LiveLinks
    _notify: Notify
    _wallClock: Callable[[], float]
    _isProbe: Callable[[str], bool] = lambda address: False
    _log = Logger()
    _tls: TLSMemoryBIOFactory = field(init=False)
    _halfOpen: dict[_Arrival, str] = field(factory=dict, init=False)
    _byAddress: Counter[str] = field(factory=Counter, init=False)
    _crowded: bool = field(default=False, init=False)

    implicitTLS = False

    def __attrs_post_init__(self) -> None:
        # Only its transport is used: the arrivals are built here.
        self._tls = TLSMemoryBIOFactory(ServerTLS(self._identity), False, Factory(), self._reactor)

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        address = str(getattr(addr, "host", addr))
        if len(self._halfOpen) >= MOST_HALF_OPEN or self._byAddress[address] >= MOST_HALF_OPEN_BY_ADDRESS:
            if not self._crowded:
                self._crowded = True
                self.refused(address, "too many connections that have not proved who they are")
            return None
        return cast(IProtocol, self._tls.protocol(self._tls, _Arrival(self, address)))

    def doStart(self) -> None:
        pass

    def doStop(self) -> None:
        pass

    def reconfigure(self, config: Any) -> Deferred[None]:
        # Identity and nodes are asked for at every connection.
        return succeed(None)

    def drain(self) -> Deferred[None]:
        # A draining node is still a member: it has to follow, and to be told to resume.
        return succeed(None)

    def resume(self) -> None:
        pass

    def disconnect(self) -> None:
        for arrival in list(self._halfOpen):
            arrival.abort()
        self._links.abort()

    def admit(self, transport: Any) -> IProtocol:
        """The protocol for a link whose handshake is done; :class:`Refused` when the peer is no member."""
        certificate = peerCertificate(transport)
        identity = self._identity()
        name = verifiedName(certificate, identity.authorities, Usage.client, self._wallClock())
        member = checkedMember(self._nodes(), name, certificate)
        if name == identity.name:
            raise Refused(f'node "{name}" is this node itself')
        link = self._buildLink(name)
        self._links.add(transport, name, member.fingerprint)
        return link

    def join(self, address: str) -> IProtocol:
        """The protocol for a join whose handshake is done."""
        return self._buildJoin(address)

    def arrived(self, arrival: _Arrival, address: str) -> None:
        """An arrival is half open from now on."""
        self._halfOpen[arrival] = address
        self._byAddress[address] += 1

    def settled(self, arrival: _Arrival) -> None:
        """An arrival is no longer half open."""
        address = self._halfOpen.pop(arrival, None)
        if address is not None:
            self._byAddress[address] -= 1
            if not self._byAddress[address]:
                del self._byAddress[address]
            self._crowded = False

    def lost(self, arrival: _Arrival) -> None:
        self.settled(arrival)
        self._links.discard(arrival.transport)

    def refused(self, address: str, reason: str) -> None:
        """Tell the log and the observers."""
        if self._isProbe(address):
            return
        self._log.warn("refused {address!r} on the cluster port: {reason}", address=address, reason=reason)
        self._notify(NodeRefused(address=address, reason=reason))

    def callLater(self, seconds: float, call: Callable[[], None]) -> IDelayedCall:
        return self._reactor.callLater(seconds, call)


@implementer(IHandshakeListener)
class _Arrival(TLSPeer):
    """A connection to the cluster port; what a link or a join receives goes through it, after it was let in."""

    def __init__(self, gate: Gate, address: str) -> None:
        self._gate = gate
        self._address = address
        self._inner: IProtocol | None = None
        self._over = False
        self._timer: IDelayedCall | None = None

    @property
    def _tls(self) -> Any:
        return self.transport

    def connectionMade(self) -> None:
        tuneSocket(self.transport)
        self._gate.arrived(self, self._address)
        self._timer = self._gate.callLater(HANDSHAKE_SECONDS, self._tooLate)

    def handshakeCompleted(self) -> None:
        self._stopTimer()
        chosen = self._tls.negotiatedProtocol
        try:
            if chosen == JOIN:
                inner = self._gate.join(self._address)
            elif chosen == LINK:
                inner = self._gate.admit(self._tls)
                self._tls.write(encodeFrame({"welcome": True}))
                self._gate.settled(self)
            else:
                raise Refused(f"it speaks no protocol that this node knows; it offers {list(self.offered)!r}")
        except Refused as error:
            self._refuse(str(error))
            return
        self._inner = inner
        inner.makeConnection(self._tls)

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stopTimer()
        self._gate.lost(self)
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif self.problem:
            self._tell(self.problem)
        elif reason.check(SSL.Error):
            self._tell(describeError(reason.value))

    def abort(self) -> None:
        self._over = True
        self._tls.abortConnection()

    def _refuse(self, reason: str) -> None:
        self._tell(reason)
        self._tls.write(encodeFrame({"refused": reason}))
        self._tls.loseConnection()
        # Whoever does not answer the end of TLS is not waited for.
        self._timer = self._gate.callLater(_LINGER_SECONDS, self._tls.abortConnection)

    def _tooLate(self) -> None:
        self._timer = None
        self._tell(f"it did not prove who it is within {HANDSHAKE_SECONDS} s")
        self.abort()

    def _tell(self, reason: str) -> None:
        """One line for each arrival, whatever else goes wrong with it."""
        if not self._over:
            self._over = True
            self._gate.refused(self._address, reason)

    def _stopTimer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
