"""Journals that do not prove themselves: whose is set aside, whose is kept, and what a running node does about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from cftpcluster import founding
from cftpcluster.cluster.authority import Authority, newNodeKey
from cftpcluster.config.changes import Promote, Put, apply
from cftpcluster.config.document import Document, Node
from cftpcluster.errors import JournalDamaged
from cftpcluster.healing import CHECK_SECONDS, REMEMBERED, JournalCare, openJournal
from cftpcluster.journal.sqlite import SQLiteJournal
from cftpcluster.state import StateDirectory
from cftpcluster.testing.journal import KINDS, putUser

NODES = ("node-a", "node-b", "node-c")


async def here(work: Any, *arguments: Any) -> Any:
    """Calls it at once, where a node calls it in a thread."""
    return work(*arguments)


def document(primary: str) -> Document:
    """That of a cluster of three."""
    made = apply(Document(), Promote(1, primary, "system"))
    for number, name in enumerate(NODES, 1):
        made = apply(made, Put("nodes", Node(name=name, address=f"192.0.2.{number}", fingerprint="00" * 32)))
    return made


@define(eq=False)
class Journal:
    """A journal that is damaged when a test says so, and remembers what was asked of it."""

    damage: str = ""
    asked: list[str] = field(factory=list)

    def check(self) -> Deferred[None]:
        return fail(JournalDamaged(self.damage)) if self.damage else succeed(None)

    def renew(self) -> Deferred[str]:
        self.asked.append("renew")
        self.damage = ""
        return succeed("beside")

    def stopWriting(self, why: str) -> Deferred[None]:
        self.asked.append(f"stop: {why}")
        return succeed(None)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = StateDirectory(Path(self.mktemp()))
        self.state.prepare()
        self.clock = Clock()
        self.journal = Journal()
        self.isPrimary = False
        self.changes: list[tuple[str, ...]] = []

    def care(self) -> JournalCare:
        made = JournalCare(
            state=self.state,
            inThread=here,
            journal=self.journal,  # type: ignore[arg-type]
            clock=self.clock,
            isPrimary=lambda: self.isPrimary,
            portOf=lambda name: 8789,
            changed=lambda: self.changes.append(made.problems),
        )
        return made


class CheckTests(Case):
    def setUp(self) -> None:
        super().setUp()
        self.running = self.care()
        self.running.start(document("node-a"))
        self.addCleanup(self.running.stop)

    def test_wholeJournalIsLeftAlone(self) -> None:
        self.clock.advance(CHECK_SECONDS)
        self.assertEqual((self.journal.asked, self.changes), ([], []))

    def test_damagedJournalOfASecondaryIsBegunAnew(self) -> None:
        self.journal.damage = "a bit fell over"
        self.clock.advance(CHECK_SECONDS)
        self.assertEqual((self.journal.asked, self.running.problems), (["renew"], ()))

    def test_damagedJournalOfAPrimaryIsKeptAndShown(self) -> None:
        self.isPrimary = True
        self.journal.damage = "a bit fell over"
        self.clock.advance(CHECK_SECONDS)
        self.assertEqual(self.journal.asked, ["stop: a bit fell over"])
        self.assertIn("promote another node", self.running.problems[0])
        self.assertEqual(self.changes, [self.running.problems])

    def test_endedCareLooksNoMore(self) -> None:
        self.running.stop()
        self.journal.damage = "a bit fell over"
        self.clock.advance(CHECK_SECONDS)
        self.assertEqual(self.journal.asked, [])


class RememberedTests(Case):
    def primary(self) -> Any:
        plain: Any = self.state.readJSON(REMEMBERED)
        return plain and plain["primary"]

    def test_primaryIsWrittenDownWhenItIsAnother(self) -> None:
        care = self.care()
        for name in ("node-a", "node-b"):
            care.see(document(name))
            self.assertEqual(self.primary(), name)
        remembered: Any = self.state.readJSON(REMEMBERED)
        self.assertEqual(remembered["epoch"], 1)

    def test_nothingIsWrittenTwice(self) -> None:
        care = self.care()
        care.see(document("node-a"))
        (self.state.path / REMEMBERED).unlink()
        care.see(document("node-a"))
        self.assertIsNone(self.primary())

    def test_emptyDocumentSaysNothing(self) -> None:
        self.care().see(Document())
        self.assertIsNone(self.primary())

    def test_fullDiskIsTriedAgain(self) -> None:
        care = self.care()
        (self.state.path / REMEMBERED).mkdir()
        care.see(document("node-a"))
        (self.state.path / REMEMBERED).rmdir()
        care.see(document("node-a"))
        self.assertEqual(self.primary(), "node-a")


class OpeningTests(TestCase):
    """The state folder of node-b, whose journal is damaged."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor = reactor
        self.state = StateDirectory(Path(self.mktemp()))
        self.state.prepare()
        authority = Authority.new(0.0)
        membership = founding.Membership(authority.identity("node-b", newNodeKey(), 0.0), (bytes(32),))
        founding.store(self.state, membership)

    async def damaged(self) -> bytes:
        """Make a journal and damage it; the answer is what lies there then."""
        journal = await SQLiteJournal.open(str(self.state.journal), KINDS, self.reactor)
        for number in range(20):
            await journal.append(putUser(f"user{number}"))
        await journal.compact(10)
        await journal.close()
        data = self.state.journal.read_bytes().replace(b"user15", b"user1x")
        self.state.journal.write_bytes(data)
        return data

    def remember(self, primary: str) -> None:
        nodes = [{"name": name, "address": "192.0.2.1", "fingerprint": "00"} for name in NODES]
        self.state.writeJSON(REMEMBERED, {"primary": primary, "epoch": 4, "nodes": nodes, "port": 8789})

    async def open(self) -> SQLiteJournal:
        journal = await openJournal(self.state, KINDS, self.reactor, here)
        self.addCleanup(journal.close)
        return journal

    async def assertKept(self, data: bytes) -> None:
        with self.assertRaises(JournalDamaged) as caught:
            await self.open()
        self.assertIn("kept", str(caught.exception))
        self.assertEqual(self.state.journal.read_bytes(), data)

    async def test_wholeOneIsOpened(self) -> None:
        self.assertEqual((await (await self.open()).head()).revision, 0)

    async def test_secondarysIsSetAside(self) -> None:
        data = await self.damaged()
        self.remember("node-c")
        journal = await self.open()
        self.assertEqual((await journal.head()).revision, 0)
        aside = self.state.path / "journal.db.damaged-1"
        self.assertEqual(aside.read_bytes(), data)
        loaded = founding.load(self.state)
        assert loaded is not None
        self.assertTrue(founding.hasJoined(self.state))
        # It begins where the primary is, and does not dial itself.
        self.assertEqual([node.name for node in loaded.peers], ["node-c", "node-a"])
        self.assertEqual(loaded.clusterPort, 8789)
        # Nor does it take what a primary has that was replaced before.
        self.assertEqual(loaded.epoch, 4)

    async def test_memoryWithoutAnEpochIsGoodToo(self) -> None:
        await self.damaged()
        self.remember("node-c")
        plain: Any = self.state.readJSON(REMEMBERED)
        del plain["epoch"]
        self.state.writeJSON(REMEMBERED, plain)
        await self.open()
        loaded = founding.load(self.state)
        assert loaded is not None
        self.assertEqual(loaded.epoch, 0)

    async def test_primarysIsKept(self) -> None:
        data = await self.damaged()
        self.remember("node-b")
        await self.assertKept(data)

    async def test_thatOfANodeThatKnowsNoPrimaryIsKept(self) -> None:
        await self.assertKept(await self.damaged())

    async def test_damagedMemoryOfThePrimaryIsNone(self) -> None:
        data = await self.damaged()
        for content in (b"{", b"[]", b'{"primary": "node-c"}', b'{"primary": "node-c", "nodes": [], "port": 1}'):
            self.state.write(REMEMBERED, content)
            await self.assertKept(data)
