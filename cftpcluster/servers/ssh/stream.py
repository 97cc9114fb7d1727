"""The packets of one connection: cut from what arrives and made of what is sent (RFC 4253, sections 4.2 and 6).

Knows keys, sequence numbers and lengths; no message, and no socket.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

from .ciphers import Clear, Opener, Sealer
from .wire import Buffer, Pieces

LONGEST_VERSION_LINE = 255
LONGEST_BEFORE_LOGIN = 35_000
LONGEST_PACKET = 256 * 1024 + 1024

_SEQUENCE_MASK = 0xFFFFFFFF


class BadVersion(Exception):
    """What arrives is not SSH 2."""


class BadLength(Exception):
    """A packet is too short or too long."""


@define(eq=False)
class Incoming:
    """
    :ivar longest: how long a packet may be.
    :ivar sequence: number of the packet that was cut last.
    :ivar keyBytes: what was opened with the present keys.
    """

    longest: int = LONGEST_BEFORE_LOGIN
    sequence: int = 0
    keyBytes: int = 0
    _next: int = 0
    _opener: Opener = field(factory=Clear)
    _received: Pieces = field(factory=Pieces)
    _wanted: int = 0  # length of the packet whose head was read, 0 before

    def feed(self, data: bytes) -> None:
        self._received.append(data)

    def clear(self) -> None:
        self._received.clear()

    def useKeys(self, opener: Opener, restart: bool) -> None:
        """Open what follows with other keys; ``restart`` counts packets from 0 again."""
        self._opener = opener
        self.keyBytes = 0
        if restart:
            self._next = 0

    def version(self) -> bytes | None:
        """The client's version line, if it is there; nothing may come before it."""
        start = self._received.peek(LONGEST_VERSION_LINE)
        end = start.find(b"\n")
        if end < 0 and len(start) < LONGEST_VERSION_LINE:
            return None
        line = start[: max(end, 0)].removesuffix(b"\r")
        if not line.startswith((b"SSH-2.0-", b"SSH-1.99-")) or b"\0" in line:
            raise BadVersion
        self._received.take(end + 1)
        return line

    def next(self) -> memoryview | None:
        """The next packet's payload, never empty, if it is there. ``BadLength``, ``Tampered``."""
        opener, received = self._opener, self._received
        if not self._wanted:
            if len(received) < opener.headSize:
                return None
            length = opener.length(self._next, received.peek(opener.headSize))
            if not 8 <= length <= self.longest or length + 4 < opener.headSize:
                raise BadLength
            self._wanted = 4 + length + opener.overhead
        if len(received) < self._wanted:
            return None
        packet = received.take(self._wanted)
        self._wanted = 0
        payload = opener.open(self._next, packet)
        self.keyBytes += len(packet)
        self.sequence = self._next
        self._next = (self._next + 1) & _SEQUENCE_MASK
        return payload


@define(eq=False)
class Outgoing:
    """:ivar keyBytes: what was sealed with the present keys."""

    keyBytes: int = 0
    _next: int = 0
    _sealer: Sealer = field(factory=Clear)

    def useKeys(self, sealer: Sealer, restart: bool) -> None:
        """Seal what follows with other keys; ``restart`` counts packets from 0 again."""
        self._sealer = sealer
        self.keyBytes = 0
        if restart:
            self._next = 0

    def seal(self, parts: Sequence[Buffer]) -> Sequence[Buffer]:
        """The packet whose payload is ``parts`` joined, in parts."""
        packet = self._sealer.seal(self._next, parts)
        self._next = (self._next + 1) & _SEQUENCE_MASK
        self.keyBytes += sum(map(len, packet))
        return packet
