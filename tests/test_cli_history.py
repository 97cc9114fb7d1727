"""The verbs of ``cftpctl`` about the past."""

from __future__ import annotations

from cftpcluster.config.changes import Put
from cftpcluster.config.document import User

from .test_cli import CommandTestCase


class HistoryTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.first = self.document.revision
        self.call("user", "add", "alice")
        self.call("user", "disable", "alice")

    def test_listed(self) -> None:
        lines = self.call("history").stdout.splitlines()
        self.assertEqual(len(lines), self.first + 2)
        fields = lines[0].split("\t")
        self.assertEqual((fields[0], fields[3], fields[5]), (str(self.first + 2), "socket", "users/alice"))
        self.assertEqual(len(self.json("history", "--limit", "1")), 1)
        self.assertEqual(len(self.json("history", "--object", "users/alice")), 2)

    def test_oneRevision(self) -> None:
        output = self.call("history", str(self.first + 2)).stdout
        self.assertIn("changed users/alice\n    enabled: true -> false", output)
        self.assertEqual(self.json("history", str(self.first + 2))["total"], 1)
        self.assertIn("no revision 99", self.refused("history", "99"))

    def test_differences(self) -> None:
        first, last = str(self.first), str(self.first + 2)
        self.assertIn("added users/alice", self.call("diff", first, last).stdout)
        self.assertEqual(self.call("diff", first, last).stdout, self.call("diff", first).stdout)
        self.assertIn("nothing differs", self.call("diff", last).stdout)
        self.assertEqual(self.json("diff", last, first)["differences"][0]["action"], "removed")

    def test_longDifferencesAreWhole(self) -> None:
        for number in range(501):
            self.cluster.node.change(Put("users", User(name=f"u{number}")))
        self.assertEqual(len(self.json("diff", str(self.first))["differences"]), 502)

    def test_goingBack(self) -> None:
        before = self.document.revision
        output = self.call("rollback", str(self.first), "--dry-run").stdout
        self.assertIn("removed users/alice\n", output)
        self.assertIn("a dry run", output)
        self.assertEqual(self.document.revision, before)
        output = self.call("rollback", str(self.first + 1)).stdout
        self.assertIn("kept: users/alice keeps its enabled: false", output)
        self.assertIn("nothing to change", output)
        self.call("rollback", str(self.first), "--only", "users/alice")
        self.assertEqual((self.document.revision, "alice" in self.document.users), (before + 1, False))
        self.assertEqual(self.json("rollback", str(before))["revision"], before + 2)
        self.assertIn("there is no revision", self.refused("rollback", "9999"))
