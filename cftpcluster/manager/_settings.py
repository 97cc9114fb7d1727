"""Routes of the cluster's settings: shown as one object, and changed key by key."""

from __future__ import annotations

from typing import Any

from attrs import define

from ..config.changes import SETTINGS
from ..config.codec import canonical
from ..config.document import Role
from ..config.written import allSettings
from ..errors import Conflict, Invalid
from ..interfaces import IAdministration
from ..servers.http import HTTPProblem, jsonAnswer, jsonBody
from ..vocabulary import Author, Problem
from ._bodies import condition, queryNumber, requestId
from ._objects import MOST_WAIT_SECONDS, OBJECT_BYTES
from ._routes import WAIT, Body, Route, Routes
from ._writes import Writes
from .writing import Preparation, Prepared

SHOW = Route(
    method="GET",
    path="/settings",
    text="Show the settings, the revision of their last change as `ETag`.",
    role=Role.auditor,
    tag="settings",
    answer=Body("SettingsShown"),
    also={304: None},
)
PATCH = Route(
    method="PATCH",
    path="/settings",
    text="Change some settings (RFC 7396): each is replaced whole, and has its default where it is null.",
    role=Role.full,
    tag="settings",
    query=(WAIT,),
    body=Body("Settings", {"banAfterFailures": 5, "banSeconds": None}),
    answer=Body("Written"),
    conditional=True,
    repeatable=True,
)


@define(eq=False)
class SettingsRoutes:
    _administration: IAdministration
    _preparation: Preparation
    _writes: Writes

    def add(self, routes: Routes) -> None:
        routes.add(SHOW, self._show)
        routes.add(PATCH, self._patch)

    def _shown(self) -> tuple[dict[str, Any], bytes]:
        settings = self._administration.document().settings
        return {**allSettings(settings), "revision": settings.revision}, b'"%d"' % settings.revision

    async def _show(self, request: Any, author: Author) -> bytes:
        shown, tag = self._shown()
        request.setHeader(b"ETag", tag)
        if tag in {each.strip() for each in (request.getHeader(b"If-None-Match") or b"").split(b",")}:
            request.setResponseCode(304)
            return b""
        return jsonAnswer(request, shown)

    async def _patch(self, request: Any, author: Author) -> bytes:
        patch = await jsonBody(request, OBJECT_BYTES)
        repeat, wanted = requestId(request, author, canonical(patch)), condition(request, patch)
        seconds = queryNumber(request, "wait", 0, MOST_WAIT_SECONDS)
        newest = max(wanted.revisions or {0})
        await self._writes.caughtUp(lambda: self._administration.document().revision >= newest)
        revision = self._administration.document().settings.revision
        if wanted.revisions is not None and not wanted.holds(revision):
            raise self._moved()
        expected = {SETTINGS: revision} if wanted.revisions is not None else {}
        try:
            done, _ = await self._writes.propose(lambda: self._prepared(patch), author, repeat, expected)
        except Conflict as error:
            if SETTINGS not in error.moved or not expected:
                raise
            await self._writes.caughtUp(lambda: self._administration.document().settings.revision != revision)
            raise self._moved() from None
        request.setHeader(b"ETag", b'"%d"' % done)
        return jsonAnswer(request, await self._writes.live(done, seconds))

    async def _prepared(self, patch: Any) -> Prepared:
        try:
            written = canonical({"settings": patch})
            return await self._preparation.document(written, False, self._administration.document, {})
        except Invalid as error:
            # They are written by themselves.
            found = [Problem(one.path.removeprefix("settings").lstrip("."), one.message) for one in error.problems]
            raise Invalid(found) from None

    def _moved(self) -> HTTPProblem:
        """412 with the settings as they are now."""
        shown, tag = self._shown()
        detail = f"they are at revision {shown['revision']}"
        return HTTPProblem(412, detail, members={"current": shown}, headers={"ETag": tag.decode("ascii")})
