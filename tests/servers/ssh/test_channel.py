"""Tests of channels: credit, queues, and the end; on a connection whose transport is a list."""

from __future__ import annotations

import struct
from typing import Any

from attrs import Factory, define, field
from twisted.conch.ssh.connection import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_FAILURE,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_OPEN_FAILURE,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_SUCCESS,
    MSG_CHANNEL_WINDOW_ADJUST,
    MSG_GLOBAL_REQUEST,
    MSG_REQUEST_FAILURE,
    MSG_REQUEST_SUCCESS,
)
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ssh.avatar import SSHAvatar
from cftpcluster.servers.ssh.channel import FIRST_WINDOW_BYTES, LARGEST_WINDOW_BYTES, LONGEST_PACKET, SessionChannel
from cftpcluster.servers.ssh.connection import CHANNEL_LIMIT, PROOFS_LIMIT, UNANSWERED_LIMIT, Connection
from cftpcluster.servers.ssh.hostkeys import HostKeyring, HostKeys
from cftpcluster.servers.ssh.wire import Reader, boolean, string, uint32

from .peers import ECDSA, ED25519, RSA, pemOf

HOST_KEYS = HostKeyring(lambda: [pemOf(ED25519), pemOf(RSA)]).current(legacy=False)


@define(eq=False)
class FakeTransport:
    """What a connection sends, as (message number, rest)."""

    avatar: Any
    sent: list[tuple[int, bytes]] = Factory(list)
    writable: bool = True
    disconnected: bytes | None = None
    unimplemented: int = 0
    hostKeys: HostKeys = HOST_KEYS
    sessionID: bytes = b"session"
    keyAlg: bytes = b"ssh-ed25519"

    def sendPacket(self, number: int, payload: bytes) -> None:
        self.sent.append((number, payload))

    def sendParts(self, parts: Any) -> None:
        message = b"".join(parts)
        self.sent.append((message[0], message[1:]))

    def sendDisconnect(self, reason: int, text: bytes) -> None:
        self.disconnected = text

    def sendUnimplemented(self) -> None:
        self.unimplemented += 1

    def numbers(self) -> list[int]:
        return [number for number, _ in self.sent]

    def take(self) -> list[tuple[int, bytes]]:
        taken, self.sent = self.sent, []
        return taken


@define(eq=False)
class Recorder:
    """A program that records."""

    channel: SessionChannel
    data: bytearray = Factory(bytearray)
    eof: bool = False
    room: int = 0
    busy: bool = False
    closed: Deferred[None] = Factory(Deferred)
    isClosed: bool = field(default=False, init=False)

    def dataReceived(self, data: memoryview) -> None:
        self.data += data

    def eofReceived(self) -> None:
        self.eof = True

    def sentSome(self) -> None:
        self.room += 1

    def channelClosed(self) -> Deferred[None]:
        self.isClosed = True
        return self.closed


