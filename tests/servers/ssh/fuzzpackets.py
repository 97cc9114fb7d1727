"""Hostile packets of SSH: of a stranger, of a client that has keys, and of one that is logged in.

Messages are built as they should be; some are damaged, tampered with, repeated, or come at the wrong time. Held to: the
connection is alive and answers, or was ended with a reason; what is held stays bounded; nothing is left of a client
that has gone.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from attrs import define, field
from cryptography.exceptions import InvalidTag
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from cftpcluster.config.document import Method, User
from cftpcluster.events import LoggedIn, LoggedOut
from cftpcluster.servers.ssh import packets, transport
from cftpcluster.servers.ssh.stream import LONGEST_BEFORE_LOGIN, LONGEST_PACKET
from cftpcluster.testing.auth import documentWith

from . import scripted
from .choices import Choices, Exhausted, nothingBreaks
from .peers import SFTPPeer, Site, Wire
from .scripted import ScriptedClient, asking, kexInit, opening, password, request, sending, string, uint32

RIGHT_VERSION = b"SSH-2.0-scripted\r\n"
VERSIONS = [
    *(b"SSH-1.5-x\r\n", b"SSH-2.0-\r\n", b"SSH-1.99-x\n", b"SSH-2.0-a\0b\r\n", b"\r\n", b"GET / HTTP/1.1\r\n\r\n"),
    *(
        b"SSH-2.0-" + b"x" * 246 + b"\r\n",
        b"SSH-2.0-" + b"x" * 300,
        b"\x16\x03\x01\x02\0\1\0\1\xfc\3\3",
        b"SSH-2.0-\xff\r\n",
    ),
]
NUMBERS = [0, 1, 2, 3, 4, 5, 6, 7, 20, 21, 30, 31, 32, 34, 50, 51, 52, 53, 60, 61, 63, 80, 81, 82, *range(90, 101)]
NUMBERS += [128, 191, 192, 193, 255]
ALGORITHMS = [
    *(b"curve25519-sha256", b"curve25519-sha256@libssh.org", b"mlkem768x25519-sha256", scripted.STRICT, b"ext-info-c"),
    *(b"ssh-ed25519", b"rsa-sha2-512", b"ssh-rsa", b"aes128-gcm@openssh.com", b"chacha20-poly1305@openssh.com"),
    *(
        b"aes256-ctr",
        b"hmac-sha2-256",
        b"hmac-sha2-512-etm@openssh.com",
        b"none",
        b"zlib",
        b"diffie-hellman-group1-sha1",
    ),
    *(b"diffie-hellman-group16-sha512", b"sntrup761x25519-sha512@openssh.com", b"", b"\xff", b"x" * 3000),
]
PUBLIC_VALUES = [bytes(32), b"\x09" + bytes(31), b"\xff" * 32, b"", bytes(31), bytes(1216), bytes(256), bytes(20_000)]
USERS = [b"alice", b"alice\0", b"bob", b"", b"../alice", b"\xff\xfe", b"x" * 5000, b"${jndi:ldap://x}", b"alice\n"]
METHODS = [b"none", b"password", b"hostbased", b"gssapi-with-mic", b"", b"keyboard-interactive", b"publickey"]
SECRETS = [b"secret", b"wrong", b"", b"secret\0", b"x" * 10_000, b"Secret", b"secret\n"]
BLOBS = [
    string(b"ssh-ed25519") + string(bytes(32)),
    string(b"ssh-rsa") + string(b"\1\0\1") + string(b"\1" + bytes(256)),
    string(b"ecdsa-sha2-nistp256") + string(b"nistp256") + string(b"\4" + bytes(64)),
    string(b"sk-ssh-ed25519@openssh.com") + string(bytes(32)) + string(b"ssh:"),
    string(b"ssh-ed25519-cert-v01@openssh.com") + string(bytes(32)),
    b"",
]
KEY_KINDS = [b"ssh-ed25519", b"rsa-sha2-512", b"ssh-rsa", b"ecdsa-sha2-nistp256", b"sk-ssh-ed25519@openssh.com", b""]
CHANNEL_KINDS = [
    b"session",
    b"direct-tcpip",
    b"x11",
    b"auth-agent@openssh.com",
    b"tun@openssh.com",
    b"",
    b"forwarded-tcpip",
]
ASKED = [
    b"subsystem",
    b"exec",
    b"shell",
    b"pty-req",
    b"env",
    b"x11-req",
    b"auth-agent-req@openssh.com",
    b"window-change",
]
ASKED += [b"signal", b"eow@openssh.com", b"keepalive@openssh.com", b"exit-status", b"", b"xon-xoff", b"break"]
COMMANDS = [
    *(
        b"sftp",
        b"scp -f /f",
        b"scp -t /",
        b"scp -r -p -t /d",
        b"scp -t /d",
        b"scp",
        b"md5sum /f",
        b"sha256sum",
        b"df -k",
    ),
    *(
        b"pwd",
        b"cd /",
        b"echo $?",
        b"ls -la",
        b"",
        b"\0",
        b"x" * 3000,
        b"scp -t '",
        b"scp -f \\",
        b"sha1sum -- '/f'; id",
    ),
    *(b"scp -f ../../etc/passwd", b"scp -r -f /", b"scp -t -- -x", b"scp -f *", b"md5sum", b"df -h /missing", b"\xff"),
]
SCP_LINES = [
    *(b"C0644 4 name\n", b"data\0", b"\0", b"E\n", b"D0755 0 folder\n", b"T1 0 1 0\n", b"C0644 99999999999999 x\n"),
    *(
        b"C0644 4 ../up\n",
        b"C9999 -1 x\n",
        b"D0755 0 ..\n",
        b"\1an error\n",
        b"\2fatal\n",
        b"C0644 4 a/b\n",
        b"C",
        b"\n",
    ),
    *(
        b"C0644 0 \n",
        b"C0644 4 " + b"n" * 5000 + b"\n",
        b"x" * 9000,
        b"C0644 " + b"9" * 5000 + b" x\n",
        b"T99999999999999999999 0 0 0\n",
    ),
]
GLOBALS = [
    b"keepalive@openssh.com",
    b"tcpip-forward",
    b"no-more-sessions@openssh.com",
    b"hostkeys-prove-00@openssh.com",
    b"",
]


# --- messages


def key(choices: Choices) -> bytes:
    """A KEXINIT."""

    def some(*usual: bytes) -> list[bytes]:
        return choices.often(list(usual), [choices.pick(ALGORITHMS) for _ in range(choices.below(4))])

    exchanges, hostKeys, ciphers = some(b"curve25519-sha256"), some(b"ssh-ed25519"), some(b"aes128-gcm@openssh.com")
    return kexInit(exchanges, hostKeys, ciphers, some(b"hmac-sha2-256"), some(b"none"), choices.byte() > 200)


def logIn(choices: Choices) -> bytes:
    user, method = choices.often(b"alice", *USERS), choices.pick(METHODS)
    if method == b"password":
        return password(user, choices.pick(SECRETS))
    if method == b"keyboard-interactive":
        return choices.often(
            request(user, method, string(b""), string(b"")),
            bytes((scripted.INFO_RESPONSE,)) + choices.number() + string(choices.bytes(9)),
        )
    if method == b"publickey":
        isSigned, algorithm = choices.byte() & 1, choices.pick(KEY_KINDS)
        signature = string(string(choices.pick(KEY_KINDS)) + string(bytes(64)) + choices.bytes(5)) if isSigned else b""
        blob = choices.pick(BLOBS) + choices.often(b"", choices.bytes(5))
        return request(user, method, bytes((isSigned,)), string(algorithm), string(blob), signature)
    return request(user, method, choices.bytes(20), service=choices.pick([b"ssh-connection"] * 20 + [b""]))


def transportMessage(choices: Choices) -> bytes:
    what = choices.below(12)
    if what < 5:
        return bytes((choices.pick([2, 4, 3, 7, 192, 193]),)) + string(choices.bytes(99))
    if what == 5:
        return bytes((scripted.SERVICE_REQUEST,)) + string(choices.often(b"ssh-userauth", b"ssh-connection", b""))
    if what == 6:
        return bytes((scripted.NEWKEYS,))
    if what == 7:
        return bytes((scripted.KEX_INIT,)) + string(choices.often(choices.pick(PUBLIC_VALUES), choices.bytes(40)))
    if what == 8 and choices.byte() < 30:
        return bytes((scripted.DISCONNECT,)) + choices.number() + string(choices.bytes(9)) + string(b"")
    if what == 9:
        return bytes((choices.pick(NUMBERS),)) + choices.number() + string(choices.bytes(9)) + choices.bytes(9)
    if what == 10:
        return choices.bytes(30)
    return key(choices)


def scpLine(choices: Choices) -> bytes:
    """What a client of SCP says, or a file's data."""
    if choices.byte() < 180:
        return choices.pick(SCP_LINES)
    name = choices.pick([b"f", b"new", b"d", b"..", b".", b"", b"a/b", b"\xff", b"x" * 256, b"~"])
    return b"C%04o %d %b\n" % (choices.byte() * 2, choices.byte(), name)


