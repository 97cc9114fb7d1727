"""``cftpctl events``: what it asks for and what it prints."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.commands.events import SAID, StreamReader
from cftpcluster.events import NodeStarted, Removed
from cftpcluster.journal import audit
from cftpcluster.testing.auth import originOf

from .test_cli import CommandTestCase


class EventsTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.cluster.audit.observe(NodeStarted(version="1"))
        self.cluster.audit.observe(Removed(user="a\x1b[2J", origin=originOf(), path="/a"))
        self.cluster.clock.advance(audit.COMMIT_SECONDS)

    def test_oldestComeFirst(self) -> None:
        rows = [line.split("\t") for line in self.call("events").stdout.splitlines()]
        self.assertEqual([row[1:] for row in rows], [
            ["node-a", "NodeStarted", "", "", "version=1"],
            ["node-a", "Removed", r"a\x1b[2J", "192.0.2.7", "/a"],
        ])  # fmt: skip

    def test_filtersAreHandedOn(self) -> None:
        found = json.loads(self.call("events", "--kind", "Removed", "--path", "/", "--json").stdout)
        self.assertEqual([one["path"] for one in found], ["/a"])
        self.assertEqual(self.call("events", "--since", "1m").stdout, "")
        self.assertEqual(self.call("events", "--until", "1970-01-02").stdout, "")
        self.assertEqual(len(self.call("events", "--limit", "1").stdout.splitlines()), 1)

    def test_wrongTimesAreWrongUsage(self) -> None:
        self.assertIn("--since: expected 15m", self.call("events", "--since", "yesterday", code=2).stderr)


class StreamReaderTests(SynchronousTestCase):
    TEXT = b'retry: 3000\n\n: \n\nevent: happened\ndata: {"id":7}\n\nid: node-a=7\nevent: place\ndata: {}\n\n'

    def test_eventsAreReadHoweverTheirBytesCome(self) -> None:
        reader = StreamReader()
        found = [one for byte in self.TEXT for one in reader.feed(bytes([byte]))]
        self.assertEqual(found, [("happened", {"id": 7}), ("place", {})])
        self.assertEqual(reader.place, "node-a=7")

    def test_whatBrokeOffIsNoPlaceToGoOnFrom(self) -> None:
        reader = StreamReader()
        self.assertEqual(list(reader.feed(b'id: node-a=9\nevent: happened\ndata: {"id"')), [])
        reader.begin()
        self.assertEqual([name for name, _ in reader.feed(self.TEXT)], ["happened", "place"])
        self.assertEqual(reader.place, "node-a=7")

    def test_whatIsLostIsSaid(self) -> None:
        self.assertIn("3 events of node-a", SAID["lost"]({"node": "node-a", "count": 3}))
        self.assertIn("some of what happened on node-a", SAID["lost"]({"node": "node-a", "count": None}))
