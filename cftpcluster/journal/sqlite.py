"""A journal in an SQLite file.

The file holds every entry since a *base* snapshot, that snapshot, a newer one to start from quickly, and the head;
entry and head change in one transaction. At every start all of it is proved: each snapshot by its SHA-256, each entry
by its place in the chain, the end by the head and by the mark beside the file. What does not prove itself is never
repaired here.

A write that fails makes the journal read-only until it is opened anew, since nobody knows what the disk has then; only
a full disk is known to have taken nothing. Who follows, and what the document means, is not known here.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from threading import Thread
from typing import Any, Self

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from ..errors import ChainMismatch, ClusterError, DiskFull, JournalDamaged, JournalReadOnly
from ._database import blob, connect, create, readable, resultCode, setAside, upgrade
from ._fold import START, Kinds, bounded, compactedBase, folded, headOf, requireHistory, requireRevision, snapshotOf
from ._mark import Mark
from ._proof import Stored, proved
from ._threaded import ThreadedJournal
from .entry import Entry, Head, Snapshot

log = Logger()

_SNAPSHOT_ENTRIES = 5000
_SNAPSHOT_BYTES = 1024 * 1024
_LOG_BYTES = 8 * 1024 * 1024


class SQLiteJournal(ThreadedJournal):
    """Made by :meth:`open`, to be closed with :meth:`close`."""

    @classmethod
    def open(cls, path: str | os.PathLike[str], kinds: Kinds, reactor: Any) -> Deferred[Self]:
        """Open a journal, or make an empty one where nothing is; in a thread of its own.

        Fails with ``JournalDamaged``, ``JournalLocked``, ``NewerFormat``, or another ``ClusterError`` that says why.
        """
        pool = ThreadPool(1, 1, "journal")
        # A process that dies without closing must not wait for it; the file is whole at every moment.
        pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
        pool.start()

        def stopPool(failure: Failure) -> Failure:
            pool.stop()
            return failure

        return cls.openIn(pool, pool.stop, path, kinds, reactor).addErrback(stopPool)

    @staticmethod
    def setAside(path: str) -> str:
        """Put a damaged journal beside, which must not be open; the answer is where it lies. Blocks."""
        return setAside(path)

    @classmethod
    def openIn(
        cls, pool: ThreadPool, stopPool: Any, path: str | os.PathLike[str], kinds: Kinds, reactor: Any
    ) -> Deferred[Self]:
        """As :meth:`open`, with a pool of one thread that is for this journal alone."""
        opened = deferToThreadPool(reactor, pool, SQLiteStore.open, os.fspath(path))
        return opened.addCallback(lambda store: cls(store, kinds, reactor, pool, stopPool))


@define(eq=False)
class SQLiteStore:
    """The file, as the journal's thread sees it; every method blocks."""

    path: str
    _connection: sqlite3.Connection
    _mark: Mark
    head: Head = field(default=START, init=False)
    requests: dict[str, int] = field(factory=dict, init=False)
    _base: int = field(default=0, init=False)
    _snapshot: int = field(default=0, init=False)
    _bytesSince: int = field(default=0, init=False)
    _bytesAllowed: int = field(default=_SNAPSHOT_BYTES, init=False)
    _failed: str = field(default="", init=False)

    @classmethod
    def open(cls, path: str) -> Self:
        try:
            if not os.path.exists(path):
                create(path)
            os.chmod(path, 0o600)
            mark = Mark.open(path + "-head")
        except OSError as error:
            raise ClusterError(f"cannot use the journal {path}: {error.strerror}") from None
        connection = None
        try:
            connection = connect(path)
            store = cls(path, connection, mark)
            store._load()
        except BaseException:
            if connection is not None:
                connection.close()
            mark.close()
            raise
        return store

    # --- proving

    def _load(self) -> None:
        with readable(self.path):
            upgrade(self.path, self._connection)
            self._proveStructure()
            head, requests = proved(self._stored(), self._snapshotAt("ORDER BY revision DESC LIMIT 1"))
            assert head is not None
            self.head, self.requests = head, dict(requests)
            self._noteSnapshots()

    def check(self) -> None:
        with readable(self.path):
            # What lies in this process's memory proves nothing about the file.
            self._connection.execute("PRAGMA shrink_memory")
            self._proveStructure()
            proved(self._stored(), None)

    def _proveStructure(self) -> None:
        (found,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != b"ok":
            raise JournalDamaged(f"{self.path}: {' '.join(found.decode('utf-8', 'replace').split())}")

    def _stored(self) -> Stored:
        end = self._connection.execute("SELECT revision, chainHash FROM head").fetchone()
        return Stored(self._snapshots("ORDER BY revision"), self._entriesAfter, end, self._mark.read())

    def renew(self) -> str:
        head = self.head
        self._connection.close()
        self._mark.close()
        try:
            aside = setAside(self.path)
            create(self.path)
            self._mark = Mark.open(self.path + "-head")
            self._connection = connect(self.path)
        except (OSError, ClusterError) as error:
            raise self._fail(str(error)) from None
        self._failed = ""
        self.restore(snapshotOf(head))
        return aside

    def stopWriting(self, why: str) -> None:
        self._fail(why)

    # --- reading

    def since(self, revision: int, limit: int) -> Sequence[Entry]:
        requireHistory(revision, self._base)
        with readable(self.path), closing(self._entriesAfter(revision)) as entries:
            return list(bounded(entries, limit))

    def entry(self, revision: int) -> Entry | None:
        with readable(self.path), closing(self._entriesAfter(revision - 1)) as entries:
            return next(entries, None)

    def _entriesAfter(self, revision: int) -> Generator[Entry]:
        """Every later entry. A reader that was left half-way would keep the log from being brought into the file."""
        for row, body, chainHash in self._connection.execute(
            "SELECT revision, body, chainHash FROM entries WHERE revision > ? ORDER BY revision", (revision,)
        ):
            entry = Entry.fromBody(blob(body), blob(chainHash))
            if entry.revision != row:
                raise ChainMismatch(row, f"revision {row} holds {entry.revision}")
            yield entry

    def _snapshotAt(self, clause: str, *values: int) -> Snapshot | None:
        with closing(self._snapshots(clause, *values)) as snapshots:
            return next(snapshots, None)

    def _snapshots(self, clause: str, *values: int) -> Generator[Snapshot]:
        for epoch, revision, chainHash, data, sha256 in self._connection.execute(
            f"SELECT epoch, revision, chainHash, data, sha256 FROM snapshots {clause}",  # noqa: S608 our own clauses
            values,
        ):
            yield Snapshot(epoch, revision, blob(chainHash), blob(data), blob(sha256))

    # --- writing

    def commit(self, entries: Sequence[Entry], head: Head) -> None:
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO entries VALUES (?, ?, ?)", ((one.revision, one.body, one.chainHash) for one in entries)
            )
            self._writeHead(head)
        self.head = head
        self.requests.update({one.requestId: one.revision for one in entries if one.requestId})
        self._bytesSince += sum(len(one.body) for one in entries)
        self._writeMark()

    def maintain(self) -> bool:
        if self._failed:
            return False
        if _size(self.path + "-wal") > _LOG_BYTES:
            self._checkpoint()
        return self._bytesSince > self._bytesAllowed or self.head.revision - self._snapshot > _SNAPSHOT_ENTRIES

    def keep(self, snapshot: Snapshot) -> None:
        if self._failed or not self._base <= snapshot.revision <= self.head.revision:
            return
        entry = self.entry(snapshot.revision)
        if entry is None or entry.chainHash != snapshot.chainHash:
            # Another history took the place of the one that it is of.
            return
        with self._transaction():
            self._writeSnapshot(snapshot)
            self._connection.execute(
                "DELETE FROM snapshots WHERE revision NOT IN (?, ?)", (self._base, snapshot.revision)
            )
        self._noteSnapshots()

    def restore(self, snapshot: Snapshot) -> None:
        head = headOf(snapshot)
        self._requireWritable()
        try:
            # Acknowledged revisions are about to go.
            self._mark.clear()
        except OSError as error:
            raise self._fail(str(error)) from None
        try:
            with self._transaction():
                self._connection.execute("DELETE FROM entries")
                self._connection.execute("DELETE FROM snapshots")
                self._writeSnapshot(snapshot)
                self._writeHead(head)
            self.head, self.requests = head, {}
        finally:
            self._writeMark()
        self._noteSnapshots()

    def compact(self, keep: int) -> None:
        revision = compactedBase(self._base, self.head, keep)
        if revision == self._base:
            return
        snapshot = self._snapshotFor(revision)
        with self._transaction():
            self._writeSnapshot(snapshot)
            self._connection.execute("DELETE FROM snapshots WHERE revision < ?", (revision,))
            self._connection.execute("DELETE FROM entries WHERE revision <= ?", (revision,))
        self._noteSnapshots()
        self.requests = {one: made for one, made in self.requests.items() if made > revision}
        self._checkpoint()

    def _snapshotFor(self, revision: int) -> Snapshot:
        with readable(self.path):
            stored = self._snapshotAt("WHERE revision = ?", revision)
        return stored or snapshotOf(self.at(revision))

    def at(self, revision: int) -> Head:
        requireRevision(revision, self._base, self.head.revision)
        if revision == self.head.revision:
            return self.head
        start, entries = self.parts(revision)
        return folded(headOf(start), entries)

    def parts(self, revision: int) -> tuple[Snapshot, Sequence[Entry]]:
        requireRevision(revision, self._base, self.head.revision)
        with readable(self.path):
            start = self._snapshotAt("WHERE revision <= ? ORDER BY revision DESC LIMIT 1", revision)
            assert start is not None
            with closing(self._entriesAfter(start.revision)) as entries:
                return start, list(islice(entries, revision - start.revision))

    def close(self) -> None:
        try:
            if self.maintain():
                self.keep(snapshotOf(self.head))
        finally:
            self._connection.close()
            self._mark.close()

    def _writeHead(self, head: Head) -> None:
        self._connection.execute("REPLACE INTO head VALUES (1, ?, ?)", (head.revision, head.chainHash))

    def _writeSnapshot(self, one: Snapshot) -> None:
        self._connection.execute(
            "REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?)",
            (one.revision, one.epoch, one.chainHash, one.data, one.sha256),
        )

    def _noteSnapshots(self) -> None:
        sizes = dict(self._connection.execute("SELECT revision, length(data) FROM snapshots"))
        self._base, self._snapshot = min(sizes), max(sizes)
        self._bytesAllowed = max(_SNAPSHOT_BYTES, sizes[self._snapshot] // 4)
        (self._bytesSince,) = self._connection.execute(
            "SELECT coalesce(sum(length(body)), 0) FROM entries WHERE revision > ?", (self._snapshot,)
        ).fetchone()

    def _writeMark(self) -> None:
        try:
            self._mark.write(self.head.revision, self.head.chainHash)
        except OSError as error:
            # The commit is durable; the mark only guards it against later damage.
            log.warn("{path}: the mark could not be written: {error}", path=self.path, error=error)

    def _checkpoint(self) -> None:
        """Bring the log back into the file. SQLite's own checkpoints would not tell of a failed fsync."""
        self._requireWritable()
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            if resultCode(error) in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                log.warn("{path}: the log stays beside the file for now: {error}", path=self.path, error=error)
            else:
                raise self._fail(str(error)) from None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._requireWritable()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._rollBack()
            if resultCode(error) == sqlite3.SQLITE_FULL:
                raise DiskFull(f"no room for the journal {self.path}") from None
            raise self._fail(str(error)) from None
        except BaseException:
            self._rollBack()
            raise

    def _rollBack(self) -> None:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                self._fail(str(error))

    def _requireWritable(self) -> None:
        if self._failed:
            raise JournalReadOnly(self._failed)

    def _fail(self, why: str) -> JournalReadOnly:
        self._failed = f"the journal {self.path} could not be written ({why}); nothing is appended until a restart"
        return JournalReadOnly(self._failed)


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
