"""Tests of :mod:`cftpcluster.files.throttled`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from cftpcluster.config.document import Limits
from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.streams import FileReceiver, FileSender, Stopped
from cftpcluster.files.throttled import (
    LEAST_PIECE_BYTES,
    MOST_DEBT_SECONDS,
    MOST_PIECE_BYTES,
    AllRates,
    Flow,
    Rate,
    SessionFlows,
    Throttled,
)
from cftpcluster.files.wrappers import FileSystemWrapper, FileWrapper
from cftpcluster.interfaces import IFile, IFileSystem, IHasDescriptor, IPaced
from cftpcluster.testing.files import FileSystemContract
from cftpcluster.vocabulary import OpenMode


def fired(deferred: Deferred[Any]) -> bool:
    return deferred.called and not deferred.paused


def advance(clock: Clock, seconds: float, step: float = 0.01) -> None:
    for _ in range(round(seconds / step)):
        clock.advance(step)


class RateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.rate = Rate(self.clock)
        self.rate.change(1000)

    def add(self, flow: Flow, cost: int) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self.rate.add(flow, cost, done)
        return done

    def test_bytesArePaidForInTheirTime(self) -> None:
        done = self.add(Flow(), 500)
        advance(self.clock, 0.45)
        self.assertNoResult(done)
        advance(self.clock, 0.1)
        self.successResultOf(done)

    def test_overTimeTheRateIsKept(self) -> None:
        flow, moved = Flow(), 0
        while self.clock.seconds() < 10:
            done = self.add(flow, 70)
            while not done.called:
                self.clock.advance(0.007)
            moved += 70
        self.assertTrue(9_800 <= moved <= 10_250, moved)

    def test_timersThatRingLateCostNothing(self) -> None:
        flow, moved = Flow(), 0
        while self.clock.seconds() < 10:
            done = self.add(flow, 10)
            while not done.called:
                self.clock.advance(0.05)
            moved += 10
        self.assertTrue(9_800 <= moved <= 10_250, moved)

    def test_idleTimeIsNotSaved(self) -> None:
        self.clock.advance(100)
        done = self.add(Flow(), 1000)
        advance(self.clock, 0.85)
        self.assertNoResult(done)
        advance(self.clock, 0.1)
        self.successResultOf(done)

    def test_flowsShareFairlyHoweverMuchTheyAskFor(self) -> None:
        greedy, modest = Flow(), Flow()
        moved = {greedy: 0, modest: 0}

        def ask(flow: Flow, cost: int) -> None:
            def paid(_: None) -> None:
                moved[flow] += cost
                ask(flow, cost)

            self.add(flow, cost).addCallback(paid)

        for _ in range(64):
            ask(greedy, 32)
        ask(modest, 100)
        advance(self.clock, 20)
        self.assertApproximates(moved[greedy], 10_000, 500)
        self.assertApproximates(moved[modest], 10_000, 500)

    def test_whoeverComesLaterGetsItsPartAtOnce(self) -> None:
        early, late = Flow(), Flow()
        for _ in range(100):
            self.add(early, 100)
        advance(self.clock, 3)
        done = self.add(late, 100)
        advance(self.clock, 0.4)
        self.successResultOf(done)

    def test_nothingTicksWhereNothingWaits(self) -> None:
        self.add(Flow(), 100)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        advance(self.clock, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_withoutARateNothingWaits(self) -> None:
        self.rate.change(0)
        self.successResultOf(self.add(Flow(), 10**12))

    def test_aNewRateHoldsForWhatWaits(self) -> None:
        done = self.add(Flow(), 10_000)
        advance(self.clock, 1)
        self.rate.change(100_000)
        advance(self.clock, 0.2)
        self.successResultOf(done)

    def test_whatWaitsIsFreeWhenTheRateGoes(self) -> None:
        waiting = [self.add(Flow(), 10_000) for _ in range(3)]
        self.rate.change(0)
        for done in waiting:
            self.successResultOf(done)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_whatIsLetThroughIsOwedWithinBounds(self) -> None:
        done: Deferred[None] = Deferred()
        waiting = self.rate.add(Flow(), 2000, done)
        self.rate.letThrough([waiting])
        self.successResultOf(done)
        other = self.add(Flow(), 100)
        advance(self.clock, 1.9)
        self.assertNoResult(other)
        advance(self.clock, 0.3)
        self.successResultOf(other)
        self.rate.charge(10**9)
        other = self.add(Flow(), 100)
        advance(self.clock, MOST_DEBT_SECONDS + 0.2)
        self.successResultOf(other)

    def test_whoIsLetThroughMayAskForMore(self) -> None:
        flow, moved = Flow(), []

        def ask(_: object = None) -> None:
            if len(moved) < 50:
                moved.append(1)
                self.add(flow, 1).addCallback(ask)

        ask()
        self.add(Flow(), 5)
        advance(self.clock, 1)
        self.assertEqual((len(moved), self.clock.getDelayedCalls()), (50, []))

    def test_piecesTakeAMoment(self) -> None:
        self.assertEqual(self.rate.pieceBytes, LEAST_PIECE_BYTES)
        self.rate.change(1_000_000)
        self.assertEqual(self.rate.pieceBytes, 200_000)
        self.rate.change(10**9)
        self.assertEqual(self.rate.pieceBytes, MOST_PIECE_BYTES)
        self.rate.change(0)
        self.assertEqual(self.rate.pieceBytes, MOST_PIECE_BYTES)


class ThrottledContractTests(FileSystemContract, TestCase):
    """Throttled files do all that others do."""

    def setUp(self) -> None:
        self.backend = MemoryBackend(Clock(), 2**24)
        # with so much of it nothing waits, and no clock has to run
        limits = Limits(downloadBytesPerSecond=2**62, uploadBytesPerSecond=2**62)
        self.rates = AllRates(Clock(), lambda user: limits)

    def makeSession(self, owner: str = "alice", atomicUploads: bool = True) -> IFileSystem:
        inner = self.backend.fileSystem("shared", owner, atomicUploads)
        return Throttled(inner, SessionFlows(self.rates.of(owner)))


@implementer(IHasDescriptor)
class DescribedFile(FileWrapper):
    counted = 0

    def descriptor(self) -> int:
        return 7

    def sent(self, byteCount: int) -> None:
        self.counted += byteCount


class DescribedFiles(FileSystemWrapper):
    def open(self, path: Any, mode: OpenMode) -> Any:
        return self.inner.open(path, mode).addCallback(DescribedFile)


class Sink:
    """A consumer, and a producer that may be held."""

    def __init__(self) -> None:
        self.data = b""
        self.isPaused = False
        self.producer: Any = None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data: bytes) -> None:
        self.data += data

    def pauseProducing(self) -> None:
        self.isPaused = True

    def resumeProducing(self) -> None:
        self.isPaused = False


class ThrottledTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.limits = Limits(downloadBytesPerSecond=100_000, uploadBytesPerSecond=50_000)
        self.backend = MemoryBackend(self.clock, 2**24)
        self.all = AllRates(self.clock, lambda user: self.limits)

    def session(self, inner: Any = None) -> Throttled:
        return Throttled(inner or self.backend.fileSystem("", "alice", True), SessionFlows(self.all.of("alice")))

    def uploaded(self, size: int) -> None:
        plain = self.backend.fileSystem("", "alice", True)
        file = self.successResultOf(plain.open(("f",), OpenMode.replace))
        self.successResultOf(file.write(0, bytes(size)))
        self.successResultOf(file.commit())

    def opened(self, mode: OpenMode, files: Throttled | None = None) -> IFile:
        return self.successResultOf((files or self.session()).open(("f",), mode))

    def test_interfaces(self) -> None:
        files = self.session()
        verifyObject(IFileSystem, files)
        file = self.opened(OpenMode.create, files)
        verifyObject(IFile, file)
        verifyObject(IPaced, IPaced(file))

    def test_readsAndWritesWait(self) -> None:
        self.uploaded(20_000)
        read = self.opened(OpenMode.read).read(0, 10_000)
        written = self.opened(OpenMode.replace).write(0, bytes(10_000))
        advance(self.clock, 0.05)
        self.assertNoResult(read)
        advance(self.clock, 0.06)
        self.assertEqual(len(self.successResultOf(read)), 10_000)
        self.assertNoResult(written)
        advance(self.clock, 0.1)
        self.successResultOf(written)

    def test_theEndOfAFileIsToldAtOnce(self) -> None:
        self.uploaded(10)
        self.assertEqual(self.successResultOf(self.opened(OpenMode.read).read(10, 100)), b"")

    def test_allSessionsOfAUserShare(self) -> None:
        self.uploaded(100_000)
        reads = [self.opened(OpenMode.read, self.session()).read(0, 25_000) for _ in range(4)]
        advance(self.clock, 0.9)
        self.assertEqual([fired(read) for read in reads], [True, True, True, False])
        advance(self.clock, 0.15)
        self.assertTrue(fired(reads[3]))

    def test_manyShortSessionsAreNotFasterThanALongOne(self) -> None:
        self.uploaded(5_000)
        began = self.clock.seconds()
        for _ in range(40):
            file = self.opened(OpenMode.read, self.session())
            read = file.read(0, 5_000)
            while not fired(read):
                self.clock.advance(0.01)
            self.successResultOf(file.abort(False))
        self.assertApproximates(self.clock.seconds() - began, 2.0, 0.2)

    def test_anAbortedFileWaitsForNothing(self) -> None:
        self.uploaded(100_000)
        file = self.opened(OpenMode.read)
        reads = [file.read(0, 100_000) for _ in range(5)]
        self.successResultOf(file.abort(False))
        for read in reads:
            self.successResultOf(read)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_limitsActOnWhatIsOpen(self) -> None:
        self.limits = Limits()
        self.uploaded(100_000)
        file = self.opened(OpenMode.read)
        self.successResultOf(file.read(0, 100_000))
        self.limits = Limits(downloadBytesPerSecond=100_000)
        self.all.refresh()
        read = file.read(0, 100_000)
        advance(self.clock, 0.5)
        self.assertNoResult(read)
        self.limits = Limits()
        self.all.refresh()
        self.successResultOf(read)

    def test_theKernelSendsOnlyWithoutALimit(self) -> None:
        self.uploaded(100_000)
        files = self.session(DescribedFiles(self.backend.fileSystem("", "alice", True)))
        file = self.opened(OpenMode.read, files)
        self.assertIs(IHasDescriptor(file, None), None)
        self.limits = Limits()
        self.all.refresh()
        described = IHasDescriptor(file)
        verifyObject(IHasDescriptor, described)
        self.assertEqual(described.descriptor(), 7)
        self.limits = Limits(downloadBytesPerSecond=100_000)
        self.all.refresh()
        described.sent(100_000)
        read = file.read(0, 1)
        advance(self.clock, 0.8)
        self.assertNoResult(read)
        advance(self.clock, 0.3)
        self.successResultOf(read)

    def test_aSenderKeepsToTheRateInSmallPieces(self) -> None:
        self.uploaded(300_000)
        sink = Sink()
        sending = FileSender(self.opened(OpenMode.read), sink).send(0, 300_000)
        advance(self.clock, 1)
        self.assertTrue(60_000 <= len(sink.data) <= 110_000, len(sink.data))
        advance(self.clock, 1.9)
        self.assertNoResult(sending)
        advance(self.clock, 0.3)
        self.assertEqual(self.successResultOf(sending), 300_000)

    def test_aSenderThatIsStoppedEndsAtOnce(self) -> None:
        self.uploaded(300_000)
        sender = FileSender(self.opened(OpenMode.read), Sink())
        sending = sender.send(0, 300_000)
        advance(self.clock, 0.5)
        sender.stop()
        self.failureResultOf(sending, Stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_aReceiverLetsItsSenderWait(self) -> None:
        source = Sink()
        receiver = FileReceiver(self.opened(OpenMode.replace), 0, source, self.fail)
        began = self.clock.seconds()
        sent = 0
        while sent < 100_000:
            if source.isPaused:
                self.assertTrue(receiver.isHolding)
                self.clock.advance(0.01)
            else:
                receiver.dataReceived(bytes(5_000))
                sent += 5_000
        done = receiver.finish()
        while not done.called:
            self.clock.advance(0.01)
        self.assertApproximates(self.clock.seconds() - began, 2.0, 0.2)

    def test_aReceiverThatBreaksKeepsWhatCameAndEndsAtOnce(self) -> None:
        file = self.opened(OpenMode.replace)
        receiver = FileReceiver(file, 0, Sink(), self.fail)
        for _ in range(4):
            receiver.dataReceived(bytes(20_000))
        done = receiver.finish(isBroken=True)
        self.assertEqual(self.successResultOf(done), 80_000)
        self.assertEqual(self.successResultOf(file.stat()).size, 80_000)

    def test_withoutARateAPieceCostsNoTimer(self) -> None:
        self.limits = Limits()
        self.uploaded(10)
        file = self.opened(OpenMode.read)
        self.assertEqual(self.successResultOf(file.read(0, 10)), bytes(10))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.successResultOf(succeed(IPaced(file).pieceBytes(True))), MOST_PIECE_BYTES)
