"""Tests of programs with standard streams: what they read, when they wait, and how they end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ssh.standard import (
    TURN_LIMIT,
    UNSENT_LIMIT_BYTES,
    EndOfInput,
    Gone,
    LineTooLong,
    StandardProgram,
    Streams,
)

from .programs import FakeChannel, Running


class StandardTestCase(SynchronousTestCase):
    def run_(self, main: Callable[[Streams], Awaitable[int]]) -> Running:
        return Running(main, Clock())


class InputTests(StandardTestCase):
    def reading(self, *asks: Callable[[Streams], Awaitable[Any]]) -> tuple[Running, list[Any]]:
        """A program that reads; what it read, or how that failed."""
        read: list[Any] = []

        async def main(streams: Streams) -> int:
            for ask in asks:
                try:
                    read.append(await ask(streams))
                except (EndOfInput, Gone, LineTooLong) as error:
                    read.append(type(error))
            return 0

        return self.run_(main), read

    def test_inWhateverPiecesItComes(self) -> None:
        data = b"first line\n" + b"x" * 5000 + b"\0second\nrest"
        for pieceBytes in (1, 2, 3, 7, 600, 5000, 1 << 18):
            running, read = self.reading(
                lambda streams: streams.line(100),
                lambda streams: streams.take(5000, 5000),
                lambda streams: streams.byte(),
                lambda streams: streams.line(100),
                lambda streams: streams.take(5, 5),
            )
            running.feed(data, pieceBytes)
            running.end()
            self.assertEqual(read[0], b"first line")
            self.assertEqual(bytes(read[1]), b"x" * 5000)
            self.assertEqual(read[2:], [0, b"second", EndOfInput])

    def test_asMuchAsThereIs(self) -> None:
        running, read = self.reading(*[lambda streams: streams.take(2, 5)] * 3)
        running.feed(b"a")
        self.assertEqual(read, [])
        running.feed(b"bcdefghi")
        self.assertEqual(list(map(bytes, read)), [b"abcde", b"fghi"])
        running.feed(b"j")
        running.end()
        self.assertEqual(read[2:], [EndOfInput])

    def test_linesAreBounded(self) -> None:
        running, read = self.reading(lambda streams: streams.line(100))
        running.feed(b"x" * 100)
        self.assertEqual(read, [])
        running.feed(b"x")
        self.assertEqual(read, [LineTooLong])
        running, read = self.reading(lambda streams: streams.line(100))
        running.feed(b"x" * 100 + b"\n")
        self.assertEqual(read, [b"x" * 100])

    def test_creditComesBackAsItIsDoneWith(self) -> None:
        async def main(streams: Streams) -> int:
            await streams.line(100)
            data = await streams.take(50, 50)
            await held
            streams.done(len(data))
            return 0

        held: Deferred[None] = Deferred()
        running = self.run_(main)
        running.feed(b"line\n" + bytes(100))
        self.assertEqual(running.channel.consumedBytes, 5)
        held.callback(None)
        self.assertEqual(running.channel.consumedBytes, 55)

    def test_othersAreServedInBetween(self) -> None:
        lines = 0

        async def main(streams: Streams) -> int:
            nonlocal lines
            while True:
                await streams.line(100)
                lines += 1

        running = self.run_(main)
        running.program.dataReceived(memoryview(b"\n" * 10_000))
        self.assertLessEqual(lines, TURN_LIMIT)
        running.turn()
        self.assertEqual(lines, 10_000)

    def test_whatCameBeforeTheEndIsRead(self) -> None:
        running, read = self.reading(lambda streams: streams.take(3, 3), lambda streams: streams.take(3, 3))
        running.program.dataReceived(memoryview(b"ab"))
        running.program.dataReceived(memoryview(b"cde"))
        running.program.channelClosed()
        self.assertEqual(read, [b"abc", Gone])


class OutputTests(StandardTestCase):
    def test_aProgramWaitsForItsReader(self) -> None:
        wrote = 0

        async def main(streams: Streams) -> int:
            nonlocal wrote
            for _ in range(100):
                await streams.room()
                streams.write(bytes(100_000))
                wrote += 1
            return 0

        self.run_(main)
        self.assertEqual(wrote, 100)
        wrote = 0
        held = FakeChannel(blocked=True)
        running = Running(main, Clock(), held)
        self.assertEqual(wrote, -(-UNSENT_LIMIT_BYTES // 100_000))
        self.assertIs(held.exitStatus, None)
        running.unblock()
        self.assertEqual((wrote, held.exitStatus), (100, 0))

    def test_nobodyWaitsForAReaderWhoIsGone(self) -> None:
        ended: list[Any] = []

        async def main(streams: Streams) -> int:
            try:
                while True:
                    await streams.room()
                    streams.write(bytes(100_000))
            finally:
                ended.append(True)

        running = Running(main, Clock(), FakeChannel(blocked=True))
        self.assertEqual(ended, [])
        closed = running.program.channelClosed()
        self.assertEqual(ended, [True])
        self.successResultOf(closed)


class EndTests(StandardTestCase):
    def test_nothingBeginsOnAChannelThatIsGone(self) -> None:
        begun: list[Any] = []

        async def main(streams: Streams) -> int:
            begun.append(streams)
            return 0

        clock = Clock()
        channel: Any = FakeChannel(blocked=True)
        program = StandardProgram(channel, clock, main)
        self.successResultOf(program.channelClosed())
        clock.advance(1)
        self.assertEqual(begun, [])

    def test_theChannelEndsWhenTheProgramHas(self) -> None:
        held: Deferred[None] = Deferred()

        async def main(streams: Streams) -> int:
            await held
            return 3

        running = self.run_(main)
        self.assertTrue(running.program.busy)
        closed = running.program.channelClosed()
        self.assertNoResult(closed)
        held.callback(None)
        self.successResultOf(closed)
        self.assertEqual((running.channel.exitStatus, running.program.busy), (3, False))

    def test_aProgramThatBreaksSaysSo(self) -> None:
        async def main(streams: Streams) -> int:
            raise LookupError

        running = self.run_(main)
        self.assertEqual(
            (running.channel.exitStatus, bytes(running.channel.said)), (1, b"cftpcluster: internal error\n")
        )
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)

    def test_inputThatEndsTooEarlyIsAFailure(self) -> None:
        async def main(streams: Streams) -> int:
            await streams.take(3, 3)
            return 0

        self.assertEqual(self.run_(main).end(), 1)
