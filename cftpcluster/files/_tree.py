"""What a local backend does to the disk: every call blocks, and belongs in a thread.

Everything happens relative to the descriptor of one folder, and nothing leads beyond it. It knows no sessions; what
uploads need stands in :mod:`cftpcluster.files._partials`.
"""

from __future__ import annotations

import errno
import os
import stat as modes
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from attrs import define, field, frozen

from ..errors import FolderNotEmpty, IsAFolder, PermissionDenied, Unsupported
from ..vocabulary import Attributes, Entry, Held, Kind, Space, Stat, VirtualPath
from . import paths
from ._beneath import FOLDER, Opener, WalkingOpener, renameNew
from ._descriptors import Descriptor, checkRegular, describe, isNamed, lock, statIn, syncFolder
from ._names import isPartial, partialName

YIELD_NAMES = 128
YIELD_SECONDS = 0.0001

ANY = os.O_PATH
QUICK = os.O_NONBLOCK | os.O_NOCTTY
"""For what may turn out to be a FIFO or a device: opening must not wait."""


@frozen
class Rules:
    """How a backend makes what is new.

    :ivar sync: whether what was committed is on the disk.
    """

    fileMode: int
    directoryMode: int
    sync: bool


@define(eq=False)
class Tree:
    """One folder of a backend, opened when it is first used.

    :ivar openRoot: opens the folder, or raises ``StorageMissing``.
    :ivar checkPresent: raises ``StorageMissing`` when the storage has gone since.
    :ivar owner: whose partials are seen.
    """

    openRoot: Callable[[], Descriptor]
    checkPresent: Callable[[], None]
    opener: Opener
    rules: Rules
    owner: str
    _root: Descriptor | None = None
    _opening: threading.Lock = field(factory=threading.Lock)

    @property
    def root(self) -> Descriptor:
        with self._opening:
            root = self._root
            if root is None:
                root = self._root = self.openRoot()
            return root

    def letGo(self) -> None:
        """Close the folder as soon as nothing works in it any more, whoever still knows this tree.

        An error that was met on the way is such a one: as it refers to itself, it stays until that is found.
        """
        self._root = None

    def open(self, path: VirtualPath, flags: int) -> Descriptor:
        return self.opener.open(self.root, [paths.encode(name) for name in path], flags)

    def folder(self, path: VirtualPath) -> tuple[Descriptor, bytes]:
        """The open folder that a path lies in, and its name there. The root has no name: ``PermissionDenied``."""
        if not path:
            raise PermissionDenied
        return self.open(path[:-1], FOLDER), paths.encode(path[-1])

    def target(self, path: VirtualPath) -> tuple[Descriptor, bytes]:
        """As :meth:`folder`, of what the path leads to when it is a link itself."""
        folder, name = self.folder(path)
        found = statIn(folder, name)
        if found is None or not modes.S_ISLNK(found.st_mode):
            return folder, name
        folder.close()
        folder, name = WalkingOpener().resolve(self.root, [paths.encode(name) for name in path])
        with folder:
            return Descriptor(os.open(b".", FOLDER | os.O_CLOEXEC, dir_fd=folder.number)), name

    # looking

    def stat(self, path: VirtualPath, follow: bool) -> Stat:
        try:
            with self.open(path, ANY if follow else ANY | os.O_NOFOLLOW) as found:
                return describe(found.stat())
        except FileNotFoundError:
            partial = self._statPartial(path)
            if partial is None:
                raise
            return partial

    def _statPartial(self, path: VirtualPath) -> Stat | None:
        folder, name = self.folder(path)
        with folder:
            found = statIn(folder, partialName(self.owner, name))
        return describe(found) if found is not None and modes.S_ISREG(found.st_mode) else None

    def openFile(self, path: VirtualPath, writable: bool) -> Descriptor:
        opened = self.open(path, (os.O_RDWR if writable else os.O_RDONLY) | QUICK)
        return checkRegular(opened)

    def scan(self, path: VirtualPath) -> FolderScan:
        folder = self.open(path, FOLDER)
        return FolderScan(self, path, folder, os.scandir(folder.number))

    def space(self, path: VirtualPath) -> Space:
        with self.open(path, ANY) as found:
            room = os.fstatvfs(found.number)
        unit = room.f_frsize
        return Space(room.f_blocks * unit, room.f_bavail * unit, room.f_files or None, room.f_favail)

    def held(self, path: VirtualPath, follow: bool) -> Held:
        """The committed file and the owner's partial of that name, whatever a session sees there."""
        folder, name = self.target(path) if follow else self.folder(path)
        with folder:
            found = [statIn(folder, each) for each in (name, partialName(self.owner, name))]
        committed, partial = (
            describe(each) if each is not None and modes.S_ISREG(each.st_mode) else None for each in found
        )
        return Held(committed, partial)

    # changing

    def makeDirectory(self, path: VirtualPath) -> None:
        self.checkPresent()
        if not path:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        folder, name = self.folder(path)
        with folder:
            makeFolder(folder, name, self.rules)

    def remove(self, path: VirtualPath) -> None:
        """Remove a file or link, or the owner's kept partial."""
        folder, name = self.folder(path)
        with folder:
            try:
                os.unlink(name, dir_fd=folder.number)
            except FileNotFoundError:
                removePartial(folder, partialName(self.owner, name))

    def removeDirectory(self, path: VirtualPath) -> None:
        folder, name = self.folder(path)
        with folder:
            try:
                os.rmdir(name, dir_fd=folder.number)
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
                with self.open(path, FOLDER | os.O_NOFOLLOW) as inner:
                    clearPartials(inner)
                os.rmdir(name, dir_fd=folder.number)

    def rename(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> None:
        source, oldName = self.folder(old)
        target, newName = self.folder(new)
        with source, target:
            if overwrite:
                os.rename(oldName, newName, src_dir_fd=source.number, dst_dir_fd=target.number)
            else:
                renameNew(source, oldName, target, newName)

    def setAttributes(self, path: VirtualPath, attributes: Attributes) -> None:
        if attributes.size is not None:
            with self.open(path, os.O_WRONLY | QUICK) as file:
                os.ftruncate(checkRegular(file).number, attributes.size)
        # not opened for reading, which the mode may forbid; /proc leads from the descriptor to just what it stands for
        with self.open(path, ANY) as found:
            if not (modes.S_ISREG(found.stat().st_mode) or modes.S_ISDIR(found.stat().st_mode)):
                raise PermissionDenied("not a regular file")
            setModeAndTimes(f"/proc/self/fd/{found.number}", found.stat(), attributes)

    # links

    def readLink(self, path: VirtualPath) -> str:
        folder, name = self.folder(path)
        with folder:
            try:
                text = os.readlink(name, dir_fd=folder.number)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                raise Unsupported("not a link") from None
        return paths.checkInside(path, paths.decode(text))

    def makeSymbolicLink(self, path: VirtualPath, target: str) -> None:
        self.checkPresent()
        text = paths.linkText(path, target)
        folder, name = self.folder(path)
        with folder:
            os.symlink(paths.encode(text), name, dir_fd=folder.number)

    def makeHardLink(self, path: VirtualPath, existing: VirtualPath) -> None:
        self.checkPresent()
        source, oldName = self.folder(existing)
        target, newName = self.folder(path)
        with source, target:
            found = os.stat(oldName, dir_fd=source.number, follow_symlinks=False)
            if not modes.S_ISREG(found.st_mode):
                raise IsAFolder if modes.S_ISDIR(found.st_mode) else Unsupported
            os.link(oldName, newName, src_dir_fd=source.number, dst_dir_fd=target.number, follow_symlinks=False)

    def setLinkAttributes(self, path: VirtualPath, attributes: Attributes) -> None:
        if attributes.mode is not None or attributes.size is not None:
            raise Unsupported
        folder, name = self.folder(path)
        with folder:
            found = os.stat(name, dir_fd=folder.number, follow_symlinks=False)
            if not modes.S_ISLNK(found.st_mode):
                raise Unsupported("not a link")
            os.utime(name, ns=times(found, attributes), dir_fd=folder.number, follow_symlinks=False)


@define(eq=False)
class FolderScan:
    """A folder being read. One thread at a time."""

    _tree: Tree
    _path: VirtualPath
    _folder: Descriptor
    _entries: os._ScandirIterator[str]
    wanted: Callable[[str, bool | None], bool] | None = None

    def next(self, count: int) -> Sequence[Entry]:
        """At most ``count`` entries; an empty answer is the end."""
        batch: list[Entry] = []
        for number, item in enumerate(self._entries):
            # scandir decodes names by the locale; virtual paths do not depend on it
            name = paths.decode(os.fsencode(item.name))
            if paths.isReserved(name) or not self._isWanted(name, item):
                if number % YIELD_NAMES == 0:
                    # nothing else here lets other threads run; a sleep of nothing seldom does
                    time.sleep(YIELD_SECONDS)
                continue
            try:
                stat = describe(item.stat(follow_symlinks=False))
            except FileNotFoundError:
                continue
            link = stat.kind is Kind.link
            batch.append(Entry(name, self._followed(name, stat) if link else stat, link))
            if len(batch) == count:
                break
        return batch

    def _isWanted(self, name: str, item: os.DirEntry[str]) -> bool:
        if self.wanted is None:
            return True
        return self.wanted(name, None if item.is_symlink() else item.is_dir(follow_symlinks=False))

    def _followed(self, name: str, link: Stat) -> Stat:
        try:
            with self._tree.open((*self._path, name), ANY) as found:
                return describe(found.stat())
        except (OSError, PermissionDenied):
            return link

    def close(self) -> None:
        self._entries.close()
        self._folder.close()


def makeFolder(folder: Descriptor, name: bytes, rules: Rules) -> None:
    mode = rules.directoryMode
    os.mkdir(name, mode, dir_fd=folder.number)
    with Descriptor(os.open(name, ANY | FOLDER | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.number)) as made:
        found = made.stat().st_mode
        if modes.S_IMODE(found) & 0o777 != mode:
            # a group that folders inherit stays inherited; a storage without modes of its own refuses
            with suppress(PermissionError):
                os.chmod(f"/proc/self/fd/{made.number}", mode | found & modes.S_ISGID)
    if rules.sync:
        # or what is committed in the new folder could be lost with it
        syncFolder(folder)


def setModeAndTimes(file: int | str, found: os.stat_result, attributes: Attributes) -> None:
    if attributes.mode is not None:
        inherited = found.st_mode & modes.S_ISGID if modes.S_ISDIR(found.st_mode) else 0
        os.chmod(file, attributes.mode & 0o777 | inherited)
    if attributes.accessed is not None or attributes.modified is not None:
        os.utime(file, ns=times(found, attributes))


def times(found: os.stat_result, attributes: Attributes) -> tuple[int, int]:
    """Access and modification as they are to be, in nanoseconds."""
    accessed = found.st_atime_ns if attributes.accessed is None else nanoseconds(attributes.accessed)
    modified = found.st_mtime_ns if attributes.modified is None else nanoseconds(attributes.modified)
    return accessed, modified


def nanoseconds(seconds: float) -> int:
    # a double has no room for the nanoseconds of our times; microseconds come back as they were given
    return round(seconds * 1_000_000) * 1000


def removePartial(folder: Descriptor, name: bytes, mustKnow: bool = False) -> bool:
    """Remove a partial that nobody writes; ``BlockingIOError`` where somebody does.

    :param mustKnow: leave it where the storage cannot tell whether somebody does.
    """
    with Descriptor(os.open(name, os.O_RDWR | QUICK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.number)) as file:
        locked = lock(checkRegular(file))
        if locked is False:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if (locked is None and mustKnow) or not isNamed(file, folder, name):
            return False
        os.unlink(name, dir_fd=folder.number)
        return True


def clearPartials(folder: Descriptor) -> None:
    """Empty a folder that holds nothing but partials nobody writes; else ``FolderNotEmpty``."""
    names: list[bytes] = []
    with os.scandir(folder.number) as entries:
        for item in entries:
            names.append(os.fsencode(item.name))
            if not isPartial(names[-1]):
                raise FolderNotEmpty
    try:
        for name in names:
            removePartial(folder, name)
    except BlockingIOError:
        raise FolderNotEmpty from None
    except FileNotFoundError:
        # its upload ended meanwhile: whether the folder is empty now, its removal will tell
        return
