"""One SFTP session on a channel (draft-ietf-secsh-filexfer-02).

    INIT        VERSION 3 with the extensions that this session has
    requests    answered exactly once each, whatever they hold
    EOF         everything is answered, then what is still open is aborted, then the exit status

What is under way is bounded: by a number of requests, by the bytes of answers that did not leave yet, and by the
channel's credit, which a request's bytes are given back to when it is answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...errors import FileSystemError
from ...interfaces import IFileSystem
from . import packets
from .handles import Handles
from .operation import Answer, Operation
from .operations import Operations
from .ordering import Order, Task
from .wire import Reader, Truncated

if TYPE_CHECKING:
    from .channel import SessionChannel

REQUEST_LIMIT = 64
UNSENT_LIMIT_BYTES = 2 * 1024 * 1024
"""No further request is looked at while answers of this size have not left, or may become due."""

TURN_LIMIT = 256
"""So many requests at most before others than this client are served."""


class SFTPServer:
    """The ``sftp`` subsystem: a :class:`~.channel.Program`.

    :ivar randomBytes: makes so many unguessable bytes.
    :ivar draftLinks: as for :class:`~.operations.Operations`.
    """

    _log = Logger()

    def __init__(
        self,
        channel: SessionChannel,
        files: IFileSystem,
        reactor: IReactorTime,
        randomBytes: Callable[[int], bytes],
        draftLinks: bool,
    ) -> None:
        self._channel = channel
        self._reactor = reactor
        self._frames = packets.Frames()
        self._order = Order()
        self._handles = Handles(randomBytes)
        self._operations = Operations(files, self._handles, reactor.seconds, draftLinks)
        self._initialized = False
        self._dueBytes = 0
        self._pumping = False
        self._next: IDelayedCall | None = None
        self._eof = self._deaf = self._stopped = False
        self._ending: Deferred[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether something is open or under way."""
        return bool(len(self._order) or len(self._handles) or self._channel.queued)

    # --- the channel's program

    def dataReceived(self, data: memoryview) -> None:
        if self._stopped or self._deaf:
            self._channel.consumed(len(data))
        else:
            self._frames.feed(data)
            self._pump()

    def eofReceived(self) -> None:
        self._eof = True
        self._pump()

    def sentSome(self) -> None:
        self._pump()

    def channelClosed(self) -> Deferred[None]:
        self._stop()
        return self._end()

    # --- requests

    def _pump(self) -> None:
        """Begin as many requests as may be under way."""
        if self._pumping or self._stopped or (self._next is not None and self._next.active()):
            return
        self._pumping = True
        try:
            for _ in range(TURN_LIMIT):
                if len(self._order) >= REQUEST_LIMIT or self._dueBytes + self._channel.queued >= UNSENT_LIMIT_BYTES:
                    return
                packet = self._frames.next()
                if packet is None:
                    break
                self._begin(packet)
            else:
                self._next = self._reactor.callLater(0, self._pump)
                return
        except packets.Unframed:
            self._log.debug("the client of a channel does not speak SFTP")
            self._eof = self._deaf = True
            self._frames.clear()
        finally:
            self._pumping = False
        if self._eof and not len(self._order):
            self._finish()

    def _begin(self, packet: memoryview) -> None:
        size = len(packet) + 4
        if packet[0] == packets.INIT:
            self._initialized = True
            self._channel.send(packets.versionReply(self._operations.extensions))
            self._channel.consumed(size)
            return
        if not self._initialized:
            raise packets.Unframed
        requestId = int.from_bytes(packet[1:5], "big")
        try:
            operation = self._operations.read(packet[0], requestId, Reader(packet, 5))
        except Truncated:
            self._answer((packets.status(requestId, packets.BAD_MESSAGE),), size)
        except FileSystemError as error:
            self._answer((packets.errorReply(requestId, error),), size)
        else:
            self._dueBytes += operation.answerBytes
            task = Task(
                lambda: self._start(task, operation, requestId, size),
                operation.looks,
                operation.paths,
                operation.handle,
                operation.span,
            )
            self._order.add(task)

    def _start(self, task: Task, operation: Operation, requestId: int, size: int) -> None:
        try:
            running = operation.run()
        except Exception:  # noqa: BLE001 - whatever breaks, the request is answered
            self._done(Failure(), task, operation, requestId, size)
        else:
            _ = running.addBoth(self._done, task, operation, requestId, size)

    def _done(self, result: Answer | Failure, task: Task, operation: Operation, requestId: int, size: int) -> None:
        if isinstance(result, Failure):
            answer: Answer = (self._explain(result, requestId),)
        else:
            answer = result
        self._dueBytes -= operation.answerBytes
        self._answer(answer, size)
        self._order.done(task)
        if not self._stopped:
            self._pump()
        elif not len(self._order) and self._ending is not None:
            self._abortAll()

    def _explain(self, failure: Failure, requestId: int) -> bytes:
        if isinstance(failure.value, FileSystemError):
            return packets.errorReply(requestId, failure.value)
        self._log.failure("an SFTP request broke", failure)
        return packets.status(requestId, packets.FAILURE, "internal error")

    def _answer(self, answer: Answer, size: int) -> None:
        if not self._stopped:
            self._channel.send(*answer)
            self._channel.consumed(size)

    # --- the end

    def _finish(self) -> None:
        if self._ending is None:
            self._stop()
            _ = self._end().addCallback(lambda _: self._channel.finish(1 if self._deaf else 0))

    def _stop(self) -> None:
        self._stopped = True
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._frames.clear()
        self._order.forget()

    def _end(self) -> Deferred[None]:
        """Abort what is open, once what is under way is done; fires then, more than once if need be."""
        if self._ending is None:
            self._ending = Deferred()
            if not len(self._order):
                self._abortAll()
        waiting: Deferred[None] = Deferred()
        _ = self._ending.chainDeferred(waiting)
        return waiting

    def _abortAll(self) -> None:
        async def abort() -> None:
            for opened in self._handles.takeAll():
                try:
                    await opened.abort()
                except Exception:  # noqa: BLE001 - a single file must not keep the others open
                    self._log.failure("could not abort {path!r}", path=opened.path)

        ending = self._ending
        assert ending is not None
        _ = Deferred.fromCoroutine(abort()).chainDeferred(ending)
