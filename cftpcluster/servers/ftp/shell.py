"""An account in Twisted's FTP vocabulary: ``IFTPShell``, ``IReadFile`` and ``IWriteFile``.

For protocols that are written against Twisted's, such as ``twisted.protocols.ftp.FTP`` itself. Our own server does not
need it, and must not import this module: with it comes ``twisted.protocols.ftp``, which installs the default reactor.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.protocols import ftp
from twisted.python.filepath import Permissions
from zope.interface import implementer

from ... import errors
from ...files import paths
from ...files.streams import FileReceiver, FileSender
from ...interfaces import IAccount, IFile
from ...vocabulary import Kind, OpenMode, Stat, VirtualPath

R = TypeVar("R")
Facts: TypeAlias = list[Any]
Listed: TypeAlias = list[tuple[str | bytes, list[Any]]]

LISTED_LIMIT = 100_000
"""Names of a folder at most: the vocabulary has them all at once."""


class NotTaken(ftp.FTPCmdError):
    """Whatever has no class of its own."""

    errorCode = ftp.REQ_ACTN_NOT_TAKEN


class NoRoom(ftp.FTPCmdError):
    """An upload did not fit; its answer takes no words."""

    errorCode = ftp.EXCEEDED_STORAGE_ALLOC


_ERRORS: Mapping[type[errors.FileSystemError], type[Exception]] = {
    errors.NotFound: ftp.FileNotFoundError,
    errors.PermissionDenied: ftp.PermissionDeniedError,
    errors.NotAFolder: ftp.IsNotADirectoryError,
    errors.IsAFolder: ftp.IsADirectoryError,
    errors.AlreadyExists: ftp.FileExistsError,
}


def _translated(error: errors.FileSystemError, path: str) -> Exception:
    for cls in type(error).__mro__:
        if found := _ERRORS.get(cls):
            return found(path)
    return NotTaken(str(error))


def _path(segments: Sequence[str | bytes]) -> VirtualPath:
    raw = b"/".join(each if isinstance(each, bytes) else paths.encode(each) for each in segments)
    return paths.parse(b"/" + raw)


def _name(name: str) -> str | bytes:
    """Text where it is some, else bytes."""
    raw = paths.encode(name)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def _facts(stat: Stat, keys: Sequence[str]) -> Facts:
    known = {
        "size": stat.size,
        "directory": stat.kind is Kind.folder,
        "permissions": Permissions(stat.mode),
        "hardlinks": stat.links,
        "modified": stat.modified,
        "owner": "ftp",
        "group": "ftp",
    }
    return [known[key] for key in keys]


@implementer(ftp.IFTPShell)
@define(eq=False)
class AccountShell:
    """What a user reaches."""

    _account: IAccount

    def logout(self) -> Deferred[None]:
        """Twisted's server calls this where its connection ends."""
        return self._account.logout()

    def makeDirectory(self, path: Sequence[str]) -> Deferred[None]:
        return self._do(path, self._account.files.makeDirectory)

    def removeDirectory(self, path: Sequence[str]) -> Deferred[None]:
        return self._do(path, self._account.files.removeDirectory)

    def removeFile(self, path: Sequence[str]) -> Deferred[None]:
        return self._do(path, self._account.files.remove)

    def rename(self, fromPath: Sequence[str], toPath: Sequence[str]) -> Deferred[None]:
        return self._do(fromPath, lambda old: self._account.files.rename(old, _path(toPath), True))

    def access(self, path: Sequence[str]) -> Deferred[None]:
        return self._do(path, self._access)

    def stat(self, path: Sequence[str], keys: Sequence[str] = ()) -> Deferred[Facts]:
        return self._do(path, lambda where: self._stat(where, keys))

    def list(self, path: Sequence[str], keys: Sequence[str] = ()) -> Deferred[Listed]:
        return self._do(path, lambda where: self._list(where, keys))

    def openForReading(self, path: Sequence[str]) -> Deferred[ReadFile]:
        return self._do(path, self._openForReading)

    def openForWriting(self, path: Sequence[str]) -> Deferred[WriteFile]:
        return self._do(path, self._openForWriting)

    def _do(self, path: Sequence[str], perform: Callable[[VirtualPath], Awaitable[R]]) -> Deferred[R]:
        async def run() -> R:
            try:
                return await perform(_path(path))
            except errors.FileSystemError as error:
                raise _translated(error, "/".join(map(str, path))) from None

        return Deferred.fromCoroutine(run())

    async def _access(self, path: VirtualPath) -> None:
        """Whether a client may make it its current folder."""
        if (await self._account.files.stat(path)).kind is not Kind.folder:
            raise errors.NotAFolder

    async def _stat(self, path: VirtualPath, keys: Sequence[str]) -> Facts:
        return _facts(await self._account.files.stat(path), keys)

    async def _list(self, path: VirtualPath, keys: Sequence[str]) -> Listed:
        stat = await self._account.files.stat(path)
        if stat.kind is not Kind.folder:
            return [(_name(path[-1]), _facts(stat, keys))]
        found: Listed = []
        listing = await self._account.files.list(path)
        try:
            while entries := await listing.next():
                found += [(_name(entry.name), _facts(entry.stat, keys)) for entry in entries]
                if len(found) > LISTED_LIMIT:
                    raise errors.Unsupported(f"the folder has more than {LISTED_LIMIT} names")
        finally:
            listing.close()
        return found

    async def _openForReading(self, path: VirtualPath) -> ReadFile:
        return ReadFile(await self._account.files.open(path, OpenMode.read))

    async def _openForWriting(self, path: VirtualPath) -> WriteFile:
        return WriteFile(await self._account.files.open(path, OpenMode.replace))


