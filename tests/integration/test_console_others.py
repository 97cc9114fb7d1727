"""Sessions, transfers, bans, listeners, settings, keys and administrators in a real browser before three nodes."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import paramiko
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import NodeProcess, waitFor

from ..manager.test_certificates import issued, pem
from ..sharedclusters import THREE
from .browser import Browser, inaccessible
from .clients import needs, needsPackage

PASSWORD = "correct horse battery"
PAGES = ("sessions", "transfers", "bans", "listeners/ftp", "listeners", "settings", "admins", "certificates")
SLOW_BYTES = 40_000
PORT, OTHER_PORT, PAGES_PORT = 2322, 2323, 9443

UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE


def certificateShown(address: str, port: int) -> bytes:
    """What a new connection is shown, DER."""
    with socket.create_connection((address, port), 30) as connection, UNVERIFIED.wrap_socket(connection) as secured:
        shown = secured.getpeercert(binary_form=True)
    assert shown is not None
    return shown


@needs("chromium")
@needs("curl")
@needsPackage("playwright")
@needsPackage("axe_playwright_python")
class ConsoleTests(SynchronousTestCase):
    cookies: ClassVar[dict[NodeProcess, list[Any]]] = {}

    def setUp(self) -> None:
        self.browser = Browser().__enter__()
        self.addCleanup(self.browser.__exit__, None, None, None)
        self.cluster = THREE.get()
        self.primary, self.here, self.other = self.cluster.nodes.values()
        if self.here not in self.cookies:
            self.prepare()

    def tearDown(self) -> None:
        self.assertEqual(self.browser.complaints, [])

    def prepare(self) -> None:
        """Make somebody for each part, and log the administrator in."""
        mounts = [{"path": "/", "backend": "files", "folder": "slow"}]
        limits = {"uploadBytesPerSecond": SLOW_BYTES}
        users = [{"name": "slow", "password": PASSWORD, "mounts": mounts, "limits": limits}]
        users.append({"name": "gone", "password": PASSWORD, "mounts": mounts})
        admins = [{"name": "others", "role": "full", "password": PASSWORD}]
        self.primary.apply({"admins": admins, "users": users}, wait=10)
        context = self.browser.page().context
        credentials = {"name": "others", "password": PASSWORD}
        context.request.post(f"https://{self.here.address}:8444/api/v1/login", data=credentials)
        self.cookies[self.here] = context.cookies()
        context.close()

    def open(self, path: str, **more: Any) -> Any:
        """A page of a secondary's Manager, logged in."""
        page = self.browser.page(**more)
        self.addCleanup(page.context.close)
        page.context.add_cookies(self.cookies[self.here])
        page.goto(f"https://{self.here.address}:8444{path}")
        return page

    def remove(self, path: str) -> None:
        self.addCleanup(self.primary.request, "DELETE", path)

    def act(self, page: Any, name: str, action: str) -> None:
        page.get_by_role("button", name=f"Actions for {name}").click()
        page.get_by_role("menuitem", name=action).click()

    def told(self, page: Any, text: str) -> None:
        page.wait_for_selector(f".toast:has-text('{text}')")

    def press(self, page: Any, name: str) -> None:
        page.get_by_role("button", name=name, exact=True).click()

    def field(self, page: Any, label: str) -> Any:
        """One that is needed."""
        return page.get_by_label(f"{label} (needed)", exact=True)

    # --- looks

    def test_everybodyCanReadThem(self) -> None:
        for width, colors, names in ((1280, "light", PAGES), (390, "dark", PAGES[1::2])):
            page = self.open("/account", width=width, colors=colors)
            for name in names:
                page.goto(f"https://{self.here.address}:8444/{name}")
                page.wait_for_selector(
                    "#content table.list tbody tr:not(.loading), #content .empty, #content form, .keyCard"
                )
                self.assertEqual(inaccessible(page), [], name)
                self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), width, name)

    # --- who is in, and what they do

    def test_sessionIsShownAndEnded(self) -> None:
        transport = paramiko.Transport(socket.create_connection((self.other.address, 2222), 30))
        self.addCleanup(transport.close)
        page = self.open("/sessions?search=gone")
        page.wait_for_selector(".empty")
        transport.connect(username="gone", password=PASSWORD)
        page.wait_for_selector(f"tr:has-text('gone'):has-text('SFTP'):has-text('{self.other.name}')")
        self.act(page, "the session of gone", "End this session")
        self.press(page, "End it")
        self.told(page, "The session is ended.")
        waitFor("the connection is ended", lambda: not transport.is_active())
        page.wait_for_selector(".empty")

    def test_transferIsShownAndEndedWithItsSession(self) -> None:
        page = self.open("/transfers?search=film")
        page.wait_for_selector(".empty")
        film = Path(self.mktemp())
        film.write_bytes(bytes(400_000))
        url = f"https://{self.other.address}:8443/api/v1/files/film%3Cb%3E.mp4"
        command = ["curl", "-sk", "-u", f"slow:{PASSWORD}", "-T", str(film), url]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as upload:
            self.addCleanup(upload.kill)
            page.wait_for_selector(f"tr:has-text('film<b>.mp4'):has-text('{self.other.name}') progress")
            page.wait_for_selector("tr:has-text('of 400.0 kB')")
            page.wait_for_selector("tr:has-text('kB/s')")
            self.assertEqual(inaccessible(page), [])
            self.act(page, "/film<b>.mp4", "End its session")
            self.press(page, "End it")
            page.wait_for_selector(".empty")
            waitFor("it is broken off", lambda: upload.poll() is not None)

    def test_bansAreMadeAndLifted(self) -> None:
        page = self.open("/bans?search=203.0.113")
        self.press(page, "Ban an address")
        page.fill("#banNetwork", "nonsense")
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog .alert:has-text('neither an address nor a network')")
        page.fill("#banNetwork", "203.0.113.0/24")
        page.fill("#banReason", "<img src=x onerror=alert(1)>")
        page.keyboard.press("Enter")
        page.wait_for_selector("tr:has-text('203.0.113.0/24'):has-text('<img src=x onerror=alert(1)>')")
        waitFor("it is banned elsewhere", lambda: self.primary.ask("GET", "bans")["items"])
        self.act(page, "203.0.113.0/24", "Lift the ban")
        self.press(page, "Lift it")
        page.wait_for_selector(".empty")

    # --- what is served

    def test_listenerIsMadeChangedAndRemoved(self) -> None:
        self.remove("listeners/inside")
        page = self.open("/listeners?new")
        self.field(page, "Name").fill("inside")
        self.field(page, "Port").fill("70000")
        page.click(".formBar button.primary")
        page.wait_for_selector(".formSummary:has-text('Port')")
        self.field(page, "Port").fill(str(PORT))
        page.click(".formBar button.primary")
        self.told(page, "live on 3 of 3 nodes")
        for node in self.cluster.nodes.values():
            socket.create_connection((node.address, PORT), 30).close()
        self.field(page, "Port").fill(str(OTHER_PORT))
        self.press(page, "Save")
        waitFor("it moved", lambda: _answers(self.other, OTHER_PORT) and not _answers(self.other, PORT))
        self.press(page, "Remove…")
        self.press(page, "Remove")
        page.wait_for_url("**/listeners")
        waitFor("it is gone", lambda: not _answers(self.other, OTHER_PORT))

    def test_busyPortIsShownAndTheOwnDoorIsNotMovedUnasked(self) -> None:
        self.remove("listeners/busy")
        with socket.create_server((self.other.address, PORT)):
            self.primary.ask("POST", "listeners", {"name": "busy", "kind": "sftp", "port": PORT}, wait=5)
            page = self.open("/listeners")
            page.wait_for_selector(f"tr:has-text('busy'):has-text('Not open everywhere'):has-text('{self.other.name}')")

            self.askedBeforeItsOwnDoorMoves(page)

    def askedBeforeItsOwnDoorMoves(self, page: Any) -> None:
        page.get_by_role("link", name="manager", exact=True).first.click()
        self.field(page, "Port").fill("8445")
        self.press(page, "Save")
        page.wait_for_selector("dialog:has-text('You are connected by this very listener.')")
        self.press(page, "Cancel")
        self.assertEqual(self.primary.ask("GET", "listeners/manager")["port"], 8444)

    def test_settingsThatSomebodyElseChangedMeanwhile(self) -> None:
        self.addCleanup(self.primary.request, "PATCH", "settings", {"banSeconds": None, "drainSeconds": None})
        page = self.open("/settings")
        page.get_by_label("Transfers may finish for", exact=True).fill("20")
        self.primary.ask("PATCH", "settings", {"banSeconds": 60}, wait=5)
        self.press(page, "Save")
        page.wait_for_selector("dialog:has-text('Somebody else changed this meanwhile')")
        self.press(page, "Keep editing with both")
        self.press(page, "Save")
        self.told(page, "live on 3 of 3 nodes")
        settings = self.primary.ask("GET", "settings")
        self.assertEqual((settings["banSeconds"], settings["drainSeconds"]), (60, 20))

    # --- keys

    def test_certificateIsReplacedBeneathOpenConnections(self) -> None:
        old, new = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        first, second = issued((-1, 90), old), issued((-1, 90), new)
        self.remove("certificates/pages")
        self.remove("listeners/pages")
        self.primary.ask("POST", "certificates", {"name": "pages", "chain": first, "key": {"secret": pem(old)}})
        listener = {"name": "pages", "kind": "web", "port": PAGES_PORT, "certificate": "pages"}
        self.primary.ask("POST", "listeners", listener, wait=10)
        standing = [self.connected(node) for node in self.cluster.nodes.values()]
        page = self.open("/certificates?do=upload&name=pages")
        page.get_by_label("Certificate and chain").fill(second)
        page.get_by_label("Private key").fill(pem(old))
        self.press(page, "Replace")
        page.wait_for_selector(".formSummary")
        # One file with both, as some authorities send them.
        page.get_by_label("Certificate and chain").fill(second + pem(new))
        page.get_by_label("Private key").fill("")
        self.press(page, "Replace")
        self.told(page, "live on 3 of 3 nodes")
        wanted = x509.load_pem_x509_certificate(second.encode()).public_bytes(Encoding.DER)
        for node in self.cluster.nodes.values():
            self.assertEqual(certificateShown(node.address, PAGES_PORT), wanted)
        for connection in standing:
            self.assertEqual(self.statusOf(connection), 200)

    def connected(self, node: NodeProcess) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(node.address, PAGES_PORT, timeout=30, context=UNVERIFIED)
        self.addCleanup(connection.close)
        self.assertEqual(self.statusOf(connection), 200)
        # Were it lost, the next request must not open another one.
        connection.auto_open = 0
        return connection

    def statusOf(self, connection: http.client.HTTPSConnection) -> int:
        credentials = base64.b64encode(f"slow:{PASSWORD}".encode()).decode()
        connection.request("GET", "/api/v1/files/", headers={"Authorization": f"Basic {credentials}"})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    def test_requestIsSignedAndImported(self) -> None:
        self.remove("certificates/asked")
        page = self.open("/certificates")
        page.click("text=Make a key and a request")
        self.field(page, "Name").fill("asked")
        self.field(page, "Host names and addresses").fill("files.example.org")
        self.press(page, "Make the request")
        request = x509.load_pem_x509_csr(page.inner_text("pre.code").encode())
        authority = ec.generate_private_key(ec.SECP256R1())
        signed = issued((-1, 90), authority, request.public_key(), issuer="The authority")
        page.click("text=Import what was signed")
        page.get_by_label("Signed certificate and chain").fill(signed)
        self.press(page, "Import")
        page.wait_for_selector(".keyCard:has-text('asked'):has-text('CN=The authority'):has-text('Ends in 90 days')")
        self.act(page, "asked", "Remove")
        self.press(page, "Remove")
        page.wait_for_selector(".keyCard:has-text('asked')", state="detached")
        self.act(page, "default", "Remove")
        self.press(page, "Remove")
        page.wait_for_selector(".toast.failed:has-text('default')")

    def test_hostKeysAreAddedAndWait(self) -> None:
        self.remove("hostkeys/later")
        page = self.open("/certificates?do=hostkey")
        self.field(page, "Name").fill("later")
        page.get_by_label("Private key").fill(pem(rsa.generate_private_key(65537, 1024)))
        page.click(".formBar button.primary")
        page.wait_for_selector(".fieldProblem:has-text('at least 2048 bits')")
        page.get_by_label("Private key").fill(pem(Ed25519PrivateKey.generate()))
        page.click(".formBar button.primary")
        page.wait_for_selector(".keyCard:has-text('later'):has-text('Waits')")
        self.act(page, "later", "Remove")
        self.press(page, "Remove")
        page.wait_for_selector(".keyCard:has-text('later')", state="detached")

    # --- one another

    def test_administratorIsMadeChangedAndRemoved(self) -> None:
        self.remove("admins/helper")
        page = self.open("/admins?new")
        self.field(page, "Name").fill("helper")
        page.get_by_label("Role").select_option("users")
        self.press(page, "Generate")
        page.click(".formBar button.primary")
        self.told(page, "live on 3 of 3 nodes")
        page.get_by_label("Role").select_option("auditor")
        self.press(page, "Save")
        waitFor("changed", lambda: self.primary.ask("GET", "admins/helper")["role"] == "auditor")
        page.click("text=Administrators >> nth=0")
        self.act(page, "helper", "Remove")
        self.press(page, "Remove")
        page.wait_for_selector("tr:has-text('helper')", state="detached")

    def test_tokensOfAllAreRevoked(self) -> None:
        token = self.primary.ask("POST", "tokens", {"name": "nightly", "scopes": ["read"], "admin": "others"})
        self.remove(f"tokens/{token['id']}")
        page = self.open("/admins")
        page.wait_for_selector("tr:has-text('nightly'):has-text('never')")
        self.act(page, "nightly", "Revoke")
        self.press(page, "Revoke")
        page.wait_for_selector("tr:has-text('nightly')", state="detached")


def _answers(node: NodeProcess, port: int) -> bool:
    try:
        socket.create_connection((node.address, port), 5).close()
    except OSError:
        return False
    return True
