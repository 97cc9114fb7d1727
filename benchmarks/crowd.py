#!/usr/bin/env python3
"""What many followers cost a primary, and how soon a change is on all of them.

    crowd.py [--followers N ...] [--users N] [--changes N] [--burst N]

The primary is a real node. All its followers live in one other process: each joins with a token of its own and holds a
link of its own over a real socket and TLS, with a real follower behind it, but its journal is in memory and it has no
listeners, so that the figures are the primary's and not those of a hundred disks. For each number of followers:

- ``on all``: milliseconds from the acknowledgement of a change (the answer to a PUT over the primary's administration
  socket has come) until the last follower has it, p50 and p99, one change after the other;
- ``durable``: milliseconds from the request to its acknowledgement;
- ``burst``: changes a second that 16 connections get acknowledged, and how long after the last of them every follower
  had all;
- ``CPU``: milliseconds of the primary's processor time for each change, while they came one by one;
- ``rest``: its processor time in percent of one core while nothing changes;
- ``memory``: MiB that the primary holds with its followers, and without.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from replication import ask, burst, percentile

from cftpcluster.testing.processes import ClusterProcesses, processorSeconds, waitFor

REST_SECONDS = 10.0

# --- the process of the followers


async def crowd(reactor: Any, orders: dict[str, Any]) -> None:
    """Have every follower join, follow, and note when it has each revision."""
    from cftpcluster.cluster.authority import newNodeKey
    from cftpcluster.cluster.join import join
    from cftpcluster.cluster.tokens import JoinTokenText

    notes: dict[int, tuple[int, float]] = {}

    def applied(revision: int) -> None:
        count, _ = notes.get(revision, (0, 0.0))
        notes[revision] = count + 1, time.time()
        if count + 1 == len(orders["tokens"]):
            print(json.dumps([revision, notes.pop(revision)[1]]), flush=True)

    for name, token in orders["tokens"].items():
        text = JoinTokenText.parse(token)
        joined = await join(
            reactor,
            text,
            name=name,
            privateKeyPem=newNodeKey(),
            advertiseAddress=orders["address"],
            bindAddress=orders["address"],
            wallClock=time.time,
        )
        await follow(reactor, name, joined, text.host, text.port, orders["address"], applied)
    print(json.dumps("following"), flush=True)


async def follow(
    reactor: Any, name: str, joined: Any, host: str, port: int, address: str, applied: Callable[[int], None]
) -> None:
    """One follower, without a disk and without services."""
    from attrs import evolve
    from twisted.internet.defer import Deferred, succeed
    from twisted.internet.threads import deferToThreadPool

    from cftpcluster.cluster.dial import Address, connectLink
    from cftpcluster.cluster.follower import Follower
    from cftpcluster.cluster.gate import LiveLinks
    from cftpcluster.cluster.link import Link
    from cftpcluster.cluster.messages import Hello
    from cftpcluster.cluster.peers import RemotePublisher, followerMethods
    from cftpcluster.components import Components
    from cftpcluster.journal.memory import MemoryJournal

    inThread = partial(deferToThreadPool, reactor, reactor.getThreadPool())
    journal = MemoryJournal(Components.gather().kinds)
    told = 0

    def live(head: Any) -> None:
        nonlocal told
        for revision in range(told + 1, head.revision + 1):
            applied(revision)
        told = head.revision

    following: Deferred[None] = Deferred()

    def changed() -> None:
        if follower.state == "following" and not following.called:
            following.callback(None)

    follower = Follower(
        node=name,
        head=await journal.head(),
        journal=journal,
        clock=reactor,
        applied=live,
        diverging=lambda head, offer: succeed(None),
        perform=lambda action, arguments: succeed({}),
        report=lambda: {"live": told, "problems": [], "version": ""},
        clusterStatus=lambda status: None,
        changed=changed,
        inThread=inThread,
    )
    link: Any = await connectLink(
        reactor,
        Address(host, port, address),
        identity=joined.identity,
        nodes=lambda: {node.name: node for node in joined.nodes},
        expectedName=joined.primary,
        buildLink=lambda peer: Link(
            reactor,
            time.time,
            True,
            peer,
            lambda: evolve(Hello.fromHead(name, follower.head), extra={"purpose": "follow"}),
            lambda _: followerMethods(follower),
        ),
        links=LiveLinks(),
        wallClock=time.time,
    )
    await link.whenReady()
    ended = follower.session(RemotePublisher(link, inThread), joined.primary)
    _ = ended.addErrback(lambda failure: sys.stderr.write(f"{name}: {failure.getErrorMessage()}\n"))
    await following


def runCrowd() -> None:
    """The other process: orders come on standard input; it ends with its parent's end of that."""
    from twisted.internet import reactor as imported
    from twisted.internet.defer import Deferred

    reactor: Any = imported
    orders = json.loads(sys.stdin.readline())

    def run() -> None:
        started = Deferred.fromCoroutine(crowd(reactor, orders))
        _ = started.addErrback(
            lambda failure: (failure.printTraceback(sys.__stderr__), sys.__stderr__.flush(), os._exit(1))
        )

    def wait() -> None:
        sys.stdin.read()
        os._exit(0)

    reactor.callWhenRunning(run)
    reactor.callInThread(wait)
    reactor.run()


