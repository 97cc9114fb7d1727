"""What a supervisor hears, over a socket of its own."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.supervision import LOOK_SECONDS, Supervisor


class SupervisorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.setblocking(False)
        self.environment: dict[str, str] = {}

    def bind(self, address: str) -> None:
        self.socket.bind(address)
        self.environment["NOTIFY_SOCKET"] = address.replace("\0", "@")

    def supervisor(self, pid: int = 7) -> Supervisor:
        supervisor = Supervisor.of(self.environment, pid, self.clock)
        self.addCleanup(supervisor.stop)
        return supervisor

    def heard(self) -> list[str]:
        datagrams = []
        while True:
            try:
                datagrams.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return datagrams

    def test_hearsOfReadinessStatusAndTheEnd(self) -> None:
        path = Path(self.mktemp()).absolute()
        os.symlink(path.parent, link := f"/tmp/{os.getpid()}-notify")
        self.addCleanup(os.unlink, link)
        self.bind(f"{link}/{path.name}")
        status = ["primary"]
        supervisor = self.supervisor()
        supervisor.ready(lambda: status[0])
        self.assertEqual(self.heard(), ["READY=1", "STATUS=primary"])
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(self.heard(), [])
        status[0] = "primary\nREADY=1"
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(self.heard(), ["STATUS=primary READY=1"])
        supervisor.stopping(45)
        self.assertEqual(self.heard(), ["STOPPING=1\nEXTEND_TIMEOUT_USEC=45000000\nSTATUS=primary READY=1"])
        supervisor.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_watchdogIsFedTwiceInItsTime(self) -> None:
        self.bind(f"\0cftpcluster-test-{os.getpid()}")
        self.environment |= {"WATCHDOG_USEC": "6000000", "WATCHDOG_PID": "7"}
        supervisor = self.supervisor()
        self.clock.advance(60)
        self.assertEqual(self.heard(), [])
        supervisor.ready(lambda: "")
        self.assertEqual(self.heard(), ["READY=1", "WATCHDOG=1"])
        self.clock.pump([1, 1, 1])
        self.assertEqual(self.heard(), ["WATCHDOG=1"])

    def test_watchdogOfAnotherProcessIsNotFed(self) -> None:
        self.bind(f"\0cftpcluster-test-{os.getpid()}")
        self.environment |= {"WATCHDOG_USEC": "6000000", "WATCHDOG_PID": "8"}
        self.supervisor().ready(lambda: "")
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(self.heard(), ["READY=1"])

    def test_withoutOneNothingIsSaid(self) -> None:
        supervisor = self.supervisor()
        supervisor.ready(lambda: "")
        supervisor.stopping(1)
        supervisor.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_oneThatIsGoneDoesNoHarm(self) -> None:
        self.environment["NOTIFY_SOCKET"] = "/nowhere/to/be/found"
        self.supervisor().ready(lambda: "")
        self.assertEqual(self.heard(), [])
