"""The pages of what was changed and of what happened, in a real browser before three real nodes."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import waitFor

from ..sharedclusters import THREE
from .browser import Browser, inaccessible
from .clients import needs, needsPackage

PASSWORD = "correct horse battery"
HOSTILE = "<img src=x onerror=document.title='broken'>\u202egnp.exe\nnext"
"""As a path, and as the name of who tried to log in: a tag, a character that turns text around, and a line's end."""


@needs("chromium")
@needsPackage("playwright")
@needsPackage("axe_playwright_python")
class PastTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = THREE.get()
        self.primary, self.here, _ = self.cluster.nodes.values()
        roles = {"past": "full", "onlooker": "auditor"}
        admins = [{"name": name, "role": role, "password": PASSWORD} for name, role in roles.items()]
        self.primary.apply({"admins": admins}, wait=10)
        self.browser = Browser().__enter__()
        self.addCleanup(self.browser.__exit__, None, None, None)

    def open(self, path: str, name: str = "past", **more: Any) -> Any:
        """A page of a secondary's Manager, logged in."""
        page = self.browser.page(**more)
        self.addCleanup(page.context.close)
        url = f"https://{self.here.address}:8444"
        page.context.request.post(f"{url}/api/v1/login", data={"name": name, "password": PASSWORD})
        page.goto(url + path)
        return page

    def judge(self, page: Any, width: int = 1280) -> None:
        """Everybody can use the page as it is now, and nothing was broken."""
        self.assertEqual(inaccessible(page), [])
        self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), width)
        self.assertNotEqual(page.title(), "broken")
        self.assertEqual(self.browser.complaints, [])

    def test_changesAreComparedAndTakenBack(self) -> None:
        name = f"past{time.time_ns()}"
        mount = {"path": "/<script>alert(1)<", "backend": "files", "folder": name, "permissions": ["list"]}
        self.primary.apply({"users": [{"name": name, "mounts": [mount]}]})
        before = self.primary.status()["revision"]
        self.primary.ask("PATCH", f"users/{name}", {"mounts": [{**mount, "folder": "elsewhere"}]}, wait=10)
        page = self.open("/history")
        page.wait_for_selector(f".revision:has-text('Saved user {name}.')")
        self.assertIn("Present", page.inner_text(f".revision[data-revision='{before + 1}']"))
        self.judge(page)
        for revision in (before - 1, before + 1):
            page.check(f".revision[data-revision='{revision}'] input")
        page.get_by_role("button", name=f"Compare {before - 1} with {before + 1}").click()
        page.wait_for_selector(".difference")
        self.assertIn(f"from={before - 1}&to={before + 1}", page.url)
        page.goto(page.url.partition("?")[0] + f"?from={before}&to={before + 1}")
        page.wait_for_selector("del:has-text('<script>alert(1)<')")
        self.assertIn("folder: elsewhere", page.inner_text("ins"))
        self.judge(page)
        page.get_by_role("button", name=f"Go back to revision {before}").click()
        page.wait_for_selector("dialog ins:has-text('<script>alert(1)<')")
        self.assertIn("passwords, public keys", page.inner_text("dialog"))
        self.judge(page)
        page.get_by_role("button", name=f"Go back to revision {before}", exact=True).last.click()
        page.wait_for_selector(".toast:has-text('live on 3 of 3')")
        page.wait_for_selector(f"h2:has-text('What revision {before + 2} changed')")
        self.assertEqual(self.primary.ask("GET", f"users/{name}")["mounts"][0]["folder"], name)
        page.goto(page.url.partition("?")[0] + f"?object=users/{name}&author=past")
        page.wait_for_selector(f".revision[data-revision='{before + 2}']")
        self.assertEqual(page.locator(".revision").count(), 1)

    def test_auditorsLookAtNarrowPagesAndTakeNothingBack(self) -> None:
        page = self.open("/history", "onlooker", width=390, colors="dark")
        page.wait_for_selector(".revision")
        self.assertEqual(page.locator(".revision button").count(), 0)
        self.judge(page, 390)
        page.locator(".revisionWhat").first.click()
        page.wait_for_selector(".difference, .differenceSame")
        self.judge(page, 390)

    def test_eventsAreShownAsTheyHappenWhateverIsInThem(self) -> None:
        page = self.open("/events")
        page.wait_for_selector(".event")
        url = page.url.partition("/events")[0]
        page.context.request.post(f"{url}/api/v1/login", data={"name": HOSTILE, "password": "wrong"})
        shown = "<img src=x onerror=document.title='broken'>\\u202egnp.exe\\u000anext"
        page.wait_for_selector(f".event:has-text({json.dumps(shown)})")
        self.judge(page)
        page.get_by_role("button", name="Pause").click()
        name = f"unseen{time.time_ns()}"
        self.primary.ctl("group", "add", name)
        page.wait_for_selector(".newsButton:not([hidden])")
        self.assertEqual(page.locator(f".event:has-text('{name}')").count(), 0)
        page.get_by_role("button", name="Go on").click()
        page.wait_for_selector(f".event:has-text('Group {name}')")
        page.select_option("#filter-kind", "LoginFailed")
        page.wait_for_selector("tbody:not(:has(.badge:not(.bad))):has(.badge.bad)")
        self.assertIn("kind=LoginFailed", page.url)
        page.locator(f".event:has-text({json.dumps(shown)}) .eventKind").first.click()
        page.wait_for_selector("dialog dd:has-text('unknown administrator')")
        self.judge(page)
        page.keyboard.press("Escape")
        page.fill("#filter-text", "nothing is called so")
        page.wait_for_selector(".empty:has-text('Nothing that happened fits.')")
        self.judge(page)
        page.fill("#filter-text", "")
        page.wait_for_selector(".event")
        with page.expect_download() as started:
            page.get_by_role("link", name="CSV").click()
        rows = list(csv.DictReader(Path(started.value.path()).read_text("utf-8").splitlines(keepends=True)))
        self.assertEqual({row["kind"] for row in rows}, {"LoginFailed"})
        self.assertIn(HOSTILE, {row["user"].removeprefix("'") for row in rows})

    def test_nodesThatDoNotAnswerAreNamed(self) -> None:
        away = self.cluster.nodes["node-c"]
        page = self.open("/events", "onlooker", width=390)
        page.wait_for_selector(".event")
        self.judge(page, 390)
        away.kill()
        page.wait_for_selector(".tableMissing:has-text('node-c does not answer')")
        away.start("secondary")
        page.wait_for_selector(".tableMissing:not(:has(p))", state="attached")
        page.wait_for_selector(".event:has-text('Node started')")
        waitFor("all nodes follow", lambda: self.primary.status()["nodes"][2]["state"] == "following")
