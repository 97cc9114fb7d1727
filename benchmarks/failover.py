#!/usr/bin/env python3
"""What clients notice when a node drains, and when one dies, behind HAProxy.

    failover.py [--nodes N] [--clients N] [--seconds S] [--rounds N]

Starts a real cluster of ``twistd`` processes on loopback addresses and an HAProxy with the configuration of
``cftpctl haproxy``. Clients of all protocols log in, upload, download and log out, again and again; some uploads last
as long as a fault. For each protocol it prints

- ``usual``: milliseconds that one log-in with its two transfers takes without a fault, p50;
- ``gap, none``, ``gap, drain``, ``gap, kill``: the longest time, in milliseconds, in which none was completed, without
  a fault, while a node drained, and after one was killed;
- ``failed, drain`` and ``failed, kill``: log-ins and transfers that failed; after a kill those that were on that node;
- ``cut, drain`` and ``cut, kill``: long uploads that failed, of how many.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import time
from collections.abc import Iterator

from attrs import define, field

from cftpcluster.testing.balancer import HAProxyProcess, behindBalancer
from cftpcluster.testing.load import SECONDS, SESSIONS, Load, LongUpload, Place
from cftpcluster.testing.processes import ClusterProcesses, loopbackAddresses, program


@define
class Period:
    """What came of one kind of fault.

    :ivar gaps: the longest time without a completed attempt, of each round, by protocol; in seconds.
    :ivar failed: how many attempts failed, by protocol.
    :ivar cut: how many long uploads failed, by protocol.
    :ivar long: how many there were.
    """

    gaps: dict[str, list[float]] = field(factory=lambda: {protocol: [] for protocol in SESSIONS})
    failed: dict[str, int] = field(factory=lambda: dict.fromkeys(SESSIONS, 0))
    cut: dict[str, int] = field(factory=lambda: dict.fromkeys(SESSIONS, 0))
    long: dict[str, int] = field(factory=lambda: dict.fromkeys(SESSIONS, 0))

    def note(self, load: Load, began: float, uploads: list[LongUpload]) -> None:
        """Add what happened since ``began``."""
        for protocol in SESSIONS:
            self.gaps[protocol].append(load.gap(protocol, began))
            failures = [each for each in load.failures() if each.ended >= began and each.protocol == protocol]
            self.failed[protocol] += len(failures)
        for upload in uploads:
            self.long[upload.protocol] += 1
            self.cut[upload.protocol] += bool(upload.finish().error)


def clientAddresses() -> Iterator[str]:
    network = loopbackAddresses(1)[0].rpartition(".")[0].rpartition(".")[0]
    while True:
        yield from (f"{network}.{third}.{last}" for third in range(250) for last in range(1, 250))


def measure(nodes: int, clients: int, seconds: float, rounds: int) -> None:
    addresses = loopbackAddresses(nodes + 2)
    front, back = addresses[-2:]
    names = [f"node-{number}" for number in range(1, nodes + 1)]
    sources = clientAddresses()
    with ClusterProcesses(names, addresses[:nodes]) as cluster:
        cluster.startAll()
        document = behindBalancer(cluster, back)
        document["users"] = [{"name": "load", "password": "a secret", "mounts": [{"path": "/", "backend": "share"}]}]
        document["settings"] = {"drainSeconds": 60, "drainGraceSeconds": 2}
        cluster.primary.apply(document, wait=30)
        place = Place(address=front, user="load", password="a secret")

        def longUploads() -> list[LongUpload]:
            uploads = [LongUpload(protocol=each, source=next(sources), place=place) for each in SESSIONS for _ in names]
            for upload in uploads:
                upload.began.wait(SECONDS)
            return uploads

        with HAProxyProcess.of(cluster.primary, "--address", front, "--source", back) as balancer:
            balancer.waitReady(front, *place.ports.values())
            quiet, drained, killed = Period(), Period(), Period()
            with Load(place=place, sources=[next(sources) for _ in range(clients * len(SESSIONS))]) as load:
                time.sleep(2)
                for number in range(rounds):
                    began = time.monotonic()
                    time.sleep(seconds)
                    quiet.note(load, began, [])

                    node = list(cluster.nodes.values())[1 + number % (nodes - 1)]
                    uploads, began = longUploads(), time.monotonic()
                    drain = subprocess.Popen(
                        [program("cftpctl"), "--state-dir", str(node.state), "node", "drain", node.name],
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                    )
                    time.sleep(seconds)
                    drained.note(load, began, uploads)
                    drain.wait(120)
                    node.ctl("node", "resume", node.name)
                    node.waitReady()
                    time.sleep(1.5)

                    uploads, began = longUploads(), time.monotonic()
                    node.kill()
                    time.sleep(seconds)
                    killed.note(load, began, uploads)
                    node.start("secondary")
                    time.sleep(1.5)
            show(load, quiet, drained, killed)


def show(load: Load, quiet: Period, drained: Period, killed: Period) -> None:
    faults = ("drain", "kill")
    columns = ["usual", "gap, none"] + [f"{what}, {fault}" for what in ("gap", "failed", "cut") for fault in faults]
    print(f"{'protocol':9}" + "".join(f"{each:>15}" for each in columns))
    for protocol in SESSIONS:
        times = [each.ended - each.began for each in load.attempts if each.protocol == protocol and not each.error]
        values = [
            *(f"{value * 1000:.0f}" for value in (statistics.median(times), max(quiet.gaps[protocol]))),
            *(f"{max(each.gaps[protocol]) * 1000:.0f}" for each in (drained, killed)),
            *(str(each.failed[protocol]) for each in (drained, killed)),
            *(f"{each.cut[protocol]} of {each.long[protocol]}" for each in (drained, killed)),
        ]
        print(f"{protocol:9}" + "".join(f"{value:>15}" for value in values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--clients", type=int, default=1, help="of each protocol")
    parser.add_argument("--seconds", type=float, default=6, help="how long each period lasts")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    measure(given.nodes, given.clients, given.seconds, given.rounds)


if __name__ == "__main__":
    main()
