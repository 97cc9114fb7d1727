"""The account that a log-in gives. It knows no protocol and no storage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from ..interfaces import IAccount, IFileSystem, ISessionFiles
from ..vocabulary import Origin

log = Logger()


@implementer(IAccount)
@define(eq=False)
class Account:
    """:ivar left: called when it logs out, once."""

    name: str
    origin: Origin
    files: IFileSystem
    revision: int
    left: Callable[[Account], object] = lambda account: None
    _over: bool = field(default=False, init=False)
    _endedFor: str | None = field(default=None, init=False)
    _waiting: list[Deferred[str]] = field(factory=list, init=False)

    def whenEnded(self) -> Deferred[str]:
        told: Deferred[str] = Deferred()
        if self._endedFor is not None:
            told.callback(self._endedFor)
        else:
            self._waiting.append(told)
        return told

    def end(self, reason: str) -> None:
        """The cluster ends the session: tell its server why, and let nothing more be done by it. Idempotent."""
        if self._over:
            return
        self._endedFor = reason
        log.info("{name!r}: session ended: {reason}", name=self.name, reason=reason)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.addErrback(lambda failure: log.failure("a session did not end in order", failure)).callback(reason)
        _ = self.logout().addErrback(lambda failure: log.failure("a session did not end in order", failure))

    def logout(self) -> Deferred[None]:
        if self._over:
            return succeed(None)
        self._over = True
        self.left(self)
        session: Any = ISessionFiles(self.files, None)
        return session.close() if session is not None else succeed(None)
