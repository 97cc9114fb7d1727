"""Tests of the rules by which new nodes are let in, without a network."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any

from attrs import evolve
from cryptography import x509
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.cluster._frames import MOST_BYTES, FrameReader, encodeFrame
from cftpcluster.cluster.admission import FORGIVE_SECONDS, MOST_FAILED_TRIES, REQUEST_SECONDS, JoinServer
from cftpcluster.cluster.authority import newNodeKey, signingRequest
from cftpcluster.cluster.membership import Usage, keyFingerprint, verifiedName
from cftpcluster.cluster.tokens import JoinTokenText, newToken
from cftpcluster.config.changes import Batch, Change, Put, Remove, Target, apply, moved
from cftpcluster.errors import Conflict, NotPrimary, PrimaryUnreachable, Refused
from cftpcluster.events import NodeJoined, NodeRefused
from cftpcluster.testing.membership import SmallCluster

PLAIN_KEYS = ("certificate", "ca", "clusterKeys", "nodes", "primary")


class AdmissionTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(time.time())
        self.cluster = SmallCluster(self.clock.seconds())
        self.cluster.found("a", "192.0.2.1")
        self.proposals: list[Change] = []
        self.events: list[Any] = []
        self.server = self.serverOf("a")
        self.token, record = self.newToken("b")
        self.cluster.change(Put("tokens", record))
        self.key = newNodeKey()

    def serverOf(self, name: str) -> JoinServer:
        return JoinServer(
            self.clock,
            name,
            lambda: self.cluster.document,
            self.proposed,
            lambda: self.cluster.sealer,
            self.events.append,
            self.clock.seconds,
        )

    def newToken(self, node: str, expireSeconds: float = 3600) -> tuple[JoinTokenText, Any]:
        fingerprint = self.cluster.authority.fingerprint
        text, record = newToken(node, "192.0.2.1", 8789, fingerprint, self.clock.seconds(), expireSeconds)
        return JoinTokenText.parse(text), record

    def proposed(self, change: Change, expected: Mapping[Target, int]) -> Deferred[int]:
        """Tests put other ways to propose in place."""
        return self.propose(change, expected)

    def propose(self, change: Change, expected: Mapping[Target, int]) -> Deferred[int]:
        """As the journal of the primary would."""
        conflicts = moved(self.cluster.document, expected)
        if conflicts:
            return fail(Conflict(conflicts))
        self.proposals.append(change)
        return succeed(self.cluster.change(change))

    def request(self, key: bytes | None = None, **changed: Any) -> dict[str, Any]:
        message = {
            "protocolVersion": 1,
            "tokenId": self.token.tokenId,
            "secret": base64.b64encode(self.token.secret).decode(),
            "name": "b",
            "request": signingRequest(key or self.key).decode(),
            "address": "192.0.2.2",
            "version": "1.0",
            **changed,
        }
        return {name: value for name, value in message.items() if value is not None}

    def answer(self, message: Any = None, address: str = "198.51.100.7", server: JoinServer | None = None) -> Any:
        asked = (server or self.server).answer(self.request() if message is None else message, address)
        return self.successResultOf(Deferred.fromCoroutine(asked))

    def assertRefused(self, answer: Any, reason: str) -> None:
        self.assertEqual(list(answer), ["refused"])
        self.assertIn(reason, answer["refused"])
        self.assertEqual(self.events[-1], NodeRefused(address="198.51.100.7", reason=answer["refused"]))

    def fingerprint(self, pem: str) -> str:
        return keyFingerprint(x509.load_pem_x509_certificate(pem.encode()).public_key())


class JoinTests(AdmissionTestCase):
    def test_newNodeBecomesAMember(self) -> None:
        answer = self.answer()
        self.assertEqual(tuple(answer), PLAIN_KEYS)
        node = self.cluster.document.nodes["b"]
        self.assertEqual((node.address, node.number), ("192.0.2.2", 2))
        self.assertEqual(node.fingerprint, self.fingerprint(answer["certificate"]))
        self.assertEqual(self.cluster.document.tokens[self.token.tokenId].boundTo, node.fingerprint)
        authorities = x509.load_pem_x509_certificates(answer["ca"].encode())
        certificate = x509.load_pem_x509_certificate(answer["certificate"].encode())
        self.assertEqual(verifiedName(certificate, authorities, Usage.client, self.clock.seconds()), "b")
        self.assertEqual([base64.b64decode(one) for one in answer["clusterKeys"]], list(self.cluster.sealer.keys))
        self.assertEqual(answer["primary"], "a")
        self.assertEqual([(one["name"], one["address"]) for one in answer["nodes"]], [("a", "192.0.2.1")])
        self.assertEqual(answer["nodes"][0]["fingerprint"], self.cluster.document.nodes["a"].fingerprint)
        self.assertEqual(self.events, [NodeJoined(name="b", address="192.0.2.2")])
        self.assertEqual(len(self.proposals), 1)

    def test_sameKeyMayRepeatWithoutAnotherRevision(self) -> None:
        self.answer()
        revision = self.cluster.document.revision
        again = self.answer()
        self.assertEqual(tuple(again), PLAIN_KEYS)
        self.assertEqual(self.cluster.document.revision, revision)

    def test_sameKeyAtAnotherAddressIsAChange(self) -> None:
        self.answer()
        self.answer(self.request(address="192.0.2.9"))
        self.assertEqual(self.cluster.document.nodes["b"].address, "192.0.2.9")
        self.assertEqual(self.cluster.document.nodes["b"].number, 2)

    def test_existingNodeIsRekeyedAndKeepsTheRest(self) -> None:
        self.cluster.add("b", "192.0.2.5")
        before = evolve(self.cluster.document.nodes["b"], listeners={"ftp": {"port": 21}})
        self.cluster.change(Put("nodes", before))
        answer = self.answer()
        after = self.cluster.document.nodes["b"]
        self.assertEqual((after.number, after.listeners), (before.number, before.listeners))
        self.assertEqual(after.fingerprint, self.fingerprint(answer["certificate"]))
        self.assertNotEqual(after.fingerprint, before.fingerprint)

    def test_staleTokensAreForgottenOnTheWay(self) -> None:
        _, old = self.newToken("c", -8 * 86400)
        self.cluster.change(Put("tokens", old))
        self.answer()
        self.assertEqual(list(self.cluster.document.tokens), [self.token.tokenId])

    def test_largeClustersAnswerFits(self) -> None:
        for index in range(300):
            self.cluster.change(
                Put("nodes", evolve(self.cluster.document.nodes["a"], name=f"{'n' * 60}{index}", address="h" * 63))
            )
        answer = self.answer()
        self.assertEqual(answer["nodes"][0]["name"], "a")
        self.assertLess(len(encodeFrame(answer)), MOST_BYTES)


class RefusalTests(AdmissionTestCase):
    """In every case nothing is proposed, and the answer holds the refusal alone."""

    def tearDown(self) -> None:
        self.assertEqual(self.proposals, [])

    def test_unknownAndForgedTokens(self) -> None:
        unknown = self.answer(self.request(tokenId="00" * 8))
        forged = self.answer(self.request(secret=base64.b64encode(b"x" * 20).decode()))
        self.assertRefused(unknown, "no such join token")
        self.assertEqual(unknown, forged)

    def test_expiredToken(self) -> None:
        self.clock.advance(3600)
        self.assertRefused(self.answer(), "the join token expired")

    def test_anotherName(self) -> None:
        self.assertRefused(self.answer(self.request(name="c")), 'the join token is for node "b", not "c"')

    def test_primarysOwnNameNeedsATokenOfItsOwn(self) -> None:
        self.assertRefused(self.answer(self.request(name="a")), 'the join token is for node "b", not "a"')

    def test_requestsThatAreNone(self) -> None:
        for changed, reason in (
            ({"protocolVersion": 2}, "speaks version 1 of the join protocol, not '2'"),
            ({"protocolVersion": None}, "join protocol"),
            ({"protocolVersion": "x" * 10_000 + "\n"}, "join protocol"),
            ({"name": None}, "no 'name'"),
            ({"name": 7}, "no 'name'"),
            ({"name": "b\nrefused nobody"}, "not one that a node can have"),
            ({"name": "x" * 65}, "not one that a node can have"),
            ({"secret": "%%%"}, "not base64"),
            ({"request": "nothing"}, "signing request cannot be read"),
            ({"request": "\ud800"}, "no 'request'"),
            ({"address": "no host"}, "neither an IP address nor a host name"),
            ({"address": "::1%\n"}, "neither an IP address nor a host name"),
        ):
            self.server = self.serverOf("a")
            answer = self.answer(self.request(**changed))
            self.assertRefused(answer, reason)
            self.assertEqual(len(answer["refused"].splitlines()), 1)

    def test_refusalsAreLoggedWithoutTheSecret(self) -> None:
        with capturedLogs() as logs:
            self.answer(self.request(name="c"))
        self.assertEqual([one["address"] for one in logs], ["198.51.100.7"])
        secret = base64.b64encode(self.token.secret).decode()
        self.assertNotIn(secret, repr(logs))

    def test_tooManyFailedTriesAreNotLookedAt(self) -> None:
        for _ in range(MOST_FAILED_TRIES):
            self.answer(self.request(tokenId="00" * 8))
        self.assertRefused(self.answer(), "too many failed tries")
        self.assertRefused(self.answer(), "too many failed tries")
        other = self.answer(self.request(name="c"), address="198.51.100.8")
        self.assertIn("is for node", other["refused"])

    def test_tryingOnDoesNotProlongTheWait(self) -> None:
        for _ in range(MOST_FAILED_TRIES + 5):
            self.answer(self.request(tokenId="00" * 8))
        self.clock.advance(FORGIVE_SECONDS)
        self.assertIn("is for node", self.answer(self.request(name="c"))["refused"])

    def test_failedTriesOfVeryManyAddressesAreBounded(self) -> None:
        for index in range(2000):
            self.answer(self.request(tokenId="00" * 8), address=f"10.0.{index // 256}.{index % 256}")
        self.assertLessEqual(len(self.server._failedTries._tries), 1024)

    def test_secondarySaysWhoIsPrimaryToThoseWithAToken(self) -> None:
        self.cluster.add("c")
        secondary = self.serverOf("c")
        answer = self.answer(server=secondary)
        self.assertEqual(answer, {"notPrimary": {"epoch": 1, "name": "a", "address": "192.0.2.1"}})
        self.assertRefused(self.answer(self.request(tokenId="00" * 8), server=secondary), "no such join token")

    def test_primaryThatLostItsPlaceMeanwhile(self) -> None:
        self.propose = lambda change, expected: fail(NotPrimary(2, "c", "192.0.2.3"))  # type: ignore[method-assign]
        self.assertEqual(self.answer(), {"notPrimary": {"epoch": 2, "name": "c", "address": "192.0.2.3"}})

    def test_failureIsNoRefusal(self) -> None:
        self.propose = lambda change, expected: fail(PrimaryUnreachable("no"))  # type: ignore[method-assign]
        self.assertEqual(self.answer(), {"failed": "no"})
        self.assertEqual(self.events, [])

    def test_defectIsAnsweredWithoutItsText(self) -> None:
        self.propose = lambda change, expected: fail(RuntimeError("secret detail"))  # type: ignore[method-assign]
        answer = self.answer()
        self.assertEqual(list(answer), ["failed"])
        self.assertNotIn("secret", answer["failed"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class RaceTests(AdmissionTestCase):
    def test_ofTwoKeysOneIsBound(self) -> None:
        """Both are looked at before either is appended."""
        waiting: list[tuple[Deferred[int], Change, Mapping[Target, int]]] = []

        def hold(change: Change, expected: Mapping[Target, int]) -> Deferred[int]:
            waiting.append((Deferred(), change, expected))
            return waiting[-1][0]

        self.propose = hold  # type: ignore[method-assign]
        keys = [self.key, newNodeKey()]
        answers = [
            Deferred.fromCoroutine(self.server.answer(self.request(key), f"198.51.100.{index}"))
            for index, key in enumerate(keys)
        ]
        del self.propose
        for held, change, expected in waiting:
            self.successResultOf(self.propose(change, expected).addCallbacks(held.callback, held.errback))
        first, second = (self.successResultOf(one) for one in answers)
        self.assertEqual(tuple(first), PLAIN_KEYS)
        self.assertEqual(second, {"refused": "the join token was used by another key"})
        self.assertEqual(self.cluster.document.nodes["b"].fingerprint, self.fingerprint(first["certificate"]))
        self.assertEqual(len(self.proposals), 1)

    def test_unrelatedConflictIsTriedAgain(self) -> None:
        real = self.propose

        def once(change: Change, expected: Mapping[Target, int]) -> Deferred[int]:
            self.propose = real  # type: ignore[method-assign]
            self.cluster.add("b", "192.0.2.77")
            return real(change, expected)

        self.propose = once  # type: ignore[method-assign]
        self.assertEqual(tuple(self.answer()), PLAIN_KEYS)
        self.assertEqual(self.cluster.document.nodes["b"].address, "192.0.2.2")

    def test_tokenThatWasWithdrawnMeanwhile(self) -> None:
        real = self.propose

        def once(change: Change, expected: Mapping[Target, int]) -> Deferred[int]:
            self.cluster.change(Remove("tokens", self.token.tokenId))
            return real(change, expected)

        self.propose = once  # type: ignore[method-assign]
        self.assertEqual(self.answer(), {"refused": "no such join token"})
        self.assertNotIn("b", self.cluster.document.nodes)

    def test_endlessConflictsEnd(self) -> None:
        self.propose = lambda change, expected: fail(Conflict({}))  # type: ignore[method-assign]
        self.assertEqual(self.answer(), {"failed": "the configuration changes too quickly; try again"})


class ConversationTests(AdmissionTestCase):
    """One request, one answer, in bounds of size and time."""

    def setUp(self) -> None:
        super().setUp()
        self.transport = StringTransport()
        self.transport.abortConnection = self.transport.loseConnection  # type: ignore[method-assign]
        self.conversation = self.server.buildJoin("198.51.100.7")
        self.conversation.makeConnection(self.transport)

    def said(self) -> Any:
        frame = FrameReader().feed(self.transport.value())
        assert frame is not None
        self.assertEqual(frame[1], b"")
        return frame[0]

    def test_requestInPieces(self) -> None:
        for byte in encodeFrame(self.request()):
            self.conversation.dataReceived(bytes([byte]))
        self.assertEqual(tuple(self.said()), PLAIN_KEYS)
        self.assertTrue(self.transport.disconnecting)

    def test_onlyOneRequestIsAnswered(self) -> None:
        self.conversation.dataReceived(encodeFrame(self.request()) * 2)
        self.conversation.dataReceived(encodeFrame(self.request()))
        self.assertEqual(tuple(self.said()), PLAIN_KEYS)

    def test_tooLongRequest(self) -> None:
        self.conversation.dataReceived((MOST_BYTES + 1).to_bytes(4, "big"))
        self.assertEqual(self.said(), {"refused": "a message is too long"})

    def test_requestsThatAreNoJSON(self) -> None:
        for payload in (b"", b"[]", b"null", b"\xff", b"[" * 60_000, b'{"a":' * 10_000, b"1" * 50_000):
            self.server = self.serverOf("a")
            self.setUpAgain()
            self.conversation.dataReceived(len(payload).to_bytes(4, "big") + payload)
            self.assertEqual(self.said(), {"refused": "a message is not a JSON object"})

    def setUpAgain(self) -> None:
        self.transport.clear()
        self.conversation = self.server.buildJoin("198.51.100.7")
        self.conversation.makeConnection(self.transport)

    def test_silence(self) -> None:
        self.conversation.dataReceived(b"\x00\x00")
        self.clock.advance(REQUEST_SECONDS)
        self.assertEqual(self.said(), {"refused": "no request came within 10 s"})

    def test_nothingIsLeftBehind(self) -> None:
        self.conversation.dataReceived(encodeFrame(self.request()))
        self.conversation.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_clientThatLeftGetsNothingButStaysAMember(self) -> None:
        held: Deferred[int] = Deferred()
        self.propose = lambda change, expected: held  # type: ignore[method-assign]
        self.conversation.dataReceived(encodeFrame(self.request()))
        self.conversation.connectionLost(Failure(ConnectionDone()))
        held.callback(1)
        self.assertEqual(self.transport.value(), b"")
        self.assertEqual([type(one) for one in self.events], [NodeJoined])

    def test_refusedMessagesAreRefusals(self) -> None:
        self.assertRefused(self.answer(Refused("a message is too long")), "too long")


class ChangeTests(AdmissionTestCase):
    def test_memberAndBindingAreOneRevision(self) -> None:
        before = self.cluster.document
        self.answer()
        (change,) = self.proposals
        assert isinstance(change, Batch)
        self.assertEqual(list(change.targets()), [("tokens", self.token.tokenId), ("nodes", "b")])
        self.assertEqual(apply(before, change).nodes["b"], self.cluster.document.nodes["b"])
