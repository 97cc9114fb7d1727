"""Files over TLS with few copies: from the kernel's cache through one small space to the connection.

What the kernel does not have in its cache is read in a thread, as any file. However many downloads there are, and
however slow, none of them holds more of its file than the connection has not taken yet. Nothing here knows HTTP.
"""

from __future__ import annotations

import os
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ...files.streams import Patient, Stopped
from ...interfaces import IFile, IHasDescriptor
from ..bulktls import BulkTLS

PIECE_BYTES = 256 * 1024

TURN_BYTES = 4 * PIECE_BYTES
"""After so much others have their turn."""

MISSED_PIECES = 2
"""So many pieces are read in a thread once one was not in the cache: from the second on it has more fetched."""

CAN_SEND = hasattr(os, "RWF_NOWAIT")


@define(eq=False)
class CachedSender(Patient):
    """Sends ranges of one file over one connection.

    :ivar consumer: whom the producer is registered with.
    :ivar space: where a piece is between file and connection; shared, since no piece stays there.
    """

    _file: IFile
    _lender: IHasDescriptor
    _tls: BulkTLS
    _consumer: Any
    _reactor: IReactorTime
    _space: memoryview
    _inThread: int = field(default=0, init=False)

    async def send(self, offset: int, length: int) -> int:
        """As :meth:`~cftpcluster.files.streams.FileSender.send`."""
        sent = sinceTurn = 0
        self._consumer.registerProducer(self, True)
        try:
            while sent < length:
                if self.isStopped:
                    raise Stopped(sent)
                count = self._sendCached(offset + sent, length - sent)
                if not count:
                    count = await self._sendRead(offset + sent, length - sent)
                if not count:
                    break
                sent += count
                sinceTurn += count
                if self.paused is not None or sinceTurn >= TURN_BYTES:
                    sinceTurn = 0
                    await (self._turn() if self.paused is None else self.paused)
        finally:
            self._consumer.unregisterProducer()
        return sent

    def _sendCached(self, offset: int, left: int) -> int:
        """Send a piece that costs no waiting; 0 where there is none."""
        if self._inThread:
            self._inThread -= 1
            return 0
        space = self._space[: min(PIECE_BYTES, left)]
        try:
            count = os.preadv(self._lender.descriptor(), [space], offset, os.RWF_NOWAIT)
        except OSError:
            # what is wrong beyond its not being there at once, the thread finds as well
            self._inThread = MISSED_PIECES - 1
            return 0
        if count:
            self._tls.writeNow(space[:count])
            self._lender.sent(count)
        return count

    async def _sendRead(self, offset: int, left: int) -> int:
        data = await self._file.read(offset, min(PIECE_BYTES, left))
        if self.isStopped:
            raise Stopped(0)
        if data:
            self._tls.writeNow(memoryview(data))
        return len(data)

    def _turn(self) -> Deferred[None]:
        turn: Deferred[None] = Deferred()
        self._reactor.callLater(0, turn.callback, None)
        return turn
