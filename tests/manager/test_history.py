"""The past over the API: who changed what, what differs, and going back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, evolve
from twisted.internet.defer import Deferred

from cftpcluster.config.changes import Batch, MergeSettings, Promote, Put
from cftpcluster.config.document import Document, Group, User
from cftpcluster.errors import ClusterError
from cftpcluster.journal.entry import Proposal
from cftpcluster.manager import Revisions
from cftpcluster.testing.administration import MemoryAdministration
from cftpcluster.vocabulary import Author

from .support import AdministrationTestCase, Cluster, basic

HUNTER_1, HUNTER_2 = ("$2b$12$" + "hunter" * 8 + number * 5 for number in "12")


class HistoryTestCase(AdministrationTestCase):
    def change(self, name: str, author: str, time: float, change: Any) -> int:
        """Append a change as somebody, at a time; answers with its revision."""
        results: list[Any] = []
        proposal = Proposal(change, {}, Author(author, "full", "192.0.2.9"), "node-a", name, time)
        self.cluster.node.journal.append(proposal).addCallback(results.append)
        return int(results[0].revision)

    def setUp(self) -> None:
        super().setUp()
        self.first = self.revision
        self.change("1", "ann", 100.0, Put("users", User(name="alice", passwordHash=HUNTER_1)))
        self.change("2", "bob", 200.0, Put("groups", Group(name="g")))
        self.change("3", "ann (token ci 0123)", 300.0, MergeSettings({"banSeconds": 5}))
        changed = User(name="alice", passwordHash=HUNTER_2, groups=("g",))
        self.change("4", "annabel", 400.0, Put("users", changed))


class HistoryTests(HistoryTestCase):
    def revisions(self, query: str = "") -> list[int]:
        return [one["revision"] - self.first for one in self.ask("GET", f"history{query}").json["items"]]

    def test_newestComesFirst(self) -> None:
        answer = self.ask("GET", "history?limit=2").json
        newest, before = answer["items"]
        self.assertEqual(
            newest,
            {
                "revision": self.first + 4,
                "epoch": 1,
                "time": 400.0,
                "author": "annabel",
                "address": "192.0.2.9",
                "node": "node-a",
                "objects": ["users/alice"],
                "removed": [],
                "count": 1,
                "promoted": None,
            },
        )
        self.assertEqual((before["objects"], answer["next"]), (["settings"], before["revision"]))

    def test_whatWasRemovedIsSaid(self) -> None:
        self.ask("DELETE", "users/alice")
        newest = self.ask("GET", "history?limit=1").json["items"][0]
        self.assertEqual((newest["objects"], newest["removed"]), (["users/alice"], ["users/alice"]))

    def test_pagesHoldEverythingOnce(self) -> None:
        found: list[int] = []
        after = ""
        while True:
            answer = self.ask("GET", f"history?limit=2{after}").json
            found += [one["revision"] for one in answer["items"]]
            if answer["next"] is None:
                break
            after = f"&after={answer['next']}"
        self.assertEqual(found, list(range(self.revision, 0, -1)))

    def test_filters(self) -> None:
        self.assertEqual(self.revisions("?object=users/alice"), [4, 1])
        self.assertEqual(self.revisions("?author=ann"), [3, 1])
        self.assertEqual(self.revisions("?author=annabel"), [4])
        self.assertEqual(self.revisions("?object=settings"), [3])
        self.assertEqual(self.revisions("?object=users&since=101"), [4])
        self.assertEqual(self.revisions("?since=1970-01-01T00:03:20Z&until=300"), [2])
        self.assertEqual(self.revisions("?object=nodes/none"), [])

    def test_promotionsAreTold(self) -> None:
        items = self.ask("GET", "history").json["items"]
        self.assertEqual(items[-1]["promoted"], "node-a")

    def test_longListsOfObjectsAreCut(self) -> None:
        users = tuple(Put("users", User(name=f"u{number:04}")) for number in range(1500))
        self.change("many", "ann", 500.0, Batch(users))
        newest = self.ask("GET", "history?limit=1").json["items"][0]
        self.assertEqual((len(newest["objects"]), newest["count"]), (20, 1500))
        self.assertEqual(self.revisions("?object=users/u1499"), [5])
        shown = self.ask("GET", f"history/{newest['revision']}?limit=10").json
        self.assertEqual((len(shown["differences"]), shown["total"], shown["next"]), (10, 1500, "users/u0009"))

    def test_nonsenseIsRefused(self) -> None:
        for query in (
            "?since=yesterday",
            "?since=2027-01-01T00:00:00",
            "?after=-1",
            "?limit=x",
            "?what=1",
            "?until=1e9",
        ):
            self.ask("GET", f"history{query}", status=400)
        for path in ("history/0", "history/x", "history/99999", "history/-1", "history/9" + "9" * 40):
            self.ask("GET", path, status=404)


class DifferenceTests(HistoryTestCase):
    def test_forPeopleAndForPrograms(self) -> None:
        answer = self.ask("GET", f"diff?from={self.first + 1}&to={self.first + 4}").json
        self.assertEqual([one["text"].split("\n")[0] for one in answer["differences"]],
                         ["changed settings", "added groups/g", "changed users/alice"])  # fmt: skip
        self.assertEqual(answer["differences"][0]["keys"], [{"key": "banSeconds", "before": 3600, "after": 5}])
        self.assertEqual(
            answer["differences"][2]["keys"], [{"key": "groups", "after": ["g"]}, {"key": "password", "hidden": True}]
        )

    def test_oneRevision(self) -> None:
        answer = self.ask("GET", f"history/{self.first + 4}").json
        self.assertEqual((answer["author"], answer["total"]), ("annabel", 1))
        self.assertIn('groups: ["g"]', answer["differences"][0]["text"])

    def test_backwardsAndToThePresent(self) -> None:
        answer = self.ask("GET", f"diff?from={self.first + 4}&to={self.first + 1}").json
        self.assertEqual(answer["differences"][1]["action"], "removed")
        answer = self.ask("GET", f"diff?from={self.revision}").json
        self.assertEqual((answer["differences"], answer["to"]), ([], self.revision))

    def test_secretsAreNeverShown(self) -> None:
        for path in (f"diff?from=0&to={self.revision}", f"history/{self.first + 4}", f"history/{self.first}"):
            body = self.ask("GET", path).body
            for secret in (b"hunter", b"sealed", b"PRIVATE KEY", b"argon2"):
                self.assertNotIn(secret, body)

    def test_pageByPage(self) -> None:
        query = f"diff?from={self.first}&limit=2"
        answer = self.ask("GET", query).json
        self.assertEqual((answer["total"], answer["next"]), (3, "groups/g"))
        answer = self.ask("GET", f"{query}&after=groups/g").json
        self.assertEqual(([one["name"] for one in answer["differences"]], answer["next"]), (["alice"], None))
        self.ask("GET", f"{query}&after=users/ghost", status=409)

    def test_nonsenseIsRefused(self) -> None:
        for query in ("", "?to=1", "?from=x", "?from=1&from=2", "?from=1&what"):
            self.ask("GET", f"diff{query}", status=400)
        self.ask("GET", "diff?from=1&to=99999", status=404)

    def test_whatIsTooOldIsGone(self) -> None:
        self.change("5", "ann", 1.0, MergeSettings({"historyRevisions": 2}))
        oldest = self.revision - 2
        self.assertIn(f"the oldest is {oldest}", self.ask("GET", f"diff?from={oldest - 1}", status=410).json["detail"])
        self.ask("GET", f"diff?from={oldest}")
        self.ask("POST", "rollback", {"revision": oldest - 1}, status=410)
        self.assertEqual(self.ask("GET", "history").json["oldest"], oldest)
        self.cluster.node.journal.compact(1)
        self.ask("GET", f"diff?from={oldest}", status=410)


class RollbackTests(HistoryTestCase):
    def test_oneNewRevision(self) -> None:
        before = self.revision
        answer = self.ask("POST", "rollback", {"revision": self.first + 1}).json
        self.assertEqual((answer["revision"], answer["live"]), (before + 1, ["node-a"]))
        self.assertEqual([one.split("\n")[0] for one in answer["changed"]],
                         ["changed settings", "removed groups/g", "changed users/alice"])  # fmt: skip
        self.assertEqual(answer["kept"], ["users/alice keeps its password"])
        document: Document = self.cluster.document
        self.assertEqual((document.settings.banSeconds, "g" in document.groups), (3600, False))
        self.assertEqual((document.users["alice"].groups, document.users["alice"].passwordHash), ((), HUNTER_2))

    def test_dryRunChangesNothing(self) -> None:
        before = self.revision
        answer = self.ask("POST", "rollback?dryRun", {"revision": self.first}).json
        self.assertEqual((self.revision, answer["revision"], len(answer["changed"])), (before, before, 3))

    def test_presentRevisionIsNoChange(self) -> None:
        before = self.revision
        self.assertEqual(self.ask("POST", "rollback", {"revision": before}).json["changed"], [])
        self.assertEqual(self.revision, before)

    def test_oneObjectAlone(self) -> None:
        self.ask("POST", "rollback", {"revision": self.first + 1, "only": ["users/alice"]})
        self.assertEqual(self.cluster.document.users["alice"].groups, ())
        self.assertIn("g", self.cluster.document.groups)

    def test_whatWouldNotBeValidIsRefused(self) -> None:
        self.change("5", "ann", 1.0, Put("users", User(name="alice")))
        later = self.revision
        self.ask("DELETE", "groups/g")
        # The user would be in a group again that is not there any more.
        answer = self.ask("POST", "rollback?dryRun", {"revision": later - 1, "only": ["users/alice"]}, status=422)
        self.assertIn("g", answer.json["errors"][0]["message"])
        self.ask("POST", "rollback", {"revision": later - 1, "only": ["users/alice"]}, status=422)

    def test_repeatedRequestIsDoneOnce(self) -> None:
        for _ in range(2):
            self.ask("POST", "rollback", {"revision": self.first + 1}, Idempotency_Key="k")
        self.assertEqual(self.revision, self.first + 5)

    def test_nonsenseIsRefused(self) -> None:
        for body in ({}, {"revision": "1"}, {"revision": -1}, {"revision": True}, {"revision": 1, "only": "users"},
                     {"revision": 1, "only": [1]}, {"revision": 1, "what": 1}, {"revision": 1, "only": ["nodes"]},
                     {"revision": 1.5}):  # fmt: skip
            self.ask("POST", "rollback", body, status=422)
        self.ask("POST", "rollback", {"revision": 99999}, status=404)

    def test_rightsAreThoseForWhatChanges(self) -> None:
        body = {"revision": self.first + 1}
        before = self.revision
        self.rollbackAs("auditor", body, 403)
        self.rollbackAs("users", body, 403)
        self.assertEqual(self.revision, before)
        self.rollbackAs("users", {**body, "only": ["users", "groups"]}, 200)
        self.rollbackAs("full", body, 200)
        self.assertEqual(self.cluster.document.settings.banSeconds, 3600)

    def rollbackAs(self, name: str, body: Any, status: int) -> None:
        self.client = self.cluster.connect()
        self.ask("POST", "rollback", body, status=status, Authorization=basic(name))


@define(eq=False)
class Secondary(MemoryAdministration):
    """A node whose primary is another one."""

    others: Any = None

    def status(self) -> Mapping[str, Any]:
        return {**super().status(), "node": "node-b", "role": "secondary"}

    def perform(
        self, node: str, action: str, arguments: Mapping[str, Any], author: Author
    ) -> Deferred[Mapping[str, Any]]:
        self.performed.append((node, action, arguments, author))
        asked: Deferred[Mapping[str, Any]] = self.others(arguments)
        return asked


class ShorterJournalTests(HistoryTestCase):
    """A node that joined by a snapshot has the primary tell what was before."""

    def setUp(self) -> None:
        super().setUp()
        self.here = Cluster()
        self.here.node = Secondary()
        snapshots: list[Any] = []
        self.cluster.node.journal.snapshot().addCallback(snapshots.append)
        self.here.node.journal.restore(snapshots[0])
        primary = self.cluster.administration.revisions
        self.here.node.others = primary.action
        self.revisions = self.here.administration.revisions
        self.primary, self.client = primary, self.here.connectSocket()

    def asked(self, question: Any) -> Any:
        results: list[Any] = []
        self.revisions.action(question).addBoth(results.append)
        return results[0]

    def test_everyQuestionIsAnswered(self) -> None:
        self.assertEqual(len(self.ask("GET", "history?limit=4").json["items"]), 4)
        self.assertEqual(self.ask("GET", f"history/{self.first + 2}").json["author"], "bob")
        self.assertEqual(self.ask("GET", f"diff?from={self.first}").json["total"], 3)
        self.assertEqual({(node, action) for node, action, *_ in self.here.node.performed}, {("node-a", "history")})

    def test_goesBackThere(self) -> None:
        answer = self.ask("POST", "rollback", {"revision": self.first + 1, "only": ["settings"]}).json
        self.assertEqual(answer["revision"], self.first + 5)
        self.assertEqual(self.cluster.document.settings.banSeconds, 3600)
        _, _, author, _ = self.cluster.node.proposals[-1]
        self.assertEqual((author.role, author.address), ("full", "socket"))

    def test_whatIsHereIsAnsweredHere(self) -> None:
        self.here.node.change(Put("users", evolve(self.here.document.users["alice"], enabled=False)))
        self.assertEqual(len(self.ask("GET", "history?limit=1").json["items"]), 1)
        self.assertEqual(self.ask("GET", f"diff?from={self.first + 4}").json["total"], 1)
        self.assertEqual(self.here.node.performed, [])

    def test_onlyQuestionsAreAnswered(self) -> None:
        for question in (
            {}, {"ask": "page"}, {"ask": "other", "said": {}}, {"ask": ["page"], "said": {}},
            {"ask": "entry", "said": {"revision": "1", "after": None, "limit": 1}},
            {"ask": "entry", "said": {"revision": 1, "after": None}},
        ):  # fmt: skip
            self.assertTrue(self.asked(question).check(ClusterError), question)

    def test_thePrimaryAsksNobody(self) -> None:
        self.assertIsInstance(self.primary, Revisions)
        self.cluster.node.change(Promote(2, "node-a", "test"))
        self.cluster.node.journal.compact(1)
        client, self.client = self.client, self.cluster.connectSocket()
        self.ask("GET", f"diff?from={self.first}", status=410)
        self.client = client
