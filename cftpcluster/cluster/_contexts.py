"""TLS for the cluster port: version 1.3 only, certificates of the cluster's own authority, no resumed sessions.

Two protocols share the port, chosen by ALPN (RFC 7301). :data:`LINK` demands a certificate of both ends and has OpenSSL
verify its chain, times and usage within the handshake; :data:`JOIN` demands none of the client. A client that chooses
neither is held to what :data:`LINK` demands, and refused afterwards.

Who is a member is not known here: see :mod:`.membership`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from ..errors import Refused
from .membership import NodeIdentity

LINK = b"cftpcluster-link/1"
"""ALPN name of the links between nodes; its number changes when an older node could not follow at all."""

JOIN = b"cftpcluster-join"
"""ALPN name of the join protocol, which carries its version in its request."""

_PROBLEMS = {
    SSL.X509VerificationCodes.ERR_CERT_HAS_EXPIRED: "its certificate has expired",
    SSL.X509VerificationCodes.ERR_CERT_NOT_YET_VALID: "its certificate is not valid yet",
    SSL.X509VerificationCodes.ERR_INVALID_PURPOSE: "its certificate is not for this usage",
    SSL.X509VerificationCodes.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is self-signed",
    SSL.X509VerificationCodes.ERR_CERT_SIGNATURE_FAILURE: "the signature of its certificate is wrong",
}
_FOREIGN = "its certificate is not signed by this cluster's authority"


class TLSPeer(Protocol):
    """One end of a connection to the cluster port, during its handshake.

    :ivar problem: what is wrong with the peer's certificate; "" as long as nothing is.
    :ivar offered: the ALPN names that the peer offered.
    """

    problem = ""
    offered: Sequence[bytes] = ()


@implementer(IOpenSSLServerConnectionCreator)
@define(eq=False)
class ServerTLS:
    """Makes the server's end of connections, from the identity that the node has at that moment."""

    _identity: Callable[[], NodeIdentity]
    _cached: tuple[NodeIdentity, SSL.Context] | None = field(default=None, init=False)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        identity = self._identity()
        if self._cached is None or self._cached[0] != identity:
            context = _newContext(SSL.TLS_SERVER_METHOD)
            _useIdentity(context, identity)
            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verify)
            context.set_alpn_select_callback(_selectProtocol)
            self._cached = identity, context
        return SSL.Connection(self._cached[1], None)


@implementer(IOpenSSLClientConnectionCreator)
@define(eq=False)
class LinkTLS:
    """Makes the client's end of a link."""

    _identity: NodeIdentity

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        context = _newContext(SSL.TLS_CLIENT_METHOD)
        _useIdentity(context, self._identity)
        context.set_verify(SSL.VERIFY_PEER, _verify)
        context.set_alpn_protos([LINK])
        return SSL.Connection(context, None)


@implementer(IOpenSSLClientConnectionCreator)
@define(eq=False)
class JoinTLS:
    """Makes the client's end of a join.

    OpenSSL verifies only that the server holds the key of its certificate: the authority to verify that certificate by
    is known by its fingerprint alone, and comes with the certificate. The joining node checks both before it says
    anything.
    """

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        context = _newContext(SSL.TLS_CLIENT_METHOD)
        context.set_verify(SSL.VERIFY_NONE)
        context.set_alpn_protos([JOIN])
        return SSL.Connection(context, None)


def tuneSocket(transport: object) -> None:
    """Small messages leave at once, and a peer that vanished is noticed in the end."""
    # What wraps a socket passes these on, but does not always say so by interface.
    for name in ("setTcpNoDelay", "setTcpKeepAlive"):
        tune = getattr(transport, name, None)
        if tune is not None:
            tune(True)


def peerCertificate(tls: Any) -> x509.Certificate:
    """The certificate that the other end of a connection showed; :class:`Refused` when there is none."""
    try:
        certificate = tls.getHandle().get_peer_certificate(as_cryptography=True)
    except ValueError:
        raise Refused("its certificate cannot be read") from None
    if certificate is None:
        raise Refused("it has no certificate")
    return cast(x509.Certificate, certificate)


def describeError(error: BaseException | None) -> str:
    """What OpenSSL says of a handshake that failed, on one line."""
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list) and error.args[0]:
        reason = str(error.args[0][-1][-1])
        if "peer did not return a certificate" in reason:
            return "it has no certificate"
        if " alert " in reason:
            return f"it refused this node: {reason}"
        return f"its handshake failed: {reason}"
    return "its handshake failed"


def refusedByPeer(error: BaseException | None) -> str | None:
    """What the peer's TLS alert says of this node's certificate; ``None`` when the peer sent no alert."""
    text = describeError(error)
    _, isAlert, alert = text.partition(" alert ")
    if not isAlert:
        return None
    meaning = {
        "certificate required": "this node showed no certificate",
        "unknown ca": "this node's certificate is not signed by the cluster's authority",
        "certificate expired": "this node's certificate has expired, or the clocks differ",
        "bad certificate": "this node's certificate is not good",
        "unsupported certificate": "this node's certificate is not for this usage",
        "no application protocol": "it speaks no version of the link that this node knows",
    }
    return meaning.get(alert, f"TLS alert: {alert}")


def _newContext(method: int) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    # A resumed session would skip the certificate, so it would outlive a change of authority.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return context


def _useIdentity(context: SSL.Context, identity: NodeIdentity) -> None:
    store = context.get_cert_store()
    assert store is not None
    context.use_certificate(identity.certificate)
    context.use_privatekey(load_pem_private_key(identity.privateKeyPem, password=None))  # type: ignore[arg-type]
    for authority in identity.authorities:
        store.add_cert(X509.from_cryptography(authority))
        # Sent along: a joining node knows the authority by its fingerprint alone.
        context.add_extra_chain_cert(authority)


def _verify(connection: SSL.Connection, certificate: X509, code: int, depth: int, verified: int) -> bool:
    """OpenSSL's verdict stands; the reason is noted for the log."""
    if not verified:
        _peerOf(connection).problem = _PROBLEMS.get(code, _FOREIGN)
    return bool(verified)


def _selectProtocol(connection: SSL.Connection, offered: list[bytes]) -> Any:
    _peerOf(connection).offered = offered
    if LINK in offered:
        return LINK
    if JOIN in offered:
        connection.set_verify(SSL.VERIFY_NONE)
        return JOIN
    return SSL.NO_OVERLAPPING_PROTOCOLS


def _peerOf(connection: SSL.Connection) -> TLSPeer:
    peer: TLSPeer = connection.get_app_data().wrappedProtocol
    return peer
