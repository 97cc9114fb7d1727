"""What of a branch differs from the present configuration, where both changed the same thing, and how it is made anew.

Pure, but for the sealer: where branches are kept, and who asks, is not known here. Belongs in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from .branches import Branch, withoutPromotion
from .config.changes import SETTINGS, Batch, Change, MergeSettings, Put, Remove, Target, revisionOf
from .config.codec import decodeChange, unstructure
from .config.difference import difference
from .config.document import SECTIONS, Document, Named, Secret
from .errors import ClusterError

_STAMPS = frozenset({"revision", "credentialsRevision", "initialPassword", "number"})


@frozen
class Part:
    """One object that the branch changed.

    :ivar state: ``open``: it can be made anew; ``conflict``: it was changed since in the present configuration, too;
        ``same``: nothing is left to do; ``kept``: it belongs to the cluster itself, or cannot be read any more, and is
        never made anew.
    :ivar details: what making it anew would change, for people.
    :ivar change: what makes it anew; ``None`` for ``same`` and ``kept``.
    """

    target: Target
    state: str
    details: tuple[str, ...]
    change: Change | None

    @property
    def name(self) -> str:
        section, name = self.target
        return f"{section}/{name}" if name else section


def partsOf(branch: Branch, present: Document, openSecret: Callable[[Secret], bytes]) -> Sequence[Part]:
    """Every object that the branch touched, in the order in which it did."""
    targets: dict[Target, None] = {}
    for entry, _ in branch.steps:
        targets.update(dict.fromkeys(withoutPromotion(decodeChange(entry.change)).targets()))
    return [
        _settingsPart(branch, present) if one == SETTINGS else _part(branch, present, one, openSecret)
        for one in targets
    ]


def _part(branch: Branch, present: Document, target: Target, openSecret: Callable[[Secret], bytes]) -> Part:
    section, name = target
    theirs, ours = branch.after.sections[section].get(name), present.sections[section].get(name)
    details = tuple(str(one) for one in difference(present, _with(present, target, theirs), [target]))
    if _equal(theirs, ours):
        return Part(target, "same", (), None)
    if not SECTIONS[section].written:
        return Part(target, "kept", ("belongs to the cluster itself",), None)
    if not _opens(theirs, openSecret):
        return Part(target, "kept", ("is sealed with a key that the cluster does not have any more",), None)
    change = Remove(section, name) if theirs is None else Put(section, theirs)
    isMoved = revisionOf(present, target) != revisionOf(branch.before, target)
    return Part(target, "conflict" if isMoved else "open", details, change)


def _settingsPart(branch: Branch, present: Document) -> Part:
    before, theirs, ours = (unstructure(one.settings) for one in (branch.before, branch.after, present))
    keys = [key for key in theirs.keys() | before.keys() if key != "revision" and theirs.get(key) != before.get(key)]
    values = {key: theirs.get(key) for key in sorted(keys) if theirs.get(key) != ours.get(key)}
    if not values:
        return Part(SETTINGS, "same", (), None)
    details = tuple(f"{key}: {_setting(present, key)} -> {_setting(branch.after, key)}" for key in values)
    isMoved = any(ours.get(key) != before.get(key) for key in values)
    return Part(SETTINGS, "conflict" if isMoved else "open", details, MergeSettings(values))


def _setting(document: Document, key: str) -> Any:
    return getattr(document.settings, key, document.settings.extra.get(key))


def _with(present: Document, target: Target, value: Named | None) -> Document:
    section, name = target
    objects = present.sections[section]
    changed = objects.discard(name) if value is None else objects.insert(name, value)
    return evolve(present, sections={**present.sections, section: changed})


def _equal(one: Named | None, other: Named | None) -> bool:
    if one is None or other is None:
        return one is other
    return _withoutStamps(one) == _withoutStamps(other)


def _withoutStamps(value: Named) -> dict[str, Any]:
    return {key: one for key, one in unstructure(value).items() if key not in _STAMPS}


def _opens(value: Named | None, openSecret: Callable[[Secret], bytes]) -> bool:
    secret = getattr(value, "key", None)
    if not isinstance(secret, Secret):
        return True
    try:
        openSecret(secret)
    except ClusterError:
        return False
    return True


def shown(branch: Branch, parts: Sequence[Part]) -> Mapping[str, Any]:
    """A branch, for people and programs."""
    return {
        **branch.about,
        "entries": list(_entries(branch)),
        "parts": [{"name": one.name, "state": one.state, "details": list(one.details)} for one in parts],
    }


def _entries(branch: Branch) -> Iterator[Mapping[str, Any]]:
    before = branch.before
    for entry, after in branch.steps:
        targets = list(withoutPromotion(decodeChange(entry.change)).targets())
        yield {
            "revision": entry.revision,
            "epoch": entry.epoch,
            "time": entry.time,
            "author": entry.author,
            "address": entry.address,
            "node": entry.node,
            "changed": [str(one) for one in difference(before, after, targets)],
        }
        before = after


def chosen(
    parts: Sequence[Part], present: Document, only: Collection[str], overwrite: bool
) -> tuple[Change, Mapping[Target, int]] | None:
    """The one change that makes anew what is wanted, and the revisions that it insists on; ``None`` where nothing is
    left to do.

    :param only: names of parts; empty for all.
    :param overwrite: whether what was changed in the present configuration since is replaced.
    :raises ClusterError: where that is not wanted, or a name is not known; all at once.
    """
    unknown = sorted(set(only) - {one.name for one in parts})
    if unknown:
        raise ClusterError(f"the branch did not change {', '.join(unknown)}")
    wanted = [one for one in parts if one.change is not None and (not only or one.name in only)]
    conflicts = [one.name for one in wanted if one.state == "conflict"]
    if conflicts and not overwrite:
        raise ClusterError(
            f"changed since by others too: {', '.join(conflicts)}; nothing was changed. Choose what to make anew, or "
            "have it overwritten"
        )
    changes = tuple(one.change for one in wanted if one.change is not None)
    if not changes:
        return None
    return Batch(changes), {one.target: revisionOf(present, one.target) for one in wanted}
