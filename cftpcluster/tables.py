"""The tables of the rows that nodes share: which there are, what outlives a restart, and how much each node may write.

A bound is for each writing node, the withdrawn rows included, which are remembered until they would have expired. What
is written, and for how long, is decided where the rows are put.
"""

from __future__ import annotations

from collections.abc import Mapping

from .cluster.records import Table

NODES = "nodes"
"""How each node is, in its own words."""

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        Table(name="bans", durable=True, most=10_000),
        Table(name="pardons", durable=True, most=10_000),
        Table(name="arrivals", durable=True, most=20_000),
        # A revocation that made room for another one would let somebody in again.
        Table(name="endedSessions", durable=True, most=100_000, evicts=False),
        Table(name="addressFailures", durable=False, most=20_000),
        Table(name="nameFailures", durable=False, most=20_000),
        Table(name="sessions", durable=False, most=50_000),
        Table(name="presence", durable=False, most=4),
        Table(name=NODES, durable=False, most=4),
    )
}
