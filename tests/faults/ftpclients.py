"""FTP clients that say anything, on real sockets, each from an address that a test chooses. Everything blocks."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from cftpcluster.testing.processes import NodeProcess
from tests.integration.ftpserver import Talker, clientContext, everything

from .attackers import elsewhere, isOpen
from .clusters import PASSWORD, USER, waitFor
from .scale import choose
from .test_sshfiles import FilesCase

SECURE_PORT = 2121
CLEAR_PORT = 2021
NARROW_PORT = 2022
NARROW_PORTS = range(52000, 52012)
DATA_PORTS = range(50000, 52000)
SECONDS = 60.0
HURRY_SECONDS = choose(20.0, 3.0)

LISTENERS = [
    {"name": "clear", "kind": "ftp", "port": CLEAR_PORT, "tls": "optional", "passivePorts": "51000-51999"},
    {
        "name": "narrow",
        "kind": "ftp",
        "port": NARROW_PORT,
        "tls": "optional",
        "passivePorts": f"{NARROW_PORTS[0]}-{NARROW_PORTS[-1]}",
    },
]


class Client(Talker):
    """One session, or less.

    :ivar source: the address that it comes from.
    """

    def __init__(self, node: NodeProcess, port: int = CLEAR_PORT, source: str = "") -> None:
        self.node, self.source, self.private = node, source or elsewhere(), False
        self.context = clientContext()
        self.socket = socket.create_connection((node.address, port), SECONDS, (self.source, 0))
        self.lines = self.socket.makefile("rb")
        assert self.answer() == 220, self.text

    def login(self, *, tls: bool = False, user: str = USER) -> Self:
        if tls:
            self.secure()
        assert [self.say(f"USER {user}"), self.say(f"PASS {PASSWORD}"), self.say("TYPE I")] == [331, 230, 200], (
            self.text
        )
        if tls:
            self.protect()
        return self

    def connect(self, port: int, source: str = "") -> socket.socket:
        return socket.create_connection((self.node.address, port), SECONDS, (source or self.source, 0))

    def sayAll(self, lines: Sequence[str]) -> list[str]:
        """Say many commands at once, and read all answers."""
        data = b"".join(line.encode("utf-8", "surrogateescape") + b"\r\n" for line in lines)
        with self.sending(data):
            answers = []
            for _ in lines:
                self.answer()
                answers.append(self.text)
        return answers

    @contextlib.contextmanager
    def sending(self, data: bytes) -> Iterator[None]:
        """Inside, this is being sent."""
        thread = threading.Thread(target=self.socket.sendall, args=(data,), daemon=True)
        thread.start()
        yield
        thread.join(SECONDS)
        assert not thread.is_alive()

    def fetch(self, command: str) -> bytes:
        """What a transfer brings, and what is said of it, whether or not it works."""
        data = self.connect(self.passive())
        with data:
            if self.say(command) != 150:
                return self.text.encode("utf-8", "surrogateescape")
            came = everything(self.context.wrap_socket(data) if self.private else data)
        self.answer()
        return came + self.text.encode("utf-8", "surrogateescape")

    def send(self, command: str, content: bytes) -> int:
        """The last answer to an upload, which the server may cut short."""
        data = self.connect(self.passive())
        with data:
            if self.say(command) != 150:
                return int(self.text[:3])
            connection = self.context.wrap_socket(data) if self.private else data
            with contextlib.suppress(OSError):
                connection.sendall(content)
                if self.private:
                    connection.unwrap()  # type: ignore[attr-defined]
            connection.close()
        return self.answer()


class FTPCase(FilesCase):
    """There are listeners that need no TLS."""

    def setUp(self) -> None:
        super().setUp()
        prepare(self.node)

    def assertServesFTP(self) -> None:
        with Client(self.node) as client:
            self.assertIn(b"226", client.login(user="bob").fetch("LIST"))


def prepare(node: NodeProcess) -> None:
    """Have the listeners."""
    if not isOpen(node, NARROW_PORT):
        node.apply({"listeners": LISTENERS})
        waitFor("the listeners", lambda: isOpen(node, NARROW_PORT) and isOpen(node, CLEAR_PORT))


def listening(node: NodeProcess, ports: Sequence[int]) -> list[int]:
    """Those of these ports on which the node listens."""
    address = ipaddress.IPv4Address(node.address).packed[::-1].hex().upper()
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        host, _, number = line.split()[1].partition(":")
        if line.split()[3] == "0A" and host == address and int(number, 16) in ports:
            found.append(int(number, 16))
    return found
