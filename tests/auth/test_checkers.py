"""Tests of the checker of the document's users."""

from __future__ import annotations

import base64
from typing import Any

from attrs import evolve
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.task import Clock
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from cftpcluster.auth.checkers import UsersChecker, UsersCheckerFactory, keysOf, usersChecker
from cftpcluster.auth.credentials import LoginBusy, PasswordLogin, PublicKeyLogin, SessionLogin
from cftpcluster.auth.passwords import Argon2Cost, Passwords, _hash
from cftpcluster.auth.verified import REMEMBERED_SECONDS, VerifiedPasswords
from cftpcluster.config.document import Document, User
from cftpcluster.interfaces import ICheckerFactory, IReconfigurable
from cftpcluster.testing.auth import (
    CHEAP,
    CountingPool,
    PasswordCheckerContract,
    counted,
    documentWith,
    numberedBytes,
    originOf,
)
from cftpcluster.testing.threads import HeldPool, InlinePool, InlineReactor

ORIGIN = originOf()


def hashOf(password: bytes, cost: Argon2Cost = CHEAP) -> str:
    return _hash(password, b"saltsaltsaltsalt", cost)


class Harness:
    """A checker, its document and what it asked to have upgraded."""

    def __init__(self, *users: User, pool: Any = None) -> None:
        self.document: Document = documentWith(*users)
        self.upgrades: list[tuple[str, str, str]] = []
        self.pool = pool or CountingPool()
        self.passwords = Passwords(InlineReactor(), self.pool, numberedBytes(), 9, CHEAP)
        self.clock = Clock()
        self.checker = UsersChecker(
            lambda: self.document,
            self.passwords,
            VerifiedPasswords(b"key", self.clock.seconds),
            lambda *upgrade: self.upgrades.append(upgrade),
            lambda: self.now,
        )
        self.now = 1_800_000_000.0

    def password(self, name: str, password: bytes) -> Any:
        return self.checker.requestAvatarId(PasswordLogin(name, password, ORIGIN))


class ContractTests(PasswordCheckerContract, SynchronousTestCase):
    def makeChecker(self, name: str, password: bytes) -> ICredentialsChecker:
        return Harness(User(name=name, passwordHash=hashOf(password))).checker


class PasswordTests(SynchronousTestCase):
    def test_userWithoutAPasswordIsRefused(self) -> None:
        harness = Harness(User(name="alice"))
        for password in (b"", b"x", b"None"):
            self.failureResultOf(harness.password("alice", password), UnauthorizedLogin)

    def test_refusalsTakeTheSameWork(self) -> None:
        encoded = hashOf(b"right")
        alice = User(name="alice", passwordHash=encoded)
        bob = evolve(alice, name="bob", enabled=False)
        harness = Harness(alice, bob, User(name="carol"))
        for name in ("alice", "bob", "carol", "nobody", "", "alice\0", "a" * 100_000):
            harness.pool.work.clear()
            self.failureResultOf(harness.password(name, b"wrong"), UnauthorizedLogin)
            self.assertEqual(harness.pool.work, [counted(encoded)], name[:9])

    def test_disabledUserTakesTheWorkTooAndIsTheRealmsToRefuse(self) -> None:
        harness = Harness(User(name="bob", passwordHash=hashOf(b"right"), enabled=False))
        self.assertEqual(self.successResultOf(harness.password("bob", b"right")), "bob")

    def test_reasonIsToldForTheLog(self) -> None:
        harness = Harness(User(name="alice", passwordHash=hashOf(b"right")), User(name="carol"))
        reasons = [
            str(self.failureResultOf(harness.password(name, b"wrong"), UnauthorizedLogin).value)
            for name in ("alice", "carol", "nobody")
        ]
        self.assertEqual(reasons, ["wrong password", "no password is set", "unknown user"])

    def test_passwordChangedWhileItWasVerifiedIsRefused(self) -> None:
        harness = Harness(User(name="alice", passwordHash=hashOf(b"right")), pool=HeldPool())
        d = harness.password("alice", b"right")
        harness.document = documentWith(User(name="alice", passwordHash=hashOf(b"new")))
        harness.pool.runAll()
        self.failureResultOf(d, UnauthorizedLogin)

    def test_tooManyAtOnceIsBusy(self) -> None:
        harness = Harness(pool=HeldPool())
        waiting = [harness.password("alice", b"x") for _ in range(256)]
        self.failureResultOf(harness.password("alice", b"x"), LoginBusy)
        harness.pool.runAll()
        for d in waiting:
            self.failureResultOf(d, UnauthorizedLogin)


