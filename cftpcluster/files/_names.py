"""Names of what is not committed, on the disk. They are part of the storage's format: nodes find each other's."""

from __future__ import annotations

import base64
import hashlib

from . import paths

PARTIAL = paths.encode(paths.PARTIAL_PREFIX)


def partialName(owner: str, name: bytes) -> bytes:
    """The partial of a new file: every node finds it by its owner and the name that the file will have."""
    digest = hashlib.sha256(paths.encode(owner) + b"\0" + name).digest()[:20]
    return PARTIAL + b"r-" + base64.b32encode(digest).lower()


def temporaryName(node: str, token: str) -> bytes:
    """A name that is never found again, for what replaces a file."""
    return PARTIAL + f"t-{node}-{token}".encode()


def isPartial(name: bytes) -> bool:
    return name.startswith(PARTIAL)


def isTemporaryOf(name: bytes, node: str) -> bool:
    """Whether a node gave this temporary name; its token holds no hyphen."""
    return name.startswith(PARTIAL + b"t-") and name[len(PARTIAL) + 2 :].rpartition(b"-")[0] == node.encode()
