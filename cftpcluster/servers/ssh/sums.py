"""``md5sum`` and its like on a channel, in the words of GNU's programs: how rclone asks for checksums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...errors import FileSystemError
from ...files.checksums import ALGORITHMS, checksum
from ...files.paths import parse
from ...interfaces import IFileSystem
from ...vocabulary import OpenMode
from .sayings import Misused, failed, namesOf
from .standard import EndOfInput, Gone, Streams

SUMS: Mapping[bytes, str] = {b"md5sum": "md5", b"sha1sum": "sha1", b"sha256sum": "sha256"}
"""The programs, and what each tells."""

_OPTIONS = frozenset({b"-b", b"-t", b"--binary", b"--text"})
"""That a file is text, or is not, makes no difference."""

_PIECE_BYTES = 64 * 1024
_ESCAPES: Mapping[bytes, bytes] = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r"}


async def tellSums(program: bytes, files: IFileSystem, streams: Streams, arguments: Sequence[bytes]) -> int:
    """Tell the checksums of the named files, or of standard input; gives the exit status."""
    algorithm = SUMS[program]
    try:
        names = namesOf(arguments, _OPTIONS) or [b"-"]
    except Misused as error:
        streams.error(program + b": " + str(error).encode())
        return 1
    status = 0
    for name in names:
        await streams.room()
        try:
            digest = await (_ofInput(algorithm, streams) if name == b"-" else _ofFile(algorithm, files, streams, name))
        except FileSystemError as error:
            streams.error(program + b": " + failed(name, error))
            status = 1
        else:
            streams.write(line(digest, name))
    return status


def line(digest: bytes, name: bytes) -> bytes:
    """How a checksum is told."""
    escaped = b"".join(_ESCAPES.get(bytes((byte,)), bytes((byte,))) for byte in name)
    mark = b"\\" if escaped != name else b""
    return mark + digest.hex().encode() + b"  " + escaped + b"\n"


async def _ofFile(algorithm: str, files: IFileSystem, streams: Streams, name: bytes) -> bytes:
    file = await files.open(parse(name), OpenMode.read)
    try:
        return await checksum(file, algorithm, isAwaited=lambda: not streams.isGone)
    except FileSystemError:
        if streams.isGone:
            raise Gone from None
        raise
    finally:
        await file.abort(keep=False)


async def _ofInput(algorithm: str, streams: Streams) -> bytes:
    digest = ALGORITHMS[algorithm]()
    while True:
        try:
            data = await streams.take(1, _PIECE_BYTES)
        except EndOfInput:
            return digest.digest()
        digest.update(data)
        streams.done(len(data))
