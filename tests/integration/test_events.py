"""What happened, told by any node for all of them, with real nodes: also after a node was killed."""

from __future__ import annotations

import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import NodeProcess, waitFor

from ..sharedclusters import THREE


def asked(node: NodeProcess, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = node.ctl("events", *arguments)
    return found


class EventsTests(SynchronousTestCase):
    def test_everyNodeTellsForAllAndAKilledOneHasForgottenNothing(self) -> None:
        cluster = THREE.get()
        first, second, third = (cluster.nodes[name] for name in ("node-a", "node-b", "node-c"))
        since = f"{time.time() - 1:.0f}"
        name = f"teller{since}"
        third.ctl("user", "add", name, "--password-stdin", stdin=b"right horse\n")

        def changes(node: NodeProcess) -> list[str]:
            return [one["node"] for one in asked(node, "--kind", "Administered", "--text", f"users/{name}")]

        for node in (first, second, third):
            waitFor("the change is told", lambda node=node: changes(node) == ["node-a"])  # type: ignore[misc]
        first.kill()
        first.start("primary")
        waitFor("the killed one answers again", lambda: changes(second) == ["node-a"])
