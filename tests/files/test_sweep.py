"""Tests of :mod:`cftpcluster.files._sweep`."""

from __future__ import annotations

import fcntl
import os
import time

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.errors import StorageMissing
from cftpcluster.files._beneath import FOLDER, KernelOpener
from cftpcluster.files._descriptors import Descriptor
from cftpcluster.files._names import partialName, temporaryName
from cftpcluster.files._sweep import Sweeper


class SweeperTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = self.mktemp()
        os.makedirs(os.path.join(self.root, "d", "e"))
        self.sweeper = Sweeper("node-a", self.openRoot, KernelOpener(), lambda: 100)

    def openRoot(self) -> Descriptor:
        return Descriptor(os.open(self.root, FOLDER))

    def make(self, name: bytes, folder: str = "") -> str:
        path = os.path.join(self.root, folder, os.fsdecode(name))
        with open(path, "w") as file:
            file.write("half")
        return path

    def sweep(self, isStart: bool = False, later: float = 0) -> int:
        return self.sweeper.sweep(isStart, time.time() + later)

    def test_ownLeftoversGoAtTheStart(self):
        own = self.make(temporaryName("node-a", "0123"), "d/e")
        others = [
            self.make(temporaryName("node-b", "0123")),
            self.make(temporaryName("node-a-b", "0123")),
            self.make(temporaryName("node", "0123")),
            self.make(partialName("alice", b"x"), "d"),
            self.make(b"file", "d"),
        ]
        self.assertEqual(self.sweep(), 0)
        self.assertEqual(self.sweep(isStart=True), 1)
        self.assertFalse(os.path.exists(own))
        self.assertTrue(all(map(os.path.exists, others)))

    def test_oldLeftoversGoAlways(self):
        leftovers = [
            self.make(temporaryName("node-b", "0123"), "d"),
            self.make(partialName("alice", b"x"), "d/e"),
        ]
        file = self.make(b"file")
        self.assertEqual(self.sweep(later=90), 0)
        self.assertEqual(self.sweep(later=110), 2)
        self.assertFalse(any(map(os.path.exists, leftovers)))
        self.assertTrue(os.path.exists(file))

    def test_ageIsNotWhatAClientSets(self):
        path = self.make(partialName("alice", b"x"))
        os.utime(path, (0, 0))
        self.assertEqual(self.sweep(), 0)
        os.utime(path, (2**31, 2**31))
        self.assertEqual(self.sweep(later=110), 1)

    def test_whatIsBeingWrittenStays(self):
        for name in (temporaryName("node-a", "0123"), partialName("alice", b"x")):
            path = self.make(name)
            with open(path, "a") as writing:
                fcntl.flock(writing, fcntl.LOCK_EX)
                self.assertEqual(self.sweep(isStart=True, later=1000), 0)
            self.assertEqual(self.sweep(isStart=True, later=1000), 1)

    def test_linksAreNotFollowed(self):
        outside = self.mktemp()
        os.mkdir(outside)
        path = os.path.join(outside, os.fsdecode(partialName("alice", b"x")))
        with open(path, "w"):
            pass
        os.symlink(os.path.abspath(outside), os.path.join(self.root, "link"))
        os.symlink(os.path.abspath(path), os.path.join(self.root, os.fsdecode(partialName("alice", b"y"))))
        os.mkdir(os.path.join(self.root, os.fsdecode(partialName("alice", b"z"))))
        self.assertEqual(self.sweep(later=1000), 0)
        self.assertTrue(os.path.exists(path))

    def test_deepFoldersNeedNoDescriptors(self):
        os.makedirs(os.path.join(self.root, *["x"] * 500))
        self.make(partialName("alice", b"x"), "/".join(["x"] * 500))
        before = len(os.listdir("/proc/self/fd"))
        self.assertEqual(self.sweep(later=1000), 1)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_threadSweepsAndStops(self):
        path = self.make(temporaryName("node-a", "0123"))
        self.sweeper.start()
        end = time.monotonic() + 10
        while os.path.exists(path) and time.monotonic() < end:
            time.sleep(0.01)
        self.sweeper.stop()
        self.sweeper.join()
        self.assertFalse(os.path.exists(path))
        self.assertFalse(self.sweeper._thread.is_alive())

    def test_threadWaitsForAMissingStorage(self):
        tries = []

        def openRoot() -> Descriptor:
            tries.append(1)
            if len(tries) < 3:
                raise StorageMissing
            return self.openRoot()

        sweeper = Sweeper("node-a", openRoot, KernelOpener(), lambda: 100, retrySeconds=0.01)
        path = self.make(temporaryName("node-a", "0123"))
        sweeper.start()
        end = time.monotonic() + 10
        while os.path.exists(path) and time.monotonic() < end:
            time.sleep(0.01)
        sweeper.stop()
        sweeper.join()
        self.assertFalse(os.path.exists(path))
        self.assertEqual(len(tries), 3)
