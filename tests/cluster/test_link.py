"""Tests of the link: what crosses it, what does not, and how it ends."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.spread import pb
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from cftpcluster import errors
from cftpcluster.cluster import pieces
from cftpcluster.cluster.faults import LinkLost, NoAnswer, errorFromPlain
from cftpcluster.cluster.link import HELLO_SECONDS, MOST_CALLS, MOST_RUNNING, MOST_WAITING, Link, Method
from cftpcluster.cluster.messages import CHUNK_BYTES, FollowAnswer, Hello, SnapshotOffer, plainFromHello
from cftpcluster.cluster.peers import RemoteFollower, RemotePublisher, followerMethods, publisherMethods
from cftpcluster.cluster.pieces import IncomingPieces, OutgoingPieces
from cftpcluster.config.changes import Batch, Put
from cftpcluster.config.codec import canonical
from cftpcluster.config.document import Group, User
from cftpcluster.errors import ClusterError, OutcomeUnknown, PrimaryUnreachable, Refused
from cftpcluster.interfaces import IFollower, IPublisher
from cftpcluster.journal.memory import MemoryJournal
from cftpcluster.testing.cables import Cable
from cftpcluster.testing.cluster import FakeFollower, FakePublisher, founding, numbered, proposal, soon
from cftpcluster.vocabulary import Author, Problem


def hello(node: str, **changes: Any) -> Hello:
    fields = {"node": node, "software": "1", "protocols": (1,), "format": 1, "epoch": 1, "revision": 5}
    return Hello(**{**fields, "chainHash": bytes(32), "primary": "a", **changes})


class LinkCase(SynchronousTestCase):
    """A link that ``b`` dialled to ``a``."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)

    def end(
        self, own: str, other: str, dialled: bool, methods: Mapping[str, Method], says: Hello | None = None
    ) -> Link:
        return Link(
            self.clock, lambda: self.clock.seconds() + 5, dialled, other, lambda: says or hello(own), lambda _: methods
        )

    def plug(
        self,
        server: Mapping[str, Method] | None = None,
        client: Mapping[str, Method] | None = None,
        serverSays: Hello | None = None,
        clientSays: Hello | None = None,
    ) -> None:
        self.server = self.end("a", "b", False, server or {}, serverSays)
        self.client = self.end("b", "a", True, client or {}, clientSays)
        self.cable = Cable(self.client, self.server)
        self.cable.flush()

    def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        answer = self.client.call(method, *arguments, **options)
        self.cable.flush()
        return soon(answer)

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds * 2)):
            self.clock.advance(0.5)
            self.cable.flush()