@implementer(ftp.IReadFile)
@define(eq=False)
class ReadFile:
    _file: IFile

    def send(self, consumer: IConsumer) -> Deferred[None]:
        return Deferred.fromCoroutine(self._send(consumer))

    async def _send(self, consumer: IConsumer) -> None:
        try:
            length = (await self._file.stat()).size
            if await FileSender(self._file, consumer).send(0, length) < length:
                raise NotTaken("the file became shorter meanwhile")
        except errors.FileSystemError as error:
            raise NotTaken(str(error)) from None
        finally:
            await self._file.abort(False)


@implementer(ftp.IWriteFile, IConsumer)
@define(eq=False)
class WriteFile:
    """A file, and the consumer that writes it. Twisted's server closes it whether or not all its data came: whoever
    wants broken uploads told from whole ones uses ours."""

    _file: IFile
    _receiver: FileReceiver | None = field(default=None, init=False)

    def receive(self) -> Deferred[IConsumer]:
        received: Deferred[IConsumer] = Deferred()
        received.callback(self)
        return received

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        # A sender is heard out after an error: Twisted's server has its answer only for one who ended in order.
        self._receiver = FileReceiver(self._file, 0, producer, lambda failure: None)

    def unregisterProducer(self) -> None:
        """The end comes with :meth:`close`."""

    def write(self, data: bytes) -> None:
        assert self._receiver is not None
        self._receiver.dataReceived(data)

    def close(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        try:
            if self._receiver is not None:
                await self._receiver.finish()
        except errors.FileSystemError as error:
            await self._file.abort(not isinstance(error, errors.OutOfSpace))
            raise _unwritten(error) from None
        try:
            await self._file.commit()
        except errors.FileSystemError as error:
            raise _unwritten(error) from None


def _unwritten(error: errors.FileSystemError) -> Exception:
    return NoRoom() if isinstance(error, errors.OutOfSpace) else NotTaken(str(error))


def ftpShell(account: IAccount) -> AccountShell:
    """The avatar for ``IFTPShell``, as a realm makes avatars from accounts."""
    return AccountShell(account)
