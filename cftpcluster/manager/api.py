"""The administration's REST API as one klein application.

It is served over a node's administration socket and over HTTPS alike; only who asks is found out differently. Routes
are in the modules beside this one, each with the things it is about.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import frozen
from klein import Klein
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest

from ..auth.credentials import LoginBusy
from ..auth.rules import Rules
from ..auth.tokens import ApiTokens
from ..config.changes import Put
from ..config.document import Document, Secret, User
from ..errors import (
    ClusterError,
    Conflict,
    DiskFull,
    Forbidden,
    HistoryGone,
    Invalid,
    JournalReadOnly,
    NotAppending,
    NotDurableEnough,
    NotPrimary,
    OutcomeUnknown,
    PrimaryUnreachable,
)
from ..events import Measure, Notify
from ..interfaces import IAdministration, IJournal
from ..servers.http import HTTPProblem, RoutedResource, answerProblems
from . import _events, _status
from ._account import AccountRoutes
from ._backups import BackupRoutes, IsBackingUp
from ._cluster import ClusterRoutes
from ._events import EventRoutes
from ._history import HistoryRoutes
from ._inventory import InventoryRoutes
from ._nodes import NodeRoutes
from ._objects import ObjectRoutes
from ._openapi import Description
from ._routes import IsAccess, Routes
from ._rules import RuleRoutes
from ._settings import SettingsRoutes
from ._signing import SigningRoutes
from ._status import StatusRoutes
from ._streams import Streams
from ._tokens import TokenRoutes
from ._transfers import TransferRoutes
from ._usage import UsageRoutes
from ._writes import Writes
from .happened import Happened
from .revisions import Revisions
from .underway import UnderWay
from .writing import Preparation


@frozen
class Administration:
    """What the administration of a node is made of.

    :ivar node: the node it runs on.
    :ivar preparation: makes changes of what is written.
    :ivar makeToken: from a node's name and seconds, a join token's text and the change that makes it known.
    :ivar nodeRemoval: from a document, a node's name, and whether its keys are in wrong hands, the ``change`` that puts
        it out, the nodes that are ``left`` without the new keys, and what has to be replaced ``byHand``.
    :ivar openSecret: opens the document's secrets, for an export with them.
    :ivar haproxy: from a document, and ``addresses``, ``source``, ``relievePrimary`` and ``manager``, HAProxy's
        configuration (``text``) and ``warnings``. Blocks.
    :ivar backups: makes backups of the node, and reads them.
    :ivar journal: the node's own.
    :ivar revisions: tells of the past, and goes back to it.
    :ivar happened: tells what happens, on all nodes.
    :ivar underWay: tells of the transfers under way, on all nodes.
    :ivar tokens: makes API tokens, and knows those that are good.
    :ivar rules: what holds for log-ins and sessions on all nodes.
    :ivar usage: what a user holds, as :meth:`cftpcluster.files.quotas.Quotas.report` tells it.
    :ivar pool: for work that takes long.
    """

    node: IAdministration
    preparation: Preparation
    makeToken: Callable[[str, float], tuple[str, Put]]
    nodeRemoval: Callable[[Document, str, bool], Deferred[Any]]
    openSecret: Callable[[Secret], bytes]
    haproxy: Callable[..., Any]
    backups: IsBackingUp
    journal: IJournal
    revisions: Revisions
    happened: Happened
    underWay: UnderWay
    tokens: ApiTokens
    rules: Rules
    usage: Callable[[User], Awaitable[Mapping[str, Any]]]
    notify: Notify
    measure: Measure
    reactor: Any
    pool: Any


def administrationResource(administration: Administration, access: IsAccess) -> Any:
    """The whole API as a resource, for those whom ``access`` lets in."""
    return RoutedResource(administrationRoutes(administration, access).app)


def administrationRoutes(administration: Administration, access: IsAccess) -> Routes:
    """The whole API as the table of its routes."""
    app = Klein()
    answerProblems(app)
    _answerClusterErrors(app)
    writes = Writes(administration.node, administration.reactor)
    routes = Routes(app, access, administration.measure)
    access.addRoutes(routes)
    AccountRoutes(
        administration.node, access, administration.preparation, writes, administration.rules, administration.notify
    ).add(routes)
    clock = administration.reactor
    StatusRoutes(administration.node, Streams("status", _status.MOST_STREAMS, access, clock), clock).add(routes)
    ClusterRoutes(
        administration.node,
        administration.preparation,
        writes,
        administration.makeToken,
        administration.openSecret,
        administration.haproxy,
        administration.reactor,
        administration.pool,
    ).add(routes)
    BackupRoutes(
        administration.node,
        administration.preparation,
        writes,
        administration.backups,
        administration.reactor,
        administration.pool,
    ).add(routes)
    HistoryRoutes(administration.node, administration.revisions, writes).add(routes)
    EventRoutes(administration.happened, Streams("events", _events.MOST_STREAMS, access, clock)).add(routes)
    TransferRoutes(administration.underWay).add(routes)
    NodeRoutes(administration.node).add(routes)
    TokenRoutes(administration.node, writes, administration.tokens).add(routes)
    RuleRoutes(administration.rules, administration.notify).add(routes)
    SigningRoutes(
        administration.node,
        administration.preparation,
        writes,
        administration.openSecret,
        time.time,
        administration.reactor,
        administration.pool,
    ).add(routes)
    InventoryRoutes(administration.node, administration.openSecret, administration.reactor, administration.pool).add(
        routes
    )
    SettingsRoutes(administration.node, administration.preparation, writes).add(routes)
    UsageRoutes(administration.node, administration.usage).add(routes)
    ObjectRoutes(
        administration.node,
        administration.preparation,
        writes,
        administration.nodeRemoval,
        administration.reactor,
        administration.pool,
        administration.journal,
    ).add(routes)
    Description(routes, lambda: administration.preparation.kinds, administration.reactor, administration.pool).add()
    return routes


def _answerClusterErrors(app: Klein) -> None:
    @app.handle_errors(ClusterError, UnauthorizedLogin)
    def failed(request: IRequest, failure: Failure) -> bytes:
        return problemFor(failure.value).answer(request)

    # klein asks the error handlers in their order, and the one for everything was there first.
    app._error_handlers.insert(0, app._error_handlers.pop())


_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (Forbidden, 403),
    (Conflict, 409),
    (HistoryGone, 410),
    (PrimaryUnreachable, 503),
    (NotPrimary, 503),
    (NotAppending, 503),
    (JournalReadOnly, 503),
    (LoginBusy, 503),
    (DiskFull, 507),
    (ClusterError, 409),
)


def problemFor(error: BaseException | None) -> HTTPProblem:
    """What the administration's errors are over HTTP."""
    if isinstance(error, Invalid):
        return HTTPProblem(422, "nothing was changed", problems=error.problems)
    if isinstance(error, OutcomeUnknown):
        return HTTPProblem(504, str(error), members={"requestId": error.requestId})
    if isinstance(error, NotDurableEnough):
        return HTTPProblem(504, str(error), members={"revision": error.revision, "durableOn": list(error.durableOn)})
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return HTTPProblem(status, str(error))
    return HTTPProblem(401)
