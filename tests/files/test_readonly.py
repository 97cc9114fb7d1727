"""The contract of read-only file systems holds for a mount that permits only to read."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from cftpcluster.files.policy import Permitted
from cftpcluster.interfaces import IFileSystem
from cftpcluster.testing.files import memoryFiles
from cftpcluster.testing.readonly import CONTENTS, ReadOnlyContract
from cftpcluster.vocabulary import Permission


class ReadOnlyMountTests(ReadOnlyContract, TestCase):
    def makeSession(self, owner: str = "alice", atomicUploads: bool = True) -> IFileSystem:
        return Permitted(memoryFiles(CONTENTS, Clock(), owner), {Permission.list, Permission.download})
