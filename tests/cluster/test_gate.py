"""Tests of the cluster port over real TLS on loopback: who gets through, and that nobody else's bytes do."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from cftpcluster.cluster import dial
from cftpcluster.cluster._contexts import JOIN, LINK, LinkTLS, ServerTLS, describeError, refusedByPeer
from cftpcluster.cluster.authority import Authority, newNodeKey
from cftpcluster.cluster.dial import Address, NodeUnreachable, connectLink
from cftpcluster.cluster.gate import (
    HANDSHAKE_SECONDS,
    MOST_HALF_OPEN,
    MOST_HALF_OPEN_BY_ADDRESS,
    Gate,
    LiveLinks,
)
from cftpcluster.cluster.membership import NODE_URI, NodeIdentity
from cftpcluster.config.changes import Remove
from cftpcluster.errors import ClusterError, Refused
from cftpcluster.events import Event, NodeRefused
from cftpcluster.testing.membership import SmallCluster

reactor: Any = installed


class Recorder(Protocol):
    """An inner protocol that notes all it is given."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.received = b""
        self.lost: Deferred[None] = Deferred()

    @property
    def tls(self) -> Any:
        return self.transport

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        self.lost.callback(None)


@implementer(IHandshakeListener)
class Stranger(Protocol):
    """A client that says what it likes, as soon as it can."""

    def __init__(self, atOnce: bytes) -> None:
        self.atOnce = atOnce
        self.received = b""
        self.ended: Deferred[None] = Deferred()

    @property
    def tls(self) -> Any:
        return self.transport

    def handshakeCompleted(self) -> None:
        self.tls.write(self.atOnce)

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        self.ended.callback(None)


@implementer(IOpenSSLClientConnectionCreator)
class StrangerTLS:
    """TLS of a client that trusts everybody."""

    session: Any = None

    def __init__(
        self, identity: NodeIdentity | None, protocols: list[bytes], highest: int = SSL.TLS1_3_VERSION
    ) -> None:
        self.context = context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(highest)
        if identity is not None:
            context.use_certificate(identity.certificate)
            context.use_privatekey(load_pem_private_key(identity.privateKeyPem, None))  # type: ignore[arg-type]
            for authority in identity.authorities:
                context.add_extra_chain_cert(authority)
        if protocols:
            context.set_alpn_protos(protocols)

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        connection = SSL.Connection(self.context, None)
        if self.session is not None:
            connection.set_session(self.session)
        return connection


class _Only(Factory):
    """Makes one protocol."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self.only = protocol

    def buildProtocol(self, addr: object) -> Protocol:
        return self.only


def sleep(seconds: float) -> Deferred[None]:
    return deferLater(reactor, seconds)


def forged(
    cluster: SmallCluster, change: Callable[[x509.CertificateBuilder, Any], x509.CertificateBuilder]
) -> NodeIdentity:
    """A certificate for node b under the cluster's own authority, as its ``issue`` would never make it."""
    keyPem = newNodeKey()
    key: Any = load_pem_private_key(keyPem, None)
    authority = x509.load_pem_x509_certificate(cluster.authority.certificatePem)
    good = cluster.authority.identity("b", keyPem, cluster.now).certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(good.subject)
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(good.not_valid_before_utc)
        .not_valid_after(good.not_valid_after_utc)
    )
    signer: Any = load_pem_private_key(cluster.authority.keyPem, None)
    certificate = change(builder, x509).sign(signer, hashes.SHA256())
    return NodeIdentity("b", keyPem, certificate.public_bytes(Encoding.PEM), cluster.authority.certificatePem)


