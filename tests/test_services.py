"""Backends, checkers, observers and keys of a node; its listeners are in test_services_listeners."""

from __future__ import annotations

from typing import Any

from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred

from cftpcluster.auth.credentials import PasswordLogin
from cftpcluster.cluster.sealing import Sealer, newClusterKey
from cftpcluster.config.changes import Put, Remove
from cftpcluster.config.document import Backend, Checker, ClusterKey, HostKey, Observer, User
from cftpcluster.events import ConfigurationChanged
from cftpcluster.interfaces import IAccount
from cftpcluster.testing.auth import SimpleChecker, originOf

from .servicesupport import ServicesCase, plainListener


def putBackend(name: str, kind: str = "plain", **options: Any) -> Put:
    return Put("backends", Backend(name=name, kind=kind, options=options))


class BackendTests(ServicesCase):
    def test_isBuiltFromItsOptions(self) -> None:
        self.assertEqual(self.converge(putBackend("one", colour="blue")), [])
        (one,) = self.built("backends")
        self.assertIs(self.services.backend("one"), one)
        self.assertEqual(one.config.colour, "blue")
        self.assertEqual((one.parts["backend"].name, one.parts["node"]), ("one", "node-a"))
        self.assertIs(one.parts["settings"](), self.cluster.document.settings)
        self.assertIsNone(self.services.backend("two"))

    def test_onlyWhatChangedIsBuiltAnew(self) -> None:
        self.converge(putBackend("one"), putBackend("two"))
        one, two = self.built("backends")
        self.converge(putBackend("two", colour="blue"))
        self.assertEqual(len(self.built("backends")), 3)
        self.assertIs(self.services.backend("one"), one)
        self.assertIs(self.services.backend("two"), self.built("backends")[2])
        self.assertEqual((one.closed, two.closed), (False, True))

    def test_changesOfOthersBuildNothingAnew(self) -> None:
        self.converge(putBackend("one"))
        self.converge(Put("users", User(name="alice")))
        self.assertEqual(len(self.built("backends")), 1)

    def test_sameValueWrittenAgainInterruptsNobody(self) -> None:
        self.converge(putBackend("one"))
        self.converge(putBackend("one"))
        self.assertEqual(len(self.built("backends")), 1)
        self.assertFalse(self.built("backends")[0].closed)

    def test_removedOneIsClosed(self) -> None:
        self.converge(putBackend("one"))
        self.converge(Remove("backends", "one"))
        self.assertTrue(self.built("backends")[0].closed)
        self.assertIsNone(self.services.backend("one"))

    def test_unknownKindIsAProblemOfThatObjectAlone(self) -> None:
        self.assertEqual(
            self.converge(putBackend("odd", kind="odd"), putBackend("one")),
            ["backends/odd: this node has no plug-in of kind 'odd'"],
        )
        self.assertIsNotNone(self.services.backend("one"))

    def test_badOptionsAreAllToldInOneLine(self) -> None:
        (problem,) = self.converge(putBackend("one", colour=7, size="large"))
        self.assertIn("colour: expected text", problem)
        self.assertIn('unknown key "size"', problem)
        self.assertNotIn("\n", problem)

    def test_failingBuildIsAProblemOfThatObjectAlone(self) -> None:
        self.factories["backends"].failing = RuntimeError("no such luck")
        problems = self.converge(putBackend("one"), Put("observers", Observer(name="log", kind="plain")))
        self.assertEqual(problems, ["backends/one: no such luck"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(len(self.built("observers")), 1)

    def test_whatFailedIsTriedAgainWithTheNextChangeOfItsSection(self) -> None:
        self.factories["backends"].failing = RuntimeError("no such luck")
        self.converge(putBackend("one"))
        self.flushLoggedErrors(RuntimeError)
        self.factories["backends"].failing = None
        self.assertEqual(self.converge(putBackend("two")), [])
        self.assertIsNotNone(self.services.backend("one"))

    def test_problemGoesWithItsObject(self) -> None:
        self.converge(putBackend("odd", kind="odd"))
        self.assertEqual(self.converge(Remove("backends", "odd")), [])

    def test_failingCloseHarmsNobody(self) -> None:
        self.converge(putBackend("one"))
        self.built("backends")[0].failing = RuntimeError("stuck")
        self.assertEqual(self.converge(putBackend("one", colour="blue"), putBackend("two")), [])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertIs(self.services.backend("one"), self.built("backends")[1])

    def test_storageProblemsAreAskedOfEveryBackend(self) -> None:
        self.converge(*(putBackend(name) for name in ("gone", "odd", "raising", "sound")))
        gone, odd, raising, _ = self.built("backends")
        gone.found = ["the marker is missing", "read-only"]
        odd.found, raising.failing = OSError("unplugged"), RuntimeError("no such luck")
        self.assertEqual(
            self.successResultOf(self.services.backendProblems()),
            [
                "backends/gone: the marker is missing",
                "backends/gone: read-only",
                "backends/odd: unplugged",
                "backends/raising: no such luck",
            ],
        )


class ObserverTests(ServicesCase):
    EVENT = ConfigurationChanged(revision=7)

    def setUp(self) -> None:
        super().setUp()
        self.converge(*(Put("observers", Observer(name=name, kind="plain")) for name in ("first", "second")))

    def test_everyObserverIsTold(self) -> None:
        self.services.notify(self.EVENT)
        self.assertEqual([each.observed for each in self.built("observers")], [[self.EVENT], [self.EVENT]])

    def test_oneThatRaisesHarmsNobody(self) -> None:
        first, second = self.built("observers")
        first.failing = RuntimeError("full")
        self.services.notify(self.EVENT)
        self.assertEqual(second.observed, [self.EVENT])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_oneThatIsRemovedIsToldNothingMore(self) -> None:
        self.converge(Remove("observers", "first"))
        self.services.notify(self.EVENT)
        first, second = self.built("observers")
        self.assertEqual((first.observed, first.closed, second.observed), ([], True, [self.EVENT]))


class CheckerTests(ServicesCase):
    """Alice's password is the colour of whichever checker is asked."""

    def setUp(self) -> None:
        super().setUp()
        self.factories["checkers"].make = lambda config, parts: SimpleChecker({"alice": config.colour.encode()})
        self.converge(
            Put("users", User(name="alice")),
            Put("listeners", plainListener()),
            Put("checkers", Checker(name="a", kind="plain", options={"colour": "green"})),
            Put("checkers", Checker(name="b", kind="plain")),
        )

    def login(self, password: bytes) -> Deferred[Any]:
        """Log in by the portal that listeners get."""
        (server,) = self.built("listeners")
        origin = originOf("sftp")
        answer: Deferred[Any] = server.parts["portal"].login(PasswordLogin("alice", password, origin), origin, IAccount)
        return answer

    def test_everyCheckerIsAskedInTheOrderOfTheNames(self) -> None:
        _, account, _ = self.successResultOf(self.login(b"red"))
        self.assertEqual(account.name, "alice")
        first, second = self.built("checkers")
        self.assertEqual((len(first.asked), len(second.asked)), (1, 1))
        self.successResultOf(self.login(b"green"))
        self.assertEqual((len(first.asked), len(second.asked)), (2, 1))

    def test_changeReachesRunningListeners(self) -> None:
        self.converge(Put("checkers", Checker(name="b", kind="plain", options={"colour": "blue"})))
        self.failureResultOf(self.login(b"red"), UnauthorizedLogin)
        self.successResultOf(self.login(b"blue"))
        self.assertEqual(len(self.built("checkers")), 3)

    def test_oneThatCannotBeBuiltLetsNobodyIn(self) -> None:
        problems = self.converge(Put("checkers", Checker(name="b", kind="odd")))
        self.assertPaths(problems, "checkers/b")
        self.failureResultOf(self.login(b"red"), UnauthorizedLogin)
        self.successResultOf(self.login(b"green"))

    def test_checkersSeeTheNewestDocument(self) -> None:
        documents: list[Any] = []

        def make(config: Any, parts: dict[str, Any]) -> SimpleChecker:
            documents.append(parts["document"])
            return SimpleChecker()

        self.factories["checkers"].make = make
        self.converge(Put("checkers", Checker(name="c", kind="plain")))
        self.converge(Put("users", User(name="bob")))
        self.assertIn("bob", documents[0]().users)


class KeyTests(ServicesCase):
    def sealed(self, name: str, key: bytes) -> Put:
        return Put("keys", ClusterKey(name=name, key=self.cluster.sealer.seal(key)))

    def test_sessionKeysDifferByKindAndAreSecret(self) -> None:
        self.converge(self.sealed("sessions", b"s" * 32))
        (web,), (manager,) = self.services.sessionKeys("web"), self.services.sessionKeys("manager")
        self.assertEqual((len(web), len(manager)), (32, 32))
        self.assertEqual(len({web, manager, b"s" * 32}), 3)

    def test_newestSessionKeyComesFirst(self) -> None:
        self.converge(self.sealed("sessions", b"1" * 32))
        before = list(self.services.sessionKeys("web"))
        self.converge(self.sealed("sessions-2", b"2" * 32))
        after = list(self.services.sessionKeys("web"))
        self.assertEqual(after[1:], before)
        self.converge(Remove("keys", "sessions"))
        self.assertEqual(list(self.services.sessionKeys("web")), after[:1])

    def test_sessionKeysThatDoNotOpenAreAProblem(self) -> None:
        stranger = Sealer(newClusterKey())
        problems = self.converge(Put("keys", ClusterKey(name="sessions", key=stranger.seal(b"s" * 32))))
        self.assertPaths(problems, "keys/sessions")
        self.assertEqual(list(self.services.sessionKeys("web")), [])

    def test_hostKeysAreServedInTheOrderOfTheirComing(self) -> None:
        seal = self.cluster.sealer.seal
        self.converge(*(Put("hostKeys", HostKey(name=name, key=seal(name.encode()))) for name in ("rsa", "ed25519")))
        self.assertEqual(list(self.services.hostKeys()), [b"ed25519", b"rsa"])
        self.converge(Put("hostKeys", HostKey(name="another", key=seal(b"another"))))
        self.converge(Put("hostKeys", HostKey(name="ed25519", key=seal(b"sealed anew"))))
        self.assertEqual(list(self.services.hostKeys()), [b"sealed anew", b"rsa", b"another"])

    def test_hostKeyThatDoesNotOpenIsAProblemOfThatKeyAlone(self) -> None:
        stranger = Sealer(newClusterKey())
        problems = self.converge(
            Put("hostKeys", HostKey(name="bad", key=stranger.seal(b"bad"))),
            Put("hostKeys", HostKey(name="good", key=self.cluster.sealer.seal(b"good"))),
        )
        self.assertPaths(problems, "hostKeys/bad")
        self.assertNotIn("\n", problems[0])
        self.assertEqual(list(self.services.hostKeys()), [b"good"])
        self.assertEqual(self.converge(Remove("hostKeys", "bad")), [])

    def test_keysAreNotShown(self) -> None:
        self.converge(self.sealed("sessions", b"planted secret".ljust(32)))
        self.assertNotIn("planted", repr(self.services))
