"""The strict front: what is refused, the order of answers, how bodies are taken, and when patience ends."""

from __future__ import annotations

from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.http import HTTPProblem, Site, answerProblems, jsonAnswer
from cftpcluster.testing.http import Conversation


class Routes:
    """Some routes, and what they were called with.

    :ivar bodies: bodies that were taken whole.
    :ivar waiting: requests that are answered when the test says so.
    """

    def __init__(self) -> None:
        self.served: list[tuple[bytes, bytes]] = []
        self.bodies: list[bytes] = []
        self.pieces: list[bytes] = []
        self.failures: list[Exception] = []
        self.waiting: list[Deferred[None]] = []
        self.cancelled: list[object] = []
        self.accept: Deferred[None] | None = None
        app = Klein()
        answerProblems(app)

        @app.route("/hello", methods=["GET", "DELETE"])
        def hello(request: Any) -> bytes:
            self.served.append((request.method, request.uri))
            return jsonAnswer(request, {"hello": True})

        @app.route("/body", methods=["POST", "PUT"])
        async def body(request: Any) -> bytes:
            if self.accept is not None:
                await self.accept
            self.bodies.append(await request.body(10_000))
            return jsonAnswer(request, {"length": len(self.bodies[-1])})

        @app.route("/refuse", methods=["PUT"])
        def refuse(request: Any) -> bytes:
            raise HTTPProblem(403, "not you")

        @app.route("/slowly", methods=["PUT"])
        async def slowly(request: Any) -> bytes:
            def deliver(data: bytes) -> None:
                self.pieces.append(data)
                request.pauseProducing()

            self.request = request
            try:
                await request.receive(deliver, 1 << 30)
            except Exception as error:
                self.failures.append(error)
                raise
            return jsonAnswer(request, {})

        @app.route("/wait/<number>", methods=["GET"])
        async def wait(request: Any, number: str) -> bytes:
            waiting: Deferred[None] = Deferred(self.cancelled.append)
            self.waiting.append(waiting)
            await waiting
            return jsonAnswer(request, number)

        @app.route("/broken", methods=["GET"])
        def broken(request: Any) -> bytes:
            raise ZeroDivisionError("a secret detail")

        @app.route("/stream", methods=["GET"])
        def stream(request: Any) -> Deferred[None]:
            request.write(b"x" * 1000)
            return Deferred()

        self.resource = app.resource()


class ChannelTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.routes = Routes()
        self.site = Site(self.routes.resource, self.clock)
        self.client = Conversation.with_(self.site)

    def assertRefused(self, data: bytes, status: int = 400) -> None:
        """The bytes are answered with 400 and an end, and no route saw anything of them."""
        client = Conversation.with_(self.site)
        client.send(data)
        self.assertEqual([answer.status for answer in client.answers()], [status], data)
        self.clock.advance(2)
        self.assertTrue(client.closed, data)
        self.assertEqual((self.routes.served, self.routes.bodies), ([], []), data)


