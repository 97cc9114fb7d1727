"""Tests of :mod:`cftpcluster.servers.ftp.channel` and of the commands that use it (:mod:`.parameters`)."""

from __future__ import annotations

import errno
import re
from typing import Any

from attrs import evolve
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError, ConnectError, ConnectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from cftpcluster.networks import Networks
from cftpcluster.servers.ftp import FTPOptions, PassiveAddress
from cftpcluster.servers.proxy import IProxiedTransport, ProxyPolicy

from .support import CLIENT, SERVER, Conversation, Transport, codesOf

STRANGER = "192.0.2.8"


class BusyReactor(MemoryReactorClock):
    """A reactor some of whose ports are taken."""

    free: set[int]
    error = errno.EADDRINUSE

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        if port not in self.free:
            raise CannotListenError(interface, port, OSError(self.error, "busy"))
        return super().listenTCP(port, factory, backlog, interface)


class PassiveTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Conversation()
        self.client.login()
        self.client.put("/x", b"contents")

    def listening(self) -> list[tuple[int, str]]:
        return [(port, interface) for port, _, _, interface in self.client.reactor.tcpServers]

    def test_theAnswerIsThePortAndItsAddress(self) -> None:
        answer = self.client.say("PASV")
        match = re.fullmatch(r"227 Entering Passive Mode \(198,51,100,1,(\d+),(\d+)\)\.\r\n", answer)
        assert match is not None, answer
        port = int(match[1]) << 8 | int(match[2])
        self.assertEqual(self.listening(), [(port, SERVER)])
        self.assertIn(port, range(50000, 51000))

    def test_theExtendedAnswerIsThePort(self) -> None:
        answer = self.client.say("EPSV")
        self.assertEqual(answer, f"229 Entering Extended Passive Mode (|||{self.listening()[0][0]}|)\r\n")

    def test_portsAreNotForeseen(self) -> None:
        for _ in range(20):
            self.client.say("EPSV")
        steps = {
            second - first for (first, _), (second, _) in zip(self.listening(), self.listening()[1:], strict=False)
        }
        self.assertGreater(len(steps), 10)

    def test_onlyTheOwnFamilyIsServed(self) -> None:
        self.assertEqual(self.client.codes("EPSV 1", "EPSV 2", "EPSV x", "EPSV 1 2"), [229, 522, 501, 501])

    def test_afterEPSVAllNothingElseIsTaken(self) -> None:
        self.assertEqual(self.client.codes("EPSV ALL", "PASV", "PORT 1,2", "EPRT x", "EPSV"), [200, 503, 503, 503, 229])

    def test_theNextAnswerClosesTheLastPort(self) -> None:
        self.client.say("EPSV")
        factory = self.client.reactor.tcpServers[0][1]
        self.client.say("EPSV")
        self.assertIsNone(factory.buildProtocol(IPv4Address("TCP", CLIENT, 1)))
        self.assertIsNotNone(self.client.openData())

    def test_aStrangerIsNotLetInAndTheClientStillIs(self) -> None:
        self.client.say("EPSV", "RETR x")
        self.assertIsNone(self.client.openData(STRANGER))
        data = self.client.openData()
        assert data is not None
        self.client.turn()
        self.assertEqual(data.taken(), b"contents")
        self.assertEqual(codesOf(self.client.heard()), [226])

    def test_onlyOneConnectionIsTaken(self) -> None:
        self.client.say("EPSV")
        self.assertIsNotNone(self.client.openData())
        self.assertIsNone(self.client.openData())

    def test_anAddressInTheClothingOfAnotherFamilyIsTheClient(self) -> None:
        self.client.say("EPSV")
        self.assertIsNotNone(self.client.openData("::ffff:" + CLIENT))

    def test_anUnusedPortIsClosed(self) -> None:
        self.client.say("EPSV")
        self.client.turn(30)
        self.assertIsNone(self.client.openData())
        self.assertEqual(self.client.codes("RETR x"), [425])

    def test_aConnectionThatIsNotMadeIsNotWaitedForForEver(self) -> None:
        self.assertEqual(self.client.codes("EPSV", "RETR x"), [229, 150])
        self.client.turn(15)
        self.assertEqual(self.client.codes("NOOP"), [200])
        self.client.turn(15)
        self.assertEqual(codesOf(self.client.heard()), [425])
        self.assertEqual(self.client.codes("NOOP"), [200])

    def test_aPortServesOneTransfer(self) -> None:
        data = self.client.data()
        self.client.say("RETR x")
        self.client.turn()
        self.assertTrue(data.gone)
        self.client.heard()
        self.assertEqual(self.client.codes("RETR x"), [425])

    def test_withoutAFreePortThereIsNoConnection(self) -> None:
        reactor = BusyReactor()
        reactor.free = set()
        client = Conversation(reactor=reactor)
        client.login()
        self.assertEqual(client.codes("PASV", "EPSV", "NOOP"), [425, 425, 200])

    def test_aFreePortIsFound(self) -> None:
        reactor = BusyReactor()
        reactor.free = {50007}
        client = Conversation(FTPOptions(tls="off", passivePorts="50000-50099"), reactor=reactor)
        client.login()
        self.assertIn("|50007|", client.say("EPSV"))

    def test_anAddressThatIsNotOfThisMachineIsNotBound(self) -> None:
        """Behind a proxy the control connection's own address may be the proxy's."""
        reactor = MemoryReactorClock()
        bound: list[str] = []
        listen = reactor.listenTCP

        def listenTCP(port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
            bound.append(interface)
            if interface == SERVER:
                raise CannotListenError(interface, port, OSError(errno.EADDRNOTAVAIL, "not here"))
            return listen(port, factory, backlog, interface)

        reactor.listenTCP = listenTCP  # type: ignore[method-assign]
        client = Conversation(reactor=reactor)
        client.login()
        self.assertEqual(client.codes("EPSV"), [229])
        self.assertEqual(bound, [SERVER, ""])

    def test_theAddressIsSaidAsTheOptionsSay(self) -> None:
        rules = (PassiveAddress(network="192.0.2.0/24", address="203.0.113.9"),)
        client = Conversation(FTPOptions(tls="off", passiveAddress=rules))
        client.login()
        self.assertIn("(203,0,113,9,", client.say("PASV"))
        client.connect("10.0.0.1")
        client.login()
        self.assertIn("(198,51,100,1,", client.say("PASV"))

    def test_manyUnusedPortsAreOneForEachSession(self) -> None:
        for _ in range(300):
            self.assertEqual(self.client.codes("EPSV"), [229])
        admitted = [
            factory.buildProtocol(IPv4Address("TCP", CLIENT, 1))
            for _, factory, _, _ in self.client.reactor.tcpServers[:-1]
        ]
        self.assertEqual(set(admitted), {None})
        self.assertEqual(len(self.client.reactor.getDelayedCalls()), 2)


class SixthVersionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Conversation()

    def connect(self, client: str, server: str) -> None:
        self.client.connect(client, server)
        self.client.login()

    def test_passive(self) -> None:
        self.connect("2001:db8::7", "2001:db8::1")
        self.assertEqual(self.client.codes("PASV", "EPSV 1", "EPSV 2"), [502, 522, 229])
        self.assertEqual(self.client.reactor.tcpServers[-1][3], "2001:db8::1")
        self.assertIsNone(self.client.openData("2001:db8::8"))
        self.assertIsNotNone(self.client.openData("2001:db8:0::7"))

    def test_active(self) -> None:
        self.connect("2001:db8::7", "2001:db8::1")
        self.client.put("/x", b"contents")
        self.assertEqual(self.client.codes("PORT 192,0,2,7,15,160"), [504])
        self.assertEqual(self.client.codes("EPRT |1|192.0.2.7|4000|", "EPRT |2|2001:db8::8|4000|"), [522, 504])
        self.assertEqual(self.client.codes("EPRT |2|2001:db8:0:0::7|4000|", "RETR x"), [200, 150])
        host, port, _, _, bindAddress = self.client.reactor.tcpClients[-1]
        self.assertEqual((host, port, bindAddress), ("2001:db8::7", 4000, ("2001:db8::1", 0)))
        self.client.turn(30)
        self.assertEqual(codesOf(self.client.heard()), [425])

    def test_theFourthInItsClothingIsTheFourth(self) -> None:
        self.connect("::ffff:192.0.2.7", "::ffff:198.51.100.1")
        self.assertIn("(198,51,100,1,", self.client.say("PASV"))
        self.assertEqual(self.client.reactor.tcpServers[-1][3], SERVER)
        self.assertIsNotNone(self.client.openData())
        self.assertEqual(self.client.session.client, CLIENT)


class EarlyConnectionTests(SynchronousTestCase):
    """A client may connect, send and even hang up before its command is read."""

    def setUp(self) -> None:
        self.client = Conversation()
        self.client.login()

    def test_whatComesEarlyIsKeptAndNoMoreIsRead(self) -> None:
        data = self.client.data()
        data.protocol.dataReceived(b"early ")
        self.assertEqual(data.producerState, "paused")
        self.client.say("STOR x")
        self.assertEqual(data.producerState, "producing")
        data.protocol.dataReceived(b"and late")
        data.end(ConnectionDone())
        self.client.turn()
        self.assertEqual(self.client.get("/x"), b"early and late")

    def test_anEmptyUploadMayHaveEndedAlready(self) -> None:
        data = self.client.data()
        data.protocol.readConnectionLost()
        self.assertEqual(self.client.codes("STOR x"), [150])
        self.client.turn()
        self.assertEqual(codesOf(self.client.heard()), [226])
        self.assertEqual(self.client.get("/x"), b"")

    def test_aDownloadToNobodyFails(self) -> None:
        self.client.put("/x", b"")
        data = self.client.data()
        data.end(ConnectionDone())
        self.assertEqual(self.client.codes("RETR x"), [150, 426])


PROXY, MACHINE = "10.0.0.9", "10.0.0.1"
HEADER = f"PROXY TCP4 {CLIENT} {SERVER} 50000 21\r\n".encode()


@implementer(IProxiedTransport)
class ProxiedTransport(Transport):
    """A control connection that came through a proxy: the client sees ``SERVER``, which this machine does not have."""

    proxyPolicy = ProxyPolicy("optional", Networks.parse([PROXY]))

    def getSocketHost(self) -> IPv4Address:
        return IPv4Address("TCP", MACHINE, 21)


class ProxiedTests(SynchronousTestCase):
    """Data connections of a session whose control connection came through a proxy."""

    def setUp(self) -> None:
        self.client = Conversation()
        protocol = self.client.server.buildProtocol(IPv4Address("TCP", CLIENT, 40000))
        self.client.control = ProxiedTransport(protocol, self.client.reactor)
        self.client.login()
        self.client.put("/x", b"contents")

    def accept(self, host: str) -> Transport | None:
        factory = self.client.reactor.tcpServers[-1][1]
        protocol = factory.buildProtocol(IPv4Address("TCP", host, 50000))
        return protocol and Transport(protocol, self.client.reactor, host, MACHINE)

    def through(self, header: bytes) -> Transport:
        """A data connection through the proxy."""
        transport = self.accept(PROXY)
        assert transport is not None
        for at in range(len(header)):
            transport.protocol.dataReceived(header[at : at + 1])
        return transport

    def test_theClientIsToldWhereItConnectedToAndThisMachineListensOnItsOwnAddress(self) -> None:
        self.assertIn("(198,51,100,1,", self.client.say("PASV"))
        self.assertEqual(self.client.reactor.tcpServers[-1][3], MACHINE)

    def test_dataComesWithAHeaderOfTheSameClient(self) -> None:
        self.client.say("EPSV", "RETR x")
        data = self.through(HEADER)
        self.client.turn()
        self.assertEqual(data.taken(), b"contents")

    def test_nobodyElseTakesTheClientsPlace(self) -> None:
        self.client.say("EPSV", "RETR x")
        for header in (HEADER.replace(b"192.0.2.7", b"192.0.2.8"), b"PROXY UNKNOWN\r\n", b"\x16\x03"):
            self.assertTrue(self.through(header).disconnecting)
        self.assertIsNone(self.accept(STRANGER))
        data = self.through(HEADER)
        self.client.turn()
        self.assertEqual(data.taken(), b"contents")

    def test_theClientMayComeDirectly(self) -> None:
        self.client.say("EPSV", "RETR x")
        data = self.accept(CLIENT)
        assert data is not None
        self.client.turn()
        self.assertEqual(data.taken(), b"contents")

    def test_headersThatAreLateAreNotWaitedFor(self) -> None:
        self.client.say("EPSV", "RETR x")
        waiting = self.through(HEADER[:-1])
        self.through(HEADER)
        self.assertTrue(waiting.disconnecting)

    def test_whereOnlyProxiesMayComeNobodyComesDirectly(self) -> None:
        control: Any = self.client.control
        control.proxyPolicy = evolve(control.proxyPolicy, mode="required")
        self.client.say("EPSV", "RETR x")
        self.assertIsNone(self.accept(CLIENT))
        data = self.through(HEADER)
        self.client.turn()
        self.assertEqual(data.taken(), b"contents")

    def test_theClientIsDialledDirectly(self) -> None:
        self.assertEqual(self.client.codes("PORT 192,0,2,7,15,160", "RETR x"), [200, 150])
        host, port, factory, _, bindAddress = self.client.reactor.tcpClients[-1]
        self.assertEqual((host, port, bindAddress), (CLIENT, 4000, (MACHINE, 0)))
        data = Transport(factory.buildProtocol(IPv4Address("TCP", host, port)), self.client.reactor)
        self.client.turn()
        self.assertEqual(data.taken(), b"contents")


class ActiveTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Conversation()
        self.client.login()
        self.client.put("/x", b"contents")

    def connect(self) -> Transport:
        host, port, factory, timeout, bindAddress = self.client.reactor.tcpClients[-1]
        self.assertEqual((host, port, timeout, bindAddress), (CLIENT, 4000, 30, (SERVER, 0)))
        return Transport(factory.buildProtocol(IPv4Address("TCP", host, port)), self.client.reactor)

    def test_theClientIsDialledWhenTheTransferStarts(self) -> None:
        for command in ("PORT 192,0,2,7,15,160", "EPRT |1|192.0.2.7|4000|", "EPRT !1!192.0.2.7!4000!"):
            before = len(self.client.reactor.tcpClients)
            self.assertEqual(self.client.codes(command), [200], command)
            self.assertEqual(len(self.client.reactor.tcpClients), before)
            self.assertEqual(self.client.codes("RETR x"), [150])
            data = self.connect()
            self.client.turn()
            self.assertEqual(data.taken(), b"contents")
            self.assertEqual(codesOf(self.client.heard()), [226])

    def test_aClientThatDoesNotAnswerIsTold(self) -> None:
        self.assertEqual(self.client.codes("PORT 192,0,2,7,15,160", "RETR x"), [200, 150])
        factory = self.client.reactor.tcpClients[-1][2]
        factory.clientConnectionFailed(None, Failure(ConnectError()))
        self.assertEqual(codesOf(self.client.heard()), [425])

    def test_othersAreNeverDialled(self) -> None:
        """RFC 2577: no bounce attacks, no scanning of ports."""
        for command, code in {
            "PORT 192,0,2,8,15,160": 504,
            "PORT 127,0,0,1,15,160": 504,
            "PORT 0,0,0,0,15,160": 504,
            "PORT 192,0,2,7,3,255": 504,
            "PORT 192,0,2,7,0,21": 504,
            "PORT 192,0,2,7,0,0": 504,
            "EPRT |1|192.0.2.8|4000|": 504,
            "EPRT |1|192.0.2.7|1023|": 504,
            "EPRT |1|192.0.2.7|65536|": 504,
            "EPRT |1|localhost|4000|": 501,
            "EPRT |2|::1|4000|": 522,
            "EPRT |3|192.0.2.7|4000|": 522,
            "EPRT |x|192.0.2.7|4000|": 501,
            "EPRT |1|192.0.2.7|4000": 501,
            "EPRT |1|192.0.2.7||": 501,
            "EPRT |1|192.0.2.7|4000|5|": 501,
            "PORT 1,2": 501,
            "PORT 192,0,2,7,15": 501,
            "PORT 192,0,2,256,15,160": 501,
            "PORT 192,0,2,7,-1,160": 501,
            "PORT 192.0.2.7.15.160": 501,
            "PORT \u0661,0,2,7,15,160": 501,
        }.items():
            self.assertEqual(self.client.codes(command, "RETR x"), [code, 425], command)
        self.assertEqual(self.client.reactor.tcpClients, [])

    def test_aTransferThatIsEndedDialsNoMore(self) -> None:
        self.client.codes("PORT 192,0,2,7,15,160", "RETR x")
        self.assertEqual(self.client.codes("ABOR"), [426, 226])
        self.assertTrue(self.client.reactor.connectors[-1].stoppedConnecting)


class ParameterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Conversation()
        self.client.login()

    def test_types(self) -> None:
        answers = self.client.codes(
            "TYPE A", "TYPE a n", "TYPE I", "TYPE L8", "TYPE L 7", "TYPE E", "TYPE A T", "TYPE X"
        )
        self.assertEqual(answers, [200, 200, 200, 200, 504, 504, 504, 504])

    def test_modesAndStructures(self) -> None:
        answers = self.client.codes("MODE S", "MODE B", "MODE Z", "STRU F", "STRU R", "STRU P")
        self.assertEqual(answers, [200, 504, 504, 200, 504, 504])

    def test_restart(self) -> None:
        self.assertEqual(
            self.client.codes("REST 5", "REST 0", "REST -1", "REST x", f"REST {2**63}"), [350, 350, 501, 501, 501]
        )
        self.assertEqual(self.client.codes("TYPE A", "REST 5", "REST 0"), [200, 504, 350])

    def test_allocation(self) -> None:
        self.assertEqual(self.client.codes("ALLO 5", "ALLO 5 R 6", "ALLO x"), [202, 202, 501])
