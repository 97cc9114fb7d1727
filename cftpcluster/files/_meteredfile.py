"""A file that is written to by a user with a quota: what it counts for, from its opening to its end.

It knows neither sessions nor names; see :mod:`.metered`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from zope.interface import Interface, implementer

from ..errors import Closed, FileSystemError, QuotaExceeded
from ..interfaces import IContents, IHasDescriptor, IOpened, ISizedUpload, ITakesCopies
from ..vocabulary import Attributes, Held, Usage, VirtualPath
from .allowance import NOTHING, Allowance, Growing, counted
from .wrappers import FileWrapper, ability

if TYPE_CHECKING:
    from .metered import Metered

R = TypeVar("R")


@implementer(ITakesCopies)
@define(eq=False)
class MeteredCopies:
    """What the kernel copies into a file counts as what is written to it."""

    _file: MeteredFile

    def copyFrom(self, source: IHasDescriptor, sourceOffset: int, offset: int, length: int) -> Deferred[int]:
        inner = ITakesCopies(self._file.inner)
        copied = self._file.grown(offset + length, lambda: inner.copyFrom(source, sourceOffset, offset, length))
        return copied.addCallback(self._copied, length)

    def _copied(self, copied: int, length: int) -> int:
        # what was counted and is not there is found when the file is closed
        self._file.growing.isDoubtful = self._file.growing.isDoubtful or copied < length
        return copied


@implementer(ISizedUpload)
@define(eq=False)
class MeteredFile(FileWrapper):
    """A file that is written to.

    :ivar path: where its session sees it.
    :ivar decides: whether what becomes of an upload is decided by how this is closed.
    """

    _metered: Metered
    _allowance: Allowance
    path: VirtualPath
    growing: Growing
    decides: bool
    _refusal: QuotaExceeded | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    def __conform__(self, interface: type[Interface]) -> Any:
        if interface is ITakesCopies and ability(ITakesCopies, self.inner) is not None:
            return MeteredCopies(self)
        return ability(interface, self.inner) if interface in {IContents, IHasDescriptor, IOpened} else None

    def expect(self, size: int) -> None:
        if self._allowance.isKnown and not self._closed:
            more = self.growing.cost(size) - self.growing.cost(self.growing.size)
            self._allowance.check(Usage(more, 0))

    # --- growing

    def write(self, offset: int, data: bytes | memoryview) -> Deferred[None]:
        return self.grown(offset + len(data) if data else 0, lambda: self.inner.write(offset, data))

    def truncate(self, size: int) -> Deferred[None]:
        return self.setAttributes(Attributes(size=size))

    def setAttributes(self, attributes: Attributes) -> Deferred[None]:
        size = attributes.size
        if size is None:
            return self.inner.setAttributes(attributes)
        return self.grown(size, lambda: self.inner.setAttributes(attributes)).addCallback(self._cut, size)

    def _cut(self, result: None, size: int) -> None:
        self._allowance.correct(self.growing, size)

    def grown(self, size: int, perform: Callable[[], Deferred[R]]) -> Deferred[R]:
        """Perform what makes the file at least so long."""
        if self._closed:
            return fail(Closed())
        if size > self.growing.size:
            if not self._allowance.isKnown:
                return self._allowance.known().addCallback(lambda _: self._grownNow(size, perform))
            return self._grownNow(size, perform)
        return perform().addErrback(self._failed)

    def _grownNow(self, size: int, perform: Callable[[], Deferred[R]]) -> Deferred[R]:
        if self._closed:
            return fail(Closed())
        try:
            self._allowance.resize(self.growing, max(size, self.growing.size))
        except QuotaExceeded as refusal:
            self._refusal = self._refusal or refusal
            return fail(refusal)
        return perform().addErrback(self._failed)

    def _failed(self, failure: Any) -> Any:
        self.growing.isDoubtful = True
        return failure

    # --- the end

    def commit(self) -> Deferred[None]:
        return self._metered.do(self._commit())

    async def _commit(self) -> None:
        if self._refusal is not None:
            # what was refused is missing in it
            await self._abort(keep=not self.decides)
            raise self._refusal
        await self._ended(self.inner.commit, lambda done: done is None)

    def abort(self, keep: bool) -> Deferred[bool]:
        return self._metered.do(self._abort(keep))

    async def _abort(self, keep: bool) -> bool:
        return await self._ended(lambda: self.inner.abort(keep), lambda done: False)

    async def _ended(self, end: Callable[[], Awaitable[R]], commits: Callable[[R], bool]) -> R:
        if self._closed:
            raise Closed
        self._closed = True
        growing = self.growing
        growing.handles -= 1
        try:
            while self.decides:
                key = growing.key
                async with self._allowance.alone(key):
                    # it may have been renamed meanwhile
                    if key == growing.key:
                        return await self._endUpload(end, commits)
            return await self._closeHandle(end)
        finally:
            self._metered.forget(self)

    async def _closeHandle(self, end: Callable[[], Awaitable[R]]) -> R:
        """One of the handles on a file that is there whatever becomes of this one."""
        growing, allowance = self.growing, self._allowance
        if growing.handles or growing.isUpload:
            return await end()
        try:
            stat = await self.inner.stat()
        except FileSystemError:
            stat = None
        try:
            return await end()
        finally:
            if not growing.handles:
                if stat is not None:
                    allowance.correct(growing, stat.size)
                if growing.isGone:
                    allowance.add(growing.key, Usage(-growing.cost(growing.size), 0))
                allowance.end(growing)

    async def _endUpload(self, end: Callable[[], Awaitable[R]], commits: Callable[[R], bool]) -> R:
        """Commit or abort an upload, nobody else changing anything under its name."""
        growing, allowance, metered = self.growing, self._allowance, self._metered
        if growing.isGone:
            try:
                return await end()
            finally:
                allowance.add(growing.key, Usage(-growing.cost(growing.size), 0))
                allowance.end(growing)
        if growing.isDoubtful:
            with suppress(FileSystemError):
                allowance.correct(growing, (await self.inner.stat()).size)
        before = await metered.held(growing.key, follow=True)
        try:
            done = await end()
        except FileSystemError:
            await self._left(None)
            raise
        if commits(done):
            self._committed(before)
        else:
            await self._left(bool(done))
        return done

    def _committed(self, before: Held) -> None:
        growing, allowance = self.growing, self._allowance
        gone, full = counted(before.committed), Usage(growing.size, 1)
        self._metered.lose(allowance, growing.key, gone)
        allowance.end(growing)
        allowance.add(growing.key, full.minus(growing.charged).minus(gone))
        growing.credit, growing.isUpload = NOTHING, False
        if growing.handles:
            # it was opened a second time while it was uploaded
            allowance.begin(growing)
        allowance.recredit(growing.key, full)

    async def _left(self, kept: bool | None) -> None:
        """An upload was not committed.

        :param kept: whether its partial was kept; ``None`` where that has to be found out.
        """
        growing, allowance = self.growing, self._allowance
        allowance.end(growing)
        if kept is None or (kept and growing.isDoubtful):
            found = (await self._metered.held(growing.key, follow=True)).partial
            rest = NOTHING if allowance.isContinued(growing.key) else counted(found)
        else:
            rest = Usage(growing.size, 1) if kept else NOTHING
        allowance.add(growing.key, rest.minus(growing.charged))
        growing.isUpload, growing.isGone = False, True
        growing.credit = Usage(growing.size, 1)
        if growing.handles:
            allowance.begin(growing)
