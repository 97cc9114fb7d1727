"""What programs on a channel read from their arguments, and say when files fail. Pure.

What they say is in the words of POSIX, which scripts look for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ...errors import (
    AlreadyExists,
    FileSystemError,
    IsAFolder,
    NotAFolder,
    NotFound,
    OutOfSpace,
    PermissionDenied,
    QuotaExceeded,
    StorageFailed,
)

_WORDS: Mapping[type[FileSystemError], str] = {
    NotFound: "No such file or directory",
    PermissionDenied: "Permission denied",
    AlreadyExists: "File exists",
    NotAFolder: "Not a directory",
    IsAFolder: "Is a directory",
    OutOfSpace: "No space left on device",
    QuotaExceeded: "Disk quota exceeded",
    StorageFailed: "Input/output error",
}

_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")
LONGEST_NAME = 1024


def why(error: FileSystemError) -> bytes:
    """In a few words."""
    text = str(error)
    if text == error.message:
        text = _WORDS.get(type(error), text)
    return shown(text.encode("utf-8", "replace"))


def shown(name: bytes) -> bytes:
    """A name as part of a line."""
    return _CONTROLS.sub(b"?", name[:LONGEST_NAME])


def failed(name: bytes, error: FileSystemError) -> bytes:
    return shown(name) + b": " + why(error)


class Misused(Exception):
    """An option that is not served."""


def namesOf(arguments: Sequence[bytes], options: frozenset[bytes]) -> list[bytes]:
    """The arguments without ``options``, which make no difference; ``Misused``."""
    names: list[bytes] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == b"--":
            return [*names, *rest]
        if argument in options:
            continue
        if argument.startswith(b"-") and argument != b"-":
            raise Misused(f"option {shown(argument).decode('utf-8', 'replace')} is not served here")
        names.append(argument)
    return names
