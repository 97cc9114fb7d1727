"""Checksums of what is coming in, reckoned in threads while it is written.

Those of tus's checksum extension. Where the bytes go is not known here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred

from ...files.wrappers import FileWrapper
from ..http import HTTPProblem

ALGORITHMS: Mapping[str, Callable[[], Any]] = {
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
}


def checksumOf(request: Any) -> tuple[str, bytes] | None:
    """Algorithm and checksum that ``Upload-Checksum`` names, if it is there. Fails with 400 where it is malformed."""
    text: bytes | None = request.getHeader(b"Upload-Checksum")
    if text is None:
        return None
    algorithm, _, encoded = text.decode("latin-1").partition(" ")
    if algorithm not in ALGORITHMS:
        raise HTTPProblem(400, f"Upload-Checksum: expected one of {', '.join(ALGORITHMS)}")
    try:
        return algorithm, base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise HTTPProblem(400, "Upload-Checksum: the checksum is not base64") from None


@define(eq=False)
class Checked(FileWrapper):
    """A file that is written in order, one write after the other.

    :ivar run: calls something in a thread.
    """

    _hash: Any
    _run: Callable[..., Deferred[Any]]

    def write(self, offset: int, data: bytes | memoryview) -> Deferred[None]:
        return Deferred.fromCoroutine(self._write(offset, data))

    async def _write(self, offset: int, data: bytes | memoryview) -> None:
        hashed = self._run(self._hash.update, data)
        try:
            await self.inner.write(offset, data)
        finally:
            await hashed

    def digest(self) -> bytes:
        """The checksum of all that was written."""
        digest: bytes = self._hash.digest()
        return digest
