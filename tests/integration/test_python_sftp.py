"""Clients made of paramiko and AsyncSSH against a real node, one of which works as WinSCP does."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import stat
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from .clients import TRANSFER_SECONDS, needsPackage, randomFile, sha256
from .sshclients import ODD_NAMES, ClientTestCase, makeTree, tree

R = TypeVar("R")

MANY = 2000


class ParamikoTestCase(ClientTestCase):
    @contextmanager
    def connected(self, **options: Any) -> Iterator[Any]:
        """A session whose working directory is :attr:`remote`."""
        import paramiko

        with paramiko.SSHClient() as client:
            client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
            client.connect(
                self.node.address,
                2222,
                self.user.name,
                **{"password": self.user.password, **options},
                allow_agent=False,
                look_for_keys=False,
                timeout=TRANSFER_SECONDS,
            )
            with client.open_sftp() as session:
                session.chdir(self.remote)
                yield session


@needsPackage("paramiko")
class ParamikoTests(ParamikoTestCase):
    def test_puttingAndGetting(self) -> None:
        original, copy = randomFile(self.local / "original", 3_000_001), self.local / "copy"
        told: list[int] = []
        with self.connected() as session:
            put = session.put(str(original), "file", callback=lambda done, whole: told.append(done), confirm=True)
            self.assertEqual((put.st_size, told[-1]), (3_000_001, 3_000_001))
            session.get("file", str(copy), prefetch=True)
            self.assertEqual(sha256(copy), sha256(original))
            session.get("file", str(copy), prefetch=False)
            self.assertEqual(sha256(copy), sha256(original))
            session.get("file", str(copy), max_concurrent_prefetch_requests=4)
            self.assertEqual(sha256(copy), sha256(original))
            session.putfo(io.BytesIO(b"some"), "some", file_size=4, confirm=True)
            got = io.BytesIO()
            session.getfo("some", got)
            self.assertEqual(got.getvalue(), b"some")
            session.putfo(io.BytesIO(b""), "empty", confirm=True)
            self.assertEqual(session.stat("empty").st_size, 0)

    def test_filesOfAllModes(self) -> None:
        data = os.urandom(3_000_000)
        with self.connected() as session:
            with session.open("file", "wb") as file:
                file.set_pipelined(True)
                for at in range(0, len(data), 10_007):
                    file.write(data[at : at + 10_007])
            with session.open("file", "rb") as file:
                file.prefetch()
                self.assertEqual(hashlib.sha256(file.read()).digest(), hashlib.sha256(data).digest())
            with session.open("file", "rb") as file:
                wanted = [(0, 10), (2_999_990, 10), (1_000_000, 70_000)]
                self.assertEqual(list(file.readv(wanted)), [data[at : at + size] for at, size in wanted])
                self.assertEqual(file.check("sha1", 1000, 5000), hashlib.sha1(data[1000:6000]).digest())
                self.assertEqual(file.check("sha256"), hashlib.sha256(data).digest())
            with session.open("file", "r+b") as file:
                file.seek(10)
                file.write(b"changed")
                file.flush()
                file.seek(8)
                self.assertEqual(file.read(10), data[8:10] + b"changed" + data[17:18])
            with session.open("file", "ab") as file:
                file.write(b"the end")
            with session.open("new", "wx") as file:
                file.write(b"x")
            self.assertRaises(OSError, session.open, "new", "wx")
            with session.open("text", "w") as file:
                file.writelines(["one\n", "two\n"])
            with session.open("text") as file:
                self.assertEqual(file.readlines(), ["one\n", "two\n"])
            self.assertEqual(session.stat("file").st_size, len(data) + 7)
        self.assertEqual((self.stored / "file").read_bytes(), data[:10] + b"changed" + data[17:] + b"the end")

    def test_namesAndAttributes(self) -> None:
        with self.connected() as session:
            session.mkdir("folder", 0o700)
            session.chdir("folder")
            for name in ODD_NAMES:
                session.open(name, "w").close()
            self.assertEqual(set(session.listdir()), set(ODD_NAMES))
            session.posix_rename(ODD_NAMES[0], ODD_NAMES[1])
            self.assertRaises(OSError, session.rename, ODD_NAMES[2], ODD_NAMES[1])
            session.rename(ODD_NAMES[2], "file")
            session.chmod("file", 0o600)
            session.truncate("file", 5)
            session.utime("file", (1, 2))
            found = session.stat("file")
            self.assertEqual((found.st_size, stat.S_IMODE(found.st_mode), found.st_mtime), (5, 0o600, 2))
            session.symlink("file", "link")
            self.assertEqual(session.readlink("link"), "file")
            self.assertTrue(stat.S_ISLNK(session.lstat("link").st_mode))
            self.assertTrue(stat.S_ISREG(session.stat("link").st_mode))
            self.assertEqual(session.normalize("../x"), f"{self.remote}/x")
            self.assertRaises(FileNotFoundError, session.stat, "missing")
            session.remove("link")
            self.assertRaises(OSError, session.rmdir, "../folder")
            self.assertRaises(OSError, session.remove, "../folder")

    def test_manyNames(self) -> None:
        for number in range(MANY):
            (self.stored / f"file{number}").touch()
        with self.connected() as session:
            wanted = {f"file{number}" for number in range(MANY)}
            self.assertEqual({entry.filename for entry in session.listdir_iter()}, wanted)
            self.assertEqual({entry.filename for entry in session.listdir_attr()}, wanted)


@needsPackage("paramiko")
class WinSCPTests(ParamikoTestCase):
    """What WinSCP does: a large file goes to another name first, is continued there, and then takes its place."""

    def upload(self, session: Any, original: Path, name: str, *, stopAfter: int | None = None) -> None:
        """As WinSCP does with a file that is large enough; ``stopAfter`` bytes it is gone."""
        part = f"{name}.filepart"
        try:
            begun = session.stat(part).st_size
        except FileNotFoundError:
            begun = 0
        with session.open(part, "r+b" if begun else "wb") as file, open(original, "rb") as local:
            file.set_pipelined(True)
            local.seek(begun)
            file.seek(begun)
            while piece := local.read(32_000):
                file.write(piece)
                if stopAfter is not None and local.tell() >= stopAfter:
                    session.sock.get_transport().sock.close()
                    return
        modified = int(original.stat().st_mtime)
        try:
            session.remove(name)
        except FileNotFoundError:
            pass
        session.rename(part, name)
        session.utime(name, (modified, modified))
        session.chmod(name, 0o640)

    def offered(self, session: Any) -> dict[bytes, bytes]:
        """The extensions, as the server's first packet names them."""
        import paramiko
        from paramiko.sftp import CMD_INIT, CMD_VERSION

        channel = session.sock.get_transport().open_session()
        channel.invoke_subsystem("sftp")
        other = paramiko.SFTPClient.__new__(paramiko.SFTPClient)
        paramiko.sftp.BaseSFTP.__init__(other)
        other.sock = channel
        version = paramiko.Message()
        version.add_int(3)
        other._send_packet(CMD_INIT, version)
        kind, data = other._read_packet()
        channel.close()
        self.assertEqual((kind, data[:4]), (CMD_VERSION, b"\0\0\0\3"))
        pairs = paramiko.Message(data[4:])
        found = {}
        while pairs.get_remainder():
            name = pairs.get_binary()
            found[name] = pairs.get_binary()
        return found

    def test_uploadsByAnotherName(self) -> None:
        original = randomFile(self.local / "original", 2_000_001)
        os.utime(original, (1_000_000_000, 1_000_000_000))
        with self.connected() as session:
            self.upload(session, original, "file")
        with self.connected() as session:
            self.upload(session, original, "file")
        self.assertEqual(os.listdir(self.stored), ["file"])
        found = (self.stored / "file").stat()
        self.assertEqual((stat.S_IMODE(found.st_mode), found.st_mtime), (0o640, 1_000_000_000))
        self.assertEqual(sha256(self.stored / "file"), sha256(original))

    def test_continuesWhatWasBegun(self) -> None:
        original = randomFile(self.local / "original", 3_000_001)
        (self.stored / "file").write_text("what was there")
        try:
            with self.connected() as session:
                self.upload(session, original, "file", stopAfter=1_500_000)
        except (OSError, EOFError):
            # However it says that its connection is gone.
            pass
        self.nobodyWrites()
        self.assertEqual((self.stored / "file").read_text(), "what was there")
        with self.connected() as session:
            self.assertTrue(0 < session.stat("file.filepart").st_size <= 1_600_000)
            self.upload(session, original, "file")
        self.assertEqual(sha256(self.stored / "file"), sha256(original))
        self.assertEqual(os.listdir(self.stored), ["file"])

    def test_whatIsOfferedWorks(self) -> None:
        import paramiko
        from paramiko.sftp import CMD_EXTENDED, CMD_EXTENDED_REPLY

        (self.stored / "old").write_text("old")
        (self.stored / "new").write_text("new")
        with self.connected() as session:
            offered = self.offered(session)
            session.posix_rename("new", "old")
            self.assertEqual((self.stored / "old").read_text(), "new")
            for name in (b"posix-rename@openssh.com", b"statvfs@openssh.com", b"hardlink@openssh.com"):
                self.assertIn(name, offered)
            self.assertIn(b"check-file", offered)
            words = [f"{self.remote}/old", "sha256,sha1,md5", paramiko.sftp.int64(0), paramiko.sftp.int64(0), 0]
            kind, answer = session._request(CMD_EXTENDED, "check-file-name", *words)
            self.assertEqual((kind, answer.get_text()), (CMD_EXTENDED_REPLY, "sha256"))
            self.assertEqual(answer.get_remainder(), hashlib.sha256(b"new").digest())
            self.assertIn(b"copy-data", offered)
            self.assertIn(b"space-available", offered)
            kind, answer = session._request(CMD_EXTENDED, "space-available", self.remote)
            total = answer.get_int64()
            self.assertTrue(kind == CMD_EXTENDED_REPLY and 0 < answer.get_int64() <= total)


