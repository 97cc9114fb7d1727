"""TLS as this product serves it: Mozilla's "intermediate" profile, with a certificate that can be replaced.

It knows neither where certificates come from nor which protocol is spoken inside.

DHE suites are left out: every client of the profile has ECDHE, and a server's part in DHE is dear enough to attack.
Key exchange groups are OpenSSL's own, which prefer X25519MLKEM768 where it is new enough to have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from attrs import frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from ..errors import Invalid
from ..vocabulary import Problem

CIPHERS = b":".join(
    (
        b"ECDHE-ECDSA-AES128-GCM-SHA256",
        b"ECDHE-RSA-AES128-GCM-SHA256",
        b"ECDHE-ECDSA-AES256-GCM-SHA384",
        b"ECDHE-RSA-AES256-GCM-SHA384",
        b"ECDHE-ECDSA-CHACHA20-POLY1305",
        b"ECDHE-RSA-CHACHA20-POLY1305",
    )
)
"""For TLS 1.2; those of TLS 1.3 are OpenSSL's own. Clients choose, as the profile has it."""


_Key: TypeAlias = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey


@frozen
class _Pair:
    """A certificate chain, the server's own first, and the key of that one."""

    chain: tuple[x509.Certificate, ...]
    key: _Key


def checkPair(chain: bytes, key: bytes) -> list[Problem]:
    """What keeps a certificate chain and a private key (both PEM) from being served with; paths are ``chain`` and
    ``key``. Whether clients trust the chain, or it has expired, is not judged."""
    try:
        _context(_read(chain, key), ())
    except Invalid as error:
        return list(error.problems)
    return []


def _read(chain: bytes, key: bytes) -> _Pair:
    problems = []
    certificates: list[x509.Certificate] = []
    private: Any = None
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError:
        problems.append(Problem("chain", "holds no PEM certificate that can be read"))
    try:
        private = load_pem_private_key(key, None)
    except TypeError:
        problems.append(Problem("key", "is encrypted"))
    except Exception:  # noqa: BLE001 - whatever the parser of a hostile text raises; its message could show the key
        problems.append(Problem("key", "is no PEM private key that can be read"))
    if private and not isinstance(private, _Key):
        problems.append(Problem("key", "must be an RSA, EC or Ed25519 key"))
    if certificates and private and _publicBytes(certificates[0]) != _publicBytes(private):
        problems.append(Problem("key", "does not belong to the first certificate of the chain"))
    for number, (subject, issuer) in enumerate(pairwise(certificates), 2):
        try:
            subject.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            problems.append(Problem("chain", f"certificate {number} did not sign the one before it"))
    if problems:
        raise Invalid(problems)
    return _Pair(tuple(certificates), private)


def _publicBytes(owner: Any) -> bytes:
    public: bytes = owner.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return public


def _context(pair: _Pair, protocols: tuple[bytes, ...]) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    context.set_cipher_list(CIPHERS)
    # Sessions resume by tickets; remembering them here too would cost memory for each client.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"cftpcluster")
    # Idle connections then keep no buffers of 34 KiB.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    try:
        context.use_certificate(pair.chain[0])
        context.use_privatekey(pair.key)
        for certificate in pair.chain[1:]:
            context.add_extra_chain_cert(certificate)
        context.check_privatekey()
    except (SSL.Error, TypeError, ValueError) as error:
        raise Invalid([Problem("chain", f"cannot be served with: {_reason(error)}")]) from None
    if protocols:
        context.set_alpn_select_callback(lambda connection, offered: _select(protocols, offered))
    return context


def _reason(error: Exception) -> str:
    """OpenSSL's words, such as ``ee key too small``."""
    try:
        return str(error.args[0][-1][-1])
    except (IndexError, TypeError):
        return str(error)


def _select(protocols: tuple[bytes, ...], offered: Sequence[bytes]) -> Any:
    return next((each for each in protocols if each in offered), SSL.NO_OVERLAPPING_PROTOCOLS)


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """One certificate of the document, for every listener that names it.

    Sessions can be resumed on any connection made with the same protocols, as FTP clients do for data connections.

    :param chain: PEM certificates, the server's own first.
    :param key: its private key, PEM, not encrypted.
    """

    def __init__(self, chain: bytes, key: bytes) -> None:
        """:raises Invalid: with every problem of :func:`checkPair`."""
        self._contexts: dict[tuple[bytes, ...], SSL.Context] = {}
        self.update(chain, key)

    def update(self, chain: bytes, key: bytes) -> None:
        """Use another certificate for the connections to come; those that stand go on with theirs.

        :raises Invalid: with every problem of :func:`checkPair`; nothing has changed then.
        """
        pair = _read(chain, key)
        contexts = {protocols: _context(pair, protocols) for protocols in {(), *self._contexts}}
        self._pair, self._contexts = pair, contexts

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return self.connection(())

    def forProtocols(self, *protocols: bytes) -> IOpenSSLServerConnectionCreator:
        """The same certificate, negotiating one of these protocols (ALPN names, the best first) with clients that offer
        any. Follows :meth:`update`."""
        return _Negotiating(self, protocols)

    def connection(self, protocols: tuple[bytes, ...]) -> SSL.Connection:
        """A server's end that has not begun."""
        if protocols not in self._contexts:
            self._contexts[protocols] = _context(self._pair, protocols)
        return SSL.Connection(self._contexts[protocols], None)


@implementer(IOpenSSLServerConnectionCreator)
@frozen
class _Negotiating:
    _tls: ServerTLS
    _protocols: tuple[bytes, ...]

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return self._tls.connection(self._protocols)
