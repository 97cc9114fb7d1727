"""The order of a folder's page: as people sort and search, not as bytes are compared. Knows nothing of HTTP."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from attrs import frozen

from ...files import paths
from ...vocabulary import Entry, Kind
from ._folders import Key, Order
from ._names import displayed

KEYS = ("name", "size", "modified")
_NUMBER = re.compile(r"(\d{1,18})")


@frozen
class NaturalOrder(Order):
    """As :class:`._folders.Order`, but names are in order without regard to case and accents, and numbers in them by
    their value; what is searched for need not have the accents either. Folders are as large as nothing."""

    def shows(self, entry: Entry) -> bool:
        return not self.search or simplified(self.search) in simplified(_displayed(entry.name))

    def key(self, entry: Entry) -> Key:
        isFolder = entry.stat.kind is Kind.folder
        size = 0.0 if isFolder else float(entry.stat.size)
        value = {"name": 0.0, "size": size, "modified": entry.stat.modified}[self.by]
        return self._key(self.foldersFirst and not isFolder, value, paths.encode(entry.name))

    def _key(self, isLater: bool, value: float, name: bytes) -> Key:
        words = wordsOf(_displayed(paths.decode(name)))
        if self.by == "name":
            return (isLater, 0.0, _Reversed((words, name)) if self.isDescending else (words, name))
        return (isLater, -value if self.isDescending else value, (words, name))

    @property
    def text(self) -> str:
        """What :meth:`parse` reads."""
        return "-" * self.isDescending + self.by


@frozen
class _Reversed:
    value: Any

    def __lt__(self, other: _Reversed) -> bool:
        return bool(other.value < self.value)

    def __gt__(self, other: _Reversed) -> bool:
        return other < self


def wordsOf(name: str) -> tuple[tuple[str, int, str], ...]:
    """What names are compared by."""
    parts = _NUMBER.split(simplified(name))
    return tuple(("", int(part), part) if index % 2 else (part, 0, "") for index, part in enumerate(parts) if part)


def simplified(text: str) -> str:
    """Without case and accents."""
    if text.isascii():
        return text.lower()
    return "".join(each for each in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(each))


def _displayed(name: str) -> str:
    # most names, and a large folder has very many
    return name if name.isascii() and name.isprintable() else displayed(name)
