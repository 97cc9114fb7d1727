"""A real HAProxy with the configuration that ``cftpctl haproxy`` wrote, for tests and benchmarks. Everything blocks."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attrs import define, field

from .processes import ClusterProcesses, NodeProcess, isListening, waitFor

LISTENERS = ("ftp", "ftps", "sftp", "https")
"""Of the default document, for users."""


def haproxy() -> str:
    """The program; "" where it is not installed."""
    return shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin") or ""


def complaint(configuration: Path) -> str:
    """What ``haproxy -c`` has against a configuration, warnings included; "" where it is valid."""
    done = subprocess.run([haproxy(), "-c", "-q", "-f", str(configuration)], capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
    return said or (f"exit code {done.returncode}" if done.returncode else "")


def behindBalancer(cluster: ClusterProcesses, source: str) -> dict[str, Any]:
    """What to apply so that the nodes believe the balancer at ``source``: listeners, nodes with passive ports of their
    own, and storage that all share."""
    exported = cluster.primary.ctl("export")
    believing = {"proxyProtocol": "optional", "trustedProxies": [source]}
    listeners = [{**each, **believing} for each in exported["listeners"] if each["name"] in LISTENERS]
    nodes = []
    for number, node in enumerate(exported["nodes"]):
        ports = {"passivePorts": f"{50000 + 100 * number}-{50099 + 100 * number}"}
        nodes.append({**node, "listeners": {"ftp": ports, "ftps": ports}})
    share = cluster.folder / "share"
    share.mkdir()
    backend = {"name": "share", "kind": "local", "root": str(share), "shared": True}
    return {"listeners": listeners, "nodes": nodes, "backends": [backend]}


@define(eq=False)
class HAProxyProcess:
    """A context manager that ends its own process."""

    configuration: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def logFile(self) -> Path:
        return self.configuration.with_suffix(".log")

    def nodesOf(self, source: str) -> set[str]:
        """The nodes that a client was sent to, of connections that have ended."""
        pattern = rf"{re.escape(source)}:\d+ \[[^]]*\] (?:{'|'.join(LISTENERS)}) \w+/([\w.:-]+) "
        return set(re.findall(pattern, self.logFile.read_text("utf-8", "replace")))

    @classmethod
    def of(cls, node: NodeProcess, *options: str) -> Self:
        """As ``cftpctl haproxy`` of a node writes it."""
        configuration = node.state.parent / "haproxy.cfg"
        configuration.write_text(node.ctl("haproxy", *options)["configuration"])
        return cls(configuration)

    def __enter__(self) -> Self:
        with open(self.logFile, "wb") as log:
            self._process = subprocess.Popen(
                [haproxy(), "-db", "-f", str(self.configuration)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def waitReady(self, address: str, *ports: int) -> Self:
        """Wait until it listens; fails at once when its process has ended."""
        assert self._process is not None

        def listens() -> bool:
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(f"haproxy ended:\n{self.logFile.read_text()}")
            return all(isListening(address, port) for port in ports)

        waitFor("haproxy listening", listens)
        return self
