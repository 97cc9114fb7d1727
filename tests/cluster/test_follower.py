"""Tests of the follower alone, with a publisher that answers as the test wants."""

from __future__ import annotations

import hashlib
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from cftpcluster.cluster.claims import promotes
from cftpcluster.cluster.faults import LinkLost, NoAnswer
from cftpcluster.cluster.messages import CHUNK_BYTES, FollowAnswer, SnapshotOffer
from cftpcluster.config.changes import Batch, Promote
from cftpcluster.errors import ChainMismatch, ClusterError, DiskFull, NotPrimary, Refused, SnapshotNeeded
from cftpcluster.interfaces import IFollower
from cftpcluster.journal.entry import CHAIN_START, Entry
from cftpcluster.journal.memory import MemoryJournal
from cftpcluster.testing.cluster import (
    FakePublisher,
    LateJournal,
    founding,
    makeNode,
    numbered,
    proposal,
    soon,
)


@define(eq=False)
class StubbornPublisher(FakePublisher):
    """Fails to give some chunks, by the number of the question."""

    failing: dict[int, Exception] = field(factory=dict)
    tries: list[int] = field(factory=list)

    def snapshotChunk(self, snapshotId: str, offset: int) -> Deferred[bytes]:
        self.tries.append(offset)
        error = self.failing.get(len(self.tries) - 1)
        return fail(error) if error is not None else super().snapshotChunk(snapshotId, offset)


class FollowerCase(SynchronousTestCase):
    """A secondary ``b`` that has two revisions of the four of its primary ``a``."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.journal = MemoryJournal({})
        for change in (founding("abc", "a"), *(numbered(number) for number in range(3))):
            soon(self.journal.append(proposal(change)))
        self.entries = list(soon(self.journal.since(0, 100)))
        self.node = makeNode("b", self.clock)
        soon(self.node.journal.extend(self.entries[:2]))
        self.node.start(soon(self.node.journal.head()))
        self.follower = self.node.follower
        self.publisher: Any = FakePublisher([self.answer()])

    def answer(self, **changes: Any) -> FollowAnswer:
        head = soon(self.journal.head())
        return evolve(FollowAnswer(head.epoch, head.revision, head.chainHash), **changes)

    def offered(self, diverged: bool = False, **changes: Any) -> FollowAnswer:
        """An answer that offers a snapshot of the primary's head."""
        snapshot = soon(self.journal.snapshot())
        self.publisher.chunks["1"] = snapshot.data
        offer = SnapshotOffer(
            "1", len(snapshot.data), snapshot.sha256, snapshot.epoch, snapshot.revision, snapshot.chainHash, diverged
        )
        return self.answer(snapshot=evolve(offer, **changes))

    def begin(self, name: str = "a") -> Deferred[None]:
        return self.follower.session(self.publisher, name)

    def revision(self) -> int:
        return int(soon(self.node.journal.head()).revision)


