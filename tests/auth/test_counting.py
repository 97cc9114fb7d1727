"""Tests of :mod:`cftpcluster.auth.counting`."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.auth.counting import EXACT_MOMENTS, SharedCounts
from cftpcluster.testing.rows import MemoryRows


class SharedCountsTests(SynchronousTestCase):
    window = 100.0

    def setUp(self) -> None:
        self.clock = Clock()
        self.rows = MemoryRows(self.clock)
        self.counts = self.countsOn(self.rows)

    def countsOn(self, rows: MemoryRows, most: int = 3) -> SharedCounts:
        return SharedCounts(rows, "t", rows.node, self.clock, lambda: self.window, most)

    def add(self, times: int, counts: SharedCounts | None = None, mark: str = "") -> int:
        totals = [(counts or self.counts).add("k", mark) for _ in range(times)]
        return totals[-1]

    def test_eachThingCountsForOneWindow(self) -> None:
        self.add(2)
        self.clock.advance(60)
        self.assertEqual(self.add(1), 3)
        self.clock.advance(41)
        self.assertEqual(self.counts.total("k"), 1)
        self.clock.advance(60)
        self.assertEqual((self.counts.total("k"), list(self.rows.rows("t"))), (0, []))

    def test_keysAreApart(self) -> None:
        self.add(2)
        self.assertEqual(self.counts.total("other"), 0)

    def test_otherNodesCountTooAndForTheSameTime(self) -> None:
        others = MemoryRows(self.clock, "there")
        there = self.countsOn(others)
        self.add(1, there)
        self.clock.advance(60)
        self.add(1, there)
        (row,) = others.rows("t")
        self.clock.advance(10)
        # It was under way for ten seconds, so it is believed to be younger by that.
        self.rows.hear("there", "t", "k", row.value, 100)
        self.add(1)
        self.assertEqual(self.counts.total("k"), 3)
        self.clock.advance(41)
        self.assertEqual(self.counts.total("k"), 2)

    def test_rowsThatMeanNothingCountNothing(self) -> None:
        values: list[dict[str, Any]] = [{}, {"window": "x", "ages": [1, 1]}, {"window": 100, "ages": {}}]
        for value in [*values, {"window": 100, "ages": ["x", 1, 2, "y", 3]}]:
            self.rows.hear("there", "t", "k", value, 100)
            self.assertEqual(self.counts.total("k"), 0)

    def test_manyAtOnceTakeLittleRoomAndAreAllCounted(self) -> None:
        self.assertEqual(self.add(1000), 1000)
        (row,) = self.rows.rows("t")
        self.assertLessEqual(len(row.value["ages"]), 2 * EXACT_MOMENTS)

    def test_manyOverTheWindowTakeLittleRoom(self) -> None:
        for _ in range(300):
            self.clock.advance(1)
            self.add(1)
        (row,) = self.rows.rows("t")
        self.assertLessEqual(len(row.value["ages"]), 2 * 3 * EXACT_MOMENTS)
        self.assertTrue(80 <= self.counts.total("k") <= 120, self.counts.total("k"))

    def test_whatIsForgivenDoesNotCount(self) -> None:
        self.add(2, mark="alice")
        self.add(3, mark="bob")
        self.counts.forgive("k", "alice")
        self.assertEqual(self.counts.total("k"), 3)
        self.counts.forgive("k", "bob")
        self.assertEqual((self.counts.total("k"), list(self.rows.rows("t"))), (0, []))

    def test_remembersABoundedNumberOfKeys(self) -> None:
        for number in range(50):
            self.counts.add(f"k{number}")
        self.assertEqual([row.key for row in self.rows.rows("t")], ["k47", "k48", "k49"])
