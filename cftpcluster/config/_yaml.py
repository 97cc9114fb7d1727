"""Text that administrators write, to plain JSON values and back: YAML 1.2 with its core schema, or JSON.

The values are made here from the parser's events, so that nothing but text, numbers, truth values, null, lists and
mappings can come of it: no tags, no duplicate keys, no merge keys, bounded aliases, depth and size. What the values
mean is not known here.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from attrs import define, field
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

from ..errors import Invalid
from ..vocabulary import Problem
from ._messages import shown

YAML_BYTES = 16 * 1024 * 1024
JSON_BYTES = 128 * 1024 * 1024
DEPTH = 50
ALIASED_VALUES = 100_000
"""How many values aliases may stand for, counted as often as they are used."""

_JSON_ONLY_BYTES = 1024 * 1024
"""Text that starts like JSON and is longer is never tried as YAML, which is read a hundred times more slowly."""


def parseText(text: str | bytes) -> Any:
    """Plain values from YAML or JSON. Takes long for long YAML; belongs in a thread.

    :raises Invalid: with line and column.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise Invalid([Problem("", f"not UTF-8: byte {error.start} is {text[error.start]:#04x}")]) from None
    if text.lstrip()[:1] in {"{", "["}:
        plain, problem = _parseJSON(text)
        if problem is None:
            return plain
        if len(text) > _JSON_ONLY_BYTES:
            raise Invalid([problem])
    return _parseYAML(text)


def _parseJSON(text: str) -> tuple[Any, Problem | None]:
    if len(text) > JSON_BYTES:
        raise Invalid([Problem("", f"larger than {JSON_BYTES} characters")])
    try:
        plain = json.loads(
            text, parse_constant=_refuseConstant, parse_float=_finite, object_pairs_hook=_withoutDuplicates
        )
    except json.JSONDecodeError as error:
        return None, Problem(f"line {error.lineno}, column {error.colno}", error.msg)
    except RecursionError:
        raise Invalid([Problem("", "nested too deeply")]) from None
    except ValueError as error:
        raise Invalid([Problem("", str(error))]) from None
    _requireShallow(plain)
    return plain, None


def _requireShallow(plain: Any) -> None:
    """How deep Python's own parser goes differs from version to version."""
    level = [plain]
    for _ in range(DEPTH):
        level = [
            child
            for one in level
            if isinstance(one, dict | list)
            for child in (one.values() if isinstance(one, dict) else one)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise Invalid([Problem("", f"nested deeper than {DEPTH}")])


def _refuseConstant(text: str) -> Any:
    raise ValueError(f"{text} is not a number that can be used")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuseConstant(text)


def _withoutDuplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {shown(twice)} stands twice in one mapping")
    return made


def _parseYAML(text: str) -> Any:
    if len(text) > YAML_BYTES:
        raise Invalid([Problem("", f"YAML larger than {YAML_BYTES} characters; JSON may be larger")])
    try:
        return _Builder(YAML(typ="safe", pure=True).parse(io.StringIO(text))).document()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise Invalid([Problem(place, error.problem or error.context or "not YAML")]) from None
    except (YAMLError, RecursionError, ValueError) as error:
        raise Invalid([Problem("", "not YAML: " + " ".join(str(error).split()))]) from None


# --- YAML's core schema


_NULL = {"", "~", "null", "Null", "NULL"}
_TRUE = {"true", "True", "TRUE"}
_FALSE = {"false", "False", "FALSE"}
_NUMBERS: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text, 0)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"), lambda text: math.nan),
)


def _scalar(text: str) -> Any:
    """What an untagged plain scalar is."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    for pattern, make in _NUMBERS:
        if pattern.fullmatch(text):
            number = make(text)
            if isinstance(number, float) and not math.isfinite(number):
                raise ValueError(f"{text} is not a number that can be used")
            return number
    return text


@define(eq=False)
class _Builder:
    """Makes plain values from events."""

    _events: Iterator[Event]
    _anchors: dict[str, tuple[Any, int]] = field(factory=dict, init=False)
    _made: int = field(default=0, init=False)
    _aliased: int = field(default=0, init=False)

    def document(self) -> Any:
        self._expect(StreamStartEvent)
        first = next(self._events)
        if isinstance(first, StreamEndEvent):
            return None
        plain = self._value(next(self._events), 0)
        self._expect(DocumentEndEvent)
        more = next(self._events)
        if isinstance(more, DocumentStartEvent):
            raise _fault(more, "a second document")
        return plain

    def _expect(self, kind: type[Event]) -> None:
        event = next(self._events)
        assert isinstance(event, kind), event

    def _value(self, event: Event, depth: int) -> Any:
        if isinstance(event, AliasEvent):
            return self._alias(event)
        assert isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent)
        # "!" alone says only "not plain": the text as it stands.
        if event.tag not in {None, "!"}:
            raise _fault(event, f"tag {shown(str(event.tag))} is not supported")
        if depth > DEPTH:
            raise _fault(event, f"nested deeper than {DEPTH}")
        before = self._made
        self._made += 1
        plain = self._content(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (plain, self._made - before)
        return plain

    def _content(self, event: Event, depth: int) -> Any:
        if isinstance(event, SequenceStartEvent):
            return self._sequence(depth)
        if isinstance(event, MappingStartEvent):
            return self._mapping(depth)
        assert isinstance(event, ScalarEvent)
        if event.style is not None or event.tag == "!":
            return event.value
        try:
            return _scalar(event.value)
        except ValueError as error:
            raise _fault(event, str(error)) from None

    def _sequence(self, depth: int) -> list[Any]:
        plain = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            plain.append(self._value(event, depth + 1))
        return plain

    def _mapping(self, depth: int) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._value(event, depth + 1)
            if not isinstance(key, str):
                raise _fault(event, f"a key must be text, not {shown(key)}; quote it")
            if key in plain:
                raise _fault(event, f"key {shown(key)} stands twice in one mapping")
            plain[key] = self._value(next(self._events), depth + 1)
        return plain

    def _alias(self, event: AliasEvent) -> Any:
        if event.anchor not in self._anchors:
            raise _fault(event, f"no complete value is anchored as {shown(event.anchor)}")
        plain, size = self._anchors[event.anchor]
        self._made += size
        self._aliased += size
        if self._aliased > ALIASED_VALUES:
            raise _fault(event, f"aliases stand for more than {ALIASED_VALUES} values")
        return plain


def _fault(event: Event, message: str) -> Invalid:
    mark = event.start_mark
    return Invalid([Problem(f"line {mark.line + 1}, column {mark.column + 1}", message)])


# --- writing


class _Representer(SafeRepresenter):
    """Writes texts of several lines, such as certificates, as blocks, and never an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: Any) -> ScalarNode:
        lines = data.split("\n")
        style: str | None = None
        if not all(map(str.isprintable, lines)) or not isinstance(_orNone(data), str):
            style = '"'
        elif len(lines) > 1:
            style = "|" if lines[0] and all(line == line.strip() for line in lines) else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


def _orNone(text: str) -> Any:
    try:
        return _scalar(text)
    except ValueError:
        return None


_Representer.add_representer(str, _Representer.represent_str)


def exportYaml(plain: Any) -> str:
    """YAML that :func:`parseText` reads as ``plain`` again."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.allow_unicode = True
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    yaml.dump(plain, out)
    return out.getvalue()
