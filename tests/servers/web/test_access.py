"""Who is let in, and what other sites and forged cookies get."""

from __future__ import annotations

import base64
import json
import os
import re
from typing import Any

from attrs import evolve
from twisted.internet.defer import fail
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.auth.credentials import LoginBusy, PasswordLogin, SessionLogin
from cftpcluster.config.document import Limits, User
from cftpcluster.events import LoggedIn, LoggedOut, LoginFailed
from cftpcluster.servers.http import Session, Sessions
from cftpcluster.testing.auth import documentWith
from cftpcluster.vocabulary import publicId

from .support import HOST, KEY, PASSWORD, Answer, Served, basic, parseAnswers, request

FILES = "/api/v1/files"
COOKIE = "__Host-cftpcluster-user"
CONTENTS = {"/a": b"hello", "/sub": None}


def cookieOf(answer: Answer) -> str:
    """What a browser sends back."""
    return answer.headers["set-cookie"].partition(";")[0]


def sessionIdOf(cookie: str) -> str:
    """What nobody but its owner is to know."""
    payload = cookie.partition("=")[2].partition(".")[0]
    values = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return str(values[1])


class AccessCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.served = Served.of(CONTENTS)

    def login(self, served: Served | None = None) -> tuple[str, str]:
        """The cookie and the token of a new session."""
        answer = (served or self.served).askJSON(
            "POST", "/api/v1/login", {"name": "alice", "password": PASSWORD.decode()}, authorization=None
        )
        self.assertEqual(answer.status, 200, answer.body)
        return cookieOf(answer), answer.json()["csrfToken"]

    def statusWith(self, cookie: str, served: Served | None = None) -> int:
        return (served or self.served).ask("GET", f"{FILES}/a", authorization=None, cookie=cookie).status

    def state(self) -> dict[str, bytes | None]:
        """Every file and folder of the root, with its contents."""
        entries = self.served.ask("GET", FILES).json()["entries"]
        return {
            entry["name"]: None
            if entry["type"] == "folder"
            else self.served.ask("GET", f"{FILES}/{entry['name']}").body
            for entry in entries
        }


