"""An SFTP server of this process on a loopback port, whose files are in memory, and OpenSSH's programs for it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.conch.interfaces import IConchUser
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import Deferred

from cftpcluster.config.document import User
from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.paths import parse
from cftpcluster.servers.ssh import SFTPOptions, sshAvatar
from cftpcluster.servers.ssh.factory import SSHServer
from cftpcluster.testing.auth import Logins, SimpleChecker, documentWith
from cftpcluster.vocabulary import OpenMode, Origin
from tests.servers.ssh.peers import ED25519, pemOf

from .inprocess import InProcessCase

R = TypeVar("R")

CLIENT_SECONDS = 60


class SFTPCase(InProcessCase):
    """Has a server with user ``alice``: password ``secret``, and either of the keys of the tests.

    :cvar options: of the server.
    :cvar hostKeys: of the server.
    :cvar userKey: of alice.
    """

    timeout = 120
    options = SFTPOptions()
    hostKeys = (ED25519,)
    userKey: Any = ED25519

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.key = self.folder / "key"
        self.key.write_bytes(pemOf(self.userKey))
        self.key.chmod(0o600)
        self.backend = MemoryBackend(self.reactor, 1 << 29)
        self.logins = Logins(
            self.filesOf,
            SimpleChecker({"alice": b"secret"}, {"alice": Key(self.userKey).public().blob()}),
            documentWith(User(name="alice")),
            {IConchUser: sshAvatar},
        )
        self.pems = [pemOf(key) for key in self.hostKeys]
        self.server = SSHServer(
            self.options,
            "sftp",
            self.reactor,
            self.logins.portal(),
            lambda: self.pems,
            self.logins.notify,
            os.urandom,
            lambda address: False,
        )
        listening = self.reactor.listenTCP(0, self.server, interface="127.0.0.1")
        self.port: int = listening.getHost().port
        self.addCleanup(self.stop, listening, self.server)

    def filesOf(self, user: User, origin: Origin) -> Any:
        return self.backend.fileSystem("", user.name, True)

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(1000):
            if condition():
                return
            await self.pause(0.01)
        self.fail("it did not come about")

    async def stored(self, path: str) -> bytes:
        """What the storage holds."""
        file = await self.backend.fileSystem("", "other", True).open(parse(path), OpenMode.read)
        return await file.read(0, 1 << 29)


class OpenSSHCase(SFTPCase):
    def run_(self, program: str, *arguments: str, script: str = "", **options: str) -> Deferred[Any]:
        """Run a program of OpenSSH's; its result."""
        sshOptions = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "IdentitiesOnly": "yes",
            "IdentityFile": str(self.key),
            "PreferredAuthentications": "publickey",
            "LogLevel": "ERROR",
            **options,
        }
        command = [program, "-F", "/dev/null", *[f"-o{name}={value}" for name, value in sshOptions.items()], *arguments]
        return self.inThread(
            lambda: subprocess.run(
                command, input=script.encode(), capture_output=True, timeout=CLIENT_SECONDS, check=False
            )
        )

    async def sftp(self, *commands: str, **options: str) -> str:
        """Run a batch, which must succeed; what it said."""
        script = "\n".join(commands) + "\n"
        result = await self.run_("sftp", "-b-", f"-P{self.port}", "alice@127.0.0.1", script=script, **options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return str(result.stdout.decode())
