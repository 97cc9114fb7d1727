"""Rows that nodes share, in memory, for tests of those who use them; and the contract that every implementation passes.

Nothing here travels: what other nodes write is told by :meth:`MemoryRows.hear`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ..interfaces import ISharedRows
from ..vocabulary import Row

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as _Base
else:
    _Base = object

__all__ = ["MemoryRows", "SharedRowsContract"]


@implementer(ISharedRows)
@define(eq=False)
class MemoryRows:
    """The rows as one node has them; any table may be used, and none is ever full.

    :ivar clock: whose time rows expire by.
    :ivar node: the node that :meth:`put` writes for.
    """

    clock: IReactorTime
    node: str = "here"
    _rows: dict[tuple[str, str, str], Row] = field(factory=dict, init=False)
    _expiries: dict[tuple[str, str, str], IDelayedCall] = field(factory=dict, init=False)
    _watchers: dict[str, list[Callable[[Row | None, Row | None], None]]] = field(
        factory=lambda: defaultdict(list), init=False
    )

    def put(self, table: str, key: str, value: Mapping[str, Any], seconds: float) -> None:
        self.hear(self.node, table, key, value, seconds)

    def remove(self, table: str, key: str) -> None:
        self.forget(self.node, table, key)

    def get(self, table: str, key: str) -> Sequence[Row]:
        return [row for row in self.rows(table) if row.key == key]

    def rows(self, table: str) -> Sequence[Row]:
        now = self.clock.seconds()
        return [row for row in self._rows.values() if row.table == table and row.expires > now]

    def watch(self, table: str, changed: Callable[[Row | None, Row | None], None]) -> Callable[[], None]:
        watchers = self._watchers[table]
        watchers.append(changed)

        def end() -> None:
            if changed in watchers:
                watchers.remove(changed)

        return end

    # --- for tests

    def hear(self, node: str, table: str, key: str, value: Mapping[str, Any], seconds: float) -> None:
        """Node ``node`` wrote a row."""
        if seconds <= 0:
            self.forget(node, table, key)
            return
        row = Row(table, key, node, dict(value), self.clock.seconds() + seconds)
        before = self._take(node, table, key)
        self._rows[table, key, node] = row
        self._expiries[table, key, node] = self.clock.callLater(seconds, self.forget, node, table, key)
        self._tell(before, row)

    def forget(self, node: str, table: str, key: str) -> None:
        """Node ``node`` withdrew a row, or it expired."""
        before = self._take(node, table, key)
        if before is not None:
            self._tell(before, None)

    def _take(self, node: str, table: str, key: str) -> Row | None:
        expiry = self._expiries.pop((table, key, node), None)
        if expiry is not None and expiry.active():
            expiry.cancel()
        return self._rows.pop((table, key, node), None)

    def _tell(self, before: Row | None, after: Row | None) -> None:
        either = after or before
        assert either is not None
        for changed in list(self._watchers[either.table]):
            changed(before, after)


class SharedRowsContract(_Base):
    """What all rows do. A test case inherits it before :class:`twisted.trial.unittest.SynchronousTestCase`, and says
    how rows are made that know the tables ``one`` and ``two``, and how they hear of another node's."""

    def makeRows(self, clock: Clock, node: str) -> ISharedRows:
        """The rows of node ``node``, at first none."""
        raise NotImplementedError

    def hear(
        self, rows: ISharedRows, node: str, table: str, key: str, value: Mapping[str, Any], seconds: float
    ) -> None:
        """Node ``node``, another one, wrote a row."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.clock = Clock()
        self.rows = self.makeRows(self.clock, "here")
        self.told: list[tuple[Row | None, Row | None]] = []

    def watch(self, table: str = "one") -> Callable[[], None]:
        return self.rows.watch(table, lambda before, after: self.told.append((before, after)))

    def values(self, table: str = "one") -> dict[tuple[str, str], Mapping[str, Any]]:
        return {(row.node, row.key): row.value for row in self.rows.rows(table)}

    def test_providesTheInterface(self) -> None:
        verifyObject(ISharedRows, self.rows)

    def test_whatIsPutIsThereAtOnce(self) -> None:
        self.rows.put("one", "k", {"n": 1}, 10)
        self.assertEqual(
            [Row("one", "k", "here", {"n": 1}, self.clock.seconds() + 10)], list(self.rows.get("one", "k"))
        )
        self.assertEqual([], list(self.rows.get("one", "other")))

    def test_tablesAreApart(self) -> None:
        self.rows.put("one", "k", {}, 10)
        self.assertEqual({}, self.values("two"))

    def test_putAgainReplaces(self) -> None:
        self.rows.put("one", "k", {"n": 1}, 10)
        self.rows.put("one", "k", {"n": 2}, 20)
        self.assertEqual({("here", "k"): {"n": 2}}, self.values())
        self.clock.advance(11)
        self.assertEqual({("here", "k"): {"n": 2}}, self.values())

    def test_whatIsPutIsNotTheCallersOwn(self) -> None:
        value = {"n": 1}
        self.rows.put("one", "k", value, 10)
        value["n"] = 2
        self.assertEqual({("here", "k"): {"n": 1}}, self.values())

    def test_aRowGoesWhenItExpires(self) -> None:
        self.rows.put("one", "k", {}, 10)
        self.clock.advance(9.9)
        self.assertEqual(1, len(self.rows.get("one", "k")))
        self.clock.advance(0.2)
        self.assertEqual([], list(self.rows.get("one", "k")))

    def test_aRowOfNoTimeIsNone(self) -> None:
        self.rows.put("one", "k", {}, 10)
        self.rows.put("one", "k", {}, 0)
        self.assertEqual({}, self.values())

    def test_removedRowsAreGone(self) -> None:
        self.rows.put("one", "k", {}, 10)
        self.rows.remove("one", "k")
        self.assertEqual({}, self.values())

    def test_removingNothingIsNothing(self) -> None:
        self.watch()
        self.rows.remove("one", "k")
        self.assertEqual([], self.told)

    def test_aKeyHasARowOfEachNode(self) -> None:
        self.rows.put("one", "k", {"n": 1}, 10)
        self.hear(self.rows, "there", "one", "k", {"n": 2}, 10)
        self.assertEqual({"here": 1, "there": 2}, {row.node: row.value["n"] for row in self.rows.get("one", "k")})

    def test_anotherNodesRowIsNotOursToRemove(self) -> None:
        self.hear(self.rows, "there", "one", "k", {}, 10)
        self.rows.remove("one", "k")
        self.assertEqual({("there", "k"): {}}, self.values())

    def test_anotherNodesRowExpires(self) -> None:
        self.hear(self.rows, "there", "one", "k", {}, 10)
        self.clock.advance(10.1)
        self.assertEqual({}, self.values())

    def test_watchersSeeRowsComeChangeAndGo(self) -> None:
        self.watch()
        self.rows.put("one", "k", {"n": 1}, 10)
        self.hear(self.rows, "there", "one", "k", {"n": 5}, 10)
        self.rows.put("one", "k", {"n": 2}, 10)
        self.rows.remove("one", "k")
        seen = [
            (before and (before.node, before.value["n"]), after and after.value["n"]) for before, after in self.told
        ]
        self.assertEqual([(None, 1), (None, 5), (("here", 1), 2), (("here", 2), None)], seen)

    def test_watchersAreToldOfExpiry(self) -> None:
        self.rows.put("one", "k", {"n": 1}, 10)
        self.watch()
        self.clock.advance(10.5)
        ((before, after),) = self.told
        self.assertEqual(("here", None), (before and before.node, after))

    def test_watchersAreToldWhenARowGoesThatWasPutAgain(self) -> None:
        self.rows.put("one", "k", {"n": 1}, 10)
        self.clock.advance(5)
        self.rows.put("one", "k", {"n": 2}, 10)
        self.watch()
        self.clock.advance(6)
        self.assertEqual([], self.told)
        self.clock.advance(6)
        self.assertEqual([None], [after for _, after in self.told])

    def test_watchersAreNotToldOfOtherTables(self) -> None:
        self.watch("two")
        self.rows.put("one", "k", {}, 10)
        self.assertEqual([], self.told)

    def test_whoStopsWatchingHearsNothing(self) -> None:
        end = self.watch()
        end()
        end()
        self.rows.put("one", "k", {}, 10)
        self.assertEqual([], self.told)

    def test_aWatcherMayWriteRows(self) -> None:
        def changed(before: Row | None, after: Row | None) -> None:
            if after is not None:
                self.rows.put("two", after.key, {"of": after.node}, 10)

        self.rows.watch("one", changed)
        self.rows.put("one", "k", {}, 10)
        self.assertEqual({("here", "k"): {"of": "here"}}, self.values("two"))
