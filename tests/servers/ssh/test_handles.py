"""Tests of what a client has open."""

from __future__ import annotations

from typing import Any

from attrs import Factory, define
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from cftpcluster.errors import FileSystemError, OutOfSpace, PermissionDenied, StorageFailed
from cftpcluster.interfaces import IFile
from cftpcluster.servers.ssh.handles import (
    HANDLE_LIMIT,
    BrokenUpload,
    Extent,
    Handles,
    NoSuchHandle,
    OpenFile,
    TooManyHandles,
)
from cftpcluster.vocabulary import Attributes, Kind, OpenMode, Stat

from .peers import countingBytes


@implementer(IFile)
@define(eq=False)
class RecordingFile:
    """Says what was done to it; a write fails with ``failure`` if there is one."""

    size: int = 0
    failure: Exception | None = None
    done: list[Any] = Factory(list)

    def _do(self, *what: Any) -> Deferred[Any]:
        self.done.append(what)
        return succeed(None)

    def stat(self) -> Deferred[Stat]:
        return succeed(Stat(Kind.file, size=self.size))

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        return succeed(b"")

    def write(self, offset: int, data: Any) -> Deferred[None]:
        if self.failure:
            return fail(self.failure)
        self.size = max(self.size, offset + len(data))
        return self._do("write", offset, bytes(data))

    def truncate(self, size: int) -> Deferred[None]:
        return self._do("truncate", size)

    def setAttributes(self, attributes: Attributes) -> Deferred[None]:
        self.size = self.size if attributes.size is None else attributes.size
        return self._do("set", attributes)

    def sync(self) -> Deferred[None]:
        return self._do("sync")

    def commit(self) -> Deferred[None]:
        return self._do("commit")

    def abort(self, keep: bool) -> Deferred[bool]:
        return self._do("abort", keep)


@define(eq=False)
class UntellingFile(RecordingFile):
    def stat(self) -> Deferred[Stat]:
        return fail(StorageFailed())


class MoveTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.handles = Handles(countingBytes())
        self.file = self.opened(("d", "f"))
        self.other = self.opened(("e",))

    def opened(self, path: tuple[str, ...]) -> OpenFile:
        async def opening() -> OpenFile:
            return OpenFile(RecordingFile(), path, True, True)

        return self.handles.file(self.successResultOf(Deferred.fromCoroutine(self.handles.open(opening))))

    def test_isKnownByBothNamesUntilItIsDone(self) -> None:
        self.handles.startMove(("d",), ("x", "y"))
        self.assertEqual(set(self.file.names), {("d", "f"), ("x", "y", "f")})
        self.handles.endMove(("d",), ("x", "y"), True)
        self.assertEqual((self.file.path, self.file.names), (("x", "y", "f"), (("x", "y", "f"),)))
        self.assertEqual((self.other.path, self.other.names), (("e",), (("e",),)))

    def test_refusedOneLeavesTheName(self) -> None:
        self.handles.startMove(("d", "f"), ("x",))
        self.handles.endMove(("d", "f"), ("x",), False)
        self.assertEqual((self.file.path, self.file.names), (("d", "f"), (("d", "f"),)))

    def test_oneAfterTheOther(self) -> None:
        self.handles.startMove(("d", "f"), ("x",))
        self.handles.startMove(("x",), ("y",))
        self.assertEqual(set(self.file.names), {("d", "f"), ("x",), ("y",)})
        self.handles.endMove(("d", "f"), ("x",), True)
        self.handles.endMove(("x",), ("y",), True)
        self.assertEqual((self.file.path, self.file.names), (("y",), (("y",),)))

    def test_openedWhileItWasAskedFor(self) -> None:
        self.handles.startMove(("g",), ("h",))
        file = self.opened(("g",))
        self.handles.endMove(("g",), ("h",), True)
        self.assertEqual((file.path, file.names), (("h",), (("h",),)))


class ExtentTests(SynchronousTestCase):
    @given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 10)), max_size=30))
    def test_endsWhereTheFirstByteIsMissing(self, writes: list[tuple[int, int]]) -> None:
        extent, written = Extent(0), set()
        for start, length in writes:
            extent.add(start, start + length)
            written.update(range(start, start + length))
        expected = next(at for at in range(100) if at not in written)
        self.assertEqual(extent.end, expected)
        self.assertEqual(extent.hasGaps, bool(written) and max(written) >= expected)

    def test_roomThatWasReservedIsNotWritten(self) -> None:
        extent = Extent(0)
        extent.truncate(100)
        extent.add(0, 10)
        self.assertEqual((extent.end, extent.hasGaps), (10, True))

    def test_truncatingForgetsWhatWasWrittenBeyond(self) -> None:
        extent = Extent(0)
        extent.add(0, 10)
        extent.add(20, 30)
        extent.truncate(5)
        extent.add(5, 20)
        self.assertEqual((extent.end, extent.hasGaps), (20, False))

    def test_scatteredWritesAreForgottenAndNotMistaken(self) -> None:
        extent = Extent(0)
        for at in range(2000):
            extent.add(2 * at + 1, 2 * at + 2)
        extent.add(0, 1)
        self.assertTrue(extent.hasGaps)
        self.assertEqual(extent.end, 2)


