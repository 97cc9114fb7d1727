"""``cftpctl``: what its verbs ask for, what they print, and how they fail. A node in memory answers."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from attrs import define
from click.testing import CliRunner, Result
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.cli import cftpctl
from cftpcluster.cluster.tokens import JoinTokenText
from cftpcluster.commands.client import Client, Moved, Where, firstLine
from cftpcluster.config.changes import Batch, Put
from cftpcluster.config.document import Group, Limits, Mount, Quota, User
from cftpcluster.errors import PrimaryUnreachable

from .manager.support import CHAIN, HOST_KEY, KEY, Cluster

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


@define(eq=False)
class MemoryProgram:
    """Asks the administration socket of a cluster in memory."""

    where: Where
    cluster: Cluster

    def run(self, work: Callable[[Client], Awaitable[Any]]) -> Any:
        conversation = self.cluster.connectSocket()

        async def exchange(
            method: str, target: str, headers: Mapping[str, str], body: bytes | None, moved: Moved
        ) -> tuple[int, bytes]:
            if body is not None:
                moved("sending", len(body), len(body))
            answer = conversation.ask(method, target, body=body, Content_Type=headers.get("Content-Type", "text/plain"))
            return answer.status, answer.body

        results: list[Any] = []
        Deferred.fromCoroutine(work(Client(exchange))).addBoth(results.append)  # type: ignore[arg-type]
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]


class CommandTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def call(self, *arguments: str, stdin: str | bytes = "", code: int = 0) -> Result:
        """Run the program and insist on an exit code."""
        result = CliRunner().invoke(
            cftpctl,
            arguments,
            input=stdin,
            obj=lambda where: MemoryProgram(where, self.cluster),
            prog_name="cftpctl",
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.assertEqual(result.exit_code, code, (arguments, result.output))
        self.assertNotIn("Traceback", result.output)
        return result

    def json(self, *arguments: str, stdin: str | bytes = "", code: int = 0) -> Any:
        """Run with ``--json``: standard output is one JSON value."""
        return json.loads(self.call(*arguments, "--json", stdin=stdin, code=code).stdout)

    def refused(self, *arguments: str, stdin: str | bytes = "") -> str:
        """Run, insist on exit code 1 and one line on standard error, and return it."""
        result = self.call(*arguments, stdin=stdin, code=1)
        self.assertEqual((result.stdout, result.stderr.count("\n")), ("", 1), result.output)
        self.assertTrue(result.stderr.startswith("cftpctl: "))
        return result.stderr

    def file(self, name: str, text: str | bytes) -> str:
        path = self.folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    @property
    def document(self) -> Any:
        return self.cluster.document


class HelpTests(CommandTestCase):
    def commands(self) -> list[tuple[str, ...]]:
        found: list[tuple[str, ...]] = []
        waiting: list[tuple[tuple[str, ...], Any]] = [((name,), each) for name, each in cftpctl.commands.items()]
        while waiting:
            path, command = waiting.pop(0)
            verbs = getattr(command, "commands", None)
            if verbs is None:
                found.append(path)
            else:
                waiting += [((*path, name), each) for name, each in verbs.items()]
        return found

    def test_everyVerbExplainsItselfAndTakesJSON(self) -> None:
        for command in self.commands():
            output = self.call(*command, "--help").stdout
            self.assertIn("--json", output, command)
            self.assertGreater(len(output.splitlines()[2].strip()), 10, command)
            self.assertIn(f"cftpctl {' '.join(command)}", output.partition("Example")[2], command)

    def test_everySectionHasItsVerbs(self) -> None:
        commands = self.commands()
        for noun in ("user", "group", "backend", "listener", "admin", "certificate", "hostkey", "checker", "observer"):
            for verb in ("add", "list", "show", "set", "remove"):
                self.assertIn((noun, verb), commands)
        for command in ("status", "wait", "apply", "export", "haproxy"):
            self.assertIn((command,), commands)
        for command in (("node", "token"), ("node", "list"), ("node", "show"), ("node", "remove"), ("user", "enable"),
                        ("user", "disable"), ("admin", "enable")):  # fmt: skip
            self.assertIn(command, commands)

    def test_wrongUsageIsNoFailure(self) -> None:
        for arguments in (
            ("nonsense",),
            ("user",),
            ("user", "add"),
            ("status", "--what"),
            ("apply",),
            ("user", "set", "alice"),
            ("user", "set", "alice", "x"),
            ("user", "add", "a", "--mount", "x"),
            ("user", "add", "a", "--mount", "/=files:a:fly"),
            ("user", "set", "a", "password=x"),
            ("user", "set", "a", "enabled=true", "--enable"),
            ("listener", "set", "a", "x=1", "x=2"),
            ("--user", "x", "status"),
            ("--url", "http://a", "status"),
            ("--url", "https://a:8444", "status"),
        ):
            self.assertTrue(self.call(*arguments, code=2).output, arguments)


class UserTests(CommandTestCase):
    def test_userHasAFolderOfItsOwn(self) -> None:
        result = self.call("user", "add", "alice", "--password-stdin", stdin="secret words\n")
        self.assertEqual(result.stdout, f"user alice added, revision {self.document.revision}\n")
        alice = self.document.users["alice"]
        self.assertEqual(alice.mounts, (Mount(path="/", backend="files", folder="alice"),))
        self.assertEqual(self.cluster.hashed, [b"secret words"])

    def test_keysGroupsAndMountsAreTaken(self) -> None:
        self.cluster.node.change(Put("groups", Group(name="partners")))
        key = self.file("keys", f"# mine\n{ED25519} alice@home\n\n")
        self.call("user", "add", "bob", "--key", key, "--group", "partners", "--mount", "/=files:bob", "--mount",
                  "/in=files:in:list,upload")  # fmt: skip
        bob = self.document.users["bob"]
        self.assertEqual(
            (bob.publicKeys, bob.groups, bob.passwordHash), ((f"{ED25519} alice@home",), ("partners",), "")
        )
        self.assertEqual([(mount.path, mount.folder) for mount in bob.mounts], [("/", "bob"), ("/in", "in")])
        self.assertEqual({one.value for one in bob.mounts[1].permissions}, {"list", "upload"})

    def test_quotaAndLimits(self) -> None:
        self.call("user", "add", "alice", "--quota-bytes", "5000")
        self.assertEqual(self.document.users["alice"].quota, Quota(bytes=5000))
        self.call("user", "set", "alice", "quota.files=3", "limits.uploadBytesPerSecond=2048")
        alice = self.document.users["alice"]
        self.assertEqual((alice.quota, alice.limits), (Quota(bytes=5000, files=3), Limits(uploadBytesPerSecond=2048)))
        self.call("user", "set", "alice", "quota=null")
        self.assertEqual(self.document.users["alice"].quota, Quota())
        self.assertIn("out of bounds", self.refused("user", "set", "alice", "quota.bytes=-1"))
        self.call("user", "add", "bob", "--quota-bytes", "many", code=2)

    def test_usage(self) -> None:
        self.call("user", "add", "alice", "--quota-bytes", "5000")
        result = self.call("user", "usage", "alice")
        self.assertEqual([line.split() for line in result.stdout.splitlines()],
                         [["bytes", "5", "5000"], ["files", "1", "none"]])  # fmt: skip
        self.assertIn("not counted yet", result.stderr)
        self.assertEqual(json.loads(self.call("user", "usage", "alice", "--json").stdout)["bytes"], 5)
        self.assertIn("nobody", self.refused("user", "usage", "nobody"))

    def test_groupThatMountsTheRootIsEnough(self) -> None:
        mounts = (Mount(path="/", backend="files", folder="shared"),)
        self.cluster.node.change(
            Batch((Put("groups", Group(name="all", mounts=mounts)), Put("groups", Group(name="g"))))
        )
        self.call("user", "add", "alice", "--group", "g", "--group", "all")
        self.call("user", "add", "bob", "--group", "g")
        self.assertEqual((len(self.document.users["alice"].mounts), len(self.document.users["bob"].mounts)), (0, 1))
        self.assertIn("nobodies", self.refused("user", "add", "carol", "--group", "nobodies"))

    def test_existingUserIsNotAddedAgain(self) -> None:
        self.call("user", "add", "alice")
        self.assertIn("exists", self.refused("user", "add", "alice", "--password-stdin", stdin="x"))

    def test_userIsChanged(self) -> None:
        self.call("user", "add", "alice", "--password-stdin", stdin="secret")
        before = self.document.users["alice"]
        self.call("user", "set", "alice", "--expires", "2027-01-31T00:00:00Z", 'protocols=["sftp"]', "--disable")
        alice = self.document.users["alice"]
        self.assertEqual((alice.enabled, alice.expires.year, alice.passwordHash), (False, 2027, before.passwordHash))
        self.assertEqual([protocol.value for protocol in alice.protocols], ["sftp"])
        self.call(
            "user", "set", "alice", "--expires", "null", "protocols=null", "--enable", "--password-stdin", stdin="n"
        )
        alice = self.document.users["alice"]
        self.assertEqual((alice.enabled, alice.expires, len(alice.protocols)), (True, None, 3))
        self.assertNotEqual(alice.passwordHash, before.passwordHash)
        self.call("user", "disable", "alice")
        self.assertFalse(self.document.users["alice"].enabled)
        self.assertTrue(self.json("user", "enable", "alice")["revision"])

    def test_usersAreListedAndShown(self) -> None:
        self.cluster.node.change(Batch(tuple(Put("users", User(name=f"user{number:04}")) for number in range(1200))))
        self.assertEqual(len(self.json("user", "list")), 1200)
        lines = self.call("user", "list", "--search", "007").stdout.splitlines()
        self.assertEqual(lines[0].split("\t")[:2], ["user0007", "yes"])
        self.assertEqual(len(lines), 12)
        self.assertIn("name: user0007", self.call("user", "show", "user0007").stdout)
        self.assertEqual(self.json("user", "show", "user0007")["name"], "user0007")
        self.assertIn("'nobody'", self.refused("user", "show", "nobody"))

    def test_userIsRemoved(self) -> None:
        self.call("user", "add", "alice")
        self.assertEqual(self.json("user", "remove", "alice")["pending"], [])
        self.refused("user", "remove", "alice")

    def test_missingFilesAndEmptyInputAreOneLine(self) -> None:
        self.assertIn("No such file", self.refused("user", "add", "a", "--key", str(self.folder / "nothing")))
        self.assertIn("no password", self.refused("user", "add", "a", "--password-stdin"))
        self.assertIn("no public key", self.refused("user", "add", "a", "--key", self.file("empty", "\n")))

    def test_pendingNodesAreNamed(self) -> None:
        self.cluster.node.pending = ["node-b"]
        self.assertIn("not yet live on node-b", self.call("user", "add", "alice", "--wait", "1").stdout)

    def test_problemsOfAnObjectAreTold(self) -> None:
        stderr = self.refused("user", "add", "alice", "--mount", "/=fils:x")
        self.assertIn('mounts[0].backend: no backend named "fils"', stderr)
        stderr = self.call("user", "set", "admin", "x=1", code=1).stderr
        self.assertIn("'admin'", stderr)


class SectionTests(CommandTestCase):
    def test_valuesAreJSONOrText(self) -> None:
        self.call(
            "backend",
            "add",
            "share",
            "kind=local",
            "root=/mnt/share",
            "shared=true",
            "fileMode=0640",
            "deep.a=1",
            "deep.b=x",
        )
        share = self.document.backends["share"]
        self.assertEqual((share.kind, share.shared), ("local", True))
        self.assertEqual(dict(share.options), {"root": "/mnt/share", "fileMode": "0640", "deep": {"a": 1, "b": "x"}})
        self.call("backend", "set", "share", "fileMode=null", "deep.a=null")
        self.assertEqual(dict(self.document.backends["share"].options), {"root": "/mnt/share", "deep": {"b": "x"}})
        self.assertIn("share\tlocal\tyes", self.call("backend", "list").stdout)

    def test_administratorsAreManaged(self) -> None:
        self.call("admin", "add", "olivia", "--role", "users", "--password-stdin", stdin="secret")
        self.call("admin", "set", "olivia", "--role", "auditor")
        self.call("admin", "disable", "olivia")
        olivia = self.document.admins["olivia"]
        self.assertEqual((olivia.role.value, olivia.enabled, olivia.passwordHash != ""), ("auditor", False, True))
        self.call("admin", "remove", "olivia")
        for name in ("full", "users"):
            self.call("admin", "remove", name)
        self.assertIn("administrator", self.refused("admin", "remove", "admin"))

    def test_certificatesAndHostKeysComeFromFiles(self) -> None:
        chain, key, hostKey = self.file("chain", CHAIN), self.file("key", KEY), self.file("host", HOST_KEY)
        self.call("certificate", "add", "new", "--chain", chain, "--key", key)
        self.call("certificate", "set", "default", "--chain", chain, "--key", key)
        self.call("hostkey", "add", "new", "--key", hostKey)
        self.assertEqual(self.cluster.sealer.open(self.document.certificates["new"].key), KEY)
        self.assertEqual(self.cluster.sealer.open(self.document.hostKeys["new"].key), HOST_KEY)
        self.assertNotIn("PRIVATE", self.call("certificate", "show", "new").stdout)
        self.call("hostkey", "remove", "new")

    def test_nodesAreChangedAndRemoved(self) -> None:
        self.call("node", "set", "node-a", "listeners.ftp.port=21", "address=127.0.0.9")
        node = self.document.nodes["node-a"]
        self.assertEqual((node.address, node.listeners), ("127.0.0.9", {"ftp": {"port": 21}}))
        self.assertEqual(self.json("node", "show", "node-a")["status"]["state"], "primary")
        self.assertEqual(self.json("node", "list")[0]["name"], "node-a")
        self.assertIn("primary", self.refused("node", "remove", "node-a"))

    def test_drainShowsHowFarItIsAndWaits(self) -> None:
        told = {"state": "draining", "sessions": 2, "over": False, "ended": 0, "seconds": 20}
        self.cluster.node.answers += [told, {**told, "sessions": 1}, {**told, "sessions": 0, "over": True}]
        result = self.call("node", "drain", "--timeout", "20", "node-a")
        self.assertEqual(result.stdout, "node-a is drained\n")
        self.assertEqual(result.stderr, "node-a: 2 connections left, 20 s\nnode-a: 1 connections left, 20 s\n")
        arguments = [each[2] for each in self.cluster.node.performed]
        self.assertEqual(arguments, [{"seconds": 20}, {"wait": 1}, {"wait": 1}])
        self.cluster.node.answers += [{**told, "over": True, "ended": 2}]
        self.assertIn("2 connections had to be ended", self.refused("node", "drain", "node-a"))
        self.assertEqual(self.call("node", "resume", "node-a").stdout, "node-a goes on\n")

    def test_promotionSaysWhatMayBeMissing(self) -> None:
        told = {"promoted": "node-a", "epoch": 2, "revision": 9}
        sources = [{"name": "node-b", "from": 7, "to": 8}]
        forced = {**told, "caughtUpFrom": sources, "mayBeMissing": ["node-c does not answer"]}
        self.cluster.node.answers += [told, {**told, "already": True}, {**told, "acknowledged": False}, forced, forced]
        self.assertEqual(self.call("node", "promote", "node-a").stdout, "node-a is primary, epoch 2, revision 9\n")
        self.assertEqual(self.call("node", "promote", "node-a").stdout, "node-a is primary already, epoch 2\n")
        self.assertIn("not acknowledged", self.call("node", "promote", "node-a").stdout)
        output = self.call("node", "promote", "node-a", "--force").stdout
        self.assertIn("it took revisions 7 to 8 from node-b first\nnote: node-c does not answer\n", output)
        self.assertEqual(self.json("node", "promote", "node-a", "--force"), {"node": "node-a", **forced})
        asked = [(each[1], each[2]) for each in self.cluster.node.performed]
        self.assertEqual(asked, [("promote", {"force": force}) for force in (False, False, False, True, True)])

    def test_nodesArePausedAndResynced(self) -> None:
        place = {"revision": 8, "primaryRevision": 9, "sameHistory": False}
        self.cluster.node.answers += [{}, {"revision": 9}, {**place, "differences": ["removed users/x"]}]
        self.assertIn("until it is resumed", self.call("node", "pause", "node-a").stdout)
        self.assertIn("revision 9", self.call("node", "resync", "node-a").stdout)
        self.assertIn("removed users/x\n", self.call("node", "resync", "--dry-run", "node-a").stdout)
        asked = [(each[1], each[2]) for each in self.cluster.node.performed]
        self.assertEqual(asked, [("pause", {}), ("resync", {"dryRun": False}), ("resync", {"dryRun": True})])

    def test_branchesAreListedShownMadeAnewAndDiscarded(self) -> None:
        about = {"id": "1-9-ab", "changes": 1, "after": 8, "primary": "node-b", "kept": 0}
        entry = {"revision": 9, "time": 0, "author": "admin", "node": "node-a", "changed": ["added users/x\n    a: 1"]}
        part = {"name": "users/x", "state": "conflict", "details": ["added users/x"]}
        shown = {**about, "entries": [entry], "parts": [part]}
        done = {"revision": 12, "changed": ["users/x"]}
        self.cluster.node.answers += [{"branches": [about]}, shown, done, {"revision": 12, "changed": []}, {}]
        self.assertEqual(self.call("node", "branches").stdout, "1-9-ab\t1\t8\tnode-b\t1970-01-01T00:00:00Z\n")
        output = self.call("node", "branch", "show", "1-9-ab", "--node", "node-a").stdout
        self.assertIn("revision 9, 1970-01-01T00:00:00Z, admin on node-a:\n    added users/x\n        a: 1\n", output)
        self.assertIn("users/x: CONFLICT", output)
        apply = ("node", "branch", "apply", "1-9-ab")
        self.assertEqual(
            self.call(*apply, "--only", "users/x", "--overwrite").stdout, "made anew: users/x, revision 12\n"
        )
        self.assertIn("nothing to change", self.call(*apply).stdout)
        self.assertIn("discarded", self.call("node", "branch", "discard", "1-9-ab").stdout)
        asked = [(each[1], each[2]) for each in self.cluster.node.performed]
        self.assertEqual(asked[0], ("branches", {}))
        self.assertEqual(asked[1], ("branch", {"id": "1-9-ab"}))
        self.assertEqual(asked[2], ("applyBranch", {"only": ["users/x"], "overwrite": True, "id": "1-9-ab"}))
        self.assertEqual(asked[4], ("discardBranch", {"id": "1-9-ab"}))


class ClusterTests(CommandTestCase):
    def test_statusIsWhatTheNodeSays(self) -> None:
        self.assertEqual(self.json("status"), self.cluster.node.status())
        self.cluster.node.problems = ["port 21 is in use"]
        output = self.call("status").stdout
        self.assertIn("node node-a (primary)", output)
        self.assertIn("port 21 is in use", output)

    def test_tokenStandsAloneOnALine(self) -> None:
        output = self.call("node", "token", "node-b", "--expires", "60").stdout
        text = JoinTokenText.parse(output.removesuffix("\n"))
        self.assertEqual(self.document.tokens[text.tokenId].expires, self.cluster.clock.seconds() + 60)
        self.assertIn("token", self.json("node", "token", "node-c"))

    def test_waitNamesWhatIsMissing(self) -> None:
        self.cluster.node.problems = ["port 21 is in use"]
        self.assertIn("node-a: port 21 is in use", self.call("wait").stdout)
        self.cluster.node.pending = ["node-b"]
        result = self.call("wait", "--all", "--timeout", "0.05", "--json", code=1)
        self.assertEqual(json.loads(result.stdout)["pending"], ["node-b"])
        self.assertEqual(result.stderr, f"cftpctl: revision {self.document.revision} is not live on node-b\n")

    def test_applyTellsWhatItChanges(self) -> None:
        file = self.file("cluster.yaml", "users: [{name: alice}]\n")
        before = self.document
        self.assertIn("added users/alice", self.call("apply", file, "--dry-run").stdout)
        self.assertIs(self.document, before)
        self.assertEqual(self.json("apply", file)["revision"], before.revision + 1)
        self.assertIn("nothing to change", self.call("apply", file).stdout)
        self.call("apply", "-", "--prune", stdin="users: []")
        self.assertEqual(len(self.document.users), 0)

    def test_applyTellsAllProblems(self) -> None:
        file = self.file("bad.yaml", "users: [{name: a, groups: [g]}, {name: 'b c', enabled: yes please}]")
        stderr = self.call("apply", file, code=1).stderr
        for place in ("users[0].groups[0]: ", "users[1].enabled: ", "users[1].name: "):
            self.assertIn(place, stderr)
        self.assertTrue(stderr.startswith("cftpctl: nothing was changed: 3 problems\n"))

    def test_applyTellsAHundredProblemsAndHowManyMoreThereAre(self) -> None:
        file = self.file("bad.yaml", "users: [" + ", ".join(f"{{name: u{n}, groups: [g]}}" for n in range(123)) + "]")
        lines = self.call("apply", file, code=1).stderr.splitlines()
        self.assertEqual(lines[0], "cftpctl: nothing was changed: 123 problems")
        self.assertEqual(len(lines), 102)
        self.assertEqual(lines[-1].strip(), "... and 23 more")

    def test_missingFileIsOneLine(self) -> None:
        self.assertIn("No such file", self.refused("apply", str(self.folder / "nothing.yaml")))

    def test_haproxyPrintsAConfigurationAndWarnsBeside(self) -> None:
        result = self.call("haproxy", "--address", "192.0.2.10", "--relieve-primary", "--manager")
        self.assertIn("# Written by `cftpctl haproxy --address 192.0.2.10 --relieve-primary --manager`", result.stdout)
        self.assertIn("    bind 192.0.2.10:2121\n", result.stdout)
        self.assertIn("warning: clients that say PASV to listener ftp", result.stderr)
        answer = self.json("haproxy")
        self.assertEqual((len(answer["warnings"]), answer["configuration"][:1]), (2, "#"))

    def test_exportIsWhatApplyTakes(self) -> None:
        self.call("user", "add", "alice", "--password-stdin", stdin="secret")
        before = self.document
        for arguments in ((), ("--json",), ("--secrets",), ("--secrets", "--json")):
            text = self.call("export", *arguments).stdout
            self.assertIn("nothing to change", self.call("apply", "-", "--prune", stdin=text).stdout)
        self.assertIs(self.document, before)

    def test_unreachablePrimaryIsNamed(self) -> None:
        self.cluster.node.refusal = PrimaryUnreachable("the primary node-a cannot be reached; nothing was changed")
        self.assertIn("node-a", self.refused("user", "add", "alice"))


class WhereTests(CommandTestCase):
    def where(self, *arguments: str, **environment: str) -> Where:
        seen: list[Where] = []

        def make(where: Where) -> MemoryProgram:
            seen.append(where)
            return MemoryProgram(where, self.cluster)

        result = CliRunner(env=environment).invoke(cftpctl, [*arguments, "status"], obj=make)
        self.assertEqual(result.exit_code, 0, result.output)
        return seen[0]

    def test_stateFolderIsGivenOrTheDefault(self) -> None:
        self.assertEqual(self.where("--state-dir", "/x").socket, Path("/x/admin.sock"))
        self.assertEqual(self.where(CFTPCTL_STATE_DIR="/y").socket, Path("/y/admin.sock"))
        with mock.patch.object(os, "geteuid", lambda: 0):
            self.assertEqual(self.where().socket, Path("/var/lib/cftpcluster/admin.sock"))

    def test_remoteNodeIsGiven(self) -> None:
        options = (
            "--url",
            "https://node-a:8444",
            "--user",
            "admin",
            "--password-file",
            self.file("p", "secret\nmore\n"),
        )
        where = self.where(*options, "--fingerprint", "SHA256:" + ":".join(["AB"] * 32))
        self.assertEqual((where.password, where.fingerprint), (b"secret", "ab" * 32))
        self.assertNotIn("secret", repr(where))

    def test_firstLineOfAPasswordFileCounts(self) -> None:
        self.assertEqual(firstLine(self.file("p", b"pa ss\xff\r\nmore")), b"pa ss\xff")
