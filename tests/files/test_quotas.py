"""Tests of :mod:`cftpcluster.files.quotas`."""

from __future__ import annotations

import os
import time
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.document import Quota, User
from cftpcluster.errors import QuotaExceeded, StorageMissing
from cftpcluster.files.allowance import Allowance, Key
from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.metered import Metered
from cftpcluster.files.quotas import QUOTA, RECOUNT_SECONDS, RETRY_SECONDS, ROW_SECONDS, WAIT_SECONDS, Quotas, Storage
from cftpcluster.files.wrappers import FileSystemWrapper
from cftpcluster.interfaces import IFileSystem, IUsageReport
from cftpcluster.testing.files import write
from cftpcluster.testing.rows import MemoryRows
from cftpcluster.vocabulary import OpenMode, Usage

from .localbackends import LocalMixin

NIGHT = 86400.0


class Plain(FileSystemWrapper):
    """What a plug-in's file system may be: it tells only what can be listed."""


class Nodes:
    """Nodes that share rows, as they hear of each other; and one user's storage."""

    def __init__(self, shared: bool = True) -> None:
        self.clock = Clock()
        # rows expire by a clock that is at 0 now; nights come by the time of day
        self.midnight = time.mktime((2026, 3, 2, 0, 0, 0, 0, 0, -1))
        self.users = {"alice": User(name="alice", quota=Quota(bytes=1000, files=10))}
        self.backend = MemoryBackend(self.clock, 2**30)
        self.shared = shared
        self.opened: list[IFileSystem] = []
        self.rows: dict[str, MemoryRows] = {}
        self.connected = True
        self.fails = False
        self.plain = False
        self.places = "files:/home"
        self.mostBytes = 4096

    def open(self) -> IFileSystem:
        if self.fails:
            raise StorageMissing
        files: IFileSystem = self.backend.fileSystem("home", "alice", True)
        self.opened.append(files)
        return Plain(files) if self.plain else files

    def storages(self, user: User) -> list[Storage]:
        return [Storage(self.shared, self.places, self.open)]

    def quotas(self, node: str) -> Quotas:
        rows = self.rows[node] = TalkingRows(self, node)
        for other in self.rows.values():
            for row in other.rows(QUOTA):
                rows.hear(row.node, QUOTA, row.key, row.value, row.expires - self.clock.seconds())
        made = Quotas(
            rows,
            node,
            self.clock,
            self.users.get,
            self.storages,
            lambda: self.midnight + self.clock.seconds(),
            lambda: 0.5,
            lambda: f"run-{len(self.opened)}-{os.urandom(3).hex()}",
        )
        made.start()
        return made

    def files(self, quotas: Quotas, atomic: bool = True) -> Metered:
        inner = self.backend.fileSystem("home", "alice", atomic)
        return Metered(inner, atomic, Key("files", ("home",), self.shared), lambda: quotas.of("alice"))


class TalkingRows(MemoryRows):
    """Rows that the other nodes hear of at once."""

    def __init__(self, nodes: Nodes, node: str) -> None:
        super().__init__(nodes.clock, node)
        self.nodes = nodes

    def put(self, table: str, key: str, value: Any, seconds: float) -> None:
        if len(str(value)) > self.nodes.mostBytes:
            raise ValueError
        super().put(table, key, value, seconds)
        if self.nodes.connected:
            for rows in self.nodes.rows.values():
                if rows is not self:
                    rows.hear(self.node, table, key, value, seconds)


