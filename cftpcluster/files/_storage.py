"""The folder that a local backend keeps everything in, and whether it is really there.

Every call blocks, and belongs in a thread.
"""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Callable, Sequence
from contextlib import suppress

from attrs import define

from ..errors import ClusterError, StorageMissing
from ..vocabulary import VirtualPath
from . import paths
from ._beneath import FOLDER, Opener
from ._descriptors import Descriptor, statIn
from ._tree import Rules, makeFolder

MARKER = paths.encode(paths.MARKER_NAME)
NEW_MARKER = MARKER + b"-new"
MARKER_LIMIT_BYTES = 4096


@define(eq=False)
class Storage:
    """:ivar isMade: whether the root is made when it is missing; never where a marker is required.
    :ivar forbidden: a folder that must not lie within the root, such as the node's own state.
    """

    root: str
    rules: Rules
    opener: Opener
    requireMarker: bool
    isMade: bool
    forbidden: str

    def openRoot(self) -> Descriptor:
        """The root, or ``StorageMissing`` with the reason in its text for administrators."""
        if self.isMade and not self.requireMarker:
            os.makedirs(self.root, self.rules.directoryMode, exist_ok=True)
        try:
            opened = Descriptor(os.open(self.root, FOLDER | os.O_CLOEXEC))
        except (FileNotFoundError, NotADirectoryError):
            raise StorageMissing(f"there is no folder {self.root}") from None
        if self._isForbidden():
            raise StorageMissing(f"{self.root} holds the state folder {self.forbidden}")
        if self.requireMarker:
            self._checkMarker(statIn(opened, MARKER))
        return opened

    def _isForbidden(self) -> bool:
        root, forbidden = os.path.realpath(self.root), os.path.realpath(self.forbidden)
        return os.path.commonpath([root, forbidden]) == root

    def _checkMarker(self, found: os.stat_result | None) -> None:
        if found is None or not modes.S_ISREG(found.st_mode) or found.st_size == 0:
            raise StorageMissing(f"the marker {paths.MARKER_NAME} is missing in {self.root}")

    def checkPresent(self) -> None:
        """Raise ``StorageMissing`` where the marker has gone since the root was opened."""
        if self.requireMarker:
            try:
                self._checkMarker(os.stat(os.path.join(os.fsencode(self.root), MARKER), follow_symlinks=False))
            except (FileNotFoundError, NotADirectoryError):
                raise StorageMissing from None

    def openFolder(self, path: VirtualPath) -> Descriptor:
        """A user's folder, made when it is missing."""
        try:
            root = self.openRoot()
        except StorageMissing:
            # its text names a folder of the disk, which is not for users
            raise StorageMissing from None
        names = [paths.encode(name) for name in path]
        with root:
            try:
                return self.opener.open(root, names, FOLDER)
            except FileNotFoundError:
                pass
            for depth in range(len(names)):
                with self.opener.open(root, names[:depth], FOLDER) as folder, suppress(FileExistsError):
                    makeFolder(folder, names[depth], self.rules)
            return self.opener.open(root, names, FOLDER)

    def problems(self) -> Sequence[str]:
        """What keeps the storage from being used, for administrators."""
        try:
            with self.openRoot() as root:
                isUsable = os.access(".", os.R_OK | os.W_OK | os.X_OK, dir_fd=root.number, effective_ids=True)
        except StorageMissing as error:
            return [str(error)]
        except OSError as error:
            return [f"{self.root}: {error.strerror}"]
        return [] if isUsable else [f"{self.root} cannot be read and written"]


def makeMarker(root: str, newId: Callable[[], str]) -> str:
    """Mark the storage mounted at ``root``, or find that it is marked already; returns its id. Blocks.

    Fails with :class:`~cftpcluster.errors.ClusterError`.
    """
    try:
        with Descriptor(os.open(root, FOLDER | os.O_CLOEXEC)) as folder:
            return _readMarker(folder) or _writeMarker(folder, newId())
    except OSError as error:
        raise ClusterError(f"{root} cannot be marked: {error.strerror}") from None


def _readMarker(folder: Descriptor) -> str:
    """The storage's id, "" without one."""
    try:
        with Descriptor(os.open(MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.number)) as file:
            return os.read(file.number, MARKER_LIMIT_BYTES).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return ""


def _writeMarker(folder: Descriptor, storageId: str) -> str:
    # never seen half-written: an empty marker counts as none
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with Descriptor(os.open(NEW_MARKER, flags, 0o644, dir_fd=folder.number)) as file:
        os.write(file.number, f"{storageId}\n".encode("ascii"))
        os.fsync(file.number)
    os.rename(NEW_MARKER, MARKER, src_dir_fd=folder.number, dst_dir_fd=folder.number)
    os.fsync(folder.number)
    return storageId
