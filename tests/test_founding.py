"""The first start of a node: what it writes, and that it can be broken off anywhere."""

from __future__ import annotations

import stat
import time
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.cluster.authority import openAuthority
from cftpcluster.cluster.join import Joined
from cftpcluster.cluster.membership import keyFingerprint
from cftpcluster.cluster.sealing import newClusterKey
from cftpcluster.components import Components
from cftpcluster.config.document import Document, Node, Role
from cftpcluster.errors import ClusterError
from cftpcluster.founding import (
    CLUSTER_KEYS,
    IDENTITY,
    PEERS,
    PRIVATE_KEY,
    Membership,
    completeJoin,
    hasJoined,
    load,
    prepareFounding,
    privateKeyForJoining,
    store,
)
from cftpcluster.journal.entry import Proposal
from cftpcluster.journal.memory import MemoryJournal
from cftpcluster.node import NODE_KINDS
from cftpcluster.servers.tls import checkPair
from cftpcluster.state import StateDirectory
from cftpcluster.testing.cluster import soon
from cftpcluster.testing.membership import SmallCluster

PASSWORD = b"given by the operator"


class Crash(BaseException):
    """The process is gone."""


class CrashingState(StateDirectory):
    """A state folder whose process dies at a write.

    :ivar writes: how many more it does before.
    """

    writes = 0

    def write(self, name: str, data: bytes) -> None:
        if self.writes == 0:
            raise Crash(name)
        self.writes -= 1
        super().write(name, data)


def kinds() -> dict[str, Any]:
    found = Components.gather().kinds
    return {**found, "listeners": {**found["listeners"], **NODE_KINDS}}


def documentOf(proposal: Proposal) -> Document:
    """What a new journal makes of it, which refuses what is not valid."""
    document: Document = soon(MemoryJournal(kinds()).append(proposal)).document
    return document


@cache
def founded() -> tuple[Membership, Document]:
    """A founding that nobody disturbed."""
    with TemporaryDirectory() as folder:
        membership, proposal = prepareFounding(StateDirectory(Path(folder)), "node-a", "127.0.0.2", PASSWORD)
    return membership, documentOf(proposal)


class FoundingCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = StateDirectory(Path(self.mktemp()).absolute())
        self.state.prepare()

    def files(self) -> set[str]:
        return {each.name for each in self.state.path.iterdir()}

    def assertPasswordIs(self, document: Document, password: bytes) -> None:
        admin = document.admins["admin"]
        self.assertTrue(PasswordHasher().verify(admin.passwordHash, password))

    def assertMembershipFits(self, membership: Membership | None, document: Document) -> None:
        """The keys on disk are those that the document was made with."""
        assert membership is not None
        fingerprint = keyFingerprint(membership.identity.certificate.public_key())
        self.assertEqual(document.nodes[membership.identity.name].fingerprint, fingerprint)
        authority = openAuthority(document, membership.sealer)
        self.assertEqual(authority.certificatePem.strip(), membership.identity.caPem.strip())


class FoundedClusterTests(FoundingCase):
    def setUp(self) -> None:
        super().setUp()
        self.membership, self.document = founded()

    def test_founderIsPrimaryOfTheFirstEpoch(self) -> None:
        promoted, node = self.document.promoted, self.document.nodes["node-a"]
        self.assertEqual((promoted.epoch, promoted.name, self.document.revision), (1, "node-a", 1))
        self.assertEqual((node.number, node.address), (1, "127.0.0.2"))
        self.assertMembershipFits(self.membership, self.document)

    def test_hasOneFullAdministratorAndNoUsers(self) -> None:
        self.assertEqual([(admin.name, admin.role) for admin in self.document.admins.values()], [("admin", Role.full)])
        self.assertPasswordIs(self.document, PASSWORD)
        with self.assertRaises(VerifyMismatchError):
            self.assertPasswordIs(self.document, b"admin")
        self.assertEqual(len(self.document.users), 0)

    def test_hasTheListenersOfTheContract(self) -> None:
        self.assertEqual(
            {each.name: (each.kind, each.port) for each in self.document.listeners.values()},
            {
                "ftp": ("ftp", 2121),
                "ftps": ("ftp", 2990),
                "sftp": ("sftp", 2222),
                "https": ("web", 8443),
                "manager": ("manager", 8444),
                "cluster": ("cluster", 8789),
                "health": ("health", 8790),
            },
        )

    def test_keysCanBeServedWithAndAreSealed(self) -> None:
        opened = self.membership.sealer.open
        certificate = self.document.certificates["default"]
        self.assertEqual(checkPair(certificate.chain.encode(), opened(certificate.key)), [])
        names = x509.load_pem_x509_certificate(certificate.chain.encode()).extensions
        alternatives = names.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertIn(ip_address("127.0.0.2"), alternatives.get_values_for_type(x509.IPAddress))
        self.assertEqual(set(self.document.hostKeys), {"ed25519", "rsa"})
        for key in self.document.hostKeys.values():
            self.assertIn(b"OPENSSH PRIVATE KEY", opened(key.key))
        self.assertEqual(len(opened(self.document.keys["sessions"].key)), 32)

    def test_secretsAreNotShown(self) -> None:
        self.assertNotIn(repr(self.membership.clusterKeys[0]), repr(self.membership))
        self.assertNotIn("PRIVATE", repr(self.membership))


