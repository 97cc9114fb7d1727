"""A node is put out of a real cluster: the others get new keys, also those that were away, and it is locked out."""

from __future__ import annotations

import json
import socket
import subprocess
from typing import Any

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.cluster.membership import NodeIdentity
from cftpcluster.testing.processes import ClusterProcesses, NodeProcess, waitFor


class RotationTests(SynchronousTestCase):
    """One cluster for all of it."""

    def setUp(self) -> None:
        self.cluster = ClusterProcesses(names=("node-a", "node-b", "node-c", "node-d"))
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None, None, None)
        self.a, self.b, self.c, self.d = self.cluster.nodes.values()
        self.a.start("primary")
        for node in (self.b, self.c, self.d):
            self.cluster.join(node)
        self.cluster.converged()

    def keys(self, node: NodeProcess) -> list[str]:
        found: list[str] = json.loads((node.state / "cluster.keys").read_text())
        return found

    def identity(self, node: NodeProcess) -> NodeIdentity:
        return NodeIdentity.fromPem((node.state / "node.pem").read_bytes())

    def row(self, asked: NodeProcess, name: str) -> dict[str, Any]:
        rows: list[dict[str, Any]] = asked.status()["nodes"]
        return next(row for row in rows if row["name"] == name)

    def hostKeys(self, node: NodeProcess) -> set[bytes]:
        done = subprocess.run(
            ["ssh-keyscan", "-p", "2222", "-T", "20", node.address], capture_output=True, check=False, timeout=60
        )
        return {line.split(b" ", 1)[1] for line in done.stdout.splitlines() if not line.startswith(b"#")}

    def assertServes(self, node: NodeProcess) -> None:
        """TLS and SSH keys are opened, and nothing is wrong."""
        status = node.status()
        self.assertEqual(self.row(node, status["node"])["problems"], [])
        with socket.create_connection((node.address, 2121), 10) as connection:
            self.assertTrue(connection.recv(100).startswith(b"220 "))
        self.assertEqual(len(self.hostKeys(node)), 2)

    def equal(self, *nodes: NodeProcess) -> bool:
        return len({(status["revision"], status["chainHash"]) for status in (node.status() for node in nodes)}) == 1

    def test_keysAreRotatedAndReplaced(self) -> None:
        before = self.keys(self.a)
        self.assertEqual(len(before), 1)
        # One node is away meanwhile, and the change is asked for on a secondary.
        self.b.kill()
        answer = self.c.ctl("node", "remove", "node-d")
        self.assertEqual((answer["left"], answer["byHand"]), ([], []))
        waitFor("the new key", lambda: len(self.keys(self.c)) == 2 and self.keys(self.c) == self.keys(self.a))
        self.assertEqual(self.keys(self.a)[1:], before)
        self.assertServes(self.a)
        self.assertEqual(self.keys(self.d), before)
        waitFor("refused", lambda: self.row(self.d, "node-d")["state"] in {"refused", "disconnected"})
        self.b.start("secondary")
        waitFor("node-b is equal", lambda: self.equal(self.a, self.b, self.c))
        waitFor("node-b has the keys", lambda: self.keys(self.b) == self.keys(self.a))
        self.assertServes(self.b)

        # A new node gets the newest key, and goes on to get those that follow.
        self.d.kill()
        self.replaceWithEmpty(self.d)
        self.cluster.join(self.d)
        waitFor("node-d has the keys", lambda: self.keys(self.d) == self.keys(self.a))

        self.compromised()

    def replaceWithEmpty(self, node: NodeProcess) -> None:
        node.state.rename(node.state.with_name(node.state.name + "-before"))

    def compromised(self) -> None:
        hostKeys, authority = self.hostKeys(self.a), self.identity(self.a).caPem
        token = self.a.token("node-e")
        answer = self.a.ctl("node", "remove", "node-c", "--compromised")
        self.assertTrue(any('certificate "default"' in each for each in answer["byHand"]), answer)
        self.assertTrue(any("host keys" in each for each in answer["byHand"]), answer)
        remaining = (self.a, self.b, self.d)
        waitFor("new authority", lambda: all(self.isOver(node, authority) for node in remaining))
        waitFor("equal", lambda: self.equal(*remaining))
        self.assertEqual(len({self.identity(node).caPem for node in remaining}), 1)
        for node in remaining:
            self.assertServes(node)
        self.assertEqual(self.hostKeys(self.a) & hostKeys, set())
        self.assertEqual(self.hostKeys(self.a), self.hostKeys(self.b))
        # Links are made with the new certificates; so are joins, but not with a token of before.
        self.d.kill()
        self.d.start("secondary")
        waitFor("node-d follows", lambda: self.row(self.a, "node-d")["state"] == "following")
        self.a.apply({"users": [{"name": "late"}]})
        waitFor("equal", lambda: self.equal(*remaining))
        self.assertNotIn("late", {user["name"] for user in self.c.export().get("users", [])})
        self.c.kill()
        self.replaceWithEmpty(self.c)
        self.c.name = "node-e"
        old = self.cluster.folder / "old.token"
        old.write_text(token)
        self.c.spawn("secondary", "--join-file", str(old))
        assert self.c.process is not None
        self.assertNotEqual(self.c.process.wait(60), 0)
        self.cluster.join(self.c)
        waitFor("equal", lambda: self.equal(*remaining, self.c))

    def isOver(self, node: NodeProcess, authority: bytes) -> bool:
        """Whether a node trusts the new authority alone, and has its certificate."""
        identity = self.identity(node)
        authorities = x509.load_pem_x509_certificates(identity.caPem)
        current = identity.certificate.issuer == authorities[0].subject
        return len(authorities) == 1 and identity.caPem != authority and current
