"""Brings a lost node back from a backup, on another machine or a new disk, as the primary of a new epoch.

Before anything is written, the cluster's other nodes are asked where they are. The state folder holds a node only when
its journal has its name, which is the last thing done: killed before, the next attempt begins anew. How the operator
asks for it is not known here.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol

from .backup import Backup
from .cluster.dial import Address, connectLink
from .cluster.gate import LiveLinks
from .cluster.links import Links
from .cluster.lookout import survey
from .cluster.messages import Hello
from .cluster.uplink import Peer
from .config.changes import Batch, Change, Promote, Put
from .config.codec import encodeDocument
from .config.document import Document
from .config.plan import overridden
from .errors import ClusterError, Refused
from .founding import SYSTEM, load, store
from .journal.entry import Head, Proposal, Snapshot
from .journal.sqlite import SQLiteJournal
from .state import JOURNAL, RESTORING, StateDirectory, syncDirectory

SURVEY_SECONDS = 5.0

InThread = Callable[..., Deferred[Any]]


@frozen
class Survey:
    """What the cluster's nodes said before a restore.

    :ivar answers: where those are that answered, by name.
    :ivar ownIsAlive: whether the node that is brought back still answers at its address.
    """

    answers: Mapping[str, Hello]
    ownIsAlive: bool

    def obstacles(self, backup: Backup) -> list[str]:
        """Why the operator has to insist."""
        epoch = backup.head.epoch + 1
        found = [
            f"{name} answers with epoch {hello.epoch}, in which {hello.primary} is primary"
            for name, hello in sorted(self.answers.items())
            if hello.epoch >= epoch
        ]
        return [*found, *([f"{backup.node} itself still runs at its address"] if self.ownIsAlive else [])]

    def newer(self, backup: Backup) -> list[str]:
        """Who has what the backup has not."""
        return [
            f"{name} has revision {hello.revision}, the backup {backup.head.revision}: what came between is kept there "
            "as a divergent branch"
            for name, hello in sorted(self.answers.items())
            if hello.revision > backup.head.revision
        ]

    def head(self, backup: Backup) -> Head:
        """Where the history of the restored cluster begins: no shorter than that of any node that answered, since
        nodes do not follow a primary that has less than they have."""
        revision = max([backup.head.revision, *(hello.revision for hello in self.answers.values())])
        epoch = max([backup.head.epoch, *(hello.epoch for hello in self.answers.values())])
        if (epoch, revision) == (backup.head.epoch, backup.head.revision):
            return backup.head
        text = f"restored as {epoch} {revision}".encode("ascii")
        chainHash = hashlib.sha256(backup.head.chainHash + text).digest()
        document = evolve(backup.document, revision=revision, promoted=evolve(backup.document.promoted, epoch=epoch))
        return Head(epoch, revision, chainHash, document)


async def ask(backup: Backup, reactor: Any, inThread: InThread, bind: str) -> Survey:
    """Ask every node that the backup knows."""
    document, identity = backup.document, backup.membership.identity
    links = Links(
        clock=reactor,
        wallTime=time.time,
        hello=lambda: Hello.fromHead(backup.node, backup.head),
        publisher=cast(Any, None),
        inThread=inThread,
        rowsAccepted=cast(Any, None),
        heard=cast(Any, None),
        standStill=cast(Any, None),
    )

    def dial(peer: Peer, build: Callable[[str], IProtocol]) -> Deferred[IProtocol]:
        return connectLink(
            reactor,
            Address(peer.address, _portOf(document, peer.name), bind),
            identity=identity,
            nodes=lambda: document.nodes,
            expectedName=peer.name,
            buildLink=build,
            links=LiveLinks(),
            wallClock=time.time,
        )

    peers = [Peer(name, node.address) for name, node in document.nodes.items() if name != backup.node]
    answers = await survey(dial, links, peers, SURVEY_SECONDS, reactor)
    own = Peer(backup.node, document.nodes[backup.node].address)
    return Survey(answers, await _answers(dial(own, links.asking).addTimeout(SURVEY_SECONDS, reactor)))


async def _answers(dialling: Deferred[IProtocol]) -> bool:
    """Whether the node itself is there: it refuses whoever says to be it."""
    try:
        await dialling
    except Refused:
        return True
    except Exception:  # noqa: BLE001 - whatever keeps it from answering, it is not there
        return False
    return True


def _portOf(document: Document, node: str) -> int:
    for listener in document.listeners.values():
        if listener.kind == "cluster":
            return overridden(listener, document.nodes[node].listeners.get(listener.name, {})).port
    raise ClusterError("the backup's document has no cluster listener")


def requireEmpty(state: StateDirectory) -> None:
    """:raises ClusterError: where the folder holds a node, or a part of one that nobody restored."""
    begun = state.read(RESTORING) is not None
    if state.journal.exists() or (not begun and load(state) is not None):
        raise ClusterError(f"{state.path} holds a node already; --new needs an empty state folder")


async def restore(
    backup: Backup, head: Head, address: str, state: StateDirectory, reactor: Any, inThread: InThread
) -> Head:
    """Fill the state folder, which this process has locked; answers with the head that the node starts from.

    :param head: where its history begins.
    :param address: where other nodes reach it from now on; "" for where it was.
    """
    await inThread(requireEmpty, state)
    await inThread(state.write, RESTORING, b"")
    await inThread(store, state, backup.membership)
    unfinished = state.path / (JOURNAL + ".restoring")
    await inThread(_remove, unfinished)
    journal = await SQLiteJournal.open(str(unfinished), {}, reactor)
    try:
        data = await inThread(encodeDocument, head.document)
        sha256 = await inThread(partial(_sha256, data))
        await journal.restore(Snapshot(head.epoch, head.revision, head.chainHash, data, sha256))
        restored = await journal.append(_promotion(backup, head, address))
    finally:
        await journal.close()
    await inThread(_finish, unfinished, state)
    return restored


def _promotion(backup: Backup, head: Head, address: str) -> Proposal:
    changes: list[Change] = [Promote(head.epoch + 1, backup.node, "restore")]
    node = head.document.nodes[backup.node]
    if address and address != node.address:
        changes.append(Put("nodes", evolve(node, address=address)))
    return Proposal(Batch(tuple(changes)), {}, SYSTEM, backup.node, uuid.uuid4().hex, time.time())


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _remove(journal: Path) -> None:
    for suffix in ("", "-head", "-wal", "-shm"):
        Path(f"{journal}{suffix}").unlink(missing_ok=True)


def _finish(journal: Path, state: StateDirectory) -> None:
    if os.path.exists(f"{journal}-wal"):
        raise ClusterError(f"the journal {journal} could not be written whole")
    Path(f"{journal}-head").unlink(missing_ok=True)
    os.replace(journal, state.journal)
    syncDirectory(state.path)
    (state.path / RESTORING).unlink()
