"""What administrators may ask of a node, on the primary and on the others."""

from __future__ import annotations

from typing import Any

from attrs import define, evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from cftpcluster.administration import RELAYED_WAIT_SECONDS, Administration
from cftpcluster.auth.own import OWN_ROLE
from cftpcluster.cluster.tokens import JoinTokenText
from cftpcluster.config.changes import Batch, Change, MergeSettings, Promote, Put, Remove, Unknown
from cftpcluster.config.document import Admin, Backend, Document, Group, Node, OwnPart, Role, User
from cftpcluster.errors import ClusterError, Conflict, Forbidden, NotAppending, OutcomeUnknown, PrimaryUnreachable
from cftpcluster.interfaces import IAdministration
from cftpcluster.journal.entry import Proposal
from cftpcluster.manager.rights import present, requireChange, requireRole
from cftpcluster.testing.auth import documentWith
from cftpcluster.testing.cluster import soon
from cftpcluster.vocabulary import Author

from .nodesupport import CLUSTER_PORT, ClusterCase, MemoryNode

ADMINS = (
    *(Admin(name=role.value, role=role) for role in Role),
    Admin(name="off", role=Role.full, enabled=False),
)


def author(name: str, role: str = "full", address: str = "192.0.2.7") -> Author:
    return Author(name, role, address)


PUT_USER = Put("users", User(name="alice"))
PROMOTE = Promote(2, "b", "me")
UNKNOWN = Unknown({"kind": "teleport"})


class RightsTests(SynchronousTestCase):
    document = documentWith(admins=ADMINS)

    def may(self, who: Author, change: Change, document: Document | None = None) -> bool:
        try:
            requireChange(present(who, document or self.document), document or self.document, change)
        except Forbidden:
            return False
        return True

    def test_everyRoleAndEveryKindOfChange(self) -> None:
        nodes = Put("nodes", Node(name="b", address="127.0.0.2"))
        for change, users in (
            (PUT_USER, True),
            (Remove("users", "alice"), True),
            (Put("groups", Group(name="partners")), True),
            (Put("admins", ADMINS[0]), False),
            (Remove("admins", "full"), False),
            (Put("backends", Backend(name="files", kind="local")), False),
            (Remove("keys", "authority"), False),
            (Remove("tokens", "t"), False),
            (nodes, False),
            (MergeSettings({"drainSeconds": 1}), False),
            (PROMOTE, False),
            (UNKNOWN, False),
            (Batch(()), False),
            (Batch((PUT_USER, Put("groups", Group(name="partners")))), True),
            (Batch((PUT_USER, nodes)), False),
            (Batch((PUT_USER, PROMOTE)), False),
            (Batch((PUT_USER, Batch((UNKNOWN,)))), False),
        ):
            verdicts = [self.may(author(role.value), change) for role in (Role.full, Role.users, Role.auditor)]
            self.assertEqual(verdicts, [True, users, False], change)

    def test_documentSaysWhichRoleItIs(self) -> None:
        self.assertFalse(self.may(author("auditor", "full"), PUT_USER))
        self.assertTrue(self.may(author("full", "auditor"), PUT_USER))

    def test_disabledAndUnknownOnesMayNothing(self) -> None:
        for name in ("off", "ghost", "", "Full"):
            self.assertFalse(self.may(author(name), PUT_USER), name)

    def test_userOfTheFilesIsNoAdministrator(self) -> None:
        document = documentWith(User(name="alice"), admins=ADMINS)
        self.assertFalse(self.may(author("alice"), PUT_USER, document))

    def test_usersMayChangeOfThemselvesWhatTheyMay(self) -> None:
        alice = User(name="alice", mayChange=frozenset({OwnPart.publicKeys}))
        document, who = documentWith(alice, User(name="bob"), admins=ADMINS), author("alice", OWN_ROLE)
        keys = evolve(alice, publicKeys=("ssh-ed25519 AAAA",))
        for change, granted in (
            (Put("users", keys), True),
            (Put("users", evolve(keys, passwordHash="x")), False),
            (Put("users", User(name="bob", publicKeys=("ssh-ed25519 AAAA",))), False),
            (Batch((Put("users", keys),)), False),
            (Remove("users", "alice"), False),
            (Remove("apiTokens", "0" * 16), False),
            (PROMOTE, False),
            (UNKNOWN, False),
        ):
            self.assertEqual(self.may(who, change, document), granted, change)
        self.assertRaises(Forbidden, requireRole, who, Role.auditor)

    def test_whoOwnsTheSocketNeedsNoEntry(self) -> None:
        for address in ("socket", "local"):
            self.assertTrue(self.may(author("root", "full", address), PROMOTE))
        for address in ("Socket", "socket ", "", "127.0.0.1"):
            self.assertFalse(self.may(author("root", "full", address), PROMOTE))
        self.assertFalse(self.may(author("system", "users", "local"), PROMOTE))


