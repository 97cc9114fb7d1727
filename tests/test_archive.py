"""A file that only its passphrase opens, whole or not at all."""

from __future__ import annotations

import os
import random

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.archive import NotAnArchive, openArchive, sealArchive
from cftpcluster.errors import ClusterError, NewerFormat

CHEAP = {"n": 2, "r": 1, "p": 1}
PASSPHRASE = b"correct horse"


def sealed(plain: bytes) -> bytes:
    return sealArchive(plain, PASSPHRASE, os.urandom, CHEAP)


class ArchiveTests(SynchronousTestCase):
    def test_opensAsItWas(self) -> None:
        for size in (0, 1, 65535, 65536, 65537, 200_000):
            plain = os.urandom(size)
            self.assertEqual(openArchive(sealed(plain), PASSPHRASE), plain, size)

    def test_costIsWhatItIsSaidToBe(self) -> None:
        data = sealArchive(b"x", PASSPHRASE, os.urandom)
        self.assertIn(b'"n":131072', data.partition(b"\n")[0])
        self.assertEqual(openArchive(data, PASSPHRASE), b"x")

    def test_nothingOfItIsInTheClear(self) -> None:
        self.assertNotIn(b"planted", sealed(b"planted secret" * 100))
        self.assertNotEqual(sealed(b"x"), sealed(b"x"))

    def test_wrongPassphraseIsNamed(self) -> None:
        error = self.assertRaises(NotAnArchive, openArchive, sealed(b"x"), b"wrong horse")
        self.assertIn("the passphrase is wrong", str(error))

    def test_shortPassphraseIsRefused(self) -> None:
        self.assertRaises(ClusterError, sealArchive, b"x", b"short", os.urandom, CHEAP)

    def test_everyFlippedBitIsNoticed(self) -> None:
        data = sealed(os.urandom(150_000))
        chance = random.Random(26)
        head = data.index(b"\n", data.index(b"\n") + 1)
        places = [*range(head + 2), *(chance.randrange(head, len(data)) for _ in range(200))]
        for place in places:
            damaged = bytearray(data)
            damaged[place] ^= 1 << chance.randrange(8)
            self.assertRaises(ClusterError, openArchive, bytes(damaged), PASSPHRASE)

    def test_everyCutIsNoticed(self) -> None:
        data = sealed(os.urandom(150_000))
        head = len(data) - 150_000 - 3 * 16
        pieces = [head + number * (65536 + 16) for number in range(3)]
        for length in (0, 5, 30, head - 1, head, *pieces, *(piece + 1 for piece in pieces), len(data) - 1):
            self.assertRaises(ClusterError, openArchive, data[:length], PASSPHRASE)
        self.assertRaises(ClusterError, openArchive, data + b"x", PASSPHRASE)

    def test_movedRepeatedAndForeignPiecesAreNoticed(self) -> None:
        data, other = sealed(bytes(3 * 65536)), sealed(bytes(3 * 65536))
        size = 65536 + 16
        head = len(data) - 3 * size
        first, second, third = (data[head + number * size : head + (number + 1) * size] for number in range(3))
        for pieces in ((second, first, third), (first, first, third), (first, third), (first, second), (third,)):
            self.assertRaises(NotAnArchive, openArchive, data[:head] + b"".join(pieces), PASSPHRASE)
        foreign = other[head : head + size]
        self.assertRaises(NotAnArchive, openArchive, data[:head] + foreign + second + third, PASSPHRASE)

    def test_whatIsNoneIsSaidToBeNone(self) -> None:
        self.assertIn("no backup", str(self.assertRaises(NotAnArchive, openArchive, b"PK\3\4", PASSPHRASE)))

    def test_newerFormatIsNamed(self) -> None:
        data = sealed(b"x").replace(b"backup 1 ", b"backup 2 ", 1)
        self.assertIn("format 2", str(self.assertRaises(NewerFormat, openArchive, data, PASSPHRASE)))

    def test_fileCannotAskForAllMemory(self) -> None:
        data = sealed(b"x").replace(b'"n":2,', b'"n":1099511627776,', 1)
        self.assertRaises(NotAnArchive, openArchive, data, PASSPHRASE)
