"""Checksums of files, told by the server: one place for every protocol.

    digest = await checksum(file, "sha256")
    blocks = await checksums(file, "md5", offset, length, blockBytes=65536)

The bytes are read and hashed in threads, piece by piece; sessions of one user and users of one node take turns, so that
whoever asks for a lot waits for himself. A file may be hashed by those who may read it. Knows no protocol and no path.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import Busy, Closed, Unsupported
from ..interfaces import IContents, IFile, IHashed
from .wrappers import ability

PIECE_BYTES = 2 * 1024 * 1024
"""What is hashed in one go: some milliseconds of a thread."""

PIECES_AT_ONCE = 2
"""How many threads of a node hash at the same time."""

WAITING_LIMIT = 256
"""How many checksums of one user are under way or wait."""

BLOCKS_LIMIT = 65536
"""How many blocks are told apart in one go."""


class Digest(Protocol):
    def update(self, data: bytes | memoryview, /) -> object: ...

    def digest(self) -> bytes: ...


@define(eq=False)
class CRC32:
    """As the checksum of ZIP and Ethernet, the first byte being the highest."""

    _value: int = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


ALGORITHMS: Mapping[str, Callable[[], Digest]] = {
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha224": hashlib.sha224,
    "sha256": hashlib.sha256,
    "sha384": hashlib.sha384,
    "sha512": hashlib.sha512,
    "crc32": CRC32,
}
"""What can be asked for, by name."""


def checksums(
    file: IFile,
    algorithm: str,
    offset: int = 0,
    length: int | None = None,
    blockBytes: int = 0,
    isAwaited: Callable[[], bool] = lambda: True,
) -> Deferred[Sequence[bytes]]:
    """The checksums of an opened file, of what is in it now.

    :param algorithm: one of :data:`ALGORITHMS`; ``Unsupported`` otherwise, and where a file cannot be hashed.
    :param offset: the first byte.
    :param length: how many bytes at most; ``None`` for all up to the end.
    :param blockBytes: tell one checksum for each block of so many bytes; 0 for a single one. ``Unsupported`` where that
        were more than :data:`BLOCKS_LIMIT`.
    :param isAwaited: asked between pieces; once it says no, nothing more is read and ``Closed`` is the answer. The file
        may be closed after that.

    Fails as :meth:`IFile.read`, and with ``Busy`` where the user has too many under way. Nothing of it counts as a
    download, or is held back to a speed. The file must stay open until it fires.
    """
    hashed = ability(IHashed, file)
    if hashed is None or algorithm not in ALGORITHMS:
        return fail(Unsupported())
    return hashed.checksums(algorithm, offset, length, blockBytes, isAwaited)


def checksum(
    file: IFile,
    algorithm: str,
    offset: int = 0,
    length: int | None = None,
    isAwaited: Callable[[], bool] = lambda: True,
) -> Deferred[bytes]:
    """As :func:`checksums`, of a single block."""
    return checksums(file, algorithm, offset, length, 0, isAwaited).addCallback(lambda found: found[0])


@define(eq=False)
class Job:
    """One file being hashed.

    :ivar offset: where it goes on.
    :ivar left: how much is to be hashed at most, ``None`` for all.
    """

    _contents: IContents
    _newDigest: Callable[[], Digest]
    _isAwaited: Callable[[], bool]
    offset: int
    left: int | None
    _blockBytes: int
    done: Deferred[Sequence[bytes]] = field(factory=Deferred)
    _digest: Digest = field(init=False)
    _blockLeft: int = field(init=False)
    _told: list[bytes] = field(factory=list, init=False)
    _isTooFine: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._digest = self._newDigest()
        self._blockLeft = self._blockBytes

    def step(self) -> Deferred[bool]:
        """Hash a piece; fires with whether that was all."""
        if not self._isAwaited():
            return fail(Closed())
        length = PIECE_BYTES if self.left is None else min(PIECE_BYTES, self.left)
        return self._contents.feed(self._take, self.offset, length).addCallback(self._took, length)

    def _took(self, taken: int, asked: int) -> bool:
        if self._isTooFine:
            raise Unsupported("too many blocks")
        self.offset += taken
        if self.left is not None:
            self.left -= taken
        return taken < asked or self.left == 0

    def _take(self, data: bytes | memoryview) -> None:
        """In a thread."""
        if not self._blockBytes:
            self._digest.update(data)
            return
        rest = memoryview(data)
        while rest and not self._isTooFine:
            part, rest = rest[: self._blockLeft], rest[self._blockLeft :]
            self._digest.update(part)
            self._blockLeft -= len(part)
            if not self._blockLeft:
                self._tell()

    def _tell(self) -> None:
        self._told.append(self._digest.digest())
        self._digest, self._blockLeft = self._newDigest(), self._blockBytes
        self._isTooFine = len(self._told) > BLOCKS_LIMIT

    def result(self) -> Sequence[bytes]:
        if not self._told or self._blockLeft < self._blockBytes:
            self._told.append(self._digest.digest())
        return self._told


@define(eq=False)
class Turns:
    """Who hashes next, of all users of a node: they take turns, and so do the jobs of each; one piece of a user is
    hashed at a time."""

    _waiting: dict[str, deque[Job]] = field(factory=dict, init=False)
    _counts: dict[str, int] = field(factory=dict, init=False)
    _turns: deque[str] = field(factory=deque, init=False)
    _running: int = field(default=0, init=False)
    _isServing: bool = field(default=False, init=False)

    def add(self, user: str, job: Job) -> Deferred[Sequence[bytes]]:
        """Have a job done; fires with its result."""
        count = self._counts.get(user, 0)
        if count >= WAITING_LIMIT:
            return fail(Busy("too many checksums are under way"))
        self._counts[user] = count + 1
        if user not in self._waiting:
            self._waiting[user] = deque()
            self._turns.append(user)
        self._waiting[user].append(job)
        self._serve()
        return job.done

    def _serve(self) -> None:
        # a loop: what is done at once must not nest
        if self._isServing:
            return
        self._isServing = True
        try:
            while self._turns and self._running < PIECES_AT_ONCE:
                user = self._turns.popleft()
                job = self._waiting[user].popleft()
                self._running += 1
                _ = maybeDeferred(job.step).addBoth(self._stepped, user, job)
        finally:
            self._isServing = False

    def _stepped(self, result: bool | Failure, user: str, job: Job) -> None:
        self._running -= 1
        jobs = self._waiting[user]
        if result is False:
            jobs.append(job)
        if jobs:
            self._turns.append(user)
        else:
            del self._waiting[user]
        if result is not False:
            self._counts[user] -= 1
            if not self._counts[user]:
                del self._counts[user]
            job.done.callback(result if isinstance(result, Failure) else job.result())
        self._serve()


@define(eq=False)
class UserTurns:
    """One user's part in the turns of a node."""

    _turns: Turns
    _user: str

    def add(self, job: Job) -> Deferred[Sequence[bytes]]:
        return self._turns.add(self._user, job)


@implementer(IHashed)
@define(eq=False)
class Hashed:
    """An opened file whose checksums may be asked for."""

    _contents: IContents
    _turns: UserTurns

    def checksums(
        self, algorithm: str, offset: int, length: int | None, blockBytes: int, isAwaited: Callable[[], bool]
    ) -> Deferred[Sequence[bytes]]:
        return self._turns.add(Job(self._contents, ALGORITHMS[algorithm], isAwaited, offset, length, blockBytes))
