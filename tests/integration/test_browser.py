"""The file manager in a real browser, before three nodes that take turns with each request, one of which is killed."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import ClusterProcesses, loopbackAddresses, waitFor

from ..sharedclusters import ALONE
from .browser import Browser, RoundRobin, dropOn, inaccessible, limitUploads
from .clients import needs, needsPackage, randomFile

PASSWORD = "correct horse"
UPLOAD_BYTES = 6_000_000
UPLOAD_BYTES_PER_SECOND = 1_500_000
KEY_LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJq7ljyqbxPWEb0WLtMvdDLrhtHMxFy8mGl5vSyfzJS <b>bob"
HOSTILE = "<img src=x onerror=alert(1)>.txt"

PAYLOADS = (
    "<script>alert(1)<",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<iframe srcdoc=x onload=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<video src=x onerror=alert(1)>",
    "<style>*{display:none}",
    "<base href=javascript:alert(1)>",
    "<meta http-equiv=refresh content=0>",
    "<form action=javascript:alert(1)><button>",
    "<math><mtext><table><mglyph><style><!--",
    "<template><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "data:text,alert(1)",
    "#<img src=x onerror=alert(1)>",
    "?inline=true&x=<svg onload=alert(1)>",
    "${alert(1)}",
    "{{constructor.constructor('alert(1)')()}}",
    "{% include 'x' %}",
    "%3Cscript%3Ealert(1)%3C",
    "&lt;script&gt;alert(1)&lt;",
    "\u202e<script>alert(1)<",
    "\u2066\u200b\ufeff<svg onload=alert(1)>",
    "__proto__",
)
FORMS = ("{}", "{}.txt", "{}.html", "{}.svg", "'{}", '"{}', '"> {}', "--> {}")


class BrowserCase(SynchronousTestCase):
    """:ivar url: of the pages."""

    url: str

    def entered(self, manager: Any) -> Any:
        entered = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return entered

    def logIn(self, page: Any, name: str) -> None:
        page.goto(self.url)
        page.fill("#name", name)
        page.fill("#password", PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_selector("#listing")


@needs("chromium", "haproxy")
@needsPackage("playwright")
@needsPackage("axe_playwright_python")
class PartnerTests(BrowserCase):
    """One cluster and one browser for all that a partner does."""

    def setUp(self) -> None:
        (*nodes, self.front) = loopbackAddresses(4)
        self.cluster = self.entered(ClusterProcesses(addresses=nodes))
        self.cluster.startAll()
        self.share = self.cluster.folder / "share"
        self.share.mkdir()
        self.cluster.primary.apply(
            {
                "backends": [{"name": "share", "kind": "local", "root": str(self.share), "shared": True}],
                "users": [{"name": "alice", "password": PASSWORD, "mounts": [{"path": "/", "backend": "share"}]}],
                "settings": {"branding": {"name": "Acme & Co", "accentColor": "#b3005e"}},
            },
            wait=30,
        )
        self.balancer = self.entered(RoundRobin(self.cluster, self.front))
        self.browser = self.entered(Browser())
        self.url = f"https://{self.front}:8443"

    def test_aPartnerNoticesNothingOfNodesThatTakeTurnsAndDie(self) -> None:
        self.page = self.browser.page()
        served: set[str] = set()
        self.page.on("response", lambda response: served.add(response.headers.get("x-node", "")))
        self.logIn(self.page, "alice")
        self.uploadsAFolder()
        self.renames()
        self.moves()
        self.assertGreaterEqual(served, set(self.cluster.nodes))
        self.pagesAreAccessible()
        self.namesAreText()
        self.anUploadGoesOnElsewhere()
        self.downloadsAsZIP()
        self.logsOut()
        self.assertEqual(self.browser.complaints, [])

    def row(self, name: str) -> Any:
        return self.page.locator(f"tr[data-name='{name}']")

    def rows(self) -> list[str]:
        return [row.get_attribute("data-name") for row in self.page.locator("tbody tr").all()]

    def confirm(self, text: str) -> None:
        self.page.locator("dialog[open] button", has_text=text).click()
        self.page.wait_for_selector("dialog", state="detached")

    # --- what a partner does

    def uploadsAFolder(self) -> None:
        folder = self.cluster.folder / "Project"
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "empty").mkdir()
        randomFile(folder / "one.bin", 300_000)
        randomFile(folder / "deep" / "er" / "two.bin", 1000)
        (folder / HOSTILE).write_text("<b>text</b>")
        (folder / "nothing.txt").touch()
        dropOn(self.page, "#listing", folder)
        self.page.wait_for_selector(".queue h2:has-text('4 files uploaded')")
        self.assertEqual(contents(self.share / "Project"), contents(folder))
        self.row("Project").get_by_role("link").click()
        self.page.wait_for_selector("tr[data-name=deep]")
        self.assertEqual(self.rows(), ["deep", "empty", HOSTILE, "nothing.txt", "one.bin"])
        self.page.go_back()
        self.row("Project").wait_for()

    def renames(self) -> None:
        self.row("Project").get_by_role("link").focus()
        self.page.keyboard.press("F2")
        self.page.fill("#askedText", "Project Ω")
        self.page.keyboard.press("Enter")
        self.row("Project Ω").wait_for()
        self.assertTrue((self.share / "Project Ω" / "one.bin").exists())

    def moves(self) -> None:
        self.page.click("#newFolder")
        self.page.fill("#askedText", "Archive")
        self.confirm("Create")
        self.row("Archive").wait_for()
        self.row("Project Ω").locator("input").check()
        self.page.locator("#selection [data-verb=move]").click()
        self.page.locator(".picker button", has_text="Archive").click()
        self.page.wait_for_selector(".where strong:has-text('Archive')")
        self.confirm("Move here")
        self.row("Project Ω").wait_for(state="detached")
        self.assertTrue((self.share / "Archive" / "Project Ω" / "one.bin").exists())

    def namesAreText(self) -> None:
        shown: list[str] = []
        self.page.on("dialog", lambda dialog: (shown.append(dialog.message), dialog.dismiss()))
        names = [form.format(payload) for payload in PAYLOADS for form in FORMS]
        place = self.share / "Names"
        for name in names:
            (place / f"folder {name}").mkdir(parents=True)
            (place / name).write_text("<script>alert(1)</script>")
        self.page.goto(f"{self.url}/folders/Names/")
        self.page.wait_for_selector("tbody tr:nth-child(300)")
        self.page.locator(".following").scroll_into_view_if_needed()
        self.page.wait_for_selector("tbody tr:nth-child(400)")
        self.assertEqual(self.page.locator("tbody tr").count(), 2 * len(names))
        self.page.locator("#all").check()
        self.page.locator("#selection [data-verb=delete]").click()
        self.page.keyboard.press("Escape")
        self.page.locator("#selection [data-verb=clear]").click()
        for form in ("{}", "{}.txt"):
            name = form.format(PAYLOADS[1])
            self.rowOf(name).locator("[data-verb=menu]").click()
            self.page.get_by_role("menuitem", name="Move").click()
            self.page.wait_for_selector(".picker button:nth-child(200)")
            self.page.locator(".picker button", has_text=f"folder {PAYLOADS[0]}").first.click()
            self.page.wait_for_selector(f".where strong:has-text('folder {PAYLOADS[0]}')")
            self.page.keyboard.press("Escape")
        self.rowOf(f"{PAYLOADS[1]}.html").get_by_role("link").click()
        self.page.wait_for_selector(".preview pre:has-text('<script>alert(1)</script>')")
        self.page.keyboard.press("Escape")
        self.rowOf(f"folder {PAYLOADS[1]}").get_by_role("link").click()
        self.page.wait_for_selector(".empty")
        self.assertIn(PAYLOADS[1], self.page.title())
        self.assertEqual(shown, [])
        self.page.goto(self.url)

    def rowOf(self, name: str) -> Any:
        """As :meth:`row`, of any name."""
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        return self.page.locator(f'tr[data-name="{quoted}"]')

    def anUploadGoesOnElsewhere(self) -> None:
        source = randomFile(self.cluster.folder / "long.bin", UPLOAD_BYTES)
        asked: list[tuple[str, str]] = []
        self.page.on(
            "request", lambda request: asked.append((request.method, request.headers.get("upload-offset", "")))
        )
        limitUploads(self.page, UPLOAD_BYTES_PER_SECOND)
        self.page.set_input_files("#chosenFiles", [str(source)])
        bar = self.page.locator(".queue li.running progress")
        waitFor("a third is sent", lambda: bar.evaluate("bar => bar.value") > 0.3, pauseSeconds=0.1)
        served = waitFor("a node takes the upload", self.balancer.busy)
        self.cluster.nodes[served].kill()
        # meanwhile people walk on
        self.row("Archive").get_by_role("link").click()
        self.row("Project Ω").wait_for()
        limitUploads(self.page, -1)
        self.page.wait_for_selector(".queue h2:has-text('1 file uploaded')")
        self.assertEqual((self.share / "long.bin").read_bytes(), source.read_bytes())
        offsets = [int(offset) for method, offset in asked if method == "PATCH"]
        self.assertGreater(len(offsets), 1)
        self.assertGreater(offsets[-1], 0)
        self.assertEqual(self.page.locator(".toast.failed").count(), 0)

    def downloadsAsZIP(self) -> None:
        self.row("Project Ω").locator("input").check()
        with self.page.expect_download() as download:
            self.page.locator("#selection [data-verb=download]").click()
        self.assertEqual(download.value.suggested_filename, "Project Ω.zip")
        with zipfile.ZipFile(download.value.path()) as archive:
            packed = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
        expected = contents(self.share / "Archive" / "Project Ω")
        found = {name.removeprefix("Project Ω/"): data for name, data in packed.items()}
        self.assertEqual(found, {name: data for name, data in expected.items() if data is not None})

    def logsOut(self) -> None:
        cookies = self.page.context.cookies()
        self.page.locator("#logout button").click()
        self.page.wait_for_selector("#login")
        self.page.context.add_cookies(cookies)
        for _ in self.cluster.nodes:
            answer = self.page.request.get(f"{self.url}/api/v1/session")
            self.assertEqual(answer.status, 401, answer.headers.get("x-node"))

    # --- everybody

    def pagesAreAccessible(self) -> None:
        for colors, width in (("light", 1280), ("dark", 390)):
            page = self.browser.page(width, 844, colors)
            page.goto(self.url)
            self.assertEqual(inaccessible(page), [], colors)
            self.logIn(page, "alice")
            self.assertIn("Acme & Co", page.title())
            page.locator("tbody tr input").first.check()
            self.assertEqual(inaccessible(page), [], colors)
            page.locator("#selection [data-verb=delete]").click()
            self.assertEqual(inaccessible(page), [], colors)
            page.goto(f"{self.url}/account")
            page.wait_for_selector("#keys li:not(.skeleton)")
            self.assertEqual(inaccessible(page), [], colors)
            page.context.close()


@needs("chromium")
@needsPackage("playwright")
class SessionTests(BrowserCase):
    """On a node that others use too."""

    def setUp(self) -> None:
        self.node = ALONE.get().primary
        self.url = f"https://{self.node.address}:8443"
        self.browser = self.entered(Browser())

    def has(self, name: str) -> None:
        """A user with a folder, who may change themselves."""
        mounts = [{"path": "/", "backend": "files", "folder": name}]
        own = {"mayChange": ["password", "publicKeys"], "mounts": mounts}
        self.node.apply({"users": [{"name": name, "password": PASSWORD, **own}]}, wait=30)

    def test_anUploadOutlivesItsSession(self) -> None:
        self.has("sitter")
        page = self.browser.page()
        self.logIn(page, "sitter")
        asked: list[int] = []
        page.on("request", lambda one: asked.append(int(one.headers.get("upload-offset", -1))))
        limitUploads(page, UPLOAD_BYTES_PER_SECOND)
        source = randomFile(Path(self.mktemp()).absolute(), UPLOAD_BYTES // 2)
        page.set_input_files("#chosenFiles", [str(source)])
        bar = page.locator(".queue li.running progress")
        waitFor("half is sent", lambda: bar.evaluate("bar => bar.value") > 0.5, pauseSeconds=0.1)
        page.locator(".queue li [data-verb=pause]").click()
        page.context.clear_cookies()
        page.locator(".queue li [data-verb=resume]").click()
        page.fill("#askedPassword", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_selector(".queue h2:has-text('1 file uploaded')")
        self.assertGreater(max(asked), 0)
        stored = self.node.state / "files" / "sitter" / source.name
        self.assertEqual(stored.read_bytes(), source.read_bytes())

    def test_theAccountIsOnesOwnToManage(self) -> None:
        self.has("walker")
        here, there = self.browser.page(), self.browser.page()
        for page in (here, there):
            self.logIn(page, "walker")
        here.goto(f"{self.url}/account")
        here.wait_for_selector("#sessions li:nth-child(2) strong")
        for box in ("#new", "#again"):
            here.fill(box, "another horse battery")
        here.fill("#current", "wrong")
        here.click("#password [type=submit]")
        here.wait_for_selector("#passwordMessage:has-text('The current password is wrong.')")
        here.fill("#current", PASSWORD)
        here.click("#password [type=submit]")
        here.wait_for_selector(".toast:has-text('Your password was changed.')")
        # whoever was logged in elsewhere goes on where they were, with the new password
        there.click("#newFolder")
        there.fill("#askedText", "Anew")
        there.keyboard.press("Enter")
        there.fill("#askedPassword", "another horse battery")
        there.keyboard.press("Enter")
        there.wait_for_selector("tr[data-name=Anew]")
        here.fill("#key", KEY_LINE)
        here.fill("#keyPassword", "another horse battery")
        here.click("#addKey [type=submit]")
        here.wait_for_selector("#keys li:has-text('<b>bob')")
        here.locator("#keys button").click()
        here.locator("dialog[open] button", has_text="Remove").click()
        here.wait_for_selector("#keys li:has-text('There is no key yet.')")
        here.click("#endAll")
        here.locator("dialog[open] button", has_text="Log out everywhere").click()
        here.wait_for_selector("#login")
        there.goto(f"{self.url}/account")
        there.wait_for_selector("#login")
        self.assertEqual(self.browser.complaints, [])


def contents(folder: Path) -> dict[str, bytes | None]:
    """Of everything in a folder; ``None`` of folders."""
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes() for path in folder.rglob("*")}
