"""What becomes of uploads, from one protocol to the next: who sees them, what is kept of them, and how they go on."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from itertools import count, product
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import NodeProcess, waitFor

from ..sharedclusters import ALONE
from . import talkers
from .clients import Client, isLocked, needs
from .talkers import (
    APPENDING,
    CREATING,
    EXCLUSIVE,
    FOR_READING,
    FOR_WRITING,
    TRUNCATING,
    FTPTalker,
    HTTPSTalker,
    SFTPTalker,
    Verdict,
    attributes,
    string,
    trustingContext,
    uint64,
)

FIRST, REST = os.urandom(1_000_000), os.urandom(50_000)
OLD = b"what was there"
_numbers = count()

RESERVED = (
    ".cftpcluster-part-r-abc",
    ".cftpcluster-part-t-node-a-1",
    ".cftpcluster-storage",
    ".cftpcluster-",
    ".cftpcluster-later",
    ".CFTPCluster-Part-x",
    ".cftpcluſter-part-x",  # casefolds to the reserved prefix
)


class UploadTestCase(SynchronousTestCase):
    """``alice`` and ``bob`` may do everything in a folder that they share, another one for each test."""

    node: NodeProcess

    def setUp(self) -> None:
        cluster = ALONE.get()
        self.node = cluster.primary
        name = f"uploads-{next(_numbers)}"
        self.root = self.node.state / "files" / name
        self.alice, self.bob = (Client(name, "right horse", cluster.folder) for name in ("alice", "bob"))
        permissions = ["list", "download", "upload", "overwrite", "delete", "rename", "mkdir", "attributes", "links"]
        mount = {"path": "/", "backend": "files", "folder": name, "permissions": permissions}
        self.node.apply({"users": [client.document(mounts=[mount]) for client in (self.alice, self.bob)]})
        self.root.mkdir(parents=True)
        sessions = contextlib.ExitStack()
        self.addCleanup(sessions.close)
        self.enter = sessions.enter_context

    def sftp(self, client: Client | None = None) -> SFTPTalker:
        return self.enter(SFTPTalker(self.node, client or self.alice))

    def ftp(self, client: Client | None = None) -> FTPTalker:
        return self.enter(FTPTalker(self.node, client or self.alice))

    def https(self, client: Client | None = None) -> HTTPSTalker:
        return self.enter(HTTPSTalker(self.node, client or self.alice))

    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self.root.rglob(".cftpcluster-*"))

    def stored(self, name: str) -> bytes | None:
        path = self.root / name
        return path.read_bytes() if path.exists() else None

    # --- an upload that goes wrong, by protocol

    def startFTP(self, name: str, data: bytes, command: str = "STOR", rest: int | None = None) -> Callable[[], None]:
        """Send some of a file; what is returned breaks the connection."""
        talker = self.ftp()
        connection: ssl.SSLSocket = talker.open(f"{command} /{name}", rest)
        connection.sendall(data)

        def cut() -> None:
            hangUp(connection)
            if self.node.process is not None and self.node.process.poll() is None:
                self.assertEqual(talker.answer().answer, "426")

        return cut

    def startSFTP(self, name: str, data: bytes) -> Callable[[], None]:
        talker = SFTPTalker(self.node, self.alice)
        handle = talker.open(f"/{name}", FOR_WRITING | CREATING | TRUNCATING)
        for start in range(0, len(data), 30_000):
            written = talker.ask(talkers.WRITE, handle + uint64(start) + string(data[start : start + 30_000]))
            self.assertTrue(written.isDone, written)
        return talker.cut

    def startHTTPS(self, name: str, data: bytes) -> Callable[[], None]:
        raw = socket.create_connection((self.node.address, 8443), 60)
        connection = trustingContext().wrap_socket(raw)
        head = (
            f"PUT /api/v1/files/{name} HTTP/1.1\r\nHost: {self.node.address}\r\nContent-Length: {len(data) + 10}\r\n"
            f"Authorization: Basic {b64encode(b'alice:right horse').decode()}\r\n\r\n"
        )
        connection.sendall(head.encode() + data)
        return lambda: hangUp(connection)

    @property
    def starts(self) -> Mapping[str, Callable[[str, bytes], Callable[[], None]]]:
        return {"ftp": self.startFTP, "sftp": self.startSFTP, "https": self.startHTTPS}

    def breakUpload(self, protocol: str, name: str, data: bytes) -> None:
        """Upload ``data``, but not all; returns when the server is done with it."""
        cut = self.starts[protocol](name, data)
        waitFor("it was begun", self.partials)
        cut()
        waitFor("nobody writes", lambda: not any(map(isLocked, self.partials())))

    def partials(self) -> list[Path]:
        return list(self.root.glob(".cftpcluster-part-*"))

    # --- an upload that goes on, by protocol

    def resumeFTP(self, name: str, offset: int) -> Verdict:
        return self.ftp().send(f"STOR /{name}", REST, offset)

    def appendFTP(self, name: str, offset: int) -> Verdict:
        return self.ftp().send(f"APPE /{name}", REST)

    def resumeSFTP(self, name: str, offset: int) -> Verdict:
        return self.sftp().send(f"/{name}", REST, FOR_WRITING | CREATING, offset)

    def appendSFTP(self, name: str, offset: int) -> Verdict:
        return self.sftp().send(f"/{name}", REST, FOR_WRITING | APPENDING)


def hangUp(connection: ssl.SSLSocket) -> None:
    """End a connection without TLS's own end, but so that all that was sent arrives."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    connection.close()


