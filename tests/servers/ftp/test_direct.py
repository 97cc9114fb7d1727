"""Tests of :mod:`cftpcluster.servers.ftp.direct`, over real sockets and with files of the disk."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from cftpcluster.files.streams import Stopped
from cftpcluster.interfaces import IContents, IHasDescriptor
from cftpcluster.servers.ftp.data import DataConnection
from cftpcluster.servers.ftp.direct import sendFile

CONTENTS = os.urandom(3_000_001)


@implementer(IHasDescriptor, IContents)
class DiskFile:
    """A file of the disk.

    :ivar kernelBytes: what the kernel sent of it.
    :ivar readBytes: what was read of it to be sent.
    """

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY)
        self.kernelBytes = self.readBytes = 0

    def __conform__(self, interface: Any) -> Any:
        return None

    def descriptor(self) -> int:
        return self.number

    def sent(self, byteCount: int) -> None:
        self.kernelBytes += byteCount

    def feed(self, take: Any, offset: int, length: int) -> Deferred[int]:
        data = os.pread(self.number, length, offset)
        take(data)
        return succeed(len(data))

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


class SendFileTests(TestCase):
    async def connect(self) -> None:
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(CONTENTS)
        self.file = DiskFile(path)
        self.addCleanup(os.close, self.file.number)
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

    async def test_anAbortedConnectionStopsIt(self) -> None:
        await self.connect()
        self.file.sent = lambda byteCount: self.connection.abort()  # type: ignore[method-assign]
        sending = Deferred.fromCoroutine(sendFile(self.file, self.connection, 0, len(CONTENTS)))
        await self.assertFailure(sending, Stopped)
        await self.client.ended
