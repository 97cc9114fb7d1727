"""What administrators may ask of a node, whichever node it is: the primary does it, the others have it done.

Rights are checked here, on the primary's own document, for whatever way a change came in. How it was written down, and
by what words it was asked for, is not known here.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import define, evolve
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from zope.interface import implementer

from .actions import AUTHOR, Action
from .auth.own import OWN_ROLE, requireOwn
from .cluster.authority import openAuthority
from .cluster.faults import LinkLost
from .cluster.messages import plainFromAuthor
from .cluster.rotation import PREVIOUS_AUTHORITY
from .cluster.tokens import newToken
from .config.changes import Batch, Change, Put, Target
from .config.document import Document
from .errors import ClusterError, Forbidden, NotAppending, NotPrimary, OutcomeUnknown, PrimaryUnreachable
from .interfaces import IAdministration
from .journal.entry import Head, Proposal
from .manager.access import requireWrite
from .peering import Peering
from .vocabulary import Author

log = Logger()

DURABLE_SECONDS = 10.0
"""How long an acknowledgement waits for ``synchronousFollowers``."""

MOST_WAIT_SECONDS = 3600.0

RELAYED_WAIT_SECONDS = 100.0
"""The most that one question to the primary waits; a link takes an answer that is not much later."""

TRUSTED_PLACES = ("socket", "local")
"""Where authors come from that the operating system or the cluster itself vouches for."""


def requireRight(author: Author, document: Document, targets: Iterable[Target]) -> None:
    """:raises Forbidden: where this author may not change those objects. The role is what the document says now."""
    if author.address not in TRUSTED_PLACES:
        admin = document.admins.get(author.name)
        if admin is None or not admin.enabled:
            raise Forbidden(f"{author.name!r} is not an administrator any more")
        author = evolve(author, role=admin.role.value)
    requireWrite(author, targets)


def touched(change: Change) -> Iterator[Target]:
    """What an author needs rights on for a change; who is primary, and what this version does not know, are as nodes
    are, wherever in a batch they stand."""
    if isinstance(change, Batch):
        for part in change.changes:
            yield from touched(part)
    else:
        yield from list(change.targets()) or [("nodes", "")]


def requireChange(author: Author, document: Document, change: Change) -> None:
    """:raises Forbidden: where this author, an administrator or a user, may not make that change."""
    if author.role == OWN_ROLE:
        requireOwn(author, document, change)
    else:
        requireRight(author, document, touched(change))


@implementer(IAdministration)
@define(eq=False, kw_only=True)
class Administration:
    """
    :ivar _document: the document that is live here.
    :ivar _journalHead: the newest head.
    :ivar _append: appends a proposal on this node.
    :ivar _liveHere: fires with whether this node has converged on a revision in time.
    :ivar _actions: what this node does when asked, by the action's name.
    :ivar _wallTime: seconds since the epoch.
    """

    _name: str
    _peering: Peering
    _document: Callable[[], Document]
    _journalHead: Callable[[], Head]
    _append: Callable[[Proposal], Deferred[int]]
    _liveHere: Callable[[int, float], Deferred[bool]]
    _status: Callable[[], Mapping[str, Any]]
    _actions: Mapping[str, Action]
    _wallTime: Callable[[], float] = time.time

    def document(self) -> Document:
        return self._document()

    def status(self) -> Mapping[str, Any]:
        return self._status()

    # --- changes

    def propose(
        self, change: Change, expected: Mapping[Target, int], author: Author, requestId: str = ""
    ) -> Deferred[int]:
        proposal = Proposal(change, expected, author, self._name, requestId or uuid.uuid4().hex, self._wallTime())
        return Deferred.fromCoroutine(self._propose(proposal))

    async def _propose(self, proposal: Proposal) -> int:
        publisher = self._peering.publisher
        if publisher.isPrimary:
            try:
                return await self._append(proposal)
            except NotPrimary:
                # Another node became primary while the change waited for that: it goes there.
                pass
        try:
            return await self._peering.uplink.propose(proposal)
        except (PrimaryUnreachable, OutcomeUnknown) as error:
            if not publisher.isPrimary:
                raise
            before = error
        # This node became primary meanwhile; what was appended before is found by its request id.
        try:
            return await self._append(proposal)
        except (NotAppending, NotPrimary):
            if isinstance(before, OutcomeUnknown):
                # That nothing was changed holds for this node's own history alone.
                raise before from None
            raise

    def makeToken(self, node: str, expireSeconds: float) -> tuple[str, Put]:
        """A join token for a node: its text, and what has to be proposed to make it good."""
        document = self._document()
        primary = document.nodes.get(document.promoted.name)
        if primary is None:
            raise ClusterError("this node has no configuration yet")
        if PREVIOUS_AUTHORITY in document.keys:
            raise ClusterError("the authority is being replaced; status says which nodes still have to follow")
        text, token = newToken(
            node,
            primary.address,
            self._peering.neighbours.portOf(primary.name),
            openAuthority(document, self._peering.sealer).fingerprint,
            self._wallTime(),
            expireSeconds,
        )
        return text, Put("tokens", token)

    # --- waiting

    def wait(self, revision: int, allNodes: bool, seconds: float) -> Deferred[Mapping[str, Sequence[str]]]:
        return Deferred.fromCoroutine(self._wait(revision, allNodes, min(max(seconds, 0.0), MOST_WAIT_SECONDS)))

    async def _wait(self, revision: int, allNodes: bool, seconds: float) -> Mapping[str, Sequence[str]]:
        if not self._peering.publisher.isPrimary:
            return await self._waitByPrimary(revision, allNodes, seconds)
        revision = revision or self._journalHead().revision
        others = self._peering.publisher.live(revision, allNodes, seconds)
        here = await self._liveHere(revision, seconds)
        parted = await others
        mine = "live" if here else "pending"
        return {**parted, mine: sorted([self._name, *parted[mine]])}

    async def _waitByPrimary(self, revision: int, allNodes: bool, seconds: float) -> Mapping[str, Sequence[str]]:
        while True:
            publisher, primary = self._peering.follower.publisher, self._document().promoted.name
            if publisher is None:
                raise PrimaryUnreachable(f"the primary {primary or '(unknown)'} cannot be reached")
            asked = min(seconds, RELAYED_WAIT_SECONDS)
            seconds -= asked
            arguments = {"revision": revision, "allNodes": allNodes, "seconds": asked}
            parted = await publisher.relay(primary, "wait", arguments, Author("system", "full", "local"))
            if not parted["pending"] or seconds <= 0:
                return parted

    def waitAction(self, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        """:meth:`wait`, asked by another node; bounded, since the link waits for the answer."""
        revision, seconds = arguments.get("revision"), arguments.get("seconds")
        if not isinstance(revision, int) or not isinstance(seconds, int | float):
            return fail(ClusterError("a revision and seconds are needed"))
        return self.wait(revision, arguments.get("allNodes") is True, min(seconds, RELAYED_WAIT_SECONDS))

    # --- actions

    def perform(
        self, node: str, action: str, arguments: Mapping[str, Any], author: Author
    ) -> Deferred[Mapping[str, Any]]:
        return Deferred.fromCoroutine(self._perform(node, action, arguments, author))

    async def _perform(self, node: str, action: str, arguments: Mapping[str, Any], author: Author) -> Mapping[str, Any]:
        requireRight(author, self._document(), [("nodes", node)])
        if action == "promote":
            return await self._peering.promotion.promote(node, arguments.get("force", False), author, self.perform)
        arguments = {**arguments, AUTHOR: plainFromAuthor(author)}
        if node == self._name:
            return await self.performHere(action, arguments)
        try:
            return await self._peering.mesh.perform(node, action, arguments, author)
        except LinkLost as lost:
            if lost.sent:
                raise LinkLost(f"{node} did not answer; it may have done {action} or not", sent=True) from None
        if self._peering.publisher.isPrimary:
            return await self._peering.publisher.perform(node, action, arguments)
        publisher = self._peering.follower.publisher
        if publisher is None:
            raise PrimaryUnreachable(f"there is no link to {node}, and none to the primary")
        return await publisher.relay(node, action, arguments, author)

    def performHere(self, action: str, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        """Do something on this very node; ``ClusterError`` for what it does not know."""
        known = self._actions.get(action)
        if known is None:
            return fail(ClusterError(f"{self._name} knows no action {action!r}"))
        return known(arguments)
