"""How a client reaches a node: over its administration socket, or over HTTPS, and then only the right one.

Imported only when something is asked of a node: help and completion are to come at once, without Twisted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from io import BytesIO
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
from twisted.web.client import URI, Agent, FileBodyProducer, ResponseFailed, ResponseNeverReceived
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from ..state import ADMIN_SOCKET, socketAddress
from .client import Failed, Moved, Where, unmoved

_CONNECT_SECONDS = 10
_PIECE_BYTES = 256 * 1024


def exchangeWith(where: Where, reactor: Any) -> HTTPExchange:
    """What makes requests to a node."""
    return HTTPExchange(where, HTTPClient(_agent(where, reactor)))


@frozen
class HTTPExchange:
    _where: Where
    _client: HTTPClient

    async def __call__(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, moved: Moved
    ) -> tuple[int, bytes]:
        try:
            response = await self._request(method, target, headers, body, moved)
            return int(response.code), await _content(response, moved)
        except Exception as error:  # noqa: BLE001 - whatever kept the node from answering is one line for the operator
            raise Failed(_explained(self._where, error)) from None

    async def listen(self, target: str, headers: Mapping[str, str], take: Callable[[bytes], None]) -> tuple[int, bytes]:
        try:
            response = await self._request("GET", target, headers, None, unmoved)
            if response.code >= 400:
                return int(response.code), await treq.content(response)
            await treq.collect(response, take)
            return int(response.code), b""
        except Exception as error:  # noqa: BLE001 - as above
            raise Failed(_explained(self._where, error)) from None

    async def _request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, moved: Moved
    ) -> Any:
        where = self._where
        base = where.url.rstrip("/") if where.url else "http://cftpcluster"
        sent: Any = {**headers, **({"Authorization": f"Bearer {where.token}"} if where.token else {})}
        return await self._client.request(
            method,
            base + target,
            headers=sent,
            data=None if body is None else FileBodyProducer(_Sent(body, moved), readSize=_PIECE_BYTES),
            auth=(where.user, where.password) if where.user else None,
            browser_like_redirects=False,
            unbuffered=True,
        )


class _Sent(BytesIO):
    """A request's body, which tells how much of it was taken."""

    def __init__(self, data: bytes, moved: Moved) -> None:
        super().__init__(data)
        self._moved, self._total = moved, len(data)

    def read(self, size: int | None = -1) -> bytes:
        piece = super().read(size)
        self._moved("sending", self.tell(), self._total)
        return piece


async def _content(response: Any, moved: Moved) -> bytes:
    pieces: list[bytes] = []
    count, total = 0, response.length if isinstance(response.length, int) else 0

    def take(piece: bytes) -> None:
        nonlocal count
        pieces.append(piece)
        count += len(piece)
        moved("receiving", count, total)

    await treq.collect(response, take)
    return b"".join(pieces)


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
