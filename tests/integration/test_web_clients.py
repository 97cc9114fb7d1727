"""The programs that people use on files over HTTPS, against a server of this process."""

from __future__ import annotations

import hashlib
import os
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


def _residentBytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
