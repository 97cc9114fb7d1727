"""Sessions and bans over the REST API, and the rules for administrators themselves."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed

from cftpcluster.auth.account import Account
from cftpcluster.config.changes import Batch, Put
from cftpcluster.config.document import User
from cftpcluster.events import SessionKicked
from cftpcluster.testing.http import Answer, Conversation
from cftpcluster.vocabulary import Origin, publicId

from .support import PASSWORD, AdministrationTestCase, basic

BAD = "203.0.113.7"


class Files:
    def close(self) -> Deferred[None]:
        return succeed(None)


class RulesTestCase(AdministrationTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.cluster.node.change(Batch((Put("users", User(name="alice")), Put("users", User(name="bob")))))
        self.rules = self.cluster.rules
        self.rules.start()
        self.addCleanup(self.rules.stop)

    def askAs(self, role: str, method: str, path: str, json: Any = None, address: str = "127.0.0.1") -> Answer:
        client = self.cluster.connect(address)
        return client.ask(method, f"/api/v1/{path}", json, Authorization=basic(role))

    def login(self, address: str = "127.0.0.1", password: str = PASSWORD) -> Answer:
        return self.cluster.connect(address).ask("POST", "/api/v1/login", {"name": "full", "password": password})

    def sessionOf(self, answer: Answer) -> dict[str, str]:
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        return {"Cookie": cookie, "X_CSRF_Token": answer.json["csrfToken"]}

    def enter(self, user: str, session: str) -> Account:
        files: Any = Files()
        account = Account(user, Origin("sftp", "192.0.2.7", "sftp", session), files, 10_000)
        self.rules.sessions.begin(account)
        return account


class SessionTests(RulesTestCase):
    def test_listed(self) -> None:
        self.enter("alice", "1")
        self.enter("bob", "2")
        answer = self.ask("GET", "sessions").json
        self.assertEqual([one["user"] for one in answer["items"]], ["alice", "bob"])
        self.assertEqual(answer["total"], 2)
        keys = {"id", "user", "protocol", "listener", "address", "since", "seen", "node", "software"}
        self.assertEqual(set(answer["items"][0]), keys)
        self.assertEqual([one["user"] for one in self.ask("GET", "sessions?user=bob").json["items"]], ["bob"])
        self.assertEqual(self.ask("GET", "sessions?node=node-b").json, {"items": [], "next": None, "total": 0})
        limited = self.ask("GET", "sessions?limit=1").json
        self.assertEqual((len(limited["items"]), limited["total"]), (1, 2))

    def test_pagesHoldEachOnceAlthoughSomeEnd(self) -> None:
        self.cluster.node.change(Batch(tuple(Put("users", User(name=f"user{number}")) for number in range(5))))
        for number in range(5):
            self.enter(f"user{number}", str(number))
            self.cluster.clock.advance(1)
        page = self.ask("GET", "sessions?limit=2").json
        self.assertEqual(([one["user"] for one in page["items"]], page["total"]), (["user0", "user1"], 5))
        self.ask("DELETE", f"sessions/{publicId('1')}")
        page = self.ask("GET", f"sessions?limit=2&after={page['next']}").json
        self.assertEqual([one["user"] for one in page["items"]], ["user2", "user3"])
        page = self.ask("GET", f"sessions?limit=2&after={page['next']}").json
        self.assertEqual(([one["user"] for one in page["items"]], page["next"]), (["user4"], None))
        self.assertEqual(self.ask("GET", "sessions?search=SER3").json["total"], 1)
        self.assertEqual(self.ask("GET", "sessions?search=192.0.2").json["total"], 4)

    def test_kicked(self) -> None:
        account = self.enter("alice", "1")
        self.assertEqual(self.ask("DELETE", f"sessions/{publicId('1')}").json, {"id": publicId("1")})
        self.assertEqual(self.successResultOf(account.whenEnded()), "ended by an administrator")
        told = SessionKicked(author="root", address="socket", user="alice", session=publicId("1"))
        self.assertEqual(self.cluster.events[-1], told)
        self.ask("DELETE", f"sessions/{publicId('1')}", status=404)

    def test_allOfAUserAreKicked(self) -> None:
        told = [self.enter("alice", "1").whenEnded(), self.enter("alice", "2").whenEnded()]
        kept = self.enter("bob", "3").whenEnded()
        self.assertEqual(self.ask("DELETE", "sessions?user=alice").json, {"user": "alice", "ended": 2})
        self.assertEqual([self.successResultOf(each) for each in told], ["ended by an administrator"] * 2)
        self.assertEqual(self.cluster.events[-1], SessionKicked(author="root", address="socket", user="alice"))
        self.assertNoResult(kept)
        self.assertEqual([one["user"] for one in self.ask("GET", "sessions").json["items"]], ["bob"])
        self.assertEqual(self.askAs("full", "DELETE", "sessions").status, 400)
        self.assertEqual(self.askAs("auditor", "DELETE", "sessions?user=bob").status, 403)

    def test_roles(self) -> None:
        self.enter("alice", "1")
        self.assertEqual(self.askAs("auditor", "GET", "sessions").status, 200)
        self.assertEqual(self.askAs("auditor", "DELETE", f"sessions/{publicId('1')}").status, 403)
        self.assertEqual(self.askAs("users", "DELETE", f"sessions/{publicId('1')}").status, 200)


class BanTests(RulesTestCase):
    def test_madeListedAndLifted(self) -> None:
        made = self.ask("POST", "bans", {"network": BAD, "seconds": 60, "reason": "spray"}, status=201).json
        self.assertEqual((made["network"], made["seconds"], made["reason"]), (BAD, 60, "spray"))
        self.assertEqual(self.ask("GET", "bans").json, {"items": [made], "next": None, "total": 1})
        self.assertEqual(self.rules.guard.refusal(BAD), "banned")
        self.assertEqual(self.ask("DELETE", f"bans/{BAD}").json, {"network": BAD})
        self.assertEqual(self.rules.guard.refusal(BAD), "")
        self.ask("DELETE", f"bans/{BAD}", status=404)

    def test_listIsSearchedAndPaged(self) -> None:
        for number in (3, 1, 2):
            self.ask("POST", "bans", {"network": f"203.0.113.{number}", "reason": f"Spray {number}"}, status=201)
        page = self.ask("GET", "bans?limit=2").json
        self.assertEqual([one["network"] for one in page["items"]], ["203.0.113.1", "203.0.113.2"])
        page = self.ask("GET", f"bans?limit=2&after={page['next']}").json
        self.assertEqual(([one["network"] for one in page["items"]], page["next"]), (["203.0.113.3"], None))
        self.assertEqual(self.ask("GET", "bans?search=spray%202").json["total"], 1)

    def test_networksInPaths(self) -> None:
        for network in ("203.0.113.0/24", "2001:db8::/64"):
            self.ask("POST", "bans", {"network": network}, status=201)
            for path in (network, network.replace("/", "%2F").replace(":", "%3A")):
                self.ask("DELETE", f"bans/{path}")
                self.ask("POST", "bans", {"network": network}, status=201)

    def test_whatCoversAnAddressIsNamed(self) -> None:
        self.ask("POST", "bans", {"network": "203.0.113.0/24"}, status=201)
        detail = self.ask("DELETE", f"bans/{BAD}", status=404).json["detail"]
        self.assertEqual(detail, f"{BAD} is not banned by itself, but by 203.0.113.0/24")

    def test_nonsenseIsRefused(self) -> None:
        for body in (
            {},
            {"network": 1},
            {"network": "x"},
            {"network": BAD, "seconds": 0},
            {"network": BAD, "seconds": "60"},
            {"network": BAD, "seconds": True},
            {"network": BAD, "reason": 1},
            {"network": BAD, "reason": "x" * 201},
            {"network": BAD, "more": 1},
        ):
            self.ask("POST", "bans", body, status=422)
        self.ask("DELETE", "bans/nonsense", status=422)

    def test_roles(self) -> None:
        self.assertEqual(self.askAs("auditor", "GET", "bans").status, 200)
        self.assertEqual(self.askAs("auditor", "POST", "bans", {"network": BAD}).status, 403)
        self.assertEqual(self.askAs("users", "POST", "bans", {"network": BAD}).status, 201)
        self.assertEqual(self.askAs("users", "DELETE", f"bans/{BAD}").status, 200)


class AdministratorTests(RulesTestCase):
    def test_wrongPasswordsOfAdministratorsBanToo(self) -> None:
        for _ in range(5):
            self.assertEqual(self.login(BAD, "wrong").status, 401)
        client = self.cluster.connect(BAD)
        for _ in range(5):
            client.request(
                "POST", "/api/v1/login", b'{"name":"full","password":"wrong"}', Content_Type="application/json"
            )
            self.cluster.clock.advance(10)
        self.assertEqual(self.rules.guard.refusal(BAD), "banned")
        self.assertEqual(self.login(BAD).status, 429)
        self.client = self.cluster.connectSocket()
        self.ask("GET", "status")

    def test_anAddressThatIsUnknownWaitsWhereManyPasswordsWereWrong(self) -> None:
        self.assertEqual(self.login("203.0.113.8").status, 200)
        for number in range(7):
            client = self.cluster.connect(f"203.0.113.{20 + number}")
            client.request("GET", "/api/v1/status", Authorization=basic("full", "wrong"))
            self.cluster.clock.advance(10)
        self.assertEqual(self.login("203.0.113.8").status, 200)
        # A listener that has not verified this password just now.
        client = Conversation.with_(self.cluster.server(), "203.0.113.9")
        client.request("GET", "/api/v1/status", Authorization=basic("full"))
        self.assertEqual(client.answers(), [])
        self.cluster.clock.advance(1)
        (answer,) = client.answers()
        self.assertEqual(answer.status, 200)

    def test_sessionsAreListedAndKicked(self) -> None:
        session = self.sessionOf(self.login())
        (listed,) = self.ask("GET", "sessions").json["items"]
        self.assertEqual((listed["user"], listed["protocol"]), ("full", "manager"))
        self.ask("DELETE", f"sessions/{listed['id']}")
        self.assertEqual(self.cluster.connect().ask("GET", "/api/v1/status", **session).status, 401)

    def test_logOutIsKnownToAll(self) -> None:
        session = self.sessionOf(self.login())
        self.assertEqual(self.cluster.connect().ask("POST", "/api/v1/logout", **session).status, 200)
        self.assertEqual(self.cluster.connect().ask("GET", "/api/v1/session", **session).status, 401)
        self.assertEqual(self.ask("GET", "sessions").json["items"], [])
