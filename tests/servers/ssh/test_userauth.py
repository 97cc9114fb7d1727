"""Tests of logging in, over a whole handshake with Conch's client."""

from __future__ import annotations

import hashlib
from typing import Any

from attrs import define, field
from cryptography.hazmat.primitives.asymmetric import ed25519
from twisted.conch.ssh.connection import MSG_GLOBAL_REQUEST
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.service import SSHService
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.auth.credentials import LoginBusy
from cftpcluster.config.document import Limits, Method, User
from cftpcluster.events import LoggedIn, LoggedOut, LoginFailed, LoginTurnedAway
from cftpcluster.servers.ssh.avatar import SSHAvatar
from cftpcluster.servers.ssh.factory import SFTPOptions
from cftpcluster.servers.ssh.userauth import REQUEST_LIMIT
from cftpcluster.servers.ssh.wire import Reader, boolean, string, uint32
from cftpcluster.testing.auth import documentWith

from .peers import ECDSA, ED25519, RSA, SHORT_RSA, Client, Link, Site

REQUEST, FAILURE, SUCCESS, PK_OK, INFO_REQUEST, INFO_RESPONSE = 50, 51, 52, 60, 60, 61


class Talk(SSHService):
    """A client's side that sends what it is told to, and keeps what comes."""

    name = b"ssh-userauth"

    def __init__(self) -> None:
        self.came: list[tuple[int, bytes]] = []

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        if messageNum == MSG_GLOBAL_REQUEST:
            return  # what the connection says after the log-in
        self.came.append((messageNum, packet))


@define(eq=False)
class LogIn:
    """One connection of a client that is not logged in."""

    site: Site
    talk: Talk = field(factory=Talk, init=False)
    client: Client = field(init=False)
    link: Link = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.client = Client(self.talk)
        self.link = self.site.connect(self.client)
        self.talk.came.clear()

    def send(self, number: int, *body: bytes) -> list[tuple[int, bytes]]:
        """Send a message; what came back."""
        self.client.sendPacket(number, b"".join(body))
        self.link.pump()
        came, self.talk.came = self.talk.came, []
        return came

    def request(
        self, method: bytes, *body: bytes, user: bytes = b"alice", service: bytes = b"ssh-connection"
    ) -> list[tuple[int, bytes]]:
        return self.send(REQUEST, string(user), string(service), string(method), *body)

    def password(self, password: bytes, user: bytes = b"alice") -> list[tuple[int, bytes]]:
        return self.request(b"password", boolean(False), string(password), user=user)

    def question(self, key: Any, algorithm: bytes = b"ssh-ed25519", user: bytes = b"alice") -> list[tuple[int, bytes]]:
        blob = Key(key).public().blob()
        return self.request(b"publickey", boolean(False), string(algorithm), string(blob), user=user)

    def signed(
        self,
        key: Any,
        algorithm: bytes = b"ssh-ed25519",
        signedWith: bytes = b"",
        user: bytes = b"alice",
        blob: bytes = b"",
        **wrong: bytes,
    ) -> list[tuple[int, bytes]]:
        blob = blob or Key(key).public().blob()
        body = b"".join([boolean(True), string(algorithm), string(blob)])
        named = string(wrong.get("signedUser", user)) + string(b"ssh-connection") + string(b"publickey")
        sessionId = wrong.get("sessionId", self.client.sessionID or b"")
        message = string(sessionId) + bytes((REQUEST,)) + named + body
        signature = wrong.get("signature") or Key(key).sign(message, signedWith or algorithm)
        return self.request(b"publickey", body, string(signature), user=user)


class LogInTestCase(SynchronousTestCase):
    options = SFTPOptions()

    def setUp(self) -> None:
        self.site = Site(self.options)

    def logIn(self) -> LogIn:
        return LogIn(self.site)

    def assertFailed(self, came: list[tuple[int, bytes]]) -> None:
        ((number, body),) = came
        self.assertEqual(number, FAILURE)
        reader = Reader(body)
        self.assertEqual(reader.names(), [b"publickey", b"password", b"keyboard-interactive"])
        self.assertFalse(reader.boolean())

    def assertIn_(self, login: LogIn, came: list[tuple[int, bytes]]) -> None:
        self.assertEqual(came, [(SUCCESS, b"")])
        self.assertIsInstance(login.link.server.avatar, SSHAvatar)

    @property
    def failures(self) -> list[str]:
        return [event.reason for event in self.site.logins.events if isinstance(event, LoginFailed)]


