#!/usr/bin/env python3
"""How soon what was decided on one node holds on the others.

    rules.py [--times N]

Starts a real cluster of three ``twistd`` processes on loopback addresses and prints p50 and p99, in milliseconds:

- ``ban``: from the answer to a ban made on the first node (over its administration socket) until the third one ends a
  connection from that address without a word; asked for by connecting again and again;
- ``lift``: likewise, until it greets again;
- ``kick``: from asking the third node to end a session of the first one until the client has read why (FTP's 421);
- ``disable``: from asking the first node to disable a user until the client of a session on the third one has read why;
  a change of the configuration, so fsyncs of two nodes are in it.
"""

from __future__ import annotations

import argparse
import ftplib
import json
import socket
import ssl
import statistics
import time
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

from cftpcluster.testing.processes import ClusterProcesses, NodeProcess, waitFor

BANNED = "127.22.9.9"
PASSWORD = "correct horse battery"


def ask(connection: HTTPConnection, method: str, path: str, body: Any = None) -> Any:
    """One request; its answer's JSON value."""
    connection.request(method, f"/api/v1/{path}", None if body is None else json.dumps(body))
    answer = connection.getresponse()
    data = answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path}: {answer.status} {data[:500]!r}")
    return json.loads(data)


def isGreeted(node: NodeProcess) -> bool:
    """Whether the SFTP port says anything to the address that is to be banned."""
    with socket.create_connection((node.address, 2222), 10, (BANNED, 0)) as connection:
        try:
            return connection.recv(100) != b""
        except ConnectionResetError:
            return False


def untilGreeted(node: NodeProcess, expected: bool, started: float) -> float:
    while isGreeted(node) != expected:
        pass
    return (time.perf_counter() - started) * 1000


def session(node: NodeProcess, user: str) -> ftplib.FTP_TLS:
    """A control connection that is logged in."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = ftplib.FTP_TLS(context=context, timeout=30)  # noqa: S321 - over TLS, to a node of its own
    client.connect(node.address, 2121)
    client.login(user, PASSWORD)
    return client


def untilEnded(client: ftplib.FTP_TLS, started: float) -> float:
    assert client.sock is not None
    said = client.sock.recv(1000)
    elapsed = (time.perf_counter() - started) * 1000
    if not said.startswith(b"421"):
        raise RuntimeError(f"the session ended with {said!r}")
    client.close()
    return elapsed


def measured(cluster: ClusterProcesses, times: int) -> dict[str, list[float]]:
    first, _, third = cluster.nodes.values()
    found: dict[str, list[float]] = {"ban": [], "lift": [], "kick": [], "disable": []}
    with closing(first.connection()) as here, closing(third.connection()) as there:
        for _ in range(times):
            ask(here, "POST", "bans", {"network": BANNED})
            found["ban"].append(untilGreeted(third, False, time.perf_counter()))
            ask(here, "DELETE", f"bans/{BANNED}")
            found["lift"].append(untilGreeted(third, True, time.perf_counter()))

            client = session(first, "alice")
            listed = waitFor("the session", lambda: ask(there, "GET", "sessions?user=alice")["items"])
            started = time.perf_counter()
            ask(there, "DELETE", f"sessions/{listed[0]['id']}")
            found["kick"].append(untilEnded(client, started))

            client = session(third, "alice")
            started = time.perf_counter()
            ask(here, "PATCH", "users/alice", {"enabled": False})
            found["disable"].append(untilEnded(client, started))
            ask(here, "PATCH", "users/alice?wait=10", {"enabled": True})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=50, help="how often each is measured")
    options = parser.parse_args()
    with ClusterProcesses() as cluster:
        cluster.startAll()
        mount = {"path": "/", "backend": "files", "folder": "alice"}
        cluster.primary.apply({"users": [{"name": "alice", "password": PASSWORD, "mounts": [mount]}]})
        cluster.converged()
        found = measured(cluster, options.times)
    for name, values in found.items():
        values.sort()
        p99 = values[min(len(values) - 1, int(len(values) * 0.99))]
        print(f"{name:8} p50 {statistics.median(values):6.1f} ms   p99 {p99:6.1f} ms")


if __name__ == "__main__":
    main()
