"""Tests of the commands that are served, and of the refusal of all others."""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from cftpcluster.files.wrappers import FileSystemWrapper
from cftpcluster.interfaces import ISpaceReport
from cftpcluster.servers.ssh import commands
from cftpcluster.vocabulary import Permission, Space, VirtualPath

from .programs import Running, Shelf


@implementer(ISpaceReport)
class Roomy(FileSystemWrapper):
    """A file system that knows its room."""

    def __init__(self, inner: Any, space: Space) -> None:
        self.inner, self._space = inner, space

    def space(self, path: VirtualPath) -> Deferred[Space]:
        return succeed(self._space)


class CommandTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.shelf = Shelf()

    def says(self, command: bytes, files: Any = None) -> bytes:
        """What a command that succeeds prints."""
        status, output, errors = self.shelf.answer(command, files)
        self.assertEqual((status, errors), (0, b""), command)
        return output

    def refusal(self, command: bytes, files: Any = None) -> tuple[int | None, bytes]:
        """Exit status and error of a command that prints nothing else."""
        status, output, errors = self.shelf.answer(command, files)
        self.assertEqual((output, errors.count(b"\n")), (b"", 1), command)
        return status, errors


class LookingAroundTests(CommandTestCase):
    def test_rcloneAsksWhatKindOfShellThereIs(self) -> None:
        self.assertEqual(self.says(b"echo ${ShellId}%ComSpec%"), b"%ComSpec%\n")

    def test_echo(self) -> None:
        self.assertEqual(self.says(b"echo a  'b  c' \\$d"), b"a b  c $d\n")
        self.assertEqual(self.says(b"echo -n a"), b"a")
        self.assertEqual(self.says(b"echo"), b"\n")

    def test_pwd(self) -> None:
        self.assertEqual(self.says(b"pwd"), b"/\n")

    def test_cd(self) -> None:
        self.shelf.put("/a b/f")
        for command in (b"cd", b"cd /", b"cd 'a b'", b"cd /a\\ b/", b"cd ~"):
            self.assertEqual(self.says(command), b"")
        self.assertEqual(self.refusal(b"cd x"), (1, b"cd: x: No such file or directory\n"))
        self.assertEqual(self.refusal(b"cd '/a b/f'"), (1, b"cd: /a b/f: Not a directory\n"))

    def test_df(self) -> None:
        files = Roomy(self.shelf.files, Space(10_000_000 * 1024, 2_500_000 * 1024))
        for command in (b"df", b"df -k /", b"df -P -k .", b"/bin/df -k -- /"):
            head, line = self.says(command, files).decode().splitlines()
            self.assertEqual(head.split()[:4], ["Filesystem", "1K-blocks", "Used", "Available"])
            self.assertEqual(line.split(), ["cftpcluster", "10000000", "7500000", "2500000", "75%", "/"])

    def test_roomWithoutBounds(self) -> None:
        for space in (Space(), Space(freeBytes=5), Space(totalBytes=0, freeBytes=0)):
            line = self.says(b"df -k /", Roomy(self.shelf.files, space)).decode().splitlines()[1]
            self.assertEqual(len(line.split()), 6)
            self.assertEqual(line.split()[4], "-")

    def test_whatDfDoesNotTell(self) -> None:
        self.assertEqual(self.refusal(b"df /x"), (1, b"df: /x: No such file or directory\n"))
        self.assertEqual(self.refusal(b"df -h"), (1, b"df: option -h is not served here\n"))


