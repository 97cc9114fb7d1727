"""Tests of :mod:`cftpcluster.files.transfers`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from cftpcluster.events import Event
from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.policy import Observed
from cftpcluster.files.traffic import Traffic
from cftpcluster.files.transfers import SIZE_SECONDS, Found, Transfers, Wanted
from cftpcluster.files.wrappers import FileSystemWrapper, FileWrapper
from cftpcluster.interfaces import IFile, IHasDescriptor, ISizedUpload
from cftpcluster.testing.auth import originOf
from cftpcluster.vocabulary import OpenMode, Stat, VirtualPath, publicId


@implementer(IHasDescriptor)
class Described(FileWrapper):
    def descriptor(self) -> int:
        return 7

    def sent(self, byteCount: int) -> None:
        pass


class Hanging(FileWrapper):
    """A file of a storage that does not answer."""

    def stat(self) -> Deferred[Stat]:
        return Deferred()


class Wrapping(FileSystemWrapper):
    wrap: Any = Described

    def open(self, path: VirtualPath, mode: OpenMode) -> Deferred[IFile]:
        return self.inner.open(path, mode).addCallback(self.wrap)


class TransfersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.traffic = Traffic()
        self.transfers = Transfers("node-a", self.traffic, self.clock, lambda: self.clock.seconds() + 500)
        self.transfers.start()
        self.addCleanup(self.transfers.stop)
        self.backend = MemoryBackend(self.clock, 10_000)

    def files(self, user: str = "alice", wrap: Any = Described) -> Observed:
        inner = Wrapping(self.backend.fileSystem("", user, True))
        inner.wrap = wrap
        told: list[Event] = []
        return Observed(inner, user, originOf(), told.append, self.clock, traffic=self.traffic)

    def open(self, files: Observed, name: str, mode: OpenMode) -> IFile:
        return self.successResultOf(files.open((name,), mode))

    def stored(self, name: str, size: int) -> None:
        file = self.open(self.files(), name, OpenMode.replace)
        self.successResultOf(file.write(0, bytes(size)))
        self.successResultOf(file.commit())

    def find(self, **wanted: Any) -> Found:
        return self.successResultOf(self.transfers.find(Wanted(**wanted)))

    def test_uploadIsKnownUntilItsEnd(self) -> None:
        file = self.open(self.files(), "a", OpenMode.replace)
        ISizedUpload(file).expect(300)
        self.clock.advance(1)
        self.successResultOf(file.write(0, bytes(100)))
        (one,) = self.find().items
        self.assertEqual(
            (one.node, one.user, one.protocol, one.address, one.session),
            ("node-a", "alice", originOf().protocol, originOf().address, publicId(originOf().session)),
        )
        self.assertEqual((one.direction, one.path, one.bytes, one.size), ("upload", "/a", 100, 300))
        self.assertEqual((one.since, one.bytesPerSecond), (1500.0, 100))
        self.successResultOf(file.commit())
        self.assertEqual(self.find(), Found([], 0))

    def test_downloadByTheKernelCounts(self) -> None:
        self.stored("a", 500)
        file = self.open(self.files(), "a", OpenMode.read)
        IHasDescriptor(file).sent(200)
        self.successResultOf(file.read(200, 50))
        (one,) = self.find().items
        self.assertEqual((one.direction, one.bytes, one.size), ("download", 250, 500))
        self.successResultOf(file.abort(keep=False))
        self.assertEqual(self.find().items, [])

    def test_whatWasThereBeforeIsNotMovedAgain(self) -> None:
        file = self.open(self.files(), "a", OpenMode.replace)
        self.successResultOf(file.write(0, bytes(100)))
        self.successResultOf(file.abort(keep=True))
        file = self.open(self.files(), "a", OpenMode.resume)
        ISizedUpload(file).expect(300)
        self.successResultOf(file.write(100, bytes(50)))
        (one,) = self.find().items
        self.assertEqual((one.bytes, one.size), (50, 200))

    def test_rateIsThatOfTheLastSeconds(self) -> None:
        file = self.open(self.files(), "a", OpenMode.replace)
        self.successResultOf(file.write(0, bytes(5000)))
        for _ in range(5):
            self.clock.advance(2)
            self.successResultOf(file.write(0, bytes(20)))
        self.assertEqual(self.find().items[0].bytesPerSecond, 15)
        for _ in range(3):
            self.clock.advance(2)
        self.assertEqual(self.find().items[0].bytesPerSecond, 0)

    def test_whatEndsWithItsSessionIsGone(self) -> None:
        files = self.files()
        self.open(files, "a", OpenMode.replace)
        self.assertEqual(self.find().total, 1)
        self.successResultOf(files.close())
        self.assertEqual(self.find().total, 0)
        self.assertEqual(self.traffic.open, set())

    def test_onesThatFit(self) -> None:
        alice, bob = self.files(), self.files("bob")
        for files, name in ((alice, "Report"), (bob, "report"), (bob, "other")):
            self.open(files, name, OpenMode.replace)
            self.clock.advance(1)
        self.assertEqual([one.path for one in self.find(user="bob").items], ["/report", "/other"])
        self.assertEqual([one.user for one in self.find(search="REPORT").items], ["alice", "bob"])
        self.assertEqual(self.find(search=originOf().address).total, 3)
        first = self.find(limit=2)
        self.assertEqual((len(first.items), first.total), (2, 3))
        rest = self.find(limit=2, after=first.items[-1].place)
        self.assertEqual([one.path for one in rest.items], ["/other"])

    def test_storageThatHangsIsAskedOnceAndNotWaitedFor(self) -> None:
        self.stored("a", 500)
        file = self.open(self.files(wrap=Hanging), "a", OpenMode.read)
        self.successResultOf(file.read(0, 10))
        asked = self.transfers.find(Wanted())
        self.assertNoResult(asked)
        self.clock.advance(SIZE_SECONDS)
        (one,) = self.successResultOf(asked).items
        self.assertEqual((one.bytes, one.size), (10, None))
        self.assertEqual(self.find().items[0].size, None)

    def test_namesThatAreNoTextAreShown(self) -> None:
        self.open(self.files(), "a\udcff\n", OpenMode.replace)
        self.assertEqual(self.find().items[0].path, "/a\\xff\n")
