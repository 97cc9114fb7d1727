"""The server of one listener, whose connections are strict ones. What it serves is not known here."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Site as TwistedSite

from ._channel import Channel, Patience
from ._request import Request

USUAL = Patience()


class Site(TwistedSite):
    """The server of one listener, for one resource.

    :ivar draining: new requests are refused.
    """

    requestFactory = Request
    noisy = False
    draining = False

    def __init__(self, resource: Any, reactor: IReactorTime, patience: Patience = USUAL) -> None:
        super().__init__(resource, requestFactory=Request, parsePOSTFormSubmission=False, reactor=reactor)
        self.patience = patience
        self._channels: set[Channel] = set()
        self._gone: list[Deferred[None]] = []

    def buildProtocol(self, addr: Any) -> Any:
        channel: Any = Channel()
        channel.factory = self
        channel.site = self
        channel.requestFactory = Request
        channel.callLater = self.reactor.callLater
        channel.patience = self.patience
        return channel

    # No access log here: who asked for what is told by events. So no clock has to tick for one.

    def startFactory(self) -> None:
        pass

    def stopFactory(self) -> None:
        pass

    def log(self, request: Any) -> None:
        pass

    def connected(self, channel: Channel) -> None:
        self._channels.add(channel)

    def disconnected(self, channel: Channel) -> None:
        self._channels.discard(channel)
        if not self._channels:
            gone, self._gone = self._gone, []
            for each in gone:
                each.callback(None)

    def drain(self) -> Deferred[None]:
        """New requests get 503, requests under way are finished; fires when no connection is left."""
        self.draining = True
        drained: Deferred[None] = Deferred()
        self._gone.append(drained)
        for channel in list(self._channels):
            channel.closeWhenIdle()
        if not self._channels:
            self._gone.remove(drained)
            drained.callback(None)
        return drained

    def resume(self) -> None:
        """Serve requests again."""
        self.draining = False
        gone, self._gone = self._gone, []
        for each in gone:
            each.callback(None)

    def disconnect(self) -> None:
        """End every connection, at once."""
        for channel in list(self._channels):
            channel.abort()
