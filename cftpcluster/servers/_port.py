"""The listening socket: Twisted's, taught to count connections and to keep calm when descriptors run out.

It knows no listener and no protocol.
"""

from __future__ import annotations

import resource
import socket
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IProtocolFactory
from zope.interface import Attribute, implementer

from .proxy import Header, IProxiedTransport, ProxyPolicy, addressOf

BACKLOG = 1024
"""Connections that the kernel holds until they are accepted."""

CALM_SECONDS = 0.1
"""How long nobody is accepted after accepting failed: the kernel would say at once that somebody still waits."""


class IDoor(IProtocolFactory):
    """A factory that is told of every connection that stands, and of its end."""

    asked: int = Attribute("how often ``buildProtocol`` was called")
    policy: ProxyPolicy = Attribute("which connections start with a PROXY header")

    def came(transport: Any) -> None:
        """A connection stands; its protocol will be made to know it after this."""

    def went(transport: Any) -> None:
        """It has ended."""


def mostDescriptors() -> int:
    """The highest file descriptor that a connection may have; the kernel gives out the lowest that is free, so this
    bounds how many are open, and keeps some for files and the journal."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit - max(limit // 8, 16)


@implementer(IProxiedTransport)
class Connection(tcp.Server):
    """A transport that reports to the door it came in by.

    A subclass, not a wrapper around protocols, so that they have the socket's own transport, whose attributes they set.
    """

    server: Port
    _peer: Any = None
    _host: Any = None

    def __init__(self, sock: socket.socket, *arguments: Any) -> None:
        super().__init__(sock, *arguments)
        self.server.factory.came(self)
        if sock.fileno() > mostDescriptors():
            self.abortConnection()

    def connectionLost(self, reason: Any) -> None:
        self.server.factory.went(self)
        super().connectionLost(reason)

    @property
    def proxyPolicy(self) -> ProxyPolicy:
        policy: ProxyPolicy = self.server.factory.policy
        return policy

    def isFrom(self, header: Header) -> None:
        """Be from whom a PROXY header names from now on."""
        if header.source is None or header.destination is None:
            return
        self._peer, self._host = addressOf(header.source), addressOf(header.destination)
        self.hostname = header.source.host

    def getPeer(self) -> Any:
        return self._peer or super().getPeer()

    def getHost(self) -> Any:
        return self._host or super().getHost()

    def getSocketHost(self) -> Any:
        return super().getHost()


class Port(tcp.Port):
    """A port of one address and one address family."""

    transport: Any = Connection
    reactor: Any
    factory: Any
    _calm: IDelayedCall | None = None

    def createInternetSocket(self) -> socket.socket:
        created: socket.socket = super().createInternetSocket()
        if self.addressFamily == socket.AF_INET6:
            # IPv4 clients have a socket of their own, so nobody's address is ever an IPv4 one in IPv6 clothing.
            created.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        return created

    def doRead(self) -> None:
        asked = self.factory.asked
        super().doRead()
        if self.factory.asked == asked and not self.disconnecting:
            self.stopReading()
            self._calm = self.reactor.callLater(CALM_SECONDS, self._goOn)

    def _goOn(self) -> None:
        self._calm = None
        self.startReading()

    def loseConnection(self, *arguments: Any) -> Any:
        if self._calm is not None:
            self._calm.cancel()
            self._calm = None
        return super().loseConnection(*arguments)

    stopListening = loseConnection


def listenTCP(reactor: Any, port: int, door: IDoor, address: str) -> IListeningPort:
    """Bind and listen; ``CannotListenError`` where that does not go."""
    listening = Port(port, door, BACKLOG, address, reactor)
    listening.startListening()
    return listening
