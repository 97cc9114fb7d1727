"""A steady load of log-ins and transfers on all protocols, and what became of each: for tests of failover.

Everything blocks; clients run in threads, each from an address of its own. SFTP needs paramiko, which the extra
``test`` brings.
"""

from __future__ import annotations

import ftplib
import io
import logging
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPSConnection
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

from attrs import define, field, frozen

SECONDS = 15.0
"""How long a client waits for anything."""

PIECE = bytes(range(256)) * 128
PIECE_SECONDS = 0.1


@frozen(kw_only=True)
class Place:
    """Where clients connect to, and as whom."""

    address: str
    user: str
    password: str
    ports: dict[str, int] = field(factory=lambda: {"ftp": 2121, "ftps": 2990, "sftp": 2222, "https": 8443})


@frozen(kw_only=True)
class Attempt:
    """A log-in with one small upload and its download, or a long upload.

    :ivar began: seconds, as ``time.monotonic`` counts.
    :ivar error: why it failed; "" when it did not.
    """

    protocol: str
    source: str
    began: float
    ended: float
    error: str


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# --- one session of each protocol: made by logging in


class FTPSession:
    implicit = False

    def __init__(self, place: Place, source: str) -> None:
        self._ftp = ftplib.FTP_TLS(context=_trusting(), timeout=SECONDS, source_address=(source, 0))  # noqa: S321 - over TLS
        if self.implicit:
            self._connectOverTLS(place, source)
        else:
            self._ftp.connect(place.address, place.ports["ftp"])
        self._ftp.login(place.user, place.password, secure=not self.implicit)
        self._ftp.prot_p()

    def _connectOverTLS(self, place: Place, source: str) -> None:
        raw = socket.create_connection((place.address, place.ports["ftps"]), SECONDS, (source, 0))
        ftp: Any = self._ftp
        ftp.host, ftp.af = place.address, raw.family
        ftp.sock = ftp.context.wrap_socket(raw)
        ftp.file = ftp.sock.makefile("r", encoding=ftp.encoding)
        ftp.welcome = ftp.getresp()

    def passiveAddress(self) -> str:
        """Where a data connection is to go to, in the server's words."""
        return ftplib.parse227(self._ftp.sendcmd("PASV"))[0]  # noqa: S321 - over TLS

    def upload(self, name: str, pieces: Iterator[bytes]) -> None:
        self._ftp.voidcmd("TYPE I")
        with self._ftp.transfercmd(f"STOR {name}") as connection:
            for piece in pieces:
                connection.sendall(piece)
            if isinstance(connection, ssl.SSLSocket):
                connection.unwrap()
        self._ftp.voidresp()

    def download(self, name: str) -> bytes:
        found: list[bytes] = []
        self._ftp.retrbinary(f"RETR {name}", found.append)
        return b"".join(found)

    def close(self) -> None:
        self._ftp.close()


class FTPSSession(FTPSession):
    implicit = True


class SFTPSession:
    def __init__(self, place: Place, source: str) -> None:
        import paramiko  # type: ignore[import-untyped]

        # It would write a traceback for each connection that is lost.
        logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)
        raw = socket.create_connection((place.address, place.ports["sftp"]), SECONDS, (source, 0))
        raw.settimeout(SECONDS)
        self._transport = paramiko.Transport(raw)
        self._transport.banner_timeout = self._transport.auth_timeout = SECONDS
        try:
            self._transport.start_client(timeout=SECONDS)
            self._transport.auth_password(place.user, place.password)
            channel = self._transport.open_session(timeout=SECONDS)
            channel.settimeout(SECONDS)
            channel.invoke_subsystem("sftp")
            self._sftp = paramiko.SFTPClient(channel)
        except BaseException:
            self._transport.close()
            raise

    def upload(self, name: str, pieces: Iterator[bytes]) -> None:
        with self._sftp.open(name, "wb") as file:
            for piece in pieces:
                file.write(piece)

    def download(self, name: str) -> bytes:
        with self._sftp.open(name, "rb") as file:
            return bytes(file.read())

    def close(self) -> None:
        self._transport.close()