class QuotasTests(SynchronousTestCase):
    def make(self, shared: bool = True) -> None:
        self.nodes = Nodes(shared)
        self.clock = self.nodes.clock
        self.a = self.nodes.quotas("a")

    def setUp(self) -> None:
        self.make()

    def of(self, quotas: Quotas) -> Allowance:
        found = quotas.of("alice")
        assert found is not None
        return found

    def upload(self, path: str, size: int, quotas: Quotas | None = None) -> None:
        outside: IFileSystem = self.nodes.backend.fileSystem("home", "alice", True)
        files = self.nodes.files(quotas) if quotas else outside
        self.successResultOf(Deferred.fromCoroutine(write(files, path, bytes(size))))

    def refused(self, path: str, size: int, quotas: Quotas) -> None:
        file = self.successResultOf(self.nodes.files(quotas).open((path[1:],), OpenMode.create))
        self.failureResultOf(file.write(0, bytes(size)), QuotaExceeded)
        self.successResultOf(file.abort(keep=False))

    def used(self, quotas: Quotas) -> tuple[int, int]:
        used = self.of(quotas).used
        return used.bytes, used.files

    # --- one node

    def test_withoutAQuotaNothingIsCounted(self) -> None:
        self.nodes.users["bob"] = User(name="bob")
        self.assertIs(self.a.of("bob"), None)
        self.assertIs(self.a.of("nobody"), None)
        self.assertEqual(self.nodes.opened, [])

    def test_whatIsThereIsCountedAtFirst(self) -> None:
        self.upload("/f", 400)
        self.assertEqual(self.used(self.a), (400, 1))
        self.upload("/g", 600, self.a)
        self.refused("/h", 1, self.a)
        self.assertEqual(len(self.nodes.opened), 1)

    def test_alsoWithStorageThatOnlyLists(self) -> None:
        self.nodes.plain = True
        files = self.nodes.backend.fileSystem("home", "alice", True)
        self.successResultOf(files.makeDirectory(("d",)))
        self.upload("/d/f", 400)
        self.upload("/g", 5)
        self.assertEqual(self.used(self.a), (405, 2))

    def test_sessionsOfTheCountAreEnded(self) -> None:
        self.used(self.a)
        (files,) = self.nodes.opened
        self.failureResultOf(files.list(()))

    def test_theQuotaIsTheOneOfNow(self) -> None:
        self.upload("/f", 400, self.a)
        self.nodes.users["alice"] = User(name="alice", quota=Quota(bytes=300))
        self.a.refresh()
        self.refused("/g", 1, self.a)

    def test_whoLosesItsQuotaIsCountedAnewLater(self) -> None:
        self.upload("/f", 400, self.a)
        before = self.nodes.users["alice"]
        self.nodes.users["alice"] = User(name="alice")
        self.a.refresh()
        self.assertEqual(list(self.nodes.rows["a"].rows(QUOTA)), [])
        self.upload("/g", 300, self.a)
        self.nodes.users["alice"] = before
        self.a.refresh()
        self.assertEqual(self.used(self.a), (700, 2))

    def test_otherFoldersAreCountedAnew(self) -> None:
        self.upload("/f", 400, self.a)
        self.upload("/g", 100)
        self.nodes.places = "files:/other"
        self.a.refresh()
        self.assertEqual(self.used(self.a), (500, 2))

    def test_aRefusalCountsAnewWhatMayBeOld(self) -> None:
        self.upload("/f", 900, self.a)
        plain = self.nodes.backend.fileSystem("home", "alice", True)
        self.successResultOf(plain.remove(("f",)))
        self.refused("/g", 900, self.a)
        self.clock.advance(RECOUNT_SECONDS)
        self.refused("/g", 900, self.a)
        self.upload("/g", 900, self.a)
        self.assertEqual(self.used(self.a), (900, 1))

    def test_aCountThatFailsIsTriedAgain(self) -> None:
        self.upload("/f", 400)
        self.nodes.fails = True
        self.assertEqual(self.used(self.a), (0, 0))
        self.nodes.fails = False
        self.assertEqual(self.used(self.a), (0, 0))
        self.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.used(self.a), (400, 1))

    def test_uploadsWaitNoLongerThanSomeSeconds(self) -> None:
        self.nodes.fails = True
        writing = Deferred.fromCoroutine(write(self.nodes.files(self.a), "/f", bytes(5)))
        self.assertNoResult(writing)
        self.clock.advance(WAIT_SECONDS)
        self.successResultOf(writing)
        self.assertEqual(self.used(self.a), (5, 1))

    def test_atNightEverythingIsCountedAnew(self) -> None:
        self.upload("/f", 400, self.a)
        self.upload("/g", 100)
        self.clock.pump([600] * 6 * 28)
        self.of(self.a)
        self.assertEqual(self.used(self.a), (500, 2))
        self.upload("/h", 100)
        self.of(self.a)
        self.clock.pump([600] * 6 * 26)
        self.assertEqual(self.used(self.a), (600, 3))

    def test_atNightTheUnusedIsForgotten(self) -> None:
        self.upload("/f", 400, self.a)
        self.clock.pump([600] * 6 * 60)
        self.assertEqual(self.a._accounts, {})
        self.upload("/g", 50, self.a)
        self.assertEqual(self.used(self.a), (450, 2))

    def test_nothingTicksAfterTheEnd(self) -> None:
        self.nodes.fails = True
        self.of(self.a)
        self.of(self.a).add(Key("f", (), True), Usage(5, 1))
        self.of(self.a).add(Key("f", (), True), Usage(5, 1))
        self.a.stop()
        rows = self.nodes.rows["a"].rows(QUOTA)
        self.assertEqual([row.value["bytes"] for row in rows], [10])
        self.assertEqual([call.func.__name__ for call in self.clock.getDelayedCalls()], ["forget"])

    # --- several nodes

    def test_whatOneNodeTakesTheOthersKnow(self) -> None:
        b = self.nodes.quotas("b")
        self.assertEqual((self.used(self.a), self.used(b)), ((0, 0), (0, 0)))
        self.upload("/f", 600, self.a)
        self.clock.advance(1)
        self.assertEqual(self.used(b), (600, 1))
        self.refused("/g", 500, b)
        self.upload("/g", 400, b)
        self.clock.advance(1)
        self.refused("/h", 1, self.a)
        self.successResultOf(self.nodes.files(b).remove(("f",)))
        self.clock.advance(1)
        self.assertEqual((self.used(self.a), self.used(b)), ((400, 1), (400, 1)))
        # the second node did not have to count
        self.assertEqual(len(self.nodes.opened), 1)

    def test_rowsAreToldNoMoreThanOnceASecond(self) -> None:
        self.of(self.a)
        told: list[int] = []
        self.nodes.rows["a"].watch(QUOTA, lambda before, after: told.append(after.value["bytes"] if after else -1))
        for _ in range(50):
            self.of(self.a).add(Key("f", (), True), Usage(1, 0))
        self.clock.advance(0.9)
        self.assertEqual(told, [])
        self.clock.advance(0.2)
        self.assertEqual(told, [50])

    def test_aNodeThatComesLaterKnowsAtOnce(self) -> None:
        self.upload("/f", 600, self.a)
        self.clock.advance(1)
        b = self.nodes.quotas("b")
        self.assertEqual(self.used(b), (600, 1))
        self.assertTrue(self.of(b).isKnown)

    def test_aCountTakesInWhatAllHadSaid(self) -> None:
        b = self.nodes.quotas("b")
        self.upload("/f", 300, self.a)
        self.upload("/g", 200, b)
        self.clock.advance(1)
        self.upload("/outside", 50)
        self.clock.advance(RECOUNT_SECONDS)
        self.refused("/h", 900, b)
        self.clock.advance(1)
        self.assertEqual((self.used(self.a), self.used(b)), ((550, 3), (550, 3)))
        self.upload("/i", 10, self.a)
        self.clock.advance(1)
        self.assertEqual((self.used(self.a), self.used(b)), ((560, 4), (560, 4)))

    def test_aNodeThatStartsAnewGoesOnWithWhatItSaid(self) -> None:
        b = self.nodes.quotas("b")
        self.upload("/f", 300, self.a)
        self.upload("/g", 200, b)
        self.clock.advance(1)
        b.stop()
        b = self.nodes.quotas("b")
        self.assertEqual((self.used(self.a), self.used(b)), ((500, 2), (500, 2)))
        self.upload("/h", 100, b)
        self.clock.advance(1)
        self.assertEqual((self.used(self.a), self.used(b)), ((600, 3), (600, 3)))

    def test_aNodeThatForgotWhatItSaidBeginsAnew(self) -> None:
        b = self.nodes.quotas("b")
        self.upload("/f", 300, self.a)
        self.upload("/g", 200, b)
        self.clock.advance(1)
        b.stop()
        self.clock.advance(RECOUNT_SECONDS)
        self.refused("/x", 900, self.a)
        for rows in self.nodes.rows.values():
            rows.forget("b", QUOTA, "alice")
        b = self.nodes.quotas("b")
        self.upload("/h", 100, b)
        self.clock.advance(1)
        self.assertEqual((self.used(self.a), self.used(b)), ((600, 3), (600, 3)))

    def test_apartFromTheOthersANodeGoesByWhatItKnows(self) -> None:
        b = self.nodes.quotas("b")
        self.upload("/f", 300, self.a)
        self.clock.advance(1)
        self.nodes.connected = False
        self.upload("/g", 700, b)
        self.refused("/h", 1, b)
        self.assertEqual(self.used(self.a), (300, 1))

    def test_aRowThatWouldBeTooLongGoesWithoutTheCount(self) -> None:
        self.nodes.mostBytes = 100
        b = self.nodes.quotas("b")
        self.upload("/f", 600, self.a)
        self.clock.advance(1)
        self.assertEqual([set(row.value) for row in self.nodes.rows["b"].rows(QUOTA)], [{"run", "bytes", "files"}])
        self.assertEqual(self.used(b), (600, 1))

    def test_whatLiesOnOneNodeCountsThereAlone(self) -> None:
        self.make(shared=False)
        b = self.nodes.quotas("b")
        self.upload("/f", 600, self.a)
        self.clock.advance(2)
        self.assertEqual(list(self.nodes.rows["a"].rows(QUOTA)), [])
        self.assertEqual((self.used(self.a), self.used(b)), ((600, 1), (600, 1)))
        self.upload("/g", 100, self.a)
        self.assertEqual((self.used(self.a), self.used(b)), ((700, 2), (600, 1)))

    def test_rowsOfANewerVersionAreLeftAside(self) -> None:
        rows = self.nodes.rows["a"]
        for number, value in enumerate(
            (
                {},
                {"run": 5, "bytes": 1, "files": 1},
                {"run": "x", "bytes": "1", "files": 1},
                {"run": "x", "bytes": 100, "files": 1, "scan": {"time": "soon"}},
                {"run": "x", "bytes": 1, "files": True},
                {"run": "x", "bytes": 1, "files": 1, "scan": {"time": 1, "places": "", "bytes": 1, "seen": {"n": []}}},
            )
        ):
            rows.hear(f"n{number}", QUOTA, "alice", value, ROW_SECONDS)
        self.upload("/f", 5)
        self.assertEqual(self.used(self.a), (5, 1))

    # --- what is under way while it is counted

    def test_uploadsUnderWayAreCountedAsTheyAre(self) -> None:
        files = self.nodes.files(self.a)
        self.upload("/old", 300, self.a)
        replacing = self.successResultOf(files.open(("old",), OpenMode.replace))
        self.successResultOf(replacing.write(0, bytes(200)))
        new = self.successResultOf(files.open(("new",), OpenMode.create))
        self.successResultOf(new.write(0, bytes(100)))
        self.assertEqual(self.used(self.a), (400, 2))
        self.clock.advance(RECOUNT_SECONDS)
        self.refused("/x", 900, self.a)
        # in memory what replaces something lies nowhere before it is committed
        self.assertEqual(self.used(self.a), (200, 1))

    # --- for administrators

    def report(self, quotas: Quotas, name: str = "alice") -> Any:
        return self.successResultOf(Deferred.fromCoroutine(quotas.report(self.nodes.users[name])))  # type: ignore[arg-type]

    def test_report(self) -> None:
        self.upload("/f", 400)
        quota = {"bytes": 1000, "files": 10}
        expected = {"user": "alice", "node": "a", "bytes": 400, "files": 1, "quota": quota, "complete": True}
        self.assertEqual(self.report(self.a), expected)
        self.nodes.users["alice"] = evolve(self.nodes.users["alice"], quota=Quota())
        self.assertEqual(self.report(self.a)["quota"], {"bytes": 0, "files": 0})

    def test_reportOfWhatCannotBeCounted(self) -> None:
        self.nodes.fails = True
        self.assertEqual(self.report(self.a)["complete"], False)


