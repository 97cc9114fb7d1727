"""Clusters that the tests of one process share: starting nodes takes longer than most of what is done to them."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from cftpcluster.testing.processes import PATIENCE_SECONDS, ClusterProcesses, waitFor

MOST_KEPT = 2
"""How many clusters a process keeps; of more, the one that was not used for the longest time is ended."""


class Shared:
    """A cluster that the tests of one process share; anew after a test that left it broken.

    :ivar _prepare: is given the cluster once it has started.
    """

    _kept: ClassVar[list[Shared]] = []

    def __init__(self, make: Callable[[], Any], prepare: Callable[[Any], object] = lambda cluster: None) -> None:
        self._make, self._prepare = make, prepare
        self._cluster: Any = None
        atexit.register(self.end)

    def get(self) -> Any:
        """The cluster, whole and equal everywhere."""
        if self._cluster is not None and not self._isStillWhole():
            self.end()
        if self in self._kept:
            self._kept.remove(self)
        self._kept.append(self)
        for other in self._kept[:-MOST_KEPT]:
            other.end()
        if self._cluster is None:
            self._begin()
        return self._cluster

    def _begin(self) -> None:
        self._cluster = self._make()
        self._cluster.__enter__()
        try:
            self._cluster.startAll()
            self._prepare(self._cluster)
            whole(self._cluster)
        except BaseException:
            self.end()
            raise

    def _isStillWhole(self) -> bool:
        try:
            whole(self._cluster)
        except (AssertionError, OSError):
            return False
        return True

    def end(self) -> None:
        """Nobody shares it any more. Idempotent."""
        if self in self._kept:
            self._kept.remove(self)
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.__exit__(None, None, None)


ALONE = Shared(partial(ClusterProcesses, ("node-a",)))
"""One node, for tests with users and folders of their own."""

THREE = Shared(partial(ClusterProcesses, ("node-a", "node-b", "node-c")))
"""A primary and two secondaries, likewise."""


def whole(cluster: ClusterProcesses, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until every node follows, is live, and has what the primary has."""
    waitFor("all nodes follow and are equal", lambda: isWhole(cluster), seconds, pauseSeconds=0.15)


def isWhole(cluster: ClusterProcesses) -> bool:
    """Whether every node follows the one primary, is live, and has what that has."""
    status = cluster.primary.status()
    heads = {(one["epoch"], one["revision"], one["chainHash"]) for one in (n.status() for n in cluster.nodes.values())}
    return (
        len(heads) == 1
        and {one["name"]: one["state"] for one in status["nodes"]}
        == {name: "primary" if name == status["primary"] else "following" for name in cluster.nodes}
        and {one["revision"] for one in status["nodes"]} == {status["revision"]}
    )
