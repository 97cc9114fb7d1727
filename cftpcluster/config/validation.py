"""Whether a change makes sense in the document that it makes.

Only what a change touches is looked at, and what refers to that, so that one change among very many objects is cheap.
All problems are told together. Their paths are relative to the object where the change is about one
(``mounts[0].backend``), and start with the object in a batch (``users[alice].mounts[0].backend``). Who made the change,
what it was before, and what runs, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import fields_dict

from ..errors import Invalid
from ..vocabulary import Problem
from . import _syntax
from ._branding import brandingProblems
from ._messages import joined, prefixed, shown, suggestion, unknownKeys
from ._structure import structure
from .changes import SETTINGS, Batch, Change, MergeSettings, Promote, Put, Rehash, Remove, Target, Unknown
from .document import (
    SECTIONS,
    Admin,
    Certificate,
    Component,
    Document,
    Group,
    JoinToken,
    Limits,
    Listener,
    Method,
    Mount,
    Named,
    Node,
    Quota,
    Role,
    Settings,
    User,
)
from .plan import overridden

Kinds = Mapping[str, Mapping[str, type]]
"""Section name to kind to the class of its options; kinds of a section that is absent are not checked."""

_SHOWN_USERS = 3
_LEAST_BYTES_PER_SECOND = 1024


def problems(document: Document, change: Change, kinds: Kinds) -> list[Problem]:
    """Everything wrong with a change.

    :param document: the document *after* the change.
    :param kinds: the kinds of components that can be built here.
    """
    parts = list(_parts(change))
    single = not isinstance(change, Batch)
    last = {target: part for part in parts for target in part.targets()}
    found: list[Problem] = []
    for target, part in last.items():
        here = "" if single else objectPath(target)
        found += prefixed(here, _partProblems(document, part, kinds))
    found += [problem for part in parts if not list(part.targets()) for problem in _partProblems(document, part, kinds)]
    gone = [target for target, part in last.items() if isinstance(part, Remove)]
    found += [Problem("" if single else objectPath(target), text) for target, text in _stillUsed(document, gone)]
    return [*found, *_wholeProblems(document, last.keys(), single)]


def objectPath(target: Target) -> str:
    """Where a batch's problems with an object are, such as ``users[alice]``."""
    section, name = target
    return section if target == SETTINGS else f"{section}[{name}]"


def located(found: Iterable[Problem], places: Mapping[Target, str]) -> list[Problem]:
    """The problems of a batch at the places where its objects were written.

    :param places: where the objects stand, such as ``users[3]``.
    """
    byPath = {objectPath(target): place for target, place in places.items()}
    return [Problem(_relocated(problem.path, byPath), problem.message) for problem in found]


def _relocated(path: str, places: Mapping[str, str]) -> str:
    end = len(path)
    while end > 0:
        if path[:end] in places:
            return places[path[:end]] + path[end:]
        end = path.rfind("]", 0, end - 1) + 1
    return path


def _parts(change: Change) -> Iterator[Change]:
    if isinstance(change, Batch):
        for part in change.changes:
            yield from _parts(part)
    else:
        yield change


def _partProblems(document: Document, part: Change, kinds: Kinds) -> Iterator[Problem]:
    match part:
        case Put(section, value):
            yield from _putProblems(document, section, value, kinds)
        case Remove(section, name):
            yield from _removeProblems(document, section, name)
        case MergeSettings(values):
            yield from _settingsProblems(values)
        case Rehash(name, _, after):
            if name not in document.users:
                yield Problem("name", _missing("user", name, document.users))
            yield from _fault("after", _syntax.passwordHashFault, after)
        case Promote(epoch, name, _):
            if name not in document.nodes:
                yield Problem("name", _missing("node", name, document.nodes))
            if epoch < 1:
                yield Problem("epoch", f"{epoch} is not an epoch")
        case Unknown(raw):
            yield Problem("kind", f"this node does not know changes of kind {shown(raw.get('kind'))}")


# --- one object


