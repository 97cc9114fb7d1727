"""Tests of writes that are put together."""

from __future__ import annotations

from typing import Any

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.errors import OutOfSpace
from cftpcluster.servers.ssh.gathering import HELD_SECONDS, Gathering


@define(eq=False)
class SlowFile:
    """Keeps what is written; each write waits for the test."""

    pieceBytes: int = 8
    written: list[tuple[int, bytes]] = Factory(list)
    waiting: list[Deferred[None]] = Factory(list)

    def write(self, offset: int, data: memoryview) -> Deferred[None]:
        self.written.append((offset, bytes(data)))
        self.waiting.append(Deferred())
        return self.waiting[-1]


class GatheringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.gathering = Gathering(self.clock)
        self.file: Any = SlowFile()

    def write(self, offset: int, data: bytes, file: Any = None) -> Deferred[None]:
        return self.gathering.write(file or self.file, offset, memoryview(data))

    def test_whatFollowsGoesOnAsOne(self) -> None:
        writes = [self.write(2, b"ab"), self.write(4, b"cd")]
        self.assertEqual(self.file.written, [])
        self.gathering.flush()
        self.assertEqual(self.file.written, [(2, b"abcd")])
        self.file.waiting[0].callback(None)
        for each in writes:
            self.successResultOf(each)

    def test_aGapAndAnotherFileBeginAnew(self) -> None:
        other = SlowFile()
        self.write(0, b"ab"), self.write(3, b"d"), self.write(4, b"x", other)
        self.gathering.flush()
        self.assertEqual(self.file.written, [(0, b"ab"), (3, b"d")])
        self.assertEqual(other.written, [(4, b"x")])

    def test_enoughIsNotHeld(self) -> None:
        self.write(0, b"abcd"), self.write(4, b"efgh"), self.write(8, b"i")
        self.assertEqual(self.file.written, [(0, b"abcdefgh")])

    def test_nothingIsHeldForLong(self) -> None:
        self.write(0, b"ab")
        self.gathering.hold()
        self.gathering.hold()
        self.clock.advance(HELD_SECONDS)
        self.assertEqual(self.file.written, [(0, b"ab")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_flushingLeavesNoTimer(self) -> None:
        self.write(0, b"ab")
        self.gathering.hold()
        self.gathering.flush()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.gathering.hold()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_aFailureIsThatOfAll(self) -> None:
        writes = [self.write(0, b"ab"), self.write(2, b"cd")]
        self.gathering.flush()
        self.file.waiting[0].errback(OutOfSpace())
        for each in writes:
            self.failureResultOf(each, OutOfSpace)
