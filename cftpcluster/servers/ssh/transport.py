"""SSH's transport layer (RFC 4253).

    version lines   both sides, at once
    KEXINIT         both sides; key exchange init and reply; NEWKEYS, each direction for itself
    EXT_INFO        server-sig-algs, right after the first NEWKEYS
    SERVICE_REQUEST ssh-userauth; then messages 50 to 79 until the client is logged in, then 80 to 127

What may come when, and how much of it, is decided here; keys are agreed on in :mod:`~.exchange`. Knows nothing of users
and files.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import evolve
from twisted.conch.ssh.service import SSHService
from twisted.conch.ssh.transport import (
    DISCONNECT_BY_APPLICATION,
    DISCONNECT_MAC_ERROR,
    DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE,
    DISCONNECT_PROTOCOL_ERROR,
    DISCONNECT_SERVICE_NOT_AVAILABLE,
    MSG_DISCONNECT,
    MSG_EXT_INFO,
    MSG_KEXDH_INIT,
    MSG_KEXINIT,
    MSG_NEWKEYS,
    MSG_SERVICE_ACCEPT,
    MSG_SERVICE_REQUEST,
    MSG_UNIMPLEMENTED,
)
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, ISystemHandle, ITCPTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...networks import countedAs
from ...vocabulary import Origin
from .ciphers import Tampered
from .exchange import MEANINGLESS, KeyExchanging, ProtocolError, TransportOptions
from .hostkeys import HostKeys
from .stream import LONGEST_PACKET, BadLength, BadVersion
from .turns import Turns
from .wire import Buffer, Reader, Truncated, string, uint32

log = Logger()

VERSION = b"SSH-2.0-cftpcluster"

RECEIVE_BYTES = 256 * 1024
SEND_BYTES = 512 * 1024
"""The most that the kernel is given at once: turns of the reactor cost more than the sending itself."""

UNREAD_LIMIT_BYTES = 1024 * 1024
"""A client that reads nothing gets so many bytes of answers to control messages, no more."""

FAREWELL_SECONDS = 5
"""How long a client may take to read why it is disconnected."""

_WAIT_FOR_KEYS = frozenset({MSG_SERVICE_ACCEPT, MSG_EXT_INFO})
"""Of the messages below 50 those that must not be sent during a key exchange (RFC 4253, section 7.1)."""


class Owner(Protocol):
    """What a transport wants of the server that made it.

    :ivar randomBytes: makes so many unguessable bytes.
    :ivar turns: in which the key exchanges of all its transports come.
    """

    @property
    def turns(self) -> Turns: ...

    @property
    def randomBytes(self) -> Callable[[int], bytes]: ...

    def makeUserAuthentication(self, transport: SSHTransport) -> SSHService: ...

    def connected(self, transport: SSHTransport) -> float:
        """How many seconds to wait before the client is greeted."""

    def loggedIn(self, transport: SSHTransport) -> None: ...

    def paused(self, transport: SSHTransport) -> None: ...

    def ended(self, transport: SSHTransport) -> None: ...


@implementer(IPushProducer)
class SSHTransport(KeyExchanging):
    """One connection.

    :ivar avatar: who is logged in, or ``None``.
    """

    ourVersionString = VERSION

    def __init__(
        self, owner: Owner, reactor: IReactorTime, hostKeys: HostKeys, origin: Origin, options: TransportOptions
    ) -> None:
        super().__init__(reactor, hostKeys, options, owner.turns, countedAs(origin.address))
        self.owner = owner
        self.origin = origin
        self.avatar: Any = None
        self.logoutFunction: Callable[[], Any] = lambda: None
        self.otherVersionString = b""
        self._socket: Any = None  # where there is one
        self._paused = False
        self._unreadBytes = 0
        self._held = self._reading = False
        self._grace: IDelayedCall | None = None
        self._greeting: IDelayedCall | None = None
        self._farewell: IDelayedCall | None = None

    # --- the connection

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        if ISystemHandle.providedBy(self.transport):
            self._socket = self.transport.getHandle()
        self.transport.registerProducer(self, True)
        self._grace = self.reactor.callLater(self.options.graceSeconds, self._graceOver)
        seconds = self.owner.connected(self)
        if seconds:
            self.hold()
            self._greeting = self.reactor.callLater(seconds, self._greetLate)
        else:
            self._greet()

    def _greet(self) -> None:
        self.transport.write(self.ourVersionString + b"\r\n")
        self.sendKexInit()

    def _greetLate(self) -> None:
        if not self._ended:
            self._greet()
            self.release()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._ended = True
        for call in (self._grace, self._greeting, self._exchange, self._farewell):
            if call is not None and call.active():
                call.cancel()
        service, self.service = self.service, None
        finished: Deferred[Any] = succeed(None)
        if service is not None:
            service.serviceStopped()
            finished = getattr(service, "finished", None) or finished
        _ = (
            finished.addBoth(lambda _: maybeDeferred(self.logoutFunction))
            .addErrback(lambda failure: log.failure("log-out failed", failure))
            .addBoth(lambda _: self.owner.ended(self))
        )

    def _graceOver(self) -> None:
        self.sendDisconnect(DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, b"log-in takes too long")

    def loggedIn(self, avatar: Any, logout: Callable[[], Any]) -> None:
        """Who the client is has been proven; from now on it may send messages of the connection protocol."""
        self.avatar, self.logoutFunction = avatar, logout
        if self._grace is not None and self._grace.active():
            self._grace.cancel()
        self._incoming.longest = LONGEST_PACKET
        if hasattr(self.transport, "bufferSize"):
            self.transport.bufferSize = RECEIVE_BYTES
            self.transport.SEND_LIMIT = SEND_BYTES
        self.owner.loggedIn(self)

    @property
    def busy(self) -> bool:
        """Whether the client is in the middle of something."""
        return bool(getattr(self.service, "busy", False))

    def paused(self) -> None:
        """Everything is done that the client began on some channel."""
        self.owner.paused(self)

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
        if not self.options.isQuiet:
            log.info("disconnecting {address}: {text!r}", address=self.origin.address, text=text)
        if self._greeting is None or not self._greeting.active():
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
                log.warn("{address} asks for answers and does not read them", address=self.origin.address)
                self.abort()
                return
        if self._exchangeBlocks and (messageType >= 50 or messageType in _WAIT_FOR_KEYS):
            self._blocked.append((messageType, payload))
        else:
            self.sendParts((bytes((messageType,)), payload))

    def sendParts(self, parts: Sequence[Buffer]) -> None:
        """Send one message given in parts; with channel data only while :attr:`writable`."""
        self.transport.writeSequence(self._outgoing.seal(parts))
        if self._outgoing.keyBytes > self.options.rekeyBytes:
            self._startExchange()

    def sendUnimplemented(self) -> None:
        self.sendPacket(MSG_UNIMPLEMENTED, uint32(self._incoming.sequence))

    # --- receiving

    def dataReceived(self, data: bytes) -> None:
        if self._ended:
            return
        if self.avatar is None or self._expected is not None or self._exchangeBlocks:
            self._acknowledge()
        self._incoming.feed(data)
        if self.gotVersion or self._readVersion():
            self._readPackets()

    def _acknowledge(self) -> None:
        """Clients hold back a small packet until the one before is acknowledged, which the kernel would put off: a
        log-in, and each change of keys, would last nearly a tenth of a second longer."""
        if self._socket is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _readVersion(self) -> bool:
        try:
            line = self._incoming.version()
        except BadVersion:
            self.transport.write(b"Invalid SSH identification string.\r\n")
            self._close()
            return False
        if line is not None:
            self.gotVersion, self.otherVersionString = True, line
            self.origin = evolve(self.origin, software=line.removeprefix(b"SSH-2.0-").decode("ascii", "replace"))
        return self.gotVersion

    def _readPackets(self) -> None:
        if self._reading:
            return
        self._reading = True
        try:
            while not (self._held or self._ended):
                payload = self._incoming.next()
                if payload is None:
                    break
                if self._incoming.keyBytes > self.options.rekeyBytes:
                    self._startExchange()
                self._dispatch(payload[0], payload[1:])
        except Tampered:
            self.sendDisconnect(DISCONNECT_MAC_ERROR, b"corrupted packet")
        except BadLength:
            self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"bad packet length")
        except ProtocolError as error:
            self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, str(error))
        except (Truncated, struct.error):
            self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"malformed message")
        finally:
            self._reading = False
        if self._ended:
            self._incoming.clear()

    def _dispatch(self, number: int, payload: memoryview) -> None:
        """Let a message through, if it may come now."""
        if number == MSG_DISCONNECT:
            self._close()
        elif (
            (self._expected is not None and not self._belongsToExchange(number))
            or number in MEANINGLESS
            or number == MSG_EXT_INFO
        ):
            pass
        elif number < 50:
            self._transportMessage(number, payload)
        elif number >= 80 and self.avatar is None:
            raise ProtocolError("log in first")
        elif self.service is None:
            raise ProtocolError("no service was requested")
        elif number < 80 and self.avatar is not None:
            pass  # RFC 4252, section 5.1: requests after the log-in are silently ignored
        else:
            self.service.packetReceived(number, payload)

    def _transportMessage(self, number: int, payload: memoryview) -> None:
        if number == MSG_KEXINIT:
            if self._keyed and self.avatar is None and not self._exchangeBlocks:
                # New keys cost much more time here than there; strangers get them once.
                raise ProtocolError("log in first")
            self.ssh_KEXINIT(payload.tobytes())
        elif number == MSG_KEXDH_INIT and self._expected == number:
            self._keyExchangeInit(payload.tobytes())
        elif number == MSG_NEWKEYS and self._expected == number:
            self.ssh_NEWKEYS(payload.tobytes())
        elif number == MSG_SERVICE_REQUEST and self.avatar is None:
            self.ssh_SERVICE_REQUEST(payload.tobytes())
        elif 20 <= number < 50:
            raise ProtocolError("unexpected key exchange message")
        else:
            self.sendUnimplemented()

    # --- services

    def ssh_SERVICE_REQUEST(self, packet: bytes) -> None:
        name = Reader(packet).string()
        if name != b"ssh-userauth" or self.service is not None:
            self.sendDisconnect(DISCONNECT_SERVICE_NOT_AVAILABLE, b"no such service")
            return
        self.sendPacket(MSG_SERVICE_ACCEPT, string(name))
        self.setService(self.owner.makeUserAuthentication(self))
