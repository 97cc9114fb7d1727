"""When the certificates of the document end; says so in time.

What serves with them is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from .config.document import Certificate, Document
from .events import CertificateExpiring, Notify

log = Logger()

LOOK_SECONDS = 30.0
TELL_SECONDS = 24 * 3600.0
SOON_SECONDS = 21 * 24 * 3600.0
"""So long before its end a certificate is a warning."""


def endsOf(certificates: Mapping[str, Certificate]) -> dict[str, float]:
    """When each ends, the whole chain considered: seconds since the epoch. Belongs in a thread."""
    ends = {}
    for name, certificate in certificates.items():
        try:
            chain = x509.load_pem_x509_certificates(certificate.chain.encode("utf-8", "replace"))
        except ValueError:
            continue
        ends[name] = min(each.not_valid_after_utc.timestamp() for each in chain)
    return ends


@define(eq=False, kw_only=True)
class Expiries:
    """
    :ivar ends: when each certificate ends, seconds since the epoch.
    """

    _document: Callable[[], Document]
    _inThread: Callable[..., Deferred[Any]]
    _clock: IReactorTime
    _wallTime: Callable[[], float]
    _notify: Notify
    ends: Mapping[str, float] = field(factory=dict, init=False)
    _seen: Any = field(default=None, init=False)
    _toldAt: dict[str, float] = field(factory=dict, init=False)
    _looking: LoopingCall = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._looking = LoopingCall(lambda: Deferred.fromCoroutine(self.look()))
        self._looking.clock = self._clock

    def start(self) -> None:
        _ = self._looking.start(LOOK_SECONDS).addErrback(lambda failure: log.failure("no more looks", failure))

    def stop(self) -> None:
        if self._looking.running:
            self._looking.stop()

    async def look(self) -> None:
        """Look now; never fails."""
        certificates = self._document().certificates
        try:
            if certificates is not self._seen:
                self.ends = await self._inThread(endsOf, certificates)
                self._seen, self._toldAt = certificates, {}
        except Exception:  # noqa: BLE001 - whatever it is, the next look may succeed
            log.failure("the certificates could not be looked at")
        now = self._clock.seconds()
        for name, seconds in self._soon():
            if now - self._toldAt.get(name, -TELL_SECONDS) >= TELL_SECONDS:
                self._toldAt[name] = now
                self._notify(CertificateExpiring(name=name, seconds=round(seconds)))

    def left(self) -> dict[str, float]:
        """Seconds that each has left."""
        now = self._wallTime()
        return {name: end - now for name, end in sorted(self.ends.items())}

    def _soon(self) -> list[tuple[str, float]]:
        return [(name, seconds) for name, seconds in self.left().items() if seconds < SOON_SECONDS]

    @property
    def warnings(self) -> list[str]:
        """What an administrator should know."""
        return [
            f"certificate {name} has expired" if seconds <= 0 else f"certificate {name} expires in {_days(seconds)}"
            for name, seconds in self._soon()
        ]


def _days(seconds: float) -> str:
    days = int(seconds // 86400)
    return f"{days} days" if days > 1 else f"{int(seconds // 3600)} hours"
