"""What only this node had when it took another history: kept in the state folder, shown, and made anew on demand.

A branch is the entries after the last revision that both histories have in common, and the document as it was there. It
holds secrets as the document does, sealed, and its file is readable by the node alone. How histories came to part is
not known here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from .cluster.history import READ_ENTRIES, History, commonAncestor
from .config.changes import Batch, Change, Promote, apply
from .config.codec import decodeChange, decodeDocument, encodeDocument
from .config.document import Document
from .errors import ClusterError, JournalDamaged
from .interfaces import IJournal
from .journal.entry import Entry, Head
from .journal.reading import oldestRevision
from .state import StateDirectory

log = Logger()

INDEX = "branches.json"


@frozen
class Branch:
    """A branch, read from its file.

    :ivar about: what the index says of it.
    :ivar before: the document where it begins.
    :ivar steps: each entry, and the document that it made.
    """

    about: Mapping[str, Any]
    before: Document
    steps: tuple[tuple[Entry, Document], ...]

    @property
    def after(self) -> Document:
        return self.steps[-1][1] if self.steps else self.before


@define(eq=False, kw_only=True)
class Branches:
    """The branches of one node.

    :ivar _wallTime: seconds since the epoch.
    :ivar _changed: told when there is one more or less.
    """

    _state: StateDirectory
    _journal: IJournal
    _inThread: Callable[..., Deferred[Any]]
    _wallTime: Callable[[], float]
    _changed: Callable[[], None]
    _index: list[Mapping[str, Any]] = field(factory=list, init=False)

    async def load(self) -> None:
        """Read what there is; called once."""
        try:
            data: bytes | None = await self._inThread(self._state.read, INDEX)
            self._index = json.loads(data or b"[]")
        except (ValueError, TypeError):
            log.error("{path} is damaged; branches are not shown", path=str(self._state.path / INDEX))
        self._changed()

    @property
    def known(self) -> Sequence[Mapping[str, Any]]:
        """What is known of each, the oldest first."""
        return tuple(self._index)

    @property
    def problems(self) -> Sequence[str]:
        """What an administrator should see to."""
        return [
            f"branch {one['id']}: changes that only this node had, kept when it followed {one['primary']} "
            f"(cftpctl node branches)"
            for one in self._index
        ]

    # --- keeping

    async def keep(self, source: History, primary: str) -> None:
        """Keep what only this node has, before it takes the history of ``source``."""
        try:
            await self._keep(source, primary)
        except JournalDamaged as error:
            log.critical("what only this node had is not kept, since it cannot be read: {why}", why=str(error))

    async def _keep(self, source: History, primary: str) -> None:
        head: Head = await self._journal.head()
        known = await commonAncestor(self._journal, source)
        ancestor = await oldestRevision(self._journal) if known is None else known
        entries = await self._entriesAfter(ancestor, head.revision)
        changes = [entry for entry in entries if not isinstance(decodeChange(entry.change), Promote)]
        if not changes:
            log.info("{primary} has all that this node has; there is no branch to keep", primary=primary)
            return
        before = await self._journal.at(ancestor)
        about = {
            "id": f"{head.epoch}-{head.revision}-{head.chainHash.hex()[:8]}",
            "kept": round(self._wallTime(), 3),
            "primary": primary,
            "ancestor": known,
            "after": ancestor,
            "epoch": head.epoch,
            "revision": head.revision,
            "chainHash": head.chainHash.hex(),
            "changes": len(changes),
        }
        await self._inThread(self._write, about, before.document, entries)
        await self._setIndex([*(one for one in self._index if one["id"] != about["id"]), about])
        log.warn("what only this node had is kept as branch {id}; changes: {changes}", **about)

    async def _entriesAfter(self, revision: int, last: int) -> list[Entry]:
        entries: list[Entry] = []
        while revision < last:
            entries += await self._journal.since(revision, READ_ENTRIES)
            revision = entries[-1].revision
        return entries

    def _write(self, about: Mapping[str, Any], before: Document, entries: Sequence[Entry]) -> None:
        self._state.writeJSON(
            _file(about["id"]),
            {
                "before": base64.b64encode(encodeDocument(before)).decode("ascii"),
                "entries": [[base64.b64encode(one.body).decode("ascii"), one.chainHash.hex()] for one in entries],
            },
        )

    async def _setIndex(self, index: list[Mapping[str, Any]]) -> None:
        await self._inThread(self._state.writeJSON, INDEX, index)
        self._index = index
        self._changed()

    # --- afterwards

    def read(self, id: str) -> Deferred[Branch]:
        """Fires with a branch; ``ClusterError`` where there is none of that id, or it cannot be read."""
        return self._inThread(self._read, self._about(id))

    def _about(self, id: str) -> Mapping[str, Any]:
        for one in self._index:
            if one["id"] == id:
                return one
        raise ClusterError(f"there is no branch {id!r}")

    def _read(self, about: Mapping[str, Any]) -> Branch:
        name = _file(about["id"])
        try:
            data = json.loads(self._state.read(name) or b"{}")
            before = document = decodeDocument(base64.b64decode(data["before"]))
            steps = []
            for body, chainHash in data["entries"]:
                entry = Entry.fromBody(base64.b64decode(body), bytes.fromhex(chainHash))
                document = apply(document, withoutPromotion(decodeChange(entry.change)))
                steps.append((entry, document))
        except (KeyError, TypeError, ValueError, ClusterError) as error:
            raise ClusterError(f"{self._state.path / name} is damaged: {error}") from None
        return Branch(about, before, tuple(steps))

    async def discard(self, id: str) -> None:
        """Forget a branch for good."""
        about = self._about(id)
        await self._setIndex([one for one in self._index if one is not about])
        await self._inThread(self._state.remove, _file(id))
        log.info("branch {id} was discarded", id=id)


def withoutPromotion(change: Change) -> Change:
    """The same change, whoever was promoted by it."""
    if isinstance(change, Batch):
        return Batch(tuple(withoutPromotion(part) for part in change.changes))
    return Batch(()) if isinstance(change, Promote) else change


def _file(id: str) -> str:
    return f"branch-{id}.json"
