"""Binds the port of one listener and hands its connections to a server.

From the socket inwards: the door (who may come in, how many), a PROXY header where one is due, TLS where every
connection starts with it, the server.
It knows no protocol.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IDelayedCall,
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.logger import Logger
from zope.interface import implementer

from ..config.document import Listener
from ..errors import Invalid
from ..interfaces import IPrivateServer, IServer
from ..networks import PRIVATE_NETWORKS, AddressRule, Networks, countedAs
from ..vocabulary import Problem
from ._port import IDoor, listenTCP
from .bulktls import BulkTLSFactory
from .proxy import Header, HeaderReader, ProxyPolicy

RETRY_SECONDS = 5.0
"""Between attempts to bind a port that is taken."""

MOST_CONNECTIONS = 10_000
"""Of one listener."""

MOST_CONNECTIONS_OF_A_SOURCE = 2_500
"""Of one listener, from one address (IPv6: one /64): nobody may keep all others out."""

MOST_TOLD = 1000
"""So many different refusals are remembered, so that none is logged twice."""

LAST_WORDS_SECONDS = 1.0
"""What a server that ends its connections has to send its last words, before they are cut."""

ALL_ADDRESSES = ("0.0.0.0", "::")

_WITHOUT_IPV6 = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}


@implementer(IDoor)
@define(eq=False)
class Door:
    """Decides by a client's address, before any byte of its own, and counts who is in.

    The client of a connection that comes through a trusted proxy is whom its PROXY header names. Until that has come
    the connection counts as the proxy's.

    :ivar name: the listener's, for the log.
    :ivar policy: which connections start with a PROXY header; :meth:`believe` changes it.
    :ivar refuses: why an address may not come in now; "" where it may.
    :ivar isProbe: whether an address is of somebody who only looks whether the port answers.
    :ivar inside: the transports of the connections that stand.
    """

    name: str
    _inner: IProtocolFactory
    rule: AddressRule
    policy: ProxyPolicy
    refuses: Callable[[str], str]
    isProbe: Callable[[str], bool]
    _clock: IReactorTime
    _most: int
    _mostOfASource: int
    asked: int = field(default=0, init=False)
    inside: set[Any] = field(factory=set, init=False)
    _sources: Counter[str] = field(factory=Counter, init=False)
    _ports: int = field(default=0, init=False)
    _waiting: list[Deferred[None]] = field(factory=list, init=False)
    _told: set[tuple[str, str]] = field(factory=set, init=False)
    _log = Logger()

    def believe(self, policy: ProxyPolicy) -> None:
        if policy != self.policy:
            self.policy = policy
            self._told.clear()

    def doStart(self) -> None:
        self._ports += 1
        if self._ports == 1:
            self._inner.doStart()

    def doStop(self) -> None:
        self._ports -= 1
        if self._ports == 0:
            self._inner.doStop()

    def buildProtocol(self, addr: Any) -> IProtocol | None:
        self.asked += 1
        if not self.policy.admits(addr.host):
            self._tell(addr.host, "it is none of the trusted proxies")
            return None
        if len(self.inside) >= self._most or self._sources[countedAs(addr.host)] >= self._mostOfASource:
            return None
        if self.policy.expects(addr.host):
            return HeaderReader(self._clock, self._known, self._notKnown)
        return self._inner.buildProtocol(addr) if self._mayEnter(addr.host) else None

    def _mayEnter(self, host: str) -> bool:
        return self.rule.admits(host) and not self.refuses(host)

    def _known(self, transport: Any, header: Header) -> IProtocol | None:
        """A PROXY header has come."""
        self._uncount(transport)
        transport.isFrom(header)
        self._sources[countedAs(transport.getPeer().host)] += 1
        host = transport.getPeer().host
        if self._sources[countedAs(host)] > self._mostOfASource or not self._mayEnter(host):
            return None
        return self._inner.buildProtocol(transport.getPeer())

    def _notKnown(self, transport: Any, why: str) -> None:
        self._tell(transport.getPeer().host, why)

    def _tell(self, address: str, why: str) -> None:
        """Somebody who connects in vain again and again is told of once, and nobody who only looks whether the port
        answers."""
        if not why or (address, why) in self._told or self.isProbe(address):
            return
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        self._told.add((address, why))
        text = "listener {name}: refused a connection from {address!r}: {why}"
        self._log.warn(text, name=self.name, address=address, why=why)

    def came(self, transport: Any) -> None:
        self.inside.add(transport)
        self._sources[countedAs(transport.getPeer().host)] += 1

    def _uncount(self, transport: Any) -> None:
        source = countedAs(transport.getPeer().host)
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]

    def went(self, transport: Any) -> None:
        if transport in self.inside:
            self.inside.remove(transport)
            self._uncount(transport)
        if not self.inside:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

    def whenEmpty(self) -> Deferred[None]:
        """Fires when nobody is inside."""
        empty: Deferred[None] = Deferred()
        if self.inside:
            self._waiting.append(empty)
        else:
            empty.callback(None)
        return empty


@define(eq=False, kw_only=True)
class ListenerService:
    """One listener of the document, on this node.

    :param refuses: why a client's address may not come in now; "" where it may. Asked for each connection.
    :param isProbe: whether an address is of somebody who only looks whether ports answer, and is not to be told of.
    :ivar listener: as it is served now.
    :ivar problem: what keeps it from being served as it should be, or ``None``; tried again every some seconds.
    """

    listener: Listener
    _server: IServer
    _reactor: Any
    _bindAddress: str
    _tls: IOpenSSLServerConnectionCreator | None
    _refuses: Callable[[str], str]
    _isProbe: Callable[[str], bool]
    _mostConnections: int = MOST_CONNECTIONS
    _mostOfASource: int = MOST_CONNECTIONS_OF_A_SOURCE
    _listen: Callable[[Any, int, IDoor, str], IListeningPort] = listenTCP
    problem: str | None = field(default=None, init=False)
    _bound: dict[str, IListeningPort] = field(factory=dict, init=False)
    _door: Door = field(init=False)
    _retry: IDelayedCall | None = field(default=None, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        """:raises Invalid: for networks that are none."""
        rule, policy = self._rules(self.listener)
        self._door = Door(
            name=self.name,
            inner=self._behindTheDoor(),
            rule=rule,
            policy=policy,
            refuses=self._refuses,
            isProbe=self._isProbe,
            clock=self._reactor,
            most=self._mostConnections,
            mostOfASource=self._mostOfASource,
        )

    @property
    def name(self) -> str:
        return self.listener.name

    @property
    def ready(self) -> bool:
        """Whether clients can come in, on one address at least."""
        return bool(self._bound)

    @property
    def port(self) -> int:
        """The port that is bound; the listener's while none is."""
        for bound in self._bound.values():
            address: Any = bound.getHost()
            return int(address.port)
        return self.listener.port

    @property
    def connections(self) -> int:
        return len(self._door.inside)

    def _behindTheDoor(self) -> IProtocolFactory:
        if not self._server.implicitTLS:
            return self._server
        # A server may make its TLS connections by itself.
        tls = IOpenSSLServerConnectionCreator(self._server, self._tls)
        assert tls is not None, "this server needs a certificate"
        return BulkTLSFactory(tls, False, self._server, self._reactor)

    def _rules(self, listener: Listener) -> tuple[AddressRule, ProxyPolicy]:
        problems = []
        lists = {"allow": listener.allow, "deny": listener.deny, "trustedProxies": listener.trustedProxies}
        if not listener.allow and IPrivateServer.providedBy(self._server):
            lists["allow"] = PRIVATE_NETWORKS
        networks = {}
        for key, texts in lists.items():
            try:
                networks[key] = Networks.parse(texts)
            except ValueError as error:
                problems.append(Problem(key, str(error)))
        if problems:
            raise Invalid(problems)
        policy = ProxyPolicy(listener.proxyProtocol, networks["trustedProxies"])
        return AddressRule(networks["allow"], networks["deny"]), policy

    # --- the socket

    def start(self) -> Deferred[None]:
        """Bind; where that does not go, it is a problem, and tried again until :meth:`stop`."""
        self._bind()
        return succeed(None)

    def _bind(self) -> None:
        self._retry = None
        problems = []
        for address in (self._bindAddress,) if self._bindAddress else ALL_ADDRESSES:
            if address not in self._bound:
                try:
                    self._bound[address] = self._listen(self._reactor, self.port, self._door, address)
                except (CannotListenError, OSError) as error:
                    cause = error.socketError if isinstance(error, CannotListenError) else error
                    if not (address == "::" and not self._bindAddress and cause.errno in _WITHOUT_IPV6):
                        problems.append(self._explain(cause, address))
        self._tell(problems[0] if problems else None)
        if problems:
            self._retry = self._reactor.callLater(RETRY_SECONDS, self._bind)

    def _explain(self, error: OSError, address: str) -> str:
        if error.errno == errno.EADDRINUSE:
            return f"port {self.port} is in use"
        if error.errno == errno.EACCES:
            return f"port {self.port} needs privileges"
        if error.errno in _WITHOUT_IPV6:
            return f"address {address} is not of this machine"
        return f"cannot listen on port {self.port}: {error.strerror or error}"

    def _tell(self, problem: str | None) -> None:
        if problem is None:
            self._log.info("listener {name}: listening on port {port}", name=self.name, port=self.port)
        elif problem != self.problem:
            self._log.warn("listener {name}: {problem}", name=self.name, problem=problem)
        self.problem = problem

    # --- changes, and the end

    def reconfigure(self, listener: Listener, config: Any) -> Deferred[None]:
        """Take another value of the same listener and its options; connections that stand stay.

        Port and kind must be the same: for others, make another service. Fails with ``Invalid``.
        """
        return Deferred.fromCoroutine(self._reconfigure(listener, config))

    async def _reconfigure(self, listener: Listener, config: Any) -> None:
        rule, policy = self._rules(listener)
        await self._server.reconfigure(config)
        self._door.rule = rule
        self._door.believe(policy)
        self.listener = listener

    def drain(self) -> Deferred[None]:
        """Have the server refuse new sessions politely; the port stays bound. Fires when the last session is gone."""
        return self._server.drain()

    def resume(self) -> None:
        """Have the server take sessions again."""
        self._server.resume()

    def disconnect(self) -> None:
        """End the sessions that stand; the port stays bound."""
        self._server.disconnect()

    def stopListening(self) -> Deferred[None]:
        """Let go of the port; connections stay. Idempotent."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        bound, self._bound = self._bound, {}
        closing = [maybeDeferred(each.stopListening) for each in bound.values()]
        return gatherResults(closing).addCallback(lambda results: None)

    def stop(self) -> Deferred[None]:
        """Let go of the port, and end what is left; fires when the last connection is gone."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self.stopListening()
        self._server.disconnect()
        hurry = self._reactor.callLater(LAST_WORDS_SECONDS, self._abort)
        await self._door.whenEmpty()
        if hurry.active():
            hurry.cancel()

    def _abort(self) -> None:
        for transport in list(self._door.inside):
            transport.abortConnection()
