"""The control connection (RFC 959, section 5): lines to commands, one at a time, and their answers.

States: greeted, perhaps secured (AUTH TLS), logged in, closing. One command runs at a time; what a client sends
meanwhile waits, at most :data:`WAITING_LIMIT` commands, then no more is read. While a transfer runs ABOR ends it, and
commands that need not wait (STAT, NOOP) are answered at once. What the commands do is not known here.
"""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, ISystemHandle, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import TimeoutMixin
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from ...errors import FileSystemError
from ...files import paths
from ..tls import clientNames
from . import access, files, hashing, information, listing, parameters, sites, transfer, unique
from .replies import ABORTED, DRAINING, FAILED_HERE, LOGIN_FIRST, TLS_FIRST, Refusal, Reply, forget, refused
from .session import Command, Session
from .wire import Lines, LineTooLong

log = Logger()

LOGIN_SECONDS = 60.0
IDLE_SECONDS = 300.0
PAUSE_SECONDS = 2.0
"""How long the client of a draining server must have been silent to be sent away: longer than clients pause between
two files, or before they give an upload its final name."""

CLOSE_SECONDS = 10.0
"""How long a client may take to read the last answer."""

WAITING_LIMIT = 64
TURN_COMMANDS = 64
"""Commands that are run before other connections have their turn."""

COMMANDS: Mapping[str, Command] = {
    command.verb: command
    for theme in (access, information, parameters, transfer, unique, listing, files, hashing, sites)
    for command in theme.COMMANDS
}

NOT_OFFERED = frozenset({"SMNT", "MIC", "CONF", "ENC", "ADAT", "LPRT", "LPSV"})
"""Commands of the RFCs that are known, and answered with 502."""


