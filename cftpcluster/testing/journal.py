"""Contract tests that every journal passes, and proposals for the tests of those who use one.

A test case of a journal inherits :class:`JournalContract` before :class:`twisted.trial.unittest.TestCase` and says how
a journal is made.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen
from twisted.internet.defer import gatherResults
from zope.interface.verify import verifyObject

from ..config.changes import Batch, Change, MergeSettings, Promote, Put, Remove, Target, Unknown
from ..config.codec import canonical, decodeChange, decodeDocument, encodeDocument
from ..config.document import Backend, Group, Mount, Node, User
from ..errors import ChainMismatch, ClusterError, Conflict, HistoryGone, Invalid, NewerFormat
from ..interfaces import IJournal
from ..journal._fold import folded, headOf
from ..journal.entry import CHAIN_START, Entry, Head, Proposal, chained
from ..vocabulary import Author

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _Base
else:
    _Base = object

__all__ = ["KINDS", "JournalContract", "RootOptions", "proposal", "putUser", "unknownEntry"]


@frozen
class RootOptions:
    """Options of the one kind of backend that :data:`KINDS` knows."""

    root: str


KINDS: Mapping[str, Mapping[str, type]] = {"backends": {"local": RootOptions}}


def proposal(change: Change, requestId: str = "", expected: Mapping[Target, int] | None = None) -> Proposal:
    """A proposal of an administrator."""
    author = Author("admin", "full", "192.0.2.7")
    return Proposal(change, expected or {}, author, node="node-a", requestId=requestId, time=1700000000.5)


def putUser(name: str, requestId: str = "", **attributes: Any) -> Proposal:
    """A proposal of a user."""
    return proposal(Put("users", User(name=name, **attributes)), requestId)


def unknownEntry(head: Head, plain: Mapping[str, Any]) -> Entry:
    """An entry after ``head`` whose change this version does not know."""
    return Entry.following(
        head.chainHash,
        epoch=head.epoch,
        revision=head.revision + 1,
        time=0.0,
        author=Author("admin", "full", "socket"),
        node="node-b",
        requestId="",
        change=canonical({"format": 1, **plain}),
    )


class JournalContract(_Base):
    """What every journal does."""

    def makeJournal(self) -> Awaitable[IJournal]:
        """A new, empty journal that knows :data:`KINDS`; whoever makes it closes it at the end of the test."""
        raise NotImplementedError

    async def filled(self, *names: str) -> IJournal:
        """A journal with these users, each its own revision and request."""
        journal = await self.makeJournal()
        for name in names:
            await journal.append(putUser(name, f"request {name}"))
        return journal

    async def refused(self, error: type[ClusterError], result: Awaitable[Any]) -> Any:
        """``result`` fails with just this error, which is the answer."""
        try:
            value = await result
        except ClusterError as failure:
            self.assertIs(type(failure), error, str(failure))
            return failure
        return self.fail(f"{error.__name__} was expected, not {value!r}")

    def assertChained(self, entries: Iterable[Entry], previous: bytes = CHAIN_START) -> None:
        """Each entry follows on the one before it."""
        for entry in entries:
            self.assertEqual(entry.chainHash, chained(previous, entry.body))
            self.assertEqual(Entry.fromBody(entry.body, entry.chainHash), entry)
            previous = entry.chainHash

    async def test_providesTheInterface(self) -> None:
        verifyObject(IJournal, await self.makeJournal())

    async def test_startsEmpty(self) -> None:
        journal = await self.makeJournal()
        head = await journal.head()
        self.assertEqual((head.epoch, head.revision, head.chainHash), (0, 0, bytes(32)))
        self.assertEqual(len(head.document.users), 0)
        self.assertEqual(list(await journal.since(0, 10)), [])

    # --- append

    async def test_appendFoldsTheChangeIntoTheDocument(self) -> None:
        journal = await self.makeJournal()
        head = await journal.append(putUser("alice"))
        self.assertEqual((head.revision, head.document.revision), (1, 1))
        self.assertEqual(head.document.users["alice"].revision, 1)
        self.assertEqual(await journal.head(), head)

    async def test_entrySaysWhoAskedForWhatAndWhere(self) -> None:
        journal = await self.makeJournal()
        asked = putUser("alice", "request 1")
        head = await journal.append(asked)
        (entry,) = await journal.since(0, 10)
        self.assertEqual(
            (entry.epoch, entry.revision, entry.time, entry.author, entry.address, entry.node, entry.requestId),
            (0, 1, 1700000000.5, "admin", "192.0.2.7", "node-a", "request 1"),
        )
        self.assertEqual(decodeChange(entry.change), asked.change)
        self.assertEqual(entry.chainHash, head.chainHash)

    async def test_entriesAreChained(self) -> None:
        journal = await self.filled("alice", "bob", "carol")
        self.assertChained(await journal.since(0, 10))

    async def test_staleExpectationIsAConflict(self) -> None:
        journal = await self.filled("alice")
        change = Put("users", User(name="alice", enabled=False))
        await journal.append(proposal(change, expected={("users", "alice"): 1}))
        before = await journal.head()
        error = await self.refused(Conflict, journal.append(proposal(change, expected={("users", "alice"): 1})))
        self.assertEqual(error.moved, {("users", "alice"): 2})
        self.assertEqual(await journal.head(), before)

    async def test_expectationThatSomethingIsNotThere(self) -> None:
        journal = await self.makeJournal()
        change = Put("users", User(name="alice"))
        head = await journal.append(proposal(change, expected={("users", "alice"): 0}))
        self.assertEqual(head.revision, 1)
        error = await self.refused(Conflict, journal.append(proposal(change, expected={("users", "alice"): 0})))
        self.assertEqual(error.moved, {("users", "alice"): 1})

    async def test_invalidChangeIsRefusedWithAllProblems(self) -> None:
        journal = await self.makeJournal()
        user = User(name="alice", groups=("nobody",), mounts=(Mount(path="/", backend="fils"),))
        error = await self.refused(Invalid, journal.append(proposal(Put("users", user))))
        self.assertEqual(
            [str(problem) for problem in error.problems],
            ['groups[0]: no group named "nobody"', 'mounts[0].backend: no backend named "fils"'],
        )
        self.assertEqual((await journal.head()).revision, 0)

    async def test_componentOptionsAreChecked(self) -> None:
        journal = await self.makeJournal()
        wrong = Backend(name="files", kind="local", options={"root": 5})
        error = await self.refused(Invalid, journal.append(proposal(Put("backends", wrong))))
        self.assertEqual([str(problem) for problem in error.problems], ["root: expected text, got 5"])

    async def test_batchIsOneRevision(self) -> None:
        journal = await self.makeJournal()
        head = await journal.append(
            proposal(Batch((Put("groups", Group(name="g")), Put("users", User(name="alice", groups=("g",))))))
        )
        self.assertEqual(head.revision, 1)
        self.assertEqual({head.document.groups["g"].revision, head.document.users["alice"].revision}, {1})

    async def test_unknownChangeIsNotProposed(self) -> None:
        journal = await self.makeJournal()
        await self.refused(Invalid, journal.append(proposal(Unknown({"kind": "later"}))))
        self.assertEqual((await journal.head()).revision, 0)

    async def test_concurrentProposalsAreJudgedInTheirOrder(self) -> None:
        journal = await self.makeJournal()
        answers = [
            journal.append(putUser("alice")),
            journal.append(proposal(Put("users", User(name="bob", groups=("missing",))))),
            journal.append(proposal(Put("groups", Group(name="g")))),
            journal.append(putUser("carol", groups=("g",))),
            journal.append(proposal(Remove("users", "alice"), expected={("users", "alice"): 1})),
            journal.append(proposal(Remove("users", "carol"), expected={("users", "carol"): 1})),
        ]
        await self.refused(Invalid, answers.pop(1))
        await self.refused(Conflict, answers.pop())
        heads = await gatherResults(answers)
        self.assertEqual([head.revision for head in heads], [1, 2, 3, 4])
        self.assertEqual(set((await journal.head()).document.users), {"carol"})
        self.assertChained(await journal.since(0, 10))

    # --- requests

    async def test_repeatedRequestIsAppendedOnce(self) -> None:
        journal = await self.makeJournal()
        first = await journal.append(putUser("alice", "request 1"))
        await journal.append(putUser("bob", "request 2"))
        again = await journal.append(putUser("alice", "request 1"))
        self.assertEqual((first.revision, again.revision), (1, 2))
        self.assertEqual((await journal.find("request 1")).revision, 1)

    async def test_requestRepeatedAtOnceIsAppendedOnce(self) -> None:
        journal = await self.makeJournal()
        await gatherResults([journal.append(putUser("alice", "request 1")) for _ in range(3)])
        self.assertEqual((await journal.head()).revision, 1)

    async def test_proposalsWithoutRequestAreNotOneAnother(self) -> None:
        journal = await self.makeJournal()
        await journal.append(putUser("alice"))
        self.assertEqual((await journal.append(putUser("alice"))).revision, 2)
        self.assertIsNone(await journal.find(""))

    async def test_unknownRequestIsNotFound(self) -> None:
        journal = await self.filled("alice")
        self.assertIsNone(await journal.find("request bob"))

    async def test_refusedRequestMayBeRepeated(self) -> None:
        journal = await self.makeJournal()
        await self.refused(Invalid, journal.append(putUser("alice", "request 1", groups=("g",))))
        await journal.append(proposal(Put("groups", Group(name="g"))))
        self.assertEqual((await journal.append(putUser("alice", "request 1", groups=("g",)))).revision, 2)

    # --- reading

    async def test_sinceIsLimited(self) -> None:
        journal = await self.filled("alice", "bob", "carol")
        self.assertEqual([entry.revision for entry in await journal.since(0, 2)], [1, 2])
        self.assertEqual([entry.revision for entry in await journal.since(2, 2)], [3])
        self.assertEqual(list(await journal.since(3, 2)), [])
        self.assertEqual(list(await journal.since(30, 2)), [])

    async def test_sinceGivesAtLeastOneEntryAndAboutAMiB(self) -> None:
        journal = await self.makeJournal()
        for name in "abcde":
            await journal.append(putUser(name, publicKeys=(), extra={"note": "x" * 700_000}))
        self.assertEqual([entry.revision for entry in await journal.since(0, 10)], [1])
        await journal.append(putUser("small"))
        self.assertEqual([entry.revision for entry in await journal.since(4, 10)], [5, 6])

    # --- entries from elsewhere

    async def test_extendMakesTheSameJournal(self) -> None:
        source, journal = await self.filled("alice", "bob", "carol"), await self.makeJournal()
        entries = list(await source.since(0, 10))
        await journal.extend(entries[:1])
        head = await journal.extend(entries[1:])
        self.assertEqual(head, await source.head())
        self.assertEqual(list(await journal.since(0, 10)), entries)
        self.assertEqual(await journal.find("request bob"), entries[1])

    async def test_extendByNothing(self) -> None:
        journal = await self.filled("alice")
        self.assertEqual(await journal.extend([]), await journal.head())

    async def test_gapIsRefused(self) -> None:
        source, journal = await self.filled("alice", "bob"), await self.makeJournal()
        entries = list(await source.since(0, 10))
        error = await self.refused(ChainMismatch, journal.extend(entries[1:]))
        self.assertEqual(error.revision, 1)
        self.assertEqual((await journal.head()).revision, 0)

    async def test_repetitionIsRefused(self) -> None:
        source, journal = await self.filled("alice", "bob"), await self.makeJournal()
        entries = list(await source.since(0, 10))
        await journal.extend(entries)
        await self.refused(ChainMismatch, journal.extend(entries[1:]))

    async def test_alteredEntryIsRefusedWithAllThatCameWithIt(self) -> None:
        source, journal = await self.filled("alice", "bob", "carol"), await self.makeJournal()
        entries = list(await source.since(0, 10))
        forged = Entry.fromBody(entries[1].body.replace(b"bob", b"eve"), entries[1].chainHash)
        error = await self.refused(ChainMismatch, journal.extend([entries[0], forged, entries[2]]))
        self.assertEqual(error.revision, 2)
        self.assertEqual((await journal.head()).revision, 0)
        self.assertEqual(list(await journal.since(0, 10)), [])

    async def test_entryOfAnotherHistoryIsRefused(self) -> None:
        source, journal = await self.filled("alice", "bob"), await self.filled("carol")
        await self.refused(ChainMismatch, journal.extend((await source.since(1, 10))[:1]))

    async def test_unknownChangesAreKeptAsTheyCame(self) -> None:
        journal = await self.filled("alice")
        entry = unknownEntry(await journal.head(), {"kind": "renameUser", "from": "alice", "to": "eve"})
        head = await journal.extend([entry])
        (unknown,) = head.document.unknown
        self.assertEqual((unknown.revision, unknown.raw["to"]), (2, "eve"))
        self.assertEqual((await journal.since(1, 1))[0].body, entry.body)

    async def test_changeInANewerFormatIsRefused(self) -> None:
        journal = await self.filled("alice")
        entry = unknownEntry(await journal.head(), {"format": 99, "kind": "put"})
        await self.refused(NewerFormat, journal.extend([entry]))
        self.assertEqual((await journal.head()).revision, 1)

    # --- epochs

    async def promoted(self) -> IJournal:
        """A journal in epoch 1."""
        journal = await self.makeJournal()
        nodes = [Put("nodes", Node(name=name, address="192.0.2.1")) for name in ("node-a", "node-b")]
        await journal.append(proposal(Batch((*nodes, Promote(1, "node-a", "system")))))
        return journal

    async def test_promotionIsTheFirstEntryOfItsEpoch(self) -> None:
        journal = await self.promoted()
        head = await journal.append(proposal(Promote(4, "node-b", "admin")))
        self.assertEqual((head.epoch, head.document.promoted.name), (4, "node-b"))
        await journal.append(putUser("alice"))
        self.assertEqual([entry.epoch for entry in await journal.since(0, 10)], [1, 4, 4])

    async def test_epochNeverFallsOrRepeats(self) -> None:
        journal = await self.promoted()
        for epoch in (0, 1):
            await self.refused(Invalid, journal.append(proposal(Promote(epoch, "node-b", "admin"))))
        self.assertEqual((await journal.head()).epoch, 1)

    async def test_entryThatLiesAboutItsEpochIsRefused(self) -> None:
        journal = await self.promoted()
        head = await journal.head()
        honest = unknownEntry(head, {"kind": "remove", "section": "users", "name": "x"})
        for epoch in (0, 7):
            lie = unknownEntry(evolve(head, epoch=epoch), {"kind": "remove", "section": "users", "name": "x"})
            await self.refused(ChainMismatch, journal.extend([lie]))
        self.assertEqual((await journal.extend([honest])).revision, 2)

    # --- snapshots

    async def test_snapshotStandsForTheHistory(self) -> None:
        source, journal = await self.filled("alice", "bob"), await self.filled("eve")
        snapshot = await source.snapshot()
        head = await journal.restore(snapshot)
        self.assertEqual(head, await source.head())
        self.assertEqual(decodeDocument(snapshot.data), head.document)
        await self.refused(HistoryGone, journal.since(1, 10))
        self.assertIsNone(await journal.find("request eve"))

    async def test_entriesFollowOnARestoredSnapshot(self) -> None:
        source, journal = await self.filled("alice", "bob"), await self.makeJournal()
        await journal.restore(await source.snapshot())
        await source.append(putUser("carol"))
        await journal.extend(await source.since(2, 10))
        self.assertEqual(await journal.head(), await source.head())
        self.assertEqual(list(await journal.since(2, 10)), list(await source.since(2, 10)))

    async def test_snapshotThatDoesNotProveItselfChangesNothing(self) -> None:
        source, journal = await self.filled("alice", "bob"), await self.filled("carol")
        snapshot, before = await source.snapshot(), await journal.head()
        for wrong in (
            evolve(snapshot, data=snapshot.data.replace(b"bob", b"eve")),
            evolve(snapshot, sha256=bytes(32)),
            evolve(snapshot, revision=3),
            evolve(snapshot, epoch=3),
        ):
            await self.refused(ChainMismatch, journal.restore(wrong))
        self.assertEqual(await journal.head(), before)
        self.assertEqual(len(await journal.since(0, 10)), 1)

    # --- how it was

    async def test_earlierHeadsAreFoldedAnew(self) -> None:
        journal = await self.makeJournal()
        heads = [await journal.append(putUser(name)) for name in ("alice", "bob", "carol")]
        for head in heads:
            self.assertEqual(await journal.at(head.revision), head)
        self.assertEqual((await journal.at(0)).revision, 0)
        await self.refused(ClusterError, journal.at(4))

    async def test_whatWasCompactedNobodyKnows(self) -> None:
        journal = await self.filled("alice", "bob", "carol")
        await journal.compact(1)
        self.assertEqual(sorted((await journal.at(2)).document.users), ["alice", "bob"])
        await self.refused(HistoryGone, journal.at(1))

    async def test_partsMakeTheHeadAsItWas(self) -> None:
        journal = await self.filled("alice", "bob", "carol", "dave")
        await journal.compact(2)
        for revision in (2, 3, 4):
            start, entries = await journal.parts(revision)
            self.assertLessEqual(start.revision, revision)
            self.assertEqual([entry.revision for entry in entries], list(range(start.revision + 1, revision + 1)))
            self.assertEqual(folded(headOf(start), entries), await journal.at(revision))
        await self.refused(HistoryGone, journal.parts(1))
        await self.refused(ClusterError, journal.parts(5))

    # --- compaction

    async def test_compactionForgetsOlderEntriesAlone(self) -> None:
        journal = await self.filled("alice", "bob", "carol", "dave")
        before = await journal.head()
        await journal.compact(2)
        self.assertEqual([entry.revision for entry in await journal.since(2, 10)], [3, 4])
        await self.refused(HistoryGone, journal.since(1, 10))
        self.assertEqual(await journal.head(), before)
        self.assertEqual((await journal.find("request carol")).revision, 3)
        self.assertIsNone(await journal.find("request alice"))
        self.assertEqual((await journal.append(putUser("eve"))).revision, 5)

    async def test_compactionOfEverything(self) -> None:
        journal = await self.filled("alice", "bob")
        before = await journal.head()
        await journal.compact(0)
        self.assertEqual(await journal.head(), before)
        self.assertEqual(list(await journal.since(2, 10)), [])
        await self.refused(HistoryGone, journal.since(1, 10))

    async def test_compactionOfAShortJournalDoesNothing(self) -> None:
        journal = await self.filled("alice", "bob")
        await journal.compact(2)
        await journal.compact(200)
        self.assertEqual(len(await journal.since(0, 10)), 2)

    async def test_compactionIsRepeated(self) -> None:
        journal = await self.filled("alice", "bob", "carol")
        await journal.compact(2)
        await journal.append(putUser("dave"))
        await journal.compact(1)
        self.assertEqual([entry.revision for entry in await journal.since(3, 10)], [4])

    async def test_unknownChangesAreNotCompacted(self) -> None:
        journal = await self.filled("alice", "bob")
        await journal.extend([unknownEntry(await journal.head(), {"kind": "later"})])
        await journal.append(putUser("carol"))
        await journal.compact(0)
        self.assertEqual([entry.revision for entry in await journal.since(2, 10)], [3, 4])

    async def test_equalHistoriesMakeEqualSnapshots(self) -> None:
        source, journal = await self.filled("alice", "bob", "carol"), await self.makeJournal()
        await journal.extend(await source.since(0, 10))
        await source.append(proposal(MergeSettings({"drainSeconds": 5})))
        await journal.compact(1)
        await journal.extend(await source.since(3, 10))
        snapshots = [await source.snapshot(), await journal.snapshot()]
        self.assertEqual(snapshots[0], snapshots[1])
        self.assertEqual(snapshots[0].data, encodeDocument((await source.head()).document))

    # --- the end

    async def test_closedJournalRefuses(self) -> None:
        journal = await self.filled("alice")
        await journal.close()
        await journal.close()
        for result in (journal.append(putUser("bob")), journal.head(), journal.since(0, 1), journal.find("x")):
            await self.refused(ClusterError, result)
