"""Has the kernel write out long files while they grow: else whoever waits for them to be on the disk waits for it all.

Calls belong in a thread: they wait where the disk has too much to do.
"""

from __future__ import annotations

import ctypes
from typing import Any

STRIDE_BYTES = 8 * 1024 * 1024
"""How much is written out at once. Files that are shorter are left to who waits for them."""

_BEGIN = 2  # SYNC_FILE_RANGE_WRITE


def _find() -> Any:
    try:
        # Python has no name for it.
        function = ctypes.CDLL(None).sync_file_range
    except (AttributeError, OSError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


_syncFileRange = _find()


def completed(offset: int, length: int) -> tuple[int, int]:
    """From where to where whole strides end with a write; the same twice where none does."""
    return offset // STRIDE_BYTES * STRIDE_BYTES, (offset + length) // STRIDE_BYTES * STRIDE_BYTES


def writeOut(number: int, offset: int, length: int) -> None:
    """After a write: begin to write out the strides that it completed. What fails then is told by ``fsync``."""
    begin, end = completed(offset, length)
    if begin < end and _syncFileRange is not None:
        _syncFileRange(number, begin, end - begin, _BEGIN)
