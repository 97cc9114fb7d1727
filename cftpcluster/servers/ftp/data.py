"""One data connection (RFC 959, section 3.2; RFC 4217, section 9): bytes either way, and how it ended.

Nothing here knows a command, a file, or how the connection came about.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProducer,
    ISystemHandle,
)
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ...files.streams import FileReceiver

RECEIVE_BYTES = 256 * 1024
"""How much is read from a socket at once."""

SENT_BYTES = 320 * 1024
"""How much is taken from OpenSSL at once: a piece of a file with what TLS adds to it."""

_TCP_INFO_BYTES = 128
_ACKNOWLEDGED = struct.Struct("@120xQ")  # tcpi_bytes_acked of Linux's struct tcp_info


class DataLost(Exception):
    """A data connection ended before its transfer did."""


@implementer(IHandshakeListener, IHalfCloseableProtocol, IConsumer)
class DataConnection(Protocol):
    """One data connection: hands over what comes in, and is a consumer of what goes out.

    It is *open* once it can carry data: when it is made, or over TLS when the handshake is done. What comes before
    somebody receives is kept, at most one read of the socket; then reading stops.

    :ivar received: bytes that came in.
    :ivar sent: bytes that were written.
    :ivar isEnding: whether it was ended in order on this side.
    """

    def __init__(
        self,
        *,
        secured: bool,
        requireCloseNotify: bool,
        opened: Callable[[DataConnection], None],
        lost: Callable[[DataConnection], None],
    ) -> None:
        self.secured = secured
        self.received = 0
        self.sent = 0
        self.isEnding = False
        self._requireCloseNotify = requireCloseNotify
        self._opened = opened
        self._lost = lost
        self._kept: list[bytes] = []
        self._receiver: Callable[[bytes], None] | None = None
        self._filling: FileReceiver | None = None
        self._peerDone: bool | None = None
        self._delivered: Deferred[None] = Deferred()
        self._allWritten = False
        self._finished: Deferred[None] | None = None
        self._gone = False

    @property
    def _tcp(self) -> Any:
        transport: Any = self.transport
        return transport.transport.tcp if self.secured else transport

    @property
    def isResumed(self) -> bool:
        """Whether TLS resumed a session that this server had made before."""
        transport: Any = self.transport
        # pyOpenSSL has no name of its own for it.
        return bool(SSL._lib.SSL_session_reused(transport.getHandle()._ssl))  # type: ignore[attr-defined]

    # --- the connection

    def connectionMade(self) -> None:
        self._tcp.bufferSize = RECEIVE_BYTES
        self._tcp.SEND_LIMIT = SENT_BYTES
        if not self.secured:
            self._opened(self)

    def handshakeCompleted(self) -> None:
        transport: Any = self.transport
        transport.holdTickets()
        self._opened(self)

    def readConnectionLost(self) -> None:
        self._peerIsDone(True)

    def writeConnectionLost(self) -> None:
        """Cannot happen: this side never closes its half alone."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gone = True
        transport: Any = self.transport
        if self.secured:
            self._peerIsDone(self._isProperTLSEnd(reason))
            reason = transport.tcpReason
        else:
            self._peerIsDone(reason.check(ConnectionDone) is not None)
        self._allWritten = self._allWritten and reason.check(ConnectionDone) is not None
        finished, self._finished = self._finished, None
        if finished is not None:
            if self._allWritten:
                finished.callback(None)
            else:
                finished.errback(DataLost())
        self._lost(self)

    def _isProperTLSEnd(self, reason: Failure) -> bool:
        transport: Any = self.transport
        if reason.check(ConnectionDone, ConnectionLost) is None:
            # An alert, or bytes that are no TLS. OpenSSL counts a fatal alert as a shutdown too.
            return False
        if transport.getHandle().get_shutdown() & SSL.RECEIVED_SHUTDOWN:
            # Proper even where a reset follows: clients that leave session tickets unread cause one.
            return True
        return not self._requireCloseNotify and transport.tcpReason.check(ConnectionDone) is not None

    def abort(self) -> None:
        """End at once, with a reset."""
        transport: Any = self.transport
        if transport is not None and not self._gone:
            transport.abortConnection()

    def close(self) -> None:
        """End in order; nobody waits for it."""
        if self._gone:
            return
        self.isEnding = True
        transport: Any = self.transport
        transport.loseConnection()
        if self.secured:
            # Not every client answers a close_notify.
            transport.transport.loseConnection()

    def progress(self) -> tuple[int, ...]:
        """Numbers of which one changes as long as bytes move, however slow the other side is."""
        handle = None if self._gone else ISystemHandle(self._tcp, None)
        descriptor = handle.getHandle() if handle else None
        acknowledged = 0
        if isinstance(descriptor, socket.socket) and hasattr(socket, "TCP_INFO"):
            information = descriptor.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
            if len(information) == _TCP_INFO_BYTES:
                (acknowledged,) = _ACKNOWLEDGED.unpack(information)
        return self.received, self.sent, acknowledged

    # --- coming in

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)
        if self._receiver is not None:
            self._receiver(data)
        else:
            self._kept.append(data)
            self.pauseProducing()

    def deliverTo(self, receiver: Callable[[bytes], None]) -> Deferred[None]:
        """Hand everything that comes to ``receiver``, which may pause and resume.

        Fires when the other side ended its data in order; fails with :class:`DataLost` when it did not.
        """
        self._receiver = receiver
        kept, self._kept = self._kept, []
        if kept:
            self.resumeProducing()
        for data in kept:
            receiver(data)
        if self._peerDone is not None:
            self._end()
        return self._delivered

    def fill(self, receiver: FileReceiver) -> None:
        """Bytes come to ``receiver`` itself from now on, without being copied on the way."""
        self._filling = receiver
        transport: Any = self.transport
        if self.secured:
            transport.fill = self._fill
        elif isinstance(transport, tcp.Connection):
            transport.doRead = self._doRead  # type: ignore[assignment, method-assign]

    def _doRead(self) -> Exception | None:
        transport: Any = self.transport
        try:
            count = self._fill(transport.socket.recv_into)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        return None if count else CONNECTION_DONE

    def _fill(self, readInto: Callable[[memoryview], int]) -> int:
        """Have as much as there is read at once."""
        assert self._filling is not None
        count = readInto(self._filling.space())
        self.received += count
        self._filling.filled(count)
        return count

    def _peerIsDone(self, proper: bool) -> None:
        if self._peerDone is None:
            self._peerDone = proper
            if self._receiver is not None:
                self._end()

    def _end(self) -> None:
        # The receiver knows this connection: as a circle they would keep the file's descriptors until they are found.
        self._receiver = None
        if self._peerDone:
            self._delivered.callback(None)
        else:
            self._delivered.errback(DataLost())

    def pauseProducing(self) -> None:
        transport: Any = self.transport
        transport.pauseProducing()

    def resumeProducing(self) -> None:
        transport: Any = self.transport
        if self._peerDone is None and not self._gone:
            transport.resumeProducing()

    # --- going out

    def write(self, data: bytes) -> None:
        transport: Any = self.transport
        if self.secured and not self.sent:
            transport.release()
        self.sent += len(data)
        transport.write(data)

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        transport: Any = self.transport
        transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        transport: Any = self.transport
        transport.unregisterProducer()

    def finish(self) -> Deferred[None]:
        """End in order after everything that was written.

        Fires when the other side's TCP was given it all; fails with :class:`DataLost` when the connection was lost
        before.
        """
        self._finished = Deferred()
        if self._gone:
            self._finished.errback(DataLost())
        else:
            self._allWritten = True
            self.close()
        return self._finished
