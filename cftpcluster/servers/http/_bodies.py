"""What requests say: bodies in JSON, and the query. What it is for is not known here."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from ._problems import HTTPProblem
from ._request import JSON_BYTES


async def jsonBody(request: Any, mostBytes: int = JSON_BYTES) -> dict[str, Any]:
    """The request's body, a JSON object; an absent body is an empty one."""
    contentType = (request.getHeader("Content-Type") or "application/json").partition(";")[0].strip().lower()
    if not (contentType == "application/json" or contentType.endswith("+json")):
        raise HTTPProblem(415, "the body must be application/json")
    body = await request.body(mostBytes)
    try:
        # Bytes could be in one of five encodings.
        plain = json.loads(
            (body or b"{}").decode("utf-8"),
            parse_constant=_refuse,
            parse_float=_finite,
            object_pairs_hook=_withoutDuplicates,
        )
    except (ValueError, RecursionError) as error:
        raise HTTPProblem(400, f"the body is not JSON: {error}") from None
    if type(plain) is not dict:
        raise HTTPProblem(400, "the body must be a JSON object")
    return plain


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is not a number of JSON")


def _finite(text: str) -> float:
    """A number that JSON can hold again, as ``1e400`` is none."""
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _withoutDuplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return made


def queryBytes(request: Any, name: str) -> bytes | None:
    """The one value of a parameter, as its bytes; ``None`` where it is not given."""
    values = request.args.get(name.encode("ascii"), [])
    if len(values) > 1:
        raise HTTPProblem(400, f"{name} is given twice")
    return values[0] if values else None


def queryNumber(request: Any, name: str, default: int, most: int) -> int:
    """A whole number from 1 on; more than ``most`` is ``most``."""
    raw = queryBytes(request, name)
    if raw is None:
        return default
    if not re.fullmatch(rb"0*[1-9][0-9]{0,17}", raw):
        raise HTTPProblem(400, f"{name}: expected a whole number from 1 on")
    return min(int(raw), most)


def queryFlag(request: Any, name: str) -> bool:
    """Whether a parameter is ``true``; it is not where it is not given."""
    value = queryBytes(request, name)
    if value not in {None, b"true", b"false"}:
        raise HTTPProblem(400, f"{name}: expected true or false")
    return value == b"true"


def refuseOthers(request: Any, *known: str) -> None:
    """A query that says more than the route understands is refused, not ignored."""
    for name in request.args:
        if name.decode("utf-8", "replace") not in known:
            raise HTTPProblem(400, f"unknown parameter {name.decode('utf-8', 'replace')!r}")
