"""Who is connected and not logged in, by address, so that there is always room for the next one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from attrs import define, field

T = TypeVar("T")


@define(eq=False)
class Waiting(Generic[T]):
    """Each source's clients in the order of their coming."""

    _bySource: dict[str, dict[T, None]] = field(factory=dict, init=False)
    _sources: dict[T, str] = field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._sources)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._sources))

    def add(self, client: T, source: str) -> None:
        self._sources[client] = source
        self._bySource.setdefault(source, {})[client] = None

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
