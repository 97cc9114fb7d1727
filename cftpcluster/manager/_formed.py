"""Bodies held to the form that their route declares, with every fault at its place.

As much of JSON Schema as the routes use. Values are not repeated in what is told: some are passwords.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..config._messages import joined, unknownKeys
from ..servers.http import HTTPProblem, jsonBody
from ..vocabulary import Problem
from ._routes import Route

_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "text"),
    "number": ((int, float), "a number"),
    "integer": ((int,), "a whole number"),
    "boolean": ((bool,), "true or false"),
    "array": ((list,), "a list"),
    "object": ((dict,), "a mapping"),
}


async def formedBody(request: Any, route: Route, mostBytes: int) -> dict[str, Any]:
    """The body of a request, which is as its route says; 422 with all that is wrong otherwise."""
    assert route.body is not None
    assert not isinstance(route.body.form, str)
    body = await jsonBody(request, mostBytes)
    found = list(faults(body, route.body.form))
    if found:
        raise HTTPProblem(422, "nothing was changed", problems=found)
    return body


def faults(value: Any, form: Mapping[str, Any], path: str = "") -> Iterator[Problem]:
    """What in a value is not as ``form``, a JSON Schema, says."""
    kind = form.get("type")
    if isinstance(kind, str):
        types, words = _KINDS[kind]
        if type(value) not in types:
            yield Problem(path, f"expected {words}")
            return
    if "enum" in form and value not in form["enum"]:
        yield Problem(path, f"expected one of {', '.join(form['enum'])}")
    elif isinstance(value, dict):
        yield from _faultsOfMapping(value, form, path)
    elif isinstance(value, list):
        if not form.get("minItems", 0) <= len(value) <= form.get("maxItems", len(value)):
            yield Problem(path, f"expected {_range(form, 'minItems', 'maxItems')} of them")
        for index, one in enumerate(value):
            yield from faults(one, form.get("items", {}), joined(path, index))
    elif isinstance(value, str):
        yield from _faultsOfText(value, form, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _faultsOfNumber(value, form, path)


def _faultsOfMapping(value: Mapping[str, Any], form: Mapping[str, Any], path: str) -> Iterator[Problem]:
    properties = form.get("properties", {})
    for name in form.get("required", ()):
        if name not in value:
            yield Problem(joined(path, name), "is required")
    for name, one in value.items():
        if name in properties:
            yield from faults(one, properties[name], joined(path, name))
    if form.get("additionalProperties") is False:
        yield from unknownKeys(path, (name for name in value if name not in properties), properties)


def _faultsOfText(value: str, form: Mapping[str, Any], path: str) -> Iterator[Problem]:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        yield Problem(path, "expected text in valid Unicode")
        return
    if not form.get("minLength", 0) <= len(value) <= form.get("maxLength", len(value)):
        yield Problem(path, f"expected {_range(form, 'minLength', 'maxLength')} characters")
    elif "pattern" in form and not re.fullmatch(form["pattern"].removeprefix("^").removesuffix("$"), value):
        yield Problem(path, "expected a name: letters, digits and . _ @ -, 64 at most, the first a letter or digit")


def _faultsOfNumber(value: float, form: Mapping[str, Any], path: str) -> Iterator[Problem]:
    least, most = form.get("minimum", form.get("exclusiveMinimum")), form.get("maximum")
    tooSmall = least is not None and (value < least or (value == least and "exclusiveMinimum" in form))
    if tooSmall or (most is not None and value > most):
        words = f"more than {least}" if "exclusiveMinimum" in form else f"at least {least}"
        yield Problem(path, f"expected {words}" + (f" and at most {most}" if most is not None else ""))


def _range(form: Mapping[str, Any], least: str, most: str) -> str:
    if most not in form:
        return f"at least {form[least]}"
    return f"{form.get(least, 0)} to {form[most]}"
