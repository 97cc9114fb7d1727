"""Lets changes through to the journal while this node appends, and holds them up while the primary changes.

Who is primary, and what is appended, is not known here.
"""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime

from ..errors import NotAppending
from .members import Waiters

HELD_SECONDS = 15.0
"""How long a change is held up; then it is refused."""

MOST_HELD = 1000


@define(eq=False)
class Turns:
    """Everyone who appends calls :meth:`enter`, and :meth:`leave` when all is done."""

    _clock: IReactorTime
    _why: str = field(default="", init=False)
    _underWay: int = field(default=0, init=False)
    _held: int = field(default=0, init=False)
    _waiters: Waiters = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._waiters = Waiters(self._clock)

    @property
    def isHeld(self) -> bool:
        return bool(self._why)

    def enter(self) -> Deferred[None]:
        """Fires at once, or when nothing is held up any more; then this one is under way. ``NotAppending`` where that
        takes too long."""
        if not self._why:
            self._underWay += 1
            return succeed(None)
        if self._held >= MOST_HELD:
            return fail(NotAppending(f"{self._why}, and too many changes wait; nothing was changed"))
        self._held += 1
        return self._waiters.wait(lambda: not self._why, HELD_SECONDS).addCallback(self._entered)

    def _entered(self, isFree: bool) -> None:
        self._held -= 1
        if not isFree:
            raise NotAppending(f"{self._why}; nothing was changed")
        self._underWay += 1

    def leave(self) -> None:
        self._underWay -= 1
        self._waiters.look()

    def hold(self, why: str) -> None:
        """Let nobody else through.

        :param why: what those are told who wait too long.
        """
        self._why = why

    def quiet(self, seconds: float) -> Deferred[bool]:
        """Fires with ``True`` when nobody is under way any more, with ``False`` when the time is up."""
        return self._waiters.wait(lambda: not self._underWay, seconds)

    def release(self) -> None:
        """Let everybody through again; idempotent."""
        self._why = ""
        self._waiters.look()
