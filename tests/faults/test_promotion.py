"""Primaries that are replaced: while all is well, while they are gone, and on both sides of a partition."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack

from cftpcluster.testing.processes import NodeProcess

from ..sharedclusters import isWhole, whole
from .clusters import HOSTS, FaultCase, HostCluster, addUser, headOf, namesOf, stateOf, waitFor
from .load import Changes, LogIns
from .network import needsNetwork
from .scale import figure, within


@needsNetwork
class PromotionCase(FaultCase):
    """Whoever is primary when a test begins is ``old``; ``new`` and ``other`` follow."""

    shared = HOSTS

    def setUp(self) -> None:
        super().setUp()
        self.cluster: HostCluster
        self.old, self.new, self.other = self.nodes

    def part(self, node: NodeProcess, *others: NodeProcess) -> None:
        self.cluster.network.part(self.cluster.host(node), *map(self.cluster.host, others))

    def healed(self) -> None:
        """The network is whole again; and soon all nodes are."""
        self.cluster.network.heal()
        begun = time.monotonic()
        waitFor("all are equal", lambda: isWhole(self.cluster), within(15))
        figure(f"equal after a primary that was replaced by force was reached again: {time.monotonic() - begun:.1f} s")

    def force(self, node: NodeProcess) -> None:
        begun = time.monotonic()
        node.ctl("node", "promote", node.name, "--force")
        figure(f"promotion by force, cftpctl included: {time.monotonic() - begun:.1f} s")


class PlannedTests(PromotionCase):
    def test_nobodyNoticesThatThePrimaryIsAnother(self) -> None:
        with ExitStack() as stack:
            logIns = [stack.enter_context(LogIns(node)) for node in self.nodes]
            writers = [stack.enter_context(Changes(node, f"on-{node.name}-", 0.05)) for node in self.nodes]
            waitFor("the load is on", lambda: all(load.done for load in (*logIns, *writers)))
            begun = time.monotonic()
            self.old.ctl("node", "promote", self.new.name)
            figure(f"promotion by agreement, under load, cftpctl included: {time.monotonic() - begun:.1f} s")
            before = [writer.done for writer in writers]
            waitFor("changes go on", lambda: all(now.done > old for now, old in zip(writers, before, strict=True)))
        whole(self.cluster)
        self.assertEqual(self.other.status()["primary"], self.new.name)
        for load in logIns:
            self.assertEqual(load.reasons(), [], load.node.name)
        for writer in writers:
            # Where the machine is so busy that the new link dies again, a node says so; that is all that it may say.
            refused = writer.reasons()
            self.assertEqual([each for each in refused if not re.search("no link to|cannot be reached", each)], [])
            self.assertLess(len(refused), 10, refused)
            figure(f"changes refused on {writer.node.name} during it: {len(refused)}")
            figure(f"longest change on {writer.node.name} during it: {max(writer.seconds) * 1000:.0f} ms")
            for node in self.nodes:
                self.assertLessEqual(writer.acknowledged, namesOf(node, writer.prefix))


class ForcedTests(PromotionCase):
    def test_whatTheOldPrimaryHadAloneIsKeptAsABranch(self) -> None:
        """It is cut off, goes on appending for those on its side, and comes back to a cluster that has another one."""
        with ExitStack() as stack:
            logIns = [stack.enter_context(LogIns(node)) for node in self.nodes]
            self.part(self.old, self.new, self.other)
            waitFor("it is noticed", lambda: stateOf(self.new, self.new.name) == "disconnected")
            addUser(self.old, "left")
            self.force(self.new)
            waitFor("the other follows", lambda: stateOf(self.other, self.other.name) == "following")
            addUser(self.new, "right")
            epoch = headOf(self.new)[0]
            self.healed()
        self.assertEqual([load.reasons() for load in logIns], [[], [], []])
        self.assertEqual({headOf(node)[0] for node in self.nodes}, {epoch})
        for node in self.nodes:
            self.assertEqual((namesOf(node, "left"), namesOf(node, "right")), (set(), {"right"}))
        (branch,) = self.old.ctl("node", "branches")
        self.assertEqual(branch["changes"], 1)
        self.assertIn(b"left", self.old.run("node", "branch", "show", branch["id"]).stdout)
        self.old.ctl("node", "branch", "apply", branch["id"])
        whole(self.cluster)
        self.assertEqual(namesOf(self.other, "left"), {"left"})

    def test_twoPrimariesOfOneEpochStopAppendingAndServe(self) -> None:
        # Every node by itself: two of them are promoted, and neither can know of the other.
        self.part(self.old, self.new, self.other)
        self.part(self.new, self.other)
        rivals = (self.new, self.other)
        for node in rivals:
            waitFor("it is alone", lambda node=node: stateOf(node, node.name) == "disconnected")
            self.force(node)
            addUser(node, f"of-{node.name}")
        self.assertEqual(headOf(self.new)[0], headOf(self.other)[0])
        with ExitStack() as stack:
            logIns = [stack.enter_context(LogIns(node)) for node in self.nodes]
            self.cluster.network.heal()
            for node in rivals:
                waitFor("it knows", lambda node=node: len(node.status()["warnings"]) > 1)
            heads = [headOf(node) for node in rivals]
            for node in rivals:
                self.assertEqual(node.run("user", "add", "nobody").returncode, 1)
            self.assertEqual([headOf(node) for node in rivals], heads)
            waitFor("log-ins go on", lambda: all(load.done > 1 for load in logIns))
            self.force(self.new)
            self.healed()
        self.assertEqual([load.reasons() for load in logIns], [[], [], []])
        self.assertEqual(namesOf(self.old, "of-"), {f"of-{self.new.name}"})
        self.assertTrue(self.other.ctl("node", "branches"))
