"""Rows that nodes share, as values: their versions, their tables, and the plain form in which they travel and are kept.

A row is known by its table, its key and the node that writes it, alone. Of two records of one row the one with the
higher version is valid, whichever comes first. How long a row is still good for travels as seconds from now, since the
clocks of two nodes need not agree. Neither links nor disks are known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from attrs import Factory, field, frozen

from ..config.codec import canonical
from ..errors import Refused
from ..vocabulary import Row
from .messages import expect, malformed, shortText

MOST_BYTES = 4096
"""The most that one record takes in its plain form."""

MOST_SECONDS = 10 * 366 * 86400.0
"""The longest that a row is good for, so that no clock has to count further."""

MOST_VERSION = 2**53
_MOST_NAME = 64

RowId: TypeAlias = tuple[str, str, str]
"""Table, key and node."""


@frozen(kw_only=True)
class Table:
    """A table that rows may be in.

    :ivar durable: whether its rows outlive a restart of the node that wrote them, and of those that know them.
    :ivar most: how many rows each node may have in it.
    :ivar evicts: whether a full table lets go of the row that expires first; else it takes no more.
    """

    name: str
    durable: bool
    most: int
    evicts: bool = True


@frozen(kw_only=True)
class Record:
    """One version of a row.

    :ivar incarnation: how often its node had been started when it wrote this, in numbers that only rise.
    :ivar counter: how much the node had written then.
    :ivar value: ``None`` where the row was withdrawn; that has to be known for as long as the row would have been good.
    :ivar expires: when it may be forgotten, by the clock of this process: not before any older version of the row,
        which somebody may still tell of.
    :ivar ends: until when the row is there.
    """

    table: str
    key: str
    node: str
    incarnation: int
    counter: int
    value: Mapping[str, Any] | None
    expires: float
    ends: float = field(default=Factory(lambda self: self.expires, takes_self=True))

    @property
    def due(self) -> float:
        """When something becomes of it next: it is withdrawn, or forgotten."""
        return self.expires if self.value is None else min(self.ends, self.expires)

    @property
    def id(self) -> RowId:
        return self.table, self.key, self.node

    @property
    def version(self) -> tuple[int, int]:
        return self.incarnation, self.counter

    def row(self) -> Row | None:
        """The row as its readers see it; ``None`` where it was withdrawn."""
        return None if self.value is None else Row(self.table, self.key, self.node, self.value, self.due)

    def plain(self, now: float) -> bytes:
        """The record at a time, by the clock of this process."""
        seconds = max(0.0, self.expires - now)
        plain = [self.table, self.key, self.node, self.incarnation, self.counter, seconds, self.value]
        return canonical(plain if self.due == self.expires else [*plain, max(0.0, self.ends - now)])


def recordFromPlain(plain: Any, now: float) -> Record:
    """A record from the parsed plain form. :class:`Refused` where it is none, or too large."""
    if len(expect(plain, list, "row")) < 7 or len(canonical(plain)) > MOST_BYTES:
        raise malformed("row")
    # A newer version may add to the end.
    table, key, node, incarnation, counter, seconds, value = plain[:7]
    if value is not None and type(value) is not dict:
        raise malformed("row")
    left = plain[7] if len(plain) > 7 else seconds
    if any(type(one) not in (int, float) or one < 0 for one in (seconds, left)):
        raise malformed("row")
    return Record(
        table=shortText(table, _MOST_NAME),
        key=expect(key, str, "row"),
        node=shortText(node, _MOST_NAME),
        incarnation=_versionPart(incarnation),
        counter=_versionPart(counter),
        value=value,
        expires=now + min(float(seconds), MOST_SECONDS),
        ends=now + min(float(left), float(seconds), MOST_SECONDS),
    )


def _versionPart(value: Any) -> int:
    number = expect(value, int, "version")
    if number >= MOST_VERSION:
        raise Refused("malformed message: version")
    return number
