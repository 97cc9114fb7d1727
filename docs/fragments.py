"""What the pages of the reference are made of: text of docstrings as Markdown, tables, and what a value may be."""

from __future__ import annotations

import datetime
import enum
import inspect
import json
import types
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

import attrs

from cftpcluster.config.codec import unstructure
from cftpcluster.config.document import Mount, Secret
from cftpcluster.manager._schemas import attributeTexts, plain


class Undocumented(Exception):
    """The code offers something and says nothing about it."""


# --- text


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join("| " + " | ".join(map(cell, line)) + " |\n" for line in lines) + "\n"


def fenced(text: str, language: str = "") -> str:
    return f"```{language}\n{text.rstrip()}\n```\n\n"


def summary(thing: Any) -> str:
    """The first paragraph of a docstring, if that is not about an attribute."""
    first = (inspect.getdoc(thing) or "").partition("\n\n")[0]
    return "" if first.startswith(":") else plain(first)


# --- values


def typeText(hint: Any) -> str:
    """What an administrator writes for an attribute of this type."""
    simple = {str: "text", bool: "`true` or `false`", int: "whole number", float: "number"}
    if hint in simple:
        return simple[hint]
    if hint is datetime.datetime:
        return "time, such as `2027-01-31T00:00:00Z`"
    if hint is Secret:
        return '`{secret: "..."}`'
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return "one of " + ", ".join(f"`{each.value}`" for each in hint)
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(f"`{each}`" for each in get_args(hint))
    if get_origin(hint) is types.UnionType:
        return " or ".join("`null`" if each is types.NoneType else typeText(each) for each in get_args(hint))
    if get_origin(hint) in {tuple, frozenset}:
        return f"list: {typeText(get_args(hint)[0])}"
    if attrs.has(hint):
        return f"{hint.__name__.lower()}, see below" if hint is Mount else f"mapping ({', '.join(fieldNames(hint))})"
    return "mapping"


def fieldNames(cls: type) -> list[str]:
    return [f"`{each.name}`" for each in attrs.fields(cls) if each.name != "extra"]


def defaultText(attribute: Any) -> str:
    if attribute.default is attrs.NOTHING:
        return "required"
    factory = getattr(attribute.default, "factory", None)
    default = factory() if factory else attribute.default
    value = unstructure(default)
    if isinstance(default, frozenset) and default and all(isinstance(each, enum.Enum) for each in default):
        members = type(next(iter(default)))
        missing = [f"`{each.value}`" for each in members if each not in default]
        return "all but " + ", ".join(missing) if missing else "all"
    return f"`{json.dumps(value)}`"


def attributeRows(cls: type, names: Iterable[str]) -> Iterator[tuple[str, str, str, str]]:
    hints, texts, fields = get_type_hints(cls), attributeTexts(cls), attrs.fields_dict(cls)
    for name in names:
        if not texts.get(name):
            raise Undocumented(f"{cls.__module__}.{cls.__name__}.{name}: its class needs `:ivar {name}:`")
        yield f"`{name}`", typeText(hints[name]), defaultText(fields[name]), texts[name]
        if attrs.has(hints[name]) and hints[name] is not Secret:
            inside = [each.name for each in attrs.fields(hints[name]) if each.name != "extra"]
            for row in attributeRows(hints[name], inside):
                yield (f"`{name}.{row[0][1:]}", *row[1:])
        for part in get_args(hints[name]):
            for inner in [part, *get_args(part)]:
                if attrs.has(inner) and inner is not Mount:
                    for row in attributeRows(inner, attrs.fields_dict(inner)):
                        yield (f"`{name}[].{row[0][1:]}", *row[1:])


HEADINGS = ("key", "value", "default", "meaning")
