"""Holds a user's reads and writes back to a number of bytes per second, all its sessions on this node together.

What was moved counts, and its answer waits until it is paid for: whoever asked stops asking, and the wait reaches the
client's socket. Sessions take turns. It knows no protocol, no quota and no other node.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Collection
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import Interface, implementer

from ..config.document import Limits
from ..interfaces import (
    IContents,
    IFile,
    IHasDescriptor,
    IHashed,
    ILinks,
    IOpened,
    IPaced,
    IServerSideCopy,
    ISizedUpload,
    ISpaceReport,
    ITakesCopies,
)
from ..vocabulary import OpenMode, VirtualPath
from .checksums import Hashed, Turns, UserTurns
from .wrappers import FileSystemWrapper, FileWrapper, ability

T = TypeVar("T")

PIECE_SECONDS = 0.2
LEAST_PIECE_BYTES = 4096
MOST_PIECE_BYTES = 1024 * 1024

BURST_SECONDS = 0.1
"""So much of the rate that was not used is not lost: it makes up for timers that ring late."""

TICK_SECONDS = 0.002
"""What is due so soon is let through: a timer would cost more than it holds back."""

MOST_DEBT_SECONDS = 5.0
"""How long others wait at most for what nobody waited for."""


@define(eq=False)
class Flow:
    """One session's part of a rate.

    :ivar finish: up to where, by the rate's own measure, its part was handed out.
    """

    finish: int = 0


@define(eq=False)
class Waiting:
    """Bytes that were moved and are not paid for."""

    cost: int
    _done: Deferred[None] | None

    def finish(self) -> None:
        """They are, or nobody waits for it any more."""
        done, self._done = self._done, None
        if done is not None:
            done.callback(None)


@define(eq=False)
class Rate:
    """A number of bytes per second, shared by flows: each gets as much as the others, whatever it asks for.

    The one that was given least so far comes next (start-time fair queueing).
    """

    _clock: IReactorTime
    bytesPerSecond: int = 0
    _queue: list[tuple[int, int, Waiting]] = field(factory=list, init=False)
    _numbers: itertools.count[int] = field(factory=itertools.count, init=False)
    _given: int = field(default=0, init=False)
    _paidUntil: float = field(default=0.0, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)

    @property
    def pieceBytes(self) -> int:
        if not self.bytesPerSecond:
            return MOST_PIECE_BYTES
        return max(LEAST_PIECE_BYTES, min(MOST_PIECE_BYTES, int(self.bytesPerSecond * PIECE_SECONDS)))

    def add(self, flow: Flow, cost: int, done: Deferred[None]) -> Waiting:
        """So many bytes were moved; ``done`` fires when they are paid for, perhaps at once."""
        self._limitBurst()
        start = max(self._given, flow.finish)
        flow.finish = start + cost
        waiting = Waiting(cost, done)
        heapq.heappush(self._queue, (start, next(self._numbers), waiting))
        if self._timer is None:
            self._serve()
        return waiting

    def charge(self, cost: int) -> None:
        """So many bytes were moved, and nobody waits: those who come next do, within bounds."""
        if self.bytesPerSecond:
            self._limitBurst()
            most = max(self._paidUntil, self._clock.seconds() + MOST_DEBT_SECONDS)
            self._paidUntil = min(self._paidUntil + cost / self.bytesPerSecond, most)
            self._serveAnew()

    def letThrough(self, some: Collection[Waiting]) -> None:
        """Nobody wants to wait for these any more."""
        for waiting in some:
            cost, waiting.cost = waiting.cost, 0
            self.charge(cost)
            waiting.finish()
        self._serveAnew()

    def change(self, bytesPerSecond: int) -> None:
        """Another rate from now on; 0 is none."""
        if bytesPerSecond != self.bytesPerSecond:
            self.bytesPerSecond = bytesPerSecond
            # what was owed at another rate is not owed at this one
            self._paidUntil = self._clock.seconds()
            self._serveAnew()

    def _limitBurst(self) -> None:
        if not self._queue:
            self._paidUntil = max(self._paidUntil, self._clock.seconds() - BURST_SECONDS)

    def _serveAnew(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._serve()

    def _serve(self) -> None:
        """Let through what is paid for, and come back for the rest."""
        self._timer = None
        # whoever is let through may ask for more, and be served from within
        while self._queue and self._timer is None:
            start, _, waiting = self._queue[0]
            if self.bytesPerSecond and waiting.cost:
                due, now = self._paidUntil + waiting.cost / self.bytesPerSecond, self._clock.seconds()
                if due > now + TICK_SECONDS:
                    self._timer = self._clock.callLater(due - now, self._serve)
                    return
                self._paidUntil = due
            heapq.heappop(self._queue)
            self._given = max(self._given, start)
            waiting.finish()


@define(eq=False)
class Rates:
    """Both directions of one user on this node, and its turns at hashing."""

    download: Rate
    upload: Rate
    hashing: UserTurns

    def take(self, limits: Limits) -> bool:
        """Keep to these limits from now on, also with what waits; tells whether there are any."""
        self.download.change(limits.downloadBytesPerSecond)
        self.upload.change(limits.uploadBytesPerSecond)
        return bool(limits.downloadBytesPerSecond or limits.uploadBytesPerSecond)


@define(eq=False)
class AllRates:
    """The rates of users.

    :ivar limits: the limits of a user, now.
    """

    _clock: IReactorTime
    _limits: Callable[[str], Limits]
    _rates: WeakValueDictionary[str, Rates] = field(factory=WeakValueDictionary, init=False)
    _turns: Turns = field(factory=Turns, init=False)
    _kept: set[Rates] = field(factory=set, init=False)
    """Those with limits: who owes something still does when the next session begins."""

    def of(self, user: str) -> Rates:
        rates = self._rates.get(user)
        if rates is None:
            hashing = UserTurns(self._turns, user)
            rates = self._rates[user] = Rates(Rate(self._clock), Rate(self._clock), hashing)
            self._take(user, rates)
        return rates

    def refresh(self) -> None:
        """The limits may have changed."""
        for user, rates in list(self._rates.items()):
            self._take(user, rates)

    def _take(self, user: str, rates: Rates) -> None:
        keep = self._kept.add if rates.take(self._limits(user)) else self._kept.discard
        keep(rates)


@define(eq=False)
class SessionFlows:
    """One session's parts of its user's rates."""

    rates: Rates
    download: Flow = field(factory=Flow)
    upload: Flow = field(factory=Flow)


@implementer(IHasDescriptor)
@define(eq=False)
class ThrottledDescriptor:
    _inner: IHasDescriptor
    _download: Rate

    def descriptor(self) -> int:
        return self._inner.descriptor()

    def sent(self, byteCount: int) -> None:
        self._inner.sent(byteCount)
        self._download.charge(byteCount)


@implementer(IPaced)
@define(eq=False)
class ThrottledFile(FileWrapper):
    """An opened file. Without a rate it costs one comparison for each piece."""

    _flows: SessionFlows
    _waiting: dict[Waiting, Rate] = field(factory=dict, init=False)
    _isAwaited: bool = field(default=True, init=False)

    def __conform__(self, interface: type[Interface]) -> Any:
        if interface is IHasDescriptor and not self._flows.rates.download.bytesPerSecond:
            # the kernel waits for nobody
            inner = ability(IHasDescriptor, self.inner)
            return None if inner is None else ThrottledDescriptor(inner, self._flows.rates.download)
        if interface is IHashed:
            contents = ability(IContents, self.inner)
            return None if contents is None else Hashed(contents, self._flows.rates.hashing)
        if interface is ITakesCopies and not self._flows.rates.upload.bytesPerSecond:
            return ability(ITakesCopies, self.inner)
        return ability(interface, self.inner) if interface in {IOpened, ISizedUpload} else None

    def pieceBytes(self, isDownload: bool) -> int:
        rates = self._flows.rates
        return (rates.download if isDownload else rates.upload).pieceBytes

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        done: Deferred[Any] = self.inner.read(offset, length)
        if self._flows.rates.download.bytesPerSecond:
            _ = done.addCallback(self._readPaid)
        return done

    def _readPaid(self, data: bytes) -> bytes | Deferred[bytes]:
        return self._paid(data, len(data), self._flows.rates.download, self._flows.download)

    def write(self, offset: int, data: bytes | memoryview) -> Deferred[None]:
        done: Deferred[Any] = self.inner.write(offset, data)
        if self._flows.rates.upload.bytesPerSecond:
            _ = done.addCallback(self._paid, len(data), self._flows.rates.upload, self._flows.upload)
        return done

    def _paid(self, result: T, cost: int, rate: Rate, flow: Flow) -> T | Deferred[T]:
        if not self._isAwaited or not cost:
            rate.charge(cost)
            return result
        done: Deferred[None] = Deferred()
        waiting = rate.add(flow, cost, done)
        if done.called:
            return result
        self._waiting[waiting] = rate

        def paid(_: None) -> T:
            self._waiting.pop(waiting, None)
            return result

        return done.addCallback(paid)

    def hurry(self) -> None:
        self._isAwaited = False
        waiting, self._waiting = self._waiting, {}
        for rate in set(waiting.values()):
            rate.letThrough([each for each in waiting if waiting[each] is rate])

    def commit(self) -> Deferred[None]:
        self.hurry()
        return self.inner.commit()

    def abort(self, keep: bool) -> Deferred[bool]:
        self.hurry()
        return self.inner.abort(keep)


@define(eq=False)
class Throttled(FileSystemWrapper):
    """The files of one session, as fast as its user may."""

    _flows: SessionFlows

    def __conform__(self, interface: type[Interface]) -> Any:
        # a copy on the server passes no client
        return ability(interface, self.inner) if interface in {ILinks, ISpaceReport, IServerSideCopy} else None

    def open(self, path: VirtualPath, mode: OpenMode) -> Deferred[IFile]:
        return self.inner.open(path, mode).addCallback(lambda opened: ThrottledFile(opened, self._flows))
