"""What one node takes from another's history, and what it does not."""

from __future__ import annotations

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.cluster.history import OwnHistory, catchUp
from cftpcluster.cluster.offers import SnapshotOffers
from cftpcluster.config.changes import Promote
from cftpcluster.testing.cluster import ClusterNode, founding, makeNode, numbered, soon


class CatchUpTests(SynchronousTestCase):
    """Node ``a`` has two revisions; ``b`` has them, was promoted, and went on."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.a, self.b = (makeNode(name, self.clock) for name in "ab")
        self.a.change(founding("ab", "a"))
        self.a.change(numbered(1))
        soon(self.b.journal.extend(soon(self.a.journal.since(0, 10))))
        self.b.start(soon(self.b.journal.head()))
        self.b.change(Promote(2, "b", "test"))
        for number in range(5):
            self.b.change(numbered(10 + number))

    def caughtUp(self, node: ClusterNode) -> bool:
        offers = SnapshotOffers(self.b.journal, self.clock, lambda: "offer")
        taken = node.applied.append
        done: bool = soon(
            Deferred.fromCoroutine(
                catchUp(
                    node.journal, OwnHistory(self.b.journal, offers), maybeDeferred, lambda head: taken(head.revision)
                )
            )
        )
        return done

    def test_takesWhatFollowsOnItsOwn(self) -> None:
        self.assertTrue(self.caughtUp(self.a))
        self.assertEqual(soon(self.a.journal.head()), soon(self.b.journal.head()))
        self.assertEqual(self.a.applied[-1], 8)

    def test_takesNothingFromAnotherHistory(self) -> None:
        self.a.change(numbered(2))
        before = soon(self.a.journal.head())
        self.assertFalse(self.caughtUp(self.a))
        self.assertEqual(soon(self.a.journal.head()), before)

    def test_takesNothingThatIsNotProvenToFollow(self) -> None:
        """What this node has after the other one's oldest entry may be its own alone."""
        self.a.change(numbered(2))
        before = soon(self.a.journal.head())
        soon(self.b.journal.compact(1))
        self.assertFalse(self.caughtUp(self.a))
        self.assertEqual(soon(self.a.journal.head()), before)

    def test_takesASnapshotOfItsOwnEpochAndOneWhereItHasNothing(self) -> None:
        late = makeNode("b", self.clock)
        soon(late.journal.extend(soon(self.b.journal.since(0, 4))))
        soon(self.b.journal.compact(1))
        for node in (late, makeNode("c", self.clock)):
            self.assertTrue(self.caughtUp(node))
            self.assertEqual(soon(node.journal.head()), soon(self.b.journal.head()))
