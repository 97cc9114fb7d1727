"""Tells the other nodes how this one is, in its own words, by a row that all of them have whoever is primary.

What the words mean is the status's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from .cluster.announcer import Announcer
from .config.codec import canonical
from .interfaces import ISharedRows
from .tables import NODES

TELL_LEAST_SECONDS = 1.0
TELL_MOST_SECONDS = 5.0
TOLD_SECONDS = 20.0
"""How long the others believe what a node said of itself."""

SAID: Mapping[str, type] = {
    "state": str,
    "revision": int,
    "chainHash": str,
    "live": int,
    "lagSeconds": float,
    "version": str,
    "problems": list,
}
"""What a node says of itself in its row, as in its status."""

MOST_PROBLEMS_BYTES = 3000


@define(eq=False)
class Telling:
    """:ivar status: the cluster's status as this node knows it, its own row among the nodes'."""

    _node: str
    _rows: ISharedRows
    _status: Callable[[], Mapping[str, Any]]
    _clock: IReactorTime
    _announcer: Announcer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._announcer = Announcer(self._clock, self._tell, TELL_LEAST_SECONDS, TELL_MOST_SECONDS)

    def start(self) -> None:
        self._announcer.start()

    def changed(self) -> None:
        """This node's status changed."""
        self._announcer.changed()

    def stop(self) -> None:
        self._announcer.stop()

    async def _tell(self) -> None:
        row = next(row for row in self._status()["nodes"] if row["name"] == self._node)
        said = {key: row[key] for key in SAID if key in row}
        while len(canonical(said["problems"])) > MOST_PROBLEMS_BYTES:
            said["problems"] = said["problems"][:-1]
        self._rows.put(NODES, self._node, said, TOLD_SECONDS)
