"""The data types of SSH, read from hostile bytes and written (RFC 4251, section 5). Knows no message.

SFTP (draft-ietf-secsh-filexfer-02) uses the same ones.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable
from typing import TypeAlias

Buffer: TypeAlias = bytes | memoryview

_UINT32 = struct.Struct(">I")
_UINT64 = struct.Struct(">Q")


SMALL_BYTES = 512
GATHERED_BYTES = 4096
"""Small pieces are gathered into ones of this size: each of them costs more memory than its bytes."""


class Truncated(Exception):
    """The bytes end before the value does."""


class Pieces:
    """Bytes in the pieces that they came in. What is taken is copied only where no piece has all of it."""

    __slots__ = ("_at", "_first", "_more", "_size")

    def __init__(self) -> None:
        self._first = memoryview(b"")
        self._at = self._size = 0
        self._more: deque[memoryview] = deque()

    def __len__(self) -> int:
        return self._size

    def append(self, piece: Buffer) -> None:
        if not self._size:
            self._first, self._at = memoryview(piece), 0
        elif len(piece) < SMALL_BYTES and self._more and len(self._more[-1]) < GATHERED_BYTES:
            self._more[-1] = memoryview(b"".join((self._more[-1], piece)))
        else:
            self._more.append(memoryview(piece))
        self._size += len(piece)

    def take(self, length: int) -> memoryview:
        """The first ``length`` bytes, which must be there; they are gone then."""
        start, stop = self._at, self._at + length
        if stop > len(self._first):
            return self._joined(length)
        self._size -= length
        self._at = stop
        return self._first[start:stop]

    def _joined(self, length: int) -> memoryview:
        if length > self._size:
            raise Truncated
        if self._at == len(self._first):
            self._first, self._at = self._more.popleft(), 0
            return self.take(length)
        self._size -= length
        parts: list[memoryview] = []
        while True:
            part = self._first[self._at : self._at + length]
            parts.append(part)
            self._at += len(part)
            length -= len(part)
            if not length:
                return memoryview(b"".join(parts))
            self._first, self._at = self._more.popleft(), 0

    def peek(self, length: int) -> bytes:
        """The first bytes, at most ``length``; they stay."""
        start = bytes(self._first[self._at : self._at + length])
        for piece in self._more:
            if len(start) == length:
                break
            start += piece[: length - len(start)]
        return start

    def clear(self) -> None:
        self._first, self._at, self._size = memoryview(b""), 0, 0
        self._more.clear()


class Reader:
    """Reads one value after the other; what follows the last one is nobody's business."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: Buffer, position: int = 0) -> None:
        self._data = data
        self._position = position

    def take(self, length: int) -> memoryview:
        """The next ``length`` bytes, not copied."""
        start, stop = self._position, self._position + length
        if stop > len(self._data):
            raise Truncated
        self._position = stop
        return memoryview(self._data)[start:stop]

    def byte(self) -> int:
        return self.take(1)[0]

    def boolean(self) -> bool:
        return self.byte() != 0

    def uint32(self) -> int:
        try:
            (value,) = _UINT32.unpack_from(self._data, self._position)
        except struct.error:
            raise Truncated from None
        self._position += 4
        return int(value)

    def uint64(self) -> int:
        try:
            (value,) = _UINT64.unpack_from(self._data, self._position)
        except struct.error:
            raise Truncated from None
        self._position += 8
        return int(value)

    def view(self) -> memoryview:
        """A string, not copied."""
        return self.take(self.uint32())

    def string(self) -> bytes:
        return self.view().tobytes()

    def names(self) -> list[bytes]:
        """A name-list."""
        text = self.string()
        return text.split(b",") if text else []

    def strings(self) -> list[bytes]:
        """All strings up to the end."""
        found = []
        while self._position < len(self._data):
            found.append(self.string())
        return found

    def rest(self) -> bytes:
        """Everything that was not read."""
        return self.take(len(self._data) - self._position).tobytes()


def uint32(value: int) -> bytes:
    return _UINT32.pack(value)


def uint64(value: int) -> bytes:
    return _UINT64.pack(value)


def boolean(value: bool) -> bytes:
    return b"\1" if value else b"\0"


def string(value: bytes) -> bytes:
    return _UINT32.pack(len(value)) + value


def names(values: Iterable[bytes]) -> bytes:
    """A name-list."""
    return string(b",".join(values))
