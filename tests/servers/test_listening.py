"""Tests of listeners' ports, without sockets."""

from __future__ import annotations

import errno
import os
from typing import Any

from attrs import define, evolve, field
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides, implementer
from zope.interface.verify import verifyObject

from cftpcluster.config.document import Listener
from cftpcluster.errors import Invalid
from cftpcluster.interfaces import IPrivateServer, IServer
from cftpcluster.servers._port import IDoor
from cftpcluster.servers.listening import LAST_WORDS_SECONDS, ListenerService
from cftpcluster.servers.proxy import Header, HeaderReader, addressOf

LISTENER = Listener(name="sftp", kind="sftp", port=2222)
PROBE = "192.0.2.250"


@implementer(IServer)
class FakeServer(Factory):
    """Counts what it is told."""

    noisy = False
    protocol = Protocol
    implicitTLS = False

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.sessionsEnd: Deferred[None] = Deferred()

    def startFactory(self) -> None:
        self.told.append("start")

    def stopFactory(self) -> None:
        self.told.append("stop")

    def reconfigure(self, config: Any) -> Deferred[None]:
        if isinstance(config, Exception):
            return fail(config)
        self.told.append(config)
        return succeed(None)

    def drain(self) -> Deferred[None]:
        self.told.append("drain")
        return self.sessionsEnd

    def resume(self) -> None:
        self.told.append("resume")

    def disconnect(self) -> None:
        self.told.append("disconnect")


@implementer(IOpenSSLServerConnectionCreator)
class NoTLS:
    """Stands for a certificate that is never used."""

    def serverConnectionForTLS(self, tlsProtocol: Any) -> Any:
        raise NotImplementedError


@define(eq=False)
class FakeTransport:
    """A connection's transport, as far as the door and a plain protocol look at it."""

    network: Network
    door: Any
    peer: Any
    protocol: Any = None
    aborted: bool = False
    disconnecting: bool = False
    bufferSize: int = 65536

    def getPeer(self) -> Any:
        return self.peer

    getHost = getPeer

    def isFrom(self, header: Header) -> None:
        if header.source is not None:
            self.peer = addressOf(header.source)

    def abortConnection(self) -> None:
        self.aborted = True
        self.end()

    def end(self) -> None:
        self.door.went(self)
        if isinstance(self.protocol, HeaderReader):
            self.protocol.connectionLost()


@implementer(IListeningPort)
@define(eq=False)
class FakePort:
    network: Network
    door: Any
    address: str
    number: int

    def startListening(self) -> None:
        """It does already."""

    def stopListening(self) -> Deferred[None]:
        del self.network.ports[self.address]
        self.door.doStop()
        return succeed(None)

    def getHost(self) -> Any:
        return IPv4Address("TCP", self.address, self.number)

    def accept(self, host: str) -> FakeTransport | None:
        """What the reactor does when ``host`` connects; ``None`` when it was turned away."""
        kind = IPv6Address if ":" in host else IPv4Address
        peer = kind("TCP", host, 40000)
        protocol = self.door.buildProtocol(peer)
        if protocol is None:
            return None
        transport = FakeTransport(self.network, self.door, peer, protocol)
        self.door.came(transport)
        protocol.makeConnection(transport)
        return transport


@define(eq=False)
class Network:
    """Where ports are bound.

    :ivar errors: the error that binding an address fails with.
    """

    ports: dict[str, FakePort] = field(factory=dict)
    errors: dict[str, int] = field(factory=dict)

    def listen(self, reactor: Any, port: int, door: IDoor, address: str) -> IListeningPort:
        number = self.errors.get(address)
        if number is not None:
            raise CannotListenError(address, port, OSError(number, os.strerror(number)))
        door.doStart()
        made = self.ports[address] = FakePort(self, door, address, port or 40001)
        return made  # type: ignore[return-value]


class ListeningTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network()
        self.banned: dict[str, str] = {}
        self.server = FakeServer()

    def service(self, listener: Listener = LISTENER, bindAddress: str = "127.0.0.2", **options: Any) -> ListenerService:
        return ListenerService(
            listener=listener,
            server=self.server,
            reactor=self.clock,
            bindAddress=bindAddress,
            tls=options.pop("tls", None),
            refuses=lambda address: self.banned.get(address, ""),
            isProbe=lambda address: address == PROBE,
            listen=self.network.listen,
            **options,
        )

    def started(self, *arguments: Any, **options: Any) -> ListenerService:
        service = self.service(*arguments, **options)
        self.successResultOf(service.start())
        return service

    def accept(self, host: str) -> FakeTransport | None:
        return next(iter(self.network.ports.values())).accept(host)


class BindingTests(ListeningTestCase):
    def test_bindsItsAddressAndPort(self) -> None:
        service = self.started()
        verifyObject(IServer, self.server)
        self.assertEqual({address: port.number for address, port in self.network.ports.items()}, {"127.0.0.2": 2222})
        self.assertEqual((service.name, service.ready, service.problem, service.port), ("sftp", True, None, 2222))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_withoutAnAddressItBindsAllOfBothFamilies(self) -> None:
        service = self.started(bindAddress="")
        self.assertEqual(sorted(self.network.ports), ["0.0.0.0", "::"])
        self.assertIsNone(service.problem)
        self.assertEqual(self.server.told, ["start"])

    def test_bothFamiliesGetTheSamePort(self) -> None:
        self.started(evolve(LISTENER, port=0), bindAddress="")
        self.assertEqual({port.number for port in self.network.ports.values()}, {40001})

    def test_machineWithoutIPv6IsNoProblem(self) -> None:
        for number in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            self.network = Network(errors={"::": number})
            service = self.started(bindAddress="")
            self.assertEqual((list(self.network.ports), service.problem), (["0.0.0.0"], None))

    def test_problemsAreSaidInPlainWords(self) -> None:
        for number, text in (
            (errno.EADDRINUSE, "port 2222 is in use"),
            (errno.EACCES, "port 2222 needs privileges"),
            (errno.EADDRNOTAVAIL, "address 127.0.0.2 is not of this machine"),
            (errno.ENOBUFS, "cannot listen on port 2222: No buffer space available"),
        ):
            self.network.errors = {"127.0.0.2": number}
            service = self.started()
            self.assertEqual((service.ready, service.problem, service.port), (False, text, 2222))
            self.successResultOf(service.stopListening())

    def test_takenPortIsTriedAgainEveryFiveSeconds(self) -> None:
        self.network.errors = {"127.0.0.2": errno.EADDRINUSE}
        service = self.started()
        self.clock.pump([4.9, 0.1, 4.9])
        self.assertFalse(service.ready)
        self.network.errors = {}
        self.clock.advance(0.2)
        self.assertEqual((service.ready, service.problem), (True, None))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_oneFamilyServesWhileTheOtherIsTaken(self) -> None:
        self.network.errors = {"::": errno.EADDRINUSE}
        service = self.started(bindAddress="")
        self.assertEqual((service.ready, service.problem), (True, "port 2222 is in use"))
        self.network.errors = {}
        self.clock.advance(5)
        self.assertEqual((sorted(self.network.ports), service.problem), (["0.0.0.0", "::"], None))

    def test_stopEndsTheTrying(self) -> None:
        self.network.errors = {"127.0.0.2": errno.EADDRINUSE}
        service = self.started()
        self.successResultOf(service.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])


