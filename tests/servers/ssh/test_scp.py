"""Tests of SCP: what is stored and sent, what is refused, and what becomes of broken transfers."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.document import Limits
from cftpcluster.errors import FileSystemError, OutOfSpace, QuotaExceeded, StorageFailed
from cftpcluster.files.wrappers import FileSystemWrapper, FileWrapper
from cftpcluster.interfaces import ILinks
from cftpcluster.servers.ssh.records import LONGEST_LINE
from cftpcluster.servers.ssh.standard import UNSENT_LIMIT_BYTES
from cftpcluster.vocabulary import Attributes, OpenMode, Permission

from .programs import FakeChannel, Running, Shelf

OK = b"\0"


class FailingFile(FileWrapper):
    """Fails from some place on."""

    def __init__(self, inner: Any, error: FileSystemError, afterBytes: int) -> None:
        self.inner, self.error, self.afterBytes = inner, error, afterBytes

    def write(self, offset: int, data: Any) -> Deferred[None]:
        return self.inner.write(offset, data) if offset + len(data) <= self.afterBytes else fail(self.error)

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        return self.inner.read(offset, length) if offset < self.afterBytes else fail(self.error)


class FailingFiles(FileSystemWrapper):
    """Whose files fail from some place on."""

    def __init__(self, inner: Any, error: FileSystemError, afterBytes: int) -> None:
        self.inner, self.error, self.afterBytes = inner, error, afterBytes

    def open(self, path: Any, mode: OpenMode) -> Deferred[Any]:
        return self.inner.open(path, mode).addCallback(FailingFile, self.error, self.afterBytes)


class SCPTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.shelf = Shelf()

    def sink(self, command: bytes, files: Any = None) -> Running:
        """A program that waits for uploads."""
        running = self.shelf.run(command, files)
        self.assertEqual(running.taken(), OK)
        return running

    def assertComplaint(self, answer: bytes, text: bytes) -> None:
        self.assertEqual(answer, b"\1scp: " + text + b"\n")


class UploadTests(SCPTestCase):
    def test_aFileUnderItsName(self) -> None:
        running = self.sink(b"scp -t /new")
        self.assertEqual(running.feed(b"C0644 5 ignored\n"), OK)
        self.assertEqual(running.feed(b"hello"), b"")
        self.assertIs(self.shelf.get("/new"), None)
        self.assertEqual(running.feed(OK), OK)
        self.assertEqual(self.shelf.get("/new"), b"hello")
        self.assertEqual(running.end(), 0)
        self.assertEqual(running.channel.consumedBytes, running.fedBytes)

    def test_filesIntoAFolder(self) -> None:
        self.shelf.put("/folder/old")
        running = self.sink(b"scp -d -t /folder")
        for name, data in ((b"a", b""), (b"b c", b"xyz"), ("é".encode(), bytes(600_000)), (b"\xff*", b"1")):
            self.assertEqual(running.feed(b"C0644 %d %s\n" % (len(data), name)), OK)
            self.assertEqual(running.feed(data + OK), OK)
            self.assertEqual(self.shelf.get("/folder/" + name.decode("utf-8", "surrogateescape")), data)
        self.assertEqual(running.end(), 0)

    def test_everythingAtOnceAndInTinyPieces(self) -> None:
        stream = b"T1 0 2 0\nC0600 3 a\nabc\0D0700 0 d\nC0644 0 b\n\0E\n"
        for pieceBytes in (1, 2, 5, 1000):
            shelf = self.shelf = Shelf()
            running = self.sink(b"scp -r -p -t .")
            self.assertEqual(running.feed(stream, pieceBytes), OK * 7)
            self.assertEqual(running.end(), 0)
            self.assertEqual((shelf.get("/a"), shelf.get("/d/b"), shelf.names()), (b"abc", b"", ["a", "d"]))

    def test_timesAndModes(self) -> None:
        running = self.sink(b"scp -rpt /")
        running.feed(b"T1234567890 500000 1234567891 0\nD0711 0 folder\n")
        running.feed(b"T1000000000 0 1000000001 0\nC0640 1 file\nx\0")
        self.assertEqual(running.feed(b"E\n"), OK)
        file, folder = self.shelf.stat("/folder/file"), self.shelf.stat("/folder")
        self.assertEqual((file.modified, file.accessed, file.mode), (1e9, 1e9 + 1, 0o640))
        self.assertEqual((folder.modified, folder.mode), (1234567890.5, 0o711))

    def test_withoutPModesAreTheServersChoice(self) -> None:
        plain, told = self.shelf, self.sink(b"scp -t /")
        plain.put("/plain")
        told.feed(b"C0777 0 told\n\0")
        self.assertEqual(plain.stat("/told").mode, plain.stat("/plain").mode)

    def test_timesAreForOneFile(self) -> None:
        running = self.sink(b"scp -pt /")
        running.feed(b"T1000 0 1000 0\nC0640 0 a\n\0C0640 0 b\n\0")
        self.assertEqual(self.shelf.stat("/a").modified, 1000)
        self.assertEqual(self.shelf.stat("/b").modified, self.shelf.clock.seconds())

    def test_foldersWithinFolders(self) -> None:
        running = self.sink(b"scp -r -t /new")
        running.feed(b"D0755 0 name\nD0755 0 inner\nC0644 1 f\nx\0E\nC0644 1 g\ny\0E\n")
        self.assertEqual((self.shelf.get("/new/inner/f"), self.shelf.get("/new/g")), (b"x", b"y"))
        running = self.sink(b"scp -r -t /new")
        running.feed(b"D0755 0 inner\nC0644 1 f\nz\0E\n")
        self.assertEqual(self.shelf.get("/new/inner/f"), b"z")

    def test_existingFilesAreReplacedAtOnce(self) -> None:
        self.shelf.put("/file", b"old contents")
        running = self.sink(b"scp -t /file")
        running.feed(b"C0644 3 x\nne")
        self.assertEqual(self.shelf.get("/file"), b"old contents")
        running.feed(b"w\0")
        self.assertEqual(self.shelf.get("/file"), b"new")

    def test_theEndOfTheStreamIsAsGoodAsItsNUL(self) -> None:
        """libssh2 sends none."""
        running = self.sink(b"scp -pt '/file'")
        running.feed(b"C0644 3 file\nabc")
        self.assertIs(self.shelf.get("/file"), None)
        self.assertEqual(running.end(), 0)
        self.assertEqual(self.shelf.get("/file"), b"abc")


class UploadTargetTests(SCPTestCase):
    def refusal(self, command: bytes) -> bytes:
        running = self.shelf.run(command)
        self.assertEqual(running.channel.exitStatus, 1)
        return running.taken()

    def test_theTargetMustBeAFolder(self) -> None:
        self.shelf.put("/file")
        self.assertComplaint(self.refusal(b"scp -d -t /file"), b"/file: Not a directory")
        self.assertComplaint(self.refusal(b"scp -d -t /missing"), b"/missing: No such file or directory")

    def test_onlyOneTarget(self) -> None:
        self.assertComplaint(self.refusal(b"scp -t a b"), b"ambiguous target")

    def test_aSlashMeansAFolder(self) -> None:
        running = self.sink(b"scp -t /missing/")
        self.assertComplaint(running.feed(b"C0644 0 a\n"), b"/missing/: Not a directory")
        self.assertEqual(running.end(), 1)

    def test_aFolderOverAFile(self) -> None:
        self.shelf.put("/file")
        running = self.sink(b"scp -r -t /file")
        self.assertComplaint(running.feed(b"D0755 0 d\n"), b"/file: Not a directory")

    def test_whoMayNotLookMayUpload(self) -> None:
        self.shelf.put("/box/old")
        files = self.shelf.session(Permission.upload, Permission.mkdir)
        for command in (b"scp -t /box", b"scp -d -t /box", b"scp -t /box/new"):
            running = self.sink(command, files)
            self.assertEqual(running.feed(b"C0644 2 new\n"), OK)
            self.assertEqual(running.feed(b"hi\0"), OK)
            self.assertEqual(self.shelf.get("/box/new"), b"hi")
            self.shelf.files.remove(("box", "new"))
        running = self.sink(b"scp -r -t /box", files)
        self.assertEqual(running.feed(b"D0755 0 d\nC0644 0 f\n\0E\n"), OK * 4)
        running = self.sink(b"scp -r -t /box", files)
        self.assertEqual(running.feed(b"D0755 0 d\nC0644 0 g\n\0E\n"), OK * 4)
        self.assertEqual(self.shelf.names("/box/d"), ["f", "g"])

    def test_whatMayNotBeReplaced(self) -> None:
        self.shelf.put("/file", b"old")
        running = self.sink(b"scp -t /", self.shelf.session(Permission.list, Permission.upload))
        self.assertComplaint(running.feed(b"C0644 3 file\n"), b"/file: Permission denied")
        self.assertEqual(running.feed(b"C0644 3 other\nnew\0"), OK * 2)
        self.assertEqual((self.shelf.get("/file"), self.shelf.get("/other")), (b"old", b"new"))
        self.assertEqual(running.end(), 1)

    def test_whatOneUploadedMayBeGivenItsTimes(self) -> None:
        running = self.sink(b"scp -rpt /", self.shelf.session(Permission.upload, Permission.mkdir, Permission.list))
        self.assertEqual(running.feed(b"T7 0 7 0\nD0755 0 d\nT7 0 7 0\nC0600 0 f\n\0E\n"), OK * 6)
        self.assertEqual(self.shelf.stat("/d/f").modified, 7)
        self.assertEqual(running.end(), 0)


class PermissionTests(SCPTestCase):
    """What is served needs the same rights as by every other protocol."""

    OPERATIONS = (
        ({Permission.upload}, b"scp -t /", b"C0644 1 new\nx\0"),
        ({Permission.upload, Permission.overwrite}, b"scp -t /", b"C0644 1 old\nx\0"),
        ({Permission.mkdir}, b"scp -r -t /", b"D0755 0 folder\nE\n"),
        ({Permission.download}, b"scp -f /old", OK * 3),
        ({Permission.download, Permission.list}, b"scp -r -f /some", OK * 10),
        ({Permission.download}, b"md5sum /old", b""),
        ({Permission.list}, b"cd /some", b""),
    )

    def test_whatEachOperationNeeds(self) -> None:
        some = [set(each) for size in range(3) for each in combinations(Permission, size)]
        rights = [*some, *({*Permission} - {each} for each in Permission), {*Permission}]
        for (needed, command, stream), granted in product(self.OPERATIONS, rights):
            self.shelf = Shelf()
            self.shelf.put("/old", b"old")
            self.shelf.put("/some/file", b"file")
            running = self.shelf.run(command, self.shelf.session(*granted))
            running.feed(stream)
            self.assertEqual(running.end(), 0 if needed <= granted else 1, (command, granted))
            if not needed <= granted:
                self.assertEqual((self.shelf.names(), self.shelf.get("/old")), (["old", "some"], b"old"))


class HostileUploadTests(SCPTestCase):
    def test_namesThatLeadElsewhere(self) -> None:
        for name in (b"..", b".", b"", b"../x", b"/etc/x", b"a/b", b"a\0b"):
            for record in (b"C0644 1 %s\nx\0", b"D0755 0 %s\n"):
                running = self.sink(b"scp -r -t /")
                self.assertComplaint(running.feed(record % name)[:100], b"error: unexpected filename")
                self.assertEqual(running.channel.exitStatus, 1)
        self.assertEqual(self.shelf.names(), [])

    def test_namesThatNoFileMayHave(self) -> None:
        running = self.sink(b"scp -r -t /")
        for name in (b"a\rb", b"\x1b[2J", b"a\x7f", "a\x85".encode(), b".cftpcluster-part-x", b"x" * 256):
            answer = running.feed(b"C0644 1 %s\n" % name)
            self.assertTrue(answer.startswith(b"\1scp: ") and answer.endswith(b"\n"), answer)
            self.assertNotIn(name, answer)
        self.assertEqual(running.feed(b"C0644 1 good\nx\0"), OK * 2)
        self.assertEqual((self.shelf.names(), running.end()), (["good"], 1))

    def test_linesThatMeanNothing(self) -> None:
        for line in (
            b"\n",
            b"X\n",
            b"C644 1 a\n",
            b"C0948 1 a\n",
            b"C0644 -1 a\n",
            b"C0644 99999999999999999999 a\n",
            b"C0644 9999999999999999999 a\n",
            b"C0644 1\n",
            b"C0644  1 a\n",
            b"T\n",
            b"T1 0\n",
            b"T-1 0 1 0\n",
            b"T1 0 9999999999999 0\n",
            b"T1 1000000000 1 0\n",
            b"EE\n",
            b"x" * (LONGEST_LINE + 1),
        ):
            running = self.sink(b"scp -r -t /")
            self.assertTrue(running.feed(line).startswith(b"\1scp: protocol error: "), line)
            self.assertEqual(running.channel.exitStatus, 1)
        self.assertEqual(self.shelf.names(), [])

    def test_foldersNeedR(self) -> None:
        running = self.sink(b"scp -t /")
        self.assertComplaint(running.feed(b"D0755 0 d\n"), b"protocol error: received directory without -r")
        self.assertEqual((self.shelf.names(), running.channel.exitStatus), ([], 1))

    def test_moreThanWasAnnounced(self) -> None:
        running = self.sink(b"scp -t /file")
        running.feed(b"C0644 3 x\n")
        self.assertComplaint(running.feed(b"four"), b"protocol error: more data than announced")
        self.assertIs(self.shelf.get("/file"), None)

    def test_theDeepestPath(self) -> None:
        running = self.sink(b"scp -r -t /")
        answer = running.feed(b"D0755 0 %s\n" % (b"d" * 200) * 30)
        self.assertTrue(answer.startswith(OK * 20 + b"\1scp: "), answer[:40])
        self.assertIn(b"the path is too long", answer)

    def test_aReaderWhoDoesNotReadIsNotReadEither(self) -> None:
        running = Running(self.shelf.run(b"scp -t /").main, self.shelf.clock, FakeChannel(blocked=True))
        running.feed(b"T1 0 1 0\n" * 200_000)
        self.assertLessEqual(running.channel.queued, UNSENT_LIMIT_BYTES)

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.sampled_from(
                    [b"C0644 3 a\n", b"abc\0", b"D0755 0 d\n", b"E\n", b"T1 0 1 0\n", b"\1no\n", b"\2no\n", b"\0", b"C"]
                ),
                st.binary(max_size=12),
            ),
            max_size=12,
        ),
        st.sampled_from([b"scp -t /", b"scp -r -t /", b"scp -rp -t /new", b"scp -f /", b"scp -rpf /"]),
    )
    def test_whateverComesTheProgramEnds(self, pieces: list[bytes], command: bytes) -> None:
        shelf = Shelf()
        shelf.put("/old/file", b"contents")
        running = shelf.run(command)
        for piece in pieces:
            running.feed(piece)
        running.end()
        self.assertIn(running.channel.exitStatus, {0, 1})
        self.assertEqual(self.flushLoggedErrors(), [])


class BrokenUploadTests(SCPTestCase):
    def test_whatIsBrokenIsKeptForItsOwner(self) -> None:
        for end in ("eof", "closed"):
            running = self.sink(b"scp -t /" + end.encode())
            running.feed(b"C0644 1000000 x\n")
            running.feed(bytes(300_000))
            if end == "eof":
                self.assertEqual(running.end(), 1)
            else:
                self.successResultOf(running.program.channelClosed())
            self.assertIs(self.shelf.get("/" + end), None)
            self.assertEqual(self.shelf.stat("/" + end).size, 300_000)
        self.assertEqual(self.shelf.names(), [])

    def test_aClosedChannelAfterTheLastByteChangesNothing(self) -> None:
        held: list[Any] = []

        class Slow(FileWrapper):
            def write(self, offset: int, data: Any) -> Deferred[None]:
                waiting: Deferred[None] = Deferred()
                held.append(lambda: self.inner.write(offset, data).chainDeferred(waiting))
                return waiting

        class SlowFiles(FileSystemWrapper):
            def open(self, path: Any, mode: OpenMode) -> Deferred[Any]:
                return self.inner.open(path, mode).addCallback(Slow)

        running = self.sink(b"scp -t /file", SlowFiles(self.shelf.files))
        running.feed(b"C0644 3 x\n")
        running.feed(b"abc\0")
        closed = running.program.channelClosed()
        self.assertNoResult(closed)
        held.pop()()
        self.successResultOf(closed)
        self.assertEqual(self.shelf.get("/file"), b"abc")

    def test_aSenderThatFailed(self) -> None:
        running = self.sink(b"scp -t /")
        running.feed(b"C0644 3 a\n")
        self.assertComplaint(
            running.feed(b"\0\0\0\1scp: a: Input/output error\n"), b"/a: not stored, its sender failed"
        )
        self.assertIs(self.shelf.stat("/a"), None)
        self.assertEqual(running.feed(b"C0644 3 b\nabc\0"), OK * 2)
        self.assertEqual(running.end(), 1)
        self.assertEqual(self.shelf.names(), ["b"])

    def test_aSenderThatComplains(self) -> None:
        running = self.sink(b"scp -t /")
        self.assertEqual(running.feed(b"\1scp: a: No such file\n"), b"")
        self.assertEqual(running.feed(b"C0644 0 b\n\0"), OK * 2)
        self.assertEqual(running.end(), 1)
        running = self.sink(b"scp -t /")
        running.feed(b"\2fatal\n")
        self.assertEqual(running.channel.exitStatus, 1)

    def test_noRoom(self) -> None:
        for error, words in (
            (QuotaExceeded(), b"Disk quota exceeded"),
            (OutOfSpace(), b"No space left on device"),
            (StorageFailed(), b"Input/output error"),
        ):
            files = FailingFiles(self.shelf.files, error, 1000)
            running = self.sink(b"scp -t /", files)
            self.assertEqual(running.feed(b"C0644 600000 large\n"), OK)
            self.assertEqual(running.feed(bytes(600_000)), b"")
            self.assertComplaint(running.feed(OK), b"/large: " + words)
            self.assertEqual(running.feed(b"C0644 3 small\nabc\0"), OK * 2)
            self.assertEqual(running.end(), 1)
            self.assertEqual((self.shelf.names(), self.shelf.stat("/large")), (["small"], None))
            self.assertEqual(running.channel.consumedBytes, running.fedBytes)


class SpeedTests(SCPTestCase):
    """Who keeps to a speed keeps nobody waiting who is not there any more."""

    def test_uploads(self) -> None:
        self.shelf = Shelf(Limits(uploadBytesPerSecond=10_000))
        running = self.sink(b"scp -t /file")
        running.feed(b"C0644 200000 x\n")
        running.feed(bytes(100_000))
        self.assertLess(running.channel.consumedBytes, 90_000)
        self.successResultOf(running.program.channelClosed())
        self.assertEqual(self.shelf.stat("/file").size, 100_000)

    def test_whoWaitsLongEnoughStoresEverything(self) -> None:
        self.shelf = Shelf(Limits(uploadBytesPerSecond=10_000))
        running = self.sink(b"scp -t /file")
        running.feed(b"C0644 200000 x\n" + bytes(200_000) + OK)
        began = self.shelf.clock.seconds()
        while self.shelf.get("/file") is None and self.shelf.clock.seconds() < began + 100:
            self.shelf.clock.advance(0.1)
        self.assertEqual(len(self.shelf.get("/file") or b""), 200_000)
        self.assertTrue(15 < self.shelf.clock.seconds() - began < 30, self.shelf.clock.seconds() - began)

    def test_downloads(self) -> None:
        self.shelf = Shelf(Limits(downloadBytesPerSecond=10_000))
        self.shelf.put("/file", bytes(200_000))
        running = self.shelf.run(b"scp -f /file")
        running.feed(OK)
        self.assertLess(len(running.feed(OK)), 100_000)
        self.successResultOf(running.program.channelClosed())
        self.assertEqual(running.channel.exitStatus, 1)


class DownloadTests(SCPTestCase):
    def download(self, command: bytes, files: Any = None, running: Running | None = None) -> tuple[bytes, int | None]:
        """Everything that is sent to a client that takes it all, and the exit status."""
        running = running or self.shelf.run(command, files)
        self.assertEqual(running.taken(), b"")
        received = bytearray()
        for _ in range(10_000):
            more = running.feed(OK)
            received += more
            if running.channel.exitStatus is not None:
                break
            if not more:
                running.end()
        return bytes(received), running.channel.exitStatus

    def test_files(self) -> None:
        self.shelf.put("/a", b"hello")
        self.shelf.put("/d/é", b"")
        self.assertEqual(self.download(b"scp -f a /d/\xc3\xa9"), ("C0640 5 a\nhello\0C0640 0 é\n\0".encode(), 0))

    def setTimes(self, path: str) -> None:
        self.successResultOf(
            self.shelf.files.setAttributes(
                tuple(path.split("/")[1:]), Attributes(modified=1234.9, accessed=5, mode=0o644)
            )
        )

    def test_timesAndModes(self) -> None:
        self.shelf.put("/a", b"x")
        self.setTimes("/a")
        self.assertEqual(self.download(b"scp -pf /a"), (b"T1234 0 5 0\nC0644 1 a\nx\0", 0))

    def test_patterns(self) -> None:
        for name in ("a.txt", "b.txt", "c.doc"):
            self.shelf.put("/" + name, b"x")
        self.assertEqual(self.download(b"scp -f *.txt"), (b"C0640 1 a.txt\nx\0C0640 1 b.txt\nx\0", 0))
        self.assertEqual(
            self.download(b"scp -f '*.txt' *.none"),
            (b"\1scp: *.txt: No such file or directory\n\1scp: *.none: No such file or directory\n", 1),
        )

    def test_folders(self) -> None:
        self.shelf.put("/d/inner/f", b"x")
        self.assertEqual(self.download(b"scp -r -f /d/"), (b"D0750 0 d\nD0750 0 inner\nC0640 1 f\nx\0E\nE\n", 0))
        self.assertEqual(
            self.download(b"scp -r -f ."), (b"D0750 0 .\nD0750 0 d\nD0750 0 inner\nC0640 1 f\nx\0E\nE\nE\n", 0)
        )
        self.assertEqual(self.download(b"scp -f /d"), (b"\1scp: /d: not a regular file\n", 1))

    def test_whatFailsDoesNotHinderTheRest(self) -> None:
        self.shelf.put("/b", b"x")
        sent, status = self.download(b"scp -f /a\\\rb /b")
        self.assertEqual((sent, status), (b"\1scp: /a?b: No such file or directory\nC0640 1 b\nx\0", 1))

    def test_namesWithLineEnds(self) -> None:
        self.shelf.put("/a\nb", b"x")
        self.assertEqual(self.download(b"scp -f /a*"), (b"C0640 1 a\\^Jb\nx\0", 0))

    def test_readersNeedThatRight(self) -> None:
        self.shelf.put("/d/a", b"x")
        files = self.shelf.session(Permission.list)
        self.assertEqual(self.download(b"scp -f /d/a", files), (b"\1scp: /d/a: Permission denied\n", 1))
        files = self.shelf.session(Permission.download)
        self.assertEqual(self.download(b"scp -f /d/a", files), (b"C0640 1 a\nx\0", 0))

    def test_linksAreFollowedOnce(self) -> None:
        self.shelf.put("/d/f", b"x")
        self.successResultOf(ILinks(self.shelf.files).makeSymbolicLink(("d", "up"), "."))
        sent, status = self.download(b"scp -r -f /d")
        self.assertEqual((sent.count(b"C0640 1 f\nx\0"), sent.count(b"not followed"), status), (2, 1, 1))

    def test_aFileThatFailsInBetween(self) -> None:
        size = 700_000
        self.shelf.put("/a", b"x" * size)
        self.shelf.put("/b", b"y")
        files = FailingFiles(self.shelf.files, StorageFailed(), 1)
        sent, status = self.download(b"scp -f /a /b", files)
        self.assertEqual(sent[:18], b"C0640 700000 a\nxxx")
        rest = b"\1scp: /a: Input/output error\nC0640 1 b\ny\0"
        self.assertEqual((sent[-len(rest) :], status, len(sent)), (rest, 1, 15 + size + len(rest)))

    def test_aFileThatBecomesShorter(self) -> None:
        self.shelf.put("/a", b"xyz")
        running = self.shelf.run(b"scp -f /a")
        self.assertEqual(running.feed(OK), b"C0640 3 a\n")
        self.successResultOf(self.shelf.files.setAttributes(("a",), Attributes(size=1)))
        self.assertEqual(running.feed(OK), b"x\0\0\1scp: /a: the file became shorter\n")
        self.assertIs(running.channel.exitStatus, None)
        running.feed(OK)
        self.assertEqual(running.channel.exitStatus, 1)

    def test_aClientThatDeclines(self) -> None:
        self.shelf.put("/d/f", b"x")
        self.shelf.put("/g", b"y")
        running = self.shelf.run(b"scp -r -f /d /g")
        self.assertEqual(running.feed(OK), b"D0750 0 d\n")
        self.assertEqual(running.feed(b"\1no such folder\n"), b"C0640 1 g\n")
        self.assertEqual(running.feed(OK), b"y\0")
        running.feed(OK)
        self.assertEqual(running.channel.exitStatus, 1)

    def test_aClientThatStops(self) -> None:
        self.shelf.put("/a", b"x")
        for verdict in (b"\2no room\n", b"\1" + b"x" * 10_000):
            running = self.shelf.run(b"scp -f /a /a /a")
            running.feed(OK)
            running.feed(verdict)
            self.assertEqual(running.channel.exitStatus, 1)

    def test_aReaderWhoDoesNotRead(self) -> None:
        self.shelf.put("/a", b"x" * 5_000_000)
        running = Running(self.shelf.run(b"scp -f /a").main, self.shelf.clock, FakeChannel(blocked=True))
        running.feed(OK)
        running.feed(OK)
        self.assertLess(running.channel.queued, UNSENT_LIMIT_BYTES + (1 << 19))
        self.successResultOf(running.program.channelClosed())
        self.assertEqual(running.channel.exitStatus, 1)

    def test_aReaderWhoReadsAtTimes(self) -> None:
        self.shelf.put("/a", b"x" * 5_000_000)
        running = Running(self.shelf.run(b"scp -f /a").main, self.shelf.clock, FakeChannel(blocked=True))
        running.feed(OK)
        received = running.feed(OK)
        for _ in range(100):
            running.unblock()
            running.channel.blocked = True
            received += running.taken()
        self.assertEqual(received, b"x" * 5_000_000 + OK)


class OptionTests(SCPTestCase):
    def test_optionsThatMeanNothing(self) -> None:
        for command in (
            b"scp",
            b"scp -t",
            b"scp a b",
            b"scp -t -f a",
            b"scp -x -t a",
            b"scp --help",
            b"scp -S id -t a",
        ):
            status, out, said = self.shelf.answer(command)
            self.assertEqual((status, out), (1, b""), command)
            self.assertIn(b"only scp -t", said)

    def test_howClientsWriteThem(self) -> None:
        for command in (
            b"scp -v -r -p -t -- -odd",
            b"/usr/bin/scp -qrpt -- -odd",
            b"scp -t -- '-odd'",
            b"scp -t ./-odd",
        ):
            running = self.sink(command)
            self.assertEqual(running.feed(b"C0644 0 x\n\0"), OK * 2)
            self.assertEqual((self.shelf.names(), running.end()), (["-odd"], 0))
