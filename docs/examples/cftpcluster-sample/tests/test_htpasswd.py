"""Tests of :mod:`cftpcluster_sample.htpasswd`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bcrypt
from cftpcluster_sample.htpasswd import HashFile, HtpasswdChecker, htpasswdCheckerFactory
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from cftpcluster.auth.credentials import PasswordLogin
from cftpcluster.auth.passwords import Passwords
from cftpcluster.interfaces import ICheckerFactory
from cftpcluster.testing.auth import CHEAP, PasswordCheckerContract, numberedBytes, originOf
from cftpcluster.testing.threads import InlinePool, InlineReactor


def lineOf(name: str, password: bytes) -> str:
    return f"{name}:{bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()}\n"


def checkerOf(path: Path) -> HtpasswdChecker:
    reactor: Any = InlineReactor()
    pool: Any = InlinePool()
    return HtpasswdChecker(HashFile(str(path)), Passwords(reactor, pool, numberedBytes(), 1, CHEAP), reactor, pool)


def ask(checker: HtpasswdChecker, name: str, password: bytes) -> Deferred[str]:
    return checker.requestAvatarId(PasswordLogin(name, password, originOf()))


class HtpasswdContractTests(PasswordCheckerContract, SynchronousTestCase):
    """What every checker of passwords promises."""

    def makeChecker(self, name: str, password: bytes) -> HtpasswdChecker:
        path = Path(self.mktemp())
        path.write_text("# a comment\n\n" + lineOf("other", b"else") + lineOf(name, password) + "broken line\n")
        return checkerOf(path)


class HtpasswdTests(SynchronousTestCase):
    """What is this one's own."""

    def test_changedFileIsReadAgain(self) -> None:
        path = Path(self.mktemp())
        path.write_text(lineOf("alice", b"first"))
        checker = checkerOf(path)
        self.assertEqual(self.successResultOf(ask(checker, "alice", b"first")), "alice")
        path.write_text(lineOf("alice", b"second") + "\n")
        self.failureResultOf(ask(checker, "alice", b"first"), UnauthorizedLogin)
        self.assertEqual(self.successResultOf(ask(checker, "alice", b"second")), "alice")

    def test_missingFileRefuses(self) -> None:
        refusal = self.failureResultOf(ask(checkerOf(Path(self.mktemp())), "alice", b"x"), UnauthorizedLogin)
        self.assertIn("No such file", refusal.getErrorMessage())

    def test_unknownHashFitsNothing(self) -> None:
        path = Path(self.mktemp())
        path.write_text("alice:right\n")
        self.failureResultOf(ask(checkerOf(path), "alice", b"right"), UnauthorizedLogin)

    def test_factoryProvidesWhatItSays(self) -> None:
        verifyObject(ICheckerFactory, htpasswdCheckerFactory)
        self.assertEqual(len(htpasswdCheckerFactory.configClass(file="relative").problems()), 1)
