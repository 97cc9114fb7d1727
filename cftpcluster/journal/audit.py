"""What happened on this node, kept in a file: the audit log.

Events wait in memory until the next commit, some tenths of a second, and are written by a thread of their own. Where
the disk is too slow, or cannot be written, the oldest that wait are let go, and counted: nothing waits for the log, and
it never grows without bound. A record's id is the time in microseconds when it happened, raised where that would not be
beyond the one before; so ids order the records of one node, also across restarts and a lost file, and those of several
nodes by their clocks.

Nothing here knows the other nodes, or what the events mean.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Self

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredSemaphore, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from ..config.document import Settings
from ..errors import ClusterError
from ..events import Event, EventsLost, fieldsOf
from ..interfaces import IObserver
from .auditfile import AuditFile, Found, Question

log = Logger()

COMMIT_SECONDS = 0.2
"""Between commits; what happens meanwhile is written together."""

RETRY_SECONDS = 5.0
TRIM_SECONDS = 60.0
MOST_WAITING = 20_000
MOST_COMMITTED = 2000
MOST_TEXT = 4096
MOST_READING = 2


@implementer(IObserver)
@define(eq=False)
class AuditLog:
    """Keeps what it is told of, and answers questions about it.

    :ivar problem: why events are not kept at present; "" when all is well.
    :ivar lost: how many events were let go since the start.
    :ivar _pool: a pool of one thread, for this alone.
    :ivar _readers: where questions are looked for.
    """

    node: str
    _file: AuditFile
    _reactor: Any
    _pool: ThreadPool
    _readers: ThreadPool
    _settings: Callable[[], Settings]
    _wallTime: Callable[[], float]
    problem: str = field(default="", init=False)
    lost: int = field(default=0, init=False)
    _untold: int = field(default=0, init=False)
    _last: int = field(default=0, init=False)
    _waiting: deque[Mapping[str, Any]] = field(factory=deque, init=False)
    _next: IDelayedCall | None = field(default=None, init=False)
    _writing: Deferred[None] | None = field(default=None, init=False)
    _trimAt: float = field(default=0.0, init=False)
    _closed: bool = field(default=False, init=False)
    _commits: list[Deferred[None]] = field(factory=list, init=False)
    _reading: DeferredSemaphore = field(factory=lambda: DeferredSemaphore(MOST_READING), init=False)

    @classmethod
    async def open(
        cls,
        path: str,
        node: str,
        reactor: Any,
        pool: ThreadPool,
        readers: ThreadPool,
        settings: Callable[[], Settings],
        wallTime: Callable[[], float],
    ) -> Self:
        file: AuditFile = await deferToThreadPool(reactor, pool, AuditFile.open, path)
        opened = cls(node, file, reactor, pool, readers, settings, wallTime)
        opened._last = file.newest
        return opened

    # --- what happens

    def observe(self, event: Event) -> None:
        if self._closed:
            return
        self._waiting.append(self._recordOf(event))
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self.lost += 1
            self._untold += 1
        self._wake(COMMIT_SECONDS)

    def _recordOf(self, event: Event) -> dict[str, Any]:
        self._last = max(self._last + 1, int(self._wallTime() * 1_000_000))
        own = {"id": self._last, "node": self.node, "time": self._last / 1_000_000, "kind": type(event).__name__}
        return {**{key: _plain(value) for key, value in fieldsOf(event).items()}, **own}

    def _wake(self, seconds: float) -> None:
        if self._writing is None and self._next is None and not self._closed:
            self._next = self._reactor.callLater(seconds, self._begin)

    def _begin(self) -> None:
        self._next = None
        self._writing = Deferred.fromCoroutine(self._write())
        _ = self._writing.addErrback(lambda failure: log.failure("events were not kept", failure))
        _ = self._writing.addCallback(self._written)

    def _written(self, _: object) -> None:
        self._writing = None
        if self._waiting:
            self._wake(RETRY_SECONDS if self.problem else COMMIT_SECONDS)

    async def _write(self) -> None:
        if self._untold:
            self._waiting.append(self._recordOf(EventsLost(count=self._untold)))
        told, self._untold = self._untold, 0
        batch = [self._waiting.popleft() for _ in range(min(MOST_COMMITTED, len(self._waiting)))]
        try:
            await deferToThreadPool(self._reactor, self._pool, self._file.write, batch)
        except ClusterError as error:
            if not self.problem:
                log.error("the audit log is not kept: {why}", why=str(error))
            self.problem = f"the audit log is not kept: {error}"
            self._waiting.extendleft(reversed([each for each in batch if each["kind"] != EventsLost.__name__]))
            self._untold += told
            return
        if self.problem:
            log.info("the audit log is kept again")
        self.problem = ""
        commits, self._commits = self._commits, []
        for each in commits:
            each.callback(None)
        await self._trim()

    async def _trim(self) -> None:
        now = self._reactor.seconds()
        if now < self._trimAt:
            return
        settings = self._settings()
        oldest = int((self._wallTime() - settings.auditSeconds) * 1_000_000)
        try:
            more = await deferToThreadPool(self._reactor, self._pool, self._file.trim, oldest, settings.auditBytes)
        except ClusterError as error:
            log.error("the audit log was not trimmed: {why}", why=str(error))
            more = False
        self._trimAt = now if more else now + TRIM_SECONDS

    @property
    def waiting(self) -> int:
        """How many events are not on disk yet."""
        return len(self._waiting)

    # --- questions

    def ask(self, question: Question) -> Deferred[Found]:
        """Fires with what is found; ``ClusterError``."""
        return self._reading.run(deferToThreadPool, self._reactor, self._readers, self._file.read, question)

    def committed(self, seconds: float) -> Deferred[None]:
        """Fires when more was written, or so many seconds later."""
        if self._closed:
            return succeed(None)
        waited: Deferred[None] = Deferred(lambda done: self._commits.remove(done) if done in self._commits else None)
        self._commits.append(waited)
        return waited.addTimeout(seconds, self._reactor, lambda *_: None)

    def close(self) -> Deferred[None]:
        """Write what is left, then let go of the file; idempotent."""
        if self._closed:
            return succeed(None)
        self._closed = True
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._writing is not None:
            await self._writing
        while self._waiting and not self.problem:
            await self._write()
        commits, self._commits = self._commits, []
        for each in commits:
            each.callback(None)
        await deferToThreadPool(self._reactor, self._pool, self._file.close)


def _plain(value: Any) -> Any:
    """A value of an event as JSON has it."""
    if isinstance(value, str):
        return value[:MOST_TEXT]
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value[:100]]
    return value if isinstance(value, bool | int | float) or value is None else str(value)[:MOST_TEXT]
