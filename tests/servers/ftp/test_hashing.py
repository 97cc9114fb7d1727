"""Tests of :mod:`cftpcluster.servers.ftp.hashing` and :mod:`.sums`."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.document import Limits
from cftpcluster.files.policy import Permitted
from cftpcluster.files.throttled import AllRates, SessionFlows, Throttled
from cftpcluster.servers.ftp.sums import HASHES, VERBS, Wanted, readings
from cftpcluster.vocabulary import Permission

from .support import Conversation

DATA = b"0123456789"
SHA256 = hashlib.sha256(DATA).hexdigest()


def digest(name: str, data: bytes = DATA) -> str:
    return f"{zlib.crc32(data):08x}" if name == "crc32" else hashlib.new(name, data).hexdigest()


class Case(SynchronousTestCase):
    permissions = frozenset(Permission)

    def setUp(self) -> None:
        self.client = Conversation()
        self.rates = AllRates(Clock(), lambda user: Limits())
        self.client.users.wrapped = self.wrapped
        self.client.login()
        self.client.put("/d", None)
        self.client.put("/d/a b", DATA)

    def wrapped(self, files: Any) -> Any:
        return Throttled(Permitted(files, self.permissions), SessionFlows(self.rates.of("alice")))


class HashTests(Case):
    def test_withoutMoreItIsSHA256(self) -> None:
        self.assertEqual(self.client.say("HASH d/a b"), f"213 SHA-256 0-10 {SHA256} d/a b\r\n")

    def test_eachAlgorithmCanBeChosen(self) -> None:
        for name, algorithm in HASHES.items():
            self.assertEqual(self.client.say(f"OPTS HASH {name.lower()}", "OPTS HASH"), f"200 {name}\r\n" * 2)
            self.assertEqual(self.client.say("HASH d/a b"), f"213 {name} 0-10 {digest(algorithm)} d/a b\r\n")
            self.assertIn(f"{name}*", next(line for line in self.client.say("FEAT").split("\r\n") if " HASH " in line))

    def test_anotherAlgorithmIsRefusedAndNothingChanges(self) -> None:
        self.assertEqual(self.client.codes("OPTS HASH WHIRLPOOL"), [501])
        self.assertIn("SHA-256", self.client.say("HASH d/a b"))

    def test_whatIsNoFileHasNone(self) -> None:
        for verb in ("HASH", *VERBS):
            ofFolder = 553 if verb == "HASH" else 550
            codes = self.client.codes(f"{verb} none", f"{verb} d", f"{verb} none 1 2")
            self.assertEqual(codes, [550, ofFolder, 550], verb)

    def test_theFileIsClosed(self) -> None:
        self.client.say("HASH d/a b", "XMD5 d/a b 99")
        self.assertEqual(self.client.codes("DELE d/a b", "RMD d"), [250, 250])


class VerbTests(Case):
    def test_eachVerbTellsItsChecksum(self) -> None:
        for verb, algorithm in VERBS.items():
            self.assertEqual(self.client.say(f"{verb} d/a b"), f"250 {digest(algorithm)}\r\n")
            self.assertIn(f" {verb}\r\n", self.client.say("FEAT"))

    def test_aPartOfAFile(self) -> None:
        for argument in ('"d/a b" 2 5', "d/a b 2 5", "d/a b, 2, 5", "d/a b;2;5"):
            self.assertEqual(self.client.say(f"XMD5 {argument}"), f"250 {digest('md5', b'234')}\r\n", argument)
        self.assertEqual(self.client.say("XCRC d/a b 4"), f"250 {digest('crc32', b'0123')}\r\n")

    def test_aPartThatIsNotThereIsRefused(self) -> None:
        self.assertEqual(self.client.codes("XMD5 d/a b 5 4", "XMD5 d/a b 0 11"), [550, 550])

    def test_aNameThatEndsWithNumbersIsMeant(self) -> None:
        self.client.put("/d/a b 1 2", b"other")
        self.assertEqual(self.client.say("XMD5 d/a b 1 2"), f"250 {digest('md5', b'other')}\r\n")


class PermissionTests(Case):
    permissions = frozenset({Permission.list, Permission.upload})

    def test_whoMayNotReadIsToldNoChecksum(self) -> None:
        for verb in ("HASH", *VERBS):
            self.assertEqual(self.client.codes(f"{verb} d/a b", f"{verb} none"), [550, 550], verb)


class ReadingTests(SynchronousTestCase):
    def test_quotesMayStandAroundTheName(self) -> None:
        self.assertEqual(readings('"a ""b"""')[-1], Wanted('a "b"'))
        self.assertEqual(readings('"a" 7')[-1], Wanted("a", 0, 7))
        self.assertEqual(list(readings('"a" x')), [Wanted('"a" x')])

    @given(st.text())
    def test_theNameAsItStandsIsTriedFirst(self, name: str) -> None:
        self.assertEqual(readings(name)[0], Wanted(name))
