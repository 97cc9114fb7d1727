"""FTP as its users use it: curl, lftp, Python's ftplib and Twisted's client, against a server of this process."""

from __future__ import annotations

import ftplib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.ftp import FTPClient, FTPFileListProtocol

from cftpcluster.servers.ftp import FTPOptions

from .clients import needs
from .ftpserver import SECONDS, ServerCase, clientContext

CONTENTS = os.urandom(700_000)
"""More than one read of a socket, and of a file."""


class ClientCase(ServerCase):
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


@needs("curl")
class CurlTests(ClientCase):
    def curl(self, path: str, *arguments: str, code: int = 0) -> Deferred[str]:
        url = f"ftp://127.0.0.1:{self.port}/{path}"
        return self.run_("curl", "-sSk", "-u", "alice:secret", *self.switches, *arguments, url, code=code)

    switches: tuple[str, ...] = ("--ssl-reqd",)

    def local(self, name: str, data: bytes) -> str:
        (self.folder / name).write_bytes(data)
        return name

    async def test_upAndDown(self) -> None:
        await self.curl("d/x", "--ftp-create-dirs", "-T", self.local("x", CONTENTS))
        self.assertEqual(await self.get("/d/x"), CONTENTS)
        await self.curl("d/x", "-o", "y")
        self.assertEqual((self.folder / "y").read_bytes(), CONTENTS)

    async def test_aDownloadIsContinued(self) -> None:
        await self.put("/x", CONTENTS)
        await self.curl("x", "-C", "-", "-o", self.local("y", CONTENTS[:1000]))
        self.assertEqual((self.folder / "y").read_bytes(), CONTENTS)

    async def test_appending(self) -> None:
        await self.put("/x", b"one ")
        await self.curl("x", "-a", "-T", self.local("y", b"two"))
        self.assertEqual(await self.get("/x"), b"one two")

    async def test_withoutTheExtensions(self) -> None:
        await self.put("/x", CONTENTS)
        await self.curl("x", "-o", "y", "--disable-epsv")
        self.assertEqual((self.folder / "y").read_bytes(), CONTENTS)

    async def test_listings(self) -> None:
        await self.put("/é", b"12345")
        await self.put("/.hidden", b"")
        self.assertEqual(sorted((await self.curl("", "--list-only")).splitlines()), [".hidden", "é"])
        self.assertIn("é", await self.curl(""))
        self.assertIn("type=file;size=5;", await self.curl("", "-X", "MLSD"))

    async def test_text(self) -> None:
        await self.put("/x", b"one\ntwo\n")
        self.assertEqual(await self.curl("x", "--use-ascii"), "one\ntwo\n")
        await self.curl("y", "--use-ascii", "-T", self.local("y", b"one\ntwo\n"))
        self.assertEqual(await self.get("/y"), b"one\ntwo\n")

    async def test_timesAndSizes(self) -> None:
        await self.put("/x", b"12345")
        self.assertIn("Content-Length: 5", await self.curl("x", "-I"))

    async def test_commands(self) -> None:
        await self.put("/x", b"12345")
        await self.curl("", "-Q", "MKD /d", "-Q", "RNFR /x", "-Q", "RNTO /d/y", "-Q", "SITE CHMOD 600 /d/y")
        self.assertEqual(await self.get("/d/y"), b"12345")

    async def test_whatIsMissingIsTold(self) -> None:
        await self.curl("none", code=78)
        await self.curl("none/", code=9)

    async def test_aWrongPasswordIsRefused(self) -> None:
        await self.curl("", "-u", "alice:wrong", code=67)


@needs("curl")
class CurlInTheClearTests(CurlTests):
    switches = ()

    async def test_activeMode(self) -> None:
        """Over TLS this hangs in curl 7.88, which never starts the handshake."""
        await self.put("/x", CONTENTS)
        for switches in (("-P", "-"), ("-P", "-", "--disable-eprt")):
            await self.curl("x", "-o", "y", *switches)
            self.assertEqual((self.folder / "y").read_bytes(), CONTENTS)


@needs("curl")
class CurlImplicitTests(ClientCase):
    options = FTPOptions(implicit=True, passivePorts="51000-51999")

    async def test_upAndDown(self) -> None:
        (self.folder / "x").write_bytes(CONTENTS)
        switches = ("curl", "-sSk", "-u", "alice:secret")
        url = f"ftps://127.0.0.1:{self.port}/x"
        await self.run_(*switches, "-T", "x", url)
        self.assertEqual(await self.get("/x"), CONTENTS)
        await self.run_(*switches, "-o", "y", url)
        self.assertEqual((self.folder / "y").read_bytes(), CONTENTS)


