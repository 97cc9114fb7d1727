"""What Prometheus reads of a node: counts of what happened, how long things took, and how the node is.

A name that ends in ``_total`` only rises until the node starts anew; a histogram tells of seconds. Every series has the
label ``node``. Names of users, files and addresses are no labels: there may be any number of them.

How the node is comes from whoever knows, as readings; nothing here knows the node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from attrs import define, field
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from twisted.logger import Logger
from zope.interface import implementer

from .events import (
    Banned,
    Downloaded,
    Event,
    EventsLost,
    LoggedIn,
    LoginFailed,
    LoginTurnedAway,
    Removed,
    UploadBroken,
    Uploaded,
)
from .interfaces import IObserver

log = Logger()

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

PREFIX = "cftpcluster_"

Reading: TypeAlias = tuple[str, float, tuple[str, ...]]
"""The name of a gauge or total without the prefix, its value, and the values of its labels beside the node."""

COUNTERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "logins": ("Log-ins, by what became of them: accepted, failed, turnedAway", ("protocol", "outcome")),
    "uploads": ("Uploads, by what became of them: committed, kept, broken", ("protocol", "outcome")),
    "upload_bytes": ("Bytes of committed uploads", ("protocol",)),
    "downloads": ("Downloads", ("protocol",)),
    "download_bytes": ("Bytes that were downloaded", ("protocol",)),
    "removals": ("Files that users removed", ("protocol",)),
    "bans": ("Bans that this node made", ()),
    "events": ("Events, by their kind", ("kind",)),
    "audit_lost_events": ("Events that the audit log let go of since the disk was too slow", ()),
}

TOTALS: Mapping[str, str] = {
    "received_bytes": "Bytes of files that came from clients, as they came",
    "sent_bytes": "Bytes of files that went to clients, as they went",
}
"""What others count, and is read of them."""

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

HISTOGRAMS: Mapping[str, str] = {
    "login": "How long accepted log-ins took to be verified",
    "file_open": "How long files took to be opened",
    "file_commit": "How long uploads took to be committed, from their last byte",
    "rest": "How long requests to the administration took",
    "journal_append": "How long changes took to be durable in the primary's journal",
    "reactor_delay": "How much later than it should the event loop came to a call, asked every second",
}

GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "info": ("1, with what the node is", ("version", "role", "state")),
    "ready": ("Whether the node is ready for clients", ()),
    "primary": ("Whether the node is the primary", ()),
    "epoch": ("The epoch: how often the cluster got a new primary", ()),
    "revision": ("The revision of the node's journal", ()),
    "live_revision": ("The revision that the node's services agree with", ()),
    "replication_lag_seconds": ("For how long the node has not had what the primary has", ()),
    "nodes": ("Nodes of the cluster", ()),
    "links": ("Other nodes that there are links to", ()),
    "problems": ("Problems of the node, as status shows them", ()),
    "warnings": ("Warnings of the node, as status shows them", ()),
    "sessions": ("Sessions of users on this node", ("protocol",)),
    "connections": ("Connections of a listener", ("listener",)),
    "active_bans": ("Bans that hold", ()),
    "thread_pool_waiting": ("Calls that wait for a thread", ("pool",)),
    "thread_pool_busy": ("Threads that are at work", ("pool",)),
    "audit_waiting_events": ("Events that are not on disk yet", ()),
    "audit_problem": ("Whether the audit log cannot be written", ()),
    "certificate_expiry_seconds": ("Until a certificate ends; negative when it has", ("certificate",)),
}


@implementer(IObserver)
@define(eq=False)
class Metrics(Collector):
    """
    :ivar _readings: how the node is, now.
    """

    _node: str
    _readings: Callable[[], Iterable[Reading]]
    _registry: CollectorRegistry = field(factory=lambda: CollectorRegistry(auto_describe=False), init=False)
    _counters: Mapping[str, Counter] = field(init=False)
    _histograms: Mapping[str, Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._counters = {
            name: Counter(PREFIX + name, text, ("node", *labels), registry=self._registry)
            for name, (text, labels) in COUNTERS.items()
        }
        self._histograms = {
            name: Histogram(f"{PREFIX}{name}_seconds", text, ("node",), buckets=_QUICK, registry=self._registry).labels(
                self._node
            )
            for name, text in HISTOGRAMS.items()
        }
        for name, (_, labels) in COUNTERS.items():
            if not labels:
                self._counters[name].labels(self._node)
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def measure(self, what: str, seconds: float) -> None:
        """Something took so long; ``what`` is a name of :data:`HISTOGRAMS`."""
        self._histograms[what].observe(max(0.0, seconds))

    def observe(self, event: Event) -> None:
        self._count("events", 1, type(event).__name__)
        match event:
            case LoggedIn():
                self._count("logins", 1, event.origin.protocol, "accepted")
            case LoginFailed():
                self._count("logins", 1, event.origin.protocol, "failed")
            case LoginTurnedAway():
                self._count("logins", 1, event.origin.protocol, "turnedAway")
            case Uploaded():
                self._count("uploads", 1, event.origin.protocol, "committed")
                self._count("upload_bytes", event.size, event.origin.protocol)
            case UploadBroken():
                self._count("uploads", 1, event.origin.protocol, "kept" if event.kept else "broken")
            case Downloaded():
                self._count("downloads", 1, event.origin.protocol)
                self._count("download_bytes", event.size, event.origin.protocol)
            case Removed():
                self._count("removals", 1, event.origin.protocol)
            case Banned():
                self._count("bans", 1)
            case EventsLost():
                self._count("audit_lost_events", event.count)

    def _count(self, name: str, amount: float, *labels: str) -> None:
        self._counters[name].labels(self._node, *labels).inc(max(0, amount))

    def total(self, name: str, **labels: str) -> int:
        """What one of :data:`COUNTERS` counted, of all series with these labels."""
        samples = (sample for family in self._counters[name].collect() for sample in family.samples)
        ours = (one for one in samples if one.name.endswith("_total") and labels.items() <= one.labels.items())
        return round(sum(sample.value for sample in ours))

    def collect(self) -> Iterator[Metric]:
        """How the node is, for the registry."""
        families: dict[str, Any] = {
            name: GaugeMetricFamily(PREFIX + name, text, labels=("node", *labels))
            for name, (text, labels) in GAUGES.items()
        }
        families |= {name: CounterMetricFamily(PREFIX + name, text, labels=("node",)) for name, text in TOTALS.items()}
        for name, value, labels in self._readings():
            families[name].add_metric([self._node, *labels], value)
        yield from families.values()

    def exposition(self) -> bytes:
        """All of it, as Prometheus reads it."""
        text: bytes = generate_latest(self._registry)
        return text
