"""Tests of the seal on the document's secrets."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.cluster.sealing import CannotOpen, Sealer, newClusterKey
from cftpcluster.config.document import Secret
from cftpcluster.errors import ClusterError


class SealerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.key = newClusterKey()
        self.sealer = Sealer(self.key)

    def test_opensWhatItSealed(self) -> None:
        for plain in (b"", b"x", b"a key" * 1000):
            secret = self.sealer.seal(plain)
            self.assertIsInstance(secret, Secret)
            self.assertEqual(self.sealer.open(secret), plain)

    def test_sealsOfTheSameBytesDiffer(self) -> None:
        self.assertNotEqual(self.sealer.seal(b"same").sealed, self.sealer.seal(b"same").sealed)

    def test_sealHidesThePlainBytes(self) -> None:
        self.assertNotIn(b"top secret", self.sealer.seal(b"top secret").sealed)

    def test_anotherKeyCannotOpen(self) -> None:
        error = self.assertRaises(CannotOpen, Sealer(newClusterKey()).open, self.sealer.seal(b"x"))
        self.assertIn("which this node does not have", str(error))
        self.assertIsInstance(error, ClusterError)

    def test_everyAlteredByteIsFound(self) -> None:
        sealed = self.sealer.seal(b"secret").sealed
        for index in range(len(sealed)):
            altered = sealed[:index] + bytes([sealed[index] ^ 1]) + sealed[index + 1 :]
            self.assertRaises(CannotOpen, self.sealer.open, Secret(altered))

    def test_everyTruncationIsFound(self) -> None:
        sealed = self.sealer.seal(b"secret").sealed
        for length in range(len(sealed)):
            self.assertRaises(CannotOpen, self.sealer.open, Secret(sealed[:length]))

    def test_newerFormatIsNamed(self) -> None:
        error = self.assertRaises(CannotOpen, self.sealer.open, Secret(b"\x07" + self.sealer.seal(b"x").sealed[1:]))
        self.assertIn("format 7", str(error))

    def test_newestKeySealsAndEveryKeyOpens(self) -> None:
        newest = newClusterKey()
        both = Sealer(newest, self.key)
        self.assertEqual(both.open(self.sealer.seal(b"old")), b"old")
        self.assertEqual(Sealer(newest).open(both.seal(b"new")), b"new")
        self.assertRaises(CannotOpen, self.sealer.open, both.seal(b"new"))
        self.assertEqual(both.keys, (newest, self.key))

    def test_keysOfAnotherLengthAreRefused(self) -> None:
        self.assertRaises(ValueError, Sealer, b"short")
        self.assertRaises(ValueError, Sealer, self.key, b"")

    def test_reprShowsNoKey(self) -> None:
        shown = repr(self.sealer)
        self.assertNotIn(repr(self.key), shown)
        self.assertEqual(shown, "Sealer()")

    def test_newKeysDiffer(self) -> None:
        self.assertEqual(len(newClusterKey()), 32)
        self.assertNotEqual(newClusterKey(), newClusterKey())