def sizeOf(path: Path) -> int:
    return path.stat().st_size


@needs("ssh", "ssh-keygen")
class OwnViewTests(UploadTestCase):
    def test_sessionSeesItsUploadUnderItsNameAndNobodyElseDoes(self) -> None:
        mine, same, other = self.sftp(), self.sftp(), self.sftp(self.bob)
        handle = mine.open("/new", FOR_WRITING | FOR_READING | CREATING | TRUNCATING)
        self.assertTrue(mine.ask(talkers.WRITE, handle + uint64(0) + string(FIRST[:30_000])).isDone)

        self.assertEqual(mine.size("/new"), 30_000)
        self.assertEqual(mine.names("/").data, b"new")
        self.assertEqual(mine.fetch("/new").data, FIRST[:30_000])
        for session in (same, other):
            self.assertEqual(session.names("/").data, b"")
            self.assertEqual(session.fetch("/new").answer, "missing")
        self.assertEqual(other.size("/new"), None)
        self.assertEqual(self.ftp(self.bob).fetch("NLST /").data, b"")
        self.assertEqual(self.https(self.bob).ask("HEAD", "/new").answer, "missing")

        self.assertTrue(mine.ask(talkers.SETSTAT, string("/new") + attributes(mode=0o604, modified=981173106)).isDone)
        self.assertTrue(mine.ask(talkers.MKDIR, string("/folder") + attributes()).isDone)
        self.assertTrue(mine.ask(talkers.RENAME, string("/new") + string("/folder/renamed")).isDone)
        self.assertEqual(mine.size("/new"), None)
        self.assertEqual(mine.size("/folder/renamed"), 30_000)
        self.assertEqual(other.names("/folder").data, b"")
        self.assertTrue(mine.ask(talkers.CLOSE, handle).isDone)
        self.assertEqual(other.fetch("/folder/renamed").data, FIRST[:30_000])
        stat = (self.root / "folder" / "renamed").stat()
        self.assertEqual((stat.st_mode & 0o777, stat.st_mtime), (0o604, 981173106))
        self.assertEqual(self.leftovers(), [])

    def test_removedUploadIsGone(self) -> None:
        mine = self.sftp()
        handle = mine.open("/new", FOR_WRITING | CREATING | EXCLUSIVE)
        self.assertTrue(mine.ask(talkers.REMOVE, string("/new")).isDone)
        self.assertEqual(mine.size("/new"), None)
        mine.ask(talkers.CLOSE, handle)
        self.assertEqual((self.leftovers(), self.stored("new")), ([], None))

    def test_writesAreAnsweredInTheirOrder(self) -> None:
        mine = self.sftp()
        handle = mine.open("/new", FOR_WRITING | CREATING | TRUNCATING)
        size = 30_000
        writes = [
            (talkers.WRITE, handle + uint64(start) + string(FIRST[start : start + size]))
            for start in range(0, len(FIRST), size)
        ]
        self.assertEqual(mine.askAtOnce(writes), list(range(len(writes))))
        self.assertTrue(mine.ask(talkers.CLOSE, handle).isDone)
        self.assertEqual(self.stored("new"), FIRST)

    def test_replacementIsSeenByOthersOnlyWhenItIsWhole(self) -> None:
        (self.root / "old").write_bytes(OLD)
        mine, other = self.sftp(), self.https(self.bob)
        handle = mine.open("/old", FOR_WRITING | CREATING | TRUNCATING)
        mine.ask(talkers.WRITE, handle + uint64(0) + string(b"new"))
        self.assertEqual((mine.size("/old"), other.ask("GET", "/old").data), (3, OLD))
        self.assertTrue(mine.ask(talkers.CLOSE, handle).isDone)
        self.assertEqual(other.ask("GET", "/old").data, b"new")


