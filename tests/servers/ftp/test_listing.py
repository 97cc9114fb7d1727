"""Tests of :mod:`cftpcluster.servers.ftp.listing`."""

from __future__ import annotations

import time
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.errors import StorageFailed
from cftpcluster.interfaces import ILinks
from cftpcluster.servers.ftp.listing import TURN_LINES
from cftpcluster.vocabulary import Entry, Kind, Stat

from .support import Conversation, codesOf
from .test_transfer import Changed

BAD = b"caf\xe9".decode("utf-8", "surrogateescape")


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Conversation()
        self.client.login()

    def listed(self, command: str) -> list[str]:
        """The lines that come, of a listing that ends well."""
        codes, text = self.answer(command)
        self.assertEqual(codes, [150, 226])
        self.assertTrue(not text or text.endswith("\r\n"))
        return text.split("\r\n")[:-1]

    def answer(self, command: str) -> tuple[list[int], str]:
        data = self.client.data()
        codes = self.client.codes(command)
        self.client.turn()
        return codes + codesOf(self.client.heard()), data.taken().decode("utf-8", "surrogateescape")

    def names(self, command: str) -> list[str]:
        return sorted(line.split()[-1] for line in self.listed(command))


class ListTests(Case):
    def setUp(self) -> None:
        super().setUp()
        for name, data in (("/a.txt", b"12345"), ("/.hidden", b""), ("/d", None), ("/d/b.txt", b""), ("/d/c", b"")):
            self.client.put(name, data)

    def test_aLineLooksAsLsWritesIt(self) -> None:
        (line,) = self.listed("LIST a.txt")
        self.assertRegex(line, r"^-rw-[r-][w-]-[r-][w-]- +1 ftp +ftp +5 Sep 09 01:46 a\.txt$")

    def test_everythingIsListed(self) -> None:
        self.assertEqual(self.names("LIST"), [".hidden", "a.txt", "d"])

    def test_optionsOfLsAreTakenAndIgnored(self) -> None:
        for options in ("-a", "-l", "-la", "-al", "-CF", "-a -l", "-lR"):
            self.assertEqual(self.names(f"LIST {options}"), [".hidden", "a.txt", "d"], options)
            self.assertEqual(self.names(f"LIST {options} d"), ["b.txt", "c"], options)
            self.assertEqual(sorted(self.listed(f"NLST {options} d")), ["d/b.txt", "d/c"], options)

    def test_whatBeginsWithADashIsNamedByItsFolderOrBehindTwo(self) -> None:
        self.client.put("/-file")
        self.assertEqual(len(self.names("LIST -file")), 4)
        for command in ("LIST ./-file", "LIST -- -file", "LIST -la -- -file"):
            self.assertEqual(self.names(command), ["-file"], command)
        self.assertEqual(self.client.codes("SIZE -file", "STAT -- -file", "DELE -file"), [213, 213, 250])

    def test_aFileIsNoFolder(self) -> None:
        for path in ("a.txt/", "a.txt/.", "./a.txt//"):
            self.assertEqual(self.answer(f"LIST {path}")[0], [550], path)

    def test_aMissingPathIs550(self) -> None:
        for command in ("LIST", "NLST", "MLSD"):
            self.assertEqual(self.answer(f"{command} none"), ([550], ""), command)

    def test_aPatternMayStandInTheLastName(self) -> None:
        self.assertEqual(self.names("LIST *.txt"), ["a.txt"])
        self.assertEqual(self.names("LIST d/*.txt"), ["b.txt"])
        self.assertEqual(self.listed("NLST d/[ab].?xt"), ["d/b.txt"])
        self.assertEqual(self.listed("NLST none*"), [])
        self.assertEqual(self.answer("LIST */b.txt"), ([550], ""))

    def test_aNameThatLooksLikeAPatternIsMeant(self) -> None:
        self.client.put("/[x]*", b"")
        self.client.put("/x1", b"")
        self.assertEqual(self.listed("NLST [x]*"), ["[x]*"])

    def test_aPatternCostsNoTime(self) -> None:
        self.client.put("/" + "a" * 250, b"")
        began = time.monotonic()
        self.assertEqual(self.listed("NLST " + "*a" * 120 + "*b"), [])
        self.assertEqual(self.listed("NLST " + "[a-z]*" * 40 + "?0"), [])
        self.assertLess(time.monotonic() - began, 1)
        self.assertEqual(self.answer("NLST " + "*a" * 1000)[0], [553])

    def test_namesCanBeUsedAsTheyCome(self) -> None:
        self.assertEqual(sorted(self.listed("NLST")), [".hidden", "a.txt", "d"])
        self.assertEqual(sorted(self.listed("NLST /d/")), ["/d/b.txt", "/d/c"])
        self.assertEqual(self.listed("NLST d/c"), ["d/c"])

    def test_factsOfAFolder(self) -> None:
        lines = sorted(self.listed("MLSD d"))
        self.assertEqual([line.partition(" ")[2] for line in lines], ["b.txt", "c"])
        self.assertIn("type=file;size=0;modify=20010909014640;perm=", lines[0])

    def test_onlyTheFactsThatAreWanted(self) -> None:
        self.assertEqual(self.client.say("OPTS MLST Size;type;nonsense;"), "200 MLST OPTS type;size;\r\n")
        self.assertEqual(self.listed("MLSD d"), ["type=file;size=0; b.txt", "type=file;size=0; c"])
        self.assertIn("MLST type*;size*;modify;perm;", self.client.say("FEAT"))

    def test_factsOfAFileAreNoListing(self) -> None:
        self.assertEqual(self.answer("MLSD a.txt"), ([501], ""))

    def test_factsOfOnePath(self) -> None:
        answer = self.client.say("MLST a.txt")
        self.assertRegex(
            answer, r"^250-Facts:\r\n type=file;size=5;modify=\d{14};perm=[a-z]+;.* /a\.txt\r\n250 End\r\n$"
        )
        self.assertIn("type=dir;", self.client.say("MLST"))
        self.assertEqual(self.client.codes("MLST none"), [550])

    def test_statusOfAFolderAndAFile(self) -> None:
        answer = self.client.say("STAT -l d")
        self.assertEqual(codesOf(answer), [212])
        self.assertEqual(sorted(line.split()[-1] for line in answer.split("\r\n")[1:-2]), ["b.txt", "c"])
        self.assertEqual(self.client.codes("STAT a.txt", "STAT none", "STAT"), [213, 550, 211])
        self.assertIn(" d\r\n", self.client.say("STAT -la"))

    def test_badNamesHarmNobodyElse(self) -> None:
        self.client.put(f"/d/{BAD}", b"")
        self.client.put("/d/x\ny\r\nz", b"")
        self.assertEqual(sorted(self.listed("NLST d")), sorted(["d/b.txt", "d/c", f"d/{BAD}", "d/x?y??z"]))
        self.assertEqual(len(self.listed("LIST d")), 4)
        self.assertEqual(len(self.listed("MLSD d")), 4)
        self.assertEqual(self.client.say(f"SIZE d/{BAD}"), "213 0\r\n")

    def test_aLinkThatLeadsNowhereHarmsNobodyElse(self) -> None:
        self.successResultOf(ILinks(self.client.users.files()).makeSymbolicLink(("d", "link"), "/none"))
        self.assertEqual(sorted(self.listed("NLST d")), ["d/b.txt", "d/c", "d/link"])
        self.assertEqual(sorted(line[0] for line in self.listed("LIST d")), ["-", "-", "l"])
        self.assertIn("type=OS.unix=symlink;", "".join(self.listed("MLSD d")))

    def test_aListingIsTextWhateverTheType(self) -> None:
        self.client.say("TYPE A")
        self.assertEqual(len(self.listed("LIST d")), 2)


