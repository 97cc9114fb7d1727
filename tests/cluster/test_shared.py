"""Rows of all nodes as one node has them: merging, versions, bounds, expiry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.cluster.records import Record, RowId, Table, recordFromPlain
from cftpcluster.cluster.shared import SharedRows
from cftpcluster.errors import ClusterError, Refused
from cftpcluster.interfaces import ISharedRows
from cftpcluster.testing.rows import SharedRowsContract
from cftpcluster.vocabulary import Row

TABLES = {
    table.name: table
    for table in (
        Table(name="one", durable=True, most=100),
        Table(name="two", durable=False, most=100),
        Table(name="few", durable=True, most=2),
        Table(name="kept", durable=True, most=2, evicts=False),
    )
}
MEMBERS = {"here", "there", "elsewhere"}


def makeRows(clock: Clock, node: str = "here", incarnation: int = 5) -> SharedRows:
    return SharedRows(node=node, incarnation=incarnation, clock=clock, tables=TABLES, members=lambda: MEMBERS)


def record(
    key: str = "k",
    counter: int = 1,
    value: Mapping[str, Any] | None = None,
    *,
    table: str = "one",
    node: str = "there",
    incarnation: int = 1,
    expires: float = 10.0,
    withdrawn: bool = False,
) -> Record:
    return Record(
        table=table,
        key=key,
        node=node,
        incarnation=incarnation,
        counter=counter,
        value=None if withdrawn else {"n": counter} if value is None else value,
        expires=expires,
    )


def known(rows: SharedRows) -> dict[RowId, Record | None]:
    return {one: rows.record(one) for one in rows.ids()}


class Logged:
    """The lines that were logged while this is entered."""

    def __enter__(self) -> list[str]:
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self._note)
        return self.lines

    def _note(self, event: Any) -> None:
        if event.get("log_namespace", "").startswith("cftpcluster."):
            self.lines.append(event["log_format"].format(**event))

    def __exit__(self, *_: object) -> None:
        globalLogPublisher.removeObserver(self._note)


class SharedRowsContractTests(SharedRowsContract, SynchronousTestCase):
    def makeRows(self, clock: Clock, node: str) -> ISharedRows:
        return makeRows(clock, node)

    def hear(
        self, rows: ISharedRows, node: str, table: str, key: str, value: Mapping[str, Any], seconds: float
    ) -> None:
        assert isinstance(rows, SharedRows)
        expires = self.clock.seconds() + seconds
        rows.merge(node, [record(key, 1, value, table=table, node=node, expires=expires)])


records = st.builds(
    record,
    key=st.sampled_from("abc"),
    counter=st.integers(1, 4),
    table=st.sampled_from(["one", "two"]),
    node=st.sampled_from(["there", "elsewhere"]),
    incarnation=st.integers(1, 3),
    withdrawn=st.booleans(),
)
"""What two writers may have written; a version is written once, so its value follows from it."""


# A machine that has other work is no reason to fail.
LAWS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def consistent(several: list[Record]) -> list[Record]:
    return list({(one.id, one.version): one for one in several}.values())


class MergeLawsTests(SynchronousTestCase):
    @LAWS
    @given(st.data(), st.lists(records, max_size=12))
    def test_inAnyOrderDoubledAndLost(self, data: st.DataObject, several: list[Record]) -> None:
        written = consistent(several)
        first, second = makeRows(Clock()), makeRows(Clock())
        first.merge("there", written)
        again = data.draw(st.lists(st.sampled_from(written), max_size=8)) if written else []
        for one in data.draw(st.permutations([*written, *again])):
            second.merge("elsewhere", [one])
        self.assertEqual(known(first), known(second))

    @LAWS
    @given(st.lists(records, max_size=12), st.integers(0, 12), st.integers(0, 12))
    def test_nodesThatTellEachOtherAgree(self, several: list[Record], some: int, others: int) -> None:
        """Each of three has heard of a part; they tell each other in a ring, in two ways of grouping."""
        written = consistent(several)

        def parts() -> list[SharedRows]:
            nodes = [makeRows(Clock(), "here") for _ in range(3)]
            for node, part in zip(nodes, (written[:some], written[some:], written[others:]), strict=True):
                node.merge("there", part)
            return nodes

        def tell(teller: SharedRows, hearer: SharedRows) -> None:
            hearer.merge("there", [each for each in known(teller).values() if each is not None])

        a, b, c = parts()
        tell(b, a)
        tell(c, a)
        x, y, z = parts()
        tell(z, y)
        tell(y, x)
        self.assertEqual(known(a), known(x))

    @LAWS
    @given(st.lists(records, max_size=12))
    def test_tellingTheSameAgainChangesNothing(self, several: list[Record]) -> None:
        rows = makeRows(Clock())
        rows.merge("there", consistent(several))
        before = known(rows)
        heard: list[RowId] = []
        rows.listen(heard.append)
        rows.merge("there", [each for each in before.values() if each is not None])
        self.assertEqual((before, []), (known(rows), heard))


class VersionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.rows = makeRows(self.clock)

    def test_aWithdrawnRowDoesNotComeBack(self) -> None:
        self.rows.merge("there", [record(counter=1)])
        self.rows.merge("there", [record(counter=2, withdrawn=True)])
        self.rows.merge("elsewhere", [record(counter=1)])
        self.assertEqual([], list(self.rows.rows("one")))

    def test_aWithdrawalIsKnownBeforeItsRowToo(self) -> None:
        self.rows.merge("there", [record(counter=2, withdrawn=True)])
        self.rows.merge("elsewhere", [record(counter=1)])
        self.assertEqual([], list(self.rows.rows("one")))

    def test_aRowDoesNotComeBackThatAShorterOneReplaced(self) -> None:
        away, other = makeRows(self.clock, "there"), makeRows(self.clock, "elsewhere")

        def tell(rows: SharedRows, sender: str, *others: SharedRows) -> None:
            for each in others:
                each.merge(sender, [one for one in known(rows).values() if one is not None])

        self.rows.put("one", "k", {"n": 1}, 60)
        tell(self.rows, "here", away, other)
        self.rows.put("one", "k", {"n": 2}, 2)
        tell(self.rows, "here", other)
        self.assertEqual([({"n": 2}, 2.0)], [(row.value, row.expires) for row in other.rows("one")])
        self.clock.advance(3)
        self.assertEqual([], [*self.rows.rows("one"), *other.rows("one")])
        tell(away, "there", self.rows, other)
        self.assertEqual([], [*self.rows.rows("one"), *other.rows("one")])
        tell(other, "elsewhere", away)
        self.assertEqual([], list(away.rows("one")))
        self.clock.advance(58)
        self.assertEqual([], [*self.rows.ids(), *other.ids(), *away.ids()])

    def test_aRowThatEndsEarlyIsToldToWatchersOnce(self) -> None:
        seen: list[tuple[Any, Any]] = []
        self.rows.watch("one", lambda before, after: seen.append((before, after)))
        self.rows.put("one", "k", {"n": 1}, 60)
        self.rows.put("one", "k", {"n": 2}, 2)
        self.clock.advance(100)
        values = [(before and before.value["n"], after and after.value["n"]) for before, after in seen]
        self.assertEqual([(None, 1), (1, 2), (2, None)], values)

    def test_aRowWrittenAfterAWithdrawalIsRememberedAsLongAsThat(self) -> None:
        other = makeRows(self.clock, "there")
        self.rows.put("one", "k", {"n": 1}, 60)
        old = list(known(self.rows).values())
        self.rows.remove("one", "k")
        self.rows.put("one", "k", {"n": 2}, 2)
        other.merge("here", [each for each in known(self.rows).values() if each is not None])
        self.clock.advance(3)
        other.merge("here", [each for each in old if each is not None])
        self.assertEqual([], list(other.rows("one")))

    def test_aWithdrawalIsForgottenWhenItsRowWouldHaveExpired(self) -> None:
        self.rows.put("one", "k", {}, 10)
        self.rows.remove("one", "k")
        self.clock.advance(9)
        self.assertEqual([("one", "k", "here")], list(self.rows.ids()))
        self.clock.advance(1.1)
        self.assertEqual([], list(self.rows.ids()))

    def test_aRowMayBeWrittenAgainAfterItsWithdrawal(self) -> None:
        other = makeRows(self.clock, "there")
        for step in (lambda: self.rows.put("one", "k", {"n": 1}, 10), lambda: self.rows.remove("one", "k")):
            step()
        self.rows.put("one", "k", {"n": 2}, 10)
        other.merge("here", [each for each in known(self.rows).values() if each is not None])
        self.assertEqual([{"n": 2}], [row.value for row in other.rows("one")])

    def test_aNewIncarnationBeatsAnyCounter(self) -> None:
        self.rows.merge("there", [record(counter=900, incarnation=1), record(counter=1, incarnation=2)])
        self.assertEqual([{"n": 1}], [row.value for row in self.rows.rows("one")])

    def test_passingRowsOfAnOlderLifeGo(self) -> None:
        told: list[tuple[Row | None, Row | None]] = []
        self.rows.merge("there", [record("a", table="two"), record("b", table="one")])
        self.rows.watch("two", lambda *change: told.append(change))
        self.rows.merge("there", [record("c", table="two", incarnation=2)])
        self.rows.merge("elsewhere", [record("d", 9, table="two", incarnation=1)])
        self.assertEqual(["c"], [row.key for row in self.rows.rows("two")])
        self.assertEqual(["b"], [row.key for row in self.rows.rows("one")])
        self.assertEqual([("a", None), (None, "c")], [tuple(row and row.key for row in change) for change in told])

    def test_aNodeThatSaysItWasStartedAnewHasNoPassingRowsOfBefore(self) -> None:
        self.rows.merge("there", [record("a", table="two")])
        self.rows.linked("there", 2)
        self.assertEqual([], list(self.rows.rows("two")))

    def test_whatANodeWroteBeforeItsStartComesBackToIt(self) -> None:
        self.rows.merge("there", [record(node="here", incarnation=4, counter=77)])
        self.assertEqual([77], [row.value["n"] for row in self.rows.get("one", "k")])
        self.rows.put("one", "k", {"n": 0}, 5)
        self.rows.merge("there", [record(node="here", incarnation=4, counter=77)])
        self.assertEqual([0], [row.value["n"] for row in self.rows.get("one", "k")])

    def test_whatANodeHadInPassingBeforeItsStartDoesNotComeBack(self) -> None:
        self.rows.merge("there", [record(node="here", incarnation=4, table="two")])
        self.assertEqual([], list(self.rows.rows("two")))

    def test_aNodeThatForgotHowOftenItWasStartedGoesBeyondWhatOthersKnow(self) -> None:
        other = makeRows(self.clock, "there")
        other.merge("elsewhere", [record("old", 3, node="here", incarnation=40)])
        self.rows.put("one", "new", {"n": 1}, 5)
        self.rows.merge("there", [each for each in known(other).values() if each is not None])
        self.assertEqual(41, self.rows.incarnation)
        self.rows.put("one", "old", {"n": 5}, 5)
        other.merge("here", [each for each in known(self.rows).values() if each is not None])
        self.assertEqual({"old": 5, "new": 1}, {row.key: row.value["n"] for row in other.rows("one")})

    def test_twoOfTheSameNameDoNotOutbidEachOtherForEver(self) -> None:
        self.rows.merge("there", [record(node="here", incarnation=40)])
        self.rows.merge("there", [record(node="here", incarnation=50)])
        self.assertEqual(41, self.rows.incarnation)
        self.clock.advance(11)
        self.rows.merge("there", [record("other", node="here", incarnation=50, expires=99)])
        self.assertEqual(51, self.rows.incarnation)

    def test_afterALaterRiseEarlierRowsAreKnownAnew(self) -> None:
        self.rows.put("two", "k", {}, 10)
        heard: list[RowId] = []
        self.rows.listen(heard.append)
        self.rows.merge("there", [record("other", node="here", incarnation=40)])
        self.assertIn(("two", "k", "here"), heard)


class BeliefTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.rows = makeRows(self.clock)

    def test_aNodeThatIsLinkedSpeaksForItself(self) -> None:
        self.rows.linked("there", 3)
        with Logged() as lines:
            self.rows.merge("elsewhere", [record("forged", incarnation=3), record("later", incarnation=4)])
        self.assertEqual([], list(self.rows.rows("one")))
        self.assertEqual(1, len(lines), lines)
        self.rows.merge("elsewhere", [record("earlier", incarnation=2)])
        self.rows.merge("there", [record("own", incarnation=3)])
        self.assertEqual({"earlier", "own"}, {row.key for row in self.rows.rows("one")})

    def test_aNodeThatIsNotLinkedIsSpokenFor(self) -> None:
        self.rows.linked("there", 3)
        self.rows.unlinked("there")
        self.rows.merge("elsewhere", [record("k", incarnation=4)])
        self.assertEqual(["k"], [row.key for row in self.rows.rows("one")])

    def test_unknownTablesAreDroppedWithOneLine(self) -> None:
        with Logged() as lines:
            self.rows.merge("there", [record(str(n), table="none") for n in range(50)])
            self.rows.merge("elsewhere", [record("k", table="none")])
        self.assertEqual(2, len(lines), lines)
        self.assertEqual([], list(self.rows.ids()))

    def test_passingRowsOfStrangersAreDropped(self) -> None:
        self.rows.merge("there", [record(node="stranger", table="two")])
        self.assertEqual([], list(self.rows.ids()))

    def test_durableRowsOfRemovedNodesAreTaken(self) -> None:
        self.rows.merge("there", [record(node="removed")])
        self.assertEqual(["removed"], [row.node for row in self.rows.rows("one")])

    def test_nobodyInventsNodesWithoutEnd(self) -> None:
        with Logged() as lines:
            self.rows.merge("there", [record(node=f"n{number}") for number in range(500)])
        self.assertEqual((64, 1), (len(self.rows.rows("one")), len(lines)))

    def test_whatARemovedNodeHadInPassingGoes(self) -> None:
        members = set(MEMBERS)
        rows = SharedRows(node="here", incarnation=1, clock=self.clock, tables=TABLES, members=lambda: members)
        rows.put("two", "mine", {}, 10)
        rows.merge("there", [record("a", table="two"), record("b", table="one")])
        members.discard("there")
        rows.membersChanged()
        self.assertEqual(
            (["mine"], ["b"]), ([row.key for row in rows.rows("two")], [row.key for row in rows.rows("one")])
        )

    def test_aWatcherThatFailsKeepsNothingFromTheOthers(self) -> None:
        told: list[Row | None] = []
        self.rows.watch("one", lambda before, after: 1 / 0)
        self.rows.watch("one", lambda before, after: told.append(after))
        self.rows.put("one", "k", {}, 10)
        self.assertEqual(1, len(told))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))


class BoundsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.rows = makeRows(self.clock)

    def test_aFullTableLetsGoOfWhatExpiresFirst(self) -> None:
        gone: list[str] = []
        self.rows.watch("few", lambda before, after: gone.append(before.key) if before and after is None else None)
        for key, seconds in (("a", 30), ("b", 10), ("c", 20)):
            self.rows.put("few", key, {}, seconds)
        self.assertEqual((["b"], {"a", "c"}), (gone, {row.key for row in self.rows.rows("few")}))
        self.rows.put("few", "d", {}, 5)
        self.assertEqual({"a", "c"}, {row.key for row in self.rows.rows("few")})
        self.rows.put("few", "a", {"n": 2}, 40)
        self.assertEqual({"a", "c"}, {row.key for row in self.rows.rows("few")})

    def test_everyNodeHasItsOwnRoom(self) -> None:
        for key in ("a", "b"):
            self.rows.put("few", key, {}, 30)
        self.rows.merge("there", [record(str(n), table="few", expires=20.0 + n) for n in range(100)])
        rows = {(row.node, row.key) for row in self.rows.rows("few")}
        self.assertEqual({("here", "a"), ("here", "b"), ("there", "98"), ("there", "99")}, rows)

    def test_aTableThatKeepsEverythingTakesNoMore(self) -> None:
        for key in ("a", "b"):
            self.rows.put("kept", key, {}, 30)
        with self.assertRaisesRegex(ClusterError, "too many kept"):
            self.rows.put("kept", "c", {}, 60)
        with Logged() as lines:
            self.rows.merge("there", [record(str(n), table="kept", expires=20.0 + n) for n in range(9)])
        self.assertEqual(1, len(lines), lines)
        keys = {(row.node, row.key) for row in self.rows.rows("kept")}
        self.assertEqual({("here", "a"), ("here", "b"), ("there", "0"), ("there", "1")}, keys)

    def test_largeRowsAreNotWritten(self) -> None:
        with self.assertRaises(ValueError):
            self.rows.put("one", "k", {"text": "x" * 4096}, 10)
        self.assertEqual([], list(self.rows.ids()))

    def test_unknownTablesAreDefects(self) -> None:
        for call in (lambda: self.rows.put("none", "k", {}, 1), lambda: self.rows.get("none", "k")):
            self.assertRaises(ValueError, call)

    def test_writingARowAgainAndAgainTakesNoMoreRoom(self) -> None:
        for n in range(5000):
            self.rows.put("one", "k", {"n": n}, 3600)
        shelf = self.rows._shelves["one"]["here"]
        self.assertLess(len(shelf._heap), 1000)

    def test_rowsOfManyLengthsExpireEachInItsTime(self) -> None:
        gone: list[tuple[float, str]] = []
        self.rows.watch(
            "one", lambda before, after: gone.append((self.clock.seconds(), before.key)) if after is None else None
        )
        for key, seconds in (("c", 30), ("a", 10), ("b", 20)):
            self.rows.put("one", key, {}, seconds)
        self.clock.pump([1.0] * 40)
        self.assertEqual(["a", "b", "c"], [key for _, key in gone])
        self.assertEqual([], self.clock.getDelayedCalls())


class PlainFormTests(SynchronousTestCase):
    def plain(self, **changes: Any) -> Any:
        fields = json.loads(record(expires=100.0).plain(40.0))
        for name, value in changes.items():
            fields[["table", "key", "node", "incarnation", "counter", "seconds", "value"].index(name)] = value
        return fields

    def test_theTimeLeftTravels(self) -> None:
        self.assertEqual(record(expires=1060.0), recordFromPlain(self.plain(), 1000.0))

    def test_withdrawalsTravel(self) -> None:
        plain = json.loads(record(expires=100.0, withdrawn=True).plain(40.0))
        self.assertEqual(record(expires=60.0, withdrawn=True), recordFromPlain(plain, 0.0))

    def test_namesThatAreNotUTF8Travel(self) -> None:
        odd = evolve(record("k\udcff"), value={"user": "\udc80"})
        self.assertEqual(odd, recordFromPlain(json.loads(odd.plain(0.0)), 0.0))

    def test_aNewerVersionMayAddToTheEnd(self) -> None:
        self.assertEqual(record(expires=60.0), recordFromPlain([*self.plain(), 60.0, "more"], 0.0))

    def test_nothingLastsForEver(self) -> None:
        self.assertLess(recordFromPlain(self.plain(seconds=1e300), 0.0).expires, 1e9)

    def test_whatIsNoRowIsRefused(self) -> None:
        wrong: list[Any] = [
            None,
            [],
            {},
            self.plain()[:6],
            self.plain(table=1),
            self.plain(table="t" * 65),
            self.plain(key=None),
            self.plain(node="n" * 65),
            self.plain(incarnation=-1),
            self.plain(incarnation=True),
            self.plain(incarnation=2**60),
            self.plain(counter=1.5),
            self.plain(seconds=-1),
            self.plain(seconds="1"),
            self.plain(seconds=True),
            [*self.plain(), -1],
            [*self.plain(), "1"],
            self.plain(value=[]),
            self.plain(value={"text": "x" * 5000}),
            self.plain(key="k" * 5000),
        ]
        for each in wrong:
            self.assertRaises(Refused, recordFromPlain, each, 0.0)
