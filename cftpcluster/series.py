"""What a node did of late, in numbers: its last hour and its last day, in memory that does not grow.

Where the numbers come from, and who wants to see them, is not known here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

STEP_SECONDS = 10.0
STEPS_OF_AN_HOUR = 360
LONG_STEP = 12
"""So many steps are one of the last day."""
STEPS_OF_A_DAY = 720


@frozen
class Counts:
    """What is counted on a node.

    :ivar lagSeconds: for how long it has not had what the primary has.
    :ivar sessions: of users, by protocol.
    :ivar connections: of clients and administrators.
    :ivar received: bytes of files from clients, since it started.
    :ivar sent: bytes of files to clients, since it started.
    :ivar accepted: log-ins since it started.
    :ivar failed: log-ins that failed, or were turned away, since it started.
    """

    lagSeconds: float
    sessions: Mapping[str, int]
    connections: int
    received: int
    sent: int
    accepted: int
    failed: int


@frozen
class Step:
    """What became of it in a stretch of time: of what goes up and down the highest, of what is counted how much more.

    :ivar time: of its end, in seconds since the epoch.
    """

    time: float
    seconds: float
    lagSeconds: float
    sessions: Mapping[str, int]
    received: int
    sent: int
    accepted: int
    failed: int

    @classmethod
    def between(cls, before: Counts, after: Counts, time: float, seconds: float) -> Step:
        return cls(
            time=time,
            seconds=seconds,
            lagSeconds=after.lagSeconds,
            sessions=after.sessions,
            received=after.received - before.received,
            sent=after.sent - before.sent,
            accepted=after.accepted - before.accepted,
            failed=after.failed - before.failed,
        )

    @classmethod
    def of(cls, steps: Sequence[Step]) -> Step:
        """Several as one."""
        protocols = sorted({protocol for step in steps for protocol in step.sessions})
        return cls(
            time=steps[-1].time,
            seconds=sum(step.seconds for step in steps),
            lagSeconds=max(step.lagSeconds for step in steps),
            sessions={one: max(step.sessions.get(one, 0) for step in steps) for one in protocols},
            received=sum(step.received for step in steps),
            sent=sum(step.sent for step in steps),
            accepted=sum(step.accepted for step in steps),
            failed=sum(step.failed for step in steps),
        )


@define(eq=False)
class Series:
    """The last hour by :data:`STEP_SECONDS`, and the last day by :data:`LONG_STEP` times as much."""

    _hour: deque[Step] = field(factory=lambda: deque(maxlen=STEPS_OF_AN_HOUR), init=False)
    _day: deque[Step] = field(factory=lambda: deque(maxlen=STEPS_OF_A_DAY), init=False)
    _last: tuple[float, Counts] | None = field(default=None, init=False)
    _open: list[Step] = field(factory=list, init=False)

    def add(self, time: float, counts: Counts) -> None:
        """What is counted now, each :data:`STEP_SECONDS`.

        :param time: seconds since the epoch, by a clock that nobody sets.
        """
        before, self._last = self._last, (time, counts)
        if before is None or time <= before[0]:
            return
        step = Step.between(before[1], counts, time, time - before[0])
        self._hour.append(step)
        self._open.append(step)
        if len(self._open) == LONG_STEP:
            self._day.append(Step.of(self._open))
            self._open.clear()

    def plain(self, hours: int) -> Mapping[str, Any]:
        """The last hour, or with more than one the last day: each number as a list, beside the list of times."""
        steps = list(self._hour if hours == 1 else self._day)
        protocols = sorted({protocol for step in steps for protocol in step.sessions})
        return {
            "stepSeconds": STEP_SECONDS if hours == 1 else STEP_SECONDS * LONG_STEP,
            "times": [round(step.time, 1) for step in steps],
            "lagSeconds": [round(step.lagSeconds, 3) for step in steps],
            "sessions": {one: [step.sessions.get(one, 0) for step in steps] for one in protocols},
            "bytesInPerSecond": [round(step.received / step.seconds) for step in steps],
            "bytesOutPerSecond": [round(step.sent / step.seconds) for step in steps],
            "loginsAccepted": [step.accepted for step in steps],
            "loginsFailed": [step.failed for step in steps],
        }
