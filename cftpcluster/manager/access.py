"""Who asks, and what they may: administrators over HTTPS, and whoever owns the administration socket.

RFC 9110 section 11 (authentication), RFC 7617 (Basic). Rights come from the document as it is now; a session or a
verified password only says who it is. What is asked for is not known here, but for its section.
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from attrs import define, field
from klein import Klein
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.web.iweb import IRequest

from ..auth.credentials import LoginBusy, TurnedAway
from ..auth.guard import ADMINISTRATORS_PROTOCOL
from ..auth.sessions import LONGEST_SOFTWARE, LiveSessions
from ..config.changes import Target
from ..config.document import Admin, Document, Role
from ..errors import ClusterError, Forbidden
from ..servers.http import (
    SAFE_METHODS,
    HTTPProblem,
    Session,
    Sessions,
    VerifiedLogins,
    basicCredentials,
    isForeign,
    jsonAnswer,
    jsonBody,
)
from ..vocabulary import Author, Origin

COOKIE = "__Host-cftpcluster-admin"
AUDIENCE = "administration"

_WRITTEN_BY_USERS_ROLE = frozenset({"users", "groups"})


def requireWrite(author: Author, targets: Iterable[Target]) -> None:
    """Fail with ``Forbidden`` where the author's role does not cover all of ``targets``."""
    if author.role == Role.full.value:
        return
    if author.role != Role.users.value:
        raise Forbidden(f"role {author.role} may look only")
    targets = list(targets)
    if not targets:
        raise Forbidden(f"role {author.role} may change users and groups only")
    for section, name in targets:
        if section not in _WRITTEN_BY_USERS_ROLE:
            raise Forbidden(f"role {author.role} may not change {section}" + (f"/{name}" if name else ""))


def requireFull(author: Author) -> None:
    """Fail with ``Forbidden`` for every other role."""
    if author.role != Role.full.value:
        raise Forbidden(f"role {author.role} may not do this")


class IsAccess(Protocol):
    """Says who makes a request, or fails with an ``HTTPProblem``."""

    async def author(self, request: Any) -> Author: ...

    def addRoutes(self, app: Klein) -> None:
        """Routes to log in and out by, where there are any."""


# --- the administration socket


@define(eq=False)
class SocketAccess:
    """Whoever can connect to the administration socket has the node's own files in their hands already."""

    _reactor: Any
    _pool: Any
    _names: dict[int, str] = field(factory=dict, init=False)

    async def author(self, request: Any) -> Author:
        user = _peerUser(request.channel.transport)
        if user not in (0, os.geteuid()):
            raise HTTPProblem(403, "this socket is for root and the user that the node runs as")
        if user not in self._names:
            # The answer may come from a directory server.
            self._names[user] = await deferToThreadPool(self._reactor, self._pool, _userName, user)
        return Author(self._names[user], Role.full.value, "socket")

    def addRoutes(self, app: Klein) -> None:
        pass


def _peerUser(transport: Any) -> int:
    credentials = transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    return int(user)


