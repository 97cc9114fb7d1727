"""One session's view of a folder of a local backend: what it has under way, and what lies on the disk.

Here is only what happens in the reactor's thread. It knows no protocol and no permissions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from zope.interface import implementer

from ..errors import (
    AlreadyExists,
    Busy,
    Closed,
    FileSystemError,
    FolderNotEmpty,
    InvalidName,
    NotAFolder,
    PermissionDenied,
    StorageMissing,
)
from ..interfaces import (
    IFile,
    IFileSystem,
    ILinks,
    IListing,
    IServerSideCopy,
    ISessionFiles,
    ISpaceReport,
    IUsageReport,
)
from ..vocabulary import Attributes, Held, OpenMode, Space, Stat, Usage, VirtualPath
from . import paths
from ._descriptors import Descriptor, describe, duplicate
from ._localfile import OFFSET_LIMIT, LocalFile, LocalListing
from ._partials import Partial, openDirectly, removeUploads, renameUploads, startUpload
from ._tree import Tree
from ._uploads import Uploads
from ._usage import UsageWalk
from ._worker import Worker

log = Logger()

R = TypeVar("R")


@define(eq=False)
class LocalUpload:
    """An upload as its session sees it.

    :ivar lock: held by whoever changes what becomes of the upload, one at a time.
    :ivar discarded: removed by its own session: the commit only closes it.
    """

    path: VirtualPath
    _worker: Worker
    _uploads: Uploads[LocalUpload]
    partial: Partial
    opened: LocalFile
    lock: DeferredLock = field(factory=DeferredLock)
    discarded: bool = False

    async def commit(self) -> None:
        await self._end(self._commit)

    async def abort(self, keep: bool) -> bool:
        return await self._end(lambda: self._abandon(keep))

    async def _end(self, end: Callable[[], R]) -> R:
        self._uploads.startEnding(self)
        await self.opened.drained()
        await self.lock.acquire()
        try:
            return await self._worker.run(end)
        finally:
            self._uploads.end(self)
            self.lock.release()

    def _commit(self) -> None:
        """In a thread."""
        damage = self.opened.damage
        if damage is not None:
            self._abandon(keep=True)
            raise damage
        try:
            if not self.discarded:
                self.partial.commit()
        finally:
            self.partial.close()

    def _abandon(self, keep: bool) -> bool:
        """In a thread."""
        try:
            return not self.discarded and self.partial.abandon(keep, self.opened.damagedFrom)
        finally:
            self.partial.close()


@implementer(IFileSystem, ISessionFiles, ILinks, ISpaceReport, IUsageReport, IServerSideCopy)
@define(eq=False)
class LocalFileSystem:
    """One session. ``newName`` gives names to what is not kept; ``isGone`` tells whether the backend was closed."""

    _worker: Worker
    _tree: Tree
    _atomicUploads: bool
    _newName: Callable[[], bytes]
    _isGone: Callable[[], bool]
    _uploads: Uploads[LocalUpload] = field(factory=Uploads, init=False)
    _open: set[LocalFile] = field(factory=set, init=False)
    _closed: bool = field(default=False, init=False)

    async def _run(self, function: Callable[..., R], *args: Any) -> R:
        """Call something in a thread, unless the session is over."""
        self._checkOpen()
        return await self._worker.run(function, *args)

    def _checkOpen(self) -> None:
        if self._closed:
            raise Closed
        if self._isGone():
            raise StorageMissing

    # looking

    def stat(self, path: VirtualPath, follow: bool = True) -> Deferred[Stat]:
        return Deferred.fromCoroutine(self._stat(path, follow))

    async def _stat(self, path: VirtualPath, follow: bool) -> Stat:
        await self._uploads.settled(path)
        upload = self._uploads.at(path)
        return await (self._run(self._tree.stat, path, follow) if upload is None else upload.opened.stat())

    def list(self, path: VirtualPath) -> Deferred[IListing]:
        return Deferred.fromCoroutine(self._list(path))

    async def _list(self, path: VirtualPath) -> IListing:
        await self._uploads.settled(path)
        own: dict[str, Stat] = {}
        for name, upload in self._uploads.inside(path).items():
            # it may end meanwhile, and is found on the disk then
            with suppress(Closed):
                own[name] = await upload.opened.stat()
        return LocalListing(self._worker, await self._run(self._tree.scan, path), own)

    # files

    def open(self, path: VirtualPath, mode: OpenMode) -> Deferred[IFile]:
        return Deferred.fromCoroutine(self._openMode(path, mode, self._atomicUploads))

    async def _openMode(self, path: VirtualPath, mode: OpenMode, atomic: bool) -> LocalFile:
        await self._uploads.settled(path)
        underWay = self._uploads.at(path)
        if mode in {OpenMode.read, OpenMode.inPlace}:
            writable = mode is OpenMode.inPlace
            if underWay is not None:
                self._checkOpen()
                return await self._opened(duplicate(underWay.opened.file), writable)
            file, stat = await self._run(self._openFile, path, writable)
            return await self._opened(file, writable, stat)
        if underWay is not None and mode is not OpenMode.replace:
            raise AlreadyExists if mode is OpenMode.create else Busy
        if not atomic:
            return await self._opened(await self._run(openDirectly, self._tree, path, mode), True)
        partial = await self._run(startUpload, self._tree, path, mode, self._newName)
        if self._closed:
            await self._worker.run(partial.abandon, True, None)
        opened = await self._opened(partial.file, True)
        upload = LocalUpload(path, self._worker, self._uploads, partial, opened)
        opened.ending = upload
        self._uploads.add(upload)
        return opened

    def _openFile(self, path: VirtualPath, writable: bool) -> tuple[Descriptor, Stat]:
        """In a thread."""
        file = self._tree.openFile(path, writable)
        return file, describe(file.stat())

    async def _opened(self, file: Descriptor, writable: bool, stat: Stat | None = None) -> LocalFile:
        if self._closed:
            await self._worker.run(file.close)
            raise Closed
        opened = LocalFile(self._worker, file, writable, self._tree.rules.sync, self._open.discard, stat)
        self._open.add(opened)
        return opened

    # changing

    def makeDirectory(self, path: VirtualPath) -> Deferred[None]:
        return Deferred.fromCoroutine(self._make(path, self._tree.makeDirectory, path))

    async def _make(self, path: VirtualPath, function: Callable[..., None], *args: Any) -> None:
        """Make something new at ``path``."""
        await self._uploads.settled(path)
        if self._uploads.at(path) is not None:
            raise AlreadyExists
        await self._run(function, *args)

    def remove(self, path: VirtualPath) -> Deferred[None]:
        return Deferred.fromCoroutine(self._remove(path))

    async def _remove(self, path: VirtualPath) -> None:
        uploads = await self._claimed(path)
        try:
            if not uploads:
                return await self._run(self._tree.remove, path)
            await self._run(removeUploads, self._tree, path, [upload.partial for upload in uploads])
            self._discard(uploads)
        finally:
            _release(uploads)

    def removeDirectory(self, path: VirtualPath) -> Deferred[None]:
        return Deferred.fromCoroutine(self._removeDirectory(path))

    async def _removeDirectory(self, path: VirtualPath) -> None:
        await self._uploads.settled(path)
        if self._uploads.isAnyBeneath(path):
            raise NotAFolder if self._uploads.at(path) is not None else FolderNotEmpty
        await self._run(self._tree.removeDirectory, path)

    def rename(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> Deferred[None]:
        return Deferred.fromCoroutine(self._rename(old, new, overwrite))

    async def _rename(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> None:
        if not old or not new:
            raise PermissionDenied
        if old == new:
            await self._stat(old, follow=False)
            return
        if paths.isWithin(new, old):
            raise InvalidName("a folder cannot be moved into itself")
        claimed = await self._claimed(old, new)
        try:
            moved = [upload for upload in claimed if upload.path == old]
            replaced = [upload for upload in claimed if upload.path == new]
            if replaced and not overwrite:
                raise AlreadyExists
            partials = [upload.partial for upload in moved]
            if moved:
                await self._run(renameUploads, self._tree, old, new, overwrite, partials, self._newName)
            else:
                await self._run(self._tree.rename, old, new, overwrite)
            for upload in replaced:
                await self._run(upload.partial.abandon, False, None)
            self._discard(replaced)
            self._uploads.move(old, new)
        finally:
            _release(claimed)

    async def _claimed(self, *places: VirtualPath) -> Sequence[LocalUpload]:
        """The session's uploads at these places, locked: none of them begins to end before the lock is given back."""
        while True:
            await self._uploads.settled(*places)
            uploads = [upload for place in places for upload in self._uploads.allAt(place)]
            # in one order everywhere, so that two of these never wait for each other
            for upload in sorted(uploads, key=id):
                await upload.lock.acquire()
            if uploads == [upload for place in places for upload in self._uploads.allAt(place)]:
                return uploads
            _release(uploads)

    def _discard(self, uploads: Sequence[LocalUpload]) -> None:
        for upload in uploads:
            upload.discarded = True
            self._uploads.discard(upload)

    def setAttributes(self, path: VirtualPath, attributes: Attributes) -> Deferred[None]:
        return Deferred.fromCoroutine(self._setAttributes(path, attributes))

    async def _setAttributes(self, path: VirtualPath, attributes: Attributes) -> None:
        await self._uploads.settled(path)
        upload = self._uploads.at(path)
        if upload is not None:
            return await upload.opened.setAttributes(attributes)
        return await self._run(self._tree.setAttributes, path, attributes)

    # abilities that not every file system has

    def readLink(self, path: VirtualPath) -> Deferred[str]:
        return Deferred.fromCoroutine(self._run(self._tree.readLink, path))

    def makeSymbolicLink(self, path: VirtualPath, target: str) -> Deferred[None]:
        return Deferred.fromCoroutine(self._make(path, self._tree.makeSymbolicLink, path, target))

    def makeHardLink(self, path: VirtualPath, existing: VirtualPath) -> Deferred[None]:
        return Deferred.fromCoroutine(self._makeHardLink(path, existing))

    async def _makeHardLink(self, path: VirtualPath, existing: VirtualPath) -> None:
        await self._uploads.settled(existing)
        await self._make(path, self._tree.makeHardLink, path, existing)

    def setLinkAttributes(self, path: VirtualPath, attributes: Attributes) -> Deferred[None]:
        return Deferred.fromCoroutine(self._run(self._tree.setLinkAttributes, path, attributes))

    def space(self, path: VirtualPath) -> Deferred[Space]:
        isUpload = self._uploads.at(path) is not None
        return Deferred.fromCoroutine(self._run(self._tree.space, path[:-1] if isUpload else path))

    def usage(self, path: VirtualPath) -> Deferred[Usage]:
        return Deferred.fromCoroutine(self._usage(path))

    async def _usage(self, path: VirtualPath) -> Usage:
        walk = UsageWalk(self._tree, path)
        while not await self._run(walk.step):
            pass
        return walk.total

    def held(self, path: VirtualPath, follow: bool) -> Deferred[Held]:
        return Deferred.fromCoroutine(self._run(self._tree.held, path, follow))

    def copy(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> Deferred[None]:
        return Deferred.fromCoroutine(self._copy(old, new, overwrite))

    async def _copy(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> None:
        source = await self._openMode(old, OpenMode.read, True)
        try:
            target = await self._openMode(new, OpenMode.replace if overwrite else OpenMode.create, True)
            try:
                offset = 0
                while copied := await target.copyFrom(source, offset, offset, OFFSET_LIMIT - offset):
                    offset += copied
            except FileSystemError:
                with suppress(Closed):
                    await target.abort(keep=False)
                raise
            await target.commit()
        finally:
            with suppress(Closed):
                await source.abort(keep=False)

    def close(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        self._closed = True
        for ended in [opened.abort(keep=True) for opened in list(self._open)]:
            try:
                await ended
            except FileSystemError as error:
                log.error("A file that was open at the end of its session: {error!s}", error=error)
        self._tree.letGo()


def _release(uploads: Sequence[LocalUpload]) -> None:
    for upload in uploads:
        upload.lock.release()
