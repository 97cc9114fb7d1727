"""Real clients, run as their users run them: OpenSSH's sftp, curl and lftp. Everything blocks."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field

from cftpcluster.testing.processes import NodeProcess

C = TypeVar("C")

TRANSFER_SECONDS = 120


def needs(*programs: str) -> Callable[[C], C]:
    """Mark a test class or method as skipped, by name, where a program it needs is missing."""

    def mark(tested: C) -> C:
        missing = [program for program in programs if shutil.which(program) is None]
        if missing:
            tested.skip = f"not installed: {', '.join(missing)}"  # type: ignore[attr-defined]
        return tested

    return mark


def needsPackage(name: str) -> Callable[[C], C]:
    """Mark a test class as skipped, by name, where a Python package it needs is missing."""

    def mark(tested: C) -> C:
        if importlib.util.find_spec(name) is None:
            tested.skip = f"not installed: {name}"  # type: ignore[attr-defined]
        return tested

    return mark


def sha256(path: Path) -> str:
    """The hash of a file's contents, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def randomFile(path: Path, size: int) -> Path:
    """Make a file of random bytes."""
    with open(path, "wb") as file:
        file.writelines(os.urandom(min(1 << 20, size - start)) for start in range(0, size, 1 << 20))
    return path


def isLocked(path: Path) -> bool:
    """Whether a writer has this file."""
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@define(eq=False)
class Client:
    """One user's clients.

    :ivar folder: where keys and batch files go.
    """

    name: str
    password: str
    folder: Path
    key: Path = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.key = self.folder / f"{self.name}.key"
        if not self.key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", self.key], check=True)

    @property
    def publicKey(self) -> str:
        return self.key.with_suffix(".key.pub").read_text().strip()

    def document(self, **more: Any) -> dict[str, Any]:
        """This user, as ``cftpctl apply`` takes it."""
        return {"name": self.name, "password": self.password, "publicKeys": [self.publicKey], **more}

    def sftp(
        self, node: NodeProcess, *commands: str, options: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a batch of OpenSSH's ``sftp``."""
        sshOptions = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "IdentitiesOnly": "yes",
            "PreferredAuthentications": "publickey",
            "LogLevel": "ERROR",
        }
        return subprocess.run(
            ["sftp", "-q", "-F", "/dev/null", "-b", "-", "-i", str(self.key), "-P", "2222", *options]
            + [f"-o{name}={value}" for name, value in sshOptions.items()]
            + [f"{self.name}@{node.address}"],
            input="\n".join(commands).encode() + b"\n",
            capture_output=True,
            timeout=TRANSFER_SECONDS,
            check=False,
        )

    def curl(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run ``curl`` with this user's password, which it reads from a file."""
        configuration = self.folder / f"{self.name}.curl"
        text = f'user = "{self.name}:{self.password}"\n'
        if not configuration.exists() or configuration.read_text() != text:
            # Others may be reading it already.
            configuration.write_text(text)
        return subprocess.run(
            ["curl", "-sSk", "--fail", "-q", "-K", str(configuration), "--max-time", str(TRANSFER_SECONDS), *arguments],
            capture_output=True,
            timeout=TRANSFER_SECONDS + 10,
            check=False,
        )

    def ftp(self, node: NodeProcess, path: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """``curl`` over FTP with explicit TLS."""
        return self.curl("--ssl-reqd", *arguments, f"ftp://{node.address}:2121/{path}")

    def https(self, node: NodeProcess, path: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """``curl`` on the file API."""
        return self.curl(*arguments, f"https://{node.address}:8443/api/v1/files/{path}")

    def lftp(self, node: NodeProcess, *commands: str) -> subprocess.CompletedProcess[bytes]:
        """Run ``lftp`` over FTP with explicit TLS."""
        script = [
            "set ssl:verify-certificate no",
            "set ftp:ssl-force true",
            "set ftp:ssl-protect-data true",
            "set net:max-retries 1",
            "set cmd:fail-exit true",
            f"open -p 2121 -u {self.name},{self.password} {node.address}",
            *commands,
        ]
        return subprocess.run(
            ["lftp", "-c", "; ".join(script)],
            capture_output=True,
            timeout=TRANSFER_SECONDS,
            check=False,
            cwd=self.folder,
        )

    def upload(self, protocol: str, node: NodeProcess, local: Path, remote: str) -> subprocess.CompletedProcess[bytes]:
        """Send one file by ``sftp``, ``ftp`` or ``https``."""
        if protocol == "sftp":
            return self.sftp(node, f"put {local} /{remote}")
        return getattr(self, protocol)(node, remote, "-T", str(local))  # type: ignore[no-any-return]

    def download(
        self, protocol: str, node: NodeProcess, remote: str, local: Path
    ) -> subprocess.CompletedProcess[bytes]:
        """Fetch one file by ``sftp``, ``ftp`` or ``https``."""
        if protocol == "sftp":
            return self.sftp(node, f"get /{remote} {local}")
        return getattr(self, protocol)(node, remote, "-o", str(local))  # type: ignore[no-any-return]
