"""Tests of :mod:`cftpcluster.servers.ftp.transfer`."""

from __future__ import annotations

import gc
import socket
import weakref
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.errors import OutOfSpace, QuotaExceeded, StorageFailed
from cftpcluster.files.policy import Permitted
from cftpcluster.servers.ftp.data import RECEIVE_BYTES
from cftpcluster.servers.ftp.transfer import AT_ONCE_SECONDS, KILLED_SECONDS, SMALL_BYTES
from cftpcluster.vocabulary import OpenMode, Permission

from .support import Conversation, Transport, codesOf


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Conversation()
        self.client.login()

    def send(self, command: str, *pieces: bytes, end: Exception | None = None) -> list[int]:
        """Upload; gives the codes of the answers."""
        data = self.client.data()
        codes = self.client.codes(command)
        if codes == [150]:
            for piece in pieces:
                data.protocol.dataReceived(piece)
            data.end(end or ConnectionDone())
            self.client.turn()
            codes += codesOf(self.client.heard())
        return codes

    def receive(self, command: str) -> tuple[list[int], bytes]:
        """Download; gives the codes of the answers, and the data."""
        data = self.client.data()
        codes = self.client.codes(command)
        self.client.turn()
        return codes + codesOf(self.client.heard()), data.taken()


class DownloadTests(Case):
    def test_aFileComesWhole(self) -> None:
        self.client.put("/x", bytes(range(256)) * 4000)
        self.assertEqual(self.receive("RETR x"), ([150, 226], bytes(range(256)) * 4000))

    def test_theFirstAnswerSaysHowMuchComes(self) -> None:
        self.client.put("/x", b"12345")
        self.client.data()
        self.assertIn(" /x (5 bytes)", self.client.say("RETR x"))

    def test_itContinuesWhereTheClientSays(self) -> None:
        self.client.put("/x", b"0123456789")
        self.client.say("REST 4")
        self.assertEqual(self.receive("RETR x"), ([150, 226], b"456789"))
        self.assertEqual(self.receive("RETR x"), ([150, 226], b"0123456789"))

    def test_restComesBeforeOrAfterThePort(self) -> None:
        self.client.put("/x", b"0123456789")
        data = self.client.data()
        self.assertEqual(self.client.codes("REST 8", "RETR x"), [350, 150])
        self.client.turn()
        self.assertEqual(data.taken(), b"89")

    def test_itCannotContinueBehindTheEnd(self) -> None:
        self.client.put("/x", b"0123")
        self.client.say("REST 5")
        self.assertEqual(self.receive("RETR x"), ([554], b""))

    def test_aMissingFileIs550(self) -> None:
        self.client.put("/d", None)
        for path in ("none", "none/deeper", "/d", "/d/none"):
            self.assertEqual(self.receive(f"RETR {path}")[0], [550], path)

    def test_aClientThatLeavesIsNotTold226(self) -> None:
        self.client.put("/x", b"x" * 100_000)
        data = self.client.data()
        data.protocol.registerProducer = lambda producer, streaming: producer.pauseProducing()
        data.protocol.unregisterProducer = lambda: None
        self.client.say("RETR x")
        data.end(ConnectionLost())
        self.client.turn()
        self.assertEqual(self.client.heard(), "")

    def test_aResetAfterTheLastByteIsNoSuccess(self) -> None:
        self.client.put("/x", b"contents")
        data = self.client.data()
        self.client.say("RETR x")
        data.end(ConnectionLost())
        self.assertEqual(codesOf(self.client.heard()), [426])

    def test_aClientMayCloseItsHalfFirst(self) -> None:
        self.client.put("/x", b"contents")
        data = self.client.data()
        data.protocol.readConnectionLost()
        self.client.say("RETR x")
        self.client.turn()
        self.assertEqual(data.taken(), b"contents")
        self.assertEqual(codesOf(self.client.heard()), [226])

    def test_aReadThatFailsIsTold(self) -> None:
        self.client.put("/x", b"contents")
        files = self.client.session.files
        opened = files.open

        def openBroken(path: Any, mode: OpenMode) -> Deferred[Any]:
            def breaks(file: Any) -> Any:
                return broken(file, read=StorageFailed())

            return opened(path, mode).addCallback(breaks)

        self.client.session.account.files = Changed(files, open=openBroken)
        data = self.client.data()
        self.assertEqual(self.client.codes("RETR x"), [150, 451])
        self.client.turn()
        self.assertTrue(data.gone)

    def test_textGetsTheLinesOfTheWire(self) -> None:
        self.client.put("/x", b"one\ntwo\r\n")
        self.client.say("TYPE A")
        self.assertEqual(self.receive("RETR x"), ([150, 226], b"one\r\ntwo\r\n"))

    def test_textCannotBeContinued(self) -> None:
        self.client.put("/x", b"0123")
        self.client.say("REST 2", "TYPE A")
        self.assertEqual(self.receive("RETR x")[0], [504])


