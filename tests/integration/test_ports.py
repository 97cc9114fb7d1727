"""Tests of listeners' ports with real sockets."""

from __future__ import annotations

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


class PortTests(TestCase):
    timeout = 20

    async def started(self, address: str, port: int = 0) -> tuple[ListenerService, Remembering]:
        # The reactor, once it runs, has opened what it needs.
        await pause(0)
        server = Remembering(dict, reactor)
        service = ListenerService(
            listener=Listener(name="health", kind="health", port=port),
            server=server,
            reactor=reactor,
            bindAddress=address,
            tls=None,
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

    async def test_runningOutOfDescriptorsCostsNoTimeAndRecovers(self) -> None:
        service, _ = await self.started("127.0.0.3")
        clients = self.clients(10)
        (port,) = service._bound.values()
        old = self.limit(max(client.fileno() for client in clients) + 1)
        # Whatever is free below the limit, too.
        fillers = []
        try:
            while True:
                fillers.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        reads = []
        doRead = port.doRead  # type: ignore[attr-defined]

        def counted() -> None:
            reads.append(1)
            doRead()

        port.doRead = counted  # type: ignore[attr-defined]
        for client in clients:
            client.connect_ex(("127.0.0.3", service.port))
        await pause(0.5)
        self.assertEqual(service.connections, 0)
        self.assertLess(len(reads), 20)
        for filler in fillers:
            os.close(filler)
        resource.setrlimit(resource.RLIMIT_NOFILE, old)
        await pause(0.2)
        self.assertIn(b" 200 ", await self.ask(TCP4ClientEndpoint(reactor, "127.0.0.3", service.port)))

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