@needs("ssh", "ssh-keygen")
class ReservedNameTests(UploadTestCase):
    def test_reservedNamesAreNeverListedAndRefusedByEveryVerb(self) -> None:
        (self.root / "old").write_bytes(OLD)
        (self.root / "folder").mkdir()
        for name in RESERVED:
            (self.root / name).write_bytes(b"not yours")
            (self.root / "folder" / name).write_bytes(b"not yours")
        before = sorted((path, path.lstat().st_mtime_ns) for path in self.root.rglob("*"))
        talkerOf = {"ftp": self.ftp(), "sftp": self.sftp(), "https": self.https()}
        problems = [
            f"{protocol} {told}: {verdict}"
            for name in RESERVED
            for protocol, attempts in (("ftp", inFTP(name)), ("sftp", inSFTP(name)), ("https", inHTTPS(name)))
            for told, attempt in attempts
            if (verdict := attempt(talkerOf[protocol])).isDone
        ]
        problems += [
            f"{protocol} lists {verdict.data!r}"
            for protocol, listing in LISTINGS
            if b"cftpclu" in (verdict := listing(talkerOf[protocol])).data.lower() or not verdict.isDone
        ]
        self.assertEqual(problems, [])
        self.assertEqual(sorted((path, path.lstat().st_mtime_ns) for path in self.root.rglob("*")), before)


Attempts = Iterator[tuple[str, Callable[[Any], Verdict]]]


def inFTP(name: str) -> Attempts:
    """Every verb on a reserved name, as itself and inside a folder."""
    for path in (f"/{name}", name, f"/folder/../{name}", f"/folder/{name}", f"/{name}/x"):
        for line in ("CWD", "MKD", "RMD", "DELE", "SIZE", "MDTM", "MLST", "STAT", "RNFR", "XMKD", "XRMD", "XCWD"):
            yield f"{line} {path}", lambda ftp, line=line, path=path: ftp.say(f"{line} {path}")
        for line in ("MFMT 20010203040506", "SITE CHMOD 600", "SITE UTIME 20010203040506"):
            yield f"{line} {path}", lambda ftp, line=line, path=path: ftp.say(f"{line} {path}")
        yield f"RNTO {path}", lambda ftp, path=path: ftp.say("RNFR /old", f"RNTO {path}")
        for line in ("RETR", "LIST", "NLST", "MLSD", "LIST -a"):
            yield f"{line} {path}", lambda ftp, line=line, path=path: ftp.fetch(f"{line} {path}")
        for line in ("STOR", "APPE"):
            yield f"{line} {path}", lambda ftp, line=line, path=path: ftp.send(f"{line} {path}", b"x")
        yield f"REST and STOR {path}", lambda ftp, path=path: ftp.send(f"STOR {path}", b"x", 1)


def inSFTP(name: str) -> Attempts:
    for path in (f"/{name}", name, f"/folder/../{name}", f"/folder/{name}", f"/{name}/x"):
        for flags in range(1, 64):
            yield f"OPEN {path} {flags}", lambda sftp, path=path, flags=flags: sftp.send(path, b"x", flags)
        for verb in ("LSTAT", "STAT", "OPENDIR", "REMOVE", "RMDIR", "READLINK", "REALPATH"):
            yield f"{verb} {path}", lambda sftp, verb=verb, path=path: sftp.ask(getattr(talkers, verb), string(path))
        for verb in ("MKDIR", "SETSTAT"):
            yield (
                f"{verb} {path}",
                lambda sftp, verb=verb, path=path: sftp.ask(
                    getattr(talkers, verb), string(path) + attributes(mode=0o600)
                ),
            )
        for first, second in ((path, "/other"), ("/old", path)):
            both = string(first) + string(second)
            for verb in ("RENAME", "SYMLINK"):
                number = getattr(talkers, verb)
                yield f"{verb} {first} {second}", lambda sftp, number=number, both=both: sftp.ask(number, both)
            for verb in ("posix-rename@openssh.com", "hardlink@openssh.com"):
                yield f"{verb} {first} {second}", lambda sftp, verb=verb, both=both: sftp.extended(verb, both)
        for verb in ("statvfs@openssh.com", "expand-path@openssh.com"):
            yield f"{verb} {path}", lambda sftp, verb=verb, path=path: sftp.extended(verb, string(path))


