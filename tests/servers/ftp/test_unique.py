"""Tests of :mod:`cftpcluster.servers.ftp.unique`."""

from __future__ import annotations

import re

from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from .support import Conversation, codesOf


class UniqueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Conversation()
        self.client.login()
        self.client.put("/d", None)

    def stored(self, command: str) -> str:
        """The name that an upload got."""
        data = self.client.data()
        began = self.client.say(command)
        data.protocol.dataReceived(b"new")
        data.end(ConnectionDone())
        self.client.turn()
        ended = self.client.heard()
        names = [re.fullmatch(rf"{code} FILE: (.+)\r\n", text) for code, text in ((150, began), (226, ended))]
        assert names[0] and names[1], (began, ended)
        self.assertEqual(names[0][1], names[1][1])
        return names[0][1]

    def test_theNameIsToldTwice(self) -> None:
        self.client.say("CWD d")
        name = self.stored("STOU")
        self.assertEqual(self.client.get(f"/d/{name}"), b"new")

    def test_eachNameIsAnother(self) -> None:
        self.assertEqual(len({self.stored("STOU") for _ in range(5)}), 5)

    def test_theClientMaySayWhereAndHowItBegins(self) -> None:
        self.assertTrue(self.stored("STOU report").startswith("report."))
        name = self.stored("STOU d/report")
        self.assertTrue(name.startswith("/d/report."))
        self.assertEqual(self.client.get(name), b"new")
        self.stored("STOU " + "x" * 255)

    def test_nothingIsContinued(self) -> None:
        self.assertEqual(self.client.codes("REST 5", "STOU"), [350, 450])
        self.stored("STOU")

    def test_aFolderThatIsMissing(self) -> None:
        self.client.data()
        self.assertEqual(codesOf(self.client.say("STOU none/x")), [550])
