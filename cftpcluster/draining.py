"""Takes a node out of service without harm to its clients, and back.

A drain goes through these states: *balancers find out*, while ``/readyz`` says no and clients are still served;
*finishing*, when new ones are refused in their protocol's words and those there finish what they began; *over*, when
nobody is left, or the time is up and whoever was left is sent away. It stays over until it is taken back, or the node
ends. Who asked for it is not known here, nor how sessions end: that is the servers' business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from .config.document import Settings
from .errors import ClusterError
from .services import Services

log = Logger()

MOST_SECONDS = 24 * 3600.0

MOST_WAIT_SECONDS = 20.0
"""An answer that waits longer might find its link gone."""


@define(eq=False, kw_only=True)
class Draining:
    """
    :ivar isActive: whether the node is being drained, or is drained.
    :ivar _changed: told when that changes.
    """

    _clock: IReactorTime
    _services: Callable[[], Services]
    _settings: Callable[[], Settings]
    _changed: Callable[[], None]
    isActive: bool = field(default=False, init=False)
    _isOver: bool = field(default=False, init=False)
    _ended: int = field(default=0, init=False)
    _until: float = field(default=0.0, init=False)
    _running: Deferred[None] | None = field(default=None, init=False)
    _deadline: IDelayedCall | None = field(default=None, init=False)
    _waiting: list[Deferred[None]] = field(factory=list, init=False)

    def begin(self, seconds: float | None = None) -> Deferred[None]:
        """Drain; fires when the drain is over, or was taken back. One that was begun before goes on.

        :param seconds: until those who are left are sent away; ``None``: as the settings say. Of a drain that was begun
            before, the sooner end holds.
        """
        if not self.isActive:
            self._start(self._settings().drainSeconds if seconds is None else seconds)
        elif seconds is not None:
            self._hurry(seconds)
        if self._isOver:
            return succeed(None)
        over: Deferred[None] = Deferred()
        self._waiting.append(over)
        return over

    def resume(self) -> None:
        """Take clients again; nothing happens where nothing was drained."""
        if not self.isActive:
            return
        self.isActive = self._isOver = False
        self.stop()
        self._services().resume()
        log.info("this node takes clients again")
        self._changed()

    def stop(self) -> None:
        """The node ends: nothing is waited for any more. Idempotent."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
        self._tellOver()

    @property
    def sessions(self) -> int:
        """How many connections of clients are left."""
        return self._services().sessions

    # --- as actions of the node

    def drainAction(self, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        """Drain, and tell how far it is: at once, or with ``wait`` when it is over or so many seconds later."""
        seconds, wait = arguments.get("seconds"), arguments.get("wait", 0)
        for name, value, most in (("seconds", seconds, MOST_SECONDS), ("wait", wait, MOST_WAIT_SECONDS)):
            isNumber = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (isNumber and 0 <= value <= most):
                return fail(ClusterError(f"{name}: expected a number between 0 and {most:g}"))
        over = self.begin(seconds)
        if wait:
            _ = over.addTimeout(wait, self._clock, lambda _, seconds: None)
            return over.addCallback(lambda _: self._progress())
        return succeed(self._progress())

    def _progress(self) -> Mapping[str, Any]:
        left = 0.0 if self._isOver else round(self._secondsLeft(), 1)
        progress = {"sessions": self.sessions, "over": self._isOver, "ended": self._ended, "seconds": left}
        return {"state": "draining" if self.isActive else "resumed", **progress}

    # --- the course of it

    def _start(self, seconds: float) -> None:
        self.isActive, self._ended = True, 0
        self._until = self._clock.seconds() + seconds
        log.info("draining: sessions have {seconds} s to finish", seconds=seconds)
        self._running = Deferred.fromCoroutine(self._run(min(self._settings().drainGraceSeconds, seconds)))
        _ = self._running.addErrback(self._failed)
        self._changed()

    def _hurry(self, seconds: float) -> None:
        self._until = min(self._until, self._clock.seconds() + seconds)
        if self._deadline is not None and self._deadline.active():
            self._deadline.reset(self._secondsLeft())

    def _secondsLeft(self) -> float:
        return max(0.0, self._until - self._clock.seconds())

    async def _run(self, graceSeconds: float) -> None:
        await deferLater(self._clock, graceSeconds)
        drained = Deferred.fromCoroutine(self._services().drain())
        late: Deferred[None] = Deferred()
        self._deadline = self._clock.callLater(self._secondsLeft(), late.callback, None)
        try:
            await self._settled(drained, late)
        finally:
            if self._deadline.active():
                self._deadline.cancel()
        self._isOver = True
        self._tellOver()

    async def _settled(self, drained: Deferred[None], late: Deferred[None]) -> None:
        await DeferredList([drained, late], fireOnOneCallback=True, fireOnOneErrback=True, consumeErrors=True)
        if late.called:
            log.info("draining: {sessions} sessions are still under way; ending them", sessions=self.sessions)
            self._ended = self.sessions
            self._services().disconnect()
        else:
            log.info("drained: no session is left")

    def _failed(self, failure: Failure) -> None:
        if self._running is not None:
            log.failure("draining broke", failure)
            self._tellOver()

    def _tellOver(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)
