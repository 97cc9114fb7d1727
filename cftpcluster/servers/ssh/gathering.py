"""Writes that follow on each other are handed on as one.

Whatever a file does with a write, a hop to a thread at least, costs as much for a small piece as for a large one. What
is gathered goes on as soon as nothing more is about to follow it. Knows no packet.
"""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .handles import OpenFile

HELD_SECONDS = 0.002
"""How long is waited for more at most. A client whose credit is used up sends nothing more before it gets an answer."""


@define(eq=False)
class Gathering:
    """The writes of one session that were not handed on yet: all of one file, without a gap."""

    _reactor: IReactorTime
    _file: OpenFile | None = field(default=None, init=False)
    _offset: int = field(default=0, init=False)
    _size: int = field(default=0, init=False)
    _pieces: list[memoryview] = field(factory=list, init=False)
    _waiting: list[Deferred[None]] = field(factory=list, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)

    def write(self, file: OpenFile, offset: int, data: memoryview) -> Deferred[None]:
        """Fires when ``data`` is written; :meth:`flush` or :meth:`hold` must follow in the same turn."""
        if self._file is not file or offset != self._offset + self._size:
            self.flush()
            self._file, self._offset = file, offset
        self._pieces.append(data)
        self._size += len(data)
        written: Deferred[None] = Deferred()
        self._waiting.append(written)
        if self._size >= file.pieceBytes:
            self.flush()
        return written

    def hold(self) -> None:
        """More is about to follow."""
        if self._file is not None and self._timer is None:
            self._timer = self._reactor.callLater(HELD_SECONDS, self._late)

    def _late(self) -> None:
        self._timer = None
        self.flush()

    def flush(self) -> None:
        """Hand on what there is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        file, self._file = self._file, None
        if file is not None:
            data = self._pieces[0] if len(self._pieces) == 1 else memoryview(b"".join(self._pieces))
            waiting, self._waiting = self._waiting, []
            self._pieces, self._size = [], 0
            _ = file.write(self._offset, data).addBoth(_tell, waiting)


def _tell(result: object, waiting: list[Deferred[None]]) -> None:
    for each in waiting:
        each.callback(result)  # type: ignore[arg-type]
