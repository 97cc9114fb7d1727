"""One tree made of several file systems.

The deepest mount at or above a path serves it. Folders above mounts that no file system holds are made up: they can be
listed and nothing else. It knows no users, and nothing of what a mount may be used for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from ..errors import (
    AlreadyExists,
    Closed,
    CrossesMounts,
    FileSystemError,
    IsAFolder,
    NotAFolder,
    NotFound,
    PathEscapes,
    PermissionDenied,
    Unsupported,
)
from ..interfaces import IFile, IFileSystem, ILinks, IListing, ISelective, IServerSideCopy, ISessionFiles, ISpaceReport
from ..vocabulary import Attributes, Entry, Kind, OpenMode, Space, Stat, VirtualPath
from .paths import isWithin, parse, render
from .wrappers import ability

log = Logger()

R = TypeVar("R")

P = ParamSpec("P")

MADE_UP = Stat(Kind.folder, mode=0o555)


def answering(method: Callable[P, Deferred[R]]) -> Callable[P, Deferred[R]]:
    """What the method raises, its Deferred fails with."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> Deferred[R]:
        return maybeDeferred(method, *args, **kwargs)

    return call


@implementer(IListing, ISelective)
@define(eq=False)
class MergedListing:
    """The mount points of a folder, then what its own file system has there under other names."""

    _mounted: dict[str, Stat]
    _inner: IListing | None
    _started: bool = field(default=False, init=False)

    def only(self, wanted: Callable[[str, bool | None], bool]) -> None:
        selective = None if self._inner is None else ability(ISelective, self._inner)
        if selective is not None:
            selective.only(wanted)

    def next(self) -> Deferred[Sequence[Entry]]:
        return Deferred.fromCoroutine(self._next())

    async def _next(self) -> Sequence[Entry]:
        if not self._started:
            self._started = True
            return [Entry(name, stat) for name, stat in self._mounted.items()]
        while self._inner is not None and (found := await self._inner.next()):
            if batch := [entry for entry in found if entry.name not in self._mounted]:
                return batch
        return ()

    def close(self) -> None:
        self._started = True
        if self._inner is not None:
            self._inner.close()
            self._inner = None


