"""Nodes that come and go under load, and primaries that come back with less than they had."""

from __future__ import annotations

import shutil

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import PATIENCE_SECONDS, ClusterProcesses, NodeProcess, loopbackAddresses

from ..sharedclusters import whole
from .clusters import FaultCase, addUser, headOf, namesOf, stateOf, waitFor
from .load import Changes, LogIns
from .scale import choose, figure, within


class MembershipTests(FaultCase):
    COMING = choose(2, 20)

    def test_nodesComeAndGoUnderLoadAndLoseNothing(self) -> None:
        a, b, _ = self.nodes
        with Changes(a, "moving", choose(0.05, 0.02)) as changes, LogIns(b) as logIns:
            for number in range(self.COMING):
                name = f"guest-{number}"
                guest = NodeProcess(name, loopbackAddresses(1)[0], self.cluster.folder / name)
                self.cluster.nodes[name] = guest
                try:
                    self.cluster.join(guest)
                    waitFor(f"{name} follows", lambda name=name: stateOf(a, name) == "following")
                    held = headOf(guest)[1]
                    waitFor("it takes what comes", lambda guest=guest, held=held: headOf(guest)[1] > held + 3)
                    a.ctl("node", "remove", name)
                    removed = changes.done
                    waitFor(
                        "it is out",
                        lambda guest=guest, name=name: stateOf(guest, name) in ("refused", "disconnected"),
                        within(5),
                    )
                    waitFor("changes go on", lambda removed=removed: changes.done > removed + 20)
                    self.assertLess(headOf(guest)[1], headOf(a)[1])
                finally:
                    guest.kill()
                    del self.cluster.nodes[name]
        whole(self.cluster)
        self.assertEqual((changes.reasons(), logIns.reasons()), ([], []))
        for node in (a, b):
            self.assertLessEqual(changes.acknowledged, namesOf(node, "moving"))
        self.assertEqual({node["name"] for node in a.status()["nodes"]}, {node.name for node in self.nodes})
        figure(f"{self.COMING} nodes joined and were removed under load: {changes.done} changes, none refused or lost")


class PrimaryComesBackTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = ClusterProcesses(("node-a", "node-b"))
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None, None, None)
        self.a, self.b = self.cluster.nodes.values()
        self.a.start("primary")
        self.cluster.join(self.b)
        addUser(self.a, "early")
        whole(self.cluster)

    def test_rolledBackPrimaryTakesWhatOthersHaveFirst(self) -> None:
        """An older copy of its state folder costs nothing that another node has."""
        self.a.stop()
        copy = self.cluster.folder / "copy"
        shutil.copytree(self.a.state, copy, ignore=shutil.ignore_patterns("admin.sock"))
        self.a.start("primary")
        whole(self.cluster)
        addUser(self.a, "late")
        whole(self.cluster)
        head = headOf(self.b)
        self.a.kill()
        shutil.rmtree(self.a.state)
        copy.rename(self.a.state)
        self.a.start("primary")
        whole(self.cluster)
        self.assertEqual(headOf(self.a), head)
        addUser(self.a, "later")
        whole(self.cluster)
        self.assertEqual(namesOf(self.b, "late"), {"late", "later"})

    def test_wipedPrimaryEmptiesNobody(self) -> None:
        head = headOf(self.b)
        self.a.kill()
        shutil.rmtree(self.a.state)
        refused = self.a.run("status")
        self.assertNotEqual(refused.returncode, 0)
        # With --existing, as a unit has it, it does not even start; without, it founds a cluster of its own.
        self.a.spawn("primary", "--existing")
        assert self.a.process is not None
        self.assertEqual(self.a.process.wait(PATIENCE_SECONDS), 1)
        self.a.start("primary")
        waitFor("the other refuses it", lambda: stateOf(self.b, "node-b") in ("refused", "disconnected"))
        self.assertEqual(headOf(self.b), head)
        self.assertEqual(namesOf(self.b, "early"), {"early"})
        self.assertEqual(self.b.health("/readyz")[0], 200)
