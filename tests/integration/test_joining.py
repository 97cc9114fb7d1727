"""Who is let into a cluster, and who is not."""

from __future__ import annotations

import shutil
import time
from itertools import count

import attrs
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.cluster.tokens import JoinTokenText
from cftpcluster.testing.processes import ClusterProcesses, NodeProcess, loopbackAddresses, waitFor

from ..sharedclusters import ALONE

_numbers = count()


class JoiningTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = ALONE.get()
        self.primary: NodeProcess = self.cluster.primary
        self.primary.apply({"users": [{"name": "secretive"}]})
        # Others use this cluster too: whoever joins has a name of its own, and is put out again.
        self.name = f"joiner-{next(_numbers)}"
        self.joiner = NodeProcess(self.name, loopbackAddresses(1)[0], self.cluster.folder / self.name)
        self.addCleanup(self.putOut)

    def putOut(self) -> None:
        self.joiner.kill()
        self.primary.request("DELETE", f"nodes/{self.name}")

    def assertRefused(self, node: NodeProcess, *options: str) -> str:
        """The node does not start, says why in one line, and holds nothing of the configuration."""
        logged = len(self.primary.log)
        node.spawn("secondary", *options)
        assert node.process is not None
        self.assertNotEqual(node.process.wait(60), 0)
        said = [line for line in node.log.splitlines() if line.startswith("cftpcluster: ")]
        self.assertEqual(len(said), 1, node.log)
        self.assertNotIn("Traceback", node.log)
        for file in node.state.rglob("*"):
            if file.is_file():
                self.assertNotIn(b"secretive", file.read_bytes())
        waitFor("the primary says so too", lambda: "refused" in self.primary.log[logged:])
        return said[0]

    def test_tokenOfAnotherNodeIsRefused(self) -> None:
        line = self.assertRefused(self.joiner, "--join", self.primary.token("node-x"))
        self.assertIn("node-x", line)

    def test_expiredTokenIsRefused(self) -> None:
        done = self.primary.run("node", "token", self.name, "--expires", "1")
        expired = time.monotonic() + 1.1
        waitFor("the token has expired", lambda: time.monotonic() > expired)
        self.assertIn("expired", self.assertRefused(self.joiner, "--join", done.stdout.decode().strip()))

    def test_usedTokenIsRefused(self) -> None:
        token = self.primary.token(self.name)
        self.joiner.start("secondary", "--join", token)
        self.joiner.stop()
        shutil.rmtree(self.joiner.state)
        self.assertIn("used", self.assertRefused(self.joiner, "--join", token))

    def test_tokenOfAnotherClusterIsRefused(self) -> None:
        with ClusterProcesses(["stranger"]) as other:
            other.primary.start("primary")
            foreign = other.primary.token(self.name)
            other.primary.stop()
            # Its address is ours now: whoever answers there does not prove to be of the token's cluster.
            forged = attrs.evolve(JoinTokenText.parse(foreign), host=self.primary.address).render()
            self.joiner.spawn("secondary", "--join", forged)
            assert self.joiner.process is not None
            self.assertNotEqual(self.joiner.process.wait(60), 0)
            self.assertIn("cluster", self.joiner.log)

    def test_certificateOfAnotherAuthorityIsRefused(self) -> None:
        """A member's own files, with an identity that another cluster's authority made for the same name."""
        self.cluster.join(self.joiner)
        self.joiner.stop()
        with ClusterProcesses([self.name]) as other:
            other.primary.start("primary")
            other.primary.stop()
            shutil.copy(other.primary.state / "node.pem", self.joiner.state / "node.pem")
        self.primary.apply({"users": [{"name": f"later-{self.name}"}]})
        logged = len(self.primary.log)
        self.joiner.start("secondary")
        waitFor("the primary says so", lambda: "refused" in self.primary.log[logged:])
        waitFor("it is shown", lambda: self.stateOf(self.joiner) in ("refused", "disconnected"))
        self.assertNotIn(f"later-{self.name}", str(self.joiner.export()))

    def test_removedNodeIsOutAtOnce(self) -> None:
        self.cluster.join(self.joiner)
        self.cluster.converged()
        self.primary.ctl("node", "remove", self.name)
        waitFor(
            "it knows",
            lambda: self.joiner.status()["nodes"] and self.stateOf(self.joiner) in ("refused", "disconnected"),
        )
        self.primary.apply({"users": [{"name": f"later-{self.name}"}]})
        self.joiner.stop()
        self.joiner.start("secondary")
        waitFor("it is refused", lambda: self.stateOf(self.joiner) == "refused")
        self.assertNotIn(f"later-{self.name}", str(self.joiner.export()))
        self.assertIn(self.name, self.primary.log)

    def stateOf(self, node: NodeProcess) -> str:
        for entry in node.status()["nodes"]:
            if entry["name"] == node.name:
                return str(entry["state"])
        return ""
