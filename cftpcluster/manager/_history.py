"""Routes of the past: ``/history``, ``/diff`` and ``/rollback``."""

from __future__ import annotations

import datetime
import math
import re
from typing import Any

from attrs import define
from twisted.web.iweb import IRequest

from ..config.codec import canonical
from ..config.document import Role
from ..config.rollback import SECTIONS_BACK
from ..interfaces import IAdministration
from ..servers.http import HTTPProblem, jsonAnswer
from ..vocabulary import Author
from ._bodies import queryFlag, queryNumber, queryText, queryWhole, requestId
from ._formed import formedBody
from ._objects import MOST_WAIT_SECONDS
from ._routes import DRY_RUN, WAIT, Body, Parameter, Route, Routes, after, limit
from ._writes import Writes
from .revisions import Filter, Revisions

_DEFAULT_LIMIT = 50
_MOST_LIMIT = 500
_MOST_OBJECTS = 10_000
_BODY_BYTES = 256 * 1024
_REVISION = {"type": "integer", "minimum": 0, "maximum": 2**53}
_TIME = {"type": "string", "description": "RFC 3339, or seconds since the epoch."}

HISTORY = Route(
    method="GET",
    path="/history",
    text="List who changed what, when and from where, the newest first.",
    role=Role.auditor,
    tag="history",
    query=(
        limit(_DEFAULT_LIMIT, _MOST_LIMIT),
        Parameter("after", "Go on after this, the `next` of the page before.", _REVISION),
        Parameter("author", "Only what this administrator did, by whichever token."),
        Parameter("object", "Only what changed this: `users/alice`, `users` for all of them, or `settings`."),
        Parameter("since", "Not before this time.", _TIME),
        Parameter("until", "Before this time.", _TIME),
    ),
    answer=Body("History"),
)
REVISION = Route(
    method="GET",
    path="/history/<revision>",
    text="Show one revision, and what it changed.",
    role=Role.auditor,
    tag="history",
    query=(limit(_MOST_LIMIT, _MOST_OBJECTS), after()),
    answer=Body("Revision"),
)
DIFFERENCE = Route(
    method="GET",
    path="/diff",
    text="Tell what differs between two revisions, for people (`text`) and for programs; secrets are never shown.",
    role=Role.auditor,
    tag="history",
    query=(
        Parameter("from", "The one revision.", _REVISION, required=True),
        Parameter("to", "The other; the present one unless said.", _REVISION),
        limit(_MOST_LIMIT, _MOST_OBJECTS),
        after(),
    ),
    answer=Body("Difference"),
)
ROLLBACK = Route(
    method="POST",
    path="/rollback",
    text="Make settings, backends, groups, listeners and users as they were at a revision, as one new revision; never "
    "passwords, public keys or `enabled: false`. Needs role `full` where more than users and groups changes.",
    role=Role.users,
    tag="history",
    query=(DRY_RUN, WAIT),
    body=Body(
        {
            "type": "object",
            "required": ["revision"],
            "additionalProperties": False,
            "properties": {
                "revision": {**_REVISION, "description": "How things shall be again."},
                "only": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "Only these: `settings`, "
                    + ", ".join(f"`{one}`" for one in SECTIONS_BACK)
                    + ", or one object such as `users/alice`.",
                },
            },
        },
        {"revision": 17, "only": ["users/alice"]},
    ),
    answer=Body("RolledBack"),
    repeatable=True,
)


@define(eq=False)
class HistoryRoutes:
    _administration: IAdministration
    _revisions: Revisions
    _writes: Writes

    def add(self, routes: Routes) -> None:
        routes.add(HISTORY, self._history)
        routes.add(REVISION, self._revision)
        routes.add(DIFFERENCE, self._difference)
        routes.add(ROLLBACK, self._rollback)

    async def _history(self, request: IRequest, author: Author) -> bytes:
        which = Filter(
            author=queryText(request, "author"),
            object=queryText(request, "object"),
            since=_time(request, "since"),
            until=_time(request, "until"),
        )
        count = max(1, int(queryNumber(request, "limit", _DEFAULT_LIMIT, _MOST_LIMIT)))
        return jsonAnswer(request, await self._revisions.page(which, queryWhole(request, "after"), count))

    async def _revision(self, request: Any, author: Author, revision: str) -> bytes:
        if not re.fullmatch(r"0*[1-9][0-9]{0,15}", revision):
            raise HTTPProblem(404, f"there is no revision {revision!r}")
        number = self._known(int(revision))
        return jsonAnswer(request, await self._revisions.entry(number, queryText(request, "after"), _count(request)))

    async def _difference(self, request: Any, author: Author) -> bytes:
        old, new = queryWhole(request, "from"), queryWhole(request, "to")
        if old is None:
            raise HTTPProblem(400, "from: is required")
        one, other = self._known(old), self._known(new) if new is not None else None
        place = queryText(request, "after")
        return jsonAnswer(request, await self._revisions.difference(one, other, place, _count(request)))

    async def _rollback(self, request: Any, author: Author) -> bytes:
        body = await formedBody(request, ROLLBACK, _BODY_BYTES)
        revision, only = body["revision"], body.get("only", [])
        repeat, dryRun = requestId(request, author, canonical(body)), queryFlag(request, "dryRun")
        seconds = queryNumber(request, "wait", 0, MOST_WAIT_SECONDS)
        answer = await self._revisions.rollback(self._known(revision), only, dryRun, author, repeat)
        live = {} if dryRun else await self._writes.live(answer["revision"], seconds)
        return jsonAnswer(request, {**answer, **live})

    def _known(self, revision: int) -> int:
        if revision > self._administration.document().revision:
            raise HTTPProblem(404, f"there is no revision {revision} yet")
        return revision


def _count(request: Any) -> int:
    return max(1, int(queryNumber(request, "limit", _MOST_LIMIT, _MOST_OBJECTS)))


def _time(request: Any, name: str) -> float | None:
    """A time of the query, as seconds since the epoch."""
    text = queryText(request, name)
    if text is None:
        return None
    try:
        if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", text):
            return float(text)
        time = datetime.datetime.fromisoformat(text)
        seconds = time.timestamp() if time.tzinfo is not None else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise HTTPProblem(400, f"{name}: expected a time with its zone such as 2027-01-31T00:00:00Z")
    return seconds
