"""What an administrator should know of a node's storage and configuration, looked at again and again.

What follows from it is not known here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from .config.document import Document
from .status import newerParts, unsharedBackends

log = Logger()

CHECK_SECONDS = 5.0
"""Between looks at the backends' storage."""


@define(eq=False, kw_only=True)
class Remarks:
    """
    :ivar missingStorage: what keeps backends from being used.
    :ivar warnings: what should be known although all is well.
    :ivar newerParts: what of the document this version does not know.
    :ivar _storageProblems: looks at the backends.
    :ivar _changed: told when any of it changed.
    """

    _document: Callable[[], Document]
    _storageProblems: Callable[[], Awaitable[Sequence[str]]]
    _inThread: Callable[..., Deferred[Any]]
    _clock: IReactorTime
    _changed: Callable[[], None]
    missingStorage: Sequence[str] = field(default=(), init=False)
    warnings: tuple[str, ...] = field(default=(), init=False)
    newerParts: tuple[str, ...] = field(default=(), init=False)
    _remarkedOn: Document | None = field(default=None, init=False)
    _looking: LoopingCall = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._looking = LoopingCall(lambda: Deferred.fromCoroutine(self.look()))
        self._looking.clock = self._clock

    def start(self) -> None:
        _ = self._looking.start(CHECK_SECONDS).addErrback(lambda failure: log.failure("no more checks", failure))

    def stop(self) -> None:
        if self._looking.running:
            self._looking.stop()

    async def look(self) -> None:
        """Look now; never fails."""
        try:
            await self._lookAtDocument()
            await self._lookAtStorage()
        except Exception:  # noqa: BLE001 - whatever it is, the next look may succeed
            log.failure("the storage could not be looked at")

    async def _lookAtDocument(self) -> None:
        document = self._document()
        if document is not self._remarkedOn:
            self.warnings = tuple(await self._inThread(unsharedBackends, document))
            self.newerParts, self._remarkedOn = tuple(await self._inThread(newerParts, document)), document
            self._changed()

    async def _lookAtStorage(self) -> None:
        missing = await self._storageProblems()
        if missing != self.missingStorage:
            for problem in set(missing) - set(self.missingStorage):
                log.warn("{problem}", problem=problem)
            self.missingStorage = missing
            self._changed()
