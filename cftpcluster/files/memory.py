"""A backend that keeps everything in memory: for tests, demonstrations and scratch space.

What it does is what every backend does; what it holds ends with the process. It touches no disk and starts no thread,
so that every Deferred has fired already.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import Factory, define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.plugin import IPlugin
from zope.interface import implementer

from ..config.document import Backend, Settings
from ..errors import NotAFolder, OutOfSpace, StorageMissing
from ..interfaces import IBackend, IBackendFactory, IValidator
from ..vocabulary import Problem, Space
from . import paths
from ._memorysession import MemoryFileSystem
from ._memorytree import File, Folder

if TYPE_CHECKING:
    from twisted.python.threadpool import ThreadPool

__all__ = ["MemoryBackend", "MemoryBackendFactory", "MemoryConfig", "MemoryFileSystem", "memoryBackendFactory"]


@implementer(IBackend)
@define(eq=False)
class MemoryBackend:
    """Everything in memory, at most ``capacityBytes``; ``reasons`` is what :meth:`problems` answers."""

    _reactor: IReactorTime
    capacityBytes: int
    reasons: list[str] = Factory(list)
    _numbers: itertools.count[int] = Factory(itertools.count)
    _root: Folder = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._root = self.newFolder()

    def fileSystem(self, folder: str, owner: str, atomicUploads: bool) -> MemoryFileSystem:
        node = self._root
        for name in paths.parse(folder):
            child = node.children.setdefault(name, self.newFolder())
            if not isinstance(child, Folder):
                raise NotAFolder
            node = child
        return MemoryFileSystem(self, node, owner, atomicUploads)

    def problems(self) -> Deferred[Sequence[str]]:
        return succeed(tuple(self.reasons))

    def close(self) -> Deferred[None]:
        self.reasons.append("closed")
        return succeed(None)

    def checkPresent(self) -> None:
        if self.reasons:
            raise StorageMissing

    def now(self) -> float:
        return self._reactor.seconds()

    def newFile(self) -> File:
        return File(next(self._numbers), self.now(), self.now())

    def newFolder(self) -> Folder:
        return Folder(self.now(), self.now())

    def _usedBytes(self) -> int:
        return sum(len(node.data) for node in set(self._root.files()))

    def reserve(self, byteCount: int) -> None:
        """Raise ``OutOfSpace`` unless so many bytes more fit."""
        if byteCount > 0 and self._usedBytes() + byteCount > self.capacityBytes:
            raise OutOfSpace

    def space(self) -> Space:
        return Space(self.capacityBytes, max(0, self.capacityBytes - self._usedBytes()))


@implementer(IValidator)
@frozen(kw_only=True)
class MemoryConfig:
    """Options of a ``memory`` backend.

    :ivar capacityBytes: how much it holds; an upload beyond that fails for lack of space.
    """

    capacityBytes: int = 64 * 1024 * 1024

    def problems(self) -> Sequence[Problem]:
        return [] if self.capacityBytes >= 0 else [Problem("capacityBytes", f"{self.capacityBytes} is negative")]


@implementer(IPlugin, IBackendFactory)
@frozen
class MemoryBackendFactory:
    kind: str = "memory"
    summary: str = "keeps files in memory until the node stops"
    configClass: type = MemoryConfig

    def build(
        self,
        config: MemoryConfig,
        *,
        backend: Backend,
        node: str,
        stateDirectory: str,
        reactor: Any,
        pool: ThreadPool,
        settings: Callable[[], Settings],
    ) -> IBackend:
        return MemoryBackend(reactor, config.capacityBytes)


memoryBackendFactory = MemoryBackendFactory()
