"""Simulated disks: what was synced outlives everything, what was only written is gone when the process is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

from attrs import define, field, frozen

from cftpcluster.errors import ClusterError, DiskFull, JournalReadOnly
from cftpcluster.journal._fold import START, bounded, compactedBase, folded, headOf, requireHistory, requireRevision
from cftpcluster.journal.entry import Entry, Head, Snapshot


@frozen(eq=False)
class Image:
    """A journal as a disk has it."""

    base: Head = START
    entries: tuple[Entry, ...] = ()
    head: Head = START


@define(eq=False, repr=False)
class Disk:
    """What of one machine outlives its processes.

    :ivar files: the state folder's files, each written durably.
    :ivar full: whether there is no room.
    :ivar failing: whether the next sync fails.
    :ivar slowness: what the time of each piece of work is multiplied by.
    :ivar image: the journal, as it was last synced.
    """

    random: Random
    files: dict[str, bytes] = field(factory=dict)
    full: bool = False
    failing: bool = False
    slowness: float = 1.0
    image: Image = field(factory=Image)
    rows: dict[bytes, tuple[bytes, float]] = field(factory=dict)
    incarnation: int = 0

    def wipe(self) -> None:
        """Begin anew, with nothing."""
        self.image, self.files, self.rows, self.incarnation = Image(), {}, {}, 0


@define(eq=False, repr=False)
class ModelStore:
    """What :class:`~cftpcluster.journal.sqlite.SQLiteStore` promises, over a simulated disk: every commit is synced, as
    a whole, before it is answered.

    :ivar made: told of each entry that was written, and the head before it.
    :ivar synced: told of each image that became durable.
    """

    disk: Disk
    made: Callable[[Sequence[Entry], Head], None]
    synced: Callable[[Image, Image], None]
    head: Head = field(init=False)
    requests: dict[str, int] = field(init=False)
    _base: Head = field(init=False)
    _entries: list[Entry] = field(init=False)
    _failed: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        image = self.disk.image
        self.head, self._base, self._entries = image.head, image.base, list(image.entries)
        self.requests = {entry.requestId: entry.revision for entry in self._entries if entry.requestId}

    def commit(self, entries: Sequence[Entry], head: Head) -> None:
        self._requireWritable()
        self.made(entries, self.head)
        written = Image(self._base, (*self._entries, *entries), head)
        self._sync(written)
        self.head = head
        self._entries.extend(entries)
        self.requests.update({entry.requestId: entry.revision for entry in entries if entry.requestId})

    def _requireWritable(self) -> None:
        if self._failed:
            raise JournalReadOnly("a sync failed; nothing is appended until a restart")
        if self.disk.full:
            raise DiskFull("no room for the journal")

    def _sync(self, image: Image) -> None:
        if self.disk.failing:
            self._failed = True
            if self.disk.random.random() < 0.5:
                # Nobody knows what the disk has then.
                self._settle(image)
            raise JournalReadOnly("the sync failed")
        self._settle(image)

    def _settle(self, image: Image) -> None:
        before, self.disk.image = self.disk.image, image
        self.synced(before, image)

    def maintain(self) -> bool:
        return False

    def keep(self, snapshot: Snapshot) -> None:
        raise NotImplementedError("maintain() never asks")

    def since(self, revision: int, limit: int) -> Sequence[Entry]:
        requireHistory(revision, self._base.revision)
        return list(bounded(self._entries[revision - self._base.revision :], limit))

    def entry(self, revision: int) -> Entry | None:
        index = revision - self._base.revision - 1
        return self._entries[index] if 0 <= index < len(self._entries) else None

    def at(self, revision: int) -> Head:
        requireRevision(revision, self._base.revision, self.head.revision)
        return folded(self._base, self._entries[: revision - self._base.revision])

    def restore(self, snapshot: Snapshot) -> None:
        head = headOf(snapshot)
        self._requireWritable()
        self._sync(Image(head, (), head))
        self.head = self._base = head
        self._entries, self.requests = [], {}

    def compact(self, keep: int) -> None:
        gone = compactedBase(self._base.revision, self.head, keep) - self._base.revision
        if gone:
            self._requireWritable()
            base, entries = folded(self._base, self._entries[:gone]), self._entries[gone:]
            self._sync(Image(base, tuple(entries), self.head))
            self._base, self._entries = base, entries
            self.requests = {entry.requestId: entry.revision for entry in entries if entry.requestId}

    def check(self) -> None:
        pass

    def renew(self) -> str:
        raise NotImplementedError("nothing is damaged here")

    def stopWriting(self, why: str) -> None:
        raise NotImplementedError("nothing is damaged here")

    def close(self) -> None:
        pass


@define(eq=False, repr=False)
class ModelRowsFile:
    """What :class:`~cftpcluster.cluster.rows.RowsFile` does, over a simulated disk."""

    _disk: Disk

    @classmethod
    def open(cls, disk: Disk, now: float) -> tuple[ModelRowsFile, int, Sequence[tuple[bytes, float]]]:
        disk.incarnation = max(disk.incarnation + 1, int(now))
        disk.rows = {key: kept for key, kept in disk.rows.items() if kept[1] > now}
        return cls(disk), disk.incarnation, list(disk.rows.values())

    def commit(self, changes: Mapping[bytes, tuple[bytes, float] | None], incarnation: int) -> None:
        if self._disk.full:
            raise ClusterError("no room for rows")
        for key, kept in changes.items():
            self._disk.rows.pop(key, None)
            if kept is not None:
                self._disk.rows[key] = kept
        self._disk.incarnation = incarnation

    def close(self) -> None:
        pass
