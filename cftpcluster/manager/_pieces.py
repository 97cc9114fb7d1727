"""Sends a long body as fast as the client reads it, so that one who reads slowly is served all the same."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

_PIECE_BYTES = 64 * 1024


@implementer(IPushProducer)
@define(eq=False)
class BodySender:
    """Sends one body, once."""

    _request: Any
    _body: bytes
    _sent: int = field(default=0, init=False)
    _paused: bool = field(default=False, init=False)
    _done: Deferred[None] | None = field(default=None, init=False)

    def send(self) -> Deferred[None]:
        """Fires when all of it was handed over. Cancelled, it stops."""
        done: Deferred[None] = Deferred(lambda deferred: self.stopProducing())
        self._done = done
        self._request.registerProducer(self, True)
        self.resumeProducing()
        return done

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while not self._paused and self._done is not None:
            piece = self._body[self._sent : self._sent + _PIECE_BYTES]
            self._sent += len(piece)
            self._request.write(piece)
            if self._sent >= len(self._body):
                self._end()

    def stopProducing(self) -> None:
        self._done = None

    def _end(self) -> None:
        done, self._done = self._done, None
        self._request.unregisterProducer()
        if done is not None:
            done.callback(None)
