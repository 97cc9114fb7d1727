"""A real browser, Chromium driven by Playwright, and HAProxy before a cluster's pages. Everything blocks."""

from __future__ import annotations

import csv
import io
import shutil
import socket
import subprocess
from contextlib import ExitStack
from importlib import import_module, resources
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attrs import define, field

from cftpcluster.testing.balancer import haproxy
from cftpcluster.testing.processes import ClusterProcesses, isListening, waitFor
from tests.servers.test_tls import KEY, LEAF, pem

WAIT_MILLISECONDS = 30_000

_OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
_WATCH = """
addEventListener("securitypolicyviolation", ({violatedDirective, blockedURI}) => {
  console.error(`CSP ${violatedDirective} ${blockedURI}`);
});
"""

_BALANCER = """
global
    stats socket {stats} level user
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    timeout http-request 10s
    retries 3
    option redispatch 1
    retry-on conn-failure
frontend pages
    bind {address}:8443 ssl crt {certificate}
    default_backend nodes
backend nodes
    balance roundrobin
    http-response set-header X-Node %s
{servers}
"""


@define(eq=False)
class RoundRobin:
    """HAProxy that hands each request to the next node, whoever makes it; a context manager that ends its process."""

    cluster: ClusterProcesses
    address: str
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def _stats(self) -> Path:
        return self.cluster.folder / "haproxy.sock"

    def __enter__(self) -> Self:
        folder = self.cluster.folder
        certificate = folder / "haproxy.pem"
        certificate.write_bytes(pem(LEAF) + pem(KEY))
        servers = "".join(
            f"    server {node.name} {node.address}:8443 ssl verify none check check-ssl inter 500ms fall 1\n"
            for node in self.cluster.nodes.values()
        )
        configuration = folder / "haproxy.cfg"
        configuration.write_text(
            _BALANCER.format(stats=self._stats, address=self.address, certificate=certificate, servers=servers)
        )
        with open(folder / "haproxy.log", "wb") as log:
            self._process = subprocess.Popen(
                [haproxy(), "-db", "-f", str(configuration)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        waitFor("haproxy serves", lambda: isListening(self.address, 8443))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)

    def busy(self) -> str:
        """The node that has a request now; "" where none has."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(10)
            asking.connect(str(self._stats))
            asking.sendall(b"show stat\n")
            answer = b"".join(iter(lambda: asking.recv(65536), b"")).decode()
        rows = list(csv.DictReader(io.StringIO(answer.lstrip("# "))))
        names = [row["svname"] for row in rows if row["svname"] in self.cluster.nodes and int(row["scur"]) > 0]
        return names[0] if names else ""


@define(eq=False)
class Browser:
    """Chromium; a context manager.

    :ivar complaints: what its consoles said of policies that were violated, and of errors in scripts.
    """

    complaints: list[str] = field(factory=list)
    _stack: ExitStack = field(factory=ExitStack, init=False)
    _chromium: Any = field(default=None, init=False)

    def __enter__(self) -> Self:
        started = self._stack.enter_context(import_module("playwright.sync_api").sync_playwright())
        self._chromium = started.chromium.launch(executable_path=shutil.which("chromium"), args=list(_OPTIONS))
        self._stack.callback(self._chromium.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def page(self, width: int = 1280, height: int = 800, colors: str = "light") -> Any:
        """A page with cookies of its own."""
        context = self._chromium.new_context(
            ignore_https_errors=True, viewport={"width": width, "height": height}, color_scheme=colors
        )
        context.set_default_timeout(WAIT_MILLISECONDS)
        context.add_init_script(_WATCH)
        page = context.new_page()
        page.on("console", lambda message: self._heard(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    def _heard(self, text: str) -> None:
        if "CSP" in text or "Content Security Policy" in text or "TrustedHTML" in text:
            self.complaints.append(text)


def dropOn(page: Any, selector: str, *dropped: Path) -> None:
    """Drop files and folders on an element, as from the desktop."""
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    driver = page.context.new_cdp_session(page)
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + 20}
    data = {"items": [], "files": [str(path) for path in dropped], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        driver.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})


def limitUploads(page: Any, bytesPerSecond: int) -> None:
    """Have the browser send no faster; -1 for as fast as it can."""
    driver = page.context.new_cdp_session(page)
    driver.send("Network.enable")
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytesPerSecond}
    driver.send("Network.emulateNetworkConditions", conditions)


def inaccessible(page: Any) -> list[str]:
    """What axe-core finds serious, or worse, about a page as it is now."""
    page.evaluate(resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes'][:5]]}"
        for one in found["violations"]
        if one["impact"] in {"serious", "critical"}
    ]
