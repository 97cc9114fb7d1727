"""Another node's publisher and follower, seen through a link; and what a link lets the other end call here.

Each call carries plain forms (see :mod:`cftpcluster.cluster.messages`); this table is the conversation:

========================= ============================================== ==========================================
a node asks its publisher  ``follow(epoch, revision, chainHash)``        the answer: where the head is, or an offer
any node asks any other    ``where(revision, chainHash)``                the answer, nobody following for it
..                         ``entries(revision, limit)``                  entries
..                         ``snapshotChunk(id, offset)``                 bytes
..                         ``standStill(epoch)``                         its hello, when it takes nothing any more
a node asks its publisher  ``propose(proposal)``                         the revision
..                         ``report(status)``                            nothing
..                         ``relay(request)``                            the outcome
..                         ``renewCertificate(request)``                 the certificate
a publisher asks a node    ``deliver(entries)``                          ``[revision, chainHash]``
..                         ``position(epoch, revision, chainHash)``      nothing
..                         ``perform(request)``                          the outcome
..                         ``clusterStatus(status)``                     nothing
========================= ============================================== ==========================================

How calls travel is the link's matter; what they do, that of publishers and followers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from attrs import define, evolve
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ..errors import OutcomeUnknown, PrimaryUnreachable
from ..interfaces import IFollower, IPublisher
from ..journal.entry import Entry, Proposal
from ..vocabulary import Author
from .faults import LinkLost
from .history import History
from .link import Link, Method
from .messages import (
    CHUNK_BYTES,
    FollowAnswer,
    Hello,
    answerFromPlain,
    authorFromPlain,
    entriesFromPlain,
    expect,
    expectHash,
    helloFromPlain,
    malformed,
    optionsFromPlain,
    plainFromAnswer,
    plainFromAuthor,
    plainFromEntries,
    plainFromHello,
    plainFromOptions,
    plainFromProposal,
    proposalFromPlain,
    shortText,
)

InThread: TypeAlias = Callable[..., Deferred[Any]]
"""Calls a function elsewhere than in the reactor's thread: ``partial(deferToThreadPool, reactor, pool)``."""

DELIVER_SECONDS = 120.0
CHUNK_SECONDS = 60.0
PROPOSE_SECONDS = 60.0
PERFORM_SECONDS = 120.0

_MOST_NAME = 64


@define(eq=False)
class RemoteHistory:
    """The journal at the other end, to be read."""

    _link: Link

    def where(self, revision: int, chainHash: bytes) -> Deferred[FollowAnswer]:
        # It may have to make a snapshot first.
        answer = self._link.call("where", revision, chainHash, seconds=CHUNK_SECONDS)
        return answer.addCallback(answerFromPlain)

    def entries(self, revision: int, limit: int) -> Deferred[Sequence[Entry]]:
        return self._link.call("entries", revision, limit, seconds=CHUNK_SECONDS).addCallback(entriesFromPlain)

    def standStill(self, epoch: int) -> Deferred[Hello]:
        """Have the node take nothing of earlier epochs for a while; fires with where its journal is then."""
        return self._link.call("standStill", epoch).addCallback(helloFromPlain)

    def snapshotChunk(self, snapshotId: str, offset: int) -> Deferred[bytes]:
        answer = self._link.call("snapshotChunk", snapshotId, offset, seconds=CHUNK_SECONDS)
        return answer.addCallback(expect, bytes, "chunk")


@implementer(IPublisher)
@define(eq=False)
class RemotePublisher(RemoteHistory):
    """The publisher at the other end. The follower that it sees is the one exposed at this end."""

    _inThread: InThread

    def follow(self, follower: IFollower, epoch: int, revision: int, chainHash: bytes) -> Deferred[FollowAnswer]:
        return self._link.call("follow", epoch, revision, chainHash).addCallback(answerFromPlain)

    def propose(self, proposal: Proposal) -> Deferred[int]:
        return Deferred.fromCoroutine(self._propose(proposal))

    async def _propose(self, proposal: Proposal) -> int:
        plain = await self._inThread(plainFromProposal, proposal)
        try:
            return expect(await self._link.call("propose", plain, seconds=PROPOSE_SECONDS), int, "revision")
        except LinkLost as lost:
            if lost.sent:
                raise OutcomeUnknown(proposal.requestId) from None
            raise PrimaryUnreachable(str(lost)) from None

    def report(self, status: Mapping[str, Any]) -> Deferred[None]:
        return self._link.call("report", plainFromOptions(status)).addCallback(_nothing)

    def relay(
        self, node: str, action: str, arguments: Mapping[str, Any], author: Author
    ) -> Deferred[Mapping[str, Any]]:
        request = {"node": node, "action": action, "arguments": arguments, "author": plainFromAuthor(author)}
        answer = self._link.call("relay", plainFromOptions(request), seconds=PERFORM_SECONDS)
        return answer.addCallback(optionsFromPlain, "outcome")

    def renewCertificate(self, request: bytes) -> Deferred[bytes]:
        return self._link.call("renewCertificate", request).addCallback(expect, bytes, "certificate")