@needsPackage("asyncssh")
class AsyncSSHTests(ClientTestCase):
    def connected(self, work: Callable[[Any], Coroutine[Any, Any, R]], **options: Any) -> R:
        """Do ``work`` with a session whose working directory is :attr:`remote`."""
        import asyncssh

        async def run() -> R:
            async with (
                asyncssh.connect(
                    self.node.address,
                    2222,
                    username=self.user.name,
                    client_keys=[str(self.user.key)],
                    known_hosts=None,
                    agent_path=None,
                    config=None,
                    **options,
                ) as connection,
                connection.start_sftp_client() as session,
            ):
                await session.chdir(self.remote)
                return await work(session)

        return asyncio.run(run())

    def test_treesBothWays(self) -> None:
        original = makeTree(self.local / "original")
        # Taken for a folder of Windows, and refused.
        (original / "back\\slash").unlink()

        async def work(session: Any) -> None:
            await session.put(str(original), "there", preserve=True, recurse=True)
            await session.get("there", str(self.local / "copy"), preserve=True, recurse=True)
            await session.mput([f"{original}/deep/*", f"{original}/gr*"], "more", recurse=True)
            await session.mget("there/[a-h]*", str(self.local), recurse=True)

        (self.stored / "more").mkdir()
        self.connected(work)
        wanted = tree(original, times=True, modes=True)
        self.assertEqual(tree(self.stored / "there", times=True, modes=True), wanted)
        self.assertEqual(tree(self.local / "copy", times=True, modes=True), wanted)
        self.assertEqual(tree(self.stored / "more" / "er"), tree(original / "deep" / "er"))
        self.assertEqual(tree(self.local / "deep"), tree(original / "deep"))

    def test_sizesAndNumbersOfRequests(self) -> None:
        original, copy = randomFile(self.local / "original", 2_000_003), self.local / "copy"

        async def work(session: Any) -> None:
            for options in ({"block_size": 1000, "max_requests": 300}, {"block_size": 255 * 1024}, {"max_requests": 1}):
                await session.put(str(original), "file", **options)
                await session.get("file", str(copy), **options)
                self.assertEqual(sha256(copy), sha256(original))

        self.connected(work)

    def test_copiesOnTheServer(self) -> None:
        original = makeTree(self.stored / "original")

        async def work(session: Any) -> None:
            self.assertTrue(session.supports_remote_copy)
            async with session.open("original/deep/er/large", "rb") as source, session.open("copied", "wb") as target:
                await session.remote_copy(source, target)
            await session.copy("original/deep/er/large", "sent")
            await session.copy("original/deep", "tree", recurse=True)

        self.connected(work)
        for name in ("copied", "sent"):
            self.assertEqual(sha256(self.stored / name), sha256(original / "deep" / "er" / "large"))
        self.assertEqual(tree(self.stored / "tree"), tree(original / "deep"))

    def test_linksSpaceAndNames(self) -> None:
        async def work(session: Any) -> None:
            await session.mkdir("folder")
            async with session.open("folder/file", "w") as file:
                await file.write("content")
            await session.symlink("file", "folder/soft")
            self.assertEqual(await session.readlink("folder/soft"), "file")
            self.assertTrue(await session.islink("folder/soft"))
            await session.link("folder/file", "folder/hard")
            async with session.open("folder/other", "w") as file:
                await file.write("other")
                await file.fsync()
                self.assertEqual((await file.statvfs()).bsize, (await session.statvfs("folder")).bsize)
            await session.posix_rename("folder/other", "folder/hard")
            self.assertEqual(sorted(await session.listdir("folder")), [".", "..", "file", "hard", "soft"])
            self.assertTrue(session.limits.max_write_len > 200_000)
            self.assertEqual(await session.realpath("folder/../x"), f"{self.remote}/x")
            self.assertEqual(sorted(await session.glob("folder/[fh]*")), ["folder/file", "folder/hard"])
            await session.rmtree("folder")
            self.assertFalse(await session.exists("folder"))

        self.connected(work)

    def test_keysAreSafeFromQuantumComputers(self) -> None:
        async def work(session: Any) -> None:
            self.assertEqual(await session.realpath("."), self.remote)

        self.connected(work, kex_algs=["mlkem768x25519-sha256"])

    def test_manyRequestsAtOnce(self) -> None:
        async def work(session: Any) -> None:
            async def one(number: int) -> None:
                async with session.open(f"file{number}", "wb") as file:
                    await file.write(b"%d" % number * 1000)
                async with session.open(f"file{number}", "rb") as file:
                    self.assertEqual(await file.read(), b"%d" % number * 1000)
                await session.rename(f"file{number}", f"done{number}")

            await asyncio.gather(*(one(number) for number in range(100)))
            self.assertEqual(len(await session.glob("*")), 100)

        self.connected(work)

    def test_brokenUploadIsContinued(self) -> None:
        data = os.urandom(2_000_000)

        async def broken(session: Any) -> None:
            file = await session.open("file", "wb")
            await file.write(data[:1_500_000])
            session._handler._conn.abort()

        async def continued(session: Any) -> None:
            size = (await session.stat("file")).size
            self.assertEqual(size, 1_500_000)
            async with session.open("file", "r+b") as file:
                await file.seek(size)
                await file.write(data[size:])

        try:
            self.connected(broken)
        except Exception:  # noqa: BLE001 - however the client says that its connection is gone
            pass
        self.nobodyWrites()
        self.assertFalse((self.stored / "file").exists())
        self.connected(continued)
        self.assertEqual((self.stored / "file").read_bytes(), data)
