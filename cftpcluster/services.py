"""What runs on a node because the document says so: backends, checkers, observers, listeners.

Makes what runs agree with a document; the first document is no special case. Knows neither journal nor link.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from random import SystemRandom
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from .auth.chain import ChainingChecker
from .auth.delay import FailureDelay
from .auth.own import OwnCredentials
from .auth.portal import AccountPortal
from .auth.realm import Realm
from .auth.rules import Rules
from .auth.tree import FileTrees
from .cluster.sealing import Sealer
from .components import Components
from .config.codec import structure
from .config.document import Component, Document, Limits, Listener, Settings, User
from .config.plan import Change, Start, Stop, overridden, plan
from .errors import ClusterError, Invalid
from .events import Event, Measure, unmeasured
from .files.allowance import Allowance
from .files.quotas import Quotas
from .files.throttled import AllRates
from .files.traffic import Traffic
from .files.transfers import Transfers
from .interfaces import IBackend, IObserver, ISharedRows
from .keyring import Keyring
from .networks import Networks
from .servers.listening import ListenerService

log = Logger()


def effectiveListener(listener: Listener, document: Document, node: str) -> Listener:
    """A listener as ``node`` serves it: with the overrides of the node's entry in the document."""
    member = document.nodes.get(node)
    overrides = member.listeners.get(listener.name) if member else None
    return overridden(listener, overrides) if overrides else listener


UNGUARDED = frozenset({"cluster", "health"})
"""Kinds of listeners that are for nodes and for whoever looks after them: no ban may part the cluster."""

GRANTING = ("users", "groups", "backends", "settings")
"""The parts of the document that say what a session may do."""


@define(eq=False)
class Running:
    """A component that runs, and the value it was built from."""

    value: Any
    built: Any


