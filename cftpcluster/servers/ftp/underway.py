"""A transfer under way: its data connection, whether bytes still move, and how it is ended from outside.

Knows no file: what is transferred is the business of :mod:`.transfer` and :mod:`.listing`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ...errors import FileSystemError
from ...files.streams import Stopped
from .channel import DataChannel
from .data import DataConnection, DataLost
from .replies import ABORTED, Refusal, Reply, forget

if TYPE_CHECKING:
    from .session import Session

log = Logger()

STALLED_SECONDS = 120.0
"""A transfer in which nothing moves for so long is over."""

_WATCH_SECONDS = 10.0


@define(eq=False)
class Transfer:
    """A transfer under way.

    :ivar verb: the command.
    :ivar name: what it transfers, for STAT.
    :ivar connection: its data connection, once there is one.
    :ivar isHeld: whether nothing moves because this side does not take more.
    """

    verb: str
    name: str
    _channel: DataChannel
    _reactor: Any
    connection: DataConnection | None = field(default=None, init=False)
    isHeld: Callable[[], bool] = field(default=lambda: False, init=False)
    _ending: Reply | None = field(default=None, init=False)
    _watch: LoopingCall | None = field(default=None, init=False)
    _progress: tuple[int, ...] = field(default=(), init=False)
    _movedAt: float = field(default=0.0, init=False)

    async def connect(self) -> DataConnection:
        """The data connection; a ``Refusal`` when there is none in time."""
        self.check()
        self.connection = await self._channel.take()
        self._movedAt = self._reactor.seconds()
        self._watch = LoopingCall(self._look)
        self._watch.clock = self._reactor
        _ = self._watch.start(_WATCH_SECONDS, now=False).addErrback(
            lambda reason: log.failure("could not watch a transfer", failure=reason)
        )
        return self.connection

    def _look(self) -> None:
        assert self.connection is not None
        progress, now = self.connection.progress(), self._reactor.seconds()
        if progress != self._progress or self.isHeld():
            self._progress, self._movedAt = progress, now
        elif now - self._movedAt >= STALLED_SECONDS:
            self.end(Reply.of(426, "Nothing moved for too long, transfer aborted"))

    def stopWatching(self) -> None:
        """The rest does not depend on the other side."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.stop()

    def end(self, reply: Reply) -> None:
        """End it from outside; its command answers ``reply``. Where all is done already, only the answer is left."""
        if self._ending is None:
            self._ending = reply
        self._channel.close()
        if self.connection is not None:
            self.connection.abort()

    def check(self) -> None:
        """Raise what it was ended with; to be called after a wait that ending it does not cut short."""
        if self._ending is not None:
            raise Ended(self._ending)

    def release(self) -> None:
        """It is over."""
        self.stopWatching()
        self._channel.close()
        if self.connection is not None and not self.connection.isEnding:
            self.connection.abort()


class Ended(Refusal):
    """A transfer was ended from outside."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.code, reply.lines[0])


async def conduct(session: Session, verb: str, name: str, work: Callable[[Transfer], Awaitable[Reply]]) -> Reply:
    """Run a command's work as the transfer of the session, if the client has prepared a data connection for it."""
    if session.options.tls == "required" and not session.private:
        return Reply.of(521, "Data connections must be protected: say PROT P")
    if not session.data.isPrepared:
        return Reply.of(425, "Say PASV, EPSV, PORT or EPRT first")
    transfer = session.transfer = Transfer(verb, name, session.data, session.reactor)
    try:
        return await work(transfer)
    except (DataLost, Stopped, Refusal, FileSystemError) as error:
        transfer.check()
        if isinstance(error, DataLost | Stopped):
            forget(error)
            return ABORTED
        raise
    finally:
        session.transfer = None
        transfer.release()
