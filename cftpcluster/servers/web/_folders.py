"""Folders, page by page: in the order of their names' bytes, or in another.

However large a folder is, a page of it is all that is held. Knows nothing of HTTP.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any, Self, TypeAlias

from attrs import frozen

from ...files import paths
from ...files.wrappers import ability
from ...interfaces import IFileSystem, ISelective
from ...vocabulary import Entry, Kind, Stat, VirtualPath
from ._names import named, shown

DEFAULT_LIMIT = 1000
MOST_LIMIT = 5000
_SLACK = 2000


_INVERTED = bytes(255 - each for each in range(256))

Key: TypeAlias = tuple[bool, float, Any]


@frozen
class Order:
    """In which order the entries of a folder come, and which of them.

    :ivar by: ``name``, ``size`` or ``modified``; what is equal comes in the order of its name.
    :ivar foldersFirst: whether all folders come before everything else.
    :ivar search: a part of the name, whatever its case; "" for all.
    """

    by: str = "name"
    isDescending: bool = False
    foldersFirst: bool = False
    search: str = ""

    @classmethod
    def parse(cls, text: str, foldersFirst: bool = False, search: str = "") -> Self:
        """``name``, ``-name``, ``size`` ...; ``ValueError`` for any other text."""
        by = text.removeprefix("-")
        if by not in {"name", "size", "modified"}:
            raise ValueError("expected name, size or modified, with - before it for the other way round")
        return cls(by, text.startswith("-"), foldersFirst, search)

    def shows(self, entry: Entry) -> bool:
        return not self.search or self.search.casefold() in shown(entry.name).casefold()

    def key(self, entry: Entry) -> Key:
        """What entries are in order by."""
        value = 0.0 if self.by == "name" else float(entry.stat.size) if self.by == "size" else entry.stat.modified
        isLater = self.foldersFirst and entry.stat.kind is not Kind.folder
        return self._key(isLater, value, paths.encode(entry.name))

    def _key(self, isLater: bool, value: float, name: bytes) -> Key:
        if not self.isDescending:
            return isLater, value, name
        # the end comes before what goes on, so that longer names come first
        return isLater, -value, (name.translate(_INVERTED) + b"\xff" if self.by == "name" else name)

    def early(self, name: str, isFolder: bool | None) -> Key | None:
        """The key, where name and kind are enough to tell it; ``isFolder`` is ``None`` where the kind is not known."""
        if self.by != "name" or (self.foldersFirst and isFolder is None):
            return None
        return self._key(self.foldersFirst and not isFolder, 0.0, paths.encode(name))

    def after(self, entry: Entry) -> str:
        """What tells where to go on: a name, with what stands before it in the key where that is needed."""
        if self.by == "name" and not self.foldersFirst:
            return entry.name
        isLater, value, _ = self.key(entry)
        return f"{int(isLater)}/{abs(value)!r}/{entry.name}"

    def keyAfter(self, after: bytes) -> Key | None:
        """The key that :meth:`after` told of; ``None`` for the beginning. ``ValueError`` for what it never tells."""
        if not after:
            return None
        if self.by == "name" and not self.foldersFirst:
            return self._key(False, 0.0, after)
        isLater, value, name = after.split(b"/")
        if isLater not in {b"0", b"1"}:
            raise ValueError
        return self._key(isLater == b"1", float(value), name)


BY_NAME = Order()


@frozen
class Page:
    """Some entries of a folder, in order.

    :ivar next: what to continue after; ``None`` at the end of the folder.
    """

    entries: Sequence[Entry]
    next: str | None

    def plain(self) -> dict[str, Any]:
        """The page as JSON shows it."""
        plain: dict[str, Any] = {"entries": [_plain(entry) for entry in self.entries]}
        return plain | (named(self.next, "next") if self.next is not None else {"next": None})


async def pageOf(files: IFileSystem, path: VirtualPath, limit: int, after: bytes, order: Order = BY_NAME) -> Page:
    """The first ``limit`` entries of a folder that come after ``after``. ``ValueError`` where that is no place in this
    order."""
    kept: list[tuple[Key, Entry]] = []
    least: Key | None = order.keyAfter(after)
    most: Key | None = None

    def isBetween(key: Key | None) -> bool:
        return key is None or ((least is None or key > least) and (most is None or key < most))

    listing = await files.list(path)
    selective = ability(ISelective, listing)
    if selective is not None:
        # of a large folder only what may stand on the page is looked at
        selective.only(lambda name, isFolder: isBetween(order.early(name, isFolder)))
    try:
        while batch := await listing.next():
            for entry in batch:
                key = order.key(entry)
                if isBetween(key) and order.shows(entry):
                    kept.append((key, entry))
            if len(kept) > limit + _SLACK:
                kept = _first(kept, limit + 1)
                most = kept[-1][0]
    finally:
        listing.close()
    kept = _first(kept, limit + 1)
    entries = [entry for _, entry in kept[:limit]]
    return Page(entries, order.after(entries[-1]) if len(kept) > limit else None)


def _first(kept: list[tuple[Key, Entry]], count: int) -> list[tuple[Key, Entry]]:
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
