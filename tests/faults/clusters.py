"""Clusters to do harm to: nodes on hosts of their own, and what is measured of a process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import PATIENCE_SECONDS, ClusterProcesses, NodeProcess, processorSeconds
from cftpcluster.testing.processes import waitFor as waitForSoon

from ..sharedclusters import Shared, whole
from .network import Host, Network
from .scale import within

NAMES = ("node-a", "node-b", "node-c")
SHIFTED = Path(__file__).with_name("shifted")
PASSWORD = "correct horse"
USER = "alice"


T = TypeVar("T")


def waitFor(what: str, condition: Callable[[], T | None], seconds: float = PATIENCE_SECONDS) -> T:
    """As for other tests, but asking less often: whoever asks takes time from the nodes."""
    return waitForSoon(what, condition, seconds, pauseSeconds=0.15)


def user(**more: Any) -> dict[str, Any]:
    """The user whom every load logs in as."""
    return {
        "name": USER,
        "password": PASSWORD,
        "enabled": True,
        "mounts": [{"path": "/", "backend": "files", "folder": USER}],
        **more,
    }


@define(eq=False)
class HostNode(NodeProcess):
    """A node on a host of its own."""

    network: Network = field(kw_only=True)
    host: Host = field(kw_only=True)

    def health(self, path: str) -> tuple[int, bytes]:
        with self.network.inside():
            return NodeProcess.health(self, path)


@define(eq=False)
class HostCluster(ClusterProcesses):
    """A cluster whose nodes are on hosts of their own."""

    network: Network = field(init=False)
    _stack: ExitStack = field(factory=ExitStack, init=False)

    def __enter__(self) -> Self:
        ClusterProcesses.__enter__(self)
        self.network = self._stack.enter_context(Network())
        for name in list(self.nodes):
            self.addNode(name)
        return self

    def __exit__(self, *error: Any) -> None:  # noqa: PYI036 - handed on
        ClusterProcesses.__exit__(self, *error)
        self._stack.close()

    def addNode(self, name: str) -> HostNode:
        host = self.network.newHost()
        node = HostNode(name, host.address, self.folder / name, prefix=host.prefix, network=self.network, host=host)
        self.nodes[name] = node
        return node

    def host(self, node: NodeProcess) -> Host:
        assert isinstance(node, HostNode)
        return node.host


@define(eq=False)
class ClockCluster(ClusterProcesses):
    """A cluster whose nodes have clocks that can be set."""

    def __enter__(self) -> Self:
        ClusterProcesses.__enter__(self)
        for node in self.nodes.values():
            node.environment = {"PYTHONPATH": str(SHIFTED), "CFTPCLUSTER_CLOCK": str(clockOf(node))}
        return self


def clockOf(node: NodeProcess) -> Path:
    return node.state.with_name(node.name + ".clock")


def setClock(node: NodeProcess, seconds: float) -> None:
    """Set a node's clock to so many seconds after the true time."""
    new = clockOf(node).with_suffix(".new")
    new.write_text(str(seconds))
    new.rename(clockOf(node))


def shared(make: Callable[[], ClusterProcesses]) -> Shared:
    """A shared cluster that the user of the loads can log in to."""
    return Shared(make, lambda cluster: cluster.primary.apply({"users": [user()]}))


PLAIN = shared(partial(ClockCluster, NAMES))
"""What most tests share."""

HOSTS = shared(partial(HostCluster, NAMES))


class FaultCase(SynchronousTestCase):
    """A test that harms the nodes of a shared cluster, and leaves them healed.

    :ivar nodes: the primary, whichever it is, and the others.
    """

    shared = PLAIN

    def setUp(self) -> None:
        self.cluster = self.shared.get()
        self.addCleanup(self.heal)
        self.primary = self.cluster.nodes[self.cluster.primary.status()["primary"]]
        self.secondaries = [node for node in self.cluster.nodes.values() if node is not self.primary]
        self.nodes = [self.primary, *self.secondaries]

    def heal(self) -> None:
        """Bring everything back, or let go of the cluster."""
        if isinstance(self.cluster, HostCluster):
            self.cluster.network.heal()
        try:
            for node in self.nodes:
                node.signal(signal.SIGCONT)
                if node.process is None or node.process.poll() is not None:
                    node.start("primary" if node is self.primary else "secondary")
            whole(self.cluster)
        except (AssertionError, OSError):
            self.shared.end()

    def equalWithin(self, seconds: float) -> float:
        """All nodes have the same epoch, revision and hash, :func:`within` so many seconds; answers with how many."""
        begun = time.monotonic()
        waitFor("equal heads", lambda: len({headOf(node) for node in self.nodes}) == 1, within(seconds))
        return time.monotonic() - begun


def addUser(node: NodeProcess, name: str) -> None:
    """Have a change made; it is acknowledged when this returns."""
    node.ask("PUT", f"users/{name}", {})


def headOf(node: NodeProcess) -> tuple[int, int, str]:
    """Epoch, revision and chain hash of a node."""
    status = node.status()
    return status["epoch"], status["revision"], status["chainHash"]


def namesOf(node: NodeProcess, prefix: str) -> set[str]:
    """The users whose names begin so."""
    return {one["name"] for one in node.export().get("users", []) if one["name"].startswith(prefix)}


def stateOf(asked: NodeProcess, name: str) -> str:
    """What ``asked`` shows as the state of a node."""
    nodes = asked.status()["nodes"]
    return next((str(node["state"]) for node in nodes if node["name"] == name), "")


# --- what a process uses


def _identifier(node: NodeProcess) -> int:
    assert node.process is not None
    return node.process.pid


def descriptors(node: NodeProcess) -> int:
    """How many descriptors it has open."""
    return len(os.listdir(f"/proc/{_identifier(node)}/fd"))


def cpuSeconds(node: NodeProcess) -> float:
    """The time that it has used of a processor."""
    return processorSeconds(_identifier(node))


def residentBytes(node: NodeProcess) -> int:
    """The memory that it holds."""
    pages = int(Path(f"/proc/{_identifier(node)}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
