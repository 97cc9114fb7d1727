"""How a node is taken out of service and back, without a node."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.document import Settings
from cftpcluster.draining import Draining
from cftpcluster.errors import ClusterError


@define(eq=False)
class FakeServices:
    """:ivar told: what it was told, oldest first."""

    sessions: int = 2
    told: list[str] = field(factory=list)
    gone: Deferred[None] = field(factory=Deferred)

    async def drain(self) -> None:
        self.told.append("drain")
        await self.gone

    def resume(self) -> None:
        self.told.append("resume")

    def disconnect(self) -> None:
        self.told.append("disconnect")


class DrainingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.services: Any = FakeServices()
        self.changes: list[bool] = []
        self.draining = Draining(
            clock=self.clock,
            services=lambda: self.services,
            settings=lambda: Settings(drainSeconds=30, drainGraceSeconds=5),
            changed=lambda: self.changes.append(self.draining.isActive),
        )

    def progress(self, **arguments: Any) -> Any:
        return self.successResultOf(self.draining.drainAction(arguments))

    def test_isActiveAtOnceAndRefusesAfterTheGraceTime(self) -> None:
        over = self.draining.begin()
        self.assertTrue(self.draining.isActive)
        self.assertEqual(self.changes, [True])
        self.clock.advance(4.9)
        self.assertEqual(self.services.told, [])
        self.clock.advance(0.1)
        self.assertEqual(self.services.told, ["drain"])
        self.assertNoResult(over)

    def test_isOverWhenNobodyIsLeft(self) -> None:
        over = self.draining.begin()
        self.clock.advance(5)
        self.services.gone.callback(None)
        self.successResultOf(over)
        self.assertTrue(self.draining.isActive)
        self.assertEqual(self.services.told, ["drain"])
        self.successResultOf(self.draining.begin())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_deadlineEndsWhoeverIsLeft(self) -> None:
        over = self.draining.begin(20)
        self.clock.advance(5)
        self.clock.advance(14.9)
        self.assertNoResult(over)
        self.clock.advance(0.1)
        self.successResultOf(over)
        self.assertEqual(self.services.told, ["drain", "disconnect"])
        self.assertEqual(self.progress()["ended"], 2)

    def test_graceTimeIsNotLongerThanAllOfIt(self) -> None:
        over = self.draining.begin(1)
        self.clock.advance(1)
        self.clock.advance(0)
        self.successResultOf(over)
        self.assertEqual(self.services.told, ["drain", "disconnect"])

    def test_ofTwoDrainsTheSoonerEndHolds(self) -> None:
        self.draining.begin(3600)
        self.clock.advance(5)
        self.draining.begin(7200)
        self.assertEqual(self.progress()["seconds"], 3595)
        over = self.draining.begin(30)
        self.clock.advance(30)
        self.successResultOf(over)

    def test_takenBackServersTakeClientsAgain(self) -> None:
        over = self.draining.begin()
        self.clock.advance(5)
        self.draining.resume()
        self.successResultOf(over)
        self.assertEqual(self.services.told, ["drain", "resume"])
        self.assertEqual((self.draining.isActive, self.changes), (False, [True, False]))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.draining.resume()
        self.assertEqual(self.services.told, ["drain", "resume"])
        self.draining.begin()
        self.assertTrue(self.draining.isActive)

    def test_tellsHowFarItIs(self) -> None:
        self.assertEqual(
            self.progress(seconds=10),
            {"state": "draining", "sessions": 2, "over": False, "ended": 0, "seconds": 10.0},
        )
        self.clock.advance(5)
        self.services.sessions = 0
        self.services.gone.callback(None)
        done = {"state": "draining", "sessions": 0, "over": True, "ended": 0, "seconds": 0.0}
        self.assertEqual(self.progress(), done)

    def test_answerMayWaitForTheEnd(self) -> None:
        waiting = self.draining.drainAction({"wait": 1})
        self.clock.advance(0.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.1)
        answer: Any = self.successResultOf(waiting)
        self.assertFalse(answer["over"])
        waiting = self.draining.drainAction({"wait": 10})
        self.clock.advance(4)
        self.services.gone.callback(None)
        answer = self.successResultOf(waiting)
        self.assertTrue(answer["over"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nonsenseIsRefused(self) -> None:
        self.failureResultOf(self.draining.drainAction({"wait": 60}), ClusterError)
        for seconds in (-1, "soon", True, 1e9):
            self.failureResultOf(self.draining.drainAction({"seconds": seconds}), ClusterError)
        self.assertFalse(self.draining.isActive)

    def test_failureIsLoggedAndDoesNotHoldTheNode(self) -> None:
        over = self.draining.begin()
        self.clock.advance(5)
        self.services.gone.errback(RuntimeError("stuck"))
        self.successResultOf(over)
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_nodeThatEndsWaitsForNothing(self) -> None:
        over = self.draining.begin()
        self.draining.stop()
        self.draining.stop()
        self.successResultOf(over)
        self.assertEqual(self.clock.getDelayedCalls(), [])