def inHTTPS(name: str) -> Attempts:
    raw = name.encode()
    encoded = "".join(f"%{byte:02x}" for byte in raw)
    for path in (f"/{encoded}", f"/folder/{encoded}", f"/{encoded}/x", f"/{encoded}/"):
        for method in ("GET", "HEAD", "DELETE"):
            yield f"{method} {path}", lambda https, method=method, path=path: https.ask(method, path)
        yield f"PUT {path}", lambda https, path=path: https.ask("PUT", path, b"x")
        yield f"mkdir {path}", lambda https, path=path: https.ask("POST", f"{path}?op=mkdir")
        for op in ("move", "copy"):
            yield (
                f"{op} {path}",
                lambda https, op=op, path=path: https.ask("POST", f"{path}?op={op}", {"to": "/other"}),
            )
    for op, target in product(("move", "copy"), (name, f"/{name}", f"/folder/{name}", f"/{name}/x")):
        for body in ({"to": target}, {"toBytes": b64encode(target.encode()).decode()}):
            yield (
                f"{op} to {body}",
                lambda https, op=op, body=body: https.ask("POST", f"/old?op={op}", {**body, "overwrite": True}),
            )


LISTINGS: list[tuple[str, Callable[[Any], Verdict]]] = [
    *[
        ("ftp", lambda ftp, line=line, path=path: ftp.fetch(f"{line} {path}"))
        for line, path in product(("LIST", "LIST -a", "NLST", "MLSD"), ("/", "/folder"))
    ],
    *[("ftp", lambda ftp, line=line: ftp.fetch(line)) for line in ("NLST *", "NLST /folder/*", "LIST /*")],
    ("ftp", lambda ftp: ftp.say("STAT /")),
    ("sftp", lambda sftp: sftp.names("/")),
    ("sftp", lambda sftp: sftp.names("/folder")),
    ("https", lambda https: https.ask("GET", "")),
    ("https", lambda https: https.ask("GET", "/folder")),
    ("https", lambda https: https.ask("GET", "/?after=.cftpcluster-&limit=5000")),
]


