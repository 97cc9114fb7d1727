"""Clients of SFTP that others wrote, against a real node: rclone, lftp, PuTTY's psftp and pscp, and curl."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
from functools import cache
from pathlib import Path

from .clients import needs, randomFile, sha256
from .sshclients import LEGACY_PORT, ODD_NAMES, SSH_OPTIONS, ClientTestCase, makeTree, tree


@needs("rclone")
class RcloneTests(ClientTestCase):
    """Go's SSH, and ``pkg/sftp``."""

    def rclone(self, *arguments: str | Path, ends: int = 0, **options: str) -> str:
        """Run ``rclone``, which knows the node as ``node:``; what it wrote, or why it failed."""
        chosen = {
            "TYPE": "sftp",
            "HOST": self.node.address,
            "PORT": "2222",
            "USER": self.user.name,
            "KEY_FILE": str(self.user.key),
            **options,
        }
        environment = {f"RCLONE_CONFIG_NODE_{name}": value for name, value in chosen.items()}
        environment["RCLONE_CONFIG"] = os.devnull
        done = self.run_("rclone", "--retries=1", *arguments, ends=ends, environment=environment)
        return (done.stderr if ends else done.stdout).decode()

    def test_copyingSynchronisingAndChecking(self) -> None:
        original = makeTree(self.local / "original")
        there = f"node:{self.remote}/there"
        self.rclone("copy", original, there, "--create-empty-src-dirs")
        wanted = tree(original, times=True)
        self.assertEqual(tree(self.stored / "there", times=True), wanted)
        self.rclone("check", original, there)
        (self.stored / "there" / ODD_NAMES[5]).write_bytes(b"x" * 5000)
        said = self.rclone("check", "--download", original, there, ends=1)
        self.assertIn("1 differences found", said)
        (original / ODD_NAMES[1]).unlink()
        (original / "added").write_text("added")
        self.rclone("sync", original, there, "--create-empty-src-dirs")
        self.assertEqual(tree(self.stored / "there", times=True), tree(original, times=True))
        self.rclone("copy", there, "copy", "--create-empty-src-dirs")
        self.assertEqual(tree(self.local / "copy", times=True), tree(original, times=True))
        self.rclone("check", "copy", there)
        self.rclone("moveto", f"{there}/added", f"{there}/new/moved")
        self.assertEqual((self.stored / "there" / "new" / "moved").read_text(), "added")
        self.rclone("purge", there)
        self.assertEqual(tree(self.stored), {})

    def test_space(self) -> None:
        about = json.loads(self.rclone("about", "--json", "node:"))
        space = os.statvfs(self.stored)
        self.assertEqual(about["total"], space.f_blocks * space.f_frsize)
        self.assertTrue(0 < about["free"] < about["total"])

    def test_hashes(self) -> None:
        for name in ODD_NAMES:
            (self.stored / name).write_text(name)
        for kind in ("md5", "sha1"):
            wanted = {f"{hashlib.new(kind, name.encode()).hexdigest()}  {name}" for name in ODD_NAMES}
            # One after the other: it takes hashes for impossible while it is still finding out.
            told = self.rclone("hashsum", "--transfers=1", kind, f"node:{self.remote}")
            self.assertEqual(set(told.splitlines()), wanted)
        (self.local / "here").mkdir()
        (self.local / "here" / "file").write_text("some")
        self.rclone("copy", "--checksum", "here", f"node:{self.remote}/there")
        (self.stored / "there" / "file").write_text("same")
        said = self.rclone("check", "here", f"node:{self.remote}/there", ends=1)
        self.assertIn("md5 differ", said)

    def test_largeFilesOfManyRequests(self) -> None:
        original = randomFile(self.local / "original", 8_000_003)
        for options in ({}, {"CHUNK_SIZE": "255Ki", "CONCURRENCY": "16"}, {"DISABLE_CONCURRENT_WRITES": "true"}):
            self.rclone("copyto", original, f"node:{self.remote}/file", "--ignore-times", **options)
            self.assertEqual(sha256(self.stored / "file"), sha256(original))
            self.rclone("copyto", f"node:{self.remote}/file", "copy", "--multi-thread-cutoff=1M", **options)
            self.assertEqual(sha256(self.local / "copy"), sha256(original))
            (self.local / "copy").unlink()

    def test_listings(self) -> None:
        makeTree(self.stored / "tree")
        listed = json.loads(self.rclone("lsjson", "-R", f"node:{self.remote}/tree"))
        self.assertEqual({entry["Path"] for entry in listed}, set(tree(self.stored / "tree")))


