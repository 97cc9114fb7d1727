"""What this node is doing, in numbers: told to all nodes by a row of its own, and kept for a while as series.

The row is small, and written at most every :data:`LOOK_SECONDS`, when a number changed. What is counted, and who looks
at it, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from .errors import ClusterError
from .interfaces import ISharedRows
from .series import STEP_SECONDS, Counts, Series
from .tables import ACTIVITY

log = Logger()

LOOK_SECONDS = 2.0
AGAIN_SECONDS = 10.0
"""How often it is told at least, whether anything changed or not."""

TOLD_SECONDS = 25.0
"""How long the others believe it."""

DONE = ("sessions", "connections", "bytesInPerSecond", "bytesOutPerSecond")
"""What a node tells of what it does, each a whole number."""


@define(eq=False, kw_only=True)
class Activity:
    """:ivar _counts: what is counted on this node, now."""

    _node: str
    _rows: ISharedRows
    _counts: Callable[[], Counts]
    _clock: IReactorTime
    _series: Series = field(factory=Series, init=False)
    _last: tuple[float, Counts] | None = field(default=None, init=False)
    _told: tuple[float, Mapping[str, int]] | None = field(default=None, init=False)
    _steppedAt: float = field(default=float("-inf"), init=False)
    _looking: LoopingCall = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._looking = LoopingCall(self._look)
        self._looking.clock = self._clock

    def start(self) -> None:
        looked = self._looking.start(LOOK_SECONDS)
        _ = looked.addErrback(lambda failure: log.failure("what this node does is told no more", failure))

    def stop(self) -> None:
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> None:
        now, counts = self._clock.seconds(), self._counts()
        self._tell(now, counts)
        # A call that comes a little early is the one that was meant.
        if now - self._steppedAt > STEP_SECONDS - LOOK_SECONDS / 2:
            self._steppedAt = now
            self._series.add(now, counts)

    def _tell(self, now: float, counts: Counts) -> None:
        since, before = self._last or (now, counts)
        self._last = now, counts
        seconds = max(now - since, LOOK_SECONDS / 2)
        numbers = (
            sum(counts.sessions.values()),
            counts.connections,
            round((counts.received - before.received) / seconds),
            round((counts.sent - before.sent) / seconds),
        )
        done = dict(zip(DONE, numbers, strict=True))
        toldAt, told = self._told or (float("-inf"), {})
        if done != told or now - toldAt >= AGAIN_SECONDS:
            self._told = now, done
            self._rows.put(ACTIVITY, self._node, done, TOLD_SECONDS)

    def seriesAction(self, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        """What another node asks of this one for an administrator."""
        hours = arguments.get("hours")
        if hours not in (1, 24):
            return fail(ClusterError("hours: expected 1 or 24"))
        return succeed(self._series.plain(hours))
