"""Remembers for a while which passwords were verified, so that clients who log in again and again do not cost a hash
each time. It knows no users, and decides nothing but whether that very password was right a moment ago.

No password and no plain hash of one is kept: what is kept means nothing without a key that this process alone has.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

from attrs import define, field

REMEMBERED_SECONDS = 600.0
MOST_REMEMBERED = 10_000


@define(eq=False)
class VerifiedPasswords:
    """
    Only what was right is remembered: an answer without the work of a hash tells a client that it sent the right
    password, which it is told anyway.

    :ivar key: random, of this process.
    :ivar seconds: of a clock that is never set back.
    """

    _key: bytes = field(repr=False)
    _seconds: Callable[[], float]
    _until: OrderedDict[bytes, float] = field(factory=OrderedDict, init=False, repr=False)

    def add(self, name: str, encoded: str, password: bytes) -> None:
        """``password`` was verified against ``encoded``, which is what ``name`` has."""
        mark = self._mark(name, encoded, password)
        self._until.pop(mark, None)
        self._until[mark] = self._seconds() + REMEMBERED_SECONDS
        if len(self._until) > MOST_REMEMBERED:
            self._until.popitem(last=False)

    def knows(self, name: str, encoded: str, password: bytes) -> bool:
        """Whether just that was added in the last :data:`REMEMBERED_SECONDS`. A name with another hash than then is not
        known."""
        now = self._seconds()
        # Each is kept equally long, so those that were added first are the first to end.
        while self._until and next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)
        return self._mark(name, encoded, password) in self._until

    def _mark(self, name: str, encoded: str, password: bytes) -> bytes:
        parts = (name.encode("utf-8", "surrogatepass"), encoded.encode("utf-8", "surrogatepass"), password)
        framed = b"".join(b"%d:%s" % (len(part), part) for part in parts)
        return hashlib.blake2b(framed, key=self._key, digest_size=32).digest()
