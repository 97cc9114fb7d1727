"""Durable rows on disk: kept, given back, and done without where the disk fails."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.cluster import rows as module
from cftpcluster.cluster.records import Table
from cftpcluster.cluster.rows import RowsKeeper
from cftpcluster.cluster.shared import SharedRows
from cftpcluster.errors import ClusterError
from cftpcluster.testing.threads import HeldPool, InlinePool, InlineReactor

from .test_shared import Logged, record

TABLES = {
    "one": Table(name="one", durable=True, most=100_000),
    "two": Table(name="two", durable=False, most=100),
}


class RowsKeeperTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = InlineReactor()
        self.path = Path(self.mktemp())
        self.wall = 1000.0
        self.pool: Any = InlinePool()

    def start(self, node: str = "here") -> SharedRows:
        """A start of the node."""
        self.keeper: RowsKeeper = self.successResultOf(
            RowsKeeper.open(str(self.path), self.reactor, self.pool, lambda: self.wall)
        )
        keeper = self.keeper
        self.addCleanup(keeper.close)
        rows = SharedRows(
            node=node,
            incarnation=keeper.incarnation,
            clock=self.reactor,
            tables=TABLES,
            members=lambda: {"here", "there"},
        )
        keeper.keep(rows)
        return rows

    def again(self) -> SharedRows:
        self.successResultOf(self.keeper.close())
        return self.start()

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.reactor.advance(seconds)

    def left(self, rows: SharedRows) -> dict[str, float]:
        return {row.key: round(row.expires - self.reactor.seconds(), 3) for row in rows.rows("one")}

    def stored(self) -> int:
        with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as connection:
            (count,) = connection.execute("SELECT count(*) FROM rows").fetchone()
        connection.close()
        return int(count)

    def test_durableRowsOutliveARestart(self) -> None:
        rows = self.start()
        rows.put("one", "a", {"n": 1}, 100)
        rows.put("two", "b", {"n": 2}, 100)
        rows.merge("there", [record("c", table="one", expires=50.0)])
        self.pass_(10)
        rows = self.again()
        self.assertEqual({"a": 90.0, "c": 40.0}, self.left(rows))
        self.assertEqual([], list(rows.rows("two")))

    def test_theyAreWrittenSoonAndTogether(self) -> None:
        rows, self.pool = self.start(), None
        held = self.keeper._pool = HeldPool()
        for n in range(20):
            rows.put("one", str(n), {}, 100)
        self.pass_(0)
        rows.put("one", "later", {}, 100)
        self.pass_(1)
        self.assertEqual(1, len(held.held))
        held.runNext()
        self.pass_(0.06)
        self.assertEqual(1, len(held.held))
        held.runAll()
        self.keeper._pool = self.pool = InlinePool()
        self.assertEqual(21, len(self.left(self.again())))

    def test_whatWasNotWrittenYetIsWrittenAtTheEnd(self) -> None:
        self.start().put("one", "a", {}, 100)
        self.assertEqual({"a": 100.0}, self.left(self.again()))

    def test_withdrawalsOutliveARestart(self) -> None:
        rows = self.start()
        rows.put("one", "a", {}, 100)
        rows.remove("one", "a")
        rows = self.again()
        self.assertEqual([], list(rows.rows("one")))
        self.assertEqual([("one", "a", "here")], list(rows.ids()))

    def test_aRowThatReplacedALongerOneEndsInItsTimeAfterARestartToo(self) -> None:
        rows = self.start()
        rows.put("one", "a", {"n": 1}, 100)
        rows.put("one", "a", {"n": 2}, 10)
        self.pass_(4)
        rows = self.again()
        self.assertEqual({"a": 6.0}, self.left(rows))
        self.pass_(7)
        self.assertEqual({}, self.left(rows))
        self.assertEqual([("one", "a", "here")], list(rows.ids()))
        self.pass_(90)
        self.assertEqual([], list(rows.ids()))

    def test_expiredRowsLeaveTheDisk(self) -> None:
        rows = self.start()
        rows.put("one", "a", {}, 10)
        self.pass_(1)
        self.pass_(10)
        self.pass_(1)
        self.successResultOf(self.keeper.close())
        self.assertEqual(0, self.stored())

    def test_rowsThatExpireWhileTheNodeIsDownAreGone(self) -> None:
        self.start().put("one", "a", {}, 10)
        self.successResultOf(self.keeper.close())
        self.pass_(20)
        self.assertEqual({}, self.left(self.start()))
        self.successResultOf(self.keeper.close())
        self.assertEqual(0, self.stored())

    def test_aClockThatWasSetBackMakesNothingLastLonger(self) -> None:
        self.start().put("one", "a", {}, 10)
        self.successResultOf(self.keeper.close())
        self.wall -= 86400
        self.assertEqual({"a": 10.0}, self.left(self.start()))

    def test_everyStartHasAHigherNumber(self) -> None:
        numbers = []
        for wall in (1000.0, 1000.0, 5.0, 3000.0):
            self.wall = wall
            self.start()
            numbers.append(self.keeper.incarnation)
            self.successResultOf(self.keeper.close())
        self.assertEqual([1000, 1001, 1002, 3000], numbers)

    def test_theNodesNumberIsKeptWhenItRises(self) -> None:
        rows = self.start()
        rows.put("one", "a", {}, 100)
        rows.merge("there", [record("b", table="one", node="here", incarnation=5000, expires=100.0)])
        self.assertEqual(5001, rows.incarnation)
        self.again()
        self.assertEqual(5002, self.keeper.incarnation)

    def test_nobodyElseReadsTheFile(self) -> None:
        self.path.touch(0o644)
        os.chmod(self.path, 0o644)
        self.start().put("one", "a", {}, 100)
        self.pass_(1)
        for file in self.path.parent.glob(self.path.name + "*"):
            self.assertEqual(0o600, file.stat().st_mode & 0o777, file)

    def test_aDamagedFileIsSetAside(self) -> None:
        self.start().put("one", "a", {}, 100)
        self.successResultOf(self.keeper.close())
        self.path.write_bytes(b"no database at all" * 500)
        with Logged() as lines:
            rows = self.start()
        self.assertEqual({}, self.left(rows))
        self.assertEqual(1, len(lines), lines)
        self.assertIn("set aside", lines[0])
        self.assertTrue(Path(f"{self.path}.damaged").read_bytes().startswith(b"no database"))
        rows.put("one", "b", {}, 100)
        self.assertEqual({"b": 100.0}, self.left(self.again()))

    def test_damagedPagesAreSeen(self) -> None:
        rows = self.start()
        for n in range(500):
            rows.put("one", str(n), {"text": "x" * 200}, 100)
        self.successResultOf(self.keeper.close())
        data = bytearray(self.path.read_bytes())
        data[8192:-4096] = os.urandom(len(data) - 12288)
        self.path.write_bytes(data)
        with Logged() as lines:
            self.start()
        self.assertEqual(1, len([line for line in lines if "set aside" in line]), lines)

    def test_aRowThatCannotBeReadIsLeftOut(self) -> None:
        rows = self.start()
        for key in ("a", "b"):
            rows.put("one", key, {}, 100)
        self.successResultOf(self.keeper.close())
        with sqlite3.connect(self.path) as connection:
            connection.execute("UPDATE rows SET body = x'7b7d' WHERE CAST(id AS TEXT) LIKE '%\"a\"%'")
        connection.close()
        with Logged() as lines:
            self.assertEqual({"b": 100.0}, self.left(self.start()))
        self.assertEqual(1, len(lines), lines)

    def test_aFolderThatCannotBeWrittenIsSaid(self) -> None:
        self.path = self.path / "missing" / "rows.db"
        failure = self.failureResultOf(
            RowsKeeper.open(str(self.path), self.reactor, self.pool, lambda: self.wall), ClusterError
        )
        self.assertIn("rows.db", str(failure.value))

    def test_aDiskThatFailsIsDoneWithoutAndTriedAgain(self) -> None:
        rows = self.start()
        good = self.keeper._file

        class Full:
            def commit(self, *_: object) -> None:
                raise ClusterError("the disk is full")

        self.keeper._file = Full()  # type: ignore[assignment]
        with Logged() as lines:
            rows.put("one", "a", {}, 1000)
            self.pass_(0.1)
            self.assertIn("the disk is full", self.keeper.problem)
            for _ in range(5):
                self.pass_(module.RETRY_SECONDS + 0.1)
            self.assertEqual(1, len(lines), lines)
        self.assertEqual(["a"], [row.key for row in rows.rows("one")])
        self.keeper._file = good
        self.pass_(module.RETRY_SECONDS + 0.1)
        self.assertEqual("", self.keeper.problem)
        self.assertEqual(["a"], list(self.left(self.again())))

    def test_aFileThatIsDamagedWhileItIsUsedIsReplaced(self) -> None:
        rows = self.start()
        rows.put("one", "a", {}, 1000)
        self.pass_(0.1)
        self.keeper._file._connection.execute("DROP TABLE rows")
        rows.put("one", "b", {}, 1000)
        self.pass_(0.1)
        self.assertIn("not kept", self.keeper.problem)
        self.pass_(module.RETRY_SECONDS + 0.1)
        self.assertEqual("", self.keeper.problem)
        self.assertEqual({"a", "b"}, set(self.left(self.again())))
