"""How ``cftpctl`` says how far long work is: to people at a terminal, and to nobody else."""

from __future__ import annotations

import contextlib
import io
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.commands.program import saysMoved, working

from .test_cli import CommandTestCase


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class WorkingTests(SynchronousTestCase):
    def shown(self, place: io.StringIO, **more: Any) -> str:
        environment = mock.patch.dict("os.environ", {"TERM": "xterm", "COLUMNS": "80"})
        with environment, contextlib.redirect_stderr(place), working("reading", **more) as say:
            say("sending [b]1.0 MB[/b]")
        return place.getvalue()

    def test_peopleAreToldHowFarItIs(self) -> None:
        self.assertIn("sending [b]1.0 MB[/b]", self.shown(Terminal()))

    def test_programsAreToldNothing(self) -> None:
        self.assertEqual(self.shown(io.StringIO()), "")
        self.assertEqual(self.shown(Terminal(), isQuiet=True), "")

    def test_whatIsSentIsCountedAndThenTheNodeIsAtWork(self) -> None:
        said: list[str] = []
        moved = saysMoved(said.append, "checking")
        moved("sending", 1_000_000, 2_500_000)
        moved("sending", 2_500_000, 2_500_000)
        moved("receiving", 300_000, 0)
        self.assertEqual(said, ["sending 1.0 MB of 2.5 MB", "checking", "receiving 0.3 MB"])


class ApplyTests(CommandTestCase):
    def test_nothingButTheAnswerIsPrinted(self) -> None:
        for name, more in (("a", ()), ("b", ("--json",))):
            result = self.call("apply", "-", *more, stdin=f'{{"groups": [{{"name": "{name}"}}]}}')
            self.assertEqual(result.stderr, "")
            self.assertTrue(result.stdout.replace("\n", "").isprintable(), result.stdout)

    def test_whoIsLiveIsTold(self) -> None:
        answer = self.json("apply", "-", stdin='{"groups": [{"name": "g"}]}')
        self.assertEqual((answer["live"], answer["pending"]), (["node-a"], []))
