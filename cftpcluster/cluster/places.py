"""A bounded number of places, and a queue for them that can be sent home all at once.

What is done in a place is not known here.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed


@define(eq=False)
class Places:
    """As :class:`~twisted.internet.defer.DeferredSemaphore`; but when everything is over, whoever waits is told in
    turn, where a chain of releases would be as deep as the queue was long."""

    _free: int
    _waiting: deque[Any] = field(factory=deque, init=False)
    _over: Exception | None = field(default=None, init=False)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def acquire(self) -> Deferred[None]:
        """Fires when there is a place, which is then taken; fails when all is over."""
        if self._over is not None:
            return fail(self._over)
        if self._free > 0:
            self._free -= 1
            return succeed(None)
        turn: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(turn)
        return turn

    def release(self) -> None:
        """Leave a place."""
        if self._waiting:
            self._waiting.popleft().callback(None)
        else:
            self._free += 1

    def close(self, error: Exception) -> None:
        """All is over: nobody gets a place any more."""
        self._over = error
        waiting, self._waiting = self._waiting, deque()
        for turn in waiting:
            turn.errback(error)
