"""Tests of how packets are sealed and opened. That others understand them is shown with real clients."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ssh.ciphers import (
    AUTHENTICATED,
    CIPHERS,
    MACS,
    Clear,
    Opener,
    Tampered,
    makeOpener,
    makeSealer,
)

SUITES = [(cipher, mac) for cipher in CIPHERS for mac in MACS if cipher not in AUTHENTICATED or mac == MACS[0]]


def keysFrom(seed: bytes) -> Callable[[bytes, int], bytes]:
    return lambda kind, size: hashlib.shake_256(seed + kind).digest(size)


def openPacket(opener: Opener, sequence: int, packet: bytes) -> bytes:
    length = opener.length(sequence, packet[: opener.headSize])
    if 4 + length + opener.overhead != len(packet):
        raise Tampered
    return opener.open(sequence, memoryview(packet)).tobytes()


class SuiteTests(SynchronousTestCase):
    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
    def test_whatIsSealedIsOpened(self, payloads: list[bytes], sequence: int) -> None:
        for cipher, mac in SUITES:
            sealer, opener = makeSealer(cipher, mac, keysFrom(b"k")), makeOpener(cipher, mac, keysFrom(b"k"))
            for at, payload in enumerate(payloads):
                number = (sequence + at) & 0xFFFFFFFF
                packet = b"".join(sealer.seal(number, [payload[:1], payload[1:]]))
                self.assertEqual(openPacket(opener, number, packet), payload, cipher)

    @settings(max_examples=40, deadline=None)
    @given(st.binary(min_size=1, max_size=100), st.integers(0), st.integers(1, 255))
    def test_aChangedByteIsNoticed(self, payload: bytes, where: int, change: int) -> None:
        for cipher, mac in SUITES:
            packet = bytearray(b"".join(makeSealer(cipher, mac, keysFrom(b"k")).seal(3, [payload])))
            packet[where % len(packet)] ^= change
            opener = makeOpener(cipher, mac, keysFrom(b"k"))
            self.assertRaises(Tampered, openPacket, opener, 3, bytes(packet))

    def test_aPacketOutOfTurnIsNoticed(self) -> None:
        for cipher, mac in SUITES:
            sealer, opener = makeSealer(cipher, mac, keysFrom(b"k")), makeOpener(cipher, mac, keysFrom(b"k"))
            sealer.seal(0, [b"first"])
            second = b"".join(sealer.seal(1, [b"second"]))
            self.assertRaises(Tampered, openPacket, opener, 0, second)

    def test_paddingFillsBlocksAndIsLongEnough(self) -> None:
        for size in range(1, 64):
            packet = b"".join(Clear().seal(0, [b"x" * size]))
            self.assertEqual(len(packet) % 8, 0)
            self.assertGreaterEqual(packet[4], 4)
            self.assertEqual(openPacket(Clear(), 0, packet), b"x" * size)

    def test_paddingThatLeavesNoPayloadIsRefused(self) -> None:
        for padding in (0, 3, 11, 12, 255):
            packet = b"\0\0\0\x0c" + bytes((padding,)) + bytes(11)
            self.assertRaises(Tampered, Clear().open, 0, memoryview(packet))

    def test_nothingWeakIsOffered(self) -> None:
        offered = b",".join((*CIPHERS, *MACS))
        for weak in (b"cbc", b"3des", b"arcfour", b"sha1", b"md5", b"none", b"umac-64", b"-96"):
            self.assertNotIn(weak, offered)
