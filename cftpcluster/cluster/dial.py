"""The cluster port's client end: calls another node, and sees who answers before anything is said.

The conversation is that of :mod:`.gate`, seen from the other side. Every step has a time-out, and every way in which it
can fail is either :class:`~cftpcluster.errors.Refused` (one end does not accept the other; trying again will not help)
or :class:`NodeUnreachable` (it may). What a link or a join says is not known here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionDone, UserError
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLClientConnectionCreator, IProtocol
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from ..config.document import Node
from ..errors import ClusterError, Refused
from ._contexts import LinkTLS, TLSPeer, peerCertificate, refusedByPeer, tuneSocket
from ._frames import FrameReader
from .gate import LiveLinks
from .membership import NodeIdentity, Nodes, Usage, checkedMember, verifiedName

CONNECT_SECONDS = 10
ANSWER_SECONDS = 15
"""A bit more than the other end has, so that its reason arrives."""

_Result = TypeVar("_Result")


class NodeUnreachable(ClusterError):
    """A node could not be reached, or did not answer in time; the text names its address."""


@frozen
class Address:
    """Where a node is called.

    :ivar host: an IP address or a host name.
    :ivar bindAddress: the address to call from; "" for whichever the system takes.
    """

    host: str
    port: int
    bindAddress: str = ""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@implementer(IHandshakeListener)
class Call(TLSPeer, Generic[_Result]):
    """One call. A subclass says what it has to in :meth:`speak` and :meth:`answered`, and ends with :meth:`succeed`;
    a :class:`~cftpcluster.errors.ClusterError` raised in either ends the call too.

    :ivar address: who is called.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._frames = FrameReader()
        self._ended: _Result | Failure | None = None
        self._waiting: Deferred[_Result] | None = None

    def speak(self) -> None:
        """The handshake is done: see who is there, and begin."""
        raise NotImplementedError

    def answered(self, answer: dict[str, Any], rest: bytes) -> None:
        """The first frame came, and ``rest`` behind it."""
        raise NotImplementedError

    def succeed(self, result: _Result) -> None:
        self._end(result)

    def result(self) -> Deferred[_Result]:
        """What the call ends with; to be asked for once."""
        waiting: Deferred[_Result] = Deferred()
        if self._ended is None:
            self._waiting = waiting
        else:
            _fire(waiting, self._ended)
        return waiting

    @property
    def tls(self) -> Any:
        return self.transport

    def connectionMade(self) -> None:
        tuneSocket(self.transport)

    def handshakeCompleted(self) -> None:
        try:
            self.speak()
        except ClusterError as error:
            self._fail(error)

    def dataReceived(self, data: bytes) -> None:
        if self._ended is not None:
            return
        try:
            frame = self._frames.feed(data)
            if frame is not None:
                self.answered(*frame)
        except ClusterError as error:
            self._fail(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        refusal = self.problem or refusedByPeer(reason.value)
        if refusal:
            self._end(Failure(Refused(f"{self.address}: {refusal}")))
        else:
            why = "the connection ended" if reason.check(ConnectionDone) else reason.getErrorMessage()
            self._end(Failure(NodeUnreachable(f"{self.address}: {why}")))

    def _fail(self, error: ClusterError) -> None:
        self._end(Failure(error))
        self.tls.abortConnection()

    def _end(self, end: _Result | Failure) -> None:
        if self._ended is not None:
            return
        self._ended = end
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            _fire(waiting, end)


def _fire(waiting: Deferred[_Result], end: _Result | Failure) -> None:
    if isinstance(end, Failure):
        waiting.errback(end)
    else:
        waiting.callback(end)


async def call(
    reactor: Any,
    address: Address,
    tls: IOpenSSLClientConnectionCreator,
    build: Callable[[], Call[_Result]],
    answerSeconds: float,
) -> _Result:
    """Make a call and wait for its result; the connection is gone where there is none."""

    def tooLate(result: object, seconds: float) -> Any:
        raise NodeUnreachable(f"{address}: no answer within {seconds:g} s")

    endpoint = HostnameEndpoint(
        reactor, address.host, address.port, timeout=CONNECT_SECONDS, bindAddress=address.bindAddress or None
    )
    factory = TLSMemoryBIOFactory(tls, True, _Building(build), reactor)
    try:
        # What answers is the call in its wrapper of TLS; a host name may make several, of which one is taken.
        connected: Any = await endpoint.connect(factory).addTimeout(CONNECT_SECONDS, reactor, tooLate)
    except (ConnectError, ConnectingCancelledError, OSError, ValueError) as error:
        raise NodeUnreachable(f"{address}: {_reasonOf(error)}") from None
    taken: Call[_Result] = connected.wrappedProtocol
    try:
        return await taken.result().addTimeout(answerSeconds, reactor, tooLate)
    except BaseException:
        connected.abortConnection()
        raise


@define(eq=False)
class _Building(Factory):
    _build: Callable[[], Call[Any]]

    noisy = False

    def buildProtocol(self, addr: object) -> Any:
        return self._build()


def _reasonOf(error: Exception) -> str:
    if isinstance(error, UserError):
        # How an attempt to connect that took too long is called.
        return f"no answer within {CONNECT_SECONDS} s"
    if isinstance(error, ConnectError) and isinstance(error.osError, int):
        return os.strerror(error.osError)
    return str(error)


class _LinkCall(Call[IProtocol]):
    """Calls for a link. Once it is up, everything goes to the link's own protocol."""

    def __init__(
        self,
        address: Address,
        *,
        check: Callable[[Any], Node],
        buildLink: Callable[[str], IProtocol],
        links: LiveLinks,
    ) -> None:
        super().__init__(address)
        self._check = check
        self._buildLink = buildLink
        self._links = links
        self._member: Node | None = None
        self._inner: IProtocol | None = None

    def speak(self) -> None:
        self._member = self._check(self.tls)

    def answered(self, answer: dict[str, Any], rest: bytes) -> None:
        if answer.get("welcome") is not True or self._member is None:
            reason = " ".join(str(answer.get("refused", "it sent what is no answer")).split())
            raise Refused(f"{self.address}: refused this node: {reason[:500]}")
        self._inner = self._buildLink(self._member.name)
        self._links.add(self.tls, self._member.name, self._member.fingerprint)
        self._inner.makeConnection(self.tls)
        self.succeed(self._inner)
        if rest:
            self._inner.dataReceived(rest)

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
        else:
            super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._links.discard(self.tls)
        if self._inner is not None:
            self._inner.connectionLost(reason)
        super().connectionLost(reason)


def connectLink(
    reactor: Any,
    address: Address,
    *,
    identity: NodeIdentity,
    nodes: Callable[[], Nodes],
    expectedName: str | None,
    buildLink: Callable[[str], IProtocol],
    links: LiveLinks,
    wallClock: Callable[[], float],
) -> Deferred[IProtocol]:
    """Call a node for a link; fires with what ``buildLink`` made, connected, once both ends accepted each other.

    :param nodes: the document's nodes, asked when somebody answers.
    :param expectedName: who has to answer; ``None`` for any member.
    :param buildLink: makes the client's end of the link with the member of that name; or raises ``Refused``.
    """

    def check(tls: Any) -> Node:
        try:
            certificate = peerCertificate(tls)
            name = verifiedName(certificate, identity.authorities, Usage.server, wallClock())
            member = checkedMember(nodes(), name, certificate)
        except Refused as error:
            raise Refused(f"{address}: {error}") from None
        if expectedName not in (None, name):
            raise Refused(f'{address}: this is node "{name}", not "{expectedName}"')
        return member

    def build() -> _LinkCall:
        return _LinkCall(address, check=check, buildLink=buildLink, links=links)

    return Deferred.fromCoroutine(call(reactor, address, LinkTLS(identity), build, ANSWER_SECONDS))
