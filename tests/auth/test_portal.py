"""Tests of the one way in."""

from __future__ import annotations

import datetime
from typing import Any

from attrs import define, evolve
from twisted.conch.error import ValidPublicKey
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface, implementer
from zope.interface.verify import verifyObject

from cftpcluster.auth.account import Account
from cftpcluster.auth.chain import ChainingChecker
from cftpcluster.auth.credentials import (
    CertificateLogin,
    LoginBusy,
    MoreNeeded,
    PasswordLogin,
    PublicKeyLogin,
    SessionLogin,
)
from cftpcluster.auth.delay import FailureDelay
from cftpcluster.auth.portal import AccountPortal
from cftpcluster.auth.steps import Proof
from cftpcluster.config.document import Method, Protocol, User
from cftpcluster.events import LoggedIn, LoggedOut, LoginFailed
from cftpcluster.interfaces import (
    IAccount,
    IPasswordLogin,
    IPublicKeyLogin,
    ISessionFiles,
    ISessionLogin,
)
from cftpcluster.testing.auth import Logins, PasswordCheckerContract, SimpleChecker, documentWith, originOf

ORIGIN = originOf()


@implementer(ISessionFiles)
@define(eq=False)
class Files:
    closed: int = 0

    def close(self) -> Deferred[None]:
        self.closed += 1
        return succeed(None)


class IShell(Interface):
    """An avatar of some protocol."""


def loginsOf(**options: Any) -> Logins:
    return Logins.of(Files(), {"alice": b"right"}, {"alice": b"key"}, **options)  # type: ignore[arg-type]


class CredentialsTests(SynchronousTestCase):
    def test_provideTheirInterfaces(self) -> None:
        verifyObject(IPasswordLogin, PasswordLogin("alice", b"x", ORIGIN))
        verifyObject(IPublicKeyLogin, PublicKeyLogin("alice", b"x", True, ORIGIN))
        verifyObject(ISessionLogin, SessionLogin("alice", 3, ORIGIN))

    def test_reprHidesSecrets(self) -> None:
        text = repr(PasswordLogin("alice", b"hunter2", ORIGIN)) + repr(
            PublicKeyLogin("alice", b"hunter2", True, ORIGIN)
        )
        self.assertNotIn("hunter2", text)


class SimpleCheckerTests(PasswordCheckerContract, SynchronousTestCase):
    def makeChecker(self, name: str, password: bytes) -> ICredentialsChecker:
        return SimpleChecker({name: password})


