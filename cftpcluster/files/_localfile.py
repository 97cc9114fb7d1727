"""Files and folders that a session has open on the disk. They know no path: what a commit means, their upload says."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import Closed, FileSystemError, PermissionDenied
from ..interfaces import IContents, IFile, IHasDescriptor, IListing, IOpened, ISelective, ITakesCopies
from ..vocabulary import Attributes, Entry, Stat
from ._descriptors import Descriptor, describe, meaning
from ._tree import FolderScan, setModeAndTimes
from ._worker import Worker
from ._writeout import writeOut

R = TypeVar("R")

BATCH_ENTRIES = 256

INLINE_BYTES = 1024 * 1024
"""The most that is read in the reactor's thread, even from the kernel's cache."""

AHEAD_BYTES = 4 * 1024 * 1024
"""So much is fetched from the disk before it is asked for, of a file that is read from its beginning on."""

KERNEL_COPY_BYTES = 8 * 1024 * 1024
"""What is copied without another chance for others to use the thread."""

OFFSET_LIMIT = 2**63 - 1

FED_BYTES = 256 * 1024
"""What is hashed at once: more does not stay in the processor's cache."""

NO_INLINE_READS = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}

NO_KERNEL_COPIES = {errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM}


class Ending(Protocol):
    """What becomes of an upload."""

    async def commit(self) -> None: ...

    async def abort(self, keep: bool) -> bool: ...


@implementer(IFile, IHasDescriptor, IContents, IOpened, ITakesCopies)
@define(eq=False)
class LocalFile:
    """An open file.

    :ivar file: closed only when no operation uses it any more: its number may be another file's at once.
    :ivar ending: the upload that this file is, if it is one.
    :ivar damage: the first error of a write; nothing damaged is ever committed.
    :ivar damagedFrom: the lowest offset of a failed write.
    """

    _worker: Worker
    file: Descriptor
    _writable: bool
    _sync: bool
    _forget: Callable[[LocalFile], None]
    opened: Stat | None = None
    ending: Ending | None = field(default=None, init=False)
    damage: FileSystemError | None = field(default=None, init=False)
    damagedFrom: int | None = field(default=None, init=False)
    _written: bool = field(default=False, init=False)
    _closed: bool = field(default=False, init=False)
    _inFlight: int = field(default=0, init=False)
    _drained: Deferred[None] | None = field(default=None, init=False)
    _readEnd: int = field(default=0, init=False)  # of what was asked for last
    _inlineReads: bool = field(default=hasattr(os, "RWF_NOWAIT"), init=False)

    def _use(self, function: Callable[..., R], *args: Any) -> Deferred[R]:
        """Every operation that needs the descriptor in a thread passes here."""
        if self._closed:
            return fail(Closed())
        self._inFlight += 1
        return self._worker.run(function, *args).addBoth(self._used)

    def _used(self, result: R) -> R:
        self._inFlight -= 1
        if self._drained is not None and not self._inFlight:
            self._drained.callback(None)
        return result

    async def drained(self) -> None:
        """Wait, after the file was closed to its user, until nothing uses the descriptor."""
        if self._inFlight:
            self._drained = Deferred()
            await self._drained

    def descriptor(self) -> int:
        if self._closed:
            raise Closed
        return self.file.number

    def sent(self, byteCount: int) -> None:
        """Nothing here counts bytes."""

    def stat(self) -> Deferred[Stat]:
        return self._use(lambda: describe(self.file.stat()))

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        if self._closed:
            return fail(Closed())
        if length <= 0 or offset > OFFSET_LIMIT - length:
            return succeed(b"")
        if not self._inlineReads or length > INLINE_BYTES:
            return self._use(readFully, self.file.number, offset, length)
        goesOn, self._readEnd = offset == self._readEnd, offset + length
        cached, isAll = self._readCached(offset, length)
        if isAll:
            return succeed(cached)
        function = readOnward if goesOn else readFully
        rest = self._use(function, self.file.number, offset + len(cached), length - len(cached))
        return rest.addCallback(cached.__add__)

    def _readCached(self, offset: int, length: int) -> tuple[bytes, bool]:
        """What the kernel has in its cache from there on, and whether that is all there is."""
        buffer = bytearray(length)
        filled = 0
        try:
            while filled < length:
                count = os.preadv(self.file.number, [memoryview(buffer)[filled:]], offset + filled, os.RWF_NOWAIT)
                if count == 0:
                    return bytes(memoryview(buffer)[:filled]), True
                filled += count
        except BlockingIOError:
            pass
        except OSError as error:
            # what else is wrong, the thread will find as well
            self._inlineReads = error.errno not in NO_INLINE_READS
        return bytes(memoryview(buffer)[:filled]), filled == length

    def write(self, offset: int, data: bytes | memoryview) -> Deferred[None]:
        if not self._writable:
            return fail(Closed() if self._closed else PermissionDenied())
        self._written = True
        function = writeThrough if self._sync else writeFully
        return self._use(function, self.file.number, offset, data).addErrback(self._damaged, offset)

    def _damaged(self, failure: Failure, offset: int) -> Failure:
        if isinstance(failure.value, FileSystemError) and not isinstance(failure.value, Closed):
            self.damage = self.damage or failure.value
            self.damagedFrom = offset if self.damagedFrom is None else min(offset, self.damagedFrom)
        return failure

    def truncate(self, size: int) -> Deferred[None]:
        return self.setAttributes(Attributes(size=size))

    def setAttributes(self, attributes: Attributes) -> Deferred[None]:
        if attributes.size is not None and not self._writable and not self._closed:
            return fail(PermissionDenied())
        self._written = self._written or attributes.size is not None
        return self._use(setAttributes, self.file, attributes)

    def sync(self) -> Deferred[None]:
        # after an error the kernel forgets what it could not write: a second try would not find it
        return self._use(os.fsync, self.file.number).addErrback(self._damaged, 0)

    def feed(self, take: Callable[[bytes], object], offset: int, length: int) -> Deferred[int]:
        return self._use(feedFully, take, self.file.number, offset, min(length, OFFSET_LIMIT - offset))

    def copyFrom(self, source: IHasDescriptor, sourceOffset: int, offset: int, length: int) -> Deferred[int]:
        if not self._writable:
            return fail(Closed() if self._closed else PermissionDenied())
        try:
            # the source may be closed while a thread is at it
            lent = Descriptor(os.dup(source.descriptor()))
        except (FileSystemError, OSError) as error:
            return fail(meaning(error) if isinstance(error, OSError) else error)
        self._written = True
        return self._use(copyRange, lent, self.file.number, sourceOffset, offset, length).addErrback(
            self._damaged, offset
        )

    def commit(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._commit())

    async def _commit(self) -> None:
        self._close()
        if self.ending is not None:
            ending, self.ending = self.ending, None
            await ending.commit()
            return
        await self.drained()
        await self._worker.run(closeFile, self.file, self._written and self._sync)
        if self.damage is not None:
            raise self.damage

    def abort(self, keep: bool) -> Deferred[bool]:
        return Deferred.fromCoroutine(self._abort(keep))

    async def _abort(self, keep: bool) -> bool:
        self._close()
        if self.ending is not None:
            ending, self.ending = self.ending, None
            return await ending.abort(keep)
        await self.drained()
        if self._writable:
            await self._worker.run(closeFile, self.file, False)
        else:
            # Nothing of it can go wrong for anybody, so nobody waits for a thread to say so.
            self._worker.pool.callInThread(self.file.close)
        return False

    def _close(self) -> None:
        if self._closed:
            raise Closed
        self._closed = True
        self._forget(self)


