"""Names and facts of a folder: LIST, NLST, STAT (RFC 959, section 4.1.3; RFC 1123, section 4.1.2.7) and MLSD, MLST
(RFC 3659, section 7).

A folder is read and sent batch by batch. Only the last name of a path may be a pattern.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.task import deferLater

from ...errors import NotAFolder, NotFound
from ...files import paths
from ...files.streams import Patient
from ...interfaces import IListing
from ...vocabulary import Entry, Kind, Stat
from . import listings
from .data import DataConnection, DataLost
from .information import status
from .replies import Refusal, Reply, forget
from .session import Command, Session
from .underway import Transfer, conduct

TURN_LINES = 500
"""Lines that are written before other connections have their turn."""

STATUS_LINES = 1000
"""Lines that STAT gives of a folder; LIST has no such bound."""

_OPTIONS = re.compile(r"(?:-[A-Za-z0-9]+(?: +|\Z))*(?:--(?: +|\Z))?")
_WILDCARD = re.compile(r"[*?\[]")

LineOf = Callable[[str, Stat], bytes]


@frozen
class _Source:
    """What is listed: a folder, read from ``listing``, with only the names that ``matches`` where there is a pattern;
    or the one ``entry`` that is no folder.

    :ivar prefix: what a client has to put before a name to use it as a path.
    """

    listing: IListing | None
    entry: Entry | None = None
    matches: re.Pattern[str] | None = None
    prefix: str = ""

    async def batches(self) -> AsyncIterator[Sequence[Entry]]:
        if self.entry is not None:
            yield [self.entry]
        while self.listing is not None and (entries := await self.listing.next()):
            if self.matches is None:
                yield entries
            else:
                yield [entry for entry in entries if self.matches.match(entry.name)]

    def close(self) -> None:
        if self.listing is not None:
            self.listing.close()


async def _source(session: Session, argument: str) -> _Source:
    """Find what ``argument`` means. A name that exists is meant as it stands, also where it could be a pattern."""
    path = session.path(argument)
    try:
        stat = await session.files.stat(path)
    except NotFound as error:
        forget(error)
        name = argument.rpartition("/")[2]
        if not _WILDCARD.search(name):
            raise
        return await _matching(session, argument.removesuffix(name), name)
    if stat.kind is not Kind.folder:
        folder, slash, name = argument.rpartition("/")
        if name in {"", ".", ".."}:
            raise NotAFolder
        return _Source(None, Entry(name, stat), prefix=folder + slash)
    prefix = argument if not argument or argument.endswith("/") else argument + "/"
    return _Source(await session.files.list(path), prefix=prefix)


async def _matching(session: Session, folder: str, pattern: str) -> _Source:
    # A pattern is no longer than a name, and the standard library's match in linear time: every star is tried once.
    matches = re.compile(fnmatch.translate(pattern))
    return _Source(await session.files.list(session.path(folder)), matches=matches, prefix=folder)


def _withoutOptions(argument: str) -> str:
    """The path after what users of ``ls`` put before it."""
    match = _OPTIONS.match(argument)
    return argument[match.end() :] if match else argument


# --- over the data connection


async def _listed(
    session: Session,
    verb: str,
    argument: str,
    found: Callable[[], Awaitable[_Source]],
    lineOf: Callable[[_Source], LineOf],
) -> Reply:
    async def work(transfer: Transfer) -> Reply:
        source = await found()
        try:
            transfer.check()
            session.control.reply(Reply.of(150, "Here comes the listing"))
            await _send(session.reactor, await transfer.connect(), source, lineOf(source))
        finally:
            source.close()
        return Reply.of(226, "Listing sent")

    return await conduct(session, verb, paths.render(session.path(argument)), work)


async def _send(reactor: Any, connection: DataConnection, source: _Source, line: LineOf) -> None:
    producer = Patient()
    connection.registerProducer(producer, True)
    try:
        async for entries in source.batches():
            for start in range(0, len(entries), TURN_LINES):
                some = entries[start : start + TURN_LINES]
                connection.write(b"".join([line(entry.name, entry.stat) for entry in some]))
                await deferLater(reactor, 0)
                if not await producer.isTaken():
                    raise DataLost
    finally:
        connection.unregisterProducer()
    await connection.finish()


async def list_(session: Session, argument: str) -> Reply:
    argument = _withoutOptions(argument)
    now = session.now()

    def lineOf(source: _Source) -> LineOf:
        return lambda name, stat: listings.longLine(name, stat, now)

    return await _listed(session, "LIST", argument, lambda: _source(session, argument), lineOf)


async def nameList(session: Session, argument: str) -> Reply:
    argument = _withoutOptions(argument)

    def lineOf(source: _Source) -> LineOf:
        return lambda name, stat: listings.nameLine(source.prefix + name)

    return await _listed(session, "NLST", argument, lambda: _source(session, argument), lineOf)


async def machineList(session: Session, argument: str) -> Reply:
    async def found() -> _Source:
        try:
            return _Source(await session.files.list(session.path(argument)))
        except NotAFolder:
            raise Refusal(501, "MLSD is for folders, say MLST") from None

    def lineOf(source: _Source) -> LineOf:
        return lambda name, stat: listings.factsLine(name, stat, session.facts)

    return await _listed(session, "MLSD", argument, found, lineOf)


# --- over the control connection


async def machineStatus(session: Session, argument: str) -> Reply:
    path = session.path(argument)
    stat = await session.files.stat(path)
    return Reply.of(250, "Facts:", f"{listings.facts(stat, session.facts)} {paths.render(path)}", "End")


async def stat_(session: Session, argument: str) -> Reply:
    if not argument:
        return status(session)
    # Options alone ask for the current folder: so clients list without data connections.
    source = await _source(session, _withoutOptions(argument))
    now = session.now()
    lines: list[str] = []
    try:
        async for entries in source.batches():
            lines += [paths.decode(listings.longLine(entry.name, entry.stat, now)[:-2]) for entry in entries]
            if len(lines) > STATUS_LINES:
                lines[STATUS_LINES:] = ["... and more, say LIST"]
                break
    finally:
        source.close()
    return Reply.of(213 if source.entry else 212, "Status:", *lines, "End")


COMMANDS: Sequence[Command] = (
    Command("LIST", list_, "[<path>]"),
    Command("NLST", nameList, "[<path>]"),
    Command("MLSD", machineList, "[<path>]"),
    Command("MLST", machineStatus, "[<path>]"),
    Command("STAT", stat_, "[<path>]", aside=True),
)
