"""STOU: an upload under a name that the server chooses (RFC 959, section 4.1.3; RFC 1123, section 4.1.2.9)."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import AlreadyExists
from ...files import paths
from ...vocabulary import OpenMode, VirtualPath
from .replies import Reply
from .session import Command, Session
from .transfer import Target, upload

_BITS = 48
_LONGEST_START = 200
"""So many characters of a name at most stand before what makes it unique."""


async def storeUnique(session: Session, argument: str) -> Reply:
    """In the current folder; a path that the client gives says in which folder, and how the name begins."""
    if session.takeRestart():
        return Reply.of(450, "There is nothing to continue under a new name")
    folder, slash, start = argument.rpartition("/")
    ending = f"{session.random.getrandbits(_BITS):0{_BITS // 4}x}"
    path = session.path(f"{folder}{slash}{start[:_LONGEST_START] or 'upload'}.{ending}")
    return await upload(session, "STOU", path, lambda: _opened(session, path))


async def _opened(session: Session, path: VirtualPath) -> Target:
    try:
        file = await session.files.open(path, OpenMode.create)
    except AlreadyExists:
        raise AlreadyExists("no free name was found, try again") from None
    return Target(file, 0, f"FILE: {path[-1] if path[:-1] == session.folder else paths.render(path)}")


COMMANDS: Sequence[Command] = (Command("STOU", storeUnique, "[<start of the name>]"),)
