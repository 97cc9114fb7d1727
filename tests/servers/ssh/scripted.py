"""An SSH client that says anything at any time, right or wrong. It shares no code with the server, and knows no socket.

It agrees on curve25519-sha256, ssh-ed25519 and aes128-gcm@openssh.com, by itself or step by step. Whose key the server
has is not looked at: that is for the tests with real clients.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence

from attrs import Factory, define, field
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG, SERVICE_REQUEST, SERVICE_ACCEPT, EXT_INFO = range(1, 8)
KEXINIT, NEWKEYS, KEX_INIT, KEX_REPLY = 20, 21, 30, 31
USERAUTH_REQUEST, USERAUTH_FAILURE, USERAUTH_SUCCESS, USERAUTH_BANNER = range(50, 54)
INFO_REQUEST, INFO_RESPONSE = 60, 61
GLOBAL_REQUEST, REQUEST_SUCCESS, REQUEST_FAILURE = range(80, 83)
CHANNEL_OPEN, OPEN_CONFIRMATION, OPEN_FAILURE, WINDOW_ADJUST, CHANNEL_DATA, EXTENDED_DATA = range(90, 96)
CHANNEL_EOF, CHANNEL_CLOSE, CHANNEL_REQUEST, CHANNEL_SUCCESS, CHANNEL_FAILURE = range(96, 101)

STRICT = b"kex-strict-c-v00@openssh.com"
LARGEST_WINDOW = 0x7FFFFFFF


def uint32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def uint64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def string(data: bytes) -> bytes:
    return uint32(len(data)) + data


def mpint(number: int) -> bytes:
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big") if number else b"")


def kexInit(
    exchanges: Sequence[bytes] = (b"curve25519-sha256", STRICT),
    hostKeys: Sequence[bytes] = (b"ssh-ed25519",),
    ciphers: Sequence[bytes] = (b"aes128-gcm@openssh.com",),
    macs: Sequence[bytes] = (b"hmac-sha2-256",),
    compressions: Sequence[bytes] = (b"none",),
    guess: bool = False,
) -> bytes:
    """A KEXINIT; both directions want the same."""
    lists = (exchanges, hostKeys, ciphers, ciphers, macs, macs, compressions, compressions, (), ())
    return (
        bytes((KEXINIT,)) + bytes(16) + b"".join(string(b",".join(each)) for each in lists) + bytes((guess, 0, 0, 0, 0))
    )


def request(user: bytes, method: bytes, *body: bytes, service: bytes = b"ssh-connection") -> bytes:
    """A log-in by some method."""
    return bytes((USERAUTH_REQUEST,)) + string(user) + string(service) + string(method) + b"".join(body)


def password(user: bytes, secret: bytes) -> bytes:
    return request(user, b"password", b"\0", string(secret))


def opening(kind: bytes = b"session", window: int = LARGEST_WINDOW, longest: int = 1 << 18, rest: bytes = b"") -> bytes:
    """A CHANNEL_OPEN; the client's number of the channel is 7."""
    return bytes((CHANNEL_OPEN,)) + string(kind) + uint32(7) + uint32(window) + uint32(longest) + rest


def asking(channel: int, kind: bytes, body: bytes = b"", reply: bool = True) -> bytes:
    """A CHANNEL_REQUEST."""
    return bytes((CHANNEL_REQUEST,)) + uint32(channel) + string(kind) + bytes((reply,)) + body


def sending(channel: int, data: bytes) -> bytes:
    return bytes((CHANNEL_DATA,)) + uint32(channel) + string(data)


def farewell(message: bytes) -> bytes:
    """The reason that a DISCONNECT gives."""
    assert message[0] == DISCONNECT
    length = int.from_bytes(message[5:9], "big")
    return message[9 : 9 + length]


@define(eq=False)
class Way:
    """One direction: the number of the next packet, and the keys, once there are some."""

    sequence: int = 0
    key: AESGCM | None = None
    fixed: bytes = b""
    counter: int = 0

    def use(self, key: bytes, nonce: bytes, restart: bool) -> None:
        self.key, self.fixed, self.counter = AESGCM(key), nonce[:4], int.from_bytes(nonce[4:], "big")
        if restart:
            self.sequence = 0

    def nonce(self) -> bytes:
        nonce = self.fixed + uint64(self.counter)
        self.counter = (self.counter + 1) & 0xFFFFFFFFFFFFFFFF
        return nonce

    def seal(self, payload: bytes) -> bytes:
        block, uncounted = (8, 4) if self.key is None else (16, 0)
        padding = block - (uncounted + 1 + len(payload)) % block
        padding += block if padding < 4 else 0
        body = bytes((padding,)) + payload + bytes(padding)
        self.sequence += 1
        if self.key is None:
            return string(body)
        head = uint32(len(body))
        return head + self.key.encrypt(self.nonce(), body, head)

    def cut(self, received: bytearray) -> bytes | None:
        """The next payload, if it is there."""
        tag = 0 if self.key is None else 16
        if len(received) < 4:
            return None
        end = 4 + int.from_bytes(received[:4], "big") + tag
        if len(received) < end:
            return None
        head, body = bytes(received[:4]), bytes(received[4:end])
        del received[:end]
        self.sequence += 1
        plain = body if self.key is None else self.key.decrypt(self.nonce(), body, head)
        return plain[1 : len(plain) - plain[0]]


