"""What is tried on administrators and on whatever they write: forged requests, claims, documents, names, races."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any, cast

import attrs
from attrs import evolve
from klein import Klein
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.changes import Put
from cftpcluster.manager._console import ConsoleRoutes
from cftpcluster.manager._routes import ANYTHING, Route
from cftpcluster.testing.http import Answer, Conversation
from tests.manager.described import table
from tests.manager.support import PASSWORD, Cluster, basic
from tests.manager.test_matrix import bodyOf, nameOf, targetOf

SAFE = {"GET", "HEAD", "OPTIONS"}
EVIL = "https://evil.example"


class MemoryCase(SynchronousTestCase):
    """One node in memory, and what it holds."""

    kinds: Mapping[str, Mapping[str, type]] = {}

    def setUp(self) -> None:
        self.cluster = Cluster({section: dict(kinds) for section, kinds in self.kinds.items()})
        self.cluster.rules.start()
        self.addCleanup(self.cluster.rules.stop)
        self.client: Conversation | None = None

    @property
    def chainHash(self) -> bytes:
        heads: list[Any] = []
        _ = self.cluster.node.journal.head().addCallback(heads.append)
        return bytes(heads[0].chainHash)

    def state(self) -> tuple[Any, ...]:
        """Whatever a request could change: the history, what nodes were told to do, bans, and who is logged in."""
        guard = self.cluster.rules.guard
        sessions = sorted(str(one["id"]) for one in self.cluster.rules.sessions.listed())
        return self.chainHash, len(self.cluster.node.performed), guard.bans(), sessions

    def ask(self, method: str, target: str, json: Any = None, **more: Any) -> Answer:
        if self.client is None or self.client.ended or self.client.closed:
            self.client = self.cluster.connect()
        return self.client.ask(method, target, json, **more)

    def askRoute(self, route: Route, **headers: str) -> Answer:
        """With the example of the route's description."""
        if route.body is not None and route.body.contentType == ANYTHING:
            return self.ask(route.method, targetOf(route), body=b'{"passphrase": "correct horse"}\n', **headers)
        return self.ask(route.method, targetOf(route), bodyOf(route), **headers)

    def login(self, name: str = "full") -> dict[str, str]:
        """Headers of a session."""
        answer = self.ask("POST", "/api/v1/login", {"name": name, "password": PASSWORD})
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        return {"Cookie": cookie, "X_CSRF_Token": answer.json["csrfToken"]}


