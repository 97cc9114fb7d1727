"""The links between all nodes: who dials, which of two stays, and what goes over them."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.cluster import exchange
from cftpcluster.cluster.faults import LinkLost
from cftpcluster.cluster.uplink import Peer
from cftpcluster.config.changes import Put, Remove
from cftpcluster.config.codec import canonical
from cftpcluster.config.document import Node
from cftpcluster.errors import Forbidden, Refused
from cftpcluster.testing.cables import Linked, Network
from cftpcluster.testing.cluster import founding, makeNode, soon
from cftpcluster.vocabulary import Author

from .test_shared import Logged, record

ADMIN = Author("admin", "full", "192.0.2.7")


class MeshCase(SynchronousTestCase):
    names = ("a", "b", "c")

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock)
        self.up: set[str] = set()
        for name in self.names:
            self.add(name)

    def add(self, name: str) -> Linked:
        node = makeNode(name, self.clock)
        node.change(founding(self.names, "a"))
        seed = len(self.network.members)
        return self.network.add(node, seed=seed)

    def change(self, change: Any, *names: str) -> None:
        """The document changes on these nodes, or on all."""
        for name in names or self.names:
            self.at(name).node.change(change)
            self.at(name).mesh.nodesChanged()
            self.at(name).rows.membersChanged()

    def start(self, *names: str) -> None:
        """These nodes come up, or all; who has not yet, is not reached."""
        self.up |= set(names or self.names)
        self.network.unreachable = set(self.names) - self.up
        for name in names or self.names:
            self.at(name).mesh.start()
        self.network.flush()

    def at(self, name: str) -> Linked:
        return self.network.members[name]

    def linked(self) -> dict[str, list[str]]:
        return {name: member.mesh.linked() for name, member in self.network.members.items()}

    def crash(self, name: str) -> None:
        """A node ends without a word; what follows is a new one of the same name."""
        before = self.at(name)
        for cable in list(self.network.cables):
            if {cable.near.protocol, cable.far.protocol} & set(self.linksOf(before)):
                cable.cut()
        _ = before.mesh.stop()
        self.network.unreachable.add(name)
        self.network.flush()

    def linksOf(self, member: Linked) -> list[Any]:
        return [pair.link for pair in member.mesh._pairs.values() if pair.link is not None]

    def keys(self, name: str, table: str = "passing") -> set[str]:
        return {row.key for row in self.at(name).rows.rows(table)}

    everybody = {"a": ["b", "c"], "b": ["a", "c"], "c": ["a", "b"]}


class DiallingTests(MeshCase):
    def test_everyPairHasOneLinkDialledByTheSmallerName(self) -> None:
        self.start()
        self.network.advance(0.1)
        self.assertEqual(self.everybody, self.linked())
        self.network.advance(10)
        self.assertEqual({("a", "b"), ("a", "c"), ("b", "c")}, set(self.network.dialled))
        self.assertEqual(3, len(self.network.cables))

    def test_whereTheSmallerNameCannotDialTheOtherOneDoes(self) -> None:
        self.network.oneWay = {("a", "b"), ("a", "c"), ("b", "c")}
        self.start()
        self.network.advance(5)
        self.assertEqual(self.everybody, self.linked())

    def test_aLostLinkComesBack(self) -> None:
        self.start()
        self.network.cables[0].cut()
        self.network.advance(1)
        self.assertEqual(self.everybody, self.linked())
        self.assertEqual(4, len(self.network.dialled))

    def test_aNodeThatComesBackIsLinkedAgain(self) -> None:
        self.start()
        self.crash("b")
        self.assertEqual({"a": ["c"], "c": ["a"]}, {name: self.linked()[name] for name in "ac"})
        self.network.advance(60)
        self.network.unreachable.clear()
        self.add("b").mesh.start()
        self.network.advance(11)
        self.assertEqual(self.everybody, self.linked())

    def test_aNodeThatComesBackBeforeItWasMissedTakesItsOldLinksPlace(self) -> None:
        self.start()
        for cable in self.network.cables:
            cable.hold()
        before = self.at("a")
        self.add("a").mesh.start()
        self.network.advance(1)
        self.assertEqual(["b", "c"], self.at("a").mesh.linked())
        self.at("a").rows.put("passing", "new", {}, 60)
        self.network.advance(20)
        self.assertEqual([{"new"}, {"new"}], [self.keys("b"), self.keys("c")])
        _ = before.mesh.stop()

    def test_ofTwoLinksTheSmallerNamesStays(self) -> None:
        self.start("a", "b")
        self.network.advance(0.1)
        (theirs,) = self.linksOf(self.at("b"))
        # As if the larger one had dialled at the same moment.
        pair = self.at("b").mesh._pairs["a"]
        both = self.at("b").links.forRows("a", lambda up: pair.isUp(up, "b"))
        _ = self.network.dial("b", Peer("a", "a.test"), lambda name: both)
        self.network.advance(5)
        self.assertEqual([theirs], self.linksOf(self.at("b")))
        self.assertEqual(["b"], self.at("a").mesh.linked())
        self.assertEqual(1, len(self.network.cables))

    def test_theSmallerNamesLinkTakesTheOthersPlace(self) -> None:
        self.network.oneWay = {("a", "b")}
        self.start("a", "b")
        self.network.advance(6)
        self.assertEqual(["b"], self.at("a").mesh.linked())
        self.network.oneWay.clear()
        pair = self.at("a").mesh._pairs["b"]
        mine = self.at("a").links.forRows("b", lambda up: pair.isUp(up, "a"))
        _ = self.network.dial("a", Peer("b", "b.test"), lambda name: mine)
        self.network.advance(5)
        self.assertEqual([mine], self.linksOf(self.at("a")))
        self.assertEqual(1, len(self.network.cables))
        self.at("b").rows.put("passing", "k", {}, 60)
        self.network.flush()
        self.assertEqual({"k"}, self.keys("a"))

    def test_attemptsBecomeRareAndNeverEnd(self) -> None:
        self.start("a", "b")
        self.network.advance(60, step=0.5)
        early = self.network.dialled.count(("a", "c"))
        self.network.advance(600, step=0.5)
        later = self.network.dialled.count(("a", "c")) - early
        self.assertTrue(600 / 11 <= later <= 600 / 4.5, later)
        self.assertLess(early, 25)

    def test_refusedNodesTrySlowlyAndSayItOnce(self) -> None:
        self.network.liars = {"c"}
        self.network.oneWay = {("c", "a")}
        with Logged() as lines:
            self.start("a", "c")
            self.network.advance(120, step=0.5)
        self.assertEqual(1, len([line for line in lines if "no link to c" in line]), lines)
        self.assertLess(self.network.dialled.count(("a", "c")), 15)

    def test_anAnswerThatDoesNotComeIsNotWaitedFor(self) -> None:
        waiting: list[Deferred[Any]] = []

        def dial(peer: Peer, build: Any) -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[-1]

        self.at("a").mesh._dial = dial
        self.start("a")
        self.network.advance(30)
        self.assertGreater(len(waiting), 6)
        self.assertLess(len([one for one in waiting if not one.called]), 3)

    def test_nodesThatAreAddedAreLinked(self) -> None:
        self.start()
        self.change(Put("nodes", Node(name="d", address="d.test")))
        names, self.names = self.names, (*self.names, "d")
        self.add("d").mesh.start()
        self.names = names
        self.network.advance(5)
        self.assertEqual(["a", "b", "c"], self.at("d").mesh.linked())

    def test_nodesThatAreRemovedAreDialledNoMore(self) -> None:
        self.start("a", "b")
        self.change(Remove("nodes", "c"), "a", "b")
        before = self.network.dialled.count(("a", "c"))
        self.network.advance(60)
        self.assertEqual(before, self.network.dialled.count(("a", "c")))

    def test_linksWithNodesThatAreRemovedEnd(self) -> None:
        self.start()
        self.change(Remove("nodes", "c"), "a", "b")
        self.network.advance(1)
        self.assertEqual([["b"], ["a"]], [self.at("a").mesh.linked(), self.at("b").mesh.linked()])

    def test_aNodeThatMovedIsDialledAtItsNewAddressAtOnce(self) -> None:
        addresses: list[str] = []

        def dial(peer: Peer, build: Any) -> Any:
            addresses.append(peer.address)
            return self.network.dial("a", peer, build)

        self.at("a").mesh._dial = dial
        self.start("a", "b")
        self.network.advance(60)
        self.network.unreachable.clear()
        self.change(Put("nodes", Node(name="c", address="elsewhere.test")), "a")
        self.network.advance(0.5)
        self.assertEqual(("elsewhere.test", ["b", "c"]), (addresses[-1], self.at("a").mesh.linked()))

    def test_itEndsWithEverything(self) -> None:
        self.start("a", "b")
        stopped = [member.mesh.stop() for member in self.network.members.values()]
        self.network.advance(3)
        for one in stopped:
            self.assertIsNone(self.successResultOf(one))
        for member in self.network.members.values():
            member.rows.stop()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual([], self.network.cables)

    def test_whoIsNoMemberIsRefused(self) -> None:
        self.start("a")
        link = self.at("a").links.forRows("x", lambda _: {})
        with self.assertRaises(Refused):
            self.at("a").mesh.accepted("x", link)

    def test_aPurposeThatIsNotKnownIsRefused(self) -> None:
        self.start("a", "b")
        odd = self.at("b").links._dialling("a", "chess", lambda _: {})
        _ = self.network.dial("b", Peer("a", "a.test"), lambda name: odd)
        ready = odd.whenReady()
        self.network.flush()
        self.assertIn("chess", str(self.failureResultOf(ready, Refused).value))


class RowsTests(MeshCase):
    def test_aRowIsOnAllNodesInTheSameTurn(self) -> None:
        self.start()
        self.at("a").rows.put("passing", "k", {"n": 1}, 60)
        self.network.flush()
        self.assertEqual([{"k"}, {"k"}], [self.keys("b"), self.keys("c")])

    def test_whatChangesInOneTurnGoesInOneMessageToEach(self) -> None:
        self.start()
        self.network.advance(1)
        written = sum(cable.near.written + cable.far.written for cable in self.network.cables)
        for n in range(100):
            self.at("a").rows.put("passing", "k", {"n": n}, 60)
        self.network.flush()
        more = sum(cable.near.written + cable.far.written for cable in self.network.cables) - written
        self.assertEqual([{"n": 99}], [row.value for row in self.at("c").rows.rows("passing")])
        self.assertLess(more, 1500)

    def test_aNodeThatWasAwayHearsOfEverything(self) -> None:
        self.start("a", "b")
        for n in range(1500):
            self.at("a").rows.put("durable", f"a{n}", {"text": "x" * 100}, 600)
            self.at("b").rows.put("passing", f"b{n}", {"text": "x" * 100}, 600)
        self.at("a").rows.remove("durable", "a0")
        self.network.advance(1)
        self.start("c")
        self.network.advance(5)
        self.assertEqual((1499, 1500), (len(self.keys("c", "durable")), len(self.keys("c"))))

    def test_oneMessageIsOnItsWayAtATime(self) -> None:
        self.start("a", "b")
        self.network.advance(0.1)
        for cable in self.network.cables:
            cable.hold()
        for n in range(2000):
            self.at("a").rows.put("passing", f"k{n}", {"text": "x" * 200}, 600)
            if n % 100 == 0:
                self.clock.advance(0)
        self.assertLess(max(len(cable.near.out) for cable in self.network.cables), 2 * exchange.MESSAGE_BYTES)
        for cable in self.network.cables:
            cable.hold(False)
        self.network.advance(1)
        self.assertEqual(2000, len(self.keys("b")))

    def test_whatExpiredMeanwhileIsNotRememberedForANodeThatDoesNotKeepUp(self) -> None:
        self.start("a", "b")
        self.network.advance(0.1)
        for cable in self.network.cables:
            cable.hold()
        dirty = self.at("a").mesh._pairs["b"].exchange
        assert dirty is not None
        for n in range(3):
            for m in range(5000):
                self.at("a").rows.put("passing", f"{n} {m}", {}, 0.5)
            self.clock.advance(0.6)
        self.assertLessEqual(len(dirty._dirty), exchange.MOST_DIRTY)

    def test_whatANodeWritesLastIsToldBeforeItEnds(self) -> None:
        self.start()
        self.at("a").rows.put("passing", "there", {}, 60)
        self.network.advance(0.1)
        self.at("a").rows.remove("passing", "there")
        self.at("a").rows.put("passing", "last", {}, 60)
        stopped = self.at("a").mesh.stop()
        self.network.advance(0.5)
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual([{"last"}, {"last"}], [self.keys("b"), self.keys("c")])

    def test_whoTakesNothingIsNotWaitedForAtTheEnd(self) -> None:
        self.start("a", "b")
        self.network.advance(0.1)
        for cable in self.network.cables:
            cable.hold()
        self.at("a").rows.put("passing", "last", {}, 60)
        stopped = self.at("a").mesh.stop()
        self.network.advance(4)
        self.assertIsNone(self.successResultOf(stopped))

    def test_rowsOfADeadNodeReachOneThatComesUp(self) -> None:
        self.start("a", "b")
        self.at("a").rows.put("durable", "revoked", {}, 600)
        self.network.flush()
        self.crash("a")
        self.up.discard("a")
        self.start("c")
        self.network.advance(5)
        self.assertEqual({"revoked"}, self.keys("c", "durable"))

    def test_rowsGoAroundALinkThatIsNotThere(self) -> None:
        self.network.oneWay = {("a", "c"), ("c", "a")}
        self.start()
        self.network.advance(1)
        self.at("a").rows.put("passing", "k", {"n": 1}, 60)
        self.network.flush()
        self.at("a").rows.put("passing", "k", {"n": 2}, 60)
        self.network.flush()
        self.assertEqual([{"n": 2}], [row.value for row in self.at("c").rows.rows("passing")])
        self.at("a").rows.remove("passing", "k")
        self.network.flush()
        self.assertEqual(set(), self.keys("c"))

    def test_rowsGoAroundALinkThatIsLost(self) -> None:
        self.start()
        self.network.advance(1)
        direct = next(link for link in self.linksOf(self.at("a")) if link.peer.node == "c")
        (cable,) = [one for one in self.network.cables if direct in (one.near.protocol, one.far.protocol)]
        self.network.oneWay = {("a", "c"), ("c", "a")}
        cable.hold()
        self.at("a").rows.put("passing", "k", {}, 600)
        self.network.advance(20)
        self.assertEqual({"k"}, self.keys("c"))

    def test_rowsAreNotPassedOnToThoseWhoHearThemThemselves(self) -> None:
        self.start()
        self.network.advance(1)
        between = [
            one
            for one in self.network.cables
            if {one.near.protocol.peer.node, one.far.protocol.peer.node} == {"b", "c"}
        ]
        before = sum(cable.near.written + cable.far.written for cable in between)
        for n in range(50):
            self.at("a").rows.put("passing", f"k{n}", {"text": "x" * 200}, 60)
        self.network.flush()
        self.assertEqual(before, sum(cable.near.written + cable.far.written for cable in between))

    def test_aRestartTakesWhatANodeHadInPassing(self) -> None:
        self.start()
        self.at("a").rows.put("passing", "session", {}, 600)
        self.at("a").rows.put("durable", "ban", {}, 600)
        self.network.advance(1)
        self.crash("a")
        self.assertEqual({"session"}, self.keys("b"))
        self.network.unreachable.clear()
        self.network.advance(1)
        self.add("a").mesh.start()
        self.network.advance(11)
        self.assertEqual([set(), set()], [self.keys("b"), self.keys("c")])
        self.assertEqual([{"ban"}] * 3, [self.keys(name, "durable") for name in self.names])

    def test_clocksNeedNotAgree(self) -> None:
        """Time that is left is what travels; here it is the same clock, so a row on its way for long shows it."""
        self.start("a", "b")
        self.network.advance(0.1)
        for cable in self.network.cables:
            cable.hold()
        self.at("a").rows.put("passing", "k", {}, 60)
        self.clock.advance(3)
        for cable in self.network.cables:
            cable.hold(False)
        self.network.flush()
        (row,) = self.at("b").rows.rows("passing")
        self.assertTrue(60 <= row.expires - self.clock.seconds() + 3 <= 63.5, row)


class HostileTests(MeshCase):
    def setUp(self) -> None:
        super().setUp()
        self.start("a", "b")
        self.network.advance(0.1)
        (self.link,) = self.linksOf(self.at("b"))

    def says(self, plain: Any) -> Any:
        answer = self.link.call("rows", plain)
        self.network.flush()
        return answer

    def message(self, *rows: Any, **head: Any) -> bytes:
        return canonical({"incarnation": 1, "linked": [], **head}) + b"\n" + canonical(rows)

    def test_whatIsNoMessageIsRefused(self) -> None:
        for plain in (
            1,
            b"",
            b"{}",
            b"{}\n{}",
            b"[]\n[]",
            self.message(incarnation="1"),
            self.message(incarnation=2**60),
            self.message(linked=[1]),
            self.message(linked=["n"] * 2000),
            self.message(linked={}),
        ):
            _ = self.failureResultOf(self.says(plain), Refused)
        self.assertEqual(["b"], self.at("a").mesh.linked())

    def test_whatIsNoRowIsDroppedWithOneLineAndTheRestTaken(self) -> None:
        good = json.loads(record("good", table="passing", node="b", expires=self.clock.seconds() + 60).plain(0.0))
        with Logged() as lines:
            self.assertIsNone(self.successResultOf(self.says(self.message(1, [], {"a": "b"}, good, ["x"] * 7))))
        self.assertEqual({"good"}, self.keys("a"))
        self.assertEqual(1, len(lines), lines)

    def test_manyRowsOfAHostileNodeAreBounded(self) -> None:
        self.network.tables.update({})
        for start in range(0, 30_000, 500):
            rows = [["passing", f"k{n}", "b", 1, n, 60, {}] for n in range(start, start + 500)]
            _ = self.says(self.message(*rows))
        self.assertEqual(20_000, len(self.keys("a")))

    def test_aPeerThatTakesNoRowsIsLeftAlone(self) -> None:
        theirs = self.at("b").mesh._pairs["a"].exchange
        assert theirs is not None
        theirs.stop()
        with Logged() as lines:
            self.at("a").rows.put("passing", "k", {}, 60)
            self.network.flush()
        self.assertEqual(1, len([line for line in lines if "does not take rows" in line]), lines)


class ActionsTests(MeshCase):
    def setUp(self) -> None:
        super().setUp()
        self.start()
        self.network.advance(0.1)

    def perform(self, node: str, action: str, arguments: Any = None) -> Any:
        answer = self.at("a").mesh.perform(node, action, arguments or {}, ADMIN)
        self.network.flush()
        return answer

    def test_actionsReachANodeDirectly(self) -> None:
        asked: list[Any] = []

        def perform(action: str, arguments: Any, author: Author) -> Any:
            asked.append((action, arguments, author))
            return succeed({"done": action})

        self.at("c").mesh._perform = perform
        self.assertEqual({"done": "drain"}, self.successResultOf(self.perform("c", "drain", {"seconds": 5})))
        self.assertEqual([("drain", {"seconds": 5}, ADMIN)], asked)

    def test_whatTheOtherNodeForbidsIsForbidden(self) -> None:
        def perform(action: str, arguments: Any, author: Author) -> Any:
            raise Forbidden("not you")

        self.at("c").mesh._perform = perform
        self.assertIn("not you", str(self.failureResultOf(self.perform("c", "drain"), Forbidden).value))

    def test_withoutALinkNothingWasSent(self) -> None:
        for node in ("nobody", "c"):
            self.crash("c") if node == "c" else None
            self.assertFalse(self.failureResultOf(self.perform(node, "drain"), LinkLost).value.sent)

    def test_aLinkThatIsLostMeanwhileMayHaveSentIt(self) -> None:
        self.at("c").mesh._perform = lambda action, arguments, author: Deferred()
        answer = self.perform("c", "drain")
        self.crash("c")
        self.assertTrue(self.failureResultOf(answer, LinkLost).value.sent)

    def test_malformedRequestsAreRefused(self) -> None:
        link = self.at("a").mesh._pairs["c"].link
        assert link is not None
        for plain in (1, b"", b"{}", canonical({"action": "drain", "arguments": {}}), canonical({"action": 1})):
            answer = link.call("perform", plain)
            self.network.flush()
            _ = self.failureResultOf(answer, Refused)

    def test_soonIsDone(self) -> None:
        answer = self.at("b").mesh.perform("a", "wait", {}, ADMIN)
        self.network.flush()
        self.assertEqual({"done": "wait"}, soon(answer))
