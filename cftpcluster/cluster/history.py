"""Reads another node's history: whether this node's journal is a part of it, what comes after, and where they part.

Any member may read any other's, primary or not: all of them hold the same. Who is primary, and what follows from two
histories, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import define
from twisted.internet.defer import Deferred, execute

from ..errors import ChainMismatch, HistoryGone
from ..interfaces import IJournal
from ..journal.entry import Entry, Head, chained
from .messages import FollowAnswer
from .offers import SnapshotOffers
from .pull import pull

READ_ENTRIES = 1000


class History(Protocol):
    """A node's journal, as another node may read it."""

    def where(self, revision: int, chainHash: bytes) -> Deferred[FollowAnswer]:
        """Where its head is; with an offer of a snapshot where that place is not on its history, or before all that it
        keeps. Without a chain hash it always offers one."""

    def entries(self, revision: int, limit: int) -> Deferred[Sequence[Entry]]:
        """As :meth:`cftpcluster.interfaces.IJournal.since`."""

    def snapshotChunk(self, snapshotId: str, offset: int) -> Deferred[bytes]:
        """A piece of an offered snapshot."""


@define(eq=False)
class OwnHistory:
    """This node's journal, for others."""

    _journal: IJournal
    _offers: SnapshotOffers

    def where(self, revision: int, chainHash: bytes) -> Deferred[FollowAnswer]:
        return Deferred.fromCoroutine(self.answer(revision, chainHash))

    def entries(self, revision: int, limit: int) -> Deferred[Sequence[Entry]]:
        return self._journal.since(revision, min(max(limit, 1), READ_ENTRIES))

    def snapshotChunk(self, snapshotId: str, offset: int) -> Deferred[bytes]:
        return execute(self._offers.chunk, snapshotId, offset)

    async def answer(self, revision: int, chainHash: bytes) -> FollowAnswer:
        standing = await self.standing(revision, chainHash)
        head = await self._journal.head()
        if standing == "":
            return FollowAnswer(head.epoch, head.revision, head.chainHash)
        return await self.offer(head, revision, standing)

    async def offer(self, head: Head, revision: int, standing: str) -> FollowAnswer:
        """The answer with a snapshot, for whoever is ``behind`` or ``diverged`` at ``revision``."""
        diverged = standing == "diverged"
        offer = await self._offers.offer(head.epoch, revision if diverged else revision + 1, diverged)
        # While it was made the journal went on, and an answer that is behind its own offer is not believed.
        head = await self._journal.head()
        return FollowAnswer(head.epoch, head.revision, head.chainHash, offer)

    async def standing(self, revision: int, chainHash: bytes) -> str:
        """Where that place is in this history: "" when on it, "behind" what is kept of it, or "diverged" from it."""
        head = await self._journal.head()
        if revision >= head.revision:
            return "" if (revision, chainHash) == (head.revision, head.chainHash) else "diverged"
        try:
            following = await self._journal.since(revision, 1)
        except HistoryGone:
            return "behind" if chainHash else "diverged"
        # One entry proves it: its hash covers the hash before it.
        return "" if following and chained(chainHash, following[0].body) == following[0].chainHash else "diverged"


async def catchUp(
    journal: IJournal, source: History, inThread: Callable[..., Deferred[Any]], taken: Callable[[Head], None]
) -> bool:
    """Take what ``source`` has beyond this journal. Fires with whether it could be done: nothing is taken from a
    history that this journal is no part of.

    :param taken: told of each head that this makes.
    """
    head: Head = await journal.head()
    answer = await source.where(head.revision, head.chainHash)
    offer = answer.snapshot
    if offer is not None:
        # Where it has forgotten that place, a later epoch may have begun before it.
        isUnproven = offer.epoch > head.epoch and head.revision > 0
        if offer.diverged or isUnproven or (offer.epoch, offer.revision) < (head.epoch, head.revision):
            return False
        head = await journal.restore(await pull(source, offer, inThread, None))
        taken(head)
    while head.revision < answer.revision:
        entries = await source.entries(head.revision, READ_ENTRIES)
        if not entries:
            raise ChainMismatch(head.revision + 1, f"revision {head.revision + 1} did not come")
        head = await journal.extend(entries)
        taken(head)
    return True


async def commonAncestor(journal: IJournal, source: History) -> int | None:
    """The last revision that both have in common; ``None`` where that is older than what either still keeps."""
    head = await journal.head()
    answer = await source.where(head.revision, head.chainHash)
    low, high = 0, min(head.revision, answer.revision)
    isKnown = True
    while low < high:
        middle = (low + high + 1) // 2
        isCommon = await _isCommon(journal, source, middle)
        if isCommon is False:
            high = middle - 1
        else:
            low, isKnown = middle, isCommon is True
    return low if isKnown or await _isOnIt(journal, source, low) else None


async def _isOnIt(journal: IJournal, source: History, revision: int) -> bool:
    """Whether this journal's oldest place, of which there is no entry any more, is on the other history."""
    try:
        head = await journal.at(revision)
    except HistoryGone:
        return False
    return (await source.where(revision, head.chainHash)).snapshot is None


async def _isCommon(journal: IJournal, source: History, revision: int) -> bool | None:
    """Whether both have the same entry there; ``None`` where one of them has forgotten it."""
    try:
        ours, theirs = await journal.since(revision - 1, 1), await source.entries(revision - 1, 1)
    except HistoryGone:
        return None
    return bool(ours and theirs) and ours[0].chainHash == theirs[0].chainHash
