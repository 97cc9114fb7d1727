"""Who is primary while nodes run, vanish, come back and are promoted; what is held up, refused, taken over and kept."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from cftpcluster.cluster.messages import Hello
from cftpcluster.config.changes import Change, MergeSettings, Promote, Put, Remove
from cftpcluster.config.document import User
from cftpcluster.errors import ClusterError, Forbidden, NotAppending, NotDurableEnough, PrimaryUnreachable
from cftpcluster.events import PrimaryChanged
from cftpcluster.journal.entry import Proposal
from cftpcluster.journal.memory import MemoryJournal
from cftpcluster.testing.cluster import AUTHOR, soon
from cftpcluster.vocabulary import Author

from .nodesupport import ClusterCase, MemoryCluster, MemoryNode


def user(name: str) -> Put:
    return Put("users", User(name=name))


class PromotionCase(ClusterCase):
    def propose(self, node: MemoryNode, change: Change) -> Deferred[int]:
        return node.administration.propose(change, {}, AUTHOR)

    def promote(self, asked: MemoryNode, name: str, force: bool = False) -> Deferred[Any]:
        return asked.administration.perform(name, "promote", {"force": force}, AUTHOR)

    def outcome(self, deferred: Deferred[Any], seconds: float = 8) -> Any:
        """What comes of it within so much time."""
        with capturedLogs():
            results: list[Any] = []
            _ = deferred.addBoth(results.append)
            while not results and seconds > 0:
                self.cluster.advance(0.2)
                seconds -= 0.2
        self.assertTrue(results, "nothing came of it")
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]

    def refused(self, deferred: Deferred[Any], error: type[Exception] = ClusterError, seconds: float = 8) -> str:
        return str(self.assertRaises(error, self.outcome, deferred, seconds))

    def pass_(self, seconds: float) -> None:
        with capturedLogs():
            self.cluster.advance(seconds)

    def assertPrimary(self, primary: MemoryNode, epoch: int, *others: MemoryNode) -> None:
        """All agree who is primary, follow it, and have one history."""
        self.assertTrue(primary.peering.publisher.isPrimary)
        for node in (primary, *others):
            self.assertEqual((node.status()["primary"], node.head.epoch), (primary.name, epoch), node.name)
            self.assertEqual(node.head.chainHash, primary.head.chainHash, node.name)
        for node in others:
            self.assertFalse(node.peering.publisher.isPrimary, node.name)
            self.assertEqual(node.peering.follower.state, "following", node.name)

    def users(self, node: MemoryNode) -> set[str]:
        return set(node.document().users)

    def perform(self, node: MemoryNode, action: str, **arguments: Any) -> Deferred[Any]:
        return node.administration.perform(node.name, action, arguments, AUTHOR)


class AgreementTests(PromotionCase):
    def test_anyNodeMayAsk(self) -> None:
        for number, (asked, to) in enumerate(((self.c, "b"), (self.c, "c"), (self.c, "a"))):
            answer = self.outcome(self.promote(asked, to))
            self.assertEqual((answer["promoted"], answer["epoch"]), (to, number + 2))
            self.pass_(1)
            nodes = self.cluster.nodes
            self.assertPrimary(nodes[to], number + 2, *(node for name, node in nodes.items() if name != to))

    def test_everybodyIsTold(self) -> None:
        self.outcome(self.promote(self.a, "b"))
        self.pass_(1)
        for node in (self.a, self.b, self.c):
            self.assertIn(PrimaryChanged(name="b", epoch=2), node.events)
            self.assertEqual(node.status()["warnings"], [])
            states = {row["name"]: (row["role"], row["state"]) for row in node.status()["nodes"]}
            follows = ("secondary", "following")
            self.assertEqual(states, {"a": follows, "b": ("primary", "primary"), "c": follows})

    def test_changesGoOnMeanwhile(self) -> None:
        """Nobody who proposes something notices, wherever it is proposed."""
        proposed, names = [], []

        def proposeAll(number: int) -> None:
            for node in (self.a, self.b, self.c):
                names.append(f"{node.name}{number}")
                proposed.append(self.propose(node, user(names[-1])))

        proposeAll(0)
        promoting = self.promote(self.c, "b")
        for number in range(1, 20):
            proposeAll(number)
            self.cluster.reactor.advance(0.01)
            for cable in self.cluster.cables:
                cable.move()
        self.outcome(promoting)
        proposeAll(20)
        revisions = [self.outcome(one, 15) for one in proposed]
        self.assertEqual(len(set(revisions)), len(names))
        self.pass_(1)
        self.assertPrimary(self.b, 2, self.a, self.c)
        self.assertEqual(self.users(self.c), set(names))

    def test_presentPrimaryIsLeftAlone(self) -> None:
        before = self.a.head
        for asked in (self.a, self.b):
            answer = self.outcome(self.promote(asked, "a"))
            self.assertEqual((answer["promoted"], answer["already"], answer["epoch"]), ("a", True, 1))
        self.assertTrue(self.outcome(self.promote(self.a, "a", force=True))["already"])
        self.assertEqual(self.a.head, before)

    def test_nodeThatIsNotThereChangesNothing(self) -> None:
        self.cluster.cut("b")
        self.pass_(1)
        before = self.a.head
        self.assertIn("b is disconnected", self.refused(self.promote(self.a, "b")))
        unknown = Deferred.fromCoroutine(self.a.peering.promotion.handOver("z", AUTHOR))
        self.assertIn("no node named 'z'", self.refused(unknown))
        self.assertEqual(self.a.head, before)
        self.outcome(self.propose(self.a, user("alice")))

    def test_nodeThatIsPausedChangesNothing(self) -> None:
        self.outcome(self.perform(self.b, "pause"))
        self.pass_(1)
        self.assertIn("b is paused", self.refused(self.promote(self.c, "b")))
        self.assertTrue(self.a.peering.publisher.isPrimary)

    def test_nodeThatDoesNotCatchUpChangesNothing(self) -> None:
        """The line to it is dead, and nobody has noticed yet: changes wait, and then go on here."""
        for cable in self.cluster.cables:
            cable.near.held = cable.far.held = True
        lost = self.propose(self.a, user("alice"))
        promoting = self.promote(self.a, "b")
        waiting = self.propose(self.a, user("bob"))
        self.cluster.reactor.advance(0.1)
        self.assertNoResult(waiting)
        self.assertIn("nothing was changed", self.refused(promoting))
        for one in (lost, waiting):
            self.assertIsInstance(self.outcome(one), int)
        self.assertEqual((self.a.head.epoch, self.users(self.a)), (1, {"alice", "bob"}))

    def test_withoutThePrimaryItIsSaidHow(self) -> None:
        self.cluster.kill(self.a)
        self.assertIn("--force", self.refused(self.promote(self.c, "b"), PrimaryUnreachable))

    def test_onlyForThoseWhoMayDoEverything(self) -> None:
        nobody = Author("eve", "full", "192.0.2.9")
        for node in (self.a, self.b):
            for force in (False, True):
                asked = node.administration.perform("b", "promote", {"force": force}, nobody)
                self.refused(asked, Forbidden)

    def test_synchronousChangesAreWaitedFor(self) -> None:
        """A change that others must have is acknowledged before another node takes over."""
        self.outcome(self.propose(self.a, MergeSettings({"synchronousFollowers": 2})))
        self.pass_(1)
        change, promoting = self.propose(self.c, user("alice")), self.promote(self.c, "b")
        self.assertIsInstance(self.outcome(change), int)
        self.outcome(promoting)
        self.pass_(1)
        self.assertPrimary(self.b, 2, self.a, self.c)


class ForceTests(PromotionCase):
    def test_whoIsLeftGoesOn(self) -> None:
        self.pass_(2)
        self.cluster.kill(self.a)
        self.pass_(10)
        answer = self.outcome(self.promote(self.b, "b", force=True))
        self.assertEqual((answer["promoted"], answer["epoch"], answer["notReached"]), ("b", 2, ["a"]))
        previous = answer["previous"]
        self.assertEqual((previous["name"], previous["revision"]), ("a", self.a.head.revision))
        self.assertGreater(previous["lastContactSeconds"], 9)
        (line,) = answer["mayBeMissing"]
        self.assertIn("a, the primary until now", line)
        self.pass_(2)
        self.assertPrimary(self.b, 2, self.c)
        self.outcome(self.propose(self.c, user("alice")))

    def test_isDoneOnTheNodeItself(self) -> None:
        self.cluster.kill(self.a)
        self.assertIn("on itself: ask c", self.refused(self.promote(self.b, "c", force=True)))
        self.assertEqual(self.c.head.epoch, 1)

    def test_primaryThatAnswersIsAskedToHandOver(self) -> None:
        self.assertIn("leave out --force", self.refused(self.promote(self.b, "b", force=True)))
        self.pass_(3)
        self.assertPrimary(self.a, 1, self.b, self.c)

    def test_whatOthersHaveIsTakenFirst(self) -> None:
        """``b`` has less than ``c``: nothing that any node here has is lost."""
        self.cluster.part("ac", "b")
        self.a.change(user("alice"))
        self.pass_(1)
        self.cluster.kill(self.a)
        self.cluster.part()
        answer = self.outcome(self.promote(self.b, "b", force=True))
        revision = self.c.head.revision
        self.assertIn(answer["caughtUpFrom"], [[{"name": "c", "from": n, "to": n}] for n in range(1, revision + 1)])
        self.assertIn("alice", self.users(self.b))
        self.pass_(3)
        self.assertPrimary(self.b, 2, self.c)

    def test_acknowledgedChangeSurvivesItsPrimary(self) -> None:
        """With ``synchronousFollowers``, whichever node is promoted afterwards."""
        self.outcome(self.propose(self.a, MergeSettings({"synchronousFollowers": 1})))
        self.pass_(1)
        self.cluster.part("ac", "b")
        for number in range(3):
            self.outcome(self.propose(self.a, user(f"user{number}")))
        self.cluster.kill(self.a)
        self.cluster.part()
        self.outcome(self.promote(self.b, "b", force=True))
        self.assertEqual(self.users(self.b), {"user0", "user1", "user2"})

    def test_whoeverWasPromotedMeanwhileIsNotOvertaken(self) -> None:
        self.cluster.part("a", "b", "c")
        self.outcome(self.promote(self.b, "b", force=True))
        self.cluster.part("a", "bc")
        # It asks before it has heard.
        self.assertIn("b is primary of epoch 2", self.refused(self.promote(self.c, "c", force=True)))
        self.pass_(5)
        self.assertPrimary(self.b, 2, self.c)

    def test_epochThatAFollowerTellsOfIsTakenToo(self) -> None:
        """``b`` was promoted and is gone; ``c`` followed it; ``d``, which missed all that, takes over."""
        d = self.cluster.join("d", "127.0.0.4", self.a)
        self.pass_(1)
        self.cluster.part("bc", "d")
        self.cluster.kill(self.a)
        self.outcome(self.promote(self.b, "b", force=True))
        self.b.change(user("alice"))
        self.pass_(2)
        self.cluster.kill(self.b)
        self.cluster.part()
        answer = self.outcome(self.promote(d, "d", force=True))
        self.assertEqual((answer["epoch"], self.users(d)), (3, {"alice"}))
        self.pass_(3)
        self.assertPrimary(d, 3, self.c)

    def test_whoIsAskedTakesNothingFromTheOldPrimaryMeanwhile(self) -> None:
        """The old primary is back while others are still waited for: what it then has acknowledged is not missed."""
        self.outcome(self.propose(self.a, MergeSettings({"synchronousFollowers": 1})))
        self.pass_(1)
        self.cluster.part("a", "bc")
        self.pass_(1)
        self.outcome(Deferred.fromCoroutine(self.b.peering.primacy.standStill("c", 2)))
        self.cluster.part("ac", "b")
        proposed = self.propose(self.a, user("alice"))
        self.pass_(6)
        self.assertNoResult(proposed)
        self.assertEqual(self.users(self.c), set())
        # Nobody was promoted after all.
        self.pass_(6)
        self.assertEqual(self.users(self.c), {"alice"})
        self.refused(proposed, NotDurableEnough)

    def test_removedNodeIsNoCandidate(self) -> None:
        """It knows that it was removed, by its own journal."""
        self.a.change(Remove("nodes", "c"))
        lonely = soon(self.c.journal.extend(soon(self.a.journal.since(self.c.head.revision, 10))))
        self.c.committed(lonely)
        self.assertIn("no member", self.refused(self.promote(self.c, "c", force=True)))


class FencingTests(PromotionCase):
    def forceB(self) -> None:
        """``b`` is promoted while ``a`` cannot be reached, and takes changes."""
        self.outcome(self.promote(self.b, "b", force=True))
        self.b.change(user("ours"))

    def test_oldPrimaryThatComesBackFollows(self) -> None:
        self.a.change(user("everybodys"))
        self.pass_(1)
        self.cluster.part("a", "bc")
        self.a.change(user("lonely"))
        self.cluster.kill(self.a)
        self.cluster.unreachable.clear()
        self.forceB()
        self.cluster.part()
        self.a = self.cluster.restart(self.a)
        # Nothing is taken before it knows.
        lost = self.propose(self.a, user("late"))
        self.pass_(3)
        self.assertPrimary(self.b, 2, self.a, self.c)
        self.outcome(lost)
        self.assertEqual(self.users(self.a), {"everybodys", "ours", "late"})
        self.assertEqual([one["changes"] for one in self.a.peering.branches.known], [1])

    def test_oldPrimaryThatNeverStoppedHearsOfIt(self) -> None:
        """It was cut off all the time, and goes on as if nothing had happened until the line is back."""
        self.cluster.part("a", "bc")
        self.forceB()
        self.a.change(user("lonely"))
        self.assertTrue(self.a.peering.publisher.isPrimary)
        self.cluster.part()
        self.pass_(10)
        self.assertPrimary(self.b, 2, self.a, self.c)
        self.assertEqual(self.users(self.a), {"ours"})
        self.assertEqual(len(self.a.peering.branches.known), 1)

    def test_followersOfTheOldPrimaryChangeSides(self) -> None:
        """``c`` stayed with the old primary; both have more than the new one knows of."""
        self.cluster.part("ac", "b")
        self.forceB()
        self.cluster.part()
        self.pass_(10)
        self.assertPrimary(self.b, 2, self.a, self.c)

    def test_followerWithALongerHistoryHasToBeTold(self) -> None:
        """Nothing is given up without an operator, but by the old primary."""
        self.cluster.part("ac", "b")
        for number in range(5):
            self.a.change(user(f"lonely{number}"))
        self.pass_(1)
        self.forceB()
        self.cluster.part()
        self.pass_(10)
        self.assertPrimary(self.b, 2, self.a)
        self.assertEqual(self.c.peering.follower.state, "refused")
        self.assertIn("resync", self.c.peering.follower.problem)
        self.outcome(self.perform(self.c, "resync"), 40)
        self.pass_(2)
        self.assertPrimary(self.b, 2, self.a, self.c)
        self.assertEqual([one["changes"] for one in self.c.peering.branches.known], [5])

    def test_oldPrimaryRefusesChangesAsSoonAsItKnows(self) -> None:
        self.cluster.part("a", "bc")
        self.forceB()
        with capturedLogs():
            self.a.peering.primacy.heard(self.hello(self.b))
        self.cluster.reactor.advance(0)
        self.assertIn("nothing was changed", self.refused(self.propose(self.a, user("x")), seconds=15))
        self.assertEqual(self.a.status()["primary"], "b")
        self.assertEqual(self.a.status()["role"], "secondary")
        self.assertTrue(any("epoch 2" in warning for warning in self.a.status()["warnings"]))

    def hello(self, node: MemoryNode) -> Any:
        return Hello.fromHead(node.name, node.head)

    def test_promotionThatDidNotArriveIsCarriedOut(self) -> None:
        """The old primary handed over and died before the next one knew; others tell it."""
        self.cluster.part("ac", "b")
        self.a.change(Promote(2, "b", "test"))
        self.pass_(2)
        self.assertEqual(self.c.status()["primary"], "b")
        self.cluster.part()
        self.pass_(10)
        self.assertPrimary(self.b, 2, self.a, self.c)


class BothSidesTests(PromotionCase):
    def setUp(self) -> None:
        super().setUp()
        self.cluster.kill(self.a)
        self.cluster.part("b", "c")
        for node in (self.b, self.c):
            self.outcome(self.promote(node, node.name, force=True))
            node.change(user(f"of-{node.name}"))
        self.heads = [node.head for node in (self.b, self.c)]

    def test_neitherAppendsAndBothSaySo(self) -> None:
        self.cluster.part()
        self.pass_(10)
        for node, other in ((self.b, self.c), (self.c, self.b)):
            self.assertIn("two histories of epoch 2", self.refused(self.propose(node, user("x")), NotAppending))
            (warning,) = node.status()["warnings"]
            self.assertIn(other.name, warning)
            self.assertIn("--force", warning)
            self.assertEqual(node.row(node.name)["state"], "unconfirmed")
        self.assertEqual([node.head for node in (self.b, self.c)], self.heads)

    def test_oneIsPromotedAndTheOthersChangesAreKept(self) -> None:
        self.cluster.part()
        self.pass_(10)
        answer = self.outcome(self.promote(self.c, "c", force=True))
        self.assertEqual(answer["epoch"], 3)
        self.assertTrue(any("b is at revision" in line for line in answer["mayBeMissing"]))
        self.pass_(10)
        self.assertPrimary(self.c, 3, self.b)
        self.assertEqual(self.users(self.b), {"of-c"})
        self.assertEqual(self.c.status()["warnings"], [])
        (branch,) = self.b.peering.branches.known
        self.outcome(self.perform(self.b, "applyBranch", id=branch["id"]))
        self.pass_(1)
        self.assertEqual(self.users(self.c), {"of-b", "of-c"})

    def test_aNodeThatRestartsBetweenThemSaysSoToo(self) -> None:
        self.cluster.kill(self.b)
        self.cluster.part()
        self.b = self.cluster.restart(self.b)
        self.pass_(8)
        self.refused(self.propose(self.b, user("x")), NotAppending)


class StartTests(PromotionCase):
    def older(self, revisions: int) -> MemoryJournal:
        """What ``a`` had some revisions ago."""
        journal = MemoryJournal({})
        entries = soon(self.a.journal.since(0, 1000))
        soon(journal.extend(entries[: len(entries) - revisions]))
        return journal

    def test_primaryThatWasOnlyAwayGoesOn(self) -> None:
        self.cluster.kill(self.a)
        self.a = self.cluster.restart(self.a)
        proposed = self.propose(self.a, user("alice"))
        self.assertIsInstance(self.outcome(proposed, 2), int)
        self.pass_(5)
        self.assertPrimary(self.a, 1, self.b, self.c)

    def test_primaryFromAnOlderDiskCatchesUpFirst(self) -> None:
        for number in range(5):
            self.a.change(user(f"user{number}"))
        self.pass_(1)
        before = self.a.head
        self.cluster.kill(self.a)
        self.a = self.cluster.restart(self.a, self.older(3))
        proposed = self.propose(self.a, user("alice"))
        self.outcome(proposed, 8)
        self.pass_(5)
        self.assertPrimary(self.a, 1, self.b, self.c)
        self.assertEqual(soon(self.a.journal.at(before.revision)).chainHash, before.chainHash)
        self.assertEqual(len(self.users(self.a)), 6)

    def test_whatOthersCompactedComesAsASnapshot(self) -> None:
        for number in range(5):
            self.a.change(user(f"user{number}"))
        self.pass_(1)
        for node in (self.b, self.c):
            soon(node.journal.compact(1))
        self.cluster.kill(self.a)
        self.a = self.cluster.restart(self.a, self.older(4))
        self.pass_(8)
        self.assertPrimary(self.a, 1, self.b, self.c)
        self.assertEqual(len(self.users(self.b)), 5)

    def test_primaryThatNobodyConfirmsTakesNothing(self) -> None:
        self.cluster.part("a", "b", "c")
        self.cluster.kill(self.a)
        self.a = self.cluster.restart(self.a)
        self.assertIn("unconfirmed", self.refused(self.propose(self.a, user("alice")), NotAppending))
        self.assertEqual(self.a.row("a")["state"], "unconfirmed")
        self.assertTrue(self.a.status()["warnings"][0].startswith("unconfirmed"))
        self.assertEqual(self.a.status()["role"], "primary")
        self.cluster.part("ab", "c")
        self.pass_(10)
        self.assertEqual(self.a.row("a")["state"], "primary")
        self.outcome(self.propose(self.b, user("alice")))

    def test_settingLetsItAppend(self) -> None:
        self.a.change(MergeSettings({"appendUnconfirmed": True}))
        self.cluster.part("a", "b", "c")
        self.cluster.kill(self.a)
        self.a = self.cluster.restart(self.a)
        self.outcome(self.propose(self.a, user("alice")))
        self.assertEqual(self.a.row("a")["state"], "unconfirmed")
        self.outcome(self.propose(self.a, MergeSettings({"appendUnconfirmed": False})))
        self.refused(self.propose(self.a, user("bob")), NotAppending)

    def test_operatorConfirmsIt(self) -> None:
        self.cluster.part("a", "b", "c")
        self.cluster.kill(self.a)
        self.a = self.cluster.restart(self.a)
        self.pass_(6)
        answer = self.outcome(self.promote(self.a, "a", force=True))
        self.assertEqual((answer["promoted"], answer["epoch"]), ("a", 2))
        self.assertEqual(self.a.row("a")["state"], "primary")
        self.outcome(self.propose(self.a, user("alice")))
        self.cluster.part()
        self.pass_(10)
        self.assertPrimary(self.a, 2, self.b, self.c)

    def test_historyThatWentOnElsewhereIsNotOverwritten(self) -> None:
        """It came from an old disk, was let append alone, and meets those who have what it lost."""
        self.a.change(MergeSettings({"appendUnconfirmed": True}))
        for number in range(5):
            self.a.change(user(f"user{number}"))
        self.pass_(1)
        before = self.b.head
        self.cluster.part("a", "b", "c")
        self.cluster.kill(self.a)
        self.a = self.cluster.restart(self.a, self.older(5))
        self.outcome(self.propose(self.a, user("other")))
        self.cluster.part()
        self.pass_(15)
        self.assertIn("two histories", self.refused(self.propose(self.a, user("x")), NotAppending))
        self.assertEqual([node.head for node in (self.b, self.c)], [before] * 2)

    def test_onlyNodeNeedsNobody(self) -> None:
        folder = self.cluster.folder / "alone"
        folder.mkdir()
        alone = MemoryCluster(folder)
        self.addCleanup(alone.stop)
        node = alone.found("z", "127.0.0.9")
        self.assertEqual(node.peering.primacy.standing, "confirmed")
        alone.kill(node)
        node = alone.restart(node)
        self.assertEqual(node.peering.primacy.standing, "confirmed")

    def test_nodeThatIsStoppedWhileItAsksIsStopped(self) -> None:
        self.cluster.part("a", "b", "c")
        self.cluster.kill(self.a)
        self.a = self.cluster.restart(self.a)
        self.cluster.advance(1)
        self.assertEqual(self.a.peering.primacy.standing, "checking")


class FollowingTests(PromotionCase):
    def test_pausedNodeStaysWhereItIs(self) -> None:
        self.outcome(self.perform(self.b, "pause"))
        self.a.change(user("alice"))
        self.pass_(5)
        self.assertEqual(self.users(self.b), set())
        for node in (self.a, self.b, self.c):
            row = node.row("b")
            self.assertEqual(row["state"], "paused", node.name)
            self.assertGreater(row["lagSeconds"], 3, node.name)
        lag = self.a.row("b")["lagSeconds"]
        self.pass_(3)
        self.assertGreater(self.a.row("b")["lagSeconds"], lag + 2)
        self.outcome(self.perform(self.b, "resume"))
        self.pass_(2)
        self.assertPrimary(self.a, 1, self.b, self.c)
        self.assertEqual(self.a.row("b")["lagSeconds"], 0.0)

    def test_pauseOutlivesARestart(self) -> None:
        self.outcome(self.perform(self.b, "pause"))
        self.cluster.kill(self.b)
        self.a.change(user("alice"))
        self.b = self.cluster.restart(self.b)
        self.pass_(3)
        self.assertEqual((self.b.peering.follower.state, self.users(self.b)), ("paused", set()))
        self.outcome(self.perform(self.b, "resume"))
        self.pass_(3)
        self.assertEqual(self.users(self.b), {"alice"})
        self.cluster.kill(self.b)
        self.b = self.cluster.restart(self.b)
        self.pass_(3)
        self.assertEqual(self.b.peering.follower.state, "following")

    def test_lagOfANodeThatIsAwayGrows(self) -> None:
        self.cluster.cut("b")
        self.pass_(5)
        lag = self.a.row("b")["lagSeconds"]
        self.assertGreater(lag, 4)
        self.pass_(5)
        self.assertGreater(self.a.row("b")["lagSeconds"], lag + 4)

    def test_primaryIsNotPausedOrResynced(self) -> None:
        for action in ("pause", "resync"):
            self.assertIn("a is the primary", self.refused(self.perform(self.a, action)))

    def test_resyncTakesEverythingAnew(self) -> None:
        self.a.change(user("alice"))
        self.pass_(1)
        answer = self.outcome(self.perform(self.b, "resync"))
        self.assertEqual(answer["revision"], self.a.head.revision)
        self.pass_(1)
        self.assertPrimary(self.a, 1, self.b, self.c)
        self.assertEqual(list(soon(self.b.journal.since(self.a.head.revision, 1))), [])
        self.assertEqual(self.b.peering.branches.known, ())

    def test_dryRunChangesNothing(self) -> None:
        self.outcome(self.perform(self.b, "pause"))
        self.outcome(self.perform(self.b, "resume"))
        self.pass_(1)
        answer = self.outcome(self.perform(self.b, "resync", dryRun=True))
        self.assertEqual((answer["differences"], answer["sameHistory"]), ([], True))
        lonely = Proposal(user("lonely"), {}, AUTHOR, "b", "lonely", 0.0)
        self.b.committed(soon(self.b.journal.append(lonely)))
        before = self.b.head
        answer = self.outcome(self.perform(self.b, "resync", dryRun=True))
        self.assertEqual(answer["differences"], ["removed users/lonely"])
        self.assertFalse(answer["sameHistory"])
        self.assertEqual(self.b.head, before)


class BranchTests(PromotionCase):
    """``a`` made some changes that nobody else has, and follows ``b`` now."""

    def diverge(self, *changes: Change, theirs: tuple[Change, ...] = ()) -> str:
        self.cluster.part("a", "bc")
        for change in changes:
            self.a.change(change)
        self.outcome(self.promote(self.b, "b", force=True))
        for change in theirs:
            self.b.change(change)
        self.cluster.part()
        self.pass_(10)
        self.assertPrimary(self.b, 2, self.a, self.c)
        (branch,) = self.outcome(self.perform(self.a, "branches"))["branches"]
        return str(branch["id"])

    def show(self, branch: str) -> Any:
        return self.outcome(self.perform(self.a, "branch", id=branch))

    def test_isShownReapppliedAndDiscarded(self) -> None:
        self.a.change(user("old"))
        self.pass_(1)
        branch = self.diverge(user("new"), Remove("users", "old"), MergeSettings({"drainSeconds": 7}))
        self.assertTrue(any(branch in problem for problem in self.a.peering.problems))
        shown = self.show(branch)
        self.assertEqual([one["author"] for one in shown["entries"]], ["test"] * 3)
        self.assertIn("added users/new", shown["entries"][0]["changed"][0])
        states = {part["name"]: part["state"] for part in shown["parts"]}
        self.assertEqual(states, {"users/new": "open", "users/old": "open", "settings": "open"})
        self.assertEqual(shown["parts"][2]["details"], ["drainSeconds: 30 -> 7"])
        answer = self.outcome(self.perform(self.a, "applyBranch", id=branch))
        self.pass_(1)
        self.assertEqual(answer["revision"], self.b.head.revision)
        self.assertEqual(self.users(self.b), {"new"})
        self.assertEqual(self.b.document().settings.drainSeconds, 7)
        self.assertEqual({part["state"] for part in self.show(branch)["parts"]}, {"same"})
        self.assertEqual(self.outcome(self.perform(self.a, "applyBranch", id=branch))["changed"], [])
        self.outcome(self.perform(self.a, "discardBranch", id=branch))
        self.assertEqual(self.outcome(self.perform(self.a, "branches"))["branches"], [])
        self.assertEqual(list(self.a.peering.problems), [])
        self.assertEqual([path.name for path in self.a.state.path.glob("branch-*")], [])

    def test_conflictsAreNeverSilent(self) -> None:
        self.a.change(user("both"))
        self.pass_(1)
        mine, ours = (Put("users", User(name="both", enabled=False)), Put("users", User(name="both", protocols=())))
        branch = self.diverge(mine, user("free"), theirs=(ours,))
        states = {part["name"]: part["state"] for part in self.show(branch)["parts"]}
        self.assertEqual(states, {"users/both": "conflict", "users/free": "open"})
        before = self.b.head
        self.assertIn("users/both", self.refused(self.perform(self.a, "applyBranch", id=branch)))
        self.assertEqual(self.b.head, before)
        self.outcome(self.perform(self.a, "applyBranch", id=branch, only=["users/free"]))
        self.assertTrue(self.b.document().users["both"].enabled)
        self.outcome(self.perform(self.a, "applyBranch", id=branch, overwrite=True))
        self.assertFalse(self.b.document().users["both"].enabled)
        self.assertIn("users/none", self.refused(self.perform(self.a, "applyBranch", id=branch, only=["users/none"])))

    def test_outlivesARestartForItsOwnerAlone(self) -> None:
        branch = self.diverge(user("lonely"))
        (path,) = self.a.state.path.glob("branch-*.json")
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.cluster.kill(self.a)
        self.a = self.cluster.restart(self.a)
        self.pass_(3)
        self.assertEqual([part["name"] for part in self.show(branch)["parts"]], ["users/lonely"])

    def test_damagedBranchIsNamed(self) -> None:
        branch = self.diverge(user("lonely"))
        (path,) = self.a.state.path.glob("branch-*.json")
        path.write_bytes(path.read_bytes()[:-20])
        self.assertIn("damaged", self.refused(self.perform(self.a, "branch", id=branch)))
        self.assertIn("no branch", self.refused(self.perform(self.a, "branch", id="../x")))

    def test_primaryWithNothingOfItsOwnKeepsNothing(self) -> None:
        self.cluster.part("a", "bc")
        self.outcome(self.promote(self.b, "b", force=True))
        self.cluster.part()
        self.pass_(10)
        self.assertPrimary(self.b, 2, self.a, self.c)
        self.assertEqual(self.a.peering.branches.known, ())
