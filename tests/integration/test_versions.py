"""Nodes of two versions in one cluster: what is additive works, what is not is refused in one clear line.

The newer version is a copy of the installed package, with its version, the link's protocol, a setting and, where a test
says so, the document's format raised.
"""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import closing
from http.client import HTTPException
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import cftpcluster
from cftpcluster._version import __version__
from cftpcluster.testing.processes import ClusterProcesses, NodeProcess, waitFor

NEWER = "99.0.0"


def newerPackage(folder: Path, raisedFormat: bool = False, protocols: str = "(1, 2)") -> Path:
    """Make the newer version; the answer is what to put on its path."""
    package = folder / "cftpcluster"
    # What was compiled is copied too: it is good for the files that stay as they are.
    shutil.copytree(Path(cftpcluster.__file__).parent, package)
    for file, old, new in (
        ("_version.py", f'"{__version__}"', f'"{NEWER}"'),
        ("cluster/messages.py", "PROTOCOLS = (1,)", f"PROTOCOLS = {protocols}"),
        (
            "config/settings.py",
            "    drainSeconds: int = 30\n",
            "    drainSeconds: int = 30\n    futureSeconds: int = 5\n",
        ),
        ("config/document.py", "FORMAT_VERSION = 1\n", f"FORMAT_VERSION = {2 if raisedFormat else 1}\n"),
    ):
        text = (package / file).read_text()
        assert text.count(old) == 1, (file, old, text.count(old))
        (package / file).write_text(text.replace(old, new))
    return folder


class VersionCase(SynchronousTestCase):
    names: tuple[str, ...] = ("node-a", "node-b")

    def setUp(self) -> None:
        self.cluster = ClusterProcesses(names=self.names)
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None, None, None)
        self.nodes = list(self.cluster.nodes.values())
        self.newer = self.cluster.folder / "newer"

    def upgrade(self, node: NodeProcess) -> None:
        """From its next start on it is of the newer version."""
        node.environment["PYTHONPATH"] = str(self.newer)

    def problems(self, asked: NodeProcess, name: str) -> str:
        return "; ".join(next(row for row in asked.status()["nodes"] if row["name"] == name)["problems"])

    def users(self, node: NodeProcess) -> set[str]:
        return {user["name"] for user in node.export().get("users", [])}

    def equal(self) -> bool:
        statuses = [node.status() for node in self.nodes]
        return len({(status["epoch"], status["revision"], status["chainHash"]) for status in statuses}) == 1


class AdditiveTests(VersionCase):
    names = ("node-a", "node-b", "node-c")

    def test_newerPrimaryThenRollingUpgradeWithoutAFreeze(self) -> None:
        newerPackage(self.newer)
        a, b, c = self.nodes
        # A newer primary with older secondaries: kept, followed, and shown.
        self.upgrade(a)
        self.cluster.startAll()
        a.apply({"settings": {"futureSeconds": 9}, "users": [{"name": "first"}]})
        waitFor("equal", self.equal)
        self.assertEqual(self.users(b), {"first"})
        waitFor("shown", lambda: "futureSeconds" in self.problems(a, "node-b"))
        self.assertEqual(self.problems(a, "node-a"), "")
        wanted = {"node-a": NEWER, "node-b": __version__, "node-c": __version__}
        waitFor("the versions", lambda: {row["name"]: row["version"] for row in a.status()["nodes"]} == wanted)
        # The reverse, after a promotion: the older primary keeps what it does not know.
        a.ctl("node", "promote", "node-b")
        waitFor("node-b is primary", lambda: {node.status()["primary"] for node in self.nodes} == {"node-b"})
        b.apply({"users": [{"name": "second"}], "settings": {"drainGraceSeconds": 0}})
        waitFor("equal", self.equal)
        self.assertEqual(a.export()["settings"]["futureSeconds"], 9)
        # The others are upgraded one by one under changes, the primary last, handing over before.
        writer = Writer([a, c, b])
        writer.start()
        for node, after in ((c, None), (b, "node-c")):
            if after is not None:
                a.ctl("node", "promote", after)
            waitFor("changes go on", writer.goesOn())
            node.terminate()
            self.upgrade(node)
            node.start("secondary")
            waitFor("changes go on", writer.goesOn())
        writer.stop()
        waitFor("equal", self.equal)
        for node in self.nodes:
            self.assertLessEqual(writer.acknowledged, self.users(node))
            waitFor("nothing is wrong with node-b", lambda node=node: not self.problems(node, "node-b"))
            waitFor("all are newer", lambda node=node: {row["version"] for row in node.status()["nodes"]} == {NEWER})
        self.assertEqual(c.export()["settings"]["futureSeconds"], 9)
        self.assertGreater(len(writer.acknowledged), 20)
        self.assertLess(writer.longestSeconds, 10)


