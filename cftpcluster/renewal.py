"""Renews the node's certificate before it expires: by the authority's key on the primary, by asking it elsewhere.

How certificates are made and checked is not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from .cluster.authority import renew, signingRequest
from .cluster.follower import Follower
from .cluster.membership import NodeIdentity, needsRenewal
from .cluster.publisher import Publisher
from .config.document import Document
from .errors import ClusterError
from .founding import Membership, store
from .state import StateDirectory

log = Logger()

RENEWAL_SECONDS = 3600.0


@define(eq=False, kw_only=True)
class Renewal:
    """
    :ivar membership: what this node is a member with; the newest certificate in it.
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

    def certificateFor(self, name: str, request: bytes) -> Deferred[bytes]:
        """A new certificate for a node, made by this one."""
        return self._inThread(renew, self._document(), self.membership.sealer, name, request, self._wallTime())

    def _renewOwn(self) -> Deferred[None]:
        if not needsRenewal(self.membership.identity.certificatePem, self._wallTime()):
            return succeed(None)
        return Deferred.fromCoroutine(self._askForCertificate()).addErrback(
            lambda failure: log.warn("the node's certificate was not renewed: {why}", why=failure.getErrorMessage())
        )

    async def _askForCertificate(self) -> None:
        identity = self.membership.identity
        request = signingRequest(identity.privateKeyPem)
        primary = self._follower().publisher
        if self._publisher().isPrimary:
            certificate = await self.certificateFor(identity.name, request)
        elif primary is not None:
            certificate = await primary.renewCertificate(request)
        else:
            raise ClusterError("the primary cannot be reached")
        renewed = NodeIdentity.fromPem(evolve(identity, certificatePem=certificate).toPem())
        membership = evolve(self.membership, identity=renewed)
        await self._inThread(store, self._state, membership)
        self.membership = membership
        log.info("the node's certificate was renewed")
