"""Files on storage that all nodes share, and what a user may do with them."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import ClusterProcesses, NodeProcess, waitFor

from ..sharedclusters import ALONE
from .clients import Client, needs, randomFile, sha256

_numbers = count()


@needs("sftp", "curl")
class SharedStorageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = ClusterProcesses(["node-a", "node-b"])
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None, None, None)
        self.cluster.startAll()
        self.share = self.cluster.folder / "share"
        self.share.mkdir()
        (self.share / ".cftpcluster-storage").write_text("a-storage-id\n")
        self.client = Client("alice", "correct horse", self.cluster.folder)
        self.cluster.primary.apply(
            {
                "backends": [
                    {"name": "share", "kind": "local", "root": str(self.share), "shared": True, "requireMarker": True}
                ],
                "users": [self.client.document(mounts=[{"path": "/", "backend": "share", "folder": "alice"}])],
            }
        )
        self.cluster.converged()
        self.a, self.b = self.cluster.nodes.values()

    def test_storageServesAllNodesAndNothingWithoutItsMarker(self) -> None:
        """One cluster for both: most of the time is its start."""
        self.uploadedOnOneNodeDownloadedOnAnother()
        self.withoutItsMarkerNothingIsWritten()

    def uploadedOnOneNodeDownloadedOnAnother(self) -> None:
        original = randomFile(self.cluster.folder / "original", 3_000_000)
        for up, down in (("sftp", "https"), ("ftp", "sftp"), ("https", "ftp")):
            self.assertEqual(self.client.upload(up, self.a, original, f"from-{up}").returncode, 0)
            copy = self.cluster.folder / "copy"
            self.assertEqual(self.client.download(down, self.b, f"from-{up}", copy).returncode, 0)
            self.assertEqual(sha256(copy), sha256(original))

    def withoutItsMarkerNothingIsWritten(self) -> None:
        os.rename(self.share, self.cluster.folder / "elsewhere")
        self.share.mkdir()
        original = randomFile(self.cluster.folder / "original", 1000)
        for node in (self.a, self.b):
            waitFor("not ready", lambda node=node: node.health("/readyz")[0] == 503)
            self.assertIn(b"share", node.health("/readyz")[1])
            for protocol in ("sftp", "ftp", "https"):
                self.assertNotEqual(self.client.upload(protocol, node, original, "lost").returncode, 0, protocol)
        self.assertEqual(list(self.share.iterdir()), [])
        self.share.rmdir()
        os.rename(self.cluster.folder / "elsewhere", self.share)
        for node in (self.a, self.b):
            waitFor("ready again", lambda node=node: node.health("/readyz")[0] == 200)
        self.assertEqual(self.client.upload("sftp", self.a, original, "kept").returncode, 0)


@needs("sftp", "curl", "lftp")
class PermissionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = ALONE.get()
        self.node: NodeProcess = self.cluster.primary
        self.client = Client("alice", "correct horse", self.cluster.folder)
        self.folder = f"storage-{next(_numbers)}"
        self.small = randomFile(self.cluster.folder / "small", 1000)

    def grant(self, *permissions: str) -> Path:
        """Give alice these permissions; returns her folder on the disk."""
        mount = {"path": "/", "backend": "files", "folder": self.folder}
        if permissions:
            mount["permissions"] = list(permissions)  # type: ignore[assignment]
        self.node.apply({"users": [self.client.document(mounts=[mount])]})
        home = self.node.state / "files" / self.folder
        home.mkdir(parents=True, exist_ok=True)
        return home

    def test_withoutUploadNobodyUploads(self) -> None:
        home = self.grant("list", "download")
        (home / "there").write_bytes(b"x" * 10)
        for protocol in ("sftp", "ftp", "https"):
            self.assertNotEqual(self.client.upload(protocol, self.node, self.small, "new").returncode, 0, protocol)
            self.assertNotEqual(self.client.upload(protocol, self.node, self.small, "there").returncode, 0, protocol)
            copy = self.cluster.folder / "copy"
            self.assertEqual(self.client.download(protocol, self.node, "there", copy).returncode, 0, protocol)
        self.assertEqual([file.name for file in home.iterdir()], ["there"])
        self.assertEqual((home / "there").stat().st_size, 10)

    def test_nothingOutsideTheHomeIsReached(self) -> None:
        home = self.grant()
        outside = self.node.state / "files" / "outside.txt"
        outside.write_text("the secret outside")
        before = {file.name for file in (self.node.state / "files").iterdir()}
        os.symlink(outside, home / "link")
        os.symlink("..", home / "up")
        os.symlink("/", home / "root")
        paths = (
            "../outside.txt",
            "%2e%2e/outside.txt",
            "..%2foutside.txt",
            "%2e%2e%2foutside.txt",
            "a/../../outside.txt",
            "/../outside.txt",
            "//" + str(outside),
            "link",
            "up/outside.txt",
            "root" + str(outside),
        )
        for path in paths:
            for done in (
                self.client.https(self.node, path, "--path-as-is"),
                self.client.ftp(self.node, path, "--path-as-is"),
                self.client.sftp(self.node, f'get "{path}" /dev/stdout'),
                self.client.lftp(self.node, f'cat "{path}"'),
            ):
                self.assertNotIn(b"the secret outside", done.stdout, path)
            for done in (
                self.client.https(self.node, path, "--path-as-is", "-T", str(self.small)),
                self.client.ftp(self.node, path, "--path-as-is", "-T", str(self.small)),
                self.client.sftp(self.node, f'put {self.small} "{path}"'),
            ):
                self.assertEqual(outside.read_text(), "the secret outside", (path, done.args))
        self.assertEqual({file.name for file in (self.node.state / "files").iterdir()}, before)