class HelloTests(LinkCase):
    def test_bothEndsLearnOfEachOther(self) -> None:
        self.plug(serverSays=hello("a", extra={"color": "blue"}), clientSays=hello("b", revision=7))
        self.assertIs(soon(self.client.whenReady()), self.client)
        self.assertEqual(self.client.peer, hello("a", extra={"color": "blue"}))
        self.assertEqual(self.server.peer.revision, 7)

    def test_noDelayIsSet(self) -> None:
        self.plug()
        self.assertTrue(self.cable.near.noDelay and self.cable.far.noDelay)

    def test_commonVersionIsChosen(self) -> None:
        self.plug(clientSays=hello("b", protocols=(1, 2, 3)))
        self.assertEqual(soon(self.client.whenReady()).peer.protocols, (1,))

    def test_unsupportedVersionIsRefusedInOneLine(self) -> None:
        with capturedLogs() as logged:
            self.plug(clientSays=hello("b", protocols=(7,)))
        self.assertIn(
            "b (cftpcluster 1) speaks version 7 of the link: upgrade the older one",
            str(self.failureResultOf(self.client.whenReady(), LinkLost)) + logged[0]["reason"],
        )
        self.clock.advance(0)
        self.cable.flush()
        self.assertTrue(self.cable.gone)

    def test_refusalReachesTheOneThatDialled(self) -> None:
        self.server = self.end("a", "b", False, {})
        self.client = self.end("b", "a", True, {}, hello("b", protocols=(7,)))
        ready = self.client.whenReady()
        with capturedLogs():
            Cable(self.client, self.server).flush()
        self.assertIn("speaks version 1 of the link", self.failureResultOf(ready, Refused).getErrorMessage())

    def test_nameMustBeThatOfTheCertificate(self) -> None:
        self.server = self.end("a", "b", False, {})
        self.client = self.end("b", "a", True, {}, hello("c"))
        ready = self.client.whenReady()
        with capturedLogs():
            Cable(self.client, self.server).flush()
        self.assertIn("certificate of b", self.failureResultOf(ready, Refused).getErrorMessage())

    def test_answeringNameMustBeThatOfTheCertificate(self) -> None:
        self.server = self.end("a", "b", False, {}, hello("mallory"))
        self.client = self.end("b", "a", True, {})
        ready = self.client.whenReady()
        Cable(self.client, self.server).flush()
        self.failureResultOf(ready, Refused)

    def test_nothingIsAnsweredBeforeHello(self) -> None:
        called: list[str] = []
        self.server = self.end("a", "b", False, {"shout": called.append})
        broker = pb.Broker(isClient=True)
        broker.factory = pb.PBClientFactory()
        cable = Cable(broker, self.server)
        cable.flush()
        root = broker.remoteForName("root")
        answers = [root.callRemote("shout", "x"), root.callRemote("piece", 1, 0, b"x"), root.callRemote("nonsense")]
        cable.flush()
        self.assertEqual([soon(answer)[0] for answer in answers], [False, False, False])
        self.assertEqual(called, [])

    def test_silentArrivalIsCut(self) -> None:
        self.server = self.end("a", "b", False, {})
        transport = StringTransport()
        self.server.makeConnection(transport)
        with capturedLogs():
            for _ in range(int(HELLO_SECONDS)):
                self.server.dataReceived(b"")
                self.clock.advance(1)
        self.assertTrue(transport.disconnected)

    def test_secondHelloIsRefused(self) -> None:
        self.plug()
        answer = self.client.call("hello", plainFromHello(hello("b")))
        self.cable.flush()
        self.failureResultOf(answer, Refused)

    def test_whenReadyFailsWhenTheConnectionEnds(self) -> None:
        self.client = self.end("b", "a", True, {})
        self.client.makeConnection(StringTransport())
        ready = self.client.whenReady()
        self.client.connectionLost()
        self.failureResultOf(ready, LinkLost)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class CallTests(LinkCase):
    def test_plainValuesGoThere_AndBack(self) -> None:
        self.plug(server={"same": lambda *values: list(values)})
        values = [None, True, False, 0, -5, 2**62, b"\0\xff", "text", [1, [b"x", []]], ["text", "text"]]
        self.assertEqual(self.ask("same", *values), values)

    def test_bothEndsMayCall(self) -> None:
        self.plug(client={"double": lambda number: 2 * number})
        answer = self.server.call("double", 21)
        self.cable.flush()
        self.assertEqual(soon(answer), 42)

    def test_sameListTwiceIsNoReference(self) -> None:
        self.plug(server={"same": lambda *values: list(values)})
        one = [1, 2]
        self.assertEqual(self.ask("same", one, one, [one]), [one, one, [one]])

    def test_unknownCallIsAnswered(self) -> None:
        self.plug()
        answer = self.client.call("levitate", 1)
        self.cable.flush()
        self.assertIn("does not know the call 'levitate'", self.failureResultOf(answer, Refused).getErrorMessage())

    def test_wrongArgumentsAreAnswered(self) -> None:
        self.plug(server=publisherMethods(FakePublisher(), FakeFollower(), "b", maybeDeferred))
        for arguments in ((), (1,), ("x", 2, bytes(32)), (1, -2, bytes(32)), (1, 2, b"short"), ([], {}, None)):
            answer = self.client.call("follow", *arguments)
            self.cable.flush()
            self.failureResultOf(answer, Refused)

    def test_furtherArgumentsOfANewerVersionAreIgnored(self) -> None:
        publisher = FakePublisher([FollowAnswer(1, 2, bytes(32))])
        self.plug(server=publisherMethods(publisher, FakeFollower(), "b", maybeDeferred))
        self.ask("follow", 1, 2, bytes(32), "and more")
        self.assertEqual(publisher.follows, [(1, 2, bytes(32))])

    def test_noAnswerInTime(self) -> None:
        never: Deferred[None] = Deferred()
        self.plug(server={"wait": lambda: never})
        answer = self.client.call("wait", seconds=3)
        self.advance(2.5)
        self.assertNoResult(answer)
        self.advance(1)
        self.assertTrue(self.failureResultOf(answer, NoAnswer).value.sent)
        never.callback(None)
        self.cable.flush()
        self.assertFalse(self.cable.gone, "a late answer does no harm")

    def test_callsWaitForAPlace(self) -> None:
        waiting: list[Deferred[int]] = []

        def wait() -> Deferred[int]:
            waiting.append(Deferred())
            return waiting[-1]

        self.plug(server={"wait": wait})
        answers = [self.client.call("wait") for _ in range(MOST_CALLS + 3)]
        self.cable.flush()
        self.assertEqual(len(waiting), MOST_CALLS)
        for one in waiting[:2]:
            one.callback(1)
        self.cable.flush()
        self.assertEqual(len(waiting), MOST_CALLS + 2)
        self.assertEqual([soon(answer) for answer in answers[:2]], [1, 1])

    def test_tooManyWaitingCallsAreNotSent(self) -> None:
        self.plug(server={"wait": Deferred})
        answers = [self.client.call("wait") for _ in range(MOST_CALLS + MOST_WAITING + 1)]
        self.assertFalse(self.failureResultOf(answers[-1], LinkLost).value.sent)
        self.cable.cut()
        for answer in answers[:-1]:
            self.failureResultOf(answer, LinkLost)

    def test_tooManyCallsOfTheOtherEndAreRefused(self) -> None:
        self.plug(server={"wait": Deferred})
        root = self.client.remoteForName("root")
        answers = [root.callRemote("wait") for _ in range(MOST_RUNNING + 1)]
        self.cable.flush()
        self.assertEqual(soon(answers[-1])[0], False)
        self.assertNoResult(answers[0])

    def test_lostLinkFailsWhatWaits(self) -> None:
        self.plug(server={"wait": Deferred})
        answer, lost = self.client.call("wait"), self.client.whenLost()
        self.cable.flush()
        self.cable.cut()
        self.assertTrue(self.failureResultOf(answer, LinkLost).value.sent)
        soon(lost)
        soon(self.client.whenLost())
        self.assertFalse(self.failureResultOf(self.client.call("wait"), LinkLost).value.sent)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_answerAfterTheEndGoesNowhere(self) -> None:
        late: Deferred[int] = Deferred()
        self.plug(server={"wait": lambda: late})
        answer = self.client.call("wait")
        self.cable.flush()
        self.cable.cut()
        late.callback(1)
        self.failureResultOf(answer, LinkLost)

    def test_closeLetsGoWhatWasWritten(self) -> None:
        heard: list[bytes] = []
        self.plug(server={"hear": heard.append})
        self.client.call("hear", b"last words").addErrback(lambda _: None)
        self.client.close()
        self.clock.advance(0)
        self.cable.flush()
        self.assertEqual(heard, [b"last words"])
        self.assertTrue(self.cable.gone)


