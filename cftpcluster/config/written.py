"""Documents as administrators write them, and the change that makes the stored one agree.

Two steps, since clear passwords and keys have to be hashed and sealed in between, which is done elsewhere:

1. :func:`readDocument` (or :func:`readObject`) reads plain values strictly. :func:`pendingPasswords` and
   :func:`pendingSecrets` say what has to be worked on.
2. :func:`toChange` (or :func:`putChange`) takes the results, by target, and answers with the change; with ``None``
   where all is so already.

:func:`export` goes the other way: what it gives, ``apply`` takes without a change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import field, fields_dict, frozen

from ..errors import Invalid
from ..vocabulary import Problem
from ._forms import SECTION_ORDER, OpenSecret, WrittenObject, exportObject, readObject
from ._messages import joined, shown, unknownKeys
from ._stored import unstructure
from ._structure import structure
from ._yaml import exportYaml, parseText
from .changes import Batch, Change, MergeSettings, Put, Remove, Target
from .document import SECTIONS, Admin, Document, Named, Options, Role, Secret, Settings

__all__ = [
    "SECTION_ORDER",
    "OpenSecret",
    "PendingPassword",
    "PendingSecret",
    "Written",
    "WrittenObject",
    "export",
    "exportObject",
    "exportYaml",
    "mergePatched",
    "parseText",
    "pendingPasswords",
    "pendingSecrets",
    "putChange",
    "readDocument",
    "readObject",
    "toChange",
]

_SETTINGS = tuple(name for name in fields_dict(Settings) if name not in {"revision", "extra"})

Resolved = Mapping[Target, Any]
"""The hash of each pending password, and the :class:`~cftpcluster.config.document.Secret` of each pending key."""


@frozen
class Written:
    """A document as it was written.

    :ivar settings: the settings that were written, by key.
    :ivar objects: the objects, in their order.
    :ivar sections: the sections that were written, also those without objects.
    """

    settings: Options
    objects: tuple[WrittenObject, ...]
    sections: frozenset[str]

    @property
    def places(self) -> Mapping[Target, str]:
        """Where each object stands, for :func:`cftpcluster.config.validation.located`."""
        return {one.target: one.path for one in self.objects}


@frozen
class PendingPassword:
    """A password in the clear: where it fits ``present``, that hash stays; else it is hashed.

    :ivar present: the stored hash; "" where there is none.
    """

    target: Target
    password: bytes = field(repr=False)
    present: str = field(repr=False)


@frozen
class PendingSecret:
    """Key material in the clear: where ``present`` opens to the same bytes, that stays; else it is sealed."""

    target: Target
    secret: bytes = field(repr=False)
    present: Secret | None


# --- reading


def readDocument(plain: Any) -> Written:
    """Read a whole document strictly.

    :raises Invalid: with every problem of its form, such as ``users[3].enabled: expected true or false, got "yes"``.
    """
    if type(plain) is not dict:
        raise Invalid([Problem("", f"expected a mapping of sections, got {shown(plain)}")])
    found: list[Problem] = []
    known = ["settings", *SECTION_ORDER]
    found += unknownKeys("", (key for key in plain if key not in known), known)
    settings = _settings(plain.get("settings", {}), found)
    objects: list[WrittenObject] = []
    for section in SECTION_ORDER:
        if section in plain:
            objects += _objects(section, plain[section], found)
    if found:
        raise Invalid(found)
    return Written(settings, tuple(objects), frozenset(plain.keys() - {"settings"}))


def _objects(section: str, plain: Any, found: list[Problem]) -> list[WrittenObject]:
    if type(plain) is not list:
        found.append(Problem(section, f"expected a list, got {shown(plain)}"))
        return []
    objects: dict[str, WrittenObject] = {}
    for index, one in enumerate(plain):
        path = joined(section, index)
        try:
            read = readObject(section, one, path)
        except Invalid as error:
            found += error.problems
            continue
        first = objects.setdefault(read.value.name, read)
        if first is not read:
            found.append(
                Problem(joined(path, "name"), f"{shown(read.value.name)} is written twice, first as {first.path}")
            )
    return list(objects.values())


def _settings(plain: Any, found: list[Problem]) -> Options:
    if type(plain) is not dict:
        found.append(Problem("settings", f"expected a mapping, got {shown(plain)}"))
        return {}
    found += unknownKeys("settings", (key for key in plain if key not in _SETTINGS), _SETTINGS)
    given = {key: value for key, value in plain.items() if key in _SETTINGS}
    try:
        structure(Settings, {key: value for key, value in given.items() if value is not None}, "settings")
    except Invalid as error:
        found += error.problems
    return given


def mergePatched(existing: Any, patch: Any) -> Any:
    """``existing`` with a JSON merge patch (RFC 7396); neither is changed."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(existing) if isinstance(existing, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = mergePatched(merged.get(key), value)
    return merged


