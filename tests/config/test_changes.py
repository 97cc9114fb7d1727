"""What changes do to a document."""

from __future__ import annotations

from attrs import evolve
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.changes import (
    SETTINGS,
    Batch,
    Change,
    MergeSettings,
    Promote,
    Put,
    Rehash,
    Remove,
    Unknown,
    apply,
    moved,
    revisionOf,
)
from cftpcluster.config.codec import decodeChange, encodeChange, encodeDocument
from cftpcluster.config.document import SECTIONS, Admin, Document, Group, Node, Promoted, Role, Settings, User
from cftpcluster.config.written import exportObject, readObject
from cftpcluster.errors import Invalid

from .strategies import changes, documents, forAll, puts


def applied(*some: Change, document: Document | None = None) -> Document:
    """The document after these changes, each a revision."""
    result = document or Document()
    for change in some:
        result = apply(result, change)
    return result


class ApplyTests(SynchronousTestCase):
    @forAll(documents, changes)
    def test_everyChangeIsOneRevision(self, document: Document, change: Change) -> None:
        self.assertEqual(apply(document, change).revision, document.revision + 1)

    @forAll(documents, changes)
    def test_theDocumentBeforeStaysAsItWas(self, document: Document, change: Change) -> None:
        before = encodeDocument(document)
        apply(document, change)
        self.assertEqual(encodeDocument(document), before)

    @forAll(documents, changes)
    def test_onlyWhatIsTouchedGetsTheRevision(self, document: Document, change: Change) -> None:
        after = apply(document, change)
        targets = set(change.targets())
        for section, values in after.sections.items():
            for name, value in values.items():
                self.assertEqual(name, value.name)
                self.assertEqual(value.revision == after.revision, (section, name) in targets)
                if (section, name) not in targets:
                    self.assertIs(value, document.sections[section][name])

    @forAll(documents, puts)
    def test_putPutsAllButWhatApplyAloneSets(self, document: Document, put: Put) -> None:
        value = apply(document, put).sections[put.section][put.value.name]
        own = {
            name: getattr(put.value, name)
            for name in ("revision", "credentialsRevision", "number", "since")
            if hasattr(value, name)
        }
        self.assertEqual(evolve(value, **own), put.value)

    @forAll(documents, puts)
    def test_removedIsGone(self, document: Document, put: Put) -> None:
        after = applied(put, Remove(put.section, put.value.name), document=document)
        self.assertNotIn(put.value.name, after.sections[put.section])

    def test_removingWhatIsNotThereIsARevision(self) -> None:
        document = applied(Remove("users", "nobody"))
        self.assertEqual((document.revision, len(document.users)), (1, 0))

    @forAll(documents, st.lists(changes, max_size=4))
    def test_batchDoesWhatItsChangesDo(self, document: Document, some: list[Change]) -> None:
        after, one = applied(*some, document=document), apply(document, Batch(tuple(some)))
        self.assertEqual(one.revision, document.revision + 1)
        self.assertEqual({name: set(values) for name, values in one.sections.items()},
                         {name: set(values) for name, values in after.sections.items()})  # fmt: skip
        self.assertEqual(evolve(one.settings, revision=0), evolve(after.settings, revision=0))

    def test_unknownSectionsAreLeftAlone(self) -> None:
        document = applied(Put("users", User(name="alice")))
        for change in (Put("nothing", User(name="x")), Remove("nothing", "x")):
            self.assertEqual(apply(document, change).sections, document.sections)


