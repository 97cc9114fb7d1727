"""FTP and FTPS as lftp speaks them: trees both ways, what was broken off, several connections at once."""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred

from cftpcluster.servers.ftp import FTPOptions

from .clients import needs
from .ftpserver import CONTENTS, ClientCase


@needs("lftp")
class LftpTests(ClientCase):
    settings: tuple[str, ...] = ("set ftp:ssl-force true", "set ftp:ssl-protect-data true")

    def lftp(self, *commands: str, code: int = 0) -> Deferred[str]:
        script = [
            "set ssl:verify-certificate no",
            "set net:max-retries 1",
            "set net:timeout 10",
            "set xfer:clobber yes",
            "set cmd:fail-exit yes",
            *self.settings,
            f"open -u alice,secret ftp://127.0.0.1:{self.port}",
            *commands,
        ]
        return self.run_("lftp", "--norc", "-c", "; ".join(script), code=code)

    async def test_aTreeIsMirroredThereAndBack(self) -> None:
        tree = self.folder / "tree" / "d é"
        tree.mkdir(parents=True)
        for number in range(12):
            (tree / f"f {number}").write_bytes(CONTENTS[: number * 1000])
        (tree / ".hidden").write_bytes(b"h")
        os.utime(tree / "f 1", (1_500_000_000, 1_500_000_000))
        await self.lftp("mirror -R --parallel=3 tree there")
        self.assertEqual(await self.get("/there/d é/f 11"), CONTENTS[:11000])
        await self.lftp("mirror there back")
        back = self.folder / "back" / "d é"
        self.assertEqual({path.name for path in back.iterdir()}, {path.name for path in tree.iterdir()})
        self.assertEqual((back / "f 11").read_bytes(), CONTENTS[:11000])
        self.assertEqual((back / "f 1").stat().st_mtime, 1_500_000_000)
        self.assertNotIn("Transferring", await self.lftp("mirror -R --verbose=3 tree there"))

    async def test_severalConnectionsAtOnce(self) -> None:
        """And files of which only one side is newer are left alone."""
        tree = self.folder / "tree"
        tree.mkdir()
        for number in range(40):
            (tree / str(number)).write_bytes(CONTENTS[:1024])
        await self.lftp("mirror -R --parallel=4 tree there", "mirror --parallel=4 there back")
        self.assertEqual(len(list((self.folder / "back").iterdir())), 40)
        self.assertGreaterEqual(len(self.users.sessions), 4)
        before = len(self.users.logins)
        (tree / "7").write_bytes(CONTENTS[:2048])
        (tree / "8").unlink()
        said = await self.lftp("mirror -R --delete --verbose=1 --parallel=4 tree there")
        self.assertEqual([line for line in said.splitlines() if "Transferring" in line], ["Transferring file `7'"])
        self.assertIsNone(await self.get("/there/8"))
        self.assertGreater(len(self.users.logins), before)

    async def test_aFileInPiecesAtOnce(self) -> None:
        await self.put("/x", CONTENTS)
        await self.lftp("pget -n 4 x -o y")
        self.assertEqual((self.folder / "y").read_bytes(), CONTENTS)

    async def test_bothDirectionsAreContinued(self) -> None:
        (self.folder / "x").write_bytes(CONTENTS)
        (self.folder / "y").write_bytes(CONTENTS[:300_000])
        await self.put("/x", CONTENTS[:300_000])
        await self.put("/z", CONTENTS[:200_000])
        await self.lftp("put -c x", "get -c x -o y", "reput x -o z")
        self.assertEqual(await self.get("/x"), CONTENTS)
        self.assertEqual(await self.get("/z"), CONTENTS)
        self.assertEqual((self.folder / "y").read_bytes(), CONTENTS)

    async def test_names(self) -> None:
        (self.folder / "x").write_bytes(b"12345")
        await self.lftp("mkdir -p a/b", "put x -o a/b/x", "mv a/b/x a/y", "chmod 600 a/y", "rmdir a/b")
        self.assertEqual(await self.get("/a/y"), b"12345")
        self.assertEqual((await self.lftp("cls -1 a")).split(), ["a/y"])
        await self.lftp("mrm a/*", "rmdir a")
        self.assertEqual((await self.lftp("nlist")).split(), [])

    async def test_activeMode(self) -> None:
        await self.put("/x", CONTENTS)
        await self.lftp("set ftp:passive-mode off", "get x")
        self.assertEqual((self.folder / "x").read_bytes(), CONTENTS)

    async def test_withoutMachineListings(self) -> None:
        await self.put("/x y", b"12345")
        self.assertIn("x y", await self.lftp("set ftp:use-mlsd off", "cls -l"))


@needs("lftp")
class LftpWithUnprotectedDataTests(LftpTests):
    """``PROT C``, which a listener with ``tls: optional`` allows."""

    settings = ("set ftp:ssl-force true", "set ftp:ssl-protect-data false", "set ftp:ssl-protect-list false")


@needs("lftp")
class LftpInTheClearTests(LftpTests):
    settings = ("set ftp:ssl-allow false",)


@needs("lftp")
class LftpImplicitTests(ClientCase):
    options = FTPOptions(implicit=True, passivePorts="51000-51999")

    async def test_upAndDown(self) -> None:
        (self.folder / "x").write_bytes(CONTENTS)
        script = f"set ssl:verify-certificate no; open -u alice,secret ftps://127.0.0.1:{self.port}; put x; get x -o y"
        await self.run_("lftp", "--norc", "-c", script)
        self.assertEqual((self.folder / "y").read_bytes(), CONTENTS)
