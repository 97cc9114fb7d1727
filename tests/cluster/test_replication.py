"""Tests of publisher and follower together, joined without a link, on a clock."""

from __future__ import annotations

import random
from collections.abc import Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.changes import Promote, Put, Remove
from cftpcluster.config.document import Node
from cftpcluster.errors import DiskFull, NotPrimary, Refused
from cftpcluster.journal.entry import Entry
from cftpcluster.journal.memory import MemoryJournal
from cftpcluster.testing.cluster import (
    ClusterNode,
    LateJournal,
    Line,
    documentBytes,
    founding,
    makeNode,
    numbered,
    proposal,
    soon,
)


class ReplicationCase(SynchronousTestCase):
    """A primary ``a`` with a few changes, and two secondaries without any."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.a, self.b, self.c = (makeNode(name, self.clock) for name in "abc")
        self.a.change(founding("abc", "a"))
        for number in range(3):
            self.a.change(numbered(number))

    def join(self, follower: ClusterNode, publisher: ClusterNode, **options: object) -> Line:
        line = Line(follower, publisher, self.clock, **options).join()  # type: ignore[arg-type]
        self.clock.advance(0)
        return line

    def assertSame(self, *nodes: ClusterNode) -> None:
        """All have the same history and the same document."""
        heads = [soon(node.journal.head()) for node in nodes]
        places = {(head.epoch, head.revision, head.chainHash) for head in heads}
        self.assertEqual(len(places), 1, places)
        self.assertEqual(len({documentBytes(node.journal) for node in nodes}), 1)  # type: ignore[arg-type]


class FollowingTests(ReplicationCase):
    def test_newFollowerGetsEverythingFromTheLog(self) -> None:
        self.join(self.b, self.a)
        self.assertSame(self.a, self.b)
        self.assertEqual(self.b.follower.state, "following")
        self.assertEqual(self.b.diverged, [])

    def test_changeIsLiveAtOnce(self) -> None:
        self.join(self.b, self.a)
        revision = self.a.change(numbered(10))
        self.assertEqual(self.b.applied[-1], revision)
        self.assertSame(self.a, self.b)

    def test_burstArrivesInBatches(self) -> None:
        line = self.join(self.b, self.a, delay=lambda: 0.01)
        self.clock.pump([0.01] * 20)
        for number in range(500):
            self.a.change(numbered(100 + number))
        self.clock.pump([0.01] * 20)
        self.assertSame(self.a, self.b)
        revisions = [revision for batch in line.delivered for revision in batch]
        self.assertEqual(revisions, list(range(1, 505)))
        self.assertLess(len(line.delivered), 6)

    def test_oneBatchIsInFlight(self) -> None:
        line = self.join(self.b, self.a, delay=lambda: 1.0)
        self.clock.pump([0.5] * 10)
        before = len(line.delivered)
        for number in range(5):
            self.a.change(numbered(10 + number))
        self.assertEqual(len(line.delivered), before + 1)
        self.clock.pump([1.0] * 6)
        self.assertSame(self.a, self.b)

    def test_largeEntriesGoOneByOne(self) -> None:
        line = self.join(self.b, self.a)
        for number in range(4):
            self.a.change(numbered(10 + number, 200_000))
        self.b.follower.disconnected()
        self.join(self.c, self.a)
        self.assertSame(self.a, self.b, self.c)
        self.assertEqual([len(batch) for batch in line.delivered[1:]], [1, 1, 1, 1])

    def test_slowFollowerDoesNotHoldTheOther(self) -> None:
        self.join(self.b, self.a, delay=lambda: 30.0)
        self.join(self.c, self.a)
        for number in range(10):
            self.a.change(numbered(10 + number))
        self.assertSame(self.a, self.c)
        self.assertLess(self.b.follower.head.revision, self.a.publisher.head.revision)

    def test_followerThatComesBackGetsOnlyWhatItLacks(self) -> None:
        self.join(self.b, self.a).cut()
        self.assertEqual(self.b.follower.state, "disconnected")
        self.a.change(numbered(10))
        line = self.join(self.b, self.a)
        self.assertEqual(line.delivered, [[5]])
        self.assertSame(self.a, self.b)

    def test_entriesAppendedWhileAskingAreNotMissed(self) -> None:
        """Between the question and its answer the cursor is registered already."""
        self.a.journal = LateJournal(self.a.journal, self.clock, lambda: 1.0)
        self.a.start(self.a.publisher.head)
        self.join(self.b, self.a)
        for number in range(5):
            self.a.propose(proposal(numbered(10 + number)))
            self.clock.advance(0.4)
        self.clock.pump([1.0] * 10)
        self.assertEqual(soon(self.b.journal.head()).revision, 9)
        self.assertEqual(self.b.follower.state, "following")

    def test_manyFollowersOfOnePrimary(self) -> None:
        self.join(self.b, self.a)
        self.join(self.c, self.a)
        self.a.change(numbered(10))
        self.assertSame(self.a, self.b, self.c)


class SnapshotTests(ReplicationCase):
    def setUp(self) -> None:
        super().setUp()
        for number in range(20):
            self.a.change(numbered(100 + number, 60_000))
        soon(self.a.journal.compact(2))

    def test_tooOldFollowerPullsSnapshotAndThenEntries(self) -> None:
        line = self.join(self.b, self.a)
        self.assertSame(self.a, self.b)
        self.assertEqual(line.delivered, [])
        self.assertEqual(self.b.diverged, [])
        self.a.change(numbered(10))
        self.assertEqual(line.delivered, [[25]])
        self.assertSame(self.a, self.b)

    def test_changesDuringThePullFollowIt(self) -> None:
        line = self.join(self.b, self.a, delay=lambda: 0.1)
        for number in range(10):
            self.clock.advance(0.2)
            self.a.change(numbered(10 + number))
        self.clock.pump([0.1] * 100)
        self.assertSame(self.a, self.b)
        self.assertEqual([revision for batch in line.delivered for revision in batch], list(range(25, 35)))

    def test_compactionDuringThePullLeadsToANewerSnapshot(self) -> None:
        self.join(self.b, self.a, delay=lambda: 0.1)
        self.clock.pump([0.1] * 5)
        for number in range(10):
            self.a.change(numbered(10 + number))
        soon(self.a.journal.compact(1))
        self.clock.pump([0.1] * 200)
        self.assertSame(self.a, self.b)

    def test_slowFollowerIsOvertakenByCompaction(self) -> None:
        self.join(self.b, self.a, delay=lambda: 1.0)
        self.clock.pump([0.5] * 100)
        self.assertSame(self.a, self.b)
        for number in range(2000):
            self.a.change(numbered(number))
        soon(self.a.journal.compact(1))
        self.clock.pump([0.5] * 300)
        self.assertSame(self.a, self.b)
        self.assertEqual(self.b.follower.state, "following")

    def test_lineCutDuringThePull(self) -> None:
        line = self.join(self.b, self.a, delay=lambda: 0.1)
        self.clock.pump([0.1] * 6)
        line.cut()
        self.assertEqual(soon(self.b.journal.head()).revision, 0)
        self.join(self.b, self.a)
        self.assertSame(self.a, self.b)


class FaultTests(ReplicationCase):
    def tampered(self, tamper: object) -> Line:
        """A line on which only the next batch is tampered with."""
        line = self.join(self.b, self.a)

        def once(entries: Sequence[Entry]) -> Sequence[Entry]:
            line.tamper = lambda entries: entries
            changed: Sequence[Entry] = tamper(entries)  # type: ignore[operator]
            return changed

        line.tamper = once
        return line

    def heal(self) -> None:
        self.clock.pump([0.5] * 40)
        self.assertSame(self.a, self.b)
        self.assertEqual(self.b.follower.state, "following")
        self.assertEqual(self.b.follower.problem, "")

    def test_gapMakesFollowerCatchUp(self) -> None:
        line = self.join(self.b, self.a, delay=lambda: 0.1)
        self.clock.pump([0.1] * 20)
        line.tamper = lambda entries: entries[1:] if len(entries) > 1 else entries
        self.a.change(numbered(9))
        for number in range(3):
            self.a.change(numbered(10 + number))
        self.clock.advance(0.15)
        self.clock.advance(0.15)
        line.tamper = lambda entries: entries
        self.heal()
        self.assertEqual(self.b.applied, sorted(set(self.b.applied)))

    def test_duplicatesAreTakenOnce(self) -> None:
        self.tampered(lambda entries: [*soon(self.a.journal.since(2, 10)), *entries[len(entries) :]])
        revision = self.a.change(numbered(10))
        self.heal()
        self.assertEqual(self.b.applied.count(revision), 1)

    def test_reorderedEntriesAreNotTaken(self) -> None:
        line = self.join(self.b, self.a, delay=lambda: 0.1)
        self.clock.pump([0.1] * 20)
        line.tamper = lambda entries: entries[::-1]
        for number in range(4):
            self.a.change(numbered(10 + number))
        self.clock.pump([0.1] * 6)
        line.tamper = lambda entries: entries
        self.heal()

    def test_alteredEntryIsNotTaken(self) -> None:
        def alter(entries: Sequence[Entry]) -> Sequence[Entry]:
            body = entries[0].body.replace(b"group-10", b"group-66")
            return [Entry.fromBody(body, entries[0].chainHash)]

        self.tampered(alter)
        self.a.change(numbered(10))
        self.heal()
        self.assertNotIn("group-66", self.b.document.groups)

    def test_diskFullOnAFollowerIsShownAndGetsOver(self) -> None:
        late = LateJournal(self.b.journal, self.clock, lambda: 0.0)
        self.b.journal = late
        self.b.start(soon(late.journal.head()))
        self.join(self.b, self.a)
        self.clock.pump([0.1] * 10)
        late.broken = DiskFull("no room in /var")
        self.a.change(numbered(10))
        self.clock.pump([0.1] * 30)
        [row] = [row for row in self.a.publisher.rows() if row["name"] == "b"]
        self.assertIn("no room in /var", row["problems"])
        self.assertGreater(row["lagSeconds"], 2)
        late.broken = None
        self.clock.pump([0.1] * 50)
        self.assertEqual(soon(late.journal.head()).revision, self.a.publisher.head.revision)
        self.assertEqual(self.b.follower.problem, "")
        self.assertEqual([row["problems"] for row in self.a.publisher.rows()], [[], []])


class EpochTests(ReplicationCase):
    """Who is believed to be primary."""

    def test_removedNodeGetsNothingMore(self) -> None:
        line = self.join(self.b, self.a)
        self.a.change(Remove("nodes", "b"))
        before = list(line.delivered)
        self.a.change(numbered(10))
        self.assertEqual(line.delivered, before)
        self.assertNotIn("b", [row["name"] for row in self.a.publisher.rows()])

    def test_nodeThatIsNoMemberMayNotFollow(self) -> None:
        line = self.join(makeNode("stranger", self.clock), self.a)
        line.outcome[0].trap(Refused)

    def test_nodeThatIsNotPrimarySaysWhoIs(self) -> None:
        self.join(self.b, self.a)
        line = self.join(self.c, self.b)
        error = line.outcome[0].value
        self.assertIsInstance(error, NotPrimary)
        self.assertEqual((error.epoch, error.name, error.address), (1, "a", "a.test"))

    def test_promotionInTheHistoryMovesFollowers(self) -> None:
        """The old primary appends the record; everybody hears of the new one by it."""
        lines = [self.join(self.b, self.a), self.join(self.c, self.a)]
        self.a.change(Promote(2, "b", "test"))
        self.assertSame(self.a, self.b, self.c)
        self.clock.advance(0)
        for line in lines:
            error = line.outcome[0].value
            self.assertEqual((error.epoch, error.name), (2, "b"))
        self.join(self.c, self.b)
        self.join(self.a, self.b)
        self.b.change(numbered(10))
        self.assertSame(self.a, self.b, self.c)
        self.assertEqual(self.c.follower.state, "following")

    def promoteB(self) -> None:
        """``b`` was promoted while ``a`` and ``c`` were away."""
        self.join(self.b, self.a).cut()
        self.join(self.c, self.a).cut()
        self.b.change(Promote(2, "b", "test --force"))
        self.b.change(numbered(50))

    def test_followerTakesAClaimWithItsRecord(self) -> None:
        self.promoteB()
        line = self.join(self.c, self.b)
        self.assertEqual(line.outcome, [])
        self.assertSame(self.b, self.c)

    def test_recordMayComeAfterOtherEntries(self) -> None:
        """``c`` lacks entries of the old epoch too: they are held until the record has come."""
        line = self.join(self.c, self.a)
        line.cut()
        for number in range(3):
            self.a.change(numbered(20 + number, 150_000))
        self.promoteB()
        self.c = makeNode("c", self.clock)
        soon(self.c.journal.extend(soon(self.a.journal.since(0, 2))))
        self.c.start(soon(self.c.journal.head()))
        line = self.join(self.c, self.b)
        self.assertSame(self.b, self.c)
        self.assertGreater(len(line.delivered), 2)
        self.assertEqual(self.c.applied, [9])

    def test_lowerEpochIsRefused(self) -> None:
        self.promoteB()
        line = self.join(self.b, self.a)
        self.assertIsInstance(line.outcome[0].value, NotPrimary)
        self.assertEqual([who[:2] for who in self.a.beyond], [("b", 2)])
        self.assertNotEqual(soon(self.a.journal.head()), soon(self.b.journal.head()))

    def test_oldPrimaryFollowsAndItsOwnChangesAreKept(self) -> None:
        self.promoteB()
        for number in range(5):
            self.a.change(numbered(70 + number))
        mine = soon(self.a.journal.head())
        self.join(self.a, self.b)
        self.assertSame(self.a, self.b)
        self.assertEqual([head for head, _ in self.a.diverged], [mine])

    def test_oldPrimaryKeepsItsOwnChangesAlsoWhereTheirPlaceIsForgotten(self) -> None:
        self.promoteB()
        for number in range(5):
            self.a.change(numbered(70 + number))
        mine = soon(self.a.journal.head())
        for number in range(10):
            self.b.change(numbered(80 + number))
        soon(self.b.journal.compact(1))
        self.join(self.a, self.b)
        self.assertSame(self.a, self.b)
        self.assertEqual([head for head, _ in self.a.diverged], [mine])

    def test_whoFollowsAFencedPrimaryLooksForTheNextOne(self) -> None:
        """Also a node that could take nothing yet."""
        full = LateJournal(self.c.journal, self.clock, lambda: 0.0, DiskFull("no room"))
        self.c.journal = full
        self.c.start(soon(self.c.journal.journal.head()))
        lines = [self.join(self.b, self.a), self.join(self.c, self.a)]
        self.clock.pump([0.1] * 5)
        self.assertEqual((self.c.follower.head.revision, self.c.follower.state), (0, "catchingUp"))
        self.a.publisher.fence(2, "b")
        self.clock.pump([0.5] * 5)
        for line in lines:
            self.assertIsInstance(line.outcome[0].value, NotPrimary)

    def test_shorterHistoryIsRefusedUntilResync(self) -> None:
        self.promoteB()
        self.join(self.c, self.a)
        for number in range(5):
            self.a.change(numbered(70 + number))
        before = soon(self.c.journal.head())
        self.c.follower.disconnected()
        line = self.join(self.c, self.b)
        line.outcome[0].trap(Refused)
        self.assertEqual(self.c.follower.state, "refused")
        self.assertIn("resync", self.c.follower.problem)
        self.assertEqual(soon(self.c.journal.head()), before)
        self.c.follower.resync()
        self.join(self.c, self.b)
        self.assertSame(self.b, self.c)
        self.assertEqual([head for head, _ in self.c.diverged], [before])

    def test_emptiedPrimaryDoesNotEmptyItsFollowers(self) -> None:
        self.join(self.b, self.a).cut()
        before = soon(self.b.journal.head())
        wiped = makeNode("a", self.clock)
        wiped.change(founding("abc", "a"))
        self.join(self.b, wiped)
        self.assertEqual(self.b.follower.state, "catchingUp")
        self.assertTrue(wiped.beyond)
        self.assertEqual(soon(self.b.journal.head()), before)

    def test_replayedOlderPrimaryIsRefused(self) -> None:
        """The primary came back from an old copy of its disk."""
        self.join(self.b, self.a).cut()
        before = soon(self.b.journal.head())
        old = makeNode("a", self.clock)
        soon(old.journal.extend(soon(self.a.journal.since(0, 2))))
        old.start(soon(old.journal.head()))
        for _ in range(10):
            self.join(self.b, old).cut()
        self.assertEqual(len(old.beyond), 10)
        self.assertEqual(soon(self.b.journal.head()), before)
        self.assertEqual(self.b.diverged, [])

    def test_sameEpochAnotherPrimaryIsRefused(self) -> None:
        """Two nodes were promoted to one epoch: nobody gives up anything."""
        self.join(self.b, self.a).cut()
        self.join(self.c, self.a).cut()
        self.b.change(Promote(2, "b", "test"))
        self.c.change(Promote(2, "c", "test"))
        heads = [soon(node.journal.head()) for node in (self.b, self.c)]
        self.join(self.b, self.c).outcome[0].trap(Refused)
        self.join(self.c, self.b).outcome[0].trap(Refused)
        self.assertEqual([soon(node.journal.head()) for node in (self.b, self.c)], heads)


class PauseTests(ReplicationCase):
    def test_pausedFollowerTakesNothingAndCanBeTold(self) -> None:
        line = self.join(self.b, self.a)
        self.b.follower.pause()
        self.a.change(numbered(10))
        self.assertLess(self.b.follower.head.revision, self.a.publisher.head.revision)
        self.clock.advance(0)
        self.assertEqual({row["name"]: row["state"] for row in self.a.publisher.rows()}["b"], "paused")
        self.assertEqual(soon(self.a.publisher.perform("b", "resume", {})), {"done": "resume"})
        self.b.follower.resume()
        self.clock.advance(1)
        self.assertSame(self.a, self.b)
        self.assertEqual(line.outcome, [])

    def test_pauseOutlivesTheLine(self) -> None:
        self.join(self.b, self.a).cut()
        self.b.follower.pause()
        self.a.change(numbered(10))
        line = self.join(self.b, self.a)
        self.assertEqual(self.b.follower.state, "paused")
        self.assertLess(self.b.follower.head.revision, self.a.publisher.head.revision)
        line.cut()
        self.assertEqual(self.b.follower.state, "paused")
        self.b.follower.resume()
        self.assertEqual(self.b.follower.state, "disconnected")


class StatusTests(ReplicationCase):
    def test_everyNodeIsShownOnEveryNode(self) -> None:
        self.join(self.b, self.a)
        self.join(self.c, self.a)
        self.a.change(numbered(10))
        self.clock.pump([0.5] * 5)
        rows = {row["name"]: row for row in self.b.shown["nodes"]}
        self.assertEqual({row["state"] for row in rows.values()}, {"following"})
        self.assertEqual({row["revision"] for row in rows.values()}, {5})
        self.assertEqual({row["live"] for row in rows.values()}, {5})
        self.assertEqual({row["lagSeconds"] for row in rows.values()}, {0})

    def test_lagCountsFromTheOldestMissingEntry(self) -> None:
        self.join(self.b, self.a).cut()
        self.a.change(numbered(10))
        self.clock.advance(7)
        self.a.change(numbered(11))
        self.clock.advance(3)
        rows = {row["name"]: row for row in self.a.publisher.rows()}
        self.assertEqual(rows["b"]["lagSeconds"], 10)
        self.assertEqual(rows["b"]["state"], "disconnected")

    def test_statusIsPushedAtMostEverySecond(self) -> None:
        line = self.join(self.b, self.a)
        statuses = []
        self.b.follower._clusterStatus = statuses.append  # type: ignore[assignment]
        for number in range(100):
            self.a.change(numbered(10 + number))
            self.clock.advance(0.05)
        self.assertLessEqual(len(statuses), 6)
        self.assertEqual(line.outcome, [])

    def test_silentDivergenceIsNoticedWhenIdle(self) -> None:
        """What a follower has is compared with the primary again and again."""
        self.join(self.b, self.a)
        head = soon(self.b.journal.head())
        self.b.follower.head = type(head)(head.epoch, head.revision, b"\1" * 32, head.document)
        self.clock.pump([1.0] * 12)
        self.assertSame(self.a, self.b)
        self.assertEqual(self.b.follower.head.chainHash, head.chainHash)


class ScheduleTests(SynchronousTestCase):
    """Many seeded schedules of changes, cuts, delays, compactions and restarts."""

    def run_(self, seed: int) -> None:
        chance = random.Random(seed)
        clock = Clock()
        a = self.started("a", clock, chance, MemoryJournal({}))
        a.propose(proposal(founding("abc", "a")))
        clock.pump([0.1] * 5)
        followers = {name: self.started(name, clock, chance, MemoryJournal({})) for name in "bc"}
        lines: dict[str, Line] = {}
        for step in range(25):
            what = chance.random()
            name = chance.choice("bc")
            if what < 0.5:
                for number in range(chance.choice((1, 1, 3, 10))):
                    a.propose(proposal(numbered(step * 100 + number, chance.choice((0,) * 9 + (90_000,)))))
            elif what < 0.75:
                if name in lines:
                    lines.pop(name).cut()
                else:
                    lines[name] = Line(followers[name], a, clock, lambda: chance.uniform(0, 0.2)).join()
            elif what < 0.85:
                if name in lines:
                    lines.pop(name).cut()
                node = followers[name]
                restarted = self.started(name, clock, chance, node.journal.journal)
                restarted.applied = node.applied
                followers[name] = restarted
            elif what < 0.9:
                a.journal.compact(chance.choice((0, 5, 50)))
            clock.pump([0.05] * chance.choice((0, 1, 5, 20)))
        for name, node in followers.items():
            if name in lines:
                lines.pop(name).cut()
            Line(node, a, clock, lambda: chance.uniform(0, 0.2)).join()
        # A chunk of a snapshot takes a question and an answer, each on its way for a while.
        for _ in range(200):
            clock.pump([0.1] * 10)
            if all(node.follower.state == "following" for node in followers.values()):
                break
        clock.pump([0.1] * 20)
        want = soon(a.journal.journal.head())
        for node in followers.values():
            have = soon(node.journal.journal.head())
            self.assertEqual((have.epoch, have.revision, have.chainHash), (want.epoch, want.revision, want.chainHash))
            self.assertEqual(documentBytes(node.journal.journal), documentBytes(a.journal.journal))
            self.assertEqual(node.follower.state, "following")
            self.assertEqual(node.applied, sorted(set(node.applied)), "applied in order, each once")
            self.assertEqual(node.diverged, [])

    def started(self, name: str, clock: Clock, chance: random.Random, journal: MemoryJournal) -> ClusterNode:
        node = ClusterNode(name, LateJournal(journal, clock, lambda: chance.choice((0, 0, 0.01, 0.1))), clock)
        node.start(soon(journal.head()))
        return node

    def test_everyScheduleEndsWithEqualHistories(self) -> None:
        for seed in range(60):
            try:
                self.run_(seed)
            except Exception as error:
                raise AssertionError(f"seed {seed}") from error


class MembershipTests(ReplicationCase):
    def test_nodeThatWasJustPutInMayFollow(self) -> None:
        d = makeNode("d", self.clock)
        self.join(d, self.a).outcome[0].trap(Refused)
        self.a.change(Put("nodes", Node(name="d", address="d.test")))
        self.join(d, self.a)
        self.assertSame(self.a, d)
