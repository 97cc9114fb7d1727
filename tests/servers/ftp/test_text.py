"""Tests of :mod:`cftpcluster.servers.ftp.text`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ftp.text import FromWire, ToWire

pieces = st.lists(st.sampled_from([b"\r", b"\n", b"a", b"\r\n", b"", b"line"]), max_size=12)


class TextTests(SynchronousTestCase):
    def test_linesGetTheEndsOfTheWire(self) -> None:
        self.assertEqual(ToWire().convert(b"a\nb\n"), b"a\r\nb\r\n")

    def test_linesThatEndSoAlreadyStay(self) -> None:
        self.assertEqual(ToWire().convert(b"a\r\nb"), b"a\r\nb")

    def test_linesLoseTheEndsOfTheWire(self) -> None:
        self.assertEqual(FromWire().convert(b"a\r\nb\r\n"), b"a\nb\n")

    def test_otherCarriageReturnsStay(self) -> None:
        lines = FromWire()
        self.assertEqual(lines.convert(b"a\rb\r") + lines.finish(), b"a\rb\r")

    @given(pieces)
    def test_toTheWirePiecesMakeNoDifference(self, parts: list[bytes]) -> None:
        lines = ToWire()
        self.assertEqual(b"".join(lines.convert(part) for part in parts), ToWire().convert(b"".join(parts)))

    @given(pieces)
    def test_fromTheWirePiecesMakeNoDifference(self, parts: list[bytes]) -> None:
        lines, whole = FromWire(), FromWire()
        self.assertEqual(
            b"".join([*(lines.convert(part) for part in parts), lines.finish()]),
            whole.convert(b"".join(parts)) + whole.finish(),
        )

    @given(pieces)
    def test_aTextComesBackAsItWas(self, parts: list[bytes]) -> None:
        text = b"".join(parts).replace(b"\r", b"")
        lines = FromWire()
        self.assertEqual(lines.convert(ToWire().convert(text)) + lines.finish(), text)
