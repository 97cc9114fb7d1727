"""Names in the user's tree: CWD, CDUP, PWD, MKD, RMD, DELE, RNFR, RNTO (RFC 959, section 4.1.3), SIZE, MDTM (RFC 3659),
MFMT and MFF (draft-somers-ftp-mfxx).

Every file system error is answered by :func:`.replies.refused`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import evolve

from ...errors import IsAFolder, NotAFolder, PermissionDenied
from ...files import paths
from ...vocabulary import Attributes, Kind
from . import listings
from .replies import Refusal, Reply, forget, quoted
from .session import Command, Session

_MODE = re.compile(r"0?([0-7]{3})")


async def changeFolder(session: Session, argument: str) -> Reply:
    path = session.path(argument)
    if (await session.files.stat(path)).kind is not Kind.folder:
        raise NotAFolder
    session.folder = path
    return Reply.of(250, f"Folder is {paths.render(path)}")


async def changeUp(session: Session, argument: str) -> Reply:
    session.folder = session.folder[:-1]
    return Reply.of(250, f"Folder is {paths.render(session.folder)}")


async def printFolder(session: Session, argument: str) -> Reply:
    return Reply.of(257, f"{quoted(paths.render(session.folder))} is the current folder")


async def makeFolder(session: Session, argument: str) -> Reply:
    path = session.path(argument)
    await session.files.makeDirectory(path)
    return Reply.of(257, f"{quoted(paths.render(path))} created")


async def removeFolder(session: Session, argument: str) -> Reply:
    await session.files.removeDirectory(session.path(argument))
    return Reply.of(250, "Folder removed")


async def delete(session: Session, argument: str) -> Reply:
    await session.files.remove(session.path(argument))
    return Reply.of(250, "File deleted")


async def renameFrom(session: Session, argument: str) -> Reply:
    session.renaming = None
    path = session.path(argument)
    try:
        await session.files.stat(path, follow=False)
    except PermissionDenied as error:
        # Who may not look may still rename what they know to be there; RNTO tells.
        forget(error)
    session.renaming = path
    return Reply.of(350, "Say RNTO with the new name")


async def renameTo(session: Session, argument: str) -> Reply:
    old, session.renaming = session.renaming, None
    if old is None:
        return Reply.of(503, "Say RNFR first")
    await session.files.rename(old, session.path(argument), True)
    return Reply.of(250, "Renamed")


# --- facts of a file


async def size(session: Session, argument: str) -> Reply:
    if session.ascii:
        return Reply.of(550, "SIZE is for TYPE I: a text's length depends on its lines")
    stat = await session.files.stat(session.path(argument))
    if stat.kind is Kind.folder:
        raise IsAFolder
    return Reply.of(213, str(stat.size))


async def modified(session: Session, argument: str) -> Reply:
    stat = await session.files.stat(session.path(argument))
    return Reply.of(213, listings.timeText(stat.modified))


async def modify(session: Session, argument: str) -> Reply:
    when, _, name = argument.partition(" ")
    if not name:
        return Reply.of(501, "Expected YYYYMMDDHHMMSS and a path")
    seconds = time_(when)
    await session.files.setAttributes(session.path(name), Attributes(modified=seconds))
    return Reply.of(213, f"Modify={listings.timeText(seconds)}; {name}")


async def modifyFacts(session: Session, argument: str) -> Reply:
    """``Modify=...;UNIX.mode=...; path``, all of it or nothing."""
    texts, _, name = argument.partition(" ")
    if not name or not texts.endswith(";"):
        return Reply.of(501, "Expected fact=value; and a path")
    wanted, told = Attributes(), []
    for text in texts[:-1].split(";"):
        fact, _, value = text.partition("=")
        match fact.lower():
            case "modify":
                wanted = evolve(wanted, modified=time_(value))
                told.append(f"Modify={listings.timeText(time_(value))};")
            case "unix.mode":
                wanted = evolve(wanted, mode=mode_(value))
                told.append(f"UNIX.mode=0{mode_(value):03o};")
            case _:
                return Reply.of(504, "Facts that can be set are Modify and UNIX.mode")
    await session.files.setAttributes(session.path(name), wanted)
    return Reply.of(213, f"{''.join(told)} {name}")


def time_(text: str) -> float:
    """A time as a client wrote it."""
    try:
        return listings.parseTime(text)
    except ValueError:
        raise Refusal(501, "Expected a time as YYYYMMDDHHMMSS") from None


def mode_(text: str) -> int:
    """A mode as a client wrote it."""
    match = _MODE.fullmatch(text)
    if match is None:
        raise Refusal(501, "Expected a mode such as 640")
    return int(match[1], 8)


def _both(first: str, second: str, command: Command) -> tuple[Command, Command]:
    """A command under its name and under that of RFC 775."""
    return (
        Command(first, command.run, command.usage),
        Command(second, command.run, command.usage),
    )


COMMANDS: Sequence[Command] = (
    *_both("CWD", "XCWD", Command("CWD", changeFolder, "<path>")),
    *_both("CDUP", "XCUP", Command("CDUP", changeUp)),
    *_both("PWD", "XPWD", Command("PWD", printFolder)),
    *_both("MKD", "XMKD", Command("MKD", makeFolder, "<path>")),
    *_both("RMD", "XRMD", Command("RMD", removeFolder, "<path>")),
    Command("DELE", delete, "<path>"),
    Command("RNFR", renameFrom, "<path>"),
    Command("RNTO", renameTo, "<path>"),
    Command("SIZE", size, "<path>"),
    Command("MDTM", modified, "<path>"),
    Command("MFMT", modify, "<time> <path>"),
    Command("MFF", modifyFacts, "<fact=value;...> <path>"),
)