@needs("lftp", "ssh")
class LftpTests(ClientTestCase):
    """What speaks SFTP through OpenSSH's ``ssh``, with packets and an order of requests of its own."""

    def lftp(self, *commands: str) -> str:
        options = [f"-o{name}={value}" for name, value in SSH_OPTIONS.items()]
        connecting = shlex.join(["ssh", "-a", "-x", "-F", "/dev/null", "-i", str(self.user.key), *options])
        script = [
            f"set sftp:connect-program {json.dumps(connecting)}",
            "set net:max-retries 1",
            "set cmd:fail-exit true",
            f"open -u {self.user.name},none -p 2222 sftp://{self.node.address}{self.remote}",
            *commands,
        ]
        return self.run_("lftp", "--norc", "-c", "; ".join(script)).stdout.decode()

    def test_filesBothWays(self) -> None:
        original = randomFile(self.local / "original", 3_000_001)
        whole = original.read_bytes()
        (self.stored / "part").write_bytes(whole[:1_000_000])
        (self.local / "rest").write_bytes(whole[:2_000_000])
        said = self.lftp(
            "put original -o file",
            "get file -o copy",
            "reput original -o part",
            "reget file -o rest",
            "pget -n 3 file -o pieces",
            "mkdir -p some/folder",
            "mv file some/folder/file",
            "chmod 600 some/folder/file",
            "cls -l some/folder",
        )
        for path in (self.stored / "some" / "folder" / "file", self.stored / "part"):
            self.assertEqual(sha256(path), sha256(original))
        for name in ("copy", "rest", "pieces"):
            self.assertEqual(sha256(self.local / name), sha256(original), name)
        self.assertIn("-rw-------", said)
        self.lftp("rm -r some", "rm part")
        self.assertEqual(tree(self.stored), {})

    def test_mirrorsBothWays(self) -> None:
        original = makeTree(self.local / "original")
        self.lftp("mirror -R --parallel=3 original there", "mirror there copy")
        self.assertEqual(tree(self.stored / "there", times=True, modes=True), tree(original, times=True, modes=True))
        self.assertEqual(tree(self.local / "copy", times=True), tree(original, times=True))
        (original / ODD_NAMES[0]).unlink()
        (original / "added").write_text("added")
        self.lftp("mirror -R --delete original there")
        self.assertEqual(tree(self.stored / "there"), tree(original))


