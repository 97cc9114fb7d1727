"""Tests of the transport: against Conch's client, and against bytes that no client would send."""

from __future__ import annotations

import struct
from typing import Any

from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.service import SSHService
from twisted.conch.ssh.transport import MSG_DEBUG, MSG_DISCONNECT, MSG_IGNORE, MSG_KEXINIT, MSG_NEWKEYS
from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ssh import arithmetic
from cftpcluster.servers.ssh.arithmetic import prime
from cftpcluster.servers.ssh.ciphers import Clear
from cftpcluster.servers.ssh.exchange import EXCHANGE_SECONDS
from cftpcluster.servers.ssh.factory import SFTPOptions
from cftpcluster.servers.ssh.negotiation import (
    KEY_EXCHANGES,
    LEGACY_KEY_EXCHANGES,
    MACS,
    STRICT_CLIENT,
    STRICT_SERVER,
    USER_KEY_ALGORITHMS,
)
from cftpcluster.servers.ssh.transport import FAREWELL_SECONDS, UNREAD_LIMIT_BYTES
from cftpcluster.servers.ssh.wire import Reader, names, string, uint32

from .peers import ECDSA, ED25519, RSA, Client, Link, Site, Wire, pemOf
from .test_userauth import LogIn


class Silent(SSHService):
    """Requests ssh-userauth, and says nothing."""

    name = b"ssh-userauth"


def kexInit(exchanges: tuple[bytes, ...] = (b"curve25519-sha256",), guess: bool = False, **lists: bytes) -> bytes:
    hostKeys, cipher, mac = lists.get("hostKey", b"ssh-ed25519"), lists.get("cipher", b"aes128-ctr"), b"hmac-sha2-256"
    none = names((b"none",))
    parts = (names(exchanges), names((hostKeys,)), *[names((cipher,))] * 2, *[names((mac,))] * 2, none, none)
    return bytes((MSG_KEXINIT,)) + bytes(16) + b"".join(parts) + names(()) * 2 + bytes((guess,)) + uint32(0)


class RawClient:
    """A client before the first keys, who can send anything."""

    def __init__(self, site: Site, version: bytes = b"SSH-2.0-raw\r\n") -> None:
        self.wire = Wire()
        self.server = site.server.buildProtocol(IPv4Address("TCP", "192.0.2.7", 40000))
        self.server.makeConnection(self.wire)
        self.sequence = 0
        if version:
            self.server.dataReceived(version)

    def send(self, payload: bytes) -> None:
        self.server.dataReceived(b"".join(Clear().seal(self.sequence, [payload])))
        self.sequence += 1
        self.server.reactor.advance(0)

    def received(self) -> list[bytes]:
        """The payloads of the packets that came, after the version line."""
        data = self.wire.value().partition(b"\r\n")[2]
        payloads = []
        while len(data) >= 5:
            (length,) = struct.unpack(">I", data[:4])
            payloads.append(data[5 : 4 + length - data[4]])
            data = data[4 + length :]
        return payloads

    @property
    def farewell(self) -> bytes | None:
        """Why the server disconnected."""
        last = self.received()[-1]
        return Reader(last, 5).string() if last[0] == MSG_DISCONNECT and self.wire.disconnecting else None


