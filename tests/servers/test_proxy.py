"""PROXY headers: which are believed, what they say, and what is refused, however they are cut into pieces."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.networks import Networks
from cftpcluster.servers.proxy import (
    HEADER_SECONDS,
    LONGEST_BYTES,
    LONGEST_LINE_BYTES,
    BadHeader,
    Endpoint,
    Header,
    HeaderReader,
    ProxyPolicy,
    crc32c,
    parseHeader,
)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
CLIENT, SERVER = Endpoint("203.0.113.7", 50123), Endpoint("192.0.2.1", 2222)
CLIENT6, SERVER6 = Endpoint("2001:db8::7", 50123), Endpoint("2001:db8::1", 2222)
LINE = b"PROXY TCP4 203.0.113.7 192.0.2.1 50123 2222\r\n"


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def binary(
    source: Endpoint = CLIENT,
    destination: Endpoint = SERVER,
    *,
    command: int = 0x21,
    family: int | None = None,
    more: bytes = b"",
    addresses: bytes | None = None,
) -> bytes:
    """A header of version 2."""
    if addresses is None:
        ends = (source, destination)
        addresses = b"".join(ipaddress.ip_address(end.host).packed for end in ends)
        addresses += b"".join(end.port.to_bytes(2, "big") for end in ends)
    if family is None:
        family = 0x21 if ":" in source.host else 0x11
    body = addresses + more
    return SIGNATURE + bytes([command, family]) + len(body).to_bytes(2, "big") + body


def summed(header: bytes) -> bytes:
    """The header with a checksum at its end."""
    length = int.from_bytes(header[14:16], "big") + 7
    header = header[:14] + length.to_bytes(2, "big") + header[16:]
    return header + tlv(3, crc32c(header + tlv(3, bytes(4))).to_bytes(4, "big"))


endpoints4 = st.builds(Endpoint, st.ip_addresses(v=4).map(str), st.integers(0, 65535))
endpoints6 = st.builds(
    Endpoint,
    st.ip_addresses(v=6).filter(lambda each: each.ipv4_mapped is None).map(str),  # type: ignore[union-attr]
    st.integers(0, 65535),
)
pairs = st.one_of(st.tuples(endpoints4, endpoints4), st.tuples(endpoints6, endpoints6))
headers = st.one_of(
    pairs.map(lambda ends: (binary(*ends), ends)),
    pairs.map(lambda ends: (summed(binary(*ends, more=tlv(1, b"h2") + tlv(4, b""))), ends)),
    pairs.map(
        lambda ends: (
            f"PROXY TCP{6 if ':' in ends[0].host else 4} {ends[0].host} {ends[1].host} "
            f"{ends[0].port} {ends[1].port}\r\n".encode(),
            ends,
        )
    ),
)


class ParserTests(SynchronousTestCase):
    def assertRefused(self, data: bytes, words: str) -> None:
        error = self.assertRaises(BadHeader, parseHeader, data)
        self.assertIn(words, str(error))

    @given(headers, st.binary(max_size=40))
    def test_headersSayWhoIsConnected(self, header: tuple[bytes, tuple[Endpoint, Endpoint]], rest: bytes) -> None:
        data, (source, destination) = header
        self.assertEqual(parseHeader(data + rest), Header(len(data), source, destination))

    @given(headers, st.data())
    def test_anyBeginningIsWaitedFor(self, header: tuple[bytes, Any], draw: st.DataObject) -> None:
        data = header[0]
        self.assertIsNone(parseHeader(data[: draw.draw(st.integers(0, len(data) - 1))]))

    @given(st.binary(max_size=5000))
    def test_anyBytesAreRefusedOrBounded(self, data: bytes) -> None:
        for start in (b"", b"PROXY TCP4 ", b"PROXY UNKNOWN", SIGNATURE, SIGNATURE + b"\x21\x11"):
            try:
                header = parseHeader(start + data)
            except BadHeader:
                continue
            if header is None:
                self.assertLess(len(start + data), LONGEST_BYTES)
            else:
                self.assertLessEqual(header.length, LONGEST_BYTES)

    @given(st.data())
    def test_checksumFindsAnyChange(self, draw: st.DataObject) -> None:
        data = summed(binary(more=tlv(2, b"example.test")))
        at = draw.draw(st.integers(16, len(data) - 1))
        changed = data[:at] + bytes([data[at] ^ draw.draw(st.integers(1, 255))]) + data[at + 1 :]
        try:
            found = parseHeader(changed)
        except BadHeader:
            return
        # The type of the checksum, and the length of the TLV before it: there is no checksum any more.
        self.assertIn(at, {29, 30, len(data) - 7}, found)

    def test_checksumIsTheOneOfTheStandard(self) -> None:
        self.assertEqual(crc32c(b"123456789"), 0xE3069283)
        self.assertEqual(crc32c(bytes(32)), 0x8A9136AA)

    def test_connectionsOfTheProxyItself(self) -> None:
        for data in (
            b"PROXY UNKNOWN\r\n",
            b"PROXY UNKNOWN ffff:f...f:ffff \xff\x00 65535\r\n",
            b"PROXY UNKNOWN 203.0.113.7 192.0.2.1 1 2\r\n",
            binary(command=0x20),
            binary(command=0x20, family=0xFF, addresses=b"whatever"),
            binary(command=0x20, family=0, addresses=b""),
            binary(family=0, addresses=b""),
            binary(family=0, addresses=b"ignored"),
            binary(family=0x31, addresses=bytes(216)),
            binary(family=0x32, addresses=bytes(216)),
            binary(family=0x12),
            binary(CLIENT6, SERVER6, family=0x22),
            binary(family=0x10),
        ):
            self.assertEqual(parseHeader(data + b"SSH-2.0-x"), Header(len(data)), data)

    def test_addressesInOtherClothing(self) -> None:
        for data in (
            binary(Endpoint("::ffff:203.0.113.7", 50123), Endpoint("::ffff:192.0.2.1", 2222)),
            b"PROXY TCP6 ::ffff:203.0.113.7 ::FFFF:c000:201 50123 2222\r\n",
        ):
            self.assertEqual(parseHeader(data), Header(len(data), CLIENT, SERVER))

    def test_lines(self) -> None:
        longest = b"PROXY UNKNOWN" + b" " * (LONGEST_LINE_BYTES - 15) + b"\r\n"
        self.assertEqual(parseHeader(longest), Header(LONGEST_LINE_BYTES))
        self.assertRefused(longest[:-2] + b" \r\n", "within 107 bytes")
        self.assertRefused(LINE[:-2] + b" " * 80, "within 107 bytes")
        self.assertRefused(b"PROXY UNKNOWN" + b"x" * LONGEST_BYTES, "within 107 bytes")
        for wrong in (
            b"PROXY  TCP4 203.0.113.7 192.0.2.1 1 2\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2 \r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 1\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 01 2\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 -1 2\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2\n\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\r\n",
            b"PROXY UDP4 203.0.113.7 192.0.2.1 1 2\r\n",
            b"PROXY UNKNOWNS\r\n",
            b"PROXY tcp4 203.0.113.7 192.0.2.1 1 2\r\n",
            b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
            "PROXY TCP4 203.0.113.\u0667 192.0.2.1 1 2\r\n".encode(),
        ):
            self.assertRefused(wrong, "malformed")
        for family, address in ((b"4", b"203.0.113.256"), (b"4", b"203.0.113.07"), (b"4", b"::1"), (b"6", b"1.2.3.4")):
            self.assertRefused(b"PROXY TCP%b %b %b 1 2\r\n" % (family, address, address), f"IPv{family.decode()}")
        self.assertRefused(b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 2\r\n", "port")

    def test_whatIsNoHeader(self) -> None:
        for data in (
            b"SSH-2.0-x",
            b"\x16\x03\x01",
            b"PROXX",
            b"PROXYTCP4",
            b"proxy TCP4",
            b"\r\n\r\n\0\r\nQUIT\r",
            b"GET /",
        ):
            self.assertRefused(data, "does not start with a PROXY header")
        self.assertRefused(SIGNATURE + b"\x11", "version 1")
        self.assertRefused(binary(command=0x31), "version 3")
        self.assertRefused(binary(command=0x22), "unknown command 2")
        for family in (0x41, 0xF0, 0x13, 0x1F):
            self.assertRefused(binary(family=family), "unknown family")

    def test_lengths(self) -> None:
        self.assertRefused(binary(addresses=bytes(11)), "too short")
        self.assertRefused(binary(family=0x21, addresses=bytes(35)), "too short")
        self.assertRefused(binary(family=0x31, addresses=bytes(215)), "too short")
        whole = binary(more=tlv(4, bytes(LONGEST_BYTES - 16 - 12 - 3)))
        self.assertEqual(parseHeader(whole), Header(LONGEST_BYTES, CLIENT, SERVER))
        self.assertRefused(binary(more=tlv(4, bytes(LONGEST_BYTES)))[:16], "more than 4096")

    def test_whatFollowsTheAddresses(self) -> None:
        good = binary(more=tlv(1, b"ssh") + tlv(0xEA, b"\x01vpce") + tlv(4, b"") + tlv(0x20, bytes(200)))
        self.assertEqual(parseHeader(good), Header(len(good), CLIENT, SERVER))
        self.assertRefused(binary(more=b"\x04"), "TLV")
        self.assertRefused(binary(more=b"\x04\0\x05four"), "TLV")
        self.assertRefused(binary(more=tlv(3, b"abc")), "malformed checksum")
        self.assertRefused(binary(more=tlv(3, b"abcd")), "wrong checksum")
        self.assertRefused(summed(binary(more=tlv(3, bytes(4)))), "more than one checksum")


class PolicyTests(SynchronousTestCase):
    def test_headersAreNeverGuessed(self) -> None:
        trusted = Networks.parse(["192.0.2.0/24", "2001:db8::/64"])
        for mode, fromProxy, fromOthers in (
            ("off", (True, False), (True, False)),
            ("optional", (True, True), (True, False)),
            ("required", (True, True), (False, False)),
        ):
            policy = ProxyPolicy(mode, trusted)
            for host in ("192.0.2.9", "2001:db8::9", "::ffff:192.0.2.9"):
                self.assertEqual((policy.admits(host), policy.expects(host)), fromProxy, (mode, host))
            for host in ("198.51.100.1", "2001:db8:1::", "127.0.0.1", ""):
                self.assertEqual((policy.admits(host), policy.expects(host)), fromOthers, (mode, host))


class Transport(StringTransport):
    bufferSize = 65536
    aborted = False
    protocol: Any

    def abortConnection(self) -> None:
        self.aborted = True


class Remembering(Protocol):
    def __init__(self) -> None:
        self.received: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)


class ReaderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = Transport(peerAddress=IPv4Address("TCP", "192.0.2.9", 1))
        self.made: Protocol | None = Remembering()
        self.known: list[Header] = []
        self.refused: list[str] = []
        self.reader = HeaderReader(self.clock, self.know, lambda transport, why: self.refused.append(why))
        self.transport.protocol = self.reader
        self.reader.makeConnection(self.transport)

    def know(self, transport: Any, header: Header) -> Protocol | None:
        self.known.append(header)
        return self.made

    def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.transport.protocol.dataReceived(piece)

    def assertHandedOver(self, *received: bytes) -> None:
        self.assertIs(self.transport.protocol, self.made)
        assert isinstance(self.made, Remembering)
        self.assertIs(self.made.transport, self.transport)
        self.assertEqual(b"".join(self.made.received), b"".join(received))
        self.assertEqual((self.transport.bufferSize, self.clock.getDelayedCalls(), self.refused), (65536, [], []))

    def test_everyByteBehindTheHeaderGoesOn(self) -> None:
        for header in (LINE, summed(binary())):
            for size in (1, 2, 7, 13, 1000):
                self.setUp()
                data = header + b"SSH-2.0-client\r\n" + bytes(100)
                self.feed(*(data[at : at + size] for at in range(0, len(data), size)))
                self.assertHandedOver(data[len(header) :])
                self.assertEqual(self.known, [Header(len(header), CLIENT, SERVER)])

    def test_noMoreIsReadThanTheLongestHeader(self) -> None:
        header = binary(more=tlv(4, bytes(LONGEST_BYTES - 31)))
        held = 0
        for at in range(0, LONGEST_BYTES - 100, 100):
            self.assertLessEqual(held + self.transport.bufferSize, LONGEST_BYTES)
            self.feed(header[at : at + 100])
            held += 100
        self.assertEqual(self.known, [])

    def test_aSecondHeaderIsTheProtocols(self) -> None:
        self.feed(LINE + LINE)
        self.assertHandedOver(LINE)

    def test_refusedHeaderEndsTheConnectionAndSaysWhyOnce(self) -> None:
        for pieces in (
            (b"GET / HTTP/1.1\r\n",),
            (b"P", b"O"),
            (LINE[:20], b"\0\r\n", LINE),
            (SIGNATURE, b"\x31", b"\0"),
        ):
            self.setUp()
            self.feed(*pieces)
            self.assertTrue(self.transport.aborted)
            self.reader.connectionLost(Failure(ConnectionDone()))
            self.assertEqual((len(self.refused), self.known, self.clock.getDelayedCalls()), (1, [], []))

    def test_silenceEndsInTime(self) -> None:
        self.feed(LINE[:-1])
        self.clock.advance(HEADER_SECONDS - 0.1)
        self.assertFalse(self.transport.aborted)
        self.clock.advance(0.2)
        self.assertTrue(self.transport.aborted)
        self.assertEqual(self.refused, ["it sent no PROXY header within 5 seconds"])
        self.feed(LINE[-1:])
        self.assertEqual(self.known, [])

    def test_whoIsGoneIsForgotten(self) -> None:
        for sent, told in ((b"", ""), (LINE[:9], "it ended within its PROXY header")):
            self.setUp()
            self.feed(*([sent] if sent else []))
            self.reader.connectionLost(Failure(ConnectionDone()))
            self.assertEqual((self.refused, self.clock.getDelayedCalls()), ([told], []))

    def test_nobodyToGoOnWithEndsTheConnection(self) -> None:
        self.made = None
        self.feed(LINE + b"more")
        self.assertTrue(self.transport.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_protocolThatHangsUpAtOnceGetsNothing(self) -> None:
        class Leaving(Remembering):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.loseConnection()

        self.made = made = Leaving()
        self.feed(LINE + b"more")
        self.assertEqual(made.received, [])