@implementer(IPushProducer)
class ControlConnection(Protocol, TimeoutMixin):
    """One client's control connection.

    :ivar secured: whether it speaks TLS.
    :ivar session: what the client has said so far.
    """

    session: Session

    def __init__(self, server: Any) -> None:
        self.secured = False
        self._server = server
        self._reactor = server.reactor
        self._lines = Lines()
        self._waiting: deque[bytes | LineTooLong] = deque()
        self._isBusy = False
        self._isPumping = False
        self._isHeldUp = False
        self._isPaused = False
        self._isClosing = False
        self._isLost = False
        self._securesNext = False
        self._endsNext = False
        self._later: IDelayedCall | None = None
        self._loginTimer: IDelayedCall | None = None
        self._closeTimer: IDelayedCall | None = None
        self._socket: socket.socket | None = None

    @property
    def isLost(self) -> bool:
        return self._isLost

    @property
    def isLeaving(self) -> bool:
        if self._isLost or self._socket is None:
            return self._isLost
        ended = select.poll()
        ended.register(self._socket, select.POLLRDHUP)
        return bool(ended.poll(0))

    def callLater(self, seconds: float, function: Any) -> IDelayedCall:
        return self._reactor.callLater(seconds, function)  # type: ignore[no-any-return]

    # --- the connection

    def connectionMade(self) -> None:
        transport: Any = self.transport
        # What the transport is counts, not what the listener's options say by now.
        self.secured = isinstance(transport, TLSMemoryBIOProtocol)
        self._prepareSocket(transport)
        transport.registerProducer(self, True)
        self.session = self._server.newSession(self, COMMANDS)
        if self._server.isDraining:
            self._sendAway()
            return
        self.loggedOut()
        self.setTimeout(IDLE_SECONDS)
        self.reply(Reply.of(220, "Service ready"))

    def _prepareSocket(self, transport: Any) -> None:
        if ITCPTransport.providedBy(transport):
            # The answers of one transfer are two small writes, of which the second would wait for the client's ACK.
            transport.setTcpNoDelay(True)
            # Nothing is said while a long transfer runs, and gateways forget connections that are silent.
            transport.setTcpKeepAlive(True)
        handle = ISystemHandle(transport, None)
        descriptor = handle.getHandle() if handle else None
        if isinstance(descriptor, socket.socket):
            self._socket = descriptor
            # Clients send ABOR as urgent data, of which the last byte would be missing from the line.
            descriptor.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._isLost = self._isClosing = True
        self.setTimeout(None)
        for timer in (self._later, self._loginTimer, self._closeTimer):
            if timer is not None and timer.active():
                timer.cancel()
        self._waiting.clear()
        self._lines.clear()
        if self.session.transfer is not None:
            self.session.transfer.end(ABORTED)
        self.session.data.close()
        if not self._isBusy:
            self._end()

    def _end(self) -> None:
        """Nothing runs any more: the session is over."""
        ending = self.session.logout()
        ending = ending.addErrback(lambda failure: log.failure("a session did not end in order", failure=failure))
        _ = ending.addBoth(lambda ignored: self._server.ended(self))

    def timeoutConnection(self) -> None:
        if self._server.isDraining:
            self._sendAway()
        else:
            self._hangUp("Nothing was said for too long")

    def _hangUp(self, text: str) -> None:
        self.reply(Reply.of(421, text))
        self._close()

    def _close(self) -> None:
        if self._isClosing:
            return
        self._isClosing = True
        self.setTimeout(None)
        self._waiting.clear()
        transport: Any = self.transport
        transport.unregisterProducer()
        self._closeTimer = self._reactor.callLater(CLOSE_SECONDS, self._abort)
        transport.loseConnection()

    def drain(self) -> None:
        """Hang up politely: at once before a log-in, else when nothing runs and the client pauses."""
        if self._isBusy or self._isClosing:
            return
        if self.session.account is None:
            self._sendAway()
        else:
            self.setTimeout(PAUSE_SECONDS)

    def resume(self) -> None:
        """The server takes work again."""
        if not self._isBusy and not self._isClosing:
            self.setTimeout(IDLE_SECONDS)

    def _sendAway(self) -> None:
        self.reply(DRAINING)
        self._close()

    def _isToGo(self) -> bool:
        """Whether the server drains, and the client must not wait for a better moment."""
        if not self._server.isDraining:
            return False
        session = self.session
        return session.account is None or (self._server.isInAHurry and not session.data.isPrepared)

    def disconnect(self) -> None:
        """End now, with a last word."""
        self._endNow("This server stops")

    def sessionEnded(self, reason: str) -> None:
        self._endNow(f"Your session was ended: {reason}")

    def _endNow(self, text: str) -> None:
        if self.session.transfer is not None:
            self.session.transfer.end(ABORTED)
        self._hangUp(text)

    def _abort(self) -> None:
        transport: Any = self.transport
        if not self._isLost:
            transport.abortConnection()

    # --- what commands ask for

    def clientNames(self) -> Sequence[str]:
        transport: Any = self.transport
        return clientNames(transport.getHandle()) if self.secured else ()

    def reply(self, reply: Reply) -> None:
        if not self._isClosing:
            transport: Any = self.transport
            transport.write(reply.encode())

    def endAfterReply(self) -> None:
        self._endsNext = True

    def secureAfterReply(self) -> None:
        self._securesNext = True

    def loggedOut(self) -> None:
        self._loginTimer = self._reactor.callLater(LOGIN_SECONDS, self._hangUp, "Log-in took too long")

    def loggedIn(self) -> None:
        timer, self._loginTimer = self._loginTimer, None
        if timer is not None and timer.active():
            timer.cancel()

    # --- lines

    def dataReceived(self, data: bytes) -> None:
        if self._isClosing:
            return
        answers = self._lines.feed(data)
        if answers:
            transport: Any = self.transport
            transport.write(answers)
        self._pump()

    def _pump(self) -> None:
        """Do what can be done now, then read on unless there is enough to do."""
        if self._isPumping:
            return
        self._isPumping = True
        try:
            self._runTurn()
        finally:
            self._isPumping = False
        if not self._isClosing:
            self._pause(self._later is not None or self._isHeldUp or len(self._waiting) >= WAITING_LIMIT)

    def _pause(self, isPaused: bool) -> None:
        if isPaused != self._isPaused:
            self._isPaused = isPaused
            transport: Any = self.transport
            if isPaused:
                transport.pauseProducing()
            else:
                transport.resumeProducing()

    def _runTurn(self) -> None:
        for _ in range(TURN_COMMANDS):
            if self._isClosing or self._isHeldUp or not self._step():
                return
        if self._later is None:
            self._later = self._reactor.callLater(0, self._nextTurn)

    def _nextTurn(self) -> None:
        self._later = None
        self._pump()

    def _step(self) -> bool:
        """Take a line, and start a command that waits; tells whether there was anything to do."""
        line = self._nextLine() if len(self._waiting) < WAITING_LIMIT else None
        if line is not None and not self._isAnsweredAside(line):
            self._waiting.append(line)
        if self._isBusy or not self._waiting:
            return line is not None
        self._start(self._waiting.popleft())
        return True

    def _nextLine(self) -> bytes | LineTooLong | None:
        try:
            return self._lines.next()
        except LineTooLong as error:
            return error

    def _isAnsweredAside(self, line: bytes | LineTooLong) -> bool:
        """Deal with what concerns the transfer that runs; tells whether that was all."""
        running = self.session.transfer
        if running is None or isinstance(line, LineTooLong):
            return False
        verb, argument = _split(line)
        if verb == "ABOR":
            # Its own answer comes after that of the transfer, and before those of commands that wait.
            self._waiting.appendleft(line)
            running.end(ABORTED)
            return True
        command = COMMANDS.get(verb)
        if command is None or not command.aside or argument or self._waiting:
            return False
        _ = self._run(line).addCallback(self.reply)
        return True

    # --- commands

    def _start(self, line: bytes | LineTooLong) -> None:
        self._isBusy = True
        self.setTimeout(None)
        _ = self._run(line).addCallback(self._done).addErrback(self._broken)

    def _run(self, line: bytes | LineTooLong) -> Deferred[Reply]:
        return Deferred.fromCoroutine(self._answer(line))

    async def _answer(self, line: bytes | LineTooLong) -> Reply:
        try:
            if isinstance(line, LineTooLong):
                return Reply.of(500, "That line is too long")
            return await self._perform(line)
        except (Refusal, FileSystemError) as error:
            forget(error)
            return error.reply if isinstance(error, Refusal) else refused(error)
        except Exception:  # noqa: BLE001 - whatever it is, the session goes on
            log.failure("a command of {client} failed", client=self.session.client)
            return FAILED_HERE

    async def _perform(self, line: bytes) -> Reply:
        if b"\r" in line or b"\0" in line:
            return Reply.of(500, "Lines hold neither CR nor NUL")
        verb, argument = _split(line)
        command = COMMANDS.get(verb)
        if command is None:
            return Reply.of(502, "Not offered here") if verb in NOT_OFFERED else Reply.of(500, "Unknown command")
        if self.session.account is None and not command.beforeLogin:
            isInClear = self.session.options.tls == "required" and not self.secured
            return TLS_FIRST if isInClear else LOGIN_FIRST
        if command.needsArgument and not argument:
            return Reply.of(501, f"Syntax: {verb} {command.usage}")
        if not command.usage and argument.strip():
            return Reply.of(501, f"{verb} takes no argument")
        return await command.run(self.session, argument)

    def _broken(self, failure: Failure) -> None:
        log.failure("a session broke", failure=failure)
        self._abort()

    def _done(self, reply: Reply) -> None:
        self._isBusy = False
        if self._isLost:
            self._end()
            return
        self._answered(reply)
        self._pump()

    def _answered(self, reply: Reply) -> None:
        self.reply(reply)
        self.setTimeout(PAUSE_SECONDS if self._server.isDraining else IDLE_SECONDS)
        if self._endsNext:
            self._close()
        elif self._isToGo():
            self._sendAway()
        elif self._securesNext:
            self._secure()

    def _secure(self) -> None:
        """Whatever came before the handshake was not protected, and may have been put there by somebody else."""
        self._securesNext = False
        self._lines.clear()
        self._waiting.clear()
        transport: Any = self.transport
        transport.startTLS(self._server)
        self.secured = True

    # --- a client that does not read its answers

    def pauseProducing(self) -> None:
        self._isHeldUp = True

    def resumeProducing(self) -> None:
        self._isHeldUp = False
        self._pump()

    def stopProducing(self) -> None:
        """The connection is lost, which :meth:`connectionLost` is told too."""


def _split(line: bytes) -> tuple[str, str]:
    verb, _, argument = paths.decode(line).partition(" ")
    return verb.rstrip().upper(), argument


__all__: Sequence[str] = ("COMMANDS", "ControlConnection")
