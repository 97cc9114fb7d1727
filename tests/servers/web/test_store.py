"""klein's tools on the sessions of users."""

from __future__ import annotations

from typing import Any

from klein import Authorization, Klein
from klein.interfaces import ISession, ISessionStore, NoSuchSession, SessionMechanism
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from cftpcluster.interfaces import IAccount
from cftpcluster.servers.http import HTTPProblem, RoutedResource, Sessions, Site, VerifiedLogins, answerProblems
from cftpcluster.servers.web._access import AUDIENCE, UserAccess
from cftpcluster.servers.web._store import UserSessionStore, requirer
from cftpcluster.testing.auth import numberedBytes

from .support import Answer, parseAnswers, request
from .test_access import COOKIE, AccessCase


class StoreTests(AccessCase):
    def setUp(self) -> None:
        super().setUp()
        self.served.logins.rules.start()
        self.addCleanup(self.served.logins.rules.stop)
        clock, random = self.served.clock, numberedBytes()
        self.sessions = Sessions(
            COOKIE, AUDIENCE, lambda: self.served.keys, lambda: self.served.settings, clock.seconds, random
        )
        verified = VerifiedLogins(b"v" * 32, clock.seconds)
        self.access = UserAccess(
            self.served.logins.portal(), "https", self.sessions, verified, self.served.logins.notify, random
        )
        self.app = Klein()
        answerProblems(self.app)
        needing = requirer(self.access, self.sessions)

        @needing.require(self.app.route("/who", methods=["GET", "POST"]), account=Authorization(IAccount))
        def who(account: Any) -> HTTPProblem:
            raise HTTPProblem(418, f"it is {account.name}")

        self.site = Site(RoutedResource(self.app), clock)
        self.cookie, self.token = self.login()

    def ask(self, path: str, method: str = "GET", **headers: str | None) -> Answer:
        server, self.served.server.site = self.served.server.site, self.site
        try:
            browser = self.served.connect()
        finally:
            self.served.server.site = server
        browser.send(request(method, path, **{"cookie": self.cookie, **headers}))
        self.served.clock.advance(0)
        return parseAnswers(browser.received(), [method])[0]

    def test_routesGetTheAccount(self) -> None:
        answer = self.ask("/who")
        self.assertEqual((answer.status, answer.json()["detail"]), (418, "it is alice"))
        self.assertEqual(self.served.logins.rules.sessions.accounts(), [])

    def test_withoutASessionThereIsNone(self) -> None:
        altered = self.cookie[:-2] + ("AA" if not self.cookie.endswith("AA") else "BB")
        for cookie in (None, altered, f"{COOKIE}=x"):
            self.assertEqual(self.ask("/who", cookie=cookie).status, 401, cookie)
        (session,) = self.served.logins.rules.sessions.listed()
        self.served.logins.rules.sessions.kick(session["id"], "because")
        self.assertEqual(self.ask("/who").status, 401)

    def test_unsafeRequestsNeedTheToken(self) -> None:
        self.assertEqual(self.ask("/who", "POST").status, 401)
        self.assertEqual(self.ask("/who", "POST", **{"X-CSRF-Token": self.token}).status, 418)

    def store(self) -> UserSessionStore:
        return UserSessionStore(None, self.access, self.sessions)

    def load(self, identifier: str, secure: bool = True, by: Any = SessionMechanism.Cookie) -> Deferred[Any]:
        return self.store().loadSession(identifier, secure, by)

    def test_isAStoreOfSessions(self) -> None:
        verifyObject(ISessionStore, self.store())
        text = self.cookie.partition("=")[2]
        session = self.successResultOf(self.load(text))
        verifyObject(ISession, session)
        self.assertEqual((session.identifier, session.isConfidential), (text, True))
        self.assertNotIn(text, repr(session))
        fresh = self.successResultOf(self.store().newSession(True, SessionMechanism.Cookie))
        self.assertEqual(self.successResultOf(self.load(fresh.identifier)).identifier, fresh.identifier)
        self.assertEqual(self.successResultOf(fresh.authorize([])), {})

    def test_onlyByCookieAndOverTLS(self) -> None:
        text = self.cookie.partition("=")[2]
        self.failureResultOf(self.load(text, secure=False), NoSuchSession)
        self.failureResultOf(self.load(text, by=SessionMechanism.Header), NoSuchSession)
        self.failureResultOf(self.load("x"), NoSuchSession)
        self.assertEqual(self.ask("/who", cookie=None, **{"X-Auth-Token": text}).status, 401)
