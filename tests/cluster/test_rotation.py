"""New keys for a cluster: who gets them, and who does not."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_ssh_private_key
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.cluster.authority import AUTHORITY, makeHostKey, makeHostKeys, makeServiceCertificate, openAuthority
from cftpcluster.cluster.membership import NodeIdentity, publicKeyText
from cftpcluster.cluster.rotation import (
    CLUSTER_KEY,
    PREVIOUS_AUTHORITY,
    PREVIOUS_SESSIONS,
    SESSIONS,
    handedOver,
    handedTo,
    isOfAuthority,
    newSessionKey,
    openFor,
    putOut,
    putOutCompromised,
    sealedObjects,
    sealFor,
    secretsOf,
    trustedAuthorities,
)
from cftpcluster.cluster.sealing import CannotOpen, Sealer, newClusterKey
from cftpcluster.cluster.tokens import newToken
from cftpcluster.config.changes import Batch, Put, apply
from cftpcluster.config.codec import decodeDocument, encodeDocument
from cftpcluster.config.document import Backend, Certificate, ClusterKey, HostKey, User
from cftpcluster.config.validation import problems
from cftpcluster.errors import ClusterError
from cftpcluster.testing.membership import SmallCluster

NOW = 1_800_000_000.0
CHAIN, KEY = makeServiceCertificate(["one.test"], NOW)
HOST_KEYS = makeHostKeys()


class SealingForOneTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = SmallCluster(NOW)
        self.identity = self.cluster.found("node-a")
        self.publicKey = self.cluster.document.nodes["node-a"].publicKey

    def test_onlyThatNodeCanOpenIt(self) -> None:
        sealed = sealFor(self.publicKey, b"a key", b"context")
        self.assertEqual(openFor(self.identity.privateKeyPem, sealed, b"context"), b"a key")
        self.assertNotEqual(sealed, sealFor(self.publicKey, b"a key", b"context"))
        other = self.cluster.add("node-b")
        self.assertRaises(CannotOpen, openFor, other.privateKeyPem, sealed, b"context")
        self.assertRaises(CannotOpen, openFor, self.identity.privateKeyPem, sealed, b"another")

    def test_everyAlteredByteIsNoticed(self) -> None:
        sealed = sealFor(self.publicKey, b"a key", b"context")
        for place in range(len(sealed)):
            altered = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
            self.assertRaises(CannotOpen, openFor, self.identity.privateKeyPem, altered, b"context")
            self.assertRaises(CannotOpen, openFor, self.identity.privateKeyPem, sealed[:place], b"context")

    def test_keysThatNothingCanBeSealedForAreRefused(self) -> None:
        for text in ("", "nonsense", "AAAA", publicKeyText(Ed25519PrivateKey.generate().public_key())):
            self.assertRaises(ClusterError, sealFor, text, b"a key", b"context")


class RotationCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = SmallCluster(NOW)
        self.identities: dict[str, NodeIdentity] = {"node-a": self.cluster.found("node-a")}
        for name in ("node-b", "node-c"):
            self.identities[name] = self.cluster.add(name)
        seal = self.cluster.sealer.seal
        _, token = newToken("node-d", "127.0.0.1", 8789, "00" * 32, NOW, 60)
        _, other = newToken("node-c", "127.0.0.1", 8789, "00" * 32, NOW, 60)
        self.cluster.change(
            Put("certificates", Certificate(name="default", chain=CHAIN.decode(), key=seal(KEY))),
            *(Put("hostKeys", HostKey(name=name, key=seal(pem))) for name, pem in HOST_KEYS.items()),
            Put("keys", ClusterKey(name=SESSIONS, key=seal(b"s" * 32))),
            Put("users", User(name="alice", passwordHash=f"$6$saltsalt${'a' * 86}")),
            Put("backends", Backend(name="share", kind="local", shared=True)),
            Put("tokens", token),
            Put("tokens", other),
        )
        self.keys = self.cluster.sealer.keys

    def rotate(self, name: str = "node-c", compromised: bool = False) -> Any:
        before = self.cluster.document
        sealer = Sealer(*self.keysOf("node-a"))
        rotation = putOutCompromised(before, name, sealer, NOW) if compromised else putOut(before, name, sealer)
        self.cluster.document = apply(before, rotation.change)
        self.assertEqual(problems(self.cluster.document, rotation.change, {}), [])
        self.assertEqual(decodeDocument(encodeDocument(self.cluster.document)), self.cluster.document)
        return rotation

    def keysOf(self, name: str) -> tuple[bytes, ...]:
        return handedOver(self.cluster.document, name, self.identities[name].privateKeyPem, self.keys)

    def opens(self, keys: tuple[bytes, ...]) -> set[str]:
        """What of the document those keys open."""
        sealer, opened = Sealer(*keys), set()
        for section, value in sealedObjects(self.cluster.document):
            for secret in secretsOf(value).values():
                try:
                    sealer.open(secret)
                    opened.add(f"{section}/{value.name}")
                except CannotOpen:
                    pass
        return opened

    @property
    def sealed(self) -> set[str]:
        return {f"{section}/{value.name}" for section, value in sealedObjects(self.cluster.document)}


class RemovalTests(RotationCase):
    def test_thoseWhoStayGetTheKeyAndWhoLeavesOpensNothing(self) -> None:
        before = self.cluster.document
        rotation = self.rotate()
        self.assertEqual((rotation.left, rotation.byHand), ((), ()))
        self.assertNotIn("node-c", self.cluster.document.nodes)
        self.assertEqual([token.node for token in self.cluster.document.tokens.values()], ["node-d"])
        self.assertEqual(self.opens(self.keys), set())
        self.assertRaises(CannotOpen, self.keysOf, "node-c")
        for name in ("node-a", "node-b"):
            keys = self.keysOf(name)
            self.assertEqual(keys[1:], self.keys)
            self.assertEqual(self.opens(keys[:1]), self.sealed)
        sealer = Sealer(*self.keysOf("node-b"))
        self.assertEqual(sealer.open(self.cluster.document.certificates["default"].key), KEY)
        self.assertEqual(openAuthority(self.cluster.document, sealer), openAuthority(before, self.cluster.sealer))
        self.assertNotEqual(sealer.open(self.cluster.document.keys[SESSIONS].key), b"s" * 32)

    def test_withoutANewKeyNothingChanges(self) -> None:
        self.assertEqual(self.keysOf("node-b"), self.keys)

    def test_nodeThatWasAwayForSeveralRotationsGetsAllKeys(self) -> None:
        self.rotate("node-c")
        first = self.keysOf("node-a")
        self.identities["node-d"] = self.cluster.add("node-d")
        self.rotate("node-d")
        self.assertEqual(self.keysOf("node-b"), (self.keysOf("node-a")[0], *first))
        self.assertEqual(len(self.keysOf("node-b")), 3)

    def test_nodeThatJoinsIsHandedTheNewestKey(self) -> None:
        self.rotate()
        identity = self.identities["node-d"] = self.cluster.add("node-d")
        self.assertRaises(CannotOpen, self.keysOf, "node-d")
        sealer = Sealer(*self.keysOf("node-a"))
        node = self.cluster.document.nodes["node-d"]
        self.cluster.change(*handedTo(self.cluster.document, sealer, node))
        self.assertEqual(handedOver(self.cluster.document, "node-d", identity.privateKeyPem, ())[0], sealer.keys[0])
        self.assertRaises(ClusterError, list, handedTo(self.cluster.document, self.cluster.sealer, node))

    def test_beforeAnyRotationNothingIsHandedOver(self) -> None:
        node = self.cluster.document.nodes["node-b"]
        self.assertEqual(list(handedTo(self.cluster.document, self.cluster.sealer, node)), [])

    def test_membersWhoseKeyIsNotKnownAreNamed(self) -> None:
        self.cluster.change(Put("nodes", evolve(self.cluster.document.nodes["node-b"], publicKey="")))
        self.assertEqual(self.rotate().left, ("node-b",))
        self.assertRaises(CannotOpen, self.keysOf, "node-b")

    def test_secretThatCannotBeOpenedDoesNotKeepTheNode(self) -> None:
        broken = HostKey(name="broken", key=Sealer(newClusterKey()).seal(b"x"))
        self.cluster.change(Put("hostKeys", broken))
        self.rotate()
        self.assertEqual(self.cluster.document.hostKeys["broken"].key, broken.key)
        self.assertNotIn("node-c", self.cluster.document.nodes)

    def test_forgedAndNewerRecordsAreNotBelieved(self) -> None:
        self.rotate()
        record = self.cluster.document.keys[CLUSTER_KEY]
        for public in (
            "",
            "{}",
            '{"id":"00","nodes":{}}',
            '{"id":"zz","nodes":[]}',
            record.public.replace("node-b", "x"),
        ):
            self.cluster.change(Put("keys", evolve(record, public=public)))
            self.assertRaises(CannotOpen, self.keysOf, "node-b")

    def test_partsOfTheOldKeyStaySecretFromTheRecord(self) -> None:
        self.rotate()
        self.assertNotIn(self.keys[0].hex(), repr(self.cluster.document.keys[CLUSTER_KEY]))


class CompromisedTests(RotationCase):
    def test_authorityAndHostKeysAreReplacedAndTokensGone(self) -> None:
        before = self.cluster.document
        rotation = self.rotate(compromised=True)
        document = self.cluster.document
        sealer = Sealer(*self.keysOf("node-b"))
        self.assertEqual(self.opens(sealer.keys[:1]), self.sealed)
        self.assertEqual(self.opens(self.keys), set())
        self.assertEqual(dict(document.tokens), {})
        authority = openAuthority(document, sealer)
        self.assertNotEqual(authority.fingerprint, openAuthority(before, self.cluster.sealer).fingerprint)
        for name, pem in HOST_KEYS.items():
            new = sealer.open(document.hostKeys[name].key)
            self.assertNotEqual(new, pem)
            self.assertIn(b"OPENSSH PRIVATE KEY", new)
        text = "\n".join(rotation.byHand)
        for said in ('certificate "default"', "host keys ed25519, rsa", "1 users", 'backend "share"'):
            self.assertIn(said, text)

    def test_hostKeysStayOfTheirTypesAndAreAllNew(self) -> None:
        plain = ec.generate_private_key(ec.SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        own = self.cluster.sealer.seal
        self.cluster.change(
            Batch(
                (
                    Put("hostKeys", HostKey(name="elliptic", key=own(plain))),
                    Put("hostKeys", HostKey(name="second", key=own(makeHostKey("ed25519")))),
                )
            )
        )
        self.rotate(compromised=True)
        sealer, keys = Sealer(*self.keysOf("node-b")), self.cluster.document.hostKeys
        new: dict[str, Any] = {name: load_ssh_private_key(sealer.open(key.key), None) for name, key in keys.items()}
        self.assertEqual(new["elliptic"].curve.name, "secp384r1")
        self.assertEqual(new["rsa"].key_size, 3072)
        self.assertNotEqual(new["ed25519"].private_bytes_raw(), new["second"].private_bytes_raw())

    def test_bothAuthoritiesAreTrustedUntilAllHaveCertificatesOfTheNew(self) -> None:
        old = self.cluster.document.keys[AUTHORITY].public
        self.assertEqual(trustedAuthorities(self.cluster.document), old.encode())
        self.rotate(compromised=True)
        document = self.cluster.document
        new = document.keys[AUTHORITY].public
        self.assertEqual(trustedAuthorities(document), (new + old).encode())
        self.assertFalse(isOfAuthority(self.identities["node-b"].certificate, document))
        sealer = Sealer(*self.keysOf("node-a"))
        key = self.identities["node-b"].certificate.public_key()
        renewed = openAuthority(document, sealer).issue("node-b", key, NOW)  # type: ignore[arg-type]
        self.assertTrue(isOfAuthority(x509.load_pem_x509_certificate(renewed), document))
        # A second one, before the first is done: nobody is locked out by it.
        self.identities["node-d"] = self.cluster.add("node-d")
        self.rotate("node-d", compromised=True)
        self.assertEqual(len(x509.load_pem_x509_certificates(trustedAuthorities(self.cluster.document))), 3)
        self.assertIn(PREVIOUS_AUTHORITY, self.cluster.document.keys)
        self.assertIsInstance(self.rotate("node-b").change, Batch)


class SessionKeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = SmallCluster(NOW)
        self.cluster.found("node-a")
        self.cluster.add("node-b")
        self.sealer = self.cluster.sealer
        self.change(Put("keys", ClusterKey(name=SESSIONS, key=self.sealer.seal(b"first"))))

    def change(self, change: Any) -> None:
        self.cluster.change(change)

    def opened(self, sealer: Sealer) -> dict[str, bytes]:
        keys = self.cluster.document.keys
        return {name: sealer.open(key.key) for name, key in keys.items() if name.startswith(SESSIONS)}

    def test_theOldOneIsKeptOnce(self) -> None:
        self.change(newSessionKey(self.cluster.document, self.sealer, self.sealer, keepsOld=True))
        second = self.opened(self.sealer)[SESSIONS]
        self.assertEqual(self.opened(self.sealer)[PREVIOUS_SESSIONS], b"first")
        self.change(newSessionKey(self.cluster.document, self.sealer, self.sealer, keepsOld=True))
        self.assertEqual(self.opened(self.sealer)[PREVIOUS_SESSIONS], second)
        self.assertEqual(len({second, b"first", self.opened(self.sealer)[SESSIONS]}), 3)
        self.assertEqual(len(self.opened(self.sealer)), 2)

    def test_allSessionsCanBeEnded(self) -> None:
        self.change(newSessionKey(self.cluster.document, self.sealer, self.sealer, keepsOld=True))
        self.change(newSessionKey(self.cluster.document, self.sealer, self.sealer, keepsOld=False))
        self.assertEqual(set(self.opened(self.sealer)), {SESSIONS})

    def test_aKeyThatDoesNotOpenIsNotKept(self) -> None:
        strange = Sealer(newClusterKey())
        self.change(newSessionKey(self.cluster.document, strange, self.sealer, keepsOld=True))
        self.assertEqual(set(self.opened(self.sealer)), {SESSIONS})

    def test_sessionsOutliveANodeUnlessItIsCompromised(self) -> None:
        document = self.cluster.document
        for rotation, names in (
            (putOut(document, "node-b", self.sealer), {SESSIONS, PREVIOUS_SESSIONS}),
            (putOutCompromised(document, "node-b", self.sealer, NOW), {SESSIONS}),
        ):
            keys = apply(document, rotation.change).keys
            self.assertEqual({name for name in keys if name.startswith(SESSIONS)}, names)
