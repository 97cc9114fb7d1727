"""The verbs of ``cftpctl`` about API tokens, and asking with one."""

from __future__ import annotations

from cftpcluster.commands.client import whereFrom

from .test_cli import CommandTestCase


class TokenTests(CommandTestCase):
    def test_madeListedAndRemoved(self) -> None:
        text = self.call("token", "add", "ci", "--scope", "users", "--scope", "read", "--admin", "full").stdout
        self.assertRegex(text, r"^cftp_\w+\n$")
        listed = self.json("token", "list")
        self.assertEqual([(one["name"], one["scopes"]) for one in listed], [("ci", ["users", "read"])])
        fields = self.call("token", "list", "--admin", "full").stdout.rstrip("\n").split("\t")
        self.assertEqual((fields[1], fields[5], fields[6]), ("ci", "never", "yes"))
        self.assertEqual(self.call("token", "list", "--admin", "users").stdout, "")
        self.assertIn("removed", self.call("token", "remove", listed[0]["id"]).stdout)
        self.assertEqual(self.json("token", "list"), [])
        self.assertIn("there is no token", self.refused("token", "remove", listed[0]["id"]))

    def test_lookingIsTheDefault(self) -> None:
        made = self.json("token", "add", "ci", "--admin", "full", "--expires", "60")
        self.assertEqual((made["scopes"], made["expires"]), (["read"], self.cluster.clock.seconds() + 60))

    def test_whoseItIsHasToBeSaid(self) -> None:
        self.assertIn("whose token", self.refused("token", "add", "ci"))

    def test_tokenComesFromAFile(self) -> None:
        path = self.file("token", "cftp_1_2\n")
        where = whereFrom("", "https://a:8444", "", "", path, "", "")
        self.assertEqual((where.token, where.user), ("cftp_1_2", ""))
        self.assertNotIn("cftp_1_2", repr(where))
        self.assertIn(
            "holds no token", self.refused("--url", "https://a", "--token-file", self.file("e", ""), "status")
        )

    def test_wrongUsage(self) -> None:
        path = self.file("token", "t")
        for arguments in (
            ("--token-file", path, "status"),
            ("--url", "https://a", "--token-file", path, "--user", "a", "--password-file", path, "status"),
            ("--url", "https://a", "status"),
            ("token", "add", "ci", "--scope", "root"),
        ):
            self.call(*arguments, code=2)
