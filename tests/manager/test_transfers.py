"""Transfers under way, over the REST API."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from cftpcluster.config.changes import Put
from cftpcluster.config.document import Node
from cftpcluster.errors import ClusterError
from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.policy import Observed
from cftpcluster.manager.happened import ANSWER_SECONDS
from cftpcluster.testing.auth import originOf
from cftpcluster.vocabulary import OpenMode

from .support import AdministrationTestCase


def transfer(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"node-b-{number}",
        "node": "node-b",
        "user": "bob",
        "protocol": "ftp",
        "address": "192.0.2.9",
        "session": "0123456789abcdef",
        "direction": "download",
        "path": f"/{number}",
        "bytes": 5,
        "size": None,
        "bytesPerSecond": 1,
        "since": 900_000.0 + number,
        **more,
    }


class TransfersTests(AdministrationTestCase):
    def begin(self, name: str, user: str = "alice") -> None:
        inner = MemoryBackend(Clock(), 1000).fileSystem("", user, True)
        told: list[Any] = []
        files = Observed(inner, user, originOf(), told.append, self.cluster.clock, traffic=self.cluster.traffic)
        self.successResultOf(files.open((name,), OpenMode.replace))
        self.cluster.clock.advance(1)

    def addNode(self, *items: dict[str, Any], total: int | None = None) -> None:
        self.cluster.node.change(Put("nodes", Node(name="node-b", address="127.0.0.3")))
        self.cluster.node.answers.append({"items": list(items), "total": len(items) if total is None else total})

    def test_nodesAreMergedTheOldestFirst(self) -> None:
        self.begin("a")
        self.addNode(transfer(1), transfer(2, since=2_000_000.0, later="something of a later version"))
        page = self.ask("GET", "transfers").json
        self.assertEqual([one["path"] for one in page["items"]], ["/1", "/a", "/2"])
        self.assertEqual((page["next"], page["total"], page["unanswered"]), (None, 3, []))
        (node, action, arguments, author) = self.cluster.node.performed[-1]
        self.assertEqual((node, action, author.name), ("node-b", "transfers", "system"))
        self.assertEqual(arguments["wanted"], {"user": "", "search": "", "after": "", "limit": 100})

    def test_pagesHoldEverythingOnce(self) -> None:
        self.begin("a")
        self.addNode(transfer(1), transfer(2), total=3)
        first = self.ask("GET", "transfers?limit=2").json
        self.assertEqual([one["path"] for one in first["items"]], ["/1", "/2"])
        self.assertEqual(first["total"], 4)
        self.cluster.node.answers.append({"items": [transfer(3)], "total": 3})
        rest = self.ask("GET", f"transfers?limit=2&after={first['next']}").json
        self.assertEqual([one["path"] for one in rest["items"]], ["/3", "/a"])
        self.assertIsNone(rest["next"])

    def test_questionsAreHandedOn(self) -> None:
        self.begin("a")
        self.begin("b", "bob")
        for query, paths in (("user=bob", ["/b"]), ("search=A", ["/a"]), ("node=node-a", ["/a", "/b"])):
            self.assertEqual([one["path"] for one in self.ask("GET", f"transfers?{query}").json["items"]], paths)
        self.ask("GET", "transfers?node=node-x", status=404)
        for query in ("limit=x", "colour=red", f"search={'a' * 2000}"):
            self.ask("GET", f"transfers?{query}", status=400)

    def test_whoDoesNotAnswerIsNamed(self) -> None:
        self.begin("a")
        late: Deferred[Any] = Deferred()
        for answer in ({"items": [transfer(1, node="node-c")], "total": 1}, {"items": [{}], "total": 1}, {}, late):
            self.addNode()
            self.cluster.node.answers[:] = [answer]
            if answer is late:
                client = self.cluster.connectSocket()
                client.request("GET", "/api/v1/transfers")
                self.cluster.clock.advance(ANSWER_SECONDS)
                self.assertIn(b"in time", client.transport.value())
                continue
            page = self.ask("GET", "transfers").json
            self.assertEqual([one["path"] for one in page["items"]], ["/a"])
            self.assertEqual([one["node"] for one in page["unanswered"]], ["node-b"])

    def test_otherNodesAreAnsweredAndMisunderstoodOnesToldSo(self) -> None:
        self.begin("a")
        underWay = self.cluster.administration.underWay
        answer = self.successResultOf(underWay.action({"wanted": {"limit": 5}}))
        self.assertEqual(([one["path"] for one in answer["items"]], answer["total"]), (["/a"], 1))
        for wanted in (None, {"limit": 10**9}, {"limit": 0}, {"colour": "red"}, {"limit": "x"}):
            self.failureResultOf(underWay.action({"wanted": wanted}), ClusterError)