class SumTests(CommandTestCase):
    def test_files(self) -> None:
        self.shelf.put("/a b/c", b"hello")
        self.shelf.put("/d", b"x" * 300_000)
        for program, algorithm in ((b"md5sum", "md5"), (b"sha1sum", "sha1"), (b"sha256sum", "sha256")):
            first = hashlib.new(algorithm, b"hello").hexdigest().encode()
            second = hashlib.new(algorithm, b"x" * 300_000).hexdigest().encode()
            said = self.says(program + b" '/a b/c' -- d")
            self.assertEqual(said, b"%s  /a b/c\n%s  d\n" % (first, second))

    def test_standardInput(self) -> None:
        for command in (b"md5sum", b"md5sum -", b"md5sum -b", b"rclone md5sum"):
            self.assertEqual(self.says(command), b"d41d8cd98f00b204e9800998ecf8427e  -\n")
        running = self.shelf.run(b"sha1sum")
        running.feed(b"x" * 200_000)
        self.assertEqual(running.end(), 0)
        self.assertEqual(running.taken(), hashlib.sha1(b"x" * 200_000).hexdigest().encode() + b"  -\n")
        self.assertEqual(running.channel.consumedBytes, 200_000)

    def test_asRcloneAsksToo(self) -> None:
        self.shelf.put("/f", b"hello")
        expected = hashlib.sha256(b"hello").hexdigest().encode() + b"  /f\n"
        self.assertEqual(self.says(b"rclone hashsum sha256 /f"), expected)
        self.assertEqual(self.says(b"rclone hashsum SHA256 /f"), expected)
        for command in (b"rclone", b"rclone hashsum", b"rclone hashsum xxh3", b"rclone copy / remote:", b"rclone sum"):
            self.assertEqual(self.refusal(command)[0], 1)

    def test_oddNames(self) -> None:
        self.shelf.put("/a\\b\nc", b"")
        said = self.says(b"md5sum '/a\\b\nc'")
        self.assertEqual(said, b"\\d41d8cd98f00b204e9800998ecf8427e  /a\\\\b\\nc\n")

    def test_patterns(self) -> None:
        for name in ("a.x", "b.x"):
            self.shelf.put("/" + name)
        self.assertEqual(self.says(b"md5sum *.x").count(b"d41d8cd98f00b204e9800998ecf8427e"), 2)

    def test_whatCannotBeRead(self) -> None:
        self.shelf.put("/d/f", b"hello")
        self.assertEqual(self.refusal(b"md5sum /x"), (1, b"md5sum: /x: No such file or directory\n"))
        self.assertEqual(self.refusal(b"sha1sum /d"), (1, b"sha1sum: /d: Is a directory\n"))
        self.assertEqual(self.refusal(b"md5sum -c sums"), (1, b"md5sum: option -c is not served here\n"))
        files = self.shelf.session(Permission.list)
        self.assertEqual(self.refusal(b"md5sum /d/f", files), (1, b"md5sum: /d/f: Permission denied\n"))
        status, output, errors = self.shelf.answer(b"md5sum /x /d/f")
        self.assertEqual((status, output[-6:], errors), (1, b" /d/f\n", b"md5sum: /x: No such file or directory\n"))


class RefusalTests(CommandTestCase):
    def test_otherCommands(self) -> None:
        for command in (
            b"id",
            b"sh -c id",
            b"/bin/bash",
            b"/usr/lib/openssh/sftp-server",
            b"/usr/binscp -t x",
            b"/usrscp -t x",
            b"rsync --server . /",
            b"b2sum",
            b"crc32",
            b"xxh128sum",
            b"md5 -r",
            b"sha1 -r",
            b"PATH=. scp -t x",
            b"SCP -t x",
            b"",
            b"\xff\x1b[2J",
        ):
            status, said = self.refusal(command)
            self.assertEqual(status, 127, command)
            self.assertTrue(
                said.startswith(b"cftpcluster: ") and said.endswith(b": only file transfer is served here\n")
            )
            self.assertNotIn(b"\x1b", said)

    def test_whatNeedsAShell(self) -> None:
        for command in (
            b"md5sum a; id",
            b"cd / && pwd",
            b"echo `id`",
            b"scp -t $(id)",
            b"echo $HOME",
            b"pwd\nid",
            b"scp -t 'a",
            b"echo ${ShellId}%ComSpec% x",
            b"Get-FileHash -Algorithm MD5|x",
            b"x" * 100_000,
        ):
            status, said = self.refusal(command)
            self.assertEqual(status, 126, command)
            self.assertTrue(said.startswith(b"cftpcluster: only file transfer is served here: the command has "), said)

    def test_patternsWithoutBounds(self) -> None:
        self.shelf.put("/f")
        for name in range(1100):
            self.shelf.put(f"/many/{name}")
        self.assertEqual(self.refusal(b"md5sum" + b" many/*" * 10), (1, b"md5sum: stands for more than 10000 names\n"))

    def test_whoAsksForAShellIsTold(self) -> None:
        running = Running(commands.refuseShell, self.shelf.clock)
        self.assertEqual(running.channel.exitStatus, 1)
        self.assertEqual(bytes(running.channel.said), b"This service offers file transfer only (SFTP, SCP).\n")
