"""The agreement on keys (RFC 4253, sections 7 to 9; RFC 8308; strict key exchange of OpenSSH's PROTOCOL, section 1.9).

Twisted's Conch does the arithmetic. Each direction changes its keys by itself, so that neither waits longer than it has
to: what we send waits from our KEXINIT to our NEWKEYS, and what the client sends is limited from its KEXINIT to its
NEWKEYS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import (
    DISCONNECT_KEY_EXCHANGE_FAILED,
    MSG_DEBUG,
    MSG_EXT_INFO,
    MSG_IGNORE,
    MSG_KEXDH_INIT,
    MSG_KEXINIT,
    MSG_NEWKEYS,
    MSG_UNIMPLEMENTED,
    SSHServerTransport,
)
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ._quiet import quietLogger
from .ciphers import Opener, makeOpener, makeSealer
from .hostkeys import HostKeys
from .negotiation import USER_KEY_ALGORITHMS, Agreement, ClientOffer, makeKexInit
from .stream import Incoming, Outgoing
from .wire import names, string, uint32

EXCHANGE_SECONDS = 300
"""How long a key exchange may take on a slow line whose buffers are full."""

MEANINGLESS = frozenset({MSG_IGNORE, MSG_DEBUG, MSG_UNIMPLEMENTED})


class ProtocolError(Exception):
    """The peer broke the protocol; the text is told to it."""


@frozen
class TransportOptions:
    """
    :ivar graceSeconds: from the connection to the log-in.
    :ivar rekeyBytes: new keys after so many bytes in one direction.
    :ivar rekeySeconds: new keys after so long.
    :ivar isQuiet: whether nothing is to be told of the connection's end.
    """

    graceSeconds: float
    rekeyBytes: int
    rekeySeconds: float
    isQuiet: bool = False


class KeyExchanging(SSHServerTransport):
    """The half of a transport that agrees on keys.

    :ivar refusal: when not empty, the client is told so and disconnected as soon as it listens.
    """

    transport: Any  # TCP, or what stands for it
    _log = quietLogger()

    def __init__(self, reactor: IReactorTime, hostKeys: HostKeys, options: TransportOptions) -> None:
        self.reactor = reactor
        self.options = options
        self.refusal = b""
        self._hostKeys = hostKeys
        self._incoming = Incoming()
        self._outgoing = Outgoing()
        self._agreement: Agreement | None = None
        self._nextOpener: Opener | None = None
        self._expected: int | None = MSG_KEXINIT  # what must come next, during the client's part of a key exchange
        self._strict = False
        self._keyed = False
        self._exchangeBlocks = False  # during our part of a key exchange
        self._blocked: list[tuple[int, bytes]] = []
        self._ended = False
        self._exchange: IDelayedCall | None = None

    def sendGoodbye(self, text: bytes) -> None:
        """Disconnect a client that did nothing wrong."""
        raise NotImplementedError

    def _resumeSending(self) -> None:
        """Our part of a key exchange is over."""
        raise NotImplementedError

    def _belongsToExchange(self, number: int) -> bool:
        """Whether a message, which comes between the peer's KEXINIT and its NEWKEYS, is to be looked at."""
        if self.ignoreNextPacket and 30 <= number < 50:
            self.ignoreNextPacket = False
            return False
        if number == self._expected:
            return True
        if number in MEANINGLESS and not (self._strict and not self._keyed):
            return False
        raise ProtocolError("unexpected message during key exchange")

    def _startExchange(self) -> None:
        if not self._exchangeBlocks and self._expected is None and not self._ended:
            self.sendKexInit()

    def sendKexInit(self) -> None:
        self.ourKexInitPayload = makeKexInit(self._hostKeys.algorithms, first=not self._keyed)
        self._exchangeBlocks = True
        self.sendPacket(MSG_KEXINIT, self.ourKexInitPayload[1:])
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
        agreement = ClientOffer.read(packet).agree(self._hostKeys.algorithms)
        if agreement is None:
            self.sendDisconnect(DISCONNECT_KEY_EXCHANGE_FAILED, b"no common algorithms")
            return
        if not self._keyed:
            self._strict = agreement.strict
            if self._strict and self._incoming.sequence:
                raise ProtocolError("KEXINIT was not the first packet")
            if self.refusal:
                self.sendGoodbye(self.refusal)
                return
        self._agreement = agreement
        self.kexAlg, self.keyAlg = agreement.exchange, agreement.hostKey
        self.ignoreNextPacket = agreement.wrongGuess
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

        agreement = self._agreement
        assert agreement is not None
        self._nextOpener = makeOpener(*agreement.toServer, keysOf({b"iv": b"A", b"key": b"C", b"mac": b"E"}))
        sealer = makeSealer(*agreement.toClient, keysOf({b"iv": b"B", b"key": b"D", b"mac": b"F"}))
        self.sendPacket(MSG_NEWKEYS, b"")
        self._outgoing.useKeys(sealer, restart=self._strict)
        self._exchangeBlocks = False
        if not self._keyed and agreement.extensions:
            self.sendPacket(MSG_EXT_INFO, uint32(1) + string(b"server-sig-algs") + names(USER_KEY_ALGORITHMS))
        blocked, self._blocked = self._blocked, []
        for messageType, payload in blocked:
            self.sendPacket(messageType, payload)
        self._resumeSending()

    def ssh_NEWKEYS(self, packet: bytes) -> None:
        if packet or self._nextOpener is None:
            raise ProtocolError("bad NEWKEYS")
        self._incoming.useKeys(self._nextOpener, restart=self._strict)
        self._nextOpener = None
        self._keyed = True
        self._expected = None
        self._startTimer(self.options.rekeySeconds, self._startExchange)
