"""The sample plug-in of the documentation: installed with pip, tested by its own tests, used by a real node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from zipfile import ZipFile

import bcrypt
from attrs import frozen
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from cftpcluster.testing.processes import ClusterProcesses, NodeProcess, waitFor

from .clients import Client, needs

SAMPLE = Path(__file__).resolve().parent.parent.parent / "docs" / "examples" / "cftpcluster-sample"
PASSWORD = "of the file"


@frozen
class Sample:
    """The sample, copied and installed into a folder that only those processes see that are told of it.

    :ivar folder: goes with this object.
    """

    folder: tempfile.TemporaryDirectory[str]

    @property
    def sources(self) -> Path:
        return Path(self.folder.name) / "sources"

    @property
    def installed(self) -> Path:
        return Path(self.folder.name) / "installed"


@cache
def sample() -> Sample:
    """The sample, installed once for all tests."""
    if not SAMPLE.is_dir():
        raise SkipTest("the tests were taken out of their checkout")
    made = Sample(tempfile.TemporaryDirectory(prefix="cftpcluster-sample-"))
    # Building leaves things in the sources.
    shutil.copytree(SAMPLE, made.sources, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "_trial_temp*"))
    # The environment has all that is needed to build: nothing is fetched.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*pip, "--no-build-isolation", "--target", str(made.installed), str(made.sources)],
        capture_output=True,
        check=False,
        timeout=300,
    )
    if done.returncode != 0:
        raise AssertionError(done.stderr.decode(errors="replace"))
    return made


class SampleTests(SynchronousTestCase):
    def test_pluginFolderIsTwisteds(self) -> None:
        """An ``__init__.py`` there would hide Twisted."""
        plugins = sample().installed / "twisted" / "plugins"
        self.assertEqual([path.name for path in plugins.glob("*.py")], ["cftpcluster_sample.py"])
        self.assertFalse((sample().installed / "twisted" / "__init__.py").exists())

    def test_itsOwnTestsPass(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "twisted.trial", "tests"],
            cwd=sample().sources,
            env=dict(os.environ, PYTHONPATH=str(sample().installed)),
            capture_output=True,
            check=False,
            timeout=300,
        )
        self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr[-3000:])
        self.assertIn(b"PASSED", done.stdout)


@needs("curl", "ssh-keygen")
class InstalledPluginTests(SynchronousTestCase):
    """Of two nodes, the first has the plug-in."""

    def setUp(self) -> None:
        self.cluster = ClusterProcesses(["with", "without"])
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None, None, None)
        self.node: NodeProcess = self.cluster.primary
        self.node.environment = {"PYTHONPATH": str(sample().installed)}
        self.cluster.startAll()
        self.other = self.cluster.secondaries[0]
        self.files = self.cluster.folder
        self.uploads = self.files / "uploads.jsonl"
        with ZipFile(self.files / "handbook.zip", "w") as archive:
            archive.writestr("chapters/one.txt", "In the beginning\n")
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        (self.files / "htpasswd").write_text(f"carol:{hashed}\n")
        self.carol = Client("carol", PASSWORD, self.files)
        self.dave = Client("dave", "of the document", self.files)
        self.node.apply(
            {
                "backends": [{"name": "handbook", "kind": "archive", "file": str(self.files / "handbook.zip")}],
                "checkers": [{"name": "htpasswd", "kind": "htpasswd", "file": str(self.files / "htpasswd")}],
                "observers": [{"name": "uploads", "kind": "uploadlog", "file": str(self.uploads)}],
                "users": [
                    {
                        "name": "carol",
                        "mounts": [
                            {"path": "/", "backend": "files", "folder": "carol"},
                            {"path": "/handbook", "backend": "handbook", "permissions": ["list", "download"]},
                        ],
                    },
                    self.dave.document(
                        mounts=[
                            {"path": "/", "backend": "files", "folder": "dave"},
                            {"path": "/handbook", "backend": "handbook", "permissions": ["list", "download"]},
                        ]
                    ),
                ],
            }
        )
        self.cluster.converged()
        self.small = self.files / "small"
        self.small.write_bytes(b"12345")

    def problemsOf(self, name: str) -> list[str]:
        rows = {row["name"]: row for row in self.node.status()["nodes"]}
        return list(rows[name]["problems"])

    def test_pluginIsUsedWhereItIsInstalled(self) -> None:
        """One cluster for all of it."""
        self.nodeUsesAllThree()
        self.nodeWithoutThePluginServesTheRest()
        self.pluginThatComesLaterIsUsed()

    def nodeUsesAllThree(self) -> None:
        self.assertEqual(self.problemsOf("with"), [])
        self.assertEqual(self.carol.https(self.node, "handbook/chapters/one.txt").stdout, b"In the beginning\n")
        self.assertEqual(self.carol.ftp(self.node, "handbook/chapters/one.txt").stdout, b"In the beginning\n")
        self.assertIn(b"one.txt", self.carol.ftp(self.node, "handbook/chapters/").stdout)
        self.assertNotEqual(self.carol.upload("https", self.node, self.small, "handbook/new").returncode, 0)
        self.carol.password = "wrong"
        self.assertEqual(self.carol.ftp(self.node, "").returncode, 67)
        self.carol.password = PASSWORD
        self.assertEqual(self.carol.upload("ftp", self.node, self.small, "up.txt").returncode, 0)
        self.assertEqual(self.dave.upload("https", self.node, self.small, "mine.txt").returncode, 0)
        lines = waitFor("two lines", lambda: self.uploads.exists() and self.linesIfTwo())
        told = [(line["node"], line["user"], line["protocol"], line["path"], line["size"]) for line in lines]
        self.assertEqual(told, [("with", "carol", "ftp", "/up.txt", 5), ("with", "dave", "https", "/mine.txt", 5)])

    def linesIfTwo(self) -> list[dict[str, object]]:
        lines = self.uploads.read_text().splitlines()
        return [json.loads(line) for line in lines] if len(lines) == 2 else []

    def nodeWithoutThePluginServesTheRest(self) -> None:
        found = waitFor("its problems are known", lambda: self.problemsOf("without"))
        for path, kind in (
            ("backends/handbook", "archive"),
            ("checkers/htpasswd", "htpasswd"),
            ("observers/uploads", "uploadlog"),
        ):
            self.assertTrue(any(path in problem and kind in problem for problem in found), (path, found))
        # Whoever needs the plug-in does without ...
        self.assertEqual(self.carol.ftp(self.other, "").returncode, 67)
        self.assertNotEqual(self.dave.https(self.other, "handbook/chapters/one.txt").returncode, 0)
        # ... everything else is served, and the configuration is the same.
        self.assertEqual(self.dave.upload("https", self.other, self.small, "mine.txt").returncode, 0)
        self.assertEqual(self.dave.download("ftp", self.other, "mine.txt", self.files / "copy").returncode, 0)
        self.assertEqual((self.files / "copy").read_bytes(), b"12345")
        self.assertEqual(self.node.export(), self.other.export())

    def pluginThatComesLaterIsUsed(self) -> None:
        self.other.stop()
        self.other.environment = {"PYTHONPATH": str(sample().installed)}
        self.other.start("secondary")
        self.cluster.converged()
        self.assertEqual(self.problemsOf("without"), [])
        self.assertEqual(self.carol.https(self.other, "handbook/chapters/one.txt").stdout, b"In the beginning\n")
