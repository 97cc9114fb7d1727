"""Counterparts for the tests of SSH: an SFTP client without a channel, and Conch's SSH client without a socket."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Sequence
from typing import Any

from attrs import Factory, define, evolve, field
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.conch.interfaces import IConchUser
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.service import SSHService
from twisted.conch.ssh.transport import SSHClientTransport
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from cftpcluster.files.memory import MemoryBackend
from cftpcluster.interfaces import IFile, IFileSystem
from cftpcluster.servers.ssh import packets
from cftpcluster.servers.ssh.avatar import sshAvatar
from cftpcluster.servers.ssh.factory import SFTPOptions, SSHServer
from cftpcluster.servers.ssh.sftp import SFTPServer
from cftpcluster.servers.ssh.wire import Buffer, Reader, string, uint32, uint64
from cftpcluster.testing.auth import Logins


def pemOf(key: Any) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return pem


ED25519 = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)
SHORT_RSA = rsa.generate_private_key(65537, 1024)
ECDSA = ec.generate_private_key(ec.SECP256R1())


def countingBytes() -> Callable[[int], bytes]:
    """Bytes that differ every time, for handles and session ids."""
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


# --- SFTP


@define(eq=False)
class FakeChannel:
    """What an SFTP server sends on, and what it says of its consumption.

    :ivar blocked: while true, nothing that is sent leaves.
    """

    sent: bytearray = Factory(bytearray)
    queued: int = 0
    consumedBytes: int = 0
    exitStatus: int | None = None
    blocked: bool = False
    program: Any = None

    def send(self, *parts: Buffer) -> None:
        for part in parts:
            self.sent += part
        if self.blocked:
            self.queued += sum(map(len, parts))

    def unblock(self) -> None:
        """Everything that was sent leaves."""
        self.blocked, self.queued = False, 0
        self.program.sentSome()

    def consumed(self, size: int) -> None:
        self.consumedBytes += size

    def finish(self, exitStatus: int) -> None:
        self.exitStatus = exitStatus

    def paused(self) -> None:
        pass


@define(eq=False)
class Reply:
    """An answer: its type, the request's id, and the rest to be read."""

    type: int
    requestId: int
    body: Reader

    @property
    def code(self) -> int:
        """Of a STATUS."""
        assert self.type == packets.STATUS, self.type
        return self.body.uint32()