class InitialPasswordTests(SynchronousTestCase):
    founded = Admin(name="admin", passwordHash="generated", initialPassword=True)

    def test_endsWithThePassword(self) -> None:
        document = applied(Put("admins", self.founded), Put("admins", evolve(self.founded, passwordHash="chosen")))
        self.assertFalse(document.admins["admin"].initialPassword)
        again = applied(Put("admins", self.founded), document=document)
        self.assertFalse(again.admins["admin"].initialPassword)

    def test_staysWithThePassword(self) -> None:
        change = Put("admins", evolve(self.founded, role=Role.users, initialPassword=False))
        document = applied(Put("admins", self.founded), change)
        self.assertTrue(document.admins["admin"].initialPassword)

    def test_nobodyWritesOrReadsIt(self) -> None:
        self.assertNotIn("initialPassword", exportObject(self.founded, defaults=True))
        plain = {"name": "admin", "role": "full", "initialPassword": True}
        self.assertRaises(Invalid, readObject, "admins", plain)
        written = readObject("admins", {"name": "admin", "role": "full"})
        self.assertTrue(written.completed(self.founded, None).initialPassword)


class RehashTests(SynchronousTestCase):
    def test_samePasswordInAnotherHashEndsNoSession(self) -> None:
        document = applied(Put("users", User(name="alice", passwordHash="old")), Rehash("alice", "old", "new"))
        alice = document.users["alice"]
        self.assertEqual((alice.passwordHash, alice.revision, alice.credentialsRevision), ("new", 2, 1))

    def test_passwordSetMeanwhileStays(self) -> None:
        document = applied(Put("users", User(name="alice", passwordHash="set")), Rehash("alice", "old", "new"))
        self.assertEqual((document.users["alice"].passwordHash, document.users["alice"].revision), ("set", 1))

    def test_nobodyIsMadeByIt(self) -> None:
        self.assertEqual(len(applied(Rehash("nobody", "old", "new")).users), 0)

    def test_hashesAreNotShown(self) -> None:
        self.assertNotIn("secret", repr(Rehash("alice", "secret", "secret")))

    def test_isEncodedAsEveryOther(self) -> None:
        change = Rehash("alice", "old", "new")
        self.assertEqual(decodeChange(encodeChange(change)), change)


class SettingsTests(SynchronousTestCase):
    def test_mergedByKey(self) -> None:
        document = applied(MergeSettings({"drainSeconds": 5}), MergeSettings({"partialSeconds": 6}))
        self.assertEqual((document.settings.drainSeconds, document.settings.partialSeconds), (5, 6))
        self.assertEqual(document.settings.revision, 2)

    def test_nullGivesTheDefaultBack(self) -> None:
        document = applied(
            MergeSettings({"drainSeconds": 5, "later": 1}), MergeSettings({"drainSeconds": None, "later": None})
        )
        self.assertEqual(evolve(document.settings, revision=0), Settings())

    def test_settingsOfNewerVersionsAreKept(self) -> None:
        document = applied(MergeSettings({"later": [1]}), MergeSettings({"drainSeconds": 5}))
        self.assertEqual(document.settings.extra, {"later": [1]})

    def test_whatCannotBeReadChangesNothing(self) -> None:
        document = applied(MergeSettings({"drainSeconds": "soon"}))
        self.assertEqual((document.revision, document.settings), (1, Settings()))


class CredentialsRevisionTests(SynchronousTestCase):
    """Sessions end where what they proved, or were granted, is gone."""

    user = User(name="alice", passwordHash="1", publicKeys=("k1", "k2"))

    def revisionAfter(self, **attributes: object) -> int:
        """Of a user made at revision 1, after a change at revision 2."""
        document = applied(Put("users", self.user), Put("users", evolve(self.user, **attributes)))
        return document.users["alice"].credentialsRevision

    def test_raised(self) -> None:
        for attributes in ({"passwordHash": "2"}, {"passwordHash": ""}, {"enabled": False}, {"publicKeys": ("k1",)}):
            self.assertEqual(self.revisionAfter(**attributes), 2, attributes)

    def test_kept(self) -> None:
        for attributes in (
            {},
            {"publicKeys": ("k2", "k1", "k3")},
            {"protocols": frozenset()},
            {"credentialsRevision": 77},
        ):
            self.assertEqual(self.revisionAfter(**attributes), 1, attributes)

    def test_enablingAgainEndsOldSessionsToo(self) -> None:
        off = evolve(self.user, enabled=False)
        document = applied(Put("users", self.user), Put("users", off), Put("users", self.user))
        self.assertEqual(document.users["alice"].credentialsRevision, 3)

    def test_newUserOfAnOldNameHasNoOldSessions(self) -> None:
        document = applied(Put("users", self.user), Remove("users", "alice"), Put("users", self.user))
        self.assertEqual(document.users["alice"].credentialsRevision, 3)

    def test_administratorsToo(self) -> None:
        admin = Admin(name="root", passwordHash="1")
        document = applied(Put("admins", admin), Put("admins", evolve(admin, passwordHash="2")))
        self.assertEqual(document.admins["root"].credentialsRevision, 2)

    def test_changedAndChangedBackInOneBatchEndsSessions(self) -> None:
        off = evolve(self.user, enabled=False)
        document = applied(Put("users", self.user), Batch((Put("users", off), Put("users", self.user))))
        self.assertEqual(document.users["alice"].credentialsRevision, 2)