class DoorTests(ListeningTestCase):
    def test_withoutListsAnybodyComesIn(self) -> None:
        service = self.started()
        for host in ("203.0.113.9", "2001:db8::1"):
            self.assertIsNotNone(self.accept(host))
        self.assertEqual(service.connections, 2)

    def test_othersThanTheAllowedAreTurnedAwayBeforeAnyByte(self) -> None:
        service = self.started(evolve(LISTENER, allow=("192.0.2.0/24",), deny=("192.0.2.66",)))
        self.assertIsNotNone(self.accept("192.0.2.1"))
        for host in ("192.0.2.66", "198.51.100.1", "::1"):
            self.assertIsNone(self.accept(host))
        self.assertEqual(service.connections, 1)

    def test_privateServersAnswerPrivateNetworksOnly(self) -> None:
        directlyProvides(self.server, IPrivateServer)
        self.started()
        self.assertIsNone(self.accept("203.0.113.9"))
        for host in ("127.0.0.1", "10.0.0.1", "::1"):
            self.assertIsNotNone(self.accept(host))

    def test_privateServersAnswerWhomTheListenerAllows(self) -> None:
        directlyProvides(self.server, IPrivateServer)
        self.started(evolve(LISTENER, allow=("203.0.113.0/24",)))
        self.assertIsNotNone(self.accept("203.0.113.9"))
        self.assertIsNone(self.accept("127.0.0.1"))

    def test_deniedStayOutOfPrivateServers(self) -> None:
        directlyProvides(self.server, IPrivateServer)
        self.started(evolve(LISTENER, deny=("10.0.0.0/8",)))
        self.assertIsNone(self.accept("10.0.0.1"))
        self.assertIsNotNone(self.accept("127.0.0.1"))

    def test_networksThatAreNoneAreToldTogether(self) -> None:
        listener = evolve(LISTENER, allow=("x",), deny=("192.0.2.1/24",))
        error = self.assertRaises(Invalid, self.service, listener)
        self.assertEqual([problem.path for problem in error.problems], ["allow", "deny"])

    def test_noMoreConnectionsThanTheBound(self) -> None:
        self.started(mostConnections=3)
        inside = [self.accept(f"192.0.2.{n}") for n in range(3)]
        self.assertIsNone(self.accept("192.0.2.9"))
        assert inside[0] is not None
        inside[0].end()
        self.assertIsNotNone(self.accept("192.0.2.9"))

    def test_oneSourceKeepsNobodyOut(self) -> None:
        service = self.started(mostOfASource=2)
        first, second = self.accept("2001:db8::1"), self.accept("2001:db8::2")
        assert first is not None and second is not None
        self.assertIsNone(self.accept("2001:db8::3"))
        self.assertIsNotNone(self.accept("2001:db8:0:1::1"))
        first.end()
        first.end()
        self.assertIsNotNone(self.accept("2001:db8::3"))
        self.assertIsNone(self.accept("2001:db8::4"))
        self.assertEqual(service.connections, 3)

    def test_nothingIsRememberedOfThoseWhoWent(self) -> None:
        service = self.started()
        for n in range(50):
            transport = self.accept(f"192.0.2.{n}")
            assert transport is not None
            transport.end()
        self.assertEqual((service.connections, len(service._door._sources)), (0, 0))

    def test_connectionThatTheServerRefusesIsNotCounted(self) -> None:
        service = self.started()
        self.server.buildProtocol = lambda addr: None  # type: ignore[method-assign]
        self.assertIsNone(self.accept("192.0.2.1"))
        self.assertEqual(service.connections, 0)


PROXY = "192.0.2.9"
CLIENT = b"PROXY TCP4 203.0.113.7 192.0.2.1 50123 2222\r\n"


def behindProxies(mode: Any = "optional", **attributes: Any) -> Listener:
    return evolve(LISTENER, proxyProtocol=mode, trustedProxies=("192.0.2.8/31",), **attributes)


