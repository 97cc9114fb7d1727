"""The simulated clock, network and disk do what those they stand for do."""

from __future__ import annotations

from random import Random
from typing import Any

from attrs import define
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.changes import Put
from cftpcluster.config.document import Group
from cftpcluster.errors import DiskFull, JournalReadOnly
from cftpcluster.journal._fold import judged
from cftpcluster.journal.entry import Proposal
from cftpcluster.testing.cluster import AUTHOR

from .clock import Reactor, Threads, Timeline
from .disk import Disk, ModelStore
from .network import Dialled, End, Network


class ClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.timeline = Timeline()
        self.reactor = Reactor(self.timeline, Random(1))
        self.happened: list[Any] = []

    def test_everythingHappensInItsOrder(self) -> None:
        for seconds in (3.0, 1.0, 2.0, 1.0):
            self.reactor.callLater(seconds, self.happened.append, seconds)
        self.timeline.run(2.5)
        self.assertEqual(self.happened, [1.0, 1.0, 2.0])
        self.assertEqual(self.timeline.now, 2.5)

    def test_callMayBePutOffAndBroughtForward(self) -> None:
        later = self.reactor.callLater(1.0, self.happened.append, "later")
        sooner = self.reactor.callLater(5.0, self.happened.append, "sooner")
        later.reset(3.0)
        sooner.reset(2.0)
        self.timeline.run(10.0)
        self.assertEqual(self.happened, ["sooner", "later"])

    def test_pausedProcessDoesAllAtOnceWhenItGoesOn(self) -> None:
        for seconds in (2.0, 1.0, 9.0):
            self.reactor.callLater(seconds, self.happened.append, seconds)
        cancelled = self.reactor.callLater(3.0, self.happened.append, "cancelled")
        self.reactor.pause()
        self.timeline.run(5.0)
        self.assertEqual(self.happened, [])
        self.assertEqual(self.reactor.seconds(), 5.0)
        cancelled.cancel()
        self.reactor.resume()
        self.timeline.run(5.0)
        self.assertEqual(self.happened, [1.0, 2.0])
        self.timeline.run(10.0)
        self.assertEqual(self.happened, [1.0, 2.0, 9.0])

    def test_nothingHappensInAKilledProcess(self) -> None:
        self.reactor.callLater(1.0, self.happened.append, 1)
        self.reactor.kill()
        self.reactor.callFromThread(self.happened.append, 2)
        self.timeline.run(5.0)
        self.assertEqual(self.happened, [])

    def test_oneThreadWorksInOrderAndManyDoNot(self) -> None:
        for ordered in (True, False):
            threads = Threads(self.reactor, Random(3), ordered, lambda: 100.0)
            done: list[int] = []
            for number in range(20):
                threads.callInThread(done.append, number)
            self.timeline.run(self.timeline.now + 100.0)
            self.assertEqual(sorted(done), list(range(20)))
            self.assertEqual(done == list(range(20)), ordered)


@define(eq=False)
class Place:
    """As much of a machine as a network knows."""

    name: str
    powered: bool = True


@define(eq=False)
class Running:
    """As much of a process as a network knows."""

    machine: Any
    reactor: Reactor


