"""Uploads whose client is killed half-way: what others saw of them all the time, and how they are continued."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
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
        pool = ThreadPoolExecutor(3)
        self.addCleanup(pool.shutdown)
        self.watchers: list[Future[set[Any]]] = []
        for look in (self.overSFTP(), self.overFTP(), self.overHTTPS()):
            # A first look, so that there was one before the file was.
            self.watchers.append(pool.submit(self.watch, look, look()))
        self.addCleanup(self.ended.set)

    def watch(self, look: Callable[[], set[Any]], seen: set[Any]) -> set[Any]:
        while not self.ended.wait(0.01):
            seen |= look()
        return seen

    def seen(self) -> list[set[Any]]:
        """What the other user saw by each protocol: names that are listed, and the size of the file."""
        self.ended.set()
        return [watcher.result(60) for watcher in self.watchers]

    def overSFTP(self) -> Callable[[], set[Any]]:
        session = SFTPTalker(self.node, self.other)
        self.addCleanup(session.end)

        def look() -> set[Any]:
            sizes = {session.size(f"{self.remote}/file"), len(session.fetch(f"{self.remote}/file").data)}
            return {session.names(self.remote).data} | (sizes - {None, 0})

        return look

    def overFTP(self) -> Callable[[], set[Any]]:
        session = FTPTalker(self.node, self.other)
        self.addCleanup(session.ftp.close)
        session.say(f"CWD {self.remote}")

        def look() -> set[Any]:
            names = session.fetch("NLST").data.replace(b"\r\n", b"\n").strip()
            size = session.say("SIZE file")
            return {names, *([int(size.data.split()[1])] if size.isDone else [])}

        return look

    def overHTTPS(self) -> Callable[[], set[Any]]:
        session = HTTPSTalker(self.node, self.other)
        self.addCleanup(session.__exit__)

        def look() -> set[Any]:
            entries = json.loads(session.ask("GET", self.remote).data)["entries"]
            found = session.ask("HEAD", f"{self.remote}/file")
            names = "\n".join(entry["name"] for entry in entries).encode()
            return {names, *([int(session.length or 0)] if found.isDone else [])}

        return look

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

    def continued(self) -> None:
        """All is there at last, and nobody saw anything but nothing and everything."""
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
        old = b"what was there"
        (self.local / "old").write_bytes(old)
        self.sftp("put old file")
        self.killHalfway(*self.openSSHCommand(), script="put original file\n")
        waitFor("nothing is left", lambda: os.listdir(self.stored) == ["file"])
        self.assertEqual((self.stored / "file").read_bytes(), old)
        for seen in self.seen():
            self.assertTrue(seen <= {b"", b"file", len(old)} and len(old) in seen, seen)