class StateTests(FollowerCase):
    def test_interface(self) -> None:
        verifyObject(IFollower, self.follower)

    def test_asksFromWhereItIs(self) -> None:
        self.begin()
        self.assertEqual(self.publisher.follows, [(1, 2, self.entries[1].chainHash)])

    def test_statesOnTheWay(self) -> None:
        self.assertEqual(self.follower.state, "disconnected")
        ended = self.begin()
        self.assertEqual(self.follower.state, "catchingUp")
        soon(self.follower.deliver(self.entries[2:3]))
        self.assertEqual(self.follower.state, "catchingUp")
        soon(self.follower.deliver(self.entries[3:]))
        self.assertEqual(self.follower.state, "following")
        self.assertNoResult(ended)
        self.follower.disconnected()
        self.assertEqual(self.follower.state, "disconnected")
        soon(ended)

    def test_followsAtOnceWhenItHasEverything(self) -> None:
        soon(self.node.journal.extend(self.entries[2:]))
        self.begin()
        self.assertEqual(self.follower.state, "following")

    def test_everythingIsIgnoredWithoutAPublisher(self) -> None:
        self.follower.disconnected()
        self.follower.resume()
        self.follower.resync()
        self.assertEqual(self.follower.state, "disconnected")
        for asked in (
            self.follower.deliver(self.entries[2:]),
            self.follower.position(1, 4, self.entries[3].chainHash),
            self.follower.perform("drain", {}),
        ):
            self.failureResultOf(asked, Refused)
        soon(self.follower.clusterStatus({"x": 1}))
        self.assertEqual((self.node.shown, self.node.actions), ({}, []))

    def test_notPrimaryEndsTheSession(self) -> None:
        self.publisher.answers = [NotPrimary(1, "c", "c.test")]
        self.assertEqual(self.failureResultOf(self.begin(), NotPrimary).value.name, "c")
        self.assertEqual(self.follower.state, "disconnected")

    def test_refusedByThePublisher(self) -> None:
        self.publisher.answers = [Refused("you were removed")]
        self.failureResultOf(self.begin(), Refused)
        self.assertEqual((self.follower.state, self.follower.problem), ("refused", "you were removed"))
        self.publisher.answers = [self.answer()]
        self.begin()
        self.assertEqual((self.follower.state, self.follower.problem), ("catchingUp", ""))

    def test_lostLinkIsLeftToWhoeverDials(self) -> None:
        self.publisher.answers = [LinkLost("cut", sent=True)]
        ended = self.begin()
        self.assertNoResult(ended)
        self.follower.disconnected()
        soon(ended)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_otherTroubleIsShownAndTriedAgain(self) -> None:
        self.publisher.answers = [ClusterError("internal error on a"), self.answer()]
        self.begin()
        self.assertEqual(self.follower.problem, "internal error on a")
        self.clock.advance(1)
        self.assertEqual(len(self.publisher.follows), 2)
        self.assertEqual(self.follower.problem, "")

    def test_defectIsLoggedAndTriedAgain(self) -> None:
        self.publisher.answers = [ValueError("broken"), self.answer()]
        self.begin()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.clock.advance(1)
        self.assertEqual(len(self.publisher.follows), 2)

    def test_waitsLongerWhenNothingComesOfIt(self) -> None:
        self.publisher.answers = [ClusterError("no")]
        self.begin()
        self.clock.pump([0.1] * 600)
        self.assertGreater(len(self.publisher.follows), 8)
        self.assertLess(len(self.publisher.follows), 25)

    def test_endWhileWaiting(self) -> None:
        self.publisher.answers = [ClusterError("no")]
        self.begin()
        self.follower.disconnected()
        self.clock.advance(100)
        self.assertEqual(len(self.publisher.follows), 1)

    def test_answerAfterTheEndIsIgnored(self) -> None:
        late: Deferred[FollowAnswer] = Deferred()
        self.publisher.answers = [late]
        self.begin()
        self.follower.disconnected()
        late.callback(self.answer())
        self.assertEqual(self.follower.state, "disconnected")
        self.assertIsNone(self.follower.publisher)

    def test_newPublisherReplacesTheOldOne(self) -> None:
        first = self.begin()
        self.publisher = FakePublisher([self.answer()])
        self.begin()
        soon(first)
        self.assertIs(self.follower.publisher, self.publisher)

    def test_publisherIsThereOnceItAccepts(self) -> None:
        late: Deferred[FollowAnswer] = Deferred()
        self.publisher.answers = [late]
        self.begin()
        self.assertIsNone(self.follower.publisher)
        late.callback(self.answer())
        self.assertIs(self.follower.publisher, self.publisher)


