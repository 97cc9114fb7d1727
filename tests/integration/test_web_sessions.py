"""Sessions over HTTPS, on three real nodes and without any stickiness: good, ended and restricted on all at once."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from attrs import define, field, frozen
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.auth.sessions import PRESENCE_SECONDS
from cftpcluster.testing.processes import NodeProcess, waitFor
from tests.faults.scale import ENDURANCE, figure
from tests.sharedclusters import THREE

COOKIE = "__Host-cftpcluster-user"
PASSWORD = "right horse"
AT_ONCE_SECONDS = 0.01
SOON_SECONDS = 1.0
"""What the others hear of is true there after so long, on a machine with nothing else to do; it is tried often enough
that most are."""

PATIENT_SECONDS = 60.0

UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE


@frozen
class Answer:
    status: int
    value: Any
    headers: http.client.HTTPMessage


@define(eq=False)
class Browser:
    """One client with a cookie jar of one cookie, and an open connection to each node it was at."""

    cookie: str = ""
    token: str = ""
    _open: dict[str, http.client.HTTPSConnection] = field(factory=dict, init=False)

    def ask(self, node: NodeProcess, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request; what the node says of the cookie is kept."""
        connection = self._open.get(node.address)
        if connection is None:
            connection = http.client.HTTPSConnection(node.address, 8443, timeout=30, context=UNVERIFIED)
            connection = self._open.setdefault(node.address, connection)
        given = {"Content-Type": "application/json", "X-CSRF-Token": self.token, **headers}
        if self.cookie:
            given.setdefault("Cookie", f"{COOKIE}={self.cookie}")
        try:
            connection.request(method, f"/api/v1/{path}", None if body is None else json.dumps(body), given)
            answer = connection.getresponse()
            text = answer.read()
        except Exception:
            self._open.pop(node.address).close()
            raise
        for line in answer.headers.get_all("Set-Cookie", []):
            name, _, rest = line.partition("=")
            if name == COOKIE:
                self.cookie = rest.partition(";")[0]
        return Answer(answer.status, json.loads(text) if text else None, answer.headers)

    def login(self, node: NodeProcess, name: str, password: str = PASSWORD) -> Answer:
        answer = self.ask(node, "POST", "login", {"name": name, "password": password})
        if answer.status == 200:
            self.token = answer.value["csrfToken"]
        return answer

    def isIn(self, node: NodeProcess) -> bool:
        return self.ask(node, "GET", "session").status == 200

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()


