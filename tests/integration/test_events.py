"""What happened, told by any node for all of them, with real nodes: also after a node was killed."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import NodeProcess, program, waitFor

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
        first.ctl("node", "pause", "node-c")
        first.ctl("node", "resume", "node-c")
        told = ("--kind", "Paused,Resumed", "--since", "5m", "--node", "node-c")
        waitFor(
            "pause and resume are told",
            lambda: asked(second, *told)[-1:] and asked(second, *told)[-1]["kind"] == "Resumed",
        )
        self.assertEqual([one["kind"] for one in asked(second, *told)[-2:]], ["Paused", "Resumed"])
        first.kill()
        first.start("primary")
        waitFor("the killed one answers again", lambda: changes(second) == ["node-a"])

    def test_whoFollowsGoesOnWithWhatHappenedWhileTheNodeWasAway(self) -> None:
        cluster = THREE.get()
        first, second = cluster.nodes["node-a"], cluster.nodes["node-b"]
        command = [program("cftpctl"), "--state-dir", str(second.state)]
        options = ["events", "--follow", "--json", "--limit", "3", "--kind", "Administered,NodeStarted"]
        with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as follower:
            try:
                self.assertIsNotNone(follower.stdout)
                os.set_blocking(follower.stdout.fileno(), False)
                lines: list[dict[str, Any]] = []

                def hasTold(text: str) -> bool:
                    lines.extend(json.loads(line) for line in follower.stdout.readlines())
                    return any(text in json.dumps(one) for one in lines)

                waitFor("the newest are told", lambda: hasTold("node-b") or len(lines) == 3)
                first.ctl("group", "add", "followed-before")
                waitFor("the change is told", lambda: hasTold("groups/followed-before"))
                second.terminate()
                first.ctl("group", "add", "followed-between")
                second.start("secondary")
                first.ctl("group", "add", "followed-after")
                waitFor("all is told", lambda: hasTold("groups/followed-between") and hasTold("groups/followed-after"))
                waitFor("the start is told", lambda: lines[-1]["kind"] == "NodeStarted" or hasTold("NodeStarted"))
            finally:
                follower.terminate()
        keys = [(one["node"], one["id"]) for one in lines]
        self.assertEqual(len(keys), len(set(keys)), lines)
