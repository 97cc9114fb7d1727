"""Addresses and networks that may not connect, on any node. Why they may not, and what makes a ban, is not known here.

A ban is a row of the node that made it, with an id of its own. Only that node can take its row back, and it may be gone
for good; so whoever lifts a ban writes a *pardon* of that id, which holds for as long as the ban would have.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..interfaces import ISharedRows
from ..networks import Network, countedAs, parseAddress, parseNetwork
from ..vocabulary import Row

log = Logger()

BANS = "bans"
PARDONS = "pardons"
LONGEST_REASON = 200
PARDON_EXTRA_SECONDS = 3600.0
"""A pardon outlives its ban by so much, whatever nodes were away."""


@frozen
class Ban:
    """:ivar network: who is banned, as :func:`networkText` writes it.
    :ivar by: who made it: the administrator, or "" where it was a rule.
    :ivar node: where it was made.
    :ivar seconds: how long it still holds.
    :ivar refused: connections that it has refused on this node since it began here.
    """

    network: str
    reason: str
    by: str
    node: str
    seconds: float
    refused: int


@define(eq=False)
class _Block:
    """A banned network: the bans of it that hold, and how many connections they have refused."""

    rows: list[Row]
    refused: int = 0


def bannedNetwork(text: str) -> Network:
    """The network that banning ``text`` means: of an address whom limits count together. ``ValueError`` for what is
    neither an address nor a network."""
    try:
        parseAddress(text)
    except ValueError:
        return parseNetwork(text)
    return parseNetwork(countedAs(text))


def networkText(network: Network) -> str:
    """``192.0.2.7`` or ``192.0.2.0/24``; what it gives, :func:`bannedNetwork` takes."""
    return str(network.network_address) if network.version == 4 and network.prefixlen == 32 else str(network)


@define(eq=False)
class Bans:
    """:ivar newId: an id that no other ban has."""

    _rows: ISharedRows
    _node: str
    _clock: IReactorTime
    _newId: Callable[[], str]
    _blocks: dict[tuple[int, int], dict[int, _Block]] = field(factory=dict, init=False)
    _ends: list[Callable[[], None]] = field(factory=list, init=False)

    def start(self) -> None:
        """Know the bans there are, and from now on those that come and go."""
        self._ends = [self._rows.watch(BANS, self._banChanged), self._rows.watch(PARDONS, self._pardonChanged)]
        for row in self._rows.rows(BANS):
            self._look(row.key, tell=False)
        for row in self._rows.rows(PARDONS):
            self._pardonChanged(None, row)

    def stop(self) -> None:
        while self._ends:
            self._ends.pop()()

    # --- asking

    def refuses(self, address: str) -> bool:
        """Whether a connection from ``address`` is refused; it is counted."""
        block = self._covering(address)
        if block is None:
            return False
        block.refused += 1
        return True

    def holds(self, address: str) -> bool:
        """Whether ``address`` is banned."""
        return self._covering(address) is not None

    def _covering(self, address: str) -> _Block | None:
        if not self._blocks:
            return None
        try:
            parsed = parseAddress(address)
        except ValueError:
            return None
        number, width = int(parsed), parsed.max_prefixlen
        for (version, length), blocks in self._blocks.items():
            if version == parsed.version:
                block = blocks.get(number >> (width - length))
                if block is not None:
                    return block
        return None

    def listed(self) -> Iterator[Ban]:
        """Every ban that holds; of several of one network the one that holds longest."""
        now = self._clock.seconds()
        for blocks in self._blocks.values():
            for block in blocks.values():
                row = max(block.rows, key=lambda each: each.expires)
                reason, by = str(row.value.get("reason", "")), str(row.value.get("by", ""))
                yield Ban(row.key, reason, by, row.node, max(row.expires - now, 0.0), block.refused)

    # --- making and lifting

    def ban(self, network: Network, seconds: float, reason: str, by: str = "") -> None:
        """From now on, for so many seconds, also where another ban of it holds."""
        value = {"id": self._newId(), "reason": reason[:LONGEST_REASON], "by": by}
        self._rows.put(BANS, networkText(network), value, seconds)

    def lift(self, network: Network) -> bool:
        """Whether there was a ban of this very network, which holds no more."""
        key = networkText(network)
        rows = self._holding(key)
        now = self._clock.seconds()
        for row in rows:
            seconds = row.expires - now + PARDON_EXTRA_SECONDS
            self._rows.put(PARDONS, str(row.value.get("id", "")), {"network": key}, seconds)
        return bool(rows)

    # --- rows

    def _holding(self, key: str) -> list[Row]:
        return [row for row in self._rows.get(BANS, key) if not self._rows.get(PARDONS, str(row.value.get("id", "")))]

    def _banChanged(self, before: Row | None, after: Row | None) -> None:
        self._look((after or before).key, tell=after is not None)  # type: ignore[union-attr]

    def _pardonChanged(self, before: Row | None, after: Row | None) -> None:
        if after is None:
            return
        key = str(after.value.get("network", ""))
        for row in self._rows.get(BANS, key):
            if row.node == self._node and str(row.value.get("id", "")) == after.key:
                self._rows.remove(BANS, key)
                break
        self._look(key, tell=False)

    def _look(self, key: str, tell: bool) -> None:
        """A row of this network, or a pardon, came or went."""
        try:
            network = ipaddress.ip_network(key)
        except ValueError:
            return
        place = (network.version, network.prefixlen)
        number = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
        blocks = self._blocks.get(place, {})
        rows = self._holding(key)
        if not rows:
            if blocks.pop(number, None) is not None and not blocks:
                del self._blocks[place]
            return
        block = blocks.get(number)
        if block is not None:
            block.rows = rows
            return
        self._blocks.setdefault(place, blocks)[number] = _Block(rows)
        if tell:
            row = rows[0]
            log.warn(
                "banned {network} for {seconds} s, by {node}: {reason!r}",
                network=key,
                seconds=round(row.expires - self._clock.seconds()),
                node=row.node,
                reason=row.value.get("reason", ""),
            )