def stream(choices: Choices) -> bytes:
    """What is sent on a channel."""
    what = choices.below(6)
    if what == 0:
        return b"\0\0\0\5\1\0\0\0\3"
    if what < 3:
        fields = b"".join(
            choices.pick([string(b"/f"), string(choices.bytes(9)), choices.number(), choices.longNumber()])
            for _ in range(choices.below(5))
        )
        return string(bytes((3 + choices.below(18),)) + choices.number() + fields)
    return choices.pick(SCP_LINES) if what < 5 else choices.bytes(60)


def connectionMessage(choices: Choices, channels: Sequence[int] = (0,)) -> bytes:
    what, channel = choices.below(12), choices.pick(channels)
    if choices.byte() > 250:
        channel = int.from_bytes(choices.number(), "big")
    if what == 0:
        window = int.from_bytes(choices.number(), "big")
        longest = int.from_bytes(choices.number(), "big")
        return opening(choices.often(b"session", *CHANNEL_KINDS), window, longest, choices.bytes(9))
    if what == 1:
        return opening()
    if what == 2:
        body = choices.often(string(choices.pick(COMMANDS)), choices.bytes(20))
        return asking(channel, choices.pick(ASKED), body, choices.byte() < 200)
    if what in (3, 4):
        return asking(channel, b"exec", string(choices.pick(COMMANDS)))
    if what == 5:
        return asking(channel, b"subsystem", string(b"sftp"))
    if what in (6, 7, 8):
        return sending(channel, stream(choices))
    if what == 9:
        return bytes((scripted.EXTENDED_DATA,)) + uint32(channel) + choices.number() + string(choices.bytes(20))
    if what == 10:
        return bytes((scripted.WINDOW_ADJUST,)) + uint32(channel) + choices.number()
    if choices.byte() < 70:
        kinds = [scripted.CHANNEL_EOF, scripted.CHANNEL_CLOSE, scripted.CHANNEL_SUCCESS, scripted.OPEN_CONFIRMATION]
        return bytes((choices.pick(kinds),)) + uint32(channel)
    return bytes((scripted.GLOBAL_REQUEST,)) + string(choices.pick(GLOBALS)) + bytes((choices.byte() & 1,))