class Writer(threading.Thread):
    """Adds users, on whichever node takes them.

    :ivar acknowledged: the names that a node said are stored.
    :ivar longestSeconds: the longest time without an acknowledgement.
    """

    def __init__(self, nodes: list[NodeProcess]) -> None:
        super().__init__()
        self._nodes, self._stopping = nodes, False
        self.acknowledged: set[str] = set()
        self.longestSeconds = 0.0

    def goesOn(self) -> object:
        before = len(self.acknowledged)
        return lambda: len(self.acknowledged) >= before + 5

    def stop(self) -> None:
        self._stopping = True
        self.join()

    def run(self) -> None:
        number, last = 0, time.monotonic()
        while not self._stopping:
            for node in self._nodes:
                name = f"user{number}"
                if self._put(node, name):
                    self.acknowledged.add(name)
                    now = time.monotonic()
                    self.longestSeconds, last, number = max(self.longestSeconds, now - last), now, number + 1
                    break
            time.sleep(0.05)

    def _put(self, node: NodeProcess, name: str) -> bool:
        with closing(node.connection()) as connection:
            try:
                connection.request("PUT", f"/api/v1/users/{name}", b"{}", {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                return answer.status < 300
            except (OSError, HTTPException):
                return False


class RaisedFormatTests(VersionCase):
    def test_olderSecondaryIsRefusedInOneLineAndADowngradeByName(self) -> None:
        newerPackage(self.newer, raisedFormat=True)
        a, b = self.nodes
        # An older primary with a newer secondary: it follows.
        self.upgrade(b)
        self.cluster.startAll()
        a.apply({"users": [{"name": "first"}]})
        waitFor("equal", self.equal)
        # What that one would write, the primary could not read: it says so, and nothing is changed.
        done = b.run("user", "add", "second")
        self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1), done.stderr)
        self.assertIn(b"format 2", done.stderr)
        self.assertEqual(self.users(a), {"first"})
        # After a promotion the older one does not follow; both say why, with the versions.
        a.ctl("node", "promote", "node-b")
        line = f"node-a runs cftpcluster {__version__}, which reads the configuration up to format 1"
        waitFor("refused", lambda: line in self.problems(a, "node-a") and NEWER in self.problems(a, "node-a"))
        waitFor("shown on the primary", lambda: line in self.problems(b, "node-a"))
        self.assertIn(line, b.log)
        self.assertIn("first", self.users(a))
        b.apply({"users": [{"name": "third"}]})
        # It is upgraded, and follows.
        a.stop()
        self.upgrade(a)
        a.start("primary")
        waitFor("equal", self.equal)
        self.assertEqual(self.users(a), {"first", "third"})
        # No way back.
        a.stop()
        del a.environment["PYTHONPATH"]
        before = (a.state / "journal.db").read_bytes()
        a.spawn("primary")
        assert a.process is not None
        self.assertNotEqual(a.process.wait(60), 0)
        self.assertIn(f"format 2, of a newer version; cftpcluster {__version__} knows up to 1", a.log)
        self.assertEqual((a.state / "journal.db").read_bytes(), before)

    def test_linksWithoutACommonProtocolAreRefusedOnBothSides(self) -> None:
        a, b = self.nodes
        self.cluster.startAll()
        newerPackage(self.newer, protocols="(2,)")
        b.stop()
        self.upgrade(b)
        b.start("secondary")
        line = f"node-b (cftpcluster {NEWER}) speaks version 2 of the link: upgrade the older one"
        waitFor("refused", lambda: line in self.problems(b, "node-b"))
        waitFor("logged", lambda: line in a.log)