class PasswordTests(LogInTestCase):
    def test_rightOneLogsIn(self) -> None:
        login = self.logIn()
        self.assertIn_(login, login.password(b"secret"))
        (event,) = self.site.logins.events
        assert isinstance(event, LoggedIn)
        self.assertEqual((event.user, event.method), ("alice", "password"))
        origin = event.origin
        self.assertEqual((origin.protocol, origin.address, origin.listener), ("sftp", "192.0.2.7", "sftp"))
        self.assertEqual(len(origin.session), 32)
        login.link.lose()
        self.assertIsInstance(self.site.logins.events[-1], LoggedOut)

    def test_othersDoNot(self) -> None:
        for password in (b"", b"wrong", b"secret\0", b"secret\n", b"Secret", b"s" * 20_000):
            login = self.logIn()
            self.assertFailed(login.password(password))
            self.assertIs(login.link.server.avatar, None)

    def test_namesAreTakenByteByByte(self) -> None:
        for user in (b"", b"Alice", b"alice\0", b"alice\n", b"alice/", b"../alice", b"\xff", b"a" * 20_000):
            self.assertFailed(self.logIn().password(b"secret", user))
        asked = self.site.logins.checker.asked[-2]
        self.assertEqual(asked.name, "\udcff")
        self.assertLessEqual(max(len(event.user) for event in self.site.logins.events), 256)  # type: ignore[attr-defined]

    def test_soManyAttempts(self) -> None:
        login = self.logIn()
        for _ in range(5):
            self.assertFailed(login.password(b"wrong"))
        login.password(b"wrong")
        self.assertEqual(login.client.disconnected, [(14, b"too many authentication failures")])
        self.assertEqual(len(self.failures), 6)

    def test_passwordsAreNotChanged(self) -> None:
        login = self.logIn()
        self.assertFailed(login.request(b"password", boolean(True), string(b"secret"), string(b"new")))
        self.assertEqual(self.failures, ["passwords are not changed here"])

    def test_askedForByKeyboardInteractive(self) -> None:
        login = self.logIn()
        ((number, body),) = login.request(b"keyboard-interactive", string(b""), string(b""))
        self.assertEqual(number, INFO_REQUEST)
        reader = Reader(body)
        self.assertEqual([reader.string() for _ in range(3)], [b""] * 3)
        self.assertEqual((reader.uint32(), reader.string(), reader.boolean()), (1, b"Password: ", False))
        self.assertIn_(login, login.send(INFO_RESPONSE, uint32(1), string(b"secret")))

    def test_answersOfAnotherNumberFail(self) -> None:
        for count in (0, 2, 2**32 - 1):
            login = self.logIn()
            login.request(b"keyboard-interactive", string(b""), string(b""))
            self.assertFailed(login.send(INFO_RESPONSE, uint32(count), string(b"secret") * 2))

    def test_answersThatNobodyAskedForAreNotTaken(self) -> None:
        login = self.logIn()
        self.assertEqual(login.send(INFO_RESPONSE, uint32(1), string(b"secret")), [])
        login.request(b"keyboard-interactive", string(b""), string(b""))
        login.request(b"none")
        self.assertEqual(login.send(INFO_RESPONSE, uint32(1), string(b"secret")), [])
        self.assertIs(login.link.server.avatar, None)

    def test_aBusyServerDoesNotCountTheAttempt(self) -> None:
        login = self.logIn()

        class Busy:
            credentialInterfaces = self.site.logins.checker.credentialInterfaces

            def requestAvatarId(self, credentials: Any) -> Any:
                raise LoginBusy

        self.site.server._portal._chain.checkers = (Busy(),)  # type: ignore[attr-defined]
        for _ in range(10):
            self.assertFailed(login.password(b"secret"))
        self.assertEqual(login.client.disconnected, [])

    def test_whoIsTurnedAwayIsToldWhy(self) -> None:
        self.site.logins.document = documentWith(User(name="alice", limits=Limits(sessions=1)))
        self.site.logins.rules.start()
        first, second = self.logIn(), self.logIn()
        self.assertIn_(first, first.password(b"secret"))
        second.password(b"secret")
        self.assertEqual(second.client.disconnected, [(12, b"too many sessions of this user")])
        self.assertEqual(type(self.site.logins.events[-1]), LoginTurnedAway)

    def test_aSessionThatTheClusterEndsIsToldWhy(self) -> None:
        login = self.logIn()
        self.assertIn_(login, login.password(b"secret"))
        (account,) = self.site.logins.rules.sessions.accounts()
        account.end("disabled")
        login.link.pump()
        self.assertEqual(login.client.disconnected, [(11, b"your session was ended: disabled")])
        self.assertEqual(self.site.logins.rules.sessions.accounts(), [])

    def test_theSessionKnowsWhatTheClientIs(self) -> None:
        login = self.logIn()
        self.assertIn_(login, login.password(b"secret"))
        (event,) = self.site.logins.events
        assert isinstance(event, LoggedIn)
        self.assertEqual(event.origin.software, login.client.ourVersionString[8:].decode())


