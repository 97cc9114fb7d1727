"""Tests of the turns in which key exchanges come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ssh.turns import PIECES, Turns


class Reactor:
    """As a real one: what is called later while a turn goes on, is called in the next one."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def callLater(self, seconds: float, function: Callable[[], object]) -> None:
        self.calls.append(function)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = Reactor()
        self.turns = Turns(self.reactor)
        self.done: list[str] = []

    def piece(self, name: str, pieces: int = 1) -> Callable[[], bool]:
        left = pieces

        def call() -> bool:
            nonlocal left
            left -= 1
            self.done.append(name)
            return left > 0

        return call

    def take(self, source: str, name: str, pieces: int = 1, isHeavy: bool = False) -> bool:
        return self.turns.take(source, self.piece(name, pieces), isHeavy)

    def turn(self) -> list[str]:
        """What is done in the next turn of the reactor."""
        self.done.clear()
        self.reactor.turn()
        return list(self.done)

    def test_whoIsAloneIsServedAtOnce(self) -> None:
        self.assertTrue(self.take("a", "a1"))
        self.assertEqual(self.done, ["a1"])
        self.reactor.turn()
        self.assertEqual(self.reactor.calls, [])

    def test_noMoreThanAFewInOneTurn(self) -> None:
        given = [self.take("a", str(number)) for number in range(10)]
        self.assertEqual(given, [True] * PIECES + [False] * (10 - PIECES))
        self.assertEqual(self.turn(), ["4", "5", "6", "7"])
        self.assertEqual(self.turn(), ["8", "9"])
        self.reactor.turn()
        self.assertEqual(self.reactor.calls, [])

    def test_whoeverComesFromElsewhereDoesNotWaitForACrowd(self) -> None:
        for number in range(100):
            self.take("crowd", str(number))
        self.take("b", "b")
        self.assertIn("b", self.turn())

    def test_aHeavyPieceIsAllThereIsInATurn(self) -> None:
        for _ in range(3):
            self.take("a", "heavy", pieces=2, isHeavy=True)
        self.take("a", "light")
        self.assertEqual(self.done, ["heavy"])
        turns = [self.turn() for _ in range(6)]
        self.assertEqual(sum(turn.count("heavy") for turn in turns), 5)
        self.assertTrue(all(turn.count("heavy") <= 1 for turn in turns))
        self.assertIn("light", turns[0] + turns[1])

    def test_workGoesOnUntilItIsDone(self) -> None:
        self.assertFalse(self.take("a", "a", pieces=3, isHeavy=True))
        self.assertEqual([self.turn(), self.turn(), self.turn()], [["a"], ["a"], []])

    def test_oneThatBreaksHarmsNobodyElse(self) -> None:
        for number in range(PIECES):
            self.take("a", str(number))

        def broken() -> bool:
            raise RuntimeError("no")

        self.turns.take("a", broken, False)
        self.take("a", "next")
        self.assertEqual(self.turn(), ["next"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
