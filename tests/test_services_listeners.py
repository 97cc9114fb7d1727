"""A node's listeners and their certificates: started, changed in place, stopped, and what keeps them from it."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from cryptography import x509
from twisted.internet.defer import Deferred

from cftpcluster.cluster.sealing import Sealer, newClusterKey
from cftpcluster.config.changes import Put, Remove
from cftpcluster.config.document import Backend, Checker, Node, Observer
from cftpcluster.servers.tls import Profile, ServerTLS

from .servicesupport import KEY, OTHER_CHAIN, OTHER_KEY, PlainServer, ServicesCase, plainListener


class ListenersCase(ServicesCase):
    def put(self, *arguments: Any, **attributes: Any) -> list[str]:
        """Have a listener as described."""
        return self.converge(Put("listeners", plainListener(*arguments, **attributes)))

    def override(self, node: str = "node-a", **overrides: Any) -> list[str]:
        """Have a node's entry override some of listener ``front``."""
        entry = self.cluster.document.nodes.get(node) or Node(name=node, address="127.0.0.9")
        return self.converge(Put("nodes", evolve(entry, listeners={"front": overrides} if overrides else {})))

    @property
    def servers(self) -> list[PlainServer]:
        return self.built("listeners")

    @property
    def ports(self) -> list[int]:
        return sorted(self.network.ports)


class ListenerTests(ListenersCase):
    def test_startsOnItsPort(self) -> None:
        self.assertEqual(self.put(options={"colour": "blue"}), [])
        self.assertEqual(self.ports, [2001])
        (server,) = self.servers
        self.assertEqual(server.config.colour, "blue")
        self.assertEqual((server.parts["listener"].name, server.parts["bindAddress"]), ("front", "127.0.0.2"))
        service = self.services.listener("front")
        assert service is not None
        self.assertTrue(service.ready)
        self.assertEqual(list(self.services.listeners), [service])

    def test_changesInPlaceOnTheSameSocket(self) -> None:
        self.put()
        socket = self.network.ports[2001]
        self.put(options={"colour": "blue"}, deny=("192.0.2.0/24",))
        self.assertIs(self.network.ports[2001], socket)
        self.assertEqual([server.told for server in self.servers], [["blue"]])
        service: Any = self.services.listener("front")
        self.assertEqual(service.listener.deny, ("192.0.2.0/24",))

    def test_otherPortIsAnotherSocket(self) -> None:
        self.put()
        self.put(port=2002)
        self.assertEqual(self.ports, [2002])
        self.assertEqual([server.told for server in self.servers], [["disconnect"], []])

    def test_twoMayExchangeTheirPorts(self) -> None:
        self.converge(Put("listeners", plainListener("a", 2001)), Put("listeners", plainListener("b", 2002)))
        problems = self.converge(Put("listeners", plainListener("a", 2002)), Put("listeners", plainListener("b", 2001)))
        self.assertEqual(problems, [])
        self.assertEqual([service.ready for service in self.services.listeners], [True, True])

    def test_removedOneIsStopped(self) -> None:
        self.put()
        self.converge(Remove("listeners", "front"))
        self.assertEqual((self.ports, self.servers[0].told), ([], ["disconnect"]))
        self.assertIsNone(self.services.listener("front"))

    def test_entryOfThisNodeOverridesPortAndOptions(self) -> None:
        self.put(options={"colour": "blue"})
        self.override(port=21, colour="green")
        self.assertEqual(self.ports, [21])
        self.assertEqual(self.servers[-1].config.colour, "green")
        self.override(colour="white")
        self.assertEqual(self.ports, [2001])
        self.override()
        self.assertEqual(self.servers[-1].config.colour, "blue")

    def test_optionsAreOverriddenOnTheSameSocket(self) -> None:
        self.put()
        self.override(colour="green")
        self.assertEqual([server.told for server in self.servers], [["green"]])

    def test_entriesOfOtherNodesDoNotCount(self) -> None:
        self.put()
        self.override("node-b", port=21)
        self.assertEqual((self.ports, self.servers[0].told), ([2001], []))

    def test_takenPortIsAProblemOfThatListenerAlone(self) -> None:
        self.network.taken.add(2001)
        problems = self.converge(
            Put("listeners", plainListener("front", 2001)), Put("listeners", plainListener("back", 2002))
        )
        self.assertEqual(problems, ["listeners/front: port 2001 is in use"])
        self.network.taken.clear()
        self.reactor.advance(5)
        self.assertEqual((self.services.allProblems(), self.ports), ([], [2001, 2002]))


