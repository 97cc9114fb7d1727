"""Tests of joining over real TLS on loopback, from the new node's end."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from attrs import evolve
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cftpcluster.cluster._frames import FrameReader, encodeFrame
from cftpcluster.cluster.admission import JoinServer
from cftpcluster.cluster.authority import Authority, newNodeKey
from cftpcluster.cluster.dial import Address, NodeUnreachable, connectLink
from cftpcluster.cluster.gate import Gate, LiveLinks
from cftpcluster.cluster.join import Joined, join
from cftpcluster.cluster.membership import keyFingerprint
from cftpcluster.cluster.tokens import JoinTokenText, newToken
from cftpcluster.config.changes import Change, Promote, Put, Target, moved
from cftpcluster.errors import ClusterError, Conflict, NotPrimary, Refused
from cftpcluster.events import Event
from cftpcluster.testing.membership import SmallCluster

reactor: Any = installed


def run(test: Callable[..., Coroutine[Deferred[Any], Any, None]]) -> Callable[..., Deferred[None]]:
    """A test written as a coroutine."""

    def decorated(self: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(test(self))

    decorated.__name__ = test.__name__
    return decorated


class Answering(Protocol):
    """A server of joins that answers everything alike, and notes what it was told."""

    def __init__(self, answer: Mapping[str, Any] | None, told: list[bytes]) -> None:
        self.answer, self.told = answer, told

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.told.append(data)
        if self.answer is not None:
            self.transport.write(encodeFrame(self.answer))
        self.transport.loseConnection()


class JoinTests(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.cluster = SmallCluster(time.time())
        self.server = self.cluster.found("a")
        self.events: list[Event] = []
        self.links: list[Protocol] = []
        self.key = newNodeKey()
        self.rules = JoinServer(
            reactor,
            "a",
            lambda: self.cluster.document,
            self.propose,
            lambda: self.cluster.sealer,
            self.events.append,
            time.time,
        )
        self.buildJoin: Callable[[str], Protocol] = self.rules.buildJoin
        self.gate = Gate(
            reactor,
            lambda: self.server,
            lambda: self.cluster.document.nodes,
            self.buildLink,
            self.builtJoin,
            LiveLinks(),
            self.events.append,
            time.time,
        )
        self.port = reactor.listenTCP(0, self.gate, interface="127.0.0.1")
        self.token = self.newToken()

        self.addCleanup(lambda: Deferred.fromCoroutine(self.stop()))

    async def stop(self) -> None:
        await maybeDeferred(self.port.stopListening)
        self.gate.disconnect()
        while self.gate._tls.protocols:
            await deferLater(reactor, 0.005)
        await deferLater(reactor, 0.01)

    def builtJoin(self, address: str) -> Protocol:
        """Tests put other servers in place."""
        return self.buildJoin(address)

    def buildLink(self, name: str) -> Protocol:
        self.links.append(Protocol())
        return self.links[-1]

    def propose(self, change: Change, expected: Mapping[Target, int]) -> Deferred[int]:
        conflicts = moved(self.cluster.document, expected)
        return fail(Conflict(conflicts)) if conflicts else succeed(self.cluster.change(change))

    def newToken(self, node: str = "b", fingerprint: str | None = None) -> JoinTokenText:
        port = self.port.getHost().port
        ca = fingerprint or self.cluster.authority.fingerprint
        text, record = newToken(node, "127.0.0.1", port, ca, time.time(), 3600)
        self.cluster.change(Put("tokens", record))
        return JoinTokenText.parse(text)

    def join(self, token: JoinTokenText | None = None, **changed: Any) -> Deferred[Joined]:
        arguments: dict[str, Any] = {
            "name": "b",
            "privateKeyPem": self.key,
            "advertiseAddress": "127.0.0.2",
            "bindAddress": "127.0.0.2",
            "wallClock": time.time,
            **changed,
        }
        return join(reactor, token or self.token, **arguments)

    async def failure(self, joining: Deferred[Joined], kind: type[ClusterError]) -> str:
        try:
            await joining
        except ClusterError as error:
            self.assertIs(type(error), kind)
            self.assertEqual(len(str(error).splitlines()), 1)
            return str(error)
        return self.fail("it joined")

    @run
    async def test_whatANewMemberGets(self) -> None:
        joined = await self.join()
        self.assertEqual(joined.identity.name, "b")
        self.assertEqual(joined.identity.privateKeyPem, self.key)
        self.assertEqual(joined.clusterKeys, self.cluster.sealer.keys)
        self.assertEqual((joined.primary, [node.name for node in joined.nodes]), ("a", ["a"]))
        node = self.cluster.document.nodes["b"]
        self.assertEqual(node.address, "127.0.0.2")
        public: Any = load_pem_private_key(self.key, None).public_key()
        self.assertEqual(node.fingerprint, keyFingerprint(public))
        for hidden in ("clusterKeys", "PRIVATE"):
            self.assertNotIn(hidden, repr(joined))

    @run
    async def test_newMemberGetsALinkWithWhatItGot(self) -> None:
        joined = await self.join()
        nodes = {node.name: node for node in joined.nodes}
        link = await connectLink(
            reactor,
            Address("127.0.0.1", self.port.getHost().port),
            identity=joined.identity,
            nodes=lambda: nodes,
            expectedName=joined.primary,
            buildLink=lambda name: Protocol(),
            links=LiveLinks(),
            wallClock=time.time,
        )
        self.assertEqual(len(self.links), 1)
        link.transport.loseConnection()  # type: ignore[attr-defined]

    @run
    async def test_brokenOffJoinIsRepeatedWithTheSameKey(self) -> None:
        await self.join()
        joined = await self.join()
        self.assertEqual(joined.identity.name, "b")
        self.assertIn("used by another key", await self.failure(self.join(privateKeyPem=newNodeKey()), Refused))

    @run
    async def test_refusalArrives(self) -> None:
        text = await self.failure(self.join(name="c"), Refused)
        self.assertEqual(text, 'the join token is for node "b", not "c"')
        self.assertEqual(len(self.events), 1)

    @run
    async def test_secondarySaysWhoIsPrimary(self) -> None:
        self.cluster.add("c", "192.0.2.3")
        self.cluster.change(Promote(2, "c", "test"))
        text = await self.failure(self.join(), NotPrimary)
        self.assertEqual(text, "the primary is c at 192.0.2.3")

    @run
    async def test_nothingIsSaidToAnotherCluster(self) -> None:
        told: list[bytes] = []
        self.buildJoin = lambda address: Answering(None, told)
        other = Authority.new(time.time()).identity("a", newNodeKey(), time.time())
        for impostor in (other, evolve(other, caPem=other.caPem + self.server.caPem)):
            self.server = impostor
            await self.failure(self.join(), Refused)
        self.assertEqual(told, [])

    @run
    async def test_nothingIsSaidToACertificateOfTheClusterThatIsNoNodes(self) -> None:
        told: list[bytes] = []
        self.buildJoin = lambda address: Answering(None, told)
        expired = self.cluster.authority.identity("a", self.server.privateKeyPem, time.time() - 400 * 86400)
        self.server = expired
        self.assertIn("expired at", await self.failure(self.join(), Refused))
        authority = self.cluster.authority
        self.server = evolve(expired, privateKeyPem=authority.keyPem, certificatePem=authority.certificatePem)
        self.assertIn("not signed by", await self.failure(self.join(), Refused))
        self.assertEqual(told, [])

    @run
    async def test_nobodyThere(self) -> None:
        await self.port.stopListening()
        port = self.token.port
        text = await self.failure(self.join(), NodeUnreachable)
        self.assertEqual(text, f"127.0.0.1:{port}: Connection refused")

    @run
    async def test_connectionThatEndsBeforeTheAnswer(self) -> None:
        self.buildJoin = lambda address: Answering(None, [])
        await self.failure(self.join(), NodeUnreachable)

    @run
    async def test_answersThatAreNone(self) -> None:
        good = await self._goodAnswer()
        other = self.cluster.authority.issue("c", load_pem_private_key(self.key, None).public_key(), time.time())  # type: ignore[arg-type]
        foreign = Authority.new(time.time())
        wrong: list[dict[str, Any]] = [
            {"certificate": None},
            {"certificate": "x"},
            {"certificate": other.decode()},
            {"certificate": self.server.certificatePem.decode()},
            {"ca": foreign.certificatePem.decode()},
            {"clusterKeys": []},
            {"clusterKeys": ["AAAA"]},
            {"clusterKeys": "AAAA"},
            {"nodes": [{}]},
            {"nodes": 7},
            {"notPrimary": "x"},
        ]
        for changed in wrong:
            self.buildJoin = lambda address, answer={**good, **changed}: Answering(answer, [])  # type: ignore[misc]
            try:
                await self.join()
            except ClusterError as error:
                self.assertEqual(len(str(error).splitlines()), 1, changed)
            else:
                self.fail(f"joined with {changed}")
        self.buildJoin = lambda address: Answering({"failed": "later\nplease"}, [])
        text = await self.failure(self.join(), ClusterError)
        self.assertTrue(text.endswith("later please"))

    async def _goodAnswer(self) -> dict[str, Any]:
        """What the server says to a good request."""
        told: list[bytes] = []
        self.buildJoin = lambda address: Answering(None, told)
        await self.failure(self.join(), NodeUnreachable)
        asked = FrameReader().feed(b"".join(told))
        assert asked is not None
        return await self.rules.answer(asked[0], "127.0.0.2")


class TextTests(SynchronousTestCase):
    def test_joinedHidesKeys(self) -> None:
        cluster = SmallCluster(time.time())
        joined = Joined(cluster.found("a"), cluster.sealer.keys, (), "a")
        self.assertEqual(repr(joined), "Joined(identity=NodeIdentity(name='a'), nodes=(), primary='a')")
