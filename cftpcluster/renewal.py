"""Keeps what the node is a member with: renews its certificate before it expires, by the authority's key on the
primary, by asking it elsewhere; and stores what changes.

How certificates are made and checked is not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from .cluster.authority import AUTHORITY, renew, signingRequest
from .cluster.follower import Follower
from .cluster.membership import NodeIdentity, needsRenewal
from .cluster.publisher import Publisher
from .config.changes import revisionOf
from .config.document import Document
from .errors import ClusterError
from .founding import Membership, store
from .state import StateDirectory

log = Logger()

RENEWAL_SECONDS = 3600.0


@define(eq=False, kw_only=True)
class Renewal:
    """
    :ivar membership: what this node is a member with; the newest certificate and keys in it.
    :ivar issued: the revision of the authority that made a node's last certificate here, by the node's name.
    :ivar _wallTime: seconds since the epoch.
    """

    membership: Membership
    _publisher: Callable[[], Publisher]
    _follower: Callable[[], Follower]
    _document: Callable[[], Document]
    _state: StateDirectory
    _clock: IReactorTime
    _inThread: Callable[..., Deferred[Any]]
    _wallTime: Callable[[], float]
    issued: dict[str, int] = field(factory=dict, init=False)
    _storing: DeferredLock = field(factory=DeferredLock, init=False)
    _looking: LoopingCall = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._looking = LoopingCall(self._renewOwn)
        self._looking.clock = self._clock

    def start(self) -> None:
        looking = self._looking.start(RENEWAL_SECONDS)
        _ = looking.addErrback(lambda failure: log.failure("no more renewals", failure))

    def stop(self) -> None:
        if self._looking.running:
            self._looking.stop()

    def keep(self, membership: Membership) -> Deferred[None]:
        """Be a member with that from now on; fires when it is stored."""
        self.membership = membership
        return self._storing.run(self._store)

    def _store(self) -> Deferred[None]:
        return self._inThread(store, self._state, self.membership)

    def certificateFor(self, name: str, request: bytes) -> Deferred[bytes]:
        """A new certificate for a node, made by this one."""
        document = self._document()

        def issued(certificate: bytes) -> bytes:
            self.issued[name] = revisionOf(document, ("keys", AUTHORITY))
            return certificate

        made = self._inThread(renew, document, self.membership.sealer, name, request, self._wallTime())
        return made.addCallback(issued)

    def _renewOwn(self) -> Deferred[None]:
        if not needsRenewal(self.membership.identity.certificatePem, self._wallTime()):
            return succeed(None)
        return Deferred.fromCoroutine(self.renew()).addErrback(
            lambda failure: log.warn("the node's certificate was not renewed: {why}", why=failure.getErrorMessage())
        )

    async def renew(self) -> None:
        """Get a certificate of today's authority."""
        identity = self.membership.identity
        request = signingRequest(identity.privateKeyPem)
        primary = self._follower().publisher
        if self._publisher().isPrimary:
            certificate = await self.certificateFor(identity.name, request)
        elif primary is not None:
            certificate = await primary.renewCertificate(request)
        else:
            raise ClusterError("the primary cannot be reached")
        # Whom it trusts, and its keys, may have changed meanwhile.
        identity = self.membership.identity
        renewed = NodeIdentity.fromPem(evolve(identity, certificatePem=certificate).toPem())
        await self.keep(evolve(self.membership, identity=renewed))
        log.info("the node's certificate was renewed")
