"""How problems speak of values and of the places where they stand; all of them in the same words."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..vocabulary import Problem

_SHOWN_CHARACTERS = 60
_SHOWN_KEYS = 50


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


def prefixed(path: str, problems: Iterable[Problem]) -> Iterator[Problem]:
    """Problems whose paths start at ``path``, as seen from where that starts."""
    for problem in problems:
        nested = problem.path and not problem.path.startswith("[")
        yield Problem(joined(path, problem.path) if nested else path + problem.path, problem.message)


def unknownKeys(path: str, keys: Iterable[Any], known: Iterable[str]) -> Iterator[Problem]:
    """Each of some keys that nobody knows; of very many the first ones, since looking for what was meant takes long."""
    unknown, meant = list(keys), list(known)
    for key in unknown[:_SHOWN_KEYS]:
        yield Problem(path, f"unknown key {shown(key)}{suggestion(str(key), meant)}")
    if len(unknown) > _SHOWN_KEYS:
        yield Problem(path, f"{len(unknown) - _SHOWN_KEYS} more unknown keys")


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean "groups"?`` where a known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.65)
    return f"; did you mean {shown(near[0])}?" if near else ""
