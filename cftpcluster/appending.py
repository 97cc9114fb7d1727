"""Appends what is proposed to this node's journal, whichever way it came in, while this node is primary.

How a proposal was made, and how a head becomes live, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define
from twisted.internet.defer import Deferred

from .administration import DURABLE_SECONDS, requireChange
from .cluster.publisher import Publisher
from .interfaces import IJournal
from .journal.entry import Head, Proposal


@define(eq=False, kw_only=True)
class Appending:
    """
    :ivar _publisher: this node's.
    :ivar _head: the newest head.
    :ivar _committed: told of a head that is durable here.
    """

    _journal: IJournal
    _publisher: Callable[[], Publisher]
    _head: Callable[[], Head]
    _committed: Callable[[Head], None]

    def append(self, proposal: Proposal) -> Deferred[int]:
        """Append a proposal on this node, which must be primary; fires with its revision when it is durable, and on as
        many followers as the settings want."""
        return Deferred.fromCoroutine(self._append(proposal))

    async def _append(self, proposal: Proposal) -> int:
        publisher = self._publisher()
        publisher.requirePrimary()
        await publisher.turns.enter()
        try:
            return await self._inTurn(publisher, proposal)
        finally:
            publisher.turns.leave()

    async def _inTurn(self, publisher: Publisher, proposal: Proposal) -> int:
        # While it waited another node may have become primary.
        publisher.requireAppending()
        requireChange(proposal.author, self._head().document, proposal.change)
        head: Head = await self._journal.append(proposal)
        if head.revision > self._head().revision:
            self._committed(head)
            revision = head.revision
        else:
            # The same request was appended before.
            entry = await self._journal.find(proposal.requestId)
            revision = entry.revision if entry else head.revision
        followers = self._head().document.settings.synchronousFollowers
        if followers:
            await publisher.durable(revision, followers, DURABLE_SECONDS)
        return revision
