"""Tests of :mod:`cftpcluster.files.metered` and what it counts with."""

from __future__ import annotations

import os
from collections.abc import Awaitable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from cftpcluster.config.document import Quota
from cftpcluster.errors import (
    AlreadyExists,
    Closed,
    FileSystemError,
    OutOfSpace,
    QuotaExceeded,
)
from cftpcluster.files.allowance import Allowance, Growing, Key
from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.metered import Metered
from cftpcluster.files.mounts import Mounts
from cftpcluster.files.policy import Permitted
from cftpcluster.interfaces import (
    IBackend,
    IFile,
    IFileSystem,
    ILinks,
    IServerSideCopy,
    ISessionFiles,
    ISizedUpload,
    ISpaceReport,
    IUsageReport,
)
from cftpcluster.testing.files import FileSystemContract
from cftpcluster.testing.threads import HeldPool
from cftpcluster.vocabulary import Attributes, OpenMode, Permission, Usage, VirtualPath

from .localbackends import LocalMixin

EXAMPLES = int(os.environ.get("METERED_EXAMPLES", "15"))

LARGE = Quota(bytes=2**40, files=10**6)


def newAllowance(quota: Quota = LARGE) -> Allowance:
    return Allowance("alice", lambda: quota, lambda _: None, lambda _: None, isKnown=True)


def metered(
    backend: IBackend, allowance: Allowance | None, owner: str = "alice", atomic: bool = True, folder: str = "home"
) -> Metered:
    path = tuple(name for name in folder.split("/") if name)
    return Metered(backend.fileSystem(folder, owner, atomic), atomic, Key("files", path, False), lambda: allowance)


def held(allowance: Allowance, found: Usage) -> Usage:
    """What should count where so much lies on the storage, uploads under way included."""
    for growing in allowance.all():
        if growing.isGone:
            found = found.plus(Usage(growing.cost(growing.size), 0))
        elif growing.isUpload:
            found = found.minus(growing.free)
    return found


class MemoryContractTests(FileSystemContract, TestCase):
    """A metered file system is one like any other."""

    def setUp(self) -> None:
        self.backend: Any = MemoryBackend(Clock(), 2**24)
        self.allowances: dict[str, Allowance] = {}

    def makeSession(self, owner: str = "alice", atomicUploads: bool = True) -> IFileSystem:
        allowance = self.allowances.setdefault(owner, newAllowance())
        inner = metered(self.backend, allowance, owner, atomicUploads)
        return Mounts({(): Permitted(inner, set(Permission))})


class LocalContractTests(LocalMixin, MemoryContractTests):
    def setUp(self) -> None:
        super().setUp()
        self.backend = self.makeBackend(fsync=False)


class UnmeteredContractTests(MemoryContractTests):
    """Without a quota, too."""

    def makeSession(self, owner: str = "alice", atomicUploads: bool = True) -> IFileSystem:
        return metered(self.backend, None, owner, atomicUploads)


NAMES = st.sampled_from([("a",), ("b",), ("d", "a"), ("d", "b"), ("e", "a")])
FOLDERS = st.sampled_from([("d",), ("e",)])
SIZES = st.integers(0, 300)


