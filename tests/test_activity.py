"""What nodes do, in numbers: told to the others, and kept for a while."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.activity import AGAIN_SECONDS, LOOK_SECONDS, Activity
from cftpcluster.cluster.records import Row
from cftpcluster.errors import ClusterError
from cftpcluster.series import LONG_STEP, STEP_SECONDS, STEPS_OF_A_DAY, STEPS_OF_AN_HOUR, Counts, Series
from cftpcluster.tables import ACTIVITY
from cftpcluster.testing.rows import MemoryRows

from .nodesupport import ClusterCase

NOTHING = Counts(lagSeconds=0.0, sessions={}, connections=0, received=0, sent=0, accepted=0, failed=0)
LISTS = ("times", "lagSeconds", "bytesInPerSecond", "bytesOutPerSecond", "loginsAccepted", "loginsFailed")


class SeriesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.series = Series()
        self.time = 1000.0
        self.counts = NOTHING
        self.series.add(self.time, self.counts)

    def step(self, **counted: Any) -> None:
        self.time += STEP_SECONDS
        self.counts = evolve(self.counts, **counted)
        self.series.add(self.time, self.counts)

    def test_whatIsCountedIsToldByItsGrowth(self) -> None:
        self.step(received=500, sent=1000, accepted=3, failed=1, sessions={"ftp": 2}, lagSeconds=0.5)
        self.step(received=500, sent=3000, accepted=4, sessions={"sftp": 1}, lagSeconds=0.0)
        self.assertEqual(
            self.series.plain(1),
            {
                "stepSeconds": 10.0,
                "times": [1010.0, 1020.0],
                "lagSeconds": [0.5, 0.0],
                "sessions": {"ftp": [2, 0], "sftp": [0, 1]},
                "bytesInPerSecond": [50, 0],
                "bytesOutPerSecond": [100, 200],
                "loginsAccepted": [3, 1],
                "loginsFailed": [1, 0],
            },
        )

    def test_dayHoldsTheHighestAndTheSums(self) -> None:
        for number in range(LONG_STEP):
            self.step(
                received=120 * (number + 1),
                accepted=number + 1,
                sessions={"ftp": 9 if number == 4 else 1},
                lagSeconds=7.0 if number == 6 else 0.0,
            )
        day = self.series.plain(24)
        self.assertEqual((day["stepSeconds"], day["times"]), (120.0, [1120.0]))
        self.assertEqual((day["lagSeconds"], day["sessions"]), ([7.0], {"ftp": [9]}))
        self.assertEqual((day["bytesInPerSecond"], day["loginsAccepted"]), ([12], [12]))

    def test_itDoesNotGrowWithoutEnd(self) -> None:
        for _ in range(STEPS_OF_A_DAY * LONG_STEP + 1000):
            self.step()
        for hours, most in ((1, STEPS_OF_AN_HOUR), (24, STEPS_OF_A_DAY)):
            plain = self.series.plain(hours)
            self.assertEqual({len(plain[name]) for name in LISTS}, {most})
            self.assertEqual(plain["times"][-1] - plain["times"][0], (most - 1) * plain["stepSeconds"])

    def test_clockThatStandsStillAddsNothing(self) -> None:
        self.series.add(self.time, self.counts)
        self.assertEqual(self.series.plain(1)["times"], [])


class ActivityTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.rows = MemoryRows(self.clock, "a")
        self.counts = NOTHING
        self.changes: list[Row | None] = []
        self.rows.watch(ACTIVITY, lambda before, after: self.changes.append(after))
        self.activity = Activity(node="a", rows=self.rows, counts=lambda: self.counts, clock=self.clock)
        self.activity.start()
        self.addCleanup(self.activity.stop)

    def told(self) -> Any:
        (row,) = self.rows.get(ACTIVITY, "a")
        return dict(row.value)

    def test_whatItDoesIsToldByTheSecond(self) -> None:
        self.counts = evolve(NOTHING, sessions={"ftp": 2, "sftp": 1}, connections=4, received=1000, sent=600)
        self.clock.advance(LOOK_SECONDS)
        wanted = {"sessions": 3, "connections": 4, "bytesInPerSecond": 500, "bytesOutPerSecond": 300}
        self.assertEqual(self.told(), wanted)
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(self.told(), {**wanted, "bytesInPerSecond": 0, "bytesOutPerSecond": 0})

    def test_onlyDifferencesAreToldAndTheSameNowAndThen(self) -> None:
        self.changes.clear()
        self.clock.pump([LOOK_SECONDS] * 4)
        self.assertEqual(self.changes, [])
        self.clock.advance(AGAIN_SECONDS)
        self.assertEqual(len(self.changes), 1)

    def test_seriesAreThereWhenAskedFor(self) -> None:
        self.counts = evolve(NOTHING, accepted=1)
        self.clock.pump([LOOK_SECONDS] * 11)
        series = self.successResultOf(self.activity.seriesAction({"hours": 1}))
        self.assertEqual((series["times"], series["loginsAccepted"]), ([10.0, 20.0], [1, 0]))
        for wrong in (None, 2, "1", [1]):
            self.failureResultOf(self.activity.seriesAction({"hours": wrong}), ClusterError)


class StatusTests(ClusterCase):
    """What nodes do, as the status of each shows it."""

    DOES = {"sessions": 3, "connections": 4, "bytesInPerSecond": 500, "bytesOutPerSecond": 0}
    NOTHING_KNOWN = dict.fromkeys(DOES)

    def done(self, node: Any, name: str) -> dict[str, Any]:
        row = node.row(name)
        return {key: row[key] for key in self.DOES}

    def test_everyNodeKnowsWhatEachDoes(self) -> None:
        self.b.peering.rows.put(ACTIVITY, "b", self.DOES, 20)
        self.cluster.advance(1)
        for node in (self.a, self.b, self.c):
            self.assertEqual(self.done(node, "b"), self.DOES)
            self.assertEqual(self.done(node, "c"), self.NOTHING_KNOWN)

    def test_ofNodesThatCannotBeHeardNothingIsKnown(self) -> None:
        self.c.peering.rows.put(ACTIVITY, "c", self.DOES, 20)
        self.b.peering.rows.put(ACTIVITY, "b", self.DOES, 20)
        self.cluster.advance(1)
        self.cluster.cut("a")
        self.cluster.advance(2)
        self.assertEqual(self.done(self.b, "c"), self.DOES)
        self.assertEqual(self.done(self.a, "c"), self.NOTHING_KNOWN)
        self.cluster.cut("c")
        self.cluster.advance(2)
        self.assertEqual(self.done(self.b, "c"), self.NOTHING_KNOWN)

    def test_nonsenseIsNotShown(self) -> None:
        self.b.peering.rows.put(ACTIVITY, "b", {**self.DOES, "sessions": "<b>", "connections": True}, 20)
        self.cluster.advance(1)
        wanted = {**self.DOES, "sessions": None, "connections": None}
        self.assertEqual(self.done(self.a, "b"), wanted)
