"""The thread pools of a node: what blocks for long in one does not hold up the others."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

from attrs import define, field
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

FILE_THREADS = 16
HASH_THREADS = 2
WORK_THREADS = 4

log = Logger()


class Threads(ThreadPool):
    """A pool for many short calls: one costs a third of what Twisted's own takes for it.

    Threads begin when they are needed, and stay. The context of the caller does not come along.
    """

    def __init__(self, most: int, name: str) -> None:
        super().__init__(0, most, name)
        self._calls: SimpleQueue[tuple[Any, Callable[..., Any], Any, Any] | None] = SimpleQueue()
        self._lock = Lock()
        self._running: list[Thread] = []
        self._free = 0  # threads without a call; below 0, calls without a thread

    def start(self) -> None:
        self.started = True
        with self._lock:
            while self._free < 0 and len(self._running) < self.max:
                self._begin()

    def _begin(self) -> None:
        thread = Thread(target=self._work, name=f"{self.name}-{len(self._running)}", daemon=True)
        self._running.append(thread)
        self._free += 1
        thread.start()

    def callInThreadWithCallback(
        self, onResult: Callable[[bool, Any], Any] | None, func: Callable[..., Any], *args: Any, **kw: Any
    ) -> None:
        with self._lock:
            if self.joined:
                return
            self._calls.put((onResult, func, args, kw))
            self._free -= 1
            if self._free < 0 and self.started and len(self._running) < self.max:
                self._begin()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            self._perform(*call)
            # What a call was given must not live until the next one comes.
            call = None

    def _perform(
        self, onResult: Callable[[bool, Any], Any] | None, func: Callable[..., Any], args: Any, kw: Any
    ) -> None:
        try:
            result, isSuccess = func(*args, **kw), True
        except BaseException:  # noqa: BLE001 - whatever breaks, the thread goes on
            result, isSuccess = Failure(), False
        with self._lock:
            self._free += 1
        if onResult is not None:
            onResult(isSuccess, result)
        elif not isSuccess:
            log.failure("a call in a thread broke", result)

    @property
    def queued(self) -> int:
        """How many calls wait for a thread."""
        return max(0, -self._free)

    @property
    def busy(self) -> int:
        """How many threads are at work."""
        return len(self._running) - max(0, self._free)

    def stop(self) -> None:
        """End the threads, once everything is done that was asked of them."""
        with self._lock:
            self.joined, self.started = True, False
            for _ in self._running:
                self._calls.put(None)
        for thread in self._running:
            thread.join()


@define(eq=False)
class Pools:
    """
    :ivar files: for users' files.
    :ivar hashes: for the passwords of log-ins.
    :ivar work: for everything else.
    :ivar rows: for the rows that nodes share, in their order.
    :ivar audit: for what happened, in its order.
    """

    files: Threads = field(factory=lambda: Threads(FILE_THREADS, "files"))
    hashes: Threads = field(factory=lambda: Threads(HASH_THREADS, "hashes"))
    work: Threads = field(factory=lambda: Threads(WORK_THREADS, "work"))
    rows: Threads = field(factory=lambda: Threads(1, "rows"))
    audit: Threads = field(factory=lambda: Threads(1, "audit"))

    @property
    def all(self) -> tuple[Threads, ...]:
        return (self.files, self.hashes, self.work, self.rows, self.audit)

    def start(self) -> None:
        for pool in self.all:
            pool.start()

    def stop(self) -> None:
        for pool in self.all:
            pool.stop()
