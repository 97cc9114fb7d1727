"""A storage that shows what is in a ZIP file. It can be read, and nothing else.

A session sees the file as it was when the session first looked: to publish a new one, rename it into place.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from zipfile import BadZipFile, ZipExtFile

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredLock, execute, fail, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from cftpcluster.config.document import Backend, Settings
from cftpcluster.errors import Closed, NotAFolder, PermissionDenied, StorageMissing
from cftpcluster.files.paths import parse
from cftpcluster.interfaces import (
    IBackend,
    IBackendFactory,
    IFile,
    IFileSystem,
    IListing,
    ISessionFiles,
    IValidator,
)
from cftpcluster.vocabulary import Attributes, Entry, OpenMode, Problem, Stat, VirtualPath

from ._contents import Archive, answered

T = TypeVar("T")

BATCH_ENTRIES = 256


@implementer(IValidator)
@frozen(kw_only=True)
class ArchiveConfig:
    """Options of a backend of kind ``archive``.

    :ivar file: the ZIP file, the same absolute path on every node.
    """

    file: str

    def problems(self) -> Sequence[Problem]:
        return [] if os.path.isabs(self.file) else [Problem("file", f"{self.file!r} is not absolute")]


@implementer(IListing)
@define(eq=False)
class ArchiveListing:
    _entries: list[Entry]

    def next(self) -> Deferred[Sequence[Entry]]:
        batch, self._entries = self._entries[:BATCH_ENTRIES], self._entries[BATCH_ENTRIES:]
        return succeed(batch)

    def close(self) -> None:
        self._entries = []


@implementer(IFile)
@define(eq=False)
class ArchiveFile:
    """One file, opened for reading. One thread at a time may use it, and operations may overlap: hence the lock."""

    _session: ArchiveSession
    _stat: Stat
    _opened: ZipExtFile
    _lock: DeferredLock = field(factory=DeferredLock, init=False)
    _closed: bool = field(default=False, init=False)

    def _checked(self, answer: T) -> T:
        if self._closed:
            raise Closed
        return answer

    def stat(self) -> Deferred[Stat]:
        return execute(self._checked, self._stat)

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        return Deferred.fromCoroutine(self._read(offset, length))

    async def _read(self, offset: int, length: int) -> bytes:
        self._checked(None)
        if offset >= self._stat.size:
            return b""
        data: bytes = await self._lock.run(self._session.inThread, self._readNow, offset, length)
        return data

    def _readNow(self, offset: int, length: int) -> bytes:
        self._opened.seek(offset)
        return self._opened.read(length)

    def write(self, offset: int, data: bytes | memoryview) -> Deferred[None]:
        return self._refuse()

    def truncate(self, size: int) -> Deferred[None]:
        return self._refuse()

    def setAttributes(self, attributes: Attributes) -> Deferred[None]:
        return self._refuse()

    def _refuse(self) -> Deferred[None]:
        return fail(Closed() if self._closed else PermissionDenied())

    def sync(self) -> Deferred[None]:
        return execute(self._checked, None)

    def commit(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.end())

    def abort(self, keep: bool) -> Deferred[bool]:
        return Deferred.fromCoroutine(self.end()).addCallback(lambda _: False)

    async def end(self) -> None:
        self._checked(None)
        self._closed = True
        self._session.files.discard(self)
        await self._lock.run(self._session.inThread, self._opened.close)


@implementer(IFileSystem, ISessionFiles)
@define(eq=False)
class ArchiveSession:
    """One session's view of a folder of the archive, which is opened when the session first needs it."""

    _path: str
    _folder: VirtualPath
    _isClosed: Callable[[], bool]
    inThread: Callable[..., Deferred[Any]]
    files: set[ArchiveFile] = field(factory=set, init=False)
    _archive: Archive | None = field(default=None, init=False)
    _opening: DeferredLock = field(factory=DeferredLock, init=False)
    _ended: bool = field(default=False, init=False)

    async def _opened(self) -> Archive:
        await self._opening.acquire()
        try:
            if self._archive is None and not self._ended:
                self._archive = await self.inThread(Archive.open, self._path)
        finally:
            self._opening.release()
        if self._ended or self._archive is None:
            raise Closed
        if self._isClosed():
            raise StorageMissing
        return self._archive

    def stat(self, path: VirtualPath, follow: bool = True) -> Deferred[Stat]:
        async def work() -> Stat:
            return (await self._opened()).stat(self._folder + path)

        return Deferred.fromCoroutine(work())

    def list(self, path: VirtualPath) -> Deferred[IListing]:
        async def work() -> IListing:
            archive, folder = await self._opened(), self._folder + path
            if archive.at(folder) is not None:
                raise NotAFolder
            return ArchiveListing([Entry(name, archive.stat((*folder, name))) for name in archive.names[folder]])

        return Deferred.fromCoroutine(work())

    def open(self, path: VirtualPath, mode: OpenMode) -> Deferred[IFile]:
        async def work() -> IFile:
            archive = await self._opened()
            if mode is not OpenMode.read:
                raise PermissionDenied
            stat = archive.stat(self._folder + path)
            file = ArchiveFile(self, stat, await self.inThread(archive.openFile, self._folder + path))
            self.files.add(file)
            return file

        return Deferred.fromCoroutine(work())

    def _refuse(self) -> Deferred[None]:
        return fail(Closed() if self._ended else PermissionDenied())

    def makeDirectory(self, path: VirtualPath) -> Deferred[None]:
        return self._refuse()

    def remove(self, path: VirtualPath) -> Deferred[None]:
        return self._refuse()

    def removeDirectory(self, path: VirtualPath) -> Deferred[None]:
        return self._refuse()

    def rename(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> Deferred[None]:
        return self._refuse()

    def setAttributes(self, path: VirtualPath, attributes: Attributes) -> Deferred[None]:
        return self._refuse()

    def close(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        self._ended = True
        for file in list(self.files):
            await file.end()
        archive, self._archive = self._archive, None
        if archive is not None:
            await self.inThread(archive.opened.close)


@implementer(IBackend)
@define(eq=False)
class ArchiveBackend:
    _path: str
    _reactor: Any
    _pool: ThreadPool
    _closed: bool = field(default=False, init=False)
    _looked: tuple[Any, list[str]] = field(default=(None, []), init=False)

    def fileSystem(self, folder: str, owner: str, atomicUploads: bool) -> ArchiveSession:
        return ArchiveSession(self._path, parse(folder), lambda: self._closed, self._inThread)

    def _inThread(self, work: Callable[..., T], *arguments: Any) -> Deferred[T]:
        return deferToThreadPool(self._reactor, self._pool, answered, work, *arguments)

    def problems(self) -> Deferred[Sequence[str]]:
        return deferToThreadPool(self._reactor, self._pool, self._look)

    def _look(self) -> Sequence[str]:
        """Asked every few seconds: the archive is read again only when it is another one."""
        try:
            found = os.stat(self._path)
        except OSError as error:
            return [f"{self._path}: {error.strerror}"]
        version = (found.st_ino, found.st_size, found.st_mtime_ns)
        if version != self._looked[0]:
            self._looked = version, self._faults()
        return self._looked[1]

    def _faults(self) -> list[str]:
        try:
            Archive.open(self._path).opened.close()
        except (OSError, BadZipFile, NotImplementedError) as error:
            return [f"{self._path} is no ZIP file that can be read: {error}"]
        return []

    def close(self) -> Deferred[None]:
        self._closed = True
        return succeed(None)


@implementer(IBackendFactory)
@frozen
class ArchiveBackendFactory:
    kind: str = "archive"
    summary: str = "shows what is in a ZIP file, read-only"
    configClass: type = ArchiveConfig

    def build(
        self,
        config: ArchiveConfig,
        *,
        backend: Backend,
        node: str,
        stateDirectory: str,
        reactor: Any,
        pool: ThreadPool,
        settings: Callable[[], Settings],
    ) -> ArchiveBackend:
        return ArchiveBackend(config.file, reactor, pool)


archiveBackendFactory = ArchiveBackendFactory()
