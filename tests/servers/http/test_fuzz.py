"""Hundreds of mangled conversations; ``python -m tests.servers.http.test_fuzz 100000`` tries any number of them."""

from __future__ import annotations

import random
from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.http import Site
from cftpcluster.testing.http import Conversation

from ...fuzzing import run
from .test_channel import Routes

MESSAGES = (
    b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET https://a/hello?x=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"HEAD /hello HTTP/1.0\r\n\r\n",
    b"DELETE /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    b"GET /wait/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PUT /body HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"PUT /slowly HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789",
    b"PUT /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    b"BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n",
)
PIECES = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"%",
        b"/",
        b"?",
        b"\xff",
        b"0\r\n\r\n",
        b"HTTP/1.1",
    ),
    *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: a\r\n", b"Connection: close\r\n", b"9" * 30),
)


def conversation(chosen: random.Random) -> bytes:
    """Some requests, perhaps mangled."""
    data = bytearray(b"".join(chosen.choice(MESSAGES) for _ in range(chosen.randint(1, 4))))
    for _ in range(chosen.randint(0, 6)):
        place, kind = chosen.randrange(len(data) + 1), chosen.randrange(4)
        if kind == 0:
            data[place:place] = chosen.choice(PIECES)
        elif kind == 1:
            del data[place : place + chosen.randint(1, 20)]
        elif kind == 2:
            data[place : place + 1] = bytes([chosen.randrange(256)])
        else:
            data[place:place] = data[max(0, place - 30) : place]
    return bytes(data)


def tried(count: int, seed: int, failed: Callable[[bytes, str], object]) -> None:
    """Say that many; of whoever has gone, or is silent, nothing may be left."""
    chosen = random.Random(seed)
    for _ in range(count):
        data, clock, routes = conversation(chosen), Clock(), Routes()
        client = Conversation.with_(Site(routes.resource, clock))
        place = 0
        while place < len(data) and not client.closed:
            length = chosen.choice((1, 3, 10, 100, 10_000))
            client.send(data[place : place + length])
            place += length
            if chosen.random() < 0.05:
                clock.advance(chosen.choice((0.1, 1, 10)))
            for waiting in routes.waiting:
                if not waiting.called and chosen.random() < 0.5:
                    waiting.callback(None)
        if chosen.random() < 0.3:
            client.lose()
        for waiting in routes.waiting:
            if not waiting.called:
                waiting.callback(None)
        if routes.pieces and routes.request.channel is not None:
            routes.request.resumeProducing()
        clock.pump([5.0] * 60)
        if not client.closed or clock.getDelayedCalls():
            failed(data, f"something is left: {clock.getDelayedCalls()}")


class FuzzTests(SynchronousTestCase):
    def test_nothingIsLeftOfAnyConversation(self) -> None:
        wrong: list[tuple[bytes, str]] = []
        tried(250, 1, lambda data, why: wrong.append((data, why)))
        self.assertEqual(wrong, [])
        self.assertEqual(self.flushLoggedErrors(), [])


if __name__ == "__main__":
    run(tried)
