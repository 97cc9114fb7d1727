"""A process that is killed at each of its system calls in turn, while its journal commits, compacts and restores."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.journal.sqlite import SQLiteStore

from .disks import needsTracing
from .scale import choose, figure

CALLS = ("pwrite64", "fsync", "fdatasync", "rename", "ftruncate", "unlink")

WORKING = """
import sys
from cftpcluster.journal._fold import judged, snapshotOf
from cftpcluster.journal.sqlite import SQLiteStore
from cftpcluster.testing.journal import KINDS, putUser

def append(name, size=10):
    entry, head = judged(putUser(name, "request " + name, extra={"note": "x" * size}), store.head, KINDS)
    store.commit([entry], head)
    print(head.revision, flush=True)

store = SQLiteStore.open(sys.argv[1])
print(store.head.revision, flush=True)
for number in range(6):
    append(f"user{number}")
append("large", 50_000)
store.compact(3)
print("compacted", flush=True)
early = snapshotOf(store.head)
append("later")
store.keep(snapshotOf(store.head))
store.restore(early)
print("restored", early.revision, flush=True)
append("last")
store.close()
"""


@needsTracing
class KilledAtEachCallTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

    def work(self, path: Path, *tracing: str) -> list[str]:
        """Run the process; the answer is what it said was done."""
        done = subprocess.run(
            ["strace", "-f", "-e", f"trace={','.join(CALLS)}", *tracing, sys.executable, "-c", WORKING, str(path)],
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=120,
            check=False,
        )
        if "-o" in tracing:
            self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        return done.stdout.split("\n")

    def test_whatIsThereIsTheStateBeforeOrAfter(self) -> None:
        trace = self.folder / "trace"
        said = self.work(self.folder / "whole.db", "-o", str(trace))
        self.assertIn("restored 7", said)
        made = Counter(re.findall(rf"(?m)^(?:\d+ +)?({'|'.join(CALLS)})\(", trace.read_text()))
        self.assertGreater(made["pwrite64"], 20)
        points = [(call, number) for call, count in sorted(made.items()) for number in range(1, count + 1)]
        chosen = points[:: choose(max(1, len(points) // 8), 1)]
        for call, number in chosen:
            path = self.folder / f"{call}-{number}.db"
            said = self.work(path, "-e", f"inject={call}:signal=KILL:when={number}")
            self.check(path, said, (call, number))
        figure(f"killed at {len(chosen)} of {len(points)} system calls: always the state before or after")

    def check(self, path: Path, said: list[str], where: tuple[str, int]) -> None:
        """The journal opens, and holds what was acknowledged, and at most what was being done."""
        lines = [line for line in said if line]
        store = SQLiteStore.open(str(path))
        self.addCleanup(store.close)
        revision = store.head.revision
        acknowledged = [int(line.split()[-1]) for line in lines if line[-1].isdigit()]
        last = acknowledged[-1] if acknowledged else 0
        if lines and lines[-1] == str(last) and last == 8 and not any("restored" in line for line in lines):
            # The history may have been put back to the snapshot, or not yet.
            self.assertIn(revision, (7, 8), where)
        else:
            self.assertIn(revision, (last, last + 1), where)
        wanted = {f"user{number}" for number in range(6)} | {"large", "later", "last"}
        self.assertLessEqual(set(store.head.document.users), wanted)
        self.assertEqual(len(store.head.document.users), revision, where)
