"""Uploads on the disk, before and at their commit: every call blocks, and belongs in a thread.

An upload is written under a reserved name in the folder it will lie in, and locked (``flock``) by its one writer:

* a new file as its owner's *partial*, whose name every node computes alike, so that what breaks can be continued;
* what replaces a file, and what is written while another session writes the partial, under a name of its own that is
  never kept.

The commit is a rename in an open folder, after the file and before the folder are synchronised.
"""

from __future__ import annotations

import contextlib
import os
import stat as modes
from collections.abc import Callable, Sequence

from attrs import define

from ..errors import AlreadyExists, Busy, CrossesMounts, FileSystemError, IsAFolder, NotFound, PermissionDenied
from ..vocabulary import OpenMode, VirtualPath
from ._beneath import renameNew
from ._descriptors import Descriptor, checkRegular, isNamed, lock, statIn, syncFolder, unlock
from ._names import partialName
from ._tree import QUICK, Tree

NEW = os.O_RDWR | os.O_CREAT | QUICK | os.O_NOFOLLOW | os.O_CLOEXEC
RETRIES = 3


@define(eq=False)
class Partial:
    """An upload's file.

    :ivar folder: where it lies, and where it will be committed, wherever that folder is moved.
    :ivar name: the name it will have.
    :ivar temporary: the name it has.
    :ivar kept: whether ``temporary`` is its owner's partial.
    :ivar mayReplace: whether the commit may replace a file.
    """

    tree: Tree
    folder: Descriptor
    name: bytes
    file: Descriptor
    temporary: bytes
    kept: bool
    mayReplace: bool

    def commit(self) -> None:
        """Give the file its name, durably where the rules say so. Fails without a trace of the upload."""
        sync = self.tree.rules.sync
        try:
            if sync:
                os.fsync(self.file.number)
            if self.mayReplace:
                os.rename(self.temporary, self.name, src_dir_fd=self.folder.number, dst_dir_fd=self.folder.number)
            else:
                renameNew(self.folder, self.temporary, self.folder, self.name)
        except OSError:
            self._unlink()
            raise
        if sync:
            syncFolder(self.folder)

    def abandon(self, keep: bool, validBytes: int | None) -> bool:
        """End without a commit; tells whether the partial is kept.

        :param validBytes: where a write failed: what follows may hold gaps, and would be taken for received.
        """
        if keep and self.kept:
            if validBytes is not None:
                os.ftruncate(self.file.number, min(validBytes, self.file.stat().st_size))
            return True
        self._unlink()
        return False

    def _unlink(self) -> None:
        # another writer may have taken the name where locks do not reach from node to node
        with contextlib.suppress(OSError):
            if isNamed(self.file, self.folder, self.temporary):
                os.unlink(self.temporary, dir_fd=self.folder.number)

    def close(self) -> None:
        # a duplicate of the descriptor, opened by the same session, would go on holding the lock
        unlock(self.file)
        self.file.close()
        self.folder.close()

    def moveTo(self, path: VirtualPath, mayReplace: bool, newName: Callable[[], bytes]) -> None:
        """Lie in another place from now on, still uncommitted."""
        folder, name = self.tree.folder(path)
        temporary = partialName(self.tree.owner, name) if self.kept else newName()
        try:
            renameNew(self.folder, self.temporary, folder, temporary)
        except FileExistsError:
            # a partial is kept there already, and stays: this upload can no longer be continued
            self.kept, temporary = False, newName()
            renameNew(self.folder, self.temporary, folder, temporary)
        self.folder, self.name, self.temporary, self.mayReplace = folder, name, temporary, mayReplace


def startUpload(tree: Tree, path: VirtualPath, mode: OpenMode, newName: Callable[[], bytes]) -> Partial:
    """Begin or continue an upload; see :class:`~cftpcluster.vocabulary.OpenMode`."""
    tree.checkPresent()
    folder, name = _place(tree, path, mode)
    try:
        return _start(tree, folder, name, mode, newName)
    except (OSError, FileSystemError):
        folder.close()
        raise


def _start(tree: Tree, folder: Descriptor, name: bytes, mode: OpenMode, newName: Callable[[], bytes]) -> Partial:
    found = checkTarget(statIn(folder, name), mode)
    partial = partialName(tree.owner, name)
    if mode is OpenMode.resume:
        return Partial(tree, folder, name, _continued(folder, partial), partial, True, False)
    mayReplace = mode is OpenMode.replace
    if found is None:
        file = _claimed(folder, partial)
        if file is not None:
            _prepare(file, tree)
            return Partial(tree, folder, name, file, partial, True, mayReplace)
    file, temporary = _made(folder, newName)
    _prepare(file, tree)
    return Partial(tree, folder, name, file, temporary, False, mayReplace)


