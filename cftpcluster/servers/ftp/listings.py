"""The lines of LIST (as ``ls -l`` writes them), MLSD and MLST (RFC 3659, section 7) and NLST, and their times.

Pure: one line from one entry, whatever its name holds; a name that would break a line is shown with ``?``.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from ...vocabulary import Kind, Stat

FACTS: Sequence[str] = ("type", "size", "modify", "perm", "unique", "UNIX.mode")
"""What MLSD and MLST can say, in this order."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_RECENT_SECONDS = 180 * 86400
"""Half a year, as with ``ls``: clients take a date without a year for the one that is nearest to today, or the last."""

_LATEST = 253402300799.0  # the end of the year 9999
_TYPES = {Kind.file: "-", Kind.folder: "d", Kind.link: "l", Kind.other: "p"}
_TYPE_FACTS = {
    Kind.file: "file",
    Kind.folder: "dir",
    Kind.link: "OS.unix=symlink",
    Kind.other: "OS.unix=special",
}
_UNSENDABLE = bytes.maketrans(b"\r\n\0", b"???")
_NO_WORD = re.compile(r"[\W_]")
_TIME = re.compile(r"([0-9]{14})(?:\.[0-9]+)?")


def _moment(seconds: float) -> time.struct_time:
    return time.gmtime(min(max(seconds, 0.0), _LATEST))


def timeText(seconds: float) -> str:
    """A time as MDTM and MLSD write it: ``YYYYMMDDHHMMSS``, UTC. Times beyond the years 1970 to 9999 are cut there."""
    return time.strftime("%Y%m%d%H%M%S", _moment(seconds))


def parseTime(text: str) -> float:
    """The time that such a text means, seconds since the epoch; ``ValueError`` for anything else."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("a time is written as YYYYMMDDHHMMSS")
    return float(calendar.timegm(time.strptime(match[1], "%Y%m%d%H%M%S")))


@cache
def _permissions(mode: int) -> str:
    return "".join(letter if mode & 0o400 >> index else "-" for index, letter in enumerate("rwxrwxrwx"))


def longLine(name: str, stat: Stat, now: float) -> bytes:
    """A line of LIST. A time within the last half year is shown with its hour, any other with its year, both in UTC."""
    moment = _moment(stat.modified)
    if 0 <= now + 60 - stat.modified < _RECENT_SECONDS:
        when = f"{moment.tm_hour:02d}:{moment.tm_min:02d}"
    else:
        when = f"{moment.tm_year:5d}"
    line = (
        f"{_TYPES[stat.kind]}{_permissions(stat.mode & 0o777)} {stat.links:>3d} ftp      ftp      {stat.size:>12d}"
        f" {_MONTHS[moment.tm_mon - 1]} {moment.tm_mday:02d} {when} {name}"
    )
    return encoded(line)


def facts(stat: Stat, wanted: Sequence[str]) -> str:
    """The facts of an entry, as MLSD puts them before the name."""
    return "".join([f"{name}={value};" for name in wanted if (value := _FACTS[name](stat))])


def factsLine(name: str, stat: Stat, wanted: Sequence[str]) -> bytes:
    """A line of MLSD."""
    return encoded(f"{facts(stat, wanted)} {name}")


def nameLine(name: str) -> bytes:
    """A line of NLST."""
    return encoded(name)


def encoded(line: str) -> bytes:
    """A line's bytes, its end included."""
    return line.encode("utf-8", "surrogateescape").translate(_UNSENDABLE) + b"\r\n"


def _type(stat: Stat) -> str:
    return _TYPE_FACTS[stat.kind]


def _perm(stat: Stat) -> str:
    """What can be done as far as the mode bits tell; the user's own permissions may allow less."""
    readable, writable = stat.mode & 0o444 != 0, stat.mode & 0o222 != 0
    if stat.kind is Kind.folder:
        return ("el" if readable else "e") + ("cmpdf" if writable else "")
    if stat.kind is Kind.file:
        return ("r" if readable else "") + ("wadf" if writable else "df")
    return "df"


def _unique(stat: Stat) -> str:
    return _NO_WORD.sub("-", stat.identity)


_FACTS: Mapping[str, Callable[[Stat], str]] = {
    "type": _type,
    "size": lambda stat: str(stat.size) if stat.kind is Kind.file else "",
    "modify": lambda stat: timeText(stat.modified),
    "perm": _perm,
    "unique": _unique,
    "UNIX.mode": lambda stat: f"0{stat.mode & 0o777:03o}",
}
