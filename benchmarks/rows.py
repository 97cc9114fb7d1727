#!/usr/bin/env python3
"""How soon a row that one node writes is known on the others, with and without a primary.

    rows.py [--nodes N ...] [--rows N]

Starts real clusters of ``twistd`` processes on loopback addresses. A ban stands for any row: for each number of nodes
it prints, in milliseconds, p50 and p99, one row after the other,

- ``written``: from the request to its answer, over the administration socket of the node that writes;
- ``seen``: from the request until the last of the other nodes lists it. They are asked again and again over their
  administration sockets, so that half of the time between two answers is part of it;
- the same for secondaries alone, once the primary was killed.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

from cftpcluster.testing.processes import ClusterProcesses, NodeProcess, waitFor


def ask(connection: HTTPConnection, method: str, path: str, body: Any = None) -> Any:
    """One request; its answer's JSON value."""
    connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    data = answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path}: {answer.status} {data[:500]!r}")
    return json.loads(data) if data else None


def percentile(values: list[float], part: float) -> float:
    """The smallest value that ``part`` of all do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def listed(connection: HTTPConnection) -> set[str]:
    return {ban["network"] for ban in ask(connection, "GET", "/api/v1/bans")["items"]}


def seenOn(node: NodeProcess, address: str, times: list[float], begun: threading.Barrier) -> None:
    """Note when a node knows."""
    with closing(node.connection()) as connection:
        listed(connection)
        begun.wait()
        while address not in listed(connection):
            pass
        times.append(time.perf_counter())


def oneByOne(writer: NodeProcess, others: list[NodeProcess], rows: int, third: int) -> tuple[list[float], list[float]]:
    """Milliseconds to the answer, and until the last of the others knew, of each row."""
    written, seen = [], []
    with closing(writer.connection()) as connection:
        for number in range(rows):
            address, times = f"198.18.{third}.{number}", list[float]()
            begun = threading.Barrier(len(others) + 1)
            threads = [threading.Thread(target=seenOn, args=(node, address, times, begun)) for node in others]
            for thread in threads:
                thread.start()
            begun.wait()
            started = time.perf_counter()
            ask(connection, "POST", "/api/v1/bans", {"network": address, "seconds": 600})
            written.append((time.perf_counter() - started) * 1000)
            for thread in threads:
                thread.join()
            seen.append((max(times) - started) * 1000)
            # Every list that is asked for grows with the bans.
            ask(connection, "DELETE", f"/api/v1/bans/{address}")
    return written, seen


def measure(nodes: int, rows: int) -> None:
    """One cluster, one row of the table."""
    with ClusterProcesses([f"node-{number}" for number in range(nodes)]) as cluster:
        cluster.startAll()
        first, second, *_ = cluster.nodes.values()
        others = list(cluster.nodes.values())[1:]
        waitFor("links", lambda: _allLinked(first, others))
        with_ = oneByOne(first, others, rows, 1)
        first.kill()
        time.sleep(1)
        without = oneByOne(second, others[1:], rows, 2)
        columns = [percentile(values, part) for pair in (with_, without) for values in pair for part in (0.5, 0.99)]
        print(f"{nodes:5d} " + " ".join(f"{value:9.2f}" for value in columns), flush=True)


def _allLinked(first: NodeProcess, others: list[NodeProcess]) -> bool:
    """Whether a row of each has come to the others."""
    for number, node in enumerate([first, *others]):
        with closing(node.connection()) as connection:
            ask(connection, "POST", "/api/v1/bans", {"network": f"198.19.1.{number}", "seconds": 600})
    time.sleep(0.5)
    wanted = {f"198.19.1.{number}" for number in range(len(others) + 1)}
    for node in [first, *others]:
        with closing(node.connection()) as connection:
            if not wanted <= listed(connection):
                return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[3])
    parser.add_argument("--rows", type=int, default=100)
    arguments = parser.parse_args()
    print("nodes  written p50/p99     seen p50/p99        without: written    seen")
    for nodes in arguments.nodes:
        measure(nodes, arguments.rows)


if __name__ == "__main__":
    main()
