"""Tests of the observers that come with the product."""

from __future__ import annotations

import io
import json
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import Logger, eventAsText, jsonFileLogObserver
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from cftpcluster.events import LoginFailed, NodeRefused, Uploaded
from cftpcluster.interfaces import IObserver, IObserverFactory
from cftpcluster.observers import LogObserver, LogObserverOptions, logObserver
from cftpcluster.testing.auth import originOf


class LogObserverTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.logged: list[dict[str, Any]] = []
        self.observer = LogObserver(Logger("test", observer=self.logged.append))

    def line(self, event: Any) -> str:
        self.observer.observe(event)
        return eventAsText(self.logged[-1], includeTimestamp=False, includeSystem=False)

    def test_isBuiltByAPlugin(self) -> None:
        verifyObject(IObserverFactory, logObserver)
        verifyObject(IObserver, logObserver.build(LogObserverOptions(), node="a", reactor=Clock()))
        self.assertEqual(logObserver.kind, "log")

    def test_lineHoldsAllValuesOfTheEvent(self) -> None:
        event = Uploaded(user="alice", origin=originOf(), path="/a b", size=3, seconds=0.5)
        self.assertEqual(
            self.line(event),
            "Uploaded user='alice' protocol='sftp' address='192.0.2.7' listener='sftp' session='ae9b22de2fad9460'"
            " path='/a b' size=3 seconds=0.5",
        )
        self.assertEqual(
            self.line(NodeRefused(address="192.0.2.1", reason="x")), "NodeRefused address='192.0.2.1' reason='x'"
        )

    def test_namesCannotEndTheLineNorPassForKeys(self) -> None:
        for name in ("a\nLoggedIn user='root'", "a\r\x1b[2J", "\u2028", "{user!x}", "\udcff", "' size=7 '"):
            line = self.line(LoginFailed(user=name, origin=originOf(), method="password", reason="unknown user"))
            self.assertEqual(len(line.splitlines()), 1)
            self.assertIn(f"user={name!r} protocol=", line)
            line.encode("utf-8")

    def test_valuesAreFieldsOfJSONLogs(self) -> None:
        self.observer.observe(LoginFailed(user="\udcff", origin=originOf(), method="password", reason="x"))
        file = io.StringIO()
        jsonFileLogObserver(file, recordSeparator="")(self.logged[0])
        values = json.loads(file.getvalue())
        self.assertEqual((values["event"], values["user"], values["address"]), ("LoginFailed", "\udcff", "192.0.2.7"))
