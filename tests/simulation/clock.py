"""Simulated time: one queue of events for all nodes, and a reactor for each process that can be paused or killed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer


@define(eq=False, repr=False)
class Timeline:
    """What is to happen, in its order.

    :ivar now: seconds since the schedule began.
    :ivar happened: how many events there were.
    """

    now: float = 0.0
    happened: int = 0
    _queue: list[tuple[float, int, DelayedCall, Reactor | None]] = field(factory=list, init=False)
    _number: Any = field(factory=count, init=False)

    def seconds(self) -> float:
        return self.now

    def callLater(self, seconds: float, call: Callable[..., Any], *arguments: Any) -> DelayedCall:
        """An event of nobody: the network's, or the plan's."""
        return self.schedule(seconds, None, call, arguments, {})

    def schedule(
        self, seconds: float, owner: Reactor | None, call: Callable[..., Any], arguments: Any, named: Any
    ) -> DelayedCall:
        """An event that takes place only while its owner lives, and waits while its owner is paused."""
        delayed = DelayedCall(
            self.now + seconds,
            call,
            arguments,
            named,
            lambda _: None,
            lambda moved: self._push(moved, owner),
            self.seconds,
        )
        self._push(delayed, owner)
        return delayed

    def _push(self, delayed: DelayedCall, owner: Reactor | None) -> None:
        heappush(self._queue, (delayed.getTime(), next(self._number), delayed, owner))

    def run(self, until: float) -> None:
        """Let everything happen that is due by then."""
        while self._queue and self._queue[0][0] <= until:
            due, _, delayed, owner = heappop(self._queue)
            if delayed.cancelled or delayed.called:
                continue
            if delayed.getTime() > due:
                self._push(delayed, owner)
                continue
            self.now = max(self.now, due)
            self.happened += 1
            if owner is None:
                perform(delayed)
            else:
                owner.due(delayed)
        self.now = max(self.now, until)


def perform(delayed: DelayedCall) -> None:
    delayed.called = 1
    delayed.func(*delayed.args, **delayed.kw)


@implementer(IReactorTime)
@define(eq=False, repr=False)
class Reactor:
    """The reactor of one process, and what its threads hand to it.

    :ivar alive: false once the process was killed: nothing happens in it any more.
    """

    _timeline: Timeline
    _random: Random
    alive: bool = field(default=True, init=False)
    _held: list[DelayedCall] | None = field(default=None, init=False)
    _handed: float = field(default=0.0, init=False)

    def seconds(self) -> float:
        return self._timeline.now

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> DelayedCall:
        return self._timeline.schedule(delay, self, callable, args, kwargs)

    def getDelayedCalls(self) -> list[DelayedCall]:
        raise NotImplementedError("nobody asks")

    def callFromThread(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        if self.alive:
            # In their order, whatever thread they come from.
            self._handed = max(self._handed, self.seconds() + self._random.random() * 0.0005)
            self.callLater(self._handed - self.seconds(), call, *arguments, **named)

    def callInThread(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        if self.alive:
            self.callLater(self._random.random() * 0.005, call, *arguments, **named)

    # --- what can happen to a process

    def due(self, delayed: DelayedCall) -> None:
        """Something of this process is to happen now."""
        if self._held is not None:
            self._held.append(delayed)
        elif self.alive:
            perform(delayed)

    @property
    def paused(self) -> bool:
        return self._held is not None

    def pause(self) -> None:
        """As SIGSTOP: nothing happens, and the monotonic clock goes on all the same."""
        if self._held is None:
            self._held = []

    def resume(self) -> None:
        """As SIGCONT: what was due meanwhile happens at once, in its order."""
        held, self._held = self._held or [], None
        for delayed in held:
            if not delayed.cancelled:
                self._timeline.schedule(0.0, self, self._late, (delayed,), {})

    def _late(self, delayed: DelayedCall) -> None:
        if not delayed.cancelled and not delayed.called:
            if delayed.getTime() > self._timeline.now:
                self._timeline._push(delayed, self)
            else:
                self.due(delayed)

    def kill(self) -> None:
        """As SIGKILL."""
        self.alive = False
        self._held = None


@define(eq=False, repr=False)
class Threads:
    """The threads of one process: each piece of work takes a while.

    :ivar ordered: whether there is one thread only, which does its work in order.
    :ivar slowness: what the time that work takes is multiplied by, asked each time.
    """

    _reactor: Reactor
    _random: Random
    ordered: bool
    slowness: Callable[[], float]
    _waiting: deque[Any] = field(factory=deque, init=False)

    def callInThread(self, work: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        self.callInThreadWithCallback(None, work, *arguments, **named)

    def callInThreadWithCallback(
        self, onResult: Callable[[bool, Any], Any] | None, work: Callable[..., Any], *arguments: Any, **named: Any
    ) -> None:
        if self._reactor.alive:
            item = (onResult, work, arguments, named)
            if self.ordered:
                self._waiting.append(item)
            if not self.ordered or len(self._waiting) == 1:
                self._begin(item)

    def _begin(self, item: Any) -> None:
        self._reactor.callLater(self._random.expovariate(1000.0) * self.slowness(), self._run, *item)

    def _run(
        self, onResult: Callable[[bool, Any], Any] | None, work: Callable[..., Any], arguments: Any, named: Any
    ) -> None:
        try:
            success, result = True, work(*arguments, **named)
        except BaseException:  # noqa: BLE001 - as a real pool
            success, result = False, Failure()
        if self.ordered:
            self._waiting.popleft()
            if self._waiting:
                self._begin(self._waiting[0])
        if onResult is not None:
            onResult(success, result)
        elif not success:
            result.raiseException()
