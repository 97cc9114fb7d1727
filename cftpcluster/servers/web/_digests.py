"""Checksums of files, told on request.

RFC 9530 (``Want-Repr-Digest``, ``Repr-Digest``), and ``?op=checksum`` for what it has no name for. Nobody's download.
"""

from __future__ import annotations

import base64
import re
from typing import Any

from ...errors import Busy
from ...files.checksums import ALGORITHMS, checksum
from ...interfaces import IFile, IFileSystem
from ...vocabulary import OpenMode, VirtualPath
from ..http import HTTPProblem, jsonAnswer, queryBytes

DIGESTS = {"sha-256": "sha256", "sha-512": "sha512"}
_WANTED = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)\s*=\s*([0-9]{1,2})\s*")


def wantedDigest(request: Any) -> str | None:
    """The algorithm, in the words of RFC 9530, that the client likes best of those that are known here."""
    values = request.requestHeaders.getRawHeaders(b"Want-Repr-Digest", [])
    wanted: dict[str, int] = {}
    for member in b",".join(values).decode("latin-1").split(","):
        found = _WANTED.fullmatch(member)
        if found is not None and found[1] in DIGESTS:
            wanted[found[1]] = int(found[2])
    best = max(wanted, key=lambda name: wanted[name], default=None)
    return best if best is not None and wanted[best] else None


async def setDigest(request: Any, opened: IFile) -> None:
    """Tell the checksum of the whole file, where the client wants one."""
    algorithm = wantedDigest(request)
    if algorithm is None:
        return
    digest = await _digestOf(request, opened, DIGESTS[algorithm])
    request.setHeader(b"Repr-Digest", f"{algorithm}=:{base64.b64encode(digest).decode('ascii')}:".encode("ascii"))


async def answerChecksum(request: Any, files: IFileSystem, path: VirtualPath) -> bytes:
    """``?op=checksum``, of what the file holds now."""
    algorithm = (queryBytes(request, "algorithm") or b"sha256").decode("utf-8", "replace")
    if algorithm not in ALGORITHMS:
        raise HTTPProblem(400, f"algorithm: expected one of {', '.join(ALGORITHMS)}")
    opened = await files.open(path, OpenMode.read)
    try:
        digest = await _digestOf(request, opened, algorithm)
        size = (await opened.stat()).size
    finally:
        await opened.abort(keep=False)
    return jsonAnswer(request, {"algorithm": algorithm, "checksum": digest.hex(), "size": size})


async def _digestOf(request: Any, opened: IFile, algorithm: str) -> bytes:
    try:
        return await checksum(opened, algorithm, isAwaited=lambda: not request.disconnected)
    except Busy as error:
        raise HTTPProblem(429, str(error), headers={"Retry-After": "10"}) from None
