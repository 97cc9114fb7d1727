"""Files out and in: conditions, ranges, refusals before the body, broken transfers, back-pressure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.errors import StorageFailed
from cftpcluster.files.policy import Permitted
from cftpcluster.files.wrappers import FileSystemWrapper, FileWrapper
from cftpcluster.interfaces import IFile
from cftpcluster.servers.web import WebOptions
from cftpcluster.testing.files import read
from cftpcluster.vocabulary import OpenMode, Permission, VirtualPath

from .support import Browser, Served, basic, parseAnswers, request

FILES = "/api/v1/files"
LETTERS = b"abcdefghijklmnopqrstuvwxyz"


@define(eq=False)
class HeldFile(FileWrapper):
    """A file whose reads and writes wait until they are let go."""

    _held: HeldFiles

    def write(self, offset: int, data: bytes | memoryview) -> Deferred[None]:
        return self._held.later(lambda: self.inner.write(offset, data))

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        return self._held.later(lambda: self.inner.read(offset, length))


@define(eq=False)
class ShorterFile(FileWrapper):
    """A file that has lost its end since it was looked at."""

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        return self.inner.read(offset, min(length, 6 - offset))


@define(eq=False)
class EachFile(FileSystemWrapper):
    """Files that are opened as ``change`` makes them."""

    _change: Callable[[IFile], IFile]

    def open(self, path: VirtualPath, mode: OpenMode) -> Deferred[IFile]:
        return self.inner.open(path, mode).addCallback(self._change)


@define(eq=False)
class HeldFiles:
    """:ivar error: what every read and write fails with."""

    waiting: list[tuple[Any, Any]] = field(factory=list)
    isHolding: bool = False
    error: Exception | None = None

    def later(self, perform: Any) -> Deferred[Any]:
        if self.error is not None:
            return fail(self.error)
        if not self.isHolding:
            result: Deferred[Any] = perform()
            return result
        waiting: Deferred[Any] = Deferred()
        self.waiting.append((waiting, perform))
        return waiting

    def letGo(self) -> None:
        waiting, self.waiting = self.waiting, []
        for each, perform in waiting:
            perform().chainDeferred(each)

    def wrap(self, files: Any) -> Any:
        held = self

        class Held(FileSystemWrapper):
            def open(self, path: VirtualPath, mode: OpenMode) -> Deferred[IFile]:
                return self.inner.open(path, mode).addCallback(HeldFile, held)

        return Held(files)


class TransferCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.held = HeldFiles()
        self.served = Served.of({"/abc": LETTERS, "/empty": b"", "/sub": None}, wrap=self.held.wrap)

    def contents(self, path: str) -> bytes | None:
        """What others read; ``None`` where nothing is."""
        try:
            files = self.served.backend.fileSystem("", "bob", True)
            return self.successResultOf(Deferred.fromCoroutine(read(files, path)))
        except self.failureException:
            return None

    def begin(self, method: str, path: str, body: bytes = b"", **headers: str | None) -> Browser:
        """A request of which this is sent."""
        browser = self.served.connect()
        browser.send(request(method, path, None, **{"authorization": basic(), **headers}) + body)
        return browser


class DownloadTests(TransferCase):
    def test_userContentIsInert(self) -> None:
        answer = self.served.ask("GET", f"{FILES}/abc")
        for name, value in {
            "content-type": "application/octet-stream",
            "content-disposition": "attachment; filename=\"abc\"; filename*=UTF-8''abc",
            "content-security-policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
            "x-content-type-options": "nosniff",
            "cache-control": "no-store",
            "accept-ranges": "bytes",
            "last-modified": "Tue, 14 Nov 2023 22:13:20 GMT",
        }.items():
            self.assertEqual(answer.headers[name], value)

    def test_ranges(self) -> None:
        for value, expected, contentRange in [
            ("bytes=0-0", b"a", "bytes 0-0/26"),
            ("bytes=3-", LETTERS[3:], "bytes 3-25/26"),
            ("bytes=3-5", b"def", "bytes 3-5/26"),
            ("Bytes = 3 - 5", b"def", "bytes 3-5/26"),
            ("bytes=20-9999999999999999999999", LETTERS[20:], "bytes 20-25/26"),
            ("bytes=-2", b"yz", "bytes 24-25/26"),
            ("bytes=-99", LETTERS, "bytes 0-25/26"),
        ]:
            answer = self.served.ask("GET", f"{FILES}/abc", range=value)
            self.assertEqual((answer.status, answer.body), (206, expected), value)
            self.assertEqual(answer.headers["content-range"], contentRange)

    def test_rangesThatAreIgnored(self) -> None:
        for value in (
            "bytes=5-3",
            "bytes=-",
            "bytes=a-b",
            "lines=1-2",
            "bytes=0-1,x",
            "bytes",
            "",
            "bytes=--1",
            "bytes=,",
        ):
            answer = self.served.ask("GET", f"{FILES}/abc", range=value)
            self.assertEqual((answer.status, answer.body), (200, LETTERS), value)

    def parts(self, value: str) -> list[tuple[str, bytes]]:
        """The content ranges and the contents of a multipart answer."""
        answer = self.served.ask("GET", f"{FILES}/abc", range=value)
        self.assertEqual(answer.status, 206)
        contentType, _, boundary = answer.headers["content-type"].partition("; boundary=")
        self.assertEqual(contentType, "multipart/byteranges")
        self.assertNotIn("content-range", answer.headers)
        first, *parts, last = answer.body.split(b"\r\n--" + boundary.encode())
        self.assertEqual((first, last), (b"", b"--\r\n"))
        found = []
        for part in parts:
            head, _, body = part.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            self.assertEqual(lines[:2], ["", "Content-Type: application/octet-stream"])
            found.append((lines[2].removeprefix("Content-Range: "), body))
        return found

    def test_severalRangesComeInParts(self) -> None:
        self.assertEqual(self.parts("bytes=0-1,5-6"), [("bytes 0-1/26", b"ab"), ("bytes 5-6/26", b"fg")])
        self.assertEqual(self.parts("bytes=-2, 0-0"), [("bytes 24-25/26", b"yz"), ("bytes 0-0/26", b"a")])
        self.assertEqual(self.parts("bytes=0-0,99-,4-4"), [("bytes 0-0/26", b"a"), ("bytes 4-4/26", b"e")])

    def test_overlappingRangesAreJoined(self) -> None:
        self.assertEqual(self.parts("bytes=5-9,0-1,7-12"), [("bytes 0-1/26", b"ab"), ("bytes 5-12/26", b"fghijklm")])
        answer = self.served.ask("GET", f"{FILES}/abc", range="bytes=" + ",".join(["0-"] * 60))
        self.assertEqual((answer.status, answer.headers["content-range"]), (206, "bytes 0-25/26"))

    def test_tooManyRangesAreIgnored(self) -> None:
        answer = self.served.ask("GET", f"{FILES}/abc", range="bytes=" + ",".join(["0-"] * 65))
        self.assertEqual((answer.status, answer.body), (200, LETTERS))

    def test_fileThatBecomesShorterBreaksOffTheParts(self) -> None:
        def shorter(opened: IFile) -> IFile:
            return ShorterFile(opened)

        self.served = Served.of({"/abc": LETTERS}, wrap=lambda files: EachFile(files, shorter))
        browser = self.served.connect()
        browser.send(request("GET", f"{FILES}/abc", authorization=basic(), range="bytes=0-1,5-6,8-9"))
        self.assertTrue(browser.transport.aborting)

    def test_previewsAreShownAsWhatTheirNameSays(self) -> None:
        for name, kind in {
            "a.PNG": "image/png",
            "a.html": "text/plain; charset=utf-8",
            "a.pdf": "application/pdf",
        }.items():
            self.served.ask("PUT", f"{FILES}/{name}", b"<script>")
            for method in ("GET", "HEAD"):
                answer = self.served.ask(method, f"{FILES}/{name}?inline=true")
                self.assertEqual((answer.status, answer.headers["content-type"]), (200, kind))
                self.assertTrue(answer.headers["content-disposition"].startswith("inline; "))
                self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
                self.assertEqual(answer.headers["x-frame-options"], "SAMEORIGIN")
                self.assertIn("default-src 'none'", answer.headers["content-security-policy"])
                self.assertEqual("sandbox" in answer.headers["content-security-policy"], kind != "application/pdf")

    def test_otherFilesAreNeverShown(self) -> None:
        for name in ("abc", "a.svgz", "a.exe", "a.html.", ".html5"):
            self.served.ask("PUT", f"{FILES}/{name}", b"<script>")
            answer = self.served.ask("GET", f"{FILES}/{name}?inline=true")
            self.assertEqual(answer.headers["content-type"], "application/octet-stream")
            self.assertTrue(answer.headers["content-disposition"].startswith("attachment; "))
            self.assertEqual(answer.headers["x-frame-options"], "DENY")

    def test_rangesOfNothing(self) -> None:
        for path, value in [("abc", "bytes=26-"), ("abc", "bytes=99-100"), ("abc", "bytes=-0"), ("empty", "bytes=0-")]:
            answer = self.served.ask("GET", f"{FILES}/{path}", range=value)
            self.assertEqual(answer.status, 416, value)
            self.assertEqual(answer.headers["content-range"], f"bytes */{26 if path == 'abc' else 0}")
            self.assertNotIn("etag", answer.headers)

    def test_rangeOfTheSameFileOnly(self) -> None:
        tag = self.served.ask("HEAD", f"{FILES}/abc").headers["etag"]
        self.served.clock.advance(10)
        date = "Tue, 14 Nov 2023 22:13:20 GMT"
        for value, expected in [
            (tag, 206),
            (f"W/{tag}", 200),
            ('"other"', 200),
            (date, 206),
            ("Tue, 14 Nov 2023 22:13:21 GMT", 200),
        ]:
            answer = self.served.ask("GET", f"{FILES}/abc", range="bytes=1-2", ifRange=value)
            self.assertEqual(answer.status, expected, value)

    def test_conditions(self) -> None:
        tag = self.served.ask("HEAD", f"{FILES}/abc").headers["etag"]
        then, before = "Tue, 14 Nov 2023 22:13:20 GMT", "Tue, 14 Nov 2023 22:13:19 GMT"
        for expected, headers in [
            (304, {"ifNoneMatch": tag}),
            (304, {"ifNoneMatch": f'"a", W/{tag}'}),
            (304, {"ifNoneMatch": "*"}),
            (200, {"ifNoneMatch": '"a", "b"'}),
            (200, {"ifNoneMatch": f"{tag} x"}),
            (200, {"ifNoneMatch": '"a"', "ifModifiedSince": then}),
            (304, {"ifModifiedSince": then}),
            (200, {"ifModifiedSince": before}),
            (200, {"ifModifiedSince": "yesterday"}),
            (200, {"ifModifiedSince": "Tue, 99 Foo 2023 22:13:19 GMT"}),
            (200, {"ifMatch": tag}),
            (200, {"ifMatch": "*"}),
            (412, {"ifMatch": f"W/{tag}"}),
            (412, {"ifMatch": '"a"'}),
            (412, {"ifUnmodifiedSince": before}),
            (200, {"ifUnmodifiedSince": then}),
            (200, {"ifMatch": tag, "ifUnmodifiedSince": before}),
        ]:
            for method in ("GET", "HEAD"):
                answer = self.served.ask(method, f"{FILES}/abc", **headers)
                self.assertEqual(answer.status, expected, headers)
                if expected == 304:
                    self.assertEqual((answer.headers["etag"], answer.body), (tag, b""))

    def test_namesInHeadersCannotBreakOut(self) -> None:
        name = "a%22%0d%0aX-Evil:%201%C3%BC%FF%25"
        self.assertEqual(self.served.ask("PUT", f"{FILES}/{name}", b"x").status, 201)
        answer = self.served.ask("GET", f"{FILES}/{name}")
        self.assertNotIn("x-evil", answer.headers)
        self.assertEqual(
            answer.headers["content-disposition"],
            "attachment; filename=\"a___X-Evil: 1__xff_\"; filename*=UTF-8''a%22%0D%0AX-Evil%3A%201%C3%BC%5Cxff%25",
        )

    def test_pausedClientCostsNoMemory(self) -> None:
        self.served.ask("PUT", f"{FILES}/big", b"x" * 4_000_000)
        self.held.isHolding = True
        browser = self.begin("GET", f"{FILES}/big")
        browser.transport.producer.pauseProducing()
        for _ in range(20):
            self.held.letGo()
        self.assertLess(len(browser.transport.value()), 600_000)
        browser.transport.producer.resumeProducing()
        for _ in range(40):
            self.held.letGo()
        self.assertEqual(len(parseAnswers(browser.received(), ["GET"])[0].body), 4_000_000)

    def test_clientThatLeavesEndsTheReading(self) -> None:
        self.served.ask("PUT", f"{FILES}/big", b"x" * 4_000_000)
        self.held.isHolding = True
        browser = self.begin("GET", f"{FILES}/big")
        self.held.letGo()
        browser.lose()
        self.held.letGo()
        self.held.letGo()
        self.assertEqual(self.held.waiting, [])

    def test_errorBeforeTheFirstByteIsTold(self) -> None:
        self.held.error = StorageFailed()
        answer = self.served.ask("GET", f"{FILES}/abc")
        self.assertEqual((answer.status, answer.json()["detail"]), (500, "input/output error"))
        for name in ("etag", "content-disposition", "accept-ranges", "last-modified"):
            self.assertNotIn(name, answer.headers)

    def test_errorAfterTheFirstByteBreaksTheConnection(self) -> None:
        self.served.ask("PUT", f"{FILES}/big", b"x" * 4_000_000)
        self.held.isHolding = True
        browser = self.begin("GET", f"{FILES}/big")
        self.held.letGo()
        self.held.error = StorageFailed()
        for _ in range(4):
            self.held.letGo()
        self.assertTrue(browser.transport.aborting)
        self.assertNotIn(b"input/output", browser.received())

    def test_shorterFileBreaksTheConnection(self) -> None:
        self.held.isHolding = True
        browser = self.begin("GET", f"{FILES}/abc")
        files = self.served.backend.fileSystem("", "bob", True)
        opened = self.successResultOf(files.open(("abc",), OpenMode.inPlace))
        self.successResultOf(opened.truncate(5))
        self.held.letGo()
        self.held.letGo()
        self.assertTrue(browser.received().endswith(b"\r\n\r\nabcde"))
        self.assertTrue(browser.transport.aborting)


class UploadTests(TransferCase):
    def test_chunksBecomeAFile(self) -> None:
        browser = self.begin(
            "PUT", f"{FILES}/new", b"3\r\nabc\r\n5;x=y\r\ndefgh\r\n0\r\n\r\n", transferEncoding="chunked"
        )
        self.assertEqual(parseAnswers(browser.received(), ["PUT"])[0].status, 201)
        self.assertEqual(self.contents("/new"), b"abcdefgh")

    def test_nothingIsSeenBeforeTheEnd(self) -> None:
        browser = self.begin("PUT", f"{FILES}/new", b"half", contentLength="8")
        self.assertEqual((browser.received(), self.contents("/new")), (b"", None))
        browser.send(b"done")
        self.assertEqual(parseAnswers(browser.received(), ["PUT"])[0].status, 201)
        self.assertEqual(self.contents("/new"), b"halfdone")

    def test_emptyFiles(self) -> None:
        self.assertEqual(self.served.ask("PUT", f"{FILES}/new", b"").status, 201)
        self.assertEqual(self.contents("/new"), b"")

    def test_brokenUploadIsKeptForItsOwner(self) -> None:
        browser = self.begin("PUT", f"{FILES}/new", b"half", contentLength="8")
        browser.lose()
        self.assertIsNone(self.contents("/new"))
        head = self.served.ask("HEAD", f"{FILES}/new")
        self.assertEqual((head.status, head.headers["content-length"]), (200, "4"))
        self.assertEqual(self.served.ask("GET", f"{FILES}/new").status, 404)
        bobs = basic("bob", b"bobs")
        self.assertEqual(self.served.ask("HEAD", f"{FILES}/new", authorization=bobs).status, 404)
        self.assertNotIn("new", [each["name"] for each in self.served.ask("GET", FILES).json()["entries"]])
        self.assertEqual(self.served.ask("PUT", f"{FILES}/new", b"whole").status, 201)
        self.assertEqual(self.contents("/new"), b"whole")

    def test_brokenReplacementChangesNothing(self) -> None:
        self.begin("PUT", f"{FILES}/abc", b"half", contentLength="8").lose()
        self.assertEqual(self.contents("/abc"), LETTERS)

    def test_brokenChunksAreNoFile(self) -> None:
        browser = self.begin("PUT", f"{FILES}/new", b"3\r\nabc\r\nzz\r\n", transferEncoding="chunked")
        self.assertIn(b" 400 ", browser.received())
        self.assertIsNone(self.contents("/new"))

    def test_silentUploadIsGivenUp(self) -> None:
        browser = self.begin("PUT", f"{FILES}/new", b"half", contentLength="8")
        self.served.clock.advance(31)
        self.assertTrue(browser.isClosed)

    def test_refusalsComeBeforeTheBody(self) -> None:
        for expected, path, headers in [
            (401, "new", {"authorization": None}),
            (401, "new", {"authorization": basic("alice", b"wrong")}),
            (409, "sub", {}),
            (409, "nowhere/new", {}),
            (400, "new/", {}),
            (400, ".cftpcluster-part-x", {}),
            (400, "a%2fb", {}),
            (400, "new", {"contentRange": "bytes 0-9/10"}),
            (400, "new?recursive=1", {}),
            (415, "new", {"contentEncoding": "gzip"}),
            (412, "abc", {"ifNoneMatch": "*"}),
            (412, "abc", {"ifMatch": '"other"'}),
            (412, "new", {"ifMatch": "*"}),
        ]:
            browser = self.begin("PUT", f"{FILES}/{path}", contentLength="10000000", expect="100-continue", **headers)
            answer = parseAnswers(browser.received(), ["PUT"])[0]
            self.assertEqual(answer.status, expected, (path, headers))
            self.assertEqual(answer.headers["connection"], "close")
            self.assertEqual(answer.headers["content-type"], "application/problem+json")
        self.assertEqual((self.contents("/abc"), self.contents("/new")), (LETTERS, None))

    def test_bodyIsAskedForOnceItIsAccepted(self) -> None:
        browser = self.begin("PUT", f"{FILES}/new", contentLength="4", expect="100-continue")
        self.assertEqual(browser.received(), b"HTTP/1.1 100 Continue\r\n\r\n")
        browser.send(b"data")
        self.assertEqual(parseAnswers(browser.received(), ["PUT"])[0].status, 201)

    def test_whoMayNotIsRefusedBeforeTheBody(self) -> None:
        for allowed, path, expected in [
            (set(), "new", 403),
            ({Permission.list, Permission.download}, "new", 403),
            ({Permission.upload}, "abc", 403),
            ({Permission.upload}, "new", 100),
            ({Permission.upload, Permission.overwrite}, "abc", 100),
        ]:
            self.served = Served.of({"/abc": LETTERS}, wrap=lambda files, allowed=allowed: Permitted(files, allowed))
            browser = self.begin("PUT", f"{FILES}/{path}", contentLength="4", expect="100-continue")
            self.assertIn(b"HTTP/1.1 %d " % expected, browser.received(), (allowed, path))

    def test_dropBoxTakesFilesUnseen(self) -> None:
        self.served = Served.of({}, wrap=lambda files: Permitted(files, {Permission.upload}))
        self.assertEqual(self.served.ask("PUT", f"{FILES}/new", b"data").status, 201)
        self.assertEqual(self.served.ask("GET", f"{FILES}/new").status, 403)
        self.assertEqual(self.served.ask("HEAD", f"{FILES}/new").status, 403)
        self.assertEqual(self.served.ask("GET", FILES).status, 403)
        self.assertEqual(self.served.ask("PUT", f"{FILES}/new", b"other").status, 403)
        self.assertEqual(self.contents("/new"), b"data")

    def test_limit(self) -> None:
        self.served = Served.of({"/abc": LETTERS}, WebOptions(uploadLimitBytes=10))
        self.assertEqual(self.served.ask("PUT", f"{FILES}/new", b"x" * 10).status, 201)
        browser = self.begin("PUT", f"{FILES}/abc", contentLength="11", expect="100-continue")
        self.assertEqual(parseAnswers(browser.received(), ["PUT"])[0].status, 413)
        browser = self.begin("PUT", f"{FILES}/abc", b"b\r\n" + b"x" * 11, transferEncoding="chunked")
        self.assertEqual(parseAnswers(browser.received(), ["PUT"])[0].status, 413)
        self.assertEqual(self.contents("/abc"), LETTERS)

    def test_limitCanChange(self) -> None:
        self.successResultOf(self.served.server.reconfigure(WebOptions(uploadLimitBytes=3)))
        self.assertEqual(self.served.ask("PUT", f"{FILES}/new", b"1234").status, 413)

    def test_fullStorage(self) -> None:
        self.served = Served.of({"/abc": LETTERS}, capacityBytes=1_000_000)
        browser = self.begin("PUT", f"{FILES}/new", b"x" * 1_500_000, contentLength="9000000")
        answer = parseAnswers(browser.received(), ["PUT"])[0]
        self.assertEqual((answer.status, answer.headers["connection"]), (507, "close"))
        self.assertEqual(self.served.ask("HEAD", f"{FILES}/new").status, 404)
        self.assertEqual(self.served.ask("PUT", f"{FILES}/new", b"x" * 500_000).status, 201)

    def test_slowStorageHoldsTheClientBack(self) -> None:
        self.held.isHolding = True
        browser = self.begin("PUT", f"{FILES}/new", contentLength="8000000")
        sent = 0
        while browser.transport.producerState == "producing" and sent < 8_000_000:
            browser.send(b"x" * 65536)
            sent += 65536
        self.assertLess(sent, 2_000_000)
        self.served.clock.advance(1000)
        self.assertFalse(browser.isClosed, "the client is not to blame")
        while sent < 8_000_000:
            self.held.letGo()
            if browser.transport.producerState == "producing":
                length = min(65536, 8_000_000 - sent)
                browser.send(b"x" * length)
                sent += length
        for _ in range(10):
            self.held.letGo()
        self.assertEqual(parseAnswers(browser.received(), ["PUT"])[0].status, 201)
        self.assertEqual(self.contents("/new"), b"x" * 8_000_000)

    def test_largeBodiesAreReadInLargePieces(self) -> None:
        large, small = (self.begin("PUT", f"{FILES}/{size}", b"x", contentLength=str(size)) for size in (10**6, 10))
        self.assertEqual(large.transport.bufferSize, 256 * 1024)
        self.assertEqual(small.transport.bufferSize, 64 * 1024)

    def test_clientThatLeavesAfterTheLastByteHasUploaded(self) -> None:
        self.held.isHolding = True
        browser = self.begin("PUT", f"{FILES}/new", b"data", contentLength="4")
        browser.lose()
        self.held.letGo()
        self.assertEqual(self.contents("/new"), b"data")

    def test_conditionIsHeldUntilTheEnd(self) -> None:
        tag = self.served.ask("HEAD", f"{FILES}/abc").headers["etag"]
        first = self.begin("PUT", f"{FILES}/abc", b"fir", contentLength="5", ifMatch=tag)
        second = self.begin("PUT", f"{FILES}/abc", b"other", contentLength="5", ifMatch=tag)
        first.send(b"st")
        statuses = [parseAnswers(each.received(), ["PUT"])[0].status for each in (first, second)]
        self.assertEqual((statuses, self.contents("/abc")), ([412, 204], b"other"))

    def test_onlyOneOfTwoMakesANewFile(self) -> None:
        first = self.begin("PUT", f"{FILES}/new", b"fir", contentLength="5", ifNoneMatch="*")
        second = self.begin("PUT", f"{FILES}/new", b"other", contentLength="5", ifNoneMatch="*")
        first.send(b"st")
        statuses = [parseAnswers(each.received(), ["PUT"])[0].status for each in (first, second)]
        self.assertEqual((statuses, self.contents("/new")), ([412, 201], b"other"))

    def test_pipelinedUploadsAreDoneInOrder(self) -> None:
        browser = self.served.connect()
        browser.send(
            b"".join(request("PUT", f"{FILES}/new", body, authorization=basic()) for body in (b"one", b"two"))
            + request("GET", f"{FILES}/new", authorization=basic())
        )
        answers = parseAnswers(browser.received(), ["PUT", "PUT", "GET"])
        self.assertEqual([answer.status for answer in answers], [201, 204, 200])
        self.assertEqual(answers[-1].body, b"two")

    def test_drainingFinishesWhatIsUnderWay(self) -> None:
        browser, idle = self.begin("PUT", f"{FILES}/new", b"half", contentLength="8"), self.served.connect()
        drained = self.served.server.drain()
        self.assertTrue(idle.isClosed)
        idle.lose()
        late = self.begin("GET", f"{FILES}/abc")
        answer = parseAnswers(late.received(), ["GET"])[0]
        self.assertEqual((answer.status, answer.headers["connection"]), (503, "close"))
        late.lose()
        browser.send(b"done")
        self.assertEqual(parseAnswers(browser.received(), ["PUT"])[0].status, 201)
        self.assertNoResult(drained)
        browser.lose()
        self.successResultOf(drained)
        self.assertEqual(self.contents("/new"), b"halfdone")

    def test_disconnectedUploadIsKept(self) -> None:
        browser = self.begin("PUT", f"{FILES}/new", b"half", contentLength="8")
        self.served.server.disconnect()
        self.assertTrue(browser.transport.aborting)
        browser.lose()
        self.assertEqual(self.served.ask("HEAD", f"{FILES}/new").headers["content-length"], "4")
