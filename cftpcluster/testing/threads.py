"""Thread pools and a reactor for tests that must not wait for threads.

Nothing here starts a thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import Factory, define
from twisted.internet.task import Clock
from twisted.python.failure import Failure


class InlineReactor(Clock):
    """A clock that also runs at once what "threads" hand to the reactor."""

    def callFromThread(self, function: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)


@define(eq=False)
class InlinePool:
    """A :class:`~twisted.python.threadpool.ThreadPool` that runs everything at once, in the caller's thread."""

    def callInThread(self, function: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        self.callInThreadWithCallback(None, function, *args, **kwargs)

    def callInThreadWithCallback(
        self, onResult: Callable[[bool, Any], object] | None, function: Callable[..., object], *args: Any, **kwargs: Any
    ) -> None:
        self._run(onResult, function, args, kwargs)

    @staticmethod
    def _run(
        onResult: Callable[[bool, Any], object] | None,
        function: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        try:
            success, result = True, function(*args, **kwargs)
        except BaseException:  # noqa: BLE001 - as the real pool: whatever it is goes to the caller
            success, result = False, Failure()
        if onResult is not None:
            onResult(success, result)


@define(eq=False)
class HeldPool(InlinePool):
    """A pool whose work waits until the test lets it run, for tests of order and of what is under way.

    :ivar held: the work that waits, oldest first.
    """

    held: deque[Callable[[], None]] = Factory(deque)

    def callInThreadWithCallback(
        self, onResult: Callable[[bool, Any], object] | None, function: Callable[..., object], *args: Any, **kwargs: Any
    ) -> None:
        self.held.append(lambda: self._run(onResult, function, args, kwargs))

    def runNext(self) -> None:
        """Run the oldest piece of work."""
        self.held.popleft()()

    def runAll(self) -> None:
        """Run what waits, and what that leads to."""
        while self.held:
            self.runNext()
