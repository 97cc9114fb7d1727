"""The lines of SCP's protocol, as OpenSSH's ``scp`` speaks it (its source is the only specification). Pure.

    T<modified> <microseconds> <accessed> <microseconds>    times of what comes next
    C<mode> <size> <name>                                   a file; its bytes follow, then a NUL
    D<mode> 0 <name>                                        a folder; what is in it follows
    E                                                       the end of the folder
    \\1<text>  \\2<text>                                      something failed; with 2 nothing follows

Each but the errors is answered by a NUL, or by an error.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from attrs import frozen

from ...errors import InvalidName
from ...files.paths import checkName, decode, hasControls
from ...vocabulary import Stat

LONGEST_LINE = 8192
OK = b"\0"
END = b"E\n"
FAILED = 1
FATAL = 2

LARGEST_SIZE = (1 << 63) - 1
LATEST_SECOND = (1 << 40) - 1


class Malformed(Exception):
    """A line that means nothing; the text says why."""


class UnexpectedName(Exception):
    """A name that leads somewhere else."""


@frozen
class Times:
    modified: float
    accessed: float


@frozen
class Begin:
    """:ivar size: of a file; of a folder it means nothing."""

    isFolder: bool
    mode: int
    size: int
    name: str


@frozen
class End:
    pass


@frozen
class Complaint:
    isFatal: bool


Record: TypeAlias = Times | Begin | End | Complaint

_TIMES = re.compile(rb"T(\d{1,13}) (\d{1,6}) (\d{1,13}) (\d{1,6})")
_BEGIN = re.compile(rb"([CD])([0-7]{4}) (\d{1,19}) (.*)", re.DOTALL)


def parse(line: bytes) -> Record:
    """What a line says; ``Malformed``, ``UnexpectedName``, and ``InvalidName`` for a name that no file can have."""
    if line[:1] in {b"\1", b"\2"}:
        return Complaint(line[0] == FATAL)
    if line == b"E":
        return End()
    if line.startswith(b"T"):
        return _times(line)
    match = _BEGIN.fullmatch(line)
    if match is None:
        raise Malformed("expected control record" if line else "unexpected <newline>")
    kind, mode, size, name = match.groups()
    if int(size) > LARGEST_SIZE:
        raise Malformed("size out of range")
    if name in {b"", b".", b".."} or b"/" in name or b"\0" in name:
        raise UnexpectedName
    return Begin(kind == b"D", int(mode, 8), int(size), _plainName(decode(name)))


def _times(line: bytes) -> Times:
    match = _TIMES.fullmatch(line)
    if match is None:
        raise Malformed("times not delimited")
    modified, modifiedMicroseconds, accessed, accessedMicroseconds = map(int, match.groups())
    if max(modified, accessed) > LATEST_SECOND:
        raise Malformed("times out of range")
    return Times(modified + modifiedMicroseconds / 1e6, accessed + accessedMicroseconds / 1e6)


def _plainName(name: str) -> str:
    if hasControls(name):
        raise InvalidName("the name has control characters")
    return checkName(name)


def times(stat: Stat) -> bytes:
    return b"T%d 0 %d 0\n" % (max(0, int(stat.modified)), max(0, int(stat.accessed)))


def begin(isFolder: bool, stat: Stat, name: bytes) -> bytes:
    # A line's end within a name is written as OpenSSH does; nobody reads it back.
    kind, size = (b"D", 0) if isFolder else (b"C", stat.size)
    return b"%s%04o %d %s\n" % (kind, stat.mode & 0o7777, size, name.replace(b"\n", b"\\^J"))


def complaint(text: bytes) -> bytes:
    return b"\1scp: " + text + b"\n"