def openDirectly(tree: Tree, path: VirtualPath, mode: OpenMode) -> Descriptor:
    """Open a file for an upload that is seen by all while it is written."""
    tree.checkPresent()
    if mode is OpenMode.resume:
        raise NotFound
    folder, name = _place(tree, path, mode)
    with folder:
        isNew = checkTarget(statIn(folder, name), mode) is None
        file = Descriptor(os.open(name, NEW | (os.O_EXCL if isNew else 0), 0o600, dir_fd=folder.number))
        checkRegular(file)
        if isNew:
            _prepare(file, tree)
            if tree.rules.sync:
                syncFolder(folder)
        else:
            os.ftruncate(file.number, 0)
    return file


def checkTarget(found: os.stat_result | None, mode: OpenMode) -> os.stat_result | None:
    """Refuse an upload to what is there already, as its mode says."""
    if found is None:
        return None
    if mode is OpenMode.create:
        raise AlreadyExists
    if mode is OpenMode.resume:
        raise NotFound
    if modes.S_ISDIR(found.st_mode):
        raise IsAFolder
    if not modes.S_ISREG(found.st_mode):
        raise PermissionDenied("not a regular file")
    return found


def renameUploads(
    tree: Tree,
    old: VirtualPath,
    new: VirtualPath,
    overwrite: bool,
    moved: Sequence[Partial],
    newName: Callable[[], bytes],
) -> None:
    """Rename what is committed at ``old``, if anything, and take its owner's uploads along."""
    source, oldName = tree.folder(old)
    with source:
        isCommitted = statIn(source, oldName) is not None
    target, targetName = tree.folder(new)
    with target:
        found = statIn(target, targetName)
        if found is not None and not overwrite:
            raise AlreadyExists
        if found is not None and modes.S_ISDIR(found.st_mode):
            raise IsAFolder
        if moved and target.stat().st_dev != moved[0].folder.stat().st_dev:
            raise CrossesMounts
    if isCommitted:
        tree.rename(old, new, overwrite)
    for partial in moved:
        partial.moveTo(new, overwrite or isCommitted, newName)


def removeUploads(tree: Tree, path: VirtualPath, uploads: Sequence[Partial]) -> None:
    """Discard a session's uploads at ``path``, and what is committed there."""
    folder, name = tree.folder(path)
    with folder:
        found = statIn(folder, name)
        if found is not None and modes.S_ISDIR(found.st_mode):
            raise IsAFolder
        for upload in uploads:
            upload.abandon(keep=False, validBytes=None)
        if found is not None:
            os.unlink(name, dir_fd=folder.number)


def _place(tree: Tree, path: VirtualPath, mode: OpenMode) -> tuple[Descriptor, bytes]:
    if not path:
        raise IsAFolder
    return tree.folder(path) if mode is OpenMode.create else tree.target(path)


def _made(folder: Descriptor, newName: Callable[[], bytes]) -> tuple[Descriptor, bytes]:
    """A file of a new name, with this writer's lock."""
    for _ in range(RETRIES):
        name = newName()
        file = Descriptor(os.open(name, NEW | os.O_EXCL, 0o600, dir_fd=folder.number))
        # before the lock a sweep may take it for a leftover
        if lock(file) is not False and isNamed(file, folder, name):
            return file, name
        file.close()
    raise Busy


def _claimed(folder: Descriptor, name: bytes) -> Descriptor | None:
    """The owner's partial, made or emptied, with this writer's lock; ``None`` where another writer has it."""
    for _ in range(RETRIES):
        file = Descriptor(os.open(name, NEW, 0o600, dir_fd=folder.number))
        checkRegular(file)
        if lock(file) is False:
            return None
        # between the opening and the lock it may have been committed or discarded
        if isNamed(file, folder, name):
            os.ftruncate(file.number, 0)
            return file
    return None


def _continued(folder: Descriptor, name: bytes) -> Descriptor:
    file = Descriptor(os.open(name, NEW & ~os.O_CREAT, dir_fd=folder.number))
    checkRegular(file)
    if lock(file) is False:
        file.close()
        raise Busy
    if not isNamed(file, folder, name):
        file.close()
        raise NotFound
    return file


def _prepare(file: Descriptor, tree: Tree) -> None:
    # whatever the process's umask is; a storage without modes of its own refuses
    with contextlib.suppress(PermissionError):
        os.fchmod(file.number, tree.rules.fileMode)
