"""Follows the cluster's keys: takes a new cluster key as soon as the document hands it over, and leads the node from
one certificate authority to the next.

While the authority is replaced, nodes trust the old and the new one. Each gets a certificate of the new; the primary is
the last, since nodes that were away know the old one only and turn to it. When all have one, or after
:data:`CHANGE_OVER_SECONDS`, the primary has the old one forgotten. How keys are made and sealed is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, evolve, field
from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from .cluster.authority import AUTHORITY
from .cluster.rotation import PREVIOUS_AUTHORITY, handedOver, isOfAuthority, trustedAuthorities
from .cluster.sealing import CannotOpen
from .config.changes import Change, Remove, Target, revisionOf
from .config.document import Document
from .errors import ClusterError
from .renewal import Renewal

log = Logger()

LOOK_SECONDS = 3.0
CHANGE_OVER_SECONDS = 24 * 3600.0
"""How long nodes that are away have to come back and get a certificate of the new authority."""


@define(eq=False, kw_only=True)
class ChangeOver:
    """
    :ivar problem: why this node does not have the newest key; "" where it has.
    :ivar _certificates: what the nodes that are linked showed, by name.
    :ivar _proposeOwn: appends a change of the cluster's own.
    """

    _renewal: Renewal
    _document: Callable[[], Document]
    _isPrimary: Callable[[], bool]
    _certificates: Callable[[], Mapping[str, x509.Certificate]]
    _proposeOwn: Callable[[Change, Mapping[Target, int]], Deferred[int]]
    _clock: IReactorTime
    _changed: Callable[[], None]
    problem: str = field(default="", init=False)
    _seen: Any = field(default=None, init=False)
    _since: float | None = field(default=None, init=False)
    _said: str = field(default="", init=False)
    _looking: LoopingCall = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._looking = LoopingCall(lambda: Deferred.fromCoroutine(self._look()))
        self._looking.clock = self._clock

    def start(self) -> None:
        looking = self._looking.start(LOOK_SECONDS, now=False)
        _ = looking.addErrback(lambda failure: log.failure("nobody looks for new keys any more", failure))

    def stop(self) -> None:
        """Idempotent."""
        if self._looking.running:
            self._looking.stop()

    def take(self, document: Document) -> None:
        """Have the keys that a document is sealed with, and trust whom it trusts. Before anything of it is opened."""
        if document.keys is self._seen or AUTHORITY not in document.keys:
            return
        self._seen = document.keys
        before = self._renewal.membership
        keys, problem = before.clusterKeys, ""
        try:
            keys = handedOver(document, before.identity.name, before.identity.privateKeyPem, keys)
        except CannotOpen as error:
            problem = str(error)
            log.warn("{problem}", problem=problem)
        if keys != before.clusterKeys:
            log.info("this node has the new cluster key")
        self.problem = problem
        identity = evolve(before.identity, caPem=trustedAuthorities(document))
        membership = evolve(before, clusterKeys=keys, identity=identity)
        if membership != before:
            # What is not on the disk when the process dies is taken from the document again.
            _ = self._renewal.keep(membership).addErrback(_notStored)

    # --- from one authority to the next

    @property
    def warnings(self) -> Sequence[str]:
        """What an administrator should know."""
        document = self._document()
        if PREVIOUS_AUTHORITY not in document.keys:
            return []
        waiting = self._waiting(document) if self._isPrimary() else []
        suffix = f"; waiting for {', '.join(waiting)}" if waiting else ""
        return [f"the certificate authority is being replaced{suffix}"]

    def _waiting(self, document: Document) -> list[str]:
        """The other nodes that are not known to have a certificate of the new authority."""
        current = revisionOf(document, ("keys", AUTHORITY))
        own, shown = self._renewal.membership.identity.name, self._certificates()

        def isDone(name: str) -> bool:
            certificate = shown.get(name)
            isShown = certificate is not None and isOfAuthority(certificate, document)
            return isShown or self._renewal.issued.get(name) == current

        return [name for name in sorted(document.nodes) if name != own and not isDone(name)]

    async def _look(self) -> None:
        document = self._document()
        isBetween = PREVIOUS_AUTHORITY in document.keys
        isCurrent = isOfAuthority(self._renewal.membership.identity.certificate, document)
        if not isBetween:
            self._since = None
        if isCurrent and not isBetween:
            return
        try:
            if not self._isPrimary():
                if not isCurrent:
                    await self._renewal.renew()
            elif not isBetween or self._mayEnd(document):
                await self._end(document, isCurrent)
        except ClusterError as error:
            self._say(f"not yet at the new authority: {error}")
        except Exception:  # noqa: BLE001 - whatever it is, the next look may succeed
            log.failure("the authority could not be changed over to")
        else:
            self._changed()

    def _mayEnd(self, document: Document) -> bool:
        now = self._clock.seconds()
        self._since = now if self._since is None else self._since
        waiting = self._waiting(document)
        if waiting and now - self._since < CHANGE_OVER_SECONDS:
            self._say(f"the authority is being replaced; waiting for {', '.join(waiting)}")
            return False
        return True

    async def _end(self, document: Document, isCurrent: bool) -> None:
        if not isCurrent:
            await self._renewal.renew()
        if PREVIOUS_AUTHORITY in document.keys:
            target = ("keys", PREVIOUS_AUTHORITY)
            await self._proposeOwn(Remove(*target), {target: revisionOf(document, target)})
            log.info("the authority is replaced; the old one is not trusted any more")

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            log.info("{text}", text=text)


def _notStored(failure: Failure) -> None:
    log.warn("the node's keys could not be stored: {why}", why=failure.getErrorMessage())
