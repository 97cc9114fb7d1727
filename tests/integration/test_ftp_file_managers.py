"""FTP as FileZilla and WinSCP use it: what they say, in their order, and what they make of the answers.

One control connection for everything, or a few side by side; each data connection resumes the TLS session of its
control connection; the port is asked for before REST, and the handshake begins once the transfer is announced.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ftp import FTPOptions

from ..sharedclusters import ALONE
from .ftpserver import CONTENTS, ServerCase, Talker, everything

R = TypeVar("R")


class FileManager(Talker):
    """Works as they do."""

    def begin(self, name: str = "alice", password: str = "secret") -> list[int]:
        self.secure()
        codes = [self.say(line) for line in (f"USER {name}", f"PASS {password}", "SYST", "FEAT")]
        offered = self.text.upper()
        assert all(f" {each}" in offered for each in ("UTF8", "CLNT", "MLST", "MFMT", "REST STREAM", "EPSV", "SIZE"))
        codes += [self.say(line) for line in ("CLNT FileZilla", "OPTS UTF8 ON", "PBSZ 0", "PROT P")]
        self.private = True
        return [*codes, self.say("OPTS MLST type;size;modify;perm;unix.mode;"), self.say("PWD")]

    def transfer(self, command: str, *before: str, asks: str = "PASV") -> ssl.SSLSocket:
        """Start one; nobody goes on whose data connection is not resumed."""
        assert self.say("TYPE I") == 200
        data = self.connect(self.passive() if asks == "EPSV" else self.passiveOld())
        for line in before:
            assert self.say(line) == 350, self.text
        assert self.say(command) == 150, self.text
        assert isinstance(self.socket, ssl.SSLSocket)
        secured = self.context.wrap_socket(data, session=self.socket.session)
        assert secured.session_reused
        return secured

    def passiveOld(self) -> int:
        assert self.say("PASV") == 227, self.text
        numbers = self.text[self.text.index("(") + 1 : self.text.index(")")].split(",")
        return int(numbers[4]) << 8 | int(numbers[5])

    def download(self, command: str, *before: str, asks: str = "PASV") -> bytes:
        with self.transfer(command, *before, asks=asks) as data:
            found = everything(data)
        assert self.answer() == 226, self.text
        return found

    def upload(self, command: str, contents: bytes, *before: str) -> None:
        data = self.transfer(command, *before)
        data.sendall(contents)
        data.unwrap().close()
        assert self.answer() == 226, self.text

    def names(self, folder: str) -> dict[str, str]:
        """As MLSD tells them: the facts of each."""
        assert self.say(f"CWD {folder}") == 250, self.text
        lines = self.download("MLSD").decode("utf-8", "surrogateescape").splitlines()
        return {name: facts for facts, _, name in (line.partition(" ") for line in lines)}


class SessionTests(ServerCase):
    newest = ssl.TLSVersion.MAXIMUM_SUPPORTED

    def use(self, function: Callable[[FileManager], R]) -> Any:
        def run() -> R:
            with FileManager(self.port, newest=self.newest) as client:
                self.assertEqual(client.begin(), [331, 230, 215, 211, 200, 200, 200, 200, 200, 257])
                return function(client)

        return self.inThread(run)

    async def test_aFileGoesThereAndBack(self) -> None:
        def work(client: FileManager) -> tuple[list[int], bytes, bytes, str]:
            codes = [client.say("MKD /d é"), client.say("CWD /d é"), client.say("PWD")]
            client.upload("STOR x (1).bin", CONTENTS)
            codes += [client.say("MFMT 20170714024000 x (1).bin"), client.say("SITE CHMOD 640 x (1).bin")]
            facts = client.names("/d é")["x (1).bin"]
            codes += [client.say("SIZE x (1).bin"), client.say("MDTM x (1).bin")]
            rest = client.download("RETR x (1).bin", "REST 1000")
            # FileZilla takes its last REST back before the next transfer.
            whole = client.download("RETR x (1).bin", "REST 0", asks="EPSV")
            return codes, rest, whole, facts

        codes, rest, whole, facts = await self.use(work)
        self.assertEqual(codes, [257, 250, 257, 213, 200, 213, 213])
        self.assertEqual((rest, whole), (CONTENTS[1000:], CONTENTS))
        self.assertEqual(
            facts.lower(), f"type=file;size={len(CONTENTS)};modify=20170714024000;perm=rwadf;unix.mode=0640;"
        )

    async def test_anUploadIsContinued(self) -> None:
        def work(client: FileManager) -> str:
            data = client.transfer("STOR /x")
            data.sendall(CONTENTS[:400_000])
            # The user's line breaks.
            data.close()
            assert client.answer() == 426, client.text
            assert client.say("SIZE /x") == 213
            size = client.text.split()[1]
            client.upload("STOR /x", CONTENTS[int(size) :], f"REST {size}")
            return size

        self.assertEqual(await self.use(work), "400000")
        self.assertEqual(await self.get("/x"), CONTENTS)

    async def test_aLongTransferIsKeptAliveByNOOP(self) -> None:
        """Answered at once; other commands, as WinSCP's ``PWD`` and ``TYPE A``, wait for the transfer's end."""

        def work(client: FileManager) -> list[int]:
            data = client.transfer("STOR /x")
            codes = []
            for start in range(0, len(CONTENTS), 100_000):
                data.sendall(CONTENTS[start : start + 100_000])
                codes.append(client.say("NOOP"))
            client.socket.sendall(b"PWD\r\nREST 0\r\nTYPE A\r\n")
            data.unwrap().close()
            return [*codes, *(client.answer() for _ in range(4))]

        self.assertEqual(await self.use(work), [200] * 7 + [226, 257, 350, 200])
        self.assertEqual(await self.get("/x"), CONTENTS)

    async def test_aTransferIsCancelled(self) -> None:
        await self.put("/x", CONTENTS * 20)

        def work(client: FileManager) -> list[int]:
            data = client.transfer("RETR /x")
            data.recv(1000)
            data.close()
            client.socket.sendall(b"ABOR\r\n")
            codes = [client.answer(), client.answer()]
            return [*codes, len(client.download("RETR /x"))]

        codes = await self.use(work)
        self.assertIn(codes[0], {426, 451})
        self.assertEqual(codes[1:], [226, 20 * len(CONTENTS)])

    async def test_severalConnectionsSideBySide(self) -> None:
        def work(first: FileManager) -> list[bytes]:
            with FileManager(self.port, newest=self.newest) as second:
                second.begin()
                ends = [first.transfer("STOR /1"), second.transfer("STOR /2")]
                for number, data in enumerate(ends):
                    data.sendall(CONTENTS[number:])
                for data, client in zip(ends, (first, second), strict=True):
                    data.unwrap().close()
                    assert client.answer() == 226
                return [first.download("RETR /2"), second.download("RETR /1")]

        self.assertEqual(await self.use(work), [CONTENTS[1:], CONTENTS])


class ResumingSessionTests(SessionTests):
    options = FTPOptions(tlsSessionReuse="required", passivePorts="51000-51999")


class OlderSessionTests(SessionTests):
    newest = ssl.TLSVersion.TLSv1_2


class RealNodeTests(SynchronousTestCase):
    """Names as disks have them, and checksums of what lies there."""

    def setUp(self) -> None:
        cluster = ALONE.get()
        node = cluster.primary
        mount = {"path": "/", "backend": "files", "folder": "managers"}
        node.apply({"users": [{"name": "manager", "password": "right horse", "mounts": [mount]}]}, wait=20)
        self.folder = Path(node.state) / "files" / "managers"
        self.client = FileManager(2121, host=node.address)
        self.addCleanup(self.client.__exit__)
        self.assertEqual(self.client.begin("manager", "right horse")[1], 230)

    def test_names(self) -> None:
        names = (
            "plain",
            "two  words ",
            " ahead",
            "é",
            'a "quoted" name',
            "it's",
            "back\\slash",
            "日本語",
            "#%;?",
            "-l",
        )
        for name in names:
            self.client.upload(f"STOR {name}", name.encode())
        for name in names:
            self.assertEqual((self.folder / name).read_bytes(), name.encode())
            self.assertEqual(self.client.download(f"RETR {name}"), name.encode())
        self.assertEqual(set(names) - set(self.client.names("/")), set())
        self.assertEqual(self.client.say('MKD /a "b"'), 257)
        self.assertIn('"/a ""b"""', self.client.text)
        for name in (*names, 'a "b"'):
            self.assertEqual(self.client.say(f"{'DELE' if name in names else 'RMD'} {name}"), 250, name)

    def test_namesThatAreNotUTF8(self) -> None:
        """They come and go byte by byte."""
        self.client.upload("STOR marker", b"")
        raw = os.fsencode(self.folder) + b"/caf\xe9"
        with open(raw, "wb") as file:
            file.write(b"latin")
        self.assertIn("caf\udce9", self.client.names("/"))
        self.assertEqual(self.client.download("RETR caf\udce9"), b"latin")
        self.assertEqual((self.client.say("RNFR caf\udce9"), self.client.say("RNTO café")), (350, 250))
        self.assertEqual((self.folder / "café").read_bytes(), b"latin")

    def test_noNameHasTwoLines(self) -> None:
        """CR and NUL are refused; what follows LF is another command."""
        self.assertEqual(self.client.say("MKD one\rtwo"), 500)
        self.assertEqual(self.client.say("MKD one\0two"), 500)
        self.assertEqual((self.client.say("MKD one\ntwo"), self.client.answer()), (257, 500))
        self.assertEqual(self.client.say("RMD one"), 250)

    def test_checksums(self) -> None:
        self.client.upload("STOR sum", CONTENTS)
        expected = hashlib.sha256(CONTENTS).hexdigest()
        self.assertEqual(self.client.say('XSHA256 "sum"'), 250)
        self.assertIn(expected, self.client.text.lower())
        self.assertEqual((self.client.say("OPTS HASH SHA-256"), self.client.say("HASH sum")), (200, 213))
        self.assertEqual(self.client.text.split()[1:4], ["SHA-256", f"0-{len(CONTENTS)}", expected])
        part = hashlib.md5(CONTENTS[10:1000], usedforsecurity=False).hexdigest()
        self.assertEqual(self.client.say('XMD5 "sum" 10 1000'), 250)
        self.assertIn(part, self.client.text.lower())
