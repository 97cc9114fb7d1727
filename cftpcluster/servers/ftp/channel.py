"""How data connections come about (RFC 959, section 3.3; RFC 2428): passive ports and active dialling.

What RFC 2577 warns of is impossible here: a passive port takes one connection, from the client's own address only, and
only that address is ever dialled. Behind a proxy that is the address which a PROXY header names; dialling goes to the
client directly. Nothing here knows a command or a file.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...networks import parseAddress
from ..proxy import Header, HeaderReader, ProxyPolicy
from .data import DataConnection
from .options import FTPOptions
from .protection import overTLS
from .replies import Refusal

log = Logger()

CONNECT_SECONDS = 30.0
"""How long a transfer waits for its data connection, and a passive port for a connection or a transfer."""

PORTS_TRIED = 200


class _DataFactory(Factory):
    """Gives what serves a data connection.

    :ivar policy: which connections start with a PROXY header.
    """

    noisy = False

    def __init__(self, channel: DataChannel, policy: ProxyPolicy, clock: IReactorTime) -> None:
        self._channel = channel
        self._policy = policy
        self._clock = clock
        self._readers: set[HeaderReader] = set()

    def buildProtocol(self, address: IAddress | None) -> Protocol | None:
        host = getattr(address, "host", "")
        if not self._policy.admits(host):
            return None
        if not self._policy.expects(host):
            return self._channel.admit(host, self)
        reader = HeaderReader(
            self._clock,
            lambda transport, header: self._known(reader, transport, header),
            lambda transport, why: self._notKnown(reader, transport, why),
        )
        self._readers.add(reader)
        return reader

    def _known(self, reader: HeaderReader, transport: Any, header: Header) -> Protocol | None:
        self._readers.discard(reader)
        host = header.source.host if header.source else transport.getPeer().host
        return self._channel.admit(host, self)

    def _notKnown(self, reader: HeaderReader, transport: Any, why: str) -> None:
        self._readers.discard(reader)
        if why:
            host = transport.getPeer().host
            log.info("refused a data connection from {address!r}: {why}", address=host, why=why)

    def forget(self) -> None:
        """Nobody is waited for any more."""
        readers, self._readers = self._readers, set()
        for reader in readers:
            reader.abort()


@define(eq=False)
class DataChannel:
    """Where the next data connection of a session comes from.

    States: *closed*, *listening* or *aimed* (PORT), *connected*; :meth:`take` gives the connection away and closes.

    :ivar client: the address that data connections may come from or go to.
    :ivar local: the address of this end of the control connection, as the client sees it.
    :ivar machineAddress: the same end's address on this machine; another one where a proxy stands between.
    :ivar policy: whether passive data connections come through proxies, too, asked when a port is opened.
    :ivar bindAddress: where to listen if ``machineAddress`` cannot be bound; "" for all addresses.
    :ivar listenOn: opens a port, as :func:`._port.listenOnce` does.
    :ivar private: whether data connections are to speak TLS, asked when one is made; close the channel when it changes.
    """

    client: str
    local: str
    _machineAddress: str
    _policy: Callable[[], ProxyPolicy]
    _bindAddress: str
    _options: FTPOptions
    _reactor: Any
    _random: Random
    _listenOn: Callable[[Any, int, IProtocolFactory, str], IListeningPort]
    _dataTLS: Any
    _private: Callable[[], bool]
    _factory: _DataFactory | None = field(default=None, init=False)
    _port: IListeningPort | None = field(default=None, init=False)
    _target: tuple[str, int] | None = field(default=None, init=False)
    _connection: DataConnection | None = field(default=None, init=False)
    _isOpen: bool = field(default=False, init=False)
    _dialling: Deferred[Any] | None = field(default=None, init=False)
    _taker: Deferred[DataConnection] | None = field(default=None, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _refusal: Refusal | None = field(default=None, init=False)

    @property
    def isSixth(self) -> bool:
        """Whether the control connection runs over IPv6."""
        return parseAddress(self.local).version == 6

    @property
    def isPrepared(self) -> bool:
        """Whether a transfer can get a connection, or be told why its client's was refused."""
        return any(each is not None for each in (self._port, self._target, self._connection, self._refusal))

    def close(self) -> None:
        """Let go of port, target and connection; a transfer that waits for it gets a refusal."""
        self._stopTimer()
        self._stopListening()
        self._factory = self._target = self._refusal = None
        connection, self._connection, self._isOpen = self._connection, None, False
        if connection is not None:
            connection.abort()
        dialling, self._dialling = self._dialling, None
        if dialling is not None:
            dialling.cancel()
        taker, self._taker = self._taker, None
        if taker is not None:
            taker.errback(Refusal(425, "No data connection was made"))

    # --- prepared by the client

    def listen(self) -> int:
        """Listen on a port of the range; gives it. ``Refusal`` where none is free."""
        self.close()
        factory = _DataFactory(self, self._policy(), self._reactor)
        for number in self._someNumbers():
            port = self._listen(number, factory)
            if port is not None:
                self._port, self._factory = port, factory
                self._startTimer()
                return number
        raise Refusal(425, "No port is free for a data connection, try again")

    def _someNumbers(self) -> Iterator[int]:
        """Ports of the range, none of them twice. Nobody can foresee them, so each is a question to the kernel: mostly
        the first one is free."""
        ports, tried = self._options.ports, set[int]()
        while len(tried) < min(len(ports), PORTS_TRIED):
            number = self._random.choice(ports)
            if number not in tried:
                tried.add(number)
                yield number

    def _listen(self, number: int, factory: _DataFactory) -> IListeningPort | None:
        for address in (self._machineAddress, self._bindAddress):
            try:
                return self._listenOn(self._reactor, number, factory, address)
            except CannotListenError as error:
                if getattr(error.socketError, "errno", None) != errno.EADDRNOTAVAIL:
                    return None
        return None

    def aim(self, port: int) -> None:
        """Dial this port of the client when a transfer starts."""
        self.close()
        self._target = self.client, port

    # --- made

    def admit(self, host: str, factory: _DataFactory) -> Protocol | None:
        """What serves a connection from ``host``; ``None`` for one that nobody asked for."""
        if factory is not self._factory or self._connection is not None or not self._isClient(host):
            return None
        # From here on the connection itself is what close() ends.
        self._dialling = None
        secured = self._private()
        connection = self._connection = DataConnection(
            secured=secured,
            requireCloseNotify=self._options.requireCloseNotify,
            opened=self._opened,
            lost=self._lost,
        )
        self._stopListening()
        return overTLS(connection, self._dataTLS, self._reactor) if secured else connection

    def _isClient(self, host: str) -> bool:
        try:
            return host == self.client or parseAddress(host) == parseAddress(self.client)
        except ValueError:
            return False

    def _opened(self, connection: DataConnection) -> None:
        if connection is self._connection:
            if self._options.tlsSessionReuse == "required" and connection.secured and not connection.isResumed:
                self._refuse(Refusal(522, "The data connection must resume the TLS session of this one"))
                return
            self._isOpen = True
            self._stopTimer()
            self._give()

    def _refuse(self, refusal: Refusal) -> None:
        """Close; the transfer that waits, or else the next one, is told why."""
        taker, self._taker = self._taker, None
        self.close()
        if taker is not None:
            taker.errback(refusal)
        else:
            self._refusal = refusal

    def _lost(self, connection: DataConnection) -> None:
        """One that was open is kept for its transfer: an empty upload may have ended before its command came."""
        if connection is self._connection and not self._isOpen:
            self.close()

    # --- taken

    def take(self) -> Deferred[DataConnection]:
        """The open connection, as soon as there is one; fails with a ``Refusal`` when there is none in time."""
        taker = self._taker = Deferred()
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif not self.isPrepared:
            self.close()
        elif not self._give():
            self._startTimer()
            if self._target is not None:
                self._dial(*self._target)
        return taker

    def _give(self) -> bool:
        if self._taker is None or not self._isOpen:
            return False
        taker, self._taker = self._taker, None
        connection, self._connection, self._isOpen = self._connection, None, False
        self.close()
        assert connection is not None
        taker.callback(connection)
        return True

    def _dial(self, host: str, port: int) -> None:
        endpointClass = TCP6ClientEndpoint if self.isSixth else TCP4ClientEndpoint
        # Behind a proxy the client may be of another family than this machine's end.
        isReachable = parseAddress(host).version == parseAddress(self._machineAddress).version
        source = (self._machineAddress, 0) if isReachable else None
        endpoint = endpointClass(self._reactor, host, port, CONNECT_SECONDS, source)
        self._factory = _DataFactory(self, ProxyPolicy(), self._reactor)
        self._dialling = endpoint.connect(self._factory)
        self._dialling.addErrback(self._notDialled)

    def _notDialled(self, reason: Failure) -> None:
        if self._dialling is not None:
            self._dialling = None
            self.close()

    # --- time and ports

    def _startTimer(self) -> None:
        self._stopTimer()
        self._timer = self._reactor.callLater(CONNECT_SECONDS, self._timedOut)

    def _stopTimer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _timedOut(self) -> None:
        self._timer = None
        self.close()

    def _stopListening(self) -> None:
        port, self._port = self._port, None
        if self._factory is not None:
            self._factory.forget()
        if port is not None:
            _ = maybeDeferred(port.stopListening).addErrback(
                lambda reason: log.failure("could not close a passive port", failure=reason)
            )