class ProxyTests(ListeningTestCase):
    """Connections through balancers. What a header may look like is tested with its parser."""

    def send(self, transport: FakeTransport | None, data: bytes) -> None:
        assert transport is not None
        transport.protocol.dataReceived(data)

    def through(self, header: bytes = CLIENT, host: str = PROXY) -> FakeTransport:
        """Come in by the proxy."""
        transport = self.accept(host)
        self.send(transport, header)
        assert transport is not None
        return transport

    def logged(self) -> list[str]:
        """What is in the log at a level that is seen."""
        events = [each for each in self.logs if each["log_level"] > LogLevel.debug]
        return [formatEvent(each) for each in events]

    def setUp(self) -> None:
        super().setUp()
        self.logs: list[LogEvent] = []
        globalLogPublisher.addObserver(self.logs.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.logs.append)

    def test_theClientIsWhomTheHeaderNames(self) -> None:
        service = self.started(behindProxies())
        transport = self.through()
        self.assertIs(transport.protocol.factory, self.server)
        self.assertEqual(transport.getPeer(), IPv4Address("TCP", "203.0.113.7", 50123))
        self.assertEqual((service.connections, dict(service._door._sources)), (1, {"203.0.113.7": 1}))
        transport.end()
        self.assertEqual((service.connections, dict(service._door._sources)), (0, {}))

    def test_nobodyIsServedBeforeTheHeader(self) -> None:
        self.started(behindProxies())
        transport = self.accept(PROXY)
        self.send(transport, CLIENT[:-1])
        assert transport is not None
        self.assertIsInstance(transport.protocol, HeaderReader)

    def test_headerOfSomebodyElseIsTheProtocols(self) -> None:
        for listener in (behindProxies(), behindProxies("off")):
            self.started(listener)
            transport = self.accept("198.51.100.1")
            assert transport is not None
            self.assertIs(transport.protocol.factory, self.server)
            self.assertEqual(transport.getPeer().host, "198.51.100.1")

    def test_whereHeadersAreRequiredOthersAreTurnedAway(self) -> None:
        self.started(behindProxies("required"))
        for _ in range(3):
            self.assertIsNone(self.accept("198.51.100.1"))
            self.assertIsNone(self.accept(PROBE))
        self.assertFalse(self.through().aborted)
        expected = "listener sftp: refused a connection from '198.51.100.1': it is none of the trusted proxies"
        self.assertEqual(self.logged()[1:], [expected])

    def test_missingHeaderIsToldOnce(self) -> None:
        self.started(behindProxies())
        for _ in range(3):
            self.assertTrue(self.through(b"SSH-2.0-client\r\n").aborted)
        expected = "listener sftp: refused a connection from '192.0.2.9': it does not start with a PROXY header"
        self.assertEqual(self.logged()[1:], [expected])

    def test_whoEndsWithoutAWordIsNotToldOf(self) -> None:
        service = self.started(behindProxies())
        transport = self.accept(PROXY)
        assert transport is not None
        transport.end()
        self.assertEqual((self.logged()[1:], service.connections, self.clock.getDelayedCalls()), ([], 0, []))

    def test_silentProxyIsLetGo(self) -> None:
        service = self.started(behindProxies())
        self.assertIsNotNone(self.accept(PROXY))
        self.clock.advance(5)
        self.assertEqual(service.connections, 0)

    def test_rulesAreForTheClient(self) -> None:
        self.banned = {"203.0.113.66": "banned", PROXY: "banned"}
        self.started(behindProxies(deny=("203.0.113.0/28",), allow=("203.0.113.0/24",)))
        self.assertFalse(self.through(CLIENT.replace(b".7 ", b".77 ")).aborted)
        for client in (b"203.0.113.66", b"203.0.113.1", b"198.51.100.1"):
            self.assertTrue(self.through(CLIENT.replace(b"203.0.113.7", client)).aborted)
        self.assertEqual(self.logged()[1:], [])

    def test_rulesAreForTheProxyWhereItSaysNothing(self) -> None:
        self.started(behindProxies(allow=("203.0.113.0/24",)))
        self.assertTrue(self.through(b"PROXY UNKNOWN\r\n").aborted)
        self.network = Network()
        self.started(behindProxies())
        transport = self.through(b"PROXY UNKNOWN\r\n")
        self.assertEqual((transport.aborted, transport.getPeer().host), (False, PROXY))

    def test_boundsAreForTheClient(self) -> None:
        self.started(behindProxies(), mostOfASource=2)
        inside = [self.through(), self.through()]
        self.assertTrue(self.through().aborted)
        self.assertFalse(self.through(CLIENT.replace(b".7 ", b".8 ")).aborted)
        inside[0].end()
        self.assertFalse(self.through().aborted)

    def test_headersThatDoNotComeAreBoundedByProxy(self) -> None:
        self.started(behindProxies(), mostOfASource=2)
        waiting = [self.accept(PROXY), self.accept(PROXY)]
        self.assertIsNone(self.accept(PROXY))
        self.send(waiting[0], CLIENT)
        self.assertIsNotNone(self.accept(PROXY))

    def test_headersComeBeforeTLS(self) -> None:
        self.server.implicitTLS = True
        self.started(behindProxies(), tls=NoTLS())
        transport = self.accept(PROXY)
        assert transport is not None
        self.assertIsInstance(transport.protocol, HeaderReader)

    def test_beliefChangesOnTheSameSocket(self) -> None:
        service = self.started()
        self.successResultOf(service.reconfigure(behindProxies("required"), "options"))
        self.assertIsNone(self.accept("198.51.100.1"))
        self.assertFalse(self.through().aborted)
        self.assertEqual(self.server.told, ["start", "options"])

    def test_bannedStayOutWithoutProxies(self) -> None:
        self.banned = {"192.0.2.1": "banned"}
        service = self.started()
        self.assertIsNone(self.accept("192.0.2.1"))
        self.assertIsNotNone(self.accept("192.0.2.2"))
        self.assertEqual(service.connections, 1)


