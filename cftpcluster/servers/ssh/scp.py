"""The remote end of SCP, as OpenSSH's ``scp`` speaks it: what ``scp -t`` and ``scp -f`` ask for. Knows no shell."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ...interfaces import IFileSystem
from .records import complaint
from .sayings import Misused
from .scpsink import Sink
from .scpsource import Source
from .standard import Streams

_FLAGS = frozenset(b"dfpqrtv")
USAGE = b"scp: only scp -t [-dpqrv] FOLDER-OR-FILE and scp -f [-dpqrv] NAME... are served here"


@frozen
class Options:
    flags: frozenset[int]
    names: tuple[bytes, ...]

    @classmethod
    def parse(cls, arguments: Sequence[bytes]) -> Options:
        """``Misused``."""
        flags: set[int] = set()
        rest = list(arguments)
        while rest and rest[0].startswith(b"-") and rest[0] != b"-":
            argument = rest.pop(0)
            if argument == b"--":
                break
            flags.update(argument[1:])
        if not flags <= _FLAGS or not rest or (ord("t") in flags) == (ord("f") in flags):
            raise Misused
        return cls(frozenset(flags), tuple(rest))

    def has(self, flag: str) -> bool:
        return ord(flag) in self.flags


async def scp(files: IFileSystem, streams: Streams, arguments: Sequence[bytes]) -> int:
    """Send or take files as the arguments say; gives the exit status."""
    try:
        options = Options.parse(arguments)
    except Misused:
        streams.error(USAGE)
        return 1
    recursive, preserve = options.has("r"), options.has("p")
    if options.has("f"):
        return await Source(files, streams, recursive, preserve).send(options.names)
    if len(options.names) != 1:
        streams.write(complaint(b"ambiguous target"))
        return 1
    return await Sink(files, streams, recursive, preserve).receive(options.names[0] or b".", options.has("d"))
