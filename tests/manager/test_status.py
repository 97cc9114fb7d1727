"""The status as a stream, for whom streams end, and what nodes did of late."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.changes import MergeSettings, Put, Remove
from cftpcluster.config.document import Role, Scope, User
from cftpcluster.errors import PrimaryUnreachable
from cftpcluster.manager import _status, _streams

from .support import PASSWORD, AdministrationTestCase, Cluster, basic

STREAM = "text/event-stream"


class StreamTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster()

    def stream(self, path: str = "status", **headers: str) -> Any:
        client = self.cluster.connect()
        client.request("GET", f"/api/v1/{path}", Accept=STREAM, **(headers or {"Authorization": basic("auditor")}))
        self.addCleanup(client.lose)
        return client

    def text(self, client: Any) -> str:
        """What came since the last call."""
        text = client.transport.value().decode()
        client.transport.clear()
        return str(text)

    def revisions(self, client: Any) -> list[int]:
        """Those of the statuses that came."""
        lines = [line for line in self.text(client).splitlines() if line.startswith("data: ")]
        return [json.loads(line[6:])["revision"] for line in lines]

    def change(self) -> int:
        number = self.cluster.document.revision + 1
        return self.cluster.node.change(Put("users", User(name=f"user{number}")))


class StatusStreamTests(StreamTestCase):
    def test_statusComesNowAndAfterEachChange(self) -> None:
        client = self.stream()
        text = self.text(client)
        self.assertIn(f"Content-Type: {STREAM}", text)
        self.assertIn("event: status\ndata: {", text)
        revision = self.change()
        self.cluster.clock.advance(_status.TICK_SECONDS)
        self.assertEqual(self.revisions(client), [revision])
        self.cluster.clock.advance(_status.TICK_SECONDS)
        self.assertEqual(self.text(client), "")

    def test_changesWithinATickAreToldTogether(self) -> None:
        client = self.stream()
        self.text(client)
        for _ in range(5):
            revision = self.change()
        self.cluster.clock.advance(_status.TICK_SECONDS)
        self.assertEqual(self.revisions(client), [revision])

    def test_commentsKeepItAlive(self) -> None:
        client = self.stream()
        self.text(client)
        self.cluster.clock.pump([1] * 16)
        self.assertIn(":", self.text(client))

    def test_whoReadsSlowlyGetsTheNewestAlone(self) -> None:
        client, other = self.stream(), self.stream()
        self.text(client)
        client.transport.producer.pauseProducing()
        for _ in range(4):
            revision = self.change()
            self.cluster.clock.advance(_status.TICK_SECONDS)
        self.assertEqual(self.text(client), "")
        self.assertEqual(len(self.revisions(other)), 5)
        client.transport.producer.resumeProducing()
        self.assertEqual(self.revisions(client), [revision])

    def test_nobodyIsLookedForWhenNobodyReads(self) -> None:
        before = len(self.cluster.clock.getDelayedCalls())
        client = self.stream()
        client.lose()
        self.cluster.clock.advance(5)
        self.assertLessEqual(len(self.cluster.clock.getDelayedCalls()), before + 1)
        self.assertEqual(len(self.revisions(self.stream())), 1)

    def test_thereAreOnlySoMany(self) -> None:
        clients = [self.stream() for _ in range(_status.MOST_STREAMS)]
        self.assertIn(" 503 ", self.text(self.stream()).partition("\r\n")[0])
        clients[0].lose()
        self.assertIn(" 200 ", self.text(self.stream()).partition("\r\n")[0])

    def test_withoutAskingForItThereIsNone(self) -> None:
        answer = self.cluster.connect().ask("GET", "/api/v1/status", Authorization=basic("auditor"))
        self.assertEqual(answer.json["node"], "node-a")


class SeriesTests(AdministrationTestCase):
    SERIES = {
        "stepSeconds": 10.0, "times": [10.0, 20.0], "lagSeconds": [0.0, 0.5], "sessions": {"ftp": [1, 2]},
        "bytesInPerSecond": [0, 1], "bytesOutPerSecond": [0, 1], "loginsAccepted": [0, 1], "loginsFailed": [0, 1],
    }  # fmt: skip

    def series(self, query: str = "", status: int = 200, **changed: Any) -> Any:
        self.cluster.node.answers = [{**self.SERIES, **changed}]
        return self.ask("GET", f"nodes/node-a/series{query}", status=status).json

    def test_nodesAreAsked(self) -> None:
        for query, hours in (("", 1), ("?hours=1", 1), ("?hours=24", 24)):
            self.assertEqual(self.series(query), {"node": "node-a", "hours": hours, **self.SERIES})
            ((name, action, arguments, author),) = self.cluster.node.performed[-1:]
            self.assertEqual((name, action, arguments, author.name), ("node-a", "series", {"hours": hours}, "system"))

    def test_wrongQuestionsAreRefused(self) -> None:
        for query in ("?hours=2", "?hours=x", "?colour=red"):
            self.series(query, status=400)
        self.ask("GET", "nodes/node-x/series", status=404)

    def test_whatIsNoSeriesIsNotHandedOn(self) -> None:
        for changed in ({"times": [1]}, {"times": None}, {"sessions": []}, {"sessions": {"ftp": [1]}},
                        {"lagSeconds": ["<b>", 1]}, {"stepSeconds": True}):  # fmt: skip
            self.assertIn("no series", self.series(status=503, **changed)["detail"])

    def test_nodeThatDoesNotAnswerIsSaid(self) -> None:
        for error in (PrimaryUnreachable("there is no link to node-a"), None):
            answer: Deferred[Any] = fail(error) if error else Deferred()
            self.cluster.node.answers.append(answer)
            self.client.request("GET", "/api/v1/nodes/node-a/series")
            self.cluster.clock.advance(10)
            (got,) = self.client.answers()
            self.assertEqual(got.status, 503)
            self.assertIn("node-a does not answer: ", got.json["detail"])


class EndTests(StreamTestCase):
    """A stream ends with the right to it, whichever stream it is, however little it has to tell."""

    def session(self, name: str = "full") -> dict[str, str]:
        answer = self.cluster.connect().ask("POST", "/api/v1/login", {"name": name, "password": PASSWORD})
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        return {"Cookie": cookie, "X_CSRF_Token": answer.json["csrfToken"]}

    def assertEnds(self, path: str, end: Callable[[], object], headers: dict[str, str]) -> None:
        clients = [self.stream(path, **headers), self.stream(path, **headers)]
        clients[1].transport.producer.pauseProducing()
        self.cluster.clock.advance(3)
        for client in clients:
            self.assertFalse(self.isOver(client))
        end()
        self.cluster.clock.advance(_streams.LOOK_SECONDS)
        for client in clients:
            self.assertTrue(self.isOver(client))
            self.assertIn(" 200 ", self.text(client).partition("\r\n")[0])

    @staticmethod
    def isOver(client: Any) -> bool:
        return client.closed or client.transport.value().endswith(b"0\r\n\r\n")

    def alter(self, name: str, **changed: Any) -> None:
        self.cluster.node.change(Put("admins", evolve(self.cluster.document.admins[name], **changed)))

    def test_loggedOut(self) -> None:
        for path in ("status", "events"):
            headers = self.session()
            logOut = partial(self.cluster.connect().ask, "POST", "/api/v1/logout", **headers)
            self.assertEnds(path, logOut, headers)

    def test_endedBySomebodyElse(self) -> None:
        self.cluster.rules.start()
        self.addCleanup(self.cluster.rules.stop)
        for path in ("status", "events"):
            headers = self.session()
            (session,) = self.cluster.rules.sessions.listed()
            self.assertEnds(path, partial(self.cluster.rules.sessions.kick, session["id"], "kicked"), headers)

    def test_expired(self) -> None:
        for path in ("status", "events"):
            client = self.stream(path, **self.session())
            self.cluster.clock.pump([60] * 31)
            self.assertTrue(self.isOver(client))

    def test_disabled(self) -> None:
        for path in ("status", "events"):
            self.assertEnds(path, lambda: self.alter("full", enabled=False), self.session())
            self.alter("full", enabled=True)

    def test_anotherRole(self) -> None:
        for path in ("status", "events"):
            self.assertEnds(path, lambda: self.alter("users", role=Role.auditor), self.session("users"))
            self.alter("users", role=Role.users)

    def test_anotherPassword(self) -> None:
        hashed = self.cluster.hashOf("another")
        self.assertEnds("status", lambda: self.alter("users", passwordHash=hashed), {"Authorization": basic("users")})

    def test_removed(self) -> None:
        remove = partial(self.cluster.node.change, Remove("admins", "auditor"))
        self.assertEnds("events", remove, {"Authorization": basic("auditor")})

    def test_tokenRemovedOrExpired(self) -> None:
        admin = self.cluster.document.admins["auditor"]
        for seconds, wait in ((1000, 0), (10, 8)):
            text, token = self.cluster.tokens.make("x", admin, (Scope.read,), seconds)
            self.cluster.node.change(Put("apiTokens", token))

            def end(name: str = token.name, wait: int = wait) -> None:
                if wait:
                    self.cluster.clock.pump([2] * (wait // 2))
                else:
                    self.cluster.node.change(Remove("apiTokens", name))

            self.assertEnds("status", end, {"Authorization": f"Bearer {text}"})

    def test_whoCannotBeLookedAtReadsNoMore(self) -> None:
        client = self.stream(**self.session("users"))
        self.cluster.clock.advance(3)
        self.assertFalse(self.isOver(client))
        self.cluster.sessionKeys.clear()
        self.cluster.clock.advance(_streams.LOOK_SECONDS)
        self.assertTrue(self.isOver(client))
        self.flushLoggedErrors()

    def test_othersGoOn(self) -> None:
        client = self.stream(**self.session())
        self.alter("users", enabled=False)
        self.cluster.node.change(MergeSettings({"drainSeconds": 5}))
        self.cluster.clock.pump([1] * 10)
        self.assertFalse(self.isOver(client))
