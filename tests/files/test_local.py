"""Tests of :mod:`cftpcluster.files.local` and what it is made of."""

from __future__ import annotations

import os

from twisted.trial.unittest import TestCase

from cftpcluster.config.document import Backend, Settings
from cftpcluster.files._beneath import KernelOpener, WalkingOpener, chooseOpener
from cftpcluster.files.local import LocalBackendFactory, LocalConfig
from cftpcluster.interfaces import IFileSystem
from cftpcluster.testing.files import FileSystemContract
from cftpcluster.testing.threads import InlinePool, InlineReactor


def tokens():
    return os.urandom(6).hex()


class LocalContract(FileSystemContract):
    """Everything runs at once, on the disk."""

    chooseOpener = staticmethod(chooseOpener)

    def setUp(self) -> None:
        self.state = self.mktemp()
        os.mkdir(self.state)
        self.backend = LocalBackendFactory(tokens, self.chooseOpener).build(
            LocalConfig(root="files"),
            backend=Backend(name="files", kind="local"),
            node="node-a",
            stateDirectory=self.state,
            reactor=InlineReactor(),
            pool=InlinePool(),
            settings=Settings,
        )
        self.addCleanup(self.backend.close)

    def makeSession(self, owner: str = "alice", atomicUploads: bool = True) -> IFileSystem:
        return self.backend.fileSystem("users/shared", owner, atomicUploads)


class KernelContractTests(LocalContract, TestCase):
    chooseOpener = KernelOpener


class WalkingContractTests(LocalContract, TestCase):
    chooseOpener = WalkingOpener
