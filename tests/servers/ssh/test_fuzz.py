"""Some hundreds of hostile sessions; ``python -m tests.servers.ssh.fuzz`` tries any number of them."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ssh import packets

from . import scripted
from .fuzz import FAMILIES, Chunk, run
from .fuzzpackets import tryConnection
from .fuzzsftp import trySession


def tried(name: str) -> None:
    Chunk(FAMILIES[name][0], 100).run(1)


class FuzzTests(SynchronousTestCase):
    def test_requestsOfSFTP(self) -> None:
        tried("sftp")

    def test_packetsOfStrangers(self) -> None:
        tried("stranger")

    def test_packetsOfClientsThatAreNotLoggedIn(self) -> None:
        tried("keyed")

    def test_packetsOfUsers(self) -> None:
        tried("user")

    def test_conversationsWithPrograms(self) -> None:
        tried("program")

    def test_sessionsReachWhatThereIs(self) -> None:
        seen: set[tuple[int, int]] = set()
        for number in range(80):
            seen |= trySession(random.Random(number).randbytes(600))
        for kind in (packets.HANDLE, packets.DATA, packets.NAME, packets.ATTRS, packets.EXTENDED_REPLY):
            self.assertIn((kind, 0), seen)
        for code in (0, 1, 2, 3, 4, 5, 8):
            self.assertIn((packets.STATUS, code), seen)

    def test_connectionsReachWhatThereIs(self) -> None:
        seen: set[int] = set()
        for number in range(60):
            seen |= tryConnection("user", random.Random(number).randbytes(600))
            seen |= tryConnection("keyed", random.Random(number).randbytes(600))
        for message in (scripted.UNIMPLEMENTED, scripted.NEWKEYS, scripted.USERAUTH_FAILURE, scripted.INFO_REQUEST):
            self.assertIn(message, seen)
        self.assertLessEqual({scripted.OPEN_CONFIRMATION, scripted.OPEN_FAILURE, scripted.CHANNEL_DATA}, seen)
        self.assertLessEqual(set(range(scripted.CHANNEL_EOF, scripted.CHANNEL_FAILURE + 1)), seen)

    def test_theCommandSaysHowManyItTried(self) -> None:
        lines: list[str] = []
        run(10, 1, ["keyed"], lines.append)
        (line,) = lines
        self.assertTrue(line.startswith("keyed: 10 sessions"), line)