@define(eq=False)
class Services:
    """The components of one node.

    :ivar _lasting: the kinds of listeners that serve the node itself, and go on whatever becomes of its clients.
    :ivar _always: observers that there are whatever the document says.
    :ivar _rules: what holds for log-ins and sessions on all nodes.
    :ivar _own: what users change of themselves.
    :ivar quotas: what users hold.
    :ivar traffic: bytes that users sent and were sent.
    :ivar transfers: what they send and are sent now.
    :ivar problems: what is wrong, by the path of the object it concerns (``listeners/ftp``).
    """

    _node: str
    _stateDirectory: str
    _bind: str
    _reactor: Any
    _filePool: ThreadPool
    _hashPool: ThreadPool
    _components: Components
    _sealer: Callable[[], Sealer]
    _avatars: Mapping[Any, Callable[..., Any]]
    _delay: FailureDelay
    _upgradeHash: Callable[[str, str, str], None]
    _rules: Rules
    _own: OwnCredentials
    _rows: ISharedRows
    _always: Sequence[IObserver] = ()
    _measure: Measure = unmeasured
    _makeListener: Callable[..., ListenerService] = ListenerService
    _lasting: frozenset[str] = frozenset()
    _isDraining: bool = field(default=False, init=False)
    document: Document = field(factory=Document, init=False)
    problems: dict[str, str] = field(factory=dict, init=False)
    _backends: dict[str, Running] = field(factory=dict, init=False)
    _checkers: dict[str, Running] = field(factory=dict, init=False)
    _observers: dict[str, Running] = field(factory=dict, init=False)
    _listeners: dict[str, Running] = field(factory=dict, init=False)
    _keyring: Keyring = field(init=False)
    quotas: Quotas = field(init=False)
    traffic: Traffic = field(factory=Traffic, init=False)
    transfers: Transfers = field(init=False)
    _rates: AllRates = field(init=False)
    _chain: ChainingChecker = field(init=False)
    _realm: Realm = field(init=False)
    _portal: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._keyring = Keyring(self._sealer, self._forgetProblems, self._failed)
        self._rates = AllRates(self._reactor, self._limitsOf)
        trees = FileTrees(
            self.currentDocument,
            self.backend,
            self.notify,
            self._reactor,
            self._rates,
            self._allowanceOf,
            self._measure,
            self.traffic,
        )
        self.quotas = Quotas(
            self._rows,
            self._node,
            self._reactor,
            self._userOf,
            trees.storages,
            time.time,
            SystemRandom().random,
            lambda: uuid.uuid4().hex[:8],
        )
        self.quotas.start()
        self.transfers = Transfers(self._node, self.traffic, self._reactor, time.time)
        self.transfers.start()
        self._realm = Realm(
            self.currentDocument, trees.build, self._avatars, time.time, self._rules.sessions, self._reactor
        )
        self._chain = ChainingChecker(())
        self._portal = AccountPortal(
            self._realm, self._chain, self.notify, self._delay, self._rules, self._own, self._measure
        )

    def currentDocument(self) -> Document:
        return self.document

    def settings(self) -> Settings:
        return self.document.settings

    def _userOf(self, name: str) -> User | None:
        return self.document.users.get(name)

    def _limitsOf(self, name: str) -> Limits:
        user = self._userOf(name)
        return Limits() if user is None else user.limits

    def _allowanceOf(self, name: str) -> Allowance | None:
        return self.quotas.of(name)

    def isProbe(self, address: str) -> bool:
        """Whether whoever connects from there only looks whether ports answer."""
        return address in Networks.parse(self.document.settings.probeNetworks)

    def backend(self, name: str) -> IBackend | None:
        """The running backend of that name."""
        running = self._backends.get(name)
        return running.built if running else None

    def listener(self, name: str) -> ListenerService | None:
        """The running listener of that name."""
        running = self._listeners.get(name)
        return running.built if running else None

    @property
    def listeners(self) -> Sequence[ListenerService]:
        """Every running listener."""
        return [running.built for running in self._listeners.values()]

    def notify(self, event: Event) -> None:
        """Hand an event to every observer; one that fails does not harm the others."""
        self._rules.guard.observe(event)
        for always in self._always:
            always.observe(event)
        for name, running in self._observers.items():
            observer: IObserver = running.built
            try:
                observer.observe(event)
            except Exception:  # noqa: BLE001 - a plug-in's fault must not harm the others
                log.failure("observer {name} failed", name=name)

    async def converge(self, document: Document) -> None:
        """Make what runs agree with ``document``. Whatever cannot be done is a problem, and the rest is done."""
        before, self.document = self.document, document
        if any(getattr(document, part) is not getattr(before, part) for part in GRANTING):
            self._realm.endStale()
            self._rates.refresh()
        certified = self._keyring.take(before, document)
        if document.observers is not before.observers:
            await self._rebuild("observers", self._observers, document.observers, self._buildObserver)
        if document.backends is not before.backends:
            await self._rebuild("backends", self._backends, document.backends, self._buildBackend)
        if any(getattr(document, part) is not getattr(before, part) for part in GRANTING):
            self.quotas.refresh()
        if document.checkers is not before.checkers:
            await self._rebuild("checkers", self._checkers, document.checkers, self._buildChecker)
            self._chain.checkers = tuple(running.built for _, running in sorted(self._checkers.items()))
        # A listener may have waited for its certificate.
        if certified or document.listeners is not before.listeners or document.nodes is not before.nodes:
            await self._convergeListeners(document)
        self._keyring.forget(document, {running.value.certificate for running in self._listeners.values()})

    def hostKeys(self) -> Sequence[bytes]:
        return self._keyring.hostKeys

    def sessionKeys(self, kind: str) -> Sequence[bytes]:
        """Keys to sign sessions with, for listeners of one kind alone."""
        return self._keyring.sessionKeys(kind)

    def _forgetProblems(self, section: str) -> None:
        for path in [path for path in self.problems if path.startswith(section + "/")]:
            del self.problems[path]

    # --- backends, checkers, observers

    async def _rebuild(
        self, section: str, running: dict[str, Running], wanted: Mapping[str, Component], build: Callable[..., Any]
    ) -> None:
        for name in [name for name in running if not _isSame(running[name].value, wanted.get(name))]:
            await self._close(section, name, running.pop(name))
        self._forgetProblems(section)
        for name, component in sorted(wanted.items()):
            if name not in running:
                try:
                    factory, config = self._factory(section, component)
                    running[name] = Running(component, build(factory, config, component))
                except Exception as error:  # noqa: BLE001 - a plug-in's fault is a problem of this object alone
                    self._failed(section, name, error)

    def _factory(self, section: str, component: Component) -> tuple[Any, Any]:
        factory = self._components.factories[section].get(component.kind)
        if factory is None:
            raise ClusterError(f"this node has no plug-in of kind {component.kind!r}")
        return factory, structure(factory.configClass, component.options)

    def _failed(self, section: str, name: str, error: Exception) -> None:
        if not isinstance(error, ClusterError):
            log.failure("could not build {section}/{name}", section=section, name=name)
        text = "; ".join(map(str, error.problems)) if isinstance(error, Invalid) else str(error) or type(error).__name__
        self.problems[f"{section}/{name}"] = text
        log.warn("{section}/{name}: {text}", section=section, name=name, text=text)

    async def _close(self, section: str, name: str, running: Running) -> None:
        close = getattr(running.built, "close", None)
        if close is not None:
            try:
                await close()
            except Exception:  # noqa: BLE001 - the others are to be closed all the same
                log.failure("could not close {section}/{name}", section=section, name=name)

    def _buildBackend(self, factory: Any, config: Any, backend: Any) -> IBackend:
        built: IBackend = factory.build(
            config,
            backend=backend,
            node=self._node,
            stateDirectory=self._stateDirectory,
            reactor=self._reactor,
            pool=self._filePool,
            settings=self.settings,
        )
        return built

    def _buildChecker(self, factory: Any, config: Any, checker: Any) -> Any:
        return factory.build(
            config, reactor=self._reactor, pool=self._hashPool, document=self.currentDocument, upgrade=self._upgradeHash
        )

    def _buildObserver(self, factory: Any, config: Any, observer: Any) -> IObserver:
        built: IObserver = factory.build(config, node=self._node, reactor=self._reactor)
        return built

    # --- listeners

    async def _convergeListeners(self, document: Document) -> None:
        wanted = {name: effectiveListener(value, document, self._node) for name, value in document.listeners.items()}
        present = {name: running.value for name, running in self._listeners.items()}
        # What still is a problem is tried again, and told again.
        self._forgetProblems("listeners")
        for step in plan(present, wanted, _sameSocket):
            match step:
                case Stop(name):
                    await self._stopListener(name)
                case Change(name, listener):
                    await self._changeListener(name, listener)
                case Start(name, listener):
                    await self._startListener(name, listener)

    async def _changeListener(self, name: str, listener: Listener) -> None:
        running = self._listeners[name]
        try:
            _, config = self._factory("listeners", listener)
        except ClusterError as error:
            self._failed("listeners", name, error)
            return
        try:
            await running.built.reconfigure(listener, config)
        except Exception:  # noqa: BLE001 - it cannot become that while it runs; starting it anew says what is wrong
            await self._stopListener(name)
            await self._startListener(name, listener)
        else:
            running.value = listener

    async def _startListener(self, name: str, listener: Listener) -> None:
        try:
            factory, config = self._factory("listeners", listener)
            tls = self._keyring.certificate(listener.certificate)
            if factory.needsTLS and tls is None:
                raise ClusterError(f"there is no certificate {listener.certificate!r} to serve with")
            server = factory.build(
                config,
                listener=listener,
                reactor=self._reactor,
                portal=self._portal,
                tls=tls,
                hostKeys=self.hostKeys,
                sessionKeys=lambda: self.sessionKeys(listener.kind),
                settings=self.settings,
                notify=self.notify,
                bindAddress=self._bind,
                pool=self._filePool,
            )
            service = self._makeListener(
                listener=listener,
                server=server,
                reactor=self._reactor,
                bindAddress=self._bind,
                tls=tls,
                refuses=_refusesNobody if listener.kind in UNGUARDED else self._rules.guard.refusal,
                isProbe=self.isProbe,
            )
            if self._isDraining:
                _ = self._drainListener(service)
            await service.start()
            self._listeners[name] = Running(listener, service)
        except Exception as error:  # noqa: BLE001 - a plug-in's fault is a problem of this listener alone
            self._failed("listeners", name, error)

    async def _stopListener(self, name: str) -> None:
        service = self._listeners.pop(name).built
        try:
            await service.stop()
        except Exception:  # noqa: BLE001 - the others are to be served, or stopped, all the same
            log.failure("could not stop listeners/{name}", name=name)

    # --- the end

    async def drain(self) -> None:
        """Every listener refuses politely and lets transfers finish; so do those that are started from now on, until
        :meth:`resume`."""
        self._isDraining = True
        await gatherResults([self._drainListener(each) for each in self._forClients()])

    def _drainListener(self, listener: ListenerService) -> Deferred[None]:
        def failed(failure: Failure) -> None:
            log.failure("could not drain listeners/{name}", failure, name=listener.name)

        if listener.listener.kind in self._lasting:
            return succeed(None)
        return maybeDeferred(listener.drain).addErrback(failed)

    def _forClients(self) -> list[ListenerService]:
        return [each for each in self.listeners if each.listener.kind not in self._lasting]

    @property
    def sessions(self) -> int:
        """How many connections clients have."""
        return sum(each.connections for each in self._forClients())

    def resume(self) -> None:
        """Every listener takes sessions again."""
        self._isDraining = False
        for each in self._forClients():
            each.resume()

    def disconnect(self) -> None:
        """End the sessions that clients have."""
        for each in self._forClients():
            each.disconnect()

    async def stop(self) -> None:
        """End everything, listeners first."""
        await gatherResults([Deferred.fromCoroutine(self._stopListener(name)) for name in list(self._listeners)])
        self.quotas.stop()
        self.transfers.stop()
        for section, running in (
            ("checkers", self._checkers),
            ("backends", self._backends),
            ("observers", self._observers),
        ):
            for name in list(running):
                await self._close(section, name, running.pop(name))

    # --- what is wrong

    def allProblems(self) -> list[str]:
        """Every problem of this node's components, with the object's path."""
        found = {f"listeners/{service.name}": service.problem for service in self.listeners if service.problem}
        return [f"{path}: {text}" for path, text in sorted({**self.problems, **found}.items())]

    def backendProblems(self) -> Deferred[list[str]]:
        """What keeps the backends from being used, asked anew."""

        def named(problems: Sequence[str] | Failure, name: str) -> list[str]:
            if isinstance(problems, Failure):
                return [f"backends/{name}: {problems.getErrorMessage()}"]
            return [f"backends/{name}: {problem}" for problem in problems]

        asked = [
            maybeDeferred(running.built.problems).addBoth(named, name)
            for name, running in sorted(self._backends.items())
        ]
        return gatherResults(asked).addCallback(lambda lists: [problem for problems in lists for problem in problems])


def _isSame(running: Component, wanted: Component | None) -> bool:
    """Whether what runs is what is wanted, whenever that was written."""
    return wanted is not None and evolve(running, revision=wanted.revision) == wanted


def _refusesNobody(address: str) -> str:
    return ""


def _sameSocket(running: Listener, wanted: Listener) -> bool:
    """Whether a listener can change from one to the other without letting go of its port."""
    return (running.kind, running.port, running.certificate) == (wanted.kind, wanted.port, wanted.certificate)