class EntryTests(FollowerCase):
    def setUp(self) -> None:
        super().setUp()
        self.ended = self.begin()

    def test_answersWithItsPlaceOnceItIsInTheJournal(self) -> None:
        last = self.entries[3]
        self.assertEqual(soon(self.follower.deliver(self.entries[2:])), (4, last.chainHash))
        self.assertEqual(self.revision(), 4)
        self.assertEqual(self.node.applied, [4])

    def test_isLiveBeforeTheAnswer(self) -> None:
        order: list[str] = []
        self.follower._applied = lambda head: order.append("applied")
        self.follower.deliver(self.entries[2:]).addCallback(lambda _: order.append("answered"))
        self.assertEqual(order, ["applied", "answered"])

    def test_whatCannotBeMadeLiveIsKeptAllTheSame(self) -> None:
        def broken(head: object) -> None:
            raise ValueError("port in use")

        self.follower._applied = broken
        self.assertEqual(soon(self.follower.deliver(self.entries[2:]))[0], 4)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_duplicates(self) -> None:
        self.assertEqual(soon(self.follower.deliver(self.entries[:3]))[0], 3)
        self.assertEqual(soon(self.follower.deliver(self.entries[:3]))[0], 3)
        self.assertEqual(soon(self.follower.deliver([]))[0], 3)
        self.assertEqual(self.node.applied, [3])

    def assertAsksAnew(self, entries: list[Entry]) -> None:
        asked = len(self.publisher.follows)
        with capturedLogs():
            self.failureResultOf(self.follower.deliver(entries), ChainMismatch)
        self.clock.advance(1)
        self.assertEqual(len(self.publisher.follows), asked + 1)
        self.assertEqual(self.revision(), 2)
        self.assertEqual(self.follower.state, "catchingUp")

    def test_gap(self) -> None:
        self.assertAsksAnew(self.entries[3:])

    def test_reordered(self) -> None:
        self.assertAsksAnew([self.entries[3], self.entries[2]])

    def test_alteredHash(self) -> None:
        self.assertAsksAnew([evolve(self.entries[2], chainHash=b"\1" * 32)])

    def test_sameRevisionWithAnotherHash(self) -> None:
        self.assertAsksAnew([evolve(self.entries[1], chainHash=b"\1" * 32)])

    def test_oneBatchAtATime(self) -> None:
        self.node.journal = LateJournal(self.node.journal, self.clock, lambda: 1.0)
        self.node.start(soon(self.node.journal.journal.head()))
        self.follower = self.node.follower
        self.begin()
        self.clock.pump([1.0] * 3)
        first = self.follower.deliver(self.entries[2:])
        self.failureResultOf(self.follower.deliver(self.entries[2:]), Refused)
        self.clock.pump([1.0] * 3)
        self.assertEqual(soon(first)[0], 4)

    def test_diskFullIsShownAndTold(self) -> None:
        late = LateJournal(self.node.journal, self.clock, lambda: 0.0)
        self.node.journal = late
        self.node.start(soon(late.journal.head()))
        self.follower = self.node.follower
        self.begin()
        self.clock.pump([0] * 5)
        late.broken = DiskFull("no room in /var")
        answer = self.follower.deliver(self.entries[2:])
        self.clock.pump([0] * 5)
        self.failureResultOf(answer, DiskFull)
        self.assertEqual(self.follower.problem, "no room in /var")
        late.broken = None
        answer = self.follower.deliver(self.entries[2:])
        self.clock.pump([0] * 5)
        self.assertEqual(soon(answer)[0], 4)
        self.assertEqual(self.follower.problem, "")

    def test_positionThatFits(self) -> None:
        soon(self.follower.position(1, 2, self.entries[1].chainHash))
        self.assertEqual(len(self.publisher.follows), 1)

    def test_positionBeyondIsAGap(self) -> None:
        soon(self.follower.position(1, 4, self.entries[3].chainHash))
        self.clock.advance(1)
        self.assertEqual(len(self.publisher.follows), 2)

    def test_positionOfALowerEpochIsRefused(self) -> None:
        soon(self.follower.position(0, 4, self.entries[3].chainHash))
        self.assertEqual(self.follower.state, "refused")
        self.failureResultOf(self.ended, Refused)

    def test_whilePausedNothingIsTaken(self) -> None:
        self.follower.pause()
        self.failureResultOf(self.follower.deliver(self.entries[2:]), Refused)
        self.failureResultOf(self.follower.position(1, 9, bytes(32)), Refused)
        self.assertEqual(soon(self.follower.perform("resume", {})), {"done": "resume"})
        self.follower.refused("no route")
        self.assertEqual((self.follower.state, self.follower.problem), ("paused", "no route"))
        self.failureResultOf(self.ended, Refused)

    def test_reports(self) -> None:
        self.clock.advance(0)
        self.assertEqual(self.publisher.reports[-1]["state"], "catchingUp")
        soon(self.follower.deliver(self.entries[2:]))
        self.clock.advance(0)
        last = self.publisher.reports[-1]
        self.assertEqual((last["state"], last["live"]), ("following", 4))
        count = len(self.publisher.reports)
        self.clock.pump([1.0] * 5)
        self.assertEqual(len(self.publisher.reports), count + 1)

    def test_ownStateOfTheNodeIsReported(self) -> None:
        self.follower._report = lambda: {"state": "draining", "live": 2, "problems": ["p"]}
        self.clock.advance(5)
        self.assertEqual(self.publisher.reports[-1], {"state": "draining", "live": 2, "problems": ["p"]})