class PublicKeyTests(LogInTestCase):
    def test_signatureLogsIn(self) -> None:
        login = self.logIn()
        ((number, body),) = login.question(ED25519)
        self.assertEqual(number, PK_OK)
        self.assertEqual(body, string(b"ssh-ed25519") + string(Key(ED25519).public().blob()))
        self.assertEqual(self.site.logins.events, [])
        self.assertIs(login.link.server.avatar, None)
        self.assertIn_(login, login.signed(ED25519))

    def test_rsaOnAServerWithAnEd25519Key(self) -> None:
        for algorithm in (b"rsa-sha2-256", b"rsa-sha2-512"):
            self.site = Site(userKeys={"alice": Key(RSA).public().blob()})
            login = self.logIn()
            self.assertEqual(login.question(RSA, algorithm)[0][0], PK_OK)
            self.assertIn_(login, login.signed(RSA, algorithm))

    def test_ecdsa(self) -> None:
        self.site = Site(userKeys={"alice": Key(ECDSA).public().blob()})
        login = self.logIn()
        self.assertIn_(login, login.signed(ECDSA, b"ecdsa-sha2-nistp256"))

    def test_sha1IsRefused(self) -> None:
        self.site = Site(userKeys={"alice": Key(RSA).public().blob()})
        login = self.logIn()
        self.assertFailed(login.question(RSA, b"ssh-rsa"))
        self.assertFailed(login.signed(RSA, b"ssh-rsa"))
        self.assertFailed(login.signed(RSA, b"rsa-sha2-256", signedWith=b"ssh-rsa"))
        self.assertFailed(login.signed(RSA, b"rsa-sha2-256", signedWith=b"rsa-sha2-512"))
        self.assertEqual(self.failures, ["key algorithm is not accepted", "signature is wrong", "signature is wrong"])

    def test_shortKeysAreRefused(self) -> None:
        self.site = Site(userKeys={"alice": Key(SHORT_RSA).public().blob()})
        self.assertFailed(self.logIn().signed(SHORT_RSA, b"rsa-sha2-256"))
        self.assertEqual(self.failures, ["key is too short or too long"])

    def test_keyOfAnotherTypeThanItsAlgorithm(self) -> None:
        login = self.logIn()
        self.assertFailed(login.signed(ED25519, b"rsa-sha2-256", signedWith=b"ssh-ed25519"))
        self.assertEqual(self.failures, ["key is not of the algorithm's type"])

    def test_foreignSignaturesProveNothing(self) -> None:
        wrong: list[dict[str, bytes]] = [
            {"signedUser": b"bob"},
            {"sessionId": bytes(32)},
            {"signature": b"junk"},
            {"signature": string(b"ssh-ed25519") + string(bytes(64))},
            {"signature": string(b"ssh-ed25519")},
            {"signature": bytes(40)},
        ]
        for options in wrong:
            login = self.logIn()
            self.assertFailed(login.signed(ED25519, **options))
            self.assertIs(login.link.server.avatar, None)
        self.assertEqual(self.failures, ["signature is wrong"] * len(wrong))
        self.assertEqual(self.site.logins.checker.asked, [])

    def test_unknownKeysAreOnlyAskedAbout(self) -> None:
        login = self.logIn()
        for _ in range(20):
            self.assertFailed(login.question(ed25519.Ed25519PrivateKey.generate()))
        self.assertEqual((self.site.logins.events, login.client.disconnected), ([], []))
        self.assertIn_(login, login.signed(ED25519))

    def test_questionsEndSomewhere(self) -> None:
        login = self.logIn()
        for _ in range(REQUEST_LIMIT):
            login.question(RSA)
        self.assertEqual(login.client.disconnected, [])
        login.question(RSA)
        self.assertEqual(login.client.disconnected, [(14, b"too many authentication failures")])

    def test_malformedKeys(self) -> None:
        blobs = [b"", b"junk", string(b"ssh-ed25519"), string(b"ssh-ed25519") + string(b"short"), b"\xff" * 100]
        for blob in blobs:
            login = self.logIn()
            self.assertFailed(login.signed(ED25519, blob=blob or b"\0"))
        self.assertEqual(self.failures, ["key cannot be read"] * len(blobs))

    def test_keysMayNotTrailBytes(self) -> None:
        login = self.logIn()
        self.assertFailed(login.signed(ED25519, blob=Key(ED25519).public().blob() + b"\0"))

    def test_certificatesAreRefused(self) -> None:
        login = self.logIn()
        self.assertFailed(login.question(ED25519, b"ssh-ed25519-cert-v01@openssh.com"))

    def test_securityKeysProveThatSomebodyWasThere(self) -> None:
        application = b"ssh:"
        public = ED25519.public_key().public_bytes_raw()
        algorithm = b"sk-ssh-ed25519@openssh.com"
        blob = string(algorithm) + string(public) + string(application)
        self.site = Site(userKeys={"alice": blob})

        def signatureOf(login: LogIn, flags: int) -> bytes:
            head = boolean(True) + string(algorithm) + string(blob)
            named = string(b"alice") + string(b"ssh-connection") + string(b"publickey")
            message = string(login.client.sessionID or b"") + bytes((REQUEST,)) + named + head
            extra = bytes((flags,)) + uint32(7)
            signed = hashlib.sha256(application).digest() + extra + hashlib.sha256(message).digest()
            return string(algorithm) + string(ED25519.sign(signed)) + extra

        login = self.logIn()
        self.assertFailed(login.signed(ED25519, algorithm, blob=blob, signature=signatureOf(login, 0)))
        self.assertFailed(login.signed(ED25519, algorithm, blob=blob, signature=signatureOf(login, 1)[:-5]))
        self.assertIn_(login, login.signed(ED25519, algorithm, blob=blob, signature=signatureOf(login, 1)))


