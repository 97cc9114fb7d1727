"""The rules that hold on all nodes together, as one thing to hand around: who is kept out, and who is in.

What the nodes know of each other for it stands in tables of shared rows, which whoever builds the rows declares.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from ..config.document import Document
from ..interfaces import ISharedRows
from .guard import Guard
from .sessions import LiveSessions


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
        sessions = LiveSessions(rows, node, clock, document, guard.exempts, now, newId())
        return cls(guard, sessions)

    def start(self) -> None:
        """Take part in what the nodes know."""
        self.guard.start()
        self.sessions.start()

    def stop(self) -> None:
        self.sessions.stop()
        self.guard.stop()
