"""Tests of what certificates say and who is a member."""

from __future__ import annotations

import time
from typing import Any

from attrs import evolve
from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.cluster.authority import Authority, newNodeKey
from cftpcluster.cluster.membership import (
    NodeIdentity,
    Usage,
    certificateFingerprint,
    checkedMember,
    keyFingerprint,
    needsRenewal,
    nodeName,
    removal,
    verifiedName,
)
from cftpcluster.config.changes import Put, Remove
from cftpcluster.config.document import JoinToken
from cftpcluster.errors import ClusterError, Refused
from cftpcluster.testing.membership import SmallCluster

DAY = 86400


class IdentityTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = SmallCluster(time.time())
        self.identity = self.cluster.found("node-a.example@1")

    def test_oneFileHoldsItAll(self) -> None:
        self.assertEqual(NodeIdentity.fromPem(self.identity.toPem()), self.identity)
        self.assertEqual(nodeName(self.identity.certificate), "node-a.example@1")

    def test_severalAuthoritiesAreKept(self) -> None:
        other = Authority.new(0).certificatePem
        both = evolve(self.identity, caPem=self.identity.caPem + other)
        again = NodeIdentity.fromPem(both.toPem())
        self.assertEqual(again, both)
        self.assertEqual(len(again.authorities), 2)

    def test_missingNewlinesAreNoMatter(self) -> None:
        stripped = evolve(
            self.identity,
            privateKeyPem=self.identity.privateKeyPem.rstrip(),
            certificatePem=self.identity.certificatePem.rstrip(),
        )
        self.assertEqual(NodeIdentity.fromPem(stripped.toPem()), self.identity)

    def test_damageIsNamed(self) -> None:
        pem = self.identity.toPem()
        other = self.cluster.add("b")
        for damaged, reason in (
            (b"", "one private key"),
            (pem[: len(pem) // 2], "one private key"),
            (pem + newNodeKey(), "one private key"),
            (self.identity.certificatePem + self.identity.caPem, "one private key"),
            (pem.replace(b"BEGIN CERTIFICATE-----\nMII", b"BEGIN CERTIFICATE-----\nAAA"), "damaged"),
            (other.privateKeyPem + self.identity.certificatePem + self.identity.caPem, "not that of its certificate"),
            (self.cluster.authority.keyPem + self.identity.caPem * 2, "names no node"),
        ):
            error = self.assertRaises(ClusterError, NodeIdentity.fromPem, damaged)
            self.assertIn(reason, str(error))

    def test_reprShowsTheNameAlone(self) -> None:
        self.assertEqual(repr(self.identity), "NodeIdentity(name='node-a.example@1')")


class VerifiedNameTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = time.time()
        self.cluster = SmallCluster(self.now)
        self.certificate = self.cluster.found("a").certificate
        self.authorities = [x509.load_pem_x509_certificate(self.cluster.authority.certificatePem)]

    def refusal(self, certificate: x509.Certificate, now: float, usage: Usage = Usage.client) -> str:
        return str(self.assertRaises(Refused, verifiedName, certificate, self.authorities, usage, now))

    def test_nodesServeBothEnds(self) -> None:
        for usage in Usage:
            self.assertEqual(verifiedName(self.certificate, self.authorities, usage, self.now), "a")

    def test_anyOfTheAuthoritiesWillDo(self) -> None:
        both = [x509.load_pem_x509_certificate(Authority.new(self.now).certificatePem), *self.authorities]
        self.assertEqual(verifiedName(self.certificate, both, Usage.server, self.now), "a")
        self.assertRaises(Refused, verifiedName, self.certificate, both[:1], Usage.server, self.now)
        self.assertRaises(Refused, verifiedName, self.certificate, [], Usage.server, self.now)

    def test_timesAreChecked(self) -> None:
        self.assertEqual(verifiedName(self.certificate, self.authorities, Usage.client, self.now - 24 * 3600), "a")
        self.assertIn("is not valid before", self.refusal(self.certificate, self.now - 26 * 3600))
        self.assertEqual(verifiedName(self.certificate, self.authorities, Usage.client, self.now + 364 * DAY), "a")
        self.assertIn("expired at", self.refusal(self.certificate, self.now + 366 * DAY))

    def test_authorityItselfIsNoNode(self) -> None:
        self.assertIn("not signed by this cluster's authority", self.refusal(self.authorities[0], self.now))


class CheckedMemberTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = SmallCluster(time.time())
        self.identity = self.cluster.found("a")

    def test_memberIsTheDocumentsNode(self) -> None:
        nodes = self.cluster.document.nodes
        self.assertIs(checkedMember(nodes, "a", self.identity.certificate), nodes["a"])

    def test_renewedCertificateOfTheSameKeyIsTheSameMember(self) -> None:
        key: Any = self.identity.certificate.public_key()
        pem = self.cluster.authority.issue("a", key, self.cluster.now + 1000)
        member = checkedMember(self.cluster.document.nodes, "a", x509.load_pem_x509_certificate(pem))
        self.assertEqual(member.name, "a")

    def test_removedAndRekeyedNodesAreNone(self) -> None:
        self.cluster.add("a")
        error = self.assertRaises(Refused, checkedMember, self.cluster.document.nodes, "a", self.identity.certificate)
        self.assertEqual(str(error), 'node "a" has another key in this cluster')
        self.cluster.change(Remove("nodes", "a"))
        error = self.assertRaises(Refused, checkedMember, self.cluster.document.nodes, "a", self.identity.certificate)
        self.assertEqual(str(error), 'node "a" is not a member of this cluster')

    def test_nodeWithoutAFingerprintLetsNobodyIn(self) -> None:
        node = evolve(self.cluster.document.nodes["a"], fingerprint="")
        self.assertRaises(Refused, checkedMember, {"a": node}, "a", self.identity.certificate)


class RenewalTests(SynchronousTestCase):
    def test_afterTwoThirdsOfItsLife(self) -> None:
        now = time.time()
        pem = SmallCluster(now).found("a").certificatePem
        self.assertFalse(needsRenewal(pem, now))
        self.assertFalse(needsRenewal(pem, now + 242 * DAY))
        self.assertTrue(needsRenewal(pem, now + 244 * DAY))
        self.assertTrue(needsRenewal(pem, now + 1000 * DAY))


class RemovalTests(SynchronousTestCase):
    def test_tokensOfTheNodeGoWithIt(self) -> None:
        cluster = SmallCluster(time.time())
        cluster.found("a")
        cluster.add("b")
        for name, node in (("t1", "b"), ("t2", "c"), ("t3", "b")):
            cluster.change(Put("tokens", JoinToken(name=name, node=node, secretHash="", expires=0)))
        cluster.change(removal(cluster.document, "b"))
        self.assertEqual(sorted(cluster.document.nodes), ["a"])
        self.assertEqual(sorted(cluster.document.tokens), ["t2"])


class FingerprintTests(SynchronousTestCase):
    def test_formsOfHex(self) -> None:
        certificate = SmallCluster(time.time()).found("a").certificate
        for fingerprint in (keyFingerprint(certificate.public_key()), certificateFingerprint(certificate)):
            self.assertRegex(fingerprint, "^[0-9a-f]{64}$")