class StepsTests(LogInTestCase):
    """Users who have to prove more than one thing."""

    def ask(self, *lists: tuple[Method, ...]) -> None:
        alice = User(name="alice", authentication=lists)
        self.site.logins.document = documentWith(alice, User(name="bob", authentication=lists))

    def setUp(self) -> None:
        super().setUp()
        self.ask((Method.publickey, Method.password), (Method.publickey, Method.keyboardInteractive))

    def assertNext(self, came: list[tuple[int, bytes]], *methods: bytes, partial: bool) -> None:
        ((number, body),) = came
        reader = Reader(body)
        self.assertEqual((number, reader.names(), reader.boolean()), (FAILURE, list(methods), partial))

    def test_aKeyAndThenAPassword(self) -> None:
        login = self.logIn()
        self.assertFailed(login.request(b"none"))
        self.assertNext(login.signed(ED25519), b"password", b"keyboard-interactive", partial=True)
        self.assertIs(login.link.server.avatar, None)
        self.assertNext(login.password(b"wrong"), b"password", b"keyboard-interactive", partial=False)
        self.assertIn_(login, login.password(b"secret"))
        self.assertEqual(self.failures, ["no such user, or the wrong secret"])

    def test_aKeyAndThenAPasswordThatIsAskedFor(self) -> None:
        login = self.logIn()
        login.signed(ED25519)
        ((number, _),) = login.request(b"keyboard-interactive", string(b""), string(b""))
        self.assertEqual(number, INFO_REQUEST)
        self.assertIn_(login, login.send(INFO_RESPONSE, uint32(1), string(b"secret")))

    def test_theOtherWayRoundIsNoWay(self) -> None:
        login = self.logIn()
        self.assertFailed(login.password(b"secret"))
        self.assertNext(login.signed(ED25519), b"password", b"keyboard-interactive", partial=True)
        # a second key is no second factor
        self.assertNext(login.signed(ED25519), b"password", b"keyboard-interactive", partial=False)
        self.assertNext(login.question(ED25519), b"password", b"keyboard-interactive", partial=False)
        self.assertIs(login.link.server.avatar, None)

    def test_anotherNameStartsAnew(self) -> None:
        login = self.logIn()
        login.signed(ED25519)
        self.assertFailed(login.request(b"none", user=b"bob"))
        self.assertFailed(login.password(b"secret"))
        self.assertIs(login.link.server.avatar, None)

    def test_anotherConnectionKnowsNothing(self) -> None:
        self.logIn().signed(ED25519)
        self.assertFailed(self.logIn().password(b"secret"))

    def test_partsAreNoFailures(self) -> None:
        self.ask((Method.publickey, Method.password))
        for _ in range(3):
            self.logIn().signed(ED25519)
        self.assertEqual(self.site.logins.events, [])


