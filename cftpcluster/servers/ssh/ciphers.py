"""How packets are sealed and opened (RFC 4253, section 6; RFC 4344; RFC 5647; RFC 6668; OpenSSH's PROTOCOL).

A sealer or opener belongs to one direction and one key exchange. It knows packets and sequence numbers, no messages.
Encrypt-then-MAC and ChaCha20-Poly1305 are safe only together with strict key exchange, which the transport sees to.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from attrs import define, field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.poly1305 import Poly1305

from .wire import Buffer, uint32

AUTHENTICATED = (b"aes128-gcm@openssh.com", b"aes256-gcm@openssh.com", b"chacha20-poly1305@openssh.com")
"""Ciphers that need no MAC of their own; whatever MAC is agreed on beside them is not used."""

CIPHERS = (
    b"aes128-gcm@openssh.com",
    b"aes256-gcm@openssh.com",
    b"chacha20-poly1305@openssh.com",
    b"aes128-ctr",
    b"aes192-ctr",
    b"aes256-ctr",
)

MACS = (
    b"hmac-sha2-256-etm@openssh.com",
    b"hmac-sha2-512-etm@openssh.com",
    b"hmac-sha2-256",
    b"hmac-sha2-512",
)


class Tampered(Exception):
    """A packet does not prove itself."""


class Sealer(Protocol):
    """Makes packets of payloads."""

    def seal(self, sequence: int, parts: Sequence[Buffer]) -> Sequence[Buffer]:
        """The packet whose payload is ``parts`` joined, as it goes over the wire: in parts again."""


class Opener(Protocol):
    """Makes payloads of packets.

    :ivar headSize: how many bytes of a packet tell its length.
    :ivar overhead: how many bytes a packet is longer than its length field and what this counts.
    """

    headSize: int
    overhead: int

    def length(self, sequence: int, head: bytes) -> int:
        """What the length field says; called once for each packet, before :meth:`open`. Not proven yet."""

    def open(self, sequence: int, packet: memoryview) -> memoryview:
        """The payload of a whole packet; ``Tampered`` when it does not prove itself."""


Keys = Callable[[bytes, int], bytes]
"""The first bytes of one direction's key material: of ``b"iv"``, ``b"key"`` or ``b"mac"``, so many."""


def makeSealer(cipher: bytes, mac: bytes, keys: Keys) -> Sealer:
    """The sealer of the agreed algorithms."""
    return _suite(cipher, mac, keys, sealing=True)


def makeOpener(cipher: bytes, mac: bytes, keys: Keys) -> Opener:
    """The opener of the agreed algorithms."""
    return _suite(cipher, mac, keys, sealing=False)


def _frame(parts: Sequence[Buffer], block: int, uncounted: int) -> tuple[int, list[Buffer]]:
    """Padding length, payload and padding; with their length. ``uncounted`` bytes before them fill blocks too."""
    size = 1 + sum(map(len, parts))
    padding = block - (uncounted + size) % block
    if padding < 4:
        padding += block
    return size + padding, [bytes((padding,)), *parts, os.urandom(padding)]


def _payload(plain: Buffer) -> memoryview:
    """What is between the padding length and the padding."""
    view = memoryview(plain)
    end = len(view) - view[0]
    if view[0] < 4 or end < 2:
        raise Tampered("padding")
    return view[1:end]


@frozen
class Clear:
    """Before the first key exchange."""

    headSize = 4
    overhead = 0

    def seal(self, sequence: int, parts: Sequence[Buffer]) -> Sequence[Buffer]:
        size, framed = _frame(parts, 8, 4)
        return [uint32(size), *framed]

    def length(self, sequence: int, head: bytes) -> int:
        return int.from_bytes(head, "big")

    def open(self, sequence: int, packet: memoryview) -> memoryview:
        if len(packet) % 8:
            raise Tampered("length")
        return _payload(packet[4:])


@define(eq=False)
class _Galois:
    """AES in Galois/Counter mode; the length is authenticated, not encrypted."""

    _key: AESGCM
    _fixed: bytes
    _counter: int
    headSize = 4
    overhead = 16

    @classmethod
    def fromKeys(cls, keys: Keys, keySize: int) -> _Galois:
        initial = keys(b"iv", 12)
        return cls(AESGCM(keys(b"key", keySize)), initial[:4], int.from_bytes(initial[4:], "big"))

    def _nonce(self) -> bytes:
        nonce = self._fixed + self._counter.to_bytes(8, "big")
        self._counter = (self._counter + 1) & 0xFFFFFFFFFFFFFFFF
        return nonce

    def seal(self, sequence: int, parts: Sequence[Buffer]) -> Sequence[Buffer]:
        size, framed = _frame(parts, 16, 0)
        head = uint32(size)
        return head, self._key.encrypt(self._nonce(), b"".join(framed), head)

    def length(self, sequence: int, head: bytes) -> int:
        return int.from_bytes(head, "big")

    def open(self, sequence: int, packet: memoryview) -> memoryview:
        if (len(packet) - 20) % 16:
            raise Tampered("length")
        try:
            return _payload(self._key.decrypt(self._nonce(), packet[4:], packet[:4]))
        except InvalidTag:
            raise Tampered("tag") from None


