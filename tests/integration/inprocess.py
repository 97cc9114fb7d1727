"""What tests of a server in this process have in common: the reactor, waiting, and an orderly end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.trial.unittest import TestCase

R = TypeVar("R")


class InProcessCase(TestCase):
    """Its ``setUp`` comes first in those of its subclasses."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor

    def stop(self, port: Any, server: Any) -> Deferred[None]:
        """Listen no more, and end every connection."""

        async def stopped() -> None:
            await port.stopListening()
            gone = server.drain()
            server.disconnect()
            await gone
            await self.pause(0.05)

        return Deferred.fromCoroutine(stopped())

    def pause(self, seconds: float) -> Deferred[None]:
        paused: Deferred[None] = Deferred()
        self.reactor.callLater(seconds, paused.callback, None)
        return paused

    def inThread(self, function: Callable[..., R], *arguments: Any) -> Deferred[R]:
        """Run what blocks."""
        return deferToThreadPool(self.reactor, self.reactor.getThreadPool(), function, *arguments)
