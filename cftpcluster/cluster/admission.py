"""The cluster's end of the join protocol, which :mod:`.join` describes: decides on new nodes, and answers them.

The new member and the token's binding to its key are one change, appended with the revisions that were looked at, so
of two keys that use a token at once one is refused. The same key may ask again: a join that broke off is repeated.

TLS is over before this; how a change becomes durable is not known here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeAlias

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..config.changes import Batch, Change, Put, Target, revisionOf
from ..config.document import NAME_PATTERN, Document, JoinToken, Node
from ..errors import ClusterError, Conflict, NotPrimary, Refused
from ..events import NodeJoined, NodeRefused, Notify
from ._frames import FrameReader, decodeBytes, encodeBytes, encodeFrame
from .authority import NodeKey, openAuthority, requestedKey
from .membership import keyFingerprint, publicKeyText
from .rotation import CLUSTER_KEY, handedTo
from .sealing import Sealer
from .tokens import checkedToken, isHost, staleTokens

PROTOCOL_VERSION = 1
REQUEST_SECONDS = 10
MOST_FAILED_TRIES = 10
"""Refused joins from one address within :data:`FORGIVE_SECONDS`, after which its requests are not looked at."""

FORGIVE_SECONDS = 60

_LINGER_SECONDS = 2
_MOST_ADDRESSES = 1024
_MOST_NODES_TOLD = 200
_ATTEMPTS = 5

Propose: TypeAlias = Callable[[Change, Mapping[Target, int]], Deferred[int]]
"""Appends a change of the cluster's own as a proposal of this node; fires with the revision when it is durable."""

_Answer: TypeAlias = Callable[[Mapping[str, Any] | Refused], Coroutine[Deferred[Any], Any, dict[str, Any]]]


@frozen
class _Request:
    """What a new node asks for, in the right types and not yet believed."""

    tokenId: str
    secret: bytes = field(repr=False)
    name: str
    request: bytes = field(repr=False)
    address: str
    version: str

    @classmethod
    def parse(cls, message: Mapping[str, Any]) -> _Request:
        version = message.get("protocolVersion")
        if version != PROTOCOL_VERSION:
            raise Refused(
                f"this node speaks version {PROTOCOL_VERSION} of the join protocol, not {str(version)[:20]!r}"
            )
        texts = []
        for key in ("tokenId", "secret", "name", "request", "address", "version"):
            text = message.get(key)
            if not isinstance(text, str) or not text.isascii():
                raise Refused(f"the request has no {key!r}")
            texts.append(text)
        tokenId, secret, name, request, address, version = texts
        if not NAME_PATTERN.fullmatch(name):
            raise Refused("the request's name is not one that a node can have")
        if not isHost(address):
            raise Refused("the request's address is neither an IP address nor a host name")
        return cls(tokenId, decodeBytes(secret), name, request.encode("ascii"), address, version[:100])


@define(eq=False)
class _FailedTries:
    """How often each address was refused lately; of very many addresses the latest are remembered."""

    _clock: IReactorTime
    _tries: OrderedDict[str, tuple[int, float]] = field(factory=OrderedDict, init=False)

    def isTooMany(self, address: str) -> bool:
        count, since = self._tries.get(address, (0, 0.0))
        return count >= MOST_FAILED_TRIES and self._clock.seconds() - since < FORGIVE_SECONDS

    def add(self, address: str) -> None:
        now = self._clock.seconds()
        count, since = self._tries.pop(address, (0, now))
        if now - since >= FORGIVE_SECONDS:
            count, since = 0, now
        self._tries[address] = count + 1, since
        while len(self._tries) > _MOST_ADDRESSES:
            self._tries.popitem(last=False)


