"""Requests that are served as soon as their headers are there, and take their bodies when the route asks for it.

RFC 9110 sections 10.1.1 (Expect), 15 (status codes). A route that refuses does so without the body having been read:
nothing of it is kept in memory or on a disk before somebody asked for it. Routes, and what bodies mean, are not known
here.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, AnyStr, Protocol
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import datetimeToString

from ..bulktls import BulkTLS
from ._problems import HTTPProblem, problemOf

JSON_BYTES = 1024 * 1024
"""How long a JSON body may be unless the route says otherwise."""


HARDENING: tuple[tuple[bytes, bytes], ...] = (
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Cache-Control", b"no-store"),
    (b"Content-Security-Policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"X-Frame-Options", b"DENY"),
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Permissions-Policy", b"camera=(), geolocation=(), microphone=()"),
)
"""Headers of every answer, unless the route sets others."""

STRICT_TRANSPORT = (b"Strict-Transport-Security", b"max-age=31536000")


class Place(Protocol):
    """Where bytes may be put as they come; see :class:`~cftpcluster.files.streams.FileReceiver`."""

    def space(self) -> memoryview: ...

    def filled(self, byteCount: int) -> None: ...


class BodyCutShort(HTTPProblem):
    """The connection was lost, or the client broke the protocol, before the body's end."""

    def __init__(self) -> None:
        super().__init__(400, "the body was cut short")