class LoginTests(SynchronousTestCase):
    def test_successIsOneAccountAndOneEvent(self) -> None:
        logins = loginsOf()
        d = logins.portal().login(PasswordLogin("alice", b"right", ORIGIN), ORIGIN, IAccount)
        interface, account, _logout = self.successResultOf(d)
        self.assertIs(interface, IAccount)
        verifyObject(IAccount, account)
        self.assertEqual((account.name, account.origin, account.revision), ("alice", ORIGIN, logins.document.revision))
        self.assertEqual(logins.events, [LoggedIn(user="alice", origin=ORIGIN, method="password")])

    def test_logoutEndsTheFilesAndIsToldOnce(self) -> None:
        logins = loginsOf()
        d = logins.portal().login(PasswordLogin("alice", b"right", ORIGIN), ORIGIN, IAccount)
        _interface, account, logout = self.successResultOf(d)
        for _ in range(2):
            self.successResultOf(logout())
        self.assertEqual(account.files.closed, 1)
        self.assertEqual(logins.events[1:], [LoggedOut(user="alice", origin=ORIGIN)])

    def test_accountWhoseFilesHaveNoSessionLogsOut(self) -> None:
        files: Any = object()
        self.successResultOf(Account("alice", ORIGIN, files, 1).logout())

    def test_avatarsAreMadeFromTheAccount(self) -> None:
        logins = loginsOf(avatars={IShell: lambda account: ("shell of", account.name)})
        d = logins.portal().login(PasswordLogin("alice", b"right", ORIGIN), ORIGIN, IShell)
        interface, avatar, _logout = self.successResultOf(d)
        self.assertIs(interface, IShell)
        self.assertEqual(avatar, ("shell of", "alice"))

    def test_unknownAvatarIsAnErrorOfTheServer(self) -> None:
        logins = loginsOf()
        d = logins.portal().login(PasswordLogin("alice", b"right", ORIGIN), ORIGIN, IShell)
        self.failureResultOf(d, NotImplementedError)
        self.assertEqual(logins.events, [])

    def test_refusalIsOneEventAndTellsNothing(self) -> None:
        logins = loginsOf()
        for name, password in (("alice", b"wrong"), ("nobody", b"right")):
            logins.events.clear()
            d = logins.portal().login(PasswordLogin(name, password, ORIGIN), ORIGIN, IAccount)
            failure = self.failureResultOf(d, UnauthorizedLogin)
            self.assertEqual((failure.type, str(failure.value)), (UnauthorizedLogin, ""))
            (event,) = logins.events
            assert isinstance(event, LoginFailed)
            self.assertEqual((event.user, event.origin, event.method), (name, ORIGIN, "password"))
            self.assertNotEqual(event.reason, "")

    def test_longNameIsCutInTheEvent(self) -> None:
        logins = loginsOf()
        d = logins.portal().login(PasswordLogin("a" * 100_000, b"", ORIGIN), ORIGIN, IAccount)
        self.failureResultOf(d, UnauthorizedLogin)
        (event,) = logins.events
        assert isinstance(event, LoginFailed)
        self.assertEqual(len(event.user), 256)

    def test_sessionGoesOnWithoutEvents(self) -> None:
        logins = loginsOf()
        logins.checker.sessionsSince = 5
        portal = logins.portal()
        self.failureResultOf(portal.login(SessionLogin("alice", 4, ORIGIN), ORIGIN, IAccount), UnauthorizedLogin)
        d = portal.login(SessionLogin("alice", 5, ORIGIN), ORIGIN, IAccount)
        _interface, account, logout = self.successResultOf(d)
        self.successResultOf(logout())
        self.assertEqual((account.files.closed, logins.events), (1, []))

    def test_questionAboutAKeyGetsNoAvatarAndMakesNoEvent(self) -> None:
        logins = loginsOf()
        portal = logins.portal()
        question = PublicKeyLogin("alice", b"key", False, ORIGIN)
        self.failureResultOf(portal.login(question, ORIGIN, IAccount), ValidPublicKey)
        refused = self.failureResultOf(portal.login(evolve(question, blob=b"other"), ORIGIN, IAccount))
        self.assertIs(refused.type, UnauthorizedLogin)
        self.assertEqual(logins.events, [])

    def test_questionAboutAKeyOfADisabledUserIsRefused(self) -> None:
        logins = loginsOf()
        logins.document = documentWith(User(name="alice", enabled=False))
        d = logins.portal().login(PublicKeyLogin("alice", b"key", False, ORIGIN), ORIGIN, IAccount)
        self.assertIs(self.failureResultOf(d).type, UnauthorizedLogin)

    def test_signedKeyLogsIn(self) -> None:
        logins = loginsOf()
        d = logins.portal().login(PublicKeyLogin("alice", b"key", True, ORIGIN), ORIGIN, IAccount)
        self.successResultOf(d)
        self.assertEqual(logins.events, [LoggedIn(user="alice", origin=ORIGIN, method="publickey")])


class AdmissionTests(SynchronousTestCase):
    """Rights come from the document as it is at the log-in, whatever the checker says."""

    def _login(self, user: User | None, **origin: str) -> list[Any]:
        logins = loginsOf()
        logins.document = documentWith(*([user] if user else []))
        logins.clock.advance(1_800_000_000)
        where = originOf(**origin)
        d = logins.portal().login(PasswordLogin("alice", b"right", where), where, IAccount)
        results: list[Any] = []
        d.addBoth(results.append)
        if isinstance(results[0], tuple):
            return []
        results[0].trap(UnauthorizedLogin)
        return [event.reason for event in logins.events if isinstance(event, LoginFailed)]

    def test_enabledUserMayComeIn(self) -> None:
        self.assertEqual(self._login(User(name="alice")), [])

    def test_removedUserMayNot(self) -> None:
        self.assertEqual(self._login(None), ["unknown user"])

    def test_disabledUserMayNot(self) -> None:
        self.assertEqual(self._login(User(name="alice", enabled=False)), ["disabled"])

    def test_expiryIsTheFirstMomentRefused(self) -> None:
        now = datetime.datetime.fromtimestamp(1_800_000_000, datetime.UTC)
        self.assertEqual(self._login(User(name="alice", expires=now)), ["expired"])
        self.assertEqual(self._login(User(name="alice", expires=now + datetime.timedelta(seconds=1))), [])

    def test_onlyTheUsersProtocols(self) -> None:
        user = User(name="alice", protocols=frozenset({Protocol.sftp}))
        self.assertEqual(self._login(user), [])
        self.assertEqual(self._login(user, protocol="ftp"), ["protocol ftp is not allowed"])
        self.assertEqual(self._login(User(name="alice"), protocol="gopher"), ["protocol gopher is not allowed"])

    def test_onlyFromTheUsersNetworks(self) -> None:
        user = User(name="alice", allow=("192.0.2.0/24", "2001:db8::/32"))
        self.assertEqual(self._login(user, address="192.0.2.9"), [])
        self.assertEqual(self._login(user, address="::ffff:192.0.2.9"), [])
        self.assertEqual(self._login(user, address="2001:db8::1"), [])
        for address in ("192.0.3.1", "::1", "192.0.2.9.example.org", ""):
            self.assertEqual(self._login(user, address=address), ["client network is not allowed by the user"])


