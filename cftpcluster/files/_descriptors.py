"""Descriptors that are closed once, and what their errors mean to a user. It knows no paths and no policy."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat as modes
from collections.abc import Callable
from hashlib import blake2b
from traceback import clear_frames
from typing import Self, TypeVar

from attrs import define
from twisted.logger import Logger

from ..errors import (
    AlreadyExists,
    Busy,
    CrossesMounts,
    FileSystemError,
    FolderNotEmpty,
    InvalidName,
    IsAFolder,
    NotAFolder,
    NotFound,
    OutOfSpace,
    PermissionDenied,
    StorageFailed,
    StorageMissing,
    Unsupported,
)
from ..vocabulary import Kind, Stat

log = Logger()

R = TypeVar("R")

_MEANINGS: dict[int, type[FileSystemError]] = {
    errno.ENOENT: NotFound,
    errno.ELOOP: NotFound,
    errno.EEXIST: AlreadyExists,
    errno.EACCES: PermissionDenied,
    errno.EPERM: PermissionDenied,
    errno.EROFS: PermissionDenied,
    # what opening a socket, or a FIFO that nobody reads, answers
    errno.ENXIO: PermissionDenied,
    errno.ENODEV: PermissionDenied,
    errno.ENOTDIR: NotAFolder,
    errno.EISDIR: IsAFolder,
    errno.ENOTEMPTY: FolderNotEmpty,
    errno.ENAMETOOLONG: InvalidName,
    errno.EILSEQ: InvalidName,
    errno.EXDEV: CrossesMounts,
    errno.ENOSPC: OutOfSpace,
    errno.EDQUOT: OutOfSpace,
    errno.EFBIG: OutOfSpace,
    errno.EAGAIN: Busy,
    errno.EBUSY: Busy,
    errno.ETXTBSY: Busy,
    errno.EINVAL: Unsupported,
    errno.EMLINK: Unsupported,
    errno.ENOSYS: Unsupported,
    errno.EOPNOTSUPP: Unsupported,
    errno.ESTALE: StorageMissing,
    errno.ENOTCONN: StorageMissing,
}


def meaning(error: OSError) -> FileSystemError:
    """What an error of the operating system means to a user; its own text names paths of the disk."""
    found = _MEANINGS.get(error.errno or 0)
    if found is None:
        log.error("Storage failed: {error!r}", error=error)
        return StorageFailed()
    return found()


def translated(function: Callable[..., R], *args: object) -> R:
    """Call ``function``, its errors turned to those of :mod:`cftpcluster.errors`.

    What an error came by is let go of, descriptors above all: errors that pass through Deferreds refer to themselves,
    and stay until that is found.
    """
    try:
        return function(*args)
    except FileSystemError as error:
        clear_frames(error.__traceback__)
        raise
    except OSError as error:
        clear_frames(error.__traceback__)
        raise meaning(error) from error
    except OverflowError:
        # an offset, a length or a time that the kernel has no number for
        raise OutOfSpace from None


@define(eq=False)
class Descriptor:
    """An open descriptor, closed when it is let go of: work in a thread may outlive the session that began it."""

    number: int

    def close(self) -> None:
        number, self.number = self.number, -1
        if number >= 0:
            with contextlib.suppress(OSError):
                os.close(number)

    __del__ = close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def stat(self) -> os.stat_result:
        return os.fstat(self.number)


def duplicate(file: Descriptor) -> Descriptor:
    return Descriptor(translated(os.dup, file.number))


def statIn(folder: Descriptor, name: bytes) -> os.stat_result | None:
    """What ``name`` is in an open folder, a link being described itself; ``None`` when it is not there."""
    try:
        return os.stat(name, dir_fd=folder.number, follow_symlinks=False)
    except FileNotFoundError:
        return None


def isNamed(file: Descriptor, folder: Descriptor, name: bytes) -> bool:
    """Whether ``name`` in ``folder`` is just this open file."""
    found = statIn(folder, name)
    return found is not None and os.path.samestat(found, file.stat())


def lock(file: Descriptor) -> bool | None:
    """Become the one writer of a file: ``False`` when another is, ``None`` when the storage cannot tell."""
    try:
        fcntl.flock(file.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}:
            return None
        raise
    return True


def unlock(file: Descriptor) -> None:
    """Let others write, although duplicates of the descriptor may stay open."""
    with contextlib.suppress(OSError):
        fcntl.flock(file.number, fcntl.LOCK_UN)


def syncFolder(folder: Descriptor) -> None:
    """Put a folder's names on the disk, where the storage knows how."""
    try:
        os.fsync(folder.number)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
            raise


def checkRegular(file: Descriptor) -> Descriptor:
    """Refuse what is not a regular file, before a byte of it is touched."""
    mode = file.stat().st_mode
    if modes.S_ISDIR(mode):
        raise IsAFolder
    if not modes.S_ISREG(mode):
        raise PermissionDenied("not a regular file")
    # it was opened so that a FIFO could not hold the thread up; storages in user space may take that for more
    os.set_blocking(file.number, True)
    return file


def describe(found: os.stat_result) -> Stat:
    """A stat of the disk in the words of :class:`~cftpcluster.vocabulary.Stat`."""
    kind = _KINDS.get(modes.S_IFMT(found.st_mode), Kind.other)
    # device numbers differ between nodes; the change time tells two versions of one second and length apart
    parts = f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
    return Stat(
        kind,
        found.st_size if kind is not Kind.folder else 0,
        found.st_mtime,
        found.st_atime,
        found.st_mode & 0o777,
        found.st_nlink,
        blake2b(parts.encode(), digest_size=12).hexdigest() if kind is Kind.file else "",
    )


_KINDS = {modes.S_IFREG: Kind.file, modes.S_IFDIR: Kind.folder, modes.S_IFLNK: Kind.link}
