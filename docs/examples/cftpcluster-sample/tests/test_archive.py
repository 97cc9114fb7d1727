"""Tests of :mod:`cftpcluster_sample.archive`."""

from __future__ import annotations

import os
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from cftpcluster_sample.archive import ArchiveBackend, ArchiveConfig, archiveBackendFactory
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from cftpcluster.config.document import Backend, Settings
from cftpcluster.errors import NotFound, StorageFailed, StorageMissing
from cftpcluster.interfaces import IBackend, IBackendFactory, IFileSystem
from cftpcluster.testing.files import read, stats
from cftpcluster.testing.readonly import CONTENTS, ReadOnlyContract
from cftpcluster.testing.threads import InlinePool, InlineReactor


def makeZip(path: Path, contents: dict[str, bytes | None]) -> None:
    with ZipFile(path, "w", ZIP_DEFLATED) as target:
        for name, data in contents.items():
            target.writestr(name.lstrip("/") + ("/" if data is None else ""), data or b"")


def backendOf(path: Path) -> ArchiveBackend:
    return archiveBackendFactory.build(
        ArchiveConfig(file=str(path)),
        backend=Backend(name="zip", kind="archive"),
        node="node-a",
        stateDirectory="/none",
        reactor=InlineReactor(),
        pool=InlinePool(),
        settings=Settings,
    )


class ArchiveContractTests(ReadOnlyContract, TestCase):
    """What every read-only storage promises."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        makeZip(self.path, {"top" + name: data for name, data in CONTENTS.items()})

    def makeSession(self, owner: str = "alice", atomicUploads: bool = True) -> IFileSystem:
        return backendOf(self.path).fileSystem("top", owner, atomicUploads)


class ArchiveTests(TestCase):
    """What is this one's own."""

    async def test_foldersNeedNoEntry(self) -> None:
        path = Path(self.mktemp())
        makeZip(path, {"a/b/c.txt": b"deep"})
        files = backendOf(path).fileSystem("", "alice", True)
        self.assertEqual(list(await stats(files, "/a")), ["b"])
        self.assertEqual(await read(files, "/a/b/c.txt"), b"deep")

    async def test_hostileNamesAreLeftOut(self) -> None:
        path = Path(self.mktemp())
        makeZip(path, {"../up": b"1", "/abs": b"2", "a//b": b"3", ".cftpcluster-part-x": b"4", "f": b"5", "f/g": b"6"})
        with ZipFile(path, "a") as target:
            link = ZipInfo("link")
            link.external_attr = 0o120777 << 16
            target.writestr(link, "/etc/passwd")
        files = backendOf(path).fileSystem("", "alice", True)
        self.assertEqual(set(await stats(files)), {"abs", "f"})

    async def test_folderThatIsNotThereIsNotFound(self) -> None:
        path = Path(self.mktemp())
        makeZip(path, {"a": b""})
        files = backendOf(path).fileSystem("none", "alice", True)
        with self.assertRaises(NotFound):
            await files.stat(())

    async def test_sessionKeepsTheArchiveItBeganWith(self) -> None:
        path, other = Path(self.mktemp()), Path(self.mktemp())
        makeZip(path, {"a": b"old"})
        backend = backendOf(path)
        files = backend.fileSystem("", "alice", True)
        await stats(files)
        makeZip(other, {"a": b"new"})
        os.rename(other, path)
        self.assertEqual(await read(files, "/a"), b"old")
        self.assertEqual(await read(backend.fileSystem("", "alice", True), "/a"), b"new")

    async def test_damagedFileFailsAndNothingElse(self) -> None:
        path = Path(self.mktemp())
        makeZip(path, {"a": bytes(range(256)) * 100})
        raw = bytearray(path.read_bytes())
        raw[60:70] = b"x" * 10
        path.write_bytes(raw)
        files = backendOf(path).fileSystem("", "alice", True)
        self.assertEqual(list(await stats(files)), ["a"])
        with self.assertRaises(StorageFailed):
            await read(files, "/a")


class BackendTests(SynchronousTestCase):
    def test_providesWhatItSays(self) -> None:
        verifyObject(IBackendFactory, archiveBackendFactory)
        verifyObject(IBackend, backendOf(Path(self.mktemp())))

    def test_missingOrDamagedArchiveIsAProblem(self) -> None:
        path = Path(self.mktemp())
        backend = backendOf(path)
        self.assertIn("No such file", self.successResultOf(backend.problems())[0])
        self.failureResultOf(backend.fileSystem("", "alice", True).stat(()), StorageMissing)
        path.write_bytes(b"this is no archive")
        self.assertIn("is no ZIP file", self.successResultOf(backend.problems())[0])
        makeZip(path, {"a": b""})
        self.assertEqual(self.successResultOf(backend.problems()), [])
        self.assertEqual(self.successResultOf(backend.problems()), [])

    def test_closedBackendIsMissing(self) -> None:
        path = Path(self.mktemp())
        makeZip(path, {"a": b""})
        backend = backendOf(path)
        files = backend.fileSystem("", "alice", True)
        self.successResultOf(files.stat(()))
        self.successResultOf(backend.close())
        self.failureResultOf(files.stat(()), StorageMissing)

    def test_relativePathIsAProblem(self) -> None:
        self.assertEqual([problem.path for problem in ArchiveConfig(file="a.zip").problems()], ["file"])
