"""Servers that the benchmarks measure side by side: one node, and the peers that are installed here."""

from __future__ import annotations

import getpass
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field

from cftpcluster.testing.processes import NodeProcess, isListening, loopbackAddresses, waitFor

TICKS = os.sysconf("SC_CLK_TCK")

ASYNCSSH_SERVER = """
import asyncio, sys
import asyncssh

async def serve(host, port, hostKey, userKey):
    await asyncssh.listen(host, port, server_host_keys=[hostKey], authorized_client_keys=userKey, sftp_factory=True)
    await asyncio.Event().wait()

asyncio.run(serve(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
"""


@define(eq=False)
class Server:
    """One of them.

    :ivar process: the one that listens.
    :ivar ports: by protocol.
    :ivar folder: where its user finds the files, as clients name it.
    :ivar place: the same on this machine's disk.
    """

    name: str
    process: subprocess.Popen[bytes]
    host: str
    ports: dict[str, int]
    user: str
    folder: str
    place: Path
    password: str = field(default="", repr=False)

    def cpuSeconds(self) -> float:
        """Spent so far by its processes, those that ended among them."""
        return sum(_ticks(pid) for pid in _tree(self.process.pid)) / TICKS

    def memoryBytes(self) -> int:
        """Of its processes, shared pages divided among them."""
        return sum(_proportional(pid) for pid in _tree(self.process.pid))


def _tree(pid: int) -> list[int]:
    try:
        children = [
            int(each)
            for thread in os.listdir(f"/proc/{pid}/task")
            for each in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
        ]
    except OSError:
        return []
    return [pid, *(each for child in children for each in _tree(child))]


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15]))


def _proportional(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


@define(eq=False)
class Bench:
    """A folder for one run, with keys, and the servers on it.

    :ivar key: the private key of the user, on every server.
    """

    folder: Path
    key: Path
    servers: list[Server] = field(factory=list)

    def share(self, file: Path) -> None:
        """Let clients find a file on every server."""
        for server in self.servers:
            if not (server.place / file.name).exists():
                shutil.copy(file, server.place)


@contextmanager
def bench(where: str, only: list[str]) -> Iterator[Bench]:
    """Start the servers whose names are in ``only``, or all of them, and end them."""
    folder = Path(tempfile.mkdtemp(prefix="cftpcluster-bench-", dir=where))
    running: list[subprocess.Popen[bytes]] = []
    try:
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        made = Bench(folder, folder / "user")
        for name, start in STARTS.items():
            server = start(folder) if not only or name in only else None
            if server is not None:
                running.append(server.process)
                made.servers.append(server)
        yield made
    finally:
        for process in running:
            process.terminate()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _cftpcluster(folder: Path) -> Server:
    node = NodeProcess("node-a", loopbackAddresses(1)[0], folder / "node")
    node.start("primary")
    permissions = ["list", "download", "upload", "overwrite", "delete", "rename", "mkdir", "attributes"]
    mount = {"path": "/", "backend": "files", "folder": "bench", "permissions": permissions}
    user: dict[str, Any] = {
        "name": "bench",
        "password": "bench-password",
        "publicKeys": [(folder / "user.pub").read_text().strip()],
        "mounts": [mount],
    }
    node.apply({"users": [user]})
    place = folder / "node" / "files" / "bench"
    place.mkdir(parents=True)
    assert node.process is not None
    return Server("cftpcluster", node.process, node.address, {"sftp": 2222}, "bench", "/", place, "bench-password")


def _openssh(folder: Path) -> Server | None:
    program = shutil.which("sshd", path="/usr/sbin:" + os.environ["PATH"])
    if program is None:
        return None
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    address, place = loopbackAddresses(1)[0], folder / "openssh"
    place.mkdir()
    (folder / "sshd_config").write_text(
        f"Port 2222\nListenAddress {address}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
        "StrictModes no\nUsePAM no\nPidFile none\nMaxStartups 100\nSubsystem sftp internal-sftp\n"
    )
    return _started("openssh", [program, "-D", "-f", f"{folder}/sshd_config"], address, place)


def _asyncssh(folder: Path) -> Server | None:
    if importlib.util.find_spec("asyncssh") is None:
        return None
    address, place = loopbackAddresses(1)[0], folder / "asyncssh"
    place.mkdir()
    (folder / "server.py").write_text(ASYNCSSH_SERVER)
    command = [sys.executable, f"{folder}/server.py", address, "2222", f"{folder}/host", f"{folder}/user.pub"]
    return _started("asyncssh", command, address, place)


def _started(name: str, command: list[str], address: str, place: Path) -> Server:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    waitFor(f"{name} listens", lambda: isListening(address, 2222))
    return Server(name, process, address, {"sftp": 2222}, getpass.getuser(), str(place), place)


STARTS = {"cftpcluster": _cftpcluster, "openssh": _openssh, "asyncssh": _asyncssh}


def settled(server: Server) -> float:
    """CPU seconds once those of the last client are counted: a process that ends is counted by its parent."""
    before = -1.0
    while (now := server.cpuSeconds()) != before:
        before = now
        time.sleep(0.25)
    return now
