"""Tests of who is let wait, and of who goes first."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ssh.waiting import (
    FEW,
    FREE_VISITS,
    MOST_REMEMBERED,
    VISITS_PER_SECOND,
    WAIT_SECONDS,
    Visits,
    Waiting,
)

from .peers import Client, Site
from .test_transport import RawClient, Silent
from .test_userauth import LogIn


class WaitingTests(SynchronousTestCase):
    def test_theOldestOfThoseWhoAreMostGoes(self) -> None:
        waiting: Waiting[str] = Waiting()
        waiting.add("guest", "guest")
        for number in range(5):
            waiting.add(f"crowd {number}", "crowd")
        self.assertEqual([waiting.popOldest() for _ in range(4)], [f"crowd {number}" for number in range(4)])
        self.assertEqual(waiting.popOldest(), "guest")
        self.assertEqual(list(waiting), ["crowd 4"])

    def test_leavingTwiceDoesNoHarm(self) -> None:
        waiting: Waiting[str] = Waiting()
        waiting.add("a", "a")
        waiting.discard("a")
        waiting.discard("a")
        self.assertEqual((len(waiting), list(waiting)), (0, []))


class VisitsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.visits = Visits(self.clock)

    def come(self, number: int, source: str = "a") -> None:
        for _ in range(number):
            self.visits.add(source)

    def waits(self, source: str = "a", present: int = FEW) -> bool:
        return bool(self.visits.waitSeconds(source, present))

    def test_aFewAreFree(self) -> None:
        self.come(FREE_VISITS)
        self.assertFalse(self.waits())

    def test_moreOfOneSourceMakeItWaitAndNoOther(self) -> None:
        self.come(FREE_VISITS + 1)
        self.assertTrue(self.waits())
        self.assertFalse(self.waits("b"))

    def test_oneAfterTheOtherWaitsForNothing(self) -> None:
        self.come(1000)
        self.assertFalse(self.waits(present=FEW - 1))

    def test_theyAreForgotten(self) -> None:
        self.come(FREE_VISITS + VISITS_PER_SECOND)
        self.clock.advance(1)
        self.assertFalse(self.waits())

    def test_notEverybodyIsRemembered(self) -> None:
        self.come(FREE_VISITS + 5, "first")
        for number in range(MOST_REMEMBERED):
            self.come(1, str(number))
        self.assertFalse(self.waits("first"))
        self.assertEqual(len(self.visits._counts), MOST_REMEMBERED)


class GreetingTests(SynchronousTestCase):
    def visited(self, times: int) -> Site:
        site = Site()
        for _ in range(times):
            site.connect(Client(Silent())).lose()
        for _ in range(FEW - 1):
            RawClient(site)
        return site

    def test_whoComesAfterManyVisitsWaitsForTheGreeting(self) -> None:
        site = self.visited(FREE_VISITS + 1)
        raw = RawClient(site)
        self.assertEqual((raw.wire.value(), raw.wire.producerState), (b"", "paused"))
        site.clock.advance(WAIT_SECONDS)
        self.assertTrue(raw.wire.value().startswith(b"SSH-2.0-cftpcluster\r\n"))
        self.assertEqual(raw.wire.producerState, "producing")

    def test_logInsAreNoVisits(self) -> None:
        site = Site()
        for _ in range(FREE_VISITS + 5):
            login = LogIn(site)
            login.password(b"secret")
            login.link.lose()
        self.assertTrue(all(RawClient(site).wire.value() for _ in range(FEW)))

    def test_whoGoesWhileWaitingLeavesNothing(self) -> None:
        site = self.visited(FREE_VISITS + 1)
        before = len(site.clock.getDelayedCalls())
        link = site.connect(Client(Silent()))
        self.assertEqual(link.serverWire.value(), b"")
        link.lose()
        self.assertEqual(len(site.clock.getDelayedCalls()), before)

    def test_whoIsSentAwayBeforeTheGreetingIsToldNothing(self) -> None:
        site = self.visited(FREE_VISITS + 1)
        raw = RawClient(site)
        site.server.disconnect()
        self.assertEqual((raw.wire.value(), raw.wire.disconnecting), (b"", True))
