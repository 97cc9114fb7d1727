"""Real nodes whose primary is moved, killed, stopped, wiped and promoted twice. One cluster goes through all of it."""

from __future__ import annotations

import ftplib
import shutil
import signal
import ssl
import threading
import time
from collections.abc import Callable
from http.client import HTTPException

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import ClusterProcesses, NodeProcess, waitFor

PASSWORD = "correct horse"


class Repeated(threading.Thread):
    """Does something again and again until it is told to stop.

    :ivar done: how often it went well.
    :ivar failures: what went wrong.
    :ivar slowest: the longest that one took, in seconds.
    """

    def __init__(self, work: Callable[[int], None]) -> None:
        super().__init__(daemon=True)
        self.done, self.slowest = 0, 0.0
        self.failures: list[str] = []
        self._work, self._over = work, threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            try:
                self._work(self.done)
                self.done += 1
            except (OSError, EOFError, HTTPException, AssertionError, ftplib.Error) as error:
                self.failures.append(repr(error))
            self.slowest = max(self.slowest, time.monotonic() - began)

    def end(self) -> None:
        self._over.set()
        self.join(60)


def change(node: NodeProcess, prefix: str) -> Callable[[int], None]:
    def work(number: int) -> None:
        status, answer = node.request("PUT", f"users/{prefix}{number}", {"enabled": True})
        if status not in (200, 201):
            raise AssertionError(f"{node.name}: {status} {answer}")

    return work


def logIn(node: NodeProcess) -> Callable[[int], None]:
    context = ssl._create_unverified_context()

    def work(number: int) -> None:
        with ftplib.FTP_TLS(context=context, timeout=20) as ftp:
            ftp.connect(node.address, 2121)
            ftp.login("alice", PASSWORD)

    return work


class PromotionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = ClusterProcesses(["node-a", "node-b", "node-c"])
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None, None, None)
        self.cluster.startAll()
        self.a, self.b, self.c = self.cluster.nodes.values()
        self.a.apply(
            {"users": [{"name": "alice", "password": PASSWORD, "mounts": [{"path": "/", "backend": "files"}]}]}
        )
        self.cluster.converged()

    def test_primaryMovesAndNothingIsLost(self) -> None:
        self.plannedUnderLoad()
        self.forcedWithoutTheOldOne()
        self.oldPrimaryWakesUp()
        self.startedAlone()
        self.promotedOnBothSides()
        self.wiped()

    # --- what all agree on

    def assertPrimary(self, primary: NodeProcess, epoch: int, *others: NodeProcess) -> None:
        def agree() -> bool:
            statuses = [node.status() for node in (primary, *others)]
            places = {(status["primary"], status["epoch"], status["chainHash"]) for status in statuses}
            own = [next(row for row in status["nodes"] if row["name"] == status["node"]) for status in statuses]
            states = [row["state"] for row in own]
            wanted = ["primary", *["following"] * len(others)]
            return states == wanted and {place[:2] for place in places} == {(primary.name, epoch)} and len(places) == 1

        waitFor(f"{primary.name} is primary of epoch {epoch}", agree)

    def users(self, node: NodeProcess) -> set[str]:
        return {user["name"] for user in node.export()["users"]}

    def add(self, node: NodeProcess, name: str) -> None:
        change(node, name)(0)

    def assertComes(self, users: set[str], node: NodeProcess) -> None:
        waitFor(f"{node.name} has {users}", lambda: users <= self.users(node))

    # --- the story

    def plannedUnderLoad(self) -> None:
        """From another node, while all three take changes and log-ins."""
        nodes = (self.a, self.b, self.c)
        writers = [Repeated(change(node, f"planned-{node.name}-")) for node in nodes]
        loads = [*writers, *(Repeated(logIn(node)) for node in nodes)]
        for load in loads:
            load.start()
        waitFor("everything is under way", lambda: all(load.done for load in loads))
        answer = self.c.ctl("node", "promote", "node-b")
        before = [load.done for load in loads]
        waitFor(
            "everything goes on", lambda: all(load.done > done + 2 for load, done in zip(loads, before, strict=True))
        )
        for load in loads:
            load.end()
        self.assertEqual([load.failures for load in loads], [[]] * len(loads))
        self.assertEqual((answer["promoted"], answer["epoch"], answer["acknowledged"]), ("node-b", 2, True))
        self.assertPrimary(self.b, 2, self.a, self.c)
        made = {
            f"planned-{node.name}-{n}" for node, writer in zip(nodes, writers, strict=True) for n in range(writer.done)
        }
        self.assertEqual(made - self.users(self.a), set())

    def forcedWithoutTheOldOne(self) -> None:
        """It is killed with a change that it acknowledged and nobody else has."""
        for node in (self.a, self.c):
            node.kill()
        self.add(self.b, "lonely")
        self.b.kill()
        for node in (self.a, self.c):
            node.start("secondary")
        refused = self.c.run("node", "promote", "node-a")
        self.assertEqual(refused.returncode, 1)
        self.assertIn(b"--force", refused.stderr)
        answer = self.a.ctl("node", "promote", "node-a", "--force")
        self.assertEqual((answer["epoch"], answer["notReached"]), (3, ["node-b"]))
        self.assertIn("node-b", answer["mayBeMissing"][0])
        self.add(self.c, "after")
        self.b.start("secondary")
        self.assertPrimary(self.a, 3, self.b, self.c)
        self.assertNotIn("lonely0", self.users(self.b))
        (branch,) = self.c.ctl("node", "branches", "--node", "node-b")
        shown = self.b.ctl("node", "branch", "show", branch["id"])
        self.assertEqual([(part["name"], part["state"]) for part in shown["parts"]], [("users/lonely0", "open")])
        self.b.ctl("node", "branch", "apply", branch["id"])
        self.b.ctl("node", "branch", "discard", branch["id"])
        self.assertComes({"lonely0"}, self.a)
        self.assertEqual(self.b.ctl("node", "branches"), [])

    def oldPrimaryWakesUp(self) -> None:
        """It slept while another one was promoted, and changes that it is asked for go to that one."""
        self.a.signal(signal.SIGSTOP)
        waitFor("node-a is missed", lambda: self.warns(self.c, "disconnected"))
        self.c.ctl("node", "promote", "node-c", "--force")
        self.add(self.c, "asleep")
        self.a.signal(signal.SIGCONT)
        self.assertPrimary(self.c, 4, self.a, self.b)
        self.add(self.a, "awake")
        self.assertComes({"asleep0", "awake0"}, self.b)

    def startedAlone(self) -> None:
        for node in (self.a, self.b, self.c):
            node.kill()
        self.c.start("secondary")
        waitFor("it knows that nobody answers", lambda: self.warns(self.c, "unconfirmed"))
        status, body = self.c.health("/readyz")
        self.assertEqual(status, 200)
        self.assertIn(b"unconfirmed", body)
        refused = self.c.run("user", "add", "nobody")
        self.assertEqual(refused.returncode, 1)
        self.assertIn(b"unconfirmed", refused.stderr)
        logIn(self.c)(0)
        self.a.start("secondary")
        waitFor("it is confirmed", lambda: not self.warns(self.c, "unconfirmed"))
        self.assertPrimary(self.c, 4, self.a)
        self.add(self.a, "confirmed")
        self.b.start("secondary")
        self.assertPrimary(self.c, 4, self.a, self.b)

    def promotedOnBothSides(self) -> None:
        for node in (self.a, self.b, self.c):
            node.kill()
        for node in (self.a, self.b):
            node.start("secondary")
            self.assertEqual(node.request("POST", f"nodes/{node.name}/promote", {"force": True})[0], 200)
            self.add(node, f"side-{node.name}-")
            node.kill()
        for node in (self.a, self.b):
            node.start("secondary")
        for node in (self.a, self.b):
            waitFor("both know", lambda node=node: self.warns(node, "two histories"))
            self.assertEqual(node.request("PUT", "users/nobody", {"enabled": True})[0], 503)
            self.assertIn(b"two histories", node.health("/readyz")[1])
        answer = self.b.ctl("node", "promote", "node-b", "--force")
        self.assertEqual(answer["epoch"], 6)
        self.assertPrimary(self.b, 6, self.a)
        self.c.start("secondary")
        self.assertPrimary(self.b, 6, self.a, self.c)
        self.assertNotIn("side-node-a-0", self.users(self.a))
        (branch,) = self.a.ctl("node", "branches")
        self.a.ctl("node", "branch", "apply", branch["id"])
        self.a.ctl("node", "branch", "discard", branch["id"])
        self.assertComes({"side-node-a-0", "side-node-b-0"}, self.c)

    def wiped(self) -> None:
        """The primary comes back with an empty disk: its followers keep what they have and say so."""
        kept = self.users(self.c)
        self.b.kill()
        shutil.rmtree(self.b.state)
        self.b.start("primary")
        problem = waitFor("it is refused", lambda: self.problems(self.c))
        self.assertTrue(problem)
        self.assertEqual(self.users(self.c), kept)
        self.assertEqual(self.c.health("/readyz")[0], 200)
        self.b.stop()
        self.a.ctl("node", "promote", "node-a", "--force")
        self.assertPrimary(self.a, 7, self.c)
        self.assertEqual(self.users(self.c), kept)

    def warns(self, node: NodeProcess, of: str) -> bool:
        return of in str(node.status()["warnings"])

    def problems(self, node: NodeProcess) -> list[str]:
        rows = node.status()["nodes"]
        problems: list[str] = next(row["problems"] for row in rows if row["name"] == node.name)
        return problems
