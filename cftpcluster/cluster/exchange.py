"""Tells the node at the other end of a link of all rows, and then of what changes; and hears the same from it.

One message is on its way at a time, made of the newest records when it is sent, so that whatever changes meanwhile is
told once. A row is told by its writer; rows of a third node are passed on to those that have no link to it, as they
say in every message. When the link begins, everything is told. What is merged, and how, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ..config.codec import canonical, parse
from ..errors import ClusterError, Invalid, Refused
from .faults import LinkLost
from .link import Link
from .messages import expect, malformed, shortText
from .records import MOST_VERSION, Record, RowId, recordFromPlain
from .shared import SharedRows

log = Logger()

MESSAGE_BYTES = 64 * 1024
"""About the most that one message takes, so that rows and actions never wait long behind it."""

MOST_DIRTY = 10_000
"""How many changed rows are remembered for a node that does not keep up, where fewer are known."""

TELL_SECONDS = 30.0
MOST_LINKED = 1024
_MOST_NAME = 64


@define(eq=False, kw_only=True)
class Exchange:
    """
    :ivar peer: the other node.
    :ivar _linked: the names of all nodes that this one has links to.
    """

    peer: str
    _rows: SharedRows
    _link: Link
    _clock: IReactorTime
    _linked: Callable[[], Sequence[str]]
    _theirs: frozenset[str] = field(default=frozenset(), init=False)
    _dirty: dict[RowId, None] = field(factory=dict, init=False)
    _most: int = field(default=MOST_DIRTY, init=False)
    _end: Callable[[], None] | None = field(default=None, init=False)
    _next: IDelayedCall | None = field(default=None, init=False)
    _telling: bool = field(default=False, init=False)
    _hearing: bool = field(default=False, init=False)
    _tellLinks: bool = field(default=True, init=False)
    _untold: list[Deferred[None]] = field(factory=list, init=False)

    def start(self) -> None:
        """Tell everything, and then what changes."""
        self._end = self._rows.listen(self._changed)
        self._tellEverything()

    def linksChanged(self) -> None:
        """This node has a link more or less."""
        self._tellLinks = True
        self._wake()

    def stop(self) -> None:
        """Tell no more; idempotent."""
        if self._end is not None:
            self._end()
            self._end = None
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._dirty.clear()
        self._allTold()

    def whenTold(self) -> Deferred[None]:
        """Fires when the other node knows everything, or never will."""
        told: Deferred[None] = Deferred()
        self._untold.append(told)
        if self._next is None and not self._telling:
            self._allTold()
        return told

    # --- telling

    def _tellEverything(self) -> None:
        # What the other node wrote in passing it knows better; what it wrote durably it may have lost.
        ids = [each for each in self._rows.ids() if each[2] != self.peer or self._rows.isDurable(each[0])]
        self._dirty = dict.fromkeys(ids)
        self._most = max(MOST_DIRTY, 2 * len(ids))
        self._wake()

    def _changed(self, id: RowId) -> None:
        node = id[2]
        if node != self._rows.node and (self._hearing or node == self.peer or node in self._theirs):
            return
        self._dirty[id] = None
        if len(self._dirty) > self._most:
            # Most of them have expired meanwhile.
            self._tellEverything()
        self._wake()

    def _wake(self) -> None:
        if self._end is not None and self._next is None and not self._telling:
            # All that changes in this turn goes together.
            self._next = self._clock.callLater(0, self._begin)

    def _begin(self) -> None:
        self._next, self._telling = None, True
        _ = Deferred.fromCoroutine(self._tell()).addErrback(self._failed)

    async def _tell(self) -> None:
        message = self._message()
        if message is not None:
            await self._link.call("rows", message, seconds=TELL_SECONDS)
        self._telling = False
        if self._dirty or self._tellLinks:
            self._wake()
        else:
            self._allTold()

    def _allTold(self) -> None:
        untold, self._untold = self._untold, []
        for told in untold:
            told.callback(None)

    def _failed(self, failure: Any) -> None:
        # The next link begins with everything.
        if failure.check(ClusterError) is None:
            log.failure("rows could not be told", failure=failure)
        elif failure.check(LinkLost) is None:
            log.warn("{node} does not take rows: {why!r}", node=self.peer, why=failure.getErrorMessage())
        self.stop()
        self._link.abort()

    def _message(self) -> bytes | None:
        """What is to be told next, as much as goes into one message; ``None`` where it has all expired."""
        records = list(self._taken())
        if not records and not self._tellLinks:
            return None
        head = {"incarnation": self._rows.incarnation, "linked": self._linked()}
        self._tellLinks = False
        return canonical(head) + b"\n[" + b",".join(records) + b"]"

    def _taken(self) -> Iterator[bytes]:
        size, now = 0, self._clock.seconds()
        while self._dirty and size < MESSAGE_BYTES:
            rowId = next(iter(self._dirty))
            del self._dirty[rowId]
            record = self._rows.record(rowId)
            if record is not None:
                plain = record.plain(now)
                size += len(plain)
                yield plain

    # --- hearing

    def heard(self, plain: Any) -> None:
        """A message of the other node. :class:`Refused` where it is none; what of it is no row is dropped."""
        if self._end is None:
            raise Refused("this link is about to end")
        head, _, body = expect(plain, bytes, "rows").partition(b"\n")
        try:
            fields, rows = expect(parse(head), dict, "rows"), expect(parse(body), list, "rows")
        except Invalid:
            raise malformed("rows") from None
        incarnation, linked = expect(fields.get("incarnation"), int, "rows"), expect(fields.get("linked"), list, "rows")
        if incarnation >= MOST_VERSION or len(linked) > MOST_LINKED:
            raise malformed("rows")
        theirs = frozenset(shortText(name, _MOST_NAME) for name in linked)
        self._rows.linked(self.peer, incarnation)
        self._hearing = True
        try:
            self._rows.merge(self.peer, self._read(rows))
        finally:
            self._hearing = False
        self._theyAreLinkedTo(theirs)

    def _read(self, rows: Sequence[Any]) -> Iterator[Record]:
        now = self._clock.seconds()
        for row in rows:
            try:
                yield recordFromPlain(row, now)
            except Refused:
                self._rows.complain(self.peer, "is malformed or too large")

    def _theyAreLinkedTo(self, theirs: frozenset[str]) -> None:
        """Whom they lost they hear of from here again."""
        lost, self._theirs = self._theirs - theirs, theirs
        for node in lost - {self._rows.node, self.peer}:
            for rowId in list(self._rows.ids(node)):
                self._changed(rowId)
