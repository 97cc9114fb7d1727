"""Files over data connections: RETR, STOR, APPE, ABOR (RFC 959, section 4.1.3), restarted as RFC 3659, section 5, says.

An upload is committed before 226 is sent, and only when its data ended in order while the control connection was
there: what a broken connection, a killed client or ABOR leaves is a partial, which the client may continue.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from attrs import define
from twisted.internet.interfaces import IConsumer, IProducer
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from ...errors import AlreadyExists, FileSystemError, NotFound, OutOfSpace
from ...files import paths
from ...files.streams import FileReceiver, FileSender
from ...files.wrappers import ability
from ...interfaces import IFile, IOpened, ISizedUpload
from ...vocabulary import OpenMode, VirtualPath
from .data import DataConnection, DataLost
from .direct import sendFile
from .replies import Refusal, Reply, forget
from .session import Command, Session
from .text import FromWire, ToWire
from .underway import Transfer, conduct

log = Logger()

KILLED_SECONDS = 0.02
"""How long after an upload's end the control connection has to stand for it to count, where TLS does not tell. A kernel
that ends a killed process may have something else to do between one connection and the next."""

SMALL_BYTES = 4096
AT_ONCE_SECONDS = 0.001
"""What is shorter than the pieces in which clients send, and ends as soon as it came, was all that its client had: it
is not waited for so long."""

COMPLETE = Reply.of(226, "Transfer complete")


@implementer(IConsumer)
@define(eq=False)
class _TextConsumer:
    """A data connection that turns a text's lines into those of the wire."""

    _connection: DataConnection
    _lines: ToWire

    def write(self, data: bytes) -> None:
        self._connection.write(self._lines.convert(data))

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        self._connection.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        self._connection.unregisterProducer()


def _opening(session: Session, path: VirtualPath, size: str = "") -> Reply:
    kind = "ASCII" if session.ascii else "BINARY"
    return Reply.of(150, f"Opening {kind} mode data connection for {paths.render(path)}{size}")


# --- down


async def retrieve(session: Session, argument: str) -> Reply:
    offset = session.takeRestart()
    path = session.path(argument)
    if offset and session.ascii:
        return Reply.of(504, "Transfers of TYPE A cannot be restarted")

    async def work(transfer: Transfer) -> Reply:
        file = await session.files.open(path, OpenMode.read)
        try:
            return await _send(session, transfer, path, file, offset)
        finally:
            await close(file, keep=False)

    return await conduct(session, "RETR", paths.render(path), work)


async def _send(session: Session, transfer: Transfer, path: VirtualPath, file: IFile, offset: int) -> Reply:
    known = ability(IOpened, file)
    stat = (known and known.opened) or await file.stat()
    length = stat.size - offset
    if length < 0:
        return Reply.of(554, "The file is not that long")
    transfer.check()
    session.control.reply(_opening(session, path, "" if session.ascii else f" ({length} bytes)"))
    connection = await transfer.connect()
    if session.ascii:
        sent = await FileSender(file, _TextConsumer(connection, ToWire())).send(offset, length)
    else:
        sent = await sendFile(file, connection, offset, length)
    if sent < length:
        return Reply.of(451, "The file became shorter meanwhile")
    await connection.finish()
    return COMPLETE


async def close(file: IFile, keep: bool) -> None:
    """Close a file that is not committed. What was before counts more than whether this works."""
    try:
        await file.abort(keep)
    except FileSystemError as error:
        log.info("a file was not closed in order: {error}", error=str(error))


# --- up


@define
class Target:
    """Where an upload goes.

    :ivar told: what the client is told of it, where not just its name.
    """

    file: IFile
    offset: int
    told: str = ""


async def store(session: Session, argument: str) -> Reply:
    offset = session.takeRestart()
    path = session.path(argument)
    if not offset:
        return await upload(session, "STOR", path, lambda: _whole(session, path))
    if session.ascii:
        return Reply.of(504, "Transfers of TYPE A cannot be restarted")
    return await upload(session, "STOR", path, lambda: _continued(session, path, offset))


async def append(session: Session, argument: str) -> Reply:
    session.takeRestart()
    path = session.path(argument)
    return await upload(session, "APPE", path, lambda: _appended(session, path))