class Machine(RuleBasedStateMachine):
    """Random operations of two sessions; what is counted is what lies there, after each of them."""

    case: MachineTests
    quota = Quota(bytes=1500, files=6)
    atomic = True
    comparesLive = True
    links = False
    """Whether files get several names; then none is written in place, which by two names at once nobody notices."""

    def __init__(self) -> None:
        super().__init__()
        self.backend = self.case.newBackend()
        self.allowance = newAllowance(self.quota)
        self.sessions = [metered(self.backend, self.allowance, atomic=self.atomic) for _ in range(2)]
        self.looker: Any = self.backend.fileSystem("home", "nobody", True)
        self.opened: list[IFile] = []

    def do(self, awaitable: Any) -> Any:
        made = awaitable if isinstance(awaitable, Deferred) else Deferred.fromCoroutine(awaitable)
        outcome: list[Any] = []
        made.addBoth(outcome.append)
        assert outcome, "it never ended"
        if not hasattr(outcome[0], "check"):
            return outcome[0]
        outcome[0].trap(FileSystemError)
        return None

    @rule(session=st.integers(0, 1), path=NAMES, mode=st.sampled_from(list(OpenMode)))
    def openFile(self, session: int, path: VirtualPath, mode: OpenMode) -> None:
        if self.links and mode is OpenMode.inPlace:
            return
        file = self.do(self.sessions[session].open(path, mode))
        if file is not None:
            self.opened.append(file)

    def chosen(self, index: int) -> IFile:
        return self.opened[index % len(self.opened)]

    @precondition(lambda self: self.opened)
    @rule(index=st.integers(0, 9), offset=SIZES, size=st.integers(1, 400))
    def write(self, index: int, offset: int, size: int) -> None:
        self.do(self.chosen(index).write(offset, bytes(size)))

    @precondition(lambda self: self.opened)
    @rule(index=st.integers(0, 9), size=SIZES)
    def truncate(self, index: int, size: int) -> None:
        self.do(self.chosen(index).truncate(size))

    @precondition(lambda self: self.opened)
    @rule(index=st.integers(0, 9))
    def commit(self, index: int) -> None:
        file = self.chosen(index)
        self.opened.remove(file)
        self.do(file.commit())

    @precondition(lambda self: self.opened)
    @rule(index=st.integers(0, 9), keep=st.booleans())
    def abort(self, index: int, keep: bool) -> None:
        file = self.chosen(index)
        self.opened.remove(file)
        self.do(file.abort(keep))

    @rule(session=st.integers(0, 1), path=NAMES)
    def remove(self, session: int, path: VirtualPath) -> None:
        self.do(self.sessions[session].remove(path))

    @rule(session=st.integers(0, 1), old=NAMES | FOLDERS, new=NAMES | FOLDERS, overwrite=st.booleans())
    def rename(self, session: int, old: VirtualPath, new: VirtualPath, overwrite: bool) -> None:
        self.do(self.sessions[session].rename(old, new, overwrite))

    @rule(session=st.integers(0, 1), old=NAMES, new=NAMES, overwrite=st.booleans())
    def copy(self, session: int, old: VirtualPath, new: VirtualPath, overwrite: bool) -> None:
        self.do(IServerSideCopy(self.sessions[session]).copy(old, new, overwrite))

    @rule(session=st.integers(0, 1), path=NAMES, existing=NAMES)
    def link(self, session: int, path: VirtualPath, existing: VirtualPath) -> None:
        if self.links:
            self.do(ILinks(self.sessions[session]).makeHardLink(path, existing))

    @rule(session=st.integers(0, 1), path=NAMES, size=SIZES)
    def setSize(self, session: int, path: VirtualPath, size: int) -> None:
        self.do(self.sessions[session].setAttributes(path, Attributes(size=size)))

    @rule(session=st.integers(0, 1), path=FOLDERS)
    def makeFolder(self, session: int, path: VirtualPath) -> None:
        self.do(self.sessions[session].makeDirectory(path))

    @rule(session=st.integers(0, 1), path=FOLDERS)
    def removeFolder(self, session: int, path: VirtualPath) -> None:
        self.do(self.sessions[session].removeDirectory(path))

    @rule(session=st.integers(0, 1))
    def endSession(self, session: int) -> None:
        self.do(ISessionFiles(self.sessions[session]).close())
        self.sessions[session] = metered(self.backend, self.allowance, atomic=self.atomic)

    def real(self) -> Usage:
        found = self.do(IUsageReport(self.looker).usage(()))
        assert isinstance(found, Usage)
        return found

    @invariant()
    def isExact(self) -> None:
        if self.comparesLive:
            assert self.allowance.used == held(self.allowance, self.real()), (self.allowance.used, self.real())
        assert self.allowance.used.bytes <= self.quota.bytes
        assert self.allowance.used.files <= self.quota.files

    def teardown(self) -> None:
        for session in self.sessions:
            self.do(session.close())
        assert self.allowance.used == self.real(), (self.allowance.used, self.real())
        assert list(self.allowance.all()) == []
        super().teardown()


