"""One schedule from its beginning to its end: the cluster, what happens to it, and what must hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from attrs import define, field, frozen
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from zope.interface import implementer

from cftpcluster.config.changes import Batch, MergeSettings, Promote, Put
from cftpcluster.config.document import Node
from cftpcluster.journal._fold import START, judged
from cftpcluster.journal.entry import Head, Proposal
from cftpcluster.vocabulary import Author

from .actions import Actions
from .clock import Timeline
from .disk import Disk, Image, ModelStore
from .invariants import ANSWER_SECONDS, Oracle
from .machines import Machine, Process
from .network import Network
from .plan import Plan

ADMIN = Author("admin", "full", "local")
SETTLE_SECONDS = 15.0
"""How long it may take, when nothing goes wrong any more, until all nodes are equal."""

MOST_EVENTS = 400_000
"""Whoever makes more of them is busy with nothing."""


@frozen
class Outcome:
    """How a schedule ended.

    :ivar violations: none when all is well.
    :ivar settledSeconds: how long it took until all nodes were equal.
    :ivar trace: what happened, for people.
    """

    plan: Plan
    violations: tuple[str, ...]
    settledSeconds: float
    events: int
    acknowledged: int
    trace: tuple[str, ...]


@define(eq=False, repr=False)
class World:
    """:ivar storeClass: what stands for a node's disk.
    :ivar wiped: machines that lost everything.
    :ivar outcasts: machines that were put out, and have not joined anew.
    :ivar prepare: is given each process before it starts, for tests to plant a bug in it.
    """

    plan: Plan
    storeClass: type[ModelStore] = ModelStore
    prepare: Callable[[Process], None] = field(default=lambda process: None)
    tracing: bool = False
    compactEvery: int = 5
    timeline: Timeline = field(factory=Timeline)
    network: Network = field(init=False)
    machines: dict[str, Machine] = field(factory=dict)
    oracle: Oracle = field(init=False)
    actions: Actions = field(init=False)
    healed: bool = False
    said: list[str] = field(factory=list)
    wiped: set[str] = field(factory=set)
    outcasts: set[str] = field(factory=set)

    def __attrs_post_init__(self) -> None:
        plan = self.plan
        self.network = Network(self.timeline, Random(f"network {plan.seed}"), plan.bytes, plan.latency, self.machines)
        self.oracle = Oracle(self)
        self.actions = Actions(self)
        for index in range(plan.nodes):
            name = "abcdefgh"[index]
            disk = Disk(Random(f"disk {plan.seed} {name}"))
            self.machines[name] = Machine(name, f"192.0.2.{index + 1}", disk, self)

    @property
    def seed(self) -> int:
        return self.plan.seed

    def trace(self, where: str, text: str, *values: Any) -> None:
        if self.tracing:
            self.said.append(f"{self.timeline.now:9.4f}  {where:<8} {text.format(*values)}")

    # --- what processes need

    def makeStore(self, process: Process) -> ModelStore:
        return self.storeClass(
            process.machine.disk,
            lambda entries, before: self.oracle.made(process, entries, before),
            lambda before, after: self.oracle.synced(process, before, after),
        )

    def nodeEntry(self, machine: Machine) -> Put:
        return Put("nodes", Node(name=machine.name, address=machine.address, fingerprint=machine.fingerprint))

    def wasWiped(self, machine: Machine) -> bool:
        return machine.name in self.wiped

    # --- the cluster

    def running(self) -> list[Process]:
        return [machine.process for machine in self.machines.values() if machine.process is not None]

    def primaries(self) -> list[Process]:
        """Those who may append; whoever was put out without hearing of it is alone with that."""
        found = [process for process in self.running() if process.peering.publisher.isPrimary]
        return [process for process in found if process.name not in self.outcasts] or found

    def following(self) -> list[Process]:
        return [process for process in self.running() if process.peering.follower.state == "following"]

    def final(self) -> Head | None:
        """Where everybody has to get to."""
        primaries = self.primaries()
        return primaries[0].head if len(primaries) == 1 else None

    def members(self) -> list[Machine]:
        """The machines that belong to the cluster by the primary's word."""
        final = self.final()
        return [one for one in self.machines.values() if final is not None and one.name in final.document.nodes]

    def _found(self) -> None:
        plan, first = self.plan, self.machines["a"]
        change = Batch(
            (
                Promote(1, first.name, "test"),
                *map(self.nodeEntry, self.machines.values()),
                MergeSettings({"synchronousFollowers": plan.synchronous, "historyRevisions": plan.history}),
            )
        )
        entry, head = judged(Proposal(change, {}, ADMIN, first.name, "founding", 0.0), START, {})
        process = first.start()
        self.oracle.made(process, [entry], START)
        first.kill(quietly=False)
        first.disk.image = Image(START, (entry,), head)
        for machine in self.machines.values():
            machine.start()

    # --- the schedule

    def run(self) -> Outcome:
        settled = 0.0
        with self._watchingLogs():
            self._found()
            for step in self.plan.steps:
                self.timeline.callLater(step.at, self.actions.perform, step)
            if self._until(self.plan.seconds):
                self.actions.heal()
                settled = self._settle()
        answered = sum(operation.acknowledged for operation in self.oracle.operations)
        violations = tuple(self.oracle.violations)
        return Outcome(self.plan, violations, settled, self.timeline.happened, answered, tuple(self.said))

    def _until(self, moment: float) -> bool:
        """Go on until then; whether all is well."""
        while self.timeline.now < moment and not self.oracle.violations:
            self.timeline.run(min(moment, self.timeline.now + 0.25))
            for process in self.running():
                self._lookAt(process)
            if self.timeline.happened > MOST_EVENTS:
                self.oracle.violated("more than {} events", MOST_EVENTS)
        return not self.oracle.violations

    def _lookAt(self, process: Process) -> None:
        self.oracle.looked(process)

    def _settle(self) -> float:
        """Wait until all nodes are equal, doing what an administrator would do; the seconds that it took."""
        healed = self.timeline.now
        deadline = settled = healed
        while not self.oracle.violations:
            unsettled, asked = self._unsettled(), self.oracle.unanswered()
            if not unsettled and not asked:
                break
            if self.actions.repair() or any(one.what.startswith("promote") for one in asked) or not unsettled:
                deadline = self.timeline.now + SETTLE_SECONDS
            if self.timeline.now >= max(deadline, healed + SETTLE_SECONDS) and unsettled:
                self.oracle.violated("not settled after {:.1f} s: {}", self.timeline.now - healed, unsettled)
            if self.timeline.now >= healed + ANSWER_SECONDS and asked:
                self.oracle.violated("{} was never answered by {}", asked[0].what, asked[0].asked)
            self._until(self.timeline.now + 0.5)
            settled = self.timeline.now if unsettled else settled
        final = self.final()
        if final is not None and not self.oracle.violations:
            self.oracle.atTheEnd(final)
        return settled - healed

    def _unsettled(self) -> str:
        """Why not all is equal yet; "" when it is."""
        final = self.final()
        if final is None:
            return f"primaries: {[process.name for process in self.primaries()]}"
        for machine in self.members():
            process = machine.process
            if process is None:
                return f"{machine.name} does not run"
            follower = process.peering.follower
            if (process.head.revision, process.head.chainHash) != (final.revision, final.chainHash):
                return f"{machine.name} is {follower.state} at {process.head.revision}, not {final.revision}"
            if process.live != final.revision:
                return f"{machine.name} is not live"
            if not process.peering.publisher.isPrimary and follower.state != "following":
                return f"{machine.name} is {follower.state}: {follower.problem}"
        return self.oracle.rowsApart()

    @contextmanager
    def _watchingLogs(self) -> Iterator[None]:
        """What is logged as a failure is a defect, whatever else comes of it."""

        @implementer(ILogObserver)
        def observe(event: Any) -> None:
            if event.get("log_failure") is not None:
                self.oracle.violated("a failure was logged: {}", event["log_failure"].getTraceback())
            elif self.tracing and "log_format" in event:
                self.trace("log", "{}", formatEvent(event))

        globalLogPublisher.addObserver(observe)
        try:
            yield
        finally:
            globalLogPublisher.removeObserver(observe)