@define(eq=False)
class SFTPPeer:
    """Speaks SFTP to a server whose files are in memory."""

    files: IFileSystem
    clock: Clock
    backend: MemoryBackend
    draftLinks: bool = False
    channel: FakeChannel = Factory(FakeChannel)
    server: SFTPServer = field(init=False)
    _numbers: Any = field(init=False)
    sentBytes: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        channel: Any = self.channel
        self.server = SFTPServer(channel, self.files, self.clock, countingBytes(), self.draftLinks)
        self.channel.program = self.server
        self._numbers = itertools.count(1)

    @classmethod
    def inMemory(cls, initialize: bool = True, **options: Any) -> SFTPPeer:
        clock = Clock()
        clock.advance(1_000_000_000)
        backend = MemoryBackend(clock, 1 << 26)
        return cls.of(backend, clock, "alice", initialize, **options)

    @classmethod
    def of(
        cls,
        backend: MemoryBackend,
        clock: Clock,
        user: str,
        initialize: bool = True,
        hold: bool = False,
        **options: Any,
    ) -> SFTPPeer:
        """A session of a user of ``backend``. With ``hold`` every operation waits for the test."""
        files: Any = backend.fileSystem("", user, True)
        peer = cls(HeldFiles(files) if hold else files, clock, backend, **options)
        if initialize:
            peer.initialize()
        return peer

    def raw(self, data: bytes) -> None:
        self.sentBytes += len(data)
        self.server.dataReceived(memoryview(data))

    def initialize(self) -> dict[bytes, bytes]:
        """The extensions of the answer."""
        self.raw(b"\0\0\0\5\1\0\0\0\3")
        (length,) = struct.unpack(">I", self.channel.sent[:4])
        answer = Reader(bytes(self.channel.sent[4 : 4 + length]))
        del self.channel.sent[: 4 + length]
        assert (answer.byte(), answer.uint32()) == (packets.VERSION_REPLY, 3)
        extensions = {}
        rest = answer.rest()
        reader = Reader(rest)
        while rest:
            name, value = reader.string(), reader.string()
            extensions[name] = value
            rest = rest[8 + len(name) + len(value) :]
        return extensions

    def start(self, type: int, *body: bytes) -> int:
        """Send a request; its id."""
        number: int = next(self._numbers)
        payload = bytes((type,)) + uint32(number) + b"".join(body)
        self.raw(string(payload))
        return number

    def replies(self) -> list[Reply]:
        """What was answered since the last time."""
        replies = []
        data, position = bytes(self.channel.sent), 0
        while position < len(data):
            (length,) = struct.unpack_from(">I", data, position)
            packet = data[position + 4 : position + 4 + length]
            assert len(packet) == length, "a torn answer"
            replies.append(Reply(packet[0], int.from_bytes(packet[1:5], "big"), Reader(packet, 5)))
            position += 4 + length
        self.channel.sent.clear()
        return replies

    def ask(self, type: int, *body: bytes) -> Reply:
        """Send a request, and give its one answer."""
        number = self.start(type, *body)
        (reply,) = self.replies()
        assert reply.requestId == number
        return reply

    def code(self, type: int, *body: bytes) -> int:
        return self.ask(type, *body).code

    def extended(self, name: bytes, *body: bytes) -> Reply:
        return self.ask(packets.EXTENDED, string(name), *body)

    def opened(self, path: bytes, flags: int) -> bytes:
        reply = self.ask(packets.OPEN, string(path), uint32(flags), uint32(0))
        assert reply.type == packets.HANDLE, reply.code
        return reply.body.string()

    def openCode(self, path: bytes, flags: int) -> int:
        return self.code(packets.OPEN, string(path), uint32(flags), uint32(0))

    def write(self, handle: bytes, offset: int, data: bytes) -> int:
        return self.code(packets.WRITE, string(handle), uint64(offset), string(data))

    def read(self, handle: bytes, offset: int, length: int) -> bytes | int:
        """The data, or the code of a status."""
        reply = self.ask(packets.READ, string(handle), uint64(offset), uint32(length))
        return reply.body.string() if reply.type == packets.DATA else reply.code

    def close(self, handle: bytes) -> int:
        return self.code(packets.CLOSE, string(handle))

    def put(self, path: bytes, data: bytes) -> None:
        handle = self.opened(path, packets.FLAG_WRITE | packets.FLAG_CREATE | packets.FLAG_TRUNCATE)
        assert self.write(handle, 0, data) == packets.OK
        assert self.close(handle) == packets.OK

    def get(self, path: bytes) -> bytes | int:
        reply = self.ask(packets.OPEN, string(path), uint32(packets.FLAG_READ), uint32(0))
        if reply.type != packets.HANDLE:
            return reply.code
        handle = reply.body.string()
        data = self.read(handle, 0, 1 << 18)
        assert self.close(handle) == packets.OK
        return b"" if data == packets.EOF else data


class Held:
    """Stands for something whose methods answer with Deferreds, and lets each of them wait.

    :ivar waiting: the calls that wait, oldest first: method, arguments, and what lets it go on.
    """

    def __init__(self, inner: Any, waiting: list[tuple[str, tuple[Any, ...], Callable[[], None]]]) -> None:
        self._inner = inner
        self.waiting = waiting

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(*arguments: Any) -> Deferred[Any]:
            answer: Deferred[Any] = Deferred()

            def goOn() -> None:
                method(*arguments).addCallback(self._wrapped).chainDeferred(answer)

            self.waiting.append((name, arguments, goOn))
            return answer

        return call

    def _wrapped(self, result: Any) -> Any:
        return Held(result, self.waiting) if IFile.providedBy(result) else result


@implementer(IFileSystem)
class HeldFiles(Held):
    def __init__(self, inner: Any) -> None:
        super().__init__(inner, [])

    @property
    def names(self) -> list[str]:
        """What waits."""
        return [name for name, _, _ in self.waiting]

    def goOn(self, at: int = 0) -> None:
        """Let one operation go on."""
        self.waiting.pop(at)[2]()

    def goOnWithAll(self) -> None:
        while self.waiting:
            self.goOn()


