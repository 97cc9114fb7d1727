"""Real SFTP clients against a server of this process, whose files are in memory: OpenSSH, paramiko and AsyncSSH."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.conch.interfaces import IConchUser
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cftpcluster.config.document import User
from cftpcluster.events import LoggedOut
from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.paths import parse
from cftpcluster.servers.ssh import SFTPOptions, sshAvatar
from cftpcluster.servers.ssh.ciphers import AUTHENTICATED, CIPHERS, MACS
from cftpcluster.servers.ssh.factory import SSHServer
from cftpcluster.testing.auth import Logins, SimpleChecker, documentWith
from cftpcluster.vocabulary import OpenMode, Origin
from tests.servers.ssh.peers import ED25519, RSA, pemOf

from .clients import needs, randomFile, sha256

R = TypeVar("R")

CLIENT_SECONDS = 60


def needsPackage(name: str) -> Callable[[type], type]:
    def mark(tested: type) -> type:
        if importlib.util.find_spec(name) is None:
            tested.skip = f"not installed: {name}"  # type: ignore[attr-defined]
        return tested

    return mark


class SFTPCase(TestCase):
    """Has a server with user ``alice``: password ``secret``, and either of the keys of the tests.

    :cvar options: of the server.
    :cvar hostKeys: of the server.
    :cvar userKey: of alice.
    """

    timeout = 120
    options = SFTPOptions()
    hostKeys = (ED25519,)
    userKey: Any = ED25519

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.key = self.folder / "key"
        self.key.write_bytes(pemOf(self.userKey))
        self.key.chmod(0o600)
        self.backend = MemoryBackend(self.reactor, 1 << 29)
        self.logins = Logins(
            self.filesOf,
            SimpleChecker({"alice": b"secret"}, {"alice": Key(self.userKey).public().blob()}),
            documentWith(User(name="alice")),
            {IConchUser: sshAvatar},
        )
        pems = [pemOf(key) for key in self.hostKeys]
        self.server = SSHServer(
            self.options,
            "sftp",
            self.reactor,
            self.logins.portal(),
            lambda: pems,
            self.logins.notify,
            os.urandom,
            lambda address: False,
        )
        listening = self.reactor.listenTCP(0, self.server, interface="127.0.0.1")
        self.port: int = listening.getHost().port
        self.addCleanup(self.stop, listening)

    def filesOf(self, user: User, origin: Origin) -> Any:
        return self.backend.fileSystem("", user.name, True)

    def stop(self, listening: Any) -> Deferred[None]:
        async def ended() -> None:
            await listening.stopListening()
            gone = self.server.drain()
            self.server.disconnect()
            await gone
            await self.pause(0.05)

        return Deferred.fromCoroutine(ended())

    def pause(self, seconds: float) -> Deferred[None]:
        paused: Deferred[None] = Deferred()
        self.reactor.callLater(seconds, paused.callback, None)
        return paused

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(1000):
            if condition():
                return
            await self.pause(0.01)
        self.fail("it did not come about")

    def inThread(self, function: Callable[..., R], *arguments: Any) -> Deferred[R]:
        """Run what blocks."""
        return deferToThreadPool(self.reactor, self.reactor.getThreadPool(), function, *arguments)

    async def stored(self, path: str) -> bytes:
        """What the storage holds."""
        file = await self.backend.fileSystem("", "other", True).open(parse(path), OpenMode.read)
        return await file.read(0, 1 << 29)


class OpenSSHCase(SFTPCase):
    def run_(self, program: str, *arguments: str, script: str = "", **options: str) -> Deferred[Any]:
        """Run a program of OpenSSH's; its result."""
        sshOptions = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "IdentitiesOnly": "yes",
            "IdentityFile": str(self.key),
            "PreferredAuthentications": "publickey",
            "LogLevel": "ERROR",
            **options,
        }
        command = [program, "-F", "/dev/null", *[f"-o{name}={value}" for name, value in sshOptions.items()], *arguments]
        return self.inThread(
            lambda: subprocess.run(
                command, input=script.encode(), capture_output=True, timeout=CLIENT_SECONDS, check=False
            )
        )

    async def sftp(self, *commands: str, **options: str) -> str:
        """Run a batch, which must succeed; what it said."""
        script = "\n".join(commands) + "\n"
        result = await self.run_("sftp", "-b-", f"-P{self.port}", "alice@127.0.0.1", script=script, **options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return str(result.stdout.decode())


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

    async def test_everyCipherAndMAC(self) -> None:
        original, copy = randomFile(self.folder / "original", 300_000), self.folder / "copy"
        for cipher in CIPHERS:
            for mac in MACS[:1] if cipher in AUTHENTICATED else MACS:
                options = {"Ciphers": cipher.decode(), "MACs": mac.decode()}
                await self.sftp(f"put {original} file", f"get file {copy}", **options)
                self.assertEqual(sha256(copy), sha256(original), options)

    async def test_everyKeyExchange(self) -> None:
        supported = subprocess.run(["ssh", "-Q", "kex"], capture_output=True, check=True).stdout.decode().split()
        tried = [name for name in ("curve25519-sha256", "curve25519-sha256@libssh.org") if name in supported]
        tried += [name for name in ("mlkem768x25519-sha256",) if name in supported]
        for name in tried:
            await self.sftp("pwd", KexAlgorithms=name)

    async def test_scpSaysThatItSucceeded(self) -> None:
        original = randomFile(self.folder / "original", 100_000)
        result = await self.run_("scp", "-s", f"-P{self.port}", str(original), "alice@127.0.0.1:file")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual(await self.stored("/file"), original.read_bytes())
        copy = self.folder / "copy"
        result = await self.run_("scp", "-s", f"-P{self.port}", "alice@127.0.0.1:~/file", str(copy))
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual(sha256(copy), sha256(original))

    async def test_keysAreExchangedUnderLoadInBothDirections(self) -> None:
        original, copy = randomFile(self.folder / "original", 6 << 20), self.folder / "copy"
        for cipher in ("aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-ctr"):
            await self.sftp(f"put {original} file", f"get file {copy}", RekeyLimit="2M", Ciphers=cipher)
            self.assertEqual(sha256(copy), sha256(original))

    async def test_onlyFilesAreServed(self) -> None:
        for arguments in (["id"], [], ["-T", "scp -t /"], ["-s", "shell"]):
            result = await self.run_("ssh", f"-p{self.port}", "alice@127.0.0.1", *arguments)
            self.assertNotEqual(result.returncode, 0)
            self.assertEqual(result.stdout, b"")

    async def test_nothingIsForwarded(self) -> None:
        closed = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(closed.close)
        target = f"127.0.0.1:{closed.getsockname()[1]}"
        result = await self.run_("ssh", f"-p{self.port}", "-W", target, "alice@127.0.0.1")
        self.assertIn(b"stdio forwarding failed", result.stderr)
        result = await self.run_(
            "ssh", f"-p{self.port}", "-N", "-R", f"0:{target}", "alice@127.0.0.1", ExitOnForwardFailure="yes"
        )
        self.assertNotEqual(result.returncode, 0)


@needs("sftp", "ssh")
class RSAUserTests(OpenSSHCase):
    """An RSA user of a server whose host key is Ed25519."""

    userKey = RSA

    async def test_logsIn(self) -> None:
        for algorithm in ("rsa-sha2-256", "rsa-sha2-512"):
            await self.sftp("pwd", PubkeyAcceptedAlgorithms=algorithm)


@needs("sftp", "ssh")
class RSAHostTests(OpenSSHCase):
    """A server whose host key is RSA."""

    hostKeys = (RSA,)

    async def test_servesWithSHA2Only(self) -> None:
        for algorithm in ("rsa-sha2-256", "rsa-sha2-512"):
            await self.sftp("pwd", HostKeyAlgorithms=algorithm)
        result = await self.run_(
            "ssh", f"-p{self.port}", "alice@127.0.0.1", HostKeyAlgorithms="ssh-rsa", LogLevel="INFO"
        )
        self.assertIn(b"no matching host key type", result.stderr)


@needs("sftp", "ssh")
class ServerRekeyTests(OpenSSHCase):
    """A server that wants new keys all the time."""

    options = SFTPOptions(rekeyBytes=1 << 20)

    async def test_clientsFollow(self) -> None:
        original, copy = randomFile(self.folder / "original", 16 << 20), self.folder / "copy"
        for cipher in ("aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr"):
            await self.sftp(f"put {original} file", f"get file {copy}", Ciphers=cipher)
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

    async def test_interactiveAndWrongPasswords(self) -> None:
        import paramiko

        def interactive() -> list[str]:
            transport = paramiko.Transport(("127.0.0.1", self.port))
            try:
                transport.start_client(timeout=CLIENT_SECONDS)
                return transport.auth_interactive("alice", lambda title, text, prompts: ["secret"] * len(prompts))
            finally:
                transport.close()

        self.assertEqual(await self.inThread(interactive), [])
        try:
            await self.connected(lambda sftp: None, password="wrong")
        except paramiko.AuthenticationException:
            pass
        else:
            self.fail("a wrong password was taken")

    async def test_aClientThatNeverReadsDoesNotFillTheMemory(self) -> None:
        def work(sftp: Any) -> None:
            with sftp.open("file", "wb") as file:
                file.set_pipelined(True)
                file.write(bytes(1 << 20))
            handle = sftp.open("file", "rb").handle
            for _ in range(400):
                sftp._async_request(type(None), 5, handle, int64(0), 255 * 1024)
            asked.set()
            done.wait(CLIENT_SECONDS)

        from paramiko.sftp import int64

        asked, done = threading.Event(), threading.Event()
        self.addCleanup(done.set)
        working = self.connected(work)
        await self.until(asked.is_set)
        largest = 0
        for _ in range(20):
            await self.pause(0.02)
            for transport in self.server._sessions:
                service: Any = transport.service
                largest = max(largest, *[channel.queued for channel in service.channels.values()], 0)
        self.assertLess(largest, 3 << 20)
        done.set()
        await working


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

    async def test_everyKeyExchange(self) -> None:
        async def work(sftp: Any) -> None:
            await sftp.realpath(".")

        import asyncssh.kex

        from cftpcluster.servers.ssh.negotiation import KEY_EXCHANGES

        for name in KEY_EXCHANGES:
            if name in asyncssh.kex.get_kex_algs():
                await self.connected(work, kex_algs=[name.decode()])

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


class ImportTests(SynchronousTestCase):
    def test_importingDoesNotInstallAReactor(self) -> None:
        code = "import sys, cftpcluster.servers.ssh; sys.exit('twisted.internet.reactor' in sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ":".join(sys.path)}, check=False
        )
        self.assertEqual(done.returncode, 0)
