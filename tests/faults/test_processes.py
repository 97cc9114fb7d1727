"""Processes that are killed and stopped, whatever they are doing and whatever their role."""

from __future__ import annotations

import random
import signal
import time
from contextlib import ExitStack

from cftpcluster.testing.processes import NodeProcess

from ..sharedclusters import whole
from .clusters import FaultCase, headOf, namesOf, stateOf, waitFor
from .load import Changes, LogIns, Transfers
from .scale import choose, figure, within

EQUAL_SECONDS = 5.0
PAUSE_SECONDS = choose(0.05, 0.01)
"""Between changes: what they cost is taken from the tests beside."""


class RandomTests(FaultCase):
    ROUNDS = choose(5, 100)

    def test_killsAndPausesOfAnyRoleLoseNothingAcknowledged(self) -> None:
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        said = {node.name: len(node.log) for node in self.nodes}
        with ExitStack() as stack:
            writers = [stack.enter_context(Changes(node, f"w-{node.name}-", PAUSE_SECONDS)) for node in self.nodes[:2]]
            transfers = [stack.enter_context(Transfers(node)) for node in self.nodes]
            for number in range(self.ROUNDS):
                waitFor("changes go on", lambda before=writers[0].done: writers[0].done > before + 3)
                # Each role in turn, so that even few rounds reach them all.
                self.harm(chance, self.nodes[number % 3], stops=bool(number % 5 % 2))
        slowest = self.equalWithin(EQUAL_SECONDS)
        figure(f"equal after {self.ROUNDS} kills and pauses under load: {slowest:.1f} s")
        for load in transfers:
            load.check()
            self.assertEqual(load.mixed, [], seed)
            self.assertGreater(load.done, 0)
        for writer in writers:
            self.assertGreater(writer.done, 5)
            for node in self.nodes:
                lost = writer.acknowledged - namesOf(node, writer.prefix)
                self.assertEqual(lost, set(), f"acknowledged by {writer.node.name}, not on {node.name}; seed {seed}")
            # What was never answered may have been stored: at most one change at each end.
            more = namesOf(self.primary, writer.prefix) - writer.acknowledged
            self.assertLessEqual(len(more), len(writer.failures), seed)
        for node in self.nodes:
            self.assertNotIn("Traceback", node.log[said[node.name] :], node.name)

    def harm(self, chance: random.Random, node: NodeProcess, stops: bool) -> None:
        if stops:
            node.signal(signal.SIGSTOP)
            time.sleep(chance.uniform(0.2, 2.0))
            node.signal(signal.SIGCONT)
        else:
            time.sleep(chance.uniform(0.0, 0.2))
            node.kill()
            node.start("primary" if node is self.primary else "secondary")


class PrimaryKilledTests(FaultCase):
    KILLS = choose(6, 20)

    def test_whateverWasAcknowledgedIsThereAfterEachKill(self) -> None:
        acknowledged: set[str] = set()
        for number in range(self.KILLS):
            with Changes(self.primary, f"round{number}-", 0.0) as changes:
                enough = 3 + number % 7
                waitFor("some changes", lambda changes=changes, enough=enough: changes.done >= enough)
                self.primary.kill()
            acknowledged |= changes.acknowledged
            self.primary.start("primary")
            self.assertLessEqual(acknowledged, namesOf(self.primary, "round"))
        whole(self.cluster)
        for node in self.nodes:
            self.assertLessEqual(acknowledged, namesOf(node, "round"))


class PausedPrimaryTests(FaultCase):
    SECONDS = choose(3, 30)

    def test_othersServeAndNobodyIsPromoted(self) -> None:
        epoch = headOf(self.primary)[0]
        with ExitStack() as stack:
            logIns = [stack.enter_context(LogIns(node)) for node in self.secondaries]
            self.primary.signal(signal.SIGSTOP)
            for node in self.secondaries:
                waitFor("it is noticed", lambda node=node: stateOf(node, node.name) == "disconnected")
            time.sleep(self.SECONDS)
            for node in self.secondaries:
                self.assertEqual(stateOf(node, node.name), "disconnected")
                self.assertEqual(headOf(node)[0], epoch)
            self.primary.signal(signal.SIGCONT)
            begun = time.monotonic()
            whole(self.cluster, within(EQUAL_SECONDS))
            figure(
                f"all follow again after the primary was paused for {self.SECONDS} s: {time.monotonic() - begun:.1f} s"
            )
        self.assertEqual([load.reasons() for load in logIns], [[], []])
        self.assertEqual(headOf(self.primary)[0], epoch)


class BackFromTheLogTests(FaultCase):
    KILLS = choose(3, 100)

    def test_secondaryKilledWhileItAppliesGoesOnFromItsOwnRevision(self) -> None:
        """No snapshot is pulled while the primary's journal still has what is missing."""
        victim = self.secondaries[1]
        before = victim.log.count("snapshot")
        with Changes(self.primary, "applied", PAUSE_SECONDS) as changes:
            for _ in range(self.KILLS):
                waitFor("changes go on", lambda before=changes.done: changes.done > before + 10)
                held = headOf(victim)[1]
                victim.kill()
                victim.start("secondary")
                self.assertGreaterEqual(headOf(victim)[1], held)
        self.equalWithin(EQUAL_SECONDS)
        self.assertEqual(changes.reasons(), [])
        self.assertLessEqual(changes.acknowledged, namesOf(victim, "applied"))
        self.assertEqual(victim.log.count("snapshot"), before)
