"""Copies between files that are open, without the bytes passing through a client. Knows no protocol and no path."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import Closed
from ..interfaces import IFile, IHasDescriptor, IPaced, ITakesCopies
from .wrappers import ability

KERNEL_PIECE_BYTES = 8 * 1024 * 1024
PIECE_BYTES = 1024 * 1024


async def copyRange(
    source: IFile, sourceOffset: int, target: IFile, offset: int, length: int | None, isAwaited: Callable[[], bool]
) -> int:
    """Copy what ``source`` holds now, up to ``length`` bytes, ``None`` for all; tells how many there were.

    Rights, quotas and speeds are those of the two files. Where nothing stands in the way the kernel copies, and where
    the storage can it shares the bytes. Both files must stay open; once ``isAwaited`` says no, it fails with ``Closed``
    before the next piece.
    """
    left = max(0, (await source.stat()).size - sourceOffset)
    if length is not None:
        left = min(left, length)
    lender, taker = ability(IHasDescriptor, source), ability(ITakesCopies, target)
    copied = 0
    while copied < left:
        if not isAwaited():
            raise Closed
        if lender is not None and taker is not None:
            most = min(left - copied, KERNEL_PIECE_BYTES)
            piece = await taker.copyFrom(lender, sourceOffset + copied, offset + copied, most)
            lender.sent(piece)
        else:
            data = await source.read(sourceOffset + copied, min(left - copied, _pieceBytes(source, target)))
            await target.write(offset + copied, data)
            piece = len(data)
        if not piece:
            # it has become shorter
            break
        copied += piece
    return copied


def _pieceBytes(source: IFile, target: IFile) -> int:
    reading, writing = ability(IPaced, source), ability(IPaced, target)
    return min(
        PIECE_BYTES,
        PIECE_BYTES if reading is None else reading.pieceBytes(True),
        PIECE_BYTES if writing is None else writing.pieceBytes(False),
    )
