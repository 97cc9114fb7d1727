"""Tells others something that changes: soon after each change, again after a while, one at a time.

What is told, and to whom, is not known here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ..errors import ClusterError

log = Logger()


@define(eq=False)
class Announcer:
    """Calls ``tell`` when it was started, after :meth:`changed`, and every ``mostSeconds``; two calls never overlap,
    and begin at least ``leastSeconds`` apart."""

    _clock: IReactorTime
    _tell: Callable[[], Awaitable[object]]
    _leastSeconds: float
    _mostSeconds: float
    _next: IDelayedCall | None = field(default=None, init=False)
    _began: float = field(default=float("-inf"), init=False)
    _telling: bool = field(default=False, init=False)
    _again: bool = field(default=False, init=False)
    _stopped: bool = field(default=True, init=False)

    def start(self) -> None:
        """Begin; where it has begun already, there is news."""
        if self._stopped:
            self._stopped = False
            self._schedule(0)
        else:
            self.changed()

    def changed(self) -> None:
        """There is news."""
        if self._telling:
            self._again = True
        elif not self._stopped:
            self._schedule(max(0.0, self._began + self._leastSeconds - self._clock.seconds()))

    def stop(self) -> None:
        """Tell no more; idempotent."""
        self._stopped = True
        if self._next is not None and self._next.active():
            self._next.cancel()

    def _schedule(self, seconds: float) -> None:
        if self._next is not None and self._next.active():
            if self._next.getTime() <= self._clock.seconds() + seconds:
                return
            self._next.cancel()
        self._next = self._clock.callLater(seconds, self._begin)

    def _begin(self) -> None:
        if self._stopped or self._telling:
            return
        self._telling, self._again, self._began = True, False, self._clock.seconds()
        _ = Deferred.fromCoroutine(self._once()).addErrback(lambda failure: log.failure("not told", failure=failure))

    async def _once(self) -> None:
        try:
            await self._tell()
        except ClusterError as error:
            # The next one tells it all the same.
            log.debug("not told: {reason!r}", reason=str(error))
        finally:
            self._telling = False
            if not self._stopped:
                self._schedule(self._mostSeconds)
                if self._again:
                    self.changed()
