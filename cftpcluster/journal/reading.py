"""What is read of any journal beyond a few entries. Where it keeps them is not known here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from ..config.document import Document
from ..errors import HistoryGone
from ..interfaces import IJournal
from ._fold import folded, headOf


async def oldestRevision(journal: IJournal) -> int:
    """The oldest revision that the journal can still tell of; its own entry is not there any more."""
    low, high = 0, (await journal.head()).revision
    while low < high:
        middle = (low + high) // 2
        try:
            await journal.since(middle, 1)
            high = middle
        except HistoryGone:
            low = middle + 1
    return low


async def documentAt(journal: IJournal, revision: int, inThread: Callable[..., Deferred[Any]]) -> Document:
    """The document as it was at a revision, made beside the journal's own work; fails as :meth:`IJournal.at`."""
    head = await journal.head()
    if revision == head.revision:
        newest: Document = head.document
        return newest
    start, entries = await journal.parts(revision)
    document: Document = await inThread(lambda: folded(headOf(start), entries).document)
    return document
