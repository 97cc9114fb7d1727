"""The drill: a backup, a cluster that gets it back while it runs, and a primary that is lost and comes back from it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.testing.processes import ClusterProcesses, NodeProcess, program, waitFor


class BackupTests(SynchronousTestCase):
    """One cluster for all of it."""

    def setUp(self) -> None:
        self.cluster = ClusterProcesses(names=("node-a", "node-b"))
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None, None, None)
        self.cluster.startAll()
        self.a, self.b = self.cluster.nodes.values()
        self.file = self.cluster.folder / "backup"
        self.passphrase = self.cluster.folder / "passphrase"
        self.passphrase.write_text("correct horse\n")

    def run_(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run([program("cftpctl"), *arguments], capture_output=True, check=False, timeout=120)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def restoreNew(self, folder: Path, *options: str, code: int = 0) -> subprocess.CompletedProcess[bytes]:
        given = ("--passphrase-file", str(self.passphrase), "--state-dir", str(folder), "--bind", self.a.address)
        return self.run_("restore", "--new", str(self.file), *given, *options, code=code)

    def users(self, node: NodeProcess) -> set[str]:
        return {user["name"] for user in node.export().get("users", [])}

    def head(self, node: NodeProcess) -> tuple[Any, ...]:
        status = node.status()
        return status["epoch"], status["revision"], status["chainHash"]

    def test_drill(self) -> None:
        self.a.apply({"users": [{"name": "kept", "password": "secret words"}], "settings": {"drainSeconds": 9}})
        self.cluster.converged()
        epoch, revision, chainHash = self.head(self.a)
        self.a.ctl("backup", str(self.file), "--passphrase-file", str(self.passphrase))
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        self.assertNotIn(b"kept", self.file.read_bytes())
        verify = ("backup", "--verify", str(self.file), "--passphrase-file")
        said = self.run_(*verify, str(self.passphrase)).stdout.decode()
        for text in ("node: node-a", f"revision: {revision}", f"epoch: {epoch}", chainHash, "1 users", "2 nodes"):
            self.assertIn(text, said)
        wrong = self.cluster.folder / "wrong"
        wrong.write_text("another horse\n")
        self.assertIn(b"passphrase is wrong", self.run_(*verify, str(wrong), code=1).stderr)

        # To the running cluster, by the word of a secondary.
        self.a.apply({"users": [{"name": "late"}], "settings": {"drainSeconds": 10}}, prune=True)
        self.cluster.converged()
        self.b.ctl("restore", str(self.file), "--passphrase-file", str(self.passphrase))
        self.cluster.converged()
        self.assertEqual((self.users(self.a), self.users(self.b)), ({"kept"}, {"kept"}))
        self.assertEqual(self.head(self.a)[:2], (epoch, revision + 2))
        self.assertEqual(self.a.export()["settings"]["drainSeconds"], 9)

        # In place of a node that still runs, or into a folder that is not empty: refused, and nothing is written.
        elsewhere = self.cluster.folder / "elsewhere"
        self.assertIn(b"node-a itself still runs", self.restoreNew(elsewhere, code=1).stderr)
        self.assertEqual({path.name for path in elsewhere.iterdir()}, {"lock"})
        self.assertIn(b"in use", self.restoreNew(self.a.state, code=1).stderr)
        self.a.kill()
        self.assertIn(b"holds a node", self.restoreNew(self.a.state, code=1).stderr)

        # The primary's disk is lost.
        shutil.rmtree(self.a.state)
        damaged = self.file.read_bytes()
        self.file.write_bytes(damaged[:-20] + bytes([damaged[-20] ^ 4]) + damaged[-19:])
        self.assertIn(b"damaged", self.restoreNew(self.a.state, code=1).stderr)
        self.assertFalse(self.a.state.exists())
        self.file.write_bytes(damaged)
        done = self.restoreNew(self.a.state)
        self.assertIn(b"warning: node-b has revision", done.stderr)
        self.a.start("primary", "--existing")
        waitFor("node-b follows", lambda: self.head(self.a) == self.head(self.b))
        self.assertEqual(self.head(self.a)[0], epoch + 1)
        self.a.apply({"users": [{"name": "new"}]})
        self.cluster.converged()
        self.assertEqual(self.users(self.b), {"kept", "new"})
        done = self.a.run("user", "show", "kept", "--json")
        self.assertEqual(done.returncode, 0)
