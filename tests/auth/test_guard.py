"""Tests of :mod:`cftpcluster.auth.guard` and :mod:`cftpcluster.auth.bans`."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.auth.credentials import TurnedAway
from cftpcluster.auth.guard import (
    ADDRESS_FAILURES,
    ARRIVAL_SECONDS,
    FREE_FAILURES,
    LONGEST_DELAY_SECONDS,
    MOST_COUNTED,
    NAME_FAILURES,
    Guard,
)
from cftpcluster.auth.rules import Rules
from cftpcluster.cluster.shared import SharedRows
from cftpcluster.config.document import Listener, Node
from cftpcluster.errors import ClusterError
from cftpcluster.events import LoggedIn, LoginFailed
from cftpcluster.tables import TABLES
from cftpcluster.testing.auth import documentWith, originOf

from .nodes import RuledNodes

BAD = "203.0.113.7"


class GuardCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.nodes = RuledNodes()

    def guard(self, node: str = "a") -> Guard:
        return self.nodes.rules[node].guard

    def fail_(self, times: int, node: str = "a", address: str = BAD, name: str = "alice", **origin: Any) -> None:
        for _ in range(times):
            event = LoginFailed(user=name, origin=originOf(address=address, **origin), method="password", reason="x")
            self.guard(node).observe(event)

    def succeed(self, node: str = "a", address: str = BAD, name: str = "alice") -> None:
        self.guard(node).observe(LoggedIn(user=name, origin=originOf(address=address), method="password"))

    def refusals(self, address: str = BAD) -> list[str]:
        return [self.guard(name).refusal(address) for name in self.nodes.names]


class BanTests(GuardCase):
    def test_failuresOfOneAddressBanItOnAllNodes(self) -> None:
        self.fail_(9)
        self.assertEqual(self.refusals(), [""] * 3)
        self.fail_(1)
        self.assertEqual(self.refusals(), ["banned"] * 3)
        self.assertEqual(self.refusals("203.0.113.8"), [""] * 3)

    def test_failuresOnSeveralNodesAndProtocolsAddUp(self) -> None:
        self.fail_(4, "a", protocol="ftp")
        self.fail_(3, "b", protocol="sftp")
        self.fail_(2, "c", protocol="https")
        self.assertEqual(self.refusals(), [""] * 3)
        self.fail_(1, "b", protocol="manager", name="admin")
        self.assertEqual(self.refusals(), ["banned"] * 3)

    def test_failuresThatWereHeardOfLateAddUp(self) -> None:
        self.nodes.parted = True
        self.fail_(6, "a")
        self.fail_(6, "b")
        self.nodes.parted = False
        self.fail_(1, "a")
        self.assertEqual(self.refusals(), ["banned"] * 3)

    def test_failuresOfLongAgoDoNotCount(self) -> None:
        self.fail_(9)
        self.nodes.pump(605)
        self.fail_(1)
        self.assertEqual(self.refusals(), [""] * 3)

    def test_banExpiresAndLeavesNothingBehind(self) -> None:
        self.fail_(10)
        self.nodes.pump(3595)
        self.assertEqual(self.refusals(), ["banned"] * 3)
        self.nodes.pump(10)
        self.assertEqual(self.refusals(), [""] * 3)
        self.fail_(9)
        self.assertEqual(self.refusals(), [""] * 3)

    def test_anIPv6ClientIsBannedWithItsNetwork(self) -> None:
        for number in range(10):
            self.fail_(1, address=f"2001:db8:1:2::{number:x}")
        self.assertEqual(self.refusals("2001:db8:1:2:ffff::1"), ["banned"] * 3)
        self.assertEqual(self.refusals("2001:db8:1:3::1"), [""] * 3)
        (ban,) = self.guard("c").bans()
        self.assertEqual((ban.network, ban.node), ("2001:db8:1:2::/64", "a"))

    def test_clothedAddressIsTheSame(self) -> None:
        self.fail_(10)
        self.assertEqual(self.guard("b").refusal(f"::ffff:{BAD}"), "banned")

    def test_survivesARestartOfAllNodes(self) -> None:
        self.fail_(10)
        for name in self.nodes.names:
            self.nodes.start(name)
        self.assertEqual(self.refusals(), ["banned"] * 3)

    def test_whoLogsInWithTheLastOfManyKeysIsNoGuesser(self) -> None:
        for _ in range(20):
            self.fail_(4)
            self.succeed()
        self.assertEqual(self.refusals(), [""] * 3)

    def test_ownAccountDoesNotForgiveGuessesAtOthers(self) -> None:
        for _ in range(5):
            self.fail_(2, name="victim")
            self.succeed(name="attacker")
        self.assertEqual(self.refusals(), ["banned"] * 3)

    def test_zeroBansNobody(self) -> None:
        self.nodes.set(banAfterFailures=0)
        self.fail_(100)
        self.assertEqual(self.refusals(), [""] * 3)

    def test_logInsOnStandingConnectionsAreTurnedAway(self) -> None:
        self.guard("a").turnAway(BAD)
        self.fail_(10)
        self.assertRaises(TurnedAway, self.guard("b").turnAway, BAD)

    def test_memoryIsBoundedUnderManyAddresses(self) -> None:
        rows = SharedRows(node="a", incarnation=1, clock=self.nodes.clock, tables=TABLES, members=lambda: {"a"})
        guard = Guard(rows, "a", self.nodes.clock, lambda: self.nodes.document, lambda: "id")
        guard.start()
        self.nodes.rules["a"] = Rules(guard, self.nodes.rules["a"].sessions)
        for number in range(MOST_COUNTED + 50):
            self.fail_(1, address=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", name=f"n{number}")
        for table in (ADDRESS_FAILURES, NAME_FAILURES):
            self.assertLessEqual(len(rows.rows(table)), MOST_COUNTED)
        self.assertLessEqual(max(len(guard._byAddress._own), len(guard._byName._own)), MOST_COUNTED)
        self.fail_(10)
        self.assertEqual(guard.refusal(BAD), "banned")

    def test_textsThatAreNoAddressHarmNobody(self) -> None:
        self.fail_(20, address="")
        self.assertEqual(self.refusals(""), [""] * 3)


class ExemptionTests(GuardCase):
    def assertExempt(self, address: str) -> None:
        self.fail_(50, address=address)
        self.assertEqual(self.refusals(address), [""] * 3)
        self.assertEqual(list(self.guard().bans()), [])
        self.assertIn("never banned", str(self.assertRaises(ClusterError, self.guard().ban, address, 1, "", "")))

    def test_neverBan(self) -> None:
        self.nodes.set(neverBan=("203.0.113.0/24",))
        self.assertExempt(BAD)

    def test_probes(self) -> None:
        self.nodes.set(probeNetworks=("203.0.113.0/24",))
        self.assertExempt(BAD)

    def test_nodesAndBalancers(self) -> None:
        overrides = {"sftp": {"trustedProxies": ["198.51.100.9"]}}
        self.nodes.document = documentWith(
            nodes=[Node(name="a", address="198.51.100.1", listeners=overrides), Node(name="b", address="b.example")],
            listeners=[Listener(name="ftp", kind="ftp", port=21, trustedProxies=("198.51.100.2",))],
        )
        for address in ("198.51.100.1", "198.51.100.2", "198.51.100.9"):
            self.assertExempt(address)

    def test_loopbackIsNotExemptByItself(self) -> None:
        self.fail_(10, address="127.0.0.1")
        self.assertEqual(self.refusals("127.0.0.1"), ["banned"] * 3)

    def test_exemptionHoldsAgainstABanThatWasThereBefore(self) -> None:
        self.fail_(10)
        self.nodes.set(neverBan=(BAD,))
        self.assertEqual(self.refusals(), [""] * 3)

    def test_exemptWithinABannedNetwork(self) -> None:
        self.nodes.set(neverBan=(BAD,))
        self.guard().ban("203.0.113.0/24", 60, "", "admin")
        self.assertEqual((self.refusals(), self.refusals("203.0.113.8")), ([""] * 3, ["banned"] * 3))


class ByHandTests(GuardCase):
    def test_networksAreBannedAndListed(self) -> None:
        made = self.guard("b").ban("203.0.113.0/24", 60, "spray", "admin")
        self.assertEqual(self.refusals(), ["banned"] * 3)
        self.assertEqual((made.network, made.reason, made.by, made.node), ("203.0.113.0/24", "spray", "admin", "b"))
        self.assertEqual([evolve(ban, refused=0) for ban in self.guard("c").bans()], [made])
        self.assertEqual([ban.refused for ban in self.guard("c").bans()], [1])

    def test_withoutSecondsAsTheSettingsSay(self) -> None:
        self.assertEqual(self.guard().ban(BAD, None, "", "admin").seconds, 3600)

    def test_nonsenseIsRefused(self) -> None:
        for text in ("", "example.org", "203.0.113.7/24", "203.0.113.0/33"):
            self.assertRaises(ClusterError, self.guard().ban, text, 1, "", "")
            self.assertRaises(ClusterError, self.guard().lift, text)

    def test_liftedAnywhereIsLiftedEverywhere(self) -> None:
        self.fail_(10, "a")
        self.assertTrue(self.guard("c").lift(BAD))
        self.assertEqual(self.refusals(), [""] * 3)
        self.assertFalse(self.guard("c").lift(BAD))

    def test_liftedStaysLiftedWhenItsNodeComesBack(self) -> None:
        self.fail_(10, "a")
        self.nodes.parted = True
        self.guard("c").lift(BAD)
        self.assertEqual([self.guard(name).refusal(BAD) for name in ("a", "c")], ["banned", ""])
        self.nodes.parted = False
        self.nodes.start("a")
        self.assertEqual([self.guard(name).refusal(BAD) for name in ("a", "c")], ["", ""])
        self.assertEqual([row for row in self.nodes.rows["a"].rows("bans") if row.node == "a"], [])

    def test_aLaterBanHoldsAllTheSame(self) -> None:
        self.fail_(10, "a")
        self.guard("c").lift(BAD)
        self.fail_(9, "a")
        self.assertEqual(self.refusals(), [""] * 3)
        self.fail_(1, "a")
        self.assertEqual(self.refusals(), ["banned"] * 3)

    def test_whatCoversAnAddressIsNamed(self) -> None:
        self.guard().ban("203.0.113.0/24", 60, "", "admin")
        self.assertFalse(self.guard().lift(BAD))
        self.assertEqual(self.guard().covering(BAD), "203.0.113.0/24")
        self.assertEqual(self.guard().covering("192.0.2.0/24"), "")

    def test_ofTwoBansTheLongerOneHolds(self) -> None:
        self.guard("a").ban(BAD, 10, "short", "admin")
        self.guard("b").ban(BAD, 100, "long", "admin")
        self.nodes.pump(15)
        self.assertEqual(self.refusals(), ["banned"] * 3)
        self.assertEqual([ban.reason for ban in self.guard("c").bans()], ["long"])


class NetworkTests(GuardCase):
    def test_settingsSayWhoMayConnect(self) -> None:
        self.nodes.set(allow=("203.0.113.0/24",), deny=(BAD,))
        self.assertEqual(self.guard().refusal("203.0.113.8"), "")
        for address in (BAD, "192.0.2.1"):
            self.assertEqual(self.guard().refusal(address), "network is not allowed")
        self.nodes.set(allow=(), deny=())
        self.assertEqual(self.guard().refusal("192.0.2.1"), "")


class DelayTests(GuardCase):
    def delay(self, address: str, name: str = "alice", whose: str = "users", node: str = "b") -> float:
        """How long a password has to wait."""
        started = self.nodes.clock.seconds()
        held = self.guard(node).hold(whose, name, address)
        while not held.called:
            self.nodes.clock.advance(0.5)
        return self.nodes.clock.seconds() - started

    def guessed(self, times: int, name: str = "alice") -> None:
        for number in range(times):
            self.fail_(1, address=f"198.51.100.{number}", name=name)

    def test_manyWrongPasswordsOfANameSlowItDownMoreAndMore(self) -> None:
        self.guessed(FREE_FAILURES)
        self.assertEqual(self.delay("192.0.2.1"), 0)
        delays = []
        for _ in range(8):
            self.fail_(1, address="198.51.100.77")
            delays.append(self.delay("192.0.2.1"))
        self.assertEqual(delays[:5], [0.5, 1.0, 2.0, 4.0, 8.0])
        self.assertEqual(delays[-1], LONGEST_DELAY_SECONDS)

    def test_whoLoggedInFromThereBeforeIsNotDelayed(self) -> None:
        self.succeed("c", "192.0.2.1")
        self.guessed(100)
        self.assertEqual(self.delay("192.0.2.1"), 0)
        self.assertGreater(self.delay("192.0.2.2"), 0)

    def test_arrivalsAreRememberedOverRestartsAndForAWhile(self) -> None:
        self.succeed("a", "192.0.2.1")
        self.nodes.start("b")
        self.guessed(100)
        self.assertEqual(self.delay("192.0.2.1"), 0)
        self.nodes.clock.advance(ARRIVAL_SECONDS)
        self.guessed(100)
        self.assertGreater(self.delay("192.0.2.1"), 0)

    def test_namesAreApartAndNobodyNeedsToExist(self) -> None:
        self.guessed(50, "nobody\udcff")
        self.assertEqual(self.delay("192.0.2.1"), 0)
        self.assertGreater(self.delay("192.0.2.1", "nobody\udcff"), 0)

    def test_administratorsAreNoUsers(self) -> None:
        for number in range(50):
            self.fail_(1, address=f"198.51.100.{number}", name="admin", protocol="manager")
        self.assertEqual(self.delay("192.0.2.1", "admin"), 0)
        self.assertGreater(self.delay("192.0.2.1", "admin", "administrators"), 0)


class RateTests(GuardCase):
    def test_withoutALimitThereIsNone(self) -> None:
        for _ in range(1000):
            self.guard().turnAway(BAD)
        self.assertEqual(list(self.guard().bans()), [])

    def test_soManyAMinuteAndNoMore(self) -> None:
        self.nodes.set(loginsPerMinute=6)
        for _ in range(6):
            self.guard().turnAway(BAD)
        self.assertRaises(TurnedAway, self.guard().turnAway, BAD)
        self.guard().turnAway("203.0.113.8")
        self.nodes.clock.advance(10)
        self.guard().turnAway(BAD)
        self.assertRaises(TurnedAway, self.guard().turnAway, BAD)
        self.nodes.clock.advance(600)
        for _ in range(6):
            self.guard().turnAway(BAD)
        self.assertRaises(TurnedAway, self.guard().turnAway, BAD)

    def test_exemptOnesHaveNone(self) -> None:
        self.nodes.set(loginsPerMinute=1, neverBan=(BAD,))
        for _ in range(10):
            self.guard().turnAway(BAD)
        self.nodes.set(neverBan=())
        self.guard().turnAway(BAD)
        self.assertRaises(TurnedAway, self.guard().turnAway, BAD)
