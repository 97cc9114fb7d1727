"""Lines that are cut, deaf on one side, flapping and slow, between nodes on hosts of their own."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack

from cftpcluster.testing.processes import NodeProcess

from .clusters import (
    HOSTS,
    FaultCase,
    HostCluster,
    addUser,
    cpuSeconds,
    descriptors,
    headOf,
    namesOf,
    residentBytes,
    stateOf,
    waitFor,
)
from .load import Changes, LogIns, percentile
from .network import needsNetwork
from .scale import choose, figure, within

NOTICED_SECONDS = 15.0
HEALED_SECONDS = 5.0


class NetworkCase(FaultCase):
    shared = HOSTS

    def setUp(self) -> None:
        super().setUp()
        self.cluster: HostCluster
        self.network = self.cluster.network
        self.b, self.c = self.secondaries
        self.hosts = [self.cluster.host(node) for node in self.nodes]

    def noticed(self, node: NodeProcess) -> None:
        """Both ends of a secondary's line say that it is dead."""
        for asked in (self.primary, node):
            other = node.name if asked is self.primary else self.primary.name
            waitFor(
                f"{asked.name} knows that {other} is gone",
                lambda asked=asked: stateOf(asked, node.name) == "disconnected",
                within(NOTICED_SECONDS),
            )


@needsNetwork
class PartitionTests(NetworkCase):
    def test_everyNodeServesThroughAPartitionAndAllAreEqualSoonAfter(self) -> None:
        with ExitStack() as stack:
            logIns = [stack.enter_context(LogIns(node)) for node in self.nodes]
            changes = stack.enter_context(Changes(self.primary, "parted"))
            waitFor("the load is on", lambda: changes.done > 5 and all(load.done for load in logIns))
            parted = time.monotonic()
            self.network.part(self.hosts[1], self.hosts[0], self.hosts[2])
            self.noticed(self.b)
            self.assertEqual(stateOf(self.primary, self.c.name), "following")
            refused = self.b.run("user", "add", "nobody")
            self.assertEqual(refused.returncode, 1)
            self.assertIn(self.primary.name.encode(), refused.stderr)
            before = changes.done
            time.sleep(max(0.0, parted + choose(10, 60) - time.monotonic()))
            waitFor("changes go on", lambda: changes.done > before)
            self.network.heal()
            healed = time.monotonic()
            waitFor("it follows", lambda: stateOf(self.b, self.b.name) == "following", within(HEALED_SECONDS))
        self.equalWithin(HEALED_SECONDS)
        figure(f"equal after a partition: {time.monotonic() - healed:.1f} s")
        for load in (*logIns, changes):
            self.assertEqual(load.reasons(), [], load.node.name)
            self.assertGreater(load.done, 5)
        for node in self.nodes:
            self.assertLessEqual(changes.acknowledged, namesOf(node, "parted"))
            self.assertEqual(namesOf(node, "nobody"), set())


@needsNetwork
class DeafLineTests(NetworkCase):
    ROUNDS = choose(1, 25)

    def test_bothEndsNoticeALineThatCarriesOnlyOneWay(self) -> None:
        a, b, c = self.hosts
        before = [descriptors(node) for node in self.nodes]
        for _ in range(self.ROUNDS):
            self.network.dropFrom(a, b)
            self.network.dropFrom(c, a)
            self.noticed(self.b)
            self.noticed(self.c)
            self.network.heal()
            waitFor("both follow", self._bothFollow)
        addUser(self.primary, "heard")
        self.equalWithin(HEALED_SECONDS)
        waitFor("no descriptor is left over", lambda: self._leftOver(before) <= 0)

    def _bothFollow(self) -> bool:
        return all(stateOf(self.primary, node.name) == "following" for node in (self.b, self.c))

    def _leftOver(self, before: list[int]) -> int:
        # Journals and thread pools may have grown by a few; a leak grows with the rounds.
        return max(descriptors(node) - old - 3 for node, old in zip(self.nodes, before, strict=True))


@needsNetwork
class FlappingTests(NetworkCase):
    SECONDS = choose(8, 60)

    def test_flappingLineCostsLittleAndConvergesWhenItIsCalm(self) -> None:
        used = [cpuSeconds(node) for node in self.nodes]
        begun = time.monotonic()
        with Changes(self.primary, "flap", 0.5) as changes:
            while time.monotonic() < begun + self.SECONDS:
                self.network.cut(self.hosts[1], self.hosts[0], self.hosts[2])
                time.sleep(0.5)
                self.network.heal()
                time.sleep(0.5)
            passed = time.monotonic() - begun
            shares = [(cpuSeconds(node) - old) / passed for node, old in zip(self.nodes, used, strict=True)]
        self.equalWithin(10)
        self.assertEqual(changes.reasons(), [])
        figure(f"busiest node while a line flaps: {max(shares):.0%} of a core")
        # Whoever dials without a pause takes all of a core, however slow it is.
        self.assertLess(max(shares), choose(0.6, 0.2), shares)

    def test_losingEveryFifthPacketLosesNothing(self) -> None:
        self.network.lose(self.hosts[1], 0.2)
        with Changes(self.primary, "lossy", 0.1) as changes:
            time.sleep(choose(3, 30))
        self.assertEqual(changes.reasons(), [])
        waitFor("node-b is equal all the same", lambda: headOf(self.b) == headOf(self.primary))


@needsNetwork
class SlowFollowerTests(NetworkCase):
    """Beside a follower that reads nothing and one on a slow line, the primary is as quick as ever."""

    def measured(self, prefix: str, seconds: float) -> list[float]:
        with Changes(self.primary, prefix, 0.01) as changes:
            time.sleep(seconds)
        self.assertEqual(changes.reasons(), [])
        return changes.seconds

    def test_primaryStaysQuickAndItsMemoryFlat(self) -> None:
        seconds = choose(3.0, 40.0)
        self.measured("warm", 1)
        usual = self.measured("usual", seconds)
        memory = residentBytes(self.primary)
        self.network.slow(self.hosts[2], 10_000)
        self.b.signal(signal.SIGSTOP)
        slowed = self.measured("slowed", seconds)
        grown = residentBytes(self.primary) - memory
        self.b.signal(signal.SIGCONT)
        self.network.heal()
        self.equalWithin(30)
        slow, fast = percentile(slowed, 0.99), percentile(usual, 0.99)
        figure(
            f"a change, p99: {fast * 1000:.1f} ms; beside followers that read nothing or slowly: {slow * 1000:.1f} ms"
        )
        figure(f"memory of the primary beside such followers: +{grown >> 10} KiB")
        # Beside other tests only that nothing stands still can be seen.
        self.assertLess(slow, choose(2.0, fast * 1.1 + 0.01))
        self.assertLess(grown, 50 << 20)


@needsNetwork
class CutTests(NetworkCase):
    def test_manyCutsUnderLoadLoseAndRepeatNothing(self) -> None:
        """Equal hashes mean the same entries in the same order, each once."""
        with Changes(self.primary, "cut", 0.02) as changes:
            for number in range(choose(6, 100)):
                self.network.cut(self.hosts[1 + number % 2], self.hosts[0])
                time.sleep(0.2)
                self.network.heal()
                time.sleep(1.5 if number % 3 == 0 else 0.2)
        self.equalWithin(10)
        self.assertEqual(changes.reasons(), [])
        for node in self.nodes:
            self.assertLessEqual(changes.acknowledged, namesOf(node, "cut"))
