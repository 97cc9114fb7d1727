"""An FTP server with users in memory, for tests: without sockets (:class:`Conversation`) and with them."""

from __future__ import annotations

import datetime
import random
from typing import Any

from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError, ConnectionAborted, ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.auth.account import Account
from cftpcluster.errors import NotFound
from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.paths import parse
from cftpcluster.interfaces import IAccount, IFileSystem
from cftpcluster.servers.ftp import FTPOptions, FTPServer
from cftpcluster.servers.tls import ServerTLS
from cftpcluster.vocabulary import OpenMode


def _makeCertificate() -> ServerTLS:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return ServerTLS(certificate.public_bytes(pem), private)


CERTIFICATE = _makeCertificate()


@define(eq=False)
class Users:
    """Stands in for the portal: users of one memory backend, all of them in its root.

    :ivar logins: every credential that was tried.
    :ivar sessions: the accounts that were given out.
    :ivar ended: names of accounts that were logged out.
    :ivar held: where set, what a log-in waits for.
    """

    backend: MemoryBackend
    passwords: dict[str, bytes] = field(factory=lambda: {"alice": b"secret", "bob": b"hidden"})
    logins: list[Any] = field(factory=list)
    sessions: list[Account] = field(factory=list)
    ended: list[str] = field(factory=list)
    held: Deferred[None] | None = None
    error: Exception | None = None
    wrapped: Any = None

    def files(self, name: str = "alice") -> IFileSystem:
        """Another session's view of the same files."""
        return self.backend.fileSystem("", name, True)

    def login(self, credentials: Any, mind: Any, *interfaces: Any) -> Deferred[Any]:
        self.logins.append(credentials)
        if self.held is not None:
            return self.held.addCallback(lambda ignored: self._decide(credentials, mind))
        return self._decide(credentials, mind)

    def _decide(self, credentials: Any, mind: Any) -> Deferred[Any]:
        if self.error is not None:
            return fail(self.error)
        if self.passwords.get(credentials.name) != credentials.password:
            return fail(UnauthorizedLogin())
        files: Any = self.files(credentials.name)
        account = Account(credentials.name, mind, self.wrapped(files) if self.wrapped else files, 1)
        self.sessions.append(account)

        def logout() -> Deferred[None]:
            self.ended.append(account.name)
            return account.logout()

        return succeed((IAccount, account, logout))


def makeServer(reactor: Any, users: Any, options: FTPOptions, seed: int = 1) -> FTPServer:
    return FTPServer(
        options=options,
        listener="ftp",
        reactor=reactor,
        portal=users,
        tls=CERTIFICATE,
        bindAddress="",
        random=random.Random(seed),
        now=reactor.seconds,
        listenOn=_listenOn,
    )


def _listenOn(reactor: Any, port: int, factory: Any, address: str) -> Any:
    try:
        return reactor.listenTCP(port, factory, interface=address)
    except OSError as error:
        # Another process may have bound the same port, and has listened first.
        raise CannotListenError(address, port, error) from None


def address(host: str, port: int) -> IPv4Address | IPv6Address:
    """A TCP address of either family."""
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)


CLIENT = "192.0.2.7"
SERVER = "198.51.100.1"


class Transport(StringTransport):
    """A connection in memory, which ends a turn after it was asked to, as real ones do.

    :ivar secured: whether TLS was started.
    """

    def __init__(self, protocol: Any, reactor: Any, client: str = CLIENT, server: str = SERVER) -> None:
        super().__init__(address(server, 21), address(client, 40000), lenient=True)
        self.protocol = protocol
        self.reactor = reactor
        self.secured = False
        self.gone = False
        self.bufferSize = 65536
        protocol.makeConnection(self)

    def startTLS(self, context: Any) -> None:
        self.secured = True

    def loseConnection(self) -> None:
        self.disconnecting = True
        self.reactor.callLater(0, self.end, ConnectionDone())

    def abortConnection(self) -> None:
        self.disconnecting = True
        self.reactor.callLater(0, self.end, ConnectionAborted())

    def end(self, reason: Exception) -> None:
        """The connection is gone."""
        if not self.gone:
            self.gone = True
            if self.producer is not None:
                self.producer.stopProducing()
            self.protocol.connectionLost(Failure(reason))

    def taken(self) -> bytes:
        """What was written since the last time."""
        data: bytes = self.value()
        self.clear()
        return data


