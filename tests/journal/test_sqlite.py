"""The journal in an SQLite file: that it is durable, proves itself, and says what is wrong."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from cftpcluster.errors import ClusterError, DiskFull, JournalDamaged, JournalLocked, JournalReadOnly, NewerFormat
from cftpcluster.interfaces import IJournal
from cftpcluster.journal._fold import snapshotOf
from cftpcluster.journal.entry import Head
from cftpcluster.journal.sqlite import SQLiteJournal, SQLiteStore
from cftpcluster.testing.journal import KINDS, JournalContract, putUser


class SQLiteCase(TestCase):
    """A folder of its own, and journals that are closed at the end."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder)
        self.path = os.path.join(self.folder, "journal.db")

    async def openJournal(self, path: str = "") -> SQLiteJournal:
        journal = await SQLiteJournal.open(path or self.path, KINDS, reactor)
        self.addCleanup(journal.close)
        return journal

    async def openFails(self, error: type[ClusterError], path: str = "") -> str:
        """Opening fails with just this error; its text is the answer."""
        try:
            await self.openJournal(path)
        except ClusterError as failure:
            self.assertIs(type(failure), error, str(failure))
            self.assertNotIn("\n", str(failure))
            return str(failure)
        return self.fail("it opened")

    async def closedJournal(self, count: int = 3) -> Head:
        """A journal with so many users, closed; its head is the answer."""
        journal = await self.openJournal()
        for number in range(count):
            await journal.append(putUser(f"user{number}", f"request {number}"))
        head = await journal.head()
        await journal.close()
        return head

    def alter(self, statement: str, *values: Any) -> None:
        """Alter the file behind the journal's back."""
        connection = sqlite3.connect(self.path)
        connection.execute(statement, values)
        connection.commit()
        connection.close()

    async def inStore(self, journal: SQLiteJournal, work: Callable[[sqlite3.Connection], object]) -> None:
        """Do something with the connection, in the journal's thread."""
        await journal._inThread(lambda: work(journal._store._connection) and None)  # type: ignore[attr-defined]


class SQLiteJournalTests(JournalContract, SQLiteCase):
    def makeJournal(self) -> Awaitable[IJournal]:
        folder = self.mktemp()
        os.mkdir(folder)
        return self.openJournal(os.path.join(folder, "journal.db"))


class ReopenTests(SQLiteCase):
    async def test_everythingIsThereAgain(self) -> None:
        head = await self.closedJournal()
        journal = await self.openJournal()
        self.assertEqual(await journal.head(), head)
        self.assertEqual((await journal.find("request 1")).revision, 2)
        self.assertEqual((await journal.append(putUser("next"))).revision, 4)

    async def test_afterCompaction(self) -> None:
        journal = await self.openJournal()
        for number in range(5):
            await journal.append(putUser(f"user{number}", f"request {number}"))
        await journal.compact(2)
        head = await journal.head()
        await journal.close()
        journal = await self.openJournal()
        self.assertEqual(await journal.head(), head)
        self.assertEqual([entry.revision for entry in await journal.since(3, 10)], [4, 5])
        self.assertIsNone(await journal.find("request 2"))

    async def test_afterRestoreOfAShorterHistory(self) -> None:
        short = await self.openJournal(self.path + "2")
        await short.append(putUser("alice"))
        await self.closedJournal()
        journal = await self.openJournal()
        head = await journal.restore(await short.snapshot())
        await journal.close()
        self.assertEqual(await (await self.openJournal()).head(), head)

    async def test_largeEntriesAreFoldedOnce(self) -> None:
        journal = await self.openJournal()
        await journal.append(putUser("large", extra={"note": "x" * 2_000_000}))
        head = await journal.append(putUser("small"))
        await journal.close()
        connection = sqlite3.connect(self.path)
        stored = [revision for (revision,) in connection.execute("SELECT revision FROM snapshots ORDER BY revision")]
        connection.close()
        self.assertEqual((len(stored), stored[0]), (2, 0))
        journal = await self.openJournal()
        self.assertEqual(await journal.head(), head)
        self.assertEqual(len(await journal.since(0, 1)), 1)

    async def test_onlyTheOwnerReadsTheFiles(self) -> None:
        journal = await self.openJournal()
        await journal.append(putUser("alice"))
        modes = {name: os.stat(os.path.join(self.folder, name)).st_mode & 0o777 for name in os.listdir(self.folder)}
        self.assertEqual(modes, {"journal.db": 0o600, "journal.db-head": 0o600, "journal.db-wal": 0o600})

    async def test_tooWideModeIsNarrowed(self) -> None:
        await self.closedJournal()
        os.chmod(self.path, 0o644)
        await self.openJournal()
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)

    async def test_leftoversOfABrokenFirstStartAreNoJournal(self) -> None:
        for name in (".new", ".new-journal"):
            with open(self.path + name, "wb") as file:
                file.write(b"half")
        journal = await self.openJournal()
        self.assertEqual((await journal.head()).revision, 0)

    async def test_whatCannotBeOpenedIsSaidInOneLine(self) -> None:
        text = await self.openFails(ClusterError, os.path.join(self.folder, "missing", "journal.db"))
        self.assertIn("No such file or directory", text)


