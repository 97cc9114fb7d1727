"""Tests of what is remembered of passwords."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.auth import verified as module
from cftpcluster.auth.verified import REMEMBERED_SECONDS, VerifiedPasswords


class VerifiedPasswordsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.verified = VerifiedPasswords(b"a key", self.clock.seconds)

    def test_knowsWhatWasAddedAndNothingElse(self) -> None:
        self.verified.add("alice", "$hash", b"right")
        self.assertTrue(self.verified.knows("alice", "$hash", b"right"))
        for other in (
            ("bob", "$hash", b"right"),
            ("alice", "$other", b"right"),
            ("alice", "$hash", b"wrong"),
            ("alice$", "hash", b"right"),
            ("alice", "$hashr", b"ight"),
            ("", "", b""),
        ):
            self.assertFalse(self.verified.knows(*other), other)

    def test_forgetsInTimeHoweverOftenItIsAsked(self) -> None:
        self.verified.add("alice", "$hash", b"right")
        for _ in range(3):
            self.clock.advance(REMEMBERED_SECONDS / 4)
            self.assertTrue(self.verified.knows("alice", "$hash", b"right"))
        self.clock.advance(REMEMBERED_SECONDS / 4)
        self.assertFalse(self.verified.knows("alice", "$hash", b"right"))
        self.assertEqual(len(self.verified._until), 0)

    def test_addedAgainStaysLonger(self) -> None:
        self.verified.add("alice", "$hash", b"right")
        self.clock.advance(REMEMBERED_SECONDS - 1)
        self.verified.add("alice", "$hash", b"right")
        self.clock.advance(REMEMBERED_SECONDS - 1)
        self.assertTrue(self.verified.knows("alice", "$hash", b"right"))

    def test_isBounded(self) -> None:
        self.patch(module, "MOST_REMEMBERED", 3)
        for name in "abcd":
            self.verified.add(name, "$hash", b"right")
        self.assertEqual([self.verified.knows(name, "$hash", b"right") for name in "abcd"], [False, True, True, True])

    def test_anotherKeyKnowsNothing(self) -> None:
        self.verified.add("alice", "$hash", b"right")
        other = VerifiedPasswords(b"another key", self.clock.seconds)
        other._until.update(self.verified._until)
        self.assertFalse(other.knows("alice", "$hash", b"right"))

    def test_tellsNothing(self) -> None:
        self.verified.add("alice", "$hash", b"right")
        for secret in ("a key", "alice", "hash", "right"):
            self.assertNotIn(secret, repr(self.verified))

    def test_takesAnyName(self) -> None:
        self.verified.add("\udcff", "", b"\xff")
        self.assertTrue(self.verified.knows("\udcff", "", b"\xff"))
