#!/usr/bin/env python3
"""How long `cftpctl apply` takes for very many users, and whether anybody else has to wait meanwhile.

    bulk.py [--users N] [--nodes N] [--yaml]

Starts a real cluster, applies a document of so many users with ``passwordHash``, then one in which every tenth differs,
and searches them. It prints seconds of each step, the longest answer of ``/livez`` meanwhile (asked every 20 ms: how
long the event loop did anything else), the histogram of the reactor's delay as ``/metrics`` has it, and how much memory
the primary needed.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cftpcluster.testing.processes import ClusterProcesses, NodeProcess

HASH = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b4dWRWJTmaaJObG3+5f6MKYP0c"


def documentOf(users: int, changed: int = 0) -> dict[str, Any]:
    """So many users; every ``changed``-th has another e-mail address of sorts: another folder."""
    return {
        "users": [
            {
                "name": f"user{number:06}",
                "passwordHash": HASH,
                "mounts": [
                    {
                        "path": "/",
                        "backend": "files",
                        "folder": f"user{number:06}" + ("-new" if changed and number % changed == 0 else ""),
                        "permissions": ["list", "download", "upload", "overwrite", "delete", "rename", "mkdir"],
                    }
                ],
            }
            for number in range(users)
        ]
    }


@contextmanager
def timed(node: NodeProcess, what: str) -> Any:
    """Prints how long it took, and the longest that anybody had to wait for the node meanwhile."""
    waits: list[float] = []
    over = threading.Event()

    def probe() -> None:
        while not over.wait(0.02):
            began = time.monotonic()
            node.health("/livez")
            waits.append(time.monotonic() - began)

    prober = threading.Thread(target=probe)
    prober.start()
    began = time.monotonic()
    try:
        yield
    finally:
        seconds = time.monotonic() - began
        over.set()
        prober.join()
        waits.sort()
        longest = " ".join(f"{1000 * one:.0f}" for one in waits[-5:])
        print(f"{what}: {seconds:.1f} s; longest waits {longest} ms, of {len(waits)}", flush=True)


def delays(node: NodeProcess) -> dict[str, float]:
    """How many calls came later than so many seconds."""
    text = node.health("/metrics")[1].decode()
    found = (line.split() for line in text.splitlines() if line.startswith("cftpcluster_reactor_delay_seconds_bucket"))
    return {name.partition('le="')[2].partition('"')[0]: float(value) for name, value in found}


def memory(node: NodeProcess) -> str:
    assert node.process is not None
    lines = Path(f"/proc/{node.process.pid}/status").read_text().splitlines()
    return ", ".join(" ".join(line.split()) for line in lines if line.startswith(("VmHWM", "VmRSS")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--yaml", action="store_true", help="write the document as YAML, not JSON")
    given = parser.parse_args()
    names = tuple(f"node-{number}" for number in range(given.nodes))
    with TemporaryDirectory() as folder, ClusterProcesses(names) as cluster:
        node = cluster.startAll().primary
        for what, changed in (("apply of new users", 0), ("apply, every tenth changed", 10), ("apply again", 10)):
            file = Path(folder, "document")
            document = documentOf(given.users, changed)
            if given.yaml:
                from cftpcluster.config.written import exportYaml

                file.write_text(exportYaml(document))
            else:
                file.write_text(json.dumps(document))
            with timed(node, f"{what}, {file.stat().st_size / 1e6:.0f} MB"):
                done = node.run("apply", str(file), "--wait", "120", "--json")
            if done.returncode:
                print(done.stderr.decode()[:2000])
                return 1
        # the first one looks at all names, which are kept afterwards
        for query in ({"search": "user0999"}, {"search": "user0998"}, {"search": "9"}, {"limit": 100}):
            with timed(node, f"GET /users, {query}"):
                node.ask("GET", "users", **query)
        print("delays:", delays(node))
        print("memory:", memory(node))
    return 0


if __name__ == "__main__":
    sys.exit(main())
