"""The join protocol: how a new node becomes a member, and gets what members have in common.

The conversation, over TLS 1.3 with ALPN ``cftpcluster-join``: one request and one answer, each a frame of JSON. The new
node first finds the authority that its token names in the server's chain of certificates, and sees that the server is a
node under it; it has said nothing until then. Then:

    ``{"protocolVersion": 1, "tokenId", "secret", "name", "request", "address", "version"}``
        ``secret`` in base64, ``request`` a PKCS#10 certificate signing request in PEM.
    ``{"certificate", "ca", "clusterKeys", "nodes", "primary"}``
        ``clusterKeys`` in base64, the newest first; ``nodes`` as ``{"name", "address", "fingerprint"}``.
    ``{"refused": "why"}``, ``{"failed": "why"}``, ``{"notPrimary": {"epoch", "name", "address"}}``
        Nothing of the configuration reaches whoever is refused; only who shows a good token is told of the primary.

The new member and the token's binding to its key are one change, appended with the revisions that were looked at, so
of two keys that use a token at once one is refused. The same key may ask again: a join that broke off is repeated.

This is the new node's end; :mod:`.admission` is the cluster's. Where keys are kept is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen
from cryptography import x509
from twisted.internet.defer import Deferred

from .. import __version__
from ..config.document import Node
from ..errors import ClusterError, NotPrimary, Refused
from ._contexts import JoinTLS, peerCertificate
from ._frames import decodeBytes, encodeBytes, encodeFrame
from .admission import PROTOCOL_VERSION
from .authority import signingRequest
from .dial import Address, Call, call
from .membership import NodeIdentity, Usage, certificateFingerprint, verifiedName
from .sealing import KEY_BYTES
from .tokens import JoinTokenText

ANSWER_SECONDS = 60
"""The primary answers when the new member is durable, which may wait for its followers."""


@frozen
class Joined:
    """What a new member has got; to be stored before it is used.

    :ivar clusterKeys: the newest first, as for :class:`.sealing.Sealer`.
    :ivar nodes: the members that it can turn to until it has the document, the primary first; only name, address and
        fingerprint are set.
    :ivar primary: the primary's name.
    """

    identity: NodeIdentity
    clusterKeys: tuple[bytes, ...] = field(repr=False)
    nodes: tuple[Node, ...]
    primary: str


def join(
    reactor: Any,
    token: JoinTokenText,
    *,
    name: str,
    privateKeyPem: bytes,
    advertiseAddress: str,
    bindAddress: str,
    wallClock: Callable[[], float],
) -> Deferred[Joined]:
    """Join the cluster that made ``token``, as node ``name``; fires with :class:`Joined`.

    The private key (see :func:`.authority.newNodeKey`) is to be stored before: with it, and only with it, the same
    token can be used again after whatever failure. Fails with :class:`~cftpcluster.errors.Refused`,
    :class:`~cftpcluster.errors.NotPrimary`, :class:`.dial.NodeUnreachable` or another ``ClusterError``.
    """
    address = Address(token.host, token.port, bindAddress)
    request = {
        "protocolVersion": PROTOCOL_VERSION,
        "tokenId": token.tokenId,
        "secret": encodeBytes(token.secret),
        "name": name,
        "request": signingRequest(privateKeyPem).decode("ascii"),
        "address": advertiseAddress,
        "version": __version__,
    }

    async def run() -> Joined:
        def build() -> _JoinCall:
            return _JoinCall(address, token.caFingerprint, request, wallClock)

        answer = await call(reactor, address, JoinTLS(), build, ANSWER_SECONDS)
        return _joined(answer, address, token, name, privateKeyPem, wallClock())

    return Deferred.fromCoroutine(run())


class _JoinCall(Call[dict[str, Any]]):
    """Sends the request to whom the token speaks of, and nobody else."""

    def __init__(
        self, address: Address, caFingerprint: str, request: Mapping[str, Any], wallClock: Callable[[], float]
    ) -> None:
        super().__init__(address)
        self._caFingerprint = caFingerprint
        self._request = request
        self._wallClock = wallClock

    def speak(self) -> None:
        try:
            certificate = peerCertificate(self.tls)
            chain = self.tls.getHandle().get_peer_cert_chain(as_cryptography=True) or []
            authorities = [one for one in chain if certificateFingerprint(one) == self._caFingerprint]
            if not authorities:
                raise Refused("this is no node of the cluster that made the join token")
            verifiedName(certificate, authorities, Usage.server, self._wallClock())
        except (Refused, ValueError) as error:
            raise Refused(f"{self.address}: {error}") from None
        self.tls.write(encodeFrame(self._request))

    def answered(self, answer: dict[str, Any], rest: bytes) -> None:
        self.succeed(answer)
        self.tls.loseConnection()


def _joined(
    answer: Mapping[str, Any], address: Address, token: JoinTokenText, name: str, privateKeyPem: bytes, now: float
) -> Joined:
    """What an answer holds, checked as if anybody had sent it."""
    refused, failed, notPrimary = answer.get("refused"), answer.get("failed"), answer.get("notPrimary")
    if refused is not None:
        raise Refused(_oneLine(refused))
    if failed is not None:
        raise ClusterError(f"{address}: {_oneLine(failed)}")
    try:
        if notPrimary is not None:
            raise NotPrimary(int(notPrimary["epoch"]), _oneLine(notPrimary["name"]), _oneLine(notPrimary["address"]))
        return _unpacked(answer, token, name, privateKeyPem, now)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ClusterError(f"{address}: the answer cannot be understood: {error!r}") from None


def _unpacked(answer: Mapping[str, Any], token: JoinTokenText, name: str, privateKeyPem: bytes, now: float) -> Joined:
    ca = answer["ca"].encode("ascii")
    certificatePem = answer["certificate"].encode("ascii")
    identity = NodeIdentity.fromPem(NodeIdentity(name, privateKeyPem, certificatePem, ca).toPem())
    trusted = [one for one in identity.authorities if certificateFingerprint(one) == token.caFingerprint]
    if verifiedName(x509.load_pem_x509_certificate(certificatePem), trusted, Usage.client, now) != name:
        raise ValueError("the certificate is for another node")
    clusterKeys = tuple(decodeBytes(one) for one in answer["clusterKeys"])
    if not clusterKeys or any(len(one) != KEY_BYTES for one in clusterKeys):
        raise ValueError("the cluster keys are not good")
    nodes = tuple(
        Node(name=str(one["name"]), address=str(one["address"]), fingerprint=str(one["fingerprint"]))
        for one in answer["nodes"]
    )
    return Joined(identity, clusterKeys, nodes, str(answer["primary"]))


def _oneLine(text: object) -> str:
    return " ".join(str(text).split())[:500]
