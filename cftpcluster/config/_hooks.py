"""How plain JSON values become the values that attributes are annotated with; nothing is coerced.

Hooks for cattrs that both ways of reading share: the strict one of :mod:`._structure`, and the lenient one of
:mod:`._stored`. Classes are not known here, they are what tells the two apart.
"""

from __future__ import annotations

import base64
import binascii
import collections.abc
import datetime
import enum
import math
import types
from collections.abc import Callable, Iterable
from typing import Any, Literal, Union, get_args, get_origin

import cattrs
from cattrs.errors import IterableValidationError, IterableValidationNote

from ._messages import shown
from .document import Secret

Hook = Callable[[Any, Any], Any]

_LARGEST_NUMBER = 2**63 - 1


class Wrong(ValueError):
    """A value is not what is expected; the value is shown unless its attribute keeps it out of the repr."""

    def __init__(self, expected: str, value: Any) -> None:
        super().__init__(f"expected {expected}, got {shown(value)}")
        self.expected = expected


# --- values without parts


def _text(value: Any, _: Any = str) -> str:
    if type(value) is not str:
        raise Wrong("text", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Wrong("text in valid Unicode", value) from None
    return value


def _truth(value: Any, _: Any = bool) -> bool:
    if type(value) is not bool:
        raise Wrong("true or false", value)
    return value


def _whole(value: Any, _: Any = int) -> int:
    if type(value) is not int or abs(value) > _LARGEST_NUMBER:
        raise Wrong("a whole number", value)
    return value


def _number(value: Any, _: Any = float) -> float:
    if type(value) not in {int, float} or not math.isfinite(value) or abs(value) > _LARGEST_NUMBER:
        raise Wrong("a number", value)
    return float(value)


def _time(value: Any, _: Any = datetime.datetime) -> datetime.datetime:
    expected = "a time with its zone such as 2027-01-31T00:00:00Z"
    if type(value) is not str:
        raise Wrong(expected, value)
    try:
        time = datetime.datetime.fromisoformat(value)
        if time.tzinfo is None:
            raise Wrong(expected, value)
        return time.astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise Wrong(expected, value) from None


def writeTime(value: datetime.datetime) -> str:
    return value.astimezone(datetime.UTC).isoformat().removesuffix("+00:00") + "Z"


def _secret(value: Any, _: Any = Secret) -> Secret:
    try:
        if type(value) is dict and value.keys() == {"sealed"} and type(value["sealed"]) is str:
            return Secret(base64.b64decode(value["sealed"], validate=True))
    except (binascii.Error, ValueError):
        pass
    raise ValueError("expected a sealed secret")


def writeSecret(value: Secret) -> dict[str, str]:
    return {"sealed": base64.b64encode(value.sealed).decode("ascii")}


def _enumFactory(cls: Any, _: Any = None) -> Hook:
    members = {member.value: member for member in cls}
    expected = "one of " + ", ".join(map(str, members))

    def structureEnum(value: Any, _: Any) -> Any:
        member = members.get(value) if type(value) is str else None
        if member is None:
            raise Wrong(expected, value)
        return member

    return structureEnum


def _literalFactory(cls: Any, _: Any = None) -> Hook:
    allowed = get_args(cls)
    expected = "one of " + ", ".join(map(str, allowed))

    def structureLiteral(value: Any, _: Any) -> Any:
        if not any(type(value) is type(one) and value == one for one in allowed):
            raise Wrong(expected, value)
        return value

    return structureLiteral


# --- values with parts


def isSequence(cls: Any) -> bool:
    origin = get_origin(cls) or cls
    return origin in {list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Set}


def isMapping(cls: Any) -> bool:
    return (get_origin(cls) or cls) in {dict, collections.abc.Mapping}


def _isUnion(cls: Any) -> bool:
    return get_origin(cls) in {Union, types.UnionType}


def _isLiteral(cls: Any) -> bool:
    return get_origin(cls) is Literal


def isEnum(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, enum.Enum)


def plainHook(value: Any, _: Any = None) -> Any:
    return value


def sequenceFactory(cls: Any, converter: cattrs.Converter) -> Hook:
    origin = get_origin(cls) or cls
    make = {list: list, set: set, frozenset: frozenset, collections.abc.Set: frozenset}.get(origin, tuple)
    item = next(iter(get_args(cls)), Any)
    hook: Hook = plainHook if item is Any else converter.get_structure_hook(item)

    def structureSequence(value: Any, _: Any) -> Any:
        if type(value) not in {list, tuple}:
            raise Wrong("a list", value)
        return make(_each(enumerate(value), item, hook, cls))

    return structureSequence


def _mappingFactory(cls: Any, converter: cattrs.Converter) -> Hook:
    item = (get_args(cls) or (str, Any))[1]
    hook: Hook = plainHook if item is Any else converter.get_structure_hook(item)

    def structureMapping(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise Wrong("a mapping", value)
        if not all(type(key) is str for key in value):
            raise ValueError("every key must be text")
        return dict(zip(value, _each(value.items(), item, hook, cls), strict=True))

    return structureMapping


def _each(pairs: Iterable[tuple[Any, Any]], item: Any, hook: Hook, cls: Any) -> list[Any]:
    done: list[Any] = []
    failed: list[Exception] = []
    for index, value in pairs:
        try:
            done.append(hook(value, item))
        except Exception as error:  # noqa: BLE001 every problem is told, whatever found it
            error.add_note(IterableValidationNote("", index, item))
            failed.append(error)
    if failed:
        raise IterableValidationError("", failed, cls)
    return done


def _words(cls: Any) -> str:
    """What to call a type in a message."""
    simple = {str: "text", bool: "true or false", int: "a whole number", float: "a number", types.NoneType: "null"}
    if cls in simple:
        return simple[cls]
    if isSequence(cls):
        return "a list"
    return "one of " + ", ".join(map(str, get_args(cls))) if get_origin(cls) is Literal else "a mapping"


def _unionFactory(cls: Any, converter: cattrs.Converter) -> Hook:
    members = get_args(cls)
    hooks = [(member, converter.get_structure_hook(member)) for member in members if member is not types.NoneType]
    takesNone = len(hooks) < len(members)

    def structureUnion(value: Any, _: Any) -> Any:
        if value is None and takesNone:
            return None
        if len(hooks) == 1:
            return hooks[0][1](value, hooks[0][0])
        for member, hook in hooks:
            try:
                return hook(value, member)
            except Exception as error:
                # A list can only have been meant as the list: what is wrong within it says more.
                if isinstance(error, IterableValidationError) and sum(isSequence(one) for one in members) == 1:
                    raise
        raise Wrong(" or ".join(_words(member) for member in members), value)

    return structureUnion


def registerCommon(converter: cattrs.Converter) -> None:
    for isIt, factory in (
        (isSequence, sequenceFactory),
        (isMapping, _mappingFactory),
        (_isUnion, _unionFactory),
    ):
        converter.register_structure_hook_factory(isIt, factory)
    converter.register_structure_hook_factory(isEnum, _enumFactory)
    converter.register_structure_hook_factory(_isLiteral, _literalFactory)
    simple: tuple[tuple[Any, Hook], ...] = (
        (str, _text),
        (bool, _truth),
        (int, _whole),
        (float, _number),
        (datetime.datetime, _time),
        (Secret, _secret),
    )
    for cls, hook in simple:
        converter.register_structure_hook(cls, hook)
