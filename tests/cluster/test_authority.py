"""Tests of the keys and certificates that a cluster makes."""

from __future__ import annotations

import ipaddress
import time
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.cluster.authority import (
    Authority,
    makeHostKeys,
    makeServiceCertificate,
    newNodeKey,
    openAuthority,
    renew,
    requestedKey,
    signingRequest,
)
from cftpcluster.cluster.membership import Usage, keyFingerprint, verifiedName
from cftpcluster.cluster.sealing import CannotOpen, Sealer, newClusterKey
from cftpcluster.config.changes import Remove
from cftpcluster.config.document import Document
from cftpcluster.errors import ClusterError, Refused
from cftpcluster.testing.membership import SmallCluster

NOW = 1_800_000_000.0


def publicKey(privateKeyPem: bytes) -> Any:
    return load_pem_private_key(privateKeyPem, None).public_key()


class AuthorityTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.authority = Authority.new(NOW)
        self.certificate = x509.load_pem_x509_certificate(self.authority.certificatePem)

    def test_authorityCertificate(self) -> None:
        name = str(self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
        self.assertRegex(name, "^cftpcluster CA [0-9a-f]{16}$")
        constraints = self.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        self.assertEqual((constraints.critical, constraints.value.ca, constraints.value.path_length), (True, True, 0))
        self.assertEqual(self.certificate.not_valid_before_utc.timestamp(), NOW - 25 * 3600)
        self.assertEqual(self.certificate.not_valid_after_utc.timestamp(), NOW + 20 * 365 * 86400)
        self.certificate.verify_directly_issued_by(self.certificate)
        self.assertNotEqual(self.authority.fingerprint, Authority.new(NOW).fingerprint)

    def test_nodeCertificate(self) -> None:
        key = publicKey(newNodeKey())
        issued = x509.load_pem_x509_certificate(self.authority.issue("node_a@x", key, NOW))
        self.assertEqual(issued.public_key(), key)
        self.assertEqual(issued.not_valid_before_utc.timestamp(), NOW - 25 * 3600)
        self.assertEqual(issued.not_valid_after_utc.timestamp(), NOW + 365 * 86400)
        self.assertFalse(issued.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
        names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.UniformResourceIdentifier), ["urn:cftpcluster:node:node_a@x"])
        for usage in Usage:
            self.assertEqual(verifiedName(issued, [self.certificate], usage, NOW), "node_a@x")

    def test_longestNameFits(self) -> None:
        name = "n" * 64
        issued = x509.load_pem_x509_certificate(self.authority.issue(name, publicKey(newNodeKey()), NOW))
        self.assertEqual(verifiedName(issued, [self.certificate], Usage.client, NOW), name)

    def test_otherNamesAreRefused(self) -> None:
        for name in ("", "-a", "a b", "a\n", "n" * 65, "é", "a/../b"):
            self.assertRaises(Refused, self.authority.issue, name, publicKey(newNodeKey()), NOW)

    def test_documentKeepsItSealed(self) -> None:
        cluster = SmallCluster(NOW)
        self.assertEqual(openAuthority(cluster.document, cluster.sealer), cluster.authority)
        self.assertRaises(CannotOpen, openAuthority, cluster.document, Sealer(newClusterKey()))
        self.assertNotIn(cluster.authority.keyPem[50:90], cluster.document.keys["authority"].key.sealed)
        error = self.assertRaises(ClusterError, openAuthority, Document(), cluster.sealer)
        self.assertIn("no certificate authority", str(error))

    def test_reprShowsNothing(self) -> None:
        self.assertEqual(repr(self.authority), "Authority()")


class RequestTests(SynchronousTestCase):
    def test_requestProvesItsKey(self) -> None:
        key = newNodeKey()
        self.assertEqual(requestedKey(signingRequest(key)), publicKey(key))

    def request(self, key: Any, algorithm: Any = None) -> bytes:
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        return builder.sign(key, algorithm).public_bytes(Encoding.PEM)

    def test_keysThatAreAccepted(self) -> None:
        for key, algorithm in (
            (ec.generate_private_key(ec.SECP384R1()), hashes.SHA384()),
            (ed25519.Ed25519PrivateKey.generate(), None),
        ):
            self.assertEqual(requestedKey(self.request(key, algorithm)), key.public_key())

    def test_keysThatAreNot(self) -> None:
        for key in (
            ec.generate_private_key(ec.SECP256K1()),
            rsa.generate_private_key(public_exponent=65537, key_size=2048),
        ):
            error = self.assertRaises(Refused, requestedKey, self.request(key, hashes.SHA256()))
            self.assertIn("P-256", str(error))

    def test_garbage(self) -> None:
        good = signingRequest(newNodeKey())
        for garbage in (b"", b"x" * 100, good[:100], b"x" * 100_000, Authority.new(NOW).certificatePem, b"\xff\x00"):
            self.assertIn("cannot be read", str(self.assertRaises(Refused, requestedKey, garbage)))

    def test_forgedSignature(self) -> None:
        request = x509.load_pem_x509_csr(signingRequest(newNodeKey()))
        other = x509.load_pem_x509_csr(signingRequest(newNodeKey()))
        der = request.public_bytes(Encoding.DER)
        forged = x509.load_der_x509_csr(der.replace(_point(request), _point(other))).public_bytes(Encoding.PEM)
        self.assertIn("not signed by its own key", str(self.assertRaises(Refused, requestedKey, forged)))