OTHERS = (transportMessage, logIn, connectionMessage, key)


@define(eq=False)
class Conversation:
    """A client that is a stranger, has keys, or is logged in; and the server."""

    choices: Choices
    stage: str
    isStrict: bool
    pieceBytes: int
    site: Site = field(init=False)
    wire: Wire = field(factory=Wire, init=False)
    server: Any = field(init=False)
    client: ScriptedClient = field(init=False)
    isDeaf: bool = field(default=False, init=False)
    clientSaidGoodbye: bool = field(default=False, init=False)
    isAligned: bool = field(default=True, init=False)

    def __attrs_post_init__(self) -> None:
        clock = Clock()
        clock.advance(1_000_000_000)
        self.site = Site(clock=clock)
        if self.stage == "keyed":
            # The right password alone lets nobody in.
            both = (Method.publickey, Method.password)
            self.site.logins.document = documentWith(User(name="alice", authentication=(both, both[::-1])))
        self.server = self.site.server.buildProtocol(IPv4Address("TCP", "192.0.2.7", 40000))
        self.server.makeConnection(self.wire)
        self.client = ScriptedClient(self.deliver)
        if not self.isStrict:
            self.client.kexInit = kexInit((b"curve25519-sha256",))
        if self.stage == "stranger":
            self.client.exchanges = False
            self.deliver(self.choices.often(RIGHT_VERSION, RIGHT_VERSION, *VERSIONS))
            return
        self.client.start()
        self.pump()
        assert self.client.keyed == 1
        if self.choices.byte() < 230 or self.isUser:
            self.client.send(bytes((scripted.SERVICE_REQUEST,)) + string(b"ssh-userauth"))
        if self.isUser:
            self.client.send(password(b"alice", b"secret"))
            self.client.send(opening())
            self.begin()
            self.pump()
            numbers = [message[0] for message in self.client.take()]
            assert scripted.USERAUTH_SUCCESS in numbers and scripted.CHANNEL_SUCCESS in numbers, numbers

    @property
    def isUser(self) -> bool:
        return self.stage in ("user", "program")

    def begin(self) -> None:
        """Have something run on the first channel."""
        if self.stage == "user":
            self.client.send(asking(0, b"subsystem", string(b"sftp")))
            self.client.send(sending(0, b"\0\0\0\5\1\0\0\0\3"))
            return
        peer = SFTPPeer.of(self.site.backend, self.site.clock, "bob")
        peer.put(b"/f", b"some data")
        peer.code(packets.MKDIR, string(b"/d"), uint32(0))
        peer.put(b"/d/g", bytes(1000))
        self.client.send(asking(0, b"exec", string(self.command())))

    def command(self) -> bytes:
        choices = self.choices
        command = choices.often(choices.pick(COMMANDS[1:5]), choices.pick(COMMANDS))
        return choices.damaged(command, 20)

    def deliver(self, data: bytes) -> None:
        """Bytes for the server, in pieces, as long as it reads."""
        size = self.pieceBytes if len(data) < 5000 else 5000
        for at in range(0, len(data), size):
            if self.wire.disconnecting or self.wire.producerState != "producing":
                return
            self.server.dataReceived(data[at : at + size])

    def pump(self) -> None:
        """Let the client read, and answer."""
        while data := self.wire.value():
            self.wire.clear()
            if self.isDeaf:
                break
            try:
                self.client.feed(data)
            except (InvalidTag, struct.error, IndexError):
                # Its own KEXINIT was another one than it thinks.
                self.isDeaf = True
            # Or it agreed on keys that it does not know.
            self.isDeaf = self.isDeaf or (not self.client.exchanges and scripted.NEWKEYS in self.client.whatCame)

    def step(self) -> None:
        choices = self.choices
        what = choices.below(64)
        if what < 50:
            self.send(choices.damaged(self.message(), 26))
        elif what < 53:
            message = self.message()
            for _ in range(choices.below(40)):
                self.send(message)
        elif what == 53:
            self.isAligned = False
            sealed = bytearray(self.client.outgoing.seal(b"\2" + choices.bytes(40)))
            sealed[choices.below(len(sealed))] ^= 0x41
            self.deliver(bytes(sealed))
        elif what == 54:
            self.isAligned = False
            self.deliver(choices.bytes(30))
        elif what < 57:
            self.site.clock.pump([0, choices.often(0.1, 1, 29, 60, 301, 3600), 0])
        elif what < 59:
            self.server.pauseProducing()
        elif what < 62:
            self.server.resumeProducing()
        elif self.client.exchanges and not self.client.isExchanging:
            self.client.rekey()
        self.site.clock.advance(0)
        self.check()
        self.pump()

    def message(self) -> bytes:
        """What one says on this stage, mostly."""
        choices = self.choices
        if choices.byte() > 240:
            return choices.pick(OTHERS)(choices)
        if self.stage == "program" and choices.byte() < 200:
            if choices.byte() > 245:
                return bytes((scripted.CHANNEL_EOF,)) + uint32(0)
            return sending(0, b"".join(choices.damaged(scpLine(choices), 30) for _ in range(1 + choices.below(3))))
        if self.isUser:
            return connectionMessage(choices, self.channels)
        return logIn(choices) if self.stage == "keyed" else choices.pick((transportMessage, key))(choices)

    @property
    def channels(self) -> list[int]:
        """Those that are open, as far as the client knows."""
        opened = [
            int.from_bytes(each[5:9], "big") for each in self.client.came if each[0] == scripted.OPEN_CONFIRMATION
        ]
        return [0, *opened[-4:]]

    def send(self, payload: bytes) -> None:
        self.clientSaidGoodbye = self.clientSaidGoodbye or payload[:1] == b"\1"
        self.client.send(payload)

    def check(self) -> None:
        longest = LONGEST_PACKET if self.server.avatar is not None else LONGEST_BEFORE_LOGIN
        assert len(self.server._incoming._received) <= longest + 5000 + 64, "input is collected"
        if not self.wire.disconnecting:
            assert len(self.wire.value()) <= transport.UNREAD_LIMIT_BYTES + (4 << 20), "output is collected"
            if not self.isUser:
                assert self.server.avatar is None
        elif not self.wire.aborted and not self.clientSaidGoodbye:
            self.pump()
            isVersion = not self.server.gotVersion
            said = scripted.DISCONNECT in self.client.whatCame
            assert self.isDeaf or isVersion or said, "ended without a reason"

    def end(self) -> None:
        """The client is gone; nothing of it is left."""
        self.pump()
        if self.isAlive:
            self.probe()
        self.server.connectionLost(Failure(ConnectionDone()))
        self.site.clock.advance(0)
        assert self.site.clock.getDelayedCalls() == [], self.site.clock.getDelayedCalls()
        assert self.site.server.drain().called, "the server thinks that somebody is there"
        counts = [sum(isinstance(event, kind) for event in self.site.logins.events) for kind in (LoggedIn, LoggedOut)]
        assert counts[0] == counts[1] == self.isUser, counts

    @property
    def isAlive(self) -> bool:
        return (
            self.isUser
            and self.isAligned
            and not (self.isDeaf or self.wire.disconnecting or self.clientSaidGoodbye)
            and self.client.exchanges
        )

    def probe(self) -> None:
        """It answers, exactly once."""
        self.server.resumeProducing()
        for _ in range(4):
            self.pump()
        if self.server._expected is not None or self.server._exchangeBlocks:
            return  # an exchange of keys that the client does not go on with
        self.client.take()
        self.client.send(bytes((scripted.GLOBAL_REQUEST,)) + string(b"alive@example.com") + b"\1")
        self.pump()
        failures = [message[0] for message in self.client.take() if message[0] == scripted.REQUEST_FAILURE]
        assert len(failures) == 1, "no answer, or more than one"


def tryConnection(stage: str, data: bytes) -> set[int]:
    """One connection, of which nothing may break; the numbers of the messages that the server sent."""
    choices = Choices(data)
    with nothingBreaks():
        try:
            conversation = Conversation(choices, stage, bool(choices.byte() & 1), choices.often(1 << 20, 1, 7, 64))
        except Exhausted:
            return set()
        try:
            while not conversation.wire.disconnecting:
                conversation.step()
        except Exhausted:
            pass
        conversation.end()
    return set(conversation.client.whatCame)