# --- the process that measures


@contextmanager
def followers(cluster: ClusterProcesses, count: int) -> Iterator[Callable[[], list[Any]]]:
    """Have ``count`` followers; answers with what tells, line by line, which revision was when on all of them."""
    names = [f"follower-{number}" for number in range(count)]
    with closing(cluster.primary.connection()) as connection:
        tokens = {name: ask(connection, "POST", "/api/v1/tokens/join", {"name": name})["token"] for name in names}
    output, errors = cluster.folder / f"crowd-{count}", cluster.folder / f"crowd-{count}.errors"
    with output.open("wb") as told, errors.open("wb") as complaints:
        process = subprocess.Popen(
            [sys.executable, __file__, "--as-crowd"], stdin=subprocess.PIPE, stdout=told, stderr=complaints
        )
    assert process.stdin is not None
    orders = {"tokens": tokens, "address": next(iter(cluster.secondaries)).address}
    process.stdin.write(json.dumps(orders).encode() + b"\n")
    process.stdin.flush()

    def lines() -> list[Any]:
        if process.poll() is not None:
            raise RuntimeError(errors.read_text())
        return [json.loads(line) for line in output.read_text().splitlines(keepends=True) if line.endswith("\n")]

    try:
        waitFor(f"{count} followers", lambda: "following" in lines(), 300)
        yield lines
    finally:
        process.stdin.close()
        process.wait(30)


def residentMiB(pid: int) -> float:
    """How much memory a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(count: int, arguments: argparse.Namespace) -> None:
    """One cluster, one row."""
    with ClusterProcesses(["node-z", "crowd"]) as cluster:
        cluster.primary.start("primary")
        cluster.primary.apply({"users": [{"name": f"user{number}"} for number in range(arguments.users)]})
        assert cluster.primary.process is not None
        pid = cluster.primary.process.pid
        alone = residentMiB(pid)
        with followers(cluster, count) as lines, closing(cluster.primary.connection()) as connection:
            started, computed = time.time(), processorSeconds(pid)
            time.sleep(REST_SECONDS)
            rest = (processorSeconds(pid) - computed) / (time.time() - started) * 100
            durable, acknowledged, computed = [], {}, processorSeconds(pid)
            for number in range(arguments.changes):
                asked = time.time()
                revision = ask(
                    connection, "PUT", f"/api/v1/users/changing{number % 50}", {"enabled": number % 100 < 50}
                )["revision"]
                acknowledged[revision] = time.time()
                durable.append((acknowledged[revision] - asked) * 1000)
                waitFor(f"revision {revision}", lambda wanted=revision: has(lines(), wanted))  # type: ignore[misc]
            cost = (processorSeconds(pid) - computed) / arguments.changes * 1000
            when = {line[0]: line[1] for line in lines() if isinstance(line, list)}
            live = [max(0.0, when[revision] - at) * 1000 for revision, at in acknowledged.items()]
            rate = burst(cluster, arguments.burst)
            ended = time.time()
            last = ask(connection, "GET", "/api/v1/status")["revision"]
            waitFor(f"revision {last}", lambda: has(lines(), last))
            settled = max(0.0, next(line[1] for line in reversed(lines()) if line[0] == last) - ended)
            print(
                f"{count:9d} {percentile(live, 0.5):10.1f} {percentile(live, 0.99):10.1f} "
                f"{percentile(durable, 0.5):12.1f} {percentile(durable, 0.99):12.1f} {rate:8.0f} {settled:9.2f} "
                f"{cost:7.1f} {rest:6.1f} {residentMiB(pid):7.0f} {alone:6.0f}",
                flush=True,
            )


def has(lines: list[Any], revision: int) -> bool:
    """Whether every follower has that revision."""
    return any(isinstance(line, list) and line[0] == revision for line in reversed(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--followers", type=int, nargs="+", default=[2, 20, 100])
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--burst", type=int, default=1000)
    parser.add_argument("--as-crowd", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.as_crowd:
        runCrowd()
        return
    print("followers on all p50 on all p99  durable p50  durable p99  burst/s settled s CPU, ms rest % memory  alone")
    for count in arguments.followers:
        measure(count, arguments)


if __name__ == "__main__":
    main()
