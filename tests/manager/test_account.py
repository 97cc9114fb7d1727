"""What administrators do of themselves: another password, the end of all their sessions."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from cftpcluster.auth.own import ADMIN_ROLE
from cftpcluster.config.changes import Batch, Put, Remove
from cftpcluster.config.document import Admin, Role, User
from cftpcluster.errors import Forbidden
from cftpcluster.manager.rights import present, requireChange
from cftpcluster.vocabulary import Author

from .support import PASSWORD, basic
from .test_access import AccessTestCase

NEW = "another battery staple"


class PasswordTests(AccessTestCase):
    def change(self, status: int = 200, current: str = PASSWORD, new: str = NEW, **headers: Any) -> Any:
        return self.ask("PUT", "account/password", {"current": current, "new": new}, status=status, **headers).json

    def test_everyRoleMayChangeItsOwn(self) -> None:
        for role in Role:
            session = self.login(role.value)
            before = self.cluster.document
            self.change(**session)
            after = self.cluster.document
            changed = [name for name in before.admins if before.admins[name] != after.admins[name]]
            self.assertEqual(changed, [role.value])
            self.assertEqual(after.admins[role.value].role, role)
            self.ask("GET", "status", Authorization=basic(role.value, NEW))
            self.ask("GET", "status", Authorization=basic(role.value), status=401)

    def test_otherSessionsAndTokensEndAndThisOneGoesOn(self) -> None:
        token = self.ask(
            "POST", "tokens", {"name": "t", "scopes": ["read"]}, status=201, Authorization=basic("auditor")
        ).json["token"]
        session, other = self.login("auditor"), self.login("auditor")
        answer = self.ask("PUT", "account/password", {"current": PASSWORD, "new": NEW}, **session)
        going = {**session, "Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
        self.ask("GET", "status", **going)
        self.ask("DELETE", "account/sessions", **going)
        self.ask("GET", "status", status=401, **session)
        self.ask("GET", "status", status=401, **other)
        self.ask("GET", "status", status=401, Authorization=f"Bearer {token}")

    def test_presentPasswordIsProven(self) -> None:
        before = self.cluster.document
        session = self.login()
        problem = self.change(422, current="wrong", **session)
        self.assertEqual([one["path"] for one in problem["errors"]], ["current"])
        self.ask("GET", "status", **session)
        self.assertIs(self.cluster.document, before)
        self.assertEqual(type(self.cluster.events[-1]).__name__, "LoginFailed")

    def test_weakOnesAreRefused(self) -> None:
        before, session = self.cluster.document, self.login()
        for weak in ("", "short", "aaaaaaaaaaaaaaaa", PASSWORD, "fullfull1"):
            problem = self.change(422, new=weak, **session)
            self.assertEqual({one["path"] for one in problem["errors"]}, {"new"}, weak)
        self.assertIs(self.cluster.document, before)

    def test_socketHasNone(self) -> None:
        answer = self.cluster.connectSocket().ask("PUT", "/api/v1/account/password", {"current": "a", "new": NEW})
        self.assertEqual(answer.status, 403)

    def test_initialOneWorksUntilItIsChanged(self) -> None:
        admin = evolve(self.cluster.document.admins["full"], name="first", initialPassword=True)
        self.cluster.node.change(Put("admins", admin))
        self.assertTrue(self.ask("GET", "session", Authorization=basic("first")).json["initialPassword"])
        self.ask("PUT", "users/alice", {}, status=201, Authorization=basic("first"))
        self.change(Authorization=basic("first"))
        self.assertFalse(self.ask("GET", "session", Authorization=basic("first", NEW)).json["initialPassword"])


class SessionTests(AccessTestCase):
    def test_allOwnSessionsEndAndNobodyElses(self) -> None:
        self.cluster.rules.start()
        self.addCleanup(self.cluster.rules.stop)
        sessions = [self.login("users"), self.login("users")]
        other = self.login("full")
        answer = self.ask("DELETE", "account/sessions", **sessions[0])
        self.assertEqual(answer.json, {"user": "users", "ended": 2})
        self.assertIn("Max-Age=0", answer.headers["Set-Cookie"])
        for session in sessions:
            self.ask("GET", "status", status=401, **session)
        self.ask("GET", "status", **other)


class RightsTests(AccessTestCase):
    """What the primary takes from an administrator who set the own password on any node."""

    def test_ownPasswordAndNothingElse(self) -> None:
        document = self.cluster.document
        admin = document.admins["auditor"]
        author = present(Author("auditor", ADMIN_ROLE, "192.0.2.1"), document)
        mine = Put("admins", evolve(admin, passwordHash="another"))
        requireChange(author, document, mine)
        for change in (
            Put("admins", evolve(admin, role=Role.full)),
            Put("admins", evolve(admin, passwordHash="another", role=Role.full)),
            Put("admins", evolve(admin, passwordHash="another", initialPassword=True)),
            Put("admins", evolve(document.admins["full"], passwordHash="another")),
            Put("admins", Admin(name="new", passwordHash="another")),
            Put("users", User(name="auditor", passwordHash="another")),
            Remove("admins", "full"),
            Batch((mine,)),
        ):
            self.assertRaises(Forbidden, requireChange, author, document, change)
        withToken = evolve(author, token="0" * 16)
        self.assertRaises(Forbidden, requireChange, withToken, document, mine)
        gone = Author("nobody", ADMIN_ROLE, "192.0.2.1")
        self.assertRaises(Forbidden, requireChange, gone, document, mine)

    def test_rolesThemselvesDoNotCoverIt(self) -> None:
        document = self.cluster.document
        change = Put("admins", evolve(document.admins["users"], passwordHash="another"))
        for role in ("users", "auditor"):
            self.assertRaises(Forbidden, requireChange, Author(role, role, "192.0.2.1"), document, change)
