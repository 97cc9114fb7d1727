"""The backend that keeps files in a folder of the node's own file system, or of one mounted there.

Nothing leads out of a mount's folder, whatever links lie in it. Uploads are written beside their target under reserved
names and renamed at their commit. It knows no users but the names that own partials, and no permissions.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from ..config.document import Backend, Settings
from ..interfaces import IBackend, IBackendFactory, IFileSystem, IValidator
from ..vocabulary import Problem
from . import paths
from ._beneath import Opener, chooseOpener
from ._localsession import LocalFileSystem
from ._names import temporaryName
from ._storage import Storage, makeMarker
from ._sweep import Sweeper
from ._tree import Rules, Tree
from ._worker import Worker

__all__ = ["LocalBackend", "LocalBackendFactory", "LocalConfig", "localBackendFactory", "makeMarker"]


@implementer(IValidator)
@frozen(kw_only=True)
class LocalConfig:
    """Options of a ``local`` backend.

    :ivar root: the folder that holds everything. Relative: beneath the state folder of each node, made when it is
        missing. Absolute: it must exist.
    :ivar requireMarker: whether the storage is used only while the file ``.cftpcluster-storage`` lies in ``root``: it
        tells a mounted storage from its empty mount point.
    :ivar fsync: whether what was committed is on the disk.
    :ivar fileMode: permissions of new files, octal.
    :ivar directoryMode: permissions of new folders, octal.
    """

    root: str
    requireMarker: bool = False
    fsync: bool = True
    fileMode: str = "0640"
    directoryMode: str = "0750"

    def problems(self) -> Sequence[Problem]:
        found = []
        isBeneath = os.path.normpath(self.root).split("/")[0] not in {"", ".", ".."}
        if "\0" in self.root or not (isBeneath or self.root.startswith("/")):
            found.append(Problem("root", f"{self.root!r} is neither absolute nor a folder beneath the state folder"))
        for name, text, needed in (("fileMode", self.fileMode, 0o600), ("directoryMode", self.directoryMode, 0o700)):
            mode = octal(text)
            if mode is None or mode & needed != needed:
                found.append(Problem(name, f"{text!r} is not an octal mode up to 0777 that includes {needed:04o}"))
        return found

    @property
    def rules(self) -> Rules:
        fileMode, directoryMode = octal(self.fileMode), octal(self.directoryMode)
        assert fileMode is not None and directoryMode is not None
        return Rules(fileMode, directoryMode, self.fsync)


def octal(text: str) -> int | None:
    """A mode of three octal digits, with or without a leading zero."""
    isMode = len(text) in {3, 4} and all(digit in "01234567" for digit in text) and int(text, 8) <= 0o777
    return int(text, 8) if isMode else None


@implementer(IBackend)
@define(eq=False)
class LocalBackend:
    """One storage. ``newToken`` gives unguessable words without a hyphen."""

    _storage: Storage
    _node: str
    _worker: Worker
    _sweeper: Sweeper
    _newToken: Callable[[], str]
    _closed: bool = field(default=False, init=False)

    def fileSystem(self, folder: str, owner: str, atomicUploads: bool) -> IFileSystem:
        path = paths.parse(folder)
        tree = Tree(
            lambda: self._storage.openFolder(path),
            self._storage.checkPresent,
            self._storage.opener,
            self._storage.rules,
            owner,
        )
        return LocalFileSystem(self._worker, tree, atomicUploads, self._newName, lambda: self._closed)

    def _newName(self) -> bytes:
        return temporaryName(self._node, self._newToken())

    def problems(self) -> Deferred[Sequence[str]]:
        return self._worker.run(self._storage.problems)

    def mark(self) -> Deferred[str]:
        """Mark the storage as present; fires with its id. Fails with :class:`~cftpcluster.errors.ClusterError`."""
        return self._worker.run(makeMarker, self._storage.root, self._newToken)

    def startSweeping(self) -> None:
        self._sweeper.start()

    def startClosing(self) -> None:
        """Take nothing new, and do not wait for what runs."""
        self._closed = True
        self._sweeper.stop()

    def close(self) -> Deferred[None]:
        self.startClosing()
        return self._worker.run(self._sweeper.join)


@implementer(IPlugin, IBackendFactory)
@frozen
class LocalBackendFactory:
    """:ivar newToken: unguessable words, without a hyphen.
    :ivar chooseOpener: finds the way to open files on this machine.
    """

    newToken: Callable[[], str]
    chooseOpener: Callable[[], Opener] = chooseOpener
    kind: str = "local"
    summary: str = "keeps files in a folder of the node, or of a storage mounted there"
    configClass: type = LocalConfig

    def build(
        self,
        config: LocalConfig,
        *,
        backend: Backend,
        node: str,
        stateDirectory: str,
        reactor: Any,
        pool: ThreadPool,
        settings: Callable[[], Settings],
    ) -> LocalBackend:
        isRelative = not os.path.isabs(config.root)
        root = os.path.join(stateDirectory, config.root)
        opener = self.chooseOpener()
        storage = Storage(root, config.rules, opener, config.requireMarker, isRelative, stateDirectory)
        sweeper = Sweeper(node, storage.openRoot, opener, lambda: settings().partialSeconds)
        built = LocalBackend(storage, node, Worker(reactor, pool), sweeper, self.newToken)
        built.startSweeping()
        return built


localBackendFactory = LocalBackendFactory(lambda: secrets.token_hex(12))
