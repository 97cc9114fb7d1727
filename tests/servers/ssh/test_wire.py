"""Tests of SSH's data types."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ssh.wire import (
    GATHERED_BYTES,
    Pieces,
    Reader,
    Truncated,
    boolean,
    names,
    string,
    uint32,
    uint64,
)


class ReaderTests(SynchronousTestCase):
    @given(st.binary(), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.booleans(), st.binary())
    def test_readsWhatWasWritten(self, text: bytes, short: int, long: int, flag: bool, rest: bytes) -> None:
        reader = Reader(string(text) + uint32(short) + uint64(long) + boolean(flag) + rest)
        read = (reader.string(), reader.uint32(), reader.uint64(), reader.boolean(), reader.rest())
        self.assertEqual(read, (text, short, long, flag, rest))

    @given(st.lists(st.text("abc@-", min_size=1).map(str.encode), min_size=0))
    def test_nameListsKeepTheirOrder(self, values: list[bytes]) -> None:
        self.assertEqual(Reader(names(values)).names(), values)

    @given(st.binary(max_size=40), st.lists(st.sampled_from(["byte", "uint32", "uint64", "string", "names", "view"])))
    def test_hostileBytesEndInTruncatedAndNothingElse(self, data: bytes, wanted: list[str]) -> None:
        reader = Reader(data)
        try:
            for name in wanted:
                getattr(reader, name)()
        except Truncated:
            return
        self.assertLessEqual(len(reader.rest()), len(data))

    def test_viewsAreNotCopied(self) -> None:
        data = string(b"data")
        view = Reader(data).view()
        self.assertIs(view.obj, data)
        self.assertEqual(view, b"data")


class PiecesTests(SynchronousTestCase):
    @given(st.lists(st.one_of(st.binary(max_size=9), st.just(bytes(600))), max_size=30), st.lists(st.integers(0, 700)))
    def test_whatIsTakenIsWhatCame(self, chunks: list[bytes], lengths: list[int]) -> None:
        pieces, whole = Pieces(), b"".join(chunks)
        for chunk in chunks:
            pieces.append(chunk)
        for length in lengths:
            self.assertEqual(len(pieces), len(whole))
            self.assertEqual(pieces.peek(length), whole[:length])
            if length > len(whole):
                self.assertRaises(Truncated, pieces.take, length)
            else:
                self.assertEqual(pieces.take(length), whole[:length])
                whole = whole[length:]
        pieces.clear()
        self.assertEqual((len(pieces), pieces.peek(1)), (0, b""))

    def test_nothingIsCopiedWherePiecesAreWhole(self) -> None:
        pieces, first, second = Pieces(), b"1" * 1000, b"2" * 1000
        pieces.append(first)
        pieces.append(second)
        self.assertEqual([pieces.take(length).obj for length in (400, 600)], [first] * 2)
        self.assertEqual(id(pieces.take(1).obj), id(second))

    def test_smallPiecesAreGathered(self) -> None:
        pieces = Pieces()
        for _ in range(20_000):
            pieces.append(b"x")
        self.assertLessEqual(len(pieces._more), 20_000 // GATHERED_BYTES + 1)
        self.assertEqual(pieces.take(20_000), b"x" * 20_000)
