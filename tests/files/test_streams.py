"""Tests of :mod:`cftpcluster.files.streams`."""

from __future__ import annotations

from attrs import Factory, define
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from cftpcluster.errors import OutOfSpace, StorageFailed
from cftpcluster.files.streams import CHUNK_BYTES, FIRST_BYTES, MOST_BYTES, FileReceiver, FileSender, Stopped
from cftpcluster.interfaces import IFile
from cftpcluster.testing.files import BrokenFile, memoryFiles
from cftpcluster.vocabulary import OpenMode


@define(eq=False)
class SlowFile:
    """A file whose reads and writes end when the test says so."""

    calls: list[tuple[int, object, Deferred]] = Factory(list)

    def read(self, offset, length):
        return self._called(offset, length)

    def write(self, offset, data):
        return self._called(offset, bytes(data))

    def _called(self, offset, argument):
        ended = Deferred()
        self.calls.append((offset, argument, ended))
        return ended


@implementer(IConsumer)
@define(eq=False)
class SlowConsumer:
    """A consumer that pauses its producer at every write."""

    producer: IPushProducer | None = None
    written: list[bytes] = Factory(list)

    def registerProducer(self, producer, streaming):
        assert streaming
        self.producer = producer

    def unregisterProducer(self):
        self.producer = None

    def write(self, data):
        self.written.append(data)
        self.producer.pauseProducing()


def opened(test: SynchronousTestCase, data: bytes, mode: OpenMode = OpenMode.read) -> IFile:
    files = memoryFiles({"/a": data}, Clock())
    return test.successResultOf(files.open(("a",), mode))


class FileSenderTests(SynchronousTestCase):
    def test_isAPushProducer(self):
        verifyObject(IPushProducer, FileSender(SlowFile(), StringTransport()))

    @given(st.binary(max_size=40), st.integers(0, 50), st.integers(0, 50), st.integers(1, 9))
    def test_sendsJustTheRange(self, data, offset, length, chunkBytes):
        consumer = StringTransport()
        sender = FileSender(opened(self, data), consumer, chunkBytes)
        sent = self.successResultOf(sender.send(offset, length))
        self.assertEqual(consumer.value(), data[offset : offset + length])
        self.assertEqual(sent, len(consumer.value()))
        self.assertIs(consumer.producer, None)

    def test_readsOneChunkAheadAndNoMore(self):
        file, consumer = SlowFile(), SlowConsumer()
        sending = FileSender(file, consumer).send(0, 10 * CHUNK_BYTES)
        self.assertEqual([call[:2] for call in file.calls], [(0, CHUNK_BYTES)])
        file.calls[0][2].callback(bytes(CHUNK_BYTES))
        file.calls[1][2].callback(bytes(CHUNK_BYTES))
        self.assertEqual([call[0] for call in file.calls], [0, CHUNK_BYTES, 2 * CHUNK_BYTES])
        self.assertEqual(len(consumer.written), 1)
        consumer.producer.resumeProducing()
        self.assertEqual(len(consumer.written), 2)
        self.assertEqual(len(file.calls), 3)
        self.assertNoResult(sending)

    def test_fileThatEndsEarlyIsTold(self):
        sender = FileSender(opened(self, b"123"), StringTransport())
        self.assertEqual(self.successResultOf(sender.send(1, 100)), 2)

    def test_stopsWhenTheConsumerIsGone(self):
        consumer = SlowConsumer()
        sending = FileSender(opened(self, b"12345"), consumer, 1).send(0, 5)
        consumer.producer.stopProducing()
        self.assertEqual(self.failureResultOf(sending, Stopped).value.sent, 1)
        self.assertEqual(consumer.written, [b"1"])
        self.assertIs(consumer.producer, None)

    def test_stopWaitsForTheReadUnderWay(self):
        file, consumer = SlowFile(), SlowConsumer()
        sender = FileSender(file, consumer, 1)
        sending = sender.send(0, 5)
        file.calls[0][2].callback(b"1")
        file.calls[1][2].callback(b"2")
        sender.stop()
        self.assertNoResult(sending)
        file.calls[2][2].errback(StorageFailed())
        self.failureResultOf(sending, Stopped)

    def test_stoppedBeforeItStartsSendsNothing(self):
        consumer = StringTransport()
        sender = FileSender(opened(self, b"12345"), consumer)
        sender.stop()
        self.failureResultOf(sender.send(0, 5), Stopped)
        self.assertEqual(consumer.value(), b"")

    def test_failedReadEndsIt(self):
        consumer = StringTransport()
        self.failureResultOf(FileSender(BrokenFile(StorageFailed()), consumer).send(0, 5), StorageFailed)
        self.assertIs(consumer.producer, None)


