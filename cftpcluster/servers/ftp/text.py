"""TYPE A (RFC 959, section 3.1.1.1): lines end with LF in files and with CRLF on the wire.

Pure and streaming: a pair of CR and LF may be split between two pieces.
"""

from __future__ import annotations

import re

from attrs import define, field

_LONE_LF = re.compile(rb"(?<!\r)\n")


@define(eq=False)
class ToWire:
    """Every LF becomes CRLF; one that follows a CR stays as it is, so that a file with CRLF does not get CR CR LF."""

    _afterCR: bool = field(default=False, init=False)

    def convert(self, data: bytes) -> bytes:
        if not data:
            return b""
        afterCR, self._afterCR = self._afterCR, data.endswith(b"\r")
        if afterCR and data.startswith(b"\n"):
            return b"\n" + _LONE_LF.sub(b"\r\n", data[1:])
        return _LONE_LF.sub(b"\r\n", data)


@define(eq=False)
class FromWire:
    """Every CRLF becomes LF; other CRs stay."""

    _held: bytes = field(default=b"", init=False)

    def convert(self, data: bytes) -> bytes:
        data = self._held + data
        self._held = b"\r" if data.endswith(b"\r") else b""
        if self._held:
            data = data[:-1]
        return data.replace(b"\r\n", b"\n")

    def finish(self) -> bytes:
        """What was held back to see whether an LF follows."""
        held, self._held = self._held, b""
        return held
