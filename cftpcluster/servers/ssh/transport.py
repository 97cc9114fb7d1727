"""SSH's transport layer (RFC 4253, RFC 8308, strict key exchange of OpenSSH's PROTOCOL section 1.9).

    version lines   both sides, at once
    KEXINIT         both sides; key exchange init and reply; NEWKEYS, each direction for itself
    EXT_INFO        server-sig-algs, right after the first NEWKEYS
    SERVICE_REQUEST ssh-userauth; then messages 50 to 79 until the client is logged in, then 80 to 127

Twisted's Conch does the arithmetic of the key exchanges; packets, their order and their limits are done here. Each
direction changes its keys by itself, so that neither waits longer than it has to. Knows nothing of users and files.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import frozen
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.service import SSHService
from twisted.conch.ssh.transport import (
    DISCONNECT_BY_APPLICATION,
    DISCONNECT_KEY_EXCHANGE_FAILED,
    DISCONNECT_MAC_ERROR,
    DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE,
    DISCONNECT_PROTOCOL_ERROR,
    DISCONNECT_SERVICE_NOT_AVAILABLE,
    MSG_DEBUG,
    MSG_DISCONNECT,
    MSG_EXT_INFO,
    MSG_IGNORE,
    MSG_KEXDH_INIT,
    MSG_KEXINIT,
    MSG_NEWKEYS,
    MSG_SERVICE_ACCEPT,
    MSG_SERVICE_REQUEST,
    MSG_UNIMPLEMENTED,
    SSHServerTransport,
)
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from ...vocabulary import Origin
from ._quiet import quietLogger
from .ciphers import AUTHENTICATED, CIPHERS, MACS, Clear, Opener, Sealer, Tampered, makeOpener, makeSealer
from .hostkeys import HostKeys
from .wire import Buffer, Reader, Truncated, boolean, names, string, uint32

VERSION = b"SSH-2.0-cftpcluster"

KEY_EXCHANGES = tuple(
    name
    for name in (b"mlkem768x25519-sha256", b"curve25519-sha256", b"curve25519-sha256@libssh.org")
    if name in SSHServerTransport.supportedKeyExchanges
)

USER_KEY_ALGORITHMS = (
    b"ssh-ed25519",
    b"sk-ssh-ed25519@openssh.com",
    b"ecdsa-sha2-nistp256",
    b"ecdsa-sha2-nistp384",
    b"ecdsa-sha2-nistp521",
    b"sk-ecdsa-sha2-nistp256@openssh.com",
    b"rsa-sha2-512",
    b"rsa-sha2-256",
)
"""What users may sign with, whatever the host keys are."""

EXTENSIONS_CLIENT = b"ext-info-c"
EXTENSIONS_SERVER = b"ext-info-s"
STRICT_CLIENT = b"kex-strict-c-v00@openssh.com"
STRICT_SERVER = b"kex-strict-s-v00@openssh.com"

LONGEST_VERSION_LINE = 255
LONGEST_PACKET_BEFORE_LOGIN = 35_000
LONGEST_PACKET = 256 * 1024 + 1024
RECEIVE_BYTES = 256 * 1024
UNREAD_LIMIT_BYTES = 1024 * 1024
"""A client that reads nothing gets so many bytes of answers to control messages, no more."""

EXCHANGE_SECONDS = 300
"""How long a key exchange may take on a slow line whose buffers are full."""

FAREWELL_SECONDS = 5
"""How long a client may take to read why it is disconnected."""

SEQUENCE_MASK = 0xFFFFFFFF

_WAIT_FOR_KEYS = frozenset({MSG_SERVICE_ACCEPT, MSG_EXT_INFO})
"""Of the messages below 50 those that must not be sent during a key exchange (RFC 4253, section 7.1)."""


class _ProtocolError(Exception):
    """The peer broke the protocol; the text is told to it."""


@frozen
class TransportOptions:
    """
    :ivar graceSeconds: from the connection to the log-in.
    :ivar rekeyBytes: new keys after so many bytes in one direction.
    :ivar rekeySeconds: new keys after so long.
    """

    graceSeconds: float
    rekeyBytes: int
    rekeySeconds: float


class Owner(Protocol):
    """What a transport wants of the server that made it.

    :ivar randomBytes: makes so many unguessable bytes.
    """

    @property
    def randomBytes(self) -> Callable[[int], bytes]: ...

    def makeUserAuthentication(self, transport: SSHTransport) -> SSHService: ...

    def connected(self, transport: SSHTransport) -> None: ...

    def loggedIn(self, transport: SSHTransport) -> None: ...

    def ended(self, transport: SSHTransport) -> None: ...


@implementer(IPushProducer)
class SSHTransport(SSHServerTransport):
    """One connection.

    :ivar refusal: when not empty, the client is told so and disconnected as soon as it listens.
    :ivar avatar: who is logged in, or ``None``.
    """

    ourVersionString = VERSION
    transport: Any  # TCP, or what stands for it
    _log = quietLogger()

    def __init__(
        self, owner: Owner, reactor: IReactorTime, hostKeys: HostKeys, origin: Origin, options: TransportOptions
    ) -> None:
        self.owner = owner
        self.reactor = reactor
        self.origin = origin
        self.options = options
        self.refusal = b""
        self.avatar: Any = None
        self.logoutFunction: Callable[[], Any] = lambda: None
        self.otherVersionString = b""
        self._socket: socket.socket | None = None
        self._hostKeys = hostKeys
        self.supportedPublicKeys = hostKeys.algorithms
        self._sealer: Sealer = Clear()
        self._opener: Opener = Clear()
        self._nextOpener: Opener | None = None
        self._agreed: tuple[bytes, bytes, bytes, bytes] = (b"", b"", b"", b"")
        self._received = bytearray()
        self._wanted = 0  # length of the packet whose head was read, 0 before
        self._longest = LONGEST_PACKET_BEFORE_LOGIN
        self._sequence = 0  # of the packet that is being dispatched
        self._expected: int | None = MSG_KEXINIT
        self._strict = self._extensions = False
        self._keyed = False
        self._exchangeBlocks = False  # between our KEXINIT and our NEWKEYS
        self._blocked: list[tuple[int, bytes]] = []
        self._paused = False
        self._unreadBytes = 0
        self._sentBytes = self._receivedBytes = 0
        self._held = self._reading = self._ended = False
        self._grace: IDelayedCall | None = None
        self._exchange: IDelayedCall | None = None
        self._farewell: IDelayedCall | None = None

    # --- the connection

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self._socket = self.transport.getHandle()
        self.transport.registerProducer(self, True)
        self._grace = self.reactor.callLater(self.options.graceSeconds, self._graceOver)
        self.transport.write(self.ourVersionString + b"\r\n")
        self.sendKexInit()
        self.owner.connected(self)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._ended = True
        for call in (self._grace, self._exchange, self._farewell):
            if call is not None and call.active():
                call.cancel()
        service, self.service = self.service, None
        finished: Deferred[Any] = succeed(None)
        if service is not None:
            service.serviceStopped()
            finished = getattr(service, "finished", None) or finished
        _ = (
            finished.addBoth(lambda _: maybeDeferred(self.logoutFunction))
            .addErrback(lambda failure: self._log.failure("log-out failed", failure))
            .addBoth(lambda _: self.owner.ended(self))
        )

    def _graceOver(self) -> None:
        self.sendDisconnect(DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, b"log-in takes too long")

    def loggedIn(self, avatar: Any, logout: Callable[[], Any]) -> None:
        """Who the client is has been proven; from now on it may send messages of the connection protocol."""
        self.avatar, self.logoutFunction = avatar, logout
        if self._grace is not None and self._grace.active():
            self._grace.cancel()
        self._longest = LONGEST_PACKET
        if hasattr(self.transport, "bufferSize"):
            self.transport.bufferSize = RECEIVE_BYTES
        self.owner.loggedIn(self)

    @property
    def busy(self) -> bool:
        """Whether the client is in the middle of something."""
        return bool(getattr(self.service, "busy", False))

    def hold(self) -> None:
        """Look at no further message until :meth:`release`."""
        self._held = True
        self.transport.pauseProducing()

    def release(self) -> None:
        self._held = False
        if not self._ended:
            self.transport.resumeProducing()
            self._readPackets()

    def sendDisconnect(self, reason: int, desc: bytes | str) -> None:
        if self._ended:
            return
        text = desc.encode() if isinstance(desc, str) else desc
        self._log.debug("disconnecting {origin}: {text!r}", origin=self.origin, text=text)
        self.sendPacket(MSG_DISCONNECT, uint32(reason) + string(text) + string(b""))
        self._close()

    def _close(self) -> None:
        self._ended = True
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self._farewell = self.reactor.callLater(FAREWELL_SECONDS, self.transport.abortConnection)

    def loseConnection(self) -> None:
        self.sendGoodbye(b"goodbye")

    def sendGoodbye(self, text: bytes) -> None:
        """Disconnect a client that did nothing wrong."""
        self.sendDisconnect(DISCONNECT_BY_APPLICATION, text)

    def abort(self) -> None:
        """Let go of the connection at once."""
        self._ended = True
        self.transport.abortConnection()

    # --- sending

    @property
    def writable(self) -> bool:
        """Whether channel data may be sent now; when that changes, the service's ``resumeSending`` is called."""
        return not (self._paused or self._exchangeBlocks or self._ended)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._resumeSending()

    def stopProducing(self) -> None:
        self._paused = True

    def _resumeSending(self) -> None:
        if self.writable:
            self._unreadBytes = 0
            resume = getattr(self.service, "resumeSending", None)
            if resume is not None:
                resume()

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        if self._ended:
            return
        if self._paused or self._exchangeBlocks:
            self._unreadBytes += len(payload) + 64
            if self._unreadBytes > UNREAD_LIMIT_BYTES:
                self._log.warn("{origin} asks for answers and does not read them", origin=self.origin)
                self.abort()
                return
        if self._exchangeBlocks and (messageType >= 50 or messageType in _WAIT_FOR_KEYS):
            self._blocked.append((messageType, payload))
        else:
            self.sendParts((bytes((messageType,)), payload))

    def sendParts(self, parts: Sequence[Buffer]) -> None:
        """Send one message given in parts; with channel data only while :attr:`writable`."""
        packet = self._sealer.seal(self.outgoingPacketSequence, parts)
        self.outgoingPacketSequence = (self.outgoingPacketSequence + 1) & SEQUENCE_MASK
        self._sentBytes += len(packet)
        self.transport.write(packet)
        if self._sentBytes > self.options.rekeyBytes:
            self._startExchange()

    def sendUnimplemented(self) -> None:
        self.sendPacket(MSG_UNIMPLEMENTED, uint32(self._sequence))

    # --- receiving

    def dataReceived(self, data: bytes) -> None:
        if self._ended:
            return
        if self.avatar is None or self._expected is not None or self._exchangeBlocks:
            self._acknowledge()
        self._received += data
        if self.gotVersion or self._readVersion():
            self._readPackets()

    def _acknowledge(self) -> None:
        """Clients hold back a small packet until the one before is acknowledged, which the kernel would put off: a
        log-in, and each change of keys, would last two tenths of a second longer."""
        if self._socket is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _readVersion(self) -> bool:
        end = self._received.find(b"\n", 0, LONGEST_VERSION_LINE)
        if end < 0 and len(self._received) < LONGEST_VERSION_LINE:
            return False
        line = bytes(self._received[: max(end, 0)]).removesuffix(b"\r")
        if not line.startswith((b"SSH-2.0-", b"SSH-1.99-")) or b"\0" in line:
            self.transport.write(b"Invalid SSH identification string.\r\n")
            self._close()
            return False
        del self._received[: end + 1]
        self.gotVersion, self.otherVersionString = True, line
        return True

    def _readPackets(self) -> None:
        if self._reading:
            return
        self._reading = True
        try:
            while not (self._held or self._ended):
                payload = self._nextPayload()
                if payload is None:
                    break
                self._dispatch(payload[0], payload[1:])
        except Tampered:
            self.sendDisconnect(DISCONNECT_MAC_ERROR, b"corrupted packet")
        except _ProtocolError as error:
            self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, str(error))
        except (Truncated, struct.error):
            self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"malformed message")
        finally:
            self._reading = False
        if self._ended:
            self._received.clear()

    def _nextPayload(self) -> memoryview | None:
        opener, received = self._opener, self._received
        if not self._wanted:
            if len(received) < opener.headSize:
                return None
            length = opener.length(self.incomingPacketSequence, bytes(received[: opener.headSize]))
            if not 8 <= length <= self._longest or length + 4 < opener.headSize:
                raise _ProtocolError("bad packet length")
            self._wanted = 4 + length + opener.overhead
        if len(received) < self._wanted:
            return None
        packet = memoryview(received)[: self._wanted].tobytes()
        del received[: self._wanted]
        self._wanted = 0
        payload = opener.open(self.incomingPacketSequence, packet)
        self._receivedBytes += len(packet)
        self._sequence = self.incomingPacketSequence
        self.incomingPacketSequence = (self._sequence + 1) & SEQUENCE_MASK
        if self._receivedBytes > self.options.rekeyBytes:
            self._startExchange()
        return payload

    def _dispatch(self, number: int, payload: memoryview) -> None:
        """Let a message through, if it may come now."""
        if number == MSG_DISCONNECT:
            self._close()
        elif self._expected is not None and not self._duringExchange(number):
            return
        elif number in {MSG_IGNORE, MSG_DEBUG, MSG_UNIMPLEMENTED, MSG_EXT_INFO}:
            pass
        elif number < 50:
            self._transportMessage(number, payload)
        elif number >= 80 and self.avatar is None:
            raise _ProtocolError("log in first")
        elif self.service is None:
            raise _ProtocolError("no service was requested")
        elif number < 80 and self.avatar is not None:
            pass  # RFC 4252, section 5.1: requests after the log-in are silently ignored
        else:
            self.service.packetReceived(number, payload)

    def _duringExchange(self, number: int) -> bool:
        """Whether a message, which comes between the peer's KEXINIT and its NEWKEYS, is to be looked at."""
        if self.ignoreNextPacket and 30 <= number < 50:
            self.ignoreNextPacket = False
            return False
        if number == self._expected:
            return True
        if number in {MSG_IGNORE, MSG_DEBUG, MSG_UNIMPLEMENTED} and not (self._strict and not self._keyed):
            return False
        raise _ProtocolError("unexpected message during key exchange")

    def _transportMessage(self, number: int, payload: memoryview) -> None:
        if number == MSG_KEXINIT:
            self.ssh_KEXINIT(payload.tobytes())
        elif number == MSG_KEXDH_INIT and self._expected == number:
            self._keyExchangeInit(payload.tobytes())
        elif number == MSG_NEWKEYS and self._expected == number:
            self.ssh_NEWKEYS(payload.tobytes())
        elif number == MSG_SERVICE_REQUEST and self.avatar is None:
            self.ssh_SERVICE_REQUEST(payload.tobytes())
        elif 20 <= number < 50:
            raise _ProtocolError("unexpected key exchange message")
        else:
            self.sendUnimplemented()

    # --- key exchange

    def _startExchange(self) -> None:
        if not self._exchangeBlocks and self._expected is None and not self._ended:
            self.sendKexInit()

    def sendKexInit(self) -> None:
        marker = () if self._keyed else (STRICT_SERVER,)
        ciphers, macs, none = names(CIPHERS), names(MACS), names((b"none",))
        exchanges, hostKeys = names((*KEY_EXCHANGES, EXTENSIONS_SERVER, *marker)), names(self.supportedPublicKeys)
        lists = (exchanges, hostKeys, ciphers, ciphers, macs, macs, none, none, names(()), names(()))
        payload = os.urandom(16) + b"".join(lists) + boolean(False) + uint32(0)
        self.ourKexInitPayload = bytes((MSG_KEXINIT,)) + payload
        self._exchangeBlocks = True
        self.sendPacket(MSG_KEXINIT, payload)
        if self._keyed:
            self._startTimer(EXCHANGE_SECONDS, self._exchangeOver)

    def _startTimer(self, seconds: float, function: Callable[[], None]) -> None:
        if self._exchange is not None and self._exchange.active():
            self._exchange.cancel()
        self._exchange = self.reactor.callLater(seconds, function)

    def _exchangeOver(self) -> None:
        self.sendDisconnect(DISCONNECT_KEY_EXCHANGE_FAILED, b"key exchange takes too long")

    def ssh_KEXINIT(self, packet: bytes) -> None:
        if not self._exchangeBlocks:
            self.sendKexInit()
        self.otherKexInitPayload = bytes((MSG_KEXINIT,)) + packet
        reader = Reader(packet, 16)
        exchanges, hostKeys, ciphersIn, ciphersOut, macsIn, macsOut, packIn, packOut = (
            reader.names() for _ in range(8)
        )
        reader.names(), reader.names()
        guessed = reader.boolean()
        if not self._keyed:
            self._strict = STRICT_CLIENT in exchanges
            self._extensions = EXTENSIONS_CLIENT in exchanges
            if self._strict and self._sequence:
                raise _ProtocolError("KEXINIT was not the first packet")
        self.kexAlg = _agree(exchanges, KEY_EXCHANGES)
        self.keyAlg = _agree(hostKeys, self.supportedPublicKeys)
        inward, outward = _agreeOnProtection(ciphersIn, macsIn), _agreeOnProtection(ciphersOut, macsOut)
        compression = (_agree(packIn, (b"none",)), _agree(packOut, (b"none",)))
        if None in {self.kexAlg, self.keyAlg, *inward, *outward, *compression}:
            self.sendDisconnect(DISCONNECT_KEY_EXCHANGE_FAILED, b"no common algorithms")
            return
        if self.refusal:
            self.sendDisconnect(DISCONNECT_BY_APPLICATION, self.refusal)
            return
        self._agreed = (*inward, *outward)
        wrong = (exchanges[:1], hostKeys[:1]) != ([KEY_EXCHANGES[0]], self.supportedPublicKeys[:1])
        self.ignoreNextPacket = guessed and wrong
        self._expected = MSG_KEXDH_INIT

    def _keyExchangeInit(self, packet: bytes) -> None:
        self._expected = MSG_NEWKEYS
        try:
            self.ssh_KEX_DH_GEX_REQUEST_OLD(packet)
        except ValueError:
            self.sendDisconnect(DISCONNECT_KEY_EXCHANGE_FAILED, b"bad key exchange value")

    def _getHostKeys(self, keyAlg: bytes) -> tuple[Key, Key]:
        key = self._hostKeys.signer(keyAlg)
        return key.public(), key

    def _keySetup(self, sharedSecret: bytes, exchangeHash: bytes) -> None:
        if self.sessionID is None:
            self.sessionID = exchangeHash

        def keysOf(letters: dict[bytes, bytes]) -> Callable[[bytes, int], bytes]:
            return lambda kind, size: self._getKey(letters[kind], sharedSecret, exchangeHash)[:size]

        cipherIn, macIn, cipherOut, macOut = self._agreed
        self._nextOpener = makeOpener(cipherIn, macIn, keysOf({b"iv": b"A", b"key": b"C", b"mac": b"E"}))
        self.sendPacket(MSG_NEWKEYS, b"")
        self._sealer = makeSealer(cipherOut, macOut, keysOf({b"iv": b"B", b"key": b"D", b"mac": b"F"}))
        if self._strict:
            self.outgoingPacketSequence = 0
        self._sentBytes = 0
        self._exchangeBlocks = False
        if not self._keyed and self._extensions:
            self.sendPacket(MSG_EXT_INFO, uint32(1) + string(b"server-sig-algs") + names(USER_KEY_ALGORITHMS))
        blocked, self._blocked = self._blocked, []
        for messageType, payload in blocked:
            self.sendPacket(messageType, payload)
        self._resumeSending()

    def ssh_NEWKEYS(self, packet: bytes) -> None:
        if packet or self._nextOpener is None:
            raise _ProtocolError("bad NEWKEYS")
        self._opener, self._nextOpener = self._nextOpener, None
        if self._strict:
            self.incomingPacketSequence = 0
        self._receivedBytes = 0
        self._keyed = True
        self._expected = None
        self._startTimer(self.options.rekeySeconds, self._startExchange)

    # --- services

    def ssh_SERVICE_REQUEST(self, packet: bytes) -> None:
        name = Reader(packet).string()
        if name != b"ssh-userauth" or self.service is not None:
            self.sendDisconnect(DISCONNECT_SERVICE_NOT_AVAILABLE, b"no such service")
            return
        self.sendPacket(MSG_SERVICE_ACCEPT, string(name))
        self.setService(self.owner.makeUserAuthentication(self))


def _agree(client: Sequence[bytes], server: Sequence[bytes]) -> Any:
    """The client's first choice that the server has too."""
    return next((name for name in client if name in server), None)


def _agreeOnProtection(ciphers: Sequence[bytes], macs: Sequence[bytes]) -> tuple[Any, Any]:
    """Cipher and MAC of one direction; the MAC of a cipher that needs none is empty."""
    cipher = _agree(ciphers, CIPHERS)
    return cipher, b"" if cipher in AUTHENTICATED else _agree(macs, MACS)
