"""Keeps what a user holds to its quota: one mount of one session.

What is written counts before it is written, by the length that the file will have; what is replaced, removed or broken
off is given back by what lies on the storage before and after. Names are changed one at a time (see
:meth:`.Allowance.alone`), so that nothing is given back twice. Without a quota nothing is looked at.
It knows no protocol, no permissions and no other node.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from zope.interface import Interface, implementer

from ..errors import Closed, FileSystemError
from ..interfaces import (
    IFile,
    ILinks,
    IServerSideCopy,
    ISpaceReport,
    IUsageReport,
)
from ..vocabulary import Attributes, Held, OpenMode, Space, Usage, VirtualPath
from ._meteredfile import MeteredFile
from .allowance import NOTHING, Allowance, Growing, Key, counted
from .paths import isWithin, moved
from .wrappers import FileSystemWrapper, ability

R = TypeVar("R")

ONE_FILE = Usage(0, 1)


@implementer(IServerSideCopy)
@define(eq=False)
class MeteredCopy:
    _metered: Metered

    def copy(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> Deferred[None]:
        return self._metered.copy(old, new, overwrite)


@implementer(ISpaceReport)
@define(eq=False)
class MeteredSpace:
    _metered: Metered

    def space(self, path: VirtualPath) -> Deferred[Space]:
        return ISpaceReport(self._metered.inner).space(path).addCallback(self._metered.bounded)


@define(eq=False)
class Metered(FileSystemWrapper):
    """One mount.

    :ivar atomic: whether uploads are seen only after their commit.
    :ivar key: of the mount's folder.
    :ivar allowance: the user's, ``None`` as long as it has no quota.
    """

    _atomic: bool
    _key: Key
    _allowance: Callable[[], Allowance | None]
    _open: set[MeteredFile] = field(factory=set, init=False)
    _closed: bool = field(default=False, init=False)
    _underWay: int = field(default=0, init=False)
    _settled: Deferred[None] | None = field(default=None, init=False)

    def __conform__(self, interface: type[Interface]) -> Any:
        if interface in {ILinks, IUsageReport}:
            # further names of a file count nothing, and links are no files
            return ability(interface, self.inner)
        if interface is IServerSideCopy and ability(IServerSideCopy, self.inner) is not None:
            return MeteredCopy(self)
        if interface is ISpaceReport and ability(ISpaceReport, self.inner) is not None:
            return MeteredSpace(self)
        return None

    def bounded(self, space: Space) -> Space:
        allowance = self._allowance()
        return space if allowance is None else allowance.bounded(space)

    def forget(self, opened: MeteredFile) -> None:
        self._open.discard(opened)

    # --- one after the other, to the end

    def _change(self, work: Coroutine[Any, Any, R]) -> Deferred[R]:
        """Do something that the session asks for."""
        if self._closed:
            work.close()
            return fail(Closed())
        return self.do(work)

    def do(self, work: Coroutine[Any, Any, R]) -> Deferred[R]:
        """Do something that is counted when it is done: the session does not end before."""
        self._underWay += 1
        return Deferred.fromCoroutine(work).addBoth(self._done)

    def _done(self, result: R) -> R:
        self._underWay -= 1
        if self._settled is not None and not self._underWay:
            settled, self._settled = self._settled, None
            settled.callback(None)
        return result

    # --- what lies there

    def _at(self, path: VirtualPath) -> Key:
        return Key(self._key.backend, self._key.path + path, self._key.shared)

    async def held(self, key: Key, follow: bool) -> Held:
        """What lies under one name; nothing where that cannot be told."""
        if not isWithin(key.path, self._key.path):
            return Held()
        path = key.path[len(self._key.path) :]
        report = ability(IUsageReport, self.inner)
        try:
            if report is not None:
                return await report.held(path, follow)
            if self._uploadAt(path) is None:
                stat = await self.inner.stat(path, follow)
                return Held(stat) if counted(stat).files and stat.kind.value == "file" else Held()
        except FileSystemError:
            pass
        return Held()

    def _uploadAt(self, path: VirtualPath) -> MeteredFile | None:
        """The upload that the session sees at ``path``."""
        there = [each for each in self._open if each.path == path and each.decides and not each.growing.isGone]
        return there[-1] if there else None

    def _discard(self, allowance: Allowance, path: VirtualPath) -> None:
        """The session's uploads at ``path`` were removed."""
        for each in self._open:
            if each.path == path and each.decides and not each.growing.isGone:
                allowance.discard(each.growing)

    # --- files

    def open(self, path: VirtualPath, mode: OpenMode) -> Deferred[IFile]:
        allowance = None if mode is OpenMode.read else self._allowance()
        if allowance is None:
            return self.inner.open(path, mode)
        return self._change(self._opened(allowance, path, mode))

    async def _opened(self, allowance: Allowance, path: VirtualPath, mode: OpenMode) -> IFile:
        key = self._at(path)
        if mode in {OpenMode.create, OpenMode.replace} and not allowance.isKnown:
            await allowance.known()
        async with allowance.alone(key):
            if mode in {OpenMode.inPlace, OpenMode.resume}:
                opened = await self._openThere(allowance, key, path, mode)
            elif self._atomic:
                opened = await self._openUpload(allowance, key, path, mode)
            else:
                opened = await self._openDirectly(allowance, key, path, mode)
        self._open.add(opened)
        return opened

    async def _openThere(self, allowance: Allowance, key: Key, path: VirtualPath, mode: OpenMode) -> MeteredFile:
        """A file that counts already."""
        isUpload = mode is OpenMode.resume
        own = None if isUpload else self._uploadAt(path)
        inner = await self.inner.open(path, mode)
        there = own.growing if own is not None else None if isUpload else allowance.committed(key)
        if there is not None:
            there.handles += 1
            return MeteredFile(inner, self, allowance, path, there, False)
        size = await _sizeOf(inner)
        growing = allowance.begin(Growing(key, size, isUpload, isPartial=isUpload))
        return MeteredFile(inner, self, allowance, path, growing, isUpload)

    async def _openUpload(self, allowance: Allowance, key: Key, path: VirtualPath, mode: OpenMode) -> MeteredFile:
        before = await self.held(key, follow=mode is OpenMode.replace)
        others = allowance.uploads(key)
        credit = NOTHING
        if mode is OpenMode.replace and all(each.credit == NOTHING for each in others):
            credit = counted(before.committed)
        growing = Growing(key, 0, True, credit)
        allowance.take(key, growing.charged)
        # while it waits for the storage, no other gets the same credit
        allowance.begin(growing)
        try:
            inner = await self.inner.open(path, mode)
        except BaseException:
            allowance.end(growing)
            allowance.add(key, NOTHING.minus(growing.charged))
            raise
        if before.committed is None:
            growing.isPartial = before.partial is None
        if before.partial is not None and before.committed is None:
            after = (await self.held(key, follow=True)).partial
            isOthers = allowance.isContinued(key)
            if after is not None and after.size == 0 and (before.partial.size or not isOthers):
                # the beginning of an earlier upload was thrown away for this one
                allowance.add(key, NOTHING.minus(counted(before.partial)))
                growing.isPartial = True
        return MeteredFile(inner, self, allowance, path, growing, True)

    async def _openDirectly(self, allowance: Allowance, key: Key, path: VirtualPath, mode: OpenMode) -> MeteredFile:
        """Others see what is written at once."""
        before = (await self.held(key, follow=True)).committed
        new = ONE_FILE if before is None else NOTHING
        allowance.take(key, new)
        try:
            inner = await self.inner.open(path, mode)
        except BaseException:
            allowance.add(key, NOTHING.minus(new))
            raise
        there = allowance.committed(key)
        if there is not None:
            allowance.correct(there, 0)
            there.handles += 1
            return MeteredFile(inner, self, allowance, path, there, False)
        allowance.add(key, Usage(-before.size if before is not None else 0, 0))
        growing = allowance.begin(Growing(key, 0, False))
        return MeteredFile(inner, self, allowance, path, growing, False)

    # --- names

    def remove(self, path: VirtualPath) -> Deferred[None]:
        allowance = self._allowance()
        if allowance is None:
            return self.inner.remove(path)
        return self._change(self._remove(allowance, path))

    async def _remove(self, allowance: Allowance, path: VirtualPath) -> None:
        key = self._at(path)
        async with allowance.alone(key):
            await self._compared(allowance, (key,), lambda: self.inner.remove(path))
            self._discard(allowance, path)

    def rename(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> Deferred[None]:
        allowance = self._allowance()
        if allowance is None:
            return self.inner.rename(old, new, overwrite)
        return self._change(self._rename(allowance, old, new, overwrite))

    async def _rename(self, allowance: Allowance, old: VirtualPath, new: VirtualPath, overwrite: bool) -> None:
        keys = self._at(old), self._at(new)
        if old == new:
            return await self.inner.rename(old, new, overwrite)
        async with allowance.alone(*keys):
            before = await self._compared(allowance, keys, lambda: self.inner.rename(old, new, overwrite))
            self._discard(allowance, new)
            own = [each.growing for each in self._open if each.path == old and each.decides]
            for growing in own:
                # no more than one can be continued
                growing.isPartial = growing.isPartial and before[keys[1]].partial is None
            allowance.move(*keys, own)
            for each in self._open:
                if isWithin(each.path, old):
                    each.path = moved(each.path, old, new)
        return None

    async def _compared(
        self,
        allowance: Allowance,
        keys: Sequence[Key],
        perform: Callable[[], Awaitable[None]],
        follow: bool = False,
    ) -> Mapping[Key, Held]:
        """Perform something that takes or replaces what has the last of these names, and count what became of all of
        them by it; also where it failed half-way. Tells what was there before."""
        # a rename moves partials only with the uploads that they are
        live = len(keys) > 1 or allowance.isContinued(keys[0])
        before = {key: await self.held(key, follow) for key in keys}
        try:
            await perform()
        finally:
            after = {key: await self.held(key, follow) for key in keys}
            for key, there in before.items():
                change = counted(after[key].committed).minus(counted(there.committed))
                if not live:
                    change = change.plus(counted(after[key].partial)).minus(counted(there.partial))
                allowance.add(key, change)
                allowance.recredit(key, counted(after[key].committed))
        was, now = before[keys[-1]].committed, after[keys[-1]].committed
        isSame = was is not None and now is not None and was.identity == now.identity != ""
        if not isSame and (len(keys) == 1 or before[keys[0]].committed is not None):
            self.lose(allowance, keys[-1], counted(was))
        return before

    def lose(self, allowance: Allowance, key: Key, gone: Usage) -> None:
        """What counted for so much gave its name up, and may be written to all the same."""
        growing = allowance.committed(key)
        if growing is not None and gone.files:
            # what is about to be written counted already
            allowance.add(key, Usage(gone.bytes - growing.size, 0))
            allowance.lose(growing)

    def removeDirectory(self, path: VirtualPath) -> Deferred[None]:
        allowance = self._allowance()
        if allowance is None:
            return self.inner.removeDirectory(path)
        return self._change(self._removeDirectory(allowance, path))

    async def _removeDirectory(self, allowance: Allowance, path: VirtualPath) -> None:
        """Partials do not hold a folder, and go with it."""
        partials, report = NOTHING, ability(IUsageReport, self.inner)
        if report is not None:
            with suppress(FileSystemError):
                listing = await self.inner.list(path)
                isEmpty = not await listing.next()
                listing.close()
                partials = await report.usage(path) if isEmpty else NOTHING
        await self.inner.removeDirectory(path)
        allowance.add(self._at(path), NOTHING.minus(partials))

    # --- lengths and copies

    def setAttributes(self, path: VirtualPath, attributes: Attributes) -> Deferred[None]:
        allowance = None if attributes.size is None else self._allowance()
        if allowance is None or attributes.size is None:
            return self.inner.setAttributes(path, attributes)
        return self._change(self._setSize(allowance, path, attributes, attributes.size))

    async def _setSize(self, allowance: Allowance, path: VirtualPath, attributes: Attributes, size: int) -> None:
        key = self._at(path)
        if not allowance.isKnown:
            await allowance.known()
        async with allowance.alone(key):
            own = self._uploadAt(path)
            growing = own.growing if own is not None else allowance.committed(key)
            if growing is None:
                found = (await self.held(key, follow=True)).committed
                if found is None:
                    await self.inner.setAttributes(path, attributes)
                    return
                growing = Growing(key, found.size, False)
            before = growing.size
            allowance.resize(growing, max(size, before))
            try:
                await self.inner.setAttributes(path, attributes)
            except FileSystemError:
                allowance.correct(growing, before)
                growing.isDoubtful = True
                raise
            allowance.correct(growing, size)

    def copy(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> Deferred[None]:
        allowance = self._allowance()
        if allowance is None:
            return IServerSideCopy(self.inner).copy(old, new, overwrite)
        return self._change(self._copy(allowance, old, new, overwrite))

    async def _copy(self, allowance: Allowance, old: VirtualPath, new: VirtualPath, overwrite: bool) -> None:
        key = self._at(new)
        if not allowance.isKnown:
            await allowance.known()
        async with allowance.alone(key):
            there = counted((await self.held(key, follow=overwrite)).committed) if overwrite else NOTHING
            size = (await self.inner.stat(old)).size
            taken = Usage(max(0, size - there.bytes), 1 - there.files)
            allowance.take(key, taken)
            try:
                copying = IServerSideCopy(self.inner)
                await self._compared(allowance, (key,), lambda: copying.copy(old, new, overwrite), overwrite)
            finally:
                allowance.add(key, NOTHING.minus(taken))

    def close(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        self._closed = True
        while self._open or self._underWay:
            for opened in list(self._open):
                # closed meanwhile, perhaps
                with suppress(FileSystemError):
                    await opened.abort(keep=True)
            if self._underWay:
                self._settled = self._settled or Deferred()
                waiting: Deferred[None] = Deferred()
                _ = self._settled.chainDeferred(waiting)
                await waiting
        await super().close()


async def _sizeOf(inner: IFile) -> int:
    try:
        return (await inner.stat()).size
    except FileSystemError:
        with suppress(FileSystemError):
            await inner.abort(keep=True)
        raise
