"""Going back to an older configuration: what goes back, and what never does."""

from __future__ import annotations

from collections.abc import Collection

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.changes import Batch, Change, MergeSettings, Promote, Put, Remove, Unknown, apply
from cftpcluster.config.document import (
    SECTIONS,
    Admin,
    Backend,
    Certificate,
    Checker,
    ClusterKey,
    Document,
    Group,
    HostKey,
    JoinToken,
    Listener,
    Node,
    Role,
    Secret,
    User,
)
from cftpcluster.config.rollback import SECTIONS_BACK, Rollback, rollback
from cftpcluster.errors import Invalid

from .strategies import changes, documents, forAll

ALICE = User(name="alice", passwordHash="old hash", publicKeys=("old key",), groups=("g",), allow=("10.0.0.0/8",))
PAST = apply(
    Document(),
    Batch(
        (
            Put("groups", Group(name="g", allow=("::1",))),
            Put("users", ALICE),
            Put("backends", Backend(name="files", kind="local", options={"root": "a"})),
            Put("listeners", Listener(name="sftp", kind="sftp", port=2222)),
            Put("admins", Admin(name="admin", role=Role.full)),
            Put("certificates", Certificate(name="default", chain="c", key=Secret(b"1"))),
            Put("hostKeys", HostKey(name="k", key=Secret(b"1"))),
            Put("nodes", Node(name="a", address="192.0.2.1")),
            Put("keys", ClusterKey(name="sessions", key=Secret(b"1"))),
            Put("tokens", JoinToken(name="t", node="b", secretHash="h", expires=1.0)),
            Put("checkers", Checker(name="users", kind="users")),
            MergeSettings({"banSeconds": 60}),
        )
    ),
)


def back(present: Document, only: Collection[str] = (), past: Document = PAST) -> Document:
    """The document after going back."""
    change = rollback(past, present, only).change
    return present if change is None else apply(present, change)


