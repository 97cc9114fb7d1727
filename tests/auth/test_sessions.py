"""Tests of :mod:`cftpcluster.auth.sessions`."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.auth.account import Account
from cftpcluster.auth.credentials import TurnedAway
from cftpcluster.auth.sessions import MOST_ENDED_OF_A_USER, PRESENCE_SECONDS, LiveSessions
from cftpcluster.config.document import Limits, User
from cftpcluster.errors import ClusterError
from cftpcluster.testing.auth import documentWith
from cftpcluster.vocabulary import Origin, publicId

from .nodes import RuledNodes

ALICE = User(name="alice", limits=Limits(sessions=2))


class Files:
    def close(self) -> Deferred[None]:
        return succeed(None)


class SessionsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.nodes = RuledNodes(document=documentWith(ALICE, User(name="bob"), User(name="carol")))

    def on(self, node: str = "a") -> LiveSessions:
        return self.nodes.rules[node].sessions

    def origin(self, session: str, protocol: str = "sftp", address: str = "192.0.2.7", **more: Any) -> Origin:
        return Origin(protocol, address, protocol, session, **more)

    def enter(
        self, node: str = "a", session: str = "1", user: User = ALICE, revision: int = 1, **origin: Any
    ) -> Account:
        where = self.origin(session, **origin)
        self.on(node).admit(user, where)
        files: Any = Files()
        account = Account(user.name, where, files, revision)
        self.on(node).begin(account)
        return account

    def leave(self, account: Account) -> None:
        self.successResultOf(account.logout())

    def visit(self, node: str, session: str, **origin: Any) -> None:
        """One request of a session in a cookie."""
        self.leave(self.enter(node, session, protocol="https", lingerSeconds=1800, **origin))

    def listed(self, node: str = "c") -> list[str]:
        return [f"{one['user']} {one['protocol']} {one['node']}" for one in self.on(node).listed()]


class ListTests(SessionsCase):
    def test_allNodesListTheSessionsOfAll(self) -> None:
        self.enter("a", "1", software="OpenSSH_9.9")
        self.nodes.clock.advance(5)
        self.enter("b", "2", protocol="ftp", address="192.0.2.8")
        for node in self.nodes.names:
            first, second = self.on(node).listed()
            self.assertEqual(
                first,
                {
                    "id": publicId("1"),
                    "user": "alice",
                    "protocol": "sftp",
                    "listener": "sftp",
                    "address": "192.0.2.7",
                    "since": 1_000_000,
                    "seen": 1_000_005,
                    "node": "a",
                    "software": "OpenSSH_9.9",
                },
            )
            self.assertEqual((second["node"], second["since"]), ("b", 1_000_005))

    def test_theIdIsNotTheSession(self) -> None:
        self.enter(session="deadbeef" * 4)
        self.assertNotIn("deadbeef", str(self.on().listed()))

    def test_whoLeavesIsNotListed(self) -> None:
        self.leave(self.enter())
        self.assertEqual(self.listed(), [])

    def test_longSessionsStayListed(self) -> None:
        self.enter()
        for _ in range(20):
            self.nodes.clock.pump([15.0] * 400)
        self.assertEqual(self.listed(), ["alice sftp a"])

    def test_sessionsOfANodeThatIsGoneAreForgotten(self) -> None:
        self.enter("a")
        self.on("a")._refreshing.stop()
        self.nodes.pump(PRESENCE_SECONDS - 10)
        self.assertEqual(self.listed("c"), ["alice sftp a"])
        self.nodes.pump(15)
        self.assertEqual(self.listed("c"), [])

    def test_sessionsBeforeARestartAreForgottenAtOnce(self) -> None:
        self.enter("a")
        self.on("a")._refreshing.stop()
        self.nodes.start("a")
        for node in self.nodes.names:
            self.assertEqual(self.listed(node), [])

    def test_sessionsOverHTTPStayUntilTheyAreIdle(self) -> None:
        self.visit("a", "1")
        self.on("a")._refreshing.stop()
        self.nodes.pump(1700)
        self.visit("b", "1")
        self.assertEqual(self.listed(), ["alice https b"])
        self.assertEqual(self.on("c").listed()[0]["since"], 1_000_000)
        self.nodes.pump(2400)
        self.assertEqual(self.listed(), [])

    def test_manyRequestsTellTheOthersSeldom(self) -> None:
        told = []
        self.nodes.rows["b"].watch("sessions", lambda before, after: told.append(after))
        for _ in range(100):
            self.visit("a", "1")
            self.nodes.clock.advance(1)
        self.assertEqual(len(told), 2)

    def test_aRequestThatLastsStaysListed(self) -> None:
        self.enter("a", "1", protocol="https", lingerSeconds=60)
        self.nodes.pump(600)
        self.assertEqual(self.listed(), ["alice https a"])

    def test_administratorsAreListedToo(self) -> None:
        self.on("a").visit("admin", self.origin("x", protocol="manager", lingerSeconds=60))
        self.assertEqual(self.listed(), ["admin manager a"])


class LimitTests(SessionsCase):
    def test_sessionsOfAllNodesAndProtocolsCount(self) -> None:
        self.enter("a", "1")
        second = self.enter("b", "2", protocol="ftp")
        refused = self.assertRaises(TurnedAway, self.enter, "c", "3")
        self.assertEqual(str(refused), "too many sessions of this user")
        self.leave(second)
        self.enter("c", "3")

    def test_zeroIsNoLimit(self) -> None:
        for number in range(50):
            self.enter("a", str(number), User(name="bob"))

    def test_ofASessionThatIsInAlreadyNothingIsAsked(self) -> None:
        self.enter("a", "1")
        for node in ("a", "b", "c"):
            self.visit(node, "2")
        self.assertRaises(TurnedAway, self.visit, "a", "3")

    def test_oneAddressHasItsOwnLimit(self) -> None:
        self.nodes.set(sessionsPerAddress=1)
        self.enter("a", "1", User(name="bob"), address="2001:db8::1")
        refused = self.assertRaises(TurnedAway, self.enter, "b", "2", User(name="carol"), address="2001:db8::2")
        self.assertEqual(str(refused), "too many sessions from this address")
        self.enter("b", "3", User(name="carol"), address="2001:db8:0:1::2")
        self.nodes.set(neverBan=("2001:db8::/48",))
        self.enter("b", "4", User(name="carol"), address="2001:db8::2")

    def test_nodesThatDoNotHearOfEachOtherAdmitByWhatTheyKnow(self) -> None:
        self.nodes.parted = True
        for node in self.nodes.names:
            self.enter(node, node + "1")
            self.enter(node, node + "2")
            self.assertRaises(TurnedAway, self.enter, node, node + "3")

    def test_administratorsDoNotCount(self) -> None:
        for session in ("1", "2", "3"):
            self.on().visit("alice", self.origin(session, protocol="manager", lingerSeconds=60))
        self.enter("a", "4")


class EndTests(SessionsCase):
    def test_kickedFromAnyNode(self) -> None:
        account, other = self.enter("a", "1"), self.enter("a", "2")
        told = account.whenEnded()
        self.assertTrue(self.on("c").kick(publicId("1"), "because"))
        self.assertEqual(self.successResultOf(told), "because")
        self.assertNoResult(other.whenEnded())
        self.assertEqual(self.listed(), ["alice sftp a"])

    def test_whoAsksLateIsToldAllTheSame(self) -> None:
        account = self.enter()
        self.on("c").kick(publicId("1"), "because")
        self.assertEqual(self.successResultOf(account.whenEnded()), "because")

    def test_logoutEndsNothing(self) -> None:
        account = self.enter()
        told = account.whenEnded()
        self.leave(account)
        account.end("too late")
        self.assertNoResult(told)

    def test_unknownSessionsCannotBeKicked(self) -> None:
        self.leave(self.enter())
        for key in ("", "x", publicId("1")):
            self.assertFalse(self.on("c").kick(key, "because"))

    def test_kickedCookieIsNoGoodAnyWhereAnyMore(self) -> None:
        self.visit("a", "1")
        self.on("c").kick(publicId("1"), "because")
        for node in self.nodes.names:
            self.nodes.start(node)
        self.nodes.pump(self.nodes.settings.sessionAbsoluteSeconds - 60)
        self.assertEqual([self.on(node).isRevoked("1") for node in self.nodes.names], [True] * 3)
        self.assertFalse(self.on("a").isRevoked("2"))
        self.nodes.pump(120)
        self.assertFalse(self.on("a").isRevoked("1"))

    def test_kickBreaksOffTheRequestsUnderWay(self) -> None:
        here = self.enter("a", "1", protocol="https", lingerSeconds=1800)
        there = self.enter("b", "1", protocol="https", lingerSeconds=1800)
        self.on("c").kick(publicId("1"), "because")
        self.assertEqual([self.successResultOf(each.whenEnded()) for each in (here, there)], ["because"] * 2)
        self.assertEqual(self.listed(), [])

    def test_whoGivesAPasswordAgainIsListedAgain(self) -> None:
        self.visit("a", "basic")
        self.on("c").kick(publicId("basic"), "because")
        self.assertEqual(self.listed(), [])
        told = []
        self.nodes.rows["b"].watch("sessions", lambda before, after: told.append(after))
        for _ in range(20):
            self.nodes.clock.advance(1)
            self.visit("a", "basic")
        self.assertEqual(self.listed(), ["alice https a"])
        self.assertEqual(len(told), 1)

    def test_endedSessionsAreHiddenBeforeTheirNodeHears(self) -> None:
        self.visit("a", "1")
        self.nodes.parted = True
        self.on("b").kick(publicId("1"), "because")
        self.assertEqual([self.listed("a"), self.listed("b")], [["alice https a"], []])
        self.assertFalse(self.on("b").kick(publicId("1"), "because"))

    def test_sessionsBeforeANewPasswordCountNoMore(self) -> None:
        self.visit("a", "1")
        self.visit("a", "2")
        self.assertRaises(TurnedAway, self.visit, "b", "3")
        alice = evolve(ALICE, credentialsRevision=2)
        self.nodes.document = documentWith(alice)
        self.assertEqual(self.listed(), [])
        self.leave(self.enter("b", "3", revision=2, protocol="https", lingerSeconds=1800))
        self.assertEqual(self.listed(), ["alice https b"])
        self.nodes.document = documentWith()
        self.assertEqual(self.listed(), [])

    def test_logOutEverywhereOutlivesRestarts(self) -> None:
        self.visit("a", "1")
        self.visit("b", "2")
        self.nodes.clock.advance(10)
        self.assertEqual(self.on("c").endAllOf("alice", "everywhere"), 2)
        for node in self.nodes.names:
            self.nodes.start(node)
        self.assertEqual([self.on(node).endedBefore("alice") for node in self.nodes.names], [1_000_010] * 3)
        self.assertEqual(self.on("a").endedBefore("bob"), 0)
        self.nodes.pump(self.nodes.settings.sessionAbsoluteSeconds + 60)
        self.assertEqual(self.on("a").endedBefore("alice"), 0)

    def test_logOutOnOneNodeIsALogOutOnAll(self) -> None:
        self.visit("a", "1")
        self.on("b").revoke("alice", "1", "logged out")
        self.assertEqual([self.on(node).isRevoked("1") for node in self.nodes.names], [True] * 3)
        self.assertEqual(self.listed(), [])

    def test_noUserTakesTheRoomOfAll(self) -> None:
        for number in range(MOST_ENDED_OF_A_USER):
            self.on("a").revoke("alice", str(number), "logged out")
        self.assertRaises(ClusterError, self.on("b").revoke, "alice", "one more", "logged out")
        self.on("b").revoke("bob", "other", "logged out")
        self.visit("a", "kept")
        self.assertTrue(self.on("b").kick(publicId("kept"), "because"))
        self.nodes.clock.advance(self.nodes.settings.sessionAbsoluteSeconds + 1)
        self.on("b").revoke("alice", "one more", "logged out")

    test_noUserTakesTheRoomOfAll.timeout = 60  # type: ignore[attr-defined]