class ErrorTests(LinkCase):
    ERRORS = (
        errors.Conflict({("users", "alice"): 7, ("users", "b\udcffb"): 0}),
        errors.Invalid([Problem("users[3].mounts[0]", "no such backend 'x'"), Problem("", "\udcff")]),
        errors.NotPrimary(3, "c", "192.0.2.3"),
        errors.OutcomeUnknown("request-1"),
        errors.NotDurableEnough(12, ["a", "b"]),
        errors.ChainMismatch(4, "revision 4 does not fit"),
        errors.Forbidden("auditors may not change anything"),
        errors.JournalReadOnly("the disk failed"),
        errors.DiskFull("no room"),
        errors.NewerFormat("format 9"),
        errors.HistoryGone("gone"),
        errors.SnapshotNeeded("too old"),
        errors.PrimaryUnreachable("a cannot be reached"),
        errors.Refused("no"),
        errors.ClusterError("something"),
    )

    def test_everyErrorComesAsItWas(self) -> None:
        for error in self.ERRORS:
            self.plug(server={"fail": lambda error=error: fail(error)})
            answer = self.client.call("fail")
            self.cable.flush()
            came = self.failureResultOf(answer, type(error)).value
            self.assertEqual((type(came), str(came)), (type(error), str(error)))
            self.assertEqual(
                {key: value for key, value in vars(came).items() if not key.startswith("__")},
                {key: value for key, value in vars(error).items() if not key.startswith("__")},
            )

    def test_veryManyProblemsCross(self) -> None:
        problems = [Problem(f"users[{number}]", "x" * 40) for number in range(20_000)]
        self.plug(server={"fail": lambda: fail(errors.Invalid(problems))})
        answer = self.client.call("fail")
        self.cable.flush()
        self.assertEqual(self.failureResultOf(answer, errors.Invalid).value.problems, tuple(problems))

    def test_subclassesComeAsTheirKnownClass(self) -> None:
        class Odd(errors.Refused):
            pass

        self.plug(server={"fail": lambda: fail(Odd("no"))})
        answer = self.client.call("fail")
        self.cable.flush()
        self.assertEqual(self.failureResultOf(answer, Refused).getErrorMessage(), "no")

    def test_defectIsToldInTheOwnLogOnly(self) -> None:
        def broken() -> None:
            raise RuntimeError("the secret is 1234")

        self.plug(server={"broken": broken})
        answer = self.client.call("broken")
        self.cable.flush()
        message = self.failureResultOf(answer, ClusterError).getErrorMessage()
        self.assertEqual(message, "internal error on a; its log has the details")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_errorOfANewerVersionComesWithItsText(self) -> None:
        error = errorFromPlain(canonical({"error": "TooCold", "text": "it is too cold", "degrees": -5}))
        self.assertEqual((type(error), str(error)), (ClusterError, "it is too cold"))
        for plain in (b"", b"{}", b"[1]", canonical({"error": "Conflict", "text": ""}), 5, canonical({"error": 1})):
            try:
                came = errorFromPlain(plain)
            except Refused as refused:
                came = refused
            self.assertIsInstance(came, Refused)


