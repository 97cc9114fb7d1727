#!/usr/bin/env python3
"""How soon a change is live everywhere, and how many changes a second a primary takes.

    replication.py [--users N ...] [--followers N ...] [--changes N] [--burst N]

Starts real clusters of ``twistd`` processes on loopback addresses. For each number of users and followers it prints

- ``live``: milliseconds from the acknowledgement of a change (the answer to a PUT over the primary's administration
  socket has come) until the last secondary is live on it, p50 and p99, one change after the other. An observer on each
  node (in ``plugin/``) notes when; all use the clock of this one machine;
- ``durable``: milliseconds from the request to its acknowledgement, which includes the primary's fsync;
- ``burst``: changes a second that 16 connections get acknowledged (one fsync serves several: group commit);
- ``boot``: seconds from the start of an empty secondary's process until it has joined, pulled the whole configuration
  and is live on it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from cftpcluster.testing.processes import ClusterProcesses, NodeProcess, waitFor


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


def oneByOne(cluster: ClusterProcesses, folder: Path, changes: int) -> tuple[list[float], list[float]]:
    """Milliseconds to the acknowledgement, and from there until live on every secondary, of each change."""
    durable, acknowledged = [], {}
    with closing(cluster.primary.connection()) as connection:
        for number in range(changes):
            started = time.time()
            body = {"expires": f"2030-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z"}
            made = ask(connection, "PUT", f"/api/v1/users/changing{number % 50}", body)
            acknowledged[made["revision"]] = time.time()
            durable.append((acknowledged[made["revision"]] - started) * 1000)
            ask(connection, "GET", f"/api/v1/wait?revision={made['revision']}&all=true&seconds=60")
    return durable, sorted(liveAfter(cluster, folder, acknowledged))


def liveAfter(cluster: ClusterProcesses, folder: Path, acknowledged: dict[int, float]) -> Iterator[float]:
    """For each acknowledged revision the milliseconds until the last secondary was live on it."""
    lived: dict[int, list[float]] = {revision: [] for revision in acknowledged}
    for node in cluster.secondaries:
        for revision, at in notes(folder / node.name):
            if revision in lived:
                lived[revision].append(at)
    for revision, times in lived.items():
        if len(times) != len(cluster.secondaries):
            raise RuntimeError(f"revision {revision} became live on {len(times)} secondaries only")
        yield (max(times) - acknowledged[revision]) * 1000


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
        for node in cluster.nodes.values():
            node.environment["PYTHONPATH"] = str(Path(__file__).resolve().parent / "plugin")
        folder = cluster.folder / "live"
        folder.mkdir()
        cluster.primary.start("primary")
        cluster.primary.apply(
            {
                "users": [{"name": f"user{number}"} for number in range(users)],
                "observers": [{"name": "stopwatch", "kind": "stopwatch", "folder": str(folder)}],
            }
        )
        pulls = [joined(cluster, node, folder) for node in cluster.secondaries]
        cluster.converged()
        durable, live = oneByOne(cluster, folder, arguments.changes)
        rate = burst(cluster, arguments.burst)
        started = time.perf_counter()
        cluster.converged()
        print(
            f"{users:7d} {followers:9d} {percentile(live, 0.5):9.2f} {percentile(live, 0.99):9.2f} "
            f"{percentile(durable, 0.5):12.2f} {percentile(durable, 0.99):12.2f} {rate:10.0f} "
            f"{time.perf_counter() - started:9.2f} {statistics.median(pulls):7.2f}",
            flush=True,
        )


def joined(cluster: ClusterProcesses, node: NodeProcess, folder: Path) -> float:
    """Seconds from the start of an empty secondary's process until it is live on all that the primary had then."""
    revision = cluster.primary.status()["revision"]
    token = cluster.folder / f"{node.name}.token"
    token.write_text(cluster.primary.token(node.name) + "\n")
    started = time.time()
    node.start("secondary", "--join-file", str(token))
    live = folder / node.name
    waitFor(f"{node.name} live", lambda: live.exists() and any(noted >= revision for noted, _ in notes(live)))
    return next(at for noted, at in notes(live) if noted >= revision) - started


def notes(file: Path) -> Iterator[tuple[int, float]]:
    """The revisions that became live on a node, and when, in seconds since the epoch."""
    for line in file.read_text().splitlines():
        revision, nanoseconds = line.split()
        yield int(revision), int(nanoseconds) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, nargs="+", default=[10, 1000, 10_000, 100_000])
    parser.add_argument("--followers", type=int, nargs="+", default=[2, 20])
    parser.add_argument("--changes", type=int, default=300)
    parser.add_argument("--burst", type=int, default=2000)
    arguments = parser.parse_args()
    print(
        "  users followers live p50  live p99  durable p50  durable p99  burst/s  settled s  boot s   (else ms)",
        file=sys.stdout,
        flush=True,
    )
    for followers in arguments.followers:
        for users in arguments.users:
            measure(users, followers, arguments)


if __name__ == "__main__":
    main()
