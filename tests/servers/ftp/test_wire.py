"""Tests of :mod:`cftpcluster.servers.ftp.wire`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ftp.wire import LINE_LIMIT_BYTES, Lines, LineTooLong


def taken(lines: Lines) -> list[bytes | str]:
    found: list[bytes | str] = []
    while True:
        try:
            line = lines.next()
        except LineTooLong:
            found.append("too long")
            continue
        if line is None:
            return found
        found.append(line)


def fed(*pieces: bytes) -> list[bytes | str]:
    lines, found = Lines(), []
    for piece in pieces:
        lines.feed(piece)
        found += taken(lines)
    return found


class LinesTests(SynchronousTestCase):
    def test_linesEndWithLineFeed(self) -> None:
        self.assertEqual(fed(b"NOOP\r\nQUIT\nPWD"), [b"NOOP", b"QUIT"])

    def test_aLineMayComeInPieces(self) -> None:
        self.assertEqual(fed(b"NO", b"OP\r", b"\n"), [b"NOOP"])

    def test_onlyOneCarriageReturnBelongsToTheEnd(self) -> None:
        self.assertEqual(fed(b"a\rb\r\r\n"), [b"a\rb\r"])

    def test_whatUrgentDataLeavesOfTelnetIsNoPartOfACommand(self) -> None:
        self.assertEqual(fed(b"\xf4\xffabor\r\n", b"\xf2ABOR\r\n"), [b"abor", b"ABOR"])

    def test_aLongLineIsReportedOnceAndTheNextIsRead(self) -> None:
        self.assertEqual(fed(b"x" * LINE_LIMIT_BYTES + b"\r\nNOOP\r\n"), ["too long", b"NOOP"])

    def test_aLineThatNeverEndsIsNotKept(self) -> None:
        lines = Lines()
        for _ in range(100):
            lines.feed(b"x" * 10_000)
            self.assertIsNone(lines.next())
            self.assertLess(len(lines._buffer), 20_000)
        lines.feed(b"\nNOOP\n")
        self.assertEqual(taken(lines), ["too long", b"NOOP"])

    def test_theLongestPathFits(self) -> None:
        line = b"STOR /" + b"\xff\xff" * 4000
        self.assertEqual(fed(line + b"\r\n"), [b"STOR /" + b"\xff" * 4000])

    def test_clearForgetsEverything(self) -> None:
        lines = Lines()
        lines.feed(b"USER a\r\nUSER b\xff")
        lines.clear()
        lines.feed(b"NOOP\r\n")
        self.assertEqual(taken(lines), [b"NOOP"])

    @given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\xff", b"\xf4", b"\xf2", b"\xfd", b"xyz"])), st.data())
    def test_piecesMakeNoDifference(self, parts: list[bytes], data: st.DataObject) -> None:
        whole = b"".join(parts)
        cut = data.draw(st.integers(0, len(whole)))
        self.assertEqual(fed(whole), fed(whole[:cut], whole[cut:]))


class TelnetTests(SynchronousTestCase):
    def test_interruptAndDataMarkAreStripped(self) -> None:
        self.assertEqual(fed(b"\xff\xf4\xff\xf2ABOR\r\n"), [b"ABOR"])

    def test_doubledBytesAreOne(self) -> None:
        self.assertEqual(fed(b"CWD caf\xff\xff\r\n"), [b"CWD caf\xff"])

    def test_aLoneByteOfANameStays(self) -> None:
        self.assertEqual(fed(b"CWD \xffabc\r\n"), [b"CWD \xffabc"])

    def test_negotiationsAreRefused(self) -> None:
        lines = Lines()
        self.assertEqual(lines.feed(b"\xff\xfd\x06NOOP\r\n"), b"\xff\xfc\x06")
        self.assertEqual(lines.feed(b"\xff\xfb\x01"), b"\xff\xfe\x01")
        self.assertEqual(taken(lines), [b"NOOP"])

    def test_aNegotiationMayComeInPieces(self) -> None:
        lines = Lines()
        self.assertEqual([lines.feed(piece) for piece in (b"\xff", b"\xfd", b"\x06A\n")], [b"", b"", b"\xff\xfc\x06"])
        self.assertEqual(taken(lines), [b"A"])
