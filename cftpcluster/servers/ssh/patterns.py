"""File names that a shell would put in place of a pattern, as ``scp host:'*.txt' .`` has the server's side do.

Only what lies in folders is looked at, for one name of the pattern after the other, and no more than a bounded number
of names is kept; ``**`` is the same as ``*``. Knows no command.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable

from ...errors import FileSystemError
from ...files.paths import decode, encode, parse
from ...interfaces import IFileSystem
from ...vocabulary import Kind
from .words import Word

MATCH_LIMIT = 10_000
"""So many names at most in place of the patterns of a command."""


class TooManyNames(FileSystemError):
    message = f"stands for more than {MATCH_LIMIT} names"


_WILDCARD = re.compile(r"(?:[^\\*?\[]|\\.)*[*?\[]", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a name fits ``pattern``, which is a single name's; a character after a backslash stands for itself."""
    plain = _ESCAPED.sub(lambda match: f"[{match[1]}]" if match[1] in "*?[" else match[1], pattern.replace("[^", "[!"))
    # The standard library's patterns take linear time for each star: every star is tried once.
    matches = re.compile(fnmatch.translate(plain)).match
    showsHidden = plain.startswith(".")
    return lambda name: matches(name) is not None and (showsHidden or not name.startswith("."))


async def expanded(files: IFileSystem, words: Iterable[Word], check: Callable[[], None]) -> list[bytes]:
    """What the words say, with names of files in place of patterns that fit any.

    :param check: called now and then; what it raises ends the search.

    Fails with ``TooManyNames``.
    """
    texts: list[bytes] = []
    for word in words:
        found = [] if word.pattern is None else await _found(files, decode(word.pattern), check)
        texts += found or [word.text]
        if found and len(texts) > MATCH_LIMIT:
            raise TooManyNames
    return texts


async def _found(files: IFileSystem, pattern: str, check: Callable[[], None]) -> list[bytes]:
    first, *rest = re.split("/+", pattern)
    texts = [""]
    if first:
        texts = await _step(files, [""], first, check)
    for part in rest:
        texts = await _step(files, [text + "/" for text in texts], part, check)
    return sorted(map(encode, texts))


async def _step(files: IFileSystem, prefixes: list[str], part: str, check: Callable[[], None]) -> list[str]:
    """What lies behind ``prefixes`` by the name, or names, that ``part`` stands for."""
    texts: list[str] = []
    matches = matcher(part) if _WILDCARD.match(part) else None
    literal = _ESCAPED.sub(r"\1", part)
    for prefix in prefixes:
        check()
        try:
            if matches is None:
                stat = await files.stat(parse(prefix + literal))
                if literal or stat.kind is Kind.folder:
                    texts.append(prefix + literal)
            else:
                await _collect(files, prefix, matches, texts, check)
        except TooManyNames:
            raise
        except FileSystemError:
            # what cannot be looked at fits nothing
            continue
    return texts


async def _collect(
    files: IFileSystem, prefix: str, matches: Callable[[str], bool], texts: list[str], check: Callable[[], None]
) -> None:
    listing = await files.list(parse(prefix))
    try:
        while entries := await listing.next():
            check()
            texts += [prefix + entry.name for entry in entries if matches(entry.name)]
            if len(texts) > MATCH_LIMIT:
                raise TooManyNames
    finally:
        listing.close()
