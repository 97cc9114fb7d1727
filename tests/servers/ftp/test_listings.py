"""Tests of :mod:`cftpcluster.servers.ftp.listings`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ftp import listings
from cftpcluster.vocabulary import Kind, Stat

NOW = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC
DAY = 86400


class LongLineTests(SynchronousTestCase):
    def line(self, stat: Stat, name: str = "name") -> str:
        return listings.longLine(name, stat, NOW).decode()

    def test_aFile(self) -> None:
        self.assertEqual(
            self.line(Stat(Kind.file, size=12, modified=NOW, mode=0o640)),
            "-rw-r-----   1 ftp      ftp                12 Sep 21 14:13 name\r\n",
        )

    def test_aFolderAndOthersAreMarked(self) -> None:
        marks = [self.line(Stat(kind, modified=NOW))[0] for kind in (Kind.folder, Kind.link, Kind.other)]
        self.assertEqual(marks, ["d", "l", "p"])

    def test_anOldTimeIsShownWithItsYear(self) -> None:
        self.assertIn(" Sep 21 14:13 ", self.line(Stat(Kind.file, modified=NOW + 30)))
        self.assertIn(" Mar 30 14:13 ", self.line(Stat(Kind.file, modified=NOW - 175 * DAY)))
        self.assertIn(" Mar 20  2026 ", self.line(Stat(Kind.file, modified=NOW - 185 * DAY)))
        self.assertIn(" Sep 23  2026 ", self.line(Stat(Kind.file, modified=NOW + 2 * DAY)))

    @given(st.floats(allow_nan=False), st.integers(0, 2**63), st.binary(min_size=1))
    def test_everyEntryIsOneLine(self, modified: float, size: int, name: bytes) -> None:
        text = name.decode("utf-8", "surrogateescape")
        stat = Stat(Kind.file, size=size, modified=modified)
        for line in (
            listings.longLine(text, stat, NOW),
            listings.factsLine(text, stat, listings.FACTS),
            listings.nameLine(text),
        ):
            self.assertTrue(line.endswith(b"\r\n"))
            self.assertEqual((line.count(b"\r"), line.count(b"\n")), (1, 1))

    def test_namesThatAreNotTextKeepTheirBytes(self) -> None:
        name = b"caf\xe9".decode("utf-8", "surrogateescape")
        self.assertTrue(listings.longLine(name, Stat(Kind.file), NOW).endswith(b" caf\xe9\r\n"))


class FactsTests(SynchronousTestCase):
    def test_aFile(self) -> None:
        stat = Stat(Kind.file, size=5, modified=0.9, mode=0o640, identity="a;b")
        self.assertEqual(
            listings.factsLine("x y", stat, listings.FACTS),
            b"type=file;size=5;modify=19700101000000;perm=rwadf;unique=a-b;UNIX.mode=0640; x y\r\n",
        )

    def test_aFolderHasNoSize(self) -> None:
        facts = listings.facts(Stat(Kind.folder, mode=0o750), listings.FACTS)
        self.assertEqual(facts, "type=dir;modify=19700101000000;perm=elcmpdf;UNIX.mode=0750;")

    def test_onlyWantedFacts(self) -> None:
        self.assertEqual(listings.facts(Stat(Kind.file, size=5), ("size",)), "size=5;")


class TimeTests(SynchronousTestCase):
    def test_aTimeComesBack(self) -> None:
        self.assertEqual(listings.parseTime(listings.timeText(NOW)), NOW)

    def test_fractionsAreTaken(self) -> None:
        self.assertEqual(listings.parseTime("20260921141320.123"), NOW + 0.0)

    def test_whatIsNoTimeIsRefused(self) -> None:
        for text in ("", "2026", "20261321000000", "2026092114132x", "٢٠٢٦٠٩٢١١٤١٣٢٠", "20260921141320 "):
            self.assertRaises(ValueError, listings.parseTime, text)