class UploadTests(Case):
    def test_aFileIsThereBeforeItIsSaidToBe(self) -> None:
        self.assertEqual(self.send("STOR x", b"one", b"two"), [150, 226])
        self.assertEqual(self.client.get("/x"), b"onetwo")

    def test_nothingIsSeenBeforeTheEnd(self) -> None:
        self.client.put("/x", b"old")
        data = self.client.data()
        self.client.say("STOR x")
        data.protocol.dataReceived(b"new" * 200_000)
        self.assertEqual(self.client.get("/x"), b"old")
        data.end(ConnectionDone())
        self.client.turn()
        self.assertEqual(self.client.get("/x"), b"new" * 200_000)

    def test_nothingHoldsTheFileAfterwards(self) -> None:
        """Not even a circle that is found some day: descriptors would run out before."""
        gc.disable()
        self.addCleanup(gc.enable)
        for end in (ConnectionDone(), ConnectionLost()):
            data = self.client.data()
            self.client.say("STOR x")
            data.protocol.dataReceived(b"new")
            receiver = weakref.ref(data.protocol._receiver)
            self.assertIsNotNone(receiver())
            data.end(end)
            self.client.turn(2 * KILLED_SECONDS)
            self.assertIn(codesOf(self.client.heard()), ([226], [426]))
            self.assertIsNone(receiver())

    def test_muchIsReceivedAtOnce(self) -> None:
        self.assertEqual(self.client.data().bufferSize, RECEIVE_BYTES)

    def test_aResetIsNoEnd(self) -> None:
        self.client.put("/old", b"old")
        for path, contents in (("/old", b"old"), ("/new", None)):
            self.assertEqual(self.send(f"STOR {path}", b"half", end=ConnectionLost()), [150, 426])
            self.assertEqual(self.client.get(path), contents)

    def test_whoMayHaveBeenKilledIsWaitedFor(self) -> None:
        """Its kernel may end the control connection a moment later."""
        whole = b"x" * SMALL_BYTES
        for pieces, seconds in (((whole,), 0.0), ((), 0.0), ((b"be", b"gun"), AT_ONCE_SECONDS)):
            data = self.client.data()
            self.client.say("STOR x")
            for piece in pieces:
                data.protocol.dataReceived(piece)
                self.client.turn(seconds)
            data.end(ConnectionDone())
            self.client.turn(KILLED_SECONDS / 2)
            self.assertEqual(self.client.heard(), "")
            self.client.turn(KILLED_SECONDS / 2)
            self.assertEqual(codesOf(self.client.heard()), [226])
        self.assertEqual(self.client.get("/x"), b"begun")

    def test_whoSentAllAtOnceIsNot(self) -> None:
        data = self.client.data()
        self.client.say("STOR x")
        data.protocol.dataReceived(b"all of it")
        data.end(ConnectionDone())
        self.client.turn(0)
        self.assertEqual(codesOf(self.client.heard()), [226])

    def test_whoHasLeftIsNoticedBeforeTheConnectionIs(self) -> None:
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        self.client.session.control._socket = ours
        self.assertEqual(self.send("STOR x", b"all of it"), [150, 226])
        theirs.shutdown(socket.SHUT_WR)
        self.assertEqual(self.send("STOR y", b"all of it"), [150, 426])
        self.assertIsNone(self.client.get("/y"))

    def test_aBrokenUploadIsContinued(self) -> None:
        self.send("STOR x", b"0123456", end=ConnectionLost())
        self.assertEqual(self.client.say("SIZE x"), "213 7\r\n")
        self.assertEqual(self.client.codes("REST 7"), [350])
        self.assertEqual(self.send("STOR x", b"789"), [150, 226])
        self.assertEqual(self.client.get("/x"), b"0123456789")

    def test_itIsContinuedFromAnotherSession(self) -> None:
        self.send("STOR x", b"0123456", end=ConnectionLost())
        self.client.control.end(ConnectionDone())
        self.client.connect()
        self.client.login()
        self.client.say("REST 5")
        self.assertEqual(self.send("STOR x", b"X"), [150, 226])
        self.assertEqual(self.client.get("/x"), b"01234X")

    def test_itIsContinuedByAppending(self) -> None:
        self.send("STOR x", b"0123456", end=ConnectionLost())
        self.assertEqual(self.send("APPE x", b"789"), [150, 226])
        self.assertEqual(self.client.get("/x"), b"0123456789")

    def test_itCannotBeContinuedBehindItsEnd(self) -> None:
        self.send("STOR x", b"0123456", end=ConnectionLost())
        self.client.say("REST 8")
        self.assertEqual(self.send("STOR x", b"789"), [554])
        self.assertEqual(self.client.say("SIZE x"), "213 7\r\n")

    def test_itIsDiscardedByANewUpload(self) -> None:
        self.send("STOR x", b"0123456", end=ConnectionLost())
        self.assertEqual(self.send("STOR x", b"new"), [150, 226])
        self.assertEqual(self.client.get("/x"), b"new")

    def test_aMissingFileIsNotContinued(self) -> None:
        self.client.say("REST 5")
        self.assertEqual(self.send("STOR none", b"789"), [550])
        self.assertIsNone(self.client.get("/none"))

    def test_aCommittedFileIsWrittenOver(self) -> None:
        self.client.put("/x", b"0123456789")
        self.client.say("REST 4")
        self.assertEqual(self.send("STOR x", b"XY"), [150, 226])
        self.assertEqual(self.client.get("/x"), b"0123XY6789")

    def test_appendingToACommittedFile(self) -> None:
        self.client.put("/x", b"one")
        self.assertEqual(self.send("APPE x", b"two"), [150, 226])
        self.assertEqual(self.client.get("/x"), b"onetwo")

    def test_appendingMakesAFile(self) -> None:
        self.assertEqual(self.send("APPE x", b"one"), [150, 226])
        self.assertEqual(self.client.get("/x"), b"one")

    def test_appendingForgetsWhereToRestart(self) -> None:
        self.client.put("/x", b"one")
        self.client.say("REST 1")
        self.assertEqual(self.send("APPE x", b"two"), [150, 226])
        self.assertEqual(self.receive("RETR x"), ([150, 226], b"onetwo"))

    def test_textLosesTheLinesOfTheWire(self) -> None:
        self.client.say("TYPE A")
        self.assertEqual(self.send("STOR x", b"one\r", b"\ntwo\r\nthree\r"), [150, 226])
        self.assertEqual(self.client.get("/x"), b"one\ntwo\nthree\r")

    def test_textIsAppended(self) -> None:
        self.client.put("/x", b"one\n")
        self.client.say("TYPE A")
        self.assertEqual(self.send("APPE x", b"two\r\n"), [150, 226])
        self.assertEqual(self.client.get("/x"), b"one\ntwo\n")

    def test_aFolderIsNotAFile(self) -> None:
        self.client.put("/d", None)
        self.assertEqual(self.send("STOR d"), [550])
        self.assertEqual(self.send("STOR /"), [550])
        self.assertEqual(self.send("STOR none/x"), [550])

    def test_aReservedNameIsRefused(self) -> None:
        self.assertEqual(self.send("STOR .cftpcluster-part-x"), [553])

    def test_namesAreAnyBytes(self) -> None:
        name = b"caf\xe9 \xc3\xa9"
        self.client.data()
        self.assertEqual(codesOf(self.client.send(b"STOR " + name + b"\r\n")), [150])
        self.client.say("ABOR")
        self.client.turn()
        self.client.heard()
        self.assertEqual(self.client.say("MKD é"), '257 "/é" created\r\n')


