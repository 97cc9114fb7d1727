"""Answers balancers and supervisors whether this node lives and is ready, and Prometheus how it is: plain HTTP, no
more of it than they need.

RFC 9112 (HTTP/1.1), one request for each connection::

    C: GET /readyz/sftp HTTP/1.1          GET, HEAD, or OPTIONS, which HAProxy's checks use; "/" means /readyz
    S: HTTP/1.1 200 OK                    503 when not ready, 404 for a listener that there is not
    S: {"ready": true, "reasons": [], "warnings": []}
    S closes

Headers and bodies of requests are not looked at, and nothing is asked of the client, so nothing can be smuggled in.
What makes a node ready is not known here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString
from zope.interface import implementer

from ..interfaces import IPrivateServer, IServerFactory

LONGEST_HEAD_BYTES = 8192
CONNECTION_SECONDS = 5.0
"""How long a connection may last, from its beginning to its end."""

_END = re.compile(rb"\n\r?\n")
_REQUEST = re.compile(rb"([!-~]+) ([!-~]+) HTTP/1\.[0-9]\r?\n")
_NAME = re.compile(r"/readyz/([^/]+)")


@frozen
class HealthOptions:
    """A listener of kind ``health`` has no options of its own."""


@frozen
class Answer:
    status: HTTPStatus
    body: bytes
    type: bytes = b"text/plain; charset=utf-8"

    @classmethod
    def ofReadiness(cls, reasons: list[str], warnings: list[str]) -> Answer:
        body = json.dumps({"ready": not reasons, "reasons": reasons, "warnings": warnings}) + "\n"
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        return cls(status, body.encode("ascii"), b"application/json")

    @classmethod
    def ofStatus(cls, status: HTTPStatus) -> Answer:
        return cls(status, status.phrase.encode("ascii") + b"\n")


class HealthProtocol(Protocol):
    """One connection, one answer."""

    factory: HealthServer
    transport: Any
    _received = b""
    _answered = False
    _deadline: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self.factory.connections.add(self)
        self._deadline = self.factory.clock.callLater(CONNECTION_SECONDS, self.end)

    def dataReceived(self, data: bytes) -> None:
        if self._answered:
            return
        searched = max(0, len(self._received) - 2)
        self._received += data
        if _END.search(self._received, searched):
            request = _REQUEST.match(self._received)
            if request is None:
                self._answer(Answer.ofStatus(HTTPStatus.BAD_REQUEST))
            else:
                self._answer(self.factory.answer(request[1], request[2]), withBody=request[1] != b"HEAD")
        elif len(self._received) > LONGEST_HEAD_BYTES:
            self._answer(Answer.ofStatus(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))

    def _answer(self, answer: Answer, withBody: bool = True) -> None:
        self._answered = True
        self._received = b""
        lines = [
            b"HTTP/1.1 %d %s" % (answer.status, answer.status.phrase.encode("ascii")),
            b"Date: " + datetimeToString(),
            b"Content-Type: " + answer.type,
            b"Content-Length: %d" % len(answer.body),
            b"Allow: GET, HEAD, OPTIONS",
            b"Cache-Control: no-store",
            b"X-Content-Type-Options: nosniff",
            b"Connection: close",
        ]
        body = answer.body if withBody else b""
        self.transport.write(b"\r\n".join([*lines, b"", b""]) + body)
        self.transport.loseConnection()

    def end(self) -> None:
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.connections.discard(self)
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()


@implementer(IPrivateServer)
@define(eq=False)
class HealthServer(Factory):
    """The server of kind ``health``. It goes on answering while the node drains: that is what it is for.

    :ivar readiness: as :class:`HealthServerFactory` has it.
    """

    _readiness: Callable[[], Mapping[str, Any]]
    clock: IReactorTime
    _metrics: Callable[[], tuple[bytes, bytes]]
    connections: set[HealthProtocol] = field(factory=set, init=False)
    _log = Logger()

    noisy = False
    implicitTLS = False

    def buildProtocol(self, addr: IAddress | None) -> Any:
        built = HealthProtocol()
        built.factory = self
        return built

    def reconfigure(self, config: HealthOptions) -> Deferred[None]:
        return succeed(None)

    def drain(self) -> Deferred[None]:
        return succeed(None)

    def resume(self) -> None:
        pass

    def disconnect(self) -> None:
        for connection in list(self.connections):
            connection.end()

    def answer(self, method: bytes, target: bytes) -> Answer:
        if method not in {b"GET", b"HEAD", b"OPTIONS"}:
            return Answer.ofStatus(HTTPStatus.METHOD_NOT_ALLOWED)
        path = unquote(target.partition(b"?")[0].decode("latin-1"))
        if path == "/livez":
            return Answer(HTTPStatus.OK, b"ok\n")
        if path == "/metrics":
            return self._told()
        named = _NAME.fullmatch(path)
        if named is None and path not in {"/", "*", "/readyz"}:
            return Answer.ofStatus(HTTPStatus.NOT_FOUND)
        try:
            readiness = self._readiness()
            reasons, warnings = list(readiness["reasons"]), list(readiness["warnings"])
            listeners = dict(readiness["listeners"])
        except Exception:  # noqa: BLE001 - whatever it is, an answer that says "not ready" takes the node out of service
            self._log.failure("readiness could not be told")
            return Answer.ofReadiness(["readiness could not be told; the log says why"], [])
        if named is not None:
            if named[1] not in listeners:
                return Answer.ofStatus(HTTPStatus.NOT_FOUND)
            if not listeners[named[1]]:
                reasons.append(f"listener {named[1]} is not bound")
        return Answer.ofReadiness(reasons, warnings)

    def _told(self) -> Answer:
        try:
            contentType, body = self._metrics()
        except Exception:  # noqa: BLE001 - whatever it is, the node goes on
            self._log.failure("metrics could not be told")
            return Answer.ofStatus(HTTPStatus.INTERNAL_SERVER_ERROR)
        return Answer(HTTPStatus.OK, body, contentType)


@implementer(IServerFactory)
@define(eq=False)
class HealthServerFactory:
    """Made by the node, which alone can say how it is.

    :ivar readiness: gives ``reasons`` why the node is not ready (none: it is), ``warnings``, both lists of text, and
        ``listeners``: whether each is bound, by name.
    :ivar metrics: gives the type and the text of what Prometheus reads.
    """

    _readiness: Callable[[], Mapping[str, Any]]
    _metrics: Callable[[], tuple[bytes, bytes]]
    kind: str = field(default="health", init=False)
    summary: str = field(default="/livez, /readyz, /readyz/LISTENER and /metrics over plain HTTP", init=False)
    configClass: type = field(default=HealthOptions, init=False)
    needsTLS: bool = field(default=False, init=False)

    def build(
        self,
        config: HealthOptions,
        *,
        listener: Any,
        reactor: Any,
        portal: Any,
        tls: Any,
        hostKeys: Any,
        sessionKeys: Any,
        settings: Any,
        notify: Any,
        bindAddress: str,
        pool: Any,
    ) -> HealthServer:
        return HealthServer(self._readiness, reactor, self._metrics)
