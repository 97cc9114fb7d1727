"""FTP and FTPS as curl speaks them: every one of its options that is about FTP."""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred

from cftpcluster.servers.ftp import FTPOptions

from .clients import needs
from .ftpserver import CONTENTS, ClientCase


@needs("curl")
class CurlTests(ClientCase):
    def curl(self, path: str, *arguments: str, code: int = 0) -> Deferred[str]:
        url = f"ftp://127.0.0.1:{self.port}/{path}"
        return self.run_("curl", "-sSk", "-u", "alice:secret", *self.switches, *arguments, url, code=code)

    switches: tuple[str, ...] = ("--ssl-reqd",)

    async def test_upAndDown(self) -> None:
        await self.curl("d/x", "--ftp-create-dirs", "-T", self.local("x", CONTENTS))
        self.assertEqual(await self.get("/d/x"), CONTENTS)
        await self.curl("d/x", "-o", "y")
        self.assertEqual((self.folder / "y").read_bytes(), CONTENTS)

    async def test_aDownloadIsContinued(self) -> None:
        await self.put("/x", CONTENTS)
        await self.curl("x", "-C", "-", "-o", self.local("y", CONTENTS[:1000]))
        self.assertEqual((self.folder / "y").read_bytes(), CONTENTS)

    async def test_anUploadIsContinued(self) -> None:
        """curl asks for the size, and appends the rest."""
        await self.put("/x", CONTENTS[:300_000])
        await self.curl("x", "-C", "-", "-T", self.local("y", CONTENTS))
        self.assertEqual(await self.get("/x"), CONTENTS)

    async def test_aPieceIsHad(self) -> None:
        """curl hangs up in the middle of the data; nobody else notices."""
        await self.put("/x", CONTENTS)
        await self.curl("x", "-o", "y", "-r", "1000-1999")
        self.assertEqual((self.folder / "y").read_bytes(), CONTENTS[1000:2000])
        await self.curl("x", "-o", "y", "-r", "-100")
        self.assertEqual((self.folder / "y").read_bytes(), CONTENTS[-100:])

    async def test_appending(self) -> None:
        await self.put("/x", b"one ")
        await self.curl("x", "-a", "-T", self.local("y", b"two"))
        self.assertEqual(await self.get("/x"), b"one two")

    async def test_withoutTheExtensions(self) -> None:
        await self.put("/x", CONTENTS)
        for switch in ("--ftp-skip-pasv-ip", "--no-ftp-skip-pasv-ip"):
            await self.curl("x", "-o", "y", "--disable-epsv", switch)
            self.assertEqual((self.folder / "y").read_bytes(), CONTENTS)

    async def test_everyWayToAFolder(self) -> None:
        for way in ("multicwd", "singlecwd", "nocwd"):
            # Folders are made by curl's own way alone.
            switches = ("--ftp-create-dirs",) if way == "multicwd" else ("--ftp-method", way)
            await self.curl(f"a%20é/deep/{way}", *switches, "-T", self.local("x", CONTENTS))
            self.assertEqual(await self.get(f"/a é/deep/{way}"), CONTENTS)
            await self.curl(f"a%20é/deep/{way}", "--ftp-method", way, "-o", "y")
            self.assertEqual((self.folder / "y").read_bytes(), CONTENTS)

    async def test_listings(self) -> None:
        await self.put("/é", b"12345")
        await self.put("/.hidden", b"")
        self.assertEqual(sorted((await self.curl("", "--list-only")).splitlines()), [".hidden", "é"])
        self.assertIn("é", await self.curl(""))
        self.assertIn("type=file;size=5;", await self.curl("", "-X", "MLSD"))

    async def test_text(self) -> None:
        await self.put("/x", b"one\ntwo\n")
        self.assertEqual(await self.curl("x", "--use-ascii"), "one\ntwo\n")
        await self.curl("y", "--use-ascii", "-T", self.local("y", b"one\ntwo\n"))
        self.assertEqual(await self.get("/y"), b"one\ntwo\n")

    async def test_timesAndSizes(self) -> None:
        await self.put("/x", b"12345")
        head = await self.curl("x", "-I")
        self.assertIn("Content-Length: 5", head)
        self.assertIn("Last-Modified: ", head)
        self.assertIn("Accept-ranges: bytes", head)
        self.local("new", b"newer")
        os.utime(self.folder / "new", (4_000_000_000, 4_000_000_000))
        await self.curl("x", "-o", "y", "-z", "new")
        self.assertFalse((self.folder / "y").exists())

    async def test_severalFilesOverOneConnection(self) -> None:
        for number in range(3):
            await self.put(f"/{number}", CONTENTS[: number * 1000])
        await self.curl("[0-2]", "-o", "f#1")
        for number in range(3):
            self.assertEqual((self.folder / f"f{number}").read_bytes(), CONTENTS[: number * 1000])
        self.assertEqual(len(self.users.sessions), 1)

    async def test_commands(self) -> None:
        await self.put("/x", b"12345")
        await self.curl("", "-Q", "MKD /d", "-Q", "RNFR /x", "-Q", "RNTO /d/y", "-Q", "SITE CHMOD 600 /d/y")
        self.assertEqual(await self.get("/d/y"), b"12345")

    async def test_whatIsMissingIsTold(self) -> None:
        await self.curl("none", code=78)
        await self.curl("none/", code=9)

    async def test_aWrongPasswordIsRefused(self) -> None:
        await self.curl("", "-u", "alice:wrong", code=67)


@needs("curl")
class CurlWithTLS12Tests(CurlTests):
    switches = ("--ssl-reqd", "--tls-max", "1.2")


@needs("curl")
class CurlInTheClearTests(CurlTests):
    switches = ()

    async def test_activeMode(self) -> None:
        """Over TLS this hangs in curl 7.88, which never starts the handshake."""
        await self.put("/x", CONTENTS)
        for switches in (("-P", "-"), ("-P", "-", "--disable-eprt")):
            await self.curl("x", "-o", "y", *switches)
            self.assertEqual((self.folder / "y").read_bytes(), CONTENTS)


@needs("curl")
class CurlImplicitTests(ClientCase):
    options = FTPOptions(implicit=True, passivePorts="51000-51999")

    async def test_upAndDown(self) -> None:
        (self.folder / "x").write_bytes(CONTENTS)
        switches = ("curl", "-sSk", "-u", "alice:secret")
        url = f"ftps://127.0.0.1:{self.port}/x"
        await self.run_(*switches, "-T", "x", url)
        self.assertEqual(await self.get("/x"), CONTENTS)
        await self.run_(*switches, "-o", "y", url)
        self.assertEqual((self.folder / "y").read_bytes(), CONTENTS)


@needs("curl")
class CurlWithRequiredTLSTests(ClientCase):
    options = FTPOptions(passivePorts="51000-51999")

    async def test_withoutTLSNoPasswordIsAskedFor(self) -> None:
        await self.run_("curl", "-sS", "-u", "alice:secret", f"ftp://127.0.0.1:{self.port}/", code=67)
        self.assertEqual(self.users.logins, [])

    async def test_dataInTheClearIsRefused(self) -> None:
        await self.put("/x", CONTENTS)
        url = f"ftp://127.0.0.1:{self.port}/x"
        await self.run_("curl", "-sSk", "-u", "alice:secret", "--ftp-ssl-control", url, code=19)
