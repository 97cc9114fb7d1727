"""What requests say beside their bodies: parameters and conditions. What it is for is not known here."""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import parse_qs

from attrs import frozen

from ..servers.http import HTTPProblem
from ..vocabulary import Author

_ETAG = re.compile(r'"(0|[1-9][0-9]{0,17})"')
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,256}")


# --- the query


def _query(request: Any) -> dict[str, list[str]]:
    """The parameters; Twisted's own reading of them drops those without a value."""
    text = request.uri.partition(b"?")[2].decode("ascii", "replace")
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise HTTPProblem(400, "too many parameters") from None


def queryText(request: Any, name: str) -> str | None:
    values = _query(request).get(name, [])
    if len(values) > 1:
        raise HTTPProblem(400, f"{name} is given twice")
    return values[0] if values else None


def queryFlag(request: Any, name: str) -> bool:
    """Whether a flag is given: ``?all``, ``?all=true`` or ``?all=1``."""
    text = queryText(request, name)
    if text not in (None, "", "true", "false", "1", "0"):
        raise HTTPProblem(400, f"{name}: expected true or false")
    return text in ("", "true", "1")


def queryNumber(request: Any, name: str, default: float, most: float) -> float:
    """A number from 0 on; more than ``most`` is ``most``."""
    text = queryText(request, name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,18}(\.[0-9]{1,6})?", text):
        raise HTTPProblem(400, f"{name}: expected a number")
    return min(float(text), most)


def queryWhole(request: Any, name: str) -> int | None:
    """A whole number from 0 on; ``None`` where it is not given."""
    text = queryText(request, name)
    if text is not None and not re.fullmatch(r"[0-9]{1,16}", text):
        raise HTTPProblem(400, f"{name}: expected a whole number")
    return int(text) if text is not None else None


def refuseOthers(request: Any, *known: str) -> None:
    """A query that says more than the route understands is refused, not ignored."""
    for name in _query(request):
        if name not in known:
            raise HTTPProblem(400, f"unknown parameter {name!r}")


# --- conditions


@frozen
class Condition:
    """What must be so for a write to take place.

    :ivar revisions: the object has one of these revisions; ``None`` where it may have any.
    :ivar exists: whether the object must (not) be there; ``None`` where it does not matter.
    """

    revisions: frozenset[int] | None = None
    exists: bool | None = None

    def holds(self, revision: int) -> bool:
        """Whether it is so for an object of that revision; 0 where there is none."""
        if self.exists is not None and self.exists != (revision > 0):
            return False
        return self.revisions is None or revision in self.revisions


def condition(request: Any, body: dict[str, Any] | None = None) -> Condition:
    """What ``If-Match``, ``If-None-Match: *`` and the ``revision`` that a body carries ask for.

    The body's ``revision`` is taken out of it.
    """
    revisions, exists = None, None
    match = request.getHeader("If-Match")
    if match is not None:
        exists = True
        if match.strip() != "*":
            # A weak tag, or one that is none of ours, matches nothing.
            found = (_ETAG.fullmatch(each.strip()) for each in match.split(","))
            revisions = frozenset(int(each[1]) for each in found if each)
    noneMatch = request.getHeader("If-None-Match")
    if noneMatch is not None:
        if noneMatch.strip() != "*" or match is not None:
            raise HTTPProblem(400, "of If-None-Match, a write understands * alone")
        exists = False
    if body is not None and "revision" in body:
        revision = body.pop("revision")
        if type(revision) is not int or revision < 0:
            raise HTTPProblem(422, "revision: expected a whole number")
        revisions = frozenset({revision}) if revisions is None else revisions & {revision}
    return Condition(revisions, exists)


def requestId(request: Any, author: Author, body: bytes = b"") -> str:
    """The id under which a repeated request is known again; "" where it may not be.

    It depends on all that was asked, so that a key used for something else asks for something else.
    """
    key = request.getHeader("Idempotency-Key")
    if key is None:
        return ""
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise HTTPProblem(400, "Idempotency-Key: expected 1 to 256 printable ASCII characters")
    parts = [str(author).encode("utf-8", "replace"), request.method, request.uri, key.encode("ascii"), body]
    digests = b"".join(hashlib.sha256(part).digest() for part in parts)
    return hashlib.sha256(digests).hexdigest()
