"""The tables of the rows that nodes share: which there are, what outlives a restart, and how much each node may write.

A bound is for each writing node, the withdrawn rows included, which are remembered until they would have expired. What
is written, and for how long, is decided where the rows are put.
"""

from __future__ import annotations

from collections.abc import Mapping

from .auth.bans import BANS, PARDONS
from .auth.guard import ADDRESS_FAILURES, ARRIVALS, MOST_COUNTED, NAME_FAILURES
from .auth.sessions import ENDED, PRESENCE, SESSIONS
from .auth.tokens import USES
from .cluster.records import Table
from .files.quotas import QUOTA

NODES = "nodes"
"""How each node is, in its own words; one row each."""

ACTIVITY = "activity"
"""What each node is doing, in numbers; one row each."""

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        Table(name=BANS, durable=True, most=20_000),
        Table(name=PARDONS, durable=True, most=20_000),
        Table(name=ARRIVALS, durable=True, most=100_000),
        # A revocation that made room for another one would let somebody in again.
        Table(name=ENDED, durable=True, most=100_000, evicts=False),
        Table(name=ADDRESS_FAILURES, durable=False, most=2 * MOST_COUNTED),
        Table(name=NAME_FAILURES, durable=False, most=2 * MOST_COUNTED),
        Table(name=SESSIONS, durable=False, most=50_000),
        Table(name=PRESENCE, durable=False, most=1),
        Table(name=NODES, durable=False, most=1),
        Table(name=ACTIVITY, durable=False, most=1),
        Table(name=USES, durable=True, most=10_000),
        Table(name=QUOTA, durable=True, most=50_000),
    )
}
