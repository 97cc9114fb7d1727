"""Validators, conditions and ranges of files.

RFC 9110 sections 8.8 (validators), 13 (conditional requests), 14 (range requests). Knows files by their stat alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from twisted.web.http import datetimeToString, stringToDatetime

from ...vocabulary import Stat
from ..http import HTTPProblem

_TAG = re.compile(rb'\s*(W/)?("[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)')
_RANGE = re.compile(rb"\s*([0-9]{0,30})\s*-\s*([0-9]{0,30})\s*")

MOST_RANGES = 64
"""Who asks for more ranges at once gets the whole file."""


def etagOf(stat: Stat) -> bytes:
    """A strong validator: other contents have another one, as far as the storage can tell."""
    told = f"{stat.identity} {stat.size} {stat.modified!r}".encode("utf-8", "backslashreplace")
    return b'"%s"' % hashlib.blake2b(told, digest_size=15).hexdigest().encode("ascii")


def lastModified(stat: Stat) -> bytes | None:
    """The date for ``Last-Modified``; none where it has no such text."""
    return datetimeToString(int(stat.modified)) if 0 <= stat.modified < 2**37 else None


def isConditional(request: Any) -> bool:
    """Whether a write depends on what is there now, other than on nothing being there."""
    headers = request.requestHeaders
    if any(headers.hasHeader(name) for name in (b"If-Match", b"If-Unmodified-Since")):
        return True
    return headers.hasHeader(b"If-None-Match") and not mustBeNew(request)


def mustBeNew(request: Any) -> bool:
    """Whether ``If-None-Match: *`` is asked for."""
    return _joined(request, b"If-None-Match") == b"*"


def isNotModified(request: Any, stat: Stat | None) -> bool:
    """Whether the client has what there is already, so that 304 is the answer to ``GET``.

    Fails with 412 where a condition does not hold. ``stat`` is ``None`` where there is nothing.
    """
    _checkMatch(request, stat)
    isSafe = request.method in {b"GET", b"HEAD"}
    noneMatch = _joined(request, b"If-None-Match")
    if noneMatch is not None:
        if stat is None or not (noneMatch == b"*" or etagOf(stat) in _tags(noneMatch, isWeakEnough=True)):
            return False
        if isSafe:
            return True
        raise HTTPProblem(412, "it is there already")
    since = _date(request, b"If-Modified-Since")
    return isSafe and since is not None and stat is not None and int(stat.modified) <= since


def _checkMatch(request: Any, stat: Stat | None) -> None:
    match = _joined(request, b"If-Match")
    if match is not None:
        if stat is None or not (match == b"*" or etagOf(stat) in _tags(match, isWeakEnough=False)):
            raise HTTPProblem(412, "it is not there, or not as it was")
        return
    since = _date(request, b"If-Unmodified-Since")
    if since is not None and stat is not None and int(stat.modified) > since:
        raise HTTPProblem(412, "it was modified since")


def _joined(request: Any, name: bytes) -> bytes | None:
    values = request.requestHeaders.getRawHeaders(name)
    return b",".join(values).strip() if values else None


def _tags(text: bytes, isWeakEnough: bool) -> set[bytes]:
    """The tags of a list; none of a list that is malformed."""
    tags, end = set(), 0
    while end < len(text):
        found = _TAG.match(text, end)
        if found is None:
            return set()
        if isWeakEnough or not found[1]:
            tags.add(found[2])
        end = found.end()
    return tags


def _date(request: Any, name: bytes) -> int | None:
    try:
        return int(stringToDatetime(request.requestHeaders.getRawHeaders(name, [b""])[0]))
    except (ValueError, IndexError, KeyError, OverflowError):
        return None


def rangesOf(request: Any, stat: Stat, now: float) -> Sequence[tuple[int, int]]:
    """First byte and number of bytes of each piece to send, none of them overlapping; none at all for the whole file,
    which also answers what is malformed or immoderate, and a range of a file that has changed since (``If-Range``).
    Fails with 416 where nothing lies in the ranges."""
    values = request.requestHeaders.getRawHeaders(b"Range", [])
    unit, _, text = values[0].partition(b"=") if len(values) == 1 else (b"", b"", b"")
    specifications = text.split(b",")
    if unit.strip().lower() != b"bytes" or len(specifications) > MOST_RANGES:
        return ()
    if request.method != b"GET" or not _isSame(request, stat, now):
        return ()
    found = [_RANGE.fullmatch(each) for each in specifications if each.strip()]
    pieces: list[tuple[int, int]] = []
    for each in found:
        if each is None or not (each[1] or each[2]) or (each[1] and each[2] and int(each[2]) < int(each[1])):
            return ()
        pieces.append(_piece(each, stat.size))
    if not pieces:
        return ()
    return _together([piece for piece in pieces if piece[1] > 0], stat.size)


def _piece(found: re.Match[bytes], size: int) -> tuple[int, int]:
    if not found[1]:
        length = min(int(found[2]), size)
        return size - length, length
    first = int(found[1])
    return first, (min(int(found[2]) + 1, size) if found[2] else size) - first


def _together(pieces: Sequence[tuple[int, int]], size: int) -> Sequence[tuple[int, int]]:
    """The pieces as they were asked for; where any of them overlap, in order and each byte once."""
    if not pieces:
        raise HTTPProblem(416, "the file has no bytes in this range", headers={"Content-Range": f"bytes */{size}"})
    joined: list[tuple[int, int]] = []
    for piece in sorted(pieces):
        if joined and piece[0] < sum(joined[-1]):
            first = joined[-1][0]
            joined[-1] = first, max(sum(joined[-1]), sum(piece)) - first
        else:
            joined.append(piece)
    return joined if len(joined) < len(pieces) else pieces


def _isSame(request: Any, stat: Stat, now: float) -> bool:
    wanted = _joined(request, b"If-Range")
    if wanted is None:
        return True
    if wanted.startswith((b'"', b"W/")):
        return wanted == etagOf(stat)
    # A date says nothing of a file that may have changed again within its second (section 8.8.2.2).
    return wanted == lastModified(stat) and int(stat.modified) + 1 < now
