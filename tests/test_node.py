"""What a node is made of, without starting one; whole nodes are in the integration tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.components import Components
from cftpcluster.config.defaults import DEFAULT_LISTENERS
from cftpcluster.manager import ManagerServerFactory
from cftpcluster.node import NODE_KINDS, Node, bootDocument
from cftpcluster.peering import ClusterServerFactory
from cftpcluster.servers.health import HealthServerFactory
from cftpcluster.starting import Start
from cftpcluster.state import StateDirectory


class NodeTests(SynchronousTestCase):
    def start(self) -> Start:
        return Start(
            role="secondary",
            name="b",
            state=StateDirectory(Path("/nowhere")),
            bind="",
            advertise="192.0.2.2",
            token="planted token",
            existing=False,
            adminPassword=b"planted password",
        )

    def test_secretsAreNotShown(self) -> None:
        self.assertNotIn("planted", repr(self.start()))
        self.assertNotIn("planted", repr(Node(start=self.start(), reactor=Clock())))

    def test_neverStartedItEndsAtOnce(self) -> None:
        node = Node(start=self.start(), reactor=Clock())
        self.successResultOf(node.drain())
        self.successResultOf(node.stop())
        self.successResultOf(node.stop())

    def test_withoutConfigurationOnlyItsHealthIsServed(self) -> None:
        document = bootDocument()
        self.assertEqual([(each.kind, each.port) for each in document.listeners.values()], [("health", 8790)])
        self.assertEqual((document.revision, document.promoted.name), (0, ""))
        self.assertTrue(all(not objects for name, objects in document.sections.items() if name != "listeners"))

    def test_everyDefaultListenerCanBeBuilt(self) -> None:
        known = {*Components.gather().kinds["listeners"], *NODE_KINDS}
        self.assertLessEqual({listener.kind for listener in DEFAULT_LISTENERS}, known)

    def test_ownKindsAreKnownByTheOptionsTheyAreBuiltWith(self) -> None:
        nothing: Any = None
        factories = (
            ClusterServerFactory(nothing),
            HealthServerFactory(nothing, nothing),
            ManagerServerFactory(nothing, nothing),
        )
        self.assertEqual({each.kind: each.configClass for each in factories}, dict(NODE_KINDS))