# --- SSH


class Client(SSHClientTransport):
    """Conch's client: an SSH of its own, which knows counter mode and curve25519 and neither GCM nor strict exchanges.

    :ivar secured: when the first keys are in use.
    """

    def __init__(self, service: SSHService | None = None) -> None:
        self.wanted = service
        self.secured: Deferred[None] = Deferred()
        self.disconnected: list[tuple[int, bytes]] = []

    def verifyHostKey(self, hostKey: bytes, fingerprint: bytes) -> Deferred[bool]:
        self.hostKey = hostKey
        return succeed(True)

    def connectionSecure(self) -> None:
        if not self.secured.called:
            self.secured.callback(None)
            if self.wanted is not None:
                self.requestService(self.wanted)

    def receiveError(self, reasonCode: int, description: bytes) -> None:
        self.disconnected.append((reasonCode, description))


class Wire(StringTransport):
    """One side of a connection; closing is seen by the pump."""

    def __init__(self) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.7", 40000))
        self.aborted = False

    def abortConnection(self) -> None:
        self.aborted = self.disconnecting = True


@define(eq=False)
class Link:
    """A server's and a client's transport, and what carries bytes between them."""

    server: Any
    client: Any
    serverWire: Wire = Factory(Wire)
    clientWire: Wire = Factory(Wire)
    lost: bool = False

    def start(self) -> Link:
        self.server.makeConnection(self.serverWire)
        self.client.makeConnection(self.clientWire)
        return self.pump()

    def pump(self) -> Link:
        """Carry bytes until there are none, or one side has closed."""
        while not self.lost:
            self.server.reactor.advance(0)  # whose turn it is to exchange keys
            fromServer, fromClient = self.serverWire.value(), self.clientWire.value()
            self.serverWire.clear()
            self.clientWire.clear()
            if fromServer:
                self.client.dataReceived(fromServer)
            if fromClient and self.serverWire.producerState == "producing":
                self.server.dataReceived(fromClient)
            elif fromClient:
                self.clientWire.write(fromClient)
            if self.serverWire.disconnecting or self.clientWire.disconnecting:
                rest = self.serverWire.value()
                if rest:
                    self.client.dataReceived(rest)
                self.lose()
            if not fromServer and (not fromClient or self.serverWire.producerState != "producing"):
                break
        return self

    def lose(self) -> None:
        self.lost = True
        self.server.connectionLost(Failure(ConnectionDone()))
        self.client.connectionLost(Failure(ConnectionDone()))


@define(eq=False)
class Site:
    """A server, its users and its clock: alice, with the password ``secret`` and an Ed25519 key.

    :ivar legacy: whether it offers legacy algorithms whatever its options say: Conch's client has no other MACs.
    """

    options: SFTPOptions = Factory(SFTPOptions)
    hostKeys: Sequence[bytes] = (pemOf(ED25519),)
    clock: Clock = Factory(Clock)
    userKeys: dict[str, bytes] = Factory(lambda: {"alice": Key(ED25519).public().blob()})
    legacy: bool = True
    backend: MemoryBackend = field(init=False)
    logins: Logins = field(init=False)
    server: SSHServer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.backend = MemoryBackend(self.clock, 1 << 26)
        self.logins = Logins.of(
            self.backend.fileSystem("", "alice", True),
            {"alice": b"secret"},
            self.userKeys,
            avatars={IConchUser: sshAvatar},
            clock=self.clock,
        )
        self.server = SSHServer(
            evolve(self.options, legacyAlgorithms=self.legacy or self.options.legacyAlgorithms),
            "sftp",
            self.clock,
            self.logins.portal(),
            lambda: self.hostKeys,
            self.logins.notify,
            countingBytes(),
            lambda address: False,
        )

    def connect(self, client: Any) -> Link:
        link = Link(self.server.buildProtocol(IPv4Address("TCP", "192.0.2.7", 40000)), client)
        return link.start()