@define(eq=False)
class Conversation:
    """A client that talks to a server, all in memory.

    :ivar control: the control connection.
    """

    options: FTPOptions = field(factory=lambda: FTPOptions(tls="optional"))
    reactor: Any = field(factory=MemoryReactorClock)
    users: Users = field(init=False)
    server: FTPServer = field(init=False)
    control: Transport = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reactor.advance(1_000_000_000)
        self.users = Users(MemoryBackend(self.reactor, 2**28))
        self.server = makeServer(self.reactor, self.users, self.options)
        self.connect()

    def connect(self, client: str = CLIENT, server: str = SERVER) -> Transport:
        """Make another control connection, which takes the place of the one before."""
        protocol = self.server.buildProtocol(address(client, 40000))
        self.control = Transport(protocol, self.reactor, client, server)
        return self.control

    @property
    def session(self) -> Any:
        return self.control.protocol.session

    def heard(self) -> str:
        """The answers since the last time."""
        return self.control.taken().decode("utf-8", "surrogateescape")

    def send(self, data: bytes) -> str:
        """Send bytes; gives what is answered at once."""
        self.control.protocol.dataReceived(data)
        return self.heard()

    def say(self, *lines: str) -> str:
        """Say commands; gives the answers."""
        return "".join(self.send(line.encode("utf-8", "surrogateescape") + b"\r\n") for line in lines)

    def codes(self, *lines: str) -> list[int]:
        """Say commands; gives the codes of the final answers' lines."""
        return codesOf(self.say(*lines))

    def login(self) -> None:
        """Log in as alice, in TYPE I."""
        self.heard()
        assert self.codes("USER alice", "PASS secret", "TYPE I") == [331, 230, 200]

    def put(self, path: str, data: bytes | None = b"") -> None:
        """Have a file, or with ``None`` a folder."""
        files = self.users.files()
        errors: list[Failure] = []

        async def make() -> None:
            if data is None:
                await files.makeDirectory(parse(path))
                return
            file = await files.open(parse(path), OpenMode.replace)
            await file.write(0, data)
            await file.commit()

        Deferred.fromCoroutine(make()).addErrback(errors.append)
        assert not errors, errors

    def get(self, path: str) -> bytes | None:
        """What others read of a file; ``None`` where there is none."""

        async def read() -> bytes | None:
            try:
                file = await self.users.files("bob").open(parse(path), OpenMode.read)
            except NotFound:
                return None
            return await file.read(0, 2**28)

        results: list[bytes | None] = []
        Deferred.fromCoroutine(read()).addCallback(results.append)
        return results[0]

    def openData(self, client: str = CLIENT) -> Transport | None:
        """Connect to the newest passive port; ``None`` where nobody is let in."""
        _, factory, _, _ = self.reactor.tcpServers[-1]
        protocol = factory.buildProtocol(address(client, 40001))
        return None if protocol is None else Transport(protocol, self.reactor, client)

    def data(self) -> Transport:
        """Say EPSV, and connect."""
        assert self.codes("EPSV") == [229]
        transport = self.openData()
        assert transport is not None
        return transport

    def turn(self, seconds: float = 0.03) -> None:
        """Let time pass."""
        self.reactor.advance(seconds)


def codesOf(text: str) -> list[int]:
    """The codes of the answers in ``text``, the last line of each."""
    return [int(line[:3]) for line in text.split("\r\n") if line[:3].isdigit() and line[3:4] == " "]


class FilesCase(SynchronousTestCase):
    """A user who has logged in, with a folder ``/d`` and a file of five bytes ``/d/x``."""

    def setUp(self) -> None:
        self.client = Conversation()
        self.client.login()
        self.client.put("/d", None)
        self.client.put("/d/x", b"12345")