class HTTPSSession:
    def __init__(self, place: Place, source: str) -> None:
        self._connection = HTTPSConnection(
            place.address, place.ports["https"], timeout=SECONDS, context=_trusting(), source_address=(source, 0)
        )
        credentials = b64encode(f"{place.user}:{place.password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {credentials}"}
        self._ask("GET", "", None)

    def _ask(self, method: str, name: str, body: Any) -> bytes:
        self._connection.request(method, f"/api/v1/files/{name}", body, self._headers, encode_chunked=body is not None)
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise ConnectionError(f"{method}: {answer.status} {data[:200]!r}")
        return data

    def upload(self, name: str, pieces: Iterator[bytes]) -> None:
        self._headers["Transfer-Encoding"] = "chunked"
        try:
            self._ask("PUT", name, pieces)
        finally:
            del self._headers["Transfer-Encoding"]

    def download(self, name: str) -> bytes:
        return self._ask("GET", name, None)

    def close(self) -> None:
        self._connection.close()


SESSIONS: dict[str, Callable[[Place, str], Any]] = {
    "ftp": FTPSession,
    "ftps": FTPSSession,
    "sftp": SFTPSession,
    "https": HTTPSSession,
}


def failed(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


# --- many of them


@define(eq=False)
class LongUpload:
    """An upload that goes on until :meth:`finish`."""

    protocol: str
    source: str
    _place: Place
    began: threading.Event = field(factory=threading.Event, init=False)
    error: str = field(default="", init=False)
    _sent: int = field(default=0, init=False)
    _enough: threading.Event = field(factory=threading.Event, init=False)
    _thread: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        return f"long-{self.protocol}-{self.source}"

    def _pieces(self) -> Iterator[bytes]:
        while True:
            self._sent += 1
            yield PIECE
            self.began.set()
            if self._enough.wait(PIECE_SECONDS):
                return

    def _run(self) -> None:
        try:
            session = SESSIONS[self.protocol](self._place, self.source)
            try:
                session.upload(self.name, self._pieces())
            finally:
                session.close()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the result
            self.error = failed(error)
        finally:
            self.began.set()

    def finish(self) -> Self:
        """Send the end, and wait until the server has answered."""
        self._enough.set()
        self._thread.join(SECONDS * 2)
        if self._thread.is_alive():
            self.error = "it never ended"
        return self

    @property
    def contents(self) -> bytes:
        """What the server must have of it."""
        return PIECE * self._sent


@define(eq=False)
class Load:
    """Log-ins and small transfers, one after the other on each protocol; a context manager.

    :ivar sources: addresses of clients, one for each protocol at least.
    :ivar attempts: what came of each, in the order of their ends.
    """

    place: Place
    sources: Sequence[str]
    pauseSeconds: float = 0.02
    attempts: list[Attempt] = field(factory=list, init=False)
    _stopping: threading.Event = field(factory=threading.Event, init=False)
    _threads: list[threading.Thread] = field(factory=list, init=False)

    def __enter__(self) -> Self:
        protocols = list(SESSIONS)
        for number, source in enumerate(self.sources):
            protocol = protocols[number % len(protocols)]
            thread = threading.Thread(target=self._run, args=(protocol, source), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(SECONDS * 2)

    def _run(self, protocol: str, source: str) -> None:
        number = 0
        while not self._stopping.wait(self.pauseSeconds):
            number += 1
            began = time.monotonic()
            error = self._attempt(protocol, source, f"small-{protocol}-{source}-{number % 10}")
            self.attempts.append(
                Attempt(protocol=protocol, source=source, began=began, ended=time.monotonic(), error=error)
            )

    def _attempt(self, protocol: str, source: str, name: str) -> str:
        sent = io.BytesIO(f"{source} {time.monotonic()}".encode() * 500).getvalue()
        try:
            session = SESSIONS[protocol](self.place, source)
            try:
                session.upload(name, iter([sent]))
                if session.download(name) != sent:
                    return "what was downloaded is not what was uploaded"
            finally:
                session.close()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the result
            return failed(error)
        return ""

    # --- results

    def failures(self, began: float = 0.0) -> list[Attempt]:
        """Those that failed and began no sooner."""
        return [each for each in list(self.attempts) if each.error and each.began >= began]

    def done(self, protocol: str, began: float = 0.0, ended: float = float("inf")) -> int:
        """How many of a protocol went well between two moments."""
        return sum(
            each.protocol == protocol and not each.error and each.began >= began and each.ended <= ended
            for each in list(self.attempts)
        )

    def gap(self, protocol: str, began: float = 0.0, ended: float = float("inf")) -> float:
        """The longest time in which nothing of a protocol was completed well."""
        times = [each.ended for each in list(self.attempts) if each.protocol == protocol and not each.error]
        times = sorted(each for each in times if began <= each <= ended)
        return max((later - sooner for sooner, later in pairwise(times)), default=0.0)
