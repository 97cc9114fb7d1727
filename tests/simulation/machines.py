"""Machines, and the processes on them: each a node of the parts that a node is made of, without ports and threads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache, partial
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from cftpcluster.actions import Actions
from cftpcluster.administration import Administration
from cftpcluster.appending import Appending
from cftpcluster.cluster.dial import Address
from cftpcluster.cluster.members import Waiters
from cftpcluster.cluster.membership import NodeIdentity
from cftpcluster.cluster.rows import RowsKeeper
from cftpcluster.config.changes import Change, Target
from cftpcluster.config.document import Document, Node
from cftpcluster.founding import SYSTEM, Membership
from cftpcluster.journal._threaded import ThreadedJournal
from cftpcluster.journal.entry import Head
from cftpcluster.peering import Peering
from cftpcluster.status import OwnStatus, clusterStatus
from cftpcluster.testing.membership import SmallCluster
from cftpcluster.vocabulary import Author

from .clock import Reactor, Threads
from .disk import Disk, ModelRowsFile, ModelStore

if TYPE_CHECKING:
    from .world import World

BORN = 1_700_000_000.0
"""The time of day at which a schedule begins."""


@cache
def anIdentity() -> NodeIdentity:
    """Certificates are verified elsewhere; here nodes are who they say."""
    return SmallCluster(BORN).found("node")


@define(eq=False, repr=False)
class Folder:
    """A state folder whose files are on a simulated disk.

    Has what is used of :class:`cftpcluster.state.StateDirectory`.
    """

    _disk: Disk

    def read(self, name: str) -> bytes | None:
        return self._disk.files.get(name)

    def write(self, name: str, data: bytes) -> None:
        self._disk.files[name] = data

    def remove(self, name: str) -> None:
        self._disk.files.pop(name, None)

    def readJSON(self, name: str) -> Any:
        data = self.read(name)
        return None if data is None else json.loads(data)

    def writeJSON(self, name: str, value: Any) -> None:
        self.write(name, json.dumps(value).encode())


@define(eq=False, repr=False)
class Machine:
    """One host: what of a node outlives its processes.

    :ivar powered: whether its system runs, so that somebody answers for a process that does not.
    :ivar wallOffset: how far its clock is wrong.
    """

    name: str
    address: str
    disk: Disk
    world: World
    powered: bool = True
    wallOffset: float = 0.0
    process: Process | None = None
    started: int = 0

    def start(self) -> Process:
        assert self.process is None
        self.started += 1
        self.powered = True
        self.process = Process(self, Random(f"{self.world.seed} {self.name} {self.started}"))
        self.world.prepare(self.process)
        self.process.start()
        return self.process

    def kill(self, quietly: bool) -> None:
        """End the process at once; ``quietly``: with the machine it runs on."""
        process, self.process = self.process, None
        if process is not None:
            self.powered = not quietly
            process.reactor.kill()
            self.world.network.killed(process, quietly)

    @property
    def fingerprint(self) -> str:
        """Of its key."""
        return hashlib.sha256(self.name.encode()).hexdigest()

    def wallTime(self) -> float:
        return BORN + self.world.timeline.now + self.wallOffset

    @property
    def head(self) -> Head:
        """What is durable here."""
        return self.disk.image.head


@define(eq=False, repr=False)
class Process:
    """A node from its start to its end, as :class:`cftpcluster.node.Node` puts it together."""

    machine: Machine
    random: Random
    reactor: Reactor = field(init=False)
    journal: ThreadedJournal = field(init=False)
    head: Head = field(init=False)
    peering: Peering = field(init=False)
    administration: Administration = field(init=False)
    live: int = 0
    _store: ModelStore = field(init=False)
    _compactedAt: int = 0
    _waiters: Waiters = field(init=False)
    _converging: bool = False

    def __attrs_post_init__(self) -> None:
        machine, world = self.machine, self.machine.world
        self.reactor = Reactor(world.timeline, self.random)
        self._store = world.makeStore(self)
        slowness = lambda: machine.disk.slowness  # noqa: E731
        thread: Any = Threads(self.reactor, self.random, True, slowness)
        pool: Any = Threads(self.reactor, self.random, False, slowness)
        store: Any = self._store
        self.journal = ThreadedJournal(store, {}, self.reactor, thread, lambda: None)
        self.head = self._store.head
        self._compactedAt = self._store._base.revision
        self._waiters = Waiters(self.reactor)
        appending = Appending(
            journal=self.journal,
            publisher=lambda: self.peering.publisher,
            head=lambda: self.head,
            committed=self.committed,
            notify=lambda event: None,
        )
        folder: Any = Folder(machine.disk)
        reactor: Any = self.reactor
        rowsThread: Any = Threads(self.reactor, self.random, True, slowness)
        file, incarnation, kept = ModelRowsFile.open(machine.disk, machine.wallTime())
        rowsFile: Any = file
        peers = tuple(
            Node(name=one.name, address=one.address, fingerprint=one.fingerprint)
            for one in world.machines.values()
            if one is not machine
        )
        self.peering = Peering(
            name=machine.name,
            bind=machine.address,
            state=folder,
            reactor=self.reactor,
            pool=pool,
            journal=self.journal,
            membership=Membership(
                NodeIdentity(machine.name, b"", anIdentity().certificatePem, b""), (bytes(32),), peers, 8789
            ),
            document=self.document,
            notify=lambda event: world.trace(machine.name, "event {}", event),
            append=appending.append,
            applied=self.committed,
            perform=self._performHere,
            relay=self._relayed,
            report=lambda: self.ownStatus().report(),
            status=lambda: clusterStatus(self.ownStatus(), self.peering),
            changed=self.changed,
            proposeOwn=lambda change, expected: self.administration.propose(change, expected, SYSTEM),
            head=self.head,
            connect=self._connect,
            random=self.random,
            wallTime=machine.wallTime,
            keeper=RowsKeeper(rowsFile, incarnation, kept, self.reactor, rowsThread, machine.wallTime),
        )
        actions = Actions(
            peering=self.peering,
            document=self.document,
            openSecret=lambda secret: b"",
            propose=self._proposed,
            inThread=partial(deferToThreadPool, reactor, pool),
        )
        self.administration = Administration(
            name=machine.name,
            peering=self.peering,
            document=self.document,
            journalHead=lambda: self.head,
            append=appending.append,
            liveHere=lambda revision, seconds: self._waiters.wait(lambda: self.live >= revision, seconds),
            status=lambda: clusterStatus(self.ownStatus(), self.peering),
            actions={**actions.table(), "resume": self._resumed},
            wallTime=machine.wallTime,
        )

    @property
    def name(self) -> str:
        return self.machine.name

    @property
    def fingerprint(self) -> str:
        return self.machine.fingerprint

    @property
    def links(self) -> Any:
        """The links that the node has, to be cut when a member is removed."""
        return self.peering._live

    def buildLink(self, node: str) -> Any:
        """Its end of a link that another node dialled."""
        return self.peering.gate._buildLink(node)

    def start(self) -> None:
        """Begin to take part; as a real node, when it has converged for the first time."""
        self._converge()
        self.reactor.callLater(self.random.random() * 0.2, self.peering.start)

    def document(self) -> Document:
        return self.head.document

    def _connect(self, reactor: Any, address: Address, **how: Any) -> Deferred[Any]:
        return self.machine.world.network.connect(
            self, address.host, how["expectedName"], how["buildLink"], how["links"]
        )

    # --- as a node does

    def committed(self, head: Head) -> None:
        before, self.head = self.head, head
        self.machine.world.oracle.published(self, before, head)
        self.peering.committed(head)
        self._converge()
        keep = head.document.settings.historyRevisions
        if head.revision - self._compactedAt >= keep + self.machine.world.compactEvery:
            self._compactedAt = head.revision - keep
            self.compact(keep)

    def compact(self, keep: int) -> None:
        _ = self.journal.compact(keep).addErrback(
            lambda failure: self.machine.world.trace(self.name, "not compacted: {}", failure.getErrorMessage())
        )

    def _converge(self) -> None:
        if not self._converging:
            self._converging = True
            self.reactor.callLater(self.random.random() * 0.1, self._converged, self.head.revision)

    def _converged(self, revision: int) -> None:
        self._converging = False
        self.live = revision
        self.changed()
        if revision != self.head.revision:
            self._converge()

    def changed(self) -> None:
        self._waiters.look()
        if hasattr(self, "administration"):
            self.peering.statusChanged()

    def _proposed(self, change: Change, expected: Mapping[Target, int], author: Author) -> Deferred[int]:
        return self.administration.propose(change, expected, author)

    def _resumed(self, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        return Deferred.fromCoroutine(self.peering.following.resume())

    def _performHere(self, action: str, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        return self.administration.performHere(action, arguments)

    def _relayed(
        self, node: str, action: str, arguments: Mapping[str, Any], author: Author
    ) -> Deferred[Mapping[str, Any]]:
        return self.administration.perform(node, action, arguments, author)

    def ownStatus(self) -> OwnStatus:
        return OwnStatus(
            name=self.name,
            address=self.machine.address,
            head=self.head,
            live=self.live,
            draining=False,
            problems=(),
            remarks=(),
        )