class Changed:
    """An object some of whose methods are others."""

    def __init__(self, inner: Any, **methods: Any) -> None:
        self._inner = inner
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def broken(file: Any, **errors: Exception) -> Any:
    """A file whose methods fail so."""
    return Changed(file, **{name: lambda *arguments, error=error: fail(error) for name, error in errors.items()})


class FailingUploadTests(Case):
    def breakFiles(self, **errors: Exception) -> None:
        """Have every file that is opened fail so."""
        files = getattr(self.client.session.files, "_inner", self.client.session.files)
        opened = files.open
        self.kept: list[bool] = []

        def openBroken(path: Any, mode: OpenMode) -> Deferred[Any]:
            def breaks(file: Any) -> Any:
                aborted = file.abort

                def abort(keep: bool) -> Any:
                    self.kept.append(keep)
                    return aborted(keep)

                return Changed(broken(file, **errors), abort=abort)

            return opened(path, mode).addCallback(breaks)

        self.client.session.account.files = Changed(files, open=openBroken)

    def test_aFullDiskIsToldAndNothingStays(self) -> None:
        for error, code in ((OutOfSpace(), 452), (QuotaExceeded(), 552)):
            self.breakFiles(write=error)
            data: Transport = self.client.data()
            self.client.say("STOR x")
            data.protocol.dataReceived(b"x" * 300_000)
            self.client.turn()
            self.assertEqual(codesOf(self.client.heard()), [code])
            self.assertTrue(data.gone)
            self.assertEqual(self.kept, [False])
            self.assertEqual(self.client.codes("SIZE x"), [550])

    def test_aFullDiskAtTheLastBytes(self) -> None:
        self.breakFiles(write=OutOfSpace())
        self.assertEqual(self.send("STOR x", b"few"), [150, 452])
        self.assertIsNone(self.client.get("/x"))

    def test_aCommitThatFailsIsNoSuccess(self) -> None:
        self.breakFiles(commit=OutOfSpace())
        self.assertEqual(self.send("STOR x", b"few"), [150, 452])

    def test_theSessionGoesOn(self) -> None:
        self.breakFiles(write=StorageFailed())
        self.assertEqual(self.send("STOR x", b"few"), [150, 451])
        self.assertEqual(self.client.codes("NOOP"), [200])