class AdministrationCase(ClusterCase):
    def setUp(self) -> None:
        super().setUp()
        self.a.change(*(Put("admins", admin) for admin in ADMINS))
        self.cluster.advance(1)
        self.primary, self.secondary = self.a.administration, self.b.administration

    def propose(self, where: Administration, change: Change, who: str = "full", **more: Any) -> Deferred[int]:
        return where.propose(change, more.pop("expected", {}), author(who), **more)


@define(eq=False)
class BecomingPrimary:
    """An uplink that loses the primary, while its node becomes primary itself and takes no changes."""

    _node: MemoryNode
    _outcome: ClusterError

    def propose(self, proposal: Proposal) -> Deferred[int]:
        node = self._node
        promote = Proposal(Promote(2, node.name, "test"), {}, author("full"), node.name, "promote", 0.0)
        node.committed(soon(node.journal.append(promote)))
        node.refusal = NotAppending("two histories; nothing was changed")
        return fail(self._outcome)

    def stop(self) -> Deferred[None]:
        return succeed(None)


class ProposeTests(AdministrationCase):
    def test_isAnAdministration(self) -> None:
        verifyObject(IAdministration, self.primary)
        self.assertIs(self.primary.document(), self.a.head.document)
        self.assertEqual(self.primary.status(), self.a.status())

    def test_primaryAppendsItself(self) -> None:
        before = self.a.head.revision
        self.assertEqual(self.now(self.propose(self.primary, PUT_USER, requestId="my request")), before + 1)
        appended = self.a.appended[-1]
        self.assertEqual((appended.author, appended.node, appended.requestId), (author("full"), "a", "my request"))

    def test_secondaryHasThePrimaryAppend(self) -> None:
        revision = self.now(self.propose(self.secondary, PUT_USER))
        self.assertEqual((revision, self.a.head.revision, self.b.head.revision), (revision,) * 3)
        appended = self.a.appended[-1]
        self.assertEqual((appended.author, appended.node), (author("full"), "b"))
        self.assertEqual(self.b.appended, [])

    def test_everyRequestHasAnIdOfItsOwn(self) -> None:
        self.now(self.propose(self.primary, PUT_USER))
        self.now(self.propose(self.secondary, PUT_USER))
        ids = [proposal.requestId for proposal in self.a.appended[-2:]]
        self.assertEqual(len({*ids, ""}), 3)

    def test_expectedRevisionsReachThePrimary(self) -> None:
        for where in (self.primary, self.secondary):
            conflict = self.refused(self.propose(where, PUT_USER, expected={("users", "alice"): 77}), Conflict)
            self.assertEqual(conflict.moved, {("users", "alice"): 0})

    def test_primaryLooksAtRightsInItsOwnDocument(self) -> None:
        before = self.a.head.revision
        for where in (self.primary, self.secondary):
            for name in ("auditor", "off", "ghost"):
                self.refused(self.propose(where, PUT_USER, name), Forbidden)
            self.refused(self.propose(where, Batch((PUT_USER, PROMOTE)), "users"), Forbidden)
        self.assertEqual(self.a.head.revision, before)

    def test_administratorWhoWasRemovedMeanwhileIsRefused(self) -> None:
        self.a.change(Remove("admins", "users"))
        self.assertIn("users", self.b.document().admins)
        self.refused(self.propose(self.secondary, PUT_USER, "users"), Forbidden)

    def test_withoutThePrimaryNothingIsChanged(self) -> None:
        self.cluster.cut("a")
        error = self.refused(self.propose(self.secondary, PUT_USER), PrimaryUnreachable)
        self.assertEqual(str(error), "the primary a cannot be reached; nothing was changed")

    def test_outcomeStaysUnknownOnANodeThatBecamePrimaryAndTakesNoChanges(self) -> None:
        """What it refuses may have been made by the primary before."""
        for outcome, said in ((OutcomeUnknown("mine"), OutcomeUnknown), (PrimaryUnreachable("away"), NotAppending)):
            self.tearDown()
            self.setUp()
            self.b.peering.uplink = BecomingPrimary(self.b, outcome)  # type: ignore[assignment]
            self.refused(self.propose(self.secondary, PUT_USER, requestId="mine"), said)

    def test_primaryThatIsNoneAnyMoreChangesNothing(self) -> None:
        self.a.peering.publisher.fence(2, "c")
        proposed = self.propose(self.secondary, PUT_USER)
        self.assertNoResult(proposed)
        # It waits for the next one to take over.
        self.cluster.advance(11)
        error = self.refused(proposed, PrimaryUnreachable)
        self.assertIn("nothing was changed", str(error))
        self.assertIn("c", str(error))
        self.refused(self.propose(self.primary, PUT_USER), PrimaryUnreachable)


