"""Clients that say any verb of their protocol, right or wrong, and give every answer as a :class:`Verdict`.

Everything blocks. They share no code with the servers: SFTP's packets are made here, and travel through OpenSSH's
``ssh``.
"""

from __future__ import annotations

import base64
import ftplib
import json
import ssl
import subprocess
from collections.abc import Sequence
from contextlib import closing, suppress
from http.client import HTTPSConnection
from typing import Any, Self

from attrs import frozen

from .clients import Client, NodeProcess

SECONDS = 60.0


@frozen
class Verdict:
    """How an operation was answered.

    :ivar answer: ``done``; ``denied`` where the user may not; ``unknown`` where the server has no such verb; else the
        protocol's own word for what went wrong.
    """

    answer: str
    data: bytes = b""
    text: str = ""

    @property
    def isDone(self) -> bool:
        return self.answer == "done"


def trustingContext() -> ssl.SSLContext:
    """TLS with whatever certificate the other side has."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# --- FTP


class FTPTalker:
    """One session over explicit TLS."""

    name = "ftp"

    def __init__(self, node: NodeProcess, client: Client) -> None:
        self.ftp = ftplib.FTP_TLS(context=trustingContext(), timeout=SECONDS, encoding="utf-8")
        self.ftp.connect(node.address, 2121)
        self.ftp.login(client.name, client.password)
        self.ftp.prot_p()
        self.ftp.voidcmd("TYPE I")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.ftp.close()

    def say(self, line: str, *more: str) -> Verdict:
        """Say commands on the control connection; the verdict is that of the last, or of the first that failed."""
        for each in (line, *more):
            verdict = self._verdict(lambda command=each: self.ftp.sendcmd(command).encode("utf-8", "surrogateescape"))
            if not verdict.isDone:
                break
        return verdict

    def fetch(self, command: str, rest: int | None = None) -> Verdict:
        """RETR, or a listing."""
        pieces: list[bytes] = []

        def fetched() -> bytes:
            self.ftp.retrbinary(command, pieces.append, rest=rest)
            return b"".join(pieces)

        return self._verdict(fetched)

    def send(self, command: str, data: bytes, rest: int | None = None) -> Verdict:
        """STOR or APPE."""

        def sent() -> bytes:
            connection = self.ftp.transfercmd(command, rest)
            assert isinstance(connection, ssl.SSLSocket)
            # A server that takes no more may end the connection at any time, and says why on the other one.
            with closing(connection), suppress(ConnectionError, ssl.SSLError):
                connection.sendall(data)
                connection.unwrap()
            return self.ftp.voidresp().encode()

        return self._verdict(sent)

    def open(self, command: str, rest: int | None = None) -> Any:
        """The data connection of a transfer that was begun."""
        return self.ftp.transfercmd(command, rest)

    def answer(self) -> Verdict:
        """The answer of a transfer that was begun."""
        return self._verdict(lambda: self.ftp.voidresp().encode())

    @staticmethod
    def _verdict(perform: Any) -> Verdict:
        try:
            return Verdict("done", perform())
        except ftplib.error_reply as reply:
            return Verdict("done", str(reply).encode("utf-8", "surrogateescape"))
        except (ftplib.error_perm, ftplib.error_temp) as error:
            text = str(error)
            if text[:3] in {"500", "501", "502", "504"}:
                return Verdict("unknown", text=text)
            return Verdict("denied" if "permission denied" in text.lower() else text[:3], text=text)


# --- SFTP

INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT, OPENDIR, READDIR = range(1, 13)
REMOVE, MKDIR, RMDIR, REALPATH, STAT, RENAME, READLINK, SYMLINK = range(13, 21)
STATUS, HANDLE, DATA, NAME, ATTRS = range(101, 106)
EXTENDED, EXTENDED_REPLY = 200, 201

FOR_READING, FOR_WRITING, APPENDING, CREATING, TRUNCATING, EXCLUSIVE = 1, 2, 4, 8, 16, 32

SIZE, OWNERS, MODE, TIMES = 1, 2, 4, 8

_STATUS = {0: "done", 1: "end", 2: "missing", 3: "denied", 4: "failure", 5: "malformed", 8: "unknown"}


def uint32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def uint64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def string(text: str | bytes) -> bytes:
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return uint32(len(raw)) + raw


def attributes(size: int | None = None, mode: int | None = None, modified: int | None = None) -> bytes:
    flags = SIZE * (size is not None) | MODE * (mode is not None) | TIMES * (modified is not None)
    return (
        uint32(flags)
        + (uint64(size) if size is not None else b"")
        + (uint32(mode) if mode is not None else b"")
        + (uint32(modified) * 2 if modified is not None else b"")
    )


def namesOf(data: bytes) -> list[bytes]:
    """The names that an answer of SFTP holds.

    :param data: of a NAME what follows the request's id.
    """
    count, at = int.from_bytes(data[:4], "big"), 4
    found = []
    for _ in range(count):
        for isName in (True, False):
            length = int.from_bytes(data[at : at + 4], "big")
            if isName:
                found.append(data[at + 4 : at + 4 + length])
            at += 4 + length
        flags = int.from_bytes(data[at : at + 4], "big")
        lengths = {SIZE: 8, OWNERS: 8, MODE: 4, TIMES: 8}
        at += 4 + sum(length for flag, length in lengths.items() if flags & flag)
    return found


class SFTPTalker:
    """One session of the subsystem, through ``ssh``."""

    name = "sftp"

    def __init__(self, node: NodeProcess, client: Client) -> None:
        options = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "IdentitiesOnly": "yes",
            "PreferredAuthentications": "publickey",
            "LogLevel": "QUIET",
        }
        self.process = subprocess.Popen(
            ["ssh", "-F", "/dev/null", "-i", str(client.key), "-p", "2222"]
            + [f"-o{name}={value}" for name, value in options.items()]
            + ["-s", f"{client.name}@{node.address}", "sftp"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._requests = 0
        self._send(bytes([INIT]) + uint32(3))
        assert self._packet()[0] == VERSION

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    def end(self) -> None:
        """Close the connection in order."""
        assert self.process.stdin is not None and self.process.stdout is not None
        if not self.process.stdin.closed:
            self.process.stdin.close()
        self.process.wait(SECONDS)
        self.process.stdout.close()

    def cut(self) -> None:
        """Be gone without a word."""
        self.process.kill()
        self.end()

    def _send(self, packet: bytes) -> None:
        self._sendAll([packet])

    def _packet(self) -> bytes:
        return self._exactly(int.from_bytes(self._exactly(4), "big"))

    def _exactly(self, count: int) -> bytes:
        assert self.process.stdout is not None
        data = b""
        while len(data) < count:
            piece = self.process.stdout.read(count - len(data))
            if not piece:
                raise ConnectionError("the server ended the session")
            data += piece
        return data

    def ask(self, verb: int, body: bytes = b"") -> Verdict:
        """Ask, and insist that just this request is answered; ``data`` is what follows its number."""
        self._requests += 1
        self._send(bytes([verb]) + uint32(self._requests) + body)
        answer = self._packet()
        assert int.from_bytes(answer[1:5], "big") == self._requests, answer
        if answer[0] == STATUS:
            code = int.from_bytes(answer[5:9], "big")
            length = int.from_bytes(answer[9:13], "big")
            return Verdict(_STATUS.get(code, str(code)), text=answer[13 : 13 + length].decode())
        return Verdict("done", answer[5:])

    def askAtOnce(self, requests: Sequence[tuple[int, bytes]]) -> list[int]:
        """Send requests without waiting for answers; where in the row stood the one that each answer is for."""
        first = self._requests + 1
        self._requests += len(requests)
        packets = [bytes([verb]) + uint32(first + at) + body for at, (verb, body) in enumerate(requests)]
        self._sendAll(packets)
        return [int.from_bytes(self._packet()[1:5], "big") - first for _ in packets]

    def _sendAll(self, packets: Sequence[bytes]) -> None:
        rest = memoryview(b"".join(uint32(len(packet)) + packet for packet in packets))
        assert self.process.stdin is not None
        while rest:
            rest = rest[self.process.stdin.write(rest) :]

    def extended(self, name: str, body: bytes) -> Verdict:
        return self.ask(EXTENDED, string(name) + body)

    def handle(self, verb: int, body: bytes) -> bytes:
        """The handle of what is opened, which must work."""
        verdict = self.ask(verb, body)
        assert verdict.isDone, verdict
        return verdict.data

    def open(self, path: str, flags: int) -> bytes:
        return self.handle(OPEN, string(path) + uint32(flags) + attributes())

    def fetch(self, path: str) -> Verdict:
        """Open, read and close."""
        opened = self.ask(OPEN, string(path) + uint32(FOR_READING) + attributes())
        if not opened.isDone:
            return opened
        pieces = []
        while (read := self.ask(READ, opened.data + uint64(sum(map(len, pieces))) + uint32(32768))).isDone:
            pieces.append(read.data[4:])
        closed = self.ask(CLOSE, opened.data)
        return Verdict("done", b"".join(pieces)) if read.answer == "end" and closed.isDone else read

    def send(self, path: str, data: bytes, flags: int, offset: int = 0) -> Verdict:
        """Open, write and close; the verdict is the first that is not good."""
        opened = self.ask(OPEN, string(path) + uint32(flags) + attributes())
        if not opened.isDone:
            return opened
        written = self.ask(WRITE, opened.data + uint64(offset) + string(data))
        closed = self.ask(CLOSE, opened.data)
        return written if not written.isDone else closed

    def names(self, path: str) -> Verdict:
        """What is listed in it; ``data`` holds the names, each on a line."""
        opened = self.ask(OPENDIR, string(path))
        if not opened.isDone:
            return opened
        names: list[bytes] = []
        while (read := self.ask(READDIR, opened.data)).isDone:
            names += [name for name in namesOf(read.data) if name not in {b".", b".."}]
        self.ask(CLOSE, opened.data)
        return Verdict("done", b"\n".join(names)) if read.answer == "end" else read

    def size(self, path: str) -> int | None:
        """A length, as STAT tells it."""
        verdict = self.ask(STAT, string(path))
        return int.from_bytes(verdict.data[4:12], "big") if verdict.isDone else None


# --- HTTPS


class HTTPSTalker:
    """Requests on one connection, with a password."""

    name = "https"

    def __init__(self, node: NodeProcess, client: Client) -> None:
        self._connection = HTTPSConnection(node.address, 8443, timeout=SECONDS, context=trustingContext())
        credentials = base64.b64encode(f"{client.name}:{client.password}".encode()).decode()
        self.headers = {"Authorization": f"Basic {credentials}"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Verdict:
        """A request below the files; ``path`` is percent-encoded already, a body that is no bytes becomes JSON."""
        more = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            more["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        if body is not None and len(body) > 1 << 16:
            more["Expect"] = "100-continue"
        self._connection.request(method, f"/api/v1/files{path}", body, self.headers | more)
        response = self._connection.getresponse()
        self.length = response.headers.get("Content-Length")
        self.answerHeaders = response.headers
        data = response.read()
        if response.status < 400:
            return Verdict("done", data, str(response.status))
        answer = {401: "denied", 403: "denied", 404: "missing", 405: "unknown", 501: "unknown"}
        return Verdict(answer.get(response.status, str(response.status)), text=data.decode())


Talker = FTPTalker | SFTPTalker | HTTPSTalker
TALKERS: Sequence[type[Talker]] = (FTPTalker, SFTPTalker, HTTPSTalker)
