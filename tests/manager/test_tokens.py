"""API tokens: made, used in place of an administrator, and never good for more than that one may."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.auth.tokens import MOST_TOKENS, USES
from cftpcluster.config.changes import Put, Remove
from cftpcluster.config.document import Role
from cftpcluster.events import TokenUsed
from cftpcluster.testing.http import Answer

from .described import misfits
from .support import Cluster, basic


class TokenTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster()

    def ask(self, method: str, path: str, json: Any = None, status: int = 200, **headers: str) -> Answer:
        """Ask over a connection of its own, and insist on a status."""
        answer = self.cluster.connect().ask(method, f"/api/v1/{path}", json, **headers)
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(misfits(method, f"/api/v1/{path}", answer), [])
        return answer

    def make(self, admin: str = "full", scopes: tuple[str, ...] = ("full",), **more: Any) -> Any:
        body = {"name": "ci", "scopes": list(scopes), **more}
        return self.ask("POST", "tokens", body, 201, Authorization=basic(admin)).json

    def use(self, token: Any, method: str, path: str, json: Any = None, status: int = 200) -> Answer:
        text = token if isinstance(token, str) else token["token"]
        return self.ask(method, path, json, status, Authorization=f"Bearer {text}")

    def change(self, name: str, **what: Any) -> None:
        self.cluster.node.change(Put("admins", evolve(self.cluster.document.admins[name], **what)))


class MakingTests(TokenTestCase):
    def test_answerTellsTheTextOnce(self) -> None:
        made = self.make(expiresSeconds=60)
        self.assertRegex(made["token"], r"^cftp_[0-9a-f]{16}_[0-9a-f]{64}$")
        self.assertIn(made["id"], made["token"])
        self.assertEqual(
            (made["name"], made["admin"], made["scopes"], made["live"]), ("ci", "full", ["full"], ["node-a"])
        )
        self.assertEqual(made["expires"], self.cluster.clock.seconds() + 60)
        secret = made["token"].rpartition("_")[2]
        for path in ("tokens", "export?secrets", "history/1", f"diff?from=0&to={made['revision']}"):
            self.assertNotIn(secret.encode(), self.use(made, "GET", path).body)
        self.assertNotIn(secret, repr(self.cluster.document.apiTokens[made["id"]]))

    def test_useIsToldOnceAnHour(self) -> None:
        made = self.make()
        for _ in range(2):
            self.use(made, "GET", "status")
        used = [event for event in self.cluster.events if isinstance(event, TokenUsed)]
        self.assertEqual(
            [(event.author, event.address) for event in used], [(f"full (token ci {made['id']})", "127.0.0.1")]
        )

    def test_everyProblemIsTold(self) -> None:
        for body, paths in (
            ({}, ["name", "scopes"]),
            ({"name": "", "scopes": [], "expiresSeconds": 0}, ["name", "scopes", "expiresSeconds"]),
            ({"name": "a", "scopes": ["root"]}, ["scopes[0]"]),
            ({"name": "a", "scopes": ["read", 1]}, ["scopes[1]"]),
            ({"name": "a", "scopes": "read"}, ["scopes"]),
            ({"name": "a", "scopes": ["read"], "expiresSeconds": 10**9}, ["expiresSeconds"]),
            ({"name": "a", "scopes": ["read"], "expiresSeconds": True}, ["expiresSeconds"]),
            ({"name": "a", "scopes": ["read"], "role": "full"}, [""]),
        ):
            answer = self.ask("POST", "tokens", body, 422, Authorization=basic("full"))
            self.assertEqual([one["path"] for one in answer.json["errors"]], paths)

    def test_nobodyMakesOneForMoreThanTheirRole(self) -> None:
        allowed = {"auditor": {"read"}, "users": {"read", "users"}, "full": {"read", "users", "full"}}
        for admin, scopes in allowed.items():
            for scope in ("read", "users", "full"):
                body = {"name": "t", "scopes": [scope]}
                self.ask("POST", "tokens", body, 201 if scope in scopes else 403, Authorization=basic(admin))

    def test_nobodyMakesOneForSomebodyElse(self) -> None:
        body = {"name": "t", "scopes": ["read"], "admin": "full"}
        self.ask("POST", "tokens", body, 403, Authorization=basic("users"))
        self.ask("POST", "tokens", {**body, "admin": "users"}, 201, Authorization=basic("users"))

    def test_tokenMakesNoToken(self) -> None:
        self.use(self.make(), "POST", "tokens", {"name": "t", "scopes": ["read"]}, 403)

    def test_whoOwnsTheSocketSaysWhoseItIs(self) -> None:
        def make(**more: Any) -> Answer:
            body = {"name": "t", "scopes": ["read"], **more}
            return self.cluster.connectSocket().ask("POST", "/api/v1/tokens", body)

        # There are two full administrators.
        self.assertEqual(make().status, 422)
        self.assertEqual(make(admin="ghost").status, 422)
        self.assertEqual(make(admin="auditor", scopes=["full"]).status, 403)
        self.assertEqual(make(admin="auditor").json["admin"], "auditor")
        self.cluster.node.change(Remove("admins", "admin"))
        self.assertEqual(make().json["admin"], "full")

    def test_numberIsBoundAndThoseThatAreNotGoodMakeRoom(self) -> None:
        for _ in range(MOST_TOKENS):
            self.make(expiresSeconds=60)
        self.ask("POST", "tokens", {"name": "t", "scopes": ["read"]}, 422, Authorization=basic("full"))
        self.cluster.clock.advance(60)
        self.make()
        self.assertEqual(len(self.cluster.document.apiTokens), 1)


class UseTests(TokenTestCase):
    def test_scopesAreRoles(self) -> None:
        for scopes, mayWriteUsers, mayWriteAll in (
            (("read",), False, False),
            (("users",), True, False),
            (("full",), True, True),
            (("read", "users"), True, False),
        ):
            token = self.make(scopes=scopes)
            self.use(token, "GET", "users")
            self.use(token, "PATCH", "users/nobody", {}, 404 if mayWriteUsers else 403)
            self.use(token, "PATCH", "admins/nobody", {}, 404 if mayWriteAll else 403)

    def test_writesNameTheToken(self) -> None:
        token = self.make()
        self.use(token, "PUT", "users/alice", {}, 201)
        _, _, author, _ = self.cluster.node.proposals[-1]
        self.assertEqual(
            (author.name, author.role, author.token, author.tokenLabel), ("full", "full", token["id"], "ci")
        )
        newest = self.use(token, "GET", "history?author=full&limit=1").json["items"][0]
        self.assertEqual(newest["author"], f"full (token ci {token['id']})")

    def test_textsThatAreNoneAreRefusedAlike(self) -> None:
        made = self.make()["token"]
        wrong = made[:-1] + ("0" if made[-1] != "0" else "1")
        texts = ("", "x", wrong, made.upper(), made[:-1], made + "0", "cftp_" + "0" * 16 + made[21:], "cftp_\u00e9")
        answers = {self.use(text, "GET", "status", status=401).body for text in texts}
        self.assertEqual(len(answers), 1)
        answer = self.use(wrong, "GET", "status", status=401)
        self.assertTrue(answer.headers["WWW-Authenticate"].startswith("Bearer "))

    def test_neverMoreThanItsAdministratorMayNow(self) -> None:
        token = self.make()
        self.change("full", role=Role.users)
        self.use(token, "PATCH", "admins/nobody", {}, 403)
        self.use(token, "PUT", "users/alice", {}, 201)
        self.change("full", role=Role.auditor)
        self.use(token, "PUT", "users/alice", {}, 403)

    def test_endsWithItsAdministrator(self) -> None:
        before = self.cluster.document.admins["full"]
        for change in (
            Put("admins", evolve(before, enabled=False)),
            Put("admins", evolve(before, passwordHash=self.cluster.hashOf("another"))),
            Remove("admins", "full"),
        ):
            token = self.make()
            self.use(token, "GET", "status")
            self.cluster.node.change(change)
            self.use(token, "GET", "status", status=401)
            self.cluster.node.change(Put("admins", before))
            self.use(token, "GET", "status", status=401)

    def test_endsWhenItExpires(self) -> None:
        token = self.make(expiresSeconds=60)
        self.cluster.clock.advance(59.9)
        self.use(token, "GET", "status")
        self.cluster.clock.advance(0.2)
        self.use(token, "GET", "status", status=401)

    def test_useIsNotedOnceAnHour(self) -> None:
        token = self.make()
        written: list[Any] = []
        self.cluster.tokens._rows.watch(USES, lambda before, after: written.append(after))
        for _ in range(3):
            self.use(token, "GET", "status")
        self.assertEqual(len(written), 1)
        self.cluster.clock.advance(3600)
        self.use(token, "GET", "status")
        self.assertEqual(len(written), 2)
        shown = self.use(token, "GET", "tokens").json["items"][0]
        self.assertEqual(shown["lastUsed"], round(self.cluster.clock.seconds()))

    def test_whoAsksIsTold(self) -> None:
        token = self.make("users", ("read",))
        said = {"name": "users", "role": "auditor", "initialPassword": False, "token": token["id"]}
        self.assertEqual(self.use(token, "GET", "session").json, said)
        said = {"name": "users", "role": "users", "initialPassword": False}
        self.assertEqual(self.ask("GET", "session", Authorization=basic("users")).json, said)


class ListTests(TokenTestCase):
    def test_pagesAndFilters(self) -> None:
        made = sorted(self.make("users", ("read",))["id"] for _ in range(3))
        self.make("full", name="deploy")
        answer = self.ask("GET", "tokens?admin=users&limit=2", Authorization=basic("auditor")).json
        self.assertEqual(([one["id"] for one in answer["items"]], answer["total"]), (made[:2], 3))
        answer = self.ask("GET", f"tokens?admin=users&after={answer['next']}", Authorization=basic("auditor")).json
        self.assertEqual(([one["id"] for one in answer["items"]], answer["next"]), (made[2:], None))
        found = self.ask("GET", "tokens?search=DEP", Authorization=basic("auditor")).json["items"]
        self.assertEqual([(one["name"], one["admin"], one["good"], one["lastUsed"]) for one in found],
                         [("deploy", "full", True, None)])  # fmt: skip

    def test_removedOneIsGoodNoMore(self) -> None:
        token = self.make()
        self.ask("DELETE", f"tokens/{token['id']}", Authorization=basic("full"))
        self.use(token, "GET", "status", status=401)
        self.ask("DELETE", f"tokens/{token['id']}", status=404, Authorization=basic("full"))

    def test_whoMayRemove(self) -> None:
        own = [self.make("users", ("users",)) for _ in range(3)]
        other = self.make("full")
        self.ask("DELETE", f"tokens/{own[0]['id']}", status=403, Authorization=basic("auditor"))
        self.ask("DELETE", f"tokens/{other['id']}", status=403, Authorization=basic("users"))
        self.ask("DELETE", f"tokens/{own[0]['id']}", Authorization=basic("users"))
        self.ask("DELETE", f"tokens/{own[1]['id']}", Authorization=basic("full"))
        # A token may give itself up, and no other one.
        another = self.make("users", ("users",))
        self.use(own[2], "DELETE", f"tokens/{another['id']}", status=403)
        self.use(own[2], "DELETE", f"tokens/{own[2]['id']}")
