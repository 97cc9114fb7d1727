"""The forms of objects as administrators write and read them, where they differ from what is stored.

Nobody writes revisions and what else the cluster sets by itself; a component's options stand beside its other keys; a
password is written in the clear or as a hash, key material in the clear; absent ones are unchanged. Hashing and sealing
happen elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import Attribute, Factory, evolve, field, fields, frozen

from ..errors import Invalid
from ..vocabulary import Problem
from ._messages import joined, shown, unknownKeys
from ._stored import unstructure
from ._structure import structure
from .document import (
    SECTIONS,
    Admin,
    Certificate,
    Component,
    Group,
    HostKey,
    Limits,
    Named,
    Node,
    Quota,
    Secret,
    Section,
    User,
)

SECTION_ORDER = (
    "backends",
    "groups",
    "users",
    "admins",
    "listeners",
    "certificates",
    "hostKeys",
    "checkers",
    "observers",
    "nodes",
)
"""Sections as they stand in a written document, after ``settings``."""

OpenSecret = Callable[[Secret], bytes]

_KEPT = frozenset({"revision", "extra", "credentialsRevision", "initialPassword", "since"})
_KEPT_OF_NODE = _KEPT | {"number", "fingerprint", "publicKey"}
_ALWAYS_SHOWN = frozenset({"enabled", "role", "permissions"})
_PASSWORD_BYTES = 1024
_OPTION_DEPTH = 20
_PENDING = Secret(b"")


@frozen
class WrittenObject:
    """One object as it was written.

    :ivar path: where it stands, such as ``users[3]``; "" for an object by itself.
    :ivar value: what is known without hashing and sealing; ``passwordHash`` and ``key`` come from :meth:`completed`.
    :ivar given: the keys that were written.
    :ivar password: a password in the clear.
    :ivar secret: key material in the clear.
    """

    section: str
    path: str
    value: Named
    given: frozenset[str]
    password: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)

    @property
    def target(self) -> tuple[str, str]:
        return self.section, self.value.name

    def completed(self, existing: Named | None, resolved: Any) -> Named:
        """The object to store: with what the cluster keeps of the existing one, and with what hashing or sealing gave.

        :raises Invalid: where key material is missing, or a node was never joined.
        """
        value = self.value
        kept = {name: getattr(existing, name) for name in keptOf(type(value))} if existing is not None else {}
        if isinstance(value, Node) and existing is None:
            raise Invalid([Problem(self.path, f"no node named {shown(value.name)}; a node joins with a token")])
        if isinstance(value, User | Admin):
            if self.password is not None:
                kept["passwordHash"] = resolved
            elif "passwordHash" not in self.given and isinstance(existing, User | Admin):
                kept["passwordHash"] = existing.passwordHash
        if isinstance(value, Certificate | HostKey):
            if self.secret is not None:
                kept["key"] = resolved
            elif isinstance(existing, Certificate | HostKey):
                kept["key"] = existing.key
            else:
                raise Invalid([Problem(joined(self.path, "key"), "is required")])
        if isinstance(value, User) and isinstance(existing, User):
            kept["quota"] = evolve(value.quota, extra=existing.quota.extra)
            kept["limits"] = evolve(value.limits, extra=existing.limits.extra)
        if isinstance(value, User | Group) and isinstance(existing, User | Group):
            # What a newer version wrote into a mount stays with it.
            extras = {mount.path: mount.extra for mount in existing.mounts if mount.extra}
            if extras:
                mounts = value.mounts
                kept["mounts"] = tuple(evolve(one, extra=extras.get(one.path, one.extra)) for one in mounts)
        return evolve(value, **kept)


def keptOf(cls: type) -> frozenset[str]:
    """The attributes that nobody writes."""
    kept = _KEPT_OF_NODE if cls is Node else _KEPT
    return frozenset(one.name for one in fields(cls)) & kept


# --- reading


def readObject(section: str, plain: Any, path: str = "", name: str | None = None) -> WrittenObject:
    """One object, strictly.

    :param path: where it stands, for the problems.
    :param name: the name it must have, which then needs not be written.
    :raises Invalid: with every problem of its form.
    """
    table = SECTIONS[section]
    if type(plain) is not dict or not all(type(key) is str for key in plain):
        raise Invalid([Problem(path, f"expected a mapping, got {shown(plain)}")])
    plain = {"name": name, **plain} if name is not None else plain
    if name is not None and plain["name"] != name:
        raise Invalid([Problem(joined(path, "name"), f"expected {shown(name)}, got {shown(plain['name'])}")])
    found: list[Problem] = []
    secrets = {key: plain[key] for key in ("password", "key") if key in plain and key in _writtenKeys(table)}
    own, options = _parted(table, plain, path, found)
    password = secret = None
    if "password" in secrets:
        password = _password(plain, path, found)
    if "key" in secrets:
        secret = _keyMaterial(secrets["key"], joined(path, "key"), found)
    value = None
    try:
        if _hasKey(table):
            own["key"] = unstructure(_PENDING)
        value = structure(table.valueClass, own, path, known=_writtenKeys(table))
    except Invalid as error:
        found += error.problems
    if found or value is None:
        raise Invalid(found)
    if isinstance(value, Component):
        value = evolve(value, options=options)
    return WrittenObject(section, path, value, frozenset(plain), password, secret)


def _hasKey(table: Section) -> bool:
    return issubclass(table.valueClass, Certificate | HostKey)


def _writtenKeys(table: Section) -> list[str]:
    """The keys that an object of this section is written with, options aside."""
    keys = [one.name for one in fields(table.valueClass) if one.name not in keptOf(table.valueClass)]
    if "passwordHash" in keys:
        keys.append("password")
    return [key for key in keys if key != "options"]


def _parted(
    table: Section, plain: dict[str, Any], path: str, found: list[Problem]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """An object's own keys, and its options."""
    known = _writtenKeys(table)
    own = {key: plain[key] for key in plain if key in known and key not in {"password", "key"}}
    rest = {key: plain[key] for key in plain if key not in known}
    if issubclass(table.valueClass, Component):
        for key, value in rest.items():
            found += _optionFaults(joined(path, key), value, 0)
        return own, rest
    found += unknownKeys(path, rest, known)
    if table.valueClass is Node:
        found += _optionFaults(joined(path, "listeners"), plain.get("listeners", {}), 0)
    return own, {}


