"""Tests of the keys that the server proves itself with."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ssh.hostkeys import HostKeyring, UnusableKey, loadHostKey

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
        for pem in (pemOf(ECDSA), pemOf(SHORT_RSA), b"", b"junk", pemOf(RSA)[:300]):
            error = self.assertRaises(UnusableKey, loadHostKey, pem)
            self.assertNotIn(pem[40:60].decode() or "?", str(error))


class KeyringTests(SynchronousTestCase):
    def test_keysAreReadAnewWhenTheyChange(self) -> None:
        pems = [pemOf(ED25519)]
        keyring = HostKeyring(lambda: pems)
        first = keyring.current()
        self.assertEqual(first.algorithms, [b"ssh-ed25519"])
        self.assertIs(keyring.current(), first)
        pems.append(pemOf(RSA))
        self.assertEqual(keyring.current().algorithms, [b"ssh-ed25519", b"rsa-sha2-512", b"rsa-sha2-256"])
        self.assertEqual(first.algorithms, [b"ssh-ed25519"])
        self.assertEqual(keyring.current().signer(b"rsa-sha2-256").sshType(), b"ssh-rsa")

    def test_theFirstOfATypeIsUsed(self) -> None:
        others = [pemOf(Ed25519PrivateKey.generate()) for _ in range(2)]
        keys = HostKeyring(lambda: [pemOf(ED25519), *others]).current()
        self.assertEqual(keys.signer(b"ssh-ed25519"), loadHostKey(pemOf(ED25519)))

    def test_oneBadKeyDoesNotHarmTheOthers(self) -> None:
        keyring = HostKeyring(lambda: [b"junk", pemOf(ED25519)])
        self.assertEqual(keyring.current().algorithms, [b"ssh-ed25519"])
