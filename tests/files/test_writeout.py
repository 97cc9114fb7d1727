"""Tests of :mod:`cftpcluster.files._writeout`."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.files._writeout import STRIDE_BYTES, completed, writeOut


class StrideTests(SynchronousTestCase):
    @given(st.lists(st.integers(1, 3 * STRIDE_BYTES), max_size=20))
    def test_eachStrideOfAFileIsWrittenOutOnce(self, lengths):
        offset, written = 0, []
        for length in lengths:
            begin, end = completed(offset, length)
            if begin < end:
                written.append((begin, end))
            offset += length
        edges = [0, *(end for _, end in written)]
        self.assertEqual([begin for begin, _ in written], edges[:-1])
        self.assertEqual(edges[-1], offset // STRIDE_BYTES * STRIDE_BYTES)

    def test_whatIsWrittenStays(self):
        path = self.mktemp()
        data = os.urandom(1024) * (STRIDE_BYTES // 1024)
        with open(path, "w+b", buffering=0) as file:
            file.write(data)
            writeOut(file.fileno(), 0, len(data))
            file.seek(0)
            self.assertEqual(file.read(), data)

    def test_whatCannotBeWrittenOutDoesNoHarm(self):
        reader, writer = os.pipe()
        for number in (reader, writer):
            self.addCleanup(os.close, number)
        self.assertIs(writeOut(writer, 0, STRIDE_BYTES), None)
