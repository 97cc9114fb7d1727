"""What holds on all nodes together, with real nodes and clients: bans, kicks, rights that end, limits of sessions.

One cluster serves all of it, since starting one takes longer than what is tried on it.
"""

from __future__ import annotations

import base64
import contextlib
import ftplib
import http.client
import json
import logging
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import paramiko
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import ClusterProcesses, NodeProcess, waitFor

PASSWORD = "right horse"
CLUSTER_SECONDS = 3.0
"""What was decided on one node holds on all after so long, beside other tests; `benchmarks/rules.py` measures it."""

PATIENT_SECONDS = 60.0

BAD, GOOD = "127.22.9.9", "127.22.9.10"

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # connections that end are what is tried

UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE

LOST = (EOFError, OSError, paramiko.SSHException, http.client.HTTPException, *ftplib.all_errors)


def ftp(node: NodeProcess, name: str, password: str = PASSWORD, source: str = GOOD) -> ftplib.FTP_TLS:
    """A control connection that is logged in."""
    client = ftplib.FTP_TLS(context=UNVERIFIED, timeout=30, source_address=(source, 0))
    client.connect(node.address, 2121)
    try:
        client.login(name, password)
    except Exception:
        client.close()
        raise
    return client


def sftp(node: NodeProcess, name: str, password: str = PASSWORD, source: str = GOOD) -> paramiko.Transport:
    """An SSH connection that is logged in."""
    transport = paramiko.Transport(socket.create_connection((node.address, 2222), 30, (source, 0)))
    try:
        transport.connect(username=name, password=password)
    except Exception:
        transport.close()
        raise
    return transport


def https(
    node: NodeProcess, method: str, path: str, body: Any = None, source: str = GOOD, **headers: str
) -> tuple[int, Any, dict[str, str]]:
    """Status, value and headers of one request."""
    client = http.client.HTTPSConnection(node.address, 8443, timeout=30, context=UNVERIFIED, source_address=(source, 0))
    try:
        data = None if body is None else json.dumps(body)
        client.request(method, f"/api/v1/{path}", data, {"Content-Type": "application/json", **headers})
        answer = client.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None, dict(answer.getheaders())
    finally:
        client.close()


def bans(node: NodeProcess) -> dict[str, Any]:
    """The bans that a node knows, by network."""
    return {one["network"]: one for one in node.ask("GET", "bans")["items"]}