class MachineTests(LocalMixin, SynchronousTestCase):
    def newBackend(self) -> Any:
        return self.makeBackend(fsync=False)

    def machine(self, **attributes: Any) -> None:
        made = type("Made", (Machine,), {"case": self, **attributes})
        run_state_machine_as_test(made, settings=settings(max_examples=EXAMPLES, stateful_step_count=30, deadline=None))

    def test_whateverIsDoneTheCountIsExact(self) -> None:
        self.machine()

    def test_alsoWhereUploadsAreSeenAtOnce(self) -> None:
        self.machine(atomic=False)

    def test_alsoWithoutPressure(self) -> None:
        self.machine(quota=LARGE)

    def test_alsoWhereFilesHaveSeveralNames(self) -> None:
        self.machine(links=True)


class MemoryMachineTests(MachineTests):
    """The same in memory, which does not tell of all that is under way."""

    def newBackend(self) -> Any:
        return MemoryBackend(Clock(), 2**40)

    def machine(self, **attributes: Any) -> None:
        super().machine(comparesLive=False, **attributes)


class MeteredTests(LocalMixin, SynchronousTestCase):
    def setUp(self) -> None:
        self.backend = self.makeBackend(fsync=False)
        self.quota = Quota(bytes=1000, files=5)
        self.allowance = Allowance("alice", lambda: self.quota, lambda _: None, self._noteRefusal, isKnown=True)
        self.refusals = 0
        self.files = metered(self.backend, self.allowance)

    def _noteRefusal(self, allowance: Allowance) -> None:
        self.refusals += 1

    # --- helpers

    def session(self, **options: Any) -> Metered:
        return metered(self.backend, self.allowance, **options)

    def open(self, path: str, mode: OpenMode = OpenMode.replace, size: int = 0, files: Metered | None = None) -> IFile:
        file: IFile = self.result((files or self.files).open(tuple(path.split("/")), mode))
        if size:
            self.result(file.write(0, bytes(size)))
        return file

    def upload(self, path: str, size: int, mode: OpenMode = OpenMode.replace) -> None:
        self.result(self.open(path, mode, size).commit())

    def refused(self, operation: Awaitable[Any], error: type[FileSystemError] = QuotaExceeded) -> None:
        made = operation if isinstance(operation, Deferred) else Deferred.fromCoroutine(operation)  # type: ignore[arg-type]
        self.failureResultOf(made, error)

    def real(self) -> Usage:
        return self.result(IUsageReport(self.backend.fileSystem("home", "nobody", True)).usage(()))

    def used(self) -> tuple[int, int]:
        """What counts; it must be so on the disk."""
        self.assertEqual(self.allowance.used, held(self.allowance, self.real()))
        return self.allowance.used.bytes, self.allowance.used.files

    # --- one by one

    def test_interfaces(self) -> None:
        verifyObject(IFileSystem, self.files)
        file = self.open("f")
        verifyObject(IFile, file)
        verifyObject(ISizedUpload, ISizedUpload(file))

    def test_theLastByteFitsAndTheNextDoesNot(self) -> None:
        file = self.open("f", size=1000)
        self.refused(file.write(1000, b"x"))
        self.assertEqual((self.used(), self.refusals), ((1000, 1), 1))
        self.result(file.abort(keep=False))
        self.assertEqual(self.used(), (0, 0))

    def test_whatWasRefusedIsNeverCommitted(self) -> None:
        file = self.open("f", size=900)
        self.refused(file.write(900, bytes(200)))
        self.refused(file.commit())
        self.assertEqual((self.used(), os.listdir(self.disk("home"))), ((0, 0), []))

    def test_holesCount(self) -> None:
        file = self.open("f")
        self.refused(file.write(10**6, b"x"))
        self.result(file.write(900, b"x"))
        self.assertEqual(self.used(), (901, 1))
        self.refused(file.truncate(1001))
        self.result(file.truncate(1000))
        self.result(file.truncate(10))
        self.assertEqual(self.used(), (10, 1))

    def test_numberOfFiles(self) -> None:
        for name in "abcde":
            self.upload(name, 1)
        self.refused(self.files.open(("f",), OpenMode.create))
        self.upload("a", 2)
        self.result(self.files.remove(("b",)))
        self.upload("f", 1)
        self.assertEqual(self.used(), (6, 5))

    def test_aFullQuotaLetsFilesBeReplaced(self) -> None:
        self.upload("f", 1000)
        file = self.open("f", size=1000)
        self.assertEqual(self.used(), (1000, 1))
        second = self.open("f")
        self.refused(second.write(0, b"x"))
        self.refused(second.commit())
        self.result(file.commit())
        self.upload("f", 400)
        self.assertEqual(self.used(), (400, 1))

    def test_theCreditGoesWithWhatWasToBeReplaced(self) -> None:
        self.upload("f", 600)
        file = self.open("f", size=600)
        self.result(self.session().remove(("f",)))
        self.assertEqual(self.used(), (600, 1))
        other = self.open("g")
        self.refused(other.write(0, bytes(500)))
        self.result(other.abort(keep=False))
        self.result(file.commit())
        self.assertEqual(self.used(), (600, 1))

    def test_keptPartialsCountAndCanBeContinued(self) -> None:
        self.result(self.open("f", size=600).abort(keep=True))
        self.assertEqual(self.used(), (600, 1))
        file = self.open("f", OpenMode.resume)
        self.refused(file.write(600, bytes(500)))
        self.result(file.abort(keep=True))
        file = self.open("f", OpenMode.resume)
        self.result(file.write(600, bytes(400)))
        self.result(file.commit())
        self.assertEqual(self.used(), (1000, 1))

    def test_aPartialThatIsBegunAnewIsGivenBack(self) -> None:
        self.result(self.open("f", size=600).abort(keep=True))
        self.upload("f", 100)
        self.assertEqual(self.used(), (100, 1))

    def test_foldersTakePartialsAlong(self) -> None:
        self.result(self.files.makeDirectory(("d",)))
        self.result(self.open("d/f", size=600).abort(keep=True))
        self.result(self.files.removeDirectory(("d",)))
        self.assertEqual(self.used(), (0, 0))

    def test_200AbortsLeaveNothing(self) -> None:
        self.upload("there", 100)
        for turn in range(200):
            file = self.open("there" if turn % 2 else "new", size=turn * 4 + 1)
            self.result(file.abort(keep=False))
        self.assertEqual(self.used(), (100, 1))

    def test_overwritingByRenameGivesBack(self) -> None:
        self.upload("a", 300)
        self.upload("b", 200)
        self.result(self.files.rename(("a",), ("b",), True))
        self.assertEqual(self.used(), (300, 1))
        self.refused(self.files.rename(("c",), ("b",), True), FileSystemError)
        self.assertEqual(self.used(), (300, 1))

    def test_uploadsThatAreRenamedCountOn(self) -> None:
        file = self.open("a", size=300)
        self.upload("b", 200)
        self.result(self.files.rename(("a",), ("b",), True))
        self.assertEqual(self.used(), (500, 2))
        self.result(file.commit())
        self.assertEqual(self.used(), (300, 1))

    def test_copiesCount(self) -> None:
        self.upload("a", 400)
        copying = IServerSideCopy(self.files)
        self.result(copying.copy(("a",), ("b",), False))
        self.assertEqual(self.used(), (800, 2))
        self.refused(copying.copy(("a",), ("c",), False))
        self.result(copying.copy(("a",), ("b",), True))
        self.assertEqual(self.used(), (800, 2))
        self.result(self.files.setAttributes(("b",), Attributes(size=100)))
        self.refused(copying.copy(("a",), ("b",), False), AlreadyExists)
        self.assertEqual(self.used(), (500, 2))

    def test_furtherNamesOfAFileCountOnce(self) -> None:
        self.upload("a", 400)
        self.result(ILinks(self.files).makeHardLink(("b",), ("a",)))
        self.assertEqual(self.used(), (400, 1))
        self.result(self.files.remove(("a",)))
        self.assertEqual(self.used(), (400, 1))
        self.result(self.files.remove(("b",)))
        self.assertEqual(self.used(), (0, 0))

    def test_writingInPlaceByTwoHandles(self) -> None:
        self.upload("a", 100)
        one, two = (self.open("a", OpenMode.inPlace, files=self.session()) for _ in range(2))
        self.result(one.write(0, bytes(300)))
        self.result(two.write(200, bytes(300)))
        self.assertEqual(self.used(), (500, 1))
        self.refused(one.write(0, bytes(1001)))
        self.result(two.commit())
        self.result(one.abort(keep=False))
        self.assertEqual(self.used(), (500, 1))

    def test_aFileThatWasRemovedWhileItIsWritten(self) -> None:
        self.upload("a", 100)
        file = self.open("a", OpenMode.inPlace)
        self.result(self.session().remove(("a",)))
        self.assertEqual(self.used(), (0, 0))
        self.result(file.write(0, bytes(700)))
        self.refused(self.open("b").write(0, bytes(500)))
        self.result(file.commit())
        self.assertEqual(self.used()[0], 0)

    def test_anUploadThatItsSessionRemoved(self) -> None:
        file = self.open("a", size=700)
        self.result(self.files.remove(("a",)))
        self.assertEqual(self.used(), (0, 0))
        self.result(file.write(700, bytes(200)))
        self.assertEqual(self.allowance.used.bytes, 200)
        self.result(file.commit())
        self.assertEqual(self.used(), (0, 0))

    def test_sizesAreSetWithinTheQuota(self) -> None:
        self.upload("a", 100)
        self.refused(self.files.setAttributes(("a",), Attributes(size=1001)))
        self.result(self.files.setAttributes(("a",), Attributes(size=900)))
        self.assertEqual(self.used(), (900, 1))
        self.result(self.files.setAttributes(("a",), Attributes(size=1)))
        self.assertEqual(self.used(), (1, 1))
        self.refused(self.files.setAttributes(("b",), Attributes(size=1)), FileSystemError)

    def test_whatDoesNotFitIsRefusedBeforeItComes(self) -> None:
        self.upload("a", 600)
        file = ISizedUpload(self.open("b"))
        file.expect(400)
        self.assertRaises(QuotaExceeded, file.expect, 401)
        ISizedUpload(self.open("a")).expect(1000)

    def test_roomIsThatOfTheQuotaWhereThatIsLess(self) -> None:
        self.upload("a", 600)
        space = self.result(ISpaceReport(self.files).space(()))
        self.assertEqual((space.totalBytes, space.freeBytes), (1000, 400))
        self.assertEqual((space.totalFiles, space.freeFiles), (5, 4))
        self.quota = Quota(bytes=2**62)
        space = self.result(ISpaceReport(self.files).space(()))
        plain = self.result(self.backend.fileSystem("home", "alice", True).space(()))
        self.assertEqual((space.totalBytes, space.totalFiles), (plain.totalBytes, plain.totalFiles))

    def test_anAllowanceThatShrinksRefusesMore(self) -> None:
        self.upload("a", 600)
        self.quota = Quota(bytes=500)
        file = self.open("b")
        self.refused(file.write(0, b"x"))
        self.result(self.files.setAttributes(("a",), Attributes(size=100)))
        self.result(file.write(0, b"x"))

    def test_writingWaitsUntilItIsKnownWhatThereIs(self) -> None:
        self.upload("a", 10)
        self.allowance.isKnown = False
        opening = self.files.open(("b",), OpenMode.create)
        self.assertNoResult(opening)
        there = self.open("a", OpenMode.inPlace)
        writing = there.write(0, bytes(500))
        self.assertNoResult(writing)
        self.result(there.write(0, bytes(10)))
        self.allowance.isKnown = True
        self.allowance.letGoOn()
        self.successResultOf(opening)
        self.successResultOf(writing)
        self.assertEqual(self.used(), (500, 2))

    def test_aClosedFileIsClosed(self) -> None:
        file = self.open("a", size=5)
        self.result(file.commit())
        self.refused(file.write(5, b"x"), Closed)
        self.refused(file.commit(), Closed)
        self.refused(file.abort(keep=False), Closed)
        self.assertEqual(self.used(), (5, 1))

    def test_overlappingMountsCountOnce(self) -> None:
        self.result(self.files.makeDirectory(("d",)))
        inner = self.session(folder="home/d")
        self.upload("d/f", 400)
        self.result(self.open("f", files=inner, size=300).commit())
        self.assertEqual(self.used(), (300, 1))

    def test_partialsOfOthersCountWhereTheyLie(self) -> None:
        other = self.backend.fileSystem("home", "bob", True)
        self.result(self.result(other.open(("f",), OpenMode.create)).abort(keep=True))
        self.assertEqual(self.real(), Usage(0, 1))

    def test_aFullDiskGivesBack(self) -> None:
        memory = MemoryBackend(Clock(), 300)
        files = metered(memory, self.allowance)
        file = self.open("f", files=files, size=100)
        self.refused(file.write(100, bytes(300)), OutOfSpace)
        self.result(file.abort(keep=True))
        self.assertEqual(self.allowance.used, self.result(memory.fileSystem("home", "nobody", True).usage(())))