class SnapshotTests(FollowerCase):
    def test_pulledProvedAndRestored(self) -> None:
        soon(self.journal.append(proposal(numbered(9, 3 * CHUNK_BYTES))))
        self.publisher.answers = [self.offered(), self.answer()]
        self.begin()
        self.assertEqual(self.revision(), 5)
        self.assertEqual(self.follower.state, "following")
        self.assertEqual(self.publisher.follows[1][1], 5)
        self.assertEqual(self.node.applied, [5])
        self.assertEqual(self.node.diverged, [])

    def test_whatOnlyThisNodeHasIsToldFirst(self) -> None:
        self.publisher.answers = [self.offered(diverged=True), self.answer()]
        self.begin()
        self.assertEqual([head.revision for head, _ in self.node.diverged], [2])

    def test_falseSnapshotsAreNotTaken(self) -> None:
        good = self.offered().snapshot
        assert good is not None
        false = [
            evolve(good, sha256=hashlib.sha256(b"x").digest()),
            evolve(good, size=good.size - 1),
            evolve(good, revision=3),
        ]
        for offer in false:
            self.publisher.answers = [self.answer(snapshot=offer)]
            self.begin()
            self.assertEqual(self.revision(), 2)
            self.assertIn("snapshot", self.follower.problem)
            self.follower.disconnected()

    def test_hugeSnapshotIsRefused(self) -> None:
        self.publisher.answers = [self.offered(size=2**40)]
        self.failureResultOf(self.begin(), Refused)

    def test_emptyChunkEndsThePull(self) -> None:
        self.publisher.answers = [self.offered()]
        self.publisher.chunks["1"] = b""
        self.begin()
        self.assertIn("chunk", self.follower.problem)

    def test_logSaysThatItWasTakenWhole(self) -> None:
        self.publisher.answers = [self.offered(), self.answer()]
        with capturedLogs() as events:
            self.begin()
        self.assertIn("took revision 4 of a whole, as a snapshot", [formatEvent(event) for event in events])

    def test_expiredOfferIsAskedForAnew(self) -> None:
        self.publisher = StubbornPublisher([self.offered(), self.offered(), self.answer()])
        self.publisher.chunks["1"] = soon(self.journal.snapshot()).data
        self.publisher.failing = {0: SnapshotNeeded("not offered any more")}
        self.begin()
        self.clock.advance(1)
        self.assertEqual(self.revision(), 4)

    def test_chunkThatDoesNotComeIsAskedForAgain(self) -> None:
        soon(self.journal.append(proposal(numbered(9, 3 * CHUNK_BYTES))))
        self.publisher = StubbornPublisher([self.offered(), self.answer()])
        self.publisher.chunks["1"] = soon(self.journal.snapshot()).data
        self.publisher.failing = {1: NoAnswer("no answer"), 2: NoAnswer("no answer")}
        self.begin()
        self.assertEqual(self.publisher.tries[:5], [0, CHUNK_BYTES, CHUNK_BYTES, CHUNK_BYTES, 2 * CHUNK_BYTES])
        self.assertEqual(self.revision(), 5)

    def test_chunkThatNeverComesEndsThePull(self) -> None:
        self.publisher = StubbornPublisher([self.offered()])
        self.publisher.failing = {number: NoAnswer("no answer") for number in range(9)}
        ended = self.begin()
        self.assertEqual((self.revision(), len(self.publisher.tries)), (2, 3))
        self.assertNoResult(ended)

    def test_olderSnapshotsAreNotTaken(self) -> None:
        """However often they are offered."""
        old = MemoryJournal({})
        soon(old.extend(self.entries[:1]))
        self.journal, whole = old, self.journal
        answer = self.offered(diverged=True)
        self.journal = whole
        self.publisher.answers = [answer]
        for _ in range(100):
            self.failureResultOf(self.begin(), Refused)
        self.assertEqual(self.revision(), 2)

    def test_resyncAsksForASnapshotWhateverItHas(self) -> None:
        self.begin()
        self.publisher.answers = [self.offered(diverged=True), self.answer()]
        self.follower.resync()
        self.clock.advance(1)
        self.assertEqual(self.publisher.follows[1:], [(1, 2, b""), (1, 4, self.entries[3].chainHash)])
        self.assertEqual(self.node.applied, [4])

    def test_pausedFollowerPullsNothing(self) -> None:
        self.follower.pause()
        self.publisher.answers = [self.offered()]
        self.begin()
        self.assertEqual(self.revision(), 2)
        self.publisher.answers = [self.offered(), self.answer()]
        self.follower.resume()
        self.clock.advance(1)
        self.assertEqual(self.revision(), 4)