def _putProblems(document: Document, section: str, value: Named, kinds: Kinds) -> Iterator[Problem]:
    table = SECTIONS.get(section)
    if table is None or not isinstance(value, table.valueClass):
        yield Problem("", f"{type(value).__name__} is nothing that section {shown(section)} holds")
        return
    yield from _fault("name", _syntax.nameFault, value.name)
    if isinstance(value, Component):
        yield from _componentProblems(section, value, kinds)
    match value:
        case User():
            yield from _userProblems(document, value)
        case Group():
            yield from _mountsProblems(document, value.mounts)
            yield from _faults("allow", _syntax.networkFault, value.allow)
            yield from _faults("deny", _syntax.networkFault, value.deny)
            yield from _authenticationProblems(value.authentication)
        case Admin():
            yield from _fault("passwordHash", _syntax.passwordHashFault, value.passwordHash)
        case Listener():
            yield from _listenerProblems(document, value)
        case Certificate():
            yield from _fault("chain", _syntax.chainFault, value.chain)
        case Node():
            yield from _nodeProblems(document, value, kinds)
        case JoinToken():
            yield from _fault("secretHash", _syntax.fingerprintFault, value.secretHash)
            yield from _fault("node", _syntax.nameFault, value.node)


def _userProblems(document: Document, user: User) -> Iterator[Problem]:
    yield from _fault("passwordHash", _syntax.passwordHashFault, user.passwordHash)
    yield from _faults("publicKeys", _syntax.publicKeyFault, user.publicKeys)
    yield from _faults("allow", _syntax.networkFault, user.allow)
    yield from _faults("deny", _syntax.networkFault, user.deny)
    yield from _authenticationProblems(user.authentication)
    for index, group in enumerate(user.groups):
        if group not in document.groups:
            yield Problem(f"groups[{index}]", _missing("group", group, document.groups))
        elif group in user.groups[:index]:
            yield Problem(f"groups[{index}]", f"group {shown(group)} is named twice")
    yield from _mountsProblems(document, user.mounts)
    yield from _numbersProblems("quota", user.quota)
    yield from _numbersProblems("limits", user.limits)


def _authenticationProblems(lists: Sequence[Sequence[Method]]) -> Iterator[Problem]:
    for index, methods in enumerate(lists):
        if not methods:
            yield Problem(f"authentication[{index}]", "is empty: whoever has proven nothing is not let in")
        for place, method in enumerate(methods):
            if method in methods[:place]:
                yield Problem(f"authentication[{index}][{place}]", f"{shown(method.value)} is named twice")


def _numbersProblems(path: str, limits: Quota | Limits) -> Iterator[Problem]:
    for key in fields_dict(type(limits)):
        value = getattr(limits, key)
        if key == "extra":
            continue
        if value < 0:
            yield Problem(joined(path, key), f"{value} is out of bounds: expected 0 or more")
        elif key.endswith("PerSecond") and 0 < value < _LEAST_BYTES_PER_SECOND:
            yield Problem(joined(path, key), f"{value} is too slow for any client: expected 0 or at least 1024")


def _mountsProblems(document: Document, mounts: Sequence[Mount]) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, mount in enumerate(mounts):
        here = f"mounts[{index}]"
        yield from _fault(f"{here}.path", _syntax.mountPathFault, mount.path)
        yield from _fault(f"{here}.folder", _syntax.folderFault, mount.folder)
        if mount.path in seen:
            yield Problem(f"{here}.path", f"{shown(mount.path)} is mounted twice")
        seen.add(mount.path)
        if mount.backend not in document.backends:
            yield Problem(f"{here}.backend", _missing("backend", mount.backend, document.backends))


def _componentProblems(section: str, component: Component, kinds: Kinds) -> Iterator[Problem]:
    if section not in kinds:
        return
    known = kinds[section]
    if component.kind not in known:
        noun = SECTIONS[section].noun
        yield Problem("kind", f"no {noun} kind {shown(component.kind)}; known: {', '.join(sorted(known))}")
        return
    yield from optionProblems(component, known[component.kind], {})