class LargeTests(LinkCase):
    def test_thirtyMiBInPieces(self) -> None:
        data = random.Random(1).randbytes(30 * 1024 * 1024)
        largest = []
        self.plug(server={"digest": lambda data: hashlib.sha256(data).digest()})
        encoded = self.client.sendEncoded
        self.client.sendEncoded = lambda obj: (largest.append(_size(obj)), encoded(obj))  # type: ignore[assignment]
        answer = self.client.call("digest", data)
        self.cable.flush()
        self.assertEqual(soon(answer), hashlib.sha256(data).digest())
        self.assertLessEqual(max(largest), CHUNK_BYTES + 1024)

    def test_largeAnswerComesInPieces(self) -> None:
        data = random.Random(1).randbytes(3 * 1024 * 1024)
        self.plug(server={"give": lambda: [data, b"small", data]})
        self.assertEqual(self.ask("give"), [data, b"small", data])

    def test_otherCallsGetThroughMeanwhile(self) -> None:
        self.plug(server={"take": len, "quick": lambda: 1})
        large = self.client.call("take", bytes(4 * 1024 * 1024))
        quick = self.client.call("quick")
        while not quick.called:
            self.assertTrue(self.cable.move())
        self.assertFalse(large.called)
        self.cable.flush()
        self.assertEqual(soon(large), 4 * 1024 * 1024)

    def test_onePieceIsUnderWay(self) -> None:
        self.plug(server={"take": len})
        before = self.cable.near.written
        self.client.call("take", bytes(8 * 1024 * 1024)).addErrback(lambda _: None)
        self.assertLess(self.cable.near.written - before, CHUNK_BYTES + 1024)

    def test_brokenOffTransferWasNotSent(self) -> None:
        """What was only sent ahead has no effect, so a proposal that got no further is not of unknown outcome."""
        self.plug(server={"take": len})
        answer = self.client.call("take", bytes(8 * 1024 * 1024))
        self.cable.move()
        self.cable.cut()
        self.assertFalse(self.failureResultOf(answer, LinkLost).value.sent)

    def test_piecesThatDoNotFitAreRefused(self) -> None:
        incoming = IncomingPieces()
        for piece in (
            (1, 5, b"x"),
            (1, 0, b""),
            (1, 0, bytes(CHUNK_BYTES + 1)),
            ("1", 0, b"x"),
            (1, -1, b"x"),
            (1, 0, 5),
        ):
            self.assertRaises(Refused, incoming.received, *piece)
        incoming.received(1, 0, b"abc")
        self.assertRaises(Refused, incoming.received, 1, 2, b"x")
        for ticket in ({}, {"number": 1, "length": 3, "sha256": bytes(32)}, {"number": 9, "length": 3}, {1: 2}):
            self.assertRaises(Refused, incoming.opened, ticket)

    def test_abandonedPiecesMakeRoom(self) -> None:
        incoming = IncomingPieces()
        for number in range(100):
            incoming.received(number, 0, b"abc")
        self.assertLessEqual(len(incoming._parcels), 4)

    def test_boundOfWhatIsSentAhead(self) -> None:
        self.patch(pieces, "MOST_BYTES", 10)
        incoming = IncomingPieces()
        incoming.received(1, 0, bytes(8))
        self.assertRaises(Refused, incoming.received, 1, 8, bytes(8))
        sending = Deferred.fromCoroutine(OutgoingPieces(lambda *_: succeed(None)).sendAhead(bytes(CHUNK_BYTES + 1)))
        self.failureResultOf(sending, Refused)

    def test_nestingIsBounded(self) -> None:
        deep: Any = []
        for _ in range(20):
            deep = [deep]
        self.assertRaises(Refused, IncomingPieces().opened, deep)


