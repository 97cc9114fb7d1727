"""What a mount lets its user do. It knows no protocol: whatever cannot be done here, no verb of any protocol does."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from zope.interface import Interface, implementer

from ..errors import AlreadyExists, FileSystemError, PermissionDenied
from ..interfaces import (
    IContents,
    IFile,
    IHasDescriptor,
    ILinks,
    IListing,
    IOpened,
    IServerSideCopy,
    ISizedUpload,
    ISpaceReport,
    ITakesCopies,
    IUsageReport,
)
from ..vocabulary import Attributes, OpenMode, Permission, Space, Stat, VirtualPath
from .paths import isWithin, moved
from .wrappers import FileSystemWrapper, FileWrapper, ability

R = TypeVar("R")

OWN_LIMIT = 10_000
"""How many files of its own a session is remembered to have uploaded, the last ones."""


@define(eq=False)
class OwnPaths:
    """What a session made: files it uploaded and folders; and which of the files are not committed yet."""

    _paths: OrderedDict[VirtualPath, bool] = field(factory=OrderedDict)

    def add(self, path: VirtualPath, isFile: bool) -> None:
        self._paths[path] = isFile
        self._paths.move_to_end(path)
        if len(self._paths) > OWN_LIMIT:
            self._paths.popitem(last=False)

    def discard(self, path: VirtualPath) -> None:
        self._paths.pop(path, None)

    def __contains__(self, path: VirtualPath) -> bool:
        return path in self._paths

    def hasFile(self, path: VirtualPath) -> bool:
        return self._paths.get(path, False)

    def move(self, old: VirtualPath, new: VirtualPath) -> None:
        self.discard(new)
        for path in [path for path in self._paths if isWithin(path, old)]:
            self._paths[moved(path, old, new)] = self._paths.pop(path)


@define(eq=False)
class PermittedFile(FileWrapper):
    """An opened file.

    :ivar path: where it is now; the session may rename it.
    :ivar isUpload: whether it is not seen by others before its commit.
    """

    path: VirtualPath
    isUpload: bool
    _readable: bool
    _settable: bool
    _ended: Callable[[PermittedFile], None]

    def __conform__(self, interface: type[Interface]) -> Any:
        isReading = interface in {IContents, IHasDescriptor}
        if interface in {IOpened, ISizedUpload, ITakesCopies} or (isReading and self._readable):
            return ability(interface, self.inner)
        return None

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        return self.inner.read(offset, length) if self._readable else fail(PermissionDenied())

    def setAttributes(self, attributes: Attributes) -> Deferred[None]:
        if self._settable or attributes == Attributes(size=attributes.size):
            return self.inner.setAttributes(attributes)
        return fail(PermissionDenied())

    def commit(self) -> Deferred[None]:
        return self.inner.commit().addBoth(self._end)

    def abort(self, keep: bool) -> Deferred[bool]:
        return self.inner.abort(keep).addBoth(self._end)

    def _end(self, result: R) -> R:
        self._ended(self)
        return result


@implementer(ILinks, IServerSideCopy, ISpaceReport)
@define(eq=False)
class PermittedAbilities:
    """The abilities of a file system, as far as its user may use them."""

    _permitted: Permitted

    def readLink(self, path: VirtualPath) -> Deferred[str]:
        return self._permitted.allowed({Permission.list}, lambda: ILinks(self._permitted.inner).readLink(path))

    def makeSymbolicLink(self, path: VirtualPath, target: str) -> Deferred[None]:
        links = ILinks(self._permitted.inner)
        return self._permitted.allowed({Permission.links}, lambda: links.makeSymbolicLink(path, target))

    def makeHardLink(self, path: VirtualPath, existing: VirtualPath) -> Deferred[None]:
        links = ILinks(self._permitted.inner)
        return self._permitted.allowed({Permission.links}, lambda: links.makeHardLink(path, existing))

    def setLinkAttributes(self, path: VirtualPath, attributes: Attributes) -> Deferred[None]:
        links = ILinks(self._permitted.inner)
        return self._permitted.allowed({Permission.attributes}, lambda: links.setLinkAttributes(path, attributes))

    def copy(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> Deferred[None]:
        return Deferred.fromCoroutine(self._permitted.copy(old, new, overwrite))

    def space(self, path: VirtualPath) -> Deferred[Space]:
        return ISpaceReport(self._permitted.inner).space(path)


@define(eq=False)
class Permitted(FileSystemWrapper):
    """One mount of a user, with just these permissions."""

    _permissions: Collection[Permission]
    _own: OwnPaths = field(factory=OwnPaths, init=False)
    _open: set[PermittedFile] = field(factory=set, init=False)

    def __conform__(self, interface: type[Interface]) -> Any:
        if interface in {ILinks, IServerSideCopy, ISpaceReport} and ability(interface, self.inner) is not None:
            return PermittedAbilities(self)
        return None

    def _may(self, *needed: Permission) -> bool:
        return all(permission in self._permissions for permission in needed)

    def allowed(self, needed: Collection[Permission], perform: Callable[[], Deferred[R]]) -> Deferred[R]:
        return perform() if self._may(*needed) else fail(PermissionDenied())

    def _isUnderWay(self, path: VirtualPath) -> bool:
        return any(opened.path == path for opened in self._open)

    # looking

    def stat(self, path: VirtualPath, follow: bool = True) -> Deferred[Stat]:
        if self._may(Permission.list) or not path or path in self._own:
            return self.inner.stat(path, follow)
        return Deferred.fromCoroutine(self._statPartial(path))

    async def _statPartial(self, path: VirtualPath) -> Stat:
        """Without ``list``, of the owner's own partial and nothing else."""
        try:
            self._check(self._may(Permission.upload))
            opened = await self.inner.open(path, OpenMode.resume)
        except FileSystemError:
            raise PermissionDenied from None
        try:
            return await opened.stat()
        finally:
            await opened.abort(keep=True)

    def list(self, path: VirtualPath) -> Deferred[IListing]:
        return self.allowed({Permission.list}, lambda: self.inner.list(path))

    # files

    def open(self, path: VirtualPath, mode: OpenMode) -> Deferred[IFile]:
        return Deferred.fromCoroutine(self._openMode(path, mode))

    async def _openMode(self, path: VirtualPath, mode: OpenMode) -> IFile:
        isOwn = self._isUnderWay(path)
        if mode is OpenMode.read:
            self._check(isOwn or self._may(Permission.download))
            inner = await self.inner.open(path, mode)
            return PermittedFile(inner, path, False, True, self._maySet(path), self._open.discard)
        self._check(self._may(Permission.upload))
        if mode is OpenMode.inPlace:
            self._check(isOwn or self._may(Permission.overwrite))
        isReplacing = mode is OpenMode.replace
        if isReplacing and not self._may(Permission.overwrite):
            mode = OpenMode.create
        try:
            inner = await self.inner.open(path, mode)
        except AlreadyExists:
            if isReplacing:
                raise PermissionDenied from None
            raise
        isUpload = mode is not OpenMode.inPlace
        opened = PermittedFile(
            inner,
            path,
            isUpload,
            isUpload or isOwn or self._may(Permission.download),
            isUpload or isOwn or self._may(Permission.attributes),
            self._open.discard,
        )
        if isUpload:
            self._open.add(opened)
            self._own.add(path, isFile=True)
        return opened

    def _check(self, isAllowed: bool) -> None:
        if not isAllowed:
            raise PermissionDenied

    # changing

    def makeDirectory(self, path: VirtualPath) -> Deferred[None]:
        def made(result: None) -> None:
            self._own.add(path, isFile=False)

        return self.allowed({Permission.mkdir}, lambda: self.inner.makeDirectory(path).addCallback(made))

    def remove(self, path: VirtualPath) -> Deferred[None]:
        return self.allowed({Permission.delete}, lambda: self.inner.remove(path).addCallback(self._removed, path))

    def removeDirectory(self, path: VirtualPath) -> Deferred[None]:
        return self.allowed(
            {Permission.delete}, lambda: self.inner.removeDirectory(path).addCallback(self._removed, path)
        )

    def _removed(self, result: None, path: VirtualPath) -> None:
        self._own.discard(path)
        self._open.difference_update([opened for opened in self._open if opened.path == path])

    def rename(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> Deferred[None]:
        return Deferred.fromCoroutine(self._rename(old, new, overwrite))

    async def _rename(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> None:
        self._check(self._may(Permission.rename) or await self._isNew(old))
        await self._replacing(overwrite, lambda replace: self.inner.rename(old, new, replace))
        self._own.move(old, new)
        for opened in self._open:
            if isWithin(opened.path, old):
                opened.path = moved(opened.path, old, new)

    async def _isNew(self, path: VirtualPath) -> bool:
        """Whether there is nothing but an upload of this session, which may as well have begun under another name."""
        report = ability(IUsageReport, self.inner)
        if report is None or not self._may(Permission.upload) or not self._isUnderWay(path):
            return False
        return (await report.held(path, follow=False)).committed is None

    async def _replacing(self, overwrite: bool, perform: Callable[[bool], Awaitable[None]]) -> None:
        """Perform what replaces a file only for those who may."""
        if not overwrite or self._may(Permission.overwrite):
            return await perform(overwrite)
        try:
            await perform(False)
        except AlreadyExists:
            raise PermissionDenied from None

    async def copy(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> None:
        self._check(self._may(Permission.download, Permission.upload))
        await self._replacing(overwrite, lambda replace: IServerSideCopy(self.inner).copy(old, new, replace))
        self._own.add(new, isFile=True)

    def _maySet(self, path: VirtualPath) -> bool:
        return self._may(Permission.attributes) or (self._may(Permission.upload) and self._own.hasFile(path))

    def setAttributes(self, path: VirtualPath, attributes: Attributes) -> Deferred[None]:
        isUpload, maySet = self._may(Permission.upload), self._maySet(path)
        if attributes.size is not None:
            # a new length is a write
            mayWrite = isUpload and (self._may(Permission.overwrite) or self._isUnderWay(path))
            maySet = mayWrite and (maySet or attributes == Attributes(size=attributes.size))
        return self.inner.setAttributes(path, attributes) if maySet else fail(PermissionDenied())
