"""How a client reaches a node: the socket's endpoint, and what makes an HTTPS server the right one.

Imported only when something is asked of a node.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import define, frozen
from OpenSSL import SSL
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from .client import Failed


@implementer(IAgentEndpointFactory)
@frozen
class SocketEndpoints:
    """Every URL is at the socket."""

    reactor: Any
    path: str
    timeoutSeconds: float

    def endpointForURI(self, uri: URI) -> UNIXClientEndpoint:
        return UNIXClientEndpoint(self.reactor, self.path, self.timeoutSeconds)


def httpsPolicy(caFile: str, fingerprint: str) -> Any:
    """Whom to talk to over HTTPS."""
    if fingerprint:
        return PinnedCertificate(fingerprint)
    if not caFile:
        return TrustedAuthorities(platformTrust())
    try:
        pems = Path(caFile).read_bytes().split(b"-----BEGIN CERTIFICATE-----")[1:]
        certificates = [Certificate.loadPEM(b"-----BEGIN CERTIFICATE-----" + pem) for pem in pems]
    except (OSError, SSL.Error) as error:
        raise Failed(
            f"--ca-file: cannot read {caFile}: {getattr(error, 'strerror', None) or 'no certificate'}"
        ) from None
    if not certificates:
        raise Failed(f"--ca-file: there is no certificate in {caFile}")
    return TrustedAuthorities(trustRootFromCertificates(certificates))


@implementer(IPolicyForHTTPS)
@define(eq=False)
class TrustedAuthorities:
    """The server's certificate is for its host, and one of these authorities says so."""

    _trustRoot: Any

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        return optionsForClientTLS(hostname.decode("ascii"), trustRoot=self._trustRoot)


@implementer(IPolicyForHTTPS, IOpenSSLClientConnectionCreator)
@define(eq=False)
class PinnedCertificate:
    """The server has the certificate of this fingerprint, whoever issued it and for whatever name."""

    _fingerprint: str

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        return self

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_verify(SSL.VERIFY_PEER, self._verify)
        return SSL.Connection(context, None)

    def _verify(self, connection: Any, certificate: Any, error: int, depth: int, good: int) -> bool:
        if depth > 0:
            return True
        seen = certificate.digest("sha256").replace(b":", b"").decode("ascii").lower()
        return bool(seen == self._fingerprint)
