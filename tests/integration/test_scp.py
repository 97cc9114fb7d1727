"""SCP as it is spoken by ``scp -O`` and others, the commands that are served, and what is not, on a real node."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cftpcluster.testing.processes import isListening, waitFor

from .clients import needs, randomFile, sha256
from .sshclients import LEGACY_PORT, ODD_NAMES, ClientTestCase, makeTree, tree
from .test_sftp_clients import fingerprints


def plainTree(root: Path) -> Path:
    """As :func:`makeTree`, without names that clients take for paths of Windows, or whose first blank they lose."""
    makeTree(root)
    for name in ("back\\slash", " blanks around "):
        (root / name).unlink()
    return root


@needs("scp", "ssh")
class OpenSSHTests(ClientTestCase):
    def scp(self, *arguments: str | Path, ends: int = 0) -> str:
        return self.openSSH("scp", "-O", *arguments, ends=ends)

    def test_treesBothWays(self) -> None:
        original = makeTree(self.local / "original")
        self.scp("-rp", "original", self.place)
        stored = self.stored / "original"
        self.assertEqual(tree(stored, times=True, modes=True), tree(original, times=True, modes=True))
        self.assertEqual((stored / "empty").stat().st_mtime, (original / "empty").stat().st_mtime)
        self.scp("-rp", f"{self.place}/original", "copy")
        self.assertEqual(tree(self.local / "copy", times=True, modes=True), tree(original, times=True, modes=True))
        (original / "grün").write_text("more")
        self.scp("-r", "original", self.place)
        self.assertEqual((stored / "grün").read_text(), "more")
        self.scp("-r", "original", f"{self.place}/new")
        self.assertEqual(tree(self.stored / "new"), tree(original))
        self.assertEqual(self.leftovers(), [])

    def test_namesAreQuotedByTheirUsers(self) -> None:
        for number, name in enumerate(ODD_NAMES):
            (self.local / name).write_text(str(number))
            self.scp(f"./{name}", f"{self.user.name}@{self.node.address}:{shlex.quote(f'{self.remote}/{name}')}")
            self.assertEqual((self.stored / name).read_text(), str(number))
            # without -T the client compares what it gets with what it typed, quotes and all
            self.scp("-T", f"{self.user.name}@{self.node.address}:{shlex.quote(f'{self.remote}/{name}')}", "copy")
            self.assertEqual((self.local / "copy").read_text(), str(number))

    def test_patternsAndSeveralSources(self) -> None:
        for name in ("a.txt", "b.txt", "c.doc"):
            (self.local / name).write_text(name)
        self.scp("a.txt", "b.txt", "c.doc", self.place)
        for folder in ("one", "two"):
            (self.local / folder).mkdir()
        self.scp(f"{self.place}/*.txt", "one")
        self.assertEqual(sorted(os.listdir(self.local / "one")), ["a.txt", "b.txt"])
        self.scp(f"{self.place}/[bc].*", f"{self.place}/a.txt", "two")
        self.assertEqual(sorted(os.listdir(self.local / "two")), ["a.txt", "b.txt", "c.doc"])
        said = self.scp(f"{self.place}/*.none", "one", ends=1)
        self.assertIn("*.none: No such file or directory", said)

    def test_whatFailsSaysSo(self) -> None:
        randomFile(self.local / "file", 1000)
        (self.stored / "folder").mkdir()
        there = self.place
        for arguments, words in {
            (f"{there}/missing", "."): "missing: No such file or directory",
            (f"{there}/folder", "."): "folder: not a regular file",
            ("file", f"{there}/missing/file"): "missing/file: No such file or directory",
            ("file", f"{there}/missing/"): "missing/: Not a directory",
            ("file", "file", f"{there}/missing"): "missing: No such file or directory",
            ("file", f"{there}/.cftpcluster-x"): "this name is reserved",
        }.items():
            self.assertIn(words, self.scp(*arguments, ends=1))
        said = self.scp("file", "missing", f"{there}/folder", ends=1)
        self.assertIn("missing: No such file or directory", said)
        self.assertEqual(sha256(self.stored / "folder" / "file"), sha256(self.local / "file"))

    def test_aKilledUploadIsNeverSeenAndGoesOnOverSFTP(self) -> None:
        original, target = randomFile(self.local / "original", 6_000_000), self.stored / "file"
        for existed in (True, False):
            if existed:
                target.write_text("old")
            command = ["scp", "-O", "-l", "16000", *self.sshOptions(), "original", f"{self.place}/file"]
            process = self.begin(*command)
            waitFor("something was stored", lambda: self._partBytes() > 1_000_000)
            os.killpg(process.pid, signal.SIGKILL)
            self.nobodyWrites()
            self.assertEqual(target.read_text() if existed else target.exists(), "old" if existed else False)
            if existed:
                waitFor("nothing is left", lambda: not self.leftovers())
                target.unlink()
        self.sftp("reput original file")
        self.assertEqual(sha256(target), sha256(original))
        self.assertEqual(self.leftovers(), [])

    def _partBytes(self) -> int:
        return max((path.stat().st_size for path in self.stored.glob(".cftpcluster-part-*")), default=0)

    def test_fromServerToServer(self) -> None:
        original = randomFile(self.stored / "original", 300_000)
        self.scp("-3", f"{self.place}/original", f"{self.place}/copy")
        self.assertEqual(sha256(self.stored / "copy"), sha256(original))


@needs("pscp", "puttygen", "ssh-keyscan")
class PuTTYTests(ClientTestCase):
    def test_pscp(self) -> None:
        original = plainTree(self.local / "original")
        there = f"{self.user.name}@{self.node.address}:{self.remote}"
        known = [word for print_ in fingerprints(self.node.address) for word in ("-hostkey", print_)]
        command = ["pscp", "-scp", "-batch", "-P", "2222", "-pw", self.user.password, *known]
        self.run_(*command, "-p", "-r", "original", f"{there}/")
        self.assertEqual(tree(self.stored / "original", times=True), tree(original, times=True))
        self.run_(*command, "-p", "-r", f"{there}/original", "copy")
        self.assertEqual(tree(self.local / "copy", times=True), tree(original, times=True))
        self.run_(*command, "-unsafe", f"{there}/original/t*", "./")
        self.assertTrue((self.local / "two words").exists())
        self.assertIn(b"No such file or directory", self.run_(*command, f"{there}/missing", "x", ends=1).stderr)


@needs("curl")
class CurlTests(ClientTestCase):
    """libssh2."""

    def curl(self, name: str, *arguments: str, ends: int = 0) -> None:
        login = ["-u", f"{self.user.name}:", "--key", str(self.user.key), "--pubkey", f"{self.user.key}.pub"]
        url = f"scp://{self.node.address}:{LEGACY_PORT}{quote(f'{self.remote}/{name}')}"
        self.run_("curl", "-q", "-sSk", *login, *arguments, url, ends=ends)

    def test_filesBothWays(self) -> None:
        for name in ("file", 'it\'s a "name"!'):
            original = randomFile(self.local / "original", 2_000_001)
            self.curl(name, "-T", "original")
            waitFor("it is there", (self.stored / name).exists)
            self.assertEqual(sha256(self.stored / name), sha256(original))
            self.curl(name, "-o", "copy")
            self.assertEqual(sha256(self.local / "copy"), sha256(original))
        self.curl("missing", "-o", "x", ends=78)
        self.curl("missing/file", "-T", "original", ends=25)


class AsyncSSHTests(ClientTestCase):
    if find_spec("asyncssh") is None:
        skip = "not installed: asyncssh"

    def test_treesBothWays(self) -> None:
        original = plainTree(self.local / "original")

        async def work() -> None:
            import asyncssh

            async with asyncssh.connect(
                self.node.address,
                2222,
                username=self.user.name,
                client_keys=[str(self.user.key)],
                known_hosts=None,
                config=None,
            ) as connection:
                there: Any = (connection, self.remote)
                await asyncssh.scp(str(original), there, recurse=True, preserve=True)
                await asyncssh.scp(
                    (connection, f"{self.remote}/original"), str(self.local / "copy"), recurse=True, preserve=True
                )
                with self.assertRaises(asyncssh.SFTPFailure):
                    await asyncssh.scp((connection, f"{self.remote}/missing"), str(self.local))

        asyncio.run(work())
        self.assertEqual(tree(self.stored / "original", times=True), tree(original, times=True))
        self.assertEqual(tree(self.local / "copy", times=True), tree(original, times=True))


@needs("ssh")
class CommandTests(ClientTestCase):
    def ssh(self, command: str, script: str = "", ends: int = 0) -> tuple[bytes, bytes]:
        """Output and errors of a command."""
        done = self.run_("ssh", *self.sshOptions(), self._host, command, script=script, ends=ends)
        return done.stdout, done.stderr

    @property
    def _host(self) -> str:
        return f"{self.user.name}@{self.node.address}"

    def test_checksumsAsGNUTellsThem(self) -> None:
        for number, name in enumerate((*ODD_NAMES, "line\nend")):
            (self.stored / name).write_bytes(os.urandom(number * 10_000))
        names = " ".join(shlex.quote(f"{self.remote}/{name}") for name in os.listdir(self.stored))
        for program in ("md5sum", "sha1sum", "sha256sum"):
            here = names.replace(self.remote, str(self.stored))
            wanted = subprocess.run(f"{program} {here}", shell=True, capture_output=True, check=True).stdout
            self.assertEqual(
                self.ssh(f"{program} {names}"), (wanted.replace(bytes(self.stored), self.remote.encode()), b"")
            )
            wanted = subprocess.run(program, input=b"some", capture_output=True, check=True).stdout
            self.assertEqual(self.ssh(program, "some"), (wanted, b""))
        said = self.ssh(f"md5sum {self.remote}/missing", ends=1)
        self.assertEqual(said, (b"", f"md5sum: {self.remote}/missing: No such file or directory\n".encode()))

    def test_lookingAround(self) -> None:
        self.assertEqual(self.ssh("pwd"), (b"/\n", b""))
        self.assertEqual(self.ssh(f"cd {self.remote}"), (b"", b""))
        self.assertEqual(self.ssh("cd /missing", ends=1), (b"", b"cd: /missing: No such file or directory\n"))
        self.assertEqual(self.ssh("echo ${ShellId}%ComSpec%"), (b"%ComSpec%\n", b""))
        head, line = self.ssh(f"df -k {self.remote}")[0].decode().splitlines()
        space = os.statvfs(self.stored)
        self.assertEqual(head.split()[1:4], ["1K-blocks", "Used", "Available"])
        self.assertEqual(int(line.split()[1]), space.f_blocks * space.f_frsize // 1024)

    def test_nothingElse(self) -> None:
        for command, status in {
            "id": 127,
            "/bin/sh -c id": 127,
            "rsync --server . /": 127,
            "xxh128sum": 127,
            "md5sum x; id": 126,
            "echo $(id)": 126,
            "scp -t / && id": 126,
        }.items():
            output, said = self.ssh(command, ends=status)
            self.assertEqual((output, said.count(b"\n")), (b"", 1))
            self.assertIn(b"only file transfer is served here", said)

    def test_whoWantsAShellIsTold(self) -> None:
        line = b"This service offers file transfer only (SFTP, SCP)."
        for options in ([], ["-T"], ["-A", "-X"]):
            done = self.run_("ssh", *self.sshOptions(), *options, self._host, ends=1, seconds=20)
            self.assertEqual((done.stdout, done.stderr.strip()), (b"", line))
        done = self.run_("ssh", *self.sshOptions(), "-tt", self._host, ends=255, seconds=20)
        self.assertIn(b"PTY allocation request failed", done.stderr)

    def test_nothingIsForwarded(self) -> None:
        options = self.sshOptions(ExitOnForwardFailure="yes", LogLevel="INFO")
        done = self.run_("ssh", *options, "-N", "-R", "0:127.0.0.1:22", self._host, ends=255, seconds=20)
        self.assertIn(b"remote port forwarding failed", done.stderr)
        done = self.run_("ssh", *options, "-W", f"{self.node.address}:8790", self._host, ends=255, seconds=20)
        self.assertIn(b"only file transfer is served here", done.stderr)
        with socket.create_server((self.node.address, 0)) as free:
            port: int = free.getsockname()[1]
        target = socket.inet_aton(self.node.address)
        here = f"{self.node.address}:{port}"
        for kind, request in (
            (["-L", f"{here}:{self.node.address}:8790"], b"GET /livez HTTP/1.0\r\n\r\n"),
            (["-D", here], b"\4\1" + (8790).to_bytes(2, "big") + target + b"\0"),
        ):
            process = self.begin("ssh", *options, *kind, "-N", self._host)
            self.assertEqual(self._answer(port, request), b"", kind)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _answer(self, port: int, request: bytes) -> bytes:
        """What comes back on a forwarded port before it is closed."""
        waitFor("ssh listens", lambda: isListening(self.node.address, port))
        with socket.create_connection((self.node.address, port), 20) as forwarded:
            try:
                forwarded.sendall(request)
                return forwarded.recv(1000)
            except ConnectionResetError:
                return b""