@implementer(IFileSystem, ISessionFiles, ILinks, ISpaceReport, IServerSideCopy)
@define(eq=False)
class Mounts:
    """:ivar fileSystems: what serves which path; one at ``()`` is the root of the tree."""

    _fileSystems: Mapping[VirtualPath, IFileSystem]
    _closed: bool = field(default=False, init=False)

    def _find(self, path: VirtualPath) -> tuple[VirtualPath, IFileSystem | None]:
        """The mount that serves ``path``."""
        if self._closed:
            raise Closed
        for length in range(len(path), -1, -1):
            found = self._fileSystems.get(path[:length])
            if found is not None:
                return path[:length], found
        return (), None

    def _mountedIn(self, path: VirtualPath) -> set[str]:
        """The names in a folder that lead to mounts."""
        return {mount[len(path)] for mount in self._fileSystems if len(mount) > len(path) and isWithin(mount, path)}

    def _isFixed(self, path: VirtualPath) -> bool:
        """Whether a path is a mount point, or a folder that one lies in: it stays where it is."""
        return not path or any(isWithin(mount, path) for mount in self._fileSystems)

    # looking

    def stat(self, path: VirtualPath, follow: bool = True) -> Deferred[Stat]:
        return Deferred.fromCoroutine(self._stat(path, follow))

    async def _stat(self, path: VirtualPath, follow: bool) -> Stat:
        mount, files = self._find(path)
        isAbove = not path or bool(self._mountedIn(path))
        if files is None:
            if isAbove:
                return MADE_UP
            raise NotFound
        try:
            return await files.stat(path[len(mount) :], follow)
        except (NotFound, NotAFolder, PermissionDenied):
            if isAbove:
                return MADE_UP
            raise

    def list(self, path: VirtualPath) -> Deferred[IListing]:
        return Deferred.fromCoroutine(self._list(path))

    async def _list(self, path: VirtualPath) -> IListing:
        mount, files = self._find(path)
        names = self._mountedIn(path)
        inner: IListing | None = None
        if files is not None:
            try:
                inner = await files.list(path[len(mount) :])
            except (NotFound, NotAFolder, PermissionDenied):
                # a missing storage is told: who mirrors this tree must not take its files for removed
                if not names:
                    raise
        elif path and not names:
            raise NotFound
        if inner is not None and not names:
            return inner
        return MergedListing({name: await self._statMounted((*path, name)) for name in names}, inner)

    async def _statMounted(self, path: VirtualPath) -> Stat:
        try:
            return await self._stat(path, True)
        except FileSystemError:
            return MADE_UP

    # changing

    def _served(self, path: VirtualPath) -> tuple[IFileSystem, VirtualPath]:
        """The file system in which something is to be done at ``path``, and the path there."""
        mount, files = self._find(path)
        if files is None:
            raise PermissionDenied if self._isFixed(path[:-1]) else NotFound
        return files, path[len(mount) :]

    def _servedBoth(self, old: VirtualPath, new: VirtualPath) -> tuple[IFileSystem, VirtualPath, VirtualPath]:
        """As :meth:`_served`, of two paths that must lie in one mount."""
        files, inner = self._served(old)
        innerNew = self._served(new)[1]
        if self._find(old)[0] != self._find(new)[0]:
            raise CrossesMounts
        return files, inner, innerNew

    def _checkNew(self, path: VirtualPath) -> None:
        if self._isFixed(path):
            raise AlreadyExists

    @answering
    def open(self, path: VirtualPath, mode: OpenMode) -> Deferred[IFile]:
        if self._isFixed(path):
            raise AlreadyExists if mode is OpenMode.create else IsAFolder
        if self._find(path)[1] is None and mode in {OpenMode.read, OpenMode.inPlace}:
            raise NotFound
        files, inner = self._served(path)
        return files.open(inner, mode)

    @answering
    def makeDirectory(self, path: VirtualPath) -> Deferred[None]:
        self._checkNew(path)
        files, inner = self._served(path)
        return files.makeDirectory(inner)

    @answering
    def remove(self, path: VirtualPath) -> Deferred[None]:
        if self._isFixed(path):
            raise IsAFolder
        files, inner = self._served(path)
        return files.remove(inner)

    @answering
    def removeDirectory(self, path: VirtualPath) -> Deferred[None]:
        if self._isFixed(path):
            raise PermissionDenied
        files, inner = self._served(path)
        return files.removeDirectory(inner)

    @answering
    def rename(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> Deferred[None]:
        if self._isFixed(old):
            raise PermissionDenied
        if self._isFixed(new):
            raise PermissionDenied if overwrite else AlreadyExists
        files, innerOld, innerNew = self._servedBoth(old, new)
        return files.rename(innerOld, innerNew, overwrite)

    @answering
    def setAttributes(self, path: VirtualPath, attributes: Attributes) -> Deferred[None]:
        if self._isFixed(path) and path not in self._fileSystems:
            raise PermissionDenied
        files, inner = self._served(path)
        return files.setAttributes(inner, attributes)

    # abilities that not every file system has

    @answering
    def readLink(self, path: VirtualPath) -> Deferred[str]:
        if self._isFixed(path):
            raise Unsupported("not a link")
        mount = self._find(path)[0]
        files, inner = self._served(path)

        def rooted(text: str) -> str:
            return render(mount + parse(text)) if text.startswith("/") else text

        return _able(ILinks, files).readLink(inner).addCallback(rooted)

    @answering
    def makeSymbolicLink(self, path: VirtualPath, target: str) -> Deferred[None]:
        self._checkNew(path)
        files, inner = self._served(path)
        if target.startswith("/"):
            mount, absolute = self._find(path)[0], parse(target)
            if not isWithin(absolute, mount):
                raise PathEscapes
            target = render(absolute[len(mount) :])
        return _able(ILinks, files).makeSymbolicLink(inner, target)

    @answering
    def makeHardLink(self, path: VirtualPath, existing: VirtualPath) -> Deferred[None]:
        self._checkNew(path)
        if self._isFixed(existing):
            raise IsAFolder
        files, inner, innerExisting = self._servedBoth(path, existing)
        return _able(ILinks, files).makeHardLink(inner, innerExisting)

    @answering
    def setLinkAttributes(self, path: VirtualPath, attributes: Attributes) -> Deferred[None]:
        if self._isFixed(path):
            raise Unsupported("not a link")
        files, inner = self._served(path)
        return _able(ILinks, files).setLinkAttributes(inner, attributes)

    @answering
    def space(self, path: VirtualPath) -> Deferred[Space]:
        if self._isFixed(path) and self._find(path)[1] is None:
            raise Unsupported
        files, inner = self._served(path)
        return _able(ISpaceReport, files).space(inner)

    @answering
    def copy(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> Deferred[None]:
        if self._isFixed(old) or (self._isFixed(new) and overwrite):
            raise IsAFolder
        self._checkNew(new)
        files, innerOld, innerNew = self._servedBoth(old, new)
        return _able(IServerSideCopy, files).copy(innerOld, innerNew, overwrite)

    def close(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        self._closed = True
        for files in self._fileSystems.values():
            session = ability(ISessionFiles, files)
            try:
                await (session.close() if session is not None else succeed(None))
            except FileSystemError as error:
                log.error("A mount at the end of its session: {error!s}", error=error)


def _able(interface: Callable[[IFileSystem, Any], R], files: IFileSystem) -> R:
    """The ability of a file system, or ``Unsupported``."""
    found = ability(interface, files)
    if found is None:
        raise Unsupported
    return found