class DelayTests(SynchronousTestCase):
    def test_refusalsComeAtTheSameMomentWhateverTheWork(self) -> None:
        told = []
        for workSeconds in (0.0, 0.3, 0.9):
            clock = Clock()
            work: Deferred[str] = Deferred()
            portal = self._portal(clock, work, lambda: 0.5)
            d = portal.login(PasswordLogin("alice", b"x", ORIGIN), ORIGIN, IAccount)
            clock.advance(workSeconds)
            work.errback(UnauthorizedLogin("no"))
            self.assertNoResult(d)
            clock.advance(1.2 - workSeconds - 0.01)
            self.assertNoResult(d)
            clock.advance(0.02)
            self.failureResultOf(d, UnauthorizedLogin)
            told.append(round(clock.seconds(), 6))
        self.assertEqual(told, [1.21] * 3)

    def test_isNoLongerWhenTheClockIsSetBack(self) -> None:
        clock = Clock()
        clock.advance(10_000)
        delay = FailureDelay(clock, lambda: 0.0, 1.0, 0.0)
        started = delay.started() + 3600
        d = delay.since(started)
        clock.advance(1.0)
        self.successResultOf(d)

    def test_eventDoesNotWait(self) -> None:
        logins = loginsOf(failureSeconds=1.0)
        d = logins.portal().login(PasswordLogin("alice", b"wrong", ORIGIN), ORIGIN, IAccount)
        self.assertEqual(len(logins.events), 1)
        d.cancel()
        d.addErrback(lambda failure: None)
        self.assertEqual(logins.clock.getDelayedCalls(), [])

    def test_successAndBusyDoNotWait(self) -> None:
        logins = loginsOf(failureSeconds=1.0)
        d = logins.portal().login(PasswordLogin("alice", b"right", ORIGIN), ORIGIN, IAccount)
        self.successResultOf(d)
        busy = self._portal(logins.clock, fail(LoginBusy()), lambda: 0.0)
        self.failureResultOf(busy.login(PasswordLogin("alice", b"x", ORIGIN), ORIGIN, IAccount), LoginBusy)

    def _portal(self, clock: Clock, work: Deferred[Any], random: Any) -> AccountPortal:
        logins = loginsOf(clock=clock)
        chain = ChainingChecker([Answering(work)])  # type: ignore[list-item]
        delay = FailureDelay(clock, random, 1.0, 0.4)
        return AccountPortal(logins.portal().realm, chain, logins.notify, delay, logins.rules, logins.own)


