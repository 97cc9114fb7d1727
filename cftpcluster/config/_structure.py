"""Plain JSON values to the classes of a configuration, strictly: for what people write.

Nothing is coerced, an unknown key is refused, and all problems are told together, each with its path. Which sections
there are, and what refers to what, is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import attrs
import cattrs
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, override

from ..errors import Invalid
from ..vocabulary import Problem
from ._hooks import Hook, Wrong, registerCommon
from ._messages import joined, prefixed, unknownKeys

T = TypeVar("T")


class _Many(ValueError):
    """The problems that a value found in itself."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


def _strictClassFactory(cls: Any, converter: cattrs.Converter) -> Hook:
    # What is not known to this version is never written by people.
    overrides: Any = {"extra": override(omit=True)} if hasattr(attrs.fields(cls), "extra") else {}
    structureFields = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, **overrides)

    def structureClass(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise Wrong("a mapping", value)
        instance = structureFields(value, cls)
        found = getattr(instance, "problems", None)
        if callable(found) and (problems := found()):
            raise _Many(problems)
        return instance

    return structureClass


def _strictConverter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True, forbid_extra_keys=True)
    converter.register_structure_hook_factory(attrs.has, _strictClassFactory)
    registerCommon(converter)
    return converter


_strict = _strictConverter()


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


def _told(error: BaseException, path: str, known: Sequence[str], hidden: bool) -> Iterator[Problem]:
    """The problems that an error of the strict converter holds."""
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            innerPath, innerHidden = _place(inner, path, hidden, error.cl)
            yield from _told(inner, innerPath, () if innerPath != path else known, innerHidden)
    elif isinstance(error, ForbiddenExtraKeysError):
        meant = [*known, *(name for name in attrs.fields_dict(error.cl) if name != "extra")]
        yield from unknownKeys(path, sorted(error.extra_fields, key=str), meant)
    elif isinstance(error, _Many):
        yield from prefixed(path, error.problems)
    elif isinstance(error, Wrong) and hidden:
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