class PreparingTests(FoundingCase):
    def test_writesWhatIsRead(self) -> None:
        membership, _ = prepareFounding(self.state, "node-a", "127.0.0.2", PASSWORD)
        self.assertEqual(load(self.state), membership)
        self.assertFalse(hasJoined(self.state))
        self.assertEqual(self.files(), {IDENTITY, CLUSTER_KEYS})
        for name in self.files():
            self.assertEqual(stat.S_IMODE((self.state.path / name).stat().st_mode), 0o600, name)

    def test_canBeRepeatedAfterACrashAtAnyWrite(self) -> None:
        for writes in range(4):
            dying = CrashingState(self.state.path)
            dying.writes = writes
            try:
                prepareFounding(dying, "node-a", "127.0.0.2", None)
            except Crash:
                self.assertLess(writes, 3)
            else:
                # Before the journal has its first entry, the start after this one founds anew all the same.
                self.assertEqual((writes, dying.writes), (3, 0))
            load(self.state)
        _, proposal = prepareFounding(self.state, "node-a", "127.0.0.2", None)
        document = documentOf(proposal)
        self.assertMembershipFits(load(self.state), document)
        self.assertPasswordIs(document, self.state.adminPassword.read_bytes().removesuffix(b"\n"))
        self.assertTrue(document.admins["admin"].initialPassword)
        self.assertEqual(stat.S_IMODE(self.state.adminPassword.stat().st_mode), 0o600)

    def test_givenPasswordIsWrittenNowhere(self) -> None:
        """Also where an earlier founding, without one, had broken off."""
        self.state.write(self.state.adminPassword.name, b"generated before\n")
        _, proposal = prepareFounding(self.state, "node-a", "127.0.0.2", PASSWORD)
        self.assertFalse(documentOf(proposal).admins["admin"].initialPassword)
        self.assertFalse(self.state.adminPassword.exists())
        for name in self.files():
            self.assertNotIn(PASSWORD, (self.state.path / name).read_bytes())

    def test_nameThatNoNodeCanHaveIsRefused(self) -> None:
        self.assertRaises(ClusterError, prepareFounding, self.state, "no name", "127.0.0.2", PASSWORD)
        self.assertEqual(self.files(), set())


class LoadingTests(FoundingCase):
    def setUp(self) -> None:
        super().setUp()
        self.membership = founded()[0]

    def test_emptyFolderHoldsNothing(self) -> None:
        self.assertIsNone(load(self.state))
        self.assertFalse(hasJoined(self.state))

    def test_oneFileAloneIsNothing(self) -> None:
        for name in (IDENTITY, CLUSTER_KEYS):
            store(self.state, self.membership)
            (self.state.path / name).unlink()
            self.assertIsNone(load(self.state))

    def test_olderClusterKeysStayInTheirOrder(self) -> None:
        keys = (newClusterKey(), newClusterKey())
        store(self.state, Membership(self.membership.identity, keys))
        loaded = load(self.state)
        assert loaded is not None
        self.assertEqual(loaded.clusterKeys, keys)
        self.assertEqual(loaded.sealer.keys, keys)

    def test_damagedFileIsNamedInOneLine(self) -> None:
        peers = Membership(
            self.membership.identity, self.membership.clusterKeys, (Node(name="a", address="::1"),), 8789
        )
        for name, damaged in (
            (CLUSTER_KEYS, b""),
            (CLUSTER_KEYS, b"{}"),
            (CLUSTER_KEYS, b"[]"),
            (CLUSTER_KEYS, b"[7]"),
            (CLUSTER_KEYS, b'["c2hvcnQ="]'),
            (CLUSTER_KEYS, b"\xff\xfe"),
            (PEERS, b"null"),
            (PEERS, b"{}"),
            (PEERS, b'{"nodes": [{"name": "a"}], "port": 8789}'),
            (PEERS, b'{"nodes": [], "port": null}'),
        ):
            store(self.state, peers)
            self.state.write(name, damaged)
            error = self.assertRaises(ClusterError, load, self.state)
            self.assertIn(str(self.state.path / name), str(error))
            self.assertNotIn("\n", str(error))
        store(self.state, peers)
        self.state.write(IDENTITY, b"no PEM")
        self.assertRaises(ClusterError, load, self.state)


class JoiningTests(FoundingCase):
    def setUp(self) -> None:
        super().setUp()
        cluster = SmallCluster(time.time())
        cluster.found("a", "192.0.2.1")
        nodes = (Node(name="a", address="192.0.2.1", fingerprint="0" * 64), Node(name="b", address="192.0.2.2"))
        self.joined = Joined(cluster.add("c"), cluster.sealer.keys, nodes, "a")

    def test_keyIsKeptFromItsFirstUse(self) -> None:
        key = privateKeyForJoining(self.state)
        self.assertIn(b"PRIVATE KEY", key)
        self.assertEqual((self.state.read(PRIVATE_KEY), privateKeyForJoining(self.state)), (key, key))

    def test_writesWhatIsRead(self) -> None:
        membership = completeJoin(self.state, self.joined, 8700)
        self.assertEqual(load(self.state), membership)
        self.assertTrue(hasJoined(self.state))
        self.assertEqual(membership.identity.name, "c")
        self.assertEqual([node.name for node in membership.peers], ["a", "b"])
        self.assertEqual(membership.peerNodes["a"].address, "192.0.2.1")
        self.assertEqual(membership.clusterPort, 8700)

    def test_isCompleteOnlyWithItsLastWrite(self) -> None:
        for writes in range(3):
            dying = CrashingState(self.state.path)
            dying.writes = writes
            self.assertRaises(Crash, completeJoin, dying, self.joined, 8700)
            load(self.state)
            self.assertFalse(hasJoined(self.state))
        completeJoin(self.state, self.joined, 8700)
        self.assertTrue(hasJoined(self.state))

    def test_nobodyToFollowIsAnError(self) -> None:
        nobody = Joined(self.joined.identity, self.joined.clusterKeys, (), "a")
        self.assertRaises(ClusterError, completeJoin, self.state, nobody, 8700)
        self.assertEqual(self.files(), set())
