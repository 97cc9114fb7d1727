"""A strict HTTP/1.1 connection.

RFC 9112: message syntax; sections 2.2, 3, 5.1, 5.2 and 6 on what must be refused. A message that two readers could
understand differently (a proxy in front and this server) is answered with 400 (414 and 431 where it is too long) and
ends the connection; so is one that takes its time. What is asked for is not known here.

The conversation: a request's headers are read; it is served at once (:class:`~._request.Request`); the body is read
when the route asks for it; the next request of the connection is read when the answer is complete. An answer that did
not wait for its request's body ends the connection: what still comes is thrown away for a while, since closing a socket
with unread bytes would destroy the answer on its way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from attrs import frozen
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, _ChunkedTransferDecoder, _MalformedChunkedDataError

from ._request import HARDENING, STRICT_TRANSPORT


@frozen
class Patience:
    """How long a client may take, in seconds.

    :ivar first: until the first byte of the first request, a TLS handshake included.
    :ivar header: for the headers of a request, from their first byte.
    :ivar idle: between two requests.
    :ivar body: for each :data:`LEAST_BODY_BYTES` of a body.
    :ivar answer: for taking what was written to it, and for leaving when told to.
    :ivar linger: for hearing an answer that did not wait for the request's body, and for leaving where nothing was
        said to it.
    """

    first: float = 25
    header: float = 25
    idle: float = 75
    body: float = 25
    answer: float = 60
    linger: float = 2


LEAST_BODY_BYTES = 4096
LARGE_BODY_BYTES = 256 * 1024
"""From this length on, bodies are read from the socket in pieces of this length."""

_LINGER_BYTES = 1024 * 1024
_MOST_COUNTED = 10**18
_LENGTH = re.compile(rb"[0-9]{1,18}")
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~%-]{1,253})(:[0-9]{0,5})?")
_CONTROLS = re.compile(rb"[\0-\x08\x0a-\x1f\x7f]")
"""Bare line ends among them."""

_ONCE = (b"Content-Length", b"Transfer-Encoding", b"Host", b"Authorization", b"Content-Type", b"Expect")


class _Chunks(_ChunkedTransferDecoder):
    """Chunks of lengths that any reader can count."""

    def _dataReceived_CHUNK_LENGTH(self) -> bool:
        isRead: bool = super()._dataReceived_CHUNK_LENGTH()
        if isRead and self.length >= _MOST_COUNTED:
            raise _MalformedChunkedDataError("the chunk is too long to be counted")
        return isRead


class Channel(HTTPChannel):
    """One connection."""

    site: Any
    transport: Any
    timeOut: Any
    patience: Patience = Patience()
    _silent = True
    _deaf = False
    _thrownAway = 0
    _bodyPaused = False
    _bodyBytes = 0
    _deadline: Any = None
    _answerDeadline: Any = None
    _end: Any = None

    # --- connection

    def connectionMade(self) -> None:
        self.timeOut = self.patience.idle
        super().connectionMade()
        self._setDeadline(self.patience.first)
        self.site.connected(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._deaf = True
        self._setDeadline(None)
        self._cancelAnswerDeadline()
        self._endIn(None)
        super().connectionLost(reason)
        self.site.disconnected(self)

    def abort(self) -> None:
        self._deaf = True
        self.transport.abortConnection()

    def loseConnection(self) -> None:
        """Once all is written, and not for ever where nobody reads it."""
        self._deaf = True
        self._setDeadline(None)
        # Who goes on sending is not read any more, so would not find out otherwise that this is the end.
        isFlooded = self._thrownAway > _LINGER_BYTES
        self._endIn(self.patience.linger if isFlooded else self.patience.answer, self.abort)
        super().loseConnection()

    def _endIn(self, seconds: float | None, end: Callable[[], object] | None = None) -> None:
        if self._end is not None and self._end.active():
            self._end.cancel()
        self._end = None if seconds is None else self.callLater(seconds, end)

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return not self.requests

    def closeWhenIdle(self) -> None:
        self.persistent = False
        if self.idle and not self._deaf:
            self.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        if self._deaf:
            self._throwAway(data)
            return
        if self._silent or (self.idle and self._deadline is None):
            self._silent = False
            self._setDeadline(self.patience.header)
        super().dataReceived(data)
        if self.line_mode and self._isNoLine(self._buffer):
            self._refuse(400)

    def _isNoLine(self, start: bytes) -> bool:
        """Whether what was received of a line cannot become one: for a line that ends otherwise one waits for ever."""
        return b"\r\n" not in start and _CONTROLS.search(start.removesuffix(b"\r")) is not None

    def _throwAway(self, data: bytes) -> None:
        self._thrownAway += len(data)
        if self._thrownAway > _LINGER_BYTES and self.transport is not None:
            self.transport.pauseProducing()

    def _setDeadline(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if seconds is not None:
            self._deadline = self.callLater(seconds, self._late)

    def _late(self) -> None:
        self._deadline = None
        if self.requests and self._transferDecoder is not None and self._bodyBytes >= LEAST_BODY_BYTES:
            self._expectBody()
        elif self.requests:
            # The headers or the body of a request are not complete: there is nobody to be polite to.
            self.abort()
        else:
            self.loseConnection()
            # Who did not even shake hands will not say good-bye.
            self._endIn(self.patience.linger, self.abort)

    # --- headers

    def lineReceived(self, line: bytes) -> None:
        if self._deaf:
            return
        if _CONTROLS.search(line) or line[:1] in {b" ", b"\t"}:
            # The second: headers continued on another line (obs-fold).
            self._refuse(400)
        elif self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self._refuse(414 if self.idle else 431)
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self._refuse(414 if self.idle else 431)

    def headerReceived(self, line: bytes) -> bool:
        if not self._deaf and self._receivedHeaderCount >= self.maxHeaders:
            self._refuse(431)
        # The superclass goes on with the next line after a bad one.
        return not self._deaf and bool(super().headerReceived(line))

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        if header == b"Content-Length" and not _LENGTH.fullmatch(data):
            return self._failChooseTransferDecoder()
        if header == b"Transfer-Encoding" and (data.lower() != b"chunked" or self._version != b"HTTP/1.1"):
            return self._failChooseTransferDecoder()
        chosen = bool(super()._maybeChooseTransferDecoder(header, data))
        if chosen and header == b"Transfer-Encoding":
            self._transferDecoder = _Chunks(self.requests[-1].handleContentChunk, self._finishRequestBody)
        return chosen

    def allHeadersReceived(self) -> None:
        self._setDeadline(None)
        request = self.requests[-1]
        if not self._wellFormed(request) or not self._isExpected(request):
            self._refuse(417 if self._wellFormed(request) else 400)
            self.length = None
            return
        request.parseCookies()
        self.persistent = self.persistent and self.checkPersistence(request, self._version)
        request.gotLength(self.length)
        if self.length != 0:
            self._savedTimeOut = self.setTimeout(None)
            request.headersReceived(self._command, self._path, self._version)

    def checkPersistence(self, request: Any, version: bytes) -> bool:
        tokens = b",".join(request.requestHeaders.getRawHeaders(b"Connection", [])).lower().split(b",")
        if version != b"HTTP/1.1" or b"close" in {token.strip() for token in tokens}:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return False
        return True

    def _wellFormed(self, request: Any) -> bool:
        headers = request.requestHeaders
        if any(len(headers.getRawHeaders(name, [])) > 1 for name in _ONCE):
            return False
        host = headers.getRawHeaders(b"Host")
        if host is None:
            return bool(self._version == b"HTTP/1.0")
        return _HOST.fullmatch(host[0]) is not None

    def _isExpected(self, request: Any) -> bool:
        """Whether what the client expects is something that is kept."""
        expect: bytes = request.requestHeaders.getRawHeaders(b"Expect", [b"100-continue"])[0]
        return expect.lower() == b"100-continue"

    def _respondToBadRequestAndDisconnect(self) -> None:
        self._refuse(400)

    def _refuse(self, status: int) -> None:
        """No request can be made of what comes: say so, and hear nothing more."""
        if self._deaf:
            return
        phrase = HTTPStatus(status).phrase.encode("ascii")
        always = (*HARDENING, *((STRICT_TRANSPORT,) if self.isSecure() else ()))
        lines = [b"%s: %s" % each for each in (*always, (b"Content-Length", b"0"), (b"Connection", b"close"))]
        self.transport.write(b"\r\n".join((b"HTTP/1.1 %d %s" % (status, phrase), *lines, b"", b"")))
        for request in self.requests:
            request.connectionLost(Failure(ConnectionError("the client broke the protocol")))
        self.requests = []
        self._lingerThenClose()

    # --- bodies

    def rawDataReceived(self, data: bytes) -> None:
        if self._deaf:
            self._throwAway(data)
            return
        if not self._handlingRequest:
            self._bodyBytes += len(data)
        super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        if not self._deaf:
            self._setDeadline(None)
            super().allContentReceived()

    def continueWithBody(self, request: Any) -> None:
        """A route wants the body: the client may be waiting to hear so."""
        if request.length is None or request.length >= LARGE_BODY_BYTES:
            self._readLargePieces()
        if self._version == b"HTTP/1.1" and request.requestHeaders.hasHeader(b"Expect"):
            self._send100Continue()

    def _readLargePieces(self) -> None:
        """For each piece much is done whatever its size: small ones cost half as much time again."""
        transport: Any = self.transport
        while (beneath := getattr(transport, "transport", None)) is not None:
            transport = beneath
        transport.bufferSize = LARGE_BODY_BYTES

    def pauseBody(self) -> None:
        """Read nothing for a while; the client is not to blame for what this takes."""
        self._bodyPaused = True
        self._setDeadline(None)
        self._networkProducer.pauseProducing()

    def resumeBody(self) -> None:
        self._bodyPaused = False
        if self.requests and not self._handlingRequest and not self._deaf:
            self._expectBody()
            if not self._waitingForTransport:
                self._networkProducer.resumeProducing()

    def _expectBody(self) -> None:
        self._bodyBytes = 0
        self._setDeadline(self.patience.body)

    # --- answers

    def pauseProducing(self) -> None:
        super().pauseProducing()
        if self._answerDeadline is None:
            self._answerDeadline = self.callLater(self.patience.answer, self.abort)

    def resumeProducing(self) -> None:
        self._cancelAnswerDeadline()
        super().resumeProducing()
        if self._bodyPaused:
            self._networkProducer.pauseProducing()

    def _cancelAnswerDeadline(self) -> None:
        if self._answerDeadline is not None and self._answerDeadline.active():
            self._answerDeadline.cancel()
        self._answerDeadline = None

    def endAfterAnswer(self) -> None:
        """The request that is answered now is the last one."""
        self.persistent = False

    def requestDone(self, request: Any) -> None:
        if self._deaf:
            return
        if request.bodyEnded:
            super().requestDone(request)
            return
        del self.requests[0]
        self._bodyPaused = False
        self._networkProducer.resumeProducing()
        self._lingerThenClose()

    def _lingerThenClose(self) -> None:
        self._deaf = True
        self.setTimeout(None)
        self._setDeadline(None)
        self.clearLineBuffer()
        self._endIn(self.patience.linger, self.loseConnection)