def basic(name: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{PASSWORD}".encode()).decode()}


def cookie(node: NodeProcess, name: str) -> dict[str, str]:
    """The headers of a session."""
    status, _, headers = https(node, "POST", "login", {"name": name, "password": PASSWORD})
    assert status == 200, status
    return {"Cookie": headers["Set-Cookie"].partition(";")[0]}


def isRefused(attempt: Callable[[], object]) -> bool:
    """Whether a connection is ended without a word."""
    try:
        attempt()
    except LOST:
        return True
    return False


def ftpHasEnded(client: ftplib.FTP_TLS) -> bool:
    client.sock.settimeout(0.05)
    try:
        return client.sock.recv(1000) == b"" or ftpHasEnded(client)
    except (TimeoutError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True


class RulesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = ClusterProcesses()
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None, None, None)
        self.a, self.b, self.c = self.nodes = list(self.cluster.nodes.values())
        self.clients: list[Any] = []
        self.addCleanup(self.hangUp)

    def hangUp(self) -> None:
        for client in self.clients:
            with contextlib.suppress(Exception):
                client.close()
        self.clients.clear()

    def open(self, client: Any) -> Any:
        self.clients.append(client)
        return client

    def within(self, what: str, condition: Callable[[], Any]) -> float:
        """How long it took, which is not to be long."""
        started = time.monotonic()
        waitFor(what, condition, PATIENT_SECONDS)
        return time.monotonic() - started

    def sessions(self, node: NodeProcess, user: str) -> list[Any]:
        return list(node.ask("GET", f"sessions?user={user}")["items"])

    def test_rulesHoldOnAllNodes(self) -> None:
        self.cluster.startAll()
        mount = {"path": "/", "backend": "files", "folder": "x"}
        names = ("alice", "bob", "carol")
        users: list[dict[str, Any]] = [{"name": name, "password": PASSWORD, "mounts": [mount]} for name in names]
        users[2]["limits"] = {"sessions": 2}
        self.a.apply({"settings": {"banAfterFailures": 5}, "users": users})
        self.cluster.converged()
        for number, node in enumerate(self.nodes):
            node.ask("POST", "bans", {"network": f"198.51.100.{number}"})
        waitFor("rows of all nodes on all nodes", lambda: all(len(bans(node)) == 3 for node in self.nodes))
        seconds = {**self.bansMadeOnOneNode(), **self.kicks(), **self.disabledUsers()}
        self.rightsThatChange()
        self.limitOfSessions()
        self.whatSurvivesARestart()
        self.assertLess(sum(seconds.values()) / len(seconds), CLUSTER_SECONDS, seconds)

    # --- its parts

    def bansMadeOnOneNode(self) -> dict[str, float]:
        def fail(number: int) -> None:
            with contextlib.suppress(ftplib.all_errors[0]):
                ftp(self.a, "alice", "wrong", BAD)

        with ThreadPoolExecutor(5) as pool:
            list(pool.map(fail, range(5)))
        onC: dict[str, Callable[[], object]] = {
            "ftp": lambda: ftp(self.c, "alice", source=BAD),
            "sftp": lambda: sftp(self.c, "alice", source=BAD),
            "https": lambda: https(self.c, "GET", "files/", source=BAD, **basic("alice")),
        }
        seconds = {f"ban {name}": self.within(f"{name} refused", lambda t=t: isRefused(t)) for name, t in onC.items()}  # type: ignore[misc]
        ban = bans(self.b)[BAD]
        self.assertEqual((ban["node"], ban["by"]), ("node-a", ""))
        self.open(ftp(self.c, "alice"))
        self.open(sftp(self.c, "alice"))
        self.assertEqual(https(self.c, "GET", "files/", **basic("alice"))[0], 200)
        self.b.ask("DELETE", f"bans/{BAD}")
        self.within("let in again", lambda: not isRefused(lambda: self.open(ftp(self.c, "alice", source=BAD))))
        self.hangUp()
        return seconds

    def kicks(self) -> dict[str, float]:
        control, ssh, session = self.open(ftp(self.a, "bob")), self.open(sftp(self.a, "bob")), cookie(self.b, "bob")
        self.assertEqual(https(self.a, "GET", "files/", **session)[0], 200)
        waitFor("three sessions", lambda: len(self.sessions(self.c, "bob")) == 3)
        found = {one["protocol"]: one for one in self.sessions(self.c, "bob")}
        self.assertEqual(
            {name: one["node"] for name, one in found.items()}, {"ftp": "node-a", "sftp": "node-a", "https": "node-a"}
        )
        self.assertIn("paramiko", found["sftp"]["software"])
        ended: dict[str, Callable[[], bool]] = {
            "ftp": lambda: ftpHasEnded(control),
            "sftp": lambda: not ssh.is_active(),
            "https": lambda: https(self.a, "GET", "files/", **session)[0] == 401,
        }
        seconds = {}
        for name, hasEnded in ended.items():
            self.assertFalse(hasEnded())
            self.c.ask("DELETE", f"sessions/{found[name]['id']}")
            seconds[f"kick {name}"] = self.within(f"{name} ended", hasEnded)
        waitFor("ended on b", lambda: https(self.b, "GET", "files/", **session)[0] == 401)
        waitFor("none is left", lambda: self.sessions(self.b, "bob") == [])
        self.revoked = session
        return seconds

    def disabledUsers(self) -> dict[str, float]:
        control, ssh, session = (
            self.open(ftp(self.a, "alice")),
            self.open(sftp(self.b, "alice")),
            cookie(self.a, "alice"),
        )
        data, _ = control.ntransfercmd("STOR broken") if control.prot_p() else (None, None)
        assert data is not None
        data.sendall(b"x" * 300_000)
        self.assertEqual(https(self.b, "GET", "files/", **session)[0], 200)
        self.a.ask("PATCH", "users/alice", {"enabled": False})
        seconds = {
            "disabled ftp": self.within("ftp ended", lambda: ftpHasEnded(control)),
            "disabled sftp": self.within("sftp ended", lambda: not ssh.is_active()),
        }
        for node in (self.a, self.b):
            waitFor("refused", lambda node=node: https(node, "GET", "files/", **session)[0] == 401)
        data.close()
        self.hangUp()
        return seconds

    def rightsThatChange(self) -> None:
        def permit(*permissions: str) -> None:
            mount = {"path": "/", "backend": "files", "folder": "x", "permissions": permissions}
            self.a.ask("PATCH", "users/bob?wait=10", {"mounts": [mount]})

        permit("list", "download")
        control = self.open(ftp(self.c, "bob"))
        permit("list", "download", "upload")
        self.assertFalse(ftpHasEnded(control))
        permit("list")
        self.within("ended", lambda: ftpHasEnded(control))

    def limitOfSessions(self) -> None:
        first = self.open(ftp(self.a, "carol"))
        self.open(sftp(self.b, "carol"))
        waitFor("both known", lambda: len(self.sessions(self.c, "carol")) == 2)
        self.assertIn("421", str(self.assertRaises(ftplib.error_temp, ftp, self.c, "carol")))
        self.assertRaises(paramiko.SSHException, sftp, self.c, "carol")
        status, problem, _ = https(self.c, "GET", "files/", **basic("carol"))
        self.assertEqual((status, problem["detail"]), (429, "too many sessions of this user"))
        first.close()
        waitFor("one less", lambda: len(self.sessions(self.c, "carol")) == 1)
        for _ in range(20):
            self.assertEqual(https(self.c, "GET", "files/", **basic("carol"))[0], 200)
        self.hangUp()

    def whatSurvivesARestart(self) -> None:
        self.assertIn("banned for 3600 s", self.b.run("bans", "add", BAD, "--seconds", "3600").stdout.decode())
        self.c.ask("POST", "bans", {"network": GOOD, "seconds": 1})
        waitFor("banned on a", lambda: isRefused(lambda: ftp(self.a, "bob", source=BAD)))
        time.sleep(1.5)
        for node in self.nodes:
            node.kill()
        for node, role in zip(self.nodes, ("primary", "secondary", "secondary"), strict=True):
            node.spawn(role)
        for node in self.nodes:
            node.waitReady()
        for node in self.nodes:
            self.assertTrue(isRefused(lambda node=node: https(node, "GET", "files/", source=BAD, **basic("bob"))))  # type: ignore[misc]
            self.assertEqual(https(node, "GET", "files/", **self.revoked)[0], 401)
            self.assertEqual(https(node, "GET", "files/", **basic("bob"))[0], 200)
