"""Conversations with an HTTP server in memory, byte by byte, for the tests of whatever is served over HTTP."""

from __future__ import annotations

import json
from http.client import HTTPResponse
from io import BytesIO
from typing import Any

from attrs import define, field, frozen
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import alsoProvides


class _Transport(StringTransport):
    """Tells its protocol that the connection is over, once it has asked for that."""

    protocol: Any = None
    lost = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def loseConnection(self) -> None:
        self._lose(ConnectionDone())

    def abortConnection(self) -> None:
        self._lose(ConnectionLost())

    def _lose(self, reason: Exception) -> None:
        self.disconnecting = True
        if not self.lost:
            self.lost = True
            self.protocol.connectionLost(Failure(reason))


@frozen
class Answer:
    """One answer of the server; ``body`` is whole."""

    status: int
    headers: Any
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class _Socket:
    """What :class:`http.client.HTTPResponse` reads from."""

    def __init__(self, stream: BytesIO) -> None:
        self._stream = stream

    def makefile(self, mode: str) -> Any:
        return _Unclosed(self._stream)


class _Unclosed:
    """A stream that is read on by the next answer."""

    def __init__(self, stream: BytesIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def close(self) -> None:
        pass


@define(eq=False)
class Conversation:
    """One connection to a site.

    :ivar transport: the server's end.
    :ivar ended: whether the server said that it answers nothing more.
    """

    transport: Any
    protocol: Any
    ended: bool = field(default=False, init=False)
    _methods: list[str] = field(factory=list, init=False)

    @classmethod
    def with_(cls, factory: Any, address: str = "127.0.0.1", secure: bool = True) -> Conversation:
        """Connect to ``factory``, over what it takes for TLS or not."""
        peer = IPv4Address("TCP", address, 40000)
        transport = _Transport(peerAddress=peer)
        if secure:
            alsoProvides(transport, ISSLTransport)
        protocol = transport.protocol = factory.buildProtocol(peer)
        protocol.makeConnection(transport)
        return cls(transport, protocol)

    @property
    def closed(self) -> bool:
        return bool(self.transport.lost)

    @property
    def paused(self) -> bool:
        """Whether the server reads nothing for now."""
        return bool(self.transport.producerState == "paused")

    def send(self, data: bytes) -> None:
        """Bytes from the client; lost where the server has gone."""
        if not self.closed:
            self.protocol.dataReceived(data)

    def lose(self) -> None:
        """The client goes away."""
        self.transport.abortConnection()

    def request(self, method: str, target: str, body: bytes | None = None, **headers: str) -> None:
        """Send a whole request; ``If_Match="..."`` is header ``If-Match``."""
        self._methods.append(method)
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))

    def ask(self, method: str, target: str, json: Any = None, body: bytes | None = None, **headers: str) -> Answer:
        """Send a request and take its answer, the only one that is out."""
        if json is not None:
            body = _encoded(json)
            headers.setdefault("Content_Type", "application/json")
        self.request(method, target, body, **headers)
        answers = self.answers()
        if len(answers) != 1:
            raise AssertionError(f"{len(answers)} answers to {method} {target}")
        return answers[0]

    def answers(self) -> list[Answer]:
        """The answers since the last call, 100 Continue among them."""
        stream = BytesIO(self.transport.value())
        self.transport.clear()
        answers = []
        while stream.tell() < len(stream.getvalue()):
            method = self._methods.pop(0) if self._methods else None
            answers.append(_answer(stream, method))
            self.ended = self.ended or answers[-1].headers.get("Connection") == "close"
        return answers


def _answer(stream: BytesIO, method: str | None) -> Answer:
    start = stream.tell()
    if stream.read(12) == b"HTTP/1.1 100":
        stream.readline()
        stream.readline()
        return Answer(100, {}, b"")
    stream.seek(start)
    response = HTTPResponse(_Socket(stream), method=method)  # type: ignore[arg-type]
    response.begin()
    return Answer(response.status, response.headers, response.read())


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8")
