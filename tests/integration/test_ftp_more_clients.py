"""FTP as clients use it that know no TLS, or only the old commands, or synchronise: ncftp, tnftp, wget, rclone."""

from __future__ import annotations

import os

from cftpcluster.files.paths import parse
from cftpcluster.servers.ftp import FTPOptions

from .clients import needs
from .ftpserver import CONTENTS, ClientCase


class OlderClientTests(ClientCase):
    @needs("ncftpget")
    async def test_ncftp(self) -> None:
        (self.folder / "x y").write_bytes(CONTENTS)
        login = ("-u", "alice", "-p", "secret", "-P", str(self.port))
        await self.run_("ncftpput", *login, "127.0.0.1", "/", "x y")
        self.assertEqual(await self.get("/x y"), CONTENTS)
        (self.folder / "back").mkdir()
        await self.run_("ncftpget", *login, "127.0.0.1", "back", "/x y")
        self.assertEqual((self.folder / "back" / "x y").read_bytes(), CONTENTS)
        self.assertIn("x y", await self.run_("ncftpls", *login, "ftp://127.0.0.1/"))
        (self.folder / "tree" / "d").mkdir(parents=True)
        (self.folder / "tree" / "d" / "é").write_bytes(CONTENTS)
        await self.run_("ncftpput", "-R", "-m", *login, "127.0.0.1", "/new", "tree")
        await self.run_("ncftpget", "-R", *login, "127.0.0.1", "back", "/new/tree")
        self.assertEqual((self.folder / "back" / "tree" / "d" / "é").read_bytes(), CONTENTS)
        (self.folder / "back" / "x y").write_bytes(CONTENTS[:1000])
        await self.run_("ncftpget", "-z", *login, "127.0.0.1", "back", "/x y")
        self.assertEqual((self.folder / "back" / "x y").read_bytes(), CONTENTS)

    @needs("tnftp")
    async def test_tnftp(self) -> None:
        (self.folder / "x").write_bytes(CONTENTS)
        url = f"ftp://alice:secret@127.0.0.1:{self.port}/"
        await self.run_("tnftp", "-u", url + "y", "x")
        self.assertEqual(await self.get("/y"), CONTENTS)
        await self.run_("tnftp", "-o", "z", url + "y")
        self.assertEqual((self.folder / "z").read_bytes(), CONTENTS)
        (self.folder / "z").write_bytes(CONTENTS[:1000])
        await self.run_("tnftp", "-R", "-o", "z", url + "y")
        self.assertEqual((self.folder / "z").read_bytes(), CONTENTS)

    @needs("wget")
    async def test_wget(self) -> None:
        await self.put("/x", CONTENTS)
        (self.folder / "x").write_bytes(CONTENTS[:1000])
        await self.run_("wget", "-q", "-c", f"ftp://alice:secret@127.0.0.1:{self.port}/x")
        self.assertEqual((self.folder / "x").read_bytes(), CONTENTS)
        await self.users.files().makeDirectory(parse("/d"))
        await self.put("/d/é y", CONTENTS)
        await self.run_("wget", "-q", "-r", "-nH", f"ftp://alice:secret@127.0.0.1:{self.port}/d/")
        self.assertEqual((self.folder / "d" / "é y").read_bytes(), CONTENTS)


@needs("rclone")
class RcloneTests(ClientCase):
    switches: tuple[str, ...] = ("--ftp-explicit-tls", "--transfers", "4", "--ftp-concurrency", "6")

    async def rclone(self, *arguments: str) -> str:
        secret = (await self.run_("rclone", "obscure", "secret")).strip()
        server = ("--ftp-host", "127.0.0.1", "--ftp-port", str(self.port), "--ftp-user", "alice", "--ftp-pass", secret)
        switches = ("--config", "/dev/null", "--ftp-no-check-certificate", "--retries", "1")
        return await self.run_("rclone", *arguments, *server, *switches, *self.switches)

    async def test_aTreeIsCopiedAndChecked(self) -> None:
        tree = self.folder / "tree" / "d é"
        tree.mkdir(parents=True)
        names = ("x", "y 'z'", '"quoted"', ".hidden", *map(str, range(12)))
        for number, name in enumerate(names):
            (tree / name).write_bytes(CONTENTS[number:])
        os.utime(tree / "x", (1_500_000_000, 1_500_000_000))
        await self.rclone("copy", "tree", ":ftp:there")
        self.assertEqual(await self.get("/there/d é/y 'z'"), CONTENTS[1:])
        await self.rclone("check", "--download", "tree", ":ftp:there")
        await self.rclone("sync", ":ftp:there", "back")
        back = self.folder / "back" / "d é"
        self.assertEqual({path.name for path in back.iterdir()}, set(names))
        self.assertEqual((back / "x").stat().st_mtime, 1_500_000_000)

    async def test_names(self) -> None:
        await self.put("/x", CONTENTS)
        await self.rclone("moveto", ":ftp:x", ":ftp:d/y")
        self.assertEqual(await self.rclone("lsf", "-R", ":ftp:"), "d/\nd/y\n")
        await self.put("/d/z", b"0123456789")
        self.assertEqual(await self.rclone("cat", "--offset", "7", ":ftp:d/z"), "789")
        await self.rclone("purge", ":ftp:d")
        self.assertIsNone(await self.get("/d/y"))


class RcloneInTheClearTests(RcloneTests):
    switches = ("--transfers", "4")


class RcloneImplicitTests(RcloneTests):
    options = FTPOptions(implicit=True, passivePorts="51000-51999")
    switches = ("--ftp-tls", "--transfers", "4")


class RcloneResumingTests(RcloneTests):
    """It remembers one session for each server, not for each connection, so it can have one at a time."""

    options = FTPOptions(tlsSessionReuse="required", passivePorts="51000-51999")
    switches = ("--ftp-explicit-tls", "--transfers", "1", "--checkers", "1", "--ftp-concurrency", "1")
