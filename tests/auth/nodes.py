"""Nodes as far as their rules go: each with rows of its own, which the others hear of at once, or not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from attrs import define, evolve, field
from twisted.internet.task import Clock

from cftpcluster.auth.rules import Rules
from cftpcluster.config.document import Document, Settings
from cftpcluster.tables import TABLES
from cftpcluster.testing.auth import documentWith
from cftpcluster.testing.rows import MemoryRows
from cftpcluster.vocabulary import Row


@define(eq=False)
class RuledNodes:
    """:ivar document: the same on all.
    :ivar parted: nobody hears of anybody.
    """

    names: tuple[str, ...] = ("a", "b", "c")
    clock: Clock = field(factory=Clock)
    document: Document = field(factory=documentWith)
    parted: bool = False
    rows: dict[str, MemoryRows] = field(factory=dict, init=False)
    rules: dict[str, Rules] = field(factory=dict, init=False)
    _numbers: Iterator[int] = field(factory=itertools.count, init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1_000_000)
        for name in self.names:
            self.start(name)

    def start(self, name: str, durable: bool = True) -> Rules:
        """Start a node, which has of what it had before only what is durable, and hears the rest from the others."""
        before = self.rows.get(name)
        rows = self.rows[name] = MemoryRows(self.clock, name)
        for table, wanted in TABLES.items():
            kept = [row for row in before.rows(table) if wanted.durable] if before else []
            others = [row for other in self.rows.values() if other is not rows for row in other.rows(table)]
            for row in [*kept, *(row for row in others if row.node != name and not self.parted)]:
                rows.hear(row.node, table, row.key, row.value, row.expires - self.clock.seconds())
            rows.watch(table, lambda was, now, name=name: self._spread(name, was, now))  # type: ignore[misc]
        self.rules[name] = Rules.of(rows, name, self.clock, lambda: self.document, self.clock.seconds, self._newId)
        self.rules[name].start()
        return self.rules[name]

    def _newId(self) -> str:
        return f"id {next(self._numbers)}"

    def _spread(self, name: str, before: Row | None, after: Row | None) -> None:
        row = after or before
        if row is None or row.node != name or self.parted:
            return
        for other, rows in self.rows.items():
            if other != name and after is not None:
                rows.hear(name, row.table, row.key, after.value, after.expires - self.clock.seconds())
            elif other != name:
                rows.forget(name, row.table, row.key)

    def set(self, **settings: Any) -> None:
        """Change settings."""
        self.document = evolve(self.document, settings=evolve(self.document.settings, **settings))

    @property
    def settings(self) -> Settings:
        return self.document.settings

    def pump(self, seconds: float) -> None:
        """Let time pass, in steps that nothing misses."""
        self.clock.pump([min(5.0, seconds)] * int(max(1, seconds // 5)))
