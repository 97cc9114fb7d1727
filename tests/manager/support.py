"""An administration in memory, asked over HTTPS or over its socket, byte by byte."""

from __future__ import annotations

import base64
import os
import socket
import struct
import time
from tempfile import TemporaryDirectory
from typing import Any

from attrs import define, field
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.auth.administrators import AdminPasswords
from cftpcluster.auth.delay import FailureDelay
from cftpcluster.auth.passwords import Passwords
from cftpcluster.auth.rules import Rules
from cftpcluster.auth.tokens import ApiTokens
from cftpcluster.backup import Backups
from cftpcluster.cluster.authority import Authority, makeHostKeys, makeServiceCertificate, newNodeKey
from cftpcluster.cluster.membership import NodeIdentity
from cftpcluster.cluster.rotation import Rotation
from cftpcluster.cluster.sealing import Sealer, newClusterKey
from cftpcluster.cluster.tokens import newToken
from cftpcluster.config.changes import Batch, Put, Remove
from cftpcluster.config.defaults import defaultChanges
from cftpcluster.config.document import Admin, Certificate, HostKey, Role, Settings
from cftpcluster.files.traffic import Traffic
from cftpcluster.files.transfers import Transfers
from cftpcluster.founding import Membership
from cftpcluster.haproxy import Balancer, haproxyConfiguration
from cftpcluster.journal.audit import AuditLog
from cftpcluster.journal.auditfile import AuditFile
from cftpcluster.journal.entry import Head
from cftpcluster.manager import (
    Administration,
    Happened,
    ManagerOptions,
    ManagerServerFactory,
    Preparation,
    Revisions,
    UnderWay,
    socketSite,
)
from cftpcluster.testing.administration import MemoryAdministration
from cftpcluster.testing.auth import CHEAP, rulesFor
from cftpcluster.testing.http import Answer, Conversation
from cftpcluster.testing.rows import MemoryRows
from cftpcluster.testing.threads import InlinePool, InlineReactor

from .described import misfits

PASSWORD = "correct horse"
CHAIN, KEY = makeServiceCertificate(["localhost"], time.time())
HOST_KEY = makeHostKeys()["ed25519"]


class Clock(InlineReactor):
    """Starts at a time that is not 0."""

    rightNow = 1_000_000.0


