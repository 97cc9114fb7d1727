"""Folders, page by page, in the order of their names' bytes.

However large a folder is, a page of it is all that is held. Knows nothing of HTTP.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from ...files import paths
from ...interfaces import IFileSystem
from ...vocabulary import Entry, Stat, VirtualPath
from ._names import named

DEFAULT_LIMIT = 1000
MOST_LIMIT = 5000
_SLACK = 2000


@frozen
class Page:
    """Some entries of a folder, in order.

    :ivar next: the name to continue after; ``None`` at the end of the folder.
    """

    entries: Sequence[Entry]
    next: str | None

    def plain(self) -> dict[str, Any]:
        """The page as JSON shows it."""
        plain: dict[str, Any] = {"entries": [_plain(entry) for entry in self.entries]}
        return plain | (named(self.next, "next") if self.next is not None else {"next": None})


async def pageOf(files: IFileSystem, path: VirtualPath, limit: int, after: bytes) -> Page:
    """The first ``limit`` entries of a folder whose names come after ``after``."""
    kept: list[tuple[bytes, Entry]] = []
    most: bytes | None = None
    listing = await files.list(path)
    try:
        while batch := await listing.next():
            for entry in batch:
                name = paths.encode(entry.name)
                if name > after and (most is None or name < most):
                    kept.append((name, entry))
            if len(kept) > limit + _SLACK:
                kept = _first(kept, limit + 1)
                most = kept[-1][0]
    finally:
        listing.close()
    kept = _first(kept, limit + 1)
    entries = [entry for _, entry in kept[:limit]]
    return Page(entries, entries[-1].name if len(kept) > limit else None)


def _first(kept: list[tuple[bytes, Entry]], count: int) -> list[tuple[bytes, Entry]]:
    return sorted(kept, key=lambda each: each[0])[:count]


def _plain(entry: Entry) -> dict[str, Any]:
    stat = entry.stat
    return {**named(entry.name), "type": stat.kind.value, "size": stat.size, "modified": modifiedText(stat)}


def modifiedText(stat: Stat) -> str | None:
    """The time of the last change (RFC 3339, UTC); ``None`` for times beyond the calendar."""
    try:
        moment = datetime.datetime.fromtimestamp(stat.modified, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
