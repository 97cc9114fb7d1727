"""The PROXY protocol: who the client of a connection really is that comes through a balancer.

HAProxy's ``doc/proxy-protocol.txt``, sections 2.1 (version 1, a line of text) and 2.2 (version 2, binary). One header
stands before everything else, TLS included::

    v1: PROXY TCP4 203.0.113.7 192.0.2.1 50123 2222 CR LF
    v2: signature, version and command, family and transport, length, addresses, TLVs

A header is believed from trusted proxies only, and whether there is one is never guessed: :class:`ProxyPolicy` knows it
by the address that the connection comes from. What is spoken behind the header is not known here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any

from attrs import field, frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface

from ..networks import Networks, parseAddress

HEADER_SECONDS = 5.0
"""How long a trusted proxy may take for its header."""

LONGEST_LINE_BYTES = 107
"""Of version 1, its CR LF included."""

LONGEST_BYTES = 4096
"""Of version 2. Addresses need 36; the rest is for what balancers add, such as the names of a client certificate."""

_LINE_START = b"PROXY "
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED_BYTES = 16
_NUMBER = rb"(0|[1-9][0-9]{0,4})"
_LINE = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f.:]{2,45}) ([0-9A-Fa-f.:]{2,45}) %b %b\r\n" % (_NUMBER, _NUMBER))
_UNKNOWN = b"PROXY UNKNOWN"

_LOCAL, _PROXY = 0, 1
_ADDRESS_BYTES = {0: 0, 1: 4, 2: 16, 3: 108}
"""Length of one address, by family: unspecified, IPv4, IPv6, UNIX."""

_TCP = {0x11, 0x21}
_CRC32C_TYPE = 3


class BadHeader(ValueError):
    """These bytes are no PROXY header, and what follows cannot make them one; says why."""


@frozen
class Endpoint:
    """One end of the client's connection. An IPv4 address in IPv6 clothing is the IPv4 address."""

    host: str
    port: int


def addressOf(endpoint: Endpoint) -> IPv4Address | IPv6Address:
    """As transports tell their ends."""
    kind = IPv6Address if ":" in endpoint.host else IPv4Address
    return kind("TCP", endpoint.host, endpoint.port)


@frozen
class Header:
    """
    :ivar length: of the header, in bytes.
    :ivar source: the client; ``None`` where the header does not tell (UNKNOWN, LOCAL, what is not TCP), so that the
        connection is the proxy's own.
    :ivar destination: where the client connected to; ``None`` likewise.
    """

    length: int
    source: Endpoint | None = None
    destination: Endpoint | None = None


def parseHeader(data: bytes) -> Header | None:
    """The header that ``data`` starts with; ``None`` while it is not complete.

    :raises BadHeader: as soon as it cannot become one, so that no more than :data:`LONGEST_BYTES` are ever waited for.
    """
    if data[:1] == _SIGNATURE[:1]:
        return _parseBinary(data)
    return _parseLine(data)


# --- version 1


def _parseLine(data: bytes) -> Header | None:
    if data[: len(_LINE_START)] != _LINE_START[: len(data)]:
        raise BadHeader("it does not start with a PROXY header")
    end = data.find(b"\r\n", 0, LONGEST_LINE_BYTES)
    if end < 0:
        if len(data) >= LONGEST_LINE_BYTES:
            raise BadHeader(f"its PROXY header does not end within {LONGEST_LINE_BYTES} bytes")
        return None
    line = data[: end + 2]
    if line.startswith((_UNKNOWN + b"\r\n", _UNKNOWN + b" ")):
        return Header(len(line))
    match = _LINE.fullmatch(line)
    if match is None:
        raise BadHeader("its PROXY header is malformed")
    family, source, destination, sourcePort, destinationPort = match.groups()
    parse = ipaddress.IPv4Address if family == b"4" else ipaddress.IPv6Address
    ends = []
    for host, port in ((source, sourcePort), (destination, destinationPort)):
        try:
            address = parse(host.decode("ascii"))
        except ValueError:
            raise BadHeader(f"its PROXY header has an address that is not of IPv{family.decode()}") from None
        if int(port) > 65535:
            raise BadHeader("its PROXY header has a port beyond 65535")
        ends.append(_endpoint(address.packed, int(port)))
    return Header(len(line), *ends)


def _endpoint(packed: bytes, port: int) -> Endpoint:
    return Endpoint(str(parseAddress(str(ipaddress.ip_address(packed)))), port)


# --- version 2


def _parseBinary(data: bytes) -> Header | None:
    if data[: len(_SIGNATURE)] != _SIGNATURE[: len(data)]:
        raise BadHeader("it does not start with a PROXY header")
    if len(data) > len(_SIGNATURE) and data[12] >> 4 != 2:
        raise BadHeader(f"its PROXY header is of version {data[12] >> 4}")
    if len(data) < _FIXED_BYTES:
        return None
    length = _FIXED_BYTES + int.from_bytes(data[14:16], "big")
    if length > LONGEST_BYTES:
        raise BadHeader(f"its PROXY header is {length} bytes long, more than {LONGEST_BYTES}")
    if len(data) < length:
        return None
    command, family = data[12] & 0xF, data[13]
    if command == _LOCAL:
        return Header(length)
    if command != _PROXY:
        raise BadHeader(f"its PROXY header has the unknown command {command}")
    if family >> 4 not in _ADDRESS_BYTES or family & 0xF > 2:
        raise BadHeader(f"its PROXY header is of the unknown family {family:#04x}")
    return _parseAddresses(data[:length])


