"""One real node for the clients of SFTP, users of it, and how programs are told where it is. Everything blocks."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import ClusterProcesses, NodeProcess, isListening, waitFor

from ..sharedclusters import ALONE
from .clients import TRANSFER_SECONDS, Client, isLocked, sha256

PERMISSIONS = ("list", "download", "upload", "overwrite", "delete", "rename", "mkdir", "attributes", "links")

SSH_OPTIONS = {
    "StrictHostKeyChecking": "no",
    "UserKnownHostsFile": "/dev/null",
    "IdentitiesOnly": "yes",
    "PreferredAuthentications": "publickey",
    "LogLevel": "ERROR",
}

LEGACY_PORT = 2223
"""Of a listener for clients that have no MAC of the kind encrypt-then-MAC, and no cipher that needs none."""

ODD_NAMES = (
    "two words",
    " blanks around ",
    "grün",
    "日本語",
    "it's",
    'a "quoted" name',
    "semi;colon & more",
    "[1]*?{a,b}",
    "$HOME `id`",
    "100%",
    "~tilde",
    "#hash",
    "back\\slash",
    "e\u0301",
)
"""Names that programs and shells stumble upon."""


class Users:
    """Those that the tests of a process share, on the node that they share.

    :ivar _prepared: the node that knows them.
    """

    def __init__(self) -> None:
        self._prepared: NodeProcess | None = None

    def on(self, cluster: ClusterProcesses) -> Mapping[str, Client]:
        """By name: alice and bob share all files, and so does carol, who writes in place."""
        node = cluster.primary
        users = {name: Client(f"ssh-{name}", "right horse", cluster.folder) for name in ("alice", "bob", "carol")}
        if self._prepared is not node:
            mount = {"path": "/", "backend": "files", "folder": "ssh", "permissions": list(PERMISSIONS)}
            written = [{**mount, "atomicUploads": name != "carol"} for name in users]
            pairs = zip(users.values(), written, strict=True)
            legacy = {"name": "legacy", "kind": "sftp", "port": LEGACY_PORT, "legacyAlgorithms": True}
            node.apply({"users": [user.document(mounts=[mount]) for user, mount in pairs], "listeners": [legacy]})
            waitFor("all clients are served", lambda: isListening(node.address, LEGACY_PORT))
            storage(node).mkdir(parents=True)
            self._prepared = node
        return users


USERS = Users()


def storage(node: NodeProcess) -> Path:
    """Where the files of those users lie."""
    return node.state / "files" / "ssh"


class ClientTestCase(SynchronousTestCase):
    """Has a node, and a folder of its own there.

    :cvar userName: whose clients are run.
    :ivar remote: that folder, as users see it.
    :ivar stored: that folder, as it lies on the node's disk.
    :ivar local: a folder of this side.
    """

    userName = "alice"
    node: NodeProcess

    def setUp(self) -> None:
        cluster = ALONE.get()
        self.node = cluster.primary
        users = USERS.on(cluster)
        self.user, self.other = users[self.userName], users["bob"]
        own = self.id().rpartition("integration.")[2]
        self.remote = f"/{own}"
        self.stored = storage(self.node) / own
        self.stored.mkdir()
        self.local = cluster.folder / f"local.{own}"
        self.local.mkdir()

    def run_(
        self,
        *command: str | Path,
        script: str = "",
        ends: int = 0,
        seconds: float = TRANSFER_SECONDS,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a client in :attr:`local`, and insist on how it ends."""
        done = subprocess.run(
            [str(word) for word in command],
            input=script.encode(),
            capture_output=True,
            timeout=seconds,
            check=False,
            cwd=self.local,
            env={**os.environ, **(environment or {})},
        )
        self.assertEqual(done.returncode, ends, (command, done.stdout[-2000:], done.stderr[-2000:]))
        return done

    def openSSH(
        self,
        program: str,
        *arguments: str | Path,
        script: str = "",
        ends: int = 0,
        seconds: float = TRANSFER_SECONDS,
        **options: str,
    ) -> str:
        """Run one of OpenSSH's programs; what it said."""
        done = self.run_(program, *self.sshOptions(**options), *arguments, script=script, ends=ends, seconds=seconds)
        return (done.stdout + done.stderr).decode()

    def sshOptions(self, **options: str) -> list[str]:
        """What OpenSSH's programs are told on the command line."""
        chosen = {**SSH_OPTIONS, "IdentityFile": str(self.user.key), "Port": "2222", **options}
        return ["-F", "/dev/null", *[f"-o{name}={value}" for name, value in chosen.items()]]

    @property
    def place(self) -> str:
        """The folder of this test, as OpenSSH's programs take it."""
        return f"{self.user.name}@{self.node.address}:{self.remote}"

    def sftp(self, *commands: str, ends: int = 0, seconds: float = TRANSFER_SECONDS, **options: str) -> str:
        """Run a batch of ``sftp``, begun in :attr:`remote`; what it said."""
        script = "\n".join(commands) + "\n"
        return self.openSSH("sftp", "-b-", self.place, script=script, ends=ends, seconds=seconds, **options)

    def begin(self, *command: str | Path) -> subprocess.Popen[bytes]:
        """Start a client that is killed at the end at the latest."""
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.local,
            start_new_session=True,
        )

        def ended() -> None:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=TRANSFER_SECONDS)

        self.addCleanup(ended)
        return process

    def nobodyWrites(self) -> None:
        """Wait until the server is done with sessions that were broken."""
        waitFor("nobody writes", lambda: not any(map(isLocked, self.stored.rglob(".cftpcluster-part-*"))))

    def leftovers(self) -> list[str]:
        """What of uploads is left on the disk."""
        return sorted(path.name for path in self.stored.rglob(".cftpcluster-*"))


def makeTree(root: Path) -> Path:
    """Folders, an empty one among them, files of several sizes and odd names."""
    for folder in ("", "deep/er/and er", "empty"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(ODD_NAMES):
        (root / name).write_bytes(os.urandom(number * 1000))
    (root / "deep" / "er" / "large").write_bytes(os.urandom(1_500_001))
    (root / "deep" / "er" / "and er" / "program").write_bytes(b"#!/bin/sh\n")
    (root / "deep" / "er" / "and er" / "program").chmod(0o750)
    for number, path in enumerate(sorted(root.rglob("*"), reverse=True)):
        os.utime(path, (1_000_000_000 + number, 1_000_000_000 + number))
    return root


def tree(root: Path, *, times: bool = False, modes: bool = False) -> dict[str, Any]:
    """What lies beneath a folder, to be compared: kinds and contents, and times and modes of files if they count."""
    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        if path.is_symlink():
            content = f"-> {os.readlink(path)}"
        else:
            content = "folder" if path.is_dir() else sha256(path)
        isFile = stat.S_ISREG(status.st_mode)
        found[str(path.relative_to(root))] = (
            content,
            int(status.st_mtime) if times and isFile else None,
            oct(stat.S_IMODE(status.st_mode)) if modes and isFile else None,
        )
    return found
