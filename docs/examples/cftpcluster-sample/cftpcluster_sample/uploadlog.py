"""Appends a line of JSON to a file for each upload, for whatever processes what came in."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from cftpcluster.events import Event, Uploaded
from cftpcluster.interfaces import IObserver, IObserverFactory, IValidator
from cftpcluster.vocabulary import Problem

log = Logger()

MOST_WAITING = 10_000
"""Lines that wait for a slow disk; what comes beyond them is lost, and the log says how many."""


@implementer(IValidator)
@frozen(kw_only=True)
class UploadLogConfig:
    """Options of an observer of kind ``uploadlog``.

    :ivar file: the file, the same absolute path on every node; each node writes about itself.
    """

    file: str

    def problems(self) -> Sequence[Problem]:
        return [] if os.path.isabs(self.file) else [Problem("file", f"{self.file!r} is not absolute")]


@implementer(IObserver)
@define(eq=False)
class UploadLog:
    """Observers are called in the reactor's thread and must not block, so a thread writes what has gathered."""

    _path: str
    _node: str
    _reactor: Any
    _pool: ThreadPool
    _mostWaiting: int = MOST_WAITING
    _waiting: deque[bytes] = field(factory=deque, init=False)
    _lost: int = field(default=0, init=False)
    _writing: Deferred[None] | None = field(default=None, init=False)

    def observe(self, event: Event) -> None:
        if not isinstance(event, Uploaded):
            return
        if len(self._waiting) >= self._mostWaiting:
            self._lost += 1
            return
        self._waiting.append(self._line(event))
        self._write()

    def _line(self, event: Uploaded) -> bytes:
        values = {
            "time": datetime.fromtimestamp(self._reactor.seconds(), UTC).isoformat(timespec="seconds"),
            "node": self._node,
            "user": event.user,
            "protocol": event.origin.protocol,
            "address": event.origin.address,
            "path": event.path,
            "size": event.size,
        }
        # ASCII, so that names of any bytes can be written.
        return json.dumps(values).encode("ascii") + b"\n"

    def _write(self) -> None:
        if self._writing is None and self._waiting:
            data = b"".join(self._waiting)
            self._waiting.clear()
            self._writing = Deferred()
            written = deferToThreadPool(self._reactor, self._pool, append, self._path, data)
            _ = written.addErrback(lambda failure: log.failure("{path} was not written", failure, path=self._path))
            _ = written.addBoth(self._written)

    def _written(self, result: Failure | None) -> None:
        if self._lost:
            log.error("{count} uploads are missing in {path}", count=self._lost, path=self._path)
            self._lost = 0
        writing, self._writing = self._writing, None
        self._write()
        assert writing is not None
        writing.callback(None)

    def close(self) -> Deferred[None]:
        """The node does not need this observer any more; fires when all is written."""
        if self._writing is None:
            return succeed(None)
        return self._writing.addCallback(lambda _: self.close())


def append(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    with os.fdopen(descriptor, "ab") as file:
        file.write(data)


@implementer(IObserverFactory)
@frozen
class UploadLogFactory:
    kind: str = "uploadlog"
    summary: str = "a line of JSON in a file for each upload"
    configClass: type = UploadLogConfig

    def build(self, config: UploadLogConfig, *, node: str, reactor: Any) -> UploadLog:
        return UploadLog(config.file, node, reactor, reactor.getThreadPool())


uploadLogFactory = UploadLogFactory()
