"""Routes of what administrators do of themselves, whatever their role: a new password, the end of all their sessions.

Such a change has the role :data:`cftpcluster.auth.own.ADMIN_ROLE` as its author's; nothing else can be changed by it.
"""

from __future__ import annotations

from typing import Any

from attrs import define, evolve

from ..auth.guard import ADMINISTRATORS_PROTOCOL
from ..auth.own import ADMIN_ROLE, passwordFaults
from ..auth.rules import Rules
from ..config.document import Admin, Role
from ..errors import Forbidden, Invalid
from ..events import Notify, SessionKicked
from ..interfaces import IAdministration
from ..servers.http import jsonAnswer
from ..vocabulary import Author, Problem
from ._formed import formedBody
from ._routes import Body, IsAccess, Route, Routes
from ._writes import Writes
from .writing import Preparation, Prepared

_BODY_BYTES = 4096
LIVE_SECONDS = 5.0
"""How long it is waited until the nodes know the new password: the session that goes on is good by it."""

PASSWORD = Route(
    method="PUT",
    path="/account/password",
    text="Give oneself another password. The other sessions, and the API tokens, of that administrator end by it; not "
    "for tokens. `settings.leastPasswordCharacters` holds.",
    role=Role.auditor,
    tag="log-in",
    body=Body(
        {
            "type": "object",
            "required": ["current", "new"],
            "additionalProperties": False,
            "properties": {
                "current": {"type": "string", "description": "The password as it is, as a proof."},
                "new": {"type": "string", "maxLength": 1024, "description": "The password as it is to be."},
            },
        },
        {"current": "correct horse battery staple", "new": "only on the way in"},
    ),
    answer=Body("Written"),
)
END_SESSIONS = Route(
    method="DELETE",
    path="/account/sessions",
    text="Log out everywhere: end all sessions of whoever asks, on all nodes, the one that asks among them. Not for "
    "tokens, which have no session and stay.",
    role=Role.auditor,
    tag="log-in",
    answer=Body("SessionsEnded"),
)


@define(eq=False)
class AccountRoutes:
    _administration: IAdministration
    _access: IsAccess
    _preparation: Preparation
    _writes: Writes
    _rules: Rules
    _notify: Notify

    def add(self, routes: Routes) -> None:
        routes.add(PASSWORD, self._setPassword)
        routes.add(END_SESSIONS, self._endSessions)

    async def _setPassword(self, request: Any, author: Author) -> bytes:
        admin = self._own(author)
        body = await formedBody(request, PASSWORD, _BODY_BYTES)
        current, new = body["current"], body["new"]
        faults = list(passwordFaults(new, admin.name, self._administration.document().settings.leastPasswordCharacters))
        if current == new:
            faults.append("must be another one than the present one")
        if faults:
            raise Invalid([Problem("new", fault) for fault in faults])
        await self._access.confirm(request, author, current)

        async def prepare() -> Prepared:
            document = self._administration.document()
            return await self._preparation.patch("admins", {"password": new}, self._own(author), document)

        revision, _ = await self._writes.propose(prepare, evolve(author, role=ADMIN_ROLE))
        answer = await self._writes.live(revision, LIVE_SECONDS)
        self._access.goOn(request, revision)
        return jsonAnswer(request, answer)

    def _own(self, author: Author) -> Admin:
        admin = self._administration.document().admins.get(author.name)
        if author.token or author.address == "socket" or admin is None:
            raise Forbidden("this is for administrators who log in themselves")
        return admin

    async def _endSessions(self, request: Any, author: Author) -> bytes:
        name, sessions = self._own(author).name, self._rules.sessions
        # A user may have the same name.
        own = [
            one["id"] for one in sessions.listed() if one["user"] == name and one["protocol"] == ADMINISTRATORS_PROTOCOL
        ]
        for key in own:
            sessions.kick(key, "logged out everywhere")
        self._access.forget(request)
        self._notify(SessionKicked(author=str(author), address=author.address, user=name))
        return jsonAnswer(request, {"user": name, "ended": len(own)})
