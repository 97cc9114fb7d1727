"""The balancer's configuration that is written from a document. Whether HAProxy takes it is tested with HAProxy."""

from __future__ import annotations

import re
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.changes import Batch, Change, Promote, Put, Remove, apply
from cftpcluster.config.defaults import defaultChanges
from cftpcluster.config.document import Document, Listener, Mount, Node, User
from cftpcluster.errors import Invalid
from cftpcluster.haproxy import Balancer, Written, haproxyConfiguration
from cftpcluster.passive import Ports, joined, overlapping, proposedSegments, segmentCommands

NODES = (("node-a", "192.0.2.1"), ("node-b", "192.0.2.2"), ("node-c", "2001:db8::3"))
BALANCER = "192.0.2.10"


class HAProxyCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.document = Document()
        self.change(Batch(defaultChanges()))
        for number, (name, address) in enumerate(NODES, 1):
            self.change(Put("nodes", Node(name=name, address=address, number=number)))
        self.change(Promote(1, "node-a", "admin"))

    def change(self, change: Change) -> None:
        self.document = apply(self.document, change)

    def listener(self, name: str, **attributes: Any) -> None:
        self.change(Put("listeners", evolve(self.document.listeners[name], **attributes)))

    def behindProxies(self) -> None:
        for name in ("ftp", "ftps", "sftp", "https"):
            self.listener(name, proxyProtocol="optional", trustedProxies=(BALANCER,))

    def apart(self) -> None:
        """Give each node passive ports of its own, as proposed."""
        for name, ports in proposedSegments(self.document).items():
            overrides = {"passivePorts": str(ports)}
            node = evolve(self.document.nodes[name], listeners={"ftp": overrides, "ftps": overrides})
            self.change(Put("nodes", node))

    def unshared(self) -> None:
        self.change(Put("users", User(name="alice", mounts=(Mount(path="/", backend="files"),))))

    def write(self, **said: Any) -> Written:
        written = haproxyConfiguration(self.document, Balancer(**said))
        self.assertLessEqual(max(map(len, re.findall(r"^ *#.*", written.text, re.MULTILINE))), 120)
        return written

    def section(self, heading: str, **said: Any) -> list[str]:
        """The lines of a section that are no comments."""
        parts = re.split(r"\n(?=\S)", self.write(**said).text)
        (found,) = (part for part in parts if part.partition("\n")[0] == heading)
        return [line.strip() for line in found.splitlines()[1:] if line.strip() and "#" not in line]

    def servers(self, heading: str, **said: Any) -> list[str]:
        return [line for line in self.section(heading, **said) if line.startswith("server")]


