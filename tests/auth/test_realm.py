"""Tests of :mod:`cftpcluster.auth.realm` and :mod:`cftpcluster.auth.rights`."""

from __future__ import annotations

import datetime
from typing import Any

from attrs import evolve
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.auth.credentials import TurnedAway
from cftpcluster.auth.realm import Realm
from cftpcluster.auth.rights import Rights, isLess, rightsOf
from cftpcluster.auth.steps import Proof
from cftpcluster.config.document import Backend, Document, Group, Limits, Method, Mount, Settings, User
from cftpcluster.errors import Closed
from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.mounts import Mounts
from cftpcluster.interfaces import IAccount
from cftpcluster.testing.auth import documentWith, rulesFor
from cftpcluster.testing.rows import MemoryRows
from cftpcluster.vocabulary import OpenMode, Origin, Permission

ALICE = User(name="alice")
PASSWORD = Proof("alice", ("password",))

SHARE, OTHER = Backend(name="share", kind="local"), Backend(name="other", kind="local")
LISTED, READ = frozenset({Permission.list}), frozenset({Permission.list, Permission.download})


class RightsTests(SynchronousTestCase):
    """Which changes take something away."""

    def rights(self, *mounts: Mount, user: User = ALICE, backends: tuple[Backend, ...] = (SHARE, OTHER)) -> Rights:
        group = Group(name="partners", mounts=(Mount(path="/in", backend="share", folder="in", permissions=READ),))
        document = documentWith(groups=[group], backends=backends)
        return rightsOf(document, evolve(user, mounts=mounts))

    root = Mount(path="/", backend="share", folder="a", permissions=READ)
    inner = Mount(path="/x/y", backend="other", permissions=READ)

    def assertLess(self, now: Rights, before: Rights) -> None:
        self.assertTrue(isLess(now, before))

    def assertNotLess(self, now: Rights, before: Rights) -> None:
        self.assertFalse(isLess(now, before))

    def test_sameIsNotLess(self) -> None:
        self.assertNotLess(self.rights(self.root), self.rights(self.root))
        backends = (evolve(SHARE, revision=7), OTHER)
        self.assertNotLess(self.rights(self.root, backends=backends), self.rights(self.root))
        self.assertNotLess(self.rights(), self.rights())

    def test_moreIsNotLess(self) -> None:
        fewer = evolve(self.root, permissions=LISTED)
        self.assertNotLess(self.rights(self.root), self.rights(fewer))
        self.assertNotLess(self.rights(self.root, self.inner), self.rights(self.root))
        self.assertNotLess(self.rights(self.root), self.rights())

    def test_mountThatIsGoneIsLess(self) -> None:
        self.assertLess(self.rights(self.root), self.rights(self.root, self.inner))

    def test_fewerPermissionsAreLess(self) -> None:
        self.assertLess(self.rights(evolve(self.root, permissions=LISTED)), self.rights(self.root))

    def test_anotherPlaceIsLess(self) -> None:
        for changed in (evolve(self.root, folder="b"), evolve(self.root, backend="other")):
            self.assertLess(self.rights(changed), self.rights(self.root))

    def test_anotherStorageBehindTheNameIsLess(self) -> None:
        moved = evolve(SHARE, options={"root": "/elsewhere"})
        self.assertLess(self.rights(self.root, backends=(moved, OTHER)), self.rights(self.root))
        self.assertLess(self.rights(self.root, backends=(OTHER,)), self.rights(self.root))

    def test_mountWithinAnotherThatPermitsLessIsLess(self) -> None:
        barred = evolve(self.inner, permissions=LISTED)
        self.assertLess(self.rights(self.root, barred), self.rights(self.root))

    def test_groupThatIsLeftTakesItsMountsAway(self) -> None:
        member = evolve(ALICE, groups=("partners",))
        self.assertLess(self.rights(self.root), self.rights(self.root, user=member))
        self.assertNotLess(self.rights(self.root, user=member), self.rights(self.root))


class EndStaleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.backend = MemoryBackend(Clock(), 2**20)
        self.document = documentWith(ALICE)
        self.clock = Clock()
        self.rows = MemoryRows(self.clock)
        sessions = rulesFor(lambda: self.document, self.rows, self.clock).sessions
        sessions.start()
        self.realm = Realm(lambda: self.document, self.filesOf, {}, self.clock.seconds, sessions, self.clock)

    def filesOf(self, user: User, origin: Origin) -> Any:
        return Mounts({(): self.backend.fileSystem("", user.name, True)})

    def enter(self, protocol: str = "sftp") -> Any:
        _, account, _ = self.realm.requestAvatar(PASSWORD, Origin(protocol, "192.0.2.7", protocol, "1"), IAccount)
        return account

    def test_whoProvedLessThanIsAskedForNowIsOut(self) -> None:
        account = self.enter()
        self.change(evolve(ALICE, authentication=((Method.publickey,), (Method.password,))))
        self.assertIs(account._endedFor, None)
        self.change(evolve(ALICE, authentication=((Method.publickey, Method.password),)))
        self.assertEndedFor(account, "more has to be proven now")

    def test_nobodyGetsInWithoutHavingProvenEverything(self) -> None:
        origin = Origin("sftp", "192.0.2.7", "sftp", "1")
        self.document = documentWith(evolve(ALICE, authentication=((Method.publickey, Method.password),)))
        for methods in ((), ("password",), ("publickey",), ("publickey", "keyboard-interactive")):
            proof = Proof("alice", methods)
            self.assertRaises(UnauthorizedLogin, self.realm.requestAvatar, proof, origin, IAccount)
        self.realm.requestAvatar(Proof("alice", ("publickey", "password")), origin, IAccount)
        self.document = documentWith(ALICE)
        self.assertRaises(UnauthorizedLogin, self.realm.requestAvatar, Proof("alice"), origin, IAccount)

    def assertEndedFor(self, account: Any, reason: str) -> None:
        self.assertEqual(self.successResultOf(account.whenEnded()), reason)

    def change(self, *users: User) -> None:
        revision = self.document.revision + 1
        self.document = evolve(documentWith(*users), revision=revision)
        self.realm.endStale()

    def assertEnded(self, account: Any) -> None:
        self.failureResultOf(account.files.stat(()), Closed)

    def test_whoIsDisabledOrRemovedHasNoSessionAnyMore(self) -> None:
        for users in ((evolve(ALICE, enabled=False),), ()):
            self.document = documentWith(ALICE)
            account = self.enter()
            opened = self.successResultOf(account.files.open(("new",), OpenMode.create))
            self.change(*users)
            self.assertEnded(account)
            self.failureResultOf(opened.write(0, b"data"), Closed)

    def test_newPasswordEndsOlderSessionsOnly(self) -> None:
        older = self.enter()
        changed = evolve(ALICE, credentialsRevision=self.document.revision + 1)
        self.change(changed)
        younger = self.enter()
        self.change(changed)
        self.assertEnded(older)
        self.successResultOf(younger.files.stat(()))

    def test_protocolThatIsTakenAwayEndsItsSessions(self) -> None:
        sftp, ftp = self.enter("sftp"), self.enter("ftp")
        self.change(evolve(ALICE, protocols=tuple(each for each in ALICE.protocols if each.value != "ftp")))
        self.assertEnded(ftp)
        self.successResultOf(sftp.files.stat(()))

    def test_serverIsToldWhy(self) -> None:
        account = self.enter()
        told = account.whenEnded()
        self.change(evolve(ALICE, enabled=False))
        self.assertEqual(self.successResultOf(told), "disabled")

    def test_expiryEndsASessionWhenItComes(self) -> None:
        def at(seconds: float) -> datetime.datetime:
            return datetime.datetime.fromtimestamp(seconds, datetime.UTC)

        self.document = documentWith(evolve(ALICE, expires=at(1000)))
        told = self.enter().whenEnded()
        for _ in range(9):
            self.clock.advance(100)
        self.assertNoResult(told)
        self.change(evolve(ALICE, expires=at(950.5)))
        self.clock.advance(50)
        self.assertNoResult(told)
        self.clock.advance(0.6)
        self.assertEqual(self.successResultOf(told), "expired")

    def test_networksOfSettingsUserAndGroupAllHaveToAdmit(self) -> None:
        barred = ("192.0.2.0/24",)
        group = Group(name="partners", deny=barred)
        member = evolve(ALICE, groups=("partners",))
        for document in (
            documentWith(evolve(ALICE, deny=barred)),
            documentWith(evolve(ALICE, allow=("198.51.100.0/24",))),
            documentWith(member, groups=[group]),
            evolve(documentWith(ALICE), settings=Settings(deny=barred)),
        ):
            self.document = documentWith(member, groups=[evolve(group, deny=())])
            told = self.enter().whenEnded()
            self.document = document
            self.realm.endStale()
            self.assertIn("client network is not allowed", self.successResultOf(told))
            self.assertRaises(UnauthorizedLogin, self.enter)

    def test_limitOfSessionsIsAsked(self) -> None:
        self.document = documentWith(evolve(ALICE, limits=Limits(sessions=1)))
        _, _, logout = self.realm.requestAvatar(PASSWORD, Origin("sftp", "192.0.2.7", "sftp", "1"), IAccount)
        other = Origin("ftp", "192.0.2.7", "ftp", "2")
        self.assertRaises(TurnedAway, self.realm.requestAvatar, PASSWORD, other, IAccount)
        self.successResultOf(logout())
        self.realm.requestAvatar(PASSWORD, other, IAccount)

    def test_otherChangesEndNothing(self) -> None:
        account = self.enter()
        self.change(ALICE, User(name="bob"))
        self.assertIsInstance(self.document, Document)
        self.successResultOf(account.files.stat(()))
