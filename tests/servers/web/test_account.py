"""What users see and change of themselves."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, fail

from cftpcluster.auth.own import OWN_ROLE, requireOwn
from cftpcluster.auth.sessions import PRESENCE
from cftpcluster.config.changes import Put
from cftpcluster.config.document import Group, Node, OwnPart, User
from cftpcluster.errors import Conflict, Forbidden, OutcomeUnknown, PrimaryUnreachable
from cftpcluster.events import LoginFailed
from cftpcluster.vocabulary import Author

from .support import PASSWORD, Answer, Served
from .test_access import AccessCase, cookieOf

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqp8rvhUAOPxh2tOVHz5qQF1vuDIFBQTSQsfPfGzO0N alice@home"
NEW = "correct battery staple"


def letting(served: Served, *parts: OwnPart, name: str = "alice", **changes: Any) -> None:
    """Let a user change these of themselves."""
    document = served.logins.document
    user = evolve(document.users[name], mayChange=frozenset(parts), **changes)
    users = document.users.insert(name, user)
    served.logins.document = evolve(document, sections={**document.sections, "users": users})


class AccountCase(AccessCase):
    def setUp(self) -> None:
        super().setUp()
        self.served.logins.rules.start()
        self.addCleanup(self.served.logins.rules.stop)
        letting(self.served, OwnPart.password, OwnPart.publicKeys)
        self.cookie, self.token = self.login()

    def get(self, path: str, cookie: str = "") -> Any:
        answer = self.served.ask("GET", f"/api/v1/{path}", authorization=None, cookie=cookie or self.cookie)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()

    def do(self, method: str, path: str, body: Any = None, cookie: str = "", token: str = "") -> Answer:
        headers = {"cookie": cookie or self.cookie, "X-CSRF-Token": token or self.token}
        if body is None:
            return self.served.ask(method, f"/api/v1/{path}", authorization=None, **headers)
        return self.served.askJSON(method, f"/api/v1/{path}", body, authorization=None, **headers)

    def failing(self, error: Exception) -> None:
        """Whatever is changed fails."""

        def propose(change: Any, expected: Any, author: Author) -> Deferred[int]:
            return fail(error)

        self.served.logins.own._propose = propose


class SessionListTests(AccountCase):
    def test_ownSessionsAreListedAndThisOneIsMarked(self) -> None:
        self.served.clock.advance(1)
        other, _ = self.login()
        bobs = {"name": "bob", "password": "bobs"}
        self.served.askJSON("POST", "/api/v1/login", bobs, authorization=None)
        first, second = self.get("sessions")["items"]
        self.assertEqual([first["current"], second["current"]], [True, False])
        self.assertEqual(set(first), {"id", "protocol", "address", "node", "software", "since", "seen", "current"})
        self.assertEqual(self.get("session")["id"], first["id"])
        self.assertEqual([one["current"] for one in self.get("sessions", other)["items"]], [False, True])
        self.assertNotIn(first["id"], self.cookie)

    def test_oneIsEnded(self) -> None:
        self.served.clock.advance(1)
        other, _ = self.login()
        second = self.get("sessions")["items"][1]["id"]
        self.assertEqual(self.do("DELETE", f"sessions/{second}").json(), {"id": second})
        self.assertEqual([self.statusWith(other), self.statusWith(self.cookie)], [401, 200])
        self.assertEqual(len(self.get("sessions")["items"]), 1)
        self.assertEqual(self.do("DELETE", f"sessions/{second}").status, 404)

    def test_endingThisOneForgetsItsCookie(self) -> None:
        answer = self.do("DELETE", f"sessions/{self.get('session')['id']}")
        self.assertIn("Max-Age=0", answer.headers["set-cookie"])
        self.assertEqual(self.statusWith(self.cookie), 401)

    def test_othersSessionsAreNobodysBusiness(self) -> None:
        answer = self.served.askJSON("POST", "/api/v1/login", {"name": "bob", "password": "bobs"}, authorization=None)
        bobs = cookieOf(answer)
        theirs = self.get("session", bobs)["id"]
        self.assertEqual(self.do("DELETE", f"sessions/{theirs}").status, 404)
        self.assertEqual(self.statusWith(bobs), 200)

    def test_logOutEverywhereEndsThoseThatNobodyRemembersToo(self) -> None:
        self.served.clock.advance(1)
        forgotten, _ = self.login()
        # As after a restart: only what a session is used for again is known.
        for row in self.served.logins.rules.sessions._rows.rows("sessions"):
            self.served.logins.rules.sessions._rows.remove("sessions", row.key)
        self.served.clock.advance(5)
        self.assertEqual(self.statusWith(self.cookie), 200)
        answer = self.do("DELETE", "sessions")
        self.assertEqual(answer.status, 200)
        self.assertIn("Max-Age=0", answer.headers["set-cookie"])
        self.assertEqual([self.statusWith(self.cookie), self.statusWith(forgotten)], [401, 401])
        again, _ = self.login()
        self.assertEqual(self.statusWith(again), 200)
        self.served.clock.advance(60)
        self.assertEqual(self.statusWith(again), 200)

    def test_whoLogsInAtANodeWhoseClockIsBehindIsIn(self) -> None:
        rows = self.served.logins.rules.sessions._rows
        rows.put("endedSessions", "user alice", {"before": int(self.served.clock.seconds()) + 30}, 600)
        self.assertEqual(self.statusWith(self.cookie), 401)
        cookie, _ = self.login()
        self.assertEqual(self.statusWith(cookie), 200)

    def test_everyChangeNeedsTheToken(self) -> None:
        letting(self.served, OwnPart.password, OwnPart.publicKeys, publicKeys=(KEY,))
        key = self.get("publickeys")["items"][0]["id"]
        before = self.served.logins.document
        for method, path, body in [
            ("DELETE", "sessions", None),
            ("DELETE", f"sessions/{self.get('session')['id']}", None),
            ("PUT", "password", {"current": PASSWORD.decode(), "new": NEW}),
            ("POST", "publickeys", {"key": KEY, "password": PASSWORD.decode()}),
            ("DELETE", f"publickeys/{key}", None),
        ]:
            for token in ("x", self.get("session")["id"]):
                self.assertEqual(self.do(method, path, body, token=token).status, 403, path)
        self.assertIs(self.served.logins.document, before)
        self.assertEqual(len(self.get("sessions")["items"]), 1)


class CutOffTests(AccountCase):
    def test_aNodeAloneRenewsItsOwnSessionsAndNoOthers(self) -> None:
        document = self.served.logins.document
        nodes = document.nodes.insert("node-a", Node(name="node-a", address="127.0.0.1"))
        nodes = nodes.insert("node-b", Node(name="node-b", address="127.0.0.2"))
        self.served.logins.document = evolve(document, sections={**document.sections, "nodes": nodes})
        live = self.served.logins.rules.sessions
        own, live.node = live.node, "node-b"
        theirs, _ = self.login()
        live.node = own
        self.served.clock.advance(300)
        self.assertTrue(live.isCutOff())
        self.assertIsNotNone(self.renewalOf(self.cookie))
        self.assertIsNone(self.renewalOf(theirs))
        live._rows.hear("node-b", PRESENCE, "node-b", {"incarnation": "x"}, 60)
        self.assertFalse(live.isCutOff())
        self.assertIsNotNone(self.renewalOf(theirs))
        self.served.clock.advance(61)
        self.assertTrue(live.isCutOff())
        self.assertEqual(self.statusWith(self.cookie), 200)

    def renewalOf(self, cookie: str) -> str | None:
        answer = self.served.ask("GET", "/api/v1/files", authorization=None, cookie=cookie)
        self.assertEqual(answer.status, 200)
        return answer.headers.get("set-cookie")


class PasswordTests(AccountCase):
    def change(self, current: str = PASSWORD.decode(), new: str = NEW) -> Answer:
        return self.do("PUT", "password", {"current": current, "new": new})

    def test_changedPasswordEndsTheOthersAndKeepsThisOne(self) -> None:
        user = self.served.logins.document.users["alice"]
        answer = self.change()
        self.assertEqual(answer.status, 200, answer.body)
        changed = self.served.logins.document.users["alice"]
        self.assertNotEqual(changed.passwordHash, user.passwordHash)
        self.assertEqual(changed.credentialsRevision, answer.json()["revision"])
        # What the checker of real users looks at.
        self.served.logins.checker.sessionsSince = changed.credentialsRevision
        self.assertEqual(self.statusWith(cookieOf(answer)), 200)
        self.assertEqual(self.statusWith(self.cookie), 401)
        self.assertEqual(self.get("session", cookieOf(answer))["csrfToken"], self.token)

    def test_wrongOnesCountAsFailedLogins(self) -> None:
        self.assertEqual(self.change(current="wrong").status, 403)
        self.assertIsInstance(self.served.logins.events[-1], LoginFailed)
        self.assertEqual(self.served.logins.document.users["alice"].passwordHash, "")

    def test_weakOnesAreRefused(self) -> None:
        for new, said in [
            ("short", "at least 12 characters"),
            ("aaaaaaaaaaaaaaaa", "different characters"),
            (PASSWORD.decode(), "is the old one"),
            ("x" * 2000 + "abc", "1024 bytes"),
        ]:
            answer = self.change(new=new)
            self.assertEqual(answer.status, 422, new)
            self.assertIn(said, answer.json()["detail"])
            self.assertNotIn(new, answer.body.decode())

    def test_onlyWhereTheDocumentLetsThem(self) -> None:
        letting(self.served)
        self.assertEqual(self.get("session")["mayChange"], [])
        self.assertEqual(self.change().status, 403)
        self.assertEqual(self.do("POST", "publickeys", {"key": KEY, "password": PASSWORD.decode()}).status, 403)
        self.assertEqual(self.do("DELETE", "publickeys/00").status, 403)
        document = self.served.logins.document
        groups = document.groups.insert("own", Group(name="own", mayChange=frozenset({OwnPart.password})))
        self.served.logins.document = evolve(document, sections={**document.sections, "groups": groups})
        letting(self.served, groups=("own",))
        self.assertEqual(self.get("session")["mayChange"], ["password"])
        self.assertEqual(self.change().status, 200)

    def test_whyItFailsIsSaidPlainly(self) -> None:
        for error, status in [
            (PrimaryUnreachable("node-a is away"), 503),
            (OutcomeUnknown("abc"), 504),
            (Conflict({("users", "alice"): 9}), 409),
            (Forbidden("no"), 403),
        ]:
            self.failing(error)
            answer = self.change()
            self.assertEqual(answer.status, status)
            self.assertNotIn("node-a", answer.body.decode())
            self.assertNotIn("set-cookie", answer.headers)


class KeyTests(AccountCase):
    def add(self, key: str = KEY, password: str = PASSWORD.decode()) -> Answer:
        return self.do("POST", "publickeys", {"key": key, "password": password})

    def test_keysAreAddedListedAndRemoved(self) -> None:
        answer = self.add()
        self.assertEqual(answer.status, 201, answer.body)
        (key,) = self.get("publickeys")["items"]
        self.assertEqual(key, answer.json())
        self.assertEqual((key["type"], key["comment"]), ("ssh-ed25519", "alice@home"))
        self.assertEqual(key["fingerprint"], "SHA256:cWK1lh0IhbDB1wGKCcMOA4sL7DsfnHKhRe4zRJJYwA0")
        self.assertEqual(self.served.logins.document.users["alice"].publicKeys, (KEY,))
        self.assertEqual(self.add().status, 422)
        removed = self.do("DELETE", f"publickeys/{key['id']}")
        self.assertEqual(removed.status, 200)
        self.assertIn("set-cookie", removed.headers)
        self.assertEqual(self.get("publickeys", cookieOf(removed))["items"], [])
        self.assertEqual(self.do("DELETE", f"publickeys/{key['id']}").status, 404)

    def test_whatIsNoKeyIsRefused(self) -> None:
        for key in ("", "x", "ssh-dss AAAA", 'command="id" ' + KEY, "-----BEGIN OPENSSH PRIVATE KEY-----\nx"):
            answer = self.add(key)
            self.assertEqual(answer.status, 422, key)
        self.assertEqual(self.served.logins.document.users["alice"].publicKeys, ())

    def test_thePasswordIsAskedForAgain(self) -> None:
        self.assertEqual(self.add(password="wrong").status, 403)
        self.assertEqual(self.served.logins.document.users["alice"].publicKeys, ())

    def test_optionsAndCommentsAreKept(self) -> None:
        line = 'from="192.0.2.0/24",restrict ' + KEY + " and more"
        self.assertEqual(self.add(line).json()["comment"], "alice@home and more")
        self.assertEqual(self.served.logins.document.users["alice"].publicKeys, (line,))


class NobodyElseTests(AccountCase):
    def test_aUserMayChangeNobodyElseAndNothingElse(self) -> None:
        document = self.served.logins.document
        alice, bob = document.users["alice"], document.users["bob"]
        author = Author("alice", OWN_ROLE, "192.0.2.7")
        requireOwn(author, document, Put("users", evolve(alice, passwordHash="x", publicKeys=(KEY,))))
        for value in (
            evolve(bob, passwordHash="x"),
            evolve(alice, name="bob", passwordHash="x"),
            evolve(alice, name="carol"),
            evolve(alice, passwordHash="x", groups=("staff",)),
            evolve(alice, enabled=False),
            evolve(alice, mayChange=frozenset()),
            evolve(alice, quota=evolve(alice.quota, bytes=1)),
            evolve(alice, extra={"more": 1}),
        ):
            self.assertRaises(Forbidden, requireOwn, author, document, Put("users", value))
        for change in (Put("groups", Group(name="alice")), Put("admins", User(name="alice"))):
            self.assertRaises(Forbidden, requireOwn, author, document, change)
        letting(self.served, enabled=False)
        changed = Put("users", evolve(self.served.logins.document.users["alice"], passwordHash="x"))
        self.assertRaises(Forbidden, requireOwn, author, self.served.logins.document, changed)
