"""What strangers send to the HTTPS listener of a real node, how slowly, and how many of them there may be."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import selectors
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.test_web_sessions import Browser
from tests.sharedclusters import ALONE

from .attackers import elsewhere, manyDescriptors
from .clusters import PASSWORD, descriptors, residentBytes, waitFor
from .scale import ENDURANCE, choose, figure, within

USER = "http-faults"
PORT = 8443
SECONDS = 60.0
PATIENT_SECONDS = 30.0
"""After so long the server has let go of whoever does not go on."""

BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
HOST = "files.example"

ENCODINGS = (b"gzip", b"br", b"deflate, gzip")

UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE

MAKE = f"POST /api/v1/files/smuggled?op=mkdir HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: {BASIC}\r\n\r\n".encode()
"""Leaves a trace where it is obeyed."""


def post(*headers: bytes, body: bytes = b"", host: bytes = HOST.encode()) -> bytes:
    """A request that takes a body, with these headers."""
    start = [b"POST /api/v1/login HTTP/1.1", *([b"Host: " + host] if host else [])]
    return b"\r\n".join([*start, b"Content-Type: application/json", *headers, b"", body])


def ambiguous() -> dict[str, bytes]:
    """Messages that two readers could understand differently, each with another request in it."""
    chunked, length = b"Transfer-Encoding: chunked", b"Content-Length: %d" % (5 + len(MAKE))
    end = b"0\r\n\r\n" + MAKE
    found = {
        "CL and TE": post(length, chunked, body=end),
        "TE and CL": post(chunked, b"Content-Length: 5", body=end),
        "two lengths": post(b"Content-Length: 0", length, body=MAKE),
        "two equal lengths": post(b"Content-Length: 0", b"Content-Length: 0", body=MAKE),
        "a list of lengths": post(b"Content-Length: 0, 0", body=MAKE),
        "a chunk size that is too long": post(chunked, body=b"f" * 17 + b"\r\n" + end),
        "a folded header": post(b"X: a\r\n Content-Length: 0", body=MAKE),
        "a folded header, by a tab": post(b"X: a\r\n\tTransfer-Encoding: chunked", body=end),
        "a header that begins with a blank": post(b" Transfer-Encoding: chunked", body=end),
        "no line end but LF": post(chunked, body=end).replace(b"\r\n", b"\n"),
        "no line end but CR": post(chunked, body=end).replace(b"\r\n", b"\r"),
        "LF in a header": post(b"X: a\n" + chunked, length, body=end),
        "CR in a header": post(b"X: a\r" + chunked, length, body=end),
        "NUL in a header": post(b"X: a\0", length, body=end),
        "a control character in a header": post(b"X: a\x01", length, body=end),
        "two hosts": post(b"Host: other", b"Content-Length: 0", body=MAKE),
        "no host": post(b"Content-Length: 0", body=MAKE, host=b""),
        "a host that is none": post(b"Content-Length: 0", body=MAKE, host=b"a/../b"),
        "another host in the target": b"GET https://other/ HTTP/1.1\r\nHost: files.example\r\n\r\n" + MAKE,
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + MAKE,
        "HTTP/0.9": b"GET /\r\n" + MAKE,
        "something expected": post(b"Expect: 200-ok", length, body=end),
    }
    for name, value in {
        "blank": b"Transfer-Encoding : chunked",
        "vertical tab": b"Transfer-Encoding:\x0bchunked",
        "no-break space": b"Transfer-Encoding: \xa0chunked",
        "twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "identity beside": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "identity before": b"Transfer-Encoding: identity, chunked",
        "identity behind": b"Transfer-Encoding: chunked, identity",
        "quotes": b'Transfer-Encoding: "chunked"',
        "x": b"Transfer-Encoding: xchunked",
        "gzip": b"Transfer-Encoding: gzip, chunked",
        "nothing": b"Transfer-Encoding:",
        "parameter": b"Transfer-Encoding: chunked;q=1",
        "soft hyphen": b"Transfer\xadEncoding: chunked",
    }.items():
        found[f"TE with {name}"] = post(length, value, body=end)
    for name, text in {
        "plus": b"+5",
        "minus": b"-5",
        "hex": b"0x5",
        "exponent": b"5e0",
        "fraction": b"5.0",
        "blank": b"5 5",
        "underscore": b"5_0",
        "nothing": b"",
        "20 digits": b"9" * 20,
        "5,000 digits": b"9" * 5000,
    }.items():
        found[f"CL with {name}"] = post(b"Content-Length: " + text, body=b"12345" + MAKE)
    for name, chunk in {
        "plus": b"+1\r\nx\r\n0\r\n\r\n",
        "minus": b"-1\r\nx\r\n0\r\n\r\n",
        "0x": b"0x1\r\nx\r\n0\r\n\r\n",
        "blank": b"1 \r\nx\r\n0\r\n\r\n",
        "LF": b"1\nx\n0\n\n",
        "too much": b"1\r\nxy\r\n0\r\n\r\n",
        "LF in an extension": b"1;a\nb\r\nx\r\n0\r\n\r\n",
        "long extensions": b"1;" + b"a" * 5000 + b"\r\nx\r\n0\r\n\r\n",
        "long trailers": b"1\r\nx\r\n0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    }.items():
        found[f"a chunk with {name}"] = post(chunked, body=chunk + MAKE)
    return found


class HTTPCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = ALONE.get().primary
        mounts = [{"path": "/", "backend": "files", "folder": USER}]
        self.node.apply({"users": [{"name": USER, "password": PASSWORD, "mounts": mounts}]})
        self.browser = Browser()
        self.addCleanup(self.browser.close)

    def connect(self, source: str = "", handshake: bool = True) -> Any:
        plain = socket.create_connection((self.node.address, PORT), SECONDS, (source or elsewhere(1), 0))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return UNVERIFIED.wrap_socket(plain, server_hostname=HOST) if handshake else plain

    def ask(self, method: str, path: str, **headers: str) -> Any:
        return self.browser.ask(self.node, method, path, Authorization=BASIC, **headers)

    def names(self) -> list[str]:
        """What is in the user's root."""
        return [entry["name"] for entry in self.ask("GET", "files/").value["entries"]]

    def pageSeconds(self) -> float:
        """How long somebody else waits for the first page, connecting anew."""
        begun = time.monotonic()
        with self.connect(elsewhere(2)) as other:
            other.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            self.assertTrue(readAll(other).startswith(b"HTTP/1.1 200 "))
        return time.monotonic() - begun


