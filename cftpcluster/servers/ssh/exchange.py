"""The agreement on keys (RFC 4253, sections 7 to 9; RFC 8308; strict key exchange of OpenSSH's PROTOCOL, section 1.9).

Each direction changes its keys by itself, so that neither waits longer than it has
to: what we send waits from our KEXINIT to our NEWKEYS, and what the client sends is limited from its KEXINIT to its
NEWKEYS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.conch.ssh.transport import (
    DISCONNECT_KEY_EXCHANGE_FAILED,
    MSG_DEBUG,
    MSG_EXT_INFO,
    MSG_IGNORE,
    MSG_KEXDH_INIT,
    MSG_KEXDH_REPLY,
    MSG_KEXINIT,
    MSG_NEWKEYS,
    MSG_UNIMPLEMENTED,
    SSHServerTransport,
)
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ._quiet import quietLogger
from .arithmetic import KEY_EXCHANGES, Shared, Work
from .ciphers import Opener, makeOpener, makeSealer
from .hostkeys import HostKeys
from .negotiation import USER_KEY_ALGORITHMS, Agreement, ClientOffer, Offer
from .stream import Incoming, Outgoing
from .turns import Turns
from .wire import Reader, names, string, uint32

EXCHANGE_SECONDS = 300
"""How long a key exchange may take on a slow line whose buffers are full."""

LAST_SEQUENCE = 0xFFFFFFFF

MEANINGLESS = frozenset({MSG_IGNORE, MSG_DEBUG, MSG_UNIMPLEMENTED})


class ProtocolError(Exception):
    """The peer broke the protocol; the text is told to it."""


@frozen
class TransportOptions:
    """
    :ivar graceSeconds: from the connection to the log-in.
    :ivar rekeyBytes: new keys after so many bytes in one direction.
    :ivar rekeySeconds: new keys after so long.
    :ivar legacy: whether algorithms are offered that are there for old clients only.
    :ivar isQuiet: whether nothing is to be told of the connection's end.
    """

    graceSeconds: float
    rekeyBytes: int
    rekeySeconds: float
    legacy: bool = False
    isQuiet: bool = False


class KeyExchanging(SSHServerTransport):
    """The half of a transport that agrees on keys.

    :ivar hostKeys: what this server proves itself with, on this connection.
    :ivar refusal: when not empty, the client is told so and disconnected as soon as it listens.
    """

    transport: Any  # TCP, or what stands for it
    _log = quietLogger()

    def __init__(
        self, reactor: IReactorTime, hostKeys: HostKeys, options: TransportOptions, turns: Turns, source: str
    ) -> None:
        self.reactor = reactor
        self.options = options
        self.refusal = b""
        self.hostKeys = hostKeys
        self._turns = turns
        self._source = source
        self._offer = Offer.of(hostKeys.algorithms, options.legacy)
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

    def hold(self) -> None:
        """Look at no further message until :meth:`release`."""
        raise NotImplementedError

    def release(self) -> None:
        raise NotImplementedError

    def _resumeSending(self) -> None:
        """Our part of a key exchange is over."""
        raise NotImplementedError

    def _belongsToExchange(self, number: int) -> bool:
        """Whether a message, which comes between the peer's KEXINIT and its NEWKEYS, is to be looked at."""
        if not self._keyed and self._incoming.sequence == LAST_SEQUENCE:
            # Numbers that start over before there are keys are how messages are cut out unnoticed.
            raise ProtocolError("too many messages before the first keys")
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
        self.ourKexInitPayload = self._offer.kexInit(first=not self._keyed)
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
        agreement = self._offer.agree(ClientOffer.read(packet))
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
        assert self._agreement is not None
        self._expected = MSG_NEWKEYS
        exchange = KEY_EXCHANGES[self._agreement.exchange]
        work = exchange.work(Reader(packet).string())
        isHeld = False

        def piece() -> bool:
            isUnfinished = not self._ended and self._goOn(work)
            if isHeld and not isUnfinished:
                self.release()
            return isUnfinished

        if not self._turns.take(self._source, piece, exchange.isHeavy):
            isHeld = True
            self.hold()

    def _goOn(self, work: Work) -> bool:
        """Do the next piece of a key exchange; whether there is another."""
        try:
            next(work)
        except StopIteration as finished:
            self._reply(finished.value)
            return False
        except ValueError:
            self.sendDisconnect(DISCONNECT_KEY_EXCHANGE_FAILED, b"bad key exchange value")
            return False
        return True

    def _reply(self, shared: Shared) -> None:
        assert self._agreement is not None
        identity = self.hostKeys.signer(self._agreement.hostKey)
        texts = (self.otherVersionString, self.ourVersionString, self.otherKexInitPayload, self.ourKexInitPayload)
        hashed = b"".join(map(string, (*texts, identity.blob))) + shared.client + shared.server + shared.secret
        exchangeHash = KEY_EXCHANGES[self._agreement.exchange].digest(hashed).digest()
        signature = identity.sign(self._agreement.hostKey, exchangeHash)
        self.sendPacket(MSG_KEXDH_REPLY, string(identity.blob) + shared.server + string(signature))
        self._keySetup(shared.secret, exchangeHash)

    def _keySetup(self, sharedSecret: bytes, exchangeHash: bytes) -> None:
        if self.sessionID is None:
            self.sessionID = exchangeHash
        agreement, sessionID = self._agreement, self.sessionID
        assert agreement is not None
        digest = KEY_EXCHANGES[agreement.exchange].digest

        def keysOf(letters: dict[bytes, bytes]) -> Callable[[bytes, int], bytes]:
            def key(kind: bytes, size: int) -> bytes:
                made: bytes = digest(sharedSecret + exchangeHash + letters[kind] + sessionID).digest()
                while len(made) < size:
                    made += digest(sharedSecret + exchangeHash + made).digest()
                return made[:size]

            return key

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
