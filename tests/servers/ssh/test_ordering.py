"""Tests of which requests may overlap."""

from __future__ import annotations

import gc
from typing import Any
from weakref import ref

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ssh.ordering import Order, Task

A, B = ("a",), ("b",)


def nothing() -> None:
    pass


def task(**options: Any) -> Task:
    return Task(nothing, **options)


class MustFollowTests(SynchronousTestCase):
    def assertFollows(self, later: Task, earlier: Task) -> None:
        self.assertTrue(later.mustFollow(earlier))

    def assertFree(self, later: Task, earlier: Task) -> None:
        self.assertFalse(later.mustFollow(earlier))

    def test_looksOverlap(self) -> None:
        self.assertFree(task(looks=True, paths=(A,)), task(looks=True, paths=(A,)))

    def test_aLookWaitsForAChangeOfTheSameFile(self) -> None:
        self.assertFollows(task(looks=True, paths=(A,)), task(paths=(A,)))
        self.assertFollows(task(paths=(A,)), task(looks=True, paths=(A,)))
        self.assertFree(task(looks=True, paths=(A,)), task(paths=(B,)))

    def test_aChangeOfAFolderConcernsWhatIsInIt(self) -> None:
        self.assertFollows(task(looks=True, paths=(("a", "x"),)), task(paths=(A,)))
        self.assertFollows(task(paths=(A,)), task(looks=True, paths=(("a", "x"),)))
        self.assertFree(task(looks=True, paths=(A,)), task(paths=(("a", "x"),)))

    def test_aSiblingWithTheSameBeginningIsAnotherFile(self) -> None:
        self.assertFree(task(paths=(("ab",),)), task(paths=(("a",),)))

    def test_bothNamesOfARenameCount(self) -> None:
        self.assertFollows(task(looks=True, paths=(B,)), task(paths=(A, B)))

    def test_writesToDifferentPartsOverlap(self) -> None:
        handle = object()
        first = task(handle=handle, paths=(A,), span=(0, 10))
        self.assertFree(task(handle=handle, paths=(A,), span=(10, 20)), first)
        self.assertFollows(task(handle=handle, paths=(A,), span=(9, 20)), first)
        self.assertFollows(task(handle=handle, looks=True, paths=(A,), span=(0, 1)), first)

    def test_writesBehindAReadCountForTheEndOfTheFile(self) -> None:
        handle = object()
        read = task(handle=handle, paths=(A,), span=(10, 20), looks=True)
        self.assertFollows(read, task(handle=handle, paths=(A,), span=(50, 60)))
        self.assertFollows(task(handle=handle, paths=(A,), span=(50, 60)), read)
        self.assertFree(read, task(handle=handle, paths=(A,), span=(0, 10)))
        self.assertFree(task(handle=handle, paths=(A,), span=(0, 10)), read)

    def test_aListingWaitsForWhatIsChangedInItsFolder(self) -> None:
        listing = task(looks=True, lists=True, paths=(A,))
        self.assertFollows(listing, task(paths=(("a", "x"),)))
        self.assertFree(listing, task(paths=(("a", "x"),), looks=True))
        self.assertFree(listing, task(paths=(("a", "x", "y"),)))
        self.assertFree(task(paths=(("a", "x"),)), listing)

    def test_bothHandlesOfACopyCount(self) -> None:
        source, target = object(), object()
        copy = task(handle=target, other=source, paths=(A, B))
        self.assertFollows(task(handle=source), copy)
        self.assertFollows(task(handle=target), copy)
        self.assertFollows(copy, task(handle=source))
        self.assertFollows(task(handle=object(), other=source), copy)
        self.assertFollows(copy, task(handle=target, paths=(B,), span=(0, 10)))
        self.assertFollows(task(handle=target, paths=(B,), span=(0, 10)), copy)
        self.assertFree(task(handle=object()), copy)

    def test_closingWaitsForEverythingOnTheHandle(self) -> None:
        handle = object()
        self.assertFollows(task(handle=handle), task(handle=handle, looks=True, span=(0, 1)))
        self.assertFree(task(handle=handle), task(handle=object(), looks=True, span=(0, 1)))


PATHS = st.sampled_from([(), A, B, ("a", "x"), ("a", "y")])
TASKS = st.builds(
    dict,
    looks=st.booleans(),
    paths=st.lists(PATHS, max_size=2).map(tuple),
    handle=st.sampled_from([None, "h1", "h2"]),
    span=st.sampled_from([None, (0, 5), (3, 8), (8, 9)]),
)


class OrderTests(SynchronousTestCase):
    @given(st.lists(TASKS, max_size=20), st.randoms(use_true_random=False))
    def test_conflictsRunInTheirOrderAndEverythingRuns(self, wanted: list[dict[str, Any]], random: Any) -> None:
        order = Order()
        added: list[Task] = []
        running: list[Task] = []
        finished: list[Task] = []

        def finish() -> None:
            done = running.pop(random.randrange(len(running)))
            finished.append(done)
            order.done(done)

        for at, options in enumerate(wanted):
            added.append(Task(lambda at=at: running.append(added[at]), **options))  # type: ignore[misc]
            order.add(added[at])
            self.checkNoConflict(running, added, finished)
            if running and random.random() < 0.4:
                finish()
                self.checkNoConflict(running, added, finished)
        while running:
            finish()
            self.checkNoConflict(running, added, finished)
        self.assertEqual(len(finished), len(wanted))
        self.assertEqual(len(order), 0)

    def checkNoConflict(self, running: list[Task], added: list[Task], finished: list[Task]) -> None:
        for each in running:
            for earlier in added[: added.index(each)]:
                if earlier not in finished:
                    self.assertFalse(each.mustFollow(earlier))

    def test_tasksThatAreDoneAtOnceDoNotNest(self) -> None:
        order, started = Order(), []
        first = task(paths=(A,))
        order.add(first)

        def finishAtOnce(at: int) -> None:
            started.append(at)
            order.done(tasks[at])

        tasks = [Task(lambda at=at: finishAtOnce(at), paths=(A,)) for at in range(200)]  # type: ignore[misc]
        for each in tasks:
            order.add(each)
        order.done(first)
        self.assertEqual(started, list(range(200)))
        self.assertEqual(len(order), 0)

    def test_whatIsForgottenNeverStarts(self) -> None:
        order, started = Order(), []
        first = task(paths=(A,))
        order.add(first)
        order.add(Task(lambda: started.append(1), paths=(A,)))
        order.forget()
        self.assertEqual(len(order), 1)
        order.done(first)
        self.assertEqual((started, len(order)), ([], 0))

    def test_whatIsDoneIsLetGoAtOnce(self) -> None:
        """Not when the garbage collector comes by: answers are large."""
        order = Order()

        def run() -> ref[Task]:
            each = Task(lambda: order.done(each))
            order.add(each)
            return ref(each)

        gc.disable()
        self.addCleanup(gc.enable)
        self.assertIs(run()(), None)