@define(eq=False)
class Cluster:
    """A node with the default document, and what its administration is made of.

    :ivar hashed: the passwords that were hashed, for what was written.
    """

    kinds: dict[str, dict[str, type]] = field(factory=dict)
    clock: Clock = field(factory=Clock, init=False)
    pool: InlinePool = field(factory=InlinePool, init=False)
    hashed: list[bytes] = field(factory=list, init=False)
    node: MemoryAdministration = field(init=False)
    sealer: Sealer = field(factory=lambda: Sealer(newClusterKey()), init=False)
    settings: Settings = field(factory=Settings, init=False)
    traffic: Traffic = field(factory=Traffic, init=False)
    sessionKeys: list[bytes] = field(factory=lambda: [b"k" * 32], init=False)
    events: list[Any] = field(factory=list, init=False)
    measured: list[str] = field(factory=list, init=False)

    # Made once: a table of so many routes takes a while.
    _sites: dict[str, Any] = field(factory=dict, init=False)
    _folder: Any = field(factory=TemporaryDirectory, init=False)
    audit: AuditLog = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.node = MemoryAdministration(self.kinds)
        file = AuditFile.open(f"{self._folder.name}/audit.db")
        self.audit = AuditLog(
            *("node-a", file, self.clock, self.pool, self.pool, lambda: self.settings, self.clock.seconds)
        )
        self.rules = rulesFor(self.node.document, MemoryRows(self.clock, "node-a"), self.clock)
        self.passwords = Passwords(self.clock, self.pool, os.urandom, 2, CHEAP)
        certificate = Certificate(name="default", chain=CHAIN.decode(), key=self.sealer.seal(KEY))
        hostKey = HostKey(name="ed25519", key=self.sealer.seal(HOST_KEY))
        admins = [Admin(name=role.value, role=role, passwordHash=self.hashOf(PASSWORD)) for role in Role]
        puts = [Put("certificates", certificate), Put("hostKeys", hostKey), *(Put("admins", one) for one in admins)]
        self.node.change(Batch((*puts, *defaultChanges())))

        self.tokens = ApiTokens(self.node.document, MemoryRows(self.clock, "node-a"), self.clock.seconds, os.urandom)

        self.transfers = Transfers("node-a", self.traffic, self.clock, self.clock.seconds)

    @property
    def identity(self) -> NodeIdentity:
        now = time.time()
        return Authority.new(now).identity("node-a", newNodeKey(), now)

    passwords: Passwords = field(init=False)
    rules: Rules = field(init=False)
    tokens: ApiTokens = field(init=False)
    transfers: Transfers = field(init=False)

    def notify(self, event: Any) -> None:
        self.events.append(event)
        self.audit.observe(event)
        self.rules.guard.observe(event)

    def hashOf(self, password: str) -> str:
        hashes: list[str] = []
        self.passwords.hash(password.encode()).addCallback(hashes.append)
        return hashes[0]

    # As Passwords, for the preparation.

    def hash(self, password: bytes, source: str) -> Any:
        self.hashed.append(password)
        return self.passwords.hash(password, source)

    def verify(self, encoded: str, password: bytes, source: str) -> Any:
        return self.passwords.verify(encoded, password, source)

    @property
    def document(self) -> Any:
        return self.node.document()

    @property
    def preparation(self) -> Preparation:
        return Preparation(self.clock, self.pool, self, lambda: self.sealer, self.kinds)

    @property
    def administration(self) -> Administration:
        preparation = self.preparation
        return Administration(
            node=self.node,
            preparation=preparation,
            makeToken=self._makeToken,
            nodeRemoval=self._removal,
            openSecret=self.sealer.open,
            haproxy=lambda document, **said: haproxyConfiguration(document, Balancer(**said)),
            backups=Backups(
                head=lambda: Head(1, self.document.revision, bytes(32), self.document),
                membership=lambda: Membership(self.identity, self.sealer.keys),
                reactor=self.clock,
                pool=self.pool,
            ),
            journal=self.node.journal,
            revisions=Revisions(
                node=self.node,
                journal=self.node.journal,
                preparation=preparation,
                reactor=self.clock,
                pool=self.pool,
            ),
            happened=Happened(node=self.node, audit=self.audit, clock=self.clock),
            underWay=UnderWay(node=self.node, find=self.transfers.find, clock=self.clock),
            tokens=self.tokens,
            rules=self.rules,
            usage=self._usage,
            notify=self.notify,
            measure=lambda what, seconds: self.measured.append(what),
            reactor=self.clock,
            pool=self.pool,
        )

    async def _usage(self, user: Any) -> Any:
        quota = {"bytes": user.quota.bytes, "files": user.quota.files}
        return {"user": user.name, "bytes": 5, "files": 1, "quota": quota, "complete": False}

    def _removal(self, document: Any, name: str, compromised: bool) -> Any:
        byHand = ("everything",) if compromised else ()
        return succeed(Rotation(Batch((Remove("nodes", name),)), ("node-x",), byHand))

    def _makeToken(self, name: str, seconds: float) -> tuple[str, Put]:
        text, record = newToken(name, "127.0.0.2", 8789, "00" * 32, self.clock.seconds(), seconds)
        return text, Put("tokens", record)

    def server(self) -> Any:
        """The listener kind ``manager``."""
        delay = FailureDelay(self.clock, lambda: 0.0, seconds=0)
        admins = AdminPasswords(self.node.document, self.passwords, self.notify, delay, self.rules.guard)
        factory = ManagerServerFactory(self.administration, admins.authenticate, os.urandom)
        return factory.build(
            ManagerOptions(),
            reactor=self.clock,
            sessionKeys=lambda: self.sessionKeys,
            settings=lambda: self.settings,
        )

    def connect(self, address: str = "127.0.0.1") -> Conversation:
        """A connection over HTTPS."""
        if "https" not in self._sites:
            self._sites["https"] = self.server()
        return Conversation.with_(self._sites["https"], address)

    def connectSocket(self, user: int | None = None) -> Conversation:
        """A connection over the administration socket, by a process of that user."""
        if "socket" not in self._sites:
            self._sites["socket"] = socketSite(self.administration)
        conversation = Conversation.with_(self._sites["socket"], secure=False)
        conversation.transport.socket = PeerSocket(os.geteuid() if user is None else user)
        return conversation


@define(eq=False)
class PeerSocket:
    """A UNIX socket whose other end belongs to a user."""

    user: int

    def getsockopt(self, level: int, option: int, length: int) -> bytes:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_PEERCRED)
        return struct.pack("3i", 1, self.user, self.user)


def basic(name: str, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


class AdministrationTestCase(SynchronousTestCase):
    """Asks over the socket, where everything is allowed, unless a test says otherwise."""

    kinds: dict[str, dict[str, type]] = {}

    def setUp(self) -> None:
        self.cluster = Cluster(self.kinds)
        self.client = self.cluster.connectSocket()

    def ask(self, method: str, path: str, json: Any = None, status: int = 200, **more: Any) -> Answer:
        """Ask, insist on a status, and return the answer."""
        if self.client.ended:
            self.client = self.cluster.connectSocket()
        answer = self.client.ask(method, f"/api/v1/{path}", json, **more)
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(misfits(method, f"/api/v1/{path}", answer), [])
        return answer

    @property
    def revision(self) -> int:
        return int(self.cluster.document.revision)
