"""The thread pools of a node: what blocks for long in one does not hold up the others."""

from __future__ import annotations

from attrs import define, field
from twisted.python.threadpool import ThreadPool

FILE_THREADS = 16
HASH_THREADS = 2
WORK_THREADS = 4


@define(eq=False)
class Pools:
    """
    :ivar files: for users' files.
    :ivar hashes: for the passwords of log-ins.
    :ivar work: for everything else.
    :ivar rows: for the rows that nodes share, in their order.
    """

    files: ThreadPool = field(factory=lambda: ThreadPool(0, FILE_THREADS, "files"))
    hashes: ThreadPool = field(factory=lambda: ThreadPool(0, HASH_THREADS, "hashes"))
    work: ThreadPool = field(factory=lambda: ThreadPool(0, WORK_THREADS, "work"))
    rows: ThreadPool = field(factory=lambda: ThreadPool(0, 1, "rows"))

    def start(self) -> None:
        for pool in (self.files, self.hashes, self.work, self.rows):
            pool.start()

    def stop(self) -> None:
        for pool in (self.files, self.hashes, self.work, self.rows):
            pool.stop()
