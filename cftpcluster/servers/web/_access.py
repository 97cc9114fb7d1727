"""Who asks: sessions in cookies for browsers, Basic authentication for scripts.

RFC 9110 section 11 (authentication), RFC 7617 (Basic). A session or a password only says who it is; what they may comes
with the account that the portal gives for it, from the document as it is now. Nothing here knows a file.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field
from klein import Klein
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.web.iweb import IRequest

from ...auth.credentials import LoginBusy, PasswordLogin, SessionLogin, TurnedAway
from ...auth.portal import AccountPortal
from ...auth.sessions import LONGEST_SOFTWARE
from ...errors import ClusterError
from ...events import LoggedOut, Notify
from ...interfaces import IAccount, ILogin
from ...networks import parseAddress
from ...vocabulary import Origin
from ..http import (
    SAFE_METHODS,
    HTTPProblem,
    Session,
    Sessions,
    VerifiedLogins,
    basicCredentials,
    isForeign,
    jsonAnswer,
    jsonBody,
    toTheEnd,
)

COOKIE = "__Host-cftpcluster-user"
AUDIENCE = "files"
PROTOCOL = "https"
LOGIN_BYTES = 4096

BASIC_SECONDS = 60.0
"""All requests with the same name and password from one address are one session, which lasts so long after the last."""


@define(eq=False)
class Visit:
    """A user while one request of theirs is served.

    :ivar session: what the request came by; ``None`` for Basic authentication.
    """

    account: IAccount
    session: Session | None
    _logout: Callable[[], Any]

    def end(self) -> Deferred[Any]:
        """The request was served."""
        return maybeDeferred(self._logout)


@define(eq=False)
class UserAccess:
    """:ivar listener: the name of the listener that is served."""

    _portal: AccountPortal
    _listener: str
    _sessions: Sessions
    _verified: VerifiedLogins
    _notify: Notify
    _randomBytes: Callable[[int], bytes] = field(repr=False)
    _basicKey: bytes = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._basicKey = self._randomBytes(32)

    def csrfToken(self, session: Session | None) -> str:
        """What unsafe requests must carry; "" for those that need not."""
        return "" if session is None else self._sessions.csrfToken(session)

    async def visit(self, request: Any) -> Visit:
        """Whose request it is. Fails with an ``HTTPProblem`` where nobody's, or where another site may have made it.

        Where the cluster ends the session before the request was served, what is under way of it ends at once.
        """
        visit = await self._visit(request)
        _ = visit.account.whenEnded().addCallback(lambda reason: request.endEarly(unauthorized(request)))
        return visit

    async def _visit(self, request: Any) -> Visit:
        if request.requestHeaders.hasHeader(b"Authorization"):
            basic = basicCredentials(request)
            if basic is None:
                raise unauthorized(request)
            if request.method not in SAFE_METHODS and isForeign(request):
                raise HTTPProblem(403, "another site made this request")
            return await self._byPassword(request, *basic)
        return await self._bySession(request)

    # --- sessions

    async def _bySession(self, request: Any) -> Visit:
        session = self._sessions.read(request)
        if session is None or self.hasEnded(session):
            raise unauthorized(request)
        if self._sessions.isForged(request, session):
            raise HTTPProblem(403, "the X-CSRF-Token is missing or wrong, or another site made this request")
        origin = self._origin(request, session.sessionId, self._sessions.idleSeconds)
        try:
            account, logout = await self._login(SessionLogin(session.name, session.credentialsRevision, origin))
        except UnauthorizedLogin:
            raise unauthorized(request) from None
        renewed = self._sessions.renewed(session)
        if renewed is not None and self._mayRenew(session):
            self._sessions.setCookie(request, renewed)
        return Visit(account, session, logout)

    def hasEnded(self, session: Session) -> bool:
        """Whether a session was ended before its time."""
        live = self._portal.rules.sessions
        if live.isRevoked(session.sessionId) or session.issued < live.endedBefore(session.name):
            return True
        # Whoever has an old key could sign a session, but knows of none that is there.
        return session.isOfOldKey and not live.isKnown(session.sessionId)

    def _mayRenew(self, session: Session) -> bool:
        """A node that hears of nobody does not know what was ended elsewhere: that must not last for ever."""
        live = self._portal.rules.sessions
        return session.node == live.node or not live.isCutOff()

    async def confirm(self, visit: Visit, password: str) -> None:
        """Fails with an ``HTTPProblem`` unless it is the password of whoever's visit it is."""
        account = visit.account
        login = PasswordLogin(account.name, password.encode("utf-8", "surrogatepass"), account.origin)
        try:
            again, _ = await self._login(login)
        except UnauthorizedLogin:
            raise HTTPProblem(403, "the current password is wrong") from None
        await again.logout()

    async def _login(self, login: ILogin) -> tuple[IAccount, Callable[[], Any]]:
        account: Any
        try:
            _, account, logout = await self._portal.login(login, login.origin, IAccount)
        except TurnedAway as refusal:
            raise HTTPProblem(429, str(refusal), headers={"Retry-After": "60"}) from None
        except LoginBusy:
            raise HTTPProblem(503, "too many log-ins at once", headers={"Retry-After": "2"}) from None
        return account, logout

    # --- passwords

    async def _byPassword(self, request: Any, name: str, password: bytes) -> Visit:
        origin = self._origin(request, self._basicSession(request, name), BASIC_SECONDS)
        revision = self._verified.revision(name, password)
        try:
            if revision is not None:
                # As a session: what made the password invalid since, or the user, is found out all the same.
                return Visit(*await self._again(SessionLogin(name, revision, origin)))
        except UnauthorizedLogin:
            pass
        try:
            account, logout = await self._login(PasswordLogin(name, password, origin))
        except UnauthorizedLogin:
            raise unauthorized(request) from None
        self._verified.remember(name, password, account.revision)
        return Visit(account, None, logout)

    async def _again(self, login: SessionLogin) -> tuple[IAccount, None, Callable[[], Any]]:
        account, logout = await self._login(login)
        return account, None, logout

    def _basicSession(self, request: Any, name: str) -> str:
        text = f"{len(name)} {name}{_address(request)}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._basicKey, text, hashlib.sha256)[:16].hex()

    def _origin(self, request: Any, session: str, lingerSeconds: float) -> Origin:
        software = (request.getHeader(b"User-Agent") or b"").decode("latin-1")[:LONGEST_SOFTWARE]
        return Origin(PROTOCOL, _address(request), self._listener, session, software, lingerSeconds)

    # --- routes

    def addRoutes(self, app: Klein) -> None:
        @app.route("/api/v1/login", methods=["POST"])
        def login(request: IRequest) -> Deferred[bytes]:
            return toTheEnd(self._logIn(request))

        @app.route("/api/v1/logout", methods=["POST"])
        def logout(request: IRequest) -> Deferred[bytes]:
            return toTheEnd(self._logOut(request))

    async def _logIn(self, request: Any) -> bytes:
        body = await jsonBody(request, LOGIN_BYTES)
        name, password = body.get("name"), body.get("password")
        if not isinstance(name, str) or not isinstance(password, str) or body.keys() != {"name", "password"}:
            raise HTTPProblem(422, "expected name and password")
        return jsonAnswer(request, {"csrfToken": await self.logIn(request, name, password)})

    async def logIn(self, request: Any, name: str, password: str) -> str:
        """Begin a session, whose cookie the answer sets; gives what its unsafe requests must carry. Fails with an
        ``HTTPProblem`` where the password is wrong, or where another site may have made the request."""
        if isForeign(request):
            raise HTTPProblem(403, "another site made this request")
        live = self._portal.rules.sessions
        session = self._sessions.start(name, 0, live.node)
        secret = password.encode("utf-8", "surrogatepass")
        origin = self._origin(request, session.sessionId, self._sessions.idleSeconds)
        try:
            account, _ = await self._login(PasswordLogin(name, secret, origin))
        except UnauthorizedLogin:
            raise unauthorized(request) from None
        # Not the portal's farewell: the session goes on.
        await account.logout()
        # Another node's clock may have said that all sessions before a later second have ended.
        issued = max(session.issued, live.endedBefore(account.name))
        session = evolve(session, name=account.name, credentialsRevision=account.revision, issued=issued)
        self._sessions.setCookie(request, session)
        return self._sessions.csrfToken(session)

    async def _logOut(self, request: Any) -> bytes:
        await self.logOut(request)
        return jsonAnswer(request, {})

    async def logOut(self, request: Any) -> None:
        """End the session that a request came by."""
        visit = await self.visit(request)
        await visit.end()
        if visit.session is not None:
            self._revoke(visit.account.name, visit.session)
            self._notify(LoggedOut(user=visit.account.name, origin=visit.account.origin))
        self._sessions.clearCookie(request)

    def _revoke(self, name: str, session: Session) -> None:
        try:
            self._portal.rules.sessions.revoke(name, session.sessionId, "logged out")
        except ClusterError as error:
            raise HTTPProblem(503, str(error)) from None


def _address(request: Any) -> str:
    host = str(getattr(request.getClientAddress(), "host", ""))
    try:
        return str(parseAddress(host))
    except ValueError:
        return host


def unauthorized(request: Any) -> HTTPProblem:
    """The answer to whoever did not prove who they are: the same whatever was wrong."""
    # A browser that is told of Basic asks for a password by itself, in a window of its own.
    byScript = request.requestHeaders.hasHeader(b"Sec-Fetch-Mode") or request.requestHeaders.hasHeader(b"Cookie")
    if byScript or "html" in (request.getHeader("Accept") or "") or request.path == b"/api/v1/login":
        challenge = 'Session realm="cftpcluster"'
    else:
        challenge = 'Basic realm="cftpcluster", charset="UTF-8"'
    return HTTPProblem(401, "log in first, or the name or password is wrong", headers={"WWW-Authenticate": challenge})
