"""The rows in memory keep the contract of rows that nodes share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.interfaces import ISharedRows
from cftpcluster.testing.rows import MemoryRows, SharedRowsContract


class MemoryRowsTests(SharedRowsContract, SynchronousTestCase):
    def makeRows(self, clock: Clock, node: str) -> ISharedRows:
        return MemoryRows(clock, node)

    def hear(
        self, rows: ISharedRows, node: str, table: str, key: str, value: Mapping[str, Any], seconds: float
    ) -> None:
        assert isinstance(rows, MemoryRows)
        rows.hear(node, table, key, value, seconds)
