"""Puts together what administrators and other nodes have a node do, and what the Manager and the administration socket
are served by, of the parts of a node.

What administrators ask for, and how it is answered, is not known here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from . import manager
from .actions import AUTHOR, Action, Actions
from .administration import Administration
from .auth.passwords import Passwords
from .auth.rules import Rules
from .auth.tokens import ApiTokens
from .backup import Backups
from .cluster.messages import authorFromPlain
from .cluster.rotation import Rotation, putOut, putOutCompromised
from .config.changes import Change, Target
from .config.document import Document, Secret, User
from .draining import Draining
from .errors import ClusterError
from .events import Directed, Drained, Measure, Paused, Resumed
from .files.transfers import Found, Wanted
from .founding import SYSTEM
from .haproxy import Balancer, haproxyConfiguration
from .interfaces import IJournal
from .journal.audit import AuditLog
from .journal.entry import Head, Proposal
from .peering import Peering
from .pools import HASH_THREADS
from .services import Services
from .status import ownState
from .vocabulary import Author


@define(eq=False, kw_only=True)
class Managing:
    """
    :ivar administration: what administrators ask of this node.
    :ivar _append: as :class:`Administration` has it, and ``_liveHere`` and ``_status``.
    :ivar _series: what the node did of late, as :mod:`cftpcluster.series` has it.
    :ivar _pool: for work that takes long, passwords of new users among it: log-ins are verified by another pool, which
        a large document must not hold up.
    """

    _name: str
    _journal: IJournal
    _peering: Peering
    _services: Callable[[], Services]
    _rules: Rules
    _head: Callable[[], Head]
    _append: Callable[[Proposal], Deferred[int]]
    _liveHere: Callable[[int, float], Deferred[bool]]
    _status: Callable[[], Mapping[str, Any]]
    _draining: Draining
    _audit: AuditLog
    _measure: Measure
    _series: Action
    _kinds: Mapping[str, Mapping[str, type]]
    _reactor: Any
    _pool: ThreadPool
    administration: Administration = field(init=False)
    _actions: Mapping[str, Action] = field(init=False)
    _happened: manager.Happened = field(init=False)
    _underWay: manager.UnderWay = field(init=False)
    _revisions: manager.Revisions | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._actions = Actions(
            peering=self._peering,
            document=self._document,
            openSecret=self._openSecret,
            propose=self._proposed,
            inThread=self._inPool,
        ).table()
        self.administration = Administration(
            name=self._name,
            peering=self._peering,
            document=self._document,
            journalHead=self._head,
            append=self._append,
            liveHere=self._liveHere,
            status=self._status,
            actions={
                **self._actions,
                "wait": self._waitedFor,
                "drain": self._drained,
                "pause": self._paused,
                "resume": self._resumed,
                manager.HISTORY: self._past,
                manager.EVENTS: self._eventsAsked,
                manager.SERIES: self._series,
                manager.TRANSFERS: self._transfersAsked,
            },
        )
        self._happened = manager.Happened(node=self.administration, audit=self._audit, clock=self._reactor)
        self._underWay = manager.UnderWay(
            node=self.administration,
            find=self._findTransfers,
            clock=self._reactor,
        )

    def _document(self) -> Document:
        return self._head().document

    def _inPool(self, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._pool, work, *arguments)

    # --- what this node does when asked

    def _proposed(self, change: Change, expected: Mapping[Target, int], author: Author) -> Deferred[int]:
        return self.administration.propose(change, expected, author)

    def _waitedFor(self, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        return self.administration.waitAction(arguments)

    def _drained(self, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        wasActive = self._draining.isActive
        draining = self._draining.drainAction(arguments)
        if self._draining.isActive and not wasActive:
            self._told(Drained, arguments)
        return draining

    def _paused(self, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        before = self._state()
        pausing = self._actions["pause"](arguments)
        return pausing.addCallback(lambda answer: self._toldIf(before != "paused", answer, Paused, arguments))

    def _resumed(self, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        before = self._state()
        self._draining.resume()
        resuming = self._actions["resume"](arguments)
        wasAway = before in ("paused", "draining")
        return resuming.addCallback(lambda answer: self._toldIf(wasAway, answer, Resumed, arguments, before=before))

    def _state(self) -> str:
        return ownState(self._draining.isActive, self._peering)

    def _toldIf(self, isNews: bool, answer: Any, event: type[Directed], arguments: Any, **more: str) -> Any:
        if isNews:
            self._told(event, arguments, **more)
        return answer

    def _told(self, event: type[Directed], arguments: Mapping[str, Any], **more: str) -> None:
        plain = arguments.get(AUTHOR)
        author = SYSTEM if plain is None else authorFromPlain(plain)
        self._services().notify(event(author=str(author), address=author.address, **more))

    def _past(self, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        if self._revisions is None:
            return fail(ClusterError("this node is only starting"))
        return self._revisions.action(arguments)

    def _eventsAsked(self, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        return self._happened.action(arguments)

    def _transfersAsked(self, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        return self._underWay.action(arguments)

    def _findTransfers(self, wanted: Wanted) -> Deferred[Found]:
        return self._services().transfers.find(wanted)

    # --- what the Manager is made of

    def parts(self) -> manager.Administration:
        """What the administration is made of."""
        preparation = manager.Preparation(
            self._reactor,
            self._pool,
            Passwords(self._reactor, self._pool, os.urandom, HASH_THREADS),
            lambda: self._peering.sealer,
            self._kinds,
        )
        backups = Backups(
            head=self._head, membership=lambda: self._peering.membership, reactor=self._reactor, pool=self._pool
        )
        self._revisions = manager.Revisions(
            node=self.administration,
            journal=self._journal,
            preparation=preparation,
            reactor=self._reactor,
            pool=self._pool,
        )
        return manager.Administration(
            node=self.administration,
            preparation=preparation,
            makeToken=self.administration.makeToken,
            nodeRemoval=self._putOut,
            openSecret=self._openSecret,
            haproxy=lambda document, **said: haproxyConfiguration(document, Balancer(**said)),
            backups=backups,
            journal=self._journal,
            revisions=self._revisions,
            happened=self._happened,
            underWay=self._underWay,
            tokens=ApiTokens(self.administration.document, self._peering.rows, time.time, os.urandom),
            rules=self._rules,
            usage=self._usageOf,
            measure=self._measure,
            notify=lambda event: self._services().notify(event),
            reactor=self._reactor,
            pool=self._pool,
        )

    def _usageOf(self, user: User) -> Awaitable[Mapping[str, Any]]:
        return self._services().quotas.report(user)

    def _putOut(self, document: Document, name: str, compromised: bool) -> Deferred[Rotation]:
        sealer = self._peering.sealer
        if compromised:
            return self._inPool(putOutCompromised, document, name, sealer, time.time())
        return self._inPool(putOut, document, name, sealer)

    def _openSecret(self, secret: Secret) -> bytes:
        return self._peering.sealer.open(secret)
