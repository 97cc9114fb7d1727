"""Whole documents, status, waiting and join tokens over the API."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen

from cftpcluster.cluster.authority import makeServiceCertificate
from cftpcluster.cluster.tokens import JoinTokenText
from cftpcluster.config.changes import Batch, Put
from cftpcluster.config.document import Node, User
from cftpcluster.haproxy import Balancer, haproxyConfiguration

from .support import CHAIN, AdministrationTestCase


@frozen(kw_only=True)
class LocalOptions:
    root: str = ""
    mode: str = ""


@frozen(kw_only=True)
class NoOptions:
    implicit: bool = False


KINDS = {
    "backends": {"local": LocalOptions},
    "listeners": dict.fromkeys(("ftp", "sftp", "web", "manager", "cluster", "health"), NoOptions),
    "checkers": {"users": NoOptions},
    "observers": {"log": NoOptions},
}

FIVE_ERRORS = """
users:
- {name: good, mounts: [{path: /, backend: fils}]}
- {name: 'bad name', enabled: yes please}
- {name: other, groups: [nobodies]}
listeners:
- {name: sftp, kind: sftp, port: 99999}
"""


class ApplyTests(AdministrationTestCase):
    kinds: Any = KINDS

    def apply(self, text: str | dict[str, Any], query: str = "", status: int = 200) -> Any:
        body = (text if isinstance(text, str) else json.dumps(text)).encode()
        return self.ask("POST", f"apply{query}", body=body, status=status).json

    def errors(self, text: str | dict[str, Any]) -> dict[str, str]:
        before = self.cluster.document
        answer = self.apply(text, status=422)
        self.assertIs(self.cluster.document, before)
        self.assertEqual(self.cluster.node.proposals, [])
        return {error["path"]: error["message"] for error in answer["errors"]}

    def test_allErrorsAreToldTogetherAndNothingChanges(self) -> None:
        errors = self.errors(FIVE_ERRORS)
        self.assertEqual(
            [*errors],
            [
                "users[0].mounts[0].backend",
                "users[1].enabled",
                "users[1].name",
                "users[2].groups[0]",
                "listeners[0].port",
            ],
        )
        self.assertIn('no backend named "fils"', errors["users[0].mounts[0].backend"])

    def test_errorsAfterUnreadableObjectsKeepTheirPlaces(self) -> None:
        errors = self.errors("users: [5, {nam: x}, {name: a, colour: red}, {name: b, groups: [g]}, {name: b}]")
        self.assertEqual(
            {*errors}, {"users[0]", "users[1]", "users[1].name", "users[2]", "users[3].groups[0]", "users[4].name"}
        )

    def test_errorsOfOptionsAndMissingKeysAreTold(self) -> None:
        errors = self.errors(
            "settings: {drainSeconds: soon}\n"
            "backends: [{name: x, kind: local, rot: /}]\n"
            "certificates: [{name: new, chain: nonsense}]\n"
            "nodes: [{name: node-z, address: 127.0.0.9}]\n"
        )
        self.assertEqual({*errors}, {"settings.drainSeconds", "backends[0]", "certificates[0].key", "nodes[0]"})
        self.assertIn("root", errors["backends[0]"])

    def test_keysThatCannotServeAreToldWithTheRest(self) -> None:
        other = makeServiceCertificate(["localhost"], 1e9)[1].decode()
        errors = self.errors(
            {
                "users": [{"name": "a", "groups": ["g"]}],
                "certificates": [{"name": "default", "chain": CHAIN.decode(), "key": {"secret": other}}],
                "hostKeys": [{"name": "x", "key": {"secret": "nonsense"}}],
            }
        )
        self.assertEqual({*errors}, {"users[0].groups[0]", "certificates[0].key", "hostKeys[0].key"})

    def test_textThatIsNoDocumentIsToldWithItsPlace(self) -> None:
        self.assertIn("line 2, column 1", next(iter(self.errors("users: [\n}"))))
        self.errors("just text")
        self.errors("{" * 1000)
        self.errors("users: !!python/object:os.system {}")

    def test_passwordsAreNotHashedForNothing(self) -> None:
        self.errors({"users": [{"name": "a", "password": "x", "groups": ["nobodies"]}]})
        self.assertEqual(self.cluster.hashed, [])

    def test_sameDocumentTwiceMakesNoRevision(self) -> None:
        document = {
            "settings": {"drainSeconds": 60},
            "groups": [{"name": "partners", "mounts": [{"path": "/in", "backend": "files", "permissions": ["list"]}]}],
            "users": [{"name": "alice", "password": "correct horse", "groups": ["partners"]}],
        }
        first = self.apply(document)
        self.assertEqual(first["revision"], self.revision)
        self.assertEqual([line.split("\n")[0] for line in first["changed"]], [
            "changed settings", "added groups/partners", "added users/alice",
        ])  # fmt: skip
        again = self.apply(document)
        self.assertEqual((again["revision"], again["changed"]), (first["revision"], []))
        document["users"][0]["password"] = "another"
        self.assertEqual(self.apply(document)["revision"], first["revision"] + 1)

    def test_dryRunSaysAndChangesNothing(self) -> None:
        before = self.cluster.document
        answer = self.apply("users: [{name: alice, password: secret}]", "?dryRun=true")
        self.assertIs(self.cluster.document, before)
        self.assertEqual((answer["revision"], len(answer["changed"])), (before.revision, 1))
        self.assertNotIn("secret", answer["changed"][0])

    def test_pruneRemovesWhatIsAbsent(self) -> None:
        for name in ("alice", "bob"):
            self.cluster.node.change(Put("users", User(name=name)))
        self.apply("users: [{name: alice}]")
        self.assertEqual({*self.cluster.document.users}, {"alice", "bob"})
        answer = self.apply("users: [{name: alice}]", "?prune")
        self.assertEqual(answer["changed"], ["removed users/bob"])
        self.apply("{users: [], certificates: [], hostKeys: [], admins: []}", "?prune=true")
        document = self.cluster.document
        self.assertEqual((len(document.users), len(document.certificates), len(document.hostKeys)), (0, 1, 1))
        self.assertEqual([admin.role.value for admin in document.admins.values()], ["full"])

    def test_pruneOfSomethingInUseIsRefused(self) -> None:
        self.apply("groups: [{name: g, mounts: [{path: /, backend: files}]}]")
        answer = self.apply("backends: []", "?prune", status=422)
        self.assertIn("group g", answer["errors"][0]["message"])

    def test_exportIsWhatApplyTakes(self) -> None:
        self.apply("users: [{name: alice, password: secret, publicKeys: []}]")
        before = self.cluster.document
        for query in ("", "?secrets=true"):
            exported = self.ask("GET", f"export{query}")
            self.apply(exported.json)
            self.assertIs(self.cluster.document, before)
        self.assertIn(b"PRIVATE KEY", self.ask("GET", "export?secrets=1").body)

    def test_passwordThatAnotherSetsMeanwhileIsNotUndone(self) -> None:
        self.apply("users: [{name: alice, password: secret}]")
        newer = self.cluster.hashOf("newer")

        def another() -> None:
            self.cluster.node.beforeAppend = lambda: None
            self.cluster.node.change(Put("users", User(name="alice", passwordHash=newer)))

        self.cluster.node.beforeAppend = another
        self.client.request("POST", "/api/v1/apply", b"users: [{name: alice, enabled: false}]")
        self.cluster.clock.advance(1)
        self.assertEqual(self.client.answers()[0].status, 200)
        alice = self.cluster.document.users["alice"]
        self.assertEqual((alice.enabled, alice.passwordHash), (False, newer))

    def test_manyUsersMakeOneRevision(self) -> None:
        document = {"users": [{"name": f"user{number}", "password": "same"} for number in range(1500)]}
        before = self.revision
        answer = self.apply(document)
        self.assertEqual((answer["revision"], len(self.cluster.document.users)), (before + 1, 1500))
        self.assertEqual(answer["changed"][0], "added users/user0")

    def test_repeatIsDoneOnce(self) -> None:
        def ask() -> Any:
            return self.ask("POST", "apply", body=b"users: [{name: alice}]", Idempotency_Key="k").json["revision"]

        first = ask()
        self.cluster.node.change(Put("users", User(name="alice", enabled=False)))
        self.assertEqual(ask(), first)
        self.assertFalse(self.cluster.document.users["alice"].enabled)


class SlowReaderTests(AdministrationTestCase):
    def setUp(self) -> None:
        super().setUp()
        users = (Put("users", User(name=f"user{number:05}")) for number in range(8000))
        self.cluster.node.change(Batch(tuple(users)))
        self.transport = self.client.transport
        write = self.transport.write

        def fullAtOnce(data: bytes) -> None:
            write(data)
            self.client.protocol.pauseProducing()

        self.transport.write = fullAtOnce

    def test_exportIsHandedOverAsItIsRead(self) -> None:
        self.client.request("GET", "/api/v1/export")
        first = len(self.transport.value())
        self.assertLess(first, 100_000)
        while not self.transport.value().endswith(b"]}\n"):
            self.cluster.clock.advance(50)
            self.client.protocol.resumeProducing()
        self.assertEqual(len(self.client.answers()[0].json["users"]), 8000)
        self.ask("GET", "status")

    def test_readerThatLeavesEndsIt(self) -> None:
        self.client.request("GET", "/api/v1/export")
        self.client.lose()
        self.assertEqual(self.cluster.clock.getDelayedCalls(), [])

    def test_readerThatReadsNothingIsCutOff(self) -> None:
        self.client.request("GET", "/api/v1/export")
        self.cluster.clock.advance(61)
        self.assertTrue(self.client.closed)


class ClusterTests(AdministrationTestCase):
    def test_statusIsTheNodes(self) -> None:
        self.assertEqual(self.ask("GET", "status").json, self.cluster.node.status())

    def test_waitNamesWhoIsLiveAndWhoHasProblems(self) -> None:
        self.cluster.node.problems = ["port 21 is in use"]
        answer = self.ask("GET", "wait").json
        self.assertEqual(
            answer,
            {
                "revision": self.revision,
                "live": ["node-a"],
                "pending": [],
                "problems": {"node-a": ["port 21 is in use"]},
            },
        )
        answer = self.ask("GET", f"wait?revision={self.revision + 1}&all=true&seconds=0.5").json
        self.assertEqual((answer["live"], answer["pending"]), ([], ["node-a"]))

    def test_tokenIsKnownToTheCluster(self) -> None:
        answer = self.ask("POST", "tokens/join", {"name": "node-b", "expiresSeconds": 60}, status=201).json
        text = JoinTokenText.parse(answer["token"])
        stored = self.cluster.document.tokens[text.tokenId]
        self.assertEqual((stored.node, stored.expires), ("node-b", self.cluster.clock.seconds() + 60))

    def test_badTokenRequestsAreRefused(self) -> None:
        for body in (
            {},
            {"name": "bad name"},
            {"name": "b", "expiresSeconds": 0},
            {"name": "b", "expiresSeconds": True},
            {"name": "b", "expiresSeconds": "1"},
            {"name": "b", "x": 1},
            {"name": 5},
        ):
            self.ask("POST", "tokens/join", body, status=422)
        self.assertEqual(len(self.cluster.document.tokens), 0)


class BalancerTests(AdministrationTestCase):
    kinds: Any = KINDS

    def test_configurationIsOfTheDocumentAndWhatIsSaid(self) -> None:
        self.cluster.node.change(Put("nodes", Node(name="node-b", address="192.0.2.2", number=2)))
        query = "address=192.0.2.10,192.0.2.11&source=192.0.2.12&relievePrimary&manager=true"
        answer = self.ask("GET", f"haproxy?{query}").json
        said = Balancer(addresses=("192.0.2.10", "192.0.2.11"), source="192.0.2.12", relievePrimary=True, manager=True)
        written = haproxyConfiguration(self.cluster.document, said)
        self.assertEqual(answer, {"configuration": written.text, "warnings": list(written.warnings)})
        self.assertIn("# HAProxy", written.text)

    def test_whatIsNoAddressIsRefused(self) -> None:
        answer = self.ask("GET", "haproxy?address=here", status=422).json
        self.assertEqual([error["path"] for error in answer["errors"]], ["address"])
        self.ask("GET", "haproxy?relief", status=400)
