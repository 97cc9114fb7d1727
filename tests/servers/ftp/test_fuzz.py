"""Some hundreds of hostile command lines; ``python -m tests.servers.ftp.test_fuzz 100000`` tries any number of them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ftp import FTPOptions
from cftpcluster.servers.ftp.control import COMMANDS

from ...fuzzing import run
from .support import Conversation

ENDING = frozenset({"QUIT", "REIN", "USER", "PASS", "AUTH"})
"""Left out for who is logged in: what comes after them would say nothing."""

ARGUMENTS = (
    *("", "/", "..", "../../etc/passwd", "/x/../../..", "x" * 300, "%s%n", "*" * 200, "[" * 50, "{a,b}" * 20),
    *("-" * 30, "-1", "9" * 30, "0", "1", "\udcff\udcfe", "\u202e", " ", "\t", "|||1|", "|1|127.0.0.1|80|", "|9||"),
    *("127,0,0,1,0,22", "256,1,1,1,1,1", "192,0,2,7,0,80", "20260230000000 x", "UTF8 ON", "CHMOD 7777 x", "A N", "L 9"),
    *("size*50;type=x;", "SHA-256", "\u0660", "'\"`$(id)", "TLS", "P", "ALL", "x\\..\\y", "~root", "\x1b[2J"),
)

_REPLY = re.compile(rb"(?:([0-9]{3}) [^\r\n]*\r\n|([0-9]{3})-[^\r\n]*\r\n(?:(?!\2 )[^\r\n]*\r\n)*\2 [^\r\n]*\r\n)")


def line(chosen: random.Random, verbs: list[str]) -> bytes:
    """One command line, perhaps mangled, without line ends inside."""
    verb, argument = chosen.choice(verbs), chosen.choice(ARGUMENTS)
    data = f"{verb} {argument}".encode("utf-8", "surrogateescape")
    if chosen.random() < 0.3:
        mangled = bytearray(data)
        for _ in range(chosen.randrange(1, 6)):
            mangled.insert(chosen.randrange(len(mangled) + 1), chosen.randrange(256))
        data = bytes(mangled)
    # Telnet's commands are answered aside, and line ends make two commands of one.
    return data.replace(b"\n", b"").replace(b"\r", b"").replace(b"\xff", b"")


def tried(count: int, seed: int, failed: Callable[[bytes, bytes], None]) -> None:
    """Say ``count`` lines, before a log-in and after; ``failed`` gets a line that was not answered in form."""
    chosen = random.Random(seed)
    done = sessions = 0
    while done < count:
        sessions += 1
        isIn = bool(sessions % 2)
        client = Conversation(FTPOptions(tls="optional"))
        verbs = [*(set(COMMANDS) - ENDING if isIn else COMMANDS), "XYZZY"]
        if isIn:
            client.login()
        client.heard()
        for _ in range(min(100, count - done)):
            done += 1
            said = line(chosen, sorted(verbs))
            client.control.protocol.dataReceived(said + b"\r\n")
            answer = client.control.taken()
            for _ in range(40):
                if _REPLY.search(answer) and not answer.startswith(b"150"):
                    break
                client.turn(1)
                answer += client.control.taken()
            if client.control.disconnecting or client.control.secured:
                break
            while answer:
                match = _REPLY.match(answer)
                if match is None:
                    failed(said, answer)
                    break
                answer = answer[match.end() :]
        client.control.loseConnection()
        client.turn(100)
        if client.server.connections or client.session.data.isPrepared:
            failed(b"the end", b"something is left")


class FuzzTests(SynchronousTestCase):
    def test_everyLineIsAnsweredInForm(self) -> None:
        wrong: list[tuple[bytes, bytes]] = []
        tried(600, 1, lambda said, answer: wrong.append((said, answer)))
        self.assertEqual(wrong, [])
        self.assertEqual(self.flushLoggedErrors(), [])


if __name__ == "__main__":
    run(tried)
