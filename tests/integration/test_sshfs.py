"""Programs that know files only, on an ``sshfs`` mount of a real node."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path
from typing import TypeVar

from cftpcluster.testing.processes import waitFor

from .clients import needs, randomFile, sha256
from .sshclients import ODD_NAMES, ClientTestCase, makeTree, tree

C = TypeVar("C")

SPARSE = 4 << 30
FIO = """
[global]
rw=randrw
verify=crc32c
do_verify=1
verify_fatal=1
ioengine=psync
size=4M
fallocate=none
[small]
bs=4k
[large]
stonewall
bsrange=1k-128k
"""


def needsFuse(tested: C) -> C:
    if not os.path.exists("/dev/fuse"):
        tested.skip = "no /dev/fuse"  # type: ignore[attr-defined]
    return tested


class MountedTestCase(ClientTestCase):
    """Has the folder mounted.

    :cvar options: of ``sshfs``, beside those which say where the server is.
    :ivar mount: where.
    """

    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        super().setUp()
        self.mount = self.local.with_name(f"mount.{self.local.name}")
        self.mount.mkdir()
        options = [word for option in self.options for word in ("-o", option)]
        command = ["sshfs", "-f", *self.sshOptions()[2:], *options, self.place, self.mount]
        mounting = self.begin(*command)
        self.addCleanup(self.unmount)
        waitFor("it is mounted", lambda: os.path.ismount(self.mount) or mounting.poll() is not None)
        self.assertEqual(mounting.poll(), None, mounting.stdout and mounting.returncode and mounting.stdout.read())

    def unmount(self) -> None:
        """What sshfs has not written yet is written."""
        if os.path.ismount(self.mount):
            subprocess.run(["fusermount3", "-u", str(self.mount)], check=False, capture_output=True)

    def gone(self) -> None:
        """Wait until the server has closed all files."""
        waitFor("nothing is under way", lambda: not self.leftovers())


@needsFuse
@needs("sshfs", "fusermount3")
class SSHFSTests(MountedTestCase):
    def test_creatingAppendingAndTruncating(self) -> None:
        file, stored = self.mount / "file", self.stored / "file"
        file.write_text("first\n")
        self.assertEqual(file.stat().st_size, 6)
        with open(file, "a") as appended:
            appended.write("second\n")
        self.assertEqual(file.read_text(), "first\nsecond\n")
        os.truncate(file, 3)
        self.assertEqual((file.stat().st_size, file.read_text()), (3, "fir"))
        os.truncate(file, 10)
        self.assertEqual(file.read_bytes(), b"fir" + bytes(7))
        with open(file, "r+b") as changed:
            changed.seek(3)
            changed.write(b"st")
            changed.flush()
            os.fsync(changed.fileno())
            os.ftruncate(changed.fileno(), 5)
        self.assertEqual(file.read_text(), "first")
        file.write_text("anew")
        self.assertEqual(file.read_text(), "anew")
        waitFor("it is stored", lambda: stored.read_text() == "anew")
        descriptor = os.open(self.mount / "once", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640)
        os.close(descriptor)
        self.assertRaises(FileExistsError, os.open, self.mount / "once", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        self.assertEqual((self.mount / "once").stat().st_mode & 0o777, 0o640)
        self.gone()

    def test_openFilesAreSeenMovedAndRemoved(self) -> None:
        with open(self.mount / "temporary", "w") as file:
            file.write("new")
            file.flush()
            self.assertEqual((self.mount / "temporary").stat().st_size, 3)
            self.assertEqual(os.listdir(self.mount), ["temporary"])
            os.chmod(self.mount / "temporary", 0o600)
            os.utime(self.mount / "temporary", (1_000_000_000, 1_000_000_000))
        self.assertEqual((self.mount / "temporary").stat().st_mtime, 1_000_000_000)
        (self.mount / "file").write_text("old")
        os.rename(self.mount / "temporary", self.mount / "file")
        self.assertEqual((self.mount / "file").read_text(), "new")
        for turn in range(5):
            with open(self.mount / "next", "w") as file:
                file.write(f"turn {turn}")
                os.fsync(file.fileno())
            os.replace(self.mount / "next", self.mount / "file")
            self.assertEqual((self.mount / "file").read_text(), f"turn {turn}")
        with open(self.mount / "file", "w") as file:
            file.write("to be removed")
            file.flush()
            os.remove(self.mount / "file")
        self.assertEqual(os.listdir(self.mount), [])
        with open(self.mount / "other", "w") as file:
            file.write("moved while it is ")
            file.flush()
            os.rename(self.mount / "other", self.mount / "there")
            file.write("open")
        self.assertEqual((self.mount / "there").read_text(), "moved while it is open")
        self.gone()
        self.assertEqual([path.name for path in self.stored.iterdir()], ["there"])

    def test_twoWritersOfOneFile(self) -> None:
        with open(self.mount / "log", "w") as first, open(self.mount / "log", "a") as second:
            for turn in range(3):
                for file in (first, second):
                    file.seek(0, os.SEEK_END)
                    file.write(f"{turn};")
                    file.flush()
            self.assertEqual((self.mount / "log").read_text(), "0;0;1;1;2;2;")
        self.gone()
        self.assertEqual((self.stored / "log").read_text(), "0;0;1;1;2;2;")

    def test_linksFoldersAndNames(self) -> None:
        for name in ODD_NAMES:
            (self.mount / name).write_text(name)
        self.assertEqual(sorted(os.listdir(self.mount)), sorted(ODD_NAMES))
        self.assertEqual([(self.mount / name).read_text() for name in ODD_NAMES], list(ODD_NAMES))
        os.symlink(ODD_NAMES[0], self.mount / "soft")
        os.symlink("folder/missing", self.mount / "dangling")
        self.assertEqual(os.readlink(self.mount / "soft"), ODD_NAMES[0])
        self.assertEqual((self.mount / "soft").read_text(), ODD_NAMES[0])
        self.assertEqual(os.readlink(self.mount / "dangling"), "folder/missing")
        os.link(self.mount / ODD_NAMES[0], self.mount / "hard")
        self.assertEqual((self.mount / "hard").read_text(), ODD_NAMES[0])
        self.gone()
        self.assertEqual((self.stored / ODD_NAMES[0]).stat().st_nlink, 2)
        os.makedirs(self.mount / "a" / "b")
        (self.mount / "a" / "b" / "c").touch()
        with self.assertRaises(OSError) as raised:
            os.rmdir(self.mount / "a")
        # All that SFTP can say of a folder that is not empty.
        self.assertIn(raised.exception.errno, {errno.EPERM, errno.ENOTEMPTY, errno.EIO})
        os.rename(self.mount / "a", self.mount / "moved")
        self.assertEqual(os.listdir(self.mount / "moved" / "b"), ["c"])
        shutil.rmtree(self.mount / "moved")
        self.assertRaises(FileNotFoundError, os.stat, self.mount / "moved")
        there, here = os.statvfs(self.mount), os.statvfs(self.stored)
        self.assertEqual(there.f_blocks * there.f_frsize, here.f_blocks * here.f_frsize)

    def test_fourGigabytesOfNothing(self) -> None:
        with open(self.mount / "sparse", "wb") as file:
            file.truncate(SPARSE)
            for at in (0, (1 << 32) - 3, (2 << 30) - 3):
                file.seek(at)
                file.write(b"middle")
        with open(self.mount / "sparse", "rb") as file:
            for at in (0, (1 << 32) - 3, (2 << 30) - 3):
                file.seek(at)
                self.assertEqual(file.read(6), b"middle")
            file.seek(1 << 30)
            self.assertEqual(file.read(1000), bytes(1000))
        self.assertEqual((self.mount / "sparse").stat().st_size, SPARSE + 3)
        self.gone()
        stored = (self.stored / "sparse").stat()
        self.assertEqual(stored.st_size, SPARSE + 3)
        self.assertTrue(stored.st_blocks * 512 < 1 << 20)


@needsFuse
class ManyConnectionsTests(SSHFSTests):
    """Nothing is kept on this side, and requests take several connections: several sessions, which see of each other's
    files what is committed, so that files are written in place.
    """

    userName = "carol"
    options = ("max_conns=3", "dir_cache=no", "direct_io")


@needsFuse
@needs("sshfs", "fusermount3")
class ProgramsTests(MountedTestCase):
    @needs("fio")
    def test_verifiedByFio(self) -> None:
        (self.local / "jobs.fio").write_text(FIO)
        self.run_("fio", "--directory", self.mount, "jobs.fio")

    @needs("git")
    def test_aRepositoryOfGit(self) -> None:
        environment = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "HOME": str(self.local)}
        names = ["-c", "user.name=alice", "-c", "user.email=alice@example.com", "-c", "safe.directory=*"]
        here = self.mount / "work"

        def git(*arguments: str | Path) -> str:
            return self.run_("git", *names, *arguments, environment=environment).stdout.decode()

        git("init", "-q", "--template=", here)
        for turn in range(2):
            for name in ODD_NAMES[turn * 4 : turn * 4 + 5]:
                (here / name).write_text(f"{name}, turn {turn}")
            git("-C", here, "add", "-A")
            git("-C", here, "commit", "-q", "-m", f"Commit {turn}")
        git("-C", here, "gc", "-q")
        git("-C", here, "fsck", "--full", "--strict")
        self.assertEqual(git("-C", here, "status", "--porcelain"), "")
        git("clone", "-q", here, self.local / "clone")
        self.assertEqual((self.local / "clone" / ODD_NAMES[4]).read_text(), f"{ODD_NAMES[4]}, turn 1")
        self.gone()

    @needs("rsync")
    def test_rsyncBothWays(self) -> None:
        original = makeTree(self.local / "original")
        os.symlink("large", original / "deep" / "er" / "link")
        there = self.mount / "there"
        self.run_("rsync", "-aJ", f"{original}/", there)
        wanted = tree(original, times=True, modes=True)
        self.assertEqual(tree(there, times=True, modes=True), wanted)
        self.assertEqual(self.run_("rsync", "-aiJ", f"{original}/", there).stdout, b"")
        with open(original / "deep" / "er" / "large", "ab") as file:
            file.write(os.urandom(100_000))
        (original / ODD_NAMES[1]).unlink()
        self.run_("rsync", "-aJ", "--delete", "--inplace", "--no-whole-file", f"{original}/", there)
        self.run_("rsync", "-a", "--checksum", "--append-verify", f"{there}/", self.local / "copy")
        self.assertEqual(tree(self.local / "copy"), tree(original))
        self.gone()

    def test_copiesAndWhatRemainsOfThem(self) -> None:
        original = randomFile(self.local / "original", 5_000_001)
        shutil.copy2(original, self.mount / "copy")
        self.assertEqual(sha256(self.mount / "copy"), sha256(original))
        self.assertEqual((self.mount / "copy").stat().st_mtime, int(original.stat().st_mtime))
        shutil.move(self.mount / "copy", self.local / "back")
        self.assertEqual(sha256(self.local / "back"), sha256(original))
        self.unmount()
        waitFor("it is not mounted", lambda: not os.path.ismount(self.mount))
        self.assertEqual(list(self.stored.iterdir()), [])
