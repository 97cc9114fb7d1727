"""``cftpctl`` as a process of its own: over real sockets, of which some paths are long, and over HTTPS."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import ssl
import sys
import time
from pathlib import Path

from attrs import define, evolve, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase

from cftpcluster.auth.administrators import AdminPasswords
from cftpcluster.auth.delay import FailureDelay
from cftpcluster.cluster.authority import makeServiceCertificate
from cftpcluster.config.document import Settings
from cftpcluster.manager import ManagerOptions, ManagerServerFactory, Preparation, socketSite
from cftpcluster.servers.tls import ServerTLS
from cftpcluster.state import socketAddress

from ..manager.support import PASSWORD, Cluster

CHAIN, KEY = makeServiceCertificate(["localhost"], time.time())
FINGERPRINT = hashlib.sha256(ssl.PEM_cert_to_DER_cert(CHAIN.decode())).hexdigest()


@define(eq=False)
class Ended(ProcessProtocol):
    """Collects what a process prints; ``whenEnded`` fires with itself."""

    stdin: bytes = b""
    out: bytes = field(default=b"", init=False)
    err: bytes = field(default=b"", init=False)
    code: int | None = field(default=None, init=False)
    whenEnded: Deferred[Ended] = field(factory=Deferred, init=False)

    def connectionMade(self) -> None:
        self.transport.write(self.stdin)
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        self.out += data

    def errReceived(self, data: bytes) -> None:
        self.err += data

    def processEnded(self, reason: Failure) -> None:
        assert reason.check(ProcessDone, ProcessTerminated)
        self.code = reason.value.exitCode
        self.whenEnded.callback(self)


class ProgramTestCase(TestCase):
    def setUp(self) -> None:
        self.cluster = Cluster()
        self.pool = ThreadPool(0, 2)
        self.pool.start()
        self.addCleanup(self.pool.stop)
        preparation = Preparation(reactor, self.pool, self.cluster, lambda: self.cluster.sealer, {})
        self.administration = evolve(
            self.cluster.administration, preparation=preparation, reactor=reactor, pool=self.pool
        )
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)

    def listenLocally(self, state: Path) -> None:
        state.mkdir(parents=True, exist_ok=True)
        path = socketAddress(state / "admin.sock")
        listening = reactor.listenUNIX(path, socketSite(self.administration), mode=0o600)
        self.addCleanup(listening.stopListening)

    def listenSecurely(self) -> str:
        """Serve the administration over HTTPS, and return its URL."""
        delay = FailureDelay(reactor, lambda: 0.0, seconds=0)
        admins = AdminPasswords(
            self.cluster.node.document, self.cluster.passwords, lambda event: None, delay, self.cluster.rules.guard
        )
        server = ManagerServerFactory(self.administration, admins.authenticate).build(
            ManagerOptions(), reactor=reactor, sessionKeys=lambda: [b"k" * 32], settings=Settings
        )
        secure = TLSMemoryBIOFactory(ServerTLS(CHAIN, KEY), False, server, reactor)
        listening = reactor.listenTCP(0, secure, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        return f"https://localhost:{listening.getHost().port}"

    def start(self, *arguments: str, stdin: bytes = b"") -> Ended:
        ended = Ended(stdin)
        program = [sys.executable, "-c", "from cftpcluster.cli import main; main()", *arguments]
        self.process = reactor.spawnProcess(ended, sys.executable, program, env=os.environ)
        return ended

    async def call(self, *arguments: str, stdin: bytes = b"", code: int = 0) -> Ended:
        ended = await self.start(*arguments, stdin=stdin).whenEnded
        self.assertEqual(ended.code, code, (arguments, ended.out, ended.err))
        self.assertNotIn(b"Traceback", ended.err)
        if code == 1:
            self.assertEqual(ended.err.count(b"\n"), 1, ended.err)
        return ended

    def file(self, name: str, data: bytes) -> str:
        path = self.folder / name
        path.write_bytes(data)
        return str(path)


class SocketTests(ProgramTestCase):
    async def test_verbsOverTheSocket(self) -> None:
        self.listenLocally(self.folder)
        state = ("--state-dir", str(self.folder))
        done = await self.call(*state, "status", "--json")
        self.assertEqual((json.loads(done.out)["node"], done.err), ("node-a", b""))
        await self.call(*state, "user", "add", "alice", "--password-stdin", stdin=b"secret words\n")
        self.assertIn("alice", self.cluster.document.users)
        _, _, author, _ = self.cluster.node.proposals[-1]
        self.assertEqual(author.address, "socket")
        await self.call(*state, "user", "add", "alice", code=1)
        await self.call(*state, "user", "add", code=2)

    async def test_pathMayBeLong(self) -> None:
        state = self.folder / ("x" * 100) / ("y" * 100)
        self.listenLocally(state)
        done = await self.call("--state-dir", str(state), "node", "token", "node-b")
        self.assertTrue(done.out.startswith(b"cftpjoin1-"))

    async def test_noNodeIsOneLine(self) -> None:
        done = await self.call("--state-dir", str(self.folder / "nowhere"), "status", code=1)
        self.assertIn(b"no node is running", done.err)
        (self.folder / "admin.sock").touch()
        await self.call("--state-dir", str(self.folder), "status", code=1)

    async def test_largeDocumentsPass(self) -> None:
        self.listenLocally(self.folder)
        users = [{"name": f"user{number}", "groups": []} for number in range(20_000)]
        file = self.file("users.json", json.dumps({"users": users}).encode())
        done = await self.call("--state-dir", str(self.folder), "apply", file, "--json")
        self.assertEqual(len(json.loads(done.out)["changed"]), 20_000)
        done = await self.call("--state-dir", str(self.folder), "export", "--json")
        self.assertEqual(len(json.loads(done.out)["users"]), 20_000)

    async def test_interruptedIsNoSuccess(self) -> None:
        self.cluster.node.answer = Deferred()
        self.listenLocally(self.folder)
        ended = self.start("--state-dir", str(self.folder), "user", "add", "alice")
        while not self.cluster.node.proposals:
            await _soon()
        self.process.signalProcess(signal.SIGINT)
        await ended.whenEnded
        self.assertEqual((ended.code, ended.err), (130, b"cftpctl: interrupted\n"))


class SecureTests(ProgramTestCase):
    def options(self, url: str, *more: str, password: str = PASSWORD) -> tuple[str, ...]:
        return (
            "--url",
            url,
            "--user",
            "full",
            "--password-file",
            self.file("password", password.encode() + b"\n"),
            *more,
        )

    async def test_certificateIsVerified(self) -> None:
        url = self.listenSecurely()
        authorities = self.file("ca.pem", CHAIN)
        for good in (("--ca-file", authorities), ("--fingerprint", FINGERPRINT)):
            done = await self.call(*self.options(url, *good), "user", "list", "--json")
            self.assertEqual(json.loads(done.out), [])
        other, _ = makeServiceCertificate(["localhost"], time.time())
        for bad in ((), ("--ca-file", self.file("other.pem", other)), ("--fingerprint", "00" * 32)):
            done = await self.call(*self.options(url, *bad), "status", code=1)
            self.assertIn(b"certificate", done.err)
        wrongHost = url.replace("localhost", "127.0.0.1")
        await self.call(*self.options(wrongHost, "--ca-file", authorities), "status", code=1)
        await self.call(*self.options(wrongHost, "--fingerprint", FINGERPRINT), "status")

    async def test_wrongPasswordIsRefused(self) -> None:
        url = self.listenSecurely()
        pinned = ("--fingerprint", FINGERPRINT)
        done = await self.call(*self.options(url, *pinned, password="wrong"), "status", code=1)
        self.assertIn(b"password", done.err)
        await self.call(*self.options(url, *pinned), "user", "add", "alice", stdin=b"")
        _, _, author, _ = self.cluster.node.proposals[-1]
        self.assertEqual((author.name, author.address), ("full", "127.0.0.1"))

    async def test_nobodyThereIsOneLine(self) -> None:
        done = await self.call(*self.options("https://127.0.0.1:9"), "status", code=1)
        self.assertIn(b"127.0.0.1:9", done.err)


def _soon() -> Deferred[None]:
    fired: Deferred[None] = Deferred()
    reactor.callLater(0.05, fired.callback, None)
    return fired