# --- what needs work


def pendingPasswords(objects: Iterable[WrittenObject], document: Document) -> Sequence[PendingPassword]:
    """The passwords in the clear."""
    return [
        PendingPassword(one.target, one.password.encode(), getattr(_existing(one, document), "passwordHash", ""))
        for one in objects
        if one.password is not None
    ]


def pendingSecrets(objects: Iterable[WrittenObject], document: Document) -> Sequence[PendingSecret]:
    """The key material in the clear."""
    return [
        PendingSecret(one.target, one.secret.encode(), getattr(_existing(one, document), "key", None))
        for one in objects
        if one.secret is not None
    ]


def _existing(one: WrittenObject, document: Document) -> Named | None:
    existing: Named | None = document.sections[one.section].get(one.value.name)
    return existing


# --- the change


def putChange(one: WrittenObject, document: Document, resolved: Resolved) -> Put | None:
    """The change that puts one object; ``None`` where it is so already.

    :raises Invalid: where key material is missing, or a node was never joined.
    """
    existing = _existing(one, document)
    value = one.completed(existing, resolved.get(one.target))
    return None if value == existing else Put(one.section, value)


def toChange(written: Written, document: Document, resolved: Resolved, prune: bool = False) -> Batch | None:
    """The change that makes ``document`` agree with what was written; ``None`` where it does already.

    A named object is replaced whole, settings merge by key.

    :param prune: remove what is absent from the sections present; never nodes, certificates, host keys, nor the last
        full administrator.
    :raises Invalid: where key material is missing, or a node was never joined.
    """
    changes: list[Change] = []
    found: list[Problem] = []
    settings = _changedSettings(written.settings, document.settings)
    if settings:
        changes.append(MergeSettings(settings))
    for one in written.objects:
        try:
            put = putChange(one, document, resolved)
        except Invalid as error:
            found += error.problems
        else:
            changes += [put] if put else []
    if found:
        raise Invalid(found)
    if prune:
        changes += _pruned(written, document)
    return Batch(tuple(changes)) if changes else None


def _changedSettings(given: Options, settings: Settings) -> Options:
    present, defaults = allSettings(settings), allSettings(Settings())
    wanted = {key: defaults[key] if value is None else value for key, value in given.items()}
    return {key: value for key, value in wanted.items() if value != present[key]}


def allSettings(settings: Settings) -> dict[str, Any]:
    """Every setting, by key, as it is written."""
    return {name: unstructure(getattr(settings, name)) for name in _SETTINGS}


def _pruned(written: Written, document: Document) -> list[Change]:
    removals: list[Change] = []
    for section in SECTION_ORDER:
        if section in written.sections and SECTIONS[section].pruned:
            named = {one.value.name for one in written.objects if one.section == section}
            absent = sorted(set(document.sections[section]) - named)
            if section == "admins":
                absent = _sparingOne(absent, written, document)
            removals += [Remove(section, name) for name in absent]
    return removals


def _sparingOne(absent: list[str], written: Written, document: Document) -> list[str]:
    """The administrators to remove, but the first full one where no other would be left."""
    if any(isinstance(one.value, Admin) and _isFull(one.value) for one in written.objects):
        return absent
    spared = next((name for name in absent if _isFull(document.admins[name])), None)
    return [name for name in absent if name != spared]


def _isFull(admin: Admin) -> bool:
    return admin.enabled and admin.role is Role.full


# --- export


def export(document: Document, openSecret: OpenSecret | None = None, defaults: bool = False) -> dict[str, Any]:
    """The document in the form that :func:`readDocument` takes.

    :param openSecret: opens key material; without it neither keys nor password hashes are in the result, and what takes
        it back leaves them unchanged.
    :param defaults: show what has its default too.
    """
    plain: dict[str, Any] = {"settings": allSettings(document.settings)}
    for section in SECTION_ORDER:
        objects = document.sections[section]
        plain[section] = [exportObject(objects[name], openSecret, defaults) for name in sorted(objects)]
    return plain
