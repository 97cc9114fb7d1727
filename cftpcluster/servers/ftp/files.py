"""Names in the user's tree: CWD, CDUP, PWD, MKD, RMD, DELE, RNFR, RNTO (RFC 959, section 4.1.3), SIZE, MDTM (RFC 3659),
MFMT (draft-somers-ftp-mfxx) and SITE CHMOD and UTIME.

Every file system error is answered by :func:`.replies.refused`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...errors import IsAFolder, NotAFolder, PermissionDenied
from ...files import paths
from ...vocabulary import Attributes, Kind
from . import listings
from .replies import Refusal, Reply, quoted
from .session import Command, Session

_MODE = re.compile(r"0?([0-7]{3})")
_UTIME = re.compile(r"([0-9]{12,14}) (.+)", re.DOTALL)
_UTIME_AFTER = re.compile(r"(.+) ([0-9]{14}) ([0-9]{14}) [0-9]{14} UTC", re.DOTALL)


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
    except PermissionDenied:
        # Who may not look may still rename what they know to be there; RNTO tells.
        pass
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
    seconds = _time(when)
    await session.files.setAttributes(session.path(name), Attributes(modified=seconds))
    return Reply.of(213, f"Modify={listings.timeText(seconds)}; {name}")


def _time(text: str) -> float:
    try:
        return listings.parseTime(text)
    except ValueError:
        raise Refusal(501, "Expected a time as YYYYMMDDHHMMSS") from None


# --- SITE


async def site(session: Session, argument: str) -> Reply:
    verb, _, rest = argument.partition(" ")
    match verb.upper():
        case "CHMOD":
            return await _changeMode(session, rest)
        case "UTIME":
            return await _changeTimes(session, rest)
        case "HELP":
            return Reply.of(214, "SITE CHMOD <mode> <path>, SITE UTIME <time> <path>")
    return Reply.of(504, "There is SITE CHMOD, SITE UTIME and SITE HELP")


async def _changeMode(session: Session, argument: str) -> Reply:
    mode, _, name = argument.partition(" ")
    match = _MODE.fullmatch(mode)
    if match is None or not name:
        return Reply.of(501, "Expected a mode such as 640 and a path")
    await session.files.setAttributes(session.path(name), Attributes(mode=int(match[1], 8)))
    return Reply.of(200, "Mode changed")


async def _changeTimes(session: Session, argument: str) -> Reply:
    """``time path``, or what some clients send: ``path access modification creation UTC``."""
    if match := _UTIME_AFTER.fullmatch(argument):
        name, attributes = match[1], Attributes(accessed=_time(match[2]), modified=_time(match[3]))
    elif match := _UTIME.fullmatch(argument):
        name, attributes = match[2], Attributes(modified=_time(match[1].ljust(14, "0")))
    else:
        return Reply.of(501, "Expected YYYYMMDDHHMMSS and a path")
    await session.files.setAttributes(session.path(name), attributes)
    return Reply.of(200, "Times changed")


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
    Command("SITE", site, "CHMOD|UTIME|HELP ..."),
)
