"""FTP over real sockets of this process: how data connections end, and what their strangers get.

Each test is what an attacker or a broken client does; the server's view of it is in the class of that name in
:mod:`tests.servers.ftp`.
"""

from __future__ import annotations

import socket
import ssl
import time

from cftpcluster.servers.ftp import FTPOptions

from .ftpserver import SECONDS, ServerCase, Talker, everything, reset

CONTENTS = bytes(range(256)) * 2000


class DownloadTests(ServerCase):
    async def setUpFile(self, size: int = len(CONTENTS)) -> None:
        await self.put("/x", CONTENTS * (size // len(CONTENTS)))

    async def test_aFileComesWhole(self) -> None:
        await self.setUpFile()

        def download(tls: bool) -> tuple[bytes, int]:
            with Talker(self.port).login(tls=tls) as client:
                data = client.open("RETR /x")
                return everything(data), client.answer()

        for tls in (False, True):
            self.assertEqual(await self.inThread(download, tls), (CONTENTS, 226), tls)

    async def test_itIsReadAsFastAsTheClientReads(self) -> None:
        await self.setUpFile(64 * len(CONTENTS))

        def download() -> tuple[int, int]:
            with Talker(self.port).login() as client:
                port = client.passive()
                data = socket.socket()
                data.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                data.settimeout(SECONDS)
                data.connect(("127.0.0.1", port))
                client.say("RETR /x")
                time.sleep(0.3)
                client.say("STAT")
                (line,) = (line for line in client.text.splitlines() if "RETR" in line)
                sent = int(line.split()[2])
                received = len(everything(data))
                self.assertEqual(client.answer(), 226)
                return sent, received

        sent, received = await self.inThread(download)
        self.assertEqual(received, 64 * len(CONTENTS))
        self.assertLess(sent, 8 * 2**20)

    async def test_aSlowClientIsSeenToReadOn(self) -> None:
        """Long after everything was written to the socket; a client that reads nothing is seen to do so."""
        await self.setUpFile(8 * len(CONTENTS))

        def slow(data: socket.socket, amount: int) -> None:
            while amount > 0:
                amount -= len(data.recv(min(amount, 65536)))

        def start() -> tuple[Talker, socket.socket]:
            client = Talker(self.port).login()
            port = client.passive()
            data = socket.socket()
            data.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            data.settimeout(SECONDS)
            data.connect(("127.0.0.1", port))
            client.say("RETR /x")
            return client, data

        client, data = await self.inThread(start)
        self.addCleanup(client.__exit__)
        self.addCleanup(data.close)
        (control,) = self.server.connections
        assert control.session.transfer is not None
        connection = control.session.transfer.connection
        assert connection is not None

        async def steady() -> tuple[int, ...]:
            """What is seen of a client that reads nothing, when nothing is under way any more."""
            before: tuple[int, ...] | None = None
            while before != (now := connection.progress()):
                before = now
                await self.pause(0.3)
            return now

        seen = [await steady()]
        for _ in range(2):
            await self.inThread(slow, data, 500_000)
            seen.append(await steady())
        self.assertEqual(len(set(seen)), 3, seen)

    async def test_aClientThatLeavesIsTold426(self) -> None:
        await self.setUpFile(64 * len(CONTENTS))

        def leave(tls: bool) -> list[int]:
            with Talker(self.port).login(tls=tls) as client:
                data = client.open("RETR /x")
                data.recv(1000)
                reset(data)
                return [client.answer(), client.say("NOOP")]

        for tls in (False, True):
            self.assertEqual(await self.inThread(leave, tls), [426, 200], tls)

    async def test_aClientMayCloseItsHalfFirst(self) -> None:
        await self.setUpFile()

        def download() -> tuple[bytes, int]:
            with Talker(self.port).login() as client:
                port = client.passive()
                data = client.connect(port)
                data.shutdown(socket.SHUT_WR)
                client.say("RETR /x")
                return everything(data), client.answer()

        self.assertEqual(await self.inThread(download), (CONTENTS, 226))

    async def test_theHandshakeMayComeBeforeTheCommand(self) -> None:
        await self.setUpFile()

        def download() -> tuple[bytes, int]:
            with Talker(self.port).login(tls=True) as client:
                data = client.context.wrap_socket(client.connect(client.passive()))
                client.say("RETR /x")
                return everything(data), client.answer()

        self.assertEqual(await self.inThread(download), (CONTENTS, 226))

    async def test_aClientThatDoesNotSpeakTLSGetsNothing(self) -> None:
        await self.setUpFile()

        def download() -> tuple[bytes, list[int]]:
            with Talker(self.port).login(tls=True) as client:
                data = client.connect(client.passive())
                assert client.say("RETR /x") == 150
                data.sendall(b"GET / HTTP/1.0\r\n\r\n")
                received = everything(data)
                return received, [client.answer(), client.say("NOOP")]

        received, codes = await self.inThread(download)
        self.assertNotIn(CONTENTS[:16], received)
        self.assertEqual(codes, [425, 200])


class StrangerTests(ServerCase):
    """Data connections from elsewhere; faults rows 52 and 53."""

    async def test_aStrangerGetsNothingAndTheClientStillDoes(self) -> None:
        await self.put("/x", CONTENTS)

        def download() -> tuple[bytes, bytes, int]:
            with Talker(self.port).login() as client:
                port = client.passive()
                stolen = client.connect(port, "127.0.0.2")
                client.say("RETR /x")
                try:
                    loot = stolen.recv(100)
                except ConnectionResetError:
                    loot = b""
                return loot, everything(client.connect(port)), client.answer()

        self.assertEqual(await self.inThread(download), (b"", CONTENTS, 226))

    async def test_aSecondConnectionGetsNothing(self) -> None:
        await self.put("/x", CONTENTS)

        def download() -> tuple[bytes, bool]:
            with Talker(self.port).login() as client:
                port = client.passive()
                first = client.connect(port)
                client.say("NOOP")
                try:
                    refused = client.connect(port).recv(1) == b""
                except OSError:
                    refused = True
                client.say("RETR /x")
                return everything(first), refused

        self.assertEqual(await self.inThread(download), (CONTENTS, True))

    async def test_nothingElseIsDialled(self) -> None:
        def bounce() -> list[int]:
            with socket.create_server(("127.0.0.3", 0)) as victim, Talker(self.port).login() as client:
                port = victim.getsockname()[1]
                codes = [client.say(f"PORT 127,0,0,3,{port >> 8},{port & 255}"), client.say("LIST")]
                victim.settimeout(0.2)
                self.assertRaises(TimeoutError, victim.accept)
                return codes

        self.assertEqual(await self.inThread(bounce), [504, 425])

    async def test_theClientItselfIsDialled(self) -> None:
        await self.put("/x", CONTENTS)

        def download(tls: bool) -> tuple[bytes, str, int]:
            with socket.create_server(("127.0.0.1", 0)) as mine, Talker(self.port).login(tls=tls) as client:
                mine.settimeout(SECONDS)
                assert client.say(f"EPRT |1|127.0.0.1|{mine.getsockname()[1]}|") == 200
                assert client.say("RETR /x") == 150
                data, (source, _) = mine.accept()
                if tls:
                    data = client.context.wrap_socket(data)
                return everything(data), source, client.answer()

        for tls in (False, True):
            self.assertEqual(await self.inThread(download, tls), (CONTENTS, "127.0.0.1", 226), tls)


class ControlTests(ServerCase):
    async def test_commandsAreAnsweredBeforeTheDataConnectionIsMade(self) -> None:
        await self.put("/x", CONTENTS)

        def download() -> tuple[list[int], bytes, int]:
            with Talker(self.port).login() as client:
                port = client.passive()
                codes = [client.say("RETR /x"), client.say("NOOP"), client.say("STAT")]
                time.sleep(0.2)
                return codes, everything(client.connect(port)), client.answer()

        self.assertEqual(await self.inThread(download), ([150, 200, 211], CONTENTS, 226))

    async def test_aborMayComeAsUrgentData(self) -> None:
        """With Telnet's signals before it, or not, as Python's ftplib sends it."""
        await self.put("/x", CONTENTS * 32)

        def abort(line: bytes, flags: int) -> list[int]:
            with Talker(self.port).login() as client:
                data = client.open("RETR /x")
                data.recv(100)
                client.socket.sendall(line, flags)
                return [client.answer(), client.answer(), client.say("NOOP")]

        for line, flags in (
            (b"ABOR\r\n", 0),
            (b"ABOR\r\n", socket.MSG_OOB),
            (b"\xff\xf4\xff\xf2ABOR\r\n", 0),
            (b"\xff\xf4\xff\xf2ABOR\r\n", socket.MSG_OOB),
        ):
            self.assertEqual(await self.inThread(abort, line, flags), [426, 226, 200], (line, flags))

    async def test_telnetsSignalsMayBeUrgentAlone(self) -> None:
        await self.put("/x", CONTENTS * 32)

        def abort() -> list[int]:
            with Talker(self.port).login() as client:
                client.open("RETR /x").recv(100)
                client.socket.send(b"\xff\xf4\xff", socket.MSG_OOB)
                client.socket.send(b"\xf2ABOR\r\n")
                return [client.answer(), client.answer()]

        self.assertEqual(await self.inThread(abort), [426, 226])

    async def test_aTransferEndsWithItsControlConnection(self) -> None:
        def leave() -> bytes:
            with Talker(self.port).login() as client:
                data = client.open("STOR /x")
                data.sendall(CONTENTS)
            try:
                return data.recv(1)
            except ConnectionResetError:
                return b""

        self.assertEqual(await self.inThread(leave), b"")
        await self.pause(0.1)
        self.assertIsNone(await self.get("/x"))
        self.assertEqual(self.server.connections, set())
        self.assertEqual(self.users.ended, ["alice"])

    async def test_plaintextBeforeTheHandshakeIsNotObeyed(self) -> None:
        """CVE-2011-1575 and its like; faults row 55."""

        def inject() -> list[int]:
            with Talker(self.port) as client:
                client.socket.sendall(b"AUTH TLS\r\nUSER alice\r\nPASS secret\r\nMKD /injected\r\n")
                assert client.answer() == 234
                client.lines.close()
                client.socket = client.context.wrap_socket(client.socket)
                client.lines = client.socket.makefile("rb")
                return [client.say("PWD"), client.say("USER alice")]

        self.assertEqual(await self.inThread(inject), [530, 331])
        self.assertEqual(self.users.logins, [])

    async def test_whoDoesNotReadAnswersFillsNoMemory(self) -> None:
        def flood() -> int:
            with Talker(self.port).login() as client:
                client.socket.settimeout(0.5)
                sent = 0
                try:
                    while sent < 64 * 2**20:
                        sent += client.socket.send(b"HELP\r\n" * 10_000)
                except TimeoutError:
                    pass
                return sent

        # What is said piles up in the kernel's buffers, and no further.
        self.assertLess(await self.inThread(flood), 16 * 2**20)

    async def test_manyCommandsAtOnceAreAllAnswered(self) -> None:
        def flood() -> list[int]:
            with Talker(self.port).login() as client:
                client.socket.sendall(b"NOOP\r\n" * 5000 + b"QUIT\r\n")
                return [client.answer() for _ in range(5002)]

        self.assertEqual(await self.inThread(flood), [200] * 5000 + [221, 0])


class ResumedTLSTests(ServerCase):
    async def test_dataConnectionsResumeTheControlConnectionsSession(self) -> None:
        """Some clients insist on it, as a proof that both ends are the same."""

        def resumed(newest: ssl.TLSVersion) -> list[bool]:
            with Talker(self.port, newest=newest).login(tls=True) as client:
                found = []
                for _ in range(3):
                    data = client.connect(client.passive())
                    assert client.say("NLST") == 150
                    assert isinstance(client.socket, ssl.SSLSocket)
                    secured = client.context.wrap_socket(data, session=client.socket.session)
                    everything(secured)
                    found.append(bool(secured.session_reused))
                    assert client.answer() == 226
                return found

        for newest in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            self.assertEqual(await self.inThread(resumed, newest), [True, True, True], newest)


class HandshakeInPiecesTests(ServerCase):
    """GnuTLS, and so lftp, FileZilla and wget, says the end of a handshake in two pieces: its kernel holds the second
    one back until the first is acknowledged."""

    async def test_thePiecesAreAcknowledgedAtOnce(self) -> None:
        """Else each transfer waited for 40 ms."""
        await self.put("/x", b"abc")

        def seconds() -> float:
            with Talker(self.port).login(tls=True) as client:
                data = client.connect(client.passive())
                assert client.say("RETR /x") == 150
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                tls = client.context.wrap_bio(incoming, outgoing)
                while True:
                    try:
                        tls.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        data.sendall(outgoing.read())
                        incoming.write(data.recv(65536))
                started = time.monotonic()
                data.sendall(outgoing.read(6))
                time.sleep(0.005)
                data.sendall(outgoing.read())
                data.recv(1)
                taken = time.monotonic() - started
                data.close()
                return taken

        # The best of some, since other programs may be busy.
        self.assertLess(min([await self.inThread(seconds) for _ in range(5)]), 0.035)


class ImplicitTLSTests(ServerCase):
    options = FTPOptions(implicit=True, passivePorts="51000-51999")

    async def test_everythingIsProtectedFromTheStart(self) -> None:
        def exchange() -> tuple[int, bytes, int]:
            with Talker(self.port, implicit=True).login() as client:
                data = client.open("STOR /x")
                data.sendall(CONTENTS)
                assert isinstance(data, ssl.SSLSocket)
                data.unwrap().close()
                return client.answer(), everything(client.open("RETR /x")), client.say("AUTH TLS")

        code, received, auth = await self.inThread(exchange)
        self.assertEqual((code, received, auth), (226, CONTENTS, 226))
