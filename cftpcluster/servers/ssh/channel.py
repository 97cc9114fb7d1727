"""A session channel: flow control in both directions, and the one program that runs on it.

Credit goes back to the client as the program consumes bytes, never earlier; what the program sends waits in a queue
that the program itself keeps short by looking at its length. Knows no program in particular.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from twisted.conch.interfaces import IConchUser
from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.transport import DISCONNECT_PROTOCOL_ERROR
from twisted.internet.defer import Deferred

from ._quiet import quietLogger
from .wire import Buffer, Reader, uint32

if TYPE_CHECKING:
    from .connection import Connection

FIRST_WINDOW_BYTES = 512 * 1024
"""Credit at first. It doubles with each grant that an upload earns, up to the largest."""

LARGEST_WINDOW_BYTES = 4 * 1024 * 1024
LONGEST_PACKET = 256 * 1024
LARGEST_CREDIT = 0xFFFFFFFF


class Program(Protocol):
    """What runs on a channel; it sends with the channel's methods.

    :ivar busy: whether it is in the middle of something.
    """

    @property
    def busy(self) -> bool: ...

    def dataReceived(self, data: memoryview) -> None:
        """Bytes from the client; to be reported with :meth:`SessionChannel.consumed` when they are done with."""

    def eofReceived(self) -> None:
        """The client sends nothing more; the program ends with :meth:`SessionChannel.finish` when it has answered."""

    def sentSome(self) -> None:
        """:attr:`SessionChannel.queued` became less."""

    def channelClosed(self) -> Deferred[None]:
        """Nothing can be sent any more; fires when the program has let go of everything."""


ProgramMaker: TypeAlias = "Callable[[bytes, bytes, SessionChannel], Program | None]"
"""Makes the program that a request (``subsystem``, ``exec`` or ``shell``) names, for a channel; ``None`` refuses.

It may send nothing before the request is answered, which is when the maker has returned."""

_PROGRAM_REQUESTS = frozenset({b"subsystem", b"exec", b"shell"})


class SessionChannel(SSHChannel):
    """
    :ivar queued: bytes that were sent but did not leave yet.
    :ivar makeProgram: makes what the client asks for.
    :ivar ended: fires when the channel is closed and its program has let go of everything.
    """

    name = b"session"
    conn: Connection
    _log = quietLogger()

    def __init__(
        self,
        remoteWindow: int,
        remoteMaxPacket: int,
        data: bytes,
        avatar: IConchUser,
        makeProgram: ProgramMaker,
    ) -> None:
        super().__init__(
            localWindow=FIRST_WINDOW_BYTES,
            localMaxPacket=LONGEST_PACKET,
            remoteWindow=remoteWindow,
            remoteMaxPacket=remoteMaxPacket,
            data=data,
            avatar=avatar,
        )
        self.ended: Deferred[None] = Deferred()
        self.queued = 0
        self._makeProgram = makeProgram
        self._program: Program | None = None
        self._queue: deque[Buffer] = deque()
        self._errors = bytearray()
        self._flushing = False
        self._owedBytes = 0
        self._exitStatus: int | None = None

    @property
    def busy(self) -> bool:
        """Whether the client is in the middle of something."""
        return self._program is not None and self._program.busy

    def paused(self) -> None:
        """Everything that the client began on this channel is done."""
        self.conn.transport.paused()

    # --- requests

    def requestReceived(self, requestType: bytes, data: bytes) -> bool:
        """Whether the request is granted: one program, and nothing else."""
        if self._program is None and self._exitStatus is None and requestType in _PROGRAM_REQUESTS:
            argument = b"" if requestType == b"shell" else Reader(data).string()
            self._program = self._makeProgram(requestType, argument, self)
            return self._program is not None
        return False

    # --- from the client

    def receive(self, data: memoryview, wanted: bool = True) -> None:
        """Bytes from the client; not ``wanted`` are those of a stream that no program reads."""
        size = len(data)
        if size > self.localWindowLeft or size > self.localMaxPacket:
            self.conn.transport.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"more data than there was room for")
            return
        self.localWindowLeft -= size
        if self._program is None or self._exitStatus is not None or not wanted:
            self.consumed(size)
        else:
            self._program.dataReceived(data)

    def consumed(self, size: int) -> None:
        """Let the client send ``size`` bytes more."""
        self._owedBytes += size
        if self._owedBytes >= self.localWindowSize // 4 and not self.localClosed:
            grown = min(2 * self.localWindowSize, LARGEST_WINDOW_BYTES)
            grant, self._owedBytes = self._owedBytes + grown - self.localWindowSize, 0
            self.localWindowSize = grown
            self.conn.adjustWindow(self, grant)

    def eofReceived(self) -> None:
        if self._program is None:
            self.finish(1)
        else:
            self._program.eofReceived()

    # --- to the client

    def send(self, *parts: Buffer) -> None:
        """Send ``parts``, in order, as credit allows."""
        if not self.localClosed:
            self._queue.extend(parts)
            self.queued += sum(map(len, parts))
            self.flush()

    def sendError(self, text: bytes) -> None:
        """Send ``text`` as what a program says on its standard error; it counts as :attr:`queued` too."""
        if not self.localClosed:
            self._errors += text
            self.queued += len(text)
            self.flush()

    def addWindowBytes(self, data: int) -> None:
        self.remoteWindowLeft = min(self.remoteWindowLeft + data, LARGEST_CREDIT)
        self.flush()

    def flush(self) -> None:
        """Send what may be sent now."""
        if self._flushing:
            return
        self._flushing = True
        before = self.queued
        try:
            if self._errors:
                self._flushErrors()
            while self.queued and self.remoteWindowLeft and not self.localClosed and self.conn.transport.writable:
                size = min(self.queued, self.remoteWindowLeft, self.remoteMaxPacket)
                self.queued -= size
                self.remoteWindowLeft -= size
                self.conn.sendDataParts(self, self._taken(size), size)
        finally:
            self._flushing = False
        if self.queued < before and self._program is not None:
            self._program.sentSome()
        if not self.queued and self._exitStatus is not None and not self.localClosed:
            self.conn.sendRequest(self, b"exit-status", uint32(self._exitStatus))
            self.conn.sendEOF(self)
            self.conn.sendClose(self)

    def _flushErrors(self) -> None:
        """As :meth:`flush`, of what goes before everything else."""
        while self._errors and self.remoteWindowLeft and not self.localClosed and self.conn.transport.writable:
            text = bytes(self._errors[: min(self.remoteWindowLeft, self.remoteMaxPacket)])
            del self._errors[: len(text)]
            self.queued -= len(text)
            self.remoteWindowLeft -= len(text)
            self.conn.sendErrorText(self, text)

    def _taken(self, size: int) -> list[Buffer]:
        """The first ``size`` bytes of the queue."""
        taken: list[Buffer] = []
        while size:
            part = self._queue.popleft()
            if len(part) > size:
                view = memoryview(part)
                part = view[:size]
                self._queue.appendleft(view[size:])
            taken.append(part)
            size -= len(part)
        return taken

    def finish(self, exitStatus: int) -> None:
        """The program has ended: say so, and close, after everything that was sent."""
        if self._exitStatus is None:
            self._exitStatus = exitStatus
            self.flush()

    # --- the end

    def closed(self) -> None:
        self._queue.clear()
        self._errors.clear()
        self.queued = 0
        program, self._program = self._program, None
        if program is None:
            self.ended.callback(None)
        else:
            _ = program.channelClosed().chainDeferred(self.ended)