class SessionTests(AccessCase):
    def test_loginGivesASession(self) -> None:
        answer = self.served.askJSON(
            "POST", "/api/v1/login", {"name": "alice", "password": PASSWORD.decode()}, authorization=None
        )
        cookie, *attributes = answer.headers["set-cookie"].split("; ")
        self.assertTrue(cookie.startswith(COOKIE + "="))
        self.assertEqual(set(attributes), {"Path=/", "Max-Age=1800", "Secure", "HttpOnly", "SameSite=Lax"})
        self.assertEqual(self.statusWith(cookie), 200)
        told = self.served.ask("GET", "/api/v1/session", authorization=None, cookie=cookie)
        self.assertEqual(
            told.json(),
            {
                "name": "alice",
                "csrfToken": answer.json()["csrfToken"],
                "id": publicId(sessionIdOf(cookie)),
                "mayChange": [],
                "leastPasswordCharacters": 12,
                "uploadLimitBytes": None,
                "quota": {"bytes": 0, "files": 0},
            },
        )
        self.assertEqual([type(event) for event in self.served.logins.events], [LoggedIn])

    def test_otherNodesTakeTheSession(self) -> None:
        cookie, token = self.login()
        other = Served.of(CONTENTS)
        self.assertEqual(self.statusWith(cookie, other), 200)
        headers = {"X-CSRF-Token": token}
        answer = other.ask("DELETE", f"{FILES}/a", authorization=None, cookie=cookie, **headers)
        self.assertEqual(answer.status, 204)

    def test_everyRefusalIsTheSame(self) -> None:
        answers = [
            self.served.askJSON("POST", "/api/v1/login", {"name": name, "password": password}, authorization=None)
            for name, password in [
                ("alice", "wrong"),
                ("nobody", "wrong"),
                ("", ""),
                ("alice\0", PASSWORD.decode()),
                ("\ud800", "\ud800"),
            ]
        ]
        self.assertEqual({answer.status for answer in answers}, {401})
        self.assertEqual(len({answer.body for answer in answers}), 1)
        self.assertEqual({answer.headers.get("set-cookie") for answer in answers}, {None})
        self.assertEqual([type(event) for event in self.served.logins.events], [LoginFailed] * 5)

    def test_alteredCookiesAreNone(self) -> None:
        cookie, _ = self.login()
        start = len(COOKIE) + 1
        for index in range(start, len(cookie)):
            for other in ("A", "B", ".", "="):
                if cookie[index] != other:
                    self.assertEqual(self.statusWith(cookie[:index] + other + cookie[index + 1 :]), 401, index)
            self.assertEqual(self.statusWith(cookie[:index]), 401)

    def test_everyBitOfACookieCounts(self) -> None:
        cookie, _ = self.login()
        sessions = Sessions(
            COOKIE, "files", lambda: self.served.keys, lambda: self.served.settings, self.served.clock.seconds, bytes
        )
        value = cookie.partition("=")[2].encode()
        self.assertIsNotNone(sessions.parse(value))
        for index in range(len(value)):
            for bit in range(8):
                altered = bytearray(value)
                altered[index] ^= 1 << bit
                self.assertIsNone(sessions.parse(bytes(altered)), (index, bit))

    def test_whatIsPutBesideACookieMakesItNone(self) -> None:
        cookie, _ = self.login()
        for altered in (cookie + "A", cookie + "=", cookie + ".x", f"{cookie}; {cookie}", cookie.lower()):
            self.assertEqual(self.statusWith(altered), 401, altered)

    def test_onlyTheKeyMakesCookies(self) -> None:
        session = Session("bob", "00" * 16, 1_700_000_000, 1_700_000_000, 1_700_010_000, 0, "")
        for name, audience, key, expected in [
            (COOKIE, "files", b"k" * 32, 200),
            (COOKIE, "files", b"x" * 32, 401),
            (COOKIE, "administration", b"k" * 32, 401),
            ("__Host-cftpcluster-admin", "files", b"k" * 32, 401),
        ]:
            made = Sessions(name, audience, lambda key=key: [key], lambda: self.served.settings, lambda: 0, bytes)
            self.assertEqual(self.statusWith(f"{name}={made.render(session).decode()}"), expected)

    def test_payloadCannotBeSignedByItsOwner(self) -> None:
        cookie, _ = self.login()
        payload, _, signature = cookie.partition("=")[2].partition(".")
        values = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        self.assertEqual(values[0], "alice")
        values[0] = "bob"
        text = base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).rstrip(b"=").decode()
        for altered in (f"{text}.{signature}", f"{text}.", text, f"{text}.{text}", f".{signature}"):
            self.assertEqual(self.statusWith(f"{COOKIE}={altered}"), 401)

    def test_logOutIsKnownToOtherNodes(self) -> None:
        cookie, token = self.login()
        other = Served.of(CONTENTS, rules=self.served.logins.rules)
        self.assertEqual(self.statusWith(cookie, other), 200)
        headers = {"X-CSRF-Token": token}
        answer = self.served.ask("POST", "/api/v1/logout", authorization=None, cookie=cookie, **headers)
        self.assertEqual(answer.status, 200)
        self.assertEqual([self.statusWith(cookie), self.statusWith(cookie, other)], [401, 401])

    def test_whoWasKickedHasToLogInAnew(self) -> None:
        self.served.logins.rules.start()
        cookie, _ = self.login()
        (session,) = self.served.logins.rules.sessions.listed()
        self.assertEqual((session["user"], session["protocol"]), ("alice", "https"))
        self.assertNotIn(session["id"], cookie)
        self.served.logins.rules.sessions.kick(session["id"], "because")
        self.assertEqual(self.statusWith(cookie), 401)
        cookie, _ = self.login()
        self.assertEqual(self.statusWith(cookie), 200)

    def test_rotatedKeysOverlap(self) -> None:
        self.served.logins.rules.start()
        cookie, token = self.login()
        self.served.keys.insert(0, b"n" * 32)
        renewed = self.served.ask("GET", f"{FILES}/a", authorization=None, cookie=cookie)
        self.assertEqual(renewed.status, 200)
        answer = self.served.ask("DELETE", f"{FILES}/a", authorization=None, cookie=cookie, **{"X-CSRF-Token": token})
        self.assertEqual(answer.status, 204)
        del self.served.keys[1]
        self.assertEqual(self.statusWith(cookie), 401)
        self.assertEqual(self.statusWith(cookieOf(renewed)), 404)

    def test_whoHasAnOldKeyMakesNoSessions(self) -> None:
        self.served.logins.rules.start()
        cookie, _ = self.login()
        old = Sessions(
            COOKIE, "files", lambda: [KEY], lambda: self.served.settings, self.served.clock.seconds, os.urandom
        )
        made = f"{COOKIE}={old.render(old.start('alice', 10_000)).decode()}"
        self.assertEqual(self.statusWith(made), 200)
        self.served.keys.insert(0, b"n" * 32)
        another = f"{COOKIE}={old.render(old.start('alice', 10_000)).decode()}"
        self.assertEqual([self.statusWith(cookie), self.statusWith(another)], [200, 401])

    def test_theLongestLifeIsThatOfTheLogIn(self) -> None:
        """What was ended is remembered for as long as that."""
        cookie, _ = self.login()
        self.served.settings = evolve(self.served.settings, sessionIdleSeconds=100_000, sessionAbsoluteSeconds=100_000)
        self.served.clock.advance(43_199)
        self.assertEqual(self.statusWith(cookie), 200)
        self.served.clock.advance(1)
        self.assertEqual(self.statusWith(cookie), 401)

    def test_idleSessionsEnd(self) -> None:
        cookie, _ = self.login()
        self.served.clock.advance(1799)
        self.assertEqual(self.statusWith(cookie), 200)
        self.served.clock.advance(1)
        self.assertEqual(self.statusWith(cookie), 401)

    def test_useKeepsASessionUntilItsAbsoluteEnd(self) -> None:
        cookie, _ = self.login()
        for _ in range(24):
            self.served.clock.advance(1790)
            answer = self.served.ask("HEAD", f"{FILES}/a", authorization=None, cookie=cookie)
            self.assertEqual(answer.status, 200)
            cookie = cookieOf(answer)
        self.served.clock.advance(240)
        self.assertEqual(self.statusWith(cookie), 401)

    def test_renewalIsNotDoneAllTheTime(self) -> None:
        cookie, _ = self.login()
        self.served.clock.advance(100)
        self.assertNotIn("set-cookie", self.served.ask("GET", FILES, authorization=None, cookie=cookie).headers)

    def test_changedCredentialsEndSessions(self) -> None:
        cookie, _ = self.login()
        self.served.logins.checker.sessionsSince = 10
        self.assertEqual(self.statusWith(cookie), 401)

    def test_disabledUsersAreOut(self) -> None:
        cookie, _ = self.login()
        document = self.served.logins.document
        users = document.users.insert("alice", evolve(document.users["alice"], enabled=False))
        self.served.logins.document = evolve(document, sections={**document.sections, "users": users})
        self.assertEqual(self.statusWith(cookie), 401)
        self.assertEqual(self.served.ask("GET", FILES).status, 401)

    def test_logoutEndsTheSession(self) -> None:
        cookie, token = self.login()
        refused = self.served.ask("POST", "/api/v1/logout", b"", authorization=None, cookie=cookie)
        self.assertEqual(refused.status, 403)
        self.assertEqual(self.statusWith(cookie), 200)
        done = self.served.ask(
            "POST", "/api/v1/logout", b"", authorization=None, cookie=cookie, **{"X-CSRF-Token": token}
        )
        self.assertEqual(done.status, 200)
        self.assertIn("Max-Age=0", done.headers["set-cookie"])
        self.assertEqual(self.statusWith(cookie), 401)
        self.assertEqual([type(event) for event in self.served.logins.events], [LoggedIn, LoggedOut])

    def test_loginWantsJSONOfThisSite(self) -> None:
        login = {"name": "alice", "password": PASSWORD.decode()}
        for expected, body, headers in [
            (403, json.dumps(login), {"origin": "https://evil.example"}),
            (403, json.dumps(login), {"origin": "null"}),
            (403, json.dumps(login), {"Sec-Fetch-Site": "cross-site"}),
            (415, "name=alice&password=right", {"contentType": "application/x-www-form-urlencoded"}),
            (415, json.dumps(login), {"contentType": "text/plain"}),
            (422, json.dumps({**login, "role": "full"}), {}),
            (422, json.dumps({"name": ["alice"], "password": 1}), {}),
            (400, "{", {}),
            (400, '{"name":"alice","name":"bob","password":"x"}', {}),
            (413, json.dumps({**login, "password": "x" * 5000}), {}),
        ]:
            answer = self.served.ask("POST", "/api/v1/login", body.encode(), authorization=None, **headers)
            self.assertEqual(answer.status, expected, (body, headers))
            self.assertNotIn("set-cookie", answer.headers)


