"""What is in a ZIP file. Every call blocks, and belongs in a thread; nothing here knows sessions."""

from __future__ import annotations

import calendar
import os
import zlib
from collections.abc import Callable
from typing import Any, TypeVar
from zipfile import BadZipFile, ZipExtFile, ZipFile, ZipInfo

from attrs import define, field

from cftpcluster.errors import (
    FileSystemError,
    IsAFolder,
    NotAFolder,
    NotFound,
    StorageFailed,
    StorageMissing,
    Unsupported,
)
from cftpcluster.files.paths import checkName
from cftpcluster.vocabulary import Kind, Stat, VirtualPath

T = TypeVar("T")

MOST_ENTRIES = 100_000
"""The names of an archive are kept in memory, for each session that uses it."""

ENCRYPTED = 1
LINK_MODE = 0o120000


def answered(work: Callable[..., T], *arguments: Any) -> T:
    """Do blocking work; its errors are those that users and protocols understand."""
    try:
        return work(*arguments)
    except FileNotFoundError:
        raise StorageMissing from None
    except (NotImplementedError, RuntimeError):
        # A method of compression that this Python does not know; a file that is encrypted.
        raise Unsupported from None
    except (OSError, EOFError, BadZipFile, zlib.error):
        raise StorageFailed from None


@define(eq=False)
class Archive:
    """An open ZIP file, and what is in it.

    :ivar nodes: what each path is: a file, or ``None`` for a folder.
    :ivar names: the names in each folder.
    """

    opened: ZipFile
    modified: float
    nodes: dict[VirtualPath, ZipInfo | None] = field(factory=lambda: {(): None})
    names: dict[VirtualPath, list[str]] = field(factory=lambda: {(): []})

    @classmethod
    def open(cls, path: str) -> Archive:
        opened = ZipFile(path)
        try:
            entries = opened.infolist()
            if len(entries) > MOST_ENTRIES:
                raise BadZipFile(f"more than {MOST_ENTRIES} entries")
            archive = cls(opened, os.stat(path).st_mtime)
            for info in entries:
                archive._add(info)
        except BaseException:
            opened.close()
            raise
        return archive

    def _add(self, info: ZipInfo) -> None:
        """A name that no file may have, such as one with ``..`` in it, is left out; so is a link."""
        try:
            path = tuple([checkName(name) for name in info.filename.rstrip("/").split("/")])
        except FileSystemError:
            return
        if (info.external_attr >> 16) & 0o170000 == LINK_MODE or path in self.nodes:
            return
        for depth in range(1, len(path)):
            if not self._put(path[:depth], None):
                return
        self._put(path, None if info.is_dir() else info)

    def _put(self, path: VirtualPath, info: ZipInfo | None) -> bool:
        """Whether there is such a node now; not where a file is in the place of a folder."""
        if path not in self.nodes:
            self.nodes[path] = info
            self.names[path[:-1]].append(path[-1])
            if info is None:
                self.names[path] = []
        return self.nodes[path] is info

    def at(self, path: VirtualPath) -> ZipInfo | None:
        """The file at a path, ``None`` for a folder."""
        if path in self.nodes:
            return self.nodes[path]
        if any(self.nodes.get(path[:depth]) is not None for depth in range(1, len(path))):
            raise NotAFolder
        raise NotFound

    def stat(self, path: VirtualPath) -> Stat:
        info = self.at(path)
        if info is None:
            return Stat(Kind.folder, modified=self.modified, accessed=self.modified, mode=0o555, links=2)
        year, month, day, *time = info.date_time
        modified = calendar.timegm((year, max(month, 1), max(day, 1), *time))
        identity = f"{info.CRC:08x}-{info.file_size:x}"
        return Stat(Kind.file, info.file_size, modified, modified, 0o444, 1, identity)

    def openFile(self, path: VirtualPath) -> ZipExtFile:
        info = self.at(path)
        if info is None:
            raise IsAFolder
        if info.flag_bits & ENCRYPTED:
            raise Unsupported("the file is encrypted")
        opened = self.opened.open(info)
        assert isinstance(opened, ZipExtFile)
        return opened