def _size(sexp: Any) -> int:
    return sum(map(_size, sexp)) if isinstance(sexp, list | tuple) else len(sexp) if isinstance(sexp, bytes) else 8


class PingTests(LinkCase):
    def test_roundTripAndClockOfTheOtherEnd(self) -> None:
        self.plug()
        self.server._wallTime = lambda: self.clock.seconds() + 65
        self.advance(4)
        self.assertEqual(self.client.roundTripSeconds, 0)
        self.assertEqual(self.client.offsetSeconds, 60)

    def test_silentLineIsCutOnBothEnds(self) -> None:
        self.plug()
        self.advance(10)
        self.cable.hold()
        with capturedLogs() as logged:
            self.advance(9)
        self.assertTrue(self.cable.gone)
        self.assertEqual(len([event for event in logged if "was cut" in event["log_format"]]), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lossOfOneDirectionIsNoticedByBoth(self) -> None:
        self.plug()
        self.cable.far.held = True
        with capturedLogs():
            self.advance(9)
        self.assertTrue(self.cable.near.gone)
        self.cable.far.held = False
        self.cable.flush()
        self.assertTrue(self.cable.gone)

    def test_idleLineStays(self) -> None:
        self.plug()
        self.advance(600)
        self.assertFalse(self.cable.gone)
        self.assertEqual(len(self.client.waitingForAnswers), 0)

    def test_slowBulkIsNotCut(self) -> None:
        """A line that carries a large piece for half a minute is alive, though no ping is answered meanwhile."""
        self.plug(server={"take": len})
        answer = self.client.call("take", bytes(CHUNK_BYTES), seconds=100)
        pending = self.cable.near
        for _ in range(64):
            data = bytes(pending.out[:4096])
            del pending.out[:4096]
            self.server.dataReceived(data)
            self.cable.far.move()
            self.clock.advance(1)
        self.assertFalse(self.cable.gone)
        self.cable.flush()
        self.assertEqual(soon(answer), CHUNK_BYTES)

    def test_ownStallIsNotTakenForSilence(self) -> None:
        self.plug()
        self.clock.advance(30)
        self.cable.flush()
        self.advance(10)
        self.assertFalse(self.cable.gone)


class HostileTests(LinkCase):
    """Whatever the other end sends, the link ends with one line, or answers; nothing grows, nothing is thrown."""

    def established(self) -> Cable:
        self.plug(server={"same": lambda *values: list(values)})
        return self.cable

    def assertCut(self, data: bytes) -> None:
        cable = self.established()
        with capturedLogs() as logged:
            self.server.dataReceived(data)
        self.assertTrue(cable.gone, data[:40])
        self.assertEqual(len([event for event in logged if "was cut" in event["log_format"]]), 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_garbage(self) -> None:
        for data in (
            bytes(65),
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 5,
            b"\x7f" * 65 + b"\x80",
            b"\xff",
            b"\x8a",
            b"\x05\x87",
            b"\x60\x87",
            b"\x01\x81",
            b"\x01\x82x",
            b"\x00\x80",
            b"\x01\x80\x01\x81",
            b"\x01\x80\x06\x82decref",
            b"\x01\x80\x1a\x87",
            b"\x03\x80\x1b\x87\x63\x81\x00\x80",
            b"\x03\x80\x1c\x87\x63\x81\x00\x80",
            b"\x02\x80\x13\x87\x07\x81",
            b"\x02\x80\x1d\x87\x04\x82root",
        ):
            self.assertCut(data)

    def test_randomBytes(self) -> None:
        for seed in range(200):
            cable = self.established()
            with capturedLogs():
                self.server.dataReceived(random.Random(seed).randbytes(2000))
                self.server.dataReceived(bytes(100))
            self.assertEqual(self.flushLoggedErrors(), [], seed)
            cable.cut()

    def test_hugeLengths(self) -> None:
        self.assertCut(b"\x7f\x7f\x7f\x7f\x7f\x82")
        self.assertCut(b"\x7f\x7f\x7f\x7f\x7f\x80")

    def test_endlessMessage(self) -> None:
        cable = self.established()
        with capturedLogs():
            self.server.dataReceived(b"\x7f\x7f\x27\x80")
            for _ in range(40):
                self.server.dataReceived((b"\x7f\x07\x82" + bytes(1023)) * 32)
                if cable.gone:
                    break
        self.assertTrue(cable.gone)

    def test_deepNesting(self) -> None:
        self.assertCut(b"\x01\x80" * 5000)

    def test_deepNestingInOneMessage(self) -> None:
        deep = b"\x01\x80" * 5000 + b"\x00\x81"
        message = b"\x07\x80\x1a\x87\x01\x81\x04\x82root\x04\x82same\x01\x81" + deep + b"\x01\x80\x05\x87"
        cable = self.established()
        with capturedLogs():
            self.server.dataReceived(message)
            cable.flush()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_forbiddenTypesAreRefused(self) -> None:
        """Nothing but plain values: no reference, no class, no copy, no function, no module."""
        cable = self.established()

        def word(text: str) -> bytes:
            return bytes([len(text)]) + b"\x82" + text.encode()

        def sexp(*items: bytes) -> bytes:
            return bytes([len(items)]) + b"\x80" + b"".join(items)

        answers: list[Any] = []
        self.client.proto_answer = lambda _, answer: answers.append(self.client.unserialize(answer))  # type: ignore[method-assign]
        forbidden = [
            sexp(word("remote"), b"\x01\x81"),
            sexp(word("local"), word("root")),
            sexp(word("reference"), b"\x01\x81", sexp(word("list"), sexp(word("dereference"), b"\x01\x81"))),
            sexp(word("dereference"), b"\x01\x81"),
            sexp(word("class"), word("os.system")),
            sexp(word("function"), word("os.system")),
            sexp(word("module"), word("os")),
            sexp(word("instance"), sexp(word("class"), word("os.X")), sexp(word("dictionary"))),
            sexp(word("twisted.spread.pb.CopyableFailure"), sexp(word("dictionary"))),
            sexp(word("cftpcluster.config.document.User"), sexp(word("dictionary"))),
            sexp(word("builtins.list"), word("x")),
            sexp(word("set"), word("x")),
            sexp(word("datetime"), word("1 2 3")),
            sexp(word("decimal"), b"\x01\x81", b"\x7f\x7f\x81"),
            sexp(word("persistent"), word("x")),
            sexp(word("unpersistable"), word("x")),
            sexp(word("method"), word("x"), word("y"), word("z")),
            sexp(sexp(word("list"))),
            sexp(b"\x01\x81"),
            sexp(),
            sexp(word("unicode"), b"\x02\x82\xff\xfe"),
            sexp(word("boolean"), word("perhaps")),
            sexp(word("dictionary"), sexp(sexp(word("list")), b"\x01\x81")),
        ]
        for number, bad in enumerate(forbidden):
            message = sexp(
                word("message"),
                bytes([number + 1]) + b"\x81",
                word("root"),
                word("same"),
                b"\x01\x81",
                sexp(word("tuple"), bad),
                sexp(word("dictionary")),
            )
            answers.clear()
            with capturedLogs():
                self.server.dataReceived(message)
                cable.flush()
            self.assertFalse(cable.gone, bad)
            self.assertEqual([answer[0] for answer in answers], [False], bad)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_namedArgumentsAndOtherObjectsAreRefused(self) -> None:
        self.established()
        root = self.client.remoteForName("root")
        other = self.client.remoteForName("other")
        answers = [root.callRemote("same", number=1), other.callRemote("same", 1), root.callRemote("__class__")]
        self.cable.flush()
        self.assertEqual([soon(answer)[0] for answer in answers], [False, False, False])

    def test_stockPerspectiveBrokerMayAskNothingElse(self) -> None:
        """Another implementation of the protocol can talk to it, without references."""
        self.server = self.end("a", "b", False, {"same": lambda *values: list(values)})
        broker = pb.Broker(isClient=True)
        broker.factory = pb.PBClientFactory()
        cable = Cable(broker, self.server)
        cable.flush()
        root = broker.remoteForName("root")
        greeting = root.callRemote("hello", plainFromHello(hello("b")))
        cable.flush()
        self.assertEqual(soon(greeting)[0], True)
        same = root.callRemote("same", 1, b"x")
        referring = root.callRemote("same", pb.Referenceable())
        with capturedLogs():
            cable.flush()
        self.assertEqual((soon(same), soon(referring)[0]), ([True, [1, b"x"]], False))

    def test_answersToNothingCutTheLink(self) -> None:
        self.assertCut(b"\x03\x80\x1b\x87\x09\x81" + b"\x02\x80\x08\x87\x01\x81")

    def test_unreadableAnswerCutsTheLink(self) -> None:
        self.plug(server={"wait": Deferred})
        answer = self.client.call("wait")
        self.cable.flush()
        request = next(iter(self.client.waitingForAnswers))
        with capturedLogs():
            self.client.dataReceived(b"\x03\x80\x1b\x87" + bytes([request]) + b"\x81" + b"\x02\x80\x09\x87\x02\x82os")
        self.failureResultOf(answer, LinkLost)

    def test_strangeAnswersAreRefused(self) -> None:
        self.plug()
        for strange in (5, [], [1, 2], [True], ["True", 5], [False, 5], [False, b"?"], [True, {"number": 7}]):
            self.server._perform = lambda *_, strange=strange: Deferred()  # type: ignore[method-assign,assignment]
            answer = self.client.call("x")
            self.cable.flush()
            request = max(self.client.waitingForAnswers)
            self.server._sendAnswer(self.server.serialize(strange), request)
            self.cable.flush()
            self.failureResultOf(answer, Refused)


class ConversationTests(LinkCase):
    """Every call of publishers and followers, over a link."""

    def setUp(self) -> None:
        super().setUp()
        self.publisher, self.follower = FakePublisher(), FakeFollower()
        self.far: Any = None

        def expose(link: Link) -> Mapping[str, Method]:
            self.far = RemoteFollower(link)
            return publisherMethods(self.publisher, self.far, "b", maybeDeferred)

        self.server = Link(self.clock, self.clock.seconds, False, "b", lambda: hello("a"), expose)
        self.client = self.end("b", "a", True, followerMethods(self.follower))
        self.cable = Cable(self.client, self.server)
        self.cable.flush()
        self.near = RemotePublisher(self.client, maybeDeferred)

    def said(self, call: Callable[..., Deferred[Any]], *arguments: Any) -> Any:
        answer = call(*arguments)
        self.cable.flush()
        return soon(answer)

    def test_interfaces(self) -> None:
        verifyObject(IPublisher, self.near)
        verifyObject(IFollower, self.far)

    def test_follow(self) -> None:
        offer = SnapshotOffer("id-1", 2**33, bytes(32), 2, 9, b"\2" * 32, True)
        for answer in (FollowAnswer(3, 10, b"\1" * 32), FollowAnswer(3, 10, b"\1" * 32, offer)):
            self.publisher.answers = [answer]
            self.assertEqual(self.said(self.near.follow, self.follower, 2, 7, b"\3" * 32), answer)
        self.assertEqual(self.publisher.follows, [(2, 7, b"\3" * 32)] * 2)
        self.said(self.near.follow, self.follower, 2, 7, b"")
        self.assertEqual(self.publisher.follows[-1], (2, 7, b""))

    def test_snapshotChunk(self) -> None:
        self.publisher.chunks["id-1"] = bytes(300_000)
        self.assertEqual(len(self.said(self.near.snapshotChunk, "id-1", 0)), CHUNK_BYTES)
        self.assertEqual(len(self.said(self.near.snapshotChunk, "id-1", CHUNK_BYTES)), 300_000 - CHUNK_BYTES)

    def test_proposal(self) -> None:
        change = Put("users", User(name="alice", extra={"note": "\udcff"}))
        sent = proposal(change, "request-9", expected={("users", "alice"): 4, ("settings", ""): 0})
        self.assertEqual(self.said(self.near.propose, sent), 1)
        [came] = self.publisher.proposals
        self.assertEqual(came.node, "b", "the node is that of the certificate")
        for name in ("change", "expected", "author", "requestId", "time"):
            self.assertEqual(getattr(came, name), getattr(sent, name))

    def test_proposalOfVeryManyObjects(self) -> None:
        change = Batch(tuple(Put("groups", Group(name=f"group-{number}")) for number in range(20_000)))
        self.said(self.near.propose, proposal(change))
        self.assertEqual(self.publisher.proposals[0].change, change)

    def test_proposalWhoseAnswerIsLostHasAnUnknownOutcome(self) -> None:
        self.publisher.outcomes = [Deferred()]
        answer = self.near.propose(proposal(numbered(1), "request-7"))
        self.cable.flush()
        self.cable.cut()
        self.assertEqual(self.failureResultOf(answer, OutcomeUnknown).value.requestId, "request-7")
        self.failureResultOf(self.near.propose(proposal(numbered(1))), PrimaryUnreachable)

    def test_proposalThatTakesTooLongHasAnUnknownOutcome(self) -> None:
        self.publisher.outcomes = [Deferred()]
        answer = self.near.propose(proposal(numbered(1)))
        self.advance(61)
        self.failureResultOf(answer, OutcomeUnknown)
        self.assertFalse(self.cable.gone)

    def test_reportRelayAndCertificate(self) -> None:
        self.said(self.near.report, {"state": "following", "lag": 0.5, "names": ["b\udcff"]})
        self.assertEqual(self.publisher.reports, [{"state": "following", "lag": 0.5, "names": ["b\udcff"]}])
        author = Author("\udcff", "full", "socket")
        self.assertEqual(self.said(self.near.relay, "c", "drain", {"seconds": 5}, author), {"done": "drain"})
        self.assertEqual(self.publisher.relayed, [("c", "drain", {"seconds": 5}, author)])
        self.assertEqual(self.said(self.near.renewCertificate, b"request"), b"certificate")

    def test_deliver(self) -> None:
        journal = MemoryJournal({})
        soon(journal.append(proposal(founding("ab", "a"))))
        soon(journal.append(proposal(numbered(1, 3_000_000))))
        entries = soon(journal.since(0, 10))
        self.assertEqual(self.said(self.far.deliver, entries[:1]), (1, entries[0].chainHash))
        [large] = soon(journal.since(1, 10))
        self.assertEqual(self.said(self.far.deliver, [large]), (2, large.chainHash))
        self.assertEqual(self.follower.taken, [*entries, large])

    def test_followerThatDoesNotAnswerIsCut(self) -> None:
        journal = MemoryJournal({})
        soon(journal.append(proposal(founding("ab", "a"))))
        self.follower.answers = [Deferred()]
        answer = self.far.deliver(soon(journal.since(0, 10)))
        self.advance(121)
        self.failureResultOf(answer, NoAnswer)
        self.assertTrue(self.cable.gone)

    def test_positionStatusAndPerform(self) -> None:
        self.said(self.far.position, 1, 2, b"\1" * 32)
        self.assertEqual(self.follower.positions, [(1, 2, b"\1" * 32)])
        self.said(self.far.clusterStatus, {"nodes": [{"name": "a"}]})
        self.assertEqual(self.follower.statuses, [{"nodes": [{"name": "a"}]}])
        self.assertEqual(self.said(self.far.perform, "kick", {"id": "x" * 400_000}), {"done": "kick"})
        self.assertEqual(self.follower.performed, [("kick", {"id": "x" * 400_000})])

    def test_entriesThatAreNoneAreRefused(self) -> None:
        for plain in (5, [5], [[b"x"]], [[b"x", b"y"]], [[b"{}\n{}", bytes(32)]], [[b"x" * 100, bytes(32)]], b"?"):
            answer = self.server.call("deliver", plain)
            self.cable.flush()
            self.failureResultOf(answer, Refused)
        self.assertEqual(self.follower.taken, [])
