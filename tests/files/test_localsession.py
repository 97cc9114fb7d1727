"""Tests of :mod:`cftpcluster.files.local`: what is on the disk in the end, and what overlaps."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import stat as modes
import time
from typing import Any

from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from cftpcluster.errors import (
    AlreadyExists,
    Closed,
    FileSystemError,
    NotFound,
    OutOfSpace,
    PermissionDenied,
    StorageFailed,
)
from cftpcluster.files._descriptors import Descriptor, translated
from cftpcluster.files._localfile import copyRange
from cftpcluster.files.mounts import Mounts
from cftpcluster.interfaces import IHasDescriptor, ILinks, ISelective, ISessionFiles
from cftpcluster.testing.files import read, stats, write
from cftpcluster.testing.processes import waitFor
from cftpcluster.testing.threads import HeldPool
from cftpcluster.vocabulary import Attributes, Kind, OpenMode

from .localbackends import LocalMixin, newToken


@contextlib.contextmanager
def fileLimit(size: int):
    """No file grows beyond ``size`` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class DiskTests(LocalMixin, SynchronousTestCase):
    """What is on the disk in the end."""

    def setUp(self) -> None:
        self.backend = self.makeBackend(fileMode="0604", directoryMode="0705")
        self.files = self.backend.fileSystem("alice", "alice", True)

    def open(self, name: str, mode: OpenMode = OpenMode.replace, data: bytes = b"") -> Any:
        opened = self.result(self.files.open((name,), mode))
        if data:
            self.result(opened.write(0, data))
        return opened

    def test_modesAreThoseOfTheBackend(self):
        before = os.umask(0o077)
        try:
            self.result(write(self.files, "/a", b""))
            self.result(self.files.makeDirectory(("d",)))
            self.result(write(self.backend.fileSystem("bob/in", "bob", False), "/b", b""))
        finally:
            os.umask(before)
        folders = ("alice/d", "bob", "bob/in")
        for name in (*folders, "alice/a", "bob/in/b"):
            mode = 0o705 if name in folders else 0o604
            self.assertEqual(os.stat(self.disk(name)).st_mode & 0o777, mode, name)

    def test_groupsOfFoldersAreInherited(self):
        self.result(self.files.stat(()))
        os.chmod(self.disk("alice"), 0o2755)
        self.result(self.files.makeDirectory(("d",)))
        self.assertTrue(os.stat(self.disk("alice", "d")).st_mode & modes.S_ISGID)
        self.result(self.files.setAttributes(("d",), Attributes(mode=0o700)))
        self.assertTrue(os.stat(self.disk("alice", "d")).st_mode & modes.S_ISGID)

    def test_uploadLiesBesideItsTarget(self):
        opened = self.open("a", data=b"1")
        self.assertEqual(len(os.listdir(self.disk("alice"))), 1)
        self.assertTrue(os.listdir(self.disk("alice"))[0].startswith(".cftpcluster-part-r-"))
        self.result(opened.commit())
        self.assertEqual(os.listdir(self.disk("alice")), ["a"])
        opened = self.open("a", data=b"2")
        self.assertIn(".cftpcluster-part-t-node-a-", max(os.listdir(self.disk("alice")), key=len))
        self.result(opened.abort(keep=True))
        self.assertEqual(os.listdir(self.disk("alice")), ["a"])

    def test_nothingIsLeftOfWhatEnded(self):
        self.result(write(self.files, "/old", b"1"))
        for end in ("commit", "abort", "remove", "rename", "close"):
            opened, replacing = self.open("a", data=b"1"), self.open("old", data=b"2")
            if end == "remove":
                self.result(self.files.remove(("a",)))
            if end == "rename":
                self.result(self.files.rename(("a",), ("b",), False))
            if end == "close":
                self.result(ISessionFiles(self.files).close())
                self.files = self.backend.fileSystem("alice", "alice", True)
                self.result(self.files.remove(("a",)))
            else:
                self.result(replacing.abort(keep=False))
                self.result(opened.abort(keep=False) if end in {"abort", "rename"} else opened.commit())
            self.assertEqual(set(os.listdir(self.disk("alice"))), {"old", "a"} if end == "commit" else {"old"}, end)
            if end == "commit":
                self.result(self.files.remove(("a",)))

    def test_descriptorsAreClosed(self):
        self.result(self.files.stat(()))
        before = len(os.listdir("/proc/self/fd"))
        self.test_nothingIsLeftOfWhatEnded()
        self.result(self.files.makeDirectory(("d",)))
        self.result(stats(self.files))
        listing = self.result(self.files.list(()))
        listing.close()
        self.result(ISessionFiles(self.files).close())
        self.files = None
        self.assertLessEqual(len(os.listdir("/proc/self/fd")), before)

    def test_aClosedSessionHoldsNothingWhoeverStillKnowsIt(self):
        """Errors do, until the circles are found in which they refer to themselves."""
        before = self.opened()
        files = self.backend.fileSystem("alice", "alice", True)
        failed = self.failureResultOf(files.stat(("none",)), NotFound)
        self.assertEqual(self.opened(), before + 1)
        self.result(ISessionFiles(files).close())
        self.assertEqual(self.opened(), before)
        self.assertTrue(failed.tb)

    def opened(self) -> int:
        """How many files and folders of this very test are open: other tests leave some until circles are found."""
        count = 0
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                count += os.readlink(f"/proc/self/fd/{number}").startswith(os.path.realpath(self.disk()))
        return count

    def test_specialFilesAreRefusedAtOnce(self):
        self.result(self.files.stat(()))
        os.mkfifo(self.disk("alice", "fifo"))
        with socket.socket(socket.AF_UNIX) as listening:
            # a path of the test is longer than an address may be
            folder = os.open(self.disk("alice"), os.O_PATH)
            listening.bind(f"/proc/self/fd/{folder}/socket")
            os.close(folder)
        names = ["fifo", "socket"]
        with contextlib.suppress(PermissionError):
            os.mknod(self.disk("alice", "device"), 0o666 | modes.S_IFCHR, os.makedev(1, 3))
            names.append("device")
        found = self.result(stats(self.files))
        for name in names:
            self.assertIs(found[name].kind, Kind.other)
            for mode in (OpenMode.read, OpenMode.inPlace, OpenMode.replace):
                self.failureResultOf(self.files.open((name,), mode), PermissionDenied)
            self.failureResultOf(self.files.open((name,), OpenMode.create), AlreadyExists)
            for attributes in (Attributes(mode=0o777), Attributes(size=0)):
                self.failureResultOf(self.files.setAttributes((name,), attributes), PermissionDenied)
            self.failureResultOf(self.files.copy((name,), ("x",), False), PermissionDenied)
            self.result(self.files.remove((name,)))

    def test_failedWriteIsNeverCommitted(self):
        with fileLimit(10):
            opened = self.open("a", data=b"12345")
            self.failureResultOf(opened.write(20, b"beyond"), OutOfSpace)
            self.failureResultOf(opened.write(7, b"89012345"), OutOfSpace)
            self.failureResultOf(opened.commit(), OutOfSpace)
        self.assertEqual(self.result(stats(self.files)), {})
        # only what is known to be whole is continued
        self.assertEqual(self.result(self.files.stat(("a",))).size, 7)

    def test_partialIsFoundByAnotherNode(self):
        self.result(self.open("a", data=b"half").abort(keep=True))
        other = self.build(root="files").fileSystem("alice", "alice", True)
        self.assertEqual(self.result(other.stat(("a",))).size, 4)
        self.result(self.result(other.open(("a",), OpenMode.resume)).commit())
        self.assertEqual(self.result(read(self.files, "/a")), b"half")

    def test_reservedNamesAreNotListed(self):
        self.result(self.files.stat(()))
        for name in (".cftpcluster-storage", ".cftpcluster-part-x", ".CFTPCLUSTER-Part-y", ".other"):
            with open(self.disk("alice", name), "w"):
                pass
        self.assertEqual(list(self.result(stats(self.files))), [".other"])

    def test_whatNobodyWantsToKnowIsNotLookedAt(self):
        for name in ("a", "b", "c"):
            self.result(self.open(name, data=b"1").commit())
        self.result(self.files.makeDirectory(("d",)))
        self.result(ILinks(self.files).makeSymbolicLink(("e",), "/a"))
        asked: dict[str, bool | None] = {}

        def wanted(name: str, isFolder: bool | None) -> bool:
            asked[name] = isFolder
            return name != "b"

        # as a whole tree has it, too
        for files in (self.files, Mounts({(): self.files})):
            listing = self.result(files.list(()))
            ISelective(listing).only(wanted)
            found = []
            while batch := self.result(listing.next()):
                found += [entry.name for entry in batch]
            self.assertEqual(sorted(found), ["a", "c", "d", "e"])
            self.assertEqual(asked, {"a": False, "b": False, "c": False, "d": True, "e": None})

    def test_namesOfTheDiskAreBytes(self):
        self.result(self.files.stat(()))
        with open(os.path.join(os.fsencode(self.disk("alice")), b"caf\xe9"), "w"):
            pass
        self.assertEqual(list(self.result(stats(self.files))), ["caf\udce9"])
        self.result(self.files.remove(("caf\udce9",)))

    def test_descriptorIsOfTheFile(self):
        self.result(write(self.files, "/a", b"12345"))
        opened = self.open("a", OpenMode.read)
        verifyObject(IHasDescriptor, opened)
        self.assertEqual(os.pread(opened.descriptor(), 9, 0), b"12345")
        self.result(opened.commit())
        self.assertRaises(Closed, opened.descriptor)

    def test_anyOffsetIsAnswered(self):
        self.result(write(self.files, "/a", b"12345"))
        opened = self.open("a", OpenMode.inPlace)
        for offset in (2**63 - 1, 2**63, 2**64 - 1):
            self.assertEqual(self.result(opened.read(offset, 10)), b"")
            self.failureResultOf(opened.write(offset, b"x"), FileSystemError)
            self.failureResultOf(opened.truncate(offset), FileSystemError)
        self.assertEqual(self.result(opened.read(0, 0)), b"")
        self.assertEqual(self.result(opened.read(0, 2**22)), b"12345")
        self.failureResultOf(self.files.setAttributes(("a",), Attributes(modified=1e300)), FileSystemError)

    def test_readsFromEveryKindOfStorage(self):
        # a storage in memory does not know reads that do not wait
        if not os.path.isdir("/dev/shm"):
            raise SkipTest("no /dev/shm")
        root = f"/dev/shm/cftpcluster-test-{os.getpid()}-{newToken()}"
        os.mkdir(root)
        try:
            files = self.build(root=root).fileSystem("", "alice", True)
            self.result(write(files, "/a", b"12345"))
            self.assertEqual(self.result(read(files, "/a")), b"12345")
            self.result(files.remove(("a",)))
        finally:
            os.rmdir(root)

    def test_copiesWhereTheKernelDoesNot(self):
        source = os.memfd_create("source")
        with open(self.mktemp(), "w+b") as target:
            os.write(source, bytes(range(256)) * 8192)
            offset = 0
            while copied := copyRange(Descriptor(os.dup(source)), target.fileno(), offset, offset, 2**62):
                offset += copied
            self.assertEqual(target.read(), bytes(range(256)) * 8192)
        os.close(source)

    def test_brokenCopyLeavesNothing(self):
        self.result(write(self.files, "/a", bytes(1000)))
        with fileLimit(100):
            self.failureResultOf(self.files.copy(("a",), ("b",), False), OutOfSpace)
        self.assertEqual(os.listdir(self.disk("alice")), ["a"])

    def test_otherErrorsOfTheDiskAreFailures(self):
        def fail():
            raise OSError(errno.EIO, "input/output error", "/secret/path")

        failure = self.assertRaises(StorageFailed, translated, fail)
        self.assertNotIn("secret", str(failure))


