"""Tests of the keys that the server proves itself with."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.conch.ssh.keys import Key
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ssh.hostkeys import HostKeyring, UnusableKey, loadHostKey
from cftpcluster.servers.ssh.wire import Reader

from .peers import ECDSA, ED25519, RSA, SHORT_RSA, pemOf


class LoadTests(SynchronousTestCase):
    def test_everyUsualFormat(self) -> None:
        formats = [PrivateFormat.OpenSSH, PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL]
        for each in formats:
            pem = RSA.private_bytes(Encoding.PEM, each, NoEncryption())
            self.assertEqual(loadHostKey(pem).sshType(), b"ssh-rsa")
        for each in formats[:2]:
            pem = ED25519.private_bytes(Encoding.PEM, each, NoEncryption())
            self.assertEqual(loadHostKey(pem).sshType(), b"ssh-ed25519")

    def test_otherKeysAreNotUsed(self) -> None:
        other = ec.generate_private_key(ec.SECP256K1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        for pem in (other, pemOf(SHORT_RSA), b"", b"junk", pemOf(RSA)[:300]):
            error = self.assertRaises(UnusableKey, loadHostKey, pem)
            self.assertNotIn(pem[40:60].decode() or "?", str(error))


class KeyringTests(SynchronousTestCase):
    def test_keysAreReadAnewWhenTheyChange(self) -> None:
        pems = [pemOf(ED25519)]
        keyring = HostKeyring(lambda: pems)
        first = keyring.current(legacy=False)
        self.assertEqual(first.algorithms, [b"ssh-ed25519"])
        self.assertIs(keyring.current(legacy=False).signer(b"ssh-ed25519"), first.signer(b"ssh-ed25519"))
        pems.append(pemOf(RSA))
        self.assertEqual(keyring.current(legacy=False).algorithms, [b"ssh-ed25519", b"rsa-sha2-512", b"rsa-sha2-256"])
        self.assertEqual(first.algorithms, [b"ssh-ed25519"])
        self.assertEqual(keyring.current(legacy=False).signer(b"rsa-sha2-256").key.sshType(), b"ssh-rsa")

    def test_ellipticCurvesOfNISTAreForOldClients(self) -> None:
        keyring = HostKeyring(lambda: [pemOf(ECDSA), pemOf(ED25519)])
        self.assertEqual(keyring.current(legacy=False).algorithms, [b"ssh-ed25519"])
        self.assertEqual(keyring.current(legacy=True).algorithms, [b"ecdsa-sha2-nistp256", b"ssh-ed25519"])

    def test_theOldestOfATypeSignsAndAllAreToldOf(self) -> None:
        others = [pemOf(Ed25519PrivateKey.generate()) for _ in range(2)]
        keys = HostKeyring(lambda: [pemOf(ED25519), *others]).current(legacy=False)
        self.assertEqual(keys.signer(b"ssh-ed25519").key, loadHostKey(pemOf(ED25519)))
        self.assertEqual(keys.blobs, [loadHostKey(pem).public().blob() for pem in (pemOf(ED25519), *others)])

    def test_aKeyThatIsThereTwiceIsToldOfOnce(self) -> None:
        keys = HostKeyring(lambda: [pemOf(ED25519), pemOf(RSA), pemOf(ED25519)]).current(legacy=False)
        self.assertEqual(len(keys.blobs), 2)

    def test_everyKeyProvesItselfAndNoOtherIsProven(self) -> None:
        other = Ed25519PrivateKey.generate()
        keys = HostKeyring(lambda: [pemOf(key) for key in (ED25519, other, RSA)]).current(legacy=False)
        for key in (ED25519, other, RSA):
            own = Key(key).public()
            signature = keys.prove(own.blob(), b"message", b"ssh-ed25519")
            assert signature is not None
            self.assertTrue(own.verify(signature, b"message"))
        agreed = keys.prove(Key(RSA).public().blob(), b"message", b"rsa-sha2-256")
        assert agreed is not None
        self.assertEqual(Reader(agreed).string(), b"rsa-sha2-256")
        stranger = Key(Ed25519PrivateKey.generate()).public().blob()
        self.assertIs(keys.prove(stranger, b"message", b"ssh-ed25519"), None)

    def test_oneBadKeyDoesNotHarmTheOthers(self) -> None:
        keyring = HostKeyring(lambda: [b"junk", pemOf(ED25519)])
        self.assertEqual(keyring.current(legacy=False).algorithms, [b"ssh-ed25519"])
