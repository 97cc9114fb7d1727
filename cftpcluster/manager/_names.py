"""The names of a section's objects in their order, and those with a word in them, quickly for very many.

Going through a hundred thousand objects takes half a second, so the names are kept from one version of a section to the
next, and the journal tells which of them may have come or gone.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from ..config.codec import decodeChange
from ..config.document import Document
from ..errors import HistoryGone
from ..interfaces import IJournal
from ..journal.entry import Head, chained

_MOST_ENTRIES = 200
_MOST_BYTES = 256 * 1024


@frozen
class Names:
    """The names of one version of a section.

    :ivar names: in their order.
    :ivar folded: the same without regard to case, at the same places.
    """

    revision: int
    chainHash: bytes
    objects: Mapping[str, Any] = field(repr=False)
    names: list[str] = field(repr=False)
    folded: list[str] = field(repr=False)

    def page(
        self, after: str, word: str, limit: int, fits: Callable[[Any], bool] | None = None
    ) -> tuple[Sequence[str], str | None, int]:
        """At most ``limit`` names after one, the name to go on after where there are more, and how many there are.

        :param fits: says of an object whether it counts.
        """
        found = self.names if not word else self._with(word.casefold())
        if fits is not None:
            found = [name for name in found if fits(self.objects[name])]
        start = bisect_right(found, after)
        names = found[start : start + limit]
        return names, names[-1] if names and start + limit < len(found) else None, len(found)

    def _with(self, word: str) -> list[str]:
        return [name for name, folded in zip(self.names, self.folded, strict=True) if word in folded]


@define(eq=False)
class SectionNames:
    """:ivar _inThread: runs what takes long."""

    _journal: IJournal
    _inThread: Callable[..., Deferred[Any]]
    _known: dict[str, Names] = field(factory=dict, init=False, repr=False)

    async def of(self, section: str) -> tuple[Document, Names]:
        """The newest document, and the names of a section of it."""
        head: Head = await self._journal.head()
        document, known = head.document, self._known.get(section)
        objects = document.sections[section]
        if known is None or known.objects is not objects:
            touched = await self._touched(section, known, head) if known is not None else None
            if known is not None and touched is not None:
                made = _renewed(known, head, objects, touched)
            else:
                made = await self._inThread(_sorted, head, objects)
            # Of several that were made at once the newest stays.
            known = self._known.get(section)
            if known is None or known.revision <= made.revision:
                self._known[section] = made
            return document, made
        return document, known

    async def _touched(self, section: str, known: Names, head: Head) -> set[str] | None:
        """The names that changes since have touched; ``None`` where finding out would take longer than sorting."""
        if not 0 < head.revision - known.revision <= _MOST_ENTRIES:
            return None
        try:
            entries = await self._journal.since(known.revision, _MOST_ENTRIES)
        except HistoryGone:
            return None
        entries = [entry for entry in entries if entry.revision <= head.revision]
        if not entries or entries[-1].revision != head.revision or sum(len(one.body) for one in entries) > _MOST_BYTES:
            return None
        # Another history may have taken the place of the one that the names are of.
        if chained(known.chainHash, entries[0].body) != entries[0].chainHash:
            return None
        targets = (target for entry in entries for target in decodeChange(entry.change).targets())
        return {name for touched, name in targets if touched == section}


def _sorted(head: Head, objects: Mapping[str, Any]) -> Names:
    names = sorted(objects)
    return Names(head.revision, head.chainHash, objects, names, [name.casefold() for name in names])


def _renewed(known: Names, head: Head, objects: Mapping[str, Any], touched: set[str]) -> Names:
    names, folded = list(known.names), list(known.folded)
    for name in touched:
        place = bisect_left(names, name)
        isKnown = place < len(names) and names[place] == name
        if name in objects and not isKnown:
            names.insert(place, name)
            folded.insert(place, name.casefold())
        elif isKnown and name not in objects:
            del names[place], folded[place]
    return Names(head.revision, head.chainHash, objects, names, folded)
