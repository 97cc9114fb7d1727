"""What happened, over the REST API: pages merged of all nodes, exports, streams."""

from __future__ import annotations

import csv
import json
from typing import Any

from cftpcluster.config.changes import Put
from cftpcluster.config.document import Node
from cftpcluster.events import EventsLost, LoggedIn, NodeStarted, Removed
from cftpcluster.journal import audit
from cftpcluster.manager import happened
from cftpcluster.testing.auth import originOf
from cftpcluster.testing.http import Answer

from .support import AdministrationTestCase, basic

TIME = 1_000_000


def record(number: int, node: str = "node-b", kind: str = "NodeStarted") -> dict[str, Any]:
    return {"id": TIME * 1_000_000 + number, "time": TIME + number / 1e6, "node": node, "kind": kind}


class EventsTestCase(AdministrationTestCase):
    def tell(self, *events: Any) -> None:
        for event in events:
            self.cluster.audit.observe(event)
        self.cluster.clock.advance(audit.COMMIT_SECONDS)

    def addNode(self) -> None:
        self.cluster.node.change(Put("nodes", Node(name="node-b", address="127.0.0.3")))

    def answerOfOther(self, *records: dict[str, Any], isWhole: bool = True) -> None:
        self.cluster.node.answers.append({"items": list(records), "isWhole": isWhole, "upTo": 1})


class PageTests(EventsTestCase):
    def test_whatHappenedComesTheNewestFirst(self) -> None:
        self.tell(NodeStarted(version="1"), LoggedIn(user="alice", origin=originOf(), method="password"))
        page = self.ask("GET", "events").json
        self.assertEqual([one["kind"] for one in page["items"]], ["LoggedIn", "NodeStarted"])
        self.assertEqual((page["next"], page["unanswered"]), (None, []))
        self.assertEqual(page["items"][0]["user"], "alice")

    def test_nodesAreMergedByTime(self) -> None:
        self.addNode()
        self.tell(NodeStarted(version="1"))
        self.answerOfOther(record(5), record(-5))
        nodes = [one["node"] for one in self.ask("GET", "events").json["items"]]
        self.assertEqual(nodes, ["node-b", "node-a", "node-b"])
        (node, action, arguments, author) = self.cluster.node.performed[-1]
        self.assertEqual((node, action, author.name), ("node-b", "events", "system"))
        self.assertEqual(arguments["question"]["limit"], 100)

    def test_pagesHoldEverythingOnce(self) -> None:
        self.addNode()
        self.tell(*(NodeStarted(version=str(number)) for number in range(4)))
        self.answerOfOther(record(2), record(1), isWhole=False)
        first = self.ask("GET", "events?limit=2").json
        self.answerOfOther(record(0))
        rest = self.ask("GET", f"events?limit=100&after={first['next']}").json
        places = [(one["id"], one["node"]) for one in first["items"] + rest["items"]]
        self.assertEqual(places, sorted(set(places), reverse=True))
        self.assertEqual(rest["next"], None)

    def test_olderOnesWaitForThoseOfANodeThatHasMore(self) -> None:
        self.addNode()
        self.tell(NodeStarted(version="1"))
        self.answerOfOther(record(8), record(7), isWhole=False)
        page = self.ask("GET", "events?limit=100").json
        self.assertEqual([one["node"] for one in page["items"]], ["node-b", "node-b"])
        self.assertIsNotNone(page["next"])

    def test_whoDoesNotAnswerIsNamed(self) -> None:
        self.addNode()
        self.tell(NodeStarted(version="1"))
        self.cluster.node.answers.append({"items": [record(1, "node-c")], "upTo": 1})
        page = self.ask("GET", "events").json
        self.assertEqual([one["node"] for one in page["items"]], ["node-a"])
        self.assertEqual([one["node"] for one in page["unanswered"]], ["node-b"])

    def test_questionsAreHandedOn(self) -> None:
        self.tell(Removed(user="alice", origin=originOf(), path="/a"), NodeStarted(version="1"))
        for query, count in (("user=alice", 1), ("kind=NodeStarted,LoggedIn", 1), ("path=/a", 1), ("text=ALICE", 1),
                             ("since=1970-01-13T00:00:00Z", 0), ("until=1", 0), ("node=node-a", 2)):  # fmt: skip
            self.assertEqual(len(self.ask("GET", f"events?{query}").json["items"]), count, query)

    def test_wrongQuestionsAreRefused(self) -> None:
        for query in ("kind=Nonsense", "since=yesterday", "after=x", "limit=x", "colour=red"):
            self.ask("GET", f"events?{query}", status=400)
        self.ask("GET", "events?node=node-x", status=404)

    def test_otherNodesAreAnsweredAndMisunderstoodOnesToldSo(self) -> None:
        self.tell(NodeStarted(version="1"))
        asked = self.cluster.administration.happened
        answer = self.successResultOf(asked.action({"question": {"limit": 5}, "hold": False}))
        self.assertEqual([one["kind"] for one in answer["items"]], ["NodeStarted"])
        for question in (None, {"limit": 10**9}, {"limit": 0}, {"colour": "red"}, {"limit": "x"}):
            self.failureResultOf(asked.action({"question": question}), happened.ClusterError)


