"""Tests of :mod:`cftpcluster.servers.ftp.control`: lines, their order, time and the end."""

from __future__ import annotations

import gc
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from cftpcluster.errors import FileSystemError, Invalid
from cftpcluster.interfaces import IServer, IServerFactory
from cftpcluster.servers.ftp import FTPOptions, ftpServerFactory
from cftpcluster.servers.ftp.control import COMMANDS, PAUSE_SECONDS, WAITING_LIMIT
from cftpcluster.servers.ftp.factory import HURRY_SECONDS
from cftpcluster.servers.ftp.replies import Refusal

from .support import Conversation, codesOf


class HeldFiles:
    """A file system whose ``stat`` waits."""

    def __init__(self, files: Any) -> None:
        self._files = files
        self.waiting: list[Deferred[Any]] = []

    def stat(self, path: Any, follow: bool = True) -> Deferred[Any]:
        held: Deferred[Any] = Deferred()
        self.waiting.append(held)
        return held.addCallback(lambda ignored: self._files.stat(path, follow))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Conversation()
        self.client.users.wrapped = HeldFiles
        self.client.login()

    @property
    def held(self) -> list[Deferred[Any]]:
        found: list[Deferred[Any]] = self.client.session.files.waiting
        return found

    def release(self) -> str:
        self.held.pop(0).callback(None)
        return self.client.heard()


class DispatchTests(Case):
    def test_unknownCommandsAreToldFromThoseThatAreNotOffered(self) -> None:
        self.assertEqual(self.client.codes("XYZZY", "SMNT /", "", " NOOP", "\N{SNOWMAN}"), [500, 502, 500, 500, 500])

    def test_commandsAreAnyCase(self) -> None:
        self.assertEqual(self.client.codes("noop", "NoOp "), [200, 200])

    def test_aMissingArgumentIsTold(self) -> None:
        for verb, command in sorted(COMMANDS.items()):
            if command.needsArgument and verb not in {"USER", "AUTH", "PBSZ", "PROT"}:
                self.assertEqual(self.client.codes(verb), [501], verb)

    def test_anArgumentTooManyIsTold(self) -> None:
        self.assertEqual(self.client.codes("PWD x", "CDUP x"), [501, 501])

    def test_aLongLineIsAnsweredOnce(self) -> None:
        self.assertEqual(codesOf(self.client.send(b"STOR " + b"x" * 100_000 + b"\r\nNOOP\r\n")), [500, 200])

    def test_linesHoldNeitherCarriageReturnNorNul(self) -> None:
        self.client.put("/x", b"")
        self.assertEqual(codesOf(self.client.send(b"NOOP\rDELE x\r\nDELE x\0\r\nNOOP\r\r\n")), [500, 500, 500])
        self.assertEqual(self.client.get("/x"), b"")

    def test_anUnforeseenErrorIsAnswered(self) -> None:
        self.client.session.files.makeDirectory = lambda path: 1 / 0
        self.assertEqual(self.client.codes("MKD a", "NOOP"), [451, 200])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_telnetNegotiationsAreRefused(self) -> None:
        self.client.control.protocol.dataReceived(b"\xff\xfd\x06")
        self.assertEqual(self.client.control.taken(), b"\xff\xfc\x06")


class OrderTests(Case):
    def test_commandsWaitForTheOneBefore(self) -> None:
        self.assertEqual(self.client.say("CWD /", "PWD", "NOOP"), "")
        self.assertEqual(codesOf(self.release()), [250, 257, 200])

    def test_onlySoManyCommandsWait(self) -> None:
        self.client.send(b"CWD /\r\n" + b"NOOP\r\n" * (WAITING_LIMIT - 1))
        self.client.turn()
        self.assertEqual(self.client.control.producerState, "producing")
        self.client.send(b"NOOP\r\n" * 100)
        self.assertEqual(self.client.control.producerState, "paused")
        codes = codesOf(self.release())
        for _ in range(5):
            self.client.turn()
            codes += codesOf(self.client.heard())
        self.assertEqual(codes, [250] + [200] * (WAITING_LIMIT + 99))
        self.assertEqual(self.client.control.producerState, "producing")

    def test_aFloodLeavesOthersTheirTurn(self) -> None:
        codes = codesOf(self.client.send(b"NOOP\r\n" * 5000))
        self.assertLess(len(codes), 200)
        self.assertEqual(self.client.control.producerState, "paused")
        for _ in range(200):
            self.client.turn()
        self.assertEqual(len(codes) + len(codesOf(self.client.heard())), 5000)
        self.assertEqual(self.client.control.producerState, "producing")

    def test_whoDoesNotReadIsNotHeard(self) -> None:
        protocol = self.client.control.protocol
        protocol.pauseProducing()
        self.assertEqual(self.client.send(b"NOOP\r\nNOOP\r\n"), "")
        self.assertEqual(self.client.control.producerState, "paused")
        protocol.resumeProducing()
        self.assertEqual(codesOf(self.client.heard()), [200, 200])
        self.assertEqual(self.client.control.producerState, "producing")

    def test_nothingIsAnsweredAfterQuit(self) -> None:
        self.assertEqual(codesOf(self.client.send(b"QUIT\r\nNOOP\r\n")), [221])
        self.assertEqual(self.client.send(b"NOOP\r\n"), "")


