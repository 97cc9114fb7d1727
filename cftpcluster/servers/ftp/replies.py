"""What the server answers: codes and texts (RFC 959, section 4.2; RFC 4217 for TLS), and their bytes.

Pure: knows no session. ``twisted.protocols.ftp`` has the same vocabulary, but importing it installs the default
reactor, so nothing of it is used here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from traceback import clear_frames

from attrs import frozen

from ... import errors

_UNSENDABLE = str.maketrans({"\r": "?", "\n": "?", "\0": "?"})


@frozen
class Reply:
    """An answer.

    :ivar lines: its text; with more than one, all but the first and the last are indented, so that none of them can be
        taken for the end of the answer.
    """

    code: int
    lines: Sequence[str]

    @classmethod
    def of(cls, code: int, *lines: str) -> Reply:
        return cls(code, lines)

    def encode(self) -> bytes:
        """The answer's bytes. No name ends a line, whatever it holds; an IAC byte is doubled, as Telnet wants."""
        texts = [line.translate(_UNSENDABLE) for line in self.lines]
        if len(texts) == 1:
            text = f"{self.code} {texts[0]}\r\n"
        else:
            between = "".join(f" {line}\r\n" for line in texts[1:-1])
            text = f"{self.code}-{texts[0]}\r\n{between}{self.code} {texts[-1]}\r\n"
        return text.encode("utf-8", "surrogateescape").replace(b"\xff", b"\xff\xff")


class Refusal(Exception):
    """A command is answered with an error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.reply = Reply.of(code, text)


_CODES: Mapping[type[errors.FileSystemError], int] = {
    errors.QuotaExceeded: 552,
    errors.OutOfSpace: 452,
    errors.InvalidName: 553,
    errors.Busy: 450,
    errors.Unsupported: 504,
    errors.StorageMissing: 451,
    errors.StorageFailed: 451,
    errors.Closed: 451,
}


def refused(error: errors.FileSystemError) -> Reply:
    """What a client is told of a file operation that did not take place."""
    text = str(error)
    for cls in type(error).__mro__:
        if code := _CODES.get(cls):
            return Reply.of(code, text[:1].upper() + text[1:])
    return Reply.of(550, text[:1].upper() + text[1:])


def forget(error: BaseException | None) -> None:
    """Let go of where an error came from that was dealt with.

    Errors that come out of a Deferred refer to themselves by way of what was at hand where they passed. As long as
    nobody finds such a circle it keeps everything of it, open folders too.
    """
    while error is not None:
        clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__context__


def quoted(path: str) -> str:
    """A path as 257 shows it."""
    return '"' + path.replace('"', '""') + '"'


LOGIN_FIRST = Reply.of(530, "Log in with USER and PASS first")
TLS_FIRST = Reply.of(530, "TLS is required: say AUTH TLS first")
ABORTED = Reply.of(426, "Transfer aborted")
DRAINING = Reply.of(421, "This server is being taken out of service, try again")
FAILED_HERE = Reply.of(451, "Local error")
