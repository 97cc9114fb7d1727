"""The values that the interfaces' arguments and results are made of.

Pure values: nothing here knows Twisted, a protocol or a disk.

A *virtual path* is a plain tuple of names below the user's root, ``()`` being the root itself. Names are ``str``
decoded from UTF-8 with ``surrogateescape``, so that every byte string a disk can hold has exactly one name. Only
:mod:`cftpcluster.files.paths` makes virtual paths from what a client sent.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from typing import Any, TypeAlias

from attrs import field, frozen

VirtualPath: TypeAlias = tuple[str, ...]


class Kind(enum.Enum):
    """What a name stands for. ``other`` is a device, socket or FIFO: listed, never opened."""

    file = "file"
    folder = "folder"
    link = "link"
    other = "other"


class OpenMode(enum.Enum):
    """How :meth:`~cftpcluster.interfaces.IFileSystem.open` opens a file.

    ``read``
        An existing file, for reading.
    ``create``
        A new file; fails with ``AlreadyExists`` where a committed file is, at the opening and again at the commit.
        Nobody else sees it before ``commit``. A kept partial of the same owner is discarded.
    ``replace``
        As ``create``, but an existing file is replaced, whole and at once, by ``commit``.
    ``resume``
        Continues the partial that this owner left where no committed file is; ``NotFound`` without one.
    ``inPlace``
        An existing committed file, for reading and writing; every write is visible at once.
    """

    read = "read"
    create = "create"
    replace = "replace"
    resume = "resume"
    inPlace = "inPlace"


class Permission(enum.Enum):
    """What a mount lets its user do. Copying a file needs ``download`` and ``upload``.

    ``list``
        List folders, and see size, times and mode of what has a name.
    ``download``
        Read files.
    ``upload``
        Create files, and continue one's own broken uploads.
    ``overwrite``
        With ``upload``: replace existing files, append to them or write into them.
    ``delete``
        Remove files and folders.
    ``rename``
        Rename and move within a mount; onto an existing file with ``overwrite``.
    ``mkdir``
        Make folders.
    ``attributes``
        Set times and modes; of a file that the session uploaded itself, ``upload`` is enough.
    ``links``
        Make symbolic and hard links, which never lead beyond the mount.
    """

    list = "list"
    download = "download"
    upload = "upload"
    overwrite = "overwrite"
    delete = "delete"
    rename = "rename"
    mkdir = "mkdir"
    attributes = "attributes"
    links = "links"


@frozen
class Stat:
    """What is known of one file or folder.

    :ivar size: length in bytes; 0 for a folder.
    :ivar modified: time of the last change of its contents, seconds since the epoch.
    :ivar accessed: time of the last access, seconds since the epoch.
    :ivar mode: permission bits as ``chmod`` takes them (no file type).
    :ivar links: number of hard links.
    :ivar identity: equal for equal contents as far as the storage can tell (for ``ETag``); "" when unknown.
    """

    kind: Kind
    size: int = 0
    modified: float = 0.0
    accessed: float = 0.0
    mode: int = 0o644
    links: int = 1
    identity: str = ""


@frozen
class Entry:
    """One name of a folder's listing.

    :ivar link: whether the name is a symbolic link; ``stat`` is then of what it leads to, if it leads anywhere.
    """

    name: str
    stat: Stat
    link: bool = False


@frozen
class Attributes:
    """Attributes to set; ``None`` leaves one as it is. Times are seconds since the epoch."""

    size: int | None = None
    mode: int | None = None
    accessed: float | None = None
    modified: float | None = None


@frozen
class Space:
    """Room on a storage, in bytes and in files; ``None`` where there is no bound."""

    totalBytes: int | None = None
    freeBytes: int | None = None
    totalFiles: int | None = None
    freeFiles: int | None = None


@frozen
class Usage:
    """How much is held: the lengths of files together, and their number."""

    bytes: int = 0
    files: int = 0

    def plus(self, other: Usage) -> Usage:
        return Usage(self.bytes + other.bytes, self.files + other.files)

    def minus(self, other: Usage) -> Usage:
        return Usage(self.bytes - other.bytes, self.files - other.files)


@frozen
class Held:
    """What lies on a storage under one name; ``None`` where there is no such file.

    :ivar committed: the file that others see.
    :ivar partial: what its owner left of an upload, or is uploading.
    """

    committed: Stat | None = None
    partial: Stat | None = None


@frozen
class Origin:
    """Where a log-in comes from.

    :ivar protocol: ``ftp``, ``sftp`` or ``https``, as in a user's ``protocols``.
    :ivar address: the client's IP address, without a port.
    :ivar listener: the name of the listener it came in by.
    :ivar session: an unguessable id of this session, unique in the cluster.
    :ivar software: what the client calls itself; "" when it did not say.
    :ivar lingerSeconds: how long the session counts as live after its log-out; 0 where it ends with that. Over HTTP
        every request is a log-in of its own.
    """

    protocol: str
    address: str
    listener: str
    session: str
    software: str = ""
    lingerSeconds: float = 0.0


def publicId(session: str) -> str:
    """What a session is called where others may read it; nobody can use it as the session."""
    return hashlib.sha256(b"session " + session.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@frozen
class Row:
    """One row that nodes share: written by one node, known to all, and gone when it expires.

    :ivar table: what it is about, such as ``bans``.
    :ivar key: unique within the rows of its table and node.
    :ivar node: who wrote it, and alone may change it.
    :ivar value: plain JSON values by key.
    :ivar expires: when it is gone, by the clock of the process (``IReactorTime.seconds``), not the time of day.
    """

    table: str
    key: str
    node: str
    value: Mapping[str, Any]
    expires: float


@frozen
class Author:
    """Who asks for a change of the configuration.

    :ivar name: the administrator's name, or ``system`` for what a node does of itself.
    :ivar role: ``full``, ``users`` or ``auditor``, as in the document.
    :ivar address: from where: an IP address, or ``socket`` for the administration socket.
    :ivar token: the id of the API token that was used; "" where there was none.
    :ivar tokenLabel: what the administrator calls that token.
    """

    name: str
    role: str
    address: str
    token: str = ""
    tokenLabel: str = ""

    def __str__(self) -> str:
        """As the history names it."""
        return f"{self.name} (token {self.tokenLabel} {self.token})" if self.token else self.name


@frozen
class Problem:
    """One fault of a document or a change.

    :ivar path: where, as an administrator writes it, such as ``users[3].mounts[0].backend``.
    :ivar message: what is wrong, with the value when it helps.
    """

    path: str
    message: str = field()

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message
