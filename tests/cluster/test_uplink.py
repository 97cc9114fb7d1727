"""Tests of dialling: who is tried, when, and what becomes of proposals while links come and go."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.cluster.claims import Standing, standingOf
from cftpcluster.cluster.lookout import Lookout, survey
from cftpcluster.cluster.messages import Hello
from cftpcluster.cluster.uplink import REFUSED_DELAY_SECONDS, Peer, peersOf
from cftpcluster.config.changes import Promote, Put, Remove
from cftpcluster.config.document import Node
from cftpcluster.errors import Conflict, NotAppending, OutcomeUnknown, PrimaryUnreachable
from cftpcluster.events import NodeRefused
from cftpcluster.testing.cables import Linked, Network
from cftpcluster.testing.cluster import documentBytes, founding, makeNode, numbered, proposal, soon


class NetworkCase(SynchronousTestCase):
    """A primary ``a`` and two secondaries that have all it has, none of them dialling yet."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock)
        nodes = [makeNode(name, self.clock) for name in "abc"]
        nodes[0].change(founding("abc", "a"))
        for node in nodes[1:]:
            soon(node.journal.extend(soon(nodes[0].journal.since(0, 10))))
            node.start(soon(node.journal.head()))
        self.a, self.b, self.c = (self.network.add(node) for node in nodes)

    def tearDown(self) -> None:
        for member in self.network.members.values():
            member.uplink.stop()
            member.node.publisher.stop()
        for cable in self.network.cables:
            cable.cut()
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def start(self, *members: Linked) -> None:
        for member in members:
            member.uplink.start()
        self.network.flush()

    def assertFollowing(self, *members: Linked) -> None:
        for member in members:
            self.assertEqual(member.node.follower.state, "following", member.node.name)

    def assertSame(self, *members: Linked) -> None:
        heads = [soon(member.node.journal.head()) for member in members]
        self.assertEqual(len({(head.epoch, head.revision, head.chainHash) for head in heads}), 1)
        self.assertEqual(len({documentBytes(member.node.journal) for member in members}), 1)  # type: ignore[arg-type]


