"""What the pages' name, logo and colour have to be. How they are shown is not known here."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from ..vocabulary import Problem
from ._messages import shown
from .document import Branding

NAME_CHARACTERS = 60
LOGO_BYTES = 64 * 1024

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_SVG = re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<svg[\s>]", re.DOTALL)


def brandingProblems(branding: Branding) -> Iterator[Problem]:
    if len(branding.name) > NAME_CHARACTERS or not branding.name.isprintable():
        yield Problem("name", f"expected one line of at most {NAME_CHARACTERS} characters, got {shown(branding.name)}")
    if branding.accentColor and not _COLOR.fullmatch(branding.accentColor):
        yield Problem("accentColor", f"{shown(branding.accentColor)} is not a colour such as #2457c5")
    fault = _logoFault(branding.logo)
    if fault:
        yield Problem("logo", fault)


def _logoFault(text: str) -> str | None:
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return "expected a picture in base64"
    if len(data) > LOGO_BYTES:
        return f"the picture has {len(data)} bytes, and may have {LOGO_BYTES}"
    if data and not data.startswith(b"\x89PNG\r\n\x1a\n") and not _SVG.match(data[:4096]):
        return "expected a picture in PNG or SVG"
    return None
