"""Whether what is stored is the journal that was written: nothing altered, nothing missing, nothing after the end.

Pure; where it is stored is not known here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping

from attrs import frozen

from ..errors import ChainMismatch
from ._fold import followed, headOf
from .entry import Entry, Head, Snapshot, chained

Position = tuple[int, bytes]
"""A revision and the chain hash there."""


@frozen
class Stored:
    """What a storage holds.

    :ivar snapshots: every snapshot, the oldest first; all entries are later than that one.
    :ivar entriesAfter: the entries after a revision, in order.
    :ivar end: where the storage says that it ends.
    :ivar mark: what was acknowledged, if that is known.
    """

    snapshots: Iterable[Snapshot]
    entriesAfter: Callable[[int], Iterator[Entry]]
    end: Position | None
    mark: Position | None


def proved(stored: Stored, start: Snapshot | None) -> tuple[Head | None, Mapping[str, int]]:
    """The head, folded from ``start`` on (without one there is no head), and the revisions of requests by their ids.

    :raises ChainMismatch: with the first revision that is not what it should be.
    """
    known = dict(_positions(stored.snapshots))
    if not known:
        raise ChainMismatch(0, "there is no snapshot to start from")
    revision, chainHash = min(known.items())
    head = headOf(start) if start is not None else None
    requests: dict[str, int] = {}
    for entry in stored.entriesAfter(revision):
        revision += 1
        if entry.revision != revision or chained(chainHash, entry.body) != entry.chainHash:
            raise ChainMismatch(revision, f"revision {revision} does not follow on {revision - 1}")
        chainHash = entry.chainHash
        _agree(revision, chainHash, known.pop(revision, chainHash), "a snapshot")
        if stored.mark is not None and revision == stored.mark[0]:
            _agree(revision, chainHash, stored.mark[1], "what was acknowledged")
        if entry.requestId:
            requests[entry.requestId] = revision
        if head is not None and revision > head.revision:
            head = followed(head, entry)
    _proveEnd(stored, revision, chainHash)
    if any(later > revision for later in known):
        raise ChainMismatch(revision + 1, f"revision {revision + 1} is missing; there is a later snapshot")
    return head, requests


def _positions(snapshots: Iterable[Snapshot]) -> Iterator[Position]:
    for one in snapshots:
        if hashlib.sha256(one.data).digest() != one.sha256:
            raise ChainMismatch(one.revision, f"the snapshot of revision {one.revision} does not fit its SHA-256")
        yield one.revision, one.chainHash


def _agree(revision: int, chainHash: bytes, other: bytes, what: str) -> None:
    if chainHash != other:
        raise ChainMismatch(revision, f"revision {revision} is not of the same history as {what}")


def _proveEnd(stored: Stored, revision: int, chainHash: bytes) -> None:
    if stored.mark is not None and stored.mark[0] > revision:
        raise ChainMismatch(
            revision + 1, f"revision {revision + 1} is missing; up to {stored.mark[0]} they were acknowledged"
        )
    if stored.end != (revision, chainHash):
        raise ChainMismatch(revision + 1, f"revision {revision + 1} is missing, or the head is not the last entry's")