def optionProblems(component: Component, configClass: type, overrides: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with a component's options, which are written beside its other keys."""
    own = fields_dict(type(component)).keys() - {"options", "extra", "revision"}
    known = [*fields_dict(configClass), *own]
    try:
        structure(configClass, {**component.options, **overrides}, known=known)
    except Invalid as error:
        return list(error.problems)
    return []


def _listenerProblems(document: Document, listener: Listener) -> Iterator[Problem]:
    yield from _fault("port", _syntax.portFault, listener.port)
    yield from _faults("allow", _syntax.networkFault, listener.allow)
    yield from _faults("deny", _syntax.networkFault, listener.deny)
    yield from _faults("trustedProxies", _syntax.networkFault, listener.trustedProxies)
    if listener.proxyProtocol != "off" and not listener.trustedProxies:
        yield Problem("trustedProxies", f"proxyProtocol {listener.proxyProtocol} needs the networks of the balancers")
    if listener.certificate not in document.certificates:
        yield Problem("certificate", _missing("certificate", listener.certificate, document.certificates))


def _nodeProblems(document: Document, node: Node, kinds: Kinds) -> Iterator[Problem]:
    yield from _fault("address", _syntax.addressFault, node.address)
    if node.fingerprint:
        yield from _fault("fingerprint", _syntax.fingerprintFault, node.fingerprint)
    for name, overrides in node.listeners.items():
        here = joined("listeners", name)
        listener = document.listeners.get(name)
        if listener is None:
            yield Problem(here, _missing("listener", name, document.listeners))
            continue
        port = overrides.get("port", listener.port)
        if type(port) is not int:
            yield Problem(joined(here, "port"), f"expected a whole number, got {shown(port)}")
        else:
            yield from _fault(joined(here, "port"), _syntax.portFault, port)
        configClass = kinds.get("listeners", {}).get(listener.kind)
        if configClass is not None:
            options = {key: value for key, value in overrides.items() if key != "port"}
            yield from prefixed(here, optionProblems(listener, configClass, options))


def _settingsProblems(values: Mapping[str, Any]) -> Iterator[Problem]:
    given = {key: value for key, value in values.items() if value is not None}
    known = fields_dict(Settings).keys() - {"revision", "extra"}
    yield from unknownKeys("", values.keys() - known, known)
    try:
        settings = structure(Settings, {key: value for key, value in given.items() if key in known})
    except Invalid as error:
        yield from error.problems
        return
    for key in sorted(given.keys() & known):
        value = getattr(settings, key)
        if type(value) is int:
            low, high = _SETTINGS_BOUNDS.get(key, (0, 2**31))
            if not low <= value <= high:
                yield Problem(key, f"{value} is out of bounds: expected {low} to {high}")
        elif isinstance(value, tuple):
            yield from _faults(key, _syntax.networkFault, value)
    if "branding" in given:
        yield from prefixed("branding", brandingProblems(settings.branding))


_YEAR_SECONDS = 366 * 24 * 3600
_SETTINGS_BOUNDS = {
    "synchronousFollowers": (0, 100),
    "drainSeconds": (0, 24 * 3600),
    "drainGraceSeconds": (0, 3600),
    "banAfterFailures": (0, 1_000_000),
    "banWindowSeconds": (1, _YEAR_SECONDS),
    "banSeconds": (1, _YEAR_SECONDS),
    "sessionsPerAddress": (0, 1_000_000),
    "loginsPerMinute": (0, 1_000_000),
    "sessionIdleSeconds": (60, _YEAR_SECONDS),
    "sessionAbsoluteSeconds": (60, _YEAR_SECONDS),
    "leastPasswordCharacters": (1, 128),
    "partialSeconds": (0, 10 * _YEAR_SECONDS),
    "historyRevisions": (1, 10_000_000),
    "auditSeconds": (3600, 10 * _YEAR_SECONDS),
    "auditBytes": (10_000_000, 1_000_000_000_000),
}
"""The smallest and largest value of settings that are numbers; lists among the settings are of networks."""


# --- what refers to what


def _removeProblems(document: Document, section: str, name: str) -> Iterator[Problem]:
    if section not in SECTIONS:
        yield Problem("", f"there is no section {shown(section)}")
    elif section == "nodes" and name == document.promoted.name:
        yield Problem("", f"node {shown(name)} is the primary; promote another node first")


def _stillUsed(document: Document, gone: Sequence[Target]) -> Iterator[tuple[Target, str]]:
    """Removed objects that others still name; one pass over the users however many were removed."""
    names = {
        section: {name for goneSection, name in gone if goneSection == section and section in SECTIONS}
        for section in ("backends", "groups", "certificates", "listeners")
    }
    users: dict[Target, list[str]] = {}
    if names["backends"] or names["groups"]:
        for section, objects in (("users", document.users), ("groups", document.groups)):
            for value in objects.values():
                used = {("backends", mount.backend) for mount in value.mounts if mount.backend in names["backends"]}
                used |= {("groups", group) for group in getattr(value, "groups", ()) if group in names["groups"]}
                for target in used:
                    users.setdefault(target, []).append(f"{SECTIONS[section].noun} {value.name}")
    for listener in document.listeners.values() if names["certificates"] else ():
        if listener.certificate in names["certificates"]:
            users.setdefault(("certificates", listener.certificate), []).append(f"listener {listener.name}")
    for node in document.nodes.values() if names["listeners"] else ():
        for name in names["listeners"] & node.listeners.keys():
            users.setdefault(("listeners", name), []).append(f"node {node.name}")
    for target, by in users.items():
        noun = SECTIONS[target[0]].noun
        yield target, f"{noun} {shown(target[1])} is still used by {_some(by)}"


def _some(names: Sequence[str]) -> str:
    named = sorted(names)[:_SHOWN_USERS]
    rest = len(names) - len(named)
    return ", ".join(named) + (f" and {rest} more" if rest else "")


# --- the document as a whole


def _wholeProblems(document: Document, touched: Iterable[Target], single: bool) -> Iterator[Problem]:
    sections = {section for section, _ in touched}
    if "admins" in sections and not any(
        admin.enabled and admin.role is Role.full for admin in document.admins.values()
    ):
        yield Problem("" if single else "admins", "at least one enabled administrator with role full must remain")
    if sections & {"listeners", "nodes"}:
        yield from _portProblems(document, set(touched), single)


def _portProblems(document: Document, touched: set[Target], single: bool) -> Iterator[Problem]:
    """Two listeners on one port, on every node or on one that overrides ports."""
    told: set[frozenset[str]] = set()
    for node in (None, *(node for _, node in sorted(document.nodes.items()) if node.listeners)):
        ports: dict[int, list[str]] = {}
        for name, listener in sorted(document.listeners.items()):
            overrides = node.listeners.get(name, {}) if node else {}
            ports.setdefault(overridden(listener, overrides).port, []).append(name)
        for port, names in ports.items():
            pair = frozenset(names)
            if len(names) < 2 or pair in told:
                continue
            told.add(pair)
            concerned = [("listeners", name) for name in names if ("listeners", name) in touched]
            if node and ("nodes", node.name) in touched:
                here, where = ("nodes", node.name), "listeners"
            elif concerned:
                here, where = concerned[-1], "port"
            else:
                continue
            others = ", ".join(shown(name) for name in names if here != ("listeners", name))
            on = f" on node {shown(node.name)}" if node else ""
            path = where if single else joined(objectPath(here), where)
            yield Problem(path, f"port {port}{on} is taken by listener {others}")


# --- small


def _missing(noun: str, name: str, known: Mapping[str, Any]) -> str:
    return f"no {noun} named {shown(name)}" + (suggestion(name, known) if len(known) <= 1000 else "")


def _fault(path: str, check: Callable[[Any], str | None], value: Any) -> Iterator[Problem]:
    message = check(value)
    if message is not None:
        yield Problem(path, message)


def _faults(path: str, check: Callable[[Any], str | None], values: Sequence[Any]) -> Iterator[Problem]:
    for index, value in enumerate(values):
        yield from _fault(f"{path}[{index}]", check, value)
