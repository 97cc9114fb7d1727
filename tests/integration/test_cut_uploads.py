"""Uploads whose client is killed half-way: what others saw of them all the time, and how they are continued."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

from cftpcluster.testing.processes import waitFor

from .clients import needs, randomFile, sha256
from .sshclients import LEGACY_PORT, ClientTestCase
from .talkers import FTPTalker, HTTPSTalker, SFTPTalker

SIZE = 4_000_001
RATE = 3_000_000
"""Bytes a second, so that there is time to look, and to kill."""


@needs("sftp", "ssh", "lftp", "curl")
class CutUploadTests(ClientTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.original = randomFile(self.local / "original", SIZE)
        self.ended = Event()
        self.pool = ThreadPoolExecutor(3)
        watching = (self.watchSFTP, self.watchFTP, self.watchHTTPS)
        self.watchers: list[Future[set[Any]]] = [self.pool.submit(watch) for watch in watching]
        self.addCleanup(self.pool.shutdown)
        self.addCleanup(self.ended.set)

    def seen(self) -> list[set[Any]]:
        """What the other user saw by each protocol: names that are listed, and the size of the file."""
        self.ended.set()
        return [watcher.result(60) for watcher in self.watchers]

    def watchSFTP(self) -> set[Any]:
        seen: set[Any] = set()
        with SFTPTalker(self.node, self.other) as session:
            while not self.ended.wait(0.01):
                seen.add(session.names(self.remote).data)
                seen.add(session.size(f"{self.remote}/file"))
                seen.add(len(session.fetch(f"{self.remote}/file").data))
        return seen - {0, None}

    def watchFTP(self) -> set[Any]:
        seen: set[Any] = set()
        with FTPTalker(self.node, self.other) as session:
            session.say(f"CWD {self.remote}")
            while not self.ended.wait(0.01):
                seen.add(session.fetch("NLST").data.replace(b"\r\n", b"\n").strip())
                size = session.say("SIZE file")
                seen.add(int(size.data.split()[1]) if size.isDone else None)
        return seen - {None}

    def watchHTTPS(self) -> set[Any]:
        seen: set[Any] = set()
        with HTTPSTalker(self.node, self.other) as session:
            while not self.ended.wait(0.01):
                entries = json.loads(session.ask("GET", self.remote).data)["entries"]
                seen.add("\n".join(entry["name"] for entry in entries).encode())
                found = session.ask("HEAD", f"{self.remote}/file")
                seen.add(int(session.length or 0) if found.isDone else None)
        return seen - {None}

    def killHalfway(self, *command: str | Path, script: str = "") -> None:
        """Begin an upload, and kill the client when half has arrived."""
        process = self.begin(*command)
        assert process.stdin is not None
        process.stdin.write(script.encode())
        process.stdin.flush()

        def half() -> bool:
            self.assertEqual(process.poll(), None, "it ended too early")
            return any(path.stat().st_size > SIZE // 2 for path in self.stored.glob(".cftpcluster-part-*"))

        waitFor("half of it", half)
        os.killpg(process.pid, signal.SIGKILL)
        self.nobodyWrites()
        self.assertFalse((self.stored / "file").exists())

    def continued(self) -> None:
        """Nobody saw anything but nothing and everything."""
        self.assertEqual(sha256(self.stored / "file"), sha256(self.original))
        self.assertEqual(os.listdir(self.stored), ["file"])
        for seen in self.seen():
            self.assertIn(b"", seen)
            self.assertTrue(seen <= {b"", b"file", SIZE}, seen)

    def openSSHCommand(self) -> list[str]:
        return ["sftp", *self.sshOptions(), "-l", str(RATE * 8 // 1000), "-b-", self.place]

    def test_sftpContinues(self) -> None:
        self.killHalfway(*self.openSSHCommand(), script="put original file\n")
        self.sftp("reput original file")
        self.continued()

    def test_lftpContinues(self) -> None:
        options = self.sshOptions()
        connecting = " ".join(["ssh", "-a", "-x", *options[: options.index("-oPort=2222")], *options[-1:]])
        command = ["lftp", "--norc", "-c"]
        opened = (
            f"set sftp:connect-program '{connecting}'; "
            f"open -u {self.user.name},none -p 2222 sftp://{self.node.address}{self.remote}"
        )
        self.killHalfway(*command, f"set net:limit-rate {RATE}; {opened}; put original -o file")
        self.run_(*command, f"{opened}; reput original -o file")
        self.continued()

    def test_curlContinues(self) -> None:
        login = ["-u", f"{self.user.name}:", "--key", str(self.user.key), "--pubkey", f"{self.user.key}.pub"]
        command = ["curl", "-q", "-sSk", *login, "-T", "original"]
        url = f"sftp://{self.node.address}:{LEGACY_PORT}{self.remote}/file"
        self.killHalfway(*command, "--limit-rate", str(RATE), url)
        self.run_(*command, "-C", "-", url)
        self.continued()

    def test_whatIsReplacedStays(self) -> None:
        (self.stored / "file").write_text("what was there")
        process = self.begin(*self.openSSHCommand())
        assert process.stdin is not None
        process.stdin.write(b"put original file\n")
        process.stdin.flush()
        parts = lambda: list(self.stored.glob(".cftpcluster-part-*"))  # noqa: E731
        waitFor("half of it", lambda: any(path.stat().st_size > SIZE // 2 for path in parts()))
        os.killpg(process.pid, signal.SIGKILL)
        waitFor("nothing is left", lambda: not parts())
        self.assertEqual((self.stored / "file").read_text(), "what was there")
        for seen in self.seen():
            self.assertEqual(seen, {b"file", len("what was there")})
