"""Keeps what runs in agreement with the newest document: one convergence at a time, a newer one replaces a waiting one.

What runs, and how it is made to agree, is known to whoever gives ``converge``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from .config.document import Document

log = Logger()

SETTLE_SECONDS = 0.005
"""Between looks whether a convergence is done."""


@define(eq=False, kw_only=True)
class Convergence:
    """
    :ivar live: the revision that was last converged on.
    :ivar _wanted: the newest revision, and the document to agree with.
    :ivar _converge: makes everything agree with a document.
    :ivar _became: told of each revision that became live.
    """

    _reactor: Any
    _wanted: Callable[[], tuple[int, Document]]
    _converge: Callable[[Document], Awaitable[None]]
    _became: Callable[[int], None]
    live: int = field(default=0, init=False)
    _document: Document | None = field(default=None, init=False)
    _running: bool = field(default=False, init=False)
    _ended: bool = field(default=False, init=False)

    def wake(self) -> None:
        """There may be a newer document."""
        if not self._running and not self._ended:
            self._running = True
            converged = Deferred.fromCoroutine(self._untilDone())
            _ = converged.addErrback(lambda failure: log.failure("convergence failed", failure))

    async def _untilDone(self) -> None:
        try:
            while not self._ended:
                revision, document = self._wanted()
                if revision == self.live and document is self._document:
                    return
                await self._converge(document)
                self.live, self._document = revision, document
                self._became(revision)
        finally:
            self._running = False

    async def settled(self) -> None:
        """Wait until nothing converges."""
        while self._running:
            await deferLater(self._reactor, SETTLE_SECONDS)

    async def end(self) -> None:
        """Converge no more; done when nothing does."""
        self._ended = True
        await self.settled()