@implementer(IFollower)
@define(eq=False)
class RemoteFollower:
    """The follower at the other end."""

    _link: Link

    def deliver(self, entries: Sequence[Entry]) -> Deferred[tuple[int, bytes]]:
        answer = self._link.call("deliver", plainFromEntries(entries), seconds=DELIVER_SECONDS)
        return answer.addCallback(_positionFromPlain).addErrback(self._silent)

    def _silent(self, failure: Any) -> Any:
        # A follower that does not answer in all that time holds its place for nothing; it may come again.
        if failure.check(LinkLost) is not None:
            self._link.abort()
        return failure

    def position(self, epoch: int, revision: int, chainHash: bytes) -> Deferred[None]:
        return self._link.call("position", epoch, revision, chainHash).addCallback(_nothing)

    def perform(self, action: str, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        request = {"action": action, "arguments": arguments}
        answer = self._link.call("perform", plainFromOptions(request), seconds=PERFORM_SECONDS)
        return answer.addCallback(optionsFromPlain, "outcome")

    def clusterStatus(self, status: Mapping[str, Any]) -> Deferred[None]:
        return self._link.call("clusterStatus", plainFromOptions(status)).addCallback(_nothing)


def readingMethods(history: History, standStill: Callable[[int], Deferred[Hello]]) -> Mapping[str, Method]:
    """The calls of a node that reads this one's journal, to be promoted or to catch up."""

    def still(epoch: Any) -> Deferred[bytes]:
        return standStill(expect(epoch, int, "epoch")).addCallback(plainFromHello)

    return {**historyMethods(history), "standStill": _checked(still, 1)}


def historyMethods(history: History) -> Mapping[str, Method]:
    """The calls by which a node reads ``history``."""

    def entries(revision: Any, limit: Any) -> Deferred[list[list[bytes]]]:
        found = history.entries(expect(revision, int, "revision"), expect(limit, int, "limit"))
        return found.addCallback(plainFromEntries)

    def where(*place: Any) -> Deferred[list[Any]]:
        return history.where(*_checkedPlace(*place)).addCallback(plainFromAnswer)

    return {
        "where": _checked(where, 2),
        "entries": _checked(entries, 2),
        "snapshotChunk": _checked(
            lambda name, offset: history.snapshotChunk(shortText(name, _MOST_NAME), expect(offset, int, "offset")), 2
        ),
    }


def publisherMethods(publisher: IPublisher, follower: IFollower, node: str, inThread: InThread) -> Mapping[str, Method]:
    """The calls that node ``node`` may make to ``publisher``; ``follower`` is the one at that node."""

    async def propose(plain: bytes) -> int:
        proposal = await inThread(proposalFromPlain, plain)
        # Where a proposal came in is known from the certificate.
        return await publisher.propose(evolve(proposal, node=node))

    def relay(plain: bytes) -> Deferred[bytes]:
        request = optionsFromPlain(plain, "request")
        outcome = publisher.relay(
            shortText(request.get("node"), _MOST_NAME),
            shortText(request.get("action"), _MOST_NAME),
            expect(request.get("arguments"), dict, "request"),
            authorFromPlain(request.get("author")),
        )
        return outcome.addCallback(plainFromOptions)

    def follow(*position: Any) -> Deferred[list[Any]]:
        return publisher.follow(follower, *_checkedPosition(*position)).addCallback(plainFromAnswer)

    return {
        **historyMethods(publisher),
        "follow": _checked(follow, 3),
        "propose": _checked(lambda plain: Deferred.fromCoroutine(propose(expect(plain, bytes, "proposal"))), 1),
        "report": _checked(lambda plain: publisher.report(optionsFromPlain(plain, "report")), 1),
        "relay": _checked(relay, 1),
        "renewCertificate": _checked(lambda plain: publisher.renewCertificate(_small(plain)), 1),
    }


def followerMethods(follower: IFollower) -> Mapping[str, Method]:
    """The calls that a publisher may make to ``follower``."""

    def perform(plain: bytes) -> Deferred[bytes]:
        request = optionsFromPlain(plain, "request")
        arguments = expect(request.get("arguments"), dict, "request")
        outcome = follower.perform(shortText(request.get("action"), _MOST_NAME), arguments)
        return outcome.addCallback(plainFromOptions)

    return {
        "deliver": _checked(lambda plain: follower.deliver(entriesFromPlain(plain)).addCallback(list), 1),
        "position": _checked(lambda *position: follower.position(*_checkedPosition(*position)), 3),
        "perform": _checked(perform, 1),
        "clusterStatus": _checked(lambda plain: follower.clusterStatus(optionsFromPlain(plain, "status")), 1),
    }


def _checked(method: Method, count: int) -> Method:
    def checked(*arguments: Any) -> Any:
        if len(arguments) < count:
            raise malformed("too few arguments")
        # A newer version may add to the end.
        return method(*arguments[:count])

    return checked


def _checkedPosition(epoch: Any, revision: Any, chainHash: Any) -> tuple[int, int, bytes]:
    return expect(epoch, int, "epoch"), *_checkedPlace(revision, chainHash)


def _checkedPlace(revision: Any, chainHash: Any) -> tuple[int, bytes]:
    # Whoever wants a snapshot whatever its place gives none.
    return expect(revision, int, "revision"), expectHash(chainHash) if chainHash != b"" else b""


def _positionFromPlain(plain: Any) -> tuple[int, bytes]:
    if len(expect(plain, list, "position")) < 2:
        raise malformed("position")
    return expect(plain[0], int, "revision"), expectHash(plain[1])


def _small(plain: Any) -> bytes:
    if len(expect(plain, bytes, "request")) > CHUNK_BYTES:
        raise malformed("request is too long")
    return bytes(plain)


def _nothing(_: Any) -> None:
    return None