async def _whole(session: Session, path: VirtualPath) -> Target:
    return Target(await session.files.open(path, OpenMode.replace), 0)


async def _continued(session: Session, path: VirtualPath, offset: int) -> Target:
    """A partial of this user is cut at ``offset``; of a committed file the bytes from there are written over."""
    try:
        file, isPartial = await session.files.open(path, OpenMode.resume), True
    except NotFound as error:
        forget(error)
        file, isPartial = await session.files.open(path, OpenMode.inPlace), False
    try:
        size = (await file.stat()).size
        if offset > size:
            raise Refusal(554, f"Only {size} bytes are here to continue")
        if isPartial and offset < size:
            await file.truncate(offset)
    except (Refusal, FileSystemError):
        await close(file, keep=True)
        raise
    return Target(file, offset)


async def _appended(session: Session, path: VirtualPath) -> Target:
    file = await _openToAppend(session, path)
    try:
        return Target(file, (await file.stat()).size)
    except FileSystemError:
        await close(file, keep=True)
        raise


async def _openToAppend(session: Session, path: VirtualPath) -> IFile:
    """A partial, else a new file, else the committed one: only the last needs more than the right to upload."""
    try:
        return await session.files.open(path, OpenMode.resume)
    except NotFound as error:
        forget(error)
    try:
        return await session.files.open(path, OpenMode.create)
    except AlreadyExists as error:
        forget(error)
        return await session.files.open(path, OpenMode.inPlace)


async def upload(session: Session, verb: str, path: VirtualPath, opened: Callable[[], Awaitable[Target]]) -> Reply:
    announced = session.takeAllocation()

    async def work(transfer: Transfer) -> Reply:
        target = await opened()
        try:
            sized = ability(ISizedUpload, target.file)
            if sized is not None and not session.ascii:
                sized.expect(target.offset + announced)
            transfer.check()
            session.control.reply(Reply.of(150, target.told) if target.told else _opening(session, path))
            await _receive(session, transfer, target)
        except Exception as error:
            # On a full disk a partial only keeps it full.
            await close(target.file, keep=not isinstance(error, OutOfSpace))
            raise
        await target.file.commit()
        return Reply.of(226, target.told) if target.told else COMPLETE

    return await conduct(session, verb, paths.render(path), work)


async def _receive(session: Session, transfer: Transfer, target: Target) -> None:
    connection = await transfer.connect()
    receiver = FileReceiver(target.file, target.offset, connection, lambda failure: connection.abort())
    transfer.isHeld = lambda: receiver.isHolding
    lines = FromWire() if session.ascii else None
    begun = 0.0

    def taken(data: bytes) -> None:
        nonlocal begun
        if not begun:
            begun = session.reactor.seconds()
            if lines is None:
                connection.fill(receiver)
        receiver.dataReceived(data if lines is None else lines.convert(data))

    lost = False
    try:
        await connection.deliverTo(taken)
        connection.close()
    except DataLost:
        lost = True
    transfer.stopWatching()
    if lines is not None:
        receiver.dataReceived(lines.finish())
    ended = session.reactor.seconds()
    await receiver.finish(isBroken=lost)
    if lost:
        raise DataLost
    # A client's kernel ends all connections of a killed process in order, as if it had said everything. TLS tells the
    # difference; without it the end of the control connection does, which follows at once.
    if not connection.secured:
        wasAtOnce = 0 < connection.received < SMALL_BYTES and ended - begun < AT_ONCE_SECONDS
        await deferLater(session.reactor, 0 if wasAtOnce else KILLED_SECONDS)
        if session.control.isLeaving:
            raise DataLost
    transfer.check()


async def abort(session: Session, argument: str) -> Reply:
    """The end of ABOR: a transfer that ran has been ended and has answered."""
    session.data.close()
    return Reply.of(226, "Nothing is being transferred")


COMMANDS: Sequence[Command] = (
    Command("RETR", retrieve, "<path>"),
    Command("STOR", store, "<path>"),
    Command("APPE", append, "<path>"),
    Command("ABOR", abort),
)