@define(eq=False)
class JoinServer:
    """Lets new nodes in; every node serves it, only the primary says yes.

    :ivar name: this node's own.
    :ivar document: the document that is live here.
    :ivar sealer: the cluster keys now, with which the authority's key is opened, and which a new member gets.
    :ivar wallClock: seconds since the epoch.
    """

    _reactor: IReactorTime
    _name: str
    _document: Callable[[], Document]
    _propose: Propose
    _sealer: Callable[[], Sealer]
    _notify: Notify
    _wallClock: Callable[[], float]
    _log = Logger()
    _failedTries: _FailedTries = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._failedTries = _FailedTries(self._reactor)

    def buildJoin(self, address: str) -> Protocol:
        """The server's end of one conversation, for :class:`.gate.Gate`."""
        return _Conversation(self._reactor, lambda message: self.answer(message, address))

    async def answer(self, message: Mapping[str, Any] | Refused, address: str) -> dict[str, Any]:
        """The answer to a request, or to what is none; never fails."""
        try:
            if self._failedTries.isTooMany(address):
                raise Refused("too many failed tries from this address; wait a minute")
            if isinstance(message, Refused):
                raise message
            return await self._admit(_Request.parse(message), address)
        except NotPrimary as error:
            return {"notPrimary": {"epoch": error.epoch, "name": error.name, "address": error.address}}
        except Refused as error:
            self._failedTries.add(address)
            self._log.warn("refused a join from {address!r}: {reason}", address=address, reason=str(error))
            self._notify(NodeRefused(address=address, reason=str(error)))
            return {"refused": str(error)}
        except ClusterError as error:
            self._log.warn("a join from {address!r} failed: {reason!r}", address=address, reason=str(error))
            return {"failed": str(error)}
        except Exception:  # noqa: BLE001 the new node has to get an answer, whatever broke here
            self._log.failure("a join from {address!r} failed", address=address)
            return {"failed": "internal error; the log of the primary says more"}

    async def _admit(self, request: _Request, address: str) -> dict[str, Any]:
        key = requestedKey(request.request)
        fingerprint = keyFingerprint(key)
        for _ in range(_ATTEMPTS):
            document = self._document()
            token = checkedToken(
                document, request.tokenId, request.secret, request.name, fingerprint, self._wallClock()
            )
            self._checkPrimary(document)
            authority = openAuthority(document, self._sealer())
            certificate = authority.issue(request.name, key, self._wallClock())
            try:
                await self._record(document, token, request, key)
            except Conflict:
                # Somebody else used the token, or the node was changed or removed: look again.
                continue
            self._log.info(
                "node {name!r} joined from {address!r}, version {version!r}",
                name=request.name,
                address=address,
                version=request.version,
            )
            self._notify(NodeJoined(name=request.name, address=request.address))
            return {
                "certificate": certificate.decode("ascii"),
                "ca": authority.certificatePem.decode("ascii"),
                "clusterKeys": [encodeBytes(clusterKey) for clusterKey in self._sealer().keys],
                "nodes": _toldNodes(document),
                "primary": document.promoted.name,
            }
        raise ClusterError("the configuration changes too quickly; try again")

    def _checkPrimary(self, document: Document) -> None:
        primary = document.promoted.name
        if primary != self._name:
            node = document.nodes.get(primary)
            raise NotPrimary(document.promoted.epoch, primary, node.address if node is not None else "")

    async def _record(self, document: Document, token: JoinToken, request: _Request, key: NodeKey) -> None:
        """Have the member and the token's binding appended, unless both are as they should be."""
        before = document.nodes.get(request.name)
        fingerprint = keyFingerprint(key)
        member = before or Node(name=request.name, address=request.address)
        node = evolve(member, address=request.address, fingerprint=fingerprint, publicKey=publicKeyText(key))
        bound = evolve(token, boundTo=fingerprint)
        if node == before and bound == token:
            return
        handed = handedTo(document, self._sealer(), node)
        change = Batch((Put("tokens", bound), Put("nodes", node), *handed, *staleTokens(document, self._wallClock())))
        expected = {
            ("tokens", token.name): token.revision,
            ("nodes", request.name): before.revision if before is not None else 0,
            # Whoever replaces the key meanwhile does not know of this node.
            ("keys", CLUSTER_KEY): revisionOf(document, ("keys", CLUSTER_KEY)),
        }
        await self._propose(change, expected)


def _toldNodes(document: Document) -> list[dict[str, str]]:
    """The primary first; a new node learns the rest of a very large cluster from the document."""
    primary = document.promoted.name
    nodes = sorted(document.nodes.values(), key=lambda node: (node.name != primary, node.name))
    return [
        {"name": node.name, "address": node.address, "fingerprint": node.fingerprint}
        for node in nodes[:_MOST_NODES_TOLD]
    ]


class _Conversation(Protocol):
    """The server's end of one join: a request, an answer, the end."""

    _log = Logger()

    def __init__(self, reactor: IReactorTime, answer: _Answer) -> None:
        self._reactor = reactor
        self._answer = answer
        self._frames = FrameReader()
        self._asked = False
        self._lost = False
        self._answering: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self._timer = self._reactor.callLater(REQUEST_SECONDS, self._tooLate)

    def dataReceived(self, data: bytes) -> None:
        if self._asked:
            return
        try:
            frame = self._frames.feed(data)
        except Refused as error:
            self._ask(error)
        else:
            if frame is not None:
                self._ask(frame[0])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._asked = self._lost = True
        self._stopTimer()

    def _tooLate(self) -> None:
        self._ask(Refused(f"no request came within {REQUEST_SECONDS} s"))

    def _ask(self, message: Mapping[str, Any] | Refused) -> None:
        self._asked = True
        self._stopTimer()
        answering = Deferred.fromCoroutine(self._answer(message)).addCallback(self._say)
        self._answering = answering.addErrback(lambda failure: self._log.failure("a join was not answered", failure))

    def _say(self, answer: dict[str, Any]) -> None:
        if self._lost:
            return
        transport: Any = self.transport
        transport.write(encodeFrame(answer))
        transport.loseConnection()
        # Whoever does not answer the end of TLS is not waited for.
        self._timer = self._reactor.callLater(_LINGER_SECONDS, transport.abortConnection)

    def _stopTimer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
