"""Tests of :mod:`cftpcluster.files.local`: links on the disk that no client made."""

from __future__ import annotations

import contextlib
import os
import threading

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.errors import (
    FileSystemError,
    PathEscapes,
)
from cftpcluster.files._beneath import WalkingOpener
from cftpcluster.interfaces import IFile
from cftpcluster.testing.files import stats, write
from cftpcluster.vocabulary import Attributes, Kind, OpenMode

from .localbackends import LocalMixin


class LinksTests(LocalMixin, SynchronousTestCase):
    """Links on the disk that no client made."""

    def setUp(self) -> None:
        self.backend = self.makeBackend()
        self.files = self.backend.fileSystem("alice", "alice", True)
        self.result(write(self.files, "/f", b"1"))
        os.mkdir(self.disk("alice-evil"))
        with open(self.disk("alice-evil", "secret"), "w") as file:
            file.write("secret")
        absolute = os.path.abspath(self.disk("alice-evil"))
        self.targets = ["../alice-evil", absolute, "/", "/proc/self/root", "../alice/f", "../../../.."]
        for number, target in enumerate(self.targets):
            os.symlink(target, self.disk("alice", f"out{number}"))

    def test_linksOutAreRefusedByEveryOperation(self):
        for number in range(len(self.targets)):
            path = (f"out{number}",)
            below = (*path, "secret")
            for result in (
                self.files.stat(path),
                self.files.stat(below),
                self.files.list(path),
                self.files.open(path, OpenMode.read),
                self.files.open(below, OpenMode.read),
                self.files.open(below, OpenMode.inPlace),
                self.files.open(below, OpenMode.create),
                self.files.open(below, OpenMode.replace),
                self.files.open(path, OpenMode.replace),
                self.files.open(below, OpenMode.resume),
                self.files.makeDirectory(below),
                self.files.remove(below),
                self.files.removeDirectory(below),
                self.files.rename(below, ("x",), True),
                self.files.rename(("f",), below, True),
                self.files.setAttributes(path, Attributes(mode=0o777)),
                self.files.setAttributes(path, Attributes(size=0)),
                self.files.readLink(path),
                self.files.makeSymbolicLink(below, "x"),
                self.files.makeHardLink(("x",), below),
                self.files.makeHardLink(below, ("f",)),
                self.files.space(path),
                self.files.copy(below, ("x",), True),
                self.files.copy(("f",), below, True),
            ):
                self.failureResultOf(result, PathEscapes)
        self.assertEqual(os.listdir(self.disk("alice-evil")), ["secret"])

    def test_linksOutAreListedAsLinks(self):
        found = self.result(stats(self.files))
        self.assertEqual({found[f"out{number}"].kind for number in range(len(self.targets))}, {Kind.link})
        self.assertIs(self.result(self.files.stat(("out0",), follow=False)).kind, Kind.link)

    def test_linksOutAreRemovedThemselves(self):
        self.result(self.files.rename(("out0",), ("gone",), False))
        self.result(self.files.remove(("gone",)))
        self.assertEqual(os.listdir(self.disk("alice-evil")), ["secret"])

    def test_errorsNameNoPathOfTheDisk(self):
        for path in (("out1",), ("none", "x"), ("f", "x")):
            failure = self.failureResultOf(self.files.stat(path), FileSystemError)
            self.assertNotIn(self.state, str(failure.value))

    def test_operationsNeverEscapeWhileLinksAreSwapped(self):
        inside, aside = self.disk("alice", "d"), self.disk("alice", "aside")
        os.mkdir(inside)
        os.symlink("../alice-evil", aside)
        done = threading.Event()

        def swap() -> None:
            while not done.is_set():
                with contextlib.suppress(OSError):
                    os.rename(inside, inside + "-away")
                    os.rename(aside, inside)
                    os.rename(inside, aside)
                    os.rename(inside + "-away", inside)

        async def once(number: int) -> None:
            path = ("d", f"n{number}")
            for perform in (
                lambda: write(self.files, "/".join(path), b"mine"),
                lambda: self.files.makeDirectory(("d", f"m{number}")),
                lambda: self.files.makeSymbolicLink(("d", f"l{number}"), "../f"),
                lambda: self.files.rename(path, ("d", "renamed"), True),
                lambda: self.files.setAttributes(("d", "secret"), Attributes(mode=0o600)),
                lambda: self.files.remove(("d", "secret")),
                lambda: self.files.open(("d", "secret"), OpenMode.read),
            ):
                try:
                    opened = await perform()
                except FileSystemError:
                    continue
                if IFile.providedBy(opened):
                    seen.append(await opened.read(0, 10))

        seen: list[bytes] = []
        before = os.stat(self.disk("alice-evil", "secret"))
        thread = threading.Thread(target=swap)
        thread.start()
        try:
            for number in range(300):
                self.result(once(number))
        finally:
            done.set()
            thread.join()
        self.assertNotIn(b"secret", seen)
        self.assertEqual(os.listdir(self.disk("alice-evil")), ["secret"])
        self.assertEqual(os.stat(self.disk("alice-evil", "secret")).st_ctime_ns, before.st_ctime_ns)


class WalkingLinksTests(LinksTests):
    chooseOpener = WalkingOpener