class ClaimTests(FollowerCase):
    """``c`` claims to be primary of epoch 2."""

    def claim(self, *changes: Any) -> list[Entry]:
        """What ``c`` has after the four revisions; the publisher answers with its head."""
        for change in changes:
            soon(self.journal.append(proposal(change)))
        self.publisher.answers = [self.answer()]
        return list(soon(self.journal.since(2, 100)))

    def test_recordThatNamesTheClaimant(self) -> None:
        entries = self.claim(numbered(7), Promote(2, "c", "force"), numbered(8))
        self.begin("c")
        for entry in entries[:3]:
            self.assertEqual(soon(self.follower.deliver([entry])), (2, self.entries[1].chainHash))
        self.assertEqual(self.revision(), 2)
        self.assertEqual(soon(self.follower.deliver(entries[3:]))[0], 7)
        self.assertEqual(self.node.applied, [7])
        self.assertEqual(self.follower.state, "following")

    def test_recordWithinABatch(self) -> None:
        entries = self.claim(Batch((Promote(2, "c", "restore"), numbered(8))))
        self.begin("c")
        self.assertEqual(soon(self.follower.deliver(entries))[0], 5)

    def test_recordThatNamesSomebodyElse(self) -> None:
        entries = self.claim(Promote(2, "a", "force"))
        ended = self.begin("c")
        soon(self.follower.deliver(entries))
        self.assertEqual(self.revision(), 2)
        soon(self.follower.position(2, 5, entries[-1].chainHash))
        self.failureResultOf(ended, Refused)
        self.assertEqual(self.follower.state, "refused")
        self.assertEqual(self.revision(), 2)

    def test_claimantMayNotHaveAnythingPerformed(self) -> None:
        self.claim(Promote(2, "c", "force"))
        self.begin("c")
        self.failureResultOf(self.follower.perform("drain", {}), Refused)
        self.assertEqual(self.node.actions, [])

    def test_sameEpochBySomebodyElseIsRefused(self) -> None:
        ended = self.begin("c")
        self.assertIn("whose primary is a", self.failureResultOf(ended, Refused).getErrorMessage())

    def test_lowerEpochIsRefused(self) -> None:
        self.publisher.answers = [self.answer(epoch=0)]
        self.failureResultOf(self.begin(), Refused)

    def test_entriesOfALowerEpochAreRefused(self) -> None:
        ended = self.begin()
        self.failureResultOf(self.follower.deliver([evolve(self.entries[2], epoch=0)]), Refused)
        self.failureResultOf(ended, Refused)
        self.assertEqual(self.revision(), 2)

    def test_snapshotThatDoesNotNameTheClaimantIsRefused(self) -> None:
        self.claim(Promote(2, "a", "force"))
        self.publisher.answers = [self.offered()]
        self.failureResultOf(self.begin("c"), Refused)
        self.assertEqual(self.revision(), 2)

    def test_snapshotThatNamesTheClaimantIsTaken(self) -> None:
        self.claim(Promote(2, "c", "force"))
        self.publisher.answers = [self.offered(), self.answer()]
        self.begin("c")
        self.assertEqual(self.revision(), 5)

    def test_snapshotBeyondWhatWasAnsweredIsRefused(self) -> None:
        self.publisher.answers = [evolve(self.offered(), revision=3)]
        self.failureResultOf(self.begin(), Refused)

    def test_endlessHistoryWithoutARecordIsRefused(self) -> None:
        self.claim(numbered(7, 40_000_000), numbered(8, 40_000_000), Promote(2, "c", "force"))
        ended = self.begin("c")
        for revision in (2, 3, 4):
            soon(self.follower.deliver(soon(self.journal.since(revision, 1))))
        self.failureResultOf(self.follower.deliver(soon(self.journal.since(5, 1))), Refused)
        self.failureResultOf(ended, Refused)
        self.assertEqual(self.revision(), 2)

    def test_primaryThatWasPromotedAgainGoesOn(self) -> None:
        self.begin()
        soon(self.follower.deliver(self.entries[2:]))
        entries = self.claim(Promote(2, "a", "restore"), numbered(9))[2:]
        self.assertEqual(soon(self.follower.deliver(entries))[0], 6)
        self.clock.advance(0)
        self.assertEqual(self.follower.state, "following")
        soon(self.follower.position(2, 6, entries[-1].chainHash))
        self.assertEqual(len(self.publisher.follows), 1)

    def test_freshNodeTakesTheWholeHistory(self) -> None:
        entries = self.claim(Promote(2, "c", "force"))
        fresh = makeNode("d", self.clock)
        ended = fresh.follower.session(self.publisher, "c")
        self.assertEqual(self.publisher.follows, [(0, 0, CHAIN_START)])
        for entry in [*self.entries[:2], *entries]:
            soon(fresh.follower.deliver([entry]))
        self.assertEqual(fresh.follower.state, "following")
        self.assertNoResult(ended)

    def test_freshNodeThatWasLiedToGoesToThePrimary(self) -> None:
        entries = self.claim(Promote(2, "c", "force"))
        fresh = makeNode("d", self.clock)
        ended = fresh.follower.session(self.publisher, "b")
        soon(fresh.follower.deliver([*self.entries[:2], *entries]))
        self.clock.advance(0)
        error = self.failureResultOf(ended, NotPrimary).value
        self.assertEqual((error.epoch, error.name, error.address), (2, "c", "c.test"))

    def test_changesThatCannotBeReadPromoteNobody(self) -> None:
        head = soon(self.journal.head())
        broken = evolve(self.entries[3], epoch=2, change=b"?")
        large = evolve(self.entries[3], epoch=2, change=bytes(2_000_000))
        self.assertFalse(promotes([broken], head, "c", 2))
        self.assertFalse(promotes([large], head, "c", 2))