class FaultTests(ListenersCase):
    def test_unknownKindIsAProblemOfThatListenerAlone(self) -> None:
        problems = self.converge(
            Put("listeners", plainListener("odd", 2002, kind="odd")), Put("listeners", plainListener())
        )
        self.assertEqual(problems, ["listeners/odd: this node has no plug-in of kind 'odd'"])
        self.assertEqual(self.ports, [2001])
        self.assertEqual(self.converge(Remove("listeners", "odd")), [])

    def test_failingBuildIsAProblemOfThatListenerAlone(self) -> None:
        self.secure.failing = RuntimeError("no such luck")
        problems = self.converge(
            self.putCertificate(),
            Put("listeners", plainListener("broken", 2002, kind="secure")),
            Put("listeners", plainListener()),
        )
        self.assertEqual(problems, ["listeners/broken: no such luck"])
        self.assertEqual(self.ports, [2001])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_badOptionsLeaveWhatRuns(self) -> None:
        self.put()
        self.assertPaths(self.put(options={"colour": 7}), "listeners/front")
        self.assertEqual((self.ports, self.servers[0].told), ([2001], []))
        self.assertEqual(self.put(options={"colour": "blue"}), [])
        self.assertEqual(self.servers[0].told, ["blue"])

    def test_problemGoesWithAnOverrideThatWasTakenBack(self) -> None:
        self.put()
        self.assertPaths(self.override(colour=7), "listeners/front")
        self.assertEqual(self.override(), [])

    def test_oneThatCannotChangeWhileItRunsIsStartedAnew(self) -> None:
        self.put()
        self.servers[0].failing["reconfigure"] = RuntimeError("not while it runs")
        self.assertEqual(self.put(options={"colour": "blue"}), [])
        first, second = self.servers
        self.assertEqual((first.told, second.config.colour, self.ports), (["disconnect"], "blue", [2001]))

    def test_networksThatAreNoneLeaveNothingOpen(self) -> None:
        self.assertPaths(self.put(allow=("everywhere",)), "listeners/front")
        self.assertEqual(self.ports, [])

    def test_failingStopHarmsNobody(self) -> None:
        self.put()
        self.servers[0].failing["disconnect"] = RuntimeError("stuck")
        problems = self.converge(
            Remove("listeners", "front"),
            Put("listeners", plainListener("back", 2002)),
        )
        self.assertEqual((problems, self.ports), ([], [2002]))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class CertificateTests(ListenersCase):
    def putSecure(self) -> Put:
        return Put("listeners", plainListener(kind="secure"))

    def name(self) -> str:
        """Whom the certificate is for that listeners serve with."""
        tls: ServerTLS = self.secure.built[-1].parts["tls"]
        certificate = tls.connection(Profile()).get_certificate(as_cryptography=True)
        assert certificate is not None
        return str(certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)

    def test_listenerServesWithItsCertificate(self) -> None:
        self.assertEqual(
            self.converge(
                self.putCertificate(name="other", chain=OTHER_CHAIN, key=OTHER_KEY),
                self.putCertificate(),
                self.putSecure(),
            ),
            [],
        )
        self.assertEqual(self.name(), "one.test")

    def test_missingCertificateIsAProblem(self) -> None:
        self.assertEqual(
            self.converge(self.putSecure()), ["listeners/front: there is no certificate 'default' to serve with"]
        )
        self.assertEqual(self.ports, [])

    def test_startsAsSoonAsItsCertificateIsThere(self) -> None:
        self.converge(self.putSecure())
        self.assertEqual(self.converge(self.putCertificate()), [])
        self.assertEqual((self.ports, self.name()), ([2001], "one.test"))

    def test_keyThatDoesNotOpenIsAProblem(self) -> None:
        stranger = Sealer(newClusterKey())
        problems = self.converge(self.putCertificate(sealer=stranger), self.putSecure())
        self.assertPaths(problems, "certificates/default", "listeners/front")
        self.assertIn("cluster key", problems[0])
        self.assertEqual(self.converge(self.putCertificate()), [])
        self.assertEqual(self.ports, [2001])

    def test_isReplacedInPlace(self) -> None:
        self.converge(self.putCertificate(), self.putSecure())
        socket = self.network.ports[2001]
        self.assertEqual(self.converge(self.putCertificate(OTHER_CHAIN, OTHER_KEY)), [])
        self.assertEqual(self.name(), "other.test")
        self.assertEqual((len(self.secure.built), self.secure.built[0].told), (1, []))
        self.assertIs(self.network.ports[2001], socket)

    def test_oneThatCannotBeServedLeavesTheOldOne(self) -> None:
        self.converge(self.putCertificate(), self.putSecure())
        problems = self.converge(self.putCertificate(OTHER_CHAIN, KEY))
        self.assertPaths(problems, "certificates/default")
        self.assertIn("does not belong", problems[0])
        self.assertEqual((self.ports, self.name()), ([2001], "one.test"))

    def test_everyProblemOfOneIsToldInOneLine(self) -> None:
        (problem,) = self.converge(self.putCertificate(b"no chain", b"no key"))
        self.assertIn("no PEM certificate", problem)
        self.assertIn("no PEM private key", problem)
        self.assertNotIn("\n", problem)

    def test_chainThatIsNoASCIIHarmsNobody(self) -> None:
        odd = self.putCertificate(name="odd")
        problems = self.converge(
            Put("certificates", evolve(odd.value, chain="Zertifikat für")),  # type: ignore[call-arg]
            self.putCertificate(),
            self.putSecure(),
        )
        self.assertPaths(problems, "certificates/odd")
        self.assertEqual(self.ports, [2001])
        self.flushLoggedErrors(UnicodeEncodeError)

    def test_anotherCertificateNeedsAnotherSocket(self) -> None:
        self.converge(self.putCertificate(), self.putCertificate(OTHER_CHAIN, OTHER_KEY, "other"), self.putSecure())
        self.converge(Put("listeners", plainListener(kind="secure", certificate="other")))
        self.assertEqual((self.name(), len(self.secure.built), self.ports), ("other.test", 2, [2001]))

    def test_removedOneServesNobodyNew(self) -> None:
        self.converge(self.putCertificate(name="old"), self.putCertificate(OTHER_CHAIN, OTHER_KEY), self.putSecure())
        self.converge(Remove("certificates", "old"))
        problems = self.converge(Put("listeners", plainListener("late", 2002, kind="secure", certificate="old")))
        self.assertPaths(problems, "listeners/late")

    def test_oneThatComesBackReachesWhoWentOnWithIt(self) -> None:
        self.converge(self.putCertificate(), self.putSecure())
        self.converge(Remove("certificates", "default"))
        self.assertEqual((self.ports, self.name()), ([2001], "one.test"))
        self.converge(self.putCertificate(OTHER_CHAIN, OTHER_KEY))
        self.assertEqual(self.name(), "other.test")