WHO = st.integers(0, 2)
FEW = st.sampled_from([("a",), ("b",)])
UPLOADING = st.sampled_from([OpenMode.create, OpenMode.replace, OpenMode.resume])
STEPS: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    st.tuples(WHO, st.just("open"), FEW, UPLOADING),
    st.tuples(WHO, st.just("write"), SIZES, st.integers(1, 400)),
    st.tuples(WHO, st.just("commit")),
    st.tuples(WHO, st.just("abort"), st.booleans()),
    st.tuples(WHO, st.just("remove"), FEW),
    st.tuples(WHO, st.just("rename"), FEW, FEW, st.booleans()),
    st.tuples(WHO, st.just("run"), st.lists(st.integers(0, 9), min_size=1, max_size=8)),
)


class RaceTests(LocalMixin, SynchronousTestCase):
    """Sessions that are under way at the same time, their work in threads ending in any order."""

    def setUp(self) -> None:
        self.pool = HeldPool()
        self.backend = self.makeBackend(self.pool, fsync=False)

    def real(self) -> Usage:
        counting = IUsageReport(self.backend.fileSystem("home", "nobody", True)).usage(())
        self.pool.runAll()
        return self.successResultOf(counting)

    def test_50UploadsAtOnceStayWithinTheQuota(self) -> None:
        allowance = newAllowance(Quota(bytes=1000, files=30))
        done: list[bool] = []

        async def upload(number: int) -> None:
            files = metered(self.backend, allowance)
            file = await files.open((f"f{number}",), OpenMode.create)
            try:
                for piece in range(10):
                    await file.write(piece * 10, bytes(10))
                    assert allowance.used.bytes <= 1000
            except QuotaExceeded:
                await file.abort(keep=False)
                raise
            await file.commit()
            done.append(True)

        for number in range(50):
            _ = Deferred.fromCoroutine(upload(number)).addErrback(lambda failure: failure.trap(QuotaExceeded))
        self.pool.runAll()
        self.assertEqual(allowance.used, self.real())
        self.assertEqual(allowance.used, Usage(100 * len(done), len(done)))

    def test_50ReplacementsOfOneFileEndAsOne(self) -> None:
        allowance = newAllowance(Quota(bytes=1000, files=3))

        async def upload(size: int) -> None:
            files = metered(self.backend, allowance)
            file = await files.open(("f",), OpenMode.replace)
            try:
                await file.write(0, bytes(size))
            except QuotaExceeded:
                await file.abort(keep=False)
                raise
            await file.commit()

        for size in range(300, 350):
            _ = Deferred.fromCoroutine(upload(size)).addErrback(lambda failure: failure.trap(QuotaExceeded))
        self.pool.runAll()
        self.assertEqual(allowance.used, self.real())
        self.assertEqual(allowance.used.files, 1)

    @settings(max_examples=EXAMPLES * 4, deadline=None)
    @given(st.lists(STEPS, min_size=5, max_size=30))
    def test_inWhateverOrderTheCountIsExact(self, steps: list[tuple[Any, ...]]) -> None:
        self.setUp()
        allowance = newAllowance(Quota(bytes=2000, files=8))
        sessions = [metered(self.backend, allowance) for _ in range(3)]
        opened: list[IFile] = []
        under: list[Deferred[Any]] = []

        def start(operation: Deferred[Any]) -> None:
            under.append(operation.addErrback(lambda failure: failure.trap(FileSystemError)))

        for number, verb, *arguments in steps:
            files = sessions[number]
            if verb == "run":
                for place in arguments[0]:
                    if self.pool.held:
                        self.pool.held.rotate(-place)
                        self.pool.runNext()
            elif verb == "open":
                start(files.open(*arguments).addCallback(opened.append))
            elif verb in {"remove", "rename"}:
                start(getattr(files, verb)(*arguments))
            elif opened and verb == "write":
                start(opened[-1].write(arguments[0], bytes(arguments[1])))
            elif opened and verb == "commit":
                start(opened.pop(0).commit())
            elif opened:
                start(opened.pop().abort(*arguments))
        for files in sessions:
            start(files.close())
        self.pool.runAll()
        self.assertTrue(all(operation.called for operation in under))
        self.assertEqual(allowance.used, self.real())
        self.assertEqual(list(allowance.all()), [])


