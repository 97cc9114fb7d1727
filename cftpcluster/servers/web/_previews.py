"""Which files a browser may show, and as what.

A preview never runs: its type is one of this list, whatever the file says of itself (``nosniff``), and it stands in a
sandbox. Pages and drawings that could hold a script are shown as the text they are. Names alone decide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_TEXT = b"text/plain; charset=utf-8"

_TEXTS = re.findall(
    r"[a-z0-9]+",
    """
    asc bat c cfg conf cpp cs css csv diff eml go h htm html ics ini java js json log lua md patch php pl properties
    ps1 pub py rb rs rst sh sql svg tex toml ts tsv txt vcf xhtml xml yaml yml
    """,
)

_TYPES: Mapping[str, bytes] = {
    "avif": b"image/avif",
    "bmp": b"image/bmp",
    "gif": b"image/gif",
    "jpeg": b"image/jpeg",
    "jpg": b"image/jpeg",
    "png": b"image/png",
    "webp": b"image/webp",
    "flac": b"audio/flac",
    "m4a": b"audio/mp4",
    "mp3": b"audio/mpeg",
    "oga": b"audio/ogg",
    "ogg": b"audio/ogg",
    "wav": b"audio/wav",
    "mp4": b"video/mp4",
    "webm": b"video/webm",
    "pdf": b"application/pdf",
    **dict.fromkeys(_TEXTS, _TEXT),
}

SANDBOX = b"sandbox; default-src 'none'; frame-ancestors 'none'"
"""For what is saved, not shown."""

_SHOWN = (
    b"sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; media-src 'self'; frame-ancestors 'self'"
)
_VIEWED = b"default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'self'"


def typeOf(name: str) -> bytes | None:
    """As what a file of this name may be shown; ``None`` for what is only saved."""
    return _TYPES.get(name.rpartition(".")[2].lower()) if "." in name else None


def policyOf(contentType: bytes) -> bytes:
    """What a preview may do: nothing but be seen, in a frame of this site at most."""
    # browsers have viewers of their own for PDF, apart from the site, which no sandbox lets in
    return _VIEWED if contentType == b"application/pdf" else _SHOWN