class Request(server.Request):
    """A request whose route runs when the headers are there.

    A route takes the body by :meth:`body` or :meth:`receive`, once. Where it does not, the connection ends with the
    answer. While nobody has asked for the body, no more of it than one read of the socket is held.

    :ivar length: the body's length; ``None`` when it comes in chunks.
    :ivar rest: what follows the route's own path, percent-decoded segment by segment, where the route wants it raw.
    """

    channel: Any = None
    site: Any = None
    length: int | None = 0
    rest: Sequence[bytes] = ()
    _started = False
    _bodyEnded = False
    _taken = False
    _paused = False
    _received = 0
    _mostBytes = 0

    def __init__(self, channel: Any, *args: Any, **named: Any) -> None:
        super().__init__(channel, *args, parsePOSTFormSubmission=False, **named)
        self._early: list[bytes] = []
        self._deliver: Callable[[bytes], object] | None = None
        self._bodyDone: Deferred[int] | None = None

    # --- from the channel

    def gotLength(self, length: int | None) -> None:
        self.length = length
        self.content = io.BytesIO()
        self._bodyEnded = length == 0

    def headersReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Headers are there, a body follows."""
        self._started = True
        self.pauseProducing()
        super().requestReceived(command, path, version)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The whole request is there."""
        self._bodyEnded = True
        if not self._started:
            self._started = True
            super().requestReceived(command, path, version)
        elif self._bodyDone is not None:
            self._endBody(self._received)

    def handleContentChunk(self, data: bytes) -> None:
        if self._deliver is None:
            self._early.append(data)
            return
        self._received += len(data)
        if self._received > self._mostBytes:
            self._endBody(Failure(_tooLarge(self._mostBytes)))
        else:
            self._deliver(data)

    def connectionLost(self, reason: Failure) -> None:
        self._early.clear()
        self._disconnected = True
        # Before the route is cancelled, which could not tell then why.
        self._endBody(Failure(BodyCutShort()))
        if self.producer is not None:
            self.producer.stopProducing()
        super().connectionLost(reason)

    # --- the body, for routes

    @property
    def bodyEnded(self) -> bool:
        """Whether all of the body has come in."""
        return self._bodyEnded

    def body(self, mostBytes: int = JSON_BYTES) -> Deferred[bytes]:
        """The whole body. Fails as :meth:`receive` does."""
        parts: list[bytes] = []
        return self.receive(parts.append, mostBytes).addCallback(lambda length: b"".join(parts))

    def receive(self, deliver: Callable[[bytes], object], mostBytes: int, place: Place | None = None) -> Deferred[int]:
        """Hand the body to ``deliver``, piece by piece; whoever is too slow calls :meth:`pauseProducing`.

        :param place: where pieces may be put instead, where the connection can do so.

        Fires with the body's length when all of it was handed over. Fails with an ``HTTPProblem`` where it is too
        large (before anything of it is read, if that was to be known), or with ``BodyCutShort``.
        """
        if self._taken:
            raise RuntimeError("the body was taken already")
        self._taken = True
        if self.length is not None and self.length > mostBytes:
            return fail(_tooLarge(mostBytes))
        if self._disconnected:
            return fail(BodyCutShort())
        self._mostBytes, self._deliver = mostBytes, deliver
        done = self._bodyDone = Deferred()
        early, self._early = self._early, []
        for data in early:
            if self._bodyDone is not None:
                self.handleContentChunk(data)
        if self._bodyEnded:
            self._endBody(self._received)
        elif self._bodyDone is not None:
            self._putInto(place)
            if not self._received:
                self.channel.continueWithBody(self)
            if not self._heldBack:
                self.resumeProducing()
        return done

    def _putInto(self, place: Place | None) -> None:
        tls = self.channel.transport
        # chunks are taken apart by Twisted alone
        if place is not None and self.length is not None and isinstance(tls, BulkTLS):
            tls.fill = partial(self._fill, place)

    def _fill(self, place: Place, read: Callable[[memoryview], int]) -> int:
        """Put what came into its place; not the body's last byte, which ends it in the ordinary way."""
        if self._bodyDone is None or self._early or self.channel is None or self.channel._buffer:
            return 0
        decoder = self.channel._transferDecoder
        space = place.space()[: max(0, decoder.contentLength - 1)]
        count = read(space) if space else 0
        if count:
            decoder.contentLength -= count
            self.channel._bodyBytes += count
            self._received += count
            place.filled(count)
        return count

    _heldBack = False

    def pauseProducing(self) -> None:
        """Let the client wait with the rest of the body."""
        self._heldBack = self._taken
        if not self._paused and self.channel is not None:
            self._paused = True
            self.channel.pauseBody()

    def resumeProducing(self) -> None:
        self._heldBack = False
        if self._paused and self.channel is not None:
            self._paused = False
            self.channel.resumeBody()

    def refuseBody(self, reason: Failure) -> None:
        """Hand over no more of the body: :meth:`receive` fails with ``reason``."""
        self._endBody(reason)

    def endEarly(self, problem: HTTPProblem) -> None:
        """Whoever asked may not be served any more: a body that is being taken fails with ``problem``, an answer that
        is on its way is broken off."""
        if self._bodyDone is not None:
            self._endBody(Failure(problem))
        elif self.startedWriting and not self.finished:
            self.breakOff()

    def _endBody(self, result: Any) -> None:
        done, self._bodyDone = self._bodyDone, None
        self._deliver = _ignore
        if done is not None and self.channel is not None and isinstance(self.channel.transport, BulkTLS):
            self.channel.transport.fill = None
        if done is not None:
            done.callback(result)

    # --- the answer

    def getHeader(self, key: AnyStr) -> AnyStr | None:
        """As Twisted's, but that bytes which are not UTF-8 are no failure of the server."""
        if isinstance(key, bytes):
            return super().getHeader(key)
        value = super().getHeader(key.encode("ascii"))
        return value.decode("utf-8", "replace") if value is not None else None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Also when the client has gone, which may happen at any moment: then the producer is stopped."""
        if self._disconnected:
            producer.stopProducing()
        else:
            super().registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        if self._disconnected:
            self.producer = None
        else:
            super().unregisterProducer()

    def process(self) -> None:
        self.site = self.channel.site
        self.setHeader(b"Date", datetimeToString())
        for name, value in HARDENING:
            self.setHeader(name, value)
        if self.isSecure():
            self.setHeader(*STRICT_TRANSPORT)
        self.prepath = []
        self._dropAuthority()
        self.postpath = [unquote_to_bytes(segment) for segment in self.path[1:].split(b"/")]
        refusal = self._refusal()
        if refusal is not None:
            if refusal.status == 400:
                # Who sends what nobody can make sense of may mean the rest otherwise, too.
                self.channel.endAfterAnswer()
                self.setHeader(b"Connection", b"close")
            self.write(refusal.answer(self))
            self.finish()
            return
        try:
            self.render(self.site.getResourceFor(self))
        except Exception:  # noqa: BLE001 whatever a resource did, its client gets an answer
            self.processingFailed(Failure())

    def _dropAuthority(self) -> None:
        """A target with scheme and host is understood, if it is this host (RFC 9112, section 3.2.2)."""
        start = b"%s://%s/" % (b"https" if self.isSecure() else b"http", self.getHeader(b"Host") or b"")
        if self.path[: len(start)].lower() == start.lower():
            self.path, self.uri = self.path[len(start) - 1 :], self.uri[len(start) - 1 :]

    def _refusal(self) -> HTTPProblem | None:
        """What no route needs to see."""
        if self.method != self.method.upper():
            # Methods are case-sensitive (RFC 9110 section 9.1); klein's routes are not.
            return HTTPProblem(501)
        if not self.path.startswith(b"/"):
            return HTTPProblem(400, "the request target must be a path")
        if self.requestHeaders.hasHeader(b"Content-Encoding"):
            return HTTPProblem(415, "bodies must come without Content-Encoding")
        if self.site.draining:
            return HTTPProblem(503, "this node is being taken out of service", headers={"Retry-After": "5"})
        return None

    def processingFailed(self, reason: Failure) -> Failure:
        """Where no route's error handler was asked."""
        problem = problemOf(reason)
        if self._disconnected:
            return reason
        if self.startedWriting:
            self.breakOff()
            return reason
        self.write(problem.answer(self))
        self.finish()
        return reason

    @property
    def disconnected(self) -> bool:
        """Whether nobody is there any more to be answered."""
        return bool(self._disconnected)

    def breakOff(self) -> None:
        """The answer is half out and cannot be completed: only a broken connection tells the client so."""
        if self.channel is not None:
            self.channel.abort()

    def write(self, data: bytes) -> None:
        if not self.startedWriting and self.channel is not None and (not self._bodyEnded or self.site.draining):
            self.channel.endAfterAnswer()
            self.setHeader(b"Connection", b"close")
        super().write(data)

    def finish(self) -> None:
        # A route that was at work when the connection was lost ends like any other.
        if not self._disconnected:
            super().finish()


def _ignore(data: bytes) -> None:
    pass


def _tooLarge(mostBytes: int) -> HTTPProblem:
    return HTTPProblem(413, f"the body may have at most {mostBytes} bytes")
