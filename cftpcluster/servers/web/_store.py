"""The sessions of users as klein knows sessions, so that its tools (``Requirer``, ``SessionProcurer``,
``Authorization``) work with them. What a session authorizes is an account, from the document as it is now.

A store is that of one request, since who may come in depends on where from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import field, frozen
from klein import Requirer, SessionProcurer
from klein.interfaces import ISession, ISessionStore, NoSuchSession, SessionMechanism
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import Interface, implementer

from ...interfaces import IAccount
from ..http import HTTPProblem, Sessions
from ._access import COOKIE, UserAccess, unauthorized


@implementer(ISession)
@frozen(eq=False)
class UserSession:
    """:ivar identifier: the whole of the cookie."""

    _request: Any
    _access: UserAccess
    identifier: str = field(repr=False)
    isConfidential: bool
    authenticatedBy: SessionMechanism

    def authorize(self, interfaces: Iterable[type[Interface]]) -> Deferred[dict[type[Interface], Any]]:
        return Deferred.fromCoroutine(self._authorize(IAccount in interfaces))

    async def _authorize(self, isAsked: bool) -> dict[type[Interface], Any]:
        if not isAsked:
            return {}
        try:
            visit = await self._access.visit(self._request)
        except HTTPProblem:
            return {}
        _ = self._request.notifyFinish().addBoth(lambda _: visit.end())
        return {IAccount: visit.account}


@implementer(ISessionStore)
@frozen(eq=False)
class UserSessionStore:
    _request: Any
    _access: UserAccess
    _sessions: Sessions

    def newSession(self, isConfidential: bool, authenticatedBy: SessionMechanism) -> Deferred[ISession]:
        """One that is nobody's: only a log-in gives another."""
        return Deferred.fromCoroutine(self._new(isConfidential, authenticatedBy))

    async def _new(self, isConfidential: bool, authenticatedBy: SessionMechanism) -> Any:
        identifier = self._sessions.render(self._sessions.start("", 0)).decode("ascii")
        return UserSession(self._request, self._access, identifier, isConfidential, authenticatedBy)

    def loadSession(
        self, identifier: str, isConfidential: bool, authenticatedBy: SessionMechanism
    ) -> Deferred[ISession]:
        return Deferred.fromCoroutine(self._load(identifier, isConfidential, authenticatedBy))

    async def _load(self, identifier: str, isConfidential: bool, authenticatedBy: SessionMechanism) -> Any:
        session = self._sessions.parse(identifier.encode("utf-8"))
        # Cookies come with a token against forgery; nothing else may carry a session.
        isByCookie = isConfidential and authenticatedBy is SessionMechanism.Cookie
        if session is None or not isByCookie or self._access.hasEnded(session):
            raise NoSuchSession
        return UserSession(self._request, self._access, identifier, isConfidential, authenticatedBy)

    def sentInsecurely(self, identifiers: Sequence[str]) -> None:
        # The cookie's prefix keeps browsers from it, and no listener of this kind is without TLS.
        pass


def _refuse(failure: Failure, request: Any) -> None:
    failure.trap(NoSuchSession)
    raise unauthorized(request)


def requirer(access: UserAccess, sessions: Sessions) -> Requirer:
    """What routes say by what they need: ``Authorization(IAccount)`` gives them whose request it is."""
    made = Requirer()

    @made.prerequisite([ISession])
    def procure(request: Any) -> Any:
        store = UserSessionStore(request, access, sessions)
        procurer = SessionProcurer(store, secureCookie=COOKIE.encode("ascii"), setCookieOnGET=False)
        return procurer.procureSession(request).addErrback(_refuse, request)

    return made
