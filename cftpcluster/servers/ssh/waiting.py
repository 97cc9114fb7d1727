"""Who is connected and not logged in, by address, so that there is always room for the next one; and how long those are
let wait whose like came before and went without logging in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

T = TypeVar("T")

FREE_VISITS = 6
"""So many connections of one source may end without a log-in, before the next ones have to wait."""

VISITS_PER_SECOND = 2
"""So many are forgotten in each second."""

FEW = 3
"""So many of a source at a time wait for nothing: whoever tries one thing after the other is no crowd."""

WAIT_SECONDS = 0.4

MOST_REMEMBERED = 10_000
"""Sources whose visits are counted."""


@define(eq=False)
class Waiting(Generic[T]):
    """Each source's clients in the order of their coming."""

    _bySource: dict[str, dict[T, None]] = field(factory=dict, init=False)
    _sources: dict[T, str] = field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._sources)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._sources))

    def add(self, client: T, source: str) -> int:
        """How many of its source there are now."""
        self._sources[client] = source
        clients = self._bySource.setdefault(source, {})
        clients[client] = None
        return len(clients)

    def discard(self, client: T) -> None:
        source = self._sources.pop(client, None)
        if source is None:
            return
        clients = self._bySource[source]
        del clients[client]
        if not clients:
            del self._bySource[source]

    def popOldest(self) -> T:
        """Remove the oldest client of the source that has most; ``ValueError`` where there is none."""
        most = max(self._bySource, key=lambda source: len(self._bySource[source]))
        oldest = next(iter(self._bySource[most]))
        self.discard(oldest)
        return oldest


@define(eq=False)
class Visits:
    """Connections that ended without a log-in, by source. Each costs more here than there, so whoever makes many of
    them at a time gets fewer; one who logs in meanwhile waits a moment longer."""

    _clock: IReactorTime
    _counts: OrderedDict[str, tuple[float, float]] = field(factory=OrderedDict, init=False)

    def _count(self, source: str) -> float:
        count, since = self._counts.get(source, (0.0, 0.0))
        return max(count - (self._clock.seconds() - since) * VISITS_PER_SECOND, 0.0)

    def add(self, source: str) -> None:
        count = self._count(source) + 1
        self._counts.pop(source, None)
        self._counts[source] = (count, self._clock.seconds())
        if len(self._counts) > MOST_REMEMBERED:
            self._counts.popitem(last=False)

    def waitSeconds(self, source: str, present: int) -> float:
        """How long the next one is let wait before it is greeted.

        :param present: how many of its source are there and not logged in, itself among them.
        """
        return WAIT_SECONDS if present >= FEW and self._count(source) > FREE_VISITS else 0.0