def _parseAddresses(header: bytes) -> Header:
    family = header[13]
    size = _ADDRESS_BYTES[family >> 4]
    portsAt = _FIXED_BYTES + 2 * size
    end = portsAt + (4 if size in {4, 16} else 0)
    if len(header) < end:
        raise BadHeader("its PROXY header is too short for its addresses")
    if size:
        _check(header, end)
    if family not in _TCP:
        return Header(len(header))
    ends = [
        _endpoint(
            header[_FIXED_BYTES + size * index : _FIXED_BYTES + size * (index + 1)],
            int.from_bytes(header[portsAt + 2 * index : portsAt + 2 * index + 2], "big"),
        )
        for index in (0, 1)
    ]
    return Header(len(header), *ends)


def _check(header: bytes, start: int) -> None:
    """TLVs are whole, and a checksum among them is right."""
    sums = [at for kind, at, length in _tlvs(header, start) if kind == _CRC32C_TYPE and _isSum(length)]
    if len(sums) > 1:
        raise BadHeader("its PROXY header has more than one checksum")
    for at in sums:
        zeroed = header[:at] + bytes(4) + header[at + 4 :]
        if crc32c(zeroed) != int.from_bytes(header[at : at + 4], "big"):
            raise BadHeader("its PROXY header has a wrong checksum")


def _isSum(length: int) -> bool:
    if length != 4:
        raise BadHeader("its PROXY header has a malformed checksum")
    return True


def _tlvs(header: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Type, place of the value, and its length, of each."""
    while at < len(header):
        value = at + 3
        length = int.from_bytes(header[at + 1 : value], "big")
        if value + length > len(header):
            raise BadHeader("its PROXY header has a TLV that does not end within it")
        yield header[at], value, length
        at = value + length


def _sums() -> Iterator[int]:
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)  # noqa: PLW2901 - the remainder so far
        yield number


_SUMS = tuple(_sums())


def crc32c(data: bytes) -> int:
    """The checksum of RFC 9260, appendix A (Castagnoli's polynomial)."""
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder = remainder >> 8 ^ _SUMS[(remainder ^ byte) & 0xFF]
    return remainder ^ 0xFFFFFFFF


# --- who is believed


@frozen
class ProxyPolicy:
    """Which connections of a listener start with a header, by the address that they come from."""

    mode: str = "off"
    trusted: Networks = field(factory=Networks)

    def admits(self, host: str) -> bool:
        """Whether a connection from there is taken at all."""
        return self.mode != "required" or host in self.trusted

    def expects(self, host: str) -> bool:
        """Whether it must start with a header; otherwise it must not, and its first bytes are the protocol's."""
        return self.mode != "off" and host in self.trusted


class IProxiedTransport(Interface):
    """A transport whose ``getPeer`` and ``getHost`` are what the client sees, whatever stands between."""

    proxyPolicy: ProxyPolicy = Attribute("of the listener that the connection came in by, as it is now")

    def getSocketHost() -> Any:
        """The address of this machine that the connection came to; not a Deferred."""


def policyOf(transport: Any) -> ProxyPolicy:
    """The policy that a connection came in by."""
    return transport.proxyPolicy if IProxiedTransport.providedBy(transport) else ProxyPolicy()


def socketHost(transport: Any) -> Any:
    """The address of this machine that a connection came to."""
    return transport.getSocketHost() if IProxiedTransport.providedBy(transport) else transport.getHost()


# --- waiting for the header


class HeaderReader(Protocol):
    """Stands where a connection's protocol will stand, until the header has come; then it is gone.

    :param known: is given transport and header, and answers with the protocol to go on with; ``None`` ends the
        connection.
    :param refused: is told in which way a header was none; "" for a connection that ended without a word.
    """

    transport: Any
    _ordinary: int
    _deadline: IDelayedCall | None = None

    def __init__(
        self,
        clock: IReactorTime,
        known: Callable[[Any, Header], IProtocol | None],
        refused: Callable[[Any, str], None],
    ) -> None:
        self._clock = clock
        self._known = known
        self._refused = refused
        self._received = b""

    def connectionMade(self) -> None:
        self._ordinary = self.transport.bufferSize
        # Never more than the longest header is held here.
        self.transport.bufferSize = LONGEST_BYTES
        self._deadline = self._clock.callLater(HEADER_SECONDS, self._late)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._stopWaiting():
            self._refused(self.transport, "it ended within its PROXY header" if self._received else "")

    def _stopWaiting(self) -> bool:
        deadline, self._deadline = self._deadline, None
        if deadline is None:
            return False
        if deadline.active():
            deadline.cancel()
        return True

    def _late(self) -> None:
        self._refuse(f"it sent no PROXY header within {HEADER_SECONDS:.0f} seconds")

    def _refuse(self, why: str) -> None:
        self._stopWaiting()
        self._refused(self.transport, why)
        self.transport.abortConnection()

    def abort(self) -> None:
        """Wait no longer."""
        self._stopWaiting()
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        if self._deadline is None:
            return
        self._received += data
        try:
            header = parseHeader(self._received)
        except BadHeader as error:
            self._refuse(str(error))
            return
        if header is None:
            self.transport.bufferSize = LONGEST_BYTES - len(self._received)
            return
        self._stopWaiting()
        self._handOver(header)

    def _handOver(self, header: Header) -> None:
        transport, rest, self._received = self.transport, self._received[header.length :], b""
        transport.bufferSize = self._ordinary
        protocol = self._known(transport, header)
        if protocol is None:
            transport.abortConnection()
            return
        transport.protocol = protocol
        protocol.makeConnection(transport)
        if rest and not transport.disconnecting:
            # Whoever has it now; TLS may have come between.
            transport.protocol.dataReceived(rest)
