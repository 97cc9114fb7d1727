"""Certificates: those that clients would refuse are refused, and signing requests for keys that never leave."""

from __future__ import annotations

import datetime
import time
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from cftpcluster.config.written import readObject
from cftpcluster.manager._keys import _chainFaults, keyProblems
from cftpcluster.servers.tls import checkPair

from .support import AdministrationTestCase

DAY = 86400.0


def issued(days: tuple[float, float], key: Any, public: Any = None, signer: Any = None, issuer: str = "host") -> str:
    """A certificate (PEM) good between these days from now."""
    moments = [datetime.datetime.fromtimestamp(time.time() + each * DAY, datetime.UTC) for each in days]
    subject, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("host", issuer))
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(by).serial_number(7)
    builder = builder.not_valid_before(moments[0]).not_valid_after(moments[1]).public_key(public or key.public_key())
    return builder.sign(signer or key, SHA256()).public_bytes(Encoding.PEM).decode()


def pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


class WeakTests(AdministrationTestCase):
    key = ec.generate_private_key(ec.SECP256R1())

    def faults(self, chain: str, key: Any = None) -> list[str]:
        body = {"chain": chain, "key": {"secret": pem(key or self.key)}}
        answer = self.ask("PUT", "certificates/new", body, status=422)
        return [f"{one['path']}: {one['message']}" for one in answer.json["errors"]]

    def test_whatIsGoodIsTaken(self) -> None:
        self.ask("PUT", "certificates/new", {"chain": issued((-1, 9), self.key), "key": {"secret": pem(self.key)}}, 201)

    def test_whatHasExpiredIsRefused(self) -> None:
        (fault,) = self.faults(issued((-9, -1), self.key))
        self.assertIn("chain: certificate 1 has expired, 20", fault)

    def test_whatBeginsLaterIsRefused(self) -> None:
        (fault,) = self.faults(issued((2, 9), self.key))
        self.assertIn("chain: certificate 1 is good only from 20", fault)

    def test_smallKeysAreRefused(self) -> None:
        weak = rsa.generate_private_key(65537, 1024)
        self.assertTrue(any(fault.startswith(("chain", "key")) for fault in self.faults(issued((-1, 9), weak), weak)))
        chain = issued((-1, 9), self.key, weak.public_key())
        found = [str(one) for one in _chainFaults(chain.encode(), time.time())]
        self.assertEqual(found, ["chain: certificate 1 has an RSA key of 1024 bits, not 2048"])
        small = ec.generate_private_key(ec.SECP224R1())
        (fault,) = _chainFaults(issued((-1, 9), small).encode(), time.time())
        self.assertIn("224 bits", str(fault))

    def test_oneThatIsThereMayEndAndIsNoFaultOfOtherChanges(self) -> None:
        written = {"chain": issued((-1, 9), self.key), "key": {"secret": pem(self.key)}}
        self.ask("PUT", "certificates/new", written, 201)
        stored = self.cluster.document.certificates["new"]
        one = readObject("certificates", {"chain": written["chain"]}, name="new")
        later = time.time() + 99 * DAY
        found = keyProblems(one, None, stored, self.cluster.sealer.open, False, later)
        self.assertEqual(list(found), [])
        other = readObject("certificates", {"chain": issued((-1, 8), self.key)}, name="new")
        (fault,) = keyProblems(other, None, stored, self.cluster.sealer.open, False, later)
        self.assertIn("has expired", fault.message)


class SigningTests(AdministrationTestCase):
    def request(self, name: str, *names: str, status: int = 200) -> Any:
        return self.ask("POST", f"certificates/{name}/csr", {"names": list(names)}, status).json

    def test_aNewOneIsMadeWithAKeyThatStays(self) -> None:
        answer = self.request("files", "files.example.org", "*.example.org", "192.0.2.1")
        csr = x509.load_pem_x509_csr(answer["csr"].encode())
        self.assertTrue(csr.is_signature_valid)
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual([str(name.value) for name in names], ["files.example.org", "*.example.org", "192.0.2.1"])
        self.assertTrue(answer["made"])
        made = self.cluster.document.certificates["files"]
        key = self.cluster.sealer.open(made.key)
        self.assertEqual(checkPair(made.chain.encode(), key), [])
        self.assertNotIn("PRIVATE", str(answer))
        # What the authority signs is uploaded alone.
        authority = ec.generate_private_key(ec.SECP256R1())
        chain = issued((-1, 90), authority, csr.public_key(), issuer="authority")
        self.ask("PATCH", "certificates/files", {"chain": chain})
        signed = self.cluster.document.certificates["files"]
        self.assertEqual((signed.chain, self.cluster.sealer.open(signed.key)), (chain, key))

    def test_oneThatIsThereIsAskedForWithItsKey(self) -> None:
        before = self.cluster.document
        csr = x509.load_pem_x509_csr(self.request("default", "host.example")["csr"].encode())
        chain = before.certificates["default"].chain.encode()
        self.assertEqual(csr.public_key(), x509.load_pem_x509_certificate(chain).public_key())
        self.assertIs(self.cluster.document, before)

    def test_whatIsNoNameIsRefusedWhereItStands(self) -> None:
        answer = self.request("files", "good.example", "a b", "-x", "", status=422)
        self.assertEqual([one["path"] for one in answer["errors"]], ["names[1]", "names[2]", "names[3]"])
        self.assertNotIn("files", self.cluster.document.certificates)
        self.request("files", status=422)