class HandshakeTests(SynchronousTestCase):
    def test_conchsClientGetsThrough(self) -> None:
        for hostKey in (ED25519, RSA):
            site = Site(hostKeys=(pemOf(hostKey),))
            client = Client(Silent())
            link = site.connect(client)
            self.successResultOf(client.secured)
            self.assertEqual(client.hostKey, Key(hostKey).public().blob())
            self.assertIs(client.service, client.wanted)
            self.assertEqual(client.disconnected, [])
            link.lose()

    def test_usersMaySignWithAnyKeyWhateverTheHostKeysAre(self) -> None:
        client = Client()
        Site().connect(client).lose()
        offered = client.peerExtensions[b"server-sig-algs"].split(b",")
        self.assertEqual(offered, list(USER_KEY_ALGORITHMS))
        self.assertIn(b"rsa-sha2-512", offered)
        self.assertNotIn(b"ssh-rsa", offered)

    def test_theServersVersionTellsNoVersion(self) -> None:
        raw = RawClient(Site())
        self.assertTrue(raw.wire.value().startswith(b"SSH-2.0-cftpcluster\r\n"))

    def test_nothingWeakIsOffered(self) -> None:
        (kexinit,) = RawClient(Site(hostKeys=(pemOf(ED25519), pemOf(RSA), pemOf(ECDSA)), legacy=False)).received()
        reader = Reader(kexinit, 17)
        lists = [reader.names() for _ in range(10)]
        self.assertEqual(lists[0], [*KEY_EXCHANGES, b"ext-info-s", STRICT_SERVER])
        self.assertEqual(lists[1], [b"ssh-ed25519", b"rsa-sha2-512", b"rsa-sha2-256"])
        self.assertEqual(lists[6:], [[b"none"], [b"none"], [], []])
        everything = b",".join(b",".join(each) for each in lists)
        for weak in (b"sha1", b"md5", b"cbc", b"3des", b"ssh-rsa", b"ssh-dss", b"zlib", b"group14", b"nistp"):
            self.assertNotIn(weak, everything)
        self.assertEqual(lists[4:6], [[b"hmac-sha2-256-etm@openssh.com", b"hmac-sha2-512-etm@openssh.com"]] * 2)

    def test_oldClientsGetWhatTheyNeedWhereTheListenerSaysSo(self) -> None:
        (kexinit,) = RawClient(Site(hostKeys=(pemOf(ED25519), pemOf(ECDSA)))).received()
        reader = Reader(kexinit, 17)
        lists = [reader.names() for _ in range(10)]
        self.assertEqual(lists[0], [*KEY_EXCHANGES, *LEGACY_KEY_EXCHANGES, b"ext-info-s", STRICT_SERVER])
        self.assertEqual(lists[1], [b"ssh-ed25519", b"ecdsa-sha2-nistp256"])
        self.assertEqual(lists[4], [*MACS, b"hmac-sha2-256", b"hmac-sha2-512"])
        everything = b",".join(b",".join(each) for each in lists)
        for weak in (b"sha1", b"md5", b"cbc", b"3des", b"ssh-rsa", b"ssh-dss", b"zlib", b"group1-"):
            self.assertNotIn(weak, everything)

    def test_withoutHostKeysNobodyIsServed(self) -> None:
        raw = RawClient(Site(hostKeys=()))
        raw.send(kexInit())
        self.assertEqual(raw.farewell, b"no common algorithms")

    def test_noCommonAlgorithms(self) -> None:
        for lists in ({"hostKey": b"ssh-rsa"}, {"cipher": b"3des-cbc"}, {"cipher": b"none"}):
            raw = RawClient(Site())
            raw.send(kexInit(**lists))
            self.assertEqual(raw.farewell, b"no common algorithms")
        raw = RawClient(Site())
        raw.send(kexInit((b"diffie-hellman-group1-sha1", b"ext-info-c", STRICT_CLIENT)))
        self.assertEqual(raw.farewell, b"no common algorithms")

    def test_aWrongGuessIsIgnored(self) -> None:
        raw = RawClient(Site())
        raw.send(kexInit((b"diffie-hellman-group1-sha1", b"curve25519-sha256"), guess=True))
        raw.send(bytes((34,)) + b"the first message of another key exchange")
        self.assertFalse(raw.wire.disconnecting)
        raw.send(bytes((30,)) + string(bytes((9,)) + bytes(31)))
        self.assertIn(MSG_NEWKEYS, [payload[0] for payload in raw.received()])


