"""Tests of the log-in of administrators."""

from __future__ import annotations

from attrs import evolve
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.auth.administrators import AdminPasswords
from cftpcluster.auth.credentials import LoginBusy
from cftpcluster.auth.delay import FailureDelay
from cftpcluster.auth.passwords import Passwords, _hash
from cftpcluster.config.document import Admin, Document, Role
from cftpcluster.events import Event, LoggedIn, LoginFailed
from cftpcluster.testing.auth import CHEAP, CountingPool, counted, documentWith, numberedBytes, rulesFor
from cftpcluster.testing.rows import MemoryRows
from cftpcluster.testing.threads import HeldPool, InlinePool, InlineReactor
from cftpcluster.vocabulary import Author, Origin

ENCODED = _hash(b"right", b"saltsaltsaltsalt", CHEAP)
ROOT = Admin(name="root", passwordHash=ENCODED, role=Role.full)


class AdministratorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.events: list[Event] = []
        self.document: Document = documentWith(admins=[ROOT, evolve(ROOT, name="old", enabled=False)])
        self.clock = Clock()
        self.rules = rulesFor(lambda: self.document, MemoryRows(self.clock), self.clock)

    def ask(self, name: str, password: bytes, pool: InlinePool | None = None, seconds: float = 0.0) -> Deferred[Author]:
        passwords = Passwords(InlineReactor(), pool or InlinePool(), numberedBytes(), 1, CHEAP)
        delay = FailureDelay(self.clock, lambda: 0.0, seconds, 0.0)
        admins = AdminPasswords(lambda: self.document, passwords, self.events.append, delay, self.rules.guard)
        return admins.authenticate(name, password, "192.0.2.1")

    def test_successNamesTheAuthor(self) -> None:
        author = self.successResultOf(self.ask("root", b"right"))
        self.assertEqual(author, Author(name="root", role="full", address="192.0.2.1"))
        origin = Origin(protocol="manager", address="192.0.2.1", listener="manager", session="")
        self.assertEqual(self.events, [LoggedIn(user="root", origin=origin, method="password")])

    def test_refusalsLookAlikeAndCostTheSame(self) -> None:
        for name, password in (
            ("root", b"wrong"),
            ("old", b"right"),
            ("old", b"wrong"),
            ("nobody", b"x"),
            ("root\0", b"right"),
        ):
            self.events.clear()
            pool = CountingPool()
            failure = self.failureResultOf(self.ask(name, password, pool), UnauthorizedLogin)
            self.assertEqual((str(failure.value), pool.work), ("", [counted(ENCODED)]))
            (event,) = self.events
            self.assertIsInstance(event, LoginFailed)

    def test_refusalWaitsAndItsEventDoesNot(self) -> None:
        d = self.ask("root", b"wrong", seconds=1.0)
        self.assertNoResult(d)
        self.assertEqual(len(self.events), 1)
        self.clock.advance(1.0)
        self.failureResultOf(d, UnauthorizedLogin)

    def test_administratorDisabledWhileTheThreadWorkedIsRefused(self) -> None:
        pool = HeldPool()
        d = self.ask("root", b"right", pool)
        self.document = documentWith(admins=[evolve(ROOT, enabled=False)])
        pool.runAll()
        self.failureResultOf(d, UnauthorizedLogin)

    def test_tooManyAtOnceIsBusyWithoutAnEvent(self) -> None:
        passwords = Passwords(InlineReactor(), HeldPool(), numberedBytes(), 1, CHEAP, mostPending=0)
        delay = FailureDelay(self.clock, lambda: 0.0)
        admins = AdminPasswords(lambda: self.document, passwords, self.events.append, delay, self.rules.guard)
        self.failureResultOf(admins.authenticate("root", b"right", "192.0.2.1"), LoginBusy)
        self.assertEqual(self.events, [])
