"""The values of a journal: entries and their chain of hashes, proposals, heads and snapshots.

Pure values: nothing here knows where they are kept or how they travel.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, Self

from attrs import evolve, field, frozen

from ..config.changes import Change, Target
from ..config.codec import canonical, parse
from ..config.document import Document
from ..errors import Invalid
from ..vocabulary import Author, Problem

CHAIN_START = bytes(32)
"""The hash before the first entry."""


def chained(previous: bytes, body: bytes) -> bytes:
    """The chain hash of an entry: equal hashes at equal revisions mean equal histories."""
    return hashlib.sha256(previous + body).digest()


@frozen
class Entry:
    """One revision of the cluster's configuration.

    :ivar epoch: the epoch after its change; a promotion is the first entry of its own epoch.
    :ivar time: seconds since the epoch, by the clock of the node that appended it.
    :ivar author: who asked for it.
    :ivar address: from where.
    :ivar node: the node that appended it.
    :ivar requestId: unguessable name of the request, "" where it has none.
    :ivar change: the encoded change.
    :ivar body: the bytes that are hashed, stored and sent, as first written: a line of JSON, then ``change``.
    :ivar chainHash: see :func:`chained`.
    """

    epoch: int
    revision: int
    time: float
    author: str
    address: str
    node: str
    requestId: str
    change: bytes = field(repr=False)
    body: bytes = field(repr=False)
    chainHash: bytes

    @classmethod
    def following(
        cls,
        previous: bytes,
        *,
        epoch: int,
        revision: int,
        time: float,
        author: Author,
        node: str,
        requestId: str,
        change: bytes,
    ) -> Self:
        """A new entry after the one with hash ``previous``."""
        entry = cls(
            epoch, revision, float(time), str(author), author.address, node, requestId, change, body=b"", chainHash=b""
        )
        body = canonical({name: getattr(entry, name) for name in _HEADER}) + b"\n" + change
        return evolve(entry, body=body, chainHash=chained(previous, body))

    @classmethod
    def fromBody(cls, body: bytes, chainHash: bytes) -> Self:
        """Read an entry; its place in the chain is checked by whoever has its predecessor.

        :raises Invalid: where the bytes are no entry.
        """
        line, separator, change = body.partition(b"\n")
        header = parse(line)
        if (
            not separator
            or not isinstance(header, dict)
            or not all(_fits(header.get(name), kind) for name, kind in _HEADER.items())
        ):
            raise Invalid([Problem("", "not a journal entry")])
        return cls(**{name: header[name] for name in _HEADER}, change=change, body=body, chainHash=chainHash)


_HEADER: dict[str, type] = {
    "epoch": int,
    "revision": int,
    "time": float,
    "author": str,
    "address": str,
    "node": str,
    "requestId": str,
}


def _fits(value: Any, kind: type) -> bool:
    if type(value) is not kind:
        return False
    if isinstance(value, int):
        return 0 <= value < 2**63
    return not isinstance(value, float) or math.isfinite(value)


@frozen
class Proposal:
    """A change that someone asks for.

    :ivar expected: the revisions that objects must still have, by (section, name).
    :ivar requestId: a proposal repeated under the same id is appended once.
    """

    change: Change
    expected: Mapping[Target, int]
    author: Author
    node: str
    requestId: str
    time: float


@frozen
class Head:
    """Where a journal is, and the document that its entries make."""

    epoch: int
    revision: int
    chainHash: bytes
    document: Document = field(repr=False)


@frozen
class Snapshot:
    """A document that stands for all entries up to ``revision``.

    :ivar data: the encoded document.
    :ivar sha256: of ``data``.
    """

    epoch: int
    revision: int
    chainHash: bytes
    data: bytes = field(repr=False)
    sha256: bytes
