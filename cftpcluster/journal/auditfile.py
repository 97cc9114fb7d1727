"""The file of the audit log, as threads see it: what is written, trimmed and looked for in SQLite.

Every call blocks. Nothing here knows who writes, or what the records mean.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, Self
from urllib.parse import quote

from attrs import define, evolve, frozen
from twisted.logger import Logger

from ..config.codec import canonical, parse
from ..errors import ClusterError, Invalid
from ..events import EventsLost

log = Logger()

MOST_TRIMMED = 5000
"""So many records go at once, so that no commit takes long."""

ANSWER_BYTES = 200_000
READ_SECONDS = 4.0
"""How long one question may be looked for."""

NEWEST = 2**53 - 1
LOST = EventsLost.__name__

_APPLICATION_ID = 0x43464155
_FORMAT = 1
_SCHEMA = (
    "CREATE TABLE events (id INTEGER PRIMARY KEY, kind TEXT, user BLOB, address TEXT, path BLOB, body BLOB NOT NULL)",
    "CREATE INDEX byKind ON events (kind, id)",
    "CREATE INDEX byUser ON events (user, id) WHERE user IS NOT NULL",
    "CREATE INDEX byAddress ON events (address, id) WHERE address IS NOT NULL",
    f"PRAGMA application_id={_APPLICATION_ID}",
    f"PRAGMA user_version={_FORMAT}",
)
_UNUSABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
"""Errors of the disk or of permissions, which say nothing about what is stored."""


@frozen(kw_only=True)
class Question:
    """Which records are asked for. Texts that are empty, and numbers that are ``None``, ask for nothing.

    :ivar kinds: any of these.
    :ivar path: this file or folder, and what is beneath it.
    :ivar text: anywhere in the record, whatever the case of its ASCII letters.
    :ivar since: from this id on.
    :ivar until: before this id.
    :ivar beyond: the oldest first, after this id, and with them what was let go of, whatever else is asked for; else
        the newest come first. :data:`NEWEST` finds nothing, and says where what comes will begin.
    """

    kinds: tuple[str, ...] = ()
    user: str = ""
    address: str = ""
    protocol: str = ""
    session: str = ""
    path: str = ""
    text: str = ""
    since: int | None = None
    until: int | None = None
    beyond: int | None = None
    limit: int = 100

    def condition(self) -> tuple[str, list[Any]]:
        """As SQL, with its parameters."""
        parts: list[tuple[str, list[Any]]] = []
        if self.kinds:
            parts.append((f"kind IN ({','.join('?' * len(self.kinds))})", list(self.kinds)))
        if self.user:
            parts.append(("user = ?", [_bytes(self.user)]))
        if self.address:
            parts.append(("address = ?", [self.address]))
        for key, value in (("protocol", self.protocol), ("session", self.session)):
            if value:
                parts.append(("instr(body, ?)", [canonical({key: value})[1:-1]]))
        if self.path:
            path = _bytes(self.path.rstrip("/"))
            parts.append(("(path = ? OR substr(path, 1, ?) = ?)", [path or b"/", len(path) + 1, path + b"/"]))
        if self.text:
            needle = json.dumps(self.text)[1:-1].lower()
            parts.append(("instr(lower(CAST(body AS TEXT)), ?)", [needle]))
        if self.beyond is not None and parts:
            about = " AND ".join(part for part, _ in parts)
            parts = [(f"(({about}) OR kind = ?)", [*(each for _, values in parts for each in values), LOST])]
        for comparison, number in ((">=", self.since), ("<", self.until), (">", self.beyond)):
            if number is not None:
                parts.append((f"id {comparison} ?", [number]))
        return " AND ".join(part for part, _ in parts) or "1", [each for _, values in parts for each in values]


@frozen
class Found:
    """What was found.

    :ivar isWhole: whether nothing more fits the question.
    :ivar upTo: with ``beyond``: everything until this id was looked at.
    :ivar oldest: the id of the oldest record that is still kept; 0 where there is none.
    """

    records: Sequence[Mapping[str, Any]]
    isWhole: bool
    upTo: int = 0
    oldest: int = 0


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


class _Damaged(Exception):
    """The file does not hold what was written."""


@define(eq=False)
class AuditFile:
    """The file, as threads see it; every method blocks. Writing is for one thread at a time, reading for any."""

    path: str
    _connection: sqlite3.Connection
    newest: int

    @classmethod
    def open(cls, path: str) -> Self:
        """Open the file, or make it; a damaged one is set aside."""
        try:
            try:
                return cls._opened(path)
            except _Damaged as damage:
                _setAside(path, str(damage))
                return cls._opened(path)
        except (sqlite3.Error, OSError) as error:
            raise ClusterError(f"cannot use {path}: {error}") from None

    @classmethod
    def _opened(cls, path: str) -> Self:
        connection = _connect(path)
        try:
            ((newest,),) = connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchall()
        except sqlite3.Error as error:
            connection.close()
            raise _judged(error) from None
        return cls(path, connection, int(newest))

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Write records, durably; ``ClusterError`` where they are not. A file that turns out to be damaged is replaced
        by an empty one first."""
        rows = [
            (
                each["id"],
                each["kind"],
                *(_bytes(each["user"]) if "user" in each else None, each.get("address")),
                _bytes(each["path"]) if "path" in each else None,
                canonical(each),
            )
            for each in records
        ]
        self._transaction(lambda: self._connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", rows))

    def trim(self, oldest: int, mostBytes: int) -> bool:
        """Remove some of what is older than ``oldest``, or too much; answers whether there is more of that."""
        removed = 0

        def remove() -> None:
            nonlocal removed
            removed = self._connection.execute(
                "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id < ? ORDER BY id LIMIT ?)",
                (NEWEST if self._usedBytes() > mostBytes else oldest, MOST_TRIMMED),
            ).rowcount

        self._transaction(remove)
        if removed:
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA incremental_vacuum").fetchall()
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return removed >= MOST_TRIMMED or (removed > 0 and self._usedBytes() > mostBytes)

    def _usedBytes(self) -> int:
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _transaction(self, work: Callable[[], Any]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            work()
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            judged = _judged(error)
            if isinstance(judged, _Damaged):
                self._connection.close()
                _setAside(self.path, str(judged))
                self._connection = _connect(self.path)
            raise ClusterError(f"{self.path}: {error}") from None

    def read(self, question: Question) -> Found:
        """Look for records; ``ClusterError`` where that fails, or takes too long."""
        until = time.monotonic() + READ_SECONDS
        where, parameters = question.condition()
        forward = question.beyond is not None
        try:
            with closing(sqlite3.connect(f"file:{quote(self.path)}?mode=ro", uri=True, timeout=1)) as connection:
                connection.set_progress_handler(lambda: time.monotonic() > until, 20_000)
                connection.execute("BEGIN")
                ends = "SELECT (SELECT min(id) FROM events), (SELECT max(id) FROM events)"
                oldest, newest = (end or 0 for end in connection.execute(ends).fetchone())
                order = "ASC" if forward else "DESC"
                if question.beyond is not None and question.beyond > newest:
                    return Found((), True, newest, oldest)
                rows = connection.execute(
                    f"SELECT id, body FROM events WHERE {where} ORDER BY id {order} LIMIT ?",  # noqa: S608 - own words
                    [*parameters, question.limit + 1],
                )
                return evolve(self._found(rows, question, newest), oldest=oldest)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                raise ClusterError(f"looking took more than {READ_SECONDS:g} s; ask for a shorter time") from None
            raise ClusterError(f"the audit log cannot be read: {error}") from None

    def _found(self, rows: sqlite3.Cursor, question: Question, newest: int) -> Found:
        records: list[Mapping[str, Any]] = []
        size = 0
        for _id, body in rows:
            size += len(body)
            if records and (len(records) >= question.limit or size > ANSWER_BYTES):
                return Found(records, False, records[-1]["id"])
            try:
                records.append(parse(body))
            except Invalid:
                raise ClusterError("the audit log is damaged") from None
        return Found(records, True, newest)

    def close(self) -> None:
        self._connection.close()


def _setAside(path: str, why: str) -> None:
    log.error("the audit log {path} is damaged ({why}) and set aside; a new one begins", path=path, why=why)
    os.replace(path, f"{path}.damaged-{int(time.time())}")
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
        if empty:
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        for pragma in ("trusted_schema=OFF", "journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")
        if empty:
            connection.execute("BEGIN EXCLUSIVE")
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("COMMIT")
        identity = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        if identity != [_APPLICATION_ID, _FORMAT]:
            raise _Damaged("its header is damaged, or of another version")
    except sqlite3.Error as error:
        connection.close()
        raise _judged(error) from None
    except BaseException:
        connection.close()
        raise
    return connection


def _judged(error: sqlite3.Error) -> Exception:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return error if code in _UNUSABLE else _Damaged(str(error))
