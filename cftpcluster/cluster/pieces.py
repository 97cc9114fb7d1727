"""Carries what is too large for one message: in pieces sent ahead, each acknowledged, so that nothing waits behind it.

In the message itself stands, in place of the bytes, a *ticket*: a map with the number under which the pieces were sent,
their length and their SHA-256. Plain forms hold no other maps. What the bytes mean, and how messages travel, is not
known here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import Factory, define, field

from ..errors import Refused
from .messages import CHUNK_BYTES, expect, expectHash, malformed
from .places import Places

MOST_BYTES = 512 * 1024 * 1024
"""The most that one side keeps of what the other sent ahead."""

MOST_PARCELS = 4
"""How many of them it keeps; older ones, whose message never came, make room."""

_DEEPEST = 8


@define(eq=False)
class OutgoingPieces:
    """Sends large bytes ahead, one after the other.

    :ivar send: sends a piece: number, offset, bytes; fires when the other side has it.
    """

    _send: Callable[[int, int, bytes], Awaitable[object]]
    _number: int = field(default=0, init=False)
    _one: Places = field(factory=lambda: Places(1), init=False)

    async def sendAhead(self, plain: Any) -> Any:
        """A copy of ``plain`` in which tickets stand for what had to be sent ahead."""
        if type(plain) is bytes:
            return plain if len(plain) <= CHUNK_BYTES else await self._parcel(plain)
        if isinstance(plain, list | tuple):
            # A new list each: where one stands twice in a message, it is a reference there, and refused.
            return [await self.sendAhead(one) for one in plain]
        return plain

    def close(self, error: Exception) -> None:
        """The other side is gone: whoever waits fails with ``error``."""
        self._one.close(error)

    async def _parcel(self, data: bytes) -> dict[str, Any]:
        if len(data) > MOST_BYTES:
            raise Refused(f"{len(data)} bytes are more than {MOST_BYTES}, the most that a link carries")
        await self._one.acquire()
        try:
            self._number += 1
            number, digest, view = self._number, hashlib.sha256(), memoryview(data)
            for offset in range(0, len(data), CHUNK_BYTES):
                piece = bytes(view[offset : offset + CHUNK_BYTES])
                digest.update(piece)
                await self._send(number, offset, piece)
        finally:
            self._one.release()
        return {"number": number, "length": len(data), "sha256": digest.digest()}


@define(eq=False)
class _Parcel:
    pieces: list[bytes] = Factory(list)
    length: int = 0
    digest: Any = Factory(hashlib.sha256)


@define(eq=False)
class IncomingPieces:
    """Keeps what was sent ahead until its message comes."""

    _parcels: dict[int, _Parcel] = field(factory=dict, init=False)

    def received(self, number: Any, offset: Any, piece: Any) -> None:
        """Take the next piece."""
        if expect(offset, int, "piece") == 0:
            self._parcels.pop(expect(number, int, "piece"), None)
            while len(self._parcels) >= MOST_PARCELS:
                del self._parcels[next(iter(self._parcels))]
            self._parcels[number] = _Parcel()
        parcel = self._parcels.get(expect(number, int, "piece"))
        if parcel is None or parcel.length != offset or not 0 < len(expect(piece, bytes, "piece")) <= CHUNK_BYTES:
            raise malformed("piece")
        if sum(one.length for one in self._parcels.values()) + len(piece) > MOST_BYTES:
            del self._parcels[number]
            raise Refused(f"more than {MOST_BYTES} bytes were sent ahead")
        parcel.pieces.append(piece)
        parcel.length += len(piece)
        parcel.digest.update(piece)

    def opened(self, plain: Any, depth: int = 0) -> Any:
        """``plain`` with the bytes in place of their tickets."""
        if depth > _DEEPEST:
            raise malformed("nested too deep")
        if type(plain) is dict:
            return self._claimed(plain)
        if type(plain) is list:
            return [self.opened(one, depth + 1) for one in plain]
        return plain

    def _claimed(self, ticket: dict[Any, Any]) -> bytes:
        parcel = self._parcels.pop(expect(ticket.get("number"), int, "ticket"), None)
        if parcel is None or parcel.length != ticket.get("length"):
            raise malformed("ticket")
        if parcel.digest.digest() != expectHash(ticket.get("sha256")):
            raise malformed("what was sent ahead came changed")
        return b"".join(parcel.pieces)
