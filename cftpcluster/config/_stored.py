"""Plain JSON values to the classes of a configuration, leniently and fast: for what this software stored; and back.

What a newer version added to an object is kept in its ``extra``. Which sections there are is not known here.
"""

from __future__ import annotations

import collections.abc
import datetime
import enum
from collections.abc import Callable
from typing import Any, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from ._hooks import Hook, Wrong, isMapping, plainHook, registerCommon, sequenceFactory, writeSecret, writeTime
from .document import Secret

T = TypeVar("T")


def _lenientClassFactory(cls: Any, converter: cattrs.Converter) -> Hook:
    keepsExtra = hasattr(attrs.fields(cls), "extra")
    overrides: Any = {"extra": override(omit=True)} if keepsExtra else {}
    structureFields = make_dict_structure_fn(cls, converter, _cattrs_detailed_validation=False, **overrides)
    known = frozenset(attrs.fields_dict(cls)) - {"extra"}

    def structureClass(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise Wrong("a mapping", value)
        instance = structureFields(value, cls)
        if keepsExtra and not value.keys() <= known:
            instance = attrs.evolve(instance, extra={key: value[key] for key in value.keys() - known})
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
        raise Wrong("text", value)
    return value


def _lenientTupleFactory(cls: Any, converter: cattrs.Converter) -> Hook:
    item = next(iter(get_args(cls)), Any)
    hook: Hook = plainHook if item is Any else converter.get_structure_hook(item)

    def structureTuple(value: Any, _: Any) -> Any:
        if type(value) is not list:
            raise Wrong("a list", value)
        return tuple([hook(one, item) for one in value])

    def structureTexts(value: Any, _: Any) -> Any:
        if type(value) is not list or not set(map(type, value)) <= {str}:
            raise Wrong("a list of texts", value)
        return tuple(value)

    return structureTexts if item is str else structureTuple


def _lenientSetFactory(cls: Any, converter: cattrs.Converter) -> Hook:
    slowly = sequenceFactory(cls, converter)
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


def _isTuple(cls: Any) -> bool:
    return get_origin(cls) is tuple


def _isSet(cls: Any) -> bool:
    return (get_origin(cls) or cls) is frozenset


def _lenientConverter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False, omit_if_default=True)
    converter.register_structure_hook_factory(attrs.has, _lenientClassFactory)
    registerCommon(converter)
    converter.register_structure_hook(str, _storedText)
    converter.register_structure_hook_factory(_isTuple, _lenientTupleFactory)
    converter.register_structure_hook_factory(_isSet, _lenientSetFactory)
    converter.register_unstructure_hook_factory(attrs.has, _unstructureClassFactory)
    converter.register_unstructure_hook_func(_isSet, _writeSet)
    converter.register_unstructure_hook_func(isMapping, dict)
    converter.register_unstructure_hook(Secret, writeSecret)
    converter.register_unstructure_hook(datetime.datetime, writeTime)
    return converter


_lenient = _lenientConverter()


def structureLeniently(cls: type[T], plain: Any) -> T:
    """An instance of ``cls`` from plain values that this software wrote, this version or a newer one.

    :raises ValueError: where a value is not what this version expects.
    """
    try:
        structured: T = _lenient.get_structure_hook(cls)(plain, cls)
        return structured
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def unstructure(value: Any) -> Any:
    """Plain JSON values from an instance; defaults are left out, so a default never changes within a format version."""
    return _lenient.unstructure(value)
