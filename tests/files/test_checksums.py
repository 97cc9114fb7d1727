"""Tests of :mod:`cftpcluster.files.checksums`."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from cftpcluster.config.document import Limits
from cftpcluster.errors import Busy, Closed, PermissionDenied, Unsupported
from cftpcluster.files.checksums import (
    ALGORITHMS,
    BLOCKS_LIMIT,
    PIECE_BYTES,
    PIECES_AT_ONCE,
    WAITING_LIMIT,
    Hashed,
    Turns,
    UserTurns,
    checksum,
    checksums,
)
from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.policy import Permitted
from cftpcluster.files.throttled import AllRates, SessionFlows, Throttled
from cftpcluster.interfaces import IContents, IFile, IFileSystem, IHashed
from cftpcluster.vocabulary import OpenMode, Permission

DATA = bytes(range(256)) * 40


@implementer(IContents)
@define(eq=False)
class HeldContents:
    """Zeros, which are handed over when the test says so.

    :ivar asked: offset and length of what was asked for and not handed over.
    """

    size: int
    asked: list[tuple[int, int]] = field(factory=list)
    _waiting: list[Callable[[], None]] = field(factory=list)

    def feed(self, take: Callable[[bytes], object], offset: int, length: int) -> Deferred[int]:
        done: Deferred[int] = Deferred()
        count = max(0, min(length, self.size - offset))

        def handOver() -> None:
            take(bytes(count))
            done.callback(count)

        self.asked.append((offset, length))
        self._waiting.append(handOver)
        return done

    def handOver(self) -> None:
        self.asked.pop(0)
        self._waiting.pop(0)()


class ChecksumTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.backend = MemoryBackend(self.clock, 2**24)
        self.permissions = set(Permission)
        self.rates = AllRates(self.clock, lambda user: Limits(downloadBytesPerSecond=1))
        plain = self.backend.fileSystem("", "alice", True)
        file = self.successResultOf(plain.open(("f",), OpenMode.create))
        self.successResultOf(file.write(0, DATA))
        self.successResultOf(file.commit())

    def opened(self, mode: OpenMode = OpenMode.read) -> IFile:
        files: IFileSystem = Permitted(self.backend.fileSystem("", "alice", True), self.permissions)
        return self.successResultOf(Throttled(files, SessionFlows(self.rates.of("alice"))).open(("f",), mode))

    def test_everyAlgorithm(self) -> None:
        file = self.opened()
        for name in ALGORITHMS:
            expected = zlib.crc32(DATA).to_bytes(4, "big") if name == "crc32" else hashlib.new(name, DATA).digest()
            self.assertEqual(self.successResultOf(checksum(file, name)), expected, name)

    def test_partOfAFile(self) -> None:
        found = self.successResultOf(checksum(self.opened(), "sha256", 100, 50))
        self.assertEqual(found, hashlib.sha256(DATA[100:150]).digest())

    def test_beyondTheEndThereIsNothing(self) -> None:
        found = self.successResultOf(checksum(self.opened(), "md5", len(DATA) + 5, 100))
        self.assertEqual(found, hashlib.md5(b"").digest())

    def test_blocks(self) -> None:
        found = self.successResultOf(checksums(self.opened(), "sha1", 10, 2500, 1000))
        parts = [DATA[10:1010], DATA[1010:2010], DATA[2010:2510]]
        self.assertEqual(found, [hashlib.sha1(part).digest() for part in parts])

    def test_wholeBlocksEndWithoutAnEmptyOne(self) -> None:
        self.assertEqual(len(self.successResultOf(checksums(self.opened(), "crc32", 0, 2000, 1000))), 2)

    def test_tooManyBlocksAreRefused(self) -> None:
        contents = HeldContents(BLOCKS_LIMIT + 2)
        done = Hashed(contents, UserTurns(Turns(), "alice")).checksums("crc32", 0, None, 1, lambda: True)
        contents.handOver()
        self.failureResultOf(done, Unsupported)

    def test_unknownAlgorithm(self) -> None:
        self.failureResultOf(checksum(self.opened(), "sha3"), Unsupported)

    def test_needsTheRightToRead(self) -> None:
        self.permissions = {Permission.upload, Permission.overwrite}
        self.failureResultOf(checksum(self.opened(OpenMode.inPlace), "md5"), Unsupported)

    def test_closedFileTellsNothing(self) -> None:
        file = self.opened()
        self.successResultOf(file.commit())
        self.failureResultOf(checksum(file, "md5"), Closed)

    def test_interfaces(self) -> None:
        verifyObject(IHashed, IHashed(self.opened()))


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.turns = Turns()

    def begin(
        self, user: str, size: int, isAwaited: Callable[[], bool] = lambda: True
    ) -> tuple[HeldContents, Deferred[Sequence[bytes]]]:
        contents = HeldContents(size)
        return contents, Hashed(contents, UserTurns(self.turns, user)).checksums("md5", 0, None, 0, isAwaited)

    def finish(self, contents: HeldContents, done: Deferred[Any]) -> Sequence[bytes]:
        while not done.called:
            contents.handOver()
        return self.successResultOf(done)

    def test_largeFileIsHashedInPieces(self) -> None:
        contents, done = self.begin("alice", PIECE_BYTES + 5)
        self.assertEqual(contents.asked, [(0, PIECE_BYTES)])
        contents.handOver()
        self.assertEqual(contents.asked, [(PIECE_BYTES, PIECE_BYTES)])
        self.assertEqual(self.finish(contents, done), [hashlib.md5(bytes(PIECE_BYTES + 5)).digest()])

    def test_oneUserHashesOnePieceAtATime(self) -> None:
        first, _ = self.begin("alice", 5)
        second, _ = self.begin("alice", 5)
        self.assertEqual((len(first.asked), len(second.asked)), (1, 0))
        first.handOver()
        self.assertEqual(len(second.asked), 1)

    def test_smallFileDoesNotWaitForALargeOne(self) -> None:
        large, slow = self.begin("alice", 100 * PIECE_BYTES)
        small, quick = self.begin("alice", 5)
        large.handOver()
        small.handOver()
        self.successResultOf(quick)
        self.assertNoResult(slow)

    def test_fewPiecesAtOnceOnANode(self) -> None:
        begun = [self.begin(f"user{number}", 5) for number in range(20)]
        self.assertEqual(sum(len(contents.asked) for contents, _ in begun), PIECES_AT_ONCE)
        for contents, done in begun:
            self.assertEqual(len(self.finish(contents, done)), 1)

    def test_usersTakeTurns(self) -> None:
        for _ in range(PIECES_AT_ONCE):
            self.begin(f"other{_}", 5)
        many = [self.begin("alice", 5)[0] for _ in range(10)]
        one = self.begin("bob", 5)[0]
        self.assertEqual((sum(len(each.asked) for each in many), len(one.asked)), (0, 0))
        turns = self.turns
        self.assertEqual(list(turns._turns), ["alice", "bob"])

    def test_nobodyWaitsForWhatNobodyAwaits(self) -> None:
        awaited = [True]
        contents, done = self.begin("alice", 10 * PIECE_BYTES, lambda: awaited[0])
        waiting, other = self.begin("alice", 5)
        awaited[0] = False
        contents.handOver()
        waiting.handOver()
        self.failureResultOf(done, Closed)
        self.successResultOf(other)
        self.assertEqual(contents.asked, [])

    def test_tooManyOfOneUserAreRefused(self) -> None:
        begun = [self.begin("alice", 5) for _ in range(WAITING_LIMIT)]
        self.failureResultOf(self.begin("alice", 5)[1], Busy)
        self.assertNoResult(self.begin("bob", 5)[1])
        self.finish(*begun[0])
        self.assertNoResult(self.begin("alice", 5)[1])

    def test_failureEndsOneJobOnly(self) -> None:
        @implementer(IContents)
        class Broken:
            def feed(self, take: Any, offset: int, length: int) -> Deferred[int]:
                raise PermissionDenied

        failed = Hashed(Broken(), UserTurns(self.turns, "alice")).checksums("md5", 0, None, 0, lambda: True)
        self.failureResultOf(failed, PermissionDenied)
        contents, done = self.begin("alice", 5)
        self.finish(contents, done)
