"""Local backends for tests, each in a state folder of its own."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred

from cftpcluster.config.document import Backend, Settings
from cftpcluster.files._beneath import chooseOpener
from cftpcluster.files.local import LocalBackend, LocalBackendFactory, LocalConfig
from cftpcluster.testing.threads import InlinePool, InlineReactor


def newToken() -> str:
    return os.urandom(6).hex()


class LocalMixin:
    """A backend in a state folder of its own."""

    chooseOpener = staticmethod(chooseOpener)

    def makeBackend(self, pool: Any = None, reactor: Any = None, **options: Any) -> LocalBackend:
        self.state = self.mktemp()
        os.mkdir(self.state)
        return self.build(pool, reactor, **{"root": "files", **options})

    def build(self, pool: Any = None, reactor: Any = None, **options: Any) -> LocalBackend:
        backend = LocalBackendFactory(newToken, self.chooseOpener).build(
            LocalConfig(**options),
            backend=Backend(name="files", kind="local"),
            node="node-a",
            stateDirectory=self.state,
            reactor=reactor or InlineReactor(),
            pool=pool or InlinePool(),
            settings=Settings,
        )
        self.addCleanup(backend.startClosing)
        return backend

    def disk(self, *names: str) -> str:
        return os.path.join(self.state, "files", *names)

    def result(self, awaitable: Any) -> Any:
        """What an operation gives that needs no waiting."""
        made = awaitable if isinstance(awaitable, Deferred) else Deferred.fromCoroutine(awaitable)
        return self.successResultOf(made)
