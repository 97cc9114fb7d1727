"""Counts what a folder of the disk holds, piece by piece. Every call blocks, and belongs in a thread, one at a time."""

from __future__ import annotations

import os
import stat as modes
import time
from collections.abc import Iterator

from attrs import define, field

from ..errors import FileSystemError
from ..vocabulary import Usage, VirtualPath
from . import paths
from ._beneath import FOLDER
from ._descriptors import Descriptor
from ._names import isPartial
from ._tree import Tree

STEP_SECONDS = 0.02
"""How long one call takes: a thread is not kept from users for longer."""


@define(eq=False)
class UsageWalk:
    """:ivar total: what was found so far."""

    _tree: Tree
    _path: VirtualPath
    total: Usage = field(factory=Usage, init=False)
    _named: set[tuple[int, int]] = field(factory=set, init=False)
    """Files that have several names."""
    _steps: Iterator[None] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._steps = self._walk()

    def step(self) -> bool:
        """Count some; tells whether that was all. Fails where the folder to count is not there."""
        end = time.monotonic() + STEP_SECONDS
        return not any(time.monotonic() >= end for _ in self._steps)

    def _walk(self) -> Iterator[None]:
        # names instead of open folders: users may nest them deeper than there are descriptors
        pending: list[VirtualPath] = [self._path]
        while pending:
            path = pending.pop()
            try:
                folder = self._tree.open(path, FOLDER | (os.O_NOFOLLOW if path else 0))
            except (OSError, FileSystemError):
                if path == self._path:
                    raise
                # gone, moved, or not ours to read
                continue
            with folder:
                for name in self._lookAt(folder):
                    if name:
                        pending.append((*path, paths.decode(name)))
                    yield

    def _lookAt(self, folder: Descriptor) -> Iterator[bytes]:
        """The name of each folder, and "" for everything else."""
        with os.scandir(folder.number) as entries:
            for item in entries:
                name = os.fsencode(item.name)
                try:
                    found = item.stat(follow_symlinks=False)
                except OSError:
                    continue
                if modes.S_ISDIR(found.st_mode):
                    yield name
                    continue
                if modes.S_ISREG(found.st_mode) and (isPartial(name) or not paths.isReserved(paths.decode(name))):
                    self._count(found)
                yield b""

    def _count(self, found: os.stat_result) -> None:
        if found.st_nlink > 1:
            identity = found.st_dev, found.st_ino
            if identity in self._named:
                return
            self._named.add(identity)
        self.total = self.total.plus(Usage(found.st_size, 1))
