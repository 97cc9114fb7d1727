"""Files to transports and back, with back-pressure in both directions.

For protocols whose data is a plain stream. What flows is bytes: nothing here knows a protocol, a path or a disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import FileSystemError
from ..interfaces import IFile, IPaced

log = Logger()

CHUNK_BYTES = 256 * 1024
"""What moves at once: less costs a thread's hop too often, more holds other connections up."""

FIRST_BYTES = 64 * 1024
"""What a receiver writes at once to begin with: most files are small."""

MOST_BYTES = 1024 * 1024
"""What it writes at once where bytes come faster than they are written."""


class Stopped(Exception):
    """A transfer was stopped, or its consumer is gone.

    :ivar sent: the number of bytes that were handed over before.
    """

    def __init__(self, sent: int) -> None:
        super().__init__(f"stopped after {sent} bytes")
        self.sent = sent


class Pausable(Protocol):
    """What a receiver asks of the transport that feeds it."""

    def pauseProducing(self) -> object: ...

    def resumeProducing(self) -> object: ...


@implementer(IPushProducer)
@define(eq=False)
class Patient:
    """A producer that waits while its consumer has enough, and ends when nobody takes any more.

    :ivar isStopped: whether nobody does.
    :ivar paused: fires when the consumer takes more; ``None`` while it does.
    """

    isStopped: bool = field(default=False, init=False)
    paused: Deferred[None] | None = field(default=None, init=False)

    async def isTaken(self) -> bool:
        """Return when the consumer takes more, or never will: whether it does."""
        if self.paused is not None and not self.isStopped:
            await self.paused
        return not self.isStopped

    def pauseProducing(self) -> None:
        if self.paused is None:
            self.paused = Deferred()

    def resumeProducing(self) -> None:
        paused, self.paused = self.paused, None
        if paused is not None:
            paused.callback(None)

    def stopProducing(self) -> None:
        self.isStopped = True
        self.resumeProducing()


@define(eq=False)
class FileSender(Patient):
    """Sends a range of a file to one consumer; the next chunk is read while one is on its way.

    :ivar sent: the number of bytes handed over so far.
    """

    _file: IFile
    _consumer: IConsumer
    _chunkBytes: int = CHUNK_BYTES
    sent: int = field(default=0, init=False)
    _paced: IPaced | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._paced = IPaced(self._file, None)

    def send(self, offset: int, length: int) -> Deferred[int]:
        """Send ``length`` bytes from ``offset``, or what there is. Once only.

        Fires with the number of bytes, less than ``length`` where the file ended early. Fails with ``Stopped``, or with
        the error of the read that failed. When it fires, no read is under way and the producer is unregistered.
        """
        return Deferred.fromCoroutine(self._send(offset, length))

    async def _send(self, offset: int, length: int) -> int:
        self._consumer.registerProducer(self, True)
        try:
            await self._copy(offset, length)
        finally:
            self._consumer.unregisterProducer()
        return self.sent

    async def _copy(self, offset: int, length: int) -> None:
        ahead = self._read(offset, length)
        while data := await ahead:
            ahead = self._read(offset + self.sent + len(data), length - self.sent - len(data))
            try:
                await self._pass(data)
            except Stopped:
                with suppress(FileSystemError):
                    await ahead
                raise

    def _read(self, offset: int, length: int) -> Deferred[bytes]:
        most = self._chunkBytes if self._paced is None else min(self._chunkBytes, self._paced.pieceBytes(True))
        return self._file.read(offset, max(0, min(length, most)))

    async def _pass(self, data: bytes) -> None:
        if not await self.isTaken():
            raise Stopped(self.sent)
        self.sent += len(data)
        self._consumer.write(data)

    def stop(self) -> None:
        """Send nothing more: ``send`` fails with ``Stopped``, unless everything was handed over already."""
        self.isStopped = True
        if self._paced is not None:
            self._paced.hurry()
        self.resumeProducing()

    def stopProducing(self) -> None:
        self.stop()