class OrderTests(LocalMixin, SynchronousTestCase):
    """What overlaps, piece by piece."""

    def setUp(self) -> None:
        self.pool = HeldPool()
        self.backend = self.makeBackend(self.pool)
        self.files = self.backend.fileSystem("alice", "alice", True)

    def ran(self, result: Any) -> Any:
        self.pool.runAll()
        return self.successResultOf(result)

    def upload(self, name: str, data: bytes) -> Any:
        opened = self.ran(self.files.open((name,), OpenMode.replace))
        self.ran(opened.write(0, data))
        return opened

    def test_operationsWaitForACommitOfTheirPath(self):
        committed = self.upload("a", b"1").commit()
        renamed = self.files.rename(("a",), ("b",), False)
        opened = self.files.open(("a",), OpenMode.read)
        other = self.files.makeDirectory(("d",))
        self.assertEqual(len(self.pool.held), 2)
        self.pool.runNext()
        self.successResultOf(committed)
        self.pool.runAll()
        self.successResultOf(renamed)
        self.successResultOf(other)
        self.failureResultOf(opened, NotFound)

    def test_uploadRenamedWhileItsWritesRunLandsUnderItsNewName(self):
        opened = self.upload("a", b"1")
        written = opened.write(1, b"2")
        renamed = self.files.rename(("a",), ("b",), False)
        committed = opened.commit()
        self.pool.runAll()
        for result in (written, renamed, committed):
            self.successResultOf(result)
        self.assertEqual(os.listdir(self.disk("alice")), ["b"])

    def test_commitWaitsForWrites(self):
        opened = self.upload("a", b"1")
        written = opened.write(1, b"2")
        committed = opened.commit()
        self.assertEqual(len(self.pool.held), 1)
        self.failureResultOf(opened.write(2, b"3"), Closed)
        self.pool.runNext()
        self.successResultOf(written)
        self.assertNoResult(committed)
        self.pool.runAll()
        self.successResultOf(committed)
        with open(self.disk("alice", "a")) as file:
            self.assertEqual(file.read(), "12")

    def test_descriptorStaysWhileAReadRuns(self):
        self.ran(self.upload("a", bytes(3_000_000)).commit())
        opened = self.ran(self.files.open(("a",), OpenMode.read))
        # more than is read at once from the kernel's cache
        reading = opened.read(0, 2_000_000)
        closed = opened.commit()
        self.assertEqual(len(self.pool.held), 1)
        self.pool.runNext()
        self.assertEqual(len(self.successResultOf(reading)), 2_000_000)
        self.ran(closed)

    def test_cachedBytesNeedNoThread(self):
        self.ran(self.upload("a", b"12345").commit())
        opened = self.ran(self.files.open(("a",), OpenMode.read))
        first = opened.read(1, 2)
        if not opened._inlineReads:
            raise SkipTest("this storage does not know reads that do not wait")
        self.assertEqual(self.successResultOf(first), b"23")
        self.assertEqual(self.successResultOf(opened.read(3, 100)), b"45")
        self.assertEqual(self.successResultOf(opened.read(5, 100)), b"")

    def test_whatFollowsIsFetchedBeforeItIsAskedFor(self):
        self.ran(self.upload("a", bytes(3_000_000)).commit())
        opened = self.ran(self.files.open(("a",), OpenMode.read))
        number = opened.file.number

        def isCached(offset: int) -> bool:
            with contextlib.suppress(BlockingIOError):
                return os.preadv(number, [bytearray(1000)], offset, os.RWF_NOWAIT) == 1000
            return False

        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            if isCached(2_900_000):
                raise SkipTest("this storage forgets nothing")
        except OSError:
            raise SkipTest("this storage does not know reads that do not wait") from None
        self.assertEqual(len(self.ran(opened.read(0, 1000))), 1000)
        waitFor("the rest is there", lambda: isCached(2_900_000))

    def test_uploadOpenedAtTheEndOfTheSessionIsKept(self):
        opening = self.files.open(("a",), OpenMode.create)
        closing = ISessionFiles(self.files).close()
        self.pool.runAll()
        self.failureResultOf(opening, Closed)
        self.successResultOf(closing)
        again = self.backend.fileSystem("alice", "alice", True)
        self.ran(self.ran(again.open(("a",), OpenMode.resume)).commit())

    def test_endOfTheSessionWaitsForWrites(self):
        opened = self.upload("a", b"1")
        written = opened.write(1, b"2")
        closed = ISessionFiles(self.files).close()
        self.assertNoResult(closed)
        self.pool.runAll()
        self.successResultOf(written)
        self.successResultOf(closed)
        self.assertEqual(self.ran(self.backend.fileSystem("alice", "alice", True).stat(("a",))).size, 2)

    def test_closedListingLetsGo(self):
        self.ran(self.files.makeDirectory(("d",)))
        before = len(os.listdir("/proc/self/fd"))
        listing = self.ran(self.files.list(()))
        batch = listing.next()
        listing.close()
        self.pool.runAll()
        self.assertEqual(self.successResultOf(batch), [])
        self.assertEqual(self.ran(listing.next()), [])
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class ReactorTests(LocalMixin, TestCase):
    """Nothing holds the reactor up."""

    async def test_hugeFolderHoldsNobodyUp(self):
        from twisted.internet import reactor

        pool = ThreadPool(1, 2)
        pool.start()
        self.addCleanup(pool.stop)
        backend = self.makeBackend(pool, reactor)
        files = backend.fileSystem("alice", "alice", True)
        await files.stat(())
        for number in range(20_000):
            os.close(os.open(self.disk("alice", f"n{number}"), os.O_WRONLY | os.O_CREAT))
        gaps: list[float] = []
        last = [time.monotonic()]

        def tick() -> None:
            now = time.monotonic()
            gaps.append(now - last[0])
            last[0] = now
            ticking[0] = reactor.callLater(0.001, tick)

        ticking = [reactor.callLater(0, tick)]
        listing = await files.list(())
        begin, count = time.monotonic(), 0
        while entries := await listing.next():
            count += len(entries)
            if count == len(entries):
                self.assertLess(time.monotonic() - begin, 0.5)
        ticking[0].cancel()
        self.assertEqual(count, 20_000)
        # 50 ms on a machine that does nothing else
        self.assertLess(max(gaps), 0.2)
