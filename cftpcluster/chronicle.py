"""Tells the observers what becomes of the cluster, as this node sees it: links, its own part, the bans that it makes.

Who observes is not known here.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from .auth.bans import BANS
from .events import Banned, LinkDown, LinkUp, Notify, StateChanged
from .peering import Peering
from .status import ownState
from .vocabulary import Row


@define(eq=False)
class Chronicle:
    _node: str
    _peering: Peering
    _isDraining: Callable[[], bool]
    _seconds: Callable[[], float]
    _notify: Notify
    _linked: frozenset[str] = field(default=frozenset(), init=False)
    _state: str = field(default="", init=False)
    _end: Callable[[], None] = field(default=lambda: None, init=False)

    def start(self) -> None:
        self._end = self._peering.rows.watch(BANS, self._banChanged)
        self.look()

    def stop(self) -> None:
        self._end()

    def look(self) -> None:
        """Something may have changed."""
        linked = frozenset(self._peering.mesh.linked())
        gone, come, self._linked = self._linked - linked, linked - self._linked, linked
        for name in sorted(gone):
            self._notify(LinkDown(name=name))
        for name in sorted(come):
            self._notify(LinkUp(name=name))
        before, self._state = self._state, ownState(self._isDraining(), self._peering)
        if before != self._state:
            self._notify(StateChanged(before=before, state=self._state))

    def _banChanged(self, before: Row | None, after: Row | None) -> None:
        """Each node tells of the bans that it makes, so that each is told once."""
        if after is not None and after.node == self._node:
            by, reason = str(after.value.get("by", "")), str(after.value.get("reason", ""))
            seconds = round(after.expires - self._seconds())
            self._notify(Banned(network=after.key, seconds=seconds, by=by, reason=reason))