class StrictnessTests(ChannelTestCase):
    def test_whatTwoReadersCouldUnderstandDifferentlyIsRefused(self) -> None:
        post = b"POST /body HTTP/1.1\r\nHost: a\r\n"
        for headers in (
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            b"Content-Length: 5\r\nContent-Length: 5\r\n",
            b"Content-Length: 5\r\nContent-Length: 6\r\n",
            b"Content-Length: 5, 5\r\n",
            b"Content-Length: +5\r\n",
            b"Content-Length: -5\r\n",
            b"Content-Length: 0x5\r\n",
            b"Content-Length: 5 5\r\n",
            b"Content-Length:\r\n",
            b"Content-Length: " + b"9" * 19 + b"\r\n",
            b"Content-Length: " + b"9" * 5000 + b"\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
            b"Transfer-Encoding: gzip, chunked\r\n",
            b"Transfer-Encoding: xchunked\r\n",
            b"Transfer-Encoding : chunked\r\n",
            b"Transfer-Encoding:\x0bchunked\r\n",
            b" Content-Length: 5\r\n",
            b"X: a\r\n b\r\nContent-Length: 5\r\n",
            b"X: a\nContent-Length: 5\r\n",
            b"X: a\rContent-Length: 5\r\n",
            b"X: a\0\r\nContent-Length: 5\r\n",
            b"no colon\r\nContent-Length: 5\r\n",
            b": empty\r\nContent-Length: 5\r\n",
            b"Ho st: b\r\nContent-Length: 5\r\n",
            b"Host: b\r\nContent-Length: 5\r\n",
            b"X: a\x01b\r\nContent-Length: 5\r\n",
            b"X: a\x7f\r\nContent-Length: 5\r\n",
            b"Content-Length\0: 5\r\n",
            b"Content-Length\t: 5\r\n",
            b"Content-Length: \x0c5\r\n",
            b"Content-Length: 5\x0b\r\n",
            b"Content-Length: 5;\r\n",
            b"Content-Length: 5.0\r\n",
            b"Content-Length: 5e0\r\n",
            b"Content-Length: 5_0\r\n",
            b"Content-Length: \xd9\xa5\r\n",
            b"Content-Length: 5,\r\n",
            b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            b"Transfer-Encoding: chunked, chunked\r\n",
            b"Transfer-Encoding: chunked,\r\n",
            b"Transfer-Encoding: ,chunked\r\n",
            b"Transfer-Encoding: chunked;q=1\r\n",
            b'Transfer-Encoding: "chunked"\r\n',
            b"Transfer-Encoding: chunked\x00\r\n",
            b"Transfer-Encoding: chunk\r\n",
            b"Transfer-Encoding:\r\n",
            b"Transfer-Encoding\r\n : chunked\r\n",
            b"\rTransfer-Encoding: chunked\r\n",
            b"X: y\r\n\rTransfer-Encoding: chunked\r\n",
            b"\xc4\xb1: chunked\r\n",
        ):
            self.assertRefused(post + headers + b"\r\n12345GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")

    def test_badRequestLinesAreRefused(self) -> None:
        for line in (
            b"GET /hello",
            b"GET /hello HTTP/1.1 more",
            b"GET  /hello HTTP/1.1",
            b"GET /hel\x01lo HTTP/1.1",
            b"GET /hello HTTP/2.0",
            b"GET /hello http/1.1",
            b"G@T /hello HTTP/1.1",
            b" GET /hello HTTP/1.1",
            b"GET\t/hello HTTP/1.1",
            b"GET /hello\nHTTP/1.1",
        ):
            self.assertRefused(line + b"\r\nHost: a\r\n\r\n")

    def test_otherLineEndsAreRefusedAtOnce(self) -> None:
        for end in (b"\n", b"\r", b"\n\r", b"\x0b", b"\0"):
            self.assertRefused(b"GET /hello HTTP/1.1" + end + b"Host: a" + end + end)

    def test_badHostsAreRefused(self) -> None:
        for host in (
            b"Host: a/b",
            b"Host: a b",
            b"Host: a@b",
            b'Host: "><script>',
            b"X: y",
            b"Host: a\r\nHost: a",
            b"Host:",
        ):
            self.assertRefused(b"GET /hello HTTP/1.1\r\n" + host + b"\r\n\r\n")

    def test_badChunksAreRefused(self) -> None:
        start = b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        for chunks in (
            b"-5\r\n12345\r\n0\r\n\r\n",
            b"+5\r\n12345\r\n0\r\n\r\n",
            b"0x5\r\n12345\r\n0\r\n\r\n",
            b"5 \r\n12345\r\n0\r\n\r\n",
            b"\r\n12345\r\n0\r\n\r\n",
            b"5\r\n123456\r\n0\r\n\r\n",
            b"5\n12345\n0\n\n" + b"x" * 2000,
            b"5" * 2000,
            b"5;" + b"x" * 2000,
            b"5;a\nb\r\n12345\r\n0\r\n\r\n",
            b"5;a\rb\r\n12345\r\n0\r\n\r\n",
            b"5;\0\r\n12345\r\n0\r\n\r\n",
            b"5\r12345\r\n0\r\n\r\n",
            b"5\r\n12345\n0\r\n\r\n",
            b"5\r\n1234\r\n0\r\n\r\n",
            b"5,5\r\n12345\r\n0\r\n\r\n",
            b" 5\r\n12345\r\n0\r\n\r\n",
            b"5_0\r\n12345\r\n0\r\n\r\n",
            b"\xef\xbc\x95\r\n12345\r\n0\r\n\r\n",
            b"5\r\n12345\r\n0\r\n" + b"X: y\r\n" * 20_000,
            b"F" * 17 + b"\r\n12345\r\n0\r\n\r\n",
            b"0" * 1100 + b"5\r\n12345\r\n0\r\n\r\n",
        ):
            self.assertRefusedChunks(start + chunks)

    def assertRefusedChunks(self, data: bytes) -> None:
        """As :meth:`assertRefused`; a chunk beyond what the route takes is too large."""
        client = Conversation.with_(self.site)
        client.send(data)
        self.assertIn([answer.status for answer in client.answers()], ([400], [413]), data[:100])
        self.clock.advance(2)
        self.assertTrue(client.closed, data[:100])
        self.assertEqual(self.routes.bodies, [], data[:100])

    def test_tooLongHeadersAreRefused(self) -> None:
        start = b"GET /hello HTTP/1.1\r\nHost: a\r\n"
        self.assertRefused(start + b"X: " + b"y" * 20_000 + b"\r\n\r\n", 431)
        self.assertRefused(start + b"X: " + b"y" * 20_000, 431)
        self.assertRefused(start + b"X: yyyyyyyyyy\r\n" * 2000 + b"\r\n", 431)
        self.assertRefused(start + b"X:\r\n" * 600 + b"\r\n", 431)

    def test_tooLongTargetsAreRefused(self) -> None:
        self.assertRefused(b"GET /" + b"y" * 20_000, 414)
        self.assertRefused(b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414)
        self.assertRefused(b"y" * 20_000, 414)

    def test_expectationsThatAreNotKeptAreRefused(self) -> None:
        start = b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
        for expected in (b"something", b"100-continue, more", b"", b"200-ok"):
            self.assertRefused(start + b"Expect: " + expected + b"\r\n\r\n12345", 417)
        self.assertRefused(start + b"Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n12345")

    def test_requestsInPiecesAreUnderstood(self) -> None:
        for byte in b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n":
            self.client.send(bytes([byte]))
        self.assertEqual(self.client.answers()[0].json, {"hello": True})

    def test_methodsAreRefusedByTheirKind(self) -> None:
        for method, status in (("TRACE", 405), ("CONNECT", 405), ("BREW", 405), ("PUT", 405), ("OPTIONS", 405)):
            self.assertEqual(Conversation.with_(self.site).ask(method, "/hello").status, status, method)
        answer = self.client.ask("PUT", "/hello")
        self.assertEqual(answer.headers["Allow"], "DELETE, GET, HEAD")
        self.assertEqual(answer.headers["Content-Type"], "application/problem+json")

    def test_encodedBodiesAreRefused(self) -> None:
        self.assertEqual(self.client.ask("POST", "/body", body=b"x", Content_Encoding="gzip").status, 415)

    def test_targetsWithTheirHost(self) -> None:
        for target in ("https://localhost/hello", "HTTPS://LOCALHOST/hello?x"):
            self.assertEqual(self.client.ask("GET", target).status, 200)
        for target in (
            "http://localhost/hello",
            "https://other/hello",
            "https://localhost:1/hello",
            "https://x@localhost/hello",
            "https://localhost.other/hello",
            "localhost:80",
            "*",
            "hello",
            "//localhost/hello",
        ):
            answer = Conversation.with_(self.site).ask("GET", target)
            self.assertIn(answer.status, {400, 404}, target)


