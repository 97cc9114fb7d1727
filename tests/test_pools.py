"""Tests of the thread pools."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThreadPool
from twisted.trial.unittest import TestCase

from cftpcluster.pools import Threads

REACTOR: Any = reactor


class ThreadsTests(TestCase):
    def setUp(self) -> None:
        self.pool = Threads(2, "test")
        self.pool.start()
        self.addCleanup(self.pool.stop)

    def run_(self, function: Any, *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(REACTOR, self.pool, function, *arguments)

    async def test_resultsAndErrorsComeBack(self) -> None:
        self.assertEqual(await self.run_(divmod, 7, 2), (3, 1))
        await self.assertFailure(self.run_(divmod, 7, 0), ZeroDivisionError)
        self.assertNotEqual(await self.run_(threading.get_ident), threading.get_ident())

    async def test_soManyAtOnceAndNoMore(self) -> None:
        lock, counts, go = threading.Lock(), [0, 0], threading.Event()

        def work() -> None:
            with lock:
                counts[0] += 1
                counts[1] = max(counts)
                if counts[0] == 2:
                    go.set()
            go.wait(30)
            with lock:
                counts[0] -= 1

        await gatherResults([self.run_(work) for _ in range(20)])
        self.assertEqual(counts, [0, 2])

    async def test_aThreadIsUsedAgain(self) -> None:
        self.assertEqual(len({await self.run_(threading.get_ident) for _ in range(10)}), 1)

    async def test_oneThreadKeepsTheOrder(self) -> None:
        pool = Threads(1, "single")
        done: list[int] = []
        calls = [deferToThreadPool(REACTOR, pool, done.append, number) for number in range(50)]
        self.assertEqual(done, [])
        pool.start()
        self.addCleanup(pool.stop)
        await gatherResults(calls)
        self.assertEqual(done, list(range(50)))

    def test_theEndWaitsForWhatWasAsked(self) -> None:
        pool = Threads(2, "ending")
        pool.start()
        go, done = threading.Event(), list[int]()

        def work(number: int) -> None:
            go.wait(30)
            done.append(number)

        for number in range(5):
            pool.callInThread(work, number)
        go.set()
        pool.stop()
        self.assertEqual(sorted(done), [0, 1, 2, 3, 4])
        pool.callInThread(done.append, 9)
        self.assertNotIn(9, done)

    async def test_whatBreaksUnheardIsLogged(self) -> None:
        pool = Threads(1, "single")
        pool.start()
        self.addCleanup(pool.stop)
        pool.callInThread(divmod, 1, 0)
        await deferToThreadPool(REACTOR, pool, int)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_nothingOfACallIsKept(self) -> None:
        class Large:
            pass

        large = Large()
        known = weakref.ref(large)
        await self.run_(id, large)
        del large
        await self.run_(int)
        gc.collect()
        self.assertIsNone(known())
