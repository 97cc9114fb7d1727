"""Contract tests that every file system passes, and files for the tests of those who use them.

A test case of a file system inherits :class:`FileSystemContract` before
:class:`twisted.trial.unittest.TestCase` and says how a session is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..errors import FileSystemError
from ..files.memory import MemoryBackend
from ..files.paths import parse
from ..interfaces import IFile, IFileSystem
from ..vocabulary import Attributes, Stat
from ._contract import read, stats, write
from ._treecontract import AbilitiesContract, FileContract, TreeContract
from ._uploadcontract import UploadContract
from ._usagecontract import UsageContract

__all__ = ["BrokenFile", "FileSystemContract", "memoryFiles", "read", "stats", "write"]


def memoryFiles(contents: Mapping[str, bytes | None], reactor: IReactorTime, owner: str = "alice") -> IFileSystem:
    """A session on a fresh memory file system that holds these files (``None``: a folder), parents first."""
    made: list[Deferred[None]] = []
    files = MemoryBackend(reactor, 2**28).fileSystem("", owner, True)
    for path, data in contents.items():
        made.append(
            files.makeDirectory(parse(path)) if data is None else Deferred.fromCoroutine(write(files, path, data))
        )
    # an error of one of them is logged as unhandled, which fails the test
    return files


@implementer(IFile)
@define(eq=False)
class BrokenFile:
    """A file every operation of which fails, for tests of what is done then.

    :ivar calls: names of the operations that were called.
    """

    error: FileSystemError
    calls: list[str] = field(factory=list)

    def _fail(self, name: str) -> Deferred[Any]:
        self.calls.append(name)
        return fail(self.error)

    def stat(self) -> Deferred[Stat]:
        return self._fail("stat")

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        return self._fail("read")

    def write(self, offset: int, data: bytes | memoryview) -> Deferred[None]:
        return self._fail("write")

    def truncate(self, size: int) -> Deferred[None]:
        return self._fail("truncate")

    def setAttributes(self, attributes: Attributes) -> Deferred[None]:
        return self._fail("setAttributes")

    def sync(self) -> Deferred[None]:
        return self._fail("sync")

    def commit(self) -> Deferred[None]:
        return self._fail("commit")

    def abort(self, keep: bool) -> Deferred[bool]:
        self.calls.append("abort")
        return succeed(False)


class FileSystemContract(TreeContract, FileContract, UploadContract, AbilitiesContract, UsageContract):
    """All of it."""
