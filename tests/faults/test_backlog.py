"""A secondary that was away for very long."""

from __future__ import annotations

import time
from functools import partial

from cftpcluster.config.changes import Put
from cftpcluster.config.document import User
from cftpcluster.founding import SYSTEM
from cftpcluster.journal._fold import judged
from cftpcluster.journal.entry import Proposal
from cftpcluster.journal.sqlite import SQLiteStore
from cftpcluster.testing.processes import ClusterProcesses, NodeProcess

from ..sharedclusters import whole
from .clusters import FaultCase, headOf, namesOf, residentBytes, shared, waitFor
from .load import Changes, LogIns, percentile
from .scale import choose, figure

SHARED = shared(partial(ClusterProcesses, ("node-a", "node-b")))
GROUP = 2000


def appendBeside(node: NodeProcess, changes: int) -> None:
    """Make so many changes in the journal of a node that does not run: to 500 users, again and again."""
    store = SQLiteStore.open(str(node.state / "journal.db"))
    try:
        for start in range(0, changes, GROUP):
            entries, head = [], store.head
            for number in range(start, min(start + GROUP, changes)):
                change = Put("users", User(name=f"many{number % 500}", extra={"number": number}))
                entry, head = judged(Proposal(change, {}, SYSTEM, node.name, "", float(number)), head, {})
                entries.append(entry)
            store.commit(entries, head)
            store.maintain()
    finally:
        store.close()


class BacklogTests(FaultCase):
    shared = SHARED
    CHANGES = choose(12_000, 1_000_000)

    def test_secondaryFarBehindTakesASnapshotAndThePrimaryStaysQuick(self) -> None:
        a, b = self.nodes
        # Nobody is there to confirm a primary that starts while the other is away.
        a.apply({"settings": {"appendUnconfirmed": True}})
        before = headOf(a)[1]
        with Changes(a, "usual", 0.02) as usual:
            time.sleep(choose(1, 10))
        b.stop()
        a.stop()
        begun = time.monotonic()
        appendBeside(a, self.CHANGES)
        appended = time.monotonic()
        a.start("primary")
        figure(
            f"{self.CHANGES} changes appended in {appended - begun:.0f} s, read and proved at the start in "
            f"{time.monotonic() - appended:.1f} s"
        )
        with Changes(a, "meanwhile", 0.02) as changes, LogIns(a) as logIns:
            waitFor("the journal is compacted", lambda: changes.done > 5)
            memory = residentBytes(a)
            begun = time.monotonic()
            b.start("secondary")
            waitFor("node-b has caught up", lambda: headOf(b)[1] >= headOf(a)[1] - 20)
            figure(
                f"{self.CHANGES} changes behind: equal {time.monotonic() - begun:.1f} s after the start of its process"
            )
            grown = residentBytes(a) - memory
            time.sleep(1)
        whole(self.cluster)
        self.assertGreaterEqual(headOf(b)[1], before + self.CHANGES)
        self.assertEqual((changes.reasons(), logIns.reasons()), ([], []))
        slow, fast = percentile(changes.seconds, 0.99), percentile(usual.seconds, 0.99)
        figure(
            f"a change, p99: {fast * 1000:.1f} ms; while a secondary catches up: {slow * 1000:.1f} ms; "
            f"memory +{grown >> 10} KiB"
        )
        # Beside other tests only that nothing stands still can be seen.
        self.assertLess(slow, choose(5.0, fast * 5 + 0.1))
        self.assertLess(grown, 50 << 20)
        self.assertLessEqual(changes.acknowledged, namesOf(b, "meanwhile"))
        self.assertEqual(len(namesOf(b, "many")), 500)