class TLSTests(ListeningTestCase):
    def test_implicitTLSComesBeforeTheServer(self) -> None:
        self.server.implicitTLS = True
        self.started(tls=NoTLS())
        protocol = next(iter(self.network.ports.values())).door.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        self.assertIsInstance(protocol, TLSMemoryBIOProtocol)

    def test_otherServersGetThePlainConnection(self) -> None:
        self.started(tls=NoTLS())
        transport = self.accept("192.0.2.1")
        assert transport is not None
        self.assertIs(transport.protocol.transport, transport)
        self.assertIs(transport.protocol.factory, self.server)


class ChangeTests(ListeningTestCase):
    def test_listsChangeWithoutTouchingTheSocket(self) -> None:
        service = self.started()
        transport = self.accept("192.0.2.1")
        listener = evolve(LISTENER, deny=("192.0.2.1",))
        self.successResultOf(service.reconfigure(listener, "options"))
        assert transport is not None
        self.assertFalse(transport.aborted)
        self.assertIsNone(self.accept("192.0.2.1"))
        self.assertIs(service.listener, listener)
        self.assertEqual(self.server.told, ["start", "options"])

    def test_refusedChangeChangesNothing(self) -> None:
        service = self.started()
        for listener, config in (
            (evolve(LISTENER, deny=("192.0.2.1",)), Invalid([])),
            (evolve(LISTENER, allow=("nonsense",)), "options"),
        ):
            self.failureResultOf(service.reconfigure(listener, config), Invalid)
        self.assertIs(service.listener, LISTENER)
        self.assertIsNotNone(self.accept("192.0.2.1"))
        self.assertEqual(self.server.told, ["start"])

    def test_drainLeavesThePortToTheServersRefusals(self) -> None:
        service = self.started()
        drained = service.drain()
        self.assertNoResult(drained)
        self.assertIsNotNone(self.accept("192.0.2.1"))
        self.server.sessionsEnd.callback(None)
        self.successResultOf(drained)
        self.assertTrue(service.ready)

    def test_stopListeningLeavesConnections(self) -> None:
        service = self.started()
        transport = self.accept("192.0.2.1")
        for _ in range(2):
            self.successResultOf(service.stopListening())
        assert transport is not None
        self.assertEqual((self.network.ports, service.ready, transport.aborted), ({}, False, False))
        self.assertEqual(self.server.told, ["start", "stop"])

    def test_stopGivesTheServerTimeForItsLastWords(self) -> None:
        service = self.started()
        first, second = self.accept("192.0.2.1"), self.accept("192.0.2.2")
        assert first is not None and second is not None
        stopped = service.stop()
        self.assertIn("disconnect", self.server.told)
        first.end()
        self.clock.advance(LAST_WORDS_SECONDS - 0.1)
        self.assertEqual((second.aborted, self.network.ports), (False, {}))
        self.assertNoResult(stopped)
        self.clock.advance(0.2)
        self.assertTrue(second.aborted)
        self.successResultOf(stopped)

    def test_stopWithoutConnectionsIsAtOnce(self) -> None:
        service = self.started()
        self.successResultOf(service.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
