"""Answers that go on until their reader leaves, as server-sent events: how many there may be, and for whom they end.

Server-sent events are those of the HTML standard, section 9.2. A stream ends, within :data:`LOOK_SECONDS`, when its
reader could not ask for it anew: the session was ended or has expired, the token is not good any more, the
administrator was disabled, or has another password or another role. What is told is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..files.streams import Patient
from ..servers.http import HTTPProblem
from ..vocabulary import Author
from ._routes import STREAM, IsAccess

log = Logger()

LOOK_SECONDS = 2.0
"""How often it is looked whether a reader may still read."""

RETRY = b"retry: 3000\n\n"
ALIVE = b": \n\n"
"""A comment, so that whoever stands between does not take the connection for dead."""


def wantsStream(request: Any) -> bool:
    return request.method == b"GET" and STREAM in (request.getHeader("Accept") or "")


def compact(value: Any) -> bytes:
    """JSON within a line."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def told(name: bytes, value: Any) -> bytes:
    """An event of that name."""
    return b"event: " + name + b"\ndata: " + compact(value) + b"\n\n"


@define(eq=False)
class Streams:
    """
    :ivar what: what they tell, for whoever comes when there are enough.
    :ivar most: how many there may be at once.
    :ivar count: how many there are.
    """

    what: str
    most: int
    _access: IsAccess
    _clock: IReactorTime
    count: int = field(default=0, init=False)

    async def send(
        self, request: Any, author: Author, write: Callable[[PacedWriter], Coroutine[Any, Any, None]]
    ) -> None:
        """Have ``write`` tell a reader what it has to, as long as the reader may be told."""
        if self.count >= self.most:
            headers = {"Retry-After": "10"}
            raise HTTPProblem(503, f"{self.most} streams of {self.what} are open already", headers=headers)
        isLasting = self._access.lasting(request, author)
        request.setHeader(b"Content-Type", b"text/event-stream; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"X-Accel-Buffering", b"no")
        writer = PacedWriter(request)
        writer.start()
        self.count += 1
        telling: Deferred[None] = Deferred.fromCoroutine(self._told(writer, write))

        def look() -> None:
            if not isLasting():
                writer.isEnding = True
                telling.cancel()

        looking = LoopingCall(look)
        looking.clock = self._clock

        def broke(failure: Failure) -> None:
            log.failure("a stream's reader could not be looked at", failure)
            writer.isEnding = True
            telling.cancel()

        _ = looking.start(LOOK_SECONDS, now=False).addErrback(broke)
        try:
            await telling
        except CancelledError:
            # The client has left, or may read no more.
            if not (writer.isEnding or request.disconnected):
                raise
        finally:
            self.count -= 1
            if looking.running:
                looking.stop()
            writer.stop()

    @staticmethod
    async def _told(writer: PacedWriter, write: Callable[[PacedWriter], Coroutine[Any, Any, None]]) -> None:
        await writer.write(RETRY)
        await write(writer)


@define(eq=False)
class PacedWriter(Patient):
    """Writes pieces of an answer as fast as the client reads them.

    :ivar isEnding: whether nobody may read it any more.
    """

    _request: Any
    isEnding: bool = field(default=False, init=False)
    _turn: DeferredLock = field(factory=DeferredLock, init=False)

    def start(self) -> None:
        self._request.registerProducer(self, True)

    def stop(self) -> None:
        if not self.isStopped:
            self._request.unregisterProducer()
        self.stopProducing()

    async def write(self, data: bytes | Callable[[], bytes]) -> None:
        """Return when there is room for more.

        :param data: what to write; or what makes it, called when there is room for it.
        """
        await self._turn.acquire()
        try:
            if await self.isTaken():
                piece = data() if callable(data) else data
                if piece:
                    self._request.write(piece)
        finally:
            self._turn.release()
