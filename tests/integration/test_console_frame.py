"""The console's first log-in, guide, account and frame, in a real browser before a node that was founded just now."""

from __future__ import annotations

import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import ClusterProcesses

from .browser import Browser, inaccessible
from .clients import needs, needsPackage

CHOSEN = "correct horse battery"
NASTY = '"><img src=x onerror=alert(1)>'


@needs("chromium")
@needsPackage("playwright")
@needsPackage("axe_playwright_python")
class FrameTests(SynchronousTestCase):
    def test_firstDay(self) -> None:
        """One node for all: what is chosen first, the others log in with."""
        with Browser() as self.browser, ClusterProcesses(["node-a"]) as cluster:
            self.node = cluster.startAll().primary
            self.url = f"https://{self.node.address}:8444"
            self.firstLoginChoosesAPasswordAndIsGuided()
            self.accountMakesTokensAndLogsOutEverywhere()
            self.framesFitEverybody()
            self.withoutScriptsOneLogsInAndIsSentNowhereElse()
            self.whatIsOldIsSaidAndComesBackByItself()

    def open(self, path: str, **more: Any) -> Any:
        page = self.browser.page(**more)
        page.on("dialog", lambda dialog: self.browser.complaints.append(dialog.message))
        page.goto(self.url + path)
        return page

    def logIn(self, path: str, name: str = "admin", password: str = CHOSEN, **more: Any) -> Any:
        page = self.open(path, **more)
        page.fill("#name", name)
        page.fill("#password", password)
        page.keyboard.press("Enter")
        return page

    def assertFits(self, page: Any) -> None:
        """Everybody can read it, on whatever it is shown."""
        self.assertEqual(inaccessible(page), [], page.url)
        width = page.evaluate("innerWidth")
        self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), width, page.url)

    def firstLoginChoosesAPasswordAndIsGuided(self) -> None:
        initial = (self.node.state / "initial-admin-password").read_text().strip()
        self.assertIn("initial password", str(self.node.status()["warnings"]))
        self.assertNotIn(b"initial password", self.node.health("/readyz")[1])
        page = self.logIn("/users", password="wrong")
        page.wait_for_selector("#message:has-text('wrong')")
        self.assertFits(page)
        page.fill("#password", initial)
        page.keyboard.press("Enter")
        page.wait_for_selector("#choose #current:focus")
        self.assertFits(page)
        for current, new, again, problem in (
            ("", "", "", "#currentProblem"),
            (initial, "short", "short", "#newProblem"),
            (initial, CHOSEN, "another", "#againProblem"),
            (initial, initial, initial, "#newProblem"),
            ("wrong", CHOSEN, CHOSEN, "#currentProblem"),
        ):
            for field, text in (("current", current), ("new", new), ("again", again)):
                page.fill(f"#{field}", text)
            page.keyboard.press("Enter")
            page.wait_for_selector(f"{problem}:not([hidden])")
        page.fill("#current", initial)
        page.keyboard.press("Enter")
        page.wait_for_selector(".guideStep.done h2:has-text('A password of your own')")
        page.wait_for_selector(".guideCount:has-text('1 of 6')")
        page.wait_for_function("document.querySelectorAll('.guideStep .badge.warn').length === 5")
        self.assertFits(page)
        self.assertNotIn("initial password", str(self.node.status()["warnings"]))
        page.click("text=It stays local")
        page.wait_for_selector(".guideCount:has-text('2 of 6')")
        self.node.apply({"users": [{"name": "alice"}]})
        page.wait_for_selector(".guideCount:has-text('3 of 6')")
        self.assertEqual(self.browser.complaints, [])

    def accountMakesTokensAndLogsOutEverywhere(self) -> None:
        page, other = self.logIn("/account"), self.logIn("/account")
        page.click("text=Make a token")
        page.fill(".tokenForm input[type=text]", "no name")
        page.keyboard.press("Enter")
        page.wait_for_selector(".tokenForm [aria-invalid=true]")
        page.fill(".tokenForm input[type=text]", "ci")
        page.keyboard.press("Enter")
        token = page.input_value("dialog .tokenText")
        self.assertFits(page)
        answer = page.context.request.get(f"{self.url}/api/v1/session", headers={"Authorization": f"Bearer {token}"})
        self.assertEqual((answer.json()["name"], bool(answer.json()["token"])), ("admin", True))
        page.click("text=I have it")
        page.wait_for_selector("tr:has-text('ci') td:has-text('in 90 days')")
        self.assertNotIn(token, page.content())
        page.click("text=Log out everywhere…")
        page.click("dialog button:has-text('Log out everywhere')")
        page.wait_for_selector("#login")
        other.goto(f"{self.url}/users")
        other.wait_for_selector("#login")
        self.assertEqual(self.browser.complaints, [])

    def framesFitEverybody(self) -> None:
        self.node.apply({"admins": [{"name": "a" * 64, "role": "auditor", "password": CHOSEN}]})
        page = self.logIn("/account", name="a" * 64, width=390, colors="dark")
        page.wait_for_selector("text=Make a token")
        self.assertFits(page)
        page.focus("#menuButton")
        page.keyboard.press("Enter")
        page.wait_for_selector("nav a:has-text('Sessions')")
        self.assertFits(page)
        page.keyboard.press("Escape")
        page.wait_for_selector("nav a:has-text('Sessions')", state="hidden")
        self.assertEqual(page.locator("nav a[href='/guide']").count(), 0)
        page.goto(f"{self.url}/nodes/add")
        page.wait_for_selector("h1:has-text('You may not do that')")
        page.goto(f"{self.url}/nothing/{NASTY}")
        page.wait_for_selector("h1:has-text('There is nothing here')")
        self.assertEqual(self.browser.complaints, [])

    def whatIsOldIsSaidAndComesBackByItself(self) -> None:
        page = self.logIn("/account")
        page.wait_for_selector("#live[data-state=good]")
        process = self.node.process
        assert process is not None
        process.kill()
        process.wait(30)
        page.wait_for_selector("#banner:has-text('does not answer')")
        self.node.start("primary")
        page.wait_for_selector("#banner", state="hidden")
        page.wait_for_selector("#live[data-state=good]")

    def withoutScriptsOneLogsInAndIsSentNowhereElse(self) -> None:
        context = self.browser.page().context.browser.new_context(ignore_https_errors=True, java_script_enabled=False)
        page = context.new_page()
        page.goto(f"{self.url}/sessions?user=alice")
        page.fill("#name", "admin")
        page.fill("#password", CHOSEN)
        page.click("button[type=submit]")
        page.wait_for_selector("h1:has-text('Sessions')")
        self.assertEqual(re.sub("^https://[^/]+", "", page.url), "/sessions?user=alice")
        self.assertIn("needs JavaScript", page.inner_text("main"))
        page.click("button[title='Log out']")
        page.wait_for_selector("#login")
        for path in ("//evil.example/", "/\\evil.example/"):
            page.goto(self.url + path)
            self.assertTrue(page.url.startswith(self.url), page.url)
