"""Tests of :mod:`cftpcluster.servers.ftp.access`: who is let in, and over what."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.auth.credentials import LoginBusy, TurnedAway
from cftpcluster.servers.ftp import FTPOptions
from cftpcluster.servers.ftp.control import COMMANDS, LOGIN_SECONDS
from cftpcluster.servers.ftp.listings import FACTS
from cftpcluster.vocabulary import Origin

from .support import CLIENT, Conversation, codesOf


class LoginTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Conversation()
        self.assertEqual(self.client.heard(), "220 Service ready\r\n")

    def test_aUserLogsIn(self) -> None:
        self.assertEqual(self.client.codes("USER alice", "PASS secret", "PWD"), [331, 230, 257])

    def test_theLoginSaysWhereItComesFrom(self) -> None:
        self.client.say("USER alice", "PASS secret")
        (login,) = self.client.users.logins
        origin = login.origin
        self.assertEqual(origin, Origin("ftp", CLIENT, "ftp", origin.session))
        self.assertEqual(len(origin.session), 32)

    def test_everySessionHasAnIdOfItsOwn(self) -> None:
        first = self.client.session.id
        self.client.connect()
        self.assertNotEqual(self.client.session.id, first)

    def test_nameAndPasswordAreTakenAsTheyAreSent(self) -> None:
        self.client.say("USER  al ice ")
        self.client.send(b"PASS  p\xe9ss \r\n")
        (login,) = self.client.users.logins
        self.assertEqual((login.name, login.password), (" al ice ", b" p\xe9ss "))

    def test_aNulInANameIsNoName(self) -> None:
        self.assertEqual(self.client.codes("USER alice\0bob", "PASS secret"), [500, 503])

    def test_aWrongPasswordSaysNotWhy(self) -> None:
        known = self.client.say("USER alice", "PASS wrong")
        unknown = self.client.say("USER nobody", "PASS wrong")
        self.assertEqual(known, unknown)
        self.assertIn("530 Login incorrect", known)

    def test_thereIsNoAnonymousUser(self) -> None:
        self.assertEqual(self.client.codes("USER anonymous", "PASS a@b"), [331, 530])

    def test_aPasswordNeedsAName(self) -> None:
        self.assertEqual(self.client.codes("PASS secret"), [503])
        self.assertEqual(self.client.codes("USER alice", "PASS x", "PASS secret"), [331, 530, 503])

    def test_theSixthFailureHangsUp(self) -> None:
        answers = self.client.codes(*["USER alice", "PASS wrong"] * 6)
        self.assertEqual(answers, [331, 530] * 5 + [331, 421])
        self.assertTrue(self.client.control.disconnecting)

    def test_manyLoginsAtOnceAreTriedOneByOne(self) -> None:
        self.client.users.held = Deferred()
        self.assertEqual(self.client.send(b"USER alice\r\nPASS a\r\n" * 20), "331 Password required\r\n")
        self.assertEqual(len(self.client.users.logins), 1)

    def test_aBusyServerHangsUp(self) -> None:
        self.client.users.error = LoginBusy()
        self.assertEqual(self.client.codes("USER alice", "PASS secret"), [331, 421])
        self.assertTrue(self.client.control.disconnecting)

    def test_whoIsTurnedAwayIsToldWhy(self) -> None:
        self.client.users.error = TurnedAway("too many sessions of this user")
        answer = self.client.say("USER alice", "PASS secret")
        self.assertIn("421 Too many sessions of this user\r\n", answer)
        self.assertTrue(self.client.control.disconnecting)

    def test_aSessionThatTheClusterEndsIsToldWhy(self) -> None:
        self.client.login()
        (account,) = self.client.users.sessions
        account.end("disabled")
        self.assertEqual(self.client.heard(), "421 Your session was ended: disabled\r\n")
        self.assertTrue(self.client.control.disconnecting)
        self.client.turn()
        self.assertEqual(self.client.users.ended, ["alice"])

    def test_itsTransferIsBrokenOffAndWhatCameIsKept(self) -> None:
        self.client.login()
        data = self.client.data()
        self.assertEqual(self.client.codes("STOR new"), [150])
        data.protocol.dataReceived(b"half")
        self.client.users.sessions[0].end("disabled")
        self.assertIn("421 ", self.client.heard())
        self.client.turn()
        self.assertTrue(data.disconnecting)
        self.assertIsNone(self.client.get("new"))
        self.client.connect()
        self.client.login()
        self.assertEqual(self.client.codes("SIZE new"), [213])

    def test_aLoginThatCannotBeDecidedIsNoLogin(self) -> None:
        self.client.users.error = RuntimeError("storage")
        self.assertEqual(self.client.codes("USER alice", "PASS secret", "PWD"), [331, 451, 530])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_whoSaysUserAnewIsLoggedOut(self) -> None:
        self.client.login()
        self.client.put("/d", None)
        self.assertEqual(self.client.codes("CWD d", "EPSV", "USER bob", "PWD"), [250, 229, 331, 530])
        self.assertEqual(self.client.users.ended, ["alice"])
        self.assertFalse(self.client.session.data.isPrepared)
        self.assertEqual(self.client.say("PASS hidden", "PWD"), '230 Logged in\r\n257 "/" is the current folder\r\n')
        self.assertFalse(self.client.session.ascii)
        self.assertEqual(self.client.session.account.name, "bob")

    def test_whoWasLoggedOutHasToLogInInTime(self) -> None:
        self.client.login()
        self.client.turn(LOGIN_SECONDS)
        self.assertEqual(self.client.codes("USER alice", "PASS secret", "REIN"), [331, 230, 220])
        self.client.turn(LOGIN_SECONDS)
        self.assertEqual(codesOf(self.client.heard()), [421])

    def test_everythingIsForgottenByRein(self) -> None:
        self.client.login()
        self.client.put("/d", None)
        said = self.client.codes("CWD d", "RNFR x", "REST 5", "EPSV ALL", "OPTS MLST size;", "OPTS HASH MD5", "REIN")
        self.assertEqual(said, [250, 550, 350, 200, 200, 200, 220])
        self.assertEqual(self.client.users.ended, ["alice"])
        self.assertEqual(self.client.codes("PWD", "RETR x", "PASS secret"), [530, 530, 503])
        self.assertEqual(self.client.codes("USER bob", "PASS hidden", "PASV"), [331, 230, 227])
        session = self.client.session
        self.assertTrue(session.ascii)
        self.assertEqual((session.folder, session.restart, session.hash), ((), 0, "SHA-256"))
        self.assertEqual(session.facts, FACTS)

    def test_reinBeforeALoginIsNoFault(self) -> None:
        self.assertEqual(self.client.codes("USER alice", "REIN", "PASS secret", "REIN"), [331, 220, 503, 220])

    def test_aSessionThatWasLeftIsNotEndedLater(self) -> None:
        self.client.login()
        before = self.client.users.sessions[-1]
        self.assertEqual(self.client.codes("USER bob", "PASS hidden"), [331, 230])
        before.end("kicked")
        self.assertEqual(self.client.codes("NOOP"), [200])

    def test_anyHostIsTheSame(self) -> None:
        for name in (
            "ftp.example.com",
            "localhost",
            "[2001:db8::1]",
            "192.0.2.1",
            "b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example",
        ):
            self.assertEqual(self.client.codes(f"HOST {name}"), [220], name)
        for name in ("a b", "x" * 300, "[::1", "a..b", "../etc"):
            self.assertEqual(self.client.codes(f"HOST {name}"), [501], name)

    def test_hostComesBeforeUser(self) -> None:
        self.assertEqual(self.client.codes("USER alice", "HOST a.example"), [331, 503])
        self.assertEqual(
            self.client.codes("PASS secret", "HOST a.example", "REIN", "HOST a.example"), [230, 503, 220, 220]
        )

    def test_nothingButALoginIsAnsweredBefore(self) -> None:
        allowed = {verb for verb, command in COMMANDS.items() if command.beforeLogin}
        self.assertEqual(
            allowed,
            {"USER", "PASS", "ACCT", "REIN", "HOST", "QUIT", "AUTH", "PBSZ", "PROT", "CCC"}
            | {"FEAT", "OPTS", "SYST", "NOOP", "CLNT", "HELP", "LANG"},
        )
        for verb in sorted(set(COMMANDS) - allowed):
            self.assertEqual(self.client.codes(verb, f"{verb} x"), [530, 530], verb)

    def test_theSessionIsLoggedOutAtItsEnd(self) -> None:
        self.client.login()
        self.client.control.end(ConnectionResetError())
        self.assertEqual(self.client.users.ended, ["alice"])

    def test_whoHangsUpDuringTheLoginIsLoggedOut(self) -> None:
        held = self.client.users.held = Deferred()
        self.client.say("USER alice", "PASS secret")
        self.client.control.end(ConnectionResetError())
        self.assertEqual(self.client.users.ended, [])
        held.callback(None)
        self.assertEqual(self.client.users.ended, ["alice"])
        self.assertEqual(self.client.server.connections, set())

    def test_quit(self) -> None:
        self.assertEqual(self.client.codes("QUIT"), [221])
        self.assertTrue(self.client.control.disconnecting)

    def test_noAccountIsNeeded(self) -> None:
        self.assertEqual(self.client.codes("ACCT x"), [202])


class TLSTests(SynchronousTestCase):
    def client(self, tls: str, implicit: bool = False) -> Conversation:
        client = Conversation(FTPOptions(tls=tls, implicit=implicit))  # type: ignore[arg-type]
        client.heard()
        return client

    def test_requiredTLSRefusesTheNameInTheClear(self) -> None:
        client = self.client("required")
        self.assertEqual(client.codes("USER alice", "PASS secret", "PWD", "PASV"), [530, 530, 530, 530])
        self.assertEqual(client.users.logins, [])

    def test_afterTheHandshakeAUserLogsIn(self) -> None:
        client = self.client("required")
        self.assertEqual(client.codes("AUTH TLS"), [234])
        self.assertTrue(client.control.secured)
        self.assertEqual(client.codes("USER alice", "PASS secret"), [331, 230])

    def test_whatCameBeforeTheHandshakeIsThrownAway(self) -> None:
        client = self.client("required")
        self.assertEqual(client.send(b"AUTH TLS\r\nUSER alice\r\nPASS secret\r\nUSE"), "234 Start the handshake\r\n")
        self.assertEqual(client.users.logins, [])
        self.assertEqual(client.codes("USER alice"), [331])

    def test_aNameGivenInTheClearIsForgotten(self) -> None:
        client = self.client("optional")
        self.assertEqual(client.codes("USER alice", "AUTH TLS", "PASS secret"), [331, 234, 503])

    def test_optionalTLSLetsTheClientChoose(self) -> None:
        client = self.client("optional")
        self.assertEqual(client.codes("USER alice", "PASS secret", "PWD"), [331, 230, 257])
        self.assertIsNotNone(client.session.account)

    def test_whoLoggedInInTheClearDoesItAgainOverTLS(self) -> None:
        client = self.client("optional")
        self.assertEqual(client.codes("USER alice", "PASS secret", "AUTH TLS", "PWD"), [331, 230, 234, 530])
        self.assertTrue(client.control.secured)
        self.assertEqual(client.codes("USER alice", "PASS secret", "PWD"), [331, 230, 257])

    def test_withoutTLSNothingOfItIsOffered(self) -> None:
        client = self.client("off")
        self.assertEqual(client.codes("AUTH TLS", "PBSZ 0", "PROT P", "CCC"), [502] * 4)
        self.assertNotIn("AUTH", client.say("FEAT"))
        self.assertEqual(client.codes("USER alice", "PASS secret"), [331, 230])

    def test_onlyTLSIsUnderstood(self) -> None:
        client = self.client("required")
        self.assertEqual(client.codes("AUTH KERBEROS_V4", "AUTH", "auth tls", "AUTH TLS"), [504, 501, 234, 503])

    def test_protectionIsClearUntilItIsAskedFor(self) -> None:
        client = self.client("required")
        client.say("AUTH TLS")
        client.login()
        self.assertFalse(client.session.private)
        self.assertEqual(client.codes("PASV", "LIST", "RETR x", "STOR x"), [227, 521, 521, 521])
        self.assertEqual(client.codes("PROT P", "PBSZ x", "PBSZ 0", "PROT P"), [503, 501, 200, 200])
        self.assertTrue(client.session.private)

    def test_protectionCannotBeLaidDown(self) -> None:
        client = self.client("required")
        self.assertEqual(client.codes("AUTH TLS", "PBSZ 0", "PROT P", "PROT C", "CCC"), [234, 200, 200, 534, 534])
        self.assertTrue(client.session.private)

    def test_aConnectionOfTheOtherLevelIsNotUsed(self) -> None:
        client = self.client("required")
        client.say("AUTH TLS")
        client.login()
        data = client.data()
        self.assertEqual(client.codes("PBSZ 0", "PROT P", "LIST"), [200, 200, 425])
        client.turn()
        self.assertTrue(data.gone)
        self.assertEqual(data.taken(), b"")

    def test_otherLevelsAreRefused(self) -> None:
        client = self.client("required")
        self.assertEqual(client.codes("AUTH TLS", "PBSZ 0", "PROT S", "PROT E", "PROT X"), [234, 200, 536, 536, 504])

    def test_protectionNeedsTLS(self) -> None:
        self.assertEqual(self.client("optional").codes("PBSZ 0", "PROT P", "CCC"), [503] * 3)

    def test_optionalTLSMayLeaveDataInTheClear(self) -> None:
        client = self.client("optional")
        self.assertEqual(client.codes("AUTH TLS", "PBSZ 0", "PROT P", "PROT C"), [234, 200, 200, 200])
        self.assertFalse(client.session.private)

    def test_theOldNameMeansTheSame(self) -> None:
        client = self.client("required")
        self.assertEqual(client.codes("AUTH SSL"), [234])
        self.assertFalse(client.session.private)

    def test_anImplicitListenerTrustsTheTransportOnly(self) -> None:
        client = self.client("required", implicit=True)
        self.assertFalse(client.session.private)
        self.assertEqual(client.codes("USER alice"), [530])