@needs("curl")
class CurlWithRequiredTLSTests(ClientCase):
    options = FTPOptions(passivePorts="51000-51999")

    async def test_withoutTLSNoPasswordIsAskedFor(self) -> None:
        await self.run_("curl", "-sS", "-u", "alice:secret", f"ftp://127.0.0.1:{self.port}/", code=67)
        self.assertEqual(self.users.logins, [])

    async def test_dataInTheClearIsRefused(self) -> None:
        await self.put("/x", CONTENTS)
        url = f"ftp://127.0.0.1:{self.port}/x"
        await self.run_("curl", "-sSk", "-u", "alice:secret", "--ftp-ssl-control", url, code=19)


@needs("lftp")
class LftpTests(ClientCase):
    settings: tuple[str, ...] = ("set ftp:ssl-force true", "set ftp:ssl-protect-data true")

    def lftp(self, *commands: str, code: int = 0) -> Deferred[str]:
        script = [
            "set ssl:verify-certificate no",
            "set net:max-retries 1",
            "set net:timeout 10",
            "set xfer:clobber yes",
            "set cmd:fail-exit yes",
            *self.settings,
            f"open -u alice,secret ftp://127.0.0.1:{self.port}",
            *commands,
        ]
        return self.run_("lftp", "--norc", "-c", "; ".join(script), code=code)

    async def test_aTreeIsMirroredThereAndBack(self) -> None:
        tree = self.folder / "tree" / "d é"
        tree.mkdir(parents=True)
        for number in range(12):
            (tree / f"f {number}").write_bytes(CONTENTS[: number * 1000])
        (tree / ".hidden").write_bytes(b"h")
        os.utime(tree / "f 1", (1_500_000_000, 1_500_000_000))
        await self.lftp("mirror -R --parallel=3 tree there")
        self.assertEqual(await self.get("/there/d é/f 11"), CONTENTS[:11000])
        await self.lftp("mirror there back")
        back = self.folder / "back" / "d é"
        self.assertEqual({path.name for path in back.iterdir()}, {path.name for path in tree.iterdir()})
        self.assertEqual((back / "f 11").read_bytes(), CONTENTS[:11000])
        self.assertEqual((back / "f 1").stat().st_mtime, 1_500_000_000)
        self.assertNotIn("Transferring", await self.lftp("mirror -R --verbose=3 tree there"))

    async def test_bothDirectionsAreContinued(self) -> None:
        (self.folder / "x").write_bytes(CONTENTS)
        (self.folder / "y").write_bytes(CONTENTS[:300_000])
        await self.put("/x", CONTENTS[:300_000])
        await self.lftp("put -c x", "get -c x -o y")
        self.assertEqual(await self.get("/x"), CONTENTS)
        self.assertEqual((self.folder / "y").read_bytes(), CONTENTS)

    async def test_names(self) -> None:
        (self.folder / "x").write_bytes(b"12345")
        await self.lftp("mkdir -p a/b", "put x -o a/b/x", "mv a/b/x a/y", "chmod 600 a/y", "rmdir a/b")
        self.assertEqual(await self.get("/a/y"), b"12345")
        self.assertEqual((await self.lftp("cls -1 a")).split(), ["a/y"])
        await self.lftp("mrm a/*", "rmdir a")
        self.assertEqual((await self.lftp("nlist")).split(), [])

    async def test_activeMode(self) -> None:
        await self.put("/x", CONTENTS)
        await self.lftp("set ftp:passive-mode off", "get x")
        self.assertEqual((self.folder / "x").read_bytes(), CONTENTS)

    async def test_withoutMachineListings(self) -> None:
        await self.put("/x y", b"12345")
        self.assertIn("x y", await self.lftp("set ftp:use-mlsd off", "cls -l"))


@needs("lftp")
class LftpInTheClearTests(LftpTests):
    settings = ("set ftp:ssl-allow false",)


@needs("lftp")
class LftpImplicitTests(ClientCase):
    options = FTPOptions(implicit=True, passivePorts="51000-51999")

    async def test_upAndDown(self) -> None:
        (self.folder / "x").write_bytes(CONTENTS)
        script = f"set ssl:verify-certificate no; open -u alice,secret ftps://127.0.0.1:{self.port}; put x; get x -o y"
        await self.run_("lftp", "--norc", "-c", script)
        self.assertEqual((self.folder / "y").read_bytes(), CONTENTS)


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
