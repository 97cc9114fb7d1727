"""Requests for checksums (draft-ietf-secsh-filexfer-extensions-00, section 3).

    check-file-name, check-file-handle      the checksum of a part of a file, or of each of its blocks
    check-file                              the same with a handle, as paramiko asks for it
    md5-hash, md5-hash-handle               a single MD5

What is hashed in which order and by how many threads is not decided here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from attrs import define

from ...errors import FileSystemError
from ...files.checksums import ALGORITHMS, checksum, checksums
from ...files.paths import parse
from ...interfaces import IFile, IFileSystem
from ...vocabulary import OpenMode, VirtualPath
from . import packets
from .handles import Handles, OpenFile
from .operation import Answer, Operation, later
from .wire import Reader, string

LEAST_BLOCK_BYTES = 256
QUICK_BYTES = 2048

LONGEST_ANSWER = packets.LONGEST_DATA - 1024

Check: TypeAlias = Callable[[IFile], Awaitable[Answer]]


class BadCheck(FileSystemError):
    message = "no such check"


@define(eq=False)
class Hashing:
    """The requests of one session."""

    _files: IFileSystem
    _handles: Handles

    def checkName(self, requestId: int, request: Reader) -> Operation:
        path = parse(request.string())
        return self._ofPath(path, *self._check(requestId, request, b""))

    def checkHandle(self, requestId: int, request: Reader) -> Operation:
        opened = self._handles.file(request.string())
        return self._ofHandle(opened, *self._check(requestId, request, b""))

    def checkAsParamiko(self, requestId: int, request: Reader) -> Operation:
        opened = self._handles.file(request.string())
        return self._ofHandle(opened, *self._check(requestId, request, string(b"check-file")))

    def md5Name(self, requestId: int, request: Reader) -> Operation:
        path = parse(request.string())
        return self._ofPath(path, self._md5(requestId, request))

    def md5Handle(self, requestId: int, request: Reader) -> Operation:
        opened = self._handles.file(request.string())
        return self._ofHandle(opened, self._md5(requestId, request))

    # --- which file

    def _ofHandle(self, opened: OpenFile, check: Check, answerBytes: int = 0) -> Operation:
        opened.mayRead()

        async def run() -> Answer:
            return await check(opened.file)

        return Operation(later(run), looks=True, paths=opened.names, handle=opened, answerBytes=answerBytes)

    def _ofPath(self, path: VirtualPath, check: Check, answerBytes: int = 0) -> Operation:
        async def run() -> Answer:
            file = await self._files.open(path, OpenMode.read)
            try:
                return await check(file)
            finally:
                await file.abort(False)

        return Operation(later(run), looks=True, paths=(path,), answerBytes=answerBytes)

    def _isAwaited(self) -> bool:
        return self._handles.isAwaited

    # --- which check

    def _check(self, requestId: int, request: Reader, prefix: bytes) -> tuple[Check, int]:
        """And how large its answer may become, where that is much."""
        wanted = request.names()
        offset, length, blockBytes = request.uint64(), request.uint64(), request.uint32()
        known = [name for name in wanted if _plain(name) in ALGORITHMS]
        if not known:
            raise BadCheck("none of these algorithms is known")
        if 0 < blockBytes < LEAST_BLOCK_BYTES:
            raise BadCheck(f"a block is at least {LEAST_BLOCK_BYTES} bytes")
        name = known[0]
        most = LONGEST_ANSWER // len(ALGORITHMS[_plain(name)]().digest())

        async def check(file: IFile) -> Answer:
            if blockBytes:
                size = max(0, (await file.stat()).size - offset)
                if (min(size, length) if length else size) > most * blockBytes:
                    raise BadCheck("too many blocks for one answer")
            found = await checksums(file, _plain(name), offset, length or None, blockBytes, self._isAwaited)
            return (packets.extendedReply(requestId, prefix + string(name) + b"".join(found)),)

        return check, LONGEST_ANSWER if blockBytes else 0

    def _md5(self, requestId: int, request: Reader) -> Check:
        offset, length, quick = request.uint64(), request.uint64(), request.string()

        async def check(file: IFile) -> Answer:
            digest = b""
            if not quick or quick == await self._quick(file, offset, length):
                digest = await checksum(file, "md5", offset, length or None, self._isAwaited)
            return (packets.extendedReply(requestId, string(b"md5-hash") + string(digest)),)

        return check

    async def _quick(self, file: IFile, offset: int, length: int) -> bytes:
        """Of the first bytes: who has others there need not wait for the rest."""
        return await checksum(file, "md5", offset, min(length or QUICK_BYTES, QUICK_BYTES), self._isAwaited)


def _plain(name: bytes) -> str:
    return name.decode("ascii", "replace").lower().replace("-", "")