class NodeNumberTests(SynchronousTestCase):
    def node(self, name: str, **attributes: object) -> Put:
        return Put("nodes", Node(name=name, address="192.0.2.1", **attributes))

    def test_givenOnceAndKept(self) -> None:
        document = applied(self.node("a"), self.node("b"), self.node("a", number=7, fingerprint="f"))
        self.assertEqual({name: node.number for name, node in document.nodes.items()}, {"a": 1, "b": 2})

    def test_neverReused(self) -> None:
        document = applied(self.node("a"), self.node("b"), Remove("nodes", "b"), self.node("b"))
        self.assertEqual(document.nodes["b"].number, 3)


class PromotionTests(SynchronousTestCase):
    def test_lastPromotionCounts(self) -> None:
        document = applied(Promote(1, "a", "system"), Promote(2, "b", "admin"))
        self.assertEqual(document.promoted, Promoted(epoch=2, name="b", by="admin"))


class UnknownTests(SynchronousTestCase):
    laterUser = Unknown({"kind": "put", "section": "users", "value": {"name": "alice", "enabled": "sometimes"}})

    def test_keptInTheirOrder(self) -> None:
        document = applied(Unknown({"kind": "x"}), Unknown({"kind": "y"}))
        self.assertEqual([(one.revision, one.raw["kind"]) for one in document.unknown], [(1, "x"), (2, "y")])

    def test_objectThatCannotBeReadIsNotServedAsItWas(self) -> None:
        document = applied(Put("users", User(name="alice")), self.laterUser)
        self.assertNotIn("alice", document.users)
        self.assertEqual(len(document.unknown), 1)

    def test_readableObjectReplacesTheUnreadableOne(self) -> None:
        for change in (Put("users", User(name="alice")), Remove("users", "alice")):
            self.assertEqual(applied(self.laterUser, change).unknown, ())

    def test_otherObjectsDoNot(self) -> None:
        changes = (Put("groups", Group(name="alice")), Remove("users", "bob"))
        self.assertEqual(len(applied(self.laterUser, *changes).unknown), 1)


class TargetTests(SynchronousTestCase):
    def test_targetsOfABatch(self) -> None:
        batch = Batch(
            (Put("users", User(name="a")), Batch((Remove("groups", "g"),)), MergeSettings({}), Promote(1, "a", ""))
        )
        self.assertEqual(list(batch.targets()), [("users", "a"), ("groups", "g"), SETTINGS])

    def test_revisionsOfObjects(self) -> None:
        document = applied(Put("users", User(name="a")), MergeSettings({"drainSeconds": 3}))
        asked = {("users", "a"): 1, ("users", "b"): 0, ("nothing", "x"): 0, SETTINGS: 2}
        self.assertEqual({target: revisionOf(document, target) for target in asked}, asked)
        self.assertEqual(moved(document, asked), {})
        self.assertEqual(moved(document, {("users", "a"): 0, SETTINGS: 2}), {("users", "a"): 1})

    def test_everySectionHasAPlaceInANewDocument(self) -> None:
        self.assertEqual(Document().sections.keys(), SECTIONS.keys())