class LocalUsageTests(LocalMixin, SynchronousTestCase):
    """How the disk is counted."""

    def setUp(self) -> None:
        self.backend = self.makeBackend(fsync=False)
        self.files = self.backend.fileSystem("home", "alice", True)

    def usage(self, *path: str) -> Usage:
        found = self.result(IUsageReport(self.files).usage(path))
        assert isinstance(found, Usage)
        return found

    def test_everythingAtAnyDepthPartialsToo(self) -> None:
        self.result(write(self.files, "/f", bytes(10)))
        self.result(self.files.makeDirectory(("d",)))
        self.result(self.files.makeDirectory(("d", "e")))
        self.result(write(self.files, "/d/e/g", bytes(5)))
        partial = self.result(self.files.open(("d", "p"), OpenMode.create))
        self.result(partial.write(0, bytes(3)))
        self.assertEqual(self.usage(), Usage(18, 3))
        self.assertEqual(self.usage("d"), Usage(8, 2))

    def test_oneFileOnceAndNoLinks(self) -> None:
        self.result(write(self.files, "/f", bytes(10)))
        os.link(self.disk("home", "f"), self.disk("home", "g"))
        os.symlink("/etc", self.disk("home", "out"))
        os.symlink("f", self.disk("home", "h"))
        os.mkfifo(self.disk("home", "pipe"))
        self.assertEqual(self.usage(), Usage(10, 1))

    def test_theServersOwnFilesDoNotCount(self) -> None:
        self.result(write(self.files, "/f", bytes(10)))
        with open(self.disk("home", ".cftpcluster-storage"), "w") as marker:
            marker.write("id")
        self.assertEqual(self.usage(), Usage(10, 1))

    def test_aFolderThatIsMissing(self) -> None:
        self.failureResultOf(IUsageReport(self.files).usage(("no",)))