class UploadOnlyTests(Case):
    """A user who may create files, and no more."""

    def setUp(self) -> None:
        super().setUp()
        files = self.client.session.files
        self.client.session.account.files = Permitted(files, frozenset({Permission.upload}))
        self.client.put("/old", b"old")

    def test_filesAreCreated(self) -> None:
        self.assertEqual(self.send("STOR x", b"new"), [150, 226])
        self.assertEqual(self.send("APPE y", b"new"), [150, 226])
        self.assertEqual((self.client.get("/x"), self.client.get("/y")), (b"new", b"new"))

    def test_committedFilesStayAsTheyAre(self) -> None:
        self.assertEqual(self.send("STOR old", b"new"), [550])
        self.assertEqual(self.send("APPE old", b"new"), [550])
        self.client.say("REST 1")
        self.assertEqual(self.send("STOR old", b"new"), [550])
        self.assertEqual(self.client.get("/old"), b"old")

    def test_theOwnPartialIsContinued(self) -> None:
        self.send("STOR x", b"012", end=ConnectionLost())
        self.client.say("REST 3")
        self.assertEqual(self.send("STOR x", b"345", end=ConnectionLost()), [150, 426])
        self.assertEqual(self.send("APPE x", b"678"), [150, 226])
        self.assertEqual(self.client.get("/x"), b"012345678")

    def test_nothingIsReadOrListed(self) -> None:
        for command in ("RETR old", "LIST", "NLST", "MLSD", "LIST old"):
            self.assertEqual(self.receive(command), ([550], b""), command)
        self.assertEqual(self.client.codes("SIZE old", "MLST old", "STAT old", "STAT none", "DELE old"), [550] * 5)


class SlowDiskTests(Case):
    def test_theClientWaitsForASlowDisk(self) -> None:
        written: list[Deferred[None]] = []
        files = self.client.session.files

        def slow(path: Any, mode: OpenMode) -> Deferred[Any]:
            def write(offset: int, data: bytes) -> Deferred[None]:
                held: Deferred[None] = Deferred()
                written.append(held)
                return held

            return files.open(path, mode).addCallback(lambda file: Changed(file, write=write))

        self.client.session.account.files = Changed(files, open=slow)
        data = self.client.data()
        self.client.say("STOR x")
        for _ in range(5):
            data.protocol.dataReceived(b"x" * 262_144)
        self.assertEqual(data.producerState, "paused")
        while data.producerState == "paused":
            written.pop().callback(None)
        data.end(ConnectionDone())
        while written:
            written.pop().callback(None)
            self.client.turn()
        self.assertEqual(codesOf(self.client.heard()), [226])
