"""Small disks that fill up, and system calls that fail in a running process. Needs root, or strace."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

from attrs import define

from cftpcluster.testing.processes import ClusterProcesses, NodeProcess, waitFor

C = TypeVar("C")


def _missing() -> str:
    if shutil.which("strace") is None:
        return "not installed: strace"
    if os.geteuid() != 0:
        return "mounting needs root"
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(["mount", "-t", "tmpfs", "none", folder], capture_output=True, text=True, check=False)
        if tried.returncode:
            return f"nothing can be mounted here: {tried.stderr.strip()}"
        subprocess.run(["umount", folder], check=True)
    return ""


MISSING = _missing()


def needsTracing(tested: C) -> C:
    """Mark a test class or method as skipped, by name, where no process can be traced."""
    if shutil.which("strace") is None:
        tested.skip = "not installed: strace"  # type: ignore[attr-defined]
    return tested


def needsDisks(tested: C) -> C:
    """Mark a test class or method as skipped, by name, where nothing can be mounted or traced."""
    if MISSING:
        tested.skip = MISSING  # type: ignore[attr-defined]
    return tested


@define(eq=False)
class DiskCluster(ClusterProcesses):
    """A cluster each of whose state folders is a disk of its own."""

    megabytes: int = 32

    def __enter__(self) -> Self:
        ClusterProcesses.__enter__(self)
        for node in self.nodes.values():
            node.state.mkdir(mode=0o700)
            size = f"size={self.megabytes}m,mode=700"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "cftpcluster-test", node.state], check=True)
        return self

    def __exit__(self, *error: object) -> None:
        for node in self.nodes.values():
            if node.process is not None and node.process.poll() is None:
                node.kill()
            # A client's program may still look at a file there.
            subprocess.run(["umount", "--lazy", node.state], check=False)
        ClusterProcesses.__exit__(self, None, None, None)


def filler(node: NodeProcess) -> Path:
    return node.state / "filler"


def fill(node: NodeProcess) -> None:
    """Leave no room in a node's state folder."""
    with open(filler(node), "ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def empty(node: NodeProcess) -> None:
    """Give the room back."""
    filler(node).unlink(missing_ok=True)


def remount(node: NodeProcess, how: str) -> None:
    """Make a node's state folder ``ro`` or ``rw``; the node must not run."""
    subprocess.run(["mount", "-o", f"remount,{how}", node.state], check=True)


@contextmanager
def failing(node: NodeProcess, calls: str, error: str) -> Iterator[None]:
    """Inside, these system calls of a running node fail so."""
    assert node.process is not None
    inject = ["-e", f"trace={calls}", "-e", f"inject={calls}:error={error}"]
    with tempfile.NamedTemporaryFile("w") as said:
        command = ["strace", "-f", "-o", "/dev/null", *inject, "-p", str(node.process.pid)]
        tracer = subprocess.Popen(command, stderr=said)
        try:
            waitFor("strace is attached", lambda: "attached" in Path(said.name).read_text(), 20)
            yield
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(20)
