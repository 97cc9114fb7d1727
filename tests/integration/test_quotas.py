"""Quotas and speeds, as the clients of every protocol meet them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import NodeProcess, waitFor

from ..sharedclusters import ALONE
from . import talkers
from .clients import Client, needs, randomFile
from .talkers import CREATING, FOR_WRITING, TRUNCATING, FTPTalker, HTTPSTalker, SFTPTalker, string, uint64

QUOTA = 3_000_000
TOO_MUCH = bytes(QUOTA + 100_000)
PIECE = 30_000

RATE = 1_000_000
FILE_BYTES = 3_000_000
SHARE = 0.15
SLOWEST_SECONDS = 30
"""A machine that is busy with other tests may need this much longer; it never is quicker than the speed."""
PROTOCOLS = ("ftp", "sftp", "https")


class NodeTestCase(SynchronousTestCase):
    node: NodeProcess

    def setUp(self) -> None:
        cluster = ALONE.get()
        self.folder, self.node = cluster.folder, cluster.primary

    def user(self, name: str, **more: Any) -> Client:
        client = Client(name, "right horse", self.folder)
        mounts = [{"path": "/", "backend": "files", "folder": name}]
        self.node.apply({"users": [client.document(mounts=mounts, **more)]})
        return client


@needs("curl", "sftp")
class QuotaTests(NodeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.name = self._testMethodName[:20]
        self.alice = self.user(self.name, quota={"bytes": QUOTA, "files": 40})
        self.root = self.node.state / "files" / self.name

    def stored(self) -> tuple[int, int]:
        """What lies on the disk."""
        sizes = [path.stat().st_size for path in self.root.rglob("*") if path.is_file()]
        return sum(sizes), len(sizes)

    def used(self) -> tuple[int, int]:
        """What counts, when nothing is under way any more; it is what lies on the disk."""

        def exact() -> tuple[tuple[int, int]] | None:
            found = self.node.ask("GET", f"users/{self.name}/usage")
            counts = found["bytes"], found["files"]
            return (counts,) if counts == self.stored() else None

        return waitFor("the count is what lies on the disk", exact)[0]

    def test_everyProtocolSaysSoInItsWords(self) -> None:
        with FTPTalker(self.node, self.alice) as ftp:
            refused = ftp.send("STOR /f", TOO_MUCH)
            self.assertEqual((refused.answer, "quota exceeded" in refused.text.lower()), ("552", True), refused)
            self.assertEqual(self.used(), (0, 0))
            self.assertTrue(ftp.say(f"ALLO {len(TOO_MUCH)}").isDone)
            self.assertEqual(ftp.send("STOR /f", b"").answer, "552")
            self.assertTrue(ftp.send("STOR /f", b"fits").isDone)
            self.assertTrue(ftp.say("DELE /f").isDone)
        with SFTPTalker(self.node, self.alice) as sftp:
            handle = sftp.open("/f", FOR_WRITING | CREATING | TRUNCATING)
            written = 0
            while (answer := sftp.ask(talkers.WRITE, handle + uint64(written) + string(bytes(PIECE)))).isDone:
                written += PIECE
            self.assertEqual((answer.answer, answer.text, written), ("failure", "quota exceeded", QUOTA))
            self.assertEqual(sftp.ask(talkers.CLOSE, handle).answer, "failure")
            self.assertEqual(self.used(), (0, 0))
        with HTTPSTalker(self.node, self.alice) as https:
            refused = https.ask("PUT", "/f", TOO_MUCH)
            self.assertEqual((refused.answer, "quota exceeded" in refused.text), ("507", True), refused)
        local = Path(self.folder) / "local"
        local.write_bytes(TOO_MUCH)
        unsized = self.alice.https(self.node, "g", "-T", str(local), "-H", "Transfer-Encoding: chunked")
        self.assertIn(b"507", unsized.stderr)
        self.assertEqual(self.used(), (0, 0))

    def test_whateverBreaksTheCountIsExact(self) -> None:
        bob = self.user("bob")
        with HTTPSTalker(self.node, bob) as others, SFTPTalker(self.node, self.alice) as sftp:
            for turn in range(100):
                handle = sftp.open(f"/f{turn % 5}", FOR_WRITING | CREATING | TRUNCATING)
                sftp.ask(talkers.WRITE, handle + uint64(turn * 10) + string(bytes(PIECE)))
                if turn % 2:
                    sftp.ask(talkers.REMOVE, string(f"/f{turn % 5}"))
                sftp.ask(talkers.CLOSE, handle)
            for turn in range(10):
                handle = sftp.open(f"/cut{turn % 3}", FOR_WRITING | CREATING)
                sftp.ask(talkers.WRITE, handle + uint64(0) + string(bytes(PIECE)))
            sftp.cut()
            for _ in range(10):
                with FTPTalker(self.node, self.alice) as ftp:
                    connection = ftp.open("STOR /broken")
                    connection.sendall(bytes(PIECE))
            self.assertTrue(others.ask("PUT", "/f", TOO_MUCH).isDone)
        count, files = self.used()
        self.assertTrue(0 < count <= QUOTA and files <= 40)

    def test_manyAtOnceStayWithinTheQuota(self) -> None:
        def put(number: int) -> bool:
            with HTTPSTalker(self.node, self.alice) as https:
                return https.ask("PUT", f"/f{number}", bytes(10 * PIECE)).isDone

        with ThreadPoolExecutor(16) as pool:
            done = list(pool.map(put, range(50)))
        count, files = self.used()
        self.assertTrue(count <= QUOTA)
        self.assertEqual((count, files), (sum(done) * 10 * PIECE, sum(done)))
        with HTTPSTalker(self.node, self.alice) as https:
            name = f"/f{done.index(True)}"
            self.assertTrue(https.ask("PUT", name, bytes(10 * PIECE)).isDone)
            self.assertTrue(https.ask("DELETE", name).isDone)
        self.assertEqual(self.used(), (count - 10 * PIECE, files - 1))


@needs("curl", "sftp")
class SpeedTests(NodeTestCase):
    def timed(self, transfer: Callable[[], CompletedProcess[bytes]]) -> float:
        begin = time.monotonic()
        done = transfer()
        self.assertEqual(done.returncode, 0, done.stderr)
        return time.monotonic() - begin

    def test_everyProtocolKeepsToTheSpeed(self) -> None:
        limits = {"downloadBytesPerSecond": RATE, "uploadBytesPerSecond": RATE}
        clients = {protocol: self.user(protocol, limits=limits) for protocol in PROTOCOLS}
        local = randomFile(Path(self.folder) / "local", FILE_BYTES)

        def both(protocol: str) -> tuple[float, float]:
            client, fetched = clients[protocol], Path(self.folder) / f"{protocol}.fetched"
            up = self.timed(lambda: client.upload(protocol, self.node, local, "f"))
            down = self.timed(lambda: client.download(protocol, self.node, "f", fetched))
            self.assertEqual(fetched.read_bytes(), local.read_bytes())
            return up, down

        with ThreadPoolExecutor(3) as pool:
            times = dict(zip(PROTOCOLS, pool.map(both, PROTOCOLS), strict=True))
        for protocol, (up, down) in times.items():
            for seconds in (up, down):
                self.assertTrue((1 - SHARE) * 3 <= seconds <= SLOWEST_SECONDS, (protocol, times))

    def test_aNewSpeedHoldsForWhatIsUnderWay(self) -> None:
        alice = self.user("alice", limits={"downloadBytesPerSecond": FILE_BYTES // 60})
        (self.node.state / "files" / "alice").mkdir(parents=True, exist_ok=True)
        randomFile(self.node.state / "files" / "alice" / "f", FILE_BYTES)
        with ThreadPoolExecutor(1) as pool:
            taking = pool.submit(
                lambda: self.timed(lambda: alice.download("https", self.node, "f", Path(self.folder) / os.devnull))
            )
            time.sleep(1)
            self.node.ctl("user", "set", "alice", "limits.downloadBytesPerSecond=0")
            self.assertTrue(taking.result(60) < 50)
