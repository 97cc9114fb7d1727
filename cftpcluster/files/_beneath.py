"""Opens paths beneath a folder, and never beyond it, whatever links are put in the way while it does.

Two ways: ``openat2`` of Linux 5.6 and later, where the kernel guards the way; and a walk, one name at a time, that
follows links itself. It knows no virtual paths: names come as bytes, without a separator.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence
from typing import Protocol

from attrs import frozen

from ..errors import IsAFolder, PathEscapes
from ._descriptors import Descriptor

FOLDER = os.O_RDONLY | os.O_DIRECTORY
LINKS_LIMIT = 40
RETRIES = 32

_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08
_RENAME_NOREPLACE = 1

_libc = ctypes.CDLL(None, use_errno=True)


class Opener(Protocol):
    """A way to open what lies beneath a folder."""

    def open(self, root: Descriptor, names: Sequence[bytes], flags: int) -> Descriptor:
        """Open ``names`` one beneath the other, following links unless ``O_NOFOLLOW`` says otherwise for the last.
        ``PathEscapes`` where they lead out. ``OSError`` as ever."""


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@frozen
class KernelOpener:
    """The kernel resolves the whole path at once.

    :ivar call: the number of the system call, the same on every machine that Linux still grows on.
    """

    call: int = _OPENAT2

    def open(self, root: Descriptor, names: Sequence[bytes], flags: int) -> Descriptor:
        path = b"/".join(names) or b"."
        how = _How(flags | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
        size = ctypes.c_size_t(ctypes.sizeof(how))
        for _ in range(RETRIES):
            number = _libc.syscall(ctypes.c_long(self.call), ctypes.c_int(root.number), path, ctypes.byref(how), size)
            if number >= 0:
                return Descriptor(number)
            code = ctypes.get_errno()
            if code == errno.EXDEV:
                raise PathEscapes
            # EAGAIN: something was renamed on the way, and the kernel cannot prove that a ".." of a link stayed inside
            if code not in {errno.EAGAIN, errno.EINTR}:
                raise OSError(code, os.strerror(code))
        return WalkingOpener().open(root, names, flags)


@frozen
class WalkingOpener:
    """Every name is opened in its folder's descriptor; links are read and their names walked in turn."""

    def open(self, root: Descriptor, names: Sequence[bytes], flags: int) -> Descriptor:
        folder, name = self._walk(root, names, follow=not flags & os.O_NOFOLLOW)
        with folder:
            return _openIn(folder, name, flags)

    def resolve(self, root: Descriptor, names: Sequence[bytes]) -> tuple[Descriptor, bytes]:
        """The folder and the name that a path leads to in the end, whether or not something has that name."""
        folder, name = self._walk(root, names, follow=True)
        if name == b".":
            folder.close()
            raise IsAFolder
        return folder, name

    def _walk(self, root: Descriptor, names: Sequence[bytes], follow: bool) -> tuple[Descriptor, bytes]:
        """The open folder and the name in it that ``names`` lead to; ``.`` is the name of a folder found by itself."""
        pending = list(reversed(names))
        way: list[bytes] = []
        folder = _descend(root, way)
        links = 0
        while any(rest not in {b"", b"."} for rest in pending):
            name = pending.pop()
            if name in {b"", b"."}:
                continue
            if name == b"..":
                if not way:
                    raise PathEscapes
                # never the disk's own "..", which leads out of a folder that was moved away meanwhile
                way.pop()
                folder = _descend(root, way)
                continue
            target = _readLink(folder, name) if pending or follow else None
            if target is not None:
                links += 1
                if links > LINKS_LIMIT:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                if target.startswith(b"/"):
                    raise PathEscapes
                pending.extend(reversed(target.split(b"/")))
            elif pending:
                folder = _openIn(folder, name, os.O_PATH | os.O_DIRECTORY)
                way.append(name)
            else:
                return folder, name
        return folder, b"."


def _descend(root: Descriptor, names: Sequence[bytes]) -> Descriptor:
    """Open a folder beneath ``root`` that no link leads to."""
    folder = _openIn(root, b".", os.O_PATH | os.O_DIRECTORY)
    for name in names:
        folder = _openIn(folder, name, os.O_PATH | os.O_DIRECTORY)
    return folder


def _openIn(folder: Descriptor, name: bytes, flags: int) -> Descriptor:
    return Descriptor(os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.number))


def _readLink(folder: Descriptor, name: bytes) -> bytes | None:
    """The text of a link; ``None`` for what is none."""
    try:
        return os.readlink(name, dir_fd=folder.number)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOENT}:
            raise
        return None


def chooseOpener(preferred: Opener = KernelOpener()) -> Opener:
    """The best way that the kernel, and what guards this process, allows."""
    try:
        with Descriptor(os.open("/", os.O_PATH)) as root:
            preferred.open(root, (), os.O_PATH).close()
    except OSError:
        return WalkingOpener()
    return preferred


def renameNew(source: Descriptor, old: bytes, target: Descriptor, new: bytes) -> None:
    """Rename within open folders, but never onto something: ``FileExistsError``."""
    code = errno.ENOSYS
    if hasattr(_libc, "renameat2"):
        arguments = (ctypes.c_int(source.number), old, ctypes.c_int(target.number), new)
        if _libc.renameat2(*arguments, ctypes.c_uint(_RENAME_NOREPLACE)) == 0:
            return
        code = ctypes.get_errno()
    # not every storage knows the flag; EINVAL is also what a folder moved into itself answers, below as well
    if code not in {errno.EINVAL, errno.ENOSYS}:
        raise OSError(code, os.strerror(code))
    renameNewByLink(source, old, target, new)


def renameNewByLink(source: Descriptor, old: bytes, target: Descriptor, new: bytes) -> None:
    """As :func:`renameNew`, for storages that cannot: a second name is refused where there is one already."""
    try:
        os.link(old, new, src_dir_fd=source.number, dst_dir_fd=target.number, follow_symlinks=False)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}:
            raise
    else:
        os.unlink(old, dir_fd=source.number)
        return
    # folders, and storages without hard links; what comes between the look and the rename may be replaced
    try:
        os.stat(new, dir_fd=target.number, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(old, new, src_dir_fd=source.number, dst_dir_fd=target.number)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
