#!/usr/bin/env python3
"""What HTTPS does beside large transfers: small answers, slow readers, huge folders, files larger than memory.

    web.py [--requests N] [--slow N] [--entries N] [--gib N]

Starts a node on a loopback address, and asks it from this process. It prints

- ``small``: answers a second to ``HEAD`` of a file, one after the other on one connection, with a password that was
  verified before, and milliseconds of the node's processor for each;
- ``slow``: with so many downloads under way whose readers take 64 KiB a second, milliseconds that a folder's listing
  takes meanwhile, p50 and the worst; and MiB of memory that each of them takes;
- ``folder``: milliseconds until the first page of a folder of so many entries, and the worst that another request
  waited meanwhile;
- ``large``: MiB of memory that the node gained over a download and an upload of a file of so many GiB, all holes.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import os
import selectors
import socket
import ssl
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from cftpcluster.testing.processes import NodeProcess, loopbackAddresses, processorSeconds

PATH = "/api/v1/files"
HEADERS = {"Authorization": "Basic " + base64.b64encode(b"alice:secret").decode()}
CONTEXT = ssl._create_unverified_context()  # noqa: S323 - the node made its certificate itself
SLOW_BYTES = 64 * 1024


def connected(address: str) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(address, 8443, context=CONTEXT, timeout=120)


def ask(connection: http.client.HTTPSConnection, method: str, path: str) -> float:
    """Milliseconds until the whole answer is there."""
    begun = time.monotonic()
    connection.request(method, PATH + path, headers=HEADERS)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise SystemExit(f"{method} {path}: {answer.status}")
    return (time.monotonic() - begun) * 1000


def residentMiB(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def small(node: NodeProcess, pid: int, count: int) -> None:
    connection = connected(node.address)
    ask(connection, "HEAD", "/small")
    cpu, begun = processorSeconds(pid), time.monotonic()
    for _ in range(count):
        ask(connection, "HEAD", "/small")
    seconds = time.monotonic() - begun
    print(f"small: {count / seconds:.0f}/s, {(processorSeconds(pid) - cpu) * 1000 / count:.2f} ms of processor each")


def slow(node: NodeProcess, pid: int, count: int) -> None:
    before = residentMiB(pid)
    readers = selectors.DefaultSelector()
    head = "".join(f"{name}: {value}\r\n" for name, value in {"Host": node.address, **HEADERS}.items())
    for _ in range(count):
        plain = socket.create_connection((node.address, 8443))
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        reader = CONTEXT.wrap_socket(plain)
        reader.sendall(f"GET {PATH}/big HTTP/1.1\r\n{head}\r\n".encode())
        readers.register(reader, selectors.EVENT_READ)
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            begun = time.monotonic()
            for key, _ in readers.select(0):
                key.fileobj.recv(SLOW_BYTES)
            ended.wait(max(0.0, 1 - (time.monotonic() - begun)))

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(3)
    connection = connected(node.address)
    ask(connection, "GET", "/")
    times = []
    for _ in range(100):
        times.append(ask(connection, "GET", "/"))
        time.sleep(0.05)
    grown = residentMiB(pid) - before
    ended.set()
    thread.join()
    for key in list(readers.get_map().values()):
        key.fileobj.close()
    print(f"slow: {count} readers, a listing takes {statistics.median(times):.1f} ms, {max(times):.1f} at worst;")
    print(f"      {grown / count:.2f} MiB each")


def folder(node: NodeProcess, place: Path, count: int) -> None:
    (place / "huge").mkdir()
    for number in range(count):
        (place / "huge" / f"file-{number:06}").touch()
    waits: list[float] = []
    ended = threading.Event()

    def others() -> None:
        connection = connected(node.address)
        while not ended.is_set():
            waits.append(ask(connection, "HEAD", "/small"))

    thread = threading.Thread(target=others)
    thread.start()
    connection = connected(node.address)
    ask(connection, "HEAD", "/small")
    times = [ask(connection, "GET", "/huge?limit=200") for _ in range(3)]
    ended.set()
    thread.join()
    print(f"folder: {count} entries, first page in {min(times):.0f} ms; others waited {max(waits):.0f} ms at worst,")
    print(f"        {statistics.median(waits):.1f} as a rule")


def large(node: NodeProcess, pid: int, place: Path, gib: int) -> None:
    with open(place / "huge-file", "wb") as file:
        file.truncate(gib * 2**30)
    curl = ["curl", "-sSkf", "-u", "alice:secret"]
    url = f"https://{node.address}:8443{PATH}"
    for name, arguments in {
        "download": ["-o", "/dev/null", f"{url}/huge-file"],
        "upload": ["-T", str(place / "huge-file"), f"{url}/up", "-o", "/dev/null"],
    }.items():
        before, most = residentMiB(pid), 0.0
        with subprocess.Popen([*curl, *arguments]) as client:
            while client.poll() is None:
                most = max(most, residentMiB(pid))
                time.sleep(0.1)
        if client.returncode:
            raise SystemExit(f"curl ended with {client.returncode}")
        print(f"large: {gib} GiB {name}: {max(0.0, most - before):.0f} MiB more memory at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--slow", type=int, default=500)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--gib", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as temporary:
        node = NodeProcess("node-a", loopbackAddresses(1)[0], Path(temporary) / "state")
        node.start("primary")
        try:
            assert node.process is not None
            pid = node.process.pid
            permissions = ["list", "download", "upload", "overwrite", "delete"]
            mounts = [{"path": "/", "backend": "files", "folder": "alice", "permissions": permissions}]
            limits = {"sessions": 0}
            node.apply({"users": [{"name": "alice", "password": "secret", "mounts": mounts, "limits": limits}]})
            place = Path(temporary) / "state" / "files" / "alice"
            place.mkdir(parents=True, exist_ok=True)
            (place / "small").write_bytes(b"x" * 100)
            with open(place / "big", "wb") as file:
                file.truncate(2**30)
            small(node, pid, options.requests)
            if options.slow:
                slow(node, pid, options.slow)
            if options.entries:
                folder(node, place, options.entries)
            if options.gib:
                large(node, pid, place, options.gib)
        finally:
            node.kill()


if __name__ == "__main__":
    main()
