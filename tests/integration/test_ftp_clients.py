"""FTP as programs use it: Python's ftplib and Twisted's client, and what a client leaves that is killed."""

from __future__ import annotations

import ftplib
import io
import signal
import subprocess
import sys
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.ftp import FTPClient, FTPFileListProtocol

from .ftpserver import CONTENTS, SECONDS, ServerCase, clientContext


class FtplibTests(ServerCase):
    """Python's own client."""

    def ftp(self) -> ftplib.FTP:
        client = ftplib.FTP_TLS(context=clientContext(), timeout=SECONDS)
        client.connect("127.0.0.1", self.port)
        client.login("alice", "secret")
        client.prot_p()
        return client

    async def test_files(self) -> None:
        def use() -> tuple[bytes, bytes, int | None, list[str]]:
            with self.ftp() as client:
                client.storbinary("STOR /x", io.BytesIO(CONTENTS))
                client.storbinary("APPE /x", io.BytesIO(b"more"))
                whole, rest = io.BytesIO(), io.BytesIO()
                client.retrbinary("RETR /x", whole.write)
                client.retrbinary("RETR /x", rest.write, rest=len(CONTENTS))
                return whole.getvalue(), rest.getvalue(), client.size("/x"), client.nlst()

        expected = (CONTENTS + b"more", b"more", len(CONTENTS) + 4, ["x"])
        self.assertEqual(await self.inThread(use), expected)

    async def test_aBrokenUploadIsContinued(self) -> None:
        def use() -> int | None:
            with self.ftp() as client:
                client.voidcmd("TYPE I")
                connection, _ = client.ntransfercmd("STOR /x")
                connection.sendall(CONTENTS[:400_000])
                self.assertRaises(TimeoutError, readNothing, connection)
                connection.close()
                self.assertRaises(ftplib.error_temp, client.voidresp)
                there = client.size("/x")
                client.storbinary("STOR /x", io.BytesIO(CONTENTS[there:]), rest=there)
                return there

        self.assertEqual(await self.inThread(use), 400_000)
        self.assertEqual(await self.get("/x"), CONTENTS)

    async def test_listings(self) -> None:
        await self.put("/x", b"12345")
        bad = "caf\udce9"
        await self.put(f"/{bad}", b"")

        def use() -> tuple[list[str], dict[str, dict[str, str]], list[str], str]:
            with self.ftp() as client:
                client.encoding = "latin-1"
                lines: list[str] = []
                client.retrlines("LIST", lines.append)
                client.mkd("/d")
                return sorted(client.nlst()), dict(client.mlsd()), lines, client.pwd()

        names, facts, lines, folder = await self.inThread(use)
        self.assertEqual(names, ["caf\xe9", "d", "x"])
        self.assertEqual(
            {name: fact["type"] for name, fact in facts.items()}, {"caf\xe9": "file", "d": "dir", "x": "file"}
        )
        self.assertEqual((len(lines), folder), (2, "/"))

    async def test_text(self) -> None:
        def use() -> list[str]:
            with self.ftp() as client:
                client.storlines("STOR /x", io.BytesIO(b"one\ntwo\n"))
                lines: list[str] = []
                client.retrlines("RETR /x", lines.append)
                return lines

        self.assertEqual(await self.inThread(use), ["one", "two"])
        self.assertEqual(await self.get("/x"), b"one\ntwo\n")

    async def test_aborting(self) -> None:
        await self.put("/x", CONTENTS * 40)

        def use() -> str:
            with self.ftp() as client:
                connection = client.transfercmd("RETR /x")
                connection.recv(1000)
                client.putline("ABOR")
                self.assertRaises(ftplib.error_temp, client.getresp)
                answer = client.getresp()
                connection.close()
                client.voidcmd("NOOP")
                return answer[:3]

        self.assertEqual(await self.inThread(use), "226")

    async def test_namesAreRefusedWith550(self) -> None:
        def use() -> None:
            with self.ftp() as client:
                for command in ("CWD none", "SIZE none", "DELE none", "RETR none", "MLST none", "MDTM none"):
                    client.voidcmd("TYPE I")
                    with self.assertRaises(ftplib.error_perm) as caught:
                        client.voidcmd("PASV") if command.startswith("RETR") else None
                        client.voidcmd(command)
                    self.assertIn("550", str(caught.exception))

        await self.inThread(use)


def readNothing(connection: Any) -> None:
    """Read what TLS itself has to say behind the handshake."""
    connection.settimeout(0.1)
    connection.recv(1)


UPLOADER = """
import ftplib, sys, time
port, tls = int(sys.argv[1]), sys.argv[2] == "tls"
if tls:
    import ssl
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = ftplib.FTP_TLS(context=context)
else:
    client = ftplib.FTP()
client.connect("127.0.0.1", port)
client.login("alice", "secret")
if tls:
    client.prot_p()
client.voidcmd("TYPE I")
connection = client.transfercmd("STOR /x")
connection.sendall(b"half" * 100_000)
print("sent", flush=True)
time.sleep(60)
"""


class KilledClientTests(ServerCase):
    """The kernel of a killed client ends its connections in order, as if all had been said; faults row 35."""

    def kill(self, tls: str) -> None:
        arguments = [sys.executable, "-c", UPLOADER, str(self.port), tls]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), b"sent\n")
            process.send_signal(signal.SIGKILL)
            process.wait()

    async def test_theOldFileStays(self) -> None:
        await self.put("/x", b"old")
        for tls in ("clear", "tls"):
            await self.inThread(self.kill, tls)
            await self.pause(0.2)
            self.assertEqual(await self.get("/x"), b"old", tls)
            self.assertEqual(self.server.connections, set())


class TwistedClientTests(ServerCase):
    """The client that comes with Twisted, which shares our ancestry but none of our code."""

    async def test_filesAndListings(self) -> None:
        await self.put("/x", CONTENTS)
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.port, SECONDS)
        client = await endpoint.connect(Factory.forProtocol(lambda: FTPClient("alice", "secret", passive=1)))
        collected = Collected()
        await client.retrieveFile("/x", collected)
        self.assertEqual(b"".join(collected.pieces), CONTENTS)
        listed = FTPFileListProtocol()
        await client.list("/", listed)
        self.assertEqual([(file["filename"], file["size"]) for file in listed.files], [("x", len(CONTENTS))])
        consumer, stored = client.storeFile("/y")
        sender = await consumer
        sender.transport.write(b"from Twisted")
        sender.finish()
        await stored
        self.assertEqual(await self.get("/y"), b"from Twisted")
        await client.quit()
        client.transport.loseConnection()


class Collected(Protocol):
    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)
