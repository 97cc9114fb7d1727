"""The audit log: what happened is there afterwards, whatever becomes of process and disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from cftpcluster.config.document import Settings
from cftpcluster.errors import ClusterError
from cftpcluster.events import LoggedIn, LoginFailed, NodeStarted, Uploaded
from cftpcluster.interfaces import IObserver
from cftpcluster.journal import audit, auditfile
from cftpcluster.journal.audit import AuditLog
from cftpcluster.journal.auditfile import NEWEST, AuditFile, Question
from cftpcluster.testing.auth import originOf
from cftpcluster.testing.threads import HeldPool, InlinePool, InlineReactor
from cftpcluster.vocabulary import publicId

NOW = 1_800_000_000.0


class AuditTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = InlineReactor()
        self.clock.advance(NOW)
        self.path = self.mktemp()
        self.settings = Settings()
        self.log = self.open()

    def open(self, pool: Any = None) -> AuditLog:
        pool = pool or InlinePool()
        reader: Any = InlinePool()
        opening = AuditLog.open(
            self.path, "node-a", self.clock, pool, reader, lambda: self.settings, self.clock.seconds
        )
        try:
            opening.send(None)
        except StopIteration as done:
            opened: AuditLog = done.value
            return opened
        raise AssertionError("not opened at once")

    def told(self, *events: Any) -> None:
        for event in events:
            self.log.observe(event)
        self.clock.advance(audit.COMMIT_SECONDS)

    def ask(self, **asked: Any) -> list[dict[str, Any]]:
        return list(self.successResultOf(self.log.ask(Question(**asked))).records)  # type: ignore[arg-type]

    def kinds(self, **asked: Any) -> list[str]:
        return [one["kind"] for one in self.ask(**asked)]

    def users(self, **asked: Any) -> list[str]:
        return [one["user"] for one in self.ask(**asked)]


def login(user: str, **origin: Any) -> LoggedIn:
    return LoggedIn(user=user, origin=evolve(originOf(), **origin), method="password")


def upload(path: str, user: str = "alice") -> Uploaded:
    return Uploaded(user=user, origin=originOf(), path=path, size=3, seconds=0.5)


class AuditLogTests(AuditTestCase):
    def test_isAnObserver(self) -> None:
        verifyObject(IObserver, self.log)

    def test_recordHoldsNodeTimeKindAndAllValues(self) -> None:
        self.told(upload("/a"))
        (one,) = self.ask()
        self.assertEqual((one["node"], one["time"], one["kind"]), ("node-a", NOW, "Uploaded"))
        self.assertEqual(
            (one["user"], one["protocol"], one["session"], one["size"]), ("alice", "sftp", publicId("s1"), 3)
        )

    def test_whatWasCommittedSurvivesTheEndOfTheProcess(self) -> None:
        self.told(login("alice"))
        self.log = self.open()  # the other one was never closed
        self.told(login("bob"))
        self.assertEqual(self.users(), ["bob", "alice"])

    def test_closingWritesWhatWaits(self) -> None:
        self.log.observe(login("alice"))
        self.successResultOf(self.log.close())
        self.log = self.open()
        self.assertEqual(self.users(), ["alice"])

    def test_idsGoOnWhereTheClockWentBack(self) -> None:
        self.told(login("alice"))
        self.log = self.open()
        self.log._wallTime = lambda: 1000.0
        self.told(login("bob"))
        self.assertEqual(self.users(), ["bob", "alice"])

    def test_questionsAreAnsweredByAllThatIsKnown(self) -> None:
        self.told(login("alice"), login("bob", address="192.0.2.99", protocol="ftp", session="s2"))
        failed = LoginFailed(user="\udcffé", origin=originOf(), method="password", reason="Unknown user")
        self.told(failed, NodeStarted(version="1"), upload("/in/a"), upload("/inn/b"), upload("/in"))
        self.assertEqual(self.users(user="\udcffé"), ["\udcffé"])
        self.assertEqual(self.users(address="192.0.2.99"), ["bob"])
        self.assertEqual(self.users(protocol="ftp"), ["bob"])
        self.assertEqual(self.users(session=publicId("s2")), ["bob"])
        self.assertEqual([one["path"] for one in self.ask(path="/in")], ["/in", "/in/a"])
        self.assertEqual([one["path"] for one in self.ask(path="/")], ["/in", "/inn/b", "/in/a"])
        self.assertEqual(self.kinds(text="unknown USER"), ["LoginFailed"])
        self.assertEqual(self.kinds(text="é"), ["LoginFailed"])
        self.assertEqual(self.kinds(kinds=("NodeStarted", "LoginFailed")), ["NodeStarted", "LoginFailed"])
        self.assertEqual(self.kinds(text="' OR 1 --%"), [])

    def test_timesBoundWhatIsFound(self) -> None:
        self.told(login("a"))
        self.clock.advance(10)
        self.told(login("b"))
        later = int((NOW + 5) * 1e6)
        self.assertEqual(self.users(since=later), ["b"])
        self.assertEqual(self.users(until=later), ["a"])

    def test_pagesAreBoundedAndSayWhetherThereIsMore(self) -> None:
        self.told(*(login(f"u{number}") for number in range(5)))
        found = self.successResultOf(self.log.ask(Question(limit=3)))
        self.assertEqual((len(found.records), found.isWhole), (3, False))
        rest = self.successResultOf(self.log.ask(Question(limit=3, until=found.records[-1]["id"])))
        self.assertEqual((len(rest.records), rest.isWhole), (2, True))

    def test_aReaderGoesOnAfterItsPlace(self) -> None:
        self.told(login("a"))
        place = self.successResultOf(self.log.ask(Question(beyond=NEWEST))).upTo
        self.told(login("b"), login("c"))
        found = self.successResultOf(self.log.ask(Question(beyond=place, limit=1)))
        self.assertEqual([one["user"] for one in found.records], ["b"])
        found = self.successResultOf(self.log.ask(Question(beyond=found.upTo)))
        self.assertEqual([one["user"] for one in found.records], ["c"])
        self.assertTrue(found.isWhole)

    def test_whoWaitsIsToldOfACommit(self) -> None:
        waited = self.log.committed(60)
        self.assertNoResult(waited)
        self.told(login("a"))
        self.assertIsNone(self.successResultOf(waited))
        waited = self.log.committed(5)
        self.clock.advance(5)
        self.assertIsNone(self.successResultOf(waited))

    def test_whatIsOldGoes(self) -> None:
        self.told(login("old"))
        self.clock.advance(self.settings.auditSeconds)
        self.told(login("new"))
        self.assertEqual(self.users(), ["new"])

    def test_whatIsTooMuchGoesTheOldestFirst(self) -> None:
        self.patch(auditfile, "MOST_TRIMMED", 50)
        self.settings = evolve(self.settings, auditBytes=200_000)
        for number in range(40):
            self.told(*(login(f"{number}-{each}-" + "x" * 200) for each in range(20)))
            self.clock.advance(audit.TRIM_SECONDS)
        self.assertLess(Path(self.path).stat().st_size, 400_000)
        self.assertTrue(self.users(limit=1)[0].startswith("39-19-"))
        self.assertEqual(self.kinds(user="0-0-" + "x" * 200), [])

    def test_aSlowDiskLosesTheOldestAndCountsThem(self) -> None:
        self.patch(audit, "MOST_WAITING", 3)
        self.log = self.open()
        pool: Any = HeldPool()
        self.log._pool = pool
        self.told(login("first"))
        self.told(*(login(f"u{number}") for number in range(5)))
        self.assertEqual(self.log.lost, 2)
        pool.runAll()
        self.clock.pump([audit.COMMIT_SECONDS] * 3)
        pool.runAll()
        self.assertEqual(self.kinds(limit=1), ["EventsLost"])
        self.assertEqual(self.ask(limit=1)[0]["count"], 2)

    def test_aDamagedFileIsSetAside(self) -> None:
        self.successResultOf(self.log.close())
        Path(self.path).write_bytes(b"no database " * 1000)
        self.log = self.open()
        self.told(login("alice"))
        self.assertEqual(self.users(), ["alice"])
        self.assertEqual(len(list(Path(self.path).parent.glob(Path(self.path).name + ".damaged-*"))), 1)
        self.flushLoggedErrors()

    def test_aDiskThatRefusesIsAProblemUntilItDoesNot(self) -> None:
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN EXCLUSIVE")
        self.told(login("alice"))
        self.assertIn("is locked", self.log.problem)
        other.execute("ROLLBACK")
        self.clock.advance(audit.RETRY_SECONDS)
        self.assertEqual((self.log.problem, self.users()), ("", ["alice"]))

    def test_aLongLookIsCutShort(self) -> None:
        self.patch(auditfile, "READ_SECONDS", -1.0)
        for _ in range(20):
            self.told(*(login(f"u{number}" * 40) for number in range(200)))
        failure = self.failureResultOf(self.log.ask(Question(text="nowhere")), ClusterError)
        self.assertIn("shorter time", failure.getErrorMessage())

    def test_fileIsForTheNodesOwnUserAlone(self) -> None:
        self.assertEqual(Path(self.path).stat().st_mode & 0o777, 0o600)
        with sqlite3.connect(self.path) as connection:
            self.assertEqual(connection.execute("PRAGMA journal_mode").fetchone(), ("wal",))
        connection.close()

    def test_anUnusableFolderIsOneLine(self) -> None:
        with self.assertRaises(ClusterError):
            AuditFile.open("/nowhere/audit.db")
