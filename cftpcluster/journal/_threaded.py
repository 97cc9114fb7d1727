"""A journal whose storage blocks, and therefore works in a thread of its own.

Proposals that wait are judged in their order and committed together; an answer is given after the commit alone. What
the storage is, is not known here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ParamSpec, Protocol, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from ..errors import ClusterError, DiskFull
from ..interfaces import IJournal
from ._fold import ANSWER_BYTES, Kinds, bounded, followed, judged, repeated, snapshotOf
from .entry import Entry, Head, Proposal, Snapshot

P = ParamSpec("P")
T = TypeVar("T")

log = Logger()

WAITING_PROPOSALS = 1000
"""How many proposals may wait; more are refused."""


class Store(Protocol):
    """Blocking storage of a journal, used by one thread at a time."""

    @property
    def head(self) -> Head:
        """The newest head."""

    @property
    def requests(self) -> Mapping[str, int]:
        """The revisions that requests made, by their ids."""

    def commit(self, entries: Sequence[Entry], head: Head) -> None:
        """Store entries that make ``head``, all or none, durably. ``DiskFull``, ``JournalReadOnly``."""

    def maintain(self) -> bool:
        """Do what would delay a commit, if anything is due. True where folding from the newest snapshot has become
        slow, and another is wanted."""

    def keep(self, snapshot: Snapshot) -> None:
        """Store a snapshot to start from, in place of the last one; one that is not of this history is ignored."""

    def since(self, revision: int, limit: int) -> Sequence[Entry]: ...

    def entry(self, revision: int) -> Entry | None: ...

    def at(self, revision: int) -> Head:
        """The head as it was; ``HistoryGone``."""

    def parts(self, revision: int) -> tuple[Snapshot, Sequence[Entry]]:
        """A snapshot and the entries after it up to ``revision``; ``HistoryGone``."""

    def restore(self, snapshot: Snapshot) -> None: ...

    def compact(self, keep: int) -> None: ...

    def check(self) -> None:
        """Read everything anew; ``JournalDamaged``."""

    def renew(self) -> str:
        """Begin a new file with the head alone, which was proved when it came; the answer is where the old one lies."""

    def stopWriting(self, why: str) -> None:
        """Append nothing from now on."""

    def close(self) -> None: ...


@define(eq=False)
class Tail:
    """The newest entries, for those who follow closely: they need not wait for the thread."""

    _entries: deque[Entry] = field(factory=deque, init=False)
    _bytes: int = field(default=0, init=False)

    def extend(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._entries.append(entry)
            self._bytes += len(entry.body)
        while self._bytes > ANSWER_BYTES:
            self._bytes -= len(self._entries.popleft().body)

    def reaches(self, revision: int) -> bool:
        """Whether everything after ``revision`` is here."""
        return bool(self._entries) and self._entries[0].revision - 1 <= revision <= self._entries[-1].revision

    def since(self, revision: int) -> Iterator[Entry]:
        return islice(self._entries, revision + 1 - self._entries[0].revision, None)


@implementer(IJournal)
@define(eq=False)
class ThreadedJournal:
    """:ivar pool: a pool of one thread, for this journal alone; what is given to it is done in order."""

    _store: Store
    _kinds: Kinds
    _reactor: Any
    _pool: ThreadPool
    _stopPool: Callable[[], None]
    _head: Head = field(init=False)
    _tail: Tail = field(factory=Tail, init=False)
    _waiting: deque[tuple[Proposal, Deferred[Head]]] = field(factory=deque, init=False)
    _closed: bool = field(default=False, init=False)
    _encoding: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._head = self._store.head

    def append(self, proposal: Proposal) -> Deferred[Head]:
        if self._closed:
            return _closedFailure()
        if len(self._waiting) >= WAITING_PROPOSALS:
            return fail(ClusterError("too many changes are waiting"))
        answer: Deferred[Head] = Deferred()
        self._waiting.append((proposal, answer))
        self._pool.callInThread(self._commitWaiting)
        return answer

    def extend(self, entries: Sequence[Entry]) -> Deferred[Head]:
        given = list(entries)
        return self._inThread(self._extend, given).addCallback(self._publish, given)

    def since(self, revision: int, limit: int) -> Deferred[Sequence[Entry]]:
        if self._tail.reaches(revision) and not self._closed:
            return succeed(list(bounded(self._tail.since(revision), limit)))
        return self._inThread(self._store.since, revision, limit)

    def find(self, requestId: str) -> Deferred[Entry | None]:
        return self._inThread(self._find, requestId)

    def head(self) -> Deferred[Head]:
        return _closedFailure() if self._closed else succeed(self._head)

    def snapshot(self) -> Deferred[Snapshot]:
        return self._inThread(lambda: snapshotOf(self._store.head))

    def at(self, revision: int) -> Deferred[Head]:
        return self._inThread(self._store.at, revision)

    def parts(self, revision: int) -> Deferred[tuple[Snapshot, Sequence[Entry]]]:
        return self._inThread(self._store.parts, revision)

    def restore(self, snapshot: Snapshot) -> Deferred[Head]:
        return self._inThread(self._restore, snapshot).addCallback(self._publish, None)

    def compact(self, keep: int) -> Deferred[None]:
        self._tail = Tail()
        return self._inThread(self._store.compact, keep)

    def check(self) -> Deferred[None]:
        """Read everything stored anew; fails with ``JournalDamaged`` where it does not prove itself any more."""
        return self._inThread(self._store.check)

    def renew(self) -> Deferred[str]:
        """Put a damaged file aside and begin a new one with the head alone; fires with where the old one lies."""
        self._tail = Tail()
        return self._inThread(self._store.renew)

    def stopWriting(self, why: str) -> Deferred[None]:
        """Append nothing until it is opened anew: what is stored is damaged, and nothing may be built on it."""
        return self._inThread(self._store.stopWriting, why)

    def close(self) -> Deferred[None]:
        if self._closed:
            return succeed(None)
        done = self._inThread(self._store.close)
        self._closed = True

        def stopPool(result: T) -> T:
            self._stopPool()
            return result

        return done.addBoth(stopPool)

    # --- in the reactor's thread

    def _inThread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        if self._closed:
            return _closedFailure()
        return deferToThreadPool(self._reactor, self._pool, work, *args, **kwargs)

    def _publish(self, head: Head, entries: Sequence[Entry] | None) -> Head:
        """:param entries: what led there; ``None`` where another history took this one's place."""
        self._head = head
        if entries is None:
            self._tail = Tail()
        else:
            self._tail.extend(entries)
        return head

    def _answer(
        self,
        answers: Sequence[Deferred[Head]],
        outcomes: Sequence[Head | Failure],
        head: Head,
        entries: Sequence[Entry],
    ) -> None:
        self._publish(head, entries)
        for answer, outcome in zip(answers, outcomes, strict=True):
            answer.callback(outcome)

    # --- in the journal's thread

    def _commitWaiting(self) -> None:
        group = []
        while self._waiting:
            group.append(self._waiting.popleft())
        if not group:
            return
        committed: list[Entry] = []
        outcomes = self._outcomes([proposal for proposal, _ in group], committed)
        answers = [answer for _, answer in group]
        self._reactor.callFromThread(self._answer, answers, outcomes, self._store.head, committed)
        self._pool.callInThread(self._maintain)

    def _outcomes(self, proposals: Sequence[Proposal], committed: list[Entry]) -> list[Head | Failure]:
        """Judge each on what those before it make, and commit what is good, adding it to ``committed``."""
        head = self._store.head
        entries: list[Entry] = []
        outcomes: list[Head | Failure] = []
        ids: set[str] = set()
        for proposal in proposals:
            try:
                if not repeated(proposal, self._store.requests) and not repeated(proposal, ids):
                    entry, head = judged(proposal, head, self._kinds)
                    entries.append(entry)
                    ids.add(proposal.requestId)
                outcomes.append(head)
            except Exception:  # noqa: BLE001 whatever it is, it is the answer to this proposal alone
                outcomes.append(Failure())
        try:
            if entries:
                self._store.commit(entries, head)
                committed.extend(entries)
        except DiskFull:
            if len(proposals) > 1:
                # A smaller one may still fit.
                return [outcome for proposal in proposals for outcome in self._outcomes([proposal], committed)]
            return [Failure()]
        except Exception:  # noqa: BLE001 nobody may take it for done
            failure = Failure()
            return [outcome if isinstance(outcome, Failure) else failure for outcome in outcomes]
        return outcomes

    def _maintain(self) -> None:
        try:
            if self._store.maintain() and not self._encoding:
                # Encoding takes as long as the document is large; commits need not wait for it.
                self._encoding = True
                self._reactor.callFromThread(self._reactor.callInThread, self._encode, self._store.head)
        except Exception:  # noqa: BLE001 what was asked for is done, and the next commit says what is wrong
            log.failure("the journal could not be maintained")

    def _encode(self, head: Head) -> None:
        """In some other thread."""
        self._pool.callInThread(self._keep, snapshotOf(head))

    def _keep(self, snapshot: Snapshot) -> None:
        try:
            if not self._closed:
                self._store.keep(snapshot)
        except Exception:  # noqa: BLE001 what was asked for is done, and the next commit says what is wrong
            log.failure("the journal could not be maintained")
        finally:
            self._encoding = False

    def _extend(self, entries: Sequence[Entry]) -> Head:
        head = self._store.head
        for entry in entries:
            head = followed(head, entry)
        if entries:
            self._store.commit(entries, head)
            self._pool.callInThread(self._maintain)
        return head

    def _find(self, requestId: str) -> Entry | None:
        revision = self._store.requests.get(requestId)
        return None if revision is None else self._store.entry(revision)

    def _restore(self, snapshot: Snapshot) -> Head:
        self._store.restore(snapshot)
        return self._store.head


def _closedFailure() -> Deferred[Any]:
    return fail(ClusterError("the journal is closed"))
