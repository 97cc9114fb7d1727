"""Who is a member of the cluster: what a node's certificate says, and what the document says of that node.

A node certificate is signed by the cluster's authority and names its node in a URI among its alternative names
(``urn:cftpcluster:node:NAME``); it never names a role. A *member* is a node of the document whose fingerprint is that
of the certificate's public key, so a node that was removed or got a new key is out although its certificate is good.

Values and rules only: how certificates are made (:mod:`.authority`) or travel (:mod:`.gate`, :mod:`.dial`) is not
known here.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from ..config.changes import Batch, Remove
from ..config.document import NAME_PATTERN, Document, Node
from ..errors import ClusterError, Refused

NODE_URI = "urn:cftpcluster:node:"
"""Followed by the node's name, as a URI among a certificate's alternative names."""

Nodes: TypeAlias = Mapping[str, Node]
"""Nodes by name, as a document has them."""

_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----\r?\n?", re.DOTALL)


class Usage(enum.Enum):
    """Which end of a connection a certificate is shown by."""

    client = ExtendedKeyUsageOID.CLIENT_AUTH
    server = ExtendedKeyUsageOID.SERVER_AUTH


@frozen
class NodeIdentity:
    """What a node proves who it is with.

    :ivar name: as its certificate says.
    :ivar privateKeyPem: PKCS#8, not encrypted; it never leaves the node.
    :ivar caPem: the certificates of the authorities that it trusts; more than one while they are replaced.
    """

    name: str
    privateKeyPem: bytes = field(repr=False)
    certificatePem: bytes = field(repr=False)
    caPem: bytes = field(repr=False)

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificatePem)

    @property
    def authorities(self) -> list[x509.Certificate]:
        return x509.load_pem_x509_certificates(self.caPem)

    def toPem(self) -> bytes:
        """Everything as one file: the private key, the certificate, the authorities."""
        return b"".join(
            part if part.endswith(b"\n") else part + b"\n"
            for part in (self.privateKeyPem, self.certificatePem, self.caPem)
        )

    @classmethod
    def fromPem(cls, pem: bytes) -> NodeIdentity:
        """What :meth:`toPem` made; :class:`~cftpcluster.errors.ClusterError` where it is damaged."""
        keys: list[bytes] = []
        certificates: list[bytes] = []
        for block in _PEM_BLOCK.finditer(pem):
            (certificates if block[1] == b"CERTIFICATE" else keys).append(block[0])
        if len(keys) != 1 or len(certificates) < 2:
            raise ClusterError("a node's identity is one private key, its certificate, and its authority's certificate")
        try:
            certificate = x509.load_pem_x509_certificate(certificates[0])
            x509.load_pem_x509_certificates(b"".join(certificates[1:]))
            key = load_pem_private_key(keys[0], password=None)
            name = nodeName(certificate)
        except (ValueError, TypeError, UnsupportedAlgorithm, Refused) as error:
            raise ClusterError(f"a node's identity is damaged: {error}") from None
        if keyFingerprint(key.public_key()) != keyFingerprint(certificate.public_key()):  # type: ignore[arg-type]
            raise ClusterError("a node's private key is not that of its certificate")
        return cls(name, keys[0], certificates[0], b"".join(certificates[1:]))


def keyFingerprint(key: CertificatePublicKeyTypes) -> str:
    """SHA-256 of a public key (SubjectPublicKeyInfo), lower-case hex: a :class:`Node`'s ``fingerprint``."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def certificateFingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a whole certificate, lower-case hex."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def publicKeyText(key: CertificatePublicKeyTypes) -> str:
    """A public key (SubjectPublicKeyInfo, DER) in base64: a :class:`Node`'s ``publicKey``."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode("ascii")


def nodeName(certificate: x509.Certificate) -> str:
    """The node that a certificate names; :class:`Refused` when it names none, or more than one."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        uris = []
    if len(uris) == 1 and uris[0].startswith(NODE_URI):
        name = uris[0].removeprefix(NODE_URI)
        if NAME_PATTERN.fullmatch(name):
            return name
    raise Refused("its certificate names no node")


def verifiedName(
    certificate: x509.Certificate, authorities: Sequence[x509.Certificate], usage: Usage, now: float
) -> str:
    """The node that a certificate proves, on the word of one of ``authorities``; :class:`Refused` with the reason.

    :param now: seconds since the epoch.
    """
    moment = datetime.fromtimestamp(now, UTC)
    if not any(_isIssuedBy(certificate, authority) for authority in authorities):
        raise Refused("its certificate is not signed by this cluster's authority")
    if moment > certificate.not_valid_after_utc:
        raise Refused(f"its certificate expired at {certificate.not_valid_after_utc.isoformat()}")
    if moment < certificate.not_valid_before_utc:
        raise Refused(f"its certificate is not valid before {certificate.not_valid_before_utc.isoformat()}")
    name = nodeName(certificate)
    try:
        usages = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        usages = set()
    if usage.value not in usages:
        raise Refused(f"its certificate is not for a TLS {usage.name}")
    return name


def _isIssuedBy(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    # An authority is no node: its own certificate, which it signed itself, proves nothing.
    return certificate != authority


def checkedMember(nodes: Nodes, name: str, certificate: x509.Certificate) -> Node:
    """The member that showed ``certificate``, which proved ``name``; :class:`Refused` when it is none (any more)."""
    node = nodes.get(name)
    if node is None:
        raise Refused(f'node "{name}" is not a member of this cluster')
    if node.fingerprint != keyFingerprint(certificate.public_key()):
        raise Refused(f'node "{name}" has another key in this cluster')
    return node


def needsRenewal(certificatePem: bytes, now: float) -> bool:
    """Whether two thirds of a certificate's life are over."""
    certificate = x509.load_pem_x509_certificate(certificatePem)
    start, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    return now - start >= (end - start) * 2 / 3


def removal(document: Document, name: str) -> Batch:
    """The change that puts a node out: its tokens go with it, or they would let it in again."""
    tokens = sorted(token.name for token in document.tokens.values() if token.node == name)
    return Batch((Remove("nodes", name), *(Remove("tokens", token) for token in tokens)))