class RecordingAvatar(SSHAvatar):
    """Offers the program ``record``."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self.programs: list[Recorder] = []

    def _makeProgram(self, requestType: bytes, argument: bytes, channel: SessionChannel) -> Any:
        if (requestType, argument) != (b"subsystem", b"record"):
            return None
        self.programs.append(Recorder(channel))
        return self.programs[-1]


class ChannelTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.avatar = RecordingAvatar()
        self.transport = FakeTransport(self.avatar)
        self.connection = Connection(self.clock, 60)
        self.connection.transport = self.transport  # type: ignore[assignment]
        self.connection.serviceStarted()
        self.announced = self.transport.take()

    def message(self, number: int, *body: bytes) -> None:
        self.connection.packetReceived(number, memoryview(b"".join(body)))

    def open(self, window: int = 1 << 20, longest: int = 32768, kind: bytes = b"session") -> SessionChannel:
        self.message(MSG_CHANNEL_OPEN, string(kind), uint32(77), uint32(window), uint32(longest))
        ((number, body),) = self.transport.take()
        self.assertEqual(number, MSG_CHANNEL_OPEN_CONFIRMATION)
        remote, local, credit, limit = struct.unpack(">4I", body)
        self.assertEqual((remote, credit, limit), (77, FIRST_WINDOW_BYTES, LONGEST_PACKET))
        return self.connection.channels[local]

    def request(self, channel: SessionChannel, name: bytes, *body: bytes) -> list[tuple[int, bytes]]:
        assert channel.id is not None
        self.message(MSG_CHANNEL_REQUEST, uint32(channel.id), string(name), boolean(True), *body)
        return self.transport.take()

    def program(self, **options: Any) -> tuple[SessionChannel, Recorder]:
        channel = self.open(**options)
        answer = self.request(channel, b"subsystem", string(b"record"))
        self.assertEqual(answer, [(MSG_CHANNEL_SUCCESS, uint32(77))])
        return channel, self.avatar.programs[-1]

    def data(self, channel: SessionChannel, data: bytes) -> None:
        assert channel.id is not None
        self.message(MSG_CHANNEL_DATA, uint32(channel.id), string(data))


class OpenTests(ChannelTestCase):
    def refusal(self, kind: bytes, longest: int = 32768) -> int:
        self.message(MSG_CHANNEL_OPEN, string(kind), uint32(77), uint32(1 << 20), uint32(longest), b"more")
        ((number, body),) = self.transport.take()
        self.assertEqual(number, MSG_CHANNEL_OPEN_FAILURE)
        remote, reason = struct.unpack(">2I", body[:8])
        self.assertEqual(remote, 77)
        return int(reason)

    def test_onlySessionsAreOpened(self) -> None:
        for kind in (b"direct-tcpip", b"forwarded-tcpip", b"x11", b"auth-agent@openssh.com", b"tun@openssh.com", b""):
            self.assertEqual(self.refusal(kind), 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_soManyAtATime(self) -> None:
        channels = [self.open() for _ in range(CHANNEL_LIMIT)]
        self.assertEqual(self.refusal(b"session"), 4)
        assert channels[0].id is not None
        self.message(MSG_CHANNEL_CLOSE, uint32(channels[0].id))
        self.transport.take()
        self.open()

    def test_tinyPacketsAreRefused(self) -> None:
        for longest in (0, 1, 511):
            self.assertEqual(self.refusal(b"session", longest), 4)

    def test_noMoreSessions(self) -> None:
        self.message(MSG_GLOBAL_REQUEST, string(b"no-more-sessions@openssh.com"), boolean(False))
        self.assertEqual(self.refusal(b"session"), 4)


class RequestTests(ChannelTestCase):
    def test_everythingButTheProgramIsRefused(self) -> None:
        channel = self.open()
        refused = [
            (b"shell", b""),
            (b"exec", string(b"id")),
            (b"exec", string(b"scp -t /")),
            (b"pty-req", string(b"xterm") + uint32(80) * 4 + string(b"")),
            (b"env", string(b"LD_PRELOAD") + string(b"/tmp/x")),
            (b"x11-req", b""),
            (b"auth-agent-req@openssh.com", b""),
            (b"subsystem", string(b"other")),
            (b"signal", string(b"KILL")),
            (b"window-change", b""),
            (b"\xff", b""),
        ]
        for name, body in refused:
            self.assertEqual(self.request(channel, name, body), [(MSG_CHANNEL_FAILURE, uint32(77))], name)
        self.assertEqual(self.avatar.programs, [])

    def test_oneProgramOnAChannel(self) -> None:
        channel, _ = self.program()
        answer = self.request(channel, b"subsystem", string(b"record"))
        self.assertEqual(answer, [(MSG_CHANNEL_FAILURE, uint32(77))])

    def test_nothingIsAnsweredUnasked(self) -> None:
        channel = self.open()
        self.message(MSG_CHANNEL_REQUEST, uint32(channel.id or 0), string(b"shell"), boolean(False))
        self.assertEqual(self.transport.take(), [])

    def test_globalRequestsFail(self) -> None:
        for name in (b"tcpip-forward", b"keepalive@openssh.com", b"hostkeys-prove-00@openssh.com", b"\0"):
            self.message(MSG_GLOBAL_REQUEST, string(name), boolean(True), b"whatever")
            self.assertEqual(self.transport.take(), [(MSG_REQUEST_FAILURE, b"")])

    def test_hostKeysAreToldOnce(self) -> None:
        blobs = b"".join(string(Key(key).public().blob()) for key in (ED25519, RSA))
        body = string(b"hostkeys-00@openssh.com") + boolean(False) + blobs
        self.assertEqual(self.announced, [(MSG_GLOBAL_REQUEST, body)])

    def prove(self, *keys: Any) -> tuple[int, bytes]:
        blobs = b"".join(string(Key(key).public().blob()) for key in keys)
        self.message(MSG_GLOBAL_REQUEST, string(b"hostkeys-prove-00@openssh.com"), boolean(True), blobs)
        ((number, body),) = self.transport.take()
        return number, body

    def test_hostKeysAreProvenForThisSession(self) -> None:
        number, body = self.prove(RSA, ED25519)
        self.assertEqual(number, MSG_REQUEST_SUCCESS)
        for key, signature in zip((RSA, ED25519), Reader(body).strings(), strict=True):
            own = Key(key).public()
            signed = string(b"hostkeys-prove-00@openssh.com") + string(b"session") + string(own.blob())
            self.assertTrue(own.verify(signature, signed))

    def test_noOtherKeysAreProvenAndNotForever(self) -> None:
        self.assertEqual(self.prove(ED25519, ECDSA)[0], MSG_REQUEST_FAILURE)
        self.assertEqual(self.prove(RSA, RSA)[0], MSG_REQUEST_FAILURE)
        answers = [self.prove(ED25519)[0] for _ in range(PROOFS_LIMIT)]
        self.assertEqual(answers, [MSG_REQUEST_SUCCESS] + [MSG_REQUEST_FAILURE] * 2)

    def test_messagesForNoChannelEndTheConnection(self) -> None:
        for number in (MSG_CHANNEL_DATA, MSG_CHANNEL_EOF, MSG_CHANNEL_CLOSE, MSG_CHANNEL_REQUEST):
            self.transport.disconnected = None
            self.message(number, uint32(99), string(b"x"), boolean(True))
            self.assertEqual(self.transport.disconnected, b"no such channel")

    def test_aWindowForNoChannelIsNothing(self) -> None:
        self.message(MSG_CHANNEL_WINDOW_ADJUST, uint32(99), uint32(1))
        self.assertIs(self.transport.disconnected, None)

    def test_unknownMessagesAreUnimplemented(self) -> None:
        for number in (91, 92, 99, 100, 101, 192):
            self.message(number, uint32(0))
        self.assertGreaterEqual(self.transport.unimplemented, 4)


class CreditTests(ChannelTestCase):
    def test_creditIsGivenAsBytesAreConsumed(self) -> None:
        channel, program = self.program()
        for _ in range(4):
            self.data(channel, bytes(FIRST_WINDOW_BYTES // 4))
        self.assertEqual(self.transport.take(), [])
        self.assertEqual(len(program.data), FIRST_WINDOW_BYTES)
        channel.consumed(FIRST_WINDOW_BYTES // 8)
        self.assertEqual(self.transport.take(), [])
        channel.consumed(FIRST_WINDOW_BYTES // 8)
        ((number, body),) = self.transport.take()
        self.assertEqual(number, MSG_CHANNEL_WINDOW_ADJUST)
        self.assertEqual(struct.unpack(">2I", body)[1], channel.localWindowLeft)

    def test_theWindowGrowsWithUploadsAndNoFurther(self) -> None:
        channel, _ = self.program()
        for _ in range(40):
            self.data(channel, bytes(LONGEST_PACKET))
            channel.consumed(LONGEST_PACKET)
        self.assertEqual(channel.localWindowSize, LARGEST_WINDOW_BYTES)
        self.assertLessEqual(channel.localWindowLeft, LARGEST_WINDOW_BYTES)

    def test_moreThanWasGrantedEndsTheConnection(self) -> None:
        channel, program = self.program()
        for _ in range(2):
            self.data(channel, bytes(LONGEST_PACKET))
        self.data(channel, b"x")
        self.assertEqual(self.transport.disconnected, b"more data than there was room for")
        self.assertEqual(len(program.data), 2 * LONGEST_PACKET)

    def test_packetsBeyondTheLongestEndTheConnection(self) -> None:
        channel, _ = self.program()
        self.data(channel, bytes(LONGEST_PACKET + 1))
        self.assertEqual(self.transport.disconnected, b"more data than there was room for")

    def test_dataWithoutAProgramIsThrownAway(self) -> None:
        channel = self.open()
        for _ in range(100):
            self.data(channel, bytes(1 << 17))
        self.assertIs(self.transport.disconnected, None)

    def test_extendedDataIsThrownAway(self) -> None:
        channel, program = self.program()
        for _ in range(100):
            self.message(MSG_CHANNEL_EXTENDED_DATA, uint32(channel.id or 0), uint32(1), string(bytes(1 << 17)))
        self.assertIs(self.transport.disconnected, None)
        self.assertEqual(program.data, b"")


class SendTests(ChannelTestCase):
    def sentData(self) -> list[bytes]:
        return [body[8:] for number, body in self.transport.take() if number == MSG_CHANNEL_DATA]

    def test_packetsAreAsLongAsTheClientTakesThem(self) -> None:
        channel, _ = self.program(longest=1000)
        channel.send(b"a" * 700, b"b" * 700, b"c" * 700)
        sent = self.sentData()
        self.assertEqual(list(map(len, sent)), [1000, 1000, 100])
        self.assertEqual(b"".join(sent), b"a" * 700 + b"b" * 700 + b"c" * 700)

    def test_whatThereIsNoCreditForWaits(self) -> None:
        channel, program = self.program(window=10)
        channel.send(b"0123456789abc")
        self.assertEqual((self.sentData(), channel.queued), ([b"0123456789"], 3))
        room = program.room
        self.message(MSG_CHANNEL_WINDOW_ADJUST, uint32(channel.id or 0), uint32(2))
        self.assertEqual((self.sentData(), channel.queued), ([b"ab"], 1))
        self.assertGreater(program.room, room)
        self.message(MSG_CHANNEL_WINDOW_ADJUST, uint32(channel.id or 0), uint32(100))
        self.assertEqual((self.sentData(), channel.queued), ([b"c"], 0))

    def test_whileTheTransportIsFullEverythingWaits(self) -> None:
        channel, _ = self.program()
        self.transport.writable = False
        channel.send(b"data")
        self.assertEqual((self.sentData(), channel.queued), ([], 4))
        self.transport.writable = True
        self.connection.resumeSending()
        self.assertEqual((self.sentData(), channel.queued), ([b"data"], 0))

    def test_errorsGoFirstAndUseCredit(self) -> None:
        channel, program = self.program(window=4)
        self.transport.writable = False
        channel.send(b"data")
        channel.sendError(b"error")
        self.assertEqual((self.transport.take(), channel.queued), ([], 9))
        self.transport.writable = True
        self.connection.resumeSending()
        self.assertEqual(self.transport.take(), [(MSG_CHANNEL_EXTENDED_DATA, uint32(77) + uint32(1) + string(b"erro"))])
        channel.finish(3)
        self.message(MSG_CHANNEL_WINDOW_ADJUST, uint32(channel.id or 0), uint32(100))
        self.assertEqual(
            self.transport.numbers(),
            [
                MSG_CHANNEL_EXTENDED_DATA,
                MSG_CHANNEL_DATA,
                MSG_CHANNEL_REQUEST,
                MSG_CHANNEL_EOF,
                MSG_CHANNEL_CLOSE,
            ],
        )
        self.assertEqual(channel.queued, 0)
        self.assertGreater(program.room, 0)

    def test_creditBeyondEverythingIsBounded(self) -> None:
        channel, _ = self.program()
        for _ in range(3):
            self.message(MSG_CHANNEL_WINDOW_ADJUST, uint32(channel.id or 0), uint32(2**32 - 1))
        self.assertEqual(channel.remoteWindowLeft, 2**32 - 1)


class EndTests(ChannelTestCase):
    def test_finishedProgramSaysHowItWentAfterWhatItSent(self) -> None:
        channel, program = self.program(window=2)
        channel.send(b"abc")
        channel.finish(0)
        self.assertEqual(self.transport.numbers(), [MSG_CHANNEL_DATA])
        self.message(MSG_CHANNEL_WINDOW_ADJUST, uint32(channel.id or 0), uint32(10))
        expected = [MSG_CHANNEL_DATA, MSG_CHANNEL_DATA, MSG_CHANNEL_REQUEST, MSG_CHANNEL_EOF, MSG_CHANNEL_CLOSE]
        self.assertEqual(self.transport.numbers(), expected)
        status = self.transport.sent[2][1]
        self.assertEqual(status, uint32(77) + string(b"exit-status") + boolean(False) + uint32(0))
        self.assertFalse(program.isClosed)
        self.message(MSG_CHANNEL_CLOSE, uint32(channel.id or 0))
        self.assertTrue(program.isClosed)
        self.assertEqual(self.transport.numbers(), expected)
        self.assertEqual(self.connection.channels, {})

    def test_endOfInputIsToldToTheProgram(self) -> None:
        channel, program = self.program()
        self.message(MSG_CHANNEL_EOF, uint32(channel.id or 0))
        self.assertTrue(program.eof)
        self.assertEqual(self.transport.take(), [])

    def test_endOfInputWithoutAProgramClosesTheChannel(self) -> None:
        channel = self.open()
        self.message(MSG_CHANNEL_EOF, uint32(channel.id or 0))
        self.assertEqual(self.transport.numbers()[-1], MSG_CHANNEL_CLOSE)

    def test_closingClientIsAnswered(self) -> None:
        channel, program = self.program()
        self.message(MSG_CHANNEL_CLOSE, uint32(channel.id or 0))
        self.assertEqual(self.transport.take(), [(MSG_CHANNEL_CLOSE, uint32(77))])
        self.assertTrue(program.isClosed)
        channel.send(b"too late")
        channel.finish(0)
        self.assertEqual(self.transport.take(), [])

    def test_theServiceHasFinishedWhenItsProgramsHave(self) -> None:
        first, one = self.program()
        _, two = self.program()
        self.message(MSG_CHANNEL_CLOSE, uint32(first.id or 0))
        self.connection.serviceStopped()
        finished = self.connection.finished
        assert finished is not None
        self.assertTrue(one.isClosed and two.isClosed)
        self.assertNoResult(finished)
        two.closed.callback(None)
        self.assertNoResult(finished)
        one.closed.callback(None)
        self.successResultOf(finished)

    def test_busyAsItsProgramsAre(self) -> None:
        _, program = self.program()
        self.assertFalse(self.connection.busy)
        program.busy = True
        self.assertTrue(self.connection.busy)


class KeepAliveTests(ChannelTestCase):
    def test_silentClientsAreAskedAndThenLetGo(self) -> None:
        for asked in range(UNANSWERED_LIMIT):
            self.clock.advance(60)
            self.assertEqual(self.transport.numbers(), [MSG_GLOBAL_REQUEST] * (asked + 1))
        self.clock.advance(60)
        self.assertEqual(self.transport.disconnected, b"no answer")

    def test_anAnswerOfEitherKindWillDo(self) -> None:
        for number in (MSG_REQUEST_FAILURE, MSG_REQUEST_SUCCESS) * 5:
            self.clock.advance(60)
            self.message(number)
        self.assertIs(self.transport.disconnected, None)

    def test_nobodyIsAskedWhenTheServiceHasStopped(self) -> None:
        self.connection.serviceStopped()
        self.clock.advance(600)
        self.assertEqual((self.transport.take(), self.clock.getDelayedCalls()), ([], []))
