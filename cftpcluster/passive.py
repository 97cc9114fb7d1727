"""Which passive FTP ports each node uses, and which it should use: behind one address a port has to say whose it is.

Pure: knows neither balancers nor sockets.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from attrs import frozen

from .config.codec import structure
from .config.document import Document, Listener, Node
from .errors import Invalid
from .servers.ftp import FTPOptions
from .services import effectiveListener

LEAST_PASSIVE_PORTS = 100
"""Of a node's passive ports as they are proposed, where there is room."""


@frozen(order=True)
class Ports:
    """Port numbers from ``first`` to ``last``."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}" if self.last > self.first else str(self.first)

    def overlaps(self, other: Ports) -> bool:
        return self.first <= other.last and other.first <= self.last


def joined(ports: Iterable[Ports]) -> list[Ports]:
    """The same ports without overlaps, in order."""
    found: list[Ports] = []
    for each in sorted(ports):
        if found and each.first <= found[-1].last + 1:
            found[-1] = Ports(found[-1].first, max(found[-1].last, each.last))
        else:
            found.append(each)
    return found


def optionsOf(listener: Listener) -> FTPOptions:
    """A listener's options; their defaults where this version cannot read them."""
    try:
        return structure(FTPOptions, listener.options)
    except Invalid:
        return FTPOptions()


def _passive(listener: Listener) -> list[Ports]:
    ports = optionsOf(listener).ports
    return [Ports(ports[0], ports[-1])] if ports else []


def nodesInOrder(document: Document) -> list[Node]:
    """As they came to the cluster."""
    return sorted(document.nodes.values(), key=lambda node: (node.number, node.name))


def ftpListeners(document: Document) -> list[Listener]:
    """Those with data connections, by name."""
    return [listener for _, listener in sorted(document.listeners.items()) if listener.kind == "ftp"]


def segment(document: Document, node: Node) -> list[Ports]:
    """The passive ports that a node uses."""
    served = [effectiveListener(each, document, node.name) for each in ftpListeners(document)]
    return joined(ports for each in served for ports in _passive(each))


def overlapping(document: Document) -> bool:
    """Whether two nodes use the same passive ports, so that a port does not say whose it is."""
    segments = [segment(document, node) for node in nodesInOrder(document)]
    return any(one.overlaps(other) for a, b in combinations(segments, 2) for one in a for other in b)


def proposedSegments(document: Document) -> dict[str, Ports]:
    """Passive ports for each node that overlap with no other node's, out of those that are used now where they are
    enough."""
    nodes = nodesInOrder(document)
    used = [ports for listener in ftpListeners(document) for ports in _passive(listener)]
    if not nodes or not used:
        return {}
    widest = max(used, key=lambda ports: (ports.last - ports.first, -ports.first))
    each = max((widest.last - widest.first + 1) // len(nodes), LEAST_PASSIVE_PORTS)
    each -= each % LEAST_PASSIVE_PORTS
    first = max(1024, min(widest.first, 65536 - each * len(nodes)))
    each = min(each, (65536 - first) // len(nodes))
    return {node.name: Ports(first + each * index, first + each * (index + 1) - 1) for index, node in enumerate(nodes)}


def segmentCommands(document: Document) -> list[str]:
    """The commands that give each node passive ports of its own."""
    listeners = ftpListeners(document)
    return [
        " ".join(
            [f"cftpctl node set {name}", *(f"listeners.{listener.name}.passivePorts={ports}" for listener in listeners)]
        )
        for name, ports in proposedSegments(document).items()
    ]
