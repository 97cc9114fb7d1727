"""One running node: its journal, its place in the cluster, and the services it converges on the document.

Everything that becomes live goes one way: a head is committed, here or on the primary, and the services are made to
agree with its document. The first document after a start is no special case.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Mapping
from random import SystemRandom
from typing import Any

from attrs import define, evolve, field
from twisted.conch.interfaces import IConchUser
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from . import __version__, founding
from .activity import Activity
from .administration import Administration
from .appending import Appending
from .auth.administrators import AdminPasswords
from .auth.delay import FailureDelay
from .auth.own import OwnCredentials
from .auth.passwords import Passwords
from .auth.rules import Rules
from .chronicle import Chronicle
from .cluster.members import Waiters
from .cluster.rows import RowsKeeper
from .components import Components
from .condition import Condition
from .config.changes import Change, Put, Rehash, Target, apply
from .config.defaults import DEFAULT_LISTENERS
from .config.document import Document
from .convergence import Convergence
from .draining import Draining
from .errors import ClusterError
from .events import ConfigurationChanged, Event, NodeStarted, NodeStopped
from .healing import JournalCare, openJournal
from .journal.audit import AuditLog
from .journal.entry import Head
from .journal.sqlite import SQLiteJournal
from .manager import ManagerOptions, ManagerServerFactory, socketSite
from .managing import Managing
from .metrics import CONTENT_TYPE, Metrics
from .peering import ClusterServerFactory, Peering
from .pools import HASH_THREADS, Pools
from .readings import ReactorDelay
from .servers.health import HealthOptions, HealthServerFactory
from .servers.ssh import sshAvatar
from .services import Services
from .starting import Start, establish, sayWhereEverythingIs
from .state import socketAddress
from .vocabulary import Author

log = Logger()

NODE_KINDS: Mapping[str, type] = {
    "cluster": ClusterServerFactory.Options,
    "health": HealthOptions,
    "manager": ManagerOptions,
}
"""Listeners that the node makes itself, since they serve its own parts."""

COMPACT_EVERY = 500
"""So many revisions beyond ``historyRevisions`` make a compaction worth it."""


def bootDocument() -> Document:
    """What a node serves that has no configuration yet: nothing but its health."""
    health = next(listener for listener in DEFAULT_LISTENERS if listener.kind == "health")
    return evolve(apply(Document(), Put("listeners", health)), revision=0)


@define(eq=False, kw_only=True)
class Node:
    """A node from its start to its end.

    :ivar condition: how it is.
    """

    _start: Start
    _reactor: Any
    name: str = field(init=False)
    head: Head = field(init=False)
    _pools: Pools = field(factory=Pools, init=False)
    _journal: SQLiteJournal | None = field(default=None, init=False)
    _keeper: RowsKeeper | None = field(default=None, init=False)
    _audit: AuditLog | None = field(default=None, init=False)
    _metrics: Metrics = field(init=False)
    _services: Services | None = field(default=None, init=False)
    _peering: Peering | None = field(default=None, init=False)
    _appending: Appending = field(init=False)
    _managing: Managing | None = field(default=None, init=False)
    _activity: Activity = field(init=False)
    _convergence: Convergence = field(init=False)
    _rules: Rules = field(init=False)
    _starting: Deferred[None] | None = field(default=None, init=False)
    _ends: list[Callable[[], Any]] = field(factory=list, init=False)
    _waiters: Waiters = field(init=False)
    condition: Condition = field(init=False)
    _chronicle: Chronicle | None = field(default=None, init=False)
    draining: Draining = field(init=False)
    _care: JournalCare = field(init=False)
    _compactedAt: int = field(default=0, init=False)
    _boot: Document = field(factory=bootDocument, init=False)
    _site: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._waiters = Waiters(self._reactor)
        self.draining = Draining(
            clock=self._reactor,
            services=lambda: self.services,
            settings=lambda: self.document().settings,
            changed=self._statusChanged,
        )
        self.condition = Condition(
            name=lambda: self.name,
            address=self._start.advertise,
            head=lambda: self.head,
            live=lambda: self._convergence.live,
            draining=self.draining,
            care=lambda: self._care,
            audit=lambda: self.audit,
            services=lambda: self.services,
            peering=lambda: self.peering,
            inThread=self._inPool,
            clock=self._reactor,
            notify=self.notify,
            changed=self._statusChanged,
        )

    def start(self) -> Deferred[None]:
        """Fires when the node serves; fails with a ``ClusterError`` of one line where it cannot, and with
        ``CancelledError`` where it was stopped before it did."""
        self._starting = Deferred.fromCoroutine(self._run())
        return self._starting

    def _inPool(self, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._pools.work, work, *arguments)

    # --- starting

    async def _run(self) -> None:
        self._pools.start()
        self._ends.append(self._pools.stop)
        found = Components.gather()
        state = self._start.state
        await self._inPool(state.sweep)
        kinds = {**found.kinds, "listeners": {**found.kinds["listeners"], **NODE_KINDS}}
        self._journal = await openJournal(state, kinds, self._reactor, self._inPool)
        self._ends.append(self._journal.close)
        membership, self.head = await establish(self._start, self._journal, self._reactor, self._inPool)
        self.name = membership.identity.name
        self._keeper = await RowsKeeper.open(str(state.rows), self._reactor, self._pools.rows, time.time)
        self._ends.append(self._keeper.close)
        self._audit = await AuditLog.open(
            *(str(state.audit), self.name, self._reactor, self._pools.audit, self._pools.work),
            *(lambda: self.document().settings, time.time),
        )
        self._ends.append(self._audit.close)
        self._assemble(found, kinds, membership)
        self._ends += [self._care.stop, self.services.stop, self._convergence.end, self.peering.stop, self._rules.stop]
        self._rules.start()
        self._convergence.wake()
        await self._convergence.settled()
        self._requireOneListener()
        self._listenForAdministrators()
        self.peering.start()
        self._care.start(self.head.document)
        self._tellOfTheBeginning()
        role = "primary" if self.peering.publisher.isPrimary else "secondary"
        sayWhereEverythingIs(self._start, self.name, role, self.head.revision, self.services.listeners)

    def _tellOfTheBeginning(self) -> None:
        self.notify(NodeStarted(version=__version__))
        self._chronicle = Chronicle(
            self.name, self.peering, lambda: self.draining.isActive, self._reactor.seconds, self.notify
        )
        self._chronicle.start()
        delay = ReactorDelay(self._reactor, self._metrics.measure)
        delay.start()
        self.condition.start()
        self._activity.start()
        self._ends += [self._chronicle.stop, delay.stop, self._activity.stop]

    def _assemble(
        self, found: Components, kinds: Mapping[str, Mapping[str, type]], membership: founding.Membership
    ) -> None:
        self._metrics = Metrics(self.name, lambda: self.condition.readings(self._rules, self._pools))
        self._peering = self._makePeering(membership)
        self._care = self._makeCare()
        self._rules = self._makeRules()
        self._activity = Activity(
            node=self.name,
            rows=self.peering.rows,
            counts=lambda: self.condition.counts(self._rules, self._metrics),
            clock=self._reactor,
        )
        self._managing = self._makeManaging(kinds)
        administration = self._managing.parts()
        delay = FailureDelay(self._reactor, SystemRandom().random)
        administrators = AdminPasswords(
            self.liveDocument,
            Passwords(self._reactor, self._pools.hashes, os.urandom, HASH_THREADS),
            self.notify,
            delay,
            self._rules.guard,
        )
        components = found.including(
            ClusterServerFactory(lambda: self.peering.gate),
            HealthServerFactory(self.readiness, lambda: (CONTENT_TYPE, self._metrics.exposition())),
            ManagerServerFactory(administration, administrators.authenticate),
        )
        self._site = socketSite(administration)
        self._services = Services(
            node=self.name,
            stateDirectory=str(self._start.state.path),
            bind=self._start.bind,
            reactor=self._reactor,
            filePool=self._pools.files,
            hashPool=self._pools.hashes,
            components=components,
            sealer=lambda: self.peering.sealer,
            avatars={IConchUser: sshAvatar},
            delay=delay,
            upgradeHash=self._upgradeHash,
            rules=self._rules,
            own=self._makeOwnCredentials(),
            rows=self.peering.rows,
            always=(self.audit, self._metrics),
            measure=self._metrics.measure,
            lasting=frozenset(NODE_KINDS),
        )
        self._convergence = Convergence(
            reactor=self._reactor, wanted=self._wanted, converge=self.services.converge, became=self._becameLive
        )

    def _makeCare(self) -> JournalCare:
        assert self._journal is not None
        return JournalCare(
            state=self._start.state,
            inThread=self._inPool,
            journal=self._journal,
            clock=self._reactor,
            isPrimary=lambda: self.peering.publisher.isPrimary,
            portOf=self.peering.neighbours.portOf,
            changed=self._statusChanged,
        )

    def _makePeering(self, membership: founding.Membership) -> Peering:
        assert self._journal is not None
        self._appending = Appending(
            journal=self._journal,
            publisher=lambda: self.peering.publisher,
            head=lambda: self.head,
            committed=self._committed,
            notify=self.notify,
            measure=self._metrics.measure,
        )
        return Peering(
            name=self.name,
            bind=self._start.bind,
            state=self._start.state,
            reactor=self._reactor,
            pool=self._pools.work,
            journal=self._journal,
            membership=membership,
            head=self.head,
            document=self.document,
            notify=self.notify,
            append=self._appending.append,
            applied=self._committed,
            perform=self._performHere,
            relay=self._relayed,
            report=lambda: self.condition.own().report(),
            status=self.status,
            changed=self._statusChanged,
            proposeOwn=lambda change, expected: self.administration.propose(change, expected, founding.SYSTEM),
            keeper=self._keeper,
        )

    def _makeRules(self) -> Rules:
        return Rules.of(
            self.peering.rows, self.name, self._reactor, self.liveDocument, time.time, lambda: uuid.uuid4().hex
        )

    def _makeOwnCredentials(self) -> OwnCredentials:
        return OwnCredentials(
            document=self.liveDocument,
            passwords=Passwords(self._reactor, self._pools.hashes, os.urandom, HASH_THREADS),
            propose=self._proposed,
            isLive=self._liveHere,
        )

    def _performHere(self, action: str, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        return self.administration.performHere(action, arguments)

    def _relayed(
        self, node: str, action: str, arguments: Mapping[str, Any], author: Author
    ) -> Deferred[Mapping[str, Any]]:
        return self.administration.perform(node, action, arguments, author)

    def _proposed(self, change: Change, expected: Mapping[Target, int], author: Author) -> Deferred[int]:
        return self.administration.propose(change, expected, author)

    def _makeManaging(self, kinds: Mapping[str, Mapping[str, type]]) -> Managing:
        assert self._journal is not None
        return Managing(
            name=self.name,
            journal=self._journal,
            peering=self.peering,
            services=lambda: self.services,
            rules=self._rules,
            head=lambda: self.head,
            append=self._appending.append,
            liveHere=self._liveHere,
            status=self.status,
            draining=self.draining,
            audit=self.audit,
            measure=self._metrics.measure,
            series=self._activity.seriesAction,
            kinds=kinds,
            reactor=self._reactor,
            pool=self._pools.work,
        )

    def _listenForAdministrators(self) -> None:
        path = self._start.state.socket
        path.unlink(missing_ok=True)  # the folder is locked, so whoever bound it is gone
        listening = self._reactor.listenUNIX(socketAddress(path), self._site, mode=0o600)
        self._ends.append(listening.stopListening)

    def _requireOneListener(self) -> None:
        listeners = self.services.listeners
        if self.head.revision and not any(listener.ready for listener in listeners):
            raise ClusterError("not one listener could be bound: " + "; ".join(self.services.allProblems()[:3]))

    # --- parts

    @property
    def services(self) -> Services:
        assert self._services is not None
        return self._services

    @property
    def audit(self) -> AuditLog:
        assert self._audit is not None
        return self._audit

    @property
    def peering(self) -> Peering:
        assert self._peering is not None
        return self._peering

    @property
    def administration(self) -> Administration:
        """What administrators ask of this node."""
        assert self._managing is not None
        return self._managing.administration

    def document(self) -> Document:
        """The newest document, which may be about to become live."""
        return self.head.document

    def liveDocument(self) -> Document:
        """The document that the services agree with."""
        return self.services.document

    def notify(self, event: Event) -> None:
        """Tell the observers."""
        self.services.notify(event)

    # --- changes

    def _committed(self, head: Head) -> None:
        """A head is durable here: publish it, and make it live."""
        self.head = head
        self.peering.committed(head)
        self._care.see(head.document)
        self._convergence.wake()
        self._compactSometimes()

    def _compactSometimes(self) -> None:
        keep = self.document().settings.historyRevisions
        if self._journal is not None and self.head.revision - self._compactedAt >= keep + COMPACT_EVERY:
            self._compactedAt = self.head.revision - keep
            compacted = self._journal.compact(keep)
            _ = compacted.addErrback(lambda failure: log.failure("the journal was not compacted", failure))

    def _upgradeHash(self, name: str, before: str, after: str) -> None:
        """A user's password was verified by a hash that is weaker than today's: store the better one."""
        if not (self.peering.publisher.isPrimary or self.peering.follower.publisher):
            return
        proposed = self.administration.propose(Rehash(name, before, after), {}, founding.SYSTEM)

        def refused(failure: Failure) -> None:
            log.info("{user}: hash not upgraded: {why}", user=name, why=failure.getErrorMessage())

        _ = proposed.addErrback(refused)

    # --- what is live

    def _wanted(self) -> tuple[int, Document]:
        return self.head.revision, self.head.document if self.head.revision else self._boot

    def _liveHere(self, revision: int, seconds: float) -> Deferred[bool]:
        return self._waiters.wait(lambda: self._convergence.live >= revision, seconds)

    def _becameLive(self, revision: int) -> None:
        self.notify(ConfigurationChanged(revision=revision))
        self._statusChanged()

    # --- how it is

    def _statusChanged(self) -> None:
        self._waiters.look()
        if self._peering is not None:
            self._peering.statusChanged()
        if self._chronicle is not None:
            self._chronicle.look()

    def describe(self) -> str:
        """How it is, in a line for whoever supervises the process."""
        return self.condition.describe()

    def status(self) -> Mapping[str, Any]:
        """The cluster, as far as this node knows."""
        return self.condition.status()

    def readiness(self) -> Mapping[str, Any]:
        """What the health listener answers by."""
        return self.condition.readiness()

    # --- ending

    @property
    def drainSeconds(self) -> float:
        """How long :meth:`drain` takes at most."""
        return self.document().settings.drainSeconds if self._services is not None else 0.0

    def drain(self) -> Deferred[None]:
        """Take no new work, let transfers finish, until ``drainSeconds`` are over at the latest."""
        if self._services is None:
            return succeed(None)
        return self.draining.begin(self.drainSeconds)

    def stop(self) -> Deferred[None]:
        """End everything; fires when nothing runs any more. Idempotent."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
        self.draining.stop()
        self.condition.stop()
        if self._chronicle is not None:
            self._chronicle = None
            self.notify(NodeStopped())
        while self._ends:
            try:
                await maybeDeferred(self._ends.pop())
            except Exception:  # noqa: BLE001 - the rest is to be ended all the same
                log.failure("the node did not stop cleanly")
