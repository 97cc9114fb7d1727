"""Tests of :mod:`cftpcluster.files._beneath`."""

from __future__ import annotations

import os
import threading

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.errors import IsAFolder, PathEscapes
from cftpcluster.files._beneath import (
    FOLDER,
    KernelOpener,
    Opener,
    WalkingOpener,
    chooseOpener,
    renameNew,
    renameNewByLink,
)
from cftpcluster.files._descriptors import Descriptor


def contents(opener: Opener, root: Descriptor, path: bytes, flags: int = os.O_RDONLY) -> bytes:
    with opener.open(root, path.split(b"/"), flags) as opened:
        return os.read(opened.number, 100)


class OpenerContract:
    """What both ways to open have in common."""

    opener: Opener

    def setUp(self) -> None:
        self.base = self.mktemp()
        for folder in ("root", "root/d", "root/d/e", "root-evil"):
            os.makedirs(os.path.join(self.base, folder), exist_ok=True)
        for name, text in (("root/f", "f"), ("root/d/g", "g"), ("secret", "secret"), ("root-evil/secret", "secret")):
            with open(os.path.join(self.base, name), "w") as file:
                file.write(text)
        self.root = Descriptor(os.open(os.path.join(self.base, "root"), FOLDER))
        self.addCleanup(self.root.close)

    def link(self, name: str, target: str) -> None:
        os.symlink(target, os.path.join(self.base, "root", name))

    def test_opensWhatLiesBeneath(self):
        self.assertEqual(contents(self.opener, self.root, b"f"), b"f")
        self.assertEqual(contents(self.opener, self.root, b"d/g"), b"g")
        with self.opener.open(self.root, (), FOLDER) as same:
            self.assertTrue(os.path.samestat(same.stat(), self.root.stat()))

    def test_followsLinksThatStay(self):
        self.link("a", "d")
        self.link("d/b", "../a/e/../../f")
        self.link("c", "./d//b")
        self.assertEqual(contents(self.opener, self.root, b"a/b"), b"f")
        self.assertEqual(contents(self.opener, self.root, b"c"), b"f")

    def test_refusesLinksThatLeadOut(self):
        absolute = os.path.abspath(self.base)
        for number, target in enumerate(
            ("../secret", "../root-evil", "d/../../secret", absolute, absolute + "/root/f", "/proc/self/root", "/")
        ):
            name = f"out{number}"
            self.link(name, target)
            for rest in (b"", b"/secret"):
                path = name.encode() + rest
                self.assertRaises(PathEscapes, self.opener.open, self.root, path.split(b"/"), os.O_RDONLY)

    def test_doesNotFollowWhenToldSo(self):
        self.link("a", "f")
        with self.opener.open(self.root, (b"a",), os.O_PATH | os.O_NOFOLLOW) as link:
            self.assertEqual(os.readlink("", dir_fd=link.number), "f")
        self.assertRaises(OSError, self.opener.open, self.root, (b"a",), os.O_RDONLY | os.O_NOFOLLOW)

    def test_circlesEnd(self):
        self.link("a", "b")
        self.link("b", "a")
        self.assertRaises(OSError, self.opener.open, self.root, (b"a",), os.O_RDONLY)

    def test_missingAndWrongNames(self):
        self.link("dangling", "none")
        for path in (b"none", b"none/x", b"dangling"):
            self.assertRaises(FileNotFoundError, contents, self.opener, self.root, path)
        self.link("slash", "f/")
        for path in (b"f/x", b"slash"):
            self.assertRaises(NotADirectoryError, contents, self.opener, self.root, path)

    def test_descriptorsAreClosed(self):
        before = len(os.listdir("/proc/self/fd"))
        self.link("a", "d/../d/../f")
        for path in (b"a", b"d/g", b"d/e"):
            self.opener.open(self.root, path.split(b"/"), os.O_RDONLY).close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_neverEscapesWhileLinksAreSwapped(self):
        """A folder takes turns with a link to the folder outside that holds a secret of the same name."""
        inside = os.path.join(self.base, "root", "d")
        aside = os.path.join(self.base, "root", "aside")
        os.symlink("../root-evil", aside)
        with open(os.path.join(inside, "secret"), "w") as file:
            file.write("allowed")
        done = threading.Event()
        read: list[bytes] = []
        refused = 0

        def swap() -> None:
            while not done.is_set():
                os.rename(inside, inside + "-away")
                os.rename(aside, inside)
                os.rename(inside, aside)
                os.rename(inside + "-away", inside)

        thread = threading.Thread(target=swap)
        thread.start()
        try:
            for _ in range(3000):
                try:
                    read.append(contents(self.opener, self.root, b"d/secret"))
                except (OSError, PathEscapes):
                    refused += 1
        finally:
            done.set()
            thread.join()
        self.assertEqual(set(read), {b"allowed"})
        self.assertGreater(refused, 0)


class KernelOpenerTests(OpenerContract, SynchronousTestCase):
    opener = KernelOpener()


class WalkingOpenerTests(OpenerContract, SynchronousTestCase):
    opener = WalkingOpener()

    def test_resolvesWhereALinkLeads(self):
        self.link("a", "d/b")
        self.link("d/b", "../new")
        folder, name = self.opener.resolve(self.root, (b"a",))
        with folder:
            self.assertEqual(name, b"new")
            self.assertTrue(os.path.samestat(folder.stat(), self.root.stat()))
        self.link("up", "d/..")
        self.assertRaises(IsAFolder, self.opener.resolve, self.root, (b"up",))


class ChoiceTests(SynchronousTestCase):
    def test_walksWhereTheKernelCannot(self):
        self.assertEqual(chooseOpener(KernelOpener(call=100_000)), WalkingOpener())
        self.assertEqual(chooseOpener(KernelOpener()), KernelOpener())


class RenameNewTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.makedirs(os.path.join(self.folder, "d"))
        for name in ("a", "b"):
            with open(os.path.join(self.folder, name), "w") as file:
                file.write(name)
        self.descriptor = Descriptor(os.open(self.folder, FOLDER))
        self.addCleanup(self.descriptor.close)

    def test_neverReplaces(self):
        for rename in (renameNew, renameNewByLink):
            for old, new in ((b"a", b"b"), (b"a", b"d"), (b"d", b"a")):
                self.assertRaises(FileExistsError, rename, self.descriptor, old, self.descriptor, new)
            self.assertRaises(FileNotFoundError, rename, self.descriptor, b"none", self.descriptor, b"c")
        self.assertEqual(sorted(os.listdir(self.folder)), ["a", "b", "d"])

    def test_renamesFilesAndFolders(self):
        for number, rename in enumerate((renameNew, renameNewByLink)):
            for name in (b"a", b"d"):
                rename(self.descriptor, name, self.descriptor, b"%s%d" % (name, number))
                rename(self.descriptor, b"%s%d" % (name, number), self.descriptor, name)
        self.assertEqual(sorted(os.listdir(self.folder)), ["a", "b", "d"])
        self.assertEqual(os.stat(os.path.join(self.folder, "a")).st_nlink, 1)
