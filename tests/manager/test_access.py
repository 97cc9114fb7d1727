"""Who may ask what, over HTTPS: log-in, sessions, Basic authentication, forged requests, roles."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.changes import Put, Remove
from cftpcluster.config.document import Role
from cftpcluster.testing.http import Answer

from .described import misfits
from .support import PASSWORD, Cluster, basic


class AccessTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster()
        self.client = self.cluster.connect()

    def ask(self, method: str, path: str, json: Any = None, status: int = 200, **more: Any) -> Answer:
        if self.client.ended or self.client.closed:
            self.client = self.cluster.connect()
        answer = self.client.ask(method, f"/api/v1/{path}", json, **more)
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(misfits(method, f"/api/v1/{path}", answer), [])
        return answer

    def login(self, name: str = "full") -> dict[str, str]:
        """Headers of a session."""
        answer = self.ask("POST", "login", {"name": name, "password": PASSWORD})
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        return {"Cookie": cookie, "X_CSRF_Token": answer.json["csrfToken"]}


class LoginTests(AccessTestCase):
    def test_nothingIsThereForStrangers(self) -> None:
        for method, path in (
            ("GET", "status"), ("GET", "users"), ("GET", "export"), ("GET", "wait"), ("POST", "apply"),
            ("POST", "tokens/join"), ("PUT", "users/a"), ("DELETE", "users/a"), ("GET", "session"), ("POST", "logout"),
        ):  # fmt: skip
            self.client = self.cluster.connect()
            answer = self.ask(method, path, body=b"{}" if method in ("PUT", "POST") else None, status=401)
            self.assertIn("Basic", answer.headers["WWW-Authenticate"])

    def test_browsersAreNotAskedForAPassword(self) -> None:
        self.assertNotIn("WWW-Authenticate", self.ask("GET", "status", status=401, Sec_Fetch_Mode="cors").headers)

    def test_cookieIsHardened(self) -> None:
        cookie = self.ask("POST", "login", {"name": "full", "password": PASSWORD}).headers["Set-Cookie"]
        self.assertTrue(cookie.startswith("__Host-cftpcluster-admin="))
        for part in ("Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=1800"):
            self.assertIn(part, cookie)
        self.assertNotIn("Domain", cookie)

    def test_sessionWorksAndEnds(self) -> None:
        session = self.login()
        self.assertEqual(self.ask("GET", "session", **session).json["name"], "full")
        self.ask("PUT", "users/alice", {}, status=201, **session)
        answer = self.ask("POST", "logout", **session)
        self.assertIn("Max-Age=0", answer.headers["Set-Cookie"])
        last = self.cluster.events[-1]
        self.assertEqual((type(last).__name__, last.user, last.origin.protocol), ("LoggedOut", "full", "manager"))

    def test_wrongLoginsAreAllRefusedAlike(self) -> None:
        answers = set()
        for name, password in (("full", "wrong"), ("nobody", PASSWORD), ("full", ""), ("", ""), ("full\0", PASSWORD)):
            answers.add(self.ask("POST", "login", {"name": name, "password": password}, status=401).body)
        self.cluster.node.change(Put("admins", evolve(self.cluster.document.admins["users"], enabled=False)))
        answers.add(self.ask("POST", "login", {"name": "users", "password": PASSWORD}, status=401).body)
        self.assertEqual(len(answers), 1)

    def test_lastListenerForAdministratorsIsRemovedOverTheSocketAlone(self) -> None:
        session = self.login()
        self.ask("DELETE", "listeners/manager", status=409, **session)
        self.ask("PUT", "listeners/manager2", {"kind": "manager", "port": 8445}, status=201, **session)
        self.ask("DELETE", "listeners/manager", **session)
        answer = self.cluster.connectSocket().ask("DELETE", "/api/v1/listeners/manager2")
        self.assertEqual(answer.status, 200)

    def test_headersThatAreNoTextFailNobody(self) -> None:
        body = {"name": "full", "password": "wrong"}
        for header in ("Authorization", "User_Agent", "Origin", "X_CSRF_Token", "Cookie", "Accept", "Idempotency_Key"):
            self.client = self.cluster.connect()
            answer = self.client.ask("POST", "/api/v1/login", body, **{header: "Bearer \u00e9\u00ff"})
            self.assertIn(answer.status, (401, 403), header)

    def test_bodiesThatAreNoLoginAreRefused(self) -> None:
        for body in (
            {},
            {"name": "full"},
            {"name": 1, "password": 2},
            {"name": "full", "password": PASSWORD, "role": "full"},
        ):
            self.ask("POST", "login", body, status=422)

    def test_loginFromAnotherSiteIsRefused(self) -> None:
        body = {"name": "full", "password": PASSWORD}
        self.ask("POST", "login", body, status=403, Origin="https://evil.example")
        self.ask("POST", "login", body, Origin="https://localhost")

    def test_authorComesFromTheDocument(self) -> None:
        self.ask("PUT", "users/alice", {}, status=201, **self.login("users"))
        _, _, author, _ = self.cluster.node.proposals[-1]
        self.assertEqual((author.name, author.role, author.address), ("users", "users", "127.0.0.1"))


class SessionEndTests(AccessTestCase):
    def assertEnded(self, session: dict[str, str]) -> None:
        self.ask("GET", "status", status=401, **session)

    def test_idleSessionEnds(self) -> None:
        session = self.login()
        self.cluster.clock.advance(1799)
        self.ask("GET", "status", **session)
        self.cluster.clock.advance(1)
        self.assertEnded(session)

    def test_pageThatIsOnlyOpenDoesNotUseIt(self) -> None:
        session = self.login()
        for _ in range(3):
            self.cluster.clock.advance(599)
            self.assertNotIn("Set-Cookie", self.ask("GET", "status", **session, X_Background="1").headers)
        self.assertIn("Set-Cookie", self.ask("GET", "status", **session).headers)
        self.cluster.clock.advance(3)
        self.assertEnded(session)

    def test_usedSessionIsRenewedUntilItsAbsoluteEnd(self) -> None:
        session = self.login()
        for _ in range(28):
            self.cluster.clock.advance(1500)
            cookie = self.ask("GET", "status", **session).headers["Set-Cookie"]
            session["Cookie"] = cookie.partition(";")[0]
        self.cluster.clock.advance(43200 - 28 * 1500)
        self.assertEnded(session)

    def test_changedPasswordDisablingAndRemovalEndIt(self) -> None:
        for change in (
            Put("admins", evolve(self.cluster.document.admins["full"], passwordHash=self.cluster.hashOf("new"))),
            Put("admins", evolve(self.cluster.document.admins["full"], enabled=False)),
            Remove("admins", "full"),
        ):
            session = self.login()
            before = self.cluster.document.admins["full"]
            self.cluster.node.change(change)
            self.assertEnded(session)
            self.cluster.node.change(Put("admins", before))
            self.assertEnded(session)

    def test_roleIsAlwaysThatOfTheDocument(self) -> None:
        session = self.login()
        self.cluster.node.change(Put("admins", evolve(self.cluster.document.admins["full"], role=Role.auditor)))
        self.ask("PUT", "users/alice", {}, status=403, **session)

    def test_forgedCookiesAreNone(self) -> None:
        session = self.login()
        cookie = session["Cookie"]
        for forged in (
            cookie[:-1],
            cookie + "A",
            cookie[:-1] + ("A" if cookie[-1] != "A" else "B"),
            cookie.replace(".", ""),
            cookie + "=",
            cookie.partition(".")[0] + ".",
            cookie + "; " + cookie,
            cookie.replace("-admin", "-user"),
            "__Host-cftpcluster-admin=",
        ):
            self.assertEnded({**session, "Cookie": forged})
        self.ask("GET", "status", **session)

    def test_keysMayOverlapWhileTheyAreRotated(self) -> None:
        self.cluster.rules.start()
        self.addCleanup(self.cluster.rules.stop)
        session = self.login()
        self.cluster.sessionKeys.insert(0, b"n" * 32)
        self.ask("PUT", "users/alice", {}, status=201, **session)
        del self.cluster.sessionKeys[1]
        self.assertEnded(session)


class ForgeryTests(AccessTestCase):
    def test_unsafeRequestsNeedTheTokenAndTheSameOrigin(self) -> None:
        session = self.login()
        other = self.login("users")
        cookie = {"Cookie": session["Cookie"]}
        before = self.cluster.document
        for headers in (
            cookie,
            {**cookie, "X_CSRF_Token": ""},
            {**cookie, "X_CSRF_Token": "0" * 64},
            {**cookie, "X_CSRF_Token": other["X_CSRF_Token"]},
            {**cookie, "X_CSRF_Token": session["X_CSRF_Token"][:-1]},
            {**session, "Origin": "https://evil.example"},
            {**session, "Origin": "http://localhost"},
            {**session, "Origin": "https://localhost:444"},
            {**session, "Origin": "null"},
            {**session, "Origin": ""},
            {**session, "Sec_Fetch_Site": "cross-site"},
        ):
            for method, path in (("PUT", "users/a"), ("POST", "users"), ("DELETE", "admins/users"), ("POST", "apply"),
                                 ("PATCH", "admins/full"), ("POST", "tokens/join"), ("POST", "logout")):  # fmt: skip
                self.client = self.cluster.connect()
                self.ask(method, path, body=b'{"name": "a"}', status=403, **headers)
        self.assertIs(self.cluster.document, before)
        self.ask("PUT", "users/a", {}, status=201, **session, Origin="https://localhost")

    def test_basicFromAnotherSiteIsRefused(self) -> None:
        headers = {"Authorization": basic("full")}
        self.ask("PUT", "users/a", {}, status=403, **headers, Origin="https://evil.example")
        self.ask("PUT", "users/a", {}, status=201, **headers)
        self.ask("GET", "users/a", **headers, Origin="https://evil.example")


class BasicTests(AccessTestCase):
    def test_rightPasswordIsVerifiedOnceAWhile(self) -> None:
        for _ in range(3):
            self.ask("GET", "status", Authorization=basic("full"))
        self.assertEqual(len(self.cluster.events), 1)
        self.cluster.clock.advance(60)
        self.ask("GET", "status", Authorization=basic("full"))
        self.assertEqual(len(self.cluster.events), 2)

    def test_rememberedPasswordIsNoneOnceItChanged(self) -> None:
        self.ask("GET", "status", Authorization=basic("full"))
        admin = self.cluster.document.admins["full"]
        self.cluster.node.change(Put("admins", evolve(admin, passwordHash=self.cluster.hashOf("new"))))
        self.ask("GET", "status", Authorization=basic("full"), status=401)
        self.ask("GET", "status", Authorization=basic("full", "new"))
        self.cluster.node.change(Put("admins", evolve(self.cluster.document.admins["full"], enabled=False)))
        self.ask("GET", "status", Authorization=basic("full", "new"), status=401)

    def test_nothingElseIsUnderstood(self) -> None:
        for header in ("Basic", "Basic x", "Basic ====", "Bearer abc", "Digest x", "Basic " + basic("full")[6:8]):
            self.ask("GET", "status", Authorization=header, status=401)

    def test_wrongBasicBesideAGoodSessionIsRefused(self) -> None:
        session = self.login()
        self.ask("GET", "status", **session, Authorization=basic("full", "wrong"), status=401)


#: Method, path, body, and the status for roles full, users and auditor.
MATRIX: tuple[tuple[str, str, Any, tuple[int, int, int]], ...] = (
    ("GET", "status", None, (200, 200, 200)),
    ("GET", "wait", None, (200, 200, 200)),
    ("GET", "users", None, (200, 200, 200)),
    ("GET", "admins", None, (200, 200, 200)),
    ("GET", "certificates/default", None, (200, 200, 200)),
    ("GET", "export", None, (200, 200, 200)),
    ("GET", "export?secrets=true", None, (200, 403, 403)),
    ("POST", "users", {"name": "a"}, (201, 201, 403)),
    ("PUT", "users/a", {}, (201, 201, 403)),
    ("PUT", "groups/a", {}, (201, 201, 403)),
    ("PATCH", "users/present", {"enabled": False}, (200, 200, 403)),
    ("DELETE", "users/present", None, (200, 200, 403)),
    ("PUT", "backends/a", {"kind": "local"}, (201, 403, 403)),
    ("PATCH", "listeners/ftp", {"port": 21}, (200, 403, 403)),
    ("DELETE", "observers/log", None, (200, 403, 403)),
    ("PUT", "admins/a", {"role": "full"}, (201, 403, 403)),
    ("PATCH", "admins/auditor", {"role": "full"}, (200, 403, 403)),
    ("PATCH", "admins/users", {"role": "full"}, (200, 403, 403)),
    ("DELETE", "admins/auditor", None, (200, 403, 403)),
    ("PATCH", "nodes/node-a", {"address": "127.0.0.9"}, (200, 403, 403)),
    ("POST", "nodes/node-a/drain", {"seconds": 5}, (200, 403, 403)),
    ("POST", "nodes/node-a/resume", {}, (200, 403, 403)),
    ("DELETE", "hostkeys/ed25519", None, (200, 403, 403)),
    ("POST", "tokens/join", {"name": "node-b"}, (201, 403, 403)),
    ("POST", "apply", {"users": [{"name": "a"}]}, (200, 200, 403)),
    ("POST", "apply", {"settings": {"drainSeconds": 5}}, (200, 403, 403)),
    ("POST", "apply", {"users": [{"name": "a"}], "admins": [{"name": "users", "role": "full"}]}, (200, 403, 403)),
    ("POST", "apply?dryRun", {"users": [{"name": "a"}]}, (200, 200, 403)),
)


class RoleTests(SynchronousTestCase):
    def test_everyRoleAndVerb(self) -> None:
        for method, path, body, statuses in MATRIX:
            for role, status in zip(("full", "users", "auditor"), statuses, strict=True):
                cluster = Cluster()
                cluster.connectSocket().ask("PUT", "/api/v1/users/present", {})
                before = cluster.document
                answer = cluster.connect().ask(method, f"/api/v1/{path}", body, Authorization=basic(role))
                self.assertEqual(answer.status, status, (method, path, role, answer.body))
                if status == 403 or method == "GET":
                    self.assertIs(cluster.document, before, (method, path, role))
