"""Tests of the arithmetic of key exchanges."""

from __future__ import annotations

import hashlib
import secrets

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.conch.ssh._kex import getDHGeneratorAndPrime
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ssh.arithmetic import KEY_EXCHANGES, Shared, mpint, prime
from cftpcluster.servers.ssh.wire import Reader


def done(name: bytes, value: bytes) -> Shared:
    work = KEY_EXCHANGES[name].work(value)
    while True:
        try:
            next(work)
        except StopIteration as finished:
            shared: Shared = finished.value
            return shared


class GroupTests(SynchronousTestCase):
    def test_theGroupsAreThoseOfTheRFC(self) -> None:
        self.assertEqual(prime(2048), getDHGeneratorAndPrime(b"diffie-hellman-group14-sha1")[1])
        for bits, digest in {
            4096: "4ee95187682bcb230ad26a95205f6920e84708f6251b3894329b09ec23919e33",
            8192: "39ab4feab950a3128fb71accb9fc3965d857012e081998a85996e3ea8b3c3bcf",
        }.items():
            self.assertEqual(hashlib.sha256(prime(bits).to_bytes(bits // 8, "big")).hexdigest(), digest)

    def test_bothSidesShareTheSecret(self) -> None:
        name = b"diffie-hellman-group16-sha512"
        own = secrets.randbits(512) | 1 << 512
        shared = done(name, pow(2, own, prime(4096)).to_bytes(513, "big"))
        theirs = int.from_bytes(Reader(shared.server).string(), "big")
        self.assertEqual(shared.secret, mpint(pow(theirs, own, prime(4096))))

    def test_valuesThatGiveTheSecretAwayAreRefused(self) -> None:
        for name, bits in {
            b"diffie-hellman-group14-sha256": 2048,
            b"diffie-hellman-group16-sha512": 4096,
            b"diffie-hellman-group18-sha512": 8192,
        }.items():
            for value in (0, 1, prime(bits) - 1, prime(bits), prime(bits) + 1, 1 << 9000):
                self.assertRaises(ValueError, done, name, value.to_bytes(1200, "big"))
            self.assertRaises(ValueError, done, name, b"\x80" + bytes(200))

    def test_heavyWorkComesInPieces(self) -> None:
        exchange = KEY_EXCHANGES[b"diffie-hellman-group18-sha512"]
        self.assertTrue(exchange.isHeavy)
        work = exchange.work(b"\3")
        next(work)
        self.assertRaises(StopIteration, next, work)


class CurveTests(SynchronousTestCase):
    def test_bothSidesShareTheSecret(self) -> None:
        for name, curve in {b"ecdh-sha2-nistp256": ec.SECP256R1(), b"ecdh-sha2-nistp521": ec.SECP521R1()}.items():
            own = ec.generate_private_key(curve)
            shared = done(name, own.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
            theirs = ec.EllipticCurvePublicKey.from_encoded_point(curve, Reader(shared.server).string())
            self.assertEqual(shared.secret, mpint(int.from_bytes(own.exchange(ec.ECDH(), theirs), "big")))

    def test_noPointsOfOtherForms(self) -> None:
        own = ec.generate_private_key(ec.SECP256R1()).public_key()
        compressed = own.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        for value in (b"", b"\0", compressed, b"\4" + bytes(64)):
            self.assertRaises(ValueError, done, b"ecdh-sha2-nistp256", value)

    def test_noneOfSmallOrder(self) -> None:
        for value in (b"", bytes(32), b"\1" + bytes(31), bytes(33)):
            self.assertRaises(ValueError, done, b"curve25519-sha256", value)


class NumberTests(SynchronousTestCase):
    def test_positiveNumbersStayPositive(self) -> None:
        self.assertEqual(mpint(0), bytes(4))
        self.assertEqual(mpint(0x80), b"\0\0\0\2\0\x80")
        self.assertEqual(mpint(0x7F), b"\0\0\0\1\x7f")
        self.assertEqual(mpint(0x9A378F9B2E332A7), bytes.fromhex("0000000809a378f9b2e332a7"))
