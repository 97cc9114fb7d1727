"""The SQLite file of a journal: made, opened, upgraded, and its errors in the terms of a journal.

What is stored in it, and what follows from that, is not known here.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .._version import __version__
from ..errors import ChainMismatch, ClusterError, Invalid, JournalDamaged, JournalLocked, NewerFormat
from ._fold import START, snapshotOf

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

MOST_SET_ASIDE = 5
"""How many damaged journals are kept; a further one takes the place of the last."""

_APPLICATION_ID = 0x43465450
# Errors of the disk or of permissions, which say nothing about what is stored.
_UNUSABLE = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


def create(path: str) -> None:
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
        upgrade(path, connection)
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


def setAside(path: str) -> str:
    """Put the files of a damaged journal beside, for whoever wants to look at them; the answer is where."""
    places = [f"{path}.damaged-{number}" for number in range(1, MOST_SET_ASIDE + 1)]
    aside = next((place for place in places if not os.path.exists(place)), places[-1])
    # Broken off anywhere, what is left opens as damaged again, never as an older journal.
    for ending in ("", "-head", "-wal"):
        if os.path.exists(path + ending):
            os.replace(path + ending, aside + ending)
    return aside


def connect(path: str) -> sqlite3.Connection:
    """Open the file for this process alone."""
    with readable(path):
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


def upgrade(path: str, connection: sqlite3.Connection) -> None:
    """Bring the schema to this version's, each step whole."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(UPGRADES):
        raise NewerFormat(
            f"{path} has format {version}, of a newer version; cftpcluster {__version__} knows up to {len(UPGRADES)}"
        )
    for number, statements in enumerate(UPGRADES[version:], version + 1):
        connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={number}")
        connection.execute("COMMIT")


@contextmanager
def readable(path: str) -> Iterator[None]:
    """What reading can meet, in the terms of a journal."""
    try:
        yield
    except sqlite3.OperationalError as error:
        code = resultCode(error)
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


def blob(value: Any) -> bytes:
    """A column that must hold bytes."""
    if not isinstance(value, bytes):
        raise _NotBytes("an entry or snapshot is not stored as bytes")
    return value


def resultCode(error: sqlite3.Error) -> int:
    """SQLite's primary result code."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF
