"""The state folder of a node: which files lie in it, and that one process at a time uses it.

Knows file names, modes and atomic replacement; not what the files mean to the cluster.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import tempfile
from pathlib import Path

from attrs import define, field

from .errors import ClusterError, JournalLocked

LOCK = "lock"
JOURNAL = "journal.db"
ROWS = "rows.db"
AUDIT = "audit.db"
ADMIN_SOCKET = "admin.sock"
ADMIN_PASSWORD = "initial-admin-password"  # the name of a file, not a password
RESTORING = "restoring"
"""A file that is there while a restore is not done."""

PID_FILE = "cftpcluster.pid"
LOG_FILE = "cftpcluster.log"


def defaultStateDirectory() -> Path:
    """``/var/lib/cftpcluster`` as root, else below the user's state folder (XDG Base Directory Specification)."""
    if os.geteuid() == 0:
        return Path("/var/lib/cftpcluster")
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state") / "cftpcluster"


def writeDurably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put ``data`` at ``path``, whole or not at all, on disk when this returns."""
    descriptor, temporary = tempfile.mkstemp(prefix=path.name + ".", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    syncDirectory(path.parent)


def syncDirectory(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


LONGEST_SOCKET_PATH = 100
"""Bytes; ``sun_path`` of unix(7) holds 108, the end included."""


def socketAddress(path: Path) -> str:
    """A path of a UNIX socket that is short enough to be bound and connected to. A folder with a long name is reached
    through a descriptor, which stays open as long as the process."""
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return str(path)
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{descriptor}/{path.name}"


@define(eq=False)
class StateDirectory:
    """One node's state folder.

    :ivar path: where it is; made, with mode 0700, by :meth:`prepare`.
    """

    path: Path
    _lock: int | None = field(default=None, init=False)

    def prepare(self) -> None:
        """Make the folder and see that it can be used; ``ClusterError`` in one line otherwise."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
                isReadOnly = os.statvfs(self.path).f_flag & os.ST_RDONLY
                number = errno.EROFS if isReadOnly else errno.EACCES
                raise OSError(number, os.strerror(number))
        except OSError as error:
            raise ClusterError(f"cannot use the state folder {self.path}: {error.strerror}") from None

    def lock(self) -> None:
        """Take the folder for this process, until it ends; ``JournalLocked`` when another has it."""
        if self._lock is not None:
            return
        try:
            descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ClusterError(f"cannot use the state folder {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise JournalLocked(
                f"the state folder {self.path} is in use by another cftpcluster"
                + (f" (process {owner})" if owner.isdigit() else "")
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        self._lock = descriptor

    def unlock(self) -> None:
        """Let go of the folder; idempotent."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def locked(self) -> bool:
        """Whether this process has the folder."""
        return self._lock is not None

    @property
    def journal(self) -> Path:
        return self.path / JOURNAL

    @property
    def rows(self) -> Path:
        return self.path / ROWS

    @property
    def audit(self) -> Path:
        return self.path / AUDIT

    @property
    def socket(self) -> Path:
        return self.path / ADMIN_SOCKET

    @property
    def adminPassword(self) -> Path:
        return self.path / ADMIN_PASSWORD

    def read(self, name: str) -> bytes | None:
        """A file's contents; ``None`` when it is not there."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Replace a file, durably, readable by its owner alone."""
        writeDurably(self.path / name, data)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        (self.path / name).unlink(missing_ok=True)
        syncDirectory(self.path)

    def readJSON(self, name: str) -> object:
        """A JSON file's value; ``None`` when it is not there."""
        data = self.read(name)
        return None if data is None else json.loads(data)

    def writeJSON(self, name: str, value: object) -> None:
        """Replace a file by ``value`` as JSON."""
        self.write(name, json.dumps(value).encode("ascii"))

    def sweep(self) -> None:
        """Remove what an interrupted :meth:`write` left."""
        for leftover in self.path.glob("*.new"):
            leftover.unlink(missing_ok=True)
