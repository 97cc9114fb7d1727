"""The server of one SFTP listener: its options, its connections, and how it drains. Binds no port."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.plugin import IPlugin
from zope.interface import implementer

from ...config.document import Listener
from ...events import Notify
from ...interfaces import IAccount, IServer, IServerFactory, IValidator
from ...networks import Networks, countedAs, parseAddress
from ...vocabulary import Origin, Problem
from .connection import Connection
from .exchange import TransportOptions
from .hostkeys import HostKeyring
from .transport import SSHTransport
from .turns import Turns
from .userauth import UserAuthentication
from .waiting import Visits, Waiting

LEAVING = b"this server is being taken out of service, try again"
IDLE_SECONDS = 2
"""How long a session of a draining server must have had nothing to do to be ended: longer than clients pause between
two files."""

LOGIN_SECONDS = 5
"""How long those may take to log in who came before a drain began."""

HURRY_SECONDS = 10
"""So long after a drain began a session is ended between two files, not only when its client pauses."""


@implementer(IValidator)
@frozen(kw_only=True)
class SFTPOptions:
    """Options of a listener of kind ``sftp``.

    :ivar passwords: whether passwords are taken, besides keys.
    :ivar loginSeconds: a client that has not logged in by then is disconnected.
    :ivar loginAttempts: so many refused log-ins end a connection.
    :ivar waitingConnections: clients that have not logged in, at most; beyond it the oldest of the address that has
        most of them goes.
    :ivar keepAliveSeconds: a client that says nothing is asked so often whether it is there; 0 for never.
    :ivar rekeyBytes: new keys are agreed on after so many bytes in one direction.
    :ivar rekeySeconds: and after this time.
    :ivar legacyAlgorithms: offer what old clients need, too: key exchange with ecdh-sha2-nistp256, -nistp384, -nistp521
        and diffie-hellman-group14-sha256, hmac-sha2-256 and -512 that are computed before encryption, and ECDSA host
        keys where there are some. SHA-1, MD5, CBC, 3DES and DSS are never offered.
    """

    passwords: bool = True
    loginSeconds: int = 30
    loginAttempts: int = 6
    waitingConnections: int = 500
    keepAliveSeconds: int = 60
    rekeyBytes: int = 1 << 30
    rekeySeconds: int = 3600
    legacyAlgorithms: bool = False

    def problems(self) -> Sequence[Problem]:
        bounds = {
            "loginSeconds": (1, 600),
            "loginAttempts": (1, 100),
            "waitingConnections": (1, 100_000),
            "keepAliveSeconds": (0, 86400),
            "rekeyBytes": (1 << 20, 1 << 36),
            "rekeySeconds": (10, 86400),
        }
        return [
            Problem(name, f"{getattr(self, name)} is not between {low} and {high}")
            for name, (low, high) in bounds.items()
            if not low <= getattr(self, name) <= high
        ]


@implementer(IServer)
class SSHServer(Factory[SSHTransport]):
    """
    :ivar randomBytes: makes so many unguessable bytes.
    :ivar turns: in which key exchanges come.
    :param isProbe: whether an address is of somebody who only looks whether the port answers.
    """

    implicitTLS = False
    noisy = False
    _log = Logger()

    def __init__(
        self,
        options: SFTPOptions,
        listener: str,
        reactor: Any,
        portal: Portal,
        hostKeys: Callable[[], Sequence[bytes]],
        notify: Notify,
        randomBytes: Callable[[int], bytes],
        isProbe: Callable[[str], bool],
    ) -> None:
        self.options = options
        self.randomBytes = randomBytes
        self.turns = Turns(reactor)
        self._isProbe = isProbe
        self._listener = listener
        self._reactor = reactor
        self._portal = portal
        self._keyring = HostKeyring(hostKeys)
        self._notify = notify
        self._waiting: Waiting[SSHTransport] = Waiting()  # not logged in
        self._visits = Visits(reactor)
        self._sessions: dict[SSHTransport, float | None] = {}  # logged in, and idle since when
        self._drained: Deferred[None] | None = None
        self._drainingSince = 0.0
        self._looking = LoopingCall(self._endIdle)
        self._looking.clock = reactor

    # --- connections

    def buildProtocol(self, addr: IAddress | None) -> SSHTransport:
        origin = Origin("sftp", _addressOf(addr), self._listener, self.randomBytes(16).hex())
        own = self.options
        isProbe = self._isProbe(origin.address)
        options = TransportOptions(own.loginSeconds, own.rekeyBytes, own.rekeySeconds, own.legacyAlgorithms, isProbe)
        keys = self._keyring.current(own.legacyAlgorithms)
        transport = SSHTransport(self, self._reactor, keys, origin, options)
        if self._drained is not None:
            transport.refusal = LEAVING
        return transport

    def connected(self, transport: SSHTransport) -> float:
        source = countedAs(transport.origin.address)
        present = self._waiting.add(transport, source)
        if len(self._waiting) > self.options.waitingConnections:
            self._waiting.popOldest().abort()
        return 0.0 if self._isProbe(transport.origin.address) else self._visits.waitSeconds(source, present)

    def makeUserAuthentication(self, transport: SSHTransport) -> UserAuthentication:
        return UserAuthentication(
            self._portal,
            lambda: Connection(self._reactor, self.options.keepAliveSeconds),
            self.options.loginAttempts,
            self.options.passwords,
            self._notify,
        )

    def loggedIn(self, transport: SSHTransport) -> None:
        self._waiting.discard(transport)
        self._sessions[transport] = None
        account: IAccount = transport.avatar.account
        _ = account.whenEnded().addCallback(
            lambda reason: transport.sendGoodbye(b"your session was ended: " + reason.encode("utf-8", "replace"))
        )

    def paused(self, transport: SSHTransport) -> None:
        """Everything that a client began is done."""
        if self._drained is not None and self._drainedSeconds() >= HURRY_SECONDS and not transport.busy:
            transport.sendGoodbye(LEAVING)

    def _drainedSeconds(self) -> float:
        return float(self._reactor.seconds() - self._drainingSince)

    def ended(self, transport: SSHTransport) -> None:
        if transport.avatar is None:
            self._visits.add(countedAs(transport.origin.address))
        self._waiting.discard(transport)
        self._sessions.pop(transport, None)
        self._checkDrained()

    # --- the server

    def reconfigure(self, config: SFTPOptions) -> Deferred[None]:
        self.options = config
        return succeed(None)

    def drain(self) -> Deferred[None]:
        if self._drained is None:
            self._drained, self._drainingSince = Deferred(), self._reactor.seconds()
            _ = self._looking.start(IDLE_SECONDS / 2).addErrback(
                lambda failure: self._log.failure("draining broke", failure)
            )
            self._checkDrained()
        answer: Deferred[None] = Deferred()
        _ = self._drained.chainDeferred(answer)
        return answer

    def resume(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.called:
            self._looking.stop()
            drained.callback(None)

    def _endIdle(self) -> None:
        now = self._reactor.seconds()
        if self._drainedSeconds() >= LOGIN_SECONDS:
            for transport in self._waiting:
                transport.sendGoodbye(LEAVING)
        for transport, idleSince in list(self._sessions.items()):
            if transport.busy:
                self._sessions[transport] = None
            elif idleSince is None:
                self._sessions[transport] = now
            elif now - idleSince >= IDLE_SECONDS:
                transport.sendGoodbye(LEAVING)

    def _checkDrained(self) -> None:
        if self._drained is not None and not self._drained.called and not (self._waiting or self._sessions):
            self._looking.stop()
            self._drained.callback(None)

    def disconnect(self) -> None:
        for transport in [*self._waiting, *self._sessions]:
            transport.sendGoodbye(LEAVING)


def _addressOf(peer: Any) -> str:
    host = str(getattr(peer, "host", ""))
    try:
        return str(parseAddress(host))
    except ValueError:
        return host


@implementer(IPlugin, IServerFactory)
@define(eq=False)
class SFTPServerFactory:
    kind: str = field(default="sftp", init=False)
    summary: str = field(default="SFTP and SCP over SSH", init=False)
    configClass: type = field(default=SFTPOptions, init=False)
    needsTLS: bool = field(default=False, init=False)

    def build(
        self,
        config: SFTPOptions,
        *,
        listener: Listener,
        reactor: Any,
        portal: Portal,
        tls: Any,
        hostKeys: Callable[[], Sequence[bytes]],
        sessionKeys: Callable[[], Sequence[bytes]],
        settings: Any,
        notify: Notify,
        bindAddress: str,
        pool: Any,
    ) -> SSHServer:
        def isProbe(address: str) -> bool:
            return address in Networks.parse(settings().probeNetworks)

        return SSHServer(config, listener.name, reactor, portal, hostKeys, notify, secrets.token_bytes, isProbe)


sftpServerFactory = SFTPServerFactory()