class TransferOrderTests(SynchronousTestCase):
    """What a client may say while a transfer runs."""

    def setUp(self) -> None:
        self.client = Conversation()
        self.client.login()
        self.client.put("/new", b"old")
        self.data = self.client.data()
        self.assertEqual(self.client.codes("STOR /new"), [150])

    def end(self) -> list[int]:
        self.data.end(ConnectionDone())
        self.client.turn()
        return codesOf(self.client.heard())

    def test_someCommandsAreAnsweredAtOnce(self) -> None:
        self.data.protocol.dataReceived(b"xyz")
        self.assertEqual(self.client.codes("NOOP"), [200])
        self.assertIn("STOR /new: 3 bytes", self.client.say("STAT"))
        self.assertEqual(self.end(), [226])

    def test_aFloodLeavesOthersTheirTurn(self) -> None:
        codes = codesOf(self.client.send(b"NOOP\r\n" * 5000))
        self.assertLess(len(codes), 200)
        self.assertEqual(self.client.control.producerState, "paused")
        for _ in range(100):
            self.client.turn()
        self.assertEqual(len(codes) + len(codesOf(self.client.heard())), 5000)
        self.assertEqual(self.end(), [226])

    def test_othersWait(self) -> None:
        self.assertEqual(self.client.codes("PWD", "NOOP", "STAT /"), [])
        self.assertEqual(self.end(), [226, 257, 200, 212])

    def test_quitWaitsForTheTransfer(self) -> None:
        self.assertEqual(self.client.codes("QUIT"), [])
        self.assertEqual(self.end(), [226, 221])
        self.assertTrue(self.client.control.disconnecting)
        self.assertEqual(self.client.get("/new"), b"")

    def test_aborEndsTheTransferAndIsAnsweredAfterIt(self) -> None:
        self.assertEqual(self.client.codes("PWD", "ABOR"), [])
        self.client.turn()
        self.assertEqual(codesOf(self.client.heard()), [426, 226, 257])
        self.assertEqual(self.client.get("/new"), b"old")
        self.assertTrue(self.data.gone)

    def test_aborWithoutATransfer(self) -> None:
        self.assertEqual(self.end(), [226])
        self.assertEqual(self.client.codes("ABOR"), [226])

    def test_theTransferEndsWithTheControlConnection(self) -> None:
        self.data.protocol.dataReceived(b"half")
        self.client.control.end(ConnectionDone())
        self.client.turn()
        self.assertTrue(self.data.gone)
        self.assertEqual(self.client.get("/new"), b"old")
        self.assertEqual(self.client.users.ended, ["alice"])

    def test_aClientThatWasKilledDoesNotCommit(self) -> None:
        """The kernel ends both of its connections in order."""
        self.data.protocol.dataReceived(b"half")
        self.data.end(ConnectionDone())
        self.client.control.end(ConnectionDone())
        self.client.turn()
        self.assertEqual(self.client.get("/new"), b"old")


class TimeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Conversation()
        self.client.heard()

    def test_aLoginHasAMinute(self) -> None:
        for _ in range(5):
            self.client.turn(10)
            self.assertEqual(self.client.codes("NOOP"), [200])
        self.client.turn(10)
        self.assertEqual(codesOf(self.client.heard()), [421])
        self.assertTrue(self.client.control.disconnecting)

    def test_anIdleSessionEnds(self) -> None:
        self.client.login()
        self.client.turn(200)
        self.assertEqual(self.client.codes("NOOP"), [200])
        self.client.turn(299)
        self.assertEqual(self.client.heard(), "")
        self.client.turn(1)
        self.assertEqual(codesOf(self.client.heard()), [421])
        self.assertTrue(self.client.control.disconnecting)

    def test_halfALineIsNoActivity(self) -> None:
        self.client.login()
        for _ in range(30):
            self.client.send(b"N")
            self.client.turn(10)
        self.assertTrue(self.client.control.disconnecting)

    def test_aTransferIsNotIdle(self) -> None:
        self.client.login()
        data = self.client.data()
        self.client.say("STOR x")
        for _ in range(10):
            self.client.turn(100)
            data.protocol.dataReceived(b"x")
        self.assertFalse(self.client.control.disconnecting)
        self.client.turn(100)
        data.end(ConnectionDone())
        self.client.turn()
        self.assertEqual(codesOf(self.client.heard()), [226])
        self.assertEqual(self.client.get("/x"), b"x" * 10)

    def test_aTransferInWhichNothingMovesEnds(self) -> None:
        self.client.login()
        data = self.client.data()
        self.client.say("STOR x")
        data.protocol.dataReceived(b"x")
        for _ in range(14):
            self.client.turn(10)
        self.client.turn()
        self.assertEqual(codesOf(self.client.heard()), [426])
        self.assertTrue(data.gone)

    def test_aClientThatDoesNotReadTheLastAnswerIsCutOff(self) -> None:
        self.client.login()
        self.client.control.loseConnection = lambda: None  # type: ignore[method-assign]
        self.client.say("QUIT")
        self.client.turn(10)
        self.client.turn()
        self.assertTrue(self.client.control.gone)

    def test_nothingIsLeftBehind(self) -> None:
        self.client.login()
        self.client.data()
        self.client.codes("EPSV")
        self.client.control.end(ConnectionDone())
        self.client.turn()
        self.assertEqual(self.client.reactor.getDelayedCalls(), [])
        self.assertEqual(self.client.users.ended, ["alice"])

    def test_noErrorIsLeftBehind(self) -> None:
        """Not even in a circle that is found some day: with it folders stay open."""
        self.client.login()
        self.client.put("/f")
        gc.disable()
        self.addCleanup(gc.enable)
        before = {id(each) for each in self.errors()}
        self.client.say(
            "SIZE none", "RNFR none", "XMD5 none 1 2", "STAT no*", "STAT f/", "MKD f", "REST 9", "HASH none"
        )
        for command in ("RETR none", "RETR f", "STOR none/f", "LIST no*", "NLST none", "MLSD f"):
            self.client.data()
            self.client.say(command)
            self.client.turn()
            self.client.heard()
        self.assertEqual([each for each in self.errors() if id(each) not in before], [])

    @staticmethod
    def errors() -> list[Exception]:
        """Those that are there: other tests keep some."""
        return [each for each in gc.get_objects() if isinstance(each, FileSystemError | Refusal)]


class ServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Conversation()
        self.client.login()

    def test_itServesAsTheInterfacesSay(self) -> None:
        verifyObject(IServer, self.client.server)
        verifyObject(IServerFactory, ftpServerFactory)

    def test_newSessionsTakeNewOptions(self) -> None:
        self.successResultOf(self.client.server.reconfigure(FTPOptions(tls="required")))
        self.assertEqual(self.client.codes("PWD"), [257])
        self.client.connect()
        self.client.heard()
        self.assertEqual(self.client.codes("USER alice"), [530])

    def test_implicitTLSCannotChangeWhileItRuns(self) -> None:
        failure = self.failureResultOf(self.client.server.reconfigure(FTPOptions(implicit=True)), Invalid)
        self.assertIn("implicit", str(failure.value))

    def test_drainingHangsUpOnWhoeverIsIdle(self) -> None:
        drained = self.client.server.drain()
        self.assertNoResult(drained)
        self.client.turn(PAUSE_SECONDS)
        self.assertEqual(codesOf(self.client.heard()), [421])
        self.client.turn()
        self.assertIsNone(self.successResultOf(drained))
        self.client.connect()
        self.assertEqual(codesOf(self.client.heard()), [421])

    def test_drainingHangsUpAtOnceOnWhoeverHasNotLoggedIn(self) -> None:
        self.client.connect()
        self.client.heard()
        self.client.server.drain()
        self.assertEqual(codesOf(self.client.heard()), [421])

    def test_drainingLetsAClientThatGoesOnGoOn(self) -> None:
        self.client.server.drain()
        for _ in range(5):
            self.client.turn(PAUSE_SECONDS / 2)
            self.assertEqual(self.client.codes("NOOP"), [200])

    def test_drainingEndsBusyClientsBetweenTwoTransfersAfterAWhile(self) -> None:
        data = self.client.data()
        self.client.say("STOR x")
        drained = self.client.server.drain()
        self.client.turn(HURRY_SECONDS)
        data.protocol.dataReceived(b"whole")
        data.end(ConnectionDone())
        self.client.turn()
        self.assertEqual(codesOf(self.client.heard()), [226, 421])
        self.client.turn()
        self.successResultOf(drained)

    def test_resumedServerTakesClientsAgain(self) -> None:
        drained = self.client.server.drain()
        self.client.server.resume()
        self.successResultOf(drained)
        self.client.turn(2 * PAUSE_SECONDS)
        self.assertEqual(self.client.codes("NOOP"), [200])
        self.client.connect()
        self.assertEqual(codesOf(self.client.heard()), [220])

    def test_drainingLetsATransferFinish(self) -> None:
        data = self.client.data()
        self.client.say("STOR x")
        drained = self.client.server.drain()
        self.assertNoResult(drained)
        data.protocol.dataReceived(b"whole")
        data.end(ConnectionDone())
        self.client.turn()
        self.assertEqual(codesOf(self.client.heard()), [226])
        self.assertEqual(self.client.codes("RNFR x", "RNTO y"), [350, 250])
        self.client.turn(PAUSE_SECONDS)
        self.assertEqual(codesOf(self.client.heard()), [421])
        self.client.turn()
        self.assertIsNone(self.successResultOf(drained))
        self.assertEqual(self.client.get("/y"), b"whole")

    def test_disconnectingEndsEverything(self) -> None:
        data = self.client.data()
        self.client.say("STOR x")
        data.protocol.dataReceived(b"half")
        self.client.server.disconnect()
        self.client.turn()
        self.assertIn(421, codesOf(self.client.heard()))
        self.assertTrue(self.client.control.gone)
        self.assertTrue(data.gone)
        self.assertIsNone(self.client.get("/x"))
        self.assertEqual(self.client.server.connections, set())


words = st.sampled_from([*sorted(COMMANDS), "XYZZY", "ABOR", "\xff\xf4"])
arguments = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["/", "..", "a", "0", "1", "*", "[", "-la *", "|1|192.0.2.7|4000|", "192,0,2,7,15,160", "ALL", "A", "P"]
    ),
)


class AnyLineTests(SynchronousTestCase):
    """Whatever is said, the session goes on, or ends in order."""

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.one_of(st.tuples(words, arguments), st.binary(max_size=30)), max_size=25), st.booleans())
    def test_everyLineIsAnswered(self, lines: list[Any], isLoggedIn: bool) -> None:
        client = Conversation()
        client.heard()
        if isLoggedIn:
            client.login()
        for line in lines:
            data = line if isinstance(line, bytes) else " ".join(line).encode("utf-8", "replace") + b"\r\n"
            client.control.protocol.dataReceived(data)
            client.turn()
            if client.control.gone:
                break
        client.control.protocol.dataReceived(b"\n")
        client.turn(60)
        client.heard()
        if not client.control.gone:
            self.assertIn(200, client.codes("NOOP"))
        client.control.end(ConnectionDone())
        client.turn()
        self.assertEqual(client.server.connections, set())
        self.assertEqual(client.reactor.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    @given(st.sampled_from(sorted(set(COMMANDS) - {"QUIT"})), st.text(max_size=30))
    def test_everyCommandTakesEveryArgument(self, verb: str, argument: str) -> None:
        client = Conversation()
        client.login()
        client.control.protocol.dataReceived(
            f"{verb} {argument}".replace("\n", "").encode("utf-8", "replace") + b"\r\n"
        )
        client.turn(31)
        codes = codesOf(client.heard())
        self.assertEqual(len(codes), 1, (verb, argument, codes))
        self.assertEqual(self.flushLoggedErrors(), [])
