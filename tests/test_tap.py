"""The options of ``twistd cftpcluster``."""

from __future__ import annotations

import sys
import time
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

from twisted.internet.base import ReactorBase
from twisted.scripts.twistd import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.tap import Options, keepTime, steadily


class OptionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def parsed(self, *options: str, twistd: tuple[str, ...] = ()) -> tuple[Options, Any]:
        """Our options and twistd's, from a command line."""
        parent = ServerOptions()
        ours = Options()
        ours.parent = parent
        parent.update({"pidfile": "twistd.pid", "logfile": None, "nodaemon": 0})
        for name in twistd:
            parent[name] = "given"
        ours.parseOptions(["--state-dir", str(self.folder / "state"), *options])
        self.addCleanup(ours.start.state.unlock)
        return ours, parent

    def refused(self, *options: str) -> str:
        error = self.assertRaises(SystemExit, self.parsed, *options)
        line = str(error.code)
        self.assertTrue(line.startswith("cftpcluster: "), line)
        self.assertNotIn("\n", line)
        return line

    def test_roleIsRequiredAndKnown(self) -> None:
        self.assertIn("--role", self.refused())
        self.assertIn("--role", self.refused("--role", "tertiary"))

    def test_whatIsGivenIsTaken(self) -> None:
        (self.folder / "password").write_text("first line\nsecond\n")
        options, _ = self.parsed(
            "--role", "primary", "--name", "node-a", "--bind", "127.0.0.2", "--admin-password-file",
            str(self.folder / "password"), "--existing",
        )  # fmt: skip
        start = options.start
        self.assertEqual(
            (start.role, start.name, start.bind, start.advertise), ("primary", "node-a", "127.0.0.2", "127.0.0.2")
        )
        self.assertEqual((start.adminPassword, start.existing), (b"first line", True))
        self.assertTrue(start.state.locked)

    def test_secretsAreNotShown(self) -> None:
        options, _ = self.parsed("--role", "secondary", "--name", "b", "--join", "a-secret-token")
        self.assertEqual(options.start.token, "a-secret-token")
        self.assertNotIn("a-secret-token", repr(options.start))

    def test_tokenFromAFileOrStandardInput(self) -> None:
        (self.folder / "token").write_text("from-file\n")
        self.assertEqual(
            self.parsed("--role", "secondary", "--join-file", str(self.folder / "token"))[0].start.token, "from-file"
        )

    def test_badValuesAreNamed(self) -> None:
        (self.folder / "empty").write_text("")
        for options, named in (
            (("--bind", "somewhere"), "somewhere"),
            (("--advertise", "no address"), "no address"),
            (("--name", "-x"), "-x"),
            (("--join-file", str(self.folder / "nothing")), "nothing"),
            (("--join-file", str(self.folder / "empty")), "empty"),
            (("positional",), ""),
        ):
            self.assertIn(named, self.refused("--role", "secondary", *options))

    def test_secondProcessIsRefused(self) -> None:
        self.parsed("--role", "primary")
        self.assertIn("in use", self.refused("--role", "primary"))

    def test_filesOfTwistdLieInTheStateFolder(self) -> None:
        _, parent = self.parsed("--role", "primary")
        self.assertEqual(parent["pidfile"], str(self.folder / "state" / "cftpcluster.pid"))
        self.assertEqual(parent["logfile"], str(self.folder / "state" / "cftpcluster.log"))

    def test_filesOfTwistdStayWhereTheyWereGiven(self) -> None:
        _, parent = self.parsed("--role", "primary", twistd=("pidfile", "logfile"))
        self.assertEqual((parent["pidfile"], parent["logfile"]), ("given", "given"))

    def test_helpNamesEveryOption(self) -> None:
        output = TextIOWrapper(BytesIO(), write_through=True)
        self.patch(sys, "stdout", output)
        self.assertRaises(SystemExit, Options().parseOptions, ["--help"])
        text = output.buffer.getvalue().decode()  # type: ignore[attr-defined]
        for option in (
            "role",
            "name",
            "state-dir",
            "bind",
            "advertise",
            "join-file",
            "join",
            "existing",
            "admin-password-file",
        ):
            self.assertIn(f"--{option}", text)


class StillReactor(ReactorBase):
    """A reactor that is only turned by hand; it counts by the time of day, as they all do."""

    @staticmethod
    def seconds() -> float:
        return time.time()

    def installWaker(self) -> None:
        """Nobody wakes it."""

    def mainLoop(self) -> None:
        raise NotImplementedError


class TimeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.wallTime = 1_700_000_000.0
        self.patch(time, "time", lambda: self.wallTime)

    def test_clockBeginsAtTheTimeOfDay(self) -> None:
        elapsed = [5.0]
        clock = steadily(time.time, lambda: elapsed[0])
        self.assertEqual(clock(), 1_700_000_000.0)
        elapsed[0] = 7.5
        self.wallTime += 3600
        self.assertEqual(clock(), 1_700_000_002.5)

    def turned(self, stepSeconds: float) -> list[str]:
        """Which calls come when the system's clock is set meanwhile."""
        reactor: Any = StillReactor()
        came: list[str] = []
        reactor.callLater(0, came.append, "scheduled before")
        keepTime(reactor)
        reactor.callLater(0, came.append, "due")
        reactor.callLater(600, came.append, "not due")
        self.wallTime += stepSeconds
        time.sleep(0.001)
        reactor.runUntilCurrent()
        for call in reactor.getDelayedCalls():
            self.assertTrue(599 < call.getTime() - reactor.seconds() < 600)
        return came

    def test_timersComeWhenTheyShouldThoughTheClockIsSetForward(self) -> None:
        self.assertEqual(self.turned(3600), ["scheduled before", "due"])

    def test_timersComeWhenTheyShouldThoughTheClockIsSetBack(self) -> None:
        self.assertEqual(self.turned(-3600), ["scheduled before", "due"])
