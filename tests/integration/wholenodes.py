"""Whole nodes in this process, on the real reactor, for tests of what processes of their own would hide.

Trial itself looks for what a test leaves: sockets that are open, calls that are still to come, errors in the log.
"""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from cftpcluster.config.changes import Change, Put
from cftpcluster.config.defaults import DEFAULT_LISTENERS
from cftpcluster.config.document import User
from cftpcluster.errors import ClusterError
from cftpcluster.founding import SYSTEM
from cftpcluster.journal.entry import Proposal
from cftpcluster.node import Node
from cftpcluster.starting import Start
from cftpcluster.state import StateDirectory
from cftpcluster.testing.processes import loopbackAddresses
from cftpcluster.vocabulary import Author

reactor: Any = installed

PORTS = sorted(listener.port for listener in DEFAULT_LISTENERS)
MOMENT_SECONDS = 0.02


@cache
def addresses() -> list[str]:
    """Those of this module's nodes."""
    return loopbackAddresses(3)


@cache
def template() -> Path:
    """Where the state of a founded node is kept, for the tests after the first."""
    folder = Path(tempfile.mkdtemp(prefix="cftpcluster-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def proposal(change: Change, requestId: str = "", author: Author = SYSTEM) -> Proposal:
    return Proposal(change, {}, author, "node-a", requestId, 0.0)


def putUser(name: str) -> Put:
    return Put("users", User(name=name))


class Conversation(Protocol):
    """An FTP client's control connection, or any other of which only the beginning and the end count."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)

    async def ask(self, line: str = "") -> str:
        """Send a line, and wait for the last line of the answer."""
        if line:
            self.received = b""
            self.transport.write(line.encode() + b"\r\n")  # type: ignore[union-attr]
        while (answer := re.search(rb"(?m)^\d\d\d .*\r\n", self.received)) is None:
            await deferLater(reactor, MOMENT_SECONDS)
        return answer[0].decode()


class NodeCase(TestCase):
    timeout = 60

    def setUp(self) -> None:
        # Paths of UNIX sockets are short.
        self.folder = Path(tempfile.mkdtemp(prefix="cftpcluster-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def make(self, number: int = 0, role: str = "primary", **options: Any) -> Node:
        """A node that is stopped at the end of the test."""
        name, address = f"node-{'abc'[number]}", addresses()[number]
        state = StateDirectory(self.folder / name)
        state.prepare()
        given = {"bind": address, "advertise": address, "token": "", "existing": False, "adminPassword": b"secret"}
        node = Node(start=Start(role=role, name=name, state=state, **{**given, **options}), reactor=reactor)
        self.addCleanup(node.stop)
        return node

    async def founded(self) -> Node:
        """A primary that serves; only the first one is really founded."""
        kept = template() / "node-a"
        if kept.exists():
            shutil.copytree(kept, self.folder / "node-a")
            return await self.started(self.make())
        node = await self.started(self.make())
        await node.stop()
        shutil.copytree(self.folder / "node-a", kept)
        return await self.started(self.make())

    async def started(self, node: Node) -> Node:
        await node.start()
        return node

    async def fails(self, starting: Deferred[Any], error: type[Exception] = ClusterError) -> str:
        """It fails with just that, in one line, which is the answer."""
        problem: Exception = await self.assertFailure(starting, error)
        self.assertNotIn("\n", str(problem))
        return str(problem)

    async def startFails(self, node: Node) -> str:
        """The one line that its start fails with."""
        line = await self.fails(node.start())
        await node.stop()
        return line

    async def connect(self, port: int, address: str = "") -> Conversation:
        endpoint = TCP4ClientEndpoint(reactor, address or addresses()[0], port)
        conversation: Conversation = await connectProtocol(endpoint, Conversation())
        self.addCleanup(lambda: conversation.lost)
        self.addCleanup(conversation.transport.abortConnection)  # type: ignore[union-attr]
        return conversation

    async def bound(self, ports: Sequence[int] = PORTS) -> list[int]:
        """Which ports of the first node accept connections."""
        found = []
        for port in ports:
            try:
                conversation = await connectProtocol(
                    TCP4ClientEndpoint(reactor, addresses()[0], port, timeout=5), Conversation()
                )
            except Refused:
                continue
            found.append(port)
            conversation.transport.abortConnection()
            await conversation.lost
        return found

    async def live(self, node: Node) -> None:
        """Wait until the node is live on its head."""
        while node.condition.own().live != node.head.revision:
            await deferLater(reactor, MOMENT_SECONDS)
