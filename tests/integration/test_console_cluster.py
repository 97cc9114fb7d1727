"""The cluster's page and the one that adds a node, in a real browser before three real nodes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import loopbackAddresses, program, waitFor

from ..sharedclusters import THREE
from .browser import Browser, inaccessible
from .clients import needs, needsPackage

PASSWORD = "correct horse battery"


@needs("chromium")
@needsPackage("playwright")
@needsPackage("axe_playwright_python")
class ClusterPageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = THREE.get()
        self.primary, self.here, self.other = self.cluster.nodes.values()
        self.primary.apply({"admins": [{"name": "console", "role": "full", "password": PASSWORD}]}, wait=10)
        self.browser = Browser().__enter__()
        self.addCleanup(self.browser.__exit__, None, None, None)

    def open(self, path: str = "/", **more: Any) -> Any:
        """A page of a secondary's Manager, logged in."""
        page = self.browser.page(**more)
        url = f"https://{self.here.address}:8444"
        page.context.request.post(f"{url}/api/v1/login", data={"name": "console", "password": PASSWORD})
        page.goto(url + path)
        return page

    def act(self, page: Any, name: str, action: str) -> None:
        page.get_by_role("button", name=f"Actions for {name}").click()
        page.get_by_role("menuitem", name=action).click()

    def badge(self, page: Any, name: str, text: str) -> None:
        """Wait until a node's card says so."""
        page.wait_for_selector(f".nodeCard[data-node={name}] .badge:has-text('{text}')")

    def test_nodesAreShownAndEverybodyCanReadIt(self) -> None:
        for width, colors in ((390, "light"), (1280, "dark")):
            page = self.open(width=width, colors=colors)
            for name, text in zip(self.cluster.nodes, ("Primary", "Following", "Following"), strict=True):
                self.badge(page, name, text)
            page.wait_for_selector(".drawing svg")
            page.wait_for_selector(".chart canvas")
            self.assertIn("Clients reach node-a, node-b, node-c.", page.text_content("#drawingText"))
            self.assertEqual(inaccessible(page), [])
            self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), width)
        page.locator(".chart summary").first.click()
        page.wait_for_selector(".chartTable caption:has-text('Sessions')", state="attached")
        page.get_by_role("button", name="Last day").click()
        page.wait_for_selector(".chartText:has-text('Nothing is known yet')")
        self.assertEqual(self.browser.complaints, [])

    def test_nodeIsDrainedAndResumed(self) -> None:
        page, name = self.open(), self.other.name
        self.act(page, name, "Drain…")
        page.fill("#drainSeconds", "1")
        page.keyboard.press("Enter")
        self.badge(page, name, "Draining")
        page.wait_for_selector(f".toast:has-text('{name} is drained.')")
        self.act(page, name, "Resume")
        self.badge(page, name, "Following")

    def test_resyncSaysFirstWhatItWouldChange(self) -> None:
        page, name = self.open(), self.other.name
        self.act(page, name, "Pause…")
        page.keyboard.press("Enter")
        self.badge(page, name, "Paused")
        self.primary.apply({"users": [{"name": "newcomer"}]})
        page.wait_for_selector(f".nodeCard[data-node={name}] dd:has-text('behind')")
        self.act(page, name, "Resync…")
        page.wait_for_selector("dialog .differenceLines li:has-text('newcomer')")
        page.keyboard.press("Escape")
        self.act(page, name, "Follow again")
        self.badge(page, name, "Following")
        self.primary.ask("DELETE", "users/newcomer")

    def test_nodeIsAddedAndRemoved(self) -> None:
        (address,) = loopbackAddresses(1)
        page = self.open("/nodes/add")
        page.fill("#name", "node d")
        page.keyboard.press("Enter")
        page.wait_for_selector("#nameProblem:has-text('Letters')")
        page.fill("#name", "node-d")
        page.fill("#folder", str(self.cluster.folder / "node-d"))
        page.fill("#address", address)
        page.keyboard.press("Enter")
        command = page.inner_text(".command")
        self.assertEqual(inaccessible(page), [])
        refused = self.start(command.replace("--name node-d", "--name node-x"), "node-x")
        refused.wait(30)
        page.wait_for_selector(".stepTrouble:has-text('not \"node-x\"')")
        node = self.start(command, "node-d")
        page.wait_for_selector(".reached h2:has-text('node-d is part of the cluster')")
        page.click("text=To the cluster")
        self.badge(page, "node-d", "Following")
        node.kill()
        node.wait(30)
        self.badge(page, "node-d", "Disconnected")
        self.act(page, "node-d", "Remove…")
        page.fill("#typedName", "node-x")
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog .alert:has-text('That is not its name.')")
        page.fill("#typedName", "node-d")
        page.keyboard.press("Enter")
        page.wait_for_selector(".nodeCard[data-node=node-d]", state="detached")
        waitFor("it is out", lambda: "node-d" not in {one["name"] for one in self.primary.status()["nodes"]})
        self.assertEqual(self.browser.complaints, [])

    def start(self, command: str, name: str) -> subprocess.Popen[bytes]:
        """Run a command as the page gave it."""
        path = f"{Path(program('twistd')).parent}:{os.environ['PATH']}"
        with open(self.cluster.folder / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                stdout=log,
                stderr=log,
                cwd=self.cluster.folder,
                env=dict(os.environ, PATH=path),
            )
        self.addCleanup(process.wait, 30)
        self.addCleanup(process.kill)
        return process
