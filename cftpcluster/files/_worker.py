"""Takes blocking calls to a thread pool, and their errors back in the words of :mod:`cftpcluster.errors`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from ._descriptors import translated

R = TypeVar("R")


@frozen
class Worker:
    """A pool and the reactor that its results come back to."""

    reactor: IReactorFromThreads
    pool: ThreadPool

    def run(self, function: Callable[..., R], *args: Any) -> Deferred[R]:
        return deferToThreadPool(self.reactor, self.pool, translated, function, *args)
