"""How long a refusal takes: about the same whatever the reason was. It knows nothing of log-ins."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater


@frozen
class FailureDelay:
    """Refusals are told at a moment counted from the question, so that what was computed in between (a cheap or a dear
    hash, one checker or three) does not show, and so that guessing is slow.

    :ivar random: a number from 0 to below 1.
    :ivar seconds: from question to refusal; 0 for at once.
    :ivar jitterSeconds: at most so much is added.
    """

    clock: IReactorTime
    random: Callable[[], float]
    seconds: float = 1.0
    jitterSeconds: float = 0.25

    def started(self) -> float:
        """To be handed to :meth:`since`."""
        return self.clock.seconds()

    def since(self, started: float) -> Deferred[None]:
        """Fires when it is time to refuse a question that came at ``started``."""
        if self.seconds <= 0:
            return succeed(None)
        whole = self.seconds + self.jitterSeconds * self.random()
        # Also where the clock was set back or forth in between.
        remaining = min(max(started + whole - self.clock.seconds(), 0.0), whole)
        return deferLater(self.clock, remaining)
