"""The control connection's bytes (RFC 959, section 5.3; RFC 1123, section 4.1.2.12): lines out of them, and the Telnet
of old clients out of the lines.

Pure: knows no command and no transport.
"""

from __future__ import annotations

import re

from attrs import define, field

LINE_LIMIT_BYTES = 8192
"""The longest command, its end included. A path has at most 4095 bytes; IAC bytes in it come doubled."""

_TELNET = re.compile(rb"\xff(?:([\xfb-\xfe])(.)|[\xf0-\xfa]|\xff)|(\xff[\xfb-\xfe]?)\Z", re.DOTALL)
_LEFT_OVER = bytes(range(0xF0, 0x100))
"""Parts of Telnet's commands that urgent data got out of order; no command begins with them."""

_REFUSALS = {
    0xFB: b"\xff\xfe",
    0xFC: b"\xff\xfe",
    0xFD: b"\xff\xfc",
    0xFE: b"\xff\xfc",
}  # WILL, WONT: DONT; DO, DONT: WONT


class LineTooLong(Exception):
    """A line was longer than :data:`LINE_LIMIT_BYTES`; it is gone."""


@define(eq=False)
class Lines:
    """Splits what a client sends. Lines end with LF; a CR before it belongs to the end.

    Holds at most one line and what one read of the socket brought, as long as :meth:`next` is called until it gives
    ``None`` before more is fed.
    """

    _buffer: bytearray = field(factory=bytearray, init=False)
    _searched: int = field(default=0, init=False)
    _discarding: bool = field(default=False, init=False)
    _held: bytes = field(default=b"", init=False)

    def feed(self, data: bytes) -> bytes:
        """Take what came; gives what to answer to Telnet negotiations: no option is ever agreed to."""
        if not self._held and b"\xff" not in data:
            self._buffer += data
            return b""
        data, self._held = self._held + data, b""
        answers: list[bytes] = []

        def strip(match: re.Match[bytes]) -> bytes:
            if match[1]:
                answers.append(_REFUSALS[match[1][0]] + match[2])
            elif match[3]:
                self._held = match[3]
            return b"\xff" if match[0] == b"\xff\xff" else b""

        self._buffer += _TELNET.sub(strip, data)
        return b"".join(answers)

    def next(self) -> bytes | None:
        """The next whole line without its end, or ``None``.

        :raises LineTooLong: in place of such a line, once.
        """
        end = self._buffer.find(b"\n", self._searched)
        if self._discarding:
            if end < 0:
                self._buffer.clear()
                return None
            del self._buffer[: end + 1]
            self._searched = 0
            self._discarding = False
            raise LineTooLong
        if end < 0:
            self._searched = len(self._buffer)
            if self._searched > LINE_LIMIT_BYTES:
                self.clear()
                self._discarding = True
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        if end >= LINE_LIMIT_BYTES:
            raise LineTooLong
        return line.removesuffix(b"\r").lstrip(_LEFT_OVER)

    def clear(self) -> None:
        """Forget everything that came."""
        self._buffer.clear()
        self._searched = 0
        self._discarding = False
        self._held = b""