@needs("psftp", "pscp", "puttygen", "ssh-keyscan")
class PuTTYTests(ClientTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.original = makeTree(self.local / "original")
        # Taken for a folder of Windows, and refused.
        (self.original / "back\\slash").unlink()
        self.key = self.user.key.with_suffix(".ppk")
        if not self.key.exists():
            nothing = self.local / "nothing"
            nothing.touch()
            self.run_("puttygen", self.user.key, "-O", "private", "-o", self.key, "--new-passphrase", nothing)

    def putty(self, program: str, *arguments: str | Path, ends: int = 0) -> str:
        known = [word for print_ in fingerprints(self.node.address) for word in ("-hostkey", print_)]
        command = [program, "-batch", "-P", "2222", "-i", self.key, *known, *arguments]
        done = self.run_(*command, ends=ends)
        return (done.stdout + done.stderr).decode()

    def psftp(self, *commands: str, ends: int = 0) -> str:
        (self.local / "script").write_text("\n".join([f"cd {self.remote}", *commands]) + "\n")
        return self.putty("psftp", "-b", "script", f"{self.user.name}@{self.node.address}", ends=ends)

    def test_psftp(self) -> None:
        large = randomFile(self.local / "large", 2_000_001)
        whole = large.read_bytes()
        (self.stored / "part").write_bytes(whole[:700_000])
        (self.local / "rest").write_bytes(whole[:1_300_000])
        said = self.psftp(
            "pwd",
            "put large file",
            "get file copy",
            "reput large part",
            "reget file rest",
            "mkdir folder",
            "mv file folder/file",
            "chmod 600 folder/file",
            "ls folder",
            "put -r original tree",
            "get -r tree back",
            "del part",
        )
        self.assertIn(f"Remote directory is {self.remote}", said)
        self.assertIn("-rw-------", said)
        for path in (self.stored / "folder" / "file", self.local / "copy", self.local / "rest"):
            self.assertEqual(sha256(path), sha256(large), path)
        self.assertEqual(tree(self.stored / "tree"), tree(self.original))
        self.assertEqual(tree(self.local / "back"), tree(self.original))
        self.assertIn("no such file", self.psftp("get missing", ends=2))

    def test_pscp(self) -> None:
        there = f"{self.user.name}@{self.node.address}:{self.remote}"
        self.putty("pscp", "-sftp", "-p", "-r", "original", f"{there}/")
        self.assertEqual(tree(self.stored / "original", times=True), tree(self.original, times=True))
        self.putty("pscp", "-sftp", "-p", "-r", f"{there}/original", "copy")
        self.assertEqual(tree(self.local / "copy", times=True), tree(self.original, times=True))
        self.assertIn("large", self.putty("pscp", "-sftp", "-ls", f"{there}/original/deep/er"))


@cache
def fingerprints(address: str) -> list[str]:
    """Of a node's host keys, as PuTTY takes them."""
    keys = subprocess.run(["ssh-keyscan", "-p", "2222", address], capture_output=True, check=True).stdout
    told = subprocess.run(["ssh-keygen", "-lf", "-"], input=keys, capture_output=True, check=True).stdout.decode()
    return [line.split()[1] for line in told.splitlines()]


@needs("curl")
class CurlTests(ClientTestCase):
    """libssh2, as old as Debian 12 has it."""

    def curl(self, path: str, *arguments: str, ends: int = 0) -> bytes:
        """Run ``curl`` with a URL below :attr:`remote`; what it wrote."""
        login = ["-u", f"{self.user.name}:", "--key", str(self.user.key), "--pubkey", f"{self.user.key}.pub"]
        url = f"sftp://{self.node.address}:{LEGACY_PORT}{self.remote}/{path}"
        return self.run_("curl", "-q", "-sSk", *login, *arguments, url, ends=ends).stdout

    def test_filesBothWays(self) -> None:
        original = randomFile(self.local / "original", 2_000_001)
        self.curl("new/folder/file", "-T", "original", "--ftp-create-dirs")
        self.assertEqual(sha256(self.stored / "new" / "folder" / "file"), sha256(original))
        self.curl("new/folder/file", "-o", "copy")
        self.assertEqual(sha256(self.local / "copy"), sha256(original))
        self.assertEqual(self.curl("new/folder/file", "-r", "1000-1009"), original.read_bytes()[1000:1010])
        self.assertIn(b" file\n", self.curl("new/folder/"))
        self.assertEqual(self.curl("new/", "-l").split(), [b".", b"..", b"folder"])
        self.curl("missing", ends=78)

    def test_resumingBothWays(self) -> None:
        original = randomFile(self.local / "original", 2_000_001)
        whole = original.read_bytes()
        (self.stored / "part").write_bytes(whole[:700_000])
        self.curl("part", "-T", "original", "-C", "-")
        self.assertEqual(sha256(self.stored / "part"), sha256(original))
        (self.local / "copy").write_bytes(whole[:1_300_000])
        self.curl("part", "-o", "copy", "-C", "-")
        self.assertEqual(sha256(self.local / "copy"), sha256(original))
        self.curl("part", "-T", "original", "--append")
        self.assertEqual((self.stored / "part").read_bytes(), whole + whole)

    def test_quotedCommands(self) -> None:
        (self.local / "file").write_text("content")
        commands = [
            f"rename {self.remote}/first {self.remote}/second",
            f"chmod 600 {self.remote}/second",
            f'mtime "20000101 00:00:00" {self.remote}/second',
            f"ln {self.remote}/second {self.remote}/link",
            f"mkdir {self.remote}/folder",
            f"*rmdir {self.remote}/missing",
            f"statvfs {self.remote}",
            "pwd",
        ]
        self.curl("first", "-T", "file", *(word for command in commands for word in ("-Q", f"-{command}")))
        self.assertEqual((self.stored / "second").read_text(), "content")
        self.assertEqual((self.stored / "second").stat().st_mode & 0o777, 0o600)
        self.assertEqual((self.stored / "second").stat().st_mtime, 946_684_800)
        self.assertEqual((self.stored / "link").read_text(), "content")
        self.curl(
            "", "-Q", f"rm {self.remote}/link", "-Q", f"rm {self.remote}/second", "-Q", f"rmdir {self.remote}/folder"
        )
        self.assertEqual(tree(self.stored), {})
