"""Tests of the answers to balancers."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from cftpcluster.config.document import Listener
from cftpcluster.interfaces import IPrivateServer, IServer, IServerFactory
from cftpcluster.servers.health import CONNECTION_SECONDS, HealthOptions, HealthServer, HealthServerFactory

READY = {"reasons": [], "warnings": ["the link to the primary is down"], "listeners": {"ftp": True, "sftp": False}}
DRAINING = {**READY, "reasons": ["draining"]}


class Transport(StringTransport):
    """A transport that says how it ended."""

    ended = ""

    def loseConnection(self) -> None:
        self.ended = self.ended or "closed"

    def abortConnection(self) -> None:
        self.ended = self.ended or "aborted"


class HealthTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.readiness: Any = READY
        self.metrics: Any = lambda: b"x 1\n"
        self.server = HealthServer(lambda: self.readiness, self.clock, lambda: (b"text/plain", self.metrics()))

    def connect(self) -> tuple[Any, Transport]:
        transport = Transport()
        protocol = self.server.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        protocol.makeConnection(transport)
        return protocol, transport

    def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer."""
        protocol, transport = self.connect()
        protocol.dataReceived(request)
        self.assertEqual(transport.ended, "closed")
        head, _, body = transport.value().partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        self.assertEqual((headers["connection"], headers["cache-control"]), ("close", "no-store"))
        return int(first.split()[1]), headers, body

    def get(self, path: str) -> tuple[int, Any]:
        """Status and body of the answer to a GET."""
        status, headers, body = self.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.assertEqual(int(headers["content-length"]), len(body))
        return status, json.loads(body) if headers["content-type"] == "application/json" else body


class AnswerTests(HealthTestCase):
    def test_livesAsSoonAsItAnswers(self) -> None:
        self.readiness = DRAINING
        self.assertEqual(self.get("/livez"), (200, b"ok\n"))

    def test_readyWithWarnings(self) -> None:
        expected = {"ready": True, "reasons": [], "warnings": READY["warnings"]}
        for path in ("/readyz", "/readyz?verbose", "/"):
            self.assertEqual(self.get(path), (200, expected))

    def test_notReadyWithReasons(self) -> None:
        self.readiness = DRAINING
        expected = {"ready": False, "reasons": ["draining"], "warnings": READY["warnings"]}
        self.assertEqual(self.get("/readyz"), (503, expected))

    def test_listenersAreReadyWhenTheyAndTheNodeAre(self) -> None:
        self.assertEqual(self.get("/readyz/ftp")[0], 200)
        status, body = self.get("/readyz/sftp")
        self.assertEqual((status, body["ready"], body["reasons"]), (503, False, ["listener sftp is not bound"]))
        self.readiness = DRAINING
        self.assertEqual(self.get("/readyz/ftp")[0], 503)
        self.assertEqual(READY["reasons"], [])

    def test_unknownPlacesAreNotFound(self) -> None:
        for path in (
            "/readyz/gopher",
            "/readyz/",
            "/readyz/ftp/x",
            "/livez/",
            "/metrics/",
            "/readyzz",
            "//",
            "/../livez",
        ):
            self.assertEqual(self.get(path)[0], 404, path)

    def test_namesMayBePercentEncoded(self) -> None:
        self.readiness = {**READY, "listeners": {"a@b": True}}
        self.assertEqual([self.get("/readyz/a%40b")[0], self.get("/readyz/a@b")[0]], [200, 200])

    def test_readinessThatFailsIsNotReady(self) -> None:
        self.readiness = {}
        status, body = self.get("/readyz")
        self.assertEqual((status, body["ready"]), (503, False))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)


