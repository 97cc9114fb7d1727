"""What becomes of a journal that does not prove itself: a secondary's is set aside, and everything pulled anew; a
primary's is never touched, since nobody else may have what it holds.

Whether a node was primary is known from a file beside the journal, for the case that the journal cannot tell. How nodes
are reached is not known here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from . import founding
from .config.document import Document
from .errors import ClusterError, JournalDamaged
from .journal.sqlite import SQLiteJournal
from .state import StateDirectory

log = Logger()

REMEMBERED = "primary.json"
CHECK_SECONDS = 3600.0

InThread: TypeAlias = Callable[..., Awaitable[Any]]
"""Calls a function in a thread, where it may block."""


async def openJournal(
    state: StateDirectory, kinds: Mapping[str, Mapping[str, type]], reactor: Any, inThread: InThread
) -> SQLiteJournal:
    """Open the journal of a state folder; a damaged one only where this node is known to follow another, which has all
    of it. ``JournalDamaged``, and whatever else opening fails with."""
    try:
        return await SQLiteJournal.open(str(state.journal), kinds, reactor)
    except JournalDamaged as error:
        damage = str(error)
    primary = await inThread(_beginAnew, state)
    if not primary:
        raise JournalDamaged(
            f"{damage}; it is kept as it is, since this node may be the primary, and no other may have all of it"
        )
    log.critical(
        "{damage}; it is set aside, and everything is pulled anew from {primary}", damage=damage, primary=primary
    )
    return await SQLiteJournal.open(str(state.journal), kinds, reactor)


def _beginAnew(state: StateDirectory) -> str:
    """Make the folder one of a node that has joined and has no journal yet. The answer is the primary's name; "" where
    the journal is to be kept."""
    try:
        membership, remembered = founding.load(state), state.readJSON(REMEMBERED)
        if membership is None or not isinstance(remembered, dict):
            return ""
        primary, nodes = str(remembered["primary"]), remembered["nodes"]
        own = membership.identity.name
        others = [node for node in nodes if node["name"] != own]
        if primary == own or primary not in {node["name"] for node in others}:
            return ""
        others.sort(key=lambda node: node["name"] != primary)
        peers = {"nodes": others, "port": int(remembered["port"]), "epoch": int(remembered.get("epoch", 0))}
        state.writeJSON(founding.PEERS, peers)
        founding.load(state)
    except (ClusterError, ValueError, TypeError, KeyError):
        return ""
    SQLiteJournal.setAside(str(state.journal))
    return primary


@define(eq=False, kw_only=True)
class JournalCare:
    """Takes care of a running node's journal: reads it again from time to time, since disks forget, and writes down
    who is primary.

    :ivar _isPrimary: whether this node is.
    :ivar _portOf: a node's cluster port.
    :ivar _changed: told when :attr:`problems` are others.
    :ivar problems: what is wrong with the journal.
    """

    _state: StateDirectory
    _inThread: InThread
    _journal: SQLiteJournal
    _clock: IReactorTime
    _isPrimary: Callable[[], bool]
    _portOf: Callable[[str], int]
    _changed: Callable[[], None]
    problems: tuple[str, ...] = field(default=(), init=False)
    _checking: LoopingCall = field(init=False)
    _wanted: Mapping[str, Any] = field(factory=dict, init=False)
    _stored: Mapping[str, Any] = field(factory=dict, init=False)
    _writing: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._checking = LoopingCall(self.check)
        self._checking.clock = self._clock

    def start(self, document: Document) -> None:
        """The node runs, with this document."""
        self.see(document)
        checked = self._checking.start(CHECK_SECONDS, now=False)
        _ = checked.addErrback(lambda failure: log.failure("the journal is checked no more", failure))

    def stop(self) -> None:
        if self._checking.running:
            self._checking.stop()

    # --- who is primary

    def see(self, document: Document) -> None:
        """This is the newest document."""
        primary = document.promoted.name
        if not primary:
            return
        nodes = [
            {"name": node.name, "address": node.address, "fingerprint": node.fingerprint}
            for _, node in sorted(document.nodes.items())
        ]
        epoch = document.promoted.epoch
        self._wanted = {"primary": primary, "epoch": epoch, "nodes": nodes, "port": self._portOf(primary)}
        if self._wanted != self._stored and not self._writing:
            self._writing = True
            written = Deferred.fromCoroutine(self._write())
            _ = written.addErrback(lambda failure: log.failure("who is primary was not written down", failure))

    async def _write(self) -> None:
        try:
            while self._stored != self._wanted:
                wanted = self._wanted
                await self._inThread(self._state.writeJSON, REMEMBERED, wanted)
                self._stored = wanted
        except OSError as error:
            # The next change tries again; until then the file says who was primary before.
            log.warn("who is primary was not written down: {error}", error=error)
        finally:
            self._writing = False

    # --- what is stored

    async def check(self) -> None:
        """Read everything stored once."""
        try:
            await self._journal.check()
        except JournalDamaged as damage:
            await self._heal(str(damage))
        except ClusterError as error:
            self._show(str(error))
        else:
            self._show()

    async def _heal(self, damage: str) -> None:
        try:
            if self._isPrimary():
                await self._journal.stopWriting(damage)
                raise JournalDamaged(f"{damage}; nothing is appended any more: promote another node")
            aside = await self._journal.renew()
        except ClusterError as error:
            log.critical("{problem}", problem=str(error))
            self._show(str(error))
        else:
            log.critical("{damage}; it is kept as {aside}, and a new one was begun", damage=damage, aside=aside)
            self._show()

    def _show(self, *problems: str) -> None:
        if problems != self.problems:
            self.problems = problems
            self._changed()
