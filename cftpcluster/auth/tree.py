"""Builds the tree of files that a user sees, from the mounts of the document.

Only the order of the wrappers is decided here; what each does is in :mod:`cftpcluster.files`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from ..config.document import Document, Mount, User
from ..errors import FileSystemError, StorageMissing
from ..events import Measure, Notify, unmeasured
from ..files.allowance import Allowance, Key
from ..files.metered import Metered
from ..files.mounts import Mounts
from ..files.paths import isWithin, parse, render
from ..files.policy import Observed, Permitted
from ..files.quotas import Storage
from ..files.throttled import AllRates, SessionFlows, Throttled
from ..files.traffic import Traffic
from ..interfaces import IBackend, IFile, IFileSystem, IListing
from ..vocabulary import Attributes, Kind, OpenMode, Origin, Stat, VirtualPath
from .rights import mountsOf


@implementer(IFileSystem)
@define(eq=False)
class MissingStorage:
    """A folder in the place of a storage that this node does not have; everything in it fails."""

    def stat(self, path: VirtualPath, follow: bool = True) -> Deferred[Stat]:
        return fail(StorageMissing()) if path else succeed(Stat(Kind.folder, mode=0o555))

    def list(self, path: VirtualPath) -> Deferred[IListing]:
        return fail(StorageMissing())

    def open(self, path: VirtualPath, mode: OpenMode) -> Deferred[IFile]:
        return fail(StorageMissing())

    def makeDirectory(self, path: VirtualPath) -> Deferred[None]:
        return fail(StorageMissing())

    def remove(self, path: VirtualPath) -> Deferred[None]:
        return fail(StorageMissing())

    def removeDirectory(self, path: VirtualPath) -> Deferred[None]:
        return fail(StorageMissing())

    def rename(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> Deferred[None]:
        return fail(StorageMissing())

    def setAttributes(self, path: VirtualPath, attributes: Attributes) -> Deferred[None]:
        return fail(StorageMissing())


@define(eq=False)
class FileTrees:
    """Makes trees.

    :ivar backend: the backend of that name that runs on this node.
    """

    _document: Callable[[], Document]
    _backend: Callable[[str], IBackend | None]
    _notify: Notify
    _clock: IReactorTime
    _rates: AllRates
    _allowance: Callable[[str], Allowance | None]
    _measure: Measure = unmeasured
    _traffic: Traffic = field(factory=Traffic)
    _log = Logger()

    def build(self, user: User, origin: Origin) -> IFileSystem:
        """The tree of one session: all events of it are this user's, of this origin."""
        mounted: dict[VirtualPath, Any] = {}
        for mount in mountsOf(self._document(), user):
            try:
                path = parse(mount.path)
            except FileSystemError as error:
                self._log.warn("{user}: no mount at {path!r}: {error}", user=user.name, path=mount.path, error=error)
                continue
            if path not in mounted:
                storage = self._storage(mount, user)
                if any(mount is own for own in user.mounts):
                    storage = self._metered(storage, mount, user.name)
                mounted[path] = Permitted(storage, mount.permissions)
        throttled = Throttled(Mounts(mounted), SessionFlows(self._rates.of(user.name)))
        return Observed(throttled, user.name, origin, self._notify, self._clock, self._measure, self._traffic)

    def _metered(self, storage: IFileSystem, mount: Mount, user: str) -> IFileSystem:
        return Metered(storage, mount.atomicUploads, self._keyOf(mount), lambda: self._allowance(user))

    def _keyOf(self, mount: Mount) -> Key:
        backend = self._document().backends.get(mount.backend)
        return Key(mount.backend, parse(mount.folder), backend is not None and backend.shared)

    def storages(self, user: User) -> Sequence[Storage]:
        """The folders that a user's quota is about: those of its own mounts, none that lies within another."""
        found: dict[Key, Mount] = {}
        for mount in user.mounts:
            try:
                parse(mount.path)
                found.setdefault(self._keyOf(mount), mount)
            except FileSystemError:
                # it is not in the tree either
                continue
        return [
            Storage(key.shared, f"{key.backend}:{render(key.path)}", partial(self._storage, mount, user))
            for key, mount in found.items()
            if not any(each != key and each.backend == key.backend and isWithin(key.path, each.path) for each in found)
        ]

    def _storage(self, mount: Mount, user: User) -> Any:
        backend = self._backend(mount.backend)
        if backend is None:
            return MissingStorage()
        try:
            return backend.fileSystem(mount.folder, user.name, mount.atomicUploads)
        except FileSystemError as error:
            self._log.warn("{user}: {backend}: {error}", user=user.name, backend=mount.backend, error=error)
            return MissingStorage()
