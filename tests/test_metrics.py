"""What Prometheus reads, and the dashboard that shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from cftpcluster.events import (
    Banned,
    Downloaded,
    Event,
    EventsLost,
    LoggedIn,
    LoginFailed,
    NodeStarted,
    Removed,
    UploadBroken,
    Uploaded,
)
from cftpcluster.interfaces import IObserver
from cftpcluster.metrics import GAUGES, HISTOGRAMS, TOTALS, Metrics
from cftpcluster.testing.auth import originOf

from .test_documentation import folder

BY = {"user": "alice", "origin": originOf()}


def readings() -> Iterator[Any]:
    """Each gauge and total there is, once."""
    for number, (name, (_, labels)) in enumerate(GAUGES.items()):
        yield name, number, tuple(f"{label} 1" for label in labels)
    for name in TOTALS:
        yield name, 5, ()


class MetricsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.metrics = Metrics("node-a", readings)

    def values(self) -> dict[str, float]:
        """The series, as they are written."""
        lines = self.metrics.exposition().decode("utf-8").splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    def test_isAnObserver(self) -> None:
        verifyObject(IObserver, self.metrics)

    def test_eventsAreCounted(self) -> None:
        events: list[Event] = [
            LoggedIn(**BY, method="password"),
            LoginFailed(**BY, method="password", reason="x"),
            LoginFailed(**BY, method="password", reason="x"),
            Uploaded(**BY, path="/a", size=5, seconds=1),
            UploadBroken(**BY, path="/a", size=5, kept=True),
            Downloaded(**BY, path="/a", size=7, seconds=1),
            Removed(**BY, path="/a"),
            Banned(network="192.0.2.1", seconds=1, by="", reason=""),
            EventsLost(count=4),
            NodeStarted(version="1"),
        ]
        for event in events:
            self.metrics.observe(event)
        found = self.values()
        for name, value in (
            ('logins_total{node="node-a",outcome="accepted",protocol="sftp"}', 1),
            ('logins_total{node="node-a",outcome="failed",protocol="sftp"}', 2),
            ('uploads_total{node="node-a",outcome="committed",protocol="sftp"}', 1),
            ('uploads_total{node="node-a",outcome="kept",protocol="sftp"}', 1),
            ('upload_bytes_total{node="node-a",protocol="sftp"}', 5),
            ('download_bytes_total{node="node-a",protocol="sftp"}', 7),
            ('removals_total{node="node-a",protocol="sftp"}', 1),
            ('bans_total{node="node-a"}', 1),
            ('audit_lost_events_total{node="node-a"}', 4),
            ('events_total{kind="NodeStarted",node="node-a"}', 1),
        ):
            self.assertEqual(found["cftpcluster_" + name], value, name)

    def test_totalsAreThoseThatOthersCount(self) -> None:
        self.assertEqual(self.values()['cftpcluster_received_bytes_total{node="node-a"}'], 5)

    def test_countsAreSummedUpByLabel(self) -> None:
        for protocol in ("sftp", "ftp"):
            by = {"user": "alice", "origin": originOf(protocol=protocol)}
            self.metrics.observe(LoggedIn(**by, method="password"))
        self.metrics.observe(LoginFailed(**BY, method="password", reason="x"))
        found = [
            self.metrics.total("logins", **labels) for labels in ({}, {"outcome": "accepted"}, {"protocol": "ftp"})
        ]
        self.assertEqual(found, [3, 2, 1])

    def test_whatIsMeasuredIsInItsBucket(self) -> None:
        self.metrics.measure("login", 0.03)
        found = self.values()
        self.assertEqual(found['cftpcluster_login_seconds_bucket{le="0.025",node="node-a"}'], 0)
        self.assertEqual(found['cftpcluster_login_seconds_bucket{le="0.05",node="node-a"}'], 1)
        self.assertEqual(found['cftpcluster_login_seconds_sum{node="node-a"}'], 0.03)

    def test_everySeriesOfOursSaysWhichNodeItIsOf(self) -> None:
        found = [name for name in self.values() if name.startswith("cftpcluster_")]
        self.assertGreater(len(found), len(HISTOGRAMS) + len(GAUGES))
        self.assertEqual([name for name in found if 'node="node-a"' not in name], [])

    def test_twoNodesOfOneProcessShareNothing(self) -> None:
        Metrics("node-b", readings).observe(EventsLost(count=4))
        self.assertEqual(self.values()['cftpcluster_audit_lost_events_total{node="node-a"}'], 0)


class DashboardTests(SynchronousTestCase):
    def test_itsQueriesNameSeriesThatThereAre(self) -> None:
        metrics = Metrics("node-a", readings)
        for event in (
            LoggedIn(**BY, method="password"),
            Uploaded(**BY, path="/a", size=5, seconds=1),
            Downloaded(**BY, path="/a", size=7, seconds=1),
        ):
            metrics.observe(event)
        families = text_string_to_metric_families(metrics.exposition().decode("utf-8"))
        labels = {sample.name: set(sample.labels) for family in families for sample in family.samples}
        dashboard = json.loads((folder() / "examples" / "grafana.json").read_text("utf-8"))
        asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
        asked += [one["query"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
        self.assertGreater(len(asked), 20)
        for expression in asked:
            names = re.findall(r"\b(?:cftpcluster|process)_\w+", expression)
            self.assertEqual([name for name in names if name not in labels], [], expression)
            self.assertTrue(names)
            for by in re.findall(r"by \(([^)]*)\)", expression):
                self.assertLessEqual({each.strip() for each in by.split(",")}, labels[names[0]], expression)
