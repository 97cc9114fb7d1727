"""Tests of TLS as it is served, with a client in memory."""

from __future__ import annotations

import datetime
import warnings
from typing import Any

from attrs import define
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from cftpcluster.errors import Invalid
from cftpcluster.servers.tls import ServerTLS, checkPair

DAY = datetime.timedelta(days=1)


def certificateFor(
    key: Any, name: str, issuer: Any = None, issuerKey: Any = None, authority: bool = False
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    signer = issuerKey or key
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(signer, algorithm)
    )


def pem(value: Any, password: bytes | None = None) -> bytes:
    if isinstance(value, x509.Certificate):
        return value.public_bytes(Encoding.PEM)
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    result: bytes = value.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return result


ROOT_KEY = ec.generate_private_key(ec.SECP256R1())
ROOT = certificateFor(ROOT_KEY, "root", authority=True)
KEY = ec.generate_private_key(ec.SECP256R1())
LEAF = certificateFor(KEY, "first.example", ROOT, ROOT_KEY)
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = certificateFor(OTHER_KEY, "second.example", ROOT, ROOT_KEY)
RSA_KEY = rsa.generate_private_key(65537, 2048)
RSA = certificateFor(RSA_KEY, "rsa.example", ROOT, ROOT_KEY)


@define
class Pair:
    """Two ends of a connection in memory."""

    client: SSL.Connection
    server: SSL.Connection

    @classmethod
    def of(cls, creator: Any, context: SSL.Context | None = None, session: Any = None, protocols: Any = ()) -> Pair:
        client = SSL.Connection(context or clientContext(), None)
        client.set_connect_state()
        if session is not None:
            client.set_session(session)
        if protocols:
            client.set_alpn_protos(list(protocols))
        server = creator.serverConnectionForTLS(None)
        server.set_accept_state()
        return cls(client, server)

    def shake(self) -> Pair:
        """Run the handshake to its end; raises what an end says against it."""
        for _ in range(6):
            for end in (self.client, self.server):
                try:
                    end.do_handshake()
                except SSL.WantReadError:
                    pass
                finally:
                    self.move()
        self.send(self.server, self.client, b"hello")
        return self

    def move(self) -> None:
        for source, target in ((self.client, self.server), (self.server, self.client)):
            try:
                target.bio_write(source.bio_read(1 << 20))
            except SSL.WantReadError:
                pass

    def send(self, source: SSL.Connection, target: SSL.Connection, data: bytes) -> None:
        source.send(data)
        self.move()
        assert target.recv(1 << 16) == data

    @property
    def name(self) -> str:
        certificate = self.client.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        return str(certificate.subject.rfc4514_string())


def clientContext(version: int | None = None, ciphers: bytes = b"DEFAULT:@SECLEVEL=0") -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_cipher_list(ciphers)
    # Session ids only go one way without this.
    context.set_session_cache_mode(SSL.SESS_CACHE_CLIENT)
    if version is not None:
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
    return context


class ProfileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tls = ServerTLS(pem(LEAF) + pem(ROOT), pem(KEY))

    def test_isWhatTwistedAsksFor(self) -> None:
        verifyObject(IOpenSSLServerConnectionCreator, self.tls)
        verifyObject(IOpenSSLServerConnectionCreator, self.tls.forProtocols(b"http/1.1"))

    def test_speaksTLS13AndTLS12(self) -> None:
        self.assertEqual(Pair.of(self.tls).shake().client.get_protocol_version_name(), "TLSv1.3")
        pair = Pair.of(self.tls, clientContext(SSL.TLS1_2_VERSION)).shake()
        self.assertEqual(pair.client.get_protocol_version_name(), "TLSv1.2")

    def test_speaksNothingOlder(self) -> None:
        for version in (SSL.TLS1_1_VERSION, SSL.TLS1_VERSION):
            error = self.assertRaises(SSL.Error, Pair.of(self.tls, clientContext(version)).shake)
            self.assertIn("unsupported protocol", str(error))

    def test_onlySuitesWithForwardSecrecyAndAuthenticatedEncryption(self) -> None:
        rsaTLS = ServerTLS(pem(RSA), pem(RSA_KEY))
        for suites in (b"AES128-GCM-SHA256", b"ECDHE-RSA-AES128-SHA256", b"ECDHE-RSA-AES256-SHA", b"AES256-SHA"):
            context = clientContext(SSL.TLS1_2_VERSION, suites + b":@SECLEVEL=0")
            self.assertRaises(SSL.Error, Pair.of(rsaTLS, context).shake)
        pair = Pair.of(rsaTLS, clientContext(SSL.TLS1_2_VERSION, b"ECDHE-RSA-CHACHA20-POLY1305")).shake()
        self.assertEqual(pair.client.get_cipher_name(), "ECDHE-RSA-CHACHA20-POLY1305")

    def test_clientChoosesAmongTheSuites(self) -> None:
        for first in (b"ECDHE-ECDSA-CHACHA20-POLY1305", b"ECDHE-ECDSA-AES256-GCM-SHA384"):
            context = clientContext(SSL.TLS1_2_VERSION, first + b":ECDHE-ECDSA-AES128-GCM-SHA256")
            self.assertEqual(Pair.of(self.tls, context).shake().client.get_cipher_name(), first.decode())

    def test_keyExchangeIsHybridWhereBothEndsHaveIt(self) -> None:
        group = Pair.of(self.tls).shake().client.get_group_name()
        assert group is not None
        self.assertIn(group.lower(), {"x25519mlkem768", "x25519"})

    def test_refusesRenegotiation(self) -> None:
        pair = Pair.of(self.tls, clientContext(SSL.TLS1_2_VERSION)).shake()
        pair.client.renegotiate()
        self.assertRaises(SSL.WantReadError, pair.client.do_handshake)
        pair.move()
        self.assertRaises(SSL.WantReadError, pair.server.recv, 1)
        pair.move()
        error = self.assertRaises(SSL.Error, pair.client.do_handshake)
        self.assertIn("no renegotiation", str(error))
        self.assertEqual(pair.server.total_renegotiations(), 0)

    def test_sendsTheWholeChain(self) -> None:
        chain = Pair.of(self.tls).shake().client.get_peer_cert_chain(as_cryptography=True)
        self.assertEqual(chain, [LEAF, ROOT])

    def test_sessionsResumeByTicketsOnAnotherConnection(self) -> None:
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            context = clientContext(version)
            first = Pair.of(self.tls, context).shake()
            second = Pair.of(self.tls, context, session=first.client.get_session()).shake()
            self.assertTrue(resumed(second.client), version)

    def test_nothingDeprecatedIsUsed(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tls = ServerTLS(pem(LEAF) + pem(ROOT), pem(KEY))
            tls.forProtocols(b"http/1.1").serverConnectionForTLS(None)
            tls.update(pem(OTHER), pem(OTHER_KEY))
        self.assertEqual(Pair.of(tls).shake().name, "CN=second.example")


def resumed(connection: SSL.Connection) -> bool:
    """pyOpenSSL has no public name for this."""
    from OpenSSL import _util  # type: ignore[attr-defined]

    return bool(_util.lib.SSL_session_reused(connection._ssl))  # type: ignore[attr-defined]


class UpdateTests(SynchronousTestCase):
    def test_newConnectionsGetTheNewCertificateAndOldOnesGoOn(self) -> None:
        tls = ServerTLS(pem(LEAF), pem(KEY))
        old = Pair.of(tls).shake()
        half = Pair.of(tls)
        tls.update(pem(OTHER), pem(OTHER_KEY))
        self.assertEqual(Pair.of(tls).shake().name, "CN=second.example")
        old.send(old.client, old.server, b"still here")
        self.assertEqual(half.shake().name, "CN=first.example")

    def test_refusedUpdateChangesNothing(self) -> None:
        tls = ServerTLS(pem(LEAF), pem(KEY))
        self.assertRaises(Invalid, tls.update, pem(OTHER), pem(KEY))
        self.assertEqual(Pair.of(tls).shake().name, "CN=first.example")


class NegotiationTests(SynchronousTestCase):
    def test_bestProtocolOfBothIsChosen(self) -> None:
        creator = ServerTLS(pem(LEAF), pem(KEY)).forProtocols(b"h2", b"http/1.1")
        for offered, chosen in (
            ((b"http/1.1", b"h2"), b"h2"),
            ((b"spdy", b"http/1.1"), b"http/1.1"),
            ((b"spdy",), b""),
            ((), b""),
        ):
            pair = Pair.of(creator, protocols=offered).shake()
            self.assertEqual(pair.client.get_alpn_proto_negotiated(), chosen)

    def test_withoutProtocolsNothingIsNegotiated(self) -> None:
        tls = ServerTLS(pem(LEAF), pem(KEY))
        tls.forProtocols(b"http/1.1").serverConnectionForTLS(None)
        self.assertEqual(Pair.of(tls, protocols=[b"http/1.1"]).shake().client.get_alpn_proto_negotiated(), b"")

    def test_followsTheCertificate(self) -> None:
        tls = ServerTLS(pem(LEAF), pem(KEY))
        creator = tls.forProtocols(b"http/1.1")
        self.assertEqual(Pair.of(creator).shake().name, "CN=first.example")
        tls.update(pem(OTHER), pem(OTHER_KEY))
        pair = Pair.of(creator, protocols=[b"http/1.1"]).shake()
        self.assertEqual((pair.name, pair.client.get_alpn_proto_negotiated()), ("CN=second.example", b"http/1.1"))


class CheckTests(SynchronousTestCase):
    def problems(self, chain: bytes, key: bytes) -> list[str]:
        return [str(problem) for problem in checkPair(chain, key)]

    def test_pairsThatFitHaveNoProblems(self) -> None:
        edKey = ed25519.Ed25519PrivateKey.generate()
        for chain, key in (
            (pem(LEAF), pem(KEY)),
            (pem(LEAF) + pem(ROOT), pem(KEY)),
            (pem(RSA), pem(RSA_KEY)),
            (pem(certificateFor(edKey, "ed.example")), pem(edKey)),
        ):
            self.assertEqual(self.problems(chain, key), [])

    def test_keyOfAnotherCertificate(self) -> None:
        self.assertEqual(
            self.problems(pem(LEAF), pem(OTHER_KEY)),
            ["key: does not belong to the first certificate of the chain"],
        )

    def test_chainInAnotherOrder(self) -> None:
        self.assertEqual(
            self.problems(pem(LEAF) + pem(OTHER) + pem(ROOT), pem(KEY)),
            ["chain: certificate 2 did not sign the one before it"],
        )

    def test_everyProblemIsTold(self) -> None:
        expected = ["chain: holds no PEM certificate that can be read", "key: is no PEM private key that can be read"]
        for rubbish in (b"", b"rubbish", b"-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n", b"\xff\0"):
            self.assertEqual(self.problems(rubbish, rubbish), expected)

    def test_encryptedKey(self) -> None:
        self.assertEqual(self.problems(pem(LEAF), pem(KEY, b"password")), ["key: is encrypted"])

    def test_keysThatTLSHasNoUseFor(self) -> None:
        key = dsa.generate_private_key(2048)
        self.assertEqual(
            self.problems(pem(certificateFor(key, "dsa.example")), pem(key)), ["key: must be an RSA, EC or Ed25519 key"]
        )

    def test_keyThatIsTooSmall(self) -> None:
        key = rsa.generate_private_key(65537, 1024)
        (problem,) = self.problems(pem(certificateFor(key, "small.example")), pem(key))
        self.assertIn("too small", problem)

    def test_problemsAreRaisedWhereItIsServed(self) -> None:
        error = self.assertRaises(Invalid, ServerTLS, pem(LEAF), b"")
        self.assertEqual([problem.path for problem in error.problems], ["key"])
