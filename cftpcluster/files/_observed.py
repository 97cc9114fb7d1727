"""Tells what a session did to files. It knows neither who listens nor any protocol."""

from __future__ import annotations

from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import Interface, implementer

from ..errors import Closed, FileSystemError
from ..events import (
    AttributesSet,
    Downloaded,
    FileEvent,
    FolderMade,
    FolderRemoved,
    LinkMade,
    Measure,
    Notify,
    Removed,
    Renamed,
    UploadBroken,
    Uploaded,
    unmeasured,
)
from ..interfaces import (
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
from ..vocabulary import Attributes, OpenMode, Origin, VirtualPath
from .paths import isWithin, moved, render
from .traffic import Traffic
from .wrappers import FileSystemWrapper, FileWrapper, ability

R = TypeVar("R")


@implementer(IHasDescriptor)
@define(eq=False)
class ObservedDescriptor:
    """Counts what the kernel sends."""

    _inner: IHasDescriptor
    _file: ObservedFile

    def descriptor(self) -> int:
        return self._inner.descriptor()

    def sent(self, byteCount: int) -> None:
        self._inner.sent(byteCount)
        self._file.wasRead(byteCount)


@implementer(ITakesCopies)
@define(eq=False)
class ObservedCopies:
    """Counts what the kernel copies into a file."""

    _inner: ITakesCopies
    _file: ObservedFile

    def copyFrom(self, source: IHasDescriptor, sourceOffset: int, offset: int, length: int) -> Deferred[int]:
        return self._inner.copyFrom(source, sourceOffset, offset, length).addCallback(self._copied, offset)

    def _copied(self, copied: int, offset: int) -> int:
        self._file.grew(offset + copied)
        return copied


@implementer(ISizedUpload)
@define(eq=False)
class ObservedFile(FileWrapper):
    """An opened file.

    :ivar path: where it is now; the session may rename it.
    :ivar size: length of an upload, as far as this file wrote it.
    :ivar movedBytes: what came from its client, or went to it, so far.
    :ivar expectedBytes: how many of them there will be in all, where the client said.
    :ivar isRemoved: whether its session removed it while it was open.
    :ivar isHashed: whether it was asked for checksums; who reads nothing else has downloaded nothing.
    """

    path: VirtualPath
    mode: OpenMode
    _observed: Observed
    openedAt: float
    size: int = 0
    readBytes: int = 0
    movedBytes: int = 0
    expectedBytes: int | None = None
    isRemoved: bool = False
    isHashed: bool = False
    _isWritten: bool = False

    def __conform__(self, interface: type[Interface]) -> Any:
        if interface in {IOpened, IPaced}:
            return ability(interface, self.inner)
        if interface is IHashed:
            self.isHashed = True
            return ability(IHashed, self.inner)
        if interface is ITakesCopies:
            copies = ability(ITakesCopies, self.inner)
            return None if copies is None else ObservedCopies(copies, self)
        if interface is not IHasDescriptor:
            return None
        inner = ability(IHasDescriptor, self.inner)
        return None if inner is None else ObservedDescriptor(inner, self)

    @property
    def user(self) -> str:
        return self._observed.user

    @property
    def origin(self) -> Origin:
        return self._observed.origin

    @property
    def isDownload(self) -> bool:
        """Whether it was only read so far."""
        return self.mode is OpenMode.read or (self.mode is OpenMode.inPlace and not self._isWritten)

    def expect(self, size: int) -> None:
        self.expectedBytes = max(0, size - self.size)
        sized = ability(ISizedUpload, self.inner)
        if sized is not None:
            sized.expect(size)

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        return self.inner.read(offset, length).addCallback(self._didRead)

    def _didRead(self, data: bytes) -> bytes:
        self.wasRead(len(data))
        return data

    def wasRead(self, byteCount: int) -> None:
        self.readBytes += byteCount
        self.movedBytes += byteCount
        self._observed.traffic.sent += byteCount

    def write(self, offset: int, data: bytes | memoryview) -> Deferred[None]:
        self.movedBytes += len(data)
        self._observed.traffic.received += len(data)
        self.grew(offset + len(data))
        return self.inner.write(offset, data)

    def grew(self, size: int) -> None:
        """It was written to, up to there at least."""
        self._isWritten = True
        self.size = max(self.size, size)

    def truncate(self, size: int) -> Deferred[None]:
        return self.setAttributes(Attributes(size=size))

    def setAttributes(self, attributes: Attributes) -> Deferred[None]:
        if attributes.size is not None:
            self._isWritten = True
            self.size = attributes.size
        return self.inner.setAttributes(attributes)

    def commit(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._commit())

    async def _commit(self) -> None:
        await self._measure()
        began = self._observed.now()
        try:
            await self.inner.commit()
        except Closed:
            raise
        except FileSystemError:
            self._tellEnd(isCommitted=False, isKept=False)
            raise
        if self.mode is not OpenMode.read:
            self._observed.measure("file_commit", self._observed.now() - began)
        self._tellEnd(isCommitted=True, isKept=False)

    def abort(self, keep: bool) -> Deferred[bool]:
        return Deferred.fromCoroutine(self._abort(keep))

    async def _abort(self, keep: bool) -> bool:
        await self._measure()
        isKept = await self.inner.abort(keep)
        self._tellEnd(isCommitted=False, isKept=isKept)
        return isKept

    async def _measure(self) -> None:
        if self.mode is OpenMode.inPlace and self._isWritten:
            # most of it may have been there before
            self.size = (await self.inner.stat()).size

    def _tellEnd(self, isCommitted: bool, isKept: bool) -> None:
        self._observed.forget(self)
        seconds = self._observed.now() - self.openedAt
        if self.isDownload:
            if self.readBytes or not self.isHashed:
                self._observed.tell(Downloaded, self.path, size=self.readBytes, seconds=seconds)
        elif self.mode is OpenMode.resume and isKept and not self._isWritten:
            # what had broken was looked at, and told when it broke
            return
        elif isCommitted and not self.isRemoved:
            self._observed.tell(Uploaded, self.path, size=self.size, seconds=seconds)
        else:
            # what was written in place stays
            self._observed.tell(UploadBroken, self.path, size=self.size, kept=isKept or self.mode is OpenMode.inPlace)


@implementer(IServerSideCopy)
@define(eq=False)
class ObservedCopy:
    """A copy is an upload that needed no client."""

    _inner: IServerSideCopy
    _observed: Observed

    def copy(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> Deferred[None]:
        return Deferred.fromCoroutine(self._copy(old, new, overwrite))

    async def _copy(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> None:
        begin = self._observed.now()
        await self._inner.copy(old, new, overwrite)
        try:
            size = (await self._observed.inner.stat(new)).size
        except FileSystemError:
            # removed or renamed by another session meanwhile
            size = 0
        self._observed.tell(Uploaded, new, size=size, seconds=self._observed.now() - begin)


@implementer(ILinks)
@define(eq=False)
class ObservedLinks:
    _inner: ILinks
    _observed: Observed

    def readLink(self, path: VirtualPath) -> Deferred[str]:
        return self._inner.readLink(path)

    def makeSymbolicLink(self, path: VirtualPath, target: str) -> Deferred[None]:
        made = self._inner.makeSymbolicLink(path, target)
        return made.addCallback(lambda result: self._observed.tell(LinkMade, path, target=target, symbolic=True))

    def makeHardLink(self, path: VirtualPath, existing: VirtualPath) -> Deferred[None]:
        made = self._inner.makeHardLink(path, existing)
        target = render(existing)
        return made.addCallback(lambda result: self._observed.tell(LinkMade, path, target=target, symbolic=False))

    def setLinkAttributes(self, path: VirtualPath, attributes: Attributes) -> Deferred[None]:
        done = self._inner.setLinkAttributes(path, attributes)
        return done.addCallback(lambda result: self._observed.attributesSet(path, attributes))


@define(eq=False)
class Observed(FileSystemWrapper):
    """The files of one session, everything done to them being told to ``notify``.

    :ivar traffic: where all sessions' bytes are counted, and their open files are known.
    """

    user: str
    origin: Origin
    _notify: Notify
    _clock: IReactorTime
    measure: Measure = unmeasured
    traffic: Traffic = field(factory=Traffic)
    _open: set[ObservedFile] = field(factory=set, init=False)

    def __conform__(self, interface: type[Interface]) -> Any:
        inner: Any
        if interface is ISpaceReport:
            return ability(interface, self.inner)
        if interface is ILinks:
            inner = ability(ILinks, self.inner)
            return None if inner is None else ObservedLinks(inner, self)
        if interface is IServerSideCopy:
            inner = ability(IServerSideCopy, self.inner)
            return None if inner is None else ObservedCopy(inner, self)
        return None

    def now(self) -> float:
        return self._clock.seconds()

    def tell(self, event: type[FileEvent], path: VirtualPath, **more: Any) -> None:
        self._notify(event(user=self.user, origin=self.origin, path=render(path), **more))

    def attributesSet(self, path: VirtualPath, attributes: Attributes) -> None:
        mode = "" if attributes.mode is None else f"{attributes.mode & 0o7777:o}"
        if mode or attributes.modified is not None or attributes.size is not None:
            self.tell(AttributesSet, path, mode=mode, modified=attributes.modified, size=attributes.size)

    def forget(self, opened: ObservedFile) -> None:
        self._open.discard(opened)
        self.traffic.open.discard(opened)

    def open(self, path: VirtualPath, mode: OpenMode) -> Deferred[IFile]:
        return Deferred.fromCoroutine(self._openMode(path, mode))

    async def _openMode(self, path: VirtualPath, mode: OpenMode) -> IFile:
        began = self.now()
        inner = await self.inner.open(path, mode)
        self.measure("file_open", self.now() - began)
        size = (await inner.stat()).size if mode is OpenMode.resume else 0
        opened = ObservedFile(inner, path, mode, self, self.now(), size)
        self._open.add(opened)
        self.traffic.open.add(opened)
        return opened

    def makeDirectory(self, path: VirtualPath) -> Deferred[None]:
        return self.inner.makeDirectory(path).addCallback(lambda result: self.tell(FolderMade, path))

    def setAttributes(self, path: VirtualPath, attributes: Attributes) -> Deferred[None]:
        done = self.inner.setAttributes(path, attributes)
        return done.addCallback(lambda result: self.attributesSet(path, attributes))

    def remove(self, path: VirtualPath) -> Deferred[None]:
        return self.inner.remove(path).addCallback(self._removed, path)

    def _removed(self, result: None, path: VirtualPath) -> None:
        for opened in self._open:
            opened.isRemoved = opened.isRemoved or opened.path == path
        self.tell(Removed, path)

    def removeDirectory(self, path: VirtualPath) -> Deferred[None]:
        return self.inner.removeDirectory(path).addCallback(lambda result: self.tell(FolderRemoved, path))

    def rename(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> Deferred[None]:
        return self.inner.rename(old, new, overwrite).addCallback(self._renamed, old, new)

    def _renamed(self, result: None, old: VirtualPath, new: VirtualPath) -> None:
        for opened in self._open:
            if isWithin(opened.path, old):
                opened.path = moved(opened.path, old, new)
        self.tell(Renamed, old, target=render(new))

    def close(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        # here first, so that what breaks with the session is told as well
        for opened in list(self._open):
            try:
                await opened.abort(keep=True)
            except FileSystemError:
                # closed meanwhile
                self.forget(opened)
        await super().close()
