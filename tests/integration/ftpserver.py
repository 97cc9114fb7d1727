"""An FTP server of this process on a loopback port, and a client that can say and do anything."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Self, TypeVar

from twisted.internet.defer import Deferred
from twisted.protocols.tls import TLSMemoryBIOFactory

from cftpcluster.errors import NotFound
from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.paths import parse
from cftpcluster.servers.ftp import FTPOptions, FTPServer
from cftpcluster.vocabulary import OpenMode
from tests.servers.ftp.support import Users, makeServer

from .inprocess import InProcessCase

R = TypeVar("R")

SECONDS = 10.0

CONTENTS = os.urandom(700_000)
"""More than one read of a socket, and of a file."""


class ServerCase(InProcessCase):
    """Has an FTP server with user ``alice`` (password ``secret``), whose files are in memory.

    :cvar options: of the server.
    """

    timeout = 60
    options = FTPOptions(tls="optional", passivePorts="51000-51999")

    def setUp(self) -> None:
        super().setUp()
        self.users = Users(MemoryBackend(self.reactor, 2**28))
        self.server = self.serve(self.options)

    def serve(self, options: FTPOptions) -> FTPServer:
        """Another server with the same users; its port is :attr:`port`."""
        server = makeServer(self.reactor, self.users, options)
        factory = TLSMemoryBIOFactory(server, False, server, self.reactor) if options.implicit else server
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.port = port.getHost().port
        self.addCleanup(self.stop, port, server)
        return server

    async def put(self, path: str, data: bytes) -> None:
        file = await self.users.files().open(parse(path), OpenMode.replace)
        await file.write(0, data)
        await file.commit()

    async def get(self, path: str, name: str = "bob") -> bytes | None:
        """What others read; ``None`` where there is no file."""
        try:
            file = await self.users.files(name).open(parse(path), OpenMode.read)
        except NotFound:
            return None
        return await file.read(0, 2**28)


class ClientCase(ServerCase):
    """Has programs of users, which start in :attr:`folder`."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def run_(self, *arguments: str, code: int = 0) -> Deferred[str]:
        """Run a program; gives what it printed."""

        def run() -> str:
            done = subprocess.run(arguments, capture_output=True, timeout=30, check=False, cwd=self.folder)
            self.assertEqual(done.returncode, code, done.stderr.decode("utf-8", "replace"))
            return done.stdout.decode()

        return self.inThread(run)

    def local(self, name: str, data: bytes) -> str:
        """Have a file where programs start."""
        (self.folder / name).write_bytes(data)
        return name


def clientContext() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Talker:
    """A client's control connection, and the data connections it makes. Everything blocks."""

    def __init__(
        self,
        port: int,
        *,
        host: str = "127.0.0.1",
        implicit: bool = False,
        newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.host = host
        if context is None:
            context = clientContext()
            context.maximum_version = newest
        self.context = context
        self.socket: socket.socket = socket.create_connection((host, port), SECONDS)
        if implicit:
            self.socket = self.context.wrap_socket(self.socket)
        self.lines = self.socket.makefile("rb")
        self.private = implicit
        assert self.answer() == 220

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.lines.close()
        self.socket.close()

    def answer(self) -> int:
        """The code of the next answer; its text is ``self.text``; 0 at the end of the connection."""
        lines = []
        while True:
            line = self.lines.readline().decode("utf-8", "surrogateescape")
            lines.append(line)
            if not line or (line[:3].isdigit() and line[3] == " "):
                self.text = "".join(lines)
                return int(line[:3] or 0)

    def say(self, line: str) -> int:
        self.socket.sendall(line.encode("utf-8", "surrogateescape") + b"\r\n")
        return self.answer()

    def secure(self) -> None:
        """AUTH TLS, and the handshake."""
        assert self.say("AUTH TLS") == 234, self.text
        self.lines.close()
        self.socket = self.context.wrap_socket(self.socket)
        self.lines = self.socket.makefile("rb")

    def protect(self) -> None:
        """Have data connections protected."""
        assert [self.say("PBSZ 0"), self.say("PROT P")] == [200, 200], self.text
        self.private = True

    def login(self, *, tls: bool = False) -> Talker:
        """Log in; with ``tls`` everything is protected."""
        if tls:
            self.secure()
        assert [self.say("USER alice"), self.say("PASS secret"), self.say("TYPE I")] == [331, 230, 200], self.text
        if tls:
            self.protect()
        return self

    def passive(self) -> int:
        """Ask for a port."""
        assert self.say("EPSV") == 229, self.text
        return int(self.text.split("|||")[1].split("|")[0])

    def connect(self, port: int, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection((self.host, port), SECONDS, (source, 0))

    def open(self, command: str) -> socket.socket:
        """Start a transfer, with TLS where it is protected."""
        data = self.connect(self.passive())
        assert self.say(command) == 150, self.text
        return self.context.wrap_socket(data) if self.private else data


def everything(connection: socket.socket) -> bytes:
    """All that comes."""
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def reset(connection: socket.socket) -> None:
    """End a connection with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
