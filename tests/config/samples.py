"""Values that are valid by themselves, for tests of what makes others invalid."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Mapping, Sequence

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from cftpcluster.vocabulary import Problem

ARGON2 = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$" + "x" * 43
BCRYPT = "$2b$12$" + "a" * 53
SHA512 = "$6$rounds=5000$saltsalt$" + "b" * 86


def certificate() -> str:
    """A certificate in PEM, signed by itself."""
    key, name = Ed25519PrivateKey.generate(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    now = datetime.datetime.now(datetime.UTC)
    made = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(1)).sign(key, None)
    return made.public_bytes(Encoding.PEM).decode("ascii")


def _line(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")


PUBLIC_KEYS = (
    _line(Ed25519PrivateKey.generate()),
    _line(rsa.generate_private_key(65537, 2048)) + " alice@example.org",
    _line(ec.generate_private_key(ec.SECP256R1())),
    _line(ec.generate_private_key(ec.SECP384R1())),
    _line(ec.generate_private_key(ec.SECP521R1())),
)


def wireKey(kind: str, *fields: bytes) -> str:
    """A line of a public key with these fields after its type."""
    parts = (kind.encode(), *fields)
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return f"{kind} {base64.b64encode(blob).decode('ascii')}"


@frozen
class LocalOptions:
    """Options of a backend."""

    root: str
    fsync: bool = True

    def problems(self) -> Sequence[Problem]:
        return [Problem("root", "must not be forbidden")] if self.root == "forbidden" else []


@frozen
class FTPOptions:
    """Options of a listener."""

    implicit: bool = False
    passivePorts: str = "50000-50999"


KINDS: Mapping[str, Mapping[str, type]] = {
    "backends": {"local": LocalOptions, "memory": FTPOptions},
    "listeners": {"ftp": FTPOptions},
}
