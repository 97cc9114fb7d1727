"""Virtual paths: made here from what clients send, and nowhere else.

Pure: knows neither a disk nor a protocol. A path is cleaned once, at the edge; what comes out holds no ``.``, no
``..``, no separator and no reserved name, so that everything below may take its names as they are.
"""

from __future__ import annotations

import unicodedata

from ..errors import InvalidName, PathEscapes
from ..vocabulary import VirtualPath

RESERVED_PREFIX = ".cftpcluster-"
"""Names that start so are the server's own: never listed, refused from clients, whatever their case."""

PARTIAL_PREFIX = ".cftpcluster-part-"
"""Uploads that are not committed."""

MARKER_NAME = ".cftpcluster-storage"
"""The file that proves a storage to be mounted."""

NAME_LIMIT_BYTES = 255
PATH_LIMIT_BYTES = 4095


def decode(raw: bytes) -> str:
    """The one name that stands for these bytes."""
    return raw.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The bytes that a name or path stands for; ``InvalidName`` for text that no bytes decode to."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidName from None


def isReserved(name: str) -> bool:
    """Whether a name is the server's own. Some storages ignore case, so this does too."""
    return name[: len(RESERVED_PREFIX)].casefold().startswith(RESERVED_PREFIX)


def hasControls(text: str) -> bool:
    """Whether a name or path holds control characters, which a line-based protocol cannot send back."""
    return any(unicodedata.category(character) == "Cc" for character in text)


def checkName(name: str) -> str:
    """A single name in its one form; ``InvalidName`` unless a file may have it."""
    raw = encode(name)
    if not raw or raw in {b".", b".."} or b"/" in raw or b"\0" in raw or len(raw) > NAME_LIMIT_BYTES:
        raise InvalidName
    name = decode(raw)
    if isReserved(name):
        raise InvalidName("this name is reserved")
    return name


def parse(text: bytes | str, base: VirtualPath = ()) -> VirtualPath:
    """The path that a client means by ``text`` when it is in the folder ``base``.

    ``..`` at the root stays at the root, as on a disk. Fails with ``InvalidName`` for NUL bytes, for names and paths
    that are too long, and for reserved names.
    """
    raw = text if isinstance(text, bytes) else encode(text)
    if len(raw) > PATH_LIMIT_BYTES:
        raise InvalidName("the path is too long")
    # text is decoded even where it came as str, so that escaped bytes which form a character do not make a second name
    path = [] if raw.startswith(b"/") else list(base)
    for name in decode(raw).split("/"):
        if name == "..":
            del path[-1:]
        elif name not in {"", "."}:
            path.append(checkName(name))
    if sum(len(encode(name)) + 1 for name in path) > PATH_LIMIT_BYTES:
        raise InvalidName("the path is too long")
    return tuple(path)


def render(path: VirtualPath) -> str:
    """The path as clients write it, absolute."""
    return "/" + "/".join(path)


def isWithin(path: VirtualPath, folder: VirtualPath) -> bool:
    """Whether ``path`` is ``folder`` or lies beneath it."""
    return path[: len(folder)] == folder


def moved(path: VirtualPath, old: VirtualPath, new: VirtualPath) -> VirtualPath:
    """Where ``path``, which lies within ``old``, is found after ``old`` was renamed to ``new``."""
    return new + path[len(old) :]


def relative(target: VirtualPath, folder: VirtualPath) -> str:
    """How a link in ``folder`` names ``target`` without saying where the tree begins."""
    shared = 0
    while shared < min(len(target), len(folder)) and target[shared] == folder[shared]:
        shared += 1
    return "/".join(("..",) * (len(folder) - shared) + target[shared:]) or "."


def linkText(path: VirtualPath, target: str) -> str:
    """What a symbolic link at ``path`` holds so that it leads to ``target`` (absolute, or relative to the link's
    folder); ``PathEscapes`` where that lies outside, ``InvalidName`` where it is empty or reserved."""
    if not target:
        raise InvalidName
    if target.startswith("/"):
        return relative(parse(target), path[:-1])
    checkInside(path, target)
    parse(target, path[:-1])
    return target


def checkInside(path: VirtualPath, text: str) -> str:
    """The text of the link at ``path``, unless it leads outside as it is written: then ``PathEscapes``."""
    depth = len(path) - 1
    for name in text.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(name, 1)
        if depth < 0:
            raise PathEscapes
    if text.startswith("/"):
        raise PathEscapes
    return text