class ExportTests(EventsTestCase):
    def test_linesOfJSON(self) -> None:
        self.tell(NodeStarted(version="1"), NodeStarted(version="2"))
        lines = self.ask("GET", "events/export").body.splitlines()
        self.assertEqual([json.loads(line)["version"] for line in lines], ["2", "1"])

    def test_csvHoldsNoFormulas(self) -> None:
        self.tell(Removed(user="=cmd()", origin=originOf(), path='/a,"b\n'))
        client = self.cluster.connectSocket()
        answer = client.ask("GET", "/api/v1/events/export?format=csv")
        head, row = csv.reader(answer.body.decode().splitlines(keepends=True))
        self.assertEqual(head[:4], ["time", "node", "kind", "user"])
        self.assertEqual((row[3], row[7]), ("'=cmd()", '/a,"b\n'))

    def test_allPagesAreThere(self) -> None:
        self.tell(*(NodeStarted(version=str(number)) for number in range(2500)))
        self.cluster.clock.advance(1)
        lines = self.ask("GET", "events/export").body.splitlines()
        self.assertEqual([int(json.loads(line)["version"]) for line in lines], list(range(2499, -1, -1)))


class StreamTests(EventsTestCase):
    def stream(self, path: str = "/api/v1/events", **headers: str) -> Any:
        client = self.cluster.connectSocket()
        client.request("GET", path, Accept="text/event-stream", **headers)
        self.addCleanup(client.lose)
        return client

    def received(self, client: Any) -> str:
        return str(client.transport.value().decode())

    def test_whatHappensIsToldAndGoneOnWith(self) -> None:
        self.tell(NodeStarted(version="before"))
        client = self.stream()
        self.tell(NodeStarted(version="while"))
        text = self.received(client)
        self.assertIn("text/event-stream", text)
        self.assertNotIn("before", text)
        self.assertIn('"version":"while"', text)
        place = text.rpartition("id: ")[2].partition("\n")[0]
        client.lose()
        self.tell(NodeStarted(version="between"))
        again = self.stream(Last_Event_ID=place)
        self.assertIn('"version":"between"', self.received(again))
        self.assertNotIn('"version":"while"', self.received(again))

    def test_aPlaceIsToldBeforeAnythingHappens(self) -> None:
        self.tell(NodeStarted(version="before"))
        client = self.stream()
        place = self.received(client).rpartition("id: ")[2].partition("\n")[0]
        client.lose()
        self.tell(NodeStarted(version="away"))
        self.assertIn('"version":"away"', self.received(self.stream(Last_Event_ID=place)))

    def test_whoComesBackTooLateIsToldSo(self) -> None:
        self.tell(*(NodeStarted(version=str(number)) for number in range(4)))
        known = [one["id"] for one in self.ask("GET", "events").json["items"]][::-1]
        self.assertNotIn("event: lost", self.received(self.stream(Last_Event_ID=f"node-a={known[0]}")))
        self.cluster.audit._file.trim(known[2], 10**9)
        text = self.received(self.stream(Last_Event_ID=f"node-a={known[0]}"))
        self.assertIn('event: lost\ndata: {"node":"node-a","count":null,', text)
        self.assertIn('"version":"2"', text)
        self.assertLess(text.index("event: lost"), text.index('"version":"2"'))
        self.assertNotIn("event: lost", self.received(self.stream(Last_Event_ID="node-a=0")))

    def test_whatTheNodeCouldNotKeepIsToldWhateverIsAskedFor(self) -> None:
        client = self.stream(path="/api/v1/events?kind=LoggedIn&user=alice")
        self.tell(EventsLost(count=3), NodeStarted(version="1"))
        text = self.received(client)
        self.assertIn('event: lost\ndata: {"node":"node-a","count":3,', text)
        self.assertNotIn("event: happened", text)

    def test_thereAreOnlySoMany(self) -> None:
        clients = [self.stream() for _ in range(10)]
        self.assertIn(" 503 ", self.received(self.stream()).partition("\r\n")[0])
        clients[0].lose()
        self.cluster.clock.advance(20)
        self.assertIn(" 200 ", self.received(self.stream()).partition("\r\n")[0])

    def test_wrongPlacesAreRefused(self) -> None:
        self.assertIn(" 400 ", self.received(self.stream(Last_Event_ID="x")).partition("\r\n")[0])


class RightTests(EventsTestCase):
    def test_auditorsMayLook(self) -> None:
        answer: Answer = self.cluster.connect().ask("GET", "/api/v1/events", Authorization=basic("auditor"))
        self.assertEqual(answer.status, 200)
        self.assertEqual(self.cluster.connect().ask("GET", "/api/v1/events").status, 401)
