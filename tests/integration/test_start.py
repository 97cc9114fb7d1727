"""A primary's first start, its end, and what keeps it from starting."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import (
    ClusterProcesses,
    NodeProcess,
    isListening,
    loopbackAddresses,
    program,
    waitFor,
)


class PrimaryAloneTests(SynchronousTestCase):
    def setUp(self) -> None:
        cluster = ClusterProcesses(["alone"])
        self.node = cluster.__enter__().primary
        self.cluster = cluster
        self.addCleanup(cluster.__exit__, None, None, None)

    def test_startsServesAndEnds(self) -> None:
        """One node for all of it: most of the time is its start."""
        self.isReadySoonAndSaysWhereEverythingIs()
        self.everyListenerAnswers()
        self.secondProcessOnTheSameStateIsRefusedInOneLine()
        self.terminationEndsWithZero()
        self.anotherRoleLaterIsOneWarning()

    def isReadySoonAndSaysWhereEverythingIs(self) -> None:
        started = time.monotonic()
        self.node.start("primary")
        taken = time.monotonic() - started
        # Generous on a busy machine; a quiet one takes well under 3 s.
        self.assertLess(taken, 30)
        waitFor("the log names the listeners", lambda: "8443" in self.node.log)
        for port in ("2121", "2990", "2222", "8443", "8444", "8789", "8790"):
            self.assertIn(port, self.node.log)
        self.assertIn(str(self.node.state / "initial-admin-password"), self.node.log)
        self.assertEqual((self.node.state / "initial-admin-password").stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.node.status()["nodes"][0]["state"], "primary")
        self.assertEqual(self.node.health("/livez")[0], 200)

    def everyListenerAnswers(self) -> None:
        for port in (2121, 2990, 2222, 8443, 8444, 8789, 8790):
            self.assertTrue(isListening(self.node.address, port), port)

    def secondProcessOnTheSameStateIsRefusedInOneLine(self) -> None:
        second = subprocess.run(
            [program("twistd"), "-n", "cftpcluster", "--role", "primary", "--state-dir", str(self.node.state)],
            capture_output=True,
            timeout=60,
            check=False,
            cwd=self.cluster.folder,
        )
        self.assertNotEqual(second.returncode, 0)
        self.assertEqual(second.stderr.count(b"\n"), 1, second.stderr)
        self.assertIn(b"in use", second.stderr)
        self.assertEqual(self.node.health("/readyz")[0], 200)

    def test_killedAtRandomMomentsOfTheFirstStartItStartsNextTime(self) -> None:
        chance = random.Random(20261122)
        for _ in range(6):
            self.node.spawn("primary")
            assert self.node.process is not None
            # The moment of the kill is what the test varies; nothing is waited for.
            try:
                self.node.process.wait(chance.uniform(0.2, 2.5))
            except subprocess.TimeoutExpired:
                self.node.kill()
            else:
                self.fail(f"ended by itself:\n{self.node.log[-2000:]}")
        self.node.start("primary")
        self.assertEqual(self.node.status()["epoch"], 1)

    def terminationEndsWithZero(self) -> None:
        self.node.apply({"settings": {"drainGraceSeconds": 0}})
        self.assertEqual(self.node.terminate(), 0, self.node.log[-2000:])
        self.assertNotIn("Traceback", self.node.log)

    def anotherRoleLaterIsOneWarning(self) -> None:
        self.node.start("secondary")
        self.assertEqual(self.node.status()["role"], "primary")
        self.assertIn("--role secondary", self.node.log)


class RefusedStartTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="cftpcluster-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def refused(self, *options: str) -> str:
        """The one line that a start with these options ends with."""
        done = subprocess.run(
            [program("twistd"), "-n", "cftpcluster", *options],
            capture_output=True,
            timeout=60,
            check=False,
            cwd=self.folder,
        )
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertEqual(done.stderr.count(b"\n"), 1, done.stderr)
        self.assertNotIn(b"Traceback", done.stdout)
        return done.stderr.decode()

    def test_roleIsRequired(self) -> None:
        self.assertIn("--role", self.refused())

    def test_unknownOptionIsNamed(self) -> None:
        self.assertIn("colour", self.refused("--role", "primary", "--colour", "blue"))

    def test_badAddressIsNamed(self) -> None:
        self.assertIn(
            "nowhere", self.refused("--role", "primary", "--state-dir", str(self.folder / "s"), "--bind", "nowhere")
        )

    def test_unusableStateFolderIsNamed(self) -> None:
        (self.folder / "file").write_text("")
        self.assertIn("file", self.refused("--role", "primary", "--state-dir", str(self.folder / "file" / "state")))

    def test_existingRefusesAnEmptyFolder(self) -> None:
        self.assertIn(
            "--existing", self.refused("--role", "primary", "--state-dir", str(self.folder / "s"), "--existing")
        )

    def test_secondaryWithoutATokenIsRefused(self) -> None:
        self.assertIn("token", self.refused("--role", "secondary", "--state-dir", str(self.folder / "s")))

    def test_notOneListenerCouldBind(self) -> None:
        # An address of TEST-NET-1, which no machine has.
        line = self.refused("--role", "primary", "--state-dir", str(self.folder / "s"), "--bind", "192.0.2.1")
        self.assertIn("192.0.2.1", line)


class DaemonTests(SynchronousTestCase):
    def test_withoutNodaemonItDaemonizes(self) -> None:
        with ClusterProcesses(["daemon"], addresses=loopbackAddresses(1)) as cluster:
            node = cluster.primary
            done = subprocess.run(
                [
                    program("twistd"),
                    "cftpcluster",
                    "--role",
                    "primary",
                    "--state-dir",
                    str(node.state),
                    "--bind",
                    node.address,
                ],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
                check=False,
                cwd=cluster.folder,
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            pid = int((node.state / "cftpcluster.pid").read_text())
            try:
                waitFor("ready", lambda: node.health("/readyz")[0] == 200)
                self.assertNotEqual(os.getsid(pid), os.getsid(0))
                self.assertIn("8443", (node.state / "cftpcluster.log").read_text())
            finally:
                os.kill(pid, signal.SIGTERM)
            waitFor("ended", lambda: _gone(node, pid))
            self.assertFalse((node.state / "cftpcluster.pid").exists())


def _gone(node: NodeProcess, pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
