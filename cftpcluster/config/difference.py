"""What differs between two documents, for people; secrets and passwords are never shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from attrs import frozen

from ._forms import SECTION_ORDER, exportObject
from .codec import canonical
from .document import SECTIONS, Document, Named
from .written import export

_SECRET_KEYS = re.compile(r"secret|password|token|credential|private", re.IGNORECASE)
_SHOWN_CHARACTERS = 200


@frozen
class Difference:
    """One object that differs.

    :ivar action: ``added``, ``changed`` or ``removed``.
    :ivar name: the object's name, "" for the settings.
    :ivar details: a line for each key that differs.
    """

    action: str
    section: str
    name: str
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = f"{self.action} {self.section}" + (f"/{self.name}" if self.name else "")
        return "\n    ".join((head, *self.details))


def difference(
    before: Document, after: Document, targets: Iterable[tuple[str, str]] | None = None
) -> Sequence[Difference]:
    """What differs, in the order in which documents are written.

    :param targets: where to look, by section and name, when it is known; everywhere otherwise.
    """
    names = None if targets is None else _bySection(targets)
    found = []
    if before.settings is not after.settings:
        pair = [export(Document(settings=one.settings))["settings"] for one in (before, after)]
        details = tuple(_details(*pair))
        found += [Difference("changed", "settings", "", details)] if details else []
    for section in (*SECTION_ORDER, *(name for name, table in SECTIONS.items() if not table.written)):
        found += _sectionDifferences(section, before, after, names)
    return found


def _bySection(targets: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    names: dict[str, set[str]] = {}
    for section, name in targets:
        names.setdefault(section, set()).add(name)
    return names


def _sectionDifferences(
    section: str, before: Document, after: Document, names: dict[str, set[str]] | None
) -> Iterator[Difference]:
    old, new = before.sections[section], after.sections[section]
    if old is new:
        return
    for name in sorted(set(old) | set(new) if names is None else names.get(section, ())):
        one, other = old.get(name), new.get(name)
        if one is other:
            continue
        if other is None:
            yield Difference("removed", section, name)
        elif one is None:
            yield Difference("added", section, name, tuple(_details({}, _shownKeys(section, other))))
        elif details := (*_details(_shownKeys(section, one), _shownKeys(section, other)), *_secretDetails(one, other)):
            yield Difference("changed", section, name, details)


def _shownKeys(section: str, value: Named) -> dict[str, Any]:
    """What may be shown; of what the cluster keeps for itself, only that it changed."""
    if not SECTIONS[section].written:
        return {}
    plain = exportObject(value)
    return {key: one for key, one in plain.items() if key != "name"}


def _details(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) == after.get(key):
            continue
        if _SECRET_KEYS.search(key):
            yield f"{key}: changed"
        elif key not in before:
            yield f"{key}: {_shown(after[key])}"
        else:
            yield f"{key}: {_shown(before[key])} -> {_shown(after[key]) if key in after else 'default'}"


def _secretDetails(before: Named, after: Named) -> Iterator[str]:
    for attribute, word in (("passwordHash", "password"), ("key", "key"), ("fingerprint", "key")):
        if getattr(before, attribute, None) != getattr(after, attribute, None):
            yield f"{word}: changed"


def _shown(value: Any) -> str:
    text = canonical(value).decode("ascii")
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."
