"""What goes on while faults are injected: changes, log-ins and transfers, each in a thread that remembers how it went.

A failure is kept with its moment and its reason; what counts as one is for the test to say.
"""

from __future__ import annotations

import base64
import ftplib
import hashlib
import json
import os
import ssl
import threading
import time
from contextlib import AbstractContextManager, closing, nullcontext
from http.client import HTTPException, HTTPSConnection
from itertools import count
from typing import Any, Self

from cftpcluster.testing.processes import NodeProcess

from .clusters import PASSWORD, USER, HostNode

ANSWER_SECONDS = 15.0
_TROUBLE = (OSError, HTTPException, EOFError, ftplib.Error)


class Load(threading.Thread):
    """Does the same again and again until it is told to end; a context manager.

    :ivar done: how often it was done.
    :ivar seconds: how long each time took.
    :ivar failures: when each failure was, by the monotonic clock, and what it was.
    """

    def __init__(self, node: NodeProcess, pauseSeconds: float) -> None:
        super().__init__(daemon=True)
        self.node, self._pauseSeconds = node, pauseSeconds
        self.seconds: list[float] = []
        self.failures: list[tuple[float, str]] = []
        self._over = threading.Event()

    @property
    def done(self) -> int:
        return len(self.seconds)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self.join(60)

    def run(self) -> None:
        with beside(self.node):
            for number in count():
                begun = time.monotonic()
                try:
                    self.once(number)
                    self.seconds.append(time.monotonic() - begun)
                except _TROUBLE as error:
                    self.failures.append((begun, f"{type(error).__name__}: {error}"))
                if self._over.wait(self._pauseSeconds):
                    return

    def once(self, number: int) -> None:
        raise NotImplementedError

    def reasons(self, since: float = 0.0) -> list[str]:
        """What failed from some moment on."""
        return [reason for moment, reason in self.failures if moment >= since]


class Refusal(OSError):
    """The answer was no."""


class Changes(Load):
    """Adds users at a node's administration socket.

    :ivar acknowledged: the names that the node said are stored.
    """

    def __init__(self, node: NodeProcess, prefix: str, pauseSeconds: float = 0.05) -> None:
        super().__init__(node, pauseSeconds)
        self.prefix = prefix
        self.acknowledged: set[str] = set()
        self._connection: Any = None

    def once(self, number: int) -> None:
        name = f"{self.prefix}{number}"
        try:
            if self._connection is None:
                self._connection = self.node.connection()
            self._connection.request("PUT", f"/api/v1/users/{name}", b"{}", {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            body = answer.read()
        except _TROUBLE:
            self._connection = None
            raise
        if answer.status not in (200, 201):
            raise Refusal(f"{answer.status} {json.loads(body).get('detail', '')}")
        self.acknowledged.add(name)


class LogIns(Load):
    """Logs in, in turn over HTTPS and over FTP with TLS, and lists the folder."""

    def __init__(self, node: NodeProcess, pauseSeconds: float = 1.0) -> None:
        super().__init__(node, pauseSeconds)

    def once(self, number: int) -> None:
        (overHTTPS if number % 2 else overFTP)(self.node)


def beside(node: NodeProcess) -> AbstractContextManager[None]:
    """Where sockets are made that reach the node."""
    return node.network.inside() if isinstance(node, HostNode) else nullcontext()


def unverified() -> ssl.SSLContext:
    """TLS without a look at the certificate, which every cluster makes for itself."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def basic() -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}


def request(node: NodeProcess, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """One request to the file API, over a connection of its own."""
    with closing(HTTPSConnection(node.address, 8443, timeout=ANSWER_SECONDS, context=unverified())) as connection:
        connection.request(method, f"/api/v1/files/{path}", body, {**basic(), **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()


def overHTTPS(node: NodeProcess) -> None:
    status, body = request(node, "GET", "")
    if status != 200:
        raise Refusal(f"{status} {body[:100]!r}")


def overFTP(node: NodeProcess) -> None:
    with ftplib.FTP_TLS(context=unverified(), timeout=ANSWER_SECONDS) as client:
        client.connect(node.address, 2121)
        client.login(USER, PASSWORD)
        client.pwd()
        client.quit()


class Transfers(Load):
    """Uploads a file over HTTPS and fetches it again.

    :ivar mixed: the names whose contents were not what was acknowledged.
    """

    def __init__(self, node: NodeProcess, size: int = 300_000, pauseSeconds: float = 0.1) -> None:
        super().__init__(node, pauseSeconds)
        self._size = size
        self._stored: dict[str, str] = {}
        self.mixed: list[str] = []

    def once(self, number: int) -> None:
        name = f"{self.node.name}-{number % 5}"
        content = os.urandom(self._size)
        wanted = hashlib.sha256(content).hexdigest()
        # Until it is acknowledged, the old and the new contents are both right.
        self._stored.pop(name, None)
        status, body = request(self.node, "PUT", name, content)
        if status not in (201, 204):
            raise Refusal(f"{status} {body[:100]!r}")
        self._stored[name] = wanted
        status, body = request(self.node, "GET", name)
        if status != 200:
            raise Refusal(f"{status} {body[:100]!r}")
        if hashlib.sha256(body).hexdigest() != wanted:
            self.mixed.append(name)

    def check(self) -> None:
        """Compare everything that was acknowledged."""
        with beside(self.node):
            for name, wanted in self._stored.items():
                status, body = request(self.node, "GET", name)
                if status != 200 or hashlib.sha256(body).hexdigest() != wanted:
                    self.mixed.append(f"{name}: {status}")


def percentile(values: list[float], share: float) -> float:
    """The value that this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
