"""One simple command as a POSIX shell would cut it into words (IEEE 1003.1, XCU 2.2). Pure.

There is no shell: whatever needs more than quoting, patterns and ``~`` is refused as it stands.
"""

from __future__ import annotations

import re

from attrs import frozen

LONGEST_COMMAND = 64 * 1024


class NotSimple(Exception):
    """A command that only a shell could run; the text says what it has."""


@frozen
class Word:
    """
    :ivar text: what it says, without its quotes.
    :ivar pattern: the same, where something in it may stand for other characters: characters that were quoted are
        escaped by a backslash.
    """

    text: bytes
    pattern: bytes | None = None


_TOKEN = re.compile(
    rb"""(?P<blank>[ \t]+)
    | '(?P<single>[^']*)'
    | "(?P<double>(?:[^"\\$`]|\\.)*)"
    | \\(?P<escaped>.)
    | (?P<wild>[*?\[])
    | (?P<plain>[^\s'"\\*?\[;|&<>()$`\x00]+)""",
    re.VERBOSE | re.DOTALL,
)
_IN_DOUBLE_QUOTES = re.compile(rb'\\([$`"\\]|\n)', re.DOTALL)
_SPECIAL = re.compile(rb"[*?\[\]!^\\-]")
_UNFINISHED = {
    b"'": "a quote that does not end",
    b'"': "a quote that does not end, or an expansion",
    b"\\": "a stray \\",
}


def split(command: bytes) -> list[Word]:
    """The words of a command; ``NotSimple``."""
    if len(command) > LONGEST_COMMAND:
        raise NotSimple("too many characters")
    # A blank at the end may belong to a word.
    command = command.lstrip(b" \t\r\n").rstrip(b"\r\n")
    words: list[Word] = []
    word: _Growing | None = None
    position = 0
    while position < len(command):
        token = _TOKEN.match(command, position)
        if token is None or (word is None and token[0][:1] == b"#"):
            raise NotSimple(_complaint(command[position : position + 1]))
        position = token.end()
        if token.lastgroup == "blank":
            if word is not None:
                words.append(word.finished())
            word = None
        else:
            word = word or _Growing()
            word.add(token)
    return words if word is None else [*words, word.finished()]


def _complaint(character: bytes) -> str:
    return _UNFINISHED.get(character) or f"a {character.decode('latin-1')!r} that is not quoted"


class _Growing:
    def __init__(self) -> None:
        self._text = bytearray()
        self._pattern = bytearray()
        self._isPattern = False
        self._isEmpty = True
        self._isHome = False

    def add(self, token: re.Match[bytes]) -> None:
        kind = token.lastgroup or ""
        text = token[kind]
        if kind == "double":
            text = _IN_DOUBLE_QUOTES.sub(lambda match: b"" if match[1] == b"\n" else match[1], text)
        elif kind == "escaped" and text == b"\n":
            text = b""
        elif kind == "plain" and self._isEmpty and text.startswith(b"~/"):
            # everybody's home is the root
            text = text[1:]
        self._isHome = self._isEmpty and kind == "plain" and text == b"~"
        self._isEmpty = False
        isQuoted = kind in {"single", "double", "escaped"}
        self._text += text
        self._pattern += _SPECIAL.sub(rb"\\\g<0>", text) if isQuoted else text
        self._isPattern = self._isPattern or kind == "wild"

    def finished(self) -> Word:
        if self._isHome:
            return Word(b"/")
        return Word(bytes(self._text), bytes(self._pattern) if self._isPattern else None)