class AllowanceTests(SynchronousTestCase):
    def test_withoutAQuotaEverythingFits(self) -> None:
        allowance = newAllowance(Quota())
        allowance.take(Key("b", (), False), Usage(2**60, 10**9))
        self.assertEqual(allowance.room(), Usage(2**63, 2**63))

    def test_oneBoundMayBeAlone(self) -> None:
        allowance = newAllowance(Quota(files=1))
        allowance.take(Key("b", (), False), Usage(2**60, 1))
        self.assertRaises(QuotaExceeded, allowance.take, Key("b", (), False), Usage(0, 1))

    def test_whatIsSharedIsTold(self) -> None:
        told: list[Usage] = []
        allowance = Allowance("a", Quota, lambda one: told.append(one.added), lambda _: None, isKnown=True)
        allowance.add(Key("b", (), True), Usage(5, 1))
        allowance.add(Key("b", (), False), Usage(7, 1))
        self.assertEqual((told, allowance.used), ([Usage(5, 1)], Usage(12, 2)))

    def test_locksAreGivenBack(self) -> None:
        allowance = newAllowance()
        key = Key("b", ("x",), False)

        async def work() -> None:
            async with allowance.alone(key, key):
                raise Closed

        self.failureResultOf(Deferred.fromCoroutine(work()), Closed)
        self.assertEqual(allowance._locks, {})

    def test_aGrowingFileIsFoundUnderItsName(self) -> None:
        allowance = newAllowance()
        key = Key("b", ("x",), False)
        growing = allowance.begin(Growing(key, 5, True))
        self.assertEqual(list(allowance.uploads(key)), [growing])
        allowance.end(growing)
        allowance.end(growing)
        self.assertEqual(list(allowance.all()), [])
