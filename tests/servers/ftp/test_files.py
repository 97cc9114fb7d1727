"""Tests of :mod:`cftpcluster.servers.ftp.files` and :mod:`.information`."""

from __future__ import annotations

import re
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.servers.ftp import FTPOptions
from cftpcluster.servers.ftp.control import COMMANDS, NOT_OFFERED

from ...test_packaging import checkout
from .support import Conversation, FilesCase, codesOf


class FolderTests(FilesCase):
    def test_changing(self) -> None:
        self.assertEqual(self.client.codes("CWD d", "CWD none", "CWD x"), [250, 550, 550])
        self.assertEqual(self.client.say("PWD"), '257 "/d" is the current folder\r\n')
        self.assertEqual(self.client.codes("CWD /", "XCWD d", "XCUP"), [250, 250, 250])

    def test_aboveTheRootIsTheRoot(self) -> None:
        self.assertEqual(self.client.codes("CDUP", "CWD ..", "CWD ../../..", "CDUP"), [250, 250, 250, 250])
        self.assertEqual(self.client.say("XPWD"), '257 "/" is the current folder\r\n')

    def test_makingAndRemoving(self) -> None:
        self.assertEqual(self.client.say("MKD d/new"), '257 "/d/new" created\r\n')
        self.assertEqual(self.client.codes("MKD d/new", "RMD d", "RMD d/new", "RMD d/new"), [550, 550, 250, 550])
        self.assertEqual(self.client.codes("XMKD y", "XRMD y"), [257, 250])

    def test_quotesInNamesAreDoubled(self) -> None:
        self.assertEqual(self.client.say('MKD a"b'), '257 "/a""b" created\r\n')

    def test_namesComeBackAsTheyWere(self) -> None:
        for name in (b"caf\xe9", "é \u202e\u200b".encode(), b" leading", b"trailing ", b"-rf", b"a;b=c", b"x" * 255):
            self.client.control.protocol.dataReceived(b"MKD /" + name + b"\r\nCWD /" + name + b"\r\nPWD\r\n")
            self.assertIn(b'257 "/' + name + b'" is the current', self.client.control.taken())

    def test_aNameThatIsTooLongIsRefused(self) -> None:
        self.assertEqual(self.client.codes("MKD " + "x" * 256), [553])


class NameTests(FilesCase):
    def test_deleting(self) -> None:
        self.assertEqual(self.client.codes("DELE d/x", "DELE d/x", "DELE d"), [250, 550, 550])

    def test_renaming(self) -> None:
        self.assertEqual(self.client.codes("RNFR d/x", "RNTO y"), [350, 250])
        self.assertEqual(self.client.get("/y"), b"12345")

    def test_whatIsMissingIsNotRenamed(self) -> None:
        self.assertEqual(self.client.codes("RNFR none", "RNTO y", "RNTO"), [550, 503, 501])

    def test_otherCommandsMayComeBetween(self) -> None:
        self.assertEqual(self.client.codes("RNFR d/x", "NOOP", "PWD", "RNTO y", "RNTO z"), [350, 200, 257, 250, 503])

    def test_aFileIsRenamedOverAnother(self) -> None:
        self.client.put("/y", b"old")
        self.assertEqual(self.client.codes("RNFR d/x", "RNTO y"), [350, 250])
        self.assertEqual(self.client.get("/y"), b"12345")


class FactTests(FilesCase):
    def test_size(self) -> None:
        self.assertEqual(self.client.say("SIZE d/x"), "213 5\r\n")
        self.assertEqual(self.client.codes("SIZE d", "SIZE none", "TYPE A", "SIZE d/x"), [550, 550, 200, 550])

    def test_times(self) -> None:
        self.assertEqual(self.client.say("MFMT 20200102030405 d/x"), "213 Modify=20200102030405; d/x\r\n")
        self.assertEqual(self.client.say("MDTM d/x"), "213 20200102030405\r\n")
        self.assertEqual(
            self.client.codes("MDTM none", "MFMT 2020 d/x", "MFMT 20200102030405", "MFMT x"), [550, 501, 501, 501]
        )

    def test_factsAreSetTogether(self) -> None:
        answer = self.client.say("MFF modify=20200102030405;UNIX.mode=0600; d/x")
        self.assertEqual(answer, "213 Modify=20200102030405;UNIX.mode=0600; d/x\r\n")
        self.assertIn("modify=20200102030405;", self.client.say("MLST d/x"))
        self.assertIn("UNIX.mode=0600;", self.client.say("MLST d/x"))

    def test_factsThatCannotBeSetAreRefusedAndNothingIsSet(self) -> None:
        before = self.client.say("MLST d/x")
        self.assertEqual(
            self.client.codes(
                "MFF modify=20200102030405;create=20200102030405; d/x", "MFF modify=2020; d/x", "MFF UNIX.mode=x; d/x"
            ),
            [504, 501, 501],
        )
        self.assertEqual(self.client.codes("MFF d/x", "MFF modify=20200102030405 d/x", "MFF x= d/x"), [501, 501, 501])
        self.assertEqual(self.client.say("MLST d/x"), before)
        self.assertEqual(self.client.codes("MFF modify=20200102030405; none"), [550])