@implementer(ICredentialsChecker)
@define(eq=False)
class Answering:
    """A checker that answers as told, and says how often it was asked."""

    answer: Any
    credentialInterfaces: Any = (IPasswordLogin,)
    asked: int = 0

    def requestAvatarId(self, credentials: Any) -> Any:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class ChainTests(SynchronousTestCase):
    login = PasswordLogin("alice", b"x", ORIGIN)

    def _ask(self, *checkers: Any) -> Deferred[Any]:
        return ChainingChecker(checkers).requestAvatarId(self.login)

    def test_firstSuccessWins(self) -> None:
        first, second, third = Answering(UnauthorizedLogin("no")), Answering("alice"), Answering("other")
        self.assertEqual(self.successResultOf(self._ask(first, second, third)), "alice")
        self.assertEqual([first.asked, second.asked, third.asked], [1, 1, 0])

    def test_allAreAskedBeforeARefusalWithTheirReasons(self) -> None:
        checkers = [Answering(UnauthorizedLogin("one")), Answering(fail(UnauthorizedLogin("two")))]
        failure = self.failureResultOf(self._ask(*checkers), UnauthorizedLogin)
        self.assertEqual(str(failure.value), "one, two")

    def test_checkersOfOtherCredentialsAreNotAsked(self) -> None:
        other = Answering("alice", credentialInterfaces=(IPublicKeyLogin,))
        self.failureResultOf(self._ask(other), UnauthorizedLogin)
        self.assertEqual(other.asked, 0)

    def test_noCheckerIsARefusal(self) -> None:
        self.failureResultOf(self._ask(), UnauthorizedLogin)

    def test_brokenCheckerRefusesAndIsLogged(self) -> None:
        failure = self.failureResultOf(self._ask(Answering(ZeroDivisionError("secret"))), UnauthorizedLogin)
        self.assertEqual(str(failure.value), "the checker broke")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.successResultOf(self._ask(Answering(ZeroDivisionError()), Answering("alice"))), "alice")
        self.flushLoggedErrors(ZeroDivisionError)

    def test_answersThatNameNobodyAreRefused(self) -> None:
        for answer in (None, b"alice", (), 1):
            self.failureResultOf(self._ask(Answering(succeed(answer))), UnauthorizedLogin)

    def test_busyIsToldUnlessAnotherKnowsTheUser(self) -> None:
        busy = Answering(LoginBusy())
        self.failureResultOf(self._ask(busy, Answering(UnauthorizedLogin())), LoginBusy)
        self.assertEqual(self.successResultOf(self._ask(busy, Answering("alice"))), "alice")

    def test_givingUpAsksNobodyElse(self) -> None:
        second = Answering("alice")
        d = self._ask(Answering(Deferred()), second)
        d.cancel()
        self.failureResultOf(d)
        self.assertEqual(second.asked, 0)

    def test_knowsWhichCredentialsItsCheckersTake(self) -> None:
        chain = ChainingChecker([Answering("x"), SimpleChecker()])  # type: ignore[list-item]
        self.assertEqual(chain.credentialInterfaces, [IPasswordLogin, IPublicKeyLogin, ISessionLogin])
        verifyObject(ICredentialsChecker, chain)
        chain.checkers = [Answering("x")]  # type: ignore[list-item]
        self.assertEqual(chain.credentialInterfaces, [IPasswordLogin])


