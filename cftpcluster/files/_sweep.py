"""Removes what broken uploads left: a thread that walks the storage slowly, at the start and every hour.

What a node itself left in use when it stopped goes at once; everything else when it was not touched for
``partialSeconds``; nothing that a writer has locked.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.logger import Logger

from ..errors import FileSystemError
from ._beneath import FOLDER, Opener
from ._descriptors import Descriptor, statIn
from ._names import isPartial, isTemporaryOf
from ._tree import removePartial

log = Logger()

SWEEP_SECONDS = 3600
RETRY_SECONDS = 60
PAUSE_ENTRIES = 500
PAUSE_SECONDS = 0.02


@define(eq=False)
class Sweeper:
    """Sweeps one storage until it is told to stop.

    :ivar openRoot: opens the storage, or fails while it is missing.
    :ivar partialSeconds: the age, now, at which others' leftovers go.
    :ivar retrySeconds: how long to wait for a storage that is missing at the start.
    """

    _node: str
    _openRoot: Callable[[], Descriptor]
    _opener: Opener
    _partialSeconds: Callable[[], float]
    _retrySeconds: float = RETRY_SECONDS
    _stop: threading.Event = field(factory=threading.Event, init=False)
    _thread: threading.Thread = field(init=False)
    _seen: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="cftpcluster sweep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop soon, without waiting for it."""
        self._stop.set()

    def join(self) -> None:
        """Wait for the end; blocks."""
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        isStart = True
        told = ""
        while not self._stop.is_set():
            try:
                removed = self.sweep(isStart, time.time())
            except (OSError, FileSystemError) as error:
                if str(error) != told:
                    told = str(error)
                    log.warn("Leftovers of uploads could not be swept: {told}", told=told)
                self._stop.wait(self._retrySeconds if isStart else SWEEP_SECONDS)
                continue
            if removed:
                log.info("Removed {removed} leftovers of uploads", removed=removed)
            isStart = False
            self._stop.wait(SWEEP_SECONDS)

    def sweep(self, isStart: bool, now: float) -> int:
        """Walk the storage once; returns how many leftovers were removed. Blocks."""
        removed = 0
        with self._openRoot() as root:
            # names instead of open folders: users may nest them deeper than there are descriptors
            pending: list[tuple[bytes, ...]] = [()]
            while pending and not self._stop.is_set():
                path = pending.pop()
                try:
                    with self._opener.open(root, path, FOLDER | os.O_NOFOLLOW) as folder:
                        names, leftovers = self._look(folder)
                        removed += sum(self._removes(folder, name, isStart, now) for name in leftovers)
                except (OSError, FileSystemError):
                    # gone, moved, or not ours to read
                    continue
                pending.extend((*path, name) for name in names)
        return removed

    def _look(self, folder: Descriptor) -> tuple[Sequence[bytes], Sequence[bytes]]:
        """The names of the folders and of the leftovers in a folder."""
        folders: list[bytes] = []
        leftovers: list[bytes] = []
        self._pause()
        with os.scandir(folder.number) as entries:
            for item in entries:
                name = os.fsencode(item.name)
                if isPartial(name):
                    leftovers.append(name)
                elif item.is_dir(follow_symlinks=False):
                    folders.append(name)
                self._pause()
        return folders, leftovers

    def _pause(self) -> None:
        """Leave the disk to users now and then."""
        self._seen += 1
        if self._seen % PAUSE_ENTRIES == 0:
            self._stop.wait(PAUSE_SECONDS)

    def _removes(self, folder: Descriptor, name: bytes, isStart: bool, now: float) -> bool:
        found = statIn(folder, name)
        if found is None:
            return False
        # the time of the last change of any kind: clients can set the other times of what they upload
        isOld = now - found.st_ctime >= self._partialSeconds()
        isOwn = isStart and isTemporaryOf(name, self._node)
        if not (isOld or isOwn):
            return False
        try:
            return removePartial(folder, name, mustKnow=not isOld)
        except (OSError, FileSystemError):
            return False
