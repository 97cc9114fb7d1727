"""A mark beside a journal: the newest revision that was acknowledged.

A write-ahead log whose end is damaged or gone looks to SQLite like one that never had it. The mark, written after each
commit, tells the two apart. It needs no fsync: a mark that is older than the journal, or missing, proves nothing and
harms nothing.
"""

from __future__ import annotations

import hashlib
import os

from attrs import define

_REVISION_BYTES = 8
_HASH_BYTES = 32
_BYTES = _REVISION_BYTES + 2 * _HASH_BYTES


@define(eq=False)
class Mark:
    """The file of a mark, open."""

    _descriptor: int

    @classmethod
    def open(cls, path: str) -> Mark:
        return cls(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def read(self) -> tuple[int, bytes] | None:
        """Revision and chain hash; ``None`` where there is no whole mark."""
        data = os.pread(self._descriptor, _BYTES, 0)
        position, proof = data[:-_HASH_BYTES], data[-_HASH_BYTES:]
        if len(data) < _BYTES or hashlib.sha256(position).digest() != proof:
            return None
        return int.from_bytes(position[:_REVISION_BYTES], "big"), position[_REVISION_BYTES:]

    def write(self, revision: int, chainHash: bytes) -> None:
        position = revision.to_bytes(_REVISION_BYTES, "big") + chainHash
        os.pwrite(self._descriptor, position + hashlib.sha256(position).digest(), 0)

    def clear(self) -> None:
        """There is no mark when this returns, not after a crash either."""
        os.ftruncate(self._descriptor, 0)
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
