"""TLS as this product serves it: Mozilla's "intermediate" profile, with a certificate that can be replaced.

Of several certificates a client gets the one that is for the name it asks for (SNI), else its listener's own.
It knows neither where certificates come from nor which protocol is spoken inside.

DHE suites are left out: every client of the profile has ECDHE, and a server's part in DHE is dear enough to attack.
Key exchange groups are the profile's, X25519MLKEM768 before all others where OpenSSL is new enough to have it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from OpenSSL.crypto import X509
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

GROUPS = (b"X25519MLKEM768:X25519:P-256:P-384", b"X25519:P-256:P-384")
"""For key exchange: the first list that OpenSSL knows all of."""

SESSION_SECONDS = 24 * 3600
"""How long a session can be resumed, as the profile has it: FTP clients resume the one of a control connection for as
long as that lasts."""

MOST_PROFILES = 64
"""Contexts that are kept for each certificate."""


_Key: TypeAlias = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey


@frozen
class Profile:
    """What distinguishes connections that are made with one certificate; sessions resume within a profile alone.

    :ivar protocols: ALPN names, the best first.
    :ivar authorities: PEM certificates of those whose client certificates are believed; without any none is asked for.
    :ivar isClientNeeded: whether a client without a certificate is refused; a wrong one always is.
    """

    protocols: tuple[bytes, ...] = ()
    authorities: str = ""
    isClientNeeded: bool = False


@frozen
class _Pair:
    """A certificate chain, the server's own first, and the key of that one."""

    chain: tuple[x509.Certificate, ...]
    key: _Key


def checkPair(chain: bytes, key: bytes) -> list[Problem]:
    """What keeps a certificate chain and a private key (both PEM) from being served with; paths are ``chain`` and
    ``key``. Whether clients trust the chain, or it has expired, is not judged."""
    try:
        _context(_read(chain, key), Profile())
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


def checkAuthorities(authorities: str) -> str:
    """What is wrong with the certificates (PEM) that clients' certificates are to be signed by; "" where nothing is."""
    try:
        x509.load_pem_x509_certificates(authorities.encode("ascii"))
    except ValueError:
        return "holds no PEM certificate that can be read"
    return ""


def clientNames(connection: SSL.Connection) -> tuple[str, ...]:
    """Whom the certificate is for that a client has shown, and that was verified in the handshake: its common names,
    and the DNS names and mail addresses of its subjectAltName; nobody without one."""
    certificate = connection.get_peer_certificate(as_cryptography=True)
    if certificate is None:
        return ()
    names = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return (*names, *_alternativeNames(certificate, x509.DNSName), *_alternativeNames(certificate, x509.RFC822Name))


def _alternativeNames(certificate: x509.Certificate, kind: Any) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return []
    return list(extension.value.get_values_for_type(kind))


def _context(pair: _Pair, profile: Profile) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    context.set_cipher_list(CIPHERS)
    _chooseGroups(context)
    # Sessions resume by tickets; remembering them here too would cost memory for each client.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"cftpcluster")
    context.set_timeout(SESSION_SECONDS)
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
    if profile.protocols:
        context.set_alpn_select_callback(lambda connection, offered: _select(profile.protocols, offered))
    if profile.authorities:
        _believe(context, profile)
    return context


def _chooseGroups(context: SSL.Context) -> None:
    # pyOpenSSL has no name of its own for it.
    library: Any = SSL._lib  # type: ignore[attr-defined]
    for groups in GROUPS:
        if library.SSL_CTX_set1_curves_list(context._context, groups) == 1:
            return
        # What it left there would be taken for the error of some connection.
        library.ERR_clear_error()


def _believe(context: SSL.Context, profile: Profile) -> None:
    store: Any = context.get_cert_store()
    for each in x509.load_pem_x509_certificates(profile.authorities.encode("ascii")):
        authority = X509.from_cryptography(each)
        store.add_cert(authority)
        # Clients with several certificates choose by the list of these.
        context.add_client_ca(authority)
    needed = SSL.VERIFY_FAIL_IF_NO_PEER_CERT if profile.isClientNeeded else 0
    # Connections verify by OpenSSL's own verdict: a callback could only weaken it.
    context.set_verify(SSL.VERIFY_PEER | needed)


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
    :param byName: the certificate for a host that this one is not for.
    """

    def __init__(self, chain: bytes, key: bytes, byName: Callable[[str], ServerTLS | None] = lambda name: None) -> None:
        """:raises Invalid: with every problem of :func:`checkPair`."""
        self._contexts: dict[Profile, SSL.Context] = {}
        self._byName = byName
        self.update(chain, key)

    def update(self, chain: bytes, key: bytes) -> None:
        """Use another certificate for the connections to come; those that stand go on with theirs.

        :raises Invalid: with every problem of :func:`checkPair`; nothing has changed then.
        """
        pair = _read(chain, key)
        contexts = {profile: _context(pair, profile) for profile in {Profile(), *self._contexts}}
        self._pair, self._contexts = pair, contexts
        self._names = [name.lower() for name in _alternativeNames(pair.chain[0], x509.DNSName)]
        for profile, context in contexts.items():
            self._chooseByName(context, profile)

    def isFor(self, name: str) -> bool:
        """Whether the certificate is for this host, by its subjectAltName: ``*`` stands for one whole first label."""
        name = name.lower().rstrip(".")
        return name in self._names or "*." + name.partition(".")[2] in self._names

    def _chooseByName(self, context: SSL.Context, profile: Profile) -> None:
        def choose(connection: SSL.Connection) -> None:
            name = (connection.get_servername() or b"").decode("ascii", "replace")
            if name and not self.isFor(name):
                other = self._byName(name)
                if other is not None and other is not self:
                    connection.set_context(other.context(profile))

        context.set_tlsext_servername_callback(choose)

    def context(self, profile: Profile) -> SSL.Context:
        """What the connections of a profile share."""
        if profile not in self._contexts:
            if len(self._contexts) >= MOST_PROFILES:
                # What listeners used to ask of clients; those that stand keep theirs.
                del self._contexts[next(each for each in self._contexts if each != Profile())]
            self._contexts[profile] = self.contextApart(profile)
        return self._contexts[profile]

    def contextApart(self, profile: Profile) -> SSL.Context:
        """A context of its own: sessions of its connections can be resumed on its connections alone."""
        context = _context(self._pair, profile)
        self._chooseByName(context, profile)
        return context

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return self.connection(Profile())

    def forProtocols(self, *protocols: bytes) -> IOpenSSLServerConnectionCreator:
        """The same certificate, negotiating one of these protocols (ALPN names, the best first) with clients that offer
        any. Follows :meth:`update`."""
        return _Negotiating(self, Profile(protocols))

    def connection(self, profile: Profile) -> SSL.Connection:
        """A server's end that has not begun."""
        return SSL.Connection(self.context(profile), None)


@implementer(IOpenSSLServerConnectionCreator)
@frozen
class _Negotiating:
    _tls: ServerTLS
    _profile: Profile

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return self._tls.connection(self._profile)
