"""What must hold whatever happens: looked at whenever something becomes durable or is answered, and at the end.

All entries that were ever made are known here, each with the one before it, so that every node's history can be
followed back to the beginning, however much of it was compacted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from cftpcluster.auth.bans import BANS
from cftpcluster.auth.sessions import ENDED, SESSIONS
from cftpcluster.config.changes import Batch, Promote
from cftpcluster.config.codec import decodeChange, encodeDocument
from cftpcluster.config.document import Document
from cftpcluster.errors import (
    ClusterError,
    Conflict,
    DiskFull,
    Forbidden,
    Invalid,
    NotAppending,
    NotDurableEnough,
    NotPrimary,
    PrimaryUnreachable,
    Refused,
)
from cftpcluster.journal.entry import CHAIN_START, Entry, Head

if TYPE_CHECKING:
    from .disk import Image
    from .machines import Machine, Process
    from .world import World

NOTHING_CHANGED = (Conflict, Invalid, Forbidden, PrimaryUnreachable, NotAppending, NotPrimary, Refused, DiskFull)
"""Answers by which a change was not made, and never will be."""

ROWS = (BANS, ENDED, SESSIONS)

ANSWER_SECONDS = 130.0
"""How long anybody may wait for an answer."""

IN_FLIGHT_SECONDS = 2.0
"""How long after it was fenced a node may still complete what its journal was doing."""


@frozen(eq=False)
class Known:
    """An entry, the hash before it, and where it was made."""

    entry: Entry
    previous: bytes
    maker: str
    at: float
    promotes: str


@define(eq=False, repr=False)
class Operation:
    """What an administrator asked for.

    :ivar requestId: the same for what is asked again.
    :ivar outcome: a revision, an error, or ``None`` as long as there is none.
    :ivar gone: whether the node that was asked died before it answered.
    :ivar holders: the nodes that had the change durably when it was acknowledged.
    """

    requestId: str
    what: str
    asked: str
    process: Process
    at: float
    outcome: int | Exception | None = None
    answeredAt: float = 0.0
    gone: bool = False
    holders: frozenset[str] = frozenset()

    @property
    def acknowledged(self) -> bool:
        return isinstance(self.outcome, int)


@frozen(eq=False)
class Promotion:
    """A promotion by force.

    :ivar consulted: the nodes that the operator compared, the most advanced of which was promoted.
    :ivar head: the hash of its history then.
    """

    at: float
    name: str
    epoch: int
    consulted: frozenset[str]
    head: bytes


@define(eq=False, repr=False)
class Oracle:
    """Watches everything, and keeps what is wrong.

    :ivar violations: the first is what counts; nothing goes on after it.
    :ivar known: every entry, by its chain hash.
    :ivar appenders: who appended in which epoch.
    :ivar promoted: who was promoted in which epoch.
    :ivar contested: epochs in which more than one was, by force, on both sides of a partition.
    :ivar had: since when which node had an entry durably.
    :ivar counts: which counter a request sets to what, and the place in whose document it was read.
    """

    world: World
    violations: list[str] = field(factory=list)
    known: dict[bytes, Known] = field(factory=dict)
    byRequest: dict[str, list[bytes]] = field(factory=dict)
    operations: list[Operation] = field(factory=list)
    promotions: list[Promotion] = field(factory=list)
    appenders: dict[int, set[str]] = field(factory=dict)
    promoted: dict[int, set[str]] = field(factory=dict)
    contested: set[int] = field(factory=set)
    counts: dict[str, tuple[str, int, bytes]] = field(factory=dict)
    had: dict[bytes, dict[str, float]] = field(factory=dict)
    written: dict[tuple[str, str, str], tuple[Process, Any]] = field(factory=dict)
    _primaryAt: dict[bytes, str] = field(factory=dict)
    _documents: dict[bytes, Document] = field(factory=dict)
    _fencedSince: dict[int, float] = field(factory=dict)

    def violated(self, text: str, *values: Any) -> None:
        said = text.format(*values)
        self.violations.append(said)
        self.world.trace("oracle", "VIOLATION: {}", said)

    # --- histories

    def chain(self, chainHash: bytes) -> Iterator[bytes]:
        """The hashes of a history, the newest first."""
        while chainHash != CHAIN_START:
            yield chainHash
            chainHash = self.known[chainHash].previous

    def holds(self, head: Head, chainHash: bytes) -> bool:
        """Whether a history holds that entry."""
        revision = self.known[chainHash].entry.revision if chainHash != CHAIN_START else 0
        here = head.chainHash
        while here != CHAIN_START and self.known[here].entry.revision > revision:
            here = self.known[here].previous
        return here == chainHash

    def primaryOf(self, chainHash: bytes) -> str:
        """Who is primary by that history."""
        return self._primaryAt.get(chainHash, "")

    # --- what journals do

    def made(self, process: Process, entries: Sequence[Entry], before: Head) -> None:
        """Entries are being written by a process: its own, or another's."""
        previous = before.chainHash
        for entry in entries:
            if entry.chainHash not in self.known:
                self._appended(process, entry, previous)
            elif self.known[entry.chainHash].previous != previous:
                self.violated("{}: revision {} has two pasts", process.name, entry.revision)
            previous = entry.chainHash

    def _appended(self, process: Process, entry: Entry, previous: bytes) -> None:
        name, now = process.name, self.world.timeline.now
        promotes = promotedBy(entry)
        self.known[entry.chainHash] = Known(entry, previous, name, now, promotes)
        self._primaryAt[entry.chainHash] = promotes or self.primaryOf(previous)
        if entry.requestId:
            self.byRequest.setdefault(entry.requestId, []).append(entry.chainHash)
        self.world.trace(name, "appends {} of epoch {}: {}", entry.revision, entry.epoch, entry.change[:60])
        was = self.primaryOf(previous)
        if name not in (was, promotes) and previous != CHAIN_START:
            self.violated("{} appended revision {} although {} was primary there", name, entry.revision, was)
        if promotes:
            promoted = self.promoted.setdefault(entry.epoch, set())
            promoted.add(promotes)
            if len(promoted) > 1:
                self.contested.add(entry.epoch)
        else:
            appenders = self.appenders.setdefault(entry.epoch, set())
            appenders.add(name)
            if len(appenders) > 1 and entry.epoch not in self.contested:
                self.violated("{} appended in epoch {}", " and ".join(sorted(appenders)), entry.epoch)
        since = self._fencedSince.get(id(process))
        fenced = process.peering.publisher.isFenced
        if fenced and since is not None and not promotes and now - since > IN_FLIGHT_SECONDS:
            self.violated("{} appended revision {}, fenced since {:.3f}", name, entry.revision, since)

    def looked(self, process: Process) -> None:
        """See whether a process knows that it is fenced."""
        if process.peering.publisher.isFenced:
            self._fencedSince.setdefault(id(process), self.world.timeline.now)
        else:
            self._fencedSince.pop(id(process), None)

    def synced(self, process: Process, before: Image, after: Image) -> None:
        """A journal became durable."""
        self.looked(process)
        old, new = before.head, after.head
        for one in self.chain(new.chainHash):
            had = self.had.setdefault(one, {})
            if one == old.chainHash or process.name in had:
                break
            had[process.name] = self.world.timeline.now
        if old.chainHash == new.chainHash or self.holds(new, old.chainHash):
            return
        self.world.trace(process.name, "gives up {} of epoch {} for {} of {}", old.revision, old.epoch, *_place(new))
        if new.epoch < old.epoch:
            self.violated("{} went back from epoch {} to {}", process.name, old.epoch, new.epoch)
        history, kept = set(self.chain(new.chainHash)), self.kept(process.machine)
        for one in self.chain(old.chainHash):
            if one in history:
                break
            known = self.known[one]
            if one not in kept and not known.promotes and known.entry.revision > before.base.revision:
                self.violated("{} gave up revision {} and did not keep it", process.name, known.entry.revision)

    def kept(self, machine: Machine) -> set[bytes]:
        """The entries that a machine has in branches; where its journal was compacted, in the document before them."""
        kept: set[bytes] = set()
        for about in json.loads(machine.disk.files.get("branches.json", b"[]")):
            if f"branch-{about['id']}.json" in machine.disk.files:
                for one in self.chain(bytes.fromhex(about["chainHash"])):
                    if self.known[one].entry.revision == about["ancestor"]:
                        break
                    kept.add(one)
        return kept

    def published(self, process: Process, before: Head, head: Head) -> None:
        """A process takes a head for its newest."""
        if head.chainHash != before.chainHash and not self.holds(head, before.chainHash):
            image = process.machine.disk.image
            if image.base.chainHash != head.chainHash and not self.holds(image.head, head.chainHash):
                self.violated(
                    "{} went from revision {} to {}, another history", process.name, *_revisions(before, head)
                )
        if not self.holds(process.machine.head, head.chainHash):
            self.violated("{} published revision {}, which is not durable there", process.name, head.revision)
        other = self._documents.setdefault(head.chainHash, head.document)
        if other is not head.document and other.revision != head.document.revision:
            self.violated("{}: another document at revision {}", process.name, head.revision)

    # --- what administrators are told

    def answered(self, operation: Operation) -> None:
        operation.answeredAt = self.world.timeline.now
        made = self.byRequest.get(operation.requestId, [])
        outcome = operation.outcome
        if isinstance(outcome, int):
            # Where it was asked for twice, the second answer may tell a later revision.
            holding = [one for one in made if self.known[one].entry.revision <= outcome]
            holders = {
                machine.name
                for machine in self.world.machines.values()
                if any(self.holds(machine.head, one) for one in holding)
            }
            operation.holders = frozenset(holders)
            if not holders:
                self.violated("{} was acknowledged as revision {}, durable nowhere", operation.requestId, outcome)
                return
            best = holding[-1]
            wanted = self._synchronous(best)
            if len(holders) < 1 + wanted:
                self.violated(
                    "{} was acknowledged with {} followers wanted, durable on {}", operation.requestId, wanted, holders
                )
            if operation.process.peering.publisher.isFenced and operation.process.name == self.known[best].maker:
                self.violated("{} acknowledged {} although fenced", operation.process.name, operation.requestId)
        elif isinstance(outcome, NotDurableEnough):
            if not any(self.known[one].entry.revision <= outcome.revision for one in made):
                self.violated("{}: revision {} does not stand", operation.requestId, outcome.revision)
        elif not isinstance(outcome, ClusterError):
            self.violated("{} failed with {!r}", operation.requestId, outcome)

    def unanswered(self) -> list[Operation]:
        """What is still being done, by nodes that did not die meanwhile."""
        return [one for one in self.operations if one.outcome is None and not one.gone]

    def _synchronous(self, chainHash: bytes) -> int:
        """How many followers an acknowledgement waits for: by the settings before, with, or after an entry."""
        wanted = [process.head.document.settings.synchronousFollowers for process in self.world.running()]
        for one in (chainHash, self.known[chainHash].previous):
            document = self._documents.get(one)
            if document is not None:
                wanted.append(document.settings.synchronousFollowers)
        return min(wanted, default=0)

    # --- the end

    def atTheEnd(self, final: Head) -> None:
        """Everything is healed, and all nodes have the same history."""
        newestFirst = list(self.chain(final.chainHash))
        self._requireCounting(newestFirst[::-1])
        history = set(newestFirst)
        self._requireOneEach(history)
        byId: dict[str, list[Operation]] = {}
        for operation in self.operations:
            if operation.requestId:
                byId.setdefault(operation.requestId, []).append(operation)
        for requestId, operations in byId.items():
            self._requireWord(requestId, operations, history)
        self._requireSameDocuments(final)

    def _requireCounting(self, history: Sequence[bytes]) -> None:
        """Whoever counted one up saw the number before it: nobody's change was written over unseen.

        Who saw a branch that was given up is not held to that: revisions of a branch have the same numbers.
        """
        places = set(history)
        counted: dict[str, int] = {}
        for one in history:
            requestId = self.known[one].entry.requestId
            if requestId in self.counts:
                name, value, place = self.counts[requestId]
                if value != counted.get(name, 0) + 1 and place in places:
                    self.violated("{} set {} to {}, which was {}", requestId, name, value, counted.get(name, 0))
                counted[name] = value

    def _requireOneEach(self, history: set[bytes]) -> None:
        for requestId, made in self.byRequest.items():
            revisions = sorted(self.known[one].entry.revision for one in history.intersection(made))
            for first, second in pairwise(revisions):
                # Who comes later than the journal remembers is not known any more.
                if second - first <= self.world.plan.history:
                    self.violated("{} was appended twice, as {} and {}", requestId, first, second)

    def _requireWord(self, requestId: str, operations: list[Operation], history: set[bytes]) -> None:
        made = self.byRequest.get(requestId, [])
        inEffect = [one for one in made if one in history]
        if (
            inEffect
            and all(isinstance(one.outcome, NOTHING_CHANGED) for one in operations)
            and not self._forgotten(made)
        ):
            self.violated("{} was refused ({!r}), and made all the same", requestId, operations[-1].outcome)
        if history.isdisjoint(made):
            for operation in operations:
                if operation.acknowledged:
                    self._requireExcuse(operation, made)

    def _forgotten(self, made: list[bytes]) -> bool:
        """Whether so much was appended meanwhile that a journal may have forgotten who asked for it."""
        first = self.known[made[0]]
        return any(
            known.entry.revision - first.entry.revision >= self.world.plan.history
            and known.at - first.at < ANSWER_SECONDS
            for known in self.known.values()
        )

    def _requireExcuse(self, operation: Operation, made: list[bytes]) -> None:
        """What was acknowledged may be missing where a promotion by force could not know of it; then it is kept."""
        assert isinstance(operation.outcome, int)
        best = [one for one in made if self.known[one].entry.revision <= operation.outcome][-1]
        responsible = [one for one in self.promotions if best not in set(self.chain(one.head))]
        if not responsible:
            self.violated("{}, acknowledged, is lost without a promotion by force", operation.requestId)
        elif all(self._couldKnow(one, best) for one in responsible):
            self.violated("{} is lost, although nodes had it that were asked before the promotion", operation.requestId)
        elif not any(self._keeps(machine, best) for machine in self.world.machines.values()):
            self.violated("{} is lost, and kept nowhere", operation.requestId)

    def _couldKnow(self, promotion: Promotion, chainHash: bytes) -> bool:
        had = self.had.get(chainHash, {})
        return any(had.get(name, promotion.at) < promotion.at for name in promotion.consulted)

    def _keeps(self, machine: Machine, chainHash: bytes) -> bool:
        if self.world.wasWiped(machine) or self.holds(machine.head, chainHash):
            return True
        return chainHash in self.kept(machine)

    # --- promotions

    def forced(self, process: Process, outcome: Any) -> None:
        """A node was promoted by force, and said whom it had not reached."""
        if outcome is None or outcome.get("already"):
            return
        away = set(outcome["notReached"])
        [head] = [
            one
            for one, known in self.known.items()
            if known.promotes == process.name and known.entry.epoch == outcome["epoch"] and known.maker == process.name
        ]
        consulted = frozenset(set(process.head.document.nodes) - away)
        self.promotions.append(Promotion(self.known[head].at, process.name, outcome["epoch"], consulted, head))

    # --- rows

    def wrote(self, process: Process, table: str, key: str, value: Any) -> None:
        """A process wrote a row of its own, or withdrew it (``None``)."""
        self.written[table, key, process.name] = process, value

    def rowsApart(self) -> str:
        """Which rows the nodes do not agree on yet, or not with their writers; "" where there are none."""
        members = [machine.process for machine in self.world.members() if machine.process is not None]
        known = {process.name: self._lastingRows(process) for process in members}
        for process in members:
            for row, number in known[process.name].items():
                writer, value = self.written[row]
                if writer in members and (value is None or value["number"] != number):
                    return f"{process.name} has row {row} as {number}, its writer as {value}"
                for other in members:
                    if row not in known[other.name] and self._isCertain(row, members):
                        return f"{process.name} has row {row}, and {other.name} has not"
        return ""

    def _lastingRows(self, process: Process) -> dict[tuple[str, str, str], int]:
        """The rows that a process knows, without those that are about to expire."""
        soon = self.world.timeline.now + 5.0
        rows = process.peering.rows
        found = [row for table in ROWS for row in rows.rows(table)]
        return {(row.table, row.key, row.node): row.value["number"] for row in found if row.expires > soon}

    def _isCertain(self, row: tuple[str, str, str], members: list[Process]) -> bool:
        """Whether a row is one of a node of the cluster, and not about to expire anywhere."""
        records = [process.peering.rows.record(row) for process in members]
        ends = [record.expires for record in records if record is not None]
        return row[2] in {process.name for process in members} and min(ends) > self.world.timeline.now + 5.0

    # --- documents

    def _requireSameDocuments(self, final: Head) -> None:
        expected = encodeDocument(final.document)
        for machine in self.world.members():
            assert machine.process is not None
            for head in (machine.head, machine.process.head, machine.process.peering.follower.head):
                if head.chainHash == final.chainHash and encodeDocument(head.document) != expected:
                    self.violated("{}: another document at revision {}", machine.name, head.revision)


def promotedBy(entry: Entry) -> str:
    """Whom an entry makes primary; "" where it promotes nobody."""
    if b'"promote"' not in entry.change:
        return ""
    change = decodeChange(entry.change)
    changes = change.changes if isinstance(change, Batch) else (change,)
    return next((one.name for one in changes if isinstance(one, Promote)), "")


def _place(head: Head) -> tuple[int, int]:
    return head.revision, head.epoch


def _revisions(*heads: Head) -> Sequence[int]:
    return [head.revision for head in heads]
