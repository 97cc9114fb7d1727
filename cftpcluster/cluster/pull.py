"""Pulls an offered snapshot, chunk by chunk, and proves it before anybody uses it.

What becomes of it is not known here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from ..config.codec import decodeDocument
from ..errors import ChainMismatch, Refused
from ..journal.entry import Snapshot
from .faults import NoAnswer
from .messages import CHUNK_BYTES, SnapshotOffer

MOST_BYTES = 1024 * 1024 * 1024
TRIES = 3


class HasChunks(Protocol):
    """Whoever offers snapshots."""

    def snapshotChunk(self, snapshotId: str, offset: int) -> Deferred[bytes]:
        """A piece of an offered snapshot."""


async def pull(
    publisher: HasChunks, offer: SnapshotOffer, inThread: Callable[..., Deferred[Any]], mustName: str | None
) -> Snapshot:
    """The snapshot that was offered.

    :param mustName: the primary that its document has to name; ``None`` where that need not be looked at.
    :raises SnapshotNeeded: it is not offered any more; ask to follow again.
    :raises ChainMismatch: it did not come as it was offered.
    :raises Refused: it does not name that primary.
    """
    if offer.size > MOST_BYTES:
        raise Refused(f"a snapshot of {offer.size} bytes is too large")
    chunks, size, digest = [], 0, hashlib.sha256()
    while size < offer.size:
        chunk = await _chunk(publisher, offer.id, size)
        if not 0 < len(chunk) <= min(CHUNK_BYTES, offer.size - size):
            raise ChainMismatch(offer.revision, "a chunk of the snapshot is not of the right size")
        chunks.append(chunk)
        size += len(chunk)
        digest.update(chunk)
    if digest.digest() != offer.sha256:
        raise ChainMismatch(offer.revision, f"the snapshot of revision {offer.revision} does not fit its SHA-256")
    data = b"".join(chunks)
    if mustName is not None:
        promoted = (await inThread(decodeDocument, data)).promoted
        if (promoted.epoch, promoted.name) != (offer.epoch, mustName):
            raise Refused(f"{mustName} claims epoch {offer.epoch}, but its snapshot does not name it primary")
    return Snapshot(offer.epoch, offer.revision, offer.chainHash, data, offer.sha256)


async def _chunk(publisher: HasChunks, id: str, offset: int) -> bytes:
    for _ in range(TRIES - 1):
        try:
            return await publisher.snapshotChunk(id, offset)
        except NoAnswer:
            # The link is alive; what came before need not come again.
            continue
    return await publisher.snapshotChunk(id, offset)