def readAll(connection: Any) -> bytes:
    """Until the other side ends it."""
    said = b""
    with contextlib.suppress(OSError):
        while data := connection.recv(65536):
            said += data
    return said


class AmbiguityTests(HTTPCase):
    def test_whatCouldBeSmuggledIsRefusedAndEndsTheConnection(self) -> None:
        messages = ambiguous()
        connections = [self.connect() for _ in messages]
        # At the same time: the last words are given time to arrive.
        for connection, message in zip(connections, messages.values(), strict=True):
            with contextlib.suppress(OSError):
                connection.sendall(message)
        for connection, name in zip(connections, messages, strict=True):
            with connection:
                said = readAll(connection)
            statuses = re.findall(rb"^HTTP/1\.[01] (\d+) ", said, re.MULTILINE)
            self.assertEqual(len(statuses), 1, (name, said[:500]))
            self.assertIn(statuses[0], {b"400", b"413", b"414", b"415", b"417", b"431"}, name)
        self.assertNotIn("smuggled", self.names())
        figure(f"messages that could be understood in two ways: {len(messages)} of {len(messages)} refused")

    def test_theTraceWouldBeSeen(self) -> None:
        with self.connect() as connection:
            connection.sendall(MAKE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            self.assertTrue(readAll(connection).startswith(b"HTTP/1.1 201 "))
        self.assertIn("smuggled", self.names())
        self.assertEqual(self.ask("DELETE", "files/smuggled").status, 204)

    def test_pipelinedRequestsAreAnsweredInOrder(self) -> None:
        count = 21
        with self.connect() as connection:
            for number in range(count):
                target = f"files/not-there-{number}" if number % 3 else "session?number=1"
                start = f"GET /api/v1/{target} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: {BASIC}\r\n"
                ending = "Connection: close\r\n\r\n" if number == count - 1 else "\r\n"
                connection.sendall((start + ending).encode())
            said = readAll(connection)
        expected = [b"404" if number % 3 else b"400" for number in range(count)]
        self.assertEqual(re.findall(rb"^HTTP/1\.1 (\d+) ", said, re.MULTILINE), expected)

    def test_aBodyIsAsLongAsItSays(self) -> None:
        start = f"PUT /api/v1/files/liar HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: {BASIC}\r\n".encode()
        with self.connect() as connection:
            connection.sendall(start + b"Content-Length: 1000\r\n\r\n" + b"x" * 999)
            connection.shutdown(socket.SHUT_RDWR)
        waitFor("the upload has ended", lambda: "liar" not in self.names(), within(5))
        with self.connect() as connection:
            connection.sendall(start + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            connection.shutdown(socket.SHUT_RDWR)
        self.assertNotIn("liar", self.names())
        with self.connect() as connection:
            connection.sendall(start + b"Content-Length: 5\r\n\r\nhello" + b"more than it said\r\n\r\n")
            said = readAll(connection)
        self.assertEqual(re.findall(rb"^HTTP/1\.1 (\d+) ", said, re.MULTILINE), [b"201", b"400"])
        listed = {entry["name"]: entry["size"] for entry in self.ask("GET", "files/").value["entries"]}
        self.assertEqual(listed["liar"], 5)
        self.assertEqual(self.ask("DELETE", "files/liar").status, 204)


class GarbageTests(HTTPCase):
    def bodies(self) -> Iterator[tuple[str, bytes, int]]:
        """Kind of body, body, and what it is answered with."""
        part = b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n'
        yield "multipart/form-data; boundary=x", part * 10_000, 415
        yield "application/x-www-form-urlencoded", b"a=b&" * 10_000, 415
        yield "application/json", b"[" * 4000, 400
        yield "application/json", b'{"name":' + b"9" * 4000 + b"}", 422
        yield "application/json", b'{"name":"a","name":"b","password":"c"}', 400
        yield "application/json", b'{"name":"\xff"}', 400
        yield "application/json", b'{"name":NaN}', 400
        yield "application/json", json.dumps({"name": "x" * 10_000, "password": "y"}).encode(), 413
        yield "application/json", b"{}", 422
        yield "application/json; charset=utf-16", "{}".encode("utf-16"), 400

    def said(self, *messages: bytes) -> list[bytes]:
        """What is answered until the connection ends, to each at the same time: an end is given time to arrive."""
        connections = [self.connect() for _ in messages]
        for connection, message in zip(connections, messages, strict=True):
            with contextlib.suppress(OSError):
                connection.sendall(message)
        answers = []
        for connection in connections:
            with connection:
                answers.append(readAll(connection))
        return answers

    def test_bodiesThatNobodyAskedFor(self) -> None:
        before = residentBytes(self.node)
        cases = list(self.bodies())
        start = f"POST /api/v1/login HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n"
        heads = [f"{start}Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n" for kind, body, _ in cases]
        messages = [head.encode() + body for head, (_, body, _) in zip(heads, cases, strict=True)]
        for said, (kind, body, status) in zip(self.said(*messages), cases, strict=True):
            self.assertTrue(said.startswith(b"HTTP/1.1 %d " % status), (kind, body[:50], said[:200]))
        encoded = [post(b"Content-Encoding: " + each, b"Content-Length: 2", body=b"{}") for each in ENCODINGS]
        for said in self.said(*encoded):
            self.assertTrue(said.startswith(b"HTTP/1.1 415 "), said[:200])
        self.assertLess(residentBytes(self.node) - before, 20 << 20)

    def test_endlessHeadersAndTargets(self) -> None:
        before = residentBytes(self.node)
        cases = (
            (b"GET /" + b"x" * 500_000, 414),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 500_000, 431),
            (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 80_000, 431),
        )
        for said, (_, status) in zip(self.said(*(message for message, _ in cases)), cases, strict=True):
            self.assertTrue(said.startswith(b"HTTP/1.1 %d " % status), said[:100])
        self.assertLess(residentBytes(self.node) - before, 20 << 20)


class CrowdTests(HTTPCase):
    """Clients that do not go on: silent before and after the handshake, and dripping bytes of headers and bodies."""

    def test_slowClientsKeepNobodyOut(self) -> None:
        with manyDescriptors():
            self._crowd(choose(240, 2000))

    def _crowd(self, count: int) -> None:
        sockets: list[Any] = []
        before, openBefore = residentBytes(self.node), descriptors(self.node)
        begun = time.monotonic()
        try:
            for number in range(count):
                source = f"127.36.78.{number % 200 + 1}"
                connection = self.connect(source, handshake=number % 4 > 0)
                sockets.append(connection)
                if number % 4 == 2:
                    connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-")
                elif number % 4 == 3:
                    connection.sendall(post(b"Content-Length: 1000", body=b"{"))
            figure(f"{count} slow clients: connected in {time.monotonic() - begun:.1f} s")
            seconds = sorted(self.pageSeconds() for _ in range(5))
            figure(f"a page beside {count} slow clients: {seconds[-1]:.2f} s at most")
            self.assertLess(seconds[2], choose(10, 2))
            each = (residentBytes(self.node) - before) / count
            figure(f"{count} slow clients: {each / 1000:.1f} kB each")
            self.assertLess(each, 60_000)
            if ENDURANCE:
                self._drip([each for number, each in enumerate(sockets) if number % 4 >= 2], openBefore)
                figure(f"{count} slow clients, all gone {time.monotonic() - begun:.1f} s after the first")
        finally:
            for each in sockets:
                each.close()
        waitFor("they are forgotten", lambda: descriptors(self.node) <= openBefore + 5, within(10))

    def _drip(self, sockets: Sequence[Any], openBefore: int) -> None:
        """A byte now and then, until the server has had enough of all of them."""
        end = time.monotonic() + PATIENT_SECONDS
        while descriptors(self.node) > openBefore + 5:
            self.assertLess(time.monotonic(), end, "some are still there")
            for each in sockets:
                with contextlib.suppress(OSError):
                    each.sendall(b"x")
            time.sleep(1)

    def test_anAnswerThatNobodyReadsIsNotKept(self) -> None:
        size = 64 << 20
        connection = self.connect()
        head = f"PUT /api/v1/files/unread HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: {BASIC}\r\n"
        with connection:
            connection.sendall(f"{head}Connection: close\r\nContent-Length: {size}\r\n\r\n".encode())
            for _ in range(size >> 20):
                connection.sendall(bytes(1 << 20))
            self.assertTrue(readAll(connection).startswith(b"HTTP/1.1 20"))
        before = residentBytes(self.node)
        readers = [self.connect() for _ in range(20)]
        for reader in readers:
            reader.sendall(
                f"GET /api/v1/files/unread HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: {BASIC}\r\n\r\n".encode()
            )
        with selectors.DefaultSelector() as selector:
            for reader in readers:
                selector.register(reader, selectors.EVENT_READ)
            waitFor("all are being answered", lambda: len(selector.select(0)) == len(readers), within(10))
        self.assertLess(self.pageSeconds(), choose(10, 2))
        grown = residentBytes(self.node) - before
        figure(f"20 downloads that nobody reads: {grown / 1e6:.0f} MB")
        self.assertLess(grown, 40 << 20)
        for reader in readers:
            reader.close()
        self.assertEqual(self.ask("DELETE", "files/unread").status, 204)


class IdentityTests(HTTPCase):
    """Nothing but a password, or a cookie that the cluster has signed, says who somebody is."""

    CLAIMS = (
        {"X-Forwarded-User": USER},
        {"X-Remote-User": USER},
        {"Remote-User": USER},
        {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
        {"Forwarded": f"for=127.0.0.1;by={USER}"},
        {"X-Original-URL": "/api/v1/session", "X-Rewrite-URL": "/api/v1/session"},
        {"X-HTTP-Method-Override": "PUT"},
        {"Authorization": f"Bearer {USER}"},
        {"Authorization": "Negotiate YII="},
        {"Authorization": "Basic " + base64.b64encode(f"{USER}:".encode()).decode()},
        {"Authorization": "Basic " + base64.b64encode(USER.encode()).decode()},
        {"Cookie": "user=" + USER},
        {"Cookie": "__Host-cftpcluster-user=" + USER},
        {"Cookie": "__Host-cftpcluster-user=" + base64.b64encode(USER.encode()).decode() + "."},
        {"Cookie": "__Host-cftpcluster-admin=x", "X-CSRF-Token": "x"},
        {"SSL_CLIENT_S_DN_CN": USER, "X-SSL-Client-CN": USER},
        {"CrushAuth": "1", "currentAuth": USER},
    )

    def test_claimsAreNothing(self) -> None:
        for claim in self.CLAIMS:
            for path in ("session", "files/", "sessions", "publickeys"):
                answer = Browser().ask(self.node, "GET", path, **claim)
                self.assertEqual(answer.status, 401, claim)
                self.assertNotIn("Set-Cookie", answer.headers, claim)
        for query in (f"user={USER}", f"name={USER}&password=", f"username={USER}", "admin=true"):
            self.assertEqual(Browser().ask(self.node, "GET", f"session?{query}").status in {400, 401}, True, query)
        for body in (
            {"name": USER},
            {"name": USER, "password": None},
            {"name": USER, "password": True},
            {"name": USER, "password": [PASSWORD]},
            {"name": [USER], "password": PASSWORD},
            {"name": {"$ne": ""}, "password": {"$ne": ""}},
            {"name": USER, "password": PASSWORD, "role": "full"},
        ):
            answer = Browser().ask(self.node, "POST", "login", body)
            self.assertEqual(answer.status, 422, body)
            self.assertNotIn("Set-Cookie", answer.headers)
