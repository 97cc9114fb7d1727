"""Users, groups and backends in the console of a secondary, in a real browser before three real nodes."""

from __future__ import annotations

from typing import Any

import paramiko
from twisted.trial.unittest import SynchronousTestCase

from ..sharedclusters import THREE
from .browser import Browser, inaccessible
from .clients import needs, needsPackage

PASSWORD = "correct horse battery"
NASTY = '"><img src=x onerror=alert(1)>'


@needs("chromium")
@needsPackage("playwright")
@needsPackage("axe_playwright_python")
class AccessPagesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.primary, self.here, self.other = THREE.get().nodes.values()
        admins = [{"name": role, "role": role, "password": PASSWORD} for role in ("full", "auditor")]
        groups = [{"name": "staff", "mounts": [{"path": "/in", "backend": "files", "folder": NASTY}]}]
        long = {"name": "u" * 64, "enabled": False, "groups": ["staff"]}
        self.primary.apply({"admins": admins, "groups": groups, "users": [long]}, wait=10)
        self.browser = Browser().__enter__()
        self.addCleanup(self.browser.__exit__, None, None, None)

    def open(self, path: str, name: str = "full", **more: Any) -> Any:
        page = self.browser.page(**more)
        self.addCleanup(page.context.close)
        page.on("dialog", lambda dialog: self.browser.complaints.append(dialog.message))
        url = f"https://{self.here.address}:8444"
        page.context.request.post(f"{url}/api/v1/login", data={"name": name, "password": PASSWORD})
        page.goto(url + path)
        return page

    def assertFits(self, page: Any, width: int = 1280) -> None:
        self.assertEqual(inaccessible(page), [], page.url)
        self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), width, page.url)

    def test_userIsAddedOnASecondaryAndLogsInElsewhere(self) -> None:
        page = self.open("/users?new")
        page.click(".formBar button[type=submit]")
        page.wait_for_selector(".formSummary a:has-text('Name')")
        page.fill("[data-key=name] input", "nadia")
        page.click("button:has-text('Generate')")
        password = page.input_value("[data-key=password] input")
        page.fill("[data-key=groups] input", "nobody")
        page.click("button:has-text('Add a folder')")
        page.fill(".mountPart:has-text('In the folder') input", "nadia")
        page.click(".formBar button[type=submit]")
        page.wait_for_selector("[data-key=groups] .fieldProblem")
        self.assertFits(page)
        page.fill("[data-key=groups] input", "staff")
        page.click(".formBar button[type=submit]")
        page.wait_for_selector("h1:has-text('nadia')")
        page.wait_for_selector(".toast:has-text('live on 3 of 3 nodes')")
        self.assertNotIn(password, page.content())
        self.assertEqual(sorted(self.listed("nadia", password)), ["in"])
        page.goto(page.url.replace("/users/nadia", "/users?search=NADI"))
        page.wait_for_selector(".tableCount:has-text('1 user')")
        for action, state in (("Disable", "Disabled"), ("Enable", "Enabled")):
            page.click("button[aria-label='Actions for nadia']")
            page.click(f"[role=menuitem]:has-text('{action}')")
            page.wait_for_selector(f"tr:has-text('nadia') .badge:has-text('{state}')")
        page.click("button[aria-label='Actions for nadia']")
        page.click("[role=menuitem]:has-text('Remove…')")
        page.click("dialog button:has-text('Remove')")
        page.wait_for_selector(".empty:has-text('No users fit')")
        self.assertEqual(self.browser.complaints, [])

    def listed(self, name: str, password: str) -> list[str]:
        """What a user sees over SFTP on another node."""
        with paramiko.Transport((self.other.address, 2222)) as transport:
            transport.connect(username=name, password=password)
            client = paramiko.SFTPClient.from_transport(transport)
            assert client is not None
            return client.listdir("/")

    def test_everybodyCanReadThemAndAuditorsChangeNothing(self) -> None:
        for path, wanted in (
            ("/users?group=staff", "tr:has-text('uuuu')"),
            (f"/users/{'u' * 64}", ".objectForm"),
            ("/groups", "tr:has-text('staff')"),
            ("/groups/staff", ".mount"),
            ("/backends", ".badge:has-text('Available')"),
            ("/backends/files", ".objectForm"),
        ):
            page = self.open(path, "auditor", width=390, colors="dark")
            page.wait_for_selector(wanted)
            self.assertFits(page, 390)
            self.assertEqual(page.locator("#actions > *, .formBar, .menuCell button").count(), 0, path)
            page.context.close()
        page = self.open("/groups/staff")
        self.assertEqual(page.input_value(".mountPart:has-text('In the folder') input"), NASTY)
        page = self.open("/backends?new")
        page.fill("[data-key=name] input", "more")
        page.fill("[data-key=root] input", "/nowhere at all")
        page.click(".formBar button[type=submit]")
        page.wait_for_selector(".alert:has-text('node-a')")
        self.assertFits(page)
        self.primary.ask("DELETE", "backends/more")
        self.assertEqual(self.browser.complaints, [])
