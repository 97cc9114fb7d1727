"""Schedules by their seeds: whatever happens in them, the cluster keeps its promises.

A failing one names its seed, and the command that replays it.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from .actions import Actions
from .plan import Plan, makePlan
from .run import report, runPlan, runSeeds, shrunk
from .world import World

EACH = 25


class ScheduleTests(SynchronousTestCase):
    """Ten parts, so that several processes share them; ``tox run -e simulation`` runs ten thousand."""

    def assertKeepsItsPromises(self, part: int) -> None:
        outcomes = list(runSeeds(range(part * EACH, (part + 1) * EACH)))
        failures = [report(outcome) for outcome in outcomes if outcome.violations]
        self.assertEqual(failures, [], "\n" + "\n".join(failures))
        self.assertGreater(sum(outcome.acknowledged for outcome in outcomes), 10 * EACH)

    def test_part0(self) -> None:
        self.assertKeepsItsPromises(0)

    def test_part1(self) -> None:
        self.assertKeepsItsPromises(1)

    def test_part2(self) -> None:
        self.assertKeepsItsPromises(2)

    def test_part3(self) -> None:
        self.assertKeepsItsPromises(3)

    def test_part4(self) -> None:
        self.assertKeepsItsPromises(4)

    def test_part5(self) -> None:
        self.assertKeepsItsPromises(5)

    def test_part6(self) -> None:
        self.assertKeepsItsPromises(6)

    def test_part7(self) -> None:
        self.assertKeepsItsPromises(7)

    def test_part8(self) -> None:
        self.assertKeepsItsPromises(8)

    def test_part9(self) -> None:
        self.assertKeepsItsPromises(9)


class ReplayTests(SynchronousTestCase):
    def test_sameSeedIsTheSameSchedule(self) -> None:
        for seed in range(3):
            first, second = (runPlan(makePlan(seed), tracing=True) for _ in range(2))
            self.assertGreater(len(first.trace), 20)
            self.assertEqual(first.trace, second.trace)
            self.assertEqual(first.events, runPlan(makePlan(seed)).events)

    def test_otherSeedIsAnotherSchedule(self) -> None:
        self.assertNotEqual(makePlan(1).steps, makePlan(2).steps)

    def test_failingPlanIsCutDown(self) -> None:
        """What is left fails, and everything in it is needed."""

        class WrongWhenCut(Actions):
            __slots__ = ()

            def _cut(self, random: Random) -> None:
                self._world.oracle.violated("cut")

        def build(plan: Plan, tracing: bool = False) -> World:
            world = World(plan, tracing=tracing)
            world.actions = WrongWhenCut(world)
            return world

        plan = next(plan for plan in map(makePlan, range(100)) if any(step.kind == "cut" for step in plan.steps))
        self.assertEqual([step.kind for step in shrunk(plan, build).steps], ["cut"])
