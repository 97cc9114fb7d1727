"""Key exchanges take turns: a little in each turn of the reactor, and the clients' addresses one after the other.

Clients can ask for many without computing anything themselves (CVE-2002-20001). So they neither keep sessions waiting,
nor keep out those who come from elsewhere.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

PIECES = 4
"""Pieces of work in one turn of the reactor; after a heavy one there is no other."""


@define(eq=False)
class Turns:
    _clock: IReactorTime
    _left: int = field(default=PIECES, init=False)
    _isTimed: bool = field(default=False, init=False)
    _lines: OrderedDict[tuple[str, bool], deque[Callable[[], bool]]] = field(factory=OrderedDict, init=False)
    _log = Logger()

    def take(self, source: str, piece: Callable[[], bool], isHeavy: bool) -> bool:
        """Call ``piece``, now or later and again for as long as it is true; whether it is done already.

        :param isHeavy: whether one call is all there is in a turn of the reactor.
        """
        if not self._lines and self._left > 0:
            self._spend(isHeavy)
            if not piece():
                return True
        self._lines.setdefault((source, isHeavy), deque()).append(piece)
        return False

    def _spend(self, isHeavy: bool) -> None:
        self._left = 0 if isHeavy else self._left - 1
        if not self._isTimed:
            self._isTimed = True
            self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        self._isTimed = False
        self._left = PIECES
        while self._lines and self._left > 0:
            key, line = self._lines.popitem(last=False)
            self._spend(key[1])
            if not self._call(line[0]):
                line.popleft()
            if line:
                self._lines[key] = line

    def _call(self, piece: Callable[[], bool]) -> bool:
        try:
            return piece()
        except Exception:  # noqa: BLE001 - one client's trouble is not the next one's
            self._log.failure("a key exchange broke")
            return False
