"""One configuration on several nodes: users, bursts of changes, nodes that die and come back."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import NodeProcess, isListening, waitFor

from ..sharedclusters import ALONE, THREE
from .clients import Client, needs, randomFile, sha256

PROTOCOLS = ("sftp", "ftp", "https")


def userNames(node: NodeProcess) -> set[str]:
    return {user["name"] for user in node.export().get("users", [])}


class ClusterTestCase(SynchronousTestCase):
    """A primary and two secondaries; names of users are other ones in each test."""

    def setUp(self) -> None:
        self.cluster = THREE.get()
        self.folder = self.cluster.folder

    def addUsers(self, names: list[str]) -> Any:
        return self.cluster.primary.apply({"users": [{"name": name, "enabled": True} for name in names]})

    def assertEqualEverywhere(self) -> None:
        heads = {(status["revision"], status["chainHash"]) for status in self.statuses()}
        self.assertEqual(len(heads), 1, heads)

    def statuses(self) -> list[Any]:
        return [node.status() for node in self.cluster.nodes.values()]


@needs("sftp", "curl")
class TransferTests(ClusterTestCase):
    def test_userOfThePrimaryMovesFilesOnEveryNodeByEveryProtocol(self) -> None:
        client = Client("alice", "correct horse", self.folder)
        self.cluster.primary.apply(
            {"users": [client.document(mounts=[{"path": "/", "backend": "files", "folder": "alice"}])]}
        )
        self.cluster.converged()
        size = 40_000_000
        for node, uploading in zip(self.cluster.nodes.values(), PROTOCOLS, strict=True):
            original = randomFile(self.folder / "original", size)
            done = client.upload(uploading, node, original, "big.bin")
            self.assertEqual(done.returncode, 0, (uploading, done.stderr))
            for downloading in set(PROTOCOLS) - {uploading}:
                copy = self.folder / f"copy-{downloading}"
                done = client.download(downloading, node, "big.bin", copy)
                self.assertEqual(done.returncode, 0, (downloading, done.stderr))
                self.assertEqual(sha256(copy), sha256(original), (uploading, downloading, node.name))

    def test_wrongPasswordIsRefusedOnEveryNode(self) -> None:
        client = Client("alice", "correct horse", self.folder)
        self.cluster.primary.apply({"users": [client.document()]})
        self.cluster.converged()
        client.password = "wrong"
        for node in self.cluster.nodes.values():
            self.assertEqual(client.ftp(node, "").returncode, 67)
            self.assertNotEqual(client.https(node, "").returncode, 0)


class ChangeTests(ClusterTestCase):
    def test_burstOfChangesEndsEqualEverywhere(self) -> None:
        before = self.cluster.primary.status()["revision"]
        # Through one process for each writer: what counts is the burst on the primary, not that of the shell.
        burst(self.cluster.primary, "burst", 1000, writers=4)
        self.assertEqual(self.cluster.converged(), before + 1000)
        self.assertEqualEverywhere()
        for node in self.cluster.nodes.values():
            self.assertEqual(len([name for name in userNames(node) if name.startswith("burst")]), 1000)

    def test_secondaryKilledMeanwhileCatchesUp(self) -> None:
        victim = self.cluster.secondaries[0]
        victim.kill()
        burst(self.cluster.primary, "missed", 100, writers=1)
        victim.start("secondary")
        self.cluster.converged()
        self.assertEqualEverywhere()

    def test_secondaryServesItsLastKnownConfigurationWithoutThePrimary(self) -> None:
        self.addUsers(["known"])
        self.cluster.converged()
        victim = self.cluster.secondaries[0]
        victim.kill()
        self.cluster.primary.kill()
        victim.start("secondary")
        self.assertIn("known", userNames(victim))
        self.assertEqual(stateOf(victim, "node-a"), "disconnected")
        done = victim.run("user", "add", "refused")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"node-a", done.stderr)
        self.cluster.primary.start("primary")
        self.addUsers(["later"])
        self.cluster.converged()
        self.assertLessEqual({"known", "later"}, userNames(victim))

    def test_changeMadeOnASecondaryIsLiveEverywhere(self) -> None:
        done = self.cluster.secondaries[1].run("user", "add", "bob", "--password-stdin", stdin=b"secret words\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.cluster.converged()
        for node in self.cluster.nodes.values():
            self.assertIn("bob", userNames(node))


class Writer(threading.Thread):
    """Adds users, one request after the other over one connection, until the node is gone.

    :ivar acknowledged: the names that the node said are stored.
    """

    def __init__(self, node: NodeProcess, prefix: str, acknowledged: set[str], count: int = 1 << 30) -> None:
        super().__init__()
        self._node, self._prefix, self._count = node, prefix, count
        self.acknowledged = acknowledged

    def run(self) -> None:
        with closing(self._node.connection()) as connection:
            for number in range(self._count):
                name = f"{self._prefix}{number}"
                try:
                    connection.request("PUT", f"/api/v1/users/{name}", b"{}", {"Content-Type": "application/json"})
                    answer = connection.getresponse()
                    answer.read()
                except (OSError, HTTPException):
                    return
                if answer.status in (200, 201):
                    self.acknowledged.add(name)


def burst(node: NodeProcess, prefix: str, changes: int, writers: int) -> None:
    """Make so many changes as fast as they are acknowledged."""
    threads = [Writer(node, f"{prefix}{number}-", set(), changes // writers) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = sum(len(thread.acknowledged) for thread in threads)
    if made != changes:
        raise AssertionError(f"only {made} of {changes} changes were acknowledged")


class ListenerTests(ClusterTestCase):
    def test_listenerMovesWithoutTouchingOthers(self) -> None:
        self.addCleanup(self.move, 2222)
        self.move(2223)
        for node in self.cluster.nodes.values():
            self.assertTrue(isListening(node.address, 2223))
            self.assertFalse(isListening(node.address, 2222))
            self.assertTrue(isListening(node.address, 2121))

    def move(self, port: int) -> None:
        self.cluster.primary.apply({"listeners": [{"name": "sftp", "kind": "sftp", "port": port}]})
        self.cluster.converged()

    def test_busyPortIsAProblemAndHealsItself(self) -> None:
        node = self.cluster.secondaries[0]
        with socket.create_server((node.address, 2300)):
            self.cluster.primary.apply({"listeners": [{"name": "extra", "kind": "sftp", "port": 2300}]})
            problem = waitFor("the problem is shown", lambda: problemsOf(self.cluster.primary, node.name))
            self.assertIn("2300", problem[0])
            self.assertEqual(node.health("/readyz")[0], 200)
            self.assertEqual(node.health("/readyz/extra")[0], 503)
        waitFor("the problem is gone", lambda: not problemsOf(self.cluster.primary, node.name))
        self.assertEqual(node.health("/readyz/extra")[0], 200)
        self.cluster.primary.ask("DELETE", "listeners/extra")


def stateOf(asked: NodeProcess, name: str) -> str:
    """What ``asked`` shows as the state of a node."""
    return next(str(node["state"]) for node in asked.status()["nodes"] if node["name"] == name)


def problemsOf(asked: NodeProcess, name: str) -> list[str]:
    """What ``asked`` shows as the problems of a node."""
    for node in asked.status()["nodes"]:
        if node["name"] == name:
            problems: list[str] = node["problems"]
            return problems
    return []


class ApplyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = ALONE.get()
        self.node = self.cluster.primary

    def test_everyErrorIsNamedAndNothingChanges(self) -> None:
        document = Path(self.cluster.folder / "bad.yaml")
        document.write_text(
            "users:\n"
            "- {name: good, mounts: [{path: /, backend: fils}]}\n"
            "- {name: 'bad name', enabled: yes please}\n"
            "- {name: other, groups: [nobodies]}\n"
            "listeners:\n"
            "- {name: sftp, kind: sftp, port: 99999}\n"
        )
        before = self.node.status()["revision"]
        done = self.node.run("apply", str(document))
        self.assertEqual(done.returncode, 1)
        for part in (
            b'users[0].mounts[0].backend: no backend named "fils"',
            b"users[1].name",
            b"users[1].enabled",
            b"users[2].groups[0]",
            b"listeners[0].port",
        ):
            self.assertIn(part, done.stderr)
        self.assertEqual(self.node.status()["revision"], before)

    def test_sameDocumentTwiceMakesNoRevision(self) -> None:
        document = {
            "backends": [{"name": "share", "kind": "local", "root": str(self.cluster.folder), "shared": True}],
            "groups": [
                {"name": "partners", "mounts": [{"path": "/in", "backend": "share", "permissions": ["list", "upload"]}]}
            ],
            "users": [{"name": "alice", "password": "correct horse", "groups": ["partners"]}],
        }
        self.node.apply(document)
        first = self.node.status()["revision"]
        self.node.apply(document)
        self.assertEqual(self.node.status()["revision"], first)
        document["users"][0]["password"] = "another"
        self.node.apply(document)
        self.assertEqual(self.node.status()["revision"], first + 1)

    def test_exportIsWhatApplyTakes(self) -> None:
        exported = self.node.export()
        before = self.node.status()["revision"]
        self.node.apply(exported)
        self.assertEqual(self.node.status()["revision"], before)