class BackendTests(HAProxyCase):
    def test_everyUserListenerIsServed(self) -> None:
        sections = re.findall(r"^(?:frontend|backend|listen) .*", self.write().text, re.MULTILINE)
        names = ("ftp", "ftps", "https", "sftp")
        expected = [f"{kind} {name}" for name in names for kind in ("frontend", "backend")]
        self.assertEqual(sections, [*expected, "listen _passive"])

    def test_nodesAreAskedWhetherTheListenerIsReady(self) -> None:
        self.assertEqual(
            self.section("backend sftp"),
            [
                "balance leastconn",
                "option httpchk GET /readyz/sftp",
                "http-check expect status 200",
                "server node-a 192.0.2.1:2222 id 1 check port 8790",
                "server node-b 192.0.2.2:2222 id 2 check port 8790",
                "server node-c [2001:db8::3]:2222 id 3 check port 8790",
            ],
        )

    def test_overridesOfANodeCount(self) -> None:
        overrides = {"sftp": {"port": 22}, "health": {"port": 1234}}
        self.change(Put("nodes", evolve(self.document.nodes["node-b"], listeners=overrides)))
        self.assertIn("server node-b 192.0.2.2:22 id 2 check port 1234", self.servers("backend sftp"))
        self.assertEqual(self.section("frontend sftp"), ["bind *:2222", "default_backend sftp"])

    def test_transfersAreNotCutWhereANodeDrains(self) -> None:
        words = re.sub(r"#.*", "", self.write().text)
        self.assertNotIn("on-marked-down", words)
        self.assertIn("default-server inter 500ms fall 2 rise 2", words)

    def test_headersAreSentToWhoBelievesThemAlone(self) -> None:
        self.assertFalse(any("send-proxy" in line for line in self.servers("backend sftp")))
        self.assertIn("cftpctl listener set sftp proxyProtocol=optional", self.write().text)
        self.behindProxies()
        for source in ("", BALANCER):
            for line in self.servers("backend sftp", source=source):
                self.assertTrue(line.endswith("send-proxy-v2"), line)
        self.assertFalse(any("send-proxy" in line for line in self.servers("backend sftp", source="192.0.2.11")))
        warnings = self.write(source="192.0.2.11").warnings
        self.assertIn("listener sftp believes PROXY headers of 192.0.2.10, not of 192.0.2.11", warnings)

    def test_checksFollowTheHealthListener(self) -> None:
        self.listener("health", proxyProtocol="required", trustedProxies=(BALANCER,))
        self.assertTrue(all("check port 8790 check-send-proxy" in line for line in self.servers("backend sftp")))
        self.change(Remove("listeners", "health"))
        self.assertEqual(self.servers("backend sftp")[0], "server node-a 192.0.2.1:2222 id 1 check")

    def test_sourceIsOfTheNodesFamily(self) -> None:
        lines = self.servers("backend sftp", source=BALANCER)
        self.assertEqual([f"source {BALANCER}" in line for line in lines], [True, True, False])

    def test_primaryIsRelieved(self) -> None:
        lines = self.servers("backend https", relievePrimary=True)
        self.assertEqual([line.endswith(" backup") for line in lines], [True, False, False])
        self.change(Promote(2, "node-c", "admin"))
        lines = self.servers("backend https", relievePrimary=True)
        self.assertEqual([line.endswith(" backup") for line in lines], [False, False, True])

    def test_onlyNodeIsNotRelieved(self) -> None:
        for name in ("node-b", "node-c"):
            self.change(Remove("nodes", name))
        self.assertFalse(any("backup" in line for line in self.servers("backend sftp", relievePrimary=True)))

    def test_clientsAreKeptOnANodeWhereFilesDiffer(self) -> None:
        self.unshared()
        for name in ("ftp", "ftps", "https", "sftp"):
            self.assertEqual(self.section(f"backend {name}")[:2], ["balance source", "hash-type consistent"])
        self.change(Put("backends", evolve(self.document.backends["files"], shared=True)))
        self.assertEqual(self.section("backend sftp")[0], "balance leastconn")

    def test_listsOfTheListenerHoldAtTheBalancerToo(self) -> None:
        self.listener("sftp", allow=("203.0.113.0/24", "2001:db8::/32"), deny=("203.0.113.66",))
        self.assertEqual(
            self.section("frontend sftp", addresses=(BALANCER, "2001:db8::10")),
            [
                f"bind {BALANCER}:2222",
                "bind [2001:db8::10]:2222",
                "tcp-request connection reject if { src 203.0.113.66 }",
                "tcp-request connection reject if !{ src 203.0.113.0/24 2001:db8::/32 }",
                "default_backend sftp",
            ],
        )

    def test_managerIsServedOnRequestAndPrivately(self) -> None:
        self.assertNotIn("frontend manager", self.write().text)
        lines = self.section("frontend manager", manager=True)
        self.assertTrue(lines[1].startswith("tcp-request connection reject if !{ src 127.0.0.0/8 10.0.0.0/8"), lines)
        self.assertFalse(
            any("backup" in each for each in self.servers("backend manager", manager=True, relievePrimary=True))
        )

    def test_namesFitHAProxy(self) -> None:
        self.change(Put("listeners", Listener(name="sftp@x", kind="sftp", port=1)))
        self.change(Put("nodes", Node(name="n@d", address="host.example", number=4)))
        lines = self.servers("backend sftp:x")
        self.assertEqual(lines[-1], "server n:d host.example:1 init-addr last,libc,none id 4 check port 8790")

    def test_addressesThatAreNone(self) -> None:
        error = self.assertRaises(Invalid, self.write, addresses=("x\n", "127.0.0.1"), source="y")
        self.assertEqual([problem.path for problem in error.problems], ["address", "source"])
        error = self.assertRaises(Invalid, self.write, addresses=("::1%a\n    bind *:1",), source="::1/128")
        self.assertEqual([problem.path for problem in error.problems], ["address", "source"])

    def test_equalDocumentsGiveEqualTexts(self) -> None:
        first = self.write()
        self.change(Put("users", User(name="bob")))
        self.assertEqual(self.write(), first)


