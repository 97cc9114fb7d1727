"""Processes that are killed while they append: whatever was acknowledged is there, and nothing is half there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.errors import JournalLocked
from cftpcluster.journal.sqlite import SQLiteStore

WRITERS = 4
ROUNDS = 6

WRITING = f"""
import sys
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from cftpcluster.journal.sqlite import SQLiteJournal
from cftpcluster.testing.journal import KINDS, putUser

async def write(journal, number):
    count = 0
    while True:
        request = f"{{number}} {{count}} {{sys.argv[2]}}"
        head = await journal.append(putUser(f"user{{number}}", request, extra={{"n": count}}))
        print(head.revision, head.chainHash.hex(), flush=True)
        count += 1
        if not count % 20 and number == 0:
            await journal.compact(30)

async def main():
    journal = await SQLiteJournal.open(sys.argv[1], KINDS, reactor)
    await gatherResults([Deferred.fromCoroutine(write(journal, number)) for number in range({WRITERS})])

Deferred.fromCoroutine(main()).addErrback(lambda failure: (failure.printTraceback(), reactor.stop()))
reactor.run()
"""


class KillTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder)
        self.path = os.path.abspath(os.path.join(self.folder, "journal.db"))

    def start(self, number: int) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        process = subprocess.Popen(
            [sys.executable, "-c", WRITING, self.path, str(number)], stdout=subprocess.PIPE, env=environment
        )
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process: subprocess.Popen[bytes]) -> bytes:
        """Kill a process; what it had said by then is the answer."""
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        rest = b"" if process.stdout.closed else process.stdout.read()
        process.stdout.close()
        process.wait()
        return rest

    def acknowledged(self, process: subprocess.Popen[bytes], count: int) -> dict[int, str]:
        """What a process acknowledged before it was killed, which happens after ``count`` answers."""
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(count)]
        lines += self.end(process).splitlines(keepends=True)
        words = [line.split() for line in lines if line.endswith(b"\n")]
        return {int(revision): chainHash.decode() for revision, chainHash in words}

    def test_noAcknowledgedRevisionIsLost(self) -> None:
        last = 0
        for number in range(ROUNDS):
            acknowledged = self.acknowledged(self.start(number), 37 + 13 * number)
            newest = max(acknowledged)
            store = SQLiteStore.open(self.path)
            self.assertGreaterEqual(store.head.revision, newest)
            self.assertLessEqual(store.head.revision, newest + WRITERS)
            entries = {entry.revision: entry.chainHash.hex() for entry in store.since(store._base, 1000)}
            kept = {revision: chainHash for revision, chainHash in acknowledged.items() if revision in entries}
            self.assertEqual({revision: entries[revision] for revision in kept}, kept)
            self.assertGreater(newest, last)
            last = store.head.revision
            store.close()

    def test_secondProcessIsRefusedWhileTheFirstRuns(self) -> None:
        process = self.start(0)
        assert process.stdout is not None
        process.stdout.readline()
        error = self.assertRaises(JournalLocked, SQLiteStore.open, self.path)
        self.assertIn("in use by another process", str(error))
        self.end(process)
        SQLiteStore.open(self.path).close()
