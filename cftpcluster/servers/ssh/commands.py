"""Commands that clients send with ``exec``: those that move files or tell of them, and nothing else.

    scp                          as the remote end of the program of that name
    md5sum, sha1sum, sha256sum   of files, or of standard input
    df, pwd, cd, echo            as far as clients of SFTP look around with them

There is no shell. Options and output are those of GNU's programs, as far as they are served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from ...errors import FileSystemError, NotAFolder
from ...files.paths import encode, parse, render
from ...files.wrappers import ability
from ...interfaces import IFileSystem, ISpaceReport
from ...vocabulary import Kind, Space
from .patterns import expanded
from .sayings import Misused, failed, namesOf, shown, why
from .scp import scp
from .standard import Streams
from .sums import SUMS, tellSums
from .words import NotSimple, split

NOT_FOUND, NOT_RUN = 127, 126
"""What shells exit with for a command that is not there, and for one that cannot be run."""

ONLY_FILES = b"This service offers file transfer only (SFTP, SCP)."

SHELL_QUESTION = b"echo ${ShellId}%ComSpec%"
"""How rclone finds out what kind of shell there is."""

Command: TypeAlias = Callable[[IFileSystem, Streams, Sequence[bytes]], Awaitable[int]]
"""Gives the exit status."""


async def refuseShell(streams: Streams) -> int:
    """What somebody gets who asks for a shell."""
    streams.error(ONLY_FILES)
    return 1


async def run(files: IFileSystem, streams: Streams, command: bytes) -> int:
    """Run what ``command`` says; gives the exit status."""
    if command == SHELL_QUESTION:
        streams.write(b"%ComSpec%\n")
        return 0
    try:
        words = split(command)
    except NotSimple as error:
        streams.error(b"cftpcluster: only file transfer is served here: the command has " + str(error).encode())
        return NOT_RUN
    name = words[0].text if words else b""
    program = _COMMANDS.get(name.removeprefix(b"/usr/bin/").removeprefix(b"/bin/"))
    if program is None:
        streams.error(b"cftpcluster: " + shown(name) + b": only file transfer is served here")
        return NOT_FOUND
    try:
        arguments = await expanded(files, words[1:], streams.check)
    except FileSystemError as error:
        streams.error(shown(name) + b": " + why(error))
        return 1
    return await program(files, streams, arguments)


# --- looking around


async def _echo(files: IFileSystem, streams: Streams, arguments: Sequence[bytes]) -> int:
    isBare = arguments[:1] == [b"-n"]
    streams.write(b" ".join(arguments[1:] if isBare else arguments) + (b"" if isBare else b"\n"))
    return 0


async def _pwd(files: IFileSystem, streams: Streams, arguments: Sequence[bytes]) -> int:
    streams.write(b"/\n")
    return 0


async def _cd(files: IFileSystem, streams: Streams, arguments: Sequence[bytes]) -> int:
    name = arguments[-1] if arguments else b"/"
    try:
        if (await files.stat(parse(name))).kind is not Kind.folder:
            raise NotAFolder
    except FileSystemError as error:
        streams.error(b"cd: " + failed(name, error))
        return 1
    return 0


_DF_OPTIONS = frozenset({b"-k", b"-P", b"-kP", b"-Pk"})


async def _df(files: IFileSystem, streams: Streams, arguments: Sequence[bytes]) -> int:
    try:
        names = namesOf(arguments, _DF_OPTIONS) or [b"/"]
    except Misused as error:
        streams.error(b"df: " + str(error).encode())
        return 1
    status, lines = 0, []
    report = ability(ISpaceReport, files)
    for name in names:
        await streams.room()
        try:
            path = parse(name)
            await files.stat(path)
            space = Space() if report is None else await report.space(path)
        except FileSystemError as error:
            streams.error(b"df: " + failed(name, error))
            status = 1
        else:
            lines.append(_spaceLine(space, encode(render(path))))
    if lines:
        streams.write(b"Filesystem     1K-blocks       Used  Available Use% Mounted on\n" + b"".join(lines))
    return status


def _spaceLine(space: Space, place: bytes) -> bytes:
    total, free = space.totalBytes, space.freeBytes
    used = None if total is None or free is None else max(0, total - free)
    share = b"-" if used is None or not total else b"%d%%" % -(-100 * used // total)
    sizes = [b"-" if size is None else b"%d" % (size // 1024) for size in (total, used, free)]
    return b"%-11s  %12s %10s %10s %4s %s\n" % (b"cftpcluster", *sizes, share, shown(place))


async def _rclone(files: IFileSystem, streams: Streams, arguments: Sequence[bytes]) -> int:
    """Another rclone asks so where it was told of more checksums than it finds programs for."""
    verb, *rest = arguments or [b""]
    if verb == b"hashsum" and rest:
        verb = rest.pop(0).lower() + b"sum"
    if verb not in SUMS:
        streams.error(b"rclone: only md5sum, sha1sum and hashsum are served here")
        return 1
    return await tellSums(verb, files, streams, rest)


_COMMANDS: Mapping[bytes, Command] = {
    b"scp": scp,
    b"echo": _echo,
    b"pwd": _pwd,
    b"cd": _cd,
    b"df": _df,
    b"rclone": _rclone,
    **{name: partial(tellSums, name) for name in SUMS},
}
