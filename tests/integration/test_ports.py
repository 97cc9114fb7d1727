"""Tests of listeners' ports with real sockets."""

from __future__ import annotations

import errno
import os
import resource
import socket
from typing import Any

from attrs import define, field
from twisted.internet import reactor, tcp
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase

from cftpcluster.config.document import Listener
from cftpcluster.servers.health import HealthServer
from cftpcluster.servers.listening import ListenerService

REQUEST = b"GET /livez HTTP/1.1\r\n\r\n"


@define(eq=False)
class Remembering(HealthServer):
    """A server that notes the transports of those who came."""

    transports: list[Any] = field(factory=list, init=False)
    peers: list[str] = field(factory=list, init=False)

    def buildProtocol(self, addr: Any) -> Any:
        self.peers.append(addr.host)
        built = super().buildProtocol(addr)
        made = built.makeConnection
        built.makeConnection = lambda transport: (self.transports.append(transport), made(transport))
        return built


class Asking(Protocol):
    """Sends a request and gathers the answer."""

    def __init__(self) -> None:
        self.received = b""
        self.ended: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(REQUEST)

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        self.ended.callback(self.received)


async def pause(seconds: float = 0.05) -> None:
    await deferLater(reactor, seconds)


@define(eq=False)
class Failing:
    """A listening socket in a system whose table of open files is full."""

    _real: socket.socket
    asked: int = 0

    def fileno(self) -> int:
        return self._real.fileno()

    def getsockname(self) -> Any:
        return self._real.getsockname()

    def accept(self) -> Any:
        self.asked += 1
        raise OSError(errno.ENFILE, "Too many open files in system")


class PortTests(TestCase):
    timeout = 20

    async def started(self, address: str, port: int = 0) -> tuple[ListenerService, Remembering]:
        # The reactor, once it runs, has opened what it needs.
        await pause(0)
        server = Remembering(dict, reactor, lambda: (b"text/plain", b""))
        service = ListenerService(
            listener=Listener(name="health", kind="health", port=port),
            server=server,
            reactor=reactor,
            bindAddress=address,
            tls=None,
            refuses=lambda address: "",
            isProbe=lambda address: False,
        )
        await service.start()
        self.addCleanup(service.stop)
        return service, server

    async def ask(self, endpoint: Any) -> bytes:
        asking = await connectProtocol(endpoint, Asking())
        received: bytes = await asking.ended
        return received

    async def test_servesBothFamiliesUnderTheirOwnAddresses(self) -> None:
        service, server = await self.started("")
        self.assertIsNone(service.problem)
        self.assertIn(b" 200 ", await self.ask(TCP4ClientEndpoint(reactor, "127.0.0.1", service.port)))
        if not os.path.exists("/proc/net/if_inet6"):
            raise SkipTest("this machine has no IPv6")
        self.assertIn(b" 200 ", await self.ask(TCP6ClientEndpoint(reactor, "::1", service.port)))
        self.assertEqual(server.peers, ["127.0.0.1", "::1"])

    async def test_protocolsGetTheSocketsOwnTransport(self) -> None:
        service, server = await self.started("127.0.0.3")
        await self.ask(TCP4ClientEndpoint(reactor, "127.0.0.3", service.port))
        await pause()
        (transport,) = server.transports
        self.assertIsInstance(transport, tcp.Server)
        self.assertEqual(service.connections, 0)

    async def test_samePortCanBeBoundAgainAtOnce(self) -> None:
        service, _ = await self.started("127.0.0.3")
        port = service.port
        await self.ask(TCP4ClientEndpoint(reactor, "127.0.0.3", port))
        await service.stop()
        again, _ = await self.started("127.0.0.3", port)
        self.assertEqual((again.problem, again.port), (None, port))

    async def test_takenPortIsAProblemAndNoError(self) -> None:
        service, _ = await self.started("127.0.0.3")
        second, _ = await self.started("127.0.0.3", service.port)
        self.assertEqual((second.ready, second.problem), (False, f"port {service.port} is in use"))

    async def test_addressOfAnotherMachineIsAProblem(self) -> None:
        service, _ = await self.started("192.0.2.1")
        self.assertEqual(service.problem, "address 192.0.2.1 is not of this machine")

    async def test_someDescriptorsAreKeptForFiles(self) -> None:
        service, _ = await self.started("127.0.0.3")
        clients = self.clients(30)
        # The next descriptors are those after the clients'; of the last 16 below the limit none is for connections.
        self.limit(max(client.fileno() for client in clients) + 1 + 16 + 4)
        for client in clients:
            client.connect_ex(("127.0.0.3", service.port))
        await pause(0.3)
        self.assertGreater(service.connections, 0)
        self.assertLess(service.connections, 8)
        os.close(os.open("/dev/null", os.O_RDONLY))

    async def test_runningOutOfDescriptorsRecovers(self) -> None:
        service, _ = await self.started("127.0.0.3")
        clients = self.clients(10)
        old = self.limit(max(client.fileno() for client in clients) + 1)
        # Whatever is free below the limit, too.
        fillers = []
        try:
            while True:
                fillers.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        for client in clients:
            client.connect_ex(("127.0.0.3", service.port))
        await pause(0.2)
        self.assertEqual(service.connections, 0)
        for filler in fillers:
            os.close(filler)
        resource.setrlimit(resource.RLIMIT_NOFILE, old)
        await pause(0.2)
        self.assertIn(b" 200 ", await self.ask(TCP4ClientEndpoint(reactor, "127.0.0.3", service.port)))

    async def test_failingToAcceptCostsNoTimeAndRecovers(self) -> None:
        service, _ = await self.started("127.0.0.3")
        number = service.port
        (port,) = service._bound.values()
        real = port.socket  # type: ignore[attr-defined]
        failing = port.socket = Failing(real)  # type: ignore[attr-defined]
        asked = self.ask(TCP4ClientEndpoint(reactor, "127.0.0.3", number))
        answer = Deferred.fromCoroutine(asked)
        await pause(0.5)
        self.assertGreater(failing.asked, 1)
        self.assertLess(failing.asked, 10)
        port.socket = real  # type: ignore[attr-defined]
        self.assertIn(b" 200 ", await answer)

    def clients(self, number: int) -> list[socket.socket]:
        """Sockets that have not connected."""
        clients = [socket.socket() for _ in range(number)]
        for client in clients:
            client.setblocking(False)
            self.addCleanup(client.close)
        return clients

    def limit(self, soft: int) -> tuple[int, int]:
        """Lower this process's limit of descriptors for one test."""
        old = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, old[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, old)
        return old
