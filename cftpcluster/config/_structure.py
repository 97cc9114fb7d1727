"""Turns plain JSON values into the classes of a configuration, and back, in two ways.

*Strict* is for what people write: nothing is coerced, an unknown key is refused, and all problems are told together,
each with its path. *Lenient* is for what this software stored: it is fast, and what a newer version added is kept in
``extra``. Which sections there are, and what refers to what, is not known here.
"""

from __future__ import annotations

import base64
import binascii
import collections.abc
import datetime
import difflib
import enum
import json
import math
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from ..errors import Invalid
from ..vocabulary import Problem
from .document import Secret

T = TypeVar("T")
Hook = Callable[[Any, Any], Any]

_SHOWN_CHARACTERS = 60
_LARGEST_NUMBER = 2**63 - 1


class _Wrong(ValueError):
    """A value is not what is expected; the value is shown unless its attribute keeps it out of the repr."""

    def __init__(self, expected: str, value: Any) -> None:
        super().__init__(f"expected {expected}, got {shown(value)}")
        self.expected = expected


class _Many(ValueError):
    """The problems that a value found in itself."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


def shown(value: Any) -> str:
    """``value`` for a message: as JSON, on one line, and short."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    try:
        text = json.dumps(value, ensure_ascii=not (isinstance(value, str) and value.isprintable()))
    except (TypeError, ValueError):
        text = type(value).__name__
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def joined(path: str, key: str | int) -> str:
    """The path of ``key`` below ``path``, as in ``users[3].mounts``."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def prefixed(path: str, problems: collections.abc.Iterable[Problem]) -> Iterator[Problem]:
    """Problems whose paths start at ``path``, as seen from where that starts."""
    for problem in problems:
        nested = problem.path and not problem.path.startswith("[")
        yield Problem(joined(path, problem.path) if nested else path + problem.path, problem.message)


def suggestion(word: str, known: collections.abc.Iterable[str]) -> str:
    """``; did you mean "groups"?`` where a known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {shown(near[0])}?" if near else ""


# --- values without parts