class SnapshotTests(SQLiteCase):
    """The snapshots that a start is quick from, made while entries go on being appended."""

    def stored(self) -> list[int]:
        connection = sqlite3.connect(self.path)
        revisions = [revision for (revision,) in connection.execute("SELECT revision FROM snapshots ORDER BY revision")]
        connection.close()
        return revisions

    async def test_snapshotOfAnEarlierHeadIsKept(self) -> None:
        await self.closedJournal(2)
        store = SQLiteStore.open(self.path)
        snapshot = snapshotOf(store.head)
        store.close()
        journal = await self.openJournal()
        head = await journal.append(putUser("later"))
        await journal.close()
        store = SQLiteStore.open(self.path)
        store.keep(snapshot)
        store.close()
        self.assertEqual(self.stored(), [0, 2])
        self.assertEqual(await (await self.openJournal()).head(), head)

    async def test_snapshotOfAnotherHistoryIsNotKept(self) -> None:
        head = await self.closedJournal(3)
        store = SQLiteStore.open(self.path)
        store.keep(evolve(snapshotOf(store.head), chainHash=bytes(32)))
        store.keep(evolve(snapshotOf(store.head), revision=4))
        store.close()
        self.assertEqual(self.stored(), [0])
        self.assertEqual(await (await self.openJournal()).head(), head)


class LockTests(SQLiteCase):
    async def test_secondOpeningIsRefused(self) -> None:
        await self.openJournal()
        self.assertIn("in use by another process", await self.openFails(JournalLocked))

    async def test_openedAgainAfterClosing(self) -> None:
        await self.closedJournal()
        self.assertEqual((await (await self.openJournal()).head()).revision, 3)