class AgainTests(SynchronousTestCase):
    """Log-ins with a password that was right a moment ago."""

    def setUp(self) -> None:
        self.harness = Harness(User(name="alice", passwordHash=hashOf(b"right")))
        self.successResultOf(self.harness.password("alice", b"right"))
        self.harness.pool.work.clear()

    def test_costNoHashingForAWhile(self) -> None:
        self.harness.clock.advance(REMEMBERED_SECONDS - 1)
        self.assertEqual(self.successResultOf(self.harness.password("alice", b"right")), "alice")
        self.assertEqual(self.harness.pool.work, [])
        self.harness.clock.advance(1)
        self.assertEqual(self.successResultOf(self.harness.password("alice", b"right")), "alice")
        self.assertEqual(len(self.harness.pool.work), 1)

    def test_anotherPasswordTakesTheWorkEachTime(self) -> None:
        for _ in range(2):
            self.failureResultOf(self.harness.password("alice", b"wrong"), UnauthorizedLogin)
        self.assertEqual(len(self.harness.pool.work), 2)

    def test_changedPasswordCountsAtOnce(self) -> None:
        self.harness.document = documentWith(User(name="alice", passwordHash=hashOf(b"new")))
        self.failureResultOf(self.harness.password("alice", b"right"), UnauthorizedLogin)
        self.successResultOf(self.harness.password("alice", b"new"))

    def test_removedUserIsUnknownAtOnce(self) -> None:
        self.harness.document = documentWith()
        self.failureResultOf(self.harness.password("alice", b"right"), UnauthorizedLogin)
        self.assertEqual(len(self.harness.pool.work), 1)

    def test_userOfTheSameHashIsSomebodyElse(self) -> None:
        alice = self.harness.document.users["alice"]
        self.harness.document = documentWith(alice, evolve(alice, name="bob"))
        self.assertEqual(self.successResultOf(self.harness.password("bob", b"right")), "bob")
        self.assertEqual(len(self.harness.pool.work), 1)

    def test_passwordChangedWhileItWasVerifiedIsNotRemembered(self) -> None:
        harness = Harness(User(name="alice", passwordHash=hashOf(b"right")), pool=HeldPool())
        before, d = harness.document, harness.password("alice", b"right")
        harness.document = documentWith(User(name="alice", passwordHash=hashOf(b"new")))
        harness.pool.runAll()
        self.failureResultOf(d, UnauthorizedLogin)
        harness.document = before
        self.assertNoResult(harness.password("alice", b"right"))
        harness.pool.runAll()


