"""Choices made from bytes: what turns a fuzzer's input into a session. Bytes of zero choose what is harmless."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from attrs import define
from twisted.logger import LogLevel, globalLogPublisher

from .scripted import uint32, uint64

T = TypeVar("T")

INTERESTING = [0, 1, 2, 3, 7, 9, 26, 64, 255, 256, 512, 1000, 1 << 15, 35_000, 1 << 18, (1 << 18) + 1]
INTERESTING += [(1 << 31) - 1, 1 << 31, (1 << 32) - 1]
INTERESTING_LONG = [*INTERESTING, 1 << 32, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - (1 << 18), (1 << 64) - 1]


class Exhausted(Exception):
    """The bytes are used up."""


@define(eq=False)
class Choices:
    """What Hypothesis chose."""

    data: bytes
    position: int = 0

    def byte(self) -> int:
        if self.position >= len(self.data):
            raise Exhausted
        self.position += 1
        return self.data[self.position - 1]

    def below(self, count: int) -> int:
        return (self.byte() if count <= 256 else self.byte() << 8 | self.byte()) % count

    def pick(self, values: Sequence[T]) -> T:
        return values[self.below(len(values))]

    def often(self, common: T, *rare: T) -> T:
        """Half of the time the first."""
        return common if self.byte() < 128 else self.pick(rare)

    def bytes(self, most: int) -> bytes:
        """Any bytes."""
        length = self.below(most + 1)
        return bytes(self.byte() for _ in range(length))

    def number(self) -> bytes:
        return uint32(self.byte() if self.byte() < 100 else self.pick(INTERESTING))

    def longNumber(self) -> bytes:
        return uint64(self.byte() if self.byte() < 150 else self.pick(INTERESTING_LONG))

    def damaged(self, body: bytes, share: int) -> bytes:
        """``body``, which ``share`` times of 256 is cut, prolonged, flipped, or has a number that lies."""
        if self.byte() < 256 - share or not body:
            return body
        kind = 5 + self.below(5)
        at = self.below(min(len(body), 256))
        if kind == 5:
            return body[:at]
        if kind == 6:
            return body + self.bytes(9)
        if kind == 7:
            return body[:at] + bytes((body[at] ^ (self.byte() or 1),)) + body[at + 1 :]
        if kind == 8:
            return body[:at] + self.number() + body[at + 4 :]
        return body[:at] + self.bytes(4) + body[at:]


@contextmanager
def nothingBreaks() -> Iterator[None]:
    """Nothing is logged as a failure meanwhile, also not of what nobody waits for any more.

    What was there before is not looked at for garbage, or every session would take a tenth of a second.
    """
    broken: list[Any] = []
    gc.freeze()

    def observe(event: Any) -> None:
        if event["log_level"] >= LogLevel.error or event.get("log_failure") is not None:
            broken.append(event)

    globalLogPublisher.addObserver(observe)
    try:
        yield
        gc.collect()
    finally:
        gc.unfreeze()
        globalLogPublisher.removeObserver(observe)
    for event in broken:
        failure = event.get("log_failure")
        raise AssertionError(failure.getTraceback() if failure is not None else repr(event))
