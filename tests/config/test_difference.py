"""What differs between documents, for people."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.changes import Batch, Change, MergeSettings, Put, Remove, apply
from cftpcluster.config.difference import Difference, difference
from cftpcluster.config.document import Admin, Backend, ClusterKey, Document, Group, HostKey, Secret, User

from .strategies import changes, documents, forAll

ALICE = User(name="alice", passwordHash="hash", groups=("g",))


class DifferenceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.before = apply(
            Document(),
            Batch(
                (
                    Put("groups", Group(name="g")),
                    Put("users", ALICE),
                    Put("hostKeys", HostKey(name="k", key=Secret(b"hunter1"))),
                    Put("keys", ClusterKey(name="sessions", key=Secret(b"hunter1"))),
                )
            ),
        )

    def lines(self, *some: Change) -> list[str]:
        found = difference(self.before, apply(self.before, Batch(some)))
        return [line.strip() for one in found for line in str(one).split("\n")]

    def test_nothing(self) -> None:
        self.assertEqual(self.lines(), [])
        self.assertEqual(self.lines(Put("users", ALICE), MergeSettings({})), [])

    def test_keysThatChange(self) -> None:
        change = Put("users", evolve(ALICE, enabled=False, groups=(), allow=("::1",)))
        self.assertEqual(
            self.lines(change, MergeSettings({"drainSeconds": 5})),
            [
                "changed settings",
                "drainSeconds: 30 -> 5",
                "changed users/alice",
                'allow: ["::1"]',
                "enabled: true -> false",
                'groups: ["g"] -> default',
            ],
        )

    def test_addedAndRemoved(self) -> None:
        lines = self.lines(Remove("groups", "g"), Put("admins", Admin(name="bob")))
        self.assertEqual(lines, ["removed groups/g", "added admins/bob", "enabled: true", 'role: "auditor"'])

    def test_secretsAreNeverShown(self) -> None:
        lines = self.lines(
            Put("users", evolve(ALICE, passwordHash="hunter2")),
            Put("hostKeys", HostKey(name="k", key=Secret(b"hunter2"))),
            Put("keys", ClusterKey(name="sessions", key=Secret(b"hunter2"))),
            Put("backends", Backend(name="b", kind="s3", options={"bucket": "x", "secretAccessKey": "hunter2"})),
        )
        self.assertNotIn("hunter", "\n".join(lines))
        self.assertEqual(
            lines,
            [
                "added backends/b", 'bucket: "x"', 'kind: "s3"', "secretAccessKey: changed",
                "changed users/alice", "password: changed", "changed hostKeys/k", "key: changed",
                "changed keys/sessions", "key: changed",
            ],
        )  # fmt: skip

    @forAll(documents, changes)
    def test_lookingOnlyAtWhatIsTouchedFindsTheSame(self, document: Document, change: Change) -> None:
        after = apply(document, change)
        self.assertEqual(difference(document, after, change.targets()), difference(document, after))

    @forAll(documents, changes)
    def test_everyDocumentCanBeCompared(self, document: Document, change: Change) -> None:
        self.assertEqual(list(difference(document, document)), [])
        for one in difference(document, apply(document, change)):
            self.assertIsInstance(one, Difference)
            self.assertIn(one.action, str(one))