class VersionTests(SynchronousTestCase):
    def test_onlyVersion2IsSpoken(self) -> None:
        for line in (
            b"GET / HTTP/1.1\r\n",
            b"SSH-1.5-old\r\n",
            b"\r\nSSH-2.0-late\r\n",
            b"SSH-2.0-a\0b\r\n",
            b"x" * 300,
        ):
            raw = RawClient(Site(), line)
            self.assertTrue(raw.wire.disconnecting, line)
            self.assertTrue(raw.wire.value().endswith(b"Invalid SSH identification string.\r\n"))

    def test_aLineThatNeverEndsIsNotCollected(self) -> None:
        raw = RawClient(Site(), b"SSH-2.0-")
        for _ in range(10):
            raw.server.dataReceived(b"x" * 50)
        self.assertTrue(raw.wire.disconnecting)

    def test_piecesAndBareNewlinesWillDo(self) -> None:
        raw = RawClient(Site(), b"")
        for byte in b"SSH-2.0-raw\n":
            raw.server.dataReceived(bytes((byte,)))
        raw.send(kexInit())
        self.assertFalse(raw.wire.disconnecting)
        self.assertEqual(raw.server.otherVersionString, b"SSH-2.0-raw")


class StateTests(SynchronousTestCase):
    """What may come when. Neither of the failed connections may ever open a channel."""

    def test_nothingOfTheConnectionBeforeTheLogIn(self) -> None:
        for number in (80, 81, 90, 91, 94, 98, 100, 127, 192, 255):
            raw = RawClient(Site())
            raw.send(bytes((number,)) + string(b"session") + bytes(12))
            self.assertEqual(raw.farewell, b"unexpected message during key exchange")

    def test_alsoNotOnceThereAreKeys(self) -> None:
        for number in (52, 60, 61, 80, 90, 94, 98, 192):
            client = Client(Silent())
            link = Site().connect(client)
            client.sendPacket(number, string(b"session") + bytes(12))
            link.pump()
            if number >= 80:
                self.assertEqual(client.disconnected, [(2, b"log in first")], number)
            self.assertIs(link.server.avatar, None)

    def test_noKeyExchangeMessagesOutOfTurn(self) -> None:
        for number in (MSG_NEWKEYS, 22, 30, 31, 34, 49):
            raw = RawClient(Site())
            raw.send(bytes((number,)) + bytes(40))
            self.assertEqual(raw.farewell, b"unexpected message during key exchange")
            client = Client()
            link = Site().connect(client)
            client.sendPacket(number, bytes(40))
            link.pump()
            self.assertEqual(client.disconnected, [(2, b"unexpected key exchange message")])

    def test_newKeysBeforeTheyAreAgreedOn(self) -> None:
        raw = RawClient(Site())
        raw.send(kexInit())
        raw.send(bytes((MSG_NEWKEYS,)))
        self.assertEqual(raw.farewell, b"unexpected message during key exchange")

    def test_strictClientsGetNothingExtra(self) -> None:
        raw = RawClient(Site())
        raw.send(kexInit((b"curve25519-sha256", STRICT_CLIENT)))
        raw.send(bytes((MSG_IGNORE,)) + string(b""))
        self.assertEqual(raw.farewell, b"unexpected message during key exchange")
        raw = RawClient(Site())
        raw.send(bytes((MSG_IGNORE,)) + string(b""))
        raw.send(kexInit((b"curve25519-sha256", STRICT_CLIENT)))
        self.assertEqual(raw.farewell, b"KEXINIT was not the first packet")

    def test_numbersOfMessagesDoNotStartOverBeforeThereAreKeys(self) -> None:
        raw = RawClient(Site())
        raw.server._incoming._next = 0xFFFFFFFE
        raw.send(bytes((MSG_IGNORE,)) + string(b""))
        self.assertFalse(raw.wire.disconnecting)
        raw.send(bytes((MSG_IGNORE,)) + string(b""))
        self.assertEqual(raw.farewell, b"too many messages before the first keys")

    def test_othersMaySendMessagesThatMeanNothing(self) -> None:
        raw = RawClient(Site())
        raw.send(bytes((MSG_IGNORE,)) + string(b""))
        raw.send(kexInit())
        raw.send(bytes((MSG_DEBUG,)) + b"\0" + string(b"") * 2)
        self.assertFalse(raw.wire.disconnecting)

    def test_onlyAuthenticationIsAService(self) -> None:
        for service in (b"ssh-connection", b"", b"other"):
            client = Client()
            link = Site().connect(client)
            client.sendPacket(5, string(service))
            link.pump()
            self.assertEqual(client.disconnected, [(7, b"no such service")])

    def test_badKeyExchangeValues(self) -> None:
        for exchange, value in {
            (b"curve25519-sha256", bytes(32)),
            (b"curve25519-sha256", b"short"),
            (b"ecdh-sha2-nistp256", b"\2" + b"x" * 32),
            (b"ecdh-sha2-nistp256", b"\4" + b"x" * 64),
            (b"diffie-hellman-group14-sha256", b""),
            (b"diffie-hellman-group16-sha512", b"\1"),
            (b"diffie-hellman-group16-sha512", b"\xff"),
            (b"diffie-hellman-group16-sha512", b"\0" + b"\xff" * 512),
            (b"diffie-hellman-group18-sha512", b"\0" + (prime(8192) - 1).to_bytes(1024, "big")),
            (b"mlkem768x25519-sha256", bytes(10)),
            (b"mlkem768x25519-sha256", b"\xff" * 1216),
        }:
            if exchange in arithmetic.KEY_EXCHANGES:
                raw = RawClient(Site())
                raw.send(kexInit((exchange,)))
                raw.send(bytes((30,)) + string(value))
                self.assertEqual(raw.farewell, b"bad key exchange value", exchange)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_malformedMessages(self) -> None:
        for payload in (
            bytes((MSG_KEXINIT,)),
            bytes((MSG_KEXINIT,)) + bytes(17),
            kexInit()[:60],
            b"\x14" + b"\xff" * 200,
        ):
            raw = RawClient(Site())
            raw.send(payload)
            self.assertTrue(raw.wire.disconnecting)
        raw = RawClient(Site())
        raw.send(kexInit())
        raw.send(bytes((30,)))
        self.assertEqual(raw.farewell, b"malformed message")

    def test_badLengths(self) -> None:
        for length in (0, 1, 7, 35_001, 2**20, 2**31, 2**32 - 1):
            raw = RawClient(Site())
            raw.server.dataReceived(uint32(length) + bytes(12))
            self.assertEqual(raw.farewell, b"bad packet length")

    def test_aTamperedPacketEndsTheConnection(self) -> None:
        client = Client(Silent())
        link = Site().connect(client)
        client.sendPacket(MSG_IGNORE, string(b"x" * 40))
        packet = bytearray(link.clientWire.value())
        packet[30] ^= 1
        link.clientWire.clear()
        link.server.dataReceived(bytes(packet))
        link.pump()
        self.assertEqual(client.disconnected, [(5, b"corrupted packet")])