class EndTests(ListenersCase):
    def setUp(self) -> None:
        super().setUp()
        self.converge(
            Put("backends", Backend(name="files", kind="plain")),
            Put("checkers", Checker(name="users", kind="plain")),
            Put("observers", Observer(name="log", kind="plain")),
            Put("listeners", plainListener("front", 2001)),
            Put("listeners", plainListener("back", 2002)),
        )

    def stop(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.services.stop()))

    def assertAllClosed(self) -> None:
        self.assertEqual(self.ports, [])
        for section in ("backends", "checkers", "observers"):
            self.assertTrue(self.built(section)[0].closed, section)
        self.assertEqual(list(self.services.listeners), [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stopClosesEverything(self) -> None:
        self.stop()
        self.assertAllClosed()

    def test_failuresDoNotKeepTheRestFromBeingClosed(self) -> None:
        for server in self.servers:
            server.failing["disconnect"] = RuntimeError("stuck")
        self.built("checkers")[0].failing = RuntimeError("stuck")
        self.stop()
        self.assertAllClosed()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 3)

    def test_drainFiresWhenEverySessionHasEnded(self) -> None:
        drained = Deferred.fromCoroutine(self.services.drain())
        self.assertEqual([server.told for server in self.servers], [["drain"], ["drain"]])
        first, second = self.servers
        first.empty.callback(None)
        self.assertNoResult(drained)
        second.empty.callback(None)
        self.successResultOf(drained)
        self.assertEqual(self.ports, [2001, 2002])

    def test_listenerStartedDuringADrainDrainsToo(self) -> None:
        Deferred.fromCoroutine(self.services.drain())
        self.put("third", 2003)
        self.assertEqual(self.servers[-1].told, ["drain"])
        self.services.resume()
        self.assertEqual([server.told for server in self.servers], [["drain", "resume"]] * 3)
        self.put("fourth", 2004)
        self.assertEqual(self.servers[-1].told, [])

    def test_listenersOfTheNodeItselfGoOn(self) -> None:
        self.services._lasting = frozenset({"plain"})
        self.successResultOf(Deferred.fromCoroutine(self.services.drain()))
        self.services.disconnect()
        self.services.resume()
        self.assertEqual([server.told for server in self.servers], [[], []])
        self.assertEqual(self.services.sessions, 0)

    def test_serverThatCannotDrainDoesNotHurryTheOthers(self) -> None:
        first, second = self.servers
        first.failing["drain"] = RuntimeError("unable")
        drained = Deferred.fromCoroutine(self.services.drain())
        self.assertEqual(second.told, ["drain"])
        self.assertNoResult(drained)
        second.empty.callback(None)
        self.successResultOf(drained)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