@define
class Counting:
    """A huge folder, of which no more is read than is asked for."""

    left: int
    closed: bool = False
    error: Exception | None = None
    batch: int = 256

    def next(self) -> Deferred[Any]:
        if self.error is not None and self.left < 50_000:
            raise self.error
        self.left -= self.batch
        return succeed(
            [Entry(f"file-{self.left}-{index}", Stat(Kind.file)) for index in range(self.batch)]
            if self.left > 0
            else []
        )

    def close(self) -> None:
        self.closed = True


class HugeFolderTests(Case):
    def setUp(self) -> None:
        super().setUp()
        self.listing = Counting(100_000)
        files = self.client.session.files
        self.client.session.account.files = Changed(files, list=lambda path: succeed(self.listing))

    def test_itComesWhole(self) -> None:
        data = self.client.data()
        self.assertEqual(self.client.codes("LIST"), [150])
        self.client.turn()
        self.assertEqual(data.taken().count(b"\r\n"), 256 * (100_000 // 256))
        self.assertTrue(self.listing.closed)

    def runOneCall(self) -> None:
        """What the reactor does before it looks at the sockets again, at least."""
        call = self.client.reactor.calls.pop(0)
        call.called = 1
        call.func(*call.args, **call.kw)

    def test_othersHaveTheirTurn(self) -> None:
        """However fast a backend answers, and however much at once."""
        for batch in (1, 256, 2_000):
            self.listing = Counting(4_001, batch=batch)
            for command in ("LIST", "NLST", "MLSD"):
                self.listing.left = 4_001
                data = self.client.data()
                self.client.say(command)
                most = lines = data.taken().count(b"\r\n")
                while not self.client.heard():
                    self.runOneCall()
                    written = data.taken().count(b"\r\n")
                    most, lines = max(most, written), lines + written
                self.assertEqual(lines, 4_000 // batch * batch)
                self.assertLessEqual(most, TURN_LINES)

    def test_aClientThatWaitsIsWaitedFor(self) -> None:
        data = self.client.data()
        register = data.registerProducer

        def pause(producer: Any, streaming: bool) -> None:
            register(producer, streaming)
            producer.pauseProducing()

        data.registerProducer = pause  # type: ignore[method-assign]
        self.client.say("LIST")
        self.assertEqual(self.listing.left, 100_000 - 256)
        producer: Any = data.producer
        producer.resumeProducing()
        self.client.turn()
        self.assertEqual(codesOf(self.client.heard()), [226])

    def test_aClientThatLeavesEndsIt(self) -> None:
        data = self.client.data()
        register = data.registerProducer

        def pause(producer: Any, streaming: bool) -> None:
            register(producer, streaming)
            producer.pauseProducing()

        data.registerProducer = pause  # type: ignore[method-assign]
        self.client.say("LIST")
        data.end(ConnectionResetError())
        self.client.turn()
        self.assertEqual(codesOf(self.client.heard()), [426])
        self.assertTrue(self.listing.closed)

    def test_anErrorWithinIsTold(self) -> None:
        self.listing.error = StorageFailed()
        data = self.client.data()
        self.assertEqual(self.client.codes("LIST"), [150])
        self.client.turn()
        self.assertEqual(codesOf(self.client.heard()), [451])
        self.client.turn()
        self.assertTrue(data.gone)
        self.assertTrue(self.listing.closed)

    def test_statusSaysOnlySoMuch(self) -> None:
        answer = self.client.say("STAT")
        self.assertEqual(codesOf(answer), [211])
        answer = self.client.say("STAT /")
        self.assertLess(len(answer.split("\r\n")), 1010)
        self.assertIn("say LIST", answer)
        self.assertTrue(self.listing.closed)