class TimeTests(SynchronousTestCase):
    def test_silentClientsAreDisconnected(self) -> None:
        site = Site()
        raw = RawClient(site, b"")
        site.clock.advance(29)
        self.assertFalse(raw.wire.disconnecting)
        site.clock.advance(1)
        self.assertEqual(raw.farewell, b"log-in takes too long")
        self.assertFalse(raw.wire.aborted)
        site.clock.advance(FAREWELL_SECONDS)
        self.assertTrue(raw.wire.aborted)

    def test_nothingIsLeftBehind(self) -> None:
        site = Site()
        link = site.connect(Client(Silent()))
        link.lose()
        self.assertEqual(site.clock.getDelayedCalls(), [])
        self.assertEqual((list(site.server._waiting), site.server._sessions), ([], {}))


class RekeyTests(SynchronousTestCase):
    def connected(self, **options: Any) -> tuple[Site, Link, Client]:
        """A client that is logged in."""
        site = Site(SFTPOptions(**options))
        login = LogIn(site)
        login.password(b"secret")
        return site, login.link, login.client

    def keysOf(self, link: Link) -> tuple[Any, Any]:
        return link.server._outgoing._sealer, link.server._incoming._opener

    def test_theServerAsksAfterATime(self) -> None:
        site, link, client = self.connected(keepAliveSeconds=0, rekeySeconds=60)
        before = self.keysOf(link)
        site.clock.advance(60)
        link.pump()
        after = self.keysOf(link)
        self.assertIsNot(after[0], before[0])
        self.assertIsNot(after[1], before[1])
        client.sendPacket(MSG_IGNORE, string(b""))
        link.pump()
        self.assertEqual(client.disconnected, [])
        site.clock.advance(60)
        link.pump()
        self.assertIsNot(self.keysOf(link)[0], after[0])

    def test_theServerAsksAfterSoManyBytes(self) -> None:
        _, link, client = self.connected(rekeyBytes=1 << 20)
        before = self.keysOf(link)
        for _ in range(40):
            client.sendPacket(MSG_IGNORE, string(bytes(30_000)))
            link.pump()
        self.assertIsNot(self.keysOf(link)[0], before[0])
        self.assertEqual(client.disconnected, [])

    def test_bytesOfTheServerCountToo(self) -> None:
        _, link, client = self.connected(rekeyBytes=1 << 20)
        before = self.keysOf(link)
        for _ in range(40):
            link.server.sendPacket(MSG_IGNORE, string(bytes(30_000)))
        link.pump()
        self.assertIsNot(self.keysOf(link)[0], before[0])
        self.assertEqual(client.disconnected, [])

    def test_theClientMayAsk(self) -> None:
        _, link, client = self.connected()
        before = self.keysOf(link)
        client.sendKexInit()
        link.pump()
        self.assertIsNot(self.keysOf(link)[1], before[1])
        client.sendPacket(MSG_IGNORE, string(b""))
        link.pump()
        self.assertEqual(client.disconnected, [])

    def test_strangersGetKeysOnce(self) -> None:
        client = Client(Silent())
        link = Site().connect(client)
        client.sendKexInit()
        link.pump()
        self.assertEqual(client.disconnected, [(2, b"log in first")])

    def test_bothMayAskAtOnce(self) -> None:
        site, link, client = self.connected(keepAliveSeconds=0, rekeySeconds=60)
        before = self.keysOf(link)
        site.clock.advance(60)
        client.sendKexInit()
        link.pump()
        self.assertIsNot(self.keysOf(link)[1], before[1])
        client.sendPacket(MSG_IGNORE, string(b""))
        link.pump()
        self.assertEqual(client.disconnected, [])

    def test_answersWaitForTheNewKeys(self) -> None:
        site, link, _client = self.connected(keepAliveSeconds=0, rekeySeconds=60)
        site.clock.advance(60)
        sent = len(link.serverWire.value())
        link.server.sendPacket(100, b"later")
        self.assertEqual(len(link.serverWire.value()), sent)
        link.pump()
        self.assertEqual(link.server._blocked, [])

    def test_anExchangeThatDoesNotEndIsEnded(self) -> None:
        site, link, _client = self.connected(keepAliveSeconds=0, rekeySeconds=60)
        site.clock.advance(60)
        site.clock.advance(EXCHANGE_SECONDS)
        self.assertTrue(link.serverWire.disconnecting)


