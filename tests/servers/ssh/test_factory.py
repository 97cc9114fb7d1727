"""Tests of a listener's server: its options, how it drains, whom it drops."""

from __future__ import annotations

from typing import Any

from twisted.conch.interfaces import IConchUser
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from cftpcluster.config.document import Listener, Settings
from cftpcluster.interfaces import IServer, IServerFactory, IValidator
from cftpcluster.servers.ssh import SFTPOptions, sftpServerFactory, sshAvatar
from cftpcluster.servers.ssh.factory import HURRY_SECONDS, IDLE_SECONDS, LEAVING, LOGIN_SECONDS
from cftpcluster.servers.ssh.wire import boolean, string, uint32

from .peers import ED25519, RSA, Site, Wire, pemOf
from .test_transport import RawClient, kexInit
from .test_userauth import LogIn


class FactoryTests(SynchronousTestCase):
    def test_isAPlugin(self) -> None:
        verifyObject(IServerFactory, sftpServerFactory)
        verifyObject(IPlugin, sftpServerFactory)
        self.assertEqual((sftpServerFactory.kind, sftpServerFactory.needsTLS), ("sftp", False))

    def test_buildsAServer(self) -> None:
        site = Site()
        collaborators: dict[str, Any] = {
            "tls": None,
            "sessionKeys": list,
            "settings": Settings,
            "bindAddress": "",
            "pool": None,
        }
        server = sftpServerFactory.build(
            SFTPOptions(),
            listener=Listener(name="files", kind="sftp", port=2222),
            reactor=site.clock,
            portal=site.logins.portal(),
            hostKeys=lambda: [pemOf(ED25519)],
            notify=site.logins.notify,
            **collaborators,
        )
        verifyObject(IServer, server)
        transport = server.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        self.assertEqual(transport.origin.listener, "files")
        other = server.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        self.assertNotEqual(transport.origin.session, other.origin.session)

    def test_addressesHaveOneForm(self) -> None:
        server = Site().server
        for host, expected in {"::ffff:192.0.2.1": "192.0.2.1", "fe80::1%eth0": "fe80::1", "odd": "odd"}.items():
            self.assertEqual(server.buildProtocol(IPv6Address("TCP", host, 1)).origin.address, expected)

    def test_avatarIsAConchUser(self) -> None:
        verifyObject(IConchUser, sshAvatar(None))  # type: ignore[arg-type]


class OptionsTests(SynchronousTestCase):
    def test_defaultsAreFine(self) -> None:
        verifyObject(IValidator, SFTPOptions())
        self.assertEqual(SFTPOptions().problems(), [])

    def test_boundsAreChecked(self) -> None:
        options = SFTPOptions(loginSeconds=0, rekeyBytes=1, keepAliveSeconds=-1)
        self.assertEqual(
            {problem.path for problem in options.problems()}, {"loginSeconds", "rekeyBytes", "keepAliveSeconds"}
        )

    def test_newOptionsAreForNewConnections(self) -> None:
        site = Site()
        before = RawClient(site)
        self.successResultOf(site.server.reconfigure(SFTPOptions(loginSeconds=5)))
        after = RawClient(site)
        site.clock.advance(5)
        self.assertFalse(before.wire.disconnecting)
        self.assertTrue(after.wire.disconnecting)

    def test_newHostKeysAreForNewConnections(self) -> None:
        site = Site()
        before = RawClient(site)
        site.hostKeys = (pemOf(RSA),)
        self.assertIn(b"rsa-sha2-512", RawClient(site).wire.value())
        before.send(kexInit())
        before.send(bytes((30,)) + string(bytes((9,)) + bytes(31)))
        self.assertFalse(before.wire.disconnecting)


class CrowdTests(SynchronousTestCase):
    def connect(self, site: Site, address: str) -> Wire:
        wire = Wire()
        site.server.buildProtocol(IPv4Address("TCP", address, 1)).makeConnection(wire)
        return wire

    def test_theOldestOfTheBusiestAddressGoes(self) -> None:
        site = Site(SFTPOptions(waitingConnections=3))
        lone = self.connect(site, "192.0.2.1")
        crowd = [self.connect(site, "192.0.2.2") for _ in range(4)]
        self.assertEqual([wire.aborted for wire in crowd], [True, True, False, False])
        self.assertFalse(lone.aborted)

    def test_thoseWhoLoggedInDoNotCount(self) -> None:
        site = Site(SFTPOptions(waitingConnections=1))
        logins = [LogIn(site) for _ in range(1)]
        logins[0].password(b"secret")
        LogIn(site).password(b"secret")
        self.assertFalse(logins[0].link.serverWire.aborted)


class DrainTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.site = Site()

    def session(self) -> LogIn:
        """A client that is logged in."""
        login = LogIn(self.site)
        login.password(b"secret")
        return login

    def openFile(self, login: LogIn) -> None:
        login.send(90, string(b"session"), uint32(0), uint32(1 << 20), uint32(32768))
        login.send(98, uint32(0), string(b"subsystem"), boolean(True), string(b"sftp"))
        opening = bytes((3,)) + uint32(1) + string(b"/f") + uint32(0x1A) + uint32(0)
        login.send(94, uint32(0), string(string(b"\1" + uint32(3)) + string(opening)))

    def closeFile(self, login: LogIn) -> None:
        (handle,) = login.link.server.service.channels[0]._program._handles._opened
        login.send(94, uint32(0), string(string(bytes((4,)) + uint32(2) + string(handle))))

    def advance(self, login: LogIn, seconds: float) -> None:
        for _ in range(int(seconds * 2)):
            self.site.clock.advance(0.5)
        login.link.pump()

    def test_nobodyThereIsDrainedAtOnce(self) -> None:
        self.successResultOf(self.site.server.drain())
        self.successResultOf(self.site.server.drain())

    def test_newClientsAreToldSo(self) -> None:
        drained = self.site.server.drain()
        self.successResultOf(drained)
        raw = RawClient(self.site)
        self.assertFalse(raw.wire.disconnecting)
        raw.send(kexInit())
        self.assertEqual(raw.farewell, LEAVING)

    def test_thoseWhoAreLoggingInHaveAMomentToDoSo(self) -> None:
        quick, slow = LogIn(self.site), LogIn(self.site)
        drained = self.site.server.drain()
        quick.password(b"secret")
        self.openFile(quick)
        self.advance(quick, LOGIN_SECONDS + 1)
        slow.link.pump()
        self.assertEqual(slow.client.disconnected, [(11, LEAVING)])
        self.assertEqual(quick.client.disconnected, [])
        self.closeFile(quick)
        self.advance(quick, IDLE_SECONDS + 1)
        self.assertEqual(quick.client.disconnected, [(11, LEAVING)])
        self.successResultOf(drained)

    def test_afterAWhileSessionsEndBetweenTwoFiles(self) -> None:
        login = self.session()
        self.openFile(login)
        drained = self.site.server.drain()
        self.advance(login, HURRY_SECONDS)
        self.closeFile(login)
        login.link.pump()
        self.assertEqual(login.client.disconnected, [(11, LEAVING)])
        self.successResultOf(drained)

    def test_resumedServerTakesClientsAgain(self) -> None:
        login = self.session()
        drained = self.site.server.drain()
        self.site.server.resume()
        self.successResultOf(drained)
        self.advance(login, 60)
        self.assertEqual(login.client.disconnected, [])
        self.session()
        self.site.server.resume()

    def test_idleSessionsEndSoon(self) -> None:
        login = self.session()
        drained = self.site.server.drain()
        self.assertNoResult(drained)
        self.advance(login, IDLE_SECONDS - 0.5)
        self.assertEqual(login.client.disconnected, [])
        self.advance(login, 1.5)
        self.assertEqual(login.client.disconnected, [(11, LEAVING)])
        self.successResultOf(drained)

    def test_transfersFinish(self) -> None:
        login = self.session()
        self.openFile(login)
        drained = self.site.server.drain()
        self.advance(login, 60)
        self.assertEqual(login.client.disconnected, [])
        self.assertNoResult(drained)
        self.closeFile(login)
        self.advance(login, IDLE_SECONDS + 1)
        self.assertEqual(login.client.disconnected, [(11, LEAVING)])
        self.successResultOf(drained)

    def test_whoeverIsLeftIsDisconnected(self) -> None:
        login = self.session()
        self.openFile(login)
        drained = self.site.server.drain()
        self.site.server.disconnect()
        login.link.pump()
        self.assertEqual(login.client.disconnected, [(11, LEAVING)])
        self.successResultOf(drained)

    def test_drainedWhenLogOutsAreDone(self) -> None:
        login = self.session()
        leaving: Deferred[None] = Deferred()
        login.link.server.logoutFunction = lambda: leaving
        drained = self.site.server.drain()
        login.link.lose()
        self.assertNoResult(drained)
        leaving.callback(None)
        self.successResultOf(drained)
