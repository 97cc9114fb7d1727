"""Changes that are let through, held up, refused and counted."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.cluster.turns import HELD_SECONDS, MOST_HELD, Turns
from cftpcluster.errors import NotAppending


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.turns = Turns(self.clock)

    def test_everybodyComesInWhileNothingIsHeld(self) -> None:
        for _ in range(3):
            self.assertIsNone(self.successResultOf(self.turns.enter()))
        self.assertFalse(self.turns.isHeld)

    def test_quietWhenTheLastOneHasLeft(self) -> None:
        for _ in range(2):
            self.successResultOf(self.turns.enter())
        self.turns.hold("moving")
        quiet = self.turns.quiet(5)
        self.turns.leave()
        self.assertNoResult(quiet)
        self.turns.leave()
        self.assertTrue(self.successResultOf(quiet))

    def test_quietIsNotWaitedForLongerThanWanted(self) -> None:
        self.successResultOf(self.turns.enter())
        quiet = self.turns.quiet(5)
        self.clock.advance(5)
        self.assertFalse(self.successResultOf(quiet))

    def test_whoIsHeldUpComesInAfterwards(self) -> None:
        self.turns.hold("moving")
        entering = self.turns.enter()
        self.assertNoResult(entering)
        self.turns.release()
        self.successResultOf(entering)
        quiet = self.turns.quiet(5)
        self.assertNoResult(quiet)
        self.turns.leave()
        self.assertTrue(self.successResultOf(quiet))

    def test_whoIsHeldUpTooLongIsToldWhy(self) -> None:
        self.turns.hold("moving")
        entering = self.turns.enter()
        self.clock.advance(HELD_SECONDS)
        self.assertIn("moving; nothing was changed", str(self.failureResultOf(entering, NotAppending).value))
        self.assertTrue(self.successResultOf(self.turns.quiet(1)))

    def test_onlySoManyAreHeldUp(self) -> None:
        self.turns.hold("moving")
        held = [self.turns.enter() for _ in range(MOST_HELD)]
        self.failureResultOf(self.turns.enter(), NotAppending)
        self.turns.release()
        for one in held:
            self.successResultOf(one)
