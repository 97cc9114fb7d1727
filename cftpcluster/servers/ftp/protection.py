"""TLS beneath data connections (RFC 4217, section 9): what only they need of it.

Nothing here knows a transfer.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.interfaces import IReactorTime, ISystemHandle
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

from ..bulktls import BulkTLS, BulkTLSFactory


class _Holding:
    """A TCP transport that can keep for later what it is to send."""

    def __init__(self, tcp: Any) -> None:
        self.tcp = tcp
        self._held: list[bytes] | None = None

    def hold(self) -> None:
        """Keep what is written from now on, until :meth:`release` or the end in order."""
        self._held = []

    def release(self) -> None:
        held, self._held = self._held, None
        if held:
            self.tcp.write(b"".join(held))

    def write(self, data: bytes) -> None:
        if self._held is None:
            self.tcp.write(data)
        else:
            self._held.append(data)

    def loseConnection(self) -> None:
        self.release()
        self.tcp.loseConnection()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tcp, name)


class DataTLS(BulkTLS):
    """TLS beneath a data connection. Remembers how the TCP connection ended, which Twisted's hides.

    Nothing goes straight to the socket: the end of TLS leaves with the last bytes, in one write, so that a client which
    hangs up as soon as it has all of a file does not seem to have lost it.
    """

    tcpReason: Failure | None = None

    def makeConnection(self, transport: Any) -> None:
        holding = _Holding(transport)
        directlyProvides(holding, *providedBy(transport))
        super().makeConnection(holding)

    def holdTickets(self) -> None:
        """Keep the session tickets of TLS 1.3, which come behind the handshake, until there is more to say.

        A client that only sends does not read them; when it closes, its kernel sends a reset because of them, and
        forgets what of the upload it still had to send.
        """
        if self.getHandle().get_protocol_version_name() == "TLSv1.3":
            self.transport.hold()

    def release(self) -> None:
        """There is more to say."""
        self.transport.release()

    def dataReceived(self, data: bytes) -> None:
        isShakingHands = not self._handshakeDone
        super().dataReceived(data)
        if isShakingHands:
            self._acknowledge()

    def _acknowledge(self) -> None:
        """Have the kernel acknowledge what came: there is nothing to send that could carry it, and clients that say the
        end of their handshake in two pieces, or have little to send behind it, wait for it before they send more."""
        descriptor = ISystemHandle(self.transport.tcp).getHandle()
        if isinstance(descriptor, socket.socket) and hasattr(socket, "TCP_QUICKACK"):
            descriptor.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.tcpReason = reason
        super().connectionLost(reason)


class _DataTLSFactory(BulkTLSFactory):
    protocol = DataTLS


def overTLS(connection: Protocol, tls: Any, clock: IReactorTime) -> Protocol:
    """``connection`` with TLS beneath it, this side being TLS's server whoever dialled."""
    return _DataTLSFactory(tls, False, Factory.forProtocol(lambda: connection), clock).buildProtocol(None)
