"""Puts together what the Manager and the administration socket are served by, of the parts of a node.

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
from .administration import Administration
from .auth.passwords import Passwords
from .auth.rules import Rules
from .auth.tokens import ApiTokens
from .backup import Backups
from .cluster.rotation import Rotation, putOut, putOutCompromised
from .config.document import Document, Secret, User
from .errors import ClusterError
from .events import Measure
from .haproxy import Balancer, haproxyConfiguration
from .interfaces import IJournal
from .journal.entry import Head
from .peering import Peering
from .pools import HASH_THREADS
from .services import Services


@define(eq=False, kw_only=True)
class Managing:
    """
    :ivar _pool: for work that takes long, passwords of new users among it: log-ins are verified by another pool, which
        a large document must not hold up.
    """

    _administration: Administration
    _journal: IJournal
    _peering: Peering
    _services: Callable[[], Services]
    _rules: Rules
    _head: Callable[[], Head]
    _happened: manager.Happened
    _measure: Measure
    _kinds: Mapping[str, Mapping[str, type]]
    _reactor: Any
    _pool: ThreadPool
    _revisions: manager.Revisions | None = field(default=None, init=False)

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
            node=self._administration,
            journal=self._journal,
            preparation=preparation,
            reactor=self._reactor,
            pool=self._pool,
        )
        return manager.Administration(
            node=self._administration,
            preparation=preparation,
            makeToken=self._administration.makeToken,
            nodeRemoval=self._putOut,
            openSecret=self._openSecret,
            haproxy=lambda document, **said: haproxyConfiguration(document, Balancer(**said)),
            backups=backups,
            journal=self._journal,
            revisions=self._revisions,
            happened=self._happened,
            tokens=ApiTokens(self._administration.document, self._peering.rows, time.time, os.urandom),
            rules=self._rules,
            usage=self._usageOf,
            measure=self._measure,
            notify=lambda event: self._services().notify(event),
            reactor=self._reactor,
            pool=self._pool,
        )

    def past(self, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        """What another node asks of the past."""
        if self._revisions is None:
            return fail(ClusterError("this node is only starting"))
        return self._revisions.action(arguments)

    def _usageOf(self, user: User) -> Awaitable[Mapping[str, Any]]:
        return self._services().quotas.report(user)

    def _putOut(self, document: Document, name: str, compromised: bool) -> Deferred[Rotation]:
        sealer = self._peering.sealer
        if compromised:
            return deferToThreadPool(self._reactor, self._pool, putOutCompromised, document, name, sealer, time.time())
        return deferToThreadPool(self._reactor, self._pool, putOut, document, name, sealer)

    def _openSecret(self, secret: Secret) -> bytes:
        return self._peering.sealer.open(secret)