@define(eq=False)
class FileReceiver:
    """Writes a stream to a file, in order and in large pieces, and lets its producer wait when the disk is slower.

    Bytes are put where :meth:`space` says, and told by :meth:`filled`; :meth:`dataReceived` does both.

    :ivar failed: called once, with the first error of a write, so that a sender is not heard out in vain.
    :ivar received: the number of bytes that came so far.
    """

    _file: IFile
    _offset: int
    _producer: Pausable
    _failed: Callable[[Failure], object]
    received: int = field(default=0, init=False)
    _space: memoryview = field(default=memoryview(b""), init=False)
    _filled: int = field(default=0, init=False)
    _full: deque[memoryview] = field(factory=deque, init=False)
    _spare: memoryview | None = field(default=None, init=False)
    _spaceBytes: int = field(default=FIRST_BYTES, init=False)
    _isWriting: bool = field(default=False, init=False)
    _paused: bool = field(default=False, init=False)
    _error: Failure | None = field(default=None, init=False)
    _finished: Deferred[int] | None = field(default=None, init=False)
    _paced: IPaced | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._paced = IPaced(self._file, None)

    def space(self) -> memoryview:
        """Where the next bytes belong; never empty."""
        if not self._space:
            spare, self._spare = self._spare, None
            size = self._pieceBytes
            self._space = spare if spare is not None and len(spare) == size else memoryview(bytearray(size))
        return self._space[self._filled :]

    def filled(self, byteCount: int) -> None:
        """So many bytes came, and are in :meth:`space`. After an error they are only counted."""
        self.received += byteCount
        if self._error is None:
            self._filled += byteCount
            if self._filled >= min(len(self._space), self._pieceBytes):
                self._handOn()

    def dataReceived(self, data: bytes) -> None:
        """Take what came in."""
        rest = memoryview(data)
        while rest:
            space = self.space()
            count = min(len(space), len(rest))
            space[:count] = rest[:count]
            self.filled(count)
            rest = rest[count:]

    @property
    def _pieceBytes(self) -> int:
        return self._spaceBytes if self._paced is None else min(self._spaceBytes, self._paced.pieceBytes(False))

    @property
    def isHolding(self) -> bool:
        """Whether the sender waits for the file."""
        return self._paused

    def finish(self, isBroken: bool = False) -> Deferred[int]:
        """Nothing more comes, whatever the reason. Once only.

        :param isBroken: whether nobody waits for the rest to keep to a speed.

        Fires with the number of bytes when all of them are written, or fails with the first error of a write.
        """
        self._finished = Deferred()
        finished = self._finished
        self._handOn()
        if isBroken and self._paced is not None:
            self._paced.hurry()
        return finished

    def _handOn(self) -> None:
        """Let what was filled be written, in its turn."""
        if self._filled:
            self._full.append(self._space[: self._filled])
            self._space, self._filled = memoryview(b""), 0
            self._spaceBytes = max(self._spaceBytes, CHUNK_BYTES)
        self._writeNext()
        if self._full and not self._paused:
            self._spaceBytes = min(2 * self._spaceBytes, MOST_BYTES)
            self._paused = True
            self._producer.pauseProducing()

    def _writeNext(self) -> None:
        if self._isWriting:
            return
        if self._full:
            data = self._full.popleft()
            offset, self._offset = self._offset, self._offset + len(data)
            self._isWriting = True
            written = self._file.write(offset, data)
            _ = written.addCallbacks(self._wrote, self._writeFailed, (data,)).addErrback(
                lambda failure: log.failure("A stream could not go on", failure)
            )
        elif self._finished is not None:
            finished, self._finished = self._finished, None
            finished.callback(self.received if self._error is None else self._error)

    def _wrote(self, result: None, data: memoryview) -> None:
        self._isWriting = False
        self._spare = data
        self._writeNext()
        self._release()

    def _writeFailed(self, failure: Failure) -> None:
        self._error = failure
        self._isWriting = False
        self._full.clear()
        self._filled = 0
        self._failed(failure)
        self._writeNext()
        self._release()

    def _release(self) -> None:
        if self._paused and not self._full:
            self._paused = False
            self._producer.resumeProducing()
