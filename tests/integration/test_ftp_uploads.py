"""How FTP's data connections end, over real sockets of this process, and which end commits an upload."""

from __future__ import annotations

import socket
import ssl
import time

from cftpcluster.servers.ftp import FTPOptions

from .ftpserver import ServerCase, Talker, reset

CONTENTS = bytes(range(256)) * 2000


def readTickets(data: socket.socket) -> None:
    """Read what TLS 1.3 sends behind the handshake. With that unread, a close would be a reset."""
    data.settimeout(0.3)
    try:
        data.recv(1)
    except TimeoutError:
        pass


class EndOfUploadTests(ServerCase):
    """Which end of a data connection commits an upload."""

    newest = ssl.TLSVersion.MAXIMUM_SUPPORTED

    def upload(self, end: str, *, tls: bool) -> int:
        with Talker(self.port, newest=self.newest).login(tls=tls) as client:
            data = client.open("STOR /x")
            data.sendall(CONTENTS)
            # A kernel that is told to close while something is unread forgets what it still had to send.
            time.sleep(0.1)
            if end == "close_notify":
                assert isinstance(data, ssl.SSLSocket)
                data.unwrap().close()
            elif end == "close_notify, nothing read":
                assert isinstance(data, ssl.SSLSocket)
                data.setblocking(False)
                try:
                    data.unwrap()
                except ssl.SSLWantReadError:
                    pass
                # The session tickets that the server sent were not read, so the kernel ends with a reset.
                data.close()
            elif end == "half close":
                data.shutdown(socket.SHUT_WR)
                self.assertEqual(data.recv(1), b"")
                data.close()
            elif end == "reset":
                reset(data)
            elif end == "garbage":
                raw = socket.socket(fileno=data.detach())
                raw.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
                raw.close()
            else:
                if tls:
                    readTickets(data)
                raw = socket.socket(fileno=data.detach())
                raw.close()
            return client.answer()

    async def check(self, end: str, *, tls: bool, code: int) -> None:
        self.assertEqual(await self.inThread(lambda: self.upload(end, tls=tls)), code)
        self.assertEqual(await self.get("/x"), CONTENTS if code == 226 else None)

    async def test_inTheClearACloseIsTheEnd(self) -> None:
        await self.check("close", tls=False, code=226)

    async def test_inTheClearAHalfCloseIsTheEnd(self) -> None:
        await self.check("half close", tls=False, code=226)

    async def test_inTheClearAResetIsNot(self) -> None:
        await self.check("reset", tls=False, code=426)

    async def test_overTLSItsOwnEndIsTheEnd(self) -> None:
        await self.check("close_notify", tls=True, code=226)

    async def test_overTLSTheEndMayBeFollowedByAReset(self) -> None:
        await self.check("close_notify, nothing read", tls=True, code=226)

    async def test_overTLSACloseIsNot(self) -> None:
        """FTPS uploads cut short by whoever is in between; faults row 37."""
        await self.check("close", tls=True, code=426)

    async def test_overTLSAResetIsNot(self) -> None:
        await self.check("reset", tls=True, code=426)

    async def test_overTLSGarbageIsNot(self) -> None:
        await self.check("garbage", tls=True, code=426)

    async def test_whatABrokenUploadLeftIsContinued(self) -> None:
        def resume() -> tuple[int, str]:
            self.upload("close", tls=True)
            with Talker(self.port).login(tls=True) as client:
                assert client.say("SIZE /x") == 213
                size = client.text
                client.say(f"REST {len(CONTENTS)}")
                data = client.open("STOR /x")
                data.sendall(b"the rest")
                assert isinstance(data, ssl.SSLSocket)
                data.unwrap().close()
                return client.answer(), size

        self.assertEqual(await self.inThread(resume), (226, f"213 {len(CONTENTS)}\r\n"))
        self.assertEqual(await self.get("/x"), CONTENTS + b"the rest")


class EndOfOlderUploadTests(EndOfUploadTests):
    """The same with TLS 1.2."""

    newest = ssl.TLSVersion.TLSv1_2


class RelaxedEndOfUploadTests(EndOfUploadTests):
    """``requireCloseNotify: false``, for clients that cannot do better."""

    options = FTPOptions(tls="optional", passivePorts="51000-51999", requireCloseNotify=False)

    async def test_overTLSACloseIsNot(self) -> None:
        """It is the end here."""
        await self.check("close", tls=True, code=226)

    async def test_whatABrokenUploadLeftIsContinued(self) -> None:
        """Nothing is broken."""
        await self.check("close", tls=True, code=226)
