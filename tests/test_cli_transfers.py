"""``cftpctl transfers``: what it asks for and what it prints."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock

from cftpcluster.files.memory import MemoryBackend
from cftpcluster.files.policy import Observed
from cftpcluster.testing.auth import originOf
from cftpcluster.vocabulary import OpenMode, publicId

from .test_cli import CommandTestCase


class TransfersTests(CommandTestCase):
    def test_transfersAreListed(self) -> None:
        self.assertEqual(self.call("transfers").stdout, "")
        told: list[Any] = []
        inner = MemoryBackend(Clock(), 1000).fileSystem("", "alice", True)
        clock, traffic, origin = self.cluster.clock, self.cluster.traffic, originOf()
        files = Observed(inner, "alice", origin, told.append, clock, traffic=traffic)
        file = self.successResultOf(files.open(("a\x1b[2J",), OpenMode.replace))
        self.successResultOf(file.write(0, bytes(7)))
        (line,) = self.call("transfers", "--user", "alice").stdout.splitlines()
        session, address = publicId(origin.session), origin.address
        self.assertEqual(
            line.split("\t"),
            [session, "alice", "node-a", origin.protocol, address, "upload", "7", "", "7", r"/a\x1b[2J"],
        )
        self.assertEqual(json.loads(self.call("transfers", "--json").stdout)[0]["bytes"], 7)
        self.assertEqual(self.call("transfers", "--search", "bob").stdout, "")
        self.assertIn("no node 'x'", self.call("transfers", "--node", "x", code=1).stderr)