class WebSessionsTests(SynchronousTestCase):
    """Users have names of their own, since others share the cluster."""

    def setUp(self) -> None:
        self.cluster = THREE.get()
        self.a, self.b, self.c = self.cluster.nodes.values()

    def user(self, name: str, **more: Any) -> None:
        mounts = [{"path": "/", "backend": "files", "folder": name}]
        self.a.apply({"users": [{"name": name, "password": PASSWORD, "mounts": mounts, **more}]})
        self.cluster.converged()

    def browser(self, cookie: str = "", token: str = "") -> Browser:
        made = Browser(cookie, token)
        self.addCleanup(made.close)
        return made

    def loggedIn(self, node: NodeProcess, name: str) -> Browser:
        browser = self.browser()
        self.assertEqual(browser.login(node, name).status, 200)
        return browser

    def soon(self, what: str, condition: Callable[[], bool]) -> float:
        """Seconds until it is so."""
        started = time.monotonic()
        waitFor(what, condition, PATIENT_SECONDS, pauseSeconds=0.005)
        return time.monotonic() - started

    # --- made on one, used on another

    def test_madeOnOneNodeGoodOnAnotherAtOnce(self) -> None:
        self.user("web-made")
        seconds = []
        for _ in range(5):
            browser = self.browser()
            browser.isIn(self.b)
            self.assertEqual(browser.login(self.a, "web-made").status, 200)
            started = time.monotonic()
            answer = browser.ask(self.b, "GET", "session")
            seconds.append(time.monotonic() - started)
            self.assertEqual((answer.status, answer.value["name"]), (200, "web-made"))
            self.assertEqual(answer.value["csrfToken"], browser.token)
            self.assertTrue(browser.isIn(self.c))
            self.assertEqual(browser.ask(self.c, "POST", "files/x?op=mkdir").status, 201)
            self.assertEqual(browser.ask(self.c, "DELETE", "files/x").status, 204)
        figure(f"a cookie of one node is taken by another {min(seconds) * 1000:.1f} ms after it was asked there")
        self.assertLess(min(seconds), AT_ONCE_SECONDS)

    def test_alteredCookiesAreRefusedEverywhere(self) -> None:
        self.user("web-forged")
        browser = self.loggedIn(self.a, "web-forged")
        payload, _, signature = browser.cookie.partition(".")
        other = self.loggedIn(self.a, "web-forged").cookie
        for altered in (
            payload,
            f"{payload}.",
            f"{payload}.{signature[:-2]}",
            f"{payload}.{other.partition('.')[2]}",
            f"{payload[:-4]}AAAA.{signature}",
            browser.cookie + "A",
            browser.cookie.swapcase(),
        ):
            for node in (self.a, self.b):
                self.assertFalse(self.browser(altered).isIn(node), altered)

    # --- ended on one, dead on all

    def test_killedOnOneNodeDeadOnAll(self) -> None:
        self.user("web-killed")
        seconds = []
        for number in range(3):
            browser, other = self.loggedIn(self.a, "web-killed"), self.loggedIn(self.b, "web-killed")
            self.assertTrue(browser.isIn(self.c))
            mine = browser.ask(self.c, "GET", "session").value["id"]
            self.soon("listed on b", lambda mine=mine: mine in self.listed(self.b, "web-killed"))
            if number:
                self.b.ask("DELETE", f"sessions/{mine}")
            else:
                self.assertEqual(other.ask(self.b, "DELETE", f"sessions/{mine}").status, 200)
            self.assertFalse(browser.isIn(self.b))
            seconds += [self.dead(browser, node) for node in (self.a, self.c)]
            self.assertTrue(other.isIn(self.a))
        figure(f"sessions that one node ended are dead on the others after {1000 * sorted(seconds)[3]:.0f} ms")
        self.assertLess(sorted(seconds)[3], SOON_SECONDS)

    def dead(self, browser: Browser, node: NodeProcess) -> float:
        """Seconds until it is so."""
        return self.soon(f"dead on {node.name}", lambda: not browser.isIn(node))

    def listed(self, node: NodeProcess, user: str) -> list[str]:
        return [one["id"] for one in node.ask("GET", "sessions", user=user)["items"]]

    def test_logOutEverywhere(self) -> None:
        self.user("web-everywhere")
        browsers = [self.loggedIn(node, "web-everywhere") for node in (self.a, self.b, self.c)]
        last = browsers[-1]
        self.assertEqual(last.ask(self.c, "DELETE", "sessions").status, 200)
        for node in (self.a, self.b, self.c):
            for browser in browsers[:2]:
                self.dead(browser, node)
        self.assertEqual(last.cookie, "")
        self.assertTrue(self.loggedIn(self.b, "web-everywhere").isIn(self.a))

    def test_whatWasEndedStaysEndedAfterRestarts(self) -> None:
        self.user("web-restarted")
        browser = self.loggedIn(self.b, "web-restarted")
        kept, token = browser.cookie, browser.token
        self.assertEqual(browser.ask(self.b, "POST", "logout").status, 200)
        self.soon("dead on c", lambda: not self.browser(kept, token).isIn(self.c))
        time.sleep(0.5)  # what is on disk is some hundredths of a second behind
        self.c.kill()
        self.c.start("secondary", "--existing")
        self.assertFalse(self.browser(kept, token).isIn(self.c))
        self.cluster.converged()

    # --- what the user may

    def test_changedPasswordEndsEverySessionElsewhere(self) -> None:
        self.user("web-password", mayChange=["password"])
        browser, other = self.loggedIn(self.b, "web-password"), self.loggedIn(self.a, "web-password")
        weak = browser.ask(self.b, "PUT", "password", {"current": PASSWORD, "new": "short"})
        self.assertEqual(weak.status, 422)
        wrong = browser.ask(self.b, "PUT", "password", {"current": "no", "new": "a new and longer one"})
        self.assertEqual(wrong.status, 403)
        changed = browser.ask(self.b, "PUT", "password", {"current": PASSWORD, "new": "a new and longer one"})
        self.assertEqual(changed.status, 200, changed.value)
        seconds = [self.dead(other, node) for node in (self.a, self.b, self.c)]
        figure(f"sessions before a new password are dead on all nodes after {1000 * max(seconds):.0f} ms")
        self.assertLess(sorted(seconds)[1], SOON_SECONDS)
        for node in (self.a, self.b, self.c):
            self.assertTrue(browser.isIn(node), node.name)
        self.assertEqual(self.browser().login(self.c, "web-password").status, 401)
        self.assertEqual(self.browser().login(self.c, "web-password", "a new and longer one").status, 200)

    def test_keysOfOnesOwn(self) -> None:
        self.user("web-keys", mayChange=["publicKeys"])
        browser = self.loggedIn(self.c, "web-keys")
        weak = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQCwHCKx+pyxQ4vhp5vG4UC4uIGLHQoeCuLOEDCMTmFhkM+PuUUXEHAZ"
        good = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqp8rvhUAOPxh2tOVHz5qQF1vuDIFBQTSQsfPfGzO0N me@home"
        for line in (weak, good[:60], "ssh-dss AAAA", good.replace("ed25519", "rsa")):
            answer = browser.ask(self.c, "POST", "publickeys", {"key": line, "password": PASSWORD})
            self.assertEqual(answer.status, 422, line)
        added = browser.ask(self.c, "POST", "publickeys", {"key": good, "password": PASSWORD})
        self.assertEqual(added.status, 201, added.value)
        self.soon("there on a", lambda: browser.ask(self.a, "GET", "publickeys").value["items"] == [added.value])
        self.assertEqual(browser.ask(self.b, "DELETE", f"publickeys/{added.value['id']}").status, 200)
        self.soon("gone on a", lambda: browser.ask(self.a, "GET", "publickeys").value["items"] == [])
        self.assertEqual(browser.ask(self.a, "PUT", "password", {"current": PASSWORD, "new": "x" * 20}).status, 403)

    def test_disabledInTheMiddleOfAnUpload(self) -> None:
        self.user("web-disabled")
        browser = self.loggedIn(self.b, "web-disabled")
        connection = http.client.HTTPSConnection(self.c.address, 8443, timeout=60, context=UNVERIFIED)
        with closing(connection):
            connection.putrequest("PUT", "/api/v1/files/slow")
            for name, value in (("Cookie", f"{COOKIE}={browser.cookie}"), ("X-CSRF-Token", browser.token)):
                connection.putheader(name, value)
            connection.putheader("Content-Length", "100000000")
            connection.endheaders()
            connection.send(b"x" * 300_000)
            ended = threading.Event()

            def read() -> None:
                try:
                    connection.getresponse().read()
                except (OSError, http.client.HTTPException):
                    pass
                ended.set()

            reader = threading.Thread(target=read, daemon=True)
            reader.start()
            self.assertFalse(ended.wait(0.3))
            self.a.ask("PATCH", "users/web-disabled", {"enabled": False})
            self.assertTrue(ended.wait(PATIENT_SECONDS))
            reader.join(PATIENT_SECONDS)
        for node in (self.a, self.b, self.c):
            self.dead(browser, node)

    # --- keys

    def test_sessionsOutliveTheirKeyUnlessTheyAreToEnd(self) -> None:
        self.user("web-rotated")
        browser, idle = self.loggedIn(self.a, "web-rotated"), self.loggedIn(self.b, "web-rotated")
        self.soon("known on a", lambda: len(self.listed(self.a, "web-rotated")) == 2)
        self.b.ctl("rotate-session-keys")
        self.cluster.converged()
        before = browser.cookie
        for node in (self.a, self.b, self.c):
            self.assertTrue(browser.isIn(node), node.name)
        self.assertNotEqual(browser.cookie, before)
        self.assertEqual(browser.ask(self.c, "POST", "files/z?op=mkdir").status, 201)
        self.assertTrue(idle.isIn(self.c))
        self.c.ctl("rotate-session-keys", "--end-sessions")
        self.cluster.converged()
        for node in (self.a, self.b, self.c):
            self.assertFalse(browser.isIn(node), node.name)

    # --- without the primary

    def test_withoutThePrimary(self) -> None:
        self.user("web-alone", mayChange=["password", "publicKeys"])
        before = self.loggedIn(self.a, "web-alone")
        self.a.kill()
        try:
            self.assertTrue(before.isIn(self.b))
            browser = self.loggedIn(self.b, "web-alone")
            self.assertTrue(browser.isIn(self.c))
            self.assertEqual(browser.ask(self.c, "POST", "files/y?op=mkdir").status, 201)
            refused = browser.ask(self.c, "PUT", "password", {"current": PASSWORD, "new": "a new and longer one"})
            self.assertEqual(refused.status, 503, refused.value)
            self.assertIn("nothing was changed", refused.value["detail"])
            self.assertTrue(browser.isIn(self.b))
            self.assertEqual(browser.ask(self.b, "POST", "logout").status, 200)
            self.dead(browser, self.c)
        finally:
            self.a.start("primary", "--existing")
            self.cluster.converged()
        before.close()
        self.assertTrue(before.isIn(self.a))

    if ENDURANCE:  # It takes more than a minute until a node knows.

        def test_aNodeThatHearsOfNobodyProlongsOnlyItsOwnSessions(self) -> None:
            self.a.apply({"settings": {"sessionIdleSeconds": 300}})
            self.user("web-cut-off")
            theirs, own = self.loggedIn(self.a, "web-cut-off"), self.loggedIn(self.c, "web-cut-off")
            self.a.kill()
            self.b.kill()
            try:
                time.sleep(PRESENCE_SECONDS + 5)
                for browser, isProlonged in ((theirs, False), (own, True)):
                    before = browser.cookie
                    self.assertTrue(browser.isIn(self.c))
                    self.assertEqual(browser.cookie != before, isProlonged)
                self.assertTrue(self.loggedIn(self.c, "web-cut-off").isIn(self.c))
            finally:
                self.a.start("primary", "--existing")
                self.b.start("secondary", "--existing")
                self.cluster.converged()
            before = theirs.cookie
            self.soon("c hears of others", lambda: theirs.isIn(self.c) and theirs.cookie != before)
            self.a.apply({"settings": {"sessionIdleSeconds": None}})
