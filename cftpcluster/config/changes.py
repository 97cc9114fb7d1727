"""What can happen to a configuration, and what it then is.

:func:`apply` is total and pure: every node that applies the same changes has the same document. Whether a change makes
sense is said by :mod:`cftpcluster.config.validation`; who may make it, and how it is stored, is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, Union

from attrs import define, evolve, field, frozen
from rpds import HashTrieMap

from ._stored import structureLeniently, unstructure
from .document import (
    SECTIONS,
    Admin,
    Document,
    HostKey,
    Named,
    Node,
    Options,
    Promoted,
    Settings,
    UnknownChange,
    User,
)

Target: TypeAlias = tuple[str, str]
"""Section and name of an object; the settings are :data:`SETTINGS`."""

SETTINGS: Target = ("settings", "")


@define(eq=False)
class _Draft:
    """A document while a change is applied to it; only what changes is copied."""

    revision: int
    promoted: Promoted
    settings: Settings
    sections: dict[str, HashTrieMap[str, Any]]
    lastNodeNumber: int
    unknown: tuple[UnknownChange, ...]

    def forgetUnknown(self, target: Target) -> None:
        """An object that could not be read has been replaced or removed."""
        if self.unknown:
            self.unknown = tuple(one for one in self.unknown if _objectOf(one.raw) != target)


@frozen
class Put:
    """An object is as given from now on, whether or not it was there; ``apply`` alone sets its revision."""

    section: str
    value: Named

    def targets(self) -> Iterator[Target]:
        yield self.section, self.value.name

    def _applyTo(self, draft: _Draft) -> None:
        objects = draft.sections.get(self.section)
        if objects is None:
            return
        name = self.value.name
        draft.sections[self.section] = objects.insert(name, _stamped(self.value, objects.get(name), draft))
        draft.forgetUnknown((self.section, name))


@frozen
class Remove:
    """An object is gone; nothing happens where it was not."""

    section: str
    name: str

    def targets(self) -> Iterator[Target]:
        yield self.section, self.name

    def _applyTo(self, draft: _Draft) -> None:
        objects = draft.sections.get(self.section)
        if objects is None:
            return
        draft.sections[self.section] = objects.discard(self.name)
        draft.forgetUnknown((self.section, self.name))


@frozen
class MergeSettings:
    """Settings by key; those not named stay, ``None`` gives one back its default."""

    values: Options

    def targets(self) -> Iterator[Target]:
        yield SETTINGS

    def _applyTo(self, draft: _Draft) -> None:
        merged = {**unstructure(draft.settings), **self.values, "revision": draft.revision}
        try:
            draft.settings = structureLeniently(
                Settings, {key: value for key, value in merged.items() if value is not None}
            )
        except ValueError:
            # Validation refuses such a change; only total here.
            return


@frozen
class Rehash:
    """A user's password is hashed anew: the same password, so sessions go on. Nothing happens where the user has
    another hash by now."""

    name: str
    before: str = field(repr=False)
    after: str = field(repr=False)

    def targets(self) -> Iterator[Target]:
        yield "users", self.name

    def _applyTo(self, draft: _Draft) -> None:
        users = draft.sections["users"]
        user = users.get(self.name)
        if user is not None and user.passwordHash == self.before:
            rehashed = evolve(user, passwordHash=self.after, revision=draft.revision)
            draft.sections["users"] = users.insert(self.name, rehashed)


@frozen
class Promote:
    """A node is primary from now on, in a new epoch."""

    epoch: int
    name: str
    by: str

    def targets(self) -> Iterator[Target]:
        return iter(())

    def _applyTo(self, draft: _Draft) -> None:
        draft.promoted = Promoted(epoch=self.epoch, name=self.name, by=self.by)


@frozen
class Batch:
    """Changes that are one revision, all or nothing, in their order."""

    changes: tuple[Change, ...]

    def targets(self) -> Iterator[Target]:
        for change in self.changes:
            yield from change.targets()

    def _applyTo(self, draft: _Draft) -> None:
        for change in self.changes:
            change._applyTo(draft)


@frozen
class Unknown:
    """A change that this version does not know or cannot read, kept as it came.

    Where it replaces an object, the object as it was until now is not served any more: it may have had more rights.
    """

    raw: Options

    def targets(self) -> Iterator[Target]:
        target = _objectOf(self.raw)
        if target is not None:
            yield target

    def _applyTo(self, draft: _Draft) -> None:
        target = _objectOf(self.raw)
        if target is not None and target[0] in draft.sections:
            Remove(*target)._applyTo(draft)
        draft.unknown = (*draft.unknown, UnknownChange(revision=draft.revision, raw=self.raw))


Change: TypeAlias = Union[Put, Remove, MergeSettings, Rehash, Promote, Batch, Unknown]  # noqa: UP007 named before Batch is complete


def apply(document: Document, change: Change) -> Document:
    """The document after ``change``, one revision later; everything touched is stamped with that revision."""
    draft = _Draft(
        revision=document.revision + 1,
        promoted=document.promoted,
        settings=document.settings,
        sections=dict(document.sections),
        lastNodeNumber=document.lastNodeNumber,
        unknown=document.unknown,
    )
    change._applyTo(draft)
    return Document(
        revision=draft.revision,
        promoted=draft.promoted,
        settings=draft.settings,
        sections=draft.sections,
        lastNodeNumber=draft.lastNodeNumber,
        unknown=draft.unknown,
        extra=document.extra,
    )


def revisionOf(document: Document, target: Target) -> int:
    """The revision of an object's last change; 0 when it is not there."""
    if target == SETTINGS:
        return document.settings.revision
    section, name = target
    value = document.sections.get(section, _EMPTY).get(name)
    return value.revision if value is not None else 0


