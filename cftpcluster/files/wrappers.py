"""File systems and files that pass everything on: what those that change one thing are made from.

Optional abilities are not passed on by themselves: a wrapper that forgot one would be a way around it. A wrapper gives
them out from ``__conform__``, guarded as it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import define
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from ..interfaces import IFile, IFileSystem, IListing, ISessionFiles
from ..vocabulary import Attributes, OpenMode, Stat, VirtualPath

R = TypeVar("R")


def ability(interface: Callable[[Any, Any], R], provider: object) -> R | None:
    """What adapts ``provider`` to an optional interface, or ``None``."""
    return interface(provider, None)


@implementer(IFileSystem, ISessionFiles)
@define(eq=False)
class FileSystemWrapper:
    inner: IFileSystem

    def stat(self, path: VirtualPath, follow: bool = True) -> Deferred[Stat]:
        return self.inner.stat(path, follow)

    def list(self, path: VirtualPath) -> Deferred[IListing]:
        return self.inner.list(path)

    def open(self, path: VirtualPath, mode: OpenMode) -> Deferred[IFile]:
        return self.inner.open(path, mode)

    def makeDirectory(self, path: VirtualPath) -> Deferred[None]:
        return self.inner.makeDirectory(path)

    def remove(self, path: VirtualPath) -> Deferred[None]:
        return self.inner.remove(path)

    def removeDirectory(self, path: VirtualPath) -> Deferred[None]:
        return self.inner.removeDirectory(path)

    def rename(self, old: VirtualPath, new: VirtualPath, overwrite: bool) -> Deferred[None]:
        return self.inner.rename(old, new, overwrite)

    def setAttributes(self, path: VirtualPath, attributes: Attributes) -> Deferred[None]:
        return self.inner.setAttributes(path, attributes)

    def close(self) -> Deferred[None]:
        session = ability(ISessionFiles, self.inner)
        return succeed(None) if session is None else session.close()


@implementer(IFile)
@define(eq=False)
class FileWrapper:
    inner: IFile

    def stat(self) -> Deferred[Stat]:
        return self.inner.stat()

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        return self.inner.read(offset, length)

    def write(self, offset: int, data: bytes | memoryview) -> Deferred[None]:
        return self.inner.write(offset, data)

    def truncate(self, size: int) -> Deferred[None]:
        return self.inner.truncate(size)

    def setAttributes(self, attributes: Attributes) -> Deferred[None]:
        return self.inner.setAttributes(attributes)

    def sync(self) -> Deferred[None]:
        return self.inner.sync()

    def commit(self) -> Deferred[None]:
        return self.inner.commit()

    def abort(self, keep: bool) -> Deferred[bool]:
        return self.inner.abort(keep)