def _point(request: x509.CertificateSigningRequest) -> bytes:
    return request.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


class RenewTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = SmallCluster(NOW)
        self.identity = self.cluster.found("a")

    def renew(self, name: str, requestPem: bytes) -> bytes:
        return renew(self.cluster.document, self.cluster.sealer, name, requestPem, NOW + 250 * 86400)

    def test_memberGetsAFreshCertificateForItsKey(self) -> None:
        fresh = x509.load_pem_x509_certificate(self.renew("a", signingRequest(self.identity.privateKeyPem)))
        self.assertEqual(keyFingerprint(fresh.public_key()), self.cluster.document.nodes["a"].fingerprint)
        self.assertEqual(fresh.not_valid_after_utc.timestamp(), NOW + (250 + 365) * 86400)

    def test_anotherKeyNeedsAToken(self) -> None:
        error = self.assertRaises(Refused, self.renew, "a", signingRequest(newNodeKey()))
        self.assertIn("needs a join token", str(error))

    def test_removedNodeGetsNone(self) -> None:
        self.cluster.change(Remove("nodes", "a"))
        self.assertRaises(Refused, self.renew, "a", signingRequest(self.identity.privateKeyPem))


class ServiceCertificateTests(SynchronousTestCase):
    def test_names(self) -> None:
        names = ["node-a", "192.0.2.1", "2001:db8::1", "büro.example", "", "node-a"]
        chain, key = makeServiceCertificate(names, NOW)
        certificate = x509.load_pem_x509_certificate(chain)
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(alternatives.get_values_for_type(x509.DNSName), ["node-a", "xn--bro-hoa.example", "localhost"])
        self.assertEqual(
            alternatives.get_values_for_type(x509.IPAddress),
            [ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("2001:db8::1")],
        )
        self.assertEqual(certificate.subject.rfc4514_string(), "CN=node-a")
        self.assertEqual(certificate.public_key(), publicKey(key))
        certificate.verify_directly_issued_by(certificate)
        self.assertEqual(certificate.not_valid_after_utc.timestamp(), NOW + 10 * 365 * 86400)

    def test_namesThatNoCertificateCanHoldAreLeftOut(self) -> None:
        chain, _ = makeServiceCertificate(["x" * 80, "\udcff", "a..b"], NOW)
        self.assertEqual(x509.load_pem_x509_certificate(chain).subject.rfc4514_string(), "CN=localhost")

    def test_clientsThatWereGivenItTrustIt(self) -> None:
        chain, key = makeServiceCertificate(["node-a"], time.time())
        server, client = SSL.Context(SSL.TLS_SERVER_METHOD), SSL.Context(SSL.TLS_CLIENT_METHOD)
        server.use_certificate(x509.load_pem_x509_certificate(chain))
        server.use_privatekey(load_pem_private_key(key, None))  # type: ignore[arg-type]
        store = client.get_cert_store()
        assert store is not None
        store.add_cert(X509.from_cryptography(x509.load_pem_x509_certificate(chain)))
        client.set_verify(SSL.VERIFY_PEER)
        ends = SSL.Connection(server, None), SSL.Connection(client, None)
        ends[0].set_accept_state()
        ends[1].set_connect_state()
        for _ in range(4):
            for here, there in (ends, ends[::-1]):
                try:
                    here.do_handshake()
                except SSL.WantReadError:
                    pass
                try:
                    there.bio_write(here.bio_read(65536))
                except SSL.WantReadError:
                    pass
        self.assertIsNotNone(ends[1].get_verified_chain())
        ends[1].send(b"hello")
        ends[0].bio_write(ends[1].bio_read(65536))
        self.assertEqual(ends[0].recv(10), b"hello")


class HostKeyTests(SynchronousTestCase):
    def test_formsOfOpenSSH(self) -> None:
        keys = makeHostKeys()
        self.assertEqual(sorted(keys), ["ed25519", "rsa"])
        for pem in keys.values():
            self.assertTrue(pem.startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----"))
        self.assertIsInstance(load_ssh_private_key(keys["ed25519"], None), ed25519.Ed25519PrivateKey)
        strong: Any = load_ssh_private_key(keys["rsa"], None)
        self.assertEqual(strong.key_size, 3072)
