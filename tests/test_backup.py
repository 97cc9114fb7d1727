"""What a backup holds, and what it makes of a running cluster."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.backup import Backup, Backups, BadBackup, openBackup, pack, restoring, unpack
from cftpcluster.cluster.authority import makeServiceCertificate
from cftpcluster.cluster.sealing import Sealer, newClusterKey
from cftpcluster.config.changes import Batch, MergeSettings, Put, Remove, apply
from cftpcluster.config.defaults import defaultChanges
from cftpcluster.config.document import Admin, Certificate, Document, HostKey, Role, User
from cftpcluster.config.validation import problems
from cftpcluster.errors import ClusterError, NewerFormat
from cftpcluster.founding import Membership
from cftpcluster.journal.entry import Head
from cftpcluster.testing.membership import SmallCluster
from cftpcluster.testing.threads import InlinePool, InlineReactor

NOW = 1_800_000_000.0
CHAIN, KEY = makeServiceCertificate(["one.test"], NOW)
FIRST, SECOND = (f"$6$saltsalt${letter * 86}" for letter in "ab")


class BackupCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = SmallCluster(NOW)
        identity = self.cluster.found("node-a")
        self.cluster.add("node-b")
        self.membership = Membership(identity, self.cluster.sealer.keys)
        self.hostKey = HostKey(name="ed25519", key=self.cluster.sealer.seal(b"the host's key"))
        self.cluster.change(
            *defaultChanges(),
            Put("hostKeys", self.hostKey),
            Put("certificates", Certificate(name="default", chain=CHAIN.decode(), key=self.cluster.sealer.seal(KEY))),
            Put("admins", Admin(name="admin", role=Role.full)),
            Put("users", User(name="alice", passwordHash=FIRST)),
            MergeSettings({"drainSeconds": 7}),
        )

    @property
    def head(self) -> Head:
        document = self.cluster.document
        return Head(document.promoted.epoch, document.revision, b"c" * 32, document)

    def packed(self) -> bytes:
        return pack(self.head, self.membership, NOW)


class PackingTests(BackupCase):
    def test_isReadAsItWas(self) -> None:
        backup = unpack(self.packed())
        self.assertEqual(backup.head, self.head)
        self.assertEqual(backup.membership.identity, self.membership.identity)
        self.assertEqual(backup.membership.clusterKeys, self.membership.clusterKeys)
        described = backup.describe()
        self.assertEqual(described["node"], "node-a")
        self.assertEqual(described["cluster"], self.cluster.authority.fingerprint)
        self.assertEqual((described["epoch"], described["revision"]), (1, self.head.revision))
        self.assertEqual(described["date"], "2027-01-15T08:00:00+00:00")
        self.assertEqual(described["objects"]["nodes"], 2)
        self.assertNotIn("PRIVATE", json.dumps(described) + repr(backup))

    def test_nodeWithoutConfigurationHasNothingToKeep(self) -> None:
        self.assertRaises(ClusterError, pack, Head(0, 0, bytes(32), Document()), self.membership, NOW)

    def test_everyPartIsProved(self) -> None:
        plain = self.packed()
        start = plain.index(b"\n")
        for place in range(start + 1, len(plain), 997):
            damaged = plain[:place] + bytes([plain[place] ^ 1]) + plain[place + 1 :]
            self.assertRaises(BadBackup, unpack, damaged)
        self.assertRaises(BadBackup, unpack, plain[:-1])
        self.assertRaises(BadBackup, unpack, b"{}\n")

    def test_secretsThatItsKeysDoNotOpenAreNamed(self) -> None:
        self.membership = evolve(self.membership, clusterKeys=(newClusterKey(),))
        self.assertIn("certificates/default", str(self.assertRaises(BadBackup, unpack, self.packed())))

    def test_documentOfAnotherRevisionIsRefused(self) -> None:
        plain = pack(evolve(self.head, revision=99), self.membership, NOW)
        self.assertRaises(BadBackup, unpack, plain)

    def test_valuesThatNobodyWroteAreRefused(self) -> None:
        line, _, rest = self.packed().partition(b"\n")
        for forged in (
            {"time": 10**400},
            {"time": 1e300},
            {"node": []},
            {"epoch": "1"},
            {"parts": [["document", "x", 1]]},
        ):
            manifest = {**json.loads(line), **forged}
            self.assertRaises(BadBackup, unpack, json.dumps(manifest).encode() + b"\n" + rest)

    def test_newerFormatIsNamedWithItsVersion(self) -> None:
        line, _, rest = self.packed().partition(b"\n")
        manifest = {**json.loads(line), "format": 2, "software": "9.9"}
        error = self.assertRaises(NewerFormat, unpack, json.dumps(manifest).encode() + b"\n" + rest)
        self.assertIn("9.9", str(error))


class RestoringTests(BackupCase):
    def setUp(self) -> None:
        super().setUp()
        self.backup: Backup = unpack(self.packed())

    def restored(self, sealer: Sealer | None = None) -> Any:
        change = restoring(self.backup, self.cluster.document, sealer or self.cluster.sealer)
        if change is None:
            return None
        document = apply(self.cluster.document, change)
        self.assertEqual(problems(document, change, {}), [])
        return document

    def test_whatIsSoAlreadyIsNoChange(self) -> None:
        self.assertIsNone(self.restored())
        # Neither when it was written, nor how a secret is sealed, makes a difference.
        self.cluster.change(
            Put("users", self.cluster.document.users["alice"]),
            Put("hostKeys", evolve(self.hostKey, key=self.cluster.sealer.seal(b"the host's key"))),
        )
        self.assertIsNone(self.restored())

    def test_everythingIsAsItWasInOneRevision(self) -> None:
        before = self.cluster.document
        self.cluster.change(
            Remove("users", "alice"),
            Put("users", User(name="mallory")),
            Put("admins", Admin(name="late", role=Role.full)),
            Remove("admins", "admin"),
            Remove("listeners", "sftp"),
            Put("hostKeys", evolve(self.hostKey, key=self.cluster.sealer.seal(b"another key"))),
            MergeSettings({"drainSeconds": None, "banSeconds": 60}),
        )
        after = self.restored()
        self.assertEqual(after.revision, self.cluster.document.revision + 1)
        for section in ("users", "admins", "listeners", "hostKeys", "backends"):
            self.assertEqual({*after.sections[section]}, {*before.sections[section]}, section)
        self.assertEqual(after.users["alice"].passwordHash, FIRST)
        self.assertEqual(self.cluster.sealer.open(after.hostKeys["ed25519"].key), b"the host's key")
        self.assertEqual((after.settings.drainSeconds, after.settings.banSeconds), (7, before.settings.banSeconds))

    def test_nodesTokensEpochAndOwnKeysStayAsTheyAre(self) -> None:
        self.cluster.change(Remove("nodes", "node-b"), Put("users", User(name="late")))
        self.cluster.add("node-c")
        after = self.restored()
        for section in ("nodes", "keys", "tokens"):
            self.assertEqual(after.sections[section], self.cluster.document.sections[section])
        self.assertEqual(after.promoted, self.cluster.document.promoted)

    def test_secretsAreSealedWithTheKeyOfToday(self) -> None:
        newest = Sealer(newClusterKey(), *self.cluster.sealer.keys)
        self.cluster.change(Remove("hostKeys", "ed25519"))
        after = self.restored(newest)
        self.assertEqual(Sealer(newest.keys[0]).open(after.hostKeys["ed25519"].key), b"the host's key")

    def test_loggedInBeforeTheyHaveToLogInAgain(self) -> None:
        self.cluster.change(Put("users", User(name="alice", passwordHash=SECOND)))
        after = self.restored()
        self.assertEqual(after.users["alice"].credentialsRevision, after.revision)


class NodeTests(BackupCase):
    def test_backupsAreMadeAndReadInAThread(self) -> None:
        reactor, pool = InlineReactor(), InlinePool()
        backups = Backups(head=lambda: self.head, membership=lambda: self.membership, reactor=reactor, pool=pool)
        data: Any = self.successResultOf(backups.make(b"correct horse"))
        self.assertEqual(openBackup(data, b"correct horse").head, self.head)
        self.assertIsNone(self.successResultOf(backups.restoring(data, b"correct horse")))
        self.cluster.change(Put("users", User(name="late")))
        change = self.successResultOf(backups.restoring(data, b"correct horse"))
        self.assertEqual(change, Batch((Remove("users", "late"),)))
        self.failureResultOf(backups.restoring(data, b"wrong horse"), ClusterError)
        self.failureResultOf(backups.make(b"short"), ClusterError)
