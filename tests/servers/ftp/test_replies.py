"""Tests of :mod:`cftpcluster.servers.ftp.replies`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster import errors
from cftpcluster.servers.ftp.replies import Reply, quoted, refused


class ReplyTests(SynchronousTestCase):
    def test_oneLine(self) -> None:
        self.assertEqual(Reply.of(200, "OK").encode(), b"200 OK\r\n")

    def test_linesBetweenCannotBeTakenForTheLast(self) -> None:
        self.assertEqual(Reply.of(211, "a", "211 b", "c").encode(), b"211-a\r\n 211 b\r\n211 c\r\n")

    @given(st.lists(st.binary(), min_size=1))
    def test_noNameEndsALine(self, names: list[bytes]) -> None:
        lines = [name.decode("utf-8", "surrogateescape") for name in names]
        encoded = Reply.of(250, *lines).encode()
        self.assertEqual(encoded.count(b"\r\n"), len(lines))
        self.assertEqual((encoded.count(b"\r"), encoded.count(b"\n")), (len(lines), len(lines)))
        self.assertNotIn(b"\0", encoded)

    def test_namesThatAreNotTextKeepTheirBytes(self) -> None:
        name = b"caf\xe9".decode("utf-8", "surrogateescape")
        self.assertEqual(Reply.of(257, quoted(name)).encode(), b'257 "caf\xe9"\r\n')

    def test_bytesThatTelnetWouldReadAreDoubled(self) -> None:
        name = b"\xff".decode("utf-8", "surrogateescape")
        self.assertEqual(Reply.of(257, name).encode(), b"257 \xff\xff\r\n")

    def test_quotesAreDoubled(self) -> None:
        self.assertEqual(quoted('/a"b'), '"/a""b"')


class RefusedTests(SynchronousTestCase):
    def test_everyErrorOfTheFileSystemHasACode(self) -> None:
        found = {
            cls.__name__: refused(cls()).code
            for cls in vars(errors).values()
            if isinstance(cls, type) and issubclass(cls, errors.FileSystemError)
        }
        self.assertEqual(found.pop("OutOfSpace"), 452)
        self.assertEqual(found.pop("QuotaExceeded"), 552)
        self.assertEqual(found.pop("InvalidName"), 553)
        self.assertEqual(found.pop("Busy"), 450)
        self.assertEqual(found.pop("Unsupported"), 504)
        for name in ("StorageMissing", "StorageFailed", "Closed"):
            self.assertEqual(found.pop(name), 451, name)
        self.assertEqual(set(found.values()), {550}, found)
