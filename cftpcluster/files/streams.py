"""Files to transports and back, with back-pressure in both directions.

For protocols whose data is a plain stream. What flows is bytes: nothing here knows a protocol, a path or a disk.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from attrs import Factory, define, field
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

PENDING_LIMIT_BYTES = 1024 * 1024
"""What a receiver holds before it lets the sender wait."""

PACED_PIECES = 4
"""The same in pieces, where a file keeps to a speed."""


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
class FileSender:
    """Sends a range of a file to one consumer; the next chunk is read while one is on its way.

    :ivar sent: the number of bytes handed over so far.
    """

    _file: IFile
    _consumer: IConsumer
    _chunkBytes: int = CHUNK_BYTES
    sent: int = field(default=0, init=False)
    _stopped: bool = field(default=False, init=False)
    _paused: Deferred[None] | None = field(default=None, init=False)
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
        if self._paused is not None and not self._stopped:
            await self._paused
        if self._stopped:
            raise Stopped(self.sent)
        self.sent += len(data)
        self._consumer.write(data)

    def stop(self) -> None:
        """Send nothing more: ``send`` fails with ``Stopped``, unless everything was handed over already."""
        self._stopped = True
        if self._paced is not None:
            self._paced.hurry()
        self.resumeProducing()

    # from the consumer

    def pauseProducing(self) -> None:
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.callback(None)

    def stopProducing(self) -> None:
        self.stop()


@define(eq=False)
class FileReceiver:
    """Writes a stream to a file, in order and in large pieces, and lets its producer wait when the disk is slower.

    :ivar failed: called once, with the first error of a write, so that a sender is not heard out in vain.
    :ivar received: the number of bytes that came so far.
    """

    _file: IFile
    _offset: int
    _producer: Pausable
    _failed: Callable[[Failure], object]
    _chunkBytes: int = CHUNK_BYTES
    received: int = field(default=0, init=False)
    _pending: list[bytes] = field(default=Factory(list), init=False)
    _pendingBytes: int = field(default=0, init=False)
    _writingBytes: int = field(default=0, init=False)
    _paused: bool = field(default=False, init=False)
    _error: Failure | None = field(default=None, init=False)
    _finished: Deferred[int] | None = field(default=None, init=False)
    _paced: IPaced | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._paced = IPaced(self._file, None)

    def dataReceived(self, data: bytes) -> None:
        """Take what came in. After an error it is only counted."""
        self.received += len(data)
        if self._error is not None or not data:
            return
        self._pending.append(data)
        self._pendingBytes += len(data)
        if not self._paused and self._pendingBytes + self._writingBytes >= self._limitBytes:
            self._paused = True
            self._producer.pauseProducing()
        self._writeNext()

    @property
    def _pieceBytes(self) -> int:
        return self._chunkBytes if self._paced is None else min(self._chunkBytes, self._paced.pieceBytes(False))

    @property
    def _limitBytes(self) -> int:
        return PENDING_LIMIT_BYTES if self._paced is None else min(PENDING_LIMIT_BYTES, PACED_PIECES * self._pieceBytes)

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
        self._writeNext()
        if isBroken and self._paced is not None:
            self._paced.hurry()
        return finished

    def _writeNext(self) -> None:
        if self._writingBytes:
            return
        if self._pending and (self._finished is not None or self._pendingBytes >= self._pieceBytes):
            data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
            offset, self._offset = self._offset, self._offset + len(data)
            self._pending.clear()
            self._pendingBytes, self._writingBytes = 0, len(data)
            written = self._file.write(offset, data)
            _ = written.addCallbacks(self._wrote, self._writeFailed).addErrback(
                lambda failure: log.failure("A stream could not go on", failure)
            )
        elif self._finished is not None:
            finished, self._finished = self._finished, None
            finished.callback(self.received if self._error is None else self._error)

    def _wrote(self, result: None) -> None:
        self._writingBytes = 0
        self._release()
        self._writeNext()

    def _writeFailed(self, failure: Failure) -> None:
        self._error = failure
        self._pending.clear()
        self._pendingBytes = self._writingBytes = 0
        self._release()
        self._failed(failure)
        self._writeNext()

    def _release(self) -> None:
        if self._paused:
            self._paused = False
            self._producer.resumeProducing()
