"""The cluster in the words of ``cftpctl status``."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster import __version__
from cftpcluster.config.changes import Put
from cftpcluster.config.document import Admin, Backend, Document, Group, Mount, Node, Settings, User
from cftpcluster.status import MOST_NAMED, initialPasswords, newerParts, unsharedBackends
from cftpcluster.testing.auth import documentWith

from .nodesupport import ClusterCase, MemoryNode

KEYS = {"node", "role", "primary", "epoch", "revision", "chainHash", "warnings", "nodes"}
ROW_KEYS = {"name", "role", "state", "revision", "chainHash", "lagSeconds", "version", "address", "problems"}


class ClusterStatusTests(ClusterCase):
    def states(self, node: MemoryNode) -> dict[str, str]:
        """The states of all nodes, as that node says."""
        return {row["name"]: row["state"] for row in node.status()["nodes"]}

    def test_hasTheWordsOfTheContract(self) -> None:
        for node in (self.a, self.b):
            status = node.status()
            self.assertEqual(status.keys(), KEYS)
            for row in status["nodes"]:
                self.assertLessEqual(ROW_KEYS, row.keys())
                self.assertIsInstance(row["problems"], list)
                self.assertIsInstance(row["lagSeconds"], float)
            self.assertEqual(json.loads(json.dumps(status)), status)

    def test_saysWhoItIsAndWhoIsPrimary(self) -> None:
        for node, role in ((self.a, "primary"), (self.b, "secondary")):
            status = node.status()
            self.assertEqual((status["node"], status["role"], status["primary"]), (node.name, role, "a"))
            self.assertEqual((status["epoch"], status["revision"]), (1, self.a.head.revision))
            self.assertEqual(status["chainHash"], self.a.head.chainHash.hex())
            self.assertEqual(status["warnings"], [])

    def test_everyNodeShowsTheSameRows(self) -> None:
        rows = self.a.status()["nodes"]
        self.assertEqual([row["name"] for row in rows], ["a", "b", "c"])
        self.assertEqual([row["role"] for row in rows], ["primary", "secondary", "secondary"])
        self.assertEqual([row["state"] for row in rows], ["primary", "following", "following"])
        self.assertEqual([row["address"] for row in rows], ["127.0.0.1", "127.0.0.2", "127.0.0.3"])
        self.assertEqual({row["version"] for row in rows}, {__version__})
        self.assertEqual({row["revision"] for row in rows}, {self.a.head.revision})
        for node in (self.b, self.c):
            self.assertEqual(node.status()["nodes"], rows)

    def test_problemsReachEveryNode(self) -> None:
        self.b.problems = ("listeners/ftp: port 2121 is in use",)
        self.b.changed()
        self.cluster.advance(6)
        for node in (self.a, self.b, self.c):
            self.assertEqual(node.row("b")["problems"], ["listeners/ftp: port 2121 is in use"])
            self.assertEqual(node.row("c")["problems"], [])

    def test_remarksAreWarningsOfTheNodeThatMakesThem(self) -> None:
        self.a.remarks = ("backend files is not shared",)
        self.assertEqual(self.a.status()["warnings"], ["backend files is not shared"])
        self.assertEqual(self.b.status()["warnings"], [])

    def test_nodesThatDrainOrPauseSayIt(self) -> None:
        self.b.draining = self.a.draining = True
        self.a.changed()
        self.b.changed()
        self.c.peering.follower.pause()
        self.cluster.advance(6)
        for node in (self.a, self.b):
            self.assertEqual(self.states(node), {"a": "draining", "b": "draining", "c": "paused"})
        (warning,) = self.c.status()["warnings"]
        self.assertEqual(warning, "paused: not following the primary, a")

    def test_nodeThatIsGoneIsDisconnectedAndLags(self) -> None:
        self.cluster.cut("c")
        self.a.change(Put("users", User(name="alice")))
        self.cluster.advance(20)
        for node in (self.a, self.b):
            row = node.row("c")
            self.assertEqual((row["state"], row["revision"]), ("disconnected", self.a.head.revision - 1))
            self.assertGreater(row["lagSeconds"], 10)
            self.assertEqual(node.row("b")["lagSeconds"], 0.0)

    def test_secondaryWithoutALinkKnowsOfNobody(self) -> None:
        self.cluster.cut("b")
        self.a.change(Put("users", User(name="alice")))
        self.cluster.advance(2)
        self.assertEqual(self.states(self.b), {"a": "disconnected", "b": "disconnected", "c": "disconnected"})
        row = self.b.row("c")
        self.assertEqual((row["revision"], row["version"]), (self.b.head.revision, __version__))
        (warning,) = self.b.status()["warnings"]
        self.assertEqual(warning, "disconnected: not following the primary, a")
        (problem,) = self.b.row("b")["problems"]
        self.assertIn("connection refused", problem)
        self.assertEqual(self.b.status()["role"], "secondary")

    def test_withoutThePrimaryNodesSayThemselvesHowTheyAre(self) -> None:
        self.cluster.advance(3)
        self.cluster.cut("a")
        self.c.problems = ("listeners/ftp: port 2121 is in use",)
        self.c.changed()
        self.cluster.advance(2)
        row = self.b.row("c")
        self.assertEqual((row["state"], row["live"]), ("disconnected", self.c.live))
        self.assertIn("listeners/ftp: port 2121 is in use", row["problems"])
        self.c.draining = True
        self.c.changed()
        self.cluster.advance(2)
        self.assertEqual(self.states(self.b), {"a": "disconnected", "b": "disconnected", "c": "draining"})
        self.cluster.cut("c")
        self.assertEqual(self.b.row("c")["state"], "disconnected")

    def test_nonsenseOfAnotherNodeIsNotShown(self) -> None:
        self.cluster.advance(3)
        self.cluster.cut("a")
        self.c.peering.rows.put("nodes", "c", {"state": 7, "live": "x", "problems": {}, "name": "b", "more": 1}, 60)
        self.cluster.advance(0.2)
        row = self.b.row("c")
        self.assertEqual((row["name"], row["state"], type(row["live"])), ("c", "disconnected", int))
        self.assertNotIn("more", row)

    def test_manyProblemsFitIntoARow(self) -> None:
        self.b.problems = tuple("\u20ac" * 300 for _ in range(40))
        self.b.changed()
        self.cluster.advance(6)
        (row,) = self.c.peering.rows.get("nodes", "b")
        self.assertEqual(len(row.value["problems"]), 1)

    def test_nodeWithoutConfigurationShowsItself(self) -> None:
        self.cluster.cut("a")
        late = self.cluster.join("d", "127.0.0.4", self.a)
        status = late.status()
        self.assertEqual((status["primary"], status["epoch"], status["revision"]), ("", 0, 0))
        (row,) = status["nodes"]
        self.assertEqual((row["name"], row["state"], row["address"]), ("d", "disconnected", "127.0.0.4"))
        self.assertIn("unknown", status["warnings"][0])

    def test_documentsAddressIsStronger(self) -> None:
        self.a.change(Put("nodes", Node(name="b", address="192.0.2.2", fingerprint="")))
        self.b.address = "127.0.0.9"
        self.assertEqual(self.a.row("b")["address"], "192.0.2.2")

    def test_nonsenseOfThePrimaryIsNotShown(self) -> None:
        for nonsense in (None, 7, "nodes", [None, 7, {}, {"name": ["c"]}, {"name": "nobody"}]):
            self.b.peering.clusterStatus = {"nodes": nonsense}
            rows = {row["name"]: row for row in self.b.status()["nodes"]}
            self.assertEqual(list(rows), ["a", "b", "c"])
            self.assertEqual((rows["c"]["state"], rows["c"]["revision"]), ("disconnected", 0))


class ReportTests(ClusterCase):
    def test_saysWhatThePrimaryCannotSee(self) -> None:
        self.b.problems = ("one", "two")
        report = self.b.ownStatus().report()
        self.assertEqual(report, {"live": self.b.live, "problems": ["one", "two"], "version": __version__})

    def test_ownStateIsSaidOnlyWhereItIsStronger(self) -> None:
        self.b.draining = True
        self.assertEqual(self.b.ownStatus().report()["state"], "draining")


class InitialPasswordTests(SynchronousTestCase):
    def test_isToldOfWhoeverStillHasIt(self) -> None:
        admins = [Admin(name="admin", initialPassword=True), Admin(name="bob")]
        self.assertEqual(
            initialPasswords(documentWith(admins=admins)), ["administrator admin still has the initial password"]
        )


class UnsharedBackendsTests(SynchronousTestCase):
    def warnings(self, *, nodes: int = 2, **attributes: Any) -> list[str]:
        """Of a cluster whose only user, or group, has a mount on backend ``files``."""
        mounts = (Mount(path="/", backend="files"),)
        return unsharedBackends(
            documentWith(
                User(name="alice", mounts=attributes.pop("userMounts", mounts)),
                groups=[Group(name="partners", mounts=attributes.pop("groupMounts", ()))],
                nodes=[Node(name=f"n{number}", address="127.0.0.1") for number in range(nodes)],
                backends=[
                    Backend(name="files", kind="local", **attributes),
                    Backend(name="unused", kind="local"),
                ],
            )
        )

    def test_oneThatUsersReachDiffersByNode(self) -> None:
        (warning,) = self.warnings(nodes=3)
        self.assertEqual(warning, "backend files is not shared between the 3 nodes: its files differ by node")

    def test_groupsMountsCountToo(self) -> None:
        mounts = (Mount(path="/in", backend="files"),)
        self.assertEqual(len(self.warnings(userMounts=(), groupMounts=mounts)), 1)

    def test_sharedOrUnusedOnesAreFine(self) -> None:
        self.assertEqual(self.warnings(shared=True), [])
        self.assertEqual(self.warnings(userMounts=()), [])

    def test_aloneEverythingIsFine(self) -> None:
        self.assertEqual(self.warnings(nodes=1), [])


class NewerPartsTests(SynchronousTestCase):
    def test_whatThisVersionDoesNotKnowIsNamed(self) -> None:
        self.assertEqual(newerParts(Document()), [])
        document = evolve(
            documentWith(User(name="alice", extra={"shoeSize": 40}), User(name="bob")),
            settings=Settings(extra={"futureSeconds": 5}),
            extra={"annex": {}},
        )
        self.assertEqual(
            newerParts(document),
            [
                f"{one}, which this version does not know"
                for one in ("a part 'annex'", "settings: key 'futureSeconds'", "users/alice: key 'shoeSize'")
            ],
        )

    def test_ofVeryManyAFewAreNamedAndTheOthersCounted(self) -> None:
        document = documentWith(*(User(name=f"user{number}", extra={"shoeSize": 40}) for number in range(100)))
        found = newerParts(document)
        self.assertEqual(len(found), MOST_NAMED + 1)
        self.assertIn(f"{100 - MOST_NAMED} more such keys", found[-1])