class ForgeryTests(MemoryCase):
    """Each route that changes something, as the browser of an administrator would ask it for another site."""

    def forged(self) -> Iterator[Mapping[str, str]]:
        session, other = self.login(), self.login("users")
        cookie = {"Cookie": session["Cookie"]}
        yield cookie
        yield {**cookie, "X_CSRF_Token": ""}
        yield {**cookie, "X_CSRF_Token": other["X_CSRF_Token"]}
        yield {**cookie, "X_CSRF_Token": session["X_CSRF_Token"][::-1]}
        yield {**cookie, "Csrf_Token": session["X_CSRF_Token"]}
        for origin in (EVIL, "null", "http://localhost", "https://localhost:8444", "https://localhost.evil.example"):
            yield {**session, "Origin": origin}
        for site in ("cross-site", "same-site"):
            yield {**session, "Sec_Fetch_Site": site}
        for scheme in ("Bearer", "Basic", "Basic eA=="):
            # A scheme that says nothing leaves it to the cookie, and to its rules.
            yield {**cookie, "Authorization": scheme}
        yield {"Authorization": basic("full"), "Origin": EVIL}

    def test_noRouteIsObeyed(self) -> None:
        changing = [each for each in table().known if each.method not in SAFE and each.role is not None]
        self.assertGreater(len(changing), 40)
        forged = list(self.forged())
        before = self.state()
        for route in changing:
            for headers in forged:
                status = self.askRoute(route, **headers).status
                self.assertIn(status, (401, 403), (nameOf(route), headers))
                if not headers.get("Authorization", "").startswith("B"):
                    self.assertEqual(status, 403, (nameOf(route), headers))
                self.assertEqual(self.state(), before, (nameOf(route), headers))
            cookie = {"Cookie": forged[0]["Cookie"]}
            answer = self.ask(route.method.lower(), targetOf(route), bodyOf(route), **cookie)
            self.assertIn(answer.status, (403, 405, 501), nameOf(route))
            self.assertEqual(self.state(), before, nameOf(route))

    def test_theSameIsObeyedWhereNothingIsForged(self) -> None:
        session = self.login()
        for route in table().known:
            endsIt = route.path in {"/logout", "/account/sessions"}
            if route.method not in SAFE and route.role is not None and not endsIt:
                self.assertNotIn(self.askRoute(route, **session).status, (401, 403), nameOf(route))

    def test_nothingThatIsOnlyReadChangesAnything(self) -> None:
        session = self.login()
        before = self.state()
        for route in table().known:
            if route.method not in SAFE:
                continue
            for headers in ({}, {"X_HTTP_Method_Override": "DELETE", "X_Method_Override": "PUT"}):
                self.assertLess(self.askRoute(route, **session, **headers).status, 500, nameOf(route))
                self.assertEqual(self.state(), before, nameOf(route))
            for method in ("TRACE", "CONNECT", "PROPFIND"):
                answer = self.ask(method, targetOf(route), **session)
                self.assertIn(answer.status, (400, 405, 501), (method, nameOf(route)))
                self.assertEqual(self.state(), before, (method, nameOf(route)))

    def test_everyOtherWayInIsKnown(self) -> None:
        app, nobody = Klein(), cast("Any", None)
        ConsoleRoutes(*(nobody for each in attrs.fields(ConsoleRoutes) if each.init)).add(app)
        others = {(method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods or ()}
        self.assertEqual({each for each in others if each[0] not in SAFE}, {("POST", "/login"), ("POST", "/logout")})

    def test_formsOfOtherSitesAreRefused(self) -> None:
        session = self.login()
        cookie, before = {"Cookie": session["Cookie"]}, self.state()
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        for body in (b"", b"csrfToken=", b"csrfToken=" + b"0" * 64, b"csrfToken=a&csrfToken=b"):
            self.assertEqual(self.ask("POST", "/logout", body=body, **cookie, **form).status, 403, body)
        token = b"csrfToken=" + session["X_CSRF_Token"].encode()
        self.assertEqual(self.ask("POST", "/logout", body=token, **cookie, **form, Origin=EVIL).status, 403)
        login = f"name=full&password={PASSWORD.replace(' ', '+')}".encode()
        self.assertEqual(self.ask("POST", "/login", body=login, **form, Origin=EVIL).status, 403)
        self.assertEqual(self.ask("POST", "/api/v1/login", {"name": "full", "password": PASSWORD},
                                  Sec_Fetch_Site="cross-site").status, 403)  # fmt: skip
        self.assertEqual(self.state(), before)
        self.assertEqual(self.ask("POST", "/logout", body=token, **cookie, **form).status, 303)


class ClaimTests(MemoryCase):
    """Nothing but a password, a token, or a cookie that the cluster has signed, says who somebody is."""

    def claims(self) -> Iterator[Mapping[str, str]]:
        token = self.ask("POST", "/api/v1/tokens", {"name": "t", "scopes": ["full"]}, Authorization=basic("full"))
        good, cookie = token.json["token"], self.login()["Cookie"]
        _, _, value = cookie.partition("=")
        for name in (
            *("X-Forwarded-User", "X-Remote-User", "Remote-User", "X-Auth-User", "X-Webauth-User", "X-User"),
            *("X-Admin", "X-Role", "X-Cftpcluster-Role", "From", "X-Authenticated-User", "Cf-Access-User"),
        ):
            yield {name: "full"}
        for name in ("X-Forwarded-For", "X-Real-IP", "X-Client-IP", "Forwarded", "True-Client-IP", "X-Original-Host"):
            yield {name: "socket"}
            yield {name: "127.0.0.1"}
        for name in ("X-Original-URL", "X-Rewrite-URL"):
            yield {name: "/api/v1/openapi.json"}
        for said in (
            *("full", "Basic", "Basic full", "Basic ZnVsbA==", "Basic " + base64.b64encode(b"full:").decode()),
            *("Basic " + base64.b64encode(b"full\0:" + PASSWORD.encode()).decode(), "Basic Og==", "Negotiate YII="),
            *("Bearer", "Bearer full", "Bearer null", "Bearer cftp_", f"Bearer {good[:-1]}", f"Bearer {good}0"),
            *(f"Bearer {good.upper()}", f"Bearer {good} {good}", f"Token {good}", good, f"Bearer {good[:22]}"),
            *(f"Bearer {good[:22]}{'0' * 64}", f"Basic {base64.b64encode(good.encode()).decode()}"),
            *(f"Bearer {value}", 'Digest username="full"', "AWS4-HMAC-SHA256 x", f"Bearer,Bearer {good}"),
            "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJmdWxsIn0.",
        ):
            yield {"Authorization": said}
        for crumb in (
            *("user=full", "admin=1", "session=full", "__Host-cftpcluster-admin=full", "__Host-cftpcluster-admin="),
            *(f"__Host-cftpcluster-user={value}", f"cftpcluster-admin={value}", f'__Host-cftpcluster-admin="{value}"'),
            *(f"__Host-cftpcluster-admin={value}.{value}", f"__Host-cftpcluster-admin={good}"),
            f"__Host-cftpcluster-admin={base64.b64encode(b'{}').decode()}.{value.rpartition('.')[2]}",
            f"__Host-cftpcluster-admin={value.partition('.')[0]}.",
        ):
            yield {"Cookie": crumb}
        for place in range(0, len(value), max(1, len(value) // 100)):
            changed = value[:place] + ("A" if value[place] != "A" else "B") + value[place + 1 :]
            yield {"Cookie": f"__Host-cftpcluster-admin={changed}"}
        yield {"SSL_CLIENT_S_DN_CN": "full", "X-SSL-Client-CN": "full", "X-Client-Cert": "full"}

    def test_noneIsTaken(self) -> None:
        claims = list(self.claims())
        self.assertGreater(len(claims), 150)
        before = self.state()
        for claim in claims:
            headers = {name.replace("-", "_"): text for name, text in claim.items()}
            for method, path, body in (("GET", "session", None), ("PUT", "users/mallory", {})):
                answer = self.ask(method, f"/api/v1/{path}", body, **headers)
                self.assertEqual(answer.status, 401, claim)
                self.assertNotIn("Set-Cookie", answer.headers, claim)
        self.assertEqual(self.state(), before)

    def test_bodiesThatClaimAreNoLogIns(self) -> None:
        good = {"name": "full", "password": PASSWORD}
        for body in (
            {"name": "full"},
            {"name": "full", "password": None},
            {"name": "full", "password": True},
            {"name": "full", "password": 0},
            {"name": "full", "password": [PASSWORD]},
            {"name": ["full"], "password": PASSWORD},
            {"name": {"$ne": ""}, "password": {"$ne": ""}},
            {"user": "full", "password": PASSWORD},
            *({**good, key: value} for key, value in (("role", "full"), ("admin", True), ("__proto__", {}), ("", ""))),
        ):
            answer = self.ask("POST", "/api/v1/login", body)
            self.assertEqual(answer.status, 422, body)
            self.assertNotIn("Set-Cookie", answer.headers, body)
        for text in (
            b'{"name":"full","name":"auditor","password":"x"}',
            b'{"name":"full","password":NaN}',
            b'{"name":"full","password":"x"}garbage',
            b'[{"name":"full","password":"x"}]',
            b'"full"',
            b"\xff\xfe{\x00}\x00",
        ):
            answer = self.ask("POST", "/api/v1/login", body=text)
            self.assertEqual(answer.status, 400, text)

    def test_authorsCannotBeSaid(self) -> None:
        claims = {"author": "admin", "node": "node-x", "time": 0, "role": "full", "address": "socket"}
        session = self.login("users")
        for key, value in claims.items():
            answer = self.ask("PUT", "/api/v1/users/a", {key: value}, **session)
            self.assertEqual(answer.status, 422, key)
            answer = self.ask("PUT", f"/api/v1/users/a?{key}={value}", {}, **session)
            self.assertEqual(answer.status, 400, key)


class KeptOutTests(MemoryCase):
    """Who is disabled, removed or expired, at every route and by each way in."""

    def ways(self) -> dict[str, dict[str, str]]:
        """Headers of each way in, of those who have been in."""
        basicHeaders = {"Authorization": basic("full")}
        made = self.ask("POST", "/api/v1/tokens", {"name": "t", "scopes": ["full"]}, **basicHeaders)
        ways = {"session": self.login(), "basic": basicHeaders}
        ways["token"] = {"Authorization": f"Bearer {made.json['token']}"}
        for headers in ways.values():
            self.assertEqual(self.ask("GET", "/api/v1/status", **headers).status, 200)
        return ways

    def assertOut(self, ways: Mapping[str, Mapping[str, str]]) -> None:
        before = self.chainHash
        for route in table().known:
            for way, headers in ways.items():
                if route.role is not None:
                    # Whoever says so many passwords that are none is kept out altogether.
                    refused = (401, 429) if way == "basic" else (401,)
                    self.assertIn(self.askRoute(route, **headers).status, refused, (way, nameOf(route)))
        self.assertEqual((self.chainHash, self.cluster.node.performed), (before, []))

    def test_disabled(self) -> None:
        ways = self.ways()
        self.cluster.node.change(Put("admins", evolve(self.cluster.document.admins["full"], enabled=False)))
        self.assertOut(ways)

    def test_withANewPassword(self) -> None:
        ways = self.ways()
        changed = evolve(self.cluster.document.admins["full"], passwordHash=self.cluster.hashOf("another one"))
        self.cluster.node.change(Put("admins", changed))
        self.assertOut(ways)

    def test_expired(self) -> None:
        ways = self.ways()
        self.cluster.clock.advance(90 * 86400)
        del ways["basic"]
        self.assertOut(ways)
