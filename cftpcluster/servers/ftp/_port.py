"""The listening socket of one passive data connection: Twisted's, without what long-lived ports need.

It knows no session and no transfer.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import tcp
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory

BACKLOG = 4
"""Connections that the kernel holds until they are accepted: the client's, and some that are refused."""


class PassivePort(tcp.Port):
    """A port that comes and goes with each transfer, so neither is worth a line in the log."""

    # A second one is hardly ever there to be asked for.
    numberAccepts = 1

    def startListening(self) -> None:
        created = self.createInternetSocket()
        try:
            # An address with a scope has more parts in it than its text.
            flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV | socket.AI_PASSIVE
            found = socket.getaddrinfo(self.interface or None, self.port, self.addressFamily, self.socketType, 0, flags)
            created.bind(found[0][4])
            created.listen(self.backlog)
        except OSError as error:
            created.close()
            raise CannotListenError(self.interface, self.port, error) from None
        self._realPortNumber = self.port
        self.connected = True
        self.socket: Any = created
        self.fileno: Any = created.fileno
        self.startReading()

    def _logConnectionLostMsg(self) -> None:
        """Nobody wants to know."""


def listenOnce(reactor: Any, port: int, factory: IProtocolFactory, address: str) -> IListeningPort:
    """Bind and listen; ``CannotListenError`` where that does not go."""
    listening = PassivePort(port, factory, BACKLOG, address, reactor)
    listening.startListening()
    return listening
