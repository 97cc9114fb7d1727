"""The invariants notice: each of the planted bugs is found within few schedules, for what it is."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from .planted import HARMLESS, PLANTED
from .run import report, runSeeds


class PlantedTests(SynchronousTestCase):
    def assertNoticed(self, name: str) -> None:
        planted = PLANTED[name]
        outcome = next(
            (one for one in runSeeds(range(planted.schedules), planted.build, planted.faults) if one.violations),
            None,
        )
        assert outcome is not None, f"{name} was not noticed in {planted.schedules} schedules"
        self.assertIn(planted.why, outcome.violations[0])
        self.assertIn(f"--seed {outcome.plan.seed}", report(outcome))


class HarmlessTests(SynchronousTestCase):
    def test_entriesThatComeTwiceAreTakenOnce(self) -> None:
        failures = [report(outcome) for outcome in runSeeds(range(20), HARMLESS) if outcome.violations]
        self.assertEqual(failures, [])


def _noticed(name: str) -> object:
    def test(self: PlantedTests) -> None:
        self.assertNoticed(name)

    return test


for _name in PLANTED:
    setattr(PlantedTests, f"test_{_name}", _noticed(_name))
