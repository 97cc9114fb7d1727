"""A client of a node's REST API, over its administration socket or over HTTPS.

Twisted is imported when something is asked, not before: help and completion are to come at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import click
from attrs import field, frozen

from ..state import ADMIN_SOCKET, defaultStateDirectory, socketAddress

if TYPE_CHECKING:
    from twisted.web.iweb import IAgent

_CONNECT_SECONDS = 10
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
    caFile: str = ""
    fingerprint: str = ""

    @property
    def socket(self) -> Path:
        return Path(self.stateDirectory or defaultStateDirectory()) / ADMIN_SOCKET


@frozen
class Client:
    """Asks one node."""

    _where: Where
    _reactor: Any

    async def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Make one request to ``/api/v1`` and return the value that was answered; ``Failed`` where it was refused.

        :param query: ``None`` and ``False`` are left out.
        :param body: plain values, or bytes as they are.
        """
        import treq
        from treq.client import HTTPClient
        from twisted.web.client import ResponseFailed, ResponseNeverReceived

        given = {key: _text(value) for key, value in (query or {}).items() if value not in (None, False)}
        base = self._where.url.rstrip("/") if self._where.url else "http://cftpcluster"
        url = f"{base}/api/v1/{path}" + (f"?{urlencode(given)}" if given else "")
        sent: dict[Any, Any] = {"Accept": "application/json", **(headers or {})}
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        auth = (self._where.user, self._where.password) if self._where.user else None
        try:
            response = await HTTPClient(self._agent()).request(
                method, url, headers=sent, data=data, auth=auth, browser_like_redirects=False, unbuffered=True
            )
            content = await treq.content(response)
        except (ResponseFailed, ResponseNeverReceived) as error:
            raise Failed(self._unreachable(error.reasons[0].value if error.reasons else error)) from None
        except Exception as error:  # noqa: BLE001 - whatever kept the node from being asked is one line for the operator
            raise Failed(self._unreachable(error)) from None
        return _value(response.code, content)

    def _agent(self) -> IAgent:
        from twisted.web.client import Agent

        from ._transport import SocketEndpoints, httpsPolicy

        if self._where.url:
            policy = httpsPolicy(self._where.caFile, self._where.fingerprint)
            return Agent(self._reactor, policy, connectTimeout=_CONNECT_SECONDS)
        path = socketAddress(self._where.socket)
        agent: IAgent = Agent.usingEndpointFactory(
            self._reactor, SocketEndpoints(self._reactor, path, _CONNECT_SECONDS)
        )
        return agent

    def _unreachable(self, error: BaseException | None) -> str:
        text = " ".join(str(error).split()) or type(error).__name__
        if self._where.url:
            return f"cannot reach {self._where.url}: {text}"
        if not self._where.socket.exists():
            folder = self._where.socket.parent
            return f"no node is running in {folder}: there is no {ADMIN_SOCKET} (--state-dir says where)"
        return f"cannot reach the node at {self._where.socket}: {text}"


def escaped(text: str) -> str:
    """A name as part of a path."""
    return quote(text, safe="@")


def whereFrom(stateDirectory: str, url: str, user: str, passwordFile: str, caFile: str, fingerprint: str) -> Where:
    """Check the options that say which node to ask; wrong usage ends the program."""
    if not url:
        for option, value in (("--user", user), ("--ca-file", caFile), ("--fingerprint", fingerprint)):
            if value:
                raise click.UsageError(f"{option} needs --url")
        return Where(stateDirectory)
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        raise click.UsageError(f"--url: {url!r} is not https://HOST:PORT")
    if not user or not passwordFile:
        raise click.UsageError("--url needs --user and --password-file")
    if caFile and fingerprint:
        raise click.UsageError("give either --ca-file or --fingerprint")
    pinned = fingerprint.replace(":", "").lower().removeprefix("sha256")
    if fingerprint and not _FINGERPRINT.fullmatch(pinned):
        raise click.UsageError("--fingerprint: expected SHA-256, 64 hexadecimal digits")
    return Where(stateDirectory, url, user, firstLine(passwordFile), caFile, pinned)


def firstLine(path: str) -> bytes:
    """The first line of a file, or of standard input for ``-``; never empty."""
    try:
        with click.open_file(path, "rb") as file:
            line: bytes = file.readline(65536).rstrip(b"\r\n")
    except OSError as error:
        raise Failed(f"cannot read {path}: {error.strerror}") from None
    if not line:
        raise Failed(f"{'standard input' if path == '-' else path} holds no password")
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
        text = "\n    ".join([f"{text}: {len(errors)} problems", *errors])
    if "requestId" in problem:
        text = f"outcome unknown, request {problem['requestId']}"
    raise Failed(text, status, problem)
