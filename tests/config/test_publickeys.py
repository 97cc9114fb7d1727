"""Tests of the options that lines of public keys may have."""

from __future__ import annotations

import base64
import datetime

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.publickeys import PublicKey

BLOB = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(32)
LINE = "ssh-ed25519 " + base64.b64encode(BLOB).decode()


class SourceTests(SynchronousTestCase):
    def admits(self, sources: str, address: str) -> bool:
        return not PublicKey.parse(f'from="{sources}" {LINE}').objection(address, 0)

    def test_addressesAndNetworks(self) -> None:
        self.assertTrue(self.admits("192.0.2.7", "192.0.2.7"))
        self.assertTrue(self.admits("192.0.2.7", "::ffff:192.0.2.7"))
        self.assertFalse(self.admits("192.0.2.7", "192.0.2.70"))
        self.assertTrue(self.admits("10.0.0.0/8, 2001:db8::/32", "2001:db8::1"))
        self.assertFalse(self.admits("10.0.0.0/8,2001:db8::/32", "2001:db9::1"))

    def test_patterns(self) -> None:
        self.assertTrue(self.admits("192.0.2.?", "192.0.2.7"))
        self.assertFalse(self.admits("192.0.2.?", "192.0.2.77"))
        self.assertTrue(self.admits("2001:DB8:*", "2001:db8:1::2"))
        self.assertTrue(self.admits("*", "198.51.100.1"))
        # a point is a point
        self.assertFalse(self.admits("192.0.2.*", "192.0.20.1"))

    def test_whoeverIsExcludedStaysOutInAnyOrder(self) -> None:
        for sources in ("!192.0.2.7,192.0.2.0/24", "192.0.2.0/24,!192.0.2.7"):
            self.assertFalse(self.admits(sources, "192.0.2.7"))
            self.assertTrue(self.admits(sources, "192.0.2.8"))
        self.assertFalse(self.admits("!192.0.2.7", "198.51.100.1"))

    def test_whatIsNoAddressComesFromNowhere(self) -> None:
        for address in ("", "unix", "partner.example"):
            self.assertFalse(self.admits("*", address))


class ExpiryTests(SynchronousTestCase):
    def test_timesAreUTC(self) -> None:
        for text, moment in {
            "20270131": (2027, 1, 31),
            "20270131Z": (2027, 1, 31),
            "202701312359": (2027, 1, 31, 23, 59),
            "20270131235958Z": (2027, 1, 31, 23, 59, 58),
        }.items():
            key = PublicKey.parse(f'expiry-time="{text}" {LINE}')
            end = datetime.datetime(*moment, tzinfo=datetime.UTC)  # type: ignore[misc,arg-type]
            self.assertEqual(key.expires, end)
            self.assertEqual(key.objection("192.0.2.7", end.timestamp() - 1), "")
            self.assertEqual(key.objection("192.0.2.7", end.timestamp()), "the key has expired")


class LineTests(SynchronousTestCase):
    def test_linesWithoutOptionsAreGoodAnywhereForever(self) -> None:
        key = PublicKey.parse(LINE + " alice@home")
        self.assertEqual((key.kind, key.blob), ("ssh-ed25519", BLOB))
        self.assertEqual(key.objection("", 1e12), "")

    def test_anOptionThatIsNotKeptIsNotPassedOver(self) -> None:
        for option in ('command="internal-sftp"', "cert-authority", 'environment="A=b"', "pty", "verify-required"):
            error = self.assertRaises(ValueError, PublicKey.parse, f"{option} {LINE}")
            self.assertIn("is not one that is kept here", str(error))
