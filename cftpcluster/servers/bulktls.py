"""TLS for connections that carry files: as Twisted's, in larger pieces and with fewer copies.

Twisted's own takes at most 16 KiB at a time from OpenSSL, and 32 KiB to the socket: for each of them a turn of Python,
and a copy or two. Here all records of a piece leave OpenSSL at once and go straight to the socket, as long as it takes
them; and all records that have come are handed up together. It knows neither certificates nor what is spoken inside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet import tcp
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure

SPACE_BYTES = 384 * 1024
"""What is taken from OpenSSL at once, either way: more does not stay in the processor's cache."""

STEP_BYTES = 256 * 1024
OUTGOING_BYTES = 256 * 1024

_library: Any = SSL
_lib, _ffi = _library._lib, _library._ffi


class BulkTLS(BufferingTLSTransport):
    """One connection. Made by a :class:`BulkTLSFactory`.

    :ivar fill: where somebody has a place for what comes: is called with a function that reads into one, as much as is
        there, and answers with how much that was; both answer 0 where there is nothing, or no place.
    """

    factory: Any
    transport: Any
    fill: Callable[[Callable[[memoryview], int]], int] | None = None
    _tcp: Any = None
    _isTurnTaken = False

    def makeConnection(self, transport: Any) -> None:
        beneath = transport
        while (further := getattr(beneath, "transport", None)) is not None:
            beneath = further
        # other transports are written to as any
        self._tcp = beneath if isinstance(beneath, tcp.Connection) else None
        super().makeConnection(transport)
        # else OpenSSL stops after each record, although there is room for all
        _lib.SSL_clear_mode(self.getHandle()._ssl, _lib.SSL_MODE_ENABLE_PARTIAL_WRITE)

    # --- sending

    def writeNow(self, data: memoryview) -> None:
        """As :meth:`write`, of what may change afterwards. While the socket takes all of it no producer is paused:
        others have their turn only if the caller lets them."""
        self._aggregator.flush()
        self._isTurnTaken = True
        try:
            self._write(data)
        finally:
            self._isTurnTaken = False

    def _write(self, bytes: bytes | memoryview) -> None:
        if self._lostTLSConnection:
            return
        rest = memoryview(bytes)
        try:
            while rest:
                # no more at once than stays in the processor's cache on its way
                rest = rest[self._writeOnce(rest[:STEP_BYTES]) :]
                self._flushSendBIO()
        except SSL.WantReadError:
            self._bufferedWrite(rest.tobytes())
        except SSL.Error:
            self._tlsShutdownFinished(Failure())

    def _writeOnce(self, data: memoryview) -> int:
        tls: Any = self.getHandle()
        count: int = _lib.SSL_write(tls._ssl, _ffi.from_buffer(data), len(data))
        if count <= 0:
            # pyOpenSSL finds out what is wrong
            count = tls.send(data)
        return count

    def _flushSendBIO(self) -> None:
        tls: Any = self.getHandle()
        start, space = self.factory.space
        while (count := _lib.BIO_read(tls._from_ssl, start, SPACE_BYTES)) > 0:
            self._send(space[:count])

    def _send(self, data: memoryview) -> None:
        rest = self._sentAtOnce(data) if self._tcp is not None else data
        if rest:
            self.transport.write(rest.tobytes())

    def _sentAtOnce(self, data: memoryview) -> memoryview:
        """Give the socket what it takes, if nothing waits for it already; answers with the rest."""
        connection = self._tcp
        if not connection.connected or connection.disconnecting or not self._isIdle():
            return data
        isLarge = len(data) > connection.bufferSize and not self._isTurnTaken
        try:
            # a socket that does not block takes as much as it has room for
            data = data[connection.socket.send(data) :]
        except OSError:
            # whatever is wrong, the next write finds it as well
            return data
        producer = connection.producer
        if isLarge and producer is not None and connection.streamingProducer and not connection.producerPaused:
            # others have their turn before it goes on
            connection.producerPaused = True
            producer.pauseProducing()
            connection.startWriting()
        return data

    def _isIdle(self) -> bool:
        """Whether nothing waits for the socket."""
        connection = self._tcp
        return (
            connection is not None
            and not connection._tempDataBuffer
            and connection.offset >= len(connection.dataBuffer)
        )

    # --- receiving

    def _flushReceiveBIO(self) -> None:
        while self.fill is not None and not self._isOver and self.fill(self._readInto):
            pass
        space = self.factory.space[1]
        while not self._isOver and (count := self._readInto(space)):
            ProtocolWrapper.dataReceived(self, space[:count].tobytes())
            if count < SPACE_BYTES:
                break
        super()._flushReceiveBIO()

    @property
    def _isOver(self) -> bool:
        return bool(self._lostTLSConnection or self._aborted)

    def _readInto(self, space: memoryview) -> int:
        # pyOpenSSL's own makes a buffer for each record, and copies it
        read, tls = _lib.SSL_read, self.getHandle()._ssl
        start, size, filled = _ffi.from_buffer(space), len(space), 0
        while filled < size and (count := read(tls, start + filled, size - filled)) > 0:
            filled += count
        return filled


class BulkTLSFactory(TLSMemoryBIOFactory):
    """Makes such connections.

    :cvar space: where bytes are between OpenSSL and their next place; no connection leaves anything there, so that all
        can have the same.
    :cvar outgoing: the same for what is about to be written by :meth:`BulkTLS.writeNow`.
    """

    protocol = BulkTLS
    _buffer = bytearray(SPACE_BYTES)
    space = _ffi.from_buffer(_buffer), memoryview(_buffer)
    outgoing = memoryview(bytearray(OUTGOING_BYTES))
