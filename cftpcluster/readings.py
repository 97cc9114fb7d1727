"""How a node is, in numbers, for :mod:`cftpcluster.metrics`; and how late its event loop is.

Who reads them is not known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from . import __version__
from .auth.rules import Rules
from .expiry import Expiries
from .journal.audit import AuditLog
from .metrics import Reading
from .pools import Pools
from .services import Services
from .status import OwnStatus

PROTOCOLS = ("ftp", "sftp", "https")
DELAY_SECONDS = 1.0


def sessionsByProtocol(rules: Rules) -> Mapping[str, int]:
    """How many sessions of users there are on this node."""
    sessions = Counter(account.origin.protocol for account in rules.sessions.accounts())
    return {protocol: sessions[protocol] for protocol in {*PROTOCOLS, *sessions}}


@define(eq=False, kw_only=True)
class Readings:
    """
    :ivar _row: the node's row in its own status.
    :ivar _linked: to how many nodes there are links.
    :ivar _isReady: whether clients are to come.
    """

    _own: Callable[[], OwnStatus]
    _row: Callable[[], Any]
    _linked: Callable[[], int]
    _isReady: Callable[[], bool]
    _services: Callable[[], Services]
    _rules: Rules
    _pools: Pools
    _audit: AuditLog
    _expiries: Expiries

    def __call__(self) -> Iterator[Reading]:
        own, row = self._own(), self._row()
        yield "info", 1, (__version__, row["role"], row["state"])
        yield "ready", self._isReady(), ()
        yield "primary", row["role"] == "primary", ()
        yield "epoch", own.head.epoch, ()
        yield "revision", own.head.revision, ()
        yield "live_revision", own.live, ()
        yield "replication_lag_seconds", row["lagSeconds"], ()
        yield "nodes", len(own.document.nodes), ()
        yield "links", self._linked(), ()
        yield "problems", len(own.problems), ()
        yield "warnings", len(own.remarks), ()
        for protocol, count in sessionsByProtocol(self._rules).items():
            yield "sessions", count, (protocol,)
        for listener in self._services().listeners:
            yield "connections", listener.connections, (listener.name,)
        yield "received_bytes", self._services().traffic.received, ()
        yield "sent_bytes", self._services().traffic.sent, ()
        yield "active_bans", sum(1 for _ in self._rules.guard.bans()), ()
        for pool in self._pools.all:
            yield "thread_pool_waiting", pool.queued, (str(pool.name),)
            yield "thread_pool_busy", pool.busy, (str(pool.name),)
        yield "audit_waiting_events", self._audit.waiting, ()
        yield "audit_problem", bool(self._audit.problem), ()
        for name, seconds in self._expiries.left().items():
            yield "certificate_expiry_seconds", seconds, (name,)


@define(eq=False)
class ReactorDelay:
    """Measures how late the event loop comes to a call."""

    _clock: IReactorTime
    _measure: Callable[[str, float], None]
    _next: IDelayedCall | None = field(default=None, init=False)

    def start(self) -> None:
        due = self._clock.seconds() + DELAY_SECONDS
        self._next = self._clock.callLater(DELAY_SECONDS, self._called, due)

    def _called(self, due: float) -> None:
        self._measure("reactor_delay", self._clock.seconds() - due)
        self.start()

    def stop(self) -> None:
        if self._next is not None and self._next.active():
            self._next.cancel()
