"""Disks that are full, that fail, and that may only be read."""

from __future__ import annotations

import time
from functools import partial

from cftpcluster.testing.processes import PATIENCE_SECONDS, NodeProcess

from ..sharedclusters import whole
from .clusters import FaultCase, addUser, headOf, namesOf, shared, stateOf, waitFor
from .disks import DiskCluster, empty, failing, fill, needsDisks, remount
from .load import Changes, LogIns, Refusal, overFTP, overHTTPS, percentile, request
from .scale import choose, figure, within

SHARED = shared(partial(DiskCluster, ("node-a", "node-b")))


class DiskCase(FaultCase):
    shared = SHARED

    def setUp(self) -> None:
        super().setUp()
        self.a, self.b = self.nodes

    def heal(self) -> None:
        for node in self.nodes:
            empty(node)
        super().heal()

    def assertServes(self, node: NodeProcess) -> None:
        """Users log in and download, and the balancer is told to send them."""
        overFTP(node)
        overHTTPS(node)
        self.assertEqual(request(node, "GET", "kept"), (200, b"k" * 100_000))
        self.assertEqual(node.health("/readyz")[0], 200)

    def keep(self, node: NodeProcess) -> None:
        self.assertIn(request(node, "PUT", "kept", b"k" * 100_000)[0], (201, 204))

    def refusalOf(self, changes: Changes, number: int = 0) -> str:
        """What the next change is refused with; "" when it is acknowledged."""
        try:
            changes.once(number)
        except Refusal as refusal:
            return str(refusal)
        return ""

    def problemsOf(self, node: NodeProcess) -> str:
        """What the primary shows as the problems of a node."""
        return str(next(one["problems"] for one in self.a.status()["nodes"] if one["name"] == node.name))


@needsDisks
class FullDiskTests(DiskCase):
    def test_primaryRefusesChangesServesAndGetsOverIt(self) -> None:
        self.keep(self.a)
        fill(self.a)
        changes = Changes(self.a, "tight")
        refusal = waitFor("a change that does not fit", lambda: self.refusalOf(changes, len(changes.acknowledged)))
        self.assertIn("no room", refusal)
        before = headOf(self.a)
        done = self.a.run("user", "add", "tighter")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"no room", done.stderr)
        self.assertEqual(headOf(self.a), before)
        self.assertServes(self.a)
        self.assertIn(request(self.a, "PUT", "new", b"n" * 5_000_000)[0], (507, 413))
        self.assertServes(self.a)
        self.assertEqual(stateOf(self.a, "node-b"), "following")
        empty(self.a)
        addUser(self.a, "fits")
        self.equalWithin(5)
        self.assertIsNone(self.a.process and self.a.process.poll())
        self.assertNotIn("Traceback", self.a.log)

    def test_secondaryServesIsShownAndCatchesUp(self) -> None:
        self.keep(self.b)
        with Changes(self.a, "usual", 0.01) as usual:
            time.sleep(choose(1.0, 10.0))
        fill(self.b)
        with Changes(self.a, "full", 0.01) as changes:
            waitFor("the problem is shown", lambda: "no room" in self.problemsOf(self.b))
            time.sleep(choose(1.0, 10.0))
            self.assertServes(self.b)
        self.assertEqual(changes.reasons(), [])
        slow, fast = percentile(changes.seconds, 0.5), percentile(usual.seconds, 0.5)
        figure(f"a change, median: {fast * 1000:.1f} ms; while a secondary's disk is full: {slow * 1000:.1f} ms")
        empty(self.b)
        begun = time.monotonic()
        whole(self.cluster, within(5))
        figure(f"equal after a secondary's disk has room again: {time.monotonic() - begun:.1f} s")
        self.assertNotIn("no room", self.problemsOf(self.b))
        self.assertLessEqual(changes.acknowledged, namesOf(self.b, "full"))
        self.assertNotIn("Traceback", self.b.log)


@needsDisks
class FailingDiskTests(DiskCase):
    def test_primaryWhoseDiskFailsAppendsNothingUntilItIsRestarted(self) -> None:
        self.keep(self.a)
        before = headOf(self.a)
        with LogIns(self.a) as logIns:
            with failing(self.a, "fsync,fdatasync", "EIO"):
                self.assertIn("could not be written", self.refusalOf(Changes(self.a, "during")))
            self.assertIn("could not be written", self.refusalOf(Changes(self.a, "after")))
            self.assertServes(self.a)
            self.assertEqual(headOf(self.a), before)
            waitFor("log-ins went on", lambda: logIns.done > 1)
        self.assertEqual(logIns.reasons(), [])
        self.a.stop()
        self.a.start("primary")
        self.assertIn(headOf(self.a)[1], (before[1], before[1] + 1))
        whole(self.cluster)
        addUser(self.a, "later")
        self.equalWithin(10)

    def test_secondaryWhoseDiskFailsServesAndSaysSo(self) -> None:
        self.keep(self.b)
        with failing(self.b, "pwrite64,fdatasync", "EROFS"):
            addUser(self.a, "unheard")
            waitFor("the problem is shown", lambda: "could not be written" in self.problemsOf(self.b))
            self.assertServes(self.b)
        self.assertServes(self.b)
        self.b.stop()
        self.b.start("secondary")
        whole(self.cluster)
        self.assertIn("unheard", namesOf(self.b, "unheard"))


@needsDisks
class ReadOnlyTests(DiskCase):
    def test_nodeOnAReadOnlyDiskSaysSoInALine(self) -> None:
        self.b.stop()
        remount(self.b, "ro")
        try:
            said = len(self.b.log)
            self.b.spawn("secondary")
            assert self.b.process is not None
            self.assertNotEqual(self.b.process.wait(PATIENCE_SECONDS), 0)
            lines = [line for line in self.b.log[said:].splitlines() if line.startswith("cftpcluster: ")]
            self.assertEqual(len(lines), 1, self.b.log[said:])
            self.assertIn("Read-only", lines[0])
            self.assertNotIn("Traceback", self.b.log[said:])
        finally:
            remount(self.b, "rw")