@needs("ssh", "ssh-keygen")
class BrokenUploadTests(UploadTestCase):
    def test_brokenUploadIsKeptForItsOwnerAlone(self) -> None:
        for protocol in self.starts:
            name = f"from-{protocol}"
            self.breakUpload(protocol, name, FIRST)
            ftp, sftp, https = self.ftp(), self.sftp(), self.https()
            self.assertEqual(ftp.say(f"SIZE /{name}").data, b"213 1000000")
            self.assertIn(b"size=1000000;", ftp.say(f"MLST /{name}").data)
            self.assertEqual(sftp.size(f"/{name}"), len(FIRST))
            self.assertTrue(https.ask("HEAD", f"/{name}").isDone)
            self.assertEqual(https.length, str(len(FIRST)))
            self.assertNoneListAndRead(name, ftp, sftp, https)

            ftp, sftp, https = self.ftp(self.bob), self.sftp(self.bob), self.https(self.bob)
            self.assertEqual(ftp.say(f"SIZE /{name}").answer, "550")
            self.assertEqual(ftp.say(f"MLST /{name}").answer, "550")
            self.assertEqual(sftp.size(f"/{name}"), None)
            self.assertEqual(https.ask("HEAD", f"/{name}").answer, "missing")
            self.assertNoneListAndRead(name, ftp, sftp, https)
            self.assertIsNone(self.stored(name))

    def assertNoneListAndRead(self, name: str, ftp: FTPTalker, sftp: SFTPTalker, https: HTTPSTalker) -> None:
        self.assertEqual([ftp.fetch(f"{verb} /").data for verb in ("NLST", "LIST", "MLSD")], [b"", b"", b""])
        self.assertEqual(sftp.names("/").data, b"")
        self.assertEqual(https.ask("GET", "").data, b'{"entries":[],"next":null}\n')
        self.assertEqual(ftp.fetch(f"RETR /{name}").answer, "550")
        self.assertEqual(sftp.fetch(f"/{name}").answer, "missing")
        self.assertEqual(https.ask("GET", f"/{name}").answer, "missing")

    def test_brokenUploadGoesOnOverAnyProtocol(self) -> None:
        ways = (self.resumeFTP, self.appendFTP, self.resumeSFTP, self.appendSFTP)
        for protocol, resume in product(self.starts, ways):
            name = f"{protocol}-{resume.__name__}"
            self.breakUpload(protocol, name, FIRST)
            verdict = resume(name, len(FIRST))
            self.assertTrue(verdict.isDone, (name, verdict))
            self.assertEqual(self.stored(name), FIRST + REST, name)
            self.assertEqual(self.leftovers(), [], name)

    def test_strangersDoNotContinueIt(self) -> None:
        self.breakUpload("ftp", "new", FIRST)
        self.assertFalse(self.ftp(self.bob).send("STOR /new", REST, len(FIRST)).isDone)
        self.assertEqual(self.sftp(self.bob).send("/new", REST, FOR_WRITING, len(FIRST)).answer, "missing")
        self.assertTrue(self.ftp(self.bob).send("STOR /new", OLD).isDone)
        self.assertEqual(self.stored("new"), OLD)

    def test_whoOpensItAnewDiscardsIt(self) -> None:
        anew: Mapping[str, Callable[[str], Verdict]] = {
            "ftp": lambda name: self.ftp().send(f"STOR /{name}", REST),
            "sftp": lambda name: self.sftp().send(f"/{name}", REST, FOR_WRITING | CREATING | TRUNCATING),
            "https": lambda name: self.https().ask("PUT", f"/{name}", REST),
        }
        for protocol, (other, upload) in product(self.starts, anew.items()):
            name = f"{protocol}-{other}"
            self.breakUpload(protocol, name, FIRST)
            verdict = upload(name)
            self.assertTrue(verdict.isDone, (name, verdict))
            self.assertEqual((self.stored(name), self.leftovers()), (REST, []), name)

    def test_ownerRemovesIt(self) -> None:
        removals: Mapping[str, Callable[[str], Verdict]] = {
            "ftp": lambda name: self.ftp().say(f"DELE /{name}"),
            "sftp": lambda name: self.sftp().ask(talkers.REMOVE, string(f"/{name}")),
            "https": lambda name: self.https().ask("DELETE", f"/{name}"),
        }
        for protocol, remove in removals.items():
            self.breakUpload(protocol, protocol, FIRST)
            self.assertTrue(remove(protocol).isDone, protocol)
            self.assertEqual(self.leftovers(), [], protocol)

    def test_oneWriterAtATime(self) -> None:
        cut = self.startSFTP("new", FIRST)
        self.assertEqual(self.ftp().send("STOR /new", REST, len(FIRST)).answer, "450")
        self.assertEqual(self.sftp().send("/new", REST, FOR_WRITING, len(FIRST)).answer, "failure")
        cut()

    def test_brokenReplacementLeavesTheOldFileAndNothingElse(self) -> None:
        for protocol in self.starts:
            (self.root / protocol).write_bytes(OLD)
            self.breakUpload(protocol, protocol, FIRST)
            waitFor("nothing is left", lambda: not self.leftovers())
            self.assertEqual(self.stored(protocol), OLD, protocol)
            self.assertEqual(self.ftp().say(f"SIZE /{protocol}").data, b"213 14")


@needs("ssh", "ssh-keygen")
class KilledServerTests(UploadTestCase):
    def test_serverKilledInTheMiddleKeepsOldFilesAndPartials(self) -> None:
        cuts: list[Callable[[], None]] = []
        for protocol in self.starts:
            (self.root / f"old-{protocol}").write_bytes(OLD)
            cuts += [self.starts[protocol](f"{age}-{protocol}", FIRST) for age in ("old", "new")]
        waitFor("all are written to", lambda: len(self.partials()) == 6 and all(map(sizeOf, self.partials())))
        self.node.kill()
        for cut in cuts:
            cut()
        self.assertEqual(len(self.leftovers()), 6)
        self.node.start("primary")
        waitFor("own leftovers are swept", lambda: len(self.leftovers()) == 3)
        ftp = self.ftp()
        for protocol, resume in zip(self.starts, (self.resumeSFTP, self.resumeFTP, self.appendFTP), strict=True):
            self.assertEqual(self.stored(f"old-{protocol}"), OLD, protocol)
            size = int(ftp.say(f"SIZE /new-{protocol}").data.split()[1])
            self.assertGreater(size, 0)
            self.assertTrue(resume(f"new-{protocol}", size).isDone, protocol)
            self.assertEqual(self.stored(f"new-{protocol}"), FIRST[:size] + REST, protocol)
        self.assertEqual(self.leftovers(), [])
