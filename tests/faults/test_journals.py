"""Journals that are cut short or altered on disk, beneath nodes that are killed and started again."""

from __future__ import annotations

import random
from pathlib import Path

from cftpcluster.testing.processes import PATIENCE_SECONDS, NodeProcess

from ..sharedclusters import whole
from .clusters import FaultCase, addUser, headOf, namesOf, waitFor
from .scale import choose


def journalOf(node: NodeProcess) -> Path:
    return node.state / "journal.db"


def truncate(node: NodeProcess) -> None:
    """The second half of the file is gone."""
    path = journalOf(node)
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2)


def flip(node: NodeProcess) -> None:
    """A bit of what an entry says is another one."""
    path = journalOf(node)
    data = bytearray(path.read_bytes())
    data[data.rindex(b'"change"' if b'"change"' in data else b"user")] ^= 1
    path.write_bytes(data)


def cutLog(node: NodeProcess) -> None:
    """Changes that were acknowledged are gone with the end of the write-ahead log."""
    path = journalOf(node).with_name("journal.db-wal")
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2)


def tearLog(node: NodeProcess) -> None:
    """The log ends with half a record that nobody was told of."""
    with open(journalOf(node).with_name("journal.db-wal"), "ab") as file:
        file.write(random.Random(1).randbytes(2000))


class JournalCase(FaultCase):
    def setUp(self) -> None:
        super().setUp()
        self.a, self.b, _ = self.nodes

    def write(self, prefix: str) -> None:
        for number in range(3):
            addUser(self.a, f"{prefix}{number}")
        self.equalWithin(5)


class SecondaryTests(JournalCase):
    def test_damagedJournalIsSetAsideAndPulledAnew(self) -> None:
        for damage in (truncate, flip, cutLog)[: choose(2, 3)]:
            self.write(damage.__name__)
            # Ended in order, everything is in the file; killed, the newest is in the log.
            (self.b.kill if damage is cutLog else self.b.stop)()
            damage(self.b)
            said = len(self.b.log)
            self.b.start("secondary")
            whole(self.cluster)
            self.assertEqual(len(namesOf(self.b, damage.__name__)), 3)
            self.assertIn(f"pulled anew from {self.a.name}", self.b.log[said:])
            self.assertNotIn("Traceback", self.b.log[said:])
        self.assertTrue(self.b.state.joinpath("journal.db.damaged-1").exists())

    def test_tornTailIsDroppedAndNothingPulled(self) -> None:
        self.write("torn")
        head = headOf(self.b)
        self.b.kill()
        tearLog(self.b)
        said = len(self.b.log)
        self.b.start("secondary")
        self.assertEqual(headOf(self.b), head)
        self.assertNotIn("pulled anew", self.b.log[said:])
        whole(self.cluster)


class PrimaryTests(JournalCase):
    def test_damagedJournalIsRefusedAndKept(self) -> None:
        self.write("kept")
        self.a.stop()
        whole_ = journalOf(self.a).read_bytes()
        try:
            for damage in (truncate, flip):
                journalOf(self.a).write_bytes(whole_)
                damage(self.a)
                damaged = journalOf(self.a).read_bytes()
                said = len(self.a.log)
                self.a.spawn("primary")
                assert self.a.process is not None
                self.assertEqual(self.a.process.wait(PATIENCE_SECONDS), 1)
                lines = [line for line in self.a.log[said:].splitlines() if line.startswith("cftpcluster: ")]
                self.assertEqual(len(lines), 1, self.a.log[said:])
                self.assertIn("journal.db", lines[0])
                self.assertIn("kept as it is", lines[0])
                self.assertEqual(journalOf(self.a).read_bytes(), damaged)
                # The other one goes on with what it has.
                self.assertEqual(len(namesOf(self.b, "kept")), 3)
        finally:
            journalOf(self.a).write_bytes(whole_)

    def test_tornTailIsDropped(self) -> None:
        self.write("alsoTorn")
        head = headOf(self.a)
        self.a.kill()
        tearLog(self.a)
        self.a.start("primary")
        self.assertEqual(headOf(self.a), head)
        waitFor("the other follows", lambda: headOf(self.b) == headOf(self.a))
