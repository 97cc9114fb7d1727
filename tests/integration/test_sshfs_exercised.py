"""One file on an ``sshfs`` mount of a real node, in whatever order of operations, compared with what it must hold."""

from __future__ import annotations

import mmap
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from . import test_sshfs
from .clients import needs
from .test_sshfs import needsFuse

LARGEST = 256 * 1024
PIECE = 64 * 1024


class Differs(Exception):
    """A file does not hold what it must."""


class Exerciser:
    """
    :ivar expected: what the file must hold.
    :ivar done: what was done to it.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self._path, self._random = path, random.Random(seed)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self.expected = bytearray()
        self.done: list[str] = [f"seed {seed}"]

    def run(self, operations: Sequence[Callable[[Exerciser, int, int], None]], count: int) -> None:
        for _ in range(count):
            offset = self._random.randrange(LARGEST)
            length = self._random.randrange(1, min(PIECE, LARGEST - offset) + 1)
            operation = self._random.choice(operations)
            self.done.append(f"{operation.__name__} {offset} {length} of {len(self.expected)}")
            operation(self, offset, length)
        os.close(self._file)
        self._compare(self._path.read_bytes(), bytes(self.expected))

    def _compare(self, found: bytes, expected: bytes) -> None:
        if found != expected:
            at = next((at for at, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]), -1)
            raise Differs(f"at {at}, {len(found)} bytes for {len(expected)}, after {'; '.join(self.done[-12:])}")

    def _part(self, offset: int, length: int) -> bytes:
        return bytes(self.expected[offset : offset + length])

    def _resized(self, size: int) -> None:
        del self.expected[size:]
        self.expected.extend(bytes(size - len(self.expected)))

    def write(self, offset: int, length: int) -> None:
        data = self._random.randbytes(length)
        os.pwrite(self._file, data, offset)
        if offset > len(self.expected):
            self._resized(offset)
        self.expected[offset : offset + length] = data

    def read(self, offset: int, length: int) -> None:
        self._compare(os.pread(self._file, length, offset), self._part(offset, length))

    def readBySecondHandle(self, offset: int, length: int) -> None:
        with self._path.open("rb") as file:
            self._compare(os.pread(file.fileno(), length, offset), self._part(offset, length))

    def append(self, offset: int, length: int) -> None:
        if len(self.expected) + length < LARGEST:
            data = self._random.randbytes(length)
            with self._path.open("ab") as file:
                file.write(data)
            self.expected += data

    def truncate(self, offset: int, length: int) -> None:
        os.truncate(self._path, offset)
        self._resized(offset)

    def truncateByHandle(self, offset: int, length: int) -> None:
        os.ftruncate(self._file, offset)
        self._resized(offset)

    def map(self, offset: int, length: int) -> None:
        if offset < len(self.expected):
            with mmap.mmap(self._file, len(self.expected)) as mapped:
                part = self._part(offset, length)
                self._compare(mapped[offset : offset + length], part)
                data = self._random.randbytes(len(part))
                mapped[offset : offset + len(part)] = data
                mapped.flush()
            self.expected[offset : offset + len(part)] = data

    def openAnew(self, offset: int, length: int) -> None:
        os.close(self._file)
        self._file = os.open(self._path, os.O_RDWR)

    def sync(self, offset: int, length: int) -> None:
        os.fsync(self._file)

    def tellLength(self, offset: int, length: int) -> None:
        found = {os.fstat(self._file).st_size, self._path.stat().st_size}
        self._compare(str(found).encode(), str({len(self.expected)}).encode())

    def rename(self, offset: int, length: int) -> None:
        self._path = self._path.rename(self._path.with_name(f"file{offset}"))


OPERATIONS = [
    *[Exerciser.write, Exerciser.read] * 3,
    *(Exerciser.readBySecondHandle, Exerciser.append, Exerciser.truncate, Exerciser.truncateByHandle),
    *(Exerciser.openAnew, Exerciser.sync, Exerciser.tellLength, Exerciser.rename),
]


@needsFuse
@needs("sshfs", "fusermount3")
class CachedTests(test_sshfs.MountedTestCase):
    operations = [*OPERATIONS, Exerciser.map]

    def test_holdsWhatItMust(self) -> None:
        for seed in range(3):
            Exerciser(self.mount / f"file{seed}", seed).run(self.operations, 150)


class UncachedTests(CachedTests):
    """The kernel keeps nothing, so that each read and each write is the server's."""

    options = ("direct_io", "dir_cache=no")
    operations = OPERATIONS