@define(eq=False)
class _ChaCha:
    """ChaCha20 and Poly1305 as OpenSSH combines them: the length is encrypted with a key of its own.

    The first block of a packet's key stream is the key of its tag, the following ones encrypt it.
    """

    _main: CipherContext
    _head: CipherContext
    headSize = 4
    overhead = 16

    @classmethod
    def fromKeys(cls, keys: Keys) -> _ChaCha:
        both = keys(b"key", 64)
        main, head = (
            Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor() for key in (both[:32], both[32:])
        )
        return cls(main, head)

    def _tagKey(self, sequence: int) -> bytes:
        # what is called nonce here is the number of the block, and then the nonce
        self._main.reset_nonce(bytes(8) + sequence.to_bytes(8, "big"))
        return self._main.update(bytes(64))[:32]

    def _cryptHead(self, sequence: int, head: bytes) -> bytes:
        self._head.reset_nonce(bytes(8) + sequence.to_bytes(8, "big"))
        return self._head.update(head)

    def seal(self, sequence: int, parts: Sequence[Buffer]) -> Sequence[Buffer]:
        size, framed = _frame(parts, 8, 0)
        tagKey = self._tagKey(sequence)
        head, sealed = self._cryptHead(sequence, uint32(size)), self._main.update(b"".join(framed))
        tag = Poly1305(tagKey)
        tag.update(head)
        tag.update(sealed)
        return head, sealed, tag.finalize()

    def length(self, sequence: int, head: bytes) -> int:
        return int.from_bytes(self._cryptHead(sequence, head), "big")

    def open(self, sequence: int, packet: memoryview) -> memoryview:
        if (len(packet) - 20) % 8:
            raise Tampered("length")
        if not hmac.compare_digest(Poly1305.generate_tag(self._tagKey(sequence), packet[:-16]), packet[-16:]):
            raise Tampered("tag")
        return _payload(self._main.update(packet[4:-16]))


@frozen
class _HMAC:
    _begun: hmac.HMAC
    size: int

    @classmethod
    def fromKeys(cls, name: bytes, keys: Keys) -> _HMAC:
        digest, size = ("sha512", 64) if b"512" in name else ("sha256", 32)
        return cls(hmac.new(keys(b"mac", size), digestmod=digest), size)

    def of(self, sequence: int, *parts: Buffer) -> bytes:
        mac = self._begun.copy()
        mac.update(uint32(sequence))
        for part in parts:
            mac.update(part)
        return mac.digest()


@define(eq=False)
class _Counter:
    """AES in counter mode, its MAC over what was encrypted."""

    _stream: Callable[[Buffer], bytes]
    _mac: _HMAC
    headSize = 16
    overhead: int = field(init=False)
    _first: bytes = field(default=b"", init=False)

    def __attrs_post_init__(self) -> None:
        self.overhead = self._mac.size

    def seal(self, sequence: int, parts: Sequence[Buffer]) -> Sequence[Buffer]:
        size, framed = _frame(parts, 16, 4)
        plain = b"".join([uint32(size), *framed])
        return self._stream(plain), self._mac.of(sequence, plain)

    def length(self, sequence: int, head: bytes) -> int:
        self._first = self._stream(head)
        return int.from_bytes(self._first[:4], "big")

    def open(self, sequence: int, packet: memoryview) -> memoryview:
        size = self._mac.size
        if (len(packet) - size) % 16:
            raise Tampered("length")
        plain = self._first + self._stream(packet[16:-size])
        if not hmac.compare_digest(self._mac.of(sequence, plain), packet[-size:]):
            raise Tampered("MAC")
        return _payload(memoryview(plain)[4:])


@define(eq=False)
class _CounterThenMAC:
    """AES in counter mode, its MAC over the encrypted packet; the length is not encrypted."""

    _stream: Callable[[Buffer], bytes]
    _mac: _HMAC
    headSize = 4
    overhead: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.overhead = self._mac.size

    def seal(self, sequence: int, parts: Sequence[Buffer]) -> Sequence[Buffer]:
        size, framed = _frame(parts, 16, 0)
        head, sealed = uint32(size), self._stream(b"".join(framed))
        return head, sealed, self._mac.of(sequence, head, sealed)

    def length(self, sequence: int, head: bytes) -> int:
        return int.from_bytes(head, "big")

    def open(self, sequence: int, packet: memoryview) -> memoryview:
        size = self._mac.size
        if (len(packet) - 4 - size) % 16:
            raise Tampered("length")
        if not hmac.compare_digest(self._mac.of(sequence, packet[:-size]), packet[-size:]):
            raise Tampered("MAC")
        return _payload(self._stream(packet[4:-size]))


_KEY_BYTES: Mapping[bytes, int] = {
    b"aes128-gcm@openssh.com": 16,
    b"aes256-gcm@openssh.com": 32,
    b"aes128-ctr": 16,
    b"aes192-ctr": 24,
    b"aes256-ctr": 32,
}


def _suite(cipher: bytes, mac: bytes, keys: Keys, sealing: bool) -> _Galois | _ChaCha | _Counter | _CounterThenMAC:
    if cipher == b"chacha20-poly1305@openssh.com":
        return _ChaCha.fromKeys(keys)
    if cipher in AUTHENTICATED:
        return _Galois.fromKeys(keys, _KEY_BYTES[cipher])
    aes = Cipher(algorithms.AES(keys(b"key", _KEY_BYTES[cipher])), modes.CTR(keys(b"iv", 16)))
    stream = (aes.encryptor() if sealing else aes.decryptor()).update
    kind = _CounterThenMAC if mac.endswith(b"-etm@openssh.com") else _Counter
    return kind(stream, _HMAC.fromKeys(mac, keys))
