"""The rules that hold on all nodes together, as one thing to hand around: who is kept out, and who is in.

What the nodes know of each other for it stands in tables of shared rows; :data:`TABLES` is the list of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Self

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from ..config.document import Document
from ..interfaces import ISharedRows
from .bans import BANS, PARDONS
from .guard import ADDRESS_FAILURES, ARRIVALS, NAME_FAILURES, Guard
from .sessions import ENDED, PRESENCE, SESSIONS, LiveSessions


@frozen(kw_only=True)
class RowsWanted:
    """:ivar durable: whether the rows outlive a restart.
    :ivar most: how many of them one node may write.
    :ivar evicts: whether a full table lets go of the row that expires first.
    """

    durable: bool
    most: int
    evicts: bool = True


TABLES: Mapping[str, RowsWanted] = {
    BANS: RowsWanted(durable=True, most=20_000),
    PARDONS: RowsWanted(durable=True, most=20_000),
    ARRIVALS: RowsWanted(durable=True, most=100_000),
    ENDED: RowsWanted(durable=True, most=100_000, evicts=False),
    ADDRESS_FAILURES: RowsWanted(durable=False, most=10_000),
    NAME_FAILURES: RowsWanted(durable=False, most=10_000),
    SESSIONS: RowsWanted(durable=False, most=50_000),
    PRESENCE: RowsWanted(durable=False, most=1),
}


@frozen(eq=False)
class Rules:
    """:ivar guard: who is kept out.
    :ivar sessions: who is in.
    """

    guard: Guard
    sessions: LiveSessions

    @classmethod
    def of(
        cls,
        rows: ISharedRows,
        node: str,
        clock: IReactorTime,
        document: Callable[[], Document],
        now: Callable[[], float],
        newId: Callable[[], str],
    ) -> Self:
        """
        :param document: the document that is live here.
        :param now: the time of day, seconds since the epoch.
        :param newId: makes ids that nothing else has.
        """
        guard = Guard(rows, node, clock, document, newId)

        sessions = LiveSessions(rows, node, clock, lambda: document().settings, guard.exempts, now, newId())
        return cls(guard, sessions)

    def start(self) -> None:
        """Take part in what the nodes know."""
        self.guard.start()
        self.sessions.start()

    def stop(self) -> None:
        self.sessions.stop()
        self.guard.stop()
