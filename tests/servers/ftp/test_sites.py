"""Tests of :mod:`cftpcluster.servers.ftp.sites`."""

from __future__ import annotations

from attrs import frozen
from twisted.internet.defer import Deferred, fail, succeed
from twisted.plugin import IPlugin
from zope.interface import implementer
from zope.interface.verify import verifyObject

from cftpcluster.errors import NotFound
from cftpcluster.files.paths import parse, render
from cftpcluster.interfaces import IAccount, ISiteCommand
from cftpcluster.servers.ftp.sites import gather
from cftpcluster.vocabulary import VirtualPath

from .support import FilesCase, codesOf


@implementer(ISiteCommand, IPlugin)
@frozen
class Where:
    """Tells where a name leads."""

    verb: str = "WHERE"
    usage: str = "<path>"

    def run(self, account: IAccount, folder: VirtualPath, argument: str) -> Deferred[str]:
        if argument == "none":
            return fail(NotFound())
        return succeed(f"{account.name}:{render(parse(argument, folder))}")


class SiteTests(FilesCase):
    def test_modes(self) -> None:
        self.assertEqual(self.client.codes("SITE CHMOD 600 d/x", "SITE CHMOD 0604 d/x"), [200, 200])
        self.assertIn("UNIX.mode=0604;", self.client.say("MLST d/x"))
        self.assertEqual(self.client.codes("SITE CHMOD 4755 d/x", "SITE CHMOD 9 d/x", "SITE CHMOD 600"), [501] * 3)

    def test_timesTheOldWay(self) -> None:
        self.assertEqual(self.client.codes("SITE UTIME 202001020304 d/x"), [200])
        self.assertEqual(self.client.say("MDTM d/x"), "213 20200102030400\r\n")
        self.assertEqual(self.client.codes("SITE UTIME d/x 20210101000000 20210102000000 20210103000000 UTC"), [200])
        self.assertEqual(self.client.say("MDTM d/x"), "213 20210102000000\r\n")
        self.assertEqual(self.client.codes("SITE UTIME x", "SITE UTIME 20209902030405 d/x"), [501, 501])

    def test_links(self) -> None:
        self.assertEqual(
            self.client.codes("SITE SYMLINK d/x y", "SIZE y", "SITE SYMLINK x d/z", "SIZE d/z"), [200, 213] * 2
        )
        self.assertEqual(self.client.codes('SITE SYMLINK "d/x" "a ""b"""', 'SIZE a "b"'), [200, 213])
        self.assertEqual(self.client.codes("SITE SYMLINK", "SITE SYMLINK x", "SITE SYMLINK a b c"), [501] * 3)

    def test_linksLeadNowhereElse(self) -> None:
        for target in ("../../etc/passwd", "../x"):
            self.assertEqual(self.client.codes(f"SITE SYMLINK {target} y", "MLST y"), [550, 550], target)
        self.assertEqual(self.client.codes("SITE SYMLINK /etc/passwd y", "SIZE y"), [200, 550])

    def test_otherSiteCommandsAreRefused(self) -> None:
        self.assertEqual(self.client.codes("SITE EXEC ls", "SITE CPFR d/x", "SITE"), [504, 504, 501])

    def test_helpNamesThemAll(self) -> None:
        answer = self.client.say("SITE HELP")
        self.assertEqual(codesOf(answer), [214])
        for verb in ("CHMOD", "HELP", "SYMLINK", "UTIME"):
            self.assertIn(f" SITE {verb}", answer)


class PluginTests(FilesCase):
    def setUp(self) -> None:
        super().setUp()
        self.client.server.siteCommands = gather([Where()])
        self.client.connect()
        self.client.login()

    def test_itsContract(self) -> None:
        verifyObject(ISiteCommand, Where())

    def test_itAnswers(self) -> None:
        self.client.say("CWD d")
        self.assertEqual(self.client.say("SITE where ../a b"), "200 alice:/a b\r\n")
        self.assertIn(" SITE WHERE <path>\r\n", self.client.say("SITE HELP"))

    def test_itsErrorsAreThoseOfAnyCommand(self) -> None:
        self.assertEqual(self.client.codes("SITE WHERE none", "NOOP"), [550, 200])

    def test_nobodyHasItBeforeALogin(self) -> None:
        self.client.connect()
        self.client.heard()
        self.assertEqual(self.client.codes("SITE WHERE x"), [530])

    def test_builtInOnesStay(self) -> None:
        first = Where()
        self.assertEqual(gather([Where("CHMOD"), Where("a b"), first, Where()]), {"WHERE": first})
