"""The errors that cross from one layer to another; each says a fact.

A protocol server translates the :class:`FileSystemError` family to the codes of its protocol; nothing here knows one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .vocabulary import Problem


class ClusterError(Exception):
    """An error whose text may be shown to an administrator: it names no secret and ends no sentence."""


# --- the file system


class FileSystemError(Exception):
    """A file operation did not take place. The text may be shown to the user and never names a path of the disk."""

    message = "failure"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.message)


class NotFound(FileSystemError):
    message = "no such file or folder"


class AlreadyExists(FileSystemError):
    message = "exists already"


class PermissionDenied(FileSystemError):
    message = "permission denied"


class PathEscapes(PermissionDenied):
    """A path, or a link on it, leads out of its mount."""

    message = "path leads outside"


class InvalidName(FileSystemError):
    """A name that no file can have, or one that is reserved."""

    message = "not a valid name"


class NotAFolder(FileSystemError):
    message = "not a folder"


class IsAFolder(FileSystemError):
    message = "is a folder"


class FolderNotEmpty(FileSystemError):
    message = "folder is not empty"


class CrossesMounts(FileSystemError):
    message = "source and target lie on different storage"


class OutOfSpace(FileSystemError):
    message = "no space left on the storage"


class QuotaExceeded(OutOfSpace):
    message = "quota exceeded"


class Busy(FileSystemError):
    """Another writer has the file."""

    message = "in use by another upload"


class Unsupported(FileSystemError):
    message = "not supported here"


class StorageMissing(FileSystemError):
    """The backend's storage is not there (its marker is gone, its mount point is empty)."""

    message = "storage is not available"


class StorageFailed(FileSystemError):
    """The storage answered with an input/output error."""

    message = "input/output error"


class Closed(FileSystemError):
    message = "file is closed"


# --- configuration


class Invalid(ClusterError):
    """A document or change was refused; every problem of it is in ``problems``."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class Conflict(ClusterError):
    """Objects have changed since their ``expected`` revisions.

    :ivar moved: (section, name) to the object's present revision; 0 when it is not there.
    """

    def __init__(self, moved: Mapping[tuple[str, str], int]) -> None:
        places = (f"{section}/{name} is at revision {revision}" for (section, name), revision in moved.items())
        super().__init__(", ".join(places))
        self.moved = dict(moved)


class Forbidden(ClusterError):
    """The author's role does not allow this."""


# --- journal


class JournalDamaged(ClusterError):
    """The stored journal does not prove itself. The text names the file and the first bad revision."""


class JournalLocked(ClusterError):
    """Another process has the state folder."""


class JournalReadOnly(ClusterError):
    """A write to the disk failed; nothing is appended until the node is restarted."""


class DiskFull(ClusterError):
    """There was no room for the entry; nothing was appended, and later appends may succeed."""


class NewerFormat(ClusterError):
    """The data was written by a newer version of cftpcluster."""


class HistoryGone(ClusterError):
    """The revisions asked for were compacted away: a snapshot is needed."""


class ChainMismatch(ClusterError):
    """An entry does not follow on what this node has.

    :ivar revision: the first revision that differs.
    """

    def __init__(self, revision: int, message: str) -> None:
        super().__init__(message)
        self.revision = revision


# --- cluster


class NotPrimary(ClusterError):
    """This node may not append.

    :ivar epoch: the epoch that it knows.
    :ivar name: the primary's name, "" when unknown.
    :ivar address: the primary's address, "" when unknown.
    """

    def __init__(self, epoch: int, name: str, address: str) -> None:
        super().__init__(f"the primary is {name or 'unknown'}" + (f" at {address}" if address else ""))
        self.epoch, self.name, self.address = epoch, name, address


class PrimaryUnreachable(ClusterError):
    """The primary cannot be asked; nothing was changed."""


class NotAppending(ClusterError):
    """The primary takes no changes now; the text says why. Nothing was changed."""


class OutcomeUnknown(ClusterError):
    """The link ended after the primary may have committed.

    :ivar requestId: what to ask again by.
    """

    def __init__(self, requestId: str) -> None:
        super().__init__(f"outcome unknown, request {requestId}")
        self.requestId = requestId


class NotDurableEnough(ClusterError):
    """The change stands, but fewer followers than ``synchronousFollowers`` have it.

    :ivar revision: its revision.
    :ivar durableOn: the names of the nodes that have it.
    """

    def __init__(self, revision: int, durableOn: Sequence[str]) -> None:
        super().__init__(f"revision {revision} is durable only on {', '.join(durableOn)}")
        self.revision, self.durableOn = revision, tuple(durableOn)


class Refused(ClusterError):
    """A node or token was refused; the text says why."""


class SnapshotNeeded(ClusterError):
    """A follower's position cannot be served from the journal."""
