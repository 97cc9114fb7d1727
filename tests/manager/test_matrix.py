"""Who may ask what: every route, for every role and every kind of token. A route without a line here fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.manager._routes import Route
from cftpcluster.testing.http import Answer

from .described import description, misfits, table
from .support import Cluster, basic

LOOK, USERS, FULL = "auditor", "users", "full"
ORDER = ("nobody", LOOK, USERS, FULL)

LEAST: Mapping[str, str] = {
    "GET /openapi.json": "nobody",
    "GET /docs": "nobody",
    "POST /login": "nobody",
    "GET /session": LOOK,
    "POST /logout": LOOK,
    "PUT /account/password": LOOK,
    "DELETE /account/sessions": LOOK,
    "POST /certificates/<name>/csr": FULL,
    "GET /events": LOOK,
    "GET /events/export": LOOK,
    "GET /status": LOOK,
    "GET /nodes/<name>/series": LOOK,
    "GET /wait": LOOK,
    "GET /haproxy": LOOK,
    "GET /export": LOOK,
    "POST /apply": USERS,
    "POST /backup": FULL,
    "POST /restore": FULL,
    "GET /history": LOOK,
    "GET /history/<revision>": LOOK,
    "GET /diff": LOOK,
    "POST /rollback": USERS,
    "GET /tokens": LOOK,
    "POST /tokens": LOOK,
    "DELETE /tokens/<string(length=16):token>": LOOK,
    "POST /tokens/join": FULL,
    "GET /sessions": LOOK,
    "GET /transfers": LOOK,
    "GET /keys": LOOK,
    "GET /settings": LOOK,
    "PATCH /settings": FULL,
    "DELETE /sessions/<key>": USERS,
    "DELETE /sessions": USERS,
    "GET /bans": LOOK,
    "POST /bans": USERS,
    "DELETE /bans/<path:network>": USERS,
    "GET /users/<name>/usage": LOOK,
    **{
        f"POST /nodes/<name>/{action}": FULL
        for action in ("drain", "resume", "promote", "pause", "resync", "rotateSessionKeys")
    },
    "GET /nodes/<name>/branches": FULL,
    "GET /nodes/<name>/branches/<branch>": FULL,
    "DELETE /nodes/<name>/branches/<branch>": FULL,
    "POST /nodes/<name>/branches/<branch>/apply": FULL,
    **{
        f"{method} /{collection}{name}": LOOK if method == "GET" else role
        for collection, role in (
            *((each, USERS) for each in ("users", "groups")),
            *((each, FULL) for each in ("backends", "listeners", "admins", "certificates", "hostkeys")),
            *((each, FULL) for each in ("checkers", "observers", "nodes")),
        )
        for method, name in (
            ("GET", ""), ("POST", ""), ("GET", "/<name>"), ("PUT", "/<name>"), ("PATCH", "/<name>"),
            ("DELETE", "/<name>"),
        )
    },
}  # fmt: skip
"""The least that may ask, by method and path."""

NOT_FOR_TOKENS = {"POST /tokens", "PUT /account/password", "DELETE /account/sessions"}


_NAMES = {"network": "203.0.113.7", "token": "0" * 16}


def nameOf(route: Route) -> str:
    return f"{route.method} {route.path}"


def targetOf(route: Route) -> str:
    """A path that nothing is found at, where something is named."""
    path = route.template
    for variable in route.variables:
        path = path.replace(f"{{{variable}}}", _NAMES.get(variable, "absent"))
    return path + ("?from=1" if route.path == "/diff" else "")


def bodyOf(route: Route) -> Any:
    """The example of its description."""
    operation = description()["paths"][route.template][route.method.lower()]
    content = operation.get("requestBody", {}).get("content", {})
    return content.get("application/json", {}).get("example")


class MatrixTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A cluster of its own."""
        self.cluster = Cluster()
        self.cluster.rules.start()
        self.addCleanup(self.cluster.rules.stop)

    def ask(self, route: Route, headers: Mapping[str, str]) -> Answer:
        client = self.cluster.connect()
        answer = client.ask(route.method, targetOf(route), bodyOf(route), **headers)
        self.assertEqual(misfits(route.method, targetOf(route), answer), [], nameOf(route))
        return answer

    def token(self, admin: str, scope: str) -> dict[str, str]:
        """Headers of a new token."""
        body = {"name": "t", "scopes": [scope]}
        answer = self.cluster.connect().ask("POST", "/api/v1/tokens", body, Authorization=basic(admin))
        return {"Authorization": f"Bearer {answer.json['token']}"}

    def assertHeld(self, who: str, headers: Mapping[str, str], isToken: bool = False) -> None:
        """Each route is refused that is not granted, without effect, and no other one is."""
        for route, granted in self.granted(who, isToken):
            before = self.cluster.document, list(self.cluster.node.performed), self.cluster.rules.guard.bans()
            status = self.ask(route, headers).status
            if granted:
                # Roles alone are meant: what is not there, or not valid, is another matter.
                self.assertNotIn(status, (401, 403), f"{who}: {nameOf(route)}")
                self.assertLess(status, 500, f"{who}: {nameOf(route)}")
            else:
                self.assertEqual(status, 401 if who == "nobody" else 403, f"{who}: {nameOf(route)}")
                after = self.cluster.document, list(self.cluster.node.performed), self.cluster.rules.guard.bans()
                self.assertEqual(before, after, f"{who}: {nameOf(route)}")

    def granted(self, who: str, isToken: bool) -> Iterator[tuple[Route, bool]]:
        for route in table().known:
            name = nameOf(route)
            if name == "POST /login":
                continue
            may = ORDER.index(who) >= ORDER.index(LEAST[name])
            yield route, may and not (isToken and name in NOT_FOR_TOKENS)

    def test_everyRouteHasItsLine(self) -> None:
        declared = {nameOf(route): "nobody" if route.role is None else route.role.value for route in table().known}
        self.assertEqual(declared, dict(LEAST))

    def test_nobody(self) -> None:
        self.assertHeld("nobody", {})

    def test_auditor(self) -> None:
        self.assertHeld(LOOK, {"Authorization": basic(LOOK)})

    def test_users(self) -> None:
        self.assertHeld(USERS, {"Authorization": basic(USERS)})

    def test_full(self) -> None:
        self.assertHeld(FULL, {"Authorization": basic(FULL)})

    def test_tokensOfTheFullOne(self) -> None:
        for scope, who in (("read", LOOK), ("users", USERS), ("full", FULL)):
            self.begin()
            self.assertHeld(who, self.token(FULL, scope), isToken=True)

    def test_tokensOfOthers(self) -> None:
        for admin, scope, who in ((LOOK, "read", LOOK), (USERS, "read", LOOK), (USERS, "users", USERS)):
            self.assertHeld(who, self.token(admin, scope), isToken=True)

    def test_roleUsersReachesNothingElseByADocument(self) -> None:
        before = self.cluster.document
        for document in (
            {"settings": {"banSeconds": 9}},
            {"admins": [{"name": "mallory", "role": "full"}]},
            {"groups": [{"name": "g"}], "backends": [{"name": "b", "kind": "local", "root": "/"}]},
            {"nodes": [{"name": "node-a", "address": "192.0.2.66"}]},
        ):
            answer = self.cluster.connect().ask("POST", "/api/v1/apply", document, Authorization=basic(USERS))
            self.assertIn(answer.status, (403, 422), document)
        self.assertIs(self.cluster.document, before)

    def test_secretsAreExportedForTheFullOneAlone(self) -> None:
        for who, status in ((LOOK, 403), (USERS, 403), (FULL, 200)):
            answer = self.cluster.connect().ask("GET", "/api/v1/export?secrets", Authorization=basic(who))
            self.assertEqual(answer.status, status)
        answer = self.cluster.connect().ask("GET", "/api/v1/export?secrets", **self.token(FULL, "users"))
        self.assertEqual(answer.status, 403)
