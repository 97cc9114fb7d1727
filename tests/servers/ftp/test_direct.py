"""Tests of :mod:`cftpcluster.servers.ftp.direct`, over real sockets and with files of the disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from cftpcluster.auth.tree import FileTrees
from cftpcluster.config.document import Limits, Mount, User
from cftpcluster.errors import StorageFailed
from cftpcluster.files.streams import Stopped
from cftpcluster.files.throttled import AllRates
from cftpcluster.interfaces import IHasDescriptor, IOpened
from cftpcluster.servers.ftp.data import DataConnection
from cftpcluster.servers.ftp.direct import WINDOW_BYTES, sendFile
from cftpcluster.testing.auth import documentWith, originOf
from cftpcluster.vocabulary import OpenMode
from tests.files.localbackends import LocalMixin

CONTENTS = os.urandom(3_000_001)


class DiskFile:
    """A file of the disk.

    :ivar isForKernel: whether the kernel may send it.
    :ivar kernelBytes: what the kernel sent of it.
    :ivar readBytes: what was read of it to be sent.
    """

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY)
        self.isForKernel = True
        self.kernelBytes = self.readBytes = 0

    def __conform__(self, interface: Any) -> Any:
        return self if interface is IHasDescriptor and self.isForKernel else None

    def descriptor(self) -> int:
        return self.number

    def sent(self, byteCount: int) -> None:
        self.kernelBytes += byteCount

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        data = os.pread(self.number, length, offset)
        self.readBytes += len(data)
        return succeed(data)


class Client(Protocol):
    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.ended.callback(b"".join(self.pieces))


class ConnectedCase(TestCase):
    async def connect(self) -> None:
        opened: Deferred[DataConnection] = Deferred()
        factory = Factory.forProtocol(
            lambda: DataConnection(
                secured=False, requireCloseNotify=True, opened=opened.callback, lost=lambda connection: None
            )
        )
        port = reactor.listenTCP(0, factory, interface="127.42.7.2")
        self.addCleanup(port.stopListening)
        endpoint = TCP4ClientEndpoint(reactor, "127.42.7.2", port.getHost().port)
        self.client = await endpoint.connect(Factory.forProtocol(Client))
        self.connection = await opened


class SendFileTests(ConnectedCase):
    def setUp(self) -> None:
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(CONTENTS)
        self.file: Any = DiskFile(path)
        self.addCleanup(os.close, self.file.number)

    async def test_theKernelSendsItAll(self) -> None:
        await self.connect()
        self.assertEqual(await sendFile(self.file, self.connection, 1, len(CONTENTS) - 1), len(CONTENTS) - 1)
        await self.connection.finish()
        self.assertEqual(await self.client.ended, CONTENTS[1:])
        self.assertEqual((self.file.kernelBytes, self.connection.sent), (len(CONTENTS) - 1, len(CONTENTS) - 1))
        self.assertEqual(self.file.readBytes, 0)

    async def test_aFileThatBecameShorterEndsEarly(self) -> None:
        await self.connect()
        self.assertEqual(await sendFile(self.file, self.connection, 0, len(CONTENTS) + 5), len(CONTENTS))
        await self.connection.finish()
        self.assertEqual(await self.client.ended, CONTENTS)

    async def test_anEmptyRangeIsSentAtOnce(self) -> None:
        await self.connect()
        self.assertEqual(await sendFile(self.file, self.connection, 5, 0), 0)
        await self.connection.finish()
        self.assertEqual(await self.client.ended, b"")

    async def test_whatTheKernelMayNotSendGoesOnOtherwise(self) -> None:
        await self.connect()

        def closed() -> int:
            raise OSError("not for the kernel")

        sent = self.file.sent

        def limited(byteCount: int) -> None:
            sent(byteCount)
            self.file.descriptor = closed  # type: ignore[method-assign]

        self.file.sent = limited  # type: ignore[method-assign]
        self.assertEqual(await sendFile(self.file, self.connection, 0, len(CONTENTS)), len(CONTENTS))
        await self.connection.finish()
        self.assertEqual(await self.client.ended, CONTENTS)
        self.assertEqual(self.file.kernelBytes + self.file.readBytes, len(CONTENTS))

    async def test_whatIsNotInTheCacheIsReadByTheFileItself(self) -> None:
        await self.connect()
        missing = range(1_000_000, 1_500_000)
        self.cacheWithout(lambda place: place in missing and place >= self.file.kernelBytes + self.file.readBytes)
        self.assertEqual(await sendFile(self.file, self.connection, 0, len(CONTENTS)), len(CONTENTS))
        await self.connection.finish()
        self.assertEqual(await self.client.ended, CONTENTS)
        self.assertEqual(self.file.kernelBytes + self.file.readBytes, len(CONTENTS))
        self.assertGreaterEqual(self.file.readBytes, 500_000)
        self.assertGreater(self.file.kernelBytes, 1_000_000)

    def cacheWithout(self, isMissing: Callable[[int], bool]) -> None:
        preadv = os.preadv

        def looked(number: int, buffers: Any, place: int, flags: int = 0) -> int:
            if flags & os.RWF_NOWAIT and isMissing(place):
                raise BlockingIOError
            return preadv(number, buffers, place, flags)

        self.patch(os, "preadv", looked)

    async def test_aReadThatFailsEndsIt(self) -> None:
        await self.connect()
        self.cacheWithout(lambda place: place > 2_000_000)
        self.file.read = lambda offset, length: fail(StorageFailed())  # type: ignore[method-assign, assignment]
        sending = Deferred.fromCoroutine(sendFile(self.file, self.connection, 0, len(CONTENTS)))
        await self.assertFailure(sending, StorageFailed)
        self.connection.abort()
        await self.client.ended

    async def test_aStorageThatCannotTellWhatIsInTheCacheIsAskedOnce(self) -> None:
        await self.connect()
        asked = []

        def unknown(*arguments: Any) -> int:
            asked.append(arguments)
            raise OSError(errno.EOPNOTSUPP, "not here")

        self.patch(os, "preadv", unknown)
        self.assertEqual(await sendFile(self.file, self.connection, 0, len(CONTENTS)), len(CONTENTS))
        await self.connection.finish()
        self.assertEqual(await self.client.ended, CONTENTS)
        self.assertEqual((len(asked), self.file.readBytes), (1, len(CONTENTS)))

    async def test_aSpeedThatIsSetMeanwhileIsKept(self) -> None:
        await self.connect()
        sent = self.file.sent

        def limited(byteCount: int) -> None:
            sent(byteCount)
            self.file.isForKernel = False

        self.file.sent = limited  # type: ignore[method-assign]
        self.assertEqual(await sendFile(self.file, self.connection, 0, len(CONTENTS)), len(CONTENTS))
        await self.connection.finish()
        self.assertEqual(await self.client.ended, CONTENTS)
        self.assertGreaterEqual(self.file.readBytes, len(CONTENTS) - WINDOW_BYTES)

    async def test_anAbortedConnectionStopsIt(self) -> None:
        await self.connect()
        self.file.sent = lambda byteCount: self.connection.abort()  # type: ignore[method-assign]
        sending = Deferred.fromCoroutine(sendFile(self.file, self.connection, 0, len(CONTENTS)))
        await self.assertFailure(sending, Stopped)
        await self.client.ended


class OwnFilesTests(LocalMixin, ConnectedCase):
    """Files as a user's session opens them: all that stands between it and the disk lets the kernel send them."""

    async def open(self) -> None:
        await self.connect()
        self.document = documentWith(User(name="alice", mounts=(Mount(path="/", backend="files"),)))
        self.rates = AllRates(reactor, lambda name: self.document.users[name].limits)
        self.events: list[Any] = []
        backend = self.makeBackend()
        trees = FileTrees(
            lambda: self.document, {"files": backend}.get, self.events.append, reactor, self.rates, lambda name: None
        )
        files = trees.build(self.document.users["alice"], originOf())
        file = await files.open(("a",), OpenMode.create)
        await file.write(0, CONTENTS)
        await file.commit()
        self.events.clear()
        self.file = await files.open(("a",), OpenMode.read)
        self.kernelBytes = 0
        self.patch(os, "sendfile", partial(self.sentByKernel, os.sendfile))

    def sentByKernel(self, sendfile: Any, *arguments: int) -> int:
        count: int = sendfile(*arguments)
        self.kernelBytes += count
        return count

    async def finish(self) -> None:
        self.assertEqual(await sendFile(self.file, self.connection, 0, len(CONTENTS)), len(CONTENTS))
        await self.connection.finish()
        self.assertEqual(await self.client.ended, CONTENTS)
        await self.file.abort(False)
        self.assertEqual([event.size for event in self.events], [len(CONTENTS)])

    async def test_theirLengthIsKnownWithoutAsking(self) -> None:
        await self.open()
        known = IOpened(self.file).opened
        self.assertEqual(known, await self.file.stat())
        assert known is not None
        self.assertEqual(known.size, len(CONTENTS))
        await self.finish()

    async def test_theKernelSendsThemAndTheyAreCounted(self) -> None:
        await self.open()
        await self.finish()
        # Some pages may have left the cache.
        self.assertGreater(self.kernelBytes, len(CONTENTS) // 2)

    async def test_aSpeedThatIsSetMeanwhileIsKept(self) -> None:
        await self.open()
        reactor.callLater(0, self.limit, 2 * len(CONTENTS))
        begun = reactor.seconds()
        await self.finish()
        self.assertLess(self.kernelBytes, len(CONTENTS))
        self.assertGreater(reactor.seconds() - begun, 0.05)

    def limit(self, bytesPerSecond: int) -> None:
        user = User(name="alice", limits=Limits(downloadBytesPerSecond=bytesPerSecond))
        self.document = documentWith(user)
        self.rates.refresh()
