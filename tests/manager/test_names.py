"""The names of a section: in their order whatever changed, and gone through once as long as the journal tells."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.changes import Batch, Change, Put, Remove
from cftpcluster.config.document import Group, User
from cftpcluster.manager._names import SectionNames
from cftpcluster.testing.administration import MemoryAdministration


class NamesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = MemoryAdministration()
        self.gone = 0
        self.names = SectionNames(self.node.journal, self.inThread)

    def inThread(self, work: Any, *arguments: Any) -> Deferred[Any]:
        self.gone += 1
        return succeed(work(*arguments))

    def known(self) -> list[str]:
        """The names of the users; those of the document, in order."""
        document, names = self.successResultOf(Deferred.fromCoroutine(self.names.of("users")))
        self.assertIs(document, self.node.document())
        self.assertEqual(names.names, sorted(document.users))
        self.assertEqual(names.folded, [name.casefold() for name in names.names])
        return list(names.names)

    def put(self, *names: str) -> Change:
        return Batch(tuple(Put("users", User(name=name)) for name in names))

    def test_changesAreFollowedWithoutGoingThroughAll(self) -> None:
        self.node.change(self.put(*(f"u{number}" for number in range(50))))
        self.known()
        choose = random.Random(1)
        for _ in range(60):
            name = f"U{choose.randrange(80)}" if choose.random() < 0.3 else f"u{choose.randrange(80)}"
            self.node.change(choose.choice([self.put(name, f"{name}x"), Remove("users", name)]))
            if choose.random() < 0.7:
                self.known()
        self.assertEqual(self.gone, 1)

    def test_whatChangesOtherSectionsCostsNothing(self) -> None:
        self.node.change(self.put("a"))
        self.known()
        self.node.change(Put("groups", Group(name="g")))
        self.assertEqual((self.known(), self.gone), (["a"], 1))

    def test_tooMuchIsSortedAnew(self) -> None:
        self.known()
        for number in range(201):
            self.node.change(self.put(f"u{number}"))
        self.assertEqual((len(self.known()), self.gone), (201, 2))
        self.node.change(self.put(*(f"long-name-of-a-user-{number}" for number in range(5000))))
        self.assertEqual((len(self.known()), self.gone), (5201, 3))

    def test_journalThatForgotOrHasAnotherHistoryIsReadAnew(self) -> None:
        self.node.change(self.put("a"))
        self.known()
        self.node.change(self.put("b"))
        self.node.journal.compact(0)
        self.assertEqual((self.known(), self.gone), (["a", "b"], 2))
        other = MemoryAdministration()
        for name in ("x", "y"):
            other.change(self.put(name))
        snapshots: list[Any] = []
        other.journal.snapshot().addCallback(snapshots.append)
        self.node.journal.restore(snapshots[0])
        self.node.change(self.put("z"))
        self.assertEqual((self.known(), self.gone), (["x", "y", "z"], 3))

    def test_pages(self) -> None:
        self.node.change(self.put("alice", "Bob", "carol", "bobby"))
        self.known()
        _, names = self.successResultOf(Deferred.fromCoroutine(self.names.of("users")))
        self.assertEqual(names.page("", "", 3), (["Bob", "alice", "bobby"], "bobby", 4))
        self.assertEqual(names.page("bobby", "", 3), (["carol"], None, 4))
        self.assertEqual(names.page("", "BOB", 1), (["Bob"], "Bob", 2))
        self.assertEqual(names.page("Bob", "bOb", 1), (["bobby"], None, 2))
        self.assertEqual(names.page("", "x", 1), ([], None, 0))
