"""A node's services without a node: kinds of components that note what becomes of them, and ports in memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from attrs import define, field, frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from cftpcluster.auth.delay import FailureDelay
from cftpcluster.cluster.authority import makeServiceCertificate
from cftpcluster.cluster.sealing import Sealer
from cftpcluster.components import FACTORY_INTERFACES, Components
from cftpcluster.config.changes import Change, Put
from cftpcluster.config.document import Certificate, Listener
from cftpcluster.events import Event
from cftpcluster.interfaces import IServer
from cftpcluster.servers.listening import ListenerService
from cftpcluster.services import Services
from cftpcluster.testing.auth import ownCredentials, rulesFor
from cftpcluster.testing.membership import SmallCluster
from cftpcluster.testing.rows import MemoryRows
from cftpcluster.testing.threads import InlinePool, InlineReactor

NOW = 1_800_000_000.0
NODE = "node-a"
CHAIN, KEY = makeServiceCertificate(["one.test"], NOW)
OTHER_CHAIN, OTHER_KEY = makeServiceCertificate(["other.test"], NOW)


@frozen(kw_only=True)
class PlainOptions:
    """Options of every kind here."""

    colour: str = "red"


@define(eq=False)
class Plain:
    """A backend, checker or observer.

    :ivar config: what it was built with.
    :ivar parts: likewise.
    :ivar failing: an error that whatever it is asked fails with.
    """

    config: PlainOptions
    parts: dict[str, Any]
    closed: bool = False
    failing: Exception | None = None
    observed: list[Event] = field(factory=list)
    found: Any = field(factory=list)

    def close(self) -> Deferred[None]:
        self.closed = True
        return fail(self.failing) if self.failing else succeed(None)

    def observe(self, event: Event) -> None:
        if self.failing:
            raise self.failing
        self.observed.append(event)

    def problems(self) -> Deferred[list[str]]:
        if self.failing:
            raise self.failing
        return fail(self.found) if isinstance(self.found, Exception) else succeed(self.found)


@implementer(IServer)
class PlainServer(Factory):
    """A server that notes what it is told.

    :ivar failing: what it fails with, by the name of what it is asked.
    """

    noisy = False
    protocol = Protocol
    implicitTLS = False

    def __init__(self, config: PlainOptions, parts: dict[str, Any]) -> None:
        self.config, self.parts = config, parts
        self.told: list[Any] = []
        self.failing: dict[str, Exception] = {}
        self.empty: Deferred[None] = Deferred()

    def reconfigure(self, config: PlainOptions) -> Deferred[None]:
        if "reconfigure" in self.failing:
            return fail(self.failing["reconfigure"])
        self.config = config
        self.told.append(config.colour)
        return succeed(None)

    def drain(self) -> Deferred[None]:
        self.told.append("drain")
        if "drain" in self.failing:
            raise self.failing["drain"]
        return self.empty

    def resume(self) -> None:
        self.told.append("resume")

    def disconnect(self) -> None:
        self.told.append("disconnect")
        if "disconnect" in self.failing:
            raise self.failing["disconnect"]


@define(eq=False)
class PlainFactory:
    """Makes components of one kind.

    :ivar built: everything that it made, oldest first.
    :ivar failing: what building fails with.
    """

    kind: str
    make: Callable[[PlainOptions, dict[str, Any]], Any]
    needsTLS: bool = False
    failing: Exception | None = None
    built: list[Any] = field(factory=list)
    summary: str = "for tests"
    configClass: type = PlainOptions

    def build(self, config: PlainOptions, **parts: Any) -> Any:
        if self.failing is not None:
            raise self.failing
        self.built.append(self.make(config, parts))
        return self.built[-1]


@define(eq=False)
class MemoryPort:
    network: MemoryNetwork
    number: int
    door: Any

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.2", self.number)

    def stopListening(self) -> Deferred[None]:
        del self.network.ports[self.number]
        self.door.doStop()
        return succeed(None)


@define(eq=False)
class MemoryNetwork:
    """Where ports are bound.

    :ivar ports: those that are bound, by their numbers.
    :ivar taken: numbers that somebody else has.
    """

    ports: dict[int, MemoryPort] = field(factory=dict)
    taken: set[int] = field(factory=set)

    def listen(self, reactor: Any, port: int, door: Any, address: str) -> Any:
        if port in self.ports or port in self.taken:
            raise CannotListenError(address, port, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)))
        door.doStart()
        made = self.ports[port] = MemoryPort(self, port, door)
        return made


def plainListener(name: str = "front", port: int = 2001, kind: str = "plain", **attributes: Any) -> Listener:
    return Listener(name=name, kind=kind, port=port, **attributes)


class ServicesCase(SynchronousTestCase):
    """Services of ``node-a`` that agree with ``cluster.document`` whenever :meth:`converge` was called.

    There are factories of kind ``plain`` in every section, and listeners of kind ``secure``, which need a certificate.
    """

    def setUp(self) -> None:
        self.cluster = SmallCluster(NOW)
        self.cluster.found(NODE, "127.0.0.2")
        self.reactor = InlineReactor()
        self.network = MemoryNetwork()
        self.factories = {section: PlainFactory("plain", Plain) for section in FACTORY_INTERFACES}
        self.factories["listeners"] = PlainFactory("plain", PlainServer)
        self.secure = PlainFactory("secure", PlainServer, needsTLS=True)
        kinds: dict[str, dict[str, Any]] = {name: {"plain": factory} for name, factory in self.factories.items()}
        kinds["listeners"]["secure"] = self.secure
        self.services = self.makeServices(Components(kinds))

    def makeServices(self, components: Components) -> Services:
        pool: Any = InlinePool()
        rows = MemoryRows(self.reactor, NODE)
        self.rules = rulesFor(lambda: self.services.document, rows, self.reactor)
        return Services(
            node=NODE,
            stateDirectory="/nowhere",
            bind="127.0.0.2",
            reactor=self.reactor,
            filePool=pool,
            hashPool=pool,
            components=components,
            sealer=lambda: self.cluster.sealer,
            avatars={},
            delay=FailureDelay(self.reactor, lambda: 0.0, 0.0),
            upgradeHash=lambda name, before, after: None,
            rules=self.rules,
            own=ownCredentials(lambda: self.services.document, lambda document: None),
            rows=rows,
            makeListener=partial(ListenerService, listen=self.network.listen),
        )

    def converge(self, *changes: Change) -> list[str]:
        """Change the document and have the services agree with it; answers with their problems."""
        if changes:
            self.cluster.change(*changes)
        self.successResultOf(Deferred.fromCoroutine(self.services.converge(self.cluster.document)))
        return self.services.allProblems()

    def putCertificate(
        self, chain: bytes = CHAIN, key: bytes = KEY, name: str = "default", sealer: Sealer | None = None
    ) -> Put:
        sealed = (sealer or self.cluster.sealer).seal(key)
        return Put("certificates", Certificate(name=name, chain=chain.decode("ascii"), key=sealed))

    def built(self, section: str) -> list[Any]:
        """What the section's factory has made so far."""
        return self.factories[section].built

    def assertPaths(self, problems: Iterable[str], *paths: str) -> None:
        """The problems are of these objects."""
        self.assertEqual([problem.partition(": ")[0] for problem in problems], list(paths))