class StepsTests(SynchronousTestCase):
    """Users who have to prove more than one thing."""

    def setUp(self) -> None:
        self.logins = loginsOf(failureSeconds=1.0)
        self.ask((Method.publickey, Method.password))

    def ask(self, *lists: tuple[Method, ...], **more: Any) -> None:
        document = documentWith(User(name="alice", authentication=lists, **more), User(name="bob"))
        self.logins.document = evolve(document, revision=7)

    def login(self, credentials: Any, origin: Any = ORIGIN) -> Deferred[Any]:
        answer: Deferred[Any] = self.logins.portal().login(credentials, origin, IAccount)
        return answer

    def key(self, before: Proof | None, name: str = "alice", signed: bool = True) -> Deferred[Any]:
        return self.login(PublicKeyLogin(name, b"key", signed, ORIGIN, before))

    def password(self, before: Proof | None, name: str = "alice", password: bytes = b"right") -> Deferred[Any]:
        return self.login(PasswordLogin(name, password, ORIGIN, before=before))

    def more(self, answer: Deferred[Any]) -> MoreNeeded:
        error = self.failureResultOf(answer, MoreNeeded).value
        assert isinstance(error, MoreNeeded)
        return error

    def assertRefused(self, answer: Deferred[Any], reason: str) -> None:
        self.assertNoResult(answer)
        self.logins.clock.advance(1)
        self.failureResultOf(answer, UnauthorizedLogin)
        event = self.logins.events.pop()
        assert isinstance(event, LoginFailed)
        self.assertEqual(event.reason, reason)
        self.assertEqual(self.logins.events, [])

    def test_oneAfterTheOtherLogsIn(self) -> None:
        more = self.more(self.key(Proof()))
        self.assertEqual((more.methods, self.logins.events), (["password"], []))
        self.successResultOf(self.password(more.proof))
        (event,) = self.logins.events
        assert isinstance(event, LoggedIn)
        self.assertEqual(event.method, "publickey,password")

    def test_noPasswordIsLookedAtBeforeTheKey(self) -> None:
        for password in (b"right", b"wrong"):
            self.assertRefused(self.password(Proof(), password=password), "password is not what has to be proven next")
        self.assertEqual(self.logins.checker.asked, [])

    def test_theSameTwiceIsNotTwoThings(self) -> None:
        more = self.more(self.key(Proof()))
        self.assertRefused(self.key(more.proof), "publickey is not what has to be proven next")

    def test_aWrongSecondStepIsAFailure(self) -> None:
        more = self.more(self.key(Proof()))
        self.assertRefused(self.password(more.proof, password=b"wrong"), "no such user, or the wrong secret")
        self.successResultOf(self.password(more.proof))

    def test_whatIsProvenOfOneIsNothingToAnother(self) -> None:
        more = self.more(self.key(Proof()))
        self.logins.checker.passwords = {"alice": b"right", "bob": b"right"}
        self.ask((Method.publickey, Method.password))
        document = self.logins.document
        bob = User(name="bob", authentication=((Method.publickey, Method.password),))
        self.logins.document = evolve(documentWith(document.users["alice"], bob), revision=7)
        self.assertRefused(self.password(more.proof, name="bob"), "password is not what has to be proven next")

    def test_whatWasProvenBeforeCredentialsWereChangedIsVoid(self) -> None:
        more = self.more(self.key(Proof()))
        self.ask((Method.publickey, Method.password), credentialsRevision=8)
        self.assertRefused(self.password(more.proof), "password is not what has to be proven next")

    def test_protocolsThatTakeAPasswordAloneLetNobodyIn(self) -> None:
        for lists in ([Method.publickey, Method.password], [Method.publickey], [Method.keyboardInteractive]):
            self.ask(tuple(lists))
            self.assertRefused(self.password(None), "password is not what has to be proven next")
        self.ask((Method.password, Method.publickey))
        self.assertRefused(self.password(None), "more than this has to be proven")
        self.ask((Method.publickey,), (Method.password,))
        self.successResultOf(self.password(None))

    def test_webSessionsNeedWhatTheyBeganWith(self) -> None:
        session = SessionLogin("alice", 1, ORIGIN)
        self.failureResultOf(self.login(session), UnauthorizedLogin)
        self.ask((Method.password,), (Method.publickey, Method.password))
        self.successResultOf(self.login(session))

    def test_interactiveIsAMethodOfItsOwn(self) -> None:
        self.ask((Method.publickey, Method.keyboardInteractive))
        more = self.more(self.key(Proof()))
        self.assertEqual(more.methods, ["keyboard-interactive"])
        self.assertRefused(self.password(more.proof), "password is not what has to be proven next")
        self.successResultOf(self.login(PasswordLogin("alice", b"right", ORIGIN, True, more.proof)))

    def test_aCertificateThatTheUserDoesNotLogInByIsNoAttempt(self) -> None:
        """It is shown to whoever asks for one in a handshake; a password follows, which counts as ever."""
        self.ask((Method.password,))
        for _ in range(3):
            self.failureResultOf(self.login(CertificateLogin("alice", ("alice",), ORIGIN, Proof())), UnauthorizedLogin)
        self.assertEqual((self.logins.events, self.logins.checker.asked), ([], []))
        self.successResultOf(self.password(None))

    def test_aCertificateOfNobodyIsAFailure(self) -> None:
        answer = self.login(CertificateLogin("carol", ("carol",), ORIGIN, Proof()))
        self.assertRefused(answer, "no checker takes this kind of log-in")

    def test_aQuestionProvesNothing(self) -> None:
        self.failureResultOf(self.key(Proof(), signed=False), ValidPublicKey)
        self.assertRefused(self.password(Proof()), "password is not what has to be proven next")

    def test_whoIsNotLetInAnywayIsToldNothingOfMore(self) -> None:
        for more in ({"enabled": False}, {"protocols": frozenset({Protocol.ftp})}, {"allow": ("198.51.100.0/24",)}):
            self.ask((Method.publickey, Method.password), **more)
            answer = self.key(Proof())
            self.logins.clock.advance(1)
            self.failureResultOf(answer, UnauthorizedLogin)