class RollbackTests(SynchronousTestCase):
    def after(self, *some: Change) -> Document:
        return apply(PAST, Batch(some))

    def refusal(self, present: Document, only: Collection[str] = (), past: Document = PAST) -> str:
        return str(self.assertRaises(Invalid, rollback, past, present, only))

    def test_nothingToDoIsNoChange(self) -> None:
        self.assertEqual(rollback(PAST, PAST), Rollback(None, []))
        self.assertIsNone(rollback(PAST, self.after(Put("users", ALICE))).change)

    def test_objectsAreAsTheyWere(self) -> None:
        present = self.after(
            Put("users", evolve(ALICE, groups=(), allow=())),
            Put("users", User(name="bob")),
            Put("groups", Group(name="g")),
            Remove("listeners", "sftp"),
            Put("backends", Backend(name="files", kind="local", options={"root": "b"})),
            MergeSettings({"banSeconds": 61, "drainSeconds": 9}),
        )
        document = back(present)
        self.assertEqual(document.revision, present.revision + 1)
        self.assertEqual((document.users["alice"].groups, document.users["alice"].allow), (("g",), ("10.0.0.0/8",)))
        self.assertNotIn("bob", document.users)
        self.assertEqual(document.groups["g"].allow, ("::1",))
        self.assertEqual(document.listeners["sftp"].port, 2222)
        self.assertEqual(document.backends["files"].options, {"root": "a"})
        self.assertEqual((document.settings.banSeconds, document.settings.drainSeconds), (60, 30))

    def test_whatSaysWhoIsWhoStaysAsItIs(self) -> None:
        present = self.after(
            Promote(2, "a", "admin"),
            Put("nodes", Node(name="b", address="192.0.2.2")),
            Put("admins", Admin(name="admin", role=Role.full, enabled=False)),
            Put("certificates", Certificate(name="default", chain="d", key=Secret(b"2"))),
            Put("hostKeys", HostKey(name="k", key=Secret(b"2"))),
            Put("keys", ClusterKey(name="sessions", key=Secret(b"2"))),
            Remove("tokens", "t"),
            Remove("checkers", "users"),
            Remove("groups", "g"),
        )
        document = back(present)
        for section in set(SECTIONS) - set(SECTIONS_BACK):
            self.assertIs(document.sections[section], present.sections[section], section)
        self.assertEqual((document.promoted, document.lastNodeNumber), (present.promoted, present.lastNodeNumber))
        self.assertIn("g", document.groups)

    def test_credentialsAndLocksStayAsTheyAre(self) -> None:
        locked = evolve(ALICE, passwordHash="new hash", publicKeys=("new key",), enabled=False, allow=())
        present = self.after(Put("users", locked))
        made = rollback(PAST, present)
        self.assertEqual(made.kept, ["users/alice keeps its password, public keys, enabled: false"])
        alice, before = back(present).users["alice"], present.users["alice"]
        self.assertEqual((alice.passwordHash, alice.publicKeys, alice.enabled), ("new hash", ("new key",), False))
        self.assertEqual(alice.allow, ("10.0.0.0/8",))
        self.assertEqual(alice.credentialsRevision, before.credentialsRevision)

    def test_whoWasDisabledThenIsDisabledAgain(self) -> None:
        past = apply(PAST, Put("users", evolve(ALICE, enabled=False)))
        document = back(apply(past, Put("users", ALICE)), past=past)
        self.assertFalse(document.users["alice"].enabled)
        self.assertEqual(document.users["alice"].credentialsRevision, document.revision)

    def test_removedUserComesBackWithoutCredentials(self) -> None:
        present = self.after(Remove("users", "alice"))
        made = rollback(PAST, present)
        self.assertEqual(made.kept, ["users/alice was removed since: it comes back without password and public keys"])
        alice = back(present).users["alice"]
        self.assertEqual((alice.passwordHash, alice.publicKeys, alice.groups), ("", (), ("g",)))
        # Sessions of the one that was removed are none of this one.
        self.assertEqual(alice.credentialsRevision, present.revision + 1)

    def test_onlyWhatIsNamedGoesBack(self) -> None:
        present = self.after(
            Put("users", evolve(ALICE, allow=())),
            Put("users", User(name="bob")),
            Put("groups", Group(name="g")),
            MergeSettings({"banSeconds": 61}),
        )
        document = back(present, ["users/alice", "settings"])
        self.assertEqual((document.users["alice"].allow, document.settings.banSeconds), (("10.0.0.0/8",), 60))
        self.assertEqual((document.groups["g"].allow, "bob" in document.users), ((), True))
        self.assertNotIn("bob", back(present, ["users"]).users)

    def test_whatCannotGoBackIsNamed(self) -> None:
        text = self.refusal(PAST, ["nodes/a", "users/nobody", "users", "admins", "setings"])
        for part in (
            "only[0]: 'nodes/a' does not go back",
            "only[1]: there is no 'users/nobody'",
            "only[3]",
            "only[4]",
        ):
            self.assertIn(part, text)
        self.assertNotIn("only[2]", text)

    def test_waysInAreNotLost(self) -> None:
        for kind in ("manager", "cluster"):
            present = self.after(Put("listeners", Listener(name="door", kind=kind, port=1)))
            self.assertIn(f"no listener of kind {kind}", self.refusal(present))
            back(present, ["users", "settings"])
            moved = apply(present, Put("listeners", Listener(name="other", kind=kind, port=2)))
            self.assertNotIn("other", back(moved, past=present).listeners)

    def test_pastThatCannotBeReadIsRefused(self) -> None:
        past = apply(PAST, Unknown({"kind": "put", "section": "users", "value": {"name": "alice", "new": 1}}))
        self.assertIn("does not know", self.refusal(PAST, past=past))

    @forAll(documents, documents, changes)
    def test_goingBackTwiceIsNoChange(self, past: Document, present: Document, change: Change) -> None:
        past = evolve(past, unknown=())
        once = back(apply(present, change), past=past)
        self.assertIsNone(rollback(past, once).change)