class BackPressureTests(SynchronousTestCase):
    def test_aClientThatDoesNotReadIsLetGo(self) -> None:
        client = Client(Silent())
        link = Site().connect(client)
        link.server.pauseProducing()
        asked = 0
        while not link.serverWire.aborted:
            client.sendPacket(8, b"")
            asked += 1
            link.server.dataReceived(link.clientWire.value())
            link.clientWire.clear()
        self.assertGreater(asked, 1000)
        self.assertLess(len(link.serverWire.value()), UNREAD_LIMIT_BYTES * 2)

    def test_channelDataWaitsWhileTheSocketIsFullOrKeysAreExchanged(self) -> None:
        link = Site().connect(Client(Silent()))
        self.assertTrue(link.server.writable)
        link.server.pauseProducing()
        self.assertFalse(link.server.writable)
        link.server.resumeProducing()
        self.assertTrue(link.server.writable)
        link.server.sendKexInit()
        self.assertFalse(link.server.writable)
        link.pump()
        self.assertTrue(link.server.writable)

    def test_sequenceNumbersWrap(self) -> None:
        client = Client(Silent())
        link = Site().connect(client)
        link.server._outgoing._next = client.incomingPacketSequence = 0xFFFFFFFF
        link.server.sendPacket(MSG_IGNORE, string(b""))
        self.assertEqual(link.server._outgoing._next, 0)
        link.pump()
        self.assertEqual(client.disconnected, [])
