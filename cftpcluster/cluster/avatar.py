"""The publisher as one node has it: what a node's certificate gets, for as long as its link is the newest.

What the publisher does is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define
from twisted.internet.defer import Deferred, execute, fail
from zope.interface import implementer

from ..errors import ClusterError, Refused
from ..interfaces import IFollower, IPublisher
from ..journal.entry import Entry, Proposal
from ..vocabulary import Author
from .members import Member
from .messages import FollowAnswer

if TYPE_CHECKING:
    from .publisher import Publisher


@implementer(IPublisher)
@define(eq=False)
class PublisherAvatar:
    """The publisher as one node has it."""

    _publisher: Publisher
    _member: Member
    _follower: IFollower

    def follow(self, follower: IFollower, epoch: int, revision: int, chainHash: bytes) -> Deferred[FollowAnswer]:
        return self._asked(
            lambda: Deferred.fromCoroutine(self._publisher.follow(self._member, follower, epoch, revision, chainHash))
        )

    def snapshotChunk(self, snapshotId: str, offset: int) -> Deferred[bytes]:
        return self._asked(lambda: self._publisher.history.snapshotChunk(snapshotId, offset))

    def where(self, revision: int, chainHash: bytes) -> Deferred[FollowAnswer]:
        return self._asked(lambda: self._publisher.history.where(revision, chainHash))

    def entries(self, revision: int, limit: int) -> Deferred[Sequence[Entry]]:
        return self._asked(lambda: self._publisher.history.entries(revision, limit))

    def propose(self, proposal: Proposal) -> Deferred[int]:
        return self._asked(lambda: self._publisher.propose(proposal))

    def report(self, status: Mapping[str, Any]) -> Deferred[None]:
        return self._asked(lambda: execute(self._publisher.reported, self._member, status))

    def relay(
        self, node: str, action: str, arguments: Mapping[str, Any], author: Author
    ) -> Deferred[Mapping[str, Any]]:
        return self._asked(lambda: self._publisher.relay(node, action, arguments, author))

    def renewCertificate(self, request: bytes) -> Deferred[bytes]:
        return self._asked(lambda: self._publisher.renewCertificate(self._member.name, request))

    def detached(self) -> None:
        """The link is gone."""
        self._publisher.detach(self._member, self._follower)

    def _asked(self, answer: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        if self._member.follower is not self._follower:
            return fail(Refused("this link has been replaced"))
        try:
            return answer()
        except ClusterError:
            return fail()
