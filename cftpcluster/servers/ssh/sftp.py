"""One SFTP session on a channel (draft-ietf-secsh-filexfer-02).

    INIT        VERSION 3 with the extensions that this session has
    requests    answered exactly once each, whatever they hold
    EOF         everything is answered, then what is still open is aborted, then the exit status

Requests run side by side, but are answered in their order: OpenSSH's server works them off one after the other, and
clients (paramiko, Net::SFTP::Foreign) count on that: they wait for ever for an answer that another one overtook.

What is under way is bounded: by a number of requests, by the bytes of answers that did not leave yet, and by the
channel's credit, which a request's bytes are given back to when it is answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...errors import FileSystemError
from ...interfaces import IFileSystem
from . import packets
from .gathering import Gathering
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


@define(eq=False)
class _Request:
    """A request that is not answered yet.

    :ivar size: its length on the channel.
    :ivar dueBytes: how large its answer may become, where that is much.
    :ivar answer: its answer, which waits for those of earlier requests.
    """

    id: int
    size: int
    dueBytes: int = 0
    answer: Answer | None = None


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
        self._gathering = Gathering(reactor)
        self._operations = Operations(files, self._handles, reactor.seconds, draftLinks, self._gathering)
        self._initialized = False
        self._unanswered: deque[_Request] = deque()
        self._dueBytes = 0
        self._pumping = False
        self._next: IDelayedCall | None = None
        self._eof = self._deaf = self._stopped = self._aborting = False
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
        self._tellPause()

    def channelClosed(self) -> Deferred[None]:
        self._stop()
        self._handles.hurry()
        return self._end()

    # --- requests

    def _pump(self) -> None:
        """Begin as many requests as may be under way."""
        if self._pumping or self._stopped or (self._next is not None and self._next.active()):
            return
        self._pumping = True
        moreComes = False
        try:
            for _ in range(TURN_LIMIT):
                if (
                    len(self._unanswered) >= REQUEST_LIMIT
                    or self._dueBytes + self._channel.queued >= UNSENT_LIMIT_BYTES
                ):
                    return
                packet = self._frames.next()
                if packet is None:
                    moreComes = self._frames.isAmidPacket
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
            if moreComes:
                self._gathering.hold()
            else:
                self._gathering.flush()
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
        request = _Request(int.from_bytes(packet[1:5], "big"), size)
        self._unanswered.append(request)
        try:
            operation = self._operations.read(packet[0], request.id, Reader(packet, 5))
        except Truncated:
            self._answer(request, (packets.status(request.id, packets.BAD_MESSAGE),))
        except FileSystemError as error:
            self._answer(request, (packets.errorReply(request.id, error),))
        else:
            request.dueBytes = operation.answerBytes
            self._dueBytes += operation.answerBytes
            task = Task(
                lambda: self._start(task, operation, request),
                operation.looks,
                operation.paths,
                operation.handle,
                operation.span,
                operation.other,
                operation.lists,
            )
            self._order.add(task)

    def _start(self, task: Task, operation: Operation, request: _Request) -> None:
        try:
            running = operation.run()
        except Exception:  # noqa: BLE001 - whatever breaks, the request is answered
            self._done(Failure(), task, request)
        else:
            _ = running.addBoth(self._done, task, request)

    def _done(self, result: Answer | Failure, task: Task, request: _Request) -> None:
        self._answer(request, (self._explain(result, request.id),) if isinstance(result, Failure) else result)
        self._order.done(task)
        if not self._stopped:
            self._pump()
            self._tellPause()
        elif not len(self._order) and self._ending is not None:
            self._abortAll()

    def _tellPause(self) -> None:
        if not self._stopped and not self.busy:
            self._channel.paused()

    def _explain(self, failure: Failure, requestId: int) -> bytes:
        if isinstance(failure.value, FileSystemError):
            return packets.errorReply(requestId, failure.value)
        self._log.failure("an SFTP request broke", failure)
        return packets.status(requestId, packets.FAILURE, "internal error")

    def _answer(self, request: _Request, answer: Answer) -> None:
        """Answer a request as soon as all earlier ones have their answers."""
        request.answer = answer
        while self._unanswered and (first := self._unanswered[0].answer) is not None:
            done = self._unanswered.popleft()
            self._dueBytes -= done.dueBytes
            self._channel.send(*first)
            self._channel.consumed(done.size)

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
        self._gathering.flush()
        self._order.forget()
        self._unanswered.clear()

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
        """Once, whoever finds first that nothing is under way: requests may be done within each other."""
        if self._aborting:
            return
        self._aborting = True

        async def abort() -> None:
            for opened in self._handles.takeAll():
                try:
                    await opened.abort()
                except Exception:  # noqa: BLE001 - a single file must not keep the others open
                    self._log.failure("could not abort {path!r}", path=opened.path)

        ending = self._ending
        assert ending is not None
        _ = Deferred.fromCoroutine(abort()).chainDeferred(ending)