class UpgradeTests(SynchronousTestCase):
    older = hashOf(b"right", Argon2Cost(memoryKibibytes=16, passes=1))

    def test_olderHashIsUpgradedAtTheLogin(self) -> None:
        harness = Harness(User(name="alice", passwordHash=self.older))
        self.assertEqual(self.successResultOf(harness.password("alice", b"right")), "alice")
        ((name, before, better),) = harness.upgrades
        self.assertEqual((name, before), ("alice", self.older))
        self.assertTrue(self.successResultOf(harness.passwords.verify(better, b"right")))
        self.assertFalse(harness.passwords.needsRehash(better))

    def test_nothingIsUpgradedWithoutNeedOrWithTheWrongPassword(self) -> None:
        harness = Harness(User(name="alice", passwordHash=hashOf(b"right")), User(name="bob", passwordHash=self.older))
        self.successResultOf(harness.password("alice", b"right"))
        self.failureResultOf(harness.password("bob", b"wrong"), UnauthorizedLogin)
        self.assertEqual(harness.upgrades, [])

    def test_loginDoesNotWaitForTheUpgrade(self) -> None:
        harness = Harness(User(name="alice", passwordHash=self.older), pool=HeldPool())
        d = harness.password("alice", b"right")
        harness.pool.runNext()
        self.successResultOf(d)
        self.assertEqual(harness.upgrades, [])
        harness.pool.runAll()
        self.assertEqual(len(harness.upgrades), 1)

    def test_passwordSetMeanwhileIsNotUndone(self) -> None:
        harness = Harness(User(name="alice", passwordHash=self.older), pool=HeldPool())
        d = harness.password("alice", b"right")
        harness.pool.runNext()
        self.successResultOf(d)
        harness.document = documentWith(User(name="alice", passwordHash=hashOf(b"new")))
        harness.pool.runAll()
        self.assertEqual(harness.upgrades, [])

    def test_oneUpgradeOfAUserAtATime(self) -> None:
        harness = Harness(User(name="alice", passwordHash=self.older), pool=HeldPool())
        for _ in range(3):
            d = harness.password("alice", b"right")
            harness.pool.held.rotate(1)
            harness.pool.runNext()
            self.successResultOf(d)
            harness.clock.advance(REMEMBERED_SECONDS)
        self.assertEqual(len(harness.pool.held), 1)
        harness.pool.runAll()
        self.assertEqual(len(harness.upgrades), 1)

    def test_brokenUpgradeIsLoggedAndTheLoginStands(self) -> None:
        harness = Harness(User(name="alice", passwordHash=self.older))

        def upgrade(name: str, before: str, better: str) -> None:
            raise ZeroDivisionError

        harness.checker._upgrade = upgrade
        self.assertEqual(self.successResultOf(harness.password("alice", b"right")), "alice")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


def blobOf(kind: bytes, rest: bytes) -> bytes:
    return len(kind).to_bytes(4, "big") + kind + rest


def lineOf(blob: bytes, kind: str = "ssh-ed25519", comment: str = " alice@example") -> str:
    return f"{kind} {base64.b64encode(blob).decode()}{comment}"


