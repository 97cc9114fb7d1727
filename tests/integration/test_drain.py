"""A node is drained, resumed and ended while clients of every protocol are in the middle of transfers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import ClusterProcesses, NodeProcess, program, waitFor

from .clients import Client, needs, randomFile, sha256

GRACE_SECONDS = 4
SIZE = 9_000_000
RATE = 1_000_000
"""Bytes per second, so that a transfer lasts about nine seconds."""


class Transfer(threading.Thread):
    """One transfer at a limited rate."""

    def __init__(self, name: str, run: Callable[[], subprocess.CompletedProcess[bytes]], file: Path) -> None:
        super().__init__(name=name)
        self._transfer, self.file = run, file
        self.done: subprocess.CompletedProcess[bytes] | None = None

    def run(self) -> None:
        self.done = self._transfer()


@needs("sftp", "curl")
class DrainTests(SynchronousTestCase):
    """One cluster for all of it: node-b is drained, by the word of node-a."""

    def setUp(self) -> None:
        self.cluster = ClusterProcesses(names=("node-a", "node-b", "node-c"))
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None, None, None)
        self.heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.heard.close)
        self.heard.bind(str(self.cluster.folder / "notify"))
        self.heard.setblocking(False)
        self.a, self.b, self.c = self.cluster.nodes.values()
        self.b.environment |= {"NOTIFY_SOCKET": str(self.cluster.folder / "notify"), "WATCHDOG_USEC": "2000000"}
        self.cluster.startAll()
        self.client = Client("alice", "correct horse", self.cluster.folder)
        mounts = [{"path": "/", "backend": "files", "folder": "alice"}]
        self.a.apply(
            {
                "users": [self.client.document(mounts=mounts)],
                "settings": {"drainGraceSeconds": GRACE_SECONDS, "drainSeconds": 40},
            }
        )
        self.cluster.converged()
        self.original = randomFile(self.cluster.folder / "original", SIZE)
        for name in ("ftp", "sftp", "https"):
            self.assertEqual(self.client.https(self.b, name, "-T", str(self.original)).returncode, 0)

    def transfers(self) -> list[Transfer]:
        """One of each protocol and direction, under way when this returns."""
        client, node, original = self.client, self.b, self.original
        slow = ("--limit-rate", str(RATE))
        kilobits = ("-l", str(RATE * 8 // 1000))
        stored = node.state / "files" / "alice"
        started = []
        for name, run, file in (
            ("ftp up", lambda: client.ftp(node, "ftp-up", "-T", str(original), *slow), stored / "ftp-up"),
            ("https up", lambda: client.https(node, "https-up", "-T", str(original), *slow), stored / "https-up"),
            ("sftp up", lambda: client.sftp(node, f"put {original} /sftp-up", options=kilobits), stored / "sftp-up"),
            ("ftp down", lambda: client.ftp(node, "ftp", "-o", self.local("ftp"), *slow), Path(self.local("ftp"))),
            (
                "https down",
                lambda: client.https(node, "https", "-o", self.local("web"), *slow),
                Path(self.local("web")),
            ),
            (
                "sftp down",
                lambda: client.sftp(node, f"get /sftp {self.local('ssh')}", options=kilobits),
                Path(self.local("ssh")),
            ),
        ):
            file.unlink(missing_ok=True)
            started.append(Transfer(name, run, file))
            started[-1].start()
        downloads = [one.file for one in started if one.name.endswith("down")]
        waitFor(
            "downloads under way",
            lambda: self.failed(started) or all(each.exists() and each.stat().st_size for each in downloads),
        )
        waitFor("uploads under way", lambda: len(list(stored.glob(".cftpcluster-part-*"))) == 3)
        return started

    def failed(self, transfers: list[Transfer]) -> bool:
        for one in transfers:
            if one.done is not None:
                self.fail(f"{one.name} ended: {one.done}")
        return False

    def local(self, name: str) -> str:
        return str(self.cluster.folder / f"copy-{name}")

    def assertWhole(self, transfers: list[Transfer]) -> None:
        expected = sha256(self.original)
        for one in transfers:
            one.join()
            assert one.done is not None
            self.assertEqual(one.done.returncode, 0, (one.name, one.done.stderr))
            self.assertEqual(sha256(one.file), expected, one.name)

    def states(self, node: NodeProcess) -> dict[str, str]:
        return {each["name"]: each["state"] for each in node.status()["nodes"]}

    def refusals(self) -> tuple[bytes, bytes, bytes]:
        """What new clients of FTP, SFTP and HTTPS are told."""
        with socket.create_connection((self.b.address, 2121), 10) as connection:
            ftp = b"".join(iter(lambda: connection.recv(4096), b""))
        options = ("-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oBatchMode=yes")
        target = ("-F", "/dev/null", "-p", "2222", *options, f"alice@{self.b.address}")
        ssh = subprocess.run(["ssh", *target], capture_output=True, check=False, timeout=30).stderr
        url = f"https://{self.b.address}:8443/api/v1/files/"
        web = subprocess.run(["curl", "-sSki", "--max-time", "10", url], capture_output=True, check=False).stdout
        return ftp, ssh, web

    def test_noTransferBreaksAndNewClientsAreToldPolitely(self) -> None:
        transfers = self.transfers()
        drain = subprocess.Popen(
            [program("cftpctl"), "--state-dir", str(self.a.state), "node", "drain", "node-b"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        waitFor("not ready", lambda: self.b.health("/readyz")[0] == 503)
        noticed = time.monotonic()
        self.assertEqual(json.loads(self.b.health("/readyz")[1])["reasons"], ["draining"])
        done = self.client.https(self.b, "")
        # A very busy machine may not come to it in time.
        self.assertTrue(done.returncode == 0 or time.monotonic() - noticed > GRACE_SECONDS / 2, done.stderr)
        waitFor("refusing", lambda: self.client.https(self.b, "").returncode != 0)
        ftp, ssh, web = self.refusals()
        self.assertTrue(ftp.startswith(b"421 "), ftp)
        self.assertIn(b"being taken out of service", ssh)
        head = web.partition(b"\r\n\r\n")[0].lower()
        self.assertIn(b" 503 ", head.splitlines()[0])
        self.assertIn(b"retry-after: ", head)
        self.assertIn(b"connection: close", head)
        # It follows the configuration, and a listener that starts now refuses as well.
        self.a.apply({"listeners": [{"name": "later", "kind": "ftp", "port": 2199, "tls": "optional"}]})
        self.cluster.converged()
        with socket.create_connection((self.b.address, 2199), 10) as connection:
            self.assertTrue(connection.recv(100).startswith(b"421 "))
        self.assertEqual(self.states(self.a)["node-b"], "draining")
        self.assertEqual(self.states(self.b)["node-b"], "draining")
        self.assertWhole(transfers)
        told, errors = drain.communicate(timeout=60)
        self.assertEqual((drain.returncode, told), (0, b"node-b is drained\n"), errors)
        self.assertIn(b"connections left", errors)
        self.a.ctl("node", "resume", "node-b")
        self.assertEqual(self.b.health("/readyz")[0], 200)
        self.assertEqual(self.client.ftp(self.b, "").returncode, 0)
        waitFor("following", lambda: self.states(self.a)["node-b"] == "following")
        self.endsByTermination()

    def endsByTermination(self) -> None:
        """The same by SIGTERM, as a service manager sees it; without the primary, which is gone."""
        self.a.kill()
        waitFor("disconnected", lambda: self.states(self.b)["node-b"] == "disconnected")
        # Another secondary takes it out of service, and back.
        self.assertEqual(self.c.ctl("node", "drain", "--timeout", "5", "node-b")["state"], "draining")
        self.assertEqual(self.b.health("/readyz")[0], 503)
        self.c.ctl("node", "resume", "node-b")
        waitFor("ready", lambda: self.b.health("/readyz")[0] == 200)
        self.hear()
        transfers = self.transfers()
        self.b.signal(signal.SIGTERM)
        self.assertWhole(transfers)
        assert self.b.process is not None
        self.assertEqual(self.b.process.wait(60), 0, self.b.log[-2000:])
        heard = self.hear()
        self.assertTrue(any("STOPPING=1" in each and "EXTEND_TIMEOUT_USEC=70000000" in each for each in heard), heard)
        self.assertIn("WATCHDOG=1", heard)
        self.assertTrue(any("draining" in each for each in heard if "STATUS=" in each), heard)

    def hear(self) -> list[str]:
        datagrams = []
        while True:
            try:
                datagrams.append(self.heard.recv(4096).decode())
            except BlockingIOError:
                return datagrams

    def test_supervisorHearsThatItIsReady(self) -> None:
        heard = self.hear()
        self.assertEqual(heard[0], "READY=1")
        self.assertTrue(any("STATUS=node-b: secondary, following" in each for each in heard), heard)
        self.b.signal(signal.SIGSTOP)
        time.sleep(1.5)
        self.hear()
        time.sleep(1.5)
        self.assertEqual(self.hear(), [])
        self.b.signal(signal.SIGCONT)
        waitFor("a sign of life", lambda: "WATCHDOG=1" in "".join(self.hear()))
        self.b.signal(signal.SIGTERM)
        self.b.signal(signal.SIGTERM)
        os.sched_yield()
        waitFor("second signal ends it at once", self.ended)

    def ended(self) -> bool:
        assert self.b.process is not None
        self.b.signal(signal.SIGTERM)
        return self.b.process.poll() is not None