class OpenFileTests(SynchronousTestCase):
    def opened(
        self, mode: OpenMode = OpenMode.create, appends: bool = False, **options: Any
    ) -> tuple[OpenFile, RecordingFile]:
        file = RecordingFile(**options)
        d = Deferred.fromCoroutine(OpenFile.opened(file, ("f",), mode, False, True, appends))
        return self.successResultOf(d), file

    def run_(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def test_closingCommits(self) -> None:
        opened, file = self.opened()
        self.successResultOf(opened.write(0, memoryview(b"data")))
        self.run_(opened.close())
        self.assertEqual(file.done, [("write", 0, b"data"), ("commit",)])

    def test_aFailedWriteKeepsAnUploadFromBeingCommitted(self) -> None:
        opened, file = self.opened(failure=StorageFailed())
        self.failureResultOf(opened.write(0, memoryview(b"data")), StorageFailed)
        file.failure = None
        self.successResultOf(opened.write(0, memoryview(b"data")))
        self.failureResultOf(Deferred.fromCoroutine(opened.close()), BrokenUpload)
        self.assertEqual(file.done, [("write", 0, b"data"), ("abort", True)])

    def test_whatDidNotFitIsNotKept(self) -> None:
        opened, file = self.opened(failure=OutOfSpace())
        self.failureResultOf(opened.write(0, memoryview(b"data")), OutOfSpace)
        self.failureResultOf(Deferred.fromCoroutine(opened.close()), BrokenUpload)
        self.assertEqual(file.done, [("abort", False)])

    def test_aPartialWithGapsIsCutBeforeItIsKept(self) -> None:
        opened, file = self.opened(OpenMode.resume, size=100)
        self.successResultOf(opened.write(100, memoryview(b"x" * 10)))
        self.successResultOf(opened.write(120, memoryview(b"x" * 10)))
        self.run_(opened.abort())
        self.assertEqual(file.done[-2:], [("truncate", 110), ("abort", True)])

    def test_aPartialWithoutGapsIsKeptAsItIs(self) -> None:
        opened, file = self.opened()
        self.successResultOf(opened.write(10, memoryview(b"x" * 10)))
        self.successResultOf(opened.write(0, memoryview(b"x" * 10)))
        self.run_(opened.abort())
        self.assertEqual(file.done[-1], ("abort", True))
        self.assertNotIn("truncate", [what[0] for what in file.done])

    def test_aFileThatIsNoUploadIsNeverCut(self) -> None:
        opened, file = self.opened(OpenMode.inPlace, size=5)
        self.successResultOf(opened.write(100, memoryview(b"x")))
        self.run_(opened.abort())
        self.assertEqual(file.done[-1], ("abort", True))
        self.assertNotIn("truncate", [what[0] for what in file.done])

    def test_appendingGoesToTheEnd(self) -> None:
        opened, file = self.opened(OpenMode.inPlace, appends=True, size=7)
        self.successResultOf(opened.append(memoryview(b"abc")))
        self.successResultOf(opened.append(memoryview(b"de")))
        self.run_(opened.setAttributes(Attributes(size=2)))
        self.successResultOf(opened.append(memoryview(b"f")))
        writes = [what[1:] for what in file.done if what[0] == "write"]
        self.assertEqual(writes, [(7, b"abc"), (10, b"de"), (2, b"f")])

    def test_aFileWhoseLengthCannotBeToldIsLetGo(self) -> None:
        file = UntellingFile()
        d = Deferred.fromCoroutine(OpenFile.opened(file, ("f",), OpenMode.resume, False, True, False))
        self.failureResultOf(d, StorageFailed)
        self.assertEqual(file.done, [("abort", True)])

    def test_onlyWritersChangeTheLength(self) -> None:
        reading = OpenFile(RecordingFile(), ("f",), True, False)
        d = Deferred.fromCoroutine(reading.setAttributes(Attributes(size=0)))
        self.failureResultOf(d, PermissionDenied)

    def test_accessIsAsItWasAskedFor(self) -> None:
        opened, _ = self.opened()
        opened.mayWrite()
        self.assertRaises(PermissionDenied, opened.mayRead)
        reading = OpenFile(RecordingFile(), ("f",), True, False)
        reading.mayRead()
        self.assertRaises(PermissionDenied, reading.mayWrite)


class HandlesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.handles = Handles(countingBytes())

    def open(self, opening: Any) -> Deferred[bytes]:
        async def wait() -> Any:
            return await opening

        return Deferred.fromCoroutine(self.handles.open(wait))

    def openFile(self) -> tuple[bytes, OpenFile]:
        opened = OpenFile(RecordingFile(), ("f",), True, True)
        return self.successResultOf(self.open(succeed(opened))), opened

    def test_eachIsAnother(self) -> None:
        (first, one), (second, two) = self.openFile(), self.openFile()
        self.assertIs(self.handles.file(first), one)
        self.assertIs(self.handles.file(second), two)
        self.assertRaises(NoSuchHandle, self.handles.folder, first)
        self.assertRaises(NoSuchHandle, self.handles.file, b"other")

    def test_aRetiredHandleStandsForNothing(self) -> None:
        handle, opened = self.openFile()
        self.assertIs(self.handles.retire(handle), opened)
        self.assertRaises(NoSuchHandle, self.handles.any, handle)
        self.assertRaises(NoSuchHandle, self.handles.retire, handle)
        self.assertEqual(self.handles.takeAll(), [opened])

    def test_whatIsClosedIsNotAborted(self) -> None:
        handle, _opened = self.openFile()
        self.successResultOf(Deferred.fromCoroutine(self.handles.close(self.handles.retire(handle))))
        self.assertEqual((self.handles.takeAll(), len(self.handles)), ([], 0))

    def test_thoseBeingOpenedCount(self) -> None:
        waiting: list[Deferred[Any]] = [Deferred() for _ in range(HANDLE_LIMIT)]
        opening = [self.open(each) for each in waiting]
        self.failureResultOf(self.open(succeed(None)), TooManyHandles)
        waiting[0].errback(FileSystemError())
        self.failureResultOf(opening[0], FileSystemError)
        self.openFile()
        self.failureResultOf(self.open(succeed(None)), TooManyHandles)
