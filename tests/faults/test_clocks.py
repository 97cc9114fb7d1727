"""Clocks that are set by an hour, in both directions, while the node runs."""

from __future__ import annotations

import ftplib
import json
import signal
import time
from contextlib import ExitStack, closing
from http.client import HTTPSConnection

from cftpcluster.testing.processes import NodeProcess

from ..sharedclusters import whole
from .clusters import PASSWORD, USER, FaultCase, setClock, stateOf, waitFor
from .load import Changes, unverified
from .scale import ENDURANCE

HOUR = 3600.0
IDLE_SECONDS = 60
"""The least that may be set."""


class ClockTests(FaultCase):
    def heal(self) -> None:
        for node in self.nodes:
            setClock(node, 0)
        super().heal()

    def setUp(self) -> None:
        super().setUp()
        self.primary.apply({"settings": {"sessionIdleSeconds": IDLE_SECONDS}})
        self.equalWithin(5)

    def test_clocksSetForwardAndBack(self) -> None:
        for seconds in (HOUR, -HOUR):
            self.jump(seconds)
            # A timer that minds the time of day goes off early when it is set forward, and never when it is set back.
            if ENDURANCE or seconds < 0:
                self.idles()

    def jump(self, seconds: float) -> None:
        """Sessions stay, links stay up, and changes go on."""
        a, b, c = self.nodes
        links = self.linkLines()
        with ExitStack() as stack:
            clients = [stack.enter_context(ftplib.FTP_TLS(context=unverified(), timeout=15)) for _ in self.nodes]
            for node, client in zip(self.nodes, clients, strict=True):
                client.connect(node.address, 2121)
                client.login(USER, PASSWORD)
            self.browsers = browsers = [Browser(node) for node in self.nodes]
            changes = stack.enter_context(Changes(self.primary, f"jump{int(seconds)}-", 0.05))
            waitFor("changes", lambda: changes.done > 3)
            for node in self.nodes:
                setClock(node, seconds)
            jumped = time.monotonic()
            before = changes.done
            # Longer than a link lives without a ping.
            while time.monotonic() < jumped + 8:
                self.assertEqual([browser.status() for browser in browsers], [200, 200, 200])
                time.sleep(0.5)
            waitFor("changes go on", lambda: changes.done > before + 20)
            self.assertEqual([client.pwd() for client in clients], ["/", "/", "/"])
            self.assertEqual(changes.reasons(), [])
        self.equalWithin(5)
        self.assertEqual(self.linkLines(), links)
        self.assertEqual({stateOf(a, node.name) for node in (b, c)}, {"following"})

    def idles(self) -> None:
        """Whatever is timed takes its time."""
        a, _, c = self.nodes
        used = time.monotonic()
        c.signal(signal.SIGSTOP)
        waitFor("the silent node is noticed", lambda: stateOf(a, c.name) == "disconnected")
        if ENDURANCE:
            time.sleep(max(0.0, used + IDLE_SECONDS + 1 - time.monotonic()))
            self.assertEqual([browser.status() for browser in self.browsers[:2]], [401, 401])
        c.signal(signal.SIGCONT)
        whole(self.cluster)

    def linkLines(self) -> list[str]:
        """What the logs say of links that ended."""
        return [line for node in self.nodes for line in node.log.splitlines() if "was cut" in line]


class Browser:
    """A browser that has logged in, and takes each cookie that it is given."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node
        self._cookie = ""
        login = json.dumps({"name": USER, "password": PASSWORD})
        if self._ask("POST", "/api/v1/login", login) != 200 or not self._cookie:
            raise AssertionError(f"{node.name} did not let the browser in")

    def status(self) -> int:
        """How a request is answered now."""
        return self._ask("GET", "/api/v1/files/")

    def _ask(self, method: str, path: str, body: str = "") -> int:
        headers = {"Content-Type": "application/json", **({"Cookie": self._cookie} if self._cookie else {})}
        with closing(HTTPSConnection(self._node.address, 8443, timeout=15, context=unverified())) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            answer.read()
            self._cookie = answer.headers.get("Set-Cookie", self._cookie).partition(";")[0]
            return answer.status
