"""A node among the others: whom it knows and dials, what it hands on, and its certificate's renewal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from attrs import evolve
from cryptography import x509
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from cftpcluster.cluster.dial import Address
from cftpcluster.cluster.membership import needsRenewal
from cftpcluster.config.changes import Put, Remove
from cftpcluster.config.document import Listener, Node, User
from cftpcluster.founding import load
from cftpcluster.interfaces import IServer, IServerFactory
from cftpcluster.journal.entry import Proposal
from cftpcluster.peering import ClusterServerFactory
from cftpcluster.renewal import RENEWAL_SECONDS
from cftpcluster.testing.cluster import AUTHOR, soon
from cftpcluster.testing.membership import SmallCluster

from .nodesupport import CLUSTER_PORT, ClusterCase, MemoryCluster, MemoryNode

PUT_USER = Put("users", User(name="alice"))
DAY = 24 * 3600.0


class KnowingTests(ClusterCase):
    def override(self, node: str, **overrides: Any) -> None:
        entry = self.a.document().nodes[node]
        self.a.change(Put("nodes", evolve(entry, listeners={"cluster": overrides})))

    def test_portIsTheClusterListeners(self) -> None:
        self.assertEqual(self.a.peering.neighbours.portOf("b"), CLUSTER_PORT)
        self.a.change(Put("listeners", Listener(name="cluster", kind="cluster", port=8700)))
        self.assertEqual([self.a.peering.neighbours.portOf(node) for node in ("a", "b", "nobody")], [8700] * 3)

    def test_portMayBeOverriddenByItsNode(self) -> None:
        self.override("b", port=9000)
        self.assertEqual(
            (self.a.peering.neighbours.portOf("a"), self.a.peering.neighbours.portOf("b")), (CLUSTER_PORT, 9000)
        )

    def test_nodeIsDialledAtItsOwnPortFromTheBoundAddress(self) -> None:
        self.override("a", port=9000)
        self.cluster.advance(1)
        self.cluster.cut()
        self.cluster.advance(5)
        self.assertEqual(self.cluster.dialled[-1].port, 9000)
        self.assertIn(Address("127.0.0.1", 9000, "127.0.0.2"), self.cluster.dialled)

    def test_beforeThereIsADocumentTheJoinsWordCounts(self) -> None:
        self.cluster.unreachable.add("a")
        late = self.cluster.join("d", "127.0.0.4", self.a)
        self.assertEqual(list(late.peering.neighbours.nodes()), ["a"])
        self.assertEqual(late.peering.neighbours.portOf("a"), CLUSTER_PORT)
        self.cluster.unreachable.clear()
        self.cluster.advance(6)
        self.assertEqual(set(late.peering.neighbours.nodes()), {"a", "b", "c", "d"})
        self.assertEqual(late.head.chainHash, self.a.head.chainHash)

    def test_sealerOpensWhatTheClusterSealed(self) -> None:
        secret = self.a.document().keys["authority"].key
        for node in (self.a, self.b):
            self.assertEqual(node.peering.sealer.open(secret), self.cluster.authority.authority.keyPem)


class FollowingTests(ClusterCase):
    def test_everyNodeHasALinkToEachOther(self) -> None:
        """The primary follows nobody, but rows and actions go directly from node to node."""
        self.cluster.advance(3)
        linked = {name: node.peering.mesh.linked() for name, node in self.cluster.nodes.items()}
        self.assertEqual(linked, {"a": ["b", "c"], "b": ["a", "c"], "c": ["a", "b"]})
        self.assertIsNone(self.a.peering.follower.publisher)

    def test_rowsReachEveryNodeWithoutThePrimary(self) -> None:
        self.cluster.advance(3)
        self.cluster.cut("a")
        self.b.peering.rows.put("bans", "192.0.2.7", {"reason": "guesses"}, 60)
        self.cluster.advance(0.2)
        (row,) = self.c.peering.rows.get("bans", "192.0.2.7")
        self.assertEqual((row.node, row.value), ("b", {"reason": "guesses"}))

    def test_changesReachEveryNode(self) -> None:
        self.a.change(PUT_USER)
        self.cluster.advance(0.5)
        for node in (self.b, self.c):
            self.assertEqual((node.head.revision, node.head.chainHash), (self.a.head.revision, self.a.head.chainHash))
            self.assertEqual(node.peering.following.lagSeconds(), 0.0)

    def test_lagIsCountedFromTheLastMomentOfFollowing(self) -> None:
        self.cluster.cut("b")
        first = self.b.peering.following.lagSeconds()
        self.assertGreaterEqual(self.b.peering.following.lagSeconds(), first)
        self.assertLess(first, 60)
        self.cluster.unreachable.clear()
        self.cluster.advance(6)
        self.assertEqual(self.b.peering.following.lagSeconds(), 0.0)

    def test_linkOfARemovedNodeEndsOnEveryNode(self) -> None:
        self.assertEqual(set(self.a.peering._live.names()), {"b", "c"})
        self.a.change(Remove("nodes", "c"))
        self.assertEqual(set(self.a.peering._live.names()), {"b"})
        self.cluster.advance(5)
        self.assertEqual(self.c.peering.follower.state, "refused")
        self.a.change(PUT_USER)
        self.cluster.advance(1)
        self.assertNotIn("alice", self.c.document().users)
        self.assertIn("alice", self.b.document().users)

    def test_nodeWithAnotherKeyIsCutOff(self) -> None:
        self.a.change(Put("nodes", Node(name="c", address="127.0.0.3", fingerprint="0" * 64)))
        self.assertEqual(set(self.a.peering._live.names()), {"b"})

    def test_whatOnlyThisNodeHadIsKept(self) -> None:
        """Two histories of one epoch: the primary's counts, and the other is on disk."""
        self.cluster.cut("b")
        lonely = Proposal(Put("users", User(name="lonely")), {}, AUTHOR, "b", "lonely", 0.0)
        self.b.committed(soon(self.b.journal.append(lonely)))
        self.a.change(PUT_USER)
        self.cluster.unreachable.clear()
        with capturedLogs():
            self.cluster.advance(8)
        self.assertEqual(self.b.head.chainHash, self.a.head.chainHash)
        (kept,) = self.b.peering.branches.known
        self.assertEqual((kept["changes"], kept["primary"]), (1, "a"))
        self.assertIn("lonely", soon(self.b.peering.branches.read(kept["id"])).after.users)

    def test_observersHearOfAPrimaryThatRefuses(self) -> None:
        self.a.change(Remove("nodes", "c"))
        with capturedLogs():
            self.cluster.advance(5)
        self.assertTrue(self.c.events)

    def test_stopLeavesNothingRunning(self) -> None:
        """What every test here ends with: no links, no delayed calls. It may be stopped while it dials, too."""
        self.cluster.cut("a")
        self.cluster.stop()
        self.assertEqual([node.peering._live.names() for node in self.cluster.nodes.values()], [[], [], []])


