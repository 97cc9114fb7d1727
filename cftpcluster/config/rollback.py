"""The change that brings back how a configuration was.

Settings, backends, groups, listeners and users go back. What says who is who, or keeps somebody out, never does: nodes
and keys, certificates, tokens, administrators and how log-ins are checked; a user's password, public keys and
``enabled: false`` stay as they are. So no credential is good again that was taken away since.

Pure; where the older document comes from, and who asks, is not known here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from attrs import evolve, frozen

from ..errors import Invalid
from ..vocabulary import Problem
from ._stored import unstructure
from .changes import SETTINGS, Batch, Change, MergeSettings, Put, Remove, Target
from .document import Document, Listener, Named, Settings, User

_WAYS_IN = {"manager": "so nobody could go back again", "cluster": "so nodes could not reach each other"}

SECTIONS_BACK = ("backends", "groups", "users", "listeners")
"""The sections that go back, besides the settings."""


@frozen
class Rollback:
    """What brings a document back.

    :ivar change: ``None`` where all is so already.
    :ivar kept: what does not go back although it differs, for people.
    """

    change: Change | None
    kept: Sequence[str] = ()


def rollback(past: Document, present: Document, only: Collection[str] = ()) -> Rollback:
    """How ``present`` becomes what ``past`` was.

    :param only: names of objects such as ``users/alice``, of sections such as ``users``, or ``settings``; empty for
        all that goes back.
    :raises Invalid: where something is named that does not go back, or is in neither; and where this version cannot say
        how it was.
    """
    wanted = _Wanted(only)
    found = [*wanted.problems(past, present), *_unknown(past)]
    if found:
        raise Invalid(found)
    changes: list[Change] = []
    kept: list[str] = []
    if wanted.has(SETTINGS) and (settings := settingsChange(present.settings, past.settings)):
        changes.append(settings)
    for section in SECTIONS_BACK:
        for name in sorted({*past.sections[section], *present.sections[section]}):
            if wanted.has((section, name)):
                changes += _back(section, name, past, present, kept)
    lost = list(_lost(present, changes))
    if lost:
        raise Invalid(lost)
    return Rollback(Batch(tuple(changes)) if changes else None, kept)


def _lost(present: Document, changes: Sequence[Change]) -> Iterator[Problem]:
    """The ways in to the cluster that there would be none of any more."""
    left = {name: one.kind for name, one in present.listeners.items()}
    for change in changes:
        if isinstance(change, Remove) and change.section == "listeners":
            del left[change.name]
        elif isinstance(change, Put) and isinstance(change.value, Listener):
            left[change.value.name] = change.value.kind
    for kind, text in _WAYS_IN.items():
        if any(one.kind == kind for one in present.listeners.values()) and kind not in left.values():
            yield Problem("revision", f"had no listener of kind {kind}, {text}")


def settingsChange(present: Settings, wanted: Settings) -> MergeSettings | None:
    """What makes the settings as they were; ``None`` where they are so."""
    old, new = unstructure(present), unstructure(wanted)
    values = {key: new.get(key) for key in sorted({*old, *new} - {"revision"}) if old.get(key) != new.get(key)}
    return MergeSettings(values) if values else None


@frozen
class _Wanted:
    only: Collection[str]

    def has(self, target: Target) -> bool:
        section, name = target
        return not self.only or section in self.only or f"{section}/{name}" in self.only

    def problems(self, past: Document, present: Document) -> Iterator[Problem]:
        for index, one in enumerate(self.only):
            section, _, name = one.partition("/")
            if one == SETTINGS[0] or (section in SECTIONS_BACK and not name):
                continue
            if section not in SECTIONS_BACK:
                known = ", ".join((SETTINGS[0], *SECTIONS_BACK))
                yield Problem(f"only[{index}]", f"{one!r} does not go back; {known} do")
            elif name not in past.sections[section] and name not in present.sections[section]:
                yield Problem(f"only[{index}]", f"there is no {one!r}, neither now nor then")


def _unknown(past: Document) -> Iterator[Problem]:
    if past.unknown:
        yield Problem("revision", "holds a change that this version does not know, so nobody can say how it was")


def _back(section: str, name: str, past: Document, present: Document, kept: list[str]) -> Iterator[Change]:
    then, now = past.sections[section].get(name), present.sections[section].get(name)
    if then is None:
        yield Remove(section, name)
        return
    if isinstance(then, User):
        then = _withoutCredentials(then, now, kept)
    if now is None or evolve(then, revision=now.revision) != now:
        yield Put(section, then)


def _withoutCredentials(then: User, now: Named | None, kept: list[str]) -> User:
    if not isinstance(now, User):
        kept.append(f"users/{then.name} was removed since: it comes back without password and public keys")
        return evolve(then, passwordHash="", publicKeys=())
    stays = [
        word
        for word, differs in (
            ("password", then.passwordHash != now.passwordHash),
            ("public keys", then.publicKeys != now.publicKeys),
            ("enabled: false", then.enabled and not now.enabled),
        )
        if differs
    ]
    if stays:
        kept.append(f"users/{then.name} keeps its {', '.join(stays)}")
    return evolve(
        then,
        passwordHash=now.passwordHash,
        publicKeys=now.publicKeys,
        enabled=then.enabled and now.enabled,
        credentialsRevision=now.credentialsRevision,
    )
