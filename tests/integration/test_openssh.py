"""OpenSSH's ``sftp`` and ``scp``, which speaks SFTP too, against a real node."""

from __future__ import annotations

import os
import re
import stat

from .clients import needs, randomFile, sha256
from .sshclients import ODD_NAMES, ClientTestCase, makeTree, tree

MANY = 2000


def quoted(name: str) -> str:
    """A name as a word of an ``sftp`` batch that is no pattern."""
    return '"' + re.sub(r'([\\"])', r"\\\1", name) + '"'


@needs("sftp", "ssh")
class SFTPTests(ClientTestCase):
    def test_putAndGet(self) -> None:
        original, copy = randomFile(self.local / "original", 1_000_003), self.local / "copy"
        original.chmod(0o640)
        os.utime(original, (1_000_000_000, 1_000_000_001))
        said = self.sftp("pwd", "mkdir work", "put -p original work/a", "get -p work/a copy")
        self.assertIn(f"Remote working directory: {self.remote}", said)
        for path in (self.stored / "work" / "a", copy):
            self.assertEqual(sha256(path), sha256(original))
            self.assertEqual((path.stat().st_mtime, stat.S_IMODE(path.stat().st_mode)), (1_000_000_001, 0o640))
        self.sftp("put -f original work/a", "rm work/a", "rmdir work")
        self.assertEqual(tree(self.stored), {})

    def test_resumingBothWays(self) -> None:
        original, copy = randomFile(self.local / "original", 3_000_000), self.local / "copy"
        whole = original.read_bytes()
        (self.local / "part").write_bytes(whole[:1_000_000])
        (self.local / "nothing").touch()
        self.sftp("put part file", "reput original file", "put nothing empty", "reput original empty")
        self.assertEqual((self.stored / "file").read_bytes(), whole)
        self.assertEqual((self.stored / "empty").read_bytes(), whole)
        copy.write_bytes(whole[:1_234_567])
        self.sftp("reget file copy", "get -a file copy")
        self.assertEqual(copy.read_bytes(), whole)

    def test_treesBothWays(self) -> None:
        original = makeTree(self.local / "original")
        self.sftp("put -Rp original", "get -Rp original copy")
        wanted = tree(original, times=True, modes=True)
        self.assertEqual(tree(self.stored / "original", times=True, modes=True), wanted)
        self.assertEqual(tree(self.local / "copy", times=True, modes=True), wanted)

    def test_renamingLinkingAndChanging(self) -> None:
        (self.local / "one").write_text("one")
        (self.local / "two").write_text("two")
        said = self.sftp(
            "put one",
            "put two",
            "rename one two",
            "ln two hard",
            "ln -s two soft",
            "ln -s missing/place dangling",
            "chmod 600 two",
            "get soft fetched",
            "mkdir folder",
            "rename folder moved",
            "rename hard moved/hard",
            "ls -ln",
        )
        self.assertEqual((self.local / "fetched").read_text(), "one")
        self.assertEqual((self.stored / "two").stat().st_nlink, 2)
        self.assertEqual(stat.S_IMODE((self.stored / "two").stat().st_mode), 0o600)
        self.assertEqual(os.readlink(self.stored / "soft"), "two")
        self.assertEqual(os.readlink(self.stored / "dangling"), "missing/place")
        self.assertTrue(re.search(r"-rw-------.* two\n", said), said)
        self.assertTrue(re.search(r"lrwxrwxrwx.* soft", said), said)
        self.sftp("rm soft", "rm dangling", "rm moved/hard", "rmdir moved", "rm two")
        self.assertEqual(tree(self.stored), {})

    def test_whatFailsSaysSo(self) -> None:
        self.sftp("mkdir folder", "mkdir folder/full")
        for command, words in {
            "cd missing": "No such file",
            "get missing": "not found",
            "mkdir folder": "Failure",
            "rmdir folder": "Failure",
            "rmdir folder/missing": "No such file",
            "rm missing": "No such file",
            "rename missing other": "No such file",
            "put missing": "No such file",
        }.items():
            self.assertIn(words, self.sftp(command, ends=1))

    def test_space(self) -> None:
        said = self.sftp("df", "df -hi")
        self.assertEqual(len(re.findall(r"\d+ +[\d.]+\w? +[\d.]+\w? +[\d.]+\w? +\d+%", said)), 2, said)

    def test_copiesOnTheServer(self) -> None:
        original = randomFile(self.local / "original", 2_000_001)
        self.sftp("put original", "copy original copied", "copy original copied")
        self.assertEqual(sha256(self.stored / "copied"), sha256(original))

    def test_manyNames(self) -> None:
        for number in range(MANY):
            (self.stored / f"file{number:04}").touch()
        (self.stored / "other").touch()
        lines = self.sftp("ls -ln").splitlines()
        self.assertEqual(len([line for line in lines if re.search(r"^-r.* (file\d{4}|other)$", line)]), MANY + 1)
        self.assertEqual(self.sftp("ls -1 file*7").split()[-MANY // 10 :], [f"file{n:04}" for n in range(7, MANY, 10)])
        self.sftp("get file000*", "rm file19*")
        self.assertEqual(sorted(path.name for path in self.local.iterdir()), [f"file000{n}" for n in range(10)])
        self.assertEqual(len(list(self.stored.iterdir())), MANY + 1 - 100)

    def test_oddNames(self) -> None:
        for name in ODD_NAMES:
            (self.local / name).write_text(name)
        self.sftp(*(f"put {quoted(name)}" for name in ODD_NAMES))
        self.assertEqual({path.name: path.read_text() for path in self.stored.iterdir()}, {n: n for n in ODD_NAMES})
        (self.local / "back").mkdir()
        self.sftp(*(f"get {quoted(name)} back/" for name in ODD_NAMES), *(f"rm {quoted(name)}" for name in ODD_NAMES))
        self.assertEqual(sorted(path.name for path in (self.local / "back").iterdir()), sorted(ODD_NAMES))
        self.assertEqual(list(self.stored.iterdir()), [])

    def test_newKeysAllTheTime(self) -> None:
        original, copy = randomFile(self.local / "original", 12 << 20), self.local / "copy"
        self.sftp("put original", "get original copy", RekeyLimit="256K")
        self.assertEqual(sha256(copy), sha256(original))

    def test_sizesOfRequests(self) -> None:
        original, copy = randomFile(self.local / "original", 2_000_003), self.local / "copy"
        for options in (("-B", "1000", "-R", "200"), ("-B", "261120", "-R", "64"), ("-R", "1")):
            self.openSSH("sftp", *options, "-b-", self.place, script="put original\nget original copy\nrm original\n")
            self.assertEqual(sha256(copy), sha256(original))


@needs("scp", "ssh")
class SCPTests(ClientTestCase):
    """The mode that is the default since OpenSSH 9.0, in which ``scp`` speaks SFTP."""

    def scp(self, *arguments: str) -> str:
        return self.openSSH("scp", "-s", *arguments)

    def test_filesBothWays(self) -> None:
        original = randomFile(self.local / "original", 1_000_000)
        self.assertEqual(self.scp("original", f"{self.place}/file"), "")
        self.assertEqual(sha256(self.stored / "file"), sha256(original))
        self.assertEqual(self.scp(f"{self.place}/file", "copy"), "")
        self.assertEqual(sha256(self.local / "copy"), sha256(original))
        self.assertEqual(self.scp(f"{self.user.name}@{self.node.address}:~{self.remote}/file", "home"), "")
        self.assertEqual(sha256(self.local / "home"), sha256(original))

    def test_treesBothWays(self) -> None:
        original = makeTree(self.local / "original")
        wanted = tree(original, times=True, modes=True)
        self.scp("-pr", "original", self.place)
        self.assertEqual(tree(self.stored / "original", times=True, modes=True), wanted)
        self.scp("-pr", f"{self.place}/original", "copy")
        self.assertEqual(tree(self.local / "copy", times=True, modes=True), wanted)

    def test_patternsAndCopiesBetweenUsers(self) -> None:
        for name in ("a1", "a2", "b1"):
            (self.stored / name).write_text(name)
        self.scp(f"{self.place}/a*", "./")
        self.assertEqual(sorted(path.name for path in self.local.iterdir()), ["a1", "a2"])
        self.scp("-3", f"{self.place}/b1", f"{self.place}/b2")
        self.assertEqual((self.stored / "b2").read_text(), "b1")
