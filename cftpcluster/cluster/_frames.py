"""Single JSON values on a byte stream, each with its length before it: how nodes talk before there is a link.

A frame is a length (4 bytes, big-endian, at most :data:`MOST_BYTES`) and a JSON object, where bytes are base64. What
the objects say is not known here.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from attrs import define, field

from ..errors import Refused

MOST_BYTES = 65536
_LENGTH_BYTES = 4


def encodeFrame(value: Mapping[str, Any]) -> bytes:
    """``value`` as a frame."""
    payload = json.dumps(value, separators=(",", ":")).encode("ascii")
    if len(payload) > MOST_BYTES:
        raise ValueError("a frame would be too long")
    return len(payload).to_bytes(_LENGTH_BYTES, "big") + payload


def encodeBytes(data: bytes) -> str:
    """``data`` as a frame holds it."""
    return base64.b64encode(data).decode("ascii")


def decodeBytes(text: str) -> bytes:
    """The bytes that a frame holds as ``text``; :class:`Refused` when it is not base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("a value in a message is not base64") from None


@define(eq=False)
class FrameReader:
    """Takes the first frame off a stream, holding never more than that frame and the piece that ended it."""

    _received: bytearray = field(factory=bytearray, init=False)

    def feed(self, data: bytes) -> tuple[dict[str, Any], bytes] | None:
        """The frame's object and what came after it, once it is whole. :class:`Refused` when it is none."""
        self._received += data
        if len(self._received) < _LENGTH_BYTES:
            return None
        end = _LENGTH_BYTES + int.from_bytes(self._received[:_LENGTH_BYTES], "big")
        if end > _LENGTH_BYTES + MOST_BYTES:
            raise Refused("a message is too long")
        if len(self._received) < end:
            return None
        payload, rest = bytes(self._received[_LENGTH_BYTES:end]), bytes(self._received[end:])
        self._received.clear()
        try:
            value = json.loads(payload)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise Refused("a message is not a JSON object")
        return value, rest
