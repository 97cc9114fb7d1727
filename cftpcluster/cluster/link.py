"""The link between two nodes: Perspective Broker over a connection whose certificates were verified before.

Both ends may call the other. On each stands one object, ``root``; no reference to another one ever crosses. A call
is answered by a list: ``[True, value]``, or ``[False, error]`` with the coded error. The conversation begins with
``hello(bytes)``, asked by the end that dialled; before that, nothing else is answered. Built in are ``ping()``,
answered with the time here, and ``piece(number, offset, bytes)``. All other calls are handed in: their meaning, and the
certificates, are not known here.

A connection on which nothing came for three pings is cut; any byte is a sign of life, so that bulk on a slow line
does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.spread.jelly import SecurityOptions
from twisted.spread.pb import Broker, DeadReferenceError, PBConnectionLost

from ..errors import Refused
from .faults import LinkLost, NoAnswer, errorFromPlain, plainFromFailure
from .messages import PROTOCOLS, Hello, expect, helloFromPlain, malformed, plainFromHello
from .pieces import IncomingPieces, OutgoingPieces
from .places import Places

log = Logger()

Method: TypeAlias = Callable[..., Any]
"""Takes the plain arguments of a call; answers a plain value, or a Deferred of one."""

PING_SECONDS = 2.0
MISSES = 3
HELLO_SECONDS = 10.0
CALL_SECONDS = 30.0

MOST_CALLS = 32
"""How many calls may wait for an answer; further ones wait here."""

MOST_WAITING = 256
MOST_RUNNING = 64
"""How many calls of the other end are answered at once."""

MOST_UNANSWERED = 1024
"""How many calls may stay without any answer before the other end counts as broken."""

MESSAGE_BYTES = 1024 * 1024
"""The most that one message may take on the wire."""

_DEEPEST = 32


class _PlainValues(SecurityOptions):
    """Lets plain values pass and nothing else: no class, no reference (which could lead in a circle), no other name
    with a dot than those under which our own plain values are asked about."""

    _NAMES = frozenset({b"None", b"boolean", b"unicode", b"list", b"tuple", b"dictionary"})
    _OWN = frozenset(
        b"builtins." + name
        for name in (b"NoneType", b"bool", b"int", b"float", b"bytes", b"str", b"list", b"tuple", b"dict")
    )

    def isTypeAllowed(self, typeName: bytes | str) -> bool:
        name = typeName.encode() if isinstance(typeName, str) else typeName
        return name in self._NAMES or name in self._OWN

    def isModuleAllowed(self, moduleName: bytes | str) -> bool:
        return False

    def isClassAllowed(self, klass: type) -> bool:
        return False


class Violation(Exception):
    """The other end does not speak as agreed."""


class Link(Broker):
    """One end of a link.

    :ivar peer: what the other end said of itself; known once the link is ready.
    :ivar roundTripSeconds: of the last ping; ``None`` before.
    :ivar offsetSeconds: how far the other end's clock is ahead of this one's; ``None`` before.
    """

    knownDialects = [b"pb"]
    _COMMANDS = frozenset({b"version", b"message", b"answer", b"error"})

    transport: Any
    waitingForAnswers: Any

    peer: Hello
    roundTripSeconds: float | None = None
    offsetSeconds: float | None = None

    def __init__(
        self,
        clock: IReactorTime,
        wallTime: Callable[[], float],
        dialled: bool,
        expectedName: str,
        hello: Callable[[], Hello],
        expose: Callable[[Link], Mapping[str, Method]],
    ) -> None:
        """
        :param wallTime: the time of day, seconds since the epoch.
        :param dialled: whether this end dialled, and so begins.
        :param expectedName: the name in the other end's certificate.
        :param hello: what this end says of itself.
        :param expose: the calls that the other end may make; asked once, when it has said hello.
        """
        super().__init__(isClient=dialled, security=_PlainValues())
        self._clock, self._wallTime, self._dialled = clock, wallTime, dialled
        self._expectedName, self._hello, self._expose = expectedName, hello, expose
        self._methods: Mapping[str, Method] | None = None
        self._builtIn: Mapping[str, Method] = {"hello": self._answerHello, "ping": self._answerPing}
        self._outgoing = OutgoingPieces(lambda *piece: self._ask("piece", piece, CALL_SECONDS * 2))
        self._incoming = IncomingPieces()
        self._places = Places(MOST_CALLS)
        self._running = self._misses = self._messageBytes = 0
        self._heard = self._pinging = self._over = self._aborted = False
        self._beat = LoopingCall(self._everyPing)
        self._beat.clock = clock
        self._late: list[IDelayedCall] = []
        self._onReady: list[Deferred[Link]] = []
        self._onLost: list[Deferred[None]] = []

    # --- for those who use it

    def whenReady(self) -> Deferred[Link]:
        """Fires with this link when both ends have said hello. ``Refused``, :class:`LinkLost`."""
        ready: Deferred[Link] = Deferred()
        if self._over:
            ready.errback(self._lost(sent=False))
        elif self._methods is not None:
            ready.callback(self)
        else:
            self._onReady.append(ready)
        return ready

    def whenLost(self) -> Deferred[None]:
        """Fires when the connection is gone."""
        lost: Deferred[None] = Deferred()
        if self.disconnected:
            lost.callback(None)
        else:
            self._onLost.append(lost)
        return lost

    def call(self, method: str, *arguments: Any, seconds: float = CALL_SECONDS) -> Deferred[Any]:
        """Call the other end with plain values; fires with its plain answer, or fails with its error,
        :class:`LinkLost` or, after ``seconds``, :class:`NoAnswer`."""
        return Deferred.fromCoroutine(self._call(method, arguments, seconds))

    def close(self) -> None:
        """End the link when what is being answered now is out; the other end is given little time to take it."""
        if not self._over:
            self._over = True
            self._late.append(self._clock.callLater(0, self.transport.loseConnection))
            self._late.append(self._clock.callLater(PING_SECONDS, self.abort))

    def abort(self) -> None:
        """End the link at once."""
        self._over = self._aborted = True
        if not self.disconnected:
            self.transport.abortConnection()

    # --- calls to the other end

    async def _call(self, method: str, arguments: Sequence[Any], seconds: float) -> Any:
        if self._places.waiting >= MOST_WAITING:
            raise LinkLost(f"too many calls wait for {self._expectedName}", sent=False)
        await self._places.acquire()
        try:
            if self._methods is None:
                raise self._lost(sent=False)
            try:
                plain = await self._outgoing.sendAhead(arguments)
            except LinkLost as lost:
                # Without the call itself, what was sent ahead has no effect.
                raise LinkLost(str(lost), sent=False) from None
            return await self._ask(method, plain, seconds)
        finally:
            self._places.release()

    async def _ask(self, method: str, arguments: Sequence[Any], seconds: float) -> Any:
        if self._over or self.disconnected:
            raise self._lost(sent=False)
        if len(self.waitingForAnswers) >= MOST_UNANSWERED:
            self._cut("too many calls were never answered")
            raise self._lost(sent=False)
        try:
            # A late answer finds its Deferred cancelled, which swallows it.
            answer = await self.remoteForName("root").callRemote(method, *arguments).addTimeout(seconds, self._clock)
        except DeferredTimeout:
            raise NoAnswer(f"no answer from {self._expectedName} in {seconds:g} s") from None
        except (PBConnectionLost, DeadReferenceError):
            raise self._lost(sent=True) from None
        if type(answer) is not list or len(answer) != 2 or type(answer[0]) is not bool:
            raise malformed("answer")
        value = self._incoming.opened(answer[1])
        if not answer[0]:
            raise errorFromPlain(value)
        return value

    def _lost(self, sent: bool) -> LinkLost:
        return LinkLost(f"no link to {self._expectedName}", sent)

    # --- calls of the other end

    def proto_message(
        self, requestID: int, objectID: bytes, message: bytes, answerRequired: int, netArgs: Any, netKw: Any
    ) -> None:
        """A call came: takes the place of Perspective Broker's own, which answers with tracebacks."""
        answering = maybeDeferred(self._perform, objectID, message, netArgs, netKw)
        coded: Deferred[Any] = answering.addCallbacks(lambda value: [True, value], self._coded)
        if answerRequired:
            coded = coded.addCallback(self._sendPlain, requestID)
        _ = coded.addErrback(self._brokenOff)

    def proto_answer(self, requestID: int, netResult: Any) -> None:
        # Read first, so that whoever waits hears of the end of the connection where it cannot be read.
        answer = self.unserialize(netResult)
        self.waitingForAnswers.pop(requestID).callback(answer)

    def proto_error(self, requestID: int, fail: Any) -> None:
        raise Violation("an error of Perspective Broker")

    def _perform(self, objectID: bytes, message: bytes, netArgs: Any, netKw: Any) -> Deferred[Any]:
        name = expect(message, bytes, "call").decode("ascii", "replace")
        try:
            arguments, named = self.unserialize(netArgs), self.unserialize(netKw)
        except Exception as error:  # noqa: BLE001 - whatever garbage leads to
            log.warn("{node} sent what is refused: {error!r}", node=self._expectedName, error=str(error)[:200])
            raise malformed("arguments") from None
        if objectID != b"root" or type(arguments) is not tuple or named:
            raise malformed("call")
        if name == "piece" and self._methods is not None:
            return maybeDeferred(self._incoming.received, *arguments)
        method = self._builtIn.get(name) or (self._methods or {}).get(name)
        if method is None:
            node = self._hello().node
            raise Refused("hello first" if self._methods is None else f"{node} does not know the call {name[:64]!r}")
        if self._running >= MOST_RUNNING:
            raise Refused("too many calls at once")
        self._running += 1
        return maybeDeferred(method, *self._incoming.opened(list(arguments))).addBoth(self._performed)

    def _performed(self, result: Any) -> Any:
        self._running -= 1
        if isinstance(result, Failure):
            return result
        return Deferred.fromCoroutine(self._outgoing.sendAhead(result))

    def _coded(self, failure: Failure) -> Deferred[Any]:
        plain = plainFromFailure(failure, self._hello().node)
        return Deferred.fromCoroutine(self._outgoing.sendAhead([False, plain]))

    def _sendPlain(self, answer: list[Any], requestID: int) -> None:
        if not self.disconnected:
            self._sendAnswer(self.serialize(answer), requestID)

    def _brokenOff(self, failure: Failure) -> None:
        if failure.check(LinkLost) is None:
            log.failure("an answer to {node} could not be sent", failure=failure, node=self._expectedName)
            self._cut("an answer could not be sent")

    # --- hello and ping

    def _answerHello(self, plain: Any) -> bytes:
        if self._dialled or self._methods is not None:
            raise Refused("no second hello")
        theirs = helloFromPlain(plain)
        common = [version for version in theirs.protocols if version in PROTOCOLS]
        ours = self._hello()
        try:
            if theirs.node != self._expectedName:
                raise Refused(f"{theirs.node!r} has the certificate of {self._expectedName}")
            if not common:
                raise Refused(f"{_spoken(ours)}, {_spoken(theirs)}: upgrade the older one")
        except Refused as refused:
            log.warn("{node} was refused: {reason!r}", node=self._expectedName, reason=str(refused))
            self._late.append(self._clock.callLater(0, self.close))
            raise
        self._becomeReady(theirs)
        return plainFromHello(Hello(ours.node, ours.software, (max(common),), *_rest(ours)))

    async def _sayHello(self) -> None:
        theirs = helloFromPlain(await self._ask("hello", (plainFromHello(self._hello()),), HELLO_SECONDS))
        if theirs.node != self._expectedName or len(theirs.protocols) != 1 or theirs.protocols[0] not in PROTOCOLS:
            raise Refused(f"{self._expectedName} answered as {theirs.node!r} with protocol {theirs.protocols}")
        self._becomeReady(theirs)

    def _becomeReady(self, peer: Hello) -> None:
        self.peer = peer
        self._methods = self._expose(self)
        waiting, self._onReady = self._onReady, []
        for one in waiting:
            one.callback(self)

    def _notReady(self, failure: Failure) -> None:
        waiting, self._onReady = self._onReady, []
        for one in waiting:
            one.errback(failure)
        self.abort()

    def _answerPing(self) -> bytes:
        return repr(self._wallTime()).encode()

    def _everyPing(self) -> None:
        self._misses = 0 if self._heard else self._misses + 1
        self._heard = False
        if self._misses >= MISSES:
            self._cut(f"nothing came for {MISSES * PING_SECONDS:g} s")
        elif self._methods is not None and not self._over:
            _ = Deferred.fromCoroutine(self._ping()).addErrback(self._pingFailed)

    async def _ping(self) -> None:
        if self._pinging:
            # The last one waits behind bulk; a sign of life goes out all the same.
            self._sendMessage(b"", None, b"root", b"ping", (), {"pbanswer": 0})
            return
        self._pinging, sent = True, self._clock.seconds()
        try:
            theirs = float(await self._ask("ping", (), 10 * CALL_SECONDS))
        finally:
            self._pinging = False
        self.roundTripSeconds = self._clock.seconds() - sent
        self.offsetSeconds = theirs - self._wallTime() + self.roundTripSeconds / 2

    def _pingFailed(self, failure: Failure) -> None:
        if failure.check(LinkLost) is None:
            self._cut(f"a ping was answered with {failure.getErrorMessage()}")

    # --- the connection

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            # Small messages go both ways; waiting to fill packets costs 40 ms each.
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        _ = self._beat.start(PING_SECONDS, now=False).addErrback(
            lambda failure: log.failure("pings ended", failure=failure)
        )
        self._late.append(self._clock.callLater(HELLO_SECONDS, self._helloIsLate))
        super().connectionMade()

    def connectionReady(self) -> None:
        self.sendCall(b"version", self.version)
        if self._dialled:
            _ = Deferred.fromCoroutine(self._sayHello()).addErrback(self._notReady)

    def _helloIsLate(self) -> None:
        if self._methods is None:
            self._cut("no hello came")

    def dataReceived(self, chunk: bytes) -> None:
        if self._aborted:
            return
        self._heard = True
        self._messageBytes += len(chunk)
        try:
            super().dataReceived(chunk)
            if self._messageBytes > MESSAGE_BYTES or len(self.listStack) > _DEEPEST:
                raise Violation("a message is too large")
        except Exception as error:  # noqa: BLE001 - whatever garbage leads to, the connection ends with one line
            self._cut(f"{type(error).__name__}: {error}"[:200])

    def expressionReceived(self, sexp: Any) -> None:
        self._messageBytes = 0
        if type(sexp) is not list or not sexp or sexp[0] not in self._COMMANDS:
            raise Violation("an unknown command")
        super().expressionReceived(sexp)

    def _cut(self, why: str) -> None:
        if not self._over:
            log.warn("the link to {node} was cut: {why!r}", node=self._expectedName, why=why)
        self.abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._over = True
        for call in self._late:
            if call.active():
                call.cancel()
        if self._beat.running:
            self._beat.stop()
        self._places.close(self._lost(sent=False))
        self._outgoing.close(self._lost(sent=False))
        super().connectionLost(reason)
        self._methods = self._methods or {}
        self._notReady(Failure(self._lost(sent=False)))
        waiting, self._onLost = self._onLost, []
        for one in waiting:
            one.callback(None)


def _spoken(hello: Hello) -> str:
    versions = " and ".join(map(str, hello.protocols)) or "none"
    return f"{hello.node} (cftpcluster {hello.software}) speaks version {versions} of the link"


def _rest(hello: Hello) -> tuple[Any, ...]:
    return hello.format, hello.epoch, hello.revision, hello.chainHash, hello.primary, hello.extra
