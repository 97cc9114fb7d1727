"""How often something happened lately, on all nodes together. It knows no log-ins: keys are any texts.

Each node writes a row of its own for each key: when, before the row was written, things happened there. The sum over
the nodes is the count, so no node asks another, and nothing is counted twice.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from ..interfaces import ISharedRows
from ..vocabulary import Row

EXACT_MOMENTS = 20
"""So many things are remembered one by one; of more, those that are close together are remembered as one moment."""

_PARTS_OF_WINDOW = 20


@define(eq=False)
class _Moment:
    """:ivar mark: who did it, so that they can be forgiven."""

    time: float
    mark: str
    count: int = 1


@define(eq=False)
class SharedCounts:
    """Counts within a window of time that goes on.

    :ivar windowSeconds: how long something counts, now.
    :ivar most: keys that this node remembers; beyond it, what did not happen for longest is forgotten.
    """

    _rows: ISharedRows
    _table: str
    _node: str
    _clock: IReactorTime
    _windowSeconds: Callable[[], float]
    _most: int
    _own: OrderedDict[str, list[_Moment]] = field(factory=OrderedDict, init=False)

    def add(self, key: str, mark: str = "") -> int:
        """It happened here, once more; answers with the count on all nodes."""
        now, window = self._clock.seconds(), self._windowSeconds()
        moments = self._lately(key)
        last = moments[-1] if moments else None
        if last and len(moments) >= EXACT_MOMENTS and now - last.time < window / _PARTS_OF_WINDOW:
            last.count += 1
            last.mark = last.mark if last.mark == mark else ""
        else:
            moments.append(_Moment(now, mark))
        self._own[key] = moments
        self._own.move_to_end(key)
        if len(self._own) > self._most:
            self._rows.remove(self._table, self._own.popitem(last=False)[0])
        self._write(key, moments)
        return self.total(key)

    def forgive(self, key: str, mark: str) -> None:
        """What happened here by ``mark`` does not count any more."""
        moments = self._lately(key)
        left = [moment for moment in moments if moment.mark != mark]
        if len(left) == len(moments):
            return
        if left:
            self._own[key] = left
            self._write(key, left)
        else:
            self.forget(key)

    def forget(self, key: str) -> None:
        """Nothing that happened here counts any more."""
        self._own.pop(key, None)
        self._rows.remove(self._table, key)

    def isCounted(self, key: str) -> bool:
        """Whether it happened here lately."""
        return bool(self._lately(key))

    def total(self, key: str) -> int:
        """The count on all nodes, as far as this one knows."""
        others = (row for row in self._rows.get(self._table, key) if row.node != self._node)
        here = sum(moment.count for moment in self._lately(key))
        return here + sum(count for row in others for count in self._counted(row))

    def _lately(self, key: str) -> list[_Moment]:
        since = self._clock.seconds() - self._windowSeconds()
        return [moment for moment in self._own.get(key, ()) if moment.time > since]

    def _write(self, key: str, moments: list[_Moment]) -> None:
        now, window = self._clock.seconds(), self._windowSeconds()
        ages = list(itertools.chain.from_iterable((round(now - each.time, 3), each.count) for each in moments))
        self._rows.put(self._table, key, {"window": window, "ages": ages}, window)

    def _counted(self, row: Row) -> Iterator[int]:
        """What another node's row tells of this window. It was written a whole window of that node's before its end."""
        window, ages = row.value.get("window"), row.value.get("ages")
        if not isinstance(window, int | float) or not isinstance(ages, list):
            return
        now = self._clock.seconds()
        written = min(row.expires - window, now)
        for age, count in zip(ages[::2], ages[1::2], strict=False):
            if isinstance(age, int | float) and isinstance(count, int) and written - age > now - self._windowSeconds():
                yield count
