"""Two administrators who change the same user at once, at two nodes, in two real browsers."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import NodeProcess

from ..manager.support import basic
from ..sharedclusters import THREE
from .browser import Browser, inaccessible
from .clients import needs, needsPackage

PASSWORD = "correct horse battery"
FILES = "[data-key='quota.files'] input"


@needs("chromium")
@needsPackage("playwright")
@needsPackage("axe_playwright_python")
class ConflictTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.first, self.second, _ = THREE.get().nodes.values()
        admins = [{"name": name, "role": "full", "password": PASSWORD} for name in ("ann", "ben")]
        changed = {"name": "changed", "password": PASSWORD, "quota": {"files": 10}}
        self.first.apply({"admins": admins, "users": [changed]}, wait=10)
        self.browser = Browser().__enter__()
        self.addCleanup(self.browser.__exit__, None, None, None)

    def open(self, name: str, node: NodeProcess, **more: Any) -> Any:
        """The form of the same object, in a browser of an administrator's own."""
        page = self.browser.page(**more)
        self.addCleanup(page.context.close)
        url = f"https://{node.address}:8444"
        page.context.request.post(f"{url}/api/v1/login", data={"name": name, "password": PASSWORD})
        page.goto(f"{url}/users/changed")
        page.wait_for_selector("form.objectForm")
        return page

    def save(self, page: Any) -> None:
        page.get_by_role("button", name="Save").click()

    def saved(self, page: Any) -> None:
        page.wait_for_selector(".toast:has-text('live on 3 of 3 nodes')")

    @property
    def files(self) -> int:
        return int(self.first.ask("GET", "users/changed")["quota"]["files"])

    def test_secondIsToldAndBothStand(self) -> None:
        one, two = self.open("ann", self.first), self.open("ben", self.second)
        one.fill(FILES, "20")
        self.save(one)
        self.saved(one)
        two.fill("form.objectForm input[type=password]", "another battery staple")
        self.save(two)
        two.wait_for_selector("dialog h2:has-text('Somebody else changed this meanwhile')")
        self.assertEqual(two.locator("dialog tbody th").all_text_contents(), ["Files in them at most", "Password"])
        self.assertEqual(two.locator("dialog tbody tr:first-child td").all_text_contents(), ["10", "10", "20"])
        self.assertNotIn("another battery staple", two.locator("dialog").inner_text())
        self.assertEqual(inaccessible(two), [])
        two.click("text=Keep editing with both")
        two.wait_for_selector(".formState:has-text('Not saved yet')")
        self.assertEqual(two.input_value(FILES), "20")
        self.save(two)
        self.saved(two)
        self.assertEqual(self.files, 20)
        headers = {"Authorization": basic("changed", "another battery staple")}
        answer = two.context.request.get(f"https://{self.second.address}:8443/api/v1/session", headers=headers)
        self.assertEqual(answer.status, 200)
        two.set_viewport_size({"width": 390, "height": 800})
        self.chosenBetween(one, two)
        self.assertEqual(self.browser.complaints, [])

    def chosenBetween(self, one: Any, two: Any) -> None:
        """Both change the same field: one of both holds."""
        for choice, theirs, mine, held in (("Overwrite theirs", 30, 40, 40), ("Discard mine", 50, 60, 50)):
            for page, amount in ((one, theirs), (two, mine)):
                page.reload()
                page.fill(FILES, str(amount))
            self.save(one)
            self.saved(one)
            self.save(two)
            two.wait_for_selector("dialog .collides th:has-text('Files')")
            self.assertEqual(inaccessible(two), [])
            self.assertLessEqual(two.evaluate("document.documentElement.scrollWidth"), 390)
            two.click(f"text={choice}")
            two.wait_for_selector("dialog", state="detached")
            if choice == "Overwrite theirs":
                self.saved(two)
            self.assertEqual(two.input_value(FILES), str(held))
            self.assertEqual(self.files, held)
