"""TLS in large pieces, with a client in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from OpenSSL import SSL
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.bulktls import SPACE_BYTES, BulkTLSFactory
from cftpcluster.servers.tls import ServerTLS

from .test_tls import KEY, LEAF, ROOT, pem

LARGE = bytes(range(256)) * 4000


class Taker(Protocol):
    """Remembers what came, and how it ended."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ends: list[Failure] = []

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.ends.append(reason)


@define(eq=False)
class Client:
    """The other end, in memory."""

    server: Any
    transport: StringTransport
    tls: SSL.Connection = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tls = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        self.tls.set_connect_state()
        for _ in range(4):
            try:
                self.tls.do_handshake()
            except SSL.WantReadError:
                pass
            self.flush()
            self.hear()

    def flush(self) -> None:
        """Hand the server all that OpenSSL has for it, at once."""
        try:
            while True:
                self.server.dataReceived(self.tls.bio_read(2**24))
        except SSL.WantReadError:
            pass

    def hear(self) -> None:
        data = self.transport.value()
        self.transport.clear()
        if data:
            self.tls.bio_write(data)

    def said(self) -> bytes:
        """What the server wrote since it was asked last."""
        self.hear()
        parts = []
        try:
            while True:
                parts.append(self.tls.recv(2**16))
        except SSL.Error:
            return b"".join(parts)

    def say(self, data: bytes) -> None:
        self.tls.sendall(data)
        self.flush()


class BulkTests(SynchronousTestCase):
    def setUp(self) -> None:
        tls = ServerTLS(pem(LEAF) + pem(ROOT), pem(KEY))
        self.taker = Taker()
        inner = Factory.forProtocol(lambda: self.taker)  # type: ignore[arg-type]
        self.clock = Clock()
        self.factory = BulkTLSFactory(tls, False, inner, self.clock)
        self.server: Any = self.factory.buildProtocol(None)  # type: ignore[arg-type]
        self.transport = StringTransport()
        self.server.makeConnection(self.transport)
        self.client = Client(self.server, self.transport)

    def test_muchIsWrittenWhole(self) -> None:
        self.server.write(LARGE)
        self.assertEqual(self.client.said(), LARGE)

    def test_smallWritesKeepTheirPlaceBeforeWhatIsWrittenNow(self) -> None:
        space = bytearray(b"second")
        self.server.write(b"first ")
        self.server.writeNow(memoryview(space))
        space[:] = b"xxxxxx"
        self.server.write(b" third")
        self.clock.advance(0)
        self.assertEqual(self.client.said(), b"first second third")

    def test_allThatCameIsHandedUpTogether(self) -> None:
        self.client.say(LARGE)
        self.assertEqual(b"".join(self.taker.pieces), LARGE)
        self.assertEqual(len(self.taker.pieces), -(-len(LARGE) // SPACE_BYTES))

    def test_whoHasAPlaceIsGivenTheBytesThere(self) -> None:
        place = bytearray(500_000)
        filled: list[int] = []

        def fill(read: Callable[[memoryview], int]) -> int:
            count = read(memoryview(place)[sum(filled) :]) if sum(filled) < len(place) else 0
            filled.append(count)
            return count

        self.server.fill = fill
        self.client.say(LARGE)
        self.assertEqual(bytes(place), LARGE[:500_000])
        self.assertEqual(b"".join(self.taker.pieces), LARGE[500_000:])

    def test_bothEndsAreTold(self) -> None:
        self.client.say(b"bye")
        self.client.tls.shutdown()
        self.client.flush()
        self.assertEqual(self.taker.pieces, [b"bye"])
        self.assertTrue(self.transport.disconnecting)

    def test_brokenRecordsEndTheConnection(self) -> None:
        self.server.dataReceived(b"\x17\x03\x03\x00\x20" + bytes(32))
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.taker.pieces, [])

    def test_nothingComesAfterAnAbort(self) -> None:
        self.taker.dataReceived = lambda data: self.server.abortConnection()  # type: ignore[method-assign]
        self.transport.abortConnection = lambda: None  # type: ignore[method-assign]
        self.client.say(LARGE)
        self.assertEqual(self.taker.pieces, [])
