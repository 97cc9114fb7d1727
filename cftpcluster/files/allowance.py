"""What one user holds on this node and may still take: counters, and the files that grow. It touches no storage.

What is written counts before it is written. An upload that replaces a file counts only what it is longer than that:
else nobody could replace a file whose quota is used up. Of several that replace the same file one has this credit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredLock

from ..config.document import Quota
from ..errors import QuotaExceeded
from ..vocabulary import Space, Stat, Usage, VirtualPath
from .paths import isWithin, moved

NOTHING = Usage()


@frozen
class Key:
    """One name on one backend, by whatever mount it is reached.

    :ivar shared: whether all nodes see the same files there.
    """

    backend: str
    path: VirtualPath
    shared: bool


def counted(stat: Stat | None) -> Usage:
    """What goes when this name goes: nothing where the file has other names."""
    return Usage(stat.size, 1) if stat is not None and stat.links <= 1 else NOTHING


@define(eq=False)
class Growing:
    """A file that is being written, by however many handles.

    :ivar size: its length, with what is about to be written.
    :ivar isUpload: whether it is not committed.
    :ivar isPartial: whether it is what its owner could continue, as far as that can be told.
    :ivar credit: what it replaces, as far as it does not count for that.
    :ivar isGone: whether it has no name any more: what it grows since counts until it is closed.
    :ivar handles: how many write to it.
    :ivar isDoubtful: whether an operation failed, so that ``size`` may be wrong.
    """

    key: Key
    size: int
    isUpload: bool
    credit: Usage = NOTHING
    isPartial: bool = False
    isGone: bool = False
    handles: int = 1
    isDoubtful: bool = False

    def cost(self, size: int) -> int:
        return max(0, size - self.credit.bytes)

    @property
    def charged(self) -> Usage:
        """What it counts for as an upload."""
        return Usage(self.cost(self.size), 1 - self.credit.files)

    @property
    def free(self) -> Usage:
        """What lies on the storage of an upload and does not count."""
        return Usage(min(self.size, self.credit.bytes), self.credit.files)


@define(eq=False)
class Allowance:
    """
    :ivar user: the user's name.
    :ivar quota: its quota, now.
    :ivar changed: told when what this node added to shared storage changed.
    :ivar refused: told when something did not fit.
    :ivar local: what lies on storage that is this node's own.
    :ivar added: what this node added to shared storage, less what it removed, since it began to count.
    :ivar elsewhere: the rest of what lies on shared storage.
    """

    user: str
    quota: Callable[[], Quota]
    _changed: Callable[[Allowance], None]
    _refused: Callable[[Allowance], None]
    local: Usage = NOTHING
    added: Usage = NOTHING
    elsewhere: Usage = NOTHING
    isKnown: bool = False
    moves: int = 0
    """How often something was counted."""
    _growing: dict[Key, list[Growing]] = field(factory=lambda: defaultdict(list), init=False)
    _locks: dict[Key, tuple[DeferredLock, list[None]]] = field(factory=dict, init=False)
    _waiting: list[Deferred[None]] = field(factory=list, init=False)

    # --- how much

    @property
    def used(self) -> Usage:
        return self.local.plus(self.added).plus(self.elsewhere)

    def room(self) -> Usage:
        """How much more fits; as good as everything where there is no quota."""
        quota, used = self.quota(), self.used
        return Usage(
            max(0, quota.bytes - used.bytes) if quota.bytes else 2**63,
            max(0, quota.files - used.files) if quota.files else 2**63,
        )

    def bounded(self, space: Space) -> Space:
        """The room of a storage, as far as the user may use it."""
        quota, room = self.quota(), self.room()
        totalBytes, freeBytes = _bounded(quota.bytes, room.bytes, space.totalBytes, space.freeBytes)
        totalFiles, freeFiles = _bounded(quota.files, room.files, space.totalFiles, space.freeFiles)
        return Space(totalBytes, freeBytes, totalFiles, freeFiles)

    def add(self, key: Key, usage: Usage) -> None:
        """Count what is so already."""
        if usage == NOTHING:
            return
        self.moves += 1
        if key.shared:
            self.added = self.added.plus(usage)
            self._changed(self)
        else:
            self.local = self.local.plus(usage)

    def check(self, usage: Usage) -> None:
        """Raise ``QuotaExceeded`` where this does not fit."""
        room = self.room()
        if (usage.bytes > 0 and usage.bytes > room.bytes) or (usage.files > 0 and usage.files > room.files):
            self._refused(self)
            raise QuotaExceeded

    def take(self, key: Key, usage: Usage) -> None:
        """Count what is about to be; ``QuotaExceeded``."""
        self.check(usage)
        self.add(key, usage)

    # --- knowing it

    def known(self) -> Deferred[None]:
        """Fires when what there is was counted, or when nobody is to wait for that any longer."""
        waiting: Deferred[None] = Deferred()
        if self.isKnown:
            waiting.callback(None)
        else:
            self._waiting.append(waiting)
        return waiting

    def letGoOn(self) -> None:
        """Let those go on who wait to know."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    # --- one at a time

    @asynccontextmanager
    async def alone(self, *keys: Key) -> AsyncIterator[None]:
        """Nobody else changes what these names stand for."""
        async with AsyncExitStack() as taken:
            # in one order everywhere, so that two never wait for each other
            for key in sorted(set(keys), key=lambda key: (key.backend, key.path)):
                await taken.enter_async_context(self._alone(key))
            yield

    @asynccontextmanager
    async def _alone(self, key: Key) -> AsyncIterator[None]:
        lock, holders = self._locks.setdefault(key, (DeferredLock(), []))
        holders.append(None)
        try:
            await lock.acquire()
            try:
                yield
            finally:
                lock.release()
        finally:
            holders.pop()
            if not holders:
                del self._locks[key]

    # --- files that grow

    def begin(self, growing: Growing) -> Growing:
        self._growing[growing.key].append(growing)
        return growing

    def end(self, growing: Growing) -> None:
        """Nobody writes to it any more."""
        there = self._growing.get(growing.key, [])
        if growing in there:
            there.remove(growing)
        if not there:
            self._growing.pop(growing.key, None)

    def uploads(self, key: Key) -> Sequence[Growing]:
        """The uploads that go on under this name."""
        return [each for each in self._growing.get(key, ()) if each.isUpload and not each.isGone]

    def isContinued(self, key: Key) -> bool:
        """Whether somebody writes what could be continued under this name."""
        return any(each.isPartial for each in self.uploads(key))

    def committed(self, key: Key) -> Growing | None:
        """The committed file of this name, where it is being written to."""
        return next((each for each in self._growing.get(key, ()) if not each.isUpload and not each.isGone), None)

    def all(self) -> Iterator[Growing]:
        for growing in self._growing.values():
            yield from growing

    def resize(self, growing: Growing, size: int) -> None:
        """It is about to be as long as this, or is already; ``QuotaExceeded`` where it grows and that does not fit."""
        more = Usage(growing.cost(size) - growing.cost(growing.size), 0)
        self.take(growing.key, more)
        growing.size = size

    def correct(self, growing: Growing, size: int) -> None:
        """It turned out to be as long as this."""
        more = Usage(growing.cost(size) - growing.cost(growing.size), 0)
        self.add(growing.key, more)
        growing.size = size

    def discard(self, growing: Growing) -> None:
        """An upload was removed while it went on."""
        self.add(growing.key, NOTHING.minus(growing.charged))
        self.lose(growing)

    def lose(self, growing: Growing) -> None:
        """The name of a file that goes on being written was taken away, and what it counted for was given back."""
        growing.credit, growing.isGone = Usage(growing.size, 1), True

    def recredit(self, key: Key, replaced: Usage) -> None:
        """What uploads of this name would replace is something else now."""
        for each in self.uploads(key):
            credit = Usage(min(each.credit.bytes, replaced.bytes), min(each.credit.files, replaced.files))
            if credit != each.credit:
                before, each.credit = each.charged, credit
                self.add(key, each.charged.minus(before))

    def move(self, old: Key, new: Key, own: Sequence[Growing]) -> None:
        """A file or folder was renamed: what is written to, there and beneath, goes on under its new name; of uploads
        under just the old name only those that were renamed (``own``)."""
        for growing in list(self.all()):
            key = growing.key
            isHere = key == old and (growing in own or not growing.isUpload)
            isBeneath = key != old and key.backend == old.backend and isWithin(key.path, old.path)
            if (isHere or isBeneath) and not growing.isGone:
                self.end(growing)
                growing.key = Key(key.backend, moved(key.path, old.path, new.path), key.shared)
                self.begin(growing)


def _bounded(quota: int, room: int, total: int | None, free: int | None) -> tuple[int | None, int | None]:
    if not quota:
        return total, free
    return min(quota, total if total is not None else quota), min(room, free if free is not None else room)
