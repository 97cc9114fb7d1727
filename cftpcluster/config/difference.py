"""What differs between two documents, for people; secrets and passwords are never shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from ._forms import SECTION_ORDER, exportObject
from .codec import canonical
from .document import SECTIONS, Document, Named
from .written import export

_SECRET_KEYS = re.compile(r"secret|password|token|credential|private", re.IGNORECASE)
_SHOWN_CHARACTERS = 200


@frozen
class KeyDifference:
    """One key of an object that differs.

    :ivar values: what it was and what it is, plain JSON values by ``before`` and ``after``, of which one is missing
        where it had, or has, its default; ``None`` for what is never shown.
    """

    key: str
    values: Mapping[str, Any] | None

    def __str__(self) -> str:
        if self.values is None:
            return f"{self.key}: changed"
        if "before" not in self.values:
            return f"{self.key}: {_shown(self.values['after'])}"
        return f"{self.key}: {_shown(self.values['before'])} -> " + (
            _shown(self.values["after"]) if "after" in self.values else "default"
        )

    def plain(self) -> dict[str, Any]:
        """For programs."""
        return {"key": self.key, **(self.values if self.values is not None else {"hidden": True})}


@frozen
class Difference:
    """One object that differs.

    :ivar action: ``added``, ``changed`` or ``removed``.
    :ivar name: the object's name, "" for the settings.
    :ivar keys: the keys that differ.
    """

    action: str
    section: str
    name: str
    keys: tuple[KeyDifference, ...] = ()

    @property
    def details(self) -> Sequence[str]:
        """A line for each key that differs."""
        return [str(one) for one in self.keys]

    def plain(self) -> dict[str, Any]:
        """For programs."""
        keys = [one.plain() for one in self.keys]
        return {"action": self.action, "section": self.section, "name": self.name, "keys": keys}

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
        keys = tuple(_keys(*pair))
        found += [Difference("changed", "settings", "", keys)] if keys else []
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
            yield Difference("added", section, name, tuple(_keys({}, _shownKeys(section, other))))
        elif keys := (*_keys(_shownKeys(section, one), _shownKeys(section, other)), *_secretKeys(one, other)):
            yield Difference("changed", section, name, keys)


def _shownKeys(section: str, value: Named) -> dict[str, Any]:
    """What may be shown; of what the cluster keeps for itself, only that it changed."""
    if not SECTIONS[section].written:
        return {}
    plain = exportObject(value)
    return {key: one for key, one in plain.items() if key != "name"}


def _keys(before: dict[str, Any], after: dict[str, Any]) -> Iterator[KeyDifference]:
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) == after.get(key):
            continue
        if _SECRET_KEYS.search(key):
            yield KeyDifference(key, None)
        else:
            both = (("before", before), ("after", after))
            yield KeyDifference(key, {word: _withoutSecrets(of[key]) for word, of in both if key in of})


def _withoutSecrets(value: Any) -> Any:
    """``value``, of whose inner mappings nothing is shown that may be secret."""
    if isinstance(value, Mapping):
        return {key: "..." if _SECRET_KEYS.search(key) else _withoutSecrets(one) for key, one in value.items()}
    return [_withoutSecrets(one) for one in value] if isinstance(value, list | tuple) else value


def _secretKeys(before: Named, after: Named) -> Iterator[KeyDifference]:
    for attribute, word in (("passwordHash", "password"), ("key", "key"), ("fingerprint", "key")):
        if getattr(before, attribute, None) != getattr(after, attribute, None):
            yield KeyDifference(word, None)


def _shown(value: Any) -> str:
    text = canonical(value).decode("ascii")
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."