def moved(document: Document, expected: Mapping[Target, int]) -> dict[Target, int]:
    """The present revisions of those objects that are not at their expected ones."""
    return {
        target: present
        for target, revision in expected.items()
        if (present := revisionOf(document, target)) != revision
    }


_EMPTY: HashTrieMap[str, Any] = HashTrieMap()


def _stamped(value: Named, before: Named | None, draft: _Draft) -> Named:
    """``value`` with all that ``apply`` alone sets."""
    revision = draft.revision
    if isinstance(value, User | Admin):
        kept = before.credentialsRevision if isinstance(before, User | Admin) else revision
        if isinstance(value, Admin) and isinstance(before, Admin):
            isSame = value.passwordHash == before.passwordHash
            value = evolve(value, initialPassword=isSame and before.initialPassword)
        return evolve(
            value,
            revision=revision,
            credentialsRevision=revision if before is None or _endsSessions(before, value) else kept,
        )
    if isinstance(value, HostKey):
        return evolve(value, revision=revision, since=before.since if isinstance(before, HostKey) else revision)
    if isinstance(value, Node):
        if isinstance(before, Node):
            number = before.number
        else:
            number = draft.lastNodeNumber = draft.lastNodeNumber + 1
        return evolve(value, revision=revision, number=number)
    return evolve(value, revision=revision)


def _endsSessions(before: Named, after: User | Admin) -> bool:
    """Whether whoever logged in as ``before`` has to do so again: what they proved, or were granted, is gone."""
    if not isinstance(before, type(after)):
        return True
    if before.passwordHash != after.passwordHash or before.enabled != after.enabled:
        return True
    return isinstance(before, User) and isinstance(after, User) and not set(before.publicKeys) <= set(after.publicKeys)


def _objectOf(raw: Options) -> Target | None:
    """The object that an unreadable change puts in place, where it says so as the changes of this version do."""
    section, value = raw.get("section"), raw.get("value")
    name = value.get("name") if isinstance(value, Mapping) else None
    if raw.get("kind") == "put" and isinstance(section, str) and section in SECTIONS and isinstance(name, str):
        return section, name
    return None
