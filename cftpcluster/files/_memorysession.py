"""One session's view of a folder in memory. It knows no protocol and no permissions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import Factory, define
from twisted.internet.defer import Deferred, execute, succeed
from zope.interface import implementer

from ..errors import (
    AlreadyExists,
    Busy,
    Closed,
    FileSystemError,
    FolderNotEmpty,
    InvalidName,
    IsAFolder,
    NotAFolder,
    NotFound,
    PermissionDenied,
    Unsupported,
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
from ..vocabulary import Attributes, Entry, Held, OpenMode, Space, Stat, Usage, VirtualPath
from . import paths
from ._memoryfile import MemoryFile, MemoryListing, MemoryUpload
from ._memorytree import File, Folder, Link, Node, Place, checkReplace, locate, put, setAttributes, unlink
from ._uploads import Uploads

if TYPE_CHECKING:
    from .memory import MemoryBackend

R = TypeVar("R")


@implementer(IFileSystem, ISessionFiles, ILinks, ISpaceReport, IUsageReport, IServerSideCopy)
@define(eq=False)
class MemoryFileSystem:
    """One session's view of a folder of a :class:`MemoryBackend`."""

    _backend: MemoryBackend
    _root: Folder
    _owner: str
    _atomicUploads: bool
    _uploads: Uploads[MemoryUpload] = Factory(Uploads)
    _open: set[MemoryFile] = Factory(set)
    _closed: bool = False

    def _do(self, function: Callable[..., R], *args: Any) -> Deferred[R]:
        """Every operation passes here."""
        return execute(self._checked, function, *args)

    def _checked(self, function: Callable[..., R], *args: Any) -> R:
        if self._closed:
            raise Closed
        self._backend.checkPresent()
        return function(*args)

    def now(self) -> float:
        return self._backend.now()

    def reserve(self, byteCount: int) -> None:
        self._backend.reserve(byteCount)

    # looking

    def stat(self, path: VirtualPath, follow: bool = True) -> Deferred[Stat]:
        return self._do(self._stat, path, follow)

    def _stat(self, path: VirtualPath, follow: bool) -> Stat:
        upload = self._uploads.at(path)
        if upload is not None:
            return upload.node.stat()
        place = locate(self._root, path, follow)
        node = place.node or place.folder.partials.get((self._owner, place.name))
        if node is None:
            raise NotFound
        return node.stat()

    def list(self, path: VirtualPath) -> Deferred[IListing]:
        return self._do(self._list, path)

    def _list(self, path: VirtualPath) -> IListing:
        node = self._existing(path)
        if not isinstance(node, Folder):
            raise NotAFolder
        entries = {
            name: Entry(name, self._listed((*path, name), child), isinstance(child, Link))
            for name, child in node.children.items()
        }
        own = self._uploads.inside(path).items()
        entries.update({name: Entry(name, upload.node.stat()) for name, upload in own})
        return MemoryListing(list(entries.values()))

    def _listed(self, path: VirtualPath, node: Node) -> Stat:
        if isinstance(node, Link):
            try:
                return (locate(self._root, path, True).node or node).stat()
            except FileSystemError:
                pass
        return node.stat()

    def _existing(self, path: VirtualPath, follow: bool = True) -> Node:
        node = locate(self._root, path, follow).node
        if node is None:
            raise NotFound
        return node

    def _existingFile(self, path: VirtualPath) -> File:
        """The file that this session sees at ``path``."""
        upload = self._uploads.at(path)
        node = upload.node if upload is not None else self._existing(path)
        if not isinstance(node, File):
            raise IsAFolder
        return node

    # files

    def open(self, path: VirtualPath, mode: OpenMode) -> Deferred[IFile]:
        return self._do(self._openMode, path, mode)

    def _openMode(self, path: VirtualPath, mode: OpenMode) -> IFile:
        if mode in {OpenMode.read, OpenMode.inPlace}:
            return self._opened(self._existingFile(path), mode is OpenMode.inPlace, None)
        upload = self._startUpload(path, mode)
        if not self._atomicUploads:
            if upload.place.node is not upload.node:
                put(upload.place, upload.node, self.now())
            return self._opened(upload.node, True, None)
        upload.node.writer = True
        upload.place.folder.writers += 1
        self._uploads.add(upload)
        return self._opened(upload.node, True, upload)

    def _opened(self, node: File, writable: bool, upload: MemoryUpload | None) -> IFile:
        opened = MemoryFile(self, node, True, writable, upload)
        self._open.add(opened)
        return opened

    def _startUpload(self, path: VirtualPath, mode: OpenMode) -> MemoryUpload:
        underWay = self._uploads.at(path)
        place = locate(self._root, path, follow=mode is not OpenMode.create)
        if mode is OpenMode.resume:
            return self._resumed(path, place, underWay)
        if mode is OpenMode.create and (place.node is not None or underWay is not None):
            raise AlreadyExists
        if isinstance(place.node, Folder):
            raise IsAFolder
        key = (self._owner, place.name)
        partial = place.folder.partials.get(key)
        isKept = self._atomicUploads and place.node is None and not (partial is not None and partial.writer)
        if not self._atomicUploads and isinstance(place.node, File):
            place.node.resize(0, self.now())
            return MemoryUpload(path, place, place.node, False, True)
        node = self._backend.newFile()
        if isKept:
            place.folder.partials[key] = node
        return MemoryUpload(path, place, node, isKept, mode is OpenMode.replace)

    def _resumed(self, path: VirtualPath, place: Place, underWay: MemoryUpload | None) -> MemoryUpload:
        partial = place.folder.partials.get((self._owner, place.name))
        if underWay is not None or (place.node is None and partial is not None and partial.writer):
            raise Busy
        if place.node is not None or partial is None or not self._atomicUploads:
            raise NotFound
        return MemoryUpload(path, place, partial, True, False)

    def commit(self, upload: MemoryUpload) -> None:
        place = upload.place
        self.abandon(upload, keep=False)
        if upload.discarded:
            return
        committed = place.folder.children.get(place.name)
        if isinstance(committed, Folder):
            raise IsAFolder
        if committed is not None and not upload.mayReplace:
            raise AlreadyExists
        put(Place(place.folder, place.name, committed), upload.node, self.now())

    def abandon(self, upload: MemoryUpload, keep: bool) -> bool:
        """End an upload without a commit; tells whether its partial is kept."""
        keep = keep and upload.kept and not upload.discarded
        if upload in self._uploads.allAt(upload.path):
            self._uploads.discard(upload)
            upload.node.writer = False
            upload.place.folder.writers -= 1
            if upload.kept and not keep:
                del upload.place.folder.partials[self._owner, upload.place.name]
        return keep

    def forget(self, opened: MemoryFile) -> None:
        self._open.discard(opened)

    # changing

    def makeDirectory(self, path: VirtualPath) -> Deferred[None]:
        return self._do(self._makeDirectory, path)

    def _makeDirectory(self, path: VirtualPath) -> None:
        put(self._free(path), self._backend.newFolder(), self.now())

    def _free(self, path: VirtualPath) -> Place:
        """A place that nothing has yet."""
        place = locate(self._root, path, follow=False)
        if place.node is not None or self._uploads.at(path) is not None:
            raise AlreadyExists
        return place

    def remove(self, path: VirtualPath) -> Deferred[None]:
        return self._do(self._remove, path)

    def _remove(self, path: VirtualPath) -> None:
        place = locate(self._root, path, follow=False)
        if isinstance(place.node, Folder):
            raise IsAFolder
        uploads = self._uploads.allAt(path)
        for upload in uploads:
            self.abandon(upload, keep=False)
            upload.discarded = True
        key = (self._owner, place.name)
        if place.node is not None:
            unlink(place)
            place.folder.modified = self.now()
        elif key in place.folder.partials:
            if place.folder.partials[key].writer:
                raise Busy
            del place.folder.partials[key]
        elif not uploads:
            raise NotFound

    def removeDirectory(self, path: VirtualPath) -> Deferred[None]:
        return self._do(self._removeDirectory, path)

    def _removeDirectory(self, path: VirtualPath) -> None:
        place = locate(self._root, path, follow=False)
        if not path:
            raise PermissionDenied
        if place.node is None:
            raise NotFound
        if not isinstance(place.node, Folder):
            raise NotAFolder
        if place.node.children or place.node.writers:
            raise FolderNotEmpty
        unlink(place)

    def rename(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> Deferred[None]:
        return self._do(self._rename, old, new, overwrite)

    def _rename(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> None:
        if not old or not new:
            raise PermissionDenied
        source = locate(self._root, old, follow=False)
        uploads = self._uploads.allAt(old)
        if source.node is None and not uploads:
            raise NotFound
        if old == new:
            return
        if paths.isWithin(new, old):
            raise InvalidName("a folder cannot be moved into itself")
        target = locate(self._root, new, follow=False)
        checkReplace(source.node or uploads[-1].node, target.node or self._uploadNode(new), overwrite)
        for replaced in self._uploads.allAt(new):
            self.abandon(replaced, keep=False)
            replaced.discarded = True
        if source.node is not None and source.node is not target.node:
            del source.folder.children[source.name]
            put(target, source.node, self.now())
        for upload in uploads:
            self._relocate(upload, target, overwrite or source.node is not None)
        self._uploads.move(old, new)

    def _uploadNode(self, path: VirtualPath) -> File | None:
        upload = self._uploads.at(path)
        return None if upload is None else upload.node

    def _relocate(self, upload: MemoryUpload, target: Place, mayReplace: bool) -> None:
        old = upload.place
        old.folder.writers -= 1
        target.folder.writers += 1
        if upload.kept:
            del old.folder.partials[self._owner, old.name]
            key = (self._owner, target.name)
            upload.kept = key not in target.folder.partials
            target.folder.partials.setdefault(key, upload.node)
        upload.place, upload.mayReplace = target, mayReplace

    def setAttributes(self, path: VirtualPath, attributes: Attributes) -> Deferred[None]:
        return self._do(self._setAttributes, path, attributes)

    def _setAttributes(self, path: VirtualPath, attributes: Attributes) -> None:
        node = self._uploadNode(path) or self._existing(path)
        setAttributes(node, attributes, self.now(), self.reserve)

    # abilities that not every file system has

    def readLink(self, path: VirtualPath) -> Deferred[str]:
        return self._do(self._readLink, path)

    def _readLink(self, path: VirtualPath) -> str:
        node = self._existing(path, follow=False)
        if not isinstance(node, Link):
            raise Unsupported("not a link")
        return paths.checkInside(path, node.text)

    def makeSymbolicLink(self, path: VirtualPath, target: str) -> Deferred[None]:
        return self._do(lambda: put(self._free(path), Link(paths.linkText(path, target), self.now()), self.now()))

    def makeHardLink(self, path: VirtualPath, existing: VirtualPath) -> Deferred[None]:
        return self._do(self._makeHardLink, path, existing)

    def _makeHardLink(self, path: VirtualPath, existing: VirtualPath) -> None:
        node = self._existing(existing, follow=False)
        if not isinstance(node, File):
            raise IsAFolder if isinstance(node, Folder) else Unsupported
        put(self._free(path), node, self.now())
        node.links += 1

    def setLinkAttributes(self, path: VirtualPath, attributes: Attributes) -> Deferred[None]:
        return self._do(self._setLinkAttributes, path, attributes)

    def _setLinkAttributes(self, path: VirtualPath, attributes: Attributes) -> None:
        node = self._existing(path, follow=False)
        if not isinstance(node, Link) or attributes.mode is not None or attributes.size is not None:
            raise Unsupported
        node.modified = node.modified if attributes.modified is None else attributes.modified

    def space(self, path: VirtualPath) -> Deferred[Space]:
        return self._do(self._backend.space)

    def usage(self, path: VirtualPath) -> Deferred[Usage]:
        return self._do(self._usage, path)

    def _usage(self, path: VirtualPath) -> Usage:
        node = self._existing(path, follow=False) if path else self._root
        if not isinstance(node, Folder):
            raise NotAFolder
        found = set(node.files())
        return Usage(sum(len(file.data) for file in found), len(found))

    def held(self, path: VirtualPath, follow: bool) -> Deferred[Held]:
        return self._do(self._held, path, follow)

    def _held(self, path: VirtualPath, follow: bool) -> Held:
        place = locate(self._root, path, follow)
        partial = place.folder.partials.get((self._owner, place.name))
        committed = place.node.stat() if isinstance(place.node, File) else None
        return Held(committed, partial.stat() if partial is not None else None)

    def copy(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> Deferred[None]:
        return self._do(self._copy, old, new, overwrite)

    def _copy(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> None:
        source = self._existingFile(old)
        place = locate(self._root, new, follow=overwrite)
        if isinstance(place.node, Folder):
            raise IsAFolder if overwrite else AlreadyExists
        if not overwrite and (place.node is not None or self._uploads.at(new) is not None):
            raise AlreadyExists
        if source is place.node:
            return
        self.reserve(len(source.data))
        node = self._backend.newFile()
        node.data[:] = source.data
        put(place, node, self.now())

    def close(self) -> Deferred[None]:
        self._closed = True
        for opened in list(self._open):
            opened.endSession()
        return succeed(None)