def _text(value: Any, _: Any = str) -> str:
    if type(value) is not str:
        raise _Wrong("text", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Wrong("text in valid Unicode", value) from None
    return value


def _truth(value: Any, _: Any = bool) -> bool:
    if type(value) is not bool:
        raise _Wrong("true or false", value)
    return value


def _whole(value: Any, _: Any = int) -> int:
    if type(value) is not int or abs(value) > _LARGEST_NUMBER:
        raise _Wrong("a whole number", value)
    return value


def _number(value: Any, _: Any = float) -> float:
    if type(value) not in {int, float} or not math.isfinite(value) or abs(value) > _LARGEST_NUMBER:
        raise _Wrong("a number", value)
    return float(value)


def _time(value: Any, _: Any = datetime.datetime) -> datetime.datetime:
    expected = "a time with its zone such as 2027-01-31T00:00:00Z"
    if type(value) is not str:
        raise _Wrong(expected, value)
    try:
        time = datetime.datetime.fromisoformat(value)
        if time.tzinfo is None:
            raise _Wrong(expected, value)
        return time.astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise _Wrong(expected, value) from None


def _writeTime(value: datetime.datetime) -> str:
    return value.astimezone(datetime.UTC).isoformat().removesuffix("+00:00") + "Z"


def _secret(value: Any, _: Any = Secret) -> Secret:
    try:
        if type(value) is dict and value.keys() == {"sealed"} and type(value["sealed"]) is str:
            return Secret(base64.b64decode(value["sealed"], validate=True))
    except (binascii.Error, ValueError):
        pass
    raise ValueError("expected a sealed secret")


def _writeSecret(value: Secret) -> dict[str, str]:
    return {"sealed": base64.b64encode(value.sealed).decode("ascii")}


def _enumFactory(cls: Any, _: Any = None) -> Hook:
    members = {member.value: member for member in cls}
    expected = "one of " + ", ".join(map(str, members))

    def structureEnum(value: Any, _: Any) -> Any:
        member = members.get(value) if type(value) is str else None
        if member is None:
            raise _Wrong(expected, value)
        return member

    return structureEnum


def _literalFactory(cls: Any, _: Any = None) -> Hook:
    allowed = get_args(cls)
    expected = "one of " + ", ".join(map(str, allowed))

    def structureLiteral(value: Any, _: Any) -> Any:
        if not any(type(value) is type(one) and value == one for one in allowed):
            raise _Wrong(expected, value)
        return value

    return structureLiteral


# --- values with parts


def _isSequence(cls: Any) -> bool:
    origin = get_origin(cls) or cls
    return origin in {list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Set}


def _isMapping(cls: Any) -> bool:
    return (get_origin(cls) or cls) in {dict, collections.abc.Mapping}


def _isUnion(cls: Any) -> bool:
    return get_origin(cls) in {Union, types.UnionType}


def _isEnum(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, enum.Enum)


def _plain(value: Any, _: Any = None) -> Any:
    return value


def _sequenceFactory(cls: Any, converter: cattrs.Converter) -> Hook:
    origin = get_origin(cls) or cls
    make = {list: list, set: set, frozenset: frozenset, collections.abc.Set: frozenset}.get(origin, tuple)
    item = next(iter(get_args(cls)), Any)
    hook: Hook = _plain if item is Any else converter.get_structure_hook(item)

    def structureSequence(value: Any, _: Any) -> Any:
        if type(value) not in {list, tuple}:
            raise _Wrong("a list", value)
        return make(_each(enumerate(value), item, hook, cls))

    return structureSequence


def _mappingFactory(cls: Any, converter: cattrs.Converter) -> Hook:
    item = (get_args(cls) or (str, Any))[1]
    hook: Hook = _plain if item is Any else converter.get_structure_hook(item)

    def structureMapping(value: Any, _: Any) -> Any:
        if type(value) is not dict or not all(type(key) is str for key in value):
            raise _Wrong("a mapping", value)
        return dict(zip(value, _each(value.items(), item, hook, cls), strict=True))

    return structureMapping


def _each(pairs: collections.abc.Iterable[tuple[Any, Any]], item: Any, hook: Hook, cls: Any) -> list[Any]:
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
    if _isSequence(cls):
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
                if isinstance(error, IterableValidationError) and sum(_isSequence(one) for one in members) == 1:
                    raise
        raise _Wrong(" or ".join(_words(member) for member in members), value)

    return structureUnion


def _strictClassFactory(cls: Any, converter: cattrs.Converter) -> Hook:
    overrides = {"extra": override(omit=True)} if attrs.has(cls) and hasattr(attrs.fields(cls), "extra") else {}
    structureFields = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, **overrides)

    def structureClass(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise _Wrong("a mapping", value)
        instance = structureFields(value, cls)
        found = getattr(instance, "problems", None)
        if callable(found) and (problems := found()):
            raise _Many(problems)
        return instance

    return structureClass


def _strictConverter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True, forbid_extra_keys=True)
    converter.register_structure_hook_factory(attrs.has, _strictClassFactory)
    _registerCommon(converter)
    return converter


def _registerCommon(converter: cattrs.Converter) -> None:
    for isIt, factory in (
        (_isSequence, _sequenceFactory),
        (_isMapping, _mappingFactory),
        (_isUnion, _unionFactory),
    ):
        converter.register_structure_hook_factory(isIt, factory)
    converter.register_structure_hook_factory(_isEnum, _enumFactory)
    converter.register_structure_hook_factory(lambda cls: get_origin(cls) is Literal, _literalFactory)
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


# --- the lenient way


