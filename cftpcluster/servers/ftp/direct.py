"""Files that the kernel sends by itself, from its cache to the socket, without their bytes passing this process.

What is not in the cache is read by the file's own threads, and sent as it was read: the reactor's thread never waits
for a disk. Knows no command, and no path.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from attrs import define, field
from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.main import CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...errors import Closed
from ...files.streams import CHUNK_BYTES, FileSender, Stopped
from ...files.wrappers import ability
from ...interfaces import IFile, IHasDescriptor
from .data import DataConnection

log = Logger()

WINDOW_BYTES = 1024 * 1024
"""What is looked for in the cache at once, and what the kernel is given at once."""

UNSENT_BYTES = 64 * 1024
"""The kernel takes no more while so much waits to be sent once: what waits in a queue costs both sides twice as much as
what is sent within the call. What is under way to the client is not limited by it."""

PROBE_BYTES = 128 * 1024
"""How far apart pages are looked for: the kernel reads ahead in pieces of this size."""


async def sendFile(file: IFile, connection: DataConnection, offset: int, length: int) -> int:
    """Send ``length`` bytes from ``offset``, or what there is, as fast as this file and this connection can.

    Gives the number of bytes; raises :class:`~cftpcluster.files.streams.Stopped` when the connection is lost.
    """
    sent = 0
    transport: Any = None if connection.secured else connection.transport
    if isinstance(transport, tcp.Connection) and hasattr(os, "sendfile") and hasattr(os, "RWF_NOWAIT"):
        sent = await _Sending(file, connection, transport, offset, offset + length).done
    # Also what the kernel does not take, and what tells why there is no more.
    return sent if sent == length else sent + await FileSender(file, connection).send(offset + sent, length - sent)


@implementer(IPushProducer)
@define(eq=False)
class _Sending:
    """Part of a file on its way; takes the place of what a transport does when its socket can take more.

    :ivar done: fires with the number of bytes that were sent, when there are no more, or none for the kernel; fails
        with ``Stopped``, or with the error of a read.
    """

    _file: IFile
    _connection: DataConnection
    _transport: Any
    _offset: int
    _end: int
    done: Deferred[int] = field(factory=Deferred, init=False)
    _sent: int = field(default=0, init=False)
    _cachedUntil: int = field(init=False)
    _descriptor: IHasDescriptor | None = field(default=None, init=False)
    _read: memoryview = field(default=memoryview(b""), init=False)  # of what is to be sent next
    _isOver: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._cachedUntil = self._offset
        if self._transport.connected:
            self._transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._transport.registerProducer(self, True)
        if not self._isOver:
            self._transport.doWrite = self._doWrite
            self._transport.startWriting()

    def _doWrite(self) -> Exception | None:
        if not self._read and self._offset >= self._cachedUntil and not self._prepare():
            return None
        try:
            count = self._transport.socket.send(self._read) if self._read else self._sendFromCache()
        except BlockingIOError:
            return None
        except (ConnectionError, TimeoutError):
            return CONNECTION_LOST
        except (OSError, Closed):
            count = 0
        self._read = self._read[count:]
        self._offset += count
        self._sent += count
        self._connection.sent += count
        if not count or self._offset == self._end:
            self._finish(self._sent)
        return None

    def _sendFromCache(self) -> int:
        assert self._descriptor is not None
        wanted = self._cachedUntil - self._offset
        sent = os.sendfile(self._transport.fileno(), self._descriptor.descriptor(), self._offset, wanted)
        self._descriptor.sent(sent)
        return sent

    def _prepare(self) -> bool:
        """Whether something can be sent now."""
        # Asked for anew: a speed may have been set meanwhile, to which the kernel could not keep.
        self._descriptor = ability(IHasDescriptor, self._file)
        end = min(self._end, self._offset + WINDOW_BYTES)
        try:
            if self._descriptor is None or self._offset == self._end:
                self._finish(self._sent)
            elif self._isCached(self._descriptor.descriptor(), end):
                self._cachedUntil = end
                return True
            else:
                self._transport.stopWriting()
                read = self._file.read(self._offset, min(CHUNK_BYTES, end - self._offset))
                _ = read.addCallbacks(self._wasRead, self._notRead).addErrback(
                    lambda failure: log.failure("a download could not go on", failure)
                )
        except (OSError, Closed):
            # A storage that cannot tell.
            self._finish(self._sent)
        return False

    def _isCached(self, number: int, end: int) -> bool:
        byte = bytearray(1)
        try:
            for place in (*range(self._offset, end, PROBE_BYTES), end - 1):
                os.preadv(number, [byte], place, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        return True

    def _wasRead(self, data: bytes) -> None:
        if self._isOver:
            return
        self._read = memoryview(data)
        if data:
            self._transport.startWriting()
        else:
            self._finish(self._sent)

    def _notRead(self, failure: Failure) -> None:
        if not self._isOver:
            self._finish(failure)

    def _finish(self, result: Any) -> None:
        self._isOver = True
        # one that was aborted has another already
        if self._transport.__dict__.get("doWrite") == self._doWrite:
            del self._transport.doWrite
        if self._transport.connected:
            self._transport.stopWriting()
        self._transport.unregisterProducer()
        self.done.callback(result)

    # from the transport

    def pauseProducing(self) -> None:
        """Nothing is ever written to its buffer."""

    def resumeProducing(self) -> None:
        """Nothing is ever written to its buffer."""

    def stopProducing(self) -> None:
        if not self._isOver:
            self._finish(Failure(Stopped(self._sent)))
