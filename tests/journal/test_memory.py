"""The journal in memory."""

from __future__ import annotations

from collections.abc import Awaitable

from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cftpcluster.interfaces import IJournal
from cftpcluster.journal.memory import MemoryJournal
from cftpcluster.testing.journal import KINDS, JournalContract, putUser


class MemoryJournalTests(JournalContract, TestCase):
    def makeJournal(self) -> Awaitable[IJournal]:
        return succeed(MemoryJournal(KINDS))


class ImmediateTests(SynchronousTestCase):
    def test_deferredsHaveFiredWhenTheyAreReturned(self) -> None:
        journal = MemoryJournal(KINDS)
        self.successResultOf(journal.append(putUser("alice")))
        self.assertEqual(self.successResultOf(journal.head()).revision, 1)
        self.assertEqual(len(self.successResultOf(journal.since(0, 10))), 1)
