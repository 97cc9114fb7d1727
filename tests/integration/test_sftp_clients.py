"""Real SFTP clients against a server of this process, whose files are in memory: OpenSSH, paramiko and AsyncSSH."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from cftpcluster.events import LoggedOut

from .clients import needs, needsPackage, randomFile, sha256
from .sshserver import CLIENT_SECONDS, OpenSSHCase, SFTPCase

R = TypeVar("R")


@needs("sftp", "ssh")
class OpenSSHTests(OpenSSHCase):
    async def test_aDaysWork(self) -> None:
        original, copy = randomFile(self.folder / "original", 1_000_003), self.folder / "copy"
        os.utime(original, (1_000_000_000, 1_000_000_000))
        said = await self.sftp(
            "pwd",
            "mkdir work",
            f"put -p {original} work/a",
            "chmod 600 work/a",
            "rename work/a work/b",
            "ln work/b work/hard",
            "ln -s b work/soft",
            "ls -ln work",
            "df",
            f"get work/soft {copy}",
            "rm work/hard",
            "rm work/soft",
        )
        self.assertIn("Remote working directory: /", said)
        self.assertIn("-rw-------", said)
        self.assertEqual(sha256(copy), sha256(original))
        self.assertEqual(await self.stored("/work/b"), original.read_bytes())
        stat = await self.backend.fileSystem("", "other", True).stat(("work", "b"))
        self.assertEqual(stat.modified, 1_000_000_000)
        await self.sftp("rm work/b", "rmdir work")

    async def test_whatFailsSaysSo(self) -> None:
        await self.sftp("mkdir folder")
        for command, words in {
            "cd /missing": "No such file",
            "get /missing": "not found",
            "mkdir folder": "Failure",
            "rmdir folder/missing": "No such file",
        }.items():
            result = await self.run_("sftp", "-b-", f"-P{self.port}", "alice@127.0.0.1", script=command + "\n")
            self.assertEqual(result.returncode, 1, command)
            self.assertIn(words, result.stderr.decode())

    async def test_resumingBothWays(self) -> None:
        original, copy = randomFile(self.folder / "original", 3_000_000), self.folder / "copy"
        whole = original.read_bytes()
        part = self.folder / "part"
        part.write_bytes(whole[:1_000_000])
        await self.sftp(f"put {part} file", f"reput {original} file")
        self.assertEqual(await self.stored("/file"), whole)
        copy.write_bytes(whole[:1_234_567])
        await self.sftp(f"reget file {copy}")
        self.assertEqual(copy.read_bytes(), whole)

    async def test_scpSaysThatItSucceeded(self) -> None:
        original = randomFile(self.folder / "original", 100_000)
        result = await self.run_("scp", "-s", f"-P{self.port}", str(original), "alice@127.0.0.1:file")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual(await self.stored("/file"), original.read_bytes())
        copy = self.folder / "copy"
        result = await self.run_("scp", "-s", f"-P{self.port}", "alice@127.0.0.1:~/file", str(copy))
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual(sha256(copy), sha256(original))


@needsPackage("paramiko")
class ParamikoTests(SFTPCase):
    def connected(self, work: Callable[[Any], R], **options: Any) -> Deferred[R]:
        """Do ``work`` with a client, in a thread."""
        import paramiko

        def run() -> R:
            client = paramiko.SSHClient()
            client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
            client.connect(
                "127.0.0.1",
                self.port,
                username="alice",
                allow_agent=False,
                look_for_keys=False,
                timeout=CLIENT_SECONDS,
                **{"password": "secret", **options},
            )
            with client, client.open_sftp() as sftp:
                return work(sftp)

        return self.inThread(run)

    async def test_filesOfAllModes(self) -> None:
        data = os.urandom(3_000_000)

        def work(sftp: Any) -> None:
            with sftp.open("file", "wb") as file:
                file.set_pipelined(True)
                file.write(data)
            with sftp.open("file", "rb") as file:
                file.prefetch()
                self.assertEqual(hashlib.sha256(file.read()).digest(), hashlib.sha256(data).digest())
            with sftp.open("file", "r+b") as file:
                file.seek(10)
                file.write(b"changed")
            with sftp.open("file", "ab") as file:
                file.write(b"the end")
            with sftp.open("new", "wx") as file:
                file.write(b"x")
            self.assertRaises(OSError, sftp.open, "new", "wx")
            self.assertEqual(sftp.stat("file").st_size, len(data) + 7)

        await self.connected(work)
        self.assertEqual(await self.stored("/file"), data[:10] + b"changed" + data[17:] + b"the end")

    async def test_namesAndAttributes(self) -> None:
        def work(sftp: Any) -> None:
            sftp.mkdir("folder")
            for name in ("a", "b", "grün"):
                sftp.open(f"folder/{name}", "w").close()
            sftp.posix_rename("folder/a", "folder/b")
            self.assertRaises(OSError, sftp.rename, "folder/grün", "folder/b")
            sftp.chmod("folder/b", 0o600)
            sftp.truncate("folder/b", 5)
            sftp.utime("folder/b", (1, 2))
            stat = sftp.stat("folder/b")
            self.assertEqual((stat.st_size, stat.st_mode & 0o777, stat.st_mtime), (5, 0o600, 2))
            sftp.symlink("b", "folder/link")
            self.assertEqual(sftp.readlink("folder/link"), "b")
            self.assertEqual(sorted(sftp.listdir("folder")), ["b", "grün", "link"])
            self.assertEqual(sftp.normalize("folder/../x"), "/x")
            self.assertRaises(FileNotFoundError, sftp.stat, "missing")

        await self.connected(work)


@needsPackage("asyncssh")
class AsyncSSHTests(SFTPCase):
    def connected(self, work: Callable[[Any], Any], **options: Any) -> Deferred[Any]:
        """Do ``work``, a coroutine function, with a client, in a thread."""
        import asyncssh

        async def run() -> Any:
            async with (
                asyncssh.connect(
                    "127.0.0.1",
                    self.port,
                    username="alice",
                    client_keys=[str(self.key)],
                    known_hosts=None,
                    agent_path=None,
                    config=None,
                    **options,
                ) as connection,
                connection.start_sftp_client() as sftp,
            ):
                return await work(sftp)

        return self.inThread(asyncio.run, run())

    async def test_filesAndNames(self) -> None:
        original, copy = randomFile(self.folder / "original", 5_000_000), self.folder / "copy"

        async def work(sftp: Any) -> None:
            await sftp.mkdir("folder")
            await sftp.put(str(original), "folder/file")
            await sftp.get("folder/file", str(copy))
            await sftp.symlink("file", "folder/link")
            self.assertEqual(await sftp.readlink("folder/link"), "file")
            await sftp.link("folder/file", "folder/hard")
            await sftp.put(str(original), "folder/other")
            await sftp.posix_rename("folder/other", "folder/hard")
            self.assertEqual(sorted(await sftp.listdir("folder")), ["file", "hard", "link"])
            self.assertGreater((await sftp.statvfs("/")).blocks, 0)
            await sftp.rmtree("folder")
            self.assertFalse(await sftp.exists("folder"))

        await self.connected(work)
        self.assertEqual(sha256(copy), sha256(original))

    async def test_manyRequestsAtOnce(self) -> None:
        async def work(sftp: Any) -> None:
            async def one(number: int) -> None:
                async with sftp.open(f"file{number}", "wb") as file:
                    await file.write(b"%d" % number * 1000)
                async with sftp.open(f"file{number}", "rb") as file:
                    self.assertEqual(await file.read(), b"%d" % number * 1000)
                await sftp.rename(f"file{number}", f"done{number}")

            await asyncio.gather(*(one(number) for number in range(150)))
            self.assertEqual(len(await sftp.listdir("/")), 150)

        await self.connected(work)

    async def test_brokenUploadIsContinued(self) -> None:
        data = os.urandom(2_000_000)

        async def broken(sftp: Any) -> None:
            file = await sftp.open("file", "wb")
            await file.write(data[:1_500_000])
            sftp._handler._conn.abort()

        async def continued(sftp: Any) -> None:
            size = (await sftp.stat("file")).size
            self.assertEqual(size, 1_500_000)
            async with sftp.open("file", "r+b") as file:
                await file.seek(size)
                await file.write(data[size:])

        try:
            await self.connected(broken)
        except Exception:  # noqa: BLE001 - however the client says that its connection is gone
            pass
        await self.until(lambda: any(isinstance(event, LoggedOut) for event in self.logins.events))
        await self.connected(continued)
        self.assertEqual(await self.stored("/file"), data)
