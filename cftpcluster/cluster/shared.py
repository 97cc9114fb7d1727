"""The rows that every node may write and all nodes know, as one node has them: what is merged, bounded and expired.

Merging is idempotent, and the same in any order, so that rows may be lost, doubled and overtaken on their way. How they
travel and how they are kept is not known here; whoever does either listens for the ids of what has changed, and reads
the newest record of each when it is ready for it.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from attrs import define, evolve, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from ..config.codec import canonical, parse
from ..errors import ClusterError
from ..interfaces import ISharedRows
from ..vocabulary import Row
from .records import MOST_BYTES, MOST_SECONDS, MOST_VERSION, Record, RowId, Table

log = Logger()

Changed: TypeAlias = Callable[[Row | None, Row | None], None]

MOST_STRANGERS = 64
"""How many nodes that are not in the document may have durable rows here: those that were removed, and those that are
about to become known."""

COMPLAIN_SECONDS = 60.0
RISE_SECONDS = 10.0
"""Two processes that are the same node would outbid each other for ever."""

_STALE = 256


@define(eq=False)
class _Shelf:
    """The records of one table by one node, and which of them is due first."""

    records: dict[str, Record] = field(factory=dict)
    _heap: list[tuple[float, int, Record]] = field(factory=list)
    _number: int = 0

    def put(self, record: Record) -> Record | None:
        """Keep a record in the place of an older one, which is answered."""
        before = self.records.get(record.key)
        self.records[record.key] = record
        self._number += 1
        heapq.heappush(self._heap, (record.due, self._number, record))
        if len(self._heap) > 2 * len(self.records) + _STALE:
            self._heap = [entry for entry in self._heap if self._holds(entry[2])]
            heapq.heapify(self._heap)
        return before

    def first(self) -> Record | None:
        """The record that is due first."""
        while self._heap and not self._holds(self._heap[0][2]):
            heapq.heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def _holds(self, record: Record) -> bool:
        return self.records.get(record.key) is record


@implementer(ISharedRows)
@define(eq=False, kw_only=True)
class SharedRows:
    """
    :ivar node: whose rows :meth:`put` writes.
    :ivar incarnation: higher than at every start of this node before.
    :ivar _members: the names of the nodes, asked each time.
    """

    node: str
    incarnation: int
    _clock: IReactorTime
    _tables: Mapping[str, Table]
    _members: Callable[[], Container[str]]
    _shelves: dict[str, dict[str, _Shelf]] = field(init=False)
    _counter: int = field(default=0, init=False)
    _incarnations: dict[str, int] = field(factory=dict, init=False)
    _linked: dict[str, int] = field(factory=dict, init=False)
    _watchers: dict[str, list[Changed]] = field(factory=lambda: defaultdict(list), init=False)
    _listeners: list[Callable[[RowId], None]] = field(factory=list, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _complained: dict[str, float] = field(factory=dict, init=False)
    _rose: float = field(default=float("-inf"), init=False)
    _stopped: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._shelves = {name: {} for name in self._tables}

    # --- for those who share something

    def put(self, table: str, key: str, value: Mapping[str, Any], seconds: float) -> None:
        """:raises ClusterError: where a table that lets go of nothing is full.
        :raises ValueError: where key and value take more than 4 KiB of JSON, or there is no such table."""
        if seconds <= 0:
            self.remove(table, key)
            return
        # What is read here is what others will read, and not the caller's to change.
        plain = parse(canonical(value))
        if not self._write(self._table(table), key, plain, self._clock.seconds() + min(seconds, MOST_SECONDS)):
            raise ClusterError(f"there are too many {table}")

    def remove(self, table: str, key: str) -> None:
        shelf = self._shelves[self._table(table).name].get(self.node)
        record = shelf.records.get(key) if shelf else None
        if record is not None and record.value is not None:
            self._write(self._tables[table], key, None, record.expires)

    def get(self, table: str, key: str) -> Sequence[Row]:
        return list(self._alive(shelf.records.get(key) for shelf in self._shelves[self._table(table).name].values()))

    def rows(self, table: str) -> Sequence[Row]:
        shelves = self._shelves[self._table(table).name].values()
        return list(self._alive(record for shelf in shelves for record in shelf.records.values()))

    def watch(self, table: str, changed: Changed) -> Callable[[], None]:
        watchers = self._watchers[self._table(table).name]
        watchers.append(changed)

        def end() -> None:
            if changed in watchers:
                watchers.remove(changed)

        return end

    # --- for those who carry and keep them

    def listen(self, changed: Callable[[RowId], None]) -> Callable[[], None]:
        """Call ``changed`` with the id of each record that comes, changes or goes; answers with what ends that."""
        self._listeners.append(changed)
        return lambda: self._listeners.remove(changed)

    def record(self, id: RowId) -> Record | None:
        """The newest record of a row, withdrawn or not; ``None`` where it has expired."""
        table, key, node = id
        shelf = self._shelves[table].get(node)
        record = shelf.records.get(key) if shelf else None
        return record if record is not None and record.expires > self._clock.seconds() else None

    def ids(self, node: str | None = None) -> Iterator[RowId]:
        """The ids of all records, or of those of one node."""
        for shelves in self._shelves.values():
            for writer, shelf in shelves.items():
                if node in (None, writer):
                    yield from (record.id for record in shelf.records.values())

    def isDurable(self, table: str) -> bool:
        return self._tables[table].durable

    def load(self, records: Iterable[Record]) -> None:
        """Take what was kept, before anything else happens."""
        for record in records:
            table = self._tables.get(record.table)
            if table is not None and table.durable and record.incarnation < self.incarnation:
                self._merge(table, record)

    def merge(self, sender: str, records: Iterable[Record]) -> None:
        """Take what node ``sender`` knows. What is not believed is dropped, with a line in the log now and then."""
        for record in records:
            reason = self._received(sender, record)
            if reason:
                self.complain(sender, reason)

    def complain(self, sender: str, reason: str) -> None:
        """Tell the log that something of ``sender`` was dropped; not for each."""
        now = self._clock.seconds()
        if self._complained.get(sender, float("-inf")) + COMPLAIN_SECONDS <= now:
            self._complained[sender] = now
            log.warn("rows of {sender} were dropped; one of them {reason}", sender=sender, reason=reason)

    def linked(self, node: str, incarnation: int) -> None:
        """There is a link to ``node``, which says in which incarnation it is: others need not speak for it."""
        self._linked[node] = incarnation
        self._learn(node, incarnation)

    def unlinked(self, node: str) -> None:
        """There is no link to ``node`` any more."""
        self._linked.pop(node, None)

    def membersChanged(self) -> None:
        """The nodes of the document changed: what a node that is gone had in passing goes too."""
        members = self._members()
        for name, shelves in self._shelves.items():
            for node, shelf in list(shelves.items()):
                if node not in members and node != self.node:
                    if not self._tables[name].durable:
                        self._drop(shelf, list(shelf.records.values()))
                    if not shelf.records:
                        del shelves[node]
        for node in [node for node in self._incarnations if node not in members and node != self.node]:
            del self._incarnations[node]

    def stop(self) -> None:
        """Nobody is told any more of what expires."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    # --- merging

    def _received(self, sender: str, record: Record) -> str:
        """Take a record, or say why not; "" also where it is known, or somebody better tells it."""
        table, node = self._tables.get(record.table), record.node
        if table is None:
            return f"is of the table {record.table!r}, which is not known here"
        if node == self.node:
            return self._ownReceived(table, record)
        if not self._isPlausible(table, node):
            return f"is by {node!r}, which is no node of this cluster"
        told = self._linked.get(node)
        if told is not None and node != sender and record.incarnation >= told:
            return f"is by {node}, which knows nothing of it" if record.incarnation > told else ""
        if node in self._members():
            self._learn(node, record.incarnation)
        if not table.durable and record.incarnation < self._incarnations[node]:
            return ""
        return "" if self._merge(table, record) else f"is one too many by {node} in {table.name}"

    def _isPlausible(self, table: Table, node: str) -> bool:
        members = self._members()
        if node in members:
            return True
        if not table.durable:
            return False
        strangers = {each for shelves in self._shelves.values() for each in shelves if each not in members}
        return node in strangers or len(strangers) < MOST_STRANGERS

    def _ownReceived(self, table: Table, record: Record) -> str:
        """What others know of this node's rows is from before its last start, or from before it lost its disk."""
        if record.version > (self.incarnation, self._counter):
            if self._clock.seconds() < self._rose + RISE_SECONDS or record.incarnation + 1 >= MOST_VERSION:
                return f"is by {self.node}, which did not write it"
            self._rise(record.incarnation + 1)
        if table.durable and record.incarnation < self.incarnation:
            self._merge(table, record)
        return ""

    def _rise(self, incarnation: int) -> None:
        """This node has been further than it remembers: from now on what it writes is beyond that."""
        log.info("rows of this node are known that it does not remember; it goes on beyond them")
        self._rose = self._clock.seconds()
        self.incarnation = incarnation
        for shelves in self._shelves.values():
            shelf = shelves.get(self.node, _Shelf())
            for record in list(shelf.records.values()):
                shelf.put(evolve(record, incarnation=incarnation))
                self._listenersHear(record.id)

    def _learn(self, node: str, incarnation: int) -> None:
        """Node ``node`` was started anew: what it had in passing before is gone."""
        if incarnation <= self._incarnations.get(node, -1):
            return
        self._incarnations[node] = incarnation
        for name, shelves in self._shelves.items():
            shelf = shelves.get(node)
            if shelf is not None and not self._tables[name].durable:
                self._drop(shelf, [each for each in shelf.records.values() if each.incarnation < incarnation])

    def _write(self, table: Table, key: str, value: Mapping[str, Any] | None, ends: float) -> bool:
        shelf = self._shelves[table.name].get(self.node)
        known = shelf.records.get(key) if shelf else None
        record = Record(
            table=table.name,
            key=key,
            node=self.node,
            incarnation=self.incarnation,
            counter=self._counter + 1,
            value=value,
            # A node that is away may come and tell of the version before, for as long as that one lasts.
            expires=ends if known is None else max(ends, known.expires),
            ends=ends,
        )
        if len(record.plain(0.0)) > MOST_BYTES:
            raise ValueError(f"a row of {table.name} takes more than {MOST_BYTES} bytes")
        self._counter += 1
        return self._merge(table, record)

    def _merge(self, table: Table, record: Record) -> bool:
        """Keep a record unless a newer one is known; whether there was room."""
        now = self._clock.seconds()
        if record.expires <= now:
            return True
        if record.due <= now:
            record = evolve(record, value=None)
        shelf = self._shelves[table.name].setdefault(record.node, _Shelf())
        known = shelf.records.get(record.key)
        if known is not None and known.version >= record.version:
            return True
        excess = None
        if known is None and len(shelf.records) >= table.most:
            excess = shelf.first()
            if not table.evicts or excess is None:
                return False
            if excess.due >= record.due:
                # This one is the first to expire.
                return True
        self._expireAt(record.due)
        self._tell(shelf.put(record), record)
        if excess is not None:
            self._drop(shelf, [excess])
        return True

    # --- going

    def _expireAt(self, expires: float) -> None:
        if self._stopped:
            return
        if self._timer is not None and self._timer.active():
            if self._timer.getTime() <= expires:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(max(0.001, expires - self._clock.seconds()), self._expire)

    def _expire(self) -> None:
        now, nextExpiry = self._clock.seconds(), None
        for shelves in self._shelves.values():
            for node, shelf in list(shelves.items()):
                for before, after in list(self._dueIn(shelf, now)):
                    self._tell(before, after)
                first = shelf.first()
                if first is not None and (nextExpiry is None or first.due < nextExpiry):
                    nextExpiry = first.due
                if not shelf.records and shelves.get(node) is shelf:
                    del shelves[node]
        if nextExpiry is not None:
            self._expireAt(nextExpiry)

    @staticmethod
    def _dueIn(shelf: _Shelf, now: float) -> Iterator[tuple[Record, Record | None]]:
        """Withdraw what has ended and is still to be remembered, and forget the rest of what is due."""
        while (first := shelf.first()) is not None and first.due <= now:
            if first.expires > now:
                withdrawn = evolve(first, value=None)
                shelf.put(withdrawn)
                yield first, withdrawn
            else:
                yield shelf.records.pop(first.key), None

    def _drop(self, shelf: _Shelf, records: Iterable[Record]) -> None:
        for record in records:
            if shelf.records.get(record.key) is record:
                del shelf.records[record.key]
                self._tell(record, None)

    # --- telling

    def _tell(self, before: Record | None, after: Record | None) -> None:
        either = after or before
        assert either is not None
        self._listenersHear(either.id)
        old = before.row() if before is not None else None
        new = after.row() if after is not None else None
        if old is None and new is None:
            return
        for changed in list(self._watchers[either.table]):
            try:
                changed(old, new)
            except Exception:  # noqa: BLE001 - whoever watches must not keep rows from the others
                log.failure("a row of {table} was not understood", table=either.table)

    def _listenersHear(self, id: RowId) -> None:
        for listener in list(self._listeners):
            listener(id)

    def _alive(self, records: Iterable[Record | None]) -> Iterator[Row]:
        now = self._clock.seconds()
        for record in records:
            row = record.row() if record is not None and record.due > now else None
            if row is not None:
                yield row

    def _table(self, name: str) -> Table:
        table = self._tables.get(name)
        if table is None:
            raise ValueError(f"there is no table {name!r}")
        return table
