"""What can happen to a cluster: what administrators ask for, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, cast

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from cftpcluster.auth.bans import BANS
from cftpcluster.auth.sessions import ENDED, SESSIONS
from cftpcluster.config.changes import Change, MergeSettings, Put, Remove, Target
from cftpcluster.config.document import Group
from cftpcluster.errors import ClusterError
from cftpcluster.vocabulary import Author

from .invariants import Operation
from .machines import Machine, Process
from .plan import Step

if TYPE_CHECKING:
    from .world import World

ADMIN = Author("admin", "full", "local")
COUNTERS = 3


@define(eq=False, repr=False)
class Actions:
    """Performs the steps of a plan."""

    _world: World
    _number: int = 0
    _ends: list[Callable[[], None]] = field(factory=list)
    _asked: list[tuple[str, Change, Mapping[Target, int]]] = field(factory=list)

    def perform(self, step: Step) -> None:
        if not self._world.oracle.violations:
            getattr(self, f"_{step.kind}")(Random(step.seed))

    def _trace(self, text: str, *values: Any) -> None:
        self._world.trace("plan", text, *values)

    def _for(self, seconds: float, end: Callable[[], None]) -> None:
        """Something goes wrong for so long, or until everything is healed."""

        def over() -> None:
            if end in self._ends:
                self._ends.remove(end)
                end()

        self._ends.append(end)
        self._world.timeline.callLater(seconds, over)

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self._trace("everything is healed")
        while self._ends:
            self._ends.pop()()
        for machine in self._world.machines.values():
            if machine.process is not None and machine.process._store._failed:
                self._killed(machine, quietly=False)
            if machine.name not in self._world.outcasts:
                self._started(machine)
        self._world.healed = True

    def repair(self) -> bool:
        """What an administrator does who reads what nodes say; whether anything was done."""
        running = self._world.running()
        for machine in self._world.members():
            if machine.process is None:
                self._admitted(machine)
                return True
        for process in running:
            follower = process.peering.follower
            if follower.state == "paused":
                _ = self._perform(process, process.name, "resume")
                return True
            if follower.state == "refused" and "resync" in follower.problem and not follower.isResyncing:
                self._trace("{} says: {}", process.name, follower.problem)
                _ = self._perform(process, process.name, "resync")
                return True
        disputing = [process for process in running if process.peering.primacy.standing == "disputed"]
        if len(disputing) > 1 or (disputing and not self._world.following()):
            self._trace("{} says: {}", disputing[0].name, disputing[0].peering.warnings)
            self.force(max(disputing, key=lambda process: process.head.revision))
            return True
        return False

    # --- what administrators ask for

    def ask(
        self, process: Process, change: Change, expected: Mapping[Target, int], requestId: str = ""
    ) -> Deferred[bool]:
        """Have a node propose a change, and note what it says; fires with whether it was acknowledged."""
        if not requestId:
            self._number += 1
            requestId = f"request-{self._number}"
            self._asked = [*self._asked[-20:], (requestId, change, expected)]
        operation = Operation(requestId, str(change)[:60], process.name, process, self._world.timeline.now)
        self._world.oracle.operations.append(operation)
        self._trace("{} is asked by {}: {}", process.name, requestId, operation.what)

        def answered(outcome: Any) -> bool:
            operation.outcome = cast(Exception, outcome.value) if isinstance(outcome, Failure) else outcome
            self._world.trace(process.name, "answers {}: {!r}", requestId, operation.outcome)
            self._world.oracle.answered(operation)
            return operation.acknowledged

        return process.administration.propose(change, expected, ADMIN, requestId).addBoth(answered)

    def _anyProcess(self, random: Random) -> Process | None:
        processes = [process for process in self._world.running() if not process.reactor.paused]
        return random.choice(processes) if processes else None

    def _put(self, random: Random) -> None:
        process = self._anyProcess(random)
        if process is not None:
            size = random.choice([0, 0, 0, 100, 1000, 100_000 if random.random() < 0.1 else 10])
            name = f"group-{random.randrange(30)}"
            _ = self.ask(process, Put("groups", Group(name=name, extra={"text": f"{self._number}" + "x" * size})), {})

    def _increment(self, random: Random) -> None:
        """Count one up from what this node knows, if nobody else did meanwhile."""
        process = self._anyProcess(random)
        if process is not None:
            name = f"counter-{random.randrange(COUNTERS)}"
            counter = process.head.document.groups.get(name)
            value = counter.extra["value"] + 1 if counter is not None else 1
            revision = counter.revision if counter is not None else 0
            change = Put("groups", Group(name=name, extra={"value": value}))
            _ = self.ask(process, change, {("groups", name): revision})
            self._world.oracle.counts[self._asked[-1][0]] = name, value, process.head.chainHash

    def _again(self, random: Random) -> None:
        """Somebody who does not know what came of a request repeats it, elsewhere."""
        process = self._anyProcess(random)
        if process is not None and self._asked:
            requestId, change, expected = random.choice(self._asked)
            _ = self.ask(process, change, expected, requestId)

    def _synchronous(self, random: Random) -> None:
        process = self._anyProcess(random)
        if process is not None:
            most = min(2, self._world.plan.nodes - 1)
            _ = self.ask(process, MergeSettings({"synchronousFollowers": random.randint(0, most)}), {})

    # --- the network

    def _cut(self, random: Random) -> None:
        self._trace("cut between {}", self._world.network.cut())

    def _block(self, seconds: float, paths: list[tuple[str, str]]) -> None:
        self._trace("nothing passes for {:.1f} s: {}", seconds, " ".join(f"{one}>{other}" for one, other in paths))
        self._world.network.block(paths)
        self._for(seconds, lambda: self._world.network.unblock(paths))

    def _between(self, some: set[str]) -> list[tuple[str, str]]:
        names = list(self._world.machines)
        return [(one, other) for one in names for other in names if (one in some) != (other in some)]

    def _isolate(self, random: Random) -> None:
        self._block(random.expovariate(0.2), self._between({random.choice(list(self._world.machines))}))

    def _partition(self, random: Random) -> None:
        names = list(self._world.machines)
        self._block(
            random.expovariate(0.1), self._between(set(random.sample(names, random.randint(1, len(names) - 1))))
        )

    def _oneWay(self, random: Random) -> None:
        one, other = random.sample(list(self._world.machines), 2)
        self._block(random.expovariate(0.15), [(one, other)])

    def _slowPath(self, random: Random) -> None:
        one, other = random.sample(list(self._world.machines), 2)
        slow, mean, seconds = self._world.network.slow, random.choice([0.3, 1.0, 3.0]), random.expovariate(0.1)
        self._trace("from {} to {} takes {} s, for {:.1f} s", one, other, mean, seconds)
        slow[one, other] = mean
        self._for(seconds, lambda: slow.update({(one, other): self._world.network.latency}))

    # --- machines

    def _anyMachine(self, random: Random) -> Machine:
        return random.choice(list(self._world.machines.values()))

    def _killed(self, machine: Machine, quietly: bool) -> None:
        process = machine.process
        machine.kill(quietly)
        for operation in self._world.oracle.operations:
            if operation.process is process and operation.outcome is None:
                operation.gone = True

    def _kill(self, random: Random, quietly: bool = False) -> None:
        machine = self._anyMachine(random)
        if machine.process is not None:
            seconds = random.expovariate(0.3)
            self._trace("{} {}, for {:.1f} s", machine.name, "loses its power" if quietly else "is killed", seconds)
            self._killed(machine, quietly)
            self._for(seconds, lambda: self._started(machine))

    def _admitted(self, machine: Machine) -> None:
        self._world.outcasts.discard(machine.name)
        self._started(machine)

    def _started(self, machine: Machine) -> None:
        if machine.process is None:
            machine.start()

    def _power(self, random: Random) -> None:
        self._kill(random, quietly=True)

    def _stop(self, random: Random) -> None:
        process = self._anyProcess(random)
        if process is not None:
            seconds = random.expovariate(0.15)
            self._trace("{} is stopped for {:.1f} s", process.name, seconds)
            process.reactor.pause()
            self._for(seconds, process.reactor.resume)

    def _slowDisk(self, random: Random) -> None:
        disk, seconds = self._anyMachine(random).disk, random.expovariate(0.1)
        disk.slowness = random.choice([10.0, 100.0, 1000.0])
        self._for(seconds, lambda: setattr(disk, "slowness", 1.0))

    def _diskFull(self, random: Random) -> None:
        machine, seconds = self._anyMachine(random), random.expovariate(0.2)
        self._trace("the disk of {} is full for {:.1f} s", machine.name, seconds)
        machine.disk.full = True
        self._for(seconds, lambda: setattr(machine.disk, "full", False))

    def _diskFails(self, random: Random) -> None:
        """A sync fails; the administrator starts the node anew when it is noticed."""
        machine = self._anyMachine(random)
        self._trace("the disk of {} fails", machine.name)
        machine.disk.failing = True

        def restart() -> None:
            machine.disk.failing = False
            if machine.process is not None:
                self._killed(machine, quietly=False)
                machine.start()

        self._for(random.expovariate(0.2), restart)

    def _clockJumps(self, random: Random) -> None:
        machine = self._anyMachine(random)
        machine.wallOffset = random.choice([-3600.0, -5.0, 0.0, 5.0, 3600.0])
        self._trace("the clock of {} is wrong by {} s", machine.name, machine.wallOffset)

    # --- what operators do

    def _compact(self, random: Random) -> None:
        process = self._anyProcess(random)
        if process is not None:
            self._trace("{} is compacted", process.name)
            process.compact(process.head.document.settings.historyRevisions)

    def do(self, what: str, process: Process, work: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        """Have a node do something that is not a change, and note what comes of it; fires with that, or ``None``."""
        doing = Operation("", what, process.name, process, self._world.timeline.now)
        self._world.oracle.operations.append(doing)
        self._trace("{} is asked for {}", process.name, what)

        def done(outcome: Any) -> Any:
            failed = isinstance(outcome, Failure)
            doing.outcome = cast(Exception, outcome.value) if failed else 0
            self._world.trace(process.name, "{}: {!r}", what, outcome.value if failed else outcome)
            if failed and outcome.check(ClusterError) is None:
                self._world.oracle.violated("{} failed: {}", what, outcome.getTraceback())
            return None if failed else outcome

        return work().addBoth(done)

    def _perform(self, process: Process, node: str, action: str, **arguments: Any) -> Deferred[Any]:
        administration = process.administration
        return self.do(f"{action} {node}", process, lambda: administration.perform(node, action, arguments, ADMIN))

    def _pause(self, random: Random) -> None:
        process, machine = self._anyProcess(random), self._anyMachine(random)
        if process is not None:
            _ = self._perform(process, machine.name, "pause")
            self._for(random.expovariate(0.2), lambda: self._resumed(machine))

    def _resumed(self, machine: Machine) -> None:
        if machine.process is not None:
            _ = self._perform(machine.process, machine.name, "resume")

    def _resync(self, random: Random) -> None:
        process, machine = self._anyProcess(random), self._anyMachine(random)
        if process is not None:
            _ = self._perform(process, machine.name, "resync")

    def _promote(self, random: Random) -> None:
        """By agreement."""
        process, machine = self._anyProcess(random), self._anyMachine(random)
        if process is not None:
            _ = self._perform(process, machine.name, "promote")

    def _force(self, random: Random) -> None:
        """By force, on a node that does not follow anybody."""
        process = self._anyProcess(random)
        if process is not None and process.name not in self._world.outcasts:
            self.force(process)

    def force(self, process: Process) -> None:
        forced = self._perform(process, process.name, "promote", force=True)
        _ = forced.addCallback(lambda outcome: self._world.oracle.forced(process, outcome))

    # --- rows

    def _row(self, random: Random) -> None:
        process = self._anyProcess(random)
        if process is not None:
            table, key = random.choice([BANS, ENDED, SESSIONS]), f"key-{random.randrange(5)}"
            self._number += 1
            seconds = random.choice([0.0, 0.0, 2.0, 10.0, 60.0, 1000.0])
            self._world.trace(process.name, "puts row {} of {} for {} s", key, table, seconds)
            value = {"number": self._number}
            process.peering.rows.put(table, key, value, seconds)
            self._world.oracle.wrote(process, table, key, value if seconds else None)

    def _remove(self, random: Random) -> None:
        """A node is put out, and some time later joins anew, with nothing on its disk."""
        process = self._anyProcess(random)
        machine = self._anyMachine(random)
        if process is None or any(one.machine is machine for one in self._world.primaries()):
            return
        self._world.outcasts.add(machine.name)
        _ = self.ask(process, Remove("nodes", machine.name), {})
        again = Random(random.getrandbits(32))

        def rejoin() -> None:
            asked = self._anyProcess(again)
            known = self._world.final()
            if asked is None or known is None or machine.name in known.document.nodes or asked.machine is machine:
                return
            self._trace("{} joins anew", machine.name)
            self._killed(machine, quietly=False)
            machine.disk.wipe()
            self._world.wiped.add(machine.name)
            _ = self.ask(asked, self._world.nodeEntry(machine), {}).addCallback(
                lambda admitted: self._admitted(machine) if admitted else None
            )

        self._for(random.expovariate(0.2), rejoin)
