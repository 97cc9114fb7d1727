"""A journal in memory: the twin of the one on disk, for tests and for trying things out.

Its Deferreds have fired when they are returned. Nothing outlives the process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, execute, fail, succeed
from zope.interface import implementer

from ..errors import ClusterError
from ..interfaces import IJournal
from ._fold import (
    START,
    Kinds,
    bounded,
    compactedBase,
    folded,
    followed,
    headOf,
    judged,
    repeated,
    requireHistory,
    requireRevision,
    snapshotOf,
)
from .entry import Entry, Head, Proposal, Snapshot

P = ParamSpec("P")
T = TypeVar("T")


@implementer(IJournal)
@define(eq=False)
class MemoryJournal:
    """:ivar kinds: section name to the kinds of its components and their option classes."""

    kinds: Kinds
    _base: Head = field(default=START, init=False)
    _head: Head = field(default=START, init=False)
    _entries: list[Entry] = field(factory=list, init=False)
    _requests: dict[str, Entry] = field(factory=dict, init=False)
    _closed: bool = field(default=False, init=False)

    def append(self, proposal: Proposal) -> Deferred[Head]:
        return self._execute(self._append, proposal)

    def extend(self, entries: Sequence[Entry]) -> Deferred[Head]:
        return self._execute(self._extend, entries)

    def since(self, revision: int, limit: int) -> Deferred[Sequence[Entry]]:
        return self._execute(self._since, revision, limit)

    def find(self, requestId: str) -> Deferred[Entry | None]:
        return self._execute(self._requests.get, requestId)

    def head(self) -> Deferred[Head]:
        return self._execute(lambda: self._head)

    def snapshot(self) -> Deferred[Snapshot]:
        return self._execute(lambda: snapshotOf(self._head))

    def at(self, revision: int) -> Deferred[Head]:
        return self._execute(self._at, revision)

    def parts(self, revision: int) -> Deferred[tuple[Snapshot, Sequence[Entry]]]:
        return self._execute(self._parts, revision)

    def restore(self, snapshot: Snapshot) -> Deferred[Head]:
        return self._execute(self._restore, snapshot)

    def compact(self, keep: int) -> Deferred[None]:
        return self._execute(self._compact, keep)

    def close(self) -> Deferred[None]:
        self._closed = True
        return succeed(None)

    def _execute(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        if self._closed:
            return fail(ClusterError("the journal is closed"))
        return execute(work, *args, **kwargs)

    def _append(self, proposal: Proposal) -> Head:
        if not repeated(proposal, self._requests):
            entry, head = judged(proposal, self._head, self.kinds)
            self._take([entry], head)
        return self._head

    def _extend(self, entries: Sequence[Entry]) -> Head:
        head = self._head
        for entry in entries:
            head = followed(head, entry)
        self._take(entries, head)
        return head

    def _take(self, entries: Sequence[Entry], head: Head) -> None:
        self._entries.extend(entries)
        self._requests.update({entry.requestId: entry for entry in entries if entry.requestId})
        self._head = head

    def _since(self, revision: int, limit: int) -> Sequence[Entry]:
        requireHistory(revision, self._base.revision)
        return list(bounded(self._entries[revision - self._base.revision :], limit))

    def _at(self, revision: int) -> Head:
        requireRevision(revision, self._base.revision, self._head.revision)
        return folded(self._base, self._entries[: revision - self._base.revision])

    def _parts(self, revision: int) -> tuple[Snapshot, Sequence[Entry]]:
        requireRevision(revision, self._base.revision, self._head.revision)
        return snapshotOf(self._base), list(self._entries[: revision - self._base.revision])

    def _restore(self, snapshot: Snapshot) -> Head:
        self._base = self._head = headOf(snapshot)
        self._entries, self._requests = [], {}
        return self._head

    def _compact(self, keep: int) -> None:
        gone = compactedBase(self._base.revision, self._head, keep) - self._base.revision
        self._base = folded(self._base, self._entries[:gone])
        self._entries = self._entries[gone:]
        self._requests = {entry.requestId: entry for entry in self._entries if entry.requestId}
