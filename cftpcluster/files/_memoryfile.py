"""Files and listings that a session has open in memory.

They know their session, which decides what a commit or an abort means; they know no paths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from attrs import define
from twisted.internet.defer import Deferred, execute, succeed
from zope.interface import implementer

from ..errors import Closed, PermissionDenied
from ..interfaces import IContents, IFile, IListing
from ..vocabulary import Attributes, Entry, Stat, VirtualPath
from ._memorytree import File, Place, setAttributes

if TYPE_CHECKING:
    from ._memorysession import MemoryFileSystem

BATCH_ENTRIES = 256


@implementer(IListing)
@define(eq=False)
class MemoryListing:
    """The entries of a folder as they were when it was opened."""

    _entries: list[Entry]

    def next(self) -> Deferred[Sequence[Entry]]:
        batch, self._entries = self._entries[:BATCH_ENTRIES], self._entries[BATCH_ENTRIES:]
        return succeed(batch)

    def close(self) -> None:
        self._entries = []


@define(eq=False)
class MemoryUpload:
    """A file that is not committed yet.

    :ivar place: where the commit puts it.
    :ivar kept: whether it is its folder's partial, found again after an abort.
    :ivar mayReplace: whether the commit may replace a file.
    :ivar discarded: removed by its own session; the commit only closes it.
    """

    path: VirtualPath
    place: Place
    node: File
    kept: bool
    mayReplace: bool
    discarded: bool = False


@implementer(IFile, IContents)
@define(eq=False)
class MemoryFile:
    """An opened file; ``upload`` is the one that its commit or abort decides on."""

    _files: MemoryFileSystem
    _node: File
    _readable: bool
    _writable: bool
    _upload: MemoryUpload | None
    _closed: bool = False

    def _checked(self, allowed: bool = True) -> File:
        if self._closed:
            raise Closed
        if not allowed:
            raise PermissionDenied
        return self._node

    def stat(self) -> Deferred[Stat]:
        return execute(lambda: self._checked().stat())

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        return execute(lambda: bytes(memoryview(self._checked(self._readable).data)[offset : offset + length]))

    def feed(self, take: Callable[[bytes], object], offset: int, length: int) -> Deferred[int]:
        def fed(data: bytes) -> int:
            take(data)
            return len(data)

        return self.read(offset, length).addCallback(fed)

    def write(self, offset: int, data: bytes | memoryview) -> Deferred[None]:
        return execute(self._write, offset, data)

    def _write(self, offset: int, data: bytes | memoryview) -> None:
        node = self._checked(self._writable)
        self._files.reserve(offset + len(data) - len(node.data))
        if offset > len(node.data):
            node.resize(offset, 0)
        node.data[offset : offset + len(data)] = data
        node.touch(self._files.now())

    def truncate(self, size: int) -> Deferred[None]:
        return self.setAttributes(Attributes(size=size))

    def setAttributes(self, attributes: Attributes) -> Deferred[None]:
        return execute(self._setAttributes, attributes)

    def _setAttributes(self, attributes: Attributes) -> None:
        node = self._checked(self._writable or attributes.size is None)
        setAttributes(node, attributes, self._files.now(), self._files.reserve)

    def sync(self) -> Deferred[None]:
        return execute(self._sync)

    def _sync(self) -> None:
        self._checked()

    def commit(self) -> Deferred[None]:
        return execute(self._commit)

    def _commit(self) -> None:
        self._close()
        if self._upload is not None:
            self._files.commit(self._upload)

    def abort(self, keep: bool) -> Deferred[bool]:
        return execute(self._abort, keep)

    def _abort(self, keep: bool) -> bool:
        self._close()
        return self._upload is not None and self._files.abandon(self._upload, keep)

    def endSession(self) -> None:
        self._abort(keep=True)

    def _close(self) -> None:
        self._checked()
        self._closed = True
        self._files.forget(self)