@implementer(IListing, ISelective)
@define(eq=False)
class LocalListing:
    """A folder being read in threads, what the session has under way there included.

    :ivar own: the session's uploads by name; they hide what has their names on the disk.
    """

    _worker: Worker
    _scan: FolderScan
    _own: dict[str, Stat]
    _atEnd: bool = field(default=False, init=False)
    _closed: bool = field(default=False, init=False)
    _reading: bool = field(default=False, init=False)

    def only(self, wanted: Callable[[str, bool | None], bool]) -> None:
        self._scan.wanted = wanted

    def next(self) -> Deferred[Sequence[Entry]]:
        return Deferred.fromCoroutine(self._next())

    async def _next(self) -> Sequence[Entry]:
        while not self._atEnd:
            self._reading = True
            try:
                found = await self._worker.run(self._scan.next, BATCH_ENTRIES)
            finally:
                self._reading = False
            if self._closed or not found:
                self._atEnd = True
                self._scan.close()
            elif batch := [entry for entry in found if entry.name not in self._own]:
                return batch
        own, self._own = self._own, {}
        return [Entry(name, stat) for name, stat in own.items()]

    def close(self) -> None:
        self._own = {}
        self._closed = True
        if not self._reading:
            self._atEnd = True
            self._scan.close()


def readOnward(number: int, offset: int, length: int) -> bytes:
    """Read, and have the kernel fetch what follows: reads in several threads look to it as if in no order."""
    with contextlib.suppress(OSError):
        os.posix_fadvise(number, offset, length + AHEAD_BYTES, os.POSIX_FADV_WILLNEED)
    return readFully(number, offset, length)


def readFully(number: int, offset: int, length: int) -> bytes:
    data = os.pread(number, length, offset)
    if not data or len(data) == length:
        return data
    parts = [data]
    got = len(data)
    while got < length and (data := os.pread(number, length - got, offset + got)):
        parts.append(data)
        got += len(data)
    return b"".join(parts)


def writeFully(number: int, offset: int, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(number, rest, offset)
        rest = rest[written:]
        offset += written


def writeThrough(number: int, offset: int, data: bytes | memoryview) -> None:
    writeFully(number, offset, data)
    writeOut(number, offset, len(data))


def setAttributes(file: Descriptor, attributes: Attributes) -> None:
    if attributes.size is not None:
        os.ftruncate(file.number, attributes.size)
    setModeAndTimes(file.number, file.stat(), attributes)


def closeFile(file: Descriptor, sync: bool) -> None:
    with file:
        if sync:
            os.fsync(file.number)


def feedFully(take: Callable[[bytes], object], number: int, offset: int, length: int) -> int:
    fed = 0
    while fed < length and (data := os.pread(number, min(length - fed, FED_BYTES), offset + fed)):
        take(data)
        fed += len(data)
    return fed


def copyRange(lent: Descriptor, target: int, sourceOffset: int, offset: int, length: int) -> int:
    with lent as source:
        try:
            copied = os.copy_file_range(source.number, target, min(length, KERNEL_COPY_BYTES), sourceOffset, offset)
        except OSError as error:
            if error.errno not in NO_KERNEL_COPIES:
                raise
            copied = 0
        if copied:
            return copied
        # some storages answer 0 instead of refusing; only a read tells the end
        data = os.pread(source.number, min(length, INLINE_BYTES), sourceOffset)
        writeFully(target, offset, data)
        return len(data)