class DiallingTests(NetworkCase):
    def test_primaryIsDialledFirst(self) -> None:
        self.start(self.c)
        self.assertEqual(self.network.dialled, [("c", "a")])
        self.assertFollowing(self.c)

    def test_changesCrossAtOnce(self) -> None:
        self.start(self.b, self.c)
        self.a.node.change(numbered(1))
        self.network.flush()
        self.assertSame(self.a, self.b, self.c)

    def test_othersAreTriedInTurn(self) -> None:
        self.network.unreachable.add("a")
        self.start(self.c)
        self.assertEqual(self.network.dialled, [("c", "a"), ("c", "b"), ("c", "a")])
        self.assertEqual(self.c.node.follower.state, "disconnected")
        self.assertIn("a.test: connection refused", self.c.node.follower.problem)

    def test_whoeverIsHurriedWhileItDialsOthersTriesAllAgainSoon(self) -> None:
        class Hurrying(Network):
            __slots__ = ()

            def dial(self, caller: str, peer: Peer, build: Callable[[str], IProtocol]) -> Deferred[IProtocol]:
                if peer.name == "b" and "a" in self.liars:
                    self.liars.discard("a")
                    self.members[caller].uplink.hurry()
                return super().dial(caller, peer, build)

        self.network = Hurrying(self.clock, liars={"a", "b"})
        self.a, self.b, self.c = (self.network.add(member.node) for member in (self.a, self.b, self.c))
        self.start(self.c)
        self.assertEqual(self.network.dialled, [("c", "a"), ("c", "b")])
        self.network.advance(0.3)
        self.assertFollowing(self.c)

    def test_nodeThatIsNotPrimarySendsOn(self) -> None:
        d = self.network.add(makeNode("d", self.clock), (Peer("b", "b.test"),))
        self.a.node.change(Put("nodes", Node(name="d", address="d.test")))
        self.start(d)
        self.assertEqual(self.network.dialled, [("d", "b"), ("d", "a")])
        self.assertFollowing(d)
        self.assertSame(self.a, d)

    def test_waitsLongerAndLonger(self) -> None:
        self.network.unreachable.add("b")
        self.start(self.b)
        times: list[float] = []
        for _ in range(1000):
            if self.network.dialled:
                times.append(self.clock.seconds())
                self.network.dialled.clear()
            self.clock.advance(0.1)
        gaps = [later - earlier for earlier, later in pairwise(times)]
        self.assertLess(gaps[0], 0.6)
        self.assertLess(max(gaps), 4.2)
        self.assertGreater(min(gaps[-3:]), 1.8)
        self.assertGreater(len({round(gap, 1) for gap in gaps[-8:]}), 3, "not all at the same moments")

    def test_comesBackSoonAfterACut(self) -> None:
        self.start(self.b)
        self.network.advance(10)
        self.network.cables[0].cut()
        self.assertEqual(self.b.node.follower.state, "disconnected")
        self.a.node.change(numbered(1))
        self.network.advance(0.5)
        self.assertFollowing(self.b)
        self.assertSame(self.a, self.b)

    def test_flappingLineIsNotDialledWithoutPause(self) -> None:
        self.start(self.b)
        for _ in range(300):
            self.network.advance(0.1)
            for cable in self.network.cables:
                cable.cut()
        self.assertLess(len(self.network.dialled), 120)
        self.network.advance(1)
        self.assertFollowing(self.b)

    def test_deadLineIsNoticedAndReplaced(self) -> None:
        self.start(self.b)
        self.network.advance(5)
        self.network.cables[0].hold()
        self.a.node.change(numbered(1))
        with capturedLogs():
            self.network.advance(10)
        self.assertFollowing(self.b)
        self.assertSame(self.a, self.b)
        self.assertEqual(len(self.network.cables), 1)

    def test_nodeThatComesBackReplacesItsOldLink(self) -> None:
        """The primary did not notice yet that the old link is dead."""
        self.start(self.b)
        old = self.network.cables[0]
        old.near.end(ConnectionError())
        self.network.advance(1)
        self.assertFollowing(self.b)
        self.assertTrue(old.far.gone)
        self.a.node.change(numbered(1))
        self.network.flush()
        self.assertSame(self.a, self.b)

    def test_liarIsRefusedShownAndTriedSlowly(self) -> None:
        self.network.liars.update("ac")
        self.start(self.b)
        self.assertEqual(self.b.node.follower.state, "refused")
        self.assertIn("certificate", self.b.node.follower.problem)
        self.assertEqual({event.address for event in self.b.events}, {"a.test", "c.test"})  # type: ignore[attr-defined]
        self.assertIsInstance(self.b.events[0], NodeRefused)
        self.network.advance(REFUSED_DELAY_SECONDS / 2 - 1, step=1)
        self.assertEqual(len(self.network.dialled), 2)
        self.network.liars.clear()
        self.network.advance(REFUSED_DELAY_SECONDS, step=1)
        self.assertFollowing(self.b)
        self.assertEqual(self.b.node.follower.problem, "")

    def test_falsePrimaryIsRefused(self) -> None:
        """``c`` says that it is primary, without a record that names it."""
        self.network.unreachable.add("a")
        head = self.c.node.publisher.head
        claim = type(head.document.promoted)(epoch=2, name="c", by="c")
        document = type(head.document)(revision=1, promoted=claim, sections=head.document.sections)
        self.c.node.publisher.head = type(head)(2, head.revision, head.chainHash, document)
        before = soon(self.b.node.journal.head())
        self.start(self.b)
        self.network.advance(20)
        self.assertEqual(self.b.node.follower.state, "refused")
        self.assertEqual(soon(self.b.node.journal.head()), before)
        self.assertIn("c.test", [event.address for event in self.b.events])  # type: ignore[attr-defined]

    def test_promotionMovesEverybody(self) -> None:
        self.start(self.b, self.c)
        self.network.advance(6)
        self.a.node.change(Promote(2, "b", "test"))
        self.network.flush()
        self.b.uplink.stop()
        self.a.uplink.start()
        self.network.advance(2)
        self.assertFollowing(self.a, self.c)
        self.b.node.change(numbered(1))
        self.network.flush()
        self.assertSame(self.a, self.b, self.c)

    def test_oldPrimaryComesBackAndFollows(self) -> None:
        self.start(self.b, self.c)
        self.network.unreachable.add("a")
        for cable in self.network.cables:
            cable.cut()
        self.a.node.change(numbered(1))
        self.b.uplink.stop()
        self.b.node.change(Promote(2, "b", "test --force"))
        self.network.advance(10)
        self.assertFollowing(self.c)
        self.network.unreachable.clear()
        answers = soon(Deferred.fromCoroutine(self.survey("a")))
        self.assertEqual(
            {name: (one.epoch, one.primary) for name, one in answers.items()}, {"b": (2, "b"), "c": (2, "b")}
        )
        self.a.uplink.start()
        self.network.advance(2)
        self.assertFollowing(self.a)
        self.assertSame(self.a, self.b, self.c)
        self.assertEqual(len(self.a.node.diverged), 1)

    async def survey(self, name: str) -> object:
        member = self.network.members[name]
        asking = Deferred.fromCoroutine(
            survey(
                lambda peer, build: self.network.dial(name, peer, build),
                member.links,
                peersOf(member.node.publisher.head.document, name),
                5,
                self.clock,
            )
        )
        self.network.advance(1)
        return await asking

    def lookout(self, member: Linked, heard: list[Hello]) -> Lookout:
        """Looks for those of whom ``member`` has no link."""

        def unlinked() -> list[Peer]:
            away = {row["name"] for row in member.node.publisher.rows() if row["state"] == "disconnected"}
            return [peer for peer in peersOf(member.node.document, member.node.name) if peer.name in away]

        lookout = Lookout(
            clock=self.clock,
            dial=lambda peer, build: self.network.dial(member.node.name, peer, build),
            links=member.links,
            peers=unlinked,
            heard=heard.append,
        )
        lookout.start()
        self.addCleanup(lookout.stop)
        return lookout

    def test_supersededPrimaryHearsOfIt(self) -> None:
        """It was cut off when another one was promoted, and nobody dials it any more."""
        self.start(self.c)
        heard: list[Hello] = []
        lookout = self.lookout(self.a, heard)
        self.network.unreachable.add("a")
        for cable in self.network.cables:
            cable.cut()
        self.b.node.change(Promote(2, "b", "test --force"))
        self.network.advance(60)
        self.assertEqual(heard, [])
        self.network.unreachable.clear()
        self.network.advance(6)
        self.assertEqual({(one.node, one.epoch, one.primary) for one in heard}, {("b", 2, "b"), ("c", 2, "b")})
        head = self.a.node.publisher.head
        self.assertEqual({standingOf(one, head, "a") for one in heard}, {Standing.superseding})
        lookout.stop()

    def test_linkedNodesAreLeftAlone(self) -> None:
        self.start(self.b, self.c)
        heard: list[Hello] = []
        lookout = self.lookout(self.a, heard)
        self.network.advance(30)
        self.assertEqual((heard, len(self.network.dialled)), ([], 2))
        lookout.stop()

    def test_surveyReplacesNoLink(self) -> None:
        self.start(self.b)
        self.assertEqual(soon(Deferred.fromCoroutine(self.survey("b")))["a"].primary, "a")
        self.network.advance(1)
        self.assertEqual(len(self.network.cables), 1)
        self.a.node.change(numbered(1))
        self.network.flush()
        self.assertSame(self.a, self.b)

    def test_surveyDoesNotWaitForTheDead(self) -> None:
        self.network.unreachable.add("b")
        self.assertEqual(list(soon(Deferred.fromCoroutine(self.survey("a")))), ["c"])

    def test_removedNodeIsNotFollowed(self) -> None:
        self.start(self.b)
        self.a.node.change(Remove("nodes", "b"))
        self.a.node.change(numbered(1))
        self.network.flush()
        self.assertLess(self.b.node.follower.head.revision, self.a.node.publisher.head.revision)

    def test_stopEndsTheLink(self) -> None:
        self.start(self.b)
        stopped = self.b.uplink.stop()
        self.network.flush()
        soon(stopped)
        self.assertEqual(self.network.cables, [])
        self.assertEqual(self.b.node.follower.state, "disconnected")
        self.network.advance(30)
        self.assertEqual(len(self.network.dialled), 1)

    def test_stopWhileDialling(self) -> None:
        self.network.unreachable.add("b")
        self.start(self.b)
        self.b.uplink.stop()
        self.network.advance(30)
        self.assertEqual(len(self.network.dialled), 2)

    def test_manyRoundsLeaveNothingBehind(self) -> None:
        self.start(self.b)
        for _ in range(50):
            self.network.advance(6, step=0.5)
            for cable in self.network.cables:
                cable.cut()
        self.network.advance(11)
        self.assertFollowing(self.b)
        self.assertLessEqual(len(self.network.cables), 1)
        self.assertLess(len(self.clock.getDelayedCalls()), 12)


