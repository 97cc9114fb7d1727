"""Standard input, output and error of a program on a channel, and the program itself, written as a coroutine.

Input is taken as the program asks for it, and credit goes back when it is done with it; a program that writes a lot
waits for room. When the channel is gone, every wait of the program ends with :class:`Gone`. Knows no program.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from .wire import Buffer, Pieces

if TYPE_CHECKING:
    from .channel import SessionChannel

UNSENT_LIMIT_BYTES = 1024 * 1024
"""A program waits while this much has not left."""

TURN_LIMIT = 256
"""So much is taken at most before others than this client are served."""


class Gone(Exception):
    """The channel was closed; nobody waits for the program's answers."""


class EndOfInput(Exception):
    """Less came than was asked for, and nothing more will come."""


class LineTooLong(Exception):
    """What came is longer than any line that means something."""


@implementer(IConsumer)
class Streams:
    """
    :ivar isGone: whether the channel was closed.
    :ivar hurry: called when the channel is gone, for what else the program is waiting for.
    """

    def __init__(self, channel: SessionChannel, reactor: IReactorTime) -> None:
        self.hurry: Callable[[], None] | None = None
        self._channel = channel
        self._reactor = reactor
        self._turns = 0
        self._input = Pieces()
        self.isGone = self._isEnded = False
        self._waitingForInput: Deferred[None] | None = None
        self._waitingForRoom: Deferred[None] | None = None
        self._producer: IPushProducer | None = None

    # --- for the channel

    def feed(self, data: memoryview) -> None:
        self._input.append(data)
        self._wakeReader()

    def end(self) -> None:
        """Nothing more comes."""
        self._isEnded = True
        self._wakeReader()

    def leave(self) -> None:
        """The channel is gone."""
        self.isGone = True
        if self.hurry is not None:
            self.hurry()
        if self._producer is not None:
            self._producer.stopProducing()
        self.makeRoom()
        self._wakeReader()

    def makeRoom(self) -> None:
        """Something that was written has left."""
        if self._hasRoom:
            waiting, self._waitingForRoom = self._waitingForRoom, None
            if waiting is not None:
                waiting.callback(None)
            if self._producer is not None:
                self._producer.resumeProducing()

    @property
    def _hasRoom(self) -> bool:
        return self.isGone or self._channel.queued < UNSENT_LIMIT_BYTES

    def _wakeReader(self) -> None:
        waiting, self._waitingForInput = self._waitingForInput, None
        if waiting is not None:
            waiting.callback(None)

    def check(self) -> None:
        """Fails with ``Gone`` where that is so."""
        if self.isGone:
            raise Gone

    # --- input

    async def _more(self, than: int) -> None:
        """Wait until more than so many bytes are there; ``EndOfInput``, ``Gone``. What came before counts."""
        while len(self._input) <= than:
            self.check()
            if self._isEnded:
                raise EndOfInput
            self._turns = 0
            self._waitingForInput = Deferred()
            await self._waitingForInput
        self._turns += 1
        if self._turns >= TURN_LIMIT:
            self._turns = 0
            others: Deferred[None] = Deferred()
            self._reactor.callLater(0, others.callback, None)
            await others

    async def line(self, limit: int) -> bytes:
        """The next line, without its end; ``LineTooLong``, ``EndOfInput``."""
        seen = 0
        while True:
            await self._more(seen)
            head = self._input.peek(limit + 1)
            end = head.find(b"\n", seen)
            if end >= 0:
                self._input.take(end + 1)
                self.done(end + 1)
                return head[:end]
            seen = len(head)
            if seen > limit:
                raise LineTooLong

    async def byte(self) -> int:
        """The next byte; ``EndOfInput``."""
        await self._more(0)
        self.done(1)
        return self._input.take(1)[0]

    async def take(self, least: int, most: int) -> Buffer:
        """The next bytes, at least and at most so many, to be reported as :meth:`done`; ``EndOfInput``."""
        await self._more(least - 1)
        return self._input.take(min(len(self._input), most))

    def rest(self, limit: int) -> Buffer:
        """At most ``limit`` of the bytes that came and were not taken."""
        return self._input.take(min(len(self._input), limit))

    def done(self, size: int) -> None:
        """So much of what was taken is of no use any more."""
        self._channel.consumed(size)

    # --- output

    def write(self, data: Buffer) -> None:
        self._channel.send(data)
        if self._producer is not None and not self._hasRoom:
            self._producer.pauseProducing()

    async def room(self) -> None:
        """Wait until the client has read enough; ``Gone``."""
        while not self._hasRoom:
            self._waitingForRoom = Deferred()
            await self._waitingForRoom
        self.check()

    def error(self, text: bytes) -> None:
        """Say one line on standard error."""
        self._channel.sendError(text + b"\n")

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._producer = producer
        if self.isGone:
            producer.stopProducing()
        elif not self._hasRoom:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        self._producer = None


Main: TypeAlias = Callable[[Streams], Awaitable[int]]
"""What a program does; gives its exit status."""


class StandardProgram:
    """A :class:`~.channel.Program` that is a coroutine with standard streams.

    It begins a moment after it was made, when the client knows that its request was granted.
    """

    _log = Logger()

    def __init__(self, channel: SessionChannel, reactor: IReactorTime, main: Main) -> None:
        self._channel = channel
        self._main = main
        self._streams = Streams(channel, reactor)
        self._ended: Deferred[None] = Deferred()
        self._start: IDelayedCall = reactor.callLater(0, self._begin)

    @property
    def busy(self) -> bool:
        return not self._ended.called or bool(self._channel.queued)

    def dataReceived(self, data: memoryview) -> None:
        self._streams.feed(data)

    def eofReceived(self) -> None:
        self._streams.end()

    def sentSome(self) -> None:
        self._streams.makeRoom()

    def channelClosed(self) -> Deferred[None]:
        if self._start.active():
            self._start.cancel()
            self._ended.callback(None)
        self._streams.leave()
        waiting: Deferred[None] = Deferred()
        _ = self._ended.chainDeferred(waiting)
        return waiting

    def _begin(self) -> None:
        _ = Deferred.fromCoroutine(self._run()).chainDeferred(self._ended)

    async def _run(self) -> None:
        try:
            status = await self._main(self._streams)
        except (Gone, EndOfInput):
            status = 1
        except Exception:  # noqa: BLE001 - whatever breaks, the client is told that it ended
            self._log.failure("a program on a channel broke")
            self._streams.error(b"cftpcluster: internal error")
            status = 1
        self._channel.finish(status)