class PassiveTests(HAProxyCase):
    def test_eachNodesPortsLeadToIt(self) -> None:
        self.behindProxies()
        self.apart()
        self.assertEqual(
            self.section("listen _passive-node-b"),
            ["bind *:50300-50599", "server node-b 192.0.2.2 id 2 send-proxy-v2"],
        )
        self.assertEqual(self.write().warnings, ())

    def test_sharedPortsAreWarnedOfWithTheCommandsThatPartThem(self) -> None:
        self.behindProxies()
        (warning,) = self.write().warnings
        self.assertEqual(warning.splitlines()[1:], segmentCommands(self.document))
        for command in segmentCommands(self.document):
            self.assertIn(f"#   {command}\n", self.write().text)
        self.assertEqual(
            segmentCommands(self.document)[1],
            "cftpctl node set node-b listeners.ftp.passivePorts=50300-50599 listeners.ftps.passivePorts=50300-50599",
        )

    def test_sharedPortsFollowTheControlConnection(self) -> None:
        lines = self.section("listen _passive")
        self.assertEqual(lines[:3], ["bind *:50000-50999", "balance source", "hash-type consistent"])
        self.assertEqual(lines[3], "server node-a 192.0.2.1 id 1 track ftp/node-a")
        self.assertEqual(self.section("backend ftp")[:2], lines[1:3])
        self.assertEqual(self.section("backend sftp")[0], "balance leastconn")

    def test_addressesThatClientsAreToldAreWarnedOf(self) -> None:
        self.apart()
        self.listener("ftps", options={"implicit": True, "passiveAddress": BALANCER})
        (warning,) = self.write(addresses=("::1", BALANCER)).warnings
        self.assertEqual(warning.splitlines()[1], f"cftpctl listener set ftp passiveAddress={BALANCER}")

    def test_listenersThatDifferInBeliefAreWarnedOf(self) -> None:
        self.behindProxies()
        self.apart()
        self.listener("ftps", proxyProtocol="off")
        self.assertIn("only one of them takes PROXY headers", self.write().warnings[0])

    def test_proposalsAreDisjointAndEnough(self) -> None:
        for range_, count in (("50000-50999", 3), ("50000-50009", 5), ("65000-65535", 12), ("21", 100)):
            for name in ("ftp", "ftps"):
                self.listener(name, options={"passivePorts": range_})
            for number in range(4, count + 1):
                self.change(Put("nodes", Node(name=f"n{number}", address="192.0.2.9", number=number)))
            proposed = proposedSegments(self.document)
            self.assertEqual(proposed.keys(), self.document.nodes.keys())
            self.assertTrue(all(1024 <= each.first < each.last <= 65535 for each in proposed.values()), proposed)
            self.apart()
            self.assertFalse(overlapping(self.document), proposed)

    def test_withoutFTPThereAreNoDataPorts(self) -> None:
        for name in ("ftp", "ftps"):
            self.change(Remove("listeners", name))
        self.assertEqual((proposedSegments(self.document), self.write().warnings), ({}, ()))
        self.assertNotIn("_passive", self.write().text)

    def test_portsThatTouchAreOne(self) -> None:
        found = joined([Ports(10, 12), Ports(5, 9), Ports(20, 20), Ports(11, 15)])
        self.assertEqual(list(map(str, found)), ["5-15", "20"])
