"""Tests of :mod:`cftpcluster_sample.uploadlog`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cftpcluster_sample.uploadlog import UploadLog, uploadLogFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from cftpcluster.events import Downloaded, Uploaded
from cftpcluster.interfaces import IObserver, IObserverFactory
from cftpcluster.testing.auth import originOf
from cftpcluster.testing.threads import HeldPool, InlinePool, InlineReactor


def uploaded(path: str) -> Uploaded:
    return Uploaded(user="alice", origin=originOf(), path=path, size=5, seconds=0.1)


class UploadLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def makeObserver(self, pool: Any, mostWaiting: int = 100) -> UploadLog:
        reactor: Any = InlineReactor()
        return UploadLog(str(self.path), "node-a", reactor, pool, mostWaiting)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.path.read_text("ascii").splitlines()]

    def test_providesWhatItSays(self) -> None:
        verifyObject(IObserverFactory, uploadLogFactory)
        verifyObject(IObserver, self.makeObserver(InlinePool()))
        self.assertEqual(len(uploadLogFactory.configClass(file="relative").problems()), 1)

    def test_uploadIsALine(self) -> None:
        self.makeObserver(InlinePool()).observe(uploaded("/in/a\nb"))
        self.assertEqual(
            self.lines(),
            [
                {
                    "time": "1970-01-01T00:00:00+00:00",
                    "node": "node-a",
                    "user": "alice",
                    "protocol": "sftp",
                    "address": "192.0.2.7",
                    "path": "/in/a\nb",
                    "size": 5,
                }
            ],
        )

    def test_namesOfAnyBytesAreWritten(self) -> None:
        self.makeObserver(InlinePool()).observe(uploaded("/\udcff"))
        self.assertEqual(self.lines()[0]["path"], "/\udcff")

    def test_otherEventsAreNotTold(self) -> None:
        self.makeObserver(InlinePool()).observe(
            Downloaded(user="alice", origin=originOf(), path="/a", size=1, seconds=0.1)
        )
        self.assertFalse(self.path.exists())

    def test_whatComesMeanwhileIsWrittenTogether(self) -> None:
        pool = HeldPool()
        observer = self.makeObserver(pool)
        for number in range(5):
            observer.observe(uploaded(f"/{number}"))
        self.assertEqual(len(pool.held), 1)
        closed = observer.close()
        self.assertNoResult(closed)
        pool.runNext()
        self.assertEqual(len(pool.held), 1)
        pool.runAll()
        self.successResultOf(closed)
        self.assertEqual([line["path"] for line in self.lines()], [f"/{number}" for number in range(5)])

    def test_waitingLinesAreBounded(self) -> None:
        pool = HeldPool()
        observer = self.makeObserver(pool, mostWaiting=3)
        for number in range(10):
            observer.observe(uploaded(f"/{number}"))
        pool.runAll()
        self.assertEqual([line["path"] for line in self.lines()], ["/0", "/1", "/2", "/3"])

    def test_diskThatFailsIsTold(self) -> None:
        self.path.mkdir()
        observer = self.makeObserver(InlinePool())
        observer.observe(uploaded("/a"))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.successResultOf(observer.close())
