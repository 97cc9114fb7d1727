"""Three nodes behind a real HAProxy with the configuration of ``cftpctl haproxy``: who clients are, a drain, a loss."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.changes import Batch, Promote, Put, apply
from cftpcluster.config.defaults import defaultChanges
from cftpcluster.config.document import Document, Node
from cftpcluster.config.written import parseText, readDocument, toChange
from cftpcluster.haproxy import Balancer, haproxyConfiguration
from cftpcluster.testing.balancer import HAProxyProcess, behindBalancer, complaint
from cftpcluster.testing.load import SECONDS, SESSIONS, Load, LongUpload, Place
from cftpcluster.testing.processes import ClusterProcesses, NodeProcess, loopbackAddresses, program, waitFor

from ..test_packaging import checkout
from .clients import needs

PASSWORD = "correct horse"
BALANCER = "192.0.2.11"
NAT = "203.0.113.99"
"""Where data connections of some clients are told to go."""

TRANSLATED = 39
"""The number of such a client."""

CHECKED_SECONDS = 3.0
"""Until a balancer knows that a node is gone: two checks, half a second apart, each a second at most."""


@needs("haproxy", "curl", "lftp")
class BalancerTests(SynchronousTestCase):
    """One cluster for all, since most of the time is its start; what comes last kills a node."""

    def setUp(self) -> None:
        # Nodes, the balancer towards clients and towards nodes, clients.
        (*nodes, self.front, self.back) = loopbackAddresses(5)
        self.network = self.front.rpartition(".")[0]
        self.cluster = ClusterProcesses(addresses=nodes)
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None, None, None)
        self.cluster.startAll()
        document = behindBalancer(self.cluster, self.back)
        document["users"] = [{"name": "alice", "password": PASSWORD, "mounts": [{"path": "/", "backend": "share"}]}]
        document["settings"] = {"drainSeconds": 25, "drainGraceSeconds": 2}
        (ftp,) = (each for each in document["listeners"] if each["name"] == "ftp")
        ftp["tls"] = "optional"
        ftp["passiveAddress"] = [{"network": f"{self.client(TRANSLATED)}/32", "address": NAT}]
        self.cluster.primary.apply(document, wait=30)
        self.place = Place(address=self.front, user="alice", password=PASSWORD)

    @property
    def log(self) -> str:
        return "".join(node.log for node in self.cluster.nodes.values())

    def client(self, number: int) -> str:
        """An address of a client."""
        last = int(self.front.rpartition(".")[2])
        return f"{self.network}.{(last + number) % 250 + 1}"

    def test_theClusterServesThroughIt(self) -> None:
        self.everyVariantIsValid()
        options = ("--address", self.front, "--source", self.back)
        with HAProxyProcess.of(self.cluster.primary, *options) as self.balancer:
            self.balancer.waitReady(self.front, *self.place.ports.values())
            self.clientsAreWhoTheyAre()
            self.ftpClientsReachEveryNode()
            load = Load(place=self.place, sources=[self.client(20 + number) for number in range(len(SESSIONS))])
            with load:
                self.aDrainedNodeFailsNobody(load)
                self.aLostNodeFailsWhoWasThereAlone(load)
            self.assertNotIn(self.back, re.findall(r"LoggedIn.*address='([^']+)'", self.log))

    # --- the configuration

    def everyVariantIsValid(self) -> None:
        node, folder = self.cluster.primary, self.cluster.folder
        for name, options in {
            "shared": (),
            "relieved": ("--relieve-primary", "--manager"),
            "addressed": ("--address", self.front, "--address", "::1", "--source", self.back),
        }.items():
            self.assertValid(folder / f"{name}.cfg", node.ctl("haproxy", *options)["configuration"])
        mounts = [{"path": "/", "backend": "files"}]
        node.apply({"users": [{"name": "bob", "mounts": mounts}]})
        unshared = node.ctl("haproxy")["configuration"]
        self.assertIn("hash-type consistent", unshared)
        self.assertValid(folder / "unshared.cfg", unshared)
        node.ctl("user", "remove", "bob")
        printed = subprocess.run(
            [program("cftpctl"), "--state-dir", str(node.state), "haproxy"], capture_output=True, check=True
        )
        self.assertEqual(printed.stdout.decode(), node.ctl("haproxy")["configuration"])

    def assertValid(self, path: Path, text: str) -> None:
        path.write_text(text)
        self.assertEqual(complaint(path), "", path.name)

    # --- who clients are

    def clientsAreWhoTheyAre(self) -> None:
        for number, (protocol, session) in enumerate(SESSIONS.items()):
            source = self.client(number)
            opened = session(self.place, source)
            self.addCleanup(opened.close)
            if protocol in {"ftp", "ftps"}:
                self.assertEqual(opened.passiveAddress(), self.front)
            opened.upload("mine", iter([protocol.encode() * 1000]))
            self.assertEqual(opened.download("mine"), protocol.encode() * 1000)
            opened.close()
            waitFor(f"{protocol} logged in from {source}", lambda source=source: f"address='{source}'" in self.log)

    # --- FTP's data connections

    def ftpClientsReachEveryNode(self) -> None:
        """They come through the balancer to the node's own passive ports, however they are asked for."""
        contents = os.urandom(300_000)
        tree = self.cluster.folder / "tree" / "d"
        tree.mkdir(parents=True)
        for number in range(8):
            (tree / str(number)).write_bytes(contents)
        byTLS, byPASV = ("--ssl-reqd",), ("--disable-epsv", "--no-ftp-skip-pasv-ip")
        sources = [self.client(30 + number) for number in range(6)]
        for source, switches in zip(sources, (byTLS, byPASV, (), (*byTLS, *byPASV), byTLS, byPASV), strict=True):
            self.curl(source, *switches, "-T", str(tree / "0"))
            self.assertEqual(self.curl(source, *switches), contents)

        def nodes() -> set[str]:
            return {node for source in sources for node in self.balancer.nodesOf(source)}

        waitFor("each node had one", lambda: nodes() == set(self.cluster.nodes))
        self.mirror(tree.parent, self.client(36))
        back = self.cluster.folder / "back" / "d"
        self.assertEqual({path.name: path.read_bytes() for path in back.iterdir()}, dict.fromkeys("01234567", contents))
        self.someClientsAreToldAnotherAddress()

    def curl(self, source: str, *switches: str) -> bytes:
        command = ["curl", "-sSkq", "--max-time", "20", "--interface", source, "-u", f"alice:{PASSWORD}", *switches]
        done = subprocess.run([*command, f"ftp://{self.front}:2121/{source}"], capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, (switches, done.stderr))
        return done.stdout

    def mirror(self, tree: Path, source: str) -> None:
        script = (
            "set ssl:verify-certificate no; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set cmd:fail-exit yes;"
            f"set net:max-retries 1; set net:socket-bind-ipv4 {source};"
            f"open -u 'alice,{PASSWORD}' -p 2121 {self.front};"
            f"mirror -R --parallel=4 {tree} tree; mirror --parallel=4 tree {tree.with_name('back')}"
        )
        done = subprocess.run(["lftp", "--norc", "-c", script], capture_output=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)

    def someClientsAreToldAnotherAddress(self) -> None:
        """Those of a network that reaches the balancer elsewhere; ``EPSV`` names no address, and goes on to work."""
        source = self.client(TRANSLATED)
        session = SESSIONS["ftp"](self.place, source)
        self.assertEqual(session.passiveAddress(), NAT)
        session.close()
        self.curl(source, "--ssl-reqd", "-T", str(self.cluster.folder / "tree" / "d" / "0"))

    # --- drains and losses

    def longUploads(self, first: int) -> list[LongUpload]:
        """Two of each protocol, which are under way."""
        protocols = [*SESSIONS, *SESSIONS]
        uploads = [
            LongUpload(protocol=protocol, source=self.client(first + number), place=self.place)
            for number, protocol in enumerate(protocols)
        ]
        for upload in uploads:
            self.assertTrue(upload.began.wait(SECONDS))
            self.assertEqual(upload.error, "", upload.protocol)
        return uploads

    def busiest(self, uploads: list[LongUpload], nodes: list[NodeProcess]) -> NodeProcess:
        """The node that has most of these sessions; HTTPS does not count, which says no log-in twice."""

        def sessions(node: NodeProcess) -> int:
            return sum(f"address='{upload.source}'" in node.log for upload in uploads)

        found = max(nodes, key=sessions)
        self.assertGreater(sessions(found), 0)
        return found

    def nodeOf(self, upload: LongUpload) -> str:
        """Where a session was that has ended."""
        (node,) = waitFor(f"haproxy's word on {upload.source}", lambda: self.balancer.nodesOf(upload.source))
        return node

    def assertUploaded(self, uploads: list[LongUpload]) -> None:
        for upload in uploads:
            upload.finish()
            self.assertEqual(upload.error, "", f"{upload.protocol} from {upload.source}")
            contents = (self.cluster.folder / "share" / upload.name).read_bytes()
            self.assertTrue(contents == upload.contents, upload.protocol)

    def aDrainedNodeFailsNobody(self, load: Load) -> None:
        uploads = self.longUploads(40)
        drained = self.busiest(uploads, self.cluster.secondaries)
        drain = subprocess.Popen(
            [program("cftpctl"), "--state-dir", str(drained.state), "node", "drain", drained.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        time.sleep(4)
        self.assertIsNone(drain.poll())
        self.assertUploaded(uploads)
        self.assertIn(drained.name, map(self.nodeOf, uploads))
        output, errors = drain.communicate(timeout=60)
        self.assertEqual(drain.returncode, 0, (output, errors))
        self.assertEqual(load.failures(), [])
        drained.ctl("node", "resume", drained.name)
        drained.waitReady()

    def aLostNodeFailsWhoWasThereAlone(self, load: Load) -> None:
        # Until the balancer has found the other one ready again.
        time.sleep(1.5)
        uploads = self.longUploads(60)
        lost = self.busiest(uploads, list(self.cluster.nodes.values()))
        before = time.monotonic()
        lost.kill()
        killed = time.monotonic()
        time.sleep(CHECKED_SECONDS + 1)
        there = [upload for upload in uploads if upload.finish().error]
        self.assertEqual({lost.name}, {self.nodeOf(upload) for upload in there})
        self.assertUploaded([upload for upload in uploads if upload not in there])
        for attempt in load.failures():
            # It was at the lost node, or came before the balancer could know.
            self.assertTrue(before - SECONDS < attempt.began < killed + CHECKED_SECONDS, attempt)
            self.assertGreaterEqual(attempt.ended, before, attempt)
        for protocol in SESSIONS:
            self.assertGreater(load.done(protocol, killed), 0, protocol)
            # One log-in after the other, each of which takes its time on a busy machine.
            self.assertLessEqual(load.gap(protocol, killed), 3 * CHECKED_SECONDS, protocol)


class DocumentedTests(SynchronousTestCase):
    """What ``docs/balancers.md`` shows is what the programs take."""

    def setUp(self) -> None:
        self.page = (checkout() / "docs" / "balancers.md").read_text("utf-8")
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def block(self, firstLine: str) -> str:
        """The block of code that starts so."""
        (found,) = re.findall(rf"^```\w*\n({re.escape(firstLine)}\n.*?)^```$", self.page, re.MULTILINE | re.DOTALL)
        return str(found)

    def run_(self, *words: str) -> tuple[int, str]:
        """Run a program in a session of its own, which keepalived ends with itself."""
        done = subprocess.run(words, capture_output=True, check=False, start_new_session=True)
        return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")

    @needs("nginx")
    def test_nginxTakesItsConfiguration(self) -> None:
        path = (self.folder / "nginx.conf").resolve()
        path.write_text(self.block("# nginx.conf"))
        found = self.run_("nginx", "-t", "-q", "-e", "stderr", "-g", f"pid {path}.pid;", "-c", str(path))
        self.assertEqual(found, (0, ""))

    @needs("keepalived")
    def test_keepalivedTakesItsConfiguration(self) -> None:
        interfaces = [name for _, name in socket.if_nameindex() if name != "lo"]
        path = self.folder / "keepalived.conf"
        path.write_text(self.block("# keepalived").replace("eth0", (interfaces or ["eth0"])[0]))
        _, said = self.run_("keepalived", "-t", "-f", str(path))
        complaints = [line for line in said.splitlines() if "Line " in line and "interface" not in line]
        self.assertEqual(complaints, [])
        path.write_text(path.read_text().replace("vrrp_script", "vrrp_scipt"))
        self.assertIn("vrrp_scipt", self.run_("keepalived", "-t", "-f", str(path))[1])

    def architectures(self) -> list[str]:
        """The configuration of each architecture, as HAProxy gets it."""
        documents = re.findall(r"^```yaml\n(.*?)^```$", self.page, re.MULTILINE | re.DOTALL)
        texts = []
        for written in documents[1:]:
            document = apply(Document(), Batch(defaultChanges()))
            for number, name in enumerate(("node-a", "node-b", "node-c"), 1):
                document = apply(document, Put("nodes", Node(name=name, address=f"192.0.2.{number}", number=number)))
            document = apply(document, Promote(1, "node-a", "admin"))
            change = toChange(readDocument(parseText(written.encode())), document, {})
            assert change is not None
            document = apply(document, change)
            relieved = written is documents[-1]
            texts.append(haproxyConfiguration(document, Balancer(source=BALANCER, relievePrimary=relieved)).text)
        return texts

    @needs("haproxy")
    def test_everyArchitectureIsAConfiguration(self) -> None:
        texts = self.architectures()
        for number, text in enumerate(texts):
            path = self.folder / f"{number}.cfg"
            path.write_text(text)
            self.assertEqual(complaint(path), "", text)
            self.assertIn(f"server node-b 192.0.2.2:2222 id 2 source {BALANCER} check port 8790 send-proxy-v2", text)
        sftp = [re.findall(r"^backend sftp\n(.*?)^\n", text, re.MULTILINE | re.DOTALL)[0] for text in texts]
        self.assertEqual(["balance source" in each for each in sftp], [True, False, False])
        self.assertEqual(["balance leastconn" in each for each in sftp], [False, True, True])
        self.assertEqual([re.findall(r"server (\S+) .* backup", each) for each in sftp], [[], [], ["node-a"]])
