"""The server of one FTP listener: its sessions, and how they come and go with its configuration."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from random import Random, SystemRandom
from typing import Any
from weakref import WeakKeyDictionary

from attrs import define, field, frozen
from OpenSSL import SSL
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IAddress, IListeningPort, IOpenSSLServerConnectionCreator, IProtocolFactory
from twisted.plugin import IPlugin, getPlugins
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from ...config.document import Listener, Settings
from ...errors import Invalid
from ...events import Notify
from ...interfaces import IServer, IServerFactory, ISiteCommand
from ...networks import parseAddress
from ...vocabulary import Problem
from ..proxy import policyOf, socketHost
from . import sites
from ._port import listenOnce
from .channel import DataChannel
from .control import ControlConnection
from .options import FTPOptions
from .session import Command, Session

HURRY_SECONDS = 10.0
"""So long after a drain began a session is ended between two commands, not only when its client pauses."""

_SESSION_BITS = 128


def plainAddress(host: str) -> str:
    """An IPv4 address in IPv6 clothing, which sockets for both give, as the IPv4 address; others as they are."""
    try:
        parsed = parseAddress(host)
    except ValueError:
        return host
    return str(parsed) if parsed.version == 4 else host


@implementer(IServer, IOpenSSLServerConnectionCreator)
@define(eq=False)
class FTPServer:
    """Serves the control connections of one listener.

    :ivar options: those of new sessions.
    :ivar now: the time of day, seconds since the epoch.
    :ivar siteCommands: what plug-ins answer after SITE, by verb.
    :ivar listenOn: opens a passive port.
    :ivar isDraining: whether it takes no new work.
    """

    options: FTPOptions
    listener: str
    reactor: Any
    portal: Portal
    tls: Any
    bindAddress: str
    random: Random
    now: Callable[[], float]
    siteCommands: Mapping[str, ISiteCommand] = field(factory=dict)
    listenOn: Callable[[Any, int, IProtocolFactory, str], IListeningPort] = listenOnce
    isDraining: bool = field(default=False, init=False)
    connections: set[ControlConnection] = field(factory=set, init=False)
    _contexts: WeakKeyDictionary[SSL.Connection, SSL.Context] = field(factory=WeakKeyDictionary, init=False)
    _hurriesAt: float = field(default=0.0, init=False)
    _drained: list[Deferred[None]] = field(factory=list, init=False)

    @property
    def implicitTLS(self) -> bool:
        return self.options.implicit

    # --- connections

    def doStart(self) -> None:
        """A port was opened."""

    def doStop(self) -> None:
        """A port was closed; sessions go on."""

    def buildProtocol(self, address: IAddress) -> ControlConnection:
        return ControlConnection(self)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """A control connection's end of TLS."""
        reuse, profile = self.options.tlsSessionReuse, self.options.profile
        if reuse == "optional":
            context = self.tls.context(profile)
        else:
            # Nobody but this client's own connections can resume what was made here.
            context = self.tls.contextApart(profile)
        if reuse == "required":
            # Clients without tickets (curl, with TLS 1.2) have the server remember.
            context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
        elif reuse == "off":
            context.set_options(SSL.OP_NO_TICKET)
        connection = SSL.Connection(context, None)
        # The name that a client asks for may choose another one; sessions stay this one's.
        self._contexts[connection] = context
        return connection

    def newSession(self, control: ControlConnection, commands: Mapping[str, Command]) -> Session:
        """The session of a connection that was just made."""
        self.connections.add(control)
        transport: Any = control.transport
        client, local = plainAddress(transport.getPeer().host), plainAddress(transport.getHost().host)
        machine = plainAddress(socketHost(transport).host)
        session = Session(
            id=f"{self.random.getrandbits(_SESSION_BITS):032x}",
            client=client,
            listener=self.listener,
            options=self.options,
            control=control,
            reactor=self.reactor,
            now=self.now,
            portal=self.portal,
            commands=commands,
            siteCommands=self.siteCommands,
            random=self.random,
            sized=control.secured,
            private=control.secured,
        )
        session.data = DataChannel(
            client=client,
            local=local,
            machineAddress=machine,
            policy=lambda: policyOf(transport),
            bindAddress=self.bindAddress,
            options=session.options,
            reactor=self.reactor,
            random=self.random,
            listenOn=self.listenOn,
            dataTLS=_Resuming(transport, self._contexts),
            private=lambda: session.private,
        )
        return session

    def ended(self, control: ControlConnection) -> None:
        """A session is over."""
        self.connections.discard(control)
        if not self.connections:
            self._tellDrained()

    def _tellDrained(self) -> None:
        drained, self._drained = self._drained, []
        for waiting in drained:
            waiting.callback(None)

    @property
    def isInAHurry(self) -> bool:
        """Whether it drains, and has waited long enough for clients to pause."""
        return self.isDraining and bool(self.reactor.seconds() >= self._hurriesAt)

    # --- IServer

    def reconfigure(self, config: FTPOptions) -> Deferred[None]:
        if config.implicit != self.options.implicit:
            return fail(Invalid([Problem("implicit", "cannot change while the listener runs")]))
        self.options = config
        return succeed(None)

    def drain(self) -> Deferred[None]:
        if not self.isDraining:
            self.isDraining, self._hurriesAt = True, self.reactor.seconds() + HURRY_SECONDS
        for control in list(self.connections):
            control.drain()
        if not self.connections:
            return succeed(None)
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        return drained

    def resume(self) -> None:
        self.isDraining = False
        for control in list(self.connections):
            control.resume()
        self._tellDrained()

    def disconnect(self) -> None:
        for control in list(self.connections):
            control.disconnect()


@implementer(IOpenSSLServerConnectionCreator)
@frozen
class _Resuming:
    """Makes data connections that can resume the session of a control connection.

    :ivar _control: the control connection's transport.
    :ivar _contexts: what its end of TLS was made with.
    """

    _control: Any
    _contexts: Mapping[SSL.Connection, SSL.Context]

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        context = self._contexts[self._control.getHandle()]
        if context.get_session_cache_mode() != SSL.SESS_CACHE_OFF:
            # The control connection's session is remembered, and nothing else: data connections come without end.
            # pyOpenSSL lets nobody change what is in use.
            mode = SSL.SESS_CACHE_SERVER | SSL.SESS_CACHE_NO_INTERNAL_STORE
            SSL._lib.SSL_CTX_set_session_cache_mode(context._context, mode)  # type: ignore[attr-defined]
        return SSL.Connection(context, None)


@implementer(IServerFactory, IPlugin)
class FTPServerFactory:
    kind = "ftp"
    summary = "FTP and FTPS, explicit or implicit"
    configClass = FTPOptions
    needsTLS = True

    def build(
        self,
        config: FTPOptions,
        *,
        listener: Listener,
        reactor: Any,
        portal: Portal,
        tls: Any,
        hostKeys: Callable[[], Sequence[bytes]],
        sessionKeys: Callable[[], Sequence[bytes]],
        settings: Callable[[], Settings],
        notify: Notify,
        bindAddress: str,
        pool: ThreadPool,
    ) -> IServer:
        return FTPServer(
            options=config,
            listener=listener.name,
            reactor=reactor,
            portal=portal,
            tls=tls,
            bindAddress=bindAddress,
            random=SystemRandom(),
            now=time.time,
            siteCommands=sites.gather(getPlugins(ISiteCommand)),
        )


ftpServerFactory = FTPServerFactory()