class MethodTests(HealthTestCase):
    def test_headHasTheSameHeadersAndNoBody(self) -> None:
        getStatus, getHeaders, body = self.ask(b"GET /readyz HTTP/1.1\r\n\r\n")
        self.assertEqual(self.ask(b"HEAD /readyz HTTP/1.1\r\n\r\n"), (getStatus, getHeaders, b""))
        self.assertNotEqual(body, b"")

    def test_plainChecksOfHAProxyAreAnswered(self) -> None:
        for request in (
            b"OPTIONS / HTTP/1.0\r\n\r\n",
            b"OPTIONS * HTTP/1.0\r\n\r\n",
            b"OPTIONS /readyz/ftp HTTP/1.0\r\n\r\n",
        ):
            self.readiness = READY
            self.assertEqual(self.ask(request)[0], 200)
            self.readiness = DRAINING
            self.assertEqual(self.ask(request)[0], 503)

    def test_otherMethodsAreRefused(self) -> None:
        for method in ("POST", "PUT", "DELETE", "TRACE", "CONNECT", "get", "X" * 100):
            status, headers, _ = self.ask(f"{method} /livez HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc".encode())
            self.assertEqual((status, headers["allow"]), (405, "get, head, options"))


class ConnectionTests(HealthTestCase):
    def test_requestMayComeInPieces(self) -> None:
        protocol, transport = self.connect()
        for byte in b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n":
            self.assertEqual(transport.value(), b"")
            protocol.dataReceived(bytes([byte]))
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 200 OK\r\n"))

    def test_linesMayEndBare(self) -> None:
        self.assertEqual(self.ask(b"GET /livez HTTP/1.0\n\n")[0], 200)

    def test_oneAnswerForEachConnection(self) -> None:
        protocol, transport = self.connect()
        protocol.dataReceived(b"GET /livez HTTP/1.1\r\n\r\n" * 3)
        protocol.dataReceived(b"GET /livez HTTP/1.1\r\n\r\n")
        self.assertEqual(transport.value().count(b"HTTP/1.1 "), 1)

    def test_rubbishIsABadRequest(self) -> None:
        for request in (
            b"\r\n\r\n",
            b"GET /livez\r\n\r\n",
            b"GET  / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\n\n",
            b"GET / HTTP/2.0\r\n\r\n",
        ):
            self.assertEqual(self.ask(request)[0], 400, request)

    def test_endlessHeadsAreRefused(self) -> None:
        self.assertEqual(self.ask(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 2000)[0], 431)
        self.assertEqual(self.ask(b"x" * 10_000)[0], 431)

    def test_slowClientsAreCut(self) -> None:
        protocol, transport = self.connect()
        for _ in range(int(CONNECTION_SECONDS * 2) - 1):
            self.clock.advance(0.5)
            protocol.dataReceived(b"x")
        self.assertEqual(transport.ended, "")
        self.clock.advance(0.5)
        self.assertEqual(transport.ended, "aborted")

    def test_nothingIsLeftOfAConnection(self) -> None:
        protocol, _ = self.connect()
        protocol.connectionLost()
        self.assertEqual((self.server.connections, self.clock.getDelayedCalls()), (set(), []))

    def test_drainingChangesNothingHereAndDisconnectEndsAll(self) -> None:
        _, transport = self.connect()
        self.successResultOf(self.server.drain())
        self.successResultOf(self.server.reconfigure(HealthOptions()))
        self.assertEqual(self.get("/livez")[0], 200)
        self.server.disconnect()
        self.assertEqual(transport.ended, "aborted")


class FactoryTests(HealthTestCase):
    def test_buildsAPrivateServerWithoutTLS(self) -> None:
        factory = HealthServerFactory(lambda: READY, lambda: (b"text/plain", b""))
        verifyObject(IServerFactory, factory)
        self.assertEqual((factory.kind, factory.needsTLS), ("health", False))
        server = factory.build(
            HealthOptions(),
            listener=Listener(name="health", kind="health", port=8790),
            reactor=self.clock,
            portal=None,
            tls=None,
            hostKeys=tuple,
            sessionKeys=tuple,
            settings=None,
            notify=None,
            bindAddress="",
            pool=None,
        )
        verifyObject(IServer, server)
        verifyObject(IPrivateServer, server)
        self.assertFalse(server.implicitTLS)


class MetricsTests(HealthTestCase):
    def test_metricsAreToldAsTheyAre(self) -> None:
        status, headers, body = self.ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual((status, headers["content-type"], body), (200, "text/plain", b"x 1\n"))

    def test_metricsThatBreakAreNoTraceback(self) -> None:
        self.metrics = lambda: 1 / 0
        status, _, body = self.ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual((status, body), (500, b"Internal Server Error\n"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
