"""Tests of the publisher alone, with followers that answer as the test wants."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from cftpcluster import __version__
from cftpcluster.cluster.announcer import Announcer
from cftpcluster.cluster.avatar import PublisherAvatar
from cftpcluster.cluster.cursor import RETRY_SECONDS
from cftpcluster.cluster.faults import LinkLost
from cftpcluster.cluster.messages import CHUNK_BYTES, FollowAnswer, Hello, tidyReport
from cftpcluster.cluster.offers import KEPT_SECONDS, MOST_KEPT, SHARED_SECONDS, SnapshotOffers
from cftpcluster.config.changes import Promote
from cftpcluster.config.document import FORMAT_VERSION
from cftpcluster.errors import (
    ChainMismatch,
    ClusterError,
    DiskFull,
    JournalReadOnly,
    NotDurableEnough,
    NotPrimary,
    Refused,
    SnapshotNeeded,
)
from cftpcluster.interfaces import IPublisher
from cftpcluster.journal.entry import CHAIN_START
from cftpcluster.journal.memory import MemoryJournal
from cftpcluster.testing.cluster import (
    AUTHOR,
    FakeFollower,
    LateJournal,
    founding,
    makeNode,
    numbered,
    proposal,
    soon,
)


class PublisherCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.node = makeNode("a", self.clock)
        self.publisher = self.node.publisher
        self.node.change(founding("abcd", "a"))
        self.node.change(numbered(1))

    def entries(self) -> list[Any]:
        return list(soon(self.node.journal.since(0, 1000)))

    def attach(self, name: str) -> tuple[FakeFollower, PublisherAvatar]:
        follower = FakeFollower()
        return follower, self.publisher.attach(name, follower)

    def following(self, name: str, revision: int = 2) -> tuple[FakeFollower, PublisherAvatar]:
        """A follower that has everything up to ``revision``."""
        follower, avatar = self.attach(name)
        chainHash = self.entries()[revision - 1].chainHash if revision else CHAIN_START
        answer = soon(avatar.follow(follower, 1, revision, chainHash))
        self.assertIsNone(answer.snapshot)
        self.clock.advance(0)
        return follower, avatar

    def row(self, name: str) -> dict[str, Any]:
        return {row["name"]: row for row in self.publisher.rows()}[name]


class FollowTests(PublisherCase):
    def test_interface(self) -> None:
        verifyObject(IPublisher, self.attach("b")[1])

    def test_answerTellsTheHead(self) -> None:
        follower, avatar = self.attach("b")
        head = self.publisher.head
        answer = soon(avatar.follow(follower, 0, 0, CHAIN_START))
        self.assertEqual(answer, FollowAnswer(1, 2, head.chainHash))

    def test_nodeThatCouldNotReadItIsRefusedWithTheVersions(self) -> None:
        hello = Hello("b", "0.0.1", (1,), FORMAT_VERSION - 1, 0, 0, CHAIN_START, "a")
        follower = FakeFollower()
        avatar = self.publisher.attach("b", follower, hello)
        with capturedLogs() as logged:
            failure = self.failureResultOf(avatar.follow(follower, 0, 0, CHAIN_START), Refused)
        reason = failure.getErrorMessage()
        for said in ("b runs cftpcluster 0.0.1", f"cftpcluster {__version__} writes format {FORMAT_VERSION}"):
            self.assertIn(said, reason)
        self.assertEqual(len(logged), 1)
        self.assertEqual((self.row("b")["state"], self.row("b")["problems"]), ("refused", [reason]))
        self.clock.advance(0)
        self.assertEqual(follower.taken, [])
        newer = evolve(hello, format=FORMAT_VERSION + 1)
        soon(self.publisher.attach("b", follower, newer).follow(follower, 0, 0, CHAIN_START))
        self.assertEqual(self.row("b")["problems"], [])

    def test_nothingIsSentBeforeTheAnswer(self) -> None:
        follower, avatar = self.attach("b")
        soon(avatar.follow(follower, 0, 0, CHAIN_START))
        self.assertEqual(follower.taken, [])
        self.clock.advance(0)
        self.assertEqual(follower.taken, self.entries())

    def test_placeOnAnotherHistoryGetsASnapshot(self) -> None:
        for revision, chainHash in ((0, b"\1" * 32), (1, b"\1" * 32), (2, b"\1" * 32), (1, b""), (7, b"")):
            follower, avatar = self.attach("b")
            with capturedLogs():
                offer = soon(avatar.follow(follower, 1, revision, chainHash)).snapshot
            self.assertEqual((offer.revision, offer.diverged), (2, True), revision)
            self.clock.advance(0)
            self.assertEqual(follower.taken, [])

    def test_placeBeforeTheHistoryGetsASnapshot(self) -> None:
        chainHash = self.entries()[0].chainHash
        self.node.change(numbered(2))
        soon(self.node.journal.compact(1))
        follower, avatar = self.attach("b")
        with capturedLogs():
            offer = soon(avatar.follow(follower, 1, 1, chainHash)).snapshot
        self.assertEqual((offer.revision, offer.diverged), (3, False))

    def test_answerIsNotBehindTheSnapshotItOffers(self) -> None:
        """Else the follower believes neither, and stays away for long."""
        for appendAfter in range(1, 6):
            self.node.journal = LateJournal(self.node.journal, self.clock, lambda: 1.0)
            self.node.start(self.publisher.head)
            self.publisher = self.node.publisher
            follower, avatar = self.attach("b")
            with capturedLogs():
                answering = avatar.follow(follower, 1, 1, b"\1" * 32)
                self.clock.pump([1.0] * appendAfter)
                self.node.propose(proposal(numbered(10 + appendAfter)))
                self.clock.pump([1.0] * 10)
            answer = soon(answering)
            self.assertGreaterEqual((answer.epoch, answer.revision), (answer.snapshot.epoch, answer.snapshot.revision))
            self.node.journal = self.node.journal.journal

    def test_placeRightAtTheStartOfTheHistoryNeedsNone(self) -> None:
        chainHash = self.entries()[1].chainHash
        self.node.change(numbered(2))
        soon(self.node.journal.compact(1))
        follower, avatar = self.attach("b")
        self.assertIsNone(soon(avatar.follow(follower, 1, 2, chainHash)).snapshot)
        wrong = b"\1" * 32
        with capturedLogs():
            self.assertTrue(soon(avatar.follow(follower, 1, 2, wrong)).snapshot.diverged)

    def test_higherEpochIsNotServed(self) -> None:
        follower, avatar = self.attach("b")
        error = self.failureResultOf(avatar.follow(follower, 2, 5, bytes(32)), NotPrimary).value
        self.assertEqual((error.epoch, error.name), (1, ""))
        self.assertEqual(self.node.beyond, [("b", 2, 5)])
        self.assertEqual(self.row("b")["state"], "refused")
        self.assertFalse(self.publisher.isPrimary)

    def test_longerHistoryIsNotOverwritten(self) -> None:
        follower, avatar = self.attach("b")
        error = self.failureResultOf(avatar.follow(follower, 1, 7, b"\1" * 32), ClusterError).value
        self.assertIn("revision 2", str(error))
        self.assertEqual(self.node.beyond, [("b", 1, 7)])
        self.publisher.refusal = "two histories"
        self.failureResultOf(avatar.follow(follower, 1, 7, b"\1" * 32), Refused)

    def test_nobodyFollowsBeforeItIsKnownWhoIsPrimary(self) -> None:
        follower, avatar = self.attach("b")
        self.publisher.isChecking = True
        self.failureResultOf(avatar.follow(follower, 0, 0, CHAIN_START), ClusterError)
        self.publisher.isChecking = False
        self.assertIsNone(soon(avatar.follow(follower, 0, 0, CHAIN_START)).snapshot)

    def test_fencedPrimaryAppendsNothing(self) -> None:
        """It hears of a promotion that its own journal does not know yet."""
        follower, avatar = self.following("c")
        self.publisher.fence(2, "b")
        self.assertFalse(self.publisher.isPrimary)
        error = self.failureResultOf(avatar.propose(proposal(numbered(5))), NotPrimary).value
        self.assertEqual((error.epoch, error.name, error.address), (2, "b", "b.test"))
        self.node.change(numbered(6))
        self.assertEqual(follower.taken, [])
        self.node.change(Promote(2, "a", "test --force"))
        self.assertTrue(self.publisher.isPrimary)

    def test_strangerIsRefused(self) -> None:
        follower, avatar = self.attach("mallory")
        self.failureResultOf(avatar.follow(follower, 0, 0, CHAIN_START), Refused)

    def test_askingAgainReplacesTheCursor(self) -> None:
        follower, avatar = self.following("b")
        soon(avatar.follow(follower, 1, 0, CHAIN_START))
        self.clock.advance(0)
        self.assertEqual(follower.taken, self.entries())
        self.node.change(numbered(2))
        self.assertEqual(follower.taken, self.entries())

    def test_askingTwiceAtOnceKeepsTheLater(self) -> None:
        self.node.journal = LateJournal(self.node.journal, self.clock, lambda: 1.0)
        self.node.start(self.publisher.head)
        self.publisher = self.node.publisher
        follower, avatar = self.attach("b")
        first = avatar.follow(follower, 1, 0, CHAIN_START)
        second = avatar.follow(follower, 1, 0, CHAIN_START)
        self.clock.pump([0.5] * 20)
        self.failureResultOf(first, Refused)
        self.assertIsNone(soon(second).snapshot)
        self.assertEqual([entry.revision for entry in follower.taken], [1, 2])

    def test_replacedLinkMayAskNothing(self) -> None:
        follower, avatar = self.following("b")
        self.attach("b")
        for asked in (
            avatar.follow(follower, 1, 0, CHAIN_START),
            avatar.snapshotChunk("1", 0),
            avatar.propose(proposal(numbered(5))),
            avatar.report({}),
            avatar.relay("c", "drain", {}, AUTHOR),
            avatar.renewCertificate(b"request"),
        ):
            self.failureResultOf(asked, Refused)
        avatar.detached()
        self.assertNotEqual(self.row("b")["state"], "disconnected")

    def test_secondaryServesNobody(self) -> None:
        self.node.change(Promote(2, "b", "test"))
        follower, avatar = self.attach("c")
        for asked in (
            avatar.follow(follower, 1, 0, CHAIN_START),
            avatar.propose(proposal(numbered(5))),
            avatar.relay("c", "drain", {}, AUTHOR),
            avatar.renewCertificate(b"request"),
        ):
            error = self.failureResultOf(asked, NotPrimary).value
            self.assertEqual((error.epoch, error.name, error.address), (2, "b", "b.test"))


class SendingTests(PublisherCase):
    def test_acknowledgementMovesOn(self) -> None:
        follower, _ = self.following("b")
        self.node.change(numbered(2))
        self.assertEqual([entry.revision for entry in follower.taken], [3])
        self.assertEqual(self.row("b")["revision"], 3)
        self.assertEqual(self.row("b")["chainHash"], self.publisher.head.chainHash.hex())

    def test_nextBatchWaitsForTheAnswer(self) -> None:
        follower, _ = self.following("b")
        answer: Deferred[Any] = Deferred()
        follower.answers = [answer]
        for number in range(5):
            self.node.change(numbered(10 + number))
        self.assertEqual([entry.revision for entry in follower.taken], [3])
        last = follower.taken[-1]
        answer.callback((last.revision, last.chainHash))
        self.assertEqual([entry.revision for entry in follower.taken], [3, 4, 5, 6, 7])

    def test_falseAcknowledgementEndsIt(self) -> None:
        for false in ((3, b"\1" * 32), (9, b"\1" * 32), (1, bytes(32))):
            follower, _ = self.following("b", self.publisher.head.revision)
            follower.answers = [false]
            self.node.change(numbered(20))
            self.assertEqual(follower.positions[-1][1], self.publisher.head.revision, "so that it looks itself")
            before = list(follower.taken)
            self.node.change(numbered(21))
            self.assertEqual(follower.taken, before)
            self.assertIn("acknowledged revision", self.row("b")["problems"][0])

    def test_heldEntriesAreNotCountedAsDurable(self) -> None:
        """A follower that waits for a proof answers with where it still is, and gets more."""
        follower, _ = self.following("b")
        follower.answers = [(2, self.publisher.head.chainHash)]
        self.node.change(numbered(2))
        self.assertEqual(self.row("b")["revision"], 2)
        self.node.change(numbered(3))
        self.assertEqual([entry.revision for entry in follower.taken], [3, 4])
        self.assertEqual(self.row("b")["revision"], 4)

    def test_passingTroubleIsTriedAgain(self) -> None:
        for error in (DiskFull("full"), JournalReadOnly("failed"), ClusterError("internal")):
            follower, _ = self.following("b", self.publisher.head.revision)
            follower.answers = [error]
            revision = self.node.change(numbered(2))
            self.assertEqual(self.row("b")["problems"], [str(error)])
            self.clock.advance(RETRY_SECONDS)
            self.assertEqual(follower.taken[-1].revision, revision)
            self.assertEqual(self.row("b")["problems"], [])

    def test_followerThatAsksAnewIsLeftAlone(self) -> None:
        for error in (Refused("paused"), ChainMismatch(3, "gap"), SnapshotNeeded("x"), LinkLost("cut", sent=True)):
            follower, _ = self.following("b", self.publisher.head.revision)
            follower.answers = [error]
            self.node.change(numbered(2))
            self.clock.advance(RETRY_SECONDS)
            self.node.change(numbered(3))
            self.assertEqual(follower.taken, [])

    def test_defectIsLoggedAndTriedAgain(self) -> None:
        follower, _ = self.following("b")
        follower.answers = [ValueError("broken")]
        self.node.change(numbered(2))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.clock.advance(RETRY_SECONDS)
        self.assertEqual([entry.revision for entry in follower.taken], [3])

    def test_lostLinkStopsIt(self) -> None:
        follower, avatar = self.following("b")
        follower.answers = [DiskFull("full")]
        self.node.change(numbered(2))
        avatar.detached()
        self.clock.advance(100)
        self.assertEqual(follower.taken, [])
        self.assertEqual(self.row("b")["state"], "disconnected")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_idleFollowerIsShownTheHead(self) -> None:
        follower, _ = self.following("b")
        self.clock.pump([1] * 6)
        head = self.publisher.head
        self.assertEqual(follower.positions[-1], (head.epoch, head.revision, head.chainHash))

    def test_busyFollowerIsNot(self) -> None:
        follower, _ = self.following("b")
        self.clock.advance(1)
        shown = len(follower.positions)
        follower.answers = [Deferred()]
        self.node.change(numbered(2))
        self.clock.pump([1] * 12)
        self.assertEqual(len(follower.positions), shown)

    def test_stopLeavesNothing(self) -> None:
        self.following("b")
        self.following("c")
        self.publisher.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class WaitingTests(PublisherCase):
    def test_durableOnEnough(self) -> None:
        first, _ = self.following("b")
        second, _ = self.following("c")
        first.answers, second.answers = [Deferred()], [Deferred()]
        held = first.answers[0]
        revision = self.node.change(numbered(2))
        waiting = self.publisher.durable(revision, 1, 5)
        self.assertNoResult(waiting)
        held.callback((revision, self.publisher.head.chainHash))
        self.assertEqual(soon(waiting), ["a", "b"])
        failure = self.publisher.durable(revision, 2, 5)
        self.clock.advance(5)
        error = self.failureResultOf(failure, NotDurableEnough).value
        self.assertEqual((error.revision, error.durableOn), (revision, ("a", "b")))

    def test_noFollowersNeeded(self) -> None:
        self.assertEqual(soon(self.publisher.durable(2, 0, 5)), ["a"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_followerThatHasNotAskedIsNotCounted(self) -> None:
        """What it acknowledged over its last link may be gone from its disk."""
        _, avatar = self.following("b")
        self.assertEqual(soon(self.publisher.durable(2, 1, 5)), ["a", "b"])
        avatar.detached()
        self.attach("b")
        self.assertNoResult(self.publisher.durable(2, 1, 5))

    def test_reached(self) -> None:
        follower, _ = self.following("b")
        follower.answers = [Deferred()]
        held = follower.answers[0]
        revision = self.node.change(numbered(2))
        waiting, late = self.publisher.reached("b", revision, 5), self.publisher.reached("c", revision, 5)
        held.callback((revision, self.publisher.head.chainHash))
        self.assertIs(soon(waiting), True)
        self.clock.advance(5)
        self.assertIs(soon(late), False)

    def test_live(self) -> None:
        _, b = self.following("b")
        _, c = self.following("c")
        soon(b.report({"live": 2}))
        waiting = self.publisher.live(2, False, 5)
        self.assertNoResult(waiting)
        soon(c.report({"live": 2}))
        self.assertEqual(soon(waiting), {"live": ["b", "c"], "pending": []})
        everybody = self.publisher.live(2, True, 5)
        self.clock.advance(5)
        self.assertEqual(soon(everybody), {"live": ["b", "c"], "pending": ["d"]})

    def test_cancelledWaitIsForgotten(self) -> None:
        waiting = self.publisher.durable(9, 1, 60)
        waiting.cancel()
        self.failureResultOf(waiting)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StatusTests(PublisherCase):
    def test_reportIsShown(self) -> None:
        _, avatar = self.following("b")
        soon(avatar.report({"state": "draining", "live": 2, "version": "9", "problems": ["port 21 is busy"]}))
        row = self.row("b")
        self.assertEqual(
            (row["state"], row["live"], row["version"], row["problems"]), ("draining", 2, "9", ["port 21 is busy"])
        )

    def test_reportIsBounded(self) -> None:
        strange = {"state": 5, "live": -1, "version": "x" * 9999, "problems": ["y" * 9999, None] * 9999, "more": 1}
        tidy = tidyReport(strange)
        self.assertEqual((tidy["state"], tidy["live"], len(tidy["version"])), ("", 0, 500))
        self.assertEqual((len(tidy["problems"]), len(tidy["problems"][0])), (100, 500))
        self.assertEqual(tidyReport({"problems": "no list", "live": True})["problems"], [])

    def test_everyOtherNodeHasARow(self) -> None:
        self.assertEqual([row["name"] for row in self.publisher.rows()], ["b", "c", "d"])
        self.assertEqual({row["state"] for row in self.publisher.rows()}, {"disconnected"})
        self.assertEqual(self.row("b")["address"], "b.test")

    def test_actionsNeedALink(self) -> None:
        follower, avatar = self.following("b")
        self.assertEqual(soon(self.publisher.perform("b", "drain", {"seconds": 3})), {"done": "drain"})
        self.assertEqual(follower.performed, [("drain", {"seconds": 3})])
        self.failureResultOf(self.publisher.perform("c", "drain", {}), ClusterError)
        self.assertEqual(soon(avatar.relay("b", "resume", {}, AUTHOR)), {"done": "resume"})

    def test_proposalIsAppendedHere(self) -> None:
        _, avatar = self.following("b")
        self.assertEqual(soon(avatar.propose(proposal(numbered(2)))), 3)

    def test_lagAfterAnotherHistoryTookOver(self) -> None:
        self.assertEqual(self.row("b")["lagSeconds"], 0)
        self.clock.advance(5)
        self.assertEqual(self.row("b")["lagSeconds"], 5)
        self.publisher._commits.committed(1)
        self.clock.advance(2)
        self.assertEqual(self.publisher._commits.lagSeconds(0, 1), 2)


class OfferTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.journal = MemoryJournal({})
        soon(self.journal.append(proposal(founding("ab", "a"))))
        soon(self.journal.append(proposal(numbered(1, 600_000))))
        ids = iter("123456789")
        self.late = LateJournal(self.journal, self.clock, lambda: 1.0)
        self.offers = SnapshotOffers(self.late, self.clock, lambda: next(ids))

    def offer(self, atLeast: int = 0, diverged: bool = False) -> Any:
        asking = Deferred.fromCoroutine(self.offers.offer(1, atLeast, diverged))
        if not asking.called:
            self.clock.advance(1)
        return soon(asking)

    def test_oneSnapshotServesAll(self) -> None:
        asking = [Deferred.fromCoroutine(self.offers.offer(1, 0, False)) for _ in range(3)]
        self.clock.advance(1)
        self.assertEqual({soon(one).id for one in asking}, {"1"})
        self.assertEqual(self.offer().id, "1")
        self.assertTrue(self.offer(diverged=True).diverged)

    def test_chunks(self) -> None:
        offer = self.offer()
        data = b""
        while len(data) < offer.size:
            chunk = self.offers.chunk(offer.id, len(data))
            self.assertLessEqual(len(chunk), CHUNK_BYTES)
            data += chunk
        self.assertEqual(data, soon(self.journal.snapshot()).data)
        self.assertRaises(SnapshotNeeded, self.offers.chunk, offer.id, offer.size)
        self.assertRaises(SnapshotNeeded, self.offers.chunk, "unknown", 0)

    def test_newerOneWhereItIsNeeded(self) -> None:
        self.assertEqual(self.offer().revision, 2)
        soon(self.journal.append(proposal(numbered(2))))
        self.assertEqual(self.offer().revision, 2)
        self.assertEqual(self.offer(3).revision, 3)
        self.clock.advance(SHARED_SECONDS)
        soon(self.journal.append(proposal(numbered(3))))
        self.assertEqual(self.offer().revision, 4)

    def test_expires(self) -> None:
        offer = self.offer()
        self.clock.advance(KEPT_SECONDS - 1)
        self.offers.chunk(offer.id, 0)
        self.clock.advance(KEPT_SECONDS - 1)
        self.offers.chunk(offer.id, 0)
        self.clock.advance(KEPT_SECONDS)
        self.assertRaises(SnapshotNeeded, self.offers.chunk, offer.id, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_fewAreKept(self) -> None:
        for number in range(6):
            soon(self.journal.append(proposal(numbered(10 + number))))
            self.offer(3 + number)
        self.assertEqual(len(self.offers._kept), MOST_KEPT)
        self.offers.clear()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failureReachesAll(self) -> None:
        soon(self.journal.close())
        asking = [Deferred.fromCoroutine(self.offers.offer(1, 0, False)) for _ in range(3)]
        self.clock.advance(1)
        for one in asking:
            self.failureResultOf(one, ClusterError)


class AnnouncerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[float] = []
        self.answers: list[Deferred[None]] = []
        self.announcer = Announcer(self.clock, self.tell, 1.0, 5.0)

    def tell(self) -> Deferred[None]:
        self.told.append(self.clock.seconds())
        return self.answers.pop(0) if self.answers else succeed(None)

    def test_beginsAtOnceAndRepeats(self) -> None:
        self.announcer.start()
        self.clock.pump([0] + [0.5] * 24)
        self.assertEqual(self.told, [0, 5, 10])

    def test_changesAreToldSoonButNotTooOften(self) -> None:
        self.announcer.start()
        self.clock.advance(0)
        for _ in range(31):
            self.clock.advance(0.1)
            self.announcer.changed()
        self.assertEqual([round(when) for when in self.told], [0, 1, 2, 3])

    def test_slowOnesDoNotOverlap(self) -> None:
        held: Deferred[None] = Deferred()
        self.answers = [held]
        self.announcer.start()
        self.clock.advance(0)
        self.announcer.changed()
        self.clock.advance(20)
        self.assertEqual(self.told, [0])
        held.callback(None)
        self.clock.advance(0)
        self.assertEqual(self.told, [0, 20])

    def test_failureIsNoEnd(self) -> None:
        self.answers = [Deferred()]
        self.answers[0].errback(LinkLost("cut", sent=True))
        self.announcer.start()
        self.clock.pump([0, 5])
        self.assertEqual(self.told, [0, 5])

    def test_stopped(self) -> None:
        held: Deferred[None] = Deferred()
        self.answers = [held]
        self.announcer.start()
        self.clock.advance(0)
        self.announcer.changed()
        self.announcer.stop()
        held.callback(None)
        self.announcer.changed()
        self.assertEqual(self.clock.getDelayedCalls(), [])
