"""The checksums that clients may ask for, and what a client asks of a file (draft-bryan-ftpext-hash; XCRC, XMD5 and
their kind, as other servers have them).

Pure: knows no session and no file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from attrs import frozen

HASHES: Mapping[str, str] = {
    "SHA-256": "sha256",
    "SHA-512": "sha512",
    "SHA-1": "sha1",
    "MD5": "md5",
    "CRC32": "crc32",
}
"""What HASH can tell: names of the protocol to those of :data:`cftpcluster.files.checksums.ALGORITHMS`."""

DEFAULT = "SHA-256"

VERBS: Mapping[str, str] = {
    "XCRC": "crc32",
    "XMD5": "md5",
    "XSHA": "sha1",
    "XSHA1": "sha1",
    "XSHA256": "sha256",
    "XSHA512": "sha512",
}

_QUOTED = re.compile(r'"((?:[^"]|"")*)"(.*)', re.DOTALL)
_RANGE = re.compile(r"(?:[ ,;]+([0-9]{1,19}))?[ ,;]+([0-9]{1,19})")
_WITH_RANGE = re.compile(r"(.+?)((?:[ ,;]+[0-9]{1,19}){1,2})", re.DOTALL)


@frozen
class Wanted:
    """The part of a file that is meant.

    :ivar name: the file, as the client names it.
    :ivar start: the first byte.
    :ivar end: the byte before which it ends, ``None`` for the file's end.
    """

    name: str
    start: int = 0
    end: int | None = None


def readings(argument: str) -> Sequence[Wanted]:
    """What ``argument`` can mean: the first of these that names a file counts.

    Clients write ``name``, ``name end`` or ``name start end``, with or without quotes around the name, and with spaces,
    commas or semicolons between; a name may itself end with numbers.
    """
    found = [Wanted(argument)]
    if match := _QUOTED.fullmatch(argument):
        name, rest = match[1].replace('""', '"'), match[2].rstrip()
        if not rest:
            found.append(Wanted(name))
        elif _RANGE.fullmatch(rest):
            found.append(_ranged(name, rest))
    elif match := _WITH_RANGE.fullmatch(argument):
        found.append(_ranged(match[1], match[2]))
    return found


def _ranged(name: str, rest: str) -> Wanted:
    match = _RANGE.fullmatch(rest)
    assert match is not None
    return Wanted(name, int(match[1] or 0), int(match[2]))
