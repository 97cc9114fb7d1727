"""The console's pages: who sees them, what browsers are told, and what nobody can do by them."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.changes import Put
from cftpcluster.manager._console import PAGES
from cftpcluster.testing.http import Answer

from .support import PASSWORD, Cluster, basic

NASTY = "\"><img src=x onerror=alert(1)>'{{7*7}}"


def textOf(answer: Answer) -> str:
    return answer.body.decode()


class ConsoleTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster()

    def get(self, path: str, cookie: str = "", status: int = 200, method: str = "GET", **headers: str) -> Answer:
        more = {"Cookie": cookie} if cookie else {}
        answer = self.cluster.connect().ask(method, path, Accept="text/html", **more, **headers)
        self.assertEqual(answer.status, status, (path, answer.body[:500]))
        return answer

    def post(self, path: str, fields: dict[str, str], cookie: str = "", **headers: str) -> Answer:
        more = {"Cookie": cookie} if cookie else {}
        body = urlencode(fields).encode()
        kind = "application/x-www-form-urlencoded"
        return self.cluster.connect().ask("POST", path, body=body, Content_Type=kind, **more, **headers)

    def login(self, name: str = "full", password: str = PASSWORD) -> str:
        """The cookie of a new session."""
        answer = self.post("/login", {"name": name, "password": password, "next": "/users"})
        self.assertEqual((answer.status, answer.headers["Location"]), (303, "/users"))
        return answer.headers["Set-Cookie"].partition(";")[0]


class FrameTests(ConsoleTestCase):
    def test_everyPageIsThere(self) -> None:
        cookie = self.login()
        for page in PAGES:
            paths = [page.path, *([f"{page.path}/", f"{page.path}/some.name@x"] if page.hasObjects else [])]
            for path in paths:
                text = textOf(self.get(path, cookie))
                self.assertIn(f"<h1>{page.title}</h1>", text)
                self.assertIn('data-role="full"', text)

    def test_nobodySeesAPageWithoutLogin(self) -> None:
        for page in PAGES:
            text = textOf(self.get(page.path, status=200 if page.path == "/" else 401))
            self.assertIn('id="login"', text)
            self.assertNotIn("node-a", text)
            self.assertNotIn("navLink", text)

    def test_rolesSeeWhatTheyMayUse(self) -> None:
        for role in ("users", "auditor"):
            cookie = self.login(role)
            for page in PAGES:
                allowed = page.role.value != "full"
                text = textOf(self.get(page.path, cookie, status=200 if allowed else 403))
                self.assertEqual(f'data-role="{role}"' in text, allowed)
            text = textOf(self.get("/", cookie))
            for page in PAGES:
                self.assertEqual(f'href="{page.path}"' in text, page.role.value != "full", page.path)

    def test_cookieAloneShowsPages(self) -> None:
        """What a browser sends by itself to a site it has a password of is no way in."""
        self.get("/users", status=401, Authorization=basic("full"))

    def test_whatEndsASessionEndsItsPages(self) -> None:
        cookie = self.login("users")
        self.cluster.node.change(Put("admins", evolve(self.cluster.document.admins["users"], enabled=False)))
        self.get("/users", cookie, status=401)

    def test_filesOfPagesAreServed(self) -> None:
        text = textOf(self.get("/", self.login()))
        urls = re.findall(r'(?:src|href)="(/static/[^"#]+)', text)
        self.assertGreater(len(urls), 4)
        for url in set(urls):
            answer = self.cluster.connect().ask("GET", url)
            self.assertEqual(answer.status, 200, url)
            self.assertIn("immutable", answer.headers["Cache-Control"])


class PolicyTests(ConsoleTestCase):
    def test_noPageIsFramedSniffedOrScripted(self) -> None:
        cookie = self.login()
        for path, given, status in (("/", "", 200), ("/users", "", 401), ("/users", cookie, 200)):
            headers = self.get(path, given, status=status).headers
            policy = headers["Content-Security-Policy"]
            for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'",
                         "form-action 'self'", "require-trusted-types-for 'script'"):  # fmt: skip
                self.assertIn(part, policy)
            self.assertNotIn("unsafe", policy)
            self.assertEqual(headers["X-Frame-Options"], "DENY")
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
            self.assertIn("no-store", headers["Cache-Control"])

    def test_nothingInPagesIsInline(self) -> None:
        text = textOf(self.get("/", self.login()))
        self.assertEqual(re.findall(r"<script(?![^>]* src=)|<style| style=| on[a-z]+=", text), [])


class LoginTests(ConsoleTestCase):
    def test_leadsToOwnPagesAlone(self) -> None:
        for target in (
            "https://evil.example/", "//evil.example/", "/\\evil.example/", "\\\\evil.example", "javascript:alert(1)",
            "/%0d%0aSet-Cookie:x", "/\r\nSet-Cookie: x=1", "evil.example", "", "/\tevil", "///evil.example",
        ):  # fmt: skip
            answer = self.post("/login", {"name": "full", "password": PASSWORD, "next": target})
            self.assertEqual(answer.status, 303)
            location = answer.headers["Location"]
            self.assertRegex(location, r"^/(?![/\\])")
            self.assertNotIn("evil.example", location)

    def test_wrongOnesAreAskedAgain(self) -> None:
        answer = self.post("/login", {"name": NASTY, "password": "wrong", "next": NASTY})
        self.assertEqual(answer.status, 401)
        self.assertIn("is wrong", textOf(answer))
        self.assertNotIn("Set-Cookie", answer.headers)
        self.assertNotIn("<img src=x", textOf(answer))
        self.assertNotIn("'49", textOf(answer))

    def test_anotherSiteLogsNobodyIn(self) -> None:
        fields = {"name": "full", "password": PASSWORD, "next": "/"}
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}):
            answer = self.post("/login", fields, **headers)
            self.assertEqual(answer.status, 403)
            self.assertNotIn("Set-Cookie", answer.headers)

    def test_sessionIsNewWithEachLogin(self) -> None:
        """A cookie that somebody else planted is not the one that is good afterwards."""
        planted = self.login("auditor")
        answer = self.post("/login", {"name": "full", "password": PASSWORD, "next": "/"}, planted)
        fresh = answer.headers["Set-Cookie"].partition(";")[0]
        self.assertNotEqual(fresh, planted)
        self.assertIn('data-user="auditor"', textOf(self.get("/", planted)))
        self.assertIn('data-user="full"', textOf(self.get("/", fresh)))

    def test_logoutNeedsTheToken(self) -> None:
        cookie = self.login()
        token = re.findall(r'data-csrf="([0-9a-f]+)"', textOf(self.get("/", cookie)))[0]
        for fields in ({}, {"csrfToken": ""}, {"csrfToken": "0" * 64}):
            self.assertEqual(self.post("/logout", fields, cookie).status, 403)
        foreign = self.post("/logout", {"csrfToken": token}, cookie, Origin="https://evil.example")
        self.assertEqual(foreign.status, 403)
        self.get("/users", cookie)
        answer = self.post("/logout", {"csrfToken": token}, cookie)
        self.assertEqual((answer.status, answer.headers["Location"]), (303, "/"))
        self.get("/users", cookie, status=401)


class OtherPathTests(ConsoleTestCase):
    def test_peopleGetAPageAndScriptsAProblem(self) -> None:
        for path in ("/nothing", f"/users/a/{NASTY.encode().hex()}"):
            text = textOf(self.get(path, status=404))
            self.assertIn("There is nothing here", text)
        self.assertEqual(self.get("/api/v1/nothing", status=404).json["status"], 404)
        self.assertEqual(self.cluster.connect().ask("GET", "/nothing").json["status"], 404)


class InitialPasswordTests(ConsoleTestCase):
    def test_nothingIsShownBeforeAnotherOneIsChosen(self) -> None:
        admin = evolve(self.cluster.document.admins["full"], name="first", initialPassword=True)
        self.cluster.node.change(Put("admins", admin))
        cookie = self.login("first")
        for page in PAGES:
            text = textOf(self.get(page.path, cookie))
            self.assertIn('id="choose"', text)
            self.assertNotIn("navLink", text)
        token = re.findall(r'data-csrf="([0-9a-f]+)"', text)[0]
        body = {"current": PASSWORD, "new": "another battery staple"}
        headers: dict[str, Any] = {"Cookie": cookie, "X_CSRF_Token": token}
        answer = self.cluster.connect().ask("PUT", "/api/v1/account/password", body, **headers)
        self.assertEqual(answer.status, 200, answer.body)
        self.assertIn("navLink", textOf(self.get("/", answer.headers["Set-Cookie"].partition(";")[0])))
        self.get("/users", cookie, status=401)
