"""A web server of this process on a loopback port, with a local storage, for programs that are clients of it."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.interfaces import IListeningPort
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.threadpool import ThreadPool

from cftpcluster.config.document import Backend, Settings, User
from cftpcluster.files.local import LocalConfig, localBackendFactory
from cftpcluster.files.policy import Observed, Permitted
from cftpcluster.servers.bulktls import BulkTLSFactory
from cftpcluster.servers.tls import ServerTLS
from cftpcluster.servers.web import WebOptions, WebServer, webServer
from cftpcluster.testing.auth import Logins, SimpleChecker, documentWith
from cftpcluster.vocabulary import Permission
from tests.servers.test_tls import KEY, LEAF, ROOT, pem

from .inprocess import InProcessCase

PASSWORDS = {"alice": b"right horse", "bob": b"bobs", "reader": b"reads"}


class WebCase(InProcessCase):
    """Has a web server whose users share one folder; ``reader`` may only look and fetch."""

    timeout = 120
    options = WebOptions()

    def setUp(self) -> None:
        super().setUp()
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        self.pool = ThreadPool(0, 4, "files")
        self.pool.start()
        self.addCleanup(self.pool.stop)
        self.backend = localBackendFactory.build(
            LocalConfig(root="files", fsync=False),
            backend=Backend(name="files", kind="local"),
            node="node-a",
            stateDirectory=self.folder,
            reactor=self.reactor,
            pool=self.pool,
            settings=Settings,
        )
        self.addCleanup(self.backend.close)
        self.root = os.path.join(self.folder, "files")
        self.logins = Logins(
            self._filesOf, SimpleChecker(PASSWORDS), documentWith(*(User(name=name) for name in PASSWORDS))
        )
        self.server = self._serve()

    def _filesOf(self, user: User, origin: Any) -> Any:
        allowed = {Permission.list, Permission.download} if user.name == "reader" else set(Permission)
        mounted = Permitted(self.backend.fileSystem("", user.name, True), allowed)
        return Observed(mounted, user.name, origin, self.logins.notify, self.reactor)

    def _serve(self) -> WebServer:
        import time

        server = webServer(
            self.options,
            listener="https",
            reactor=self.reactor,
            portal=self.logins.portal(),
            sessionKeys=lambda: [b"k" * 32],
            settings=Settings,
            notify=self.logins.notify,
            now=time.time,
            randomBytes=os.urandom,
            pool=self.pool,
        )
        tls = ServerTLS(pem(LEAF) + pem(ROOT), pem(KEY))
        factory = BulkTLSFactory(tls, False, server, self.reactor)
        port: IListeningPort = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        address: Any = port.getHost()
        self.url = f"https://127.0.0.1:{address.port}"
        self.files = f"{self.url}/api/v1/files"
        self.addCleanup(self.stop, port, server)
        return server

    async def run_(self, program: str, *arguments: str) -> tuple[int, bytes, bytes]:
        """Exit status, standard output and standard error of a program."""
        output, errors, status = await getProcessOutputAndValue(
            program, arguments, os.environ, self.folder, self.reactor
        )
        return status, output, errors

    async def curl(self, *arguments: str, user: str = "alice") -> tuple[int, bytes]:
        """The last answer's status, or what curl exits with where that is not 0, negative; and its body."""
        login = f"{user}:{PASSWORDS[user].decode()}"
        status, output, _ = await self.run_(
            "/usr/bin/curl", "-q", "-sk", "--max-time", "60", "-u", login, "-w", "\n%{http_code}", *arguments
        )
        body, _, code = output.rpartition(b"\n")
        return (int(code) if status == 0 else -status), body

    def path(self, name: str) -> str:
        """Where a user's file lies."""
        return os.path.join(self.root, name)
