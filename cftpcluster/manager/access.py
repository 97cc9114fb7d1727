"""Who asks, and what they may: administrators over HTTPS, and whoever owns the administration socket.

RFC 9110 section 11 (authentication), RFC 7617 (Basic). Rights come from the document as it is now; a session or a
verified password only says who it is. What is asked for is not known here, but for its section.
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from ..auth.credentials import LoginBusy, TurnedAway
from ..auth.guard import ADMINISTRATORS_PROTOCOL
from ..auth.sessions import LONGEST_SOFTWARE, LiveSessions
from ..auth.tokens import ApiTokens, roleOf
from ..config.document import Admin, Document, Role
from ..errors import ClusterError
from ..events import LoggedOut, Notify, TokenUsed
from ..servers.http import (
    SAFE_METHODS,
    HTTPProblem,
    Session,
    Sessions,
    VerifiedLogins,
    basicCredentials,
    isForeign,
    jsonAnswer,
)
from ..vocabulary import Author, Origin, Problem
from ._formed import formedBody
from ._routes import Body, Route, Routes

log = Logger()

COOKIE = "__Host-cftpcluster-admin"
AUDIENCE = "administration"

BACKGROUND_HEADER = "X-Background"
"""Says that a page asks by itself, again and again: nobody uses the session by that."""

LOGIN = Route(
    method="POST",
    path="/login",
    text="Log in: sets the session cookie. What changes something then has to carry the `csrfToken` as `X-CSRF-Token`.",
    role=None,
    tag="log-in",
    body=Body(
        {
            "type": "object",
            "required": ["name", "password"],
            "additionalProperties": False,
            "properties": {"name": {"type": "string"}, "password": {"type": "string"}},
        },
        {"name": "admin", "password": "correct horse battery staple"},
    ),
    answer=Body("LoggedIn"),
)
LOGOUT = Route(
    method="POST",
    path="/logout",
    text="End the session, on every node.",
    role=Role.auditor,
    tag="log-in",
    answer=Body({"type": "object"}, {}),
)
SESSION = Route(
    method="GET",
    path="/session",
    text="Tell who asks, and with which role; where that is by a session's cookie, its `csrfToken`, too.",
    role=Role.auditor,
    tag="log-in",
    answer=Body("Session"),
)


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

    def lasting(self, request: Any, author: Author) -> Callable[[], bool]:
        return lambda: True

    async def confirm(self, request: Any, author: Author, password: str) -> None:
        raise HTTPProblem(403, "nobody has a password here")

    def goOn(self, request: Any, credentialsRevision: int) -> None:
        pass

    def forget(self, request: Any) -> None:
        pass

    def addRoutes(self, routes: Routes) -> None:
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
    """Sessions in cookies for browsers, Basic authentication and tokens for scripts.

    :ivar authenticate: as :meth:`cftpcluster.auth.administrators.AdminPasswords.authenticate`.
    """

    _document: Callable[[], Document]
    _authenticate: Callable[[str, bytes, str], Deferred[Author]]
    _sessions: Sessions
    _verified: VerifiedLogins
    _live: LiveSessions
    _tokens: ApiTokens
    _notify: Notify

    async def author(self, request: Any) -> Author:
        scheme, _, text = (request.getHeader("Authorization") or "").partition(" ")
        if scheme.lower() == "bearer":
            return self._byToken(request, text.strip())
        basic = basicCredentials(request)
        if basic is not None:
            if request.method not in SAFE_METHODS and isForeign(request):
                raise HTTPProblem(403, "another site made this request")
            return await self._byPassword(request, *basic)
        return self._authorOf(request, self._bySession(request)[1])

    def visitor(self, request: Any) -> tuple[Author, str]:
        """Whose browser shows a page, by its session alone, and the token that its requests must carry."""
        session, admin = self._bySession(request)
        return self._authorOf(request, admin), self._sessions.csrfToken(session)

    def _bySession(self, request: Any) -> tuple[Session, Admin]:
        session, admin = self._session(request)
        if self._sessions.isForged(request, session):
            raise HTTPProblem(403, "the X-CSRF-Token is missing or wrong, or another site made this request")
        if not request.requestHeaders.hasHeader(BACKGROUND_HEADER):
            renewed = self._sessions.renewed(session)
            if renewed is not None:
                self._sessions.setCookie(request, renewed)
            self._visited(request, session)
        return session, admin

    def lasting(self, request: Any, author: Author) -> Callable[[], bool]:
        revision = self._document().admins[author.name].credentialsRevision

        def lasts() -> bool:
            admin = self._document().admins.get(author.name)
            if admin is None or not admin.enabled or admin.credentialsRevision != revision:
                return False
            if author.token:
                token = self._document().apiTokens.get(author.token)
                return token is not None and self._tokens.isGood(token) and roleOf(token, admin).value == author.role
            isInSession = basicCredentials(request) is not None or self._isInSession(request)
            return admin.role.value == author.role and isInSession

        return lasts

    def _isInSession(self, request: Any) -> bool:
        try:
            self._session(request)
        except HTTPProblem:
            return False
        return True

    def _byToken(self, request: Any, text: str) -> Author:
        token = self._tokens.known(text)
        if token is None:
            log.info("a token that is not good was used from {address}", address=_address(request))
            challenge = {"WWW-Authenticate": 'Bearer realm="cftpcluster", error="invalid_token"'}
            raise HTTPProblem(401, "the token is not good, or not any more", headers=challenge)
        admin = self._document().admins[token.admin]
        author = Author(admin.name, roleOf(token, admin).value, _address(request), token.name, token.label)
        if self._tokens.noteUse(token):
            self._notify(TokenUsed(author=str(author), address=author.address))
        return author

    def _visited(self, request: Any, session: Session) -> None:
        self._live.visit(session.name, self._origin(request, session))

    def _origin(self, request: Any, session: Session) -> Origin:
        software = (request.getHeader("User-Agent") or "")[:LONGEST_SOFTWARE]
        who, seconds = session.sessionId, self._sessions.idleSeconds
        protocol = listener = ADMINISTRATORS_PROTOCOL
        return Origin(protocol, _address(request), listener, who, software, seconds)

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

    async def confirm(self, request: Any, author: Author, password: str) -> None:
        try:
            await self._verify(request, author.name, password.encode("utf-8", "surrogatepass"))
        except HTTPProblem as problem:
            # 401 would say that nobody is logged in.
            if problem.status == 401:
                problems = [Problem("current", "is not the password")]
                raise HTTPProblem(422, "nothing was changed", problems=problems) from None
            raise

    def goOn(self, request: Any, credentialsRevision: int) -> None:
        session = self._sessions.read(request)
        if session is not None and basicCredentials(request) is None:
            self._sessions.setCookie(request, evolve(session, credentialsRevision=credentialsRevision))

    def forget(self, request: Any) -> None:
        self._sessions.clearCookie(request)

    def _authorOf(self, request: Any, admin: Admin) -> Author:
        return Author(admin.name, admin.role.value, _address(request))

    def addRoutes(self, routes: Routes) -> None:
        routes.add(LOGIN, self._login)
        routes.add(LOGOUT, self._logout)
        routes.add(SESSION, self._describe)

    async def _login(self, request: Any) -> bytes:
        body = await formedBody(request, LOGIN, 4096)
        author, token = await self.logIn(request, body["name"], body["password"])
        return jsonAnswer(request, {"csrfToken": token, "role": author.role})

    async def logIn(self, request: Any, name: str, password: str) -> tuple[Author, str]:
        """Begin a session; fails with an ``HTTPProblem``. As :meth:`visitor` otherwise."""
        if isForeign(request):
            raise HTTPProblem(403, "another site made this request")
        author = await self._verify(request, name, password.encode("utf-8", "surrogatepass"))
        session = self._sessions.start(name, self._document().admins[name].credentialsRevision)
        self._sessions.setCookie(request, session)
        self._visited(request, session)
        return author, self._sessions.csrfToken(session)

    async def _logout(self, request: Any, author: Author) -> bytes:
        self.logOut(request)
        return jsonAnswer(request, {})

    def logOut(self, request: Any) -> None:
        """End the session of whoever was let in."""
        session = self._sessions.read(request)
        if session is not None and basicCredentials(request) is None:
            try:
                self._live.revoke(session.name, session.sessionId, "logged out")
            except ClusterError as error:
                raise HTTPProblem(503, str(error)) from None
            self._notify(LoggedOut(user=session.name, origin=self._origin(request, session)))
        self._sessions.clearCookie(request)

    async def _describe(self, request: Any, author: Author) -> bytes:
        answer: dict[str, Any] = {"name": author.name, "role": author.role}
        answer["initialPassword"] = self._document().admins[author.name].initialPassword
        if author.token:
            answer["token"] = author.token
        elif basicCredentials(request) is None:
            answer["csrfToken"] = self._sessions.csrfToken(self._session(request)[0])
        return jsonAnswer(request, answer)


def _address(request: Any) -> str:
    return str(getattr(request.getClientAddress(), "host", ""))


def _unauthorized(request: Any) -> HTTPProblem:
    # A browser that is told of Basic asks for a password by itself.
    browser = request.requestHeaders.hasHeader("Sec-Fetch-Mode") or "json" in (request.getHeader("Accept") or "")
    headers = {} if browser else {"WWW-Authenticate": 'Basic realm="cftpcluster", charset="UTF-8"'}
    return HTTPProblem(401, "log in first, or the name or password is wrong", headers=headers)
