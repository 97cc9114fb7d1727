"""Tests of join tokens: their text, and whom they let in."""

from __future__ import annotations

import random
import string

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.cluster.tokens import JoinTokenText, NotAToken, checkedToken, isHost, newToken, staleTokens
from cftpcluster.config.changes import Put, Remove, apply
from cftpcluster.config.document import Document, JoinToken
from cftpcluster.errors import ClusterError, Refused

NOW = 1_800_000_000.0
CA = "ab" * 32


def made(host: str = "192.0.2.1", port: int = 8789) -> tuple[str, JoinToken]:
    return newToken("b", host, port, CA, NOW, 3600)


class TextTests(SynchronousTestCase):
    def test_textSaysWhatIsNeeded(self) -> None:
        for host in ("192.0.2.1", "2001:db8::1", "fe80::1%eth0", "node-a.example.org", "node_a"):
            text, record = made(host)
            self.assertRegex(text, "^[A-Za-z0-9_-]+$")
            parsed = JoinTokenText.parse(text)
            self.assertEqual((parsed.host, parsed.port, parsed.caFingerprint), (host, 8789, CA))
            self.assertEqual(parsed.tokenId, record.name)
            self.assertGreaterEqual(len(parsed.secret), 16)
            self.assertEqual(parsed.render(), text)

    def test_blanksAroundItAreNoMatter(self) -> None:
        text, _ = made()
        self.assertEqual(JoinTokenText.parse(f"  {text}\r\n"), JoinTokenText.parse(text))

    def test_everyTypingErrorIsFound(self) -> None:
        text, _ = made()
        start = text.index("-") + 1
        for index in range(start, len(text)):
            other = "A" if text[index] != "A" else "B"
            changed = text[:index] + other + text[index + 1 :]
            # The last character may hold bits that mean nothing.
            if index < len(text) - 1:
                self.assertRaises(NotAToken, JoinTokenText.parse, changed)
            self.assertRaises(NotAToken, JoinTokenText.parse, text[:index])
        self.assertRaises(NotAToken, JoinTokenText.parse, text + text)

    def test_garbageIsNamed(self) -> None:
        for garbage, reason in (
            ("", "not a join token"),
            ("hello world", "not a join token"),
            ("cftpjoin-abc", "not a join token"),
            ("cftpjoin2-AAAA", "format 2, which this version does not know"),
            ("cftpjoin1-", "damaged"),
            ("cftpjoin1-AAAA", "damaged"),
            ("cftpjoin1-ä", "damaged"),
            ("cftpjoin1-" + "A" * 5000, "damaged"),
            ("cftpjoin1-+/+/", "damaged"),
            ("cftpjoin1-A A", "damaged"),
        ):
            error = self.assertRaises(NotAToken, JoinTokenText.parse, garbage)
            self.assertIn(reason, str(error))
            self.assertNotIn("\n", str(error))

    def test_randomTextNeverPasses(self) -> None:
        source = random.Random(1)
        for _ in range(300):
            text = "cftpjoin1-" + "".join(source.choices(string.printable, k=source.randrange(200)))
            self.assertRaises(NotAToken, JoinTokenText.parse, text)

    def test_addressThatNoNodeCanHaveIsRefusedOnBothEnds(self) -> None:
        self.assertRaises(ClusterError, made, "no host")
        self.assertRaises(ClusterError, made, "")
        for host, port in (("bad host", 1), ("", 1), ("192.0.2.1", 0)):
            text = JoinTokenText(host, port, CA, "00" * 8, b"s" * 20).render()
            self.assertIn("no address", str(self.assertRaises(NotAToken, JoinTokenText.parse, text)))

    def test_reprHidesTheSecret(self) -> None:
        text, record = made()
        parsed = JoinTokenText.parse(text)
        for shown in (repr(parsed), repr(record)):
            self.assertNotIn("secret", shown)
            self.assertNotIn(repr(parsed.secret), shown)

    def test_tokensDiffer(self) -> None:
        self.assertNotEqual(made()[0], made()[0])


class HostTests(SynchronousTestCase):
    def test_hosts(self) -> None:
        for host in ("127.0.0.1", "::1", "localhost", "a.b.c.", "node_1", "x" * 63):
            self.assertTrue(isHost(host), host)
        for host in ("", "a b", "a\n", "-a", "x" * 64, "a..b", "fe80::1%a\nb", "a" * 250 + ".bcd", "[::1]", "é"):
            self.assertFalse(isHost(host), host)


class CheckedTokenTests(SynchronousTestCase):
    def setUp(self) -> None:
        text, self.token = made()
        self.secret = JoinTokenText.parse(text).secret
        self.document = apply(Document(), Put("tokens", self.token))

    def refusal(self, **changed: object) -> str:
        arguments = {
            "document": self.document,
            "tokenId": self.token.name,
            "secret": self.secret,
            "nodeName": "b",
            "fingerprint": "f1",
            "now": NOW,
            **changed,
        }
        return str(self.assertRaises(Refused, checkedToken, **arguments))

    def test_goodToken(self) -> None:
        token = checkedToken(self.document, self.token.name, self.secret, "b", "f1", NOW + 3599)
        self.assertEqual(token.name, self.token.name)

    def test_documentHoldsNoSecret(self) -> None:
        self.assertNotIn(self.secret.hex(), repr(self.token.secretHash))

    def test_unknownAndForgedAreToldTheSame(self) -> None:
        unknown, forged = self.refusal(tokenId="00" * 8), self.refusal(secret=b"x" * 20)
        self.assertEqual((unknown, forged), ("no such join token", "no such join token"))
        self.assertEqual(self.refusal(secret=b"", tokenId=""), unknown)
        # What is wrong with a token is for those who know its secret.
        self.assertEqual(self.refusal(secret=b"x" * 20, now=NOW + 9999, nodeName="c"), unknown)

    def test_unknownTokenWithTheSecretOfNothing(self) -> None:
        self.assertEqual(self.refusal(tokenId="00" * 8, secret=b""), "no such join token")

    def test_expired(self) -> None:
        self.assertEqual(self.refusal(now=NOW + 3600), "the join token expired")

    def test_anotherNode(self) -> None:
        self.assertEqual(self.refusal(nodeName="c"), 'the join token is for node "b", not "c"')

    def test_anotherKey(self) -> None:
        self.document = apply(self.document, Put("tokens", evolve(self.token, boundTo="f1")))
        self.assertEqual(self.refusal(fingerprint="f2"), "the join token was used by another key")
        checked = checkedToken(self.document, self.token.name, self.secret, "b", "f1", NOW)
        self.assertEqual(checked.boundTo, "f1")


class StaleTests(SynchronousTestCase):
    def test_tokensAreForgottenAWeekAfterTheyExpired(self) -> None:
        document = Document()
        for name, expires in (("old", NOW - 8 * 86400), ("late", NOW - 6 * 86400), ("good", NOW + 1)):
            document = apply(document, Put("tokens", evolve(made()[1], name=name, expires=expires)))
        self.assertEqual(staleTokens(document, NOW), (Remove("tokens", "old"),))