class ForgeryTests(AccessCase):
    def requests(self) -> list[tuple[str, str, bytes | None, str]]:
        return [
            ("PUT", f"{FILES}/new", b"data", "application/octet-stream"),
            ("PUT", f"{FILES}/a", b"data", "application/octet-stream"),
            ("DELETE", f"{FILES}/a", None, ""),
            ("DELETE", f"{FILES}/sub", None, ""),
            ("POST", f"{FILES}/made?op=mkdir", b"", ""),
            ("POST", f"{FILES}/a?op=move", b'{"to":"/b"}', "application/json"),
            ("POST", f"{FILES}/a?op=copy", b'{"to":"/b"}', "application/json"),
        ]

    def test_forgedRequestsDoNothing(self) -> None:
        cookie, token = self.login()
        _, otherToken = self.login()
        sessionId = sessionIdOf(cookie)
        before = self.state()
        for given in [
            {},
            {"X-CSRF-Token": ""},
            {"X-CSRF-Token": "x"},
            {"X-CSRF-Token": token[:-1]},
            {"X-CSRF-Token": token.upper()},
            {"X-CSRF-Token": otherToken},
            {"X-CSRF-Token": sessionId},
            {"X-CSRF-Token": token, "origin": "https://evil.example"},
            {"X-CSRF-Token": token, "origin": "null"},
            {"X-CSRF-Token": token, "origin": f"http://{HOST}"},
            {"X-CSRF-Token": token, "origin": f"https://{HOST}.evil.example"},
            {"X-CSRF-Token": token, "origin": f"https://{HOST}:8444"},
            {"X-CSRF-Token": token, "Sec-Fetch-Site": "cross-site"},
            {"X-CSRF-Token": token, "Sec-Fetch-Site": "same-site"},
        ]:
            for method, path, body, kind in self.requests():
                headers: dict[str, Any] = {
                    "authorization": None,
                    "cookie": cookie,
                    "contentType": kind or None,
                    **given,
                }
                self.assertEqual(self.served.ask(method, path, body, **headers).status, 403, (given, method))
        self.assertEqual(self.state(), before)

    def test_noRouteThatChangesSomethingGoesWithoutTheToken(self) -> None:
        cookie, _ = self.login()
        app: Any = self.served.server.site.resource
        before, tried = self.state(), 0
        for rule in app._routes._app.url_map.iter_rules():
            path = re.sub(r"<[^>]*>", "a", rule.rule)
            for method in sorted((rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}):
                if path == "/api/v1/login":
                    continue
                for headers in ({}, {"origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
                    for kind in ("application/json", "application/x-www-form-urlencoded"):
                        given: dict[str, Any] = {"cookie": cookie, "contentType": kind, "Tus-Resumable": "1.0.0"}
                        answer = self.served.ask(method, path, b"{}", authorization=None, **given, **headers)
                        self.assertIn(answer.status, {401, 403, 405}, (method, path, headers, kind, answer.body))
                        tried += 1
        self.assertGreater(tried, 50)
        self.assertEqual(self.state(), before)
        self.assertEqual(self.statusWith(cookie), 200)

    def test_ownRequestsAreServed(self) -> None:
        for method, path, body, kind in self.requests():
            self.served = Served.of(CONTENTS)
            cookie, token = self.login()
            headers: dict[str, Any] = {
                "authorization": None,
                "cookie": cookie,
                "contentType": kind or None,
                "X-CSRF-Token": token,
                "origin": f"https://{HOST}",
                "Sec-Fetch-Site": "same-origin",
            }
            self.assertIn(self.served.ask(method, path, body, **headers).status, {201, 204}, method)

    def test_passwordsOfABrowserAreNotForOtherSites(self) -> None:
        before = self.state()
        for method, path, body, kind in self.requests():
            headers: dict[str, Any] = {"contentType": kind or None, "origin": "https://evil.example"}
            self.assertEqual(self.served.ask(method, path, body, **headers).status, 403)
        self.assertEqual(self.state(), before)


class PasswordTests(AccessCase):
    def test_badCredentialsAreRefused(self) -> None:
        for value in (
            basic("alice", b"wrong"),
            basic("nobody", b""),
            "Basic",
            "Basic !",
            "Basic " + base64.b64encode(b"alice").decode(),
            "Bearer abc",
            "Digest username=alice",
        ):
            answer = self.served.ask("GET", f"{FILES}/a", authorization=value)
            self.assertEqual((answer.status, b"hello" in answer.body), (401, False), value)

    def test_wrongPasswordIsNotHelpedByACookie(self) -> None:
        cookie, _ = self.login()
        self.assertEqual(self.served.ask("GET", FILES, authorization=basic("alice", b"no"), cookie=cookie).status, 401)

    def test_passwordIsVerifiedOnceAMinute(self) -> None:
        asked = self.served.logins.checker.asked
        for _ in range(3):
            self.assertEqual(self.served.ask("GET", FILES).status, 200)
        self.assertEqual([type(each) for each in asked], [PasswordLogin, SessionLogin, SessionLogin])
        self.served.clock.advance(60)
        self.served.ask("GET", FILES)
        self.assertIs(type(asked[-1]), PasswordLogin)

    def test_rememberedPasswordIsVerifiedAnewAfterAChange(self) -> None:
        self.served.ask("GET", FILES)
        checker = self.served.logins.checker
        checker.sessionsSince, checker.passwords = 10, {"alice": b"new"}
        self.assertEqual(self.served.ask("GET", FILES).status, 401)
        self.assertEqual(self.served.ask("GET", FILES, authorization=basic("alice", b"new")).status, 200)

    def test_allRequestsOfAClientAreOneSession(self) -> None:
        logins = self.served.logins
        logins.rules.start()
        logins.document = documentWith(User(name="alice", limits=Limits(sessions=1)))
        for _ in range(20):
            self.assertEqual(self.served.ask("GET", FILES, userAgent="curl/8").status, 200)
            self.served.clock.advance(10)
        (session,) = logins.rules.sessions.listed()
        self.assertEqual((session["user"], session["software"]), ("alice", "curl/8"))
        browser = self.served.connect("192.0.2.8")
        browser.send(request("GET", FILES, authorization=basic()))
        (answer,) = parseAnswers(browser.received(), ["GET"])
        self.assertEqual((answer.status, answer.headers["retry-after"]), (429, "60"))
        self.assertEqual(answer.json()["detail"], "too many sessions of this user")
        self.served.clock.pump([5.0] * 20)
        self.assertEqual(logins.rules.sessions.listed(), [])

    def test_theClusterBreaksOffATransfer(self) -> None:
        self.served.logins.rules.start()
        browser = self.served.connect()
        browser.send(request("PUT", f"{FILES}/new", None, authorization=basic(), contentLength="100"))
        browser.send(b"x" * 40)
        (session,) = self.served.logins.rules.sessions.listed()
        self.served.logins.rules.sessions.kick(session["id"], "because")
        browser.send(b"x" * 60)
        self.served.clock.advance(0)
        (answer,) = parseAnswers(browser.received(), ["PUT"])
        self.assertEqual(answer.status, 401)
        self.assertEqual(self.served.ask("GET", f"{FILES}/new").status, 404)

    def test_busyIsNoRefusal(self) -> None:
        class BusyChecker:
            credentialInterfaces = self.served.logins.checker.credentialInterfaces

            def requestAvatarId(self, credentials: Any) -> Any:
                return fail(LoginBusy("later"))

        self.served = Served.of({}, checker=BusyChecker())
        answer = self.served.ask("GET", FILES)
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "2"))

    def test_identityComesFromNothingElse(self) -> None:
        for headers in [
            {"X-Forwarded-User": "alice"},
            {"X-Remote-User": "alice"},
            {"Remote-User": "alice"},
            {"X-CSRF-Token": "x" * 64},
            {"cookie": "user=alice"},
            {"cookie": f"{COOKIE}=alice"},
            {"cookie": f"{COOKIE}="},
            {"X-Forwarded-For": "127.0.0.1"},
        ]:
            self.assertEqual(self.served.ask("GET", f"{FILES}/a", authorization=None, **headers).status, 401)

    def test_browsersAreNotMadeToAskByThemselves(self) -> None:
        script = self.served.ask("GET", FILES, authorization=None)
        self.assertTrue(script.headers["www-authenticate"].startswith("Basic "))
        for headers in [{"Sec-Fetch-Mode": "cors"}, {"accept": "text/html,*/*"}, {"cookie": f"{COOKIE}=old"}]:
            answer = self.served.ask("GET", FILES, authorization=None, **headers)
            self.assertEqual(answer.status, 401)
            self.assertTrue(answer.headers["www-authenticate"].startswith("Session "))

    def test_refusalTakesItsTime(self) -> None:
        self.served = Served.of(CONTENTS, failureSeconds=1.0)
        browser = self.served.connect()
        browser.send(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: " + basic("alice", b"no").encode() + b"\r\n\r\n")
        self.served.clock.advance(0.9)
        self.assertEqual(browser.received(), b"")
        self.served.clock.advance(0.2)
        self.assertIn(b"HTTP/1.1 ", browser.received())