class AnswerTests(ChannelTestCase):
    def test_everyAnswerIsHardened(self) -> None:
        for target in ("/hello", "/nothing", "/broken"):
            headers = Conversation.with_(self.site).ask("GET", target).headers
            self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
            self.assertIn("frame-ancestors 'none'", headers["Content-Security-Policy"])
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
            self.assertEqual(headers["Cache-Control"], "no-store")
            self.assertIn("max-age", headers["Strict-Transport-Security"])
            self.assertNotIn("Server", headers)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_refusalsOfWhatIsNoRequestAreHardenedToo(self) -> None:
        self.client.send(b"nonsense\r\n\r\n")
        (answer,) = self.client.answers()
        self.assertEqual((answer.status, answer.headers["X-Content-Type-Options"]), (400, "nosniff"))
        self.assertIn("max-age", answer.headers["Strict-Transport-Security"])

    def test_withoutTLSNothingIsSaidOfIt(self) -> None:
        headers = Conversation.with_(self.site, secure=False).ask("GET", "/hello").headers
        self.assertNotIn("Strict-Transport-Security", headers)

    def test_failureIsLoggedAndNotTold(self) -> None:
        answer = self.client.ask("GET", "/broken")
        self.assertEqual((answer.status, answer.json["title"]), (500, "Internal Server Error"))
        self.assertNotIn(b"secret", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_headHasNoBody(self) -> None:
        answer = self.client.ask("HEAD", "/hello")
        self.assertEqual((answer.body, answer.headers["Content-Length"]), (b"", "15"))
        self.assertEqual(self.client.ask("GET", "/hello").status, 200)

    def test_pipelinedRequestsAreAnsweredInOrder(self) -> None:
        for number in range(5):
            self.client.request("GET", f"/wait/{number}")
        answered = []
        for number in range(5):
            self.assertEqual(len(self.routes.waiting), number + 1)
            self.routes.waiting[number].callback(None)
            answered += [answer.json for answer in self.client.answers()]
        self.assertEqual(answered, ["0", "1", "2", "3", "4"])

    def test_closeIsObeyed(self) -> None:
        for token in ("close", "keep-alive, Close"):
            client = Conversation.with_(self.site)
            answer = client.ask("GET", "/hello", Connection=token)
            self.assertEqual(answer.headers["Connection"], "close")
            self.assertTrue(client.closed)

    def test_nothingIsServedAfterTheLastRequest(self) -> None:
        self.client.request("GET", "/hello", Connection="close")
        self.client.request("DELETE", "/hello")
        self.assertEqual(len(self.client.answers()), 1)
        self.assertEqual(self.routes.served, [(b"GET", b"/hello")])

    def test_clientThatLeavesEndsItsRequest(self) -> None:
        self.client.request("GET", "/wait/1")
        self.client.lose()
        self.assertEqual(self.routes.cancelled, self.routes.waiting)


class BodyTests(ChannelTestCase):
    def test_wholeBodiesInAnyPieces(self) -> None:
        for body in (b"", b"x", b"hello" * 1000):
            self.assertEqual(self.client.ask("POST", "/body", body=body).json, {"length": len(body)})
        self.client.send(b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n")
        for byte in b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n":
            self.client.send(bytes([byte]))
        self.assertEqual(self.routes.bodies[-1], b"hello world")
        self.assertEqual(self.client.answers()[0].json, {"length": 11})
        self.assertEqual(self.client.ask("GET", "/hello").status, 200)

    def test_tooLongBodyIsRefusedUnread(self) -> None:
        self.client.send(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 10001\r\n\r\n")
        answer = self.client.answers()[0]
        self.assertEqual((answer.status, answer.headers["Connection"]), (413, "close"))
        self.clock.advance(2)
        self.assertTrue(self.client.closed)

    def test_bodyThatGrowsTooLongIsRefused(self) -> None:
        self.client.send(b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(11):
            self.client.send(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        self.assertEqual(self.client.answers()[0].status, 413)
        self.assertEqual(self.routes.bodies, [])

    def test_continueIsSaidOnlyOnceTheBodyIsWanted(self) -> None:
        self.routes.accept = Deferred()
        self.client.send(b"PUT /body HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n")
        self.assertEqual(self.client.answers(), [])
        self.routes.accept.callback(None)
        self.assertEqual([answer.status for answer in self.client.answers()], [100])
        self.client.send(b"ok")
        self.assertEqual(self.client.answers()[0].json, {"length": 2})

    def test_refusedWithoutContinue(self) -> None:
        self.client.send(b"PUT /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        answers = self.client.answers()
        self.assertEqual([answer.status for answer in answers], [403])
        self.assertEqual(answers[0].headers["Connection"], "close")

    def test_bodyOfARefusedRequestIsNoRequest(self) -> None:
        smuggled = b"DELETE /hello HTTP/1.1\r\nHost: a\r\n\r\n"
        self.client.request("PUT", "/refuse", smuggled)
        self.client.send(smuggled)
        self.assertEqual(len(self.client.answers()), 1)
        self.assertEqual(self.routes.served, [])
        self.assertFalse(self.client.closed)
        self.clock.advance(2)
        self.assertTrue(self.client.closed)

    def test_whoGoesOnSendingARefusedBodyIsCutOff(self) -> None:
        length = 4_000_000
        self.client.send(b"PUT /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length)
        for _ in range(20):
            self.client.send(bytes(100_000))
        self.assertEqual([answer.status for answer in self.client.answers()], [403])
        self.assertTrue(self.client.paused)
        # over TLS the end is only asked for, and never heard of by a client that has more to send
        self.client.transport.loseConnection = lambda: None
        self.clock.advance(2)
        self.assertFalse(self.client.closed)
        self.clock.advance(2)
        self.assertTrue(self.client.closed)

    def test_nothingIsReadUntilTheBodyIsWanted(self) -> None:
        self.routes.accept = Deferred()
        self.client.send(b"PUT /body HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
        self.assertTrue(self.client.paused)
        self.routes.accept.callback(None)
        self.assertFalse(self.client.paused)
        self.client.send(b"cd")
        self.assertEqual(self.routes.bodies, [b"abcd"])

    def test_slowTakerHoldsTheClientBack(self) -> None:
        self.client.send(b"PUT /slowly HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
        self.assertFalse(self.client.paused)
        self.client.send(b"ab")
        self.assertTrue(self.client.paused)
        self.clock.advance(3600)
        self.assertFalse(self.client.closed)
        self.routes.request.resumeProducing()
        self.assertFalse(self.client.paused)
        self.client.send(b"cd")
        self.assertEqual(self.routes.pieces, [b"ab", b"cd"])
        self.assertEqual(self.client.answers()[0].status, 200)
        # The connection goes on although the taker never asked for more.
        self.assertEqual(self.client.ask("GET", "/hello").status, 200)

    def test_lostConnectionIsNoEndOfABody(self) -> None:
        self.client.send(b"PUT /slowly HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
        self.client.lose()
        self.assertEqual([type(error).__name__ for error in self.routes.failures], ["BodyCutShort"])

    def test_brokenChunkIsNoEndOfABody(self) -> None:
        self.client.send(b"PUT /slowly HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.client.send(b"2\r\nab\r\n")
        self.client.send(b"nonsense\r\n")
        self.assertEqual([type(error).__name__ for error in self.routes.failures], ["BodyCutShort"])
        self.assertEqual([answer.status for answer in self.client.answers()], [400])


class PatienceTests(ChannelTestCase):
    def test_silentConnectionEnds(self) -> None:
        self.clock.pump([1] * 24)
        self.assertFalse(self.client.closed)
        self.clock.pump([1] * 2)
        self.assertTrue(self.client.closed)

    def test_whoDoesNotEvenShakeHandsIsCutOff(self) -> None:
        self.client.transport.loseConnection = lambda: None
        self.clock.pump([1] * 26)
        self.assertFalse(self.client.closed)
        self.clock.pump([1] * 2)
        self.assertTrue(self.client.closed)

    def test_firstRequestHasItsOwnTime(self) -> None:
        self.clock.advance(24)
        self.client.send(b"GET /hello HTTP/1.1\r\n")
        self.clock.advance(24)
        self.client.send(b"Host: a\r\n\r\n")
        self.assertEqual(self.client.answers()[0].status, 200)

    def test_drippedHeadersEnd(self) -> None:
        for _ in range(26):
            self.client.send(b"G")
            self.clock.advance(1)
        self.assertTrue(self.client.closed)

    def test_drippedBodyEnds(self) -> None:
        self.client.send(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(26):
            self.client.send(b"x")
            self.clock.advance(1)
        self.assertTrue(self.client.closed)
        self.assertEqual(self.routes.bodies, [])

    def test_slowButSteadyBodyIsTaken(self) -> None:
        self.client.send(b"PUT /slowly HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n")
        for _ in range(50):
            self.client.send(b"x" * 10000)
            self.routes.request.resumeProducing()
            self.clock.advance(20)
        self.assertEqual(self.client.answers()[0].status, 200)

    def test_longWorkIsNotHurried(self) -> None:
        self.client.request("GET", "/wait/1")
        self.clock.advance(3600)
        self.assertFalse(self.client.closed)
        self.routes.waiting[0].callback(None)
        self.assertEqual(self.client.answers()[0].status, 200)

    def test_answerThatNobodyReadsEnds(self) -> None:
        self.client.request("GET", "/stream")
        self.client.protocol.pauseProducing()
        self.clock.advance(61)
        self.assertTrue(self.client.closed)

    def test_idleTimeCountsAnewAfterEachRequest(self) -> None:
        for _ in range(5):
            self.assertEqual(self.client.ask("POST", "/body", body=b"x").status, 200)
            self.clock.advance(70)
        self.assertEqual(self.client.ask("POST", "/body", body=b"x").status, 200)
        self.clock.advance(76)
        self.assertTrue(self.client.closed)

    def test_nothingIsLeftToHappenAfterTheEnd(self) -> None:
        self.client.send(b"PUT /slowly HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
        self.client.lose()
        other = Conversation.with_(self.site)
        other.request("PUT", "/refuse", b"x")
        self.clock.advance(2)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class DrainTests(ChannelTestCase):
    def test_idleConnectionsEndAndOthersWhenTheyAreDone(self) -> None:
        busy, other = Conversation.with_(self.site), Conversation.with_(self.site)
        busy.request("GET", "/wait/1")
        drained = self.site.drain()
        self.assertTrue(self.client.closed and other.closed)
        self.assertNoResult(drained)
        self.routes.waiting[0].callback(None)
        answer = busy.answers()[0]
        self.assertEqual((answer.status, answer.headers["Connection"]), (200, "close"))
        self.assertTrue(busy.closed)
        self.successResultOf(drained)

    def test_newRequestsAreRefused(self) -> None:
        self.successResultOf(Site(self.routes.resource, self.clock).drain())
        self.client.lose()
        self.successResultOf(self.site.drain())
        late = Conversation.with_(self.site)
        refused = late.ask("GET", "/hello")
        self.assertEqual((refused.status, refused.headers["Retry-After"]), (503, "5"))
        self.assertTrue(late.closed)

    def test_resumedSiteServesAgain(self) -> None:
        self.client.request("GET", "/wait/1")
        drained = self.site.drain()
        self.site.resume()
        self.successResultOf(drained)
        again = Conversation.with_(self.site)
        self.assertEqual(again.ask("GET", "/hello").status, 200)
        self.assertFalse(again.closed)

    def test_disconnectEndsEverything(self) -> None:
        self.client.request("GET", "/wait/1")
        self.site.disconnect()
        self.assertTrue(self.client.closed)