class RequestTests(LogInTestCase):
    def test_noneTellsWhatThereIs(self) -> None:
        login = self.logIn()
        for _ in range(10):
            self.assertFailed(login.request(b"none"))
        self.assertEqual((login.client.disconnected, self.site.logins.events), ([], []))

    def test_otherMethodsAreUnknown(self) -> None:
        for method in (b"hostbased", b"gssapi-with-mic", b"", b"publickey,password", b"\xff"):
            self.assertFailed(self.logIn().request(method))

    def test_onlyTheConnectionFollows(self) -> None:
        login = self.logIn()
        login.request(b"password", boolean(False), string(b"secret"), service=b"ssh-userauth")
        self.assertEqual(login.client.disconnected, [(7, b"no such service")])

    def test_requestsAfterTheLogInAreIgnored(self) -> None:
        login = self.logIn()
        login.password(b"secret")
        avatar = login.link.server.avatar
        self.assertEqual(login.password(b"wrong"), [])
        self.assertIs(login.link.server.avatar, avatar)
        self.assertEqual(len(self.site.logins.checker.asked), 1)

    def test_truncatedRequestsEndTheConnection(self) -> None:
        for body in (b"", string(b"alice"), string(b"alice") + string(b"ssh-connection") + string(b"password")):
            login = self.logIn()
            login.send(REQUEST, body)
            self.assertEqual(login.client.disconnected, [(2, b"malformed message")])


class WaitingTests(LogInTestCase):
    """While a log-in is being decided."""

    def setUp(self) -> None:
        super().setUp()
        self.site.logins.failureSeconds = 1.0
        self.site.server._portal = self.site.logins.portal()

    def test_nothingElseIsLookedAt(self) -> None:
        login = self.logIn()
        self.assertEqual(login.password(b"wrong"), [])
        self.assertEqual(login.link.serverWire.producerState, "paused")
        self.assertEqual(login.password(b"secret"), [])
        self.assertEqual(len(self.site.logins.checker.asked), 1)
        self.site.clock.advance(1)
        login.link.pump()
        self.assertEqual([number for number, _ in login.talk.came], [FAILURE, SUCCESS])

    def test_aClientThatWentMeanwhileIsForgotten(self) -> None:
        login = self.logIn()
        login.password(b"wrong")
        login.link.lose()
        self.site.clock.advance(1)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.site.clock.getDelayedCalls(), [])

    def test_lateSuccessOfAClientThatWentIsLoggedOut(self) -> None:
        from twisted.internet.defer import Deferred

        answer: Deferred[str] = Deferred()

        class Slow:
            credentialInterfaces = self.site.logins.checker.credentialInterfaces

            def requestAvatarId(self, credentials: Any) -> Any:
                return answer

        self.site.server._portal._chain.checkers = (Slow(),)  # type: ignore[attr-defined]
        login = self.logIn()
        login.password(b"secret")
        login.link.lose()
        answer.callback("alice")
        self.assertEqual([type(event) for event in self.site.logins.events], [LoggedIn, LoggedOut])


class KeysOnlyTests(LogInTestCase):
    options = SFTPOptions(passwords=False)

    def test_passwordsAreNotOffered(self) -> None:
        login = self.logIn()
        for came in (login.request(b"none"), login.password(b"secret")):
            ((number, body),) = came
            self.assertEqual((number, Reader(body).names()), (FAILURE, [b"publickey"]))
        self.assertIn_(login, login.signed(ED25519))