class TraversalTests(FilesCase):
    def test_nothingLeadsOutOfTheTree(self) -> None:
        for path in (
            "/../../etc/passwd",
            "../../../etc/passwd",
            "d/../../etc/passwd",
            "..\\..\\etc\\passwd",
            "%2e%2e/etc",
        ):
            for verb in ("SIZE", "MDTM", "DELE", "RMD", "RNFR", "CWD", "MLST"):
                self.assertEqual(self.client.codes(f"{verb} {path}"), [550], (verb, path))


class InformationTests(FilesCase):
    def test_features(self) -> None:
        answer = self.client.say("FEAT")
        lines = answer.split("\r\n")
        self.assertEqual((lines[0], lines[-2]), ("211-Features:", "211 End"))
        for feature in (
            "AUTH SSL",
            "AUTH TLS",
            "PBSZ",
            "PROT",
            "EPRT",
            "EPSV",
            "MDTM",
            "MFMT",
            "MFF Modify;UNIX.mode;",
            "HASH SHA-256*;SHA-512;SHA-1;MD5;CRC32",
            "HOST",
            "LANG EN*",
            "AVBL",
            "XSHA256",
            "REST STREAM",
            "SIZE",
            "TVFS",
            "UTF8",
        ):
            self.assertIn(f" {feature}", lines)

    def test_options(self) -> None:
        self.assertEqual(
            self.client.codes("OPTS UTF8 ON", "OPTS utf8 on", "OPTS UTF8 OFF", "OPTS X"), [200, 200, 504, 501]
        )

    def test_language(self) -> None:
        self.assertEqual(
            self.client.codes("LANG", "LANG en", "LANG en-GB", "LANG de", "LANG english"), [200] * 3 + [504] * 2
        )

    def test_roomThatIsLeft(self) -> None:
        before = int(self.client.say("AVBL")[4:])
        self.client.put("/more", b"x" * 1000)
        self.assertLess(int(self.client.say("AVBL d")[4:]), before)
        self.assertEqual(self.client.codes("AVBL none", "AVBL d/x"), [550, 550])

    def test_helpNamesEveryCommand(self) -> None:
        words = self.client.say("HELP").split()
        for verb in COMMANDS:
            self.assertIn(verb, words)
        self.assertEqual(self.client.say("HELP stor"), "214 Syntax: STOR <path>\r\n")
        self.assertEqual(self.client.codes("HELP none"), [502])

    def test_status(self) -> None:
        answer = self.client.say("STAT")
        self.assertIn("Logged in as alice", answer)
        self.assertEqual(codesOf(answer), [211])

    def test_system(self) -> None:
        self.assertEqual(self.client.say("SYST", "CLNT lftp"), "215 UNIX Type: L8\r\n200 Noted\r\n")

    def test_withoutTLSItIsNotAFeature(self) -> None:
        client = Conversation(FTPOptions(tls="off"))
        self.assertNotIn("PROT", client.say("FEAT"))


class DocumentationTests(SynchronousTestCase):
    def test_everyCommandIsInTheManual(self) -> None:
        page = checkout() / "docs" / "ftp.md"
        if not page.exists():
            raise SkipTest("the tests were taken out of their checkout")
        named = set(re.findall(r"`([A-Z0-9]+)", page.read_text("utf-8")))
        self.assertEqual(sorted(set(COMMANDS) - named), [])
        self.assertEqual(sorted(NOT_OFFERED - named), [])
