"""Primaries that are replaced: while all is well, while they are gone, and on both sides of a partition."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial

from cftpcluster.testing.processes import waitFor

from .clusters import FaultCase, HostCluster, Shared, addUser, ask, headOf, isWhole, namesOf, stateOf, whole
from .load import Changes, LogIns, percentile
from .network import needsNetwork
from .scale import figure

SHARED = Shared(partial(HostCluster, ("node-a", "node-b", "node-c")))


@needsNetwork
class PromotionCase(FaultCase):
    shared = SHARED

    def setUp(self) -> None:
        super().setUp()
        self.cluster: HostCluster
        self.a, self.b, self.c = self.nodes
        self.hosts = [self.cluster.host(node) for node in self.nodes]

    def heal(self) -> None:
        self.cluster.network.heal()
        # The next test begins with another primary, or with a cluster of its own.
        self.shared.end()


class PlannedTests(PromotionCase):
    def test_nobodyNoticesThatThePrimaryIsAnother(self) -> None:
        with ExitStack() as stack:
            logIns = [stack.enter_context(LogIns(node)) for node in self.nodes]
            writers = [stack.enter_context(Changes(node, f"on-{node.name}-", 0.05)) for node in self.nodes]
            waitFor("the load is on", lambda: all(load.done for load in (*logIns, *writers)))
            begun = time.monotonic()
            self.a.ctl("node", "promote", "node-b")
            figure(f"promotion by agreement, under load, cftpctl included: {time.monotonic() - begun:.2f} s")
            before = [writer.done for writer in writers]
            waitFor("changes go on", lambda: all(now.done > old for now, old in zip(writers, before, strict=True)))
        whole(self.cluster)
        self.assertEqual(ask(self.c, "/api/v1/status")["primary"], "node-b")
        for load in logIns:
            self.assertEqual(load.reasons(), [])
        for writer in writers:
            # Between two primaries a node may say who the next one is; nothing else is refused.
            refused = writer.reasons()
            self.assertEqual([reason for reason in refused if "the primary is node-b" not in reason], [])
            self.assertLessEqual(len(refused), 1 if writer.node is self.a else 0)
            figure(
                f"a change on {writer.node.name} during it, longest: {percentile(writer.seconds, 1.0) * 1000:.0f} ms"
            )
            for node in self.nodes:
                self.assertLessEqual(writer.acknowledged, namesOf(node, writer.prefix))


class ForcedTests(PromotionCase):
    def test_whatTheOldPrimaryHadAloneIsKeptAsABranch(self) -> None:
        """It is cut off, goes on appending for those on its side, and comes back to a cluster that has another one."""
        with ExitStack() as stack:
            logIns = [stack.enter_context(LogIns(node)) for node in self.nodes]
            self.cluster.network.part(self.hosts[0], *self.hosts[1:])
            waitFor("node-b is alone", lambda: stateOf(self.b, "node-b") == "disconnected")
            addUser(self.a, "left")
            begun = time.monotonic()
            self.b.ctl("node", "promote", "node-b", "--force")
            figure(f"promotion by force, cftpctl included: {time.monotonic() - begun:.2f} s")
            waitFor("node-c follows", lambda: stateOf(self.c, "node-c") == "following", 10)
            addUser(self.b, "right")
            epoch = headOf(self.b)[0]
            self.cluster.network.heal()
            begun = time.monotonic()
            waitFor("all are equal", lambda: isWhole(self.cluster), 15)
            figure(f"equal after the old primary was reached again: {time.monotonic() - begun:.1f} s")
        self.assertEqual([load.reasons() for load in logIns], [[], [], []])
        self.assertEqual({headOf(node)[0] for node in self.nodes}, {epoch})
        for node in self.nodes:
            self.assertEqual((namesOf(node, "left"), namesOf(node, "right")), (set(), {"right"}))
        (branch,) = self.a.ctl("node", "branches")
        self.assertEqual(branch["changes"], 1)
        shown = self.a.run("node", "branch", "show", branch["id"])
        self.assertIn(b"left", shown.stdout)
        self.a.ctl("node", "branch", "apply", branch["id"])
        whole(self.cluster)
        self.assertEqual(namesOf(self.c, "left"), {"left"})

    def test_twoPrimariesOfOneEpochStopAppendingAndServe(self) -> None:
        # Every node by itself: two of them are promoted, and neither can know of the other.
        a, b, c = self.hosts
        self.cluster.network.part(a, b, c)
        self.cluster.network.part(b, c)
        for node in (self.b, self.c):
            waitFor("it is alone", lambda node=node: stateOf(node, node.name) == "disconnected")
            node.ctl("node", "promote", node.name, "--force")
            addUser(node, f"of-{node.name}")
        self.assertEqual(headOf(self.b)[0], headOf(self.c)[0])
        heads = [headOf(node) for node in (self.b, self.c)]
        with ExitStack() as stack:
            logIns = [stack.enter_context(LogIns(node)) for node in self.nodes]
            self.cluster.network.heal()
            for node in (self.b, self.c):
                waitFor("it appends no more", lambda node=node: node.run("user", "add", "nobody").returncode == 1, 20)
                self.assertTrue(ask(node, "/api/v1/status")["warnings"])
            self.assertEqual([headOf(node) for node in (self.b, self.c)], heads)
            waitFor("log-ins go on", lambda: all(load.done > 1 for load in logIns))
            self.b.ctl("node", "promote", "node-b", "--force")
            waitFor("all are equal", lambda: isWhole(self.cluster), 15)
        self.assertEqual([load.reasons() for load in logIns], [[], [], []])
        self.assertEqual(namesOf(self.a, "of-"), {"of-node-b"})
        (branch,) = self.c.ctl("node", "branches")
        self.assertGreaterEqual(branch["changes"], 1)
