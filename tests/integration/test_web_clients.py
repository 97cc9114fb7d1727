"""The programs that people use on files over HTTPS, against a server of this process."""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from pathlib import Path

from twisted.trial.unittest import SkipTest

from .clients import randomFile
from .webserver import WebCase


def sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class CurlTests(WebCase):
    def setUp(self) -> None:
        if not os.path.exists("/usr/bin/curl"):
            raise SkipTest("curl is not installed")
        super().setUp()
        self.local = str(randomFile(Path(self.folder) / "local", 20 * 2**20 + 7))

    async def test_roundTripKeepsEveryByte(self) -> None:
        self.assertEqual(await self.curl("-T", self.local, f"{self.files}/big"), (201, b""))
        self.assertEqual(sha256(self.path("big")), sha256(self.local))
        status, _ = await self.curl("-o", f"{self.folder}/back", f"{self.files}/big")
        self.assertEqual(status, 200)
        self.assertEqual(sha256(f"{self.folder}/back"), sha256(self.local))

    async def test_chunkedUpload(self) -> None:
        status, _ = await self.curl("-T", self.local, "-H", "Transfer-Encoding: chunked", f"{self.files}/big")
        self.assertEqual(status, 201)
        self.assertEqual(sha256(self.path("big")), sha256(self.local))

    async def test_resumedDownload(self) -> None:
        await self.curl("-T", self.local, f"{self.files}/big")
        with open(self.local, "rb") as source, open(f"{self.folder}/back", "wb") as target:
            target.write(source.read(5_000_000))
        status, _ = await self.curl("-C", "-", "-o", f"{self.folder}/back", f"{self.files}/big")
        self.assertEqual(status, 206)
        self.assertEqual(sha256(f"{self.folder}/back"), sha256(self.local))

    async def test_refusedUploadIsNotSent(self) -> None:
        status, body = await self.curl(
            "-T", self.local, "-w", "\n%{size_upload}\n%{http_code}", f"{self.files}/x", user="reader"
        )
        self.assertEqual(status, 403)
        self.assertIn(b"permission denied", body)
        self.assertTrue(body.endswith(b"\n0"), body)
        self.assertEqual(os.listdir(self.root), [])

    async def test_brokenUploadIsNeverSeenAndIsKept(self) -> None:
        status, _ = await self.curl("-T", self.local, "--limit-rate", "4M", "--max-time", "1", f"{self.files}/big")
        self.assertEqual(status, -28)
        await self.pause(0.2)
        self.assertNotIn("big", os.listdir(self.root))
        status, body = await self.curl("-I", f"{self.files}/big")
        self.assertEqual(status, 200)
        self.assertNotIn(b"Content-Length: 0\r", body)
        self.assertEqual((await self.curl(f"{self.files}/big"))[0], 404)
        self.assertEqual((await self.curl("-I", f"{self.files}/big", user="bob"))[0], 404)

    async def test_brokenReplacementLeavesTheOldFile(self) -> None:
        await self.curl("-T", __file__, f"{self.files}/big")
        await self.curl("-T", self.local, "--limit-rate", "4M", "--max-time", "1", f"{self.files}/big")
        await self.pause(0.2)
        self.assertEqual(sha256(self.path("big")), sha256(__file__))
        self.assertEqual(os.listdir(self.root), ["big"])

    async def test_foldersAndMoves(self) -> None:
        steps: list[tuple[tuple[str, ...], int]] = [
            (("-X", "POST", f"{self.files}/in?op=mkdir"), 201),
            (("-T", __file__, f"{self.files}/in/"), 201),
            (("-H", "Content-Type: application/json", "-d", '{"to":"/in/b"}',
              f"{self.files}/in/{Path(__file__).name}?op=move"), 204),
            (("--json", '{"to":"/c"}', f"{self.files}/in/b?op=copy"), 204),
            (("--json", '{"to":"/c"}', f"{self.files}/in/b?op=copy"), 409),
            (("--json", '{"to":"/c","overwrite":true}', f"{self.files}/in/b?op=copy"), 204),
            (("-X", "DELETE", f"{self.files}/in"), 409),
            (("-X", "DELETE", f"{self.files}/in/b"), 204),
            (("-X", "DELETE", f"{self.files}/in"), 204),
        ]  # fmt: skip
        for arguments, expected in steps:
            status, body = await self.curl(*arguments)
            self.assertEqual(status, expected, (arguments, body))
        self.assertEqual(os.listdir(self.root), ["c"])
        self.assertEqual(sha256(self.path("c")), sha256(__file__))

    async def test_etagsSpareDownloads(self) -> None:
        await self.curl("-T", __file__, f"{self.files}/a")
        tag = f"{self.folder}/tag"
        self.assertEqual((await self.curl("--etag-save", tag, "-o", "/dev/null", f"{self.files}/a"))[0], 200)
        self.assertEqual((await self.curl("--etag-compare", tag, f"{self.files}/a"))[0], 304)

    async def test_rangesAndConditions(self) -> None:
        """One file, asked for in every way: what is answered, and with what."""
        data = bytes(range(256)) * 4
        with open(self.path("a"), "wb") as file:
            file.write(data)
        _, head = await self.curl("-I", f"{self.files}/a")
        lines = dict(line.split(": ", 1) for line in head.decode().replace("\r", "").split("\n") if ": " in line)
        etag, modified = lines["ETag"], lines["Last-Modified"]
        other, past, future = '"other"', "Thu, 01 Jan 1998 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
        for headers, expected in [
            (["Range: bytes=0-9"], (206, data[:10])),
            (["Range: bytes=-10"], (206, data[-10:])),
            (["Range: bytes=1020-"], (206, data[1020:])),
            (["Range: bytes=9-2"], (200, data)),
            (["Range: bytes=5000-"], (416, None)),
            (["Range: bytes=0-9", f"If-Range: {etag}"], (206, data[:10])),
            (["Range: bytes=0-9", f"If-Range: {other}"], (200, data)),
            (["Range: bytes=0-9", f"If-Range: {past}"], (200, data)),
            ([f"If-None-Match: {etag}"], (304, b"")),
            ([f"If-None-Match: W/{etag}"], (304, b"")),
            ([f"If-None-Match: {other}"], (200, data)),
            ([f"If-None-Match: {other}", f"If-Modified-Since: {modified}"], (200, data)),
            ([f"If-Modified-Since: {modified}"], (304, b"")),
            ([f"If-Modified-Since: {past}"], (200, data)),
            ([f"If-Match: {etag}"], (200, data)),
            ([f"If-Match: {other}"], (412, None)),
            ([f"If-Unmodified-Since: {future}"], (200, data)),
            ([f"If-Unmodified-Since: {past}"], (412, None)),
        ]:
            status, body = await self.curl(*(part for each in headers for part in ("-H", each)), f"{self.files}/a")
            self.assertEqual(status, expected[0], headers)
            if expected[1] is not None:
                self.assertEqual(body, expected[1], headers)

    async def test_conditionalWrites(self) -> None:
        url, other = f"{self.files}/a", 'If-Match: "other"'
        for arguments, expected in [
            (("-T", __file__, "-H", "If-None-Match: *", url), 201),
            (("-T", self.local, "-H", "If-None-Match: *", url), 412),
            (("-T", self.local, "-H", other, url), 412),
            (("-X", "DELETE", "-H", other, url), 412),
            (("-T", self.local, "-H", "If-Match: *", url), 204),
            (("-X", "DELETE", "-H", "If-Match: *", url), 204),
            (("-T", __file__, "-H", "If-Match: *", url), 412),
        ]:
            self.assertEqual((await self.curl(*arguments))[0], expected, arguments)
        self.assertEqual(os.listdir(self.root), [])

    async def test_severalRangesAreParts(self) -> None:
        await self.curl("-T", self.local, f"{self.files}/big")
        status, body = await self.curl("-r", "0-9,5000000-5000009", f"{self.files}/big")
        with open(self.local, "rb") as file:
            data = file.read()
        self.assertEqual((status, body.count(b"Content-Range: bytes ")), (206, 2))
        self.assertIn(b"Content-Range: bytes 5000000-5000009/20971527\r\n\r\n" + data[5000000:5000010], body)

    async def test_archivesAreUnpacked(self) -> None:
        os.makedirs(self.path("d/e"))
        os.symlink(self.path("d"), self.path("d/loop"))
        os.mkfifo(self.path("d/pipe"))
        await self.curl("-T", self.local, f"{self.files}/d/e/big")
        await self.curl("-T", __file__, f"{self.files}/d/caf%C3%A9")
        status, _ = await self.curl("-o", f"{self.folder}/d.zip", f"{self.files}/d?op=zip")
        self.assertEqual(status, 200)
        with zipfile.ZipFile(f"{self.folder}/d.zip") as archive:
            self.assertIsNone(archive.testzip())
            archive.extractall(f"{self.folder}/out")
        self.assertEqual(sha256(f"{self.folder}/out/d/e/big"), sha256(self.local))
        self.assertEqual(sha256(f"{self.folder}/out/d/caf\u00e9"), sha256(__file__))
        with open(f"{self.folder}/out/_left_out.txt", encoding="utf-8") as file:
            notes = file.read()
        self.assertIn("d/pipe: ", notes)
        self.assertIn("d/loop: ", notes)

    async def test_archiveThatNobodyWantsAnyMoreEnds(self) -> None:
        for number in range(50):
            with open(self.path(f"sparse-{number}"), "wb") as file:
                file.truncate(2**30)
        before = _residentBytes()
        status, _ = await self.curl("--limit-rate", "8M", "--max-time", "1", "-o", "/dev/null", f"{self.files}/?op=zip")
        self.assertEqual(status, -28)
        self.assertLess(_residentBytes() - before, 20 * 2**20)
        await self.pause(0.2)
        self.assertEqual([name for name in _openFiles() if "sparse-" in name], [])

    async def test_bodiesOfOtherFormsAreRefusedUnread(self) -> None:
        os.mkdir(self.path("in"))
        bomb = ["-F", f"file=@{self.local}", "-w", "\n%{size_upload}\n%{http_code}"]
        for path in ("in?op=move", "in?op=mkdir", "in?op=copy"):
            status, body = await self.curl(*bomb, f"{self.files}/{path}")
            self.assertEqual(status, 415, body)
        for encoding in ("gzip", "br", "identity"):
            status, _ = await self.curl("-T", self.local, "-H", f"Content-Encoding: {encoding}", f"{self.files}/x")
            self.assertEqual(status, 415)
        self.assertEqual(os.listdir(self.root), ["in"])

    async def test_putThatLiesAboutItsLength(self) -> None:
        await self.curl("-T", __file__, f"{self.files}/whole")
        for length, expected in (("10", {201, 204}), ("99999999", {-28, -92, -56})):
            status, _ = await self.curl(
                *("-T", __file__, "-H", f"Content-Length: {length}", "--max-time", "2", f"{self.files}/x{length}")
            )
            self.assertIn(status, expected)
        await self.pause(0.2)
        self.assertEqual(os.path.getsize(self.path("x10")), 10)
        self.assertNotIn("x99999999", os.listdir(self.root))
        self.assertEqual(sha256(self.path("whole")), sha256(__file__))

    async def test_hostileNamesAreNames(self) -> None:
        for name, expected in {
            "%3Cscript%3E": b"<script>",
            "a%0Ab": b"a\nb",
            "%22quoted%22": b'"quoted"',
            "..%5C..%5Cx": b"..\\..\\x",
            "%E2%80%AEgpj.exe": b"\xe2\x80\xaegpj.exe",
        }.items():
            self.assertEqual((await self.curl("-T", __file__, f"{self.files}/{name}"))[0], 201, name)
            self.assertIn(expected, os.listdir(os.fsencode(self.root)))
            status, head = await self.curl("-I", f"{self.files}/{name}")
            self.assertEqual(status, 200)
            self.assertEqual(head.count(b"Content-Disposition: attachment; "), 1)
            self.assertIn(b"Content-Security-Policy: sandbox", head)
        for name in ("a%00b", "%2e%2e", "a%2fb", "x" * 256, ".cftpcluster-part-x"):
            self.assertEqual((await self.curl("--path-as-is", "-T", __file__, f"{self.files}/{name}"))[0], 400, name)

    async def test_rawNames(self) -> None:
        self.assertEqual((await self.curl("-T", __file__, f"{self.files}/a%FFb"))[0], 201)
        self.assertEqual(os.listdir(os.fsencode(self.root)), [b"a\xffb"])
        _, body = await self.curl(f"{self.files}/")
        self.assertIn(b'"name":"a\\\\xffb","nameBytes":"Yf9i"', body)

    async def test_traversalLeadsNowhere(self) -> None:
        for path in (
            "../../etc/passwd",
            "%2e%2e/%2e%2e/etc/passwd",
            "..%2f..%2fetc%2fpasswd",
            "%2fetc%2fpasswd",
            "a/..;/",
            "%252e%252e/etc/passwd",
            "..%c0%af..%c0%afetc/passwd",
            "%5c..%5c..%5cetc%5cpasswd",
            "./../etc/passwd",
            "a/%2e%2e/%2e%2e/etc/passwd",
            ".%2e/etc/passwd",
            "%00/etc/passwd",
            "..%00/etc/passwd",
            "..;/..;/etc/passwd",
            "/etc/passwd",
            "a//etc/passwd",
        ):
            status, body = await self.curl("--path-as-is", f"{self.files}/{path}")
            self.assertIn(status, {400, 404}, (path, body))

    async def test_largeFilesDoNotFillMemory(self) -> None:
        with open(f"{self.folder}/sparse", "wb") as file:
            file.truncate(200 * 2**20)
        before = _residentBytes()
        self.assertEqual((await self.curl("-T", f"{self.folder}/sparse", f"{self.files}/big"))[0], 201)
        self.assertEqual((await self.curl("-o", "/dev/null", f"{self.files}/big"))[0], 200)
        self.assertLess(_residentBytes() - before, 40 * 2**20)

    async def test_slowReadersAreWaitedFor(self) -> None:
        with open(self.path("big"), "wb") as file:
            file.truncate(64 * 2**20)
        before = _residentBytes()
        status, _ = await self.curl("--limit-rate", "8M", "--max-time", "2", "-o", "/dev/null", f"{self.files}/big")
        self.assertEqual(status, -28)
        self.assertLess(_residentBytes() - before, 20 * 2**20)


class WgetTests(WebCase):
    async def test_wgetLogsInWhenAsked(self) -> None:
        if not os.path.exists("/usr/bin/wget"):
            raise SkipTest("wget is not installed")
        await self.curl("-T", __file__, f"{self.files}/a")
        status, output, _ = await self.run_(
            "/usr/bin/wget",
            "-q",
            "--no-check-certificate",
            "--user=alice",
            "--password=right horse",
            "-O",
            "-",
            f"{self.files}/a",
        )
        self.assertEqual((status, hashlib.sha256(output).hexdigest()), (0, sha256(__file__)))


def _openFiles() -> list[str]:
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return found


def _residentBytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