class KeyTests(SynchronousTestCase):
    blob = blobOf(b"ssh-ed25519", b"\0\0\0\x20" + b"k" * 32)
    other = blobOf(b"ssh-ed25519", b"\0\0\0\x20" + b"o" * 32)

    def ask(self, harness: Harness, name: str, blob: bytes) -> Any:
        return harness.checker.requestAvatarId(PublicKeyLogin(name, blob, True, ORIGIN))

    def test_usersOwnKeysLogIn(self) -> None:
        harness = Harness(User(name="alice", publicKeys=(lineOf(self.other), lineOf(self.blob, comment=""))))
        for blob in (self.blob, self.other):
            self.assertEqual(self.successResultOf(self.ask(harness, "alice", blob)), "alice")

    def test_otherKeysAndOtherUsersDoNot(self) -> None:
        harness = Harness(User(name="alice", publicKeys=(lineOf(self.blob),)), User(name="bob"))
        for name, blob in (
            ("alice", self.other),
            ("alice", self.blob + b"\0"),
            ("alice", self.blob[:-1]),
            ("alice", b""),
            ("bob", self.blob),
            ("nobody", self.blob),
            ("alice\0", self.blob),
        ):
            self.failureResultOf(self.ask(harness, name, blob), UnauthorizedLogin)

    def test_linesThatAreNoKeysAreLeftOut(self) -> None:
        lines = (
            "",
            "ssh-ed25519",
            "ssh-ed25519 !!!",
            "# comment",
            "ssh-ed25519 ",
            lineOf(self.blob, kind="ssh-rsa"),
            f'command="id" {lineOf(self.blob)}',
            "é " + lineOf(self.blob),
        )
        self.assertEqual(list(keysOf(lines)), [])
        self.assertEqual([key.blob for key in keysOf([*lines, lineOf(self.blob)])], [self.blob])

    def test_keysAreGoodFromWhereTheyMayComeFrom(self) -> None:
        for sources, isGood in {"192.0.2.0/24": True, "198.51.100.0/24": False, "192.0.2.*,!192.0.2.7": False}.items():
            line = f'from="{sources}" {lineOf(self.blob)}'
            answer = self.ask(Harness(User(name="alice", publicKeys=(line,))), "alice", self.blob)
            if isGood:
                self.assertEqual(self.successResultOf(answer), "alice")
            else:
                self.assertIn("not good from there", str(self.failureResultOf(answer, UnauthorizedLogin).value))

    def test_keysAreGoodUntilTheyExpire(self) -> None:
        harness = Harness(User(name="alice", publicKeys=(f'expiry-time="20270115080001" {lineOf(self.blob)}',)))
        self.successResultOf(self.ask(harness, "alice", self.blob))
        harness.now += 1
        refusal = self.failureResultOf(self.ask(harness, "alice", self.blob), UnauthorizedLogin)
        self.assertEqual(str(refusal.value), "the key has expired")

    def test_ofTwoLinesWithOneKeyOneIsEnough(self) -> None:
        lines = (f'from="198.51.100.1" {lineOf(self.blob)}', f'restrict,from="192.0.2.7" {lineOf(self.blob)}')
        self.successResultOf(self.ask(Harness(User(name="alice", publicKeys=lines)), "alice", self.blob))

    def test_keysCostNoHashing(self) -> None:
        harness = Harness(User(name="alice", publicKeys=(lineOf(self.blob),)))
        self.successResultOf(self.ask(harness, "alice", self.blob))
        self.assertEqual(harness.pool.work, [])


class SessionTests(SynchronousTestCase):
    def test_sessionsFromBeforeAChangeOfCredentialsHaveEnded(self) -> None:
        harness = Harness(User(name="alice", credentialsRevision=7))
        ask = harness.checker.requestAvatarId
        for revision in (7, 8):
            self.assertEqual(self.successResultOf(ask(SessionLogin("alice", revision, ORIGIN))), "alice")
        self.failureResultOf(ask(SessionLogin("alice", 6, ORIGIN)), UnauthorizedLogin)
        self.failureResultOf(ask(SessionLogin("bob", 8, ORIGIN)), UnauthorizedLogin)


class SmallPool(InlinePool):
    max = 2


class FactoryTests(SynchronousTestCase):
    def test_isAPlugin(self) -> None:
        for interface in (IPlugin, ICheckerFactory):
            verifyObject(interface, usersChecker)
        self.assertEqual(usersChecker.kind, "users")

    def test_buildsACheckerThatTakesNewCosts(self) -> None:
        checker = UsersCheckerFactory().build(
            CHEAP,
            reactor=InlineReactor(),
            pool=SmallPool(),
            document=lambda: documentWith(User(name="alice", passwordHash=hashOf(b"right"))),
            upgrade=lambda name, before, better: upgrades.append(better),
        )
        upgrades: list[str] = []
        verifyObject(ICredentialsChecker, checker)
        verifyObject(IReconfigurable, checker)
        login = PasswordLogin("alice", b"right", ORIGIN)
        self.assertEqual(self.successResultOf(checker.requestAvatarId(login)), "alice")
        self.assertEqual(upgrades, [])
        self.successResultOf(checker.reconfigure(Argon2Cost(memoryKibibytes=64, passes=1)))
        self.successResultOf(checker.requestAvatarId(login))
        self.assertEqual([counted(better) for better in upgrades], ["$argon2id$v=19$m=64,t=1,p=1"])
