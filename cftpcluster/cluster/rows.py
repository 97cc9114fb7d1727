"""Keeps the durable ones of the rows that nodes share in an SQLite file, so that a restart loses none of them.

What is on disk is at most some hundredths of a second behind what is in memory. The file is a copy, and the other nodes
have more of them: where it is damaged it is set aside, and where it cannot be written the node goes on without it and
says so. On disk a row's end is a time of day, since no other clock outlives the process; no clock that was set wrong
makes a row last longer than it had left when it was written there.

What rows mean, and how they travel, is not known here.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self, TypeAlias

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from ..config.codec import canonical, parse
from ..errors import ClusterError, Invalid, Refused
from .records import Record, RowId, recordFromPlain
from .shared import SharedRows

log = Logger()

COMMIT_SECONDS = 0.05
"""Commits begin at least so far apart; what changes meanwhile is written together."""

RETRY_SECONDS = 10.0
MOST_COMMITTED = 1000
"""How many rows are written at once, so that encoding them does not hold up the reactor."""

_APPLICATION_ID = 0x43465452
_FORMAT = 1
_SCHEMA = (
    "CREATE TABLE rows (id BLOB PRIMARY KEY, body BLOB NOT NULL, expires REAL NOT NULL) WITHOUT ROWID",
    "CREATE TABLE incarnation (id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL)",
    "INSERT INTO incarnation VALUES (1, 0)",
    f"PRAGMA application_id={_APPLICATION_ID}",
    f"PRAGMA user_version={_FORMAT}",
)
# Errors of the disk or of permissions, which say nothing about what is stored.
_UNUSABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}

Kept: TypeAlias = tuple[bytes, float]
"""A record in its plain form, and the time of day when it expires."""


class _Damaged(Exception):
    """The file does not hold what was written."""


@define(eq=False)
class RowsFile:
    """The file, as its thread sees it; every method blocks."""

    _path: str
    _connection: sqlite3.Connection

    @classmethod
    def open(cls, path: str, now: float) -> tuple[Self, int, Sequence[Kept]]:
        """Open the file, or make it; with the number of this start, and what was kept and has not expired."""
        try:
            try:
                return cls._opened(path, now)
            except _Damaged as damage:
                setAside(path, str(damage))
                return cls._opened(path, now)
        except (sqlite3.Error, OSError) as error:
            raise ClusterError(f"cannot use {path}: {error}") from None

    @classmethod
    def _opened(cls, path: str, now: float) -> tuple[Self, int, Sequence[Kept]]:
        connection = _connect(path)
        try:
            connection.execute("BEGIN IMMEDIATE")
            ((number,),) = connection.execute("SELECT number FROM incarnation").fetchall()
            # The time of day, so that a node that lost its file is beyond what it has been before.
            incarnation = max(int(number) + 1, int(now))
            connection.execute("UPDATE incarnation SET number = ?", (incarnation,))
            connection.execute("DELETE FROM rows WHERE expires <= ?", (now,))
            kept = connection.execute("SELECT body, expires FROM rows").fetchall()
            connection.execute("COMMIT")
            if not all(isinstance(body, bytes) and isinstance(expires, float) for body, expires in kept):
                raise _Damaged("a row is not stored as one")
        except (sqlite3.Error, ValueError, TypeError) as error:
            connection.close()
            raise _judged(error) from None
        except BaseException:
            connection.close()
            raise
        return cls(path, connection), incarnation, kept

    def commit(self, changes: Mapping[bytes, Kept | None], incarnation: int) -> None:
        """Write these rows, and remove those that are ``None``, durably. Where the file turns out to be damaged, an
        empty one is in its place afterwards, and the commit fails."""
        removed = [(key,) for key, kept in changes.items() if kept is None]
        written = [(key, *kept) for key, kept in changes.items() if kept is not None]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("DELETE FROM rows WHERE id = ?", removed)
            self._connection.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", written)
            self._connection.execute("UPDATE incarnation SET number = ?", (incarnation,))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            judged = _judged(error)
            if isinstance(judged, _Damaged):
                self._connection.close()
                setAside(self._path, str(judged))
                self._connection = _connect(self._path)
            raise ClusterError(f"{self._path}: {error}") from None

    def close(self) -> None:
        self._connection.close()


def setAside(path: str, why: str) -> None:
    """Keep a damaged file under another name, for whoever wants to look at it."""
    log.error("{path} is damaged ({why}) and set aside; the other nodes know its rows", path=path, why=why)
    os.replace(path, path + ".damaged")
    for leftover in (path + "-wal", path + "-shm", path + "-journal"):
        with suppress(FileNotFoundError):
            os.unlink(leftover)


def _connect(path: str) -> sqlite3.Connection:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        empty = not os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        for pragma in ("locking_mode=EXCLUSIVE", "trusted_schema=OFF", "journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")
        if empty:
            connection.execute("BEGIN EXCLUSIVE")
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("COMMIT")
        identity = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        if identity != [_APPLICATION_ID, _FORMAT]:
            raise _Damaged("its header is damaged, or of another version")
        ((verdict,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
        if verdict != "ok":
            raise _Damaged("its pages are damaged")
    except sqlite3.Error as error:
        connection.close()
        raise _judged(error) from None
    except BaseException:
        connection.close()
        raise
    return connection


def _judged(error: Exception) -> Exception:
    """A damaged file, or the error as it is where it says nothing about what is stored."""
    # Python itself raises some of its database errors without a code.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return error if code in _UNUSABLE else _Damaged(str(error))


@define(eq=False)
class RowsKeeper:
    """Writes durable rows as they change: one commit at a time, each with all that has changed until then.

    :ivar incarnation: the number of this start, higher than at every start before.
    :ivar problem: why rows are not kept at present; "" when all is well.
    :ivar pool: a pool of one thread, for this alone.
    """

    _file: RowsFile
    incarnation: int
    _kept: Sequence[Kept]
    _reactor: Any
    _pool: ThreadPool
    _wallTime: Callable[[], float]
    problem: str = field(default="", init=False)
    _rows: SharedRows | None = field(default=None, init=False)
    _end: Callable[[], None] = field(default=lambda: None, init=False)
    _dirty: dict[RowId, None] = field(factory=dict, init=False)
    _writing: Deferred[None] | None = field(default=None, init=False)
    _next: IDelayedCall | None = field(default=None, init=False)
    _began: float = field(default=float("-inf"), init=False)
    _closed: bool = field(default=False, init=False)

    @classmethod
    def open(cls, path: str, reactor: Any, pool: ThreadPool, wallTime: Callable[[], float]) -> Deferred[Self]:
        """Open the file, or make it; ``ClusterError`` where the disk does not let it be used."""

        async def opened() -> Self:
            file, incarnation, kept = await deferToThreadPool(reactor, pool, RowsFile.open, path, wallTime())
            return cls(file, incarnation, kept, reactor, pool, wallTime)

        return Deferred.fromCoroutine(opened())

    def keep(self, rows: SharedRows) -> None:
        """Give ``rows`` what was kept, and keep them from now on."""
        rows.load(self._records())
        self._kept, self._rows = (), rows
        self._end = rows.listen(self._changed)

    def close(self) -> Deferred[None]:
        """Write what is left, then let go of the file; idempotent."""
        if self._closed:
            return succeed(None)
        self._closed = True
        self._end()
        return Deferred.fromCoroutine(self._close())

    def _records(self) -> Iterable[Record]:
        now, wallNow = self._reactor.seconds(), self._wallTime()
        for body, expires in self._kept:
            try:
                plain = parse(body)
                if isinstance(plain, list) and len(plain) > 5 and isinstance(plain[5], int | float):
                    gone = max(0.0, plain[5] - max(0.0, expires - wallNow))
                    plain[5:] = [plain[5] - gone, *plain[6:7], *(max(0.0, each - gone) for each in plain[7:8])]
                yield recordFromPlain(plain, now)
            except (Invalid, Refused) as error:
                log.warn("a row on disk cannot be read: {why}", why=str(error))

    # --- writing

    def _changed(self, id: RowId) -> None:
        assert self._rows is not None
        if self._rows.isDurable(id[0]):
            self._dirty[id] = None
            self._wake(max(0.0, self._began + COMMIT_SECONDS - self._reactor.seconds()))

    def _wake(self, seconds: float) -> None:
        if self._writing is None and self._next is None and not self._closed:
            self._next = self._reactor.callLater(seconds, self._begin)

    def _begin(self) -> None:
        self._next, self._began = None, self._reactor.seconds()
        self._writing = Deferred.fromCoroutine(self._write())
        _ = self._writing.addErrback(lambda failure: log.failure("rows were not kept", failure=failure))
        _ = self._writing.addCallback(self._written)

    def _written(self, _: object) -> None:
        self._writing = None
        if self._dirty:
            self._wake(RETRY_SECONDS if self.problem else COMMIT_SECONDS)

    async def _write(self) -> None:
        rows = self._rows
        assert rows is not None
        try:
            await deferToThreadPool(self._reactor, self._pool, self._file.commit, self._taken(rows), rows.incarnation)
            if self.problem:
                log.info("the rows that nodes share are kept on disk again")
            self.problem = ""
        except ClusterError as error:
            if not self.problem:
                log.error("the rows that nodes share are not kept on disk: {why}", why=str(error))
            self.problem = f"shared rows are not kept on disk: {error}"
            # Nobody knows what the file has now.
            self._dirty.update((each, None) for each in rows.ids() if rows.isDurable(each[0]))

    def _taken(self, rows: SharedRows) -> dict[bytes, Kept | None]:
        """The newest of some of the rows that have changed."""
        now, wallNow = self._reactor.seconds(), self._wallTime()
        changes: dict[bytes, Kept | None] = {}
        while self._dirty and len(changes) < MOST_COMMITTED:
            rowId = next(iter(self._dirty))
            del self._dirty[rowId]
            record = rows.record(rowId)
            changes[canonical(rowId)] = (
                None if record is None else (record.plain(now), wallNow + max(0.0, record.expires - now))
            )
        return changes

    async def _close(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._writing is not None:
            await self._writing
        while self._dirty and not self.problem:
            await self._write()
        await deferToThreadPool(self._reactor, self._pool, self._file.close)
