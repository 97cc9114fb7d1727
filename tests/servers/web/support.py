"""A web server in memory, and connections to it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from cftpcluster.auth.rules import Rules
from cftpcluster.config.document import Settings, User
from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.paths import parse
from cftpcluster.interfaces import IFileSystem
from cftpcluster.servers.web import WebOptions, WebServer, webServer
from cftpcluster.testing.auth import Logins, SimpleChecker, documentWith, numberedBytes
from cftpcluster.testing.files import write
from cftpcluster.testing.threads import InlinePool, InlineReactor

KEY = b"k" * 32
PASSWORD = b"right horse"
HOST = "files.example"


def basic(name: str = "alice", password: bytes = PASSWORD) -> str:
    """The value of ``Authorization``."""
    return "Basic " + base64.b64encode(name.encode() + b":" + password).decode()


@implementer(ISSLTransport)
class SecureTransport(StringTransport):
    """A connection in memory that counts as TLS."""

    def abortConnection(self) -> None:
        super().abortConnection()
        self.aborting = True

    aborting = False
    bufferSize = 64 * 1024

    def setTcpNoDelay(self, enabled: bool) -> None:
        """As a real one has it."""


@frozen
class Answer:
    """An answer, parsed.

    :ivar headers: by lower-case name; several of one name joined by a newline.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def parseAnswers(data: bytes, methods: list[str]) -> list[Answer]:
    """The answers to requests of these methods; what is incomplete is an error."""
    answers = []
    for method in methods:
        head, end, data = data.partition(b"\r\n\r\n")
        if not end:
            raise AssertionError(f"no answer to {method}: {head!r}")
        lines = head.decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            key = name.lower()
            headers[key] = f"{headers[key]}\n{value}" if key in headers else value
        status = int(lines[0].split(" ")[1])
        length = int(headers.get("content-length", 0))
        if method == "HEAD" or status in {204, 304} or status < 200:
            length = 0
        answers.append(Answer(status, headers, data[:length]))
        data = data[length:]
    if data:
        raise AssertionError(f"more than was asked for: {data[:200]!r}")
    return answers


@define(eq=False)
class Browser:
    """One connection."""

    channel: Any
    transport: SecureTransport

    def send(self, data: bytes) -> None:
        self.channel.dataReceived(data)

    def received(self) -> bytes:
        """What came since it was asked last."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def lose(self) -> None:
        self.channel.connectionLost(Failure(ConnectionDone()))

    @property
    def isClosed(self) -> bool:
        return self.transport.disconnecting or self.transport.aborting


@define(eq=False)
class Served:
    """A server, its files and its users."""

    backend: MemoryBackend
    clock: Clock
    logins: Logins
    server: WebServer
    settings: Settings = field(factory=Settings)
    keys: list[bytes] = field(factory=lambda: [KEY])

    @classmethod
    def of(
        cls,
        contents: Mapping[str, bytes | None],
        options: WebOptions | None = None,
        wrap: Callable[[IFileSystem], IFileSystem] = lambda files: files,
        checker: Any = None,
        failureSeconds: float = 0.0,
        capacityBytes: int = 2**28,
        rules: Rules | None = None,
    ) -> Served:
        clock = InlineReactor()
        clock.advance(1_700_000_000)
        backend = MemoryBackend(clock, capacityBytes)
        fill(backend.fileSystem("", "alice", True), contents)
        users = {"alice": PASSWORD, "bob": b"bobs"}
        logins = Logins(
            lambda user, origin: wrap(backend.fileSystem("", user.name, True)),
            checker or SimpleChecker(users),
            documentWith(*(User(name=name) for name in users)),
            clock=clock,
            failureSeconds=failureSeconds,
        )
        logins.rules = rules or logins.rules
        served = cls(backend, clock, logins, None)  # type: ignore[arg-type]
        served.server = webServer(
            options or WebOptions(),
            listener="https",
            reactor=clock,
            portal=logins.portal(),
            sessionKeys=lambda: served.keys,
            settings=lambda: served.settings,
            notify=logins.notify,
            now=clock.seconds,
            randomBytes=numberedBytes(),
            pool=InlinePool(),  # type: ignore[arg-type]
        )
        return served

    def connect(self, address: str = "192.0.2.7") -> Browser:
        transport = SecureTransport(peerAddress=IPv4Address("TCP", address, 40000))
        channel: Any = self.server.buildProtocol(IPv4Address("TCP", address, 40000))
        channel.makeConnection(transport)
        return Browser(channel, transport)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str | None) -> Answer:
        """One request on a connection of its own, by alice's password unless ``authorization`` says otherwise."""
        browser = self.connect()
        browser.send(request(method, path, body, **{"authorization": basic(), **headers}))
        self.clock.advance(0)
        return parseAnswers(browser.received(), [method])[0]

    def askJSON(self, method: str, path: str, value: Any, **headers: str | None) -> Answer:
        return self.ask(method, path, json.dumps(value).encode(), **{"contentType": "application/json", **headers})


def fill(files: IFileSystem, contents: Mapping[str, bytes | None]) -> None:
    """Make these files (``None``: a folder), parents first."""
    for path, data in contents.items():
        if data is None:
            files.makeDirectory(parse(path))
        else:
            Deferred.fromCoroutine(write(files, path, data))


def request(method: str, path: str, body: bytes | None = None, **headers: str | None) -> bytes:
    """The text of a request; ``None`` leaves a header out, and ``contentType`` means ``Content-Type``."""
    named = {"host": HOST, **headers}
    if body is not None:
        named.setdefault("contentLength", str(len(body)))
    lines = [f"{method} {path} HTTP/1.1"]
    for name, value in named.items():
        if value is not None:
            # Names with a hyphen are meant as they are.
            words = name if "-" in name else "".join("-" + each.lower() if each.isupper() else each for each in name)
            lines.append(f"{words}: {value}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")
