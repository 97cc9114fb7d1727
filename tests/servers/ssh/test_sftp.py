"""Tests of an SFTP session: how much is under way, in which order, and how it ends."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ssh import packets
from cftpcluster.servers.ssh.packets import (
    FLAG_CREATE,
    FLAG_READ,
    FLAG_TRUNCATE,
    FLAG_WRITE,
    NO_SUCH_FILE,
    OK,
    OPEN,
    READ,
    REMOVE,
    RENAME,
    STAT,
    STATUS,
    WRITE,
)
from cftpcluster.servers.ssh.sftp import REQUEST_LIMIT, TURN_LIMIT, UNSENT_LIMIT_BYTES
from cftpcluster.servers.ssh.wire import string, uint32, uint64

from .peers import HeldFiles, SFTPPeer

NEW = FLAG_WRITE | FLAG_CREATE | FLAG_TRUNCATE


def heldPeer(**files: bytes) -> tuple[SFTPPeer, HeldFiles]:
    """A session whose operations wait for the test."""
    direct = SFTPPeer.inMemory()
    for name, data in files.items():
        direct.put(b"/" + name.encode(), data)
    peer = SFTPPeer.of(direct.backend, direct.clock, "alice", hold=True)
    files_: Any = peer.files
    return peer, files_


class OrderTests(SynchronousTestCase):
    def open(self, peer: SFTPPeer, held: HeldFiles, path: bytes, flags: int) -> bytes:
        peer.start(OPEN, string(path), uint32(flags), uint32(0))
        held.goOnWithAll()
        (reply,) = peer.replies()
        self.assertEqual(reply.type, packets.HANDLE)
        return reply.body.string()

    def read(self, peer: SFTPPeer, handle: bytes, offset: int, length: int) -> int:
        return peer.start(READ, string(handle), uint64(offset), uint32(length))

    def write(self, peer: SFTPPeer, handle: bytes, offset: int, data: bytes) -> int:
        return peer.start(WRITE, string(handle), uint64(offset), string(data))

    def test_readsOverlapAndAreAnsweredInTheirOrder(self) -> None:
        peer, held = heldPeer(f=b"0123456789")
        handle = self.open(peer, held, b"/f", FLAG_READ)
        first, second = self.read(peer, handle, 0, 4), self.read(peer, handle, 2, 4)
        self.assertEqual(held.names, ["read", "read"])
        held.goOn(1)
        self.assertEqual(peer.replies(), [])
        held.goOn()
        self.assertEqual([reply.requestId for reply in peer.replies()], [first, second])

    def test_whatCannotBeUnderstoodIsAnsweredInItsTurn(self) -> None:
        peer, held = heldPeer()
        first, second, third = peer.start(STAT, string(b"/f")), peer.start(99), peer.start(STAT)
        self.assertEqual(peer.replies(), [])
        held.goOn()
        self.assertEqual(
            [(reply.requestId, reply.code) for reply in peer.replies()],
            [(first, NO_SUCH_FILE), (second, packets.OP_UNSUPPORTED), (third, packets.BAD_MESSAGE)],
        )

    def test_answersThatWaitForTheirTurnAreBounded(self) -> None:
        peer, held = heldPeer(f=b"0123456789")
        peer.start(STAT, string(b"/f"))
        for _ in range(REQUEST_LIMIT * 2):
            peer.start(99)
        peer.start(STAT, string(b"/other"))
        self.assertEqual(held.names, ["stat"])
        held.goOnWithAll()
        self.assertEqual(len(peer.replies()), REQUEST_LIMIT * 2 + 2)

    def test_closingWaitsForWritesAndSaysHowItWent(self) -> None:
        peer, held = heldPeer()
        handle = self.open(peer, held, b"/f", NEW)
        writes = [self.write(peer, handle, at, b"x") for at in range(3)]
        closing = peer.start(packets.CLOSE, string(handle))
        self.assertEqual(held.names, ["write"] * 3)
        held.goOn()
        held.goOn()
        self.assertEqual(held.names, ["write"])
        held.goOn()
        self.assertEqual(held.names, ["commit"])
        self.assertEqual([reply.requestId for reply in peer.replies()], writes)
        held.goOn()
        (reply,) = peer.replies()
        self.assertEqual((reply.requestId, reply.code), (closing, OK))

    def test_aReadWaitsForTheWriteOfTheSameBytes(self) -> None:
        peer, held = heldPeer(f=b"0123456789")
        handle = self.open(peer, held, b"/f", FLAG_READ | FLAG_WRITE)
        self.write(peer, handle, 0, b"ab")
        self.read(peer, handle, 1, 2)
        self.read(peer, handle, 5, 2)
        self.assertEqual(held.names, ["write", "read"])
        held.goOnWithAll()
        self.assertEqual(
            [reply.body.string() for reply in peer.replies() if reply.type == packets.DATA], [b"b2", b"56"]
        )

    def test_namesAreSeenAsEarlierRequestsLeaveThem(self) -> None:
        peer, held = heldPeer(f=b"data")
        peer.start(REMOVE, string(b"/f"))
        peer.start(STAT, string(b"/f"))
        peer.start(STAT, string(b"/other"))
        self.assertEqual(held.names, ["remove", "stat"])
        held.goOnWithAll()
        self.assertEqual([reply.code for reply in peer.replies()], [OK, NO_SUCH_FILE, NO_SUCH_FILE])

    def test_renamingWaitsUntilAnUploadIsStored(self) -> None:
        peer, held = heldPeer()
        handle = self.open(peer, held, b"/part", NEW)
        self.write(peer, handle, 0, b"data")
        peer.start(packets.CLOSE, string(handle))
        peer.start(RENAME, string(b"/part"), string(b"/whole"))
        held.goOn()
        self.assertEqual(held.names, ["commit"])
        held.goOn()
        self.assertEqual(held.names, ["rename"])
        held.goOn()
        self.assertEqual([reply.code for reply in peer.replies()], [OK] * 3)

    def test_oneSlowFileDoesNotStopOthers(self) -> None:
        peer, held = heldPeer(f=b"data")
        handle = self.open(peer, held, b"/slow", NEW)
        peer.start(packets.CLOSE, string(handle))
        self.assertEqual(held.names, ["commit"])
        peer.start(STAT, string(b"/f"))
        held.goOn(1)
        held.goOn()
        self.assertEqual([reply.type for reply in peer.replies()], [packets.STATUS, packets.ATTRS])


class BoundsTests(SynchronousTestCase):
    def test_soManyRequestsAreUnderWay(self) -> None:
        peer, held = heldPeer()
        for at in range(REQUEST_LIMIT * 3):
            peer.start(STAT, string(b"/%d" % at))
        self.assertEqual(len(held.waiting), REQUEST_LIMIT)
        held.goOn()
        self.assertEqual(len(held.waiting), REQUEST_LIMIT)
        held.goOnWithAll()
        self.assertEqual(len(peer.replies()), REQUEST_LIMIT * 3)

    def test_creditComesWithTheAnswer(self) -> None:
        peer, held = heldPeer()
        before = peer.channel.consumedBytes
        peer.start(STAT, string(b"/f"))
        self.assertEqual(peer.channel.consumedBytes, before)
        held.goOn()
        self.assertEqual(peer.channel.consumedBytes, peer.sentBytes)

    def test_answersThatDoNotLeaveStopTheReadingOfRequests(self) -> None:
        peer = SFTPPeer.inMemory()
        peer.put(b"/f", bytes(1 << 18))
        handle = peer.opened(b"/f", FLAG_READ)
        peer.channel.blocked = True
        for _ in range(400):
            peer.start(READ, string(handle), uint64(0), uint32(1 << 18))
        self.assertLess(peer.channel.queued, UNSENT_LIMIT_BYTES + (1 << 18) + 1024)
        answered = 0
        while answered < 400:
            answered += len(peer.replies())
            peer.channel.blocked = True
            peer.channel.queued = 0
            peer.server.sentSome()
            peer.clock.advance(0)
            self.assertLess(peer.channel.queued, UNSENT_LIMIT_BYTES + (1 << 18) + 1024)
        self.assertEqual(answered, 400)

    def test_answersThatAreDueCountToo(self) -> None:
        peer, held = heldPeer(f=bytes(1 << 18))
        peer.start(OPEN, string(b"/f"), uint32(FLAG_READ), uint32(0))
        held.goOnWithAll()
        handle = peer.replies()[0].body.string()
        for _ in range(50):
            peer.start(READ, string(handle), uint64(0), uint32(1 << 18))
        self.assertEqual(len(held.waiting), UNSENT_LIMIT_BYTES >> 18)
        held.goOnWithAll()
        self.assertEqual(len(peer.replies()), 50)

    def test_othersAreServedBetweenManyRequests(self) -> None:
        peer = SFTPPeer.inMemory()
        count = TURN_LIMIT * 2 + 10
        one = string(bytes((STAT,)) + uint32(1) + string(b"/missing"))
        peer.raw(one * count)
        self.assertEqual(len(peer.replies()), TURN_LIMIT)
        peer.clock.advance(0)
        peer.clock.advance(0)
        self.assertEqual(len(peer.replies()), count - TURN_LIMIT)


class EndTests(SynchronousTestCase):
    def test_endOfInputIsAnsweredWithSuccess(self) -> None:
        peer = SFTPPeer.inMemory()
        peer.server.eofReceived()
        self.assertEqual(peer.channel.exitStatus, 0)

    def test_everythingIsAnsweredBefore(self) -> None:
        peer, held = heldPeer()
        peer.start(STAT, string(b"/f"))
        peer.server.eofReceived()
        self.assertIs(peer.channel.exitStatus, None)
        held.goOnWithAll()
        self.assertEqual((len(peer.replies()), peer.channel.exitStatus), (1, 0))

    def test_whatWasLeftOpenIsAborted(self) -> None:
        peer = SFTPPeer.inMemory()
        peer.write(peer.opened(b"/f", NEW), 0, b"data")
        peer.server.eofReceived()
        self.assertEqual(peer.channel.exitStatus, 0)
        self.assertEqual(SFTPPeer.of(peer.backend, peer.clock, "bob").get(b"/f"), NO_SUCH_FILE)

    def test_lostConnectionWaitsForWhatIsUnderWayAndStartsNothing(self) -> None:
        peer, held = heldPeer()
        peer.start(OPEN, string(b"/f"), uint32(NEW), uint32(0))
        held.goOnWithAll()
        handle = peer.replies()[0].body.string()
        peer.start(WRITE, string(handle), uint64(0), string(b"data"))
        peer.start(packets.CLOSE, string(handle))
        ended = peer.server.channelClosed()
        self.assertEqual(held.names, ["write"])
        held.goOn()
        self.assertEqual([(name, arguments) for name, arguments, _ in held.waiting], [("abort", (True,))])
        self.assertNoResult(ended)
        held.goOn()
        self.successResultOf(ended)
        self.assertEqual(peer.replies(), [])

    def test_aFileThatOpensTooLateIsAborted(self) -> None:
        peer, held = heldPeer()
        peer.start(OPEN, string(b"/f"), uint32(NEW), uint32(0))
        ended = peer.server.channelClosed()
        held.goOn()
        self.assertEqual(held.names, ["abort"])
        held.goOn()
        self.successResultOf(ended)

    def test_requestsDoneWithinEachOtherEndItOnce(self) -> None:
        peer, held = heldPeer(f=b"data")
        peer.start(OPEN, string(b"/f"), uint32(FLAG_READ), uint32(0))
        held.goOnWithAll()
        handle = peer.replies()[0].body.string()
        peer.start(packets.FSETSTAT, string(handle), uint32(packets.HAS_MODE), uint32(0o600))
        peer.start(READ, string(handle), uint64(1 << 63), uint32(1))
        peer.server.eofReceived()
        held.goOn()
        self.assertEqual(([reply.type for reply in peer.replies()], held.names), ([STATUS, STATUS], ["abort"]))
        self.assertIs(peer.channel.exitStatus, None)
        held.goOn()
        self.assertEqual(peer.channel.exitStatus, 0)

    def test_streamThatIsNoSFTPEndsWithAnError(self) -> None:
        for garbage in (b"GET / HTTP/1.1\r\n", b"\0\0\0\1\1", b"\0\0\0\0", b"\xff" * 8):
            peer = SFTPPeer.inMemory()
            peer.raw(garbage)
            self.assertEqual(peer.channel.exitStatus, 1, garbage)
            peer.raw(bytes(1000))
            self.assertEqual(peer.replies(), [])

    def test_requestsBeforeTheGreetingEndIt(self) -> None:
        peer = SFTPPeer.inMemory(initialize=False)
        peer.start(STAT, string(b"/"))
        self.assertEqual((peer.channel.exitStatus, peer.replies()), (1, []))

    def test_whatBreaksIsAnsweredAndLogged(self) -> None:
        peer = SFTPPeer.inMemory()
        files: Any = peer.files

        class Broken:
            def stat(self, *arguments: Any) -> Any:
                raise ZeroDivisionError("secret detail")

        peer.server._operations._files = Broken()  # type: ignore[assignment]
        reply = peer.ask(STAT, string(b"/f"))
        self.assertEqual(reply.code, packets.FAILURE)
        self.assertEqual(reply.body.string(), b"internal error")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNot(files, None)

    def test_busyWhileSomethingIsOpen(self) -> None:
        peer = SFTPPeer.inMemory()
        self.assertFalse(peer.server.busy)
        handle = peer.opened(b"/f", NEW)
        self.assertTrue(peer.server.busy)
        peer.close(handle)
        self.assertFalse(peer.server.busy)


STRINGS = st.one_of(
    st.binary(max_size=12).map(string),
    st.sampled_from([b"/", b"/f", b"/d", b"/d/g", b"", (1).to_bytes(16, "big"), (2).to_bytes(16, "big")]).map(string),
)
FIELDS = st.one_of(
    STRINGS, st.integers(0, 2**32 - 1).map(uint32), st.integers(0, 70).map(uint32), st.integers(0, 9).map(uint64)
)
EXTENDED = st.sampled_from(
    [b"posix-rename@openssh.com", b"fsync@openssh.com", b"statvfs@openssh.com", b"hardlink@openssh.com", b"x"]
)
REQUESTS = st.tuples(
    st.one_of(st.integers(3, 20), st.just(200), st.integers(0, 255)).filter(lambda kind: kind != packets.INIT),
    st.one_of(
        st.lists(FIELDS, max_size=5).map(b"".join),
        st.tuples(EXTENDED.map(string), STRINGS, STRINGS).map(b"".join),
        st.tuples(STRINGS, st.integers(0, 63).map(uint32), st.just(uint32(0))).map(b"".join),
        st.tuples(STRINGS, st.integers(0, 9).map(uint64), STRINGS).map(b"".join),
    ),
)


class HostileTests(SynchronousTestCase):
    @settings(max_examples=150, deadline=None)
    @given(st.lists(REQUESTS, max_size=40), st.integers(1, 64))
    def test_everyRequestIsAnsweredOnce(self, requests: list[tuple[int, bytes]], cut: int) -> None:
        peer = SFTPPeer.inMemory()
        stream = b"".join(
            string(bytes((kind,)) + uint32(number) + body) for number, (kind, body) in enumerate(requests)
        )
        for at in range(0, len(stream), cut):
            peer.raw(stream[at : at + cut])
        replies = peer.replies()
        self.assertEqual(sorted(reply.requestId for reply in replies), list(range(len(requests))))
        self.assertEqual(peer.channel.consumedBytes, peer.sentBytes)
        for reply in replies:
            if reply.type == STATUS:
                self.assertIn(reply.code, range(9))
        peer.server.eofReceived()
        self.assertEqual(peer.channel.exitStatus, 0)

    @settings(max_examples=150, deadline=None)
    @given(st.lists(REQUESTS, max_size=80), st.randoms(use_true_random=False))
    def test_alsoWhenTheStorageIsSlow(self, requests: list[tuple[int, bytes]], random: Any) -> None:
        peer, held = heldPeer(f=b"data")
        for number, (kind, body) in enumerate(requests):
            peer.raw(string(bytes((kind,)) + uint32(number) + body))
            while held.waiting and random.random() < 0.5:
                held.goOn(random.randrange(len(held.waiting)))
        while held.waiting:
            held.goOn(random.randrange(len(held.waiting)))
        self.assertEqual(sorted(reply.requestId for reply in peer.replies()), list(range(len(requests))))
        self.assertEqual(peer.channel.consumedBytes, peer.sentBytes)

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=400), st.integers(1, 50), st.booleans())
    @example(struct.pack(">IBI", 5, 1, 3) * 3, 7, True)
    def test_anyBytesEndInAnswersOrInTheEnd(self, data: bytes, cut: int, initialize: bool) -> None:
        peer = SFTPPeer.inMemory(initialize=initialize)
        for at in range(0, len(data), cut):
            peer.raw(data[at : at + cut])
        peer.server.eofReceived()
        self.assertIn(peer.channel.exitStatus, (0, 1))
        self.successResultOf(peer.server.channelClosed())