class WaitTests(AdministrationCase):
    def test_whoeverIsConnectedIsWaitedFor(self) -> None:
        for where in (self.primary, self.secondary):
            self.assertEqual(self.now(where.wait(0, False, 10)), {"live": ["a", "b", "c"], "pending": []})

    def test_secondaryWaitsForWhatThePrimaryHas(self) -> None:
        """And not for the revision that it has come to itself."""
        self.b.held = True
        self.a.change(PUT_USER)
        waiting = self.secondary.wait(0, False, 10)
        self.cluster.advance(1)
        self.assertNoResult(waiting)
        self.b.converged()
        self.assertEqual(self.now(waiting)["pending"], [])

    def test_pendingOnesAreNamedWhenTheTimeIsUp(self) -> None:
        self.b.held = self.a.held = True
        self.a.change(PUT_USER)
        for where in (self.primary, self.secondary):
            waiting = where.wait(self.a.head.revision, False, 1)
            self.cluster.advance(1.5)
            self.assertEqual(self.now(waiting), {"live": ["c"], "pending": ["a", "b"]})

    def test_firesAsSoonAsTheLastOneIsLive(self) -> None:
        self.a.held = True
        self.a.change(PUT_USER)
        waiting = self.primary.wait(self.a.head.revision, False, 60)
        self.cluster.advance(1)
        self.assertNoResult(waiting)
        self.a.converged()
        self.assertEqual(self.successResultOf(waiting), {"live": ["a", "b", "c"], "pending": []})

    def test_nodeThatIsNotConnectedCountsOnlyWithAll(self) -> None:
        self.cluster.cut("c")
        self.cluster.advance(1)
        for where in (self.primary, self.secondary):
            self.assertEqual(self.now(where.wait(0, False, 1)), {"live": ["a", "b"], "pending": []})
            waiting = where.wait(0, True, 0.3)
            self.assertEqual(self.now(waiting), {"live": ["a", "b"], "pending": ["c"]})

    def test_secondaryWaitsLongerThanOneQuestionMay(self) -> None:
        self.c.held = True
        self.a.change(PUT_USER)
        waiting = self.secondary.wait(self.a.head.revision, False, RELAYED_WAIT_SECONDS + 20)
        self.cluster.advance(RELAYED_WAIT_SECONDS + 5)
        self.assertNoResult(waiting)
        self.c.converged()
        self.assertEqual(self.now(waiting), {"live": ["a", "b", "c"], "pending": []})

    def test_withoutThePrimaryNobodyCanSay(self) -> None:
        self.cluster.cut("a")
        self.assertIn("a cannot be reached", str(self.refused(self.secondary.wait(0, False, 1), PrimaryUnreachable)))

    def test_otherNodesHaveToSayHowLong(self) -> None:
        for arguments in ({}, {"revision": 1}, {"revision": "1", "seconds": 1}, {"revision": 1, "seconds": None}):
            self.failureResultOf(self.primary.waitAction(arguments), ClusterError)


