"""Checksums of files: HASH (draft-bryan-ftpext-hash) and XCRC, XMD5, XSHA, XSHA1, XSHA256, XSHA512.

They are told to those who may read the file, and computed as :mod:`cftpcluster.files.checksums` says.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ...errors import FileSystemError, IsAFolder, NotFound
from ...files.checksums import checksum
from ...interfaces import IFile
from ...vocabulary import OpenMode
from . import sums
from .replies import Refusal, Reply, forget
from .session import Command, Session


async def _open(session: Session, argument: str) -> tuple[sums.Wanted, IFile]:
    """The file that is meant; the error is that of the last reading."""
    *first, last = sums.readings(argument)
    for wanted in first:
        try:
            return wanted, await session.files.open(session.path(wanted.name), OpenMode.read)
        except FileSystemError as error:
            if not isinstance(error, NotFound):
                raise
            forget(error)
    return last, await session.files.open(session.path(last.name), OpenMode.read)


async def _sum(session: Session, argument: str, algorithm: str) -> tuple[sums.Wanted, str]:
    """The checksum in hexadecimal, and what it is of."""
    wanted, file = await _open(session, argument)
    try:
        size = (await file.stat()).size
        end = size if wanted.end is None else wanted.end
        if not wanted.start <= end <= size:
            raise Refusal(550, f"The file has {size} bytes")
        digest = await checksum(file, algorithm, wanted.start, end - wanted.start, lambda: not session.control.isLost)
        return sums.Wanted(wanted.name, wanted.start, end), digest.hex()
    finally:
        await file.abort(False)


async def hash_(session: Session, argument: str) -> Reply:
    try:
        wanted, digest = await _sum(session, argument, sums.HASHES[session.hash])
    except IsAFolder:
        raise Refusal(553, "Folders have no checksum") from None
    return Reply.of(213, f"{session.hash} {wanted.start}-{wanted.end} {digest} {wanted.name}")


@frozen
class Summing:
    """Answers one of the verbs that tell a certain checksum."""

    algorithm: str

    async def __call__(self, session: Session, argument: str) -> Reply:
        _, digest = await _sum(session, argument, self.algorithm)
        return Reply.of(250, digest)


COMMANDS: Sequence[Command] = (
    Command("HASH", hash_, "<path>"),
    *(Command(verb, Summing(algorithm), "<path> [[<start>] <end>]") for verb, algorithm in sums.VERBS.items()),
)
