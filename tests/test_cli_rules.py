"""``cftpctl sessions``, ``kick`` and ``bans``: what they ask for and what they print."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, succeed

from cftpcluster.auth.account import Account
from cftpcluster.config.changes import Batch, Put
from cftpcluster.config.document import User
from cftpcluster.vocabulary import Origin, publicId

from .test_cli import CommandTestCase


class Files:
    def close(self) -> Deferred[None]:
        return succeed(None)


class RulesTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.cluster.node.change(Batch((Put("users", User(name="alice")), Put("users", User(name="bob")))))
        self.cluster.rules.start()
        self.addCleanup(self.cluster.rules.stop)

    def enter(self, user: str, session: str) -> str:
        files: Any = Files()
        origin = Origin("sftp", "192.0.2.7", "front", session, "OpenSSH_9.9")
        self.cluster.rules.sessions.begin(Account(user, origin, files, 10_000))
        return publicId(session)

    def test_sessionsAreListedAndKicked(self) -> None:
        alice, bob = self.enter("alice", "1"), self.enter("bob", "2")
        lines = [line.split("\t") for line in self.call("sessions").stdout.splitlines()]
        self.assertEqual([line[:6] for line in lines], [
            [alice, "alice", "sftp", "192.0.2.7", "node-a", "front"],
            [bob, "bob", "sftp", "192.0.2.7", "node-a", "front"],
        ])  # fmt: skip
        self.assertEqual(lines[0][7], "OpenSSH_9.9")
        self.assertEqual(
            [one["id"] for one in json.loads(self.call("sessions", "--user", "bob", "--json").stdout)], [bob]
        )
        self.assertEqual(self.call("sessions", "--node", "node-b").stdout, "")
        self.assertEqual(self.call("kick", alice).stdout, f"session {alice} ended\n")
        self.assertEqual(self.call("kick", alice, code=1).stderr, f"cftpctl: there is no session '{alice}'\n")
        self.assertEqual(len(self.call("sessions").stdout.splitlines()), 1)
        self.assertEqual(self.call("kick", "--user", "bob").stdout, "1 sessions of bob ended\n")
        self.assertEqual(self.call("sessions").stdout, "")
        self.call("kick", code=2)
        self.call("kick", alice, "--user", "bob", code=2)

    def test_bans(self) -> None:
        self.assertEqual(self.call("bans", "list").stdout, "")
        added = self.call("bans", "add", "203.0.113.0/24", "--seconds", "60", "--reason", "spray").stdout
        self.assertEqual(added, "203.0.113.0/24 banned for 60 s\n")
        self.assertEqual(self.call("bans", "add", "2001:db8::1").stdout, "2001:db8::/64 banned for 3600 s\n")
        (line, _) = self.call("bans", "list").stdout.splitlines()
        network, seconds, refused, _by, reason = line.split("\t")
        self.assertEqual((network, seconds, refused, reason), ("2001:db8::/64", "3600 s", "0", "by hand"))
        shown = json.loads(self.call("bans", "list", "--json").stdout)
        self.assertEqual([ban["reason"] for ban in shown], ["by hand", "spray"])
        removed = self.call("bans", "remove", "203.0.113.0/24").stdout
        self.assertEqual(removed, "203.0.113.0/24 is not banned any more\n")
        self.call("bans", "remove", "203.0.113.0/24", code=1)
        self.call("bans", "remove", "2001:db8::1")
        self.assertIn("neither an address nor a network", self.call("bans", "add", "example.org", code=1).stderr)