class Noting(Protocol):
    def __init__(self) -> None:
        self.got: list[Any] = []
        self.lost: list[str] = []

    def dataReceived(self, data: Any) -> None:
        self.got.append(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.append(reason.type.__name__)


class NetworkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.timeline = Timeline()
        self.network = Network(self.timeline, Random(1), False, 0.01)
        self.near, self.far = (
            End(self.network, Running(Place(name), Reactor(self.timeline, Random(2))), Noting())  # type: ignore[arg-type]
            for name in "ab"
        )
        self.near.other, self.far.other = self.far, self.near
        self.network.ends += [self.near, self.far]

    def run_(self, seconds: float = 1.0) -> None:
        self.timeline.run(self.timeline.now + seconds)

    def test_packetsArriveLaterAndInTheirOrder(self) -> None:
        for number in range(50):
            self.near.write(number)
        self.assertEqual(self.far.protocol.got, [])
        self.run_()
        self.assertEqual(self.far.protocol.got, list(range(50)))

    def test_bytesArriveWholeHoweverTheyAreCut(self) -> None:
        self.network.bytes = True
        for _ in range(50):
            self.near.write(b"some bytes")
        self.run_()
        self.assertGreater(len(self.far.protocol.got), 50)
        self.assertEqual(b"".join(self.far.protocol.got), b"some bytes" * 50)

    def test_blockedPathHoldsBackWhatComesLate(self) -> None:
        self.network.block([("a", "b")])
        self.near.write(1)
        self.far.write(2)
        self.run_(20.0)
        self.assertEqual((self.far.protocol.got, self.near.protocol.got), ([], [2]))
        self.network.unblock([("a", "b")])
        self.run_(2.0)
        self.assertEqual(self.far.protocol.got, [1])

    def test_cutLosesWhatIsUnderWay(self) -> None:
        self.near.write(1)
        self.network.cut()
        self.run_()
        self.assertEqual(self.far.protocol.got, [])
        self.assertEqual((self.near.protocol.lost, self.far.protocol.lost), (["ConnectionLost"], ["ConnectionLost"]))

    def test_closingLetsEverythingArriveBefore(self) -> None:
        self.near.write(1)
        self.near.loseConnection()
        self.run_()
        self.assertEqual(self.far.protocol.got, [1])
        self.assertEqual((self.near.protocol.lost, self.far.protocol.lost), (["ConnectionDone"], ["ConnectionDone"]))

    def test_abortIsNotNoticedWhereItsPathIsBlocked(self) -> None:
        self.network.block([("a", "b")])
        self.near.abortConnection()
        self.run_()
        self.assertEqual((self.near.protocol.lost, self.far.protocol.lost), (["ConnectionAborted"], []))
        self.network.unblock([("a", "b")])
        self.far.write(1)
        self.run_()
        self.assertEqual(self.far.protocol.lost, ["ConnectionLost"])

    def test_killedProcessIsNoticedAndAMachineWithoutPowerIsNot(self) -> None:
        for quietly in (False, True):
            self.setUp()
            self.near.process.reactor.kill()
            self.network.killed(self.near.process, quietly)
            self.run_()
            self.assertEqual(self.far.protocol.lost, [] if quietly else ["ConnectionLost"])

    def test_pausedProcessReadsLater(self) -> None:
        self.far.process.reactor.pause()
        self.near.write(1)
        self.run_()
        self.assertEqual(self.far.protocol.got, [])
        self.far.process.reactor.resume()
        self.run_()
        self.assertEqual(self.far.protocol.got, [1])

    def test_nobodyAnswersOnABlockedPath(self) -> None:
        self.network.block([("b", "a")])
        outcome: list[Any] = []
        dialled = Dialled(self.network, self.near.process, "b", lambda name: None, None)
        _ = dialled.done.addBoth(outcome.append)
        dialled.reach(self.far.process.machine)
        self.run_(60.0)
        self.assertEqual(outcome, [])
        dialled.done.cancel()
        self.assertEqual(len(outcome), 1)


class DiskTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.disk = Disk(Random(1))
        self.synced: list[int] = []
        self.store = self.opened()

    def opened(self) -> ModelStore:
        return ModelStore(
            self.disk, lambda entries, before: None, lambda before, after: self.synced.append(after.head.revision)
        )

    def commit(self) -> None:
        number = self.store.head.revision
        proposal = Proposal(Put("groups", Group(name=f"group-{number}")), {}, AUTHOR, "a", f"request-{number}", 0.0)
        entry, head = judged(proposal, self.store.head, {})
        self.store.commit([entry], head)

    def test_whatWasCommittedIsThereAgain(self) -> None:
        for _ in range(3):
            self.commit()
        again = self.opened()
        self.assertEqual((again.head, again.requests), (self.store.head, self.store.requests))
        self.assertEqual(again.since(0, 10), self.store.since(0, 10))
        self.assertEqual(self.synced, [1, 2, 3])

    def test_compactionKeepsTheHead(self) -> None:
        for _ in range(5):
            self.commit()
        self.store.compact(2)
        again = self.opened()
        self.assertEqual(again.head, self.store.head)
        self.assertEqual([entry.revision for entry in again.since(3, 10)], [4, 5])
        self.assertIsNone(again.entry(3))

    def test_fullDiskTakesNothingAndGetsOverIt(self) -> None:
        self.disk.full = True
        self.assertRaises(DiskFull, self.commit)
        self.disk.full = False
        self.commit()
        self.assertEqual(self.opened().head.revision, 1)

    def test_failedSyncIsTheLast(self) -> None:
        self.disk.failing = True
        self.assertRaises(JournalReadOnly, self.commit)
        self.disk.failing = False
        self.assertRaises(JournalReadOnly, self.commit)
        self.assertEqual(self.store.head.revision, 0)
        self.assertIn(self.opened().head.revision, (0, 1))
        self.store = self.opened()
        self.commit()
