"""Folders as ZIP archives."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, evolve
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.errors import StorageFailed
from cftpcluster.files.mounts import Mounts
from cftpcluster.files.policy import Observed, Permitted
from cftpcluster.files.wrappers import FileSystemWrapper, FileWrapper
from cftpcluster.interfaces import IFile, IFileSystem, ILinks
from cftpcluster.servers.web import _archives
from cftpcluster.servers.web._archives import dosTime, memberName
from cftpcluster.vocabulary import OpenMode, Permission, Stat, VirtualPath

from .support import Answer, Served, basic, request

FILES = "/api/v1/files"
LARGE = bytes(range(256)) * 2000


def unchunked(data: bytes) -> bytes:
    """The body of a chunked answer; an incomplete one is an error."""
    body = []
    while True:
        length, _, data = data.partition(b"\r\n")
        if int(length, 16) == 0:
            if data != b"\r\n":
                raise AssertionError(data)
            return b"".join(body)
        body.append(data[: int(length, 16)])
        data = data[int(length, 16) + 2 :]


class ArchiveCase(SynchronousTestCase):
    def fetch(self, served: Served, url: str) -> tuple[bytes, bytes]:
        """Head and body of an answer."""
        browser = served.connect()
        browser.send(request("GET", f"{FILES}{url}", authorization=basic()))
        head, _, body = browser.received().partition(b"\r\n\r\n")
        self.assertIn(b"Transfer-Encoding: chunked", head)
        return head, unchunked(body)

    def zipped(self, served: Served, url: str) -> zipfile.ZipFile:
        archive = zipfile.ZipFile(io.BytesIO(self.fetch(served, url)[1]))
        self.assertIsNone(archive.testzip())
        return archive

    def contents(self, served: Served, url: str) -> Mapping[str, bytes]:
        archive = self.zipped(served, url)
        return {info.filename: archive.read(info) for info in archive.infolist()}


class ContentTests(ArchiveCase):
    def setUp(self) -> None:
        self.served = Served.of({"/d": None, "/d/a": b"1", "/d/e": None, "/d/e/large": LARGE, "/d/f": None, "/x": b"x"})

    def test_folderComesWithAllThatIsInIt(self) -> None:
        expected = {"d/": b"", "d/a": b"1", "d/e/": b"", "d/e/large": LARGE, "d/f/": b""}
        self.assertEqual(self.contents(self.served, "/d?op=zip"), expected)
        self.assertEqual(self.contents(self.served, "/d/?op=zip"), expected)

    def test_rootHasNoFolderOfItsOwn(self) -> None:
        self.assertEqual(set(self.contents(self.served, "/?op=zip")), {"d/", "d/a", "d/e/", "d/e/large", "d/f/", "x"})

    def test_someEntries(self) -> None:
        self.assertEqual(
            self.contents(self.served, "/?op=zip&name=x&name=d%2ff&name=x".replace("d%2ff", "d")),
            {"x": b"x", "d/": b"", "d/a": b"1", "d/e/": b"", "d/e/large": LARGE, "d/f/": b""},
        )
        self.assertEqual(self.contents(self.served, "/d?op=zip&name=a"), {"a": b"1"})

    def test_headers(self) -> None:
        head, _ = self.fetch(self.served, "/d?op=zip")
        for line in (
            b"HTTP/1.1 200 OK",
            b"Content-Type: application/zip",
            b"Content-Disposition: attachment; filename=\"d.zip\"; filename*=UTF-8''d.zip",
        ):
            self.assertIn(line, head)
        answer = self.served.ask("HEAD", f"{FILES}/d?op=zip")
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/zip"))

    def test_times(self) -> None:
        archive = self.zipped(self.served, "/d?op=zip")
        for member in ("d/", "d/a", "d/e/"):
            self.assertEqual(archive.getinfo(member).date_time, (2023, 11, 14, 22, 13, 20), member)
        self.assertEqual(dosTime(0.0), (1980, 1, 1, 0, 0, 0))
        self.assertEqual(dosTime(1e18), (1980, 1, 1, 0, 0, 0))

    def test_membersAreFoundWithoutTheDirectory(self) -> None:
        # as readers of streams do: by the local headers, of deflated members
        archive = self.zipped(self.served, "/d?op=zip")
        for info in archive.infolist():
            if not info.is_dir():
                self.assertEqual((info.compress_type, info.flag_bits & 8), (zipfile.ZIP_DEFLATED, 8))

    def test_whatIsNotThereIsRefused(self) -> None:
        for url, status in {
            "/none?op=zip": 404,
            "/d?op=zip&name=none": 404,
            "/d?op=zip&name=..": 400,
            "/d?op=zip&name=e%2flarge": 400,
            "/d?op=zip&name=": 400,
            "/d?op=zip&x=1": 400,
            "/d?op=tar": 400,
            "/x?op=zip": 400,
        }.items():
            self.assertEqual(self.served.ask("GET", f"{FILES}{url}").status, status, url)

    def test_filesAreToldAsDownloads(self) -> None:
        told: list[Any] = []
        served = Served.of(
            {"/a": b"12"},
            wrap=lambda files: Observed(files, "alice", None, told.append, self.served.clock),  # type: ignore[arg-type]
        )
        self.fetch(served, "/?op=zip")
        self.assertEqual([(type(event).__name__, event.path, event.size) for event in told], [("Downloaded", "/a", 2)])


class NameTests(ArchiveCase):
    def test_namesLeadNowhere(self) -> None:
        for name, expected in {
            "..\\..\\x": ".._.._x",
            "C:x": "C_x",
            "a\nb\x7f": "a_b_",
            "caf\u00e9": "caf\u00e9",
            "\udcff": "\ufffd",
            "12:30": "12:30",
        }.items():
            self.assertEqual(memberName(name), expected)

    def test_hostileNamesAreExtractedInPlace(self) -> None:
        served = Served.of({"/d": None})
        names = ["..%5c..%5cevil", "...", "%20", "-rf", "caf%c3%a9", "%ff", "a%0ab", "C%3aevil"]
        for name in names:
            self.assertEqual(served.ask("PUT", f"{FILES}/d/{name}", b"x").status, 201)
        found = set(self.contents(served, "/d?op=zip"))
        self.assertEqual(
            found,
            {"d/", "d/.._.._evil", "d/...", "d/ ", "d/-rf", "d/caf\u00e9", "d/\ufffd", "d/a_b", "d/C_evil"},
        )


class LeftOutTests(ArchiveCase):
    def test_whatMayNotBeReadIsToldOf(self) -> None:
        def wrap(files: IFileSystem) -> IFileSystem:
            return Mounts(
                {(): files, ("secret",): Permitted(files, {Permission.list}), ("box",): Permitted(files, set())}
            )

        served = Served.of({"/a": b"1"}, wrap=wrap)
        found = self.contents(served, "/?op=zip")
        self.assertEqual(set(found), {"a", "secret/", "box/", "_left_out.txt"})
        notes = sorted(found["_left_out.txt"].decode().splitlines())
        self.assertEqual(notes, ["box: permission denied", "secret/a: permission denied"])

    def test_linksToFoldersAreNotFollowed(self) -> None:
        served = Served.of({"/d": None, "/d/a": b"1", "/out": b"2"})
        links = ILinks(served.backend.fileSystem("", "alice", True))
        self.successResultOf(links.makeSymbolicLink(("d", "up"), "/d"))
        self.successResultOf(links.makeSymbolicLink(("d", "file"), "/out"))
        self.successResultOf(links.makeSymbolicLink(("d", "lost"), "/none"))
        found = self.contents(served, "/d?op=zip")
        notes = found["_left_out.txt"].decode()
        self.assertEqual(set(found), {"d/", "d/a", "d/file", "_left_out.txt"})
        self.assertEqual(found["d/file"], b"2")
        self.assertIn("d/up: it is a link to a folder", notes)
        self.assertIn("d/lost: ", notes)

    def test_moreEntriesThanMayBeAreToldOf(self) -> None:
        self.patch(_archives, "MOST_ENTRIES", 2)
        served = Served.of({f"/{name}": b"" for name in "abcde"})
        found = self.contents(served, "/?op=zip")
        self.assertEqual(len(found), 3)
        self.assertEqual(len(found["_left_out.txt"].splitlines()), 3)

    def test_fileThatBecameShorterIsToldOf(self) -> None:
        served = Served.of({"/a": b"12345"}, wrap=lambda files: EachFile(files, ShortFile))
        found = self.contents(served, "/?op=zip")
        self.assertEqual(found["a"], b"123")
        self.assertIn(b"a: it became shorter", found["_left_out.txt"])


@define(eq=False)
class EachFile(FileSystemWrapper):
    change: Callable[[IFile], IFile]

    def open(self, path: VirtualPath, mode: OpenMode) -> Deferred[IFile]:
        return self.inner.open(path, mode).addCallback(self.change)


class ShortFile(FileWrapper):
    def read(self, offset: int, length: int) -> Deferred[bytes]:
        return self.inner.read(offset, max(0, min(length, 3 - offset)))


class FailingFile(FileWrapper):
    def read(self, offset: int, length: int) -> Deferred[bytes]:
        return fail(StorageFailed()) if offset else self.inner.read(offset, 2)


@define(eq=False)
class EndlessFile(FileWrapper):
    """Longer than any memory."""

    def stat(self) -> Deferred[Stat]:
        return self.inner.stat().addCallback(lambda stat: evolve(stat, size=5 * 2**40))


class StreamTests(ArchiveCase):
    def start(self, change: Callable[[IFile], IFile]) -> tuple[Served, Any]:
        served = Served.of({"/a": b"12345"}, wrap=lambda files: EachFile(files, change))
        browser = served.connect()
        return served, browser

    def test_fileThatFailsBreaksTheArchiveOff(self) -> None:
        _, browser = self.start(FailingFile)
        browser.send(request("GET", f"{FILES}/?op=zip", authorization=basic()))
        self.assertTrue(browser.transport.aborting)

    def test_slowClientsAreWaitedForAndWhoLeavesEndsTheWork(self) -> None:
        reads: list[Deferred[bytes]] = []
        closed: list[bool] = []

        class Held(EndlessFile):
            def read(self, offset: int, length: int) -> Deferred[bytes]:
                reads.append(Deferred())
                return reads[-1]

            def abort(self, keep: bool) -> Deferred[bool]:
                closed.append(keep)
                return super().abort(keep)

        _, browser = self.start(Held)
        browser.send(request("GET", f"{FILES}/?op=zip", authorization=basic()))
        reads[0].callback(bytes(1000))
        self.assertEqual(len(reads), 2)
        browser.channel.pauseProducing()
        for number in (1, 2, 3):
            if number < len(reads):
                reads[number].callback(bytes(1000))
        self.assertEqual(len(reads), 3)
        browser.channel.resumeProducing()
        self.assertEqual(len(reads), 4)
        self.assertEqual(closed, [])
        browser.lose()
        reads[3].callback(bytes(1000))
        self.assertEqual(len(reads), 5)
        reads[4].callback(b"")
        self.assertEqual(closed, [False])

    def test_oneUserHasFewAtOnce(self) -> None:
        waiting: list[Deferred[bytes]] = []

        class Held(FileWrapper):
            def read(self, offset: int, length: int) -> Deferred[bytes]:
                waiting.append(Deferred())
                return waiting[-1]

        served, _ = self.start(Held)
        browsers = [served.connect() for _ in range(4)]
        for browser in browsers:
            browser.send(request("GET", f"{FILES}/?op=zip", authorization=basic()))
        refused: Answer = served.ask("GET", f"{FILES}/?op=zip")
        self.assertEqual((refused.status, "retry-after" in refused.headers), (429, True))
        for each in waiting:
            each.callback(b"")
        for browser in browsers:
            self.assertIn(b"HTTP/1.1 200", browser.received())
        served.ask("HEAD", f"{FILES}/?op=zip")
        self.assertEqual(served.ask("HEAD", f"{FILES}/?op=zip").status, 200)