def _lenientClassFactory(cls: Any, converter: cattrs.Converter) -> Hook:
    if not hasattr(attrs.fields(cls), "extra"):
        return make_dict_structure_fn(cls, converter, _cattrs_detailed_validation=False)
    structureFields = make_dict_structure_fn(
        cls, converter, _cattrs_detailed_validation=False, extra=override(omit=True)
    )
    known = frozenset(attrs.fields_dict(cls)) - {"extra"}

    def structureClass(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise _Wrong("a mapping", value)
        instance = structureFields(value, cls)
        unknown = value.keys() - known
        if unknown:
            instance = attrs.evolve(instance, extra={key: value[key] for key in unknown})
        return instance

    return structureClass


def _unstructureClassFactory(cls: Any, converter: cattrs.Converter) -> Callable[[Any], dict[str, Any]]:
    if not hasattr(attrs.fields(cls), "extra"):
        return make_dict_unstructure_fn(cls, converter, _cattrs_omit_if_default=True)
    writeFields = make_dict_unstructure_fn(cls, converter, _cattrs_omit_if_default=True, extra=override(omit=True))

    def unstructureClass(value: Any) -> dict[str, Any]:
        plain = writeFields(value)
        return {**value.extra, **plain} if value.extra else plain

    return unstructureClass


def _storedText(value: Any, _: Any = str) -> str:
    if type(value) is not str:
        raise _Wrong("text", value)
    return value


def _lenientTupleFactory(cls: Any, converter: cattrs.Converter) -> Hook:
    item = next(iter(get_args(cls)), Any)
    hook: Hook = _plain if item is Any else converter.get_structure_hook(item)

    def structureTuple(value: Any, _: Any) -> Any:
        if type(value) is not list:
            raise _Wrong("a list", value)
        return tuple([hook(one, item) for one in value])

    return structureTuple


def _lenientSetFactory(cls: Any, converter: cattrs.Converter) -> Hook:
    slowly = _sequenceFactory(cls, converter)
    # Few combinations of permissions are in use, by very many mounts.
    seen: dict[tuple[Any, ...], Any] = {}

    def structureSet(value: Any, _: Any) -> Any:
        key = tuple(value) if type(value) is list and all(type(one) is str for one in value) else None
        if key in seen:
            return seen[key]
        made = slowly(value, cls)
        if key is not None and len(seen) < 1000:
            seen[key] = made
        return made

    return structureSet


def _writeSet(value: collections.abc.Set[Any]) -> list[Any]:
    members = next((type(one) for one in value if isinstance(one, enum.Enum)), None)
    if members is None:
        return sorted(value)
    return [one.value for one in members if one in value]


def _lenientConverter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False, omit_if_default=True)
    converter.register_structure_hook_factory(attrs.has, _lenientClassFactory)
    _registerCommon(converter)
    converter.register_structure_hook(str, _storedText)
    converter.register_structure_hook_factory(lambda cls: get_origin(cls) is tuple, _lenientTupleFactory)
    converter.register_structure_hook_factory(lambda cls: get_origin(cls) is frozenset, _lenientSetFactory)
    converter.register_unstructure_hook_factory(attrs.has, _unstructureClassFactory)
    converter.register_unstructure_hook_func(lambda cls: (get_origin(cls) or cls) in {set, frozenset}, _writeSet)
    converter.register_unstructure_hook_func(_isMapping, dict)
    converter.register_unstructure_hook(Secret, _writeSecret)
    converter.register_unstructure_hook(datetime.datetime, _writeTime)
    return converter


_strict = _strictConverter()
_lenient = _lenientConverter()


# --- what the rest calls


def structure(cls: type[T], plain: Any, path: str = "", *, known: Sequence[str] = ()) -> T:
    """An instance of ``cls`` from plain values, strictly; plug-ins' option classes are read by this too.

    An instance with a method ``problems()`` (:class:`~cftpcluster.interfaces.IValidator`) is asked for more.

    :param path: where ``plain`` stands in what was written, for the problems.
    :param known: keys that may have been meant by an unknown one, besides those of ``cls``.
    :raises Invalid: with every problem.
    """
    try:
        return _strict.structure(plain, cls)
    except Exception as error:  # noqa: BLE001 a class's own validators may raise anything
        raise Invalid(list(_told(error, path, known, hidden=False))) from None


def structureLeniently(cls: type[T], plain: Any) -> T:
    """An instance of ``cls`` from plain values that this software wrote, this version or a newer one.

    :raises ValueError: where a value is not what this version expects.
    """
    try:
        return _lenient.structure(plain, cls)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def unstructure(value: Any) -> Any:
    """Plain JSON values from an instance; defaults are left out, so a default never changes within a format version."""
    return _lenient.unstructure(value)


def _told(error: BaseException, path: str, known: Sequence[str], hidden: bool) -> Iterator[Problem]:
    """The problems that an error of the strict converter holds."""
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            innerPath, innerHidden = _place(inner, path, hidden, error.cl)
            yield from _told(inner, innerPath, () if innerPath != path else known, innerHidden)
    elif isinstance(error, ForbiddenExtraKeysError):
        meant = [*known, *(name for name in attrs.fields_dict(error.cl) if name != "extra")]
        for key in sorted(error.extra_fields, key=str):
            yield Problem(path, f"unknown key {shown(key)}{suggestion(str(key), meant)}")
    elif isinstance(error, _Many):
        yield from prefixed(path, error.problems)
    elif isinstance(error, _Wrong) and hidden:
        yield Problem(path, f"expected {error.expected}")
    elif isinstance(error, KeyError):
        yield Problem(path, "is required")
    else:
        yield Problem(path, str(error) or type(error).__name__)


def _place(error: BaseException, path: str, hidden: bool, cls: type) -> tuple[str, bool]:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return joined(path, note.name), hidden or not getattr(attrs.fields(cls), note.name).repr
        if isinstance(note, IterableValidationNote):
            return joined(path, note.index), hidden
    return path, hidden
