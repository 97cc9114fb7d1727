"""What SFTP's extensions do on a real node: copies and checksums, with quotas, speeds and sessions that end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cftpcluster.testing.processes import processorSeconds, waitFor

from .clients import TRANSFER_SECONDS, Client, needs, needsPackage, randomFile, sha256
from .sshclients import PERMISSIONS, ClientTestCase


@needs("sftp", "ssh")
class CopyTests(ClientTestCase):
    def test_openSSHCopies(self) -> None:
        original = randomFile(self.local / "original", 20_000_003)
        self.sftp("put original a", "copy a b", "copy a b", "ln a c", "copy b c")
        for name in ("b", "c"):
            self.assertEqual(sha256(self.stored / name), sha256(original))
        self.sftp("copy a none/b", ends=1)
        self.assertEqual(sorted(os.listdir(self.stored)), ["a", "b", "c"])


@needsPackage("paramiko")
class BoundTests(ClientTestCase):
    """Users whose room and speed are bound."""

    def user_(self, name: str, **more: Any) -> Client:
        user = Client(f"ssh-{name}", "right horse", self.local)
        mount = {"path": "/", "backend": "files", "folder": f"ssh-{name}", "permissions": list(PERMISSIONS)}
        self.node.apply({"users": [user.document(mounts=[mount], **more)]})
        return user

    @contextmanager
    def connected(self, user: Client) -> Iterator[Any]:
        import paramiko

        with paramiko.SSHClient() as client:
            client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
            client.connect(
                self.node.address,
                2222,
                user.name,
                password=user.password,
                allow_agent=False,
                look_for_keys=False,
                timeout=TRANSFER_SECONDS,
            )
            with client.open_sftp() as session:
                yield session

    def copy(self, session: Any, old: str, new: str) -> None:
        from paramiko.sftp import CMD_EXTENDED, int64

        with session.open(old) as source, session.open(new, "w") as target:
            words = (source.handle, int64(0), int64(0), target.handle, int64(0))
            session._request(CMD_EXTENDED, "copy-data", *words)

    def test_copiesCount(self) -> None:
        user = self.user_("quota", quota={"bytes": 2_500_000})
        place = self.node.state / "files" / user.name
        with self.connected(user) as session:
            session.putfo(randomFile(self.local / "data", 1_000_000).open("rb"), "a")
            self.copy(session, "a", "b")
            with self.assertRaises(OSError) as refused:
                self.copy(session, "a", "c")
            self.assertIn("quota", str(refused.exception))
            self.assertEqual(sorted(os.listdir(place)), ["a", "b"])
            # what was refused was given back, and so is what is replaced or removed
            self.copy(session, "a", "b")
            session.remove("b")
            self.copy(session, "a", "c")
        self.assertEqual(sha256(place / "c"), sha256(self.local / "data"))

    def test_copiesKeepToASpeed(self) -> None:
        user = self.user_("slow", limits={"uploadBytesPerSecond": 2_000_000})
        place = self.node.state / "files" / user.name
        place.mkdir()
        randomFile(place / "a", 2_000_000)
        with self.connected(user) as session:
            begun = time.monotonic()
            self.copy(session, "a", "b")
            self.assertGreater(time.monotonic() - begun, 0.7)
        self.assertEqual(sha256(place / "b"), sha256(place / "a"))

    def test_checksumsEndWithTheirSession(self) -> None:
        from paramiko.sftp import CMD_EXTENDED, int64

        with (self.stored / "endless").open("wb") as file:
            file.truncate(1 << 40)
        with self.connected(self.user) as session:
            for _ in range(5):
                words = (f"{self.remote}/endless", "sha512", int64(0), int64(0), 0)
                session._async_request(type(None), CMD_EXTENDED, "check-file-name", *words)
            waitFor("checksums are under way", lambda: self.workSeconds() > 0.12)
        waitFor("they have ended", lambda: self.workSeconds() < 0.1)

    def workSeconds(self) -> float:
        """How long the node's processor works within half a second."""
        before = processorSeconds(self.node.process.pid)
        time.sleep(0.5)
        return processorSeconds(self.node.process.pid) - before
