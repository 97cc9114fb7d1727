"""How a node is: in the words of the status, for balancers, for whoever supervises the process, and in numbers.

Who asks is not known here.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from .auth.rules import Rules
from .config.document import Document
from .draining import Draining
from .events import Notify
from .expiry import Expiries
from .healing import JournalCare
from .journal.audit import AuditLog
from .journal.entry import Head
from .metrics import Metrics, Reading
from .peering import Peering
from .pools import Pools
from .readings import Readings, sessionsByProtocol
from .remarks import Remarks
from .series import Counts
from .services import UNGUARDED, Services
from .status import OwnStatus, clusterStatus, ownLagSeconds, ownRow, warnings


@define(eq=False, kw_only=True)
class Condition:
    """
    :ivar _address: where others reach the node, as it was started.
    :ivar _live: the revision that the services have converged on.
    :ivar _changed: told when something changed that is found by looking at it again and again.
    """

    _name: Callable[[], str]
    _address: str
    _head: Callable[[], Head]
    _live: Callable[[], int]
    _draining: Draining
    _care: Callable[[], JournalCare]
    _audit: Callable[[], AuditLog]
    _services: Callable[[], Services]
    _peering: Callable[[], Peering]
    _inThread: Callable[..., Deferred[Any]]
    _clock: IReactorTime
    _notify: Notify
    _changed: Callable[[], None]
    _expiries: Expiries = field(init=False)
    _remarks: Remarks = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._expiries = Expiries(
            document=self._document,
            inThread=self._inThread,
            clock=self._clock,
            wallTime=time.time,
            notify=self._notify,
        )
        self._remarks = Remarks(
            document=self._document,
            storageProblems=self._storageProblems,
            inThread=self._inThread,
            clock=self._clock,
            changed=self._changed,
        )

    def start(self) -> None:
        """Look at storage and certificates, again and again."""
        self._remarks.start()
        self._expiries.start()

    def stop(self) -> None:
        self._remarks.stop()
        self._expiries.stop()

    async def look(self) -> None:
        """Look at the storage now; never fails."""
        await self._remarks.look()

    def _document(self) -> Document:
        return self._head().document

    def _storageProblems(self) -> Awaitable[Sequence[str]]:
        return self._services().backendProblems()

    def own(self) -> OwnStatus:
        """How this node is by itself."""
        audit, changes = self._audit(), self._document().unknown
        unknown = [f"revision {one.revision}: a change that this version does not know" for one in changes]
        return OwnStatus(
            name=self._name(),
            address=self._address,
            head=self._head(),
            live=self._live(),
            draining=self._draining.isActive,
            problems=(
                *self._care().problems,
                *([audit.problem] if audit.problem else []),
                *self._services().allProblems(),
                *self._remarks.missingStorage,
                *self._peering().problems,
                *unknown,
                *self._remarks.newerParts,
            ),
            remarks=(*self._remarks.warnings, *self._expiries.warnings),
        )

    def describe(self) -> str:
        """In a line for whoever supervises the process."""
        own, peering = self.own(), self._peering()
        role = "primary" if peering.publisher.isPrimary else f"secondary, {peering.follower.state}"
        state = f"draining, {self._draining.sessions} connections left" if own.draining else role
        problems = f", {len(own.problems)} problems" if own.problems else ""
        return f"{own.name}: {state}, revision {own.head.revision}{problems}"

    def status(self) -> Mapping[str, Any]:
        """The cluster, as far as this node knows."""
        return clusterStatus(self.own(), self._peering())

    def readiness(self) -> Mapping[str, Any]:
        """What the health listener answers by."""
        services, reasons = self._services(), list(self._remarks.missingStorage)
        if not self._head().revision:
            reasons.append("there is no configuration yet")
        if self._draining.isActive:
            reasons.append("draining")
        return {
            "reasons": reasons,
            "warnings": [*warnings(self.own(), self._peering()), *services.allProblems()],
            "listeners": {listener.name: listener.ready for listener in services.listeners},
        }

    def counts(self, rules: Rules, metrics: Metrics) -> Counts:
        """What is counted, for whoever watches how it changes."""
        services = self._services()
        accepted = metrics.total("logins", outcome="accepted")
        return Counts(
            lagSeconds=ownLagSeconds(self._peering()),
            sessions=sessionsByProtocol(rules),
            connections=sum(one.connections for one in services.listeners if one.listener.kind not in UNGUARDED),
            received=services.traffic.received,
            sent=services.traffic.sent,
            accepted=accepted,
            failed=metrics.total("logins") - accepted,
        )

    def readings(self, rules: Rules, pools: Pools) -> Iterator[Reading]:
        """In numbers."""
        return Readings(
            own=self.own,
            row=lambda: ownRow(self.own(), self._peering()),
            linked=lambda: len(self._peering().mesh.linked()),
            isReady=lambda: not self.readiness()["reasons"],
            services=self._services,
            rules=rules,
            pools=pools,
            audit=self._audit(),
            expiries=self._expiries,
        )()
