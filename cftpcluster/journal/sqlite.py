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

from ..errors import (
    ChainMismatch,
    ClusterError,
    DiskFull,
    Invalid,
    JournalDamaged,
    JournalLocked,
    JournalReadOnly,
    NewerFormat,
)
from ._fold import START, Kinds, bounded, compactedBase, folded, headOf, requireHistory, snapshotOf
from ._mark import Mark
from ._proof import Stored, proved
from ._threaded import ThreadedJournal
from .entry import Entry, Head, Snapshot

log = Logger()

UPGRADES: Sequence[Sequence[str]] = (
    (
        "CREATE TABLE entries (revision INTEGER PRIMARY KEY, body BLOB NOT NULL, chainHash BLOB NOT NULL)",
        """
        CREATE TABLE snapshots (
            revision INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, chainHash BLOB NOT NULL, data BLOB NOT NULL,
            sha256 BLOB NOT NULL
        )
        """,
        "CREATE TABLE head (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL, chainHash BLOB NOT NULL)",
    ),
)
"""The statements from each version of the schema to the next; ``user_version`` is how many were applied."""

_APPLICATION_ID = 0x43465450
# Errors of the disk or of permissions, which say nothing about what is stored.
_UNUSABLE = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
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
                _create(path)
            os.chmod(path, 0o600)
            mark = Mark.open(path + "-head")
        except OSError as error:
            raise ClusterError(f"cannot use the journal {path}: {error.strerror}") from None
        connection = None
        try:
            connection = _connect(path)
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
        with _readable(self.path):
            _upgrade(self.path, self._connection)
            self._proveStructure()
            head, requests = proved(self._stored(), self._snapshotAt("ORDER BY revision DESC LIMIT 1"))
            assert head is not None
            self.head, self.requests = head, dict(requests)
            self._noteSnapshots()

    def check(self) -> None:
        with _readable(self.path):
            # What lies in this process's memory proves nothing about the file.
            self._connection.execute("PRAGMA shrink_memory")
            self._proveStructure()
            proved(self._stored(), None)

    def _proveStructure(self) -> None:
        (found,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != b"ok":
            raise JournalDamaged(f"{self.path}: {found.decode('utf-8', 'replace')}")

    def _stored(self) -> Stored:
        end = self._connection.execute("SELECT revision, chainHash FROM head").fetchone()
        return Stored(self._snapshots("ORDER BY revision"), self._entriesAfter, end, self._mark.read())

    # --- reading

    def since(self, revision: int, limit: int) -> Sequence[Entry]:
        requireHistory(revision, self._base)
        with _readable(self.path), closing(self._entriesAfter(revision)) as entries:
            return list(bounded(entries, limit))

    def entry(self, revision: int) -> Entry | None:
        with _readable(self.path), closing(self._entriesAfter(revision - 1)) as entries:
            return next(entries, None)

    def _entriesAfter(self, revision: int) -> Generator[Entry]:
        """Every later entry. A reader that was left half-way would keep the log from being brought into the file."""
        for row, body, chainHash in self._connection.execute(
            "SELECT revision, body, chainHash FROM entries WHERE revision > ? ORDER BY revision", (revision,)
        ):
            entry = Entry.fromBody(_bytes(body), _bytes(chainHash))
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
            yield Snapshot(epoch, revision, _bytes(chainHash), _bytes(data), _bytes(sha256))

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

    def maintain(self) -> None:
        """Bring the log back into the file, and store a snapshot where folding from the last one has become slow."""
        if self._failed:
            return
        if self._bytesSince > _SNAPSHOT_BYTES or self.head.revision - self._snapshot > _SNAPSHOT_ENTRIES:
            with self._transaction():
                self._writeSnapshot(snapshotOf(self.head))
                self._connection.execute(
                    "DELETE FROM snapshots WHERE revision NOT IN (?, ?)", (self._base, self.head.revision)
                )
            self._noteSnapshots()
        if _size(self.path + "-wal") > _LOG_BYTES:
            self._checkpoint()

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
        if revision == self.head.revision:
            return snapshotOf(self.head)
        with _readable(self.path):
            start = self._snapshotAt("WHERE revision <= ? ORDER BY revision DESC LIMIT 1", revision)
            assert start is not None
            if start.revision == revision:
                return start
            with closing(self._entriesAfter(start.revision)) as entries:
                return snapshotOf(folded(headOf(start), islice(entries, revision - start.revision)))

    def close(self) -> None:
        try:
            if not self._failed:
                self.maintain()
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
            if _code(error) in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
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
            if _code(error) == sqlite3.SQLITE_FULL:
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


# --- the file


def _create(path: str) -> None:
    """Make an empty journal, whole or not at all: an empty or half-made file is never taken for a new journal."""
    if os.path.exists(path + "-wal"):
        raise JournalDamaged(f"{path} is gone, but its log is there")
    new = path + ".new"
    for leftover in (new, new + "-journal"):
        if os.path.exists(leftover):
            os.unlink(leftover)
    os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(new, isolation_level=None)
    try:
        connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
        connection.execute("PRAGMA synchronous=EXTRA")
        _upgrade(path, connection)
        empty = snapshotOf(START)
        connection.execute("BEGIN")
        connection.execute("INSERT INTO head VALUES (1, 0, ?)", (START.chainHash,))
        connection.execute("INSERT INTO snapshots VALUES (0, 0, ?, ?, ?)", (empty.chainHash, empty.data, empty.sha256))
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise ClusterError(f"cannot make the journal {path}: {error}") from None
    finally:
        connection.close()
    os.replace(new, path)
    folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _connect(path: str) -> sqlite3.Connection:
    with _readable(path):
        connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            connection.text_factory = bytes
            for pragma in ("locking_mode=EXCLUSIVE", "cell_size_check=ON", "trusted_schema=OFF"):
                connection.execute(f"PRAGMA {pragma}")
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            if application != _APPLICATION_ID:
                raise JournalDamaged(f"{path} is not a journal: its header is damaged or of something else")
            # Exclusive already, so that the log's index is private memory and a second process is refused at once.
            if connection.execute("PRAGMA journal_mode=WAL").fetchone() != (b"wal",):
                raise ClusterError(f"cannot use the journal {path}: it cannot be written")
            for pragma in ("synchronous=FULL", "wal_autocheckpoint=0"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection


def _upgrade(path: str, connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(UPGRADES):
        raise NewerFormat(f"{path} has format {version}; this version of cftpcluster knows up to {len(UPGRADES)}")
    for number, statements in enumerate(UPGRADES[version:], version + 1):
        connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={number}")
        connection.execute("COMMIT")


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """What reading can meet, in the terms of a journal."""
    try:
        yield
    except sqlite3.OperationalError as error:
        code = _code(error)
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise JournalLocked(f"the journal {path} is in use by another process") from None
        if code in _UNUSABLE and error.sqlite_errorcode != sqlite3.SQLITE_IOERR_SHORT_READ:
            raise ClusterError(f"cannot use the journal {path}: {error}") from None
        raise JournalDamaged(f"{path}: {error}") from None
    except sqlite3.Error as error:
        raise JournalDamaged(f"{path}: {error}") from None
    except ChainMismatch as error:
        raise JournalDamaged(f"{path}: {error}") from None
    except (Invalid, _NotBytes) as error:
        raise JournalDamaged(f"{path}: {error}") from None


class _NotBytes(Exception):
    """A column holds what nobody stored."""


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise _NotBytes("an entry or snapshot is not stored as bytes")
    return value


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
