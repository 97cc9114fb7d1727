"""Makes keys and certificates: the cluster's authority, what it issues to nodes, and what services start with.

Everything is P-256 (which every TLS library in use speaks) except SSH host keys. Certificates are backdated by 25
hours, so that nodes whose clocks differ, or are set to local time, accept them at once. Where keys are kept, and who
asks for certificates, is not known here. Making an RSA key takes up to some seconds and belongs in a thread.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..config.document import NAME_PATTERN, ClusterKey, Document
from ..errors import ClusterError, Refused
from .membership import NODE_URI, NodeIdentity, certificateFingerprint, keyFingerprint
from .sealing import Sealer

AUTHORITY = "authority"
"""The name of the authority's key among the document's keys."""

BACKDATE = timedelta(hours=25)
AUTHORITY_DAYS = 20 * 365
NODE_DAYS = 365
SERVICE_DAYS = 10 * 365

_MOST_REQUEST_BYTES = 16384

NodeKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


@frozen
class Authority:
    """The cluster's certificate authority.

    :ivar certificatePem: what nodes trust.
    :ivar keyPem: its private key; in the document it is sealed.
    """

    certificatePem: bytes = field(repr=False)
    keyPem: bytes = field(repr=False)

    @classmethod
    def new(cls, now: float) -> Authority:
        """A new authority. Its name is random, so that two clusters never take one for the other."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _commonName(f"cftpcluster CA {secrets.token_hex(8)}")
        certificate = (
            _certificate(name, name, key.public_key(), now, AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_keyUsage(signsCertificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate.public_bytes(Encoding.PEM), _privatePem(key))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its certificate, as join tokens carry it."""
        return certificateFingerprint(x509.load_pem_x509_certificate(self.certificatePem))

    def issue(self, name: str, key: NodeKey, now: float) -> bytes:
        """A certificate (PEM) that lets the holder of ``key`` speak as node ``name``, on both ends of a link."""
        if not NAME_PATTERN.fullmatch(name):
            raise Refused(f"{name!r} is not a name that a node can have")
        own = x509.load_pem_x509_certificate(self.certificatePem)
        signer = load_pem_private_key(self.keyPem, password=None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        names = [x509.UniformResourceIdentifier(NODE_URI + name)]
        return (
            _certificate(_commonName(name), own.subject, key, now, NODE_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_keyUsage(signsCertificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                    own.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
                ),
                critical=False,
            )
            .sign(signer, hashes.SHA256())
            .public_bytes(Encoding.PEM)
        )

    def identity(self, name: str, privateKeyPem: bytes, now: float) -> NodeIdentity:
        """The identity of a node of which the private key is at hand, such as the one that founds the cluster."""
        key = load_pem_private_key(privateKeyPem, password=None).public_key()
        assert isinstance(key, NodeKey)
        return NodeIdentity(name, privateKeyPem, self.issue(name, key, now), self.certificatePem)

    def sealed(self, sealer: Sealer) -> ClusterKey:
        """The authority as the document keeps it."""
        public = self.certificatePem.decode("ascii")
        return ClusterKey(name=AUTHORITY, public=public, key=sealer.seal(self.keyPem))


def openAuthority(document: Document, sealer: Sealer) -> Authority:
    """The authority that a document holds."""
    record = document.keys.get(AUTHORITY)
    if record is None:
        raise ClusterError("this node's document holds no certificate authority")
    return Authority(record.public.encode("ascii"), sealer.open(record.key))


def newNodeKey() -> bytes:
    """A private key for a node (PKCS#8, PEM); to be stored before it is used to join."""
    return _privatePem(ec.generate_private_key(ec.SECP256R1()))


def signingRequest(privateKeyPem: bytes) -> bytes:
    """A certificate signing request (PKCS#10, PEM): proof that the sender holds the key. It asks for no name."""
    key = load_pem_private_key(privateKeyPem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM)


def requestedKey(requestPem: bytes) -> NodeKey:
    """The public key of a signing request whose sender proved to hold it; :class:`Refused` otherwise.

    Nothing else in a request counts: the name comes from the token, or from the link.
    """
    try:
        if len(requestPem) > _MOST_REQUEST_BYTES:
            raise ValueError
        request = x509.load_pem_x509_csr(requestPem)
        key, proven = request.public_key(), request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        raise Refused("the certificate signing request cannot be read") from None
    if not proven:
        raise Refused("the certificate signing request is not signed by its own key")
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        return key
    raise Refused("a node's key is of P-256, P-384 or Ed25519")


def renew(document: Document, sealer: Sealer, name: str, requestPem: bytes, now: float) -> bytes:
    """A fresh certificate (PEM) for a member, under the key that it is a member with; :class:`Refused` otherwise."""
    node = document.nodes.get(name)
    key = requestedKey(requestPem)
    if node is None:
        raise Refused(f'node "{name}" is not a member of this cluster')
    if keyFingerprint(key) != node.fingerprint:
        raise Refused(f'node "{name}" has another key in this cluster; a new key needs a join token')
    return openAuthority(document, sealer).issue(name, key, now)


def makeServiceCertificate(names: Iterable[str], now: float) -> tuple[bytes, bytes]:
    """A self-signed certificate for the TLS listeners of a new cluster: (chain, private key), both PEM.

    It lasts ten years, since nobody renews it: whoever wants browsers to trust it puts one of a public or company
    authority in its place.

    :param names: host names and IP addresses that it is for, besides ``localhost``; the first is its subject.
    """
    alternatives: dict[str, x509.GeneralName] = {}
    for name in (*names, "localhost"):
        general = _generalName(name)
        if general is not None:
            alternatives.setdefault(str(general.value), general)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _commonName(next(iter(alternatives))[:64])
    certificate = (
        _certificate(subject, subject, key.public_key(), now, SERVICE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_keyUsage(signsCertificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives.values()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM), _privatePem(key)


def makeHostKeys() -> dict[str, bytes]:
    """SSH host keys for a new cluster, by name, in OpenSSH's private key format."""
    return {"ed25519": makeHostKey("ed25519"), "rsa": makeHostKey("rsa")}


def makeHostKey(kind: str) -> bytes:
    """One of type ``ed25519`` or ``rsa``, or on the NIST curve of that name, such as ``secp256r1``."""
    key: PrivateKeyTypes
    if kind == "rsa":
        key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    elif kind in _HOST_CURVES:
        key = ec.generate_private_key(_HOST_CURVES[kind])
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


_HOST_CURVES: dict[str, ec.EllipticCurve] = {
    curve.name: curve for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())
}


def _privatePem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _commonName(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _generalName(name: str) -> x509.GeneralName | None:
    """``None`` for what no certificate can name, such as a host name with an underscore in a script that IDNA lacks."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name.encode("idna").decode("ascii")) if name else None
    except UnicodeError:
        return None


def _certificate(subject: x509.Name, issuer: x509.Name, key: NodeKey, now: float, days: int) -> x509.CertificateBuilder:
    moment = datetime.fromtimestamp(now, UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - BACKDATE)
        .not_valid_after(moment + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _keyUsage(*, signsCertificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signsCertificates,
        key_cert_sign=signsCertificates,
        crl_sign=signsCertificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