class FileReceiverTests(SynchronousTestCase):
    def setUp(self):
        self.transport = StringTransport()
        self.failures = []

    def receiver(self, file, offset=0):
        return FileReceiver(file, offset, self.transport, self.failures.append)

    @given(st.lists(st.binary(max_size=10)), st.integers(0, 5))
    def test_writesWhatCame(self, pieces, offset):
        file = opened(self, b"", OpenMode.replace)
        receiver = self.receiver(file, offset)
        for piece in pieces:
            receiver.dataReceived(piece)
        came = b"".join(pieces)
        self.assertEqual(self.successResultOf(receiver.finish()), len(came))
        self.assertEqual(self.successResultOf(file.read(offset, 1000)), came)

    def fill(self, receiver, data):
        """Put bytes where they belong, as a transport does that reads them from there on."""
        while data:
            space = receiver.space()
            count = min(len(space), len(data))
            space[:count] = data[:count]
            receiver.filled(count)
            data = data[count:]

    @given(st.lists(st.binary(max_size=10)))
    def test_writesWhatWasFilledIn(self, pieces):
        file = opened(self, b"", OpenMode.replace)
        receiver = self.receiver(file)
        for piece in pieces:
            self.fill(receiver, piece)
        came = b"".join(pieces)
        self.assertEqual(self.successResultOf(receiver.finish()), len(came))
        self.assertEqual(self.successResultOf(file.read(0, 1000)), came)

    def test_writesInOrderOnePieceAtATime(self):
        file = SlowFile()
        receiver = self.receiver(file, 7)
        half = FIRST_BYTES // 2
        receiver.dataReceived(b"a" * half)
        self.assertEqual(file.calls, [])
        receiver.dataReceived(b"b" * half)
        receiver.dataReceived(b"c" * CHUNK_BYTES)
        first = b"a" * half + b"b" * half
        self.assertEqual([call[:2] for call in file.calls], [(7, first)])
        file.calls[0][2].callback(None)
        self.assertEqual([call[:2] for call in file.calls][1:], [(7 + FIRST_BYTES, b"c" * CHUNK_BYTES)])

    def test_pausesWhileOnePieceIsWrittenAndAnotherIsFull(self):
        file = SlowFile()
        receiver = self.receiver(file)
        self.fill(receiver, bytes(FIRST_BYTES + CHUNK_BYTES - 1))
        self.assertEqual(self.transport.producerState, "producing")
        self.fill(receiver, b"1")
        self.assertEqual(self.transport.producerState, "paused")
        self.assertTrue(receiver.isHolding)
        file.calls[0][2].callback(None)
        self.assertEqual(self.transport.producerState, "producing")
        self.assertFalse(receiver.isHolding)

    def test_piecesGrowWhereBytesComeFasterThanTheyAreWritten(self):
        file = SlowFile()
        receiver = self.receiver(file)
        for _ in range(10):
            self.fill(receiver, bytes(len(receiver.space())))
            if receiver.isHolding:
                file.calls[-1][2].callback(None)
        sizes = [len(data) for _, data, _ in file.calls]
        self.assertEqual(sizes[:4], [FIRST_BYTES, CHUNK_BYTES, 2 * CHUNK_BYTES, 4 * CHUNK_BYTES])
        self.assertEqual(max(sizes), MOST_BYTES)

    def test_piecesStaySmallWhereBytesComeSlowly(self):
        file = opened(self, b"", OpenMode.replace)
        receiver = self.receiver(file)
        for _ in range(10):
            self.fill(receiver, bytes(len(receiver.space())))
        self.assertEqual(len(receiver.space()), CHUNK_BYTES)

    def test_whatIsBeingWrittenIsNotOverwritten(self):
        written = []

        class Lazy:
            def write(self, offset, data):
                written.append((data, Deferred()))
                return written[-1][1]

        receiver = self.receiver(Lazy())
        for number in range(5):
            self.fill(receiver, bytes([number]) * len(receiver.space()))
            if number:
                data, done = written[number - 1]
                self.assertEqual(set(data), {number - 1})
                done.callback(None)
        self.assertEqual(set(written[4][0]), {4})

    def test_finishWaitsForEveryWrite(self):
        file = SlowFile()
        receiver = self.receiver(file)
        receiver.dataReceived(bytes(FIRST_BYTES))
        receiver.dataReceived(b"rest")
        finished = receiver.finish()
        file.calls[0][2].callback(None)
        self.assertNoResult(finished)
        self.assertEqual(file.calls[1][1], b"rest")
        file.calls[1][2].callback(None)
        self.assertEqual(self.successResultOf(finished), FIRST_BYTES + 4)

    def test_pausedProducerGoesOnAfterTheEnd(self):
        file = SlowFile()
        receiver = self.receiver(file)
        receiver.dataReceived(bytes(FIRST_BYTES + CHUNK_BYTES))
        self.assertEqual(self.transport.producerState, "paused")
        finished = receiver.finish()
        for each in range(2):
            file.calls[each][2].callback(None)
        self.successResultOf(finished)
        self.assertEqual(self.transport.producerState, "producing")

    def test_firstErrorIsToldAtOnceAndAtTheEnd(self):
        file = SlowFile()
        receiver = self.receiver(file)
        receiver.dataReceived(bytes(FIRST_BYTES + CHUNK_BYTES))
        receiver.dataReceived(b"more")
        file.calls[0][2].errback(OutOfSpace())
        self.assertEqual([failure.type for failure in self.failures], [OutOfSpace])
        self.assertEqual(self.transport.producerState, "producing")
        receiver.dataReceived(bytes(CHUNK_BYTES))
        self.assertEqual(len(file.calls), 1)
        self.failureResultOf(receiver.finish(), OutOfSpace)

    def test_errorWhileFinishing(self):
        receiver = self.receiver(BrokenFile(OutOfSpace()))
        receiver.dataReceived(b"1")
        self.failureResultOf(receiver.finish(), OutOfSpace)
        self.assertEqual(len(self.failures), 1)

    def test_nothingCame(self):
        self.assertEqual(self.successResultOf(self.receiver(SlowFile()).finish()), 0)
