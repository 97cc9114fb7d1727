"""Tests of the listening sockets of data connections, with real sockets and without a reactor."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ftp._port import listenOnce


class PassivePortTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.factory = Factory.forProtocol(Protocol)
        self.factory.noisy = False

    def listen(self, address: str) -> Any:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as found:
            found.bind((address, 0))
            number = found.getsockname()[1]
        port = listenOnce(self.reactor, number, self.factory, address)
        self.addCleanup(lambda: port.stopListening() and self.reactor.advance(0))
        return port

    def test_takesAConnectionOnItsAddress(self) -> None:
        for address in ("127.0.0.1", "::1"):
            port = self.listen(address)
            self.assertIn(port, self.reactor.getReaders())
            with socket.create_connection((address, port.getHost().port)) as client:
                port.doRead()
                (made,) = [each for each in self.reactor.getReaders() if each is not port]
                self.assertEqual(made.getPeer().port, client.getsockname()[1])
                self.reactor.removeReader(made)
                made.socket.close()
            port.stopListening()
            self.reactor.advance(0)

    def test_comesAndGoesWithoutAWord(self) -> None:
        said: list[object] = []
        globalLogPublisher.addObserver(said.append)
        self.addCleanup(globalLogPublisher.removeObserver, said.append)
        self.listen("127.0.0.1").stopListening()
        self.reactor.advance(0)
        self.assertEqual(said, [])

    def test_whatIsTakenOrElsewhereCannotBeListenedOn(self) -> None:
        taken = self.listen("127.0.0.1").getHost().port
        for address in ("127.0.0.1", "192.0.2.1", "2001:db8::1"):
            with self.assertRaises(CannotListenError):
                listenOnce(self.reactor, taken, self.factory, address)