class DamageTests(SQLiteCase):
    async def damaged(self, *words: str) -> None:
        text = await self.openFails(JournalDamaged)
        for word in (self.path, *words):
            self.assertIn(word, text)

    async def test_alteredBody(self) -> None:
        await self.closedJournal()
        self.alter("UPDATE entries SET body = replace(body, 'user1', 'admin') WHERE revision = 2")
        await self.damaged("revision 2")

    async def test_alteredHash(self) -> None:
        await self.closedJournal()
        self.alter("UPDATE entries SET chainHash = zeroblob(32) WHERE revision = 3")
        await self.damaged("revision 3")

    async def test_missingEntry(self) -> None:
        await self.closedJournal()
        self.alter("DELETE FROM entries WHERE revision = 2")
        await self.damaged("revision 2")

    async def test_missingTail(self) -> None:
        await self.closedJournal()
        self.alter("DELETE FROM entries WHERE revision = 3")
        await self.damaged("revision 3")

    async def test_missingTailWithAForgedHead(self) -> None:
        head = await self.closedJournal()
        self.alter("DELETE FROM entries WHERE revision = 3")
        self.alter("UPDATE head SET revision = 2, chainHash = (SELECT chainHash FROM entries WHERE revision = 2)")
        await self.damaged("revision 3", "acknowledged")
        self.assertEqual(head.revision, 3)

    async def test_additionalEntry(self) -> None:
        await self.closedJournal()
        self.alter("INSERT INTO entries SELECT 4, body, chainHash FROM entries WHERE revision = 3")
        await self.damaged("revision 4")

    async def test_renumberedEntry(self) -> None:
        await self.closedJournal()
        self.alter("UPDATE entries SET revision = 40 WHERE revision = 3")
        await self.damaged("revision 40 holds 3")

    async def test_valueOfAnotherType(self) -> None:
        await self.closedJournal()
        self.alter("UPDATE entries SET body = 5 WHERE revision = 2")
        await self.damaged()

    async def test_alteredSnapshot(self) -> None:
        journal = await self.openJournal()
        for number in range(4):
            await journal.append(putUser(f"user{number}"))
        await journal.compact(1)
        await journal.close()
        self.alter("UPDATE snapshots SET data = replace(data, 'user1', 'admin')")
        await self.damaged("snapshot of revision 3")

    async def test_snapshotOfAnotherHistory(self) -> None:
        other = await self.openJournal(self.path + "2")
        for name in ("x", "y"):
            await other.append(putUser(name))
        foreign = await other.snapshot()
        await self.closedJournal()
        self.alter(
            "INSERT INTO snapshots VALUES (?, ?, ?, ?, ?)",
            foreign.revision, foreign.epoch, foreign.chainHash, foreign.data, foreign.sha256,
        )  # fmt: skip
        await self.damaged("revision 2")

    async def test_snapshotBeyondTheEnd(self) -> None:
        await self.closedJournal()
        self.alter("INSERT INTO snapshots SELECT 9, epoch, chainHash, data, sha256 FROM snapshots")
        await self.damaged()

    async def test_missingSnapshots(self) -> None:
        await self.closedJournal()
        self.alter("DELETE FROM snapshots")
        await self.damaged("no snapshot")

    async def test_missingHead(self) -> None:
        await self.closedJournal()
        self.alter("DELETE FROM head")
        await self.damaged()

    async def test_missingTable(self) -> None:
        await self.closedJournal()
        self.alter("DROP TABLE entries")
        await self.damaged()

    async def test_truncatedFile(self) -> None:
        await self.closedJournal(50)
        size = os.path.getsize(self.path)
        with open(self.path, "rb") as file:
            whole = file.read()
        for length in (0, 1, 100, 4096, size // 2, size - 4096, size - 1):
            with open(self.path, "wb") as file:
                file.write(whole[:length])
            await self.damaged()

    async def test_somethingElse(self) -> None:
        with open(self.path, "wb") as file:
            file.write(b"This is not a database. " * 1000)
        await self.damaged()
        os.unlink(self.path)
        self.alter("CREATE TABLE something (x)")
        await self.damaged("not a journal")

    async def test_damageIsNeverRepaired(self) -> None:
        await self.closedJournal()
        self.alter("DELETE FROM entries WHERE revision = 2")
        for _ in range(2):
            await self.damaged("revision 2")

    async def test_newerSchemaIsRefused(self) -> None:
        await self.closedJournal()
        self.alter("PRAGMA user_version = 99")
        self.assertIn("format 99", await self.openFails(NewerFormat))

    async def test_newerDocumentIsRefused(self) -> None:
        await self.closedJournal()
        connection = sqlite3.connect(self.path)
        (data,) = connection.execute("SELECT data FROM snapshots").fetchone()
        connection.create_function("sha256", 1, _sha256)
        newer = data.replace(b'"format":1', b'"format":9')
        connection.execute("UPDATE snapshots SET data = ?, sha256 = sha256(?)", (newer, newer))
        connection.commit()
        connection.close()
        self.assertIn("format 9", await self.openFails(NewerFormat))

    async def test_checkFindsWhatHappensToARunningJournal(self) -> None:
        journal = await self.openJournal()
        for number in range(50):
            await journal.append(putUser(f"user{number}"))
        await journal.compact(40)
        await journal.check()
        with open(self.path, "r+b") as file:
            data = file.read()
            file.seek(data.index(b"user30"))
            file.write(b"user3x")
        try:
            await journal.check()
        except JournalDamaged as error:
            self.assertIn("revision 31", str(error))
        else:
            self.fail("not found")

    async def test_damagedJournalIsBegunAnewWithItsHead(self) -> None:
        journal = await self.openJournal()
        for number in range(50):
            await journal.append(putUser(f"user{number}"))
        head = await journal.head()
        await journal.compact(40)
        with open(self.path, "r+b") as file:
            file.seek(len(file.read()) // 2)
            file.write(bytes(5000))
        aside = await journal.renew()
        await journal.check()
        self.assertEqual((await journal.head(), await journal.since(50, 10)), (head, []))
        self.assertEqual((await journal.append(putUser("next"))).revision, 51)
        await journal.close()
        self.assertEqual((await (await self.openJournal()).head()).revision, 51)
        await self.openFails(JournalDamaged, aside)

    async def test_stoppedJournalAppendsNothing(self) -> None:
        journal = await self.openJournal()
        await journal.stopWriting("a bit fell over")
        error: Any = await self.assertFailure(journal.append(putUser("alice")), JournalReadOnly)
        self.assertIn("a bit fell over", str(error))


class LogTests(SQLiteCase):
    """The write-ahead log of a process that was killed."""

    async def setUpKilled(self) -> tuple[str, Head]:
        """A copy of a running journal's files, and the head that was acknowledged."""
        journal = await self.openJournal()
        for number in range(10):
            await journal.append(putUser(f"user{number}"))
        copy = os.path.join(self.folder, "copy.db")
        for ending in ("", "-wal", "-head"):
            shutil.copyfile(self.path + ending, copy + ending)
        return copy, await journal.head()

    async def test_whatWasAcknowledgedIsThere(self) -> None:
        copy, head = await self.setUpKilled()
        self.assertEqual(await (await self.openJournal(copy)).head(), head)

    async def test_missingLogIsDamage(self) -> None:
        copy, _ = await self.setUpKilled()
        os.unlink(copy + "-wal")
        self.assertIn("10 were acknowledged", (await self.openFails(JournalDamaged, copy)).replace("they ", ""))

    async def test_damagedLogIsDamage(self) -> None:
        copy, _ = await self.setUpKilled()
        with open(copy + "-wal", "r+b") as file:
            file.seek(-6000, os.SEEK_END)
            file.write(b"\xff" * 16)
        await self.openFails(JournalDamaged, copy)

    async def test_tornUnacknowledgedTailIsDropped(self) -> None:
        copy, head = await self.setUpKilled()
        with open(copy + "-wal", "ab") as file:
            file.write(b"\x00" * 3000)
        self.assertEqual(await (await self.openJournal(copy)).head(), head)

    async def test_logWithoutItsFileIsDamage(self) -> None:
        copy, _ = await self.setUpKilled()
        os.unlink(copy)
        self.assertIn("is gone", await self.openFails(JournalDamaged, copy))

    async def test_missingMarkIsNoDamage(self) -> None:
        copy, head = await self.setUpKilled()
        os.unlink(copy + "-head")
        self.assertEqual(await (await self.openJournal(copy)).head(), head)

    async def test_unreadableMarkIsNoDamage(self) -> None:
        copy, head = await self.setUpKilled()
        with open(copy + "-head", "r+b") as file:
            file.write(b"\xff" * 20)
        self.assertEqual(await (await self.openJournal(copy)).head(), head)


class FullDiskTests(SQLiteCase):
    async def test_fullDiskRefusesAndLaterAccepts(self) -> None:
        journal = await self.openJournal()
        await journal.append(putUser("alice"))
        await self.inStore(journal, lambda connection: self.limitPages(connection, spare=2))
        try:
            await journal.append(putUser("large", extra={"note": "x" * 100_000}))
        except DiskFull as error:
            self.assertIn("no room", str(error))
        else:
            self.fail("it was appended")
        self.assertEqual((await journal.head()).revision, 1)
        self.assertEqual((await journal.append(putUser("bob"))).revision, 2)
        await self.inStore(journal, lambda connection: connection.execute("PRAGMA max_page_count=1000000"))
        self.assertEqual((await journal.append(putUser("large", extra={"note": "x" * 100_000}))).revision, 3)
        await journal.check()

    async def test_fullDiskRefusesOnlyWhatDoesNotFit(self) -> None:
        journal = await self.openJournal()
        await self.inStore(journal, lambda connection: self.limitPages(connection, spare=2))
        large = journal.append(putUser("large", extra={"note": "x" * 100_000}))
        small = [journal.append(putUser(name)) for name in ("alice", "bob")]
        await self.assertFailure(large, DiskFull)
        self.assertEqual([(await one).revision for one in small], [1, 2])

    async def test_snapshotThatDoesNotFitChangesNothing(self) -> None:
        source = await self.openJournal(self.path + "2")
        await source.append(putUser("large", extra={"note": "x" * 100_000}))
        journal = await self.openJournal()
        for name in ("alice", "bob"):
            await journal.append(putUser(name))
        head = await journal.head()
        await self.inStore(journal, lambda connection: self.limitPages(connection, spare=2))
        await self.assertFailure(journal.restore(await source.snapshot()), DiskFull)
        self.assertEqual(await journal.head(), head)
        await journal.check()
        await journal.close()
        self.assertEqual(await (await self.openJournal()).head(), head)

    @staticmethod
    def limitPages(connection: sqlite3.Connection, spare: int) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages + spare}")


class FailingDiskTests(SQLiteCase):
    async def test_failedWriteMakesTheJournalReadOnly(self) -> None:
        journal = await self.openJournal()
        head = await journal.append(putUser("alice"))
        await self.inStore(journal, lambda connection: connection.execute("PRAGMA query_only=1"))
        for _ in range(2):
            await self.assertFailure(journal.append(putUser("bob")), JournalReadOnly)
        await self.inStore(journal, lambda connection: connection.execute("PRAGMA query_only=0"))
        # Not retried: nobody knows what the disk has.
        await self.assertFailure(journal.append(putUser("bob")), JournalReadOnly)
        await self.assertFailure(journal.restore(await journal.snapshot()), JournalReadOnly)
        self.assertEqual(await journal.head(), head)
        self.assertEqual(len(await journal.since(0, 10)), 1)
        await journal.close()
        journal = await self.openJournal()
        self.assertEqual((await journal.append(putUser("bob"))).revision, 2)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