@define(eq=False)
class ScriptedClient:
    """
    :ivar write: is given what goes over the wire.
    :ivar exchanges: whether it goes on with key exchanges by itself.
    :ivar kexInit: what it says in each of them.
    :ivar came: the messages of the server that were not part of a key exchange, oldest first.
    :ivar whatCame: the numbers of all messages that came.
    :ivar keyed: how many times keys were agreed on.
    :ivar isStrict: whether both are strict about key exchanges.
    """

    write: Callable[[bytes], object]
    exchanges: bool = True
    kexInit: bytes = Factory(kexInit)
    version: bytes = b"SSH-2.0-scripted"
    came: list[bytes] = field(factory=list, init=False)
    whatCame: list[int] = field(factory=list, init=False)
    serverVersion: bytes = field(default=b"", init=False)
    serverKexInit: bytes = field(default=b"", init=False)
    sessionId: bytes = field(default=b"", init=False)
    keyed: int = field(default=0, init=False)
    isStrict: bool = field(default=False, init=False)
    outgoing: Way = field(factory=Way, init=False)
    incoming: Way = field(factory=Way, init=False)
    _received: bytearray = field(factory=bytearray, init=False)
    _asked: bool = field(default=False, init=False)
    _secret: X25519PrivateKey | None = field(default=None, init=False)
    _keys: Callable[[bytes], bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Say the version and, when it exchanges keys by itself, KEXINIT."""
        self.write(self.version + b"\r\n")
        if self.exchanges:
            self.rekey()

    def rekey(self) -> None:
        """Ask for new keys; answering the server's wish for them is the same."""
        self._asked = True
        self.send(self.kexInit)

    @property
    def isExchanging(self) -> bool:
        """Whether it asked for keys that are not there yet."""
        return self._asked

    def send(self, payload: bytes) -> None:
        self.write(self.outgoing.seal(payload))

    def feed(self, data: bytes) -> None:
        """Bytes of the server."""
        self._received += data
        if not self.serverVersion:
            line, newline, rest = bytes(self._received).partition(b"\r\n")
            if not newline:
                return
            self.serverVersion, self._received = line, bytearray(rest)
        while (payload := self.incoming.cut(self._received)) is not None:
            self.whatCame.append(payload[0])
            if not (self.exchanges and self._exchange(payload)):
                self.came.append(payload)

    def take(self) -> list[bytes]:
        """What came since the last time."""
        taken, self.came = self.came, []
        return taken

    # --- keys

    def _exchange(self, payload: bytes) -> bool:
        number = payload[0]
        if number == KEXINIT:
            self.serverKexInit = payload
            if not self.keyed:
                self.isStrict = STRICT in self.kexInit and b"kex-strict-s-v00@openssh.com" in payload
            if not self._asked:
                self.rekey()
            self.sendKeyExchangeInit()
        elif number == KEX_REPLY and self._secret is not None:
            self._agree(payload)
        elif number == NEWKEYS and self._keys is not None:
            self.incoming.use(self._keys(b"D")[:16], self._keys(b"B")[:12], self.isStrict)
            self.keyed += 1
            self._keys, self._asked = None, False
        else:
            return False
        return True

    def sendKeyExchangeInit(self) -> None:
        self._secret = X25519PrivateKey.generate()
        self.send(bytes((KEX_INIT,)) + string(self._public))

    @property
    def _public(self) -> bytes:
        assert self._secret is not None
        return self._secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def _agree(self, reply: bytes) -> None:
        assert self._secret is not None
        parts, at = [], 1
        for _ in range(3):
            (length,) = struct.unpack_from(">I", reply, at)
            parts.append(reply[at + 4 : at + 4 + length])
            at += 4 + length
        hostKey, public, _signature = parts
        shared = mpint(int.from_bytes(self._secret.exchange(X25519PublicKey.from_public_bytes(public)), "big"))
        said = (self.version, self.serverVersion, self.kexInit, self.serverKexInit, hostKey, self._public, public)
        exchangeHash = hashlib.sha256(b"".join(map(string, said)) + shared).digest()
        self.sessionId = self.sessionId or exchangeHash
        start = shared + exchangeHash

        def keys(letter: bytes) -> bytes:
            return hashlib.sha256(start + letter + self.sessionId).digest()

        self._secret, self._keys = None, keys
        self.send(bytes((NEWKEYS,)))
        self.outgoing.use(keys(b"C")[:16], keys(b"A")[:12], self.isStrict)
