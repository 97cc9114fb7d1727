"""How a client reaches a node: over its administration socket, or over HTTPS, and then only the right one.

Imported only when something is asked of a node: help and completion are to come at once, without Twisted.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import treq
from attrs import define, frozen
from OpenSSL import SSL
from service_identity import VerificationError
from treq.client import HTTPClient
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates
from twisted.web.client import URI, Agent, ResponseFailed, ResponseNeverReceived
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from ..state import ADMIN_SOCKET, socketAddress
from .client import Exchange, Failed, Where

_CONNECT_SECONDS = 10


def exchangeWith(where: Where, reactor: Any) -> Exchange:
    """What makes requests to a node."""
    agent = _agent(where, reactor)
    base = where.url.rstrip("/") if where.url else "http://cftpcluster"
    auth = (where.user, where.password) if where.user else None
    bearer = {"Authorization": f"Bearer {where.token}"} if where.token else {}

    async def exchange(method: str, target: str, headers: Any, body: bytes | None) -> tuple[int, bytes]:
        try:
            response = await HTTPClient(agent).request(
                method,
                base + target,
                headers={**headers, **bearer},
                data=body,
                auth=auth,
                browser_like_redirects=False,
                unbuffered=True,
            )
            return int(response.code), await treq.content(response)
        except Exception as error:  # noqa: BLE001 - whatever kept the node from answering is one line for the operator
            raise Failed(_explained(where, error)) from None

    return exchange


def _agent(where: Where, reactor: Any) -> Any:
    if where.url:
        return Agent(reactor, httpsPolicy(where.caFile, where.fingerprint), connectTimeout=_CONNECT_SECONDS)
    endpoints = SocketEndpoints(reactor, where.socket, _CONNECT_SECONDS)
    return Agent.usingEndpointFactory(reactor, endpoints)


def _explained(where: Where, error: BaseException) -> str:
    if isinstance(error, ResponseFailed | ResponseNeverReceived) and error.reasons:
        error = error.reasons[0].value
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, SSL.Error | VerificationError):
        text = "the certificate of the server is not the one expected"
    if where.url:
        return f"cannot ask {where.url}: {text}"
    folder = where.socket.parent
    if os.path.isdir(folder) and not os.access(folder, os.X_OK):
        return f"cannot ask the node in {folder}: its state folder is another user's"
    if not os.path.exists(where.socket):
        return f"no node is running in {folder}: there is no {ADMIN_SOCKET} (--state-dir says where)"
    return f"cannot ask the node at {where.socket}: {text}"


@implementer(IAgentEndpointFactory)
@frozen
class SocketEndpoints:
    """Every URL is at the socket."""

    reactor: Any
    path: Path
    timeoutSeconds: float

    def endpointForURI(self, uri: URI) -> UNIXClientEndpoint:
        return UNIXClientEndpoint(self.reactor, socketAddress(self.path), self.timeoutSeconds)


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
