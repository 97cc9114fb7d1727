"""Objects over the API: what is shown, what can be written, and under which conditions."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from cftpcluster.cluster.authority import makeServiceCertificate
from cftpcluster.config.changes import Batch, Put, Remove
from cftpcluster.config.document import Group, Mount, Node, User
from cftpcluster.errors import (
    ClusterError,
    DiskFull,
    Forbidden,
    JournalReadOnly,
    NotDurableEnough,
    OutcomeUnknown,
    PrimaryUnreachable,
)

from .support import CHAIN, HOST_KEY, KEY, AdministrationTestCase


class ReadingTests(AdministrationTestCase):
    def test_objectHasItsRevisionAsTag(self) -> None:
        revision = self.cluster.node.change(Put("users", User(name="alice", publicKeys=())))
        answer = self.ask("GET", "users/alice")
        self.assertEqual(answer.headers["ETag"], f'"{revision}"')
        self.assertEqual(
            (answer.json["name"], answer.json["revision"], answer.json["enabled"]), ("alice", revision, True)
        )
        self.ask("GET", "users/alice", If_None_Match=f'"{revision}"', status=304)

    def test_everySectionIsThere(self) -> None:
        for collection in ("users", "groups", "backends", "listeners", "admins", "certificates", "hostkeys", "checkers",
                           "observers", "nodes"):  # fmt: skip
            self.assertIn("items", self.ask("GET", collection).json)
        self.ask("GET", "apiTokens", status=404)

    def test_absentObjectIsNotFound(self) -> None:
        for method in ("GET", "DELETE", "PATCH"):
            answer = self.ask(method, "users/nobody", {} if method == "PATCH" else None, status=404)
            self.assertEqual(answer.headers["Content-Type"], "application/problem+json")

    def test_whatAUserHolds(self) -> None:
        self.cluster.node.change(Put("users", User(name="alice")))
        self.assertEqual(self.ask("GET", "users/alice/usage").json["files"], 1)
        self.ask("GET", "users/nobody/usage", status=404)
        self.ask("GET", "users/alice/usage?all=1", status=400)

    def test_secretsAreNeverShown(self) -> None:
        self.ask("PUT", "users/alice", {"password": "very secret"}, status=201)
        shown = b"".join(
            self.ask("GET", path).body
            for path in ("users", "users/alice", "admins", "admins/full", "certificates", "hostkeys/ed25519", "export")
        )
        for secret in (b"very secret", b"argon2", b"passwordHash", b"PRIVATE KEY", b"sealed"):
            self.assertNotIn(secret, shown)

    def test_listIsReadPageByPage(self) -> None:
        users = [Put("users", User(name=f"user{number:04}")) for number in range(2500)]
        self.cluster.node.change(Batch(tuple(users)))
        names: list[str] = []
        after, pages = "", 0
        while after is not None:
            page = self.ask("GET", f"users?limit=1000&after={after}").json
            names += [one["name"] for one in page["items"]]
            after, pages = page["next"], pages + 1
        self.assertEqual((len(names), names == sorted(names), pages), (2500, True, 3))
        self.assertEqual(len(self.ask("GET", "users").json["items"]), 100)
        self.assertEqual(len(self.ask("GET", "users?limit=100000").json["items"]), 1000)

    def test_listIsSearched(self) -> None:
        users = [Put("users", User(name=f"user{number:04}")) for number in range(300)]
        self.cluster.node.change(Batch(tuple(users)))
        page = self.ask("GET", "users?search=R02&limit=60").json
        self.assertEqual([one["name"] for one in page["items"]][:2], ["user0200", "user0201"])
        self.assertEqual((len(page["items"]), page["next"], page["total"]), (60, "user0259", 100))
        page = self.ask("GET", "users?search=R02&limit=60&after=user0259").json
        self.assertEqual((len(page["items"]), page["next"]), (40, None))

    def test_usersAreFoundByGroupByBackendAndByWhetherTheyMayLogIn(self) -> None:
        mount = Mount(path="/", backend="files")
        staff = ("staff",)
        users = (User(name="a", groups=staff), User(name="b", groups=staff, enabled=False))
        users = (*users, User(name="c", mounts=(mount,)))
        self.cluster.node.change(Batch((Put("groups", Group(name="staff")), *(Put("users", one) for one in users))))

        def found(query: str) -> list[str]:
            page = self.ask("GET", f"users?{query}").json
            self.assertEqual(page["total"], len(page["items"]))
            return [one["name"] for one in page["items"]]

        self.assertEqual(found("group=staff"), ["a", "b"])
        self.assertEqual(found("group=staff&enabled=false"), ["b"])
        self.assertEqual(found("enabled=true"), ["a", "c"])
        self.assertEqual(found("backend=files"), ["c"])
        self.assertEqual(found("group=staff&search=A"), ["a"])
        self.assertEqual(found("group=sta"), [])
        self.ask("GET", "users?enabled=yes", status=400)
        self.ask("GET", "backends?group=staff", status=400)

    def test_listFollowsTheDocument(self) -> None:
        self.assertEqual(self.ask("GET", "users").json["total"], 0)
        self.cluster.node.change(Put("users", User(name="alice")))
        self.assertEqual(self.ask("GET", "users").json["total"], 1)
        self.cluster.node.change(Remove("users", "alice"))
        self.assertEqual(self.ask("GET", "users").json["items"], [])

    def test_unknownParametersAreRefused(self) -> None:
        for path in ("users?limt=5", "users?limit=x", "users?limit=5&limit=6", "users/alice?x=1", "status?x"):
            self.ask("GET", path, status=400)


class WritingTests(AdministrationTestCase):
    def test_putCreatesThenReplaces(self) -> None:
        answer = self.ask("PUT", "users/alice", {"groups": []}, status=201)
        self.assertEqual(answer.json, {"revision": self.revision, "live": ["node-a"], "pending": []})
        self.assertEqual(answer.headers["ETag"], f'"{self.revision}"')
        self.ask("PUT", "users/alice", {"enabled": False})
        self.assertFalse(self.cluster.document.users["alice"].enabled)

    def test_emptyBodyIsAnObjectOfDefaults(self) -> None:
        self.ask("PUT", "users/alice", {}, status=201)
        self.ask("PUT", "users/bob", status=201)
        self.assertEqual({*self.cluster.document.users}, {"alice", "bob"})

    def test_whatIsSoAlreadyMakesNoRevision(self) -> None:
        self.ask("PUT", "users/alice", {"password": "secret"}, status=201)
        before = self.revision
        self.assertEqual(self.ask("PUT", "users/alice", {"password": "secret"}).json["revision"], before)
        self.ask("PUT", "users/alice", {})
        self.ask("PATCH", "users/alice", {"enabled": True})
        self.assertEqual(self.revision, before)

    def test_whatIsShownCanBeWrittenBack(self) -> None:
        self.ask(
            "PUT", "users/alice", {"password": "secret", "mounts": [{"path": "/", "backend": "files"}]}, status=201
        )
        before = self.cluster.document
        for path in (
            "users/alice",
            "listeners/ftp",
            "certificates/default",
            "hostkeys/ed25519",
            "admins/full",
            "nodes/node-a",
        ):
            self.ask("PUT", path, self.ask("GET", path).json)
        self.assertIs(self.cluster.document, before)

    def test_postCreatesOnly(self) -> None:
        answer = self.ask("POST", "users", {"name": "alice"}, status=201)
        self.assertEqual(answer.headers["Location"], "/api/v1/users/alice")
        before = self.revision
        answer = self.ask("POST", "users", {"name": "alice"}, status=409)
        self.assertIn("exists", answer.json["detail"])
        self.ask("POST", "users", {"name": "alice", "enabled": False}, status=409)
        self.assertEqual(self.revision, before)

    def test_patchMergesAsRFC7396(self) -> None:
        self.ask("PUT", "listeners/ftp", {"kind": "ftp", "port": 2121, "tls": "off", "deny": ["192.0.2.0/24"]})
        self.ask("PATCH", "listeners/ftp", {"port": 2122, "tls": None})
        listener = self.cluster.document.listeners["ftp"]
        self.assertEqual((listener.port, dict(listener.options), listener.deny), (2122, {}, ("192.0.2.0/24",)))
        self.ask("PATCH", "nodes/node-a", {"listeners": {"ftp": {"port": 21}}})
        self.ask("PATCH", "nodes/node-a", {"listeners": {"ftp": {"tls": "off"}, "sftp": {"port": 22}}})
        node = self.cluster.document.nodes["node-a"]
        self.assertEqual(node.listeners, {"ftp": {"port": 21, "tls": "off"}, "sftp": {"port": 22}})

    def test_patchKeepsPasswordAndKeys(self) -> None:
        self.ask("PUT", "users/alice", {"password": "secret"}, status=201)
        before = self.cluster.document
        self.ask("PATCH", "users/alice", {"protocols": ["sftp"]})
        self.ask("PATCH", "certificates/default", {"chain": CHAIN.decode() + "\n"})
        after = self.cluster.document
        self.assertEqual(after.users["alice"].passwordHash, before.users["alice"].passwordHash)
        self.assertEqual(after.certificates["default"].key, before.certificates["default"].key)

    def test_keysAreSealed(self) -> None:
        body = {"name": "new", "chain": CHAIN.decode(), "key": {"secret": KEY.decode()}}
        self.ask("POST", "certificates", body, status=201)
        self.ask("POST", "hostkeys", {"name": "other", "key": {"secret": HOST_KEY.decode()}}, status=201)
        document = self.cluster.document
        self.assertEqual(self.cluster.sealer.open(document.certificates["new"].key), KEY)
        self.assertNotIn(b"PRIVATE", document.hostKeys["other"].key.sealed)
        before = self.revision
        self.ask("PUT", "certificates/new", body)
        self.assertEqual(self.revision, before)

    def test_ellipticHostKeysAreForListenersThatUseThem(self) -> None:
        body = {"name": "ecdsa", "key": {"secret": KEY.decode()}}
        answer = self.ask("POST", "hostkeys", body, status=422)
        self.assertIn("legacyAlgorithms", answer.json["errors"][0]["message"])
        self.ask(
            "POST", "listeners", {"name": "old", "kind": "sftp", "port": 2200, "legacyAlgorithms": True}, status=201
        )
        self.ask("POST", "hostkeys", body, status=201)

    def test_keysThatCannotServeAreRefused(self) -> None:
        chain, other = CHAIN.decode(), makeServiceCertificate(["localhost"], 1e9)
        before = self.revision
        for path, body, place in (
            ("certificates/default", {"chain": other[0].decode()}, "key"),
            ("certificates/default", {"key": {"secret": other[1].decode()}}, "key"),
            ("certificates/default", {"chain": chain + other[0].decode()}, "chain"),
            ("certificates/default", {"key": {"secret": "nonsense"}}, "key"),
            ("hostkeys/ed25519", {"key": {"secret": "nonsense"}}, "key"),
            ("hostkeys/ed25519", {"key": {"secret": KEY.decode()}}, "key"),
        ):
            answer = self.ask("PATCH", path, body, status=422)
            self.assertEqual([error["path"] for error in answer.json["errors"]], [place], answer.body)
            self.assertNotIn(b"PRIVATE", answer.body)
        self.assertEqual(self.revision, before)

    def test_clearPasswordIsHashedOnceOnly(self) -> None:
        self.ask("PUT", "users/alice", {"password": "secret"}, status=201)
        self.assertEqual(self.cluster.hashed, [b"secret"])
        stored = self.cluster.document.users["alice"].passwordHash
        self.ask("PUT", "users/alice", {"password": "secret", "enabled": False})
        self.assertEqual(self.cluster.document.users["alice"].passwordHash, stored)
        self.ask("PATCH", "users/alice", {"password": "another"})
        self.assertNotEqual(self.cluster.document.users["alice"].passwordHash, stored)

    def test_deleteRemoves(self) -> None:
        self.ask("PUT", "groups/partners", {}, status=201)
        self.assertEqual(self.ask("DELETE", "groups/partners").json["revision"], self.revision)
        self.assertNotIn("partners", self.cluster.document.groups)
        self.ask("DELETE", "groups/partners", status=404)

    def test_removedNodeIsTakenOutByItsOwnChange(self) -> None:
        self.cluster.node.change(Put("nodes", Node(name="node-b", address="127.0.0.3")))
        self.ask("DELETE", "nodes/node-b")
        self.assertEqual([*self.cluster.document.nodes], ["node-a"])
        answer = self.ask("DELETE", "nodes/node-a", status=422)
        self.assertIn("primary", answer.json["errors"][0]["message"])

    def test_nodesJoinWithTokensOnly(self) -> None:
        self.ask("PUT", "nodes/node-b", {"address": "127.0.0.3"}, status=422)

    def test_everyProblemOfABodyIsTold(self) -> None:
        body = {"enabled": "yes", "groups": "partners", "expires": "tomorrow", "colour": "red", "protocols": ["gopher"]}
        answer = self.ask("PUT", "users/alice", body, status=422)
        paths = {error["path"] for error in answer.json["errors"]}
        self.assertEqual(paths, {"enabled", "groups", "expires", "", "protocols[0]"})
        self.assertNotIn("alice", self.cluster.document.users)

    def test_problemsThatTheJournalFindsHaveTheirPaths(self) -> None:
        answer = self.ask("PUT", "users/alice", {"mounts": [{"path": "/", "backend": "fils"}]}, status=422)
        self.assertEqual(answer.json["errors"][0]["path"], "mounts[0].backend")
        self.assertIn("files", answer.json["errors"][0]["message"])

    def test_bodiesThatAreNoObjectsAreRefused(self) -> None:
        for body in (b"[]", b"x", b"\xff", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"[" * 100_000, b'"a"', b"{}{}"):
            self.ask("PUT", "users/alice", body=body, status=400)
        self.ask("PUT", "users/alice", body=b"{}", Content_Type="text/plain", status=415)
        self.client = self.cluster.connectSocket()
        self.ask("PUT", "users/alice", body=b" " * 300_000, status=413)

    def test_nameOfTheBodyMustFit(self) -> None:
        self.ask("PUT", "users/alice", {"name": "bob"}, status=422)
        self.ask("PATCH", "users/alice", {"name": "bob"}, status=404)
        self.ask("PUT", "users/alice", {"name": "alice"}, status=201)
        self.ask("PATCH", "users/alice", {"name": "bob"}, status=422)

    def test_strangeNamesMakeNothing(self) -> None:
        before = self.revision
        for name in ("%00", "a%2Fb", "..", "%2e%2e", "a%20b", "%ff", "-a", "x" * 65, "%F0%9F%92%A9"):
            answer = self.cluster.connectSocket().ask("PUT", f"/api/v1/users/{name}", {})
            self.assertIn(answer.status, (400, 404, 405, 422), name)
        self.assertEqual(self.revision, before)


class ConditionTests(AdministrationTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.first = self.cluster.node.change(Put("users", User(name="alice")))

    def test_staleTagIsRefusedWithTheObjectAsItIs(self) -> None:
        self.ask("PATCH", "users/alice", {"enabled": False})
        for method, body in (("PUT", {}), ("PATCH", {"enabled": True}), ("DELETE", None)):
            answer = self.ask(method, "users/alice", body, If_Match=f'"{self.first}"', status=412)
            self.assertEqual(answer.json["current"], self.ask("GET", "users/alice").json)
            self.assertEqual(answer.headers["ETag"], f'"{self.revision}"')
        self.assertFalse(self.cluster.document.users["alice"].enabled)

    def test_freshTagIsAccepted(self) -> None:
        for tag in ('"{}"', '"1", "{}"', "*"):
            self.ask("PUT", "users/alice", {"enabled": False}, If_Match=tag.format(self.first))
            self.cluster.node.change(Remove("users", "alice"))
            self.first = self.cluster.node.change(Put("users", User(name="alice")))

    def test_otherTagsMatchNothing(self) -> None:
        for tag in (f'W/"{self.first}"', str(self.first), '"x"', "", f'"0{self.first}"'):
            self.ask("PUT", "users/alice", {"enabled": False}, If_Match=tag, status=412)
        self.ask("PUT", "users/bob", {}, If_Match="*", status=412)

    def test_ifNoneMatchCreatesOnly(self) -> None:
        self.ask("PUT", "users/alice", {"enabled": False}, If_None_Match="*", status=412)
        self.ask("PUT", "users/bob", {}, If_None_Match="*", status=201)
        self.ask("PUT", "users/bob", {}, If_None_Match='"5"', status=400)

    def test_revisionOfTheBodyIsACondition(self) -> None:
        shown = self.ask("GET", "users/alice").json
        self.ask("PATCH", "users/alice", {"enabled": False})
        self.ask("PUT", "users/alice", shown, status=412)
        self.ask("PATCH", "users/alice", {"revision": self.first, "enabled": True}, status=412)
        self.ask("PATCH", "users/alice", {"revision": self.revision, "enabled": True})
        self.ask("PATCH", "users/alice", {"revision": "1"}, status=422)

    def test_conditionHoldsWhereTheChangeIsAppended(self) -> None:
        def another() -> None:
            self.cluster.node.beforeAppend = lambda: None
            self.cluster.node.change(Put("users", User(name="alice", groups=())))

        self.cluster.node.beforeAppend = another
        answer = self.ask("PATCH", "users/alice", {"enabled": False}, If_Match=f'"{self.first}"', status=412)
        self.assertEqual(answer.json["current"]["revision"], self.first + 1)

    def test_withoutConditionTheLastOneWinsAndLosesNothing(self) -> None:
        """A password that another administrator sets in between is not undone."""

        def another() -> None:
            self.cluster.node.beforeAppend = lambda: None
            self.cluster.node.change(Put("users", User(name="alice", passwordHash=self.cluster.hashOf("newer"))))

        self.cluster.node.beforeAppend = another
        self.client.request("PATCH", "/api/v1/users/alice", b'{"enabled": false}')
        self.assertEqual(self.client.answers(), [])
        self.cluster.clock.advance(1)
        self.assertEqual(self.client.answers()[0].status, 200)
        alice = self.cluster.document.users["alice"]
        self.assertEqual((alice.enabled, alice.passwordHash != ""), (False, True))

    def test_changesThatNeverCeaseAreTold(self) -> None:
        node = self.cluster.node
        node.beforeAppend = lambda: node.change(Put("users", User(name="alice", groups=(), allow=())))
        self.client.request("PATCH", "/api/v1/users/alice", b'{"enabled": false}')
        self.cluster.clock.pump([1] * 10)
        self.assertEqual(self.client.answers()[0].status, 409)


class RepeatTests(AdministrationTestCase):
    def test_repeatedRequestIsDoneOnce(self) -> None:
        key = {"Idempotency_Key": "5b1e"}
        first = self.ask("POST", "users", {"name": "alice", "password": "secret"}, status=201, **key).json
        again = self.ask("POST", "users", {"name": "alice", "password": "secret"}, status=201, **key).json
        self.assertEqual((again, self.revision), (first, first["revision"]))
        gone = self.ask("DELETE", "users/alice", **key).json
        self.assertEqual(self.ask("DELETE", "users/alice", **key).json, gone)
        self.assertEqual(self.revision, gone["revision"])

    def test_keyOfAnotherRequestIsNoRepeat(self) -> None:
        self.ask("POST", "users", {"name": "alice"}, status=201, Idempotency_Key="one")
        self.ask("POST", "users", {"name": "bob"}, status=201, Idempotency_Key="one")
        self.ask("POST", "users", {"name": "alice"}, status=409, Idempotency_Key="two")
        self.ask("DELETE", "users/nobody", status=404, Idempotency_Key="one")
        self.assertEqual({*self.cluster.document.users}, {"alice", "bob"})

    def test_badKeyIsRefused(self) -> None:
        self.ask("POST", "users", {"name": "alice"}, status=400, Idempotency_Key="x" * 300)


class RefusalTests(AdministrationTestCase):
    def test_eachReasonHasItsStatus(self) -> None:
        for error, status in (
            (PrimaryUnreachable("primary node-a cannot be reached; nothing was changed"), 503),
            (OutcomeUnknown("abc"), 504),
            (NotDurableEnough(7, ["node-a"]), 504),
            (Forbidden("no"), 403),
            (DiskFull("no room"), 507),
            (JournalReadOnly("a write failed"), 503),
            (ClusterError("something else"), 409),
        ):
            self.cluster.node.refusal = error
            answer = self.ask("PUT", "users/alice", {}, status=status)
            self.assertEqual(answer.json["detail"], str(error))

    def test_unknownOutcomeNamesItsRequest(self) -> None:
        self.cluster.node.refusal = OutcomeUnknown("abc")
        self.assertEqual(self.ask("PUT", "users/alice", {}, status=504).json["requestId"], "abc")
        self.cluster.node.refusal = NotDurableEnough(7, ["node-a"])
        answer = self.ask("PUT", "users/alice", {}, status=504).json
        self.assertEqual((answer["revision"], answer["durableOn"]), (7, ["node-a"]))

    def test_clientThatLeavesCancelsNothingThatWasProposed(self) -> None:
        proposed: Deferred[int] = Deferred(lambda deferred: self.fail("cancelled"))
        self.cluster.node.answer = proposed
        self.client.request("PUT", "/api/v1/users/alice", b"{}")
        self.client.lose()
        proposed.callback(7)

    def test_pendingNodesAreNamed(self) -> None:
        self.cluster.node.pending = ["node-b"]
        answer = self.ask("PUT", "groups/g?wait=5", {}, status=201)
        self.assertEqual(answer.json, {"revision": self.revision, "live": ["node-a"], "pending": ["node-b"]})

    def test_changeStandsWhereNobodyCanSayWhoHasIt(self) -> None:
        self.cluster.node.waitRefusal = PrimaryUnreachable("the primary node-a cannot be reached")
        answer = self.ask("PUT", "groups/g", {}, status=201)
        self.assertEqual(answer.json, {"revision": self.revision, "live": [], "pending": []})
        self.ask("GET", "wait", status=503)

    def test_authorIsWhoeverAsked(self) -> None:
        self.ask("PUT", "groups/g", {}, status=201)
        _, expected, author, _ = self.cluster.node.proposals[-1]
        self.assertEqual((author.role, author.address, expected), ("full", "socket", {("groups", "g"): 0}))
        self.assertEqual(self.cluster.document.groups["g"], Group(name="g", revision=self.revision))

    def test_othersCannotUseTheSocket(self) -> None:
        self.client = self.cluster.connectSocket(user=12345)
        self.ask("GET", "status", status=403)
