"""What certificates and host keys are, over the REST API."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key
from twisted.conch.ssh.keys import FingerprintFormats, Key

from cftpcluster.cluster.authority import makeHostKeys
from cftpcluster.config.changes import Put, apply
from cftpcluster.config.document import Certificate, HostKey, Secret
from cftpcluster.manager._inventory import inventory

from .support import HOST_KEY, AdministrationTestCase

SECOND, RSA = makeHostKeys()["ed25519"], makeHostKeys()["rsa"]


class InventoryTests(AdministrationTestCase):
    def put(self, name: str, key: bytes) -> None:
        seal = self.cluster.sealer.seal
        self.cluster.node.change(Put("hostKeys", HostKey(name=name, key=seal(key))))

    def test_certificateIsTold(self) -> None:
        (told,) = self.ask("GET", "keys").json["certificates"]
        self.assertEqual((told["name"], told["names"], told["keyType"]), ("default", ["localhost"], "ECDSA P-256"))
        self.assertEqual((told["selfSigned"], told["chainLength"], told["problem"]), (True, 1, ""))
        self.assertEqual(told["listeners"], ["ftp", "ftps", "https", "manager"])
        self.assertGreater(told["ends"], told["begins"])

    def test_oneThatCannotBeReadLeavesTheOthers(self) -> None:
        bad = Put("certificates", Certificate(name="bad", chain="x", key=Secret(b"")))
        told = inventory(apply(self.cluster.document, bad), self.cluster.sealer.open)["certificates"]
        self.assertEqual(
            [(one["name"], one["problem"]) for one in told], [("bad", "it cannot be read"), ("default", "")]
        )

    def test_oldestHostKeyOfAKindIsInUse(self) -> None:
        self.put("another", SECOND)
        self.put("rsa", RSA)
        told = {one["name"]: one for one in self.ask("GET", "keys").json["hostKeys"]}
        self.assertEqual(
            {name: one["inUse"] for name, one in told.items()}, {"another": False, "ed25519": True, "rsa": True}
        )
        self.assertEqual(told["ed25519"]["fingerprint"], "SHA256:" + _fingerprint(HOST_KEY))
        self.assertEqual((told["ed25519"]["keyType"], told["ed25519"]["type"]), ("Ed25519", "ssh-ed25519"))
        public = load_ssh_private_key(HOST_KEY, None).public_key()
        line = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()  # type: ignore[call-arg]
        self.assertEqual(told["ed25519"]["publicKey"], line)
        self.assertTrue(told["rsa"]["keyType"].startswith("RSA "))

    def test_keyThatDoesNotOpenIsAProblem(self) -> None:
        self.cluster.node.change(Put("hostKeys", HostKey(name="bad", key=Secret(b"x" * 64))))
        told = {one["name"]: one for one in self.ask("GET", "keys").json["hostKeys"]}
        self.assertTrue(told["bad"]["problem"])
        self.assertFalse(told["bad"]["inUse"])
        self.assertTrue(told["ed25519"]["inUse"])

    def test_noPrivateKeyIsTold(self) -> None:
        text = self.ask("GET", "keys").body.decode()
        self.assertNotIn("PRIVATE KEY", text)


def _fingerprint(pem: bytes) -> str:
    digest = Key.fromString(pem).public().fingerprint(FingerprintFormats.SHA256_BASE64)
    return str(digest).rstrip("=")
