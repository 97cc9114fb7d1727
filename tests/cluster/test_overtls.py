"""Tests of replication as it runs: journals on disk, threads, and links over mutual TLS on loopback."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.trial.unittest import TestCase

from cftpcluster.cluster.dial import Address, connectLink
from cftpcluster.cluster.gate import Gate, LiveLinks
from cftpcluster.cluster.links import Links
from cftpcluster.cluster.membership import NodeIdentity
from cftpcluster.cluster.messages import Hello
from cftpcluster.cluster.uplink import Peer, Uplink, peersOf
from cftpcluster.config.changes import Batch, Promote, Put
from cftpcluster.config.document import Node
from cftpcluster.journal.sqlite import SQLiteJournal
from cftpcluster.testing.cluster import ClusterNode, numbered, proposal
from cftpcluster.testing.membership import SmallCluster

reactor: Any = installed


@define(eq=False)
class RealNode:
    """A node with a journal on disk and a cluster port."""

    node: ClusterNode
    identity: NodeIdentity
    nodes: Callable[[], Any]
    ports: dict[str, int]
    live: LiveLinks = field(factory=LiveLinks)
    uplink: Uplink = field(init=False)
    port: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        links = Links(
            clock=reactor,
            wallTime=time.time,
            hello=lambda: Hello.fromHead(self.node.name, self.node.publisher.head),
            publisher=self.node.publisher,
            inThread=self.node.inThread,
            rowsAccepted=lambda node, link: {},
            heard=lambda hello: None,
            standStill=lambda epoch: succeed(Hello.fromHead(self.node.name, self.node.publisher.head)),
        )
        gate = Gate(
            reactor,
            lambda: self.identity,
            self.nodes,
            links.buildLink,
            lambda address: None,  # type: ignore[arg-type,return-value]
            self.live,
            lambda event: None,
            time.time,
        )
        self.port = reactor.listenTCP(0, gate, interface="127.0.0.1")
        self.ports[self.node.name] = self.port.getHost().port
        self.uplink = Uplink(
            clock=reactor,
            random=Random(1),
            dial=self.dial,
            peers=lambda: peersOf(self.node.document, self.node.name) or [Peer("a", "127.0.0.1")],
            links=links,
            follower=self.node.follower,
            inThread=self.node.inThread,
            notify=lambda event: None,
        )

    def dial(self, peer: Peer, build: Callable[[str], IProtocol]) -> Deferred[IProtocol]:
        return connectLink(
            reactor,
            Address("127.0.0.1", self.ports[peer.name]),
            identity=self.identity,
            nodes=self.nodes,
            expectedName=peer.name,
            buildLink=build,
            links=self.live,
            wallClock=time.time,
        )

    async def stop(self) -> None:
        await self.uplink.stop()
        self.node.publisher.stop()
        await self.port.stopListening()
        self.live.abort()
        await self.node.journal.close()


def asynchronous(test: Callable[[Any], Coroutine[Any, Any, None]]) -> Callable[[Any], Deferred[None]]:
    def run(self: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(test(self))

    return run


class OverTLSTests(TestCase):
    timeout = 60

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.found())

    async def found(self) -> None:
        self.members = SmallCluster(time.time())
        self.ports: dict[str, int] = {}
        identities = {"a": self.members.found("a"), "b": self.members.add("b"), "c": self.members.add("c")}
        self.a, self.b, self.c = [await self.started(name, one) for name, one in identities.items()]
        nodes = [
            Put("nodes", Node(name=name, address="127.0.0.1", fingerprint=one.fingerprint))
            for name, one in self.members.document.nodes.items()
        ]
        await self.a.node.propose(proposal(Batch((Promote(1, "a", "test"), *nodes))))
        for one in (self.b, self.c):
            one.uplink.start()
        await self.until(lambda: self.b.node.follower.state == self.c.node.follower.state == "following")

    async def started(self, name: str, identity: NodeIdentity) -> RealNode:
        journal = await SQLiteJournal.open(self.mktemp(), {}, reactor)
        node = ClusterNode(name, journal, reactor, self.inThread)
        node.start(await journal.head())
        return RealNode(node, identity, lambda: self.members.document.nodes, self.ports)

    def inThread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), function, *arguments)

    def tearDown(self) -> Deferred[Any]:
        stopping = [Deferred.fromCoroutine(one.stop()) for one in (self.b, self.c, self.a)]
        # Ends of connections are noticed a moment later.
        return gatherResults(stopping).addCallback(lambda _: deferLater(reactor, 0.1))

    async def until(self, true: Callable[[], bool]) -> None:
        while not true():
            await deferLater(reactor, 0.005)

    async def assertSame(self) -> None:
        heads = [await one.node.journal.head() for one in (self.a, self.b, self.c)]
        self.assertEqual(len({(head.epoch, head.revision, head.chainHash) for head in heads}), 1)

    async def caughtUp(self, revision: int) -> None:
        await self.until(lambda: all(one.node.applied[-1:] == [revision] for one in (self.b, self.c)))
        await self.assertSame()

    @asynchronous
    async def test_changesAreLiveOnBothFollowers(self) -> None:
        revision = 0
        for number in range(20):
            revision = await self.a.node.propose(proposal(numbered(number)))
            self.assertEqual(await self.a.node.publisher.durable(revision, 2, 5), ["a", "b", "c"])
        await self.caughtUp(revision)
        outcome = await self.a.node.publisher.live(revision, True, 5)
        self.assertEqual(outcome, {"live": ["b", "c"], "pending": []})

    @asynchronous
    async def test_proposalOfAFollowerIsLiveEverywhere(self) -> None:
        revision = await self.b.uplink.propose(proposal(numbered(1)))
        await self.caughtUp(revision)

    @asynchronous
    async def test_largeEntryAndProposal(self) -> None:
        revision = await self.b.uplink.propose(proposal(numbered(1, 5_000_000)))
        await self.caughtUp(revision)

    @asynchronous
    async def test_snapshotOverTheLink(self) -> None:
        await self.b.uplink.stop()
        for number in range(30):
            await self.a.node.propose(proposal(numbered(number, 50_000)))
        revision = await self.a.node.propose(proposal(numbered(99)))
        await self.a.node.journal.compact(3)
        self.b.uplink.start()
        await self.caughtUp(revision)

    @asynchronous
    async def test_cutLinksComeBack(self) -> None:
        revision = 0
        for number in range(5):
            for one in (self.a, self.b):
                one.live.abort()
            revision = await self.a.node.propose(proposal(numbered(number)))
            await self.until(lambda revision=revision: self.b.node.applied[-1:] == [revision])  # type: ignore[misc]
        await self.caughtUp(revision)
        self.assertEqual(self.b.node.applied, sorted(set(self.b.node.applied)))

    @asynchronous
    async def test_removedNodeIsOut(self) -> None:
        member = self.members.document.nodes["c"]
        document = self.members.document
        self.members.document = type(document)(
            promoted=document.promoted, sections={**document.sections, "nodes": document.nodes.remove("c")}
        )
        for one in (self.a, self.b):
            one.live.dropRemoved(self.members.document.nodes)
        await self.until(lambda: self.c.node.follower.state == "refused")
        self.assertIn("c", self.c.node.follower.problem)
        self.assertEqual(member.name, "c")
