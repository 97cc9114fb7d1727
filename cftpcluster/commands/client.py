"""A client of a node's REST API: what is asked, and what the answers mean. How they travel is not known here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias
from urllib.parse import quote, urlencode, urlsplit

import click
from attrs import field, frozen

from ..state import ADMIN_SOCKET, defaultStateDirectory

MOST_PROBLEMS_SHOWN = 100

_PAGE = 1000
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class Failed(click.ClickException):
    """A verb failed: its message is the one line on standard error, and the exit code is 1.

    :ivar status: the status that the API answered with; 0 where it did not come to that.
    :ivar value: what ``--json`` shows all the same.
    """

    def __init__(self, message: str, status: int = 0, value: Any = None) -> None:
        super().__init__(message)
        self.status, self.value = status, value

    def show(self, file: Any = None) -> None:
        click.echo(f"cftpctl: {self.message}", file=file, err=file is None)


@frozen
class Where:
    """Which node is asked, and as whom.

    :ivar url: of a node's REST API; "" for the administration socket in ``stateDirectory``.
    :ivar fingerprint: SHA-256 of the server's certificate, lower-case hex; "" to verify it by ``caFile``, or by what
        this machine trusts.
    """

    stateDirectory: str = ""
    url: str = ""
    user: str = ""
    password: bytes = field(default=b"", repr=False)
    token: str = field(default="", repr=False)
    caFile: str = ""
    fingerprint: str = ""

    @property
    def socket(self) -> Path:
        return Path(self.stateDirectory or defaultStateDirectory()) / ADMIN_SOCKET


Moved: TypeAlias = Callable[[str, int, int], None]
"""Told how far a request is: ``sending`` or ``receiving``, how many bytes so far, and of how many (0: not known)."""


class Exchange(Protocol):
    """Makes requests of method, path, headers and body."""

    async def __call__(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, moved: Moved
    ) -> tuple[int, bytes]:
        """Gives status and body of the answer."""

    async def listen(self, target: str, headers: Mapping[str, str], take: Callable[[bytes], None]) -> tuple[int, bytes]:
        """Hands each piece of an answer to ``take`` until it ends, or gives the body of one that refuses."""


def unmoved(what: str, done: int, total: int) -> None:
    """Where nobody wants to know."""


@frozen
class Client:
    """Asks one node."""

    _exchange: Exchange

    async def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        moved: Moved = unmoved,
    ) -> Any:
        """Make one request to ``/api/v1`` and return the value that was answered; ``Failed`` where it was refused.

        :param query: ``None`` and ``False`` are left out.
        :param body: plain values, or bytes as they are.
        """
        return _value(*await self._request(method, path, query, body, moved))

    async def fetch(self, method: str, path: str, body: Any = None, moved: Moved = unmoved) -> bytes:
        """Make one request, and return the bytes that were answered; ``Failed`` where it was refused."""
        status, content = await self._request(method, path, None, body, moved)
        if status >= 400:
            _value(status, content)
        return content

    async def listen(
        self, path: str, query: Mapping[str, Any], headers: Mapping[str, str], take: Callable[[bytes], None]
    ) -> None:
        """Hand each piece of a stream to ``take``, until it ends; ``Failed`` where it was refused or broke off."""
        status, content = await self._exchange.listen(_target(path, query), headers, take)
        if status >= 400:
            _value(status, content)

    async def _request(
        self, method: str, path: str, query: Mapping[str, Any] | None, body: Any, moved: Moved
    ) -> tuple[int, bytes]:
        headers = {"Accept": "application/json"}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode("ascii")
        if data is not None:
            headers["Content-Type"] = "application/octet-stream" if data is body else "application/json"
        return await self._exchange(method, _target(path, query or {}), headers, data, moved)


def _target(path: str, query: Mapping[str, Any]) -> str:
    given = {key: _text(value) for key, value in query.items() if value is not None and value is not False}
    return f"/api/v1/{path}" + (f"?{urlencode(given)}" if given else "")


async def everything(client: Client, path: str, query: Mapping[str, Any]) -> list[Any]:
    """All of a list, page by page."""
    found: list[Any] = []
    after = None
    while True:
        page = await client.ask("GET", path, {**query, "limit": _PAGE, "after": after})
        found += page["items"]
        after = page["next"]
        if after is None:
            return found


def escaped(text: str) -> str:
    """A name as part of a path."""
    return quote(text, safe="@")


def whereFrom(
    stateDirectory: str, url: str, user: str, passwordFile: str, tokenFile: str, caFile: str, fingerprint: str
) -> Where:
    """Check the options that say which node to ask; wrong usage ends the program."""
    if not url:
        needing = (
            ("--user", user),
            ("--token-file", tokenFile),
            ("--ca-file", caFile),
            ("--fingerprint", fingerprint),
        )
        for option, value in needing:
            if value:
                raise click.UsageError(f"{option} needs --url")
        return Where(stateDirectory)
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        raise click.UsageError(f"--url: {url!r} is not https://HOST:PORT")
    if tokenFile and (user or passwordFile):
        raise click.UsageError("give either --token-file, or --user and --password-file")
    if not tokenFile and (not user or not passwordFile):
        raise click.UsageError("--url needs --user and --password-file, or --token-file")
    if caFile and fingerprint:
        raise click.UsageError("give either --ca-file or --fingerprint")
    pinned = fingerprint.replace(":", "").lower().removeprefix("sha256")
    if fingerprint and not _FINGERPRINT.fullmatch(pinned):
        raise click.UsageError("--fingerprint: expected SHA-256, 64 hexadecimal digits")
    if tokenFile:
        token = firstLine(tokenFile, "token").decode("ascii", "replace").strip()
        return Where(stateDirectory, url, token=token, caFile=caFile, fingerprint=pinned)
    return Where(stateDirectory, url, user, firstLine(passwordFile), caFile=caFile, fingerprint=pinned)


def firstLine(path: str, what: str = "password") -> bytes:
    """The first line of a file, or of standard input for ``-``; never empty."""
    try:
        with click.open_file(path, "rb") as file:
            line: bytes = file.readline(65536).rstrip(b"\r\n")
    except OSError as error:
        raise Failed(f"cannot read {path}: {error.strerror}") from None
    if not line:
        raise Failed(f"{'standard input' if path == '-' else path} holds no {what}")
    return line


def _text(value: Any) -> str:
    return "true" if value is True else str(value)


def _value(status: int, content: bytes) -> Any:
    try:
        value = json.loads(content) if content else None
    except ValueError:
        raise Failed(f"the server answered {status} with something that is not JSON", status) from None
    if status < 400:
        return value
    problem = value if isinstance(value, dict) else {}
    text = str(problem.get("detail") or problem.get("title") or f"the server answered {status}")
    errors = [
        f"{one.get('path')}: {one.get('message')}" if one.get("path") else str(one.get("message"))
        for one in problem.get("errors", ())
    ]
    if len(errors) == 1:
        text = errors[0]
    elif errors:
        more = len(errors) - MOST_PROBLEMS_SHOWN
        lines = [*errors[:MOST_PROBLEMS_SHOWN], *([f"... and {more} more"] if more > 0 else [])]
        text = "\n    ".join([f"{text}: {len(errors)} problems", *lines])
    if "requestId" in problem:
        text = f"outcome unknown, request {problem['requestId']}"
    raise Failed(text, status, problem)
