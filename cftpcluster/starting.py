"""How a node is started, and how it becomes a member: by its state folder, by founding a cluster, by joining one.

Nothing runs yet, and nothing is served, when this is done.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from attrs import evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from . import founding
from .cluster.join import Joined, join
from .cluster.tokens import JoinTokenText
from .errors import ClusterError, NotPrimary
from .interfaces import IJournal
from .journal.entry import Head
from .servers.listening import ListenerService
from .state import StateDirectory

log = Logger()

MOST_REDIRECTIONS = 3

InThread: TypeAlias = Callable[..., Deferred[Any]]
"""Calls a function in a thread, where it may block."""


async def joinCluster(
    reactor: Any, token: str, *, name: str, privateKeyPem: bytes, advertise: str, bind: str
) -> tuple[Joined, int]:
    """Join with a token's text, following whoever says that another node is primary; answers with the port as well."""
    text = JoinTokenText.parse(token)
    for _ in range(MOST_REDIRECTIONS):
        try:
            joined = await join(
                reactor,
                text,
                name=name,
                privateKeyPem=privateKeyPem,
                advertiseAddress=advertise,
                bindAddress=bind,
                wallClock=time.time,
            )
            return joined, text.port
        except NotPrimary as error:
            if not error.address:
                raise
            text = evolve(text, host=error.address)
    raise ClusterError("the nodes do not agree who is primary; try again later")


@frozen(kw_only=True)
class Start:
    """How a node is started.

    :ivar role: ``primary`` or ``secondary``; decides only on an empty state folder.
    :ivar bind: the address that listeners bind; "" for all.
    :ivar advertise: the address at which other nodes reach this one.
    :ivar token: a join token's text; "" without one.
    :ivar existing: refuse to start on an empty state folder.
    :ivar adminPassword: for administrator ``admin`` of a new cluster; ``None``: generated.
    """

    role: str
    name: str
    state: StateDirectory
    bind: str
    advertise: str
    token: str = field(repr=False)
    existing: bool
    adminPassword: bytes | None = field(repr=False)


async def establish(
    start: Start, journal: IJournal, reactor: Any, inThread: InThread
) -> tuple[founding.Membership, Head]:
    """What this node is a member with, and the head of its journal then; ``ClusterError`` of one line where it cannot
    become one."""
    head: Head = await journal.head()
    membership = await inThread(founding.load, start.state)
    joined = await inThread(founding.hasJoined, start.state)
    if membership is not None and (head.revision or joined):
        if start.token:
            log.warn("the join token is ignored: this node is a member of a cluster already")
        _warnOfDifferences(start, membership.identity.name, head)
        return membership, head
    if head.revision:
        raise ClusterError(f"{start.state.path} holds a journal, but not the node's identity or keys")
    if start.existing:
        raise ClusterError(f"--existing: the state folder {start.state.path} holds no node")
    if start.role == "primary":
        return await _found(start, journal, inThread)
    return await _join(start, reactor, inThread), head


async def _found(start: Start, journal: IJournal, inThread: InThread) -> tuple[founding.Membership, Head]:
    membership, proposal = await inThread(
        founding.prepareFounding, start.state, start.name, start.advertise, start.adminPassword
    )
    head = await journal.append(proposal)
    log.info("founded a new cluster with this node, {name}, as its primary", name=start.name)
    return membership, head


async def _join(start: Start, reactor: Any, inThread: InThread) -> founding.Membership:
    if not start.token:
        raise ClusterError("a secondary's first start needs a join token (cftpctl node token NAME): --join-file FILE")
    key = await inThread(founding.privateKeyForJoining, start.state)
    joined, port = await joinCluster(
        reactor, start.token, name=start.name, privateKeyPem=key, advertise=start.advertise, bind=start.bind
    )
    log.info("joined the cluster of {primary}", primary=joined.primary)
    membership: founding.Membership = await inThread(founding.completeJoin, start.state, joined, port)
    return membership


def _warnOfDifferences(start: Start, name: str, head: Head) -> None:
    primary = head.document.promoted.name
    role = "primary" if primary == name else "secondary"
    if head.revision and role != start.role:
        log.warn(
            "started with --role {given}, but by its journal this node is a {role} (the primary is {primary})",
            given=start.role,
            role=role,
            primary=primary,
        )
    if start.name not in (name, socket.gethostname().partition(".")[0]):
        log.warn("started with --name {given}, but this node is {name}", given=start.name, name=name)


def sayWhereEverythingIs(
    start: Start, name: str, role: str, revision: int, listeners: Iterable[ListenerService]
) -> None:
    """Tell the log, for whoever started the node, where to go on."""
    for listener in sorted(listeners, key=lambda each: each.port):
        log.info(
            "{listener} ({kind}) on {address} port {port}",
            listener=listener.name,
            kind=listener.listener.kind,
            address=start.bind or "all addresses",
            port=listener.port,
        )
    if start.state.adminPassword.exists():
        path = str(start.state.adminPassword)
        log.info("the first password of administrator admin is in {path}", path=path)
    log.info(
        "node {name} is ready as {role} at revision {revision}; cftpctl --state-dir {state}",
        name=name,
        role=role,
        revision=revision,
        state=str(start.state.path),
    )
