"""Tests of :mod:`cftpcluster.servers.ftp.shell`: Twisted's own server speaks for our accounts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.cred.credentials import UsernamePassword
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientCreator, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols import ftp
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

import cftpcluster
from cftpcluster.auth.credentials import PasswordLogin
from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.paths import parse
from cftpcluster.servers.ftp.shell import ReadFile, WriteFile, ftpShell
from cftpcluster.testing.auth import Logins
from cftpcluster.vocabulary import OpenMode, Origin

DATA = bytes(range(256)) * 4000
ADDRESS = "127.41.1.1"


@frozen
class StockPortal:
    """Takes the credentials of Twisted's server to our portal."""

    portal: Any

    def login(self, credentials: UsernamePassword, mind: None, *interfaces: Any) -> Deferred[Any]:
        origin = Origin("ftp", ADDRESS, "stock", "0" * 32)
        login = PasswordLogin(credentials.username, credentials.password.encode(), origin)
        result: Deferred[Any] = self.portal.login(login, origin, *interfaces)
        return result


class Received(Protocol):
    """What comes over a data connection of the client."""

    def __init__(self) -> None:
        self.data = b""
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        self.ended.callback(self.data)


class StockServerTests(TestCase):
    """``twisted.protocols.ftp.FTP`` and ``FTPClient``, unchanged."""

    async def setUp(self) -> None:
        running: Any = reactor
        self.backend = MemoryBackend(running, 2**22)
        files = self.backend.fileSystem("", "alice", True)
        self.logins = Logins.of(files, {"alice": b"secret"}, avatars={ftp.IFTPShell: ftpShell})
        factory = ftp.FTPFactory(StockPortal(self.logins.portal()))
        factory.allowAnonymous = False
        port = running.listenTCP(0, factory, interface=ADDRESS)
        self.addCleanup(port.stopListening)
        self.client = await self.connect(port, "secret")

    async def connect(self, port: Any, password: str) -> Any:
        creator = ClientCreator(reactor, ftp.FTPClient, "alice", password, passive=True)
        client = await creator.connectTCP(ADDRESS, port.getHost().port)
        self.addCleanup(client.quit)
        return client

    async def said(self, command: str) -> str:
        return str((await self.client.queueStringCommand(command))[-1])

    async def failed(self, command: str) -> str:
        error = await self.assertFailure(self.client.queueStringCommand(command), ftp.CommandFailed)
        return str(error.args[0][-1])

    async def fetched(self, method: str, *arguments: str) -> bytes:
        received = Received()
        await getattr(self.client, method)(*arguments, received)
        return await received.ended

    async def stored(self, name: str, data: bytes) -> None:
        began, done = self.client.storeFile(name)
        sender = await began
        sender.transport.write(data)
        sender.finish()
        await done

    async def test_filesGoUpAndDown(self) -> None:
        await self.said("TYPE I")
        await self.stored("a b", DATA)
        self.assertEqual(await self.fetched("retrieveFile", "a b"), DATA)
        self.assertEqual(await self.said("SIZE a b"), f"213 {len(DATA)}")
        await self.stored("a b", b"")
        self.assertEqual(await self.fetched("retrieveFile", "a b"), b"")

    async def test_foldersAndNames(self) -> None:
        await self.said("TYPE I")
        await self.client.makeDirectory("d")
        await self.client.cwd("d")
        await self.stored("x", b"12345")
        await self.said("RNFR x")
        await self.said("RNTO y")
        self.assertEqual(await self.fetched("nlst", ""), b"y\r\n")
        self.assertRegex(await self.fetched("list", ""), rb"^-rw-[r-].* 5 .* y\r\n$")
        self.assertRegex(await self.said("MDTM y"), r"^213 \d{14}$")
        await self.client.removeFile("y")
        await self.client.cwd("/")
        await self.client.removeDirectory("d")
        self.assertEqual(await self.fetched("nlst", ""), b"")

    async def test_whatIsRefusedHasTwistedsCodes(self) -> None:
        await self.stored("x", b"")
        for command in ("CWD none", "CWD x", "DELE none", "RMD none", "SIZE none", "MKD x", "MKD .cftpcluster-part-1"):
            self.assertEqual((await self.failed(command))[:4], "550 ", command)

    async def test_whatDoesNotFitIsNotKept(self) -> None:
        await self.said("TYPE I")
        began, done = self.client.storeFile("x")
        sender = await began
        sender.transport.write(bytes(2**23))
        sender.finish()
        error = await self.assertFailure(done, ftp.CommandFailed)
        self.assertEqual(error.args[0][-1][:4], "552 ")
        self.assertEqual(len(self.flushLoggedErrors(ftp.FTPCmdError)), 1)
        self.assertEqual((await self.failed("SIZE x"))[:4], "550 ")


class ShellTests(SynchronousTestCase):
    def setUp(self) -> None:
        files = MemoryBackend(Clock(), 2**20).fileSystem("", "alice", True)
        logins = Logins.of(files, {"alice": b"secret"}, avatars={ftp.IFTPShell: ftpShell})
        login = PasswordLogin("alice", b"secret", Origin("ftp", ADDRESS, "stock", "0" * 32))
        _, self.shell, self.logout = self.successResultOf(logins.portal().login(login, login.origin, ftp.IFTPShell))
        self.files = files

    def test_theVocabularyIsTwisteds(self) -> None:
        verifyObject(ftp.IFTPShell, self.shell)
        written = self.successResultOf(self.shell.openForWriting(["x"]))
        verifyObject(ftp.IWriteFile, written)
        self.assertIsInstance(written, WriteFile)
        self.successResultOf(written.receive()).registerProducer(StringTransport(), True)
        written.write(b"12345")
        self.successResultOf(written.close())
        read = self.successResultOf(self.shell.openForReading(["x"]))
        verifyObject(ftp.IReadFile, read)
        self.assertIsInstance(read, ReadFile)
        transport = StringTransport()
        self.successResultOf(read.send(transport))
        self.assertEqual(transport.value(), b"12345")

    def test_nothingLeadsOutOfTheTree(self) -> None:
        for segments in (["..", "etc", "passwd"], ["a/../../b"], ["x\0"]):
            self.failureResultOf(self.shell.openForReading(segments), ftp.FTPCmdError)

    def test_namesThatAreNoTextAreBytes(self) -> None:
        self.successResultOf(self.files.makeDirectory(parse(b"caf\xe9")))
        self.assertEqual(self.successResultOf(self.shell.list([])), [(b"caf\xe9", [])])
        self.successResultOf(self.shell.removeDirectory([b"caf\xe9"]))

    def test_aFileListsItself(self) -> None:
        file = self.successResultOf(self.files.open(("x",), OpenMode.create))
        self.successResultOf(file.commit())
        self.assertEqual(self.successResultOf(self.shell.list(["x"], ("size", "directory"))), [("x", [0, False])])

    def test_afterItsLogoutNothingIsDone(self) -> None:
        self.successResultOf(self.shell.logout())
        self.failureResultOf(self.shell.makeDirectory(["x"]), ftp.FTPCmdError)

    def test_ourOwnServerDoesWithoutIt(self) -> None:
        """Importing ``twisted.protocols.ftp`` costs time, and installs a reactor."""
        code = "import sys, cftpcluster.servers.ftp; assert 'twisted.protocols.ftp' not in sys.modules"
        package = Path(cftpcluster.__file__).parent.parent
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=package)
