"""What is read of any journal beyond a few entries. Where it keeps them is not known here."""

from __future__ import annotations

from ..errors import HistoryGone
from ..interfaces import IJournal


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
