#!/usr/bin/env python3
"""How long a cluster of three takes no changes while its primary is replaced: by agreement, and by force after a kill.

    promotion.py [--planned N] [--forced N]

Starts a real cluster of ``twistd`` processes on loopback addresses. A client on one secondary makes one change after
the other, over its administration socket. Times are milliseconds:

- ``planned, answer``: from the request to promote, on that secondary, to its answer: the next primary has everything,
  and has acknowledged that it is primary;
- ``planned, longest change``: the longest that one of the changes took meanwhile; none may fail;
- ``forced, answer``: the primary is killed; from the request to promote by force, on the candidate, to its answer;
- ``forced, next change``: from that request to the acknowledgement of the first change on the other secondary.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from contextlib import closing
from http.client import HTTPException
from typing import Any

from cftpcluster.testing.processes import ClusterProcesses, NodeProcess, waitFor


def ask(node: NodeProcess, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """One request; its status and its answer's JSON value."""
    with closing(node.connection()) as connection:
        connection.request(method, f"/api/v1/{path}", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")


def change(node: NodeProcess, number: int) -> bool:
    """Whether a change was acknowledged."""
    try:
        body = {"expires": f"2030-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z"}
        return ask(node, "PUT", f"users/changing{number % 50}", body)[0] in (200, 201)
    except (OSError, HTTPException):
        return False


class Changes(threading.Thread):
    """Makes changes until it is told to stop.

    :ivar took: when each began, and for how long it lasted.
    :ivar failed: how many were not acknowledged.
    """

    def __init__(self, node: NodeProcess) -> None:
        super().__init__(daemon=True)
        self.took: list[tuple[float, float]] = []
        self.failed = 0
        self._node, self._over = node, threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            self.failed += not change(self._node, len(self.took))
            self.took.append((began, time.monotonic() - began))

    def end(self) -> None:
        self._over.set()
        self.join()

    def longest(self, since: float) -> float:
        return max(lasted for began, lasted in self.took if began + lasted >= since)


def promoted(node: NodeProcess, name: str, force: bool = False) -> float:
    """How long the answer took."""
    began = time.monotonic()
    status, answer = ask(node, "POST", f"nodes/{name}/promote", {"force": force})
    if status != 200:
        raise RuntimeError(answer)
    return time.monotonic() - began


def whole(cluster: ClusterProcesses) -> str:
    """Wait until all follow one primary; its name."""

    def agreed() -> str:
        statuses = [ask(node, "GET", "status")[1] for node in cluster.nodes.values()]
        states = sorted(row["state"] for status in statuses for row in status["nodes"] if row["name"] == status["node"])
        names = {status["primary"] for status in statuses}
        heads = {status["chainHash"] for status in statuses}
        isWhole = states == ["following"] * (len(statuses) - 1) + ["primary"] and len(names) == len(heads) == 1
        return names.pop() if isWhole else ""

    return waitFor("all follow one primary", agreed)


def planned(cluster: ClusterProcesses, rounds: int) -> tuple[list[float], list[float]]:
    answers, longest = [], []
    for _ in range(rounds):
        primary = whole(cluster)
        candidate, asked = (node for node in cluster.nodes.values() if node.name != primary)
        changes = Changes(asked)
        changes.start()
        time.sleep(1)
        began = time.monotonic()
        answers.append(promoted(asked, candidate.name))
        time.sleep(1)
        changes.end()
        longest.append(changes.longest(began))
        if changes.failed:
            raise RuntimeError(f"{changes.failed} changes failed")
    return answers, longest


def forced(cluster: ClusterProcesses, rounds: int) -> tuple[list[float], list[float]]:
    answers, nexts = [], []
    for _ in range(rounds):
        primary = cluster.nodes[whole(cluster)]
        candidate, other = (node for node in cluster.nodes.values() if node is not primary)
        primary.kill()
        time.sleep(2)
        began = time.monotonic()
        answers.append(promoted(candidate, candidate.name, force=True))
        while not change(other, 0):
            time.sleep(0.005)
        nexts.append(time.monotonic() - began)
        primary.start("secondary")
    return answers, nexts


def show(name: str, seconds: list[float]) -> None:
    times = ", ".join(f"{one * 1000:.0f}" for one in sorted(seconds))
    print(f"{name:25} {times}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planned", type=int, default=5, metavar="N", help="how often by agreement")
    parser.add_argument("--forced", type=int, default=5, metavar="N", help="how often by force")
    options = parser.parse_args()
    with ClusterProcesses() as cluster:
        cluster.startAll()
        answers, longest = planned(cluster, options.planned)
        show("planned, answer", answers)
        show("planned, longest change", longest)
        answers, nexts = forced(cluster, options.forced)
        show("forced, answer", answers)
        show("forced, next change", nexts)


if __name__ == "__main__":
    main()