class PerformTests(AdministrationCase):
    def perform(self, where: Administration, node: str, action: str = "note", who: str = "full") -> Deferred[Any]:
        return where.perform(node, action, {"text": "hello"}, author(who))

    def test_reachesEveryNodeFromEveryNode(self) -> None:
        for where in (self.primary, self.secondary):
            for node in (self.a, self.b, self.c):
                self.assertEqual(self.now(self.perform(where, node.name)), {"noted": node.name})
                arguments = node.performed.pop()
                self.assertEqual((arguments["text"], arguments["author"]["name"]), ("hello", "full"))

    def test_isForThoseWhoMayDoEverything(self) -> None:
        for where in (self.primary, self.secondary):
            for node in ("a", "b", "c"):
                for who in ("users", "auditor", "off", "ghost"):
                    self.refused(self.perform(where, node, who=who), Forbidden)
        self.assertEqual([node.performed for node in (self.a, self.b, self.c)], [[], [], []])

    def test_unknownActionIsNamed(self) -> None:
        for where, node in ((self.primary, "a"), (self.primary, "b"), (self.secondary, "c")):
            error = self.refused(self.perform(where, node, "explode"), ClusterError)
            self.assertEqual(str(error), f"{node} knows no action 'explode'")

    def test_nodeThatIsNotThereIsNamed(self) -> None:
        self.cluster.cut("c")
        for where in (self.primary, self.secondary):
            for node in ("c", "nobody"):
                self.cluster.advance(1)
                error = self.refused(self.perform(where, node), ClusterError)
                self.assertIn(node, str(error))

    def test_withoutThePrimaryNodesStillReachEachOther(self) -> None:
        self.cluster.advance(3)
        self.cluster.cut("a")
        for node in ("b", "c"):
            self.assertEqual(self.now(self.perform(self.secondary, node)), {"noted": node})
        self.refused(self.perform(self.secondary, "a"), PrimaryUnreachable)

    def test_aNodeChecksRightsByItsOwnDocument(self) -> None:
        """A node that is compromised, or behind, is no way around them."""
        self.cluster.advance(3)
        for who in ("users", "auditor", "ghost"):
            asked = self.b.peering.mesh.perform("c", "note", {}, author(who))
            self.refused(asked, Forbidden)
        self.assertEqual(self.c.performed, [])

    def test_withoutALinkOfTheirOwnThePrimaryPassesItOn(self) -> None:
        self.cluster.advance(3)
        _ = self.b.peering.mesh.stop()
        self.cluster.advance(2)
        self.assertEqual(self.now(self.perform(self.secondary, "c")), {"noted": "c"})


class TokenTests(AdministrationCase):
    def test_tokenLeadsToThePrimaryWhoeverMakesIt(self) -> None:
        for where in (self.primary, self.secondary):
            text, put = where.makeToken("d", 3600)
            token = JoinTokenText.parse(text)
            self.assertEqual((token.host, token.port), ("127.0.0.1", CLUSTER_PORT))
            self.assertEqual(token.caFingerprint, self.cluster.authority.authority.fingerprint)
            record: Any = put.value
            self.assertEqual((put.section, record.node, record.name), ("tokens", "d", token.tokenId))
            self.now(self.propose(where, put))
            self.assertIn(token.tokenId, self.a.document().tokens)

    def test_withoutConfigurationThereIsNone(self) -> None:
        self.cluster.cut("a")
        late = self.cluster.join("d", "127.0.0.4", self.a)
        error = self.assertRaises(ClusterError, late.administration.makeToken, "e", 3600)
        self.assertIn("no configuration yet", str(error))