class FactoryTests(ClusterCase):
    def test_servesTheNodesOwnGate(self) -> None:
        factory = ClusterServerFactory(lambda: self.a.peering.gate)
        verifyObject(IServerFactory, factory)
        server = factory.build(factory.configClass(), listener=None)
        verifyObject(IServer, server)
        self.assertIs(server, self.a.peering.gate)


class RenewalTests(ClusterCase):
    """Certificates that were made 300 days ago, of the 365 that they last."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        self.cluster = MemoryCluster(folder, SmallCluster(time.time() - 300 * DAY))

    def assertRenewed(self, node: MemoryNode, before: bytes) -> None:
        identity = node.peering.identity()
        self.assertNotEqual(identity.certificatePem, before)
        self.assertFalse(needsRenewal(identity.certificatePem, time.time()))
        self.assertEqual(identity.certificate.public_key(), x509.load_pem_x509_certificate(before).public_key())
        stored = load(node.state)
        assert stored is not None
        self.assertEqual(stored.identity, identity)
        self.assertEqual((stored.clusterKeys, stored.peers), (node.membership.clusterKeys, node.membership.peers))

    def test_primaryRenewsItsOwn(self) -> None:
        a = self.cluster.found()
        self.assertRenewed(a, a.membership.identity.certificatePem)

    def test_secondaryAsksThePrimary(self) -> None:
        a = self.cluster.found()
        with capturedLogs() as events:
            b = self.cluster.join("b", "127.0.0.2", a)
            self.assertTrue(any("not renewed" in str(event.get("log_format")) for event in events))
            self.reach(RENEWAL_SECONDS)
        self.assertRenewed(b, b.membership.identity.certificatePem)
        self.assertEqual(b.peering.follower.state, "following")

    def test_withoutThePrimaryTheOldOneStays(self) -> None:
        a = self.cluster.found()
        b = self.cluster.join("b", "127.0.0.2", a)
        self.cluster.cut("a")
        with capturedLogs() as events:
            self.reach(RENEWAL_SECONDS)
        self.assertEqual(b.peering.identity(), b.membership.identity)
        self.assertTrue(any("not renewed" in str(event.get("log_format")) for event in events))

    def test_freshOneIsLeftAlone(self) -> None:
        cluster = self.cluster = MemoryCluster(Path(self.mktemp()), SmallCluster(time.time()))
        a = cluster.found()
        self.assertEqual(a.peering.identity(), a.membership.identity)

    def reach(self, seconds: float) -> None:
        """Come to that time at once; links notice the gap, and are there again soon."""
        self.cluster.reactor.advance(seconds)
        self.cluster.advance(6)