class GateTestCase(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.cluster = SmallCluster(time.time())
        self.server = self.cluster.found("a")
        self.client = self.cluster.add("b")
        self.events: list[Event] = []
        self.inner: list[Recorder] = []
        self.joins: list[Recorder] = []
        self.links = LiveLinks()
        self.gate = Gate(
            reactor,
            lambda: self.server,
            lambda: self.cluster.document.nodes,
            lambda name: self.built(self.inner, name),
            lambda address: self.built(self.joins, address),
            self.links,
            self.events.append,
            time.time,
        )
        self.port = reactor.listenTCP(0, self.gate, interface="127.0.0.1")
        self.address = Address("127.0.0.1", self.port.getHost().port)
        self.addCleanup(self.stop)

    async def _stop(self) -> None:
        await maybeDeferred(self.port.stopListening)
        self.gate.disconnect()
        await sleep(0.02)

    def stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    def built(self, into: list[Recorder], name: str) -> Recorder:
        into.append(Recorder(name))
        return into[-1]

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await sleep(0.005)

    async def stranger(self, tls: Any, atOnce: bytes = b"\x83\x80list banana") -> Stranger:
        """Connect with TLS of one's own."""
        stranger = Stranger(atOnce)
        factory = TLSMemoryBIOFactory(tls, True, _Only(stranger), reactor)
        await TCP4ClientEndpoint(reactor, "127.0.0.1", self.address.port).connect(factory)
        return stranger

    def connect(self, identity: NodeIdentity | None = None, **changed: Any) -> Deferred[Any]:
        arguments: dict[str, Any] = {
            "identity": identity or self.client,
            "nodes": lambda: self.cluster.document.nodes,
            "expectedName": "a",
            "buildLink": Recorder,
            "links": LiveLinks(),
            "wallClock": time.time,
            **changed,
        }
        return connectLink(reactor, arguments.pop("address", self.address), **arguments)


def run(test: Callable[..., Coroutine[Deferred[Any], Any, None]]) -> Callable[..., Deferred[None]]:
    """A test written as a coroutine."""

    def decorated(self: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(test(self))

    decorated.__name__ = test.__name__
    return decorated


class MemberTests(GateTestCase):
    @run
    async def test_memberGetsALink(self) -> None:
        outgoing = LiveLinks()
        link = await self.connect(links=outgoing)
        self.assertEqual(link.name, "a")
        self.assertEqual([one.name for one in self.inner], ["b"])
        self.assertEqual((self.links.names(), outgoing.names()), (["b"], ["a"]))
        link.transport.write(b"from b")
        self.inner[0].tls.write(b"from a")
        await self.until(lambda: link.received and self.inner[0].received)
        self.assertEqual((link.received, self.inner[0].received), (b"from a", b"from b"))
        self.assertEqual(self.events, [])
        self.assertEqual(link.transport.getHandle().get_protocol_version_name(), "TLSv1.3")
        link.transport.loseConnection()
        await link.lost
        await self.inner[0].lost
        self.assertEqual((self.links.names(), outgoing.names()), ([], []))

    @run
    async def test_socketsAreTunedOnBothEnds(self) -> None:
        link = await self.connect()
        for transport in (link.transport, self.inner[0].tls):
            self.assertTrue(transport.getTcpNoDelay())
            self.assertTrue(transport.getTcpKeepAlive())

    @run
    async def test_bytesRightBehindTheWelcomeReachTheLink(self) -> None:
        class Eager(Recorder):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(b"at once" * 1000)

        self.built = lambda into, name: Eager(name)  # type: ignore[method-assign]
        link = await self.connect()
        await self.until(lambda: len(link.received) == 7000)
        self.assertEqual(link.received, b"at once" * 1000)

    @run
    async def test_anyMemberWillDoWithoutAnExpectedName(self) -> None:
        link = await self.connect(expectedName=None)
        self.assertEqual(link.name, "a")

    @run
    async def test_renewedIdentityIsUsedFromTheNextConnectionOn(self) -> None:
        await self.connect()
        renewed = self.cluster.authority.issue(
            "a",
            self.server.certificate.public_key(),  # type: ignore[arg-type]
            self.cluster.now,
        )
        self.server = evolve(self.server, certificatePem=renewed)
        link = await self.connect()
        shown = link.transport.getHandle().get_peer_certificate(as_cryptography=True)
        self.assertEqual(shown, self.server.certificate)

    @run
    async def test_bothAuthoritiesAreTrustedWhileOneReplacesTheOther(self) -> None:
        newer = Authority.new(self.cluster.now)
        both = newer.certificatePem + self.cluster.authority.certificatePem
        key = self.client.certificate.public_key()
        reissued = newer.issue("b", key, self.cluster.now)  # type: ignore[arg-type]
        self.server = evolve(self.server, caPem=both)
        await self.connect(evolve(self.client, certificatePem=reissued, caPem=both))
        await self.connect(self.client)
        self.assertEqual([one.name for one in self.inner], ["b", "b"])

    @run
    async def test_eitherEndMayDeclineALinkAndSayWhy(self) -> None:
        def declined(*arguments: object) -> Recorder:
            raise Refused("there is a link already")

        started = len(self.inner)
        with self.assertRaises(Refused):
            await self.connect(buildLink=declined)
        await self.until(lambda: not self.gate._tls.protocols)
        self.assertEqual(self.links.names(), [])
        self.built = lambda into, name: declined()  # type: ignore[method-assign]
        with self.assertRaisesRegex(Refused, "there is a link already"):
            await self.connect()
        self.assertEqual((self.links.names(), len(self.inner)), ([], started + 1))

    @run
    async def test_sessionsAreNotResumed(self) -> None:
        tls = StrangerTLS(self.client, [LINK])
        first = await self.stranger(tls, b"")
        await self.until(lambda: first.received)
        tls.session = first.tls.getHandle().get_session()
        again = await self.stranger(tls, b"")
        await self.until(lambda: again.received)
        lib: Any = SSL._lib  # type: ignore[attr-defined]
        self.assertEqual(lib.SSL_session_reused(again.tls.getHandle()._ssl), 0)


class RefusalTests(GateTestCase):
    """In every case: over within a second, one line, one event, and not one byte reached a link."""

    async def assertRefused(self, stranger: Stranger, reason: str, started: float) -> None:
        await stranger.ended
        await self.until(lambda: self.events)
        self.assertLess(time.monotonic() - started, 1)
        await sleep(0.02)
        self.assertEqual([type(one) for one in self.events], [NodeRefused])
        event: Any = self.events[0]
        self.assertEqual(event.address, "127.0.0.1")
        self.assertIn(reason, event.reason)
        self.assertEqual((self.inner, self.joins, self.links.names()), ([], [], []))
        lines = [one for one in self.captured if "on the cluster port" in str(one.get("log_format"))]
        self.assertEqual([(one["address"], one["reason"]) for one in lines], [("127.0.0.1", event.reason)])

    async def refusal(self, tls: Any, reason: str) -> Stranger:
        started = time.monotonic()
        with capturedLogs() as self.captured:
            stranger = await self.stranger(tls)
            await self.assertRefused(stranger, reason, started)
        return stranger

    @run
    async def test_noCertificate(self) -> None:
        await self.refusal(StrangerTLS(None, [LINK]), "it has no certificate")

    @run
    async def test_selfSigned(self) -> None:
        other = Authority.new(self.cluster.now)
        own = NodeIdentity("b", other.keyPem, other.certificatePem, other.certificatePem)
        await self.refusal(StrangerTLS(own, [LINK]), "its certificate is self-signed")

    @run
    async def test_anotherAuthority(self) -> None:
        other = Authority.new(self.cluster.now).identity("b", newNodeKey(), self.cluster.now)
        await self.refusal(StrangerTLS(other, [LINK]), "not signed by this cluster's authority")

    @run
    async def test_anotherAuthorityOfTheSameName(self) -> None:
        subject = x509.load_pem_x509_certificate(self.cluster.authority.certificatePem).subject
        key: Any = load_pem_private_key(Authority.new(self.cluster.now).keyPem, None)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).serial_number(7)
        moment = self.client.certificate
        certificate = (
            builder.public_key(key.public_key())
            .not_valid_before(moment.not_valid_before_utc)
            .not_valid_after(moment.not_valid_after_utc)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        keyPem = evolve(self.cluster.authority, keyPem=Authority.new(0).keyPem).keyPem
        other = Authority(certificate.public_bytes(Encoding.PEM), keyPem)
        identity = other.identity("b", newNodeKey(), self.cluster.now)
        await self.refusal(StrangerTLS(identity, [LINK]), "its certificate")

    @run
    async def test_expired(self) -> None:
        long = self.cluster.now - 400 * 86400
        old = evolve(self.client, certificatePem=self.issued("b", long))
        await self.refusal(StrangerTLS(old, [LINK]), "has expired")

    @run
    async def test_notYetValid(self) -> None:
        early = evolve(self.client, certificatePem=self.issued("b", self.cluster.now + 40 * 3600))
        await self.refusal(StrangerTLS(early, [LINK]), "not valid yet")

    def issued(self, name: str, now: float) -> bytes:
        return self.cluster.authority.issue(name, self.client.certificate.public_key(), now)  # type: ignore[arg-type]

    @run
    async def test_wrongUsage(self) -> None:
        identity = forged(
            self.cluster,
            lambda builder, x: builder.add_extension(
                x.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
            ).add_extension(x.SubjectAlternativeName([x.UniformResourceIdentifier(NODE_URI + "b")]), critical=False),
        )
        await self.refusal(StrangerTLS(identity, [LINK]), "not for this usage")

    @run
    async def test_noUsageAtAll(self) -> None:
        identity = forged(
            self.cluster,
            lambda builder, x: builder.add_extension(
                x.SubjectAlternativeName([x.UniformResourceIdentifier(NODE_URI + "b")]), critical=False
            ),
        )
        stranger = await self.refusal(StrangerTLS(identity, [LINK]), "not for a TLS client")
        self.assertIn(b"refused", stranger.received)

    @run
    async def test_noNodeName(self) -> None:
        identity = forged(
            self.cluster,
            lambda builder, x: builder.add_extension(
                x.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
            ),
        )
        await self.refusal(StrangerTLS(identity, [LINK]), "names no node")

    @run
    async def test_wrongName(self) -> None:
        stranger = await self.refusal(
            StrangerTLS(evolve(self.client, certificatePem=self.issued("c", self.cluster.now)), [LINK]),
            'node "c" is not a member',
        )
        self.assertIn(b"is not a member of this cluster", stranger.received)

    @run
    async def test_anotherMembersName(self) -> None:
        self.cluster.add("c")
        stolen = evolve(self.client, certificatePem=self.issued("c", self.cluster.now))
        await self.refusal(StrangerTLS(stolen, [LINK]), 'node "c" has another key')

    @run
    async def test_ownName(self) -> None:
        await self.refusal(StrangerTLS(self.server, [LINK]), 'node "a" is this node itself')

    @run
    async def test_removedNode(self) -> None:
        self.cluster.change(Remove("nodes", "b"))
        await self.refusal(StrangerTLS(self.client, [LINK]), 'node "b" is not a member')

    @run
    async def test_rekeyedNode(self) -> None:
        self.cluster.add("b")
        await self.refusal(StrangerTLS(self.client, [LINK]), 'node "b" has another key')

    @run
    async def test_noProtocolChosen(self) -> None:
        await self.refusal(StrangerTLS(self.client, []), "no protocol that this node knows")

    @run
    async def test_unknownProtocol(self) -> None:
        await self.refusal(StrangerTLS(self.client, [b"cftpcluster-link/9"]), "cftpcluster-link/9")

    @run
    async def test_noProtocolAndNoCertificate(self) -> None:
        await self.refusal(StrangerTLS(None, [b"http/1.1"]), "it has no certificate")

    @run
    async def test_olderTLS(self) -> None:
        await self.refusal(StrangerTLS(self.client, [LINK], SSL.TLS1_2_VERSION), "unsupported protocol")

    @run
    async def test_garbage(self) -> None:
        for garbage in (b"\x83\x80list" * 20, b"GET / HTTP/1.0\r\n\r\n", bytes(300), b"\x16\x03\x01\xff\xff" * 100):
            self.events.clear()
            stranger, started = Stranger(b""), time.monotonic()
            with capturedLogs() as self.captured:
                await TCP4ClientEndpoint(reactor, "127.0.0.1", self.address.port).connect(_Only(stranger))
                stranger.tls.write(garbage)
                await self.assertRefused(stranger, "its handshake failed", started)

    @run
    async def test_probeThatSaysNothingIsNoRefusal(self) -> None:
        stranger = Stranger(b"")
        await TCP4ClientEndpoint(reactor, "127.0.0.1", self.address.port).connect(_Only(stranger))
        stranger.tls.loseConnection()
        await stranger.ended
        await sleep(0.05)
        self.assertEqual(self.events, [])
        self.assertEqual(self.gate._halfOpen, {})

    @run
    async def test_thousandRefusalsLeaveNothing(self) -> None:
        # A tenth of it: each takes some milliseconds on both ends.
        for _ in range(100):
            stranger = await self.stranger(StrangerTLS(None, [LINK]))
            await stranger.ended
        await self.until(lambda: len(self.events) == 100)
        await sleep(0.02)
        self.assertEqual((self.gate._halfOpen, dict(self.gate._byAddress)), ({}, {}))
        self.assertEqual(dict(self.gate._tls.protocols), {})


class JoinTests(GateTestCase):
    @run
    async def test_joinNeedsNoCertificateAndGetsItsOwnProtocol(self) -> None:
        stranger = await self.stranger(StrangerTLS(None, [JOIN]), b"a request")
        await self.until(lambda: self.joins and self.joins[0].received)
        self.assertEqual((self.joins[0].name, self.joins[0].received, self.inner), ("127.0.0.1", b"a request", []))
        self.assertEqual(len(self.gate._halfOpen), 1)
        stranger.tls.loseConnection()
        await self.joins[0].lost
        self.assertEqual((self.gate._halfOpen, self.events), ({}, []))

    @run
    async def test_whoOffersBothIsHeldToTheLink(self) -> None:
        stranger = await self.stranger(StrangerTLS(None, [JOIN, LINK]))
        await stranger.ended
        await self.until(lambda: self.events)
        self.assertEqual((self.joins, self.inner), ([], []))


class RemovalTests(GateTestCase):
    @run
    async def test_removedNodeIsOutAtOnce(self) -> None:
        self.cluster.add("c")
        link = await self.connect()
        self.links.dropRemoved(self.cluster.document.nodes)
        await sleep(0.02)
        self.assertEqual(self.links.names(), ["b"])
        self.cluster.change(Remove("nodes", "b"))
        self.links.dropRemoved(self.cluster.document.nodes)
        await self.inner[0].lost
        await link.lost
        self.assertEqual(self.links.names(), [])

    @run
    async def test_rekeyedNodeIsOutAtOnceAndTheRestStays(self) -> None:
        other = self.cluster.add("c")
        link, kept = await self.connect(), await self.connect(other)
        self.cluster.add("b")
        self.links.dropRemoved(self.cluster.document.nodes)
        await link.lost
        await sleep(0.02)
        self.assertFalse(kept.lost.called)
        self.assertEqual(self.links.names(), ["c"])

    @run
    async def test_dialledLinksAreDroppedToo(self) -> None:
        outgoing = LiveLinks()
        link = await self.connect(links=outgoing)
        self.cluster.change(Remove("nodes", "a"))
        outgoing.dropRemoved(self.cluster.document.nodes)
        await link.lost
        await self.inner[0].lost

    @run
    async def test_disconnectEndsEverything(self) -> None:
        link = await self.connect()
        stranger = await self.stranger(StrangerTLS(None, [JOIN]), b"")
        await self.until(lambda: self.joins)
        self.gate.disconnect()
        await link.lost
        await stranger.ended
        self.assertEqual(self.events, [])


class DialTests(GateTestCase):
    async def failure(self, dialling: Deferred[Any], kind: type[ClusterError]) -> str:
        started = time.monotonic()
        try:
            await dialling
        except ClusterError as error:
            self.assertIs(type(error), kind)
            self.assertLess(time.monotonic() - started, 1)
            return str(error)
        return self.fail("it was connected")

    def where(self) -> str:
        return f"127.0.0.1:{self.address.port}: "

    @run
    async def test_removedNodeLearnsWhy(self) -> None:
        nodes = self.cluster.document.nodes
        self.cluster.change(Remove("nodes", "b"))
        text = await self.failure(self.connect(nodes=lambda: nodes), Refused)
        self.assertEqual(text, self.where() + 'refused this node: node "b" is not a member of this cluster')

    @run
    async def test_expiredNodeLearnsWhy(self) -> None:
        key: Any = self.client.certificate.public_key()
        expired = self.cluster.authority.issue("b", key, self.cluster.now - 400 * 86400)
        text = await self.failure(self.connect(evolve(self.client, certificatePem=expired)), Refused)
        self.assertEqual(text, self.where() + "this node's certificate has expired, or the clocks differ")

    @run
    async def test_nodeOfAnotherClusterLearnsWhyFromEitherEnd(self) -> None:
        other = Authority.new(self.cluster.now).identity("b", newNodeKey(), self.cluster.now)
        text = await self.failure(self.connect(other), Refused)
        self.assertEqual(text, self.where() + "its certificate is not signed by this cluster's authority")
        text = await self.failure(self.connect(evolve(other, caPem=self.client.caPem)), Refused)
        self.assertEqual(text, self.where() + "this node's certificate is not signed by the cluster's authority")

    @run
    async def test_serverThatIsNoMemberIsRefused(self) -> None:
        text = await self.failure(self.connect(nodes=dict), Refused)
        self.assertEqual(text, self.where() + 'node "a" is not a member of this cluster')
        # The server may have accepted the client before; then it has lost it again.
        await self.until(lambda: not self.gate._tls.protocols)
        self.assertEqual([one.received for one in self.inner if one.received], [])

    @run
    async def test_serverOfAnotherNameIsRefused(self) -> None:
        text = await self.failure(self.connect(expectedName="c"), Refused)
        self.assertEqual(text, self.where() + 'this is node "a", not "c"')

    @run
    async def test_clientCertificateDoesNotServe(self) -> None:
        key: Any = self.client.certificate.public_key()
        self.server = forged(
            self.cluster,
            lambda builder, x: builder.add_extension(
                x.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
            ).add_extension(x.SubjectAlternativeName([x.UniformResourceIdentifier(NODE_URI + "a")]), critical=False),
        )
        self.assertIsNotNone(key)
        text = await self.failure(self.connect(), Refused)
        self.assertEqual(text, self.where() + "its certificate is not for this usage")

    @run
    async def test_nobodyThere(self) -> None:
        await self.port.stopListening()
        text = await self.failure(self.connect(), NodeUnreachable)
        self.assertEqual(text, self.where() + "Connection refused")

    @run
    async def test_unusableBindAddress(self) -> None:
        address = evolve(self.address, bindAddress="192.0.2.77")
        text = await self.failure(self.connect(address=address), NodeUnreachable)
        self.assertIn("Cannot assign requested address", text)

    @run
    async def test_callsFromTheBindAddress(self) -> None:
        await self.connect(address=evolve(self.address, bindAddress="127.0.0.9"))
        self.assertEqual(self.inner[0].tls.getPeer().host, "127.0.0.9")

    @run
    async def test_unknownHost(self) -> None:
        started = time.monotonic()
        address = evolve(self.address, host="no host")
        with self.assertRaises(NodeUnreachable):
            await self.connect(address=address)
        self.assertLess(time.monotonic() - started, 11)

    @run
    async def test_serverThatEndsWithoutAWord(self) -> None:
        class Ending(Protocol):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.loseConnection()

        port = reactor.listenTCP(0, Factory.forProtocol(Ending), interface="127.0.0.1")
        try:
            address = Address("127.0.0.1", port.getHost().port)
            text = await self.failure(self.connect(address=address), NodeUnreachable)
            self.assertIn(str(address), text)
        finally:
            await port.stopListening()

    @run
    async def test_cancelledCallEndsItsConnection(self) -> None:
        silent = Recorder("")
        port = reactor.listenTCP(0, _Only(silent), interface="127.0.0.1")
        dialling = self.connect(address=Address("127.0.0.1", port.getHost().port))
        outcome: list[object] = []
        noted = dialling.addBoth(outcome.append)
        await self.until(lambda: silent.received)
        dialling.cancel()
        await silent.lost
        await noted
        self.assertEqual(len(outcome), 1)
        await port.stopListening()

    @run
    async def test_silentServerIsGivenUp(self) -> None:
        silent = Recorder("")
        port = reactor.listenTCP(0, _Only(silent), interface="127.0.0.1")
        self.patch(dial, "ANSWER_SECONDS", 0.1)
        text = await self.failure(self.connect(address=Address("127.0.0.1", port.getHost().port)), NodeUnreachable)
        self.assertIn("no answer within 0.1 s", text)
        await silent.lost
        await port.stopListening()


class HalfOpenTests(SynchronousTestCase):
    """Time-outs and caps, without a network."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.cluster = SmallCluster(time.time())
        server = self.cluster.found("a")
        self.events: list[Any] = []
        self.gate = Gate(
            self.clock,
            lambda: server,
            lambda: self.cluster.document.nodes,
            Recorder,
            Recorder,
            LiveLinks(),
            self.events.append,
            time.time,
        )

    def arrive(self, host: str) -> StringTransport | None:
        address: Any = type("Address", (), {"host": host})()
        protocol = self.gate.buildProtocol(address)
        if protocol is None:
            return None
        transport = StringTransport(peerAddress=address)
        transport.protocol = protocol  # type: ignore[attr-defined]
        protocol.makeConnection(transport)
        return transport

    def test_silentPeerIsDroppedInTime(self) -> None:
        transport = self.arrive("192.0.2.1")
        assert transport is not None
        self.clock.advance(HANDSHAKE_SECONDS - 1)
        self.assertFalse(transport.disconnecting)
        self.clock.advance(1)
        self.assertTrue(transport.disconnected or transport.disconnecting)
        self.assertEqual([(one.address, "within 10 s" in one.reason) for one in self.events], [("192.0.2.1", True)])
        transport.protocol.connectionLost(Failure(ConnectionDone()))  # type: ignore[attr-defined]
        self.assertEqual((self.gate._halfOpen, len(self.events), self.clock.getDelayedCalls()), ({}, 1, []))

    def test_drippingPeerIsDroppedInTime(self) -> None:
        transport = self.arrive("192.0.2.1")
        assert transport is not None
        for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03":
            transport.protocol.dataReceived(bytes([byte]))  # type: ignore[attr-defined]
            self.clock.advance(1)
        self.assertEqual(len(self.events), 1)

    def test_oneAddressCannotTakeAllPlaces(self) -> None:
        mine = [self.arrive("192.0.2.1") for _ in range(MOST_HALF_OPEN_BY_ADDRESS + 5)]
        self.assertEqual(mine.count(None), 5)
        self.assertIsNotNone(self.arrive("192.0.2.2"))
        self.assertEqual([one.address for one in self.events], ["192.0.2.1"])
        mine[0].protocol.connectionLost(Failure(ConnectionDone()))  # type: ignore[union-attr]
        self.assertIsNotNone(self.arrive("192.0.2.1"))

    def test_allPlacesAreBounded(self) -> None:
        taken = [self.arrive(f"192.0.2.{index}") for index in range(MOST_HALF_OPEN + 3)]
        self.assertEqual(taken.count(None), 3)

    def test_drainingKeepsLinks(self) -> None:
        self.assertIsNone(self.successResultOf(self.gate.drain()))
        self.assertFalse(self.gate.implicitTLS)


class WordsTests(SynchronousTestCase):
    """What OpenSSL's errors are called in a log."""

    def test_reasons(self) -> None:
        self.assertEqual(describeError(None), "its handshake failed")
        self.assertEqual(describeError(SSL.Error([])), "its handshake failed")
        error = SSL.Error([("SSL routines", "", "wrong version number")])
        self.assertEqual(describeError(error), "its handshake failed: wrong version number")
        self.assertIsNone(refusedByPeer(error))

    def test_unknownAlertsAreNamed(self) -> None:
        error = SSL.Error([("SSL routines", "", "ssl/tls alert internal error")])
        self.assertEqual(refusedByPeer(error), "TLS alert: internal error")

    def test_contextIsMadeOncePerIdentity(self) -> None:
        cluster = SmallCluster(time.time())
        identity = cluster.found("a")
        server = ServerTLS(lambda: identity)
        first, second = server.serverConnectionForTLS(None), server.serverConnectionForTLS(None)
        self.assertIs(first.get_context(), second.get_context())
        identity = cluster.add("a")
        self.assertIsNot(server.serverConnectionForTLS(None).get_context(), first.get_context())
        self.assertIsNotNone(LinkTLS(identity).clientConnectionForTLS(None))
