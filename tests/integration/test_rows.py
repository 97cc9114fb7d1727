"""What one node writes all nodes know, with real nodes: at once, without the primary, after restarts and absences.

One cluster serves all of it, since starting one takes longer than what is tried on it.
"""

from __future__ import annotations

import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import ClusterProcesses, NodeProcess, waitFor

PATIENT_SECONDS = 60.0
FAST_SECONDS = 1.0


def bans(node: NodeProcess) -> set[str]:
    """The addresses that a node lets nobody in from."""
    return {ban["network"] for ban in node.ask("GET", "bans")["items"]}


def row(node: NodeProcess, name: str) -> dict[str, Any]:
    """What a node says of another one."""
    (found,) = [each for each in node.ask("GET", "status")["nodes"] if each["name"] == name]
    return dict(found)


class SharedRowsTests(SynchronousTestCase):
    def banned(self, by: NodeProcess, address: str, *nodes: NodeProcess) -> float:
        """Ban an address on one node; seconds until the others know."""
        started = time.monotonic()
        by.ask("POST", "bans", {"network": address, "seconds": 600})
        for node in nodes:
            waitFor(f"{address} banned on {node.name}", lambda node=node: address in bans(node), PATIENT_SECONDS)
        return time.monotonic() - started

    def linked(self, *nodes: NodeProcess) -> None:
        """Wait until rows of each of these nodes reach each other one."""
        for number, by in enumerate(nodes):
            self.banned(by, f"198.18.{number}.{self.number}", *[node for node in nodes if node is not by])
        self.number += 1

    number = 1

    def test_whatOneNodeWritesAllNodesKnow(self) -> None:
        addresses = ["127.21.0.1", "127.21.0.2", "127.21.0.3"]
        with ClusterProcesses(addresses=addresses) as cluster:
            cluster.startAll()
            a, b, c = cluster.nodes.values()
            self.linked(a, b, c)
            self.atOnce(a, b, c)
            self.withoutThePrimary(a, b, c)
            self.afterRestarts(a, b, c)
            self.afterADamagedFile(b, c)

    def atOnce(self, a: NodeProcess, b: NodeProcess, c: NodeProcess) -> None:
        # Where the machine is busy one may be late; not several.
        seconds = sorted(self.banned(a, f"198.51.100.{number}", b, c) for number in range(1, 6))
        self.assertLess(seconds[2], FAST_SECONDS)

    def withoutThePrimary(self, a: NodeProcess, b: NodeProcess, c: NodeProcess) -> None:
        a.kill()
        seconds = sorted(self.banned(b, f"198.51.100.{number}", c) for number in range(11, 16))
        self.assertLess(seconds[2], FAST_SECONDS)
        waitFor("how c is, seen from b", lambda: row(b, "node-c")["state"] == "disconnected", PATIENT_SECONDS)
        waitFor("c's version, seen from b", lambda: row(b, "node-c")["version"], PATIENT_SECONDS)
        self.reachesWithoutThePrimary(b)

    def reachesWithoutThePrimary(self, b: NodeProcess) -> None:
        """An action on a third node, asked of a secondary."""
        b.ask("POST", "nodes/node-c/drain", {"seconds": 1})
        waitFor("c drains, as b knows", lambda: row(b, "node-c")["state"] == "draining", PATIENT_SECONDS)
        b.ask("POST", "nodes/node-c/resume", {})
        waitFor("c does not drain any more", lambda: row(b, "node-c")["state"] != "draining", PATIENT_SECONDS)

    def afterRestarts(self, a: NodeProcess, b: NodeProcess, c: NodeProcess) -> None:
        """All of them lie; the first that is back has everything from its own disk, the last from the others."""
        self.assertEqual(0, c.stop())
        missed = "198.51.100.21"
        self.banned(b, missed)
        # Nobody else knows it, and what is on disk is some hundredths of a second behind.
        time.sleep(0.5)
        b.kill()
        b.start("secondary", "--existing")
        self.assertLessEqual({"198.51.100.1", "198.51.100.11", missed}, bans(b))
        b.kill()
        c.start("secondary", "--existing")
        self.assertNotIn(missed, bans(c))
        b.start("secondary", "--existing")
        waitFor("c hears what it missed", lambda: missed in bans(c), PATIENT_SECONDS)
        a.start("primary", "--existing")
        waitFor("a hears what it missed", lambda: {missed, "198.51.100.15"} <= bans(a), PATIENT_SECONDS)
        self.linked(a, b, c)

    def afterADamagedFile(self, b: NodeProcess, c: NodeProcess) -> None:
        self.assertEqual(0, b.stop())
        database = b.state / "rows.db"
        self.assertEqual(0o600, database.stat().st_mode & 0o777)
        database.write_bytes(b"damaged" * 10_000)
        b.start("secondary", "--existing")
        self.assertIn("set aside", b.log)
        waitFor("b has its rows back", lambda: "198.51.100.11" in bans(b), PATIENT_SECONDS)
        self.banned(b, "198.51.100.31", c)
