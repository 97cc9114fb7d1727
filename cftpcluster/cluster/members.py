"""What the primary knows of each other node: for its status, for acknowledgements, for whoever waits for them.

How nodes are reached, and what they are sent, is not known here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..interfaces import IFollower
from .cursor import Cursor

_MOST_COMMITS = 4096


@define(eq=False)
class Member:
    """One other node.

    :ivar follower: what its link exposes; ``None`` while there is no link.
    :ivar cursor: what it is sent by; ``None`` before it asked to follow.
    :ivar telling: whether it has yet to answer what it was told last of the cluster's status.
    :ivar acknowledged: revision and chain hash that it last said to have durably.
    :ivar report: what it last said of itself.
    :ivar refusal: why it was refused; "" when it was not.
    :ivar unfit: why it could not read what this node writes; "" where it could.
    :ivar current: when it was last known to have everything; ``None`` where it never was.
    """

    name: str
    follower: IFollower | None = None
    cursor: Cursor | None = None
    telling: bool = False
    acknowledged: tuple[int, bytes] = (0, b"")
    report: Mapping[str, Any] = field(factory=dict)
    unfit: str = ""
    refusal: str = ""
    current: float | None = None

    @property
    def connected(self) -> bool:
        return self.follower is not None

    @property
    def durable(self) -> int:
        """The revision of this history that it is known to have durably."""
        return self.acknowledged[0] if self.cursor is not None and self.cursor.following else 0

    @property
    def state(self) -> str:
        """As ``cftpctl status`` names it."""
        if not self.connected:
            return "disconnected"
        if self.refusal:
            return "refused"
        return str(self.report.get("state") or "catchingUp")

    @property
    def live(self) -> int:
        """The revision that it has converged on."""
        return int(self.report.get("live", 0))

    @property
    def problems(self) -> list[str]:
        own = [self.cursor.problem] if self.cursor is not None and self.cursor.problem else []
        return [*([self.refusal] if self.refusal else []), *own, *self.report.get("problems", ())]

    def leave(self) -> None:
        """The link is gone, or nothing goes over it any more."""
        if self.cursor is not None:
            self.cursor.close()
        self.follower = self.cursor = None
        self.telling = False


@define(eq=False)
class Commits:
    """When the newest revisions were committed, by a clock that never jumps."""

    _clock: IReactorTime
    _revisions: list[int] = field(factory=list, init=False)
    _times: list[float] = field(factory=list, init=False)

    def committed(self, revision: int) -> None:
        """Everything up to ``revision`` is committed now."""
        if self._revisions and revision <= self._revisions[-1]:
            if revision == self._revisions[-1]:
                return
            # Another history took this one's place.
            self._revisions.clear()
            self._times.clear()
        self._revisions.append(revision)
        self._times.append(self._clock.seconds())
        if len(self._revisions) > 2 * _MOST_COMMITS:
            del self._revisions[:_MOST_COMMITS], self._times[:_MOST_COMMITS]

    def lagSeconds(self, revision: int, head: int) -> float:
        """How long ago the oldest entry after ``revision`` was committed; older than is known here counts from the
        oldest that is known."""
        index = bisect_left(self._revisions, revision + 1)
        if revision >= head or index == len(self._times):
            return 0.0
        return self._clock.seconds() - self._times[index]


@define(eq=False)
class _Waiter:
    satisfied: Callable[[], bool]
    done: Deferred[bool]
    late: IDelayedCall


@define(eq=False)
class Waiters:
    """Whoever waits until something is true of the nodes."""

    _clock: IReactorTime
    _waiting: list[_Waiter] = field(factory=list, init=False)

    def wait(self, satisfied: Callable[[], bool], seconds: float) -> Deferred[bool]:
        """Fires with ``True`` as soon as ``satisfied()``, with ``False`` when the time is up."""
        done: Deferred[bool] = Deferred(lambda _: self._forget(waiter))
        waiter = _Waiter(satisfied, done, self._clock.callLater(seconds, lambda: self._end(waiter, False)))
        self._waiting.append(waiter)
        self.look()
        return done

    def look(self) -> None:
        """Something has changed."""
        for waiter in [one for one in self._waiting if one.satisfied()]:
            self._end(waiter, True)

    def _end(self, waiter: _Waiter, outcome: bool) -> None:
        if waiter in self._waiting:
            self._forget(waiter)
            waiter.done.callback(outcome)

    def _forget(self, waiter: _Waiter) -> None:
        self._waiting.remove(waiter)
        if waiter.late.active():
            waiter.late.cancel()