def _userName(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"uid {user}"


# --- HTTPS


@define(eq=False)
class AdministratorAccess:
    """Sessions in cookies for browsers, Basic authentication for scripts.

    :ivar authenticate: as :meth:`cftpcluster.auth.administrators.AdminPasswords.authenticate`.
    """

    _document: Callable[[], Document]
    _authenticate: Callable[[str, bytes, str], Deferred[Author]]
    _sessions: Sessions
    _verified: VerifiedLogins
    _live: LiveSessions

    async def author(self, request: Any) -> Author:
        basic = basicCredentials(request)
        if basic is not None:
            if request.method not in SAFE_METHODS and isForeign(request):
                raise HTTPProblem(403, "another site made this request")
            return await self._byPassword(request, *basic)
        session, admin = self._session(request)
        if self._sessions.isForged(request, session):
            raise HTTPProblem(403, "the X-CSRF-Token is missing or wrong, or another site made this request")
        renewed = self._sessions.renewed(session)
        if renewed is not None:
            self._sessions.setCookie(request, renewed)
        self._visited(request, session)
        return self._authorOf(request, admin)

    def _visited(self, request: Any, session: Session) -> None:
        software = (request.getHeader("User-Agent") or "")[:LONGEST_SOFTWARE]
        who, seconds = session.sessionId, self._sessions.idleSeconds
        protocol = listener = ADMINISTRATORS_PROTOCOL
        self._live.visit(session.name, Origin(protocol, _address(request), listener, who, software, seconds))

    def _session(self, request: Any) -> tuple[Session, Admin]:
        session = self._sessions.read(request)
        admin = self._document().admins.get(session.name) if session else None
        if session is None or admin is None or not admin.enabled:
            raise _unauthorized(request)
        if admin.credentialsRevision != session.credentialsRevision or self._live.isRevoked(session.sessionId):
            raise _unauthorized(request)
        # Whoever has an old key could sign a session, but knows of none that is there.
        if session.isOfOldKey and not self._live.isKnown(session.sessionId):
            raise _unauthorized(request)
        return session, admin

    async def _byPassword(self, request: Any, name: str, password: bytes) -> Author:
        admin = self._document().admins.get(name)
        revision = self._verified.revision(name, password)
        if admin is not None and admin.enabled and revision == admin.credentialsRevision:
            return self._authorOf(request, admin)
        return await self._verify(request, name, password)

    async def _verify(self, request: Any, name: str, password: bytes) -> Author:
        try:
            author = await self._authenticate(name, password, _address(request))
        except TurnedAway as refusal:
            raise HTTPProblem(429, str(refusal), headers={"Retry-After": "60"}) from None
        except LoginBusy:
            raise HTTPProblem(503, "too many log-ins at once", headers={"Retry-After": "2"}) from None
        except UnauthorizedLogin:
            raise _unauthorized(request) from None
        self._verified.remember(name, password, self._document().admins[name].credentialsRevision)
        return author

    def _authorOf(self, request: Any, admin: Admin) -> Author:
        return Author(admin.name, admin.role.value, _address(request))

    def addRoutes(self, app: Klein) -> None:
        @app.route("/api/v1/login", methods=["POST"])
        async def login(request: IRequest) -> bytes:
            return await self._login(request)

        @app.route("/api/v1/logout", methods=["POST"])
        async def logout(request: IRequest) -> bytes:
            return await self._logout(request)

        @app.route("/api/v1/session", methods=["GET"])
        async def session(request: IRequest) -> bytes:
            return self._describe(request)

    async def _login(self, request: Any) -> bytes:
        if isForeign(request):
            raise HTTPProblem(403, "another site made this request")
        body = await jsonBody(request, 4096)
        name, password = body.get("name"), body.get("password")
        if not isinstance(name, str) or not isinstance(password, str) or body.keys() != {"name", "password"}:
            raise HTTPProblem(422, "expected name and password")
        author = await self._verify(request, name, password.encode("utf-8", "surrogatepass"))
        session = self._sessions.start(name, self._document().admins[name].credentialsRevision)
        self._sessions.setCookie(request, session)
        self._visited(request, session)
        return jsonAnswer(request, {"csrfToken": self._sessions.csrfToken(session), "role": author.role})

    async def _logout(self, request: Any) -> bytes:
        await self.author(request)
        session = self._sessions.read(request)
        if session is not None and basicCredentials(request) is None:
            try:
                self._live.revoke(session.name, session.sessionId, "logged out")
            except ClusterError as error:
                raise HTTPProblem(503, str(error)) from None
        self._sessions.clearCookie(request)
        return jsonAnswer(request, {})

    def _describe(self, request: Any) -> bytes:
        session, admin = self._session(request)
        return jsonAnswer(
            request,
            {"name": admin.name, "role": admin.role.value, "csrfToken": self._sessions.csrfToken(session)},
        )


def _address(request: Any) -> str:
    return str(getattr(request.getClientAddress(), "host", ""))


def _unauthorized(request: Any) -> HTTPProblem:
    # A browser that is told of Basic asks for a password by itself.
    browser = request.requestHeaders.hasHeader("Sec-Fetch-Mode") or "json" in (request.getHeader("Accept") or "")
    headers = {} if browser else {"WWW-Authenticate": 'Basic realm="cftpcluster", charset="UTF-8"'}
    return HTTPProblem(401, "log in first, or the name or password is wrong", headers=headers)
