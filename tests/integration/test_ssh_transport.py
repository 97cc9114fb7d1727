"""What real clients and a server of this process agree upon: algorithms, keys, ways to log in, and what is refused."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ssh import SFTPOptions
from cftpcluster.servers.ssh.ciphers import AUTHENTICATED, CIPHERS
from cftpcluster.servers.ssh.negotiation import KEY_EXCHANGES, LEGACY_KEY_EXCHANGES, LEGACY_MACS, MACS
from tests.servers.ssh.peers import ECDSA, ED25519, RSA, pemOf

from .clients import needs, needsPackage, randomFile, sha256
from .sshserver import CLIENT_SECONDS, OpenSSHCase, SFTPCase

R = TypeVar("R")

OTHER = Ed25519PrivateKey.generate()


@needs("sftp", "ssh")
class OpenSSHTests(OpenSSHCase):
    macs = MACS
    exchanges = KEY_EXCHANGES

    async def test_everyCipherAndMAC(self) -> None:
        original, copy = randomFile(self.folder / "original", 300_000), self.folder / "copy"
        for cipher in CIPHERS:
            for mac in self.macs[:1] if cipher in AUTHENTICATED else self.macs:
                options = {"Ciphers": cipher.decode(), "MACs": mac.decode()}
                await self.sftp(f"put {original} file", f"get file {copy}", **options)
                self.assertEqual(sha256(copy), sha256(original), options)

    async def test_everyKeyExchange(self) -> None:
        supported = subprocess.run(["ssh", "-Q", "kex"], capture_output=True, check=True).stdout.decode().split()
        tried = [name for name in map(bytes.decode, self.exchanges) if name in supported]
        self.assertTrue(tried)
        for name in tried:
            await self.sftp("pwd", KexAlgorithms=name)

    async def test_keysAreExchangedAnewWithBigGroups(self) -> None:
        original, copy = randomFile(self.folder / "original", 3 << 20), self.folder / "copy"
        options = {"RekeyLimit": "1M", "KexAlgorithms": "diffie-hellman-group18-sha512"}
        await self.sftp(f"put {original} file", f"get file {copy}", **options)
        self.assertEqual(sha256(copy), sha256(original))

    async def test_keysAreExchangedUnderLoadInBothDirections(self) -> None:
        original, copy = randomFile(self.folder / "original", 6 << 20), self.folder / "copy"
        for cipher in ("aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-ctr"):
            await self.sftp(f"put {original} file", f"get file {copy}", RekeyLimit="2M", Ciphers=cipher)
            self.assertEqual(sha256(copy), sha256(original))

    async def test_onlyFilesAreServed(self) -> None:
        for arguments in (["id"], [], ["-T", "sh -c id"], ["-s", "shell"]):
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
class LegacyTests(OpenSSHCase):
    """A listener that serves old clients, too."""

    options = SFTPOptions(legacyAlgorithms=True)
    hostKeys = (ED25519, ECDSA)

    async def test_everythingThatItAddsWorks(self) -> None:
        original, copy = randomFile(self.folder / "original", 300_000), self.folder / "copy"
        for mac in map(bytes.decode, LEGACY_MACS):
            await self.sftp(f"put {original} file", f"get file {copy}", Ciphers="aes128-ctr", MACs=mac)
            self.assertEqual(sha256(copy), sha256(original), mac)
        for name in map(bytes.decode, LEGACY_KEY_EXCHANGES):
            await self.sftp("pwd", KexAlgorithms=name, HostKeyAlgorithms="ecdsa-sha2-nistp256")


@needs("sftp", "ssh")
class HostKeyTests(OpenSSHCase):
    """Host keys that change while clients keep what they know."""

    async def known(self, **options: str) -> set[str]:
        """Log in as those do who only know what they were told before; the keys that are known afterwards."""
        file = self.folder / "known_hosts"
        given = {"StrictHostKeyChecking": "yes", "UserKnownHostsFile": str(file), "UpdateHostKeys": "yes", **options}
        await self.sftp("pwd", **given)
        return {line.split()[2] for line in file.read_text().splitlines()}

    async def test_aRotationReachesThoseWhoKnowTheOldKey(self) -> None:
        old, new, rsa = (Key(key).public().toString("OPENSSH").decode().split()[1] for key in (ED25519, OTHER, RSA))
        self.assertEqual(await self.known(StrictHostKeyChecking="accept-new"), {old})
        self.pems += [pemOf(RSA), pemOf(OTHER)]
        self.assertEqual(await self.known(), {old, new, rsa})
        del self.pems[0]
        self.assertEqual(await self.known(), {new, rsa})
        self.assertEqual(await self.known(HostKeyAlgorithms="rsa-sha2-256,ssh-ed25519"), {new, rsa})
        self.pems[:] = [pemOf(ED25519)]
        result = await self.run_(
            "sftp",
            f"-P{self.port}",
            "alice@127.0.0.1",
            StrictHostKeyChecking="yes",
            UserKnownHostsFile=str(self.folder / "known_hosts"),
        )
        self.assertIn(b"Host key verification failed", result.stderr)


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

    async def test_everyKeyExchange(self) -> None:
        async def work(sftp: Any) -> None:
            await sftp.realpath(".")

        import asyncssh.kex

        for name in KEY_EXCHANGES:
            if name in asyncssh.kex.get_kex_algs():
                await self.connected(work, kex_algs=[name.decode()])


class ImportTests(SynchronousTestCase):
    def test_importingDoesNotInstallAReactor(self) -> None:
        code = "import sys, cftpcluster.servers.ssh; sys.exit('twisted.internet.reactor' in sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ":".join(sys.path)}, check=False
        )
        self.assertEqual(done.returncode, 0)
