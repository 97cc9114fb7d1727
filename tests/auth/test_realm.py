"""Tests of :mod:`cftpcluster.auth.realm`."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.auth.realm import Realm
from cftpcluster.config.document import Document, User
from cftpcluster.errors import Closed
from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.mounts import Mounts
from cftpcluster.interfaces import IAccount
from cftpcluster.testing.auth import documentWith, rulesFor
from cftpcluster.testing.rows import MemoryRows
from cftpcluster.vocabulary import OpenMode, Origin

ALICE = User(name="alice")


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
        _, account, _ = self.realm.requestAvatar("alice", Origin(protocol, "192.0.2.7", protocol, "1"), IAccount)
        return account

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

    def test_otherChangesEndNothing(self) -> None:
        account = self.enter()
        self.change(ALICE, User(name="bob"))
        self.assertIsInstance(self.document, Document)
        self.successResultOf(account.files.stat(()))
