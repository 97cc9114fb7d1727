"""The packets of SFTP, version 3 (draft-ietf-secsh-filexfer-02; OpenSSH's PROTOCOL section 4), as values and bytes.

Pure: knows neither a channel nor a file system.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve, frozen

from ...errors import (
    FileSystemError,
    NotAFolder,
    NotFound,
    PermissionDenied,
    Unsupported,
)
from ...files.paths import NAME_LIMIT_BYTES, encode
from ...vocabulary import Attributes, Entry, Kind, Space, Stat
from .wire import Pieces, Reader, string, uint32, uint64

VERSION = 3

INIT, VERSION_REPLY = 1, 2
OPEN, CLOSE, READ, WRITE = 3, 4, 5, 6
LSTAT, FSTAT, SETSTAT, FSETSTAT = 7, 8, 9, 10
OPENDIR, READDIR, REMOVE, MKDIR, RMDIR = 11, 12, 13, 14, 15
REALPATH, STAT, RENAME, READLINK, SYMLINK = 16, 17, 18, 19, 20
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
EXTENDED, EXTENDED_REPLY = 200, 201

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE = 0, 1, 2, 3, 4, 5
OP_UNSUPPORTED = 8

FLAG_READ, FLAG_WRITE, FLAG_APPEND, FLAG_CREATE, FLAG_TRUNCATE, FLAG_EXCLUSIVE = 1, 2, 4, 8, 16, 32

HAS_SIZE, HAS_OWNER, HAS_MODE, HAS_TIMES, HAS_EXTENDED = 1, 2, 4, 8, 0x80000000

LONGEST_PACKET = 256 * 1024 + 1024
LONGEST_DATA = 256 * 1024
LONGEST_NAMES = 64 * 1024
NAMES_LIMIT = 100

_TYPE_BITS: Mapping[Kind, int] = {
    Kind.file: 0o100000,
    Kind.folder: 0o040000,
    Kind.link: 0o120000,
    Kind.other: 0o140000,
}
_TYPE_LETTERS: Mapping[Kind, str] = {Kind.file: "-", Kind.folder: "d", Kind.link: "l", Kind.other: "s"}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HALF_A_YEAR_SECONDS = 182 * 86400
_LARGEST_TIME = 0xFFFFFFFF


LARGEST_OFFSET = (1 << 63) - 1

OWNER = 0
"""User and group of every file, as far as a client is told: sshfs takes whoever owns the root for its own user."""


class TooLarge(FileSystemError):
    message = "offset or size is too large"


class Unframed(Exception):
    """The stream of packets cannot be followed any further."""


class Frames:
    """Cuts a stream into packets, without copying those that arrive in one piece.

    A packet is everything after its length: type, request id, body.
    """

    def __init__(self) -> None:
        self._pieces = Pieces()
        self._length: int | None = None

    def feed(self, piece: memoryview) -> None:
        self._pieces.append(piece)

    @property
    def isAmidPacket(self) -> bool:
        """Whether the beginning of a packet is there, while :meth:`next` gives nothing."""
        return bool(self._pieces) or self._length is not None

    def next(self) -> memoryview | None:
        """The next packet, if it is there whole; ``Unframed``."""
        length = self._length
        if length is None:
            if len(self._pieces) < 4:
                return None
            self._length = length = int.from_bytes(self._pieces.take(4), "big")
            if not 5 <= length <= LONGEST_PACKET:
                raise Unframed
        if len(self._pieces) < length:
            return None
        self._length = None
        return self._pieces.take(length)

    def clear(self) -> None:
        """Forget what has not been cut."""
        self._pieces.clear()


# --- answers, each complete with its length


def _packet(type: int, requestId: int, body: bytes) -> bytes:
    return struct.pack(">IBI", len(body) + 5, type, requestId) + body


def versionReply(extensions: Iterable[tuple[bytes, bytes]]) -> bytes:
    body = uint32(VERSION) + b"".join(string(name) + string(value) for name, value in extensions)
    return struct.pack(">IB", len(body) + 1, VERSION_REPLY) + body


def status(requestId: int, code: int, message: str = "") -> bytes:
    text = (message or _STATUS_TEXTS.get(code, "")).encode("utf-8", "replace")
    return _packet(STATUS, requestId, uint32(code) + string(text) + string(b"en"))


_STATUS_TEXTS: Mapping[int, str] = {
    OK: "Success",
    EOF: "End of file",
    NO_SUCH_FILE: "No such file",
    PERMISSION_DENIED: "Permission denied",
    FAILURE: "Failure",
    BAD_MESSAGE: "Bad message",
    OP_UNSUPPORTED: "Operation unsupported",
}


def handleReply(requestId: int, handle: bytes) -> bytes:
    return _packet(HANDLE, requestId, string(handle))


def dataHead(requestId: int, length: int) -> bytes:
    """All of a DATA packet but the data."""
    return struct.pack(">IBII", length + 9, DATA, requestId, length)


def attributesReply(requestId: int, stat: Stat) -> bytes:
    return _packet(ATTRS, requestId, encodeAttributes(stat))


def extendedReply(requestId: int, body: bytes) -> bytes:
    return _packet(EXTENDED_REPLY, requestId, body)


def nameReply(requestId: int, names: Sequence[bytes]) -> bytes:
    """``names`` are made by :func:`encodeEntry` and :func:`encodeName`."""
    return _packet(NAME, requestId, uint32(len(names)) + b"".join(names))


def errorReply(requestId: int, error: FileSystemError) -> bytes:
    return status(requestId, _codeOf(error), str(error))


def _codeOf(error: FileSystemError) -> int:
    if isinstance(error, (NotFound, NotAFolder)):
        return NO_SUCH_FILE
    if isinstance(error, PermissionDenied):
        return PERMISSION_DENIED
    if isinstance(error, Unsupported):
        return OP_UNSUPPORTED
    return FAILURE


# --- attributes and names


@frozen
class Changes:
    """Attributes that a client sent.

    :ivar owner: whether it sent another owner than there is, which nobody can change here.
    """

    attributes: Attributes
    owner: bool


def readAttributes(request: Reader) -> Changes:
    flags = request.uint32()
    size = request.uint64() if flags & HAS_SIZE else None
    owners = {request.uint32(), request.uint32()} if flags & HAS_OWNER else {OWNER}
    mode = request.uint32() & 0o777 if flags & HAS_MODE else None
    accessed = float(request.uint32()) if flags & HAS_TIMES else None
    modified = float(request.uint32()) if flags & HAS_TIMES else None
    if flags & HAS_EXTENDED:
        for _ in range(request.uint32()):
            request.view(), request.view()
    return Changes(Attributes(size=size, mode=mode, accessed=accessed, modified=modified), owners != {OWNER})


def readChanges(request: Reader) -> Attributes:
    """What is to be set; ``TooLarge``, ``PermissionDenied``."""
    changes = readAttributes(request)
    attributes = changes.attributes
    if attributes.size is not None and attributes.size > LARGEST_OFFSET:
        raise TooLarge
    if changes.owner and attributes == Attributes():
        raise PermissionDenied("owners cannot be changed")
    return attributes


def checkRange(offset: int, length: int) -> None:
    """Refuse a part of a file that no file can have."""
    if offset > LARGEST_OFFSET - length:
        raise TooLarge


def encodeAttributes(stat: Stat) -> bytes:
    mode = _TYPE_BITS[stat.kind] | stat.mode & 0o7777
    return _ATTRIBUTES.pack(
        HAS_SIZE | HAS_OWNER | HAS_MODE | HAS_TIMES,
        stat.size,
        OWNER,
        OWNER,
        mode,
        _time(stat.accessed),
        _time(stat.modified),
    )


_ATTRIBUTES = struct.Struct(">IQIIIII")


def _time(seconds: float) -> int:
    return int(min(max(seconds, 0), _LARGEST_TIME))


def encodeName(path: str) -> bytes:
    """A path as the answer to REALPATH and READLINK: without attributes."""
    raw = string(encode(path))
    return raw + raw + uint32(0)


def encodeEntry(entry: Entry, now: float) -> bytes:
    """A name of a folder, with the line that ``ls -l`` would show."""
    raw = encode(entry.name)
    # A client that removes a folder with all that is in it must see that a link is one, and not enter it.
    stat = evolve(entry.stat, kind=Kind.link, mode=0o777) if entry.link else entry.stat
    return string(raw) + string(_longName(stat, now) + raw) + encodeAttributes(stat)


def _longName(stat: Stat, now: float) -> bytes:
    letters = "".join(letter if stat.mode & 1 << 8 - at else "-" for at, letter in enumerate("rwxrwxrwx"))
    moment = time.gmtime(_time(stat.modified))
    recent = now - _HALF_A_YEAR_SECONDS < stat.modified <= now + 86400
    when = f"{moment.tm_hour:02}:{moment.tm_min:02}" if recent else f"{moment.tm_year:5}"
    day = f"{_MONTHS[moment.tm_mon - 1]} {moment.tm_mday:2} {when}"
    return f"{_TYPE_LETTERS[stat.kind]}{letters} {stat.links:4} user     group    {stat.size:12} {day} ".encode("ascii")


def encodeLimits(handles: int) -> bytes:
    """The answer to ``limits@openssh.com``."""
    return uint64(LONGEST_DATA) + uint64(LONGEST_DATA - 1024) + uint64(LONGEST_DATA - 1024) + uint64(handles)


def encodeRoom(space: Space) -> bytes:
    """The answer to ``space-available``; what has no bound, or is not known, is 0."""
    total, free = space.totalBytes or 0, space.freeBytes or 0
    return uint64(total) + uint64(free) + uint64(total) + uint64(free) + uint32(_STORAGE_BLOCK)


_STORAGE_BLOCK = 4096
_UNBOUNDED_BYTES = 1 << 60
_UNBOUNDED_FILES = 1 << 32


def encodeSpace(space: Space) -> bytes:
    """The answer to ``statvfs@openssh.com``; what has no bound is shown as very large."""
    total = _UNBOUNDED_BYTES if space.totalBytes is None else space.totalBytes
    free = total if space.freeBytes is None else space.freeBytes
    files = _UNBOUNDED_FILES if space.totalFiles is None else space.totalFiles
    freeFiles = files if space.freeFiles is None else space.freeFiles
    blocks, freeBlocks = total // _STORAGE_BLOCK, free // _STORAGE_BLOCK
    sizes = (_STORAGE_BLOCK, _STORAGE_BLOCK, blocks, freeBlocks, freeBlocks, files, freeFiles, freeFiles)
    identity, flags = 0, 0
    return b"".join(map(uint64, (*sizes, identity, flags, NAME_LIMIT_BYTES)))