def _optionFaults(path: str, value: Any, depth: int) -> Iterator[Problem]:
    """What no option of any kind can be; the kind's own class says the rest."""
    if depth > _OPTION_DEPTH:
        yield Problem(path, "nested too deeply")
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _optionFaults(joined(path, str(key)), one, depth + 1)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _optionFaults(joined(path, index), one, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        yield Problem(path, "expected a number")
    elif isinstance(value, str) and not _isUnicode(value):
        yield Problem(path, "expected text in valid Unicode")


def _isUnicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _password(plain: dict[str, Any], path: str, found: list[Problem]) -> str | None:
    value, here = plain["password"], joined(path, "password")
    if type(value) is not str or not _isUnicode(value):
        found.append(Problem(here, "expected text"))
    elif not value or len(value.encode()) > _PASSWORD_BYTES:
        found.append(Problem(here, f"must have 1 to {_PASSWORD_BYTES} bytes"))
    elif "passwordHash" in plain:
        found.append(Problem(here, "give either password or passwordHash"))
    else:
        return value
    return None


def _keyMaterial(value: Any, path: str, found: list[Problem]) -> str | None:
    if type(value) is dict and value.keys() == {"secret"} and type(value["secret"]) is str and value["secret"]:
        if _isUnicode(value["secret"]):
            return str(value["secret"])
    found.append(Problem(path, 'expected {secret: "..."} with the private key in PEM'))
    return None


# --- showing


def exportObject(value: Named, openSecret: OpenSecret | None = None, defaults: bool = False) -> dict[str, Any]:
    """An object in exactly the form that :func:`readObject` takes.

    :param openSecret: opens key material; without it there is none in the result, nor a password's hash.
    :param defaults: show what has its default too.
    """
    plain = _exported(value, keptOf(type(value)) | {"options"}, defaults)
    if isinstance(value, Component):
        plain |= value.options
    if openSecret is None:
        plain.pop("passwordHash", None)
    if isinstance(value, Certificate | HostKey):
        plain.pop("key")
        if openSecret is not None:
            plain["key"] = {"secret": openSecret(value.key).decode()}
    return plain


def _exported(value: Any, hidden: frozenset[str], defaults: bool) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for one in fields(type(value)):
        item = getattr(value, one.name)
        if one.name in hidden or (not defaults and one.name not in _ALWAYS_SHOWN and item == _default(one)):
            continue
        if one.name == "mounts":
            plain[one.name] = [_exported(each, _KEPT, defaults) for each in item]
        elif isinstance(item, Quota | Limits):
            plain[one.name] = _exported(item, _KEPT, defaults)
        else:
            plain[one.name] = unstructure(item)
    # The name comes first, as one writes it.
    return {"name": plain.pop("name"), **plain} if "name" in plain else plain


def _default(attribute: Attribute[Any]) -> Any:
    default: Any = attribute.default
    return default.factory() if isinstance(default, Factory) else default  # type: ignore[arg-type]
