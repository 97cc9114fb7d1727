"""Servers that the benchmarks measure side by side: one node, and the peers that are installed here."""

from __future__ import annotations

import getpass
import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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


FTP_PORT = 2121

VSFTPD_CONFIGURATION = """
listen=YES
listen_address={address}
listen_port={port}
background=NO
anonymous_enable=NO
local_enable=YES
write_enable=YES
check_shell=NO
pam_service_name=vsftpd
use_sendfile=YES
ssl_enable=YES
force_local_data_ssl=NO
force_local_logins_ssl=NO
require_ssl_reuse=NO
ssl_ciphers=HIGH
rsa_cert_file={folder}/certificate.pem
rsa_private_key_file={folder}/key.pem
"""

PYFTPDLIB_SERVER = """
import sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import TLS_FTPHandler
from pyftpdlib.servers import FTPServer

host, port, place, password, TLS_FTPHandler.certfile, TLS_FTPHandler.keyfile = sys.argv[1:]
TLS_FTPHandler.authorizer = DummyAuthorizer()
TLS_FTPHandler.authorizer.add_user("bench", password, place, perm="elradfmwMT")
FTPServer((host, int(port)), TLS_FTPHandler).serve_forever()
"""


@define(eq=False)
class Server:
    """One of them.

    :ivar process: the one that listens.
    :ivar ports: by protocol: ``sftp``, ``ftp``, ``ftps`` (FTP where the client asks for TLS).
    :ivar folder: where its user finds the files, as clients name it.
    :ivar place: the same on this machine's disk.
    :ivar group: the control group of its processes, where there is one: it counts processes too that nobody waited for.
    """

    name: str
    process: subprocess.Popen[bytes]
    host: str
    ports: dict[str, int]
    user: str
    folder: str
    place: Path
    password: str = field(default="", repr=False)
    group: Path | None = field(default=None, repr=False)

    def cpuSeconds(self) -> float:
        """Spent so far by its processes, those that ended among them."""
        if self.group is not None:
            return _usedBy(self.group)
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
    folder = Path(tempfile.mkdtemp(prefix="cftpcluster-bench-", dir=where)).absolute()
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        # vsftpd's user has to pass.
        folder.chmod(0o755)
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        made = Bench(folder, folder / "user")
        for name, start in STARTS.items():
            server = start(folder, ending) if not only or name in only else None
            if server is not None:
                server.group = _group(server.process.pid, ending)
                ending.callback(_end, server.process)
                made.servers.append(server)
        yield made


def _group(pid: int, ending: ExitStack) -> Path | None:
    """A control group for a process and those that it starts; ``None`` where this user may not make any."""
    for hierarchy in ("/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup"):
        group = Path(f"{hierarchy}/bench-{pid}")
        try:
            group.mkdir()
        except OSError:
            continue
        ending.callback(group.rmdir)
        (group / "cgroup.procs").write_text(str(pid))
        return group
    return None


def _usedBy(group: Path) -> float:
    first = group / "cpuacct.usage"
    if first.exists():
        return int(first.read_text()) / 1e9
    second = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(second["usage_usec"]) / 1e6


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()
    # Its own children may take a moment longer.
    time.sleep(0.5)


def _cftpcluster(folder: Path, ending: ExitStack) -> Server:
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
    listener = {"name": "ftp", "kind": "ftp", "port": FTP_PORT, "tls": "optional"}
    node.apply({"users": [user], "listeners": [listener]})
    place = folder / "node" / "files" / "bench"
    place.mkdir(parents=True)
    assert node.process is not None
    ports = {"sftp": 2222, "ftp": FTP_PORT, "ftps": FTP_PORT}
    return Server("cftpcluster", node.process, node.address, ports, "bench", "/", place, "bench-password")


def _openssh(folder: Path, ending: ExitStack) -> Server | None:
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
    process = _started("openssh", [program, "-D", "-f", f"{folder}/sshd_config"], address, 2222)
    return Server("openssh", process, address, {"sftp": 2222}, getpass.getuser(), str(place), place)


def _asyncssh(folder: Path, ending: ExitStack) -> Server | None:
    if importlib.util.find_spec("asyncssh") is None:
        return None
    address, place = loopbackAddresses(1)[0], folder / "asyncssh"
    place.mkdir()
    (folder / "server.py").write_text(ASYNCSSH_SERVER)
    command = [sys.executable, f"{folder}/server.py", address, "2222", f"{folder}/host", f"{folder}/user.pub"]
    process = _started("asyncssh", command, address, 2222)
    return Server("asyncssh", process, address, {"sftp": 2222}, getpass.getuser(), str(place), place)


def _vsftpd(folder: Path, ending: ExitStack) -> Server | None:
    """Logs in accounts of the system alone: one is made, and removed in the end."""
    program = shutil.which("vsftpd", path="/usr/sbin:" + os.environ["PATH"])
    if program is None or os.getuid() != 0:
        return None
    address, place = loopbackAddresses(1)[0], folder / "vsftpd"
    place.mkdir()
    user, password = f"bench{os.getpid()}", secrets.token_urlsafe()
    subprocess.run(["useradd", "-M", "-d", place, "-s", "/bin/sh", user], check=True)
    ending.callback(subprocess.run, ["userdel", user], check=True)
    subprocess.run(["chpasswd"], input=f"{user}:{password}".encode(), check=True)
    shutil.chown(place, user)
    _certificate(folder)
    configuration = VSFTPD_CONFIGURATION.format(address=address, port=FTP_PORT, folder=folder)
    (folder / "vsftpd.conf").write_text(configuration.lstrip())
    process = _started("vsftpd", [program, f"{folder}/vsftpd.conf"], address, FTP_PORT)
    return Server("vsftpd", process, address, {"ftp": FTP_PORT, "ftps": FTP_PORT}, user, str(place), place, password)


def _pyftpdlib(folder: Path, ending: ExitStack) -> Server | None:
    if importlib.util.find_spec("pyftpdlib") is None:
        return None
    address, place = loopbackAddresses(1)[0], folder / "pyftpdlib"
    place.mkdir()
    _certificate(folder)
    (folder / "ftpserver.py").write_text(PYFTPDLIB_SERVER)
    command = [sys.executable, f"{folder}/ftpserver.py", address, str(FTP_PORT), str(place), "bench-password"]
    process = _started("pyftpdlib", [*command, f"{folder}/certificate.pem", f"{folder}/key.pem"], address, FTP_PORT)
    ports = {"ftp": FTP_PORT, "ftps": FTP_PORT}
    return Server("pyftpdlib", process, address, ports, "bench", "/", place, "bench-password")


def _certificate(folder: Path) -> None:
    """Of the kind that a cluster makes for itself."""
    if not (folder / "certificate.pem").exists():
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        files = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/certificate.pem"]
        subprocess.run([*command, *files, "-subj", "/CN=localhost"], check=True, stderr=subprocess.DEVNULL)


def _started(name: str, command: list[str], address: str, port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    waitFor(f"{name} listens", lambda: isListening(address, port))
    return process


STARTS = {
    "cftpcluster": _cftpcluster,
    "openssh": _openssh,
    "asyncssh": _asyncssh,
    "vsftpd": _vsftpd,
    "pyftpdlib": _pyftpdlib,
}


def settled(server: Server) -> float:
    """CPU seconds once those of the last client are counted: a process that ends is counted by its parent."""
    before = -1.0
    while (now := server.cpuSeconds()) - before > 1 / TICKS:
        before = now
        time.sleep(0.25)
    return now
