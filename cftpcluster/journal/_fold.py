"""What every journal does with entries, wherever it keeps them: judge a proposal, fold an entry, bound an answer.

Pure functions; they run in whichever thread a journal calls them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping

from ..config.changes import apply, moved
from ..config.codec import decodeChange, decodeDocument, encodeChange, encodeDocument
from ..config.document import Document
from ..config.validation import problems
from ..errors import ChainMismatch, ClusterError, Conflict, HistoryGone, Invalid
from ..vocabulary import Problem
from .entry import CHAIN_START, Entry, Head, Proposal, Snapshot, chained

Kinds = Mapping[str, Mapping[str, type]]
"""Section name to the kinds of its components and their option classes."""

ANSWER_BYTES = 1024 * 1024
"""About how much one answer of ``since`` holds."""

START = Head(0, 0, CHAIN_START, Document())
"""The head of a journal without entries."""


def judged(proposal: Proposal, head: Head, kinds: Kinds) -> tuple[Entry, Head]:
    """The entry that a proposal makes after ``head``, and the head that this makes.

    :raises Conflict: where an object has changed since.
    :raises Invalid: with all problems.
    """
    if conflicts := moved(head.document, proposal.expected):
        raise Conflict(conflicts)
    document = apply(head.document, proposal.change)
    found = problems(document, proposal.change, kinds)
    if document.promoted != head.document.promoted and document.promoted.epoch <= head.epoch:
        found.append(Problem("epoch", f"{document.promoted.epoch} must be higher than {head.epoch}"))
    if found:
        raise Invalid(found)
    entry = Entry.following(
        head.chainHash,
        epoch=document.promoted.epoch,
        revision=document.revision,
        time=proposal.time,
        author=proposal.author,
        node=proposal.node,
        requestId=proposal.requestId,
        change=encodeChange(proposal.change),
    )
    return entry, Head(entry.epoch, entry.revision, entry.chainHash, document)


def followed(head: Head, entry: Entry) -> Head:
    """The head after an entry that was made elsewhere or read from a disk.

    :raises ChainMismatch: where it does not follow on ``head``.
    """
    if entry.revision != head.revision + 1:
        raise ChainMismatch(head.revision + 1, f"revision {entry.revision} does not follow on {head.revision}")
    if chained(head.chainHash, entry.body) != entry.chainHash:
        raise ChainMismatch(entry.revision, f"the hash of revision {entry.revision} does not fit")
    document = apply(head.document, decodeChange(entry.change))
    if entry.epoch != document.promoted.epoch or entry.epoch < head.epoch:
        raise ChainMismatch(entry.revision, f"revision {entry.revision} is of another epoch than it says")
    return Head(entry.epoch, entry.revision, entry.chainHash, document)


def snapshotOf(head: Head) -> Snapshot:
    data = encodeDocument(head.document)
    return Snapshot(head.epoch, head.revision, head.chainHash, data, hashlib.sha256(data).digest())


def headOf(snapshot: Snapshot) -> Head:
    """The head that a snapshot stands for.

    :raises ChainMismatch: where it does not prove itself.
    """
    if hashlib.sha256(snapshot.data).digest() != snapshot.sha256:
        raise ChainMismatch(snapshot.revision, f"the snapshot of revision {snapshot.revision} does not fit its SHA-256")
    try:
        document = decodeDocument(snapshot.data)
    except Invalid as error:
        raise ChainMismatch(snapshot.revision, f"the snapshot of revision {snapshot.revision}: {error}") from None
    if (document.revision, document.promoted.epoch) != (snapshot.revision, snapshot.epoch):
        raise ChainMismatch(snapshot.revision, f"the snapshot of revision {snapshot.revision} holds another")
    return Head(snapshot.epoch, snapshot.revision, snapshot.chainHash, document)


def requireHistory(revision: int, base: int) -> None:
    """:raises HistoryGone: where entries right after ``revision`` were compacted away."""
    if revision < base:
        raise HistoryGone(f"entries up to revision {base} are gone")


def requireRevision(revision: int, base: int, head: int) -> None:
    """:raises HistoryGone: where nobody can say any more how it was at ``revision``.
    :raises ClusterError: where it has not come yet.
    """
    requireHistory(revision, base)
    if revision > head:
        raise ClusterError(f"there is no revision {revision} yet")


def bounded(entries: Iterable[Entry], limit: int) -> Iterator[Entry]:
    """The first ``limit`` entries, fewer where they are large, but at least one."""
    size = 0
    for count, entry in enumerate(entries):
        size += len(entry.body)
        if count == limit or (count and size > ANSWER_BYTES):
            return
        yield entry


def compactedBase(base: int, head: Head, keep: int) -> int:
    """The revision up to which entries may be forgotten.

    Changes that this version cannot apply stay entries: a later version has to fold them in their order.
    """
    wanted = head.revision - max(keep, 0)
    for one in head.document.unknown:
        if one.revision > base:
            wanted = min(wanted, one.revision - 1)
    return max(base, wanted)


def folded(base: Head, entries: Iterable[Entry]) -> Head:
    """The head after entries that are known to follow on ``base``."""
    head = base
    for entry in entries:
        head = Head(entry.epoch, entry.revision, entry.chainHash, apply(head.document, decodeChange(entry.change)))
    return head


def repeated(proposal: Proposal, requests: Container[str]) -> bool:
    """Whether a proposal was appended before."""
    return bool(proposal.requestId) and proposal.requestId in requests