class ProposingTests(NetworkCase):
    def setUp(self) -> None:
        super().setUp()
        self.start(self.b)

    def test_proposalIsForwarded(self) -> None:
        answer = self.b.uplink.propose(proposal(numbered(1), node="b"))
        self.network.flush()
        self.assertEqual(soon(answer), 2)
        self.assertSame(self.a, self.b)

    def test_conflictComesBack(self) -> None:
        answer = self.b.uplink.propose(proposal(numbered(1), expected={("groups", "group-1"): 9}))
        self.network.flush()
        self.assertEqual(self.failureResultOf(answer, Conflict).value.moved, {("groups", "group-1"): 0})

    def test_withoutALinkNothingIsSent(self) -> None:
        failure = self.failureResultOf(self.c.uplink.propose(proposal(numbered(1))), PrimaryUnreachable)
        self.assertIn("the primary a cannot be reached", failure.getErrorMessage())

    def test_askedAgainWhenTheLinkDies(self) -> None:
        """The primary appended it, but its answer was lost."""
        answer = self.b.uplink.propose(proposal(numbered(1)))
        self.network.cables[0].near.move()
        self.assertEqual(self.a.node.publisher.head.revision, 2)
        self.network.cables[0].cut()
        self.assertNoResult(answer)
        self.network.advance(1)
        self.assertEqual(soon(answer), 2)
        self.assertEqual(self.a.node.publisher.head.revision, 2, "appended once")

    def test_outcomeStaysUnknownWithoutALink(self) -> None:
        answer = self.b.uplink.propose(proposal(numbered(1), "request-3"))
        self.network.cables[0].near.move()
        self.network.cables[0].cut()
        self.network.unreachable.add("a")
        self.network.advance(11)
        self.assertEqual(self.failureResultOf(answer, OutcomeUnknown).value.requestId, "request-3")

    def test_outcomeStaysUnknownWhereThePrimaryTakesNoChangesNow(self) -> None:
        """It says that nothing was changed, and knows of its own refusal alone."""
        answer = self.b.uplink.propose(proposal(numbered(1), "request-3"))
        self.network.cables[0].near.move()
        self.assertEqual(self.a.node.publisher.head.revision, 2)
        self.network.cables[0].cut()
        self.a.node.publisher._propose = lambda proposal: fail(NotAppending("two histories; nothing was changed"))
        self.network.advance(5)
        self.assertFollowing(self.b)
        self.assertNoResult(answer)
        self.network.advance(6)
        self.assertEqual(self.failureResultOf(answer, OutcomeUnknown).value.requestId, "request-3")

    def test_whereThePrimaryTakesNoChangesThatIsSaidAtOnce(self) -> None:
        self.a.node.publisher._propose = lambda proposal: fail(NotAppending("two histories; nothing was changed"))
        answer = self.b.uplink.propose(proposal(numbered(1)))
        self.network.flush()
        self.failureResultOf(answer, NotAppending)

    def test_actionsAreRelayedToOtherNodes(self) -> None:
        self.start(self.c)
        publisher = self.b.node.follower.publisher
        assert publisher is not None
        answer = publisher.relay("c", "drain", {"seconds": 1}, proposal(numbered(1)).author)
        self.network.flush()
        self.assertEqual(soon(answer), {"done": "drain"})
        self.assertEqual(self.c.node.actions, [("drain", {"seconds": 1})])

    def test_certificateIsRenewedForTheNodeThatAsks(self) -> None:
        publisher = self.b.node.follower.publisher
        assert publisher is not None
        answer = publisher.renewCertificate(b"request")
        self.network.flush()
        self.assertEqual(soon(answer), b"certificate of b")
