#!/usr/bin/env python3
"""A cluster of three nodes on 127.0.0.1 to 127.0.0.3, with a ready user on storage that all of them share.

Prints where everything is, runs until Ctrl-C (or SIGTERM), and leaves nothing behind.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading

from cftpcluster.testing.processes import ClusterProcesses, isListening, program

ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
MARKER = ".cftpcluster-storage"


def prepare(cluster: ClusterProcesses) -> str:
    """Start the nodes and make user ``demo``; returns its password."""
    print("starting three nodes ...", flush=True)
    cluster.startAll()
    share = cluster.folder / "share"
    share.mkdir()
    (share / MARKER).write_text(secrets.token_hex(16) + "\n")
    password = secrets.token_urlsafe(9)
    cluster.primary.apply(
        {
            "backends": [{"name": "share", "kind": "local", "root": str(share), "shared": True, "requireMarker": True}],
            "users": [
                {"name": "demo", "password": password, "mounts": [{"path": "/", "backend": "share", "folder": "demo"}]}
            ],
        }
    )
    cluster.converged()
    return password


def describe(cluster: ClusterProcesses, password: str) -> None:
    """Say what can be tried."""
    administrator = (cluster.primary.state / "initial-admin-password").read_text().strip()
    print("\nThree nodes, one configuration, one storage:")
    for node in cluster.nodes.values():
        print(f"  {node.name}  SFTP {node.address}:2222   FTP+TLS {node.address}:2121   https://{node.address}:8443/")
    print(f"\n  user           demo     password  {password}")
    print(f"  administrator  admin    password  {administrator}   (REST API: https://{ADDRESSES[0]}:8444/api/v1)")
    print("\nTry, with any of the three addresses:")
    print(f"  sftp -P 2222 demo@{ADDRESSES[0]}")
    print(f"  curl -k --ssl-reqd -u demo ftp://{ADDRESSES[1]}:2121/ -T README.md")
    print(f"  curl -k -u demo https://{ADDRESSES[2]}:8443/api/v1/files/")
    print(f"  {program('cftpctl')} --state-dir {cluster.primary.state} status")
    print("\nCtrl-C stops it.", flush=True)


def main() -> int:
    busy = [address for address in ADDRESSES if isListening(address, 8789)]
    if busy:
        print(f"demo: another node serves {', '.join(busy)} already", file=sys.stderr)
        return 1
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with ClusterProcesses(addresses=ADDRESSES) as cluster:
        describe(cluster, prepare(cluster))
        while not over.wait(1):
            for node in cluster.nodes.values():
                if node.process is not None and node.process.poll() is not None:
                    print(f"{node.name} ended:\n{node.log[-2000:]}", file=sys.stderr)
                    return 1
        print("\nstopping ...", flush=True)
        for node in cluster.nodes.values():
            node.signal(signal.SIGTERM)
        for node in cluster.nodes.values():
            node.stop()
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
