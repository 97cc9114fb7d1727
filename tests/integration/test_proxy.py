"""PROXY headers to a real node, on every protocol: who is believed, who passes for whom, and what is logged of it."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPSConnection
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import ClusterProcesses, loopbackAddresses, waitFor

from .talkers import trustingContext

PORTS = {"ftp": 2121, "ftps": 2990, "sftp": 2222, "https": 8443, "manager": 8444}
INNER_PORTS = (8789, 8790)
CLIENT, OTHER, VIP = "203.0.113.7", "203.0.113.66", "192.0.2.10"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def line(client: str = CLIENT) -> bytes:
    return f"PROXY TCP4 {client} {VIP} 50123 21\r\n".encode()


def binary(client: str = CLIENT, command: int = 0x21) -> bytes:
    addresses = socket.inet_aton(client) + socket.inet_aton(VIP) + struct.pack("!HH", 50123, 21)
    # With a TLV that nobody needs to know.
    return SIGNATURE + bytes([command, 0x11, 0, len(addresses) + 7]) + addresses + b"\xea\0\x04vpce"


LOCAL = SIGNATURE + b"\x20\0\0\0"


class ProxyTests(SynchronousTestCase):
    """One node; ``self.proxy`` is trusted, ``self.stranger`` is not, ``self.prober`` is in ``probeNetworks``."""

    def setUp(self) -> None:
        self.address, self.proxy, self.stranger, self.prober = loopbackAddresses(4)
        cluster = ClusterProcesses(("node-a",), (self.address,))
        cluster.__enter__()
        self.addCleanup(cluster.__exit__, None, None, None)
        self.node = cluster.primary.start("primary")
        listeners = self.node.export()["listeners"]
        self.node.apply(
            {
                "users": [{"name": "alice", "password": "secret", "mounts": [{"path": "/", "backend": "files"}]}],
                "settings": {"probeNetworks": [self.prober]},
                "listeners": [self.believing(each, "optional") for each in listeners if each["name"] in PORTS],
            },
            wait=20,
        )

    def believing(self, listener: dict[str, Any], mode: str) -> dict[str, Any]:
        return {**listener, "proxyProtocol": mode, "trustedProxies": [self.proxy]}

    # --- clients

    def connect(self, port: int, source: str, *pieces: bytes) -> socket.socket:
        """A connection on which something was sent, a piece at a time."""
        connection = socket.create_connection((self.address, port), 10, (source, 0))
        self.addCleanup(connection.close)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.005)
        return connection

    def secured(self, connection: socket.socket) -> ssl.SSLSocket:
        secured = trustingContext().wrap_socket(connection)
        self.addCleanup(secured.close)
        return secured

    def ftp(self, connection: socket.socket) -> FTP:
        return FTP(connection)

    def answered(self, connection: socket.socket) -> bytes:
        """What the server says until it ends the connection, which it does soon."""
        connection.settimeout(15)
        try:
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionError:
            return b""

    def logins(self) -> list[str]:
        """The addresses of all log-ins so far."""
        return re.findall(r"LoggedIn .*?address='([^']*)'", self.node.log)

    def test_headers(self) -> None:
        """One node for all: most of the time is its start."""
        self.everyProtocolKnowsTheClient()
        self.dataConnectionsAreTheClients()
        self.spoofersAreNobody()
        self.probesAreNotToldOf()
        self.requiredHeadersKeepOthersOut()

    # --- control connections

    def everyProtocolKnowsTheClient(self) -> None:
        for number, header in enumerate((line(), binary())):
            pieces = [header[at : at + 1] for at in range(len(header))] if number else [header]
            for protocol, client in self.loggedIn(pieces):
                found = waitFor(f"{protocol} logged in", self.logins)
                self.assertEqual(set(found), {CLIENT}, protocol)
                del client
        status = self.node.status()
        self.assertEqual(status["warnings"], ["administrator admin still has the initial password"])

    def loggedIn(self, pieces: Sequence[bytes]) -> Iterator[tuple[str, Any]]:
        """Clients of each protocol that have logged in behind a header."""
        clear = self.ftp(self.connect(2121, self.proxy, *pieces))
        clear.expect(220)
        clear.say("AUTH TLS", 234)
        over = FTP(self.secured(clear.connection))
        over.login()
        self.assertIn(VIP.replace(".", ","), over.say("PASV", 227))
        yield "ftp", over
        implicit = FTP(self.secured(self.connect(2990, self.proxy, *pieces)))
        implicit.expect(220)
        implicit.login()
        yield "ftps", implicit
        yield "sftp", self.sftp(self.connect(2222, self.proxy, *pieces))
        connection = HTTPSConnection(self.address, 8443, context=trustingContext())
        connection.sock = self.secured(self.connect(8443, self.proxy, *pieces))
        headers = {"Authorization": "Basic YWxpY2U6c2VjcmV0"}
        connection.request("GET", "/api/v1/files/", headers=headers)
        self.assertEqual(connection.getresponse().status, 200)
        yield "https", connection

    def sftp(self, connection: socket.socket) -> Any:
        import paramiko

        transport = paramiko.Transport(connection)
        self.addCleanup(transport.close)
        transport.connect(username="alice", password="secret")
        client = paramiko.SFTPClient.from_transport(transport)
        assert client is not None
        self.assertEqual(client.listdir("/"), [])
        return client

    # --- data connections

    def session(self) -> FTP:
        session = FTP(self.secured(self.connect(2990, self.proxy, binary())))
        session.expect(220)
        session.login()
        session.say("PBSZ 0", 200)
        session.say("PROT P", 200)
        return session

    def passive(self, session: FTP) -> int:
        match = re.search(r"\|\|\|(\d+)\|", session.say("EPSV", 229))
        assert match is not None
        return int(match[1])

    def dataConnectionsAreTheClients(self) -> None:
        session = self.session()
        for header in (line(), binary()):
            data = self.connect(self.passive(session), self.proxy, header)
            session.send("NLST")
            self.assertEqual(self.answered(self.secured(data)), b"")
            session.expect(150)
            session.expect(226)
        # Another client's, the proxy's own, one without a header, and one that does not come through the proxy.
        port = self.passive(session)
        for source, sent in (
            (self.proxy, line(OTHER)),
            (self.proxy, LOCAL),
            (self.proxy, b"\x16\x03\x01"),
            (self.stranger, line()),
            (self.stranger, b""),
        ):
            self.assertEqual(self.answered(self.connect(port, source, sent)), b"")
        data = self.connect(port, self.proxy, line())
        session.send("NLST")
        self.assertEqual(self.answered(self.secured(data)), b"")
        session.expect(150)
        session.expect(226)

    # --- those who are not believed

    def spoofersAreNobody(self) -> None:
        before = len(self.logins())
        spoofed = FTP(self.connect(2121, self.stranger, line(OTHER) + b"NOOP\r\n"))
        self.assertEqual([spoofed.expect(code)[:3] for code in (220, 500)], ["220", "500"])
        self.assertIn(b"Invalid SSH", self.answered(self.connect(2222, self.stranger, line(OTHER))))
        for port in (2990, 8443):
            self.assertNotIn(b"220", self.answered(self.connect(port, self.stranger, binary(OTHER))))
        for port in (2121, 2222):
            for sent in (
                b"USER alice\r\n",
                b"PROXY TCP4 x\r\n",
                line()[:-2] + b"\n" * 80,
                SIGNATURE + b"\x11\x11\0\x0c",
            ):
                self.assertEqual(self.answered(self.connect(port, self.proxy, sent)), b"", (port, sent))
        # The second header is the protocol's.
        twice = FTP(self.connect(2121, self.proxy, line() + line(OTHER)))
        twice.expect(220)
        twice.expect(500)
        self.assertEqual(len(self.logins()), before)
        self.assertNotIn(OTHER, self.node.log)
        told = re.findall(r"listener ftp: refused a connection from '(.*)': (.*)", self.node.log)
        self.assertEqual(
            told,
            [
                (self.proxy, "it does not start with a PROXY header"),
                (self.proxy, "its PROXY header is malformed"),
                (self.proxy, "its PROXY header does not end within 107 bytes"),
                (self.proxy, "its PROXY header is of version 1"),
            ],
        )

    # --- those who only look

    def probesAreNotToldOf(self) -> None:
        before = self.node.log
        reset = struct.pack("ii", 1, 0)
        for port in (*PORTS.values(), *INNER_PORTS):
            for source in (self.proxy, self.stranger, self.prober):
                self.connect(port, source).close()
                hasty = self.connect(port, source)
                hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                hasty.close()
                patient = self.connect(port, source)
                time.sleep(0.02)
                patient.close()
        for port in PORTS.values():
            self.connect(port, self.proxy, LOCAL).close()
            self.connect(port, self.proxy, binary(command=0x20)).close()
        for sent in (self.hello(), b"SSH-2.0-probe\r\n", b"GET / HTTP/1.0\r\n\r\n", b"\0" * 100):
            for port in (*PORTS.values(), *INNER_PORTS):
                self.connect(port, self.prober, sent).close()
        time.sleep(0.5)
        self.assertEqual(self.node.log[len(before) :], "")

    def hello(self) -> bytes:
        """The beginning of a TLS handshake."""
        outgoing = ssl.MemoryBIO()
        connection = trustingContext().wrap_bio(ssl.MemoryBIO(), outgoing)
        try:
            connection.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return outgoing.read()

    # --- required

    def requiredHeadersKeepOthersOut(self) -> None:
        session = self.session()
        listeners = [each for each in self.node.export()["listeners"] if each["name"] in PORTS]
        health = next(each for each in self.node.export()["listeners"] if each["name"] == "health")
        self.node.apply({"listeners": [self.believing(each, "required") for each in listeners]}, wait=20)
        for port in PORTS.values():
            for sent in (b"", line(), b"SSH-2.0-client\r\n"):
                self.assertEqual(self.answered(self.connect(port, self.stranger, sent)), b"", port)
        # A session that stands goes on, and its data connections follow.
        port = self.passive(session)
        self.assertEqual(self.answered(self.connect(port, self.stranger)), b"")
        data = self.connect(port, self.proxy, line())
        session.send("NLST")
        self.assertEqual(self.answered(self.secured(data)), b"")
        again = FTP(self.connect(2121, self.proxy, line()))
        again.expect(220)
        # Balancers' checks need no header, but may have one.
        self.assertEqual(self.node.health("/readyz/ftp")[0], 200)
        self.node.apply({"listeners": [self.believing(health, "optional")]}, wait=20)
        request = b"GET /readyz/ftp HTTP/1.0\r\n\r\n"
        self.assertIn(b" 200 ", self.answered(self.connect(8790, self.proxy, LOCAL + request)))
        self.assertIn(b" 200 ", self.answered(self.connect(8790, self.stranger, request)))


class FTP:
    """Lines of a control connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._received = b""

    def send(self, command: str) -> None:
        self.connection.sendall(command.encode() + b"\r\n")

    def expect(self, code: int) -> str:
        """The next answer, which must have this code."""
        while (match := re.match(rb"(?s)(.*?^\d{3} [^\n]*\n)", self._received, re.MULTILINE)) is None:
            received = self.connection.recv(65536)
            if not received:
                raise AssertionError(f"expected {code}, got {self._received!r} and the end")
            self._received += received
        self._received = self._received[match.end() :]
        answer = match[1].decode()
        if not answer.startswith(str(code)):
            raise AssertionError(f"expected {code}, got {answer!r}")
        return answer

    def say(self, command: str, code: int) -> str:
        self.send(command)
        return self.expect(code)

    def login(self) -> None:
        self.say("USER alice", 331)
        self.say("PASS secret", 230)
