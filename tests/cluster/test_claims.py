"""What another node's word about its journal means."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.cluster.claims import Standing, requireClaim, standingOf
from cftpcluster.cluster.messages import FollowAnswer, Hello
from cftpcluster.config.document import Document
from cftpcluster.errors import Refused
from cftpcluster.journal.entry import CHAIN_START, Head
from cftpcluster.testing.cluster import founding, makeNode, numbered


class StandingTests(SynchronousTestCase):
    """``a`` is primary of epoch 1, at revision 2; ``b`` says something."""

    def setUp(self) -> None:
        node = makeNode("a", Clock())
        node.change(founding("abc", "a"))
        node.change(numbered(1))
        self.addCleanup(node.publisher.stop)
        self.head = node.publisher.head

    def assertStanding(self, standing: Standing, node: str = "a", **said: Any) -> None:
        hello = evolve(Hello.fromHead("b", self.head), **said)
        self.assertIs(standingOf(hello, self.head, node), standing, said)

    def test_equalOrShorterIsBehind(self) -> None:
        self.assertStanding(Standing.behind)
        self.assertStanding(Standing.behind, revision=1, chainHash=b"\1" * 32)
        self.assertStanding(Standing.behind, epoch=0, revision=99, primary="z")

    def test_moreOfTheSameEpochIsAhead(self) -> None:
        self.assertStanding(Standing.ahead, revision=3)

    def test_anotherHistoryOfTheSameLengthIsForked(self) -> None:
        self.assertStanding(Standing.forked, chainHash=b"\1" * 32)

    def test_anotherPrimaryOfTheSameEpochIsARival(self) -> None:
        for revision in (1, 2, 3):
            self.assertStanding(Standing.rival, primary="b", revision=revision)

    def test_laterEpochCountsWhateverItsLength(self) -> None:
        self.assertStanding(Standing.superseding, epoch=2, revision=1, primary="b")
        self.assertStanding(Standing.naming, epoch=2, revision=1, primary="a")
        self.assertStanding(Standing.superseding, node="c", epoch=2, primary="a")


class LostJournalTests(SynchronousTestCase):
    """``b`` had a journal of epoch 3, and lost it."""

    def setUp(self) -> None:
        node = makeNode("a", Clock())
        node.change(founding("abc", "a"))
        self.addCleanup(node.publisher.stop)
        self.full = node.publisher.head
        self.empty = evolve(self.full, epoch=0, revision=0, chainHash=CHAIN_START, document=Document())

    def isBelieved(self, own: Head, epoch: int) -> bool:
        try:
            requireClaim(own, "b", "a", FollowAnswer(epoch, 9, b"\1" * 32), False, 3)
        except Refused:
            return False
        return True

    def test_primaryOfAnEarlierEpochIsRefusedUntilThereIsAJournalAgain(self) -> None:
        self.assertEqual([self.isBelieved(self.empty, epoch) for epoch in (1, 2, 3, 4)], [False, False, True, True])
        self.assertTrue(self.isBelieved(self.full, 1))
