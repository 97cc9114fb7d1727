"""What the journal tells of the past: who changed what, how two revisions differ, and how to go back to one.

Answers are plain values, each of bounded size, so that a node whose own journal does not reach that far back can have
the primary answer. How they are asked for is not known here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import asdict, define, field, frozen
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThreadPool

from ..config.changes import Batch, Change, Promote, Remove, Target, apply
from ..config.codec import canonical, decodeChange
from ..config.difference import Difference, difference
from ..config.document import Document
from ..config.rollback import rollback
from ..errors import ClusterError, HistoryGone
from ..interfaces import IAdministration, IJournal
from ..journal.entry import Entry, Head
from ..journal.reading import documentAt, oldestRevision
from ..vocabulary import Author
from ._writes import Writes
from .writing import Preparation, Prepared

ACTION = "history"
"""What other nodes call it by."""

SYSTEM = Author("system", "full", "local")

_SHOWN_OBJECTS = 20
_MOST_TARGETS = 1000
_KNOWN = 1000
_LOOKED_AT = 2000
_BLOCK = 100
_ANSWER_BYTES = 400_000


@frozen(kw_only=True)
class Filter:
    """Which revisions are asked for.

    :ivar object: such as ``users/alice``, ``users`` for all of them, or ``settings``.
    :ivar since: not before this time, seconds since the epoch.
    :ivar until: before this time.
    """

    author: str | None = None
    object: str | None = None
    since: float | None = None
    until: float | None = None

    def fits(self, entry: Entry, touches: Callable[[str], bool]) -> bool:
        # What a token did was done by its administrator.
        if self.author is not None and self.author not in (entry.author, entry.author.partition(" (token ")[0]):
            return False
        if self.since is not None and entry.time < self.since:
            return False
        if self.until is not None and entry.time >= self.until:
            return False
        return self.object is None or touches(self.object)


@frozen
class _Told:
    """What an entry is about.

    :ivar targets: ``None`` where there are too many to remember them.
    """

    plain: Mapping[str, Any]
    targets: frozenset[Target] | None


@define(eq=False, kw_only=True)
class Revisions:
    """:ivar _journal: the node's own."""

    _node: IAdministration
    _journal: IJournal
    _preparation: Preparation
    _reactor: Any
    _pool: Any
    _reading: DeferredLock = field(factory=DeferredLock, init=False)
    _known: OrderedDict[bytes, _Told] = field(factory=OrderedDict, init=False, repr=False)

    # --- whoever can answer

    async def page(self, which: Filter, after: int | None, limit: int) -> Mapping[str, Any]:
        """Revisions, the newest first: ``items``, and ``next`` to go on after, if there may be more."""
        said = {"author": which.author, "object": which.object, "since": which.since, "until": which.until}
        return await self._ask("page", {**said, "after": after, "limit": limit})

    async def entry(self, revision: int, after: str | None, limit: int) -> Mapping[str, Any]:
        """One revision, and what it changed."""
        return await self._ask("entry", {"revision": revision, "after": after, "limit": limit})

    async def difference(self, old: int, new: int | None, after: str | None, limit: int) -> Mapping[str, Any]:
        """What differs between two revisions; ``None`` is the present one."""
        return await self._ask("difference", {"old": old, "new": new, "after": after, "limit": limit})

    async def rollback(
        self, revision: int, only: Sequence[str], dryRun: bool, author: Author, requestId: str
    ) -> Mapping[str, Any]:
        """Make what goes back as it was at ``revision``, as one new revision."""
        said = {"revision": revision, "only": list(only), "dryRun": dryRun, "by": asdict(author)}
        said["requestId"] = requestId
        return await self._ask("rollback", said)

    async def _ask(self, what: str, said: Mapping[str, Any]) -> Mapping[str, Any]:
        primary = self._node.document().promoted.name
        isLast = primary in ("", self._node.status()["node"])
        try:
            return await self._answer(what, said, isLast)
        except HistoryGone:
            if isLast:
                raise
        # This node's journal begins later than that of the primary.
        return await self._node.perform(primary, ACTION, {"ask": what, "said": dict(said)}, SYSTEM)

    def action(self, arguments: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        """What another node asks of this one."""
        return Deferred.fromCoroutine(self._forOther(arguments.get("ask"), arguments.get("said")))

    async def _forOther(self, what: Any, said: Any) -> Mapping[str, Any]:
        form = _FORMS.get(what) if isinstance(what, str) else None
        if form is None or not isinstance(said, dict) or said.keys() != form.keys():
            raise ClusterError("a question about the past that this version does not know")
        if not all(isinstance(said[name], kind) for name, kind in form.items()):
            raise ClusterError("a question about the past with something that does not belong there")
        return await self._answer(str(what), said, isLast=True)

    async def _answer(self, what: str, said: Mapping[str, Any], isLast: bool) -> Mapping[str, Any]:
        """:param isLast: whether nobody else knows more."""
        await self._reading.acquire()
        try:
            if what == "page":
                return await self._page(isLast, **said)
            if what == "entry":
                return await self._entry(**said)
            if what == "difference":
                return await self._difference(**said)
            past = await self._documentAt(said["revision"])
        finally:
            self._reading.release()
        return await self._rollback(past, **said)

    # --- looking

    async def _floor(self) -> tuple[int, int]:
        """The oldest revision that can be told of here, and of which the settings say that it is kept."""
        head: Head = await self._journal.head()
        kept = max(0, head.revision - head.document.settings.historyRevisions)
        return max(kept, await oldestRevision(self._journal)), kept

    async def _page(self, isLast: bool, after: int | None, limit: int, **said: Any) -> Mapping[str, Any]:
        head: Head = await self._journal.head()
        floor, kept = await self._floor()
        top = head.revision if after is None else min(after - 1, head.revision)
        items: list[Mapping[str, Any]] = []
        which, looked = Filter(**said), 0
        while top > floor and len(items) < limit and looked < _LOOKED_AT:
            fitting = await self._block(max(floor, top - _BLOCK), top, which)
            wanted = fitting[: limit - len(items)]
            items += wanted
            looked += _BLOCK
            isCut = len(items) == limit and len(wanted) < len(fitting)
            top = items[-1]["revision"] - 1 if isCut else max(floor, top - _BLOCK)
        if not isLast and top <= floor and floor > kept and len(items) < limit:
            raise HistoryGone(f"entries up to revision {floor} are gone")
        following = top + 1 if top > floor else None
        return {"items": items, "next": following, "oldest": floor, "revision": head.revision}

    async def _block(self, low: int, top: int, which: Filter) -> list[Mapping[str, Any]]:
        """What fits of the entries after ``low`` up to ``top``, the newest first."""
        found: list[Mapping[str, Any]] = []
        while low < top:
            entries = await self._journal.since(low, top - low)
            if not entries:
                break
            found += await self._inThread(self._fitting, entries, which)
            low = entries[-1].revision
        return found[::-1]

    def _fitting(self, entries: Sequence[Entry], which: Filter) -> list[Mapping[str, Any]]:
        found = []
        for entry in entries:
            told = self._told(entry)
            if which.fits(entry, lambda name, entry=entry, told=told: _touches(entry, told, name)):  # type: ignore[misc]
                found.append(told.plain)
        return found

    def _told(self, entry: Entry) -> _Told:
        told = self._known.get(entry.chainHash)
        if told is None:
            change = decodeChange(entry.change)
            targets = dict.fromkeys(change.targets())
            plain = {**_meta(entry), **_summary(change, list(targets))}
            told = _Told(plain, frozenset(targets) if len(targets) <= _MOST_TARGETS else None)
            self._known[entry.chainHash] = told
            while len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        return told

    async def _entry(self, revision: int, after: str | None, limit: int) -> Mapping[str, Any]:
        if revision < 1:
            raise ClusterError("there is no such revision")
        before = await self._documentAt(revision - 1)
        entries = await self._journal.since(revision - 1, 1)
        if not entries:
            raise ClusterError(f"there is no revision {revision} yet")

        def told() -> Mapping[str, Any]:
            change = decodeChange(entries[0].change)
            targets = dict.fromkeys(change.targets())
            found = difference(before, apply(before, change), targets)
            return {**_meta(entries[0]), **_summary(change, list(targets)), **_paged(found, after, limit)}

        answer: Mapping[str, Any] = await self._inThread(told)
        return answer

    async def _difference(self, old: int, new: int | None, after: str | None, limit: int) -> Mapping[str, Any]:
        one = await self._documentAt(old)
        other = await self._documentAt(new) if new is not None else (await self._journal.head()).document
        answer: Mapping[str, Any] = await self._inThread(lambda: _paged(difference(one, other), after, limit))
        return {"from": one.revision, "to": other.revision, **answer}

    async def _documentAt(self, revision: int) -> Document:
        head: Head = await self._journal.head()
        if revision > head.revision:
            raise ClusterError(f"there is no revision {revision} yet")
        kept = max(0, head.revision - head.document.settings.historyRevisions)
        if revision < kept:
            raise HistoryGone(f"revision {revision} is older than historyRevisions; the oldest is {kept}")
        return await documentAt(self._journal, revision, self._inThread)

    # --- going back

    async def _rollback(
        self, past: Document, only: Sequence[str], dryRun: bool, by: Mapping[str, str], requestId: str, **_: Any
    ) -> Mapping[str, Any]:
        kept: list[str] = []

        async def prepare() -> Prepared:
            document = self._node.document()

            def prepared() -> Prepared:
                back = rollback(past, document, only)
                kept[:] = back.kept
                return Prepared(None) if back.change is None else self._preparation.checked(back.change, document)

            made: Prepared = await self._inThread(prepared)
            return made

        if dryRun:
            prepared, revision = await prepare(), self._node.document().revision
        else:
            writes = Writes(self._node, self._reactor)
            revision, prepared = await writes.propose(prepare, Author(**by), requestId)
        return {"revision": revision, "changed": list(prepared.changed), "kept": kept}

    def _inThread(self, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._pool, work, *arguments)


_TEXT, _WHOLE, _NUMBER = str | None, int | None, int | float | None

_FORMS: Mapping[str, Mapping[str, Any]] = {
    "page": {
        "author": _TEXT,
        "object": _TEXT,
        "since": _NUMBER,
        "until": _NUMBER,
        "after": _WHOLE,
        "limit": int,
    },
    "entry": {"revision": int, "after": _TEXT, "limit": int},
    "difference": {"old": int, "new": _WHOLE, "after": _TEXT, "limit": int},
    "rollback": {"revision": int, "only": list, "dryRun": bool, "by": dict, "requestId": str},
}
"""What is said with each question, for those of other nodes."""


def _meta(entry: Entry) -> dict[str, Any]:
    names = ("revision", "epoch", "time", "author", "address", "node")
    return {name: getattr(entry, name) for name in names}


def _summary(change: Change, targets: Sequence[Target]) -> dict[str, Any]:
    shown, removals = targets[:_SHOWN_OBJECTS], set(_removals(change))
    return {
        "objects": _names(shown),
        "removed": _names([target for target in shown if target in removals]),
        "count": len(targets),
        "promoted": next(_promoted(change), None),
    }


def _names(targets: Sequence[Target]) -> list[str]:
    return ["/".join(filter(None, target)) for target in targets]


def _removals(change: Change) -> Iterator[Target]:
    if isinstance(change, Remove):
        yield from change.targets()
    elif isinstance(change, Batch):
        for part in change.changes:
            yield from _removals(part)


def _promoted(change: Change) -> Iterator[str]:
    if isinstance(change, Promote):
        yield change.name
    elif isinstance(change, Batch):
        for part in change.changes:
            yield from _promoted(part)


def _touches(entry: Entry, told: _Told, name: str) -> bool:
    section, _, one = name.partition("/")
    targets = told.targets if told.targets is not None else frozenset(decodeChange(entry.change).targets())
    return (section, one) in targets if one else any(target[0] == section for target in targets)


def _paged(found: Sequence[Difference], after: str | None, limit: int) -> dict[str, Any]:
    """A page of differences, with as much as a link can carry."""
    names = ["/".join(filter(None, (one.section, one.name))) for one in found]
    start = 0
    if after is not None:
        if after not in names:
            raise ClusterError(f"after: there is no difference of {after!r}")
        start = names.index(after) + 1
    items: list[dict[str, Any]] = []
    size = 0
    for one in found[start : start + limit]:
        plain = {**one.plain(), "text": str(one)}
        size += len(canonical(plain))
        if items and size > _ANSWER_BYTES:
            break
        items.append(plain)
    end = start + len(items)
    return {"differences": items, "total": len(found), "next": names[end - 1] if items and end < len(found) else None}
