#!/usr/bin/env python3
"""How soon a change is live everywhere, and how many changes a second a primary takes.

    replication.py [--users N ...] [--followers N ...] [--changes N] [--burst N]

Starts real clusters of ``twistd`` processes on loopback addresses. For each number of users and followers it prints

- ``live``: milliseconds from the acknowledgement of a change (the answer to a PUT on the primary's administration
  socket) until every node is live on it, p50 and p99, one change after the other; the question and its answer over
  the socket are included;
- ``durable``: milliseconds from the request to its acknowledgement, which includes the primary's fsync;
- ``burst``: changes a second that 16 connections get acknowledged (one fsync serves several: group commit);
- ``pull``: seconds in which an empty secondary that joins has the whole configuration and is ready.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

from cftpcluster.testing.processes import ClusterProcesses


def ask(connection: HTTPConnection, method: str, path: str, body: Any = None) -> Any:
    """One request; its answer's JSON value."""
    connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    data = answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path}: {answer.status} {data[:500]!r}")
    return json.loads(data)


def percentile(values: list[float], part: float) -> float:
    """The smallest value that ``part`` of all do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def oneByOne(connection: HTTPConnection, changes: int) -> tuple[list[float], list[float]]:
    """Milliseconds to the acknowledgement, and from there until live everywhere, of each change."""
    durable, live = [], []
    for number in range(changes):
        started = time.perf_counter()
        made = ask(
            connection,
            "PUT",
            f"/api/v1/users/changing{number % 50}",
            {"expires": f"2030-01-01T00:00:{number % 60:02}Z"},
        )
        acknowledged = time.perf_counter()
        waited = ask(connection, "GET", f"/api/v1/wait?revision={made['revision']}&all=true&seconds=60")
        live.append((time.perf_counter() - acknowledged) * 1000)
        durable.append((acknowledged - started) * 1000)
        if waited["pending"]:
            raise RuntimeError(f"not live within 60 s on {waited['pending']}")
    return durable, live


def burst(cluster: ClusterProcesses, changes: int, connections: int = 16) -> float:
    """Changes a second."""

    def write(writer: int) -> None:
        with closing(cluster.primary.connection()) as connection:
            for number in range(changes // connections):
                ask(connection, "PUT", f"/api/v1/users/burst{writer}-{number}", {})

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(connections)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return changes / (time.perf_counter() - started)


def measure(users: int, followers: int, arguments: argparse.Namespace) -> None:
    """One cluster, one row."""
    with ClusterProcesses([f"node-{number}" for number in range(followers + 1)]) as cluster:
        cluster.primary.start("primary")
        cluster.primary.apply({"users": [{"name": f"user{number}"} for number in range(users)]})
        pulls = []
        for node in cluster.secondaries:
            started = time.perf_counter()
            cluster.join(node)
            pulls.append(time.perf_counter() - started)
        cluster.converged()
        with closing(cluster.primary.connection()) as connection:
            durable, live = oneByOne(connection, arguments.changes)
        rate = burst(cluster, arguments.burst)
        started = time.perf_counter()
        cluster.converged()
        print(
            f"{users:7d} {followers:9d} {percentile(live, 0.5):9.2f} {percentile(live, 0.99):9.2f} "
            f"{percentile(durable, 0.5):12.2f} {percentile(durable, 0.99):12.2f} {rate:10.0f} "
            f"{time.perf_counter() - started:9.2f} {statistics.median(pulls):7.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, nargs="+", default=[10, 1000, 10_000, 100_000])
    parser.add_argument("--followers", type=int, nargs="+", default=[2, 20])
    parser.add_argument("--changes", type=int, default=300)
    parser.add_argument("--burst", type=int, default=2000)
    arguments = parser.parse_args()
    print(
        "  users followers live p50  live p99  durable p50  durable p99  burst/s  settled s  pull s   (ms unless named)",
        file=sys.stdout,
        flush=True,
    )
    for followers in arguments.followers:
        for users in arguments.users:
            measure(users, followers, arguments)


if __name__ == "__main__":
    main()
